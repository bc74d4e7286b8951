// How samples lie in perf buffers.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace tinybpf::detail {

/// What a BPF program hands over is a sample of raw data: a header that tells the length of all, the length of the
/// data, and the data, which the kernel pads so that all of it takes a multiple of 8 bytes.
struct perf_layout {
  /// perf_event_header
  struct header {
    std::uint32_t type;
    std::uint16_t misc;
    std::uint16_t size;
  };

  static constexpr std::uint32_t type_lost = 2;     // PERF_RECORD_LOST
  static constexpr std::uint32_t type_sample = 9;   // PERF_RECORD_SAMPLE
  static constexpr std::uint32_t header_size = 12;  // with the length of the data
  static constexpr std::size_t alignment = 4;       // of the data
  static constexpr std::uint32_t largest = 0xffff;  // of all, which is what the header can tell

  /// The length that data has once it is padded.
  static constexpr std::uint64_t padded(std::uint64_t size) noexcept {
    return ((size + 4 + 7) & ~std::uint64_t{7}) - 4;
  }

  /// A header but for the bits that do not matter, and which those are.
  static constexpr std::uint64_t sample_mask = std::bit_cast<std::uint64_t>(header{0xffffffff, 0, 0xffff});
  /// Of a sample of so many bytes. Too large a one cannot be: no header has this.
  static constexpr std::uint64_t sample(std::uint32_t size) noexcept {
    auto const all = padded(size) + header_size;
    return all <= largest ? std::bit_cast<std::uint64_t>(header{type_sample, 0, static_cast<std::uint16_t>(all)})
                          : ~sample_mask;
  }
};

}  // namespace tinybpf::detail
