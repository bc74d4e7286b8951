#include <tinybpf/detail/perf_reader.hpp>

#include <linux/perf_event.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>

namespace tinybpf::detail {
namespace {

constexpr int passed_over_at_once = 4096;
constexpr std::uint32_t lost_record = 24;  // header, id, number

static_assert(sizeof(perf_layout::header) == sizeof(perf_event_header));
static_assert(perf_layout::type_sample == PERF_RECORD_SAMPLE && perf_layout::type_lost == PERF_RECORD_LOST);
static_assert(sizeof(record_reader::position_type) == sizeof(perf_event_mmap_page::data_head),
              "positions in perf buffers have 64 bits");

}  // namespace

perf_reader::perf_reader(perf_regions const& r)
    : record_reader{{r.tail, r.head, r.data, r.size},
                    perf_layout::header_size,
                    std::make_unique_for_overwrite<std::byte[]>(std::min<std::size_t>(r.size, perf_layout::largest))} {}

read_status perf_reader::look() noexcept {
  for (int passed = 0; passed < passed_over_at_once; ++passed) {
    if (available() == 0)
      if (auto const status = ask_writer(); status != read_status::ready) return status;
    // Headers begin at multiples of 8, as does the end of the buffer: they are never split, nor is a word of 8 bytes.
    auto const begin = position();
    auto const head =
        std::bit_cast<perf_layout::header>(word<std::uint64_t>(at(begin)).load(std::memory_order_relaxed));
    position_type const length = head.size;
    auto const bad = [&] { return corrupt(length, available(), begin + available()); };
    if (length < sizeof head || length % 8 != 0 || length > available()) return bad();
    if (head.type == perf_layout::type_sample) {
      if (length < perf_layout::header_size) return bad();
      auto const size = word<std::uint32_t>(at(begin + sizeof head)).load(std::memory_order_relaxed);
      if (step_over(size) != length) return bad();
      auto const data = begin + perf_layout::header_size;
      auto const in_one_piece = static_cast<std::size_t>(at(position_type{0} - 1) + 1 - at(data));
      if (size > in_one_piece) {
        std::memcpy(scratch(), at(data), in_one_piece);
        std::memcpy(scratch() + in_one_piece, at(position_type{0}), size - in_one_piece);
        found(scratch(), size);
      } else {
        found(at(data), size);
      }
      return read_status::ready;
    }
    if (head.type == perf_layout::type_lost) {
      if (length < lost_record) return bad();
      tell_lost(word<std::uint64_t>(at(begin + 16)).load(std::memory_order_relaxed));
    }
    go_behind(length);
  }
  return read_status::busy;
}

}  // namespace tinybpf::detail
