// A stream_core that can wait.
#pragma once

#include <tinybpf/detail/blocking_operation.hpp>
#include <tinybpf/detail/lent_descriptor.hpp>
#include <tinybpf/detail/operation.hpp>
#include <tinybpf/detail/pins.hpp>
#include <tinybpf/detail/stream_core.hpp>
#include <tinybpf/detail/tokens.hpp>

#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/query.hpp>

#include <algorithm>
#include <chrono>
#include <memory>
#include <mutex>
#include <typeinfo>
#include <utility>
#include <vector>

namespace tinybpf::detail {

/// Lives on the heap, so that a buffer can be moved and destroyed while operations are pending: they own it, too.
template <class Executor>
class stream_impl final : public stream_core,
                          public pinnable,
                          public std::enable_shared_from_this<stream_impl<Executor>> {
 public:
  using timer_type =
      asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, Executor>;
  explicit stream_impl(Executor const& ex, channel_kind kind = channel_kind::either)
      : pause{ex}, kind_{kind}, descriptor_{ex}, publisher_{ex} {}

  [[nodiscard]] Executor get_executor() noexcept { return pause.get_executor(); }
  /// What may be added.
  [[nodiscard]] channel_kind kind() const noexcept { return kind_; }
  [[nodiscard]] lent_descriptor<Executor>& descriptor() noexcept { return descriptor_; }

  /// All of them or none.
  void add(std::vector<channel_source>&& sources, std::type_info const* type, error_code& ec, diagnostics& details) {
    auto joining = prepare(std::move(sources), type, ec, details);
    if (ec) return;
    int const watched = native_handle();
    if (joining.native_handle != watched) descriptor_.lend(joining.native_handle, ec);
    if (!ec) {
      join(std::move(joining));
    } else {
      report_unwatchable(joining.channels.front()->source.name, ec, details);
      error_code ignored;
      if (watched >= 0) descriptor_.lend(watched, ignored);
      abandon(joining);
    }
    look_again();
  }

  void close() noexcept {
    stream_core::close();
    if (forked()) return;
    cancel();
    close_publisher();
    descriptor_.take_back();
  }

  /// Ends what is pending.
  void cancel() noexcept {
    cancelled_ = true;
    again_ = false;
    interrupt();
    publish();
  }

  /// Lets what is pending look once more.
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
  void end_wait() noexcept { set_waiting(false); }

  /// True once after `look_again`: then the interrupted wait was not cancelled.
  bool should_look_again() noexcept { return std::exchange(again_, false); }

  timer_type pause;

 private:
  static constexpr std::chrono::milliseconds publish_within{10};

  void interrupt() noexcept {
    descriptor_.cancel();
    cancel_timer(pause);
  }

  // One timer for all that is read within its time, so that it costs nothing per record. Its handler runs on the
  // buffer's executor, which may be another thread than the reader's: it touches nothing but what is made for that.
  void arm_publisher() noexcept override {
    if (forked()) return;
    std::lock_guard const lock{publisher_mutex_};
    publisher_leaves_ = false;
    start_publisher();
  }

  void await_grace_period(std::shared_ptr<doorbell> const& bell) noexcept override {
    try {
      answer_later(worker_of(asio::query(pause.get_executor(), asio::execution::context)), bell);
    } catch (...) {  // no memory or no thread: late is better than never
      stream_core::await_grace_period(bell);
    }
  }

  // One grace period a job, so that bells which are asked all the time leave the worker to others, too.
  static void answer_later(std::shared_ptr<worker> const& where, std::shared_ptr<doorbell> const& bell) {
    submit(*where, [weak = std::weak_ptr{where}, bell] {
      if (!bell->after_grace_period()) return;
      try {
        if (auto const again = weak.lock()) answer_later(again, bell);
      } catch (...) {
        while (bell->after_grace_period()) {
        }
      }
    });
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

  // Goes on while the reader does. After a tick that finds nothing new comes a last one, for a reader who saw the
  // publisher on just before it was off.
  void publisher_ticks() noexcept {
    bool const goes_on = publish_from_elsewhere();
    std::lock_guard const lock{publisher_mutex_};
    if (!goes_on) {
      if (std::exchange(publisher_leaves_, true)) return;
      publisher_is_off();
    }
    start_publisher();
  }

  void close_publisher() noexcept {
    std::lock_guard const lock{publisher_mutex_};
    publisher_closed_ = true;
    cancel_timer(publisher_);
  }

  channel_kind kind_;
  lent_descriptor<Executor> descriptor_;  // stream_core's
  timer_type publisher_;
  std::mutex publisher_mutex_;
  bool publisher_closed_ = false;
  bool publisher_leaves_ = false;
  bool again_ = false;
  bool cancelled_ = false;
};

/// Waits until the head can be read, then lets `Finish` complete the operation. Consumes nothing itself.
///
/// Finish has `name` (for errors), `details` (or null), `begin(core, ec)` (its own checks; false refuses),
/// `succeed(self, impl)`, which lets go of `impl` first, and `fail(self, ec)`, which complete.
template <class Executor, class Finish>
class stream_operation {
 public:
  stream_operation(std::shared_ptr<stream_impl<Executor>> impl, Finish finish)
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
    if (self.cancelled() != asio::cancellation_type::none || impl_->cancelled() || impl_->closed() || impl_->forked())
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
    if (finish_.begin(*impl_, refused_)) mark_ = wait_mark<stream_impl<Executor>>{*impl_};
  }

  // Nothing completes inside its initiation: a loop of such operations would overflow the stack, and starve the others.
  template <class Self>
  void later(Self& self) {
    step_ = step::posted;
    post_operation(impl_, self);
  }

  template <class Self>
  void look(Self& self) {
    for (;;) {
      switch (impl_->peek()) {
        case read_status::ready:
        case read_status::corrupt:
          if (step_ == step::start) return later(self);
          return succeed(self);
        case read_status::busy:
          return wait_for_writer(self);
        case read_status::empty:
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
    if (!impl_->descriptor().is_open()) return sleep(self, until_one_is_added);
    step_ = step::waiting;
    auto* const impl = impl_.get();
    auto const bell = impl->bell();
    impl->descriptor().async_wait(std::move(self));
    if (bell) bell->ring_if_behind();  // no more than that: the operation may have gone on already
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
    mark_.reset();
    finish_.succeed(self, std::move(impl_));
  }

  template <class Self>
  void fail(Self& self, error_code ec) {
    impl_->publish();  // whoever gave up may not come back
    mark_.reset();
    impl_.reset();
    finish_.fail(self, ec);
  }

  template <class Self>
  void refuse(Self& self) {
    impl_.reset();
    finish_.fail(self, refused_);
  }

  static constexpr std::chrono::hours until_one_is_added{24 * 365};
  static constexpr std::chrono::microseconds shortest_pause{20};
  static constexpr std::chrono::microseconds longest_pause{1000};

  std::shared_ptr<stream_impl<Executor>> impl_;
  wait_mark<stream_impl<Executor>> mark_;
  Finish finish_;
  error_code refused_;
  std::chrono::microseconds busy_pause_ = shortest_pause;
  step step_ = step::start;
};

template <class Signature, class Executor, class Finish, class Token>
auto start_stream_operation(std::shared_ptr<stream_impl<Executor>> impl, Finish finish, Token&& token) {
  return start_operation<stream_operation<Executor, Finish>, Signature>(std::move(impl), std::forward<Token>(token),
                                                                        std::move(finish));
}

}  // namespace tinybpf::detail
