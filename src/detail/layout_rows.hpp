// Types from either side as flat lists of fields, which can be compared and printed.
#pragma once

#include <tinybpf/layout.hpp>

#include <bpf/btf.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tinybpf::detail {

/// What a row can be told to be; each side uses those that it knows.
enum class row_kind : std::uint8_t {
  integer,
  character,
  boolean,
  floating,
  enumeration,
  pointer,
  union_,
  opaque,    // looked at no further
  bits,      // a bit-field
  flexible,  // an array without an end
};

/// A scalar, an array of them, or something that is not looked into; of structs only what is in them is listed.
struct layout_row {
  std::string path;  ///< "filter.ports", as far as the names are known.
  std::string type;  ///< In words, for people: "u32[4]".
  std::size_t offset = 0;
  std::size_t size = 0;  ///< Of one element.
  row_kind kind = row_kind::opaque;
  bool is_signed = false;
  bool named = true;                ///< Whether `path` is the whole name.
  std::vector<std::size_t> counts;  ///< Of every array that it is in, the outermost first,
  std::vector<std::size_t> steps;   ///< and from one element to the next.

  /// From the first element's begin to the last one's end. Other fields may be between: those of an array of structs.
  [[nodiscard]] std::size_t span() const;
  /// ", every 16 bytes" where elements do not follow upon each other.
  [[nodiscard]] std::string spacing() const;
};

/// A type's rows in the order of their offsets.
struct layout_rows {
  std::vector<layout_row> rows;
  std::size_t size = 0;
  bool structure = false;  ///< The rows are fields, not the type itself.
};

/// Sorts by what `key` says, and leaves what is alike in its order. (std::stable_sort of libstdc++ 12 uses what newer
/// compilers warn of.)
template <class T, class Key>
void sort_by(std::vector<T>& items, Key key) {
  std::vector<std::size_t> order(items.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return std::pair{key(items[a]), a} < std::pair{key(items[b]), b};
  });
  std::vector<T> sorted;
  sorted.reserve(items.size());
  for (auto const i : order) sorted.push_back(std::move(items[i]));
  items = std::move(sorted);
}

layout_rows rows_of(type_layout const& type);

/// Nothing, and why, for a type that has no layout: one that is only declared, or that makes no sense.
std::optional<layout_rows> rows_of(::btf const* types, std::uint32_t id, std::string& why);

}  // namespace tinybpf::detail
