// Whether this process is still the one that made something.
#pragma once

namespace tinybpf::detail {

/// How often this process and its ancestors were forked since the first call: differs between a parent and its child.
/// Unlike getpid(), no system call. Throws std::bad_alloc if the first call finds no memory.
unsigned fork_count();

}  // namespace tinybpf::detail
