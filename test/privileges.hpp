// Becoming a user who may do little. For forked children: there is no way back.
#pragma once

#include "support.hpp"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <initializer_list>

namespace test {

/// Becomes the user nobody with these capabilities and no others.
inline void become_nobody(std::initializer_list<unsigned> capabilities = {}) {
  constexpr uid_t nobody = 65534;
  checked(prctl(PR_SET_KEEPCAPS, 1), "prctl");
  checked(setresgid(nobody, nobody, nobody), "setresgid");
  checked(setresuid(nobody, nobody, nobody), "setresuid");
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  for (auto const c : capabilities) {
    data[c / 32].permitted |= 1U << c % 32;
    data[c / 32].effective |= 1U << c % 32;
  }
  checked(static_cast<int>(syscall(SYS_capset, &header, data)), "capset");
}

}  // namespace test
