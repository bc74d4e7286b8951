// One program of a BPF object.
#pragma once

#include <tinybpf/error.hpp>
#include <tinybpf/link.hpp>
#include <tinybpf/test_run.hpp>
#include <tinybpf/types.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
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
  std::uint64_t recursion_misses = 0;       ///< Runs that were left out because the program ran on that CPU already.
  std::vector<std::uint32_t> map_ids;
};

/// How often a program ran.
struct program_stats {
  std::chrono::nanoseconds run_time{};  ///< Counted only while the kernel's BPF statistics are on: `enable_stats()`.
  std::uint64_t run_count = 0;          ///< Likewise.
  /// Runs that were left out because the program ran on that CPU already; counted always, since Linux 5.12.
  std::uint64_t recursion_misses = 0;
};

/// A handle of a program; copies mean the same program and share its object's state, which lives as long as one of
/// them.
///
/// A program may also be on its own: opened by a pin, number or descriptor, or cloned. It is loaded, has no section,
/// and lives as long as its handles. What needs libbpf's view of it, such as attaching, reports `errc::not_supported`.
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

  /// How often it ran, and for how long: a system call, and no more. Errors: as of `info`.
  [[nodiscard]] program_stats stats() const;
  /// @overload
  program_stats stats(error_code& ec) const;
  /// @overload
  program_stats stats(error_code& ec, diagnostics& details) const;

  /// How many instructions it has: before load those of its own, afterwards with the functions that it calls; of a
  /// program on its own those that the verifier made of them. 0 when closed.
  [[nodiscard]] std::size_t insn_count() const noexcept;

  /// Settings of a program that is not loaded yet, under libbpf's names. Errors of all: `errc::closed`,
  /// `errc::already_loaded`, `errc::operation_in_progress` (the object is being loaded), or libbpf's.
  ///
  /// Whether `object::load` loads it. A program that was not loaded has no descriptor, and everything that needs one
  /// reports `errc::not_loaded`.
  void set_autoload(bool on) const;
  /// @overload
  void set_autoload(bool on, error_code& ec) const;
  /// @overload
  void set_autoload(bool on, error_code& ec, diagnostics& details) const;
  /// What it is set to: true, but for a section whose name begins with '?'. False when closed.
  [[nodiscard]] bool autoload() const noexcept;
  /// What type of program it is to be, whatever the section says. The section's place then counts no more. Errors: as
  /// above.
  void set_type(program_type type) const;
  /// @overload
  void set_type(program_type type, error_code& ec) const;
  /// @overload
  void set_type(program_type type, error_code& ec, diagnostics& details) const;
  /// Which place, of those that programs of its type may be attached to, it is for. Errors: as above.
  void set_expected_attach_type(attach_type type) const;
  /// @overload
  void set_expected_attach_type(attach_type type, error_code& ec) const;
  /// @overload
  void set_expected_attach_type(attach_type type, error_code& ec, diagnostics& details) const;
  /// What it is set to. The first, `attach_type::cgroup_inet_ingress`, also stands for none, and for closed.
  [[nodiscard]] attach_type expected_attach_type() const noexcept;
  /// The kernel's function, LSM hook or tracepoint that it is for, whatever the section says: of fentry, fexit,
  /// fmod_ret, tp_btf and lsm programs. Errors: as above; ENOENT or ESRCH if the kernel's types have no such name, with
  /// those that are close.
  void set_attach_target(std::string_view function) const;
  /// @overload
  void set_attach_target(std::string_view function, error_code& ec) const;
  /// @overload
  void set_attach_target(std::string_view function, error_code& ec, diagnostics& details) const;
  /// The function of another program that it is for: that it replaces (freplace), or whose calls it sees (fentry,
  /// fexit). The target has to be loaded, and stays loaded as long as this program is. Errors: as above, and those of
  /// `target`: `errc::closed`, `errc::not_loaded`; ENOENT if it has no such function, EINVAL if it was loaded without
  /// BTF.
  void set_attach_target(program const& target, std::string_view function) const;
  /// @overload
  void set_attach_target(program const& target, std::string_view function, error_code& ec) const;
  /// @overload
  void set_attach_target(program const& target, std::string_view function, error_code& ec, diagnostics& details) const;
  /// What `verifier_log` is to have, as bits: 1 the path that was refused, 2 all that the verifier went through, 4 the
  /// numbers alone; 0, as it is at first, leaves the log to errors. Errors: as above; loading fails with EINVAL for
  /// other bits.
  void set_log_level(std::uint32_t level) const;
  /// @overload
  void set_log_level(std::uint32_t level, error_code& ec) const;
  /// @overload
  void set_log_level(std::uint32_t level, error_code& ec, diagnostics& details) const;
  /// BPF_F_..., such as BPF_F_SLEEPABLE or BPF_F_XDP_HAS_FRAGS, besides those that the section's name stands for.
  /// Errors: as above.
  void set_flags(std::uint32_t flags) const;
  /// @overload
  void set_flags(std::uint32_t flags, error_code& ec) const;
  /// @overload
  void set_flags(std::uint32_t flags, error_code& ec, diagnostics& details) const;
  /// What they are set to; 0 when closed.
  [[nodiscard]] std::uint32_t flags() const noexcept;
  /// The network interface that it is for: to be run by the device, or, with BPF_F_XDP_DEV_BOUND_ONLY (since Linux
  /// 6.3), to use what its driver knows. Errors: as above; loading fails with EINVAL if the interface cannot do it.
  void set_ifindex(std::uint32_t ifindex) const;
  /// @overload
  void set_ifindex(std::uint32_t ifindex, error_code& ec) const;
  /// @overload
  void set_ifindex(std::uint32_t ifindex, error_code& ec, diagnostics& details) const;

  /// Whether `object::attach` attaches it; may be set until then, also when the object is loaded. Errors:
  /// `errc::closed`, `errc::operation_in_progress`; `errc::not_supported` for a program on its own.
  void set_autoattach(bool on) const;
  /// @overload
  void set_autoattach(bool on, error_code& ec) const;
  /// @overload
  void set_autoattach(bool on, error_code& ec, diagnostics& details) const;
  /// What it is set to: true at first. False when closed.
  [[nodiscard]] bool autoattach() const noexcept;

  /// What the verifier said when the program was loaded or refused, if `set_log_level` asked for it: all of it, up to
  /// the kernel's limit of a gigabyte, of which only what was written takes memory. Empty before load, and of a program
  /// on its own. Thread-safe.
  [[nodiscard]] std::string verifier_log() const;

  /// Runs the program on input that is made up, in the kernel, attached or not; see test_run.hpp. Blocks until it is
  /// done: `async_test_run` keeps that off the loop. What a syscall program leaves of its context goes to `ctx_out`,
  /// and never to `ctx_in`. Errors: `errc::closed`, `errc::not_loaded`; EOPNOTSUPP if programs of its type cannot be
  /// run so, EINVAL for input that its type does not take (the hint says what it takes); ENOSPC if `data_out` or
  /// `ctx_out` is too small: then they have the beginning, the result is complete, and `expected_size` has the bytes
  /// that are wanted; ENXIO if there is no such CPU, or it is offline; EINTR if a signal came between two runs.
  test_run_result test_run(test_run_options const& options = {}) const;
  /// @overload
  test_run_result test_run(test_run_options const& options, error_code& ec) const;
  /// @overload
  test_run_result test_run(test_run_options const& options, error_code& ec, diagnostics& details) const;

  /// The program that is pinned at a path, on its own. Errors: the kernel's ENOENT, EACCES and others;
  /// `errc::wrong_program_type` if what is pinned there is no program.
  [[nodiscard]] static program open_pinned(std::filesystem::path const& path);
  /// @overload
  static program open_pinned(std::filesystem::path const& path, error_code& ec);
  /// @overload
  static program open_pinned(std::filesystem::path const& path, error_code& ec, diagnostics& details);
  /// The program of a number, as `info` and `program_ids` give it, on its own. Errors: ENOENT if there is none, EPERM
  /// without CAP_SYS_ADMIN.
  [[nodiscard]] static program open_by_id(std::uint32_t id);
  /// @overload
  static program open_by_id(std::uint32_t id, error_code& ec);
  /// @overload
  static program open_by_id(std::uint32_t id, error_code& ec, diagnostics& details);
  /// The program of a descriptor, which is duplicated, on its own. Errors: EBADF; `errc::wrong_program_type` if it is
  /// none of a program.
  [[nodiscard]] static program open_fd(int fd);
  /// @overload
  static program open_fd(int fd, error_code& ec);
  /// @overload
  static program open_fd(int fd, error_code& ec, diagnostics& details);
  /// The same program on its own, so that it outlives `object::close()`, and shares nothing with the object. Errors:
  /// `errc::closed`, `errc::not_loaded`, EMFILE.
  [[nodiscard]] program clone() const;
  /// @overload
  program clone(error_code& ec) const;
  /// @overload
  program clone(error_code& ec, diagnostics& details) const;

  /// Pins the program at a path of a BPF file system: it stays loaded until it is unpinned, also without this process.
  /// It is not attached by that: `link` has a pin of its own. Errors: `errc::closed`, `errc::not_loaded`, EPERM (no BPF
  /// file system, or a name with a dot), EEXIST (something is there, or the program has a pin already: a clone may have
  /// another), ENOENT (no such folder) and others.
  void pin(std::filesystem::path const& path) const;
  /// @overload
  void pin(std::filesystem::path const& path, error_code& ec) const;
  /// @overload
  void pin(std::filesystem::path const& path, error_code& ec, diagnostics& details) const;
  /// Removes the pin that `pin` made, or that the program was opened by. Errors: `errc::closed`, `errc::not_loaded`,
  /// `errc::not_found` (it has no pin), or the system's; EBUSY if what is there is not this program any more.
  void unpin() const;
  /// @overload
  void unpin(error_code& ec) const;
  /// @overload
  void unpin(error_code& ec, diagnostics& details) const;
  /// Where `unpin` would remove it; empty if nowhere. Thread-safe.
  [[nodiscard]] std::filesystem::path pin_path() const;

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

 private:
  friend struct detail::handle_access;
  explicit program(std::shared_ptr<detail::program_core> core) noexcept;

  std::shared_ptr<detail::program_core> core_;
};

/// The numbers of all programs that are loaded, of all processes, ascending. Errors: EPERM without CAP_SYS_ADMIN.
[[nodiscard]] std::vector<std::uint32_t> program_ids();
/// @overload
std::vector<std::uint32_t> program_ids(error_code& ec);
/// @overload
std::vector<std::uint32_t> program_ids(error_code& ec, diagnostics& details);

}  // namespace tinybpf
