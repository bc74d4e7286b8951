#include "detail/object_state.hpp"
#include "detail/report.hpp"

#include <tinybpf/event_source.hpp>

#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tinybpf {
namespace detail {
namespace {

/// A number in the object's .rodata, as it will be loaded.
struct constant {
  bpf_map* section = nullptr;  ///< Null if there is none of that name.
  std::size_t offset = 0;
};

constant find_constant(bpf_object* object, std::string const& name) {
  auto const* const btf = bpf_object__btf(object);
  auto const id = btf == nullptr ? -1 : btf__find_by_name_kind(btf, ".rodata", BTF_KIND_DATASEC);
  if (id < 0) return {};
  auto const* const type = btf__type_by_id(btf, static_cast<__u32>(id));
  for (auto const& v : std::span{btf_var_secinfos(type), btf_vlen(type)}) {
    if (name != btf__name_by_offset(btf, btf__type_by_id(btf, v.type)->name_off) || v.size != sizeof(std::uint32_t))
      continue;
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, object) {
      if (std::string_view{bpf_map__name(map)}.ends_with(".rodata")) return {map, v.offset};
    }
  }
  return {};
}

int set_constant(constant const& c, std::uint32_t value) {
  std::size_t size = 0;
  auto const* const before = static_cast<std::byte const*>(bpf_map__initial_value(c.section, &size));
  if (before == nullptr || c.offset + sizeof value > size) return -EINVAL;
  std::vector<std::byte> data{before, before + size};
  std::memcpy(data.data() + c.offset, &value, sizeof value);
  return bpf_map__set_initial_value(c.section, data.data(), size);
}

map_type best_type() {
  return libbpf_probe_bpf_map_type(BPF_MAP_TYPE_RINGBUF, nullptr) == 1 ? map_type::ringbuf : map_type::perf_event_array;
}

int make_perf_event_array(map_core& m) {
  if (m.type == map_type::ringbuf) m.ring_bytes = m.max_entries;
  int err = bpf_map__set_type(m.raw, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
  if (err == 0) err = bpf_map__set_key_size(m.raw, sizeof(std::uint32_t));
  if (err == 0) err = bpf_map__set_value_size(m.raw, sizeof(std::uint32_t));
  if (err == 0) err = bpf_map__set_max_entries(m.raw, 0);  // libbpf makes it one for every CPU
  return err;
}

int make_ring(map_core& m) {
  if (m.type == map_type::ringbuf) return 0;
  int err = bpf_map__set_type(m.raw, BPF_MAP_TYPE_RINGBUF);
  if (err == 0) err = bpf_map__set_key_size(m.raw, 0);
  if (err == 0) err = bpf_map__set_value_size(m.raw, 0);
  if (err == 0) err = bpf_map__set_max_entries(m.raw, m.ring_bytes);
  return err;
}

}  // namespace
}  // namespace detail

map_type set_events_type(map const& m, map_type type) {
  return detail::or_throw([&](auto& ec, auto& details) { return set_events_type(m, type, ec, details); });
}

map_type set_events_type(map const& m, map_type type, error_code& ec) {
  diagnostics details;
  return set_events_type(m, type, ec, details);
}

map_type set_events_type(map const& m, map_type type, error_code& ec, diagnostics& details) {
  detail::begin(ec, details);
  auto const& core = detail::handle_access::core(m);
  if (!core) {
    detail::report(ec, details, errc::closed, "the type of no map");
    return map_type::unspec;
  }
  details.map = core->name;
  auto const what = "the type of map '" + core->name + "'";
  if (!core->usable(false, what, ec, details)) return map_type::unspec;
  if (core->phase() != detail::object_phase::open) {
    detail::report(ec, details, errc::already_loaded, what + " cannot change: the object is loaded");
    return map_type::unspec;
  }
  // One that was declared as perf buffers says nothing of how large a ring would be.
  bool const can_be_ring = core->type == map_type::ringbuf || core->ring_bytes != 0;
  if (type == map_type::unspec) type = can_be_ring ? detail::best_type() : map_type::perf_event_array;
  if (type != map_type::ringbuf && type != map_type::perf_event_array) {
    detail::report(
        ec, details, detail::from_libbpf(EINVAL),
        what + " cannot be " + std::string{to_string(type)} + ": events go through ringbuf or perf_event_array");
    return map_type::unspec;
  }
  std::lock_guard const lock{core->owner->mutex()};
  auto const chosen = detail::find_constant(core->owner->raw().get(), core->name + "_type");
  if (chosen.section == nullptr || (type == map_type::ringbuf && !can_be_ring)) {
    detail::report(ec, details, errc::not_supported, what + " is fixed",
                   "declare it with TINYBPF_EVENTS of tinybpf.bpf.h");
    return map_type::unspec;
  }
  int err = type == map_type::ringbuf ? detail::make_ring(*core) : detail::make_perf_event_array(*core);
  if (err == 0) err = detail::set_constant(chosen, static_cast<std::uint32_t>(type));
  core->refresh();
  if (err != 0) {
    detail::report(ec, details, detail::from_libbpf(err), "cannot set " + what);
    return map_type::unspec;
  }
  return type;
}

}  // namespace tinybpf
