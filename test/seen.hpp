// The user's side of bpf/seen.bpf.h.
#pragma once

#include "support.hpp"

#include <tinybpf/map.hpp>

#include <bpf/bpf.h>

#include <cstdint>

namespace test {

/// What a program has seen, how often and what the last time.
struct sight {
  std::uint64_t count = 0;
  std::uint64_t cookie = 0;
  std::int64_t value = 0;
  std::uint64_t pid = 0;
};

/// The map `seen`, also beyond the life of its object.
class sights {
 public:
  explicit sights(tinybpf::map const& seen) : fd_{checked(fcntl(seen.fd(), F_DUPFD_CLOEXEC, 3), "dup")} {}
  sights(sights const&) = delete;
  sights& operator=(sights const&) = delete;
  ~sights() { close(fd_); }

  template <class Slot>
  sight of(Slot slot) const {
    auto const key = static_cast<std::uint32_t>(slot);
    sight s;
    checked(bpf_map_lookup_elem(fd_, &key, &s), "bpf_map_lookup_elem");
    return s;
  }

  /// How often the program of the slot runs while `f` does.
  template <class Slot, class F>
  std::uint64_t during(Slot slot, F f) const {
    auto const before = of(slot).count;
    f();
    return of(slot).count - before;
  }

 private:
  int fd_;
};

}  // namespace test
