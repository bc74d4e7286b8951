// The decision behind a wakeup_policy: no I/O and no clock of its own.
#pragma once

#include <tinybpf/wakeup.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace tinybpf::detail {

/// Is told each time the reader runs dry what was read and when, and answers what to do until it looks again: zero
/// means acknowledge everything and wait on the descriptor; a pause means hold the last record back and look again
/// after it.
class wakeup_rule {
 public:
  using clock = std::chrono::steady_clock;

  wakeup_rule(wakeup_policy policy, std::size_t ring_size) noexcept;

  /// `records` of `bytes` were read since it ran dry the last time.
  std::chrono::nanoseconds ran_dry(std::uint64_t records, std::uint64_t bytes, clock::time_point now) noexcept;

  [[nodiscard]] wakeup_policy policy() const noexcept { return policy_; }

 private:
  wakeup_policy policy_;
  std::size_t ring_size_;
  std::chrono::nanoseconds longest_pause_;
  std::chrono::nanoseconds short_pause_;  // while the stream is not fast
  std::chrono::nanoseconds gap_;          // between events, a moving average
  clock::time_point last_dry_{};
};

}  // namespace tinybpf::detail
