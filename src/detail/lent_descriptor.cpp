#include <tinybpf/detail/lent_descriptor.hpp>

#include "report.hpp"

#include <string>

namespace tinybpf::detail {

void report_unwatchable(std::string_view map, error_code& ec, diagnostics& details) {
  details.map = map;
  report(ec, details, ec, "cannot wait for '" + details.map + "'");
}

}  // namespace tinybpf::detail
