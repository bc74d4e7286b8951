// Programs that belong to no object, and what outlives an object's: pins and clones.
#include "detail/descriptor_target.hpp"
#include "detail/map_calls.hpp"
#include "detail/object_state.hpp"
#include "detail/pin_path.hpp"
#include "detail/report.hpp"

#include <tinybpf/program.hpp>

#include <bpf/bpf.h>
#include <fcntl.h>

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace tinybpf {
namespace {

using detail::owned_descriptor;
using detail::report;

/// What is wrong with a descriptor that is to be one of a program: EBADF, `errc::wrong_program_type`; or nothing.
error_code not_a_program(int fd) {
  return detail::check_descriptor(fd, detail::program_target, errc::wrong_program_type);
}

int info_of(int fd, bpf_prog_info& info) {
  __u32 size = sizeof info;
  return bpf_obj_get_info_by_fd(fd, &info, &size);
}

std::uint32_t id_of(int fd) {
  bpf_prog_info info{};
  return !not_a_program(fd) && info_of(fd, info) == 0 ? info.id : 0;
}

std::shared_ptr<detail::program_core> own_core(owned_descriptor fd, std::string const& what, error_code& ec,
                                               diagnostics& details) {
  bpf_prog_info info{};
  if (int const err = info_of(fd.get(), info); err != 0) {
    report(ec, details, detail::from_libbpf(err), what);
    return nullptr;
  }
  auto core = std::make_shared<detail::program_core>(info.name, std::move(fd), static_cast<program_type>(info.type));
  core->insn_count = info.xlated_prog_len / 8;  // bytes of an instruction
  return core;
}

std::string hint_of(error_code code) {
  return code == boost::system::errc::operation_not_permitted ? "this needs CAP_SYS_ADMIN" : "";
}

}  // namespace

program program::open_pinned(std::filesystem::path const& path) {
  return detail::or_throw([&](auto& ec, auto& details) { return open_pinned(path, ec, details); });
}
program program::open_pinned(std::filesystem::path const& path, error_code& ec) {
  diagnostics details;
  return open_pinned(path, ec, details);
}
program program::open_pinned(std::filesystem::path const& path, error_code& ec, diagnostics& details) {
  detail::begin(ec, details);
  auto const what = "cannot open the program pinned at " + path.string();
  owned_descriptor fd{bpf_obj_get(path.c_str())};
  if (fd.get() < 0) {
    report(ec, details, detail::from_libbpf(fd.get()), what);
    return {};
  }
  if (auto const code = not_a_program(fd.get())) {
    report(ec, details, code, what + ": no program is pinned there");
    return {};
  }
  auto core = own_core(std::move(fd), what, ec, details);
  if (!core) return {};
  core->pinned.set(detail::opened_pin_path(path).string());
  return program{std::move(core)};
}

program program::open_by_id(std::uint32_t id) {
  return detail::or_throw([&](auto& ec, auto& details) { return open_by_id(id, ec, details); });
}
program program::open_by_id(std::uint32_t id, error_code& ec) {
  diagnostics details;
  return open_by_id(id, ec, details);
}
program program::open_by_id(std::uint32_t id, error_code& ec, diagnostics& details) {
  detail::begin(ec, details);
  auto const what = "cannot open the program with the id " + std::to_string(id);
  owned_descriptor fd{bpf_prog_get_fd_by_id(id)};
  if (fd.get() < 0) {
    auto const code = detail::from_libbpf(fd.get());
    report(ec, details, code, what, hint_of(code));
    return {};
  }
  auto core = own_core(std::move(fd), what, ec, details);
  return core ? program{std::move(core)} : program{};
}

program program::open_fd(int fd) {
  return detail::or_throw([&](auto& ec, auto& details) { return open_fd(fd, ec, details); });
}
program program::open_fd(int fd, error_code& ec) {
  diagnostics details;
  return open_fd(fd, ec, details);
}
program program::open_fd(int fd, error_code& ec, diagnostics& details) {
  detail::begin(ec, details);
  auto const what = "cannot open the program of descriptor " + std::to_string(fd);
  if (auto const code = not_a_program(fd)) {
    report(ec, details, code, what);
    return {};
  }
  owned_descriptor copy{::fcntl(fd, F_DUPFD_CLOEXEC, 3)};
  if (copy.get() < 0) {
    report(ec, details, detail::last_errno(), what);
    return {};
  }
  auto core = own_core(std::move(copy), what, ec, details);
  return core ? program{std::move(core)} : program{};
}

program program::clone() const {
  return detail::or_throw([&](auto& ec, auto& details) { return clone(ec, details); });
}
program program::clone(error_code& ec) const {
  diagnostics details;
  return clone(ec, details);
}
program program::clone(error_code& ec, diagnostics& details) const {
  if (!detail::ready(core_.get(), "clone", ec, details)) return {};
  owned_descriptor copy{::fcntl(fd(), F_DUPFD_CLOEXEC, 3)};
  if (copy.get() < 0) {
    details.program = core_->name;
    report(ec, details, detail::last_errno(), "clone of program '" + core_->name + "'");
    return {};
  }
  auto core = std::make_shared<detail::program_core>(core_->name, std::move(copy), core_->type);
  core->section = core_->section;
  core->expected_attach_type = core_->expected_attach_type.load();
  core->flags = core_->flags.load();
  core->insn_count = core_->insn_count.load();
  return program{std::move(core)};
}

void program::pin(std::filesystem::path const& path) const {
  detail::or_throw([&](auto& ec, auto& details) { pin(path, ec, details); });
}
void program::pin(std::filesystem::path const& path, error_code& ec) const {
  diagnostics details;
  pin(path, ec, details);
}
void program::pin(std::filesystem::path const& path, error_code& ec, diagnostics& details) const {
  if (!detail::ready(core_.get(), "pin", ec, details)) return;
  core_->pinned.pin(fd(), "program '" + core_->name + "'", id_of, path, ec, details);
  if (ec) details.program = core_->name;
}

void program::unpin() const {
  detail::or_throw([&](auto& ec, auto& details) { unpin(ec, details); });
}
void program::unpin(error_code& ec) const {
  diagnostics details;
  unpin(ec, details);
}
void program::unpin(error_code& ec, diagnostics& details) const {
  if (!detail::ready(core_.get(), "unpin", ec, details)) return;
  core_->pinned.unpin(fd(), "program '" + core_->name + "'", id_of, ec, details);
  if (ec) details.program = core_->name;
}

std::filesystem::path program::pin_path() const {
  return is_open() ? std::filesystem::path{core_->pinned.get()} : std::filesystem::path{};
}

std::vector<std::uint32_t> program_ids() {
  return detail::or_throw([&](auto& ec, auto& details) { return program_ids(ec, details); });
}
std::vector<std::uint32_t> program_ids(error_code& ec) {
  diagnostics details;
  return program_ids(ec, details);
}
std::vector<std::uint32_t> program_ids(error_code& ec, diagnostics& details) {
  detail::begin(ec, details);
  std::vector<std::uint32_t> ids;
  for (__u32 id = 0;;) {
    int const err = bpf_prog_get_next_id(id, &id);
    if (err == -ENOENT) return ids;
    if (err == 0) {
      ids.push_back(id);
      continue;
    }
    auto const code = detail::from_libbpf(err);
    report(ec, details, code, "cannot list the programs that are loaded", hint_of(code));
    return {};
  }
}

}  // namespace tinybpf
