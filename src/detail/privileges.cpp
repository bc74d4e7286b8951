#include "privileges.hpp"

#include <algorithm>
#include <array>
#include <fstream>
#include <string_view>

namespace tinybpf::detail {
namespace {

constexpr unsigned cap_net_admin = 12;
constexpr unsigned cap_sys_admin = 21;
constexpr unsigned cap_perfmon = 38;
constexpr unsigned cap_bpf = 39;

constexpr capability_set bit(unsigned capability) { return capability_set{1} << capability; }

struct capability_name {
  unsigned number;
  std::string_view name;
};

constexpr std::array names{
    capability_name{cap_bpf, "CAP_BPF"},
    capability_name{cap_perfmon, "CAP_PERFMON"},
    capability_name{cap_net_admin, "CAP_NET_ADMIN"},
};

// is_perfmon_prog_type and is_net_admin_prog_type of kernel/bpf/syscall.c; the types not listed need CAP_BPF alone.
constexpr std::array perfmon_types{
    program_type::kprobe,     program_type::tracepoint,
    program_type::perf_event, program_type::raw_tracepoint,
    program_type::tracing,    program_type::raw_tracepoint_writable,
    program_type::lsm,        program_type::struct_ops,
    program_type::ext,
};
constexpr std::array net_admin_types{
    program_type::sched_cls,
    program_type::sched_act,
    program_type::xdp,
    program_type::lwt_in,
    program_type::lwt_out,
    program_type::lwt_xmit,
    program_type::lwt_seg6local,
    program_type::sk_skb,
    program_type::sk_msg,
    program_type::flow_dissector,
    program_type::cgroup_device,
    program_type::cgroup_sock,
    program_type::cgroup_sock_addr,
    program_type::cgroup_sockopt,
    program_type::cgroup_sysctl,
    program_type::sock_ops,
    program_type::ext,
    program_type::netfilter,
    program_type::struct_ops,
    program_type::sk_lookup,
    program_type::lirc_mode2,
};

std::string list(capability_set set) {
  std::string text;
  for (auto const& c : names) {
    if ((set & bit(c.number)) == 0) continue;
    if (!text.empty()) text += " and ";
    text += c.name;
  }
  return text;
}

}  // namespace

capability_set effective_capabilities() {
  std::ifstream status{"/proc/thread-self/status"};
  for (std::string line; std::getline(status, line);)
    if (line.rfind("CapEff:", 0) == 0) return std::stoull(line.substr(7), nullptr, 16);
  return 0;
}

capability_set needed_to_load(program_type type) {
  auto const has = [type](auto const& types) { return std::find(types.begin(), types.end(), type) != types.end(); };
  auto needed = bit(cap_bpf);
  if (has(perfmon_types)) needed |= bit(cap_perfmon);
  if (has(net_admin_types)) needed |= bit(cap_net_admin);
  return needed;
}

capability_set needed_for_maps() { return bit(cap_bpf); }

capability_set needed_for_perf_events() { return bit(cap_perfmon); }

std::string explain_refusal(capability_set needed) {
  auto const held = effective_capabilities();
  // CAP_SYS_ADMIN stands in for all of them, as in the kernel's bpf_capable() and perfmon_capable().
  auto const lacking = (held & bit(cap_sys_admin)) != 0 ? (needed & bit(cap_net_admin) & ~held) : (needed & ~held);
  if (lacking != 0)
    return "this needs " + list(needed) + ", and the process lacks " + list(lacking) + "; run it as root or grant them";
  return "the process has the capabilities this needs (" + list(needed) +
         "), so the kernel itself forbids it: lockdown, a security module, or a user namespace without a BPF token";
}

}  // namespace tinybpf::detail
