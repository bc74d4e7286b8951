#include <tinybpf/map.hpp>

#include "detail/map_calls.hpp"

#include <tinybpf/detail/map_pages.hpp>
#include <tinybpf/dynamic_map.hpp>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cerrno>
#include <utility>

namespace tinybpf {
namespace {

using detail::failed;
using detail::ready;
using detail::report;
using detail::right_size;

// The forms without a diagnostics make the call first, since making one takes as long as a good part of the call. Where
// something is in the way of the call, the form with a diagnostics says what.
constexpr int not_called = 1;

bool takes(detail::map_core const* core, std::span<std::byte const> key, std::span<std::byte const> value) noexcept {
  return core != nullptr && core->fd.load(std::memory_order_relaxed) >= 0 &&
         key.size() == core->key_size.load(std::memory_order_relaxed) && !value.empty() &&
         value.size() == detail::lookup_size(*core);
}

int try_lookup(detail::map_core const* core, std::span<std::byte const> key, std::span<std::byte> value) noexcept {
  if (!takes(core, key, value)) return not_called;
  return bpf_map_lookup_elem(core->fd.load(std::memory_order_relaxed), key.data(), value.data());
}

int try_update(detail::map_core const* core, std::span<std::byte const> key, std::span<std::byte const> value,
               update_flag flag) noexcept {
  if (!takes(core, key, value)) return not_called;
  return bpf_map_update_elem(core->fd.load(std::memory_order_relaxed), key.data(), value.data(),
                             static_cast<__u64>(flag));
}

}  // namespace

map::map(std::shared_ptr<detail::map_core> core) noexcept : core_{std::move(core)} {}

bool map::is_open() const noexcept { return core_ && core_->phase() != detail::object_phase::closed; }
std::string_view map::name() const noexcept { return core_ ? std::string_view{core_->name} : std::string_view{}; }
map_type map::type() const noexcept { return core_ ? core_->type.load(std::memory_order_relaxed) : map_type::unspec; }
std::uint32_t map::key_size() const noexcept { return core_ ? core_->key_size.load(std::memory_order_relaxed) : 0; }
std::uint32_t map::value_size() const noexcept { return core_ ? core_->value_size.load(std::memory_order_relaxed) : 0; }
std::uint32_t map::max_entries() const noexcept {
  return core_ ? core_->max_entries.load(std::memory_order_relaxed) : 0;
}
int map::fd() const noexcept { return core_ ? core_->fd.load(std::memory_order_relaxed) : -1; }

std::size_t map::lookup_size() const noexcept { return core_ ? detail::lookup_size(*core_) : 0; }

namespace {

// libbpf knows the types of what the kernel takes BTF for. Of queues, rings and others the declaration still has them.
btf_type declared(detail::map_core const* core, std::uint32_t id, std::string_view part) {
  if (core == nullptr || core->phase() == detail::object_phase::closed) return {};
  auto const& tables = core->types()->tables();
  if (!tables) return {};
  if (id != 0) return detail::btf_access::make(tables, id);
  auto const types = detail::btf_access::make(tables);
  if (auto const name = detail::section_of(*core); !name.empty()) {
    auto const section = part == "value" ? types.find(name, btf_kind::datasec) : std::nullopt;
    return section.value_or(btf_type{});
  }
  auto const maps = types.find(".maps", btf_kind::datasec);
  auto const declaration = maps ? maps->member(core->name) : std::nullopt;
  auto const pointer = declaration ? declaration->type.member(part) : std::nullopt;
  return pointer ? pointer->type.resolve().target() : btf_type{};
}

}  // namespace

btf_type map::btf_key() const { return declared(core_.get(), core_ ? core_->btf_key : 0, "key"); }
btf_type map::btf_value() const { return declared(core_.get(), core_ ? core_->btf_value : 0, "value"); }
dynamic_map map::dynamic() const { return dynamic_map{*this}; }

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
  int const err = try_lookup(core_.get(), key, value);
  if (err == 0 || err == -ENOENT) [[likely]]
    return err == 0;
  return detail::or_throw([&](auto& ec, auto& details) {
    if (err == not_called) return lookup(key, value, ec, details);
    failed(*core_, "lookup", err, ec, details);
    return false;
  });
}

bool map::lookup(std::span<std::byte const> key, std::span<std::byte> value, error_code& ec) const {
  int const err = try_lookup(core_.get(), key, value);
  ec.clear();
  if (err == 0 || err == -ENOENT) [[likely]]
    return err == 0;
  diagnostics details;
  if (err == not_called) return lookup(key, value, ec, details);
  failed(*core_, "lookup", err, ec, details);
  return false;
}

bool map::lookup(std::span<std::byte const> key, std::span<std::byte> value, error_code& ec,
                 diagnostics& details) const {
  if (!ready(core_.get(), "lookup", ec, details)) return false;
  if (!right_size(*core_, "lookup", "key", key_size(), key.size(), ec, details)) return false;
  if (!right_size(*core_, "lookup", "value", lookup_size(), value.size(), ec, details)) return false;
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

std::optional<number> map::lookup_number(number key, error_code& ec, diagnostics& details) const {
  if (!ready(core_.get(), "lookup", ec, details)) return std::nullopt;
  if (!single_valued("lookup", ec, details)) return std::nullopt;
  auto const stored = detail::stored(key, btf_key(), *core_, "key", ec, details);
  if (ec) return std::nullopt;
  // That values are numbers is to be known whether there is one or not.
  detail::stored(0, btf_value(), *core_, "value", ec, details);
  if (ec) return std::nullopt;
  std::vector<std::byte> value(lookup_size());
  if (!lookup(stored, value, ec, details)) return std::nullopt;
  return dynamic_value{btf_value(), value, ec, details}.to_number();
}

bool map::single_valued(char const* operation, error_code& ec, diagnostics& details) const {
  if (!detail::is_per_cpu(type())) return true;
  details.map = core_->name;
  report(ec, details, errc::not_supported,
         std::string{operation} + " of map '" + core_->name + "': each CPU has a number of its own",
         "dynamic() gives them all");
  return false;
}

void map::refuse_value(number value, error_code& ec, diagnostics& details) const {
  details.map = name();
  report(ec, details, errc::out_of_range,
         "a value of map '" + std::string{name()} + "' is " + value.to_string() +
             ", which does not fit the type that is asked for");
}

void map::update(std::span<std::byte const> key, std::span<std::byte const> value, update_flag flag) const {
  int const err = try_update(core_.get(), key, value, flag);
  if (err == 0) [[likely]]
    return;
  detail::or_throw([&](auto& ec, auto& details) {
    if (err == not_called) return update(key, value, flag, ec, details);
    failed(*core_, "update", err, ec, details);
  });
}

void map::update(std::span<std::byte const> key, std::span<std::byte const> value, update_flag flag,
                 error_code& ec) const {
  int const err = try_update(core_.get(), key, value, flag);
  ec.clear();
  if (err == 0) [[likely]]
    return;
  diagnostics details;
  if (err == not_called) return update(key, value, flag, ec, details);
  failed(*core_, "update", err, ec, details);
}

void map::update(std::span<std::byte const> key, std::span<std::byte const> value, update_flag flag, error_code& ec,
                 diagnostics& details) const {
  if (!ready(core_.get(), "update", ec, details)) return;
  if (!right_size(*core_, "update", "key", key_size(), key.size(), ec, details)) return;
  if (!right_size(*core_, "update", "value", lookup_size(), value.size(), ec, details)) return;
  int const err = bpf_map_update_elem(fd(), key.data(), value.data(), static_cast<__u64>(flag));
  if (err != 0) failed(*core_, "update", err, ec, details);
}

void map::update(number key, number value, update_flag flag) const {
  detail::or_throw([&](auto& ec, auto& details) { update(key, value, flag, ec, details); });
}

void map::update(number key, number value, update_flag flag, error_code& ec) const {
  diagnostics details;
  update(key, value, flag, ec, details);
}

void map::update(number key, number value, update_flag flag, error_code& ec, diagnostics& details) const {
  if (!ready(core_.get(), "update", ec, details) || !single_valued("update", ec, details)) return;
  auto const stored_key = detail::stored(key, btf_key(), *core_, "key", ec, details);
  if (ec) return;
  auto const stored_value = detail::stored(value, btf_value(), *core_, "value", ec, details);
  if (!ec) update(stored_key, stored_value, flag, ec, details);
}

bool map::erase(number key) const {
  return detail::or_throw([&](auto& ec, auto& details) { return erase(key, ec, details); });
}

bool map::erase(number key, error_code& ec) const {
  diagnostics details;
  return erase(key, ec, details);
}

bool map::erase(number key, error_code& ec, diagnostics& details) const {
  if (!ready(core_.get(), "erase", ec, details)) return false;
  auto const stored = detail::stored(key, btf_key(), *core_, "key", ec, details);
  return !ec && erase(stored, ec, details);
}

bool map::lookup_and_delete(std::span<std::byte const> key, std::span<std::byte> value) const {
  return detail::or_throw([&](auto& ec, auto& details) { return lookup_and_delete(key, value, ec, details); });
}

bool map::lookup_and_delete(std::span<std::byte const> key, std::span<std::byte> value, error_code& ec) const {
  diagnostics details;
  return lookup_and_delete(key, value, ec, details);
}

bool map::lookup_and_delete(std::span<std::byte const> key, std::span<std::byte> value, error_code& ec,
                            diagnostics& details) const {
  if (!ready(core_.get(), "lookup and delete", ec, details)) return false;
  if (!right_size(*core_, "lookup and delete", "key", key_size(), key.size(), ec, details)) return false;
  if (!right_size(*core_, "lookup and delete", "value", lookup_size(), value.size(), ec, details)) return false;
  int const err = bpf_map_lookup_and_delete_elem(fd(), key.data(), value.data());
  if (err != 0 && err != -ENOENT) failed(*core_, "lookup and delete", err, ec, details);
  return err == 0;
}

std::vector<std::byte> map::at(std::span<std::byte const> key) const {
  return detail::or_throw([&](auto& ec, auto& details) { return at(key, ec, details); });
}

std::vector<std::byte> map::at(std::span<std::byte const> key, error_code& ec) const {
  diagnostics details;
  return at(key, ec, details);
}

std::vector<std::byte> map::at(std::span<std::byte const> key, error_code& ec, diagnostics& details) const {
  auto found = lookup(key, ec, details);
  if (!found && !ec) detail::refuse_absent(*this, ec, details);
  return std::move(found).value_or(std::vector<std::byte>{});
}

bool map::insert(std::span<std::byte const> key, std::span<std::byte const> value) const {
  return detail::or_throw([&](auto& ec, auto& details) { return insert(key, value, ec, details); });
}

bool map::insert(std::span<std::byte const> key, std::span<std::byte const> value, error_code& ec) const {
  diagnostics details;
  return insert(key, value, ec, details);
}

bool map::insert(std::span<std::byte const> key, std::span<std::byte const> value, error_code& ec,
                 diagnostics& details) const {
  update(key, value, update_flag::no_exist, ec, details);
  return detail::unless_present(ec, details);
}

std::size_t map::count() const {
  return detail::or_throw([&](auto& ec, auto& details) { return count(ec, details); });
}

std::size_t map::count(error_code& ec) const {
  diagnostics details;
  return count(ec, details);
}

std::size_t map::count(error_code& ec, diagnostics& details) const { return detail::count_entries(*this, ec, details); }

std::size_t map::clear() const {
  return detail::or_throw([&](auto& ec, auto& details) { return clear(ec, details); });
}

std::size_t map::clear(error_code& ec) const {
  diagnostics details;
  return clear(ec, details);
}

std::size_t map::clear(error_code& ec, diagnostics& details) const { return detail::erase_entries(*this, ec, details); }

bool map::erase(std::span<std::byte const> key) const {
  return detail::or_throw([&](auto& ec, auto& details) { return erase(key, ec, details); });
}

bool map::erase(std::span<std::byte const> key, error_code& ec) const {
  diagnostics details;
  return erase(key, ec, details);
}

bool map::erase(std::span<std::byte const> key, error_code& ec, diagnostics& details) const {
  if (!ready(core_.get(), "erase", ec, details)) return false;
  if (!right_size(*core_, "erase", "key", key_size(), key.size(), ec, details)) return false;
  int const err = bpf_map_delete_elem(fd(), key.data());
  if (err != 0 && err != -ENOENT) failed(*core_, "erase", err, ec, details);
  return err == 0;
}

}  // namespace tinybpf
