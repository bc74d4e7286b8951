// When the kernel may wake the reader of a ring buffer, and what that costs the traced program.
#pragma once

#include <chrono>
#include <cstdint>

namespace tinybpf {

/// The kernel wakes the reader of a ring buffer only when the reader has caught up with the record that is being
/// submitted. A reader that leaves its last record unacknowledged is never caught up: then the traced program pays for
/// no wake-up, which is the most expensive part of an event by far. The policies differ in when a buffer holds back
/// like this, and looks again after a pause instead.
///
/// | policy               | an event waits for its reader | a wake-up is paid               |
/// |----------------------|-------------------------------|---------------------------------|
/// | immediate            | as little as can be           | whenever the reader was idle    |
/// | moderated(max_delay) | up to max_delay               | for the first event after quiet |
/// | adaptive(max_delay)  |                               |                                 |
/// | - sparse events      | as little as can be           | whenever the reader was idle    |
/// | - more               | up to a quarter of max_delay  | for the first event after quiet |
/// | - many               | up to max_delay               | for the first event after quiet |
///
/// "More" begins at one event per quarter of max_delay, "many" at 20 of them. A pause ends a wake-up's time later.
///
/// Under any policy a stream that goes quiet is acknowledged in full and waits on its descriptor. No policy loses an
/// event that `immediate` would keep: at most 1/64 of the ring is held back, and a pause is cut to the time in which a
/// fast writer could fill a quarter of the ring, which in rings below 160 KiB leaves too little to be worth a pause.
class wakeup_policy {
 public:
  /// Wakes for every event that finds the reader idle: lowest delay, dearest for the traced program.
  [[nodiscard]] static constexpr wakeup_policy immediate() noexcept { return {kind::immediate, {}}; }

  /// Holds back after every read that found something, for `max_delay`. Less than 20 us counts as immediate.
  [[nodiscard]] static constexpr wakeup_policy moderated(std::chrono::microseconds max_delay = default_delay) noexcept {
    return {kind::moderated, max_delay};
  }

  /// Holds back while events come faster than one per quarter of `max_delay`, as a moving average: for that quarter, or
  /// for all of `max_delay` once 20 and more come in a quarter. The default; then these are 100 us, 400 us, and 200,000
  /// events a second.
  [[nodiscard]] static constexpr wakeup_policy adaptive(std::chrono::microseconds max_delay = longest_delay) noexcept {
    return {kind::adaptive, max_delay};
  }

  /// How the policy decides.
  enum class kind : std::uint8_t { immediate, moderated, adaptive };

  /// The default policy.
  constexpr wakeup_policy() noexcept : wakeup_policy{adaptive()} {}

  /// How it decides.
  [[nodiscard]] constexpr kind decides() const noexcept { return kind_; }
  /// The longest pause; zero for `immediate`.
  [[nodiscard]] constexpr std::chrono::microseconds max_delay() const noexcept { return max_delay_; }

  /// Same kind and delay.
  friend constexpr bool operator==(wakeup_policy const&, wakeup_policy const&) noexcept = default;

 private:
  static constexpr std::chrono::microseconds default_delay{100};
  static constexpr std::chrono::microseconds longest_delay{400};

  constexpr wakeup_policy(kind k, std::chrono::microseconds d) noexcept : kind_{k}, max_delay_{d} {}

  kind kind_;
  std::chrono::microseconds max_delay_;
};

}  // namespace tinybpf
