#include <tinybpf/detail/ring_reader.hpp>

namespace tinybpf::detail {

void ring_reader::hold_back() noexcept {
  auto const to = consumer_ - last_ <= publish_at_ ? last_ : consumer_;
  if (distance(published_, to) > 0) publish_to(to);
}

bool ring_reader::publish_and_check_empty() noexcept {
  publish();
  consumer_word().fetch_add(0, std::memory_order_seq_cst);
  return producer_word().load(std::memory_order_seq_cst) == consumer_;
}

ring_reader::position_type ring_reader::publish_from_elsewhere() noexcept {
  auto const to = position_ref{consumer_}.load(std::memory_order_acquire);
  advance_word(to);
  return to;
}

void ring_reader::publish_to(position_type to) noexcept {
  advance_word(to);
  published_ = to;
}

void ring_reader::advance_word(position_type to) const noexcept {
  auto const word = consumer_word();
  auto seen = word.load(std::memory_order_relaxed);
  while (distance(seen, to) > 0 && !word.compare_exchange_weak(seen, to, std::memory_order_seq_cst)) {
  }
}

ring_status ring_reader::look() noexcept {
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
    if (step_over(length) > available) return corrupt(length, available, producer_);
    if ((header & discard_bit) == 0) {
      head_ = {at + header_size, length, consumer_};
      return ring_status::ready;
    }
    advance_to(consumer_ + step_over(length));
    if (consumer_ - published_ > publish_at_) hold_back();
  }
  return ring_status::busy;
}

// What was found stands until it is skipped, whatever the memory says by then: with nothing known to be ahead, `look`
// comes by the test of it first, and nobody walks on with a position that was refused.
ring_status ring_reader::corrupt(std::uint64_t length, std::uint64_t available, position_type producer) noexcept {
  corruption_ = {consumer_, length, available};
  behind_corruption_ = (producer + 7) & ~position_type{7};
  producer_ = consumer_;
  return ring_status::corrupt;
}

}  // namespace tinybpf::detail
