// A map whose keys and values have C++ types.
#pragma once

#include <tinybpf/detail/map_pages.hpp>
#include <tinybpf/detail/map_view.hpp>
#include <tinybpf/detail/map_walk.hpp>
#include <tinybpf/error.hpp>
#include <tinybpf/layout.hpp>
#include <tinybpf/map.hpp>
#include <tinybpf/map_cursor.hpp>
#include <tinybpf/types.hpp>

#include <concepts>
#include <cstddef>
#include <iterator>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace tinybpf {

/// A map whose keys are K and values V: `auto flows = obj.map("flows").typed<flow_key, flow_stats>()`.
///
/// Their sizes, and what BTF says of the map's types, are checked when the view is made, and nothing after that: every
/// operation is its system call on the very bytes of K and V. Padding in K is part of the key: give it a value.
///
///     flows[key] = {1, 40};
///     if (auto const found = flows.lookup(key)) std::cout << found->packets;
///     for (auto const& [key, stats] : flows) ...
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
  using cursor = map_cursor<map_page<K, V>>;

  /// Of a closed map.
  typed_map() noexcept = default;

  /// The map itself.
  [[nodiscard]] map const& untyped() const noexcept { return map_; }

  /// The value of `key`, or nothing if the key is not there. Errors: `errc::closed`, `errc::not_loaded`, or the
  /// kernel's.
  [[nodiscard]] std::optional<V> lookup(K const& key) const {
    std::optional<V> value{std::in_place};
    if (!map_.lookup(detail::bytes_of(key), detail::writable_bytes_of(*value))) value.reset();
    return value;
  }
  /// @overload
  std::optional<V> lookup(K const& key, error_code& ec) const {
    std::optional<V> value{std::in_place};
    if (!map_.lookup(detail::bytes_of(key), detail::writable_bytes_of(*value), ec)) value.reset();
    return value;
  }
  /// @overload
  std::optional<V> lookup(K const& key, error_code& ec, diagnostics& details) const {
    std::optional<V> value{std::in_place};
    if (!map_.lookup(detail::bytes_of(key), detail::writable_bytes_of(*value), ec, details)) value.reset();
    return value;
  }

  /// Inserts or replaces, as `flag` says. Errors: `errc::closed`, `errc::not_loaded`; the kernel's EEXIST, ENOENT,
  /// E2BIG (full) and others.
  void update(K const& key, V const& value, update_flag flag = update_flag::any) const {
    map_.update(detail::bytes_of(key), detail::bytes_of(value), flag);
  }
  /// @overload
  void update(K const& key, V const& value, update_flag flag, error_code& ec) const {
    map_.update(detail::bytes_of(key), detail::bytes_of(value), flag, ec);
  }
  /// @overload
  void update(K const& key, V const& value, update_flag flag, error_code& ec, diagnostics& details) const {
    map_.update(detail::bytes_of(key), detail::bytes_of(value), flag, ec, details);
  }

  /// True if the key is there. Errors: those of `lookup`.
  [[nodiscard]] bool contains(K const& key) const { return lookup(key).has_value(); }
  /// @overload
  bool contains(K const& key, error_code& ec) const { return lookup(key, ec).has_value(); }
  /// @overload
  bool contains(K const& key, error_code& ec, diagnostics& details) const {
    return lookup(key, ec, details).has_value();
  }

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
  [[nodiscard]] auto entries() const { return detail::map_walk<entry_of>{map_}; }
  /// @overload Ends the range at an error.
  [[nodiscard]] auto entries(error_code& ec) const { return detail::map_walk<entry_of>{map_, &ec}; }
  /// @overload The map itself as that range.
  [[nodiscard]] auto begin() const { return detail::map_iterator<entry_of>{map_}; }
  /// @overload
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }
  /// The keys of `entries()`.
  [[nodiscard]] auto keys() const { return detail::map_walk<key_of>{map_}; }
  /// @overload
  [[nodiscard]] auto keys(error_code& ec) const { return detail::map_walk<key_of>{map_, &ec}; }
  /// The values of `entries()`.
  [[nodiscard]] auto values() const { return detail::map_walk<value_of>{map_}; }
  /// @overload
  [[nodiscard]] auto values(error_code& ec) const { return detail::map_walk<value_of>{map_, &ec}; }

  /// A walk like that on a loop: `while (auto const page = co_await cursor.next())`; see map_cursor.hpp. The loop has
  /// other things to do between any two pages. `entries` is how many a page has at most, unless the kernel cannot give
  /// fewer at once.
  [[nodiscard]] cursor async_entries(boost::asio::any_io_executor ex, std::size_t entries = 1024) const {
    return cursor{std::move(ex), detail::map_pages{map_, sizes, entries}};
  }
  /// The same, and what a page has is no longer in the map: each value that was ever stored is in one page, unless it
  /// was replaced or erased before. An LPM trie is looked up and then erased from, with a gap between the two. Errors:
  /// also `errc::not_supported` for arrays.
  [[nodiscard]] cursor async_drain(boost::asio::any_io_executor ex, std::size_t entries = 1024) const {
    return cursor{std::move(ex), detail::map_pages{map_, sizes, entries, detail::map_pages::mode::drain}};
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
  /// value for each key. Gives how many were done: all, or those in front of the one that the error is about, which
  /// `diagnostics::done` of what is thrown says, too. Errors:
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
      detail::refuse_counts(map_, "batch update", keys.size(), values.size(), ec, details);
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

  /// Reads entries by one system call, from `at` on, which it moves: the walk of `entries()` by hand. Gives how many
  /// there are now in `keys` and `values`: as many as fit, of a hash whole buckets. `at.ended()` once nothing is left.
  /// Hashes and arrays go by bucket or index, and no change leads them astray; an LPM trie goes from key to key, and
  /// begins anew when the last one was erased.
  /// Errors: those of `lookup`; `errc::size_mismatch` for other numbers of keys and values; ENOSPC if not even the next
  /// bucket fits; the kernel's for a kind without batches.
  std::size_t lookup_batch(batch_position& at, std::span<K> keys, std::span<V> values) const {
    return detail::or_throw(
        [&](error_code& ec, diagnostics& details) { return lookup_batch(at, keys, values, ec, details); });
  }
  /// @overload
  std::size_t lookup_batch(batch_position& at, std::span<K> keys, std::span<V> values, error_code& ec) const {
    diagnostics details;
    return lookup_batch(at, keys, values, ec, details);
  }
  /// @overload
  std::size_t lookup_batch(batch_position& at, std::span<K> keys, std::span<V> values, error_code& ec,
                           diagnostics& details) const {
    return detail::read_batch(map_, at, std::as_writable_bytes(keys), std::as_writable_bytes(values), keys.size(),
                              values.size(), detail::map_pages::mode::read, ec, details);
  }

  /// The same, and removes what it reads. Errors: those of `lookup_batch`; arrays and tries cannot do it.
  std::size_t lookup_and_delete_batch(batch_position& at, std::span<K> keys, std::span<V> values) const {
    return detail::or_throw(
        [&](error_code& ec, diagnostics& details) { return lookup_and_delete_batch(at, keys, values, ec, details); });
  }
  /// @overload
  std::size_t lookup_and_delete_batch(batch_position& at, std::span<K> keys, std::span<V> values,
                                      error_code& ec) const {
    diagnostics details;
    return lookup_and_delete_batch(at, keys, values, ec, details);
  }
  /// @overload
  std::size_t lookup_and_delete_batch(batch_position& at, std::span<K> keys, std::span<V> values, error_code& ec,
                                      diagnostics& details) const {
    return detail::read_batch(map_, at, std::as_writable_bytes(keys), std::as_writable_bytes(values), keys.size(),
                              values.size(), detail::map_pages::mode::drain, ec, details);
  }

  /// Takes the value of `key` out of the map; nothing if the key was not there. Errors: those of `lookup`; arrays and
  /// tries cannot do it.
  std::optional<V> lookup_and_delete(K const& key) const {
    return detail::or_throw([&](error_code& ec, diagnostics& details) { return lookup_and_delete(key, ec, details); });
  }
  /// @overload
  std::optional<V> lookup_and_delete(K const& key, error_code& ec) const {
    diagnostics details;
    return lookup_and_delete(key, ec, details);
  }
  /// @overload
  std::optional<V> lookup_and_delete(K const& key, error_code& ec, diagnostics& details) const {
    std::optional<V> value{std::in_place};
    if (!map_.lookup_and_delete(detail::bytes_of(key), detail::writable_bytes_of(*value), ec, details)) value.reset();
    return value;
  }

  /// Removes the entry; false, and no error, if the key was not there. Errors: `errc::closed`, `errc::not_loaded`, or
  /// the kernel's.
  bool erase(K const& key) const { return map_.erase(detail::bytes_of(key)); }
  /// @overload
  bool erase(K const& key, error_code& ec) const { return map_.erase(detail::bytes_of(key), ec); }
  /// @overload
  bool erase(K const& key, error_code& ec, diagnostics& details) const {
    return map_.erase(detail::bytes_of(key), ec, details);
  }

 private:
  friend struct detail::view_access;
  explicit typed_map(map m) noexcept : map_{std::move(m)} {}

  class assignment {
   public:
    assignment(assignment const&) = delete;
    assignment& operator=(assignment const&) = delete;
    void operator=(V const& value) && { map_.update(key_, value); }  // NOLINT: there is nothing to return

   private:
    friend class typed_map;
    assignment(typed_map const& m, K const& key) noexcept : map_{m}, key_{key} {}
    typed_map map_;  // by value: `auto slot = map[key]` is no value, but no trap either
    K key_;
  };

  static_assert(alignof(K) <= detail::page_alignment && alignof(V) <= detail::page_alignment);
  static constexpr detail::entry_sizes sizes{sizeof(K), sizeof(V), false};

  struct key_of {
    using reference = K const&;
    static constexpr auto sizes = typed_map::sizes;
    static reference get(detail::map_pages const& pages, std::size_t i) noexcept {
      return *reinterpret_cast<K const*>(pages.key(i).data());
    }
  };
  struct value_of {
    using reference = V const&;
    static constexpr auto sizes = typed_map::sizes;
    static reference get(detail::map_pages const& pages, std::size_t i) noexcept {
      return *reinterpret_cast<V const*>(pages.value(i).data());
    }
  };
  struct entry_of {
    using reference = value_type;
    static constexpr auto sizes = typed_map::sizes;
    static reference get(detail::map_pages const& pages, std::size_t i) noexcept {
      return {key_of::get(pages, i), value_of::get(pages, i)};
    }
  };

  map map_;
};

/// A map whose keys are K, and whose values are looked at as bytes: `map.typed<K>()`. In a per-CPU map they are those
/// of all CPUs, each at a multiple of 8. As of any typed map otherwise.
template <shared_with_kernel K>
class typed_map<K, bytes> {
 public:
  using key_type = K;
  using mapped_type = bytes;
  using value_type = std::pair<K const&, bytes>;

  /// Of a closed map.
  typed_map() noexcept = default;

  /// The map itself.
  [[nodiscard]] map const& untyped() const noexcept { return map_; }

  /// The value of `key`, `map::lookup_size()` bytes, or nothing if the key is not there. Errors: those of
  /// `map::lookup`.
  [[nodiscard]] std::optional<std::vector<std::byte>> lookup(K const& key) const {
    return map_.lookup(detail::bytes_of(key));
  }
  /// @overload
  std::optional<std::vector<std::byte>> lookup(K const& key, error_code& ec) const {
    return map_.lookup(detail::bytes_of(key), ec);
  }
  /// @overload
  std::optional<std::vector<std::byte>> lookup(K const& key, error_code& ec, diagnostics& details) const {
    return map_.lookup(detail::bytes_of(key), ec, details);
  }

  /// True if the key is there. Errors: those of `lookup`.
  [[nodiscard]] bool contains(K const& key) const { return map_.contains(detail::bytes_of(key)); }
  /// @overload
  bool contains(K const& key, error_code& ec) const { return map_.contains(detail::bytes_of(key), ec); }
  /// @overload
  bool contains(K const& key, error_code& ec, diagnostics& details) const {
    return map_.contains(detail::bytes_of(key), ec, details);
  }

  /// The value of `key`. Errors: those of `lookup`, and ENOENT if the key is not there.
  [[nodiscard]] std::vector<std::byte> at(K const& key) const { return map_.at(detail::bytes_of(key)); }
  /// @overload
  std::vector<std::byte> at(K const& key, error_code& ec) const { return map_.at(detail::bytes_of(key), ec); }
  /// @overload
  std::vector<std::byte> at(K const& key, error_code& ec, diagnostics& details) const {
    return map_.at(detail::bytes_of(key), ec, details);
  }

  /// Inserts or replaces, as `flag` says. Errors: those of `map::update`.
  void update(K const& key, bytes value, update_flag flag = update_flag::any) const {
    map_.update(detail::bytes_of(key), value, flag);
  }
  /// @overload
  void update(K const& key, bytes value, update_flag flag, error_code& ec) const {
    map_.update(detail::bytes_of(key), value, flag, ec);
  }
  /// @overload
  void update(K const& key, bytes value, update_flag flag, error_code& ec, diagnostics& details) const {
    map_.update(detail::bytes_of(key), value, flag, ec, details);
  }

  /// Inserts; false, and no error, if the key is there already. Errors: those of `update`.
  bool insert(K const& key, bytes value) const { return map_.insert(detail::bytes_of(key), value); }
  /// @overload
  bool insert(K const& key, bytes value, error_code& ec) const { return map_.insert(detail::bytes_of(key), value, ec); }
  /// @overload
  bool insert(K const& key, bytes value, error_code& ec, diagnostics& details) const {
    return map_.insert(detail::bytes_of(key), value, ec, details);
  }

  /// Removes the entry; false, and no error, if the key was not there. Errors: those of `map::erase`.
  bool erase(K const& key) const { return map_.erase(detail::bytes_of(key)); }
  /// @overload
  bool erase(K const& key, error_code& ec) const { return map_.erase(detail::bytes_of(key), ec); }
  /// @overload
  bool erase(K const& key, error_code& ec, diagnostics& details) const {
    return map_.erase(detail::bytes_of(key), ec, details);
  }

  /// All entries, as `typed_map::entries()` of other values has them.
  [[nodiscard]] auto entries() const { return detail::map_walk<entry_of>{map_}; }
  /// @overload Ends the range at an error.
  [[nodiscard]] auto entries(error_code& ec) const { return detail::map_walk<entry_of>{map_, &ec}; }
  /// @overload The map itself as that range.
  [[nodiscard]] auto begin() const { return detail::map_iterator<entry_of>{map_}; }
  /// @overload
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

 private:
  friend struct detail::view_access;
  explicit typed_map(map m) noexcept : map_{std::move(m)} {}

  static_assert(alignof(K) <= detail::page_alignment);

  struct entry_of {
    using reference = value_type;
    static constexpr detail::entry_sizes sizes{sizeof(K), 0, false};
    static reference get(detail::map_pages const& pages, std::size_t i) noexcept {
      return {*reinterpret_cast<K const*>(pages.key(i).data()), pages.value(i)};
    }
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
  auto const key = shape_of<K>();
  if constexpr (std::is_same_v<V, bytes>) {
    detail::check_view(*this, {.name = "a view of bytes", .kinds = {}, .key = &key, .value = nullptr}, names, ec,
                       details);
  } else {
    auto const value = shape_of<V>();
    detail::check_view(*this, {.name = "a typed view", .kinds = {}, .key = &key, .value = &value}, names, ec, details);
  }
  return ec ? typed_map<K, V>{} : detail::view_access::make<typed_map<K, V>>(*this);
}

}  // namespace tinybpf
