// Places that the kernel offers for tracing, and samples.
#include "detail/attaching.hpp"

#include <tinybpf/detail/owned_descriptor.hpp>

#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace tinybpf::detail {
namespace {

struct section_prefix {
  std::string_view prefix;
  link_kind kind;
};

// The section names that libbpf attaches by itself, and what it makes of each.
constexpr std::array section_kinds{
    section_prefix{"tracepoint", link_kind::tracepoint},
    section_prefix{"tp_btf", link_kind::tracing},
    section_prefix{"tp", link_kind::tracepoint},
    section_prefix{"raw_tracepoint.w", link_kind::raw_tracepoint},
    section_prefix{"raw_tracepoint", link_kind::raw_tracepoint},
    section_prefix{"raw_tp.w", link_kind::raw_tracepoint},
    section_prefix{"raw_tp", link_kind::raw_tracepoint},
    section_prefix{"fentry", link_kind::tracing},
    section_prefix{"fentry.s", link_kind::tracing},
    section_prefix{"fexit", link_kind::tracing},
    section_prefix{"fexit.s", link_kind::tracing},
    section_prefix{"fmod_ret", link_kind::tracing},
    section_prefix{"fmod_ret.s", link_kind::tracing},
    section_prefix{"kprobe", link_kind::kprobe},
    section_prefix{"kretprobe", link_kind::kprobe},
    section_prefix{"kprobe.multi", link_kind::kprobe_multi},
    section_prefix{"kretprobe.multi", link_kind::kprobe_multi},
    section_prefix{"kprobe.session", link_kind::kprobe_multi},
    section_prefix{"ksyscall", link_kind::ksyscall},
    section_prefix{"kretsyscall", link_kind::ksyscall},
    section_prefix{"uprobe", link_kind::uprobe},
    section_prefix{"uprobe.s", link_kind::uprobe},
    section_prefix{"uretprobe", link_kind::uprobe},
    section_prefix{"uretprobe.s", link_kind::uprobe},
    section_prefix{"uprobe.multi", link_kind::uprobe_multi},
    section_prefix{"uprobe.multi.s", link_kind::uprobe_multi},
    section_prefix{"uretprobe.multi", link_kind::uprobe_multi},
    section_prefix{"uretprobe.multi.s", link_kind::uprobe_multi},
    section_prefix{"usdt", link_kind::usdt},
    section_prefix{"usdt.s", link_kind::usdt},
    section_prefix{"lsm", link_kind::lsm},
    section_prefix{"lsm.s", link_kind::lsm},
    section_prefix{"freplace", link_kind::freplace},
    section_prefix{"iter", link_kind::iter},
    section_prefix{"iter.s", link_kind::iter},
    section_prefix{"netfilter", link_kind::netfilter},
};

link_kind kind_of_section(std::string_view section) {
  auto const prefix = section.substr(0, section.find('/'));
  for (auto const& s : section_kinds)
    if (s.prefix == prefix) return s.kind;
  return link_kind::other;
}

/// "tracepoint/sched/sched_switch" names a place, "tracepoint" does not.
bool names_a_place(std::string_view section) { return section.find('/') != std::string_view::npos; }

bool tracefs_is_mounted() {
  return access("/sys/kernel/tracing/events", F_OK) == 0 || access("/sys/kernel/debug/tracing/events", F_OK) == 0;
}

void explain_tracefs(error_code& ec, diagnostics& details) {
  if (ec == boost::system::errc::permission_denied)
    details.hint = "this user may not read tracefs: mount it readable, or grant CAP_DAC_READ_SEARCH";
  else if (!tracefs_is_mounted())
    details.hint = "tracefs is not mounted: run `mount -t tracefs tracefs /sys/kernel/tracing`";
}

// The call that attaches programs of a type that libbpf does not attach by their section.
std::string_view call_for(program_type type) {
  switch (type) {
    case program_type::xdp:
      return "attach_xdp() attaches it, to a network interface";
    case program_type::sched_cls:
      return "attach_tc(), attach_tcx() or attach_netkit() attaches it, to a network interface";
    case program_type::perf_event:
      return "attach_perf_event() attaches it";
    case program_type::socket_filter:
      return "attach_to() attaches it, to a socket";
    case program_type::sk_msg:
    case program_type::sk_skb:
      return "attach_sockmap() attaches it, to a map of sockets";
    case program_type::sk_lookup:
    case program_type::flow_dissector:
      return "attach_netns() attaches it, to a network namespace";
    case program_type::cgroup_skb:
    case program_type::cgroup_sock:
    case program_type::cgroup_sock_addr:
    case program_type::cgroup_sockopt:
    case program_type::cgroup_sysctl:
    case program_type::cgroup_device:
    case program_type::sock_ops:
      return "attach_cgroup() attaches it, to a control group";
    case program_type::lwt_in:
    case program_type::lwt_out:
    case program_type::lwt_xmit:
    case program_type::lwt_seg6local:
      return "libbpf has no call for it: pin the program, and name the pin in `ip route add ... encap bpf`";
    case program_type::syscall:
      return "a syscall program is not attached: test_run() runs it";
    default:
      return {};
  }
}

// The CPUs that are online, from a list such as "0-3,5".
std::vector<int> online_cpus() {
  std::vector<int> cpus;
  std::ifstream file{"/sys/devices/system/cpu/online"};
  char separator = ',';
  for (int first = 0; separator == ',' && file >> first;) {
    int last = first;
    if (file.peek() == '-') file >> separator >> last;
    for (int cpu = first; cpu <= last; ++cpu) cpus.push_back(cpu);
    if (!(file >> separator)) break;
  }
  return cpus;
}

int open_perf_event(perf_event_options const& o, int cpu) {
  perf_event_attr attr{};
  attr.size = sizeof attr;
  attr.type = o.type;
  attr.config = o.config;
  if (o.period != 0) {
    attr.sample_period = o.period;
  } else {
    attr.freq = 1;
    attr.sample_freq = o.frequency != 0 ? o.frequency : 1000;
  }
  return static_cast<int>(syscall(SYS_perf_event_open, &attr, o.pid, cpu, -1, PERF_FLAG_FD_CLOEXEC));
}

}  // namespace

attach_plan plan_of(section_target const&, program_core const& core) {
  auto const kind = kind_of_section(core.section);
  return {
      .kind = kind,
      .where = "'" + core.section + "'",
      .attach =
          [kind](attach_subject const& p, attachment_list& into) {
            return keep(bpf_program__attach(p.raw), into, kind == link_kind::usdt ? p.object : nullptr);
          },
      .explain =
          [kind, type = core.type.load(), section = core.section](error_code& ec, diagnostics& details) {
            if (kind == link_kind::tracepoint) explain_tracefs(ec, details);
            // libbpf says EOPNOTSUPP for a type that it cannot attach, and for a section that leaves the place open.
            if (ec != boost::system::errc::operation_not_supported) return;
            auto const call = call_for(type);
            if (call.empty() && kind == link_kind::kprobe_multi) return;  // the kernel has no fprobe
            ec = errc::not_supported;
            details.hint = !call.empty() ? std::string{call}
                           : names_a_place(section)
                               ? "this type of program is attached with a call of its own, not by its section"
                               : "the section names no place: use attach_tracepoint() or its like, or name the place "
                                 "in SEC()";
          },
  };
}

attach_plan plan_of(tracepoint_target const& t, program_core const&) {
  return {
      .kind = link_kind::tracepoint,
      .where = "tracepoint " + t.category + ":" + t.name,
      .types = {program_type::tracepoint},
      .attach =
          [t](attach_subject const& p, attachment_list& into) {
            auto options = sized<bpf_tracepoint_opts>();
            options.bpf_cookie = t.options.cookie;
            return keep(bpf_program__attach_tracepoint_opts(p.raw, t.category.c_str(), t.name.c_str(), &options), into);
          },
      .explain = explain_tracefs,
  };
}

attach_plan plan_of(raw_tracepoint_target const& t, program_core const&) {
  attach_plan plan{
      .kind = link_kind::raw_tracepoint,
      .where = "raw tracepoint " + t.name,
      .types = {program_type::raw_tracepoint, program_type::raw_tracepoint_writable},
  };
#if LIBBPF_MAJOR_VERSION > 1 || LIBBPF_MINOR_VERSION >= 5
  plan.attach = [t](attach_subject const& p, attachment_list& into) {
    auto options = sized<bpf_raw_tracepoint_opts>();
    options.cookie = t.options.cookie;
    return keep(bpf_program__attach_raw_tracepoint_opts(p.raw, t.name.c_str(), &options), into);
  };
#else
  if (t.options.cookie != 0) plan.libbpf_version = "1.5";
  plan.attach = [t](attach_subject const& p, attachment_list& into) {
    return keep(bpf_program__attach_raw_tracepoint(p.raw, t.name.c_str()), into);
  };
#endif
  return plan;
}

attach_plan plan_of(trace_target const& t, program_core const& core) {
  return {
      .kind = core.type == program_type::lsm ? link_kind::lsm : link_kind::tracing,
      .where = "'" + core.section + "'",
      .types = {program_type::tracing, program_type::lsm},
      .attach =
          [t](attach_subject const& p, attachment_list& into) {
            auto options = sized<bpf_trace_opts>();
            options.cookie = t.options.cookie;
            return keep(bpf_program__attach_trace_opts(p.raw, &options), into);
          },
  };
}

attach_plan plan_of(perf_event_target const& t, program_core const&) {
  return {
      .kind = link_kind::perf_event,
      .where = "perf event " + std::to_string(t.options.type) + ":" + std::to_string(t.options.config),
      .types = {program_type::perf_event},
      .attach =
          [o = t.options](attach_subject const& p, attachment_list& into) {
            std::vector<int> cpus;
            if (o.cpu)
              cpus = {*o.cpu};
            else if (o.pid != -1)
              cpus = {-1};  // wherever the process runs
            else
              cpus = online_cpus();
            if (cpus.empty()) return ENODEV;
            for (int const cpu : cpus) {
              owned_descriptor event{open_perf_event(o, cpu)};
              if (event.get() < 0) return errno;
              auto options = sized<bpf_perf_event_opts>();
              options.bpf_cookie = o.cookie;
              auto* const raw = bpf_program__attach_perf_event_opts(p.raw, event.get(), &options);
              if (int const err = keep(raw, into); err != 0) return err;
              static_cast<void>(event.release());  // the link closes it
            }
            return 0;
          },
  };
}

attach_plan plan_of(freplace_target const& t, program_core const&) {
  return {
      .kind = link_kind::freplace,
      .where = "function '" + t.function + "' of a program",
      .types = {program_type::ext},
      .attach =
          [t](attach_subject const& p, attachment_list& into) {
            if (t.program_fd < 0) return EBADF;
            return keep(bpf_program__attach_freplace(p.raw, t.program_fd, t.function.c_str()), into);
          },
  };
}

bool attaches_by_itself(program_core const& core) noexcept {
  if (core.place == place_of::nowhere || kind_of_section(core.section) == link_kind::other) return false;
  return core.place == place_of::target || names_a_place(core.section);
}

}  // namespace tinybpf::detail
