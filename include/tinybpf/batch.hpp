// The range that read_some gives.
#pragma once

#include <tinybpf/detail/stream_core.hpp>
#include <tinybpf/event.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>

namespace tinybpf {

namespace detail {
template <class Executor>
struct stream_verbs;
}

/// Up to a budget of records, read as they are iterated: a lease of the buffer.
///
/// Single pass. Each element is a reference into the buffer (for several types a std::variant), valid until the range
/// moves on. What was visited is released as the range advances; what was not visited stays in the buffer, also when
/// the range is left early or by an exception. It ends at the budget, where the buffer has no more, at close, and in
/// front of a bad record, which the next read reports.
///
/// While it lives, other reads of the buffer report `errc::operation_in_progress`. It keeps the memory mapped, so it
/// may outlive the buffer, but not the buffer's execution context. Move-only; a default-constructed or moved-from batch
/// is empty. Nothing in it throws.
template <class... Ts>
class batch {
  using reading = detail::reading<Ts...>;

 public:
  class iterator {
   public:
    using iterator_concept = std::input_iterator_tag;
    using difference_type = std::ptrdiff_t;
    using value_type = typename reading::value;

    iterator() = default;

    typename reading::reference operator*() const noexcept { return owner_->visit(); }
    iterator& operator++() noexcept {
      owner_->advance();
      return *this;
    }
    void operator++(int) noexcept { owner_->advance(); }

    friend bool operator==(iterator const& it, std::default_sentinel_t) noexcept { return it.at_end(); }

   private:
    friend class batch;
    explicit iterator(batch* owner) noexcept : owner_{owner} {}
    bool at_end() const noexcept { return owner_ == nullptr || owner_->empty(); }

    batch* owner_ = nullptr;
  };

  /// An empty batch.
  batch() = default;
  batch(batch&& other) noexcept { take(other); }
  batch& operator=(batch&& other) noexcept {
    if (this == &other) return *this;
    end_lease();
    take(other);
    return *this;
  }
  ~batch() { end_lease(); }

  /// The first record that was not yet passed.
  [[nodiscard]] iterator begin() noexcept { return iterator{this}; }
  /// The end.
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }
  /// True if there is nothing left to visit.
  [[nodiscard]] bool empty() const noexcept { return current_.data == nullptr; }

 private:
  template <class>
  friend struct detail::stream_verbs;

  // The head is known to fit.
  batch(std::shared_ptr<detail::stream_core> core, std::size_t records) noexcept
      : core_{std::move(core)}, ends_{core_->records() + std::min<std::uint64_t>(records, ~core_->records())} {
    core_->lease();
    found();
  }

  void take(batch& other) noexcept {
    core_ = std::move(other.core_);
    reader_ = other.reader_;
    current_ = std::exchange(other.current_, {});
    ends_ = other.ends_;
    fence_ = other.fence_;
    seen_ = other.seen_;
    losses_ = other.losses_;
  }

  typename reading::reference visit() noexcept {
    seen_ = true;
    if constexpr (reading::wants_losses)
      if (losses_) return *losses_;
    if constexpr (reading::uniform) {
      return *reinterpret_cast<typename reading::first const*>(current_.data);
    } else {
      return reading::refer(core_->found(current_));
    }
  }

  void advance() noexcept {
    if constexpr (reading::uniform) {
      seen_ = false;
      current_.data = reader_->template run_on<sizeof(typename reading::first), alignof(typename reading::first)>();
      if (current_.data != nullptr) [[likely]]
        return;
    } else {
      if (!pass()) return;
      if (core_->records() < fence_ && !core_->closed()) [[likely]] {
        current_ = core_->glance();
        if (current_.data != nullptr && reading::fits(core_->found(current_))) [[likely]]
          return;
      }
    }
    look();
  }

  // The slow half of advance(): at the end of a run, at the budget, at another ring's turn, and where the next record
  // is not plainly there.
  [[gnu::noinline]] void look() noexcept {
    core_->finish_run();
    current_ = {};
    if (core_->records() >= ends_ || core_->closed()) return;
    if (core_->look(detail::ops_of<detail::type_check::skip, Ts...>) == detail::look_status::ready) found();
  }

  void found() noexcept {
    current_ = core_->head(reading::alignment).raw;
    if constexpr (reading::wants_losses) losses_ = core_->new_losses();
    if constexpr (reading::uniform)
      reader_ = &core_->template begin_leased_run<typename reading::first>(ends_);
    else
      fence_ = std::min(ends_, core_->turn_ends());
  }

  // Goes on behind what is current; false if that was a loss, with the record still to come.
  bool pass() noexcept {
    seen_ = false;
    if constexpr (reading::wants_losses) {
      if (losses_) {
        losses_.reset();
        return false;
      }
    }
    if constexpr (reading::uniform)
      reader_->run_pass();
    else
      core_->pass(current_);
    return true;
  }

  void end_lease() noexcept {
    if (!core_) return;
    bool const ours = !core_->forked();
    if (ours && !empty() && seen_) pass();
    if (losses_) core_->keep_losses(*losses_);
    current_ = {};
    core_->end_lease(ours);
    core_.reset();
  }

  std::shared_ptr<detail::stream_core> core_;
  detail::record_reader* reader_ = nullptr;  // the one whose records are walked in a run
  detail::raw_record current_;               // without data at the end; in a run nothing but data counts
  std::uint64_t ends_ = 0;                   // the count of records read at which the budget is spent,
  std::uint64_t fence_ = 0;                  // and at which the slow half has to look
  bool seen_ = false;
  std::optional<lost> losses_;
};

}  // namespace tinybpf
