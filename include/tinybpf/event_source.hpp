// Ring buffers and perf buffers as streams of typed events on an executor.
#pragma once

#include <tinybpf/batch.hpp>
#include <tinybpf/detail/stream_verbs.hpp>
#include <tinybpf/detail/tokens.hpp>
#include <tinybpf/error.hpp>
#include <tinybpf/event.hpp>
#include <tinybpf/map.hpp>
#include <tinybpf/perf_options.hpp>
#include <tinybpf/types.hpp>
#include <tinybpf/wakeup.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

namespace tinybpf {

class dynamic_value;
template <class Executor, class... Ts>
class typed_event_source;

/// Reads ring buffers or perf buffers as a stream, whichever a map is. `ring_buffer` and `perf_buffer` are event
/// sources that take one kind alone; all that can be done with them is said here.
///
///     tinybpf::event_source events{ex, obj.map("events")};
///     for (;;) {
///       auto e = co_await events.next<exec_event>();
///     }
///
/// Three shapes of one thing, the cheapest first: `try_next<E>()` never waits; `read_some<E>(budget)` awaits once for
/// many and copies nothing; `next<E>()` is a copy per await. `consume` and `async_run` call a handler instead.
///
/// **What is read.** E is an event type, `bytes` (any record, as a view) or `record<E>` (an event with its position,
/// map and trailing bytes, as a view). A view is valid until the next call on the buffer. Several types give a
/// std::variant: `next<exec_event, exit_event>()`. A record is the first type in the list whose tag it has (see
/// event_traits), or whose type its map was added for; `bytes` takes any. `lost` in the list is delivered, too; not
/// listed, losses are only counted. An event type is held against the objects' BTF when it is first used with the
/// buffer: against the type it was registered for, or the object's type of the same name.
///
/// In a perf buffer a record may be up to 7 bytes longer than its type, by which the kernel pads it. A view is of the
/// buffer's own memory, unless the record is split around its end, or the type's alignment is 8: then it is of a copy.
///
/// **Losing no event.** `async_wait` and a range not yet iterated consume nothing, so they may lose any race:
/// `a.async_wait() || b.async_wait()`. `next` and `async_next` consume when they complete: race them only against a
/// timer or a signal on the same thread or strand, never against each other, because the loser's event would be dropped
/// by the race.
///
/// **Giving way.** `next` gives the loop its turn after `budget()` records in a row, `read_some` after its own budget.
/// `try_next` never does: bound your own loop.
///
/// **Wake-ups.** See wakeup_policy: the default keeps what the traced program pays for its reader as low as it can be
/// while events come fast, and the delay of an event as low as it can be while they come slowly.
///
/// **Bad records.** A record of another size than its type is `errc::record_size`, one of none of the types
/// `errc::unknown_tag`, a corrupt header `errc::record_corrupt`; the diagnostics name map, sizes and position. The
/// next read goes on behind it.
///
/// The buffer owns a duplicate of each map's descriptor and a mapping of its own: neither closing nor destroying the
/// object disturbs it. A forked child may only destroy or close it, which then changes nothing for the parent.
///
/// **Closed** means default-constructed, moved from or after `close()`: reads report `errc::closed`. Moving and
/// destroying are safe while operations are pending; destruction completes them with `operation_aborted`.
///
/// **Thread-safety**: distinct buffers: safe; one buffer: unsafe, use a strand. One reader at a time: a second wait or
/// read meanwhile reports `errc::operation_in_progress`.
///
/// **Per-operation cancellation**: total, partial and terminal, on all asynchronous operations. A cancelled operation
/// consumed nothing.
template <class Executor = boost::asio::any_io_executor>
class basic_event_source {
  using impl_type = detail::stream_impl<Executor>;
  using verbs = detail::stream_verbs<Executor>;
  template <class... Ts>
  using plan = detail::read_plan<detail::type_check::once, Ts...>;
  template <class... Ts>
  using value = typename detail::reading<Ts...>::value;

 public:
  /// The executor that operations complete on unless their handler has one of its own.
  using executor_type = Executor;

  /// The same buffer on another executor.
  template <class Other>
  struct rebind_executor {
    using other = basic_event_source<Other>;
  };

  /// A closed buffer.
  basic_event_source() noexcept = default;

  /// Opens the buffer of a loaded map: a ring buffer, an array of ring buffers, or a perf event array. Errors:
  /// `errc::closed`, `errc::not_loaded`, `errc::wrong_map_type`, `errc::not_supported` for a ring that overwrites
  /// unread records; for perf options that make no sense EINVAL, `errc::not_found` for a CPU that does not exist,
  /// ENODEV for one that is offline; the kernel's, for mapping or for perf events.
  basic_event_source(Executor const& ex, map const& m, perf_options const& options = {}) {
    open(detail::channel_kind::either, ex, m, options);
  }
  /// @overload
  basic_event_source(Executor const& ex, map const& m, error_code& ec)
      : basic_event_source{ex, m, perf_options{}, ec} {}
  /// @overload
  basic_event_source(Executor const& ex, map const& m, error_code& ec, diagnostics& details)
      : basic_event_source{ex, m, perf_options{}, ec, details} {}
  /// @overload
  basic_event_source(Executor const& ex, map const& m, perf_options const& options, error_code& ec) {
    diagnostics details;
    open(detail::channel_kind::either, ex, m, options, ec, details);
  }
  /// @overload
  basic_event_source(Executor const& ex, map const& m, perf_options const& options, error_code& ec,
                     diagnostics& details) {
    open(detail::channel_kind::either, ex, m, options, ec, details);
  }
  /// @overload For an execution context's executor.
  template <class ExecutionContext>
    requires detail::is_context<ExecutionContext>
  basic_event_source(ExecutionContext& context, map const& m, perf_options const& options = {})
      : basic_event_source{Executor{context.get_executor()}, m, options} {}

  /// A stream of no buffer yet, for `add`.
  explicit basic_event_source(Executor const& ex) : basic_event_source{detail::channel_kind::either, ex} {}
  /// @overload For an execution context's executor.
  template <class ExecutionContext>
    requires detail::is_context<ExecutionContext>
  explicit basic_event_source(ExecutionContext& context) : basic_event_source{Executor{context.get_executor()}} {}

  /// Over memory that a test or another transport provides.
  basic_event_source(Executor const& ex, detail::channel_source source) : basic_event_source{ex} {
    add(std::move(source));
  }

  basic_event_source(basic_event_source&&) noexcept = default;
  basic_event_source& operator=(basic_event_source&& other) noexcept {
    if (this == &other) return *this;
    close();
    impl_ = std::move(other.impl_);
    return *this;
  }
  /// Closes.
  ~basic_event_source() { close(); }

  /// The executor. Errors: `errc::closed` on a buffer that was never opened or was moved from.
  [[nodiscard]] executor_type get_executor() const {
    if (!impl_) detail::throw_error(errc::closed, {});
    return impl_->get_executor();
  }

  /// True from construction until `close()`.
  [[nodiscard]] bool is_open() const noexcept { return impl_ && !impl_->closed(); }
  /// @overload
  explicit operator bool() const noexcept { return is_open(); }

  /// The first map's name; empty if there is none. Valid as long as the buffer.
  [[nodiscard]] std::string_view name() const noexcept { return impl_ ? impl_->name() : std::string_view{}; }

  /// Adds a map to the stream: a ring, all rings of an array of ring buffers, or the perf buffers of all CPUs. One wait
  /// serves all, and reads take their records in turns. Naming E says that all of this map's records are E, which then
  /// needs no tag. May be called while a wait is pending. Errors: those of the constructor, and EEXIST for a map that
  /// is in the stream already; then nothing was added.
  template <class E = void>
  void add(map const& m, perf_options const& options = {}) {
    detail::or_throw([&](error_code& ec, diagnostics& details) { add<E>(m, options, ec, details); });
  }
  /// @overload
  template <class E = void>
  void add(map const& m, error_code& ec) {
    diagnostics details;
    add<E>(m, perf_options{}, ec, details);
  }
  /// @overload
  template <class E = void>
  void add(map const& m, error_code& ec, diagnostics& details) {
    add<E>(m, perf_options{}, ec, details);
  }
  /// @overload
  template <class E = void>
  void add(map const& m, perf_options const& options, error_code& ec) {
    diagnostics details;
    add<E>(m, options, ec, details);
  }
  /// @overload
  template <class E = void>
  void add(map const& m, perf_options const& options, error_code& ec, diagnostics& details) {
    ec.clear();
    if (!is_open()) return detail::refuse_closed("add", ec, &details);
    auto sources = detail::open_channels(impl_->kind(), m, options, ec, details);
    if (ec) return;
    std::type_info const* type = nullptr;
    if constexpr (!std::is_void_v<E>) {
      static_assert(event<E>, "an event type is trivially copyable and default-constructible");
      type = &typeid(E);
    }
    impl_->add(std::move(sources), type, ec, details);
  }
  /// @overload Over memory that a test or another transport provides.
  void add(detail::channel_source source, std::type_info const* type = nullptr) {
    detail::or_throw([&](error_code& ec, diagnostics& details) {
      if (!is_open()) return detail::refuse_closed("add", ec, &details);
      std::vector<detail::channel_source> one;
      one.push_back(std::move(source));
      impl_->add(std::move(one), type, ec, details);
    });
  }

  /// Reads several rings, or the buffers of several CPUs, in the order of a field of their records:
  /// `merge_by(&exec_event::time_ns, 1ms)`. The field holds nanoseconds of CLOCK_MONOTONIC (`bpf_ktime_get_ns`). While
  /// some buffer is empty, a record waits up to `max_delay` for older ones, counted from its time (or from now if that
  /// is in the future); what comes later still is given out of order. No effect on a closed buffer.
  template <class E>
  void merge_by(std::uint64_t E::*time, std::chrono::nanoseconds max_delay) {
    static constexpr E sample{};
    auto const offset =
        reinterpret_cast<std::byte const*>(&(sample.*time)) - reinterpret_cast<std::byte const*>(&sample);
    if (impl_) impl_->set_order({static_cast<std::size_t>(offset), max_delay});
  }

  /// Hands back to the kernel what was read, and ends what is pending with `operation_aborted`. Idempotent.
  void close() noexcept {
    if (impl_) impl_->close();
  }

  /// Ends what is pending with `operation_aborted`, and hands back what was read; the buffer stays open.
  void cancel() noexcept {
    if (impl_) impl_->cancel();
  }

  /// Lets a pending operation look again, for events that were submitted with BPF_RB_NO_WAKEUP and so woke nobody.
  void flush() noexcept {
    if (impl_) impl_->look_again();
  }

  /// Hands back to the kernel everything that was read, whatever the policy: to be called before polling
  /// `native_handle()` by other means, which reports nothing new while something is held back.
  void publish() noexcept {
    if (impl_) impl_->publish_and_listen();
  }

  /// A descriptor that becomes readable when there is something to read, owned by the buffer; -1 if closed or without
  /// buffers. Of perf buffers it tells once: each time it is polled, so read all there is then.
  [[nodiscard]] int native_handle() const noexcept { return is_open() ? impl_->native_handle() : -1; }

  /// How many events could not be handed over. Of rings, as counted by the macros of tinybpf.bpf.h, which is read from
  /// shared memory without a system call; nothing if one of them has no counter: unknown is not zero. Of perf buffers,
  /// what the kernel counted, by two system calls a CPU; a kernel before 6.0 tells only of what lies in front of events
  /// that were read. What the kernel does not count, the macros do, and it is in the sum.
  [[nodiscard]] std::optional<std::uint64_t> lost() const noexcept { return impl_ ? impl_->lost() : std::nullopt; }

  /// Names the counter of a map whose own object has none, such as a pinned one: an array as
  /// TINYBPF_LOST_COUNTER declares it. Errors: `errc::closed`, `errc::wrong_map_type`, `errc::not_found` for a map
  /// that is not in the stream.
  void count_lost(std::string_view ring, map const& counter) {
    detail::or_throw([&](error_code& ec, diagnostics& details) { count_lost(ring, counter, ec, details); });
  }
  /// @overload
  void count_lost(std::string_view ring, map const& counter, error_code& ec) {
    diagnostics details;
    count_lost(ring, counter, ec, details);
  }
  /// @overload
  void count_lost(std::string_view ring, map const& counter, error_code& ec, diagnostics& details) {
    ec.clear();
    if (!is_open()) return detail::refuse_closed("count_lost", ec, &details);
    auto losses = detail::open_losses(counter, ec, details);
    if (!ec) impl_->count_lost(ring, std::move(losses), ec, details);
  }

  /// When the kernel may wake this reader; `wakeup_policy::adaptive()` unless set. No effect on a closed buffer.
  void set_wakeup_policy(wakeup_policy policy) {
    if (impl_) impl_->set_policy(policy);
  }
  /// The policy; the default one on a closed buffer.
  [[nodiscard]] tinybpf::wakeup_policy wakeup_policy() const noexcept {
    return impl_ ? impl_->policy() : tinybpf::wakeup_policy{};
  }

  /// How many records `next` reads before it gives the loop its turn; 1024 unless set; 0 on a closed buffer.
  [[nodiscard]] std::size_t budget() const noexcept { return impl_ ? impl_->budget() : 0; }
  /// Sets it; 0 counts as 1. No effect on a closed buffer.
  void set_budget(std::size_t records) noexcept {
    if (impl_) impl_->set_budget(records != 0 ? records : 1);
  }

  /// The next record, or nothing if none is there now. Never waits. Errors: `errc::closed`,
  /// `errc::operation_in_progress`, those of bad records and of types that do not fit the object.
  template <class... Ts>
  [[nodiscard]] std::optional<value<Ts...>> try_next() {
    return verbs::template try_next<plan<Ts...>>(impl_.get());
  }
  /// @overload
  template <class... Ts>
  std::optional<value<Ts...>> try_next(error_code& ec) {
    ec.clear();
    return verbs::template try_next<plan<Ts...>>(impl_.get(), ec, nullptr);
  }
  /// @overload
  template <class... Ts>
  std::optional<value<Ts...>> try_next(error_code& ec, diagnostics& details) {
    ec.clear();
    return verbs::template try_next<plan<Ts...>>(impl_.get(), ec, &details);
  }

  /// Awaits the next record. Consumes it on completion: see above about races. The last template argument may be the
  /// executor type of the awaiting coroutine: `next<exec_event, io_context::executor_type>()`. Errors: as `try_next`,
  /// and `operation_aborted`.
  template <class... Args>
  [[nodiscard]] auto next() {
    return next_as<Args...>(typename detail::split_arguments<detail::reading_list<>, Args...>::types{});
  }

  /// Awaits the next record as the object's type of that name, without a C++ type; dynamic_value.hpp has what it gives.
  /// The record is as long as the type, or longer if that ends in a flexible array. Consumes it on completion, as
  /// `next` does. Errors: as `next`; `errc::no_btf`, `errc::not_found` with near names, and `errc::type_mismatch` for
  /// what no record can be, before anything is read; `errc::record_size` for a record that was skipped.
  template <class Ex = boost::asio::any_io_executor, class Value = dynamic_value>
  [[nodiscard]] boost::asio::awaitable<Value, Ex> next_dynamic(std::string btf_name) {
    return verbs::template next_dynamic<Value, Ex>(impl_.share(), std::move(btf_name));
  }

  /// The same if a record is there now, or nothing. Never waits. Errors: as `next_dynamic`.
  template <class Value = dynamic_value>
  [[nodiscard]] std::optional<Value> try_next_dynamic(std::string_view btf_name) {
    return detail::or_throw(
        [&](error_code& ec, diagnostics& details) { return try_next_dynamic<Value>(btf_name, ec, details); });
  }
  /// @overload
  template <class Value = dynamic_value>
  std::optional<Value> try_next_dynamic(std::string_view btf_name, error_code& ec) {
    diagnostics details;
    return try_next_dynamic<Value>(btf_name, ec, details);
  }
  /// @overload
  template <class Value = dynamic_value>
  std::optional<Value> try_next_dynamic(std::string_view btf_name, error_code& ec, diagnostics& details) {
    ec.clear();
    return verbs::template try_next_dynamic<Value>(impl_.get(), btf_name, ec, details);
  }

  /// Awaits at least one record, and gives a range over at most `budget` of them. Consumes nothing until the range is
  /// iterated. Errors: as `next`; EINVAL for a budget of 0.
  ///
  ///     for (exec_event const& e : co_await events.read_some<exec_event>(512)) ...
  template <class... Args>
  [[nodiscard]] auto read_some(std::size_t budget) {
    return read_some_as<Args...>(typename detail::split_arguments<detail::reading_list<>, Args...>::types{}, budget);
  }

  /// Awaits that a read would find something: a record, or an error to report. Consumes nothing, so it may lose any
  /// race. Errors: `errc::closed`, `errc::operation_in_progress`, `operation_aborted`.
  template <class Ex = boost::asio::any_io_executor>
  [[nodiscard]] boost::asio::awaitable<void, Ex> async_wait() {
    return verbs::template wait<Ex>(impl_.share());
  }
  /// @overload For any completion token. Signature: `void(error_code)`.
  template <class Token>
  auto async_wait(Token&& token) {
    return verbs::async_wait(impl_.share(), nullptr, std::forward<Token>(token));
  }
  /// @overload Fills `details` when it completes with an error.
  template <class Token>
  auto async_wait(diagnostics& details, Token&& token) {
    return verbs::async_wait(impl_.share(), &details, std::forward<Token>(token));
  }

  /// `next` for any completion token. Signature: `void(error_code, E)`, or a std::variant of the types.
  template <class... Ts, class Token>
  auto async_next(Token&& token) {
    return verbs::template async_next<plan<Ts...>>(impl_.share(), nullptr, std::forward<Token>(token));
  }
  /// @overload Fills `details` when it completes with an error.
  template <class... Ts, class Token>
  auto async_next(diagnostics& details, Token&& token) {
    return verbs::template async_next<plan<Ts...>>(impl_.share(), &details, std::forward<Token>(token));
  }

  /// `read_some` for any completion token. Signature: `void(error_code, batch<Ts...>)`.
  template <class... Ts, class Token>
  auto async_read_some(std::size_t budget, Token&& token) {
    return verbs::template async_read_some<plan<Ts...>>(impl_.share(), budget, nullptr, std::forward<Token>(token));
  }
  /// @overload Fills `details` when it completes with an error.
  template <class... Ts, class Token>
  auto async_read_some(std::size_t budget, diagnostics& details, Token&& token) {
    return verbs::template async_read_some<plan<Ts...>>(impl_.share(), budget, &details, std::forward<Token>(token));
  }

  /// Calls `handler(E const&)` for what is there, at most `budget()` records, and returns for how many. Never waits. A
  /// handler that returns false, or throws, has handled its record and stops; the rest stays. Errors: as `try_next`.
  template <class... Ts, class Handler>
  std::size_t consume(Handler&& handler) {
    std::size_t count = 0;
    verbs::template consume<plan<Ts...>>(impl_.share(), impl_ ? impl_->budget() : 1, count, handler);
    return count;
  }

  /// Calls `handler(E const&)` for every record until it returns false, the operation is cancelled, or an error. What
  /// the handler throws reaches whoever awaits; the rest of the records stay. Errors: as `next`. Ex is the executor
  /// type of the awaiting coroutine.
  template <class... Ts, class Handler>
  [[nodiscard]] boost::asio::awaitable<void> async_run(Handler handler) {
    return verbs::template run<plan<Ts...>, boost::asio::any_io_executor>(impl_.share(), std::move(handler));
  }
  /// @overload For any completion token. Signature: `void(std::exception_ptr)`.
  template <class... Ts, class Handler, class Token>
  auto async_run(Handler handler, Token&& token) {
    return boost::asio::co_spawn(get_executor(),
                                 verbs::template run<plan<Ts...>, Executor>(impl_.share(), std::move(handler)),
                                 std::forward<Token>(token));
  }

  /// A view that has checked its types once and for all. It shares this buffer: it is closed when the buffer is, and
  /// moving the buffer does not disturb it. Errors: `errc::closed`, and those of a type that does not fit the object.
  template <class... Ts>
  [[nodiscard]] typed_event_source<Executor, Ts...> typed() {
    return detail::or_throw([&](error_code& ec, diagnostics& details) { return typed<Ts...>(ec, details); });
  }
  /// @overload
  template <class... Ts>
  typed_event_source<Executor, Ts...> typed(error_code& ec) {
    diagnostics details;
    return typed<Ts...>(ec, details);
  }
  /// @overload
  template <class... Ts>
  typed_event_source<Executor, Ts...> typed(error_code& ec, diagnostics& details) {
    ec.clear();
    if (!is_open()) {
      detail::refuse_closed("typed", ec, &details);
      return {};
    }
    if (!impl_->template knows<Ts...>(ec, &details)) return {};
    return typed_event_source<Executor, Ts...>{impl_};
  }

 protected:
  /// Of one kind alone, and of no buffer yet.
  basic_event_source(detail::channel_kind kind, Executor const& ex) : impl_{std::make_shared<impl_type>(ex, kind)} {}

  /// Opens what was closed; it stays closed after an error.
  void open(detail::channel_kind kind, Executor const& ex, map const& m, perf_options const& options, error_code& ec,
            diagnostics& details) {
    impl_ = detail::handle<impl_type>{std::make_shared<impl_type>(ex, kind)};
    add<void>(m, options, ec, details);
    if (ec) impl_ = {};
  }
  void open(detail::channel_kind kind, Executor const& ex, map const& m, perf_options const& options) {
    detail::or_throw([&](error_code& ec, diagnostics& details) { open(kind, ex, m, options, ec, details); });
  }

 private:
  template <class... Args, class... Ts>
  auto next_as(detail::reading_list<Ts...>) {
    using executor = typename detail::split_arguments<detail::reading_list<>, Args...>::executor;
    return verbs::template next<plan<Ts...>, executor>(detail::pin<impl_type>{impl_.get()});
  }
  template <class... Args, class... Ts>
  auto read_some_as(detail::reading_list<Ts...>, std::size_t budget) {
    using executor = typename detail::split_arguments<detail::reading_list<>, Args...>::executor;
    return verbs::template read_some<plan<Ts...>, executor>(impl_.share(), budget);
  }

  detail::handle<impl_type> impl_;
};

/// The usual event source.
using event_source = basic_event_source<>;

/// An event source that is read as certain types, checked when the view was made: its verbs do nothing per event but
/// the size and tag test. Everything said of `basic_event_source` holds, with the types left out. Copyable; copies
/// share the buffer, also in what is said of threads, and keep its memory mapped.
template <class Executor, class... Ts>
class typed_event_source {
  using impl_type = detail::stream_impl<Executor>;
  using verbs = detail::stream_verbs<Executor>;
  using plan = detail::read_plan<detail::type_check::skip, Ts...>;

 public:
  using executor_type = Executor;
  /// The one type, or a std::variant of several.
  using value_type = typename plan::value;

  /// A closed view.
  typed_event_source() noexcept = default;

  /// True until the buffer is closed.
  [[nodiscard]] bool is_open() const noexcept { return impl_ && !impl_->closed(); }

  /// See basic_event_source::try_next.
  [[nodiscard]] std::optional<value_type> try_next() { return verbs::template try_next<plan>(impl_.get()); }
  /// @overload
  std::optional<value_type> try_next(error_code& ec) {
    ec.clear();
    return verbs::template try_next<plan>(impl_.get(), ec, nullptr);
  }
  /// @overload
  std::optional<value_type> try_next(error_code& ec, diagnostics& details) {
    ec.clear();
    return verbs::template try_next<plan>(impl_.get(), ec, &details);
  }

  /// See basic_event_source::next.
  template <class Ex = boost::asio::any_io_executor>
  [[nodiscard]] boost::asio::awaitable<value_type, Ex> next() {
    return verbs::template next<plan, Ex>(detail::pin<impl_type>{impl_.get()});
  }

  /// See basic_event_source::read_some.
  template <class Ex = boost::asio::any_io_executor>
  [[nodiscard]] boost::asio::awaitable<batch<Ts...>, Ex> read_some(std::size_t budget) {
    return verbs::template read_some<plan, Ex>(impl_.share(), budget);
  }

  /// See basic_event_source::async_next.
  template <class Token>
  auto async_next(Token&& token) {
    return verbs::template async_next<plan>(impl_.share(), nullptr, std::forward<Token>(token));
  }
  /// @overload Fills `details` when it completes with an error.
  template <class Token>
  auto async_next(diagnostics& details, Token&& token) {
    return verbs::template async_next<plan>(impl_.share(), &details, std::forward<Token>(token));
  }

  /// See basic_event_source::async_read_some.
  template <class Token>
  auto async_read_some(std::size_t budget, Token&& token) {
    return verbs::template async_read_some<plan>(impl_.share(), budget, nullptr, std::forward<Token>(token));
  }
  /// @overload Fills `details` when it completes with an error.
  template <class Token>
  auto async_read_some(std::size_t budget, diagnostics& details, Token&& token) {
    return verbs::template async_read_some<plan>(impl_.share(), budget, &details, std::forward<Token>(token));
  }

 private:
  friend class basic_event_source<Executor>;
  explicit typed_event_source(detail::handle<impl_type> impl) noexcept : impl_{std::move(impl)} {}

  detail::handle<impl_type> impl_;
};

/// Which kind of buffer a map is that a BPF program declares with TINYBPF_EVENTS, to be said between open and load:
/// `map_type::ringbuf`, `map_type::perf_event_array`, or neither, for what suits the kernel best: rings where there are
/// any (5.8). Gives the type that was chosen; without a call it is a ring buffer. Not thread-safe.
///
///     auto obj = tinybpf::object::open("exec_snoop.bpf.o");
///     tinybpf::set_events_type(obj.map("events"));
///     obj.load();
///
/// Errors: `errc::closed`, `errc::already_loaded`, `errc::not_supported` for a map that was declared otherwise, EINVAL
/// for any other type.
map_type set_events_type(map const& m, map_type type = map_type::unspec);
/// @overload
map_type set_events_type(map const& m, map_type type, error_code& ec);
/// @overload
map_type set_events_type(map const& m, map_type type, error_code& ec, diagnostics& details);

}  // namespace tinybpf
