// One program of a BPF object.
#pragma once

#include <tinybpf/attach_target.hpp>
#include <tinybpf/error.hpp>
#include <tinybpf/iter_options.hpp>
#include <tinybpf/link.hpp>
#include <tinybpf/test_run.hpp>
#include <tinybpf/types.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace tinybpf {

namespace detail {
struct program_core;
struct handle_access;

template <class... Report>
inline constexpr bool are_report_arguments = false;
template <>
inline constexpr bool are_report_arguments<> = true;
template <>
inline constexpr bool are_report_arguments<error_code> = true;
template <>
inline constexpr bool are_report_arguments<error_code, diagnostics> = true;

/// Nothing, an error_code, or that and a diagnostics: what may stand behind the arguments of a call.
template <class... Report>
concept report_arguments = are_report_arguments<Report...>;
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
  /// `ctx_out` is too small: then it has the beginning, `expected_size` the bytes that are wanted, and the result is
  /// there, though without the context if `data_out` is what was too small, and not at all if the packet is in parts,
  /// as one of more than a page is, of which `data_out` has not even room for the first; ENXIO if there is no such CPU,
  /// or it is offline; EINTR if a signal came between two runs.
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
  /// Where `unpin` would remove it, without symbolic links; empty if nowhere. Thread-safe.
  [[nodiscard]] std::filesystem::path pin_path() const;

  /// Attaches as the section says. Blocks for less than a millisecond as a rule; `async_attach` keeps it off the loop.
  /// Errors: `errc::closed`, `errc::not_loaded`, `errc::not_supported` if the section names no place to attach to, the
  /// kernel's ENOENT, EPERM and others, with a hint where one is known.
  link attach() const;
  /// @overload
  link attach(error_code& ec) const;
  /// @overload
  link attach(error_code& ec, diagnostics& details) const;

  /// Attaches to a place, whatever the section says: `attach(kprobe_target{"do_unlinkat"})`, or shorter the call below
  /// for each kind of place, which says no more. Errors of all: `errc::closed`; `errc::not_loaded`;
  /// `errc::wrong_program_type` if a program of this type has no such place; `errc::not_supported_by_libbpf` with the
  /// version that is needed; the kernel's ENOENT, EPERM, EBUSY and others, with names that are near to what was asked
  /// for, and a hint where one is known. Nothing is attached if one is reported.
  link attach(attach_target const& target) const;
  /// @overload
  link attach(attach_target const& target, error_code& ec) const;
  /// @overload
  link attach(attach_target const& target, error_code& ec, diagnostics& details) const;

  /// Attaches to a tracepoint, such as ("sched", "sched_process_exec"). ENOENT if there is no such tracepoint or
  /// tracefs is not mounted (the hint tells which). Detaching takes about 70 ms.
  ///
  /// What holds for all of these calls: an `error_code&`, or that and a `diagnostics&`, may follow the arguments, and
  /// nothing is thrown then.
  template <class... Report>
    requires detail::report_arguments<Report...>
  link attach_tracepoint(std::string category, std::string name, tracepoint_options options, Report&... report) const {
    return attach(tracepoint_target{std::move(category), std::move(name), options}, report...);
  }
  /// @overload
  template <class... Report>
    requires detail::report_arguments<Report...>
  link attach_tracepoint(std::string category, std::string name, Report&... report) const {
    return attach_tracepoint(std::move(category), std::move(name), tracepoint_options{}, report...);
  }

  /// Attaches to a raw tracepoint, such as "sched_switch".
  template <class... Report>
    requires detail::report_arguments<Report...>
  link attach_raw_tracepoint(std::string name, raw_tracepoint_options options, Report&... report) const {
    return attach(raw_tracepoint_target{std::move(name), options}, report...);
  }
  /// @overload
  template <class... Report>
    requires detail::report_arguments<Report...>
  link attach_raw_tracepoint(std::string name, Report&... report) const {
    return attach_raw_tracepoint(std::move(name), raw_tracepoint_options{}, report...);
  }

  /// Attaches a fentry, fexit, fmod_ret, tp_btf or lsm program to the function that it was loaded for.
  template <class... Report>
    requires detail::report_arguments<Report...>
  link attach_trace(trace_options options, Report&... report) const {
    return attach(trace_target{options}, report...);
  }
  /// @overload
  template <class... Report>
    requires detail::report_arguments<Report...>
  link attach_trace(Report&... report) const {
    return attach_trace(trace_options{}, report...);
  }

  /// Attaches to the entry, the return, or an instruction of a function of the kernel. ENOENT if it has no such
  /// function.
  template <class... Report>
    requires detail::report_arguments<Report...>
  link attach_kprobe(std::string function, kprobe_options options, Report&... report) const {
    return attach(kprobe_target{std::move(function), options}, report...);
  }
  /// @overload
  template <class... Report>
    requires detail::report_arguments<Report...>
  link attach_kprobe(std::string function, Report&... report) const {
    return attach_kprobe(std::move(function), kprobe_options{}, report...);
  }

  /// Attaches to functions of the kernel at once, of which a pattern with * and ? or a list, a
  /// std::vector<std::string>, names any number. The program is loaded for that: SEC("kprobe.multi").
  template <class... Report>
    requires detail::report_arguments<Report...>
  link attach_kprobe_multi(std::variant<std::string, std::vector<std::string>> functions, kprobe_multi_options options,
                           Report&... report) const {
    return attach(kprobe_multi_target{std::move(functions), options}, report...);
  }
  /// @overload
  template <class... Report>
    requires detail::report_arguments<Report...>
  link attach_kprobe_multi(std::variant<std::string, std::vector<std::string>> functions, Report&... report) const {
    return attach_kprobe_multi(std::move(functions), kprobe_multi_options{}, report...);
  }

  /// Attaches to a system call, such as "openat2".
  template <class... Report>
    requires detail::report_arguments<Report...>
  link attach_ksyscall(std::string syscall, ksyscall_options options, Report&... report) const {
    return attach(ksyscall_target{std::move(syscall), options}, report...);
  }
  /// @overload
  template <class... Report>
    requires detail::report_arguments<Report...>
  link attach_ksyscall(std::string syscall, Report&... report) const {
    return attach_ksyscall(std::move(syscall), ksyscall_options{}, report...);
  }

  /// Attaches to a function of a program or library or, where `function` is empty, to `options.offset` in its file.
  template <class... Report>
    requires detail::report_arguments<Report...>
  link attach_uprobe(std::filesystem::path binary, std::string function, uprobe_options options,
                     Report&... report) const {
    return attach(uprobe_target{std::move(binary), std::move(function), options}, report...);
  }
  /// @overload
  template <class... Report>
    requires detail::report_arguments<Report...>
  link attach_uprobe(std::filesystem::path binary, std::string function, Report&... report) const {
    return attach_uprobe(std::move(binary), std::move(function), uprobe_options{}, report...);
  }

  /// Attaches to functions of a program or library at once, of which a pattern with * and ? or a list, a
  /// std::vector<std::string>, names any number. The program is loaded for that: SEC("uprobe.multi").
  template <class... Report>
    requires detail::report_arguments<Report...>
  link attach_uprobe_multi(std::filesystem::path binary, std::variant<std::string, std::vector<std::string>> functions,
                           uprobe_multi_options options, Report&... report) const {
    return attach(uprobe_multi_target{std::move(binary), std::move(functions), options}, report...);
  }
  /// @overload
  template <class... Report>
    requires detail::report_arguments<Report...>
  link attach_uprobe_multi(std::filesystem::path binary, std::variant<std::string, std::vector<std::string>> functions,
                           Report&... report) const {
    return attach_uprobe_multi(std::move(binary), std::move(functions), uprobe_multi_options{}, report...);
  }

  /// Attaches to a static tracepoint of a program or library.
  template <class... Report>
    requires detail::report_arguments<Report...>
  link attach_usdt(std::filesystem::path binary, std::string provider, std::string name, usdt_options options,
                   Report&... report) const {
    return attach(usdt_target{std::move(binary), std::move(provider), std::move(name), options}, report...);
  }
  /// @overload
  template <class... Report>
    requires detail::report_arguments<Report...>
  link attach_usdt(std::filesystem::path binary, std::string provider, std::string name, Report&... report) const {
    return attach_usdt(std::move(binary), std::move(provider), std::move(name), usdt_options{}, report...);
  }

  /// Runs the program at samples: by default 1,000 times a second of work on each CPU.
  template <class... Report>
    requires detail::report_arguments<Report...>
  link attach_perf_event(perf_event_options options, Report&... report) const {
    return attach(perf_event_target{options}, report...);
  }
  /// @overload
  template <class... Report>
    requires detail::report_arguments<Report...>
  link attach_perf_event(Report&... report) const {
    return attach_perf_event(perf_event_options{}, report...);
  }

  /// Attaches an XDP program to a network interface, which runs it on every packet received. When the interface is
  /// deleted, the program runs no more; the link stays until it is detached. ENODEV if there is no such interface;
  /// EBUSY or EEXIST if it has an XDP program already; what the driver refuses, such as ERANGE or EINVAL for an MTU
  /// that it cannot run XDP with.
  template <class... Report>
    requires detail::report_arguments<Report...>
  link attach_xdp(interface_ref interface, xdp_options options, Report&... report) const {
    return attach(xdp_target{std::move(interface), options}, report...);
  }
  /// @overload
  template <class... Report>
    requires detail::report_arguments<Report...>
  link attach_xdp(interface_ref interface, Report&... report) const {
    return attach_xdp(std::move(interface), xdp_options{}, report...);
  }

  /// Attaches to an interface through clsact, as `tc filter add` does. ENODEV if there is no such interface; EEXIST if
  /// handle and priority are another filter's; EINVAL for numbers that make no sense, and for egress where an old
  /// ingress qdisc is; ENOSPC, or EINVAL of older kernels, if there is no priority left to choose. What another took
  /// the place of, and what is gone with its interface, is detached without an error.
  template <class... Report>
    requires detail::report_arguments<Report...>
  link attach_tc(interface_ref interface, tc_options options, Report&... report) const {
    return attach(tc_target{std::move(interface), options}, report...);
  }
  /// @overload
  template <class... Report>
    requires detail::report_arguments<Report...>
  link attach_tc(interface_ref interface, Report&... report) const {
    return attach_tc(std::move(interface), tc_options{}, report...);
  }

  /// Attaches to an interface through TCX. ENODEV if there is no such interface; EEXIST if the program is there
  /// already; ENOENT and ESTALE if the order cannot be as asked for; EINVAL before Linux 6.6.
  template <class... Report>
    requires detail::report_arguments<Report...>
  link attach_tcx(interface_ref interface, tcx_options options, Report&... report) const {
    return attach(tcx_target{std::move(interface), options}, report...);
  }
  /// @overload
  template <class... Report>
    requires detail::report_arguments<Report...>
  link attach_tcx(interface_ref interface, Report&... report) const {
    return attach_tcx(std::move(interface), tcx_options{}, report...);
  }

  /// Attaches to a netkit device. ENODEV, ENXIO or EACCES if there is none, or if it is its peer; otherwise as for TCX.
  template <class... Report>
    requires detail::report_arguments<Report...>
  link attach_netkit(interface_ref interface, netkit_options options, Report&... report) const {
    return attach(netkit_target{std::move(interface), options}, report...);
  }
  /// @overload
  template <class... Report>
    requires detail::report_arguments<Report...>
  link attach_netkit(interface_ref interface, Report&... report) const {
    return attach_netkit(std::move(interface), netkit_options{}, report...);
  }

  /// Attaches to a control group, and those below it. ENOENT, ENOTDIR or EBADF if there is no such group; EPERM if it,
  /// or one above it, is held in a way that leaves no room; EBUSY if a program would be replaced.
  template <class... Report>
    requires detail::report_arguments<Report...>
  link attach_cgroup(path_or_fd cgroup, cgroup_options options, Report&... report) const {
    return attach(cgroup_target{std::move(cgroup), options}, report...);
  }
  /// @overload
  template <class... Report>
    requires detail::report_arguments<Report...>
  link attach_cgroup(path_or_fd cgroup, Report&... report) const {
    return attach_cgroup(std::move(cgroup), cgroup_options{}, report...);
  }

  /// Attaches to a sockmap or sockhash, for the sockets that are put into it from now on. EBADF if the map is closed;
  /// EINVAL if it is of another type; EBUSY if it has a program of this kind.
  template <class... Report>
    requires detail::report_arguments<Report...>
  link attach_sockmap(map sockets, sockmap_options options, Report&... report) const {
    return attach(sockmap_target{std::move(sockets), options}, report...);
  }
  /// @overload
  template <class... Report>
    requires detail::report_arguments<Report...>
  link attach_sockmap(map sockets, Report&... report) const {
    return attach_sockmap(std::move(sockets), sockmap_options{}, report...);
  }

  /// Attaches to a network namespace, such as "/proc/thread-self/ns/net". EINVAL if that is something else; EEXIST and
  /// E2BIG if it can have no more, as of flow dissectors.
  template <class... Report>
    requires detail::report_arguments<Report...>
  link attach_netns(path_or_fd netns, Report&... report) const {
    return attach(netns_target{std::move(netns)}, report...);
  }

  /// Attaches to a hook of the kernel's packet filter, in the network namespace of the calling thread. EBUSY if another
  /// program has the priority; EAFNOSUPPORT, EPROTO or ERANGE if there is no such family, hook or priority.
  template <class... Report>
    requires detail::report_arguments<Report...>
  link attach_netfilter(netfilter_options options, Report&... report) const {
    return attach(netfilter_target{options}, report...);
  }

  /// Puts the program in the place of a global function of another one, which is loaded: `errc::closed` or
  /// `errc::not_loaded` if it is not.
  link attach_freplace(program const& target, std::string function) const;
  /// @overload
  link attach_freplace(program const& target, std::string function, error_code& ec) const;
  /// @overload
  link attach_freplace(program const& target, std::string function, error_code& ec, diagnostics& details) const;

  /// Attaches to a socket of Asio's, of any kind, or whatever else has a `native_handle()`. The link refers to the
  /// socket without keeping it open: once the socket is closed, there is nothing left to detach, and a later socket
  /// with the same descriptor is left alone. EBADF if the socket is not open; EBUSY if it has a filter; EPERM if that
  /// is locked.
  template <class Socket, class... Report>
    requires detail::report_arguments<Report...> && requires(Socket& s) { int{s.native_handle()}; }
  link attach_to(Socket& socket, socket_options options, Report&... report) const {
    return attach(socket_target{socket.native_handle(), options}, report...);
  }
  /// @overload
  template <class Socket, class... Report>
    requires detail::report_arguments<Report...> && requires(Socket& s) { int{s.native_handle()}; }
  link attach_to(Socket& socket, Report&... report) const {
    return attach_to(socket, socket_options{}, report...);
  }

  /// Attaches an iterator, as SEC("iter/task") makes it, to what the options say: nothing runs until somebody reads it,
  /// see iter_stream.hpp. `errc::not_supported` if it cannot be told to walk that; EINVAL or EBADF if it has to be told
  /// what to walk; the errors of the map, ENOENT and others of a cgroup's path, EBADF of a descriptor. A process that
  /// is not there is none of these: then nothing is walked.
  template <class... Report>
    requires detail::report_arguments<Report...>
  link attach_iter(iter_options options, Report&... report) const {
    return attach(iter_target{std::move(options)}, report...);
  }
  /// @overload
  template <class... Report>
    requires detail::report_arguments<Report...>
  link attach_iter(Report&... report) const {
    return attach_iter(iter_options{}, report...);
  }

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
