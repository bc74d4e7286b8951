// Looks for what a test case left behind. main.cpp runs it around every case of every test program.
#pragma once

#include <chrono>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace test {

/// A kind and an id, such as ("map", 17).
using kernel_id = std::pair<std::string, std::uint32_t>;

/// What there is to leak, at one moment.
struct resources {
  std::set<std::string> own;  ///< This process's descriptors and shared mappings.
  std::set<kernel_id> ids;    ///< The kernel's BPF ids of maps, programs and links; none without root.
};

resources resources_now();

/// What has appeared since `before` and does not go away, each named. The kernel frees maps and programs some time
/// after their last user has gone: ids get `patience` to vanish. Those that another process holds do not count.
std::vector<std::string> leaked_since(resources const& before,
                                      std::chrono::milliseconds patience = std::chrono::seconds{20});

/// Fails every test case, of which the tree is complete by now, that leaks.
void check_every_case_for_leaks();

}  // namespace test
