// A map whose keys and values have C++ types.
#pragma once

#include <tinybpf/error.hpp>
#include <tinybpf/layout.hpp>
#include <tinybpf/map.hpp>
#include <tinybpf/types.hpp>

#include <concepts>
#include <cstddef>
#include <optional>
#include <span>
#include <utility>

namespace tinybpf {

/// A map whose keys are K and values V: `auto flows = obj.map("flows").typed<flow_key, flow_stats>()`.
///
/// Their sizes, and what BTF says of the map's types, are checked when the view is made, and nothing after that: every
/// operation is its system call on the very bytes of K and V. Padding in K is part of the key: give it a value.
///
/// A handle of the map, closed when the map is: then every call reports `errc::closed`. Thread-safety: as the map's.
template <shared_with_kernel K, shared_with_kernel V>
  requires std::default_initializable<V>
class typed_map {
 public:
  using key_type = K;
  using mapped_type = V;

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
