// A ring buffer without I/O: the mapping, the reader, what it knows of types and losses.
#pragma once

#include <tinybpf/btf.hpp>
#include <tinybpf/detail/owned_descriptor.hpp>
#include <tinybpf/detail/ring_reader.hpp>
#include <tinybpf/error.hpp>
#include <tinybpf/event.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <typeinfo>
#include <vector>

namespace tinybpf {
class map;
}

namespace tinybpf::detail {

class type_registry;

/// Where a ring's memory and wake-ups come from: a map, or what a test made up.
struct ring_source {
  ring_source() = default;

  ring_regions regions;
  std::shared_ptr<void> mapping;         ///< Keeps the regions mapped.
  owned_descriptor descriptor;           ///< Readable while there is something to read; becomes the buffer's.
  std::string name;                      ///< The map's name.
  std::shared_ptr<type_registry> types;  ///< May be null: then only sizes are checked.
  void const* losses = nullptr;          ///< The slots of `<ring>_lost`, or null.
  std::size_t loss_slots = 0;
  std::shared_ptr<void> losses_mapping;  ///< Keeps them mapped.
};

/// Maps a ring buffer map and finds what belongs to it. Errors: `errc::closed`, `errc::not_loaded`,
/// `errc::wrong_map_type`, `errc::not_supported` for a ring that overwrites unread records, or the kernel's.
ring_source open_ring(map const& m, error_code& ec, diagnostics& details);

/// What became of one attempt to take a record.
enum class take_status : std::uint8_t { taken, nothing, bad };

/// What is shared by a buffer, its pending operations and its ranges. Not thread-safe.
class ring_core {
 public:
  explicit ring_core(ring_source&& source);
  ring_core(ring_core const&) = delete;
  ring_core& operator=(ring_core const&) = delete;
  ~ring_core();

  [[nodiscard]] std::string_view name() const noexcept { return source_.name; }
  [[nodiscard]] bool closed() const noexcept { return closed_; }
  [[nodiscard]] std::optional<std::uint64_t> lost() const noexcept;

  /// Publishes and refuses everything from now on.
  void close() noexcept;

  /// What a read may not do now: nothing, `errc::closed` or `errc::operation_in_progress`. Ends the view that an
  /// earlier read gave out.
  errc begin_read() noexcept {
    if (closed_) return errc::closed;
    if (leased_) return errc::operation_in_progress;
    drop_view();
    return errc{};
  }

  /// Checks E against the object's types, once per type and buffer.
  template <class E>
  bool knows(error_code& ec, diagnostics* details) {
    if constexpr (std::is_void_v<E>) {
      return true;
    } else {
      return last_checked_ == &typeid(E) || check(shape_of<E>(), ec, details);
    }
  }

  /// Looks at the head, and tells whether it fits E: the next record is taken, or nothing is there, or it is bad.
  template <class E>
  take_status look() noexcept {
    switch (reader.peek()) {
      case ring_status::ready:
        return reading<E>::fits(reader.head().size) ? take_status::taken : take_status::bad;
      case ring_status::corrupt:
        return take_status::bad;
      default:
        return take_status::nothing;
    }
  }

  /// Takes the head as E after `look` said that it fits.
  template <class E>
  E take() noexcept {
    ++spent;
    E value = reading<E>::take(reader.head(), source_.name);
    if constexpr (reading<E>::view) {
      viewed_ = true;
    } else {
      reader.release();
    }
    return value;
  }

  /// Ends what an earlier `next<bytes>()` or its like gave out.
  void drop_view() noexcept {
    if (!viewed_) return;
    viewed_ = false;
    reader.release();
  }

  /// Says what is wrong with the head, and goes on behind it. `expected` is null for a type without a size.
  void report_bad(type_shape const* expected, bool at_least, error_code& ec, diagnostics* details);

  template <class E>
  void report_bad(error_code& ec, diagnostics* details) {
    using shape_type = typename reading<E>::shape_type;
    if constexpr (std::is_void_v<shape_type>) {
      report_bad(nullptr, true, ec, details);
    } else {
      auto const shape = shape_of<shape_type>();
      report_bad(&shape, event_traits<shape_type>::size == size_rule::at_least, ec, details);
    }
  }

  /// What every refusal says.
  void refuse(errc why, std::string_view operation, error_code& ec, diagnostics* details) const;

  /// A budget of 0 records could never give one.
  bool checks_budget(std::size_t records, error_code& ec, diagnostics* details) const {
    return records != 0 || refuse_budget(ec, details);
  }

  void lease() noexcept { leased_ = true; }
  void end_lease() noexcept {
    leased_ = false;
    reader.publish();
  }

  ring_reader reader;
  std::size_t spent = 0;     ///< Records read since the loop last had its turn.
  std::size_t budget = 256;  ///< How many `next` may read before the loop has its turn.

 private:
  bool refuse_budget(error_code& ec, diagnostics* details) const;
  bool check(type_shape shape, error_code& ec, diagnostics* details);

  ring_source source_;
  std::type_info const* last_checked_ = nullptr;
  std::vector<std::type_info const*> checked_;
  int owner_;  // the process that may publish: a forked child shares the pages
  bool closed_ = false;
  bool leased_ = false;
  bool viewed_ = false;
};

/// Refuses an operation on a buffer that is no more.
void refuse_closed(std::string_view operation, error_code& ec, diagnostics* details);

}  // namespace tinybpf::detail
