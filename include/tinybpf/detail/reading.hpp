// How a record is read as one of a list of types.
#pragma once

#include <tinybpf/detail/perf_layout.hpp>
#include <tinybpf/detail/tokens.hpp>
#include <tinybpf/event.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <variant>

namespace tinybpf::detail {

/// A record and where it came from.
struct found_record {
  raw_record raw;
  std::string_view map;
  std::type_info const* type = nullptr;  ///< What its channel was declared to carry, or null.
  int cpu = -1;                          ///< Of a perf buffer; -1 for rings.

  /// The length that it would have with so many bytes of data: samples of perf buffers are padded.
  [[nodiscard]] std::size_t length_for(std::size_t size) const noexcept {
    return cpu < 0 ? size : perf_layout::padded(size);
  }
};

template <class E>
inline constexpr bool has_tag = requires { event_traits<E>::tag; };

// Each readable type T: whether a record claims to be one (`alone`: no other type is asked for), whether its size is
// right, and how it is copied (`take`) or referred to (`refer`). A view stays in the buffer while it is used.
// `event_type` is what is held against the object's BTF, void if nothing is; `alignment` is what a view asks for.
template <class T>
struct alternative {
  static_assert(event<T>, "an event type is trivially copyable and default-constructible");
  using event_type = T;
  using reference = T const&;
  static constexpr bool view = false;
  static constexpr std::size_t alignment = alignof(T);

  static bool claims(found_record const& r, bool alone) noexcept {
    if (r.type != nullptr && *r.type != typeid(T)) return false;
    if constexpr (has_tag<T>) {
      return event_traits<T>::tag.matches({r.raw.data, r.raw.size});
    } else {
      return alone || r.type != nullptr;
    }
  }
  static bool fits(found_record const& r) noexcept {
    return size_rule_of<T>() == size_rule::exact ? r.raw.size == r.length_for(sizeof(T)) : r.raw.size >= sizeof(T);
  }
  static T take(found_record const& r) noexcept {
    T e;
    copy(r.raw, e);
    return e;
  }
  static void copy(raw_record const& r, T& to) noexcept { std::memcpy(static_cast<void*>(&to), r.data, sizeof(T)); }
  static reference refer(found_record const& r) noexcept {
    static_assert(alignof(T) <= 8, "records are aligned to 8 bytes: copy this type with next<E>(), or read bytes");
    return *reinterpret_cast<T const*>(r.raw.data);
  }
};

template <>
struct alternative<bytes> {
  using event_type = void;
  using reference = bytes;
  static constexpr bool view = true;
  static constexpr std::size_t alignment = 1;

  static bool claims(found_record const&, bool) noexcept { return true; }
  static bool fits(found_record const&) noexcept { return true; }
  static bytes take(found_record const& r) noexcept { return {r.raw.data, r.raw.size}; }
  static bytes refer(found_record const& r) noexcept { return take(r); }
};

template <class E>
struct alternative<record<E>> {
  using event_type = E;
  using reference = record<E>;
  static constexpr bool view = true;
  static constexpr std::size_t alignment = [] {
    if constexpr (std::is_void_v<E>)
      return std::size_t{1};
    else
      return alignof(E);
  }();

  static bool claims(found_record const& r, bool alone) noexcept {
    if constexpr (std::is_void_v<E>) {
      return true;
    } else {
      return alternative<E>::claims(r, alone);
    }
  }
  static bool fits(found_record const& r) noexcept {
    if constexpr (std::is_void_v<E>) {
      return true;
    } else {
      return alternative<E>::fits(r);
    }
  }
  static record<E> take(found_record const& r) noexcept {
    auto raw = r.raw;
    if constexpr (!std::is_void_v<E>)
      if (size_rule_of<E>() == size_rule::exact) raw.size = sizeof(E);  // what follows is padding
    return {raw, r.map, r.cpu};
  }
  static record<E> refer(found_record const& r) noexcept { return take(r); }
};

// No record is one: it is made up when losses were seen.
template <>
struct alternative<lost> {
  using event_type = void;
  using reference = lost;
  static constexpr bool view = false;
  static constexpr std::size_t alignment = 1;

  static bool claims(found_record const&, bool) noexcept { return false; }
  static bool fits(found_record const&) noexcept { return false; }
  static lost take(found_record const&) noexcept { return {}; }
  static lost refer(found_record const&) noexcept { return {}; }
};

/// What became of matching a record against a list: the index of the type, or one of the two below.
enum class match : std::int8_t { unknown = -1, wrong_size = -2 };

/// The list of types that a read asks for. One type is read as itself, several as a std::variant.
template <class... Ts>
struct reading {
  static_assert(sizeof...(Ts) != 0, "name the type to read: next<exec_event>(), or next<bytes>() for raw records");
  static_assert(sizeof...(Ts) < 100);

  static constexpr bool single = sizeof...(Ts) == 1;
  static constexpr bool plain = single && (event<Ts> && ...);  // nothing to do but to copy
  // All records that fit have one length, and nothing but that is asked of them. They can be viewed where they are.
  static constexpr bool uniform =
      plain && ((size_rule_of<Ts>() == size_rule::exact && !has_tag<Ts> && alignof(Ts) <= 8) && ...);
  static constexpr bool wants_losses = (std::is_same_v<Ts, lost> || ...);
  static constexpr bool view = (alternative<Ts>::view || ...);
  // What viewing them asks for; what asks for more than 8 bytes is only ever copied.
  static constexpr std::size_t alignment =
      std::min<std::size_t>(8, std::max({std::size_t{1}, alternative<Ts>::alignment...}));
  static constexpr std::size_t records = (std::size_t{!std::is_same_v<Ts, lost>} + ...);
  static_assert(records != 0, "lost stands beside the types of records, not alone");

  using first = std::tuple_element_t<0, std::tuple<Ts...>>;
  using value = std::conditional_t<single, first, std::variant<Ts...>>;
  using reference = std::conditional_t<single, typename alternative<first>::reference, std::variant<Ts...>>;

  /// The index of the type that the record is, or what is wrong with it.
  static int select(found_record const& r) noexcept {
    int found = static_cast<int>(match::unknown);
    int index = 0;
    auto const try_one = [&]<class T>(std::type_identity<T>) {
      if (!alternative<T>::claims(r, records == 1)) {
        ++index;
        return false;
      }
      found = alternative<T>::fits(r) ? index : static_cast<int>(match::wrong_size);
      return true;
    };
    static_cast<void>((try_one(std::type_identity<Ts>{}) || ...));
    return found;
  }

  static bool fits(found_record const& r) noexcept { return select(r) >= 0; }

  /// The record as a value; it fits.
  static value take(found_record const& r) noexcept {
    if constexpr (single) {
      return alternative<first>::take(r);
    } else {
      return take_at<0>(r, select(r));
    }
  }

  /// The record as what a range gives; it fits.
  static reference refer(found_record const& r) noexcept {
    if constexpr (single) {
      return alternative<first>::refer(r);
    } else {
      return take(r);
    }
  }

 private:
  template <std::size_t I>
  static value take_at(found_record const& r, int index) noexcept {
    if constexpr (I + 1 == sizeof...(Ts)) {
      return value{std::in_place_index<I>, alternative<std::tuple_element_t<I, std::tuple<Ts...>>>::take(r)};
    } else {
      if (index != static_cast<int>(I)) return take_at<I + 1>(r, index);
      return value{std::in_place_index<I>, alternative<std::tuple_element_t<I, std::tuple<Ts...>>>::take(r)};
    }
  }
};

template <class T>
inline constexpr bool is_readable = (event<T> && !is_executor<T>) || is_view<T> || std::is_same_v<T, lost>;

template <class... Ts>
struct reading_list {};

// The template arguments of an awaiting verb: types to read, and perhaps, at the end, the executor type of the awaiting
// coroutine.
template <class Read, class... Args>
struct split_arguments;

template <class... Read>
struct split_arguments<reading_list<Read...>> {
  using types = reading_list<Read...>;
  using executor = boost::asio::any_io_executor;
};
template <class... Read, class T, class... Rest>
  requires is_readable<T>
struct split_arguments<reading_list<Read...>, T, Rest...> : split_arguments<reading_list<Read..., T>, Rest...> {};
template <class... Read, class Executor>
  requires is_executor<Executor>
struct split_arguments<reading_list<Read...>, Executor> {
  using types = reading_list<Read...>;
  using executor = Executor;
};

}  // namespace tinybpf::detail
