// What readers of ring buffers and of perf buffers have in common, without I/O.
#pragma once

#include <tinybpf/detail/perf_layout.hpp>
#include <tinybpf/detail/ring_layout.hpp>
#include <tinybpf/event.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>

namespace tinybpf::detail {

enum class read_status : std::uint8_t {
  ready,    ///< There is a record at the head.
  empty,    ///< There is none.
  busy,     ///< None yet: the head is reserved but not committed, or a flood of what is no record was cut short.
  corrupt,  ///< The head contradicts the positions; `skip_corrupt()` goes on behind it.
};

/// What a corrupt head looked like.
struct record_corruption {
  std::uint64_t position = 0;
  std::uint64_t length = 0;     ///< What the header, or the writer's position, claims.
  std::uint64_t available = 0;  ///< What there can be at most.
};

/// Reads records one after the other. Memory is taken as hostile: each shared word is read once per decision, and
/// nothing outside the regions is touched whatever it says.
///
/// Positions count bytes since the buffer was made and wrap around with their type. What was released is handed back to
/// the writer by `publish()`; `release()` does so by itself when it amounts to 1/64 of the buffer, so that a long batch
/// cannot fill it with records that were read. The writer's view of our position never goes back.
class record_reader {
 public:
  using position_type = ring_layout::position_type;

  record_reader(record_reader const&) = delete;
  record_reader& operator=(record_reader const&) = delete;
  virtual ~record_reader() = default;

  /// Looks at the head, past what is no record. Asked again before `release()`, it gives the same record.
  read_status peek() noexcept {
    if (head_.position == consumer_) return read_status::ready;
    return look();
  }

  /// The record that `peek()` found.
  [[nodiscard]] raw_record const& head() const noexcept { return head_; }

  /// The same, where types of this alignment can be viewed: a copy, if it lies otherwise.
  [[nodiscard]] raw_record const& head(std::size_t alignment) noexcept {
    if (!is_ring_ && alignment > perf_layout::alignment) [[unlikely]]
      align_head();
    return head_;
  }

  /// Goes on behind the head.
  void release() noexcept { pass(head_); }

  /// The fast half of `peek()`: the head if it is plainly there, or a record without data if `peek()` must tell.
  [[nodiscard]] raw_record glance() const noexcept {
    auto const at = consumer_;
    auto const available = producer_ - at;
    if (available == 0) return {};
    auto const* const head = data_ + (at & mask_);
    auto const header = word<std::uint32_t>(head).load(std::memory_order_acquire);
    if (!is_ring_ || header >= ring_layout::discard_bit || step_over(header) > available) return {};
    return {head + header_size_, header, at};
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
    auto const step = step_over(Size);
    run_step_ = step;
    auto const written = contiguous(producer_ - consumer_);
    std::uint64_t const held = consumer_ - published_;
    std::uint64_t const may_hold = held < publish_at_ ? publish_at_ - held : 0;
    auto const steps = std::min({records, written / step, may_hold / step});
    run_begin_ = consumer_;
    set_run_end(consumer_ + static_cast<position_type>(steps) * step);
  }

  /// The next record of the run, if it is plainly there and has that length; null if `peek()` must tell. A view of it
  /// is aligned as asked, and valid until the next call.
  template <std::uint32_t Size, std::size_t Alignment>
  [[nodiscard]] std::byte const* run_next() const noexcept {
    auto const at = consumer_;
    if (distance(at, position_ref{run_end_}.load(std::memory_order_relaxed)) > 0) [[likely]]
      return ring_record<Size>(at);
    return perf_record<Size, Alignment>(at);
  }

  /// Goes on behind it.
  void run_pass() noexcept { advance_to(consumer_ + run_step_); }

  /// Both: goes on to the next record of the run.
  template <std::uint32_t Size, std::size_t Alignment>
  std::byte const* run_on() noexcept {
    auto const at = consumer_;
    if (auto const to = at + ring_layout::step_over(Size);
        distance(to, position_ref{run_end_}.load(std::memory_order_relaxed)) > 0) [[likely]] {
      advance_to(to);
      return ring_record<Size>(to);
    }
    auto const to = at + run_step_;
    advance_to(to);
    return perf_record<Size, Alignment>(to);
  }

  /// Ends the run, if there is one. Gives how many records it passed.
  std::uint64_t end_run() noexcept {
    std::uint64_t const passed = (consumer_ - run_begin_) / run_step_;
    if (passed != 0) last_ = consumer_ - run_step_;
    run_begin_ = consumer_;
    set_run_end(consumer_);
    if (consumer_ - published_ > publish_at_) hold_back();
    return passed;
  }

  /// After `corrupt`: what was found, and the step behind it. The length of a corrupt record is not known, so
  /// everything written so far is given up, and handed back at once; the bytes are in `available`.
  record_corruption skip_corrupt() noexcept;

  /// Hands everything released back to the writer.
  void publish() noexcept {
    if (published_ != consumer_) publish_to(consumer_);
  }

  /// The same, but where that keeps the writer from waking us without the last record; at most 1/64 of the buffer is
  /// held back.
  void hold_back() noexcept;

  /// Bytes released and not yet published.
  [[nodiscard]] std::size_t unpublished() const noexcept { return consumer_ - published_; }

  /// Bytes released so far.
  [[nodiscard]] position_type released() const noexcept { return consumer_; }

  /// Whether the writer moved on since we last looked, without looking.
  [[nodiscard]] bool has_more() const noexcept {
    return producer_ != consumer_ || producer_word().load(std::memory_order_acquire) != consumer_;
  }

  /// On the way to sleep: publishes, then looks whether the writer moved on. True means that a wait is safe, because a
  /// writer who comes now sees that the reader has caught up, and wakes it. Both accesses are sequentially consistent:
  /// the writer stores its position and then loads ours, so we must not load its before ours is out.
  bool publish_and_check_empty() noexcept;

  /// `publish()` for another thread than the reader's: hands back what was released a moment ago, and gives its end.
  position_type publish_from_elsewhere() noexcept;

  /// From another thread: a run that goes on is cut short, so that its reader looks up.
  void interrupt_run() noexcept { set_run_end(position_ref{consumer_}.load(std::memory_order_relaxed)); }

  /// What stands in front of the head and was told by the writer itself: records that it had to drop.
  [[nodiscard]] std::uint64_t lost_before_head() const noexcept { return lost_before_head_; }
  /// Takes them, or gives them back.
  std::uint64_t take_lost() noexcept { return std::exchange(lost_before_head_, 0); }
  void keep_lost(std::uint64_t count) noexcept { lost_before_head_ += count; }
  /// All that it ever told.
  [[nodiscard]] std::uint64_t lost() const noexcept { return lost_; }

 protected:
  // The regions' owner sees to it that they live longer. Records of rings lie in one piece and aligned to 8 bytes, and
  // the writer wakes only a reader that has caught up; of others `scratch` has room for the largest.
  struct regions {
    void* consumer = nullptr;
    void const* producer = nullptr;
    std::byte const* data = nullptr;
    std::size_t size = 0;
  };
  explicit record_reader(regions const& r) noexcept : record_reader{r, ring_layout::header_size, nullptr} {}
  record_reader(regions const& r, std::uint32_t header_size, std::unique_ptr<std::byte[]> scratch) noexcept;

  /// The slow half of `peek()`.
  virtual read_status look() noexcept = 0;

  /// The step of `look` when nothing is known to be there: asks the writer. `ready` if there is something now.
  read_status ask_writer() noexcept;
  read_status corrupt(std::uint64_t length, std::uint64_t available, position_type producer) noexcept;

  void found(std::byte const* data, std::uint32_t size) noexcept { head_ = {data, size, consumer_}; }
  void go_behind(position_type step) noexcept {
    advance_to(consumer_ + step);
    if (consumer_ - published_ > publish_at_) hold_back();
  }
  void tell_lost(std::uint64_t count) noexcept {
    lost_ += count;
    lost_before_head_ += count;
  }

  [[nodiscard]] position_type position() const noexcept { return consumer_; }
  [[nodiscard]] position_type available() const noexcept { return producer_ - consumer_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::byte const* at(position_type position) const noexcept { return data_ + (position & mask_); }
  [[nodiscard]] std::byte* scratch() const noexcept { return scratch_.get(); }

  /// What a record of this size takes.
  [[nodiscard]] position_type step_over(std::uint32_t size) const noexcept {
    return (position_type{size} + header_size_ + 7) & ~position_type{7};
  }

  // The mapping may be read-only, and an atomic_ref of const is not in C++20: these are only loaded from.
  template <class T>
  static std::atomic_ref<T> word(void const* at) noexcept {
    return std::atomic_ref<T>{*static_cast<T*>(const_cast<void*>(at))};
  }

  static long distance(position_type from, position_type to) noexcept { return static_cast<long>(to - from); }

 private:
  using position_ref = std::atomic_ref<position_type>;

  position_ref consumer_word() const noexcept { return word<position_type>(consumer_word_); }
  position_ref producer_word() const noexcept { return word<position_type>(producer_word_); }

  // Read by publish_from_elsewhere, too; for this thread it is a plain variable.
  void advance_to(position_type to) noexcept { position_ref{consumer_}.store(to, std::memory_order_release); }

  // Sequentially consistent against interrupt_run(): see stream_core::begin_run.
  void set_run_end(position_type to) noexcept {
    position_ref{is_ring_ ? run_end_ : perf_run_end_}.store(to, std::memory_order_seq_cst);
  }

  void publish_to(position_type to) noexcept;
  void advance_word(position_type to) const noexcept;

  void align_head() noexcept;

  // Of so many bytes from the head on, those that do not wrap around; all of them where no record is ever split.
  [[nodiscard]] std::uint64_t contiguous(std::uint64_t bytes) const noexcept {
    return is_ring_ ? bytes : std::min<std::uint64_t>(bytes, size_ - (consumer_ & mask_));
  }

  // A header that fits is all that is asked for in a run: of a sample whose own length contradicts it, what the header
  // covers is there, and that is enough.
  //
  // Rings first: they are the fastest, and have the least to hide a test behind. For perf buffers run_end_ never is
  // ahead, and for rings perf_run_end_.
  template <std::uint32_t Size>
  [[nodiscard]] std::byte const* ring_record(position_type at) const noexcept {
    auto const* const head = data_ + (at & mask_);
    return word<std::uint32_t>(head).load(std::memory_order_acquire) == Size ? head + ring_layout::header_size
                                                                             : nullptr;
  }

  template <std::uint32_t Size, std::size_t Alignment>
  [[nodiscard]] std::byte const* perf_record(position_type at) const noexcept {
    if (distance(at, position_ref{perf_run_end_}.load(std::memory_order_relaxed)) <= 0) return nullptr;
    auto const* const head = data_ + (at & mask_);
    auto const header = word<std::uint64_t>(head).load(std::memory_order_relaxed);
    if ((header & perf_layout::sample_mask) != perf_layout::sample(Size)) return nullptr;
    auto const* const data = head + perf_layout::header_size;
    if constexpr (Alignment > perf_layout::alignment)
      return static_cast<std::byte const*>(std::memcpy(scratch_.get(), data, Size));
    else
      return data;
  }

  alignas(8) position_type consumer_ = 0;         // where we read
  alignas(8) mutable position_type run_end_ = 0;  // the records of the run begin before here, in rings
  std::byte const* data_ = nullptr;
  position_type mask_ = 0;
  bool is_ring_;
  std::uint32_t header_size_;                          // bytes in front of a record's data
  alignas(8) mutable position_type perf_run_end_ = 0;  // and in others
  position_type run_step_ = 8;
  position_type run_begin_ = 0;  // where the run began
  position_type last_ = 0;       // where the last record that was released began
  position_type published_ = 0;  // where the writer believes us to be
  position_type publish_at_ = 0;
  position_type producer_ = 0;                      // the writer's position when we last asked
  raw_record head_{nullptr, 0, ~std::uint64_t{0}};  // what peek() found, if it begins where we read
  std::uint64_t lost_before_head_ = 0;
  std::uint64_t lost_ = 0;
  record_corruption corruption_;  // of which `available` is 0 if there is none
  position_type behind_corruption_ = 0;
  void* consumer_word_ = nullptr;
  void const* producer_word_ = nullptr;
  std::size_t size_ = 0;
  std::unique_ptr<std::byte[]> scratch_;
};

}  // namespace tinybpf::detail
