// What the tests of links share: the user's side of bpf/links.bpf.c, and places to attach to.
#pragma once

#include "support.hpp"

#include <tinybpf/map.hpp>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <linux/bpf.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace test {

/// Which program of links.bpf.c counts where.
enum class ran : std::uint32_t { xdp_first, xdp_second, sock_first, sock_second, on_mark, on_call, walk_tasks };

/// A descriptor, such as one to give to libbpf.
class descriptor {
 public:
  descriptor(int fd, char const* call) : fd_{checked(fd, call)} {}
  descriptor(descriptor const&) = delete;
  descriptor& operator=(descriptor const&) = delete;
  ~descriptor() { close(fd_); }

  operator int() const { return fd_; }  // NOLINT: as a number it is wanted

 private:
  int fd_;
};

/// How often the programs ran: the map beyond the life of its object.
class runs_descriptor {
 public:
  explicit runs_descriptor(tinybpf::map const& runs) : fd_{fcntl(runs.fd(), F_DUPFD_CLOEXEC, 3), "dup"} {}

  std::uint64_t of(ran which) const {
    std::uint64_t value = 0;
    checked(bpf_map_lookup_elem(fd_, &which, &value), "bpf_map_lookup_elem");
    return value;
  }

 private:
  descriptor fd_;
};

/// A folder of its own in the BPF file system, gone with what is in it.
class bpffs_folder {
 public:
  bpffs_folder() {
    std::string pattern = "/sys/fs/bpf/tinybpf_test_XXXXXX";
    if (mkdtemp(pattern.data()) == nullptr) checked(-1, "mkdtemp");
    path_ = pattern;
  }
  bpffs_folder(bpffs_folder const&) = delete;
  bpffs_folder& operator=(bpffs_folder const&) = delete;
  ~bpffs_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  std::filesystem::path const& path() const { return path_; }
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

/// Until its end this process is in a cgroup of its own.
class own_cgroup {
 public:
  own_cgroup() {
    std::ifstream mounts{"/proc/self/mounts"};
    std::string device;
    std::string point;
    std::string type;
    for (std::string rest; mounts >> device >> point >> type && std::getline(mounts, rest);)
      if (type == "cgroup2") root_ = point;
    if (root_.empty()) throw std::runtime_error{"cgroup2 is not mounted"};
    std::ifstream membership{"/proc/self/cgroup"};
    for (std::string line; std::getline(membership, line);)
      if (line.starts_with("0::")) before_ = root_ / std::filesystem::path{line.substr(3)}.relative_path();
    path_ = root_ / ("tinybpf_test_" + std::to_string(getpid()));
    std::filesystem::create_directory(path_);
    enter(path_);
  }
  own_cgroup(own_cgroup const&) = delete;
  own_cgroup& operator=(own_cgroup const&) = delete;
  ~own_cgroup() {
    try {
      enter(before_);
    } catch (std::exception const&) {  // then the folder stays, and the next line fails
    }
    rmdir(path_.c_str());
  }

  std::filesystem::path const& path() const { return path_; }
  descriptor fd() const { return {open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), "open of a cgroup"}; }

  /// Makes sockets, which the programs of type cgroup_sock see.
  static void make_sockets(int n) {
    for (int i = 0; i < n; ++i) descriptor const one{socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket"};
  }

 private:
  static void enter(std::filesystem::path const& cgroup) {
    std::ofstream procs{cgroup / "cgroup.procs"};
    procs << getpid() << std::flush;
    if (!procs) throw std::runtime_error{"cannot enter " + cgroup.string()};
  }

  std::filesystem::path root_;
  std::filesystem::path before_;
  std::filesystem::path path_;
};

/// A program that returns a number, of a type that libbpf may not know; throws std::system_error.
inline descriptor returning(std::int32_t value, std::uint32_t type, std::uint32_t attach_type) {
  std::array<bpf_insn, 2> code{};
  code[0].code = BPF_ALU64 | BPF_MOV | BPF_K;
  code[0].imm = value;
  code[1].code = BPF_JMP | BPF_EXIT;
  bpf_prog_load_opts options{};
  options.sz = sizeof options;
  options.expected_attach_type = static_cast<bpf_attach_type>(attach_type);
  return {bpf_prog_load(static_cast<bpf_prog_type>(type), "returning", "GPL", code.data(), code.size(), &options),
          "BPF_PROG_LOAD"};
}

}  // namespace test
