// What can be said of a map before its object is loaded.
#include "detail/log_capture.hpp"
#include "detail/map_calls.hpp"

#include <tinybpf/map.hpp>

#include <bpf/libbpf.h>
#include <fcntl.h>

#include <cerrno>
#include <cstdint>
#include <mutex>
#include <string>

namespace tinybpf {
namespace {

using detail::report;

enum class may_be : std::uint8_t { new_only, reused };

/// Does `set(bpf_map*)`, which gives 0 or what libbpf says, if the object is open and not loaded.
template <class Set>
void configure(detail::map_core* core, char const* what, error_code& ec, diagnostics& details, Set set,
               may_be wanted = may_be::new_only) {
  detail::begin(ec, details);
  if (core == nullptr) return report(ec, details, errc::closed, std::string{what} + " of no map");
  details.map = core->name;
  auto const subject = std::string{what} + " of map '" + core->name + "'";
  if (!core->usable(false, subject, ec, details)) return;
  if (core->phase() == detail::object_phase::failed)
    return report(ec, details, errc::already_loaded, subject + ": the object's load failed", "open the object anew");
  if (core->phase() != detail::object_phase::open)
    return report(ec, details, errc::already_loaded, subject + ": the map exists already", "set it before load()");
  std::lock_guard const lock{core->owner->mutex()};
  // Some versions of libbpf take what will have no effect.
  if (wanted == may_be::new_only && bpf_map__fd(core->raw) >= 0)
    return report(ec, details, detail::from_libbpf(EBUSY), subject + ": it reuses a map, which is as it is");
  detail::log_capture log;
  if (int const err = set(core->raw); err != 0) {
    details.log = log.take();
    report(ec, details, detail::from_libbpf(err), subject);
  }
  core->refresh();
  if (!ec) details = diagnostics{};
}

}  // namespace

void map::set_max_entries(std::uint32_t entries) const {
  detail::or_throw([&](auto& ec, auto& details) { set_max_entries(entries, ec, details); });
}
void map::set_max_entries(std::uint32_t entries, error_code& ec) const {
  diagnostics details;
  set_max_entries(entries, ec, details);
}
void map::set_max_entries(std::uint32_t entries, error_code& ec, diagnostics& details) const {
  configure(core_.get(), "set_max_entries", ec, details,
            [&](bpf_map* m) { return bpf_map__set_max_entries(m, entries); });
}

void map::set_type(map_type type) const {
  detail::or_throw([&](auto& ec, auto& details) { set_type(type, ec, details); });
}
void map::set_type(map_type type, error_code& ec) const {
  diagnostics details;
  set_type(type, ec, details);
}
void map::set_type(map_type type, error_code& ec, diagnostics& details) const {
  configure(core_.get(), "set_type", ec, details,
            [&](bpf_map* m) { return bpf_map__set_type(m, static_cast<bpf_map_type>(type)); });
}

void map::set_map_flags(std::uint32_t flags) const {
  detail::or_throw([&](auto& ec, auto& details) { set_map_flags(flags, ec, details); });
}
void map::set_map_flags(std::uint32_t flags, error_code& ec) const {
  diagnostics details;
  set_map_flags(flags, ec, details);
}
void map::set_map_flags(std::uint32_t flags, error_code& ec, diagnostics& details) const {
  configure(core_.get(), "set_map_flags", ec, details,
            [&](bpf_map* m) { return bpf_map__set_map_flags(m, core_->on_node ? flags | BPF_F_NUMA_NODE : flags); });
}

void map::set_numa_node(std::uint32_t node) const {
  detail::or_throw([&](auto& ec, auto& details) { set_numa_node(node, ec, details); });
}
void map::set_numa_node(std::uint32_t node, error_code& ec) const {
  diagnostics details;
  set_numa_node(node, ec, details);
}
void map::set_numa_node(std::uint32_t node, error_code& ec, diagnostics& details) const {
  configure(core_.get(), "set_numa_node", ec, details, [&](bpf_map* m) {
    // The kernel looks at the node only if the flag says so.
    core_->on_node = true;
    int const err = bpf_map__set_map_flags(m, bpf_map__map_flags(m) | BPF_F_NUMA_NODE);
    return err != 0 ? err : bpf_map__set_numa_node(m, node);
  });
}

void map::set_inner_map(map const& inner) const {
  detail::or_throw([&](auto& ec, auto& details) { set_inner_map(inner, ec, details); });
}
void map::set_inner_map(map const& inner, error_code& ec) const {
  diagnostics details;
  set_inner_map(inner, ec, details);
}
void map::set_inner_map(map const& inner, error_code& ec, diagnostics& details) const {
  if (!detail::ready(inner.core_.get(), "set_inner_map: use", ec, details)) return;
  configure(core_.get(), "set_inner_map", ec, details, [&](bpf_map* m) {
    // libbpf borrows the descriptor until the map is created.
    detail::owned_descriptor copy{::fcntl(inner.fd(), F_DUPFD_CLOEXEC, 0)};
    if (copy.get() < 0) return -errno;
    int const err = bpf_map__set_inner_map_fd(m, copy.get());
    if (err == 0) core_->inner = std::move(copy);
    return err;
  });
}

void map::set_initial_value(std::span<std::byte const> value) const {
  detail::or_throw([&](auto& ec, auto& details) { set_initial_value(value, ec, details); });
}
void map::set_initial_value(std::span<std::byte const> value, error_code& ec) const {
  diagnostics details;
  set_initial_value(value, ec, details);
}
void map::set_initial_value(std::span<std::byte const> value, error_code& ec, diagnostics& details) const {
  bool has_one = true;
  bool right = true;
  configure(core_.get(), "set_initial_value", ec, details, [&](bpf_map* m) {
    std::size_t size = 0;
    has_one = bpf_map__initial_value(m, &size) != nullptr;
    right = !has_one || detail::right_size(*core_, "set_initial_value", "value", size, value.size(), ec, details);
    return has_one && right ? bpf_map__set_initial_value(m, value.data(), value.size()) : 0;
  });
  if (!has_one)
    report(ec, details, errc::not_supported,
           "set_initial_value of map '" + core_->name + "', which is no section of global variables");
}

void map::reuse(map const& existing) const {
  detail::or_throw([&](auto& ec, auto& details) { reuse(existing, ec, details); });
}
void map::reuse(map const& existing, error_code& ec) const {
  diagnostics details;
  reuse(existing, ec, details);
}
void map::reuse(map const& existing, error_code& ec, diagnostics& details) const {
  if (detail::ready(existing.core_.get(), "reuse", ec, details)) reuse_fd(existing.fd(), ec, details);
}

void map::reuse_fd(int fd) const {
  detail::or_throw([&](auto& ec, auto& details) { reuse_fd(fd, ec, details); });
}
void map::reuse_fd(int fd, error_code& ec) const {
  diagnostics details;
  reuse_fd(fd, ec, details);
}
void map::reuse_fd(int fd, error_code& ec, diagnostics& details) const {
  configure(
      core_.get(), "reuse_fd", ec, details,
      [&](bpf_map* m) {
        if (auto const code = detail::not_a_map(fd)) {
          report(ec, details, code, "reuse_fd of map '" + core_->name + "': the descriptor is none of a map");
          return 0;
        }
        return bpf_map__reuse_fd(m, fd);
      },
      may_be::reused);
}

}  // namespace tinybpf
