#include <tinybpf/fd_map.hpp>

#include "detail/map_calls.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

namespace tinybpf::detail {
namespace {

bool has_maps(map const& m) noexcept {
  return m.type() == map_type::array_of_maps || m.type() == map_type::hash_of_maps;
}

}  // namespace

void update_descriptor(map const& m, std::span<std::byte const> key, int fd, bool open, update_flag flag,
                       error_code& ec, diagnostics& details) {
  if (!ready(handle_access::core(m).get(), "update", ec, details)) return;
  if (fd < 0) {
    details.map = m.name();
    return report(ec, details, open ? errc::not_loaded : errc::closed,
                  "update of map '" + details.map + "': what is to be stored is " + (open ? "not loaded" : "closed"));
  }
  // Sockets may be kept in values of 8 bytes; all else takes 4.
  std::vector<std::byte> value(m.value_size());
  std::memcpy(value.data(), &fd, std::min(value.size(), sizeof fd));
  m.update(key, value, flag, ec, details);
  if (ec != boost::system::errc::invalid_argument) return;
  if (has_maps(m))
    details.hint = "it has to be a map like the one that '" + details.map + "' was declared with";
  else if (m.type() == map_type::prog_array)
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

map lookup_map(map const& m, std::span<std::byte const> key, error_code& ec, diagnostics& details) {
  if (!ready(handle_access::core(m).get(), "lookup", ec, details)) return {};
  if (!has_maps(m)) {  // else the number of a program or socket would be taken for a map's
    details.map = m.name();
    report(ec, details, errc::wrong_map_type,
           "lookup of a map in map '" + details.map + "', which is of type " + std::string{to_string(m.type())});
    return {};
  }
  auto const id = lookup_descriptor(m, key, ec, details);
  return id ? map::open_by_id(static_cast<std::uint32_t>(*id), ec, details) : map{};
}

}  // namespace tinybpf::detail
