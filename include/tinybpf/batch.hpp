// The range that read_some gives.
#pragma once

#include <tinybpf/detail/ring_core.hpp>
#include <tinybpf/event.hpp>

#include <cstddef>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>

namespace tinybpf {

namespace detail {
template <class Executor>
struct ring_verbs;
}

/// Up to a budget of records, read as they are iterated: a lease of the buffer.
///
/// Single pass. Each element is a reference into the buffer (for several types a std::variant), valid until the range
/// moves on. What was visited is released as the range advances; what was not visited stays in the buffer, also when
/// the range is left early or by an exception. It ends at the budget, where the buffer has no more, at close, and in
/// front of a bad record, which the next read reports.
///
/// While it lives, other reads of the buffer report `errc::operation_in_progress`. It keeps the memory mapped, so it
/// may outlive the buffer. Move-only; a default-constructed or moved-from batch is empty. Nothing in it throws.
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
    bool at_end() const noexcept { return owner_ == nullptr || !owner_->ready_; }

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
  [[nodiscard]] bool empty() const noexcept { return !ready_; }

 private:
  template <class>
  friend struct detail::ring_verbs;

  // The head is known to fit.
  batch(std::shared_ptr<detail::ring_core> core, std::size_t budget) noexcept
      : core_{std::move(core)}, left_{budget}, ready_{true} {
    core_->lease();
    if constexpr (reading::wants_losses) losses_ = core_->new_losses();
  }

  void take(batch& other) noexcept {
    core_ = std::move(other.core_);
    left_ = other.left_;
    ready_ = std::exchange(other.ready_, false);
    seen_ = other.seen_;
    losses_ = other.losses_;
  }

  typename reading::reference visit() noexcept {
    seen_ = true;
    if constexpr (reading::wants_losses)
      if (losses_) return *losses_;
    return reading::refer(core_->head());
  }

  void advance() noexcept {
    if (release()) ready_ = left_ != 0 && !core_->closed() && core_->look<Ts...>() == detail::look_status::ready;
  }

  // Goes on behind what is at the head; false if that was a loss, with the record still to come.
  bool release() noexcept {
    seen_ = false;
    if constexpr (reading::wants_losses) {
      if (losses_) {
        losses_.reset();
        return false;
      }
    }
    core_->release();
    --left_;
    return true;
  }

  void end_lease() noexcept {
    if (!core_) return;
    if (ready_ && seen_ && !core_->forked()) release();
    if (losses_) core_->keep_losses(*losses_);
    ready_ = false;
    core_->end_lease();
    core_.reset();
  }

  std::shared_ptr<detail::ring_core> core_;
  std::size_t left_ = 0;
  bool ready_ = false;
  bool seen_ = false;
  std::optional<lost> losses_;
};

}  // namespace tinybpf
