// Whether this process is still the one that made something.
#pragma once

namespace tinybpf::detail {

/// How often this process and its ancestors were forked since the first call: differs between a parent and its child.
/// Unlike getpid(), no system call. Throws std::bad_alloc if the first call finds no memory.
unsigned fork_count();

/// Made with something, tells whether this process is a child that was forked since: it shares what was made.
class fork_mark {
 public:
  [[nodiscard]] bool forked() const noexcept { return fork_count() != forks_; }

 private:
  unsigned forks_ = fork_count();
};

}  // namespace tinybpf::detail
