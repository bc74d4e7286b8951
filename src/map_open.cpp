// Maps that belong to no object, and what outlives an object's: pins and clones.
#include "detail/btf_tables.hpp"
#include "detail/descriptor_target.hpp"
#include "detail/log_capture.hpp"
#include "detail/map_calls.hpp"
#include "detail/pin_path.hpp"
#include "detail/privileges.hpp"

#include <tinybpf/map.hpp>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

namespace tinybpf {
namespace detail {

error_code not_a_map(int fd) { return check_descriptor(fd, map_target, errc::wrong_map_type); }

namespace {

int info_of(int fd, bpf_map_info& info) {
  __u32 size = sizeof info;
  return bpf_obj_get_info_by_fd(fd, &info, &size);
}

std::uint32_t id_of(int fd) {
  bpf_map_info info{};
  return !not_a_map(fd) && info_of(fd, info) == 0 ? info.id : 0;
}

/// The types that the map was created with, if the kernel lets us have them.
std::shared_ptr<type_registry> kernel_types(std::uint32_t btf_id, std::string const& source) {
  log_capture const quiet;
  ::btf* const raw = btf_id != 0 ? btf__load_from_kernel_by_id(btf_id) : nullptr;
  std::shared_ptr<btf_tables const> tables;
  if (raw != nullptr) tables = std::make_shared<btf_tables const>(raw, source, nullptr);
  return std::make_shared<type_registry>(std::move(tables), source);
}

std::shared_ptr<map_core> own_core(owned_descriptor fd, std::string name, std::string const& what, error_code& ec,
                                   diagnostics& details) {
  bpf_map_info info{};
  if (int const err = info_of(fd.get(), info); err != 0) {
    report(ec, details, from_libbpf(err), what);
    return nullptr;
  }
  if (name.empty()) name = info.name;
  auto types = kernel_types(info.btf_id, "map '" + name + "'");
  auto core = std::make_shared<map_core>(std::move(name), std::move(fd), std::move(types));
  core->type = static_cast<map_type>(info.type);
  core->key_size = info.key_size;
  core->value_size = info.value_size;
  core->max_entries = info.max_entries;
  core->flags = info.map_flags;
  core->btf_key = info.btf_key_type_id;
  core->btf_value = info.btf_value_type_id;
  return core;
}

}  // namespace
}  // namespace detail

using detail::owned_descriptor;
using detail::report;

map map::create(map_type type, std::string_view name, std::uint32_t key_size, std::uint32_t value_size,
                std::uint32_t max_entries, map_create_options const& options) {
  return detail::or_throw([&](auto& ec, auto& details) {
    return create(type, name, key_size, value_size, max_entries, options, ec, details);
  });
}

map map::create(map_type type, std::string_view name, std::uint32_t key_size, std::uint32_t value_size,
                std::uint32_t max_entries, map_create_options const& options, error_code& ec) {
  diagnostics details;
  return create(type, name, key_size, value_size, max_entries, options, ec, details);
}

map map::create(map_type type, std::string_view name, std::uint32_t key_size, std::uint32_t value_size,
                std::uint32_t max_entries, map_create_options const& options, error_code& ec, diagnostics& details) {
  detail::begin(ec, details);
  std::string own_name{name};
  auto const what = "cannot create map '" + own_name + "' of type " + std::string{to_string(type)};
  bpf_map_create_opts raw{};
  raw.sz = sizeof raw;
  raw.map_flags = options.map_flags;
  raw.map_extra = options.map_extra;
  if (options.numa_node >= 0) {
    raw.map_flags |= BPF_F_NUMA_NODE;
    raw.numa_node = static_cast<__u32>(options.numa_node);
  }
  if (options.inner_map != nullptr) {
    if (!detail::ready(options.inner_map->core_.get(), "create: inner map", ec, details)) return {};
    raw.inner_map_fd = static_cast<__u32>(options.inner_map->fd());
  } else if (type == map_type::array_of_maps || type == map_type::hash_of_maps) {
    details.map = own_name;  // the kernel would take descriptor 0
    report(ec, details, detail::from_libbpf(EINVAL), what, "give it an inner_map, which those in it have to be like");
    return {};
  }
  int const fd =
      bpf_map_create(static_cast<bpf_map_type>(type), own_name.c_str(), key_size, value_size, max_entries, &raw);
  if (fd < 0) {
    details.map = own_name;
    report(ec, details, detail::from_libbpf(fd), what,
           fd == -EPERM ? detail::explain_refusal(detail::needed_for_map(type, options.map_flags)) : std::string{});
    return {};
  }
  auto core = detail::own_core(owned_descriptor{fd}, std::move(own_name), what, ec, details);
  return core ? map{std::move(core)} : map{};
}

map map::open_pinned(std::filesystem::path const& path) {
  return detail::or_throw([&](auto& ec, auto& details) { return open_pinned(path, ec, details); });
}

map map::open_pinned(std::filesystem::path const& path, error_code& ec) {
  diagnostics details;
  return open_pinned(path, ec, details);
}

map map::open_pinned(std::filesystem::path const& path, error_code& ec, diagnostics& details) {
  detail::begin(ec, details);
  auto const what = "cannot open the map pinned at " + path.string();
  owned_descriptor fd{bpf_obj_get(path.c_str())};
  if (fd.get() < 0) {
    report(ec, details, detail::from_libbpf(fd.get()), what);
    return {};
  }
  if (auto const code = detail::not_a_map(fd.get())) {
    report(ec, details, code, what + ": no map is pinned there");
    return {};
  }
  auto core = detail::own_core(std::move(fd), {}, what, ec, details);
  if (!core) return {};
  core->pinned.set(detail::opened_pin_path(path).string());
  return map{std::move(core)};
}

map map::open_by_id(std::uint32_t id) {
  return detail::or_throw([&](auto& ec, auto& details) { return open_by_id(id, ec, details); });
}

map map::open_by_id(std::uint32_t id, error_code& ec) {
  diagnostics details;
  return open_by_id(id, ec, details);
}

map map::open_by_id(std::uint32_t id, error_code& ec, diagnostics& details) {
  detail::begin(ec, details);
  auto const what = "cannot open the map with the id " + std::to_string(id);
  owned_descriptor fd{bpf_map_get_fd_by_id(id)};
  if (fd.get() < 0) {
    report(ec, details, detail::from_libbpf(fd.get()), what,
           fd.get() == -EPERM ? detail::explain_refusal(capability::sys_admin) : std::string{});
    return {};
  }
  auto core = detail::own_core(std::move(fd), {}, what, ec, details);
  return core ? map{std::move(core)} : map{};
}

map map::open_fd(int fd) {
  return detail::or_throw([&](auto& ec, auto& details) { return open_fd(fd, ec, details); });
}

map map::open_fd(int fd, error_code& ec) {
  diagnostics details;
  return open_fd(fd, ec, details);
}

map map::open_fd(int fd, error_code& ec, diagnostics& details) {
  detail::begin(ec, details);
  auto const what = "cannot open the map of descriptor " + std::to_string(fd);
  if (auto const code = detail::not_a_map(fd)) {
    report(ec, details, code, what);
    return {};
  }
  owned_descriptor copy{::fcntl(fd, F_DUPFD_CLOEXEC, 0)};
  if (copy.get() < 0) {
    report(ec, details, detail::last_errno(), what);
    return {};
  }
  auto core = detail::own_core(std::move(copy), {}, what, ec, details);
  return core ? map{std::move(core)} : map{};
}

map map::clone() const {
  return detail::or_throw([&](auto& ec, auto& details) { return clone(ec, details); });
}

map map::clone(error_code& ec) const {
  diagnostics details;
  return clone(ec, details);
}

map map::clone(error_code& ec, diagnostics& details) const {
  if (!detail::ready(core_.get(), "clone", ec, details)) return {};
  owned_descriptor copy{::fcntl(fd(), F_DUPFD_CLOEXEC, 0)};
  if (copy.get() < 0) {
    report(ec, details, detail::last_errno(), "clone of map '" + core_->name + "'");
    return {};
  }
  auto core = std::make_shared<detail::map_core>(core_->name, std::move(copy), core_->types());
  core->type = core_->type.load();
  core->key_size = core_->key_size.load();
  core->value_size = core_->value_size.load();
  core->max_entries = core_->max_entries.load();
  core->flags = core_->flags.load();
  core->btf_key = core_->btf_key;
  core->btf_value = core_->btf_value;
  return map{std::move(core)};
}

void map::pin(std::filesystem::path const& path) const {
  detail::or_throw([&](auto& ec, auto& details) { pin(path, ec, details); });
}

void map::pin(std::filesystem::path const& path, error_code& ec) const {
  diagnostics details;
  pin(path, ec, details);
}

void map::pin(std::filesystem::path const& path, error_code& ec, diagnostics& details) const {
  if (!detail::ready(core_.get(), "pin", ec, details)) return;
  core_->pinned.pin(fd(), "map '" + core_->name + "'", detail::id_of, path, ec, details);
  if (ec) details.map = core_->name;
}

void map::unpin() const {
  detail::or_throw([&](auto& ec, auto& details) { unpin(ec, details); });
}

void map::unpin(error_code& ec) const {
  diagnostics details;
  unpin(ec, details);
}

void map::unpin(error_code& ec, diagnostics& details) const {
  if (!detail::ready(core_.get(), "unpin", ec, details)) return;
  core_->pinned.unpin(fd(), "map '" + core_->name + "'", detail::id_of, ec, details);
  if (ec) details.map = core_->name;
}

std::filesystem::path map::pin_path() const {
  return is_open() ? std::filesystem::path{core_->pinned.get()} : std::filesystem::path{};
}

void map::freeze() const {
  detail::or_throw([&](auto& ec, auto& details) { freeze(ec, details); });
}

void map::freeze(error_code& ec) const {
  diagnostics details;
  freeze(ec, details);
}

void map::freeze(error_code& ec, diagnostics& details) const {
  if (!detail::ready(core_.get(), "freeze", ec, details)) return;
  if (int const err = bpf_map_freeze(fd()); err != 0) detail::failed(*core_, "freeze", err, ec, details);
}

}  // namespace tinybpf
