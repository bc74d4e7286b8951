// Functions and static tracepoints of the kernel, of programs and of libraries.
#include "detail/attaching.hpp"
#include "detail/near_places.hpp"
#include "detail/privileges.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace tinybpf::detail {
namespace {

namespace sys_errc = boost::system::errc;

using names_or_pattern = std::variant<std::string, std::vector<std::string>>;

std::string const* pattern_in(names_or_pattern const& functions) { return std::get_if<std::string>(&functions); }

std::vector<std::string> const& list_in(names_or_pattern const& functions) {
  static std::vector<std::string> const none;
  auto const* const names = std::get_if<std::vector<std::string>>(&functions);
  return names != nullptr ? *names : none;
}

std::string text_of(names_or_pattern const& functions) {
  if (auto const* const pattern = pattern_in(functions)) return "'" + *pattern + "'";
  auto const& names = list_in(functions);
  if (names.size() == 1) return "'" + names.front() + "'";
  return std::to_string(names.size()) + " functions";
}

std::vector<char const*> c_strings(std::vector<std::string> const& names) {
  std::vector<char const*> all;
  all.reserve(names.size());
  for (auto const& name : names) all.push_back(name.c_str());
  return all;
}

std::string hexadecimal(std::size_t n) {
  std::array<char, 24> text{};
  std::snprintf(text.data(), text.size(), "0x%zx", n);
  return text.data();
}

std::string with_offset(std::string const& function, std::size_t offset) {
  return "'" + function + (offset != 0 ? "+" + hexadecimal(offset) : "") + "'";
}

refusal invalid(std::string reason, std::string hint = {}) {
  return {from_libbpf(EINVAL), std::move(reason), std::move(hint)};
}

// What a kprobe program was loaded for: all are of one type, and the kernel goes by the attach type.
enum class loaded_for : std::uint8_t { perf, kprobe_multi, uprobe_multi };

attach_type expected_of(bpf_program* raw) { return static_cast<attach_type>(bpf_program__expected_attach_type(raw)); }

loaded_for purpose_of(bpf_program* raw) {
  switch (expected_of(raw)) {
    case attach_type::trace_kprobe_multi:
    case attach_type::trace_kprobe_session:
      return loaded_for::kprobe_multi;
    case attach_type::trace_uprobe_multi:
    case attach_type::trace_uprobe_session:
      return loaded_for::uprobe_multi;
    default:
      return loaded_for::perf;
  }
}

// A program's section says which it was loaded for, and `sections` which ones would fit.
refusal wrong_purpose(attach_subject const& p, loaded_for wanted, char const* sections) {
  constexpr std::array names{"one place at a time", "kprobe.multi", "uprobe.multi"};
  auto const had = purpose_of(p.raw);
  if (had == wanted) return {};
  return {errc::wrong_program_type,
          std::string{"it was loaded for "} + names[static_cast<std::size_t>(had)] +
              ", and that takes one loaded for " + names[static_cast<std::size_t>(wanted)],
          std::string{"SEC() in the BPF program decides; this one's is SEC(\""} + bpf_program__section_name(p.raw) +
              "\"), and it takes " + sections};
}

// A session runs where the function is entered and where it returns.
refusal odd_session(attach_subject const& p, bool retprobe) {
  auto const type = expected_of(p.raw);
  if (type != attach_type::trace_kprobe_session && type != attach_type::trace_uprobe_session) return {};
  if (retprobe) return invalid("a session runs at a function's return as well", "leave out `retprobe`");
  bool const of_kernel = type == attach_type::trace_kprobe_session;
  [[maybe_unused]] std::string const needed = of_kernel ? "1.5" : "1.6";
#if LIBBPF_MAJOR_VERSION > 1 || LIBBPF_MINOR_VERSION >= 6
  return {};
#else
#if LIBBPF_MINOR_VERSION >= 5
  if (of_kernel) return {};
#endif
  return {errc::not_supported_by_libbpf,
          "no sessions of " + std::string{of_kernel ? "kprobes" : "uprobes"} + " with libbpf " +
              std::to_string(LIBBPF_MAJOR_VERSION) + "." + std::to_string(LIBBPF_MINOR_VERSION),
          "they take libbpf " + needed + " or later"};
#endif
}

// libbpf takes every negative number for "all".
refusal odd_process(pid_t pid) {
  if (pid >= -1) return {};
  return invalid("there is no process " + std::to_string(pid), "-1 stands for all, 0 for this one");
}

// The kernel takes what is beyond the file's end, as what counts backwards looks to it, and never runs the program.
refusal odd_offsets(uprobe_target const& t) {
  struct stat status {};
  if (stat(find_binary(t.binary.string()).c_str(), &status) != 0) return {};  // libbpf says why
  auto const size = static_cast<std::size_t>(status.st_size);
  auto const end = "; the file has " + std::to_string(size) + " bytes";
  if (t.options.offset >= size) return invalid("offset " + hexadecimal(t.options.offset) + " is beyond the end" + end);
  auto const counter = t.options.ref_ctr_offset;
  if (counter >= size) return invalid("there is no counter at " + hexadecimal(counter) + end);
  if (counter % 2 != 0)
    return invalid("a counter of two bytes is at an even offset, and not at " + hexadecimal(counter));
  if (counter > UINT32_MAX) return invalid("the kernel takes no `ref_ctr_offset` above " + hexadecimal(UINT32_MAX));
  return {};
}

refusal odd_functions(names_or_pattern const& functions, std::vector<std::uint64_t> const& cookies) {
  auto const* const pattern = pattern_in(functions);
  auto const& names = list_in(functions);
  if (pattern != nullptr && pattern->empty()) return invalid("the pattern is empty");
  if (pattern != nullptr && !cookies.empty())
    return invalid("cookies go with a list of functions, not with a pattern",
                   "list the functions, so that it is clear which cookie is whose");
  if (pattern == nullptr && names.empty()) return invalid("the list of functions is empty");
  if (std::find(names.begin(), names.end(), "") != names.end()) return invalid("a function of the list has no name");
  if (auto odd = odd_name({pattern != nullptr ? *pattern : std::string_view{}}); odd.code) return odd;
  for (auto const& name : names)
    if (auto odd = odd_name({name}); odd.code) return odd;
  if (!cookies.empty() && cookies.size() != names.size())
    return invalid(std::to_string(names.size()) + " functions and " + std::to_string(cookies.size()) + " cookies",
                   "give a cookie for each function, or none");
  return {};
}

void add_hint(diagnostics& details, std::string_view more) {
  if (!details.hint.empty()) details.hint += "; ";
  details.hint += more;
}

/// The process that a probe was to be confined to.
void explain_pid(error_code const& ec, pid_t pid, diagnostics& details) {
  if (ec == sys_errc::no_such_process && pid > 0)
    add_hint(details, "there is no process " + std::to_string(pid) + " in this thread's PID namespace");
}

void explain_cookie(error_code const& ec, std::uint64_t cookie, diagnostics& details) {
  if (cookie != 0 && (ec == sys_errc::operation_not_supported)) add_hint(details, "cookies take Linux 5.15");
}

// ---- the kernel's functions

bool kernel_has_kprobes() { return has_perf_device("kprobe") || !tracefs_file("kprobe_events").empty(); }

constexpr std::string_view no_kprobes =
    "the running kernel has no kprobes: it was built without CONFIG_KPROBES (or CONFIG_KPROBE_EVENTS). fentry, "
    "tracepoints and raw tracepoints do without";

void explain_kprobe(error_code const& ec, std::string const& function, kprobe_options const& o, diagnostics& details) {
  explain_cookie(ec, o.cookie, details);
  if (!kernel_has_kprobes()) {
    add_hint(details, no_kprobes);
    return;
  }
  if (ec == sys_errc::illegal_byte_sequence) {
    add_hint(details, "at that offset no instruction begins");
    return;
  }
  if (ec != sys_errc::no_such_file_or_directory && ec != sys_errc::invalid_argument &&
      ec != sys_errc::address_not_available)
    return;
  auto names = kernel_functions();
  if (std::find(names.begin(), names.end(), function) == names.end()) {
    details.message += "; the kernel has no function '" + function + "' that can be traced";
    add_hint(details, "/proc/kallsyms lists the functions; what is inlined is not there");
    suggest(function, std::move(names), details);
  } else if (ec == sys_errc::address_not_available) {
    add_hint(details, "several functions have that name, and the kernel does not choose");
  } else {
    add_hint(details,
             "the function is there, but the kernel does not let that place be probed: it is on the list in "
             "debugfs, kprobes/blacklist, or the offset is beyond the function's end");
  }
}

void explain_kprobe_multi(error_code& ec, names_or_pattern const& functions, diagnostics& details) {
  if (ec == sys_errc::operation_not_supported || ec == sys_errc::not_supported) {
    add_hint(
        details,
        "the running kernel has no kprobe.multi: that takes Linux 5.18 and CONFIG_FPROBE; attach_kprobe() attaches "
        "to one function at a time");
    return;
  }
  if (ec == sys_errc::operation_not_permitted || ec == sys_errc::permission_denied) return;
  auto const names = kernel_functions();
  if (auto const* const pattern = pattern_in(functions)) {
    bool const any = std::any_of(names.begin(), names.end(), [&](auto const& n) { return fits_pattern(n, *pattern); });
    if (!any) {
      details.message += "; the kernel has no function that fits";
      add_hint(details, "* stands for any characters, ? for one; /proc/kallsyms lists the functions");
    }
    return;
  }
  for (auto const& wanted : list_in(functions)) {
    if (std::find(names.begin(), names.end(), wanted) != names.end()) continue;
    details.message += "; the kernel has no function '" + wanted + "' that can be traced";
    suggest(wanted, names, details);
    return;
  }
  if (ec == sys_errc::no_such_process)  // ESRCH
    add_hint(details, "each function may be named once only");
}

void explain_ksyscall(error_code const& ec, std::string const& syscall, std::uint64_t cookie, diagnostics& details) {
  explain_cookie(ec, cookie, details);
  if (!kernel_has_kprobes()) {
    add_hint(details, no_kprobes);
    return;
  }
  if (ec != sys_errc::no_such_file_or_directory && ec != sys_errc::invalid_argument) return;
  auto names = system_calls();
  if (std::find(names.begin(), names.end(), syscall) != names.end()) return;
  details.message += "; the kernel has no system call '" + syscall + "'";
  suggest(syscall, std::move(names), details);
}

// ---- programs and libraries

/// False if nothing is wrong with the file itself.
bool explain_file(error_code& ec, std::filesystem::path const& binary, binary_contents const& found,
                  diagnostics& details) {
  auto const name = binary.string();
  if (found.error == 0) return false;
  if (found.path.empty()) {
    bool const library = name.ends_with(".so") || name.find(".so.") != std::string::npos;
    details.message +=
        library ? "; no folder of libraries has '" + name + "'" : "; no folder of PATH has '" + name + "'";
    std::error_code ignored;
    add_hint(details, std::filesystem::exists(binary, ignored)
                          ? "the one in the working directory is './" + name + "'"
                          : "a name without a slash is searched for; give a path to mean a file");
    return true;
  }
  switch (found.error) {
    case EISDIR:
      details.message += "; that is a directory";
      break;
    case ENOEXEC:
      details.message += "; that is no ELF file";
      break;
    case ENOENT:
    case ENOTDIR:
      details.message += "; there is no such file";
      if (binary.is_relative()) {
        std::error_code ignored;
        add_hint(details, "the working directory is " + std::filesystem::current_path(ignored).string());
      }
      break;
    case EACCES:
      details.message += "; this user may not read it";
      break;
    default:
      break;
  }
  if (found.error == EACCES) add_hint(details, "make the file readable, or run with CAP_DAC_READ_SEARCH");
  // libbpf has only one number of its own for all of these.
  ec = from_libbpf(found.error);
  return true;
}

void explain_user_probe(error_code const& ec, diagnostics& details) {
  if (ec != sys_errc::permission_denied && ec != sys_errc::operation_not_permitted) return;
  if (current_capabilities().contains(capability::sys_admin)) return;
  add_hint(details,
           explain_refusal(capability::sys_admin) +
               ", or attach before the capabilities are dropped; uprobe.multi does with CAP_BPF and CAP_PERFMON");
}

void explain_kernel_without_uprobes(error_code const& ec, diagnostics& details) {
  if (ec == sys_errc::no_such_file_or_directory && !has_perf_device("uprobe") && tracefs_file("uprobe_events").empty())
    add_hint(details, "the running kernel has no uprobes: it was built without CONFIG_UPROBE_EVENTS");
}

void explain_no_function(std::string const& wanted, binary_contents const& found, diagnostics& details) {
  auto const& chosen = found.chosen_at_run_time;
  if (std::find(chosen.begin(), chosen.end(), wanted) != chosen.end()) {
    details.message += "; '" + wanted + "' is an IFUNC: a name for one of several functions, chosen at run time";
    add_hint(details, "`nm " + found.path +
                          "` shows those functions, if it has symbols of them; an offset in the file does as well");
    return;
  }
  if (found.functions.empty()) {
    details.message += "; " + found.path + " has no symbols of functions";
    add_hint(details, "install its debug symbols, or give an offset in the file in place of the name");
    return;
  }
  details.message += "; " + found.path + " has no function '" + wanted + "'";
  add_hint(details, "names are as `nm " + found.path + "` shows them, those of C++ mangled");
  suggest(wanted, found.functions, details);
}

void explain_instruction(error_code const& ec, diagnostics& details) {
  if (ec == sys_errc::operation_not_supported || ec == sys_errc::executable_format_error)
    add_hint(details, "the instruction there is one that the kernel cannot probe, or none begins there");
}

void explain_uprobe(error_code& ec, uprobe_target const& t, diagnostics& details) {
  explain_pid(ec, t.options.pid, details);
  explain_cookie(ec, t.options.cookie, details);
  explain_kernel_without_uprobes(ec, details);
  auto const found = contents_of_binary(t.binary.string());
  bool const by_offset = t.function.empty() && found.error == ENOEXEC;  // which takes no ELF file
  if (!by_offset && explain_file(ec, t.binary, found, details)) return;
  if (!t.function.empty() && (ec == sys_errc::no_such_file_or_directory || ec == errc::invalid_object)) {
    if (auto const n = found.functions_named(t.function); n > 1) {
      ec = from_libbpf(EINVAL);
      details.message += "; " + found.path + " has " + std::to_string(n) + " functions of that name";
      add_hint(details, "give the offset in the file of the one you mean");
    } else if (n == 0) {
      ec = from_libbpf(ENOENT);
      explain_no_function(t.function, found, details);
    }
  }
  explain_instruction(ec, details);
  explain_user_probe(ec, details);
}

void explain_usdt(error_code& ec, usdt_target const& t, diagnostics& details) {
  if (details.log.find("usdt.bpf.h") != std::string::npos) {
    details.hint = "the BPF program has to include <bpf/usdt.bpf.h>, which has the maps that USDT takes";
    return;
  }
  explain_pid(ec, t.options.pid, details);
  explain_kernel_without_uprobes(ec, details);
  auto const found = contents_of_binary(t.binary.string());
  if (explain_file(ec, t.binary, found, details)) return;
  std::pair<std::string, std::string> const wanted{t.provider, t.name};
  bool const there = std::find(found.usdts.begin(), found.usdts.end(), wanted) != found.usdts.end();
  if (!there && !(ec == sys_errc::permission_denied) && !(ec == sys_errc::operation_not_permitted)) {
    ec = from_libbpf(ENOENT);  // libbpf has a number of its own for a file without any
    if (found.usdts.empty()) {
      details.message += "; " + found.path + " has no USDT at all";
      add_hint(details, "build it with <sys/sdt.h>; `readelf -n` shows what a binary has");
    } else {
      details.message += "; " + found.path + " has none of that name";
      std::vector<std::string> names;
      names.reserve(found.usdts.size());
      for (auto const& [provider, name] : found.usdts) names.emplace_back(provider).append(":").append(name);
      suggest(t.provider + ":" + t.name, std::move(names), details);
    }
  }
  explain_user_probe(ec, details);
}

#if LIBBPF_MAJOR_VERSION > 1 || LIBBPF_MINOR_VERSION >= 3
void explain_uprobe_multi(error_code& ec, uprobe_multi_target const& t, diagnostics& details) {
  explain_pid(ec, t.pid, details);
  auto const found = contents_of_binary(t.binary.string());
  if (explain_file(ec, t.binary, found, details)) return;
  if (auto const* const pattern = pattern_in(t.functions)) {
    if (std::none_of(found.functions.begin(), found.functions.end(),
                     [&](auto const& n) { return fits_pattern(n, *pattern); })) {
      details.message += "; " + found.path + " has no function that fits";
      add_hint(details, "* stands for any characters, ? for one; `nm` lists a binary's functions");
      return;
    }
  }
  for (auto const& wanted : list_in(t.functions)) {
    if (found.functions_named(wanted) != 0) continue;
    explain_no_function(wanted, found, details);
    return;
  }
  if (ec == sys_errc::invalid_argument) add_hint(details, "uprobe.multi takes Linux 6.6");
}
#endif

std::string_view kind_of_probe(bool retprobe, std::string_view entry, std::string_view exit) {
  return retprobe ? exit : entry;
}

}  // namespace

refusal odd_binary(std::filesystem::path const& binary, bool by_symbols) {
  if (binary.empty()) return invalid("no program or library is named", "the program that is running is /proc/self/exe");
  if (auto odd = odd_name({binary.native()}); odd.code) return odd;
  auto const path = find_binary(binary.string());
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return {};  // libbpf says why
  if (S_ISDIR(status.st_mode)) return {from_libbpf(EISDIR), "that is a directory", {}};
  if (!S_ISREG(status.st_mode)) return {from_libbpf(ENOEXEC), "that is no regular file", {}};
  if (by_symbols && has_symbols_without_size(path))
    return {from_libbpf(ENOEXEC), "its table of symbols says that each has 0 bytes", {}};
  return {};
}

attach_plan plan_of(kprobe_target const& t, program_core const&) {
  return {
      .kind = link_kind::kprobe,
      .where = std::string{kind_of_probe(t.options.retprobe, "kprobe at ", "kretprobe of ")} +
               with_offset(t.function, t.options.offset),
      .types = {program_type::kprobe},
      .refuse = [t](attach_subject const& p) -> refusal {
        if (t.function.empty()) return invalid("no function is named");
        if (auto odd = odd_name({t.function}); odd.code) return odd;
        if (t.options.retprobe && t.options.offset != 0)
          return invalid("a function's return has no offset", "leave out `offset`, or `retprobe`");
        // Of which the kernel would take the lower 32 bits.
        if (t.options.offset > UINT32_MAX) return invalid("no function is as long as " + hexadecimal(t.options.offset));
        return wrong_purpose(p, loaded_for::perf, "SEC(\"kprobe\")");
      },
      .attach =
          [t](attach_subject const& p, attachment_list& into) {
            auto options = sized<bpf_kprobe_opts>();
            options.bpf_cookie = t.options.cookie;
            options.offset = t.options.offset;
            options.retprobe = t.options.retprobe;
            return keep(bpf_program__attach_kprobe_opts(p.raw, t.function.c_str(), &options), into);
          },
      .explain = [t](error_code& ec, diagnostics& details) { explain_kprobe(ec, t.function, t.options, details); },
  };
}

attach_plan plan_of(kprobe_multi_target const& t, program_core const&) {
  return {
      .kind = link_kind::kprobe_multi,
      .where = std::string{kind_of_probe(t.retprobe, "kprobe.multi at ", "kretprobe.multi of ")} + text_of(t.functions),
      .types = {program_type::kprobe},
      .refuse = [t](attach_subject const& p) -> refusal {
        if (auto odd = odd_functions(t.functions, t.cookies); odd.code) return odd;
        if (auto wrong = wrong_purpose(p, loaded_for::kprobe_multi, "SEC(\"kprobe.multi\")"); wrong.code) return wrong;
        return odd_session(p, t.retprobe);
      },
      .attach =
          [t](attach_subject const& p, attachment_list& into) {
            auto options = sized<bpf_kprobe_multi_opts>();
            options.retprobe = t.retprobe;
#if LIBBPF_MAJOR_VERSION > 1 || LIBBPF_MINOR_VERSION >= 5
            options.session = expected_of(p.raw) == attach_type::trace_kprobe_session;
#endif
            auto const* const pattern = pattern_in(t.functions);
            if (pattern == nullptr) {
              auto names = c_strings(list_in(t.functions));
              options.syms = names.data();
              options.cnt = names.size();
              if (!t.cookies.empty()) options.cookies = reinterpret_cast<__u64 const*>(t.cookies.data());
              return keep(bpf_program__attach_kprobe_multi_opts(p.raw, nullptr, &options), into);
            }
#if LIBBPF_MAJOR_VERSION == 1 && LIBBPF_MINOR_VERSION < 3
            // libbpf takes all functions that fit, and the kernel wants none that cannot be traced.
            if (auto const addresses = traceable_addresses(*pattern); !addresses.empty()) {
              options.addrs = addresses.data();
              options.cnt = addresses.size();
              return keep(bpf_program__attach_kprobe_multi_opts(p.raw, nullptr, &options), into);
            }
#endif
            return keep(bpf_program__attach_kprobe_multi_opts(p.raw, pattern->c_str(), &options), into);
          },
      .explain = [t](error_code& ec, diagnostics& details) { explain_kprobe_multi(ec, t.functions, details); },
  };
}

attach_plan plan_of(ksyscall_target const& t, program_core const&) {
  return {
      .kind = link_kind::ksyscall,
      .where = std::string{kind_of_probe(t.options.retprobe, "ksyscall at '", "kretsyscall of '")} + t.syscall + "'",
      .types = {program_type::kprobe},
      .refuse = [t](attach_subject const& p) -> refusal {
        if (t.syscall.empty()) return invalid("no system call is named");
        if (auto odd = odd_name({t.syscall}); odd.code) return odd;
        return wrong_purpose(p, loaded_for::perf, "SEC(\"ksyscall\")");
      },
      .attach =
          [t](attach_subject const& p, attachment_list& into) {
            auto options = sized<bpf_ksyscall_opts>();
            options.bpf_cookie = t.options.cookie;
            options.retprobe = t.options.retprobe;
            return keep(bpf_program__attach_ksyscall(p.raw, t.syscall.c_str(), &options), into);
          },
      .explain = [t](error_code& ec,
                     diagnostics& details) { explain_ksyscall(ec, t.syscall, t.options.cookie, details); },
  };
}

attach_plan plan_of(uprobe_target const& t, program_core const&) {
  auto const place =
      t.function.empty() ? "offset " + hexadecimal(t.options.offset) : with_offset(t.function, t.options.offset);
  return {
      .kind = link_kind::uprobe,
      .where = std::string{kind_of_probe(t.options.retprobe, "uprobe at ", "uretprobe of ")} + place + " of " +
               t.binary.string(),
      .types = {program_type::kprobe},
      .refuse = [t](attach_subject const& p) -> refusal {
        if (auto odd = odd_binary(t.binary, !t.function.empty()); odd.code) return odd;
        if (auto odd = odd_name({t.function}); odd.code) return odd;
        if (auto odd = odd_process(t.options.pid); odd.code) return odd;
        if (t.function.empty() && t.options.offset == 0)
          return invalid("neither a function nor an offset is given",
                         "name a function, or give `offset`, counted from the file's start");
        if (!t.function.empty() && t.options.retprobe && t.options.offset != 0)
          return invalid("a function's return has no offset", "leave out `offset`, or `retprobe`");
        if (auto odd = odd_offsets(t); odd.code) return odd;
        return wrong_purpose(p, loaded_for::perf, "SEC(\"uprobe\")");
      },
      .attach =
          [t](attach_subject const& p, attachment_list& into) {
            auto const& o = t.options;
            auto options = sized<bpf_uprobe_opts>();
            options.ref_ctr_offset = o.ref_ctr_offset;
            options.bpf_cookie = o.cookie;
            options.retprobe = o.retprobe;
            options.func_name = t.function.empty() ? nullptr : t.function.c_str();
            // For 0 the kernel would take this thread, and run nothing any more once that has ended.
            auto const pid = o.pid == 0 ? getpid() : o.pid;
            return keep(bpf_program__attach_uprobe_opts(p.raw, pid, t.binary.c_str(), o.offset, &options), into);
          },
      .explain = [t](error_code& ec, diagnostics& details) { explain_uprobe(ec, t, details); },
  };
}

attach_plan plan_of(uprobe_multi_target const& t, program_core const&) {
  attach_plan plan{
      .kind = link_kind::uprobe_multi,
      .where = std::string{kind_of_probe(t.retprobe, "uprobe.multi at ", "uretprobe.multi of ")} +
               text_of(t.functions) + " of " + t.binary.string(),
      .types = {program_type::kprobe},
      .refuse = [t](attach_subject const& p) -> refusal {
        if (auto odd = odd_binary(t.binary, true); odd.code) return odd;
        if (auto odd = odd_process(t.pid); odd.code) return odd;
        if (auto odd = odd_functions(t.functions, t.cookies); odd.code) return odd;
        if (auto wrong = wrong_purpose(p, loaded_for::uprobe_multi, "SEC(\"uprobe.multi\")"); wrong.code) return wrong;
        return odd_session(p, t.retprobe);
      },
  };
#if LIBBPF_MAJOR_VERSION > 1 || LIBBPF_MINOR_VERSION >= 3
  plan.attach = [t](attach_subject const& p, attachment_list& into) {
    auto options = sized<bpf_uprobe_multi_opts>();
    options.retprobe = t.retprobe;
#if LIBBPF_MAJOR_VERSION > 1 || LIBBPF_MINOR_VERSION >= 6
    options.session = expected_of(p.raw) == attach_type::trace_uprobe_session;
#endif
    auto const* const pattern = pattern_in(t.functions);
    auto names = c_strings(list_in(t.functions));
    if (pattern == nullptr) {
      options.syms = names.data();
      options.cnt = names.size();
      if (!t.cookies.empty()) options.cookies = reinterpret_cast<__u64 const*>(t.cookies.data());
    }
    return keep(bpf_program__attach_uprobe_multi(p.raw, t.pid, t.binary.c_str(),
                                                 pattern != nullptr ? pattern->c_str() : nullptr, &options),
                into);
  };
  plan.explain = [t](error_code& ec, diagnostics& details) { explain_uprobe_multi(ec, t, details); };
#else
  plan.libbpf_version = "1.3";
#endif
  return plan;
}

attach_plan plan_of(usdt_target const& t, program_core const& core) {
  return {
      .kind = link_kind::usdt,
      .where = "USDT " + t.provider + ":" + t.name + " of " + t.binary.string(),
      .types = {program_type::kprobe},
      .refuse = [t](attach_subject const& p) -> refusal {
        if (auto odd = odd_binary(t.binary, false); odd.code) return odd;
        if (auto odd = odd_name({t.provider, t.name}); odd.code) return odd;
        if (auto odd = odd_process(t.options.pid); odd.code) return odd;
        if (t.provider.empty() || t.name.empty()) return invalid("a USDT has a provider and a name, and one is empty");
        if (purpose_of(p.raw) == loaded_for::kprobe_multi) return wrong_purpose(p, loaded_for::perf, "SEC(\"usdt\")");
        return {};
      },
      .attach =
          [t](attach_subject const& p, attachment_list& into) {
            auto options = sized<bpf_usdt_opts>();
            options.usdt_cookie = t.options.cookie;
            return keep(bpf_program__attach_usdt(p.raw, t.options.pid, t.binary.c_str(), t.provider.c_str(),
                                                 t.name.c_str(), &options),
                        into, p.object);
          },
      .explain =
          [t, section = core.section](error_code& ec, diagnostics& details) {
            explain_usdt(ec, t, details);
            // libbpf attaches by uprobe.multi where the kernel has it, and that takes a program loaded for it.
            if (ec == sys_errc::invalid_argument && details.hint.empty() && !section.starts_with("usdt"))
              details.hint =
                  "a USDT takes SEC(\"usdt\") with libbpf 1.3 or later on Linux 6.6 or later; this program's is "
                  "SEC(\"" +
                  section + "\")";
          },
  };
}

}  // namespace tinybpf::detail
