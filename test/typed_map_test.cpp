// Views of maps as C++ types.
#include "features.hpp"
#include "support.hpp"

#include <tinybpf/object.hpp>
#include <tinybpf/typed_map.hpp>

#include <boost/describe/class.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <map>
#include <ranges>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

using test::contains;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::field_names;
using tinybpf::update_flag;

namespace typed_map_test {

struct endpoint {
  std::uint32_t address;
  std::uint16_t port;
  std::uint16_t family;
};
BOOST_DESCRIBE_STRUCT(endpoint, (), (address, port, family))

enum class endpoint_state : std::uint32_t { fresh, open, closed };

struct endpoint_stats {
  std::uint64_t packets;
  endpoint_state state;
  char name[12];
};
BOOST_DESCRIBE_STRUCT(endpoint_stats, (), (packets, state, name))

struct swapped_endpoint {
  std::uint32_t address;
  std::uint16_t family;
  std::uint16_t port;
};
BOOST_DESCRIBE_STRUCT(swapped_endpoint, (), (address, family, port))

struct wrong_stats {
  std::uint64_t packets;
  std::uint64_t state;
  std::uint64_t name;
};
BOOST_DESCRIBE_STRUCT(wrong_stats, (), (packets, state, name))

struct prefix {
  std::uint32_t length;
  std::uint32_t address;
};
BOOST_DESCRIBE_STRUCT(prefix, (), (length, address))

struct point {
  std::int32_t x;
  std::int32_t y;
};
BOOST_DESCRIBE_STRUCT(point, (), (x, y))

// Of .data, in whatever order the compiler has put its variables.
struct point_first {
  point corner;
  std::uint64_t weight;
};
BOOST_DESCRIBE_STRUCT(point_first, (), (corner, weight))
struct weight_first {
  std::uint64_t weight;
  point corner;
};
BOOST_DESCRIBE_STRUCT(weight_first, (), (weight, corner))

struct fixture {
  tinybpf::object obj = tinybpf::load(TYPED_MAPS_BPF_O);
  error_code ec;
  diagnostics details;
};

}  // namespace typed_map_test

using namespace typed_map_test;

BOOST_FIXTURE_TEST_SUITE(typed_maps, fixture)

BOOST_AUTO_TEST_CASE(look_up_update_and_erase) {
  auto const map = obj.map("endpoints").typed<endpoint, endpoint_stats>();
  static_assert(std::is_same_v<decltype(map)::key_type, endpoint>);
  static_assert(std::is_same_v<decltype(map)::mapped_type, endpoint_stats>);
  BOOST_TEST(map.untyped().name() == "endpoints");
  endpoint const here{0x7f000001, 80, 2};
  BOOST_TEST(!map.lookup(here).has_value());
  map.update(here, {7, endpoint_state::open, "lo"});
  auto const found = map.lookup(here).value();
  BOOST_TEST(found.packets == 7U);
  BOOST_TEST((found.state == endpoint_state::open));
  BOOST_TEST(std::string{found.name} == "lo");
  map.update(here, {8, endpoint_state::closed, "lo"}, update_flag::exist);
  BOOST_TEST(map.lookup(here).value().packets == 8U);
  BOOST_TEST(!map.lookup({0x7f000001, 81, 2}).has_value());
  BOOST_TEST(map.erase(here));
  BOOST_TEST(!map.erase(here));
  BOOST_TEST(!map.lookup(here).has_value());
}

BOOST_AUTO_TEST_CASE(of_numbers) {
  auto const balances = obj.map("balances").typed<std::uint32_t, std::int64_t>();
  balances.update(3, -5);
  BOOST_TEST(balances.lookup(3).value() == -5);
  BOOST_TEST(!balances.lookup(8).has_value());
  balances.erase(3, ec, details);
  BOOST_TEST(ec.value() == EINVAL);
  BOOST_TEST(contains(details.message, "'balances'"));
}

BOOST_AUTO_TEST_CASE(are_containers) {
  auto const map = obj.map("endpoints").typed<endpoint, endpoint_stats>();
  endpoint const here{1, 2, 3};
  BOOST_TEST(!map.contains(here));
  BOOST_TEST(map.insert(here, {1, endpoint_state::fresh, ""}));
  BOOST_TEST(!map.insert(here, {2, endpoint_state::fresh, ""}, ec, details));
  BOOST_TEST(!ec);
  BOOST_TEST(details.empty());
  BOOST_TEST(map.contains(here));
  BOOST_TEST(map.at(here).packets == 1U);
  map.insert_or_assign(here, {3, endpoint_state::open, ""});
  BOOST_TEST(map.at(here).packets == 3U);
  map[here] = {4, endpoint_state::open, ""};
  map[{1, 2, 4}] = {5, endpoint_state::open, ""};
  BOOST_TEST(map.at(here).packets == 4U);
  BOOST_TEST(map.count() == 2U);
  map.at({9, 9, 9}, ec, details);
  BOOST_TEST(ec.value() == ENOENT);
  BOOST_TEST(contains(details.message, "'endpoints'"));
  BOOST_CHECK_THROW((void)map.at({9, 9, 9}), tinybpf::error);
  BOOST_TEST(map.clear() == 2U);
  BOOST_TEST(map.count() == 0U);
  BOOST_TEST(map.clear() == 0U);
  using assignment = decltype(map[here]);
  static_assert(!std::is_copy_constructible_v<assignment> && !std::is_convertible_v<assignment, endpoint_stats>);
}

BOOST_AUTO_TEST_CASE(are_ranges) {
  auto const map = obj.map("endpoints").typed<endpoint, endpoint_stats>();
  static_assert(std::ranges::input_range<decltype(map.entries())> && std::ranges::input_range<decltype(map.keys())>);
  for (std::uint16_t port = 1; port <= 4; ++port) map[{7, port, 2}] = {port * 10U, endpoint_state::open, ""};
  std::map<int, std::uint64_t> seen;
  for (auto const& [key, stats] : map.entries()) BOOST_TEST(seen.emplace(key.port, stats.packets).second);
  BOOST_TEST((seen == std::map<int, std::uint64_t>{{1, 10}, {2, 20}, {3, 30}, {4, 40}}));
  int ports = 0;
  for (auto const port : map.keys() | std::views::transform([](endpoint const& k) { return k.port; })) ports += port;
  BOOST_TEST(ports == 10);
  auto values = map.values();
  BOOST_TEST(std::ranges::count_if(values, [](endpoint_stats const& v) { return v.packets > 15; }) == 3);
  for (auto const& [key, stats] : obj.map("balances").typed<std::uint32_t, std::int64_t>().entries(ec))
    BOOST_TEST(stats == 0);
  BOOST_TEST(!ec);
}

BOOST_AUTO_TEST_CASE(that_cannot_be_walked_say_so) {
  auto const closed = obj.map("balances").typed<std::uint32_t, std::int64_t>();
  obj.close();
  for (auto const& value : closed.values(ec)) BOOST_TEST(value == 1);
  BOOST_TEST(ec == make_error_code(errc::closed));
  BOOST_CHECK_THROW(for (auto const& value : closed.values()) BOOST_TEST(value == 1), tinybpf::error);
  BOOST_CHECK_THROW((void)closed.count(), tinybpf::error);
  closed.clear(ec);
  BOOST_TEST(ec == make_error_code(errc::closed));
}

// Whoever walks erases what it sees, one in ten; and others are erased and inserted meanwhile.
BOOST_AUTO_TEST_CASE(may_change_while_they_are_walked) {
  constexpr std::uint32_t total = 100'000;
  auto const map = obj.map("many").typed<std::uint32_t, std::uint64_t>();
  for (std::uint32_t i = 0; i < total; ++i) map.update(i, i);
  std::vector<int> seen(2 * total);
  std::uint32_t behind = 0;
  for (auto const& [key, value] : map.entries()) {
    BOOST_TEST_REQUIRE(value == key);
    ++seen[key];
    if (key % 10 == 0) map.erase(key);
    // Of the others, some that may be behind and some that may be in front.
    if (++behind % 10 == 0) {
      map.erase(behind - behind % 10 + 5 < total ? behind - behind % 10 + 5 : 5);
      if (behind % 100 == 0) map.update(total + behind / 100, total + behind / 100);
    }
  }
  for (std::uint32_t i = 0; i < total; ++i) {
    bool const stayed = i % 10 != 5;
    if (stayed ? seen[i] != 1 : seen[i] > 1) BOOST_TEST_REQUIRE(seen[i] == 1, i << " was seen " << seen[i] << " times");
  }
  for (std::uint32_t i = total; i < 2 * total; ++i) BOOST_TEST_REQUIRE(seen[i] <= 1);
}

// Of a trie all keys are read first.
BOOST_AUTO_TEST_CASE(tries_may_change_while_they_are_walked) {
  auto const map = obj.map("routes").typed<prefix, std::uint64_t>();
  for (std::uint32_t i = 0; i < 1000; ++i) map.update({32, i}, i);
  std::map<std::uint32_t, int> seen;
  for (auto const& [key, value] : map.entries()) {
    BOOST_TEST_REQUIRE(value == key.address);
    ++seen[key.address];
    map.erase(key);
    map.erase({32, (key.address + 500) / 10 * 10 % 1000});
  }
  for (std::uint32_t i = 0; i < 1000; ++i)
    if (i % 10 != 0) BOOST_TEST_REQUIRE(seen[i] == 1);
  BOOST_TEST(map.count() == 0U);
}

BOOST_AUTO_TEST_CASE(of_global_variables) {
  auto const maps = obj.maps();
  auto const data = std::find_if(maps.begin(), maps.end(), [](auto const& m) { return m.name().ends_with(".data"); });
  BOOST_REQUIRE((data != maps.end()));
  auto const first = data->typed<std::uint32_t, point_first>(field_names::check, ec, details);
  error_code other_ec;
  auto const other = data->typed<std::uint32_t, weight_first>(field_names::check, other_ec);
  BOOST_TEST((!ec != !other_ec), details.to_string());  // one of them
  BOOST_TEST((ec ? ec : other_ec) == make_error_code(errc::type_mismatch));
  auto const corner = ec ? other.at(0).corner : first.at(0).corner;
  BOOST_TEST(corner.x == 1);
  BOOST_TEST(corner.y == -2);
}

BOOST_AUTO_TEST_CASE(do_many_at_once, *test::shows("batch operations")) {
  auto const map = obj.map("many").typed<std::uint32_t, std::uint64_t>();
  std::vector<std::uint32_t> keys(5000);
  std::vector<std::uint64_t> values(keys.size());
  for (std::uint32_t i = 0; i < keys.size(); ++i) values[i] = 3 * (keys[i] = i);
  BOOST_TEST(map.update_batch(keys, values) == keys.size());
  BOOST_TEST(map.count() == keys.size());
  BOOST_TEST(map.at(4999) == 3U * 4999);

  // Up to the one that is there, or is not.
  map.erase(100);
  map.erase(101);
  BOOST_TEST(map.update_batch(std::span{keys}.subspan(100, 10), std::span{values}.subspan(100, 10),
                              update_flag::no_exist, ec, details) == 2U);
  BOOST_TEST(ec.value() == EEXIST);
  BOOST_TEST(contains(details.message, "2 of 10 entries"));
  BOOST_TEST(map.contains(101));
  map.erase(2003);
  BOOST_TEST(map.delete_batch(std::span{keys}.subspan(2000, 10), ec, details) == 3U);
  BOOST_TEST(ec.value() == ENOENT);
  BOOST_TEST(contains(details.message, "3 of 10 entries"));
  BOOST_TEST(!map.contains(2002));
  BOOST_TEST(map.contains(2004));
  BOOST_TEST(map.delete_batch(std::span{keys}.subspan(3000)) == 2000U);
  BOOST_TEST(map.delete_batch({}) == 0U);
  BOOST_TEST(map.count() == 3000U - 4);
  BOOST_CHECK_THROW(map.delete_batch(keys), tinybpf::error);

  map.update_batch(keys, std::span{values}.first(10), update_flag::any, ec, details);
  BOOST_TEST(ec == make_error_code(errc::size_mismatch));
  BOOST_TEST(contains(details.message, "5000 keys, but 10 values"));
}

BOOST_AUTO_TEST_CASE(do_many_up_to_where_the_map_is_full) {
  auto const map = obj.map("endpoints").typed<endpoint, endpoint_stats>();
  std::vector<endpoint> keys;
  for (std::uint16_t port = 0; port < 10; ++port) keys.push_back({1, port, 2});
  std::vector<endpoint_stats> const values(keys.size());
  BOOST_TEST(map.update_batch(keys, values, update_flag::any, ec, details) == 4U);
  BOOST_TEST(ec.value() == E2BIG);
  BOOST_TEST(map.count() == 4U);
}

// An array has no batch delete, and no delete.
BOOST_AUTO_TEST_CASE(do_many_where_the_kind_has_no_batches) {
  auto const balances = obj.map("balances").typed<std::uint32_t, std::int64_t>();
  std::vector<std::uint32_t> const keys{1, 2, 9};
  std::vector<std::int64_t> const values{-1, -2, -9};
  BOOST_TEST(balances.update_batch(keys, values, update_flag::any, ec, details) == 2U);
  BOOST_TEST(ec.value() == E2BIG);
  BOOST_TEST(balances.at(2) == -2);
  BOOST_TEST(balances.delete_batch(keys, ec, details) == 0U);
  BOOST_TEST(ec.value() == EINVAL);
  auto const routes = obj.map("routes").typed<prefix, std::uint64_t>();
  std::vector<prefix> const networks{{8, 10}, {16, 0xa8c0}};
  BOOST_TEST(routes.update_batch(networks, std::vector<std::uint64_t>{1, 2}) == 2U);
  BOOST_TEST(routes.at({32, 0x0100a8c0}) == 2U);
  // A prefix longer than an address. What stood in front of it is done, and not tried again.
  std::vector<prefix> const wrong{{8, 10}, {33, 1}, {16, 0xa8c0}};
  BOOST_TEST(routes.delete_batch(wrong, ec, details) == 1U);
  BOOST_TEST(ec.value() == EINVAL);
  BOOST_TEST(contains(details.message, "1 of 3"));
  BOOST_TEST(routes.delete_batch(std::span{networks}.last(1)) == 1U);
  BOOST_TEST(routes.count() == 0U);
}

BOOST_AUTO_TEST_CASE(report_what_the_kernel_says) {
  auto const map = obj.map("endpoints").typed<endpoint, endpoint_stats>();
  for (std::uint16_t port = 0; port < 4; ++port) map.update({1, port, 2}, {});
  map.update({1, 4, 2}, {}, update_flag::any, ec, details);
  BOOST_TEST(ec.value() == E2BIG);
  BOOST_TEST(contains(details.message, "update of map 'endpoints'"));
  map.update({1, 0, 2}, {}, update_flag::no_exist, ec);
  BOOST_TEST(ec.value() == EEXIST);
  map.update({1, 9, 2}, {}, update_flag::exist, ec);
  BOOST_TEST(ec.value() == ENOENT);
  BOOST_CHECK_THROW(map.update({1, 9, 2}, {}, update_flag::exist), tinybpf::error);
}

BOOST_AUTO_TEST_CASE(are_held_against_btf) {
  auto const map = obj.map("endpoints");
  map.typed<swapped_endpoint, endpoint_stats>(field_names::check, ec, details);
  BOOST_TEST(ec == make_error_code(errc::type_mismatch));
  BOOST_TEST(contains(details.message, "map 'endpoints': its key: "));
  BOOST_TEST(contains(details.hint, "have changed places"));
  BOOST_TEST(details.map == "endpoints");
  BOOST_TEST(!details.differences.empty());
  map.typed<swapped_endpoint, endpoint_stats>(field_names::ignore, ec, details);
  BOOST_TEST(!ec);
  map.typed<endpoint, wrong_stats>(field_names::check, ec, details);
  BOOST_TEST(ec == make_error_code(errc::type_mismatch));
  BOOST_TEST(contains(details.message, "its value: "));
  BOOST_TEST(contains(details.layouts, "->"));
  BOOST_CHECK_THROW((void)(map.typed<endpoint, wrong_stats>()), tinybpf::error);
  obj.map("balances").typed<std::uint32_t, std::uint64_t>(field_names::check, ec, details);
  BOOST_TEST(ec == make_error_code(errc::type_mismatch));
}

BOOST_AUTO_TEST_CASE(are_held_against_sizes) {
  auto const map = obj.map("endpoints");
  map.typed<std::uint32_t, endpoint_stats>(field_names::check, ec, details);
  BOOST_TEST(ec == make_error_code(errc::size_mismatch));
  BOOST_TEST(details.expected_size == 8U);
  BOOST_TEST(details.actual_size == 4U);
  map.typed<endpoint, std::uint64_t>(field_names::check, ec, details);
  BOOST_TEST(ec == make_error_code(errc::size_mismatch));
  BOOST_TEST(details.expected_size == 24U);
}

// Where BTF says nothing, sizes are all there is.
BOOST_AUTO_TEST_CASE(of_maps_without_types) {
  auto const map = obj.map("sizes_alone").typed<std::array<std::uint8_t, 8>, std::array<std::uint64_t, 3>>();
  map.update({1, 2, 3}, {4, 5, 6});
  BOOST_TEST(map.lookup({1, 2, 3}).value()[2] == 6U);
  obj.map("sizes_alone").typed<std::uint64_t, std::uint64_t>(field_names::check, ec);
  BOOST_TEST(ec == make_error_code(errc::size_mismatch));
}

// What is refused as a whole has done nothing.
BOOST_AUTO_TEST_CASE(of_frozen_maps_have_no_batches_done) {
  auto const frozen = tinybpf::map::create(tinybpf::map_type::hash, "frozen", 4, 8, 8);
  auto const map = frozen.typed<std::uint32_t, std::uint64_t>();
  std::vector<std::uint32_t> const keys{1, 2, 3};
  std::vector<std::uint64_t> const values{10, 20, 30};
  BOOST_TEST(map.update_batch(keys, values) == 3U);
  frozen.freeze();
  BOOST_TEST(map.update_batch(keys, values, update_flag::any, ec, details) == 0U);
  BOOST_TEST(ec.value() == EPERM);
  BOOST_TEST(contains(details.message, "0 of 3"));
  BOOST_TEST(map.delete_batch(keys, ec) == 0U);
  BOOST_TEST(ec.value() == EPERM);
  BOOST_TEST(map.count() == 3U);
}

BOOST_AUTO_TEST_CASE(say_how_far_a_batch_went_in_what_they_throw) {
  auto const map = obj.map("balances").typed<std::uint32_t, std::int64_t>();
  std::size_t done = 0;
  try {
    map.update_batch(std::vector<std::uint32_t>{1, 2, 9}, std::vector<std::int64_t>{1, 2, 9});
  } catch (tinybpf::error const& e) {
    done = e.get_diagnostics().done;
  }
  BOOST_TEST(done == 2U);
}

// A view that was made before its map became another one touches no memory that is not its own.
BOOST_AUTO_TEST_CASE(are_held_against_what_was_loaded) {
  auto other = tinybpf::object::open(TYPED_MAPS_BPF_O);
  auto const map = other.map("many").typed<std::uint32_t, std::uint64_t>();
  other.map("many").set_type(tinybpf::map_type::percpu_hash);
  other.load();
  if (other.map("many").lookup_size() == 8) return;  // one CPU: they are alike
  std::vector<std::uint32_t> keys{1, 2, 3};
  std::vector<std::uint64_t> values{10, 20, 30};
  auto const refused = [&] {
    BOOST_TEST(ec == make_error_code(errc::size_mismatch));
    BOOST_TEST(contains(details.message, "'many'"));
  };
  map.update(1, 1, update_flag::any, ec, details);
  refused();
  BOOST_TEST(map.update_batch(keys, values, update_flag::any, ec, details) == 0U);
  refused();
  BOOST_TEST(map.delete_batch(keys, ec, details) == 0U);
  BOOST_TEST(ec.value() == ENOENT);  // keys are as they were
  tinybpf::batch_position at;
  BOOST_TEST(map.lookup_batch(at, keys, values, ec, details) == 0U);
  refused();
  BOOST_TEST(map.lookup_and_delete_batch(at, keys, values, ec, details) == 0U);
  refused();
  std::size_t seen = 0;
  for (auto const& entry : map.entries(ec)) seen += entry.first;
  BOOST_TEST(seen == 0U);
  BOOST_TEST(ec == make_error_code(errc::size_mismatch));
}

struct alignas(64) line {
  std::uint64_t count;
};

BOOST_AUTO_TEST_CASE(of_values_that_have_a_line_of_the_cache_each) {
  auto const map = tinybpf::map::create(tinybpf::map_type::hash, "lines", 4, 64, 100).typed<std::uint32_t, line>();
  for (std::uint32_t key = 0; key < 100; ++key) map.update(key, {key});
  for (auto const& [key, value] : map) {
    BOOST_TEST_REQUIRE(reinterpret_cast<std::uintptr_t>(&value) % 64 == 0U);
    BOOST_TEST_REQUIRE(value.count == key);
  }
}

// Keys have a type, and values are bytes: of any map, also one with a value for each CPU.
BOOST_AUTO_TEST_CASE(of_values_that_are_bytes) {
  auto const typed = obj.map("balances").typed<std::uint32_t, std::int64_t>();
  typed.update(3, -9);
  auto const map = obj.map("balances").typed<std::uint32_t>();
  static_assert(std::is_same_v<decltype(map)::mapped_type, tinybpf::bytes>);
  std::array<std::int64_t, 1> value{};
  auto const data = std::as_writable_bytes(std::span{value});
  std::ranges::copy(map.lookup(3).value(), data.begin());
  BOOST_TEST(value[0] == -9);
  value[0] = 11;
  map.update(3, data);
  BOOST_TEST(typed.at(3) == 11);
  BOOST_TEST(map.at(3).size() == 8U);
  BOOST_TEST(!map.insert(3, data));
  BOOST_TEST(map.contains(3));
  BOOST_TEST(!map.contains(8));
  BOOST_CHECK_THROW(static_cast<void>(map.at(8)), tinybpf::error);
  std::size_t seen = 0;
  for (auto const& [key, stored] : map) {
    BOOST_TEST(stored.size() == 8U);
    BOOST_TEST(key == seen++);
  }
  BOOST_TEST(seen == 8U);
  map.erase(3, ec, details);
  BOOST_TEST(ec == boost::system::errc::invalid_argument);
  map.update(3, data.first(4), update_flag::any, ec);
  BOOST_TEST(ec == make_error_code(errc::size_mismatch));

  auto const counters = obj.map("counters").typed<std::uint32_t>();
  BOOST_TEST(counters.at(0).size() == obj.map("counters").lookup_size());
  obj.map("counters").typed<std::uint64_t>(field_names::check, ec, details);
  BOOST_TEST(ec == make_error_code(errc::size_mismatch));
}

BOOST_AUTO_TEST_CASE(of_one_value_per_cpu_are_refused) {
  obj.map("counters").typed<std::uint32_t, std::uint64_t>(field_names::check, ec, details);
  BOOST_TEST(ec == make_error_code(errc::not_supported));
  BOOST_TEST(contains(details.hint, "percpu_map"));
}

BOOST_AUTO_TEST_CASE(may_be_made_before_the_load) {
  auto other = tinybpf::object::open(TYPED_MAPS_BPF_O);
  auto const map = other.map("balances").typed<std::uint32_t, std::int64_t>();
  map.lookup(0, ec);
  BOOST_TEST(ec == make_error_code(errc::not_loaded));
  other.load();
  BOOST_TEST(map.lookup(0).value() == 0);
}

BOOST_AUTO_TEST_CASE(close_with_their_object) {
  auto const map = obj.map("balances").typed<std::uint32_t, std::int64_t>();
  auto const handle = obj.map("balances");
  obj.close();
  map.lookup(0, ec);
  BOOST_TEST(ec == make_error_code(errc::closed));
  map.update(0, 0, update_flag::any, ec);
  BOOST_TEST(ec == make_error_code(errc::closed));
  map.erase(0, ec);
  BOOST_TEST(ec == make_error_code(errc::closed));
  handle.typed<std::uint32_t, std::int64_t>(field_names::check, ec);
  BOOST_TEST(ec == make_error_code(errc::closed));
  tinybpf::typed_map<std::uint32_t, std::int64_t>{}.lookup(0, ec);
  BOOST_TEST(ec == make_error_code(errc::closed));
}

BOOST_AUTO_TEST_SUITE_END()
