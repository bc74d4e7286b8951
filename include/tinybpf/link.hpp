// What keeps a program attached.
#pragma once

#include <tinybpf/error.hpp>
#include <tinybpf/link_info.hpp>
#include <tinybpf/types.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

namespace tinybpf {

class program;

namespace detail {
class link_state;
struct link_access;
}  // namespace detail

/// Owns one or more attachments of a program: the program runs while the link lives.
///
/// Move-only. An empty, detached, released or moved-from link has kind `none` and fd -1. It outlives the object it came
/// from: neither destroying nor closing the object detaches anything.
///
/// Most kinds are a bpf_link of the kernel, which lives as long as a descriptor or a pin refers to it. What is none
/// (clsact filters, `xdp_options::replace` where there was a program, `socket`, `cgroup_mode` other than `link`,
/// sockmaps before Linux 6.10), and what is several (`usdt`, a perf event on every CPU), has no `fd` and no `pin`:
/// these report `errc::not_supported`, and name the kind. Nor has it `update_program` and `info`, except for clsact
/// filters and replaced XDP programs.
///
/// A link that was opened, by its pin, id or descriptor, is another handle of what somebody attached: destroying it
/// detaches only if it was the last one. `detach` means it for all of them.
///
/// Thread-safety: distinct links are independent, also links of one object; one link is for one thread at a time.
class [[nodiscard]] link {
 public:
  /// An empty link.
  link() noexcept;
  link(link&& other) noexcept;
  link& operator=(link&& other) noexcept;

  /// Detaches, unless the link is pinned: that is what a pin is for. Blocks as `detach()` does, except for a link made
  /// by `async_attach`, which hands the work to the worker of its execution context. In a child that was forked since,
  /// it detaches nothing, for the parent has the link too: a daemon that attached before it forked calls `detach`.
  ~link();

  /// The link that is pinned at a path. Errors: the system's ENOENT, EACCES and others; EINVAL if a map or a program is
  /// pinned there.
  static link open_pinned(std::filesystem::path const& path);
  /// @overload
  static link open_pinned(std::filesystem::path const& path, error_code& ec);
  /// @overload
  static link open_pinned(std::filesystem::path const& path, error_code& ec, diagnostics& details);

  /// The link with the kernel's number for it, which `link_ids` lists. Errors: ENOENT, or EPERM without CAP_SYS_ADMIN.
  static link open_by_id(std::uint32_t id);
  /// @overload
  static link open_by_id(std::uint32_t id, error_code& ec);
  /// @overload
  static link open_by_id(std::uint32_t id, error_code& ec, diagnostics& details);

  /// The link of a descriptor, which stays the caller's: this one owns a duplicate. Errors: EBADF, or EINVAL if it is
  /// of something else.
  static link open_fd(int fd);
  /// @overload
  static link open_fd(int fd, error_code& ec);
  /// @overload
  static link open_fd(int fd, error_code& ec, diagnostics& details);

  /// True while attached, as far as this link has to do with it.
  [[nodiscard]] bool attached() const noexcept;
  /// @overload
  explicit operator bool() const noexcept { return attached(); }

  /// How the attachments are held; `link_kind::none` if there are none. Of a link that was opened: as far as the kernel
  /// tells, which takes a tp_btf program for a raw_tracepoint and, before Linux 6.6, all perf events for one kind.
  [[nodiscard]] link_kind kind() const noexcept;

  /// The number of attachments.
  [[nodiscard]] std::size_t size() const noexcept;

  /// Detaches, and blocks until the kernel has done so: about 70 ms for a tracepoint, microseconds for most others.
  /// Afterwards the link is empty even if an error is reported, which is what closing a descriptor may report.
  /// Idempotent: an empty link does nothing.
  ///
  /// The pin of a pinned link is removed first, if it is still there. The program then stops, whoever else has the
  /// link, if it is of the kinds that the kernel can detach (xdp, tcx, netkit, cgroup, netns, netfilter, sockmap). Of
  /// the others it stops with the last descriptor and pin. Of a link that was opened or pinned EBUSY says that there
  /// are more of them, as far as this user may know (CAP_SYS_ADMIN), and the link is given up. If the pin cannot be
  /// removed, that error is reported, and the link stays as it was.
  void detach();
  /// @overload
  void detach(error_code& ec);
  /// @overload
  void detach(error_code& ec, diagnostics& details);

  /// Gives the attachments up without detaching: the link is empty, and the program goes on. Returns the descriptor
  /// that keeps it attached, now the caller's to close, or to leave open for as long as the process lives; -1 if none
  /// is needed, because the link is pinned or of what stays by itself: clsact filters, replaced XDP programs, socket
  /// filters and choosers, the `cgroup_mode`s other than `link`, sockmaps before Linux 6.10, struct_ops without a link.
  /// `open_fd` makes a link of the descriptor again. Errors, with which the link stays as it was: `errc::closed` on an
  /// empty link; `errc::not_supported` if there is more than one descriptor; EMFILE.
  [[nodiscard]] int release();
  /// @overload
  int release(error_code& ec);
  /// @overload
  int release(error_code& ec, diagnostics& details);

  /// The kernel's descriptor of the attachment, owned by the link, for calls that this library does not make.
  /// Errors: `errc::closed` on an empty link, `errc::not_supported` if there is not exactly one descriptor.
  [[nodiscard]] int fd() const;
  /// @overload
  int fd(error_code& ec) const;
  /// @overload
  int fd(error_code& ec, diagnostics& details) const;

  /// Pins the link at a path of a BPF file system: the program stays attached until the pin is removed, also without
  /// this link and this process, if no descriptor is left by then. Errors: `errc::closed`, `errc::not_supported`; EPERM
  /// (the path is in no BPF file system, or the name has a dot), EEXIST (something is there, or the link has a pin
  /// already: another handle may have another), ENOENT (no such folder) and others.
  void pin(std::filesystem::path const& path);
  /// @overload
  void pin(std::filesystem::path const& path, error_code& ec);
  /// @overload
  void pin(std::filesystem::path const& path, error_code& ec, diagnostics& details);

  /// Removes the pin that `pin` made, or that the link was opened by: the program stays attached while the link lives.
  /// Errors: `errc::closed`, `errc::not_found` (it has no pin), or the system's; ENOENT if somebody removed it, after
  /// which the link has no pin; EBUSY if what is there is not this pin any more.
  void unpin();
  /// @overload
  void unpin(error_code& ec);
  /// @overload
  void unpin(error_code& ec, diagnostics& details);

  /// Where `unpin` would remove it; empty if nowhere. Whether it is still there is not looked at.
  [[nodiscard]] std::filesystem::path pin_path() const;
  /// True if `pin_path` is not empty.
  [[nodiscard]] bool is_pinned() const noexcept;

  /// Replaces the program that runs by another, at once: each event is seen by one of the two. It must be of the same
  /// type, and for the same attach type; the old one may be unloaded. Errors: `errc::closed`, of the link or the
  /// program; `errc::not_loaded`; `errc::not_supported` of what is no bpf_link, other than clsact filters and replaced
  /// XDP programs; EINVAL if the program is of another type, or the link of a kind whose program the kernel cannot
  /// replace, which are all but xdp, tc, tcx, netkit, cgroup, netns, sockmap and iter (the hint tells which); ENOLINK
  /// if what the link was attached to is gone, or a clsact filter is by now somebody else's; EEXIST if a replaced XDP
  /// program is not there any more.
  void update_program(program const& next);
  /// @overload
  void update_program(program const& next, error_code& ec);
  /// @overload
  void update_program(program const& next, error_code& ec, diagnostics& details);

  /// Likewise, only if `expected` runs now (BPF_F_REPLACE). Errors: as above; EPERM if it is another. Of a clsact
  /// filter that is looked at before, so that who replaces it in the same moment is not noticed.
  void update_program(program const& next, program const& expected);
  /// @overload
  void update_program(program const& next, program const& expected, error_code& ec);
  /// @overload
  void update_program(program const& next, program const& expected, error_code& ec, diagnostics& details);

  /// What the kernel says about the link; of a clsact filter and a replaced XDP program what was attached, for the
  /// kernel keeps no link, and so an id of 0. Errors: `errc::closed`; `errc::not_supported` if it is neither these nor
  /// one bpf_link; or the kernel's.
  [[nodiscard]] link_info info() const;
  /// @overload
  link_info info(error_code& ec) const;
  /// @overload
  link_info info(error_code& ec, diagnostics& details) const;

 private:
  friend struct detail::link_access;
  explicit link(std::unique_ptr<detail::link_state> state) noexcept;
  bool has_descriptor(char const* call, error_code& ec, diagnostics& details) const;
  void replace_program(program const& next, program const* expected, error_code& ec, diagnostics& details);

  std::unique_ptr<detail::link_state> state_;
};

/// The kernel's numbers of all bpf_links, ascending. Errors: EPERM without CAP_SYS_ADMIN. Thread-safe.
[[nodiscard]] std::vector<std::uint32_t> link_ids();
/// @overload
std::vector<std::uint32_t> link_ids(error_code& ec);
/// @overload
std::vector<std::uint32_t> link_ids(error_code& ec, diagnostics& details);

}  // namespace tinybpf
