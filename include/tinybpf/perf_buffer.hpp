// Perf buffers as streams of typed events on an executor.
#pragma once

#include <tinybpf/event_source.hpp>
#include <tinybpf/perf_options.hpp>

namespace tinybpf {

/// An event source that takes perf buffers: maps of type perf_event_array, into which BPF programs write with
/// `bpf_perf_event_output`, or the macro `tinybpf_emit` of tinybpf.bpf.h.
///
///     tinybpf::perf_buffer events{ex, obj.map("events")};
///     for (;;) {
///       auto e = co_await events.next<tinybpf::record<exec_event>, tinybpf::lost>();
///     }
///
/// Each CPU has a buffer of its own. The order of one CPU's events is kept; those of several CPUs come as they are
/// found, unless `merge_by` says otherwise. A `record` knows its CPU. `lost` in the list tells where which CPU's buffer
/// had no room.
///
/// **Wake-ups.** The wake-up rule of a perf event is fixed when it is opened, so each CPU has two that share a buffer:
/// one that wakes the reader as the options say, and one that does so when the buffer is half full. While the policy
/// wants no wake-ups, BPF programs are given the second. Before a wait they are given the first, and what they had
/// begun to write with the second is looked for once they have ended, so no event is left lying.
///
/// One descriptor stands for all CPUs: a wake-up through it costs about 2 us on any number of them, where one
/// descriptor each cost 1.9 us with 2 CPUs, and 20 us with 64, because all are armed for each wait.
///
/// **One reader a map.** A second buffer of the same map takes its events over: the first keeps what it has, and gets
/// no more. Closing takes a buffer's own events out of the map; what a BPF program writes then fails with ENOENT.
/// Another process that reads the same map is not noticed.
///
/// Everything else is said of `basic_event_source`.
template <class Executor = boost::asio::any_io_executor>
class basic_perf_buffer : public basic_event_source<Executor> {
  using base = basic_event_source<Executor>;
  static constexpr auto kind = detail::channel_kind::perf;

 public:
  /// The same buffer on another executor.
  template <class Other>
  struct rebind_executor {
    using other = basic_perf_buffer<Other>;
  };

  /// A closed buffer.
  basic_perf_buffer() noexcept = default;

  /// Opens the buffers of a loaded map. Errors: `errc::closed`, `errc::not_loaded`, `errc::wrong_map_type`, EINVAL for
  /// options that make no sense, `errc::not_found` for a CPU that does not exist, ENODEV for one that is offline; the
  /// kernel's for perf events, which need CAP_PERFMON, and for large buffers CAP_IPC_LOCK.
  basic_perf_buffer(Executor const& ex, map const& m, perf_options const& options = {}) {
    base::open(kind, ex, m, options);
  }
  /// @overload
  basic_perf_buffer(Executor const& ex, map const& m, error_code& ec) : basic_perf_buffer{ex, m, perf_options{}, ec} {}
  /// @overload
  basic_perf_buffer(Executor const& ex, map const& m, error_code& ec, diagnostics& details)
      : basic_perf_buffer{ex, m, perf_options{}, ec, details} {}
  /// @overload
  basic_perf_buffer(Executor const& ex, map const& m, perf_options const& options, error_code& ec) {
    diagnostics details;
    base::open(kind, ex, m, options, ec, details);
  }
  /// @overload
  basic_perf_buffer(Executor const& ex, map const& m, perf_options const& options, error_code& ec,
                    diagnostics& details) {
    base::open(kind, ex, m, options, ec, details);
  }
  /// @overload For an execution context's executor.
  template <class ExecutionContext>
    requires detail::is_context<ExecutionContext>
  basic_perf_buffer(ExecutionContext& context, map const& m, perf_options const& options = {})
      : basic_perf_buffer{Executor{context.get_executor()}, m, options} {}

  /// A stream of no buffer yet, for `add`.
  explicit basic_perf_buffer(Executor const& ex) : base{kind, ex} {}
  /// @overload For an execution context's executor.
  template <class ExecutionContext>
    requires detail::is_context<ExecutionContext>
  explicit basic_perf_buffer(ExecutionContext& context) : basic_perf_buffer{Executor{context.get_executor()}} {}

  /// Over memory that a test or another transport provides.
  basic_perf_buffer(Executor const& ex, detail::channel_source source) : base{kind, ex} {
    base::add(std::move(source));
  }
};

/// The usual perf buffer.
using perf_buffer = basic_perf_buffer<>;

}  // namespace tinybpf
