// Which kernel has what, and what the tests' reports say of it. A lane is a kernel that the tests run on.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace test {

/// The lanes of the table, in the order of its columns. Any other kernel is "unlisted".
inline constexpr std::array<std::string_view, 3> listed_lanes{"host-6.18", "vm-6.12", "vm-6.1"};

/// The lane of a kernel, by its release and by whether it has kprobes.
std::string_view lane_of(std::string_view release, bool kprobes);
/// The running kernel's.
std::string_view lane_here();

/// A version of libbpf.
struct libbpf_version {
  unsigned major_number, minor_number;
  friend auto operator<=>(libbpf_version const&, libbpf_version const&) = default;
};

/// A row of the table.
struct feature {
  std::string_view name;
  std::array<bool, listed_lanes.size()> present;
  libbpf_version libbpf{1, 1};  ///< The first that can use it.

  bool present_on(std::string_view lane) const;
};

std::span<feature const> features();
/// The row, or nullptr.
feature const* find_feature(std::string_view name);

/// What became of a feature in a lane.
enum class outcome { untested, absent_by_libbpf, absent_by_kernel, passed, failed };

/// The outcomes in all reports that were read.
class feature_outcomes {
 public:
  /// Takes in a report of main.cpp: "lane NAME libbpf VERSION" and then, among lines of other kinds,
  /// "feature started NAME", "feature passed NAME", "feature failed NAME", "feature absent by kernel NAME",
  /// "feature absent by libbpf NAME". What started and did not pass has failed. What counts most wins: a failure, then
  /// a success, then an absence.
  void read(std::string_view report);

  /// Also a lane that the table does not list.
  std::vector<std::string> lanes() const;
  outcome of(std::string_view feature, std::string_view lane) const;
  /// The versions of libbpf that the lane ran with.
  std::string libbpf_of(std::string_view lane) const;

  /// The table as text, a column for each lane that reports were read of.
  std::string to_text() const;
  /// What keeps the table from being complete, a line each: failures, what a lane is listed to have and was not seen to
  /// have, what it was seen to have and is not listed, lanes that did not run.
  std::vector<std::string> holes() const;

 private:
  void note(std::string_view feature, std::string_view lane, outcome o);

  std::map<std::pair<std::string, std::string>, outcome, std::less<>> outcomes_;
  std::map<std::string, std::string, std::less<>> libbpf_;
};

}  // namespace test
