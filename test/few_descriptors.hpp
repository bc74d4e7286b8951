// Running out of descriptors.
#pragma once

#include "support.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

namespace test {

/// The number that the next descriptor gets: the lowest that is free.
inline int next_descriptor() {
  int const fd = checked(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3), "dup");
  close(fd);
  return fd;
}

/// While alive, only so many more can be opened.
class few_descriptors {
 public:
  explicit few_descriptors(int more) {
    checked(getrlimit(RLIMIT_NOFILE, &before_), "getrlimit");
    auto now = before_;
    now.rlim_cur = static_cast<rlim_t>(next_descriptor() + more);
    checked(setrlimit(RLIMIT_NOFILE, &now), "setrlimit");
  }
  few_descriptors(few_descriptors const&) = delete;
  few_descriptors& operator=(few_descriptors const&) = delete;
  ~few_descriptors() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

}  // namespace test
