#include <tinybpf/global_variable.hpp>

#include "detail/map_calls.hpp"
#include "detail/mapping.hpp"

#include <tinybpf/btf.hpp>

#include <bpf/libbpf.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <utility>

namespace tinybpf {
namespace detail {
namespace {

/// Of a section's map, ".rodata" from "object.rodata"; empty for any other map.
std::string_view section_of(map_core const& m) {
  auto const dot = m.name.find('.');
  return dot == std::string::npos ? std::string_view{} : std::string_view{m.name}.substr(dot);
}

bool is_constant(map_core const& m) { return section_of(m).starts_with(".rodata"); }
bool is_kconfig(map_core const& m) { return section_of(m) == ".kconfig"; }

/// The section's memory in the kernel, once the object is loaded.
std::byte* shared_memory(map_core& section, error_code& ec, diagnostics& details) {
  std::lock_guard const lock{section.mutex};
  if (!section.memory) {
    bool const writable = !is_constant(section) && !is_kconfig(section);
    section.memory = map_memory(section.fd, section.value_size, writable ? PROT_READ | PROT_WRITE : PROT_READ, 0);
    if (!section.memory) report(ec, details, last_errno(), "cannot map '" + section.name + "'");
  }
  return static_cast<std::byte*>(section.memory.get());
}

std::byte* initial_memory(map_core& section, std::string const& what, error_code& ec, diagnostics& details) {
  std::lock_guard const lock{section.owner->mutex()};
  std::size_t size = 0;
  void const* const memory = section.raw != nullptr ? bpf_map__initial_value(section.raw, &size) : nullptr;
  if (memory == nullptr) report(ec, details, errc::not_supported, what + ": its section has no initial value");
  // Skeletons write there, too; the type is const up to libbpf 1.2.
  return static_cast<std::byte*>(const_cast<void*>(memory));
}

template <class Word>
bool copy_whole(void* to, void const* from) noexcept {
  using word [[gnu::may_alias]] = Word;
  constexpr auto alignment = std::atomic_ref<Word>::required_alignment;
  if (reinterpret_cast<std::uintptr_t>(to) % alignment != 0 || reinterpret_cast<std::uintptr_t>(from) % alignment != 0)
    return false;
  word const value = __atomic_load_n(static_cast<word const*>(from), __ATOMIC_RELAXED);
  __atomic_store_n(static_cast<word*>(to), value, __ATOMIC_RELAXED);
  return true;
}

void copy(void* to, void const* from, std::size_t size) noexcept {
  bool const whole =
      (size == 8 && copy_whole<std::uint64_t>(to, from)) || (size == 4 && copy_whole<std::uint32_t>(to, from)) ||
      (size == 2 && copy_whole<std::uint16_t>(to, from)) || (size == 1 && copy_whole<std::uint8_t>(to, from));
  if (!whole) std::memcpy(to, from, size);
}

}  // namespace

void* global_place::find(bool writing, error_code& ec, diagnostics& details) const {
  begin(ec, details);
  if (!section) {
    report(ec, details, errc::closed, "a global variable of no object");
    return nullptr;
  }
  details.map = section->name;
  auto const what = "global variable '" + name + "'";
  bool const loaded = section->phase() != object_phase::open;
  if (loaded && !section->usable(true, what, ec, details)) return nullptr;
  if (writing && (is_kconfig(*section) || (loaded && is_constant(*section)))) {
    report(ec, details, from_libbpf(EPERM), what + " of " + std::string{section_of(*section)} + " cannot be changed",
           is_constant(*section) ? "set it before load()" : "");
    return nullptr;
  }
  if (!loaded && is_kconfig(*section)) {
    report(ec, details, errc::not_loaded, what + ": the kernel's configuration is read by load()");
    return nullptr;
  }
  auto* const memory = loaded ? shared_memory(*section, ec, details) : initial_memory(*section, what, ec, details);
  return memory != nullptr ? memory + offset : nullptr;
}

void global_place::read(void* value, std::size_t size, error_code& ec, diagnostics& details) const {
  if (void const* const memory = find(false, ec, details)) copy(value, memory, size);
}

void global_place::write(void const* value, std::size_t size, error_code& ec, diagnostics& details) const {
  if (void* const memory = find(true, ec, details)) copy(memory, value, size);
}

}  // namespace detail

detail::global_place object::find_global(std::string_view name, type_shape const& shape, field_names names,
                                         error_code& ec, diagnostics& details) const {
  auto const types = btf(ec, details);
  if (ec) return {};
  std::string const wanted{name};
  auto const what = "global variable '" + wanted + "'";
  for (auto& m : state_->maps()) {
    auto const section_name = detail::section_of(m);
    auto const section = section_name.empty() ? std::nullopt : types.find(section_name, btf_kind::datasec);
    if (!section) continue;
    auto const variable = section->member(name);
    if (!variable) {
      for (auto const& v : section->members()) details.names.emplace_back(v.name);
      continue;
    }
    details.names.clear();
    details.map = m.name;
    auto const offset = variable->bit_offset / 8;
    detail::global_place place{{state_, &m}, offset, wanted};
    if (variable->type.size() != shape.size) {
      details.expected_size = variable->type.size();
      details.actual_size = shape.size;
      detail::report(
          ec, details, errc::size_mismatch,
          what + " has " + std::to_string(details.expected_size) + " bytes, not " + std::to_string(shape.size));
      return {};
    }
    if (offset + shape.size > m.value_size) {  // damaged BTF
      detail::report(ec, details, errc::invalid_object, what + " does not lie within its section");
      return {};
    }
    state_->types()->check_as(shape, variable->type, names, ec, details);
    if (!ec) return place;
    details.map = m.name;
    details.message = what + ": " + details.message;
    return {};
  }
  detail::report(ec, details, errc::not_found, state_->source() + " has no " + what,
                 detail::near_names(name, details.names));
  return {};
}

}  // namespace tinybpf
