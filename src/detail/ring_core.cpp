#include <tinybpf/detail/ring_core.hpp>

#include "object_state.hpp"
#include "report.hpp"
#include "type_registry.hpp"

#include <tinybpf/map.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <boost/core/demangle.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <utility>

namespace tinybpf::detail {
namespace {

// Newer than the kernel headers of Debian 12.
constexpr std::uint32_t flag_rb_overwrite = 1U << 19U;  // BPF_F_RB_OVERWRITE
constexpr std::uint32_t flag_mmapable = 1U << 10U;      // BPF_F_MMAPABLE

/// One CPU's counter in `<ring>_lost`, as tinybpf.bpf.h declares it.
struct loss_slot {
  std::uint64_t count;
  std::uint64_t padding[7];
};

/// Unmaps when the last owner goes.
std::shared_ptr<void> map_memory(int fd, std::size_t size, int protection, std::size_t offset) {
  auto* const at = mmap(nullptr, size, protection, MAP_SHARED, fd, static_cast<off_t>(offset));
  if (at == MAP_FAILED) return nullptr;
  return {at, [size](void* p) { munmap(p, size); }};  // unmaps also where this throws
}

void find_losses(map_core const& ring, ring_source& source) {
  auto const wanted = ring.name + "_lost";
  for (auto const& m : ring.owner->maps()) {
    if (m.name != wanted || m.fd < 0) continue;
    bool const as_declared = m.type.load() == map_type::array && m.value_size == sizeof(loss_slot) &&
                             (bpf_map__map_flags(m.raw) & flag_mmapable) != 0;
    if (!as_declared) return;
    source.loss_slots = m.max_entries;
    source.losses_mapping = map_memory(m.fd, source.loss_slots * sizeof(loss_slot), PROT_READ, 0);
    source.losses = source.losses_mapping.get();
    return;
  }
}

}  // namespace

ring_source open_ring(map const& m, error_code& ec, diagnostics& details) {
  begin(ec, details);
  ring_source source;
  auto const& core = handle_access::core(m);
  if (!core) {
    report(ec, details, errc::closed, "a ring buffer of no map");
    return source;
  }
  details.map = core->name;
  auto const what = "ring buffer '" + core->name + "'";
  if (!core->owner->usable(true, what, ec, details)) return source;
  if (core->type != map_type::ringbuf) {
    report(ec, details, errc::wrong_map_type,
           "map '" + core->name + "' is of type " + std::string{to_string(core->type.load())} + ", not ringbuf");
    return source;
  }
  if ((bpf_map__map_flags(core->raw) & flag_rb_overwrite) != 0) {
    report(ec, details, errc::not_supported,
           what + " overwrites records that were not read (BPF_F_RB_OVERWRITE), which cannot be read as a stream");
    return source;
  }
  auto const page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  std::size_t const size = core->max_entries;
  auto const writable = map_memory(core->fd, page, PROT_READ | PROT_WRITE, 0);
  auto const readable = writable ? map_memory(core->fd, page + 2 * size, PROT_READ, page) : nullptr;
  if (!readable) {
    report(ec, details, last_errno(), "cannot map " + what);
    return source;
  }
  source.name = core->name;
  source.types = core->owner->types();
  find_losses(*core, source);
  auto const* const second = static_cast<std::byte const*>(readable.get());
  source.regions = {writable.get(), second, second + page, size};
  source.mapping = std::make_shared<std::pair<std::shared_ptr<void>, std::shared_ptr<void>>>(writable, readable);
  source.descriptor.reset(fcntl(core->fd, F_DUPFD_CLOEXEC, 0));
  if (source.descriptor.get() < 0) report(ec, details, last_errno(), "cannot duplicate the descriptor of " + what);
  return source;
}

ring_core::ring_core(ring_source&& source)
    : reader{source.regions}, source_{std::move(source)}, owner_{static_cast<int>(getpid())} {}

ring_core::~ring_core() { close(); }

void ring_core::close() noexcept {
  if (closed_) return;
  closed_ = true;
  drop_view();
  if (getpid() == owner_) reader.publish();
}

std::optional<std::uint64_t> ring_core::lost() const noexcept {
  if (source_.losses == nullptr) return std::nullopt;
  auto const* const slots = static_cast<loss_slot const*>(source_.losses);
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < source_.loss_slots; ++i)
    sum += std::atomic_ref{const_cast<std::uint64_t&>(slots[i].count)}.load(std::memory_order_relaxed);
  return sum;
}

bool ring_core::check(type_shape shape, error_code& ec, diagnostics* details) {
  auto const same = [&](std::type_info const* t) { return *t == *shape.type; };
  if (std::none_of(checked_.begin(), checked_.end(), same)) {
    diagnostics found;
    if (source_.types) source_.types->check(shape, ec, found);
    if (ec) {
      found.map = source_.name;
      if (details != nullptr) *details = std::move(found);
      return false;
    }
    checked_.push_back(shape.type);
  }
  last_checked_ = shape.type;
  return true;
}

void ring_core::report_bad(type_shape const* expected, bool at_least, error_code& ec, diagnostics* details) {
  diagnostics found;
  found.map = source_.name;
  auto const what = "ring buffer '" + source_.name + "': the record at position ";
  if (reader.peek() == ring_status::ready && expected != nullptr) {
    auto const& head = reader.head();
    found.expected_size = expected->size;
    found.actual_size = head.size;
    found.position = head.position;
    report(ec, found, errc::record_size,
           what + std::to_string(head.position) + " has " + std::to_string(head.size) + " bytes, and " +
               boost::core::demangle(expected->type->name()) + " has " + std::to_string(expected->size) +
               (at_least ? " or more" : ""),
           "it was skipped; the next read goes on behind it");
    reader.release();
  } else {
    auto const corruption = reader.skip_corrupt();
    found.expected_size = static_cast<std::size_t>(corruption.available);
    found.actual_size = static_cast<std::size_t>(corruption.length);
    found.position = corruption.position;
    report(ec, found, errc::record_corrupt,
           what + std::to_string(corruption.position) + " claims " + std::to_string(corruption.length) +
               " bytes where at most " + std::to_string(corruption.available) + " can be",
           "everything written so far was skipped; the next read goes on behind it");
  }
  if (details != nullptr) *details = std::move(found);
}

void ring_core::refuse(errc why, std::string_view operation, error_code& ec, diagnostics* details) const {
  diagnostics said;
  said.map = source_.name;
  auto const what = std::string{operation} + " on ring buffer '" + source_.name + "'";
  report(
      ec, said, why,
      why == errc::operation_in_progress ? what + ": another read, wait or range of this buffer has not ended" : what);
  if (details != nullptr) *details = std::move(said);
}

bool ring_core::refuse_budget(error_code& ec, diagnostics* details) const {
  ec = from_libbpf(EINVAL);
  if (details != nullptr) {
    details->map = source_.name;
    report(ec, *details, ec, "a read of ring buffer '" + source_.name + "' with a budget of 0 records");
  }
  return false;
}

void refuse_closed(std::string_view operation, error_code& ec, diagnostics* details) {
  ec = errc::closed;
  if (details != nullptr) report(ec, *details, errc::closed, std::string{operation} + " on a closed buffer");
}

}  // namespace tinybpf::detail
