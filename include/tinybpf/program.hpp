// One program of a BPF object.
#pragma once

#include <tinybpf/error.hpp>
#include <tinybpf/iter_options.hpp>
#include <tinybpf/link.hpp>
#include <tinybpf/types.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace tinybpf {

namespace detail {
struct program_core;
struct handle_access;
}  // namespace detail

/// What the kernel says about a loaded program.
struct program_info {
  program_info() = default;

  std::uint32_t id = 0;
  program_type type = program_type::unspec;
  std::string name;                         ///< As the kernel keeps it: the first 15 characters.
  std::string tag;                          ///< The hash of its instructions, 16 hexadecimal digits.
  std::uint32_t btf_id = 0;                 ///< 0 if loaded without BTF.
  std::uint32_t xlated_size = 0;            ///< Bytes of verified BPF instructions.
  std::uint32_t jited_size = 0;             ///< Bytes of machine code; 0 if interpreted.
  std::uint32_t verified_instructions = 0;  ///< What the verifier walked through.
  std::chrono::nanoseconds load_time{};     ///< Since boot.
  std::chrono::nanoseconds run_time{};      ///< Counted only while the kernel's BPF statistics are on.
  std::uint64_t run_count = 0;              ///< Likewise.
  std::vector<std::uint32_t> map_ids;
};

/// A handle of a program; copies mean the same program and share its object's state, which lives as long as one of
/// them.
///
/// Closed when default-constructed, moved from, or after `object::close()`: then `type()` is unspec, `fd()` is -1 and
/// every fallible call reports `errc::closed`.
///
/// Thread-safety: calls on the programs of one object may come from several threads at once; attaching is serialised
/// inside. One handle is for one thread at a time, and `object::close()` must not run beside other calls.
class program {
 public:
  /// A closed handle.
  program() noexcept = default;

  /// True until the object is closed.
  [[nodiscard]] bool is_open() const noexcept;
  /// @overload
  explicit operator bool() const noexcept { return is_open(); }

  /// The function's name. Empty only for a handle of no program; valid as long as the handle.
  [[nodiscard]] std::string_view name() const noexcept;
  /// The ELF section, such as "tracepoint/sched/sched_process_exec". Valid as long as the handle.
  [[nodiscard]] std::string_view section() const noexcept;
  /// The type, as the section implies.
  [[nodiscard]] program_type type() const noexcept;
  /// The descriptor, owned by the object; -1 before load and when closed.
  [[nodiscard]] int fd() const noexcept;

  /// What the kernel says about the program. Errors: `errc::closed`, `errc::not_loaded`, or the kernel's.
  [[nodiscard]] program_info info() const;
  /// @overload
  program_info info(error_code& ec) const;
  /// @overload
  program_info info(error_code& ec, diagnostics& details) const;

  /// Attaches as the section says. Blocks for less than a millisecond as a rule; `async_attach` keeps it off the loop.
  /// Errors: `errc::closed`, `errc::not_loaded`, `errc::not_supported` if the section names no place to attach to, the
  /// kernel's ENOENT, EPERM and others, with a hint where one is known.
  link attach() const;
  /// @overload
  link attach(error_code& ec) const;
  /// @overload
  link attach(error_code& ec, diagnostics& details) const;

  /// Attaches to a tracepoint, such as ("sched", "sched_process_exec"), whatever the section says. Errors: as
  /// `attach()`; ENOENT if there is no such tracepoint or tracefs is not mounted (the hint tells which).
  link attach_tracepoint(std::string_view category, std::string_view name) const;
  /// @overload
  link attach_tracepoint(std::string_view category, std::string_view name, error_code& ec) const;
  /// @overload
  link attach_tracepoint(std::string_view category, std::string_view name, error_code& ec, diagnostics& details) const;

  /// Attaches to a raw tracepoint, such as "sched_switch", whatever the section says. Errors: as `attach()`.
  link attach_raw_tracepoint(std::string_view name) const;
  /// @overload
  link attach_raw_tracepoint(std::string_view name, error_code& ec) const;
  /// @overload
  link attach_raw_tracepoint(std::string_view name, error_code& ec, diagnostics& details) const;

  /// Attaches an XDP program to a network interface, which runs it on every packet received: in the driver where that
  /// can, in the kernel's own code where not. `ifindex` is what `if_nametoindex` gives, and counts in the network
  /// namespace of the calling thread. When the interface is deleted, the program runs no more; the link stays until it
  /// is detached. Errors: as `attach()`; `errc::not_supported` if the program is of another type; ENODEV if there is no
  /// such interface; EBUSY or EEXIST if it has an XDP program already; what the driver refuses, such as ERANGE or
  /// EINVAL for an MTU that it cannot run XDP with.
  link attach_xdp(int ifindex) const;
  /// @overload
  link attach_xdp(int ifindex, error_code& ec) const;
  /// @overload
  link attach_xdp(int ifindex, error_code& ec, diagnostics& details) const;

  /// Attaches an iterator, as SEC("iter/task") makes it, to what the options say: nothing runs until somebody reads it,
  /// see iter_stream.hpp. Errors: as `attach()`; `errc::not_supported` if the program is no iterator, or one that
  /// cannot be told to walk that; EINVAL or EBADF if it has to be told what to walk; the errors of the map, ENOENT and
  /// others of a cgroup's path, ESRCH of a process that is not there, EBADF of a descriptor.
  link attach_iter(iter_options const& options = {}) const;
  /// @overload
  link attach_iter(iter_options const& options, error_code& ec) const;
  /// @overload
  link attach_iter(iter_options const& options, error_code& ec, diagnostics& details) const;

 private:
  friend struct detail::handle_access;
  explicit program(std::shared_ptr<detail::program_core> core) noexcept;

  std::shared_ptr<detail::program_core> core_;
};

}  // namespace tinybpf
