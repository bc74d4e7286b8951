// Sharing the state of a buffer with what is made for each of its records.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>

namespace tinybpf::detail {

/// State that can be held by pins beside its shared_ptrs.
class pinnable {
 public:
  pinnable() = default;
  pinnable(pinnable const&) = delete;
  pinnable& operator=(pinnable const&) = delete;

  void pin() noexcept { ++pins_; }
  void unpin() noexcept {
    ++unpins_;
    if (kept_ && !pinned()) [[unlikely]]
      std::shared_ptr<void>{std::move(kept_)}.reset();  // perhaps the last of *this
  }
  [[nodiscard]] bool pinned() const noexcept { return pins_ != unpins_; }
  /// Lives on as long as it is pinned.
  void keep(std::shared_ptr<void> self) noexcept { kept_ = std::move(self); }

 protected:
  ~pinnable() = default;

 private:
  // Two counts, so that making a pin does not wait for the end of the one before.
  std::size_t pins_ = 0;
  std::size_t unpins_ = 0;
  std::shared_ptr<void> kept_;
};

/// A buffer's share of its state: when it goes, the state lives on as long as it is pinned.
template <class State>
class handle {
 public:
  handle() = default;
  explicit handle(std::shared_ptr<State> state) noexcept : state_{std::move(state)} {}
  handle(handle const&) = default;
  handle(handle&&) noexcept = default;
  handle& operator=(handle other) noexcept {
    state_.swap(other.state_);
    return *this;
  }
  ~handle() {
    if (state_ && state_->pinned()) state_->keep(state_);
  }

  [[nodiscard]] std::shared_ptr<State> const& share() const noexcept { return state_; }
  [[nodiscard]] State* get() const noexcept { return state_.get(); }
  State* operator->() const noexcept { return state_.get(); }
  explicit operator bool() const noexcept { return state_ != nullptr; }

 private:
  std::shared_ptr<State> state_;
};

/// The share of what is made for each record: counted by hand, and not atomically, which what belongs to one strand
/// need not be.
template <class State>
class pin {
 public:
  pin() = default;
  explicit pin(State* state) noexcept : state_{state} {
    if (state_ != nullptr) state_->pin();
  }
  pin(pin&& other) noexcept : state_{std::exchange(other.state_, nullptr)} {}
  pin& operator=(pin&& other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~pin() { reset(); }

  [[nodiscard]] State* get() const noexcept { return state_; }
  void reset() noexcept {
    if (auto* const state = std::exchange(state_, nullptr)) state->unpin();
  }

 private:
  State* state_ = nullptr;
};

}  // namespace tinybpf::detail
