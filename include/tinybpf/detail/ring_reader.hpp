// The protocol of BPF ring buffers, reader's side, without I/O: over regions that the kernel, a test or a fuzzer fills.
#pragma once

#include <tinybpf/detail/ring_layout.hpp>
#include <tinybpf/event.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace tinybpf::detail {

/// The regions of one ring, as the kernel maps them.
struct ring_regions {
  void* consumer = nullptr;         ///< The page with the reader's position; writable.
  void const* producer = nullptr;   ///< The page with the writer's position.
  std::byte const* data = nullptr;  ///< The ring, mapped twice in a row, so that no record is ever split.
  std::size_t size = 0;             ///< Bytes of the ring: a power of two.
};

enum class ring_status : std::uint8_t {
  ready,    ///< There is a record at the head.
  empty,    ///< There is none.
  busy,     ///< None yet: the head is reserved but not committed, or a flood of discarded records was cut short.
  corrupt,  ///< The head contradicts the positions; `skip_corrupt()` goes on behind it.
};

/// What a corrupt head looked like.
struct ring_corruption {
  std::uint64_t position = 0;
  std::uint64_t length = 0;     ///< What the header, or the writer's position, claims.
  std::uint64_t available = 0;  ///< What there can be at most.
};

/// Reads records one after the other. Memory is taken as hostile: each shared word is read once per decision, and
/// nothing outside the regions is touched whatever it says.
///
/// Positions count bytes since the ring was made and wrap around with their type. What was released is handed back to
/// the writer by `publish()`; `release()` does so by itself when it amounts to 1/64 of the ring, so that a long batch
/// cannot fill the ring with records that were read. The writer's view of our position never goes back.
class ring_reader : ring_layout {
 public:
  using ring_layout::position_type;

  ring_reader() = default;
  explicit ring_reader(ring_regions const& regions) noexcept
      : regions_{regions}, mask_{regions.size - 1}, publish_at_{regions.size / 64} {
    published_ = consumer_word().load(std::memory_order_relaxed);
    consumer_ = last_ = run_begin_ = run_end_ = (published_ + 7) & ~position_type{7};
    producer_ = consumer_;
    head_.position = consumer_ - 1;  // no record begins there
  }

  /// Looks at the head, past what was discarded. Asked again before `release()`, it gives the same record.
  ring_status peek() noexcept {
    if (head_.position == consumer_) return ring_status::ready;
    return look();
  }

  /// The record that `peek()` found.
  [[nodiscard]] raw_record const& head() const noexcept { return head_; }

  /// Goes on behind the head.
  void release() noexcept { pass(head_); }

  /// The fast half of `peek()`: the head if it is plainly there, or a record without data if `peek()` must tell.
  [[nodiscard]] raw_record glance() const noexcept {
    auto const at = consumer_;
    auto const available = producer_ - at;
    if (available == 0) return {};
    auto const* const head = regions_.data + (at & mask_);
    auto const header = header_word(head).load(std::memory_order_acquire);
    if (header >= discard_bit || step_over(header) > available) return {};
    return {head + header_size, header, at};
  }

  /// Goes on behind a record that `glance()` or `peek()` gave.
  void pass(raw_record const& r) noexcept {
    auto const behind = static_cast<position_type>(r.position) + step_over(r.size);
    last_ = static_cast<position_type>(r.position);
    advance_to(behind);
    if (behind - published_ > publish_at_) hold_back();
  }

  /// Begins a run: a stretch of records of one length that are known to be written, which `run_next` and `run_pass`
  /// walk without asking for anything else. At most `records`, and not past the point where something must be
  /// published.
  template <std::uint32_t Size>
  void begin_run(std::uint64_t records) noexcept {
    std::uint64_t const written = producer_ - consumer_;
    std::uint64_t const held = consumer_ - published_;
    std::uint64_t const may_hold = held < publish_at_ ? publish_at_ - held : 0;
    auto const steps = std::min({records, written / step_over(Size), may_hold / step_over(Size)});
    run_begin_ = consumer_;
    set_run_end(consumer_ + static_cast<position_type>(steps) * step_over(Size));
  }

  /// The next record of the run, if it is plainly there and has that length; null if `peek()` must tell.
  template <std::uint32_t Size>
  [[nodiscard]] std::byte const* run_next() const noexcept {
    return run_at<Size>(consumer_);
  }

  /// Goes on behind it.
  template <std::uint32_t Size>
  void run_pass() noexcept {
    advance_to(consumer_ + step_over(Size));
  }

  /// Both: goes on to the next record of the run.
  template <std::uint32_t Size>
  std::byte const* run_on() noexcept {
    auto const to = consumer_ + step_over(Size);
    advance_to(to);
    return run_at<Size>(to);
  }

  /// Ends the run, if there is one. Gives how many records of `size` it passed.
  std::uint64_t end_run(std::uint32_t size) noexcept {
    std::uint64_t const passed = (consumer_ - run_begin_) / step_over(size);
    if (passed != 0) last_ = consumer_ - step_over(size);
    run_begin_ = consumer_;
    set_run_end(consumer_);
    if (consumer_ - published_ > publish_at_) hold_back();
    return passed;
  }

  /// After `corrupt`: what was found, and the step behind it. The length of a corrupt record is not known, so
  /// everything written so far is given up, and handed back at once; the bytes are in `available`.
  ring_corruption skip_corrupt() noexcept {
    advance_to(behind_corruption_);
    last_ = producer_ = consumer_;
    head_.position = consumer_ - 1;  // the way may lead back to where a record was seen before
    consumer_word().store(consumer_, std::memory_order_release);
    published_ = consumer_;
    return std::exchange(corruption_, {});
  }

  /// Hands everything released back to the writer.
  void publish() noexcept {
    if (published_ != consumer_) publish_to(consumer_);
  }

  /// The same but for the last record, so that the writer takes us to be behind and wakes nobody; but at most 1/64 of
  /// the ring is held back.
  void hold_back() noexcept;

  /// Bytes released and not yet published.
  [[nodiscard]] std::size_t unpublished() const noexcept { return consumer_ - published_; }

  /// Bytes released so far.
  [[nodiscard]] position_type released() const noexcept { return consumer_; }

  /// On the way to sleep: publishes, then looks whether the writer moved on. True means that a wait is safe, because a
  /// writer who comes now sees that the reader has caught up, and wakes it. Both accesses are sequentially consistent:
  /// the writer stores its position and then loads ours, so we must not load its before ours is out.
  bool publish_and_check_empty() noexcept;

  /// `publish()` for another thread than the reader's: hands back what was released a moment ago, and gives its end.
  position_type publish_from_elsewhere() noexcept;

  /// From another thread: a run that goes on is cut short, so that its reader looks up.
  void interrupt_run() noexcept {
    position_ref{run_end_}.store(position_ref{consumer_}.load(std::memory_order_relaxed), std::memory_order_seq_cst);
  }

 private:
  static constexpr int discards_at_once = 4096;

  using position_ref = std::atomic_ref<position_type>;
  using length_ref = std::atomic_ref<std::uint32_t>;

  // The mapping is read-only, and an atomic_ref of const is not in C++20: these are only ever loaded from.
  position_ref consumer_word() const noexcept { return position_ref{*static_cast<position_type*>(regions_.consumer)}; }
  position_ref producer_word() const noexcept {
    return position_ref{*static_cast<position_type*>(const_cast<void*>(regions_.producer))};
  }
  length_ref header_word(std::byte const* at) const noexcept {
    return length_ref{*reinterpret_cast<std::uint32_t*>(const_cast<std::byte*>(at))};
  }

  static long distance(position_type from, position_type to) noexcept { return static_cast<long>(to - from); }

  // Read by publish_from_elsewhere, too; for this thread it is a plain variable.
  void advance_to(position_type to) noexcept { position_ref{consumer_}.store(to, std::memory_order_release); }

  // Sequentially consistent against interrupt_run(): see ring_core::begin_run.
  void set_run_end(position_type to) noexcept { position_ref{run_end_}.store(to, std::memory_order_seq_cst); }

  void publish_to(position_type to) noexcept;
  void advance_word(position_type to) const noexcept;

  template <std::uint32_t Size>
  [[nodiscard]] std::byte const* run_at(position_type at) const noexcept {
    if (distance(at, position_ref{run_end_}.load(std::memory_order_relaxed)) <= 0) return nullptr;
    auto const* const head = regions_.data + (at & mask_);
    return header_word(head).load(std::memory_order_acquire) == Size ? head + header_size : nullptr;
  }

  ring_status look() noexcept;

  ring_status corrupt(std::uint64_t length, std::uint64_t available, position_type producer) noexcept;

  ring_regions regions_;
  position_type mask_ = 0;
  position_type publish_at_ = 0;
  alignas(8) position_type consumer_ = 0;           // where we read
  alignas(8) mutable position_type run_end_ = 0;    // the records of the run begin before here
  position_type run_begin_ = 0;                     // where the run began
  position_type last_ = 0;                          // where the last record that was released began
  position_type published_ = 0;                     // where the writer believes us to be
  position_type producer_ = 0;                      // the writer's position when we last asked
  raw_record head_{nullptr, 0, ~std::uint64_t{0}};  // what peek() found, if it begins where we read
  ring_corruption corruption_;                      // of which `available` is 0 if there is none
  position_type behind_corruption_ = 0;
};

}  // namespace tinybpf::detail
