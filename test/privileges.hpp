// Becoming a user who may do little. For forked children: there is no way back.
#pragma once

#include "scratch_folder.hpp"
#include "support.hpp"

#include <tinybpf/capabilities.hpp>
#include <tinybpf/version.hpp>

#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <stdexcept>
#include <string>

namespace test {

inline constexpr uid_t nobody = 65534;

/// Changes what this thread may do.
inline void set_capabilities(tinybpf::capability_set permitted, tinybpf::capability_set inheritable = {}) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  for (unsigned half = 0; half < 2; ++half) {
    data[half].permitted = data[half].effective = static_cast<__u32>(permitted.bits() >> 32 * half);
    data[half].inheritable = static_cast<__u32>(inheritable.bits() >> 32 * half);
  }
  checked(static_cast<int>(syscall(SYS_capset, &header, data)), "capset");
}

/// Becomes the user nobody with these capabilities and no others.
inline void become_nobody_with(tinybpf::capability_set capabilities) {
  checked(prctl(PR_SET_KEEPCAPS, 1), "prctl");
  checked(setresgid(nobody, nobody, nobody), "setresgid");
  checked(setresuid(nobody, nobody, nobody), "setresuid");
  set_capabilities(capabilities);
}

/// @overload By the numbers of <linux/capability.h>.
inline void become_nobody(std::initializer_list<unsigned> capabilities = {}) {
  tinybpf::capability_set all;
  for (auto const c : capabilities) all |= static_cast<tinybpf::capability>(c);
  become_nobody_with(all);
}

inline tinybpf::version_number running_kernel() {
  utsname name{};
  checked(uname(&name), "uname");
  tinybpf::version_number v;
  if (std::sscanf(name.release, "%u.%u", &v.major, &v.minor) != 2) throw std::runtime_error{name.release};
  return v;
}

/// The kernel makes nothing of values above 2; Debian's wants CAP_SYS_ADMIN for every perf event.
inline bool perf_events_are_restricted() {
  int paranoid = 0;
  std::ifstream{"/proc/sys/kernel/perf_event_paranoid"} >> paranoid;
  return paranoid > 2;
}

/// From now on nobody else sees what this process mounts. In a chroot "/" is no mount point: then each mount below it
/// is made private by itself.
inline void mounts_of_its_own() {
  checked(unshare(CLONE_NEWNS), "unshare");
  if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0) return;
  std::ifstream mounts{"/proc/self/mounts"};
  for (std::string device, place, rest; mounts >> device >> place && std::getline(mounts, rest);)
    if (place.rfind("/sys", 0) == 0)
      checked(mount("none", place.c_str(), nullptr, MS_PRIVATE, nullptr), "mount --make-private");
}

/// A copy that everybody may read: the project may be in a folder that is only root's.
class readable_copy {
 public:
  explicit readable_copy(std::filesystem::path const& file)
      : path_{folder_.file(file.filename().string(), contents_of(file))} {}

  std::filesystem::path const& path() const { return path_; }

 private:
  readable_folder folder_;
  std::filesystem::path path_;
};

}  // namespace test
