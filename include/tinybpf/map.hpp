// One map of a BPF object.
#pragma once

#include <tinybpf/error.hpp>
#include <tinybpf/types.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tinybpf {

namespace detail {
struct map_core;
struct handle_access;
}  // namespace detail

/// What the kernel says about a map.
struct map_info {
  map_info() = default;

  std::uint32_t id = 0;
  map_type type = map_type::unspec;
  std::string name;               ///< As the kernel keeps it: the first 15 characters.
  std::uint32_t key_size = 0;     ///< Bytes.
  std::uint32_t value_size = 0;   ///< Bytes; of one CPU's value in a per-CPU map.
  std::uint32_t max_entries = 0;  ///< For ring buffers: bytes.
  std::uint32_t flags = 0;        ///< BPF_F_... as given at creation.
  std::uint32_t btf_id = 0;       ///< 0 if created without BTF.
};

/// A handle of a map; copies mean the same map and share its object's state, which lives as long as one of them.
///
/// Closed when default-constructed, moved from, or after `object::close()`: then `type()` is unspec, sizes are 0,
/// `fd()` is -1 and every fallible call reports `errc::closed`.
///
/// Thread-safety: lookups, updates and erasures of one map may run on several threads at once, as in the kernel. One
/// handle is for one thread at a time, and `object::close()` must not run beside other calls.
class map {
 public:
  /// A closed handle.
  map() noexcept = default;

  /// True until the object is closed.
  [[nodiscard]] bool is_open() const noexcept;
  /// @overload
  explicit operator bool() const noexcept { return is_open(); }

  /// The map's name in the object. Valid as long as the handle.
  [[nodiscard]] std::string_view name() const noexcept;
  /// The kind of map.
  [[nodiscard]] map_type type() const noexcept;
  /// Bytes of a key.
  [[nodiscard]] std::uint32_t key_size() const noexcept;
  /// Bytes of a value; of one CPU's value in a per-CPU map.
  [[nodiscard]] std::uint32_t value_size() const noexcept;
  /// Bytes that a lookup gives and an update takes: `value_size()`, or in a per-CPU map the values of all possible
  /// CPUs, each rounded up to 8 bytes.
  [[nodiscard]] std::size_t lookup_size() const noexcept;
  /// The most entries that it can hold; for ring buffers bytes.
  [[nodiscard]] std::uint32_t max_entries() const noexcept;
  /// The descriptor, owned by the object; -1 before load and when closed.
  [[nodiscard]] int fd() const noexcept;

  /// What the kernel says about the map. Errors: `errc::closed`, `errc::not_loaded`, or the kernel's.
  [[nodiscard]] map_info info() const;
  /// @overload
  map_info info(error_code& ec) const;
  /// @overload
  map_info info(error_code& ec, diagnostics& details) const;

  /// Copies the value of `key` into `value`, which has `lookup_size()` bytes; false, and no error, if the key is not
  /// there. Errors: `errc::closed`, `errc::not_loaded`, `errc::size_mismatch`, or the kernel's.
  bool lookup(std::span<std::byte const> key, std::span<std::byte> value) const;
  /// @overload
  bool lookup(std::span<std::byte const> key, std::span<std::byte> value, error_code& ec) const;
  /// @overload
  bool lookup(std::span<std::byte const> key, std::span<std::byte> value, error_code& ec, diagnostics& details) const;

  /// The value of `key`, `lookup_size()` bytes, or nothing if the key is not there. Errors: as above.
  [[nodiscard]] std::optional<std::vector<std::byte>> lookup(std::span<std::byte const> key) const;
  /// @overload
  std::optional<std::vector<std::byte>> lookup(std::span<std::byte const> key, error_code& ec) const;
  /// @overload
  std::optional<std::vector<std::byte>> lookup(std::span<std::byte const> key, error_code& ec,
                                               diagnostics& details) const;

  /// Inserts or replaces, as `flag` says. Errors: `errc::closed`, `errc::not_loaded`, `errc::size_mismatch`; the
  /// kernel's EEXIST, ENOENT, E2BIG (full) and others.
  void update(std::span<std::byte const> key, std::span<std::byte const> value,
              update_flag flag = update_flag::any) const;
  /// @overload
  void update(std::span<std::byte const> key, std::span<std::byte const> value, update_flag flag, error_code& ec) const;
  /// @overload
  void update(std::span<std::byte const> key, std::span<std::byte const> value, update_flag flag, error_code& ec,
              diagnostics& details) const;

  /// Removes the entry; false, and no error, if the key was not there. Errors: `errc::closed`, `errc::not_loaded`,
  /// `errc::size_mismatch`, or the kernel's (an array's entries cannot be erased: EINVAL).
  bool erase(std::span<std::byte const> key) const;
  /// @overload
  bool erase(std::span<std::byte const> key, error_code& ec) const;
  /// @overload
  bool erase(std::span<std::byte const> key, error_code& ec, diagnostics& details) const;

 private:
  friend struct detail::handle_access;
  explicit map(std::shared_ptr<detail::map_core> core) noexcept;

  std::shared_ptr<detail::map_core> core_;
};

}  // namespace tinybpf
