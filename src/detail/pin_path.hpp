// Paths in a BPF file system.
#pragma once

#include <tinybpf/error.hpp>

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>

namespace tinybpf::detail {

/// Says what the path has to do with an EPERM, which the kernel gives for two reasons; empty for other errors.
std::string why_no_pin(std::filesystem::path const& path, error_code code);

/// The path that a pin made at `path` has from any folder: absolute, and without symbolic links on the way, as far as
/// that can be told.
std::filesystem::path resolved_pin_path(std::filesystem::path const& path);

/// The same of a pin that was opened at `path`, which may itself be a symbolic link to it: removing the pin must not
/// remove that.
std::filesystem::path opened_pin_path(std::filesystem::path const& path);

/// Where a map or program is pinned, as far as its handles know.
class pinned_path {
 public:
  /// The kernel's number for what a descriptor is of; 0 if it is of something else.
  using id_function = std::uint32_t (*)(int fd);

  /// `what` is how errors name whose descriptor it is. Errors: EEXIST if it is pinned already, and the system's. A pin
  /// that others removed or replaced is none any more.
  void pin(int fd, std::string const& what, id_function id_of, std::filesystem::path const& path, error_code& ec,
           diagnostics& details);

  /// Removes the pin, and nothing else that may be there by now. Errors: `errc::not_found` if it was not pinned, EBUSY
  /// if something else is there, and the system's.
  void unpin(int fd, std::string const& what, id_function id_of, error_code& ec, diagnostics& details);

  std::string get() const;
  void set(std::string path);

 private:
  /// 0 if the pin is where it was made, or an errno: EBUSY if something else is there.
  int look(int fd, id_function id_of) const;

  mutable std::mutex mutex_;
  std::string path_;
};

}  // namespace tinybpf::detail
