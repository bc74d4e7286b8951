// Cases that features_test.cpp runs as a program of its own, to see from outside what the decorators of features.hpp
// do. Some fail, and the last one dies.
#include "features.hpp"

#include <boost/test/unit_test.hpp>

#include <cstdlib>
#include <stdexcept>

BOOST_AUTO_TEST_CASE(is_here, *test::feature_here("tracepoint", [] { return true; })) {}
BOOST_AUTO_TEST_CASE(fails, *test::shows("raw_tracepoint")) { BOOST_ERROR("as it should"); }
BOOST_AUTO_TEST_CASE(is_not_here, *test::feature_here("test_run tracepoint", [] {
                       return boost::system::error_code{524, boost::system::system_category()};
                     })) {
  BOOST_ERROR("must not run");
}
BOOST_AUTO_TEST_CASE(throws, *test::feature_here("test_run tracepoint", []() -> test::probe_result {
                       throw std::logic_error{"must not be asked again"};
                     })) {
  BOOST_ERROR("must not run");
}
BOOST_AUTO_TEST_CASE(has_no_row, *test::feature_here("nonsense", [] { return true; })) { std::abort(); }
BOOST_AUTO_TEST_CASE(has_to_be_here, *test::feature_here("uprobe", [] {
                       return test::probe_result{false, "why not"};
                     })) {
  std::abort();
}
BOOST_AUTO_TEST_SUITE(all_of_these, *test::feature_here("USDT", [] { return false; }))
BOOST_AUTO_TEST_CASE(one) { std::abort(); }
BOOST_AUTO_TEST_CASE(two) { std::abort(); }
BOOST_AUTO_TEST_SUITE_END()
BOOST_AUTO_TEST_SUITE(both_of_these, *test::shows("perf_event"))
BOOST_AUTO_TEST_CASE(one) {}
BOOST_AUTO_TEST_CASE(two) {}
BOOST_AUTO_TEST_SUITE_END()
BOOST_AUTO_TEST_CASE(dies, *test::shows("tp_btf")) { std::_Exit(3); }
