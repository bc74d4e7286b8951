// Calls that block, kept off the loop: they run on a worker thread of the executor's context, and complete on the
// handler's associated executor.
//
// For all of them:
//   Completion tokens: any. Without a token they return an awaitable that throws tinybpf::error with its diagnostics;
//   with one they complete with an error_code, and fill a `diagnostics&` given in front of it. Per-operation
//   cancellation: total, partial and terminal. It detaches the result, never the work: the handler is called at once
//   with `operation_aborted`, and what the call gives is released on the worker. Shutdown of the execution context
//   waits for calls that have begun, and drops those that have not.
#pragma once

#include <tinybpf/detail/blocking_operation.hpp>
#include <tinybpf/error.hpp>
#include <tinybpf/link.hpp>
#include <tinybpf/map.hpp>
#include <tinybpf/object.hpp>
#include <tinybpf/program.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include <filesystem>
#include <functional>
#include <type_traits>
#include <utility>

namespace tinybpf {

namespace detail {

using load_file_call = std::function<object(error_code&, diagnostics&)>;
using attach_call = std::function<link(error_code&, diagnostics&)>;
using void_call = std::function<nothing(error_code&, diagnostics&)>;

load_file_call load_file(std::filesystem::path file);
void_call load_object(object& obj);
attach_call attach_program(program p, asio::execution_context& context);
attach_call attach_struct_ops(map m, asio::execution_context& context);
attach_call attach_program_xdp(program p, int ifindex, asio::execution_context& context);
void_call detach_link(link&& l);

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
auto async_attach(Executor const& ex, program p, Token&& token) {
  auto& context = boost::asio::query(ex, boost::asio::execution::context);
  return detail::run_blocking<void(error_code, link)>(ex, nullptr, detail::attach_program(std::move(p), context),
                                                      std::forward<Token>(token));
}
/// @overload
template <class Executor, class Token>
auto async_attach(Executor const& ex, program p, diagnostics& details, Token&& token) {
  auto& context = boost::asio::query(ex, boost::asio::execution::context);
  return detail::run_blocking<void(error_code, link)>(ex, &details, detail::attach_program(std::move(p), context),
                                                      std::forward<Token>(token));
}
/// @overload For coroutines whose executor type is Ex.
template <class Ex = boost::asio::any_io_executor>
[[nodiscard]] boost::asio::awaitable<link, Ex> async_attach(std::type_identity_t<Ex> ex, program p) {
  diagnostics details;
  auto [ec, attached] = co_await async_attach(ex, std::move(p), details, detail::as_result);
  if (ec) detail::throw_error(ec, std::move(details));
  co_return std::move(attached);
}

/// Attaches an XDP program to a network interface, as `program::attach_xdp` does, and otherwise as `async_attach`. A
/// worker thread is in the network namespace that the thread which started it was in: a program that changes its own
/// does so before its first blocking call.
template <class Executor, class Token>
auto async_attach_xdp(Executor const& ex, program p, int ifindex, Token&& token) {
  auto& context = boost::asio::query(ex, boost::asio::execution::context);
  return detail::run_blocking<void(error_code, link)>(
      ex, nullptr, detail::attach_program_xdp(std::move(p), ifindex, context), std::forward<Token>(token));
}
/// @overload
template <class Executor, class Token>
auto async_attach_xdp(Executor const& ex, program p, int ifindex, diagnostics& details, Token&& token) {
  auto& context = boost::asio::query(ex, boost::asio::execution::context);
  return detail::run_blocking<void(error_code, link)>(
      ex, &details, detail::attach_program_xdp(std::move(p), ifindex, context), std::forward<Token>(token));
}
/// @overload For coroutines whose executor type is Ex.
template <class Ex = boost::asio::any_io_executor>
[[nodiscard]] boost::asio::awaitable<link, Ex> async_attach_xdp(std::type_identity_t<Ex> ex, program p, int ifindex) {
  diagnostics details;
  auto [ec, attached] = co_await async_attach_xdp(ex, std::move(p), ifindex, details, detail::as_result);
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
