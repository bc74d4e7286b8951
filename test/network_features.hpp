// The cases' names of what they show, for the table of features and lanes, where there is one.
#pragma once

#if __has_include("features.hpp")
#include "features.hpp"
#else
#include <boost/test/tree/decorator.hpp>

#include <exception>
#include <functional>
#include <string>
#include <utility>

namespace test {

struct probe_result {
  probe_result(bool is_present, std::string reason = "the probe says no")  // NOLINT: converts
      : present{is_present}, why{std::move(reason)} {}

  bool present;
  std::string why;
};

inline boost::unit_test::decorator::precondition feature_here(std::string const& name,
                                                              std::function<probe_result()> probe) {
  return boost::unit_test::decorator::precondition([name, probe = std::move(probe)](auto) {
    boost::test_tools::assertion_result result{false};
    try {
      auto const answer = probe();
      result = boost::test_tools::assertion_result{answer.present};
      result.message() << name << ": " << answer.why;
    } catch (std::exception const& e) {
      result.message() << name << ": " << e.what();
    }
    return result;
  });
}

inline boost::unit_test::decorator::precondition shows(std::string const&) {
  return boost::unit_test::decorator::precondition([](auto) { return boost::test_tools::assertion_result{true}; });
}

}  // namespace test
#endif
