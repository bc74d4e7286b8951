// What every benchmark is measured with: clocks, threads that stay on their CPU, and repetitions that take turns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <functional>
#include <vector>

namespace bench {

/// The first two CPUs that this process may use: producers run on one, readers on the other. First to be asked for on a
/// thread that is not pinned.
struct cpu_pair {
  int producer;
  int consumer;
};
cpu_pair const& cpus();

/// Runs `f` on a thread of its own, pinned, and waits for it. Rethrows.
void run_on(int cpu, std::function<void()> const& f);

/// Pins the calling thread.
void pin(int cpu);

inline std::uint64_t nanoseconds(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(t.tv_nsec);
}
/// The clock that BPF programs stamp events with.
inline std::uint64_t now_ns() { return nanoseconds(CLOCK_MONOTONIC); }
inline std::uint64_t thread_cpu_ns() { return nanoseconds(CLOCK_THREAD_CPUTIME_ID); }

/// Fails the run: what arrived is not what was sent.
void expect_equal(std::uint64_t actual, std::uint64_t expected, char const* what);

/// Runs all variants once in each repetition, beginning with another one each time, so that none has a better place.
inline void interleave(std::size_t repetitions, std::vector<std::function<void()>> const& variants) {
  for (std::size_t r = 0; r < repetitions; ++r)
    for (std::size_t i = 0; i < variants.size(); ++i) variants[(r + i) % variants.size()]();
}

}  // namespace bench
