// A file descriptor that closes itself.
#pragma once

#include <utility>

namespace tinybpf::detail {

class owned_descriptor {
 public:
  owned_descriptor() noexcept = default;
  explicit owned_descriptor(int fd) noexcept : fd_{fd} {}
  owned_descriptor(owned_descriptor&& other) noexcept : fd_{other.release()} {}
  owned_descriptor& operator=(owned_descriptor&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  ~owned_descriptor() { reset(-1); }

  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }
  /// Closes what is owned and owns `fd`. errno stays as it was.
  void reset(int fd) noexcept;

 private:
  int fd_ = -1;
};

}  // namespace tinybpf::detail
