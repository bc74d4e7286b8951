#include <tinybpf/dynamic_value.hpp>

#include "detail/btf_tables.hpp"
#include "detail/report.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

namespace tinybpf {
namespace {

using detail::report;

std::string hexadecimal(std::span<std::byte const> data) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  text.reserve(2 * data.size());
  for (auto const b : data) {
    text += digits[std::to_integer<unsigned>(b) >> 4U];
    text += digits[std::to_integer<unsigned>(b) & 15U];
  }
  return text;
}

/// `count` bits, the first of which is bit `offset` of the bytes as compilers count them.
std::uint64_t bits_of(std::span<std::byte const> data, std::uint32_t offset, std::uint32_t count) noexcept {
  std::uint64_t value = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    auto const at = offset + i;
    auto const byte = std::to_integer<std::uint64_t>(data[at / 8]);
    if constexpr (std::endian::native == std::endian::little)
      value |= (byte >> at % 8 & 1U) << i;
    else
      value = value << 1U | (byte >> (7 - at % 8) & 1U);
  }
  return value;
}

number integer(std::uint64_t bits, std::uint32_t width, bool is_signed) noexcept {
  if (!is_signed || width == 0) return bits;
  if (width < 64 && (bits >> (width - 1) & 1U) != 0) bits |= ~std::uint64_t{0} << width;
  return static_cast<std::int64_t>(bits);
}

template <class T>
T loaded(std::span<std::byte const> data) noexcept {
  T value;
  std::memcpy(&value, data.data(), sizeof value);
  return value;
}

/// Nothing if it has more than 64 bits in use.
std::optional<number> wide_integer(std::span<std::byte const> data, bool is_signed) noexcept {
  auto low = loaded<std::uint64_t>(data);
  auto high = loaded<std::uint64_t>(data.subspan(8));
  if constexpr (std::endian::native == std::endian::big) std::swap(low, high);
  if (high == 0) return number{low};
  if (is_signed && high == ~std::uint64_t{0} && static_cast<std::int64_t>(low) < 0)
    return number{static_cast<std::int64_t>(low)};
  return std::nullopt;
}

bool is_text(btf_type const& array) noexcept {
  return array.kind() == btf_kind::array && array.target().resolve().is_char();
}

// Also those of nameless members.
void add_names(btf_type const& of, std::vector<std::string>& names, int depth) {
  for (auto const& m : of.members())
    if (!m.name.empty())
      names.emplace_back(m.name);
    else if (depth < 32)  // damaged types that are deeper have no values
      add_names(m.type.resolve(), names, depth + 1);
}

/// As a string of C.
void append_quoted(std::string& to, std::string_view text) {
  to += '"';
  for (char const c : text) {
    if (c == '"' || c == '\\') to += '\\';
    if (c >= ' ' && c <= '~') {
      to += c;
    } else {
      constexpr std::string_view names = "nrt";
      auto const name = std::string_view{"\n\r\t"}.find(c);
      to += '\\';
      if (name != std::string_view::npos)
        to += names[name];
      else
        to += "x" + hexadecimal(std::as_bytes(std::span{&c, 1}));
    }
  }
  to += '"';
}

std::string cast_to(btf_type const& type) {
  if (type.has_members() && type.name().empty()) return "(" + std::string{tinybpf::to_string(type.kind())} + ")";
  return "(" + type.to_string() + ")";
}

// As libbpf's btf_dump__dump_type_data, which cuts an array of bytes off behind the first zero, and in some versions
// all arrays of bytes behind that one.
void append(std::string& to, dynamic_value const& v) {
  auto const type = v.type().resolve();
  auto const list = [&to](char open, char close, auto const& each, auto const& one) {
    to += open;
    bool first = true;
    for (auto const& e : each) {
      if (!std::exchange(first, false)) to += ", ";
      one(e);
    }
    to += close;
  };
  if (!type) {
    to += hexadecimal(v.bytes());
  } else if (type.has_members()) {
    list('{', '}', v.fields(), [&to](dynamic_field const& f) {
      if (!f.name.empty()) (to += '.').append(f.name) += " = ";
      to += cast_to(f.value.type());
      append(to, f.value);
    });
  } else if (is_text(type)) {
    append_quoted(to, *v.text());
  } else if (type.kind() == btf_kind::array) {
    std::vector<dynamic_value> elements;
    for (std::size_t i = 0; i < v.size(); ++i) elements.push_back(v[i]);
    list('[', ']', elements, [&to](dynamic_value const& e) { append(to, e); });
  } else if (auto const name = v.text()) {
    to += *name;
  } else if (auto const n = v.to_number(); n && type.is_bool()) {
    to += *n != 0 ? "true" : "false";
  } else if (n && type.kind() != btf_kind::ptr) {
    to += n->to_string();
  } else {
    to += v.hexadecimal_number();
  }
}

}  // namespace

dynamic_value::dynamic_value(btf_type type, std::span<std::byte const> data) {
  detail::or_throw([&](error_code& ec, diagnostics& details) {
    *this = dynamic_value{std::move(type), data, ec, details};
  });
}

dynamic_value::dynamic_value(btf_type type, std::span<std::byte const> data, error_code& ec) {
  diagnostics details;
  *this = dynamic_value{std::move(type), data, ec, details};
}

dynamic_value::dynamic_value(btf_type type, std::span<std::byte const> data, error_code& ec, diagnostics& details) {
  detail::begin(ec, details);
  if (type.kind() == btf_kind::var) type = type.target();
  if (type) {
    auto const& flaw = detail::btf_access::tables(type)->flaw_of(type.id());
    if (!flaw.empty()) {
      report(ec, details, errc::type_mismatch, "'" + type.to_string() + "' " + flaw + ": it has no values");
      return;
    }
    if (data.size() < type.size()) {
      details.expected_size = type.size();
      details.actual_size = data.size();
      report(ec, details, errc::size_mismatch,
             "a value of '" + type.to_string() + "' has " + std::to_string(type.size()) + " bytes, not " +
                 std::to_string(data.size()));
      return;
    }
  }
  if (type && !detail::ends_flexibly(detail::btf_access::tables(type)->raw, type.id())) data = data.first(type.size());
  storage_ = std::make_shared<std::vector<std::byte> const>(data.begin(), data.end());
  type_ = std::move(type);
  size_ = data.size();
}

dynamic_value::dynamic_value(dynamic_value const& whole, btf_type element, std::size_t offset, std::size_t size)
    : type_{std::move(element)}, storage_{whole.storage_}, offset_{whole.offset_ + offset}, size_{size} {}

dynamic_value::dynamic_value(dynamic_value const& whole, btf_member const& m)
    : dynamic_value{whole, m.type, static_cast<std::size_t>(m.bit_offset / 8), m.type.size()} {
  bit_offset_ = static_cast<std::uint32_t>(m.bit_offset % 8);
  bit_size_ = m.bit_size;
  if (bit_size_ != 0)
    size_ = (bit_offset_ + bit_size_ + 7) / 8;
  else if (auto const* const types = detail::btf_access::tables(whole.type_)->raw;
           detail::ends_flexibly(types, m.type.id()) &&
           detail::is_last(types, whole.type_.id(), m.type.id(), m.bit_offset))
    size_ = whole.offset_ + whole.size_ - offset_;  // all the rest
}

std::span<std::byte const> dynamic_value::bytes() const noexcept {
  return storage_ ? std::span{*storage_}.subspan(offset_, size_) : std::span<std::byte const>{};
}

std::size_t dynamic_value::size() const {
  auto const type = type_.resolve();
  if (type.kind() == btf_kind::array) {
    if (type.count() != 0) return type.count();
    auto const each = type.target().size();
    return each != 0 ? size_ / each : 0;
  }
  return type.has_members() ? type.members().size() : 0;
}

dynamic_value dynamic_value::operator[](std::string_view field) const {
  if (auto found = find(field)) return *std::move(found);
  diagnostics details;
  add_names(type_.resolve(), details.names, 0);
  details.message = "'" + type_.to_string() + "' has no member '" + std::string{field} + "'";
  details.hint = detail::near_names(field, details.names);
  detail::throw_error(errc::not_found, std::move(details));
}

std::optional<dynamic_value> dynamic_value::find(std::string_view field) const {
  auto const m = type_.member(field);
  return m ? std::optional{dynamic_value{*this, *m}} : std::nullopt;
}

dynamic_value dynamic_value::element(std::size_t index) const {
  auto const type = type_.resolve();
  if (type.kind() != btf_kind::array || index >= size()) {
    diagnostics details;
    details.message = "'" + type_.to_string() + "' has no element " + std::to_string(index);
    detail::throw_error(errc::out_of_range, std::move(details));
  }
  auto const each = type.target().size();
  return {*this, type.target(), index * each, each};
}

std::vector<dynamic_field> dynamic_value::fields() const {
  std::vector<dynamic_field> all;
  for (auto const& m : type_.resolve().members()) all.push_back({m.name, dynamic_value{*this, m}});
  return all;
}

std::optional<number> dynamic_value::to_number() const noexcept {
  auto const type = type_.resolve();
  auto const data = bytes();
  if (data.empty()) return std::nullopt;
  switch (type.kind()) {
    case btf_kind::int_:
    case btf_kind::enum_:
    case btf_kind::enum64:
    case btf_kind::ptr: {
      if (bit_size_ > 64) return std::nullopt;
      if (bit_size_ != 0) return integer(bits_of(data, bit_offset_, bit_size_), bit_size_, type.is_signed());
      if (size_ == 16) return wide_integer(data, type.is_signed());
      if (size_ > 8) return std::nullopt;
      auto const width = static_cast<std::uint32_t>(8 * size_);
      return integer(bits_of(data, 0, width), width, type.is_signed());
    }
    case btf_kind::float_:
      if (size_ == sizeof(float)) return loaded<float>(data);
      if (size_ == sizeof(double)) return loaded<double>(data);
      return std::nullopt;
    default:
      return std::nullopt;
  }
}

std::optional<std::string> dynamic_value::text() const {
  auto const type = type_.resolve();
  if (is_text(type)) {
    std::string_view const all{reinterpret_cast<char const*>(bytes().data()), bytes().size()};
    return std::string{all.substr(0, all.find('\0'))};
  }
  if (type.kind() != btf_kind::enum_ && type.kind() != btf_kind::enum64) return std::nullopt;
  auto const n = to_number();
  for (auto const& e : type.enumerators()) {
    auto const value = type.is_signed() ? number{e.value} : number{static_cast<std::uint64_t>(e.value)};
    if (n == value) return std::string{e.name};
  }
  return std::nullopt;
}

number dynamic_value::checked_number(error_code& ec, diagnostics& details) const {
  detail::begin(ec, details);
  if (auto const n = to_number()) return *n;
  auto const kind = type_.resolve().kind();
  bool const wide = kind == btf_kind::int_ || kind == btf_kind::float_;
  report(ec, details, wide && !bytes().empty() ? errc::out_of_range : errc::type_mismatch,
         wide ? "a '" + type_.to_string() + "' of " + std::to_string(size_) + " bytes fits no number of C++"
              : "a '" + type_.to_string() + "' is no number");
  return {};
}

std::string dynamic_value::checked_text(error_code& ec, diagnostics& details) const {
  detail::begin(ec, details);
  if (auto t = text()) return *std::move(t);
  report(ec, details, errc::type_mismatch, "a '" + type_.to_string() + "' is no text",
         "arrays of char and the named values of enumerations are; to_string() shows everything");
  return {};
}

void dynamic_value::refuse_number(number const& n, error_code& ec, diagnostics& details) const {
  report(ec, details, errc::out_of_range,
         n.to_string() + ", a '" + type_.to_string() + "', does not fit the type that is asked for");
}

std::string dynamic_value::hexadecimal_number() const {
  auto const data = bytes();
  std::vector<std::byte> digits(data.begin(), data.end());
  if constexpr (std::endian::native == std::endian::little) std::reverse(digits.begin(), digits.end());
  auto const text = hexadecimal(digits);
  auto const first = text.find_first_not_of('0');
  return "0x" + (first == std::string::npos ? "0" : text.substr(first));
}

std::string dynamic_value::to_string() const {
  if (bytes().empty()) return {};
  std::string text;
  if (type_) text = cast_to(type_);
  append(text, *this);
  return text;
}

}  // namespace tinybpf
