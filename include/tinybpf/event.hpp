// What a stream's records are read as.
#pragma once

#include <tinybpf/layout.hpp>
#include <tinybpf/types.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

namespace tinybpf {

/// Tells event types apart that share a ring: the value that a field has in every record of the type.
template <class Class, class Field>
class event_tag {
 public:
  constexpr event_tag(Field Class::*field, Field value) noexcept : field_{field}, value_{value} {}

  /// True if the record has the field, and it has the value.
  [[nodiscard]] bool matches(bytes record) const noexcept {
    static constexpr Class sample{};
    auto const offset = static_cast<std::size_t>(reinterpret_cast<std::byte const*>(&(sample.*field_)) -
                                                 reinterpret_cast<std::byte const*>(&sample));
    if (record.size() < offset + sizeof(Field)) return false;
    Field found;
    std::memcpy(&found, record.data() + offset, sizeof found);
    return found == value_;
  }

 private:
  Field Class::*field_;
  Field value_;
};

/// Makes an event_tag: `tinybpf::tag(&exec_event::kind, event_kind::exec)`.
template <class Class, class Field>
[[nodiscard]] constexpr event_tag<Class, Field> tag(Field Class::*field, std::type_identity_t<Field> value) noexcept {
  return {field, value};
}

/// What the library needs to know about an event type and cannot see. Specialise it, with the members that apply:
///
///     template <>
///     struct tinybpf::event_traits<open_event> {
///       static constexpr auto size = tinybpf::size_rule::at_least;                 // exact unless said otherwise
///       static constexpr auto tag = tinybpf::tag(&open_event::kind, kind_open);  // none unless said otherwise
///     };
template <class E>
struct event_traits {};

/// Events that could not be handed over, since the stream last said so. Listed among the types of a read, it is
/// delivered before the first record behind the gap: exactly there in a perf buffer, whose kernel side marks the place,
/// and in a ring buffer before the first record that was read after the change was seen.
struct lost {
  int cpu = -1;  ///< Whose perf buffer had no room; -1 where losses are not counted per CPU.
  std::uint64_t count = 0;
};

template <class E = void>
class record;

namespace detail {

template <class>
inline constexpr bool is_view = false;
template <>
inline constexpr bool is_view<bytes> = true;
template <class E>
inline constexpr bool is_view<record<E>> = true;

// A record as the protocol sees it.
struct raw_record {
  std::byte const* data = nullptr;
  std::uint32_t size = 0;
  std::uint64_t position = 0;
};

template <class T>
struct alternative;

}  // namespace detail

/// A type that a record can be copied into: plain bytes, default-constructible.
template <class E>
concept event = shared_with_kernel<E> && std::default_initializable<E> && !detail::is_view<E> && !std::same_as<E, lost>;

/// What `try_next`, `read_some` and `next` can read: an event type, `bytes`, or a `record` of either.
template <class E>
concept readable = event<E> || detail::is_view<E>;

/// A record with all that is known about it: a view into the buffer.
///
/// It is valid until the next call on its buffer, or, from a `read_some` range, until the range moves on.
/// `record<>` accepts every size and has no typed value.
template <class E>
class record {
 public:
  /// A record of nothing.
  record() = default;

  /// The event. `record<>` has none.
  [[nodiscard]] std::add_lvalue_reference_t<E const> operator*() const noexcept
    requires(!std::is_void_v<E>)
  {
    return *operator->();
  }
  /// @overload
  [[nodiscard]] E const* operator->() const noexcept
    requires(!std::is_void_v<E>)
  {
    return reinterpret_cast<E const*>(raw_.data);
  }

  /// What follows the event: empty unless its size rule is `at_least`. For `record<>` the whole record. Through a perf
  /// buffer either may end in up to 7 bytes of the kernel's padding.
  [[nodiscard]] bytes trailing() const noexcept { return data().subspan(head_size); }
  /// The whole record.
  [[nodiscard]] bytes data() const noexcept { return {raw_.data, raw_.size}; }
  /// Where it begins in its ring or perf buffer, in bytes since that was made.
  [[nodiscard]] std::uint64_t position() const noexcept { return raw_.position; }
  /// The name of the map that it came through.
  [[nodiscard]] std::string_view map() const noexcept { return map_; }
  /// The CPU that wrote it, if it came through a perf buffer; -1 from ring buffers, which do not say.
  [[nodiscard]] int cpu() const noexcept { return cpu_; }

 private:
  friend struct detail::alternative<record>;
  record(detail::raw_record raw, std::string_view map, int cpu) noexcept : raw_{raw}, map_{map}, cpu_{cpu} {}

  static constexpr std::size_t head_size = [] {
    if constexpr (std::is_void_v<E>) {
      return std::size_t{0};
    } else {
      static_assert(event<E>, "an event type is trivially copyable and default-constructible");
      static_assert(alignof(E) <= 8, "records are aligned to 8 bytes: copy this type with next<E>(), or read bytes");
      return sizeof(E);
    }
  }();

  detail::raw_record raw_;
  std::string_view map_;
  int cpu_ = -1;
};

/// The text in a fixed array of characters, such as a task's `comm`: up to the first NUL, or all of it.
template <std::size_t N>
[[nodiscard]] constexpr std::string_view to_string_view(char const (&text)[N]) noexcept {
  std::string_view const all{text, N};
  return all.substr(0, all.find('\0'));
}

/// @overload For a tail of bytes.
[[nodiscard]] inline std::string_view to_string_view(bytes text) noexcept {
  std::string_view const all{reinterpret_cast<char const*>(text.data()), text.size()};
  return all.substr(0, all.find('\0'));
}

}  // namespace tinybpf
