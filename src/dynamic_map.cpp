#include <tinybpf/dynamic_map.hpp>

#include "detail/map_calls.hpp"

#include <tinybpf/detail/map_pages.hpp>

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
  return dynamic_entry{std::move(key), values_of(stored)};
}

std::vector<dynamic_value> dynamic_map::values_of(std::span<std::byte const> stored) const {
  std::vector<dynamic_value> values;
  auto const each = detail::is_per_cpu(map_.type()) ? (std::size_t{map_.value_size()} + 7) / 8 * 8 : stored.size();
  for (; !stored.empty(); stored = stored.subspan(each))
    values.push_back(value_of(value_type_, stored.first(map_.value_size())));
  return values;
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
  detail::map_pages pages{map_};
  while (pages.next(ec, details))
    for (std::size_t i = 0; i < pages.count(); ++i)
      all.push_back({value_of(key_type_, pages.key(i)), values_of(pages.value(i))});
  return all;
}

}  // namespace tinybpf
