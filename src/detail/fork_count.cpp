#include <tinybpf/detail/fork_count.hpp>

#include <pthread.h>

#include <atomic>
#include <new>

namespace tinybpf::detail {

namespace {

std::atomic<unsigned> forks{0};

bool count_forks() {
  if (pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1, std::memory_order_relaxed); }) != 0)
    throw std::bad_alloc{};
  return true;
}

}  // namespace

unsigned fork_count() {
  static bool const counting = count_forks();
  static_cast<void>(counting);
  return forks.load(std::memory_order_relaxed);
}

}  // namespace tinybpf::detail
