// What a C++ type looks like, so that it can be held against the BTF of an object.
#pragma once

#include <tinybpf/layout.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <typeinfo>

namespace tinybpf {

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
