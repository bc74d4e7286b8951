// The verbs of a ring buffer, for a buffer that checks its types on first use and for a typed view that has checked
// them.
#pragma once

#include <tinybpf/batch.hpp>
#include <tinybpf/detail/ring_impl.hpp>
#include <tinybpf/error.hpp>
#include <tinybpf/event.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/error.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

namespace tinybpf::detail {

/// Whether a verb still has to hold its type against the object's.
enum class type_check : bool { skip, once };

struct wait_finish {
  static constexpr std::string_view name = "async_wait";
  diagnostics* details;

  bool begin(ring_core&, error_code&) const noexcept { return true; }
  template <class Self, class Impl>
  void succeed(Self& self, Impl const&) const {
    self.complete(error_code{});
  }
  template <class Self>
  void fail(Self& self, error_code ec) const {
    self.complete(ec);
  }
};

template <class E, type_check Check>
struct next_finish {
  static constexpr std::string_view name = "async_next";
  diagnostics* details;

  bool begin(ring_core& core, error_code& ec) const {
    return Check == type_check::skip || core.knows<typename reading<E>::shape_type>(ec, details);
  }
  template <class Self, class Impl>
  void succeed(Self& self, Impl const& impl) const {
    if (impl->template look<E>() == take_status::taken) {
      auto value = impl->template take<E>();
      return self.complete(error_code{}, std::move(value));
    }
    error_code ec;
    impl->template report_bad<E>(ec, details);
    self.complete(ec, E{});
  }
  template <class Self>
  void fail(Self& self, error_code ec) const {
    self.complete(ec, E{});
  }
};

template <class E, type_check Check, class MakeBatch>
struct read_some_finish {
  static constexpr std::string_view name = "async_read_some";
  diagnostics* details;
  std::size_t budget;

  bool begin(ring_core& core, error_code& ec) const {
    if (!core.checks_budget(budget, ec, details)) return false;
    return Check == type_check::skip || core.knows<typename reading<E>::shape_type>(ec, details);
  }
  template <class Self, class Impl>
  void succeed(Self& self, Impl const& impl) const {
    if (impl->template look<E>() == take_status::taken) {
      auto range = MakeBatch::template make<E>(impl, budget);
      return self.complete(error_code{}, std::move(range));
    }
    error_code ec;
    impl->template report_bad<E>(ec, details);
    self.complete(ec, batch<E>{});
  }
  template <class Self>
  void fail(Self& self, error_code ec) const {
    self.complete(ec, batch<E>{});
  }
};

template <class Executor>
struct ring_verbs {
  using impl_type = ring_impl<Executor>;
  using impl_ptr = std::shared_ptr<impl_type>;

  template <class E>
  static batch<E> make(impl_ptr const& impl, std::size_t budget) {
    return batch<E>{impl, budget};
  }

  /// Nothing wrong so far, or the reason, for a read of E that is about to look.
  template <class E, type_check Check>
  static bool may_read(impl_type* impl, std::string_view operation, error_code& ec, diagnostics* details) {
    if (impl == nullptr) {
      refuse_closed(operation, ec, details);
      return false;
    }
    auto const why = impl->waiting ? errc::operation_in_progress : impl->begin_read();
    if (why != errc{}) [[unlikely]] {
      impl->refuse(why, operation, ec, details);
      return false;
    }
    return Check == type_check::skip || impl->template knows<typename reading<E>::shape_type>(ec, details);
  }

  template <class E, type_check Check>
  static std::optional<E> try_next(impl_type* impl, error_code& ec, diagnostics* details) {
    std::optional<E> result;
    if (!may_read<E, Check>(impl, "try_next", ec, details)) return result;
    switch (impl->template look<E>()) {
      case take_status::taken:
        result.emplace(impl->template take<E>());
        break;
      case take_status::nothing:
        impl->reader.publish();
        break;
      case take_status::bad:
        impl->template report_bad<E>(ec, details);
        break;
    }
    return result;
  }

  template <class E, type_check Check>
  static std::optional<E> try_next(impl_type* impl) {
    std::optional<E> result;
    if (look_or_throw<E, Check>(impl, "try_next") == take_status::taken)
      result.emplace(impl->template take<E>());
    else
      impl->reader.publish();
    return result;
  }

  template <class Token>
  static auto async_wait(impl_ptr impl, diagnostics* details, Token&& token) {
    return start_ring_operation<void(error_code)>(std::move(impl), wait_finish{details}, std::forward<Token>(token));
  }

  template <class E, type_check Check, class Token>
  static auto async_next(impl_ptr impl, diagnostics* details, Token&& token) {
    return start_ring_operation<void(error_code, E)>(std::move(impl), next_finish<E, Check>{details},
                                                     std::forward<Token>(token));
  }

  template <class E, type_check Check, class Token>
  static auto async_read_some(impl_ptr impl, std::size_t budget, diagnostics* details, Token&& token) {
    return start_ring_operation<void(error_code, batch<E>)>(
        std::move(impl), read_some_finish<E, Check, ring_verbs>{details, budget}, std::forward<Token>(token));
  }

  template <class Ex>
  static asio::awaitable<void, Ex> wait(impl_ptr impl) {
    diagnostics details;
    auto [ec] = co_await async_wait(std::move(impl), &details, as_result);
    if (ec) throw_error(ec, std::move(details));
  }

  template <class E, type_check Check, class Ex>
  static asio::awaitable<E, Ex> next(impl_ptr impl) {
    for (;;) {
      auto const status = look_or_throw<E, Check>(impl.get(), "next");
      if (status == take_status::taken && impl->spent < impl->budget) co_return impl->template take<E>();
      co_await wait<Ex>(impl);
    }
  }

  template <class E, type_check Check, class Ex>
  static asio::awaitable<batch<E>, Ex> read_some(impl_ptr impl, std::size_t budget) {
    for (;;) {
      auto const status = look_or_throw<E, Check>(impl.get(), "read_some");
      if (budget == 0) throw_budget(*impl);
      if (status == take_status::taken && impl->spent < budget) co_return make<E>(impl, budget - impl->spent);
      co_await wait<Ex>(impl);
    }
  }

 private:
  /// As `look`, with every error thrown. Diagnostics are made only when there is something to say.
  template <class E, type_check Check>
  static take_status look_or_throw(impl_type* impl, std::string_view operation) {
    error_code ec;
    if (!may_read<E, Check>(impl, operation, ec, nullptr)) [[unlikely]]
      explain<E, Check>(impl, operation);
    auto const status = impl->template look<E>();
    if (status == take_status::bad) [[unlikely]]
      throw_bad<E>(impl);
    return status;
  }

  // The checks once more, for their words: kept out of the fast path.
  template <class E, type_check Check>
  [[noreturn]] static void explain(impl_type* impl, std::string_view operation) {
    error_code ec;
    diagnostics details;
    may_read<E, Check>(impl, operation, ec, &details);
    throw_error(ec, std::move(details));
  }

  [[noreturn]] static void throw_budget(impl_type const& impl) {
    error_code ec;
    diagnostics details;
    impl.checks_budget(0, ec, &details);
    throw_error(ec, std::move(details));
  }

  template <class E>
  [[noreturn]] static void throw_bad(impl_type* impl) {
    error_code ec;
    diagnostics details;
    impl->template report_bad<E>(ec, &details);
    throw_error(ec, std::move(details));
  }
};

}  // namespace tinybpf::detail
