// Network namespaces with a pair of wired interfaces, and frames that pass along the wire.
#pragma once

#include "support.hpp"

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

namespace test {

inline constexpr std::uint32_t protocol = 253;  // for experiments: nothing else sends it
using frame = std::vector<unsigned char>;

inline frame frame_of(std::uint16_t ethertype, std::size_t size) {
  frame f(size);
  std::fill_n(f.begin(), ETH_ALEN, 0xff);
  f[12] = static_cast<unsigned char>(ethertype >> 8U);
  f[13] = static_cast<unsigned char>(ethertype & 0xffU);
  // The rest is distinct from what the kernel sends by itself.
  std::iota(f.begin() + ETH_HLEN, f.end(), 0);
  std::size_t const at = ETH_HLEN + (ethertype == ETH_P_IP ? 9U : 6U);
  if (at < f.size()) f[at] = protocol;
  return f;
}

/// Frames as they are on the wire of one interface. The kernel runs XDP before it hands them over here, and what
/// filters ingress afterwards.
class wire {
 public:
  explicit wire(int ifindex) : fd_{checked(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), "socket")} {
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = ifindex;
    checked(bind(fd_, reinterpret_cast<sockaddr const*>(&address), sizeof address), "bind");
  }
  wire(wire const&) = delete;
  wire& operator=(wire const&) = delete;
  ~wire() { close(fd_); }

  /// False if the kernel has dropped it on the way out.
  bool send(frame const& f) const {
    auto const sent = ::send(fd_, f.data(), f.size(), 0);
    if (sent < 0 && errno == ENOBUFS) return false;
    checked(static_cast<int>(sent), "send");
    return true;
  }

  /// Waits until the frame comes in, and gives how many others like `counted` came before.
  std::size_t await(frame const& wanted, frame const& counted = {}) const {
    std::size_t before = 0;
    for (frame got; got != wanted;) {
      got.resize(2048);
      sockaddr_ll from{};
      socklen_t size = sizeof from;
      auto const n = recvfrom(fd_, got.data(), got.size(), 0, reinterpret_cast<sockaddr*>(&from), &size);
      got.resize(static_cast<std::size_t>(checked(static_cast<int>(n), "recvfrom")));
      if (from.sll_pkttype == PACKET_OUTGOING) got.clear();
      if (!got.empty() && got == counted && got != wanted) ++before;
    }
    return before;
  }

 private:
  int fd_;
};

inline void shell(std::string const& command) {
  if (std::system(command.c_str()) != 0) throw std::runtime_error{command};
}

inline int index_of(char const* interface) { return static_cast<int>(if_nametoindex(interface)); }

/// Until its end this thread, and what it starts, is in a namespace that has `lo` and a veth pair.
class own_network {
 public:
  own_network() : before_{checked(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), "open")} {
    checked(unshare(CLONE_NEWNET), "unshare");
    shell("ip link set lo up");
    shell("ip link add sender type veth peer name receiver");
    // The first to be up gets its carrier later, and the kernel's worker must run before it can send.
    shell("ip link set receiver up");
    shell("ip link set sender up");
  }
  own_network(own_network const&) = delete;
  own_network& operator=(own_network const&) = delete;
  ~own_network() {
    setns(before_, CLONE_NEWNET);
    close(before_);
  }

  /// The namespace that the thread goes back to: in a test program the machine's first one.
  int before() const noexcept { return before_; }

 private:
  int before_;
};

/// Until its end this thread is on one CPU. What it sends over veth or loopback is received there, in order, and
/// whatever runs on a packet has run to its end before this thread sees that packet or the next one.
class on_one_cpu {
 public:
  on_one_cpu() {
    checked(sched_getaffinity(0, sizeof before_, &before_), "sched_getaffinity");
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<std::size_t>(checked(sched_getcpu(), "sched_getcpu")), &one);
    checked(sched_setaffinity(0, sizeof one, &one), "sched_setaffinity");
  }
  on_one_cpu(on_one_cpu const&) = delete;
  on_one_cpu& operator=(on_one_cpu const&) = delete;
  ~on_one_cpu() { sched_setaffinity(0, sizeof before_, &before_); }

 private:
  cpu_set_t before_{};
};

}  // namespace test
