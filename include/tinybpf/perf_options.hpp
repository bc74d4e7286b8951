// How perf buffers are opened.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tinybpf {

/// What the buffers of a perf event array are to be like. The defaults suit most.
struct perf_options {
  /// Pages of each CPU's buffer: a power of two, at most 524,288. 64 pages are 256 KiB, which takes a few thousand
  /// small events.
  std::size_t page_count = 64;
  /// The kernel wakes the reader at every so many events of a CPU. With more than one the last ones wait for others to
  /// come, or for a `flush()`: to wake seldom and yet soon, leave it and choose a wakeup_policy.
  std::uint32_t wakeup_events = 1;
  /// If not 0: the kernel wakes the reader when a CPU has written so many bytes, at most half of its buffer, instead of
  /// counting events. It does so whatever the wakeup_policy, which then only decides when the reader looks by itself.
  std::uint32_t wakeup_watermark = 0;
  /// The CPUs to read from; if empty, all that are online when the buffer is opened. One that comes online later is not
  /// read: what a BPF program writes there fails with ENOENT, which the macros of tinybpf.bpf.h count as lost.
  std::vector<int> cpus = {};
};

}  // namespace tinybpf
