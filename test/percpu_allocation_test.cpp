// Looking up per-CPU values into those of an earlier lookup allocates nothing.
#include "kinds.hpp"

#include <tinybpf/object.hpp>
#include <tinybpf/percpu_map.hpp>

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace percpu_allocation_test {

struct tally {
  std::uint32_t seen;
  std::uint32_t dropped;
  std::int32_t balance;
};

struct traffic {
  std::uint64_t packets;
  std::uint64_t bytes;
};

std::atomic<std::uint64_t> allocations{0};

}  // namespace percpu_allocation_test

using namespace percpu_allocation_test;

// Not inlined: g++ would see through them, and take malloc and delete for a mismatch.
[[gnu::noinline]] void* operator new(std::size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* const p = std::malloc(size != 0 ? size : 1)) return p;
  throw std::bad_alloc{};
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }

BOOST_FIXTURE_TEST_SUITE(percpu_allocations, test::kinds)

template <class V>
std::uint64_t allocations_of_lookups(tinybpf::map const& m) {
  tinybpf::percpu_map<std::uint32_t, V> const view{m};
  view.fill(1, {});
  tinybpf::percpu_values<V> values;
  tinybpf::error_code ec;
  tinybpf::diagnostics details;
  view.lookup(1, values);
  auto const before = allocations.load();
  for (int i = 0; i < 1000; ++i) {
    view.lookup(1, values);
    view.lookup(1, values, ec);
    view.lookup(1, values, ec, details);
    view.lookup(1000, values);  // and where nothing is
  }
  return allocations.load() - before;
}

BOOST_AUTO_TEST_CASE(are_made_once) {
  auto const before = allocations.load();
  BOOST_TEST(allocations_of_lookups<std::uint32_t>(obj.map("hits")) == 0U);
  BOOST_TEST(allocations_of_lookups<traffic>(obj.map("flows")) == 0U);
  BOOST_TEST(allocations_of_lookups<tally>(obj.map("tallies")) == 0U);
  BOOST_TEST(allocations.load() != before);  // those that must be are counted
}

BOOST_AUTO_TEST_SUITE_END()
