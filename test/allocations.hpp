// Counts the allocations of a program that is linked with what CMakeLists.txt has for it.
#pragma once

#include <atomic>
#include <cstdint>

namespace test {

/// All so far.
extern std::atomic<std::uint64_t> allocations;

}  // namespace test
