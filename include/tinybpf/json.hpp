// Dynamic values as JSON.
#pragma once

#include <tinybpf/dynamic_value.hpp>

#include <boost/json/fwd.hpp>

namespace tinybpf {

/// Makes JSON of a value: `boost::json::value_from(v)`.
///
/// Structs and unions become objects with their members in order; the members of nameless ones stand among the others.
/// Arrays of char become text, up to the first NUL; bytes that are no UTF-8 become U+FFFD. Other arrays stay arrays.
/// Enumerations become their names, or numbers where there is no name; pointers and integers of more than 64 bits in
/// use "0x..."; what floating point has beside numbers becomes null, as does a value of nothing. Bytes without a type
/// become text in hexadecimal.
void tag_invoke(boost::json::value_from_tag const& tag, boost::json::value& to, dynamic_value const& v);

}  // namespace tinybpf
