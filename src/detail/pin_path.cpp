#include "pin_path.hpp"

#include "report.hpp"

#include <tinybpf/detail/owned_descriptor.hpp>

#include <bpf/bpf.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

namespace tinybpf::detail {

std::string why_no_pin(std::filesystem::path const& path, error_code code) {
  if (code == boost::system::errc::file_exists) return "something is there already";
  if (code != boost::system::errc::operation_not_permitted) return {};
  struct statfs found {};
  auto const folder = path.has_parent_path() ? path.parent_path() : std::filesystem::path{"."};
  if (::statfs(folder.c_str(), &found) == 0 && found.f_type != static_cast<decltype(found.f_type)>(BPF_FS_MAGIC))
    return folder.string() + " is in no BPF file system; /sys/fs/bpf is one where it is mounted";
  if (path.filename().string().find('.') != std::string::npos) return "a pin's name must have no dot";
  return {};
}

std::filesystem::path resolved_pin_path(std::filesystem::path const& path) {
  std::error_code failed;
  auto const folder = std::filesystem::canonical(path.has_parent_path() ? path.parent_path() : ".", failed);
  if (!failed) return folder / path.filename();
  auto whole = std::filesystem::absolute(path, failed);
  return failed ? path : whole;
}

std::filesystem::path opened_pin_path(std::filesystem::path const& path) {
  std::error_code failed;
  auto real = std::filesystem::canonical(path, failed);
  return failed ? resolved_pin_path(path) : real;
}

int pinned_path::look(int fd, id_function id_of) const {
  owned_descriptor const found{bpf_obj_get(path_.c_str())};
  if (found.get() < 0) return -found.get();
  auto const id = id_of(found.get());
  return id != 0 && id == id_of(fd) ? 0 : EBUSY;
}

void pinned_path::pin(int fd, std::string const& what, id_function id_of, std::filesystem::path const& path,
                      error_code& ec, diagnostics& details) {
  auto const failure = "cannot pin " + what + " at " + path.string();
  auto where = resolved_pin_path(path).string();
  std::lock_guard const lock{mutex_};
  if (int const gone = path_.empty() ? ENOENT : look(fd, id_of); gone != ENOENT && gone != ENOTDIR && gone != EBUSY)
    return report(ec, details, from_libbpf(EEXIST), failure + ": it is pinned at " + path_);
  if (int const err = bpf_obj_pin(fd, path.c_str()); err != 0) {
    auto const code = from_libbpf(err);
    return report(ec, details, code, failure, why_no_pin(path, code));
  }
  path_ = std::move(where);
}

void pinned_path::unpin(int fd, std::string const& what, id_function id_of, error_code& ec, diagnostics& details) {
  std::lock_guard const lock{mutex_};
  auto const failure = "cannot unpin " + what;
  if (path_.empty()) return report(ec, details, errc::not_found, failure + ": it was not pinned");
  auto const there = failure + " at " + path_;
  if (int const err = look(fd, id_of); err != 0) {
    if (err == ENOENT) path_.clear();
    return report(ec, details, from_libbpf(err), there + (err == EBUSY ? ": something else is pinned there" : ""));
  }
  if (::unlink(path_.c_str()) != 0) return report(ec, details, last_errno(), there);
  path_.clear();
}

std::string pinned_path::get() const {
  std::lock_guard const lock{mutex_};
  return path_;
}

void pinned_path::set(std::string path) {
  std::lock_guard const lock{mutex_};
  path_ = std::move(path);
}

}  // namespace tinybpf::detail
