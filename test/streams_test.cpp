// Several rings read as one stream: each record knows its ring, one wait serves all, none starves, and a field can give
// their order.
#include "streams.hpp"

#include <boost/asio/detached.hpp>
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>
#include <set>
#include <string>

namespace asio = boost::asio;
namespace data = boost::unit_test::data;
using namespace std::chrono_literals;
using test::counted_event;
using test::kernel_error;
using test::ring;
using test::streams;
using test::untagged_event;
using test::write_args;
using tinybpf::bytes;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::record;
using tinybpf::ring_buffer;

namespace {

using counted = record<counted_event>;

struct wait_outcome {
  bool ended = false;
  error_code ec;
};

// A wait that tells where it left off. Nothing else waits meanwhile.
void start_wait(ring_buffer& buffer, wait_outcome& outcome) {
  outcome = {};
  buffer.async_wait([&outcome](error_code ec) { outcome = {true, ec}; });
}

// Leaves nothing to read and no ring in suspicion of having something.
void run_dry(streams& s, ring_buffer& buffer) {
  wait_outcome waited;
  start_wait(buffer, waited);
  s.poll();
  BOOST_TEST_REQUIRE(!waited.ended);
  buffer.cancel();
  s.run_until([&] { return waited.ended; });
}

std::string where(counted const& r) { return std::string{r.map()} + ' ' + std::to_string(r->serial); }

}  // namespace

BOOST_AUTO_TEST_SUITE(several_rings)

BOOST_AUTO_TEST_CASE(records_know_their_map) {
  streams s;
  ring_buffer buffer{s.io, s.obj.map("first")};
  buffer.add(s.obj.map("second"));
  buffer.add(s.obj.map("uncounted"));
  buffer.add(s.obj.map("by_index"));
  BOOST_TEST(buffer.name() == "first");
  s.write_one(ring::uncounted, 3);
  s.write_one(ring::first, 1);
  s.write_one(ring::second, 2);
  s.write_one(ring::by_index, 4, 2);
  s.write_one(ring::by_index, 5, 0);
  std::multiset<std::string> got;
  while (auto const r = buffer.try_next<counted>()) got.insert(where(*r));
  std::multiset<std::string> const expected{"first 1", "second 2", "uncounted 3", "by_index[2] 4", "by_index[0] 5"};
  BOOST_TEST(got == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(positions_are_each_rings_own) {
  streams s;
  ring_buffer buffer{s.io, s.obj.map("first")};
  buffer.add(s.obj.map("second"));
  s.write(ring::first, 2);
  s.write(ring::second, 2);
  std::multiset<std::string> got;
  while (auto const r = buffer.try_next<counted>())
    got.insert(std::string{r->map()} + ' ' + std::to_string(r->position()));
  std::multiset<std::string> const expected{"first 0", "first 32", "second 0", "second 32"};
  BOOST_TEST(got == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(one_wait_serves_all) {
  streams s;
  ring_buffer buffer{s.io, s.obj.map("first")};
  buffer.add(s.obj.map("second"));
  buffer.add(s.obj.map("uncounted"));
  for (auto const to : {ring::second, ring::uncounted, ring::first, ring::second}) {
    wait_outcome waited;
    start_wait(buffer, waited);
    s.poll();
    BOOST_TEST(!waited.ended);
    s.write_one(to, 7);
    s.run_until([&] { return waited.ended; });
    BOOST_TEST(!waited.ec);
    auto const e = buffer.try_next<counted_event>();
    BOOST_TEST_REQUIRE(e.has_value());
    BOOST_TEST(e->serial == 7U);
    BOOST_TEST(!buffer.try_next<counted_event>());
  }
}

// Both are full: the longest run of one while the other waits.
BOOST_AUTO_TEST_CASE(full_rings_have_turns) {
  streams s;
  ring_buffer buffer{s.io, s.obj.map("first")};
  buffer.add(s.obj.map("second"));
  s.write(ring::first, 3000);
  s.write(ring::second, 3000);
  std::size_t run = 0;
  std::size_t longest = 0;
  std::string last;
  std::array<std::uint64_t, 2> next{};
  auto const read = [&]() -> asio::awaitable<void> {
    while (next[0] < 3000 && next[1] < 3000) {
      auto range = co_await buffer.read_some<counted>(500);
      for (auto const& r : range) {
        auto& expected = next[r.map() == "first" ? 0 : 1];
        BOOST_TEST_REQUIRE(r->serial == expected);
        ++expected;
        run = r.map() == last ? run + 1 : 1;
        last = r.map();
        longest = std::max(longest, run);
      }
    }
  };
  s.run(read());
  BOOST_TEST(longest <= 64U);
}

// One ring never runs dry; the other, idle until then, gets its first record.
void check_not_starved(std::function<bool(ring_buffer&, std::string&)> const& read_one) {
  streams s;
  ring_buffer buffer{s.io, s.obj.map("first")};
  buffer.add(s.obj.map("second"));
  run_dry(s, buffer);
  s.write(ring::first, 300);
  std::string map;
  for (int i = 0; i < 20; ++i) BOOST_TEST_REQUIRE(read_one(buffer, map));
  s.write_one(ring::second, 1);
  int records = 0;
  while (map != "second" && records < 5000) {
    s.write_one(ring::first, 0);
    BOOST_TEST_REQUIRE(read_one(buffer, map));
    ++records;
    s.poll();
  }
  BOOST_TEST(map == "second", "not read within " << records << " records");
}

BOOST_AUTO_TEST_CASE(a_saturated_ring_does_not_starve_the_first_record_of_another_for_try_next) {
  check_not_starved([](ring_buffer& buffer, std::string& map) {
    auto const r = buffer.try_next<counted>();
    if (r) map = r->map();
    return r.has_value();
  });
}

BOOST_AUTO_TEST_CASE(nor_for_consume) {
  check_not_starved([](ring_buffer& buffer, std::string& map) {
    return buffer.consume<counted>([&](counted const& r) {
      map = r.map();
      return false;
    }) == 1;
  });
}

BOOST_AUTO_TEST_CASE(nor_for_awaiting_verbs) {
  streams s;
  ring_buffer buffer{s.io, s.obj.map("first")};
  buffer.add(s.obj.map("second"));
  run_dry(s, buffer);
  s.write(ring::first, 2000);
  bool found = false;
  int records = 0;
  auto const read = [&]() -> asio::awaitable<void> {
    while (!found && records < 5000) {
      if (records % 1000 < 500) {
        auto const r = co_await buffer.next<counted>();
        found = found || r.map() == "second";
        ++records;
        s.write_one(ring::first, 0);
      } else {
        auto range = co_await buffer.read_some<counted>(100);
        for (auto const& r : range) {
          found = found || r.map() == "second";
          ++records;
          s.write_one(ring::first, 0);
        }
      }
      if (records == 100) s.write_one(ring::second, 1);
    }
  };
  s.run(read());
  BOOST_TEST(found, "not read within " << records << " records");
}

// A range ends at the other ring's bad record: what was read from that ring long ago is not counted again.
BOOST_AUTO_TEST_CASE(a_range_that_ends_at_another_rings_record) {
  streams s;
  ring_buffer buffer{s.io, s.obj.map("second")};
  s.write(ring::second, 160);
  int read = 0;
  while (buffer.try_next<tinybpf::bytes>()) ++read;
  BOOST_TEST(read == 160);
  buffer.add(s.obj.map("first"));
  run_dry(s, buffer);
  s.write(ring::first, 3);
  write_args bad;
  bad.size = 40;
  bad.kind = 77;
  std::uint64_t count = 0;
  int reports = 0;
  auto const some = [&]() -> asio::awaitable<void> {
    while (reports < 1) {
      try {
        for (auto const& e : co_await buffer.read_some<untagged_event>(100)) {
          BOOST_TEST(e.serial == count++);
          if (count == 3) BOOST_TEST_REQUIRE(s.write(ring::second, 1, bad).written == 1U);
        }
      } catch (tinybpf::error const& e) {
        BOOST_TEST(e.code() == errc::record_size);
        ++reports;
      }
    }
  };
  s.run(some());
  BOOST_TEST(count == 3U);
  s.write(ring::second, 2000);
  s.write_one(ring::first, 7);
  std::string map;
  for (count = 0; map != "first" && count < 300; ++count) map = buffer.try_next<record<untagged_event>>().value().map();
  BOOST_TEST(map == "first", "not read within " << count << " records");
}

// What is out while a ring is added does not hide that ring.
void check_added_while_out(bool by_range) {
  streams s;
  ring_buffer buffer{s.io, s.obj.map("first")};
  s.write(ring::first, 4000);
  s.write_one(ring::second, 7);
  if (by_range) {
    buffer.async_read_some<counted_event>(5, [&](error_code, tinybpf::batch<counted_event> range) {
      for (auto const& e : range)
        if (e.serial == 1) buffer.add(s.obj.map("second"));
    });
    s.poll();
  } else {
    BOOST_TEST(buffer.try_next<tinybpf::bytes>().has_value());
    buffer.add(s.obj.map("second"));
  }
  std::string map;
  int count = 0;
  for (; map != "second" && count < 300; ++count) map = buffer.try_next<counted>().value().map();
  BOOST_TEST(map == "second", "not read within " << count << " records");
}

BOOST_AUTO_TEST_CASE(a_ring_is_added_while_a_view_is_out) { check_added_while_out(false); }

BOOST_AUTO_TEST_CASE(a_ring_is_added_while_a_range_is_out) { check_added_while_out(true); }

BOOST_AUTO_TEST_CASE(rings_are_added_while_a_wait_is_pending) {
  streams s;
  ring_buffer buffer{s.io, s.obj.map("first")};
  wait_outcome waited;
  start_wait(buffer, waited);
  s.poll();
  buffer.add(s.obj.map("second"));
  buffer.add(s.obj.map("uncounted"));
  s.poll();
  BOOST_TEST(!waited.ended);
  s.write_one(ring::second, 2);
  s.run_until([&] { return waited.ended; });
  BOOST_TEST(!waited.ec);
  BOOST_TEST(where(buffer.try_next<counted>().value()) == "second 2");

  // The ring that was there first is still heard, and what a new one holds already is found.
  start_wait(buffer, waited);
  s.poll();
  s.write_one(ring::first, 1);
  s.run_until([&] { return waited.ended; });
  BOOST_TEST(where(buffer.try_next<counted>().value()) == "first 1");
  s.write_one(ring::by_index, 3, 1);
  start_wait(buffer, waited);
  s.poll();
  BOOST_TEST(!waited.ended);
  buffer.add(s.obj.map("by_index"));
  s.run_until([&] { return waited.ended; });
  BOOST_TEST(!waited.ec);
  BOOST_TEST(where(buffer.try_next<counted>().value()) == "by_index[1] 3");
}

BOOST_AUTO_TEST_CASE(an_array_is_added_as_a_whole_or_not_at_all) {
  streams s;
  ring_buffer buffer{s.io, s.obj.map("ring_2")};
  error_code ec;
  // From one ring to several, and again where there are several already.
  for (int i = 0; i < 2; ++i) {
    buffer.add(s.obj.map("by_index"), ec);
    BOOST_TEST(ec == error_code(EEXIST, boost::system::system_category()));
    run_dry(s, buffer);
    s.write_one(ring::by_index, 1, 1);
    wait_outcome waited;
    start_wait(buffer, waited);
    s.poll();
    BOOST_TEST(!waited.ended);
    s.write_one(ring::by_index, 2, 2);
    s.run_until([&] { return waited.ended; });
    BOOST_TEST(!waited.ec);
    BOOST_TEST(where(buffer.try_next<counted>().value()) == "ring_2 2");
    BOOST_TEST(!buffer.try_next<counted>());
    if (i == 0) buffer.add(s.obj.map("first"));
  }
}

BOOST_AUTO_TEST_CASE(one_ring_at_several_places_of_an_array) {
  streams s;
  int const fd = test::checked(bpf_map_create(BPF_MAP_TYPE_RINGBUF, "shared", 0, 0, 4096, nullptr), "map");
  for (std::uint32_t place : {3U, 5U}) {
    int const failed = bpf_map_update_elem(s.obj.map("many").fd(), &place, &fd, 0);
    BOOST_TEST_REQUIRE(failed == 0);
  }
  close(fd);
  ring_buffer buffer{s.io, s.obj.map("many")};
  s.write_one(ring::many, 1, 3);
  s.write_one(ring::many, 2, 5);
  BOOST_TEST(where(buffer.try_next<counted>().value()) == "many[3] 1");
  BOOST_TEST(where(buffer.try_next<counted>().value()) == "many[3] 2");
  BOOST_TEST(!buffer.try_next<counted>());
}

BOOST_AUTO_TEST_CASE(a_stream_may_begin_without_a_ring) {
  streams s;
  ring_buffer buffer{s.io};
  BOOST_TEST(buffer.is_open());
  BOOST_TEST(buffer.name().empty());
  BOOST_TEST(buffer.native_handle() == -1);
  BOOST_TEST(!buffer.lost());
  BOOST_TEST(!buffer.try_next<counted_event>());
  wait_outcome waited;
  start_wait(buffer, waited);
  s.poll();
  BOOST_TEST(!waited.ended);
  buffer.add(s.obj.map("first"));
  s.poll();
  BOOST_TEST(!waited.ended);
  s.write_one(ring::first, 5);
  s.run_until([&] { return waited.ended; });
  BOOST_TEST(!waited.ec);
  BOOST_TEST(where(buffer.try_next<counted>().value()) == "first 5");
  BOOST_TEST(buffer.name() == "first");
  BOOST_TEST(buffer.lost().has_value());

  ring_buffer never{s.io.get_executor()};
  start_wait(never, waited);
  s.poll();
  never.close();
  s.poll();
  BOOST_TEST(waited.ended);
  BOOST_TEST(waited.ec == asio::error::operation_aborted);
}

BOOST_AUTO_TEST_CASE(a_map_is_added_once) {
  streams s;
  ring_buffer buffer{s.io, s.obj.map("first")};
  buffer.add(s.obj.map("by_index"));
  for (char const* name : {"first", "by_index"}) {
    error_code ec;
    diagnostics details;
    buffer.add(s.obj.map(name), ec, details);
    BOOST_TEST(ec == kernel_error(EEXIST));
    BOOST_TEST(test::contains(details.message, name));
    BOOST_TEST(test::contains(details.map, name));
    buffer.add(s.obj.map(name), ec);
    BOOST_TEST(ec == kernel_error(EEXIST));
    BOOST_CHECK_THROW(buffer.add(s.obj.map(name)), tinybpf::error);
  }
  s.write_one(ring::first, 1);
  s.write_one(ring::by_index, 2, 3);
  std::multiset<std::string> got;
  while (auto const r = buffer.try_next<counted>()) got.insert(where(*r));
  std::multiset<std::string> const expected{"first 1", "by_index[3] 2"};
  BOOST_TEST(got == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(what_cannot_be_added_leaves_the_stream_as_it_was) {
  streams s;
  ring_buffer buffer{s.io, s.obj.map("first")};
  error_code ec;
  diagnostics details;
  buffer.add(s.obj.map("spare_lost"), ec, details);
  BOOST_TEST(ec == errc::wrong_map_type);
  BOOST_TEST(details.map == "spare_lost");
  buffer.add(tinybpf::map{}, ec);
  BOOST_TEST(ec == errc::closed);
  auto const unloaded = tinybpf::object::open(STREAMS_BPF_O);
  buffer.add(unloaded.map("second"), ec);
  BOOST_TEST(ec == errc::not_loaded);
  buffer.add(s.obj.map("many"), ec);  // holds nothing yet
  BOOST_TEST(ec == errc::wrong_map_type);
  wait_outcome waited;
  start_wait(buffer, waited);
  s.poll();
  s.write_one(ring::first, 1);
  s.run_until([&] { return waited.ended; });
  BOOST_TEST(where(buffer.try_next<counted>().value()) == "first 1");
  buffer.close();
  buffer.add(s.obj.map("second"), ec, details);
  BOOST_TEST(ec == errc::closed);
  BOOST_TEST(test::contains(details.message, "add"));
}

BOOST_AUTO_TEST_CASE(closing_publishes_and_ends_the_wait_of_all_rings) {
  streams s;
  ring_buffer buffer{s.io, s.obj.map("first")};
  buffer.add(s.obj.map("second"));
  buffer.add(s.obj.map("by_index"));
  s.write(ring::first, 3);
  s.write(ring::second, 3);
  s.write_one(ring::by_index, 0, 2);
  int records = 0;
  while (buffer.try_next<counted_event>()) ++records;
  BOOST_TEST(records == 7);
  wait_outcome waited;
  start_wait(buffer, waited);
  buffer.close();
  BOOST_TEST(!waited.ended);
  s.run_until([&] { return waited.ended; });
  BOOST_TEST(waited.ec == asio::error::operation_aborted);
  BOOST_TEST(s.unread(ring::first) == 0U);
  BOOST_TEST(s.unread(ring::second) == 0U);
  BOOST_TEST(s.unread(ring::by_index, 2) == 0U);
  error_code ec;
  BOOST_TEST(!buffer.try_next<counted_event>(ec));
  BOOST_TEST(ec == errc::closed);
  BOOST_TEST(buffer.native_handle() == -1);
}

BOOST_AUTO_TEST_CASE(a_thousand_rings) {
  constexpr std::uint32_t count = 1000;
  rlimit before{};
  test::checked(getrlimit(RLIMIT_NOFILE, &before), "getrlimit");
  rlimit const enough{std::max<rlim_t>(before.rlim_cur, 4096), std::max<rlim_t>(before.rlim_max, 4096)};
  test::checked(setrlimit(RLIMIT_NOFILE, &enough), "setrlimit");
  streams s;
  for (std::uint32_t i = 0; i < count; ++i) {
    int const fd = test::checked(bpf_map_create(BPF_MAP_TYPE_RINGBUF, "one_of_many", 0, 0, 4096, nullptr), "map");
    int const failed = bpf_map_update_elem(s.obj.map("many").fd(), &i, &fd, 0);
    close(fd);
    BOOST_TEST_REQUIRE(failed == 0);
  }
  ring_buffer buffer{s.io, s.obj.map("many")};
  std::set<std::string> got;
  auto const read = [&](std::size_t until) -> asio::awaitable<void> {
    while (got.size() < until) {
      auto const r = co_await buffer.next<counted>();
      BOOST_TEST_REQUIRE(std::string{r.map()} == "many[" + std::to_string(r->index) + "]");
      BOOST_TEST_REQUIRE(got.insert(where(r)).second);
    }
  };
  // All at once; then now this one, now that one, each out of a wait.
  for (std::uint32_t i = 0; i < count; ++i) s.write_one(ring::many, i, i);
  s.run(read(count));
  for (std::uint32_t i = 0; i < 50; ++i) {
    auto const index = i * 379 % count;
    run_dry(s, buffer);
    s.write_one(ring::many, count + i, index);
    s.run(read(count + i + 1));
    BOOST_TEST_REQUIRE(got.contains("many[" + std::to_string(index) + "] " + std::to_string(count + i)));
  }
  buffer.close();
  test::checked(setrlimit(RLIMIT_NOFILE, &before), "setrlimit");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(in_the_order_of_a_field)

namespace {

std::uint64_t now() { return static_cast<std::uint64_t>((std::chrono::steady_clock::now().time_since_epoch()) / 1ns); }

void write_at(streams const& s, std::uint32_t index, std::uint64_t time, std::uint64_t serial = 0) {
  write_args args;
  args.index = index;
  args.time = time;
  args.first = serial;
  BOOST_TEST_REQUIRE(s.write(ring::by_index, 1, args).written == 1U);
}

struct merged : streams {
  explicit merged(std::chrono::nanoseconds max_delay) { buffer.merge_by(&counted_event::time, max_delay); }
  ring_buffer buffer{io, obj.map("by_index")};
};

}  // namespace

// Four rings are written one after the other, each with every fourth moment.
BOOST_AUTO_TEST_CASE(records_of_several_rings_come_in_order) {
  merged s{0ns};
  write_args args;
  args.step = 4;
  for (std::uint32_t index : {2U, 0U, 3U, 1U}) {
    args.index = index;
    args.time = 1000 + index;
    BOOST_TEST_REQUIRE(s.write(ring::by_index, 100, args).written == 100U);
  }
  std::uint64_t expected = 1000;
  auto const read = [&]() -> asio::awaitable<void> {
    while (expected < 1400) {
      if (expected % 50 == 0) {
        auto const e = co_await s.buffer.next<counted_event>();
        BOOST_TEST_REQUIRE(e.time == expected);
        ++expected;
        continue;
      }
      auto range = co_await s.buffer.read_some<counted_event>(30);
      for (auto const& e : range) {
        BOOST_TEST_REQUIRE(e.time == expected);
        BOOST_TEST_REQUIRE(e.index == expected % 4);
        ++expected;
        if (expected % 50 == 0) break;
      }
    }
  };
  s.run(read());
  BOOST_TEST(!s.buffer.try_next<counted_event>());
}

BOOST_AUTO_TEST_CASE(nothing_waits_while_no_ring_is_empty) {
  merged s{24h};
  auto const start = now();
  for (std::uint32_t i = 0; i < 4; ++i) write_at(s, i, start + 10 - i);
  BOOST_TEST(s.buffer.try_next<counted_event>().value().index == 3U);
  // Now one is empty, and the others wait for what may come through it.
  BOOST_TEST(!s.buffer.try_next<counted_event>());
  write_at(s, 3, start + 9);
  BOOST_TEST(s.buffer.try_next<counted_event>().value().index == 2U);
  BOOST_TEST(!s.buffer.try_next<counted_event>());
}

BOOST_AUTO_TEST_CASE(a_record_waits_for_older_ones_of_empty_rings) {
  merged s{24h};
  std::vector<std::uint64_t> got;
  auto const read = [&]() -> asio::awaitable<void> {
    while (got.size() < 5) {
      auto const e = co_await s.buffer.next<counted_event>();
      got.push_back(e.serial);
    }
  };
  bool ended = false;
  asio::co_spawn(s.io, read(), [&](std::exception_ptr) { ended = true; });
  auto const start = now();
  write_at(s, 0, start + 5, 5);
  for (int i = 0; i < 10; ++i) s.poll();
  BOOST_TEST(got.empty());
  write_at(s, 1, start + 1, 1);
  write_at(s, 1, start + 4, 4);
  write_at(s, 2, start + 2, 2);
  s.buffer.flush();
  for (int i = 0; i < 10; ++i) s.poll();
  BOOST_TEST(got.empty());
  write_at(s, 3, start + 3, 3);
  s.buffer.flush();
  s.run_until([&] { return got.size() == 2; });
  s.buffer.merge_by(&counted_event::time, 0ns);
  s.buffer.flush();
  s.run_until([&] { return ended; });
  std::vector<std::uint64_t> const expected{1, 2, 3, 4, 5};
  BOOST_TEST(got == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(but_no_longer_than_it_may) {
  merged s{10ms};
  for (std::uint64_t serial = 0; serial < 5; ++serial) {
    write_at(s, 1, now(), serial);
    std::uint64_t got = 99;
    auto const read = [&]() -> asio::awaitable<void> {
      auto const e = co_await s.buffer.next<counted_event>();
      got = e.serial;
      // Only then it was old enough.
      BOOST_TEST(now() - e.time >= std::uint64_t{10'000'000});
    };
    s.run(read());
    BOOST_TEST(got == serial);
  }
  BOOST_TEST(!s.buffer.try_next<counted_event>());
}

BOOST_AUTO_TEST_CASE(a_time_in_the_future_counts_as_now) {
  merged s{10ms};
  auto const asked = now();
  write_at(s, 1, asked + 3'600'000'000'000, 1);
  auto const read = [&]() -> asio::awaitable<void> {
    auto const e = co_await s.buffer.next<counted_event>();
    BOOST_TEST(e.serial == 1U);
  };
  s.run(read());
  BOOST_TEST(now() - asked >= std::uint64_t{10'000'000});
}

BOOST_AUTO_TEST_CASE(it_waits_no_longer_than_for_the_last_empty_ring) {
  merged s{24h};
  write_at(s, 0, now(), 0);
  wait_outcome waited;
  start_wait(s.buffer, waited);
  s.poll();
  BOOST_TEST(!waited.ended);
  for (std::uint32_t i = 1; i < 4; ++i) write_at(s, i, now(), i);
  s.run_until([&] { return waited.ended; });
  BOOST_TEST(!waited.ec);
  BOOST_TEST(s.buffer.try_next<counted_event>().value().serial == 0U);
}

BOOST_AUTO_TEST_CASE(what_waits_is_not_lost_by_cancelling) {
  merged s{24h};
  write_at(s, 0, now(), 1);
  wait_outcome waited;
  start_wait(s.buffer, waited);
  s.poll();
  BOOST_TEST(!waited.ended);
  s.buffer.cancel();
  s.run_until([&] { return waited.ended; });
  BOOST_TEST(waited.ec == asio::error::operation_aborted);
  s.buffer.merge_by(&counted_event::time, 0ns);
  BOOST_TEST(s.buffer.try_next<counted_event>().value().serial == 1U);
}

BOOST_AUTO_TEST_SUITE_END()
