#include "features.hpp"
#include "support.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <set>
#include <string>
#include <string_view>
#include <vector>

using test::contains;
using test::feature;
using test::feature_outcomes;
using test::lane_of;
using test::outcome;
using test::verdict;

namespace test {
static std::ostream& boost_test_print_type(std::ostream& out, outcome o) { return out << static_cast<int>(o); }
static std::ostream& boost_test_print_type(std::ostream& out, verdict v) { return out << static_cast<int>(v); }
}  // namespace test

namespace {

std::string report_of(std::string const& lane, std::string const& lines) { return "lane " + lane + "\n" + lines; }

feature_outcomes outcomes_of(std::initializer_list<std::string> reports) {
  feature_outcomes all;
  for (auto const& r : reports) all.read(r);
  return all;
}

bool has_hole(feature_outcomes const& outcomes, std::string_view hole) {
  for (auto const& h : outcomes.holes())
    if (h == hole) return true;
  return false;
}

// The report of a program in which the kernel has just what the table says.
std::string complete_report(std::string_view lane) {
  std::string lines;
  for (auto const& f : test::features())
    lines += (f.present_on(lane) ? "feature passed " : "feature absent by kernel ") + std::string{f.name} + "\n";
  return report_of(std::string{lane} + " libbpf 1.4", lines);
}

feature const everywhere{"everywhere", {true, true, true}};
feature const newer{"newer", {true, true, false}, {1, 3}};

}  // namespace

BOOST_AUTO_TEST_SUITE(lanes)

BOOST_AUTO_TEST_CASE(are_known_by_their_kernel) {
  BOOST_TEST(lane_of("6.18.44-a", false) == "host-6.18");
  BOOST_TEST(lane_of("6.18.44-a", true) == "unlisted");
  BOOST_TEST(lane_of("6.12.95+deb12-cloud-amd64", true) == "vm-6.12");
  BOOST_TEST(lane_of("6.12.95+deb12-amd64", true) == "unlisted");
  BOOST_TEST(lane_of("6.1.0-50-cloud-amd64", true) == "vm-6.1");
  BOOST_TEST(lane_of("6.10.0-50-cloud-amd64", true) == "unlisted");
  BOOST_TEST(lane_of("", true) == "unlisted");
}

BOOST_AUTO_TEST_CASE(have_rows_of_distinct_names) {
  std::set<std::string_view> names;
  for (auto const& f : test::features()) {
    BOOST_TEST(names.insert(f.name).second, f.name);
    BOOST_TEST(test::find_feature(f.name) == &f);
  }
  BOOST_TEST(test::find_feature("nothing") == nullptr);
  BOOST_TEST(!test::find_feature("kprobe")->present_on("host-6.18"));
  BOOST_TEST(test::find_feature("kprobe")->present_on("vm-6.12"));
  BOOST_TEST(test::find_feature("TCX")->present_on("vm-6.12"));
  BOOST_TEST(!test::find_feature("TCX")->present_on("vm-6.1"));
  BOOST_TEST(!test::find_feature("TCX")->present_on("unlisted"));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(a_verdict)

BOOST_AUTO_TEST_CASE(is_to_run_what_is_there) {
  for (auto const lane : {"host-6.18", "vm-6.1", "unlisted"})
    BOOST_TEST(judge(newer, lane, {1, 1}, true) == verdict::run);
}

BOOST_AUTO_TEST_CASE(is_to_fail_what_should_be_there) {
  BOOST_TEST(judge(everywhere, "vm-6.1", {1, 1}, false) == verdict::fail);
  BOOST_TEST(judge(newer, "vm-6.12", {1, 3}, false) == verdict::fail);
  BOOST_TEST(judge(newer, "vm-6.12", {2, 0}, false) == verdict::fail);
}

BOOST_AUTO_TEST_CASE(is_to_skip_what_the_kernel_lacks) {
  BOOST_TEST(judge(newer, "vm-6.1", {1, 3}, false) == verdict::skip_by_kernel);
  BOOST_TEST(judge(everywhere, "unlisted", {1, 1}, false) == verdict::skip_by_kernel);
}

BOOST_AUTO_TEST_CASE(is_to_skip_what_libbpf_lacks) {
  BOOST_TEST(judge(newer, "vm-6.12", {1, 2}, false) == verdict::skip_by_libbpf);
  BOOST_TEST(judge(newer, "vm-6.1", {1, 2}, false) == verdict::skip_by_libbpf);
  BOOST_TEST(judge(newer, "unlisted", {1, 2}, false) == verdict::skip_by_libbpf);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(reports)

BOOST_AUTO_TEST_CASE(name_the_lane_and_the_outcomes) {
  auto const all =
      outcomes_of({report_of("vm-6.1 libbpf 1.1",
                             "started a/case\nfeature started kprobe\nfeature passed kprobe\npassed a/case\n"
                             "feature absent by kernel kprobe.multi\nskipped b: why\n"
                             "feature absent by libbpf TCX\nfeature started cgroup/skb ingress\n"
                             "feature failed cgroup/skb ingress\n")});
  BOOST_TEST(all.of("kprobe", "vm-6.1") == outcome::passed);
  BOOST_TEST(all.of("kprobe.multi", "vm-6.1") == outcome::absent_by_kernel);
  BOOST_TEST(all.of("TCX", "vm-6.1") == outcome::absent_by_libbpf);
  BOOST_TEST(all.of("cgroup/skb ingress", "vm-6.1") == outcome::failed);
  BOOST_TEST(all.of("lsm", "vm-6.1") == outcome::untested);
  BOOST_TEST(all.of("kprobe", "vm-6.12") == outcome::untested);
  BOOST_TEST(all.libbpf_of("vm-6.1") == "1.1");
  BOOST_TEST(all.lanes() == std::vector<std::string>{"vm-6.1"}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(that_end_in_a_case_have_a_failure) {
  auto const lines = "feature started lsm\nfeature passed lsm\nfeature started lsm\n";
  BOOST_TEST(outcomes_of({report_of("vm-6.1 libbpf 1.1", lines)}).of("lsm", "vm-6.1") == outcome::failed);
}

BOOST_AUTO_TEST_CASE(are_added_up) {
  std::string const failed = report_of("vm-6.1 libbpf 1.1", "feature started lsm\nfeature failed lsm\n");
  std::string const passed = report_of("vm-6.1 libbpf 1.4", "feature started lsm\nfeature passed lsm\n");
  std::string const by_kernel = report_of("vm-6.1 libbpf 1.4", "feature absent by kernel lsm\n");
  std::string const by_libbpf = report_of("vm-6.1 libbpf 1.1", "feature absent by libbpf lsm\n");
  auto const both = [](std::string const& a, std::string const& b) {
    auto const o = outcomes_of({a, b}).of("lsm", "vm-6.1");
    BOOST_TEST(outcomes_of({b, a}).of("lsm", "vm-6.1") == o);
    return o;
  };
  BOOST_TEST(both(failed, passed) == outcome::failed);
  BOOST_TEST(both(by_libbpf, passed) == outcome::passed);
  BOOST_TEST(both(by_kernel, passed) == outcome::passed);
  BOOST_TEST(both(by_libbpf, by_kernel) == outcome::absent_by_kernel);
  BOOST_TEST(outcomes_of({by_libbpf, passed, passed}).libbpf_of("vm-6.1") == "1.1 1.4");
}

BOOST_AUTO_TEST_CASE(of_other_kernels_have_a_column) {
  auto const all = outcomes_of({report_of("unlisted libbpf 1.1", "feature passed lsm\n"), complete_report("vm-6.1")});
  BOOST_TEST((all.lanes() == std::vector<std::string>{"vm-6.1", "unlisted"}));
  BOOST_TEST(contains(all.to_text(), "vm-6.1 (libbpf 1.4)"), all.to_text());
  BOOST_TEST(contains(all.to_text(), "unlisted (libbpf 1.1)"), all.to_text());
}

BOOST_AUTO_TEST_CASE(are_printed_as_a_table) {
  auto const text =
      outcomes_of({complete_report("vm-6.1"), report_of("vm-6.12 libbpf 1.1", "feature failed kprobe\n")}).to_text();
  std::size_t width = std::string{"feature"}.size();
  for (auto const& f : test::features()) width = std::max(width, f.name.size());
  auto const row = [&](std::string name, std::string const& second, std::string const& third) {
    name.resize(width + 2, ' ');
    return "\n" + name + second + std::string(std::string{"vm-6.12 (libbpf 1.1)  "}.size() - second.size(), ' ') +
           third + "\n";
  };
  BOOST_TEST(contains(text, row("kprobe", "FAILED", "passed")), text);
  BOOST_TEST(contains(text, row("kprobe.multi", "-", "absent by kernel")), text);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(a_table)

BOOST_AUTO_TEST_CASE(without_holes_is_complete) {
  auto const all = outcomes_of({complete_report("host-6.18"), complete_report("vm-6.12"), complete_report("vm-6.1")});
  auto const holes = all.holes();
  BOOST_TEST(holes.empty(), (holes.empty() ? "" : holes.front()));
}

BOOST_AUTO_TEST_CASE(needs_every_lane) {
  auto const all = outcomes_of({complete_report("host-6.18"), complete_report("vm-6.12")});
  BOOST_TEST(all.holes() == std::vector<std::string>{"no test ran on vm-6.1"}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(has_a_hole_where_a_listed_feature_did_not_pass) {
  auto const all = outcomes_of({report_of("vm-6.12 libbpf 1.1",
                                          "feature absent by libbpf TCX\nfeature absent by kernel kprobe\n"
                                          "feature failed test_run tracepoint\nfeature passed lsm\n")});
  BOOST_TEST(has_hole(all, "TCX on vm-6.12: is listed, and is absent by libbpf"));
  BOOST_TEST(has_hole(all, "kprobe on vm-6.12: is listed, and is absent by kernel"));
  BOOST_TEST(has_hole(all, "fentry on vm-6.12: is listed, and is untested"));
  BOOST_TEST(has_hole(all, "test_run tracepoint on vm-6.12: failed"));
  for (auto const& hole : all.holes()) BOOST_TEST(!hole.starts_with("lsm on "), hole);
}

BOOST_AUTO_TEST_CASE(has_a_hole_where_it_lacks_what_passed) {
  auto const all = outcomes_of({report_of("vm-6.1 libbpf 1.4", "feature passed kprobe.multi\n")});
  BOOST_TEST(has_hole(all, "kprobe.multi on vm-6.1: passed, and is not listed"));
  for (auto const& hole : all.holes()) BOOST_TEST(!contains(hole, "TCX"), hole);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_CASE(decorated_cases_run_or_are_skipped_or_fail) {
  auto const folder = std::filesystem::temp_directory_path() / ("features_test." + std::to_string(getpid()));
  auto const file = folder / "report";
  std::filesystem::create_directories(folder);
  auto const command =
      "TINYBPF_TEST_REPORT='" + file.string() + "' '" + DECORATED_CASES "' >'" + (folder / "log").string() + "' 2>&1";
  BOOST_TEST(std::system(command.c_str()) != 0);
  auto const text_of = [&](char const* name) {
    std::ifstream in{folder / name};
    return std::string{std::istreambuf_iterator<char>{in}, {}};
  };
  auto const report = text_of("report");
  auto const log = text_of("log");
  std::filesystem::remove_all(folder);

  bool const listed = test::lane_here() != "unlisted";
  BOOST_TEST(report.starts_with("lane " + std::string{test::lane_here()} + " libbpf "), report);
  for (std::string_view line : {
           "feature started tracepoint\nstarted is_here\nfeature passed tracepoint\npassed "
           "is_here\n",
           "feature failed raw_tracepoint\nfailed fails\n",
           "feature absent by kernel test_run tracepoint\nskipped is_not_here: precondition failed: test_run "
           "tracepoint: absent "
           "by "
           "kernel: Unknown error 524\n",
           "skipped throws: precondition failed: test_run tracepoint: absent by kernel: Unknown error 524\n",
           "failed has_no_row\n",
           "passed both_of_these/two\nfeature passed perf_event\n",
           "feature started tp_btf\nstarted dies\n",
       })
    BOOST_TEST(contains(report, line), report);
  BOOST_TEST(contains(log, "'nonsense'"), log);
  if (listed) {
    for (std::string_view line : {"feature failed uprobe\nfailed has_to_be_here\n", "failed all_of_these/one\n",
                                  "failed all_of_these/two\n", "feature failed USDT\n"})
      BOOST_TEST(contains(report, line), report);
    BOOST_TEST(contains(log, "uprobe is listed for " + std::string{test::lane_here()} + ", and is absent: why not"),
               log);
  }
}

BOOST_AUTO_TEST_CASE(a_report_that_cannot_be_written_is_a_failure) {
  std::string const command = "'" DECORATED_CASES "' --run_test=is_here >/dev/null 2>&1";
  BOOST_TEST(std::system(("TINYBPF_TEST_REPORT=/dev/null " + command).c_str()) == 0);
  for (std::string const file : {"/dev/full", "/dev/null/report"})
    BOOST_TEST(std::system(("TINYBPF_TEST_REPORT=" + file + " " + command).c_str()) != 0, file);
}
