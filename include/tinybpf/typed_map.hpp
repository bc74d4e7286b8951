// A map whose keys and values have C++ types.
#pragma once

#include <tinybpf/detail/map_pages.hpp>
#include <tinybpf/error.hpp>
#include <tinybpf/layout.hpp>
#include <tinybpf/map.hpp>
#include <tinybpf/types.hpp>

#include <concepts>
#include <cstddef>
#include <iterator>
#include <optional>
#include <span>
#include <utility>

namespace tinybpf {

/// A map whose keys are K and values V: `auto flows = obj.map("flows").typed<flow_key, flow_stats>()`.
///
/// Their sizes, and what BTF says of the map's types, are checked when the view is made, and nothing after that: every
/// operation is its system call on the very bytes of K and V. Padding in K is part of the key: give it a value.
///
///     flows[key] = {1, 40};
///     if (auto const found = flows.lookup(key)) std::cout << found->packets;
///     for (auto const& [key, stats] : flows.entries()) ...
///
/// A handle of the map, closed when the map is: then every call reports `errc::closed`. Thread-safety: as the map's.
template <shared_with_kernel K, shared_with_kernel V>
  requires std::default_initializable<V>
class typed_map {
  class assignment;

 public:
  using key_type = K;
  using mapped_type = V;
  using value_type = std::pair<K const&, V const&>;

  /// Of a closed map.
  typed_map() noexcept = default;

  /// The map itself.
  [[nodiscard]] map const& untyped() const noexcept { return map_; }

  /// The value of `key`, or nothing if the key is not there. Errors: `errc::closed`, `errc::not_loaded`, or the
  /// kernel's.
  [[nodiscard]] std::optional<V> lookup(K const& key) const {
    return detail::or_throw([&](error_code& ec, diagnostics& details) { return lookup(key, ec, details); });
  }
  /// @overload
  std::optional<V> lookup(K const& key, error_code& ec) const {
    diagnostics details;
    return lookup(key, ec, details);
  }
  /// @overload
  std::optional<V> lookup(K const& key, error_code& ec, diagnostics& details) const {
    std::optional<V> value{std::in_place};
    if (!map_.lookup(as_bytes(key), std::as_writable_bytes(std::span{&*value, 1}), ec, details)) value.reset();
    return value;
  }

  /// Inserts or replaces, as `flag` says. Errors: `errc::closed`, `errc::not_loaded`; the kernel's EEXIST, ENOENT,
  /// E2BIG (full) and others.
  void update(K const& key, V const& value, update_flag flag = update_flag::any) const {
    map_.update(as_bytes(key), as_bytes(value), flag);
  }
  /// @overload
  void update(K const& key, V const& value, update_flag flag, error_code& ec) const {
    map_.update(as_bytes(key), as_bytes(value), flag, ec);
  }
  /// @overload
  void update(K const& key, V const& value, update_flag flag, error_code& ec, diagnostics& details) const {
    map_.update(as_bytes(key), as_bytes(value), flag, ec, details);
  }

  /// True if the key is there. Errors: those of `lookup`.
  [[nodiscard]] bool contains(K const& key) const { return lookup(key).has_value(); }
  /// @overload
  bool contains(K const& key, error_code& ec) const { return lookup(key, ec).has_value(); }

  /// The value of `key`. Errors: those of `lookup`, and ENOENT if the key is not there.
  [[nodiscard]] V at(K const& key) const {
    return detail::or_throw([&](error_code& ec, diagnostics& details) { return at(key, ec, details); });
  }
  /// @overload
  V at(K const& key, error_code& ec) const {
    diagnostics details;
    return at(key, ec, details);
  }
  /// @overload
  V at(K const& key, error_code& ec, diagnostics& details) const {
    auto const found = lookup(key, ec, details);
    if (!found && !ec) detail::refuse_absent(map_, ec, details);
    return found.value_or(V{});
  }

  /// Inserts; false, and no error, if the key is there already. Errors: those of `update`.
  bool insert(K const& key, V const& value) const {
    return detail::or_throw([&](error_code& ec, diagnostics& details) { return insert(key, value, ec, details); });
  }
  /// @overload
  bool insert(K const& key, V const& value, error_code& ec) const {
    diagnostics details;
    return insert(key, value, ec, details);
  }
  /// @overload
  bool insert(K const& key, V const& value, error_code& ec, diagnostics& details) const {
    update(key, value, update_flag::no_exist, ec, details);
    return detail::unless_present(ec, details);
  }

  /// `update` with `update_flag::any`.
  void insert_or_assign(K const& key, V const& value) const { update(key, value); }
  /// @overload
  void insert_or_assign(K const& key, V const& value, error_code& ec) const {
    update(key, value, update_flag::any, ec);
  }
  /// @overload
  void insert_or_assign(K const& key, V const& value, error_code& ec, diagnostics& details) const {
    update(key, value, update_flag::any, ec, details);
  }

  /// What can be assigned to: `flows[key] = value` inserts or replaces. It is no value: reading is `lookup` or `at`.
  /// Errors: those of `update`.
  [[nodiscard]] assignment operator[](K const& key) const& noexcept { return assignment{*this, key}; }

  /// All entries, as an input range of pairs of references, which are valid until the next step. What is there from
  /// begin to end is visited once, whatever else is inserted or erased meanwhile, also by whoever walks; that may be
  /// visited or not. Hashes and arrays are read many entries a system call; of other kinds all keys are read first.
  /// Errors: `errc::closed`, `errc::not_loaded`, or the kernel's, thrown by `begin()` and by the steps.
  [[nodiscard]] auto entries() const { return walk<entry_of>{map_}; }
  /// @overload Ends the range at an error.
  [[nodiscard]] auto entries(error_code& ec) const {
    ec.clear();
    return walk<entry_of>{map_, &ec};
  }
  /// The keys of `entries()`.
  [[nodiscard]] auto keys() const { return walk<key_of>{map_}; }
  /// @overload
  [[nodiscard]] auto keys(error_code& ec) const {
    ec.clear();
    return walk<key_of>{map_, &ec};
  }
  /// The values of `entries()`.
  [[nodiscard]] auto values() const { return walk<value_of>{map_}; }
  /// @overload
  [[nodiscard]] auto values(error_code& ec) const {
    ec.clear();
    return walk<value_of>{map_, &ec};
  }

  /// The number of entries, counted by walking them all. Errors: those of `entries`.
  [[nodiscard]] std::size_t count() const {
    return detail::or_throw([&](error_code& ec, diagnostics& details) { return count(ec, details); });
  }
  /// @overload
  std::size_t count(error_code& ec) const {
    diagnostics details;
    return count(ec, details);
  }
  /// @overload
  std::size_t count(error_code& ec, diagnostics& details) const { return detail::count_entries(map_, ec, details); }

  /// Removes all entries that are there from begin to end; gives how many it removed. Errors: those of `entries` and
  /// `erase`.
  std::size_t clear() const {
    return detail::or_throw([&](error_code& ec, diagnostics& details) { return clear(ec, details); });
  }
  /// @overload
  std::size_t clear(error_code& ec) const {
    diagnostics details;
    return clear(ec, details);
  }
  /// @overload
  std::size_t clear(error_code& ec, diagnostics& details) const { return detail::erase_entries(map_, ec, details); }

  /// Updates many entries by one system call, if the kind has that, or else by one each, in their order; `values` has a
  /// value for each key. Gives how many were done: all, or those in front of the one that the error is about. Errors:
  /// those of `update`, `errc::size_mismatch` for other numbers of keys and values.
  std::size_t update_batch(std::span<K const> keys, std::span<V const> values,
                           update_flag flag = update_flag::any) const {
    return detail::or_throw(
        [&](error_code& ec, diagnostics& details) { return update_batch(keys, values, flag, ec, details); });
  }
  /// @overload
  std::size_t update_batch(std::span<K const> keys, std::span<V const> values, update_flag flag, error_code& ec) const {
    diagnostics details;
    return update_batch(keys, values, flag, ec, details);
  }
  /// @overload
  std::size_t update_batch(std::span<K const> keys, std::span<V const> values, update_flag flag, error_code& ec,
                           diagnostics& details) const {
    if (keys.size() != values.size()) {
      detail::refuse_counts(map_, keys.size(), values.size(), ec, details);
      return 0;
    }
    return detail::update_each(map_, std::as_bytes(keys), std::as_bytes(values), keys.size(), flag, ec, details);
  }

  /// Removes many entries likewise. A key that is not there is ENOENT, and ends it.
  std::size_t delete_batch(std::span<K const> keys) const {
    return detail::or_throw([&](error_code& ec, diagnostics& details) { return delete_batch(keys, ec, details); });
  }
  /// @overload
  std::size_t delete_batch(std::span<K const> keys, error_code& ec) const {
    diagnostics details;
    return delete_batch(keys, ec, details);
  }
  /// @overload
  std::size_t delete_batch(std::span<K const> keys, error_code& ec, diagnostics& details) const {
    return detail::erase_each(map_, std::as_bytes(keys), keys.size(), ec, details);
  }

  /// Removes the entry; false, and no error, if the key was not there. Errors: `errc::closed`, `errc::not_loaded`, or
  /// the kernel's.
  bool erase(K const& key) const { return map_.erase(as_bytes(key)); }
  /// @overload
  bool erase(K const& key, error_code& ec) const { return map_.erase(as_bytes(key), ec); }
  /// @overload
  bool erase(K const& key, error_code& ec, diagnostics& details) const {
    return map_.erase(as_bytes(key), ec, details);
  }

 private:
  friend class map;
  explicit typed_map(map m) noexcept : map_{std::move(m)} {}

  template <class T>
  static std::span<std::byte const> as_bytes(T const& object) noexcept {
    return std::as_bytes(std::span{&object, 1});
  }

  class assignment {
   public:
    assignment(assignment const&) = delete;
    assignment& operator=(assignment const&) = delete;
    void operator=(V const& value) && { map_.update(key_, value); }  // NOLINT: there is nothing to return

   private:
    friend class typed_map;
    assignment(typed_map const& m, K const& key) noexcept : map_{m}, key_{key} {}
    typed_map const& map_;
    K const& key_;
  };

  struct entry_of {
    using reference = value_type;
    static reference get(detail::map_pages const& pages, std::size_t i) noexcept {
      return {key_of::get(pages, i), value_of::get(pages, i)};
    }
  };
  struct key_of {
    using reference = K const&;
    static reference get(detail::map_pages const& pages, std::size_t i) noexcept {
      return *reinterpret_cast<K const*>(pages.key(i).data());
    }
  };
  struct value_of {
    using reference = V const&;
    static reference get(detail::map_pages const& pages, std::size_t i) noexcept {
      return *reinterpret_cast<V const*>(pages.value(i).data());
    }
  };

  // One walk: begin() may be called once.
  template <class What>
  class walk {
   public:
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
      friend class walk;
      bool ended() const noexcept { return walk_->ended_; }
      explicit iterator(walk* w) noexcept : walk_{w} {}
      walk* walk_ = nullptr;
    };

    [[nodiscard]] iterator begin() {
      turn();
      return iterator{this};
    }
    [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

   private:
    friend class typed_map;
    explicit walk(map const& m, error_code* ec = nullptr) : pages_{m}, ec_{ec} {}

    void step() {
      if (++at_ == pages_.count()) turn();
    }
    void turn() {
      at_ = 0;
      if (ec_ == nullptr) {
        ended_ = !detail::or_throw([&](error_code& ec, diagnostics& details) { return pages_.next(ec, details); });
      } else {
        diagnostics details;
        ended_ = !pages_.next(*ec_, details);
      }
    }

    detail::map_pages pages_;
    error_code* ec_;
    std::size_t at_ = 0;
    bool ended_ = false;
  };

  map map_;
};

template <class K, class V>
typed_map<K, V> map::typed(field_names names) const {
  return detail::or_throw([&](error_code& ec, diagnostics& details) { return typed<K, V>(names, ec, details); });
}

template <class K, class V>
typed_map<K, V> map::typed(field_names names, error_code& ec) const {
  diagnostics details;
  return typed<K, V>(names, ec, details);
}

template <class K, class V>
typed_map<K, V> map::typed(field_names names, error_code& ec, diagnostics& details) const {
  check_types(shape_of<K>(), shape_of<V>(), names, ec, details);
  return ec ? typed_map<K, V>{} : typed_map<K, V>{*this};
}

}  // namespace tinybpf
