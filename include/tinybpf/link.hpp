// What keeps a program attached.
#pragma once

#include <tinybpf/error.hpp>
#include <tinybpf/types.hpp>

#include <cstddef>
#include <memory>

namespace tinybpf {

namespace detail {
class link_state;
struct link_access;
}  // namespace detail

/// Owns one or more attachments of a program: the program runs while the link lives.
///
/// Move-only. An empty, detached or moved-from link has kind `none` and fd -1. It outlives the object it came from:
/// neither destroying nor closing the object detaches anything.
///
/// Thread-safety: distinct links are independent, also links of one object; one link is for one thread at a time.
class [[nodiscard]] link {
 public:
  /// An empty link.
  link() noexcept;
  link(link&& other) noexcept;
  link& operator=(link&& other) noexcept;

  /// Detaches. Blocks as `detach()` does, except for a link made by `async_attach`, which hands the work to the worker
  /// of its execution context.
  ~link();

  /// True while attached.
  [[nodiscard]] bool attached() const noexcept;
  /// @overload
  explicit operator bool() const noexcept { return attached(); }

  /// How the attachments are held; `link_kind::none` if there are none.
  [[nodiscard]] link_kind kind() const noexcept;

  /// The number of attachments.
  [[nodiscard]] std::size_t size() const noexcept;

  /// Detaches, and blocks until the kernel has done so: about 70 ms for a tracepoint, microseconds for most others.
  /// Afterwards the link is empty even if an error is reported, which is what closing a descriptor may report.
  /// Idempotent: an empty link does nothing.
  void detach();
  /// @overload
  void detach(error_code& ec);
  /// @overload
  void detach(error_code& ec, diagnostics& details);

  /// The kernel's descriptor of the attachment, owned by the link, for calls that this library does not make.
  /// Errors: `errc::closed` on an empty link, `errc::not_supported` if there is not exactly one descriptor.
  [[nodiscard]] int fd() const;
  /// @overload
  int fd(error_code& ec) const;
  /// @overload
  int fd(error_code& ec, diagnostics& details) const;

 private:
  friend struct detail::link_access;
  explicit link(std::unique_ptr<detail::link_state> state) noexcept;

  std::unique_ptr<detail::link_state> state_;
};

}  // namespace tinybpf
