// Which capability a refusal is about.
#pragma once

#include <tinybpf/types.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace tinybpf::detail {

/// A set of capabilities, one bit each, as in /proc/self/status.
using capability_set = std::uint64_t;

/// What this thread may do now.
capability_set effective_capabilities();

/// What loading a program of the type takes, by the kernel's own table.
capability_set needed_to_load(program_type type);

/// What creating a map takes.
capability_set needed_for_maps();

/// What opening perf events on whole CPUs takes.
capability_set needed_for_perf_events();

/// "needs CAP_BPF and CAP_PERFMON, of which this process lacks CAP_PERFMON", or, where nothing is lacking, what else
/// may have refused.
std::string explain_refusal(capability_set needed);

}  // namespace tinybpf::detail
