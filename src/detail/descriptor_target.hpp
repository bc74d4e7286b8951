// What a descriptor is of.
#pragma once

#include <tinybpf/error.hpp>

#include <string>
#include <string_view>

namespace tinybpf::detail {

inline constexpr std::string_view map_target = "anon_inode:bpf-map";
inline constexpr std::string_view program_target = "anon_inode:bpf-prog";

/// What a descriptor is of, as /proc shows it, and cut where that is a long path. Errors: EBADF if it is not open.
std::string descriptor_target(int fd, error_code& ec);

/// What is wrong with a descriptor that is to be of `target`: EBADF, or `other` if it is of something else.
error_code check_descriptor(int fd, std::string_view target, errc other);

}  // namespace tinybpf::detail
