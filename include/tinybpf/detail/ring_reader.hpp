// The protocol of BPF ring buffers, reader's side, without I/O: over regions that the kernel, a test or a fuzzer fills.
#pragma once

#include <tinybpf/event.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace tinybpf::detail {

/// The regions of one ring, as the kernel maps them.
struct ring_regions {
  void* consumer = nullptr;         ///< The page with the reader's position; writable.
  void const* producer = nullptr;   ///< The page with the writer's position.
  std::byte const* data = nullptr;  ///< The ring, mapped twice in a row, so that no record is ever split.
  std::size_t size = 0;             ///< Bytes of the ring: a power of two.
};

enum class ring_status : std::uint8_t {
  ready,    ///< There is a record at the head.
  empty,    ///< There is none.
  busy,     ///< None yet: the head is reserved but not committed, or a flood of discarded records was cut short.
  corrupt,  ///< The head contradicts the positions; `skip_corrupt()` goes on behind it.
};

/// What a corrupt head looked like.
struct ring_corruption {
  std::uint64_t position = 0;
  std::uint64_t length = 0;     ///< What the header, or the writer's position, claims.
  std::uint64_t available = 0;  ///< What there can be at most.
};

/// Reads records one after the other. Memory is taken as hostile: each shared word is read once per decision, and
/// nothing outside the regions is touched whatever it says.
///
/// Positions count bytes since the ring was made and wrap around with their type. What was released is handed back to
/// the writer by `publish()`; `release()` does so by itself when it amounts to 1/64 of the ring, so that a long batch
/// cannot fill the ring with records that were read.
class ring_reader {
 public:
  using position_type = unsigned long;  // the kernel's

  ring_reader() = default;
  explicit ring_reader(ring_regions const& regions) noexcept
      : regions_{regions}, mask_{regions.size - 1}, publish_at_{regions.size / 64} {
    published_ = consumer_word().load(std::memory_order_relaxed);
    consumer_ = (published_ + 7) & ~position_type{7};
    producer_ = consumer_;
  }

  /// Looks at the head, past what was discarded. Asked again before `release()`, it gives the same record.
  ring_status peek() noexcept {
    if (head_.data != nullptr) return ring_status::ready;
    return look();
  }

  /// The record that `peek()` found.
  [[nodiscard]] raw_record const& head() const noexcept { return head_; }

  /// Goes on behind the head.
  void release() noexcept {
    consumer_ = next_;
    head_.data = nullptr;
    if (consumer_ - published_ > publish_at_) publish();
  }

  /// After `corrupt`: what was found, and the step behind it. The length of a corrupt record is not known, so
  /// everything written so far is given up; the bytes are in `available`.
  ring_corruption skip_corrupt() noexcept {
    consumer_ = producer_ = behind_corruption_;
    return std::exchange(corruption_, {});
  }

  /// Hands everything released back to the writer.
  void publish() noexcept {
    if (published_ == consumer_) return;
    consumer_word().store(consumer_, std::memory_order_release);
    published_ = consumer_;
  }

  /// Bytes released and not yet published.
  [[nodiscard]] std::size_t unpublished() const noexcept { return consumer_ - published_; }

  /// On the way to sleep: publishes, then looks whether the writer moved on. True means that a wait is safe, because a
  /// writer who comes now sees that the reader has caught up, and wakes it. Both accesses are sequentially consistent:
  /// the writer stores its position and then loads ours, so we must not load its before ours is out.
  bool publish_and_check_empty() noexcept {
    consumer_word().store(consumer_, std::memory_order_seq_cst);
    published_ = consumer_;
    return producer_word().load(std::memory_order_seq_cst) == consumer_;
  }

 private:
  static constexpr std::uint32_t busy_bit = 1U << 31U;     // BPF_RINGBUF_BUSY_BIT
  static constexpr std::uint32_t discard_bit = 1U << 30U;  // BPF_RINGBUF_DISCARD_BIT
  static constexpr std::uint32_t header_size = 8;          // BPF_RINGBUF_HDR_SZ
  static constexpr int discards_at_once = 4096;

  using position_ref = std::atomic_ref<position_type>;
  using length_ref = std::atomic_ref<std::uint32_t>;

  // The mapping is read-only, and an atomic_ref of const is not in C++20: these are only ever loaded from.
  position_ref consumer_word() const noexcept { return position_ref{*static_cast<position_type*>(regions_.consumer)}; }
  position_ref producer_word() const noexcept {
    return position_ref{*static_cast<position_type*>(const_cast<void*>(regions_.producer))};
  }
  length_ref header_word(std::byte const* at) const noexcept {
    return length_ref{*reinterpret_cast<std::uint32_t*>(const_cast<std::byte*>(at))};
  }

  ring_status look() noexcept {
    for (int discarded = 0; discarded < discards_at_once; ++discarded) {
      if (consumer_ == producer_) {
        if (regions_.size == 0) return ring_status::empty;
        if (corruption_.available != 0) return ring_status::corrupt;
        auto const producer = producer_word().load(std::memory_order_acquire);
        if (consumer_ == producer) return ring_status::empty;
        auto const ahead = producer - consumer_;
        if (ahead > regions_.size || ahead % 8 != 0) return corrupt(ahead, regions_.size, producer);
        producer_ = producer;
      }
      position_type const available = producer_ - consumer_;
      auto const* const at = regions_.data + (consumer_ & mask_);
      auto const header = header_word(at).load(std::memory_order_acquire);
      if ((header & busy_bit) != 0) return ring_status::busy;
      auto const length = header & ~discard_bit;
      position_type const step = (position_type{length} + header_size + 7) & ~position_type{7};
      if (step > available) return corrupt(length, available, producer_);
      if ((header & discard_bit) == 0) {
        head_ = {at + header_size, length, consumer_};
        next_ = consumer_ + step;
        return ring_status::ready;
      }
      consumer_ += step;
      if (consumer_ - published_ > publish_at_) publish();
    }
    return ring_status::busy;
  }

  // What was found stands until it is skipped, whatever the memory says by then: with nothing known to be ahead, `look`
  // comes by the test of it first, and nobody walks on with a position that was refused.
  ring_status corrupt(std::uint64_t length, std::uint64_t available, position_type producer) noexcept {
    corruption_ = {consumer_, length, available};
    behind_corruption_ = (producer + 7) & ~position_type{7};
    producer_ = consumer_;
    return ring_status::corrupt;
  }

  ring_regions regions_;
  position_type mask_ = 0;
  position_type publish_at_ = 0;
  position_type consumer_ = 0;           // where we read
  position_type published_ = 0;          // where the writer believes us to be
  position_type producer_ = 0;           // the writer's position when we last asked
  position_type next_ = 0;               // behind the head
  position_type behind_corruption_ = 0;  // where to go on
  raw_record head_;
  ring_corruption corruption_;  // not yet skipped; `available` is 0 if there is none
};

}  // namespace tinybpf::detail
