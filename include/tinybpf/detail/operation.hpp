// What the operations on buffers have in common.
#pragma once

#include <tinybpf/detail/tokens.hpp>

#include <boost/asio/async_result.hpp>
#include <boost/asio/compose.hpp>
#include <boost/asio/post.hpp>

#include <memory>
#include <utility>

namespace tinybpf::detail {

/// Marks a buffer as waited for, for as long as the operation lives that waits.
template <class State>
class wait_mark {
 public:
  wait_mark() = default;
  explicit wait_mark(State& state) noexcept : state_{&state} { state.begin_wait(); }
  wait_mark(wait_mark&& other) noexcept : state_{std::exchange(other.state_, nullptr)} {}
  wait_mark& operator=(wait_mark&& other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~wait_mark() { reset(); }

  void reset() noexcept {
    if (auto* const state = std::exchange(state_, nullptr)) state->end_wait();
  }

 private:
  State* state_ = nullptr;  // alive: the operation shares it
};

/// Has `self` called soon, by way of the buffer's own executor: that of a handler may be a pool of threads, as
/// use_future's is. `impl` is null for a buffer that was never opened.
template <class Impl, class Self>
void post_operation(std::shared_ptr<Impl> const& impl, Self& self) {
  if (!impl) return asio::post(std::move(self));
  auto const ex = impl->get_executor();
  asio::post(ex, std::move(self));
}

/// Starts a composed operation, also on a buffer that was never opened and so has no executor of its own. Operation is
/// made of `impl` and `args` when it starts.
template <class Operation, class Signature, class Impl, class Token, class... Args>
auto start_operation(std::shared_ptr<Impl> impl, Token&& token, Args... args) {
  return asio::async_initiate<Token, Signature>(
      [](auto handler, std::shared_ptr<Impl> target, Args... rest) {
        using handler_type = decltype(handler);
        auto* const raw = target.get();
        Operation operation{std::move(target), std::move(rest)...};
        if (raw != nullptr)
          asio::async_compose<handler_type, Signature>(std::move(operation), handler, raw->get_executor());
        else
          asio::async_compose<handler_type, Signature>(std::move(operation), handler);
      },
      token, std::move(impl), std::move(args)...);
}

}  // namespace tinybpf::detail
