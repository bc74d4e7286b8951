#include <tinybpf/stack_trace_map.hpp>

#include "detail/map_calls.hpp"

#include <tinybpf/detail/map_view.hpp>

#include <algorithm>
#include <span>
#include <utility>

namespace tinybpf {

stack_trace_map::stack_trace_map(map m) {
  detail::or_throw([&](auto& ec, auto& details) { *this = stack_trace_map{std::move(m), ec, details}; });
}

stack_trace_map::stack_trace_map(map m, error_code& ec) {
  diagnostics details;
  *this = stack_trace_map{std::move(m), ec, details};
}

stack_trace_map::stack_trace_map(map m, error_code& ec, diagnostics& details) {
  constexpr std::uint32_t build_ids = 1U << 5U;  // BPF_F_STACK_BUILD_ID
  detail::check_view(m, {.name = "a view of stacks", .kinds = {map_type::stack_trace}}, field_names::check, ec,
                     details);
  if (ec) return;
  if ((detail::handle_access::core(m)->flags & build_ids) != 0) {
    details.map = m.name();
    detail::report(ec, details, errc::not_supported,
                   "a view of stacks of map '" + details.map + "', which has build ids instead of addresses");
    return;
  }
  map_ = std::move(m);
}

std::optional<std::vector<std::uint64_t>> stack_trace_map::lookup(std::uint32_t id) const {
  return detail::or_throw([&](auto& ec, auto& details) { return lookup(id, ec, details); });
}

std::optional<std::vector<std::uint64_t>> stack_trace_map::lookup(std::uint32_t id, error_code& ec) const {
  diagnostics details;
  return lookup(id, ec, details);
}

std::optional<std::vector<std::uint64_t>> stack_trace_map::lookup(std::uint32_t id, error_code& ec,
                                                                  diagnostics& details) const {
  std::optional<std::vector<std::uint64_t>> found;
  std::vector<std::uint64_t> addresses(map_.value_size() / sizeof(std::uint64_t));
  if (!map_.lookup(detail::bytes_of(id), std::as_writable_bytes(std::span{addresses}), ec, details)) return found;
  addresses.erase(std::find(addresses.begin(), addresses.end(), 0U), addresses.end());
  found = std::move(addresses);
  return found;
}

bool stack_trace_map::erase(std::uint32_t id) const {
  return detail::or_throw([&](auto& ec, auto& details) { return erase(id, ec, details); });
}

bool stack_trace_map::erase(std::uint32_t id, error_code& ec) const {
  diagnostics details;
  return erase(id, ec, details);
}

bool stack_trace_map::erase(std::uint32_t id, error_code& ec, diagnostics& details) const {
  bool const erased = map_.erase(detail::bytes_of(id), ec, details);
  // What the kernel says of numbers that are too great for the map, such as a failed bpf_get_stackid()'s.
  if (ec == boost::system::errc::argument_list_too_long) detail::begin(ec, details);
  return erased;
}

}  // namespace tinybpf
