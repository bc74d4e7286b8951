// What the files that make a map's system calls share.
#pragma once

#include "object_state.hpp"

#include <tinybpf/btf.hpp>
#include <tinybpf/detail/map_view.hpp>
#include <tinybpf/number.hpp>

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace tinybpf::detail {

/// True for the types of which each CPU has values of its own.
constexpr bool is_per_cpu(map_type type) noexcept {
  return type == map_type::percpu_hash || type == map_type::percpu_array || type == map_type::lru_percpu_hash ||
         type == map_type::percpu_cgroup_storage;
}

/// `map::lookup_size()`. In each lookup and update, so it is inlined.
inline std::size_t lookup_size(map_core const& core) noexcept {
  std::size_t const one = core.value_size.load(std::memory_order_relaxed);
  if (!is_per_cpu(core.type.load(std::memory_order_relaxed))) return one;
  return (one + 7) / 8 * 8 * possible_cpus();
}

/// Of the map of a section of global variables, ".rodata" from "object.rodata"; empty for any other map. The object's
/// name may have dots of its own; a section that is none of libbpf's four has no object's name before it.
std::string_view section_of(map_core const& m) noexcept;

/// What must hold before a system call on a map; says what does not.
bool ready(map_core* core, char const* operation, error_code& ec, diagnostics& details);

/// True if a key or value has as many bytes as it must; says otherwise.
bool right_size(map_core const& core, char const* operation, char const* part, std::size_t expected, std::size_t actual,
                error_code& ec, diagnostics& details);

/// What is wrong with a descriptor that is to be one of a map: EBADF, `errc::wrong_map_type`; or nothing.
error_code not_a_map(int fd);

/// True for what the kernel says of an operation that the kind of map has not.
bool is_unsupported(error_code ec) noexcept;

/// Reports what a system call returned.
void failed(map_core const& core, char const* operation, int err, error_code& ec, diagnostics& details);

/// A number as the bytes of a key or value of that type. Errors: `errc::no_btf`, `errc::type_mismatch`,
/// `errc::out_of_range`.
std::vector<std::byte> stored(number n, btf_type const& type, map_core const& core, char const* part, error_code& ec,
                              diagnostics& details);

}  // namespace tinybpf::detail
