// The groups of rows, each in a file of its own.
#pragma once

#include "report.hpp"
#include "workload.hpp"

#include <cstdint>
#include <vector>

namespace bench {

/// Reading a ring that is full, with nobody writing.
std::vector<row> drain_rows(workload& w, sizes const& n);
/// The same in instructions per event, which do not depend on who else uses the machine. No rows without valgrind.
std::vector<row> instruction_rows();
/// What runs there: one reader of drain_rows, once. `reader` is an index.
void drain_once(workload& w, std::size_t reader, std::uint64_t events);

/// A producer that never pauses, and a ring among many that are idle.
std::vector<row> saturation_rows(workload& w, sizes const& n);
std::vector<row> idle_ring_rows(workload& w, sizes const& n);

/// What a traced program pays, and how late its events are.
std::vector<row> tracing_rows(workload& w, sizes const& n);

/// Perf buffers: emptying a filled one, and a producer that never pauses.
std::vector<row> perf_rows(sizes const& n);

/// The other direction.
std::vector<row> user_ring_rows(sizes const& n);

}  // namespace bench
