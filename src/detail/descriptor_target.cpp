#include "descriptor_target.hpp"

#include "report.hpp"

#include <unistd.h>

#include <array>
#include <cerrno>

namespace tinybpf::detail {

std::string descriptor_target(int fd, error_code& ec) {
  std::array<char, 64> target{};
  auto const path = "/proc/self/fd/" + std::to_string(fd);
  if (fd < 0)
    ec = from_libbpf(EBADF);
  else if (::readlink(path.c_str(), target.data(), target.size() - 1) < 0)
    ec = from_libbpf(errno == ENOENT ? EBADF : errno);
  else
    ec = {};
  return target.data();
}

error_code check_descriptor(int fd, std::string_view target, errc other) {
  error_code ec;
  auto const found = descriptor_target(fd, ec);
  if (!ec && found != target) ec = other;
  return ec;
}

}  // namespace tinybpf::detail
