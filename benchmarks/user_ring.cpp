// Writing into a user ring buffer with room for all of it: what a record costs the writer.
#include "rows.hpp"
#include "workload.hpp"

#include <tinybpf/object.hpp>
#include <tinybpf/user_ring_buffer.hpp>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include <cerrno>
#include <exception>
#include <memory>
#include <stdexcept>
#include <system_error>

namespace bench {
namespace {

struct close_user_ring {
  void operator()(::user_ring_buffer* r) const noexcept { user_ring_buffer__free(r); }
};

void fill(bench_event& e, std::uint64_t sequence) noexcept {
  e.time_ns = 0;
  e.sequence = sequence;
  for (auto& p : e.payload) p = sequence;
}

/// Writes `events` and gives the CPU time that took, in ns. Making the writer is not counted.
using write = std::uint64_t (*)(tinybpf::map const&, std::uint64_t events);

std::uint64_t by_libbpf(tinybpf::map const& m, std::uint64_t events) {
  std::unique_ptr<::user_ring_buffer, close_user_ring> const ring{user_ring_buffer__new(m.fd(), nullptr)};
  if (!ring) throw std::system_error{errno, std::system_category(), "user_ring_buffer__new"};
  auto const begin = thread_cpu_ns();
  for (std::uint64_t i = 0; i < events; ++i) {
    auto* const e = static_cast<bench_event*>(user_ring_buffer__reserve(ring.get(), sizeof(bench_event)));
    if (e == nullptr) throw std::runtime_error{"the user ring is full"};
    fill(*e, i);
    user_ring_buffer__submit(ring.get(), e);
  }
  return thread_cpu_ns() - begin;
}

std::uint64_t by_try_reserve(tinybpf::map const& m, std::uint64_t events) {
  asio::io_context context;
  tinybpf::user_ring_buffer ring{context.get_executor(), m};
  auto const begin = thread_cpu_ns();
  for (std::uint64_t i = 0; i < events; ++i) {
    auto e = ring.try_reserve<bench_event>();
    if (!e) throw std::runtime_error{"the user ring is full"};
    fill(**e, i);
    e->submit();
  }
  return thread_cpu_ns() - begin;
}

std::uint64_t by_reserve(tinybpf::map const& m, std::uint64_t events) {
  asio::io_context context{1};
  tinybpf::user_ring_buffer ring{context.get_executor(), m};
  std::uint64_t elapsed = 0;
  asio::co_spawn(
      context,
      [&]() -> asio::awaitable<void> {
        auto const begin = thread_cpu_ns();
        for (std::uint64_t i = 0; i < events; ++i) {
          auto e = co_await ring.reserve<bench_event>();
          fill(*e, i);
          e.submit();
        }
        elapsed = thread_cpu_ns() - begin;
      },
      [](std::exception_ptr const& failed) {
        if (failed) std::rethrow_exception(failed);
      });
  context.run();
  return elapsed;
}

/// Lets the kernel take all there is, and gives how many records that were.
std::uint64_t drain_all(tinybpf::program const& drain) {
  std::uint64_t records = 0;
  for (;;) {
    std::int64_t result = 0;
    bpf_test_run_opts options{};
    options.sz = sizeof(options);
    options.ctx_in = &result;
    options.ctx_size_in = sizeof(result);
    if (bpf_prog_test_run_opts(drain.fd(), &options) != 0 || result < 0)
      throw std::runtime_error{"cannot drain the user ring"};
    if (result == 0) return records;
    records += static_cast<std::uint64_t>(result);
  }
}

}  // namespace

std::vector<row> user_ring_rows(sizes const& n) {
  auto const object = tinybpf::load(USER_RING_BENCH_BPF_O);
  auto const ring = object.map("commands");
  auto const drain = object.program("drain");
  auto const events_per_us = [&](write w, std::vector<double>& samples) {
    std::uint64_t elapsed = 0;
    run_on(cpus().producer, [&] { elapsed = w(ring, n.drained); });
    samples.push_back(static_cast<double>(n.drained) * 1e3 / static_cast<double>(elapsed));
    expect_equal(drain_all(drain), n.drained, "a user ring");
  };
  std::vector<double> libbpf;
  std::vector<double> again;
  std::vector<double> ours;
  std::vector<double> awaited;
  interleave(n.repetitions, {
                                [&] { events_per_us(by_libbpf, libbpf); },
                                [&] { events_per_us(by_libbpf, again); },
                                [&] { events_per_us(by_try_reserve, ours); },
                                [&] { events_per_us(by_reserve, awaited); },
                            });
  std::string const group = "Writing into a user ring buffer";
  std::string const unit = "events/us";
  std::string const reference = "libbpf reserve, submit";
  return {
      compare(group, reference + ", again", unit, again, reference, libbpf),
      compare(group, "try_reserve, submit", unit, ours, reference, libbpf, bar_kind::at_least, 1),
      compare(group, "co_await reserve(), submit", unit, awaited, reference, libbpf),
  };
}

}  // namespace bench
