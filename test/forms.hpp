// What holds of all three forms of a fallible call.
#pragma once

#include "print.hpp"
#include "support.hpp"

#include <tinybpf/error.hpp>

#include <boost/test/unit_test.hpp>

#include <cstddef>
#include <filesystem>
#include <iterator>

namespace test {

/// That `call(out...)` fails in all its forms with the same error, and leaves no descriptor behind; gives its
/// diagnostics.
template <class Call>
tinybpf::diagnostics refusal(tinybpf::error_code expected, Call call) {
  auto const descriptors = [] {
    return std::distance(std::filesystem::directory_iterator{"/proc/self/fd"}, std::filesystem::directory_iterator{});
  };
  auto const before = descriptors();
  tinybpf::error_code ec;
  tinybpf::diagnostics details;
  details.hint = "from before";
  static_cast<void>(call(ec, details));
  BOOST_TEST(ec == expected, ec.message() + ": " + details.to_string());
  BOOST_TEST(!details.message.empty());
  BOOST_TEST(details.hint != "from before");
  ec.clear();
  static_cast<void>(call(ec));
  BOOST_TEST(ec == expected);
  BOOST_CHECK_EXCEPTION(static_cast<void>(call()), tinybpf::error, [&](tinybpf::error const& e) {
    return e.code() == expected && e.get_diagnostics().message == details.message;
  });
  BOOST_TEST(descriptors() == before);
  return details;
}

/// That `call(out...)` works in all its forms, one after the other.
template <class Call>
void accepted(Call call) {
  tinybpf::error_code ec = tinybpf::errc::closed;
  tinybpf::diagnostics details;
  details.hint = "from before";
  static_cast<void>(call(ec, details));
  BOOST_TEST(!ec, ec.message() + ": " + details.to_string());
  BOOST_TEST(details.empty());
  ec = tinybpf::errc::closed;
  static_cast<void>(call(ec));
  BOOST_TEST(!ec, ec.message());
  static_cast<void>(call());
}

}  // namespace test
