// BPF ring buffers as streams of typed events on an executor.
#pragma once

#include <tinybpf/event_source.hpp>

namespace tinybpf {

/// An event source that takes ring buffers: maps of type ringbuf, and arrays of them.
///
///     tinybpf::ring_buffer events{ex, obj.map("events")};
///     for (;;) {
///       auto e = co_await events.next<exec_event>();
///     }
///
/// Everything else is said of `basic_event_source`.
template <class Executor = boost::asio::any_io_executor>
class basic_ring_buffer : public basic_event_source<Executor> {
  using base = basic_event_source<Executor>;
  static constexpr auto kind = detail::channel_kind::ring;

 public:
  /// The same buffer on another executor.
  template <class Other>
  struct rebind_executor {
    using other = basic_ring_buffer<Other>;
  };

  /// A closed buffer.
  basic_ring_buffer() noexcept = default;

  /// Opens the buffer of a loaded map. Errors: `errc::closed`, `errc::not_loaded`, `errc::wrong_map_type`,
  /// `errc::not_supported` for a ring that overwrites unread records; the kernel's for mapping.
  basic_ring_buffer(Executor const& ex, map const& m) { base::open(kind, ex, m, {}); }
  /// @overload
  basic_ring_buffer(Executor const& ex, map const& m, error_code& ec) {
    diagnostics details;
    base::open(kind, ex, m, {}, ec, details);
  }
  /// @overload
  basic_ring_buffer(Executor const& ex, map const& m, error_code& ec, diagnostics& details) {
    base::open(kind, ex, m, {}, ec, details);
  }
  /// @overload For an execution context's executor.
  template <class ExecutionContext>
    requires detail::is_context<ExecutionContext>
  basic_ring_buffer(ExecutionContext& context, map const& m) : basic_ring_buffer{Executor{context.get_executor()}, m} {}

  /// A stream of no ring yet, for `add`.
  explicit basic_ring_buffer(Executor const& ex) : base{kind, ex} {}
  /// @overload For an execution context's executor.
  template <class ExecutionContext>
    requires detail::is_context<ExecutionContext>
  explicit basic_ring_buffer(ExecutionContext& context) : basic_ring_buffer{Executor{context.get_executor()}} {}

  /// Over memory that a test or another transport provides.
  basic_ring_buffer(Executor const& ex, detail::channel_source source) : base{kind, ex} {
    base::add(std::move(source));
  }
};

/// The usual ring buffer.
using ring_buffer = basic_ring_buffer<>;

}  // namespace tinybpf
