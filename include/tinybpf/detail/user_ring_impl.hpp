// A user_ring_core that can wait for room.
#pragma once

#include <tinybpf/detail/lent_descriptor.hpp>
#include <tinybpf/detail/operation.hpp>
#include <tinybpf/detail/tokens.hpp>
#include <tinybpf/detail/user_ring_core.hpp>
#include <tinybpf/error.hpp>
#include <tinybpf/reservation.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/error.hpp>

#include <cstddef>
#include <memory>
#include <utility>

namespace tinybpf::detail {

/// Lives on the heap, so that a buffer can be moved and destroyed while an operation is pending: that owns it, too.
template <class Executor>
class user_ring_impl final : public user_ring_core, public std::enable_shared_from_this<user_ring_impl<Executor>> {
 public:
  user_ring_impl(Executor const& ex, user_ring_source&& source, error_code& ec, diagnostics& details)
      : user_ring_core{std::move(source), ec, details}, executor_{ex}, drains_{ex} {
    if (ec) return;
    drains_.lend(drains(), ec);
    if (ec) report_unwatchable(name(), ec, details);
  }

  [[nodiscard]] Executor const& get_executor() const noexcept { return executor_; }

  void close() noexcept {
    user_ring_core::close();
    drains_.take_back();
  }

  /// Ends what is pending.
  void cancel() noexcept {
    cancelled_ = true;
    again_ = false;
    drains_.cancel();
  }

  /// Lets what is pending look for room once more.
  void look_again() noexcept {
    if (!waiting_) return;
    again_ = true;
    drains_.cancel();
  }

  /// Whether a reserve is pending.
  [[nodiscard]] bool waiting() const noexcept { return waiting_; }
  void begin_wait() noexcept {
    waiting_ = true;
    cancelled_ = again_ = false;
  }
  void end_wait() noexcept { waiting_ = false; }

  /// A record if there is room, nothing is in its way, and the loop need not have its turn yet; else null.
  std::byte* reserve_in_turn(std::size_t size, type_shape const* shape) noexcept {
    if (waiting_ || in_a_row_ >= budget || !ready_for(size, shape)) return nullptr;
    ++in_a_row_;
    return try_reserve(size);
  }
  void begin_turn() noexcept { in_a_row_ = 0; }

  [[nodiscard]] bool cancelled() const noexcept { return cancelled_ || closed(); }
  /// True once after `look_again`: then the interrupted wait was not cancelled.
  bool should_look_again() noexcept { return std::exchange(again_, false); }

  template <class Handler>
  void async_wait_drain(Handler&& handler) {
    drains_.async_wait(std::forward<Handler>(handler));
  }

 private:
  static constexpr std::size_t budget = 1024;  // reservations in a row

  Executor executor_;
  std::size_t in_a_row_ = 0;
  lent_descriptor<Executor> drains_;
  bool waiting_ = false;
  bool cancelled_ = false;
  bool again_ = false;
};

/// Reserves as soon as there is room.
template <class Executor, class Reservation>
class reserve_operation {
 public:
  using impl_type = user_ring_impl<Executor>;

  /// `shape`: of the record's type, or null.
  reserve_operation(std::shared_ptr<impl_type> impl, std::size_t size, type_shape const* shape, diagnostics* details)
      : impl_{std::move(impl)}, size_{size}, shape_{shape}, details_{details} {}

  template <class Self>
  void operator()(Self& self, error_code ec = {}) {
    switch (std::exchange(step_, step::looking)) {
      case step::start:
        self.reset_cancellation_state(asio::enable_total_cancellation());
        begin();
        // Nothing completes inside its initiation: a loop of such operations would overflow the stack.
        if (refused_) step_ = step::refused;
        return post_operation(impl_, self);
      case step::refused:
        return end(self, refused_, {});
      case step::looking:
        break;
    }
    bool const again = impl_->should_look_again();
    if (self.cancelled() != asio::cancellation_type::none || impl_->cancelled() || impl_->forked())
      ec = asio::error::operation_aborted;
    else if (again)
      ec = {};
    if (ec) return give_up(self, ec);
    impl_->begin_turn();
    // In this order: a drain after the look is told of again.
    impl_->forget_drains();
    if (auto* const data = impl_->try_reserve(size_)) {
      mark_.reset();
      return end(self, {}, Reservation{*impl_, data, size_});
    }
    auto* const impl = impl_.get();
    impl->async_wait_drain(std::move(self));
  }

 private:
  enum class step : unsigned char { start, refused, looking };

  void begin() {
    if (!impl_) return refuse_user_ring(errc::closed, "async_reserve", {}, refused_, details_);
    if (impl_->waiting() && !impl_->closed())
      return refuse_user_ring(errc::operation_in_progress, "async_reserve", impl_->name(), refused_, details_);
    if (impl_->may_reserve(size_, shape_, refused_, details_)) mark_ = wait_mark<impl_type>{*impl_};
  }

  template <class Self>
  void give_up(Self& self, error_code ec) {
    mark_.reset();
    end(self, ec, {});
  }

  // The handler runs without our share of the buffer: whoever waits for it may then destroy the loop.
  template <class Self>
  void end(Self& self, error_code ec, Reservation&& result) {
    impl_.reset();
    self.complete(ec, std::move(result));
  }

  std::shared_ptr<impl_type> impl_;
  wait_mark<impl_type> mark_;
  std::size_t size_;
  type_shape const* shape_;
  diagnostics* details_;
  error_code refused_;
  step step_ = step::start;
};

template <class Reservation, class Executor, class Token>
auto start_reserve(std::shared_ptr<user_ring_impl<Executor>> impl, std::size_t size, type_shape const* shape,
                   diagnostics* details, Token&& token) {
  return start_operation<reserve_operation<Executor, Reservation>, void(error_code, Reservation)>(
      std::move(impl), std::forward<Token>(token), size, shape, details);
}

/// The awaitable form, where it has to wait, to give way or to refuse.
template <class Reservation, class Ex, class Executor>
asio::awaitable<Reservation, Ex> reserve_slowly(user_ring_impl<Executor>* impl, std::size_t size,
                                                type_shape const* shape) {
  diagnostics details;
  std::shared_ptr<user_ring_impl<Executor>> owner;
  if (impl != nullptr) owner = impl->shared_from_this();
  auto [ec, result] = co_await start_reserve<Reservation>(std::move(owner), size, shape, &details, as_result);
  if (ec) throw_error(ec, std::move(details));
  co_return std::move(result);
}

/// The awaitable form: as long as there is room it suspends only now and then.
template <class Reservation, class Ex, class Executor>
asio::awaitable<Reservation, Ex> reserve(pin<user_ring_impl<Executor>> impl, std::size_t size,
                                         type_shape const* shape) {
  if (auto* const data = impl.get() != nullptr ? impl.get()->reserve_in_turn(size, shape) : nullptr) [[likely]]
    co_return Reservation{*impl.get(), data, size};
  co_return co_await reserve_slowly<Reservation, Ex>(impl.get(), size, shape);
}

}  // namespace tinybpf::detail
