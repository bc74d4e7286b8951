#include "pin_path.hpp"

#include <linux/magic.h>
#include <sys/vfs.h>

#include <system_error>

namespace tinybpf::detail {

std::string why_no_pin(std::filesystem::path const& path, error_code code) {
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

}  // namespace tinybpf::detail
