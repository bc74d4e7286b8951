// The user's side of bpf/perf_streams.bpf.c: a loop, the loaded object, and what it is asked to write on which CPU.
#pragma once

#include "loop.hpp"
#include "print.hpp"
#include "support.hpp"

#include <tinybpf/object.hpp>
#include <tinybpf/perf_buffer.hpp>

#include <bpf/bpf.h>
#include <sched.h>

#include <cstdint>
#include <ostream>
#include <stdexcept>
#include <thread>
#include <vector>

namespace test {

// As in perf_streams.bpf.c.
struct counted_event {
  std::uint32_t kind;
  std::uint32_t index;
  std::uint64_t serial;
  std::uint64_t time;
};

// Likewise. It can be viewed where it lies: it asks for an alignment of 4.
struct small_event {
  std::uint32_t kind;
  std::uint32_t serial;
  std::uint32_t check;
};

inline constexpr std::uint32_t counted_kind = 1;
inline constexpr std::uint32_t small_kind = 2;

enum class target : std::uint32_t { samples, events };

struct emit_args {
  std::uint32_t target = 0;
  std::uint32_t kind = counted_kind;
  std::uint32_t size = 0;
  std::uint32_t index = 0;
  std::uint64_t count = 1;
  std::uint64_t first = 0;
  std::uint64_t written = 0;
  std::uint64_t failed = 0;
};

/// The CPUs that this process may use.
inline std::vector<int> usable_cpus() {
  cpu_set_t set;
  checked(sched_getaffinity(0, sizeof set, &set), "sched_getaffinity");
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  return cpus;
}

/// Calls `f` on a thread of its own, on that CPU, and waits for it.
template <class F>
void on_cpu(int cpu, F f) {
  bool moved = false;
  std::thread{[&] {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    moved = sched_setaffinity(0, sizeof set, &set) == 0;
    if (moved) f();
  }}.join();
  if (!moved) throw std::runtime_error{"sched_setaffinity"};
}

struct perf_streams : loop {
  perf_streams() = default;
  explicit perf_streams(tinybpf::object o) : obj{std::move(o)} {}

  /// Writes on this thread's CPU.
  emit_args emit(emit_args args = {}) const {
    std::uint32_t const key = 0;
    asked.update(bytes_of(key), bytes_of(args));
    bpf_test_run_opts opts{};
    opts.sz = sizeof opts;
    if (bpf_prog_test_run_opts(emitter.fd(), &opts) != 0) throw std::runtime_error{"bpf_prog_test_run_opts"};
    asked.lookup(bytes_of(key), writable_bytes_of(args));
    return args;
  }
  emit_args emit_on(int cpu, emit_args args = {}) const {
    emit_args result;
    on_cpu(cpu, [&] { result = emit(args); });
    return result;
  }
  emit_args emit_on(int cpu, std::uint64_t first, std::uint64_t count) const {
    emit_args args;
    args.first = first;
    args.count = count;
    args.index = static_cast<std::uint32_t>(cpu);
    return emit_on(cpu, args);
  }

  tinybpf::object obj = tinybpf::load(PERF_STREAMS_BPF_O);
  tinybpf::program emitter = obj.program("emit_events");
  tinybpf::map asked = obj.map("asked");
  tinybpf::map samples = obj.map("samples");
  std::vector<int> cpus = usable_cpus();
};

}  // namespace test

template <>
struct tinybpf::event_traits<test::counted_event> {
  static constexpr auto tag = tinybpf::tag(&test::counted_event::kind, test::counted_kind);
};
template <>
struct tinybpf::event_traits<test::small_event> {
  static constexpr auto tag = tinybpf::tag(&test::small_event::kind, test::small_kind);
};
