// What a thread may do, and what BPF asks for: docs/PRIVILEGES.md has the whole of it.
#pragma once

#include <tinybpf/error.hpp>
#include <tinybpf/types.hpp>

#include <bit>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <string>
#include <string_view>

namespace tinybpf {

class map;
class object;
class program;

/// The capabilities of capabilities(7), under the kernel's names and numbers.
enum class capability : std::uint8_t {
  chown = 0,
  dac_override = 1,
  dac_read_search = 2,
  fowner = 3,
  fsetid = 4,
  kill = 5,
  setgid = 6,
  setuid = 7,
  setpcap = 8,
  linux_immutable = 9,
  net_bind_service = 10,
  net_broadcast = 11,
  net_admin = 12,
  net_raw = 13,
  ipc_lock = 14,
  ipc_owner = 15,
  sys_module = 16,
  sys_rawio = 17,
  sys_chroot = 18,
  sys_ptrace = 19,
  sys_pacct = 20,
  sys_admin = 21,
  sys_boot = 22,
  sys_nice = 23,
  sys_resource = 24,
  sys_time = 25,
  sys_tty_config = 26,
  mknod = 27,
  lease = 28,
  audit_write = 29,
  audit_control = 30,
  setfcap = 31,
  mac_override = 32,
  mac_admin = 33,
  syslog = 34,
  wake_alarm = 35,
  block_suspend = 36,
  audit_read = 37,
  perfmon = 38,
  bpf = 39,
  checkpoint_restore = 40,
};

/// A set of capabilities. A value; nothing throws.
class capability_set {
 public:
  /// Goes through the set from the lowest number to the highest.
  class iterator {
   public:
    using value_type = capability;
    using difference_type = std::ptrdiff_t;
    using iterator_category = std::input_iterator_tag;
    using reference = capability;
    using pointer = void;

    constexpr iterator() noexcept = default;
    constexpr explicit iterator(std::uint64_t rest) noexcept : rest_{rest} {}
    constexpr capability operator*() const noexcept { return static_cast<capability>(std::countr_zero(rest_)); }
    constexpr iterator& operator++() noexcept {
      rest_ &= rest_ - 1;
      return *this;
    }
    constexpr iterator operator++(int) noexcept {
      auto const before = *this;
      ++*this;
      return before;
    }
    friend constexpr bool operator==(iterator const&, iterator const&) noexcept = default;

   private:
    std::uint64_t rest_ = 0;
  };
  using const_iterator = iterator;
  using value_type = capability;

  /// The empty set.
  constexpr capability_set() noexcept = default;
  /// The set of one.
  constexpr capability_set(capability c) noexcept : bits_{std::uint64_t{1} << static_cast<unsigned>(c)} {}
  /// The set of these.
  constexpr capability_set(std::initializer_list<capability> all) noexcept {
    for (auto const c : all) *this |= c;
  }
  /// The set as the kernel writes it in /proc/self/status: a bit for each number.
  [[nodiscard]] static constexpr capability_set from_bits(std::uint64_t bits) noexcept {
    capability_set set;
    set.bits_ = bits;
    return set;
  }

  [[nodiscard]] constexpr std::uint64_t bits() const noexcept { return bits_; }
  [[nodiscard]] constexpr bool empty() const noexcept { return bits_ == 0; }
  [[nodiscard]] constexpr std::size_t size() const noexcept { return static_cast<std::size_t>(std::popcount(bits_)); }
  /// True if all of `those` are in it.
  [[nodiscard]] constexpr bool contains(capability_set those) const noexcept { return (those - *this).empty(); }

  [[nodiscard]] constexpr iterator begin() const noexcept { return iterator{bits_}; }
  [[nodiscard]] constexpr iterator end() const noexcept { return {}; }

  constexpr capability_set& operator|=(capability_set b) noexcept {
    bits_ |= b.bits_;
    return *this;
  }
  constexpr capability_set& operator&=(capability_set b) noexcept {
    bits_ &= b.bits_;
    return *this;
  }
  constexpr capability_set& operator-=(capability_set b) noexcept {
    bits_ &= ~b.bits_;
    return *this;
  }
  /// Those in either.
  friend constexpr capability_set operator|(capability_set a, capability_set b) noexcept { return a |= b; }
  /// Those in both.
  friend constexpr capability_set operator&(capability_set a, capability_set b) noexcept { return a &= b; }
  /// Those in `a` and not in `b`.
  friend constexpr capability_set operator-(capability_set a, capability_set b) noexcept { return a -= b; }
  friend constexpr bool operator==(capability_set const&, capability_set const&) noexcept = default;

 private:
  std::uint64_t bits_ = 0;
};

/// The kernel's name, such as "CAP_BPF"; "unknown" for a number without one. Never throws.
std::string_view to_string(capability c) noexcept;

/// "CAP_BPF, CAP_PERFMON"; "none" if it is empty. Numbers without a name are written as numbers.
std::string to_string(capability_set set);

/// What the calling thread may do now: its effective capabilities. In a user namespace of its own they count there
/// only, and BPF wants them in the first one, or a BPF token. Thread-safe.
[[nodiscard]] capability_set current_capabilities() noexcept;

/// What the calling thread may make effective (capset(2)): its permitted capabilities. Thread-safe.
[[nodiscard]] capability_set permitted_capabilities() noexcept;

/// What loading a program of the type takes. With less, the kernel answers EPERM. The kernel wants nothing for
/// `socket_filter` and `cgroup_skb` where the sysctl kernel.unprivileged_bpf_disabled is 0; that is not counted on.
/// Thread-safe.
[[nodiscard]] capability_set required_capabilities(program_type type) noexcept;

/// What creating a map of the type takes. With less, the kernel answers EPERM. As of programs, most types need nothing
/// where kernel.unprivileged_bpf_disabled is 0, and that is not counted on. Thread-safe.
[[nodiscard]] capability_set required_capabilities(map_type type) noexcept;

/// What loading this program, and attaching it as its section says, takes: beside that of its type CAP_DAC_READ_SEARCH
/// for a tracepoint where tracefs is only root's, CAP_SYS_ADMIN for a uprobe or USDT probe, and for every perf event
/// (tracepoints, kprobes, perf_event programs) where the sysctl kernel.perf_event_paranoid is above 2, which is
/// Debian's default; CAP_NET_ADMIN to attach to the packets of a control group. It counts whether or not the program is
/// loaded already. What helper functions that it calls ask for beyond that (`bpf_trace_printk` in a socket filter:
/// CAP_PERFMON) only the verifier knows. Errors: `errc::closed`. Thread-safe, as the program is.
[[nodiscard]] capability_set required_capabilities(program const& p);
/// @overload
capability_set required_capabilities(program const& p, error_code& ec);
/// @overload
capability_set required_capabilities(program const& p, error_code& ec, diagnostics& details);

/// What creating this map takes: that of its type and of its flags, but not of what is in a map of maps. Errors:
/// `errc::closed`. Thread-safe, as the map is.
[[nodiscard]] capability_set required_capabilities(map const& m);
/// @overload
capability_set required_capabilities(map const& m, error_code& ec);
/// @overload
capability_set required_capabilities(map const& m, error_code& ec, diagnostics& details);

/// What loading the object, and attaching its programs as their sections say, takes: the sum over the maps and programs
/// that will be loaded, or were. Errors: `errc::closed`, `errc::operation_in_progress` while it is being loaded.
[[nodiscard]] capability_set required_capabilities(object const& o);
/// @overload
capability_set required_capabilities(object const& o, error_code& ec);
/// @overload
capability_set required_capabilities(object const& o, error_code& ec, diagnostics& details);

/// What the calling thread lacks of these: `missing_capabilities(required_capabilities(obj))` is what the load of an
/// object would fail for. CAP_SYS_ADMIN stands in for CAP_BPF and CAP_PERFMON. For loading programs it does for
/// CAP_NET_ADMIN as well, but not on every kernel for maps, and never for netlink: with CAP_SYS_ADMIN alone
/// CAP_NET_ADMIN is named as missing, although the load of a network program would succeed. Thread-safe.
[[nodiscard]] capability_set missing_capabilities(capability_set required) noexcept;

}  // namespace tinybpf
