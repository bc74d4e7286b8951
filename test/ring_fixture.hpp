// What the tests of buffers over a fake ring share.
#pragma once

#include <tinybpf/ring_buffer.hpp>

#include "fake_ring.hpp"
#include "print.hpp"
#include "support.hpp"

#include <boost/asio/io_context.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <ostream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace tinybpf {

inline std::ostream& operator<<(std::ostream& out, wakeup_policy const& p) {
  constexpr std::array<char const*, 3> names{"immediate", "moderated", "adaptive"};
  return out << names.at(static_cast<std::size_t>(p.decides()));
}

}  // namespace tinybpf

namespace test {

using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;

/// The usual event: 16 bytes, 24 in the ring.
struct numbered {
  std::uint64_t number;
  std::uint64_t check;
};
static_assert(sizeof(numbered) == 16);

inline numbered number(std::uint64_t n) { return {n, ~n}; }
inline bool intact(numbered const& n) { return n.check == ~n.number; }

/// A header with a tail.
struct tailed {
  std::uint32_t kind;
  std::uint32_t length;
};

/// More aligned than records are.
struct alignas(16) wide {
  std::uint64_t number;
  std::array<std::uint64_t, 3> rest;
};

/// Where a coroutine or a handler leaves what a read gave.
template <class E>
struct outcome {
  bool ended = false;
  error_code ec;
  diagnostics details;
  std::optional<E> value;
};

/// A loop, a ring, and a buffer that reads it.
struct ring_fixture {
  explicit ring_fixture(std::size_t size = 1U << 16U,
                        tinybpf::wakeup_policy policy = tinybpf::wakeup_policy::immediate())
      : ring{size} {
    buffer.set_wakeup_policy(policy);
  }

  void emit(std::uint64_t n, wakeup how = wakeup::adaptive) {
    if (!ring.emit(number(n), how)) throw std::length_error{"the fake ring is full"};
  }
  /// Emits `count` events, the first with the number `first`.
  void emit_many(std::uint64_t first, std::uint64_t count) {
    for (auto n = first; n < first + count; ++n) emit(n);
  }

  /// Runs what is ready, and nothing that waits.
  std::size_t poll() {
    io.restart();
    return io.poll();
  }
  /// Runs the loop until `done` holds.
  template <class Done>
  void run_until(Done done) {
    io.restart();
    while (!done())
      if (io.run_one() == 0) throw std::logic_error{"the loop ran out of work"};
  }

  asio::io_context io;
  fake_ring ring;
  tinybpf::ring_buffer buffer{io.get_executor(), ring.source("events")};
};

}  // namespace test

/// Tails are bytes that follow.
template <>
struct tinybpf::event_traits<test::tailed> {
  static constexpr auto size = tinybpf::size_rule::at_least;
};
