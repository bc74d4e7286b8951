// Reading perf buffers on a loop, without a kernel: when their writers may wake us, and what is told of losses and of
// memory that is bad.
#include "busy_workers.hpp"
#include "fake_perf.hpp"
#include "loop.hpp"
#include "print.hpp"
#include "support.hpp"

#include <tinybpf/perf_buffer.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <linux/perf_event.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace perf_fake_test {  // with a name: g++ 12 warns of coroutine templates over types without linkage

namespace asio = boost::asio;
namespace data = boost::unit_test::data;
using asio::error::operation_aborted;
using namespace std::chrono_literals;
using test::fake_perf;
using test::perf_call;
using tinybpf::bytes;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::lost;
using tinybpf::perf_buffer;
using tinybpf::record;
using tinybpf::wakeup_policy;
using calls = std::vector<perf_call>;

constexpr auto on = perf_call::on;
constexpr auto off = perf_call::off;
constexpr auto on_refused = perf_call::on_refused;
constexpr auto off_refused = perf_call::off_refused;
constexpr auto closed = perf_call::close;

/// Shown as a copy, for it asks for an alignment of 8; 32 bytes in the buffer.
struct numbered {
  std::uint64_t number;
  std::uint64_t check;
};
numbered number(std::uint64_t n) { return {n, ~n}; }
bool intact(numbered const& n) { return n.check == ~n.number; }
constexpr std::size_t step = fake_perf::step_of(sizeof(numbered));

/// Seen where it is; 24 bytes in the buffer.
struct small {
  std::uint32_t number;
  std::uint32_t check;
  std::uint32_t rest;
};

/// A header with a tail.
struct tailed {
  std::uint32_t kind;
  std::uint32_t length;
};

}  // namespace perf_fake_test

template <>
struct tinybpf::event_traits<perf_fake_test::tailed> {
  static constexpr auto size = tinybpf::size_rule::at_least;
};

namespace perf_fake_test {

/// Any pause of a buffer of this size is long enough to be made.
constexpr std::size_t roomy = 1U << 20U;

/// A loop and the buffer of CPU 3.
struct fixture : test::loop {
  explicit fixture(std::size_t size = roomy) : perf{size} {}

  void emit(std::uint64_t n) { BOOST_TEST_REQUIRE(perf.emit(number(n))); }
  void emit_many(std::uint64_t first, std::uint64_t count) {
    for (auto n = first; n < first + count; ++n) emit(n);
  }

  /// Begins to read one event.
  void begin(perf_buffer& from) {
    got.reset();
    ended.reset();
    from.async_next<numbered>([this](error_code ec, numbered const& e) {
      ended = ec;
      if (!ec) got = e;
    });
  }
  /// Checks that it comes.
  void expect(std::uint64_t n) {
    run_until([&] { return ended.has_value(); });
    BOOST_TEST(!*ended);
    BOOST_TEST_REQUIRE(got.has_value());
    BOOST_TEST(got->number == n);
    BOOST_TEST(intact(*got));
  }
  /// Runs the loop until a wait was armed on that buffer, of which there were `before`.
  void sleep(fake_perf const& on_that, std::uint64_t before) {
    run_until([&] { return on_that.armed() > before; });
  }
  /// Reads one event and, waiting for another, pauses: the writer was told to be quiet.
  void fall_quiet(std::uint64_t n) {
    auto const before = perf.count(off);
    emit(n);
    begin(buffer);
    expect(n);
    begin(buffer);
    run_until([&] { return perf.count(off) > before; });
  }

  fake_perf perf;
  perf_buffer buffer{io.get_executor(), perf.source("events", 3)};
  std::optional<error_code> ended;
  std::optional<numbered> got;
};

BOOST_AUTO_TEST_SUITE(reading)

BOOST_FIXTURE_TEST_CASE(by_every_verb, fixture) {
  emit_many(0, 12);
  BOOST_TEST(buffer.try_next<numbered>()->number == 0U);
  error_code ec;
  BOOST_TEST(buffer.try_next<numbered>(ec)->number == 1U);
  BOOST_TEST(!ec);
  auto view = buffer.typed<numbered>();
  BOOST_TEST(view.try_next()->number == 2U);
  run([](perf_buffer& b) -> asio::awaitable<void> {
    BOOST_TEST((co_await b.next<numbered>()).number == 3U);
    BOOST_TEST((co_await b.next<numbered>()).number == 4U);
    std::uint64_t next = 5;
    for (numbered const& e : co_await b.read_some<numbered>(3)) BOOST_TEST(e.number == next++);
    BOOST_TEST(next == 8U);
  }(buffer));
  begin(buffer);
  expect(8);
  std::optional<error_code> some;
  buffer.async_read_some<numbered>(1, [&](error_code e, tinybpf::batch<numbered> range) {
    some = e;
    for (numbered const& n : range) BOOST_TEST(n.number == 9U);
  });
  run_until([&] { return some.has_value(); });
  BOOST_TEST(!*some);
  BOOST_TEST(buffer.consume<numbered>([](numbered const&) {}) == 2U);
  BOOST_TEST(!buffer.try_next<numbered>(ec));
  BOOST_TEST(!ec);
  BOOST_TEST(perf.unread() == 0U);
}

BOOST_FIXTURE_TEST_CASE(with_all_that_is_known, fixture) {
  emit_many(0, 3);
  for (std::uint64_t n = 0; n < 3; ++n) {
    auto const r = buffer.try_next<record<numbered>>();
    BOOST_TEST_REQUIRE(r.has_value());
    BOOST_TEST(r->cpu() == 3);
    BOOST_TEST(r->map() == "events");
    BOOST_TEST(r->position() == n * step);
    BOOST_TEST((*r)->number == n);
    BOOST_TEST(reinterpret_cast<std::uintptr_t>(&**r) % alignof(numbered) == 0U);
    BOOST_TEST(r->data().size() == sizeof(numbered));  // what follows is padding
    BOOST_TEST(r->trailing().empty());
  }
  std::string const tail = "/bin/true";
  std::string text(sizeof(tailed), '\0');
  text += tail;
  BOOST_TEST_REQUIRE(perf.emit(text));
  BOOST_TEST_REQUIRE(perf.emit(text));
  auto const r = buffer.try_next<record<tailed>>();
  BOOST_TEST_REQUIRE(r.has_value());
  BOOST_TEST(r->cpu() == 3);
  BOOST_TEST(r->trailing().size() == fake_perf::padded(text.size()) - sizeof(tailed));
  BOOST_TEST(tinybpf::to_string_view(r->trailing().first(tail.size())) == tail);
  auto const b = buffer.try_next<bytes>();
  BOOST_TEST_REQUIRE(b.has_value());
  BOOST_TEST(b->size() == fake_perf::padded(text.size()));
}

// In runs and beside them, in ranges and by copies, through a small buffer many times.
BOOST_DATA_TEST_CASE(around_the_end, data::make({4096U, 8192U}), size) {
  fixture f{size};
  std::uint64_t written = 0;
  std::uint64_t read = 0;
  auto const regions = f.perf.regions();
  std::uint64_t in_place = 0;
  std::uint64_t copied = 0;
  for (std::uint32_t lap = 0; lap < 400; ++lap) {
    auto const first = written;
    for (std::uint32_t i = 0; i < 40; ++i) {
      auto const n = static_cast<std::uint32_t>(written++);
      BOOST_TEST_REQUIRE(f.perf.emit(small{n, ~n, 0}));
    }
    BOOST_TEST_REQUIRE(f.perf.emit(std::string(lap % 29, 'x')));
    f.buffer.consume<small, bytes>([&](std::variant<small, bytes> const&) { return ++read % 3 != 0; });
    BOOST_TEST_REQUIRE(read == first + 3 - first % 3);
    while (read < written)
      if (auto const e = f.buffer.try_next<small>()) {
        BOOST_TEST_REQUIRE(e->number == read++);
        BOOST_TEST_REQUIRE(e->check == ~e->number);
        if (read % 16 != 0 || read == written) continue;
        f.run([&]() -> asio::awaitable<void> {
          for (small const& s : co_await f.buffer.read_some<small>(std::min<std::size_t>(8, written - read))) {
            BOOST_TEST_REQUIRE(s.number == read++);
            auto const* const at = reinterpret_cast<std::byte const*>(&s);
            bool const inside = at >= regions.data && at + sizeof s <= regions.data + regions.size;
            ++(inside ? in_place : copied);
          }
        }());
      }
    BOOST_TEST_REQUIRE(f.buffer.try_next<bytes>().has_value());
  }
  BOOST_TEST(in_place > 1000U);
  BOOST_TEST(copied > 0U);
  BOOST_TEST(f.buffer.lost().value() == 0U);
}

// An event that comes while the reader waits.
BOOST_FIXTURE_TEST_CASE(waiting, fixture) {
  buffer.set_wakeup_policy(wakeup_policy::immediate());
  for (std::uint64_t n = 0; n < 100; ++n) {
    begin(buffer);
    sleep(perf, n);
    BOOST_TEST(!got);
    emit(n);
    expect(n);
  }
  BOOST_TEST(perf.armed() == 100U);
  BOOST_TEST(perf.notifications() == 100U);
}

// An event that is told before the wait is armed is told to nobody, so the reader looks once more.
BOOST_FIXTURE_TEST_CASE(just_before_the_wait_is_armed, fixture) {
  buffer.set_wakeup_policy(wakeup_policy::immediate());
  for (std::uint64_t n = 0; n < 100; ++n) {
    perf.when_armed([&] { emit(n); });
    begin(buffer);
    expect(n);
  }
  // Also one that is not told at all.
  auto const e = number(7);
  perf.when_armed([&] { BOOST_TEST_REQUIRE(perf.output_quietly(std::as_bytes(std::span{&e, 1}))); });
  begin(buffer);
  expect(7);
  perf.when_armed({});
}

BOOST_FIXTURE_TEST_CASE(flush_finds_what_woke_nobody, fixture) {
  buffer.set_wakeup_policy(wakeup_policy::immediate());
  begin(buffer);
  sleep(perf, 0);
  auto const e = number(5);
  BOOST_TEST_REQUIRE(perf.output_quietly(std::as_bytes(std::span{&e, 1})));
  poll();
  BOOST_TEST(!got);
  buffer.flush();
  expect(5);
}

// The events of each CPU come in their order, and whichever comes wakes.
BOOST_AUTO_TEST_CASE(of_several_cpus) {
  test::loop loop;
  std::array<fake_perf, 3> perfs{fake_perf{4096}, fake_perf{4096}, fake_perf{4096}};
  perf_buffer buffer{loop.io.get_executor()};
  buffer.set_wakeup_policy(wakeup_policy::immediate());
  for (int cpu = 0; cpu < 3; ++cpu) buffer.add(perfs.at(static_cast<std::size_t>(cpu)).source("events", cpu));
  std::array<std::uint64_t, 3> next{};
  std::uint64_t read = 0;
  loop.run([&]() -> asio::awaitable<void> {
    for (std::uint64_t round = 0; round < 60; ++round) {
      // Once it waits.
      auto const armed = perfs[0].armed();
      auto const write = [&](auto self) -> void {
        if (perfs[0].armed() == armed) return asio::post(loop.io, [self] { self(self); });
        auto& perf = perfs.at(round % 3);
        for (std::uint64_t i = 0; i <= round; ++i) BOOST_TEST_REQUIRE(perf.emit(number(next.at(round % 3) + i)));
      };
      asio::post(loop.io, [write] { write(write); });
      for (std::uint64_t i = 0; i <= round; ++i) {
        auto const r = co_await buffer.next<record<numbered>>();
        BOOST_TEST_REQUIRE(r.cpu() == static_cast<int>(round % 3));
        BOOST_TEST_REQUIRE(r->number == next.at(round % 3)++);
        ++read;
      }
    }
  }());
  BOOST_TEST(read == 60U * 61 / 2);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(wake_ups)

BOOST_FIXTURE_TEST_CASE(are_on_from_the_beginning, fixture) { BOOST_TEST(perf.calls() == calls{on}); }

// Off while the policy pauses, and on again before it waits.
BOOST_FIXTURE_TEST_CASE(are_off_while_the_policy_pauses, fixture) {
  buffer.set_wakeup_policy(wakeup_policy::moderated(200us));
  fall_quiet(1);
  BOOST_TEST((perf.calls() == calls{on, off}));
  BOOST_TEST(perf.armed() == 0U);
  BOOST_TEST(perf.unread() == 0U);  // nothing is held back
  // Nobody pays for these.
  auto const notified = perf.notifications();
  emit_many(2, 20);
  BOOST_TEST(perf.notifications() == notified);
  for (std::uint64_t n = 2; n < 22; ++n) {
    expect(n);
    begin(buffer);
  }
  // It reads, it pauses once more, and finds that all is quiet.
  sleep(perf, 0);
  BOOST_TEST((perf.calls() == calls{on, off, on}));
  BOOST_TEST(perf.armed() == 1U);
  BOOST_TEST(perf.notifications() == notified);
  emit(22);
  BOOST_TEST(perf.notifications() == notified + 1);
  expect(22);
}

// For as long as they are off nothing is asked again, and nothing while they are on and nothing comes.
BOOST_FIXTURE_TEST_CASE(are_switched_only_when_there_is_need, fixture) {
  buffer.set_wakeup_policy(wakeup_policy::moderated(200us));
  for (std::uint64_t round = 0; round < 5; ++round) {
    fall_quiet(10 * round);
    // Each pause finds something.
    for (std::uint64_t n = 10 * round + 1; n < 10 * (round + 1); ++n) {
      emit(n);
      expect(n);
      begin(buffer);
    }
    sleep(perf, round);
    BOOST_TEST(perf.count(off) == round + 1);
    BOOST_TEST(perf.count(on) == round + 2);
    BOOST_TEST(perf.loud());
    buffer.cancel();
    run_until([&] { return ended.has_value(); });
    BOOST_TEST(*ended == operation_aborted);
  }
}

BOOST_FIXTURE_TEST_CASE(are_never_off_when_immediate, fixture) {
  buffer.set_wakeup_policy(wakeup_policy::immediate());
  for (std::uint64_t n = 0; n < 200; n += 2) {
    emit(n);
    begin(buffer);
    expect(n);
    begin(buffer);
    sleep(perf, n / 2);
    emit(n + 1);
    expect(n + 1);
  }
  BOOST_TEST(perf.calls() == calls{on});
}

// In a small buffer a fast writer leaves no time for a pause.
BOOST_AUTO_TEST_CASE(are_never_off_in_a_small_buffer) {
  fixture f{1U << 16U};
  f.buffer.set_wakeup_policy(wakeup_policy::moderated(200us));
  for (std::uint64_t n = 0; n < 20; ++n) {
    f.emit(n);
    f.begin(f.buffer);
    f.expect(n);
    f.begin(f.buffer);
    f.sleep(f.perf, n);
    f.buffer.cancel();
    f.run_until([&] { return f.ended.has_value(); });
  }
  BOOST_TEST(f.perf.calls() == calls{on});
}

BOOST_FIXTURE_TEST_CASE(come_back_with_another_policy, fixture) {
  buffer.set_wakeup_policy(wakeup_policy::moderated(200us));
  fall_quiet(1);
  buffer.set_wakeup_policy(wakeup_policy::immediate());
  sleep(perf, 0);
  BOOST_TEST((perf.calls() == calls{on, off, on}));
  emit(2);
  expect(2);
}

// Who means to poll by other means hands back what was read, and is woken from then on.
BOOST_FIXTURE_TEST_CASE(come_back_with_publish, fixture) {
  buffer.set_wakeup_policy(wakeup_policy::moderated(200us));
  fall_quiet(1);
  buffer.cancel();
  run_until([&] { return ended.has_value(); });
  BOOST_TEST(!perf.loud());
  buffer.publish();
  BOOST_TEST((perf.calls() == calls{on, off, on}));
  buffer.publish();
  BOOST_TEST((perf.calls() == calls{on, off, on}));
  emit(2);
  pollfd p{buffer.native_handle(), POLLIN, 0};
  BOOST_TEST(::poll(&p, 1, 0) == 1);
  BOOST_TEST(buffer.try_next<numbered>()->number == 2U);
}

// A wait that was cancelled in a pause leaves them off; the next one sees to it.
BOOST_FIXTURE_TEST_CASE(come_back_with_the_next_wait, fixture) {
  buffer.set_wakeup_policy(wakeup_policy::moderated(200us));
  fall_quiet(1);
  buffer.cancel();
  run_until([&] { return ended.has_value(); });
  BOOST_TEST(*ended == operation_aborted);
  emit(2);
  begin(buffer);
  expect(2);
  begin(buffer);
  sleep(perf, 0);
  BOOST_TEST(perf.loud());
  emit(3);
  expect(3);
}

// Only of those that write: others have nothing to be kept from.
BOOST_AUTO_TEST_CASE(are_off_for_those_who_write) {
  fixture f;
  fake_perf idle{roomy};
  fake_perf other{roomy};
  f.buffer.add(idle.source("events", 4));
  f.buffer.add(other.source("events", 5));
  f.buffer.set_wakeup_policy(wakeup_policy::moderated(200us));
  BOOST_TEST_REQUIRE(other.emit(number(0)));
  f.begin(f.buffer);
  f.expect(0);
  f.fall_quiet(1);
  BOOST_TEST((f.perf.calls() == calls{on, off}));
  BOOST_TEST((other.calls() == calls{on, off}));
  BOOST_TEST(idle.calls() == calls{on});
  // The idle one ends the pause of none, and is found when that is over.
  BOOST_TEST_REQUIRE(idle.emit(number(2)));
  f.expect(2);
  f.begin(f.buffer);
  f.sleep(f.perf, 0);
  for (auto const* const p : {&f.perf, &other}) BOOST_TEST((p->calls() == calls{on, off, on}));
  BOOST_TEST(idle.loud());
  BOOST_TEST_REQUIRE(other.emit(number(3)));
  f.expect(3);
}

// Nobody waits before they are on: until then the reader looks by itself.
BOOST_FIXTURE_TEST_CASE(that_cannot_be_switched_on_are_asked_for_again, fixture) {
  buffer.set_wakeup_policy(wakeup_policy::moderated(200us));
  fall_quiet(0);
  perf.refuse_wakeups(true, 40);
  std::uint64_t next = 1;
  for (std::size_t refusals = 3; refusals <= 30; refusals += 3) {
    run_until([&] { return perf.count(on_refused) >= refusals; });
    BOOST_TEST(!got);
    BOOST_TEST(!perf.loud());
    emit(next);
    expect(next++);
    begin(buffer);
  }
  BOOST_TEST(perf.armed() == 0U);
  BOOST_TEST(perf.count(on) == 1U);
  sleep(perf, 0);
  BOOST_TEST(perf.count(on_refused) == 40U);
  BOOST_TEST(perf.count(on) == 2U);
  BOOST_TEST(perf.loud());
  emit(next);
  expect(next);
  BOOST_TEST(buffer.lost().value() == 0U);
}

// Where one of several cannot be switched on, the others are not asked twice.
BOOST_AUTO_TEST_CASE(that_cannot_all_be_switched_on) {
  fixture f;
  fake_perf other{roomy};
  f.buffer.add(other.source("events", 4));
  f.buffer.set_wakeup_policy(wakeup_policy::moderated(200us));
  BOOST_TEST_REQUIRE(other.emit(number(0)));
  f.begin(f.buffer);
  f.expect(0);
  f.fall_quiet(1);
  BOOST_TEST(!f.perf.loud());
  BOOST_TEST(!other.loud());
  other.refuse_wakeups(true, 5);
  f.sleep(f.perf, 0);
  BOOST_TEST((f.perf.calls() == calls{on, off, on}));
  BOOST_TEST((other.calls() == calls{on, off, on_refused, on_refused, on_refused, on_refused, on_refused, on}));
  BOOST_TEST_REQUIRE(other.emit(number(2)));
  f.expect(2);
}

BOOST_FIXTURE_TEST_CASE(that_cannot_be_switched_off_stay_on, fixture) {
  buffer.set_wakeup_policy(wakeup_policy::moderated(200us));
  perf.refuse_wakeups(false, 1);
  emit(0);
  begin(buffer);
  expect(0);
  begin(buffer);
  sleep(perf, 0);
  BOOST_TEST((perf.calls() == calls{on, off_refused}));
  emit(1);
  expect(1);
  begin(buffer);
  // It is tried again, and then on again.
  sleep(perf, 1);
  BOOST_TEST((perf.calls() == calls{on, off_refused, off, on}));
  emit(2);
  expect(2);
}

// A BPF program may have begun to write before it was told to wake the reader: when all that ran then have ended, what
// they wrote is looked for.
BOOST_FIXTURE_TEST_CASE(that_come_too_late_are_made_up_for, fixture) {
  test::busy_workers held{io};
  buffer.set_wakeup_policy(wakeup_policy::moderated(200us));
  fall_quiet(1);
  sleep(perf, 0);
  BOOST_TEST(perf.loud());
  auto const e = number(2);
  auto const notified = perf.notifications();
  BOOST_TEST_REQUIRE(perf.output_quietly(std::as_bytes(std::span{&e, 1})));
  BOOST_TEST(perf.notifications() == notified);
  poll();
  BOOST_TEST(!got);
  held.release();
  expect(2);
  BOOST_TEST(perf.notifications() == notified);
}

// The same again, while the first time is still waited for.
BOOST_FIXTURE_TEST_CASE(that_come_too_late_twice, fixture) {
  test::busy_workers held{io};
  buffer.set_wakeup_policy(wakeup_policy::moderated(200us));
  for (std::uint64_t n = 0; n < 3; ++n) {
    fall_quiet(n);
    sleep(perf, n);
    BOOST_TEST(perf.loud());
    buffer.cancel();
    run_until([&] { return ended.has_value(); });
  }
  begin(buffer);
  sleep(perf, 3);
  auto const e = number(9);
  BOOST_TEST_REQUIRE(perf.output_quietly(std::as_bytes(std::span{&e, 1})));
  held.release();
  expect(9);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(losses)

using event_or_lost = std::variant<numbered, lost>;

// Fills the buffer, and loses so many more.
std::uint64_t fill_and_lose(fake_perf& perf, std::uint64_t first, std::uint64_t more) {
  auto n = first;
  while (perf.emit(number(n))) ++n;
  for (std::uint64_t i = 1; i < more; ++i) BOOST_TEST_REQUIRE(!perf.emit(number(0)));
  return n - first;
}

void check_lost(std::optional<event_or_lost> const& e, int cpu, std::uint64_t count) {
  BOOST_TEST_REQUIRE(e.has_value());
  BOOST_TEST_REQUIRE(std::holds_alternative<lost>(*e));
  BOOST_TEST(std::get<lost>(*e).cpu == cpu);
  BOOST_TEST(std::get<lost>(*e).count == count);
}

void check_number(std::optional<event_or_lost> const& e, std::uint64_t n) {
  BOOST_TEST_REQUIRE(e.has_value());
  BOOST_TEST_REQUIRE(std::holds_alternative<numbered>(*e));
  BOOST_TEST(std::get<numbered>(*e).number == n);
}

struct small_fixture : fixture {
  small_fixture() : fixture{4096} {}
};

BOOST_FIXTURE_TEST_CASE(are_told_where_they_were, small_fixture) {
  auto const written = fill_and_lose(perf, 0, 5);
  BOOST_TEST(buffer.lost().value() == 5U);  // known before it can be told where
  for (std::uint64_t n = 0; n < written; ++n) check_number(buffer.try_next<numbered, lost>(), n);
  BOOST_TEST(!(buffer.try_next<numbered, lost>()));
  emit(100);
  emit(101);
  check_lost(buffer.try_next<numbered, lost>(), 3, 5);
  check_number(buffer.try_next<numbered, lost>(), 100);
  check_number(buffer.try_next<numbered, lost>(), 101);
  BOOST_TEST(!(buffer.try_next<numbered, lost>()));
}

BOOST_FIXTURE_TEST_CASE(are_told_by_every_verb, small_fixture) {
  std::uint64_t next = 0;
  for (int verb = 0; verb < 6; ++verb) {
    BOOST_TEST_CONTEXT("verb " << verb) {
      auto const written = fill_and_lose(perf, 0, 2);
      BOOST_TEST(buffer.consume<bytes>([](bytes) {}) == written);
      buffer.publish();
      next += 10;
      emit(next);
      std::optional<event_or_lost> first;
      std::optional<event_or_lost> second;
      switch (verb) {
        case 0: {
          error_code ec;
          first = buffer.try_next<numbered, lost>(ec);
          second = buffer.try_next<numbered, lost>(ec);
          break;
        }
        case 1:
          run([&]() -> asio::awaitable<void> {
            first = co_await buffer.next<numbered, lost>();
            second = co_await buffer.next<numbered, lost>();
          }());
          break;
        case 2:
          buffer.consume<numbered, lost>([&](event_or_lost const& e) { (first ? second : first) = e; });
          break;
        case 3:
          run([&]() -> asio::awaitable<void> {
            for (event_or_lost const& e : co_await buffer.read_some<numbered, lost>(8)) (first ? second : first) = e;
          }());
          break;
        case 4:
          buffer.async_next<numbered, lost>([&](error_code, event_or_lost const& e) {
            first = e;
            buffer.async_next<numbered, lost>([&](error_code, event_or_lost const& f) { second = f; });
          });
          run_until([&] { return second.has_value(); });
          break;
        default:
          run(buffer.async_run<numbered, lost>([&](event_or_lost const& e) {
            (first ? second : first) = e;
            return !second.has_value();
          }));
      }
      check_lost(first, 3, 2);
      check_number(second, next);
    }
  }
  BOOST_TEST(buffer.lost().value() == 12U);
}

// Who did not ask has lost nothing of what is told later.
BOOST_FIXTURE_TEST_CASE(that_nobody_asked_for_are_kept, small_fixture) {
  fill_and_lose(perf, 0, 3);
  BOOST_TEST(buffer.consume<numbered>([](numbered const&) {}) > 0U);
  buffer.publish();
  emit(1);
  BOOST_TEST(buffer.try_next<numbered>()->number == 1U);
  emit(2);
  check_lost(buffer.try_next<numbered, lost>(), 3, 3);
  check_number(buffer.try_next<numbered, lost>(), 2);
}

// A range that is left before its losses were looked at has not told them.
BOOST_FIXTURE_TEST_CASE(in_a_range_that_was_left, small_fixture) {
  fill_and_lose(perf, 0, 3);
  buffer.consume<numbered>([](numbered const&) {});
  buffer.publish();
  emit(1);
  run([&]() -> asio::awaitable<void> {
    {
      auto range = co_await buffer.read_some<numbered, lost>(8);
      BOOST_TEST(!range.empty());
    }
    for (int i = 0; i < 2; ++i)
      for (event_or_lost const& e : co_await buffer.read_some<numbered, lost>(8)) {
        if (i == 0)
          check_lost(e, 3, 3);
        else
          check_number(e, 1);
        break;
      }
  }());
  BOOST_TEST(!buffer.try_next<bytes>());
}

BOOST_AUTO_TEST_CASE(of_several_cpus) {
  small_fixture f;
  fake_perf other{4096};
  f.buffer.add(other.source("events", 9));
  fill_and_lose(f.perf, 0, 2);
  fill_and_lose(other, 0, 40);
  BOOST_TEST(f.buffer.lost().value() == 42U);
  while (f.buffer.try_next<numbered>()) {
  }
  f.buffer.publish();
  BOOST_TEST_REQUIRE(other.emit(number(9)));
  f.emit(3);
  int told = 0;
  for (int i = 0; i < 2; ++i) {
    auto const e = f.buffer.try_next<numbered, lost>();
    BOOST_TEST_REQUIRE(e.has_value());
    auto const cpu = std::get<lost>(*e).cpu;
    told += cpu;
    BOOST_TEST(std::get<lost>(*e).count == (cpu == 9 ? 40U : 2U));
    check_number(f.buffer.try_next<numbered, lost>(), static_cast<std::uint64_t>(cpu));
  }
  BOOST_TEST(told == 12);
  BOOST_TEST(!(f.buffer.try_next<numbered, lost>()));
}

// Kernels before 6.0 do not tell; then it is known once it was read.
BOOST_FIXTURE_TEST_CASE(that_the_kernel_does_not_tell, small_fixture) {
  perf.tell_losses(false);
  auto const written = fill_and_lose(perf, 0, 4);
  BOOST_TEST(buffer.lost().value() == 0U);
  BOOST_TEST(perf.count(perf_call::lost) == 1U);
  for (std::uint64_t i = 0; i < written; ++i) BOOST_TEST_REQUIRE(buffer.try_next<numbered>().has_value());
  buffer.publish();
  emit(1);
  BOOST_TEST(buffer.lost().value() == 0U);
  BOOST_TEST(buffer.try_next<numbered>()->number == 1U);
  BOOST_TEST(buffer.lost().value() == 4U);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(bad_memory)

enum class verb : std::uint8_t { try_next, next, read_some, async_next, async_read_some };
std::ostream& operator<<(std::ostream& out, verb v) { return out << static_cast<int>(v); }

// What a read gives that must fail.
std::pair<error_code, diagnostics> failure_of(fixture& f, verb v) {
  std::pair<error_code, diagnostics> result;
  auto& [ec, details] = result;
  std::optional<error_code> done;
  switch (v) {
    case verb::try_next:
      BOOST_TEST(!f.buffer.try_next<numbered>(ec, details));
      break;
    case verb::next:
    case verb::read_some:
      try {
        f.run([](perf_buffer& b, bool some) -> asio::awaitable<void> {
          if (some)
            static_cast<void>(co_await b.read_some<numbered>(8));
          else
            static_cast<void>(co_await b.next<numbered>());
        }(f.buffer, v == verb::read_some));
      } catch (tinybpf::error const& e) {
        result = {e.code(), e.get_diagnostics()};
      }
      break;
    case verb::async_next:
      f.buffer.async_next<numbered>(details, [&](error_code e, numbered const&) { done = e; });
      break;
    case verb::async_read_some:
      f.buffer.async_read_some<numbered>(8, details, [&](error_code e, tinybpf::batch<numbered> range) {
        done = e;
        BOOST_TEST(range.empty());
      });
      break;
  }
  if (v == verb::async_next || v == verb::async_read_some) {
    f.run_until([&] { return done.has_value(); });
    ec = *done;
  }
  return result;
}

BOOST_DATA_TEST_CASE(is_an_error_that_says_where,
                     data::make({verb::try_next, verb::next, verb::read_some, verb::async_next, verb::async_read_some}),
                     v) {
  fixture f;
  f.emit_many(0, 4);
  f.perf.set_header(step, PERF_RECORD_SAMPLE, 20);
  BOOST_TEST(f.buffer.try_next<numbered>()->number == 0U);
  auto const [ec, details] = failure_of(f, v);
  BOOST_TEST(ec == errc::record_corrupt);
  BOOST_TEST(details.map == "events");
  BOOST_TEST(details.position == step);
  BOOST_TEST(details.actual_size == 20U);
  BOOST_TEST(details.expected_size == 3 * step);
  BOOST_TEST(test::contains(details.message, "perf buffer 'events'"));
  BOOST_TEST(test::contains(details.message, "position " + std::to_string(step)));
  // The next read goes on behind all that was there.
  f.emit(4);
  f.begin(f.buffer);
  f.expect(4);
  BOOST_TEST(!f.buffer.try_next<numbered>());
  BOOST_TEST(f.perf.unread() == 0U);
}

// One who waits is woken by it.
BOOST_FIXTURE_TEST_CASE(wakes_who_waits, fixture) {
  buffer.set_wakeup_policy(wakeup_policy::immediate());
  begin(buffer);
  sleep(perf, 0);
  emit(1);
  perf.set_length(0, 2);
  run_until([&] { return ended.has_value(); });
  BOOST_TEST(*ended == errc::record_corrupt);
  begin(buffer);
  sleep(perf, 1);
  emit(2);
  expect(2);
}

BOOST_FIXTURE_TEST_CASE(ends_a_range, fixture) {
  emit_many(0, 6);
  perf.set_header(4 * step, PERF_RECORD_LOST, 8);
  std::uint64_t next = 0;
  run([&]() -> asio::awaitable<void> {
    for (numbered const& e : co_await buffer.read_some<numbered>(100)) BOOST_TEST(e.number == next++);
  }());
  BOOST_TEST(next == 4U);
  error_code ec;
  diagnostics details;
  BOOST_TEST(!buffer.try_next<numbered>(ec, details));
  BOOST_TEST(ec == errc::record_corrupt);
  BOOST_TEST(details.position == 4 * step);
  BOOST_TEST(!buffer.try_next<numbered>(ec));
  BOOST_TEST(!ec);
}

// Of one CPU it is no matter for the others.
BOOST_AUTO_TEST_CASE(of_one_cpu) {
  fixture f;
  fake_perf other;
  f.buffer.add(other.source("events", 4));
  f.emit_many(0, 3);
  BOOST_TEST_REQUIRE(other.emit(number(10)));
  other.set_head(other.head() + 2 * other.size());
  int errors = 0;
  std::uint64_t next = 0;
  for (int i = 0; i < 4; ++i) {
    error_code ec;
    diagnostics details;
    auto const r = f.buffer.try_next<record<numbered>>(ec, details);
    if (ec) {
      ++errors;
      BOOST_TEST(ec == errc::record_corrupt);
      BOOST_TEST(details.position == 0U);
      BOOST_TEST(details.actual_size == 2 * other.size() + step);
      BOOST_TEST(details.expected_size == other.size());
    } else {
      BOOST_TEST_REQUIRE(r.has_value());
      BOOST_TEST(r->cpu() == 3);
      BOOST_TEST((*r)->number == next++);
    }
  }
  BOOST_TEST(errors == 1);
  BOOST_TEST(next == 3U);
  BOOST_TEST_REQUIRE(other.emit(number(11)));
  auto const r = f.buffer.try_next<record<numbered>>();
  BOOST_TEST_REQUIRE(r.has_value());
  BOOST_TEST(r->cpu() == 4);
  BOOST_TEST((*r)->number == 11U);
}

// The writer's position is behind ours, so we are led back; what is found there in a run is no record of a ring.
BOOST_AUTO_TEST_CASE(that_leads_back) {
  test::loop loop;
  fake_perf perf{4096, 8192};
  perf_buffer buffer{loop.io.get_executor(), perf.source("events", 0)};
  std::uint64_t const back = 4096 - 8 - 32;
  perf.set_head(back);
  error_code ec;
  BOOST_TEST(!buffer.try_next<numbered>(ec));
  BOOST_TEST(ec == errc::record_corrupt);
  perf.set_tail(back);
  BOOST_TEST_REQUIRE(perf.emit(number(1)));
  BOOST_TEST_REQUIRE(perf.emit(number(3)));
  BOOST_TEST(buffer.try_next<numbered>(ec)->number == 1U);
  perf.set_header(4088, sizeof(numbered), 32);
  BOOST_TEST(!buffer.try_next<numbered>(ec));
}

// Losses that stood in front of it are told in front of what comes next.
BOOST_FIXTURE_TEST_CASE(behind_losses, fixture) {
  BOOST_TEST_REQUIRE(perf.output_lost(7));
  emit(1);
  perf.set_header(fake_perf::lost_size, PERF_RECORD_SAMPLE, 0);
  error_code ec;
  BOOST_TEST(!(buffer.try_next<numbered, lost>(ec)));
  BOOST_TEST(ec == errc::record_corrupt);
  emit(2);
  auto const told = buffer.try_next<numbered, lost>(ec);
  BOOST_TEST(!ec);
  BOOST_TEST_REQUIRE(told.has_value());
  BOOST_TEST_REQUIRE(std::holds_alternative<lost>(*told));
  BOOST_TEST(std::get<lost>(*told).count == 7U);
  BOOST_TEST(buffer.try_next<numbered>()->number == 2U);
}

// Records that are none, as many as there is room for.
BOOST_FIXTURE_TEST_CASE(a_flood_of_other_records, fixture) {
  std::array<std::byte, 8> const body{};
  for (int i = 0; i < 20'000; ++i) BOOST_TEST_REQUIRE(perf.output_other(PERF_RECORD_THROTTLE, body));
  emit(1);
  begin(buffer);
  expect(1);
  BOOST_TEST(perf.armed() == 0U);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(closing)

BOOST_FIXTURE_TEST_CASE(once, fixture) {
  buffer.close();
  BOOST_TEST((perf.calls() == calls{on, closed}));
  BOOST_TEST(!perf.emit(number(1)));
  BOOST_TEST(perf.refused() == 1U);
  buffer.close();
  buffer.cancel();
  buffer.flush();
  BOOST_TEST((perf.calls() == calls{on, closed}));
  buffer = {};
  BOOST_TEST((perf.calls() == calls{on, closed}));
}

BOOST_FIXTURE_TEST_CASE(by_destruction, fixture) {
  {
    perf_buffer const moved{std::move(buffer)};
    BOOST_TEST(perf.calls() == calls{on});
  }
  BOOST_TEST((perf.calls() == calls{on, closed}));
}

BOOST_FIXTURE_TEST_CASE(by_assignment, fixture) {
  fake_perf other;
  buffer = perf_buffer{io.get_executor(), other.source("others", 1)};
  BOOST_TEST((perf.calls() == calls{on, closed}));
  BOOST_TEST(other.calls() == calls{on});
  BOOST_TEST_REQUIRE(other.emit(number(1)));
  BOOST_TEST(buffer.try_next<numbered>()->number == 1U);
}

BOOST_AUTO_TEST_CASE(of_several) {
  fixture f;
  fake_perf other;
  f.buffer.add(other.source("events", 4));
  f.buffer.close();
  for (auto const* const p : {&f.perf, &other}) BOOST_TEST((p->calls() == calls{on, closed}));
}

BOOST_FIXTURE_TEST_CASE(while_it_is_waited, fixture) {
  buffer.set_wakeup_policy(wakeup_policy::immediate());
  begin(buffer);
  sleep(perf, 0);
  buffer.close();
  BOOST_TEST((perf.calls() == calls{on, closed}));
  run_until([&] { return ended.has_value(); });
  BOOST_TEST(*ended == operation_aborted);
  BOOST_TEST((perf.calls() == calls{on, closed}));
}

// In a pause they are not switched on again.
BOOST_FIXTURE_TEST_CASE(while_it_is_quiet, fixture) {
  buffer.set_wakeup_policy(wakeup_policy::moderated(200us));
  fall_quiet(1);
  buffer.close();
  run_until([&] { return ended.has_value(); });
  BOOST_TEST(*ended == operation_aborted);
  BOOST_TEST((perf.calls() == calls{on, off, closed}));
}

// Nor by what may still be called.
BOOST_FIXTURE_TEST_CASE(and_published, fixture) {
  buffer.set_wakeup_policy(wakeup_policy::moderated(200us));
  fall_quiet(1);
  buffer.close();
  run_until([&] { return ended.has_value(); });
  buffer.publish();
  BOOST_TEST((perf.calls() == calls{on, off, closed}));
  BOOST_TEST(!perf.emit(number(2)));
}

BOOST_FIXTURE_TEST_CASE(while_they_cannot_be_switched_on, fixture) {
  buffer.set_wakeup_policy(wakeup_policy::moderated(200us));
  fall_quiet(1);
  perf.refuse_wakeups(true, 1000);
  run_until([&] { return perf.count(on_refused) == 3; });
  buffer.close();
  run_until([&] { return ended.has_value(); });
  BOOST_TEST(*ended == operation_aborted);
  BOOST_TEST((perf.calls() == calls{on, off, on_refused, on_refused, on_refused, closed}));
}

// What was read is handed back, and what was not is lost with the buffer.
BOOST_FIXTURE_TEST_CASE(hands_back_what_was_read, fixture) {
  emit_many(0, 3);
  BOOST_TEST(buffer.try_next<numbered>()->number == 0U);
  BOOST_TEST(buffer.try_next<bytes>().has_value());
  BOOST_TEST(perf.tail() == 0U);
  buffer.close();
  BOOST_TEST(perf.tail() == 2 * step);
  error_code ec;
  BOOST_TEST(!buffer.try_next<numbered>(ec));
  BOOST_TEST(ec == errc::closed);
}

// One that cannot be put into the map is not added, and nothing of it is left there.
BOOST_AUTO_TEST_CASE(what_could_not_be_added) {
  fixture f;
  fake_perf other;
  other.refuse_wakeups(true, 1);
  try {
    f.buffer.add(other.source("others", 4));
    BOOST_ERROR("added");
  } catch (tinybpf::error const& e) {
    BOOST_TEST((e.code() == error_code{E2BIG, boost::system::system_category()}));
    BOOST_TEST(test::contains(e.get_diagnostics().message, "CPU 4"));
    BOOST_TEST(test::contains(e.get_diagnostics().message, "others"));
  }
  BOOST_TEST((other.calls() == calls{on_refused, closed}));
  BOOST_TEST(f.perf.calls() == calls{on});
  f.begin(f.buffer);
  f.sleep(f.perf, 0);
  f.emit(1);
  f.expect(1);
  // It may be tried again.
  f.buffer.add(other.source("others", 4));
  BOOST_TEST((other.calls() == calls{on_refused, closed, on}));
  BOOST_TEST_REQUIRE(other.emit(number(2)));
  BOOST_TEST(f.buffer.try_next<numbered>()->number == 2U);
  other.refuse_wakeups(true, 1);
  BOOST_CHECK_THROW((perf_buffer{f.io.get_executor(), other.source()}), tinybpf::error);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace perf_fake_test
