// The protocol of perf buffers, reader's side, without I/O: over regions that the kernel, a test or a fuzzer fills.
#pragma once

#include <tinybpf/detail/record_reader.hpp>

#include <cstddef>
#include <cstdint>

namespace tinybpf::detail {

/// The regions of one CPU's buffer, as the kernel maps them.
struct perf_regions {
  void* tail = nullptr;             ///< The reader's position, `data_tail`; writable.
  void const* head = nullptr;       ///< The writer's, `data_head`.
  std::byte const* data = nullptr;  ///< The buffer, mapped once: a record may be split around its end.
  std::size_t size = 0;             ///< Bytes of the buffer: a power of two.
};

/// What a BPF program hands over is a sample of raw data, which the kernel pads so that it and its length take a
/// multiple of 8 bytes. The data lies at 4 modulo 8: types that ask for more are viewed in a copy, and so is a record
/// that is split. Records of losses stand in the stream and are counted; all others are passed over.
class perf_reader final : public record_reader {
 public:
  /// Throws std::bad_alloc.
  explicit perf_reader(perf_regions const& regions);

 private:
  read_status look() noexcept override;
  [[nodiscard]] std::uint64_t plain_header(std::uint32_t size) const noexcept override;
};

/// The length that a sample of `size` bytes has once it is padded.
[[nodiscard]] constexpr std::uint64_t padded_sample(std::uint64_t size) noexcept {
  return ((size + 4 + 7) & ~std::uint64_t{7}) - 4;
}

}  // namespace tinybpf::detail
