// What a buffer holds back and when it gives it back: under each policy, when it is closed, cancelled, destroyed or
// left alone, and in a forked child.
#include "fake_ring.hpp"
#include "streams.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace tinybpf {

std::ostream& operator<<(std::ostream& out, wakeup_policy const& p) {
  constexpr char const* names[] = {"immediate", "moderated", "adaptive"};
  return out << names[static_cast<std::size_t>(p.decides())];
}

}  // namespace tinybpf

namespace asio = boost::asio;
namespace data = boost::unit_test::data;
using namespace std::chrono_literals;
using test::counted_bytes;
using test::counted_event;
using test::fake_ring;
using test::ring;
using test::streams;
using test::write_args;
using tinybpf::bytes;
using tinybpf::error_code;
using tinybpf::ring_buffer;
using tinybpf::wakeup_policy;

namespace {

std::vector<wakeup_policy> const policies{wakeup_policy::immediate(), wakeup_policy::moderated(),
                                          wakeup_policy::adaptive()};

struct wait_outcome {
  bool ended = false;
  error_code ec;
};

void start_wait(ring_buffer& buffer, wait_outcome& outcome) {
  outcome = {};
  buffer.async_wait([&outcome](error_code ec) { outcome = {true, ec}; });
}

struct policy_stream : streams {
  explicit policy_stream(wakeup_policy policy) { buffer->set_wakeup_policy(policy); }

  void read_by_next(int count) {
    auto const read = [this, count]() -> asio::awaitable<void> {
      for (int i = 0; i < count; ++i) static_cast<void>(co_await buffer->next<counted_event>());
    };
    run(read());
  }
  int read_all() {
    int count = 0;
    while (buffer->try_next<counted_event>()) ++count;
    return count;
  }

  std::optional<ring_buffer> buffer{std::in_place, io, obj.map("first")};
};

// A fake ring large enough for long pauses.
struct fake_stream : test::loop {
  explicit fake_stream(wakeup_policy policy, std::size_t size = 1U << 26U) : source{size} {
    buffer->set_wakeup_policy(policy);
  }
  bool emit(int count = 1) {
    for (; count > 0; --count, ++next)
      if (!source.emit(counted_event{test::counted_kind, 0, next, 0})) return false;
    return true;
  }
  int read_all() {
    int count = 0;
    while (buffer->try_next<counted_event>()) ++count;
    return count;
  }

  fake_ring source;
  std::optional<ring_buffer> buffer{std::in_place, io.get_executor(), source.source("fake")};
  std::uint64_t next = 0;
};

BOOST_AUTO_TEST_SUITE(on_the_kernel)

BOOST_DATA_TEST_CASE(a_quiet_stream_is_published_in_full, policies, policy) {
  policy_stream s{policy};
  BOOST_TEST(s.buffer->wakeup_policy() == policy);
  for (int round = 0; round < 5; ++round) {
    s.write(ring::first, 50);
    s.read_by_next(50);
    wait_outcome waited;
    start_wait(*s.buffer, waited);
    s.run_until([&] { return s.unread(ring::first) == 0; });
    BOOST_TEST(!waited.ended);
    s.write_one(ring::first, 1);
    s.run_until([&] { return waited.ended; });
    BOOST_TEST(!waited.ec);
    BOOST_TEST(s.read_all() == 1);
  }
}

void check_given_back(wakeup_policy policy, std::function<void(policy_stream&)> const& end) {
  policy_stream s{policy};
  s.write(ring::first, 5);
  BOOST_TEST(s.read_all() == 5);
  bool const holds = policy.decides() != wakeup_policy::kind::immediate;
  BOOST_TEST(s.unread(ring::first) == (holds ? counted_bytes : 0));
  end(s);
  BOOST_TEST(s.unread(ring::first) == 0U);
}

BOOST_DATA_TEST_CASE(what_ends_a_stream_publishes_in_full, policies, policy) {
  check_given_back(policy, [](policy_stream& s) { s.buffer->close(); });
  check_given_back(policy, [](policy_stream& s) { s.buffer->cancel(); });
  check_given_back(policy, [](policy_stream& s) { s.buffer->publish(); });
  check_given_back(policy, [](policy_stream& s) { s.buffer.reset(); });
  check_given_back(policy, [](policy_stream& s) { *s.buffer = ring_buffer{}; });
  check_given_back(policy, [](policy_stream& s) {
    wait_outcome waited;
    start_wait(*s.buffer, waited);
    s.buffer.reset();
    BOOST_TEST(s.unread(ring::first) == 0U);
    s.run_until([&] { return waited.ended; });
    BOOST_TEST(waited.ec == asio::error::operation_aborted);
  });
}

BOOST_DATA_TEST_CASE(what_was_viewed_is_published_and_what_was_not_is_kept, policies, policy) {
  policy_stream s{policy};
  s.write(ring::first, 6);
  BOOST_TEST(s.buffer->try_next<bytes>().has_value());
  s.buffer->cancel();
  auto const read = [&]() -> asio::awaitable<void> {
    auto range = co_await s.buffer->read_some<counted_event>(5);
    auto it = range.begin();
    for (int i = 0; i < 2; ++i, ++it) static_cast<void>(*it);
    s.buffer.reset();
  };
  s.run(read());
  BOOST_TEST(s.unread(ring::first) == 3 * counted_bytes);
}

// Nobody calls again: the loop's own timer publishes.
BOOST_DATA_TEST_CASE(after_one_read_and_no_further_call, policies, policy) {
  policy_stream s{policy};
  s.write(ring::first, 12);
  s.read_by_next(1);
  s.run_until([&] { return s.unread(ring::first) == 11 * counted_bytes; });
  bool ended = false;
  s.buffer->async_next<counted_event>([&](error_code, counted_event) { ended = true; });
  s.run_until([&] { return ended && s.unread(ring::first) == 10 * counted_bytes; });
  auto const read = [&]() -> asio::awaitable<void> {
    int left = 4;
    for (auto const& e : co_await s.buffer->read_some<counted_event>(7)) {
      BOOST_TEST(e.serial >= 2U);
      if (--left == 0) break;
    }
  };
  s.run(read());
  s.run_until([&] { return s.unread(ring::first) == 6 * counted_bytes; });
  s.buffer->set_budget(2);
  s.buffer->consume<counted_event>([](counted_event const&) {});
  s.run_until([&] { return s.unread(ring::first) == 4 * counted_bytes; });
  BOOST_TEST(s.read_all() == 4);
  s.run_until([&] { return s.unread(ring::first) == 0; });
  // And what came meanwhile is not lost to it.
  s.write_one(ring::first, 3);
  BOOST_TEST(s.read_all() == 1);
}

// However far the reads got: one record, some of a run, all but one, also after the timer found nothing to do.
BOOST_DATA_TEST_CASE(after_a_few_that_did_not_wait, policies, policy) {
  policy_stream s{policy};
  std::uint64_t left = 0;
  for (int reads : {1, 2, 7, 1, 30, 1}) {
    s.write(ring::first, 50);
    left += 50;
    for (int i = 0; i < reads; ++i, --left) BOOST_TEST(s.buffer->try_next<counted_event>().has_value());
    s.run_until([&] { return s.unread(ring::first) == left * counted_bytes; });
    for (int i = 0; i < 3; ++i, --left) {
      error_code ec;
      BOOST_TEST(s.buffer->try_next<tinybpf::record<counted_event>>(ec).has_value());
    }
    // A view of the last one may still be looked at.
    s.run_until([&] { return s.unread(ring::first) == (left + 1) * counted_bytes; });
  }
}

BOOST_DATA_TEST_CASE(after_a_wait_that_completed, policies, policy) {
  policy_stream s{policy};
  s.write(ring::first, 30);
  s.read_by_next(29);
  wait_outcome waited;
  start_wait(*s.buffer, waited);
  s.run_until([&] { return waited.ended; });
  BOOST_TEST(!waited.ec);
  s.run_until([&] { return s.unread(ring::first) == counted_bytes; });
}

// A view may be looked at for as long as nobody calls the buffer.
BOOST_AUTO_TEST_CASE(a_view_is_not_published_behind_the_users_back) {
  policy_stream s{wakeup_policy::moderated()};
  s.write(ring::first, 2);
  s.read_by_next(1);
  auto const view = s.buffer->try_next<tinybpf::record<counted_event>>();
  s.run_until([&] { return s.unread(ring::first) == counted_bytes; });
  for (int i = 0; i < 5; ++i) s.poll();
  BOOST_TEST(s.unread(ring::first) == counted_bytes);
  BOOST_TEST((*view)->serial == 1U);
}

BOOST_DATA_TEST_CASE(flush_delivers_what_woke_nobody, policies, policy) {
  policy_stream s{policy};
  write_args silent;
  silent.size = sizeof(counted_event);
  silent.flags = BPF_RB_NO_WAKEUP;
  for (int rings = 1; rings <= 2; ++rings) {
    wait_outcome waited;
    start_wait(*s.buffer, waited);
    s.run_until([&] { return s.unread(ring::first) == 0; });  // no longer in a pause, after which it would look again
    BOOST_TEST(s.write(ring::first, 2, silent).written == 2U);
    for (int i = 0; i < 20; ++i) s.poll();
    BOOST_TEST(!waited.ended);
    s.buffer->flush();
    BOOST_TEST(!waited.ended);
    s.run_until([&] { return waited.ended; });
    BOOST_TEST(!waited.ec);
    BOOST_TEST(s.read_all() == 2);
    // With nothing there it disturbs nobody, and with nobody waiting it does nothing.
    s.buffer->flush();
    start_wait(*s.buffer, waited);
    s.run_until([&] { return s.unread(ring::first) == 0; });
    s.buffer->flush();
    for (int i = 0; i < 20; ++i) s.poll();
    BOOST_TEST(!waited.ended);
    s.write_one(ring::first, 1);
    s.run_until([&] { return waited.ended; });
    BOOST_TEST(s.read_all() == 1);
    if (rings == 1) s.buffer->add(s.obj.map("second"));
  }
}

// What a policy holds back must not be the room that the next record needed.
BOOST_DATA_TEST_CASE(large_records_of_a_tiny_ring_find_room, policies, policy) {
  streams s;
  ring_buffer buffer{s.io, s.obj.map("tiny")};
  buffer.set_wakeup_policy(policy);
  write_args large;
  large.size = 1900;
  large.kind = 9;
  for (int round = 0; round < 200; ++round) {
    BOOST_TEST_REQUIRE(s.write(ring::tiny, 2, large).written == 2U);
    int count = 0;
    auto const read = [&]() -> asio::awaitable<void> {
      while (count < 2) {
        if (round % 2 == 0) {
          static_cast<void>(co_await buffer.next<tinybpf::record<>>());
          ++count;
        } else {
          for (auto const b : co_await buffer.read_some<bytes>(2)) count += b.size() == 1900 ? 1 : 100;
        }
      }
      if (round % 2 == 0) static_cast<void>(buffer.try_next<bytes>());
    };
    if (round % 3 == 0) {
      while (buffer.try_next<bytes>()) ++count;
    } else {
      s.run(read());
    }
    BOOST_TEST_REQUIRE(count == 2);
  }
  BOOST_TEST(buffer.lost().value() == 0U);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(in_a_forked_child)

namespace {

void check_still_heard(policy_stream& s) {
  for (int i = 0; i < 3; ++i) {
    wait_outcome waited;
    start_wait(*s.buffer, waited);
    s.run_until([&] { return s.unread(ring::first) == 0; });
    s.write_one(ring::first, 8);
    s.run_until([&] { return waited.ended; });
    BOOST_TEST(!waited.ec);
    BOOST_TEST(s.read_all() == 1);
  }
}

}  // namespace

BOOST_DATA_TEST_CASE(destroying_and_closing_change_nothing_for_the_parent, policies, policy) {
  for (bool const close_only : {false, true})
    for (bool const several : {false, true}) {
      policy_stream s{policy};
      if (several) s.buffer->add(s.obj.map("second"));
      s.write(ring::first, 10);
      s.read_by_next(5);
      auto const before = s.unread(ring::first);
      bool const holds = policy.decides() != wakeup_policy::kind::immediate;
      BOOST_TEST(before == (holds ? 10 : 5) * counted_bytes);
      auto const after = test::in_child([&] {
        if (close_only)
          s.buffer->close();
        else
          s.buffer.reset();
        return std::to_string(s.unread(ring::first));
      });
      BOOST_TEST(after == std::to_string(before));
      BOOST_TEST(s.read_all() == 5);
      check_still_heard(s);
    }
}

BOOST_AUTO_TEST_CASE(while_the_parent_waits) {
  for (bool const several : {false, true}) {
    policy_stream s{wakeup_policy::immediate()};
    if (several) s.buffer->add(s.obj.map("second"));
    wait_outcome waited;
    start_wait(*s.buffer, waited);
    s.poll();
    auto const answer = test::in_child([&] {
      s.buffer.reset();
      return std::string{"destroyed"};
    });
    BOOST_TEST(answer == "destroyed");
    s.write_one(ring::first, 8);
    s.run_until([&] { return waited.ended; });
    BOOST_TEST(!waited.ec);
    BOOST_TEST(s.read_all() == 1);
    check_still_heard(s);
  }
}

// The child's range has seen a record that the parent still looks at. It is so large a part of the ring that releasing
// it would publish it.
BOOST_AUTO_TEST_CASE(a_range_publishes_nothing) {
  streams s;
  ring_buffer buffer{s.io, s.obj.map("tiny")};
  write_args large;
  large.size = 1000;
  large.kind = 9;
  BOOST_TEST(s.write(ring::tiny, 2, large).written == 2U);
  auto const read = [&]() -> asio::awaitable<void> {
    std::optional<tinybpf::batch<bytes>> range{co_await buffer.read_some<bytes>(2)};
    auto it = range->begin();
    BOOST_TEST((*it).size() == 1000U);
    auto const answer = test::in_child([&] {
      range.reset();
      return std::to_string(s.unread(ring::tiny));
    });
    BOOST_TEST(answer == "2016");
    BOOST_TEST((*it).size() == 1000U);
    ++it;
    BOOST_TEST((*it).size() == 1000U);
  };
  s.run(read());
  buffer.close();
  BOOST_TEST(s.unread(ring::tiny) == 0U);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(on_a_fake_ring)

// Nothing runs the loop meanwhile, so the pause lasts as long as the test wants.
BOOST_AUTO_TEST_CASE(a_pausing_reader_need_not_be_woken) {
  fake_stream f{wakeup_policy::moderated(1h)};
  BOOST_TEST(f.emit(10));
  BOOST_TEST(f.read_all() == 10);
  wait_outcome waited;
  start_wait(*f.buffer, waited);
  auto const before = f.source.notifications();
  BOOST_TEST(f.source.unread() == counted_bytes);
  BOOST_TEST(f.emit(1000));
  BOOST_TEST(f.source.notifications() == before);
  BOOST_TEST(f.source.armed() == 0U);
  f.run_until([&] { return waited.ended; });
  BOOST_TEST(f.read_all() == 1000);
  BOOST_TEST(f.source.notifications() == before);

  // Once quiet, it waits on the descriptor, and has to be woken.
  start_wait(*f.buffer, waited);
  f.run_until([&] { return f.source.armed() == 1; });
  BOOST_TEST(f.source.unread() == 0U);
  BOOST_TEST(f.emit(3));
  BOOST_TEST(f.source.notifications() == before + 1);
  f.run_until([&] { return waited.ended; });
}

BOOST_AUTO_TEST_CASE(an_immediate_reader_is_woken) {
  fake_stream f{wakeup_policy::immediate()};
  BOOST_TEST(f.emit(10));
  BOOST_TEST(f.read_all() == 10);
  wait_outcome waited;
  start_wait(*f.buffer, waited);
  auto const before = f.source.notifications();
  BOOST_TEST(f.source.unread() == 0U);
  BOOST_TEST(f.source.armed() == 1U);
  BOOST_TEST(f.emit(1000));
  BOOST_TEST(f.source.notifications() == before + 1);
  f.run_until([&] { return waited.ended; });
}

BOOST_AUTO_TEST_CASE(at_most_a_64th_is_held_back) {
  constexpr std::size_t size = 1U << 18U;
  for (std::size_t const length : {8U, 1000U, 4088U, 4089U, 50'000U}) {
    fake_stream f{wakeup_policy::moderated(1h), size};
    BOOST_TEST(f.source.emit(std::string(length, 'x')));
    BOOST_TEST(f.source.emit(std::string(length, 'x')));
    while (f.buffer->try_next<bytes>()) {
    }
    auto const footprint = (length + 15) / 8 * 8;
    auto const expected = footprint <= size / 64 ? footprint : 0;
    BOOST_TEST(f.source.unread() == expected, "at " << length);
    wait_outcome waited;
    start_wait(*f.buffer, waited);
    BOOST_TEST(f.source.unread() == expected, "waiting, at " << length);
    f.buffer->cancel();
    f.poll();
  }
}

BOOST_DATA_TEST_CASE(a_long_range_holds_no_more_either, policies, policy) {
  constexpr std::size_t size = 1U << 16U;
  fake_stream f{policy, size};
  while (f.emit()) {
  }
  auto left = f.next;
  std::size_t most = 0;
  auto const read = [&]() -> asio::awaitable<void> {
    for (auto const& e : co_await f.buffer->read_some<counted_event>(100'000)) {
      most = std::max(most, f.source.unread() - left * counted_bytes);
      BOOST_TEST_REQUIRE(e.serial == f.next - left);
      --left;
    }
  };
  test::run(f.io, read());
  BOOST_TEST(left == 0U);
  BOOST_TEST(most <= size / 64 + counted_bytes);
}

// Whoever is cancelled in a pause, and does not come back, has published.
BOOST_AUTO_TEST_CASE(an_operation_cancelled_in_a_pause_publishes) {
  for (auto const type :
       {asio::cancellation_type::total, asio::cancellation_type::partial, asio::cancellation_type::terminal}) {
    fake_stream f{wakeup_policy::moderated(1h)};
    BOOST_TEST(f.emit(10));
    BOOST_TEST(f.read_all() == 10);
    // The timer that looks after those who walk away passes by, because somebody waits.
    asio::cancellation_signal signal;
    wait_outcome waited;
    f.buffer->async_wait(asio::bind_cancellation_slot(signal.slot(), [&](error_code ec) { waited = {true, ec}; }));
    BOOST_TEST(f.source.unread() == counted_bytes);
    signal.emit(type);
    f.run_until([&] { return waited.ended; });
    BOOST_TEST(waited.ec == asio::error::operation_aborted);
    BOOST_TEST(f.source.unread() == 0U);
  }
}

BOOST_AUTO_TEST_CASE(closing_and_destroying_in_a_pause_publish) {
  for (bool const destroy : {false, true}) {
    fake_stream f{wakeup_policy::moderated(1h)};
    BOOST_TEST(f.emit(10));
    BOOST_TEST(f.read_all() == 10);
    wait_outcome waited;
    start_wait(*f.buffer, waited);
    BOOST_TEST(f.source.unread() == counted_bytes);
    if (destroy)
      f.buffer.reset();
    else
      f.buffer->close();
    BOOST_TEST(f.source.unread() == 0U);
    f.poll();
    BOOST_TEST(waited.ended);
    BOOST_TEST(waited.ec == asio::error::operation_aborted);
  }
}

// A policy that is changed holds for the next pause.
BOOST_AUTO_TEST_CASE(the_policy_may_change_at_any_time) {
  fake_stream f{wakeup_policy::moderated(1h)};
  BOOST_TEST(f.emit(10));
  BOOST_TEST(f.read_all() == 10);
  BOOST_TEST(f.source.unread() == counted_bytes);
  f.buffer->set_wakeup_policy(wakeup_policy::immediate());
  BOOST_TEST(f.buffer->wakeup_policy() == wakeup_policy::immediate());
  BOOST_TEST(f.read_all() == 0);
  BOOST_TEST(f.source.unread() == 0U);
  ring_buffer closed;
  closed.set_wakeup_policy(wakeup_policy::immediate());
  BOOST_TEST(closed.wakeup_policy() == wakeup_policy::adaptive());
}

// The loop runs on one thread, and its timer publishes; the reader never waits, on another.
BOOST_DATA_TEST_CASE(the_loop_may_run_on_another_thread, policies, policy) {
  constexpr std::uint64_t count = 50'000;
  fake_stream f{policy, 1U << 14U};
  auto work = asio::make_work_guard(f.io);
  std::thread loop{[&] { f.io.run(); }};
  std::thread writer{[&] {
    while (f.next < count)
      if (!f.emit()) std::this_thread::yield();
  }};
  std::uint64_t expected = 0;
  while (expected < count) {
    auto const e = f.buffer->try_next<counted_event>();
    if (!e) {
      std::this_thread::yield();
      continue;
    }
    if (e->serial != expected) break;
    ++expected;
  }
  writer.join();
  BOOST_TEST(expected == count);
  BOOST_TEST(!f.buffer->try_next<counted_event>());
  // The reader is left alone, and the loop's thread gives back the rest.
  while (f.source.unread() != 0) std::this_thread::yield();
  work.reset();
  loop.join();
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
