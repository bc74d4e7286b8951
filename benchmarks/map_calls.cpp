// What a lookup and an update cost beside the system call that they are. CPU time is measured: it leaves out what other
// programs took of the CPU.
#include "harness.hpp"
#include "instructions.hpp"
#include "map_rows.hpp"

#include <tinybpf/map.hpp>
#include <tinybpf/percpu_map.hpp>
#include <tinybpf/typed_map.hpp>

#include <bpf/bpf.h>

#include <array>
#include <stdexcept>

namespace bench {
namespace {

/// Few enough for the caches: what is left is the calls.
constexpr std::uint32_t entries = 1024;

/// In both maps the value of a key is the key + 1; in the second as the sum of all CPUs.
struct fixture {
  tinybpf::map hash = tinybpf::map::create(tinybpf::map_type::hash, "bench_hash", 8, 8, entries);
  tinybpf::typed_map<std::uint64_t, std::uint64_t> typed = hash.typed<std::uint64_t, std::uint64_t>();
  tinybpf::map counters = tinybpf::map::create(tinybpf::map_type::percpu_array, "bench_percpu", 4, 8, entries);
  tinybpf::percpu_map<std::uint32_t, std::uint64_t> percpu{counters};
  std::size_t cpus = counters.lookup_size() / sizeof(std::uint64_t);

  fixture() {
    tinybpf::percpu_values<std::uint64_t> values{cpus, 1};
    for (std::uint32_t key = 0; key < entries; ++key) {
      typed.update(key, key + 1);
      values[0] = key + 2 - cpus;
      percpu.update(key, {values.data(), values.size()});
    }
  }
};

[[noreturn]] void fail() { throw std::runtime_error{"a call failed that must not"}; }

std::uint64_t libbpf_lookup(fixture const& f, std::uint64_t calls) {
  auto const fd = f.hash.fd();
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < calls; ++i) {
    std::uint64_t const key = i % entries;
    std::uint64_t value;
    if (bpf_map_lookup_elem(fd, &key, &value) != 0) fail();
    sum += value;
  }
  return sum;
}

std::uint64_t typed_lookup(fixture const& f, std::uint64_t calls) {
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < calls; ++i) {
    auto const value = f.typed.lookup(i % entries);
    if (!value) fail();
    sum += *value;
  }
  return sum;
}

std::uint64_t typed_lookup_code(fixture const& f, std::uint64_t calls) {
  tinybpf::error_code ec;
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < calls; ++i) {
    auto const value = f.typed.lookup(i % entries, ec);
    if (!value) fail();
    sum += *value;
  }
  return sum;
}

std::uint64_t libbpf_update(fixture const& f, std::uint64_t calls) {
  auto const fd = f.hash.fd();
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < calls; ++i) {
    std::uint64_t const key = i % entries;
    std::uint64_t const value = key + 1;
    if (bpf_map_update_elem(fd, &key, &value, BPF_ANY) != 0) fail();
    sum += value;
  }
  return sum;
}

std::uint64_t typed_update(fixture const& f, std::uint64_t calls) {
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < calls; ++i) {
    std::uint64_t const key = i % entries;
    f.typed.update(key, key + 1);
    sum += key + 1;
  }
  return sum;
}

std::uint64_t typed_update_code(fixture const& f, std::uint64_t calls) {
  tinybpf::error_code ec;
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < calls; ++i) {
    std::uint64_t const key = i % entries;
    f.typed.update(key, key + 1, tinybpf::update_flag::any, ec);
    if (ec) fail();
    sum += key + 1;
  }
  return sum;
}

std::uint64_t typed_assignment(fixture const& f, std::uint64_t calls) {
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < calls; ++i) {
    std::uint64_t const key = i % entries;
    f.typed[key] = key + 1;
    sum += key + 1;
  }
  return sum;
}

std::uint64_t libbpf_percpu(fixture const& f, std::uint64_t calls) {
  auto const fd = f.counters.fd();
  std::vector<std::uint64_t> values(f.cpus);
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < calls; ++i) {
    auto const key = static_cast<std::uint32_t>(i % entries);
    if (bpf_map_lookup_elem(fd, &key, values.data()) != 0) fail();
    for (auto const v : values) sum += v;
  }
  return sum;
}

std::uint64_t percpu_reused(fixture const& f, std::uint64_t calls) {
  tinybpf::percpu_values<std::uint64_t> values{f.cpus};
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < calls; ++i) {
    if (!f.percpu.lookup(static_cast<std::uint32_t>(i % entries), values)) fail();
    sum += values.sum();
  }
  return sum;
}

std::uint64_t percpu_lookup(fixture const& f, std::uint64_t calls) {
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < calls; ++i) {
    auto const values = f.percpu.lookup(static_cast<std::uint32_t>(i % entries));
    if (!values) fail();
    sum += values->sum();
  }
  return sum;
}

enum class allocates : std::uint8_t { unasked, never, each_call };

struct variant {
  char const* name;
  std::uint64_t (*run)(fixture const&, std::uint64_t calls);  ///< Gives the sum of the values.
  std::size_t reference;                                      ///< What it is held against: an index.
  double bar;                                                 ///< 0: none.
  allocates memory;
};

constexpr std::array variants{
    variant{"libbpf bpf_map_lookup_elem", libbpf_lookup, 0, 0, allocates::unasked},
    variant{"libbpf bpf_map_lookup_elem, again", libbpf_lookup, 0, 0, allocates::unasked},
    variant{"typed lookup(key)", typed_lookup, 0, 1.05, allocates::never},
    variant{"typed lookup(key, ec)", typed_lookup_code, 0, 1.05, allocates::never},
    variant{"libbpf bpf_map_update_elem", libbpf_update, 4, 0, allocates::unasked},
    variant{"libbpf bpf_map_update_elem, again", libbpf_update, 4, 0, allocates::unasked},
    variant{"typed update(key, value)", typed_update, 4, 1.05, allocates::never},
    variant{"typed update(key, value, flag, ec)", typed_update_code, 4, 1.05, allocates::never},
    variant{"map[key] = value", typed_assignment, 4, 0, allocates::never},
    variant{"libbpf lookup of each CPU's, and their sum", libbpf_percpu, 9, 0, allocates::unasked},
    variant{"the same, again", libbpf_percpu, 9, 0, allocates::unasked},
    variant{"per-CPU lookup(key, values), sum()", percpu_reused, 9, 1.1, allocates::never},
    variant{"per-CPU lookup(key), sum()", percpu_lookup, 9, 1.1, allocates::each_call},
};

bool is_reference(std::size_t i) noexcept { return variants[i].reference == i; }

std::uint64_t sum_of_keys(std::uint64_t calls) noexcept {
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < calls; ++i) sum += i % entries + 1;
  return sum;
}

double ns_per_call(fixture const& f, variant const& v, std::uint64_t calls) {
  auto const begin = thread_cpu_ns();
  auto const sum = v.run(f, calls);
  auto const elapsed = thread_cpu_ns() - begin;
  expect_equal(sum, sum_of_keys(calls), v.name);
  return static_cast<double>(elapsed) / static_cast<double>(calls);
}

std::vector<row> compare_all(std::string const& group, std::string const& unit,
                             std::array<std::vector<double>, variants.size()> const& samples, bool with_bars) {
  std::vector<row> rows;
  for (std::size_t i = 0; i < variants.size(); ++i) {
    auto const& v = variants[i];
    if (is_reference(i)) continue;
    auto const kind = with_bars && v.bar != 0 ? bar_kind::at_most : bar_kind::none;
    rows.push_back(
        compare(group, v.name, unit, samples[i], variants[v.reference].name, samples[v.reference], kind, v.bar));
  }
  return rows;
}

}  // namespace

std::vector<row> call_rows(map_sizes const& n) {
  fixture const f;
  std::array<std::vector<double>, variants.size()> samples;
  std::vector<std::function<void()>> each;
  for (std::size_t i = 0; i < variants.size(); ++i)
    each.emplace_back([&, i] { samples[i].push_back(ns_per_call(f, variants[i], n.calls)); });
  run_on(cpus().consumer, [&] { interleave(n.rounds, each); });
  return compare_all("One system call", "ns/call", samples, true);
}

void call_once(std::size_t which, std::uint64_t calls) { ns_per_call(fixture{}, variants.at(which), calls); }

std::vector<row> call_instruction_rows() {
  if (!counts_instructions()) return {};
  std::array<std::vector<double>, variants.size()> counts;
  for (std::size_t i = 0; i < variants.size(); ++i) counts[i] = {instructions_per_event(i, 1024, 11 * 1024)};
  return compare_all("One system call, instructions (cachegrind)", "per call", counts, false);
}

std::vector<row> call_allocation_rows(map_sizes const& n) {
  fixture const f;
  std::vector<row> rows;
  for (auto const& v : variants) {
    if (v.memory == allocates::unasked) continue;
    v.run(f, 1);
    auto const before = allocations();
    v.run(f, n.calls + 1);
    auto const many = allocations() - before;
    v.run(f, 1);
    auto const one = allocations() - before - many;
    // What is made before the first call is the same for both.
    auto const each = static_cast<double>(many - one) / static_cast<double>(n.calls);
    rows.push_back(absolute("Heap allocations", v.name, "a call", {each},
                            v.memory == allocates::never ? bar_kind::at_most : bar_kind::none, 0));
  }
  return rows;
}

}  // namespace bench
