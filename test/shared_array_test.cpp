// Arrays in memory that programs see, too.
#include "features.hpp"
#include "kinds.hpp"

#include <tinybpf/map.hpp>
#include <tinybpf/object.hpp>
#include <tinybpf/shared_array.hpp>

#include <boost/describe/class.hpp>
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

using test::contains;
using test::kernel_error;
using test::kinds;
using test::refused;
using test::view_made;
using test::view_refused;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::field_names;
using tinybpf::map;
using tinybpf::map_type;
using tinybpf::shared_array;

namespace shared_array_test {

struct tally {
  std::uint32_t seen;
  std::uint32_t dropped;
  std::int32_t balance;
};
BOOST_DESCRIBE_STRUCT(tally, (), (seen, dropped, balance))

struct renamed_tally {
  std::uint32_t found;
  std::uint32_t lost;
  std::int32_t rest;
};
BOOST_DESCRIBE_STRUCT(renamed_tally, (), (found, lost, rest))

using totals_array = shared_array<std::uint64_t>;

struct fixture : kinds {
  totals_array totals{obj.map("totals")};
};

/// What the system call says that an array has.
template <class T>
T stored(map const& m, std::uint32_t index) {
  auto const bytes = m.lookup(test::bytes_of(index)).value();
  T value{};
  BOOST_TEST_REQUIRE(bytes.size() == sizeof value);
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

template <class A>
concept has_atomic = requires(A const& a) { a.atomic(0); };
template <class A>
concept has_load = requires(A const& a) { a.load(0); };
template <class A>
concept has_span = requires(A const& a) { a.span(); };
template <class A>
concept is_written = requires(A const& a) { a[0] = {}; };

static_assert(totals_array::stride == 8 && shared_array<std::uint32_t>::stride == 8);
static_assert(shared_array<std::uint8_t>::stride == 8 && shared_array<tally>::stride == 16);
static_assert(has_atomic<totals_array> && has_load<totals_array> && has_span<totals_array> && is_written<totals_array>);
using read_only = shared_array<std::uint64_t const>;
static_assert(!has_atomic<read_only> && has_load<read_only> && has_span<read_only> && !is_written<read_only>);
static_assert(!has_atomic<shared_array<tally>> && !has_load<shared_array<tally>> && !has_span<shared_array<tally>>);
static_assert(!has_span<shared_array<std::uint32_t>> && has_atomic<shared_array<std::uint32_t>>);
static_assert(std::is_same_v<read_only::value_type, std::uint64_t>);
static_assert(!std::is_copy_constructible_v<totals_array> && std::is_nothrow_move_constructible_v<totals_array> &&
              !std::is_copy_assignable_v<totals_array> && std::is_nothrow_move_assignable_v<totals_array>);

}  // namespace shared_array_test

using namespace shared_array_test;

BOOST_FIXTURE_TEST_SUITE(shared_arrays, fixture)

BOOST_AUTO_TEST_CASE(show_what_programs_write, *test::shows("mmapable array")) {
  BOOST_TEST(totals.size() == 1000U);
  BOOST_TEST(static_cast<bool>(totals));
  BOOST_TEST(totals[7] == 0U);
  BOOST_TEST(run("add_total", 7, 5) == 5U);
  BOOST_TEST(run("add_total", 999, 6) == 6U);
  BOOST_TEST(totals[7] == 5U);
  BOOST_TEST(totals.at(999) == 6U);
  BOOST_TEST(totals.atomic(7).load() == 5U);
  BOOST_TEST(totals.load(7) == 5U);
  BOOST_TEST(totals.load(999, std::memory_order_acquire) == 6U);
  BOOST_TEST(totals.span()[7] == 5U);
  BOOST_TEST(totals.span().size() == 1000U);
  BOOST_TEST(&totals.span()[999] == &totals[999]);
  BOOST_TEST(totals[6] + totals[8] + totals[998] == 0U);
}

BOOST_AUTO_TEST_CASE(show_programs_what_is_written) {
  totals[3] = 0x100000000;
  totals.atomic(4).store(40);
  totals.at(999) = 1000;
  totals.span()[998] = 900;
  BOOST_TEST(run("add_total", 4, 2) == 42U);
  BOOST_TEST(run("add_total", 999, 1) == 1001U);
  BOOST_TEST(run("add_total", 998, 1) == 901U);
  BOOST_TEST(stored<std::uint64_t>(obj.map("totals"), 3) == 0x100000000U);
  obj.map("totals").update(test::bytes_of(std::uint32_t{3}), test::bytes_of(std::uint64_t{9}));
  BOOST_TEST(totals[3] == 9U);
}

BOOST_AUTO_TEST_CASE(have_small_values_8_bytes_apart) {
  shared_array<std::uint32_t> const switches{obj.map("switches")};
  BOOST_TEST(switches.size() == 3U);
  for (std::uint32_t i : {0U, 1U, 2U}) {
    switches[i] = 10 * (i + 1);
    BOOST_TEST(run("add_switch", i, i) == 11 * i + 10);
  }
  for (std::uint32_t i : {0U, 1U, 2U}) {
    BOOST_TEST(switches.load(i) == 11 * i + 10);
    BOOST_TEST(switches.atomic(i).fetch_add(1) == 11 * i + 10);
    BOOST_TEST(stored<std::uint32_t>(obj.map("switches"), i) == 11 * i + 11);
  }
  BOOST_TEST((reinterpret_cast<std::byte*>(&switches[1]) - reinterpret_cast<std::byte*>(&switches[0]) == 8));
}

BOOST_AUTO_TEST_CASE(have_structs_at_multiples_of_8_bytes) {
  shared_array<tally> const tallies{obj.map("shared_tallies")};
  for (std::uint32_t i : {0U, 1U, 2U}) {
    tallies[i] = {i, 2 * i, static_cast<std::int32_t>(3 * i)};
    BOOST_TEST(run("add_tally", i, 100) == 3 * i + 100);
    BOOST_TEST(tallies.at(i).balance == static_cast<std::int32_t>(3 * i + 100));
    BOOST_TEST(tallies[i].dropped == 2 * i);
    BOOST_TEST(stored<tally>(obj.map("shared_tallies"), i).seen == i);
  }
}

// None of many additions is lost.
BOOST_AUTO_TEST_CASE(are_added_to_by_threads_and_programs_at_once) {
  constexpr int times = 20'000;
  std::atomic<int> ready{0};
  auto const together = [&] {
    ++ready;
    while (ready != 4) std::this_thread::yield();
  };
  std::vector<std::jthread> threads;
  for (int t = 0; t < 2; ++t)
    threads.emplace_back([&] {
      together();
      for (int i = 0; i < times; ++i) totals.atomic(5).fetch_add(1, std::memory_order_relaxed);
    });
  for (int t = 0; t < 2; ++t)
    threads.emplace_back([&] {
      together();
      for (int i = 0; i < times; ++i) run("add_total", 5, 2);
    });
  threads.clear();
  BOOST_TEST(totals[5] == 6U * times);
}

BOOST_AUTO_TEST_CASE(check_an_index_if_asked) {
  auto const is_out = [](char const* name, char const* size, char const* index) {
    return [=](tinybpf::error const& e) {
      BOOST_TEST(contains(e.what(), name), e.what());
      BOOST_TEST(contains(e.what(), size), e.what());
      BOOST_TEST(contains(e.what(), index), e.what());
      return e.code() == make_error_code(errc::out_of_range);
    };
  };
  BOOST_TEST(&totals.at(0) == &totals[0]);
  BOOST_CHECK_EXCEPTION(static_cast<void>(totals.at(1000)), tinybpf::error,
                        is_out("'totals'", "1000 values", "index 1000"));
  BOOST_CHECK_EXCEPTION(static_cast<void>(totals.at(static_cast<std::size_t>(-1))), tinybpf::error,
                        is_out("'totals'", "1000 values", "index 18446744073709551615"));
  BOOST_CHECK_EXCEPTION(static_cast<void>(totals_array{}.at(0)), tinybpf::error, is_out("", "0 values", "index 0"));
}

BOOST_AUTO_TEST_CASE(that_are_written_keep_their_map_from_being_frozen) {
  auto const m = obj.map("switches");
  std::optional<shared_array<std::uint32_t>> first{m};
  shared_array<std::uint32_t> const second{*std::move(first)};
  first.reset();
  auto const held = refused(kernel_error(EBUSY), [&](auto&... e) { m.freeze(e...); });
  BOOST_TEST(contains(held.message, "'switches'"));
}

BOOST_AUTO_TEST_CASE(of_frozen_maps_are_read) {
  auto const m = obj.map("switches");
  {
    shared_array<std::uint32_t> const writing{m};
    writing[1] = 5;
  }
  shared_array<std::uint32_t const> const before{m};  // does not hinder it
  m.freeze();
  auto const refusal = view_refused<shared_array<std::uint32_t>>(kernel_error(EPERM), m);
  BOOST_TEST(contains(refusal.message, "'switches'"), refusal.message);
  BOOST_TEST(contains(refusal.hint, "const"), refusal.hint);
  view_made<shared_array<std::uint32_t const>>(m);
  shared_array<std::uint32_t const> const after{m};
  run("add_switch", 1, 2);  // programs may still write
  for (auto const* array : {&before, &after}) {
    BOOST_TEST((*array)[1] == 7U);
    BOOST_TEST(array->at(1) == 7U);
    BOOST_TEST(array->load(1) == 7U);
    BOOST_TEST(array->size() == 3U);
  }
}

BOOST_AUTO_TEST_CASE(that_are_read_of_maps_that_are_not_frozen) {
  read_only const view{obj.map("totals")};
  totals[8] = 80;
  BOOST_TEST(view[8] == 80U);
  BOOST_TEST(view.span()[8] == 80U);
  BOOST_TEST(view.load(8) == 80U);
  BOOST_CHECK_THROW(static_cast<void>(view.at(1000)), tinybpf::error);
}

BOOST_AUTO_TEST_CASE(outlive_their_object) {
  auto const shared = obj.map("totals").clone();
  totals[1] = 11;
  obj.close();
  BOOST_TEST(totals[1] == 11U);
  totals[2] = 22;
  BOOST_TEST(stored<std::uint64_t>(shared, 2) == 22U);
  BOOST_TEST(totals.at(2) == 22U);
  BOOST_CHECK_THROW(static_cast<void>(totals.at(1000)), tinybpf::error);
}

BOOST_AUTO_TEST_CASE(move) {
  totals[1] = 11;
  totals_array first{std::move(totals)};
  BOOST_TEST(first[1] == 11U);
  BOOST_TEST(first.size() == 1000U);
  BOOST_TEST(!totals);              // NOLINT: what it is then is the question
  BOOST_TEST(totals.size() == 0U);  // NOLINT
  BOOST_TEST(totals.span().empty());
  BOOST_CHECK_THROW(static_cast<void>(totals.at(0)), tinybpf::error);
  totals_array second;
  BOOST_TEST(!second);
  BOOST_TEST(second.size() == 0U);
  second = std::move(first);
  BOOST_TEST(!first);  // NOLINT
  BOOST_TEST(second[1] == 11U);
  auto& same = second;
  second = std::move(same);
  BOOST_TEST(second.at(1) == 11U);
  second = totals_array{};  // unmaps: else the map could not be frozen
  obj.map("totals").freeze();
}

BOOST_AUTO_TEST_CASE(are_made_of_maps_that_fit) {
  view_made<totals_array>(obj.map("totals"));
  view_made<shared_array<tally>>(obj.map("shared_tallies"));
  view_made<read_only>(obj.map("totals"));
  auto const kind = view_refused<shared_array<std::uint32_t>>(make_error_code(errc::wrong_map_type), obj.map("known"));
  BOOST_TEST(contains(kind.message, "'known', which is of type bloom_filter"), kind.message);
  auto const flag = view_refused<totals_array>(make_error_code(errc::wrong_map_type), obj.map("unshared"));
  BOOST_TEST(contains(flag.message, "'unshared'"), flag.message);
  BOOST_TEST(contains(flag.hint, "BPF_F_MMAPABLE"), flag.hint);
  auto const size = view_refused<totals_array>(make_error_code(errc::size_mismatch), obj.map("switches"));
  BOOST_TEST(size.expected_size == 4U);
  BOOST_TEST(size.actual_size == 8U);
  view_refused<shared_array<std::int64_t>>(make_error_code(errc::type_mismatch), obj.map("totals"));
  view_refused<shared_array<std::uint32_t>>(make_error_code(errc::size_mismatch), obj.map("totals"));
  view_refused<shared_array<renamed_tally>>(make_error_code(errc::type_mismatch), obj.map("shared_tallies"));
  shared_array<renamed_tally> const renamed{obj.map("shared_tallies"), field_names::ignore};
  renamed[1].rest = -4;
  shared_array<renamed_tally> const quiet{obj.map("shared_tallies"), field_names::ignore, ec, details};
  BOOST_TEST(!ec);
  BOOST_TEST(quiet[1].rest == -4);
}

BOOST_AUTO_TEST_CASE(check_an_index_without_throwing) {
  totals[1] = 12;
  BOOST_TEST_REQUIRE(totals.at(1, ec, details) != nullptr);
  BOOST_TEST(*totals.at(1, ec) == 12U);
  BOOST_TEST(!ec);
  BOOST_TEST((totals.at(totals.size(), ec, details) == nullptr));
  BOOST_TEST(ec == make_error_code(errc::out_of_range));
  BOOST_TEST(contains(details.message, "'totals'"), details.message);
}

BOOST_AUTO_TEST_CASE(may_be_of_maps_on_their_own) {
  constexpr std::uint32_t mmapable = 1U << 10U;  // BPF_F_MMAPABLE
  auto m = map::create(map_type::array, "own", 4, 2, 5000, {.map_flags = mmapable});
  shared_array<std::uint16_t> const own{m};
  own[4999] = 7;
  BOOST_TEST(stored<std::uint16_t>(m, 4999) == 7U);
  m = {};
  BOOST_TEST(own[4999] == 7U);
}

BOOST_AUTO_TEST_CASE(are_not_of_maps_that_are_closed_or_not_loaded) {
  auto other = tinybpf::object::open(KINDS_BPF_O);
  auto const m = other.map("totals");
  auto const early = view_refused<totals_array>(make_error_code(errc::not_loaded), m);
  BOOST_TEST(contains(early.message, "'totals'"), early.message);
  other.close();
  view_refused<totals_array>(make_error_code(errc::closed), m);
  view_refused<totals_array>(make_error_code(errc::closed), {});
}

BOOST_AUTO_TEST_SUITE_END()
