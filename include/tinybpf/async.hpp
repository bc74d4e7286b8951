// Calls that block, kept off the loop: they run on a worker thread of the executor's context, and complete on the
// handler's associated executor.
//
// For all of them:
//   Completion tokens: any. Without a token they return an awaitable that throws tinybpf::error with its diagnostics;
//   with one they complete with an error_code, and fill a `diagnostics&` given in front of it. Per-operation
//   cancellation: total, partial and terminal. It detaches the result, never the work: the handler is called at once
//   with `operation_aborted`, and what the call gives is released on the worker. Shutdown of the execution context
//   waits for calls that have begun, and drops those that have not. `notify_fork(fork_prepare)`, which Asio wants in
//   front of a fork, waits for all that were made, so that they are made once; parent and child may both make others.
//   Four run at once for a context, pages of iterators among them; with no thread at all, because the system allows
//   no more, they complete with EAGAIN.
#pragma once

#include <tinybpf/attach_target.hpp>
#include <tinybpf/detail/blocking_operation.hpp>
#include <tinybpf/error.hpp>
#include <tinybpf/link.hpp>
#include <tinybpf/map.hpp>
#include <tinybpf/object.hpp>
#include <tinybpf/program.hpp>
#include <tinybpf/test_run.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include <concepts>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace tinybpf {

namespace detail {

using load_file_call = std::function<object(error_code&, diagnostics&)>;
using attach_call = std::function<link(error_code&, diagnostics&)>;
using void_call = std::function<nothing(error_code&, diagnostics&)>;

load_file_call load_file(std::filesystem::path file);
void_call load_object(object& obj);
attach_call attach_program(program p, attach_target target, asio::execution_context& context);
attach_call attach_struct_ops(map m, asio::execution_context& context);
void_call detach_link(link&& l);

using attach_all_call = std::function<std::vector<link>(error_code&, diagnostics&)>;

attach_all_call attach_object(object const& obj, asio::execution_context& context);

/// What a test run gave on the worker: its output, to be copied to where the user wants it when the handler is called.
class finished_test_run {
 public:
  finished_test_run() = default;
  test_run_result deliver();

  test_run_result result;
  std::vector<std::byte> data;
  std::vector<std::byte> ctx;
  std::span<std::byte> data_out;
  std::span<std::byte> ctx_out;
};

using test_run_call = std::function<finished_test_run(error_code&, diagnostics&)>;

test_run_call run_program(program p, test_run_options const& options);

}  // namespace detail

/// Opens and loads a BPF object, while the loop goes on. Signature: `void(error_code, object)`. Errors: those of
/// `load`, and `operation_aborted`. Thread-safety: any number at once.
template <class Executor, class Token>
auto async_load(Executor const& ex, std::filesystem::path file, Token&& token) {
  return detail::run_blocking<void(error_code, object)>(ex, nullptr, detail::load_file(std::move(file)),
                                                        std::forward<Token>(token));
}
/// @overload
template <class Executor, class Token>
auto async_load(Executor const& ex, std::filesystem::path file, diagnostics& details, Token&& token) {
  return detail::run_blocking<void(error_code, object)>(ex, &details, detail::load_file(std::move(file)),
                                                        std::forward<Token>(token));
}
/// @overload For coroutines whose executor type is Ex.
template <class Ex = boost::asio::any_io_executor>
[[nodiscard]] boost::asio::awaitable<object, Ex> async_load(std::type_identity_t<Ex> ex, std::filesystem::path file) {
  diagnostics details;
  auto [ec, loaded] = co_await async_load(ex, std::move(file), details, detail::as_result);
  if (ec) detail::throw_error(ec, std::move(details));
  co_return std::move(loaded);
}

/// Loads an object that was opened, and perhaps adjusted, before. From this call until the load has ended, other calls
/// on the object report `errc::operation_in_progress`; destroying the object is safe. After a cancellation the load
/// goes on, and the object becomes loaded; a load that is dropped before it began leaves the object open. Signature:
/// `void(error_code)`. Errors: those of `object::load`, and `operation_aborted`.
template <class Executor, class Token>
auto async_load(Executor const& ex, object& obj, Token&& token) {
  return detail::run_blocking<void(error_code)>(ex, nullptr, detail::load_object(obj), std::forward<Token>(token));
}
/// @overload
template <class Executor, class Token>
auto async_load(Executor const& ex, object& obj, diagnostics& details, Token&& token) {
  return detail::run_blocking<void(error_code)>(ex, &details, detail::load_object(obj), std::forward<Token>(token));
}
/// @overload For coroutines whose executor type is Ex.
template <class Ex = boost::asio::any_io_executor>
[[nodiscard]] boost::asio::awaitable<void, Ex> async_load(std::type_identity_t<Ex> ex, object& obj) {
  diagnostics details;
  auto [ec] = co_await async_load(ex, obj, details, detail::as_result);
  if (ec) detail::throw_error(ec, std::move(details));
}

/// Attaches a program as its section says. The link's destructor hands its detaching to the worker, so that it never
/// blocks the loop. Signature: `void(error_code, link)`. Errors: those of `program::attach`, and `operation_aborted`.
/// Thread-safety: any number at once, also of one object.
template <class Executor, class Token>
  requires(!std::convertible_to<Token, attach_target>)
auto async_attach(Executor const& ex, program p, Token&& token) {
  auto& context = boost::asio::query(ex, boost::asio::execution::context);
  return detail::run_blocking<void(error_code, link)>(
      ex, nullptr, detail::attach_program(std::move(p), section_target{}, context), std::forward<Token>(token));
}
/// @overload
template <class Executor, class Token>
auto async_attach(Executor const& ex, program p, diagnostics& details, Token&& token) {
  auto& context = boost::asio::query(ex, boost::asio::execution::context);
  return detail::run_blocking<void(error_code, link)>(
      ex, &details, detail::attach_program(std::move(p), section_target{}, context), std::forward<Token>(token));
}
/// @overload For coroutines whose executor type is Ex.
template <class Ex = boost::asio::any_io_executor>
[[nodiscard]] boost::asio::awaitable<link, Ex> async_attach(std::type_identity_t<Ex> ex, program p) {
  diagnostics details;
  auto [ec, attached] = co_await async_attach(ex, std::move(p), details, detail::as_result);
  if (ec) detail::throw_error(ec, std::move(details));
  co_return std::move(attached);
}

/// Attaches a program to a place, such as `kprobe_target{"do_unlinkat"}`, and otherwise as above. Errors: those of
/// `program::attach(target)`, and `operation_aborted`. Names and paths count where the worker's thread is: in the
/// namespaces of the thread that started it, so that a program which changes its own does so before its first blocking
/// call. Descriptors in the target stay open until the call has completed or, after a cancellation, for good.
template <class Executor, class Token>
auto async_attach(Executor const& ex, program p, attach_target target, Token&& token) {
  auto& context = boost::asio::query(ex, boost::asio::execution::context);
  return detail::run_blocking<void(error_code, link)>(
      ex, nullptr, detail::attach_program(std::move(p), std::move(target), context), std::forward<Token>(token));
}
/// @overload
template <class Executor, class Token>
auto async_attach(Executor const& ex, program p, attach_target target, diagnostics& details, Token&& token) {
  auto& context = boost::asio::query(ex, boost::asio::execution::context);
  return detail::run_blocking<void(error_code, link)>(
      ex, &details, detail::attach_program(std::move(p), std::move(target), context), std::forward<Token>(token));
}
/// @overload For coroutines whose executor type is Ex.
template <class Ex = boost::asio::any_io_executor>
[[nodiscard]] boost::asio::awaitable<link, Ex> async_attach(std::type_identity_t<Ex> ex, program p,
                                                            attach_target target) {
  diagnostics details;
  auto [ec, attached] = co_await async_attach(ex, std::move(p), std::move(target), details, detail::as_result);
  if (ec) detail::throw_error(ec, std::move(details));
  co_return std::move(attached);
}

/// Attaches the programs of an object, as `object::attach` does, and otherwise as `async_attach` of one. The object may
/// go meanwhile; after a cancellation what was attached is detached on the worker. Signature: `void(error_code,
/// std::vector<link>)`.
template <class Executor, class Token>
auto async_attach(Executor const& ex, object const& obj, Token&& token) {
  auto& context = boost::asio::query(ex, boost::asio::execution::context);
  return detail::run_blocking<void(error_code, std::vector<link>)>(ex, nullptr, detail::attach_object(obj, context),
                                                                   std::forward<Token>(token));
}
/// @overload
template <class Executor, class Token>
auto async_attach(Executor const& ex, object const& obj, diagnostics& details, Token&& token) {
  auto& context = boost::asio::query(ex, boost::asio::execution::context);
  return detail::run_blocking<void(error_code, std::vector<link>)>(ex, &details, detail::attach_object(obj, context),
                                                                   std::forward<Token>(token));
}
/// @overload For coroutines whose executor type is Ex.
template <class Ex = boost::asio::any_io_executor>
[[nodiscard]] boost::asio::awaitable<std::vector<link>, Ex> async_attach(std::type_identity_t<Ex> ex,
                                                                         object const& obj) {
  diagnostics details;
  auto [ec, attached] = co_await async_attach(ex, obj, details, detail::as_result);
  if (ec) detail::throw_error(ec, std::move(details));
  co_return std::move(attached);
}

/// Registers a map of type struct_ops, as `map::attach_struct_ops` does it, and otherwise as `async_attach` of a
/// program.
template <class Executor, class Token>
auto async_attach(Executor const& ex, map m, Token&& token) {
  auto& context = boost::asio::query(ex, boost::asio::execution::context);
  return detail::run_blocking<void(error_code, link)>(ex, nullptr, detail::attach_struct_ops(std::move(m), context),
                                                      std::forward<Token>(token));
}
/// @overload
template <class Executor, class Token>
auto async_attach(Executor const& ex, map m, diagnostics& details, Token&& token) {
  auto& context = boost::asio::query(ex, boost::asio::execution::context);
  return detail::run_blocking<void(error_code, link)>(ex, &details, detail::attach_struct_ops(std::move(m), context),
                                                      std::forward<Token>(token));
}
/// @overload For coroutines whose executor type is Ex.
template <class Ex = boost::asio::any_io_executor>
[[nodiscard]] boost::asio::awaitable<link, Ex> async_attach(std::type_identity_t<Ex> ex, map m) {
  diagnostics details;
  auto [ec, attached] = co_await async_attach(ex, std::move(m), details, detail::as_result);
  if (ec) detail::throw_error(ec, std::move(details));
  co_return std::move(attached);
}

/// Runs a program on made-up input, as `program::test_run` does. `data_in` and `ctx_in` are copied when the operation
/// starts (an awaitable's when it is awaited), and may go then. `data_out` and `ctx_out` have to live until the handler
/// is called: they are written just before, by the thread that calls it, and not at all after a cancellation. A run
/// that was cancelled goes on on the worker, with its own memory. Signature: `void(error_code, test_run_result)`.
/// Errors: those of `program::test_run`, and `operation_aborted`; ENOSPC comes with its result.
template <class Executor, class Token>
auto async_test_run(Executor const& ex, program p, test_run_options const& options, Token&& token) {
  return detail::run_blocking<void(error_code, test_run_result)>(
      ex, nullptr, detail::run_program(std::move(p), options), std::forward<Token>(token));
}
/// @overload
template <class Executor, class Token>
auto async_test_run(Executor const& ex, program p, test_run_options const& options, diagnostics& details,
                    Token&& token) {
  return detail::run_blocking<void(error_code, test_run_result)>(
      ex, &details, detail::run_program(std::move(p), options), std::forward<Token>(token));
}
/// @overload For coroutines whose executor type is Ex.
template <class Ex = boost::asio::any_io_executor>
[[nodiscard]] boost::asio::awaitable<test_run_result, Ex> async_test_run(std::type_identity_t<Ex> ex, program p,
                                                                         test_run_options options) {
  diagnostics details;
  auto [ec, result] = co_await async_test_run(ex, std::move(p), options, details, detail::as_result);
  if (ec) detail::throw_error(ec, std::move(details));
  co_return result;
}

/// Detaches a link, which is empty from the start of the call. Signature: `void(error_code)`. Errors: those of
/// `link::detach`, and `operation_aborted`.
template <class Executor, class Token>
auto async_detach(Executor const& ex, link&& l, Token&& token) {
  return detail::run_blocking<void(error_code)>(ex, nullptr, detail::detach_link(std::move(l)),
                                                std::forward<Token>(token));
}
/// @overload
template <class Executor, class Token>
auto async_detach(Executor const& ex, link&& l, diagnostics& details, Token&& token) {
  return detail::run_blocking<void(error_code)>(ex, &details, detail::detach_link(std::move(l)),
                                                std::forward<Token>(token));
}
/// @overload For coroutines whose executor type is Ex.
template <class Ex = boost::asio::any_io_executor>
[[nodiscard]] boost::asio::awaitable<void, Ex> async_detach(std::type_identity_t<Ex> ex, link l) {
  diagnostics details;
  auto [ec] = co_await async_detach(ex, std::move(l), details, detail::as_result);
  if (ec) detail::throw_error(ec, std::move(details));
}

}  // namespace tinybpf
