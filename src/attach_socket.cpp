// Sockets, and what groups them: maps of sockets, control groups, network namespaces.
#include "detail/attaching.hpp"
#include "detail/network.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cerrno>
#include <string>

namespace tinybpf::detail {

attach_plan plan_of(cgroup_target const& t, program_core const&) { return {.where = text_of(t.cgroup)}; }
attach_plan plan_of(netns_target const& t, program_core const&) { return {.where = text_of(t.netns)}; }
attach_plan plan_of(sockmap_target const&, program_core const&) { return {}; }
attach_plan plan_of(socket_target const&, program_core const&) { return {}; }

}  // namespace tinybpf::detail
