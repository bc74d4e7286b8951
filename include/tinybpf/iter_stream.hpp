// Iterators as streams of typed records, or of text, on an executor.
#pragma once

#include <tinybpf/detail/blocking_operation.hpp>
#include <tinybpf/detail/iter_reading.hpp>
#include <tinybpf/detail/operation.hpp>
#include <tinybpf/detail/tokens.hpp>
#include <tinybpf/error.hpp>
#include <tinybpf/iter_options.hpp>
#include <tinybpf/iter_reader.hpp>
#include <tinybpf/link.hpp>
#include <tinybpf/program.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/error.hpp>

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace tinybpf {

namespace detail {

/// What a stream's operations share with it.
template <class Executor>
struct iter_stream_state {
  iter_stream_state(Executor const& ex, std::shared_ptr<iter_reading> r) : executor{ex}, reading{std::move(r)} {}

  [[nodiscard]] Executor const& get_executor() const noexcept { return executor; }

  Executor executor;
  std::shared_ptr<iter_reading> reading;  // never null
  std::vector<std::byte> page;            // what read_some gave
  // Seen by the handler's thread, too, which need not be that of the stream's owner.
  std::atomic<bool> busy = false;
  std::atomic<bool> closed = false;
};

/// Each thing that can be taken: its type, what has to be there, and the taking.
template <class T>
struct take_one {
  using result = std::optional<T>;
  static constexpr auto shape = shape_of<T>();
  [[nodiscard]] static bool valid(iter_reading& r, error_code& ec, diagnostics& details) {
    return r.check(shape, ec, details);
  }
  [[nodiscard]] static iter_wanted wanted() noexcept { return {iter_wanted::what::record, shape.size}; }
  static iter_status take(iter_reading& r, std::vector<std::byte>&, result& to, error_code& ec, diagnostics& details) {
    T value;
    auto const status = r.take_record(shape, &value, ec, details);
    if (status == iter_status::taken) to = value;
    return status;
  }
};

template <class T>
struct take_some {
  using result = std::span<T const>;
  static constexpr auto shape = shape_of<T>();
  std::size_t most;

  [[nodiscard]] bool valid(iter_reading& r, error_code& ec, diagnostics& details) const {
    if (most != 0) return r.check(shape, ec, details);
    refuse_no_records(ec, details);
    return false;
  }
  [[nodiscard]] static iter_wanted wanted() noexcept { return {iter_wanted::what::record, shape.size}; }
  iter_status take(iter_reading& r, std::vector<std::byte>& page, result& to, error_code& ec,
                   diagnostics& details) const {
    std::size_t count = 0;
    auto const status = r.take_records(shape, most, page, count, ec, details);
    if (status == iter_status::taken) to = {reinterpret_cast<T const*>(page.data()), count};
    return status;
  }
};

struct take_line {
  using result = std::optional<std::string>;
  [[nodiscard]] static bool valid(iter_reading&, error_code&, diagnostics&) noexcept { return true; }
  [[nodiscard]] static iter_wanted wanted() noexcept { return {iter_wanted::what::line}; }
  static iter_status take(iter_reading& r, std::vector<std::byte>&, result& to, error_code& ec, diagnostics& details) {
    std::string line;
    auto const status = r.take_line(line, ec, details);
    if (status == iter_status::taken) to = std::move(line);
    return status;
  }
};

struct take_text {
  using result = std::string;
  [[nodiscard]] static bool valid(iter_reading&, error_code&, diagnostics&) noexcept { return true; }
  [[nodiscard]] static iter_wanted wanted() noexcept { return {iter_wanted::what::everything}; }
  static iter_status take(iter_reading& r, std::vector<std::byte>&, result& to, error_code& ec, diagnostics& details) {
    return r.take_text(to, ec, details);
  }
};

/// Takes something as soon as the worker has read what it takes.
template <class Executor, class Take>
class iter_operation {
  using state = iter_stream_state<Executor>;
  using result = typename Take::result;

 public:
  iter_operation(std::shared_ptr<state> s, Take take, diagnostics* details)
      : state_{std::move(s)}, take_{take}, details_{details} {
    if (state_ && !state_->busy.exchange(true)) turn_.reset(state_.get());
  }

  template <class Self>
  void operator()(Self& self) {
    if (!begun_) {
      begun_ = true;
      self.reset_cancellation_state(asio::enable_total_cancellation());
      return post_operation(state_, self);
    }
    diagnostics said;
    error_code ec;
    if (!state_) {
      refuse_iter(errc::closed, "a read of no iterator", ec, said);
    } else if (!turn_) {
      refuse_iter(errc::operation_in_progress, "this stream of an iterator is being read already", ec, said);
    } else if (state_->closed || self.cancelled() != asio::cancellation_type::none) {
      ec = asio::error::operation_aborted;
    } else if (take_.valid(*state_->reading, ec, said)) {
      return go_on(self);
    }
    finish(self, ec, std::move(said), {});
  }

  // A page was read, or not.
  template <class Self>
  void operator()(Self& self, error_code ec) {
    if (!ec && (state_->closed || self.cancelled() != asio::cancellation_type::none))
      ec = asio::error::operation_aborted;
    if (!ec) return go_on(self);
    diagnostics said;
    if (ec != asio::error::operation_aborted) explain_unread(*state_->reading, said);
    finish(self, ec, std::move(said), {});
  }

 private:
  struct end_turn {
    void operator()(state* s) const noexcept { s->busy = false; }
  };

  template <class Self>
  void go_on(Self& self) {
    diagnostics said;
    error_code ec;
    result value{};
    auto status = iter_status::failed;
    try {
      status = take_.take(*state_->reading, state_->page, value, ec, said);
    } catch (std::bad_alloc const&) {  // nothing was taken
      ec = asio::error::no_memory;
    }
    if (status != iter_status::unread) return finish(self, ec, std::move(said), std::move(value));
    auto const ex = state_->executor;
    std::function<void(worker&, std::function<void()>)> read = [reading = state_->reading, wanted = take_.wanted()](
                                                                   worker& where, std::function<void()> done) {
      reading->read_page_on(where, wanted, std::move(done));
    };
    await_worker(ex, std::move(read), std::move(self));
  }

  template <class Self>
  void finish(Self& self, error_code ec, diagnostics&& said, result&& value) {
    if (details_ != nullptr && ec != asio::error::operation_aborted) *details_ = std::move(said);
    turn_.reset();
    state_.reset();
    self.complete(ec, std::move(value));
  }

  std::shared_ptr<state> state_;
  std::unique_ptr<state, end_turn> turn_;  // null if another operation has it; goes before state_
  Take take_;
  diagnostics* details_;
  bool begun_ = false;
};

}  // namespace detail

/// Reads what an iterator writes: records of one type behind each other, or text. Each page is read by a worker thread
/// of the executor's context, because the descriptors of iterators cannot be polled and reading one runs the walk.
///
///     tinybpf::iter_stream tasks{co_await boost::asio::this_coro::executor, obj.program("dump_task")};
///     while (auto t = co_await tasks.next<task_record>()) ...
///
/// A stream is one reading: it begins when it is made, sees what is there while it goes on, and ends. `restart()`
/// begins another. It goes on without the link and the object that it came from.
///
/// **Records.** The kernel keeps no borders between records: a record that a page cuts is put together, and the type is
/// the caller's word. It is held against the object's BTF when it is first used with the stream, against the type it
/// was registered for, or the object's type of the same name; of a link that was not attached by this library nothing
/// is known, and it is not checked. What is left at the end and is no whole record is `errc::record_size`, with
/// program, sizes and position; after it comes the end. Types are of one exact length.
///
/// **Giving way.** `next` takes what was read already without giving the loop its turn, and waits for each page, of
/// 32768 bytes at most. Every other call completes on a later turn.
///
/// **Closed** means default-constructed, moved from or after `close()`: reads report `errc::closed`. Moving and
/// destroying are safe while a read is pending; closing or destroying ends it with `operation_aborted`, once the page
/// that is being read is there.
///
/// **Thread-safety**: distinct streams: safe; one stream: unsafe, use a strand. One read at a time: a second meanwhile
/// reports `errc::operation_in_progress`.
///
/// **Per-operation cancellation**: total, partial and terminal, on all asynchronous operations, at once. A cancelled
/// operation took nothing: what was being read for it stays for the next call, which waits for the same page. So a
/// stream keeps one thread of the worker busy at most, however often its reads are given up; a reading that
/// `restart()`, closing or destroying gave up keeps its own until the page is there.
template <class Executor = boost::asio::any_io_executor>
class basic_iter_stream {
  using state = detail::iter_stream_state<Executor>;

 public:
  /// The executor that operations complete on unless their handler has one of its own.
  using executor_type = Executor;

  /// The same stream on another executor.
  template <class Other>
  struct rebind_executor {
    using other = basic_iter_stream<Other>;
  };

  /// A closed stream.
  basic_iter_stream() noexcept = default;

  /// Begins to read the iterator that a link holds attached. Takes microseconds: nothing is walked yet. Errors:
  /// `errc::closed` for an empty link, `errc::not_supported` for one of no iterator, and the kernel's.
  basic_iter_stream(Executor const& ex, link const& l) {
    detail::or_throw([&](error_code& ec, diagnostics& details) { open(ex, detail::open_iter(l, ec, details)); });
  }
  /// @overload
  basic_iter_stream(Executor const& ex, link const& l, error_code& ec) {
    diagnostics details;
    open(ex, detail::open_iter(l, ec, details));
  }
  /// @overload
  basic_iter_stream(Executor const& ex, link const& l, error_code& ec, diagnostics& details) {
    open(ex, detail::open_iter(l, ec, details));
  }
  /// @overload For an execution context's executor.
  template <class ExecutionContext>
    requires detail::is_context<ExecutionContext>
  basic_iter_stream(ExecutionContext& context, link const& l)
      : basic_iter_stream{Executor{context.get_executor()}, l} {}

  /// Attaches an iterator, and begins to read it. Errors: as above, and those of `program::attach_iter`.
  basic_iter_stream(Executor const& ex, program const& p, iter_options const& options = {}) {
    detail::or_throw(
        [&](error_code& ec, diagnostics& details) { open(ex, detail::open_iter(p, options, ec, details)); });
  }
  /// @overload
  basic_iter_stream(Executor const& ex, program const& p, iter_options const& options, error_code& ec) {
    diagnostics details;
    open(ex, detail::open_iter(p, options, ec, details));
  }
  /// @overload
  basic_iter_stream(Executor const& ex, program const& p, iter_options const& options, error_code& ec,
                    diagnostics& details) {
    open(ex, detail::open_iter(p, options, ec, details));
  }
  /// @overload For an execution context's executor.
  template <class ExecutionContext>
    requires detail::is_context<ExecutionContext>
  basic_iter_stream(ExecutionContext& context, program const& p, iter_options const& options = {})
      : basic_iter_stream{Executor{context.get_executor()}, p, options} {}

  /// Over a file that a test provides.
  basic_iter_stream(Executor const& ex, std::shared_ptr<detail::iter_reading> reading) { open(ex, std::move(reading)); }

  basic_iter_stream(basic_iter_stream&&) noexcept = default;
  basic_iter_stream& operator=(basic_iter_stream&& other) noexcept {
    if (this == &other) return *this;
    close();
    state_ = std::move(other.state_);
    return *this;
  }
  /// Closes.
  ~basic_iter_stream() { close(); }

  /// The executor. Errors: `errc::closed` on a stream that is closed.
  [[nodiscard]] executor_type get_executor() const {
    if (!state_) detail::throw_error(errc::closed, {});
    return state_->executor;
  }

  /// True until `close()`.
  [[nodiscard]] bool is_open() const noexcept { return state_ != nullptr; }
  /// @overload
  explicit operator bool() const noexcept { return is_open(); }

  /// The program's name, or what kind of iterator it is where that is not known. Valid until `restart` or `close`.
  [[nodiscard]] std::string_view name() const noexcept {
    return state_ ? std::string_view{state_->reading->name()} : std::string_view{};
  }

  /// Gives up what was not read, and ends what is pending. Never blocks. Idempotent.
  void close() noexcept {
    if (!state_) return;
    state_->closed = true;
    state_.reset();
  }

  /// Begins anew: the next call reads what there is then, from the start. Takes microseconds. Errors: `errc::closed`,
  /// `errc::operation_in_progress` while a read is pending, or the kernel's; then the reading before goes on.
  void restart() {
    detail::or_throw([&](error_code& ec, diagnostics& details) { restart(ec, details); });
  }
  /// @overload
  void restart(error_code& ec) {
    diagnostics details;
    restart(ec, details);
  }
  /// @overload
  void restart(error_code& ec, diagnostics& details) {
    if (!state_) return detail::refuse_iter(errc::closed, "restart of no iterator", ec, details);
    if (state_->busy)
      return detail::refuse_iter(errc::operation_in_progress, "restart of an iterator that is being read", ec, details);
    if (auto again = state_->reading->again(ec, details)) state_->reading = std::move(again);
  }

  /// The next record; nothing at the end. Signature: `void(error_code, std::optional<T>)`. Errors: `errc::closed`,
  /// `errc::operation_in_progress`; `errc::type_mismatch` and others of `object::register_type`; `errc::record_size` at
  /// the end; the kernel's, such as E2BIG for an element of which the program writes more than 32768 bytes, after the
  /// records in front of it.
  template <detail::iter_record T, class Token>
  auto async_next(Token&& token) {
    return start(detail::take_one<T>{}, nullptr, std::forward<Token>(token));
  }
  /// @overload
  template <detail::iter_record T, class Token>
  auto async_next(diagnostics& details, Token&& token) {
    return start(detail::take_one<T>{}, &details, std::forward<Token>(token));
  }
  /// @overload For coroutines whose executor type is Ex. Throws tinybpf::error.
  template <detail::iter_record T, class Ex = boost::asio::any_io_executor>
  [[nodiscard]] boost::asio::awaitable<std::optional<T>, Ex> next() {
    std::optional<T> value;
    if (take_now(value)) co_return value;
    diagnostics details;
    auto [ec, found] = co_await async_next<T>(details, detail::as_result);
    if (ec) detail::throw_error(ec, std::move(details));
    co_return found;
  }

  /// As many records as are there, at least one and at most so many; none at the end. Signature:
  /// `void(error_code, std::span<T const>)`, of a copy that is valid until the next call on the stream, or its end.
  /// Errors: as above, EINVAL for 0 records.
  template <detail::iter_record T, class Token>
  auto async_read_some(std::size_t most, Token&& token) {
    return start(detail::take_some<T>{most}, nullptr, std::forward<Token>(token));
  }
  /// @overload
  template <detail::iter_record T, class Token>
  auto async_read_some(std::size_t most, diagnostics& details, Token&& token) {
    return start(detail::take_some<T>{most}, &details, std::forward<Token>(token));
  }
  /// @overload For coroutines whose executor type is Ex. Throws tinybpf::error.
  template <detail::iter_record T, class Ex = boost::asio::any_io_executor>
  [[nodiscard]] boost::asio::awaitable<std::span<T const>, Ex> read_some(std::size_t most) {
    diagnostics details;
    auto [ec, found] = co_await async_read_some<T>(most, details, detail::as_result);
    if (ec) detail::throw_error(ec, std::move(details));
    co_return found;
  }

  /// The next line of text, without its end; nothing at the end. Signature:
  /// `void(error_code, std::optional<std::string>)`. Errors: `errc::closed`, `errc::operation_in_progress`, or the
  /// kernel's.
  template <class Token>
  auto async_next_line(Token&& token) {
    return start(detail::take_line{}, nullptr, std::forward<Token>(token));
  }
  /// @overload
  template <class Token>
  auto async_next_line(diagnostics& details, Token&& token) {
    return start(detail::take_line{}, &details, std::forward<Token>(token));
  }
  /// @overload For coroutines whose executor type is Ex. Throws tinybpf::error.
  template <class Ex = boost::asio::any_io_executor>
  [[nodiscard]] boost::asio::awaitable<std::optional<std::string>, Ex> next_line() {
    diagnostics details;
    auto [ec, found] = co_await async_next_line(details, detail::as_result);
    if (ec) detail::throw_error(ec, std::move(details));
    co_return std::move(found);
  }

  /// All that was not read yet, as text. Signature: `void(error_code, std::string)`. Errors: as above; what was read
  /// before stays for the next call.
  template <class Token>
  auto async_read_text(Token&& token) {
    return start(detail::take_text{}, nullptr, std::forward<Token>(token));
  }
  /// @overload
  template <class Token>
  auto async_read_text(diagnostics& details, Token&& token) {
    return start(detail::take_text{}, &details, std::forward<Token>(token));
  }
  /// @overload For coroutines whose executor type is Ex. Throws tinybpf::error.
  template <class Ex = boost::asio::any_io_executor>
  [[nodiscard]] boost::asio::awaitable<std::string, Ex> read_text() {
    diagnostics details;
    auto [ec, found] = co_await async_read_text(details, detail::as_result);
    if (ec) detail::throw_error(ec, std::move(details));
    co_return std::move(found);
  }

 private:
  void open(Executor const& ex, std::shared_ptr<detail::iter_reading> reading) {
    if (reading) state_ = std::make_shared<state>(ex, std::move(reading));
  }

  // What was read already. Anything else is the operation's to say.
  template <class T>
  bool take_now(std::optional<T>& value) {
    if (!state_ || state_->busy) return false;
    using take = detail::take_one<T>;
    error_code ec;
    diagnostics details;
    auto& reading = *state_->reading;
    if (!reading.has_now(take::wanted()) || !take::valid(reading, ec, details)) return false;
    return take::take(reading, state_->page, value, ec, details) == detail::iter_status::taken;
  }

  template <class Take, class Token>
  auto start(Take take, diagnostics* details, Token&& token) {
    return detail::start_operation<detail::iter_operation<Executor, Take>, void(error_code, typename Take::result)>(
        state_, std::forward<Token>(token), take, details);
  }

  std::shared_ptr<state> state_;
};

/// A stream on whatever executor it is given.
using iter_stream = basic_iter_stream<>;

}  // namespace tinybpf
