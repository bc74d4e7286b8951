// Threads for calls that block: loading, attaching, detaching.
#pragma once

#include <tinybpf/detail/fork_count.hpp>

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
/// program's handlers run where the program expects them. A forked child has no threads of it: there it is as after
/// shutdown, unless it settled before the fork.
class worker {
 public:
  worker() = default;
  worker(worker const&) = delete;
  worker& operator=(worker const&) = delete;
  ~worker();

  /// Runs the job on one of the threads; after shutdown it is destroyed instead, before this returns. A job must not
  /// throw. Throws std::system_error if there is no thread, and none can be started.
  void submit(std::function<void()> job);

  /// Does what there is to do and ends the threads, which a fork would lose; the next job starts new ones. No jobs are
  /// submitted meanwhile, other than by jobs.
  void settle();
  /// In the child of a fork in front of which it settled: it is the child's own from here on.
  void settled_before_fork();

  /// Destroys what has not begun, and waits for what has. Idempotent.
  void shutdown() noexcept;

  /// The worker of an execution context, which shuts it down with its other services.
  static std::shared_ptr<worker> of(boost::asio::execution_context& context);

 private:
  void run();
  void join() noexcept;

  static constexpr std::size_t max_threads = 4;

  // What a forked child can only leave as it is: of the threads, and of who waits, there is nothing there.
  struct crew {
    std::condition_variable wake;
    std::vector<std::thread> threads;
  };

  std::mutex mutex_;
  std::unique_ptr<crew> crew_ = std::make_unique<crew>();
  std::deque<std::function<void()>> jobs_;
  std::size_t idle_ = 0;
  fork_mark fork_;
  bool settling_ = false;
  bool stopped_ = false;
};

}  // namespace tinybpf::detail
