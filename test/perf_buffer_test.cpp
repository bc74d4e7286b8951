// Perf buffers against the kernel.
#include "features.hpp"
#include "perf_streams.hpp"

#include <tinybpf/event_source.hpp>
#include <tinybpf/ring_buffer.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <poll.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

namespace asio = boost::asio;
namespace data = boost::unit_test::data;
using namespace std::chrono_literals;
using namespace asio::experimental::awaitable_operators;
using asio::error::operation_aborted;
using test::counted_event;
using test::emit_args;
using test::small_event;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::perf_buffer;
using tinybpf::perf_options;
using tinybpf::wakeup_policy;

namespace perf_test {  // with a name: g++ 12 warns of coroutine templates over types without linkage

struct fixture : test::perf_streams {
  perf_buffer open(perf_options const& options = {}) { return perf_buffer{io, samples, options}; }
  emit_args emit_sized(int cpu, std::uint32_t size, std::uint64_t first = 0, std::uint64_t count = 1) const {
    emit_args args;
    args.size = size;
    args.first = first;
    args.count = count;
    return emit_on(cpu, args);
  }
  emit_args emit_small(int cpu, std::uint64_t first, std::uint64_t count) const {
    emit_args args;
    args.kind = test::small_kind;
    args.first = first;
    args.count = count;
    return emit_on(cpu, args);
  }
};

/// Same event, but read without a look at its tag, and so in runs.
struct untagged_event {
  std::uint32_t kind;
  std::uint32_t index;
  std::uint64_t serial;
  std::uint64_t time;
};

struct untagged_small {
  std::uint32_t kind;
  std::uint32_t serial;
  std::uint32_t check;
};

namespace outdated {

struct counted_event {
  std::uint32_t kind;
  std::uint32_t index;
  std::array<std::uint64_t, 4> rest;
};

}  // namespace outdated

/// Room for this many records of 28 bytes in a buffer of so many pages: each takes 40.
constexpr std::uint64_t room(std::size_t pages) { return pages * 4096 / 40; }

BOOST_FIXTURE_TEST_SUITE(perf, fixture)

BOOST_AUTO_TEST_CASE(events_of_every_cpu, *test::shows("perf_event_array")) {
  auto buffer = open();
  for (int const cpu : cpus) BOOST_TEST(emit_on(cpu, 100, 50).written == 50U);
  std::map<int, std::uint64_t> next;
  while (auto const r = buffer.try_next<tinybpf::record<counted_event>>()) {
    BOOST_TEST((*r)->index == static_cast<std::uint32_t>(r->cpu()));
    BOOST_TEST((*r)->serial == 100 + next[r->cpu()]++);
    BOOST_TEST(r->map() == "samples");
    BOOST_TEST(r->trailing().empty());
  }
  BOOST_TEST(next.size() == cpus.size());
  for (auto const& [cpu, count] : next) BOOST_TEST(count == 50U);
  BOOST_TEST(buffer.lost().value() == 0U);
}

BOOST_AUTO_TEST_CASE(only_the_cpus_that_were_chosen) {
  perf_options options;
  options.cpus = {cpus.back()};
  auto buffer = open(options);
  std::uint64_t unread = 0;
  for (int const cpu : cpus) {
    auto const done = emit_on(cpu, 7, 3);
    BOOST_TEST(done.written == (cpu == cpus.back() ? 3U : 0U));
    unread += done.failed;
  }
  int events = 0;
  while (auto const r = buffer.try_next<tinybpf::record<counted_event>>()) {
    BOOST_TEST(r->cpu() == cpus.back());
    ++events;
  }
  BOOST_TEST(events == 3);
  BOOST_TEST(buffer.lost().value() == unread);  // counted by the macro: the kernel knows nothing of them
}

BOOST_AUTO_TEST_CASE(awaited_in_every_way) {
  auto buffer = open();
  auto const cpu = cpus.front();
  run([&]() -> asio::awaitable<void> {
    emit_on(cpu, 0, 1);
    auto const first = co_await buffer.next<counted_event>();
    BOOST_TEST(first.serial == 0U);
    emit_on(cpu, 1, 100);
    std::uint64_t expected = 1;
    while (expected < 101)
      for (counted_event const& e : co_await buffer.read_some<counted_event>(16)) BOOST_TEST(e.serial == expected++);
    emit_small(cpu, 5, 1);
    auto const either = co_await buffer.next<counted_event, small_event>();
    BOOST_TEST(std::get<small_event>(either).serial == 5U);
    emit_on(cpu, 101, 1);
    co_await buffer.async_wait();
    auto view = buffer.typed<untagged_event>();
    auto const viewed = co_await view.next();
    BOOST_TEST(viewed.serial == 101U);
    emit_on(cpu, 102, 1);
    auto const [ec, e] = co_await buffer.async_next<counted_event>(asio::as_tuple(asio::use_awaitable));
    BOOST_TEST(!ec);
    BOOST_TEST(e.serial == 102U);
    emit_on(cpu, 103, 10);
    BOOST_TEST(buffer.consume<counted_event>([](counted_event const&) {}) == 10U);
    emit_on(cpu, 113, 3);
    int ran = 0;
    co_await buffer.async_run<counted_event>([&](counted_event const&) { return ++ran < 3; });
    BOOST_TEST(ran == 3);
  }());
}

// In runs, split around the end, and copied where the alignment asks for it: through a buffer of one page, many times.
BOOST_DATA_TEST_CASE(wrapped_records, data::make({1U, 2U, 7U, 64U}), at_once) {
  perf_options options;
  options.page_count = 1;
  auto buffer = open(options);
  auto const cpu = cpus.front();
  std::uint64_t written = 0;
  std::uint64_t read = 0;
  test::on_cpu(cpu, [&] {
    while (written < 5000) {
      emit_args args;
      args.first = written;
      args.count = at_once;
      written += emit(args).written;
      run([&]() -> asio::awaitable<void> {
        while (read < written)
          for (untagged_event const& e : co_await buffer.read_some<untagged_event>(at_once)) {
            BOOST_TEST_REQUIRE(reinterpret_cast<std::uintptr_t>(&e) % alignof(untagged_event) == 0U);
            BOOST_TEST_REQUIRE(e.serial == read++);
            BOOST_TEST_REQUIRE(e.time != 0U);
          }
      }());
    }
  });
  BOOST_TEST(buffer.lost().value() == 0U);
}

BOOST_AUTO_TEST_CASE(small_types_are_viewed_where_they_are) {
  perf_options options;
  options.page_count = 1;
  auto buffer = open(options);
  auto const cpu = cpus.front();
  std::vector<untagged_small const*> seen;
  for (std::uint64_t first = 0; first < 2000; first += 50) {
    BOOST_TEST_REQUIRE(emit_small(cpu, first, 50).written == 50U);
    std::uint64_t serial = first;
    buffer.consume<untagged_small>([&](untagged_small const& e) {
      BOOST_TEST_REQUIRE(e.serial == serial++);
      BOOST_TEST_REQUIRE(e.check == ~e.serial);
      seen.push_back(&e);
    });
    BOOST_TEST_REQUIRE(serial == first + 50);
  }
  // Some of them are split around the end of the page, and put together elsewhere.
  auto const last = *std::max_element(seen.begin(), seen.end());
  auto const in_the_buffer = [last](untagged_small const* e) {
    return reinterpret_cast<std::byte const*>(last) - reinterpret_cast<std::byte const*>(e) < 4096;
  };
  auto const elsewhere = std::count_if(seen.begin(), seen.end(), std::not_fn(in_the_buffer));
  BOOST_TEST(elsewhere > 0);
  BOOST_TEST(elsewhere <= 2000 * 24 / 4096);
}

BOOST_AUTO_TEST_CASE(all_sizes_arrive_whole_wherever_they_lie) {
  perf_options options;
  options.page_count = 2;
  auto buffer = open(options);
  auto const cpu = cpus.front();
  std::minstd_rand random{1};
  for (std::uint64_t serial = 0; serial < 2000; ++serial) {
    auto const size = 16 + static_cast<std::uint32_t>(random() % 4000);
    BOOST_TEST_REQUIRE(emit_sized(cpu, size, serial).written == 1U);
    auto const r = buffer.try_next<tinybpf::bytes>();
    BOOST_TEST_REQUIRE(r.has_value());
    BOOST_TEST_REQUIRE(r->size() >= size);
    BOOST_TEST_REQUIRE(r->size() - size < 8);
    std::array<std::uint64_t, 2> head{};
    std::memcpy(head.data(), r->data(), sizeof head);
    BOOST_TEST_REQUIRE((head[0] >> 32U) == size);
    BOOST_TEST_REQUIRE(head[1] == serial);
    BOOST_TEST_REQUIRE(std::all_of(r->begin() + 16, r->begin() + size, [](std::byte b) { return b == std::byte{0}; }));
  }
}

BOOST_AUTO_TEST_CASE(padding_is_no_trailing_data_and_other_lengths_are_errors) {
  auto buffer = open();
  auto const cpu = cpus.front();
  for (std::uint32_t const size : {24U, 28U, 21U, 16U, 32U, 24U}) emit_sized(cpu, size, size);
  error_code ec;
  diagnostics details;
  // 21 bytes are padded to 28, too: the kernel does not say which of them are ours.
  for (std::uint64_t const serial : {24U, 28U, 21U})
    BOOST_TEST(buffer.try_next<untagged_event>(ec, details).value().serial == serial);
  for (std::size_t const size : {20U, 36U}) {
    BOOST_TEST(!buffer.try_next<untagged_event>(ec, details));
    BOOST_TEST(ec == errc::record_size);
    BOOST_TEST(details.actual_size == size);
    BOOST_TEST(details.expected_size == sizeof(untagged_event));
    BOOST_TEST(details.map == "samples");
    BOOST_TEST(test::contains(details.message, "perf buffer 'samples'"));
  }
  BOOST_TEST(buffer.try_next<untagged_event>(ec, details).value().serial == 24U);
  BOOST_TEST(!buffer.try_next<untagged_event>(ec, details));
  BOOST_TEST(!ec);
}

BOOST_AUTO_TEST_CASE(a_type_that_does_not_fit_the_object_is_refused) {
  auto buffer = open();
  error_code ec;
  diagnostics details;
  BOOST_TEST(!buffer.try_next<outdated::counted_event>(ec, details));
  BOOST_TEST(ec == errc::type_mismatch);
  BOOST_TEST(details.map == "samples");
}

// Everything that was written is received or counted as lost, by the kernel, exactly, at once and in order.
BOOST_DATA_TEST_CASE(a_flood, data::make({0U, 1U, 2U}), policy) {
  perf_options options;
  options.page_count = 4;
  auto buffer = open(options);
  buffer.set_wakeup_policy(policy == 0   ? wakeup_policy::immediate()
                           : policy == 1 ? wakeup_policy::moderated()
                                         : wakeup_policy::adaptive());
  constexpr std::uint64_t total = 20'000;
  for (int const cpu : cpus) {
    auto const done = emit_on(cpu, 0, total);
    BOOST_TEST(done.written + done.failed == total);
    BOOST_TEST(done.failed > 0U);
  }
  auto const lost_in_the_first = buffer.lost().value();
  BOOST_TEST(lost_in_the_first == cpus.size() * (total - room(4)));
  struct account {
    std::uint64_t received = 0;
    std::uint64_t lost = 0;
    std::uint64_t next = 0;
  };
  std::map<int, account> of;
  auto const read = [&] {
    while (auto const e = buffer.try_next<tinybpf::record<counted_event>, tinybpf::lost>()) {
      if (auto const* const lost = std::get_if<tinybpf::lost>(&*e)) {
        BOOST_TEST_REQUIRE(lost->count > 0U);
        of[lost->cpu].lost += lost->count;
        of[lost->cpu].next += lost->count;
      } else {
        auto const& r = std::get<tinybpf::record<counted_event>>(*e);
        auto& a = of[r.cpu()];
        BOOST_TEST_REQUIRE(r->serial == a.next++);
        ++a.received;
      }
    }
  };
  read();
  // What is lost is told in front of the first event behind the gap. There was none yet.
  for (int const cpu : cpus) BOOST_TEST(of[cpu].received == room(4));
  for (int const cpu : cpus) BOOST_TEST(of[cpu].lost == 0U);
  for (int const cpu : cpus) BOOST_TEST(emit_on(cpu, total, 1).written == 1U);
  read();
  std::uint64_t lost = 0;
  for (int const cpu : cpus) {
    BOOST_TEST(of[cpu].received + of[cpu].lost == total + 1);
    lost += of[cpu].lost;
  }
  BOOST_TEST(of.size() == cpus.size());
  BOOST_TEST(buffer.lost().value() == lost);
}

BOOST_AUTO_TEST_CASE(losses_in_a_range_are_told_where_they_are) {
  perf_options options;
  options.page_count = 1;
  options.cpus = {cpus.front()};
  auto buffer = open(options);
  emit_on(cpus.front(), 0, room(1) + 10);
  BOOST_TEST(buffer.consume<counted_event>([](counted_event const& e) { return e.serial + 1 < 50; }) == 50U);
  emit_on(cpus.front(), room(1) + 10, 5);
  std::vector<std::string> seen;
  auto const note = [&](std::variant<counted_event, tinybpf::lost> const& e) {
    if (auto const* const lost = std::get_if<tinybpf::lost>(&e))
      seen.push_back("lost " + std::to_string(lost->count) + " on " + std::to_string(lost->cpu));
    else
      seen.push_back(std::to_string(std::get<counted_event>(e).serial));
  };
  buffer.consume<counted_event, tinybpf::lost>(note);
  std::vector<std::string> expected;
  for (std::uint64_t n = 50; n < room(1); ++n) expected.push_back(std::to_string(n));
  expected.push_back("lost 10 on " + std::to_string(cpus.front()));
  for (std::uint64_t n = room(1) + 10; n < room(1) + 15; ++n) expected.push_back(std::to_string(n));
  BOOST_TEST(seen == expected, boost::test_tools::per_element());
}

// Left in front of them, they are told again.
BOOST_AUTO_TEST_CASE(losses_that_were_not_looked_at_stay) {
  perf_options options;
  options.page_count = 1;
  options.cpus = {cpus.front()};
  auto buffer = open(options);
  emit_on(cpus.front(), 0, room(1) + 10);
  buffer.consume<untagged_event>([](untagged_event const&) {});
  emit_on(cpus.front(), room(1) + 10, 1);
  run([&]() -> asio::awaitable<void> {
    { auto const unused = co_await buffer.read_some<counted_event, tinybpf::lost>(10); }
    auto const first = co_await buffer.next<counted_event, tinybpf::lost>();
    BOOST_TEST(std::get<tinybpf::lost>(first).count == 10U);
    BOOST_TEST(std::get<tinybpf::lost>(first).cpu == cpus.front());
    auto const second = co_await buffer.next<counted_event, tinybpf::lost>();
    BOOST_TEST(std::get<counted_event>(second).serial == room(1) + 10);
  }());
}

// Whoever writes a few events and falls silent has them read, whatever the policy made of the ones before.
BOOST_DATA_TEST_CASE(no_tail_is_left_lying, data::make({0U, 1U, 2U}), policy) {
  auto buffer = open();
  buffer.set_wakeup_policy(policy == 0   ? wakeup_policy::immediate()
                           : policy == 1 ? wakeup_policy::moderated(50us)
                                         : wakeup_policy::adaptive());
  constexpr std::uint64_t bursts = 1500;
  std::atomic<std::uint64_t> read{0};
  std::atomic<bool> failed{false};
  std::thread writer{[&] {
    std::minstd_rand random{7};
    std::uint64_t written = 0;
    for (std::uint64_t i = 0; i < bursts && !failed; ++i) {
      // Bursts so close that the policy thinks of a stream, and then nothing until all of it was read.
      for (auto many = 1 + random() % 30; many > 0; --many) {
        emit_args args;
        args.count = 1 + random() % 20;
        args.first = written;
        written += emit(args).written;
      }
      auto const give_up = std::chrono::steady_clock::now() + test::patience;
      while (read < written && !failed)
        if (std::chrono::steady_clock::now() > give_up) failed = true;
    }
    asio::post(io, [&] { buffer.close(); });
  }};
  std::uint64_t sum = 0;
  asio::co_spawn(
      io,
      [&]() -> asio::awaitable<void> {
        for (;;)
          for (untagged_event const& e : co_await buffer.read_some<untagged_event>(64)) {
            sum += e.serial;
            read.fetch_add(1);
          }
      },
      [](std::exception_ptr const&) {});
  io.run();
  writer.join();
  BOOST_TEST(!failed);
  BOOST_TEST(buffer.lost().value() == 0U);
  BOOST_TEST(sum == read * (read - 1) / 2);
}

// Two threads run the loop, and the coroutine needs no strand. The writer stays within what a buffer takes, so that
// nothing is lost however slow the reader is.
BOOST_AUTO_TEST_CASE(a_loop_of_two_threads) {
  auto buffer = open();
  buffer.set_wakeup_policy(wakeup_policy::immediate());
  constexpr std::uint64_t total = 20'000;
  constexpr std::uint64_t ahead = room(64) / 2;
  std::atomic<std::uint64_t> read{0};
  asio::co_spawn(
      io,
      [&]() -> asio::awaitable<void> {
        while (read < total) {
          co_await buffer.next<untagged_event>();
          ++read;
        }
      },
      [](std::exception_ptr const&) {});
  std::thread writer{[&] {
    auto const give_up = std::chrono::steady_clock::now() + test::patience;
    bool stuck = false;
    auto const wait_for = [&](std::uint64_t events) {
      while (read < events && !stuck) {
        stuck = std::chrono::steady_clock::now() > give_up;
        std::this_thread::yield();
      }
    };
    for (std::uint64_t n = 0; n < total && !stuck; n += 10) {
      wait_for(n > ahead ? n - ahead : 0);
      emit_args args;
      args.first = n;
      args.count = 10;
      emit(args);
    }
    wait_for(total);
    if (stuck) io.stop();
  }};
  std::thread other{[&] { io.run(); }};
  io.run();
  writer.join();
  other.join();
  BOOST_TEST(read == total);
  BOOST_TEST(buffer.lost().value() == 0U);
}

BOOST_AUTO_TEST_CASE(cancelled_waits_and_reads_lose_nothing) {
  auto buffer = open();
  std::uint64_t written = 0;
  std::uint64_t read = 0;
  std::uint64_t aborted = 0;
  std::minstd_rand random{3};
  test::on_cpu(cpus.front(), [&] {
    while (written < 50'000) {
      asio::cancellation_signal stop;
      std::optional<error_code> ended;
      auto const slot = [&](auto handler) { return asio::bind_cancellation_slot(stop.slot(), std::move(handler)); };
      switch (random() % 3) {
        case 0:
          buffer.async_wait(slot([&](error_code ec) { ended = ec; }));
          break;
        case 1:
          buffer.async_next<untagged_event>(slot([&](error_code ec, untagged_event const& e) {
            ended = ec;
            if (ec) return;
            BOOST_TEST_REQUIRE(e.serial == read++);
          }));
          break;
        default:
          buffer.async_read_some<untagged_event>(8, slot([&](error_code ec, tinybpf::batch<untagged_event> range) {
                                                   ended = ec;
                                                   for (auto const& e : range) BOOST_TEST_REQUIRE(e.serial == read++);
                                                 }));
      }
      if (random() % 2 == 0) poll();
      emit_args args;
      args.first = written;
      args.count = random() % 30;
      if (args.count != 0) written += emit(args).written;
      if (random() % 2 == 0) poll();
      stop.emit(asio::cancellation_type::total);
      run_until([&] { return ended.has_value(); });
      if (*ended == operation_aborted) ++aborted;
      while (auto const e = buffer.try_next<untagged_event>()) BOOST_TEST_REQUIRE(e->serial == read++);
      BOOST_TEST_REQUIRE(read == written);
    }
  });
  BOOST_TEST(aborted > 100U);
  BOOST_TEST(buffer.lost().value() == 0U);
}

BOOST_AUTO_TEST_CASE(a_wait_loses_a_race_without_losing_an_event) {
  auto buffer = open();
  run([&]() -> asio::awaitable<void> {
    asio::steady_timer timer{io};
    for (std::uint64_t i = 0; i < 200; ++i) {
      timer.expires_after(i % 2 == 0 ? 0us : 10s);
      emit_on(cpus.front(), i, 1);
      co_await (buffer.async_wait() || timer.async_wait(asio::use_awaitable));
      auto const e = co_await buffer.next<untagged_event>();
      BOOST_TEST_REQUIRE(e.serial == i);
    }
  }());
}

BOOST_AUTO_TEST_CASE(closing_and_destroying_complete_who_waits) {
  for (bool const destroy : {false, true}) {
    std::optional<perf_buffer> buffer{open()};
    std::optional<error_code> ended;
    buffer->async_next<untagged_event>([&](error_code ec, untagged_event const&) { ended = ec; });
    poll();
    if (destroy)
      buffer.reset();
    else
      buffer->close();
    run_until([&] { return ended.has_value(); });
    BOOST_TEST(*ended == operation_aborted);
  }
}

BOOST_AUTO_TEST_CASE(closing_takes_the_events_out_of_the_map) {
  auto buffer = open();
  BOOST_TEST(emit_on(cpus.front(), 0, 3).written == 3U);
  buffer.close();
  BOOST_TEST(emit_on(cpus.front(), 0, 3).failed == 3U);
  BOOST_TEST(buffer.native_handle() == -1);
  error_code ec;
  BOOST_TEST(!buffer.try_next<untagged_event>(ec));
  BOOST_TEST(ec == errc::closed);
  // Another one may be opened, and counts from now on.
  auto second = open();
  BOOST_TEST(emit_on(cpus.front(), 0, 3).written == 3U);
  BOOST_TEST(second.consume<untagged_event>([](untagged_event const&) {}) == 3U);
}

// The newest of them has the map: the others neither take it back nor empty it.
BOOST_AUTO_TEST_CASE(a_second_buffer_takes_over) {
  auto buffer = open();
  emit_on(cpus.front(), 1, 1);
  perf_options options;
  options.page_count = 8;
  buffer = perf_buffer{io, samples, options};
  BOOST_TEST(emit_on(cpus.front(), 2, 1).written == 1U);
  BOOST_TEST(buffer.try_next<untagged_event>().value().serial == 2U);
  {
    auto second = open();
    BOOST_TEST(emit_on(cpus.front(), 3, 1).written == 1U);
    buffer.close();
    BOOST_TEST(emit_on(cpus.front(), 4, 1).written == 1U);
    BOOST_TEST(second.try_next<untagged_event>().value().serial == 3U);
    BOOST_TEST(second.try_next<untagged_event>().value().serial == 4U);
  }
  BOOST_TEST(emit_on(cpus.front(), 5, 1).failed == 1U);
}

// What was paused when another one came does not take its place back.
BOOST_AUTO_TEST_CASE(a_quiet_buffer_gives_way_for_good) {
  auto buffer = open();
  buffer.set_wakeup_policy(wakeup_policy::moderated());
  std::optional<error_code> ended;
  emit_on(cpus.front(), 0, 1);
  buffer.async_run<untagged_event>([](untagged_event const&) {},
                                   [&](std::exception_ptr const&) { ended = error_code{}; });
  poll();
  auto second = open();
  emit_on(cpus.front(), 1, 1);
  buffer.publish();
  poll();
  emit_on(cpus.front(), 2, 1);
  BOOST_TEST(second.consume<untagged_event>([](untagged_event const&) {}) == 2U);
  buffer.close();
  run_until([&] { return ended.has_value(); });
}

BOOST_AUTO_TEST_CASE(cpus_that_are_added_one_by_one) {
  if (cpus.size() < 2) return;
  perf_options options;
  options.cpus = {cpus[0]};
  auto buffer = open(options);
  options.cpus = {cpus[1]};
  buffer.add(samples, options);
  for (int const cpu : {cpus[0], cpus[1]}) emit_on(cpu, 0, 2);
  BOOST_TEST(buffer.consume<untagged_event>([](untagged_event const&) {}) == 4U);
  perf_options another;
  another.cpus = {cpus[0]};
  auto const taken = open(another);
  samples.erase(test::bytes_of(cpus[0]));  // as whoever does not know better does
  auto const lost = emit_on(cpus[0], 0, 5);
  BOOST_TEST(lost.failed == 5U);
  BOOST_TEST(buffer.lost().value() == 5U);
}

BOOST_AUTO_TEST_CASE(a_buffer_outlives_its_object) {
  auto buffer = open();
  auto const own = std::exchange(obj, {});
  samples = {};
  emit_on(cpus.front(), 9, 1);
  emitter = {};
  BOOST_TEST(buffer.try_next<untagged_event>().value().serial == 9U);
}

BOOST_AUTO_TEST_CASE(in_the_order_of_their_time) {
  auto buffer = open();
  buffer.merge_by(&counted_event::time, 1s);
  for (std::uint64_t n = 0; n < 200; ++n) emit_on(cpus[n % cpus.size()], n, 1);
  run([&]() -> asio::awaitable<void> {
    for (std::uint64_t n = 0; n < 200; ++n) {
      auto const e = co_await buffer.next<counted_event>();
      BOOST_TEST_REQUIRE(e.serial == n);
    }
  }());
}

bool readable(int fd) {
  pollfd p{fd, POLLIN, 0};
  return ::poll(&p, 1, 0) == 1;
}

BOOST_AUTO_TEST_CASE(the_descriptor_can_be_polled_by_others) {
  auto buffer = open();
  buffer.publish();
  BOOST_TEST(!readable(buffer.native_handle()));
  emit_on(cpus.back(), 0, 1);
  BOOST_TEST(readable(buffer.native_handle()));
  BOOST_TEST(buffer.try_next<untagged_event>().has_value());
}

BOOST_AUTO_TEST_CASE(wake_ups_after_some_events_or_bytes) {
  for (bool const by_bytes : {false, true}) {
    perf_options options;
    options.cpus = {cpus.front()};
    if (by_bytes)
      options.wakeup_watermark = 3 * 40;
    else
      options.wakeup_events = 4;
    auto buffer = open(options);
    emit_on(cpus.front(), 0, 3);
    BOOST_TEST(!readable(buffer.native_handle()));
    emit_on(cpus.front(), 3, 1);
    BOOST_TEST(readable(buffer.native_handle()));
    BOOST_TEST(buffer.consume<untagged_event>([](untagged_event const&) {}) == 4U);
  }
}

// Fewer than wake the reader are there for who looks.
BOOST_AUTO_TEST_CASE(flush_finds_what_woke_nobody) {
  perf_options options;
  options.cpus = {cpus.front()};
  options.wakeup_events = 100;
  auto buffer = open(options);
  std::optional<std::uint64_t> got;
  buffer.async_next<untagged_event>([&](error_code ec, untagged_event const& e) {
    BOOST_TEST(!ec);
    got = e.serial;
  });
  poll();
  emit_on(cpus.front(), 5, 1);
  poll();
  BOOST_TEST(!got);
  buffer.flush();
  run_until([&] { return got.has_value(); });
  BOOST_TEST(*got == 5U);
}

BOOST_AUTO_TEST_CASE(a_forked_child_disturbs_nothing) {
  auto buffer = open();
  emit_on(cpus.front(), 0, 10);
  BOOST_TEST(buffer.try_next<untagged_event>().has_value());
  BOOST_TEST(test::in_child([&] {
               buffer.close();
               return std::string{"closed"};
             }) == "closed");
  // Destroyed, it leaves alone what the child has put where its memory was; and its loop may run.
  BOOST_TEST(test::in_child([&] {
               io.notify_fork(asio::execution_context::fork_child);
               std::vector<std::vector<char>> own(50, std::vector<char>(200'000, 'x'));
               { auto const gone = std::move(buffer); }
               io.restart();
               io.run_for(50ms);
               for (auto const& v : own)
                 if (v.back() != 'x') return std::string{"overwritten"};
               return std::string{"destroyed"};
             }) == "destroyed");
  BOOST_TEST(emit_on(cpus.front(), 10, 1).written == 1U);
  std::uint64_t serial = 1;
  while (auto const e = buffer.try_next<untagged_event>()) BOOST_TEST(e->serial == serial++);
  BOOST_TEST(serial == 11U);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_opened) {
  error_code ec;
  diagnostics details;
  auto const refused = [&](perf_options const& options) {
    perf_buffer const buffer{io.get_executor(), samples, options, ec, details};
    BOOST_TEST(!buffer.is_open());
    BOOST_TEST(!details.message.empty());
    return ec;
  };
  auto const einval = test::kernel_error(EINVAL);
  perf_options options;
  for (std::size_t const pages : {std::size_t{0}, std::size_t{3}, std::size_t{100}, std::size_t{1} << 52U}) {
    options.page_count = pages;
    BOOST_TEST(refused(options) == einval);
  }
  options = {};
  options.wakeup_events = 0;
  BOOST_TEST(refused(options) == einval);
  options.wakeup_events = 2;
  options.wakeup_watermark = 100;
  BOOST_TEST(refused(options) == einval);
  options = {};
  options.page_count = 1;
  options.wakeup_watermark = 2049;  // would never be reached, or too late
  BOOST_TEST(refused(options) == einval);
  options = {};
  options.cpus = {cpus.front(), cpus.front()};
  BOOST_TEST(refused(options) == einval);
  for (int const cpu : {-1, 100'000}) {
    options.cpus = {cpu};
    BOOST_TEST(refused(options) == errc::not_found);
    BOOST_TEST(test::contains(details.message, std::to_string(cpu)));
  }
  // What was refused left nothing in the map.
  BOOST_TEST(emit_on(cpus.front(), 0, 1).failed == 1U);

  perf_buffer const of_no_place{io.get_executor(), obj.map("short_array"), ec, details};
  if (cpus.back() > 0) BOOST_TEST(ec == einval);
  perf_buffer const of_another_type{io.get_executor(), obj.map("events"), ec, details};
  BOOST_TEST(ec == errc::wrong_map_type);
  tinybpf::ring_buffer const of_no_ring{io.get_executor(), samples, ec, details};
  BOOST_TEST(ec == errc::wrong_map_type);
  perf_buffer const of_no_map{io.get_executor(), tinybpf::map{}, ec, details};
  BOOST_TEST(ec == errc::closed);
  auto const opened = tinybpf::object::open(PERF_STREAMS_BPF_O);
  perf_buffer const not_loaded{io.get_executor(), opened.map("samples"), ec, details};
  BOOST_TEST(ec == errc::not_loaded);
  BOOST_CHECK_THROW(perf_buffer(io.get_executor(), tinybpf::map{}), tinybpf::error);
}

BOOST_AUTO_TEST_CASE(the_same_map_twice_in_a_stream) {
  auto buffer = open();
  error_code ec;
  buffer.add(samples, ec);
  BOOST_TEST(ec == test::kernel_error(EEXIST));
  // It is still read.
  BOOST_TEST(emit_on(cpus.front(), 0, 1).written == 1U);
  BOOST_TEST(buffer.try_next<untagged_event>().has_value());
}

BOOST_AUTO_TEST_CASE(closed_and_moved_from) {
  perf_buffer none;
  BOOST_TEST(!none.is_open());
  BOOST_TEST(none.native_handle() == -1);
  BOOST_TEST(!none.lost());
  auto buffer = open();
  perf_buffer moved{std::move(buffer)};
  BOOST_TEST(!buffer.is_open());  // NOLINT(bugprone-use-after-move): that is what is tested
  error_code ec;
  BOOST_TEST(!buffer.try_next<untagged_event>(ec));
  BOOST_TEST(ec == errc::closed);
  buffer.add(samples, ec);
  BOOST_TEST(ec == errc::closed);
  emit_on(cpus.front(), 4, 1);
  BOOST_TEST(moved.try_next<untagged_event>().value().serial == 4U);
  buffer = std::move(moved);
  emit_on(cpus.front(), 5, 1);
  BOOST_TEST(buffer.try_next<untagged_event>().value().serial == 5U);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace perf_test
