// The kernel's enumerations under the kernel's names, independent of the age of the system's headers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace tinybpf {

/// Bytes as they lie in a buffer or map: a view. What is read as `bytes` is not looked into.
using bytes = std::span<std::byte const>;

/// enum bpf_map_type. A value without a name here is kept as it is.
enum class map_type : std::uint32_t {
  unspec = 0,
  hash = 1,
  array = 2,
  prog_array = 3,
  perf_event_array = 4,
  percpu_hash = 5,
  percpu_array = 6,
  stack_trace = 7,
  cgroup_array = 8,
  lru_hash = 9,
  lru_percpu_hash = 10,
  lpm_trie = 11,
  array_of_maps = 12,
  hash_of_maps = 13,
  devmap = 14,
  sockmap = 15,
  cpumap = 16,
  xskmap = 17,
  sockhash = 18,
  cgroup_storage = 19,
  reuseport_sockarray = 20,
  percpu_cgroup_storage = 21,
  queue = 22,
  stack = 23,
  sk_storage = 24,
  devmap_hash = 25,
  struct_ops = 26,
  ringbuf = 27,
  inode_storage = 28,
  task_storage = 29,
  bloom_filter = 30,
  user_ringbuf = 31,
  cgrp_storage = 32,
  arena = 33,
};

/// enum bpf_prog_type. A value without a name here is kept as it is.
enum class program_type : std::uint32_t {
  unspec = 0,
  socket_filter = 1,
  kprobe = 2,
  sched_cls = 3,
  sched_act = 4,
  tracepoint = 5,
  xdp = 6,
  perf_event = 7,
  cgroup_skb = 8,
  cgroup_sock = 9,
  lwt_in = 10,
  lwt_out = 11,
  lwt_xmit = 12,
  sock_ops = 13,
  sk_skb = 14,
  cgroup_device = 15,
  sk_msg = 16,
  raw_tracepoint = 17,
  cgroup_sock_addr = 18,
  lwt_seg6local = 19,
  lirc_mode2 = 20,
  sk_reuseport = 21,
  flow_dissector = 22,
  cgroup_sysctl = 23,
  raw_tracepoint_writable = 24,
  cgroup_sockopt = 25,
  tracing = 26,
  struct_ops = 27,
  ext = 28,
  lsm = 29,
  sk_lookup = 30,
  syscall = 31,
  netfilter = 32,
};

/// The flags of an update: what to do about an entry that exists or does not.
enum class update_flag : std::uint64_t {
  any = 0,       ///< Insert or replace (BPF_ANY).
  no_exist = 1,  ///< Insert only; EEXIST if the key is there (BPF_NOEXIST).
  exist = 2,     ///< Replace only; ENOENT if the key is not there (BPF_EXIST).
};

/// How an attachment is held in the kernel.
enum class link_kind : std::uint8_t {
  none,  ///< No attachment: an empty, detached or moved-from link.
  tracepoint,
  raw_tracepoint,
  tracing,  ///< fentry, fexit, fmod_ret and tp_btf
  kprobe,
  kprobe_multi,
  ksyscall,
  uprobe,
  uprobe_multi,
  usdt,
  lsm,
  freplace,
  iter,
  xdp,
  struct_ops,
  other,  ///< Attached by libbpf from a section name that this library has no word for.
};

/// The enumerator's name, as in the kernel's and bpftool's manuals; "unknown" for a value without one. Never throws.
std::string_view to_string(map_type t) noexcept;
/// @overload
std::string_view to_string(program_type t) noexcept;
/// @overload
std::string_view to_string(link_kind k) noexcept;

}  // namespace tinybpf
