#include "type_registry.hpp"

#include "layout_compare.hpp"
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

std::string in_words(btf_difference const& d) {
  using what = btf_difference::what;
  auto const field = "'" + d.field + "'";
  switch (d.kind) {
    case what::missing:
      return field + ", which is " + d.object + " in the object, is missing in C++";
    case what::extra:
      return field + ", which is " + d.cpp + " in C++, is not in the object";
    case what::name:
      return field + " is called '" + d.object + "' in the object";
    default:
      return (!d.field.empty()       ? field
              : d.kind == what::size ? "the size"
                                     : "the type") +
             " is " + d.cpp + " in C++ and " + d.object + " in the object";
  }
}

}  // namespace

type_registry::entry const* type_registry::find(type_shape const& shape) const {
  auto const found =
      std::find_if(entries_.begin(), entries_.end(), [&](entry const& e) { return *e.shape.type == *shape.type; });
  return found != entries_.end() ? &*found : nullptr;
}

void type_registry::add(type_shape const& shape, std::string_view btf_name, field_names names, error_code& ec,
                        diagnostics& details) {
  std::lock_guard const lock{mutex_};
  add_locked(shape, btf_name, names, ec, details);
}

std::string type_registry::name_of(std::type_info const& type) const {
  std::lock_guard const lock{mutex_};
  auto const found =
      std::find_if(entries_.begin(), entries_.end(), [&](entry const& e) { return *e.shape.type == type; });
  return found != entries_.end() ? found->btf_name : std::string{};
}

std::optional<type_shape> type_registry::shape_named(std::string_view btf_name) const {
  std::lock_guard const lock{mutex_};
  auto const found =
      std::find_if(entries_.begin(), entries_.end(), [&](entry const& e) { return e.btf_name == btf_name; });
  return found != entries_.end() ? std::optional{found->shape} : std::nullopt;
}

void type_registry::add_locked(type_shape const& shape, std::string_view btf_name, field_names names, error_code& ec,
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
  auto const id = find_type(types(), btf_name);
  if (id == 0) {
    details.names = type_names(types());
    return report(ec, details, errc::not_found, source_ + " has no type " + c_name,
                  near_names(btf_name, details.names) + "; " + anchor_hint(btf_name));
  }
  if (!fits(shape, cpp_name, id, std::string{btf_name}, names, ec, details)) return;
  entries_.push_back({shape, std::string{btf_name}});
}

bool type_registry::fits(type_shape const& shape, std::string const& cpp_name, std::uint32_t id,
                         std::string const& btf_name, field_names names, error_code& ec, diagnostics& details) const {
  std::string why;
  auto const object = rows_of(types(), id, why);
  if (!object) {
    report(ec, details, errc::type_mismatch,
           "'" + btf_name + "' in " + source_ + " " + why + ", so " + cpp_name + " cannot be held against it",
           btf_is_fwd(btf__type_by_id(types(), id)) ? anchor_hint(btf_name) : std::string{});
    return false;
  }
  auto const cpp = rows_of(shape.layout());
  compare_options options;
  options.names = names == field_names::check;
  options.may_grow = shape.rule == size_rule::at_least;
  auto differences = compare(cpp, *object, options);
  if (differences.empty()) return true;
  details.expected_size = shape.size;
  details.actual_size = object->size;
  details.layouts = side_by_side(cpp_name, cpp, btf_name, *object, differences);
  auto const& first = differences.front();
  report(ec, details, errc::type_mismatch,
         cpp_name + " differs from '" + btf_name + "' in " + source_ + ": " + in_words(first) +
             (differences.size() > 1 ? ", and " + std::to_string(differences.size() - 1) + " more" : std::string{}),
         advice(cpp, *object, differences));
  details.differences = std::move(differences);
  return false;
}

void type_registry::check_as(type_shape const& shape, btf_type const& type, field_names names, error_code& ec,
                             diagnostics& details) {
  fits(shape, boost::core::demangle(shape.type->name()), type.id(), type.to_string(), names, ec, details);
}

void type_registry::check(type_shape const& shape, error_code& ec, diagnostics& details) {
  std::lock_guard const lock{mutex_};
  if (find(shape) != nullptr || types() == nullptr) return;
  auto const name = unqualified_name(*shape.type);
  if (find_value_type(types(), name) != 0) add_locked(shape, name, field_names::check, ec, details);
}

}  // namespace tinybpf::detail
