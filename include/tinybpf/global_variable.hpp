// Global variables of BPF programs.
#pragma once

#include <tinybpf/error.hpp>
#include <tinybpf/layout.hpp>
#include <tinybpf/object.hpp>

#include <atomic>
#include <concepts>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace tinybpf {

namespace detail {

/// Compilers take an atomic's alignment from its type: of a type with less, clang calls a library.
template <class T>
concept atomic_in_place =
    std::atomic_ref<T>::is_always_lock_free && alignof(T) >= std::atomic_ref<T>::required_alignment;

/// Where a variable is: in its section's initial value until the object is loaded, and then in the map's own memory.
struct global_place {
  std::shared_ptr<map_core> section;
  std::size_t offset = 0;
  std::size_t size = 0;
  std::string name;

  /// As a whole, if the size is that of a number.
  void read(void* value, error_code& ec, diagnostics& details) const;
  void write(void const* value, error_code& ec, diagnostics& details) const;
  /// The variable's memory for writing, if it is so aligned; or null and what is wrong.
  void* writable(std::size_t alignment, error_code& ec, diagnostics& details) const;

 private:
  bool usable(bool writing, error_code& ec, diagnostics& details) const;
  std::byte* find(bool writing, error_code& ec, diagnostics& details) const;
};

}  // namespace detail

/// A global variable of an object's programs: `obj.global<config>("cfg") = {.port = 443}`.
///
/// Before the object is loaded it is the value that the variable will have at first; from then on the very memory that
/// the programs see. Constants (.rodata) can be set before load only, and what the kernel was configured with
/// (.kconfig) can be read after load only.
///
/// A handle; it keeps the object's state. Closed when the object is: then every call reports `errc::closed`. One that
/// programs change meanwhile is read and written as a whole if it has 1, 2, 4 or 8 bytes and lies at a multiple of
/// that; of a larger one a part may be newer than another. Thread-safety: as that of a variable, which is atomic if it
/// has such a size.
template <shared_with_kernel T>
  requires std::default_initializable<T>
class global_variable {
 public:
  using value_type = T;

  /// Of a closed object.
  global_variable() noexcept = default;

  /// The value. Errors: `errc::closed`; `errc::not_loaded` for what the kernel was configured with, before load.
  [[nodiscard]] T load() const {
    return detail::or_throw([&](error_code& ec, diagnostics& details) { return load(ec, details); });
  }
  /// @overload
  T load(error_code& ec) const {
    diagnostics details;
    return load(ec, details);
  }
  /// @overload
  T load(error_code& ec, diagnostics& details) const {
    T value{};
    place_.read(&value, ec, details);
    return value;
  }
  /// The value likewise.
  [[nodiscard]] operator T() const { return load(); }  // NOLINT: it stands for the variable

  /// Sets the value. Errors: `errc::closed`; EPERM for a constant once the object is loaded, for what the kernel was
  /// configured with, and if the section was frozen; `errc::not_supported` after load if all variables of the section
  /// are static, because libbpf does not share it then.
  void store(T const& value) const {
    detail::or_throw([&](error_code& ec, diagnostics& details) { store(value, ec, details); });
  }
  /// @overload
  void store(T const& value, error_code& ec) const {
    diagnostics details;
    store(value, ec, details);
  }
  /// @overload
  void store(T const& value, error_code& ec, diagnostics& details) const { place_.write(&value, ec, details); }
  /// Sets the value likewise.
  global_variable const& operator=(T const& value) const {  // NOLINT: it stands for the variable
    store(value);
    return *this;
  }
  global_variable(global_variable const&) = default;
  global_variable(global_variable&&) noexcept = default;
  /// Means another variable from now on, as of any handle. Not of one that has no name: in `obj.global<int>("a") =
  /// obj.global<int>("b")` the value is assigned.
  global_variable& operator=(global_variable const&) & = default;
  /// @overload
  global_variable& operator=(global_variable&&) & noexcept = default;
  ~global_variable() = default;

  /// The variable's memory, for adding to it and the like. Before load it is that of the initial value, and worth
  /// nothing once the object is loaded; after load it lives until the object is closed, or its last handle goes.
  /// For numbers, and for structs of such a size that are aligned to it (`alignas(8)`), as compilers ask. Errors: those
  /// of `store`; `errc::not_supported` for a struct that the object does not align as much.
  [[nodiscard]] std::atomic_ref<T> atomic() const
    requires detail::atomic_in_place<T>
  {
    auto* const memory = detail::or_throw([&](error_code& ec, diagnostics& details) {
      return place_.writable(std::atomic_ref<T>::required_alignment, ec, details);
    });
    return std::atomic_ref<T>{*static_cast<T*>(memory)};
  }
  /// @overload Nothing after an error.
  std::optional<std::atomic_ref<T>> atomic(error_code& ec) const
    requires detail::atomic_in_place<T>
  {
    diagnostics details;
    return atomic(ec, details);
  }
  /// @overload
  std::optional<std::atomic_ref<T>> atomic(error_code& ec, diagnostics& details) const
    requires detail::atomic_in_place<T>
  {
    auto* const memory = place_.writable(std::atomic_ref<T>::required_alignment, ec, details);
    if (memory == nullptr) return std::nullopt;
    return std::optional<std::atomic_ref<T>>{std::in_place, *static_cast<T*>(memory)};
  }

 private:
  friend class object;
  explicit global_variable(detail::global_place place) noexcept : place_{std::move(place)} {}

  detail::global_place place_;
};

template <shared_with_kernel T>
  requires std::default_initializable<T>
global_variable<T> object::global(std::string_view name, field_names names) const {
  return detail::or_throw([&](error_code& ec, diagnostics& details) { return global<T>(name, names, ec, details); });
}

template <shared_with_kernel T>
  requires std::default_initializable<T>
global_variable<T> object::global(std::string_view name, error_code& ec) const {
  diagnostics details;
  return global<T>(name, field_names::check, ec, details);
}

template <shared_with_kernel T>
  requires std::default_initializable<T>
global_variable<T> object::global(std::string_view name, field_names names, error_code& ec,
                                  diagnostics& details) const {
  auto place = find_global(name, shape_of<T>(), names, ec, details);
  return ec ? global_variable<T>{} : global_variable<T>{std::move(place)};
}

}  // namespace tinybpf
