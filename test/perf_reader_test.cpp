// The protocol of perf buffers without I/O: every state of the memory, also those that no kernel leaves behind.
#include <tinybpf/detail/perf_reader.hpp>

#include "fake_perf.hpp"

#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <linux/perf_event.h>

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
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace tinybpf::detail {

std::ostream& operator<<(std::ostream& out, read_status s) {
  constexpr std::array<char const*, 4> names{"ready", "empty", "busy", "corrupt"};
  return out << names.at(static_cast<std::size_t>(s));
}

}  // namespace tinybpf::detail

namespace {

namespace data = boost::unit_test::data;
using test::fake_perf;
using tinybpf::detail::perf_reader;
using tinybpf::detail::raw_record;
using tinybpf::detail::read_status;
using position_type = fake_perf::position_type;

constexpr position_type last_position = std::numeric_limits<position_type>::max();
constexpr position_type wrap_32 = position_type{1} << 32U;
constexpr std::uint64_t no_limit = std::numeric_limits<std::uint64_t>::max();

// Whether all of it lies where the kernel wrote it.
bool in_place(fake_perf const& perf, std::byte const* at, std::size_t size) {
  auto const begin = reinterpret_cast<std::uintptr_t>(perf.regions().data);
  auto const address = reinterpret_cast<std::uintptr_t>(at);
  return address >= begin && address + size <= begin + perf.size();
}
bool in_place(fake_perf const& perf, raw_record const& r) { return in_place(perf, r.data, r.size); }

// Where the data of a record would lie that begins there.
std::byte const* place_of(fake_perf const& perf, position_type position) {
  return perf.regions().data + ((position + fake_perf::sample_overhead) & (perf.size() - 1));
}

template <std::size_t Alignment>
bool aligned(std::byte const* at) {
  return reinterpret_cast<std::uintptr_t>(at) % Alignment == 0;
}

std::string text(raw_record const& r) { return {reinterpret_cast<char const*>(r.data), r.size}; }

// The padding keeps what was there, so it is not looked at.
bool is_padded(raw_record const& r, std::string_view expected) {
  return r.size == fake_perf::padded(expected.size()) && text(r).starts_with(expected);
}

// Checks that the next record is `expected`, and releases it.
void expect(perf_reader& reader, std::string_view expected) {
  BOOST_TEST_REQUIRE(reader.peek() == read_status::ready);
  BOOST_TEST(reader.head().size == fake_perf::padded(expected.size()));
  BOOST_TEST(text(reader.head()).substr(0, expected.size()) == expected);
  reader.release();
}

// `size` bytes that tell one record from another.
std::string pattern(std::size_t size, std::uint64_t seed) {
  std::string s(size, '\0');
  for (std::size_t i = 0; i < size; ++i) s[i] = static_cast<char>(seed * 31 + i * 7 + (seed >> 8U));
  return s;
}

std::string emit(fake_perf& perf, std::string s) {
  BOOST_TEST_REQUIRE(perf.emit(s));
  return s;
}

// A record that is no sample and tells nothing.
bool emit_other(fake_perf& perf, std::size_t body = 8, std::uint32_t type = PERF_RECORD_THROTTLE) {
  return perf.output_other(type, std::vector<std::byte>(body));
}

BOOST_AUTO_TEST_CASE(empty) {
  fake_perf perf;
  perf_reader reader{perf.regions()};
  BOOST_TEST(reader.peek() == read_status::empty);
  BOOST_TEST(reader.peek() == read_status::empty);
  BOOST_TEST(!reader.has_more());
  BOOST_TEST(reader.publish_and_check_empty());
  BOOST_TEST(reader.lost() == 0U);
  BOOST_TEST(perf.tail() == 0U);
}

BOOST_AUTO_TEST_CASE(one) {
  fake_perf perf;
  perf_reader reader{perf.regions()};
  emit(perf, "one");
  BOOST_TEST(reader.has_more());
  BOOST_TEST(reader.peek() == read_status::ready);
  auto const* const where = reader.head().data;
  BOOST_TEST(reader.peek() == read_status::ready);
  BOOST_TEST(reader.head().data == where);
  BOOST_TEST(where == place_of(perf, 0));
  BOOST_TEST(reader.head().position == 0U);
  BOOST_TEST(reader.head().size == 4U);
  expect(reader, "one");
  BOOST_TEST(reader.released() == 16U);
  BOOST_TEST(reader.peek() == read_status::empty);
  BOOST_TEST(reader.publish_and_check_empty());
  BOOST_TEST(!reader.has_more());
  BOOST_TEST(perf.unread() == 0U);
}

// So that it and its length take a multiple of 8 bytes, which is why even nothing has 4 bytes.
BOOST_AUTO_TEST_CASE(padding) {
  fake_perf perf{1U << 16U};
  perf_reader reader{perf.regions()};
  constexpr std::array<std::pair<std::size_t, std::uint32_t>, 10> lengths{
      {{0, 4}, {1, 4}, {3, 4}, {4, 4}, {5, 12}, {12, 12}, {13, 20}, {20, 20}, {21, 28}, {1000, 1004}}};
  for (auto const& [size, length] : lengths) {
    auto const s = emit(perf, pattern(size, size));
    BOOST_TEST_REQUIRE(reader.peek() == read_status::ready);
    BOOST_TEST(reader.head().size == length);
    expect(reader, s);
    BOOST_TEST(reader.peek() == read_status::empty);
  }
}

BOOST_AUTO_TEST_CASE(many_in_order_with_their_positions) {
  fake_perf perf{1U << 16U};
  perf_reader reader{perf.regions()};
  std::vector<std::string> sent;
  for (std::size_t i = 0; i < 500; ++i) sent.push_back(emit(perf, pattern(i % 67, i)));
  std::uint64_t position = 0;
  for (auto const& s : sent) {
    BOOST_TEST_REQUIRE(reader.peek() == read_status::ready);
    BOOST_TEST(reader.head().position == position);
    BOOST_TEST(reader.head().data == place_of(perf, position));
    position += (s.size() + 19) & ~std::size_t{7};
    expect(reader, s);
  }
  BOOST_TEST(reader.peek() == read_status::empty);
}

BOOST_AUTO_TEST_CASE(what_was_written_before_the_reader_came_is_read) {
  fake_perf perf;
  emit(perf, "before");
  perf_reader reader{perf.regions()};
  expect(reader, "before");
  reader.publish();
  emit(perf, "unread");
  perf_reader second{perf.regions()};
  expect(second, "unread");
}

// Records of many sizes begin at every offset, also across the end of the buffer: those are put together elsewhere, all
// others are seen where they are.
BOOST_DATA_TEST_CASE(wrap_around_at_every_offset, data::make(std::vector<std::size_t>{4096, 8192}), size) {
  std::uint64_t seed = 0;
  std::size_t split = 0;
  std::size_t data_alone_behind_the_end = 0;
  for (std::size_t offset = 0; offset < size; offset += 8) {
    fake_perf perf{size, 3 * size + offset};
    perf_reader reader{perf.regions()};
    for (std::size_t bytes : {0U, 1U, 4U, 5U, 8U, 40U, 1000U, 2999U}) {
      auto const s = emit(perf, pattern(bytes, ++seed));
      BOOST_TEST_REQUIRE(reader.peek() == read_status::ready);
      auto const at = reader.head().position % size;
      auto const data_at = (at + fake_perf::sample_overhead) % size;
      if (data_at < at) ++data_alone_behind_the_end;
      bool const is_split = data_at + reader.head().size > size;
      split += is_split ? 1 : 0;
      BOOST_TEST_REQUIRE(in_place(perf, reader.head()) == !is_split);
      if (!is_split) BOOST_TEST_REQUIRE(reader.head().data == place_of(perf, at));
      BOOST_TEST_REQUIRE(is_padded(reader.head(), s));
      reader.release();
      reader.publish();
    }
    BOOST_TEST_REQUIRE(reader.peek() == read_status::empty);
    BOOST_TEST_REQUIRE(perf.unread() == 0U);
  }
  BOOST_TEST(split > 400U);
  BOOST_TEST(data_alone_behind_the_end > 4U);
}

// A buffer that is full looks empty, so there is always something left; 8 bytes, as all lengths are multiples of that.
BOOST_AUTO_TEST_CASE(a_record_that_fills_the_buffer) {
  fake_perf perf{4096};
  perf_reader reader{perf.regions()};
  for (std::uint64_t lap = 0; lap < 3; ++lap) {
    auto const s = emit(perf, pattern(4096 - 8 - fake_perf::sample_overhead, lap));
    BOOST_TEST(perf.unread() == 4096U - 8);
    BOOST_TEST(!perf.emit(std::string{"x"}));
    expect(reader, s);
    reader.publish();
    emit(perf, "");  // what was lost is told here
    expect(reader, "");
    reader.publish();
  }
  BOOST_TEST(perf.lost() == 3U);
  BOOST_TEST(reader.lost() == 3U);
  BOOST_TEST(!perf.emit(pattern(4096 - fake_perf::sample_overhead, 1)));
}

// As long as a header can say, in one piece and split.
BOOST_AUTO_TEST_CASE(the_longest_records) {
  fake_perf perf{1U << 18U};
  perf_reader reader{perf.regions()};
  std::size_t split = 0;
  for (std::uint64_t i = 0; i < 40; ++i) {
    auto const s = emit(perf, pattern(65528 - fake_perf::sample_overhead - i % 3, i));
    BOOST_TEST_REQUIRE(reader.peek() == read_status::ready);
    split += in_place(perf, reader.head()) ? 0 : 1;
    BOOST_TEST_REQUIRE(is_padded(reader.head(), s));
    BOOST_TEST_REQUIRE(aligned<8>(reader.head(8).data));
    BOOST_TEST_REQUIRE(is_padded(reader.head(), s));
    reader.release();
    reader.publish();
  }
  BOOST_TEST(split >= 9U);
}

// Data lies at 4 modulo 8. Types that ask for more than 4 are shown a copy.
BOOST_AUTO_TEST_CASE(alignment_of_the_head) {
  for (std::size_t offset = 0; offset < 4096; offset += 8) {
    fake_perf perf{4096, offset};
    perf_reader reader{perf.regions()};
    auto const s = emit(perf, pattern(20, offset));
    BOOST_TEST_REQUIRE(reader.peek() == read_status::ready);
    auto const* const where = reader.head().data;
    for (std::size_t const alignment : {1U, 2U, 4U}) BOOST_TEST_REQUIRE(reader.head(alignment).data == where);
    for (int i = 0; i < 2; ++i) {
      auto const& r = reader.head(8);
      BOOST_TEST_REQUIRE(aligned<8>(r.data));
      BOOST_TEST_REQUIRE(!in_place(perf, r));
      BOOST_TEST_REQUIRE(text(r) == s);
      BOOST_TEST_REQUIRE(r.position == offset);
    }
    reader.release();
    BOOST_TEST_REQUIRE(reader.peek() == read_status::empty);
  }
}

// Whether a record is plainly there only `peek` can tell.
BOOST_AUTO_TEST_CASE(a_glance_tells_nothing) {
  fake_perf perf;
  perf_reader reader{perf.regions()};
  BOOST_TEST(reader.glance().data == nullptr);
  for (std::uint64_t i = 0; i < 4; ++i) emit(perf, pattern(40, i));
  BOOST_TEST(reader.glance().data == nullptr);
  expect(reader, pattern(40, 0));
  BOOST_TEST(reader.glance().data == nullptr);
  BOOST_TEST_REQUIRE(reader.peek() == read_status::ready);
  BOOST_TEST(reader.glance().data == nullptr);
  reader.pass(raw_record{reader.head()});
  BOOST_TEST(reader.released() == 2 * fake_perf::step_of(40));
  expect(reader, pattern(40, 2));
}

BOOST_AUTO_TEST_SUITE(runs)

// Walks records of one size by runs as far as they lead, and reads by itself what they do not.
struct walked {
  std::uint64_t in_runs = 0;
  std::uint64_t alone = 0;
};

template <std::uint32_t Size, std::size_t Alignment, class Handle>
walked walk(perf_reader& reader, Handle handle) {
  walked count;
  for (;;) {
    reader.begin_run<Size>(no_limit);
    auto const* r = reader.run_next<Size, Alignment>();
    std::uint64_t steps = 0;
    for (; r != nullptr; ++steps) {
      handle(r, true);
      r = reader.run_on<Size, Alignment>();
    }
    BOOST_TEST_REQUIRE(reader.end_run() == steps);
    count.in_runs += steps;
    if (reader.peek() != read_status::ready) return count;
    handle(reader.head(Alignment).data, false);
    reader.release();
    ++count.alone;
  }
}

BOOST_AUTO_TEST_CASE(over_records_of_one_size) {
  fake_perf perf{1U << 16U};
  perf_reader reader{perf.regions()};
  for (std::uint64_t i = 0; i < 10; ++i) emit(perf, pattern(20, i));
  BOOST_TEST_REQUIRE(reader.peek() == read_status::ready);
  reader.begin_run<20>(100);
  for (std::uint64_t i = 0; i < 10; ++i) {
    auto const* const r = reader.run_next<20, 4>();
    BOOST_TEST_REQUIRE(r != nullptr);
    BOOST_TEST(r == place_of(perf, i * 32));
    BOOST_TEST((reader.run_next<20, 4>()) == r);
    BOOST_TEST(text({r, 20, 0}) == pattern(20, i));
    reader.run_pass();
  }
  BOOST_TEST((reader.run_next<20, 4>()) == nullptr);
  BOOST_TEST(reader.end_run() == 10U);
  BOOST_TEST(reader.end_run() == 0U);
  BOOST_TEST(reader.released() == 320U);
  BOOST_TEST(reader.peek() == read_status::empty);
}

// 13 to 20 bytes are padded alike: the run is over the first of them.
BOOST_AUTO_TEST_CASE(over_records_that_are_padded) {
  fake_perf perf{1U << 16U};
  perf_reader reader{perf.regions()};
  for (std::size_t i = 13; i <= 20; ++i) emit(perf, pattern(i, i));
  reader.begin_run<13>(100);  // nothing is known to be written yet
  BOOST_TEST((reader.run_next<13, 1>()) == nullptr);
  BOOST_TEST(reader.end_run() == 0U);
  BOOST_TEST_REQUIRE(reader.peek() == read_status::ready);
  reader.begin_run<13>(100);
  auto const* r = reader.run_next<13, 1>();
  for (std::size_t i = 13; i <= 20; ++i) {
    BOOST_TEST_REQUIRE(r != nullptr);
    BOOST_TEST(text({r, 13, 0}) == pattern(20, i).substr(0, 13));
    r = reader.run_on<13, 1>();
  }
  BOOST_TEST(r == nullptr);
  BOOST_TEST(reader.end_run() == 8U);
}

BOOST_AUTO_TEST_CASE(copies_where_the_alignment_asks_for_it) {
  fake_perf perf{1U << 16U};
  perf_reader reader{perf.regions()};
  for (std::uint64_t i = 0; i < 10; ++i) emit(perf, pattern(24, i));
  BOOST_TEST_REQUIRE(reader.peek() == read_status::ready);
  reader.begin_run<24>(100);
  auto const* r = reader.run_next<24, 8>();
  for (std::uint64_t i = 0; i < 10; ++i) {
    BOOST_TEST_REQUIRE(r != nullptr);
    BOOST_TEST(aligned<8>(r));
    BOOST_TEST(!in_place(perf, r, 24));
    BOOST_TEST(text({r, 24, 0}) == pattern(24, i));
    r = reader.run_on<24, 8>();
  }
  BOOST_TEST(r == nullptr);
  BOOST_TEST(reader.end_run() == 10U);
}

BOOST_AUTO_TEST_CASE(no_longer_than_was_asked_for) {
  fake_perf perf{1U << 16U};
  perf_reader reader{perf.regions()};
  for (std::uint64_t i = 0; i < 10; ++i) emit(perf, pattern(20, i));
  BOOST_TEST_REQUIRE(reader.peek() == read_status::ready);
  for (std::uint64_t const records : {0U, 3U, 1U}) {
    reader.begin_run<20>(records);
    std::uint64_t steps = 0;
    for (; (reader.run_next<20, 4>()) != nullptr; ++steps) reader.run_pass();
    BOOST_TEST(steps == records);
    BOOST_TEST(reader.end_run() == records);
  }
  BOOST_TEST_REQUIRE(reader.peek() == read_status::ready);
  BOOST_TEST(reader.head().position == 4U * 32);
}

// Then they are published, which no run does on its way.
BOOST_AUTO_TEST_CASE(no_longer_than_may_be_held_back) {
  fake_perf perf{1U << 16U};
  perf_reader reader{perf.regions()};
  for (std::uint64_t i = 0; i < 100; ++i) emit(perf, pattern(20, i));
  BOOST_TEST_REQUIRE(reader.peek() == read_status::ready);
  reader.begin_run<20>(no_limit);
  while ((reader.run_next<20, 4>()) != nullptr) reader.run_pass();
  BOOST_TEST(reader.end_run() == 32U);
  BOOST_TEST(reader.unpublished() == perf.size() / 64);
  BOOST_TEST(perf.tail() == 0U);
  reader.begin_run<20>(no_limit);
  BOOST_TEST((reader.run_next<20, 4>()) == nullptr);
  BOOST_TEST(reader.end_run() == 0U);
  expect(reader, pattern(20, 32));
  BOOST_TEST(perf.tail() == 33U * 32);
  reader.begin_run<20>(no_limit);
  while ((reader.run_next<20, 4>()) != nullptr) reader.run_pass();
  BOOST_TEST(reader.end_run() == 32U);
}

// What is no record of that size ends the run, and `peek` tells what it is.
BOOST_AUTO_TEST_CASE(they_end_in_front_of_anything_else) {
  fake_perf perf{1U << 16U};
  perf_reader reader{perf.regions()};
  emit(perf, pattern(20, 0));
  emit(perf, pattern(28, 1));
  emit(perf, pattern(20, 2));
  BOOST_TEST_REQUIRE(emit_other(perf, 24));  // as long
  emit(perf, pattern(20, 3));
  BOOST_TEST_REQUIRE(perf.output_lost(5));
  emit(perf, pattern(20, 4));
  emit(perf, pattern(12, 5));
  std::uint64_t next = 0;
  auto const run = [&] {
    BOOST_TEST_REQUIRE(reader.peek() == read_status::ready);
    reader.begin_run<20>(no_limit);
    auto const* r = reader.run_next<20, 4>();
    for (; r != nullptr; r = reader.run_on<20, 4>()) BOOST_TEST_REQUIRE(text({r, 20, 0}) == pattern(20, next++));
    return reader.end_run();
  };
  BOOST_TEST(run() == 1U);
  expect(reader, pattern(28, next++));
  BOOST_TEST(run() == 1U);
  BOOST_TEST(reader.lost_before_head() == 0U);
  BOOST_TEST(run() == 1U);
  BOOST_TEST(reader.lost_before_head() == 0U);
  BOOST_TEST(run() == 1U);
  BOOST_TEST(reader.take_lost() == 5U);
  expect(reader, pattern(12, next++));
  BOOST_TEST(reader.peek() == read_status::empty);
}

// Who wrote it, the kernel or a program, is said by other bits.
BOOST_AUTO_TEST_CASE(other_bits_of_the_header_do_not_matter) {
  fake_perf perf{1U << 16U};
  perf_reader reader{perf.regions()};
  for (std::uint64_t i = 0; i < 4; ++i) {
    emit(perf, pattern(20, i));
    perf.set_header(i * 32, PERF_RECORD_SAMPLE, 32, static_cast<std::uint16_t>(0x5555U << i));
  }
  auto const count = walk<20, 4>(reader, [](std::byte const*, bool) {});
  BOOST_TEST(count.in_runs == 3U);  // the first one was needed to know of them
  BOOST_TEST(count.alone == 1U);
}

// Of a size that no header can say; cut to 16 bits it would be 0, which one does.
BOOST_AUTO_TEST_CASE(a_size_that_cannot_be) {
  constexpr std::uint32_t whole_turn = (1U << 16U) - fake_perf::sample_overhead;
  fake_perf perf{1U << 23U};
  perf_reader reader{perf.regions()};
  emit(perf, pattern(20, 0));
  for (std::uint64_t i = 0; i < 3; ++i) emit(perf, pattern(60'000, i));
  expect(reader, pattern(20, 0));
  perf.set_header(32, PERF_RECORD_SAMPLE, 0);
  reader.begin_run<whole_turn>(no_limit);
  BOOST_TEST((reader.run_next<whole_turn, 4>()) == nullptr);
  BOOST_TEST(reader.end_run() == 0U);
}

BOOST_AUTO_TEST_CASE(without_any_there_is_nothing_to_go_on_with) {
  fake_perf perf{1U << 16U};
  perf_reader reader{perf.regions()};
  BOOST_TEST((reader.run_next<20, 4>()) == nullptr);
  emit(perf, pattern(20, 0));
  emit(perf, pattern(20, 1));
  BOOST_TEST((reader.run_next<20, 4>()) == nullptr);
  BOOST_TEST_REQUIRE(reader.peek() == read_status::ready);
  BOOST_TEST((reader.run_next<20, 4>()) == nullptr);
  reader.begin_run<20>(no_limit);
  BOOST_TEST((reader.run_on<20, 4>()) != nullptr);
  BOOST_TEST(reader.end_run() == 1U);
  BOOST_TEST((reader.run_next<20, 4>()) == nullptr);
}

BOOST_AUTO_TEST_CASE(cut_short_from_elsewhere) {
  fake_perf perf{1U << 16U};
  perf_reader reader{perf.regions()};
  for (std::uint64_t i = 0; i < 5; ++i) emit(perf, pattern(20, i));
  BOOST_TEST_REQUIRE(reader.peek() == read_status::ready);
  reader.begin_run<20>(no_limit);
  BOOST_TEST((reader.run_on<20, 4>()) != nullptr);
  reader.interrupt_run();
  BOOST_TEST((reader.run_next<20, 4>()) == nullptr);
  BOOST_TEST(reader.end_run() == 1U);
  reader.begin_run<20>(no_limit);
  BOOST_TEST((reader.run_next<20, 4>()) != nullptr);
  BOOST_TEST(reader.end_run() == 0U);
  expect(reader, pattern(20, 1));
}

// What a run passed is there for who publishes from elsewhere, before the run ends.
BOOST_AUTO_TEST_CASE(published_from_elsewhere_meanwhile) {
  fake_perf perf{1U << 16U};
  perf_reader reader{perf.regions()};
  for (std::uint64_t i = 0; i < 10; ++i) emit(perf, pattern(20, i));
  BOOST_TEST_REQUIRE(reader.peek() == read_status::ready);
  reader.begin_run<20>(no_limit);
  for (int i = 0; i < 5; ++i) BOOST_TEST((reader.run_on<20, 4>()) != nullptr);
  BOOST_TEST(reader.publish_from_elsewhere() == 5U * 32);
  BOOST_TEST(perf.tail() == 5U * 32);
  BOOST_TEST((reader.run_on<20, 4>()) != nullptr);
  BOOST_TEST(reader.end_run() == 6U);
  BOOST_TEST(reader.unpublished() == 6U * 32);  // as far as this thread knows
  reader.publish();
  BOOST_TEST(perf.tail() == 6U * 32);
}

// Runs end at the end of the buffer, where a record is split, and go on behind it. Gives how many were split.
template <std::uint32_t Size, std::size_t Alignment>
std::uint64_t around_the_end(std::size_t size, position_type start) {
  fake_perf perf{size, start};
  perf_reader reader{perf.regions()};
  constexpr auto step = fake_perf::step_of(Size);
  std::uint64_t written = 0;
  std::uint64_t read = 0;
  std::uint64_t in_runs = 0;
  std::uint64_t split = 0;
  auto const handle = [&](std::byte const* r, bool run) {
    // Each lap begins with a loss, which is how the writer knew that it was over.
    auto const position = start + read * step + reader.lost() * fake_perf::lost_size;
    bool const whole = (position + fake_perf::sample_overhead) % size + Size <= size;
    BOOST_TEST_REQUIRE((whole || !run));
    split += whole ? 0 : 1;
    BOOST_TEST_REQUIRE(aligned<Alignment>(r));
    BOOST_TEST_REQUIRE(in_place(perf, r, Size) == (whole && Alignment <= 4));
    if (in_place(perf, r, Size)) BOOST_TEST_REQUIRE(r == place_of(perf, position));
    BOOST_TEST_REQUIRE(text({r, Size, 0}) == pattern(Size, read++));
  };
  for (int lap = 0; lap < 3; ++lap) {
    while (perf.emit(pattern(Size, written))) ++written;
    in_runs += walk<Size, Alignment>(reader, handle).in_runs;
    reader.publish();
  }
  BOOST_TEST_REQUIRE(read == written);
  BOOST_TEST_REQUIRE(in_runs > read / 4);
  return split;
}

BOOST_AUTO_TEST_CASE(around_the_end_at_every_offset) {
  std::uint64_t split_4 = 0;
  std::uint64_t split_20 = 0;
  std::uint64_t split_24 = 0;
  std::uint64_t split_300 = 0;
  for (position_type offset = 0; offset < 64; offset += 8)
    for (auto const start : {offset, position_type{0} - 8192 + offset}) {
      split_4 += around_the_end<4, 4>(4096, start);
      split_20 += around_the_end<20, 4>(4096, start);
      split_20 += around_the_end<20, 1>(8192, start);
      split_24 += around_the_end<24, 8>(8192, start);
      split_300 += around_the_end<300, 4>(32768, start);
    }
  BOOST_TEST(split_4 == 0U);  // only ever between its length and its data
  BOOST_TEST(split_20 > 0U);
  BOOST_TEST(split_24 > 0U);
  BOOST_TEST(split_300 > 0U);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(what_is_no_sample)

BOOST_AUTO_TEST_CASE(losses_are_counted_where_they_stand) {
  fake_perf perf;
  perf_reader reader{perf.regions()};
  std::uint64_t written = 0;
  while (perf.emit(pattern(20, written))) ++written;
  for (int i = 0; i < 6; ++i) BOOST_TEST(!perf.emit(pattern(20, 0)));
  BOOST_TEST(perf.untold() == 7U);
  // The gap is behind all that is there.
  for (std::uint64_t i = 0; i < written; ++i) {
    expect(reader, pattern(20, i));
    BOOST_TEST(reader.lost_before_head() == 0U);
  }
  BOOST_TEST(reader.peek() == read_status::empty);
  BOOST_TEST(reader.lost() == 0U);
  reader.publish();
  auto const gap = perf.head();
  emit(perf, "behind the gap");
  emit(perf, "behind that");
  BOOST_TEST(perf.untold() == 0U);
  BOOST_TEST_REQUIRE(reader.peek() == read_status::ready);
  BOOST_TEST(reader.lost_before_head() == 7U);
  BOOST_TEST(reader.head().position == gap + fake_perf::lost_size);
  BOOST_TEST(reader.peek() == read_status::ready);
  BOOST_TEST(reader.lost() == 7U);
  BOOST_TEST(reader.take_lost() == 7U);
  BOOST_TEST(reader.take_lost() == 0U);
  reader.keep_lost(7);
  BOOST_TEST(reader.lost_before_head() == 7U);
  BOOST_TEST(reader.lost() == 7U);
  BOOST_TEST(reader.take_lost() == 7U);
  expect(reader, "behind the gap");
  expect(reader, "behind that");
  BOOST_TEST(reader.lost_before_head() == 0U);
  BOOST_TEST(reader.lost() == 7U);
}

// Room for the sample alone is not enough: it and the losses are one reservation.
BOOST_AUTO_TEST_CASE(losses_need_room_too) {
  fake_perf perf;
  emit(perf, pattern(4096 - 8 - fake_perf::sample_overhead, 0));
  BOOST_TEST(!perf.emit(std::string{"x"}));
  perf.set_tail(perf.tail() + 16);
  BOOST_TEST(!perf.emit(std::string{"x"}));
  perf.set_tail(perf.tail() + 24);
  BOOST_TEST(perf.emit(std::string{"x"}));
  BOOST_TEST(perf.lost() == 2U);
}

BOOST_AUTO_TEST_CASE(losses_add_up_until_they_are_taken) {
  fake_perf perf;
  perf_reader reader{perf.regions()};
  BOOST_TEST_REQUIRE(perf.output_lost(3));
  BOOST_TEST(reader.peek() == read_status::empty);
  BOOST_TEST(reader.lost() == 3U);
  BOOST_TEST(reader.lost_before_head() == 3U);
  BOOST_TEST_REQUIRE(perf.output_lost(4));
  BOOST_TEST_REQUIRE(emit_other(perf));
  BOOST_TEST_REQUIRE(perf.output_lost(0));
  emit(perf, "first");
  BOOST_TEST_REQUIRE(reader.peek() == read_status::ready);
  BOOST_TEST(reader.lost_before_head() == 7U);
  expect(reader, "first");
  BOOST_TEST_REQUIRE(perf.output_lost(10));
  emit(perf, "second");
  BOOST_TEST_REQUIRE(reader.peek() == read_status::ready);
  BOOST_TEST(reader.take_lost() == 17U);  // nobody had asked before
  BOOST_TEST(reader.lost() == 17U);
}

// They are split around the end like all others, and may be longer than need be.
BOOST_DATA_TEST_CASE(losses_at_every_offset, data::make(std::vector<std::size_t>{16, 24, 40}), body) {
  for (position_type offset = 0; offset < 4096; offset += 8) {
    fake_perf perf{4096, offset};
    perf_reader reader{perf.regions()};
    std::vector<std::uint64_t> words(body / 8, ~std::uint64_t{0});
    words[1] = offset + 1;
    BOOST_TEST_REQUIRE(perf.output_other(PERF_RECORD_LOST, std::as_bytes(std::span{words})));
    emit(perf, "behind");
    BOOST_TEST_REQUIRE(reader.peek() == read_status::ready);
    BOOST_TEST_REQUIRE(reader.take_lost() == offset + 1);
    BOOST_TEST_REQUIRE(reader.head().position == offset + 8 + body);
    expect(reader, "behind");
  }
}

BOOST_AUTO_TEST_CASE(other_types_are_passed_over) {
  fake_perf perf{1U << 16U};
  perf_reader reader{perf.regions()};
  for (std::uint32_t const type : {0U, 1U, 3U, 5U, 6U, 8U, 10U, 13U, 21U, 65545U, 1U << 31U}) {
    for (std::size_t const body : {0U, 8U, 16U, 1000U}) BOOST_TEST_REQUIRE(emit_other(perf, body, type));
    auto const s = emit(perf, pattern(20, type));
    expect(reader, s);
    BOOST_TEST(reader.peek() == read_status::empty);
  }
  BOOST_TEST(reader.lost() == 0U);
  BOOST_TEST_REQUIRE(emit_other(perf));
  BOOST_TEST(reader.peek() == read_status::empty);
  BOOST_TEST(reader.publish_and_check_empty());
  BOOST_TEST(perf.unread() == 0U);
}

// One look at the head takes a bounded time whatever the kernel has to say.
BOOST_AUTO_TEST_CASE(a_flood_of_them_is_cut_short) {
  fake_perf perf{1U << 18U};
  perf_reader reader{perf.regions()};
  for (int i = 0; i < 10'000; ++i) BOOST_TEST_REQUIRE(emit_other(perf));
  emit(perf, "kept");
  BOOST_TEST(reader.peek() == read_status::busy);
  BOOST_TEST(reader.has_more());
  BOOST_TEST(!reader.publish_and_check_empty());
  int looks = 2;
  while (reader.peek() == read_status::busy) ++looks;
  BOOST_TEST(looks < 100);
  expect(reader, "kept");
  BOOST_TEST(reader.peek() == read_status::empty);
}

BOOST_AUTO_TEST_CASE(a_flood_with_nothing_behind_it) {
  fake_perf perf{1U << 18U};
  perf_reader reader{perf.regions()};
  for (std::uint64_t i = 0; i < 10'000; ++i) BOOST_TEST_REQUIRE(perf.output_lost(1));
  int looks = 1;
  while (reader.peek() == read_status::busy) ++looks;
  BOOST_TEST(looks < 100);
  BOOST_TEST(reader.peek() == read_status::empty);
  BOOST_TEST(reader.lost() == 10'000U);
  BOOST_TEST(reader.lost_before_head() == 10'000U);
  BOOST_TEST(reader.publish_and_check_empty());
  BOOST_TEST(perf.unread() == 0U);
}

BOOST_AUTO_TEST_CASE(they_are_handed_back_while_they_are_passed) {
  fake_perf perf{1U << 18U};
  perf_reader reader{perf.regions()};
  for (int i = 0; i < 10'000; ++i) BOOST_TEST_REQUIRE(emit_other(perf));
  BOOST_TEST(reader.peek() == read_status::busy);
  BOOST_TEST(perf.tail() > 0U);
  BOOST_TEST(reader.unpublished() <= perf.size() / 64);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(corruption)

struct bad_header {
  std::uint32_t type;
  std::uint16_t size;
  std::uint32_t length;  // of a sample's data
  char const* what;
};
std::ostream& operator<<(std::ostream& out, bad_header const& b) { return out << b.what; }

// In place of a sample of 20 bytes, which takes 32: there is nothing behind it.
BOOST_DATA_TEST_CASE(headers,
                     data::make(std::vector<bad_header>{
                         {PERF_RECORD_SAMPLE, 0, 20, "of no size"},
                         {PERF_RECORD_SAMPLE, 4, 20, "shorter than itself"},
                         {PERF_RECORD_SAMPLE, 8, 20, "no room for a length"},
                         {PERF_RECORD_SAMPLE, 20, 8, "no multiple of 8"},
                         {PERF_RECORD_SAMPLE, 33, 20, "one byte more than there is"},
                         {PERF_RECORD_SAMPLE, 40, 28, "more than there is"},
                         {PERF_RECORD_SAMPLE, 65528, 65516, "the longest"},
                         {PERF_RECORD_SAMPLE, 65535, 65523, "the largest size"},
                         {PERF_RECORD_SAMPLE, 32, 21, "a length that takes more"},
                         {PERF_RECORD_SAMPLE, 32, 12, "a length that takes less"},
                         {PERF_RECORD_SAMPLE, 32, 0, "a length of nothing"},
                         {PERF_RECORD_SAMPLE, 32, 0xffffffff, "the largest length"},
                         {PERF_RECORD_SAMPLE, 32, 0xfffffff4, "a length that takes 2^32"},
                         {PERF_RECORD_SAMPLE, 16, 20, "a size that takes less"},
                         {PERF_RECORD_LOST, 8, 0, "losses without a number"},
                         {PERF_RECORD_LOST, 16, 0, "losses that are cut"},
                         {PERF_RECORD_LOST, 28, 0, "losses of no multiple of 8"},
                         {PERF_RECORD_LOST, 40, 0, "losses that are too long"},
                         {PERF_RECORD_THROTTLE, 0, 0, "another type of no size"},
                         {PERF_RECORD_THROTTLE, 12, 0, "another type of no multiple of 8"},
                         {PERF_RECORD_THROTTLE, 40, 0, "another type that is too long"},
                         {0, 0, 0, "nothing at all"},
                     }),
                     bad) {
  // Also where the header is the last word of the buffer.
  for (position_type const start : {position_type{0}, position_type{8192 - 32}, position_type{0} - 32}) {
    fake_perf perf{4096, start};
    perf_reader reader{perf.regions()};
    emit(perf, "before");
    emit(perf, pattern(20, 1));
    expect(reader, "before");
    perf.set_header(start + 24, bad.type, bad.size);
    perf.set_length(start + 24, bad.length);
    BOOST_TEST(reader.peek() == read_status::corrupt);
    BOOST_TEST(reader.peek() == read_status::corrupt);
    auto const found = reader.skip_corrupt();
    BOOST_TEST(found.position == start + 24);
    BOOST_TEST(found.length == bad.size);
    BOOST_TEST(found.available == 32U);
    BOOST_TEST(reader.peek() == read_status::empty);
    BOOST_TEST(perf.unread() == 0U);
    emit(perf, "behind");
    expect(reader, "behind");
    BOOST_TEST(reader.publish_and_check_empty());
    BOOST_TEST(reader.lost() == 0U);
  }
}

// Everything that was known to be written is given up, and handed back at once.
BOOST_AUTO_TEST_CASE(what_is_behind_is_given_up) {
  fake_perf perf;
  perf_reader reader{perf.regions()};
  emit(perf, pattern(20, 0));
  emit(perf, pattern(20, 1));
  emit(perf, pattern(20, 2));
  perf.set_header(32, PERF_RECORD_SAMPLE, 0);
  expect(reader, pattern(20, 0));
  BOOST_TEST(reader.peek() == read_status::corrupt);
  emit(perf, "behind");
  auto const found = reader.skip_corrupt();
  BOOST_TEST(found.position == 32U);
  BOOST_TEST(found.available == 64U);
  BOOST_TEST(perf.tail() == 96U);
  expect(reader, "behind");
  BOOST_TEST(reader.peek() == read_status::empty);
}

BOOST_AUTO_TEST_CASE(it_stands_until_it_is_skipped) {
  fake_perf perf;
  perf_reader reader{perf.regions()};
  emit(perf, pattern(20, 0));
  perf.set_header(0, PERF_RECORD_SAMPLE, 5000);
  BOOST_TEST(reader.peek() == read_status::corrupt);
  perf.set_header(0, PERF_RECORD_SAMPLE, 32);
  BOOST_TEST(reader.peek() == read_status::corrupt);
  emit(perf, "behind");
  BOOST_TEST(reader.peek() == read_status::corrupt);
  reader.publish();
  BOOST_TEST(perf.tail() == 0U);
  reader.begin_run<20>(no_limit);
  BOOST_TEST((reader.run_next<20, 4>()) == nullptr);
  BOOST_TEST(reader.end_run() == 0U);
  BOOST_TEST(reader.skip_corrupt().length == 5000U);
  expect(reader, "behind");
  BOOST_TEST(reader.peek() == read_status::empty);
}

// Losses in front of it are still to be told, in front of what comes next.
BOOST_AUTO_TEST_CASE(losses_in_front_of_it_are_kept) {
  fake_perf perf;
  perf_reader reader{perf.regions()};
  BOOST_TEST_REQUIRE(perf.output_lost(6));
  emit(perf, pattern(20, 0));
  perf.set_header(fake_perf::lost_size, PERF_RECORD_SAMPLE, 12);
  BOOST_TEST(reader.peek() == read_status::corrupt);
  BOOST_TEST(reader.skip_corrupt().position == fake_perf::lost_size);
  emit(perf, "behind");
  BOOST_TEST_REQUIRE(reader.peek() == read_status::ready);
  BOOST_TEST(reader.take_lost() == 6U);
  expect(reader, "behind");
}

struct bad_position {
  position_type position;  // of the writer, while the reader is at 4096
  position_type claimed;
  char const* what;
};
std::ostream& operator<<(std::ostream& out, bad_position const& b) { return out << b.what; }

BOOST_DATA_TEST_CASE(writer_positions,
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
  fake_perf perf{4096, 4096};
  perf_reader reader{perf.regions()};
  // What the buffer holds looks like a record that reaches far out of it.
  perf.set_header(4096, PERF_RECORD_SAMPLE, 65528);
  perf.set_length(4096, 65516);
  perf.set_head(bad.position);
  BOOST_TEST(reader.peek() == read_status::corrupt);
  perf.set_header(4096, PERF_RECORD_SAMPLE, 16);
  BOOST_TEST(reader.peek() == read_status::corrupt);
  auto const found = reader.skip_corrupt();
  BOOST_TEST(found.position == 4096U);
  BOOST_TEST(found.length == bad.claimed);
  BOOST_TEST(found.available == perf.size());

  // The writer comes to its senses, and goes on from where it said it was.
  auto const onwards = (bad.position + 7) & ~position_type{7};
  perf.set_head(onwards);
  BOOST_TEST(reader.peek() == read_status::empty);
  reader.publish();
  BOOST_TEST(perf.tail() == onwards);
  emit(perf, "onwards");
  expect(reader, "onwards");
}

// The way may lead back to where a record was seen before: it is not taken for what is there now.
BOOST_AUTO_TEST_CASE(a_way_back) {
  fake_perf perf{4096, 4096};
  perf_reader reader{perf.regions()};
  emit(perf, "seen before");
  BOOST_TEST_REQUIRE(reader.peek() == read_status::ready);
  BOOST_TEST(reader.head().position == 4096U);
  reader.release();
  perf.set_head(4096);
  BOOST_TEST(reader.peek() == read_status::corrupt);
  reader.skip_corrupt();
  BOOST_TEST(reader.peek() == read_status::empty);
  emit(perf, "another one at the same place");
  BOOST_TEST_REQUIRE(reader.peek() == read_status::ready);
  BOOST_TEST(reader.head().position == 4096U);
  expect(reader, "another one at the same place");
}

BOOST_AUTO_TEST_CASE(a_reader_position_that_is_no_multiple_of_8) {
  fake_perf perf{4096, 8};
  perf.set_tail(3);
  emit(perf, "record");
  perf_reader reader{perf.regions()};
  expect(reader, "record");
  BOOST_TEST(reader.peek() == read_status::empty);
  reader.publish();
  BOOST_TEST(perf.unread() == 0U);
}

BOOST_AUTO_TEST_SUITE_END()

// Positions go through 2^32 and through their own end as through any other number.
BOOST_DATA_TEST_CASE(positions_wrap,
                     data::make(std::vector<position_type>{wrap_32, wrap_32 * 3, 0, wrap_32*(wrap_32 / 2)}) *
                         data::make(std::vector<std::size_t>{4096, 65536}),
                     end, size) {
  for (position_type before : {8U, 16U, 48U, 4096U}) {
    auto const start = end - before;
    fake_perf perf{size, start};
    perf_reader reader{perf.regions()};
    BOOST_TEST(reader.peek() == read_status::empty);
    auto position = start;
    for (std::uint64_t i = 0; i < 300; ++i) {
      auto const s = emit(perf, pattern(i % 90, i));
      BOOST_TEST_REQUIRE(reader.peek() == read_status::ready);
      BOOST_TEST(reader.head().position == position);
      position += fake_perf::step_of(s.size());
      expect(reader, s);
      BOOST_TEST_REQUIRE(reader.unpublished() <= size / 64);
      if (i % 16 == 0) reader.publish();
    }
    BOOST_TEST(reader.peek() == read_status::empty);
    BOOST_TEST(reader.publish_and_check_empty());
    BOOST_TEST(perf.tail() == position);
  }
}

BOOST_AUTO_TEST_CASE(several_records_across_the_end_of_positions) {
  fake_perf perf{4096, position_type{0} - 64};
  perf_reader reader{perf.regions()};
  for (std::uint64_t i = 0; i < 10; ++i) {
    BOOST_TEST_REQUIRE(perf.output_lost(1));
    emit(perf, pattern(24, i));
  }
  for (std::uint64_t i = 0; i < 10; ++i) {
    expect(reader, pattern(24, i));
    BOOST_TEST(reader.take_lost() == 1U);
  }
  BOOST_TEST(reader.peek() == read_status::empty);
  perf.set_head(position_type{0} - 64);  // behind
  BOOST_TEST(reader.peek() == read_status::corrupt);
}

BOOST_AUTO_TEST_SUITE(handing_back)

BOOST_AUTO_TEST_CASE(publishing) {
  fake_perf perf{1U << 16U};
  perf_reader reader{perf.regions()};
  emit(perf, pattern(20, 0));
  emit(perf, pattern(20, 1));
  expect(reader, pattern(20, 0));
  BOOST_TEST(reader.unpublished() == 32U);
  BOOST_TEST(perf.tail() == 0U);  // not for each record
  reader.publish();
  BOOST_TEST(reader.unpublished() == 0U);
  BOOST_TEST(perf.tail() == 32U);
  reader.publish();
  BOOST_TEST(perf.tail() == 32U);
  expect(reader, pattern(20, 1));
  BOOST_TEST(reader.publish_and_check_empty());
  BOOST_TEST(reader.unpublished() == 0U);
  BOOST_TEST(perf.tail() == 64U);
}

BOOST_AUTO_TEST_CASE(what_is_looked_at_is_not_published) {
  fake_perf perf;
  perf_reader reader{perf.regions()};
  emit(perf, pattern(2000, 0));
  BOOST_TEST(reader.peek() == read_status::ready);
  reader.publish();
  BOOST_TEST(perf.tail() == 0U);
  BOOST_TEST(!perf.emit(pattern(3000, 0)));
}

// The writer does not look at our position to decide whom to wake, so there is nothing to gain from the last record.
BOOST_AUTO_TEST_CASE(nothing_is_held_back) {
  fake_perf perf{1U << 16U};
  perf_reader reader{perf.regions()};
  emit(perf, pattern(20, 0));
  emit(perf, pattern(20, 1));
  expect(reader, pattern(20, 0));
  expect(reader, pattern(20, 1));
  BOOST_TEST(perf.tail() == 0U);
  reader.hold_back();
  BOOST_TEST(perf.tail() == 64U);
  BOOST_TEST(reader.unpublished() == 0U);
  reader.hold_back();
  BOOST_TEST(perf.tail() == 64U);
}

BOOST_AUTO_TEST_CASE(who_comes_late_is_noticed) {
  fake_perf perf;
  perf_reader reader{perf.regions()};
  BOOST_TEST(reader.peek() == read_status::empty);
  emit(perf, "late");
  BOOST_TEST(!reader.publish_and_check_empty());
  expect(reader, "late");
  BOOST_TEST(reader.publish_and_check_empty());
  BOOST_TEST_REQUIRE(emit_other(perf));
  BOOST_TEST(!reader.publish_and_check_empty());
}

BOOST_AUTO_TEST_CASE(from_elsewhere) {
  fake_perf perf{1U << 16U};
  perf_reader reader{perf.regions()};
  BOOST_TEST(reader.publish_from_elsewhere() == 0U);
  emit(perf, pattern(20, 0));
  emit(perf, pattern(20, 1));
  expect(reader, pattern(20, 0));
  BOOST_TEST_REQUIRE(reader.peek() == read_status::ready);
  BOOST_TEST(reader.publish_from_elsewhere() == 32U);
  BOOST_TEST(perf.tail() == 32U);
  expect(reader, pattern(20, 1));
  BOOST_TEST(perf.tail() == 32U);
  BOOST_TEST(reader.publish_from_elsewhere() == 64U);
  BOOST_TEST(perf.tail() == 64U);
  // The reader, who has not heard of it, does not take anything back.
  BOOST_TEST(reader.unpublished() == 64U);
  reader.publish();
  BOOST_TEST(perf.tail() == 64U);
}

// Somebody else was further: the writer's view of our position never goes back, also not around the end of positions.
BOOST_DATA_TEST_CASE(never_back, data::make(std::vector<position_type>{0, position_type{0} - 48}), start) {
  fake_perf perf{4096, start};
  perf_reader reader{perf.regions()};
  emit(perf, pattern(20, 0));
  emit(perf, pattern(20, 1));
  expect(reader, pattern(20, 0));
  perf.set_tail(start + 64);
  BOOST_TEST(reader.publish_from_elsewhere() == start + 32);
  BOOST_TEST(perf.tail() == start + 64);
  reader.publish();
  BOOST_TEST(perf.tail() == start + 64);
  reader.hold_back();
  BOOST_TEST(!reader.publish_and_check_empty());
  BOOST_TEST(perf.tail() == start + 64);
}

// However long a batch: the writer misses at most 1/64 of the buffer.
BOOST_DATA_TEST_CASE(at_most_a_64th_is_held,
                     data::make(std::vector<std::size_t>{4096, 16384, 1U << 20U}) *
                         data::make(std::vector<std::size_t>{0, 8, 40, 500}),
                     size, record_size) {
  fake_perf perf{size};
  while (perf.emit(pattern(record_size, 7))) {
  }
  perf_reader reader{perf.regions()};
  std::size_t most = 0;
  position_type publications = 0;
  position_type before = 0;
  std::size_t records = 0;
  while (reader.peek() == read_status::ready) {
    reader.release();
    ++records;
    most = std::max(most, reader.unpublished());
    publications += perf.tail() != before ? 1 : 0;
    before = perf.tail();
  }
  BOOST_TEST(most <= size / 64);
  BOOST_TEST(records >= 7U);
  // And it does not miss the cache line each time, where records are small.
  if (record_size <= 40 && size >= 16384) BOOST_TEST(publications <= records / 4);
}

// What the fake does, so that a reader that relies on more fails.
BOOST_AUTO_TEST_CASE(who_is_woken) {
  fake_perf perf{8192};
  perf_reader reader{perf.regions()};
  auto const source = perf.source();
  emit(perf, "wakes");
  emit(perf, "wakes, too");
  BOOST_TEST(perf.notifications() == 2U);
  BOOST_TEST_REQUIRE(source.control->set_wakeups(false));
  for (int i = 0; i < 10; ++i) emit(perf, pattern(20, 1));
  BOOST_TEST(perf.notifications() == 2U);
  while (perf.unread() <= 4096) emit(perf, pattern(20, 1));
  BOOST_TEST(perf.notifications() == 3U);
  while (perf.emit(pattern(20, 1))) {
  }
  BOOST_TEST(perf.notifications() == 3U);
  BOOST_TEST_REQUIRE(source.control->set_wakeups(true));
  BOOST_TEST(!perf.emit(pattern(20, 1)));  // what is lost wakes nobody
  BOOST_TEST(perf.notifications() == 3U);
  source.control->close();
  BOOST_TEST(!perf.emit(pattern(20, 1)));
  BOOST_TEST(perf.refused() == 1U);
  BOOST_TEST(perf.lost() == 2U);
  BOOST_TEST(source.control->lost().value() == 2U);
}

BOOST_AUTO_TEST_CASE(two_readers_one_after_the_other) {
  fake_perf perf;
  std::uint64_t next = 0;
  std::deque<std::string> sent;
  for (int turn = 0; turn < 50; ++turn) {
    for (int i = 0; i < 5; ++i) sent.push_back(emit(perf, pattern(20, next++)));
    perf_reader reader{perf.regions()};
    for (int i = 0; i < 5; ++i) {
      expect(reader, sent.front());
      sent.pop_front();
    }
    reader.publish();
  }
}

BOOST_AUTO_TEST_SUITE_END()

// What the buffer must hold, said in the simplest way.
struct model {
  struct entry {
    position_type position;
    std::string text;
    std::uint64_t lost;  // in front of it
  };
  std::deque<entry> entries;
  std::uint64_t untold = 0;   // lost, and nothing written since
  std::uint64_t pending = 0;  // told, and no sample since
};

BOOST_DATA_TEST_CASE(as_a_simple_model_says, data::xrange(24), seed) {
  std::mt19937_64 random{static_cast<std::uint64_t>(seed)};
  auto const below = [&](std::uint64_t n) { return random() % n; };
  std::size_t const size = std::size_t{4096} << below(4);
  position_type const start =
      std::array<position_type, 4>{0, wrap_32 - 8 * below(1000), position_type{0} - 8 * below(1000),
                                   8 * random()}[static_cast<std::size_t>(seed) % 4];
  fake_perf perf{size, start};
  perf_reader reader{perf.regions()};
  model expected;
  std::uint64_t id = 0;
  std::uint64_t read = 0;
  std::uint64_t lost = 0;
  std::uint64_t split = 0;
  std::uint64_t kept = 0;

  auto const wrote = [&](bool done) {
    if (done)
      expected.pending += std::exchange(expected.untold, 0);
    else
      ++expected.untold;
    return done;
  };
  auto const write = [&](std::size_t bytes) {
    auto s = pattern(bytes, ++id);
    auto const position = perf.head() + (expected.untold != 0 ? fake_perf::lost_size : 0);
    if (wrote(perf.emit(s))) expected.entries.push_back({position, std::move(s), std::exchange(expected.pending, 0)});
  };
  auto const read_one = [&] {
    auto const status = reader.peek();
    BOOST_TEST_REQUIRE(status == (expected.entries.empty() ? read_status::empty : read_status::ready));
    if (status != read_status::ready) return;
    auto const& e = expected.entries.front();
    BOOST_TEST_REQUIRE(is_padded(reader.head(), e.text));
    BOOST_TEST_REQUIRE(reader.head().position == e.position);
    BOOST_TEST_REQUIRE(reader.lost_before_head() == e.lost);
    if (below(8) == 0) {  // looked at, and left for later
      reader.keep_lost(reader.take_lost());
      ++kept;
      return;
    }
    split += in_place(perf, reader.head()) ? 0 : 1;
    lost += reader.take_lost();
    reader.release();
    ++read;
    expected.entries.pop_front();
  };

  for (int step = 0; step < 10'000; ++step) {
    switch (below(12)) {
      case 0:
        wrote(emit_other(perf, 8 * below(10)));
        break;
      case 1:
      case 2:
      case 3:
      case 4:
        write(below(4) == 0 ? below(size / 3) : below(64));
        break;
      case 5:
        reader.publish();
        break;
      case 6:
        if (expected.entries.empty() && reader.peek() == read_status::empty)
          BOOST_TEST_REQUIRE(reader.publish_and_check_empty());
        break;
      case 7:
        if (below(8) == 0)
          for (int i = 0; i < 200; ++i) write(size / 100);  // more than there is room for
        break;
      default:
        read_one();
    }
    BOOST_TEST_REQUIRE(perf.unread() < size);
    BOOST_TEST_REQUIRE(reader.unpublished() <= perf.unread());
  }
  BOOST_TEST(read > 1000U);
  BOOST_TEST(lost > 1000U);
  BOOST_TEST(split > 10U);
  BOOST_TEST(kept > 100U);
  while (reader.peek() == read_status::ready) read_one();
  BOOST_TEST(lost + reader.lost_before_head() + expected.untold == perf.lost());
}

struct counted {
  std::uint32_t low;
  std::uint32_t high;
  std::uint32_t check;

  static counted of(std::uint64_t n) {
    return {static_cast<std::uint32_t>(n), static_cast<std::uint32_t>(n >> 32U), ~static_cast<std::uint32_t>(n)};
  }
  std::uint64_t number() const { return (std::uint64_t{high} << 32U) | low; }
  bool intact() const { return check == ~low; }
};

counted counted_at(std::byte const* data) {
  counted c{};
  std::memcpy(&c, data, sizeof c);
  return c;
}

// Everything that was written is received or was lost, and each gap is told where it is, whether the reader walks runs
// or not, also if somebody else publishes meanwhile.
BOOST_DATA_TEST_CASE(a_writer_on_another_thread,
                     data::make(std::vector<std::size_t>{4096, 1U << 18U}) *
                         data::make(std::vector<position_type>{8, position_type{0} - 8'000'000}) *
                         data::make({false, true}),
                     size, start, in_runs) {
  constexpr std::uint64_t count = 400'000;
  fake_perf perf{size, start};
  perf_reader reader{perf.regions()};
  std::atomic<bool> done{false};
  std::uint64_t written = 0;
  std::thread writer{[&] {
    for (std::uint64_t i = 0; i < count; ++i) {
      if (perf.emit(counted::of(i)))
        ++written;
      else if (i % 64 == 0)
        std::this_thread::yield();
      if (i % 1000 == 0) emit_other(perf);
    }
    done = true;
  }};
  std::thread publisher{[&] {
    while (!done) {
      reader.publish_from_elsewhere();
      std::this_thread::yield();
    }
  }};
  std::uint64_t expected = 0;
  std::uint64_t received = 0;
  std::uint64_t told = 0;
  std::uint64_t wrong = 0;
  std::uint64_t walked = 0;
  auto const handle = [&](std::byte const* data) {
    auto const c = counted_at(data);
    if (!c.intact() || c.number() != expected++) ++wrong;
    ++received;
  };
  constexpr std::uint32_t bytes = sizeof(counted);
  for (bool over = false; !over;) {
    bool const last = done;
    auto const status = reader.peek();
    if (status == read_status::ready) {
      // Other records are lost, too, and are not numbered.
      auto const lost = reader.take_lost();
      told += lost;
      auto const now = counted_at(reader.head().data).number();
      if (now < expected || now > expected + lost || expected + lost > now + lost / 1000 + 2) ++wrong;
      expected = now;
      if (reader.head().size != bytes) ++wrong;
      handle(reader.head().data);
      reader.release();
      if (!in_runs) continue;
      reader.begin_run<bytes>(no_limit);
      for (auto const* r = reader.run_next<bytes, 4>(); r != nullptr; r = reader.run_on<bytes, 4>()) handle(r);
      walked += reader.end_run();
    } else if (status == read_status::empty) {
      over = reader.publish_and_check_empty() && last;
      if (!over) std::this_thread::yield();
    } else {
      ++wrong;
      over = true;
    }
  }
  writer.join();
  publisher.join();
  BOOST_TEST(wrong == 0U);
  BOOST_TEST(received == written);
  BOOST_TEST(told == reader.lost() - reader.lost_before_head());
  BOOST_TEST(reader.lost() + perf.untold() == perf.lost());
  BOOST_TEST(perf.unread() == 0U);
  if (in_runs && size > 4096) BOOST_TEST(walked > 0U);
}

BOOST_AUTO_TEST_SUITE(hostile_memory)

// Looks at each byte: outside of what is there, that is fatal.
std::uint64_t sum_of(std::byte const* data, std::size_t size) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < size; ++i) sum += std::to_integer<std::uint64_t>(data[i]);
  return sum;
}

// Random bytes where the kernel would write, often with plausible headers and positions.
struct enemy {
  explicit enemy(std::uint64_t seed) : random{seed} {
    if (seed % 4 == 0) size = std::size_t{1} << 17U;  // room for a flood
  }

  std::uint64_t below(std::uint64_t n) { return random() % n; }

  static bool is_flood(int round) { return round % 500 == 250; }

  void write(fake_perf& perf, int round) {
    auto const words = perf.size() / 8;
    if (round % 500 == 0) {
      for (std::size_t i = 0; i < words; ++i) {
        auto const any = random();
        std::memcpy(perf.data().data() + 8 * i, &any, sizeof any);
      }
    }
    if (is_flood(round)) {
      for (std::size_t i = 0; i < words; ++i) perf.set_header(8 * i, PERF_RECORD_THROTTLE, 8);
      perf.set_head((perf.tail() & ~position_type{7}) + perf.size() - 8);
      return;
    }
    for (std::uint64_t i = below(40); i > 0; --i) {
      auto const position = 8 * below(words);
      auto const size_of_it = static_cast<std::uint16_t>(8 * below(12));
      switch (below(6)) {
        case 0:
          perf.set_header(position, static_cast<std::uint32_t>(random()), static_cast<std::uint16_t>(random()));
          break;
        case 1:
          perf.set_header(position, PERF_RECORD_LOST, size_of_it);
          break;
        case 2:
          perf.set_header(position, static_cast<std::uint32_t>(below(40)), size_of_it);
          break;
        default: {
          perf.set_header(position, PERF_RECORD_SAMPLE, size_of_it);
          auto const fits = size_of_it - static_cast<std::uint32_t>(fake_perf::sample_overhead);
          perf.set_length(position, below(8) == 0 ? static_cast<std::uint32_t>(random()) : fits);
        }
      }
    }
    // A long one that fits, which is split often.
    if (below(3) == 0) {
      auto const position = perf.tail() & ~position_type{7};
      auto const bytes = static_cast<std::uint16_t>(16 + 8 * below(500));
      perf.set_header(position, PERF_RECORD_SAMPLE, bytes);
      perf.set_length(position, bytes - static_cast<std::uint32_t>(fake_perf::sample_overhead));
    }
    switch (below(8)) {
      case 0:
        perf.set_head(random());
        break;
      case 1:
        perf.set_head(perf.tail() + below(2 * perf.size()));
        break;
      case 2:
        perf.set_head(perf.tail() - below(2 * perf.size()));
        break;
      case 3:
        perf.set_tail(random());
        break;
      default:
        perf.set_head((perf.tail() + below(perf.size())) & ~position_type{7});
    }
  }

  std::mt19937_64 random;
  std::size_t size = std::size_t{4096} << (random() % 2);
};

// Whatever is read lies within the buffer, or is a copy. Outside of both there is nothing that can be read.
BOOST_DATA_TEST_CASE(random_garbage, data::xrange(16), seed) {
  enemy e{static_cast<std::uint64_t>(seed) + 1000};
  fake_perf perf{e.size, 8 * e.random()};
  std::optional<perf_reader> reader{perf.regions()};
  std::array<std::uint64_t, 4> seen{};
  std::uint64_t sum = 0;
  std::uint64_t copies = 0;
  int const rounds = e.size > 8192 ? 4'000 : 12'000;
  for (int round = 0; round < rounds; ++round) {
    e.write(perf, round);
    if (e.below(8) == 0 || enemy::is_flood(round)) reader.emplace(perf.regions());
    for (int reads = 0; reads < 50; ++reads) {
      auto const status = reader->peek();
      ++seen.at(static_cast<std::size_t>(status));
      if (status == read_status::busy) break;
      BOOST_TEST_REQUIRE(reader->peek() == status);
      if (status == read_status::ready) {
        auto const& r = reader->head();
        BOOST_TEST_REQUIRE(r.size <= perf.size() - fake_perf::sample_overhead);
        sum += sum_of(r.data, r.size);
        copies += in_place(perf, r) ? 0 : 1;
        if (r.size != 0 && e.below(4) == 0) {
          auto const first = r.data[0];
          BOOST_TEST_REQUIRE((reader->head(8).data[0] == first));
          sum += sum_of(reader->head().data, reader->head().size);
        }
        if (e.below(10) != 0) reader->release();
      } else if (status == read_status::corrupt) {
        BOOST_TEST_REQUIRE(reader->skip_corrupt().available != 0U);
      } else {
        static_cast<void>(reader->publish_and_check_empty());
        break;
      }
    }
  }
  BOOST_TEST(sum > 0U);
  BOOST_TEST(copies > 20U);
  for (auto const s : {read_status::ready, read_status::empty, read_status::corrupt})
    BOOST_TEST(seen.at(static_cast<std::size_t>(s)) > 100U);
  if (e.size > 65536) BOOST_TEST(seen.at(static_cast<std::size_t>(read_status::busy)) > 0U);
}

template <std::uint32_t Size, std::size_t Alignment>
std::uint64_t walk_garbage(fake_perf const& perf, perf_reader& reader, std::uint64_t& sum) {
  reader.begin_run<Size>(no_limit);
  for (auto const* r = reader.run_next<Size, Alignment>(); r != nullptr; r = reader.run_on<Size, Alignment>()) {
    if (Alignment <= 4) BOOST_TEST_REQUIRE(in_place(perf, r, Size));
    BOOST_TEST_REQUIRE(aligned<Alignment>(r));
    sum += sum_of(r, Size);
  }
  return reader.end_run();
}

// Likewise for runs.
BOOST_DATA_TEST_CASE(random_garbage_in_runs, data::xrange(16), seed) {
  enemy e{static_cast<std::uint64_t>(seed) + 2000};
  fake_perf perf{e.size, 8 * e.random()};
  std::optional<perf_reader> reader;
  auto const begin = [&] { reader.emplace(perf.regions()); };
  begin();
  std::uint64_t sum = 0;
  std::uint64_t walked = 0;
  int const rounds = e.size > 8192 ? 4'000 : 12'000;
  for (int round = 0; round < rounds; ++round) {
    e.write(perf, round);
    if (e.below(8) == 0) begin();
    // What is there is uniform for a while.
    auto const bytes = std::array<std::uint16_t, 3>{16, 32, 32}[e.below(3)];
    if (round % 2 == 0)
      for (position_type i = 0; i < 20; ++i) {
        perf.set_header(perf.tail() + i * bytes, PERF_RECORD_SAMPLE, bytes);
        perf.set_length(perf.tail() + i * bytes, bytes - static_cast<std::uint32_t>(fake_perf::sample_overhead));
      }
    for (int reads = 0; reads < 20; ++reads) {
      auto const status = reader->peek();
      if (status == read_status::busy || status == read_status::empty) break;
      if (status == read_status::corrupt) {
        reader->skip_corrupt();
        continue;
      }
      // From what was looked at, or from behind it, where anything may be.
      if (e.below(2) == 0) reader->release();
      walked += walk_garbage<20, 4>(perf, *reader, sum);
      walked += walk_garbage<16, 8>(perf, *reader, sum);
      walked += walk_garbage<4, 1>(perf, *reader, sum);
    }
    reader->publish();
  }
  BOOST_TEST(sum > 0U);
  BOOST_TEST(walked > 1000U);
}

// A word that changes between two looks is looked at once. All that is written here lies at 8 modulo 32 and takes 12
// bytes, so that it is never the data of a sample, which is read as it is.
BOOST_AUTO_TEST_CASE(memory_that_changes_while_it_is_read) {
  constexpr position_type grid = 32;
  fake_perf perf{4096, (1U << 20U) + 8};
  perf_reader reader{perf.regions()};
  std::fill(perf.data().begin(), perf.data().end(), std::byte{1});
  std::atomic<bool> done{false};
  std::thread enemy{[&] {
    std::mt19937_64 random{7};
    while (!done) {
      auto const tail = (perf.tail() & ~(grid - 1)) + 8;
      auto const near = tail + grid * (random() % 128);
      perf.set_head(random() % 4 == 0 ? (random() & ~(grid - 1)) + 8 : near);
      for (int i = 0; i < 8; ++i) {
        auto const at = tail + grid * (random() % 8);
        auto const size = static_cast<std::uint16_t>(random() % 3 == 0 ? random() : grid);
        perf.set_length(at, random() % 4 == 0 ? static_cast<std::uint32_t>(random()) : 20);
        switch (random() % 8) {
          case 0:
            perf.set_header(at, static_cast<std::uint32_t>(random()), size & 0xffe0U);
            break;
          case 1:
            perf.set_header(at, PERF_RECORD_LOST, size & 0xffe0U);
            break;
          default:
            perf.set_header(at, PERF_RECORD_SAMPLE, size & 31U ? grid : size);
        }
      }
    }
  }};
  std::uint64_t outside = 0;
  std::uint64_t sum = 0;
  std::uint64_t split = 0;
  std::array<std::uint64_t, 4> seen{};
  auto const enough = [&] {
    for (auto const s : {read_status::ready, read_status::empty, read_status::corrupt})
      if (seen.at(static_cast<std::size_t>(s)) < 500) return false;
    return split >= 50;
  };
  // As long as it takes to have seen each outcome often.
  while (!enough()) {
    auto const status = reader.peek();
    ++seen.at(static_cast<std::size_t>(status));
    if (status == read_status::ready) {
      if (!in_place(perf, reader.head())) ++split;
      if (reader.head().size > grid - fake_perf::sample_overhead) ++outside;
      sum += sum_of(reader.head().data, reader.head().size);
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
  BOOST_TEST(sum > 0U);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
