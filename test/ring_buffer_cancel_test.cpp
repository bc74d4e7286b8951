// What ends a wait before its record comes, and that no record is lost by it.
#include "ring_fixture.hpp"

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <optional>
#include <ostream>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

namespace asio = boost::asio;
namespace data = boost::unit_test::data;
using namespace test;
using namespace asio::experimental::awaitable_operators;
using asio::error::operation_aborted;
using tinybpf::ring_buffer;
using tinybpf::wakeup_policy;

std::vector<wakeup_policy> const all_policies{wakeup_policy::immediate(), wakeup_policy::moderated(),
                                              wakeup_policy::adaptive()};

enum class verb : std::uint8_t { wait, next, read_some };
constexpr std::array all_verbs{verb::wait, verb::next, verb::read_some};

std::ostream& operator<<(std::ostream& out, verb v) {
  constexpr std::array<char const*, 3> names{"async_wait", "async_next", "async_read_some"};
  return out << names.at(static_cast<std::size_t>(v));
}

enum class state : std::uint8_t { waiting, busy, ready };
constexpr std::array all_states{state::waiting, state::busy, state::ready};

std::ostream& operator<<(std::ostream& out, state s) {
  constexpr std::array<char const*, 3> names{"waiting", "at a busy head", "ready"};
  return out << names.at(static_cast<std::size_t>(s));
}

// Starts an operation, and gives it time to come to where it waits. It adds what it reads to `read`.
struct pending {
  pending(ring_buffer& buffer, verb v) {
    auto const slot = signal.slot();
    auto const end = [this](error_code why) {
      ec = why;
      ++ended;
    };
    switch (v) {
      case verb::wait:
        buffer.async_wait(asio::bind_cancellation_slot(slot, end));
        break;
      case verb::next:
        buffer.async_next<numbered>(asio::bind_cancellation_slot(slot, [this, end](error_code why, numbered n) {
          if (!why) read.push_back(n.number);
          end(why);
        }));
        break;
      case verb::read_some:
        buffer.async_read_some<numbered>(
            3, asio::bind_cancellation_slot(slot, [this, end](error_code why, tinybpf::batch<numbered> range) {
              for (auto const& n : range) read.push_back(n.number);
              end(why);
            }));
        break;
    }
  }
  pending(pending const&) = delete;
  pending& operator=(pending const&) = delete;

  asio::cancellation_signal signal;
  std::vector<std::uint64_t> read;
  error_code ec;
  int ended = 0;
};

// A ring in a state, and the operation that finds it so.
struct scene : ring_fixture {
  scene(verb v, state s) : what{v}, now{s} {
    if (s == state::ready) emit(0);
    if (s == state::busy) busy = ring.reserve(sizeof(numbered));
    operation.emplace(buffer, v);
    if (s != state::ready) poll();
    BOOST_TEST(operation->ended == 0);
  }

  // It has ended with `operation_aborted`, and consumed nothing.
  void check_aborted() {
    run_until([&] { return operation->ended != 0; });
    poll();
    BOOST_TEST(operation->ended == 1);
    BOOST_TEST(operation->ec == operation_aborted);
    BOOST_TEST(operation->read.empty());
  }

  // The buffer is as good as new.
  void check_goes_on(ring_buffer& by) {
    if (now == state::busy) {
      auto const n = number(0);
      std::memcpy(busy, &n, sizeof n);
      ring.submit(busy);
    } else if (now == state::waiting) {
      emit(0);
    }
    for (std::uint64_t n = 0; n < 3; ++n) {
      pending again{by, verb::next};
      run_until([&] { return again.ended != 0; });
      BOOST_TEST(!again.ec);
      BOOST_TEST(again.read == std::vector{n}, boost::test_tools::per_element());
      emit(n + 1);
    }
  }

  verb what;
  state now;
  std::byte* busy = nullptr;
  std::optional<pending> operation;
};

constexpr std::array all_types{asio::cancellation_type::total, asio::cancellation_type::partial,
                               asio::cancellation_type::terminal, asio::cancellation_type::all};

BOOST_AUTO_TEST_SUITE(ending)

BOOST_DATA_TEST_CASE(by_a_signal, data::make(all_verbs) * data::make(all_states) * data::xrange(all_types.size()), what,
                     when, type) {
  scene s{what, when};
  s.operation->signal.emit(all_types.at(type));
  BOOST_TEST(s.operation->ended == 0);  // not inside of the signal
  s.check_aborted();
  s.check_goes_on(s.buffer);
}

BOOST_DATA_TEST_CASE(by_cancel, data::make(all_verbs) * data::make(all_states), what, when) {
  scene s{what, when};
  s.buffer.cancel();
  BOOST_TEST(s.operation->ended == 0);
  s.check_aborted();
  BOOST_TEST(s.buffer.is_open());
  s.check_goes_on(s.buffer);
}

BOOST_DATA_TEST_CASE(by_close, data::make(all_verbs) * data::make(all_states), what, when) {
  scene s{what, when};
  s.buffer.close();
  s.buffer.close();
  BOOST_TEST(s.operation->ended == 0);
  s.check_aborted();
  BOOST_TEST(!s.buffer.is_open());
  pending late{s.buffer, what};
  s.poll();
  BOOST_TEST(late.ec == errc::closed);
  s.buffer = ring_buffer{s.io.get_executor(), s.ring.source()};
  s.check_goes_on(s.buffer);
}

BOOST_DATA_TEST_CASE(by_destruction, data::make(all_verbs) * data::make(all_states), what, when) {
  scene s{what, when};
  { ring_buffer const doomed{std::move(s.buffer)}; }
  s.check_aborted();
  s.buffer = ring_buffer{s.io.get_executor(), s.ring.source()};
  s.check_goes_on(s.buffer);
}

BOOST_DATA_TEST_CASE(by_assigning_over_the_buffer, data::make(all_verbs) * data::make(all_states), what, when) {
  scene s{what, when};
  fake_ring other;
  s.buffer = ring_buffer{s.io.get_executor(), other.source()};
  s.check_aborted();
  BOOST_TEST(s.buffer.is_open());
  s.buffer = ring_buffer{s.io.get_executor(), s.ring.source()};
  s.check_goes_on(s.buffer);
}

BOOST_DATA_TEST_CASE(moving_ends_nothing, data::make(all_verbs) * data::make(all_states), what, when) {
  scene s{what, when};
  ring_buffer moved{std::move(s.buffer)};
  ring_buffer target;
  target = std::move(moved);
  if (s.now == state::waiting) s.emit(0);
  if (s.now == state::busy) s.ring.discard(s.busy);
  if (s.now == state::busy) s.emit(0);
  s.run_until([&] { return s.operation->ended != 0; });
  BOOST_TEST(!s.operation->ec);
  if (s.what == verb::wait) {
    BOOST_TEST(target.try_next<numbered>()->number == 0U);
  } else {
    BOOST_TEST(s.operation->read == std::vector<std::uint64_t>{0}, boost::test_tools::per_element());
  }
}

// Two descriptors are ready at once; the handler of the first cancels the second, of which the loop knows already that
// it is ready. Its record was thrown away, so it would go back to sleep.
BOOST_AUTO_TEST_CASE(cancel_is_not_forgotten_by_who_was_about_to_wake_up) {
  ring_fixture f;
  ring_fixture idle;
  ring_buffer second{f.io.get_executor(), idle.ring.source("second")};
  pending waiting{second, verb::wait};
  bool cancelled = false;
  f.buffer.async_wait([&](error_code) {
    second.cancel();
    cancelled = true;
  });
  f.poll();
  f.emit(1);
  idle.ring.discard(idle.ring.reserve(8));
  f.run_until([&] { return cancelled; });
  f.poll();
  BOOST_TEST(waiting.ended == 1);
  BOOST_TEST(waiting.ec == operation_aborted);
}

BOOST_AUTO_TEST_CASE(cancel_without_an_operation_does_nothing) {
  ring_fixture f;
  f.buffer.cancel();
  f.emit(1);
  pending next{f.buffer, verb::next};
  f.run_until([&] { return next.ended != 0; });
  BOOST_TEST(!next.ec);
}

// Started in the handler of the one that was cancelled.
BOOST_AUTO_TEST_CASE(cancel_does_not_reach_what_is_started_later) {
  ring_fixture f;
  std::optional<pending> later;
  bool first_ended = false;
  f.buffer.async_wait([&](error_code ec) {
    BOOST_TEST(ec == operation_aborted);
    first_ended = true;
    later.emplace(f.buffer, verb::next);
  });
  f.poll();
  f.buffer.cancel();
  f.poll();
  BOOST_TEST(first_ended);
  BOOST_TEST(later->ended == 0);
  f.emit(1);
  f.run_until([&] { return later->ended != 0; });
  BOOST_TEST(!later->ec);
}

BOOST_DATA_TEST_CASE(a_second_operation_is_refused,
                     data::make(all_verbs) * data::make(all_states) * data::make(all_verbs), what, when, second) {
  scene s{what, when};
  pending refused{s.buffer, second};
  BOOST_TEST(refused.ended == 0);
  error_code ec;
  BOOST_TEST(!s.buffer.try_next<numbered>(ec));
  BOOST_TEST(ec == errc::operation_in_progress);
  // Cancelling it does not reach the first.
  s.poll();
  BOOST_TEST(refused.ended == 1);
  BOOST_TEST(refused.ec == errc::operation_in_progress);
  if (s.now == state::waiting) s.emit(0);
  if (s.now == state::busy) {
    s.ring.discard(s.busy);
    s.emit(0);
  }
  s.run_until([&] { return s.operation->ended != 0; });
  BOOST_TEST(!s.operation->ec);
}

BOOST_AUTO_TEST_CASE(a_second_coroutine_is_refused) {
  ring_fixture f;
  bool waited = false;
  auto const wait = [&]() -> asio::awaitable<void> {
    co_await f.buffer.async_wait();
    waited = true;
  };
  asio::co_spawn(f.io, wait(), asio::detached);
  f.poll();
  auto const in_progress = [](tinybpf::error const& e) {
    return e.code() == errc::operation_in_progress && e.get_diagnostics().map == "events";
  };
  BOOST_CHECK_EXCEPTION(run(f.io, f.buffer.next<numbered>()), tinybpf::error, in_progress);
  BOOST_CHECK_EXCEPTION(run(f.io, f.buffer.read_some<numbered>(1)), tinybpf::error, in_progress);
  BOOST_CHECK_EXCEPTION(run(f.io, f.buffer.async_wait()), tinybpf::error, in_progress);
  f.emit(1);
  f.run_until([&] { return waited; });
  BOOST_TEST(f.buffer.try_next<numbered>()->number == 1U);
}

BOOST_AUTO_TEST_CASE(a_coroutine_whose_buffer_is_closed) {
  for (auto const how : {0, 1, 2}) {
    ring_fixture f;
    error_code got;
    auto const consume = [&]() -> asio::awaitable<void> {
      try {
        for (;;) static_cast<void>(co_await f.buffer.next<numbered>());
      } catch (tinybpf::error const& e) {
        got = e.code();
      }
    };
    f.emit_many(0, 5);
    asio::co_spawn(f.io, consume(), asio::detached);
    f.poll();
    BOOST_TEST(!got);
    if (how == 0) f.buffer.close();
    if (how == 1) f.buffer.cancel();
    if (how == 2) f.buffer = ring_buffer{};
    f.poll();
    BOOST_TEST(got == operation_aborted);
    BOOST_TEST(f.ring.unread() == 0U);
  }
}

BOOST_AUTO_TEST_CASE(closing_publishes) {
  ring_fixture f;
  f.emit_many(0, 5);
  BOOST_TEST(f.buffer.try_next<numbered>().has_value());
  BOOST_TEST(f.buffer.try_next<numbered>().has_value());
  BOOST_TEST(f.ring.consumer_position() == 0U);
  f.buffer.close();
  BOOST_TEST(f.ring.consumer_position() == 48U);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(teardown)

BOOST_DATA_TEST_CASE(a_loop_that_is_destroyed_with_operations_pending, data::make(all_verbs) * data::make(all_states),
                     what, when) {
  fake_ring ring;
  std::optional<asio::io_context> io{std::in_place};
  std::optional<pending> operation;
  {
    ring_buffer buffer{io->get_executor(), ring.source()};
    if (when == state::ready) BOOST_TEST_REQUIRE(ring.emit(number(0)));
    if (when == state::busy) static_cast<void>(ring.reserve(8));
    operation.emplace(buffer, what);
    if (when != state::ready) io->poll();
  }
  io.reset();
  BOOST_TEST(operation->ended == 0);
}

// The coroutines, and the buffers in their frames, are destroyed with the loop.
BOOST_AUTO_TEST_CASE(a_loop_that_is_destroyed_with_coroutines_waiting) {
  fake_ring ring;
  fake_ring busy;
  static_cast<void>(busy.reserve(8));
  std::optional<asio::io_context> io{std::in_place};
  auto const next = [&](fake_ring& from) -> asio::awaitable<void> {
    ring_buffer buffer{io->get_executor(), from.source()};
    static_cast<void>(co_await buffer.next<numbered>());
  };
  auto const some = [&](fake_ring& from) -> asio::awaitable<void> {
    ring_buffer buffer{io->get_executor(), from.source()};
    for (auto const& n : co_await buffer.read_some<numbered>(2)) BOOST_TEST(n.number == 0U);
  };
  auto const wait_or_timer = [&](fake_ring& from) -> asio::awaitable<void> {
    ring_buffer buffer{io->get_executor(), from.source()};
    asio::steady_timer timer{io->get_executor(), std::chrono::hours{1}};
    co_await (buffer.async_wait() || timer.async_wait(asio::use_awaitable));
  };
  for (auto* const from : {&ring, &busy}) {
    asio::co_spawn(*io, next(*from), asio::detached);
    asio::co_spawn(*io, some(*from), asio::detached);
    asio::co_spawn(*io, wait_or_timer(*from), asio::detached);
  }
  io->poll();
  io.reset();
}

// What was asked for and not yet awaited holds what it needs, also beside what is pending.
BOOST_DATA_TEST_CASE(awaitables_outlive_their_buffer, data::make({false, true}), with_one_pending) {
  asio::io_context io;
  fake_ring ring;
  BOOST_TEST_REQUIRE(ring.emit(number(0)));
  std::optional<ring_buffer> buffer{std::in_place, io.get_executor(), ring.source()};
  std::optional<tinybpf::typed_event_source<asio::any_io_executor, numbered>> typed{buffer->typed<numbered>()};
  error_code pending_ended;
  if (with_one_pending) {
    BOOST_TEST(buffer->try_next<numbered>().has_value());
    buffer->async_wait([&](error_code ec) { pending_ended = ec; });
  }
  int refused = 0;
  auto const count = [&](std::exception_ptr const& failed, numbered) {
    try {
      if (failed) std::rethrow_exception(failed);
    } catch (tinybpf::error const& e) {
      refused += e.code() == errc::closed ? 1 : 0;
    }
  };
  asio::co_spawn(io, buffer->next<numbered>(), count);
  asio::co_spawn(io, typed->next(), count);
  auto const never = buffer->next<numbered>();
  auto moved = std::move(*buffer);
  buffer.reset();
  asio::co_spawn(io, moved.next<numbered>(), count);
  moved = ring_buffer{};
  typed.reset();
  io.run();
  BOOST_TEST(refused == 3);
  BOOST_TEST((pending_ended == asio::error::operation_aborted) == with_one_pending);
}

BOOST_AUTO_TEST_CASE(a_buffer_that_is_destroyed_in_its_own_handler) {
  asio::io_context io;
  fake_ring ring;
  std::optional<ring_buffer> buffer{std::in_place, io.get_executor(), ring.source()};
  bool ended = false;
  BOOST_TEST_REQUIRE(ring.emit(number(0)));
  BOOST_TEST_REQUIRE(ring.emit(number(1)));
  buffer->async_read_some<numbered>(2, [&](error_code ec, tinybpf::batch<numbered> range) {
    BOOST_TEST(!ec);
    buffer.reset();
    std::uint64_t seen = 0;
    for (auto const& n : range) BOOST_TEST(n.number == seen++);
    BOOST_TEST(seen == 1U);
    ended = true;
  });
  io.run();
  BOOST_TEST(ended);
}

// A child has the same pages, and shall leave the parent's stream alone.
BOOST_AUTO_TEST_CASE(a_forked_child_publishes_nothing) {
  ring_fixture f;
  f.emit_many(0, 4);
  BOOST_TEST(f.buffer.try_next<numbered>()->number == 0U);
  BOOST_TEST(f.ring.consumer_position() == 0U);
  auto const said = in_child([&] {
    f.io.notify_fork(asio::io_context::fork_child);
    auto const own = f.buffer.try_next<numbered>();
    f.buffer = ring_buffer{};
    return std::to_string(own->number) + ' ' + std::to_string(f.ring.consumer_position());
  });
  BOOST_TEST(said == "1 0");
  BOOST_TEST(f.ring.consumer_position() == 0U);
  for (std::uint64_t n = 1; n < 4; ++n) BOOST_TEST(f.buffer.try_next<numbered>()->number == n);
  pending next{f.buffer, verb::next};
  f.poll();
  f.emit(4);
  f.run_until([&] { return next.ended != 0; });
  BOOST_TEST(next.read == std::vector<std::uint64_t>{4}, boost::test_tools::per_element());
}

BOOST_DATA_TEST_CASE(a_forked_child_that_destroys_a_range_publishes_nothing, data::make({false, true}), range_first) {
  ring_fixture f;
  f.emit_many(0, 4);
  auto range = run(f.io, f.buffer.read_some<numbered>(4));
  auto it = range.begin();
  ++it;
  BOOST_TEST((*it).number == 1U);
  BOOST_TEST(f.ring.consumer_position() == 0U);
  auto const said = in_child([&] {
    f.io.notify_fork(asio::io_context::fork_child);
    if (range_first) range = {};
    f.buffer.close();
    range = {};
    return std::to_string(f.ring.consumer_position());
  });
  BOOST_TEST(said == "0");
  BOOST_TEST(f.ring.consumer_position() == 0U);
  ++it;
  BOOST_TEST((*it).number == 2U);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(races)

BOOST_AUTO_TEST_CASE(a_wait_against_a_timer) {
  ring_fixture f;
  asio::steady_timer timer{f.io, std::chrono::seconds{0}};
  auto const race = [&]() -> asio::awaitable<std::size_t> {
    auto const winner = co_await (f.buffer.async_wait() || timer.async_wait(asio::use_awaitable));
    co_return winner.index();
  };
  BOOST_TEST(run(f.io, race()) == 1U);
  f.emit(1);
  timer.expires_after(std::chrono::hours{1});
  BOOST_TEST(run(f.io, race()) == 0U);
  BOOST_TEST(f.buffer.try_next<numbered>()->number == 1U);
}

// Both are ready each time; who loses has lost nothing.
BOOST_AUTO_TEST_CASE(two_waits_with_both_ready) {
  constexpr std::uint64_t count = 2000;
  ring_fixture f;
  ring_fixture g;
  ring_buffer a{f.io.get_executor(), f.ring.source("a")};
  ring_buffer b{f.io.get_executor(), g.ring.source("b")};
  std::array<std::uint64_t, 2> read{};
  std::array<std::uint64_t, 2> won{};
  auto const consume = [&]() -> asio::awaitable<void> {
    while (read[0] + read[1] < 2 * count) {
      auto const winner = co_await (a.async_wait() || b.async_wait());
      ++won.at(winner.index());
      // One from the winner, so that both stay ready.
      auto& from = winner.index() == 0 ? a : b;
      auto const n = from.try_next<numbered>();
      BOOST_TEST_REQUIRE(n.has_value());
      BOOST_TEST_REQUIRE(n->number == read.at(winner.index())++);
    }
  };
  f.emit_many(0, count);
  g.emit_many(0, count);
  run(f.io, consume());
  BOOST_TEST(read[0] == count);
  BOOST_TEST(read[1] == count);
}

BOOST_AUTO_TEST_CASE(two_read_somes_with_both_ready) {
  constexpr std::uint64_t count = 2000;
  ring_fixture f;
  ring_fixture g;
  ring_buffer a{f.io.get_executor(), f.ring.source("a")};
  ring_buffer b{f.io.get_executor(), g.ring.source("b")};
  std::array<std::uint64_t, 2> read{};
  auto const consume = [&]() -> asio::awaitable<void> {
    while (read[0] + read[1] < 2 * count) {
      auto winner = co_await (a.read_some<numbered>(3) || b.read_some<numbered>(3));
      auto const index = winner.index();
      auto& range = index == 0 ? std::get<0>(winner) : std::get<1>(winner);
      for (auto const& n : range) BOOST_TEST_REQUIRE(n.number == read.at(index)++);
    }
  };
  f.emit_many(0, count);
  g.emit_many(0, count);
  run(f.io, consume());
  BOOST_TEST(read[0] == count);
  BOOST_TEST(read[1] == count);
}

// A timer that is due, about to be, or far from it.
BOOST_AUTO_TEST_CASE(next_against_a_timer) {
  constexpr std::uint64_t count = 5000;
  ring_fixture f;
  std::mt19937_64 random{11};
  asio::steady_timer timer{f.io};
  std::uint64_t emitted = 0;
  std::uint64_t read = 0;
  std::array<std::uint64_t, 2> won{};
  // Emits now and then from another handler of the loop, so that every order of the two comes up.
  auto const emit_some = [&](auto self) -> void {
    if (random() % 4 == 0 && emitted < count && emitted - read < 100) f.emit(emitted++);
    if (emitted < count) asio::post(f.io, [self] { self(self); });
  };
  auto const consume = [&](bool timer_first) -> asio::awaitable<void> {
    while (read < count) {
      timer.expires_after(std::chrono::microseconds{random() % 3 == 0 ? 0 : random() % 30});
      std::optional<numbered> got;
      if (timer_first) {
        auto const winner = co_await (timer.async_wait(asio::use_awaitable) || f.buffer.next<numbered>());
        ++won.at(winner.index());
        if (winner.index() == 1) got = std::get<1>(winner);
      } else {
        auto const winner = co_await (f.buffer.next<numbered>() || timer.async_wait(asio::use_awaitable));
        ++won.at(1 - winner.index());
        if (winner.index() == 0) got = std::get<0>(winner);
      }
      if (got) BOOST_TEST_REQUIRE(got->number == read++);
    }
  };
  for (bool const timer_first : {false, true}) {
    emitted = read = 0;
    asio::post(f.io, [&] { emit_some(emit_some); });
    run(f.io, consume(timer_first));
  }
  BOOST_TEST(won[0] > 100U);
  BOOST_TEST(won[1] > 100U);
}

BOOST_DATA_TEST_CASE(next_against_a_timer_with_a_writer_on_another_thread, data::make(all_policies), policy) {
  constexpr std::uint64_t count = 5000;
  ring_fixture f{1U << 20U, policy};
  std::thread writer{[&] {
    for (std::uint64_t n = 0; n < count; ++n) {
      while (!f.ring.emit(number(n))) std::this_thread::yield();
      if (n % 8 == 0) std::this_thread::yield();
    }
  }};
  asio::steady_timer timer{f.io};
  std::uint64_t read = 0;
  auto const consume = [&]() -> asio::awaitable<void> {
    while (read < count) {
      timer.expires_after(std::chrono::microseconds{read % 20});
      auto const winner = co_await (f.buffer.next<numbered>() || timer.async_wait(asio::use_awaitable));
      if (auto const* const n = std::get_if<0>(&winner)) BOOST_TEST_REQUIRE(n->number == read++);
    }
  };
  run(f.io, consume());
  writer.join();
}

// Every way to end an operation, in any order with the records, for hundreds of thousands of them: each is read once,
// in order.
BOOST_DATA_TEST_CASE(a_storm_of_cancellations, data::make(all_policies), policy) {
  constexpr std::uint64_t count = 70'000;
  ring_fixture f{1U << 22U, policy};
  std::mt19937_64 random{static_cast<std::uint64_t>(policy.decides())};
  auto const below = [&](std::uint64_t n) { return random() % n; };
  std::uint64_t emitted = 0;
  std::uint64_t read = 0;
  std::array<std::uint64_t, 3> completed{};
  std::uint64_t cancelled_waiting = 0;
  std::uint64_t cancelled_ready = 0;
  auto const emit_some = [&](std::uint64_t most) {
    for (auto n = below(most + 1); n > 0; --n) f.emit(emitted++);
  };

  while (read < count) {
    if (below(6) == 0) emit_some(4);
    auto const what = static_cast<verb>(below(3));
    pending operation{f.buffer, what};
    for (auto n = below(3); n > 0; --n) f.io.poll_one();
    if (below(3) == 0) emit_some(1);
    for (auto n = below(2); n > 0; --n) f.io.poll_one();

    bool cancelled = false;
    if (operation.ended == 0 && below(2) == 0) {
      cancelled = true;
      ++(read == emitted ? cancelled_waiting : cancelled_ready);
      switch (below(3)) {
        case 0:
          f.buffer.cancel();
          break;
        case 1:
          operation.signal.emit(all_types.at(below(all_types.size())));
          break;
        default:
          if (below(20) == 0) {
            f.buffer.close();  // so that the next one begins where this one ended
            f.buffer = ring_buffer{f.io.get_executor(), f.ring.source("events")};
            f.buffer.set_wakeup_policy(policy);
          } else {
            operation.signal.emit(asio::cancellation_type::total);
          }
      }
      if (below(4) == 0) emit_some(2);
    }
    if (operation.ended == 0 && !cancelled && read == emitted) f.emit(emitted++);
    f.run_until([&] { return operation.ended != 0; });

    if (cancelled) BOOST_TEST_REQUIRE(operation.ec == operation_aborted);
    if (!cancelled) BOOST_TEST_REQUIRE(!operation.ec);
    if (!operation.ec) ++completed.at(static_cast<std::size_t>(what));
    for (auto const n : operation.read) BOOST_TEST_REQUIRE(n == read++);
    if (what == verb::wait && !operation.ec) {
      auto const n = f.buffer.try_next<numbered>();
      BOOST_TEST_REQUIRE(n.has_value());
      BOOST_TEST_REQUIRE(n->number == read++);
    }
    if (emitted - read > 1000)
      while (auto const n = f.buffer.try_next<numbered>()) BOOST_TEST_REQUIRE(n->number == read++);
  }
  BOOST_TEST(cancelled_waiting >= 1000U);
  BOOST_TEST(cancelled_ready >= 1000U);
  for (auto const n : completed) BOOST_TEST(n >= 1000U);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
