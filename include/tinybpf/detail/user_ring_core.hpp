// A user ring buffer without an executor: the mapping, the writer, what is known of types.
#pragma once

#include <tinybpf/detail/fork_count.hpp>
#include <tinybpf/detail/owned_descriptor.hpp>
#include <tinybpf/detail/pins.hpp>
#include <tinybpf/detail/ring_writer.hpp>
#include <tinybpf/error.hpp>
#include <tinybpf/layout.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <typeinfo>
#include <vector>

namespace tinybpf {
class map;
}

namespace tinybpf::detail {

class type_registry;

/// Where a user ring's memory and wake-ups come from: a map, or what a test made up.
struct user_ring_source {
  user_ring_source() = default;

  user_ring_regions regions;
  std::shared_ptr<void> mapping;         ///< Keeps the regions mapped.
  owned_descriptor descriptor;           ///< Writable while any byte is free; tells of each drain that freed some.
  std::string name;                      ///< The map's name.
  std::shared_ptr<type_registry> types;  ///< May be null: then types are not checked.
};

/// Maps a user ring buffer. Errors: `errc::closed`, `errc::not_loaded`, `errc::wrong_map_type`, or the kernel's.
user_ring_source open_user_ring(map const& m, error_code& ec, diagnostics& details);

/// What a buffer, its reservations and its pending operation share. Not thread-safe.
class user_ring_core : public pinnable {
 public:
  /// Errors: the kernel's.
  user_ring_core(user_ring_source&& source, error_code& ec, diagnostics& details);

  [[nodiscard]] std::string_view name() const noexcept { return source_.name; }
  [[nodiscard]] std::size_t size() const noexcept { return source_.regions.size; }
  [[nodiscard]] int map_descriptor() const noexcept { return source_.descriptor.get(); }
  /// Readable once for each drain.
  [[nodiscard]] int drains() const noexcept { return drains_.get(); }
  /// Takes what made it readable.
  void forget_drains() noexcept;

  [[nodiscard]] bool closed() const noexcept { return closed_; }
  /// True in a child that was forked since: it shares the pages and must leave them alone.
  [[nodiscard]] bool forked() const noexcept { return made_by_.forked(); }
  void close() noexcept { closed_ = true; }

  /// True if a record of this size, of this type unless it is null, may be reserved. Errors: `errc::closed`,
  /// `errc::type_mismatch` and the like, EINVAL for 0 bytes, E2BIG for more than the ring can ever hold.
  bool may_reserve(std::size_t size, type_shape const* shape, error_code& ec, diagnostics* details) {
    return ready_for(size, shape) || check(size, shape, ec, details);
  }
  /// Likewise if that is plain to see.
  [[nodiscard]] bool ready_for(std::size_t size, type_shape const* shape) const noexcept {
    return !closed_ && size != 0 && writer_.can_hold(size) && (shape == nullptr || shape->type == last_checked_);
  }

  [[nodiscard]] std::byte* try_reserve(std::size_t size) noexcept { return writer_.try_reserve(size); }

 private:
  bool check(std::size_t size, type_shape const* shape, error_code& ec, diagnostics* details);

  user_ring_source source_;
  ring_writer writer_;
  owned_descriptor drains_;
  bool closed_ = false;
  fork_mark made_by_;
  std::type_info const* last_checked_ = nullptr;
  std::vector<std::type_info const*> checked_;
};

/// Refuses an operation on a buffer that is no more, or on a record that is no longer reserved.
void refuse_user_ring(errc why, std::string_view what, std::string_view name, error_code& ec, diagnostics* details);

}  // namespace tinybpf::detail
