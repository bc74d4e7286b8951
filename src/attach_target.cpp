#include <tinybpf/attach_target.hpp>

#include "detail/attaching.hpp"
#include "detail/log_capture.hpp"
#include "detail/privileges.hpp"
#include "detail/report.hpp"

#include <tinybpf/capabilities.hpp>
#include <tinybpf/program.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <mutex>
#include <utility>
#include <variant>

namespace tinybpf {
namespace detail {
namespace {

std::string list(std::vector<program_type> const& types) {
  std::string all;
  for (auto const type : types) all += (all.empty() ? "" : " or ") + std::string{to_string(type)};
  return all;
}

void explain(attach_plan const& plan, program_type type, error_code& ec, diagnostics& details) {
  if (plan.explain) plan.explain(ec, details);
  if (!details.hint.empty()) return;
  if (ec == boost::system::errc::operation_not_permitted || ec == boost::system::errc::permission_denied)
    details.hint = explain_attach_refusal(plan.kind, type);
  else if (ec == boost::system::errc::no_such_file_or_directory)
    details.hint = "the running kernel has no such place to attach to";
}

}  // namespace

int keep(bpf_link* raw, attachment_list& into, std::shared_ptr<bpf_object> object) {
  if (raw == nullptr) return errno != 0 ? errno : EOPNOTSUPP;
  into.push_back(std::make_unique<libbpf_attachment>(raw, std::move(object)));
  return 0;
}

link attach_as_planned(program_core* core, attach_plan const& plan, error_code& ec, diagnostics& details) {
  auto const what = "program '" + core->name + "'";
  if (!core->usable(true, what, ec, details) || !attachable(*core, ec, details)) return {};
  auto const task = "cannot attach " + what + " of " + core->owner->source() + " to " + plan.where;
  std::lock_guard const lock{core->owner->mutex()};
  if (!core->usable(true, what, ec, details)) return {};  // closed while this thread waited
  if (!plan.types.empty() && std::find(plan.types.begin(), plan.types.end(), core->type) == plan.types.end()) {
    report(ec, details, errc::wrong_program_type,
           task + ": it is of type " + std::string{to_string(core->type)} + ", and that takes one of type " +
               list(plan.types),
           "SEC() in the BPF program decides on its type; this one's is SEC(\"" + core->section + "\")");
    return {};
  }
  if (!plan.libbpf_version.empty()) {
    report(ec, details, errc::not_supported_by_libbpf,
           task + ": not supported by libbpf " + std::to_string(LIBBPF_MAJOR_VERSION) + "." +
               std::to_string(LIBBPF_MINOR_VERSION),
           "it takes libbpf " + std::string{plan.libbpf_version} + " or later");
    return {};
  }
  attach_subject const subject{core->raw, core->fd, core->owner->raw()};
  if (plan.refuse) {
    if (auto no = plan.refuse(subject); no.code) {
      report(ec, details, no.code, task + ": " + no.reason, std::move(no.hint));
      return {};
    }
  }
  attachment_list attachments;
  log_capture log;
  errno = 0;
  if (int const err = std::abs(plan.attach(subject, attachments)); err != 0) {
    attachments.clear();
    details.log = log.take();
    report(ec, details, from_libbpf(err), task);
    explain(plan, core->type, ec, details);
    return {};
  }
  auto attached = link_access::make(plan.kind, std::move(attachments));
  link_access::state(attached)->came_from({core->name, core->owner->types()});
  return attached;
}

}  // namespace detail

link program::attach() const { return attach(attach_target{section_target{}}); }
link program::attach(error_code& ec) const { return attach(attach_target{section_target{}}, ec); }
link program::attach(error_code& ec, diagnostics& details) const {
  return attach(attach_target{section_target{}}, ec, details);
}

link program::attach(attach_target const& target) const {
  return detail::or_throw([&](auto& ec, auto& details) { return attach(target, ec, details); });
}

link program::attach(attach_target const& target, error_code& ec) const {
  diagnostics details;
  return attach(target, ec, details);
}

link program::attach(attach_target const& target, error_code& ec, diagnostics& details) const {
  detail::begin(ec, details);
  if (!core_) {
    detail::report(ec, details, errc::closed, "attach of no program");
    return {};
  }
  details.program = core_->name;
  auto const plan = std::visit([&](auto const& t) { return detail::plan_of(t, *core_); }, target);
  return detail::attach_as_planned(core_.get(), plan, ec, details);
}

}  // namespace tinybpf
