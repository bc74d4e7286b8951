// A BPF ring buffer without a kernel: in a memfd, written as the kernel writes its own.
//
// Programs that use it link tinybpf_fake_ring.
#pragma once

#include <tinybpf/detail/stream_core.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <type_traits>

namespace test {

/// When a writer tells the reader that there is something, as the flags of bpf_ringbuf_submit say.
enum class wakeup : std::uint8_t {
  adaptive,  ///< If the reader has caught up with the record at hand.
  never,     ///< BPF_RB_NO_WAKEUP
  always,    ///< BPF_RB_FORCE_WAKEUP
};

/// A ring, its writer, and the descriptor that readers wait on.
///
/// The writer follows kernel/bpf/ringbuf.c step by step, so that a reader that fails here fails there: what is
/// reserved, in which order the shared words change, and who is woken when. Any number of threads may write.
///
/// Whoever waits on the descriptor sees what a ring buffer map shows: ready while the positions differ, as looked at
/// when the wait is armed, and woken by notifications only. So a reader that falls asleep at the wrong moment sleeps
/// for ever, and one that arms a wait with something in the ring is woken at once, again and again.
///
/// The reader's regions are read-only but for its own position, and have nothing around them that may be touched.
/// (Under ThreadSanitizer reader and writer share addresses instead, so that it sees the races between them.)
class fake_ring {
 public:
  using position_type = unsigned long;  // the kernel's

  static constexpr std::uint32_t busy_bit = 1U << 31U;
  static constexpr std::uint32_t discard_bit = 1U << 30U;

  /// `size`: a power of two and a multiple of the page size. `start`: a multiple of 8, at which both positions begin.
  explicit fake_ring(std::size_t size = 4096, position_type start = 0);

  /// The reader's side of the memory. Valid as long as the ring, or one of its sources.
  [[nodiscard]] tinybpf::detail::ring_regions regions() const noexcept;

  /// What a buffer is made from: memory that outlives this object, and a descriptor of its own.
  [[nodiscard]] tinybpf::detail::channel_source source(std::string name = "fake") const;

  [[nodiscard]] std::size_t size() const noexcept;

  /// Room for `size` bytes, or null, which is counted.
  std::byte* reserve(std::size_t size);
  /// Hands over what was reserved.
  void submit(std::byte* sample, wakeup how = wakeup::adaptive) { commit(sample, how, false); }
  /// Gives the room back.
  void discard(std::byte* sample, wakeup how = wakeup::adaptive) { commit(sample, how, true); }

  /// Reserves, copies and submits; false if there is no room.
  bool output(std::span<std::byte const> data, wakeup how = wakeup::adaptive);

  /// `output` of a value, or of a string's characters.
  template <class T>
  bool emit(T const& value, wakeup how = wakeup::adaptive) {
    if constexpr (std::is_convertible_v<T const&, std::string const&>) {
      std::string const& text = value;
      return output(std::as_bytes(std::span{text}), how);
    } else {
      static_assert(std::is_trivially_copyable_v<T> && !std::is_pointer_v<T>);
      return output(std::as_bytes(std::span{&value, 1}), how);
    }
  }

  [[nodiscard]] position_type consumer_position() const noexcept;
  [[nodiscard]] position_type producer_position() const noexcept;
  /// Bytes that the writer believes to be unread.
  [[nodiscard]] position_type unread() const noexcept { return producer_position() - consumer_position(); }

  /// How many reservations found no room.
  [[nodiscard]] std::uint64_t failed() const noexcept;
  /// How many times a writer had to wake the reader, which is what a traced program pays for.
  [[nodiscard]] std::uint64_t notifications() const noexcept;
  /// How many waits were armed on descriptors of this ring.
  [[nodiscard]] std::uint64_t armed() const noexcept;

  /// For tests of hostile memory: changes a shared word as no kernel would, and tells nobody.
  void set_producer_position(position_type to) noexcept;
  void set_consumer_position(position_type to) noexcept;
  /// The first word of the record at `position`: length and flags.
  void set_header(position_type position, std::uint32_t header) noexcept;
  [[nodiscard]] std::uint32_t header(position_type position) const noexcept;
  /// The ring's bytes as the writer sees them.
  [[nodiscard]] std::span<std::byte> data() noexcept;
  /// Wakes whoever waits.
  void notify();

  struct state;

 private:
  void commit(std::byte* sample, wakeup how, bool discard);

  std::shared_ptr<state> state_;
};

}  // namespace test
