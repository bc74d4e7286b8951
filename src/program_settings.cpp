// What can be said of a program before its object is loaded.
#include "detail/btf_tables.hpp"
#include "detail/log_capture.hpp"
#include "detail/object_state.hpp"

#include <tinybpf/btf.hpp>
#include <tinybpf/program.hpp>

#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tinybpf {
namespace {

using detail::report;

enum class until : std::uint8_t { load, attach };

/// Does `set(bpf_program*)`, which gives 0 or what libbpf says, if the object is in a state for it. What `set` reports
/// itself stays.
template <class Set>
void configure(detail::program_core* core, char const* what, error_code& ec, diagnostics& details, Set set,
               until when = until::load) {
  detail::begin(ec, details);
  if (core == nullptr) return report(ec, details, errc::closed, std::string{what} + " of no program");
  details.program = core->name;
  auto const subject = std::string{what} + " of program '" + core->name + "'";
  if (core->owner == nullptr)
    return report(ec, details, when == until::load ? errc::already_loaded : errc::not_supported,
                  subject + ", which is on its own", "it is set where the program's object is opened");
  auto const in_time = [&] {
    if (!core->usable(false, subject, ec, details)) return false;
    auto const phase = core->phase();
    if (when == until::attach || phase == detail::object_phase::open) return true;
    if (phase == detail::object_phase::failed)
      report(ec, details, errc::already_loaded, subject + ": the object's load failed", "open the object anew");
    else
      report(ec, details, errc::already_loaded, subject + ": the object is loaded", "set it before load()");
    return false;
  };
  if (!in_time()) return;  // rather than wait for a load that runs
  std::lock_guard const lock{core->owner->mutex()};
  if (!in_time()) return;  // loaded while this thread waited
  detail::log_capture log;
  if (int const err = set(core->raw); err != 0 && !ec) {
    details.log = log.take();
    report(ec, details, detail::from_libbpf(err), subject);
  }
  core->refresh();
  if (!ec) details = diagnostics{};
}

/// How the kernel's types name what programs of this kind are for: libbpf puts this in front.
struct target_names {
  attach_type kind;
  std::string_view prefix;
  bool is_function;
};

constexpr target_names named_otherwise[] = {
    {attach_type::trace_raw_tp, "btf_trace_", false},
    {attach_type::lsm_mac, "bpf_lsm_", true},
    {attach_type::lsm_cgroup, "bpf_lsm_", true},
    {attach_type::trace_iter, "bpf_iter_", true},
};

/// What a program may be for, of all that the types name.
std::vector<std::string> targets(::btf const* types, attach_type kind) {
  target_names wanted{kind, {}, true};
  for (auto const& n : named_otherwise)
    if (n.kind == kind) wanted = n;
  std::vector<std::string> names;
  for (__u32 id = 1; types != nullptr && id < btf__type_cnt(types); ++id) {
    auto const* const type = btf__type_by_id(types, id);
    if (type == nullptr || !(wanted.is_function ? btf_is_func(type) : btf_is_typedef(type))) continue;
    auto const name = detail::name_at(types, type->name_off);
    if (name.starts_with(wanted.prefix)) names.emplace_back(name.substr(wanted.prefix.size()));
  }
  return names;
}

/// The names that are closest, of what may be very many.
void name_the_nearest(std::string_view wanted, std::vector<std::string> names, diagnostics& details) {
  if (names.empty()) return;
  constexpr std::size_t most = 10;
  details.names = detail::nearest(wanted, std::move(names), most);
  details.hint = "the names that are closest:";
  for (auto const& n : details.names) details.hint += ' ' + n;
}

void has_target(detail::program_core& core) {
  if (core.place == detail::place_of::section) core.place = detail::place_of::target;
}

bool is_missing(error_code ec) {
  return ec == boost::system::errc::no_such_file_or_directory || ec == boost::system::errc::no_such_process;
}

}  // namespace

void program::set_autoload(bool on) const {
  detail::or_throw([&](auto& ec, auto& details) { set_autoload(on, ec, details); });
}
void program::set_autoload(bool on, error_code& ec) const {
  diagnostics details;
  set_autoload(on, ec, details);
}
void program::set_autoload(bool on, error_code& ec, diagnostics& details) const {
  configure(core_.get(), "set_autoload", ec, details, [&](bpf_program* p) { return bpf_program__set_autoload(p, on); });
}

void program::set_autoattach(bool on) const {
  detail::or_throw([&](auto& ec, auto& details) { set_autoattach(on, ec, details); });
}
void program::set_autoattach(bool on, error_code& ec) const {
  diagnostics details;
  set_autoattach(on, ec, details);
}
void program::set_autoattach(bool on, error_code& ec, diagnostics& details) const {
  configure(
      core_.get(), "set_autoattach", ec, details,
      [&](bpf_program* p) {
        bpf_program__set_autoattach(p, on);
        return 0;
      },
      until::attach);
}

void program::set_type(program_type type) const {
  detail::or_throw([&](auto& ec, auto& details) { set_type(type, ec, details); });
}
void program::set_type(program_type type, error_code& ec) const {
  diagnostics details;
  set_type(type, ec, details);
}
void program::set_type(program_type type, error_code& ec, diagnostics& details) const {
  configure(core_.get(), "set_type", ec, details, [&](bpf_program* p) {
    bool const changes = core_->type != type;
    int const err = bpf_program__set_type(p, static_cast<bpf_prog_type>(type));
    if (err == 0 && changes) core_->place = detail::place_of::nowhere;  // libbpf forgets what the section means
    return err;
  });
}

void program::set_expected_attach_type(attach_type type) const {
  detail::or_throw([&](auto& ec, auto& details) { set_expected_attach_type(type, ec, details); });
}
void program::set_expected_attach_type(attach_type type, error_code& ec) const {
  diagnostics details;
  set_expected_attach_type(type, ec, details);
}
void program::set_expected_attach_type(attach_type type, error_code& ec, diagnostics& details) const {
  configure(core_.get(), "set_expected_attach_type", ec, details, [&](bpf_program* p) {
    return bpf_program__set_expected_attach_type(p, static_cast<bpf_attach_type>(type));
  });
}

void program::set_attach_target(std::string_view function) const {
  detail::or_throw([&](auto& ec, auto& details) { set_attach_target(function, ec, details); });
}
void program::set_attach_target(std::string_view function, error_code& ec) const {
  diagnostics details;
  set_attach_target(function, ec, details);
}
void program::set_attach_target(std::string_view function, error_code& ec, diagnostics& details) const {
  std::string const name{function};
  configure(core_.get(), "set_attach_target", ec, details, [&](bpf_program* p) {
    detail::log_capture log;
    int const err = bpf_program__set_attach_target(p, 0, name.c_str());
    if (err == 0) {
      core_->attach_target.reset(-1);
      has_target(*core_);
      return 0;
    }
    details.log = log.take();
    report(ec, details, detail::from_libbpf(err),
           "set_attach_target of program '" + core_->name + "' to '" + name + "' of the kernel");
    if (!is_missing(ec)) return err;
    error_code ignored;
    auto const kernel = btf::kernel(ignored);
    if (auto const& tables = detail::btf_access::tables(kernel))
      name_the_nearest(name, targets(tables->raw, core_->expected_attach_type), details);
    return err;
  });
}

void program::set_attach_target(program const& target, std::string_view function) const {
  detail::or_throw([&](auto& ec, auto& details) { set_attach_target(target, function, ec, details); });
}
void program::set_attach_target(program const& target, std::string_view function, error_code& ec) const {
  diagnostics details;
  set_attach_target(target, function, ec, details);
}
void program::set_attach_target(program const& target, std::string_view function, error_code& ec,
                                diagnostics& details) const {
  if (!detail::ready(target.core_.get(), "set_attach_target: use", ec, details)) return;
  std::string const name{function};
  configure(core_.get(), "set_attach_target", ec, details, [&](bpf_program* p) {
    detail::owned_descriptor copy{::fcntl(target.fd(), F_DUPFD_CLOEXEC, 3)};
    if (copy.get() < 0) return -errno;
    detail::log_capture log;
    int const err = bpf_program__set_attach_target(p, copy.get(), name.c_str());
    if (err == 0) {
      core_->attach_target = std::move(copy);
      has_target(*core_);
      return 0;
    }
    details.log = log.take();
    report(
        ec, details, detail::from_libbpf(err),
        "set_attach_target of program '" + core_->name + "' to '" + name + "' of program '" + target.core_->name + "'");
    if (ec == boost::system::errc::invalid_argument)
      details.hint = "the target has to be loaded with BTF: compile it with -g";
    auto const* const owner = target.core_->owner;
    if (is_missing(ec) && owner != nullptr && owner->types()->tables())
      name_the_nearest(name, targets(owner->types()->tables()->raw, attach_type::trace_fentry), details);
    return err;
  });
}

void program::set_log_level(std::uint32_t level) const {
  detail::or_throw([&](auto& ec, auto& details) { set_log_level(level, ec, details); });
}
void program::set_log_level(std::uint32_t level, error_code& ec) const {
  diagnostics details;
  set_log_level(level, ec, details);
}
void program::set_log_level(std::uint32_t level, error_code& ec, diagnostics& details) const {
  configure(core_.get(), "set_log_level", ec, details,
            [&](bpf_program* p) { return bpf_program__set_log_level(p, level); });
}

void program::set_flags(std::uint32_t flags) const {
  detail::or_throw([&](auto& ec, auto& details) { set_flags(flags, ec, details); });
}
void program::set_flags(std::uint32_t flags, error_code& ec) const {
  diagnostics details;
  set_flags(flags, ec, details);
}
void program::set_flags(std::uint32_t flags, error_code& ec, diagnostics& details) const {
  configure(core_.get(), "set_flags", ec, details, [&](bpf_program* p) { return bpf_program__set_flags(p, flags); });
}

void program::set_ifindex(std::uint32_t ifindex) const {
  detail::or_throw([&](auto& ec, auto& details) { set_ifindex(ifindex, ec, details); });
}
void program::set_ifindex(std::uint32_t ifindex, error_code& ec) const {
  diagnostics details;
  set_ifindex(ifindex, ec, details);
}
void program::set_ifindex(std::uint32_t ifindex, error_code& ec, diagnostics& details) const {
  configure(core_.get(), "set_ifindex", ec, details, [&](bpf_program* p) {
    bpf_program__set_ifindex(p, ifindex);
    return 0;
  });
}

bool program::autoload() const noexcept { return is_open() && core_->autoload; }
bool program::autoattach() const noexcept { return is_open() && core_->autoattach; }
attach_type program::expected_attach_type() const noexcept {
  return is_open() ? core_->expected_attach_type.load() : attach_type{};
}
std::uint32_t program::flags() const noexcept { return is_open() ? core_->flags.load() : 0; }
std::size_t program::insn_count() const noexcept { return is_open() ? core_->insn_count.load() : 0; }

std::string program::verifier_log() const {
  if (!is_open()) return {};
  std::lock_guard const lock{core_->mutex};
  return core_->verifier_log;
}

}  // namespace tinybpf
