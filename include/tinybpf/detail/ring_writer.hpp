// The protocol of BPF user ring buffers, writer's side, without I/O: over regions that the kernel or a test drains.
#pragma once

#include <tinybpf/detail/ring_layout.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace tinybpf::detail {

/// The regions of one user ring, as the kernel maps them.
struct user_ring_regions {
  void const* consumer = nullptr;  ///< The page with the kernel's position.
  void* producer = nullptr;        ///< The page with ours; writable.
  std::byte* data = nullptr;       ///< The ring, mapped twice in a row, so that no record is ever split; writable.
  std::size_t size = 0;            ///< Bytes of the ring: a power of two.
};

/// Reserves room and commits it. The kernel drains in the order of the reservations, and waits at one that is neither
/// submitted nor discarded.
///
/// One writer at a time. The kernel's position is taken as it is: whatever it says, nothing outside the regions is
/// touched.
class ring_writer : ring_layout {
 public:
  ring_writer() = default;
  explicit ring_writer(user_ring_regions const& regions) noexcept
      : regions_{regions}, mask_{regions.size - 1}, position_{producer_word().load(std::memory_order_relaxed)} {
    consumed_ = consumer_word().load(std::memory_order_acquire);
  }

  /// Whether a record of this size could ever fit.
  [[nodiscard]] bool can_hold(std::size_t size) const noexcept {
    return size <= largest_record && step_over(size) <= regions_.size;
  }

  /// Room for `size` bytes, aligned to 8, or null if there is none now. `can_hold(size)`.
  [[nodiscard]] std::byte* try_reserve(std::size_t size) noexcept {
    auto const behind = position_ + step_over(size);
    if (behind - consumed_ > regions_.size && !has_room(behind)) [[unlikely]]
      return nullptr;
    auto* const head = regions_.data + (position_ & mask_);
    // The kernel looks at a header only once the position is behind it.
    header_word(head).store(static_cast<std::uint32_t>(size) | busy_bit, std::memory_order_relaxed);
    page_offset(head) = 0;
    position_ = behind;
    producer_word().store(behind, std::memory_order_release);
    return head + header_size;
  }

  /// Hands what was reserved to the kernel, or, discarded, gives up its room once the kernel gets there.
  static void commit(std::byte* sample, std::size_t size, bool discard) noexcept {
    auto const length = static_cast<std::uint32_t>(size) | (discard ? discard_bit : 0U);
    header_word(sample - header_size).store(length, std::memory_order_release);
  }

 private:
  using position_ref = std::atomic_ref<position_type>;
  using length_ref = std::atomic_ref<std::uint32_t>;

  // What a dynptr can span (DYNPTR_MAX_SIZE): the kernel never gets past a larger record.
  static constexpr std::size_t largest_record = (1U << 24U) - 1;

  // The mapping is read-only, and an atomic_ref of const is not in C++20: this is only ever loaded from.
  position_ref consumer_word() const noexcept {
    return position_ref{*static_cast<position_type*>(const_cast<void*>(regions_.consumer))};
  }
  position_ref producer_word() const noexcept { return position_ref{*static_cast<position_type*>(regions_.producer)}; }
  static length_ref header_word(std::byte* head) noexcept {
    return length_ref{*reinterpret_cast<std::uint32_t*>(head)};
  }
  static std::uint32_t& page_offset(std::byte* head) noexcept { return *reinterpret_cast<std::uint32_t*>(head + 4); }

  bool has_room(position_type behind) noexcept {
    consumed_ = consumer_word().load(std::memory_order_acquire);
    return behind - consumed_ <= regions_.size;
  }

  user_ring_regions regions_;
  position_type mask_ = 0;
  position_type position_ = 0;  // ours
  position_type consumed_ = 0;  // the kernel's when we last asked
};

}  // namespace tinybpf::detail
