// Maps whose keys and values only BTF knows.
#pragma once

#include <tinybpf/btf.hpp>
#include <tinybpf/dynamic_value.hpp>
#include <tinybpf/error.hpp>
#include <tinybpf/map.hpp>
#include <tinybpf/number.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

namespace tinybpf {

/// A key and what is stored under it.
struct dynamic_entry {
  dynamic_value key;
  std::vector<dynamic_value> values;  ///< One, or in a per-CPU map that of each possible CPU.

  /// The value; in a per-CPU map that of CPU 0.
  [[nodiscard]] dynamic_value const& value() const noexcept { return values.front(); }
};

/// A map, read by what BTF says of its keys and values: `obj.map("stats").dynamic()`. What BTF does not know is bytes
/// without a type.
///
/// A handle of the map, closed when the map is: then every call reports `errc::closed`. Thread-safety: as the map's.
class dynamic_map {
 public:
  /// Of a closed map.
  dynamic_map() noexcept = default;
  /// Of any map.
  explicit dynamic_map(map m);

  /// The types; void if BTF does not know them.
  [[nodiscard]] btf_type const& key_type() const noexcept { return key_type_; }
  /// @overload
  [[nodiscard]] btf_type const& value_type() const noexcept { return value_type_; }

  /// What is stored under a number or under a key that an entry has; nothing if the key is not there. Errors: those of
  /// `map::lookup`; for a number `errc::no_btf`, `errc::type_mismatch`, `errc::out_of_range`.
  [[nodiscard]] std::optional<dynamic_entry> lookup(number key) const;
  /// @overload
  std::optional<dynamic_entry> lookup(number key, error_code& ec) const;
  /// @overload
  std::optional<dynamic_entry> lookup(number key, error_code& ec, diagnostics& details) const;
  /// @overload
  [[nodiscard]] std::optional<dynamic_entry> lookup(dynamic_value const& key) const;
  /// @overload
  std::optional<dynamic_entry> lookup(dynamic_value const& key, error_code& ec) const;
  /// @overload
  std::optional<dynamic_entry> lookup(dynamic_value const& key, error_code& ec, diagnostics& details) const;

  /// All entries. Those that are there from begin to end are in it once; what is inserted or erased meanwhile may be or
  /// not. Errors: `errc::closed`, `errc::not_loaded`, or the kernel's, such as EOPNOTSUPP for a map that cannot
  /// be walked.
  [[nodiscard]] std::vector<dynamic_entry> entries() const;
  /// @overload
  std::vector<dynamic_entry> entries(error_code& ec) const;
  /// @overload
  std::vector<dynamic_entry> entries(error_code& ec, diagnostics& details) const;

 private:
  std::vector<dynamic_value> values_of(std::span<std::byte const> stored) const;
  std::optional<dynamic_entry> entry(dynamic_value key, error_code& ec, diagnostics& details) const;

  map map_;
  btf_type key_type_;
  btf_type value_type_;
};

}  // namespace tinybpf
