// Functions and static tracepoints of the kernel, of programs and of libraries.
#include "detail/attaching.hpp"

#include <unistd.h>

#include <bpf/libbpf.h>

#include <cerrno>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace tinybpf::detail {
namespace {

using names_or_pattern = std::variant<std::string, std::vector<std::string>>;

std::string text_of(names_or_pattern const& functions) {
  if (auto const* const pattern = std::get_if<std::string>(&functions)) return "'" + *pattern + "'";
  auto const& names = std::get<std::vector<std::string>>(functions);
  if (names.size() == 1) return "'" + names.front() + "'";
  return std::to_string(names.size()) + " functions";
}

std::vector<char const*> c_strings(names_or_pattern const& functions) {
  std::vector<char const*> all;
  if (auto const* const names = std::get_if<std::vector<std::string>>(&functions))
    for (auto const& name : *names) all.push_back(name.c_str());
  return all;
}

char const* pattern_of(names_or_pattern const& functions) {
  auto const* const pattern = std::get_if<std::string>(&functions);
  return pattern != nullptr ? pattern->c_str() : nullptr;
}

}  // namespace

attach_plan plan_of(kprobe_target const& t, program_core const&) {
  return {
      .kind = link_kind::kprobe,
      .where = (t.options.retprobe ? "kretprobe of '" : "kprobe at '") + t.function + "'",
      .types = {program_type::kprobe},
      .attach =
          [t](attach_subject const& p, attachment_list& into) {
            auto options = sized<bpf_kprobe_opts>();
            options.bpf_cookie = t.options.cookie;
            options.offset = t.options.offset;
            options.retprobe = t.options.retprobe;
            return keep(bpf_program__attach_kprobe_opts(p.raw, t.function.c_str(), &options), into);
          },
  };
}

attach_plan plan_of(kprobe_multi_target const& t, program_core const&) {
  return {
      .kind = link_kind::kprobe_multi,
      .where = (t.options.retprobe ? "kretprobe.multi of " : "kprobe.multi at ") + text_of(t.functions),
      .types = {program_type::kprobe},
      .attach =
          [t](attach_subject const& p, attachment_list& into) {
            auto const names = c_strings(t.functions);
            auto const* const pattern = pattern_of(t.functions);
            bool const has_cookies = !t.options.cookies.empty();
            if (has_cookies && t.options.cookies.size() != names.size()) return EINVAL;
            auto options = sized<bpf_kprobe_multi_opts>();
            if (pattern == nullptr) {
              std::vector<char const*> list = names;
              options.syms = list.data();
              options.cnt = list.size();
              options.cookies = has_cookies ? reinterpret_cast<__u64 const*>(t.options.cookies.data()) : nullptr;
              options.retprobe = t.options.retprobe;
              return keep(bpf_program__attach_kprobe_multi_opts(p.raw, nullptr, &options), into);
            }
            options.retprobe = t.options.retprobe;
            return keep(bpf_program__attach_kprobe_multi_opts(p.raw, pattern, &options), into);
          },
  };
}

attach_plan plan_of(ksyscall_target const& t, program_core const&) {
  return {
      .kind = link_kind::ksyscall,
      .where = (t.options.retprobe ? "kretsyscall of '" : "ksyscall at '") + t.syscall + "'",
      .types = {program_type::kprobe},
      .attach =
          [t](attach_subject const& p, attachment_list& into) {
            auto options = sized<bpf_ksyscall_opts>();
            options.bpf_cookie = t.options.cookie;
            options.retprobe = t.options.retprobe;
            return keep(bpf_program__attach_ksyscall(p.raw, t.syscall.c_str(), &options), into);
          },
  };
}

attach_plan plan_of(uprobe_target const& t, program_core const&) {
  return {
      .kind = link_kind::uprobe,
      .where = (t.options.retprobe ? "uretprobe of '" : "uprobe at '") + t.function + "' of " + t.binary.string(),
      .types = {program_type::kprobe},
      .attach =
          [t](attach_subject const& p, attachment_list& into) {
            auto const& o = t.options;
            auto options = sized<bpf_uprobe_opts>();
            options.ref_ctr_offset = o.ref_ctr_offset;
            options.bpf_cookie = o.cookie;
            options.retprobe = o.retprobe;
            options.func_name = t.function.empty() ? nullptr : t.function.c_str();
            return keep(bpf_program__attach_uprobe_opts(p.raw, o.pid, t.binary.c_str(), o.offset, &options), into);
          },
  };
}

attach_plan plan_of(uprobe_multi_target const& t, program_core const&) {
  attach_plan plan{
      .kind = link_kind::uprobe_multi,
      .where = (t.options.retprobe ? "uretprobe.multi of " : "uprobe.multi at ") + text_of(t.functions) + " of " +
               t.binary.string(),
      .types = {program_type::kprobe},
  };
#if LIBBPF_MAJOR_VERSION > 1 || LIBBPF_MINOR_VERSION >= 3
  plan.attach = [t](attach_subject const& p, attachment_list& into) {
    auto names = c_strings(t.functions);
    bool const has_cookies = !t.options.cookies.empty();
    if (has_cookies && t.options.cookies.size() != names.size()) return EINVAL;
    auto options = sized<bpf_uprobe_multi_opts>();
    options.retprobe = t.options.retprobe;
    auto const* const pattern = pattern_of(t.functions);
    if (pattern == nullptr) {
      options.syms = names.data();
      options.cnt = names.size();
      options.cookies = has_cookies ? reinterpret_cast<__u64 const*>(t.options.cookies.data()) : nullptr;
    }
    return keep(bpf_program__attach_uprobe_multi(p.raw, t.options.pid, t.binary.c_str(), pattern, &options), into);
  };
#else
  plan.libbpf_version = "1.3";
  static_cast<void>(pattern_of(t.functions));
#endif
  return plan;
}

attach_plan plan_of(usdt_target const& t, program_core const&) {
  return {
      .kind = link_kind::usdt,
      .where = "USDT " + t.provider + ":" + t.name + " of " + t.binary.string(),
      .types = {program_type::kprobe},
      .attach =
          [t](attach_subject const& p, attachment_list& into) {
            auto options = sized<bpf_usdt_opts>();
            options.usdt_cookie = t.options.cookie;
            return keep(bpf_program__attach_usdt(p.raw, t.options.pid, t.binary.c_str(), t.provider.c_str(),
                                                 t.name.c_str(), &options),
                        into, p.object);
          },
  };
}

}  // namespace tinybpf::detail
