#include "network.hpp"

#include "log_capture.hpp"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include <bpf/libbpf.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>
#include <tuple>
#include <utility>
#include <variant>

namespace tinybpf::detail {

int index_of(interface_ref const& interface) {
  int const missing = -ENODEV;
  if (auto const* const index = std::get_if<int>(&interface)) {
    char name[IF_NAMESIZE];
    if (*index <= 0) return missing;
    if (if_indextoname(static_cast<unsigned>(*index), name) != nullptr) return *index;
    return errno == ENXIO ? missing : -errno;
  }
  auto const& name = std::get<std::string>(interface);
  if (name.find('\0') != name.npos) return missing;
  auto const index = if_nametoindex(name.c_str());
  return index != 0 ? static_cast<int>(index) : -errno;
}

std::string text_of(interface_ref const& interface) {
  if (auto const* const name = std::get_if<std::string>(&interface)) return "interface '" + *name + "'";
  int const index = std::get<int>(interface);
  char name[IF_NAMESIZE];
  bool const named = index > 0 && if_indextoname(static_cast<unsigned>(index), name) != nullptr;
  return "interface " + std::to_string(index) + (named ? " (" + std::string{name} + ")" : std::string{});
}

std::vector<std::string> interface_names() {
  std::vector<std::string> names;
  std::unique_ptr<struct if_nameindex, void (*)(struct if_nameindex*)> const all{::if_nameindex(), if_freenameindex};
  for (auto const* i = all.get(); i != nullptr && i->if_index != 0; ++i) names.emplace_back(i->if_name);
  return names;
}

std::string text_of(path_or_fd const& place) {
  if (auto const* const path = std::get_if<std::filesystem::path>(&place)) return "'" + path->string() + "'";
  return "descriptor " + std::to_string(std::get<int>(place));
}

std::string text_of_program(std::uint32_t id) {
  bpf_prog_info info{};
  std::uint32_t size = sizeof info;
  owned_descriptor const fd{bpf_prog_get_fd_by_id(id)};
  if (fd.get() < 0 || bpf_obj_get_info_by_fd(fd.get(), &info, &size) != 0) return "program " + std::to_string(id);
  return "program '" + std::string{info.name} + "' (id " + std::to_string(id) + ")";
}

opened::opened(path_or_fd const& place, int flags) {
  if (auto const* const path = std::get_if<std::filesystem::path>(&place)) {
    own_.reset(open(path->c_str(), flags | O_CLOEXEC));
    fd_ = own_.get();
  } else {
    fd_ = std::get<int>(place);
    if (fd_ < 0) errno = EBADF;
  }
}

owned_descriptor duplicate_of(int fd) noexcept { return owned_descriptor{fcntl(fd, F_DUPFD_CLOEXEC, 3)}; }

std::string needs_linux(std::string_view what, int major, int minor) {
  utsname running{};
  int has_major = 0;
  int has_minor = 0;
  if (uname(&running) != 0 || std::sscanf(running.release, "%d.%d", &has_major, &has_minor) != 2) return {};
  if (std::tie(has_major, has_minor) >= std::tie(major, minor)) return {};
  return "this is Linux " + std::string{running.release} + ", and " + std::string{what} + " came with " +
         std::to_string(major) + "." + std::to_string(minor);
}

kept_netns::kept_netns() : fd_{open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)} {
  struct stat s {};
  if (fd_.get() < 0 || fstat(fd_.get(), &s) != 0) {
    error_ = errno;
    return;
  }
  device_ = s.st_dev;
  inode_ = s.st_ino;
}

int kept_netns::call(std::function<int()> const& f) const noexcept {
  try {
    struct stat here {};
    if (stat("/proc/thread-self/ns/net", &here) == 0 && here.st_dev == device_ && here.st_ino == inode_) {
      log_capture const quiet;
      return f();
    }
    int result = 0;
    std::thread{[&] {
      log_capture const quiet;
      result = setns(fd_.get(), CLONE_NEWNET) == 0 ? f() : errno;
    }}.join();
    return result;
  } catch (...) {  // no thread, or no memory
    return EAGAIN;
  }
}

int keep_created(int created, attachment_list& into) {
  if (created < 0) return created;
  into.push_back(std::make_unique<descriptor_attachment>(owned_descriptor{created}));
  return 0;
}

attached_programs::attached_programs(int place, bpf_attach_type type) : ids(64) {
  auto count = static_cast<std::uint32_t>(ids.size());
  error = std::abs(bpf_prog_query(place, type, 0, &flags, ids.data(), &count));
  ids.resize(error == 0 ? std::min<std::size_t>(count, ids.size()) : 0);
}

std::uint32_t id_of_program(int fd) noexcept {
  bpf_prog_info info{};
  std::uint32_t size = sizeof info;
  return bpf_obj_get_info_by_fd(fd, &info, &size) == 0 ? info.id : 0;
}

direct_attachment::~direct_attachment() {
  if (attached_ && !left()) detach();
}

int direct_attachment::attach(unsigned flags) noexcept {
  int const err = bpf_prog_attach(program_.get(), place_.get(), type_, flags);
  attached_ = err == 0;
  return err;
}

int direct_attachment::detach() noexcept {
  if (!std::exchange(attached_, false)) return 0;
  int err = 0;
  try {
    // A cgroup would let go of whichever program it has, if it can have one only.
    attached_programs const there{place_.get(), type_};
    auto const& ids = there.ids;
    bool const gone = there.error == 0 && std::find(ids.begin(), ids.end(), id_of_program(program_.get())) == ids.end();
    if (!gone) err = std::abs(bpf_prog_detach2(program_.get(), place_.get(), type_));
  } catch (...) {
    err = ENOMEM;
  }
  program_.reset(-1);
  place_.reset(-1);
  // It is gone with what it was attached to, or because somebody detached it.
  return err == ENOENT || err == ENODEV ? 0 : err;
}

}  // namespace tinybpf::detail
