#include "harness.hpp"

#include <pthread.h>
#include <sched.h>

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

void expect_equal(std::uint64_t actual, std::uint64_t expected, char const* what) {
  if (actual != expected)
    throw std::runtime_error{std::string{what} + ": " + std::to_string(actual) + ", not " + std::to_string(expected)};
}

}  // namespace bench
