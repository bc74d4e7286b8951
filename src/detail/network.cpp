#include "network.hpp"

#include "log_capture.hpp"

#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include <bpf/libbpf.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <span>
#include <thread>
#include <tuple>
#include <utility>
#include <variant>

namespace tinybpf::detail {
namespace {

constexpr std::size_t longest_name = 128;  // ALTIFNAMSIZ of linux/if.h, which libc's header does not go with

// Of one that is not given by its name.
std::int64_t number_of(interface_ref const& interface) {
  auto const* const number = std::get_if<int>(&interface);
  return number != nullptr ? std::int64_t{*number} : std::int64_t{std::get<std::uint32_t>(interface)};
}

// Its longer names, as `ip link property add` gives them, are no argument of the older calls.
int index_of_long(std::string const& name) {
  struct {
    nlmsghdr header;
    ifinfomsg about;
    rtattr field;
    std::array<char, longest_name> text;
  } request{};
  if (name.size() >= request.text.size()) return -ENODEV;
  request.header.nlmsg_type = RTM_GETLINK;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  request.field.rta_type = IFLA_ALT_IFNAME;
  request.field.rta_len = static_cast<unsigned short>(RTA_LENGTH(name.size() + 1));
  request.header.nlmsg_len = static_cast<std::uint32_t>(NLMSG_LENGTH(sizeof request.about) + request.field.rta_len);
  name.copy(request.text.data(), name.size());
  int index = -ENODEV;
  int const err = ask_route(request.header, [&](std::uint16_t type, std::span<char const> body) {
    ifinfomsg found{};
    if (type == RTM_NEWLINK && body.size() >= sizeof found) {
      std::memcpy(&found, body.data(), sizeof found);
      index = found.ifi_index;
    }
    return true;
  });
  return err == EMFILE || err == ENFILE || err == ENOMEM || err == ENOBUFS ? -err : index;
}

}  // namespace

int ask_route(nlmsghdr const& request, std::function<bool(std::uint16_t type, std::span<char const> body)> const& see) {
  owned_descriptor const route{socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)};
  if (route.get() < 0 || send(route.get(), &request, request.nlmsg_len, 0) < 0) return errno;
  alignas(nlmsghdr) std::array<char, 32768> answer;
  for (;;) {
    auto const got = recv(route.get(), answer.data(), answer.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return got < 0 ? errno : EIO;
    std::span<char const> rest{answer.data(), static_cast<std::size_t>(got)};
    for (nlmsghdr message; rest.size() >= sizeof message;) {
      std::memcpy(&message, rest.data(), sizeof message);
      if (message.nlmsg_len < sizeof message || message.nlmsg_len > rest.size()) return EIO;
      auto const body = rest.first(message.nlmsg_len).subspan(sizeof message);
      if (message.nlmsg_type == NLMSG_DONE) return 0;
      if (message.nlmsg_type == NLMSG_ERROR) {
        int code = EIO;
        if (body.size() >= sizeof code) std::memcpy(&code, body.data(), sizeof code);
        return std::abs(code);
      }
      if (!see(message.nlmsg_type, body)) return 0;
      rest = rest.subspan(std::min<std::size_t>(NLMSG_ALIGN(message.nlmsg_len), rest.size()));
    }
  }
}

// if_nametoindex() and if_indextoname() of libc report ENOENT when there is no descriptor left.
int index_of(interface_ref const& interface) {
  owned_descriptor const any{socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  if (any.get() < 0) return -errno;
  ifreq asked{};
  auto const* const name = std::get_if<std::string>(&interface);
  if (name == nullptr) {
    auto const number = number_of(interface);
    if (number <= 0 || number > std::numeric_limits<int>::max()) return -ENODEV;
    asked.ifr_ifindex = static_cast<int>(number);
    return ioctl(any.get(), SIOCGIFNAME, &asked) == 0 ? static_cast<int>(number) : -errno;
  }
  // The kernel would take what is in front of a colon.
  if (name->find_first_of({"\0:", 2}) != name->npos) return -ENODEV;
  if (name->size() >= IFNAMSIZ) return index_of_long(*name);
  name->copy(asked.ifr_name, name->size());
  return ioctl(any.get(), SIOCGIFINDEX, &asked) == 0 ? asked.ifr_ifindex : -errno;
}

std::string text_of(interface_ref const& interface) {
  if (auto const* const name = std::get_if<std::string>(&interface)) return "interface '" + *name + "'";
  auto const index = number_of(interface);
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

namespace {

// A cgroup that can have one program only lets go of whichever that is. Maps of sockets look, as do cgroups with many.
bool is_of_one_in_group(bpf_attach_type type, unsigned flags) noexcept {
  constexpr unsigned many = 1U << 1U;  // BPF_F_ALLOW_MULTI
  switch (type) {
    case BPF_SK_SKB_STREAM_PARSER:
    case BPF_SK_SKB_STREAM_VERDICT:
    case BPF_SK_SKB_VERDICT:
    case BPF_SK_MSG_VERDICT:
      return false;
    default:
      return (flags & many) == 0;
  }
}

}  // namespace

direct_attachment::~direct_attachment() {
  if (attached_ && !left()) detach();
}

int direct_attachment::attach(unsigned flags) noexcept {
  if (program_.get() < 0 || place_.get() < 0) return EMFILE;
  int const err = bpf_prog_attach(program_.get(), place_.get(), type_, flags);
  attached_ = err == 0;
  takes_whichever_ = is_of_one_in_group(type_, flags);
  return err;
}

int direct_attachment::detach() noexcept {
  if (!std::exchange(attached_, false)) return 0;
  int err = 0;
  try {
    attached_programs const there{place_.get(), type_};
    auto const& ids = there.ids;
    bool const gone = there.error == 0 && std::find(ids.begin(), ids.end(), id_of_program(program_.get())) == ids.end();
    if (there.error == EPERM && takes_whichever_)
      err = EPERM;
    else if (!gone)
      err = std::abs(bpf_prog_detach2(program_.get(), place_.get(), type_));
  } catch (...) {
    err = ENOMEM;
  }
  program_.reset(-1);
  place_.reset(-1);
  // It is gone with what it was attached to, or because somebody detached it.
  return err == ENOENT || err == ENODEV ? 0 : err;
}

}  // namespace tinybpf::detail
