// The groups of rows of map_bench, each in a file of its own.
#pragma once

#include "report.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace bench {

/// How much is done.
struct map_sizes {
  std::size_t repetitions = 15;
  std::size_t rounds = 150;          ///< Repetitions of what takes a few milliseconds.
  std::uint64_t calls = 5'000;       ///< In a round.
  std::uint64_t walked = 1'000'000;  ///< Entries.
  std::uint64_t accesses = 1U << 18U;
};

/// As little as shows that everything runs.
inline constexpr map_sizes quick_maps{2, 2, 500, 20'000, 1U << 16U};

/// One system call a call: lookup and update, also of per-CPU maps.
std::vector<row> call_rows(map_sizes const& n);
/// The same in instructions, the kernel's not counted. No rows without valgrind.
std::vector<row> call_instruction_rows();
/// What runs there: one variant, by its index.
void call_once(std::size_t variant, std::uint64_t calls);
/// How often they allocate.
std::vector<row> call_allocation_rows(map_sizes const& n);

/// Reading all entries of a hash.
std::vector<row> walk_rows(map_sizes const& n);

/// An array in shared memory.
std::vector<row> array_rows(map_sizes const& n);

/// Calls of operator new by this thread.
std::uint64_t allocations() noexcept;

}  // namespace bench
