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
#include <cstddef>
#include <memory>
#include <mutex>
#include <typeinfo>
#include <utility>
#include <vector>

namespace tinybpf::detail {

/// Lives on the heap, so that a buffer can be moved and destroyed while operations are pending: they own it, too.
template <class Executor>
class ring_impl final : public ring_core, public std::enable_shared_from_this<ring_impl<Executor>> {
 public:
  using timer_type =
      asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, Executor>;
  using descriptor_type = asio::posix::basic_stream_descriptor<Executor>;

  explicit ring_impl(Executor const& ex)
      : pause{ex}, descriptor_{std::make_unique<descriptor_type>(ex)}, publisher_{ex} {}

  ~ring_impl() override { give_up_descriptor(); }

  [[nodiscard]] Executor get_executor() noexcept { return pause.get_executor(); }
  [[nodiscard]] descriptor_type& descriptor() noexcept { return *descriptor_; }

  /// All of them or none.
  void add(std::vector<ring_source>&& sources, std::type_info const* type, error_code& ec, diagnostics& details) {
    auto joining = prepare(std::move(sources), type, ec, details);
    if (ec) return;
    int const watched = native_handle();
    if (joining.native_handle != watched) {
      take_descriptor();
      static_cast<void>(descriptor_->assign(joining.native_handle, ec));
    }
    if (!ec) {
      join(std::move(joining));
    } else {
      error_code ignored;
      if (watched >= 0) static_cast<void>(descriptor_->assign(watched, ignored));
      abandon(joining);
    }
    look_again();
  }

  void close() noexcept {
    ring_core::close();
    if (forked()) return;
    cancel();
    close_publisher();
    take_descriptor();
  }

  /// Ends what is pending.
  void cancel() noexcept {
    cancelled_ = true;
    again_ = false;
    interrupt();
    publish();
  }

  /// Lets what is pending look at the rings once more.
  void look_again() noexcept {
    look_everywhere();
    if (!waiting()) return;
    again_ = true;
    interrupt();
  }

  /// Whether `cancel` was called since the wait began: what Asio cancels may have been about to complete.
  [[nodiscard]] bool cancelled() const noexcept { return cancelled_; }
  void begin_wait() noexcept {
    cancelled_ = false;
    set_waiting(true);
  }

  /// True once after `look_again`: then the interrupted wait was not cancelled.
  bool should_look_again() noexcept { return std::exchange(again_, false); }

  timer_type pause;

  /// Counts awaitables of `next` that hold the state by ring_pin.
  void pin() noexcept { ++pins_; }
  void unpin() noexcept {
    if (--pins_ == 0 && kept_) std::shared_ptr<ring_impl>{std::move(kept_)}.reset();
  }
  /// Lets the state live on as long as it is pinned.
  static void leave(std::shared_ptr<ring_impl> const& impl) noexcept {
    if (impl && impl->pins_ != 0) impl->kept_ = impl;
  }

 private:
  static constexpr std::chrono::milliseconds publish_within{10};

  static void cancel_timer(timer_type& timer) noexcept {
    try {
      timer.cancel();
    } catch (...) {  // the interface allows it; Asio's timers do not throw here
    }
  }

  void interrupt() noexcept {
    error_code ignored;
    static_cast<void>(descriptor_->cancel(ignored));
    cancel_timer(pause);
  }

  // The descriptor is only lent to Asio: ring_core closes it.
  void take_descriptor() noexcept {
    try {
      if (descriptor_->is_open()) static_cast<void>(descriptor_->release());
    } catch (...) {  // as above
    }
  }

  // A forked child shares its parent's epoll descriptor: taking ours out of it would deafen the parent. So the child
  // leaks it.
  void give_up_descriptor() noexcept {
    if (forked())
      static_cast<void>(descriptor_.release());
    else
      take_descriptor();
  }

  // One timer for all that is read within its time, so that it costs nothing per record. Its handler runs on the
  // buffer's executor, which may be another thread than the reader's: it touches nothing but what is made for that.
  void arm_publisher() noexcept override {
    if (forked()) return;
    std::lock_guard const lock{publisher_mutex_};
    start_publisher();
  }

  void start_publisher() noexcept {
    if (publisher_closed_) return;
    try {
      publisher_.expires_after(publish_within);
      publisher_.async_wait([weak = this->weak_from_this()](error_code ec) {
        auto const self = weak.lock();
        if (self && !ec) self->publisher_ticks();
      });
    } catch (...) {  // no memory: the next read hands back what this one kept
      publisher_is_off();
    }
  }

  // Goes on while the reader does; the last tick finds nothing new.
  void publisher_ticks() noexcept {
    bool const goes_on = publish_from_elsewhere();
    std::lock_guard const lock{publisher_mutex_};
    if (goes_on)
      start_publisher();
    else
      publisher_is_off();
  }

  void close_publisher() noexcept {
    std::lock_guard const lock{publisher_mutex_};
    publisher_closed_ = true;
    cancel_timer(publisher_);
  }

  std::unique_ptr<descriptor_type> descriptor_;
  std::size_t pins_ = 0;
  std::shared_ptr<ring_impl> kept_;
  timer_type publisher_;
  std::mutex publisher_mutex_;
  bool publisher_closed_ = false;
  bool again_ = false;
  bool cancelled_ = false;
};

/// A buffer's share of its state.
template <class Executor>
class ring_handle {
 public:
  using impl_type = ring_impl<Executor>;

  ring_handle() = default;
  explicit ring_handle(std::shared_ptr<impl_type> impl) noexcept : impl_{std::move(impl)} {}
  ring_handle(ring_handle const&) = default;
  ring_handle(ring_handle&&) noexcept = default;
  ring_handle& operator=(ring_handle other) noexcept {
    impl_.swap(other.impl_);
    return *this;
  }
  ~ring_handle() { impl_type::leave(impl_); }

  [[nodiscard]] std::shared_ptr<impl_type> const& share() const noexcept { return impl_; }
  [[nodiscard]] impl_type* get() const noexcept { return impl_.get(); }
  impl_type* operator->() const noexcept { return impl_.get(); }
  explicit operator bool() const noexcept { return impl_ != nullptr; }

 private:
  std::shared_ptr<impl_type> impl_;
};

/// The share of an awaitable that is made for each record: counted by hand, and not atomically, which an awaitable of
/// an unshared buffer need not be.
template <class Executor>
class ring_pin {
 public:
  explicit ring_pin(ring_handle<Executor> const& handle) noexcept : impl_{handle.get()} {
    if (impl_ != nullptr) impl_->pin();
  }
  ring_pin(ring_pin&& other) noexcept : impl_{std::exchange(other.impl_, nullptr)} {}
  ring_pin& operator=(ring_pin&&) = delete;
  ~ring_pin() {
    if (impl_ != nullptr) impl_->unpin();
  }

  [[nodiscard]] ring_impl<Executor>* get() const noexcept { return impl_; }

 private:
  ring_impl<Executor>* impl_;
};

/// Waits until the head can be read, then lets `Finish` complete the operation. Consumes nothing itself.
///
/// Finish has `name` (for errors), `details` (or null), `begin(core, ec)` (its own checks; false refuses),
/// `succeed(self, impl)`, which lets go of `impl` first, and `fail(self, ec)`, which complete.
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
        if (refused_) return refuse(self);
        break;
      case step::waiting:
        break;
    }
    bool const again = impl_->should_look_again();
    if (self.cancelled() != asio::cancellation_type::none || impl_->cancelled() || impl_->closed())
      ec = asio::error::operation_aborted;
    else if (again)
      ec = {};
    if (ec) return fail(self, ec);
    impl_->begin_turn();
    look(self);
  }

 private:
  enum class step : std::uint8_t { start, posted, waiting };

  void begin() {
    if (!impl_) return refuse_closed(finish_.name, refused_, finish_.details);
    if (auto const why = impl_->begin_read(); why != errc{})
      return impl_->refuse(why, finish_.name, refused_, finish_.details);
    if (finish_.begin(*impl_, refused_)) impl_->begin_wait();
  }

  // Nothing completes inside its initiation: a loop of such operations would overflow the stack, and starve the others.
  // By way of our own executor: that of a handler may be a pool of threads, as use_future's is.
  template <class Self>
  void later(Self& self) {
    step_ = step::posted;
    if (!impl_) return asio::post(std::move(self));
    auto const ex = impl_->get_executor();
    asio::post(ex, std::move(self));
  }

  template <class Self>
  void look(Self& self) {
    for (;;) {
      switch (impl_->peek()) {
        case ring_status::ready:
        case ring_status::corrupt:
          if (step_ == step::start) return later(self);
          return succeed(self);
        case ring_status::busy:
          return wait_for_writer(self);
        case ring_status::empty:
          break;
      }
      busy_pause_ = shortest_pause;
      bool found = false;
      if (auto const hold = impl_->ran_dry(found); hold.count() != 0) return sleep(self, hold);
      if (!found) return wait(self);
    }
  }

  template <class Self>
  void wait(Self& self) {
    if (!impl_->descriptor().is_open()) return sleep(self, until_a_ring_is_added);
    step_ = step::waiting;
    auto* const impl = impl_.get();
    impl->descriptor().async_wait(asio::posix::descriptor_base::wait_read, std::move(self));
  }

  // The descriptor is readable as long as the head is reserved, so waiting on it would spin.
  template <class Self>
  void wait_for_writer(Self& self) {
    impl_->publish();
    if (auto const held = impl_->held_for_order(); held.count() != 0) return sleep(self, held);
    auto const now = std::exchange(busy_pause_, std::min(busy_pause_ * 2, longest_pause));
    sleep(self, now);
  }

  template <class Self>
  void sleep(Self& self, std::chrono::nanoseconds time) {
    step_ = step::waiting;
    auto* const impl = impl_.get();
    impl->pause.expires_after(time);
    impl->pause.async_wait(std::move(self));
  }

  // The handler runs without our share of the buffer: whoever waits for it may then destroy the loop.
  template <class Self>
  void succeed(Self& self) {
    impl_->set_waiting(false);
    finish_.succeed(self, std::move(impl_));
  }

  template <class Self>
  void fail(Self& self, error_code ec) {
    impl_->publish();  // whoever gave up may not come back
    impl_->set_waiting(false);
    impl_.reset();
    finish_.fail(self, ec);
  }

  template <class Self>
  void refuse(Self& self) {
    impl_.reset();
    finish_.fail(self, refused_);
  }

  static constexpr std::chrono::hours until_a_ring_is_added{24 * 365};
  static constexpr std::chrono::microseconds shortest_pause{20};
  static constexpr std::chrono::microseconds longest_pause{1000};

  std::shared_ptr<ring_impl<Executor>> impl_;
  Finish finish_;
  error_code refused_;
  std::chrono::microseconds busy_pause_ = shortest_pause;
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
          asio::async_compose<handler_type, Signature>(std::move(operation), handler, raw->get_executor());
        else
          asio::async_compose<handler_type, Signature>(std::move(operation), handler);
      },
      token, std::move(impl), std::move(finish));
}

}  // namespace tinybpf::detail
