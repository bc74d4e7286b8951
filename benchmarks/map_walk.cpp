// How fast all entries of a large hash are read.
#include "harness.hpp"
#include "map_rows.hpp"

#include <tinybpf/map.hpp>
#include <tinybpf/typed_map.hpp>

#include <bpf/bpf.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

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

struct variant {
  char const* name;
  std::uint64_t (*run)(flows const&);
};

constexpr variant batch{"libbpf bpf_map_lookup_batch", by_batch};
constexpr variant next_key{"libbpf get_next_key, lookup_elem", by_key};
constexpr variant entries{"entries()", by_entries};

double entries_per_us(flows const& m, std::uint64_t count, variant const& v) {
  auto const begin = thread_cpu_ns();
  auto const sum = v.run(m);
  auto const elapsed = thread_cpu_ns() - begin;
  expect_equal(sum, count * (count + 1) / 2, v.name);
  return static_cast<double>(count) * 1e3 / static_cast<double>(elapsed);
}

/// The variants behind the first, held against the first.
std::vector<row> compare_all(flows const& m, std::uint64_t count, std::size_t repetitions,
                             std::vector<std::pair<variant, double>> const& with_bars) {
  std::vector<std::vector<double>> rates(with_bars.size());
  std::vector<std::function<void()>> each;
  for (std::size_t i = 0; i < with_bars.size(); ++i)
    each.emplace_back([&, i] { rates[i].push_back(entries_per_us(m, count, with_bars[i].first)); });
  run_on(cpus().consumer, [&] { interleave(repetitions, each); });
  std::vector<row> rows;
  for (std::size_t i = 1; i < with_bars.size(); ++i) {
    auto const& [v, bar] = with_bars[i];
    rows.push_back(compare("Reading all of a large hash", v.name, "entries/us", rates[i], with_bars[0].first.name,
                           rates[0], bar != 0 ? bar_kind::at_least : bar_kind::none, bar));
  }
  return rows;
}

}  // namespace

std::vector<row> walk_rows(map_sizes const& n) {
  auto const m = filled(n.walked);
  auto rows = compare_all(m, n.walked, 2 * n.repetitions,
                          {{batch, 0},
                           {{"libbpf bpf_map_lookup_batch, again", by_batch}, 0},
                           {entries, 0.95},
                           {{"for (auto const& [key, value] : map)", by_map}, 0.95},
                           {{"lookup_batch", by_typed_batch}, 0}});
  // A multiple is plain after fewer repetitions, which take longer.
  auto const multiples = compare_all(m, n.walked, n.repetitions / 2 + 1, {{next_key, 0}, {batch, 0}, {entries, 5}});
  rows.insert(rows.end(), multiples.begin(), multiples.end());
  return rows;
}

}  // namespace bench
