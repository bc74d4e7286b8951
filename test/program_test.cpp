#include "calls.hpp"
#include "features.hpp"
#include "support.hpp"

#include <tinybpf/object.hpp>
#include <tinybpf/program.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <string>
#include <utility>

using test::contains;
using test::counter;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::link_kind;
using tinybpf::object;
using tinybpf::program;
using tinybpf::program_type;

namespace {

// The link keeps the program attached; the calls made meanwhile are seen, those made after its end are not.
void check_effect(object const& obj, counter which, link_kind kind, tinybpf::link attached) {
  auto const calls = obj.map("calls");
  BOOST_TEST(attached.attached());
  BOOST_TEST((attached.kind() == kind));
  BOOST_TEST(test::seen(calls, which) == 0);
  test::call(3);
  BOOST_TEST(test::seen(calls, which) == 3);
  attached = {};
  test::call(2);
  BOOST_TEST(test::seen(calls, which) == 3);
}

void check_closed(program const& p) {
  BOOST_TEST(!p.is_open());
  BOOST_TEST((p.type() == program_type::unspec));
  BOOST_TEST(p.fd() == -1);
  error_code ec;
  diagnostics details;
  auto const fails_closed = [&](auto const& call) {
    ec.clear();
    call();
    BOOST_TEST(ec == make_error_code(errc::closed));
    BOOST_TEST(!details.message.empty());
  };
  fails_closed([&] { BOOST_TEST(p.info(ec, details).id == 0); });
  fails_closed([&] { BOOST_TEST(!p.attach(ec, details).attached()); });
  fails_closed([&] { BOOST_TEST(!p.attach_tracepoint("sched", "sched_switch", ec, details).attached()); });
  fails_closed([&] { BOOST_TEST(!p.attach_raw_tracepoint("sched_switch", ec, details).attached()); });
  fails_closed([&] { BOOST_TEST(!p.attach_xdp(1, ec, details).attached()); });
}

}  // namespace

BOOST_AUTO_TEST_SUITE(programs)

BOOST_AUTO_TEST_CASE(tell_name_section_and_type_before_and_after_load) {
  auto obj = object::open(CALLS_BPF_O);
  auto const p = obj.program("on_getpgid");
  for (bool const loaded : {false, true}) {
    if (loaded) obj.load();
    BOOST_TEST(p.is_open());
    BOOST_TEST(p.name() == "on_getpgid");
    BOOST_TEST(p.section() == "tracepoint/syscalls/sys_enter_getpgid");
    BOOST_TEST((p.type() == program_type::tracepoint));
    BOOST_TEST((p.fd() > 2) == loaded);
  }
  BOOST_TEST((obj.program("on_raw").type() == program_type::raw_tracepoint));
  BOOST_TEST((obj.program("on_btf_enter").type() == program_type::tracing));
  BOOST_TEST((obj.program("on_packet").type() == program_type::socket_filter));
}

BOOST_AUTO_TEST_CASE(give_what_the_kernel_knows) {
  auto const obj = tinybpf::load(CALLS_BPF_O);
  auto const info = obj.program("on_tracepoint").info();
  BOOST_TEST(info.id > 0);
  BOOST_TEST((info.type == program_type::tracepoint));
  BOOST_TEST(info.name == "on_tracepoint");
  BOOST_TEST(info.tag.size() == 16);
  BOOST_TEST(info.tag.find_first_not_of("0123456789abcdef") == std::string::npos);
  BOOST_TEST(info.btf_id > 0);
  BOOST_TEST(info.xlated_size > 0);
  BOOST_TEST(info.xlated_size % 8 == 0);
  BOOST_TEST(info.verified_instructions > 0);
  BOOST_TEST(info.load_time.count() > 0);
  auto const map_id = obj.map("calls").info().id;
  BOOST_TEST((std::find(info.map_ids.begin(), info.map_ids.end(), map_id) != info.map_ids.end()));

  auto const without_maps = obj.program("on_nothing").info();
  BOOST_TEST(without_maps.id > 0);
  BOOST_TEST(without_maps.id != info.id);
  BOOST_TEST(without_maps.tag != info.tag);
  // The tag is of the instructions alone.
  BOOST_TEST(tinybpf::load(CALLS_BPF_O).program("on_nothing").info().tag == without_maps.tag);
}

BOOST_AUTO_TEST_CASE(have_no_info_before_load) {
  auto const obj = object::open(CALLS_BPF_O);
  error_code ec;
  diagnostics details;
  BOOST_TEST(obj.program("on_getpgid").info(ec, details).id == 0);
  BOOST_TEST(ec == make_error_code(errc::not_loaded));
  BOOST_TEST(details.program == "on_getpgid");
  BOOST_CHECK_THROW(static_cast<void>(obj.program("on_getpgid").info()), tinybpf::error);
}

BOOST_AUTO_TEST_CASE(are_closed_when_default_constructed_moved_from_or_of_a_closed_object) {
  check_closed(program{});
  BOOST_TEST(program{}.name().empty());
  BOOST_TEST(program{}.section().empty());

  auto obj = tinybpf::load(CALLS_BPF_O);
  auto first = obj.program("on_getpgid");
  auto const copy = first;
  auto const second = std::move(first);
  check_closed(first);
  BOOST_TEST(second.fd() == copy.fd());
  BOOST_TEST(second.fd() > 2);

  obj.close();
  check_closed(second);
  check_closed(copy);
  BOOST_TEST(copy.name() == "on_getpgid");
  BOOST_TEST(copy.section() == "tracepoint/syscalls/sys_enter_getpgid");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(attaching)

BOOST_AUTO_TEST_CASE(by_the_section_of_a_tracepoint, *test::shows("tracepoint")) {
  auto const obj = tinybpf::load(CALLS_BPF_O);
  check_effect(obj, counter::on_getpgid, link_kind::tracepoint, obj.program("on_getpgid").attach());
}

BOOST_AUTO_TEST_CASE(by_the_section_of_a_raw_tracepoint, *test::shows("raw_tracepoint")) {
  auto const obj = tinybpf::load(CALLS_BPF_O);
  check_effect(obj, counter::on_raw_enter, link_kind::raw_tracepoint, obj.program("on_raw_enter").attach());
}

BOOST_AUTO_TEST_CASE(by_the_section_of_a_tracepoint_with_btf, *test::shows("tp_btf")) {
  auto const obj = tinybpf::load(CALLS_BPF_O);
  check_effect(obj, counter::on_btf_enter, link_kind::tracing, obj.program("on_btf_enter").attach());
}

BOOST_AUTO_TEST_CASE(to_a_tracepoint_by_name) {
  auto const obj = tinybpf::load(CALLS_BPF_O);
  check_effect(obj, counter::on_tracepoint, link_kind::tracepoint,
               obj.program("on_tracepoint").attach_tracepoint("syscalls", "sys_enter_getpgid"));
}

BOOST_AUTO_TEST_CASE(to_a_tracepoint_other_than_the_sections) {
  auto const obj = tinybpf::load(CALLS_BPF_O);
  auto const calls = obj.map("calls");
  auto const link = obj.program("on_getpgid").attach_tracepoint("syscalls", "sys_enter_getsid");
  test::call();
  BOOST_TEST(test::seen(calls, counter::on_getpgid) == 0);
  syscall(SYS_getsid, test::mark);
  BOOST_TEST(test::seen(calls, counter::on_getpgid) == 1);
}

BOOST_AUTO_TEST_CASE(to_a_raw_tracepoint_by_name) {
  auto const obj = tinybpf::load(CALLS_BPF_O);
  check_effect(obj, counter::on_raw, link_kind::raw_tracepoint,
               obj.program("on_raw").attach_raw_tracepoint("sys_enter"));
}

BOOST_AUTO_TEST_CASE(the_same_program_twice, *test::feature_here("raw_tracepoint twice by one program",
                                                                 test::raw_tracepoint_twice(CALLS_BPF_O))) {
  auto const obj = tinybpf::load(CALLS_BPF_O);
  auto const p = obj.program("on_raw");
  auto const first = p.attach_raw_tracepoint("sys_enter");
  auto const second = p.attach_raw_tracepoint("sys_enter");
  test::call();
  BOOST_TEST(test::seen(obj.map("calls"), counter::on_raw) == 2);
}

BOOST_AUTO_TEST_CASE(to_what_does_not_exist) {
  auto const obj = tinybpf::load(CALLS_BPF_O);
  error_code ec;
  diagnostics details;
  auto const check = [&](tinybpf::link const& link, std::string_view p, std::string_view place) {
    BOOST_TEST(!link.attached());
    BOOST_TEST(ec == test::kernel_error(ENOENT));
    BOOST_TEST(details.program == p);
    BOOST_TEST(contains(details.message, p), details.message);
    BOOST_TEST(contains(details.message, place), details.message);
    BOOST_TEST(contains(details.message, CALLS_BPF_O), details.message);
    BOOST_TEST(contains(details.hint, "no such place"), details.hint);
    BOOST_TEST(!details.log.empty());
  };
  check(obj.program("on_nothing").attach(ec, details), "on_nothing", "tracepoint/syscalls/sys_enter_of_the_dead");
  check(obj.program("on_getpgid").attach_tracepoint("syscalls", "sys_enter_nowhere", ec, details), "on_getpgid",
        "syscalls:sys_enter_nowhere");
  check(obj.program("on_raw").attach_raw_tracepoint("nowhere", ec, details), "on_raw", "nowhere");
  BOOST_CHECK_EXCEPTION(static_cast<void>(obj.program("on_nothing").attach()), tinybpf::error, [](auto const& e) {
    return e.code() == test::kernel_error(ENOENT) && contains(e.what(), "sys_enter_of_the_dead");
  });
}

BOOST_AUTO_TEST_CASE(before_load) {
  auto const obj = object::open(CALLS_BPF_O);
  auto const p = obj.program("on_getpgid");
  error_code ec;
  diagnostics details;
  for (auto const &attach :
       {+[](program const& q, error_code& e, diagnostics& d) { return q.attach(e, d); },
        +[](program const& q, error_code& e, diagnostics& d) {
          return q.attach_tracepoint("syscalls", "sys_enter_getpgid", e, d);
        },
        +[](program const& q, error_code& e, diagnostics& d) { return q.attach_raw_tracepoint("sys_enter", e, d); },
        +[](program const& q, error_code& e, diagnostics& d) { return q.attach_xdp(1, e, d); }}) {
    BOOST_TEST(!attach(p, ec, details).attached());
    BOOST_TEST(ec == make_error_code(errc::not_loaded));
    BOOST_TEST(details.program == "on_getpgid");
    BOOST_TEST(contains(details.hint, "load()"));
  }
}

BOOST_AUTO_TEST_CASE(to_a_function_of_a_program_that_is_not_there) {
  auto const obj = tinybpf::load(CALLS_BPF_O);
  auto const not_loaded = object::open(CALLS_BPF_O);
  auto const p = obj.program("on_tracepoint");
  error_code ec;
  diagnostics details;
  BOOST_TEST(!p.attach_freplace(program{}, "f", ec, details).attached());
  BOOST_TEST(ec == make_error_code(errc::closed));
  BOOST_TEST(contains(details.message, "to function 'f' of a program: that program's handle is closed"),
             details.message);
  BOOST_TEST(!p.attach_freplace(not_loaded.program("on_raw"), "f", ec, details).attached());
  BOOST_TEST(ec == make_error_code(errc::not_loaded));
  BOOST_TEST(contains(details.message, "'on_raw' is not loaded"), details.message);
  BOOST_TEST(!program{}.attach_freplace(p, "f", ec, details).attached());
  BOOST_TEST(ec == make_error_code(errc::closed));
  BOOST_CHECK_THROW(static_cast<void>(p.attach_freplace(program{}, "f")), boost::system::system_error);
}

BOOST_AUTO_TEST_CASE(by_a_section_that_names_no_place) {
  auto const obj = tinybpf::load(CALLS_BPF_O);
  error_code ec;
  diagnostics details;
  for (auto const* const name : {"on_tracepoint", "on_raw"}) {
    BOOST_TEST(!obj.program(name).attach(ec, details).attached());
    BOOST_TEST(ec == make_error_code(errc::not_supported));
    BOOST_TEST(contains(details.message, name), details.message);
    BOOST_TEST(contains(details.hint, "attach_tracepoint()"), details.hint);
  }
  BOOST_TEST(!obj.program("on_packet").attach(ec, details).attached());
  BOOST_TEST(ec == make_error_code(errc::not_supported));
}

BOOST_AUTO_TEST_CASE(a_program_of_another_type) {
  auto const obj = tinybpf::load(CALLS_BPF_O);
  error_code ec;
  diagnostics details;
  BOOST_TEST(!obj.program("on_packet").attach_raw_tracepoint("sys_enter", ec, details).attached());
  BOOST_TEST(ec.failed());
  BOOST_TEST(contains(details.message, "'on_packet'"));
}

BOOST_AUTO_TEST_SUITE_END()
