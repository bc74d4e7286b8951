// What attaching to any kind of place has in common: see attach_target.cpp.
#pragma once

#include "link_state.hpp"
#include "object_state.hpp"

#include <tinybpf/attach_target.hpp>
#include <tinybpf/error.hpp>
#include <tinybpf/link.hpp>
#include <tinybpf/types.hpp>

#include <bpf/libbpf.h>

#include <cstring>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace tinybpf::detail {

/// The program that is being attached.
struct attach_subject {
  bpf_program* raw;
  int fd;
  std::shared_ptr<bpf_object> object;  // for links that refer to it
};

/// Why something is not even tried: no code, or one with what follows "cannot attach ...: ".
struct refusal {
  error_code code = {};
  std::string reason = {};
  std::string hint = {};
};

/// Refuses a name that libbpf would see the beginning of only, up to a null character.
refusal odd_name(std::initializer_list<std::string_view> names);

/// Refuses what is there and is no file, such as a FIFO, which libbpf would wait at for ever, and a file in whose
/// symbols, where those are to be looked at, libbpf would divide by 0. In attach_probe.cpp.
refusal odd_binary(std::filesystem::path const& binary, bool by_symbols);

/// How to attach to a place.
struct attach_plan {
  link_kind kind = link_kind::other;
  std::string where;                     ///< "kprobe at do_unlinkat", behind "cannot attach program 'p' to".
  std::vector<program_type> types = {};  ///< Those that have such places; empty: all that there are.
  std::string_view libbpf_version = {};  ///< What it takes, if the libbpf at hand is older.
  /// Looks at what was asked for, where the kernel or libbpf would only say EINVAL, or do something else.
  std::function<refusal(attach_subject const&)> refuse = {};
  /// Adds what it attached to the list; returns 0, or an errno, and then what is in the list is detached. libbpf's text
  /// is captured, and no other attach of the object runs.
  std::function<int(attach_subject const&, attachment_list&)> attach = {};
  /// Says more about a failure than "the kernel has no such place": hint and names, or a better code. The message is
  /// there already, and so is libbpf's text.
  std::function<void(error_code&, diagnostics&)> explain = {};
};

// attach_trace.cpp
attach_plan plan_of(section_target const& t, program_core const& core);
attach_plan plan_of(tracepoint_target const& t, program_core const& core);
attach_plan plan_of(raw_tracepoint_target const& t, program_core const& core);
attach_plan plan_of(trace_target const& t, program_core const& core);
attach_plan plan_of(perf_event_target const& t, program_core const& core);
attach_plan plan_of(freplace_target const& t, program_core const& core);
// attach_probe.cpp
attach_plan plan_of(kprobe_target const& t, program_core const& core);
attach_plan plan_of(kprobe_multi_target const& t, program_core const& core);
attach_plan plan_of(ksyscall_target const& t, program_core const& core);
attach_plan plan_of(uprobe_target const& t, program_core const& core);
attach_plan plan_of(uprobe_multi_target const& t, program_core const& core);
attach_plan plan_of(usdt_target const& t, program_core const& core);
// attach_interface.cpp
attach_plan plan_of(xdp_target const& t, program_core const& core);
attach_plan plan_of(tc_target const& t, program_core const& core);
attach_plan plan_of(tcx_target const& t, program_core const& core);
attach_plan plan_of(netkit_target const& t, program_core const& core);
attach_plan plan_of(netfilter_target const& t, program_core const& core);
// attach_socket.cpp
attach_plan plan_of(cgroup_target const& t, program_core const& core);
attach_plan plan_of(netns_target const& t, program_core const& core);
attach_plan plan_of(sockmap_target const& t, program_core const& core);
attach_plan plan_of(socket_target const& t, program_core const& core);

/// One of libbpf's structures of options, all zero but for its size. Also between and behind its fields, of which
/// libbpf demands it: a copy as a plain `Options` may lose that.
template <class Options>
struct sized : Options {
  sized() {
    std::memset(static_cast<Options*>(this), 0, sizeof(Options));
    this->sz = sizeof(Options);
  }
};

// attach_iter.cpp
attach_plan plan_of(iter_target const& t, program_core const& core);

/// Takes over what libbpf attached, also if it throws; 0, or the errno if that was nothing. The rest is as for
/// `libbpf_attachment`.
int keep(bpf_link* raw, attachment_list& into, std::shared_ptr<bpf_object> object = {}, int perf_event = -1);

/// Attaches as planned: the frame around every way to attach.
link attach_as_planned(program_core* core, attach_plan const& plan, error_code& ec, diagnostics& details);

}  // namespace tinybpf::detail
