#include "mapping.hpp"

#include "report.hpp"

#include <string>

namespace tinybpf::detail {

map_core* loaded_map(map const& m, std::string_view what, error_code& ec, diagnostics& details) {
  begin(ec, details);
  auto const& core = handle_access::core(m);
  if (!core) {
    report(ec, details, errc::closed, std::string{what} + " of no map");
    return nullptr;
  }
  details.map = core->name;
  return core->usable(true, std::string{what} + " '" + core->name + "'", ec, details) ? core.get() : nullptr;
}

std::shared_ptr<void> map_memory(int fd, std::size_t size, int protection, std::size_t offset) {
  auto* const at = mmap(nullptr, size, protection, MAP_SHARED, fd, static_cast<off_t>(offset));
  if (at == MAP_FAILED) return nullptr;
  return {at, [size](void* p) { munmap(p, size); }};  // a shared_ptr that cannot be made calls the deleter
}

}  // namespace tinybpf::detail
