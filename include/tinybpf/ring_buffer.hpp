// BPF ring buffers as streams of typed events on an executor.
#pragma once

#include <tinybpf/batch.hpp>
#include <tinybpf/detail/ring_verbs.hpp>
#include <tinybpf/detail/tokens.hpp>
#include <tinybpf/error.hpp>
#include <tinybpf/event.hpp>
#include <tinybpf/map.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

namespace tinybpf {

template <class E, class Executor = boost::asio::any_io_executor>
class typed_ring_buffer;

/// Reads a map of type ringbuf.
///
///     tinybpf::ring_buffer events{ex, obj.map("events")};
///     for (;;) {
///       auto e = co_await events.next<exec_event>();
///     }
///
/// Three shapes of one thing, the cheapest first: `try_next<E>()` never waits; `read_some<E>(budget)` awaits once for
/// many and copies nothing; `next<E>()` is a copy per await. E is an event type, `bytes` (any record, as a view) or
/// `record<E>` (an event with its position, map and trailing bytes, as a view). An event type is held against the
/// object's BTF when it is first used with the buffer: against the type it was registered for, or the object's type of
/// the same name.
///
/// **Losing no event.** `async_wait` and a range not yet iterated consume nothing, so they may lose any race:
/// `a.async_wait() || b.async_wait()`. `next` and `async_next` consume when they complete: race them only against a
/// timer or a signal on the same thread or strand, never against each other, because the loser's event would be dropped
/// by the race.
///
/// **Giving way.** `next` gives the loop its turn after `budget()` records in a row, `read_some` after its own budget.
/// `try_next` never does: bound your own loop.
///
/// **Bad records.** A record of another size than E is `errc::record_size`, a corrupt header `errc::record_corrupt`;
/// the diagnostics name map, sizes and position. The next read goes on behind it.
///
/// The buffer owns a duplicate of the map's descriptor and a mapping of its own: neither closing nor destroying the
/// object disturbs it.
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
class basic_ring_buffer {
  using impl_type = detail::ring_impl<Executor>;
  using verbs = detail::ring_verbs<Executor>;

 public:
  /// The executor that operations complete on unless their handler has one of its own.
  using executor_type = Executor;

  /// The same buffer on another executor.
  template <class Other>
  struct rebind_executor {
    using other = basic_ring_buffer<Other>;
  };

  /// A closed buffer.
  basic_ring_buffer() noexcept = default;

  /// Opens the buffer of a loaded map. Errors: `errc::closed`, `errc::not_loaded`, `errc::wrong_map_type`,
  /// `errc::not_supported` for a ring that overwrites unread records; the kernel's for mapping.
  basic_ring_buffer(Executor const& ex, map const& m) {
    detail::or_throw([&](error_code& ec, diagnostics& details) { open(ex, m, ec, details); });
  }
  /// @overload
  basic_ring_buffer(Executor const& ex, map const& m, error_code& ec) {
    diagnostics details;
    open(ex, m, ec, details);
  }
  /// @overload
  basic_ring_buffer(Executor const& ex, map const& m, error_code& ec, diagnostics& details) {
    open(ex, m, ec, details);
  }
  /// @overload For an execution context's executor.
  template <class ExecutionContext>
    requires detail::is_context<ExecutionContext>
  basic_ring_buffer(ExecutionContext& context, map const& m) : basic_ring_buffer{Executor{context.get_executor()}, m} {}

  /// Over memory that a test or another transport provides.
  basic_ring_buffer(Executor const& ex, detail::ring_source source) { adopt(ex, std::move(source)); }

  basic_ring_buffer(basic_ring_buffer&&) noexcept = default;
  basic_ring_buffer& operator=(basic_ring_buffer&& other) noexcept {
    if (this == &other) return *this;
    close();
    impl_ = std::move(other.impl_);
    return *this;
  }
  /// Closes.
  ~basic_ring_buffer() { close(); }

  /// The executor. Errors: `errc::closed` on a buffer that was never opened or was moved from.
  [[nodiscard]] executor_type get_executor() const {
    if (!impl_) detail::throw_error(errc::closed, {});
    return impl_->descriptor.get_executor();
  }

  /// True from construction over a map until `close()`.
  [[nodiscard]] bool is_open() const noexcept { return impl_ && !impl_->closed(); }
  /// @overload
  explicit operator bool() const noexcept { return is_open(); }

  /// The map's name; empty if never opened. Valid as long as the buffer.
  [[nodiscard]] std::string_view name() const noexcept { return impl_ ? impl_->name() : std::string_view{}; }

  /// Hands back to the kernel what was read, and ends what is pending with `operation_aborted`. Idempotent.
  void close() noexcept {
    if (impl_) impl_->close();
  }

  /// Ends what is pending with `operation_aborted`; the buffer stays open.
  void cancel() noexcept {
    if (impl_) impl_->cancel();
  }

  /// How many events the BPF side could not hand over, as counted by the macros of tinybpf.bpf.h; nothing if the object
  /// does not count them: unknown is not zero. Reads shared memory, no system call.
  [[nodiscard]] std::optional<std::uint64_t> lost() const noexcept { return impl_ ? impl_->lost() : std::nullopt; }

  /// How many records `next` reads before it gives the loop its turn; 256 unless set; 0 on a closed buffer.
  [[nodiscard]] std::size_t budget() const noexcept { return impl_ ? impl_->budget : 0; }
  /// Sets it; 0 counts as 1. No effect on a closed buffer.
  void set_budget(std::size_t records) noexcept {
    if (impl_) impl_->budget = records != 0 ? records : 1;
  }

  /// The next record, or nothing if none is there now. Never waits. Errors: `errc::closed`,
  /// `errc::operation_in_progress`, those of bad records and of types that do not fit the object.
  template <readable E>
  [[nodiscard]] std::optional<E> try_next() {
    return verbs::template try_next<E, detail::type_check::once>(impl_.get());
  }
  /// @overload
  template <readable E>
  std::optional<E> try_next(error_code& ec) {
    ec.clear();
    return verbs::template try_next<E, detail::type_check::once>(impl_.get(), ec, nullptr);
  }
  /// @overload
  template <readable E>
  std::optional<E> try_next(error_code& ec, diagnostics& details) {
    ec.clear();
    return verbs::template try_next<E, detail::type_check::once>(impl_.get(), ec, &details);
  }

  /// Awaits the next record. Consumes it on completion: see above about races. Ex is the executor type of the awaiting
  /// coroutine. Errors: as `try_next`, and `operation_aborted`.
  template <readable E, class Ex = boost::asio::any_io_executor>
  [[nodiscard]] boost::asio::awaitable<E, Ex> next() {
    return verbs::template next<E, detail::type_check::once, Ex>(impl_);
  }

  /// Awaits at least one record, and gives a range over at most `budget` of them. Consumes nothing until the range is
  /// iterated. Errors: as `next`; EINVAL for a budget of 0.
  ///
  ///     for (exec_event const& e : co_await events.read_some<exec_event>(512)) ...
  template <readable E, class Ex = boost::asio::any_io_executor>
  [[nodiscard]] boost::asio::awaitable<batch<E>, Ex> read_some(std::size_t budget) {
    return verbs::template read_some<E, detail::type_check::once, Ex>(impl_, budget);
  }

  /// Awaits that a read would find something: a record, or an error to report. Consumes nothing, so it may lose any
  /// race. Errors: `errc::closed`, `errc::operation_in_progress`, `operation_aborted`.
  template <class Ex = boost::asio::any_io_executor>
  [[nodiscard]] boost::asio::awaitable<void, Ex> async_wait() {
    return verbs::template wait<Ex>(impl_);
  }
  /// @overload For any completion token. Signature: `void(error_code)`.
  template <class Token>
  auto async_wait(Token&& token) {
    return verbs::async_wait(impl_, nullptr, std::forward<Token>(token));
  }
  /// @overload Fills `details` when it completes with an error.
  template <class Token>
  auto async_wait(diagnostics& details, Token&& token) {
    return verbs::async_wait(impl_, &details, std::forward<Token>(token));
  }

  /// `next` for any completion token. Signature: `void(error_code, E)`.
  template <readable E, class Token>
  auto async_next(Token&& token) {
    return verbs::template async_next<E, detail::type_check::once>(impl_, nullptr, std::forward<Token>(token));
  }
  /// @overload Fills `details` when it completes with an error.
  template <readable E, class Token>
  auto async_next(diagnostics& details, Token&& token) {
    return verbs::template async_next<E, detail::type_check::once>(impl_, &details, std::forward<Token>(token));
  }

  /// `read_some` for any completion token. Signature: `void(error_code, batch<E>)`.
  template <readable E, class Token>
  auto async_read_some(std::size_t budget, Token&& token) {
    return verbs::template async_read_some<E, detail::type_check::once>(impl_, budget, nullptr,
                                                                        std::forward<Token>(token));
  }
  /// @overload Fills `details` when it completes with an error.
  template <readable E, class Token>
  auto async_read_some(std::size_t budget, diagnostics& details, Token&& token) {
    return verbs::template async_read_some<E, detail::type_check::once>(impl_, budget, &details,
                                                                        std::forward<Token>(token));
  }

  /// A view that has checked E once and for all. It shares this buffer: it is closed when the buffer is, and moving the
  /// buffer does not disturb it. Errors: `errc::closed`, and those of a type that does not fit the object.
  template <readable E>
  [[nodiscard]] typed_ring_buffer<E, Executor> typed() {
    return detail::or_throw([&](error_code& ec, diagnostics& details) { return typed<E>(ec, details); });
  }
  /// @overload
  template <readable E>
  typed_ring_buffer<E, Executor> typed(error_code& ec) {
    diagnostics details;
    return typed<E>(ec, details);
  }
  /// @overload
  template <readable E>
  typed_ring_buffer<E, Executor> typed(error_code& ec, diagnostics& details) {
    ec.clear();
    if (!is_open()) {
      detail::refuse_closed("typed", ec, &details);
      return {};
    }
    if (!impl_->template knows<typename detail::reading<E>::shape_type>(ec, &details)) return {};
    return typed_ring_buffer<E, Executor>{impl_};
  }

 private:
  void open(Executor const& ex, map const& m, error_code& ec, diagnostics& details) {
    auto source = detail::open_ring(m, ec, details);
    if (!ec) adopt(ex, std::move(source));
  }

  void adopt(Executor const& ex, detail::ring_source&& source) {
    auto descriptor = std::move(source.descriptor);
    auto impl = std::make_shared<impl_type>(ex, std::move(source));
    impl->descriptor.assign(descriptor.get());
    static_cast<void>(descriptor.release());
    impl_ = std::move(impl);
  }

  std::shared_ptr<impl_type> impl_;
};

/// The usual ring buffer.
using ring_buffer = basic_ring_buffer<>;

/// A ring buffer that is read as one type, checked when the view was made: its verbs do nothing per event but the size
/// test. Everything said of `basic_ring_buffer` holds, with E left out. Copyable; copies share the buffer, and keep its
/// memory mapped.
template <class E, class Executor>
class typed_ring_buffer {
  using impl_type = detail::ring_impl<Executor>;
  using verbs = detail::ring_verbs<Executor>;
  static constexpr auto skip = detail::type_check::skip;

 public:
  using executor_type = Executor;
  using value_type = E;

  /// A closed view.
  typed_ring_buffer() noexcept = default;

  /// True until the buffer is closed.
  [[nodiscard]] bool is_open() const noexcept { return impl_ && !impl_->closed(); }

  /// See basic_ring_buffer::try_next.
  [[nodiscard]] std::optional<E> try_next() { return verbs::template try_next<E, skip>(impl_.get()); }
  /// @overload
  std::optional<E> try_next(error_code& ec) {
    ec.clear();
    return verbs::template try_next<E, skip>(impl_.get(), ec, nullptr);
  }
  /// @overload
  std::optional<E> try_next(error_code& ec, diagnostics& details) {
    ec.clear();
    return verbs::template try_next<E, skip>(impl_.get(), ec, &details);
  }

  /// See basic_ring_buffer::next.
  template <class Ex = boost::asio::any_io_executor>
  [[nodiscard]] boost::asio::awaitable<E, Ex> next() {
    return verbs::template next<E, skip, Ex>(impl_);
  }

  /// See basic_ring_buffer::read_some.
  template <class Ex = boost::asio::any_io_executor>
  [[nodiscard]] boost::asio::awaitable<batch<E>, Ex> read_some(std::size_t budget) {
    return verbs::template read_some<E, skip, Ex>(impl_, budget);
  }

  /// See basic_ring_buffer::async_next.
  template <class Token>
  auto async_next(Token&& token) {
    return verbs::template async_next<E, skip>(impl_, nullptr, std::forward<Token>(token));
  }
  /// @overload Fills `details` when it completes with an error.
  template <class Token>
  auto async_next(diagnostics& details, Token&& token) {
    return verbs::template async_next<E, skip>(impl_, &details, std::forward<Token>(token));
  }

  /// See basic_ring_buffer::async_read_some.
  template <class Token>
  auto async_read_some(std::size_t budget, Token&& token) {
    return verbs::template async_read_some<E, skip>(impl_, budget, nullptr, std::forward<Token>(token));
  }
  /// @overload Fills `details` when it completes with an error.
  template <class Token>
  auto async_read_some(std::size_t budget, diagnostics& details, Token&& token) {
    return verbs::template async_read_some<E, skip>(impl_, budget, &details, std::forward<Token>(token));
  }

 private:
  friend class basic_ring_buffer<Executor>;
  explicit typed_ring_buffer(std::shared_ptr<impl_type> impl) noexcept : impl_{std::move(impl)} {}

  std::shared_ptr<impl_type> impl_;
};

}  // namespace tinybpf
