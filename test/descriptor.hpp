// A descriptor that a test opened by itself.
#pragma once

#include "support.hpp"

#include <unistd.h>

#include <utility>

namespace test {

/// Closed at its end.
class descriptor {
 public:
  /// `call` gave it, and is named if it failed.
  descriptor(int fd, char const* call) : fd_{checked(fd, call)} {}
  descriptor(descriptor&& other) noexcept : fd_{std::exchange(other.fd_, -1)} {}
  descriptor& operator=(descriptor&&) = delete;
  ~descriptor() { reset(); }

  void reset() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

  operator int() const { return fd_; }  // NOLINT: as a number it is wanted

 private:
  int fd_;
};

}  // namespace test
