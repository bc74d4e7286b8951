// Maps that hold programs, maps, sockets, control groups: whatever user space names by a descriptor.
#pragma once

#include <tinybpf/detail/map_view.hpp>
#include <tinybpf/error.hpp>
#include <tinybpf/layout.hpp>
#include <tinybpf/map.hpp>
#include <tinybpf/program.hpp>
#include <tinybpf/types.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

namespace tinybpf {

namespace detail {

/// `open`: whose descriptor it is has one as soon as it is loaded.
void update_descriptor(map const& m, std::span<std::byte const> key, int fd, bool open, update_flag flag,
                       error_code& ec, diagnostics& details);
std::optional<std::uint64_t> lookup_descriptor(map const& m, std::span<std::byte const> key, error_code& ec,
                                               diagnostics& details);
map lookup_map(map const& m, std::span<std::byte const> key, error_code& ec, diagnostics& details);

/// What has a descriptor of its own: sockets and other objects of Asio.
template <class T>
concept has_descriptor = requires(T& t) {
  { t.native_handle() } -> std::convertible_to<int>;
};

}  // namespace detail

/// A map from K to things that user space has descriptors of. It keeps the thing, not the descriptor, which may be
/// closed once it is stored: programs in a prog_array, for tail calls; maps in array_of_maps and hash_of_maps; sockets
/// in sockmap, sockhash, xskmap and reuseport_sockarray; directories of control groups in a cgroup_array; perf events
/// in a perf_event_array, where perf_buffer puts them by itself.
///
///     tinybpf::fd_map<std::uint32_t> steps{obj.map("steps")};
///     steps.update(0, obj.program("parse"));
///
/// The key's type is checked when the view is made, as by `map::typed`. A handle of the map, closed when the map is:
/// then every call reports `errc::closed`. Thread-safety: as the map's.
template <shared_with_kernel K>
class fd_map {
 public:
  using key_type = K;

  /// Of a closed map.
  fd_map() noexcept = default;
  /// Errors: `errc::closed`, `errc::wrong_map_type`, `errc::size_mismatch`, `errc::type_mismatch`.
  explicit fd_map(map m, field_names names = field_names::check) {
    detail::or_throw([&](error_code& ec, diagnostics& details) { open(m, names, ec, details); });
  }
  /// @overload Closed after an error.
  fd_map(map m, field_names names, error_code& ec, diagnostics& details) { open(m, names, ec, details); }
  /// @overload
  fd_map(map m, error_code& ec) {
    diagnostics details;
    open(m, field_names::check, ec, details);
  }

  /// The map itself.
  [[nodiscard]] map const& untyped() const noexcept { return map_; }

  /// Stores what `fd` names; inserts or replaces, as `flag` says. Errors: `errc::closed` of the map, or for a closed
  /// thing; `errc::not_loaded` likewise; the kernel's EBADF, EINVAL (another kind of thing, or a map or program that is
  /// not like those that are wanted here), EEXIST, ENOENT, E2BIG and others.
  void update(K const& key, int fd, update_flag flag = update_flag::any) const {
    detail::or_throw([&](error_code& ec, diagnostics& details) { update(key, fd, flag, ec, details); });
  }
  /// @overload
  void update(K const& key, int fd, update_flag flag, error_code& ec) const {
    diagnostics details;
    update(key, fd, flag, ec, details);
  }
  /// @overload
  void update(K const& key, int fd, update_flag flag, error_code& ec, diagnostics& details) const {
    detail::update_descriptor(map_, detail::bytes_of(key), fd, false, flag, ec, details);
  }
  /// @overload
  void update(K const& key, program const& p, update_flag flag = update_flag::any) const { store(key, p, flag); }
  /// @overload
  void update(K const& key, program const& p, update_flag flag, error_code& ec) const {
    diagnostics details;
    update(key, p, flag, ec, details);
  }
  /// @overload
  void update(K const& key, program const& p, update_flag flag, error_code& ec, diagnostics& details) const {
    detail::update_descriptor(map_, detail::bytes_of(key), p.fd(), p.is_open(), flag, ec, details);
  }
  /// @overload
  void update(K const& key, map const& inner, update_flag flag = update_flag::any) const { store(key, inner, flag); }
  /// @overload
  void update(K const& key, map const& inner, update_flag flag, error_code& ec) const {
    diagnostics details;
    update(key, inner, flag, ec, details);
  }
  /// @overload
  void update(K const& key, map const& inner, update_flag flag, error_code& ec, diagnostics& details) const {
    detail::update_descriptor(map_, detail::bytes_of(key), inner.fd(), inner.is_open(), flag, ec, details);
  }
  /// @overload A socket of Asio.
  template <detail::has_descriptor Socket>
  void update(K const& key, Socket& socket, update_flag flag = update_flag::any) const {
    update(key, static_cast<int>(socket.native_handle()), flag);
  }
  /// @overload
  template <detail::has_descriptor Socket>
  void update(K const& key, Socket& socket, update_flag flag, error_code& ec) const {
    update(key, static_cast<int>(socket.native_handle()), flag, ec);
  }
  /// @overload
  template <detail::has_descriptor Socket>
  void update(K const& key, Socket& socket, update_flag flag, error_code& ec, diagnostics& details) const {
    update(key, static_cast<int>(socket.native_handle()), flag, ec, details);
  }

  /// Removes the entry; false, and no error, if there was none. Errors: `errc::closed`, `errc::not_loaded`, or the
  /// kernel's: some kinds cannot be erased from.
  bool erase(K const& key) const { return map_.erase(detail::bytes_of(key)); }
  /// @overload
  bool erase(K const& key, error_code& ec) const { return map_.erase(detail::bytes_of(key), ec); }
  /// @overload
  bool erase(K const& key, error_code& ec, diagnostics& details) const {
    return map_.erase(detail::bytes_of(key), ec, details);
  }

  /// The kernel's number of what is stored: the id of a program or map, the cookie of a socket; nothing if there is no
  /// such entry. Errors: `errc::closed`, `errc::not_loaded`; the kernel's EOPNOTSUPP for kinds that cannot be read, and
  /// ENOSPC for a sockmap whose values have 4 bytes.
  [[nodiscard]] std::optional<std::uint64_t> lookup(K const& key) const {
    return detail::or_throw([&](error_code& ec, diagnostics& details) { return lookup(key, ec, details); });
  }
  /// @overload
  std::optional<std::uint64_t> lookup(K const& key, error_code& ec) const {
    diagnostics details;
    return lookup(key, ec, details);
  }
  /// @overload
  std::optional<std::uint64_t> lookup(K const& key, error_code& ec, diagnostics& details) const {
    return detail::lookup_descriptor(map_, detail::bytes_of(key), ec, details);
  }

  /// The map that is stored in a map of maps; closed, and no error, if there is no such entry. It is a handle of its
  /// own. Errors: `errc::wrong_map_type` for a map of other things; those of `lookup` and of `map::open_by_id`.
  [[nodiscard]] map lookup_map(K const& key) const {
    return detail::or_throw([&](error_code& ec, diagnostics& details) { return lookup_map(key, ec, details); });
  }
  /// @overload
  map lookup_map(K const& key, error_code& ec) const {
    diagnostics details;
    return lookup_map(key, ec, details);
  }
  /// @overload
  map lookup_map(K const& key, error_code& ec, diagnostics& details) const {
    return detail::lookup_map(map_, detail::bytes_of(key), ec, details);
  }

 private:
  template <class Thing>
  void store(K const& key, Thing const& what, update_flag flag) const {
    detail::or_throw([&](error_code& ec, diagnostics& details) { update(key, what, flag, ec, details); });
  }
  void open(map& m, field_names names, error_code& ec, diagnostics& details) {
    auto const key = shape_of<K>();
    detail::check_view(m,
                       {.name = "a view of descriptors",
                        .kinds = {map_type::prog_array, map_type::perf_event_array, map_type::cgroup_array,
                                  map_type::array_of_maps, map_type::hash_of_maps, map_type::sockmap,
                                  map_type::sockhash, map_type::xskmap, map_type::reuseport_sockarray},
                        .key = &key,
                        .value = nullptr},
                       names, ec, details);
    if (!ec) map_ = std::move(m);
  }

  map map_;
};

}  // namespace tinybpf
