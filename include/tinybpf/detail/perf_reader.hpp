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

/// Data lies at 4 modulo 8: types that ask for more are viewed in a copy, and so is a record that is split. Records of
/// losses stand in the stream and are counted; all others but samples are passed over.
class perf_reader final : public record_reader {
 public:
  /// Throws std::bad_alloc.
  explicit perf_reader(perf_regions const& regions);

 private:
  read_status look() noexcept override;
};

}  // namespace tinybpf::detail
