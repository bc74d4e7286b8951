// The main() of every test program. Besides running the cases, it writes what became of each into the file that
// TINYBPF_TEST_REPORT names, a line at a time, so that test/run_tests.sh can count cases even where a program dies
// half-way: "started NAME", then "passed NAME" or "failed NAME"; "skipped NAME: REASON" stands alone.
//
// The first line names the lane, and cases that need a feature leave lines about it: see feature_table.hpp.
//
// A case that leaks has failed: see leak_check.hpp.

#include "features.hpp"
#include "leak_check.hpp"

#include <boost/test/results_collector.hpp>
#include <boost/test/tree/observer.hpp>
#include <boost/test/tree/traverse.hpp>
#include <boost/test/tree/visitor.hpp>
#include <boost/test/unit_test.hpp>

#include <cstdlib>
#include <fstream>
#include <iostream>

namespace {

namespace ut = boost::unit_test;

class report : public ut::test_observer {
 public:
  explicit report(char const* file) : out_(file) { test::report_lane(out_); }

  bool complete() const { return out_.good(); }

 private:
  void test_unit_start(ut::test_unit const& unit) override {
    test::report_features_started(out_, unit);
    if (unit.p_type == ut::TUT_CASE) out_ << "started " << unit.full_name() << std::endl;
  }

  void test_unit_finish(ut::test_unit const& unit, unsigned long) override {
    bool const passed = ut::results_collector.results(unit.p_id).passed();
    test::report_features_finished(out_, unit, passed);
    if (unit.p_type != ut::TUT_CASE) return;
    out_ << (passed ? "passed " : "failed ") << unit.full_name() << std::endl;
  }

  void test_unit_skipped(ut::test_unit const& unit, ut::const_string reason) override {
    test::report_features_skipped(out_, unit);
    // Of a suite, only the suite itself is announced.
    struct each_case : ut::test_tree_visitor {
      each_case(std::ostream& o, ut::const_string r) : out(o), why(r) {}
      void visit(ut::test_case const& c) override { out << "skipped " << c.full_name() << ": " << why << std::endl; }
      std::ostream& out;
      ut::const_string why;
    } skipped{out_, reason};
    ut::traverse_test_tree(unit.p_id, skipped, true);
  }

  // After the results collector, which has to know the verdict first.
  int priority() override { return 10; }

  std::ofstream out_;
};

class leak_checks : public ut::test_observer {
 private:
  void test_start(ut::counter_t, ut::test_unit_id) override { test::check_every_case_for_leaks(); }
};

report* reporter = nullptr;

bool prepare() {
  static leak_checks checks;
  ut::framework::register_observer(checks);
  if (char const* file = std::getenv("TINYBPF_TEST_REPORT")) {
    static report all{file};
    ut::framework::register_observer(all);
    reporter = &all;
  }
  return true;
}

}  // namespace

// Asked by ThreadSanitizer, if the program is built with it. It does not see inside libstdc++, where the references to
// an exception are counted with atomics: the thread that drops the last one after a future threw it looks like a race.
extern "C" char const* __tsan_default_suppressions();
char const* __tsan_default_suppressions() { return "race:std::__exception_ptr::exception_ptr::_M_release\n"; }

int main(int argc, char* argv[]) {
  int const result = ut::unit_test_main(&prepare, argc, argv);
  if (reporter == nullptr || reporter->complete()) return result;
  // Cases that nobody counts must not look as if they had passed.
  std::cerr << "The report could not be written to " << std::getenv("TINYBPF_TEST_REPORT") << '\n';
  return EXIT_FAILURE;
}
