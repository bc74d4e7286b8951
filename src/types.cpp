#include <tinybpf/types.hpp>

#include <array>
#include <cstddef>

namespace tinybpf {
namespace {

constexpr std::array<std::string_view, 34> map_types{
    "unspec",
    "hash",
    "array",
    "prog_array",
    "perf_event_array",
    "percpu_hash",
    "percpu_array",
    "stack_trace",
    "cgroup_array",
    "lru_hash",
    "lru_percpu_hash",
    "lpm_trie",
    "array_of_maps",
    "hash_of_maps",
    "devmap",
    "sockmap",
    "cpumap",
    "xskmap",
    "sockhash",
    "cgroup_storage",
    "reuseport_sockarray",
    "percpu_cgroup_storage",
    "queue",
    "stack",
    "sk_storage",
    "devmap_hash",
    "struct_ops",
    "ringbuf",
    "inode_storage",
    "task_storage",
    "bloom_filter",
    "user_ringbuf",
    "cgrp_storage",
    "arena",
};

constexpr std::array<std::string_view, 33> program_types{
    "unspec",
    "socket_filter",
    "kprobe",
    "sched_cls",
    "sched_act",
    "tracepoint",
    "xdp",
    "perf_event",
    "cgroup_skb",
    "cgroup_sock",
    "lwt_in",
    "lwt_out",
    "lwt_xmit",
    "sock_ops",
    "sk_skb",
    "cgroup_device",
    "sk_msg",
    "raw_tracepoint",
    "cgroup_sock_addr",
    "lwt_seg6local",
    "lirc_mode2",
    "sk_reuseport",
    "flow_dissector",
    "cgroup_sysctl",
    "raw_tracepoint_writable",
    "cgroup_sockopt",
    "tracing",
    "struct_ops",
    "ext",
    "lsm",
    "sk_lookup",
    "syscall",
    "netfilter",
};

constexpr std::array<std::string_view, 58> attach_types{
    "cgroup_inet_ingress",
    "cgroup_inet_egress",
    "cgroup_inet_sock_create",
    "cgroup_sock_ops",
    "sk_skb_stream_parser",
    "sk_skb_stream_verdict",
    "cgroup_device",
    "sk_msg_verdict",
    "cgroup_inet4_bind",
    "cgroup_inet6_bind",
    "cgroup_inet4_connect",
    "cgroup_inet6_connect",
    "cgroup_inet4_post_bind",
    "cgroup_inet6_post_bind",
    "cgroup_udp4_sendmsg",
    "cgroup_udp6_sendmsg",
    "lirc_mode2",
    "flow_dissector",
    "cgroup_sysctl",
    "cgroup_udp4_recvmsg",
    "cgroup_udp6_recvmsg",
    "cgroup_getsockopt",
    "cgroup_setsockopt",
    "trace_raw_tp",
    "trace_fentry",
    "trace_fexit",
    "modify_return",
    "lsm_mac",
    "trace_iter",
    "cgroup_inet4_getpeername",
    "cgroup_inet6_getpeername",
    "cgroup_inet4_getsockname",
    "cgroup_inet6_getsockname",
    "xdp_devmap",
    "cgroup_inet_sock_release",
    "xdp_cpumap",
    "sk_lookup",
    "xdp",
    "sk_skb_verdict",
    "sk_reuseport_select",
    "sk_reuseport_select_or_migrate",
    "perf_event",
    "trace_kprobe_multi",
    "lsm_cgroup",
    "struct_ops",
    "netfilter",
    "tcx_ingress",
    "tcx_egress",
    "trace_uprobe_multi",
    "cgroup_unix_connect",
    "cgroup_unix_sendmsg",
    "cgroup_unix_recvmsg",
    "cgroup_unix_getpeername",
    "cgroup_unix_getsockname",
    "netkit_primary",
    "netkit_peer",
    "trace_kprobe_session",
    "trace_uprobe_session",
};

constexpr std::array<std::string_view, 25> link_kinds{
    "none",         "tracepoint", "raw_tracepoint", "tracing",      "kprobe",
    "kprobe_multi", "ksyscall",   "uprobe",         "uprobe_multi", "usdt",
    "lsm",          "freplace",   "iter",           "xdp",          "perf_event",
    "tc",           "tcx",        "netkit",         "cgroup",       "netns",
    "sockmap",      "socket",     "netfilter",      "struct_ops",   "other",
};

template <class Enum, std::size_t N>
std::string_view name_of(Enum value, std::array<std::string_view, N> const& names) noexcept {
  auto const index = static_cast<std::size_t>(value);
  return index < N ? names[index] : "unknown";
}

static_assert(map_types[static_cast<std::size_t>(map_type::arena)] == "arena");
static_assert(map_types[static_cast<std::size_t>(map_type::ringbuf)] == "ringbuf");
static_assert(program_types[static_cast<std::size_t>(program_type::netfilter)] == "netfilter");
static_assert(program_types[static_cast<std::size_t>(program_type::tracing)] == "tracing");
static_assert(link_kinds[static_cast<std::size_t>(link_kind::other)] == "other");

}  // namespace

std::string_view to_string(map_type t) noexcept { return name_of(t, map_types); }
std::string_view to_string(program_type t) noexcept { return name_of(t, program_types); }
std::string_view to_string(attach_type t) noexcept { return name_of(t, attach_types); }
std::string_view to_string(link_kind k) noexcept { return name_of(k, link_kinds); }

}  // namespace tinybpf
