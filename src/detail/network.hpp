// What is given by name or number, looked up.
#pragma once

#include <tinybpf/attach_target.hpp>
#include <tinybpf/detail/owned_descriptor.hpp>

#include <string>
#include <vector>

namespace tinybpf::detail {

/// The interface's number in this thread's network namespace; 0 if there is none.
int index_of(interface_ref const& interface);

/// "interface 'eth0'", or with number and name where both are known.
std::string text_of(interface_ref const& interface);

/// All that there are.
std::vector<std::string> interface_names();

/// "'/sys/fs/cgroup/x'" or "descriptor 5".
std::string text_of(path_or_fd const& place);

/// A descriptor that is lent, or one that was opened for the path.
class opened {
 public:
  explicit opened(path_or_fd const& place, int flags);
  /// -1 if it could not be opened: then errno is as open() left it.
  [[nodiscard]] int get() const noexcept { return fd_; }

 private:
  owned_descriptor own_;
  int fd_ = -1;
};

}  // namespace tinybpf::detail
