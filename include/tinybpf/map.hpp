// One map of a BPF object.
#pragma once

#include <tinybpf/detail/map_walk.hpp>
#include <tinybpf/error.hpp>
#include <tinybpf/layout.hpp>
#include <tinybpf/link.hpp>
#include <tinybpf/number.hpp>
#include <tinybpf/types.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace tinybpf {

class btf_type;
class dynamic_map;
template <shared_with_kernel K, shared_with_kernel V>
  requires std::default_initializable<V>
class typed_map;

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

class map;

/// What else `map::create` may be told.
struct map_create_options {
  std::uint32_t map_flags = 0;     ///< BPF_F_...
  int numa_node = -1;              ///< Where its memory is to be; -1: anywhere.
  map const* inner_map = nullptr;  ///< Of a map of maps: what those in it have to be like.
  std::uint64_t map_extra = 0;     ///< Such as a bloom filter's number of hash functions.
};

/// A handle of a map; copies mean the same map and share its object's state, which lives as long as one of them. A map
/// that was created, or opened by its pin, number or descriptor, or cloned, is on its own: it belongs to no object, and
/// its descriptor lives as long as its handles.
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

  /// Makes a map on its own, such as one to be put into a map of maps. Sizes in bytes. Errors: the kernel's EINVAL,
  /// EPERM, E2BIG, ENOMEM and others.
  [[nodiscard]] static map create(map_type type, std::string_view name, std::uint32_t key_size,
                                  std::uint32_t value_size, std::uint32_t max_entries,
                                  map_create_options const& options = {});
  /// @overload
  static map create(map_type type, std::string_view name, std::uint32_t key_size, std::uint32_t value_size,
                    std::uint32_t max_entries, map_create_options const& options, error_code& ec);
  /// @overload
  static map create(map_type type, std::string_view name, std::uint32_t key_size, std::uint32_t value_size,
                    std::uint32_t max_entries, map_create_options const& options, error_code& ec, diagnostics& details);

  /// The map, of any type, that is pinned at a path; it has the types that the kernel knows of it. They take
  /// CAP_SYS_ADMIN: without, as for a map that has none, nothing but sizes is checked, and values are bytes. Errors:
  /// the system's ENOENT, EACCES, EPERM and others; `errc::wrong_map_type` if a program or link is pinned there.
  [[nodiscard]] static map open_pinned(std::filesystem::path const& path);
  /// @overload
  static map open_pinned(std::filesystem::path const& path, error_code& ec);
  /// @overload
  static map open_pinned(std::filesystem::path const& path, error_code& ec, diagnostics& details);

  /// The map that the kernel has that number for, `map_info::id`. Errors: ENOENT; EPERM without CAP_SYS_ADMIN.
  [[nodiscard]] static map open_by_id(std::uint32_t id);
  /// @overload
  static map open_by_id(std::uint32_t id, error_code& ec);
  /// @overload
  static map open_by_id(std::uint32_t id, error_code& ec, diagnostics& details);

  /// The map of a descriptor, which is duplicated: that of another library, or of another process. Errors: EBADF;
  /// `errc::wrong_map_type` if it is none of a map.
  [[nodiscard]] static map open_fd(int fd);
  /// @overload
  static map open_fd(int fd, error_code& ec);
  /// @overload
  static map open_fd(int fd, error_code& ec, diagnostics& details);

  /// The same map on its own: closing or destroying the object does not close it. Errors: `errc::closed`,
  /// `errc::not_loaded`, EMFILE.
  [[nodiscard]] map clone() const;
  /// @overload
  map clone(error_code& ec) const;
  /// @overload
  map clone(error_code& ec, diagnostics& details) const;

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
  /// CPUs, each rounded up to 8 bytes: 0, and an error from what needs it, if their number cannot be found out.
  [[nodiscard]] std::size_t lookup_size() const noexcept;
  /// The most entries that it can hold; for ring buffers bytes.
  [[nodiscard]] std::uint32_t max_entries() const noexcept;
  /// The descriptor, owned by the object; -1 before load and when closed.
  [[nodiscard]] int fd() const noexcept;

  /// The type of the keys and of the values as BTF has them, `__type(key, ...)`; of the map of a section of global
  /// variables that section. void if BTF says nothing of them, as of `__uint(key_size, ...)`, or the map is closed.
  [[nodiscard]] btf_type btf_key() const;
  /// @overload
  [[nodiscard]] btf_type btf_value() const;

  /// A view with keys K and values V; see typed_map.hpp. They are held once against the map's sizes, and against its
  /// types where BTF has them, as `object::register_type` does it. `typed<K>()` has values of bytes. Errors:
  /// `errc::closed`, `errc::size_mismatch`, `errc::type_mismatch`; `errc::not_supported` for a per-CPU map, whose
  /// values are several, see percpu_map.hpp. Maps without keys have views of values alone, see queue_map.hpp.
  template <class K, class V = bytes>
  [[nodiscard]] typed_map<K, V> typed(field_names names = field_names::check) const;
  /// @overload
  template <class K, class V = bytes>
  typed_map<K, V> typed(field_names names, error_code& ec) const;
  /// @overload
  template <class K, class V = bytes>
  typed_map<K, V> typed(field_names names, error_code& ec, diagnostics& details) const;

  /// Reads the map by what BTF says of its keys and values; see dynamic_map.hpp.
  [[nodiscard]] dynamic_map dynamic() const;

  /// Settings of a map that is not loaded yet, under libbpf's names. Errors of all: `errc::closed`,
  /// `errc::already_loaded`, `errc::operation_in_progress` (the object is being loaded), or libbpf's EINVAL, or EBUSY
  /// for a map that reuses another.
  ///
  /// How many entries it is to hold; of ring buffers bytes, which libbpf rounds up to a power of two and whole pages.
  void set_max_entries(std::uint32_t entries) const;
  /// @overload
  void set_max_entries(std::uint32_t entries, error_code& ec) const;
  /// @overload
  void set_max_entries(std::uint32_t entries, error_code& ec, diagnostics& details) const;
  /// What type of map it is to be, such as an LRU hash instead of a hash. Errors: as above.
  void set_type(map_type type) const;
  /// @overload
  void set_type(map_type type, error_code& ec) const;
  /// @overload
  void set_type(map_type type, error_code& ec, diagnostics& details) const;
  /// BPF_F_... Errors: as above.
  void set_map_flags(std::uint32_t flags) const;
  /// @overload
  void set_map_flags(std::uint32_t flags, error_code& ec) const;
  /// @overload
  void set_map_flags(std::uint32_t flags, error_code& ec, diagnostics& details) const;
  /// Where its memory is to be. Errors: as above; loading fails with EINVAL for a node that there is not.
  void set_numa_node(std::uint32_t node) const;
  /// @overload
  void set_numa_node(std::uint32_t node, error_code& ec) const;
  /// @overload
  void set_numa_node(std::uint32_t node, error_code& ec, diagnostics& details) const;
  /// What the maps in a map of maps have to be like: a map that exists. Errors: as above, and those of `inner`.
  void set_inner_map(map const& inner) const;
  /// @overload
  void set_inner_map(map const& inner, error_code& ec) const;
  /// @overload
  void set_inner_map(map const& inner, error_code& ec, diagnostics& details) const;
  /// The whole contents of a section of global variables; `object::global` sets one of them. Errors: as above;
  /// `errc::not_supported` for other maps, `errc::size_mismatch`.
  void set_initial_value(std::span<std::byte const> value) const;
  /// @overload
  void set_initial_value(std::span<std::byte const> value, error_code& ec) const;
  /// @overload
  void set_initial_value(std::span<std::byte const> value, error_code& ec, diagnostics& details) const;
  /// Takes a map that exists instead of making one, with its size and type; the descriptor is duplicated. Errors: as
  /// above, those of `existing`, EBADF. A map that does not suit the programs is refused when they are loaded.
  void reuse(map const& existing) const;
  /// @overload
  void reuse(map const& existing, error_code& ec) const;
  /// @overload
  void reuse(map const& existing, error_code& ec, diagnostics& details) const;
  /// @overload
  void reuse_fd(int fd) const;
  /// @overload
  void reuse_fd(int fd, error_code& ec) const;
  /// @overload
  void reuse_fd(int fd, error_code& ec, diagnostics& details) const;

  /// Pins the map at a path of a BPF file system: it lives there until it is unpinned, also without this process.
  /// Errors: `errc::closed`, `errc::not_loaded`, EPERM (no BPF file system, or a name with a dot), EEXIST (something is
  /// there, or the map has a pin already: a clone may have another), ENOENT (no such folder) and others.
  void pin(std::filesystem::path const& path) const;
  /// @overload
  void pin(std::filesystem::path const& path, error_code& ec) const;
  /// @overload
  void pin(std::filesystem::path const& path, error_code& ec, diagnostics& details) const;
  /// Removes the pin that `pin` or the object's loading made, or that the map was opened by. Errors: `errc::closed`,
  /// `errc::not_found` (it has no pin), or the system's; EBUSY if what is there is not this map any more.
  void unpin() const;
  /// @overload
  void unpin(error_code& ec) const;
  /// @overload
  void unpin(error_code& ec, diagnostics& details) const;
  /// Where `unpin` would remove it, without symbolic links; empty if nowhere. Thread-safe.
  [[nodiscard]] std::filesystem::path pin_path() const;

  /// From now on user space can only read the map; programs may still write. For good. Errors: `errc::closed`,
  /// `errc::not_loaded`; EBUSY if it is mapped for writing, EPERM if it is frozen; others of the kernel.
  void freeze() const;
  /// @overload
  void freeze(error_code& ec) const;
  /// @overload
  void freeze(error_code& ec, diagnostics& details) const;

  /// Registers what a map of type struct_ops describes, such as a TCP congestion control, with the kernel, for as long
  /// as the link lives. A map of section ".struct_ops.link" (libbpf 1.2, Linux 6.4) is held by a link of the kernel's,
  /// which ends with the process and has a descriptor. One of section ".struct_ops" has none: `link::fd` reports
  /// `errc::not_supported`, only detaching or destroying the link takes it out of the kernel, and it stays after
  /// `link::release`, or if the process is killed: whoever has the map takes it out by deleting key 0. What was taken
  /// out is in use until its last user, such as a socket, has gone. Such a map is attached once only. Errors:
  /// `errc::closed`; `errc::not_loaded`, also for one that was not created; `errc::wrong_map_type`;
  /// `errc::not_supported` for a map of no object; EEXIST if something of that name is registered; EBUSY if the map is
  /// or was attached; EPERM, EINVAL and others.
  link attach_struct_ops() const;
  /// @overload
  link attach_struct_ops(error_code& ec) const;
  /// @overload
  link attach_struct_ops(error_code& ec, diagnostics& details) const;

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

  /// The same of a map whose keys and values are numbers as BTF has them: integers, enumerations, bool or floating
  /// point. `m.lookup(7)` gives a `number`, which compares with C++ numbers; `m.lookup<std::uint64_t>(7)` one of that
  /// type. Nothing is cut off, nor rounded but from double to float. Errors: as above, `errc::no_btf` if BTF does not
  /// know the types, `errc::type_mismatch` if they are no numbers, `errc::out_of_range` for a key that the key's type
  /// cannot hold, or a value that V cannot; `errc::not_supported` for a per-CPU map, which `dynamic()` reads.
  template <class V = number>
    requires(std::is_same_v<V, number> || detail::arithmetic<V>)
  [[nodiscard]] std::optional<V> lookup(number key) const {
    return detail::or_throw([&](error_code& ec, diagnostics& details) { return lookup<V>(key, ec, details); });
  }
  /// @overload
  template <class V = number>
    requires(std::is_same_v<V, number> || detail::arithmetic<V>)
  std::optional<V> lookup(number key, error_code& ec) const {
    diagnostics details;
    return lookup<V>(key, ec, details);
  }
  /// @overload
  template <class V = number>
    requires(std::is_same_v<V, number> || detail::arithmetic<V>)
  std::optional<V> lookup(number key, error_code& ec, diagnostics& details) const {
    auto const n = lookup_number(key, ec, details);
    if constexpr (std::is_same_v<V, number>) {
      return n;
    } else {
      if (!n) return std::nullopt;
      if (n->template fits<V>()) return n->template as<V>();
      refuse_value(*n, ec, details);
      return std::nullopt;
    }
  }

  /// Inserts or replaces, as `flag` says. Errors: `errc::closed`, `errc::not_loaded`, `errc::size_mismatch`; the
  /// kernel's EEXIST, ENOENT, E2BIG (full) and others.
  void update(std::span<std::byte const> key, std::span<std::byte const> value,
              update_flag flag = update_flag::any) const;
  /// @overload
  void update(std::span<std::byte const> key, std::span<std::byte const> value, update_flag flag, error_code& ec) const;
  /// @overload
  void update(std::span<std::byte const> key, std::span<std::byte const> value, update_flag flag, error_code& ec,
              diagnostics& details) const;

  /// The same with numbers, as `lookup` has them. Errors: of both.
  void update(number key, number value, update_flag flag = update_flag::any) const;
  /// @overload
  void update(number key, number value, update_flag flag, error_code& ec) const;
  /// @overload
  void update(number key, number value, update_flag flag, error_code& ec, diagnostics& details) const;

  /// Removes the entry; false, and no error, if the key was not there. Errors: `errc::closed`, `errc::not_loaded`,
  /// `errc::size_mismatch`, or the kernel's (an array's entries cannot be erased: EINVAL).
  bool erase(std::span<std::byte const> key) const;
  /// @overload
  bool erase(std::span<std::byte const> key, error_code& ec) const;
  /// @overload
  bool erase(std::span<std::byte const> key, error_code& ec, diagnostics& details) const;

  /// The same with a number as key, as `lookup` has it. Errors: of both.
  bool erase(number key) const;
  /// @overload
  bool erase(number key, error_code& ec) const;
  /// @overload
  bool erase(number key, error_code& ec, diagnostics& details) const;

  /// Takes the value of `key` out of the map, or the next of a queue or stack, whose key is empty; false, and no error,
  /// if there is none. Errors: those of `lookup`; many kinds cannot do it.
  bool lookup_and_delete(std::span<std::byte const> key, std::span<std::byte> value) const;
  /// @overload
  bool lookup_and_delete(std::span<std::byte const> key, std::span<std::byte> value, error_code& ec) const;
  /// @overload
  bool lookup_and_delete(std::span<std::byte const> key, std::span<std::byte> value, error_code& ec,
                         diagnostics& details) const;

  /// True if the key is there. Errors: those of `lookup`.
  [[nodiscard]] bool contains(std::span<std::byte const> key) const { return lookup(key).has_value(); }
  /// @overload
  bool contains(std::span<std::byte const> key, error_code& ec) const { return lookup(key, ec).has_value(); }
  /// @overload
  bool contains(std::span<std::byte const> key, error_code& ec, diagnostics& details) const {
    return lookup(key, ec, details).has_value();
  }

  /// The value of `key`. Errors: those of `lookup`, and ENOENT if the key is not there.
  [[nodiscard]] std::vector<std::byte> at(std::span<std::byte const> key) const;
  /// @overload
  std::vector<std::byte> at(std::span<std::byte const> key, error_code& ec) const;
  /// @overload
  std::vector<std::byte> at(std::span<std::byte const> key, error_code& ec, diagnostics& details) const;

  /// Inserts; false, and no error, if the key is there already. Errors: those of `update`.
  bool insert(std::span<std::byte const> key, std::span<std::byte const> value) const;
  /// @overload
  bool insert(std::span<std::byte const> key, std::span<std::byte const> value, error_code& ec) const;
  /// @overload
  bool insert(std::span<std::byte const> key, std::span<std::byte const> value, error_code& ec,
              diagnostics& details) const;

  /// `update` with `update_flag::any`.
  void insert_or_assign(std::span<std::byte const> key, std::span<std::byte const> value) const { update(key, value); }
  /// @overload
  void insert_or_assign(std::span<std::byte const> key, std::span<std::byte const> value, error_code& ec) const {
    update(key, value, update_flag::any, ec);
  }
  /// @overload
  void insert_or_assign(std::span<std::byte const> key, std::span<std::byte const> value, error_code& ec,
                        diagnostics& details) const {
    update(key, value, update_flag::any, ec, details);
  }

  /// All entries, as an input range of pairs of bytes, keys and `lookup_size()` bytes of value, which are valid until
  /// the next step. `typed_map::entries()` says what is in it while the map changes. Errors: those of `count`.
  [[nodiscard]] auto entries() const { return detail::map_walk<entry_of>{*this}; }
  /// @overload Ends the range at an error.
  [[nodiscard]] auto entries(error_code& ec) const { return detail::map_walk<entry_of>{*this, &ec}; }
  /// @overload The map itself as that range.
  [[nodiscard]] auto begin() const { return detail::map_iterator<entry_of>{*this}; }
  /// @overload
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

  /// The number of entries, counted by walking them all. Errors: `errc::closed`, `errc::not_loaded`, or the kernel's
  /// for kinds that cannot be walked.
  [[nodiscard]] std::size_t count() const;
  /// @overload
  std::size_t count(error_code& ec) const;
  /// @overload
  std::size_t count(error_code& ec, diagnostics& details) const;

  /// Removes all entries that are there from begin to end; gives how many it removed. Errors: those of `count` and
  /// `erase`.
  std::size_t clear() const;
  /// @overload
  std::size_t clear(error_code& ec) const;
  /// @overload
  std::size_t clear(error_code& ec, diagnostics& details) const;

 private:
  friend struct detail::handle_access;
  struct entry_of {
    using reference = std::pair<bytes, bytes>;
    static constexpr detail::entry_sizes sizes{};
    static reference get(detail::map_pages const& pages, std::size_t i) noexcept {
      return {pages.key(i), pages.value(i)};
    }
  };
  std::optional<number> lookup_number(number key, error_code& ec, diagnostics& details) const;
  bool single_valued(char const* operation, error_code& ec, diagnostics& details) const;
  void refuse_value(number value, error_code& ec, diagnostics& details) const;
  explicit map(std::shared_ptr<detail::map_core> core) noexcept;

  std::shared_ptr<detail::map_core> core_;
};

}  // namespace tinybpf
