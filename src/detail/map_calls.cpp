#include "map_calls.hpp"

#include "log_capture.hpp"

#include <bpf/libbpf.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <optional>

namespace tinybpf::detail {
namespace {

template <class T>
std::optional<std::vector<std::byte>> stored_as(number n) {
  if (!n.fits<T>()) return std::nullopt;
  auto const value = n.as<T>();
  std::vector<std::byte> data(sizeof value);
  std::memcpy(data.data(), &value, sizeof value);
  return data;
}

struct encoding {
  bool is_signed;
  std::size_t size;
  std::optional<std::vector<std::byte>> (*store)(number);
};

constexpr encoding integers[] = {
    {false, 1, stored_as<std::uint8_t>},  {false, 2, stored_as<std::uint16_t>}, {false, 4, stored_as<std::uint32_t>},
    {false, 8, stored_as<std::uint64_t>}, {true, 1, stored_as<std::int8_t>},    {true, 2, stored_as<std::int16_t>},
    {true, 4, stored_as<std::int32_t>},   {true, 8, stored_as<std::int64_t>},
};

/// Null if a value of the type is no number that C++ has.
auto storing(btf_type const& type) -> std::optional<std::vector<std::byte>> (*)(number) {
  switch (type.kind()) {
    case btf_kind::float_:
      return type.size() == 4 ? stored_as<float> : type.size() == 8 ? stored_as<double> : nullptr;
    case btf_kind::int_:
      if (type.is_bool() && type.size() == 1) return stored_as<bool>;
      break;
    case btf_kind::enum_:
    case btf_kind::enum64:
      break;
    default:
      return nullptr;
  }
  for (auto const& e : integers)
    if (e.is_signed == type.is_signed() && e.size == type.size()) return e.store;
  return nullptr;
}

}  // namespace

std::string_view section_of(map_core const& m) noexcept {
  std::string_view const name{m.name};
  auto const dot = name.starts_with('.') ? 0 : name.rfind('.');
  return dot == name.npos ? std::string_view{} : name.substr(dot);
}

std::size_t possible_cpus() noexcept {
  static std::atomic<int> known{0};
  if (known.load(std::memory_order_relaxed) <= 0) {
    log_capture const quiet;
    known.store(libbpf_num_possible_cpus(), std::memory_order_relaxed);
  }
  auto const cpus = known.load(std::memory_order_relaxed);
  return cpus > 0 ? static_cast<std::size_t>(cpus) : 0;
}

bool ready(map_core* core, char const* operation, error_code& ec, diagnostics& details) {
  begin(ec, details);
  if (core == nullptr) {
    report(ec, details, errc::closed, std::string{operation} + " of no map");
    return false;
  }
  bool const can_size = !is_per_cpu(core->type.load(std::memory_order_relaxed)) || possible_cpus() != 0;
  if (core->fd.load(std::memory_order_relaxed) >= 0 && can_size) return true;
  details.map = core->name;
  auto const what = std::string{operation} + " of map '" + core->name + "'";
  if (!can_size) {
    report(ec, details, from_libbpf(ENOENT), what + ": how many CPUs there may be is not known",
           "/sys/devices/system/cpu/possible has to be readable");
    return false;
  }
  if (core->usable(true, what, ec, details)) report(ec, details, errc::not_loaded, what);
  return false;
}

bool right_size(map_core const& core, char const* operation, char const* part, std::size_t expected, std::size_t actual,
                error_code& ec, diagnostics& details) {
  if (expected == actual) return true;
  details.map = core.name;
  details.expected_size = expected;
  details.actual_size = actual;
  report(ec, details, errc::size_mismatch,
         std::string{operation} + " of map '" + core.name + "': its " + part + " has " + std::to_string(expected) +
             " bytes, not " + std::to_string(actual));
  return false;
}

bool is_unsupported(error_code ec) noexcept {
  return ec == boost::system::errc::operation_not_supported || ec == boost::system::errc::invalid_argument;
}

void failed(map_core const& core, char const* operation, int err, error_code& ec, diagnostics& details) {
  details.map = core.name;
  auto const code = from_libbpf(err);
  std::string hint;
  if (is_unsupported(code))
    hint = "a map of type " + std::string{to_string(core.type.load())} + " may not have this operation" +
           (code == boost::system::errc::invalid_argument ? ", or what it was given does not suit it" : "");
  report(ec, details, code, std::string{operation} + " of map '" + core.name + "'", std::move(hint));
}

std::vector<std::byte> stored(number n, btf_type const& type, map_core const& core, char const* part, error_code& ec,
                              diagnostics& details) {
  auto const these = std::string{"the "} + part + "s of map '" + core.name + "'";
  details.map = core.name;
  if (!type) {
    report(ec, details, errc::no_btf, "BTF does not say what " + these + " are",
           "declare the map with __type(" + std::string{part} + ", ...), or give the bytes");
    return {};
  }
  auto const store = storing(type.resolve());
  if (store == nullptr) {
    report(ec, details, errc::type_mismatch, these + " are no numbers but '" + type.to_string() + "'");
    return {};
  }
  auto data = store(n);
  if (data) return *std::move(data);
  report(ec, details, errc::out_of_range,
         n.to_string() + " does not fit '" + type.to_string() + "', which " + these + " are");
  return {};
}

}  // namespace tinybpf::detail
