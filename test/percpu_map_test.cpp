// Maps in which each CPU has a value of its own.
#include "kinds.hpp"
#include "loop.hpp"

#include <tinybpf/object.hpp>
#include <tinybpf/percpu_map.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/describe/class.hpp>
#include <boost/test/unit_test.hpp>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <ranges>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

using test::contains;
using test::done;
using test::kernel_error;
using test::kinds;
using test::refused;
using test::view_made;
using test::view_refused;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::field_names;
using tinybpf::percpu_map;
using tinybpf::percpu_page;
using tinybpf::percpu_span;
using tinybpf::percpu_values;
using tinybpf::update_flag;

namespace percpu_map_test {

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

struct traffic {
  std::uint64_t packets;
  std::uint64_t bytes;
  friend traffic operator+(traffic const& a, traffic const& b) { return {a.packets + b.packets, a.bytes + b.bytes}; }
};
BOOST_DESCRIBE_STRUCT(traffic, (), (packets, bytes))

using hit_map = percpu_map<std::uint32_t, std::uint32_t>;
using flow_map = percpu_map<std::uint32_t, traffic>;
using tally_map = percpu_map<std::uint32_t, tally>;

/// A tally that says which key and CPU it is of.
tally tally_of(std::size_t key, std::size_t cpu) {
  return {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(cpu), -static_cast<std::int32_t>(key + cpu)};
}

bool operator==(tally const& a, tally const& b) {
  return std::tie(a.seen, a.dropped, a.balance) == std::tie(b.seen, b.dropped, b.balance);
}

/// All CPUs' tallies of a key are what they were made.
bool is_of(std::size_t key, percpu_span<tally> values, std::size_t cpus) {
  if (values.size() != cpus) return false;
  for (std::size_t cpu = 0; cpu < cpus; ++cpu)
    if (!(values[cpu] == tally_of(key, cpu))) return false;
  return true;
}

struct fixture : kinds {
  hit_map hits{obj.map("hits")};
  flow_map flows{obj.map("flows")};
  tally_map tallies{obj.map("tallies")};
  std::size_t cpus = hits.untyped().lookup_size() / 8;

  void fill_tallies(std::uint32_t count) const {
    std::vector<tally> values(cpus);
    for (std::uint32_t key = 0; key < count; ++key) {
      for (std::size_t cpu = 0; cpu < cpus; ++cpu) values[cpu] = tally_of(key, cpu);
      tallies.update(key, values);
    }
  }
};

/// Which keys the cursor's pages have, each read in all ways; and how many pages there were.
boost::asio::awaitable<std::size_t> read_pages(tally_map::cursor cursor, std::size_t cpus, std::vector<int>& seen) {
  std::size_t pages = 0;
  while (auto const page = co_await cursor.next()) {
    BOOST_TEST(!page.empty());
    ++pages;
    std::size_t i = 0;
    for (auto const& [key, values] : page) {
      BOOST_TEST_REQUIRE(is_of(key, values, cpus));
      BOOST_TEST_REQUIRE(&page[i].first == &key);
      BOOST_TEST_REQUIRE(page[i].second.data() == values.data());
      ++seen.at(key);
      ++i;
    }
    BOOST_TEST(i == page.size());
    auto at = page.begin();
    BOOST_TEST(((*at++).first == page[0].first));
    BOOST_TEST((page.size() == 1 ? at == page.end() : (*at).first == page[1].first));
  }
  auto const last = co_await cursor.next();
  BOOST_TEST(last.empty());
  BOOST_TEST(last.size() == 0U);
  BOOST_TEST((last.begin() == last.end()));
  co_return pages;
}

}  // namespace percpu_map_test

using namespace percpu_map_test;

BOOST_AUTO_TEST_SUITE(percpu_spans)

BOOST_AUTO_TEST_CASE(add_up_without_overflow) {
  std::vector<std::uint32_t> const counters{0xffffffff, 0xffffffff, 2};
  percpu_span<std::uint32_t> const span{counters};
  static_assert(std::is_same_v<decltype(span.sum()), std::uint64_t>);
  BOOST_TEST(span.sum() == 0x200000000U);
  std::vector<std::int8_t> const levels{-128, -128, 1};
  static_assert(std::is_same_v<decltype(percpu_span<std::int8_t>{levels}.sum()), std::int64_t>);
  BOOST_TEST(percpu_span<std::int8_t>{levels}.sum() == -255);
  std::vector<float> const shares{16777216.0F, 1.0F};
  static_assert(std::is_same_v<decltype(percpu_span<float>{shares}.sum()), double>);
  BOOST_TEST(percpu_span<float>{shares}.sum() == 16777217.0);
  std::vector<std::uint8_t> const small(300, 255);
  BOOST_TEST(percpu_span<std::uint8_t>{small}.sum() == 300U * 255);
}

BOOST_AUTO_TEST_CASE(add_up_what_a_projection_gives) {
  std::vector<tally> const values{{0xffffffff, 1, -5}, {1, 2, 3}};
  percpu_span<tally> const span{values};
  BOOST_TEST(span.sum(&tally::seen) == 0x100000000U);
  BOOST_TEST(span.sum(&tally::balance) == -2);
  BOOST_TEST(span.sum([](tally const& t) { return t.dropped * 0.5; }) == 1.5);
  BOOST_TEST(span.sum([](tally const& t) { return t.balance > 0; }) == 1U);
}

BOOST_AUTO_TEST_CASE(add_up_structs_by_their_operator) {
  percpu_values<traffic> values{3, {1, 10}};
  values[2] = {5, 7};
  auto const total = values.sum();
  static_assert(std::is_same_v<decltype(total), traffic const>);
  BOOST_TEST(total.packets == 7U);
  BOOST_TEST(total.bytes == 27U);
}

BOOST_AUTO_TEST_CASE(find_the_least_and_the_greatest) {
  std::vector<tally> const values{{5, 1, 0}, {9, 2, -7}, {3, 3, 4}};
  percpu_span<tally> const span{values};
  BOOST_TEST(span.min(&tally::seen) == 3U);
  BOOST_TEST(span.max(&tally::seen) == 9U);
  BOOST_TEST(span.min(&tally::balance) == -7);
  BOOST_TEST(span.max(&tally::balance) == 4);
  static_assert(std::is_same_v<decltype(span.max(&tally::seen)), std::uint32_t>);
  std::vector<std::int32_t> const numbers{-1, -3, -2};
  BOOST_TEST(percpu_span<std::int32_t>{numbers}.min() == -3);
  BOOST_TEST(percpu_span<std::int32_t>{numbers}.max() == -1);
  BOOST_TEST(percpu_span<std::int32_t>{std::span{numbers}.first(1)}.max() == -1);
}

BOOST_AUTO_TEST_CASE(fold_in_the_order_of_the_cpus) {
  std::vector<std::uint32_t> const numbers{1, 2, 3};
  percpu_span<std::uint32_t> const span{numbers};
  auto const in_words = [](std::string text, std::uint32_t n) { return std::move(text) + std::to_string(n); };
  BOOST_TEST(span.fold(std::string{"0"}, in_words) == "0123");
  percpu_values<std::uint32_t> values{2, 4};
  BOOST_TEST(values.fold(std::string{}, in_words) == "44");
  BOOST_TEST((span.fold(true, [](bool all, std::uint32_t n) { return all && n != 0; })));
}

BOOST_AUTO_TEST_CASE(are_ranges) {
  static_assert(std::ranges::random_access_range<percpu_span<int>> && std::ranges::sized_range<percpu_span<int>>);
  std::vector<int> const numbers{3, 1, 2};
  percpu_span<int> const span{numbers};
  BOOST_TEST(span.size() == 3U);
  BOOST_TEST(span.data() == numbers.data());
  BOOST_TEST((std::vector<int>(span.begin(), span.end()) == numbers));
  BOOST_TEST(span[2] == 2);
  BOOST_TEST(percpu_span<int>{}.size() == 0U);
  BOOST_TEST(percpu_span<int>{}.sum() == 0);
  BOOST_TEST((percpu_span<int>{}.begin() == percpu_span<int>{}.end()));
}

BOOST_AUTO_TEST_CASE(of_values_that_one_keeps) {
  BOOST_TEST(percpu_values<int>{}.size() == 0U);
  percpu_values<int> values{3};
  BOOST_TEST(values.sum() == 0);
  for (int& v : values) v = 5;
  values[1] = 7;
  percpu_values<int> const& seen = values;
  BOOST_TEST(seen[1] == 7);
  BOOST_TEST(seen.size() == 3U);
  BOOST_TEST(seen.sum() == 17);
  BOOST_TEST(seen.min() == 5);
  BOOST_TEST(seen.max() == 7);
  BOOST_TEST(seen.min(std::negate<>{}) == -7);
  BOOST_TEST(seen.max(std::negate<>{}) == -5);
  BOOST_TEST((seen.span().data() == seen.data()));
  BOOST_TEST((std::vector<int>(seen.begin(), seen.end()) == std::vector<int>{5, 7, 5}));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(percpu_maps, fixture)

// Nothing of a per-CPU map is one value.
template <class M>
concept assigns_by_key = requires(M const& m) { m[0U]; };
template <class M>
concept has_values = requires(M const& m) { m.values(); };
template <class M>
concept takes_one_value = requires(M const& m) { m.update(0U, std::uint32_t{}); };
static_assert(!assigns_by_key<hit_map> && !has_values<hit_map> && !takes_one_value<hit_map>);
static_assert(std::is_same_v<hit_map::key_type, std::uint32_t> && std::is_same_v<tally_map::mapped_type, tally>);
static_assert(std::ranges::input_range<decltype(std::declval<tally_map const&>().entries())>);

BOOST_AUTO_TEST_CASE(have_what_programs_count_on_each_cpu) {
  auto const here = test::own_cpus();
  for (auto const cpu : here) {
    test::on_cpu const pinned{cpu};
    for (std::size_t i = 0; i <= cpu; ++i) BOOST_TEST(run("count", 1, 10 * (cpu + 1)) == cpu);
  }
  auto const hit = hits.lookup(1).value();
  auto const flow = flows.lookup(1).value();
  auto const seen = tallies.lookup(1).value();
  BOOST_TEST(hit.size() == cpus);
  BOOST_TEST(flow.size() == cpus);
  BOOST_TEST(seen.size() == cpus);
  std::uint64_t all = 0;
  for (std::size_t cpu = 0; cpu < cpus; ++cpu) {
    bool const ran = std::ranges::find(here, cpu) != here.end();
    std::uint64_t const times = ran ? cpu + 1 : 0;
    std::uint64_t const amount = 10 * times * times;
    BOOST_TEST(hit[cpu] == amount);
    BOOST_TEST(flow[cpu].packets == times);
    BOOST_TEST(flow[cpu].bytes == amount);
    BOOST_TEST(seen[cpu].seen == times);
    BOOST_TEST(seen[cpu].dropped == amount);
    BOOST_TEST(seen[cpu].balance == -static_cast<std::int64_t>(amount));
    all += amount;
  }
  BOOST_TEST(all != 0U);
  BOOST_TEST(hit.sum() == all);
  BOOST_TEST(flow.sum(&traffic::bytes) == all);
  BOOST_TEST(flow.sum().bytes == all);
  BOOST_TEST(seen.sum(&tally::balance) == -static_cast<std::int64_t>(all));
  BOOST_TEST(hits.lookup(0).value().sum() == 0U);  // the program has left that alone
}

BOOST_AUTO_TEST_CASE(add_up_counters_that_overflow_together) {
  hits.fill(0, 0xffffffff);
  BOOST_TEST(hits.at(0).sum() == 0xffffffffU * std::uint64_t{cpus});
  BOOST_TEST(hits.at(0).min() == 0xffffffffU);
}

// What programs add to is what was written here, and no other CPU's.
BOOST_AUTO_TEST_CASE(give_programs_what_is_written) {
  std::vector<std::uint32_t> numbers(cpus);
  std::vector<tally> values(cpus);
  for (std::size_t cpu = 0; cpu < cpus; ++cpu) {
    numbers[cpu] = static_cast<std::uint32_t>(100 * (cpu + 1));
    values[cpu] = tally_of(1000, cpu);
  }
  hits.update(1, numbers);
  tallies.update(1, values);
  for (auto const cpu : test::own_cpus()) {
    test::on_cpu const pinned{cpu};
    run("count", 1, 7);
    numbers[cpu] += 7;
    values[cpu].seen += 1;
    values[cpu].dropped += 7;
    values[cpu].balance -= 7;
    auto const read = hits.at(1);
    BOOST_TEST((std::vector<std::uint32_t>(read.begin(), read.end()) == numbers));
    BOOST_TEST((std::ranges::equal(tallies.at(1), values)));
  }
}

// The kernel keeps each value at the next multiple of 8 bytes, and so the untyped map has them.
BOOST_AUTO_TEST_CASE(lay_values_out_as_the_kernel_does) {
  auto const check = [&]<class V>(percpu_map<std::uint32_t, V> const& m, std::vector<V> const& values) {
    constexpr std::size_t stride = (sizeof(V) + 7) / 8 * 8;
    done([&](auto&... e) { return m.update(0, values, update_flag::any, e...); });
    auto const stored = m.untyped().lookup(test::bytes_of(std::uint32_t{0})).value();
    BOOST_TEST(stored.size() == cpus * stride);
    for (std::size_t cpu = 0; cpu < cpus; ++cpu) {
      BOOST_TEST(std::memcmp(&stored[cpu * stride], &values[cpu], sizeof(V)) == 0);
      for (std::size_t i = sizeof(V); i < stride; ++i) BOOST_TEST((stored[cpu * stride + i] == std::byte{0}));
    }
    auto const read = m.at(0);
    BOOST_TEST(std::memcmp(read.data(), values.data(), cpus * sizeof(V)) == 0);
  };
  std::vector<std::uint32_t> numbers;
  std::vector<tally> tallied;
  std::vector<traffic> flowing;
  for (std::size_t cpu = 0; cpu < cpus; ++cpu) {
    numbers.push_back(static_cast<std::uint32_t>(0x01020304 + cpu));
    tallied.push_back(tally_of(0x05060708, cpu));
    flowing.push_back({0x1112131415161718 + cpu, 0x2122232425262728 - cpu});
  }
  check(hits, numbers);
  check(tallies, tallied);
  check(flows, flowing);
}

BOOST_AUTO_TEST_CASE(take_a_value_for_each_cpu_and_no_other_number) {
  hits.fill(0, 5);
  for (auto const wrong : {std::size_t{0}, cpus - 1, cpus + 1, 2 * cpus}) {
    auto const numbers = refused(make_error_code(errc::size_mismatch), [&](auto&... e) {
      hits.update(0, std::vector<std::uint32_t>(wrong, 9), update_flag::any, e...);
    });
    BOOST_TEST(numbers.map == "hits");
    BOOST_TEST(contains(numbers.message, "'hits'"), numbers.message);
    BOOST_TEST(numbers.expected_size == cpus * 8);
    BOOST_TEST(numbers.actual_size == wrong * 8);
    auto const structs = refused(make_error_code(errc::size_mismatch), [&](auto&... e) {
      flows.update(0, std::vector<traffic>(wrong), update_flag::any, e...);
    });
    BOOST_TEST(contains(structs.message, "'flows'"), structs.message);
    auto const tallied = refused(make_error_code(errc::size_mismatch), [&](auto&... e) {
      tallies.update(0, std::vector<tally>(wrong), update_flag::any, e...);
    });
    BOOST_TEST(contains(tallied.message, "'tallies'"), tallied.message);
  }
  BOOST_TEST(hits.at(0).sum() == 5 * cpus);
  BOOST_TEST(!tallies.contains(0));
}

BOOST_AUTO_TEST_CASE(fill_all_cpus_alike) {
  done([&](auto&... e) { tallies.fill(3, {1, 2, -3}, update_flag::any, e...); });
  tallies.fill(3, {1, 2, -3});
  auto const filled = tallies.at(3);
  BOOST_TEST(filled.size() == cpus);
  for (auto const& t : filled) BOOST_TEST((t == tally{1, 2, -3}));
  tallies.fill(3, {});
  BOOST_TEST(tallies.at(3).sum(&tally::seen) == 0U);
  flows.fill(1, {4, 5});
  BOOST_TEST(flows.at(1).sum().bytes == 5 * cpus);
}

BOOST_AUTO_TEST_CASE(look_up_what_is_there) {
  fill_tallies(2);
  done([&](auto&... e) { return tallies.lookup(1, e...); });
  done([&](auto&... e) { return tallies.lookup(7, e...); });
  BOOST_TEST(is_of(1, tallies.lookup(1).value().span(), cpus));
  BOOST_TEST(is_of(1, tallies.lookup(1, ec).value().span(), cpus));
  BOOST_TEST(is_of(1, tallies.lookup(1, ec, details).value().span(), cpus));
  BOOST_TEST(!tallies.lookup(7).has_value());
  BOOST_TEST(!tallies.lookup(7, ec).has_value());
  BOOST_TEST(!tallies.lookup(7, ec, details).has_value());
  BOOST_TEST(tallies.contains(1));
  BOOST_TEST(tallies.contains(1, ec));
  BOOST_TEST(tallies.contains(1, ec, details));
  BOOST_TEST(!tallies.contains(7));
  BOOST_TEST(!tallies.contains(7, ec));
  BOOST_TEST(!tallies.contains(7, ec, details));
  BOOST_TEST(!ec);
  BOOST_TEST(is_of(0, tallies.at(0, ec).span(), cpus));
  BOOST_TEST(is_of(0, tallies.at(0, ec, details).span(), cpus));
  auto const absent = refused(kernel_error(ENOENT), [&](auto&... e) { return tallies.at(7, e...); });
  BOOST_TEST(contains(absent.message, "'tallies'"));
  BOOST_TEST(!hits.contains(2));  // behind the end of the array
}

BOOST_AUTO_TEST_CASE(look_up_into_values_that_exist) {
  fill_tallies(2);
  percpu_values<tally> values;
  BOOST_TEST(tallies.lookup(0, values));
  BOOST_TEST(values.size() == cpus);
  auto const* const memory = values.data();
  BOOST_TEST(tallies.lookup(1, values, ec));
  BOOST_TEST(is_of(1, values.span(), cpus));
  BOOST_TEST(tallies.lookup(0, values, ec, details));
  BOOST_TEST(is_of(0, values.span(), cpus));
  BOOST_TEST(values.data() == memory);
  BOOST_TEST(!tallies.lookup(7, values));
  BOOST_TEST(!tallies.lookup(7, values, ec));
  BOOST_TEST(!tallies.lookup(7, values, ec, details));
  BOOST_TEST(!ec);
  percpu_values<tally> too_many{3 * cpus, {9, 9, 9}};
  BOOST_TEST(tallies.lookup(1, too_many));
  BOOST_TEST(is_of(1, too_many.span(), cpus));
}

BOOST_AUTO_TEST_CASE(insert_and_replace_as_the_flag_says) {
  std::vector<tally> const values(cpus, tally{1, 1, 1});
  auto const update = [&](update_flag flag) {
    return [&, flag](auto&... e) { tallies.update(5, values, flag, e...); };
  };
  auto const fill = [&](update_flag flag) { return [&, flag](auto&... e) { tallies.fill(5, {2, 2, 2}, flag, e...); }; };
  refused(kernel_error(ENOENT), update(update_flag::exist));
  refused(kernel_error(ENOENT), fill(update_flag::exist));
  tallies.update(5, values, update_flag::no_exist);
  auto const there = refused(kernel_error(EEXIST), update(update_flag::no_exist));
  BOOST_TEST(contains(there.message, "'tallies'"));
  refused(kernel_error(EEXIST), fill(update_flag::no_exist));
  BOOST_TEST(tallies.at(5).max(&tally::seen) == 1U);
  done(fill(update_flag::exist));
  BOOST_TEST(tallies.at(5).min(&tally::seen) == 2U);
}

BOOST_AUTO_TEST_CASE(say_when_they_are_full) {
  auto const most = tallies.untyped().max_entries();
  fill_tallies(most);
  std::vector<tally> const values(cpus);
  refused(kernel_error(E2BIG), [&](auto&... e) { tallies.update(most, values, update_flag::any, e...); });
  // One that forgets has room.
  percpu_map<std::uint32_t, std::int64_t> const recent{obj.map("recent")};
  for (std::uint32_t key = 0; key < 1000; ++key) recent.fill(key, -1);
  BOOST_TEST(recent.at(999).sum() == -static_cast<std::int64_t>(cpus));
  BOOST_TEST(recent.count() <= 100U);
}

BOOST_AUTO_TEST_CASE(erase_count_and_clear) {
  fill_tallies(5);
  BOOST_TEST(tallies.erase(1));
  BOOST_TEST(tallies.erase(2, ec));
  BOOST_TEST(tallies.erase(3, ec, details));
  BOOST_TEST(!ec);
  done([&](auto&... e) { BOOST_TEST(!tallies.erase(3, e...)); });
  done([&](auto&... e) { BOOST_TEST(tallies.count(e...) == 2U); });
  BOOST_TEST(tallies.clear() == 2U);
  fill_tallies(3);
  BOOST_TEST(tallies.clear(ec) == 3U);
  fill_tallies(4);
  BOOST_TEST(tallies.clear(ec, details) == 4U);
  BOOST_TEST(tallies.count() == 0U);
  BOOST_TEST(hits.count() == 2U);
  auto const never = refused(kernel_error(EINVAL), [&](auto&... e) { return hits.erase(0, e...); });
  BOOST_TEST(contains(never.hint, "percpu_array"), never.hint);
  refused(kernel_error(EINVAL), [&](auto&... e) { return hits.clear(e...); });
}

// More than the walk reads at once.
BOOST_AUTO_TEST_CASE(are_walked) {
  constexpr std::uint32_t total = 5000;
  fill_tallies(total);
  auto const walk = [&](auto&& range) {
    std::vector<int> seen(total);
    for (auto const& [key, values] : range) {
      static_assert(std::is_same_v<decltype(values), percpu_span<tally> const>);
      BOOST_TEST_REQUIRE(is_of(key, values, cpus));
      ++seen.at(key);
    }
    BOOST_TEST(std::ranges::count(seen, 1) == total);
  };
  walk(tallies.entries());
  ec = errc::closed;
  walk(tallies.entries(ec));
  BOOST_TEST(!ec);
  walk(tallies);
}

BOOST_AUTO_TEST_CASE(are_walked_where_there_are_gaps_behind_values) {
  for (std::uint32_t key : {0U, 1U}) {
    std::vector<std::uint32_t> numbers(cpus);
    for (std::size_t cpu = 0; cpu < cpus; ++cpu) numbers[cpu] = static_cast<std::uint32_t>(10 * key + cpu);
    hits.update(key, numbers);
  }
  std::uint32_t next = 0;
  for (auto const& [key, values] : hits) {
    BOOST_TEST(key == next++);
    for (std::size_t cpu = 0; cpu < cpus; ++cpu) BOOST_TEST(values[cpu] == 10 * key + cpu);
  }
  BOOST_TEST(next == 2U);
}

BOOST_AUTO_TEST_CASE(are_walked_on_a_loop) {
  constexpr std::uint32_t total = 1000;
  fill_tallies(total);
  boost::asio::io_context io;
  std::vector<int> seen(total);
  auto const pages = test::run(io, read_pages(tallies.async_entries(io.get_executor(), 100), cpus, seen));
  BOOST_TEST(pages >= 10U);
  BOOST_TEST(std::ranges::count(seen, 1) == total);
  seen.assign(total, 0);
  test::run(io, read_pages(tallies.async_entries(io.get_executor()), cpus, seen));
  BOOST_TEST(std::ranges::count(seen, 1) == total);
  BOOST_TEST(tallies.count() == total);
}

BOOST_AUTO_TEST_CASE(are_drained_on_a_loop) {
  constexpr std::uint32_t total = 1000;
  fill_tallies(total);
  boost::asio::io_context io;
  std::vector<int> seen(total);
  auto const pages = test::run(io, read_pages(tallies.async_drain(io.get_executor(), 100), cpus, seen));
  BOOST_TEST(pages >= 10U);
  BOOST_TEST(std::ranges::count(seen, 1) == total);
  BOOST_TEST(tallies.count() == 0U);
  fill_tallies(1);
  BOOST_TEST(test::run(io, read_pages(tallies.async_drain(io.get_executor()), cpus, seen)) == 1U);
  BOOST_TEST(tallies.count() == 0U);
  auto drain = hits.async_drain(io.get_executor());
  BOOST_CHECK_EXCEPTION(test::run(io, drain.next()), tinybpf::error, [](tinybpf::error const& e) {
    return e.code() == make_error_code(errc::not_supported) && contains(e.what(), "'hits'");
  });
}

BOOST_AUTO_TEST_CASE(are_made_of_maps_that_fit) {
  view_made<hit_map>(obj.map("hits"));
  view_made<flow_map>(obj.map("flows"));
  view_made<tally_map>(obj.map("tallies"));
  BOOST_TEST(hits.untyped().name() == "hits");
  auto const kind =
      view_refused<percpu_map<std::uint32_t, std::uint64_t>>(make_error_code(errc::wrong_map_type), obj.map("totals"));
  BOOST_TEST(contains(kind.message, "'totals', which is of type array"), kind.message);
  BOOST_TEST(contains(kind.hint, "percpu_hash or percpu_array"), kind.hint);
  auto const key =
      view_refused<percpu_map<std::uint64_t, std::uint32_t>>(make_error_code(errc::size_mismatch), obj.map("hits"));
  BOOST_TEST(key.expected_size == 4U);
  BOOST_TEST(key.actual_size == 8U);
  BOOST_TEST(contains(key.message, "'hits': its key"), key.message);
  auto const value =
      view_refused<percpu_map<std::uint32_t, std::uint64_t>>(make_error_code(errc::size_mismatch), obj.map("hits"));
  BOOST_TEST(value.expected_size == 4U);
  BOOST_TEST(contains(value.message, "its value"), value.message);
  view_refused<percpu_map<std::uint32_t, std::int32_t>>(make_error_code(errc::type_mismatch), obj.map("hits"));
  view_refused<percpu_map<std::int32_t, std::uint32_t>>(make_error_code(errc::type_mismatch), obj.map("hits"));
}

BOOST_AUTO_TEST_CASE(have_members_of_any_name_if_told) {
  using other = percpu_map<std::uint32_t, renamed_tally>;
  auto const named = view_refused<other>(make_error_code(errc::type_mismatch), obj.map("tallies"));
  BOOST_TEST(!named.differences.empty());
  fill_tallies(2);
  BOOST_TEST((other{obj.map("tallies"), field_names::ignore}.at(1).max(&renamed_tally::found) == 1U));
  other const quiet{obj.map("tallies"), field_names::ignore, ec, details};
  BOOST_TEST(!ec);
  BOOST_TEST(quiet.contains(1));
}

BOOST_AUTO_TEST_CASE(insert_and_take_out) {
  percpu_map<std::uint32_t, std::uint32_t> const own{
      tinybpf::map::create(tinybpf::map_type::percpu_hash, "own", 4, 4, 8)};
  std::vector<std::uint32_t> values(cpus);
  for (std::size_t i = 0; i < cpus; ++i) values[i] = static_cast<std::uint32_t>(i + 1);
  BOOST_TEST(own.insert(1, values));
  BOOST_TEST(!own.insert(1, values));
  BOOST_TEST(!own.insert(1, values, ec));
  BOOST_TEST(!ec);
  own.insert(2, std::span{values}.first(cpus - 1), ec, details);
  BOOST_TEST(ec == make_error_code(errc::size_mismatch));
  values[0] = 100;
  own.insert_or_assign(1, values);
  BOOST_TEST(own.at(1)[0] == 100U);
  auto const taken = own.lookup_and_delete(1);
  BOOST_TEST(std::equal(values.begin(), values.end(), taken.value().begin(), taken->end()));
  BOOST_TEST(!own.lookup_and_delete(1).has_value());
  BOOST_TEST(!own.lookup_and_delete(1, ec).has_value());
  BOOST_TEST(!ec);
  BOOST_TEST(percpu_values<std::uint32_t>{}.min() == 0U);
  BOOST_TEST(percpu_values<std::uint32_t>{}.max() == 0U);
}

BOOST_AUTO_TEST_CASE(that_are_closed_say_so) {
  test::without_a_map<tally_map>("tallies", [&](tally_map const& m, error_code expected) {
    std::vector<tally> const values(cpus);
    percpu_values<tally> into;
    refused(expected, [&](auto&... e) { return m.lookup(1, e...); });
    refused(expected, [&](auto&... e) { return m.lookup(1, into, e...); });
    refused(expected, [&](auto&... e) { return m.contains(1, e...); });
    refused(expected, [&](auto&... e) { return m.at(1, e...); });
    refused(expected, [&](auto&... e) { m.update(1, values, update_flag::any, e...); });
    refused(expected, [&](auto&... e) { m.fill(1, {}, update_flag::any, e...); });
    refused(expected, [&](auto&... e) { return m.erase(1, e...); });
    refused(expected, [&](auto&... e) { return m.count(e...); });
    refused(expected, [&](auto&... e) { return m.clear(e...); });
    for (auto const& entry : m.entries(ec)) BOOST_TEST(entry.first == 1U);
    BOOST_TEST(ec == expected);
    auto const is_expected = [&](tinybpf::error const& e) { return e.code() == expected; };
    BOOST_CHECK_EXCEPTION(static_cast<void>(m.entries().begin()), tinybpf::error, is_expected);
    BOOST_CHECK_EXCEPTION(static_cast<void>(m.begin()), tinybpf::error, is_expected);
    boost::asio::io_context io;
    for (auto cursor : {&tally_map::async_entries, &tally_map::async_drain}) {
      auto walk = (m.*cursor)(io.get_executor(), 10);
      BOOST_CHECK_EXCEPTION(test::run(io, walk.next()), tinybpf::error, is_expected);
    }
  });
}

BOOST_AUTO_TEST_SUITE_END()
