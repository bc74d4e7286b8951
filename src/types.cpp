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

constexpr std::array<std::string_view, 16> link_kinds{
    "none", "tracepoint", "raw_tracepoint", "tracing", "kprobe", "kprobe_multi", "ksyscall", "uprobe", "uprobe_multi",
    "usdt", "lsm",        "freplace",       "iter",    "xdp",    "struct_ops",   "other",
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
std::string_view to_string(link_kind k) noexcept { return name_of(k, link_kinds); }

}  // namespace tinybpf
