#include <tinybpf/global_variable.hpp>

#include "detail/map_calls.hpp"
#include "detail/mapping.hpp"

#include <tinybpf/btf.hpp>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace tinybpf {
namespace detail {
namespace {

bool is_constant(map_core const& m) { return section_of(m).starts_with(".rodata"); }
bool is_kconfig(map_core const& m) { return section_of(m) == ".kconfig"; }
bool is_shared(map_core const& m) { return (m.flags & flag_mmapable) != 0; }

/// The section's memory in the kernel, once the object is loaded.
std::byte* shared_memory(map_core& section, bool writing, std::string const& what, error_code& ec,
                         diagnostics& details) {
  std::lock_guard const lock{section.mutex};
  if (!section.memory) {
    bool const changes = !is_constant(section) && !is_kconfig(section);
    if (changes) section.memory = map_memory(section.fd, section.value_size, PROT_READ | PROT_WRITE, 0);
    section.memory_writable = section.memory != nullptr;
    // One that was frozen meanwhile can still be read.
    if (!changes || (!section.memory && errno == EPERM))
      section.memory = map_memory(section.fd, section.value_size, PROT_READ, 0);
    if (!section.memory) report(ec, details, last_errno(), what + ": cannot map '" + section.name + "'");
  }
  if (section.memory && writing && !section.memory_writable) {
    report(ec, details, from_libbpf(EPERM), what + " cannot be changed: '" + section.name + "' is frozen");
    return nullptr;
  }
  return static_cast<std::byte*>(section.memory.get());
}

std::byte* initial_memory(map_core& section, std::string const& what, error_code& ec, diagnostics& details) {
  std::lock_guard const lock{section.owner->mutex()};
  std::size_t size = 0;
  if (section.raw != nullptr && bpf_map__fd(section.raw) >= 0) {  // libbpf would not write the initial value into it
    report(ec, details, from_libbpf(EBUSY), what + ": its section reuses a map, which is as it is");
    return nullptr;
  }
  void const* const memory = section.raw != nullptr ? bpf_map__initial_value(section.raw, &size) : nullptr;
  if (memory == nullptr) report(ec, details, errc::not_supported, what + ": its section has no initial value");
  // Skeletons write there, too; the type is const up to libbpf 1.2.
  return static_cast<std::byte*>(const_cast<void*>(memory));
}

template <class Word>
bool load_whole(void* to, void const* shared) noexcept {
  using word [[gnu::may_alias]] = Word;
  if (reinterpret_cast<std::uintptr_t>(shared) % sizeof(Word) != 0) return false;
  Word const value = __atomic_load_n(static_cast<word const*>(shared), __ATOMIC_RELAXED);
  std::memcpy(to, &value, sizeof value);
  return true;
}

template <class Word>
bool store_whole(void* shared, void const* from) noexcept {
  using word [[gnu::may_alias]] = Word;
  if (reinterpret_cast<std::uintptr_t>(shared) % sizeof(Word) != 0) return false;
  Word value{};
  std::memcpy(&value, from, sizeof value);
  __atomic_store_n(static_cast<word*>(shared), value, __ATOMIC_RELAXED);
  return true;
}

/// How a variable of the size of a number is read and written.
struct whole {
  std::size_t size;
  bool (*load)(void*, void const*) noexcept;
  bool (*store)(void*, void const*) noexcept;
};

constexpr whole wholes[] = {
    {1, load_whole<std::uint8_t>, store_whole<std::uint8_t>},
    {2, load_whole<std::uint16_t>, store_whole<std::uint16_t>},
    {4, load_whole<std::uint32_t>, store_whole<std::uint32_t>},
    {8, load_whole<std::uint64_t>, store_whole<std::uint64_t>},
};

}  // namespace

bool global_place::usable(bool writing, error_code& ec, diagnostics& details) const {
  begin(ec, details);
  if (!section) {
    report(ec, details, errc::closed, "a global variable of no object");
    return false;
  }
  details.map = section->name;
  auto const what = "global variable '" + name + "'";
  bool const loaded = section->phase() != object_phase::open;
  if (loaded && !section->usable(true, what, ec, details)) return false;
  if (writing && (is_kconfig(*section) || (loaded && is_constant(*section))))
    report(ec, details, from_libbpf(EPERM), what + " of " + std::string{section_of(*section)} + " cannot be changed",
           is_constant(*section) ? "set it before load()" : "");
  else if (!loaded && is_kconfig(*section))
    report(ec, details, errc::not_loaded, what + ": the kernel's configuration is read by load()");
  else if (writing && loaded && !is_shared(*section))
    report(ec, details, errc::not_supported,
           what + " cannot be changed any more: '" + section->name + "' is not shared",
           "set it before load(), or have a variable in the section that is not static");
  else if (offset + size > section->value_size)
    report(ec, details, errc::size_mismatch, what + " does not lie within the map that '" + section->name + "' reuses");
  return !ec;
}

std::byte* global_place::find(bool writing, error_code& ec, diagnostics& details) const {
  auto const what = "global variable '" + name + "'";
  auto* const memory = section->phase() == object_phase::open ? initial_memory(*section, what, ec, details)
                                                              : shared_memory(*section, writing, what, ec, details);
  if (memory == nullptr) return nullptr;
  details.map.clear();
  return memory + offset;
}

void global_place::read(void* value, error_code& ec, diagnostics& details) const {
  if (!usable(false, ec, details)) return;
  std::vector<std::byte> copy;
  std::byte const* memory = nullptr;
  if (section->phase() == object_phase::open || is_shared(*section)) {
    memory = find(false, ec, details);
    if (memory == nullptr) return;
  } else {
    copy.resize(section->value_size);
    std::uint32_t const key = 0;
    if (int const err = bpf_map_lookup_elem(section->fd, &key, copy.data()); err != 0)
      return failed(*section, "lookup", err, ec, details);
    details.map.clear();
    memory = copy.data() + offset;
  }
  for (auto const& w : wholes)
    if (w.size == size && w.load(value, memory)) return;
  std::memcpy(value, memory, size);
}

void global_place::write(void const* value, error_code& ec, diagnostics& details) const {
  if (!usable(true, ec, details)) return;
  auto* const memory = find(true, ec, details);
  if (memory == nullptr) return;
  for (auto const& w : wholes)
    if (w.size == size && w.store(memory, value)) return;
  std::memcpy(memory, value, size);
}

void* global_place::writable(std::size_t alignment, error_code& ec, diagnostics& details) const {
  if (!usable(true, ec, details)) return nullptr;
  if (offset % alignment == 0) return find(true, ec, details);  // sections begin at a page
  report(ec, details, errc::not_supported,
         "global variable '" + name + "' cannot be atomic: it does not lie at a multiple of " +
             std::to_string(alignment) + " bytes");
  return nullptr;
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
    detail::global_place place{{state_, &m}, offset, shape.size, wanted};
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
    if (!ec) {
      details.map.clear();
      return place;
    }
    details.map = m.name;
    details.message = what + ": " + details.message;
    return {};
  }
  detail::report(ec, details, errc::not_found, state_->source() + " has no " + what,
                 detail::near_names(name, details.names));
  return {};
}

}  // namespace tinybpf
