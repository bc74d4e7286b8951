// From a map's handle to its memory.
#pragma once

#include "object_state.hpp"

#include <tinybpf/error.hpp>
#include <tinybpf/map.hpp>

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

namespace tinybpf::detail {

/// The core of a map of a loaded object, or null and what is wrong: `errc::closed`, `errc::not_loaded`. `what` is the
/// map's role, for the message.
map_core* loaded_map(map const& m, std::string_view what, error_code& ec, diagnostics& details);

inline constexpr std::uint32_t flag_mmapable = 1U << 10U;  // BPF_F_MMAPABLE

/// Maps a descriptor, shared; null, and errno, if that is not possible. Unmaps when the last owner goes.
std::shared_ptr<void> map_memory(int fd, std::size_t size, int protection, std::size_t offset);

}  // namespace tinybpf::detail
