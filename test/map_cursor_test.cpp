// Walks of maps on a loop, and batches by hand.
#include "loop.hpp"
#include "print.hpp"
#include "support.hpp"

#include <tinybpf/map.hpp>
#include <tinybpf/map_cursor.hpp>
#include <tinybpf/typed_map.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/test/unit_test.hpp>

#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <ranges>
#include <set>
#include <span>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

namespace asio = boost::asio;
using test::contains;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::map_type;

using numbers = tinybpf::typed_map<std::uint64_t, std::uint64_t>;

constexpr std::uint32_t no_prealloc = 1;

numbers make_map(std::uint32_t entries, map_type type = map_type::hash) {
  return tinybpf::map::create(type, "cursors", 8, 8, entries, {.map_flags = type == map_type::hash ? no_prealloc : 0})
      .typed<std::uint64_t, std::uint64_t>();
}

// n under n, from 0 on.
void fill(numbers const& map, std::uint64_t count) {
  std::vector<std::uint64_t> some(4096);
  for (std::uint64_t from = 0; from < count; from += some.size()) {
    some.resize(std::min<std::uint64_t>(some.size(), count - from));
    for (std::size_t i = 0; i < some.size(); ++i) some[i] = from + i;
    map.update_batch(some, some);
  }
}

struct walked : test::loop {
  // What of 0 to size has been seen how often.
  explicit walked(std::uint64_t size) : times(size) {}

  template <class Page>
  void see(Page const& page) {
    for (auto const& [key, value] : page) {
      BOOST_TEST_REQUIRE(key < times.size());
      BOOST_TEST_REQUIRE(value == key);
      ++times[key];
    }
  }
  bool all_once() const {
    return std::all_of(times.begin(), times.end(), [](int n) { return n == 1; });
  }

  std::vector<int> times;
};

BOOST_AUTO_TEST_SUITE(cursors)

// Nobody waits longer than for a page: a queued handler has its turn before each, a descriptor that is always ready
// before each second one at the latest, and a timer comes when the kernel says that it is due.
BOOST_AUTO_TEST_CASE(leave_the_loop_to_others_while_a_million_entries_are_read) {
  constexpr std::uint64_t count = 1'000'000;
  auto const map = make_map(count);
  fill(map, count);
  walked w{count};

  struct turns {
    std::size_t taken = 0;
    std::size_t before = 0;
    std::size_t most = 0;  // pages between two of them
    void take(std::size_t pages) {
      ++taken;
      most = std::max(most, pages - before);
      before = pages;
    }
  };
  turns queued;
  turns ready;
  turns due;
  std::size_t pages = 0;
  bool ended = false;
  auto const queue = [&](auto self) -> void {
    asio::post(w.io, [&, self] {
      queued.take(pages);
      if (!ended) self(self);
    });
  };
  asio::posix::stream_descriptor always{w.io, ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  auto const wait = [&](auto self) -> void {
    always.async_wait(asio::posix::stream_descriptor::wait_write, [&, self](error_code) {
      ready.take(pages);
      if (!ended) self(self);
    });
  };
  asio::steady_timer timer{w.io};
  auto const tick = [&](auto self) -> void {
    timer.expires_after(std::chrono::seconds{0});
    timer.async_wait([&, self](error_code) {
      due.take(pages);
      if (!ended) self(self);
    });
  };
  queue(queue);
  wait(wait);
  tick(tick);
  w.run([](numbers m, walked& seen, std::size_t& read, bool& done) -> asio::awaitable<void> {
    auto cursor = m.async_entries(seen.io.get_executor());
    while (auto const page = co_await cursor.next()) {
      ++read;
      seen.see(page);
    }
    done = true;
  }(map, w, pages, ended));
  BOOST_TEST(w.all_once());
  BOOST_TEST(pages >= count / 1024);
  BOOST_TEST(queued.most == 1U);
  BOOST_TEST(ready.most <= 2U);
  BOOST_TEST(due.taken > 10U);
}

BOOST_AUTO_TEST_CASE(see_once_what_stays_while_the_map_changes) {
  constexpr std::uint64_t count = 100'000;
  auto const map = make_map(2 * count);
  fill(map, count);
  walked w{2 * count};
  w.run([](numbers m, walked& seen) -> asio::awaitable<void> {
    auto cursor = m.async_entries(seen.io.get_executor(), 100);
    std::uint64_t fresh = count;
    while (auto const page = co_await cursor.next()) {
      seen.see(page);
      // One in ten of what was read, and as many that may be still to come.
      for (std::size_t i = 0; i < page.size(); i += 10) {
        m.erase(page.keys()[i]);
        m.erase((page.keys()[i] + count / 2) / 10 * 10 % count);
        m.insert(fresh, fresh);
        ++fresh;
      }
    }
  }(map, w));
  for (std::uint64_t key = 0; key < count; ++key) {
    BOOST_TEST_REQUIRE(w.times[key] <= 1);
    if (map.contains(key)) BOOST_TEST_REQUIRE(w.times[key] == 1);
  }
  for (std::uint64_t key = count; key < 2 * count; ++key) BOOST_TEST_REQUIRE(w.times[key] <= 1);
}

BOOST_AUTO_TEST_CASE(have_pages_of_any_size) {
  constexpr std::uint64_t count = 1000;
  for (auto const type : {map_type::hash, map_type::lru_hash}) {
    auto const map = make_map(2 * count, type);
    fill(map, count);
    for (std::size_t const most : {std::size_t{0}, std::size_t{1}, std::size_t{7}, std::size_t{1000000}}) {
      walked w{count};
      std::size_t largest = 0;
      w.run([](numbers m, walked& seen, std::size_t entries, std::size_t& large) -> asio::awaitable<void> {
        auto cursor = m.async_entries(seen.io.get_executor(), entries);
        while (auto const page = co_await cursor.next()) {
          BOOST_TEST_REQUIRE(page.size() == page.keys().size());
          BOOST_TEST_REQUIRE(page.size() == page.values().size());
          BOOST_TEST_REQUIRE(!page.empty());
          large = std::max(large, page.size());
          seen.see(page);
        }
      }(map, w, most, largest));
      BOOST_TEST(w.all_once());
      if (most == 7) BOOST_TEST(largest <= 14U);  // twice, if a bucket has more than 7
    }
  }
}

// However many entries are asked for, a page has about a megabyte.
BOOST_AUTO_TEST_CASE(have_pages_of_bounded_size) {
  auto const large = tinybpf::map::create(map_type::hash, "large", 8, 65536, 100, {.map_flags = no_prealloc});
  auto const map = large.typed<std::uint64_t, std::array<std::uint8_t, 65536>>();
  auto const value = std::make_unique<std::array<std::uint8_t, 65536>>();
  for (std::uint64_t key = 0; key < 100; ++key) map.update(key, *value);
  test::loop l;
  std::size_t seen = 0;
  l.run([](auto m, asio::io_context& io, std::size_t& entries) -> asio::awaitable<void> {
    auto cursor = m.async_entries(io.get_executor());
    while (auto const page = co_await cursor.next()) {
      BOOST_TEST_REQUIRE(page.size() <= 32U);  // 15, or twice that for a bucket that has more
      entries += page.size();
    }
  }(map, l.io, seen));
  BOOST_TEST(seen == 100U);
}

BOOST_AUTO_TEST_CASE(of_empty_maps_end_at_once) {
  auto const map = make_map(10);
  test::loop l;
  l.run([](numbers m, asio::io_context& io) -> asio::awaitable<void> {
    auto cursor = m.async_entries(io.get_executor());
    auto page = co_await cursor.next();
    BOOST_TEST(!page);
    BOOST_TEST(page.empty());
    BOOST_TEST(page.size() == 0U);
    BOOST_TEST((page.begin() == page.end()));
    page = co_await cursor.next();  // and again
    BOOST_TEST(!page);
  }(map, l.io));
}

// A trie has no batches: its keys are read in steps of a page as well.
BOOST_AUTO_TEST_CASE(of_tries_leave_the_loop_to_others) {
  constexpr std::uint64_t count = 5000;
  auto const trie = tinybpf::map::create(map_type::lpm_trie, "trie", 8, 8, count, {.map_flags = no_prealloc});
  struct prefix {
    std::uint32_t length;
    std::uint32_t number;
  };
  auto const map = trie.typed<prefix, std::uint64_t>();
  for (std::uint32_t n = 0; n < count; ++n) map.update({32, n}, n);
  test::loop l;
  std::size_t turns = 0;
  bool ended = false;
  auto const queue = [&](auto self) -> void {
    asio::post(l.io, [&, self] {
      ++turns;
      if (!ended) self(self);
    });
  };
  queue(queue);
  std::set<std::uint64_t> seen;
  l.run([](auto m, asio::io_context& io, std::set<std::uint64_t>& numbers_seen, bool& done) -> asio::awaitable<void> {
    auto cursor = m.async_entries(io.get_executor(), 100);
    while (auto const page = co_await cursor.next()) {
      BOOST_TEST_REQUIRE(page.size() <= 100U);
      for (auto const& [key, value] : page) {
        BOOST_TEST_REQUIRE(key.number == value);
        BOOST_TEST_REQUIRE(numbers_seen.insert(value).second);
      }
    }
    done = true;
  }(map, l.io, seen, ended));
  BOOST_TEST(seen.size() == count);
  BOOST_TEST(turns >= 2 * count / 100);
}

// Cancelled between two pages, a walk has lost nothing and goes on.
BOOST_AUTO_TEST_CASE(can_be_cancelled_and_go_on) {
  constexpr std::uint64_t count = 10'000;
  auto const map = make_map(count);
  fill(map, count);
  walked w{count};
  for (auto const type :
       {asio::cancellation_type::total, asio::cancellation_type::partial, asio::cancellation_type::terminal}) {
    std::fill(w.times.begin(), w.times.end(), 0);
    auto cursor = map.async_entries(w.io.get_executor(), 100);
    asio::cancellation_signal signal;
    std::size_t aborted = 0;
    bool ended = false;
    for (std::size_t i = 0; !ended; ++i) {
      cursor.async_next(asio::bind_cancellation_slot(
          signal.slot(), [&](error_code ec, tinybpf::map_page<std::uint64_t, std::uint64_t> page) {
            if (ec) {
              BOOST_TEST(ec == error_code{asio::error::operation_aborted});
              BOOST_TEST(page.empty());
              ++aborted;
              return;
            }
            w.see(page);
            ended = page.empty();
          }));
      if (i % 3 == 0) signal.emit(type);
      w.poll();
    }
    BOOST_TEST(aborted > 10U);
    BOOST_TEST(w.all_once());
  }
}

BOOST_AUTO_TEST_CASE(take_any_completion_token) {
  auto const map = make_map(10);
  fill(map, 10);
  test::loop l;
  l.run([](numbers m, asio::io_context& io) -> asio::awaitable<void> {
    using namespace asio::experimental::awaitable_operators;
    auto cursor = m.async_entries(io.get_executor());
    asio::steady_timer never{io, std::chrono::hours{1}};
    auto const first = co_await (cursor.next() || never.async_wait(asio::use_awaitable));
    BOOST_TEST(std::get<0>(first).size() == 10U);
    auto const [ec, page] = co_await cursor.async_next(asio::as_tuple(asio::use_awaitable));
    BOOST_TEST(!ec);
    BOOST_TEST(!page);
  }(map, l.io));

  asio::thread_pool pool{2};
  auto cursor = map.async_entries(asio::make_strand(pool));
  BOOST_TEST(cursor.async_next(asio::use_future).get().size() == 10U);
  BOOST_TEST(cursor.async_next(asio::use_future).get().empty());

  // The handler's own executor is where it runs.
  asio::io_context other;
  std::optional<std::thread::id> ran;
  auto again = map.async_entries(pool.get_executor());
  auto const work = asio::make_work_guard(other);
  again.async_next(asio::bind_executor(other, [&](error_code, auto) { ran = std::this_thread::get_id(); }));
  while (!ran) other.run_one();
  BOOST_TEST((*ran == std::this_thread::get_id()));
  pool.join();  // its threads may still hold the other's executor
}

BOOST_AUTO_TEST_CASE(are_for_one_reader) {
  auto const map = make_map(10);
  fill(map, 10);
  test::loop l;
  auto cursor = map.async_entries(l.io.get_executor());
  std::optional<error_code> first;
  std::optional<error_code> second;
  std::optional<error_code> third;
  diagnostics details;
  cursor.async_next([&](error_code ec, auto page) {
    first = ec;
    BOOST_TEST(page.size() == 10U);
  });
  cursor.async_next(details, [&](error_code ec, auto page) {
    second = ec;
    BOOST_TEST(page.empty());
  });
  l.poll();
  BOOST_TEST(!first.value());
  BOOST_TEST(second.value() == make_error_code(errc::operation_in_progress));
  BOOST_TEST(!details.message.empty());
  cursor.async_next([&](error_code ec, auto) { third = ec; });
  l.poll();
  BOOST_TEST(!third.value());
}

BOOST_AUTO_TEST_CASE(end_those_who_wait_when_they_go) {
  auto const map = make_map(10);
  fill(map, 10);
  test::loop l;
  std::vector<error_code> codes;
  auto const note = [&](error_code ec, auto) { codes.push_back(ec); };
  {
    auto cursor = map.async_entries(l.io.get_executor());
    cursor.async_next(note);
  }
  auto cursor = map.async_entries(l.io.get_executor());
  cursor.async_next(note);
  cursor = map.async_entries(l.io.get_executor());
  BOOST_TEST(codes.empty());
  l.poll();
  BOOST_TEST_REQUIRE(codes.size() == 2U);
  for (auto const& ec : codes) BOOST_TEST(ec == error_code{asio::error::operation_aborted});

  auto moved = std::move(cursor);
  BOOST_TEST((moved.get_executor() == l.io.get_executor()));
  moved.async_next(note);
  l.poll();
  BOOST_TEST(!codes.at(2));
  // Without an executor of its own, a closed cursor uses that of the handler.
  cursor.async_next(asio::bind_executor(l.io, note));  // NOLINT(bugprone-use-after-move): that is the point
  l.poll();
  BOOST_TEST(codes.at(3) == make_error_code(errc::closed));
}

BOOST_AUTO_TEST_CASE(that_are_closed_say_so) {
  test::loop l;
  l.run([](asio::io_context& io) -> asio::awaitable<void> {
    error_code seen;
    try {
      static_cast<void>(co_await numbers::cursor{}.next());
    } catch (tinybpf::error const& e) {
      seen = e.code();
    }
    BOOST_TEST(seen == make_error_code(errc::closed));
    // Of a map that is closed.
    seen = {};
    auto cursor = numbers{}.async_entries(io.get_executor());
    try {
      static_cast<void>(co_await cursor.next());
    } catch (tinybpf::error const& e) {
      seen = e.code();
      BOOST_TEST(!e.get_diagnostics().message.empty());
    }
    BOOST_TEST(seen == make_error_code(errc::closed));
    auto const [ec, page] = co_await cursor.async_next(asio::as_tuple(asio::use_awaitable));
    BOOST_TEST(ec == make_error_code(errc::closed));
    BOOST_TEST(!page);
  }(l.io));
}

// What waits when the loop goes is destroyed with it, and the cursor with what it held.
BOOST_AUTO_TEST_CASE(may_outlive_their_loop) {
  auto const map = make_map(10);
  auto io = std::make_unique<asio::io_context>();
  auto cursor = map.async_entries(io->get_executor());
  bool called = false;
  cursor.async_next([&](error_code, auto) { called = true; });
  io.reset();
  BOOST_TEST(!called);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(draining)

BOOST_AUTO_TEST_CASE(takes_out_what_it_reads) {
  constexpr std::uint64_t count = 10'000;
  for (auto const type : {map_type::hash, map_type::lru_hash}) {
    auto const map = make_map(4 * count, type);
    fill(map, count);
    walked w{count};
    w.run([](numbers m, walked& seen) -> asio::awaitable<void> {
      auto cursor = m.async_drain(seen.io.get_executor(), 100);
      while (auto const page = co_await cursor.next()) {
        seen.see(page);
        for (auto const key : page.keys()) BOOST_TEST_REQUIRE(!m.contains(key));
      }
    }(map, w));
    BOOST_TEST(w.all_once());
    BOOST_TEST(map.count() == 0U);
  }
}

// Whatever a writer stores is drained once: nothing is lost between two pages.
BOOST_AUTO_TEST_CASE(loses_nothing_beside_a_writer) {
  constexpr std::uint64_t count = 200'000;
  auto const map = make_map(count);
  walked w{count};
  std::atomic<bool> written{false};
  std::thread writer{[&] {
    for (std::uint64_t n = 0; n < count; ++n) map.update(n, n);
    written = true;
  }};
  w.run([](numbers m, walked& seen, std::atomic<bool>& done) -> asio::awaitable<void> {
    for (bool last = false; !last;) {
      last = done;
      auto cursor = m.async_drain(seen.io.get_executor(), 256);
      for (;;) {
        auto const [ec, page] = co_await cursor.async_next(asio::as_tuple(asio::use_awaitable));
        BOOST_TEST_REQUIRE(!ec);
        if (!page) break;
        seen.see(page);
      }
    }
  }(map, w, written));
  writer.join();
  BOOST_TEST(w.all_once());
  BOOST_TEST(map.count() == 0U);
}

BOOST_AUTO_TEST_CASE(works_by_key_where_the_kernel_has_no_batches) {
  struct prefix {
    std::uint32_t length;
    std::uint32_t number;
  };
  auto const map = tinybpf::map::create(map_type::lpm_trie, "trie", 8, 8, 1000, {.map_flags = no_prealloc})
                       .typed<prefix, std::uint64_t>();
  for (std::uint32_t n = 0; n < 1000; ++n) map.update({32, n}, n);
  test::loop l;
  std::set<std::uint64_t> seen;
  l.run([](auto m, asio::io_context& io, std::set<std::uint64_t>& numbers_seen) -> asio::awaitable<void> {
    auto cursor = m.async_drain(io.get_executor(), 100);
    while (auto const page = co_await cursor.next())
      for (auto const value : page.values()) BOOST_TEST_REQUIRE(numbers_seen.insert(value).second);
  }(map, l.io, seen));
  BOOST_TEST(seen.size() == 1000U);
  BOOST_TEST(map.count() == 0U);
}

BOOST_AUTO_TEST_CASE(of_arrays_is_refused) {
  auto const map = tinybpf::map::create(map_type::array, "array", 4, 8, 8).typed<std::uint32_t, std::uint64_t>();
  test::loop l;
  l.run([](auto m, asio::io_context& io) -> asio::awaitable<void> {
    auto cursor = m.async_drain(io.get_executor());
    diagnostics details;
    auto const [ec, page] = co_await cursor.async_next(details, asio::as_tuple(asio::use_awaitable));
    BOOST_TEST(ec == make_error_code(errc::not_supported));
    BOOST_TEST(contains(details.message, "'array'"));
    BOOST_TEST(!page);
  }(map, l.io));
}

BOOST_AUTO_TEST_CASE(takes_one_out) {
  auto const map = make_map(10);
  map[7] = 70;
  BOOST_TEST(map.lookup_and_delete(7).value() == 70U);
  BOOST_TEST(!map.contains(7));
  BOOST_TEST(!map.lookup_and_delete(7));
  error_code ec;
  BOOST_TEST(!map.lookup_and_delete(7, ec));
  BOOST_TEST(!ec);
  numbers{}.lookup_and_delete(7, ec);
  BOOST_TEST(ec == make_error_code(errc::closed));
  auto const array = tinybpf::map::create(map_type::array, "array", 4, 8, 8).typed<std::uint32_t, std::uint64_t>();
  diagnostics details;
  array.lookup_and_delete(0, ec, details);
  BOOST_TEST(ec == boost::system::errc::operation_not_supported);
  BOOST_TEST(contains(details.message, "'array'"));
  BOOST_CHECK_THROW(array.lookup_and_delete(0), tinybpf::error);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(batches)

BOOST_AUTO_TEST_CASE(are_read_into_spans) {
  constexpr std::uint64_t count = 1000;
  auto const map = make_map(count);
  fill(map, count);
  std::vector<int> times(count);
  tinybpf::batch_position at;
  std::vector<std::uint64_t> keys(128);
  std::vector<std::uint64_t> values(128);
  while (!at.ended()) {
    auto const found = map.lookup_batch(at, keys, values);
    BOOST_TEST_REQUIRE(found <= 128U);
    for (std::size_t i = 0; i < found; ++i) {
      BOOST_TEST_REQUIRE(keys[i] == values[i]);
      ++times[keys[i]];
    }
  }
  BOOST_TEST(std::all_of(times.begin(), times.end(), [](int n) { return n == 1; }));
  BOOST_TEST(map.lookup_batch(at, keys, values) == 0U);
  at.clear();
  BOOST_TEST(!at.ended());
  BOOST_TEST(map.lookup_batch(at, keys, values) > 0U);
}

// The kernel gives whole buckets. Of a thousand keys in a thousand buckets some share one: room for one entry is too
// little there, and the walk stays where it is until it is given more.
BOOST_AUTO_TEST_CASE(say_when_a_bucket_does_not_fit) {
  constexpr std::uint64_t count = 1000;
  auto const map = make_map(count);
  fill(map, count);
  std::vector<int> times(count);
  tinybpf::batch_position at;
  std::size_t too_small = 0;
  std::array<std::uint64_t, 64> keys{};
  std::array<std::uint64_t, 64> values{};
  for (std::size_t room = 1; !at.ended();) {
    error_code ec;
    diagnostics details;
    auto const found = map.lookup_batch(at, std::span{keys}.first(room), std::span{values}.first(room), ec, details);
    if (ec) {
      BOOST_TEST_REQUIRE(ec == boost::system::errc::no_space_on_device);
      BOOST_TEST_REQUIRE(found == 0U);
      BOOST_TEST_REQUIRE(contains(details.hint, "room"));
      BOOST_TEST_REQUIRE(contains(details.message, "'cursors'"));
      ++too_small;
      BOOST_TEST_REQUIRE(++room <= keys.size());
      continue;
    }
    for (std::size_t i = 0; i < found; ++i) ++times[keys[i]];
    room = 1;
  }
  BOOST_TEST(too_small > 0U);
  BOOST_TEST(std::all_of(times.begin(), times.end(), [](int n) { return n == 1; }));
}

BOOST_AUTO_TEST_CASE(can_be_taken_out) {
  constexpr std::uint64_t count = 1000;
  auto const map = make_map(count);
  fill(map, count);
  std::vector<int> times(count);
  tinybpf::batch_position at;
  std::vector<std::uint64_t> keys(100);
  std::vector<std::uint64_t> values(100);
  std::size_t left = count;
  while (!at.ended()) {
    auto const found = map.lookup_and_delete_batch(at, keys, values);
    for (std::size_t i = 0; i < found; ++i) ++times[keys[i]];
    left -= found;
    BOOST_TEST_REQUIRE(map.count() == left);
  }
  BOOST_TEST(left == 0U);
  BOOST_TEST(std::all_of(times.begin(), times.end(), [](int n) { return n == 1; }));
}

BOOST_AUTO_TEST_CASE(of_other_kinds_say_what_they_cannot) {
  auto const array = tinybpf::map::create(map_type::array, "array", 4, 8, 8).typed<std::uint32_t, std::uint64_t>();
  for (std::uint32_t i = 0; i < 8; ++i) array.update(i, 10 * i);
  tinybpf::batch_position at;
  std::array<std::uint32_t, 5> keys{};
  std::array<std::uint64_t, 5> values{};
  BOOST_TEST(array.lookup_batch(at, keys, values) == 5U);
  BOOST_TEST(values[4] == 40U);
  BOOST_TEST(array.lookup_batch(at, keys, values) == 3U);
  BOOST_TEST(at.ended());
  error_code ec;
  diagnostics details;
  tinybpf::batch_position other;
  BOOST_TEST(array.lookup_and_delete_batch(other, keys, values, ec, details) == 0U);
  BOOST_TEST(ec == boost::system::errc::operation_not_supported);
  BOOST_TEST(contains(details.message, "'array'"));
  BOOST_TEST(!other.ended());
  BOOST_CHECK_THROW(array.lookup_and_delete_batch(other, keys, values), tinybpf::error);

  BOOST_TEST(array.lookup_batch(other, std::span{keys}.first(3), values, ec) == 0U);
  BOOST_TEST(ec == make_error_code(errc::size_mismatch));
  BOOST_TEST(array.lookup_batch(other, {}, {}, ec) == 0U);
  BOOST_TEST(!ec);
  BOOST_TEST(!other.ended());
  numbers{}.lookup_batch(other, {}, {}, ec);
  BOOST_TEST(ec == make_error_code(errc::closed));
}

BOOST_AUTO_TEST_SUITE_END()

static_assert(!std::is_copy_constructible_v<numbers::cursor>);
static_assert(std::is_nothrow_move_constructible_v<numbers::cursor>);
static_assert(std::ranges::input_range<numbers const&>);
static_assert(std::input_iterator<tinybpf::map_page<std::uint64_t, std::uint64_t>::iterator>);

BOOST_AUTO_TEST_CASE(a_map_is_a_range) {
  auto const map = make_map(100);
  fill(map, 100);
  std::uint64_t sum = 0;
  for (auto const& [key, value] : map) sum += key + value;
  BOOST_TEST(sum == 2 * 4950U);
  auto odd = map.keys() | std::views::filter([](std::uint64_t k) { return k % 2 == 1; });
  BOOST_TEST(std::ranges::distance(odd) == 50);
}

}  // namespace
