// The user's side of bpf/calls.bpf.c.
#pragma once

#include "features.hpp"
#include "support.hpp"

#include <tinybpf/link.hpp>
#include <tinybpf/map.hpp>
#include <tinybpf/object.hpp>

#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include <cstdint>
#include <functional>

namespace test {

/// Which program of calls.bpf.c counts where.
enum class counter : std::uint32_t { on_getpgid, on_raw_enter, on_btf_enter, on_tracepoint, on_raw };

/// The argument by which the programs know the calls that they count.
inline constexpr int mark = 0x5eed0b9f;

/// Makes such a call, n times.
inline void call(int n = 1) {
  for (int i = 0; i < n; ++i) syscall(SYS_getpgid, mark);
}

/// How many calls the program has seen.
inline std::uint64_t seen(tinybpf::map const& calls, counter which) {
  std::uint64_t value = 0;
  calls.lookup(bytes_of(which), writable_bytes_of(value));
  return value;
}

/// Probes for "raw_tracepoint twice by one program", with calls.bpf.o: older kernels refuse the second time with
/// EEXIST.
inline std::function<probe_result()> raw_tracepoint_twice(char const* object) {
  return [object]() -> probe_result {
    auto const obj = tinybpf::load(object);
    auto const p = obj.program("on_raw");
    auto const first = p.attach_raw_tracepoint("sys_enter");
    boost::system::error_code ec;
    static_cast<void>(p.attach_raw_tracepoint("sys_enter", ec));
    return ec;
  };
}

/// The map beyond the life of its object.
class calls_descriptor {
 public:
  explicit calls_descriptor(tinybpf::map const& calls) : fd_{checked(fcntl(calls.fd(), F_DUPFD_CLOEXEC, 3), "dup")} {}
  calls_descriptor(calls_descriptor const&) = delete;
  calls_descriptor& operator=(calls_descriptor const&) = delete;
  ~calls_descriptor() { close(fd_); }

  std::uint64_t seen(counter which) const {
    std::uint64_t value = 0;
    checked(bpf_map_lookup_elem(fd_, &which, &value), "bpf_map_lookup_elem");
    return value;
  }

 private:
  int fd_;
};

}  // namespace test
