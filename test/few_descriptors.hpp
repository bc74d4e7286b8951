// Running out of descriptors.
#pragma once

#include "support.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

namespace test {

/// While it lives, this process can open so many descriptors more at most.
class few_descriptors {
 public:
  explicit few_descriptors(unsigned more) {
    checked(getrlimit(RLIMIT_NOFILE, &before_), "getrlimit");
    int const lowest = checked(open("/dev/null", O_RDONLY | O_CLOEXEC), "open");
    close(lowest);
    auto limit = before_;
    limit.rlim_cur = static_cast<rlim_t>(lowest) + more;
    checked(setrlimit(RLIMIT_NOFILE, &limit), "setrlimit");
  }
  few_descriptors(few_descriptors const&) = delete;
  few_descriptors& operator=(few_descriptors const&) = delete;
  ~few_descriptors() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

}  // namespace test
