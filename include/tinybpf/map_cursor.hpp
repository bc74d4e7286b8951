// Walks of maps on a loop.
#pragma once

#include <tinybpf/detail/map_pages.hpp>
#include <tinybpf/detail/tokens.hpp>
#include <tinybpf/error.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/compose.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>

#include <atomic>
#include <cstddef>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <utility>

namespace tinybpf {

/// Some entries of a map, as a cursor gives them: false at the end. It looks into the cursor's memory, until the
/// cursor's next page or its end.
template <class K, class V>
class map_page {
 public:
  using value_type = std::pair<K const&, V const&>;

  /// No entries.
  map_page() noexcept = default;

  [[nodiscard]] std::size_t size() const noexcept { return keys_.size(); }
  [[nodiscard]] bool empty() const noexcept { return keys_.empty(); }
  /// True if there are entries.
  explicit operator bool() const noexcept { return !empty(); }

  /// The keys, and under the same index their values.
  [[nodiscard]] std::span<K const> keys() const noexcept { return keys_; }
  /// @overload
  [[nodiscard]] std::span<V const> values() const noexcept { return values_; }

  class iterator {
   public:
    using iterator_concept = std::input_iterator_tag;
    using difference_type = std::ptrdiff_t;
    using value_type = map_page::value_type;
    using reference = value_type;

    iterator() noexcept = default;
    reference operator*() const noexcept { return {*key_, *value_}; }
    iterator& operator++() noexcept {
      ++key_;
      ++value_;
      return *this;
    }
    iterator operator++(int) noexcept { return std::exchange(*this, {key_ + 1, value_ + 1}); }
    friend bool operator==(iterator const& a, iterator const& b) noexcept { return a.key_ == b.key_; }

   private:
    friend class map_page;
    iterator(K const* key, V const* value) noexcept : key_{key}, value_{value} {}
    K const* key_ = nullptr;
    V const* value_ = nullptr;
  };

  [[nodiscard]] iterator begin() const noexcept { return {keys_.data(), values_.data()}; }
  [[nodiscard]] iterator end() const noexcept { return {keys_.data() + keys_.size(), nullptr}; }

 private:
  template <class Page>
  friend class map_cursor;
  explicit map_page(detail::map_pages& pages) noexcept
      : keys_{reinterpret_cast<K const*>(pages.key(0).data()), pages.count()},
        values_{reinterpret_cast<V const*>(pages.value(0).data()), pages.count()} {}

  std::span<K const> keys_;
  std::span<V const> values_;
};

/// A walk over a map that leaves the loop to others between any two pages.
///
///     auto cursor = flows.async_entries(co_await boost::asio::this_coro::executor);
///     while (auto const page = co_await cursor.next())
///       for (auto const& [key, stats] : page) ...
///
/// What is in the map from begin to end is in exactly one page, whatever else comes or goes meanwhile. Move-only;
/// moved from or default-constructed it is closed: `next` reports `errc::closed`. Destroying a cursor that is being
/// waited for completes that with `operation_aborted`. Thread-safety: for one thread or strand at a time.
template <class Page>
class map_cursor {
 public:
  using executor_type = boost::asio::any_io_executor;

  map_cursor() noexcept = default;
  map_cursor(map_cursor&&) noexcept = default;
  map_cursor& operator=(map_cursor&& other) noexcept {
    if (this != &other) {
      close();
      state_ = std::move(other.state_);
    }
    return *this;
  }
  ~map_cursor() { close(); }

  /// The executor that was given. Pages are read on the handler's associated executor, and on this one if it has none.
  /// Undefined for a closed cursor.
  [[nodiscard]] executor_type get_executor() const noexcept { return state_->executor; }

  /// Reads the next page, on a later turn of the loop; an empty one says that there are no more. A closed cursor has no
  /// executor: it completes on the handler's, or on the system's if that has none. Signature:
  /// `void(error_code, map_page<K, V>)`. Errors: `errc::closed`, `errc::not_loaded`, `errc::operation_in_progress` (a
  /// page is awaited already), or the kernel's, which end the walk. Cancellation: total, partial and terminal, until
  /// the page is read: then nothing is lost, and the walk can go on.
  template <class Token>
  auto async_next(Token&& token) {
    return start(nullptr, std::forward<Token>(token));
  }
  /// @overload
  template <class Token>
  auto async_next(diagnostics& details, Token&& token) {
    return start(&details, std::forward<Token>(token));
  }
  /// @overload For coroutines whose executor type is Ex. Throws tinybpf::error.
  template <class Ex = boost::asio::any_io_executor>
  [[nodiscard]] boost::asio::awaitable<Page, Ex> next() {
    diagnostics details;
    auto [ec, page] = co_await async_next(details, detail::as_result);
    if (ec) detail::throw_error(ec, std::move(details));
    co_return page;
  }

  /// For typed maps.
  map_cursor(executor_type ex, detail::map_pages pages)
      : state_{std::make_shared<state>(std::move(ex), std::move(pages))} {}

 private:
  struct state {
    state(executor_type ex, detail::map_pages p) : executor{std::move(ex)}, pages{std::move(p)} {}

    executor_type executor;
    detail::map_pages pages;
    // Seen by the handler's thread, too, which need not be that of the cursor's owner.
    std::atomic<bool> reading = false;
    std::atomic<bool> closed = false;
  };

  // Marks the cursor as read from for as long as the operation lives.
  class turn {
   public:
    explicit turn(state* s) noexcept : state_{s} {}
    turn(turn&& other) noexcept : state_{std::exchange(other.state_, nullptr)} {}
    turn& operator=(turn&&) = delete;
    ~turn() {
      if (state_ != nullptr) state_->reading = false;
    }

   private:
    state* state_;
  };

  class operation {
   public:
    operation(std::shared_ptr<state> s, diagnostics* details) : state_{std::move(s)}, details_{details} {
      if (state_ && !state_->reading.exchange(true)) turn_.emplace(state_.get());
    }

    template <class Self>
    void operator()(Self& self) {
      if (!begun_) {
        begun_ = true;
        self.reset_cancellation_state(boost::asio::enable_total_cancellation());
        return post(self);
      }
      if (!state_) return finish(self, errc::closed, "the next page of no cursor");
      if (!turn_) return finish(self, errc::operation_in_progress, "a page of this cursor is awaited already");
      if (state_->closed || self.cancelled() != boost::asio::cancellation_type::none)
        return finish(self, boost::asio::error::operation_aborted, {});
      diagnostics unwanted;
      error_code ec;
      using result = detail::map_pages::step_result;
      auto const found = state_->pages.step(ec, details_ != nullptr ? *details_ : unwanted);
      if (found == result::more) return post(self);
      auto page = found == result::page ? Page{state_->pages} : Page{};
      turn_.reset();
      self.complete(ec, page);
    }

   private:
    template <class Self>
    void post(Self& self) {
      if (!state_) return boost::asio::post(std::move(self));
      auto const ex = state_->executor;
      boost::asio::post(ex, std::move(self));
    }
    template <class Self>
    void finish(Self& self, error_code ec, char const* message) {
      if (details_ != nullptr) {
        *details_ = {};
        if (message != nullptr) details_->message = message;
      }
      turn_.reset();
      self.complete(ec, Page{});
    }

    std::shared_ptr<state> state_;
    std::optional<turn> turn_;
    diagnostics* details_;
    bool begun_ = false;
  };

  void close() noexcept {
    if (state_) state_->closed = true;
  }

  template <class Token>
  auto start(diagnostics* details, Token&& token) {
    using signature = void(error_code, Page);
    return boost::asio::async_initiate<Token, signature>(
        [](auto handler, std::shared_ptr<state> s, diagnostics* d) {
          using handler_type = decltype(handler);
          if (s) {
            auto const ex = s->executor;
            boost::asio::async_compose<handler_type, signature>(operation{std::move(s), d}, handler, ex);
          } else {
            boost::asio::async_compose<handler_type, signature>(operation{nullptr, d}, handler);
          }
        },
        token, state_, details);
  }

  std::shared_ptr<state> state_;
};

}  // namespace tinybpf
