// Maps of stack traces.
#pragma once

#include <tinybpf/error.hpp>
#include <tinybpf/map.hpp>

#include <cstdint>
#include <optional>
#include <vector>

namespace tinybpf {

/// The stacks that a program has collected with bpf_get_stackid(), by the number that this has given.
///
/// A handle of the map, closed when the map is: then every call reports `errc::closed`. Thread-safety: as the map's.
class stack_trace_map {
 public:
  /// Of a closed map.
  stack_trace_map() noexcept = default;
  /// Errors: `errc::closed`, `errc::wrong_map_type`; `errc::not_supported` for a map of build ids
  /// (BPF_F_STACK_BUILD_ID), which has no addresses.
  explicit stack_trace_map(map m);
  /// @overload Closed after an error.
  stack_trace_map(map m, error_code& ec);
  /// @overload
  stack_trace_map(map m, error_code& ec, diagnostics& details);

  /// The map itself.
  [[nodiscard]] map const& untyped() const noexcept { return map_; }

  /// The addresses, innermost first; nothing if there is no such stack. Errors: `errc::closed`, `errc::not_loaded`, or
  /// the kernel's.
  [[nodiscard]] std::optional<std::vector<std::uint64_t>> lookup(std::uint32_t id) const;
  /// @overload
  std::optional<std::vector<std::uint64_t>> lookup(std::uint32_t id, error_code& ec) const;
  /// @overload
  std::optional<std::vector<std::uint64_t>> lookup(std::uint32_t id, error_code& ec, diagnostics& details) const;

  /// Frees the number for another stack; false, and no error, if there was none. Errors: as of `lookup`.
  bool erase(std::uint32_t id) const;
  /// @overload
  bool erase(std::uint32_t id, error_code& ec) const;
  /// @overload
  bool erase(std::uint32_t id, error_code& ec, diagnostics& details) const;

 private:
  map map_;
};

}  // namespace tinybpf
