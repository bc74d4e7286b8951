#include <tinybpf/shared_array.hpp>

#include "detail/map_calls.hpp"
#include "detail/mapping.hpp"

#include <tinybpf/map.hpp>

#include <cerrno>
#include <string>

namespace tinybpf::detail {

array_memory map_array(map const& m, type_shape const& value, bool writable, field_names names, error_code& ec,
                       diagnostics& details) {
  check_view(m, {.name = "a shared array", .kinds = {map_type::array}, .key = nullptr, .value = &value}, names, ec,
             details);
  auto const* const core = ec ? nullptr : loaded_map(m, "a shared array of map", ec, details);
  if (core == nullptr) return {};
  auto const what = "a shared array of map '" + core->name + "'";
  if ((core->flags & flag_mmapable) == 0) {
    report(ec, details, errc::wrong_map_type, what + ", which has no memory to share",
           "declare it with __uint(map_flags, BPF_F_MMAPABLE)");
    return {};
  }
  array_memory memory{nullptr, core->max_entries, core->name};
  auto const bytes = memory.count * ((value.size + 7) / 8 * 8);
  memory.mapping = map_memory(core->fd, bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ, 0);
  if (memory.mapping) {
    begin(ec, details);
    return memory;
  }
  auto const code = last_errno();
  report(ec, details, code, "cannot map " + what,
         writable && code == boost::system::errc::operation_not_permitted
             ? "a map that is frozen can be read: take a const type"
             : "");
  return {};
}

void refuse_index(std::string const& name, std::size_t index, std::size_t count, error_code& ec, diagnostics& details) {
  begin(ec, details);
  details.map = name;
  report(
      ec, details, errc::out_of_range,
      "map '" + name + "' has " + std::to_string(count) + " values, and none with the index " + std::to_string(index));
}

}  // namespace tinybpf::detail
