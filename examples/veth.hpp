// What the examples on a network share: a veth pair of their own, and somebody who sends.
#pragma once

#include <sched.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <system_error>

/// A network that nobody else is on, with the interfaces "sender" and "receiver", for this thread and those that it
/// starts. It goes with the process.
inline void make_network() {
  if (::unshare(CLONE_NEWNET) != 0) throw std::system_error{errno, std::system_category(), "no network namespace"};
  for (std::string const command : {"ip link add sender type veth peer name receiver", "ip link set receiver up",
                                    "ip link set sender up", "ip address add 192.0.2.1/24 dev sender"})
    if (std::system(command.c_str()) != 0) throw std::runtime_error{"`" + command + "` failed"};
}

/// A UDP packet a millisecond, to everybody on the network, so that nobody needs to listen.
inline boost::asio::awaitable<void> send() {
  namespace asio = boost::asio;
  auto const ex = co_await asio::this_coro::executor;
  asio::ip::udp::socket socket{ex, asio::ip::udp::v4()};
  socket.set_option(asio::socket_base::broadcast{true});
  asio::ip::udp::endpoint const everybody{asio::ip::make_address("192.0.2.255"), 9};
  std::array<char, 100> const payload{};
  for (asio::steady_timer pause{ex};;) {
    co_await socket.async_send_to(asio::buffer(payload), everybody, asio::use_awaitable);
    pause.expires_after(std::chrono::milliseconds{1});
    co_await pause.async_wait(asio::use_awaitable);
  }
}
