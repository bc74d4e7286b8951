// An array map in shared memory, held against an array of this process.
#include "harness.hpp"
#include "map_rows.hpp"

#include <tinybpf/map.hpp>
#include <tinybpf/shared_array.hpp>

#include <bpf/bpf.h>

#include <array>
#include <atomic>
#include <span>

namespace bench {
namespace {

using plain = std::span<std::uint64_t>;
using shared = tinybpf::shared_array<std::uint64_t>;

/// One after another, and in no order that the processor could guess, of 2^Bits values.
template <unsigned Bits>
struct in_order {
  static std::size_t index(std::uint64_t i) noexcept { return i % (std::size_t{1} << Bits); }
};
template <unsigned Bits>
struct scattered {
  static std::size_t index(std::uint64_t i) noexcept { return (i * 0x9e3779b97f4a7c15U) >> (64U - Bits); }
};

struct subscript {
  template <class Array>
  static std::uint64_t read(Array const& a, std::size_t i) noexcept {
    return a[i];
  }
  template <class Array>
  static void add(Array const& a, std::size_t i) noexcept {
    ++a[i];
  }
};
struct as_span {
  static std::uint64_t read(shared const& a, std::size_t i) noexcept { return a.span()[i]; }
};
struct as_atomic {
  static std::uint64_t read(shared const& a, std::size_t i) noexcept {
    return a.atomic(i).load(std::memory_order_relaxed);
  }
  static void add(shared const& a, std::size_t i) noexcept { a.atomic(i).fetch_add(1, std::memory_order_relaxed); }
  static void add(plain const& a, std::size_t i) noexcept {
    std::atomic_ref{a[i]}.fetch_add(1, std::memory_order_relaxed);
  }
};

// Not inlined, so that all are compiled for an array that they know nothing of. A loop of five instructions takes twice
// as long where it crosses a line of the cache.
template <class Order, class How, class Array>
[[gnu::noinline, gnu::aligned(64)]] std::uint64_t read(Array const& a, std::uint64_t accesses) {
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < accesses; ++i) sum += How::read(a, Order::index(i));
  return sum;
}
template <class Order, class How, class Array>
[[gnu::noinline, gnu::aligned(64)]] std::uint64_t add(Array const& a, std::uint64_t accesses) {
  for (std::uint64_t i = 0; i < accesses; ++i) How::add(a, Order::index(i));
  return a[0];
}

struct variant {
  char const* name;
  std::uint64_t (*on_plain)(plain const&, std::uint64_t);
  std::uint64_t (*on_shared)(shared const&, std::uint64_t);
  std::size_t reference;
  double bar;
};

template <unsigned Bits>
constexpr std::array variants{
    variant{"plain array, read in order", read<in_order<Bits>, subscript>, nullptr, 0, 0},
    variant{"plain array, read in order, again", read<in_order<Bits>, subscript>, nullptr, 0, 0},
    variant{"span(), read in order", nullptr, read<in_order<Bits>, as_span>, 0, 1.1},
    variant{"operator[], read in order", nullptr, read<in_order<Bits>, subscript>, 0, 1.1},
    variant{"atomic().load(), read in order", nullptr, read<in_order<Bits>, as_atomic>, 0, 1.1},
    variant{"plain array, read scattered", read<scattered<Bits>, subscript>, nullptr, 5, 0},
    variant{"plain array, read scattered, again", read<scattered<Bits>, subscript>, nullptr, 5, 0},
    variant{"span(), read scattered", nullptr, read<scattered<Bits>, as_span>, 5, 1.1},
    variant{"operator[], read scattered", nullptr, read<scattered<Bits>, subscript>, 5, 1.1},
    variant{"atomic().load(), read scattered", nullptr, read<scattered<Bits>, as_atomic>, 5, 1.1},
    variant{"plain array, ++ scattered", add<scattered<Bits>, subscript>, nullptr, 10, 0},
    variant{"operator[], ++ scattered", nullptr, add<scattered<Bits>, subscript>, 10, 1.1},
    variant{"plain array, atomic_ref, ++ scattered", add<scattered<Bits>, as_atomic>, nullptr, 12, 0},
    variant{"atomic().fetch_add(), ++ scattered", nullptr, add<scattered<Bits>, as_atomic>, 12, 1.1},
};

template <unsigned Bits>
std::vector<row> rows_of(std::string const& group, std::uint64_t accesses, std::size_t rounds) {
  constexpr auto& all = variants<Bits>;
  constexpr std::uint32_t values = 1U << Bits;
  auto const map = tinybpf::map::create(tinybpf::map_type::array, "bench_array", 4, 8, values,
                                        {.map_flags = BPF_F_MMAPABLE, .inner_map = nullptr});
  shared const theirs{map};
  std::vector<std::uint64_t> memory(values);
  plain const ours{memory};
  auto const run = [&](variant const& v) {
    return v.on_plain != nullptr ? v.on_plain(ours, accesses) : v.on_shared(theirs, accesses);
  };
  for (auto const& v : all) {
    auto const result_of = [&](variant const& tried) {
      for (std::uint32_t i = 0; i < values; ++i) ours[i] = theirs[i] = i;
      return run(tried);
    };
    expect_equal(result_of(v), result_of(all[v.reference]), v.name);
  }

  std::array<std::vector<double>, all.size()> samples;
  std::vector<std::function<void()>> each;
  for (std::size_t i = 0; i < all.size(); ++i)
    each.emplace_back([&, i] {
      run(all[i]);  // has its array in the cache
      auto const begin = thread_cpu_ns();
      run(all[i]);
      auto const elapsed = thread_cpu_ns() - begin;
      samples[i].push_back(static_cast<double>(elapsed) / static_cast<double>(accesses));
    });
  run_on(cpus().consumer, [&] { interleave(rounds, each); });

  std::vector<row> rows;
  for (std::size_t i = 0; i < all.size(); ++i) {
    auto const& v = all[i];
    if (v.reference == i) continue;
    rows.push_back(compare(group, v.name, "ns/access", samples[i], all[v.reference].name, samples[v.reference],
                           v.bar != 0 ? bar_kind::at_most : bar_kind::none, v.bar));
  }
  return rows;
}

}  // namespace

std::vector<row> array_rows(map_sizes const& n) {
  auto rows = rows_of<14>("An array of 128 KiB in shared memory", n.accesses, n.rounds);
  auto const large = rows_of<20>("An array of 8 MiB in shared memory", 4 * n.accesses, n.rounds);
  rows.insert(rows.end(), large.begin(), large.end());
  return rows;
}

}  // namespace bench
