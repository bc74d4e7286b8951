// How records lie in BPF ring buffers, in either direction.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tinybpf::detail {

/// A base of what reads or writes them.
struct ring_layout {
  using position_type = unsigned long;  // the kernel's

  static constexpr std::uint32_t busy_bit = 1U << 31U;     // BPF_RINGBUF_BUSY_BIT
  static constexpr std::uint32_t discard_bit = 1U << 30U;  // BPF_RINGBUF_DISCARD_BIT
  static constexpr std::uint32_t header_size = 8;          // BPF_RINGBUF_HDR_SZ

  /// What a record of this length takes.
  static constexpr position_type step_over(std::size_t length) noexcept {
    return (position_type{length} + header_size + 7) & ~position_type{7};
  }
};

}  // namespace tinybpf::detail
