// What a stream is read from: rings, and the buffers that perf keeps per CPU.
#pragma once

#include <tinybpf/detail/owned_descriptor.hpp>
#include <tinybpf/detail/perf_reader.hpp>
#include <tinybpf/detail/reading.hpp>
#include <tinybpf/detail/ring_reader.hpp>
#include <tinybpf/error.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <typeinfo>
#include <utility>
#include <variant>
#include <vector>

namespace tinybpf {
class map;
struct perf_options;
}  // namespace tinybpf

namespace tinybpf::detail {

class type_registry;

/// The slots of a `<ring>_lost` map.
struct loss_counter {
  void const* slots = nullptr;
  std::size_t count = 0;
  std::shared_ptr<void> mapping;  ///< Keeps them mapped.

  [[nodiscard]] std::uint64_t sum() const noexcept;
};

/// What can be asked of the writer of a perf buffer.
class perf_control {
 public:
  perf_control() = default;
  perf_control(perf_control const&) = delete;
  perf_control& operator=(perf_control const&) = delete;
  virtual ~perf_control() = default;

  /// Lets events wake the reader, or only a buffer that is half full. False if that could not be changed.
  virtual bool set_wakeups(bool on) noexcept = 0;
  /// Events that the kernel had to drop, if it says so.
  [[nodiscard]] virtual std::optional<std::uint64_t> lost() const noexcept = 0;
  /// Nothing is written from now on.
  virtual void close() noexcept = 0;
};

/// Where a channel's memory and wake-ups come from: a map, or what a test made up.
struct channel_source {
  channel_source() = default;

  std::variant<ring_regions, perf_regions> regions;
  std::shared_ptr<void> mapping;          ///< Keeps the regions mapped.
  owned_descriptor descriptor;            ///< Readable while there is something to read.
  std::unique_ptr<perf_control> control;  ///< Of a perf buffer.
  std::string name;                       ///< The map's name.
  std::uint32_t map_id = 0;               ///< The kernel's id of the map; 0 if it has none.
  int cpu = -1;                           ///< Whose perf buffer it is; -1 for rings.
  std::shared_ptr<type_registry> types;   ///< May be null: then only sizes are checked.
  std::optional<loss_counter> losses;     ///< Nothing if the BPF side does not count them.

  [[nodiscard]] bool is_perf() const noexcept { return regions.index() == 1; }
  [[nodiscard]] std::size_t size() const noexcept;
  /// "ring buffer 'events'"
  [[nodiscard]] std::string description() const;
};

/// Maps a ring buffer, or all that an array of ring buffers holds, and finds what belongs to them. Errors:
/// `errc::closed`, `errc::not_loaded`, `errc::wrong_map_type`, `errc::not_supported` for a ring that overwrites unread
/// records, or the kernel's.
std::vector<channel_source> open_rings(map const& m, error_code& ec, diagnostics& details);

/// Opens the perf buffers of CPUs. Errors: `errc::closed`, `errc::not_loaded`, `errc::wrong_map_type`, EINVAL for
/// options that make no sense, `errc::not_found` for a CPU that does not exist, or the kernel's.
std::vector<channel_source> open_perf(map const& m, perf_options const& options, error_code& ec, diagnostics& details);

/// What a buffer may be opened of.
enum class channel_kind : std::uint8_t { either, ring, perf };

/// What the map's type says, if the kind allows it.
std::vector<channel_source> open_channels(channel_kind kind, map const& m, perf_options const& options, error_code& ec,
                                          diagnostics& details);

/// Maps a `<ring>_lost` map. Errors: `errc::wrong_map_type` if it is not as tinybpf.bpf.h declares it, and the like.
loss_counter open_losses(map const& m, error_code& ec, diagnostics& details);

/// One of a stream's.
struct channel {
  channel() : reader{std::make_unique<ring_reader>()} {}
  /// Throws std::bad_alloc.
  channel(channel_source&& s, std::type_info const* t);

  [[nodiscard]] found_record found(raw_record const& r) const noexcept { return {r, source.name, type, source.cpu}; }
  [[nodiscard]] std::optional<std::uint64_t> lost() const noexcept;

  channel_source source;
  std::unique_ptr<record_reader> reader;
  std::type_info const* type = nullptr;  ///< What it carries, if that was said when it was added.
  bool active = false;                   ///< May have something to read.
  bool quiet = false;                    ///< Its events wake nobody.
  std::uint64_t seen = 0;                ///< Its reader's position when the stream last ran dry,
  std::uint64_t grown = 0;               ///< and by how much that had moved.
};

}  // namespace tinybpf::detail
