// What the benchmark programs have in common: their options, and showing their rows.
#pragma once

#include "report.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace bench {

/// What the command line asks for.
struct run_options {
  bool quick = false;
  std::optional<std::size_t> repetitions;
};

/// Some rows, and how they are measured.
struct group {
  std::string name;
  std::function<std::vector<row>()> measure;
};

struct suite {
  std::string about;   ///< For --help.
  std::string groups;  ///< Their names, for --help.
  std::function<std::vector<group>(run_options const&)> make;
  /// One variant, by its index, so many times: what runs under cachegrind.
  std::function<void(std::size_t which, std::uint64_t events)> once;
};

/// What main() does.
int run_suite(int argc, char** argv, suite const& s);

}  // namespace bench
