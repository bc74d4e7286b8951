// Arrays that programs and user space see in the same memory.
#pragma once

#include <tinybpf/detail/map_view.hpp>
#include <tinybpf/error.hpp>
#include <tinybpf/layout.hpp>
#include <tinybpf/map.hpp>

#include <atomic>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

namespace tinybpf {

namespace detail {

/// Memory of an array, and how many values are in it.
struct array_memory {
  std::shared_ptr<void> mapping;
  std::size_t count = 0;
  std::string name;
};

array_memory map_array(map const& m, type_shape const& value, bool writable, field_names names, error_code& ec,
                       diagnostics& details);
void refuse_index(std::string const& name, std::size_t index, std::size_t count, error_code& ec, diagnostics& details);

}  // namespace detail

/// An array map declared with BPF_F_MMAPABLE, in the memory of this process: reading and writing are no system calls.
///
///     tinybpf::shared_array<std::uint64_t> hits{obj.map("hits")};
///     std::cout << hits.atomic(0).load(std::memory_order_relaxed);
///
/// With `V const` it is mapped for reading alone, as a map that is frozen has to be. Programs change it at any time:
/// `atomic` is for values that they change, the rest for those that stand still. It owns its mapping, which outlives
/// the map's handle and object. Move-only; moved from or default-constructed it is empty. Thread-safety: as that of an
/// array of V.
template <class V>
  requires shared_with_kernel<std::remove_const_t<V>>
class shared_array {
 public:
  using value_type = std::remove_const_t<V>;
  /// From one value to the next: the kernel rounds up to 8 bytes.
  static constexpr std::size_t stride = (sizeof(V) + 7) / 8 * 8;

  /// Empty.
  shared_array() noexcept = default;
  /// Errors: `errc::closed`, `errc::not_loaded`, `errc::wrong_map_type` (no array, or not BPF_F_MMAPABLE),
  /// `errc::size_mismatch`, `errc::type_mismatch`; EPERM for writing to a frozen map.
  explicit shared_array(map const& m, field_names names = field_names::check) {
    detail::or_throw([&](error_code& ec, diagnostics& details) { open(m, names, ec, details); });
  }
  /// @overload Empty after an error.
  shared_array(map const& m, field_names names, error_code& ec, diagnostics& details) { open(m, names, ec, details); }
  /// @overload
  shared_array(map const& m, error_code& ec) {
    diagnostics details;
    open(m, field_names::check, ec, details);
  }
  shared_array(shared_array&& other) noexcept : memory_{std::exchange(other.memory_, {})} {}
  shared_array& operator=(shared_array&& other) noexcept {
    memory_ = std::exchange(other.memory_, {});
    return *this;
  }
  ~shared_array() = default;

  /// How many values.
  [[nodiscard]] std::size_t size() const noexcept { return memory_.count; }
  /// True if it is mapped.
  explicit operator bool() const noexcept { return memory_.mapping != nullptr; }

  /// The value of that index, which must be less than `size()`.
  [[nodiscard]] V& operator[](std::size_t index) const noexcept {
    return *reinterpret_cast<V*>(static_cast<std::byte*>(memory_.mapping.get()) + index * stride);
  }
  /// The same, checked. Errors: `errc::out_of_range`.
  [[nodiscard]] V& at(std::size_t index) const {
    if (index >= size())
      detail::or_throw([&](error_code& ec, diagnostics& details) {
        detail::refuse_index(memory_.name, index, memory_.count, ec, details);
      });
    return (*this)[index];
  }
  /// @overload Null after an error.
  V* at(std::size_t index, error_code& ec) const {
    diagnostics details;
    return at(index, ec, details);
  }
  /// @overload
  V* at(std::size_t index, error_code& ec, diagnostics& details) const {
    ec.clear();
    details = {};
    if (index < size()) return &(*this)[index];
    detail::refuse_index(memory_.name, index, memory_.count, ec, details);
    return nullptr;
  }
  /// The value of that index, which must be less than `size()`, for access that programs and threads may share.
  [[nodiscard]] std::atomic_ref<V> atomic(std::size_t index) const noexcept
    requires(!std::is_const_v<V> && std::atomic_ref<V>::is_always_lock_free)
  {
    return std::atomic_ref<V>{(*this)[index]};
  }
  /// The same of an array that is only read.
  [[nodiscard]] value_type load(std::size_t index, std::memory_order order = std::memory_order_relaxed) const noexcept
    requires(std::atomic_ref<value_type>::is_always_lock_free)
  {
    return std::atomic_ref<value_type>{const_cast<value_type&>((*this)[index])}.load(order);
  }

  /// All values, if they lie one behind another: their size is a multiple of 8.
  [[nodiscard]] std::span<V> span() const noexcept
    requires(stride == sizeof(V))
  {
    return {static_cast<V*>(memory_.mapping.get()), size()};
  }

 private:
  void open(map const& m, field_names names, error_code& ec, diagnostics& details) {
    memory_ = detail::map_array(m, shape_of<value_type>(), !std::is_const_v<V>, names, ec, details);
  }

  detail::array_memory memory_;
};

}  // namespace tinybpf
