// Threads for calls that block: loading, attaching, detaching.
#pragma once

#include <boost/asio/execution_context.hpp>

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace tinybpf::detail {

/// A few threads that start when there is work, and run until shutdown. Signals are blocked in them, so that the
/// program's handlers run where the program expects them.
class worker {
 public:
  worker() = default;
  worker(worker const&) = delete;
  worker& operator=(worker const&) = delete;
  ~worker();

  /// Runs the job on one of the threads; after shutdown it is destroyed instead, before this returns. A job must not
  /// throw.
  void submit(std::function<void()> job);

  /// Does what there is to do and ends the threads, which a fork would lose; the next job starts new ones. No jobs are
  /// submitted meanwhile, other than by jobs.
  void settle();

  /// Destroys what has not begun, and waits for what has. Idempotent.
  void shutdown() noexcept;

  /// The worker of an execution context, which shuts it down with its other services.
  static std::shared_ptr<worker> of(boost::asio::execution_context& context);

 private:
  void run();
  void join() noexcept;

  static constexpr std::size_t max_threads = 4;

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> jobs_;
  std::vector<std::thread> threads_;
  std::size_t idle_ = 0;
  bool settling_ = false;
  bool stopped_ = false;
};

}  // namespace tinybpf::detail
