// The protocol of BPF ring buffers, reader's side, without I/O: over regions that the kernel, a test or a fuzzer fills.
#pragma once

#include <tinybpf/detail/record_reader.hpp>
#include <tinybpf/detail/ring_layout.hpp>

#include <cstddef>
#include <cstdint>

namespace tinybpf::detail {

/// The regions of one ring, as the kernel maps them.
struct ring_regions {
  void* consumer = nullptr;         ///< The page with the reader's position; writable.
  void const* producer = nullptr;   ///< The page with the writer's position.
  std::byte const* data = nullptr;  ///< The ring, mapped twice in a row, so that no record is ever split.
  std::size_t size = 0;             ///< Bytes of the ring: a power of two.
};

/// Every record can be viewed where it lies, aligned to 8 bytes.
class ring_reader final : public record_reader {
 public:
  ring_reader() noexcept : ring_reader{ring_regions{}} {}
  explicit ring_reader(ring_regions const& regions) noexcept;

 private:
  read_status look() noexcept override;
};

}  // namespace tinybpf::detail
