// Sockets, and what groups them: maps of sockets, control groups, network namespaces.
#include "detail/attaching.hpp"
#include "detail/network.hpp"
#include "detail/object_state.hpp"
#include "detail/privileges.hpp"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tinybpf::detail {
namespace {

attach_type declared_type(bpf_program const* p) {
  return static_cast<attach_type>(bpf_program__expected_attach_type(p));
}

bpf_attach_type raw(attach_type type) { return static_cast<bpf_attach_type>(type); }

// What an attempt found, for the texts about it: the plan is made before it is known that there still is a program.
struct found_programs {
  std::vector<std::uint32_t> ids = {};   // attached there already
  std::optional<attach_type> type = {};  // what it was to be attached as

  std::string text() const {
    std::string all;
    for (auto const id : ids) all += (all.empty() ? "" : ", ") + text_of_program(id);
    return all;
  }
};

// Control groups

constexpr auto cgroup2_magic = 0x63677270;

bool is_cgroup2(int fd) {
  struct statfs s {};
  return fd >= 0 && fstatfs(fd, &s) == 0 && s.f_type == cgroup2_magic;
}

bool is_folder(int fd) {
  struct stat s {};
  return fstat(fd, &s) == 0 && S_ISDIR(s.st_mode);
}

// Where a file system of the kind is mounted; empty if it is not.
std::string mounted(std::string_view kind) {
  std::ifstream mounts{"/proc/self/mounts"};
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words{line};
    std::string device, folder, type;
    if (words >> device >> folder >> type && type == kind) return folder;
  }
  return {};
}

// SEC("cgroup/skb") leaves it open.
bool says_no_direction(program_core const& core) {
  return core.type == program_type::cgroup_skb && !core.section.ends_with("gress");
}

unsigned flags_of(cgroup_mode mode) {
  switch (mode) {
    case cgroup_mode::link:
    case cgroup_mode::exclusive:
      return 0;
    case cgroup_mode::allow_override:
      return 1U << 0U;  // BPF_F_ALLOW_OVERRIDE
    case cgroup_mode::allow_multi:
      return 1U << 1U;  // BPF_F_ALLOW_MULTI
  }
  return 0;
}

int attach_cgroup(cgroup_target const& t, bool undecided, attach_subject const& p, attachment_list& into,
                  found_programs& found) {
  opened const group{t.cgroup, O_RDONLY | O_DIRECTORY};
  if (group.get() < 0) return errno;
  if (undecided && !t.options.type) return EINVAL;
  found.type = t.options.type ? *t.options.type : declared_type(p.raw);
  auto const type = raw(*found.type);
  // Kernels before 6.9 let a link run such a program at any other hook, on what is no packet.
  if (bpf_program__type(p.raw) == BPF_PROG_TYPE_CGROUP_SKB && type != BPF_CGROUP_INET_INGRESS &&
      type != BPF_CGROUP_INET_EGRESS)
    return EINVAL;
  auto const mode = t.options.mode;
  if (mode == cgroup_mode::link) return keep_created(bpf_link_create(p.fd, group.get(), type, nullptr), into);
  if (bpf_program__type(p.raw) == BPF_PROG_TYPE_LSM) return EINVAL;
  if (mode != cgroup_mode::allow_multi) {
    // The kernel would put the program in the place of the one that is there.
    attached_programs const there{group.get(), type};
    if (there.error != 0) return there.error;
    if (!there.ids.empty()) {
      found.ids = there.ids;
      return EBUSY;
    }
  }
  auto made = std::make_unique<direct_attachment>(duplicate_of(p.fd), duplicate_of(group.get()), type);
  into.reserve(into.size() + 1);
  if (int const err = made->attach(flags_of(mode)); err != 0) return err;
  into.push_back(std::move(made));
  return 0;
}

// The group above that keeps those below it from having programs, or none.
std::string ruler_above(path_or_fd const& place, bpf_attach_type type) {
  namespace fs = std::filesystem;
  std::error_code ec;
  auto const* const given = std::get_if<fs::path>(&place);
  auto folder = given != nullptr ? fs::canonical(*given, ec)
                                 : fs::read_symlink("/proc/self/fd/" + std::to_string(std::get<int>(place)), ec);
  if (ec) return {};
  while (folder.has_relative_path()) {
    folder = folder.parent_path();
    opened const group{folder, O_RDONLY | O_DIRECTORY};
    if (!is_cgroup2(group.get())) return {};
    attached_programs const there{group.get(), type};
    if (there.error == 0 && !there.ids.empty() && (there.flags & 3U) == 0)
      return "'" + folder.string() + "' has " + found_programs{there.ids}.text();
  }
  return {};
}

// Attaching it, or first looking who is there.
bool takes_net_admin(program_type program, cgroup_mode mode) {
  return program == program_type::cgroup_skb || mode == cgroup_mode::exclusive || mode == cgroup_mode::allow_override;
}

void explain_group(cgroup_target const& t, program_type program, std::string const& section,
                   found_programs const& found, error_code const& ec, diagnostics& details) {
  opened const group{t.cgroup, O_RDONLY | O_DIRECTORY};
  bool const is_group = is_cgroup2(group.get()) && is_folder(group.get());
  auto const type = found.type.value_or(attach_type{});
  if (!is_group && (is(ec, EBADF) || is(ec, ENOENT) || is(ec, ENOTDIR) || is(ec, EINVAL))) {
    auto const where = mounted("cgroup2");
    auto const is_what = is(ec, ENOENT)            ? "there is no such folder"
                         : is(ec, ENOTDIR)         ? "that is no folder"
                         : is_cgroup2(group.get()) ? "that is a file of a control group, and no folder"
                         : group.get() < 0         ? "that is no open descriptor"
                                                   : "that is no control group of version 2";
    details.hint = is_what + (where.empty() ? std::string{"; no cgroup2 file system is mounted here"}
                                            : "; cgroup2 is mounted at " + where);
    if (is(ec, ENOENT) && !where.empty()) details.hint += ", and mkdir below it makes a group";
  } else if (is(ec, EINVAL) && !t.options.type && program == program_type::cgroup_skb && !section.ends_with("gress")) {
    details.hint = "SEC(\"" + section +
                   "\") does not say whether to look at ingress or egress: cgroup_options::type does, or "
                   "SEC(\"cgroup_skb/ingress\")";
  } else if (is(ec, EINVAL) && t.options.mode != cgroup_mode::link && program == program_type::lsm) {
    details.hint = "programs of lsm_cgroup are attached with cgroup_mode::link";
  } else if (is(ec, EINVAL) && t.options.mode == cgroup_mode::allow_multi) {
    details.hint = "the program is attached there already, or it was not loaded for " + std::string{to_string(type)};
  } else if (is(ec, EINVAL)) {
    details.hint = "the program was not loaded for " + std::string{to_string(type)} + ", or this kernel has none";
  } else if (is(ec, EBUSY)) {
    details.hint = "the group has " + found.text() +
                   " already, which cgroup_mode::link and cgroup_mode::allow_multi leave in place where it lets them";
  } else if (is(ec, EACCES) && group.get() < 0) {
    details.hint = "this user may not open the group's folder";
  } else if (is(ec, EPERM) && !(takes_net_admin(program, t.options.mode) &&
                                missing_capabilities(capability::net_admin).contains(capability::net_admin))) {
    auto const ruler = ruler_above(t.cgroup, raw(type));
    details.hint = ruler.empty() ? "the group has programs that were attached in another mode (cgroup_mode), with "
                                   "which this one cannot be: `bpftool cgroup show` lists them"
                                 : ruler + " for itself alone: nobody below it may have one (cgroup_mode::exclusive)";
  } else if (is(ec, E2BIG)) {
    details.hint = "the group has as many programs as it can have, which is 64";
  } else if (is(ec, ENODEV) || is(ec, ENOENT)) {
    details.hint = "the group has been removed";
  }
}

// Network namespaces

constexpr auto nsfs_magic = 0x6e736673;
constexpr int to_look = O_RDONLY | O_NONBLOCK | O_NOCTTY;  // a pipe would wait for somebody who writes

bool is_netns(int fd) {
  struct statfs s {};
  return fstatfs(fd, &s) == 0 && s.f_type == nsfs_magic && ioctl(fd, NS_GET_NSTYPE) == CLONE_NEWNET;
}

// Maps of sockets

bool holds_sockets(map const& m) { return m.type() == map_type::sockmap || m.type() == map_type::sockhash; }

bool is_role(attach_type type) {
  return type == attach_type::sk_skb_stream_parser || type == attach_type::sk_skb_stream_verdict ||
         type == attach_type::sk_skb_verdict || type == attach_type::sk_msg_verdict;
}

// SEC("sk_skb") leaves it open.
std::optional<attach_type> role_of(sockmap_target const& t, attach_subject const& p) {
  if (t.options.type) return t.options.type;
  auto const declared = declared_type(p.raw);
  if (is_role(declared)) return declared;
  return {};
}

int attach_sockmap(sockmap_target const& t, attach_subject const& p, attachment_list& into, found_programs& found) {
  int const fd = t.sockets.fd();
  auto const role = role_of(t, p);
  found.type = role;
  if (!holds_sockets(t.sockets) || !role || !is_role(*role)) return EINVAL;
  // A link takes the place of a program without one, and a program that of another. Kernels before 5.17 do not tell.
  attached_programs const there{fd, raw(*role)};
  if (there.error == 0 && !there.ids.empty()) {
    found.ids = there.ids;
    return EBUSY;
  }
  // Since Linux 6.10 there are links for it: they end with this process, and nobody replaces them.
  int const created = bpf_link_create(p.fd, fd, raw(*role), nullptr);
  if (created != -EINVAL) return keep_created(created, into);
  auto made = std::make_unique<direct_attachment>(duplicate_of(p.fd), duplicate_of(fd), raw(*role));
  into.reserve(into.size() + 1);
  if (int const err = made->attach(0); err != 0) return err;
  into.push_back(std::move(made));
  return 0;
}

// Sockets

constexpr int so_get_filter = 26;  // as SO_ATTACH_FILTER and SO_DETACH_FILTER, linux/socket.h
constexpr int so_attach_bpf = 50;
constexpr int so_attach_reuseport_ebpf = 52;
constexpr int so_cookie = 57;
constexpr int so_detach_reuseport_bpf = 68;

// The kernel's number of a socket, which no other ever has; 0 if it is none.
std::uint64_t cookie_of(int fd) noexcept {
  std::uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  return getsockopt(fd, SOL_SOCKET, so_cookie, &cookie, &size) == 0 ? cookie : 0;
}

class socket_attachment final : public attachment {
 public:
  socket_attachment(int socket, socket_role role) noexcept : socket_{socket}, role_{role} {}
  ~socket_attachment() override {
    if (attached_ && !left()) detach();
  }

  int attach(int program) noexcept {
    // Nobody else's descriptor can become this one while we look.
    auto const same = duplicate_of(socket_);
    if (same.get() < 0) return errno;
    cookie_ = cookie_of(same.get());
    if (cookie_ == 0) return errno;
    if (role_ == socket_role::filter) {
      // The kernel would put the program in the place of the one that is there, of which it tells the size if it is a
      // classic one and nothing if it is one like ours.
      socklen_t instructions = 0;
      int const err = getsockopt(same.get(), SOL_SOCKET, so_get_filter, nullptr, &instructions);
      if ((err == 0 && instructions != 0) || (err != 0 && errno == EACCES)) return EBUSY;
    }
    int const option = role_ == socket_role::filter ? so_attach_bpf : so_attach_reuseport_ebpf;
    if (setsockopt(same.get(), SOL_SOCKET, option, &program, sizeof program) != 0) return errno;
    attached_ = true;
    return 0;
  }

  /// As long as there is the socket.
  bool stays_by_itself() const noexcept override { return true; }
  int detach() noexcept override {
    if (!std::exchange(attached_, false)) return 0;
    auto const same = duplicate_of(socket_);
    if (same.get() < 0 || cookie_of(same.get()) != cookie_) return 0;  // closed, and perhaps another by now
    int const option = role_ == socket_role::filter ? SO_DETACH_FILTER : so_detach_reuseport_bpf;
    int const unused = 0;
    if (setsockopt(same.get(), SOL_SOCKET, option, &unused, sizeof unused) == 0) return 0;
    return errno == ENOENT ? 0 : errno;
  }

 private:
  int socket_;
  socket_role role_;
  std::uint64_t cookie_ = 0;
  bool attached_ = false;
};

int attach_socket(socket_target const& t, attach_subject const& p, attachment_list& into) {
  auto made = std::make_unique<socket_attachment>(t.socket, t.options.role);
  into.reserve(into.size() + 1);
  if (int const err = made->attach(p.fd); err != 0) return err;
  into.push_back(std::move(made));
  return 0;
}

}  // namespace

attach_plan plan_of(cgroup_target const& t, program_core const& core) {
  auto const found = std::make_shared<found_programs>();
  bool const undecided = says_no_direction(core);
  auto where = "control group " + text_of(t.cgroup);
  if (t.options.type) where += " as " + std::string{to_string(*t.options.type)};
  return {
      .kind = link_kind::cgroup,
      .where = std::move(where),
      .types = {program_type::cgroup_skb, program_type::cgroup_sock, program_type::cgroup_sock_addr,
                program_type::cgroup_sockopt, program_type::cgroup_sysctl, program_type::cgroup_device,
                program_type::sock_ops, program_type::lsm},
      .attach = [t, found, undecided](attach_subject const& p,
                                      attachment_list& into) { return attach_cgroup(t, undecided, p, into, *found); },
      .explain = [t, found, program = core.type.load(), section = core.section](
                     error_code& ec, diagnostics& details) { explain_group(t, program, section, *found, ec, details); },
  };
}

attach_plan plan_of(netns_target const& t, program_core const& core) {
  return {
      .kind = link_kind::netns,
      .where = "network namespace " + text_of(t.netns),
      .types = {program_type::sk_lookup, program_type::flow_dissector},
      .attach =
          [t](attach_subject const& p, attachment_list& into) {
            opened const space{t.netns, to_look};
            if (space.get() < 0) return errno;
            if (!is_netns(space.get())) return fcntl(space.get(), F_GETFD) < 0 ? EBADF : EINVAL;
            return keep_created(bpf_link_create(p.fd, space.get(), raw(declared_type(p.raw)), nullptr), into);
          },
      .explain =
          [t, type = core.type.load()](error_code& ec, diagnostics& details) {
            if (is(ec, EINVAL) && !is_netns(opened{t.netns, to_look}.get()))
              details.hint = "that is no network namespace: /proc/PID/ns/net and /run/netns/NAME are";
            else if (is(ec, ENOENT))
              details.hint = "there is no such file: a network namespace is at /proc/PID/ns/net and /run/netns/NAME";
            else if (is(ec, EBADF))
              details.hint = "that is no open descriptor";
            else if (is(ec, EEXIST) && type == program_type::flow_dissector)
              details.hint =
                  "a network namespace has one flow dissector, and the first network namespace's is for all: while it "
                  "has one, no other may, and the other way around";
            else if (is(ec, EEXIST))
              details.hint = "the network namespace has a program that was attached without a link";
            else if (is(ec, E2BIG))
              details.hint = type == program_type::flow_dissector
                                 ? "a network namespace has one flow dissector only, and this one has it"
                                 : "the network namespace has as many programs as it can have, which is 64";
          },
  };
}

attach_plan plan_of(sockmap_target const& t, program_core const& core) {
  auto const found = std::make_shared<found_programs>();
  auto where = "map '" + std::string{t.sockets.name()} + "'";
  if (t.options.type) where += " as " + std::string{to_string(*t.options.type)};
  return {
      .kind = link_kind::sockmap,
      .where = std::move(where),
      .types = {program_type::sk_msg, program_type::sk_skb},
      .refuse = [t](attach_subject const&) -> refusal {
        if (!t.sockets.is_open()) return {errc::closed, "the map's handle is closed", {}};
        if (t.sockets.fd() < 0)
          return {errc::not_loaded, "the map is not there yet", "call load() of its object first"};
        return {};
      },
      .attach = [t, found](attach_subject const& p,
                           attachment_list& into) { return attach_sockmap(t, p, into, *found); },
      .explain =
          [t, found, section = core.section](error_code& ec, diagnostics& details) {
            if (is(ec, EINVAL) && !holds_sockets(t.sockets))
              details.hint = "the map is of type " + std::string{to_string(t.sockets.type())} +
                             ", and sockets are in those of type sockmap and sockhash";
            else if (is(ec, EINVAL) && !found->type)
              details.hint = "SEC(\"" + section +
                             "\") does not say what the program decides: sockmap_options::type does, or "
                             "SEC(\"sk_skb/stream_verdict\")";
            else if (is(ec, EINVAL))
              details.hint = "the program was not loaded for that: see attach_type";
            else if (is(ec, EBUSY) && !found->ids.empty())
              details.hint = "the map has " + found->text() + " there already, and can have one";
            else if (is(ec, EBUSY))
              details.hint = "a map has either a stream verdict or a verdict (sk_skb), and one of each kind";
          },
  };
}

attach_plan plan_of(socket_target const& t, program_core const&) {
  bool const chooser = t.options.role == socket_role::reuseport;
  auto const which = t.socket < 0 ? std::string{"a socket that is not open"} : "socket " + std::to_string(t.socket);
  return {
      .kind = link_kind::socket,
      .where = (chooser ? "the port's group of " : "") + which,
      .types = chooser ? std::vector{program_type::socket_filter, program_type::sk_reuseport}
                       : std::vector{program_type::socket_filter},
      .attach = [t](attach_subject const& p, attachment_list& into) { return attach_socket(t, p, into); },
      .explain =
          [chooser](error_code& ec, diagnostics& details) {
            if (is(ec, EBADF))
              details.hint = "the socket has to be open: open() it, or construct it with its protocol";
            else if (is(ec, ENOTSOCK))
              details.hint = "the descriptor is of something else than a socket";
            else if (is(ec, EBUSY))
              details.hint = "the socket has a filter already, and can have one";
            else if (is(ec, EPERM))
              details.hint = "the socket's filter is locked (SO_LOCK_FILTER)";
            else if (is(ec, EOPNOTSUPP) && chooser)
              details.hint = "the sockets of such a group are of TCP or UDP";
            else if (is(ec, EINVAL) && chooser)
              details.hint = "SO_REUSEPORT has to be set before the socket is bound";
          },
  };
}

}  // namespace tinybpf::detail
