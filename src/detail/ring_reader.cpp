#include <tinybpf/detail/ring_reader.hpp>

namespace tinybpf::detail {
namespace {

constexpr int discards_at_once = 4096;

}  // namespace

ring_reader::ring_reader(ring_regions const& r) noexcept : record_reader{{r.consumer, r.producer, r.data, r.size}} {}

read_status ring_reader::look() noexcept {
  for (int discarded = 0; discarded < discards_at_once; ++discarded) {
    if (available() == 0)
      if (auto const status = ask_writer(); status != read_status::ready) return status;
    auto const* const head = at(position());
    auto const header = word<std::uint32_t>(head).load(std::memory_order_acquire);
    if ((header & ring_layout::busy_bit) != 0) return read_status::busy;
    auto const length = header & ~ring_layout::discard_bit;
    if (step_over(length) > available()) return corrupt(length, available(), position() + available());
    if ((header & ring_layout::discard_bit) == 0) {
      found(head + ring_layout::header_size, length);
      return read_status::ready;
    }
    go_behind(step_over(length));
  }
  return read_status::busy;
}

}  // namespace tinybpf::detail
