// A loop that a test runs step by step.
#pragma once

#include "support.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include <chrono>
#include <cstddef>
#include <exception>
#include <stdexcept>
#include <utility>

namespace test {

/// How long a loop may do nothing before the test gives up. No test takes this long unless it fails.
inline constexpr std::chrono::seconds patience{20};

struct loop {
  /// Runs what is ready, and says how many handlers that were.
  std::size_t poll() {
    io.restart();
    return io.poll();
  }
  /// Runs the loop until it holds, and says how many handlers that took; throws if it never does.
  template <class Done>
  std::size_t run_until(Done done) {
    auto const work = asio::make_work_guard(io);
    auto const give_up = std::chrono::steady_clock::now() + patience;
    std::size_t handlers = 0;
    io.restart();
    while (!done()) {
      handlers += io.run_one_for(std::chrono::milliseconds{20});
      if (std::chrono::steady_clock::now() > give_up) throw std::runtime_error{"waited in vain"};
    }
    return handlers;
  }
  /// Runs the loop until the coroutine ends; throws if it does not, or what it throws.
  void run(asio::awaitable<void> coroutine) {
    bool ended = false;
    std::exception_ptr thrown;
    asio::co_spawn(io, std::move(coroutine), [&](std::exception_ptr e) {
      thrown = std::move(e);
      ended = true;
    });
    run_until([&] { return ended; });
    if (thrown) std::rethrow_exception(thrown);
  }

  asio::io_context io;
};

}  // namespace test
