// libbpf's reader and ours, on a thread of their own, and what they cost while a producer is at work.
#pragma once

#include "workload.hpp"

#include <bpf/libbpf.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <exception>
#include <memory>
#include <system_error>
#include <thread>
#include <utility>

namespace bench {

struct close_ring {
  void operator()(::ring_buffer* r) const noexcept { ring_buffer__free(r); }
};
using libbpf_ring = std::unique_ptr<::ring_buffer, close_ring>;

/// `handle` is called with every event that libbpf consumes.
template <class Handle>
libbpf_ring open_libbpf(tinybpf::map const& m, Handle& handle) {
  auto const on_record = [](void* context, void* data, std::size_t) {
    (*static_cast<Handle*>(context))(*static_cast<bench_event const*>(data));
    return 0;
  };
  libbpf_ring ring{ring_buffer__new(m.fd(), on_record, &handle, nullptr)};
  if (!ring) throw std::system_error{errno, std::system_category(), "ring_buffer__new"};
  return ring;
}

/// The loop that libbpf's documentation shows.
template <class Handle>
class libbpf_reader {
 public:
  libbpf_reader(asio::io_context&, tinybpf::map const& m, Handle& handle) : ring_{open_libbpf(m, handle)} {}

  void run(Handle const& handle, std::atomic<std::uint64_t>& seen) {
    while (!stop_.load(std::memory_order_relaxed)) {
      ring_buffer__poll(ring_.get(), 20);
      seen.store(handle.events, std::memory_order_relaxed);
    }
  }
  void stop() { stop_ = true; }

 private:
  libbpf_ring ring_;
  std::atomic<bool> stop_ = false;
};

/// The loop that tinybpf's documentation shows, with the buffer's default policy.
template <class Handle>
class tinybpf_reader {
 public:
  tinybpf_reader(asio::io_context& context, tinybpf::map const& m, Handle& handle)
      : context_{context}, ring_{context.get_executor(), m}, handle_{handle} {}

  void run(Handle const&, std::atomic<std::uint64_t>& seen) {
    asio::co_spawn(context_, read(seen), [this](std::exception_ptr const&) { context_.stop(); });
    context_.restart();
    context_.run();
  }
  void stop() {
    asio::post(context_, [this] { ring_.close(); });
  }

 private:
  asio::awaitable<void> read(std::atomic<std::uint64_t>& seen) {
    for (;;) {
      for (bench_event const& e : co_await ring_.read_some<bench_event>(512)) handle_(e);
      seen.store(handle_.events, std::memory_order_relaxed);
    }
  }

  asio::io_context& context_;
  tinybpf::ring_buffer ring_;
  Handle& handle_;
};

/// What reading cost.
struct reading_cost {
  std::uint64_t wall_ns = 0;  ///< From before the first event was made until after the last one was read.
  std::uint64_t cpu_ns = 0;   ///< Of the reader's thread.
};

/// Lets a reader read what `produce` makes, which gives the number of events that found room. Returns once all of them
/// were read; fails if they do not come.
template <class Reader, class Handle, class Produce>
reading_cost read_while(asio::io_context& context, tinybpf::map const& m, Handle& handle, Produce produce) {
  Reader reader{context, m, handle};
  std::atomic<std::uint64_t> seen = 0;
  reading_cost cost;
  std::exception_ptr failed;
  std::thread thread{[&] {
    try {
      pin(cpus().consumer);
      auto const begin = thread_cpu_ns();
      reader.run(handle, seen);
      cost.cpu_ns = thread_cpu_ns() - begin;
    } catch (...) {
      failed = std::current_exception();
    }
  }};
  std::this_thread::sleep_for(std::chrono::milliseconds{3});  // until it waits for the first event

  auto const begin = now_ns();
  auto const expected = produce();
  auto const deadline = now_ns() + 20'000'000'000;
  while (seen.load(std::memory_order_relaxed) < expected && now_ns() < deadline) {
  }
  cost.wall_ns = now_ns() - begin;
  reader.stop();
  thread.join();
  if (failed) std::rethrow_exception(failed);
  expect_equal(handle.events, expected, "a reader");
  return cost;
}

}  // namespace bench
