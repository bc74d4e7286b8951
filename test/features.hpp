// For cases that need a feature of the kernel (see feature_table.hpp): they run where it is, are skipped where it is
// not, and fail where the table says that it has to be there.
//
//   BOOST_AUTO_TEST_CASE(follows_a_pattern, *test::feature_here("kprobe.multi", kprobe_multi_attaches)) { ... }
//   BOOST_AUTO_TEST_SUITE(all_of_them, *test::feature_here("lsm", lsm_attaches))
//   BOOST_AUTO_TEST_CASE(brings_events, *test::shows("ringbuf")) { ... }
//
// What became of each such case or suite goes into the report of the program, and from there into the table at the end
// of a run.
#pragma once

#include "feature_table.hpp"

#include <tinybpf/error.hpp>

#include <boost/system/error_code.hpp>
#include <boost/test/tree/decorator.hpp>

#include <functional>
#include <iosfwd>
#include <string>
#include <utility>

namespace test {

/// The answer of a probe: yes, or no and why. An error code says yes if it is none.
struct probe_result {
  probe_result(bool is_present, std::string reason = "the probe says no")  // NOLINT: converts
      : present{is_present}, why{std::move(reason)} {}
  probe_result(boost::system::error_code const& ec)  // NOLINT: converts
      : present{!ec}, why{ec.message()} {}
  probe_result(boost::system::error_code const& ec, tinybpf::diagnostics const& details)
      : present{!ec}, why{details.empty() ? ec.message() : details.to_string()} {}

  bool present;
  std::string why;
};

/// A decorator for a case or a suite that needs the feature. The probe is a real attempt, such as to load and to
/// attach; what it throws means no. It is asked at most once a program for each name.
boost::unit_test::decorator::precondition feature_here(std::string name, std::function<probe_result()> probe);

/// A decorator for a case or a suite that shows a feature which every lane has.
boost::unit_test::decorator::precondition shows(std::string name);

/// What is to be done about a feature that a probe has answered for.
enum class verdict { run, skip_by_kernel, skip_by_libbpf, fail };
verdict judge(feature const& f, std::string_view lane, libbpf_version libbpf, bool present);

/// For the report of main.cpp.
void report_lane(std::ostream& out);
void report_features_started(std::ostream& out, boost::unit_test::test_unit const& unit);
void report_features_finished(std::ostream& out, boost::unit_test::test_unit const& unit, bool passed);
void report_features_skipped(std::ostream& out, boost::unit_test::test_unit const& unit);

}  // namespace test
