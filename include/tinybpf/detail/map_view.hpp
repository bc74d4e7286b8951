// What the typed views of maps share: the check when they are made.
#pragma once

#include <tinybpf/error.hpp>
#include <tinybpf/layout.hpp>
#include <tinybpf/map.hpp>
#include <tinybpf/types.hpp>

#include <cstddef>
#include <initializer_list>
#include <span>
#include <utility>

namespace tinybpf::detail {

/// What a view is made for.
struct view_of {
  char const* name;                       ///< As in "a queue".
  std::initializer_list<map_type> kinds;  ///< That it may be of; empty: of all but per-CPU maps.
  type_shape const* key = nullptr;        ///< Null: not checked.
  type_shape const* value = nullptr;      ///< Likewise.
};

/// Holds a view against its map. Errors: `errc::closed`, `errc::wrong_map_type`, `errc::not_supported` (a view of one
/// value of a per-CPU map), `errc::size_mismatch`, `errc::type_mismatch`.
void check_view(map const& m, view_of const& view, field_names names, error_code& ec, diagnostics& details);

/// The same for a key or value that BTF has in another shape than C++, such as that of an LPM trie.
void check_key_size(map const& m, char const* name, std::size_t size, error_code& ec, diagnostics& details);

/// The number of possible CPUs; 0 if that cannot be found out.
std::size_t possible_cpus() noexcept;

/// Makes views of what was checked.
struct view_access {
  template <class View>
  static View make(map m) noexcept {
    return View{std::move(m)};
  }
};

template <class T>
std::span<std::byte const> bytes_of(T const& object) noexcept {
  return std::as_bytes(std::span{&object, 1});
}
template <class T>
std::span<std::byte> writable_bytes_of(T& object) noexcept {
  return std::as_writable_bytes(std::span{&object, 1});
}

}  // namespace tinybpf::detail
