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

/// What one operation reads: a list of types, and whether it must be checked.
template <type_check Check, class... Ts>
struct read_plan {
  using value = typename reading<Ts...>::value;
  using batch_type = batch<Ts...>;
  static constexpr read_ops const& ops = ops_of<Check, Ts...>;
  static constexpr bool plain = reading<Ts...>::plain;

  static bool ready_for(ring_core const& core) noexcept {
    return Check == type_check::skip ? core.ready_for<>() : core.ready_for<Ts...>();
  }
  static bool fits(found_record const& r) noexcept { return reading<Ts...>::fits(r); }

  /// The one type of a plain read.
  static void copy(raw_record const& r, value& to) noexcept { alternative<value>::copy(r, to); }

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
  void succeed(Self& self, Impl impl) const {
    impl.reset();
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

  bool begin(ring_core& core, error_code& ec) const {
    return Plan::ops.check == nullptr || Plan::ops.check(core, ec, details);
  }
  template <class Self, class Impl>
  void succeed(Self& self, Impl impl) const {
    if (impl->look(Plan::ops) == look_status::ready) {
      auto value = Plan::take(*impl);
      impl->read_something();
      impl.reset();
      return self.complete(error_code{}, std::move(value));
    }
    error_code ec;
    impl->report_bad(Plan::ops, ec, details);
    impl.reset();
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
    return core.checks_budget(budget, ec, details) &&
           (Plan::ops.check == nullptr || Plan::ops.check(core, ec, details));
  }
  template <class Self, class Impl>
  void succeed(Self& self, Impl impl) const {
    if (impl->look(Plan::ops) == look_status::ready) {
      auto range = Verbs::template make<typename Plan::batch_type>(impl, budget);
      impl.reset();
      return self.complete(error_code{}, std::move(range));
    }
    error_code ec;
    impl->report_bad(Plan::ops, ec, details);
    impl.reset();
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

  template <class Plan>
  static std::optional<typename Plan::value> try_next(impl_type* impl, error_code& ec, diagnostics* details) {
    std::optional<typename Plan::value> result;
    if (!may_read(impl, Plan::ops, "try_next", ec, details)) return result;
    switch (impl->look(Plan::ops)) {
      case look_status::ready:
        result.emplace(Plan::take(*impl));
        break;
      case look_status::nothing:
        impl->rest();
        break;
      case look_status::bad:
        impl->report_bad(Plan::ops, ec, details);
        break;
    }
    return result;
  }

  template <class Plan>
  static std::optional<typename Plan::value> try_next(impl_type* impl) {
    std::optional<typename Plan::value> result;
    if constexpr (Plan::plain) {
      if (impl != nullptr && Plan::ready_for(*impl) && impl->records() != impl->turn_ends()) [[likely]] {
        auto const r = impl->glance();
        if (r.data != nullptr && Plan::fits(impl->found(r))) [[likely]] {
          Plan::copy(r, result.emplace());
          impl->pass(r);
          return result;
        }
      }
    }
    try_next_slowly<Plan>(impl, result);
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
      auto const status = look_or_throw(impl.get(), Plan::ops, "next");
      if (status == look_status::ready && impl->spent() < impl->budget) {
        auto value = Plan::take(*impl);
        impl->read_something();
        co_return value;
      }
      co_await wait<Ex>(impl);
    }
  }

  template <class Plan, class Ex>
  static asio::awaitable<typename Plan::batch_type, Ex> read_some(impl_ptr impl, std::size_t budget) {
    for (;;) {
      auto const status = look_or_throw(impl.get(), Plan::ops, "read_some");
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
    if (!look_or_rest(impl.get(), Plan::ops, "consume")) return true;
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
  // What is not plainly there, or takes more than a copy. Apart, so that the fast path stays small enough to be
  // inlined.
  template <class Plan>
  [[gnu::noinline]] static void try_next_slowly(impl_type* impl, std::optional<typename Plan::value>& result) {
    if (look_or_rest(impl, Plan::ops, "try_next")) result.emplace(Plan::take(*impl));
  }

  [[noreturn]] static void throw_budget(impl_type const& impl) {
    error_code ec;
    diagnostics details;
    impl.checks_budget(0, ec, &details);
    throw_error(ec, std::move(details));
  }
};

}  // namespace tinybpf::detail
