// The table: what was measured, what it is held against, and whether it is enough.
#pragma once

#include "statistics.hpp"

#include <iosfwd>
#include <string>
#include <vector>

namespace bench {

enum class bar_kind { none, at_most, at_least };

/// What `row::compared` is.
enum class comparison { ratio, difference, value };

/// One line of the table. All samples are in the order of the repetitions.
struct row {
  std::string group;
  std::string what;
  std::string unit;
  std::vector<double> ours;
  std::string reference;  ///< What it is compared with.
  std::vector<double> theirs;
  comparison compared_as = comparison::ratio;
  std::vector<double> compared;
  bar_kind kind = bar_kind::none;
  double bar = 0;

  /// The whole interval is on the right side of the bar.
  [[nodiscard]] bool reached() const;
};

/// ours / theirs, to be judged by a bar or only shown.
row compare(std::string group, std::string what, std::string unit, std::vector<double> ours, std::string reference,
            std::vector<double> theirs, bar_kind kind = bar_kind::none, double bar = 0);

/// ours - theirs.
row subtract(std::string group, std::string what, std::string unit, std::vector<double> ours, std::string reference,
             std::vector<double> theirs, bar_kind kind, double bar);

/// Ours alone.
row absolute(std::string group, std::string what, std::string unit, std::vector<double> ours,
             bar_kind kind = bar_kind::none, double bar = 0);

/// What it is measured on.
struct machine {
  machine();

  std::string cpu;
  unsigned cpus;
  std::string kernel;
  double load = 0;  ///< Average of the last minute, before anything was measured.
};

void print_machine(std::ostream& out, machine const& m);
void print_table(std::ostream& out, std::vector<row> const& rows);

/// The table as README.md has it.
void write_markdown(std::string const& file, machine const& m, std::vector<row> const& rows);

/// Everything, with every sample.
void write_json(std::string const& file, machine const& m, std::vector<row> const& rows);

}  // namespace bench
