// The kernel's statistics of how often programs run, and for how long.
#pragma once

#include <tinybpf/detail/owned_descriptor.hpp>
#include <tinybpf/error.hpp>

namespace tinybpf {

/// While it lives, the kernel counts the runs of all programs, of all processes, and their time; reading the clock
/// costs each run some 20 ns. They are counted as long as one of these lives anywhere. Move-only; not open when
/// default-constructed, moved from or closed.
class [[nodiscard]] run_time_stats {
 public:
  /// Counts nothing.
  run_time_stats() noexcept = default;
  /// Takes over a descriptor of BPF_ENABLE_STATS.
  explicit run_time_stats(int fd) noexcept : fd_{fd} {}

  /// True while it counts.
  [[nodiscard]] bool is_open() const noexcept { return fd_.get() >= 0; }
  /// @overload
  explicit operator bool() const noexcept { return is_open(); }
  /// The descriptor that keeps the statistics on, owned; -1 if none.
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  /// Ends the counting before the destructor does. Idempotent.
  void close() noexcept { fd_.reset(-1); }

 private:
  detail::owned_descriptor fd_;
};

/// Lets the kernel count the runs of programs and their time, which `program::stats` and `program::info` then have.
/// Errors: EPERM without CAP_SYS_ADMIN; EINVAL before Linux 5.8.
run_time_stats enable_stats();
/// @overload
run_time_stats enable_stats(error_code& ec);
/// @overload
run_time_stats enable_stats(error_code& ec, diagnostics& details);

}  // namespace tinybpf
