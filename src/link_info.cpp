// link::info(): the kernel's bpf_link_info, of which the system's headers may know less than the kernel.
#include "detail/link_state.hpp"

#include <limits.h>
#include <linux/bpf.h>

#include <bpf/bpf.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>

namespace tinybpf::detail {
namespace {

// struct bpf_link_info as of Linux 6.18. Pointers and lengths go in, and lengths come out. A kernel that knows less
// takes the longer struct as long as what it does not know is zero, and leaves that alone.
struct named {
  std::uint64_t name;
  std::uint32_t name_len;
  std::uint32_t target;  // of an iterator: map_id; of a perf event: offset
};
struct raw_tracepoint_body {
  named tp;
  std::uint64_t cookie;
};
struct tracing_body {
  std::uint32_t attach_type;
  std::uint32_t target_obj_id;
  std::uint32_t target_btf_id;
  std::uint32_t pad;
  std::uint64_t cookie;
};
struct cgroup_body {
  std::uint64_t cgroup_id;
  std::uint32_t attach_type;
};
struct iter_cgroup {
  std::uint64_t cgroup_id;
  std::uint32_t order;
};
struct iter_task {
  std::uint32_t tid;
  std::uint32_t pid;
};
struct iter_body {
  named target;
  union {
    iter_cgroup cgroup;
    iter_task task;
  };
};
struct where_body {  // netns: ino; xdp, tcx, netkit: ifindex; struct_ops, sockmap: map_id
  std::uint32_t where;
  std::uint32_t attach_type;
};
struct netfilter_body {
  std::uint32_t pf;
  std::uint32_t hooknum;
  std::int32_t priority;
  std::uint32_t flags;
};
struct kprobe_multi_body {
  std::uint64_t addrs;
  std::uint32_t count;
  std::uint32_t flags;
  std::uint64_t missed;
  std::uint64_t cookies;
};
struct uprobe_multi_body {
  std::uint64_t path;
  std::uint64_t offsets;
  std::uint64_t ref_ctr_offsets;
  std::uint64_t cookies;
  std::uint32_t path_size;
  std::uint32_t count;
  std::uint32_t flags;
  std::uint32_t pid;
};
struct uprobe_event {
  std::uint64_t cookie;
  std::uint64_t ref_ctr_offset;
};
struct kprobe_event {
  std::uint64_t addr;
  std::uint64_t missed;
  std::uint64_t cookie;
};
struct tracepoint_event {
  std::uint64_t cookie;
};
struct named_event {
  named what;
  union {
    uprobe_event uprobe;
    kprobe_event kprobe;
    tracepoint_event tracepoint;
  };
};
struct plain_event {
  std::uint64_t config;
  std::uint32_t type;
  std::uint32_t pad;
  std::uint64_t cookie;
};
struct perf_event_body {
  std::uint32_t type;
  std::uint32_t pad;
  union {
    named_event probe;
    plain_event event;
  };
};

struct raw_link_info {
  std::uint32_t type;
  std::uint32_t id;
  std::uint32_t prog_id;
  std::uint32_t pad;
  union {
    raw_tracepoint_body raw_tracepoint;
    tracing_body tracing;
    cgroup_body cgroup;
    iter_body iter;
    where_body at;
    netfilter_body netfilter;
    kprobe_multi_body kprobe_multi;
    uprobe_multi_body uprobe_multi;
    perf_event_body perf_event;
  };
};

static_assert(alignof(raw_link_info) == 8 && sizeof(raw_link_info) == 16 + 48);
static_assert(offsetof(raw_link_info, prog_id) == offsetof(::bpf_link_info, prog_id));
static_assert(offsetof(raw_link_info, raw_tracepoint) == 16);
static_assert(offsetof(raw_link_info, raw_tracepoint.tp.name) == offsetof(::bpf_link_info, raw_tracepoint.tp_name));
static_assert(offsetof(raw_link_info, raw_tracepoint.tp.name_len) ==
              offsetof(::bpf_link_info, raw_tracepoint.tp_name_len));
static_assert(offsetof(raw_link_info, raw_tracepoint.cookie) == 16 + 16);
static_assert(offsetof(raw_link_info, tracing.target_obj_id) == offsetof(::bpf_link_info, tracing.target_obj_id));
static_assert(offsetof(raw_link_info, tracing.target_btf_id) == offsetof(::bpf_link_info, tracing.target_btf_id));
static_assert(offsetof(raw_link_info, tracing.cookie) == 16 + 16);
static_assert(offsetof(raw_link_info, cgroup.cgroup_id) == offsetof(::bpf_link_info, cgroup.cgroup_id));
static_assert(offsetof(raw_link_info, cgroup.attach_type) == offsetof(::bpf_link_info, cgroup.attach_type));
static_assert(offsetof(raw_link_info, iter.target.name) == offsetof(::bpf_link_info, iter.target_name));
static_assert(offsetof(raw_link_info, iter.target.name_len) == offsetof(::bpf_link_info, iter.target_name_len));
static_assert(offsetof(raw_link_info, iter.target.target) == offsetof(::bpf_link_info, iter.map.map_id));
static_assert(offsetof(raw_link_info, iter.cgroup.cgroup_id) == 16 + 16);
static_assert(offsetof(raw_link_info, iter.cgroup.order) == 16 + 24);
static_assert(offsetof(raw_link_info, iter.task.tid) == 16 + 16);
static_assert(offsetof(raw_link_info, iter.task.pid) == 16 + 20);
static_assert(offsetof(raw_link_info, at.where) == offsetof(::bpf_link_info, netns.netns_ino));
static_assert(offsetof(raw_link_info, at.attach_type) == offsetof(::bpf_link_info, netns.attach_type));
static_assert(offsetof(raw_link_info, at.where) == offsetof(::bpf_link_info, xdp.ifindex));
static_assert(offsetof(raw_link_info, netfilter.flags) == 16 + 12);
static_assert(offsetof(raw_link_info, kprobe_multi.count) == 16 + 8);
static_assert(offsetof(raw_link_info, kprobe_multi.missed) == 16 + 16);
static_assert(offsetof(raw_link_info, kprobe_multi.cookies) == 16 + 24);
static_assert(offsetof(raw_link_info, uprobe_multi.path_size) == 16 + 32);
static_assert(offsetof(raw_link_info, uprobe_multi.pid) == 16 + 44);
static_assert(offsetof(raw_link_info, perf_event.probe.what.name) == 16 + 8);
static_assert(offsetof(raw_link_info, perf_event.probe.what.name_len) == 16 + 16);
static_assert(offsetof(raw_link_info, perf_event.probe.what.target) == 16 + 20);
static_assert(offsetof(raw_link_info, perf_event.probe.kprobe.addr) == 16 + 24);
static_assert(offsetof(raw_link_info, perf_event.probe.kprobe.cookie) == 16 + 40);
static_assert(offsetof(raw_link_info, perf_event.event.type) == 16 + 16);
static_assert(offsetof(raw_link_info, perf_event.event.cookie) == 16 + 24);

// enum bpf_link_type
enum class link_type : std::uint32_t {
  raw_tracepoint = 1,
  tracing = 2,
  cgroup = 3,
  iter = 4,
  netns = 5,
  xdp = 6,
  perf_event = 7,
  kprobe_multi = 8,
  struct_ops = 9,
  netfilter = 10,
  tcx = 11,
  uprobe_multi = 12,
  netkit = 13,
  sockmap = 14,
};

int ask(int fd, raw_link_info& raw) {
  __u32 size = sizeof raw;
  return bpf_obj_get_info_by_fd(fd, &raw, &size) == 0 ? 0 : errno;
}

std::uint64_t address(void* p) { return reinterpret_cast<std::uintptr_t>(p); }

// Of what the kernel names, a path is the longest: with its zero.
constexpr std::size_t longest_name = PATH_MAX;

/// Asks again, with room for the name that belongs at `place`. The kernel does not always say how much it needs.
int ask_with_name(int fd, raw_link_info& raw, named& (*place)(raw_link_info&), std::string& name) {
  std::array<char, longest_name> buffer{};
  raw = {};
  place(raw) = {address(buffer.data()), static_cast<std::uint32_t>(buffer.size()), 0};
  int const err = ask(fd, raw);
  if (err == 0) name = buffer.data();
  return err;
}

int tell(int fd, raw_link_info& raw, raw_tracepoint_info& into) {
  int const err = ask_with_name(
      fd, raw, [](raw_link_info& r) -> named& { return r.raw_tracepoint.tp; }, into.name);
  into.cookie = raw.raw_tracepoint.cookie;
  return err;
}

int tell(int fd, raw_link_info& raw, iter_info& into) {
  int const err = ask_with_name(
      fd, raw, [](raw_link_info& r) -> named& { return r.iter.target; }, into.target_name);
  // The kernel fills one of the unions, which the name tells.
  if (into.target_name.starts_with("task")) {
    into.tid = raw.iter.task.tid;
    into.pid = raw.iter.task.pid;
  } else if (into.target_name == "cgroup") {
    into.cgroup_id = raw.iter.cgroup.cgroup_id;
    into.order = raw.iter.cgroup.order;
  } else {
    into.map_id = raw.iter.target.target;
  }
  return err;
}

int tell(int fd, raw_link_info& raw, kprobe_multi_info& into) {
  into.count = raw.kprobe_multi.count;
  into.flags = raw.kprobe_multi.flags;
  into.missed = raw.kprobe_multi.missed;
  if (into.count == 0) return 0;  // before 6.6
  into.addrs.resize(into.count);
  into.cookies.resize(into.count);
  raw = {};
  raw.kprobe_multi.addrs = address(into.addrs.data());
  raw.kprobe_multi.cookies = address(into.cookies.data());
  raw.kprobe_multi.count = into.count;
  return ask(fd, raw);
}

int tell(int fd, raw_link_info& raw, uprobe_multi_info& into) {
  auto const count = raw.uprobe_multi.count;
  into.flags = raw.uprobe_multi.flags;
  into.pid = raw.uprobe_multi.pid;
  if (count == 0) return 0;  // 6.6 and 6.7 say nothing
  std::array<char, longest_name> path{};
  into.offsets.resize(count);
  into.ref_ctr_offsets.resize(count);
  into.cookies.resize(count);
  raw = {};
  raw.uprobe_multi.path = address(path.data());
  raw.uprobe_multi.path_size = static_cast<std::uint32_t>(path.size());
  raw.uprobe_multi.offsets = address(into.offsets.data());
  raw.uprobe_multi.ref_ctr_offsets = address(into.ref_ctr_offsets.data());
  raw.uprobe_multi.cookies = address(into.cookies.data());
  raw.uprobe_multi.count = count;
  int const err = ask(fd, raw);
  if (err == 0) into.path = path.data();
  return err;
}

int tell(int fd, raw_link_info& raw, perf_event_info& into) {
  into.type = static_cast<perf_event_type>(raw.perf_event.type);
  switch (into.type) {
    case perf_event_type::unspec:
      return 0;
    case perf_event_type::event:
      into.perf_type = raw.perf_event.event.type;
      into.config = raw.perf_event.event.config;
      into.cookie = raw.perf_event.event.cookie;
      return 0;
    default:
      break;
  }
  int const err = ask_with_name(
      fd, raw, [](raw_link_info& r) -> named& { return r.perf_event.probe.what; }, into.name);
  auto const& probe = raw.perf_event.probe;
  into.offset = probe.what.target;
  if (into.type == perf_event_type::uprobe || into.type == perf_event_type::uretprobe) {
    into.cookie = probe.uprobe.cookie;
    into.ref_ctr_offset = probe.uprobe.ref_ctr_offset;
  } else if (into.type == perf_event_type::tracepoint) {
    into.offset = 0;
    into.cookie = probe.tracepoint.cookie;
  } else {
    into.addr = probe.kprobe.addr;
    into.missed = probe.kprobe.missed;
    into.cookie = probe.kprobe.cookie;
  }
  return err;
}

template <class Detail>
int tell_into(int fd, raw_link_info& raw, link_info& into) {
  return tell(fd, raw, into.detail.emplace<Detail>());
}

link_kind kind_of_tracing(attach_type type) {
  switch (type) {
    case attach_type::lsm_mac:
      return link_kind::lsm;
    case attach_type::cgroup_inet_ingress:  // 0: an extension has none
      return link_kind::freplace;
    default:
      return link_kind::tracing;
  }
}

link_kind kind_of_perf_event(perf_event_type type) {
  switch (type) {
    case perf_event_type::uprobe:
    case perf_event_type::uretprobe:
      return link_kind::uprobe;
    case perf_event_type::kprobe:
    case perf_event_type::kretprobe:
      return link_kind::kprobe;
    case perf_event_type::tracepoint:
      return link_kind::tracepoint;
    default:
      return link_kind::perf_event;
  }
}

}  // namespace

int read_link_info(int fd, link_info& into) {
  raw_link_info raw{};
  if (int const err = ask(fd, raw); err != 0) return err;
  into.id = raw.id;
  into.program_id = raw.prog_id;
  into.kind = link_kind::other;
  auto const at = raw.at;
  auto const type = static_cast<attach_type>(at.attach_type);
  switch (static_cast<link_type>(raw.type)) {
    case link_type::raw_tracepoint:
      into.kind = link_kind::raw_tracepoint;
      return tell_into<raw_tracepoint_info>(fd, raw, into);
    case link_type::tracing: {
      auto const& t = raw.tracing;
      auto const traced = static_cast<attach_type>(t.attach_type);
      into.kind = kind_of_tracing(traced);
      into.detail = tracing_info{traced, t.target_obj_id, t.target_btf_id, t.cookie};
      return 0;
    }
    case link_type::cgroup:
      into.kind = link_kind::cgroup;
      into.detail = cgroup_info{raw.cgroup.cgroup_id, static_cast<attach_type>(raw.cgroup.attach_type)};
      return 0;
    case link_type::iter:
      into.kind = link_kind::iter;
      return tell_into<iter_info>(fd, raw, into);
    case link_type::netns:
      into.kind = link_kind::netns;
      into.detail = netns_info{at.where, type};
      return 0;
    case link_type::xdp:
      into.kind = link_kind::xdp;
      into.detail = xdp_info{at.where};
      return 0;
    case link_type::perf_event: {
      int const err = tell_into<perf_event_info>(fd, raw, into);
      into.kind = kind_of_perf_event(std::get<perf_event_info>(into.detail).type);
      return err;
    }
    case link_type::kprobe_multi:
      into.kind = link_kind::kprobe_multi;
      return tell_into<kprobe_multi_info>(fd, raw, into);
    case link_type::struct_ops:
      into.kind = link_kind::struct_ops;
      into.detail = struct_ops_info{at.where};
      return 0;
    case link_type::netfilter: {
      auto const& n = raw.netfilter;
      into.kind = link_kind::netfilter;
      into.detail = netfilter_info{n.pf, n.hooknum, n.priority, n.flags};
      return 0;
    }
    case link_type::tcx:
      into.kind = link_kind::tcx;
      into.detail = tcx_info{at.where, type};
      return 0;
    case link_type::uprobe_multi:
      into.kind = link_kind::uprobe_multi;
      return tell_into<uprobe_multi_info>(fd, raw, into);
    case link_type::netkit:
      into.kind = link_kind::netkit;
      into.detail = netkit_info{at.where, type};
      return 0;
    case link_type::sockmap:
      into.kind = link_kind::sockmap;
      into.detail = sockmap_info{at.where, type};
      return 0;
  }
  return 0;
}

}  // namespace tinybpf::detail
