#include <tinybpf/capabilities.hpp>
#include <tinybpf/object.hpp>

#include "detail/object_state.hpp"
#include "detail/privileges.hpp"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <utility>

namespace tinybpf {
namespace {

using detail::report;

constexpr std::array<std::string_view, 41> names{
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
};
static_assert(names[static_cast<std::size_t>(capability::net_admin)] == "CAP_NET_ADMIN");
static_assert(names[static_cast<std::size_t>(capability::checkpoint_restore)] == "CAP_CHECKPOINT_RESTORE");

constexpr capability_set bpf_only{capability::bpf};
constexpr capability_set tracing{capability::bpf, capability::perfmon};
constexpr capability_set networking{capability::bpf, capability::net_admin};

// Types that are not listed need CAP_BPF alone. capabilities_test.cpp holds each row against the kernel.
template <class Type>
struct row {
  Type type;
  capability_set required;
};

constexpr std::array programs{
    row<program_type>{program_type::kprobe, tracing},
    row<program_type>{program_type::tracepoint, tracing},
    row<program_type>{program_type::perf_event, tracing},
    row<program_type>{program_type::raw_tracepoint, tracing},
    row<program_type>{program_type::raw_tracepoint_writable, tracing},
    row<program_type>{program_type::tracing, tracing},
    row<program_type>{program_type::lsm, tracing},
    row<program_type>{program_type::struct_ops, tracing},
    row<program_type>{program_type::ext, tracing | networking},
    row<program_type>{program_type::sched_cls, networking},
    row<program_type>{program_type::sched_act, networking},
    row<program_type>{program_type::xdp, networking},
    row<program_type>{program_type::lwt_in, networking},
    row<program_type>{program_type::lwt_out, networking},
    row<program_type>{program_type::lwt_xmit, networking},
    row<program_type>{program_type::lwt_seg6local, networking},
    row<program_type>{program_type::sk_skb, networking},
    row<program_type>{program_type::sk_msg, networking},
    row<program_type>{program_type::flow_dissector, networking},
    row<program_type>{program_type::cgroup_device, networking},
    row<program_type>{program_type::cgroup_sock, networking},
    row<program_type>{program_type::cgroup_sock_addr, networking},
    row<program_type>{program_type::cgroup_sockopt, networking},
    row<program_type>{program_type::cgroup_sysctl, networking},
    row<program_type>{program_type::sock_ops, networking},
    row<program_type>{program_type::lirc_mode2, networking},
    row<program_type>{program_type::netfilter, networking},
};

constexpr std::array maps{
    row<map_type>{map_type::devmap, networking},  row<map_type>{map_type::devmap_hash, networking},
    row<map_type>{map_type::sockmap, networking}, row<map_type>{map_type::sockhash, networking},
    row<map_type>{map_type::xskmap, networking},
};

template <class Type, std::size_t N>
constexpr capability_set find(std::array<row<Type>, N> const& rows, Type type) noexcept {
  auto const* const found = std::find_if(rows.begin(), rows.end(), [type](auto const& r) { return r.type == type; });
  return found != rows.end() ? found->required : bpf_only;
}

capability_set held(std::uint32_t __user_cap_data_struct::*which) noexcept {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (syscall(SYS_capget, &header, data) != 0) return {};
  return capability_set::from_bits(data[0].*which | std::uint64_t{data[1].*which} << 32U);
}

// libbpf looks first at the one, then at the other.
char const* tracefs() {
  for (auto const* const folder : {"/sys/kernel/tracing", "/sys/kernel/debug/tracing"})
    if (access((std::string{folder} + "/events").c_str(), F_OK) == 0) return folder;
  return "/sys/kernel/tracing";
}

// A tracepoint's number, that every kernel has.
std::string a_tracepoint() { return std::string{tracefs()} + "/events/sched/sched_switch/id"; }

bool may_read_tracepoints() { return faccessat(AT_FDCWD, a_tracepoint().c_str(), R_OK, AT_EACCESS) == 0; }

// Whether one may learn a tracepoint's number without a capability that overrides permissions.
bool tracefs_is_open_to_all() {
  auto const allows = [](std::string const& path, mode_t wanted) {
    struct stat status {};
    return stat(path.c_str(), &status) == 0 && (status.st_mode & wanted) == wanted;
  };
  if (allows(tracefs(), S_IXOTH) && allows(a_tracepoint(), S_IROTH)) return true;
  // Not to all; but by its group, as in `mount -o gid=...`, or as its owner, this thread may do so.
  capability_set const overriding{capability::dac_override, capability::dac_read_search};
  return geteuid() != 0 && (current_capabilities() & overriding).empty() && may_read_tracepoints();
}

// Of a value above 2 the kernel itself makes nothing. Debian's refuses all perf events to who has not CAP_SYS_ADMIN.
bool perf_events_are_for_the_almighty() {
  int paranoid = 0;
  std::ifstream{"/proc/sys/kernel/perf_event_paranoid"} >> paranoid;
  return paranoid > 2;
}

// What attaching takes beyond loading, by the kind of section.
capability_set to_attach(program const& p) {
  auto const section = p.section();
  auto const prefix = section.substr(0, section.find('/'));
  switch (p.type()) {
    case program_type::tracepoint:
      return detail::needed_for_perf_events() |
             (tracefs_is_open_to_all() ? capability_set{} : capability_set{capability::dac_read_search});
    case program_type::perf_event:
      return detail::needed_for_perf_events();
    case program_type::cgroup_skb:
      return capability::net_admin;
    case program_type::kprobe:
      // Of a uprobe.multi libbpf makes no perf event, and the kernel asks for nothing more.
      if (prefix.find(".multi") != std::string_view::npos) return {};
      for (std::string_view const perf_based : {"uprobe", "uretprobe", "usdt"})
        if (prefix.starts_with(perf_based)) return capability::sys_admin;
      return detail::needed_for_perf_events();
    default:
      return {};
  }
}

}  // namespace

std::string_view to_string(capability c) noexcept {
  auto const index = static_cast<std::size_t>(c);
  return index < names.size() ? names[index] : "unknown";
}

std::string to_string(capability_set set) {
  std::string text;
  for (auto const c : set) {
    if (!text.empty()) text += ", ";
    auto const number = static_cast<std::size_t>(c);
    text += number < names.size() ? std::string{names[number]} : std::to_string(number);
  }
  return text.empty() ? "none" : text;
}

capability_set current_capabilities() noexcept { return held(&__user_cap_data_struct::effective); }
capability_set permitted_capabilities() noexcept { return held(&__user_cap_data_struct::permitted); }

capability_set required_capabilities(program_type type) noexcept { return find(programs, type); }
capability_set required_capabilities(map_type type) noexcept { return find(maps, type); }

capability_set required_capabilities(program const& p) {
  return detail::or_throw([&](auto& ec, auto& details) { return required_capabilities(p, ec, details); });
}

capability_set required_capabilities(program const& p, error_code& ec) {
  diagnostics details;
  return required_capabilities(p, ec, details);
}

capability_set required_capabilities(program const& p, error_code& ec, diagnostics& details) {
  detail::begin(ec, details);
  if (p) return required_capabilities(p.type()) | to_attach(p);
  details.program = p.name();
  report(ec, details, errc::closed, "required_capabilities of program '" + std::string{p.name()} + "'");
  return {};
}

capability_set required_capabilities(map const& m) {
  return detail::or_throw([&](auto& ec, auto& details) { return required_capabilities(m, ec, details); });
}

capability_set required_capabilities(map const& m, error_code& ec) {
  diagnostics details;
  return required_capabilities(m, ec, details);
}

capability_set required_capabilities(map const& m, error_code& ec, diagnostics& details) {
  detail::begin(ec, details);
  auto const& core = detail::handle_access::core(m);
  if (m) return detail::needed_for_map(m.type(), core->flags);
  details.map = m.name();
  report(ec, details, errc::closed, "required_capabilities of map '" + std::string{m.name()} + "'");
  return {};
}

capability_set required_capabilities(object const& o) {
  return detail::or_throw([&](auto& ec, auto& details) { return required_capabilities(o, ec, details); });
}

capability_set required_capabilities(object const& o, error_code& ec) {
  diagnostics details;
  return required_capabilities(o, ec, details);
}

capability_set required_capabilities(object const& o, error_code& ec, diagnostics& details) {
  detail::begin(ec, details);
  if (!o) {
    report(ec, details, errc::closed, "required_capabilities of a closed object");
    return {};
  }
  auto& state = *detail::handle_access::state(o);
  if (!state.usable(false, "required_capabilities", ec, details)) return {};
  capability_set sum;
  for (auto const& m : o.maps())
    if (bpf_map__autocreate(detail::handle_access::core(m)->raw)) sum |= required_capabilities(m);
  for (auto const& p : o.programs())
    if (bpf_program__autoload(detail::handle_access::core(p)->raw)) sum |= required_capabilities(p);
  return sum;
}

capability_set missing_capabilities(capability_set required) noexcept {
  auto const now = current_capabilities();
  auto missing = required - now;
  if (now.contains(capability::sys_admin)) missing -= {capability::bpf, capability::perfmon};
  return missing;
}

namespace detail {

bool in_user_namespace() noexcept {
  constexpr ino_t first = 0xeffffffd;  // PROC_USER_INIT_INO, which every kernel has
  struct stat its {};
  return stat("/proc/thread-self/ns/user", &its) == 0 && its.st_ino != first;
}

capability_set needed_for_map(map_type type, std::uint32_t map_flags) noexcept {
  constexpr std::uint32_t zero_seed = 1U << 6U;  // BPF_F_ZERO_SEED: a hash that can be attacked
  auto needed = required_capabilities(type);
  if ((map_flags & zero_seed) != 0) needed |= capability::sys_admin;
  return needed;
}

capability_set needed_for_perf_events() {
  capability_set needed{capability::perfmon};
  if (perf_events_are_for_the_almighty()) needed |= capability::sys_admin;
  return needed;
}

std::string explain_perf_refusal(capability_set needed) {
  auto text = explain_refusal(needed);
  if (perf_events_are_for_the_almighty() && !current_capabilities().contains(capability::sys_admin))
    text += "; or set the sysctl kernel.perf_event_paranoid to 2: above that, Debian's kernels ask for CAP_SYS_ADMIN";
  return text;
}

std::string explain_attach_refusal(link_kind kind, program_type type) {
  switch (kind) {
    case link_kind::tracepoint:
      if (!may_read_tracepoints())
        return "this user may not read tracefs: mount it readable, or grant CAP_DAC_READ_SEARCH";
      return explain_perf_refusal(needed_for_perf_events());
    case link_kind::kprobe:
    case link_kind::ksyscall:
      return explain_perf_refusal(needed_for_perf_events());
    case link_kind::uprobe:
    case link_kind::usdt:
      return explain_refusal(capability::sys_admin);
    case link_kind::cgroup:  // what else may be the matter there, attach_socket.cpp says
      return explain_refusal(capability::net_admin);
    default:
      return explain_refusal(required_capabilities(type));
  }
}

std::string explain_refusal(capability_set needed) {
  auto const list = [](capability_set set) {
    std::string text;
    for (auto const c : {capability::bpf, capability::perfmon, capability::net_admin, capability::sys_admin,
                         capability::dac_read_search}) {
      if (!set.contains(c)) continue;
      if (!text.empty()) text += " and ";
      text += to_string(c);
    }
    return text;
  };
  if (auto const lacking = missing_capabilities(needed); !lacking.empty())
    return "this needs " + list(needed) + ", and the process lacks " + list(lacking) + "; run it as root or grant them";
  if (in_user_namespace())
    return "the process has the capabilities this needs (" + list(needed) +
           ") in its user namespace only: the kernel wants them in the first one, or a BPF token that allows this";
  return "the process has the capabilities this needs (" + list(needed) +
         "), so the kernel itself forbids it: lockdown, a security module, or a seccomp filter";
}

}  // namespace detail
}  // namespace tinybpf
