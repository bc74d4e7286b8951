// Small differences between Asio's versions, and what every asynchronous header needs.
#pragma once

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detail/type_traits.hpp>
#include <boost/asio/execution/executor.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/is_executor.hpp>

#include <type_traits>

namespace tinybpf::detail {

namespace asio = boost::asio;

// The second is for executors of the Networking TS.
template <class T>
inline constexpr bool is_executor =
    asio::execution::is_executor<T>::value || asio::is_executor<T>::value;  // NOLINT(misc-redundant-expression)

template <class T>
inline constexpr bool is_context = std::is_convertible_v<T&, asio::execution_context&>;

/// How coroutines await an operation and get its error code as a value.
inline constexpr auto as_result = asio::as_tuple(asio::deferred);

}  // namespace tinybpf::detail
