// Types from either side as flat lists of fields, which can be compared and printed.
#pragma once

#include <tinybpf/layout.hpp>

#include <bpf/btf.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
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
  std::string path;  ///< "filter.ports"; empty if the names are not known.
  std::string type;  ///< In words, for people: "u32[4]".
  std::size_t offset = 0;
  std::size_t size = 0;  ///< Of all elements of this row's own array.
  row_kind kind = row_kind::opaque;
  bool is_signed = false;
  std::vector<std::size_t> counts;  ///< Of every array that it is in, the outermost first,
  std::vector<std::size_t> steps;   ///< and from one element to the next.
};

/// A type's rows in the order of their offsets.
struct layout_rows {
  std::vector<layout_row> rows;
  std::size_t size = 0;
  bool named = true;
};

layout_rows rows_of(type_layout const& type);

/// Nothing, and why, for a type that has no layout: one that is only declared, or that makes no sense.
std::optional<layout_rows> rows_of(btf const* types, std::uint32_t id, std::string& why);

}  // namespace tinybpf::detail
