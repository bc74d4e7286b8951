// Reading a ring buffer on a loop: whose turn it is when there is much to read, and when there is nothing yet.
#include "ring_fixture.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <sys/eventfd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <exception>
#include <thread>
#include <utility>
#include <vector>

namespace {

namespace asio = boost::asio;
namespace data = boost::unit_test::data;
using namespace test;

BOOST_AUTO_TEST_SUITE(giving_way)

// The most events that were read between two turns of the loop.
template <class Consume>
std::uint64_t most_between_turns(ring_fixture& f, std::uint64_t count, Consume consume) {
  std::uint64_t read = 0;
  std::uint64_t before = 0;
  std::uint64_t most = 0;
  std::uint64_t turns = 0;
  auto const turn = [&](auto self) -> void {
    most = std::max(most, read - before);
    before = read;
    ++turns;
    if (read < count) asio::post(f.io, [self] { self(self); });
  };
  f.emit_many(0, count);
  asio::post(f.io, [&] { turn(turn); });
  run(f.io, consume(read));
  f.poll();
  BOOST_TEST(read == count);
  BOOST_TEST(turns >= count / most);
  return most;
}

BOOST_DATA_TEST_CASE(next_after_its_budget, data::make(std::vector<std::size_t>{1, 2, 10, 256}), budget) {
  ring_fixture f{1U << 17U};
  f.buffer.set_budget(budget);
  auto const most = most_between_turns(f, 3000, [&](std::uint64_t& read) -> asio::awaitable<void> {
    while (read < 3000) {
      auto const e = co_await f.buffer.next<numbered>();
      BOOST_TEST_REQUIRE(e.number == read++);
    }
  });
  BOOST_TEST(most == budget);
}

BOOST_DATA_TEST_CASE(a_typed_view_after_the_same, data::make(std::vector<std::size_t>{1, 100}), budget) {
  ring_fixture f{1U << 17U};
  f.buffer.set_budget(budget);
  auto view = f.buffer.typed<numbered>();
  auto const most = most_between_turns(f, 3000, [&](std::uint64_t& read) -> asio::awaitable<void> {
    while (read < 3000) {
      auto const e = co_await view.next();
      BOOST_TEST_REQUIRE(e.number == read++);
    }
  });
  BOOST_TEST(most == budget);
}

BOOST_DATA_TEST_CASE(read_some_after_its_own, data::make(std::vector<std::size_t>{1, 3, 64, 512}), budget) {
  ring_fixture f{1U << 17U};
  auto const most = most_between_turns(f, 3000, [&](std::uint64_t& read) -> asio::awaitable<void> {
    while (read < 3000)
      for (auto const& e : co_await f.buffer.read_some<numbered>(budget)) BOOST_TEST_REQUIRE(e.number == read++);
  });
  BOOST_TEST(most == budget);
}

BOOST_AUTO_TEST_CASE(read_some_of_ranges_left_half_way) {
  ring_fixture f{1U << 17U};
  auto const most = most_between_turns(f, 3000, [&](std::uint64_t& read) -> asio::awaitable<void> {
    while (read < 3000) {
      int left = 3;
      for (auto const& e : co_await f.buffer.read_some<numbered>(10)) {
        BOOST_TEST_REQUIRE(e.number == read++);
        if (--left == 0) break;
      }
    }
  });
  BOOST_TEST(most <= 10U);
}

BOOST_AUTO_TEST_CASE(verbs_share_one_budget) {
  ring_fixture f{1U << 17U};
  f.buffer.set_budget(8);
  auto const most = most_between_turns(f, 3000, [&](std::uint64_t& read) -> asio::awaitable<void> {
    while (read < 3000) {
      if (read % 5 == 0) {
        for (auto const& e : co_await f.buffer.read_some<numbered>(8)) BOOST_TEST_REQUIRE(e.number == read++);
      } else {
        auto const e = co_await f.buffer.next<numbered>();
        BOOST_TEST_REQUIRE(e.number == read++);
      }
    }
  });
  BOOST_TEST(most == 8U);
}

// One handler a budget, no more: a budget costs one post.
BOOST_AUTO_TEST_CASE(it_costs_one_post_a_budget) {
  ring_fixture f{1U << 17U};
  f.buffer.set_budget(100);
  f.emit_many(0, 3000);
  bool ended = false;
  auto const consume = [&]() -> asio::awaitable<void> {
    for (int i = 0; i < 3000; ++i) static_cast<void>(co_await f.buffer.next<numbered>());
    ended = true;
  };
  asio::co_spawn(f.io, consume(), asio::detached);
  std::size_t handlers = 0;
  while (!ended) handlers += f.io.poll_one();
  BOOST_TEST(handlers >= 30U);
  BOOST_TEST(handlers <= 40U);
}

// A writer that never stops, beside a handler that is always queued, a descriptor that is always ready and a timer that
// is always due. The handler has its turn after each budget. The loop asks for ready descriptors after each as well,
// but one that comes to be ready behind the ring's own has a second budget in front of it in the queue. When a timer
// that is due makes its descriptor ready is the kernel's affair: it has to come, no matter when.
BOOST_AUTO_TEST_CASE(a_saturating_writer_starves_nobody) {
  constexpr std::uint64_t count = 200'000;
  ring_fixture f{1U << 16U};
  f.buffer.set_budget(64);
  std::thread writer{[&] {
    for (std::uint64_t n = 0; n < count;)
      if (f.ring.emit(number(n)))
        ++n;
      else
        std::this_thread::yield();
  }};
  std::uint64_t read = 0;
  struct turns {
    std::uint64_t taken = 0;
    std::uint64_t before = 0;
    std::uint64_t most = 0;  // events between two of them
    void take(std::uint64_t read) {
      ++taken;
      most = std::max(most, read - before);
      before = read;
    }
  };
  turns queued;
  turns ready;
  turns due;
  auto const queue = [&](auto self) -> void {
    asio::post(f.io, [&, self] {
      queued.take(read);
      if (read < count) self(self);
    });
  };
  asio::posix::stream_descriptor always{f.io, ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  auto const wait = [&](auto self) -> void {
    always.async_wait(asio::posix::stream_descriptor::wait_write, [&, self](error_code) {
      ready.take(read);
      if (read < count) self(self);
    });
  };
  asio::steady_timer timer{f.io};
  auto const tick = [&](auto self) -> void {
    timer.expires_after(std::chrono::seconds{0});
    timer.async_wait([&, self](error_code) {
      due.take(read);
      if (read < count) self(self);
    });
  };
  queue(queue);
  wait(wait);
  tick(tick);
  auto const consume = [&]() -> asio::awaitable<void> {
    while (read < count) {
      auto const e = co_await f.buffer.next<numbered>();
      BOOST_TEST_REQUIRE(e.number == read);
      ++read;
    }
  };
  run(f.io, consume());
  writer.join();
  BOOST_TEST(queued.most > 0U);
  BOOST_TEST(queued.most <= 64U);
  BOOST_TEST(ready.most > 0U);
  BOOST_TEST(ready.most <= 128U);
  BOOST_TEST(due.taken > 100U);
}

// A coroutine that was cancelled, and means to read what is left, is not told of that again at each turn.
BOOST_AUTO_TEST_CASE(a_cancelled_coroutine_may_still_drain) {
  ring_fixture f;
  f.buffer.set_budget(4);
  f.emit_many(0, 100);
  asio::cancellation_signal signal;
  std::uint64_t read = 0;
  auto const drain = [&]() -> asio::awaitable<void> {
    co_await asio::this_coro::throw_if_cancelled(false);
    signal.emit(asio::cancellation_type::terminal);
    while (read < 50) {
      auto const e = co_await f.buffer.next<numbered>();
      BOOST_TEST_REQUIRE(e.number == read++);
    }
    while (read < 100) {
      auto range = co_await f.buffer.read_some<numbered>(7);
      for (auto const& e : range) BOOST_TEST_REQUIRE(e.number == read++);
    }
  };
  std::exception_ptr failed;
  asio::co_spawn(f.io, drain(),
                 asio::bind_cancellation_slot(signal.slot(), [&](std::exception_ptr e) { failed = std::move(e); }));
  f.poll();
  BOOST_TEST(!failed);
  BOOST_TEST(read == 100U);
}

// Destroyed while it gives way, a coroutine leaves the buffer to others.
BOOST_AUTO_TEST_CASE(a_coroutine_that_is_destroyed_while_it_gives_way) {
  ring_fixture f;
  f.buffer.set_budget(4);
  f.emit_many(0, 10);
  {
    asio::io_context other;
    asio::co_spawn(
        other,
        [](tinybpf::ring_buffer& buffer) -> asio::awaitable<void> {
          for (;;) static_cast<void>(co_await buffer.next<numbered>());
        }(f.buffer),
        asio::detached);
    other.run_one();
  }
  BOOST_TEST(f.ring.unread() == 6 * 24U);
  auto const e = f.buffer.try_next<numbered>();
  BOOST_TEST_REQUIRE(e.has_value());
  BOOST_TEST(e->number == 4U);
}

BOOST_AUTO_TEST_CASE(setting_the_budget) {
  ring_fixture f;
  BOOST_TEST(f.buffer.budget() == 1024U);
  f.buffer.set_budget(3);
  BOOST_TEST(f.buffer.budget() == 3U);
  f.buffer.set_budget(0);
  BOOST_TEST(f.buffer.budget() == 1U);
  f.emit_many(0, 3);
  for (std::uint64_t n = 0; n < 3; ++n) BOOST_TEST(run(f.io, f.buffer.next<numbered>()).number == n);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(busy_heads)

// Runs the loop for a while, and counts what it has to run for a reader whose head is reserved.
std::size_t handlers_meanwhile(ring_fixture& f) {
  bool over = false;
  asio::steady_timer timer{f.io, std::chrono::milliseconds{100}};
  timer.async_wait([&](error_code) { over = true; });
  std::size_t handlers = 0;
  f.io.restart();
  while (!over) handlers += f.io.run_one();
  return handlers;
}

// A spinning reader makes tens of thousands of steps in that time. The longest step is a millisecond.
constexpr std::size_t few = 500;

BOOST_AUTO_TEST_CASE(a_reader_that_comes_to_a_busy_head) {
  ring_fixture f;
  auto* const head = f.ring.reserve(sizeof(numbered));
  bool ended = false;
  f.buffer.async_next<numbered>([&](error_code ec, numbered n) {
    BOOST_TEST(!ec);
    BOOST_TEST(n.number == 3U);
    ended = true;
  });
  BOOST_TEST(handlers_meanwhile(f) < few);
  BOOST_TEST(f.ring.armed() == 0U);
  BOOST_TEST(!ended);
  auto const n = number(3);
  std::memcpy(head, &n, sizeof n);
  f.ring.submit(head);
  f.run_until([&] { return ended; });
}

BOOST_AUTO_TEST_CASE(a_reader_that_is_woken_and_finds_a_busy_head) {
  ring_fixture f;
  std::uint64_t read = 0;
  auto const consume = [&]() -> asio::awaitable<void> {
    while (read < 3) {
      auto const e = co_await f.buffer.next<numbered>();
      BOOST_TEST(e.number == read);
      ++read;
    }
  };
  asio::co_spawn(f.io, consume(), asio::detached);
  f.poll();
  BOOST_TEST(f.ring.armed() == 1U);
  auto* const head = f.ring.reserve(sizeof(numbered));
  f.emit(1, wakeup::always);
  BOOST_TEST(handlers_meanwhile(f) < few);
  BOOST_TEST(f.ring.armed() == 1U);
  BOOST_TEST(read == 0U);
  auto const n = number(0);
  std::memcpy(head, &n, sizeof n);
  f.ring.submit(head);
  f.run_until([&] { return read == 2; });
  f.poll();
  f.emit(2);
  f.run_until([&] { return read == 3; });
}

BOOST_AUTO_TEST_CASE(a_busy_head_that_is_discarded) {
  ring_fixture f;
  bool waited = false;
  auto* const head = f.ring.reserve(8);
  f.buffer.async_wait([&](error_code ec) {
    BOOST_TEST(!ec);
    waited = true;
  });
  f.poll();
  f.ring.discard(head);
  BOOST_TEST(handlers_meanwhile(f) < few);
  BOOST_TEST(!waited);
  // By now the reader waits on the descriptor, with everything published.
  BOOST_TEST(f.ring.armed() == 1U);
  BOOST_TEST(f.ring.unread() == 0U);
  f.emit(1);
  f.run_until([&] { return waited; });
  BOOST_TEST(f.buffer.try_next<numbered>()->number == 1U);
}

BOOST_AUTO_TEST_CASE(a_flood_of_discarded_records) {
  ring_fixture f{1U << 18U};
  for (int i = 0; i < 10'000; ++i) f.ring.discard(f.ring.reserve(8));
  f.emit(1);
  BOOST_TEST(run(f.io, f.buffer.next<numbered>()).number == 1U);
  BOOST_TEST(f.ring.armed() == 0U);
}

// An empty ring is waited for once, however long: no step is made meanwhile.
BOOST_AUTO_TEST_CASE(an_empty_ring_is_slept_on) {
  ring_fixture f;
  bool waited = false;
  f.buffer.async_wait([&](error_code) { waited = true; });
  BOOST_TEST(handlers_meanwhile(f) <= 1U);
  BOOST_TEST(f.ring.armed() == 1U);
  BOOST_TEST(!waited);
  // What comes without a wake-up is not seen, what comes with one is.
  f.emit(1, wakeup::never);
  BOOST_TEST(f.poll() == 0U);
  f.emit(2, wakeup::always);
  f.run_until([&] { return waited; });
  BOOST_TEST(f.buffer.try_next<numbered>()->number == 1U);
  BOOST_TEST(f.buffer.try_next<numbered>()->number == 2U);
}

// What is left in the ring without a wake-up is found before sleeping.
BOOST_AUTO_TEST_CASE(records_without_a_wake_up_are_found) {
  ring_fixture f;
  f.emit(1, wakeup::never);
  BOOST_TEST(run(f.io, f.buffer.next<numbered>()).number == 1U);
}

// A writer on another thread that pauses between reserving and committing, and the reader between them.
BOOST_AUTO_TEST_CASE(slow_writers) {
  constexpr std::uint64_t count = 20'000;
  ring_fixture f{4096};
  std::thread writer{[&] {
    for (std::uint64_t n = 0; n < count;) {
      auto* const sample = f.ring.reserve(sizeof(numbered));
      if (n % 16 == 0) std::this_thread::yield();
      if (sample == nullptr) continue;
      auto const e = number(n++);
      std::memcpy(sample, &e, sizeof e);
      f.ring.submit(sample);
    }
  }};
  std::uint64_t read = 0;
  auto const consume = [&]() -> asio::awaitable<void> {
    while (read < count) {
      auto const e = co_await f.buffer.next<numbered>();
      BOOST_TEST_REQUIRE(e.number == read);
      BOOST_TEST_REQUIRE(intact(e));
      ++read;
    }
  };
  run(f.io, consume());
  writer.join();
  f.buffer.close();
  BOOST_TEST(f.ring.unread() == 0U);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
