// The range that read_some gives.
#pragma once

#include <tinybpf/detail/ring_core.hpp>
#include <tinybpf/event.hpp>

#include <cstddef>
#include <iterator>
#include <memory>
#include <utility>

namespace tinybpf {

namespace detail {
template <class Executor>
struct ring_verbs;
}

/// Up to a budget of records, read as they are iterated: a lease of the buffer.
///
/// Single pass. Each element is a reference into the buffer, valid until the range moves on. What was visited is
/// released as the range advances; what was not visited stays in the buffer, also when the range is left early or by an
/// exception. It ends at the budget, where the buffer has no more, at close, and in front of a bad record, which the
/// next read reports.
///
/// While it lives, other reads of the buffer report `errc::operation_in_progress`. It keeps the memory mapped, so it
/// may outlive the buffer. Move-only; a default-constructed or moved-from batch is empty. Nothing in it throws.
template <class E>
class batch {
  using reading = detail::reading<E>;

 public:
  class iterator {
   public:
    using iterator_concept = std::input_iterator_tag;
    using difference_type = std::ptrdiff_t;
    using value_type = E;

    iterator() = default;

    typename reading::reference operator*() const noexcept {
      owner_->seen_ = true;
      return reading::refer(owner_->core_->reader.head(), owner_->core_->name());
    }
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
  batch(batch&& other) noexcept
      : core_{std::move(other.core_)},
        left_{other.left_},
        ready_{std::exchange(other.ready_, false)},
        seen_{other.seen_} {}
  batch& operator=(batch&& other) noexcept {
    if (this == &other) return *this;
    end_lease();
    core_ = std::move(other.core_);
    left_ = other.left_;
    ready_ = std::exchange(other.ready_, false);
    seen_ = other.seen_;
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
  }

  void advance() noexcept {
    release();
    ready_ = left_ != 0 && !core_->closed() && core_->look<E>() == detail::take_status::taken;
  }

  void release() noexcept {
    core_->reader.release();
    ++core_->spent;
    --left_;
    seen_ = false;
  }

  void end_lease() noexcept {
    if (!core_) return;
    if (ready_ && seen_) release();
    ready_ = false;
    core_->end_lease();
    core_.reset();
  }

  std::shared_ptr<detail::ring_core> core_;
  std::size_t left_ = 0;
  bool ready_ = false;
  bool seen_ = false;
};

}  // namespace tinybpf
