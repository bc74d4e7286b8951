// Maps without keys: queues, stacks and bloom filters.
#pragma once

#include <tinybpf/detail/map_view.hpp>
#include <tinybpf/error.hpp>
#include <tinybpf/layout.hpp>
#include <tinybpf/map.hpp>
#include <tinybpf/types.hpp>

#include <concepts>
#include <optional>
#include <span>
#include <utility>

namespace tinybpf {

/// A queue (first in, first out) or a stack (last in, first out) of values V.
///
///     tinybpf::queue_map<job> jobs{obj.map("jobs")};
///     jobs.push({.id = 7});
///     while (auto const j = jobs.pop()) ...
///
/// Size and type are checked when it is made, as by `map::typed`. A handle of the map, closed when the map is: then
/// every call reports `errc::closed`. Thread-safety: as the map's.
template <shared_with_kernel V>
  requires std::default_initializable<V>
class queue_map {
 public:
  using value_type = V;

  /// Of a closed map.
  queue_map() noexcept = default;
  /// Errors: `errc::closed`, `errc::wrong_map_type`, `errc::size_mismatch`, `errc::type_mismatch`.
  explicit queue_map(map m, field_names names = field_names::check) {
    detail::or_throw([&](error_code& ec, diagnostics& details) { open(m, names, ec, details); });
  }
  /// @overload Closed after an error.
  queue_map(map m, field_names names, error_code& ec, diagnostics& details) { open(m, names, ec, details); }
  /// @overload
  queue_map(map m, error_code& ec) {
    diagnostics details;
    open(m, field_names::check, ec, details);
  }

  /// The map itself.
  [[nodiscard]] map const& untyped() const noexcept { return map_; }

  /// Adds a value. `update_flag::exist` makes room for it in a full map by dropping the oldest. Errors: `errc::closed`,
  /// `errc::not_loaded`; the kernel's E2BIG (full), EINVAL (`update_flag::no_exist` means nothing here) and others.
  void push(V const& value, update_flag flag = update_flag::any) const {
    map_.update({}, detail::bytes_of(value), flag);
  }
  /// @overload
  void push(V const& value, update_flag flag, error_code& ec) const {
    map_.update({}, detail::bytes_of(value), flag, ec);
  }
  /// @overload
  void push(V const& value, update_flag flag, error_code& ec, diagnostics& details) const {
    map_.update({}, detail::bytes_of(value), flag, ec, details);
  }

  /// Takes the next value; nothing if there is none. Errors: `errc::closed`, `errc::not_loaded`, or the kernel's.
  std::optional<V> pop() const {
    return detail::or_throw([&](error_code& ec, diagnostics& details) { return pop(ec, details); });
  }
  /// @overload
  std::optional<V> pop(error_code& ec) const {
    diagnostics details;
    return pop(ec, details);
  }
  /// @overload
  std::optional<V> pop(error_code& ec, diagnostics& details) const {
    std::optional<V> value{std::in_place};
    if (!map_.lookup_and_delete({}, detail::writable_bytes_of(*value), ec, details)) value.reset();
    return value;
  }

  /// The next value, which stays; nothing if there is none. Errors: as of `pop`.
  [[nodiscard]] std::optional<V> peek() const {
    return detail::or_throw([&](error_code& ec, diagnostics& details) { return peek(ec, details); });
  }
  /// @overload
  std::optional<V> peek(error_code& ec) const {
    diagnostics details;
    return peek(ec, details);
  }
  /// @overload
  std::optional<V> peek(error_code& ec, diagnostics& details) const {
    std::optional<V> value{std::in_place};
    if (!map_.lookup({}, detail::writable_bytes_of(*value), ec, details)) value.reset();
    return value;
  }

 private:
  void open(map& m, field_names names, error_code& ec, diagnostics& details) {
    auto const value = shape_of<V>();
    detail::check_view(
        m, {.name = "a queue view", .kinds = {map_type::queue, map_type::stack}, .key = nullptr, .value = &value},
        names, ec, details);
    if (!ec) map_ = std::move(m);
  }

  map map_;
};

/// A bloom filter of values V: says of a value that it is surely not there, or may be.
///
/// As queue_map in all else.
template <shared_with_kernel V>
  requires std::default_initializable<V>
class bloom_filter {
 public:
  using value_type = V;

  /// Of a closed map.
  bloom_filter() noexcept = default;
  /// Errors: `errc::closed`, `errc::wrong_map_type`, `errc::size_mismatch`, `errc::type_mismatch`.
  explicit bloom_filter(map m, field_names names = field_names::check) {
    detail::or_throw([&](error_code& ec, diagnostics& details) { open(m, names, ec, details); });
  }
  /// @overload Closed after an error.
  bloom_filter(map m, field_names names, error_code& ec, diagnostics& details) { open(m, names, ec, details); }
  /// @overload
  bloom_filter(map m, error_code& ec) {
    diagnostics details;
    open(m, field_names::check, ec, details);
  }

  /// The map itself.
  [[nodiscard]] map const& untyped() const noexcept { return map_; }

  /// Adds a value, for good. Errors: `errc::closed`, `errc::not_loaded`, or the kernel's.
  void push(V const& value) const { map_.update({}, detail::bytes_of(value)); }
  /// @overload
  void push(V const& value, error_code& ec) const { map_.update({}, detail::bytes_of(value), update_flag::any, ec); }
  /// @overload
  void push(V const& value, error_code& ec, diagnostics& details) const {
    map_.update({}, detail::bytes_of(value), update_flag::any, ec, details);
  }

  /// False if the value was surely never added. Errors: as of `push`.
  [[nodiscard]] bool may_contain(V const& value) const {
    return detail::or_throw([&](error_code& ec, diagnostics& details) { return may_contain(value, ec, details); });
  }
  /// @overload
  bool may_contain(V const& value, error_code& ec) const {
    diagnostics details;
    return may_contain(value, ec, details);
  }
  /// @overload
  bool may_contain(V value, error_code& ec, diagnostics& details) const {
    return map_.lookup({}, detail::writable_bytes_of(value), ec, details);
  }

 private:
  void open(map& m, field_names names, error_code& ec, diagnostics& details) {
    auto const value = shape_of<V>();
    detail::check_view(
        m, {.name = "a bloom filter view", .kinds = {map_type::bloom_filter}, .key = nullptr, .value = &value}, names,
        ec, details);
    if (!ec) map_ = std::move(m);
  }

  map map_;
};

}  // namespace tinybpf
