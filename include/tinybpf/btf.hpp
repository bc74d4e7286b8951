// What a C++ type looks like, so that it can be held against the BTF of an object.
#pragma once

#include <cstddef>
#include <type_traits>
#include <typeinfo>

namespace tinybpf {

/// What the library knows about a C++ type at run time.
struct type_shape {
  std::type_info const* type;
  std::size_t size;
  std::size_t alignment;
};

/// A type that can stand for bytes shared with the kernel: trivially copyable, and no pointer or reference.
template <class T>
concept shared_with_kernel =
    std::is_trivially_copyable_v<T> && std::is_object_v<T> && !std::is_pointer_v<T> && !std::is_member_pointer_v<T>;

/// The shape of T. Costs nothing.
template <shared_with_kernel T>
[[nodiscard]] type_shape shape_of() noexcept {
  return {&typeid(T), sizeof(T), alignof(T)};
}

}  // namespace tinybpf
