#include <tinybpf/dynamic_map.hpp>

#include "detail/map_calls.hpp"

#include <bpf/bpf.h>

#include <cerrno>
#include <set>
#include <utility>

namespace tinybpf {
namespace {

/// The value as BTF has it, or its bytes if BTF has something else.
dynamic_value value_of(btf_type const& type, std::span<std::byte const> data) {
  error_code ec;
  dynamic_value typed{type, data, ec};
  return ec ? dynamic_value{{}, data} : typed;
}

}  // namespace

dynamic_map::dynamic_map(map m) : map_{std::move(m)}, key_type_{map_.btf_key()}, value_type_{map_.btf_value()} {}

std::optional<dynamic_entry> dynamic_map::lookup(number key) const {
  return detail::or_throw([&](auto& ec, auto& details) { return lookup(key, ec, details); });
}

std::optional<dynamic_entry> dynamic_map::lookup(number key, error_code& ec) const {
  diagnostics details;
  return lookup(key, ec, details);
}

std::optional<dynamic_entry> dynamic_map::lookup(number key, error_code& ec, diagnostics& details) const {
  auto const& core = detail::handle_access::core(map_);
  if (!detail::ready(core.get(), "lookup", ec, details)) return std::nullopt;
  auto const stored = detail::stored(key, key_type_, *core, "key", ec, details);
  return ec ? std::nullopt : entry(value_of(key_type_, stored), ec, details);
}

std::optional<dynamic_entry> dynamic_map::lookup(dynamic_value const& key) const {
  return detail::or_throw([&](auto& ec, auto& details) { return lookup(key, ec, details); });
}

std::optional<dynamic_entry> dynamic_map::lookup(dynamic_value const& key, error_code& ec) const {
  diagnostics details;
  return lookup(key, ec, details);
}

std::optional<dynamic_entry> dynamic_map::lookup(dynamic_value const& key, error_code& ec, diagnostics& details) const {
  return entry(key, ec, details);
}

std::optional<dynamic_entry> dynamic_map::entry(dynamic_value key, error_code& ec, diagnostics& details) const {
  std::vector<std::byte> stored(map_.lookup_size());
  if (!map_.lookup(key.bytes(), stored, ec, details)) return std::nullopt;
  dynamic_entry e{std::move(key), {}};
  auto const each = detail::is_per_cpu(map_.type()) ? (std::size_t{map_.value_size()} + 7) / 8 * 8 : stored.size();
  for (auto rest = std::span<std::byte const>{stored}; !rest.empty(); rest = rest.subspan(each))
    e.values.push_back(value_of(value_type_, rest.first(map_.value_size())));
  return e;
}

std::vector<dynamic_entry> dynamic_map::entries() const {
  return detail::or_throw([&](auto& ec, auto& details) { return entries(ec, details); });
}

std::vector<dynamic_entry> dynamic_map::entries(error_code& ec) const {
  diagnostics details;
  return entries(ec, details);
}

std::vector<dynamic_entry> dynamic_map::entries(error_code& ec, diagnostics& details) const {
  std::vector<dynamic_entry> all;
  auto const& core = detail::handle_access::core(map_);
  if (!detail::ready(core.get(), "walk", ec, details)) return all;
  // The kernel begins anew when the key that it should go on behind was erased meanwhile.
  std::set<std::vector<std::byte>> seen;
  std::vector<std::byte> key(map_.key_size());
  std::byte const* previous = nullptr;
  for (auto steps = 2 * std::size_t{map_.max_entries()} + 16; steps != 0; --steps) {
    std::vector<std::byte> next(key.size());
    if (int const err = bpf_map_get_next_key(map_.fd(), previous, next.data()); err != 0) {
      if (err != -ENOENT) detail::failed(*core, "walk", err, ec, details);
      break;
    }
    key = std::move(next);
    previous = key.data();
    if (!seen.insert(key).second) continue;
    auto found = entry(value_of(key_type_, key), ec, details);
    if (ec) break;
    if (found) all.push_back(*std::move(found));
  }
  return all;
}

}  // namespace tinybpf
