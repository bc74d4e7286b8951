// What can be said of a program before its object is loaded, and what the verifier said of it.
#include "busy_workers.hpp"
#include "calls.hpp"
#include "features.hpp"
#include "forms.hpp"
#include "support.hpp"

#include <tinybpf/async.hpp>
#include <tinybpf/global_variable.hpp>
#include <tinybpf/object.hpp>
#include <tinybpf/program.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/test/unit_test.hpp>

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace asio = boost::asio;
using test::contains;
using test::counter;
using test::kernel_error;
using tinybpf::attach_type;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::link_kind;
using tinybpf::object;
using tinybpf::program;
using tinybpf::program_type;

namespace program_settings_test {

constexpr std::uint32_t device_bound = 1U << 6U;  // BPF_F_XDP_DEV_BOUND_ONLY

struct opened {
  object obj = object::open(SET_UP_BPF_O);
  error_code ec;
  diagnostics details;

  program alone(char const* name) const {
    auto p = obj.program(name);
    p.set_autoload(true);
    return p;
  }
};

/// Each setting, in all forms, fails so.
void all_settings_fail(program const& p, program const& other, errc expected, std::string const& hint = {}) {
  auto const fails = [&](char const* name, auto call) {
    auto const details = test::refusal(expected, call);
    BOOST_TEST(contains(details.message, name), details.message);
    BOOST_TEST(contains(details.message, p.name()), details.message);
    BOOST_TEST(contains(details.hint, hint), details.hint);
  };
  auto const nothing = 0;
  fails("set_autoload", [&](auto&... out) { return p.set_autoload(false, out...), nothing; });
  fails("set_type", [&](auto&... out) { return p.set_type(program_type::xdp, out...), nothing; });
  fails("set_expected_attach_type",
        [&](auto&... out) { return p.set_expected_attach_type(attach_type::xdp, out...), nothing; });
  fails("set_attach_target", [&](auto&... out) { return p.set_attach_target("sys_enter", out...), nothing; });
  fails("set_attach_target", [&](auto&... out) { return p.set_attach_target(other, "verdict", out...), nothing; });
  fails("set_log_level", [&](auto&... out) { return p.set_log_level(1, out...), nothing; });
  fails("set_flags", [&](auto&... out) { return p.set_flags(0, out...), nothing; });
  fails("set_ifindex", [&](auto&... out) { return p.set_ifindex(1, out...), nothing; });
}

/// freplace and fexit programs are refused while the kernel is locked down: a real load tells.
test::probe_result loads_for_a_program(char const* name) {
  auto const target = tinybpf::load(RUNS_BPF_O);
  auto obj = object::open(SET_UP_BPF_O);
  auto const p = obj.program(name);
  p.set_autoload(true);
  p.set_attach_target(target.program("judged"), "verdict");
  error_code ec;
  diagnostics details;
  obj.load(ec, details);
  return {ec, details};
}
test::probe_result freplace_loads() { return loads_for_a_program("other_verdict"); }
test::probe_result fexit_of_a_program_loads() { return loads_for_a_program("on_verdict"); }

/// The kernel would refuse a flag that it does not know.
test::probe_result binds_to_devices() {
  bpf_insn const returns[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
                              {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
  bpf_prog_load_opts options{};
  options.sz = sizeof options;
  options.prog_flags = device_bound;
  int const fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "probe", "GPL", returns, std::size(returns), &options);
  if (fd >= 0) close(fd);
  return {fd >= 0, "the kernel does not know the flag (Linux 6.3 does)"};
}

std::uint32_t verdict_of(program const& p) {
  std::array<std::byte, 64> const packet{};
  return p.test_run({.data_in = packet}).retval;
}

}  // namespace program_settings_test

using namespace program_settings_test;

BOOST_FIXTURE_TEST_SUITE(settings, opened)

BOOST_AUTO_TEST_CASE(autoload_decides_what_is_loaded) {
  auto calls = object::open(CALLS_BPF_O);
  auto const left_out = calls.program("on_raw_enter");
  auto const kept = calls.program("on_getpgid");
  BOOST_TEST(left_out.autoload());
  test::accepted([&](auto&... out) { return left_out.set_autoload(false, out...), 0; });
  BOOST_TEST(!left_out.autoload());
  BOOST_TEST(kept.autoload());
  calls.load();
  BOOST_TEST(kept.fd() > 2);
  BOOST_TEST(left_out.fd() == -1);
  BOOST_TEST(left_out.is_open());
  BOOST_TEST(!left_out.autoload());
  auto const fails = [&](char const* what, auto call) {
    auto const said = test::refusal(errc::not_loaded, call);
    BOOST_TEST(contains(said.message, what), said.message);
    BOOST_TEST(contains(said.message, "autoload is off"), said.message);
    BOOST_TEST(contains(said.hint, "set_autoload"), said.hint);
    BOOST_TEST(said.program == "on_raw_enter");
  };
  fails("on_raw_enter", [&](auto&... out) { return left_out.attach(out...); });
  fails("info", [&](auto&... out) { return left_out.info(out...); });
  fails("stats", [&](auto&... out) { return left_out.stats(out...); });
  fails("test_run", [&](auto&... out) { return left_out.test_run({}, out...); });
  fails("clone", [&](auto&... out) { return left_out.clone(out...); });
  fails("pin", [&](auto&... out) { return left_out.pin("/sys/fs/bpf/never", out...), 0; });
  fails("unpin", [&](auto&... out) { return left_out.unpin(out...), 0; });

  // A section may begin with a question mark.
  for (auto const& p : obj.programs()) BOOST_TEST(!p.autoload());
  obj.load();
  for (auto const& p : obj.programs()) BOOST_TEST(p.fd() == -1);
}

BOOST_AUTO_TEST_CASE(a_type_is_what_the_kernel_is_told) {
  auto const packet = alone("packet");
  BOOST_TEST((packet.type() == program_type::socket_filter));
  test::accepted([&](auto&... out) { return packet.set_type(program_type::sched_cls, out...), 0; });
  BOOST_TEST((packet.type() == program_type::sched_cls));
  obj.load();
  BOOST_TEST((packet.type() == program_type::sched_cls));
  BOOST_TEST((packet.info().type == program_type::sched_cls));
}

BOOST_AUTO_TEST_CASE(a_type_makes_up_for_a_section_that_libbpf_does_not_know) {
  auto unknown = object::open(UNKNOWN_SECTION_BPF_O);
  auto const p = unknown.program("on_arrival");
  BOOST_TEST((p.type() == program_type::unspec));
  p.set_type(program_type::raw_tracepoint);
  unknown.load();
  BOOST_TEST(p.fd() > 2);
  auto const said = test::refusal(errc::not_supported, [&](auto&... out) { return p.attach(out...); });
  BOOST_TEST(!said.hint.empty());
  // What names no place by its section any more is left out.
  BOOST_TEST(unknown.attach().size() == 1U);
}

BOOST_AUTO_TEST_CASE(an_expected_attach_type_is_what_the_verifier_checks_for) {
  auto const on_connect = alone("on_connect");
  BOOST_TEST((on_connect.expected_attach_type() == attach_type::cgroup_inet4_connect));
  test::accepted(
      [&](auto&... out) { return on_connect.set_expected_attach_type(attach_type::cgroup_inet6_connect, out...), 0; });
  BOOST_TEST((on_connect.expected_attach_type() == attach_type::cgroup_inet6_connect));
  obj.load(ec, details);
  BOOST_TEST(ec == kernel_error(EACCES));
  BOOST_TEST(details.program == "on_connect");
  BOOST_TEST(contains(details.log, "invalid bpf_context access"), details.log);

  auto as_it_was = object::open(SET_UP_BPF_O);
  as_it_was.program("on_connect").set_autoload(true);
  as_it_was.load();
  BOOST_TEST(as_it_was.program("on_connect").fd() > 2);
}

BOOST_AUTO_TEST_CASE(flags_are_the_kernels) {
  auto const p = alone("misaligned");
  BOOST_TEST(p.flags() == 0U);
  test::accepted([&](auto&... out) { return p.set_flags(BPF_F_STRICT_ALIGNMENT, out...), 0; });
  BOOST_TEST(p.flags() == BPF_F_STRICT_ALIGNMENT);
  obj.load(ec, details);
  BOOST_TEST(ec == kernel_error(EACCES));
  BOOST_TEST(contains(details.log, "misaligned packet access"), details.log);

  auto without = object::open(SET_UP_BPF_O);
  without.program("misaligned").set_autoload(true);
  without.load();
  BOOST_TEST(without.program("misaligned").flags() == 0U);
}

BOOST_AUTO_TEST_CASE(an_interface_is_what_the_program_is_loaded_for) {
  auto const p = alone("misaligned");
  test::accepted([&](auto&... out) { return p.set_ifindex(if_nametoindex("lo"), out...), 0; });
  obj.load(ec, details);  // the loopback device runs no programs
  BOOST_TEST(ec);
  BOOST_TEST(details.program == "misaligned");
}

BOOST_AUTO_TEST_CASE(an_interface_is_what_the_program_may_be_attached_to,
                     *test::feature_here("XDP bound to a device", binds_to_devices)) {
  auto const p = alone("misaligned");
  auto const said = test::in_child([&]() -> std::string {
    test::checked(unshare(CLONE_NEWNET), "unshare");
    if (std::system("ip link add one type veth peer name two") != 0) return "no interfaces";
    auto const one = if_nametoindex("one");
    p.set_ifindex(one);
    p.set_flags(device_bound);
    obj.load();
    error_code elsewhere;
    auto const no_link = p.attach_xdp(static_cast<int>(if_nametoindex("two")), elsewhere);
    if (elsewhere != kernel_error(EINVAL)) return "not bound: " + elsewhere.message();
    return p.attach_xdp(static_cast<int>(one)).attached() ? "bound" : "not attached";
  });
  BOOST_TEST(said == "bound");
}

BOOST_AUTO_TEST_CASE(an_attach_target_is_where_it_is_attached) {
  auto const p = alone("on_enter");
  test::accepted([&](auto&... out) { return p.set_attach_target("sys_enter", out...), 0; });
  obj.load();
  auto const seen = obj.global<std::uint64_t>("seen");
  auto link = p.attach();
  BOOST_TEST((link.kind() == link_kind::tracing));
  test::call(3);
  BOOST_TEST(seen.load() == 3U);
  link = {};
  test::call();
  BOOST_TEST(seen.load() == 3U);
  auto const all = obj.attach();
  BOOST_TEST(all.size() == 1U);
  test::call();
  BOOST_TEST(seen.load() == 4U);
}

BOOST_AUTO_TEST_CASE(an_attach_target_that_there_is_not_is_named_with_its_neighbours) {
  auto const p = alone("on_enter");
  p.set_attach_target("sys_entr", ec, details);
  BOOST_TEST((ec == kernel_error(ESRCH) || ec == kernel_error(ENOENT)), ec.message());
  BOOST_TEST(contains(details.message, "sys_entr"), details.message);
  BOOST_TEST(contains(details.message, "on_enter"), details.message);
  BOOST_TEST((std::find(details.names.begin(), details.names.end(), "sys_enter") != details.names.end()));
  BOOST_TEST(contains(details.hint, "sys_enter"), details.hint);
  BOOST_TEST(details.program == "on_enter");
  auto const before = ec;
  test::refusal(before, [&](auto&... out) { return p.set_attach_target("sys_entr", out...), 0; });
  // It can still be set.
  p.set_attach_target("sys_enter");
  obj.load();
  BOOST_TEST(p.fd() > 2);
}

BOOST_AUTO_TEST_CASE(a_program_as_attach_target_has_to_be_loaded_and_have_the_function) {
  auto target = object::open(RUNS_BPF_O);
  auto const p = alone("other_verdict");
  auto const judged = target.program("judged");
  test::refusal(errc::closed, [&](auto&... out) { return p.set_attach_target(program{}, "verdict", out...), 0; });
  test::refusal(errc::not_loaded, [&](auto&... out) { return p.set_attach_target(judged, "verdict", out...), 0; });
  target.load();
  auto const said = test::refusal(kernel_error(ENOENT),
                                  [&](auto&... out) { return p.set_attach_target(judged, "verdikt", out...), 0; });
  BOOST_TEST(contains(said.message, "judged"), said.message);
  BOOST_TEST((std::find(said.names.begin(), said.names.end(), "verdict") != said.names.end()));
  test::accepted([&](auto&... out) { return p.set_attach_target(judged, "verdict", out...), 0; });
  auto no_btf = object::open(NO_BTF_BPF_O);
  no_btf.load();
  p.set_attach_target(no_btf.programs().front(), "verdict", ec, details);
  BOOST_TEST(ec == kernel_error(EINVAL));
  BOOST_TEST(contains(details.hint, "-g"), details.hint);
}

BOOST_AUTO_TEST_CASE(a_program_replaces_a_function_of_another, *test::feature_here("freplace", freplace_loads)) {
  auto target = tinybpf::load(RUNS_BPF_O);
  auto const judged = target.program("judged");
  auto const p = alone("other_verdict");
  p.set_attach_target(judged, "verdict");
  obj.load();
  BOOST_TEST(verdict_of(judged) == 1U);
  {
    auto const link = p.attach();
    BOOST_TEST((link.kind() == link_kind::freplace));
    BOOST_TEST(verdict_of(judged) == 3U);
  }
  BOOST_TEST(verdict_of(judged) == 1U);
}

BOOST_AUTO_TEST_CASE(a_program_sees_the_calls_of_a_function_of_another,
                     *test::feature_here("fexit of a program", fexit_of_a_program_loads)) {
  auto target = tinybpf::load(RUNS_BPF_O);
  auto const judged = target.program("judged");
  auto const p = alone("on_verdict");
  p.set_attach_target(judged, "verdict");
  obj.load();
  auto const seen = obj.global<std::uint64_t>("seen");
  auto const links = obj.attach();
  BOOST_TEST(links.size() == 1U);
  BOOST_TEST(verdict_of(judged) == 1U);
  BOOST_TEST(seen.load() == 1U);
}

BOOST_AUTO_TEST_CASE(instructions_are_counted) {
  auto const p = alone("on_enter");
  auto const before = p.insn_count();
  BOOST_TEST(before > 2U);
  p.set_attach_target("sys_enter");
  obj.load();
  BOOST_TEST(p.insn_count() >= before);
  BOOST_TEST(p.info().verified_instructions > 0U);
  auto target = object::open(RUNS_BPF_O);
  auto const judged = target.program("judged");
  auto const own = judged.insn_count();
  target.load();
  BOOST_TEST(judged.insn_count() > own);  // with the function that it calls
}

BOOST_AUTO_TEST_CASE(come_too_late_after_load) {
  auto target = tinybpf::load(RUNS_BPF_O);
  auto const p = alone("on_enter");
  p.set_attach_target("sys_enter");
  obj.load();
  all_settings_fail(p, target.program("judged"), errc::already_loaded, "before load()");
  all_settings_fail(target.program("judged").clone(), target.program("judged"), errc::already_loaded, "opened");
}

BOOST_AUTO_TEST_CASE(come_too_late_after_a_load_that_failed) {
  auto target = tinybpf::load(RUNS_BPF_O);
  auto const p = alone("on_connect");
  p.set_expected_attach_type(attach_type::cgroup_inet6_connect);
  obj.load(ec);
  BOOST_TEST(ec);
  all_settings_fail(p, target.program("judged"), errc::already_loaded, "anew");
}

BOOST_AUTO_TEST_CASE(fail_when_closed) {
  auto target = tinybpf::load(RUNS_BPF_O);
  auto const p = alone("on_enter");
  obj.close();
  all_settings_fail(p, target.program("judged"), errc::closed);
  test::refusal(errc::closed, [&](auto&... out) { return p.set_autoattach(false, out...), 0; });
  all_settings_fail(program{}, target.program("judged"), errc::closed);
  test::refusal(errc::closed, [&](auto&... out) { return program{}.set_autoattach(false, out...), 0; });
  for (auto const& closed : {p, program{}}) {
    BOOST_TEST(!closed.autoload());
    BOOST_TEST(!closed.autoattach());
    BOOST_TEST(closed.flags() == 0U);
    BOOST_TEST((closed.expected_attach_type() == attach_type{}));
    BOOST_TEST(closed.insn_count() == 0U);
    BOOST_TEST(closed.verifier_log() == "");
  }
}

BOOST_AUTO_TEST_CASE(wait_for_no_load_that_runs) {
  asio::io_context io;
  auto target = tinybpf::load(RUNS_BPF_O);
  auto const p = alone("on_enter");
  p.set_attach_target("sys_enter");
  test::busy_workers busy{io};
  auto loaded = tinybpf::async_load(io.get_executor(), obj, asio::use_future);
  all_settings_fail(p, target.program("judged"), errc::operation_in_progress);
  test::refusal(errc::operation_in_progress, [&](auto&... out) { return p.set_autoattach(false, out...), 0; });
  busy.release();
  io.run();
  loaded.get();
  BOOST_TEST(p.fd() > 2);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(verifier_logs, opened)

BOOST_AUTO_TEST_CASE(are_there_on_success_if_asked_for) {
  auto const log_of = [](std::uint32_t level) {
    auto o = object::open(RUNS_BPF_O);
    auto const p = o.program("rewrite");
    test::accepted([&](auto&... out) { return p.set_log_level(level, out...), 0; });
    BOOST_TEST(p.verifier_log() == "");
    o.load();
    BOOST_TEST(o.program("drop").verifier_log() == "");
    return p.verifier_log();
  };
  BOOST_TEST(log_of(0) == "");
  auto const numbers = log_of(4);
  BOOST_TEST(contains(numbers, "processed "), numbers);
  // Of a program that is accepted, the kernel forgets the path.
  BOOST_TEST(contains(log_of(1), "processed "));
  auto const path = log_of(2);
  BOOST_TEST(contains(path, "exit"), path);
  BOOST_TEST(path.size() > numbers.size());
}

BOOST_AUTO_TEST_CASE(are_in_the_diagnostics_of_a_refusal_as_well) {
  auto refused = object::open(REFUSED_BPF_O);
  auto const p = refused.program("forgets_null");
  p.set_log_level(2);
  refused.program("harmless").set_log_level(4);
  refused.load(ec, details);
  BOOST_TEST(ec == kernel_error(EACCES));
  BOOST_TEST(details.program == "forgets_null");
  BOOST_TEST(contains(p.verifier_log(), "map_value_or_null"), p.verifier_log());
  BOOST_TEST(contains(details.log, p.verifier_log()), details.log);
  BOOST_TEST(contains(refused.program("harmless").verifier_log(), "processed "));
}

BOOST_AUTO_TEST_CASE(take_little_memory_of_who_keeps_all_of_it) {
  auto const said = test::in_child([]() -> std::string {
    if (mlockall(MCL_FUTURE) != 0) return "mlockall failed";
    rusage before{};
    getrusage(RUSAGE_SELF, &before);
    auto o = object::open(RUNS_BPF_O);
    o.program("drop").set_log_level(1);
    o.load();
    rusage after{};
    getrusage(RUSAGE_SELF, &after);
    auto const grown = (after.ru_maxrss - before.ru_maxrss) >> 10;
    if (!contains(o.program("drop").verifier_log(), "processed ")) return "no log";
    return grown < 200 ? "little" : std::to_string(grown) + " MiB";
  });
  BOOST_TEST(said == "little");
}

BOOST_AUTO_TEST_CASE(have_no_end_that_matters) {
  auto refused = object::open(REFUSED_LONG_BPF_O);
  auto const p = refused.program("walks_far");
  p.set_log_level(2);
  refused.load(ec, details);
  BOOST_TEST(ec == kernel_error(EACCES));
  auto const log = p.verifier_log();
  BOOST_TEST(log.size() > 100'000U);
  BOOST_TEST(contains(log.substr(0, 300), "0: "), log.substr(0, 300));
  BOOST_TEST(contains(log.substr(log.size() - 300), "processed "), log.substr(log.size() - 300));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(attaching_all)

struct calls_object {
  object obj = object::open(CALLS_BPF_O);
  error_code ec;
  diagnostics details;

  std::uint64_t seen(counter which) const { return test::seen(obj.map("calls"), which); }
};

BOOST_FIXTURE_TEST_CASE(attaches_what_has_a_place, calls_object) {
  auto const nowhere = obj.program("on_nothing");
  BOOST_TEST(nowhere.autoattach());
  test::accepted([&](auto&... out) { return nowhere.set_autoattach(false, out...), 0; });
  BOOST_TEST(!nowhere.autoattach());
  obj.load();
  BOOST_TEST(!nowhere.autoattach());
  {
    auto const links = obj.attach();
    BOOST_TEST_REQUIRE(links.size() == 3U);
    BOOST_TEST((links[0].kind() == link_kind::tracepoint));
    BOOST_TEST((links[1].kind() == link_kind::raw_tracepoint));
    BOOST_TEST((links[2].kind() == link_kind::tracing));
    test::call(2);
    for (auto const which : {counter::on_getpgid, counter::on_raw_enter, counter::on_btf_enter})
      BOOST_TEST(seen(which) == 2U);
  }
  test::call();
  BOOST_TEST(seen(counter::on_raw_enter) == 2U);
  test::accepted([&](auto&... out) { return obj.attach(out...); });
}

BOOST_FIXTURE_TEST_CASE(may_be_told_after_load_what_to_leave_out, calls_object) {
  obj.load();
  for (auto const& p : obj.programs()) p.set_autoattach(p.name() == "on_raw_enter");
  auto const links = obj.attach();
  BOOST_TEST(links.size() == 1U);
  test::call();
  BOOST_TEST(seen(counter::on_raw_enter) == 1U);
  BOOST_TEST(seen(counter::on_btf_enter) == 0U);
}

BOOST_FIXTURE_TEST_CASE(leaves_out_what_was_not_loaded, calls_object) {
  for (auto const name : {"on_nothing", "on_getpgid"}) obj.program(name).set_autoload(false);
  obj.load();
  BOOST_TEST(obj.attach().size() == 2U);
}

BOOST_FIXTURE_TEST_CASE(leaves_nothing_attached_when_one_fails, calls_object) {
  obj.load();
  auto const said = test::refusal(kernel_error(ENOENT), [&](auto&... out) { return obj.attach(out...); });
  BOOST_TEST(said.program == "on_nothing");
  BOOST_TEST(contains(said.message, "on_nothing"), said.message);
  BOOST_TEST(obj.attach(ec).empty());
  test::call();
  BOOST_TEST(seen(counter::on_raw_enter) == 0U);
}

BOOST_FIXTURE_TEST_CASE(needs_a_loaded_object, calls_object) {
  test::refusal(errc::not_loaded, [&](auto&... out) { return obj.attach(out...); });
  obj.close();
  test::refusal(errc::closed, [&](auto&... out) { return obj.attach(out...); });
  test::refusal(errc::closed, [&](auto&... out) { return object{}.attach(out...); });
}

BOOST_FIXTURE_TEST_CASE(keeps_off_the_loop, calls_object) {
  asio::io_context io;
  obj.program("on_nothing").set_autoattach(false);
  obj.load();
  {
    auto links = test::run(io, tinybpf::async_attach(io.get_executor(), obj));
    BOOST_TEST(links.size() == 3U);
    test::call();
    BOOST_TEST(seen(counter::on_btf_enter) == 1U);
    for (auto& link : links) link.detach();  // here and now: the worker would do it while they are attached again
  }
  obj.program("on_nothing").set_autoattach(true);
  BOOST_CHECK_EXCEPTION(static_cast<void>(test::run(io, tinybpf::async_attach(io.get_executor(), obj))), tinybpf::error,
                        [](auto const& e) { return e.get_diagnostics().program == "on_nothing"; });
  std::optional<error_code> done;
  tinybpf::async_attach(io.get_executor(), obj, details, [&](error_code e, std::vector<tinybpf::link> links) {
    done = e;
    BOOST_TEST(links.empty());
  });
  tinybpf::async_attach(io.get_executor(), object{}, [&](error_code e, std::vector<tinybpf::link>) {
    BOOST_TEST(e == make_error_code(errc::closed));
  });
  io.restart();
  io.run();
  BOOST_TEST(done.value() == kernel_error(ENOENT));
  BOOST_TEST(details.program == "on_nothing");
}

// The leak check sees whether they are detached.
BOOST_FIXTURE_TEST_CASE(detaches_what_a_cancelled_call_attached, calls_object) {
  asio::io_context io;
  obj.program("on_nothing").set_autoattach(false);
  obj.load();
  asio::cancellation_signal signal;
  std::optional<error_code> done;
  {
    test::busy_workers busy{io};
    tinybpf::async_attach(io.get_executor(), obj,
                          asio::bind_cancellation_slot(signal.slot(), [&](error_code e, std::vector<tinybpf::link> l) {
                            done = e;
                            BOOST_TEST(l.empty());
                          }));
    signal.emit(asio::cancellation_type::terminal);
    obj = object{};
  }
  io.run();
  BOOST_TEST(done.value() == asio::error::operation_aborted);
}

BOOST_AUTO_TEST_SUITE_END()
