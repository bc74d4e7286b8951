// What a refusal is about.
#pragma once

#include <tinybpf/capabilities.hpp>
#include <tinybpf/types.hpp>

#include <cstdint>
#include <string>

namespace tinybpf::detail {

/// "this needs CAP_BPF and CAP_PERFMON, and the process lacks CAP_PERFMON", or, where nothing is lacking, what else may
/// have refused.
std::string explain_refusal(capability_set needed);

/// Whether the thread is in a user namespace below the first one, in which BPF wants its capabilities.
bool in_user_namespace() noexcept;

/// What creating a map takes.
capability_set needed_for_map(map_type type, std::uint32_t map_flags) noexcept;

/// What opening perf events of a whole CPU, a tracepoint or a kprobe takes here.
capability_set needed_for_perf_events();

/// As `explain_refusal`, for a call that opened one.
std::string explain_perf_refusal(capability_set needed);

/// Of an attach that was refused.
std::string explain_attach_refusal(link_kind kind, program_type type);

}  // namespace tinybpf::detail
