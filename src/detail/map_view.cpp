#include <tinybpf/detail/map_view.hpp>

#include "map_calls.hpp"

#include <tinybpf/btf.hpp>

#include <algorithm>
#include <string>

namespace tinybpf::detail {
namespace {

bool right_kind(map const& m, view_of const& view, error_code& ec, diagnostics& details) {
  if (view.kinds.size() == 0) {
    if (!is_per_cpu(m.type()) || view.value == nullptr) return true;
    report(ec, details, errc::not_supported,
           std::string{view.name} + " of map '" + details.map + "': each CPU has a value of its own",
           "percpu_map reads and writes them all");
    return false;
  }
  if (std::find(view.kinds.begin(), view.kinds.end(), m.type()) != view.kinds.end()) return true;
  std::string wanted;
  for (auto const kind : view.kinds) wanted += (wanted.empty() ? "" : " or ") + std::string{to_string(kind)};
  report(ec, details, errc::wrong_map_type,
         std::string{view.name} + " of map '" + details.map + "', which is of type " + std::string{to_string(m.type())},
         "it takes " + wanted);
  return false;
}

bool right_type(map const& m, view_of const& view, char const* part, std::size_t size, btf_type const& type,
                type_shape const& shape, field_names names, error_code& ec, diagnostics& details) {
  if (!right_size(*handle_access::core(m), view.name, part, size, shape.size, ec, details)) return false;
  if (type) handle_access::core(m)->types()->check_as(shape, type, names, ec, details);
  if (!ec) return true;
  details.map = m.name();
  details.message = std::string{view.name} + " of map '" + details.map + "': its " + part + ": " + details.message;
  return false;
}

}  // namespace

void check_view(map const& m, view_of const& view, field_names names, error_code& ec, diagnostics& details) {
  begin(ec, details);
  details.map = m.name();
  if (!m.is_open()) return report(ec, details, errc::closed, std::string{view.name} + " of a closed map");
  if (!right_kind(m, view, ec, details)) return;
  if (view.key != nullptr && !right_type(m, view, "key", m.key_size(), m.btf_key(), *view.key, names, ec, details))
    return;
  if (view.value != nullptr)
    right_type(m, view, "value", m.value_size(), m.btf_value(), *view.value, names, ec, details);
  if (!ec) begin(ec, details);
}

void check_key_size(map const& m, char const* name, std::size_t size, error_code& ec, diagnostics& details) {
  if (!ec) right_size(*handle_access::core(m), name, "key", m.key_size(), size, ec, details);
}

}  // namespace tinybpf::detail
