// A control group of one's own.
#pragma once

#include "support.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>

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
  explicit own_cgroup(std::filesystem::path const& below = cgroup2_mount())
      : path_{below / ("tinybpf_test_" + std::to_string(getpid()))} {
    checked(mkdir(path_.c_str(), 0755), "mkdir of a cgroup");
  }
  own_cgroup(own_cgroup const&) = delete;
  own_cgroup& operator=(own_cgroup const&) = delete;
  ~own_cgroup() { rmdir(path_.c_str()); }

  std::filesystem::path const& path() const noexcept { return path_; }

  /// What `f` returns in a child of ours that is in the group.
  template <class F>
  std::string run(F f) const {
    return in_child([&] {
      std::ofstream{path_ / "cgroup.procs"} << getpid() << std::flush;
      return f();
    });
  }

 private:
  std::filesystem::path path_;
};

}  // namespace test
