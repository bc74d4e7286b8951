#include <tinybpf/map.hpp>

#include "detail/object_state.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cerrno>
#include <utility>

namespace tinybpf {
namespace {

using detail::report;

bool per_cpu(map_type type) {
  return type == map_type::percpu_hash || type == map_type::percpu_array || type == map_type::lru_percpu_hash ||
         type == map_type::percpu_cgroup_storage;
}

// The frame of every operation on bytes: what must hold before the system call, and what is said when it does not.
bool ready(detail::map_core* core, char const* operation, error_code& ec, diagnostics& details) {
  detail::begin(ec, details);
  if (core == nullptr) {
    report(ec, details, errc::closed, std::string{operation} + " of no map");
    return false;
  }
  if (core->fd.load(std::memory_order_relaxed) >= 0) return true;
  details.map = core->name;
  auto const what = std::string{operation} + " of map '" + core->name + "'";
  if (core->owner->usable(true, what, ec, details)) report(ec, details, errc::not_loaded, what);
  return false;
}

bool sized(detail::map_core const& core, char const* operation, char const* part, std::size_t expected,
           std::size_t actual, error_code& ec, diagnostics& details) {
  if (expected == actual) return true;
  details.map = core.name;
  details.expected_size = expected;
  details.actual_size = actual;
  report(ec, details, errc::size_mismatch,
         std::string{operation} + " of map '" + core.name + "': its " + part + " has " + std::to_string(expected) +
             " bytes, not " + std::to_string(actual));
  return false;
}

void failed(detail::map_core const& core, char const* operation, int err, error_code& ec, diagnostics& details) {
  details.map = core.name;
  auto const code = detail::from_libbpf(err);
  std::string hint;
  if (code == boost::system::errc::operation_not_supported || code == boost::system::errc::invalid_argument)
    hint = "a map of type " + std::string{to_string(core.type.load())} + " may not have this operation";
  report(ec, details, code, std::string{operation} + " of map '" + core.name + "'", std::move(hint));
}

}  // namespace

map::map(std::shared_ptr<detail::map_core> core) noexcept : core_{std::move(core)} {}

bool map::is_open() const noexcept { return core_ && core_->owner->phase() != detail::object_phase::closed; }
std::string_view map::name() const noexcept { return core_ ? std::string_view{core_->name} : std::string_view{}; }
map_type map::type() const noexcept { return core_ ? core_->type.load(std::memory_order_relaxed) : map_type::unspec; }
std::uint32_t map::key_size() const noexcept { return core_ ? core_->key_size.load(std::memory_order_relaxed) : 0; }
std::uint32_t map::value_size() const noexcept { return core_ ? core_->value_size.load(std::memory_order_relaxed) : 0; }
std::uint32_t map::max_entries() const noexcept {
  return core_ ? core_->max_entries.load(std::memory_order_relaxed) : 0;
}
int map::fd() const noexcept { return core_ ? core_->fd.load(std::memory_order_relaxed) : -1; }

std::size_t map::lookup_size() const noexcept {
  std::size_t const one = value_size();
  if (!per_cpu(type())) return one;
  static int const cpus = libbpf_num_possible_cpus();
  return (one + 7) / 8 * 8 * static_cast<std::size_t>(cpus > 0 ? cpus : 1);
}

map_info map::info() const {
  return detail::or_throw([&](auto& ec, auto& details) { return info(ec, details); });
}

map_info map::info(error_code& ec) const {
  diagnostics details;
  return info(ec, details);
}

map_info map::info(error_code& ec, diagnostics& details) const {
  map_info result;
  if (!ready(core_.get(), "info", ec, details)) return result;
  bpf_map_info raw{};
  __u32 size = sizeof raw;
  if (int const err = bpf_obj_get_info_by_fd(fd(), &raw, &size); err != 0) {
    failed(*core_, "info", err, ec, details);
    return result;
  }
  result.id = raw.id;
  result.type = static_cast<map_type>(raw.type);
  result.name = raw.name;
  result.key_size = raw.key_size;
  result.value_size = raw.value_size;
  result.max_entries = raw.max_entries;
  result.flags = raw.map_flags;
  result.btf_id = raw.btf_id;
  return result;
}

bool map::lookup(std::span<std::byte const> key, std::span<std::byte> value) const {
  return detail::or_throw([&](auto& ec, auto& details) { return lookup(key, value, ec, details); });
}

bool map::lookup(std::span<std::byte const> key, std::span<std::byte> value, error_code& ec) const {
  diagnostics details;
  return lookup(key, value, ec, details);
}

bool map::lookup(std::span<std::byte const> key, std::span<std::byte> value, error_code& ec,
                 diagnostics& details) const {
  if (!ready(core_.get(), "lookup", ec, details)) return false;
  if (!sized(*core_, "lookup", "key", key_size(), key.size(), ec, details)) return false;
  if (!sized(*core_, "lookup", "value", lookup_size(), value.size(), ec, details)) return false;
  int const err = bpf_map_lookup_elem(fd(), key.data(), value.data());
  if (err != 0 && err != -ENOENT) failed(*core_, "lookup", err, ec, details);
  return err == 0;
}

std::optional<std::vector<std::byte>> map::lookup(std::span<std::byte const> key) const {
  return detail::or_throw([&](auto& ec, auto& details) { return lookup(key, ec, details); });
}

std::optional<std::vector<std::byte>> map::lookup(std::span<std::byte const> key, error_code& ec) const {
  diagnostics details;
  return lookup(key, ec, details);
}

std::optional<std::vector<std::byte>> map::lookup(std::span<std::byte const> key, error_code& ec,
                                                  diagnostics& details) const {
  std::vector<std::byte> value(lookup_size());
  if (!lookup(key, value, ec, details)) return std::nullopt;
  return value;
}

void map::update(std::span<std::byte const> key, std::span<std::byte const> value, update_flag flag) const {
  detail::or_throw([&](auto& ec, auto& details) { update(key, value, flag, ec, details); });
}

void map::update(std::span<std::byte const> key, std::span<std::byte const> value, update_flag flag,
                 error_code& ec) const {
  diagnostics details;
  update(key, value, flag, ec, details);
}

void map::update(std::span<std::byte const> key, std::span<std::byte const> value, update_flag flag, error_code& ec,
                 diagnostics& details) const {
  if (!ready(core_.get(), "update", ec, details)) return;
  if (!sized(*core_, "update", "key", key_size(), key.size(), ec, details)) return;
  if (!sized(*core_, "update", "value", lookup_size(), value.size(), ec, details)) return;
  int const err = bpf_map_update_elem(fd(), key.data(), value.data(), static_cast<__u64>(flag));
  if (err != 0) failed(*core_, "update", err, ec, details);
}

bool map::erase(std::span<std::byte const> key) const {
  return detail::or_throw([&](auto& ec, auto& details) { return erase(key, ec, details); });
}

bool map::erase(std::span<std::byte const> key, error_code& ec) const {
  diagnostics details;
  return erase(key, ec, details);
}

bool map::erase(std::span<std::byte const> key, error_code& ec, diagnostics& details) const {
  if (!ready(core_.get(), "erase", ec, details)) return false;
  if (!sized(*core_, "erase", "key", key_size(), key.size(), ec, details)) return false;
  int const err = bpf_map_delete_elem(fd(), key.data());
  if (err != 0 && err != -ENOENT) failed(*core_, "erase", err, ec, details);
  return err == 0;
}

}  // namespace tinybpf
