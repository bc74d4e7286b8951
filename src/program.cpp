#include <tinybpf/program.hpp>

#include "detail/link_state.hpp"
#include "detail/log_capture.hpp"
#include "detail/object_state.hpp"
#include "detail/privileges.hpp"

#include <net/if.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <functional>
#include <utility>

namespace tinybpf {
namespace {

using detail::report;

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

std::string explain_attach_failure(error_code code, link_kind kind, program_type type) {
  bool const needs_tracefs = kind == link_kind::tracepoint;
  if (needs_tracefs && code == boost::system::errc::permission_denied)
    return "this user may not read tracefs: mount it readable, or grant CAP_DAC_READ_SEARCH";
  if (needs_tracefs && !tracefs_is_mounted())
    return "tracefs is not mounted: run `mount -t tracefs tracefs /sys/kernel/tracing`";
  if (code == boost::system::errc::operation_not_permitted || code == boost::system::errc::permission_denied)
    return detail::explain_refusal(detail::needed_to_load(type));
  if (kind == link_kind::xdp && code == boost::system::errc::no_such_device)
    return "this network namespace has no such interface: `ip link` lists those it has";
  if (kind == link_kind::xdp &&
      (code == boost::system::errc::device_or_resource_busy || code == boost::system::errc::file_exists))
    return "the interface has an XDP program already: `bpftool net` shows it";
  if (code == boost::system::errc::no_such_file_or_directory)
    return "the running kernel has no such place to attach to";
  return {};
}

// The frame of every attach: checks, one attach at a time within an object, libbpf's text kept, hints.
link attach_with(detail::program_core* core, link_kind kind, std::string const& where,
                 std::function<bpf_link*(bpf_program*)> const& attach, error_code& ec, diagnostics& details) {
  detail::begin(ec, details);
  if (core == nullptr) {
    report(ec, details, errc::closed, "attach of no program");
    return {};
  }
  details.program = core->name;
  auto const what = "program '" + core->name + "'";
  if (!core->usable(true, what, ec, details) || !detail::attachable(*core, ec, details)) return {};
  std::lock_guard const lock{core->owner->mutex()};
  if (!core->usable(true, what, ec, details)) return {};  // closed while this thread waited
  detail::log_capture log;
  errno = 0;
  auto* const raw = attach(core->raw);
  int const err = errno;
  if (raw == nullptr) {
    auto const code = detail::from_libbpf(err != 0 ? err : EOPNOTSUPP);
    details.log = log.take();
    report(ec, details, code, "cannot attach " + what + " of " + core->owner->source() + " to " + where,
           explain_attach_failure(code, kind, core->type));
    return {};
  }
  auto owned = std::make_unique<detail::libbpf_attachment>(raw, kind == link_kind::usdt ? core->owner->raw() : nullptr);
  detail::attachment_list attachments;
  attachments.push_back(std::move(owned));
  return detail::link_access::make(kind, std::move(attachments));
}

}  // namespace

bool detail::attaches_by_itself(program_core const& core) noexcept {
  if (core.place == place_of::nowhere || kind_of_section(core.section) == link_kind::other) return false;
  return core.place == place_of::target || names_a_place(core.section);
}

program::program(std::shared_ptr<detail::program_core> core) noexcept : core_{std::move(core)} {}

bool program::is_open() const noexcept { return core_ && core_->phase() != detail::object_phase::closed; }
std::string_view program::name() const noexcept { return core_ ? std::string_view{core_->name} : std::string_view{}; }
std::string_view program::section() const noexcept {
  return core_ ? std::string_view{core_->section} : std::string_view{};
}
program_type program::type() const noexcept { return is_open() ? core_->type.load() : program_type::unspec; }

int program::fd() const noexcept { return core_ ? core_->fd.load(std::memory_order_relaxed) : -1; }

program_info program::info() const {
  return detail::or_throw([&](auto& ec, auto& details) { return info(ec, details); });
}

program_info program::info(error_code& ec) const {
  diagnostics details;
  return info(ec, details);
}

program_info program::info(error_code& ec, diagnostics& details) const {
  program_info result;
  if (!detail::ready(core_.get(), "info", ec, details)) return result;
  // Asked twice: first for the number of maps, then with room for their ids. It may not change in between.
  bpf_prog_info raw{};
  __u32 size = sizeof raw;
  int err = bpf_obj_get_info_by_fd(fd(), &raw, &size);
  if (err == 0 && raw.nr_map_ids > 0) {
    result.map_ids.resize(raw.nr_map_ids);
    bpf_prog_info with_maps{};
    with_maps.nr_map_ids = raw.nr_map_ids;
    with_maps.map_ids = reinterpret_cast<std::uintptr_t>(result.map_ids.data());
    size = sizeof with_maps;
    err = bpf_obj_get_info_by_fd(fd(), &with_maps, &size);
  }
  if (err != 0) {
    details.program = core_->name;
    report(ec, details, detail::from_libbpf(err), "info of program '" + core_->name + "'");
    return {};
  }
  result.id = raw.id;
  result.type = static_cast<program_type>(raw.type);
  result.name = raw.name;
  for (auto const byte : raw.tag) {
    constexpr char digits[] = "0123456789abcdef";
    result.tag += digits[byte >> 4U];
    result.tag += digits[byte & 15U];
  }
  result.btf_id = raw.btf_id;
  result.xlated_size = raw.xlated_prog_len;
  result.jited_size = raw.jited_prog_len;
  result.verified_instructions = raw.verified_insns;
  result.load_time = std::chrono::nanoseconds{raw.load_time};
  result.run_time = std::chrono::nanoseconds{raw.run_time_ns};
  result.run_count = raw.run_cnt;
  result.recursion_misses = raw.recursion_misses;
  return result;
}

link program::attach() const {
  return detail::or_throw([&](auto& ec, auto& details) { return attach(ec, details); });
}

link program::attach(error_code& ec) const {
  diagnostics details;
  return attach(ec, details);
}

link program::attach(error_code& ec, diagnostics& details) const {
  auto const place = section();
  auto const kind = kind_of_section(place);
  auto result = attach_with(
      core_.get(), kind, "'" + std::string{place} + "'", [](bpf_program* p) { return bpf_program__attach(p); }, ec,
      details);
  // libbpf says EOPNOTSUPP for a type that it cannot attach, and for a section that leaves the place open.
  if (ec == boost::system::errc::operation_not_supported) {
    ec = errc::not_supported;
    details.hint = type() == program_type::xdp ? "attach_xdp() attaches it, to a network interface"
                   : names_a_place(place)
                       ? "this type of program is attached with a call of its own, not by its section"
                       : "the section names no place: use attach_tracepoint() or its like, or name the place in SEC()";
  }
  return result;
}

link program::attach_tracepoint(std::string_view category, std::string_view name) const {
  return detail::or_throw([&](auto& ec, auto& details) { return attach_tracepoint(category, name, ec, details); });
}

link program::attach_tracepoint(std::string_view category, std::string_view name, error_code& ec) const {
  diagnostics details;
  return attach_tracepoint(category, name, ec, details);
}

link program::attach_tracepoint(std::string_view category, std::string_view name, error_code& ec,
                                diagnostics& details) const {
  std::string const c{category};
  std::string const n{name};
  return attach_with(
      core_.get(), link_kind::tracepoint, "tracepoint " + c + ":" + n,
      [&](bpf_program* p) { return bpf_program__attach_tracepoint(p, c.c_str(), n.c_str()); }, ec, details);
}

link program::attach_raw_tracepoint(std::string_view name) const {
  return detail::or_throw([&](auto& ec, auto& details) { return attach_raw_tracepoint(name, ec, details); });
}

link program::attach_raw_tracepoint(std::string_view name, error_code& ec) const {
  diagnostics details;
  return attach_raw_tracepoint(name, ec, details);
}

link program::attach_raw_tracepoint(std::string_view name, error_code& ec, diagnostics& details) const {
  std::string const n{name};
  return attach_with(
      core_.get(), link_kind::raw_tracepoint, "raw tracepoint " + n,
      [&](bpf_program* p) { return bpf_program__attach_raw_tracepoint(p, n.c_str()); }, ec, details);
}

link program::attach_xdp(int ifindex) const {
  return detail::or_throw([&](auto& ec, auto& details) { return attach_xdp(ifindex, ec, details); });
}

link program::attach_xdp(int ifindex, error_code& ec) const {
  diagnostics details;
  return attach_xdp(ifindex, ec, details);
}

link program::attach_xdp(int ifindex, error_code& ec, diagnostics& details) const {
  char name[IF_NAMESIZE];
  bool const named = if_indextoname(static_cast<unsigned>(ifindex), name) != nullptr;
  bool const missing = !named && errno == ENXIO;
  bool wrong_type = false;
  auto result = attach_with(
      core_.get(), link_kind::xdp,
      "interface " + std::to_string(ifindex) + (named ? " (" + std::string{name} + ")" : std::string{}),
      [&](bpf_program* p) -> bpf_link* {
        // For other types the kernel would take the index for a descriptor, such as a cgroup's.
        wrong_type = bpf_program__type(p) != BPF_PROG_TYPE_XDP;
        if (!wrong_type && !missing) return bpf_program__attach_xdp(p, ifindex);
        errno = wrong_type ? EOPNOTSUPP : ENODEV;  // the kernel says EINVAL to both
        return nullptr;
      },
      ec, details);
  if (wrong_type) {
    ec = errc::not_supported;
    details.hint =
        "only a program of type xdp, as SEC(\"xdp\") makes it, is attached to an interface; this one is of type " +
        std::string{to_string(core_->type)};
  }
  return result;
}

}  // namespace tinybpf
