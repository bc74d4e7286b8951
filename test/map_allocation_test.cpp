// A lookup or an update of a map allocates nothing, found or not, in each of their forms.
#include "allocations.hpp"

#include <tinybpf/map.hpp>
#include <tinybpf/percpu_map.hpp>
#include <tinybpf/typed_map.hpp>

#include <boost/test/unit_test.hpp>

#include <cstddef>
#include <cstdint>
#include <string>

using tinybpf::diagnostics;
using tinybpf::error_code;
using tinybpf::map_type;
using tinybpf::update_flag;

namespace {

/// How often `f` allocates, called with each of so many keys, of which there is every other one.
template <class F>
std::uint64_t allocations_of(F f) {
  constexpr std::uint64_t keys = 1000;
  auto const before = test::allocations.load();
  for (std::uint64_t key = 0; key < keys; ++key) f(key);
  return test::allocations.load() - before;
}

struct typed_fixture {
  tinybpf::typed_map<std::uint64_t, std::uint64_t> typed =
      tinybpf::map::create(map_type::hash, "typed", 8, 8, 1024).typed<std::uint64_t, std::uint64_t>();
  error_code ec;
  diagnostics details;

  typed_fixture() {
    for (std::uint64_t key = 0; key < 1000; key += 2) typed.update(key, key);
  }
};

struct percpu_fixture {
  tinybpf::percpu_map<std::uint64_t, std::uint32_t> counters{
      tinybpf::map::create(map_type::percpu_hash, "counters", 8, 4, 1024)};
  error_code ec;
  diagnostics details;

  percpu_fixture() {
    for (std::uint64_t key = 0; key < 1000; key += 2) counters.fill(key, 1);
  }
};

}  // namespace

// Else the zeros below would mean nothing.
BOOST_AUTO_TEST_CASE(allocations_are_counted) {
  std::string s;
  BOOST_TEST(allocations_of([&](std::uint64_t key) { s = std::string(1000 + key, 'x'); }) == 1000U);
  BOOST_TEST(s.size() == 1999U);
}

BOOST_FIXTURE_TEST_CASE(typed_lookups_allocate_nothing, typed_fixture) {
  std::uint64_t found = 0;
  BOOST_TEST(allocations_of([&](std::uint64_t key) { found += typed.lookup(key).has_value(); }) == 0U);
  BOOST_TEST(allocations_of([&](std::uint64_t key) { found += typed.lookup(key, ec).has_value(); }) == 0U);
  BOOST_TEST(allocations_of([&](std::uint64_t key) { found += typed.lookup(key, ec, details).has_value(); }) == 0U);
  BOOST_TEST(allocations_of([&](std::uint64_t key) { found += typed.contains(key); }) == 0U);
  BOOST_TEST(found == 2000U);
}

BOOST_FIXTURE_TEST_CASE(typed_updates_allocate_nothing, typed_fixture) {
  BOOST_TEST(allocations_of([&](std::uint64_t key) { typed.update(key, 1); }) == 0U);
  BOOST_TEST(allocations_of([&](std::uint64_t key) { typed.update(key, 1, update_flag::any, ec); }) == 0U);
  BOOST_TEST(allocations_of([&](std::uint64_t key) { typed.update(key, 1, update_flag::any, ec, details); }) == 0U);
  BOOST_TEST(allocations_of([&](std::uint64_t key) { typed[key] = 2; }) == 0U);
  BOOST_TEST(allocations_of([&](std::uint64_t key) { typed.erase(key); }) == 0U);
  BOOST_TEST(typed.count() == 0U);
}

BOOST_FIXTURE_TEST_CASE(percpu_lookups_into_the_same_values_allocate_nothing, percpu_fixture) {
  tinybpf::percpu_values<std::uint32_t> values;
  BOOST_TEST(counters.lookup(0, values));
  std::uint64_t found = 0;
  BOOST_TEST(allocations_of([&](std::uint64_t key) { found += counters.lookup(key, values); }) == 0U);
  BOOST_TEST(allocations_of([&](std::uint64_t key) { found += counters.lookup(key, values, ec); }) == 0U);
  BOOST_TEST(allocations_of([&](std::uint64_t key) { found += counters.lookup(key, values, ec, details); }) == 0U);
  BOOST_TEST(found == 1500U);
}
