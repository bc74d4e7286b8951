// A call that blocks, made on a worker thread and completed where its handler wants it.
#pragma once

#include <tinybpf/detail/tokens.hpp>
#include <tinybpf/error.hpp>

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/query.hpp>

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

namespace tinybpf::detail {

class worker;

/// The worker of the context, and a job for it. After the context's shutdown the job is destroyed unrun.
std::shared_ptr<worker> worker_of(asio::execution_context& context);
void submit(worker& where, std::function<void()> job);
/// For a catch block: whether no thread could be started, or there is no memory.
error_code explain_no_thread(diagnostics& details) noexcept;

struct nothing {};

/// Shared by the worker, which runs the call, and the handler's side, which completes or cancels. Cancelling detaches
/// the result, never the work: the handler is called at once with `operation_aborted`, and what the call gives is
/// destroyed where it ran.
template <class Result, class Handler, class Executor>
class blocking_operation : public std::enable_shared_from_this<blocking_operation<Result, Handler, Executor>> {
 public:
  using work_type = std::function<Result(error_code&, diagnostics&)>;

  blocking_operation(Handler&& handler, Executor const& ex, diagnostics* details, work_type work)
      : io_guard_{ex},
        completion_guard_{asio::get_associated_executor(handler, ex)},
        handler_{std::move(handler)},
        user_details_{details},
        work_{std::move(work)} {}

  void start(worker& where) {
    start_by([&](std::function<void()> job) { submit(where, std::move(job)); });
  }

  /// `launch` takes a function, and has a worker's thread call it, or destroys it.
  template <class Launch>
  void start_by(Launch const& launch) {
    auto slot = asio::get_associated_cancellation_slot(*handler_);
    if (slot.is_connected())
      slot.assign([weak = this->weak_from_this()](asio::cancellation_type type) {
        auto const self = weak.lock();
        if (self && type != asio::cancellation_type::none) self->cancel();
      });
    try {
      launch([self = this->shared_from_this()] { self->run(); });
    } catch (...) {
      ec_ = explain_no_thread(details_);
      end();
    }
  }

 private:
  void run() {
    try {
      result_.emplace(work_(ec_, details_));
    } catch (...) {
      ec_ = asio::error::no_memory;
    }
    end();
  }

  void end() {
    work_ = nullptr;
    std::lock_guard const lock{mutex_};
    if (!handler_) return;  // cancelled: the result goes with this operation, on this thread
    asio::post(completion_guard_->get_executor(), [self = this->shared_from_this()] {
      if (auto handler = self->claim()) self->complete(std::move(*handler), self->ec_, self->result_);
    });
  }

  void cancel() {
    auto handler = claim();
    if (!handler) return;
    auto const ex = completion_guard_->get_executor();
    asio::post(ex, [self = this->shared_from_this(), claimed = std::move(*handler)]() mutable {
      std::optional<Result> none;
      self->complete(std::move(claimed), asio::error::operation_aborted, none);
    });
  }

  std::optional<Handler> claim() {
    std::lock_guard const lock{mutex_};
    return std::exchange(handler_, std::nullopt);
  }

  void complete(Handler&& handler, error_code ec, std::optional<Result>& result) {
    asio::get_associated_cancellation_slot(handler).clear();
    if (ec && user_details_ != nullptr && ec != asio::error::operation_aborted) *user_details_ = std::move(details_);
    // Executors and all: the worker may hold this operation longer than the handler's context lives.
    io_guard_.reset();
    completion_guard_.reset();
    if constexpr (std::is_same_v<Result, nothing>) {
      std::move(handler)(ec);
    } else if constexpr (requires(Result& r) { r.deliver(); }) {  // what only this side may write to
      auto value = result ? result->deliver() : decltype(result->deliver()){};
      std::move(handler)(ec, std::move(value));
    } else {
      auto value = result ? std::move(*result) : Result{};
      std::move(handler)(ec, std::move(value));
    }
  }

  std::mutex mutex_;
  std::optional<asio::executor_work_guard<Executor>> io_guard_;
  std::optional<asio::executor_work_guard<asio::associated_executor_t<Handler, Executor>>> completion_guard_;
  std::optional<Handler> handler_;
  diagnostics* user_details_;
  work_type work_;
  std::optional<Result> result_;
  error_code ec_;
  diagnostics details_;
};

template <class Signature, class Result, class Executor, class Token>
auto run_blocking(Executor const& ex, diagnostics* details, std::function<Result(error_code&, diagnostics&)> work,
                  Token&& token) {
  return asio::async_initiate<Token, Signature>(
      [](auto handler, Executor const& io, diagnostics* said, std::function<Result(error_code&, diagnostics&)> call) {
        using operation = blocking_operation<Result, decltype(handler), Executor>;
        auto const where = worker_of(asio::query(io, asio::execution::context));
        std::make_shared<operation>(std::move(handler), io, said, std::move(call))->start(*where);
      },
      token, ex, details, std::move(work));
}

/// Completes with no error once what `launch` was given is called on a thread of the worker.
template <class Executor, class Token>
auto await_worker(Executor const& ex, std::function<void(worker&, std::function<void()>)> launch, Token&& token) {
  return asio::async_initiate<Token, void(error_code)>(
      [](auto handler, Executor const& io, std::function<void(worker&, std::function<void()>)> by) {
        using operation = blocking_operation<nothing, decltype(handler), Executor>;
        auto const where = worker_of(asio::query(io, asio::execution::context));
        std::make_shared<operation>(std::move(handler), io, nullptr, [](error_code&, diagnostics&) {
          return nothing{};
        })->start_by([&](std::function<void()> job) { by(*where, std::move(job)); });
      },
      token, ex, std::move(launch));
}

}  // namespace tinybpf::detail
