#include "type_registry.hpp"

#include "log_capture.hpp"
#include "report.hpp"

#include <boost/core/demangle.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>

namespace tinybpf::detail {
namespace {

/// "acme::exec_event" -> "exec_event": what a C programmer would have called it. Empty for a template's instance.
std::string unqualified_name(std::type_info const& type) {
  auto name = boost::core::demangle(type.name());
  if (name.find('<') != std::string::npos) return {};
  auto const colon = name.rfind(':');
  return colon == std::string::npos ? name : name.substr(colon + 1);
}

std::vector<std::string> names_of(btf const* types) {
  std::vector<std::string> names;
  for (__u32 id = 1; id < btf__type_cnt(types); ++id) {
    auto const* const type = btf__type_by_id(types, id);
    if (type == nullptr || !(btf_is_composite(type) || btf_is_typedef(type))) continue;
    auto const* const name = btf__name_by_offset(types, type->name_off);
    if (name != nullptr && *name != '\0') names.emplace_back(name);
  }
  return names;
}

__s32 find_by_name(btf const* types, std::string_view wanted) {
  std::string const name{wanted};
  constexpr std::array<__u32, 6> kinds{BTF_KIND_STRUCT, BTF_KIND_UNION,  BTF_KIND_TYPEDEF,
                                       BTF_KIND_ENUM,   BTF_KIND_ENUM64, BTF_KIND_INT};
  for (auto const kind : kinds)
    if (auto const id = btf__find_by_name_kind(types, name.c_str(), kind); id > 0) return id;
  return -ENOENT;
}

}  // namespace

type_registry::entry const* type_registry::find(type_shape const& shape) const {
  auto const found =
      std::find_if(entries_.begin(), entries_.end(), [&](entry const& e) { return *e.shape.type == *shape.type; });
  return found != entries_.end() ? &*found : nullptr;
}

void type_registry::add(type_shape const& shape, std::string_view btf_name, error_code& ec, diagnostics& details) {
  std::lock_guard const lock{mutex_};
  add_locked(shape, btf_name, ec, details);
}

void type_registry::add_locked(type_shape const& shape, std::string_view btf_name, error_code& ec,
                               diagnostics& details) {
  auto const cpp_name = boost::core::demangle(shape.type->name());
  auto const c_name = "'" + std::string{btf_name} + "'";
  if (auto const* const known = find(shape)) {
    if (known->btf_name != btf_name)
      report(ec, details, errc::type_conflict,
             cpp_name + " is registered as '" + known->btf_name + "' and cannot be " + c_name + " too");
    return;
  }
  if (types() == nullptr)
    return report(ec, details, errc::no_btf, "cannot check " + cpp_name + " against " + source_,
                  "compile the BPF program with -g");
  auto const id = find_by_name(types(), btf_name);
  if (id < 0) {
    details.names = names_of(types());
    return report(ec, details, errc::not_found, source_ + " has no type " + c_name,
                  near_names(btf_name, details.names) +
                      "; a struct used only inside functions is dropped from BTF unless a global variable anchors it");
  }
  auto const size = btf__resolve_size(types(), static_cast<__u32>(id));
  auto const actual = size < 0 ? std::size_t{0} : static_cast<std::size_t>(size);
  if (actual != shape.size) {
    details.expected_size = shape.size;
    details.actual_size = actual;
    return report(ec, details, errc::type_mismatch,
                  cpp_name + " has " + std::to_string(shape.size) + " bytes, and " + c_name + " in " + source_ +
                      " has " + std::to_string(actual));
  }
  entries_.push_back({shape, std::string{btf_name}});
}

void type_registry::check(type_shape const& shape, error_code& ec, diagnostics& details) {
  std::lock_guard const lock{mutex_};
  if (find(shape) != nullptr || types() == nullptr) return;
  auto const name = unqualified_name(*shape.type);
  if (!name.empty() && find_by_name(types(), name) > 0) add_locked(shape, name, ec, details);
}

void type_registry::keep_types(bool wanted) noexcept {
  std::lock_guard const lock{mutex_};
  if (wanted && borrowed_ != nullptr) {
    log_capture const quiet;
    __u32 size = 0;
    if (auto const* const data = btf__raw_data(borrowed_, &size); data != nullptr) owned_.reset(btf__new(data, size));
  }
  borrowed_ = nullptr;
}

}  // namespace tinybpf::detail
