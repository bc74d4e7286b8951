// What the kernel says it can do, when asked by having it done.
#include <tinybpf/features.hpp>

#include "privileges.hpp"
#include "support.hpp"

#include <tinybpf/map.hpp>
#include <tinybpf/object.hpp>
#include <tinybpf/version.hpp>

#include <boost/test/unit_test.hpp>

#include <sched.h>
#include <sys/resource.h>

#include <array>
#include <string>
#include <thread>
#include <vector>

namespace ut = boost::unit_test;
using test::contains;
using test::running_kernel;
using tinybpf::capability;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::helper;
using tinybpf::map_type;
using tinybpf::program_type;
using tinybpf::supports;
using tinybpf::version_number;

namespace {

template <class... Args>
std::string answer(Args... args) {
  error_code ec;
  diagnostics details;
  bool const yes = supports(args..., ec, details);
  if (ec) return std::to_string(ec.value()) + ": " + details.to_string();
  return yes ? "yes" : "no: " + details.message;
}

// The three forms agree.
template <class... Args>
void check_forms(Args... args) {
  error_code ec;
  diagnostics details;
  auto const said = supports(args..., ec, details);
  BOOST_TEST(!ec);
  BOOST_TEST(supports(args..., ec) == said);
  BOOST_TEST(!ec);
  BOOST_TEST(supports(args...) == said);
  BOOST_TEST(said == details.message.empty());
}

}  // namespace

BOOST_AUTO_TEST_SUITE(kernel_features)

// What all kernels have that this library runs on. Those that need a BPF trampoline or a driver are below.
BOOST_AUTO_TEST_CASE(types_of_programs) {
  for (auto number = 1U; number <= static_cast<unsigned>(program_type::netfilter); ++number) {
    auto const type = static_cast<program_type>(number);
    if (type == program_type::lirc_mode2 || type == program_type::ext || type == program_type::lsm) continue;
    bool const expected = type != program_type::netfilter || running_kernel() >= version_number{6, 4, 0};
    BOOST_TEST(supports(type) == expected, to_string(type) << ": " << answer(type));
    check_forms(type);
  }
}

BOOST_AUTO_TEST_CASE(types_of_maps) {
  for (auto number = 1U; number <= static_cast<unsigned>(map_type::arena); ++number) {
    auto const type = static_cast<map_type>(number);
    version_number const since = type == map_type::arena          ? version_number{6, 9, 0}
                                 : type == map_type::cgrp_storage ? version_number{6, 2, 0}
                                                                  : version_number{};
    BOOST_TEST(supports(type) == (running_kernel() >= since), to_string(type) << ": " << answer(type));
    check_forms(type);
  }
}

// Whatever the answer is, it has its reason.
BOOST_AUTO_TEST_CASE(types_that_a_kernel_may_forbid) {
  for (auto const type : {program_type::ext, program_type::lsm, program_type::lirc_mode2}) {
    auto const said = answer(type);
    BOOST_TEST_MESSAGE(to_string(type) << ": " << said);
    bool const yes = said == "yes";
    bool const not_there =
        contains(said, "no: the kernel does not support programs of type " + std::string{to_string(type)} + ": ");
    bool const forbidden =
        contains(said, "no: the kernel does not allow programs of type " + std::string{to_string(type)} + ": ") &&
        contains(said, "lockdown");
    BOOST_TEST((yes || not_there || forbidden), said);
    check_forms(type);
  }
}

BOOST_AUTO_TEST_CASE(types_without_a_name) {
  for (auto const& said :
       {answer(static_cast<program_type>(1000)), answer(program_type::unspec), answer(static_cast<map_type>(1000)),
        answer(map_type::unspec), answer(helper::map_lookup_elem, static_cast<program_type>(1000))})
    BOOST_TEST(said.starts_with(std::to_string(static_cast<int>(errc::not_supported)) + ": "), said);
  BOOST_CHECK_THROW(static_cast<void>(supports(program_type::unspec)), tinybpf::error);
}

BOOST_AUTO_TEST_CASE(helpers_of_all_types) {
  for (auto number = 1U; number <= static_cast<unsigned>(program_type::netfilter); ++number) {
    auto const type = static_cast<program_type>(number);
    BOOST_TEST(supports(helper::map_lookup_elem, type) == supports(type), to_string(type));
  }
}

// One row for each way in which the kernel restricts its helpers.
BOOST_AUTO_TEST_CASE(helpers_of_some_types) {
  struct {
    helper function;
    program_type type;
    bool expected;
  } constexpr rows[] = {
      {helper::xdp_adjust_head, program_type::xdp, true},
      {helper::xdp_adjust_head, program_type::sched_cls, false},
      {helper::skb_store_bytes, program_type::sched_cls, true},
      {helper::skb_store_bytes, program_type::xdp, false},
      {helper::sk_assign, program_type::sk_lookup, true},
      {helper::sk_assign, program_type::xdp, false},
      {helper::ringbuf_output, program_type::socket_filter, true},
      {helper::perf_event_output, program_type::tracepoint, true},
      {helper::get_current_task, program_type::raw_tracepoint, true},
      {helper::probe_read_kernel, program_type::socket_filter, true},
      {helper::override_return, program_type::xdp, false},
      {helper::sys_bpf, program_type::syscall, true},
      {helper::sys_bpf, program_type::tracepoint, false},
      {helper::seq_printf, program_type::tracing, true},  // iterators only
      {helper::get_attach_cookie, program_type::kprobe, true},
      {helper::d_path, program_type::tracing, true},             // in some functions only
      {helper::bind, program_type::cgroup_sock_addr, true},      // connect only
      {helper::setsockopt, program_type::cgroup_sockopt, true},  // not in getsockopt on old kernels
      {helper::tcp_send_ack, program_type::struct_ops, true},
      {helper::copy_from_user, program_type::tracing, true},  // where it may sleep
      {helper::tail_call, program_type::xdp, true},
      {helper::unspec, program_type::xdp, false},
  };
  for (auto const& row : rows) {
    BOOST_TEST(supports(row.function, row.type) == row.expected,
               to_string(row.function) << " in " << to_string(row.type) << ": " << answer(row.function, row.type));
    check_forms(row.function, row.type);
  }
}

BOOST_AUTO_TEST_CASE(helpers_say_why_not) {
  BOOST_TEST(answer(helper::xdp_adjust_head, program_type::sched_cls) ==
             "no: programs of type sched_cls may not call bpf_xdp_adjust_head on this kernel");
  BOOST_TEST(answer(static_cast<helper>(100'000), program_type::xdp) == "no: the kernel does not know helper #100000");
  BOOST_TEST(answer(static_cast<helper>(100'000)) == "no: the kernel does not know helper #100000");
  BOOST_TEST(answer(helper::unspec) == "no: no type of programs that can be loaded here may call bpf_unspec");
  error_code ec;
  diagnostics details;
  BOOST_TEST(!supports(helper::xdp_adjust_head, program_type::sched_cls, ec, details));
  BOOST_TEST(contains(details.log, "bpf_xdp_adjust_head"), details.log);
}

// The kernel's list grew until Linux 6.2.
BOOST_AUTO_TEST_CASE(helpers_by_age) {
  BOOST_TEST(supports(helper::ringbuf_output));
  BOOST_TEST(supports(helper::user_ringbuf_drain));
  BOOST_TEST(supports(helper::cgrp_storage_get) == (running_kernel() >= version_number{6, 2, 0}),
             answer(helper::cgrp_storage_get));
  if (running_kernel() < version_number{6, 2, 0})
    BOOST_TEST(contains(answer(helper::cgrp_storage_get), "the kernel does not know bpf_cgrp_storage_get"));
  check_forms(helper::ringbuf_output);
}

BOOST_AUTO_TEST_CASE(helpers_have_the_kernels_names) {
  BOOST_TEST(to_string(helper::map_lookup_elem) == "bpf_map_lookup_elem");
  BOOST_TEST(to_string(helper::cgrp_storage_delete) == "bpf_cgrp_storage_delete");
  BOOST_TEST(to_string(static_cast<helper>(100'000)) == "unknown");
  // The verifier's log names what it was asked for: names and numbers are those of the kernel.
  for (auto number = 1U; number <= static_cast<unsigned>(helper::cgrp_storage_delete); ++number) {
    auto const h = static_cast<helper>(number);
    error_code ec;
    diagnostics details;
    if (supports(h, program_type::cgroup_device, ec, details) || contains(details.message, "does not know")) continue;
    auto const name = " " + std::string{to_string(h)} + "#" + std::to_string(number);
    BOOST_TEST(contains(details.log, name), name << ": " << details.log);
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(what_cannot_be_known)

template <class F>
std::string as_nobody_with(tinybpf::capability_set capabilities, F f) {
  return test::in_child([&] {
    test::become_nobody_with(capabilities);
    return f();
  });
}

BOOST_AUTO_TEST_CASE(without_the_capabilities) {
  auto const program = as_nobody_with(capability::bpf, [] { return answer(program_type::xdp); });
  BOOST_TEST(
      program.starts_with(std::to_string(EPERM) + ": cannot tell whether the kernel supports programs of type xdp"),
      program);
  BOOST_TEST(contains(program, "lacks CAP_NET_ADMIN;"), program);
  auto const map = as_nobody_with({}, [] { return answer(map_type::hash); });
  BOOST_TEST(map.starts_with(std::to_string(EPERM) + ": "), map);
  BOOST_TEST(contains(map, "lacks CAP_BPF;"), map);
  auto const any = as_nobody_with({}, [] { return answer(helper::ringbuf_output); });
  BOOST_TEST(any.starts_with(std::to_string(EPERM) + ": "), any);
}

// The verifier says of a helper that it does not know it, to who lacks what it takes.
BOOST_AUTO_TEST_CASE(helpers_that_are_hidden) {
  auto const asked = [] { return answer(helper::trace_printk, program_type::socket_filter); };
  auto const said = as_nobody_with(capability::bpf, asked);
  BOOST_TEST(said.starts_with(std::to_string(EPERM) + ": "), said);
  BOOST_TEST(contains(said, "lacks CAP_PERFMON;"), said);
  BOOST_TEST(as_nobody_with({capability::bpf, capability::perfmon}, asked) == "yes");
  // What is not hidden is known without.
  BOOST_TEST(as_nobody_with(capability::bpf,
                            [] { return answer(helper::map_lookup_elem, program_type::socket_filter); }) == "yes");
  BOOST_TEST(as_nobody_with(capability::bpf, [] { return answer(helper::map_lookup_elem); }) == "yes");
}

#ifdef TINYBPF_TEST_PLAIN_CHILDREN
// All capabilities, which count for nothing here: the kernel refuses whatever it supports.
BOOST_AUTO_TEST_CASE(in_a_user_namespace) {
  auto const in_namespace = [](auto... args) {
    return test::in_child([&] {
      test::checked(unshare(CLONE_NEWUSER), "unshare");
      return answer(args...);
    });
  };
  for (auto const& said :
       {in_namespace(map_type::hash), in_namespace(program_type::xdp), in_namespace(helper::ringbuf_output),
        in_namespace(helper::ringbuf_output, program_type::socket_filter)}) {
    BOOST_TEST(said.starts_with(std::to_string(EPERM) + ": cannot tell"), said);
    BOOST_TEST(contains(said, "in its user namespace only"), said);
  }
}
#endif

// It stands in for the others, also for CAP_NET_ADMIN where programs are loaded.
BOOST_AUTO_TEST_CASE(are_known_with_one_capability) {
  auto const asked = [](auto... args) {
    return as_nobody_with(capability::sys_admin, [&] { return answer(args...); });
  };
  BOOST_TEST(asked(helper::xdp_adjust_head, program_type::xdp) == "yes");
  BOOST_TEST(asked(helper::xdp_adjust_head, program_type::sched_cls) ==
             "no: programs of type sched_cls may not call bpf_xdp_adjust_head on this kernel");
  auto const any = asked(helper::unspec);
  BOOST_TEST(any.starts_with("no: "), any);
  auto const forbidden = asked(program_type::ext);
  BOOST_TEST((forbidden == "yes" || forbidden.starts_with("no: ")), forbidden);
}

BOOST_AUTO_TEST_CASE(without_descriptors) {
  auto const without = [](auto... args) {
    return test::in_child([&] {
      static_cast<void>(answer(args...));  // what is read once was read
      int const lowest = test::checked(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3), "dup");
      close(lowest);
      rlimit const limit{static_cast<rlim_t>(lowest), static_cast<rlim_t>(lowest)};
      test::checked(setrlimit(RLIMIT_NOFILE, &limit), "setrlimit");
      return answer(args...);
    });
  };
  for (auto const& said : {without(program_type::xdp), without(map_type::hash), without(map_type::array_of_maps),
                           without(map_type::sk_storage)})
    BOOST_TEST(said.starts_with(std::to_string(EMFILE) + ": "), said);
  BOOST_TEST(without(helper::ktime_get_ns, program_type::xdp).starts_with(std::to_string(EMFILE) + ": "));
  // The verifier answers before a descriptor is needed.
  BOOST_TEST(without(helper::map_lookup_elem, program_type::xdp) == "yes");
  BOOST_TEST(without(helper::xdp_adjust_head, program_type::sched_cls).starts_with("no: "));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(probes)

BOOST_AUTO_TEST_CASE(print_nothing) {
  test::stderr_capture const err;
  static_cast<void>(answer(program_type::ext));
  static_cast<void>(answer(helper::xdp_adjust_head, program_type::sched_cls));
  static_cast<void>(test::in_child([] {
    test::become_nobody_with({});
    return answer(program_type::tracing) + answer(map_type::sk_storage);
  }));
  BOOST_TEST(err.text() == "");
}

BOOST_AUTO_TEST_CASE(run_on_several_threads_at_once) {
  // In a child: there the kernel's types are unknown yet, unless a case before this one asked.
  auto const said = test::in_child([] {
    std::array<std::string, 4> answers;
    std::vector<std::thread> threads;
    for (auto& a : answers)
      threads.emplace_back([&a] { a = answer(program_type::tracing) + answer(map_type::struct_ops); });
    std::string all;
    for (auto& t : threads) t.join();
    for (auto const& a : answers) all += a + " ";
    return all;
  });
  BOOST_TEST(said == "yesyes yesyes yesyes yesyes ");
}

BOOST_AUTO_TEST_SUITE_END()
