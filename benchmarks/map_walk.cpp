// How fast all entries of a large hash are read.
#include "harness.hpp"
#include "map_rows.hpp"

#include <tinybpf/map.hpp>
#include <tinybpf/typed_map.hpp>

#include <bpf/bpf.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

namespace bench {
namespace {

using flows = tinybpf::typed_map<std::uint64_t, std::uint64_t>;

/// What entries() reads at once.
constexpr std::uint32_t page = 4096;

[[noreturn]] void fail(char const* what) { throw std::system_error{errno, std::system_category(), what}; }

std::uint64_t by_batch(flows const& m) {
  auto const fd = m.untyped().fd();
  std::vector<std::uint64_t> keys(page);
  std::vector<std::uint64_t> values(page);
  std::uint64_t sum = 0;
  std::uint32_t position = 0;
  void* from = nullptr;
  for (int err = 0; err == 0; from = &position) {
    auto count = page;
    err = bpf_map_lookup_batch(fd, from, &position, keys.data(), values.data(), &count, nullptr);
    if (err != 0 && err != -ENOENT) fail("bpf_map_lookup_batch");
    for (std::uint32_t i = 0; i < count; ++i) sum += values[i];
  }
  return sum;
}

std::uint64_t by_key(flows const& m) {
  auto const fd = m.untyped().fd();
  std::uint64_t sum = 0;
  std::uint64_t key = 0;
  for (void* from = nullptr; bpf_map_get_next_key(fd, from, &key) == 0; from = &key) {
    std::uint64_t value = 0;
    if (bpf_map_lookup_elem(fd, &key, &value) != 0) fail("bpf_map_lookup_elem");
    sum += value;
  }
  return sum;
}

std::uint64_t by_entries(flows const& m) {
  std::uint64_t sum = 0;
  for (auto const& [key, value] : m.entries()) sum += value;
  return sum;
}

std::uint64_t by_map(flows const& m) {
  std::uint64_t sum = 0;
  for (auto const& [key, value] : m) sum += value;
  return sum;
}

std::uint64_t by_typed_batch(flows const& m) {
  std::vector<std::uint64_t> keys(page);
  std::vector<std::uint64_t> values(page);
  std::uint64_t sum = 0;
  for (tinybpf::batch_position at; !at.ended();) {
    auto const count = m.lookup_batch(at, keys, values);
    for (std::size_t i = 0; i < count; ++i) sum += values[i];
  }
  return sum;
}

flows filled(std::uint64_t count) {
  auto m = tinybpf::map::create(tinybpf::map_type::hash, "bench_walk", 8, 8, static_cast<std::uint32_t>(count))
               .typed<std::uint64_t, std::uint64_t>();
  std::vector<std::uint64_t> keys;
  std::vector<std::uint64_t> values;
  for (std::uint64_t key = 0; key < count;) {
    keys.clear();
    values.clear();
    for (auto const end = std::min(count, key + page); key < end; ++key) {
      keys.push_back(key);
      values.push_back(key + 1);
    }
    m.update_batch(keys, values);
  }
  return m;
}

}  // namespace

std::vector<row> walk_rows(map_sizes const& n) {
  auto const m = filled(n.walked);
  struct variant {
    char const* name;
    std::uint64_t (*run)(flows const&);
    std::vector<double> rates = {};  ///< Entries per microsecond.
  };
  std::array variants{
      variant{"libbpf bpf_map_lookup_batch", by_batch},        variant{"libbpf get_next_key, lookup_elem", by_key},
      variant{"libbpf bpf_map_lookup_batch, again", by_batch}, variant{"entries()", by_entries},
      variant{"for (auto const& [key, value] : map)", by_map}, variant{"lookup_batch", by_typed_batch}};
  std::vector<std::function<void()>> each;
  for (auto& v : variants)
    each.emplace_back([&] {
      auto const begin = thread_cpu_ns();
      auto const sum = v.run(m);
      auto const elapsed = thread_cpu_ns() - begin;
      expect_equal(sum, n.walked * (n.walked + 1) / 2, v.name);
      v.rates.push_back(static_cast<double>(n.walked) * 1e3 / static_cast<double>(elapsed));
    });
  run_on(cpus().consumer, [&] { interleave(n.repetitions, each); });

  auto const& batch = variants[0];
  auto const& next_key = variants[1];
  auto const against = [&](std::size_t i, variant const& reference, bar_kind kind = bar_kind::none, double bar = 0) {
    return compare("Reading all of a large hash", variants[i].name, "entries/us", variants[i].rates, reference.name,
                   reference.rates, kind, bar);
  };
  return {
      against(2, batch),
      against(3, batch, bar_kind::at_least, 0.95),
      against(4, batch, bar_kind::at_least, 0.95),
      against(5, batch),
      against(0, next_key),
      against(3, next_key, bar_kind::at_least, 5),
  };
}

}  // namespace bench
