// What the examples that run until Ctrl-C share.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <csignal>
#include <exception>
#include <utility>

/// Does both until one of them ends, or Ctrl-C comes, and throws what that one threw.
inline boost::asio::awaitable<void> until_signal(boost::asio::awaitable<void> one, boost::asio::awaitable<void> other) {
  namespace asio = boost::asio;
  auto const ex = co_await asio::this_coro::executor;
  asio::signal_set signals{ex, SIGINT, SIGTERM};
  // Not `one || other`, which would wait for one that succeeds, and lose what the first threw.
  auto const [order, one_failed, other_failed, ec, signal] =
      co_await asio::experimental::make_parallel_group(asio::co_spawn(ex, std::move(one), asio::deferred),
                                                       asio::co_spawn(ex, std::move(other), asio::deferred),
                                                       signals.async_wait(asio::deferred))
          .async_wait(asio::experimental::wait_for_one{}, asio::use_awaitable);
  if (order.front() == 0 && one_failed) std::rethrow_exception(one_failed);
  if (order.front() == 1 && other_failed) std::rethrow_exception(other_failed);
}

/// The same for one.
inline boost::asio::awaitable<void> until_signal(boost::asio::awaitable<void> one) {
  namespace asio = boost::asio;
  auto const ex = co_await asio::this_coro::executor;
  asio::signal_set signals{ex, SIGINT, SIGTERM};
  auto const [order, failed, ec, signal] =
      co_await asio::experimental::make_parallel_group(asio::co_spawn(ex, std::move(one), asio::deferred),
                                                       signals.async_wait(asio::deferred))
          .async_wait(asio::experimental::wait_for_one{}, asio::use_awaitable);
  if (order.front() == 0 && failed) std::rethrow_exception(failed);
}
