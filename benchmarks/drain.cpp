// How fast each reader empties a ring that was filled before, with nobody writing meanwhile. Nothing waits here, so CPU
// time is measured: it leaves out what other programs took of the CPU.
#include "instructions.hpp"
#include "readers.hpp"
#include "rows.hpp"

#include <array>

namespace bench {
namespace {

using concrete_executor = asio::io_context::executor_type;

/// Reads `events` and gives the CPU time that took, in ns. Making the reader is not counted.
using drain = std::uint64_t (*)(tinybpf::map const&, std::uint64_t events, tally&);

std::uint64_t by_libbpf(tinybpf::map const& m, std::uint64_t events, tally& t) {
  auto const ring = open_libbpf(m, t);
  auto const begin = thread_cpu_ns();
  while (t.events < events) ring_buffer__consume(ring.get());
  return thread_cpu_ns() - begin;
}

std::uint64_t by_try_next(tinybpf::map const& m, std::uint64_t, tally& t) {
  asio::io_context context;
  tinybpf::ring_buffer ring{context.get_executor(), m};
  auto const begin = thread_cpu_ns();
  while (auto const e = ring.try_next<bench_event>()) t(*e);
  return thread_cpu_ns() - begin;
}

template <class E>
std::uint64_t by_typed_try_next(tinybpf::map const& m, std::uint64_t, tally& t) {
  asio::io_context context;
  tinybpf::ring_buffer ring{context.get_executor(), m};
  auto typed = ring.typed<E>();
  auto const begin = thread_cpu_ns();
  while (auto const e = typed.try_next()) t(*e);
  return thread_cpu_ns() - begin;
}

/// Of no name that the object has: there is nothing to hold it against.
struct unchecked_event {
  std::uint64_t time_ns;
  std::uint64_t sequence;
  std::array<std::uint64_t, 3> payload;
};

/// What a user would write who has no types.
std::uint64_t by_bytes(tinybpf::map const& m, std::uint64_t, tally& t) {
  asio::io_context context;
  tinybpf::ring_buffer ring{context.get_executor(), m};
  auto const begin = thread_cpu_ns();
  while (auto const data = ring.try_next<tinybpf::bytes>()) {
    if (data->size() != sizeof(bench_event)) break;
    bench_event e;
    std::memcpy(&e, data->data(), sizeof e);
    t(e);
  }
  return thread_cpu_ns() - begin;
}

/// Runs a coroutine that reads from a ring, both on Executor.
template <class Executor, class Read>
std::uint64_t in_coroutine(tinybpf::map const& m, Read read) {
  asio::io_context context{1};
  tinybpf::basic_ring_buffer<Executor> ring{context.get_executor(), m};
  std::uint64_t elapsed = 0;
  asio::co_spawn(
      Executor{context.get_executor()},
      [&]() -> asio::awaitable<void, Executor> {
        auto const begin = thread_cpu_ns();
        co_await read(ring);
        elapsed = thread_cpu_ns() - begin;
      },
      [](std::exception_ptr const& failed) {
        if (failed) std::rethrow_exception(failed);
      });
  context.run();
  return elapsed;
}

template <class Executor>
std::uint64_t by_next(tinybpf::map const& m, std::uint64_t events, tally& t) {
  return in_coroutine<Executor>(m, [&](tinybpf::basic_ring_buffer<Executor>& ring) -> asio::awaitable<void, Executor> {
    while (t.events < events) {
      auto const e = co_await ring.template next<bench_event, Executor>();
      t(e);
    }
  });
}

template <class Executor, std::size_t Budget>
std::uint64_t by_read_some(tinybpf::map const& m, std::uint64_t events, tally& t) {
  return in_coroutine<Executor>(m, [&](tinybpf::basic_ring_buffer<Executor>& ring) -> asio::awaitable<void, Executor> {
    while (t.events < events)
      for (bench_event const& e : co_await ring.template read_some<bench_event, Executor>(Budget)) t(e);
  });
}

struct reader {
  char const* name;
  drain run;
  bar_kind kind;
  double bar;
};

constexpr std::array readers{
    reader{"libbpf ring_buffer__consume, again", by_libbpf, bar_kind::none, 0},
    reader{"read_some(512)", by_read_some<asio::any_io_executor, 512>, bar_kind::at_most, 0.95},
    reader{"read_some(4096)", by_read_some<asio::any_io_executor, 4096>, bar_kind::none, 0},
    reader{"try_next", by_try_next, bar_kind::at_most, 0.9},
    reader{"typed view, try_next", by_typed_try_next<bench_event>, bar_kind::none, 0},
    reader{"co_await next(), any_io_executor", by_next<asio::any_io_executor>, bar_kind::at_most, 6},
    reader{"co_await next(), io_context's executor", by_next<concrete_executor>, bar_kind::none, 0},
    reader{"typed view of a type unknown to BTF", by_typed_try_next<unchecked_event>, bar_kind::none, 0},
    reader{"try_next<bytes>, its size tested by hand", by_bytes, bar_kind::none, 0},
};
constexpr std::size_t friendly = 5;  // the row of next() that is also held against the producer

double drain_on(workload const& w, drain run, std::uint64_t events) {
  tally t;
  std::uint64_t elapsed = 0;
  run_on(cpus().consumer, [&] { elapsed = run(w.ring(), events, t); });
  expect_equal(t.events, events, "a drain");
  expect_equal(t.sum, events * (events - 1) / 2, "the sum of a drain");
  expect_equal(w.empty(), 0, "left by a drain");
  return static_cast<double>(elapsed) / static_cast<double>(events);
}

double fill_on(workload const& w, std::uint64_t events) {
  std::uint64_t elapsed = 0;
  run_on(cpus().producer, [&] {
    auto const begin = thread_cpu_ns();
    w.produce(events);
    elapsed = thread_cpu_ns() - begin;
  });
  return static_cast<double>(elapsed) / static_cast<double>(events);
}

}  // namespace

std::vector<row> drain_rows(workload& w, sizes const& n) {
  std::string const group = "Draining a filled ring";
  std::vector<double> libbpf;
  std::vector<double> producing;
  std::array<std::vector<double>, readers.size()> ours;

  std::vector<std::function<void()>> variants{[&] {
    producing.push_back(fill_on(w, n.drained));
    libbpf.push_back(drain_on(w, by_libbpf, n.drained));
  }};
  for (std::size_t i = 0; i < readers.size(); ++i)
    variants.emplace_back([&, i] {
      fill_on(w, n.drained);
      ours[i].push_back(drain_on(w, readers[i].run, n.drained));
    });
  interleave(n.repetitions, variants);

  std::vector<row> rows;
  for (std::size_t i = 0; i < readers.size(); ++i)
    rows.push_back(compare(group, readers[i].name, "ns/event", ours[i], "libbpf ring_buffer__consume", libbpf,
                           readers[i].kind, readers[i].bar));
  rows.push_back(compare(group, readers[friendly].name, "ns/event", ours[friendly], "the kernel producing one",
                         producing, bar_kind::at_most, 1));
  return rows;
}

void drain_once(workload& w, std::size_t reader, std::uint64_t events) {
  fill_on(w, events);
  drain_on(w, readers.at(reader).run, events);
}

std::vector<row> instruction_rows() {
  if (!counts_instructions()) return {};
  constexpr std::uint64_t few = 20'000;
  constexpr std::uint64_t many = 120'000;
  std::array<std::vector<double>, readers.size()> counts;
  for (std::size_t i = 0; i < readers.size(); ++i) counts[i] = {instructions_per_event(i, few, many)};
  std::vector<row> rows;
  for (std::size_t i = 1; i < readers.size(); ++i)
    rows.push_back(compare("Draining a filled ring, instructions (cachegrind)", readers[i].name, "per event", counts[i],
                           "libbpf ring_buffer__consume", counts[0]));
  return rows;
}

}  // namespace bench
