// A number whose type is known at run time only.
#pragma once

#include <tinybpf/error.hpp>

#include <compare>
#include <concepts>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>

namespace tinybpf {

class number;

namespace detail {

template <class T>
concept arithmetic = std::is_arithmetic_v<T> && sizeof(T) <= sizeof(std::uint64_t);

[[noreturn]] void throw_out_of_range(number const& n);

}  // namespace detail

/// An integer of up to 64 bits, signed or not, or a double: a value of a map or field whose type BTF says.
///
/// It becomes a C++ number with `as`, which never changes it: what T cannot hold is an error. So is a fraction as an
/// integer, and an integer that floating point has to round; only double to float rounds. Thread-safe as an int is.
class number {
 public:
  /// 0.
  constexpr number() noexcept = default;
  /// Of any arithmetic type, with its value.
  template <detail::arithmetic T>
  constexpr number(T value) noexcept {  // NOLINT: a number is one
    if constexpr (std::is_floating_point_v<T>) {
      kind_ = kind::floating;
      floating_ = value;
    } else {
      if constexpr (std::is_signed_v<T>)
        if (value < 0) kind_ = kind::negative;
      bits_ = static_cast<std::uint64_t>(value);
    }
  }

  /// True unless it came from floating point.
  [[nodiscard]] constexpr bool is_integer() const noexcept { return kind_ != kind::floating; }
  /// True below 0.
  [[nodiscard]] constexpr bool is_negative() const noexcept {
    return kind_ == kind::negative || (kind_ == kind::floating && floating_ < 0);
  }

  /// True if `as<T>()` gives it unchanged, or a double rounded to a float that is neither infinite nor 0.
  template <detail::arithmetic T>
  [[nodiscard]] constexpr bool fits() const noexcept {
    if constexpr (std::is_floating_point_v<T>) {
      if (!is_integer()) return floating_to_floating<T>();
      // Exactly those integers whose bits all fit into the mantissa.
      auto magnitude = is_negative() ? ~bits_ + 1 : bits_;
      while (magnitude != 0 && magnitude % 2 == 0) magnitude /= 2;
      return magnitude >> std::numeric_limits<T>::digits == 0;
    } else {
      if (!is_integer()) return floating_to_integer<T>();
      if (is_negative())
        return std::is_signed_v<T> &&
               static_cast<std::int64_t>(bits_) >= static_cast<std::int64_t>(std::numeric_limits<T>::min());
      return bits_ <= static_cast<std::uint64_t>(std::numeric_limits<T>::max());
    }
  }

  /// As a T. Errors: `errc::out_of_range` if T cannot hold it.
  template <detail::arithmetic T>
  [[nodiscard]] T as() const {
    if (!fits<T>()) detail::throw_out_of_range(*this);
    return converted<T>();
  }
  /// @overload 0 after an error.
  template <detail::arithmetic T>
  T as(error_code& ec) const noexcept {
    ec.clear();
    if (fits<T>()) return converted<T>();
    ec = errc::out_of_range;
    return {};
  }

  /// In decimal; of floating point the shortest text that is the same number.
  [[nodiscard]] std::string to_string() const;

  /// By value, whatever both came from: 1 == 1.0, -1 < 1u.
  friend constexpr bool operator==(number const& a, number const& b) noexcept {
    return (a <=> b) == std::partial_ordering::equivalent;
  }
  /// @overload
  friend constexpr std::partial_ordering operator<=>(number const& a, number const& b) noexcept {
    if (a.is_integer() && b.is_integer()) {
      if (a.is_negative() != b.is_negative())
        return a.is_negative() ? std::partial_ordering::less : std::partial_ordering::greater;
      return a.bits_ <=> b.bits_;  // also of two negative ones
    }
    // long double holds every integer.
    return a.wide() <=> b.wide();
  }

 private:
  enum class kind : std::uint8_t { natural, negative, floating };

  constexpr long double wide() const noexcept {
    if (!is_integer()) return floating_;
    return is_negative() ? -static_cast<long double>(~bits_ + 1) : static_cast<long double>(bits_);
  }

  // Infinity and what is no number stay what they are.
  template <class T>
  constexpr bool floating_to_floating() const noexcept {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    constexpr double most = std::numeric_limits<T>::max();
    if (floating_ > most || floating_ < -most) return floating_ == infinity || floating_ == -infinity;
    return floating_ == 0 || static_cast<T>(floating_) != 0;
  }

  template <class T>
  constexpr bool floating_to_integer() const noexcept {
    if constexpr (std::is_same_v<T, bool>) {
      return floating_ == 0 || floating_ == 1;
    } else {
      // The first number that is too large: a power of two, which a double holds where it may not hold the one below.
      constexpr auto half = static_cast<T>(std::numeric_limits<T>::max() / 2 + 1);
      constexpr double above = 2 * static_cast<double>(half);
      constexpr double lowest = static_cast<double>(std::numeric_limits<T>::min());
      return floating_ >= lowest && floating_ < above && static_cast<double>(static_cast<T>(floating_)) == floating_;
    }
  }

  template <class T>
  constexpr T converted() const noexcept {
    if (!is_integer()) return static_cast<T>(floating_);
    return is_negative() ? static_cast<T>(static_cast<std::int64_t>(bits_)) : static_cast<T>(bits_);
  }

  kind kind_ = kind::natural;
  std::uint64_t bits_ = 0;  // two's complement
  double floating_ = 0;
};

}  // namespace tinybpf
