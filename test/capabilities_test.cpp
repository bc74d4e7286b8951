// What BPF takes, held against the kernel: with exactly the capabilities that are said it works, with one less it is
// refused. Each attempt in a forked child.
#include <tinybpf/capabilities.hpp>

#include "calls.hpp"
#include "features.hpp"
#include "forms.hpp"
#include "own_cgroup.hpp"
#include "privileges.hpp"
#include "support.hpp"

#include <tinybpf/features.hpp>
#include <tinybpf/object.hpp>

#include <boost/test/unit_test.hpp>

#include <sys/mount.h>

#include <bpf/bpf.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

namespace ut = boost::unit_test;
using test::contains;
using tinybpf::capability;
using tinybpf::capability_set;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::map_type;
using tinybpf::object;
using tinybpf::program_type;

namespace {

capability_set const loading_tracers{capability::bpf, capability::perfmon};
/// With perf events, which Debian's kernels restrict further.
capability_set const perf_events =
    loading_tracers | (test::perf_events_are_restricted() ? capability_set{capability::sys_admin} : capability_set{});

/// A row of /proc/thread-self/status.
capability_set status(std::string const& row) {
  std::ifstream in{"/proc/thread-self/status"};
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(row)) return capability_set::from_bits(std::stoull(line.substr(row.size()), nullptr, 16));
  throw std::runtime_error{row};
}

std::string words(error_code ec, diagnostics const& details) {
  return ec ? std::to_string(ec.value()) + ": " + details.to_string() : "no error";
}

template <class F>
std::string as_nobody_with(capability_set capabilities, F f) {
  return test::in_child([&] {
    test::become_nobody_with(capabilities);
    return f();
  });
}

/// Whether the kernel makes one, for who has these capabilities.
template <class Type>
std::string made_with(capability_set capabilities, Type type) {
  return as_nobody_with(capabilities, [type] {
    error_code ec;
    diagnostics details;
    bool const made = supports(type, ec, details);
    return made ? "yes" : ec ? words(ec, details) : "no: " + details.message;
  });
}

template <class Type>
void check_both_directions(Type type) {
  auto const required = required_capabilities(type);
  BOOST_TEST(!required.empty());
  BOOST_TEST(made_with(required, type) == "yes");
  for (auto const c : required) {
    auto const said = made_with(required - c, type);
    BOOST_TEST(said.starts_with(std::to_string(EPERM) + ": "), "without " << to_string(c) << ": " << said);
    BOOST_TEST(contains(said, "lacks " + std::string{to_string(c)} + ";"), said);
  }
  BOOST_TEST(made_with(capability::sys_admin | (required & capability::net_admin), type) == "yes");
  if constexpr (std::is_same_v<Type, tinybpf::program_type>)
    BOOST_TEST(made_with(capability::sys_admin, type) == "yes");
}

/// Root cannot make one: the kernel has none, or forbids it. These are types, not features: there are some 70, and most
/// of them have no row in the table.
template <class Type>
auto here(Type type) {
  return ut::precondition([type](ut::test_unit_id) {
    error_code ec;
    diagnostics details;
    boost::test_tools::assertion_result result{supports(type, ec, details)};
    result.message() << details.message;
    return result;
  });
}

/// With the sysctl at 0 some need no privileges, and the tables say more than the kernel asks for.
bool unprivileged_bpf_is_disabled() {
  int value = 0;
  std::ifstream{"/proc/sys/kernel/unprivileged_bpf_disabled"} >> value;
  return value != 0;
}

auto disabled_for_others() {
  return ut::precondition([](ut::test_unit_id) {
    boost::test_tools::assertion_result result{unprivileged_bpf_is_disabled()};
    result.message() << "kernel.unprivileged_bpf_disabled is 0";
    return result;
  });
}

}  // namespace

BOOST_TEST_DONT_PRINT_LOG_VALUE(tinybpf::capability_set)
BOOST_TEST_DONT_PRINT_LOG_VALUE(tinybpf::capability_set::iterator)
BOOST_TEST_DONT_PRINT_LOG_VALUE(tinybpf::capability)

BOOST_AUTO_TEST_SUITE(sets)

BOOST_AUTO_TEST_CASE(are_values) {
  constexpr capability_set none;
  static_assert(none.empty() && none.size() == 0 && none == capability_set{});
  constexpr capability_set two{capability::bpf, capability::perfmon};
  static_assert(two.size() == 2 && two.contains(capability::bpf) && !two.contains(capability::net_admin));
  static_assert(two.contains(two) && two.contains(none) && !none.contains(two));
  static_assert((two | capability::net_admin).size() == 3 && (two & capability::bpf) == capability::bpf);
  static_assert(two - capability::bpf == capability::perfmon && (none - two).empty());
  static_assert(capability_set::from_bits(two.bits()) == two && two.bits() == (3ULL << 38U));
  std::vector<capability> seen;
  for (auto const c : two | capability::chown) seen.push_back(c);
  BOOST_TEST((seen == std::vector{capability::chown, capability::perfmon, capability::bpf}));
  BOOST_TEST((two.begin()++ == two.begin()));
}

BOOST_AUTO_TEST_CASE(have_the_kernels_names) {
  BOOST_TEST(to_string(capability::bpf) == "CAP_BPF");
  BOOST_TEST(to_string(capability::dac_read_search) == "CAP_DAC_READ_SEARCH");
  BOOST_TEST(to_string(capability::checkpoint_restore) == "CAP_CHECKPOINT_RESTORE");
  BOOST_TEST(to_string(static_cast<capability>(63)) == "unknown");
  BOOST_TEST(to_string(capability_set{}) == "none");
  BOOST_TEST(to_string(capability_set{capability::bpf, capability::perfmon}) == "CAP_PERFMON, CAP_BPF");
  BOOST_TEST(to_string(capability_set{static_cast<capability>(63), capability::kill}) == "CAP_KILL, 63");
}

// The names and numbers are the kernel's as long as capget says what /proc says.
BOOST_AUTO_TEST_CASE(of_a_thread_are_what_proc_says) {
  BOOST_TEST((tinybpf::current_capabilities() == status("CapEff:")));
  BOOST_TEST((tinybpf::permitted_capabilities() == status("CapPrm:")));
  BOOST_TEST(tinybpf::current_capabilities().contains(loading_tracers));
  capability_set const kept{capability::bpf, capability::kill};
  auto const said = as_nobody_with(kept, [] { return to_string(tinybpf::current_capabilities()); });
  BOOST_TEST(said == "CAP_KILL, CAP_BPF");
}

BOOST_AUTO_TEST_CASE(are_a_threads_own) {
  auto const before = tinybpf::current_capabilities();
  capability_set in_thread;
  std::thread{[&] {
    test::set_capabilities(capability::bpf);
    in_thread = tinybpf::current_capabilities();
  }}.join();
  BOOST_TEST((in_thread == capability::bpf));
  BOOST_TEST((tinybpf::current_capabilities() == before));
}

BOOST_AUTO_TEST_CASE(that_are_permitted_need_not_be_effective) {
  auto const said = test::in_child([] {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2] = {};
    data[1].permitted = 1U << (CAP_BPF - 32);
    test::checked(static_cast<int>(syscall(SYS_capset, &header, data)), "capset");
    return to_string(tinybpf::current_capabilities()) + " of " + to_string(tinybpf::permitted_capabilities());
  });
  BOOST_TEST(said == "none of CAP_BPF");
}

BOOST_AUTO_TEST_CASE(what_is_missing) {
  auto const missing = [](capability_set held, capability_set required) {
    return as_nobody_with(held, [&] { return to_string(tinybpf::missing_capabilities(required)); });
  };
  BOOST_TEST(missing({}, loading_tracers) == "CAP_PERFMON, CAP_BPF");
  BOOST_TEST(missing(capability::bpf, loading_tracers) == "CAP_PERFMON");
  BOOST_TEST(missing(loading_tracers, loading_tracers) == "none");
  BOOST_TEST(missing(capability::sys_admin, loading_tracers) == "none");
  BOOST_TEST(missing(capability::sys_admin, loading_tracers | capability::net_admin) == "CAP_NET_ADMIN");
  BOOST_TEST(missing(capability::sys_admin, capability::dac_read_search) == "CAP_DAC_READ_SEARCH");
  BOOST_TEST(missing(loading_tracers, capability::sys_admin) == "CAP_SYS_ADMIN");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(programs, *disabled_for_others())

#define PROGRAM_OF_TYPE(t) \
  BOOST_AUTO_TEST_CASE(t##_programs, *here(program_type::t)) { check_both_directions(program_type::t); }
PROGRAM_OF_TYPE(socket_filter)
PROGRAM_OF_TYPE(kprobe)
PROGRAM_OF_TYPE(sched_cls)
PROGRAM_OF_TYPE(sched_act)
PROGRAM_OF_TYPE(tracepoint)
PROGRAM_OF_TYPE(xdp)
PROGRAM_OF_TYPE(perf_event)
PROGRAM_OF_TYPE(cgroup_skb)
PROGRAM_OF_TYPE(cgroup_sock)
PROGRAM_OF_TYPE(lwt_in)
PROGRAM_OF_TYPE(lwt_out)
PROGRAM_OF_TYPE(lwt_xmit)
PROGRAM_OF_TYPE(sock_ops)
PROGRAM_OF_TYPE(sk_skb)
PROGRAM_OF_TYPE(cgroup_device)
PROGRAM_OF_TYPE(sk_msg)
PROGRAM_OF_TYPE(raw_tracepoint)
PROGRAM_OF_TYPE(cgroup_sock_addr)
PROGRAM_OF_TYPE(lwt_seg6local)
PROGRAM_OF_TYPE(lirc_mode2)
PROGRAM_OF_TYPE(sk_reuseport)
PROGRAM_OF_TYPE(flow_dissector)
PROGRAM_OF_TYPE(cgroup_sysctl)
PROGRAM_OF_TYPE(raw_tracepoint_writable)
PROGRAM_OF_TYPE(cgroup_sockopt)
PROGRAM_OF_TYPE(tracing)
PROGRAM_OF_TYPE(struct_ops)
PROGRAM_OF_TYPE(ext)
PROGRAM_OF_TYPE(lsm)
PROGRAM_OF_TYPE(sk_lookup)
PROGRAM_OF_TYPE(syscall)
PROGRAM_OF_TYPE(netfilter)
#undef PROGRAM_OF_TYPE

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(maps, *disabled_for_others())

#define MAP_OF_TYPE(t) \
  BOOST_AUTO_TEST_CASE(t##_maps, *here(map_type::t)) { check_both_directions(map_type::t); }
MAP_OF_TYPE(hash)
MAP_OF_TYPE(array)
MAP_OF_TYPE(prog_array)
MAP_OF_TYPE(perf_event_array)
MAP_OF_TYPE(percpu_hash)
MAP_OF_TYPE(percpu_array)
MAP_OF_TYPE(stack_trace)
MAP_OF_TYPE(cgroup_array)
MAP_OF_TYPE(lru_hash)
MAP_OF_TYPE(lru_percpu_hash)
MAP_OF_TYPE(lpm_trie)
MAP_OF_TYPE(array_of_maps)
MAP_OF_TYPE(hash_of_maps)
MAP_OF_TYPE(devmap)
MAP_OF_TYPE(sockmap)
MAP_OF_TYPE(cpumap)
MAP_OF_TYPE(xskmap)
MAP_OF_TYPE(sockhash)
MAP_OF_TYPE(cgroup_storage)
MAP_OF_TYPE(reuseport_sockarray)
MAP_OF_TYPE(percpu_cgroup_storage)
MAP_OF_TYPE(queue)
MAP_OF_TYPE(stack)
MAP_OF_TYPE(sk_storage)
MAP_OF_TYPE(devmap_hash)
MAP_OF_TYPE(struct_ops)
MAP_OF_TYPE(ringbuf)
MAP_OF_TYPE(inode_storage)
MAP_OF_TYPE(task_storage)
MAP_OF_TYPE(bloom_filter)
MAP_OF_TYPE(user_ringbuf)
MAP_OF_TYPE(cgrp_storage)
MAP_OF_TYPE(arena)
#undef MAP_OF_TYPE

BOOST_AUTO_TEST_SUITE_END()

namespace {

std::string load(std::filesystem::path const& file) {
  error_code ec;
  diagnostics details;
  static_cast<void>(tinybpf::load(file, ec, details));
  return words(ec, details);
}

/// Loaded by root, attached by nobody with these capabilities.
template <class F>
std::string attached_with(capability_set capabilities, char const* file, char const* program, F attach) {
  return test::in_child([&] {
    test::checked(unshare(CLONE_NEWNET), "unshare");  // its interface is nobody else's
    auto const obj = tinybpf::load(file);
    auto const p = obj.program(program);
    test::become_nobody_with(capabilities);
    return std::string{attach(p)};
  });
}

std::string attach(tinybpf::program const& p) {
  error_code ec;
  diagnostics details;
  auto const link = p.attach(ec, details);
  return words(ec, details);
}

test::probe_result kprobe_attaches() {
  error_code ec;
  diagnostics details;
  auto const obj = tinybpf::load(PRIVILEGED_BPF_O);
  auto const link = obj.program("on_sleep").attach(ec, details);
  return {ec, details};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(objects)

BOOST_AUTO_TEST_CASE(need_what_their_parts_need) {
  auto const obj = object::open(PRIVILEGED_BPF_O);
  BOOST_TEST((required_capabilities(obj.map("devices")) == capability_set{capability::bpf, capability::net_admin}));
  BOOST_TEST((required_capabilities(obj.map("zero_seed")) == capability_set{capability::bpf, capability::sys_admin}));
  BOOST_TEST((required_capabilities(obj.program("on_call")) == (loading_tracers | capability::sys_admin)));
  BOOST_TEST(
      (required_capabilities(obj.program("on_ingress")) == capability_set{capability::bpf, capability::net_admin}));
  BOOST_TEST(
      (required_capabilities(obj.program("on_frame")) == capability_set{capability::bpf, capability::net_admin}));
  BOOST_TEST((required_capabilities(obj) == (loading_tracers | capability::sys_admin | capability::net_admin)));
}

BOOST_AUTO_TEST_CASE(load_with_what_is_said_and_not_with_less) {
  for (auto const* const file : {MAP_KINDS_BPF_O, CALLS_BPF_O}) {
    // What attaching takes beyond that is not needed here.
    auto const required =
        required_capabilities(object::open(file)) - capability_set{capability::dac_read_search, capability::sys_admin};
    test::readable_copy const copy{file};
    BOOST_TEST(as_nobody_with(required, [&] { return load(copy.path()); }) == "no error");
    for (auto const c : required) {
      auto const said = as_nobody_with(required - c, [&] { return load(copy.path()); });
      BOOST_TEST(said.starts_with(std::to_string(EPERM) + ": "), said);
      BOOST_TEST(contains(said, "lacks " + std::string{to_string(c)} + ";"), said);
    }
  }
}

// It subtracts pointers: that is for the verifier to say, and for no table.
BOOST_AUTO_TEST_CASE(may_meet_a_stricter_verifier_without_perfmon) {
  auto const required = required_capabilities(object::open(XDP_COUNTER_BPF_O));
  BOOST_TEST((required == capability_set{capability::bpf, capability::net_admin}));
  test::readable_copy const copy{XDP_COUNTER_BPF_O};
  auto const said = as_nobody_with(required, [&] { return load(copy.path()); });
  BOOST_TEST(said.starts_with(std::to_string(EACCES) + ": "), said);
  BOOST_TEST(contains(said, "stricter with a process that lacks CAP_PERFMON"), said);
  BOOST_TEST(as_nobody_with(required | capability::perfmon, [&] { return load(copy.path()); }) == "no error");
}

BOOST_AUTO_TEST_CASE(with_a_zero_seed_need_all_privileges) {
  auto const create = [] {
    error_code ec;
    diagnostics details;
    static_cast<void>(tinybpf::map::create(map_type::hash, "zero_seed", 4, 4, 1, {.map_flags = 1U << 6U}, ec, details));
    return words(ec, details);
  };
  auto const required = required_capabilities(object::open(PRIVILEGED_BPF_O).map("zero_seed"));
  BOOST_TEST(as_nobody_with(required, create) == "no error");
  BOOST_TEST(as_nobody_with(required - capability::sys_admin, create).starts_with(std::to_string(EPERM) + ": "));
}

BOOST_AUTO_TEST_CASE(leave_no_details_where_all_went_well) {
  auto const obj = object::open(CALLS_BPF_O);
  test::accepted([&](auto&... out) { return required_capabilities(obj.program("on_getpgid"), out...); });
  test::accepted([&](auto&... out) { return required_capabilities(*obj.maps().begin(), out...); });
}

BOOST_AUTO_TEST_CASE(that_are_loaded_say_the_same) {
  auto obj = object::open(CALLS_BPF_O);
  auto const before = required_capabilities(obj);
  obj.load();
  BOOST_TEST((required_capabilities(obj) == before));
}

BOOST_AUTO_TEST_CASE(that_are_closed_report_it) {
  auto obj = object::open(CALLS_BPF_O);
  auto const p = obj.program("on_getpgid");
  auto const m = obj.map("calls");
  obj.close();
  error_code ec;
  diagnostics details;
  BOOST_TEST(required_capabilities(obj, ec, details).empty());
  BOOST_TEST((ec == errc::closed));
  ec.clear();
  BOOST_TEST(required_capabilities(p, ec).empty());
  BOOST_TEST((ec == errc::closed));
  ec.clear();
  BOOST_TEST(required_capabilities(m, ec, details).empty());
  BOOST_TEST((ec == errc::closed));
  BOOST_TEST(details.map == "calls");
  BOOST_CHECK_THROW(static_cast<void>(required_capabilities(object{})), tinybpf::error);
  BOOST_CHECK_THROW(static_cast<void>(required_capabilities(tinybpf::program{})), tinybpf::error);
  BOOST_CHECK_THROW(static_cast<void>(required_capabilities(tinybpf::map{})), tinybpf::error);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(attaching)

BOOST_AUTO_TEST_CASE(a_tracepoint_takes_what_is_said) {
  auto const required = required_capabilities(object::open(CALLS_BPF_O).program("on_getpgid"));
  BOOST_TEST(attached_with(required, CALLS_BPF_O, "on_getpgid", attach) == "no error");
  for (auto const c : required - capability::bpf) {                                      // which only loading takes
    if (c == capability::perfmon && required.contains(capability::sys_admin)) continue;  // which stands in for it
    auto const said = attached_with(required - c, CALLS_BPF_O, "on_getpgid", attach);
    BOOST_TEST(said.starts_with(std::to_string(EACCES) + ": "), "without " << to_string(c) << ": " << said);
    BOOST_TEST(contains(said, to_string(c)), said);
  }
}

// A mount that only looks like tracefs, to those who look at its permissions.
BOOST_AUTO_TEST_CASE(a_tracepoint_needs_no_more_where_all_may_read_tracefs) {
  auto const said = [](mode_t folder, mode_t file) {
    return test::in_child([&] {
      test::mounts_of_its_own();
      test::checked(mount("tmpfs", "/sys/kernel/tracing", "tmpfs", 0, "mode=755"), "mount");
      std::filesystem::create_directories("/sys/kernel/tracing/events/sched/sched_switch");
      std::ofstream{"/sys/kernel/tracing/events/sched/sched_switch/id"} << "1\n";
      test::checked(chmod("/sys/kernel/tracing/events/sched/sched_switch/id", file), "chmod");
      test::checked(chmod("/sys/kernel/tracing", folder), "chmod");
      return to_string(required_capabilities(object::open(CALLS_BPF_O).program("on_getpgid")));
    });
  };
  BOOST_TEST(said(0755, 0644) == to_string(perf_events));
  BOOST_TEST(said(0700, 0644) == to_string(perf_events | capability::dac_read_search));
  BOOST_TEST(said(0755, 0600) == to_string(perf_events | capability::dac_read_search));
}

// As a mount with gid= gives it to a group.
BOOST_AUTO_TEST_CASE(a_tracepoint_needs_no_more_for_who_may_read_tracefs) {
  auto const said = test::in_child([] {
    test::mounts_of_its_own();
    test::checked(mount("tmpfs", "/sys/kernel/tracing", "tmpfs", 0, "mode=750,gid=65534"), "mount");
    std::filesystem::create_directories("/sys/kernel/tracing/events/sched/sched_switch");
    std::ofstream{"/sys/kernel/tracing/events/sched/sched_switch/id"} << "1\n";
    auto const p = object::open(CALLS_BPF_O);
    auto const as_root = to_string(required_capabilities(p.program("on_getpgid")));
    test::become_nobody_with(loading_tracers);
    return as_root + " / " + to_string(required_capabilities(p.program("on_getpgid")));
  });
  BOOST_TEST(said == to_string(perf_events | capability::dac_read_search) + " / " + to_string(perf_events));
}

BOOST_AUTO_TEST_CASE(a_uprobe_takes_what_is_said) {
  auto const required = required_capabilities(object::open(PRIVILEGED_BPF_O).program("on_call"));
  BOOST_TEST(attached_with(required, PRIVILEGED_BPF_O, "on_call", attach) == "no error");
  auto const said = attached_with(required - capability::sys_admin, PRIVILEGED_BPF_O, "on_call", attach);
  BOOST_TEST(said.starts_with(std::to_string(EACCES) + ": "), said);
  BOOST_TEST(contains(said, "lacks CAP_SYS_ADMIN;"), said);
}

BOOST_AUTO_TEST_CASE(a_kprobe_takes_what_is_said, *test::feature_here("kprobe", kprobe_attaches)) {
  auto const required = required_capabilities(object::open(PRIVILEGED_BPF_O).program("on_sleep"));
  BOOST_TEST((required == perf_events));
  BOOST_TEST(attached_with(required, PRIVILEGED_BPF_O, "on_sleep", attach) == "no error");
  auto const decisive = test::perf_events_are_restricted() ? capability::sys_admin : capability::perfmon;
  auto const said = attached_with(required - decisive, PRIVILEGED_BPF_O, "on_sleep", attach);
  BOOST_TEST(said.starts_with(std::to_string(EACCES) + ": "), said);
  BOOST_TEST(contains(said, "lacks " + std::string{to_string(decisive)} + ";"), said);
}

BOOST_AUTO_TEST_CASE(a_raw_tracepoint_takes_nothing_once_it_is_loaded) {
  for (auto const* const name : {"on_raw_enter", "on_btf_enter"}) {
    auto const said = attached_with({}, CALLS_BPF_O, name, [](tinybpf::program const& p) { return attach(p); });
    BOOST_TEST(said == "no error");
  }
}

BOOST_AUTO_TEST_CASE(packets_of_a_control_group_take_what_is_said) {
  // Any folder of the second version will do: the program lets everything pass, and goes with the child.
  auto const place = test::cgroup2_mount();
  auto const required = required_capabilities(object::open(PRIVILEGED_BPF_O).program("on_ingress"));
  auto const attach_to_group = [&](tinybpf::program const& p) {
    int const group = open(place.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int const link = bpf_link_create(p.fd(), group, BPF_CGROUP_INET_INGRESS, nullptr);
    auto const said = link < 0 ? std::to_string(-link) : "no error";
    close(link);
    close(group);
    return said;
  };
  BOOST_TEST(attached_with(required, PRIVILEGED_BPF_O, "on_ingress", attach_to_group) == "no error");
  BOOST_TEST(attached_with(required - capability::net_admin, PRIVILEGED_BPF_O, "on_ingress", attach_to_group) ==
             std::to_string(EPERM));
}

BOOST_AUTO_TEST_CASE(a_frame_takes_nothing_once_the_program_is_loaded) {
  auto const said = attached_with({}, PRIVILEGED_BPF_O, "on_frame", [](tinybpf::program const& p) {
    error_code ec;
    diagnostics details;
    auto const link = p.attach_xdp(1, ec, details);
    return words(ec, details);
  });
  BOOST_TEST(said == "no error");
}

BOOST_AUTO_TEST_SUITE_END()
