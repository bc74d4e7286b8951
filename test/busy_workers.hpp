// Holds back what a context's worker would do.
#pragma once

#include <tinybpf/detail/blocking_operation.hpp>

#include <boost/asio/execution_context.hpp>

#include <latch>
#include <memory>

namespace test {

/// While alive and until `release()`, all threads of the context's worker are busy: what is submitted stays in the
/// queue.
class busy_workers {
 public:
  explicit busy_workers(boost::asio::execution_context& context) {
    auto const worker = tinybpf::detail::worker_of(context);
    for (int i = 0; i < enough; ++i) tinybpf::detail::submit(*worker, [gate = gate_] { gate->wait(); });
  }
  busy_workers(busy_workers const&) = delete;
  busy_workers& operator=(busy_workers const&) = delete;
  ~busy_workers() { release(); }

  void release() {
    if (!gate_->try_wait()) gate_->count_down();
  }

 private:
  static constexpr int enough = 16;  // more than the worker has threads
  std::shared_ptr<std::latch> gate_ = std::make_shared<std::latch>(1);
};

}  // namespace test
