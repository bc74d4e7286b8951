// User ring buffers: records from this program to BPF programs.
#pragma once

#include <tinybpf/detail/pins.hpp>
#include <tinybpf/detail/tokens.hpp>
#include <tinybpf/detail/user_ring_impl.hpp>
#include <tinybpf/error.hpp>
#include <tinybpf/layout.hpp>
#include <tinybpf/map.hpp>
#include <tinybpf/reservation.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <string_view>
#include <typeinfo>
#include <utility>

namespace tinybpf {

/// Writes into a BPF_MAP_TYPE_USER_RINGBUF map, from which a BPF program drains (`bpf_user_ringbuf_drain`).
///
///     tinybpf::user_ring_buffer commands{ex, obj.map("commands")};
///     auto c = co_await commands.reserve<command>();  // waits for room
///     c->pid = pid;
///     c.submit();
///
/// A record is reserved, filled in place and submitted; see `reservation`. A type is checked against the object's BTF
/// the first time that it is reserved.
///
/// **Waiting for room.** The kernel tells of room when a BPF program has drained, unless that passed BPF_RB_NO_WAKEUP:
/// then call `flush()`. The awaiting forms give the loop its turn after 1024 reservations in a row.
///
/// The buffer owns a duplicate of the map's descriptor and a mapping of its own: neither closing nor destroying the
/// object disturbs it. There is to be one writer of a map. A forked child may only destroy or close what it has of its
/// parent's, which then changes nothing for the parent. A writer that dies with a record reserved, such as one of a
/// pinned map, leaves a ring that the kernel never gets past.
///
/// **Closed** means default-constructed, moved from or after `close()`: operations report `errc::closed`. Moving and
/// destroying are safe while a reserve is pending; destruction completes it with `operation_aborted`.
///
/// **Thread-safety**: distinct buffers: safe; one buffer and its reservations: unsafe, use a strand. One waiting
/// reserve at a time: a second one meanwhile reports `errc::operation_in_progress`.
///
/// **Per-operation cancellation**: total, partial and terminal, on all asynchronous operations. A cancelled operation
/// reserved nothing.
template <class Executor = boost::asio::any_io_executor>
class basic_user_ring_buffer {
  using impl_type = detail::user_ring_impl<Executor>;

 public:
  /// The executor that operations complete on unless their handler has one of its own.
  using executor_type = Executor;

  /// The same buffer on another executor.
  template <class Other>
  struct rebind_executor {
    using other = basic_user_ring_buffer<Other>;
  };

  /// A closed buffer.
  basic_user_ring_buffer() noexcept = default;

  /// Opens the buffer of a loaded map. Errors: `errc::closed`, `errc::not_loaded`, `errc::wrong_map_type`; the kernel's
  /// for mapping.
  basic_user_ring_buffer(Executor const& ex, map const& m) {
    detail::or_throw([&](error_code& ec, diagnostics& details) { open(ex, m, ec, details); });
  }
  /// @overload
  basic_user_ring_buffer(Executor const& ex, map const& m, error_code& ec) {
    diagnostics details;
    open(ex, m, ec, details);
  }
  /// @overload
  basic_user_ring_buffer(Executor const& ex, map const& m, error_code& ec, diagnostics& details) {
    open(ex, m, ec, details);
  }
  /// @overload For an execution context's executor.
  template <class ExecutionContext>
    requires detail::is_context<ExecutionContext>
  basic_user_ring_buffer(ExecutionContext& context, map const& m)
      : basic_user_ring_buffer{Executor{context.get_executor()}, m} {}

  /// Over memory that a test or another transport provides.
  basic_user_ring_buffer(Executor const& ex, detail::user_ring_source source) {
    detail::or_throw([&](error_code& ec, diagnostics& details) { open_source(ex, std::move(source), ec, details); });
  }

  basic_user_ring_buffer(basic_user_ring_buffer&&) noexcept = default;
  basic_user_ring_buffer& operator=(basic_user_ring_buffer&& other) noexcept {
    if (this == &other) return *this;
    close();
    impl_ = std::move(other.impl_);
    return *this;
  }
  /// Closes.
  ~basic_user_ring_buffer() { close(); }

  /// The executor. Errors: `errc::closed` on a buffer that was never opened or was moved from.
  [[nodiscard]] executor_type get_executor() const {
    if (!impl_) detail::throw_error(errc::closed, {});
    return impl_->get_executor();
  }

  /// True from construction until `close()`.
  [[nodiscard]] bool is_open() const noexcept { return impl_ && !impl_->closed(); }
  /// @overload
  explicit operator bool() const noexcept { return is_open(); }

  /// The map's name; empty if never opened or moved from. Valid as long as the buffer.
  [[nodiscard]] std::string_view name() const noexcept { return impl_ ? impl_->name() : std::string_view{}; }
  /// Bytes of the ring, of which each record takes its own, rounded up to 8, and 8 more; 0 if never opened or moved
  /// from.
  [[nodiscard]] std::size_t size() const noexcept { return impl_ ? impl_->size() : 0; }
  /// The duplicate of the map's descriptor, owned by the buffer; -1 if closed.
  [[nodiscard]] int native_handle() const noexcept { return is_open() ? impl_->map_descriptor() : -1; }

  /// Ends what is pending with `operation_aborted`. Records that are still reserved can then only be discarded.
  /// Idempotent.
  void close() noexcept {
    if (impl_) impl_->close();
  }

  /// Ends what is pending with `operation_aborted`; the buffer stays open.
  void cancel() noexcept {
    if (impl_) impl_->cancel();
  }

  /// Lets a pending reserve look for room again, after a drain with BPF_RB_NO_WAKEUP.
  void flush() noexcept {
    if (impl_) impl_->look_again();
  }

  /// Reserves a record, or nothing if there is no room now. Never waits. Errors: `errc::closed`,
  /// `errc::operation_in_progress`, `errc::type_mismatch` and the like, E2BIG for a record that the ring can never
  /// hold, or of 16 MiB and more, which the kernel can never read.
  template <shared_with_kernel T>
  [[nodiscard]] std::optional<reservation<T>> try_reserve() {
    return try_reserve_or_throw<T>(sizeof(T), shape<T>());
  }
  /// @overload
  template <shared_with_kernel T>
  std::optional<reservation<T>> try_reserve(error_code& ec) {
    ec.clear();
    return try_reserve_as<T>(sizeof(T), shape<T>(), ec, nullptr);
  }
  /// @overload
  template <shared_with_kernel T>
  std::optional<reservation<T>> try_reserve(error_code& ec, diagnostics& details) {
    ec.clear();
    return try_reserve_as<T>(sizeof(T), shape<T>(), ec, &details);
  }
  /// @overload Of `size` raw bytes. Errors: likewise; EINVAL for 0.
  [[nodiscard]] std::optional<reservation<>> try_reserve(std::size_t size) {
    return try_reserve_or_throw<void>(size, nullptr);
  }
  /// @overload
  std::optional<reservation<>> try_reserve(std::size_t size, error_code& ec) {
    ec.clear();
    return try_reserve_as<void>(size, nullptr, ec, nullptr);
  }
  /// @overload
  std::optional<reservation<>> try_reserve(std::size_t size, error_code& ec, diagnostics& details) {
    ec.clear();
    return try_reserve_as<void>(size, nullptr, ec, &details);
  }

  /// Awaits room for a record, and reserves it. Ex is the executor type of the awaiting coroutine. Errors: as
  /// `try_reserve`, and `operation_aborted`.
  template <shared_with_kernel T, class Ex = boost::asio::any_io_executor>
  [[nodiscard]] boost::asio::awaitable<reservation<T>, Ex> reserve() {
    return detail::reserve<reservation<T>, Ex>(detail::pin<impl_type>{impl_.get()}, sizeof(T), shape<T>());
  }
  /// @overload Of `size` raw bytes. Errors: likewise; EINVAL for 0.
  template <class Ex = boost::asio::any_io_executor>
  [[nodiscard]] boost::asio::awaitable<reservation<>, Ex> reserve(std::size_t size) {
    return detail::reserve<reservation<>, Ex>(detail::pin<impl_type>{impl_.get()}, size, nullptr);
  }

  /// `reserve` for any completion token. Signature: `void(error_code, reservation<T>)`.
  template <shared_with_kernel T, class Token>
  auto async_reserve(Token&& token) {
    return detail::start_reserve<reservation<T>>(impl_.share(), sizeof(T), shape<T>(), nullptr,
                                                 std::forward<Token>(token));
  }
  /// @overload Fills `details` when it completes with an error.
  template <shared_with_kernel T, class Token>
  auto async_reserve(diagnostics& details, Token&& token) {
    return detail::start_reserve<reservation<T>>(impl_.share(), sizeof(T), shape<T>(), &details,
                                                 std::forward<Token>(token));
  }
  /// @overload Of `size` raw bytes. Signature: `void(error_code, reservation<>)`.
  template <class Token>
  auto async_reserve(std::size_t size, Token&& token) {
    return detail::start_reserve<reservation<>>(impl_.share(), size, nullptr, nullptr, std::forward<Token>(token));
  }
  /// @overload
  template <class Token>
  auto async_reserve(std::size_t size, diagnostics& details, Token&& token) {
    return detail::start_reserve<reservation<>>(impl_.share(), size, nullptr, &details, std::forward<Token>(token));
  }

 private:
  template <class T>
  static type_shape const* shape() noexcept {
    static constexpr type_shape of_t = shape_of<T>();
    return &of_t;
  }

  template <class T>
  std::optional<reservation<T>> try_reserve_as(std::size_t size, type_shape const* shape, error_code& ec,
                                               diagnostics* details) {
    if (!impl_ || impl_->waiting()) [[unlikely]] {
      refuse(ec, details);
      return std::nullopt;
    }
    if (!impl_->may_reserve(size, shape, ec, details)) return std::nullopt;
    auto* const data = impl_->try_reserve(size);
    if (data == nullptr) return std::nullopt;
    return std::optional<reservation<T>>{std::in_place, *impl_.get(), data, size};
  }

  template <class T>
  std::optional<reservation<T>> try_reserve_or_throw(std::size_t size, type_shape const* shape) {
    error_code ec;
    auto result = try_reserve_as<T>(size, shape, ec, nullptr);
    if (ec) [[unlikely]]
      throw_refused(size, shape);
    return result;
  }
  // Once more, for its words.
  [[noreturn]] void throw_refused(std::size_t size, type_shape const* shape) {
    error_code ec;
    diagnostics details;
    static_cast<void>(try_reserve_as<void>(size, shape, ec, &details));
    detail::throw_error(ec, std::move(details));
  }

  void refuse(error_code& ec, diagnostics* details) const {
    detail::refuse_user_ring(is_open() ? errc::operation_in_progress : errc::closed, "try_reserve", name(), ec,
                             details);
  }

  void open(Executor const& ex, map const& m, error_code& ec, diagnostics& details) {
    auto source = detail::open_user_ring(m, ec, details);
    if (!ec) open_source(ex, std::move(source), ec, details);
  }
  void open_source(Executor const& ex, detail::user_ring_source source, error_code& ec, diagnostics& details) {
    auto impl = std::make_shared<impl_type>(ex, std::move(source), ec, details);
    if (!ec) impl_ = detail::handle<impl_type>{std::move(impl)};
  }

  detail::handle<impl_type> impl_;
};

/// The usual user ring buffer.
using user_ring_buffer = basic_user_ring_buffer<>;

}  // namespace tinybpf
