#include "calls.hpp"
#include "features.hpp"
#include "support.hpp"

#include <tinybpf/link.hpp>
#include <tinybpf/object.hpp>

#include <boost/test/unit_test.hpp>

#include <bpf/bpf.h>

#include <type_traits>
#include <utility>

using test::counter;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::link_kind;

namespace {

// An object with a raw tracepoint, of which attaching and detaching are quick.
struct attached_program {
  tinybpf::object obj = tinybpf::load(CALLS_BPF_O);
  test::calls_descriptor calls{obj.map("calls")};
  tinybpf::link attached = obj.program("on_raw_enter").attach();

  // How many of two calls the program sees.
  std::uint64_t sees_of_two() const {
    auto const before = calls.seen(counter::on_raw_enter);
    test::call(2);
    return calls.seen(counter::on_raw_enter) - before;
  }
};

void check_empty(tinybpf::link& l) {
  BOOST_TEST(!l.attached());
  BOOST_TEST(!static_cast<bool>(l));
  BOOST_TEST((l.kind() == link_kind::none));
  BOOST_TEST(l.size() == 0);
  error_code ec;
  diagnostics details;
  BOOST_TEST(l.fd(ec, details) == -1);
  BOOST_TEST(ec == make_error_code(errc::closed));
  BOOST_TEST(!details.message.empty());
  BOOST_CHECK_THROW(static_cast<void>(l.fd()), tinybpf::error);
  l.detach(ec, details);
  BOOST_TEST(!ec);
  BOOST_TEST(details.empty());
  l.detach();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(links)

BOOST_AUTO_TEST_CASE(are_empty_from_the_start) {
  tinybpf::link l;
  check_empty(l);
}

BOOST_FIXTURE_TEST_CASE(tell_what_they_hold, attached_program) {
  BOOST_TEST(attached.attached());
  BOOST_TEST(static_cast<bool>(attached));
  BOOST_TEST((attached.kind() == link_kind::raw_tracepoint));
  BOOST_TEST(attached.size() == 1);

  bpf_link_info info{};
  std::uint32_t size = sizeof info;
  BOOST_REQUIRE(bpf_obj_get_info_by_fd(attached.fd(), &info, &size) == 0);
  BOOST_TEST(info.prog_id == obj.program("on_raw_enter").info().id);

  auto const tracepoint = obj.program("on_getpgid").attach();
  BOOST_TEST((tracepoint.kind() == link_kind::tracepoint));
  BOOST_TEST(tracepoint.fd() > 2);
  BOOST_TEST(tracepoint.fd() != attached.fd());
}

BOOST_FIXTURE_TEST_CASE(deliver_until_they_are_destroyed, attached_program) {
  BOOST_TEST(sees_of_two() == 2);
  {
    auto const gone = std::move(attached);
    BOOST_TEST(sees_of_two() == 2);
  }
  BOOST_TEST(sees_of_two() == 0);
}

BOOST_FIXTURE_TEST_CASE(deliver_until_they_are_detached, attached_program) {
  BOOST_TEST(sees_of_two() == 2);
  error_code ec = errc::closed;
  attached.detach(ec);
  BOOST_TEST(!ec);
  BOOST_TEST(sees_of_two() == 0);
  check_empty(attached);
}

BOOST_FIXTURE_TEST_CASE(can_be_made_again, attached_program) {
  attached.detach();
  BOOST_TEST(sees_of_two() == 0);
  attached = obj.program("on_raw_enter").attach();
  BOOST_TEST(sees_of_two() == 2);
}

BOOST_FIXTURE_TEST_CASE(move_without_a_gap, attached_program) {
  static_assert(!std::is_copy_constructible_v<tinybpf::link> && !std::is_copy_assignable_v<tinybpf::link>);
  static_assert(std::is_nothrow_move_constructible_v<tinybpf::link> &&
                std::is_nothrow_move_assignable_v<tinybpf::link>);
  auto const fd = attached.fd();
  auto second = std::move(attached);
  check_empty(attached);
  BOOST_TEST(second.fd() == fd);
  BOOST_TEST(sees_of_two() == 2);

  auto& same = second;
  second = std::move(same);
  BOOST_TEST(second.fd() == fd);
  BOOST_TEST(sees_of_two() == 2);
}

BOOST_FIXTURE_TEST_CASE(detach_what_they_are_assigned_over, attached_program) {
  attached = obj.program("on_raw").attach_raw_tracepoint("sys_enter");
  BOOST_TEST(sees_of_two() == 0);
  BOOST_TEST(calls.seen(counter::on_raw) == 2);
}

BOOST_FIXTURE_TEST_CASE(are_independent_of_each_other, attached_program,
                        *test::feature_here("raw_tracepoint twice by one program", test::attach_raw_tracepoint_twice)) {
  auto other = obj.program("on_raw_enter").attach();
  BOOST_TEST(sees_of_two() == 4);
  other.detach();
  BOOST_TEST(sees_of_two() == 2);
}

BOOST_FIXTURE_TEST_CASE(outlive_an_object_that_is_closed, attached_program) {
  obj.close();
  BOOST_TEST(attached.attached());
  BOOST_TEST(attached.fd() > 2);
  BOOST_TEST(sees_of_two() == 2);
  attached.detach();
  BOOST_TEST(sees_of_two() == 0);
}

BOOST_FIXTURE_TEST_CASE(outlive_an_object_that_is_destroyed, attached_program) {
  auto tracepoint = obj.program("on_getpgid").attach();
  obj = {};
  BOOST_TEST(attached.attached());
  BOOST_TEST(sees_of_two() == 2);
  BOOST_TEST(calls.seen(counter::on_getpgid) == 2);
  tracepoint.detach();
  BOOST_TEST(sees_of_two() == 2);
  BOOST_TEST(calls.seen(counter::on_getpgid) == 2);
}

BOOST_FIXTURE_TEST_CASE(outlive_an_object_that_is_closed_and_destroyed, attached_program) {
  obj.close();
  obj = {};
  BOOST_TEST(sees_of_two() == 2);
  error_code ec = errc::closed;
  diagnostics details;
  attached.detach(ec, details);
  BOOST_TEST(!ec);
  BOOST_TEST(details.empty());
  BOOST_TEST(sees_of_two() == 0);
}

BOOST_AUTO_TEST_SUITE_END()
