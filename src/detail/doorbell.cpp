#include <tinybpf/detail/doorbell.hpp>

#include <tinybpf/detail/channel.hpp>

#include <linux/membarrier.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <thread>

namespace tinybpf::detail {
namespace {

// Kernels with CPUs that have no timer tick refuse to wait for a grace period on behalf of others.
constexpr std::chrono::milliseconds longer_than_a_grace_period{100};

std::uint64_t load(void const* at, std::memory_order order) noexcept {
  return std::atomic_ref{*static_cast<std::uint64_t*>(const_cast<void*>(at))}.load(order);
}

}  // namespace

void doorbell::watch(channel const& c) {
  auto const* const regions = std::get_if<perf_regions>(&c.source.regions);
  if (regions != nullptr) buffers_.push_back({c.source.mapping, regions->tail, regions->head});
}

void doorbell::ring_if_behind() noexcept {
  for (auto const& b : buffers_) {
    if (load(b.head, std::memory_order_seq_cst) == load(b.tail, std::memory_order_relaxed)) continue;
    // In this order: who is woken too early is woken again, and who knows of it finds it. It can fail only when it was
    // rung some 2^64 times.
    static_cast<void>(eventfd_write(descriptor_.get(), 1));
    rung_.store(true, std::memory_order_release);
    return;
  }
}

bool doorbell::silence() noexcept {
  if (!rung_.exchange(false, std::memory_order_acquire)) return false;
  eventfd_t count = 0;
  static_cast<void>(eventfd_read(descriptor_.get(), &count));
  return true;
}

bool doorbell::after_grace_period() noexcept {
  auto const answered = asked_.load(std::memory_order_relaxed);
  if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) != 0)
    std::this_thread::sleep_for(longer_than_a_grace_period);
  ring_if_behind();
  return asked_.fetch_sub(answered, std::memory_order_relaxed) != answered;
}

}  // namespace tinybpf::detail
