#include <tinybpf/capabilities.hpp>
#include <tinybpf/features.hpp>

#include "detail/privileges.hpp"
#include "detail/probes.hpp"
#include "detail/report.hpp"

#include <array>
#include <cerrno>
#include <cstdint>
#include <string>
#include <utility>

namespace tinybpf {
namespace {

using detail::probe_answer;
using detail::report;

bool is_refusal(error_code code) {
  return code == boost::system::errc::operation_not_permitted || code == boost::system::errc::permission_denied;
}

// The machine had no room, or this process no descriptor: that says nothing of the feature.
bool is_lack(error_code code) {
  constexpr std::array lacks{ENOMEM, EMFILE, ENFILE, EINTR, EAGAIN, ENOBUFS};
  for (auto const err : lacks)
    if (code == detail::from_libbpf(err)) return true;
  return false;
}

std::string programs_of(program_type type) { return "programs of type " + std::string{to_string(type)}; }

/// Whether the answer leaves it open what the kernel can do; then it is reported.
bool unknown(probe_answer const& answer, std::string const& what, capability_set required, error_code& ec,
             diagnostics& details) {
  if (answer.not_asked) {
    report(ec, details, answer.code, "cannot tell whether the kernel supports " + what, answer.lacking);
    return true;
  }
  if (is_refusal(answer.code) && (!missing_capabilities(required).empty() || detail::in_user_namespace())) {
    report(ec, details, answer.code, "cannot tell whether the kernel supports " + what,
           detail::explain_refusal(required));
    return true;
  }
  if (!is_lack(answer.code)) return false;
  report(ec, details, answer.code, "cannot tell whether the kernel supports " + what);
  return true;
}

std::string why_not(probe_answer const& answer, std::string const& what, capability_set required) {
  if (!answer.lacking.empty()) return "the kernel does not support " + what + ": " + answer.lacking;
  if (is_refusal(answer.code)) return "the kernel does not allow " + what + ": " + detail::explain_refusal(required);
  return "the kernel does not support " + what + ": " + answer.code.message();
}

enum class verdict : std::uint8_t { allowed, unknown_helper, not_in_this_type, not_reached };

// The verifier tells of a helper that it does not know, or not here, before it looks at the arguments.
verdict judge(probe_answer const& answer) {
  auto const says = [&](char const* words) { return answer.log.find(words) != std::string::npos; };
  if (!answer.code) return verdict::allowed;
  if (says("invalid func ")) return verdict::unknown_helper;
  if (says("unknown func ") || says("cannot use helper ")) return verdict::not_in_this_type;
  return says("(85) call") ? verdict::allowed : verdict::not_reached;
}

// Of what loading takes, CAP_SYS_ADMIN stands in for CAP_NET_ADMIN.
capability_set required_to_load(program_type type) {
  auto required = required_capabilities(type);
  if (current_capabilities().contains(capability::sys_admin)) required -= capability::net_admin;
  return required;
}

// What the verifier may have hidden a helper for.
capability_set required_to_see(helper h) {
  capability_set required{capability::bpf, capability::perfmon};
  if (h == helper::probe_write_user) required |= capability::sys_admin;
  return required;
}

std::string name_of(helper h) {
  auto const number = std::to_string(static_cast<std::uint32_t>(h));
  auto const name = to_string(h);
  return name == "unknown" ? "helper #" + number : std::string{name};
}

bool known_type(bool known, std::string const& what, error_code& ec, diagnostics& details) {
  if (!known)
    report(ec, details, errc::not_supported, what + ": this library has no probe for them",
           "to load one is the only way to know");
  return known;
}

enum class helper_answer : std::uint8_t { yes, no, unknown_to_kernel };

helper_answer ask(helper h, program_type type, error_code& ec, diagnostics& details) {
  detail::begin(ec, details);
  auto const what = name_of(h) + " in " + programs_of(type);
  auto const probes = detail::probes_of(type);
  if (!known_type(!probes.empty(), programs_of(type), ec, details)) return helper_answer::no;
  auto const required = required_to_load(type) | required_to_see(h);
  probe_answer first;
  bool reached = false;
  for (auto const& probe : probes) {
    auto answer = detail::load_probe(probe, h);
    switch (judge(answer)) {
      case verdict::allowed:
        return helper_answer::yes;
      case verdict::unknown_helper:
        details.message = "the kernel does not know " + name_of(h);
        details.log = std::move(answer.log);
        return helper_answer::unknown_to_kernel;
      case verdict::not_in_this_type:
        reached = true;
        details.log = std::move(answer.log);
        break;
      case verdict::not_reached:
        if (unknown(answer, what, required, ec, details)) return helper_answer::no;
        if (&probe == probes.data()) first = std::move(answer);
        break;
    }
  }
  if (!reached)
    details.message = why_not(first, programs_of(type), required);
  else if (missing_capabilities(required).empty())
    details.message = programs_of(type) + " may not call " + name_of(h) + " on this kernel";
  else
    report(ec, details, detail::from_libbpf(EPERM), "cannot tell whether the kernel supports " + what,
           detail::explain_refusal(required));
  return helper_answer::no;
}

}  // namespace

bool supports(program_type type) {
  return detail::or_throw([&](auto& ec, auto& details) { return supports(type, ec, details); });
}

bool supports(program_type type, error_code& ec) {
  diagnostics details;
  return supports(type, ec, details);
}

bool supports(program_type type, error_code& ec, diagnostics& details) {
  detail::begin(ec, details);
  auto const what = programs_of(type);
  auto const probes = detail::probes_of(type);
  if (!known_type(!probes.empty(), what, ec, details)) return false;
  auto const required = required_to_load(type);
  probe_answer first;
  for (auto const& probe : probes) {
    auto answer = detail::load_probe(probe);
    if (!answer.code) return true;
    if (unknown(answer, what, required, ec, details)) return false;
    if (&probe == probes.data()) first = std::move(answer);
  }
  details.message = why_not(first, what, required);
  details.log = std::move(first.log);
  return false;
}

bool supports(map_type type) {
  return detail::or_throw([&](auto& ec, auto& details) { return supports(type, ec, details); });
}

bool supports(map_type type, error_code& ec) {
  diagnostics details;
  return supports(type, ec, details);
}

bool supports(map_type type, error_code& ec, diagnostics& details) {
  detail::begin(ec, details);
  auto const what = "maps of type " + std::string{to_string(type)};
  if (!known_type(detail::can_probe(type), what, ec, details)) return false;
  auto const required = required_capabilities(type);
  auto const answer = detail::create_probe(type);
  if (!answer.code) return true;
  if (!unknown(answer, what, required, ec, details)) details.message = why_not(answer, what, required);
  return false;
}

bool supports(helper h, program_type type) {
  return detail::or_throw([&](auto& ec, auto& details) { return supports(h, type, ec, details); });
}

bool supports(helper h, program_type type, error_code& ec) {
  diagnostics details;
  return supports(h, type, ec, details);
}

bool supports(helper h, program_type type, error_code& ec, diagnostics& details) {
  return ask(h, type, ec, details) == helper_answer::yes;
}

bool supports(helper h) {
  return detail::or_throw([&](auto& ec, auto& details) { return supports(h, ec, details); });
}

bool supports(helper h, error_code& ec) {
  diagnostics details;
  return supports(h, ec, details);
}

bool supports(helper h, error_code& ec, diagnostics& details) {
  detail::begin(ec, details);
  error_code first_error;
  diagnostics why;
  for (auto number = static_cast<std::uint32_t>(program_type::socket_filter);
       number <= static_cast<std::uint32_t>(program_type::netfilter); ++number) {
    auto const answer = ask(h, static_cast<program_type>(number), ec, details);
    if (answer != helper_answer::no) return answer == helper_answer::yes;
    if (ec && !first_error) {
      first_error = ec;
      why = std::move(details);
    }
  }
  detail::begin(ec, details);
  if (first_error) {
    ec = first_error;
    details = std::move(why);
  } else {
    details.message = "no type of programs that can be loaded here may call " + name_of(h);
  }
  return false;
}

}  // namespace tinybpf
