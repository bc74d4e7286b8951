#include <tinybpf/detail/record_reader.hpp>

namespace tinybpf::detail {

record_reader::record_reader(regions const& r, std::uint32_t header_size, std::unique_ptr<std::byte[]> scratch) noexcept
    : data_{r.data},
      mask_{r.size - 1},
      is_ring_{scratch == nullptr},
      header_size_{header_size},
      publish_at_{r.size / 64},
      consumer_word_{r.consumer},
      producer_word_{r.producer},
      size_{r.size},
      scratch_{std::move(scratch)} {
  if (consumer_word_ != nullptr) published_ = consumer_word().load(std::memory_order_relaxed);
  consumer_ = last_ = run_begin_ = run_end_ = perf_run_end_ = (published_ + 7) & ~position_type{7};
  producer_ = consumer_;
  head_.position = consumer_ - 1;  // no record begins there
}

void record_reader::hold_back() noexcept {
  auto const to = is_ring_ && consumer_ - last_ <= publish_at_ ? last_ : consumer_;
  if (distance(published_, to) > 0) publish_to(to);
}

bool record_reader::publish_and_check_empty() noexcept {
  publish();
  consumer_word().fetch_add(0, std::memory_order_seq_cst);
  return producer_word().load(std::memory_order_seq_cst) == consumer_;
}

record_reader::position_type record_reader::publish_from_elsewhere() noexcept {
  auto const to = position_ref{consumer_}.load(std::memory_order_acquire);
  advance_word(to);
  return to;
}

void record_reader::publish_to(position_type to) noexcept {
  advance_word(to);
  published_ = to;
}

void record_reader::advance_word(position_type to) const noexcept {
  auto const word = consumer_word();
  auto seen = word.load(std::memory_order_relaxed);
  while (distance(seen, to) > 0 && !word.compare_exchange_weak(seen, to, std::memory_order_seq_cst)) {
  }
}

void record_reader::align_head() noexcept {
  if (head_.data != scratch())
    head_.data = static_cast<std::byte const*>(std::memcpy(scratch(), head_.data, head_.size));
}

read_status record_reader::ask_writer() noexcept {
  if (size_ == 0) return read_status::empty;
  if (corruption_.available != 0) return read_status::corrupt;
  auto const producer = producer_word().load(std::memory_order_acquire);
  if (consumer_ == producer) return read_status::empty;
  auto const ahead = producer - consumer_;
  if (ahead > size_ || ahead % 8 != 0) return corrupt(ahead, size_, producer);
  producer_ = producer;
  return read_status::ready;
}

// What was found stands until it is skipped, whatever the memory says by then: with nothing known to be ahead, `look`
// comes by the test of it first, and nobody walks on with a position that was refused.
read_status record_reader::corrupt(std::uint64_t length, std::uint64_t available, position_type producer) noexcept {
  corruption_ = {consumer_, length, available};
  behind_corruption_ = (producer + 7) & ~position_type{7};
  producer_ = consumer_;
  return read_status::corrupt;
}

record_corruption record_reader::skip_corrupt() noexcept {
  advance_to(behind_corruption_);
  last_ = producer_ = consumer_;
  head_.position = consumer_ - 1;  // the way may lead back to where a record was seen before,
  run_begin_ = consumer_;          // and to before the end of a run that is over, or never was
  for (auto* const end : {&run_end_, &perf_run_end_}) position_ref{*end}.store(consumer_, std::memory_order_relaxed);
  consumer_word().store(consumer_, std::memory_order_release);
  published_ = consumer_;
  return std::exchange(corruption_, {});
}

}  // namespace tinybpf::detail
