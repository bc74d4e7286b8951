// The counters that tinybpf.bpf.h keeps beside a buffer.
#pragma once

#include "object_state.hpp"

#include <tinybpf/detail/channel.hpp>

#include <optional>

namespace tinybpf::detail {

/// The counter of a ring buffer or perf event array: the map `<name>_lost` of its object.
std::optional<loss_counter> find_losses(map_core const& buffer);

}  // namespace tinybpf::detail
