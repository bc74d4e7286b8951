// Measures tinybpf's buffers against libbpf's, and says which of the project's bars are reached. See README.md.
#include "rows.hpp"
#include "suite.hpp"

#include <memory>

namespace {

std::vector<bench::group> groups(bench::run_options const& options) {
  auto n = options.quick ? bench::quick : bench::sizes{};
  n.repetitions = options.repetitions.value_or(n.repetitions);
  auto const w = std::make_shared<bench::workload>();
  std::vector<bench::group> all{{"drain", [=] { return bench::drain_rows(*w, n); }}};
  if (!options.quick) all.push_back({"instructions", bench::instruction_rows});
  all.push_back({"saturation", [=] { return bench::saturation_rows(*w, n); }});
  all.push_back({"tracing", [=] { return bench::tracing_rows(*w, n); }});
  all.push_back({"idle", [=] { return bench::idle_ring_rows(*w, n); }});
  all.push_back({"perf", [=] { return bench::perf_rows(n); }});
  all.push_back({"user", [=] { return bench::user_ring_rows(n); }});
  return all;
}

void once(std::size_t reader, std::uint64_t events) {
  bench::workload w;
  bench::drain_once(w, reader, events);
}

}  // namespace

int main(int argc, char** argv) {
  return bench::run_suite(argc, argv,
                          {.about = "Measures tinybpf's buffers against libbpf's. Needs root",
                           .groups = "drain, instructions, saturation, tracing, idle, perf or user",
                           .make = groups,
                           .once = once});
}
