#include <tinybpf/stats.hpp>

#include "detail/report.hpp"

#include <bpf/bpf.h>

#include <string>
#include <utility>

namespace tinybpf {

run_time_stats enable_stats() {
  return detail::or_throw([&](auto& ec, auto& details) { return enable_stats(ec, details); });
}
run_time_stats enable_stats(error_code& ec) {
  diagnostics details;
  return enable_stats(ec, details);
}
run_time_stats enable_stats(error_code& ec, diagnostics& details) {
  detail::begin(ec, details);
  int const fd = bpf_enable_stats(BPF_STATS_RUN_TIME);
  if (fd >= 0) return run_time_stats{fd};
  auto const code = detail::from_libbpf(fd);
  std::string hint;
  if (code == boost::system::errc::operation_not_permitted) hint = "this needs CAP_SYS_ADMIN";
  if (code == boost::system::errc::invalid_argument) hint = "Linux 5.8 and later have it";
  detail::report(ec, details, code, "cannot have the kernel count the runs of programs", std::move(hint));
  return {};
}

}  // namespace tinybpf
