// Links that somebody attached already: by pin, number or descriptor.
#include "detail/descriptor_target.hpp"
#include "detail/link_state.hpp"
#include "detail/pin_path.hpp"
#include "detail/report.hpp"

#include <tinybpf/link.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace tinybpf {
namespace detail {
namespace {

struct thing {
  std::string_view target;
  std::string_view name;
  std::string_view opened_by;
};
constexpr std::array things{
    thing{map_target, "a map", "map::open_pinned"},
    thing{program_target, "a program", "program::open_pinned"},
};

/// EINVAL for what is no link, with what it is instead.
void refuse(int fd, std::string what, error_code& ec, diagnostics& details) {
  error_code unknown;
  auto const target = descriptor_target(fd, unknown);
  auto const* const found =
      std::find_if(things.begin(), things.end(), [&](thing const& t) { return t.target == target; });
  if (found == things.end()) return report(ec, details, from_libbpf(EINVAL), std::move(what) + ": it is no link");
  report(ec, details, from_libbpf(EINVAL), std::move(what) + ": it is " + std::string{found->name},
         std::string{found->opened_by} + " and its like are for that");
}

std::unique_ptr<link_state> make_state(owned_descriptor fd, std::string const& what, error_code& ec,
                                       diagnostics& details) {
  if (!is_link(fd.get())) {
    refuse(fd.get(), what, ec, details);
    return nullptr;
  }
  link_info known;
  if (int const err = read_link_info(fd.get(), known); err != 0) {
    report(ec, details, from_libbpf(err), what);
    return nullptr;
  }
  attachment_list attachments;
  attachments.push_back(std::make_unique<descriptor_attachment>(std::move(fd)));
  auto state = std::make_unique<link_state>(known.kind, std::move(attachments));
  state->opened = true;
  return state;
}

/// What is pinned in the folder, for who has misspelt a name.
std::vector<std::string> neighbours_of(std::filesystem::path const& path) {
  std::vector<std::string> names;
  std::error_code failed;
  auto const folder = path.has_parent_path() ? path.parent_path() : std::filesystem::path{"."};
  for (std::filesystem::directory_iterator at{folder, failed}, end; !failed && at != end; at.increment(failed))
    names.push_back(at->path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

// The kernel looks whether it is a link before it looks for the program, which -1 is not.
bool is_link(int fd) noexcept {
  return bpf_link_update(fd, -1, nullptr) != 0 && errno == EBADF && ::fcntl(fd, F_GETFD) != -1;
}

}  // namespace detail

using detail::owned_descriptor;
using detail::report;

namespace {
constexpr char const* needs_sys_admin = "this needs CAP_SYS_ADMIN, which the process lacks: run it as root or grant it";
}

link link::open_pinned(std::filesystem::path const& path) {
  return detail::or_throw([&](auto& ec, auto& details) { return open_pinned(path, ec, details); });
}

link link::open_pinned(std::filesystem::path const& path, error_code& ec) {
  diagnostics details;
  return open_pinned(path, ec, details);
}

link link::open_pinned(std::filesystem::path const& path, error_code& ec, diagnostics& details) {
  detail::begin(ec, details);
  auto const what = "cannot open the link pinned at " + path.string();
  owned_descriptor fd{bpf_obj_get(path.c_str())};
  if (fd.get() < 0) {
    auto const code = detail::last_errno();
    report(ec, details, code, what);
    if (code == boost::system::errc::no_such_file_or_directory) {
      details.names = detail::neighbours_of(path);
      details.hint = "of the folder: " + detail::near_names(path.filename().string(), details.names);
    }
    return {};
  }
  auto state = detail::make_state(std::move(fd), what, ec, details);
  if (!state) return {};
  // The pin itself, where the path is a symbolic link to it.
  std::error_code gone;
  auto const real = std::filesystem::canonical(path, gone);
  struct stat found {};
  if (!gone && ::lstat(real.c_str(), &found) == 0) state->pin = {real.string(), found.st_dev, found.st_ino};
  return link{std::move(state)};
}

link link::open_by_id(std::uint32_t id) {
  return detail::or_throw([&](auto& ec, auto& details) { return open_by_id(id, ec, details); });
}

link link::open_by_id(std::uint32_t id, error_code& ec) {
  diagnostics details;
  return open_by_id(id, ec, details);
}

link link::open_by_id(std::uint32_t id, error_code& ec, diagnostics& details) {
  detail::begin(ec, details);
  auto const what = "cannot open the link with the id " + std::to_string(id);
  owned_descriptor fd{bpf_link_get_fd_by_id(id)};
  if (fd.get() < 0) {
    auto const code = detail::last_errno();
    report(ec, details, code, what, code == boost::system::errc::operation_not_permitted ? needs_sys_admin : "");
    return {};
  }
  auto state = detail::make_state(std::move(fd), what, ec, details);
  return state ? link{std::move(state)} : link{};
}

link link::open_fd(int fd) {
  return detail::or_throw([&](auto& ec, auto& details) { return open_fd(fd, ec, details); });
}

link link::open_fd(int fd, error_code& ec) {
  diagnostics details;
  return open_fd(fd, ec, details);
}

link link::open_fd(int fd, error_code& ec, diagnostics& details) {
  detail::begin(ec, details);
  auto const what = "cannot open the link of descriptor " + std::to_string(fd);
  owned_descriptor copy{::fcntl(fd, F_DUPFD_CLOEXEC, 3)};
  if (copy.get() < 0) {
    report(ec, details, detail::last_errno(), what);
    return {};
  }
  auto state = detail::make_state(std::move(copy), what, ec, details);
  return state ? link{std::move(state)} : link{};
}

std::vector<std::uint32_t> link_ids() {
  return detail::or_throw([](auto& ec, auto& details) { return link_ids(ec, details); });
}

std::vector<std::uint32_t> link_ids(error_code& ec) {
  diagnostics details;
  return link_ids(ec, details);
}

std::vector<std::uint32_t> link_ids(error_code& ec, diagnostics& details) {
  detail::begin(ec, details);
  std::vector<std::uint32_t> ids;
  std::uint32_t id = 0;
  while (bpf_link_get_next_id(id, &id) == 0) ids.push_back(id);
  if (errno == ENOENT) return ids;
  auto const code = detail::last_errno();
  report(ec, details, code, "cannot list the links",
         code == boost::system::errc::operation_not_permitted ? needs_sys_admin : "");
  return {};
}

}  // namespace tinybpf
