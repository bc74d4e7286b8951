// A bell beside descriptors that may fail to tell.
#pragma once

#include <tinybpf/detail/owned_descriptor.hpp>

#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

namespace tinybpf::detail {

struct channel;

/// A descriptor of our own that is readable once it was rung, watched beside those of perf buffers. They need it twice:
///
/// A perf descriptor's readiness is cleared by whoever polls it. Asio polls when a wait is armed and once more when it
/// collects what is ready, so an event just before a wait is armed may be told to nobody. Therefore the buffers are
/// looked at once more when the wait is armed.
///
/// A BPF program that had begun to write before it was told to wake the reader does not. Therefore they are looked at
/// once more when all that ran then has ended.
///
/// All but `silence` may be called on any thread.
class doorbell {
 public:
  explicit doorbell(owned_descriptor descriptor) noexcept : descriptor_{std::move(descriptor)} {}

  [[nodiscard]] int fd() const noexcept { return descriptor_.get(); }

  /// A perf buffer to look at. To be called before others share the bell. Throws std::bad_alloc.
  void watch(channel const& c);

  /// Rings if there is something in one of the buffers.
  void ring_if_behind() noexcept;
  /// Ends the ringing. True if it rang.
  bool silence() noexcept;

  /// Counts who asks for `after_grace_period`; true for the first, who sees to it that it is called.
  bool ask() noexcept { return asked_.fetch_add(1, std::memory_order_relaxed) == 0; }
  /// Waits until every BPF program that runs now has ended, then rings if there is something in one of the buffers.
  /// True if it was asked for once more meanwhile, and so is to be called again. Blocks for some milliseconds.
  bool after_grace_period() noexcept;

 private:
  struct watched {
    std::shared_ptr<void> mapping;
    void* tail;
    void const* head;
  };

  owned_descriptor descriptor_;
  std::vector<watched> buffers_;
  std::atomic<bool> rung_{false};
  std::atomic<std::size_t> asked_{0};
};

}  // namespace tinybpf::detail
