// Places to attach a program to, each with its options: what `program::attach(target)` and `async_attach` take.
//
// They are plain values, with constructors only because g++ 12 destroys the members of an aggregate that is made in a
// co_await expression twice; for the same reason the options, which are aggregates, own nothing. Descriptors in them
// are the caller's, and have to stay open until the call is over; with `async_attach`, until it has completed. Network
// interfaces and paths count where the calling thread is: for `async_attach` that is a worker thread, which is in the
// namespaces that the thread which started it was in.
//
// A cookie is a number that the program gets from bpf_get_attach_cookie(), so that one program attached to several
// places can tell them apart. 0 is what it gets without one.
#pragma once

#include <tinybpf/iter_options.hpp>
#include <tinybpf/map.hpp>
#include <tinybpf/types.hpp>

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace tinybpf {

/// A network interface by its index, as if_nametoindex() or `link_info` give it, or by its name or an alternative one.
using interface_ref = std::variant<int, std::uint32_t, std::string>;

/// Something that is open already, or the path at which it can be opened.
using path_or_fd = std::variant<std::filesystem::path, int>;

/// Of tracepoints. A cookie wants Linux 5.15.
struct tracepoint_options {
  std::uint64_t cookie = 0;
};

/// Of raw tracepoints. A cookie wants Linux 6.10 and libbpf 1.4.
struct raw_tracepoint_options {
  std::uint64_t cookie = 0;
};

/// Of fentry, fexit, fmod_ret, tp_btf and lsm programs. A cookie wants Linux 5.19 (tp_btf: 6.10 and libbpf 1.4).
struct trace_options {
  std::uint64_t cookie = 0;
};

/// Of kprobes and kretprobes.
struct kprobe_options {
  bool retprobe = false;     ///< Run the program where the function returns, not where it is entered.
  std::size_t offset = 0;    ///< Bytes behind the function's start; not with `retprobe`.
  std::uint64_t cookie = 0;  ///< Wants Linux 5.15.
};

/// Of kprobes on many functions at once (Linux 5.18; 6.2 with BPF cookies sorted right).
struct kprobe_multi_options {
  bool retprobe = false;
  std::span<std::uint64_t const> cookies = {};  ///< One for each function of a list, or none; not with a pattern.
};

/// Of system calls by their name, whatever the architecture calls the function behind it.
struct ksyscall_options {
  bool retprobe = false;
  std::uint64_t cookie = 0;
};

/// Of uprobes and uretprobes. The name of a function is looked up in the binary's symbols.
struct uprobe_options {
  bool retprobe = false;
  std::size_t offset = 0;          ///< Bytes behind the function's start, not with `retprobe`; or into the file.
  pid_t pid = -1;                  ///< Only in this process; 0 is the caller's own, -1 is all, also those to come.
  std::uint64_t cookie = 0;        ///< Wants Linux 5.15.
  std::size_t ref_ctr_offset = 0;  ///< Offset in the file of a counter that the kernel keeps above 0 while attached.
};

/// Of uprobes on many functions at once (Linux 6.6, libbpf 1.3).
struct uprobe_multi_options {
  bool retprobe = false;
  pid_t pid = -1;                               ///< As for `uprobe_options`.
  std::span<std::uint64_t const> cookies = {};  ///< One for each function of a list, or none; not with a pattern.
};

/// Of user space's own static tracepoints.
struct usdt_options {
  pid_t pid = -1;            ///< As for `uprobe_options`.
  std::uint64_t cookie = 0;  ///< What bpf_usdt_cookie() gives.
};

/// Of samples by time, or by a counter of the processor. The defaults make it run once a millisecond of a CPU's work.
/// A period and a frequency at once are EINVAL. The link has an attachment for each CPU or, with `pid`, for each
/// thread.
struct perf_event_options {
  std::uint32_t type = 1;       ///< PERF_TYPE_SOFTWARE
  std::uint64_t config = 0;     ///< PERF_COUNT_SW_CPU_CLOCK; with PERF_TYPE_HARDWARE 0 is cycles, and so on.
  std::uint64_t period = 0;     ///< Run once in so many events (nanoseconds of the CPU clock); 0: by frequency.
  std::uint64_t frequency = 0;  ///< Run so often a second; 0 with a period of 0 means 1,000.
  std::optional<int> cpu = {};  ///< This CPU only; all that are online if empty.
  pid_t pid = -1;               ///< Only this process: its threads and those that they start; 0 is the caller's own.
  std::uint64_t cookie = 0;     ///< Wants Linux 5.15.
};

/// Where an XDP program runs.
enum class xdp_mode : std::uint8_t {
  any,      ///< In the driver where that can, in the kernel's own code where not.
  native,   ///< In the driver, before a packet has cost anything (XDP_FLAGS_DRV_MODE).
  generic,  ///< In the kernel's own code, on every interface (XDP_FLAGS_SKB_MODE).
  offload,  ///< In the card (XDP_FLAGS_HW_MODE). The program was loaded for it.
};

/// Of XDP programs.
struct xdp_options {
  xdp_mode mode = xdp_mode::any;
  /// Take the place of a program that was attached without a link, as `ip link` does, in one step and without a link
  /// either; where there is none, attach as ever. It is not put back at the end. A program behind a link is swapped by
  /// `link::update_program`, and gives EBUSY here. Opening the other program takes CAP_SYS_ADMIN. When the interface
  /// moves to another network namespace the program goes with it, and the link has no hold of it any more.
  bool replace = false;
};

/// Which way packets go past an interface.
enum class tc_direction : std::uint8_t { ingress, egress };

/// Of clsact filters, which every kernel has. The qdisc is made where it is missing. If this process made it, it goes
/// with this process's last filter, unless there are filters of others: one that another process adds at that very
/// moment goes with it, because the kernel has no way to remove an empty qdisc only. A filter is no link for the
/// kernel: if the process dies, it stays. The link keeps the network namespace, so that it can be detached from
/// anywhere.
struct tc_options {
  tc_direction direction = tc_direction::ingress;
  std::uint32_t handle = 0;    ///< 0: the kernel chooses one.
  std::uint32_t priority = 0;  ///< Lower ones run first, up to 65535; 0: the kernel chooses one.
  bool replace = false;        ///< Take the place of a filter with the same handle and priority, which are given then.
};

/// Where in the order of the programs of a TCX or netkit (Linux 6.6, libbpf 1.3) a new one goes.
struct attach_order {
  enum class place : std::uint8_t {
    last,    ///< Behind all others: the default.
    first,   ///< In front of all others.
    before,  ///< In front of the program or link given.
    after,   ///< Behind it.
  };
  place where = place::last;
  std::uint32_t relative_program_id = 0;  ///< For before and after: a program's id,
  std::uint32_t relative_link_id = 0;     ///< or a link's.
  std::uint64_t expected_revision = 0;    ///< Fail with ESTALE if the programs have changed since; 0: do not care.
};

/// Of TCX, which needs no qdisc (Linux 6.6, libbpf 1.3).
struct tcx_options {
  tc_direction direction = tc_direction::ingress;
  attach_order order = {};
};

/// Which end of a netkit device.
enum class netkit_side : std::uint8_t { primary, peer };

/// Of netkit devices (Linux 6.7, libbpf 1.3).
struct netkit_options {
  netkit_side side = netkit_side::primary;
  attach_order order = {};
};

/// Who else may be attached to the same control group and what is below it. A link is as `allow_multi` to others. The
/// old ways end with the `tinybpf::link` or the group, not with the process, and may be mixed with themselves only.
/// `exclusive` and `allow_override` give EBUSY where the group has a program, which the kernel would replace silently;
/// a program that somebody else attaches in the same moment is replaced all the same. Attaching and detaching with
/// these two takes CAP_NET_ADMIN, to look who is there: without, `link::detach` gives EPERM, and the program stays.
enum class cgroup_mode : std::uint8_t {
  link,            ///< A BPF link, beside others: the default.
  exclusive,       ///< The old way, without a link: nobody else here or below.
  allow_override,  ///< Likewise; groups below may have one of their own in its place (BPF_F_ALLOW_OVERRIDE).
  allow_multi,     ///< Likewise; others may be attached here and below, and all run (BPF_F_ALLOW_MULTI).
};

/// Of control groups.
struct cgroup_options {
  cgroup_mode mode = cgroup_mode::link;
  /// What the program is attached as; what its section says if empty. SEC("cgroup/skb") alone leaves it open.
  std::optional<attach_type> type = {};
};

/// Of sockmaps and sockhashes. A socket gets the map's programs when it is put into the map, and keeps them until it is
/// taken out, also when they are detached meanwhile: attach first. Since Linux 6.10 it is a BPF link, which ends with
/// the process; before, the program stays with the map. A map has one program of each kind: EBUSY if there is one
/// (Linux 5.17; before, it is replaced). `errc::closed` or `errc::not_loaded` if the map is.
struct sockmap_options {
  /// sk_skb_stream_parser, sk_skb_stream_verdict, sk_skb_verdict or sk_msg_verdict; what the section says if empty.
  std::optional<attach_type> type = {};
};

/// What a program does for a socket.
enum class socket_role : std::uint8_t {
  filter,  ///< Decides which packets the socket gets, and how much of them (SO_ATTACH_BPF).
  /// Chooses among the sockets of one port (SO_ATTACH_REUSEPORT_EBPF). Detaching takes out the chooser that the group
  /// has by then, whoever attached it: the kernel cannot be told which one is meant, nor asked.
  reuseport,
};

/// Of sockets. A filter goes with its socket; EBUSY if the socket has one. A chooser is the whole group's, replaces
/// the one that it has, and stays with it when the socket through which it was attached is closed before the link is
/// detached.
struct socket_options {
  socket_role role = socket_role::filter;
};

/// Of the kernel's packet filter hooks (Linux 6.4, libbpf 1.3).
struct netfilter_options {
  std::uint32_t protocol_family = 2;  ///< NFPROTO_IPV4; 10 is NFPROTO_IPV6.
  std::uint32_t hook = 1;             ///< NF_INET_PRE_ROUTING 0, LOCAL_IN 1, FORWARD 2, LOCAL_OUT 3, POST_ROUTING 4.
  std::int32_t priority = 0;          ///< Lower ones run first; each is free for one program only.
  bool defragment = false;            ///< Put fragments together before the program sees them (Linux 6.6).
};

/// As the program's section says.
struct section_target {};

/// A tracepoint, such as {"sched", "sched_process_exec"}.
struct tracepoint_target {
  tracepoint_target(std::string category_, std::string name_, tracepoint_options options_ = {})
      : category(std::move(category_)), name(std::move(name_)), options(options_) {}

  std::string category;
  std::string name;
  tracepoint_options options = {};
};

/// A raw tracepoint, such as {"sched_switch"}.
struct raw_tracepoint_target {
  explicit raw_tracepoint_target(std::string name_, raw_tracepoint_options options_ = {})
      : name(std::move(name_)), options(options_) {}

  std::string name;
  raw_tracepoint_options options = {};
};

/// The function or BTF tracepoint that the program was loaded for: fentry, fexit, fmod_ret, tp_btf, lsm.
struct trace_target {
  explicit trace_target(trace_options options_ = {}) : options(options_) {}

  trace_options options = {};
};

/// A function of the kernel.
struct kprobe_target {
  explicit kprobe_target(std::string function_, kprobe_options options_ = {})
      : function(std::move(function_)), options(options_) {}

  std::string function;
  kprobe_options options = {};
};

/// Functions of the kernel, by a pattern with * and ?, or by their names. Copies the cookies. A list of names comes
/// from a variable where it is awaited, for g++ 12 does not compile one that is written in a co_await expression:
///
///     std::vector<std::string> const names{"vfs_read", "vfs_write"};
///     auto reads = co_await tinybpf::async_attach(ex, obj.program("on_file"), tinybpf::kprobe_multi_target{names});
struct kprobe_multi_target {
  explicit kprobe_multi_target(std::variant<std::string, std::vector<std::string>> functions_,
                               kprobe_multi_options const& options = {})
      : functions(std::move(functions_)),
        retprobe(options.retprobe),
        cookies(options.cookies.begin(), options.cookies.end()) {}

  std::variant<std::string, std::vector<std::string>> functions;
  bool retprobe = false;
  std::vector<std::uint64_t> cookies = {};
};

/// A system call, such as "openat2".
struct ksyscall_target {
  explicit ksyscall_target(std::string syscall_, ksyscall_options options_ = {})
      : syscall(std::move(syscall_)), options(options_) {}

  std::string syscall;
  ksyscall_options options = {};
};

/// A function of a program or library, or with no function the place at `options.offset`. A binary without a slash is
/// searched for as the shell and the loader would.
struct uprobe_target {
  uprobe_target(std::filesystem::path binary_, std::string function_, uprobe_options options_ = {})
      : binary(std::move(binary_)), function(std::move(function_)), options(options_) {}

  std::filesystem::path binary;
  std::string function;
  uprobe_options options = {};
};

/// Functions of a program or library, by a pattern with * and ?, or by their names, which are best a variable, as those
/// of the kernel. Copies the cookies.
struct uprobe_multi_target {
  uprobe_multi_target(std::filesystem::path binary_, std::variant<std::string, std::vector<std::string>> functions_,
                      uprobe_multi_options const& options = {})
      : binary(std::move(binary_)),
        functions(std::move(functions_)),
        retprobe(options.retprobe),
        pid(options.pid),
        cookies(options.cookies.begin(), options.cookies.end()) {}

  std::filesystem::path binary;
  std::variant<std::string, std::vector<std::string>> functions;
  bool retprobe = false;
  pid_t pid = -1;
  std::vector<std::uint64_t> cookies = {};
};

/// A static tracepoint of a program or library.
struct usdt_target {
  usdt_target(std::filesystem::path binary_, std::string provider_, std::string name_, usdt_options options_ = {})
      : binary(std::move(binary_)), provider(std::move(provider_)), name(std::move(name_)), options(options_) {}

  std::filesystem::path binary;
  std::string provider;
  std::string name;
  usdt_options options = {};
};

/// Samples.
struct perf_event_target {
  explicit perf_event_target(perf_event_options options_ = {}) : options(options_) {}

  perf_event_options options = {};
};

/// What an interface receives, before the network stack sees it.
struct xdp_target {
  explicit xdp_target(interface_ref interface_, xdp_options options_ = {})
      : interface(std::move(interface_)), options(options_) {}

  interface_ref interface;
  xdp_options options = {};
};

/// What goes past an interface, through clsact.
struct tc_target {
  explicit tc_target(interface_ref interface_, tc_options options_ = {})
      : interface(std::move(interface_)), options(options_) {}

  interface_ref interface;
  tc_options options = {};
};

/// What goes past an interface, through TCX.
struct tcx_target {
  explicit tcx_target(interface_ref interface_, tcx_options options_ = {})
      : interface(std::move(interface_)), options(options_) {}

  interface_ref interface;
  tcx_options options = {};
};

/// What a netkit device sends. The interface is the primary one, also for the peer's side.
struct netkit_target {
  explicit netkit_target(interface_ref interface_, netkit_options options_ = {})
      : interface(std::move(interface_)), options(options_) {}

  interface_ref interface;
  netkit_options options = {};
};

/// What the processes of a control group, and of those below it, do.
struct cgroup_target {
  explicit cgroup_target(path_or_fd cgroup_, cgroup_options options_ = {})
      : cgroup(std::move(cgroup_)), options(options_) {}

  path_or_fd cgroup;
  cgroup_options options = {};
};

/// A network namespace, for sk_lookup and flow_dissector, such as {"/proc/self/ns/net"}.
struct netns_target {
  explicit netns_target(path_or_fd netns_) : netns(std::move(netns_)) {}

  path_or_fd netns;
};

/// The sockets in a sockmap or sockhash, for sk_msg and sk_skb.
struct sockmap_target {
  explicit sockmap_target(map sockets_, sockmap_options options_ = {})
      : sockets(std::move(sockets_)), options(options_) {}

  map sockets;
  sockmap_options options = {};
};

/// A socket, by its descriptor.
struct socket_target {
  explicit socket_target(int socket_, socket_options options_ = {}) : socket(socket_), options(options_) {}

  int socket = -1;
  socket_options options = {};
};

/// A hook of the kernel's packet filter, in the network namespace of the calling thread.
struct netfilter_target {
  explicit netfilter_target(netfilter_options options_ = {}) : options(options_) {}

  netfilter_options options = {};
};

/// A function of another program, which is loaded: freplace.
struct freplace_target {
  freplace_target(int program_fd_, std::string function_) : program_fd(program_fd_), function(std::move(function_)) {}

  int program_fd = -1;
  std::string function;
};

/// What an iterator walks: nothing runs until somebody reads it, see iter_stream.hpp.
struct iter_target {
  explicit iter_target(iter_options options_ = {}) : options(std::move(options_)) {}

  iter_options options = {};
};

/// Any of them.
using attach_target =
    std::variant<section_target, tracepoint_target, raw_tracepoint_target, trace_target, kprobe_target,
                 kprobe_multi_target, ksyscall_target, uprobe_target, uprobe_multi_target, usdt_target,
                 perf_event_target, xdp_target, tc_target, tcx_target, netkit_target, cgroup_target, netns_target,
                 sockmap_target, socket_target, netfilter_target, freplace_target, iter_target>;

}  // namespace tinybpf
