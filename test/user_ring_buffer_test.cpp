// User ring buffers against the kernel: a BPF program drains them and answers through a ring buffer.
#include "features.hpp"
#include "loop.hpp"
#include "print.hpp"

#include <tinybpf/object.hpp>
#include <tinybpf/ring_buffer.hpp>
#include <tinybpf/user_ring_buffer.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <bpf/bpf.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <exception>
#include <optional>
#include <ostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace asio = boost::asio;
namespace data = boost::unit_test::data;
using namespace std::chrono_literals;
using namespace asio::experimental::awaitable_operators;
using asio::error::operation_aborted;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::reservation;
using tinybpf::user_ring_buffer;

// As in user_ring.bpf.c.
struct command {
  std::uint64_t serial;
  std::uint64_t value;
};

struct answer {
  std::uint64_t serial;
  std::uint64_t value;
};

struct drain_args {
  std::uint64_t flags = 0;
  std::uint64_t most = 0;
  std::int64_t result = 0;
};

namespace user_rings {  // with a name: g++ 12 warns of coroutines over types without linkage

constexpr std::size_t ring_size = 4096;
constexpr std::size_t command_bytes = sizeof(command) + 8;

error_code system_code(int number) { return {number, boost::system::system_category()}; }

struct user_ring : test::loop {
  /// What the kernel's drain says: how many records it gave, or an error.
  std::int64_t drain(std::uint64_t flags = 0, std::uint64_t most = 0) const {
    drain_args args{flags, most, 0};
    bpf_test_run_opts opts{};
    opts.sz = sizeof opts;
    opts.ctx_in = &args;
    opts.ctx_size_in = sizeof args;
    if (bpf_prog_test_run_opts(drainer.fd(), &opts) != 0) throw std::runtime_error{"bpf_prog_test_run_opts"};
    return args.result;
  }
  void send(std::uint64_t serial) {
    auto r = commands.try_reserve<command>();
    if (!r) throw std::length_error{"the ring is full"};
    **r = {serial, serial + 1000};
    r->submit();
  }
  std::vector<std::uint64_t> answered() {
    std::vector<std::uint64_t> serials;
    while (auto const a = answers.try_next<answer>()) {
      BOOST_TEST(a->value == 2 * (a->serial + 1000));
      serials.push_back(a->serial);
    }
    return serials;
  }
  /// Fills it but for `left` bytes.
  void fill_but(std::size_t left) {
    auto r = commands.try_reserve(ring_size - left - 8);
    if (!r) throw std::length_error{"the ring is not empty"};
    std::memset(r->bytes().data(), 0, r->size());
    r->submit();
  }

  tinybpf::object obj = tinybpf::load(USER_RING_BPF_O);
  tinybpf::program drainer = obj.program("drain");
  tinybpf::ring_buffer answers{io, obj.map("answers")};
  user_ring_buffer commands{io, obj.map("commands")};
};

/// A pending reserve of `size` bytes.
struct waiting_reserve {
  waiting_reserve(asio::io_context& io, user_ring_buffer& buffer, std::size_t size = 64) {
    // A buffer that was never opened has no executor of its own.
    auto handler = asio::bind_executor(io, [this](error_code e, reservation<> r) {
      ec = e;
      got = std::move(r);
      ++ended;
    });
    buffer.async_reserve(size, asio::bind_cancellation_slot(signal.slot(), std::move(handler)));
  }
  waiting_reserve(waiting_reserve const&) = delete;
  waiting_reserve& operator=(waiting_reserve const&) = delete;

  asio::cancellation_signal signal;
  int ended = 0;
  error_code ec;
  reservation<> got;
};

std::vector<std::uint64_t> const none;

}  // namespace user_rings

using namespace user_rings;

BOOST_AUTO_TEST_SUITE(reserving)

BOOST_AUTO_TEST_CASE(commands_are_answered_in_order, *test::shows("user_ringbuf")) {
  user_ring s;
  BOOST_TEST(s.commands.is_open());
  BOOST_TEST(s.commands.name() == "commands");
  BOOST_TEST(s.commands.size() == ring_size);
  BOOST_TEST(s.drain() == 0);
  for (std::uint64_t i = 0; i < 100; ++i) s.send(i);
  BOOST_TEST(s.drain() == 100);
  auto const serials = s.answered();
  BOOST_TEST_REQUIRE(serials.size() == 100U);
  for (std::uint64_t i = 0; i < 100; ++i) BOOST_TEST(serials[i] == i);
}

BOOST_AUTO_TEST_CASE(what_is_discarded_is_passed_over) {
  user_ring s;
  auto a = s.commands.try_reserve<command>().value();
  auto b = s.commands.try_reserve<command>().value();
  auto c = s.commands.try_reserve<command>().value();
  *a = {1, 1001};
  *c = {3, 1003};
  c.submit();
  // The first is still reserved: the kernel waits for it.
  BOOST_TEST(s.drain() == 0);
  BOOST_TEST(s.answered() == none, boost::test_tools::per_element());
  a.submit();
  BOOST_TEST(!a);
  BOOST_TEST(s.drain() == 1);
  b.discard();
  BOOST_TEST(!b);
  b.discard();
  BOOST_TEST(s.drain() == 1);
  std::vector<std::uint64_t> const expected{1, 3};
  BOOST_TEST(s.answered() == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(what_is_not_submitted_is_discarded) {
  user_ring s;
  { auto const dropped = s.commands.try_reserve<command>(); }
  auto first = s.commands.try_reserve<command>().value();
  first->serial = 1;
  auto moved = std::move(first);
  BOOST_TEST(!first);
  BOOST_TEST(first.size() == 0U);
  BOOST_TEST(moved->serial == 1U);
  moved = s.commands.try_reserve<command>().value();  // gives up the one before
  *moved = {2, 1002};
  moved.submit();
  error_code ec;
  moved.submit(ec);
  BOOST_TEST(ec == errc::closed);
  BOOST_CHECK_THROW(moved.submit(), tinybpf::error);
  BOOST_TEST(s.drain() == 1);
  std::vector<std::uint64_t> const expected{2};
  BOOST_TEST(s.answered() == expected, boost::test_tools::per_element());
}

// Of all sizes, many times around the ring, and never more than there is room for.
BOOST_AUTO_TEST_CASE(raw_bytes_around_the_ring) {
  user_ring s;
  std::uint64_t sent = 0;
  std::uint64_t seen = 0;
  std::size_t taken = 0;
  for (std::size_t i = 0; i < 20'000; ++i) {
    auto const size = sizeof(command) + i * 37 % 700;
    auto const bytes = (size + 7) / 8 * 8 + 8;
    auto r = s.commands.try_reserve(size);
    BOOST_TEST_REQUIRE(r.has_value() == (taken + bytes <= ring_size));
    if (r) {
      BOOST_TEST_REQUIRE(r->bytes().size() == size);
      std::memset(r->bytes().data(), 0xab, size);
      command const c{sent, sent + 1000};
      std::memcpy(r->bytes().data(), &c, sizeof c);
      ++sent;
      taken += bytes;
      r->submit();
      continue;
    }
    BOOST_TEST_REQUIRE(s.drain() > 0);
    for (auto const serial : s.answered()) BOOST_TEST_REQUIRE(serial == seen++);
    BOOST_TEST_REQUIRE(seen == sent);
    taken = 0;
  }
}

BOOST_AUTO_TEST_CASE(the_largest_record) {
  user_ring s;
  error_code ec;
  diagnostics details;
  for (int i = 0; i < 3; ++i) {
    auto r = s.commands.try_reserve(ring_size - 8);
    BOOST_TEST_REQUIRE(r.has_value());
    std::memset(r->bytes().data(), 0, r->size());
    r->submit();
    BOOST_TEST(!s.commands.try_reserve(1, ec, details));
    BOOST_TEST(!ec);
    BOOST_TEST(s.drain() == 1);
  }
  for (std::size_t size : {ring_size - 7, ring_size, std::size_t{1} << 30U, std::size_t{1} << 40U, SIZE_MAX}) {
    BOOST_TEST(!s.commands.try_reserve(size, ec, details));
    BOOST_TEST(ec == system_code(E2BIG));
    BOOST_TEST(details.map == "commands");
    BOOST_TEST(details.actual_size == size);
    BOOST_TEST(details.expected_size == ring_size);
    BOOST_TEST(details.message.find("4096") != std::string::npos);
  }
  BOOST_TEST(!s.commands.try_reserve(0, ec));
  BOOST_TEST(ec == system_code(EINVAL));
  BOOST_CHECK_THROW(static_cast<void>(s.commands.try_reserve(0)), tinybpf::error);
}

namespace another {

struct command {
  std::uint32_t serial;
};

}  // namespace another

BOOST_AUTO_TEST_CASE(types_are_held_against_the_objects) {
  user_ring s;
  error_code ec;
  diagnostics details;
  for (int i = 0; i < 2; ++i) {
    BOOST_TEST(!s.commands.try_reserve<another::command>(ec, details));
    BOOST_TEST(ec == errc::type_mismatch);
    BOOST_TEST(details.map == "commands");
    BOOST_CHECK_THROW(static_cast<void>(s.commands.try_reserve<another::command>()), tinybpf::error);
    BOOST_TEST(s.commands.try_reserve<command>(ec).has_value());
    BOOST_TEST(!ec);
  }
  bool refused = false;
  auto const reserve = [&]() -> asio::awaitable<void> {
    try {
      static_cast<void>(co_await s.commands.reserve<another::command>());
    } catch (tinybpf::error const& e) {
      refused = e.code() == errc::type_mismatch;
    }
  };
  s.run(reserve());
  BOOST_TEST(refused);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(waiting)

BOOST_AUTO_TEST_CASE(until_the_kernel_drains) {
  user_ring s;
  s.fill_but(0);
  std::uint64_t sent = 0;
  auto const send = [&]() -> asio::awaitable<void> {
    for (; sent < 3; ++sent) {
      auto r = co_await s.commands.reserve<command>();
      *r = {sent, sent + 1000};
      r.submit();
    }
  };
  bool ended = false;
  asio::co_spawn(s.io, send(), [&](std::exception_ptr e) { ended = !e; });
  for (int i = 0; i < 10; ++i) s.poll();
  BOOST_TEST(sent == 0U);
  BOOST_TEST(s.drain() == 1);
  s.run_until([&] { return ended; });
  BOOST_TEST(s.drain() == 3);
  std::vector<std::uint64_t> const expected{0, 0, 1, 2};  // the one that filled it was all zeroes
  auto serials = std::vector<std::uint64_t>{};
  while (auto const a = s.answers.try_next<answer>()) serials.push_back(a->serial);
  BOOST_TEST(serials == expected, boost::test_tools::per_element());
}

// The map's descriptor is writable while a byte is free: whoever waited on it for more would spin.
BOOST_AUTO_TEST_CASE(without_spinning_in_a_partly_full_ring) {
  user_ring s;
  s.fill_but(20 * command_bytes + 512);
  for (std::uint64_t i = 0; i < 20; ++i) s.send(i);
  waiting_reserve big{s.io, s.commands, 3000};
  std::size_t handlers = 0;
  for (int i = 0; i < 1000; ++i) handlers += s.poll();
  BOOST_TEST(!big.ended);
  BOOST_TEST(handlers <= 2U);
  // The first drain takes what filled it, which is enough.
  BOOST_TEST(s.drain(0, 1) == 1);
  handlers = s.run_until([&] { return big.ended == 1; });
  BOOST_TEST(!big.ec);
  BOOST_TEST(handlers <= 4U);
  BOOST_TEST(big.got.size() == 3000U);
}

BOOST_AUTO_TEST_CASE(once_for_each_drain) {
  user_ring s;
  for (std::uint64_t i = 0; i < ring_size / command_bytes; ++i) s.send(i);
  waiting_reserve all{s.io, s.commands, ring_size - 8};
  std::size_t handlers = s.poll();
  int drains = 0;
  while (s.drain(0, 10) > 0) {
    ++drains;
    for (int i = 0; i < 100; ++i) handlers += s.poll();
  }
  handlers += s.run_until([&] { return all.ended == 1; });
  BOOST_TEST(!all.ec);
  BOOST_TEST(drains == 17);
  BOOST_TEST(handlers <= static_cast<std::size_t>(drains) + 3);
}

BOOST_AUTO_TEST_CASE(for_a_drain_that_tells_nobody) {
  user_ring s;
  s.fill_but(0);
  waiting_reserve r{s.io, s.commands};
  s.poll();
  BOOST_TEST(s.drain(BPF_RB_NO_WAKEUP) == 1);
  for (int i = 0; i < 20; ++i) s.poll();
  BOOST_TEST(!r.ended);
  s.commands.flush();
  s.run_until([&] { return r.ended == 1; });
  BOOST_TEST(!r.ec);
  s.commands.flush();
  BOOST_TEST(s.poll() == 0U);
}

BOOST_AUTO_TEST_CASE(gives_the_loop_its_turn) {
  user_ring s;
  std::size_t turns = 0;
  bool ended = false;
  auto const send = [&]() -> asio::awaitable<void> {
    for (int i = 0; i < 10'000; ++i) {
      auto r = co_await s.commands.reserve<command>();
      r.submit();
      if (i % 100 == 99) s.drain();
      static_cast<void>(s.answers.try_next<answer>());
    }
    ended = true;
  };
  auto const turn = [&](auto const& again) -> void {
    ++turns;
    if (!ended) asio::post(s.io, [&again] { again(again); });
  };
  asio::co_spawn(s.io, send(), [](std::exception_ptr e) {
    if (e) std::rethrow_exception(e);
  });
  asio::post(s.io, [&turn] { turn(turn); });
  s.run_until([&] { return ended; });
  BOOST_TEST(turns >= 9U);
}

BOOST_AUTO_TEST_CASE(by_any_token) {
  user_ring s;
  auto future = s.commands.async_reserve<command>(asio::use_future);
  s.poll();
  auto r = future.get();
  r->serial = 7;
  r.submit();
  diagnostics details;
  error_code ec;
  s.commands.async_reserve(std::size_t{0}, details, [&](error_code e, reservation<> none_reserved) {
    ec = e;
    BOOST_TEST(!none_reserved);
  });
  s.commands.async_reserve<command>(details, [](error_code, reservation<command>) {});
  s.poll();
  BOOST_TEST(ec == system_code(EINVAL));
  BOOST_TEST(details.map == "commands");
  auto const timed = [&]() -> asio::awaitable<void> {
    s.fill_but(2 * command_bytes);
    asio::steady_timer timer{s.io, 1ms};
    auto const first = co_await (s.commands.reserve(1000) || timer.async_wait(asio::use_awaitable));
    BOOST_TEST(first.index() == 1U);
  };
  s.drain();
  s.run(timed());
  BOOST_TEST(s.commands.try_reserve<command>().has_value());
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(ending)

constexpr asio::cancellation_type kinds[] = {asio::cancellation_type::total, asio::cancellation_type::partial,
                                             asio::cancellation_type::terminal};

BOOST_DATA_TEST_CASE(by_a_signal, data::xrange(3U) * data::make({false, true}), kind, with_room) {
  user_ring s;
  if (!with_room) s.fill_but(0);
  waiting_reserve r{s.io, s.commands};
  if (!with_room) s.poll();
  r.signal.emit(kinds[kind]);
  s.run_until([&] { return r.ended == 1; });
  BOOST_TEST(r.ec == operation_aborted);
  BOOST_TEST(!r.got);
  s.drain();
  // Nothing was reserved: all of the ring is free.
  BOOST_TEST(s.commands.try_reserve(ring_size - 8).has_value());
}

BOOST_DATA_TEST_CASE(by_what_happens_to_the_buffer, data::xrange(4) * data::make({false, true}), what, with_room) {
  user_ring s;
  if (!with_room) s.fill_but(0);
  std::optional<user_ring_buffer> buffer{std::move(s.commands)};
  waiting_reserve r{s.io, *buffer};
  if (!with_room) s.poll();
  switch (what) {
    case 0:
      buffer->cancel();
      break;
    case 1:
      buffer->close();
      buffer->close();
      BOOST_TEST(!buffer->is_open());
      break;
    case 2:
      buffer.reset();
      break;
    default:
      *buffer = user_ring_buffer{};
  }
  BOOST_TEST(!r.ended);
  s.run_until([&] { return r.ended == 1; });
  BOOST_TEST(r.ec == operation_aborted);
  BOOST_TEST(!r.got);
  if (what != 0) return;
  s.drain();
  BOOST_TEST(buffer->try_reserve(ring_size - 8).has_value());
}

BOOST_AUTO_TEST_CASE(moving_ends_nothing) {
  user_ring s;
  s.fill_but(0);
  waiting_reserve r{s.io, s.commands};
  s.poll();
  auto moved = std::move(s.commands);
  s.drain();
  s.run_until([&] { return r.ended == 1; });
  BOOST_TEST(!r.ec);
  BOOST_TEST(r.got.size() == 64U);
}

BOOST_AUTO_TEST_CASE(one_at_a_time) {
  user_ring s;
  s.fill_but(0);
  waiting_reserve first{s.io, s.commands};
  waiting_reserve second{s.io, s.commands};
  s.run_until([&] { return second.ended == 1; });
  BOOST_TEST(second.ec == errc::operation_in_progress);
  error_code ec;
  BOOST_TEST(!s.commands.try_reserve<command>(ec));
  BOOST_TEST(ec == errc::operation_in_progress);
  bool refused = false;
  auto const reserve = [&]() -> asio::awaitable<void> {
    try {
      static_cast<void>(co_await s.commands.reserve<command>());
    } catch (tinybpf::error const& e) {
      refused = e.code() == errc::operation_in_progress;
    }
  };
  s.run(reserve());
  BOOST_TEST(refused);
  BOOST_TEST(!first.ended);
  s.drain();
  s.run_until([&] { return first.ended == 1; });
  BOOST_TEST(!first.ec);
}

BOOST_AUTO_TEST_CASE(a_record_after_its_buffer) {
  user_ring s;
  auto a = s.commands.try_reserve<command>().value();
  auto b = s.commands.try_reserve<command>().value();
  auto awaited = s.commands.reserve<command>();
  s.commands.close();
  a->serial = 1;
  error_code ec;
  a.submit(ec);
  BOOST_TEST(ec == errc::closed);
  BOOST_TEST(!a);
  s.commands = user_ring_buffer{};
  b->serial = 2;
  BOOST_CHECK_THROW(b.submit(), tinybpf::error);
  BOOST_TEST(!b);
  // Both were discarded, so the kernel is not kept waiting.
  BOOST_TEST(s.drain() == 0);
  user_ring_buffer again{s.io, s.obj.map("commands")};
  auto c = again.try_reserve<command>().value();
  *c = {3, 1003};
  c.submit();
  BOOST_TEST(s.drain() == 1);
  std::vector<std::uint64_t> const expected{3};
  BOOST_TEST(s.answered() == expected, boost::test_tools::per_element());
  bool refused = false;
  asio::co_spawn(s.io, std::move(awaited), [&](std::exception_ptr const& e, reservation<command>) {
    try {
      if (e) std::rethrow_exception(e);
    } catch (tinybpf::error const& failed) {
      refused = failed.code() == errc::closed;
    }
  });
  s.run_until([&] { return refused; });
}

BOOST_AUTO_TEST_CASE(a_loop_that_is_destroyed_with_a_reserve_pending) {
  {
    std::optional<user_ring> s{std::in_place};
    auto kept = s->commands.try_reserve<command>();
    BOOST_TEST_REQUIRE(s->commands.try_reserve(ring_size - 2 * command_bytes).has_value());
    s->commands.async_reserve(std::size_t{3000}, [](error_code, reservation<>) { BOOST_TEST(false); });
    s->poll();
    s->obj.close();
    BOOST_TEST(kept.has_value());
    s->commands = user_ring_buffer{};
    kept.reset();
    s.reset();
  }
}

// In the reactor, and with all that it waits with in its frame.
BOOST_AUTO_TEST_CASE(a_loop_that_is_destroyed_with_a_coroutine_waiting) {
  auto const obj = tinybpf::load(USER_RING_BPF_O);
  std::optional<asio::io_context> io{std::in_place};
  auto const wait = [&]() -> asio::awaitable<void> {
    user_ring_buffer commands{*io, obj.map("commands")};
    auto kept = commands.try_reserve<command>();
    auto filled = commands.try_reserve(3000);
    static_cast<void>(co_await commands.reserve(2000));
  };
  asio::co_spawn(*io, wait(), [](std::exception_ptr) { BOOST_TEST(false); });
  io->poll();
  io.reset();
}

// Destroyed with its own loop while it waits on the buffer's, a coroutine leaves the buffer to others.
BOOST_AUTO_TEST_CASE(a_coroutine_that_is_destroyed_with_its_loop) {
  user_ring s;
  s.fill_but(0);
  {
    asio::io_context other;
    asio::co_spawn(
        other,
        [](user_ring_buffer& b) -> asio::awaitable<void> { static_cast<void>(co_await b.reserve(8)); }(s.commands),
        [](std::exception_ptr) { BOOST_TEST(false); });
    other.run_one();
    s.poll();
  }
  s.drain();
  s.poll();
  error_code ec;
  auto const r = s.commands.try_reserve<command>(ec);
  BOOST_TEST(!ec);
  BOOST_TEST(r.has_value());
}

// A child that only lets go of what it has changes nothing for its parent.
BOOST_AUTO_TEST_CASE(in_a_forked_child) {
  user_ring s;
  auto kept = s.commands.try_reserve<command>().value();
  *kept = {1, 1001};
  auto const filled = s.commands.try_reserve(ring_size - command_bytes - 8);
  waiting_reserve r{s.io, s.commands, 8};
  s.poll();
  auto const child = fork();
  if (child == 0) {
    kept.discard();
    s.commands.cancel();
    s.commands.close();
    _exit(0);
  }
  int status = -1;
  BOOST_TEST_REQUIRE(waitpid(child, &status, 0) == child);
  BOOST_TEST(status == 0);
  BOOST_TEST(s.drain() == 0);
  kept.submit();
  BOOST_TEST(s.drain() == 1);
  s.run_until([&] { return r.ended == 1; });
  BOOST_TEST(r.ec == error_code{});
  BOOST_TEST(filled.has_value());
  std::vector<std::uint64_t> const expected{1};
  BOOST_TEST(s.answered() == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(close_comes_first) {
  user_ring s;
  s.fill_but(0);
  waiting_reserve r{s.io, s.commands};
  s.poll();
  s.commands.close();
  error_code ec;
  BOOST_TEST(!s.commands.try_reserve<command>(ec));
  BOOST_TEST(ec == errc::closed);
  waiting_reserve late{s.io, s.commands};
  s.run_until([&] { return r.ended == 1 && late.ended == 1; });
  BOOST_TEST(r.ec == operation_aborted);
  BOOST_TEST(late.ec == errc::closed);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(refused)

// The kernel reads no record of 16 MiB, and would never get past one.
BOOST_AUTO_TEST_CASE(what_the_kernel_cannot_read) {
  constexpr std::size_t size = 64U << 20U;
  std::vector<std::uint64_t> positions(2);
  auto* const data =
      mmap(nullptr, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  BOOST_TEST_REQUIRE(data != MAP_FAILED);
  asio::io_context io;
  {
    tinybpf::detail::user_ring_source source;
    source.regions = {&positions[0], &positions[1], static_cast<std::byte*>(data), size};
    source.descriptor.reset(test::checked(eventfd(0, EFD_CLOEXEC), "eventfd"));
    source.name = "large";
    user_ring_buffer large{io.get_executor(), std::move(source)};
    error_code ec;
    diagnostics details;
    BOOST_TEST(!large.try_reserve(1U << 24U, ec, details));
    BOOST_TEST(ec == system_code(E2BIG));
    BOOST_TEST(details.message.find("16 MiB") != std::string::npos);
    BOOST_TEST(large.try_reserve((1U << 24U) - 1, ec).has_value());
    BOOST_TEST(!ec);
  }
  munmap(data, 2 * size);
}

BOOST_AUTO_TEST_CASE(what_is_no_user_ring) {
  user_ring s;
  error_code ec;
  diagnostics details;
  user_ring_buffer wrong{s.io.get_executor(), s.obj.map("answers"), ec, details};
  BOOST_TEST(ec == errc::wrong_map_type);
  BOOST_TEST(details.map == "answers");
  BOOST_TEST(!wrong.is_open());
  BOOST_CHECK_THROW((user_ring_buffer{s.io, s.obj.map("answers")}), tinybpf::error);
  user_ring_buffer of_nothing{s.io.get_executor(), tinybpf::map{}, ec};
  BOOST_TEST(ec == errc::closed);
  auto const opened = tinybpf::object::open(USER_RING_BPF_O);
  user_ring_buffer not_loaded{s.io.get_executor(), opened.map("commands"), ec};
  BOOST_TEST(ec == errc::not_loaded);
}

BOOST_AUTO_TEST_CASE(a_closed_buffer) {
  user_ring s;
  auto moved = std::move(s.commands);
  moved.close();
  for (auto* const b : {&s.commands, &moved}) {
    error_code ec;
    diagnostics details;
    BOOST_TEST(!b->is_open());
    BOOST_TEST(b->native_handle() == -1);
    BOOST_TEST(!b->try_reserve<command>(ec, details));
    BOOST_TEST(ec == errc::closed);
    BOOST_TEST(!details.message.empty());
    BOOST_TEST(!b->try_reserve(5, ec));
    BOOST_TEST(ec == errc::closed);
    BOOST_CHECK_THROW(static_cast<void>(b->try_reserve<command>()), tinybpf::error);
    waiting_reserve r{s.io, *b};
    BOOST_TEST(!r.ended);
    s.run_until([&] { return r.ended == 1; });
    BOOST_TEST(r.ec == errc::closed);
    b->cancel();
    b->flush();
    b->close();
  }
  BOOST_CHECK_THROW(static_cast<void>(s.commands.get_executor()), tinybpf::error);
}

BOOST_AUTO_TEST_SUITE_END()

// A writer and a kernel that drains on another CPU: every command is answered once, in order.
BOOST_AUTO_TEST_CASE(a_hundred_thousand_answers) {
  constexpr std::uint64_t count = 100'000;
  user_ring s;
  std::atomic<bool> done{false};
  std::thread kernel{[&] {
    while (!done) s.drain();
  }};
  std::uint64_t next = 0;
  auto const write = [&]() -> asio::awaitable<void> {
    for (std::uint64_t i = 0; i < count; ++i) {
      auto r = co_await s.commands.reserve<command>();
      *r = {i, i + 1000};
      if (i % 7 == 3) {
        auto const dropped = s.commands.try_reserve(100);
      }
      r.submit();
    }
  };
  auto const read = [&]() -> asio::awaitable<void> {
    while (next < count) {
      auto const a = co_await s.answers.next<answer>();
      if (a.serial != next) throw std::runtime_error{"lost, repeated or out of order"};
      ++next;
    }
  };
  try {
    s.run([](auto w, auto r) -> asio::awaitable<void> { co_await (std::move(w) && std::move(r)); }(write(), read()));
  } catch (...) {
    done = true;
    kernel.join();
    throw;
  }
  done = true;
  kernel.join();
  BOOST_TEST(next == count);
  BOOST_TEST(s.answers.lost().value() == 0U);
}
