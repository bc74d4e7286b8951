// The verbs of a ring buffer, for a buffer that checks its types on first use and for a typed view that has checked
// them.
#pragma once

#include <tinybpf/batch.hpp>
#include <tinybpf/detail/reading.hpp>
#include <tinybpf/detail/ring_impl.hpp>
#include <tinybpf/error.hpp>
#include <tinybpf/event.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/error.hpp>

#include <concepts>
#include <cstddef>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

namespace tinybpf::detail {

/// Whether a verb still has to hold its types against the object's.
enum class type_check : bool { skip, once };

/// What one operation reads: a list of types, and whether it must be checked.
template <type_check Check, class... Ts>
struct read_plan {
  using value = typename reading<Ts...>::value;
  using batch_type = batch<Ts...>;

  static bool checked(ring_core& core, error_code& ec, diagnostics* details) {
    return Check == type_check::skip || core.knows<Ts...>(ec, details);
  }
  static look_status look(ring_core& core) noexcept { return core.look<Ts...>(); }
  static void report_bad(ring_core& core, error_code& ec, diagnostics* details) { core.report_bad<Ts...>(ec, details); }

  /// The record that was found to fit, or losses to be told first.
  static value take(ring_core& core) noexcept {
    if constexpr (reading<Ts...>::wants_losses)
      if (auto const losses = core.new_losses()) return *losses;
    return core.take<Ts...>();
  }
};

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

template <class Plan>
struct next_finish {
  static constexpr std::string_view name = "async_next";
  diagnostics* details;

  bool begin(ring_core& core, error_code& ec) const { return Plan::checked(core, ec, details); }
  template <class Self, class Impl>
  void succeed(Self& self, Impl const& impl) const {
    if (Plan::look(*impl) == look_status::ready) {
      auto value = Plan::take(*impl);
      impl->read_something();
      return self.complete(error_code{}, std::move(value));
    }
    error_code ec;
    Plan::report_bad(*impl, ec, details);
    fail(self, ec);
  }
  template <class Self>
  void fail(Self& self, error_code ec) const {
    self.complete(ec, typename Plan::value{});
  }
};

template <class Plan, class Verbs>
struct read_some_finish {
  static constexpr std::string_view name = "async_read_some";
  diagnostics* details;
  std::size_t budget;

  bool begin(ring_core& core, error_code& ec) const {
    return core.checks_budget(budget, ec, details) && Plan::checked(core, ec, details);
  }
  template <class Self, class Impl>
  void succeed(Self& self, Impl const& impl) const {
    if (Plan::look(*impl) == look_status::ready) {
      auto range = Verbs::template make<typename Plan::batch_type>(impl, budget);
      return self.complete(error_code{}, std::move(range));
    }
    error_code ec;
    Plan::report_bad(*impl, ec, details);
    fail(self, ec);
  }
  template <class Self>
  void fail(Self& self, error_code ec) const {
    self.complete(ec, typename Plan::batch_type{});
  }
};

/// Calls a handler of records; one that returns nothing never stops.
template <class Handler, class Record>
bool goes_on(Handler& handler, Record&& r) {
  if constexpr (std::same_as<decltype(handler(std::forward<Record>(r))), void>) {
    handler(std::forward<Record>(r));
    return true;
  } else {
    return static_cast<bool>(handler(std::forward<Record>(r)));
  }
}

template <class Executor>
struct ring_verbs {
  using impl_type = ring_impl<Executor>;
  using impl_ptr = std::shared_ptr<impl_type>;

  template <class Batch>
  static Batch make(impl_ptr const& impl, std::size_t budget) {
    return Batch{impl, budget};
  }

  /// Nothing wrong so far, or the reason, for a read that is about to look.
  template <class Plan>
  static bool may_read(impl_type* impl, std::string_view operation, error_code& ec, diagnostics* details) {
    if (impl == nullptr) [[unlikely]] {
      refuse_closed(operation, ec, details);
      return false;
    }
    if (auto const why = impl->begin_read(); why != errc{}) [[unlikely]] {
      impl->refuse(why, operation, ec, details);
      return false;
    }
    return Plan::checked(*impl, ec, details);
  }

  template <class Plan>
  static std::optional<typename Plan::value> try_next(impl_type* impl, error_code& ec, diagnostics* details) {
    std::optional<typename Plan::value> result;
    if (!may_read<Plan>(impl, "try_next", ec, details)) return result;
    switch (Plan::look(*impl)) {
      case look_status::ready:
        result.emplace(Plan::take(*impl));
        break;
      case look_status::nothing:
        impl->rest();
        break;
      case look_status::bad:
        Plan::report_bad(*impl, ec, details);
        break;
    }
    return result;
  }

  template <class Plan>
  static std::optional<typename Plan::value> try_next(impl_type* impl) {
    std::optional<typename Plan::value> result;
    if (look_or_throw<Plan>(impl, "try_next") == look_status::ready) [[likely]]
      result.emplace(Plan::take(*impl));
    else
      impl->rest();
    return result;
  }

  template <class Token>
  static auto async_wait(impl_ptr impl, diagnostics* details, Token&& token) {
    return start_ring_operation<void(error_code)>(std::move(impl), wait_finish{details}, std::forward<Token>(token));
  }

  template <class Plan, class Token>
  static auto async_next(impl_ptr impl, diagnostics* details, Token&& token) {
    return start_ring_operation<void(error_code, typename Plan::value)>(std::move(impl), next_finish<Plan>{details},
                                                                        std::forward<Token>(token));
  }

  template <class Plan, class Token>
  static auto async_read_some(impl_ptr impl, std::size_t budget, diagnostics* details, Token&& token) {
    return start_ring_operation<void(error_code, typename Plan::batch_type)>(
        std::move(impl), read_some_finish<Plan, ring_verbs>{details, budget}, std::forward<Token>(token));
  }

  template <class Ex>
  static asio::awaitable<void, Ex> wait(impl_ptr impl) {
    diagnostics details;
    auto [ec] = co_await async_wait(std::move(impl), &details, as_result);
    if (ec) throw_error(ec, std::move(details));
  }

  template <class Plan, class Ex>
  static asio::awaitable<typename Plan::value, Ex> next(impl_ptr impl) {
    for (;;) {
      auto const status = look_or_throw<Plan>(impl.get(), "next");
      if (status == look_status::ready && impl->spent() < impl->budget) {
        impl->read_something();
        co_return Plan::take(*impl);
      }
      co_await wait<Ex>(impl);
    }
  }

  template <class Plan, class Ex>
  static asio::awaitable<typename Plan::batch_type, Ex> read_some(impl_ptr impl, std::size_t budget) {
    for (;;) {
      auto const status = look_or_throw<Plan>(impl.get(), "read_some");
      if (budget == 0) throw_budget(*impl);
      if (status == look_status::ready && impl->spent() < budget)
        co_return make<typename Plan::batch_type>(impl, budget - impl->spent());
      co_await wait<Ex>(impl);
    }
  }

  /// Calls the handler for what is there, at most `budget` records; false once the handler wants no more.
  template <class Plan, class Handler>
  static bool consume(impl_ptr const& impl, std::size_t budget, std::size_t& count, Handler& handler) {
    count = 0;
    if (look_or_throw<Plan>(impl.get(), "consume") != look_status::ready) {
      impl->rest();
      return true;
    }
    auto range = make<typename Plan::batch_type>(impl, budget);
    for (auto&& r : range) {
      ++count;
      if (!goes_on(handler, std::forward<decltype(r)>(r))) return false;
    }
    return true;
  }

  template <class Plan, class Ex, class Handler>
  static asio::awaitable<void, Ex> run(impl_ptr impl, Handler handler) {
    co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
    for (;;) {
      auto range = co_await read_some<Plan, Ex>(impl, impl ? impl->budget : 1);
      for (auto&& r : range)
        if (!goes_on(handler, std::forward<decltype(r)>(r))) co_return;
    }
  }

 private:
  /// As `look`, with every error thrown. Diagnostics are made only when there is something to say.
  template <class Plan>
  static look_status look_or_throw(impl_type* impl, std::string_view operation) {
    error_code ec;
    if (!may_read<Plan>(impl, operation, ec, nullptr)) [[unlikely]]
      explain<Plan>(impl, operation);
    auto const status = Plan::look(*impl);
    if (status == look_status::bad) [[unlikely]]
      throw_bad<Plan>(impl);
    return status;
  }

  // The checks once more, for their words: kept out of the fast path.
  template <class Plan>
  [[noreturn]] static void explain(impl_type* impl, std::string_view operation) {
    error_code ec;
    diagnostics details;
    may_read<Plan>(impl, operation, ec, &details);
    throw_error(ec, std::move(details));
  }

  [[noreturn]] static void throw_budget(impl_type const& impl) {
    error_code ec;
    diagnostics details;
    impl.checks_budget(0, ec, &details);
    throw_error(ec, std::move(details));
  }

  template <class Plan>
  [[noreturn]] static void throw_bad(impl_type* impl) {
    error_code ec;
    diagnostics details;
    Plan::report_bad(*impl, ec, &details);
    throw_error(ec, std::move(details));
  }
};

}  // namespace tinybpf::detail
