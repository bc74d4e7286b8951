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

constexpr unsigned bits = 16;
constexpr std::uint32_t values = 1U << bits;  // 512 KiB

using plain = std::span<std::uint64_t>;
using shared = tinybpf::shared_array<std::uint64_t>;

/// One after another, and in no order that the processor could guess.
struct in_order {
  static std::size_t index(std::uint64_t i) noexcept { return i % values; }
};
struct scattered {
  static std::size_t index(std::uint64_t i) noexcept { return (i * 0x9e3779b97f4a7c15U) >> (64U - bits); }
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

// Not inlined, so that all are compiled for an array that they know nothing of.
template <class Order, class How, class Array>
[[gnu::noinline]] std::uint64_t read(Array const& a, std::uint64_t accesses) {
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < accesses; ++i) sum += How::read(a, Order::index(i));
  return sum;
}
template <class Order, class How, class Array>
[[gnu::noinline]] std::uint64_t add(Array const& a, std::uint64_t accesses) {
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

constexpr std::array variants{
    variant{"plain array, read in order", read<in_order, subscript>, nullptr, 0, 0},
    variant{"plain array, read in order, again", read<in_order, subscript>, nullptr, 0, 0},
    variant{"span(), read in order", nullptr, read<in_order, as_span>, 0, 1.1},
    variant{"operator[], read in order", nullptr, read<in_order, subscript>, 0, 1.1},
    variant{"atomic().load(), read in order", nullptr, read<in_order, as_atomic>, 0, 1.1},
    variant{"plain array, read scattered", read<scattered, subscript>, nullptr, 5, 0},
    variant{"span(), read scattered", nullptr, read<scattered, as_span>, 5, 1.1},
    variant{"operator[], read scattered", nullptr, read<scattered, subscript>, 5, 1.1},
    variant{"atomic().load(), read scattered", nullptr, read<scattered, as_atomic>, 5, 1.1},
    variant{"plain array, ++ scattered", add<scattered, subscript>, nullptr, 9, 0},
    variant{"operator[], ++ scattered", nullptr, add<scattered, subscript>, 9, 1.1},
    variant{"plain array, atomic_ref, ++ scattered", add<scattered, as_atomic>, nullptr, 11, 0},
    variant{"atomic().fetch_add(), ++ scattered", nullptr, add<scattered, as_atomic>, 11, 1.1},
};

}  // namespace

std::vector<row> array_rows(map_sizes const& n) {
  auto const map = tinybpf::map::create(tinybpf::map_type::array, "bench_array", 4, 8, values,
                                        {.map_flags = BPF_F_MMAPABLE, .inner_map = nullptr});
  shared const theirs{map};
  std::vector<std::uint64_t> memory(values);
  plain const ours{memory};
  auto const run = [&](variant const& v) {
    return v.on_plain != nullptr ? v.on_plain(ours, n.accesses) : v.on_shared(theirs, n.accesses);
  };
  auto const reset = [&] {
    for (std::uint32_t i = 0; i < values; ++i) ours[i] = theirs[i] = i;
  };

  std::array<std::vector<double>, variants.size()> samples;
  std::vector<std::function<void()>> each;
  for (std::size_t i = 0; i < variants.size(); ++i)
    each.emplace_back([&, i] {
      reset();
      auto const begin = thread_cpu_ns();
      auto const result = run(variants[i]);
      auto const elapsed = thread_cpu_ns() - begin;
      reset();
      expect_equal(result, run(variants[variants[i].reference]), variants[i].name);
      samples[i].push_back(static_cast<double>(elapsed) / static_cast<double>(n.accesses));
    });
  run_on(cpus().consumer, [&] { interleave(n.rounds, each); });

  std::vector<row> rows;
  for (std::size_t i = 0; i < variants.size(); ++i) {
    auto const& v = variants[i];
    if (v.reference == i) continue;
    rows.push_back(compare("An array in shared memory", v.name, "ns/access", samples[i], variants[v.reference].name,
                           samples[v.reference], v.bar != 0 ? bar_kind::at_most : bar_kind::none, v.bar));
  }
  return rows;
}

}  // namespace bench
