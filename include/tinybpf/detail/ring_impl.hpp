// A ring_core that can wait.
#pragma once

#include <tinybpf/detail/ring_core.hpp>
#include <tinybpf/detail/tokens.hpp>

#include <boost/asio/async_result.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/compose.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/asio/post.hpp>

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>

namespace tinybpf::detail {

/// Lives on the heap, so that a buffer can be moved and destroyed while operations are pending: they own it, too.
template <class Executor>
class ring_impl : public ring_core {
 public:
  using timer_type =
      asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, Executor>;

  ring_impl(Executor const& ex, ring_source&& source) : ring_core{std::move(source)}, descriptor{ex}, back_off{ex} {}

  void close() noexcept {
    ring_core::close();
    cancel();
    error_code ignored;
    static_cast<void>(descriptor.close(ignored));
  }

  void cancel() noexcept {
    error_code ignored;
    static_cast<void>(descriptor.cancel(ignored));
    try {
      back_off.cancel();
    } catch (...) {  // the interface allows it; Asio's timers do not throw here
    }
  }

  asio::posix::basic_stream_descriptor<Executor> descriptor;
  timer_type back_off;
  bool waiting = false;
};

/// Waits until the head can be read, then lets `Finish` complete the operation. Consumes nothing itself.
///
/// Finish has `name` (for errors), `details` (or null), `begin(core, ec)` (its own checks; false refuses),
/// `succeed(self, impl)` and `fail(self, ec)`, which complete.
template <class Executor, class Finish>
class ring_operation {
 public:
  ring_operation(std::shared_ptr<ring_impl<Executor>> impl, Finish finish)
      : impl_{std::move(impl)}, finish_{std::move(finish)} {}

  template <class Self>
  void operator()(Self& self, error_code ec = {}) {
    switch (step_) {
      case step::start:
        self.reset_cancellation_state(asio::enable_total_cancellation());
        begin();
        if (refused_) return later(self);
        return look(self);
      case step::posted:
        if (refused_) return finish_.fail(self, refused_);
        break;
      case step::waiting:
        break;
    }
    auto const stopped = self.cancelled() != asio::cancellation_type::none;
    if (stopped || impl_->closed()) ec = asio::error::operation_aborted;
    if (ec) return fail(self, ec);
    impl_->spent = 0;
    look(self);
  }

 private:
  enum class step : std::uint8_t { start, posted, waiting };

  void begin() {
    if (!impl_) return refuse_closed(finish_.name, refused_, finish_.details);
    if (auto const why = impl_->waiting ? errc::operation_in_progress : impl_->begin_read(); why != errc{})
      return impl_->refuse(why, finish_.name, refused_, finish_.details);
    if (finish_.begin(*impl_, refused_)) impl_->waiting = true;
  }

  // Nothing completes inside its initiation: a loop of such operations would overflow the stack, and starve the others.
  template <class Self>
  void later(Self& self) {
    step_ = step::posted;
    asio::post(std::move(self));
  }

  template <class Self>
  void look(Self& self) {
    for (;;) {
      switch (impl_->reader.peek()) {
        case ring_status::ready:
        case ring_status::corrupt:
          if (step_ == step::start) return later(self);
          return succeed(self);
        case ring_status::busy:
          return wait_for_writer(self);
        case ring_status::empty:
          if (!impl_->reader.publish_and_check_empty()) continue;
          pause_ = shortest_pause;
          step_ = step::waiting;
          impl_->descriptor.async_wait(asio::posix::descriptor_base::wait_read, std::move(self));
          return;
      }
    }
  }

  // The descriptor is readable as long as the head is reserved, so waiting on it would spin.
  template <class Self>
  void wait_for_writer(Self& self) {
    impl_->reader.publish();
    impl_->back_off.expires_after(pause_);
    pause_ = std::min(pause_ * 2, longest_pause);
    step_ = step::waiting;
    impl_->back_off.async_wait(std::move(self));
  }

  template <class Self>
  void succeed(Self& self) {
    impl_->waiting = false;
    auto const impl = std::move(impl_);
    finish_.succeed(self, impl);
  }

  template <class Self>
  void fail(Self& self, error_code ec) {
    impl_->waiting = false;
    auto const impl = std::move(impl_);
    finish_.fail(self, ec);
  }

  static constexpr std::chrono::microseconds shortest_pause{20};
  static constexpr std::chrono::microseconds longest_pause{1000};

  std::shared_ptr<ring_impl<Executor>> impl_;
  Finish finish_;
  error_code refused_;
  std::chrono::microseconds pause_ = shortest_pause;
  step step_ = step::start;
};

/// Starts a ring_operation, also on a buffer that was never opened and so has no executor of its own.
template <class Signature, class Executor, class Finish, class Token>
auto start_ring_operation(std::shared_ptr<ring_impl<Executor>> impl, Finish finish, Token&& token) {
  return asio::async_initiate<Token, Signature>(
      [](auto handler, std::shared_ptr<ring_impl<Executor>> target, Finish end) {
        using handler_type = decltype(handler);
        auto* const raw = target.get();
        ring_operation<Executor, Finish> operation{std::move(target), std::move(end)};
        if (raw != nullptr)
          asio::async_compose<handler_type, Signature>(std::move(operation), handler, raw->descriptor);
        else
          asio::async_compose<handler_type, Signature>(std::move(operation), handler);
      },
      token, std::move(impl), std::move(finish));
}

}  // namespace tinybpf::detail
