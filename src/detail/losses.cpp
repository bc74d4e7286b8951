#include "losses.hpp"

#include "mapping.hpp"
#include "report.hpp"

#include <bpf/libbpf.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace tinybpf::detail {
namespace {

/// One CPU's counter in `<ring>_lost`, as tinybpf.bpf.h declares it.
struct loss_slot {
  std::uint64_t count;
  std::uint64_t padding[7];
};

bool counts_losses(map_core const& m) {
  return m.type.load() == map_type::array && m.key_size == sizeof(std::uint32_t) && m.value_size == sizeof(loss_slot) &&
         (m.flags & flag_mmapable) != 0;
}

loss_counter map_losses(map_core const& m) {
  loss_counter counter;
  // The BPF side uses one slot a CPU, so the others need not be read.
  int const cpus = libbpf_num_possible_cpus();
  std::size_t const slots = m.max_entries;
  counter.count = cpus > 0 ? std::min(slots, static_cast<std::size_t>(cpus)) : slots;
  counter.mapping = map_memory(m.fd, slots * sizeof(loss_slot), PROT_READ, 0);
  counter.slots = counter.mapping.get();
  return counter;
}

}  // namespace

std::optional<loss_counter> find_losses(map_core const& buffer) {
  if (buffer.owner == nullptr) return std::nullopt;  // a map on its own stands beside no others
  auto const wanted = buffer.name + "_lost";
  for (auto const& m : buffer.owner->maps()) {
    if (m.name != wanted || m.fd < 0 || !counts_losses(m)) continue;
    auto counter = map_losses(m);
    if (counter.slots != nullptr) return counter;
  }
  return std::nullopt;
}

std::uint64_t loss_counter::sum() const noexcept {
  auto const* const slot = static_cast<loss_slot const*>(slots);
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < count; ++i)
    total += std::atomic_ref{const_cast<std::uint64_t&>(slot[i].count)}.load(std::memory_order_relaxed);
  return total;
}

loss_counter open_losses(map const& m, error_code& ec, diagnostics& details) {
  auto const* const core = loaded_map(m, "loss counter", ec, details);
  if (core == nullptr) return {};
  if (!counts_losses(*core)) {
    report(ec, details, errc::wrong_map_type, "map '" + core->name + "' is not a loss counter",
           "declare it with TINYBPF_LOST_COUNTER of tinybpf.bpf.h");
    return {};
  }
  auto counter = map_losses(*core);
  if (counter.slots == nullptr) report(ec, details, last_errno(), "cannot map '" + core->name + "'");
  return counter;
}

}  // namespace tinybpf::detail
