// What a run of a program on made-up input takes and gives.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

namespace tinybpf {

/// The input and output of `program::test_run`. Which of them a program takes depends on its type: packets (xdp,
/// sched_cls, cgroup_skb, lwt_*, socket_filter, flow_dissector) come as `data_in`, with `struct xdp_md`, `struct
/// __sk_buff` and the like as `ctx_in` if they are to differ from the kernel's own; raw tracepoints take their
/// arguments as `ctx_in`, 8 bytes each, and syscall programs the struct that they are called with. What a type does not
/// take is refused with EINVAL.
struct test_run_options {
  /// The packet, from its Ethernet header.
  std::span<std::byte const> data_in = {};
  /// Gets the packet as the program left it.
  std::span<std::byte> data_out = {};
  /// The context.
  std::span<std::byte const> ctx_in = {};
  /// Gets the context as the program left it.
  std::span<std::byte> ctx_out = {};
  /// How often the program runs. 0 is 1.
  std::uint32_t repeat = 1;
  /// The CPU on which it runs; -1 leaves that to the kernel. Of raw tracepoints alone.
  int cpu = -1;
  /// Lets the kernel treat the packets as an interface would: it sends those that the program redirects or answers,
  /// and hands on those that it passes (BPF_F_TEST_XDP_LIVE_FRAMES; since Linux 5.18). Of xdp alone, without output.
  bool live_frames = false;
  /// Of live frames: how many at a time; 0 for the kernel's own choice.
  std::uint32_t batch_size = 0;
  /// BPF_F_TEST_..., besides those that `cpu` and `live_frames` stand for.
  std::uint32_t flags = 0;
};

/// What came of it.
struct test_run_result {
  /// What the program returned, the last time; 0 of live frames.
  std::uint32_t retval = 0;
  /// What one run took, on average; 0 where the kernel does not say, as of raw tracepoints and syscall programs.
  std::chrono::nanoseconds duration{};
  /// The bytes that the packet had in the end; more than `data_out` has if that was too small.
  std::size_t data_size_out = 0;
  /// Likewise of the context; 0 if `data_out` was too small, for the kernel gives no context then.
  std::size_t ctx_size_out = 0;
};

}  // namespace tinybpf
