// What the tests of links share: the user's side of bpf/links.bpf.c, and places to attach to.
#pragma once

#include "descriptor.hpp"
#include "support.hpp"

#include <tinybpf/map.hpp>

#include <fcntl.h>
#include <sys/socket.h>

#include <bpf/bpf.h>
#include <linux/bpf.h>

#include <array>
#include <cstdint>

namespace test {

/// Which program of links.bpf.c counts where.
enum class ran : std::uint32_t { xdp_first, xdp_second, sock_first, sock_second, on_mark, on_call, walk_tasks };

/// How often the programs ran: the map beyond the life of its object.
class runs_descriptor {
 public:
  explicit runs_descriptor(tinybpf::map const& runs) : fd_{fcntl(runs.fd(), F_DUPFD_CLOEXEC, 3), "dup"} {}

  std::uint64_t of(ran which) const {
    std::uint64_t value = 0;
    checked(bpf_map_lookup_elem(fd_, &which, &value), "bpf_map_lookup_elem");
    return value;
  }

 private:
  descriptor fd_;
};

/// Makes sockets, which the programs of type cgroup_sock see.
inline void make_sockets(int n) {
  for (int i = 0; i < n; ++i) descriptor const one{socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket"};
}

/// A program that returns a number, of a type that libbpf may not know; throws std::system_error.
inline descriptor returning(std::int32_t value, std::uint32_t type, std::uint32_t attach_type) {
  std::array<bpf_insn, 2> code{};
  code[0].code = BPF_ALU64 | BPF_MOV | BPF_K;
  code[0].imm = value;
  code[1].code = BPF_JMP | BPF_EXIT;
  bpf_prog_load_opts options{};
  options.sz = sizeof options;
  options.expected_attach_type = static_cast<bpf_attach_type>(attach_type);
  return {bpf_prog_load(static_cast<bpf_prog_type>(type), "returning", "GPL", code.data(), code.size(), &options),
          "BPF_PROG_LOAD"};
}

}  // namespace test
