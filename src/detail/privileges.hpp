// What a refusal is about.
#pragma once

#include <tinybpf/capabilities.hpp>

#include <string>

namespace tinybpf::detail {

/// "this needs CAP_BPF and CAP_PERFMON, and the process lacks CAP_PERFMON", or, where nothing is lacking, what else may
/// have refused.
std::string explain_refusal(capability_set needed);

}  // namespace tinybpf::detail
