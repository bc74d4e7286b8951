// The protocol of ring buffers without I/O: every state of the memory, also those that no kernel leaves behind.
#include <tinybpf/detail/ring_reader.hpp>

#include "fake_ring.hpp"

#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <limits>
#include <optional>
#include <ostream>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace tinybpf::detail {

std::ostream& operator<<(std::ostream& out, read_status s) {
  constexpr std::array<char const*, 4> names{"ready", "empty", "busy", "corrupt"};
  return out << names.at(static_cast<std::size_t>(s));
}

}  // namespace tinybpf::detail

namespace {

namespace data = boost::unit_test::data;
using test::fake_ring;
using test::wakeup;
using tinybpf::detail::read_status;
using tinybpf::detail::ring_reader;
using position_type = fake_ring::position_type;

constexpr position_type last_position = std::numeric_limits<position_type>::max();
constexpr position_type wrap_32 = position_type{1} << 32U;

std::string text(ring_reader const& reader) {
  return {reinterpret_cast<char const*>(reader.head().data), reader.head().size};
}

// Checks that the next record is `expected`, and releases it.
void expect(ring_reader& reader, std::string_view expected) {
  BOOST_TEST_REQUIRE(reader.peek() == read_status::ready);
  BOOST_TEST(text(reader) == expected);
  reader.release();
}

// `size` bytes that tell one record from another.
std::string pattern(std::size_t size, std::uint64_t seed) {
  std::string s(size, '\0');
  for (std::size_t i = 0; i < size; ++i) s[i] = static_cast<char>(seed * 31 + i * 7 + (seed >> 8U));
  return s;
}

std::string emit(fake_ring& ring, std::string s, wakeup how = wakeup::adaptive) {
  BOOST_TEST_REQUIRE(ring.emit(s, how));
  return s;
}

BOOST_AUTO_TEST_CASE(a_reader_of_nothing_finds_nothing) {
  ring_reader reader;
  BOOST_TEST(reader.peek() == read_status::empty);
  BOOST_TEST(reader.unpublished() == 0U);
  reader.publish();
}

BOOST_AUTO_TEST_CASE(empty) {
  fake_ring ring;
  ring_reader reader{ring.regions()};
  BOOST_TEST(reader.peek() == read_status::empty);
  BOOST_TEST(reader.peek() == read_status::empty);
  BOOST_TEST(reader.publish_and_check_empty());
  BOOST_TEST(ring.consumer_position() == 0U);
}

BOOST_AUTO_TEST_CASE(one) {
  fake_ring ring;
  ring_reader reader{ring.regions()};
  emit(ring, "one");
  BOOST_TEST(reader.peek() == read_status::ready);
  auto const* const where = reader.head().data;
  BOOST_TEST(reader.peek() == read_status::ready);
  BOOST_TEST(reader.head().data == where);
  BOOST_TEST(reader.head().position == 0U);
  BOOST_TEST(reader.head().size == 3U);
  BOOST_TEST(reinterpret_cast<std::uintptr_t>(where) % 8 == 0U);
  expect(reader, "one");
  BOOST_TEST(reader.peek() == read_status::empty);
  BOOST_TEST(reader.publish_and_check_empty());
  BOOST_TEST(ring.unread() == 0U);
}

BOOST_AUTO_TEST_CASE(an_empty_record) {
  fake_ring ring;
  ring_reader reader{ring.regions()};
  emit(ring, "");
  emit(ring, "x");
  expect(reader, "");
  expect(reader, "x");
  BOOST_TEST(reader.peek() == read_status::empty);
}

BOOST_AUTO_TEST_CASE(many_in_order_with_their_positions) {
  fake_ring ring{1U << 16U};
  ring_reader reader{ring.regions()};
  std::vector<std::string> sent;
  for (std::size_t i = 0; i < 500; ++i) sent.push_back(emit(ring, pattern(i % 67, i)));
  std::uint64_t position = 0;
  for (auto const& s : sent) {
    BOOST_TEST_REQUIRE(reader.peek() == read_status::ready);
    BOOST_TEST(reader.head().position == position);
    position += (s.size() + 15) & ~std::size_t{7};
    expect(reader, s);
  }
  BOOST_TEST(reader.peek() == read_status::empty);
}

BOOST_AUTO_TEST_CASE(what_was_written_before_the_reader_came_is_read) {
  fake_ring ring;
  emit(ring, "before");
  ring_reader reader{ring.regions()};
  expect(reader, "before");
  reader.publish();
  emit(ring, "unread");
  ring_reader second{ring.regions()};
  expect(second, "unread");
}

// Records of many sizes begin at every offset, also across the end of the ring.
BOOST_DATA_TEST_CASE(wrap_around_at_every_offset, data::make(std::vector<std::size_t>{4096, 8192}), ring_size) {
  std::uint64_t seed = 0;
  std::size_t crossed = 0;
  for (std::size_t offset = 0; offset < ring_size; offset += 8) {
    fake_ring ring{ring_size, 3 * ring_size + offset};
    ring_reader reader{ring.regions()};
    for (std::size_t size : {0U, 1U, 7U, 8U, 40U, 1000U, 2999U}) {
      auto const s = emit(ring, pattern(size, ++seed));
      BOOST_TEST_REQUIRE(reader.peek() == read_status::ready);
      auto const at = reader.head().position % ring_size;
      if (at + 8 + size > ring_size) ++crossed;
      expect(reader, s);
      reader.publish();
    }
    BOOST_TEST_REQUIRE(reader.peek() == read_status::empty);
    BOOST_TEST_REQUIRE(ring.unread() == 0U);
  }
  BOOST_TEST(crossed > 400U);
}

BOOST_AUTO_TEST_CASE(a_record_that_fills_the_ring) {
  fake_ring ring{4096};
  ring_reader reader{ring.regions()};
  for (std::uint64_t lap = 0; lap < 3; ++lap) {
    auto const s = emit(ring, pattern(4096 - 16, lap));
    BOOST_TEST(!ring.emit(std::string{"x"}));
    expect(reader, s);
    reader.publish();
  }
  BOOST_TEST(ring.failed() == 3U);
}

BOOST_AUTO_TEST_CASE(a_large_ring) {
  fake_ring ring{std::size_t{1} << 24U};
  ring_reader reader{ring.regions()};
  for (std::uint64_t i = 0; i < 40; ++i) {
    auto const s = emit(ring, pattern((std::size_t{1} << 20U) + i, i));
    expect(reader, s);
  }
}

BOOST_AUTO_TEST_CASE(a_reserved_head_is_busy_until_it_is_committed) {
  fake_ring ring;
  ring_reader reader{ring.regions()};
  emit(ring, "before");
  auto* const head = ring.reserve(4);
  emit(ring, "behind");
  expect(reader, "before");
  BOOST_TEST(reader.peek() == read_status::busy);
  BOOST_TEST(reader.peek() == read_status::busy);
  BOOST_TEST(!reader.publish_and_check_empty());
  std::memcpy(head, "head", 4);
  ring.submit(head);
  expect(reader, "head");
  expect(reader, "behind");
  BOOST_TEST(reader.peek() == read_status::empty);
}

BOOST_AUTO_TEST_CASE(a_reserved_head_that_is_discarded) {
  fake_ring ring;
  ring_reader reader{ring.regions()};
  auto* const head = ring.reserve(100);
  emit(ring, "behind");
  BOOST_TEST(reader.peek() == read_status::busy);
  ring.discard(head);
  expect(reader, "behind");
  BOOST_TEST(reader.peek() == read_status::empty);
  BOOST_TEST(reader.publish_and_check_empty());
  BOOST_TEST(ring.unread() == 0U);
}

BOOST_AUTO_TEST_CASE(commits_out_of_order) {
  fake_ring ring;
  ring_reader reader{ring.regions()};
  auto* const first = ring.reserve(1);
  auto* const second = ring.reserve(1);
  auto* const third = ring.reserve(1);
  *first = std::byte{'1'};
  *second = std::byte{'2'};
  *third = std::byte{'3'};
  ring.submit(third);
  BOOST_TEST(reader.peek() == read_status::busy);
  ring.submit(first);
  expect(reader, "1");
  BOOST_TEST(reader.peek() == read_status::busy);
  ring.submit(second);
  expect(reader, "2");
  expect(reader, "3");
}

BOOST_AUTO_TEST_CASE(runs_of_discarded_records) {
  fake_ring ring{1U << 16U};
  ring_reader reader{ring.regions()};
  for (int run : {1, 2, 3, 100, 1000}) {
    for (int i = 0; i < run; ++i) ring.discard(ring.reserve(static_cast<std::size_t>(i) % 30));
    emit(ring, "kept");
    expect(reader, "kept");
    BOOST_TEST(reader.peek() == read_status::empty);
    reader.publish();
  }
  for (int i = 0; i < 100; ++i) ring.discard(ring.reserve(8));
  BOOST_TEST(reader.peek() == read_status::empty);
  BOOST_TEST(reader.publish_and_check_empty());
  BOOST_TEST(ring.unread() == 0U);
}

// One look at the head takes a bounded time whatever a writer throws away.
BOOST_AUTO_TEST_CASE(a_flood_of_discarded_records_is_cut_short) {
  fake_ring ring{1U << 18U};
  ring_reader reader{ring.regions()};
  constexpr int flood = 10'000;
  for (int i = 0; i < flood; ++i) ring.discard(ring.reserve(8));
  emit(ring, "kept");
  int looks = 1;
  while (reader.peek() == read_status::busy) ++looks;
  BOOST_TEST(looks > 1);
  BOOST_TEST(looks < 100);
  expect(reader, "kept");
  BOOST_TEST(reader.peek() == read_status::empty);
}

BOOST_AUTO_TEST_CASE(discarded_records_are_handed_back_while_they_are_passed) {
  fake_ring ring{1U << 18U};
  ring_reader reader{ring.regions()};
  for (int i = 0; i < 10'000; ++i) ring.discard(ring.reserve(8));
  BOOST_TEST(reader.peek() == read_status::busy);
  BOOST_TEST(ring.consumer_position() > 0U);
  BOOST_TEST(reader.unpublished() <= ring.size() / 64);
}

struct bad_length {
  std::uint32_t header;
  char const* what;
};
std::ostream& operator<<(std::ostream& out, bad_length const& b) { return out << b.what; }

BOOST_DATA_TEST_CASE(corrupt_lengths,
                     data::make(std::vector<bad_length>{
                         {9, "one byte beyond the writer's position"},
                         {4096, "the whole ring"},
                         {4097, "more than the ring"},
                         {fake_ring::discard_bit | 4096, "discarded, and too long"},
                         {fake_ring::discard_bit | (fake_ring::discard_bit - 1), "discarded, the longest"},
                         {fake_ring::discard_bit - 1, "the longest"},
                         {fake_ring::discard_bit - 8, "nearly the longest"},
                     }),
                     bad) {
  fake_ring ring;
  ring_reader reader{ring.regions()};
  emit(ring, "before");
  emit(ring, pattern(8, 1));
  expect(reader, "before");
  ring.set_header(16, bad.header);
  BOOST_TEST(reader.peek() == read_status::corrupt);
  BOOST_TEST(reader.peek() == read_status::corrupt);
  auto const found = reader.skip_corrupt();
  BOOST_TEST(found.position == 16U);
  BOOST_TEST(found.length == (bad.header & ~fake_ring::discard_bit));
  BOOST_TEST(found.available == 16U);
  BOOST_TEST(reader.peek() == read_status::empty);
  emit(ring, "behind");
  expect(reader, "behind");
  BOOST_TEST(reader.publish_and_check_empty());
  BOOST_TEST(ring.unread() == 0U);
}

BOOST_AUTO_TEST_CASE(a_length_that_is_wrong_and_fits_is_taken_at_its_word) {
  fake_ring ring;
  ring_reader reader{ring.regions()};
  emit(ring, pattern(24, 1));
  ring.set_header(0, 21);
  BOOST_TEST(reader.peek() == read_status::ready);
  BOOST_TEST(reader.head().size == 21U);
}

struct bad_position {
  position_type position;  // of the writer, while the reader is at 4096
  position_type claimed;
  char const* what;
};
std::ostream& operator<<(std::ostream& out, bad_position const& b) { return out << b.what; }

BOOST_DATA_TEST_CASE(corrupt_writer_positions,
                     data::make(std::vector<bad_position>{
                         {4088, last_position - 7, "just behind the reader"},
                         {0, last_position - 4095, "a lap behind the reader"},
                         {8200, 4104, "just too far ahead"},
                         {wrap_32, wrap_32 - 4096, "far ahead"},
                         {4096 + (last_position / 2 & ~position_type{7}), last_position / 2 & ~position_type{7},
                          "half way"},
                         {4097, 1, "no multiple of 8, 1 ahead"},
                         {4100, 4, "no multiple of 8, 4 ahead"},
                         {8191, 4095, "no multiple of 8, far ahead"},
                         {last_position, last_position - 4096, "the last position"},
                     }),
                     bad) {
  fake_ring ring{4096, 4096};
  ring_reader reader{ring.regions()};
  // What the ring holds looks like a record that reaches far out of it.
  ring.set_header(4096, 1U << 20U);
  ring.set_producer_position(bad.position);
  BOOST_TEST(reader.peek() == read_status::corrupt);
  // What was found stands, whatever else the memory says meanwhile.
  BOOST_TEST(reader.peek() == read_status::corrupt);
  ring.set_header(4096, 0);
  BOOST_TEST(reader.peek() == read_status::corrupt);
  auto const found = reader.skip_corrupt();
  BOOST_TEST(found.position == 4096U);
  BOOST_TEST(found.length == bad.claimed);
  BOOST_TEST(found.available == ring.size());

  // The writer comes to its senses, and goes on from where it said it was.
  auto const onwards = (bad.position + 7) & ~position_type{7};
  ring.set_producer_position(onwards);
  BOOST_TEST(reader.peek() == read_status::empty);
  reader.publish();
  BOOST_TEST(ring.consumer_position() == onwards);
  emit(ring, "onwards");
  expect(reader, "onwards");
}

// The writer's position is behind ours, so we are led back. No run reaches there: what looks like a perf buffer's
// sample is none.
BOOST_AUTO_TEST_CASE(no_run_after_a_way_back) {
  alignas(8) position_type consumer = 8192;
  alignas(8) position_type producer = 8192;
  alignas(8) static std::array<std::byte, 2 * 4096> data{};
  ring_reader reader{{&consumer, &producer, data.data(), 4096}};
  producer = 4096;
  BOOST_TEST_REQUIRE((reader.peek() == read_status::corrupt));
  reader.skip_corrupt();
  std::array<std::uint32_t, 2> const sample{9, 32U << 16U};
  std::memcpy(data.data(), sample.data(), sizeof sample);
  producer = 4096 + 64;
  reader.begin_run<20>(100);
  BOOST_TEST((reader.run_next<20, 4>() == nullptr));
  BOOST_TEST((reader.run_next<20, 8>() == nullptr));
}

BOOST_AUTO_TEST_CASE(corruption_stands_until_it_is_skipped) {
  fake_ring ring;
  ring_reader reader{ring.regions()};
  emit(ring, "12345678");
  ring.set_header(0, 5000);
  BOOST_TEST(reader.peek() == read_status::corrupt);
  ring.set_header(0, 8);
  BOOST_TEST(reader.peek() == read_status::corrupt);
  emit(ring, "behind");
  BOOST_TEST(reader.skip_corrupt().length == 5000U);
  expect(reader, "behind");
  BOOST_TEST(reader.peek() == read_status::empty);
}

BOOST_AUTO_TEST_CASE(a_reader_position_that_is_no_multiple_of_8) {
  fake_ring ring{4096, 8};
  ring.set_consumer_position(3);
  emit(ring, "record");
  ring_reader reader{ring.regions()};
  expect(reader, "record");
  BOOST_TEST(reader.peek() == read_status::empty);
  reader.publish();
  BOOST_TEST(ring.unread() == 0U);
}

// Positions go through 2^32 and through their own end as through any other number.
BOOST_DATA_TEST_CASE(positions_wrap,
                     data::make(std::vector<position_type>{wrap_32, wrap_32 * 3, 0, wrap_32*(wrap_32 / 2)}) *
                         data::make(std::vector<std::size_t>{4096, 65536}),
                     end, ring_size) {
  for (position_type before : {8U, 16U, 48U, 4096U}) {
    auto const start = end - before;
    fake_ring ring{ring_size, start};
    ring_reader reader{ring.regions()};
    BOOST_TEST(reader.peek() == read_status::empty);
    auto position = start;
    for (std::uint64_t i = 0; i < 300; ++i) {
      auto const s = emit(ring, pattern(i % 90, i));
      BOOST_TEST_REQUIRE(reader.peek() == read_status::ready);
      BOOST_TEST(reader.head().position == position);
      position += (s.size() + 15) & ~std::size_t{7};
      expect(reader, s);
      BOOST_TEST_REQUIRE(reader.unpublished() <= ring_size / 64 + 104);
      if (i % 16 == 0) reader.publish();
    }
    BOOST_TEST(reader.peek() == read_status::empty);
    BOOST_TEST(reader.publish_and_check_empty());
    BOOST_TEST(ring.consumer_position() == position);
  }
}

BOOST_AUTO_TEST_CASE(several_records_across_the_end_of_positions) {
  fake_ring ring{4096, position_type{0} - 64};
  ring_reader reader{ring.regions()};
  for (std::uint64_t i = 0; i < 10; ++i) emit(ring, pattern(24, i));
  auto* const busy = ring.reserve(8);
  for (std::uint64_t i = 0; i < 10; ++i) expect(reader, pattern(24, i));
  BOOST_TEST(reader.peek() == read_status::busy);
  ring.discard(busy);
  BOOST_TEST(reader.peek() == read_status::empty);
  ring.set_producer_position(position_type{0} - 64);  // behind
  BOOST_TEST(reader.peek() == read_status::corrupt);
}

BOOST_AUTO_TEST_CASE(publishing) {
  fake_ring ring{1U << 16U};
  ring_reader reader{ring.regions()};
  emit(ring, pattern(24, 0));
  emit(ring, pattern(24, 1));
  expect(reader, pattern(24, 0));
  BOOST_TEST(reader.unpublished() == 32U);
  BOOST_TEST(ring.consumer_position() == 0U);  // not for each record
  reader.publish();
  BOOST_TEST(reader.unpublished() == 0U);
  BOOST_TEST(ring.consumer_position() == 32U);
  reader.publish();
  BOOST_TEST(ring.consumer_position() == 32U);
  expect(reader, pattern(24, 1));
  BOOST_TEST(reader.publish_and_check_empty());
  BOOST_TEST(reader.unpublished() == 0U);
  BOOST_TEST(ring.consumer_position() == 64U);
}

BOOST_AUTO_TEST_CASE(what_is_looked_at_is_not_published) {
  fake_ring ring;
  ring_reader reader{ring.regions()};
  emit(ring, pattern(2000, 0));
  BOOST_TEST(reader.peek() == read_status::ready);
  reader.publish();
  BOOST_TEST(ring.consumer_position() == 0U);
  BOOST_TEST(!ring.emit(pattern(3000, 0)));
}

// However long a batch: the writer misses at most 1/64 of the ring.
BOOST_DATA_TEST_CASE(at_most_a_64th_of_the_ring_is_held,
                     data::make(std::vector<std::size_t>{4096, 16384, 1U << 20U}) *
                         data::make(std::vector<std::size_t>{0, 8, 40, 500}),
                     ring_size, record_size) {
  fake_ring ring{ring_size};
  while (ring.emit(pattern(record_size, 7))) {
  }
  ring_reader reader{ring.regions()};
  std::size_t most = 0;
  position_type publications = 0;
  position_type before = 0;
  std::size_t records = 0;
  while (reader.peek() == read_status::ready) {
    reader.release();
    ++records;
    most = std::max(most, reader.unpublished());
    publications += ring.consumer_position() != before ? 1 : 0;
    before = ring.consumer_position();
  }
  BOOST_TEST(most <= ring_size / 64);
  BOOST_TEST(records >= 7U);
  // And it does not miss the cache line each time, where records are small.
  if (record_size <= 40 && ring_size >= 16384) BOOST_TEST(publications <= records / 4);
}

// The writer wakes a reader that has caught up, and nobody else: so a reader may sleep when publish_and_check_empty()
// said so, and at no other moment.
BOOST_AUTO_TEST_CASE(who_is_woken) {
  fake_ring ring;
  ring_reader reader{ring.regions()};
  BOOST_TEST(reader.publish_and_check_empty());
  emit(ring, "wakes");
  BOOST_TEST(ring.notifications() == 1U);
  emit(ring, "does not");
  BOOST_TEST(ring.notifications() == 1U);
  expect(reader, "wakes");
  expect(reader, "does not");
  reader.publish();
  emit(ring, "wakes again");
  BOOST_TEST(ring.notifications() == 2U);
  emit(ring, "forced", wakeup::always);
  BOOST_TEST(ring.notifications() == 3U);
  expect(reader, "wakes again");
  expect(reader, "forced");
  BOOST_TEST(reader.publish_and_check_empty());
  emit(ring, "quiet", wakeup::never);
  BOOST_TEST(ring.notifications() == 3U);
  BOOST_TEST(!reader.publish_and_check_empty());
  expect(reader, "quiet");
}

BOOST_AUTO_TEST_CASE(two_readers_one_after_the_other) {
  fake_ring ring;
  std::uint64_t next = 0;
  std::deque<std::string> sent;
  for (int turn = 0; turn < 50; ++turn) {
    for (int i = 0; i < 5; ++i) sent.push_back(emit(ring, pattern(20, next++)));
    ring_reader reader{ring.regions()};
    for (int i = 0; i < 5; ++i) {
      expect(reader, sent.front());
      sent.pop_front();
    }
    reader.publish();
  }
}

// What the ring must hold, said in the simplest way.
struct model {
  enum class state : std::uint8_t { reserved, submitted, discarded };
  struct entry {
    std::uint64_t id;
    position_type position;
    std::string text;
    std::byte* sample;
    state now;
  };

  read_status head() {
    while (!entries.empty() && entries.front().now == state::discarded) entries.pop_front();
    if (entries.empty()) return read_status::empty;
    return entries.front().now == state::reserved ? read_status::busy : read_status::ready;
  }

  std::deque<entry> entries;
};

BOOST_DATA_TEST_CASE(as_a_simple_model_says, data::xrange(24), seed) {
  std::mt19937_64 random{static_cast<std::uint64_t>(seed)};
  auto const below = [&](std::uint64_t n) { return random() % n; };
  std::size_t const size = std::size_t{4096} << below(4);
  position_type const start =
      std::array<position_type, 4>{0, wrap_32 - 8 * below(1000), position_type{0} - 8 * below(1000),
                                   8 * random()}[static_cast<std::size_t>(seed) % 4];
  fake_ring ring{size, start};
  ring_reader reader{ring.regions()};
  model expected;
  std::uint64_t id = 0;
  std::uint64_t read = 0;

  auto const write = [&](model::state to) {
    auto const position = ring.producer_position();
    auto s = pattern(below(4) == 0 ? below(size / 3) : below(64), ++id);
    auto* const sample = ring.reserve(s.size());
    if (sample == nullptr) return;
    if (!s.empty()) std::memcpy(sample, s.data(), s.size());
    if (to == model::state::submitted) ring.submit(sample);
    if (to == model::state::discarded) ring.discard(sample);
    expected.entries.push_back({id, position, std::move(s), sample, to});
  };
  auto const finish_one = [&] {
    std::vector<model::entry*> open;
    for (auto& e : expected.entries)
      if (e.now == model::state::reserved) open.push_back(&e);
    if (open.empty()) return;
    auto& e = *open[below(open.size())];
    if (below(3) == 0) {
      ring.discard(e.sample);
      e.now = model::state::discarded;
    } else {
      ring.submit(e.sample);
      e.now = model::state::submitted;
    }
  };
  auto const read_one = [&] {
    auto const status = reader.peek();
    BOOST_TEST_REQUIRE(status == expected.head());
    if (status != read_status::ready) return;
    auto const& e = expected.entries.front();
    BOOST_TEST_REQUIRE(text(reader) == e.text);
    BOOST_TEST_REQUIRE(reader.head().position == e.position);
    if (below(8) == 0) return;  // looked at, and left for later
    reader.release();
    ++read;
    expected.entries.pop_front();
  };

  for (int step = 0; step < 20'000; ++step) {
    switch (below(10)) {
      case 0:
        write(model::state::reserved);
        break;
      case 1:
        write(model::state::discarded);
        break;
      case 2:
      case 3:
        write(model::state::submitted);
        break;
      case 4:
        finish_one();
        break;
      case 5:
        reader.publish();
        break;
      case 6:
        // Something is left unread exactly if the writer thinks so.
        if (expected.head() == read_status::empty && reader.peek() == read_status::empty)
          BOOST_TEST_REQUIRE(reader.publish_and_check_empty());
        break;
      default:
        read_one();
    }
    BOOST_TEST_REQUIRE(ring.unread() <= size);
    BOOST_TEST_REQUIRE(reader.unpublished() <= ring.unread());
  }
  BOOST_TEST(read > 1000U);
}

// Drains what a writer on another thread sends, in the way a reader does that sleeps in between.
template <class Handle>
void drain(ring_reader& reader, std::atomic<bool> const& done, Handle handle) {
  for (;;) {
    bool const last = done.load();
    switch (reader.peek()) {
      case read_status::ready:
        handle(reader.head());
        reader.release();
        break;
      case read_status::empty:
        if (reader.publish_and_check_empty() && last) return;
        std::this_thread::yield();
        break;
      case read_status::busy:
        reader.publish();
        std::this_thread::yield();
        break;
      case read_status::corrupt:
        BOOST_FAIL("corrupt: " << reader.skip_corrupt().length);
    }
  }
}

std::uint64_t word_at(std::byte const* data) {
  std::uint64_t word = 0;
  std::memcpy(&word, data, sizeof word);
  return word;
}

BOOST_DATA_TEST_CASE(a_writer_on_another_thread,
                     data::make(std::vector<std::size_t>{4096, 1U << 18U}) *
                         data::make(std::vector<position_type>{0, position_type{0} - 8'000'000}),
                     ring_size, start) {
  constexpr std::uint64_t count = 500'000;
  fake_ring ring{ring_size, start};
  ring_reader reader{ring.regions()};
  std::atomic<bool> done{false};
  std::thread writer{[&] {
    for (std::uint64_t i = 0; i < count;) {
      std::size_t const size = 8 + i % 5 * 8;
      auto* const sample = ring.reserve(size);
      if (sample == nullptr) {
        std::this_thread::yield();
        continue;
      }
      for (std::size_t at = 0; at < size; at += 8) std::memcpy(sample + at, &i, sizeof i);
      if (i % 11 == 0) {
        ring.discard(sample);
      } else {
        ring.submit(sample);
      }
      ++i;
    }
    done = true;
  }};
  std::uint64_t expected = 0;
  std::uint64_t wrong = 0;
  drain(reader, done, [&](tinybpf::detail::raw_record const& r) {
    if (expected % 11 == 0) ++expected;
    if (r.size != 8 + expected % 5 * 8) ++wrong;
    for (std::size_t at = 0; at < r.size; at += 8)
      if (word_at(r.data + at) != expected) ++wrong;
    ++expected;
  });
  writer.join();
  if (expected % 11 == 0) ++expected;
  BOOST_TEST(expected >= count);
  BOOST_TEST(expected <= count + 1);
  BOOST_TEST(wrong == 0U);
  BOOST_TEST(ring.unread() == 0U);
}

BOOST_AUTO_TEST_CASE(several_writers) {
  constexpr std::uint64_t writers = 3;
  constexpr std::uint64_t each = 100'000;
  fake_ring ring{1U << 14U};
  ring_reader reader{ring.regions()};
  std::atomic<std::uint64_t> running{writers};
  std::atomic<bool> done{false};
  std::vector<std::thread> threads;
  for (std::uint64_t w = 0; w < writers; ++w)
    threads.emplace_back([&, w] {
      for (std::uint64_t i = 0; i < each;)
        if (ring.emit(std::array{w, i}))
          ++i;
        else
          std::this_thread::yield();
      if (--running == 0) done = true;
    });
  std::array<std::uint64_t, writers> next{};
  std::uint64_t wrong = 0;
  drain(reader, done, [&](tinybpf::detail::raw_record const& r) {
    auto const w = word_at(r.data);
    if (r.size != 16 || w >= writers || word_at(r.data + 8) != next.at(w)++) ++wrong;
  });
  for (auto& t : threads) t.join();
  BOOST_TEST(wrong == 0U);
  for (auto const n : next) BOOST_TEST(n == each);
}

// A reader that sleeps only when publish_and_check_empty() allows it is woken for every record that finds it asleep:
// here sleeping is waiting for a notification that has not come yet.
BOOST_AUTO_TEST_CASE(no_wake_up_is_missed) {
  constexpr std::uint64_t count = 200'000;
  fake_ring ring;
  ring_reader reader{ring.regions()};
  std::thread writer{[&] {
    for (std::uint64_t i = 0; i < count;)
      if (ring.emit(i))
        ++i;
      else
        std::this_thread::yield();
  }};
  std::uint64_t expected = 0;
  std::uint64_t wrong = 0;
  std::uint64_t slept = 0;
  while (expected < count) {
    auto const before = ring.notifications();
    if (reader.peek() == read_status::ready) {
      if (word_at(reader.head().data) != expected++) ++wrong;
      reader.release();
    } else if (reader.publish_and_check_empty()) {
      ++slept;
      while (ring.notifications() == before) std::this_thread::yield();
    }
  }
  writer.join();
  BOOST_TEST(wrong == 0U);
  BOOST_TEST(slept > 0U);
}

// Whatever is read lies within the ring.
bool within(fake_ring const& ring, tinybpf::detail::raw_record const& r) {
  auto const regions = ring.regions();
  return r.data >= regions.data + 8 && r.size <= ring.size() - 8 && r.data + r.size <= regions.data + 2 * ring.size();
}

// Random bytes where the kernel would write, and each byte that the reader shows is read: outside the regions there is
// nothing mapped.
BOOST_DATA_TEST_CASE(random_garbage, data::xrange(16), seed) {
  std::mt19937_64 random{static_cast<std::uint64_t>(seed) + 1000};
  auto const below = [&](std::uint64_t n) { return random() % n; };
  fake_ring ring{std::size_t{4096} << below(2), 8 * random()};
  auto const bytes = ring.data();
  std::optional<ring_reader> reader{ring.regions()};
  std::array<std::uint64_t, 4> seen{};
  std::uint64_t outside = 0;
  std::uint64_t sum = 0;
  for (int round = 0; round < 20'000; ++round) {
    if (round % 500 == 0)
      for (auto& b : bytes) b = static_cast<std::byte>(random());
    // Headers: often plausible, sometimes anything.
    for (std::uint64_t i = below(40); i > 0; --i) {
      auto const any = static_cast<std::uint32_t>(random());
      ring.set_header(8 * below(ring.size() / 8), below(3) == 0 ? any : static_cast<std::uint32_t>(below(200)));
    }
    switch (below(8)) {
      case 0:
        ring.set_producer_position(random());
        break;
      case 1:
        ring.set_producer_position(ring.consumer_position() + below(2 * ring.size()));
        break;
      case 2:
        ring.set_producer_position(ring.consumer_position() - below(2 * ring.size()));
        break;
      case 3:
        ring.set_consumer_position(random());
        break;
      case 4:
        ring.set_consumer_position(random());
        reader.emplace(ring.regions());
        break;
      default:
        ring.set_producer_position((ring.consumer_position() + below(ring.size())) & ~position_type{7});
    }
    for (int reads = 0; reads < 50; ++reads) {
      auto const status = reader->peek();
      ++seen.at(static_cast<std::size_t>(status));
      BOOST_TEST_REQUIRE((status == read_status::busy || reader->peek() == status));
      if (status == read_status::ready) {
        if (!within(ring, reader->head())) {
          ++outside;
          reader->release();
          continue;
        }
        for (std::size_t i = 0; i < reader->head().size; ++i)
          sum += std::to_integer<std::uint64_t>(reader->head().data[i]);
        if (below(10) != 0) reader->release();
      } else if (status == read_status::corrupt) {
        reader->skip_corrupt();
      } else {
        if (status == read_status::empty) static_cast<void>(reader->publish_and_check_empty());
        break;
      }
    }
  }
  BOOST_TEST(outside == 0U);
  BOOST_TEST(sum > 0U);
  for (auto const n : seen) BOOST_TEST(n > 100U);
}

// A word that changes between two looks is looked at once.
BOOST_AUTO_TEST_CASE(memory_that_changes_while_it_is_read) {
  fake_ring ring{4096, 1U << 20U};
  ring_reader reader{ring.regions()};
  std::atomic<bool> done{false};
  std::thread enemy{[&] {
    std::mt19937_64 random{7};
    while (!done) {
      auto const consumer = ring.consumer_position();
      auto const near = consumer + 8 * (random() % 512);
      ring.set_producer_position(random() % 4 == 0 ? random() : near);
      for (int i = 0; i < 8; ++i) {
        auto const any = static_cast<std::uint32_t>(random());
        ring.set_header(consumer + 8 * (random() % 8), random() % 2 == 0 ? any : any % 64);
      }
    }
  }};
  std::uint64_t outside = 0;
  std::array<std::uint64_t, 4> seen{};
  // As long as it takes to have seen each outcome often.
  while (*std::min_element(seen.begin(), seen.end()) < 2000) {
    auto const status = reader.peek();
    ++seen.at(static_cast<std::size_t>(status));
    if (status == read_status::ready) {
      if (!within(ring, reader.head())) ++outside;
      reader.release();
    } else if (status == read_status::corrupt) {
      if (reader.peek() != read_status::corrupt) ++outside;
      reader.skip_corrupt();
    }
    reader.publish();
  }
  done = true;
  enemy.join();
  BOOST_TEST(outside == 0U);
}

}  // namespace
