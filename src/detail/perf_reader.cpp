#include <tinybpf/detail/perf_reader.hpp>

#include <linux/perf_event.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <memory>

namespace tinybpf::detail {
namespace {

constexpr int passed_over_at_once = 4096;
constexpr std::uint32_t size_of_length = 4;  // in front of a sample's data
constexpr std::uint32_t before_data = sizeof(perf_event_header) + size_of_length;
constexpr std::uint32_t lost_record = 24;  // header, id, number

static_assert(sizeof(perf_event_header) == sizeof(std::uint64_t));
static_assert(sizeof(record_reader::position_type) == sizeof(perf_event_mmap_page::data_head),
              "positions in perf buffers have 64 bits");

std::uint64_t header(std::uint32_t type, std::uint16_t size) noexcept {
  return std::bit_cast<std::uint64_t>(perf_event_header{type, 0, size});
}

}  // namespace

perf_reader::perf_reader(perf_regions const& r)
    : record_reader{{r.tail, r.head, r.data, r.size},
                    before_data,
                    std::make_unique_for_overwrite<std::byte[]>(
                        std::min<std::size_t>(r.size, std::numeric_limits<std::uint16_t>::max()))} {
  header_mask_ = header(std::numeric_limits<std::uint32_t>::max(), std::numeric_limits<std::uint16_t>::max());
}

// A record whose size does not fit its header cannot be: no header is without a type.
std::uint64_t perf_reader::plain_header(std::uint32_t size) const noexcept {
  auto const step = step_over(size);
  return step <= std::numeric_limits<std::uint16_t>::max()
             ? header(PERF_RECORD_SAMPLE, static_cast<std::uint16_t>(step))
             : std::numeric_limits<std::uint64_t>::max();
}

read_status perf_reader::look() noexcept {
  for (int passed = 0; passed < passed_over_at_once; ++passed) {
    if (available() == 0)
      if (auto const status = ask_writer(); status != read_status::ready) return status;
    // Headers begin at multiples of 8, as does the end of the buffer: they are never split, nor is a word of 8 bytes.
    auto const begin = position();
    auto const head = std::bit_cast<perf_event_header>(word<std::uint64_t>(at(begin)).load(std::memory_order_relaxed));
    position_type const length = head.size;
    auto const bad = [&] { return corrupt(length, available(), begin + available()); };
    if (length < sizeof head || length % 8 != 0 || length > available()) return bad();
    if (head.type == PERF_RECORD_SAMPLE) {
      if (length < before_data) return bad();
      auto const size = word<std::uint32_t>(at(begin + sizeof head)).load(std::memory_order_relaxed);
      if (step_over(size) != length) return bad();
      auto const data = begin + before_data;
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
    if (head.type == PERF_RECORD_LOST) {
      if (length < lost_record) return bad();
      tell_lost(word<std::uint64_t>(at(begin + 16)).load(std::memory_order_relaxed));
    }
    go_behind(length);
  }
  return read_status::busy;
}

}  // namespace tinybpf::detail
