// A walk over a map's pages as a C++20 range.
#pragma once

#include <tinybpf/detail/map_pages.hpp>
#include <tinybpf/error.hpp>

#include <cstddef>
#include <iterator>
#include <memory>
#include <type_traits>
#include <utility>

namespace tinybpf::detail {

/// One walk: an input range, of which begin() may be called once. What says how an entry of a page is seen, and which
/// sizes it has to have; if it has `arrange`, that is done to each new page first.
template <class What>
class map_walk {
 public:
  explicit map_walk(map const& m, error_code* ec = nullptr) : pages_{m, What::sizes}, ec_{ec} {
    if (ec != nullptr) ec->clear();
  }

  class iterator {
   public:
    using iterator_concept = std::input_iterator_tag;
    using difference_type = std::ptrdiff_t;
    using value_type = std::remove_cvref_t<typename What::reference>;
    using reference = typename What::reference;

    iterator() noexcept = default;
    reference operator*() const noexcept { return What::get(walk_->pages_, walk_->at_); }
    iterator& operator++() {
      walk_->step();
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(iterator const& i, std::default_sentinel_t /*end*/) noexcept { return i.ended(); }

   private:
    friend class map_walk;
    bool ended() const noexcept { return walk_->ended_; }
    explicit iterator(map_walk* w) noexcept : walk_{w} {}
    map_walk* walk_ = nullptr;
  };

  [[nodiscard]] iterator begin() {
    turn();
    return iterator{this};
  }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

 private:
  void step() {
    if (++at_ == pages_.count()) turn();
  }
  void turn() {
    at_ = 0;
    if (ec_ == nullptr) {
      ended_ = !or_throw([&](error_code& ec, diagnostics& details) { return pages_.next(ec, details); });
    } else {
      diagnostics details;
      ended_ = !pages_.next(*ec_, details);
    }
    if constexpr (requires { What::arrange(pages_); })
      if (!ended_) What::arrange(pages_);
  }

  map_pages pages_;
  error_code* ec_;
  std::size_t at_ = 0;
  bool ended_ = false;
};

/// The iterator of a map that is walked as it is, `for (auto const& [k, v] : flows)`. It owns its walk.
template <class What>
class map_iterator {
 public:
  using iterator_concept = std::input_iterator_tag;
  using difference_type = std::ptrdiff_t;
  using value_type = std::remove_cvref_t<typename What::reference>;
  using reference = typename What::reference;

  explicit map_iterator(map const& m) : walk_{std::make_unique<map_walk<What>>(m)}, at_{walk_->begin()} {}

  reference operator*() const noexcept { return *at_; }
  map_iterator& operator++() {
    ++at_;
    return *this;
  }
  void operator++(int) { ++at_; }
  friend bool operator==(map_iterator const& i, std::default_sentinel_t end) noexcept { return i.at_ == end; }

 private:
  std::unique_ptr<map_walk<What>> walk_;
  typename map_walk<What>::iterator at_;
};

}  // namespace tinybpf::detail
