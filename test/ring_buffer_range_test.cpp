// The range that read_some gives: a lease of the buffer.
#include "ring_fixture.hpp"

#include <boost/test/unit_test.hpp>

#include <array>
#include <concepts>
#include <cstdint>
#include <iterator>
#include <optional>
#include <ranges>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

namespace asio = boost::asio;
using namespace test;
using tinybpf::batch;
using tinybpf::bytes;
using tinybpf::record;
using tinybpf::ring_buffer;

static_assert(std::ranges::input_range<batch<numbered>>);
static_assert(!std::ranges::forward_range<batch<numbered>>);
static_assert(std::same_as<std::ranges::range_reference_t<batch<numbered>>, numbered const&>);
static_assert(std::same_as<std::ranges::range_reference_t<batch<bytes>>, bytes>);
static_assert(std::same_as<std::ranges::range_reference_t<batch<record<>>>, record<>>);
static_assert(!std::is_copy_constructible_v<batch<numbered>>);
static_assert(std::is_nothrow_move_constructible_v<batch<numbered>>);
static_assert(std::is_nothrow_move_assignable_v<batch<numbered>>);
static_assert(std::is_nothrow_default_constructible_v<batch<numbered>>);

batch<numbered> some(ring_fixture& f, std::size_t budget) { return run(f.io, f.buffer.read_some<numbered>(budget)); }

std::vector<std::uint64_t> numbers(batch<numbered>& range) {
  std::vector<std::uint64_t> all;
  for (auto const& e : range) {
    BOOST_TEST(intact(e));
    all.push_back(e.number);
  }
  return all;
}

std::vector<std::uint64_t> counting(std::uint64_t first, std::uint64_t count) {
  std::vector<std::uint64_t> all;
  for (std::uint64_t i = 0; i < count; ++i) all.push_back(first + i);
  return all;
}

// Everything that is refused while a range lives.
void check_refused(ring_fixture& f) {
  error_code ec;
  diagnostics details;
  BOOST_TEST(!f.buffer.try_next<numbered>(ec, details));
  BOOST_TEST(ec == errc::operation_in_progress);
  BOOST_TEST(details.map == "events");
  BOOST_TEST(details.message.find("range") != std::string::npos);
  auto const in_progress = [](tinybpf::error const& e) { return e.code() == errc::operation_in_progress; };
  BOOST_CHECK_EXCEPTION(static_cast<void>(f.buffer.try_next<bytes>()), tinybpf::error, in_progress);
  BOOST_CHECK_EXCEPTION(run(f.io, f.buffer.next<numbered>()), tinybpf::error, in_progress);
  BOOST_CHECK_EXCEPTION(run(f.io, f.buffer.read_some<numbered>(1)), tinybpf::error, in_progress);
  BOOST_CHECK_EXCEPTION(run(f.io, f.buffer.async_wait()), tinybpf::error, in_progress);
  BOOST_CHECK_EXCEPTION(run(f.io, f.buffer.typed<numbered>().next()), tinybpf::error, in_progress);
  int refused = 0;
  auto const refuse = [&](error_code why) {
    BOOST_TEST(why == errc::operation_in_progress);
    ++refused;
  };
  f.buffer.async_wait(refuse);
  f.buffer.async_next<numbered>([&](error_code why, numbered) { refuse(why); });
  f.buffer.async_read_some<numbered>(3, [&](error_code why, batch<numbered> range) {
    BOOST_TEST(range.empty());
    refuse(why);
  });
  f.run_until([&] { return refused == 3; });
}

BOOST_AUTO_TEST_SUITE(ranges)

BOOST_AUTO_TEST_CASE(all_that_is_there_up_to_the_budget) {
  ring_fixture f;
  f.emit_many(0, 25);
  std::uint64_t next = 0;
  for (std::uint64_t const count : {10U, 10U, 5U}) {
    auto range = some(f, 10);
    BOOST_TEST(!range.empty());
    BOOST_TEST(numbers(range) == counting(next, count), boost::test_tools::per_element());
    BOOST_TEST(range.empty());
    next += count;
  }
  f.buffer.publish();
  BOOST_TEST(f.ring.unread() == 0U);
}

BOOST_AUTO_TEST_CASE(in_a_for_statement) {
  ring_fixture f;
  f.emit_many(0, 100);
  std::uint64_t next = 0;
  auto const consume = [&]() -> asio::awaitable<void> {
    while (next < 100)
      for (numbered const& e : co_await f.buffer.read_some<numbered>(7)) BOOST_TEST(e.number == next++);
  };
  run(f.io, consume());
  BOOST_TEST(next == 100U);
}

BOOST_AUTO_TEST_CASE(what_is_not_iterated_is_not_consumed) {
  ring_fixture f;
  f.emit_many(0, 3);
  for (int i = 0; i < 3; ++i) {
    auto const unused = some(f, 8);
    BOOST_TEST(!unused.empty());
  }
  {
    auto range = some(f, 8);
    auto const it = range.begin();
    BOOST_TEST((it != range.end()));  // looked for, and not looked at
  }
  auto range = some(f, 8);
  BOOST_TEST(numbers(range) == counting(0, 3), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(records_that_come_while_it_is_iterated_are_in_it) {
  ring_fixture f;
  f.emit(0);
  auto range = some(f, 4);
  std::vector<std::uint64_t> got;
  for (auto const& e : range) {
    got.push_back(e.number);
    f.emit(got.size());
  }
  BOOST_TEST(got == counting(0, 4), boost::test_tools::per_element());
  range = {};
  auto rest = some(f, 4);
  BOOST_TEST(numbers(rest) == counting(4, 1), boost::test_tools::per_element());
}

// A ring that is full gets room while a long range is iterated.
BOOST_AUTO_TEST_CASE(records_are_released_as_it_advances) {
  ring_fixture f{4096};
  f.emit_many(0, 170);
  auto range = some(f, 1000);
  std::uint64_t next = 0;
  std::uint64_t emitted = 170;
  for (auto const& e : range) {
    BOOST_TEST_REQUIRE(e.number == next);
    BOOST_TEST_REQUIRE(f.ring.consumer_position() <= next * 24);               // not before it is passed
    BOOST_TEST_REQUIRE(next * 24 - f.ring.consumer_position() <= 4096 / 64U);  // and not much later
    ++next;
    while (f.ring.emit(number(emitted))) ++emitted;
  }
  BOOST_TEST(next == 1000U);
  BOOST_TEST(emitted > 1000U);
}

BOOST_AUTO_TEST_CASE(left_half_way) {
  ring_fixture f;
  f.emit_many(0, 10);
  std::vector<std::uint64_t> got;
  for (int turn = 0; turn < 4; ++turn) {
    int left = 3;
    auto range = some(f, 8);
    for (auto const& e : range) {
      got.push_back(e.number);
      if (--left == 0) break;
    }
  }
  BOOST_TEST(got == counting(0, 10), boost::test_tools::per_element());
  f.buffer.publish();
  BOOST_TEST(f.ring.unread() == 0U);
}

BOOST_AUTO_TEST_CASE(left_by_an_exception) {
  ring_fixture f;
  f.emit_many(0, 5);
  auto const consume = [&]() -> asio::awaitable<void> {
    for (auto const& e : co_await f.buffer.read_some<numbered>(8))
      if (e.number == 2) throw std::runtime_error{"enough"};
  };
  BOOST_CHECK_THROW(run(f.io, consume()), std::runtime_error);
  auto rest = some(f, 8);
  BOOST_TEST(numbers(rest) == counting(3, 2), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(begin_goes_on_where_it_is) {
  ring_fixture f;
  f.emit_many(0, 5);
  auto range = some(f, 8);
  auto it = range.begin();
  BOOST_TEST((*it).number == 0U);
  ++it;
  BOOST_TEST((*it).number == 1U);
  it++;
  BOOST_TEST((*range.begin()).number == 2U);
  BOOST_TEST(numbers(range) == counting(2, 3), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(elements_of_every_kind) {
  ring_fixture f;
  BOOST_TEST_REQUIRE(f.ring.emit(std::string{"one"}));
  BOOST_TEST_REQUIRE(f.ring.emit(std::string{"two and more"}));
  f.emit(3);
  std::vector<std::size_t> sizes;
  auto const as_bytes = [&]() -> asio::awaitable<void> {
    for (bytes const b : co_await f.buffer.read_some<bytes>(1)) sizes.push_back(b.size());
    for (auto const& r : co_await f.buffer.read_some<record<>>(1)) {
      BOOST_TEST(r.position() == 16U);
      BOOST_TEST(r.map() == "events");
      sizes.push_back(r.data().size());
    }
    for (auto const& r : co_await f.buffer.read_some<record<numbered>>(8)) sizes.push_back(r->number);
  };
  run(f.io, as_bytes());
  BOOST_TEST(sizes == (std::vector<std::size_t>{3, 12, 3}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(it_ends_in_front_of_a_record_of_another_size) {
  ring_fixture f;
  f.emit_many(0, 3);
  BOOST_TEST_REQUIRE(f.ring.emit(std::string{"?"}));
  f.emit(3);
  auto range = some(f, 8);
  BOOST_TEST(numbers(range) == counting(0, 3), boost::test_tools::per_element());
  range = {};
  BOOST_CHECK_EXCEPTION(some(f, 8), tinybpf::error, [](tinybpf::error const& e) {
    return e.code() == errc::record_size && e.get_diagnostics().position == 72 && e.get_diagnostics().actual_size == 1;
  });
  range = some(f, 8);
  BOOST_TEST(numbers(range) == counting(3, 1), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(it_ends_in_front_of_a_corrupt_record) {
  ring_fixture f;
  f.emit_many(0, 5);
  f.ring.set_header(48, 1U << 29U);
  auto range = some(f, 8);
  BOOST_TEST(numbers(range) == counting(0, 2), boost::test_tools::per_element());
  range = {};
  BOOST_CHECK_EXCEPTION(some(f, 8), tinybpf::error, [](tinybpf::error const& e) {
    return e.code() == errc::record_corrupt && e.get_diagnostics().position == 48;
  });
  f.emit(9);
  range = some(f, 8);
  BOOST_TEST(numbers(range) == counting(9, 1), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(it_ends_in_front_of_a_busy_record) {
  ring_fixture f;
  f.emit_many(0, 2);
  auto* const busy = f.ring.reserve(8);
  f.emit(2);
  auto range = some(f, 8);
  BOOST_TEST(numbers(range) == counting(0, 2), boost::test_tools::per_element());
  range = {};
  f.ring.discard(busy);
  range = some(f, 8);
  BOOST_TEST(numbers(range) == counting(2, 1), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(others_are_refused_while_it_lives) {
  ring_fixture f;
  f.emit_many(0, 3);
  {
    auto range = some(f, 8);
    check_refused(f);
    BOOST_TEST((*range.begin()).number == 0U);
    check_refused(f);
    BOOST_TEST((*range.begin()).number == 0U);
    BOOST_TEST(numbers(range) == counting(0, 3), boost::test_tools::per_element());
    check_refused(f);  // also when it has come to its end
  }
  f.emit(3);
  BOOST_TEST(f.buffer.try_next<numbered>()->number == 3U);
}

BOOST_AUTO_TEST_CASE(moving_it_moves_the_lease) {
  ring_fixture f;
  f.emit_many(0, 4);
  std::optional<batch<numbered>> kept;
  {
    auto range = some(f, 8);
    BOOST_TEST((*range.begin()).number == 0U);
    kept.emplace(std::move(range));
    BOOST_TEST(range.empty());  // NOLINT(bugprone-use-after-move)
    BOOST_TEST((range.begin() == range.end()));
  }
  check_refused(f);
  batch<numbered> last;
  BOOST_TEST(last.empty());
  last = std::move(*kept);
  kept.reset();
  check_refused(f);
  auto& same = last;
  last = std::move(same);
  BOOST_TEST(numbers(last) == counting(0, 4), boost::test_tools::per_element());
  last = {};
  BOOST_TEST(!f.buffer.try_next<numbered>());
}

BOOST_AUTO_TEST_CASE(assigning_over_a_range_ends_its_lease) {
  ring_fixture f;
  ring_fixture g;
  f.emit_many(0, 2);
  g.emit_many(10, 2);
  auto range = some(f, 8);
  BOOST_TEST((*range.begin()).number == 0U);
  range = some(g, 8);
  BOOST_TEST(f.buffer.try_next<numbered>()->number == 1U);
  BOOST_TEST(numbers(range) == counting(10, 2), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(closing_the_buffer_ends_it_behind_the_current_record) {
  ring_fixture f;
  f.emit_many(0, 5);
  {
    auto range = some(f, 8);
    auto it = range.begin();
    ++it;
    BOOST_TEST((*it).number == 1U);
    f.buffer.close();
    BOOST_TEST((*it).number == 1U);
    ++it;
    BOOST_TEST((it == range.end()));
    BOOST_TEST(range.empty());
  }
  BOOST_TEST(f.ring.consumer_position() == 2 * 24U);
  // What was not visited is there for the next reader.
  f.buffer = ring_buffer{f.io.get_executor(), f.ring.source("again")};
  BOOST_TEST(f.buffer.try_next<numbered>()->number == 2U);
}

BOOST_AUTO_TEST_CASE(it_outlives_the_buffer_and_the_ring) {
  asio::io_context io;
  std::optional<fake_ring> ring{std::in_place};
  std::optional<ring_buffer> buffer{std::in_place, io.get_executor(), ring->source()};
  for (std::uint64_t n = 0; n < 3; ++n) BOOST_TEST_REQUIRE(ring->emit(number(n)));
  auto range = run(io, buffer->read_some<numbered>(8));
  auto it = range.begin();
  buffer.reset();
  ring.reset();
  BOOST_TEST((*it).number == 0U);
  BOOST_TEST(intact(*it));
  ++it;
  BOOST_TEST((it == range.end()));
}

BOOST_AUTO_TEST_CASE(moving_the_buffer_does_not_disturb_it) {
  ring_fixture f;
  f.emit_many(0, 3);
  auto range = some(f, 8);
  BOOST_TEST((*range.begin()).number == 0U);
  ring_buffer const moved{std::move(f.buffer)};
  BOOST_TEST(moved.is_open());
  BOOST_TEST(numbers(range) == counting(0, 3), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(of_a_typed_view) {
  ring_fixture f;
  f.emit_many(0, 5);
  auto view = f.buffer.typed<numbered>();
  {
    auto range = run(f.io, view.read_some(3));
    check_refused(f);
    error_code ec;
    BOOST_TEST(!view.try_next(ec));
    BOOST_TEST(ec == errc::operation_in_progress);
    BOOST_TEST(numbers(range) == counting(0, 3), boost::test_tools::per_element());
  }
  BOOST_TEST(view.try_next()->number == 3U);
}

BOOST_AUTO_TEST_CASE(nothing) {
  batch<numbered> range;
  BOOST_TEST(range.empty());
  BOOST_TEST((range.begin() == range.end()));
  batch<numbered> other{std::move(range)};
  BOOST_TEST(other.empty());
  range = std::move(other);
  BOOST_TEST(range.empty());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
