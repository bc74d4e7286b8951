// Control groups of one's own.
#pragma once

#include "descriptor.hpp"
#include "support.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <exception>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace test {

/// Where cgroup2 is mounted.
inline std::filesystem::path cgroup2_mount() {
  std::ifstream mounts{"/proc/self/mounts"};
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words{line};
    std::string device, folder, type;
    if (words >> device >> folder >> type && type == "cgroup2") return folder;
  }
  throw std::runtime_error{"cgroup2 is not mounted"};
}

/// Made below the mount or below another, and removed at its end.
class own_cgroup {
 public:
  explicit own_cgroup(std::filesystem::path const& below = cgroup2_mount()) {
    static int made = 0;
    path_ = below / ("tinybpf_test_" + std::to_string(getpid()) + '_' + std::to_string(made++));
    checked(mkdir(path_.c_str(), 0755), "mkdir of a cgroup");
  }
  own_cgroup(own_cgroup const&) = delete;
  own_cgroup& operator=(own_cgroup const&) = delete;
  ~own_cgroup() { rmdir(path_.c_str()); }

  std::filesystem::path const& path() const noexcept { return path_; }
  descriptor fd() const { return {open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), "open of a cgroup"}; }
  std::uint64_t id() const {
    struct stat status {};
    checked(stat(path_.c_str(), &status), "stat of a cgroup");
    return status.st_ino;
  }

  /// What `f` returns in a child of ours that is in the group.
  template <class F>
  std::string run(F f) const {
    return in_child([&] {
      enter(path_);
      return f();
    });
  }

 protected:
  /// With the whole process.
  static void enter(std::filesystem::path const& cgroup) {
    std::ofstream procs{cgroup / "cgroup.procs"};
    procs << getpid() << std::flush;
    if (!procs) throw std::runtime_error{"cannot enter " + cgroup.string()};
  }

 private:
  std::filesystem::path path_;
};

/// Until its end this process is in it.
class entered_cgroup : public own_cgroup {
 public:
  entered_cgroup() { enter(path()); }
  ~entered_cgroup() {
    try {
      enter(before_);
    } catch (std::exception const&) {  // then the folder stays
    }
  }

 private:
  static std::filesystem::path where_it_is() {
    std::ifstream membership{"/proc/self/cgroup"};
    for (std::string line; std::getline(membership, line);)
      if (line.starts_with("0::")) return cgroup2_mount() / std::filesystem::path{line.substr(3)}.relative_path();
    throw std::runtime_error{"this process is in no cgroup of version 2"};
  }

  std::filesystem::path before_ = where_it_is();
};

}  // namespace test
