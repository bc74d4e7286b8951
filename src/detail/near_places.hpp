// What there is to attach to: looked up only after an attach has failed, to say what was asked for in vain and what is
// near to it.
#pragma once

#include <tinybpf/error.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tinybpf::detail {

/// Adds "; did you mean 'x'? ..." to the message, and the names to the diagnostics: all, or the nearest of very many.
void suggest(std::string_view wanted, std::vector<std::string> names, diagnostics& details);

/// A file of tracefs, wherever that is mounted; empty if there is none of that name.
std::string tracefs_file(std::string_view name);

/// The folder of tracefs, wherever that is mounted, and whether this thread can read it or not.
bool tracefs_is_mounted();

/// True if the kernel has this kind of events for perf, such as "kprobe".
bool has_perf_device(std::string_view name);

/// True if the name is of the form that the pattern has: * and ? stand for any and for one character.
bool fits_pattern(std::string_view name, std::string_view pattern);

/// Functions of the kernel that can be traced, as tracefs lists them or, where that cannot be read, all functions.
std::vector<std::string> kernel_functions();

/// Their addresses, for those whose name fits. Empty if tracefs cannot be read, or the kernel hides its addresses.
std::vector<unsigned long> traceable_addresses(std::string_view pattern);

/// System calls, as libbpf names them.
std::vector<std::string> system_calls();

/// What is in the folder of events: categories, or the tracepoints of one. Empty if that cannot be read.
std::vector<std::string> tracepoints(std::string_view category = {});

/// Of the kernel itself, without its modules.
std::vector<std::string> raw_tracepoints();

/// Says what is near to the function or BTF tracepoint that libbpf's text about a load calls unknown, if it does. The
/// section is that of the program that was refused.
void suggest_trace_target(std::string_view section, diagnostics& details);

/// True if a struct of the kernel has a member of that name.
bool kernel_struct_has(char const* name, std::string_view member);

/// The functions of a loaded program that others may replace. Empty if it has no BTF.
std::vector<std::string> global_functions_of(int program_fd);

/// Where libbpf finds a program or library that is named without a slash; empty if nowhere.
std::string find_binary(std::string const& binary);

/// True if it is an ELF file with a table of symbols that says that each of them has no size.
bool has_symbols_without_size(std::string const& path);

/// A program or library, and what can be attached to in it.
struct binary_contents {
  int error = 0;     ///< Why it could not be read: an errno, EISDIR and ENOEXEC (not an ELF file) among them.
  std::string path;  ///< Where it was found; empty if a name without a slash was found nowhere.
  std::vector<std::string> functions;                      ///< Sorted, each once.
  std::vector<std::string> chosen_at_run_time;             ///< IFUNCs, which stand for functions of other names.
  std::vector<std::pair<std::string, std::string>> usdts;  ///< Provider and name, sorted, each once.

  std::size_t functions_named(std::string_view name) const;  ///< At how many places.

 private:
  friend binary_contents contents_of_binary(std::string const& binary);
  std::vector<std::pair<std::string, unsigned long long>> places_;
};

binary_contents contents_of_binary(std::string const& binary);

}  // namespace tinybpf::detail
