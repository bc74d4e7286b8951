// What a C++ type looks like in memory, so that it can be held against a type in BTF.
#pragma once

#include <boost/describe/enumerators.hpp>
#include <boost/describe/members.hpp>
#include <boost/describe/modifiers.hpp>
#include <boost/mp11/algorithm.hpp>
#include <boost/mp11/list.hpp>
#include <boost/pfr/core.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>
#include <typeinfo>
#include <utility>

namespace tinybpf {

/// What kind of thing a C++ type is, as far as that can be seen in BTF.
enum class layout_kind : std::uint8_t {
  integer,
  character,  ///< char and std::byte: compared without signedness.
  boolean,
  floating,
  enumeration,
  structure,
  union_,  ///< Only its size is known.
  array,
  opaque,  ///< Likewise: a type that says so.
};

struct type_layout;

/// A member of a struct.
struct field_layout {
  std::string_view name;  ///< Empty if only Boost.PFR knows the struct.
  std::size_t offset = 0;
  type_layout const* type = nullptr;
};

/// A type. Everything in it lives for ever.
struct type_layout {
  std::type_info const* type = nullptr;
  layout_kind kind = layout_kind::opaque;
  std::size_t size = 0;
  bool is_signed = false;                ///< Of integers and enumerations.
  std::span<field_layout const> fields;  ///< Of structs.
  type_layout const* element = nullptr;  ///< Of arrays,
  std::size_t count = 0;                 ///< and how many of them.
};

/// Specialise it for a type that is not to be looked into: then only its size is checked.
template <class T>
inline constexpr bool opaque_layout = false;

namespace detail {

struct anything {
  template <class T>
  constexpr operator T() const noexcept;  // NOLINT: never defined, and implicit is the point
};

template <class T, std::size_t... I>
constexpr bool takes_each(std::index_sequence<I...>) {
  return requires { T{{(static_cast<void>(I), anything{})}...}; };
}
template <class T, std::size_t... I>
constexpr bool takes_flat(std::index_sequence<I...>) {
  return requires { T{(static_cast<void>(I), anything{})...}; };
}

/// How many members an aggregate has. Each is given a brace of its own, so that an array takes one, too.
template <class T, std::size_t N = 0>
constexpr std::size_t count_members() {
  if constexpr (N < 128 && takes_each<T>(std::make_index_sequence<N + 1>{}))
    return count_members<T, N + 1>();
  else
    return N;
}

/// Without braces of their own, the elements of an array take one each.
template <class T>
constexpr bool has_array_member() {
  return takes_flat<T>(std::make_index_sequence<count_members<T>() + 1>{});
}

template <class>
inline constexpr bool is_std_array = false;
template <class T, std::size_t N>
inline constexpr bool is_std_array<std::array<T, N>> = true;

template <class T>
type_layout const& layout_of_any() noexcept;

/// Memory for a T that is never made: only the places of its members are asked for.
template <class T>
union unmade {
  unmade() noexcept : nothing{} {}
  ~unmade() {}
  char nothing;
  T value;
};

template <class T>
unmade<T> const sample{};

template <class T, class M>
std::size_t offset_in(M const& member) noexcept {
  return static_cast<std::size_t>(reinterpret_cast<std::byte const*>(&member) -
                                  reinterpret_cast<std::byte const*>(&sample<T>.value));
}

/// A pointer to a member is its offset, in every ABI that Linux has. A reference to a packed member could not be had.
template <class T, class Class, class M>
field_layout described_field(char const* name, M Class::*pointer) noexcept {
  M T::*const member = pointer;  // of a base, perhaps
  return {name, static_cast<std::size_t>(std::bit_cast<std::ptrdiff_t>(member)), &layout_of_any<std::remove_cv_t<M>>()};
}

/// What Boost.Describe knows: names, too.
template <class T>
std::span<field_layout const> described_fields() noexcept {
  using members =
      boost::describe::describe_members<T, boost::describe::mod_any_access | boost::describe::mod_inherited>;
  static auto const fields = []<class... D>(boost::mp11::mp_list<D...>) {
    return std::array<field_layout, sizeof...(D)>{described_field<T>(D::name, D::pointer)...};
  }(boost::mp11::mp_rename<members, boost::mp11::mp_list>{});
  return fields;
}

/// What Boost.PFR finds out about an aggregate.
template <class T>
std::span<field_layout const> plain_fields() noexcept {
  static auto const fields = []<std::size_t... I>(std::index_sequence<I...>) {
    return std::array<field_layout, sizeof...(I)>{
        field_layout{{},
                     offset_in<T>(boost::pfr::get<I>(sample<T>.value)),
                     &layout_of_any<std::remove_cv_t<boost::pfr::tuple_element_t<I, T>>>()}...};
  }(std::make_index_sequence<boost::pfr::tuple_size_v<T>>{});
  return fields;
}

template <class T>
std::span<field_layout const> fields_of() noexcept {
  if constexpr (boost::describe::has_describe_members<T>::value) {
    return described_fields<T>();
  } else {
    static_assert(std::is_aggregate_v<T>,
                  "describe this type's members with BOOST_DESCRIBE_STRUCT(T, (), (...)): it is no aggregate");
    static_assert(!has_array_member<T>(),
                  "describe this type's members with BOOST_DESCRIBE_STRUCT(T, (), (...)): it has C arrays");
    return plain_fields<T>();
  }
}

template <class T>
type_layout make_layout() noexcept {
  static_assert(!std::is_pointer_v<T>, "a pointer in the object is a std::uint64_t in C++");
  static_assert(!std::is_unbounded_array_v<T>,
                "leave the flexible array out of the description, and say size_rule::at_least in event_traits");
  type_layout l;
  l.type = &typeid(T);
  l.size = sizeof(T);
  if constexpr (opaque_layout<T>) {
    l.kind = layout_kind::opaque;
  } else if constexpr (std::is_array_v<T>) {
    l.kind = layout_kind::array;
    l.element = &layout_of_any<std::remove_cv_t<std::remove_extent_t<T>>>();
    l.count = std::extent_v<T>;
  } else if constexpr (is_std_array<T>) {
    l.kind = layout_kind::array;
    l.element = &layout_of_any<std::remove_cv_t<typename T::value_type>>();
    l.count = std::tuple_size_v<T>;
  } else if constexpr (std::is_same_v<T, bool>) {
    l.kind = layout_kind::boolean;
  } else if constexpr (std::is_same_v<T, char> || std::is_same_v<T, std::byte>) {
    l.kind = layout_kind::character;
  } else if constexpr (std::is_enum_v<T>) {
    l.kind = layout_kind::enumeration;
    l.is_signed = std::is_signed_v<std::underlying_type_t<T>>;
  } else if constexpr (std::is_integral_v<T>) {
    l.kind = layout_kind::integer;
    l.is_signed = std::is_signed_v<T>;
  } else if constexpr (std::is_floating_point_v<T>) {
    l.kind = layout_kind::floating;
  } else if constexpr (std::is_union_v<T>) {
    l.kind = layout_kind::union_;
  } else {
    l.kind = layout_kind::structure;
    l.fields = fields_of<T>();
  }
  return l;
}

template <class T>
type_layout const& layout_of_any() noexcept {
  static type_layout const layout = make_layout<T>();
  return layout;
}

}  // namespace detail

template <class E>
struct event_traits;

/// Which record sizes a type accepts.
enum class size_rule : std::uint8_t {
  exact,     ///< The record has exactly sizeof(E) bytes.
  at_least,  ///< The record may be longer: a header with a tail, which `record<E>::trailing()` gives.
};

/// Whether the names of fields have to agree, too, where those of the C++ type are known.
enum class field_names : std::uint8_t { check, ignore };

/// A type that can stand for bytes shared with the kernel: trivially copyable, and no pointer or reference.
template <class T>
concept shared_with_kernel =
    std::is_trivially_copyable_v<T> && std::is_object_v<T> && !std::is_pointer_v<T> && !std::is_member_pointer_v<T>;

/// How T looks in memory: the names, offsets, sizes and kinds of its members. With names for a struct that is described
/// with BOOST_DESCRIBE_STRUCT, and without for another aggregate; one that has C arrays or a base, is packed or has
/// bit-fields must be described. A member that has no name in C may have any in C++. Of a type that is not looked into,
/// a union or one that specialises `opaque_layout`, only place and size are checked: what the object has there may be
/// anything that ends within it, but no union and no field of the same name with another size. Bit-fields are not
/// checked at all: they cannot be described in C++ and are left out, and no other field may lie where the object has
/// some. Thread-safe.
template <shared_with_kernel T>
[[nodiscard]] type_layout const& layout_of() noexcept {
  return detail::layout_of_any<std::remove_cv_t<T>>();
}

/// What the library knows about a C++ type at run time.
struct type_shape {
  std::type_info const* type = nullptr;
  std::size_t size = 0;
  std::size_t alignment = 0;
  size_rule rule = size_rule::exact;
  type_layout const& (*layout)() noexcept = nullptr;
};

namespace detail {

template <class E>
constexpr size_rule size_rule_of() noexcept {
  if constexpr (requires { event_traits<E>::size; })
    return event_traits<E>::size;
  else
    return size_rule::exact;
}

}  // namespace detail

/// The shape of T. Costs nothing.
template <shared_with_kernel T>
[[nodiscard]] constexpr type_shape shape_of() noexcept {
  return {&typeid(T), sizeof(T), alignof(T), detail::size_rule_of<T>(), &layout_of<T>};
}

}  // namespace tinybpf
