// Completion tokens, executors, and buffers that are closed, empty or elsewhere.
#include "ring_fixture.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/test/unit_test.hpp>

#include <chrono>
#include <concepts>
#include <cstdint>
#include <exception>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

namespace asio = boost::asio;
using namespace test;
using tinybpf::basic_ring_buffer;
using tinybpf::batch;
using tinybpf::bytes;
using tinybpf::ring_buffer;

using loop_executor = asio::io_context::executor_type;
using loop_buffer = basic_ring_buffer<loop_executor>;

static_assert(std::same_as<ring_buffer, basic_ring_buffer<asio::any_io_executor>>);
static_assert(std::same_as<ring_buffer::rebind_executor<loop_executor>::other, loop_buffer>);
static_assert(std::same_as<loop_buffer::executor_type, loop_executor>);
static_assert(std::is_nothrow_default_constructible_v<ring_buffer>);
static_assert(std::is_nothrow_move_constructible_v<ring_buffer>);
static_assert(std::is_nothrow_move_assignable_v<ring_buffer>);
static_assert(!std::is_copy_constructible_v<ring_buffer>);
static_assert(std::is_copy_constructible_v<decltype(std::declval<ring_buffer>().typed<numbered>())>);

BOOST_AUTO_TEST_SUITE(tokens)

BOOST_AUTO_TEST_CASE(use_awaitable) {
  ring_fixture f;
  f.emit_many(0, 4);
  auto const consume = [&]() -> asio::awaitable<void> {
    co_await f.buffer.async_wait(asio::use_awaitable);
    auto const first = co_await f.buffer.async_next<numbered>(asio::use_awaitable);
    BOOST_TEST(first.number == 0U);
    std::uint64_t next = 1;
    for (auto const& n : co_await f.buffer.async_read_some<numbered>(8, asio::use_awaitable))
      BOOST_TEST(n.number == next++);
    BOOST_TEST(next == 4U);
  };
  run(f.io, consume());
}

BOOST_AUTO_TEST_CASE(deferred) {
  ring_fixture f;
  f.emit_many(0, 4);
  auto const consume = [&]() -> asio::awaitable<void> {
    co_await f.buffer.async_wait(asio::deferred);
    auto const first = co_await f.buffer.async_next<numbered>(asio::deferred);
    BOOST_TEST(first.number == 0U);
    auto range = co_await f.buffer.async_read_some<numbered>(8, asio::deferred);
    BOOST_TEST((*range.begin()).number == 1U);
  };
  run(f.io, consume());
  // Nothing happens before it is started.
  auto later = f.buffer.async_next<numbered>(asio::deferred);
  BOOST_TEST(f.buffer.try_next<numbered>()->number == 2U);
  std::uint64_t got = 0;
  std::move(later)([&](error_code ec, numbered n) {
    BOOST_TEST(!ec);
    got = n.number;
  });
  f.poll();
  BOOST_TEST(got == 3U);
}

BOOST_AUTO_TEST_CASE(as_tuple) {
  ring_fixture f;
  f.emit(7);
  BOOST_TEST_REQUIRE(f.ring.emit(std::string{"?"}));
  auto const consume = [&]() -> asio::awaitable<void> {
    auto const [none] = co_await f.buffer.async_wait(asio::as_tuple(asio::use_awaitable));
    BOOST_TEST(!none);
    auto const [ec, n] = co_await f.buffer.async_next<numbered>(asio::as_tuple(asio::use_awaitable));
    BOOST_TEST(!ec);
    BOOST_TEST(n.number == 7U);
    diagnostics details;
    auto const [bad, nothing] = co_await f.buffer.async_next<numbered>(details, asio::as_tuple(asio::deferred));
    BOOST_TEST(bad == errc::record_size);
    BOOST_TEST(nothing.number == 0U);
    BOOST_TEST(details.actual_size == 1U);
  };
  run(f.io, consume());
}

// All of it happens on the loop: none of Asio's own threads, which future's handlers name as theirs, reads the ring.
BOOST_AUTO_TEST_CASE(use_future) {
  ring_fixture f;
  auto const ready = [](auto const& future) {
    return future.wait_for(std::chrono::seconds{0}) == std::future_status::ready;
  };
  auto wait = f.buffer.async_wait(asio::use_future);
  f.poll();
  f.emit_many(0, 3);
  f.run_until([&] { return ready(wait); });
  wait.get();
  auto next = f.buffer.async_next<numbered>(asio::use_future);
  f.poll();
  BOOST_TEST_REQUIRE(ready(next));
  BOOST_TEST(next.get().number == 0U);
  auto some = f.buffer.async_read_some<numbered>(8, asio::use_future);
  f.poll();
  BOOST_TEST_REQUIRE(ready(some));
  {
    auto range = some.get();
    BOOST_TEST((*range.begin()).number == 1U);
  }
  BOOST_TEST_REQUIRE(f.ring.emit(std::string{"?"}));
  BOOST_TEST(f.buffer.try_next<numbered>()->number == 2U);
  auto bad = f.buffer.async_next<numbered>(asio::use_future);
  f.poll();
  BOOST_TEST_REQUIRE(ready(bad));
  BOOST_CHECK_EXCEPTION(bad.get(), boost::system::system_error,
                        [](auto const& e) { return e.code() == errc::record_size; });
}

BOOST_AUTO_TEST_CASE(detached) {
  ring_fixture f;
  f.emit(1);
  f.buffer.async_wait(asio::detached);
  f.poll();
  BOOST_TEST(f.buffer.try_next<numbered>().has_value());
}

BOOST_AUTO_TEST_CASE(a_callback_that_can_only_be_moved) {
  ring_fixture f;
  f.emit(1);
  auto answer = std::make_unique<std::uint64_t>(0);
  auto* const at = answer.get();
  std::unique_ptr<std::uint64_t> kept;
  f.buffer.async_next<numbered>([&kept, answer = std::move(answer)](error_code ec, numbered n) mutable {
    BOOST_TEST(!ec);
    *answer = n.number;
    kept = std::move(answer);
  });
  f.poll();
  BOOST_TEST(*at == 1U);
}

// Also with everything there already, and with every error: a loop of callbacks does not grow the stack.
BOOST_AUTO_TEST_CASE(nothing_completes_inside_of_its_initiation) {
  ring_fixture f;
  bool ended = false;
  auto const check = [&](error_code expected, auto start) {
    ended = false;
    start([&, expected](error_code ec) {
      BOOST_TEST(ec == expected);
      ended = true;
    });
    BOOST_TEST(!ended);
    f.poll();
    BOOST_TEST(ended);
  };
  auto const next = [&](auto end) {
    f.buffer.async_next<numbered>(asio::bind_executor(f.io, [end](error_code ec, numbered) { end(ec); }));
  };
  auto const some = [&](auto end) {
    f.buffer.async_read_some<numbered>(1,
                                       asio::bind_executor(f.io, [end](error_code ec, batch<numbered>) { end(ec); }));
  };
  auto const none = [&](auto end) {
    f.buffer.async_read_some<numbered>(0,
                                       asio::bind_executor(f.io, [end](error_code ec, batch<numbered>) { end(ec); }));
  };
  f.emit(1);
  check({}, next);
  check({EINVAL, boost::system::system_category()}, none);
  f.emit(2);
  check({}, some);
  BOOST_TEST_REQUIRE(f.ring.emit(std::string{"?"}));
  check({}, [&](auto end) { f.buffer.async_wait(end); });
  BOOST_TEST(f.buffer.try_next<numbered>(/* not visited by some */)->number == 2U);
  check(errc::record_size, next);
  f.buffer.close();
  check(errc::closed, next);
  check(errc::closed, some);
  f.buffer = ring_buffer{};
  check(errc::closed, next);
  check(errc::closed, some);
}

BOOST_AUTO_TEST_CASE(a_long_loop_of_callbacks) {
  constexpr std::uint64_t count = 100'000;
  ring_fixture f{1U << 22U};
  f.emit_many(0, count);
  std::uint64_t read = 0;
  auto const go_on = [&](auto self) -> void {
    f.buffer.async_next<numbered>([&, self](error_code ec, numbered n) {
      BOOST_TEST_REQUIRE(!ec);
      BOOST_TEST_REQUIRE(n.number == read);
      if (++read < count) self(self);
    });
  };
  go_on(go_on);
  f.io.run();
  BOOST_TEST(read == count);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(executors)

BOOST_AUTO_TEST_CASE(handlers_run_where_they_belong) {
  ring_fixture f;
  asio::io_context elsewhere;
  auto const strand = asio::make_strand(elsewhere);
  f.emit_many(0, 2);
  int ended = 0;
  f.buffer.async_next<numbered>(asio::bind_executor(strand, [&](error_code ec, numbered n) {
    BOOST_TEST(!ec);
    BOOST_TEST(n.number == 0U);
    BOOST_TEST(strand.running_in_this_thread());
    ++ended;
  }));
  f.poll();
  BOOST_TEST(ended == 0);
  elsewhere.run();
  BOOST_TEST(ended == 1);

  // One that has to wait, too: the descriptor is the buffer's loop's, the handler is not.
  BOOST_TEST(f.buffer.try_next<numbered>().has_value());
  f.buffer.async_wait(asio::bind_executor(strand, [&](error_code ec) {
    BOOST_TEST(!ec);
    BOOST_TEST(strand.running_in_this_thread());
    ++ended;
  }));
  f.poll();
  f.emit(3);
  f.poll();
  BOOST_TEST(ended == 1);
  elsewhere.restart();
  elsewhere.run();
  BOOST_TEST(ended == 2);
}

BOOST_AUTO_TEST_CASE(a_loops_own_executor) {
  ring_fixture f;
  loop_buffer buffer{f.io.get_executor(), f.ring.source("loop")};
  BOOST_TEST((buffer.get_executor() == f.io.get_executor()));
  f.emit_many(0, 8);
  // From a coroutine of the same executor.
  auto const own = [&]() -> asio::awaitable<void, loop_executor> {
    auto const first = co_await buffer.next<numbered, loop_executor>();
    BOOST_TEST(first.number == 0U);
    std::uint64_t next = 1;
    while (next < 3)
      for (auto const& n : co_await buffer.read_some<numbered, loop_executor>(3 - next)) BOOST_TEST(n.number == next++);
    co_await buffer.async_wait<loop_executor>();
    constexpr asio::use_awaitable_t<loop_executor> token;
    auto const second = co_await buffer.async_next<numbered>(token);
    BOOST_TEST(second.number == 3U);
    auto view = buffer.typed<numbered>();
    auto const third = co_await view.next<loop_executor>();
    BOOST_TEST(third.number == 4U);
    BOOST_TEST(view.try_next()->number == 5U);
  };
  bool ended = false;
  asio::co_spawn(f.io.get_executor(), own(), [&](std::exception_ptr e) {
    ended = true;
    if (e) std::rethrow_exception(e);
  });
  f.run_until([&] { return ended; });
  // And of the usual one.
  auto const other = [&]() -> asio::awaitable<void> {
    auto const n = co_await buffer.next<numbered>();
    BOOST_TEST(n.number == 6U);
    for (auto const& last : co_await buffer.read_some<numbered>(2)) BOOST_TEST(last.number == 7U);
  };
  run(f.io, other());
}

BOOST_AUTO_TEST_CASE(the_usual_buffer_in_a_loops_own_coroutine) {
  ring_fixture f;
  f.emit_many(0, 2);
  auto const consume = [&]() -> asio::awaitable<void, loop_executor> {
    auto const n = co_await f.buffer.next<numbered, loop_executor>();
    BOOST_TEST(n.number == 0U);
    co_await f.buffer.async_wait<loop_executor>();
  };
  bool ended = false;
  asio::co_spawn(f.io.get_executor(), consume(), [&](std::exception_ptr e) {
    ended = true;
    if (e) std::rethrow_exception(e);
  });
  f.run_until([&] { return ended; });
}

BOOST_AUTO_TEST_CASE(a_strand_on_several_threads) {
  constexpr std::uint64_t count = 50'000;
  asio::io_context io;
  fake_ring ring{1U << 16U};
  auto const strand = asio::make_strand(io);
  basic_ring_buffer<asio::strand<loop_executor>> buffer{strand, ring.source()};
  std::uint64_t read = 0;
  bool in_order = true;
  auto const consume = [&]() -> asio::awaitable<void> {
    while (read < count) {
      auto const n = co_await buffer.next<numbered>();
      in_order = in_order && n.number == read && intact(n);
      ++read;
      if (read % 1000 == 0)
        for (auto const& e : co_await buffer.read_some<numbered>(16)) in_order = in_order && e.number == read++;
    }
  };
  asio::co_spawn(strand, consume(), asio::detached);
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) threads.emplace_back([&] { io.run(); });
  for (std::uint64_t n = 0; n < count + 16;)
    if (ring.emit(number(n)))
      ++n;
    else
      std::this_thread::yield();
  for (auto& t : threads) t.join();
  BOOST_TEST(read >= count);
  BOOST_TEST(in_order);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(closed)

template <class Call>
void check_closed(Call call) {
  BOOST_CHECK_EXCEPTION(call(), tinybpf::error, [](tinybpf::error const& e) {
    BOOST_TEST(!e.get_diagnostics().message.empty());
    return e.code() == errc::closed;
  });
}

void check_everything_closed(asio::io_context& io, ring_buffer& buffer) {
  BOOST_TEST(!buffer.is_open());
  BOOST_TEST(!buffer);
  error_code ec;
  diagnostics details;
  BOOST_TEST(!buffer.try_next<numbered>(ec, details));
  BOOST_TEST(ec == errc::closed);
  BOOST_TEST(!details.message.empty());
  BOOST_TEST(!buffer.try_next<bytes>(ec));
  BOOST_TEST(ec == errc::closed);
  check_closed([&] { static_cast<void>(buffer.try_next<numbered>()); });
  check_closed([&] { run(io, buffer.next<numbered>()); });
  check_closed([&] { run(io, buffer.read_some<numbered>(1)); });
  check_closed([&] { run(io, buffer.async_wait()); });
  check_closed([&] { static_cast<void>(buffer.typed<numbered>()); });
  auto view = buffer.typed<numbered>(ec);
  BOOST_TEST(ec == errc::closed);
  BOOST_TEST(!view.is_open());
  int ended = 0;
  auto const end = [&](error_code why) {
    BOOST_TEST(why == errc::closed);
    ++ended;
  };
  details = {};
  buffer.async_wait(details, asio::bind_executor(io, end));
  buffer.async_next<numbered>(asio::bind_executor(io, [&](error_code why, numbered) { end(why); }));
  buffer.async_read_some<numbered>(1, asio::bind_executor(io, [&](error_code why, batch<numbered>) { end(why); }));
  io.restart();
  io.run();
  BOOST_TEST(ended == 3);
  BOOST_TEST(details.message.find("async_wait") != std::string::npos);
  buffer.cancel();
  buffer.close();
}

BOOST_AUTO_TEST_CASE(default_constructed) {
  asio::io_context io;
  ring_buffer buffer;
  check_everything_closed(io, buffer);
  BOOST_TEST(buffer.name().empty());
  BOOST_TEST(!buffer.lost().has_value());
  BOOST_TEST(buffer.budget() == 0U);
  buffer.set_budget(3);
  BOOST_CHECK_THROW(static_cast<void>(buffer.get_executor()), tinybpf::error);
}

BOOST_AUTO_TEST_CASE(moved_from) {
  ring_fixture f;
  ring_buffer const moved{std::move(f.buffer)};
  check_everything_closed(f.io, f.buffer);  // NOLINT(bugprone-use-after-move)
  BOOST_TEST(moved.is_open());
  BOOST_CHECK_THROW(static_cast<void>(f.buffer.get_executor()), tinybpf::error);
}

BOOST_AUTO_TEST_CASE(after_close) {
  ring_fixture f;
  f.emit(1);
  BOOST_TEST(f.buffer.is_open());
  BOOST_TEST(f.buffer.name() == "events");
  f.buffer.close();
  check_everything_closed(f.io, f.buffer);
  BOOST_TEST((f.buffer.get_executor() == asio::any_io_executor{f.io.get_executor()}));
  // What nobody read is there for the next reader.
  ring_buffer next{f.io.get_executor(), f.ring.source()};
  BOOST_TEST(next.try_next<numbered>()->number == 1U);
}

BOOST_AUTO_TEST_CASE(over_a_closed_map) {
  asio::io_context io;
  tinybpf::map const none;
  check_closed([&] { ring_buffer{io.get_executor(), none}; });
  check_closed([&] { ring_buffer{io, none}; });
  error_code ec;
  diagnostics details;
  ring_buffer const refused{io.get_executor(), none, ec, details};
  BOOST_TEST(ec == errc::closed);
  BOOST_TEST(!details.message.empty());
  BOOST_TEST(!refused.is_open());
  ring_buffer const quiet{io.get_executor(), none, ec};
  BOOST_TEST(ec == errc::closed);
}

BOOST_AUTO_TEST_CASE(moving) {
  ring_fixture f;
  f.emit_many(0, 4);
  BOOST_TEST(f.buffer.try_next<numbered>()->number == 0U);
  ring_buffer a{std::move(f.buffer)};
  BOOST_TEST(a.try_next<numbered>()->number == 1U);
  ring_buffer b;
  b = std::move(a);
  BOOST_TEST(b.try_next<numbered>()->number == 2U);
  auto& same = b;
  b = std::move(same);
  BOOST_TEST(b.is_open());
  BOOST_TEST(b.try_next<numbered>()->number == 3U);
}

BOOST_AUTO_TEST_CASE(typed_views) {
  ring_fixture f;
  f.emit_many(0, 6);
  decltype(f.buffer.typed<numbered>()) view;
  error_code ec;
  BOOST_TEST(!view.is_open());
  BOOST_TEST(!view.try_next(ec));
  BOOST_TEST(ec == errc::closed);
  check_closed([&] { static_cast<void>(view.try_next()); });
  check_closed([&] { run(f.io, view.next()); });
  check_closed([&] { run(f.io, view.read_some(1)); });

  view = f.buffer.typed<numbered>();
  BOOST_TEST(view.is_open());
  auto copy = view;
  BOOST_TEST(view.try_next()->number == 0U);
  BOOST_TEST(copy.try_next()->number == 1U);
  BOOST_TEST(f.buffer.try_next<numbered>()->number == 2U);
  ring_buffer moved{std::move(f.buffer)};
  BOOST_TEST(view.is_open());
  BOOST_TEST(run(f.io, view.next()).number == 3U);
  moved.close();
  BOOST_TEST(!view.is_open());
  check_closed([&] { static_cast<void>(view.try_next()); });
  check_closed([&] { run(f.io, copy.next()); });
  moved = ring_buffer{};
  BOOST_TEST(!copy.try_next(ec));
  BOOST_TEST(ec == errc::closed);
}

// A coroutine that was made and not started holds on to the buffer's memory only.
BOOST_AUTO_TEST_CASE(a_buffer_that_is_closed_before_a_coroutine_starts) {
  ring_fixture f;
  auto later = f.buffer.next<numbered>();
  auto never = f.buffer.read_some<numbered>(1);
  f.buffer = ring_buffer{};
  check_closed([&] { run(f.io, std::move(later)); });
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
