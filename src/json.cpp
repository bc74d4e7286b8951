#include <tinybpf/json.hpp>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/string.hpp>
#include <boost/json/value.hpp>
#include <boost/json/value_from.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace tinybpf {
namespace {

namespace json = boost::json;

/// How many bytes a character of UTF-8 has that begins there; 0 if none does.
std::size_t character_length(std::string_view text) noexcept {
  auto const at = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  auto const first = at(0);
  auto const follows = [&](std::size_t i) { return (at(i) & 0xc0U) == 0x80U; };
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return follows(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    // Neither what fits into less, nor what stands for half a character of UTF-16.
    bool const odd = (first == 0xe0 && at(1) < 0xa0) || (first == 0xed && at(1) > 0x9f);
    return follows(1) && follows(2) && !odd ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    bool const odd = (first == 0xf0 && at(1) < 0x90) || (first == 0xf4 && at(1) > 0x8f);
    return follows(1) && follows(2) && follows(3) && !odd ? 4 : 0;
  }
  return 0;
}

json::string utf8(std::string_view text) {
  json::string valid;
  while (!text.empty()) {
    auto const length = character_length(text);
    if (length != 0)
      valid.append(text.substr(0, length));
    else
      valid.append("\xef\xbf\xbd");
    text.remove_prefix(length != 0 ? length : 1);
  }
  return valid;
}

json::value value_of(dynamic_value const& v);

void add_members(json::object& to, dynamic_value const& v) {
  for (auto const& f : v.fields()) {
    if (!f.name.empty())
      to[utf8(f.name)] = value_of(f.value);
    else if (f.value.type().resolve().has_members())
      add_members(to, f.value);  // a nameless bit-field is padding
  }
}

// With parentheses: a value in braces is an array of it.
json::value scalar(dynamic_value const& v, btf_type const& type) {
  auto const n = v.to_number();
  if (!n || type.kind() == btf_kind::ptr) return json::value(v.hexadecimal_number());
  if (type.is_bool()) return json::value(*n != 0);
  if (!n->is_integer()) {
    auto const f = n->as<double>();
    return std::isfinite(f) ? json::value(f) : json::value();
  }
  return n->is_negative() ? json::value(n->as<std::int64_t>()) : json::value(n->as<std::uint64_t>());
}

json::value value_of(dynamic_value const& v) {
  auto const type = v.type().resolve();
  if (type.kind() == btf_kind::array && !v.text()) {
    json::array elements;
    auto const count = v.size();
    elements.reserve(count);
    for (std::size_t i = 0; i < count; ++i) elements.push_back(value_of(v[i]));
    return json::value(std::move(elements));
  }
  if (type.has_members()) {
    json::object members;
    add_members(members, v);
    return json::value(std::move(members));
  }
  if (auto const text = v.text()) return json::value(utf8(*text));
  if (v.bytes().empty()) return json::value();
  return type ? scalar(v, type) : json::value(v.to_string());
}

}  // namespace

void tag_invoke(json::value_from_tag const& /*tag*/, json::value& to, dynamic_value const& v) { to = value_of(v); }

}  // namespace tinybpf
