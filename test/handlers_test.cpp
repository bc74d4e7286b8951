// Handlers of records, consume and async_run; how many records are handled before the loop has its turn; and what is
// refused.
#include "features.hpp"
#include "streams.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <functional>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

namespace asio = boost::asio;
using namespace asio::experimental::awaitable_operators;
using namespace std::chrono_literals;
using test::contains;
using test::counted_event;
using test::kernel_error;
using test::named_event;
using test::ring;
using test::streams;
using test::write_args;
using tinybpf::bytes;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::ring_buffer;

namespace {

struct stream_of_first : streams {
  ring_buffer buffer{io, obj.map("first")};

  void write_unknown() const {
    write_args args;
    args.kind = 77;
    args.size = 40;
    BOOST_TEST_REQUIRE(write(ring::first, 1, args).written == 1U);
  }
};

struct stopped : std::runtime_error {
  stopped() : std::runtime_error{"stopped"} {}
};

error_code code_of(std::exception_ptr const& thrown) {
  if (!thrown) return {};
  try {
    std::rethrow_exception(thrown);
  } catch (tinybpf::error const& e) {
    return e.code();
  }
}

BOOST_AUTO_TEST_SUITE(consume)

BOOST_AUTO_TEST_CASE(calls_the_handler_for_what_is_there) {
  stream_of_first s;
  BOOST_TEST(s.buffer.consume<counted_event>([](counted_event const&) {}) == 0U);
  s.write(ring::first, 10);
  std::uint64_t next = 0;
  BOOST_TEST(s.buffer.consume<counted_event>([&](counted_event const& e) { BOOST_TEST(e.serial == next++); }) == 10U);
  BOOST_TEST(next == 10U);
  s.write(ring::first, 2);
  std::size_t bytes_seen = 0;
  BOOST_TEST(s.buffer.consume<bytes>([&](bytes b) { bytes_seen += b.size(); }) == 2U);
  BOOST_TEST(bytes_seen == 48U);
}

BOOST_AUTO_TEST_CASE(stops_where_the_handler_says_so) {
  stream_of_first s;
  s.write(ring::first, 10);
  BOOST_TEST(s.buffer.consume<counted_event>([](counted_event const& e) { return e.serial < 3; }) == 4U);
  BOOST_TEST(s.buffer.try_next<counted_event>().value().serial == 4U);
  BOOST_TEST(s.buffer.consume<counted_event>([](counted_event const&) { return true; }) == 5U);
}

BOOST_AUTO_TEST_CASE(lets_exceptions_through_and_keeps_the_rest) {
  stream_of_first s;
  s.write(ring::first, 10);
  BOOST_CHECK_THROW(s.buffer.consume<counted_event>([](counted_event const& e) {
    if (e.serial == 3) throw stopped{};
  }),
                    stopped);
  std::uint64_t next = 4;
  BOOST_TEST(s.buffer.consume<counted_event>([&](counted_event const& e) { BOOST_TEST(e.serial == next++); }) == 6U);
}

BOOST_AUTO_TEST_CASE(never_calls_for_more_than_the_budget) {
  stream_of_first s;
  s.write(ring::first, 2000);
  BOOST_TEST(s.buffer.consume<counted_event>([](counted_event const&) {}) == 1024U);
  s.buffer.set_budget(7);
  // Also not where the handler itself brings more.
  std::size_t calls = 0;
  BOOST_TEST(s.buffer.consume<counted_event>([&](counted_event const&) {
    ++calls;
    s.write_one(ring::first, 0);
  }) == 7U);
  BOOST_TEST(calls == 7U);
}

BOOST_AUTO_TEST_CASE(ends_in_front_of_a_bad_record_and_then_reports_it) {
  stream_of_first s;
  s.write(ring::first, 2);
  s.write_unknown();
  s.write(ring::first, 3);
  auto const count = [](counted_event const&) {};
  BOOST_TEST(s.buffer.consume<counted_event>(count) == 2U);
  BOOST_CHECK_EXCEPTION(s.buffer.consume<counted_event>(count), tinybpf::error,
                        [](tinybpf::error const& e) { return e.code() == errc::unknown_tag; });
  BOOST_TEST(s.buffer.consume<counted_event>(count) == 3U);
}

BOOST_AUTO_TEST_CASE(is_refused_while_another_reads_and_when_closed) {
  stream_of_first s;
  s.write(ring::first, 2);
  auto const count = [](counted_event const&) {};
  auto const again = [&](counted_event const&) { s.buffer.consume<counted_event>(count); };
  BOOST_CHECK_EXCEPTION(s.buffer.consume<counted_event>(again), tinybpf::error,
                        [](tinybpf::error const& e) { return e.code() == errc::operation_in_progress; });
  s.buffer.close();
  BOOST_CHECK_EXCEPTION(s.buffer.consume<counted_event>(count), tinybpf::error,
                        [](tinybpf::error const& e) { return e.code() == errc::closed; });
  ring_buffer never;
  BOOST_CHECK_THROW(never.consume<counted_event>(count), tinybpf::error);
}

BOOST_AUTO_TEST_CASE(may_be_closed_by_its_handler) {
  stream_of_first s;
  s.write(ring::first, 5);
  BOOST_TEST(s.buffer.consume<counted_event>([&](counted_event const&) { s.buffer.close(); }) == 1U);
  BOOST_TEST(s.unread(ring::first) == 4 * test::counted_bytes);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(async_run)

BOOST_AUTO_TEST_CASE(runs_until_the_handler_returns_false) {
  stream_of_first s;
  s.buffer.set_budget(4);
  std::uint64_t next = 0;
  auto const run = [&]() -> asio::awaitable<void> {
    co_await s.buffer.async_run<counted_event>([&](counted_event const& e) {
      BOOST_TEST(e.serial == next);
      ++next;
      if (next == 20) s.write(ring::first, 5, {.first = 20});
      return next < 22;
    });
  };
  s.write(ring::first, 20);
  s.run(run());
  BOOST_TEST(next == 22U);
  BOOST_TEST(s.buffer.try_next<counted_event>().value().serial == 22U);
}

BOOST_AUTO_TEST_CASE(throws_what_the_handler_throws) {
  stream_of_first s;
  s.write(ring::first, 10);
  auto const run = [&]() -> asio::awaitable<void> {
    co_await s.buffer.async_run<counted_event>([](counted_event const& e) {
      if (e.serial == 4) throw stopped{};
    });
  };
  BOOST_CHECK_THROW(s.run(run()), stopped);
  BOOST_TEST(s.buffer.try_next<counted_event>().value().serial == 5U);
}

BOOST_AUTO_TEST_CASE(gives_several_types) {
  stream_of_first s;
  s.write_one(ring::first, 1);
  write_args named;
  named.kind = test::named_kind;
  named.size = 20;
  s.write(ring::first, 1, named);
  int counted = 0;
  int others = 0;
  auto const handler = [&](auto const& e) {
    ++(std::holds_alternative<counted_event>(e) ? counted : others);
    return counted + others < 2;
  };
  auto const run = [&]() -> asio::awaitable<void> { co_await s.buffer.async_run<counted_event, named_event>(handler); };
  s.run(run());
  BOOST_TEST(counted == 1);
  BOOST_TEST(others == 1);
}

// For other tokens: cancelled while it waits, and by a handler.
BOOST_AUTO_TEST_CASE(runs_until_cancelled) {
  stream_of_first s;
  asio::cancellation_signal signal;
  for (auto const type :
       {asio::cancellation_type::total, asio::cancellation_type::partial, asio::cancellation_type::terminal}) {
    bool ended = false;
    std::exception_ptr thrown;
    std::uint64_t handled = 0;
    s.buffer.async_run<counted_event>([&](counted_event const&) { ++handled; },
                                      asio::bind_cancellation_slot(signal.slot(), [&](std::exception_ptr e) {
                                        thrown = std::move(e);
                                        ended = true;
                                      }));
    s.write(ring::first, 600);
    s.run_until([&] { return handled == 600; });
    for (int i = 0; i < 10; ++i) s.poll();
    BOOST_TEST(!ended);
    signal.emit(type);
    s.run_until([&] { return ended; });
    BOOST_TEST(code_of(thrown) == asio::error::operation_aborted);
    // It may be read again, and nothing has gone.
    s.write_one(ring::first, 5);
    BOOST_TEST(s.buffer.try_next<counted_event>().value().serial == 5U);
  }
}

BOOST_AUTO_TEST_CASE(may_be_raced) {
  stream_of_first s;
  s.write(ring::first, 3);
  std::uint64_t handled = 0;
  asio::steady_timer never{s.io, 1h};
  auto const run = [&]() -> asio::awaitable<void> {
    auto const handler = [&](counted_event const&) {
      if (++handled == 3) never.expires_after(0s);
    };
    auto const timer = [&]() -> asio::awaitable<void> {
      error_code ec;
      co_await never.async_wait(asio::redirect_error(asio::use_awaitable, ec));
    };
    co_await (s.buffer.async_run<counted_event>(handler) || timer());
  };
  s.run(run());
  BOOST_TEST(handled == 3U);
}

BOOST_AUTO_TEST_CASE(ends_at_a_bad_record_and_the_next_run_goes_on) {
  stream_of_first s;
  s.write(ring::first, 2);
  s.write_unknown();
  s.write(ring::first, 3);
  std::uint64_t handled = 0;
  auto const run = [&](std::uint64_t until) -> asio::awaitable<void> {
    auto const handler = [&handled, until](counted_event const&) { return ++handled < until; };
    co_await s.buffer.async_run<counted_event>(handler);
  };
  BOOST_CHECK_EXCEPTION(s.run(run(99)), tinybpf::error, [](tinybpf::error const& e) {
    return e.code() == errc::unknown_tag && e.get_diagnostics().position == 64;
  });
  BOOST_TEST(handled == 2U);
  s.run(run(5));
  BOOST_TEST(handled == 5U);
}

BOOST_AUTO_TEST_CASE(ends_when_the_buffer_is_closed_or_destroyed) {
  for (bool const destroy : {false, true}) {
    streams s;
    auto buffer = std::make_unique<ring_buffer>(s.io, s.obj.map("first"));
    auto done = buffer->async_run<counted_event>([](counted_event const&) {}, asio::use_future);
    s.poll();
    if (destroy)
      buffer.reset();
    else
      buffer->close();
    s.run_until([&] { return done.wait_for(0s) == std::future_status::ready; });
    BOOST_CHECK_EXCEPTION(done.get(), tinybpf::error,
                          [](tinybpf::error const& e) { return e.code() == asio::error::operation_aborted; });
  }
}

BOOST_AUTO_TEST_CASE(is_refused_on_a_closed_buffer) {
  streams s;
  ring_buffer closed;
  auto const run = [&]() -> asio::awaitable<void> {
    co_await closed.async_run<counted_event>([](counted_event const&) {});
  };
  BOOST_CHECK_EXCEPTION(s.run(run()), tinybpf::error, [](tinybpf::error const& e) { return e.code() == errc::closed; });
}

BOOST_AUTO_TEST_SUITE_END()

// A writer that never stops, and a timer that is always due: how many records are handled between two of its handlers.
BOOST_AUTO_TEST_SUITE(turns)

struct saturated : streams {
  explicit saturated(std::vector<ring> to) {
    writer_thread = std::thread{[this, to = std::move(to)] {
      while (!stop)
        for (auto const r : to) write(r, 500);
    }};
  }
  ~saturated() {
    stop = true;
    writer_thread.join();
  }

  // Until the timer's handler ran so many times, with so many records handled.
  void run_timer(std::size_t turns, std::uint64_t records) {
    tick();
    run_until([&] { return ticks >= turns && handled >= records; });
  }
  void tick() {
    timer.expires_after(0s);
    timer.async_wait([this](error_code) {
      ++ticks;
      most = std::max(most, handled - before);
      before = handled;
      if (!stop) tick();
    });
  }
  void end(ring_buffer& buffer) {
    stop = true;
    buffer.close();
    for (int i = 0; i < 10; ++i) poll();
  }

  std::atomic<bool> stop{false};
  std::thread writer_thread;
  asio::steady_timer timer{io};
  std::size_t ticks = 0;
  std::uint64_t handled = 0;
  std::uint64_t before = 0;
  std::uint64_t most = 0;  // between two turns
};

constexpr std::size_t budget = 50;

BOOST_AUTO_TEST_CASE(next_gives_way) {
  saturated s{{ring::first}};
  ring_buffer buffer{s.io, s.obj.map("first")};
  buffer.set_budget(budget);
  auto const read = [&]() -> asio::awaitable<void> {
    for (;;) {
      static_cast<void>(co_await buffer.next<counted_event>());
      ++s.handled;
    }
  };
  asio::co_spawn(s.io, read(), [](std::exception_ptr) {});
  s.run_timer(100, 20'000);
  BOOST_TEST(s.most == budget);
  s.end(buffer);
}

BOOST_AUTO_TEST_CASE(read_some_gives_way) {
  saturated s{{ring::first}};
  ring_buffer buffer{s.io, s.obj.map("first")};
  auto const read = [&]() -> asio::awaitable<void> {
    for (;;) {
      auto range = co_await buffer.read_some<counted_event>(budget);
      for (auto const& e : range) s.handled += e.kind;
    }
  };
  asio::co_spawn(s.io, read(), [](std::exception_ptr) {});
  s.run_timer(100, 20'000);
  BOOST_TEST(s.most == budget);
  s.end(buffer);
}

BOOST_AUTO_TEST_CASE(async_run_gives_way) {
  saturated s{{ring::first}};
  ring_buffer buffer{s.io, s.obj.map("first")};
  buffer.set_budget(budget);
  buffer.async_run<counted_event>([&](counted_event const& e) { s.handled += e.kind; }, [](std::exception_ptr) {});
  s.run_timer(100, 20'000);
  BOOST_TEST(s.most == budget);
  s.end(buffer);
}

BOOST_AUTO_TEST_CASE(one_buffer_of_three_rings_is_one_buffer) {
  saturated s{{ring::first, ring::second, ring::uncounted}};
  ring_buffer buffer{s.io, s.obj.map("first")};
  buffer.add(s.obj.map("second"));
  buffer.add(s.obj.map("uncounted"));
  buffer.set_budget(budget);
  buffer.async_run<counted_event>([&](counted_event const& e) { s.handled += e.kind; }, [](std::exception_ptr) {});
  s.run_timer(100, 20'000);
  BOOST_TEST(s.most == budget);
  s.end(buffer);
}

BOOST_AUTO_TEST_CASE(three_buffers_have_three_budgets) {
  saturated s{{ring::first, ring::second, ring::uncounted}};
  ring_buffer first{s.io, s.obj.map("first")};
  ring_buffer second{s.io, s.obj.map("second")};
  ring_buffer third{s.io, s.obj.map("uncounted")};
  first.set_budget(budget);
  second.set_budget(budget);
  auto const next = [&]() -> asio::awaitable<void> {
    for (;;) {
      static_cast<void>(co_await first.next<counted_event>());
      ++s.handled;
    }
  };
  asio::co_spawn(s.io, next(), [](std::exception_ptr) {});
  second.async_run<counted_event>([&](counted_event const& e) { s.handled += e.kind; }, [](std::exception_ptr) {});
  auto const read_some = [&]() -> asio::awaitable<void> {
    for (;;) {
      auto range = co_await third.read_some<counted_event>(budget);
      for (auto const& e : range) s.handled += e.kind;
    }
  };
  asio::co_spawn(s.io, read_some(), [](std::exception_ptr) {});
  s.run_timer(200, 50'000);
  BOOST_TEST(s.most > 0U);
  BOOST_TEST(s.most <= 3 * budget);
  s.end(first);
  s.end(second);
  s.end(third);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(refused)

BOOST_AUTO_TEST_CASE(maps_that_are_no_rings) {
  streams s;
  error_code ec;
  diagnostics details;
  ring_buffer const counter{s.io.get_executor(), s.obj.map("first_lost"), ec, details};
  BOOST_TEST(ec == errc::wrong_map_type);
  BOOST_TEST(details.map == "first_lost");
  BOOST_TEST(contains(details.message, "'first_lost' is of type array"));
  BOOST_TEST(!counter.is_open());
  BOOST_CHECK_THROW((ring_buffer{s.io, s.obj.map("scratch")}), tinybpf::error);
  ring_buffer const nothing{s.io.get_executor(), tinybpf::map{}, ec};
  BOOST_TEST(ec == errc::closed);
}

BOOST_AUTO_TEST_CASE(closed_and_moved_from_buffers) {
  streams s;
  ring_buffer buffer{s.io, s.obj.map("first")};
  s.write(ring::first, 1);
  ring_buffer taken{std::move(buffer)};
  ring_buffer closed{s.io, s.obj.map("second")};
  closed.close();
  ring_buffer never;
  for (auto* const b : {&buffer, &closed, &never}) {
    BOOST_TEST(!b->is_open());
    error_code ec;
    BOOST_TEST(!b->try_next<counted_event>(ec));
    BOOST_TEST(ec == errc::closed);
    b->add(s.obj.map("tiny"), ec);
    BOOST_TEST(ec == errc::closed);
    b->count_lost("first", s.obj.map("first_lost"), ec);
    BOOST_TEST(ec == errc::closed);
    static_cast<void>(b->typed<counted_event>(ec));
    BOOST_TEST(ec == errc::closed);
    b->flush();
    b->publish();
    b->cancel();
    b->close();
    auto const next = [&]() -> asio::awaitable<void> { static_cast<void>(co_await b->next<counted_event>()); };
    BOOST_CHECK_EXCEPTION(s.run(next()), tinybpf::error,
                          [](tinybpf::error const& e) { return e.code() == errc::closed; });
    auto const wait = [&]() -> asio::awaitable<void> { co_await b->async_wait(); };
    BOOST_CHECK_EXCEPTION(s.run(wait()), tinybpf::error,
                          [](tinybpf::error const& e) { return e.code() == errc::closed; });
  }
  BOOST_TEST(taken.try_next<counted_event>().has_value());
}

BOOST_AUTO_TEST_CASE(two_waits_at_once) {
  stream_of_first s;
  int first = 0;
  s.buffer.async_wait([&](error_code ec) {
    BOOST_TEST(!ec);
    ++first;
  });
  for (int i = 0; i < 3; ++i) {
    diagnostics details;
    error_code refused;
    s.buffer.async_wait(details, [&](error_code ec) { refused = ec; });
    BOOST_TEST(!refused);
    s.run_until([&] { return refused.failed(); });
    BOOST_TEST(refused == errc::operation_in_progress);
    BOOST_TEST(details.map == "first");
    BOOST_TEST(contains(details.message, "async_wait on ring buffer 'first'"));
    error_code ec;
    BOOST_TEST(!s.buffer.try_next<counted_event>(ec));
    BOOST_TEST(ec == errc::operation_in_progress);
  }
  BOOST_TEST(first == 0);
  s.write_one(ring::first, 1);
  s.run_until([&] { return first != 0; });
  BOOST_TEST(s.buffer.try_next<counted_event>().has_value());
}

BOOST_AUTO_TEST_CASE(a_budget_of_nothing) {
  stream_of_first s;
  s.write(ring::first, 1);
  auto const read = [&]() -> asio::awaitable<void> {
    static_cast<void>(co_await s.buffer.read_some<counted_event>(0));
  };
  BOOST_CHECK_EXCEPTION(s.run(read()), tinybpf::error,
                        [](tinybpf::error const& e) { return e.code() == kernel_error(EINVAL); });
  error_code refused;
  s.buffer.async_read_some<counted_event>(0, [&](error_code ec, tinybpf::batch<counted_event>) { refused = ec; });
  s.run_until([&] { return refused.failed(); });
  BOOST_TEST(refused == kernel_error(EINVAL));
  s.buffer.set_budget(0);
  BOOST_TEST(s.buffer.budget() == 1U);
  BOOST_TEST(s.buffer.try_next<counted_event>().has_value());
}

struct alignas(16) aligned_event {
  std::uint64_t kind_and_index;
  std::uint64_t serial;
  std::array<std::uint64_t, 2> rest;
};

// Every second record begins at no multiple of 16.
BOOST_AUTO_TEST_CASE(types_more_aligned_than_records_are_copied) {
  stream_of_first s;
  write_args args;
  args.kind = 5;
  args.size = sizeof(aligned_event);
  for (std::uint64_t serial = 0; serial < 4; ++serial) {
    args.first = serial;
    s.write(ring::first, 1, args);
  }
  for (std::uint64_t serial = 0; serial < 3; ++serial) {
    auto const e = s.buffer.try_next<aligned_event>();
    BOOST_TEST_REQUIRE(e.has_value());
    BOOST_TEST(e->serial == serial);
  }
  auto const read = [&]() -> asio::awaitable<void> {
    auto const e = co_await s.buffer.next<aligned_event>();
    BOOST_TEST(e.serial == 3U);
  };
  s.run(read());
}

error_code make_overwriting_ring() {
  error_code ec;
  static_cast<void>(tinybpf::load(OVERWRITING_BPF_O, ec));
  return ec;
}

BOOST_AUTO_TEST_CASE(rings_that_overwrite, *test::feature_here("ringbuf overwriting", make_overwriting_ring)) {
  asio::io_context io;
  auto const obj = tinybpf::load(OVERWRITING_BPF_O);
  error_code ec;
  diagnostics details;
  ring_buffer const buffer{io.get_executor(), obj.map("events"), ec, details};
  BOOST_TEST(ec == errc::not_supported);
  BOOST_TEST(contains(details.message, "BPF_F_RB_OVERWRITE"));
  BOOST_TEST(details.map == "events");
  BOOST_TEST(!buffer.is_open());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
