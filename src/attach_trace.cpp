// Places that the kernel offers for tracing, and samples.
#include "detail/attaching.hpp"
#include "detail/near_places.hpp"
#include "detail/privileges.hpp"

#include <tinybpf/detail/owned_descriptor.hpp>

#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

namespace tinybpf::detail {
namespace {

namespace sys_errc = boost::system::errc;

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
    section_prefix{"uprobe.session", link_kind::uprobe_multi},
    section_prefix{"uprobe.session.s", link_kind::uprobe_multi},
    section_prefix{"usdt", link_kind::usdt},
    section_prefix{"usdt.s", link_kind::usdt},
    section_prefix{"lsm", link_kind::lsm},
    section_prefix{"lsm.s", link_kind::lsm},
    section_prefix{"freplace", link_kind::freplace},
    section_prefix{"iter", link_kind::iter},
    section_prefix{"iter.s", link_kind::iter},
};

link_kind kind_of_section(std::string_view section) {
  auto const prefix = section.substr(0, section.find('/'));
  for (auto const& s : section_kinds)
    if (s.prefix == prefix) return s.kind;
  return link_kind::other;
}

/// "tracepoint/sched/sched_switch" names a place, "tracepoint" does not.
bool names_a_place(std::string_view section) { return section.find('/') != std::string_view::npos; }

std::string path_of_tracepoint(std::string_view category, std::string_view name) {
  return "events/" + std::string{category} + (name.empty() ? "" : "/" + std::string{name} + "/id");
}

void explain_tracepoint(tracepoint_target const& t, error_code& ec, diagnostics& details) {
  if (t.options.cookie != 0 && ec == sys_errc::operation_not_supported) details.hint = "cookies take Linux 5.15";
  if (ec == sys_errc::file_exists) {
    details.hint =
        "a program can be at a tracepoint once, and this one is there already: load its object again for another";
    return;
  }
  if (!tracefs_is_mounted()) {
    details.hint = "tracefs is not mounted: run `mount -t tracefs tracefs /sys/kernel/tracing`";
    return;
  }
  if (ec != sys_errc::no_such_file_or_directory) return;
  if (tracefs_file(path_of_tracepoint(t.category, {})).empty() || t.category.empty()) {
    details.message += "; the kernel has no category '" + t.category + "'";
    suggest(t.category, tracepoints(), details);
  } else {
    details.message += "; the category '" + t.category + "' has no '" + t.name + "'";
    suggest(t.name, tracepoints(t.category), details);
  }
  details.hint = "the running kernel has no such place to attach to; those of a module are there once it is loaded";
}

void explain_raw_tracepoint(raw_tracepoint_target const& t, error_code& ec, diagnostics& details) {
  if (t.options.cookie != 0 && (ec == sys_errc::invalid_argument || ec == sys_errc::argument_list_too_long))
    details.hint = "a cookie of a raw tracepoint takes Linux 6.10";
  if (ec == sys_errc::invalid_argument && t.options.cookie == 0)
    details.hint = "the program may read more arguments than the tracepoint has";
  if (ec != sys_errc::no_such_file_or_directory) return;
  details.message += "; the kernel has no tracepoint '" + t.name + "'";
  details.hint =
      "the running kernel has no such place to attach to; a raw tracepoint is named without its category, such as "
      "sched_switch";
  suggest(t.name, raw_tracepoints(), details);
}

void explain_freplace(freplace_target const& t, error_code& ec, diagnostics& details) {
  if (ec == sys_errc::bad_file_descriptor) {
    details.hint = "program_fd is that of a loaded program: program::fd()";
  } else if (ec == sys_errc::no_such_file_or_directory || ec == sys_errc::no_such_process) {
    auto names = global_functions_of(t.program_fd);
    details.message += "; that program has no function '" + t.function + "' that may be replaced";
    details.hint = "a function that may be replaced is global, and compiled with BTF and __noinline";
    suggest(t.function, std::move(names), details);
  } else if (ec == sys_errc::invalid_argument) {
    details.hint =
        "the function may be static, of other arguments than the replacement, or another one than the replacement was "
        "loaded for (set_attach_target)";
  } else if (ec == sys_errc::device_or_resource_busy) {
    details.hint = "the function has been replaced already";
  }
}

// The call that attaches programs of a type that libbpf does not attach by their section.
std::string_view call_for(program_type type, attach_type expected) {
  if (expected == attach_type::lsm_cgroup) return "attach_cgroup() attaches it, to a control group";
  switch (type) {
    case program_type::xdp:
      return "attach_xdp() attaches it, to a network interface";
    case program_type::sched_cls:
      return "attach_tc(), attach_tcx() or attach_netkit() attaches it, to a network interface";
    case program_type::perf_event:
      return "attach_perf_event() attaches it";
    case program_type::socket_filter:
      return "attach_to() attaches it, to a socket";
    case program_type::sk_reuseport:
      return "attach_to() with {.role = socket_role::reuseport} attaches it, to the sockets of a port";
    case program_type::netfilter:
      return "attach_netfilter() attaches it, to a hook of the kernel's packet filter";
    case program_type::struct_ops:
      return "map::attach_struct_ops() attaches it, with the map that it belongs to";
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

// Where BPF is none of the security modules, the kernel attaches such programs all the same, and never runs them.
refusal lsm_refusal() {
  std::ifstream file{"/sys/kernel/security/lsm"};
  std::string modules;
  if (!std::getline(file, modules)) return {};  // securityfs is not mounted
  if ((',' + modules + ',').find(",bpf,") != std::string::npos) return {};
  return {from_libbpf(EOPNOTSUPP), "it would never run, because BPF is none of the kernel's security modules",
          "those are " + modules + ": boot with lsm=" + modules + ",bpf"};
}

// The CPUs that are online, from a list such as "0-3,5".
std::string online_list() {
  std::ifstream file{"/sys/devices/system/cpu/online"};
  std::string text;
  std::getline(file, text);
  return text;
}

std::vector<int> online_cpus() {
  std::vector<int> cpus;
  std::istringstream text{online_list()};
  char separator = ',';
  for (int first = 0; separator == ',' && text >> first;) {
    int last = first;
    if (text.peek() == '-') text >> separator >> last;
    for (int cpu = first; cpu <= last; ++cpu) cpus.push_back(cpu);
    if (!(text >> separator)) break;
  }
  return cpus;
}

// perf counts threads: those of the process. Its ids are as this thread's PID namespace has them.
std::vector<pid_t> threads_of(pid_t pid) {
  std::vector<pid_t> threads;
  std::error_code ec;
  for (std::filesystem::directory_iterator i{"/proc/" + std::to_string(pid) + "/task", ec}, end; !ec && i != end;
       i.increment(ec))
    threads.push_back(static_cast<pid_t>(std::stol(i->path().filename().string())));
  return threads;
}

std::uint64_t frequency_of(perf_event_options const& o) { return o.frequency != 0 ? o.frequency : 1000; }

int open_perf_event(perf_event_options const& o, pid_t thread, int cpu) {
  perf_event_attr attr{};
  attr.size = sizeof attr;
  attr.type = o.type;
  attr.config = o.config;
  if (o.period != 0) {
    attr.sample_period = o.period;
  } else {
    attr.freq = 1;
    attr.sample_freq = frequency_of(o);
  }
  if (thread != -1) {  // and the threads that it starts
    attr.inherit = 1;
    attr.inherit_thread = 1;
  }
  return static_cast<int>(syscall(SYS_perf_event_open, &attr, thread, cpu, -1, PERF_FLAG_FD_CLOEXEC));
}

int attach_perf_event(perf_event_options const& o, pid_t thread, int cpu, attach_subject const& p,
                      attachment_list& into) {
  owned_descriptor event{open_perf_event(o, thread, cpu)};
  if (event.get() < 0) return errno;
  auto options = sized<bpf_perf_event_opts>();
  options.bpf_cookie = o.cookie;
  auto* const raw = bpf_program__attach_perf_event_opts(p.raw, event.get(), &options);
  if (raw == nullptr) return errno;
  return keep(raw, into, nullptr, event.release());  // the link closes it
}

int attach_perf_events(perf_event_options const& o, attach_subject const& p, attachment_list& into) {
  if (o.pid == -1) {
    for (int const cpu : o.cpu ? std::vector<int>{*o.cpu} : online_cpus())
      if (int const err = attach_perf_event(o, -1, cpu, p, into); err != 0) return err;
    return into.empty() ? ENODEV : 0;
  }
  // One look: a thread that one of these starts from now on is sampled with it, and would be sampled twice after
  // another look. Those that end in between are no failure.
  for (pid_t const thread : threads_of(o.pid == 0 ? getpid() : o.pid)) {
    int const err = attach_perf_event(o, thread, o.cpu.value_or(-1), p, into);
    if (err != 0 && err != ESRCH) return err;
  }
  return into.empty() ? ESRCH : 0;
}

constexpr std::string_view samples_of_threads = "samples of the threads of a process take Linux 5.13";

void explain_perf_event(perf_event_options const& o, error_code& ec, diagnostics& details) {
  auto const online = online_cpus();
  if (o.cpu && std::find(online.begin(), online.end(), *o.cpu) == online.end()) {
    details.message += "; CPU " + std::to_string(*o.cpu) + " is not online";
    details.hint = "online are " + online_list();
  } else if (ec == sys_errc::no_such_process && o.pid != -1) {
    details.hint = "there is no process " + std::to_string(o.pid) + " in this thread's PID namespace";
  } else if (ec == sys_errc::no_such_file_or_directory || ec == sys_errc::operation_not_supported ||
             ec == sys_errc::no_such_device) {
    details.hint = o.cookie != 0 && ec == sys_errc::operation_not_supported ? "cookies take Linux 5.15; or " : "";
    details.hint +=
        "this machine has no such counter, as virtual machines often have not: the CPU clock (type 1, config 0) is "
        "always there";
  } else if (ec == sys_errc::invalid_argument && o.period == 0) {
    std::ifstream file{"/proc/sys/kernel/perf_event_max_sample_rate"};
    std::uint64_t most = 0;
    if (file >> most && frequency_of(o) > most)
      details.hint = "the sysctl kernel.perf_event_max_sample_rate allows " + std::to_string(most) + " a second";
    else if (o.pid != -1)
      details.hint = samples_of_threads;
  } else if (ec == sys_errc::invalid_argument && o.pid != -1) {
    details.hint = samples_of_threads;
  } else if (ec == sys_errc::too_many_files_open) {
    details.hint = "each CPU takes two descriptors: raise RLIMIT_NOFILE";
  } else if (ec == sys_errc::permission_denied || ec == sys_errc::operation_not_permitted) {
    details.hint = explain_perf_refusal(needed_for_perf_events());
  }
}

std::string text_of(perf_event_options const& o) {
  auto text = "perf event " + std::to_string(o.type) + ":" + std::to_string(o.config);
  if (o.cpu) text += " of CPU " + std::to_string(*o.cpu);
  if (o.pid != -1) text += o.pid == 0 ? " of this process" : " of process " + std::to_string(o.pid);
  return text;
}

// "prefix/one:two" and the like, as libbpf takes them apart.
std::pair<std::string, std::string> split(std::string_view text, std::size_t at) {
  if (at == std::string_view::npos) return {std::string{text}, {}};
  return {std::string{text.substr(0, at)}, std::string{text.substr(at + 1)}};
}

// "function+offset"
std::pair<std::string, std::size_t> function_and_offset(std::string const& text) {
  auto const [name, offset] = split(text, text.rfind('+'));
  return {name, std::strtoul(offset.c_str(), nullptr, 0)};
}

/// The place that a section names, for its explanation.
std::optional<attach_target> place_in(std::string_view section, link_kind kind) {
  auto const [prefix, place] = split(section, section.find('/'));
  if (place.empty()) return {};
  bool const retprobe = prefix.find("ret") != std::string::npos;
  switch (kind) {
    case link_kind::tracepoint: {
      auto [category, name] = split(place, place.find('/'));
      return tracepoint_target{std::move(category), std::move(name)};
    }
    case link_kind::raw_tracepoint:
      return raw_tracepoint_target{place};
    case link_kind::tracing:
    case link_kind::lsm:
      return trace_target{};
    case link_kind::kprobe: {
      auto [function, offset] = function_and_offset(place);
      return kprobe_target{std::move(function), {.retprobe = retprobe, .offset = offset}};
    }
    case link_kind::kprobe_multi:
      return kprobe_multi_target{place, {.retprobe = retprobe}};
    case link_kind::ksyscall:
      return ksyscall_target{place, {.retprobe = retprobe}};
    case link_kind::uprobe: {
      auto const [binary, rest] = split(place, place.find(':'));
      auto [function, offset] = function_and_offset(rest);
      return uprobe_target{binary, std::move(function), {.retprobe = retprobe, .offset = offset}};
    }
    case link_kind::uprobe_multi: {
      auto [binary, functions] = split(place, place.find(':'));
      return uprobe_multi_target{std::move(binary), std::move(functions), {.retprobe = retprobe}};
    }
    case link_kind::usdt: {
      auto const last = place.rfind(':');
      auto const [front, name] = split(place, last);
      auto const [binary, provider] = split(front, front.rfind(':'));
      return usdt_target{binary, provider, name};
    }
    default:
      return {};
  }
}

}  // namespace

attach_plan plan_of(section_target const&, program_core const& core) {
  auto const kind = kind_of_section(core.section);
  attach_plan plan{
      .kind = kind,
      .where = "'" + core.section + "'",
      .refuse = [kind, section = core.section](attach_subject const&) -> refusal {
        if (kind == link_kind::lsm) return lsm_refusal();
        auto const place = place_in(section, kind);
        if (!place) return {};
        return std::visit(
            [kind](auto const& t) -> refusal {
              if constexpr (requires { t.binary; }) return odd_binary(t.binary, kind != link_kind::usdt);
              return {};
            },
            *place);
      },
      .attach =
          [kind](attach_subject const& p, attachment_list& into) {
            return keep(bpf_program__attach(p.raw), into, kind == link_kind::usdt ? p.object : nullptr);
          },
      .explain =
          [kind, &core](error_code& ec, diagnostics& details) {
            // libbpf says EOPNOTSUPP for a type that it cannot attach, and for a section that leaves the place open.
            auto const call = call_for(core.type, core.expected_attach_type);
            auto const place = place_in(core.section, kind);
            if (ec == sys_errc::operation_not_supported && (!call.empty() || !place)) {
              ec = errc::not_supported;
              details.hint = !call.empty() ? std::string{call}
                             : names_a_place(core.section)
                                 ? "this type of program is attached with a call of its own, not by its section"
                                 : "the section names no place: use attach_tracepoint() or its like, or name the place "
                                   "in SEC()";
              return;
            }
            if (!place) return;
            auto const named = std::visit([&](auto const& t) { return plan_of(t, core); }, *place);
            if (named.explain) named.explain(ec, details);
          },
  };
#if LIBBPF_MAJOR_VERSION == 1 && LIBBPF_MINOR_VERSION < 3
  // As for the call of its own, libbpf needs help with patterns.
  if (auto const place = place_in(core.section, kind); place && kind == link_kind::kprobe_multi)
    plan.attach = plan_of(std::get<kprobe_multi_target>(*place), core).attach;
#endif
  return plan;
}

attach_plan plan_of(tracepoint_target const& t, program_core const&) {
  return {
      .kind = link_kind::tracepoint,
      .where = "tracepoint " + t.category + ":" + t.name,
      .types = {program_type::tracepoint},
      .refuse = [t](attach_subject const&) -> refusal {
        if (auto odd = odd_name({t.category, t.name}); odd.code) return odd;
        // They would be parts of a path, and lead to who knows what.
        if ((t.category + t.name).find('/') == std::string::npos) return {};
        return {from_libbpf(EINVAL), "neither name has a '/'",
                "category and name are two arguments, such as \"sched\", \"sched_switch\""};
      },
      .attach =
          [t](attach_subject const& p, attachment_list& into) {
            auto options = sized<bpf_tracepoint_opts>();
            options.bpf_cookie = t.options.cookie;
            return keep(bpf_program__attach_tracepoint_opts(p.raw, t.category.c_str(), t.name.c_str(), &options), into);
          },
      .explain = [t](error_code& ec, diagnostics& details) { explain_tracepoint(t, ec, details); },
  };
}

attach_plan plan_of(raw_tracepoint_target const& t, program_core const&) {
  attach_plan plan{
      .kind = link_kind::raw_tracepoint,
      .where = "raw tracepoint " + t.name,
      .types = {program_type::raw_tracepoint, program_type::raw_tracepoint_writable},
      .refuse = [t](attach_subject const&) { return odd_name({t.name}); },
  };
#if LIBBPF_MAJOR_VERSION > 1 || LIBBPF_MINOR_VERSION >= 4
  plan.attach = [t](attach_subject const& p, attachment_list& into) {
    auto options = sized<bpf_raw_tracepoint_opts>();
    options.cookie = t.options.cookie;
    return keep(bpf_program__attach_raw_tracepoint_opts(p.raw, t.name.c_str(), &options), into);
  };
#else
  if (t.options.cookie != 0) plan.libbpf_version = "1.4";
  plan.attach = [t](attach_subject const& p, attachment_list& into) {
    return keep(bpf_program__attach_raw_tracepoint(p.raw, t.name.c_str()), into);
  };
#endif
  plan.explain = [t](error_code& ec, diagnostics& details) { explain_raw_tracepoint(t, ec, details); };
  return plan;
}

attach_plan plan_of(trace_target const& t, program_core const& core) {
  return {
      .kind = core.type == program_type::lsm ? link_kind::lsm : link_kind::tracing,
      .where = "'" + core.section + "'",
      .types = {program_type::tracing, program_type::lsm},
      .refuse = [t](attach_subject const& p) -> refusal {
        auto const type = bpf_program__expected_attach_type(p.raw);
        if (type == BPF_LSM_MAC) return lsm_refusal();
        if (type == BPF_TRACE_ITER)
          return {errc::wrong_program_type, "it is an iterator", "iterators are not attached to a function"};
        if (type == BPF_LSM_CGROUP)
          return {errc::wrong_program_type, "it was loaded for a control group", "attach_cgroup() attaches it"};
        if (type != BPF_TRACE_RAW_TP || t.options.cookie == 0) return {};
#if LIBBPF_MAJOR_VERSION == 1 && LIBBPF_MINOR_VERSION < 4
        return {errc::not_supported_by_libbpf,
                "no cookie for tp_btf with libbpf " + std::to_string(LIBBPF_MAJOR_VERSION) + "." +
                    std::to_string(LIBBPF_MINOR_VERSION),
                "it takes libbpf 1.4 or later, and Linux 6.10"};
#else
        // An older kernel would not say no, but drop it.
        if (kernel_struct_has("bpf_raw_tp_link", "cookie")) return {};
        return {from_libbpf(EOPNOTSUPP), "the kernel has no cookies for tp_btf", "they take Linux 6.10"};
#endif
      },
      .attach =
          [t](attach_subject const& p, attachment_list& into) {
            auto options = sized<bpf_trace_opts>();
            options.cookie = t.options.cookie;
            return keep(bpf_program__attach_trace_opts(p.raw, &options), into);
          },
      .explain =
          [t, type = core.type.load()](error_code& ec, diagnostics& details) {
            if (t.options.cookie != 0 && (ec == sys_errc::invalid_argument || ec == sys_errc::argument_list_too_long))
              details.hint = "a cookie takes Linux 5.19";
            else if (ec == sys_errc::device_or_resource_busy)
              details.hint = type == program_type::lsm ? "this program is attached already"
                                                       : "this program is attached already, or its function is busy "
                                                         "with another tracer, such as a kprobe that changes it";
          },
  };
}

attach_plan plan_of(perf_event_target const& t, program_core const&) {
  return {
      .kind = link_kind::perf_event,
      .where = text_of(t.options),
      .types = {program_type::perf_event},
      .refuse = [o = t.options](attach_subject const&) -> refusal {
        if (o.period != 0 && o.frequency != 0)
          return {from_libbpf(EINVAL), "both a period and a frequency are given", "leave one of them 0"};
        if (o.cpu && *o.cpu < 0)
          return {from_libbpf(EINVAL), "there is no such CPU", "an empty `cpu` means all that are online"};
        return {};
      },
      .attach = [o = t.options](attach_subject const& p,
                                attachment_list& into) { return attach_perf_events(o, p, into); },
      .explain = [o = t.options](error_code& ec, diagnostics& details) { explain_perf_event(o, ec, details); },
  };
}

attach_plan plan_of(freplace_target const& t, program_core const&) {
  return {
      .kind = link_kind::freplace,
      .where = "function '" + t.function + "' of a program",
      .types = {program_type::ext},
      .refuse = [t](attach_subject const&) -> refusal {
        if (t.function.empty()) return {from_libbpf(EINVAL), "no function is named", {}};
        return odd_name({t.function});
      },
      .attach =
          [t](attach_subject const& p, attachment_list& into) {
            if (t.program_fd < 0) return EBADF;
            return keep(bpf_program__attach_freplace(p.raw, t.program_fd, t.function.c_str()), into);
          },
      .explain = [t](error_code& ec, diagnostics& details) { explain_freplace(t, ec, details); },
  };
}

bool attaches_by_itself(program_core const& core) noexcept {
  if (core.place == place_of::nowhere || kind_of_section(core.section) == link_kind::other) return false;
  return core.place == place_of::target || names_a_place(core.section);
}

}  // namespace tinybpf::detail
