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
#include <initializer_list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace tinybpf {
namespace detail {
namespace {

std::string list(std::vector<program_type> const& types) {
  std::string all;
  for (auto const type : types) all += (all.empty() ? "" : " or ") + std::string{to_string(type)};
  return all;
}

/// What is missing there, is missing in a file, and not in the kernel.
bool is_in_binary(link_kind kind) {
  return kind == link_kind::uprobe || kind == link_kind::uprobe_multi || kind == link_kind::usdt;
}

void explain(attach_plan const& plan, program_type type, error_code& ec, diagnostics& details) {
  if (plan.explain) plan.explain(ec, details);
  if (!details.hint.empty()) return;
  if (ec == boost::system::errc::operation_not_permitted || ec == boost::system::errc::permission_denied)
    details.hint = explain_attach_refusal(plan.kind, type);
  else if (ec == boost::system::errc::no_such_file_or_directory && !is_in_binary(plan.kind))
    details.hint = "the running kernel has no such place to attach to";
}

}  // namespace

refusal odd_name(std::initializer_list<std::string_view> names) {
  auto const odd = [](std::string_view n) { return n.find('\0') != n.npos; };
  if (std::none_of(names.begin(), names.end(), odd)) return {};
  return {from_libbpf(EINVAL), "there is a null character in that name", {}};
}

int keep(bpf_link* raw, attachment_list& into, std::shared_ptr<bpf_object> object, int perf_event) {
  if (raw == nullptr) return errno != 0 ? errno : EOPNOTSUPP;
  std::unique_ptr<bpf_link, int (*)(bpf_link*)> owned{raw, bpf_link__destroy};
  // Room first: an attachment that there is no room for would lock the object's mutex to detach, and that is held.
  if (into.size() == into.capacity()) into.reserve(2 * into.size() + 1);
  into.push_back(std::make_unique<libbpf_attachment>(raw, std::move(object), perf_event));
  static_cast<void>(owned.release());
  return 0;
}

link attach_as_planned(program_core* core, attach_plan const& plan, error_code& ec, diagnostics& details) {
  auto const what = "program '" + core->name + "'";
  if (!core->usable(true, what, ec, details) || !attachable(*core, ec, details)) return {};
  auto const task = "cannot attach " + what + " of " + core->owner->source() + " to " + plan.where;
  // These outlive the lock: what detaches a USDT takes it too, also where memory runs out.
  attachment_list attachments;
  link_origin origin{core->name, core->owner->types()};
  std::unique_lock lock{core->owner->mutex()};
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
  log_capture log;
  errno = 0;
  if (int const err = std::abs(plan.attach(subject, attachments)); err != 0) {
    attachments.clear();
    details.log = log.take();
    report(ec, details, from_libbpf(err), task);
    lock.unlock();  // nobody has to wait for the search of names
    explain(plan, core->type, ec, details);
    return {};
  }
  lock.unlock();
  auto attached = link_access::make(plan.kind, std::move(attachments));
  link_access::state(attached)->came_from(std::move(origin));
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
  auto attached = detail::attach_as_planned(core_.get(), plan, ec, details);
  if (!ec) details = {};
  return attached;
}

}  // namespace tinybpf
