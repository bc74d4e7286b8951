// Values whose type only BTF knows.
#pragma once

#include <tinybpf/btf.hpp>
#include <tinybpf/error.hpp>
#include <tinybpf/number.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace tinybpf {

struct dynamic_field;

/// Bytes and the BTF type that says what they mean: an event, a map's key or value, or a part of one.
///
///     auto const e = co_await events.next_dynamic("exec_event");
///     std::cout << e["pid"].as<int>() << ' ' << e["comm"].as<std::string>() << '\n' << e.to_string() << '\n';
///
/// A value: copies and parts share the bytes, which nobody changes. Without a type, as default-constructed or for a map
/// of which BTF says nothing, it is bytes alone. Thread-safe as far as nobody assigns to it meanwhile.
class dynamic_value {
 public:
  /// No type and no bytes.
  dynamic_value() noexcept = default;

  /// Copies the bytes. There may be more than the type has: they are the elements of a flexible array at its end, or
  /// else left out. Errors: `errc::size_mismatch` for fewer bytes, `errc::type_mismatch` for a type that has no values
  /// or, in damaged BTF, makes no sense.
  dynamic_value(btf_type type, std::span<std::byte const> data);
  /// @overload Without type and bytes after an error.
  dynamic_value(btf_type type, std::span<std::byte const> data, error_code& ec);
  /// @overload
  dynamic_value(btf_type type, std::span<std::byte const> data, error_code& ec, diagnostics& details);

  /// False without bytes.
  explicit operator bool() const noexcept { return !bytes().empty(); }
  /// The type as declared; void if it has none.
  [[nodiscard]] btf_type const& type() const noexcept { return type_; }
  /// The bytes that it is in; of a bit-field those that it touches. Valid as long as a copy or a part of the value.
  [[nodiscard]] std::span<std::byte const> bytes() const noexcept;

  /// The number of a struct's or union's members, or of an array's elements; 0 for everything else.
  [[nodiscard]] std::size_t size() const;
  /// A struct's or union's member, also one of a nameless struct or union in it. Errors: `errc::not_found` with near
  /// names.
  [[nodiscard]] dynamic_value operator[](std::string_view field) const;
  /// The same, or nothing if there is none.
  [[nodiscard]] std::optional<dynamic_value> find(std::string_view field) const;
  /// An array's element. Errors: `errc::out_of_range`.
  template <std::integral Index>  // any: 0 is no null pointer, and an unsigned one needs no cast
  [[nodiscard]] dynamic_value operator[](Index index) const {
    return element(static_cast<std::size_t>(index));
  }
  /// All members of a struct or union in their order.
  [[nodiscard]] std::vector<dynamic_field> fields() const;

  /// The number that it is: of integers, bool, characters, enumerations, bit-fields, floating point and pointers.
  /// Nothing for everything else, and for integers of more than 64 bits in use.
  [[nodiscard]] std::optional<number> to_number() const noexcept;
  /// The text of an array of characters, up to the first NUL, or the name of an enumeration's value. Nothing for
  /// everything else.
  [[nodiscard]] std::optional<std::string> text() const;

  /// As a C++ number, bool or enumeration, or, as std::string, its `text()`. Errors: `errc::type_mismatch` for what is
  /// none, `errc::out_of_range` for a number that T cannot hold.
  template <class T>
    requires(detail::arithmetic<T> || std::is_enum_v<T> || std::is_same_v<T, std::string>)
  [[nodiscard]] T as() const {
    return detail::or_throw([this](error_code& ec, diagnostics& details) { return as<T>(ec, details); });
  }
  /// @overload
  template <class T>
    requires(detail::arithmetic<T> || std::is_enum_v<T> || std::is_same_v<T, std::string>)
  T as(error_code& ec) const {
    diagnostics details;
    return as<T>(ec, details);
  }
  /// @overload
  template <class T>
    requires(detail::arithmetic<T> || std::is_enum_v<T> || std::is_same_v<T, std::string>)
  T as(error_code& ec, diagnostics& details) const {
    if constexpr (std::is_same_v<T, std::string>) {
      return checked_text(ec, details);
    } else if constexpr (std::is_enum_v<T>) {
      return static_cast<T>(as<std::underlying_type_t<T>>(ec, details));
    } else {
      auto const n = checked_number(ec, details);
      if (ec) return {};
      if (!n.template fits<T>()) refuse_number(n, ec, details);
      return ec ? T{} : n.template as<T>();
    }
  }

  /// The number in hexadecimal, however wide it is: "0x1f". What pointers look like.
  [[nodiscard]] std::string hexadecimal_number() const;

  /// All of it in the manner of libbpf, in one line: `(struct event){.pid = (__u32)7, .comm = (char[16])"cat"}`. Bytes
  /// without a type in hexadecimal. json.hpp makes JSON of it.
  [[nodiscard]] std::string to_string() const;

 private:
  dynamic_value(dynamic_value const& whole, btf_member const& m);
  dynamic_value(dynamic_value const& whole, btf_type element, std::size_t offset, std::size_t size);
  dynamic_value element(std::size_t index) const;
  number checked_number(error_code& ec, diagnostics& details) const;
  std::string checked_text(error_code& ec, diagnostics& details) const;
  void refuse_number(number const& n, error_code& ec, diagnostics& details) const;

  btf_type type_;
  std::shared_ptr<std::vector<std::byte> const> storage_;
  std::size_t offset_ = 0;
  std::size_t size_ = 0;
  std::uint32_t bit_offset_ = 0;  // below 8
  std::uint32_t bit_size_ = 0;    // 0 unless it is a bit-field
};

/// A member of a value.
struct dynamic_field {
  std::string_view name;  ///< Empty for a nameless struct or union. Valid as long as the value.
  dynamic_value value;
};

}  // namespace tinybpf
