#include <tinybpf/program.hpp>

#include "detail/object_state.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cstdint>
#include <utility>

namespace tinybpf {

using detail::report;

program::program(std::shared_ptr<detail::program_core> core) noexcept : core_{std::move(core)} {}

bool program::is_open() const noexcept { return core_ && core_->phase() != detail::object_phase::closed; }
std::string_view program::name() const noexcept { return core_ ? std::string_view{core_->name} : std::string_view{}; }
std::string_view program::section() const noexcept {
  return core_ ? std::string_view{core_->section} : std::string_view{};
}
program_type program::type() const noexcept { return is_open() ? core_->type.load() : program_type::unspec; }

link program::attach_freplace(program const& target, std::string function) const {
  return detail::or_throw([&](auto& ec, auto& details) { return attach_freplace(target, function, ec, details); });
}

link program::attach_freplace(program const& target, std::string function, error_code& ec) const {
  diagnostics details;
  return attach_freplace(target, std::move(function), ec, details);
}

link program::attach_freplace(program const& target, std::string function, error_code& ec, diagnostics& details) const {
  int const fd = target.fd();
  if (!core_ || (target.is_open() && fd >= 0)) return attach(freplace_target{fd, std::move(function)}, ec, details);
  detail::begin(ec, details);
  details.program = core_->name;
  auto const what = "cannot attach program '" + core_->name + "' to function '" + function + "' of a program";
  if (!target.is_open())
    report(ec, details, errc::closed, what + ": that program's handle is closed");
  else
    report(ec, details, errc::not_loaded, what + ": '" + std::string{target.name()} + "' is not loaded",
           "call load() of its object first");
  return {};
}

int program::fd() const noexcept { return core_ ? core_->fd.load(std::memory_order_relaxed) : -1; }

program_info program::info() const {
  return detail::or_throw([&](auto& ec, auto& details) { return info(ec, details); });
}

program_info program::info(error_code& ec) const {
  diagnostics details;
  return info(ec, details);
}

program_info program::info(error_code& ec, diagnostics& details) const {
  program_info result;
  if (!detail::ready(core_.get(), "info", ec, details)) return result;
  // Asked twice: first for the number of maps, then with room for their ids. It may not change in between.
  bpf_prog_info raw{};
  __u32 size = sizeof raw;
  int err = bpf_obj_get_info_by_fd(fd(), &raw, &size);
  if (err == 0 && raw.nr_map_ids > 0) {
    result.map_ids.resize(raw.nr_map_ids);
    bpf_prog_info with_maps{};
    with_maps.nr_map_ids = raw.nr_map_ids;
    with_maps.map_ids = reinterpret_cast<std::uintptr_t>(result.map_ids.data());
    size = sizeof with_maps;
    err = bpf_obj_get_info_by_fd(fd(), &with_maps, &size);
  }
  if (err != 0) {
    details.program = core_->name;
    report(ec, details, detail::from_libbpf(err), "info of program '" + core_->name + "'");
    return {};
  }
  result.id = raw.id;
  result.type = static_cast<program_type>(raw.type);
  result.name = raw.name;
  for (auto const byte : raw.tag) {
    constexpr char digits[] = "0123456789abcdef";
    result.tag += digits[byte >> 4U];
    result.tag += digits[byte & 15U];
  }
  result.btf_id = raw.btf_id;
  result.xlated_size = raw.xlated_prog_len;
  result.jited_size = raw.jited_prog_len;
  result.verified_instructions = raw.verified_insns;
  result.load_time = std::chrono::nanoseconds{raw.load_time};
  result.run_time = std::chrono::nanoseconds{raw.run_time_ns};
  result.run_count = raw.run_cnt;
  result.recursion_misses = raw.recursion_misses;
  return result;
}

}  // namespace tinybpf
