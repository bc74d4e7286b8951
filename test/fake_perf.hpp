// One CPU's perf buffer without a kernel: in a memfd, written as the kernel writes its own.
//
// Programs that use it link tinybpf_fake_perf, or tinybpf_fake_ring, but not both: each sees the calls of epoll_ctl.
#pragma once

#include <tinybpf/detail/channel.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

namespace test {

/// What a channel asked of its writer.
enum class perf_call : std::uint8_t { on, off, on_refused, off_refused, lost, close };
std::ostream& operator<<(std::ostream& out, perf_call c);

/// A buffer, its writer, what a reader may ask of it, and the descriptor that readers wait on.
///
/// The writer follows kernel/events/ring_buffer.c: when there is room (never for all of the buffer: full would look
/// like empty), what becomes of losses, how samples are padded, in which order the shared words change, and who is
/// woken when. One thread at a time may write, as on one CPU.
///
/// Whoever waits on the descriptor sees what a perf event shows: readiness is cleared by the poll that finds it, so
/// what was told before a wait is armed is told to nobody. While wake-ups are off, only a half full buffer wakes.
///
/// The reader's regions are mapped once, and have nothing around them that may be touched; the data is read-only.
/// (Under ThreadSanitizer reader and writer share addresses instead, so that it sees the races between them.)
class fake_perf {
 public:
  using position_type = std::uint64_t;

  static constexpr std::size_t sample_overhead = 12;  ///< In front of a sample's data: a header and a length.
  static constexpr std::size_t lost_size = 24;        ///< What a record of losses takes.

  /// `size`: a power of two and a multiple of the page size. `start`: a multiple of 8, at which both positions begin.
  explicit fake_perf(std::size_t size = 4096, position_type start = 0);

  /// The reader's side of the memory. Valid as long as the buffer, or one of its sources.
  [[nodiscard]] tinybpf::detail::perf_regions regions() const noexcept;

  /// What a buffer is made from: memory that outlives this object, a descriptor of its own, and a control that logs
  /// what it is asked.
  [[nodiscard]] tinybpf::detail::channel_source source(std::string name = "fake", int cpu = 0) const;

  [[nodiscard]] std::size_t size() const noexcept;

  /// Writes a sample, or counts it as lost. False also if the buffer was taken out of the map: see `refused`.
  bool output(std::span<std::byte const> data) { return output(data, true); }
  /// Likewise as a program does that began to write before it was told to wake the reader: it does not.
  bool output_quietly(std::span<std::byte const> data) { return output(data, false); }

  /// `output` of a value, or of a string's characters.
  template <class T>
  bool emit(T const& value) {
    if constexpr (std::is_convertible_v<T const&, std::string const&>) {
      std::string const& text = value;
      return output(std::as_bytes(std::span{text}));
    } else {
      static_assert(std::is_trivially_copyable_v<T> && !std::is_pointer_v<T>);
      return output(std::as_bytes(std::span{&value, 1}));
    }
  }

  /// Writes a record of any type: a header, and a body of a multiple of 8 bytes.
  bool output_other(std::uint32_t type, std::span<std::byte const> body);
  /// A record of losses, with none in fact.
  bool output_lost(std::uint64_t count);

  /// What a sample of so many bytes takes.
  [[nodiscard]] static constexpr std::size_t step_of(std::size_t size) noexcept {
    return (size + sample_overhead + 7) & ~std::size_t{7};
  }
  /// What the kernel says that its length is.
  [[nodiscard]] static constexpr std::size_t padded(std::size_t size) noexcept {
    return step_of(size) - sample_overhead;
  }

  [[nodiscard]] position_type tail() const noexcept;
  [[nodiscard]] position_type head() const noexcept;
  /// Bytes that the writer believes to be unread.
  [[nodiscard]] position_type unread() const noexcept { return head() - tail(); }

  /// How many records found no room.
  [[nodiscard]] std::uint64_t lost() const noexcept;
  /// Those of them that no record of losses told of yet.
  [[nodiscard]] std::uint64_t untold() const noexcept;
  /// How many were written while the map had no event for this CPU.
  [[nodiscard]] std::uint64_t refused() const noexcept;
  /// How many times a writer had to wake the reader, which is what a traced program pays for.
  [[nodiscard]] std::uint64_t notifications() const noexcept;
  /// How many waits were armed on descriptors of this buffer.
  [[nodiscard]] std::uint64_t armed() const noexcept;
  /// Called whenever one is being armed, before anything is looked at. It may write.
  void when_armed(std::function<void()> f);

  /// What was asked of the control, but for `lost`, in order.
  [[nodiscard]] std::vector<perf_call> calls() const;
  [[nodiscard]] std::size_t count(perf_call c) const;
  /// Whether wake-ups are on.
  [[nodiscard]] bool loud() const;
  /// The next so many calls of `set_wakeups(on)` fail, and change nothing.
  void refuse_wakeups(bool on, std::size_t times);
  /// Whether the control tells losses, as kernels do since 6.0. It does unless this says otherwise.
  void tell_losses(bool yes);

  /// For tests of hostile memory: changes a shared word as no kernel would, and tells nobody.
  void set_head(position_type to) noexcept;
  void set_tail(position_type to) noexcept;
  /// The header of the record at `position`, and the word behind it, which is the length of a sample.
  void set_header(position_type position, std::uint32_t type, std::uint16_t size, std::uint16_t misc = 0) noexcept;
  void set_length(position_type position, std::uint32_t length) noexcept;
  /// The buffer's bytes as the writer sees them.
  [[nodiscard]] std::span<std::byte> data() noexcept;

  struct state;

 private:
  bool output(std::span<std::byte const> data, bool wakes);

  std::shared_ptr<state> state_;
};

}  // namespace test
