// What the kernel tells of a link, by its kind.
#pragma once

#include <tinybpf/types.hpp>

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace tinybpf {

/// Of raw_tracepoint, and of tp_btf, which the kernel holds as one.
struct raw_tracepoint_info {
  std::string name;
  std::uint64_t cookie = 0;  ///< Told since Linux 6.17.
};

/// Of fentry, fexit, fmod_ret, lsm and freplace.
struct tracing_info {
  tinybpf::attach_type attach_type{};  ///< Of freplace, which has none: 0.
  std::uint32_t target_obj_id = 0;     ///< Of the BTF that has the function; for freplace, and for tracing of BPF
                                       ///< programs, of the program.
  std::uint32_t target_btf_id = 0;     ///< The function, in that BTF.
  std::uint64_t cookie = 0;            ///< Told since Linux 6.17.
};

struct cgroup_info {
  std::uint64_t cgroup_id = 0;  ///< The inode of the cgroup's folder. 0 once the cgroup is gone.
  tinybpf::attach_type attach_type{};
};

/// Which things an iterator walks. What does not apply to the target is 0.
struct iter_info {
  std::string target_name;      ///< Such as "task" or "bpf_map_elem".
  std::uint32_t map_id = 0;     ///< Of a map's elements.
  std::uint64_t cgroup_id = 0;  ///< Of cgroups: where the walk begins.
  std::uint32_t order = 0;      ///< Likewise: enum bpf_cgroup_iter_order.
  std::uint32_t tid = 0;        ///< Of tasks: the only thread; 0 for all.
  std::uint32_t pid = 0;        ///< Likewise: the only process.
};

/// Of sk_lookup and flow_dissector.
struct netns_info {
  std::uint32_t ino = 0;  ///< The inode in /proc/PID/ns/net. 0 once the namespace is gone.
  tinybpf::attach_type attach_type{};
};

struct xdp_info {
  std::uint32_t ifindex = 0;  ///< 0 once the interface is gone.
};

/// Of a clsact filter: as it was attached, for the kernel keeps no link.
struct tc_info {
  std::uint32_t ifindex = 0;
  bool egress = false;
  std::uint32_t handle = 0;
  std::uint32_t priority = 0;
};

struct tcx_info {
  std::uint32_t ifindex = 0;  ///< 0 once the interface is gone.
  tinybpf::attach_type attach_type{};
};

struct netkit_info {
  std::uint32_t ifindex = 0;  ///< Of the primary device. 0 once it is gone.
  tinybpf::attach_type attach_type{};
};

struct netfilter_info {
  std::uint32_t pf = 0;       ///< NFPROTO_IPV4, NFPROTO_IPV6 and others.
  std::uint32_t hooknum = 0;  ///< NF_INET_LOCAL_IN and others.
  std::int32_t priority = 0;
  std::uint32_t flags = 0;
};

struct kprobe_multi_info {
  std::uint32_t count = 0;             ///< Of functions.
  std::uint32_t flags = 0;             ///< 1: on return (BPF_F_KPROBE_MULTI_RETURN).
  std::uint64_t missed = 0;            ///< Calls that were not seen, because a probe was running.
  std::vector<std::uint64_t> addrs;    ///< Zeros where this user may not see the kernel's addresses.
  std::vector<std::uint64_t> cookies;  ///< One for each function; all 0 if none were given, and before Linux 6.9.
};

struct uprobe_multi_info {
  std::string path;         ///< Of the binary; empty if it has none any more.
  std::uint32_t flags = 0;  ///< 1: on return (BPF_F_UPROBE_MULTI_RETURN).
  std::uint32_t pid = 0;    ///< The only process; 0 for all.
  std::vector<std::uint64_t> offsets;
  std::vector<std::uint64_t> ref_ctr_offsets;
  std::vector<std::uint64_t> cookies;
};

/// enum bpf_perf_event_type: what a perf event that runs a program is of.
enum class perf_event_type : std::uint32_t {
  unspec = 0,  ///< The kernel does not say: before Linux 6.6.
  uprobe = 1,
  uretprobe = 2,
  kprobe = 3,
  kretprobe = 4,
  tracepoint = 5,
  event = 6,
};

/// Of tracepoint, kprobe, uprobe and perf_event: all empty before Linux 6.6.
struct perf_event_info {
  perf_event_type type = perf_event_type::unspec;
  std::string name;                  ///< Of the tracepoint, the kernel's function, or the uprobe's binary.
  std::uint32_t offset = 0;          ///< Within the function or the binary.
  std::uint64_t addr = 0;            ///< Of a kprobe; 0 where this user may not see the kernel's addresses.
  std::uint64_t missed = 0;          ///< Of a kprobe: calls that were not seen.
  std::uint64_t cookie = 0;          ///< Told since Linux 6.9.
  std::uint64_t ref_ctr_offset = 0;  ///< Of a uprobe, told since Linux 6.16.
  std::uint32_t perf_type = 0;  ///< Of an event: PERF_TYPE_HARDWARE and others; the clocks have numbers of their own.
  std::uint64_t config = 0;     ///< Of an event: PERF_COUNT_SW_PAGE_FAULTS and others.
};

struct struct_ops_info {
  std::uint32_t map_id = 0;
};

/// Of sk_msg and sk_skb, as a link, which Linux 6.10 has.
struct sockmap_info {
  std::uint32_t map_id = 0;
  tinybpf::attach_type attach_type{};
};

/// What the kernel says about a link.
struct link_info {
  link_info() = default;

  std::uint32_t id = 0;          ///< 0 for what is no bpf_link.
  std::uint32_t program_id = 0;  ///< Of the program that runs now. 0 for struct_ops, which has many.
  link_kind kind = link_kind::none;
  /// `std::monostate` for a kind that this library does not know.
  std::variant<std::monostate, raw_tracepoint_info, tracing_info, cgroup_info, iter_info, netns_info, xdp_info, tc_info,
               tcx_info, netkit_info, netfilter_info, kprobe_multi_info, uprobe_multi_info, perf_event_info,
               struct_ops_info, sockmap_info>
      detail;
};

}  // namespace tinybpf
