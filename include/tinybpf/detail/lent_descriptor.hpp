// A descriptor that Asio waits on and does not own.
#pragma once

#include <tinybpf/detail/fork_count.hpp>
#include <tinybpf/detail/tokens.hpp>
#include <tinybpf/error.hpp>

#include <boost/asio/posix/basic_stream_descriptor.hpp>

#include <cerrno>
#include <memory>
#include <string_view>
#include <utility>

namespace tinybpf::detail {

/// Says what an error of `lent_descriptor::lend` was about.
void report_unwatchable(std::string_view map, error_code& ec, diagnostics& details);

/// Ends what is pending on a timer.
template <class Timer>
void cancel_timer(Timer& timer) noexcept {
  try {
    timer.cancel();
  } catch (...) {  // the interface allows it; Asio's timers do not throw here
  }
}

template <class Executor>
class lent_descriptor {
 public:
  explicit lent_descriptor(Executor const& ex) : descriptor_{std::make_unique<descriptor_type>(ex)} {}
  lent_descriptor(lent_descriptor const&) = delete;
  lent_descriptor& operator=(lent_descriptor const&) = delete;
  // A forked child shares its parent's epoll descriptor: taking ours out of it would deafen the parent. So the child
  // leaks it.
  ~lent_descriptor() {
    if (made_by_.forked())
      static_cast<void>(descriptor_.release());
    else
      take_back();
  }

  [[nodiscard]] bool is_open() const noexcept { return descriptor_->is_open(); }

  /// Lends another one; what is pending on the one before ends. Nothing is lent after an error.
  void lend(int fd, error_code& ec) noexcept {
    take_back();
    try {
      static_cast<void>(descriptor_->assign(fd, ec));
    } catch (...) {  // no memory
      ec = error_code{ENOMEM, boost::system::system_category()};
    }
  }

  /// Ends what is pending, but not in a forked child.
  void take_back() noexcept {
    if (made_by_.forked()) return;
    try {
      if (descriptor_->is_open()) static_cast<void>(descriptor_->release());
    } catch (...) {  // the interface allows it; release() does not throw here
    }
  }
  /// Likewise, and stays open.
  void cancel() noexcept {
    if (made_by_.forked()) return;
    error_code ignored;
    static_cast<void>(descriptor_->cancel(ignored));
  }

  template <class Handler>
  void async_wait(Handler&& handler) {
    descriptor_->async_wait(asio::posix::descriptor_base::wait_read, std::forward<Handler>(handler));
  }

 private:
  using descriptor_type = asio::posix::basic_stream_descriptor<Executor>;

  std::unique_ptr<descriptor_type> descriptor_;
  fork_mark made_by_;
};

}  // namespace tinybpf::detail
