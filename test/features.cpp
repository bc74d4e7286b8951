#include "features.hpp"

#include <boost/test/tree/fixture.hpp>
#include <boost/test/tree/traverse.hpp>
#include <boost/test/tree/visitor.hpp>
#include <boost/test/unit_test.hpp>

#include <bpf/libbpf.h>

#include <exception>
#include <map>
#include <ostream>

namespace test {
namespace {

namespace ut = boost::unit_test;

// The features of cases and suites that have been asked for.
struct of_unit {
  std::string feature;
  verdict found;
};
std::multimap<ut::test_unit_id, of_unit>& known() {
  static std::multimap<ut::test_unit_id, of_unit> all;
  return all;
}

probe_result answer(std::string const& name, std::function<probe_result()> const& probe) {
  static std::map<std::string, probe_result> answers;
  auto found = answers.find(name);
  if (found == answers.end()) {
    auto const ask = [&]() -> probe_result {
      try {
        return probe();
      } catch (std::exception const& e) {
        return {false, e.what()};
      }
    };
    found = answers.emplace(name, ask()).first;
  }
  return found->second;
}

libbpf_version libbpf_here() { return {libbpf_major_version(), libbpf_minor_version()}; }

std::string to_string(libbpf_version v) {
  return std::to_string(v.major_number) + '.' + std::to_string(v.minor_number);
}

class refusal : public ut::test_unit_fixture {
 public:
  explicit refusal(std::string why) : why_{std::move(why)} {}

 private:
  void setup() override { BOOST_FAIL(why_); }
  void teardown() override {}

  std::string why_;
};

// Makes every case of the unit fail before it begins. A precondition cannot fail, only skip.
void refuse(ut::test_unit_id id, std::string const& why) {
  struct each_case : ut::test_tree_visitor {
    void visit(ut::test_case const& found) override {
      auto& fixtures = ut::framework::get<ut::test_case>(found.p_id).p_fixtures.value;
      fixtures.push_back(ut::test_unit_fixture_ptr{new refusal{why}});
    }
    std::string why;
  } each;
  each.why = why;
  ut::traverse_test_tree(id, each, true);
}

}  // namespace

verdict judge(feature const& f, std::string_view lane, libbpf_version libbpf, bool present) {
  if (present) return verdict::run;
  if (libbpf < f.libbpf) return verdict::skip_by_libbpf;
  return f.present_on(lane) ? verdict::fail : verdict::skip_by_kernel;
}

ut::decorator::precondition feature_here(std::string name, std::function<probe_result()> probe) {
  return ut::decorator::precondition{
      [name = std::move(name), probe = std::move(probe)](ut::test_unit_id id) -> boost::test_tools::assertion_result {
        auto const* const row = find_feature(name);
        if (row == nullptr) {
          refuse(id, "no row of test/feature_table.cpp is named '" + name + "'");
          return true;
        }
        auto const found = answer(name, probe);
        auto const v = judge(*row, lane_here(), libbpf_here(), found.present);
        known().emplace(id, of_unit{name, v});
        if (v == verdict::fail)
          refuse(id, name + " is listed for " + std::string{lane_here()} + ", and is absent: " + found.why);
        if (v == verdict::run || v == verdict::fail) return true;
        boost::test_tools::assertion_result skipped{false};
        skipped.message() << name << ": absent by "
                          << (v == verdict::skip_by_kernel ? "kernel" : "libbpf " + to_string(libbpf_here())) << ": "
                          << found.why.substr(0, found.why.find('\n'));
        return skipped;
      }};
}

ut::decorator::precondition shows(std::string name) {
  return feature_here(std::move(name), [] { return true; });
}

void report_lane(std::ostream& out) {
  out << "lane " << lane_here() << " libbpf " << to_string(libbpf_here()) << std::endl;
}

void report_features_started(std::ostream& out, ut::test_unit const& unit) {
  auto const [first, last] = known().equal_range(unit.p_id);
  for (auto i = first; i != last; ++i) out << "feature started " << i->second.feature << std::endl;
}

void report_features_finished(std::ostream& out, ut::test_unit const& unit, bool passed) {
  auto const [first, last] = known().equal_range(unit.p_id);
  for (auto i = first; i != last; ++i)
    out << (passed && i->second.found == verdict::run ? "feature passed " : "feature failed ") << i->second.feature
        << std::endl;
}

void report_features_skipped(std::ostream& out, ut::test_unit const& unit) {
  auto const [first, last] = known().equal_range(unit.p_id);
  for (auto i = first; i != last; ++i) {
    if (i->second.found == verdict::skip_by_kernel)
      out << "feature absent by kernel " << i->second.feature << std::endl;
    if (i->second.found == verdict::skip_by_libbpf)
      out << "feature absent by libbpf " << i->second.feature << std::endl;
  }
}

}  // namespace test
