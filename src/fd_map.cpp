#include <tinybpf/fd_map.hpp>

#include "detail/map_calls.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

namespace tinybpf::detail {

void update_descriptor(map const& m, std::span<std::byte const> key, int fd, update_flag flag, error_code& ec,
                       diagnostics& details) {
  if (!ready(handle_access::core(m).get(), "update", ec, details)) return;
  if (fd < 0) {
    details.map = m.name();
    return report(ec, details, errc::closed, "update of map '" + details.map + "': what is to be stored is closed");
  }
  // Sockets may be kept in values of 8 bytes; all else takes 4.
  std::vector<std::byte> value(m.value_size());
  std::memcpy(value.data(), &fd, std::min(value.size(), sizeof fd));
  m.update(key, value, flag, ec, details);
  if (ec != boost::system::errc::invalid_argument) return;
  auto const type = m.type();
  if (type == map_type::array_of_maps || type == map_type::hash_of_maps)
    details.hint = "it has to be a map like the one that '" + details.map + "' was declared with";
  else if (type == map_type::prog_array)
    details.hint = "it has to be a program like those that use the map";
}

std::optional<std::uint64_t> lookup_descriptor(map const& m, std::span<std::byte const> key, error_code& ec,
                                               diagnostics& details) {
  std::vector<std::byte> value(m.value_size());
  if (!m.lookup(key, value, ec, details)) return std::nullopt;
  std::uint64_t number = 0;
  std::memcpy(&number, value.data(), std::min(value.size(), sizeof number));
  return number;
}

}  // namespace tinybpf::detail
