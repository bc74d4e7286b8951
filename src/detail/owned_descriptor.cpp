#include <tinybpf/detail/owned_descriptor.hpp>

#include <unistd.h>

#include <cerrno>

namespace tinybpf::detail {

void owned_descriptor::reset(int fd) noexcept {
  auto const before = errno;
  if (fd_ >= 0) ::close(fd_);
  errno = before;
  fd_ = fd;
}

}  // namespace tinybpf::detail
