#include <tinybpf/error.hpp>

#include <boost/test/unit_test.hpp>

#include <cerrno>
#include <exception>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;

namespace {

constexpr auto last = errc::wrong_program_type;

diagnostics some_details() {
  diagnostics d;
  d.message = "cannot load trace.bpf.o";
  d.hint = "mend it";
  d.program = "on_exec";
  return d;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(error)

BOOST_AUTO_TEST_CASE(conditions_have_a_category_of_their_own) {
  error_code const ec = errc::closed;
  BOOST_TEST(ec.category().name() == std::string_view{"tinybpf"});
  BOOST_TEST((ec.category() == tinybpf::tinybpf_category()));
  BOOST_TEST(ec.value() == static_cast<int>(errc::closed));
  BOOST_TEST(ec.failed());
  BOOST_TEST((ec != error_code{ec.value(), boost::system::system_category()}));
}

BOOST_AUTO_TEST_CASE(conditions_are_error_codes_wherever_one_is_asked_for) {
  static_assert(boost::system::is_error_code_enum<errc>::value);
  static_assert(noexcept(tinybpf::make_error_code(errc::closed)));
  error_code ec;
  ec = errc::not_found;
  BOOST_TEST((ec == errc::not_found));
  BOOST_TEST((ec != errc::not_loaded));
  BOOST_TEST((ec == make_error_code(errc::not_found)));
  std::error_code const standard = ec;
  BOOST_TEST(standard.value() == static_cast<int>(errc::not_found));
  BOOST_TEST(standard.category().name() == std::string_view{"tinybpf"});
}

BOOST_AUTO_TEST_CASE(every_condition_has_a_message_of_its_own) {
  std::set<std::string> messages;
  for (int value = 1; value <= static_cast<int>(last); ++value) {
    auto const message = tinybpf::tinybpf_category().message(value);
    BOOST_TEST(message.find("unknown") == std::string::npos, message);
    messages.insert(message);
  }
  BOOST_TEST(messages.size() == static_cast<std::size_t>(last));
  BOOST_TEST(tinybpf::tinybpf_category().message(static_cast<int>(last) + 1) ==
             "unknown tinybpf error " + std::to_string(static_cast<int>(last) + 1));
  BOOST_TEST(tinybpf::tinybpf_category().message(0).find("unknown") == 0);
}

BOOST_AUTO_TEST_CASE(diagnostics_are_empty_until_something_is_said) {
  BOOST_TEST(diagnostics{}.empty());
  BOOST_TEST(diagnostics{}.to_string().empty());
  auto const not_empty = [](auto const& say) {
    diagnostics d;
    say(d);
    return !d.empty();
  };
  BOOST_TEST(not_empty([](auto& d) { d.message = "x"; }));
  BOOST_TEST(not_empty([](auto& d) { d.hint = "x"; }));
  BOOST_TEST(not_empty([](auto& d) { d.log = "x"; }));
  BOOST_TEST(not_empty([](auto& d) { d.program = "x"; }));
  BOOST_TEST(not_empty([](auto& d) { d.map = "x"; }));
  BOOST_TEST(not_empty([](auto& d) { d.expected_size = 1; }));
  BOOST_TEST(not_empty([](auto& d) { d.actual_size = 1; }));
  BOOST_TEST(not_empty([](auto& d) { d.position = 1; }));
  BOOST_TEST(not_empty([](auto& d) { d.names = {"x"}; }));
}

BOOST_AUTO_TEST_CASE(diagnostics_read_as_message_hint_and_log) {
  auto d = some_details();
  BOOST_TEST(d.to_string() == "cannot load trace.bpf.o; mend it");
  d.log = "line 1\nline 2";
  BOOST_TEST(d.to_string() == "cannot load trace.bpf.o; mend it\nline 1\nline 2");
  d.message.clear();
  BOOST_TEST(d.to_string() == "mend it\nline 1\nline 2");
  d.hint.clear();
  BOOST_TEST(d.to_string() == "line 1\nline 2");
}

BOOST_AUTO_TEST_CASE(what_tells_message_code_and_log) {
  error_code const refused{EACCES, boost::system::system_category()};
  auto const code = "[" + refused.message() + "]";

  BOOST_TEST(tinybpf::error(refused, {}).what() == refused.message());
  BOOST_TEST(tinybpf::error(refused, some_details()).what() == "cannot load trace.bpf.o; mend it " + code);
  auto d = some_details();
  d.log = "R0 invalid\nprocessed 7 insns";
  BOOST_TEST(tinybpf::error(refused, d).what() ==
             "cannot load trace.bpf.o; mend it " + code + "\nR0 invalid\nprocessed 7 insns");
}

BOOST_AUTO_TEST_CASE(is_a_system_error_with_diagnostics) {
  try {
    tinybpf::detail::throw_error(errc::not_found, some_details());
  } catch (boost::system::system_error const& e) {
    BOOST_TEST((e.code() == errc::not_found));
    auto const* const ours = dynamic_cast<tinybpf::error const*>(&e);
    BOOST_REQUIRE(ours != nullptr);
    BOOST_TEST(ours->get_diagnostics().program == "on_exec");
    BOOST_TEST(std::string_view{e.what()} == ours->what());
  }
}

BOOST_AUTO_TEST_CASE(copies_without_throwing_and_shares_its_text) {
  static_assert(std::is_nothrow_copy_constructible_v<tinybpf::error>);
  static_assert(std::is_nothrow_copy_assignable_v<tinybpf::error>);
  tinybpf::error other{errc::closed, {}};
  char const* text = nullptr;
  {
    tinybpf::error const first{errc::not_found, some_details()};
    text = first.what();
    other = first;
  }
  BOOST_TEST(static_cast<void const*>(other.what()) == text);
  BOOST_TEST((other.code() == errc::not_found));
  BOOST_TEST(other.get_diagnostics().hint == "mend it");
}

BOOST_AUTO_TEST_CASE(keeps_its_text_when_moved_from) {
  tinybpf::error first{errc::not_found, some_details()};
  tinybpf::error second{std::move(first)};
  BOOST_TEST(second.get_diagnostics().program == "on_exec");
  BOOST_TEST(std::string{first.what()} == second.what());
  BOOST_TEST(first.get_diagnostics().program == "on_exec");
}

BOOST_AUTO_TEST_CASE(travels_in_an_exception_ptr) {
  auto const thrown = std::make_exception_ptr(tinybpf::error{errc::closed, some_details()});
  BOOST_CHECK_EXCEPTION(std::rethrow_exception(thrown), tinybpf::error,
                        [](auto const& e) { return e.get_diagnostics().message == "cannot load trace.bpf.o"; });
}

BOOST_AUTO_TEST_CASE(or_throw_throws_what_the_call_reported) {
  using tinybpf::detail::or_throw;
  BOOST_TEST(or_throw([](error_code&, diagnostics&) { return 42; }) == 42);
  or_throw([](error_code&, diagnostics&) {});
  auto const fails = [](error_code& ec, diagnostics& d) {
    ec = errc::not_loaded;
    d = some_details();
  };
  BOOST_CHECK_EXCEPTION(or_throw(fails), tinybpf::error, [](auto const& e) {
    return e.code() == errc::not_loaded && e.get_diagnostics().hint == "mend it";
  });
  BOOST_CHECK_THROW(or_throw([&](error_code& ec, diagnostics& d) { return fails(ec, d), 42; }), tinybpf::error);
}

BOOST_AUTO_TEST_SUITE_END()
