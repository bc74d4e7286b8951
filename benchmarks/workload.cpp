#include "workload.hpp"

#include <bpf/bpf.h>
#include <pthread.h>
#include <sched.h>

#include <cerrno>
#include <exception>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>

namespace bench {

// Asked once: threads that are pinned would know of one CPU alone.
cpu_pair const& cpus() {
  static cpu_pair const found = [] {
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    sched_getaffinity(0, sizeof(allowed), &allowed);
    std::vector<int> usable;
    for (int cpu = 0; cpu < CPU_SETSIZE && usable.size() < 2; ++cpu)
      if (CPU_ISSET(cpu, &allowed)) usable.push_back(cpu);
    return cpu_pair{usable.front(), usable.back()};
  }();
  return found;
}

void pin(int cpu) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  if (auto const error = pthread_setaffinity_np(pthread_self(), sizeof(one), &one); error != 0)
    throw std::system_error{error, std::system_category(), "pin a thread"};
}

void run_on(int cpu, std::function<void()> const& f) {
  std::exception_ptr failed;
  std::thread{[&] {
    try {
      pin(cpu);
      f();
    } catch (...) {
      failed = std::current_exception();
    }
  }}.join();
  if (failed) std::rethrow_exception(failed);
}

workload::workload()
    : object_{tinybpf::load(RING_BENCH_BPF_O)},
      ring_{object_.map("events")},
      counter_{context_.get_executor(), ring_} {}

std::uint64_t workload::run(std::string_view program, void* args, std::uint32_t size) const {
  bpf_test_run_opts options{};
  options.sz = sizeof(options);
  options.ctx_in = args;
  options.ctx_size_in = size;
  auto const fd = object_.program(program).fd();
  auto const begin = now_ns();
  if (bpf_prog_test_run_opts(fd, &options) != 0)
    throw std::system_error{errno, std::system_category(), "run a program"};
  return now_ns() - begin;
}

std::uint64_t workload::produce(std::uint64_t count) const { return run("produce", &count, sizeof(count)); }

void workload::trace_this_thread() {
  run("trace_me", nullptr, 0);
  if (!link_) link_ = object_.program("on_getpgid").attach();
}

std::uint64_t workload::empty() const {
  asio::io_context context;
  tinybpf::ring_buffer ring{context.get_executor(), ring_};
  std::uint64_t events = 0;
  while (ring.try_next<tinybpf::bytes>()) ++events;
  return events;
}

void expect_equal(std::uint64_t actual, std::uint64_t expected, char const* what) {
  if (actual != expected)
    throw std::runtime_error{std::string{what} + ": " + std::to_string(actual) + " events, not " +
                             std::to_string(expected)};
}

}  // namespace bench
