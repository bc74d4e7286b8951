// The verbs of a ring buffer, for a buffer that checks its types on first use and for a typed view that has checked
// them.
#pragma once

#include <tinybpf/batch.hpp>
#include <tinybpf/detail/reading.hpp>
#include <tinybpf/detail/stream_impl.hpp>
#include <tinybpf/error.hpp>
#include <tinybpf/event.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
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
  static constexpr bool uniform = reading<Ts...>::uniform;

  static bool ready_for(stream_core const& core) noexcept {
    return Check == type_check::skip ? core.ready_for<>() : core.ready_for<Ts...>();
  }
  static bool fits(found_record const& r) noexcept { return reading<Ts...>::fits(r); }

  /// The one type of a plain read.
  static value copy(raw_record const& r) noexcept { return alternative<value>::take({r, {}, nullptr}); }
  static value copy_of(std::byte const* data) noexcept {
    return std::bit_cast<value>(*reinterpret_cast<std::array<std::byte, sizeof(value)> const*>(data));
  }

  /// The record that was found to fit, or losses to be told first.
  static value take(stream_core& core) noexcept {
    if constexpr (reading<Ts...>::wants_losses)
      if (auto const losses = core.new_losses()) return *losses;
    return core.take<Ts...>();
  }
};

struct wait_finish {
  static constexpr std::string_view name = "async_wait";
  diagnostics* details;

  bool begin(stream_core&, error_code&) const noexcept { return true; }
  template <class Self, class Impl>
  void succeed(Self& self, Impl impl) const {
    impl->read_something();  // earlier; whoever waited may walk away
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

  bool begin(stream_core& core, error_code& ec) const {
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

  bool begin(stream_core& core, error_code& ec) const {
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
struct stream_verbs {
  using impl_type = stream_impl<Executor>;
  using impl_ptr = std::shared_ptr<impl_type>;

  template <class Batch>
  static Batch make(impl_ptr const& impl, std::size_t records) {
    return Batch{impl, records};
  }

  template <class Plan>
  static std::optional<typename Plan::value> try_next(impl_type* impl, error_code& ec, diagnostics* details) {
    if constexpr (Plan::uniform) {
      if (auto const* const r = next_of_run<Plan>(impl)) [[likely]] {
        passing const after{*impl};
        return std::optional<typename Plan::value>{Plan::copy_of(r)};
      }
    }
    return try_next_slowly<Plan>(impl, ec, details);
  }

  template <class Plan>
  static std::optional<typename Plan::value> try_next(impl_type* impl) {
    if constexpr (Plan::uniform) {
      if (auto const* const r = next_of_run<Plan>(impl)) [[likely]] {
        passing const after{*impl};
        return std::optional<typename Plan::value>{Plan::copy_of(r)};
      }
    } else if constexpr (Plan::plain) {
      if (impl != nullptr && Plan::ready_for(*impl) && impl->records() < impl->turn_ends()) {
        auto const r = impl->glance();
        if (r.data != nullptr && Plan::fits(impl->found(r))) {
          std::optional<typename Plan::value> result{Plan::copy(r)};
          impl->pass(r);
          return result;
        }
      }
    }
    return try_next_slowly<Plan>(impl);
  }

  template <class Token>
  static auto async_wait(impl_ptr impl, diagnostics* details, Token&& token) {
    return start_stream_operation<void(error_code)>(std::move(impl), wait_finish{details}, std::forward<Token>(token));
  }

  template <class Plan, class Token>
  static auto async_next(impl_ptr impl, diagnostics* details, Token&& token) {
    return start_stream_operation<void(error_code, typename Plan::value)>(std::move(impl), next_finish<Plan>{details},
                                                                          std::forward<Token>(token));
  }

  template <class Plan, class Token>
  static auto async_read_some(impl_ptr impl, std::size_t budget, diagnostics* details, Token&& token) {
    return start_stream_operation<void(error_code, typename Plan::batch_type)>(
        std::move(impl), read_some_finish<Plan, stream_verbs>{details, budget}, std::forward<Token>(token));
  }

  template <class Ex>
  static asio::awaitable<void, Ex> wait(impl_ptr impl) {
    diagnostics details;
    auto [ec] = co_await async_wait(std::move(impl), &details, as_result);
    if (ec) throw_error(ec, std::move(details));
  }

  template <class Plan, class Ex>
  static asio::awaitable<typename Plan::value, Ex> next(pin<impl_type> impl) {
    if constexpr (Plan::uniform) {
      if (auto const* const r = next_of_turn<Plan>(impl.get())) [[likely]] {
        passing const after{*impl.get()};
        co_return Plan::copy_of(r);
      }
    }
    co_return co_await next_slowly<Plan, Ex>(impl.get());
  }

  template <class Plan, class Ex>
  static asio::awaitable<typename Plan::value, Ex> next_slowly(impl_type* impl) {
    for (;;) {
      auto const status = look_or_throw(impl, Plan::ops, "next");
      if (status != look_status::ready) {
        // Not by way of wait(): Asio's caches hold no third frame.
        diagnostics details;
        auto owner = impl->shared_from_this();
        auto const [ec] = co_await async_wait(std::move(owner), &details, as_result);
        if (ec) throw_error(ec, std::move(details));
      } else if (impl->spent() < impl->budget()) {
        auto value = Plan::take(*impl);
        impl->read_something();
        if constexpr (Plan::uniform) impl->template begin_run<typename Plan::value, Plan>();
        co_return value;
      } else {
        auto const state = co_await asio::this_coro::cancellation_state;
        giving_way turn{impl->shared_from_this(), state.cancelled()};
        co_await asio::post(asio::deferred);
        turn.end(state.cancelled());
      }
    }
  }

  // A template's argument names the value, so that only who uses it has to know the type.
  template <class Value>
  static std::optional<Value> try_next_dynamic(impl_type* impl, std::string_view btf_name, error_code& ec,
                                               diagnostics& details) {
    if (impl != nullptr && !impl->describes(btf_name, ec, details)) return std::nullopt;
    auto const r = try_next<read_plan<type_check::once, record<>>>(impl, ec, &details);
    if (!r) return std::nullopt;
    auto value = impl->take_viewed(btf_name, *r, ec, details);
    if (ec) return std::nullopt;
    return value;
  }

  template <class Value, class Ex>
  static asio::awaitable<Value, Ex> next_dynamic(impl_ptr impl, std::string btf_name) {
    if (impl) or_throw([&](error_code& ec, diagnostics& details) { return impl->describes(btf_name, ec, details); });
    auto const r = co_await next<read_plan<type_check::once, record<>>, Ex>(pin<impl_type>{impl.get()});
    co_return or_throw(
        [&](error_code& ec, diagnostics& details) { return impl->take_viewed(btf_name, r, ec, details); });
  }

  template <class Plan, class Ex>
  static asio::awaitable<typename Plan::batch_type, Ex> read_some(impl_ptr impl, std::size_t budget) {
    for (;;) {
      auto const status = look_or_throw(impl.get(), Plan::ops, "read_some");
      if (budget == 0) throw_budget(*impl);
      if (status != look_status::ready) {
        co_await wait<Ex>(impl);
      } else if (impl->spent() < budget) {
        co_return make<typename Plan::batch_type>(impl, budget - impl->spent());
      } else {
        auto const state = co_await asio::this_coro::cancellation_state;
        giving_way turn{impl, state.cancelled()};
        co_await asio::post(asio::deferred);
        turn.end(state.cancelled());
      }
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
      auto range = co_await read_some<Plan, Ex>(impl, impl ? impl->budget() : 1);
      for (auto&& r : range)
        if (!goes_on(handler, std::forward<decltype(r)>(r))) co_return;
    }
  }

 private:
  // One post, so that who reads all the time does not starve the others. Nobody else may read meanwhile.
  class giving_way {
   public:
    giving_way(impl_ptr impl, asio::cancellation_type before)
        : impl_{std::move(impl)}, mark_{*impl_}, before_{before} {}
    giving_way(giving_way const&) = delete;
    giving_way& operator=(giving_way const&) = delete;
    ~giving_way() {
      if (impl_) impl_->publish();  // whoever gave up may not come back
    }

    /// Throws if the coroutine or the buffer was cancelled meanwhile.
    void end(asio::cancellation_type now) {
      impl_->begin_turn();
      if (now != before_ || impl_->cancelled() || impl_->closed()) throw_error(asio::error::operation_aborted, {});
      mark_.reset();
      impl_.reset();
    }

   private:
    impl_ptr impl_;
    wait_mark<impl_type> mark_;
    asio::cancellation_type before_;
  };

  // The next record of a run, where it is and however it is aligned; null if there is none.
  template <class Plan>
  static std::byte const* next_of_run(impl_type const* impl) noexcept {
    return impl == nullptr ? nullptr : impl->template next_of_run<typename Plan::value, Plan>();
  }

  template <class Plan>
  static std::byte const* next_of_turn(impl_type const* impl) noexcept {
    return impl == nullptr ? nullptr : impl->template next_of_turn<typename Plan::value, Plan>();
  }

  // Goes on behind it, once it was copied.
  struct passing {
    impl_type& impl;
    ~passing() { impl.pass_in_run(); }
  };

  // Everything else: apart, so that the fast path stays small enough to be inlined.
  template <class Plan>
  [[gnu::noinline]] static std::optional<typename Plan::value> try_next_slowly(impl_type* impl) {
    if (!look_or_rest(impl, Plan::ops, "try_next")) return std::nullopt;
    return take_one<Plan>(*impl);
  }

  template <class Plan>
  [[gnu::noinline]] static std::optional<typename Plan::value> try_next_slowly(impl_type* impl, error_code& ec,
                                                                               diagnostics* details) {
    if (!may_read(impl, Plan::ops, "try_next", ec, details)) return std::nullopt;
    switch (impl->look(Plan::ops)) {
      case look_status::ready:
        return take_one<Plan>(*impl);
      case look_status::nothing:
        impl->rest();
        break;
      case look_status::bad:
        impl->report_bad(Plan::ops, ec, details);
        break;
    }
    return std::nullopt;
  }

  template <class Plan>
  static typename Plan::value take_one(impl_type& impl) {
    auto value = Plan::take(impl);
    impl.publish_in_time();
    if constexpr (Plan::uniform) impl.template begin_run<typename Plan::value, Plan>();
    return value;
  }

  [[noreturn]] static void throw_budget(impl_type const& impl) {
    error_code ec;
    diagnostics details;
    impl.checks_budget(0, ec, &details);
    throw_error(ec, std::move(details));
  }
};

}  // namespace tinybpf::detail
