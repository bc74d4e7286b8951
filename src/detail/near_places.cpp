#include "near_places.hpp"

#include "report.hpp"

#include <tinybpf/detail/owned_descriptor.hpp>

#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <set>
#include <system_error>
#include <utility>

namespace tinybpf::detail {
namespace {

constexpr std::array tracefs_folders{"/sys/kernel/tracing/", "/sys/kernel/debug/tracing/"};

// Never more than the edit distance, and quick: how many characters one has that the other has not.
std::size_t least_distance(std::string_view a, std::string_view b) {
  std::array<int, 256> surplus{};
  for (char const c : a) ++surplus[static_cast<unsigned char>(c)];
  for (char const c : b) --surplus[static_cast<unsigned char>(c)];
  std::size_t more = 0;
  std::size_t fewer = 0;
  for (char const c : a)
    if (auto& n = surplus[static_cast<unsigned char>(c)]; n > 0) more += static_cast<std::size_t>(std::exchange(n, 0));
  for (char const c : b)
    if (auto& n = surplus[static_cast<unsigned char>(c)]; n < 0)
      fewer += static_cast<std::size_t>(-std::exchange(n, 0));
  return std::max(more, fewer);
}

struct free_btf {
  void operator()(::btf* b) const noexcept { btf__free(b); }
};
using owned_btf = std::unique_ptr<::btf, free_btf>;

owned_btf kernel_btf() { return owned_btf{btf__load_vmlinux_btf()}; }

// The names of the kernel's types of a kind, without the prefix that they all have.
std::vector<std::string> kernel_types(__u32 kind, std::string_view prefix) {
  std::vector<std::string> all;
  auto const types = kernel_btf();
  if (!types) return all;
  for (__u32 id = 1; id < btf__type_cnt(types.get()); ++id) {
    auto const* const type = btf__type_by_id(types.get(), id);
    if (::btf_kind(type) != kind) continue;
    std::string_view const name = btf__name_by_offset(types.get(), type->name_off);
    if (name.starts_with(prefix)) all.emplace_back(name.substr(prefix.size()));
  }
  return all;
}

struct end_elf {
  void operator()(Elf* e) const noexcept { elf_end(e); }
};

// Not mapped: the kernel puts probes into a mapping of a probed file as well, and counts their counters up, for good.
// And a file that gets shorter meanwhile would be SIGBUS.
std::unique_ptr<Elf, end_elf> begin_elf(owned_descriptor const& file) {
  elf_version(EV_CURRENT);
  return std::unique_ptr<Elf, end_elf>{elf_begin(file.get(), ELF_C_READ, nullptr)};
}

// Also of what is no regular file by now: without waiting for anybody.
owned_descriptor open_to_read(std::string const& path) {
  return owned_descriptor{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
}

void sort_once(auto& all) {
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
}

/// Calls `f(name, module)` for each line of available_filter_functions: "name" or "name [module]".
template <class F>
bool each_traceable(F f) {
  std::ifstream file{tracefs_file("available_filter_functions")};
  if (!file) return false;
  bool any = false;
  for (std::string line; std::getline(file, line); any = true) f(std::string_view{line}.substr(0, line.find(' ')));
  return any;
}

/// Calls `f(address, name)` for each function in /proc/kallsyms: "address type name [module]".
template <class F>
void each_kernel_function(F f) {
  std::ifstream file{"/proc/kallsyms"};
  for (std::string line; std::getline(file, line);) {
    auto const space = line.find(' ');
    if (space == std::string::npos || space + 3 >= line.size()) continue;
    if (std::strchr("tTwW", line[space + 1]) == nullptr) continue;
    auto const name = std::string_view{line}.substr(space + 3);
    f(std::strtoul(line.c_str(), nullptr, 16), name.substr(0, name.find_first_of(" \t")));
  }
}

// The words behind the three addresses of a note are provider, name and arguments.
void add_usdts(Elf_Data* data, bool wide, std::vector<std::pair<std::string, std::string>>& all) {
  std::string_view const memory{static_cast<char const*>(data->d_buf), data->d_size};
  GElf_Nhdr note{};
  std::size_t name_at = 0;
  std::size_t text_at = 0;
  constexpr std::string_view of_usdts{"stapsdt\0", 8};
  for (std::size_t at = 0; (at = gelf_getnote(data, at, &note, &name_at, &text_at)) > 0;) {
    if (note.n_type != 3 || memory.substr(name_at, note.n_namesz) != of_usdts) continue;
    auto text = memory.substr(text_at, note.n_descsz);
    text.remove_prefix(std::min<std::size_t>(text.size(), wide ? 24 : 12));
    auto const first = text.find('\0');
    if (first == std::string_view::npos) continue;
    auto const second = text.find('\0', first + 1);
    if (second == std::string_view::npos) continue;
    all.emplace_back(text.substr(0, first), text.substr(first + 1, second - first - 1));
  }
}

}  // namespace

void suggest(std::string_view wanted, std::vector<std::string> names, diagnostics& details) {
  constexpr std::size_t few = 50;
  constexpr std::size_t shown = 8;
  if (names.empty()) return;
  sort_once(names);
  if (names.size() <= few) {
    details.message += "; " + near_names(wanted, names);
    details.names = std::move(names);
    return;
  }
  // Of tens of thousands, most are too far away to be looked at closely; of the others, the nearest at first sight are.
  constexpr std::size_t closely = 1000;
  auto const bearable = std::max<std::size_t>(2, wanted.size() / 3);
  std::vector<std::pair<std::size_t, std::string>> candidates;
  for (auto& n : names) {
    auto const longer = n.size() > wanted.size() ? n.size() - wanted.size() : wanted.size() - n.size();
    auto const distance = longer > bearable ? longer : least_distance(wanted, n);
    if (distance > bearable && (wanted.size() < 4 || n.find(wanted) == std::string::npos)) continue;
    candidates.emplace_back(distance, std::move(n));
  }
  names.clear();
  if (candidates.empty()) return;
  auto const looked_at = candidates.begin() + static_cast<std::ptrdiff_t>(std::min(closely, candidates.size()));
  std::partial_sort(candidates.begin(), looked_at, candidates.end());
  std::transform(candidates.begin(), looked_at, std::back_inserter(names), [](auto& c) { return std::move(c.second); });
  auto const closest = nearest(wanted, names, 1).front();
  details.names = nearest(wanted, std::move(names), shown);
  details.message += "; did you mean '" + closest + "'?";
  if (details.names.size() < 2) return;
  details.message += " Near are";
  for (auto const& n : details.names) details.message += (&n == details.names.data() ? " " : ", ") + n;
}

std::string tracefs_file(std::string_view name) {
  for (auto const* const folder : tracefs_folders)
    if (auto file = folder + std::string{name}; access(file.c_str(), F_OK) == 0) return file;
  return {};
}

bool tracefs_is_mounted() {
  // Who may not enter the folder gets EACCES for what is in it.
  return std::any_of(tracefs_folders.begin(), tracefs_folders.end(), [](std::string const folder) {
    return access((folder + "events").c_str(), F_OK) == 0 || errno == EACCES;
  });
}

bool has_perf_device(std::string_view name) {
  return access(("/sys/bus/event_source/devices/" + std::string{name} + "/type").c_str(), F_OK) == 0;
}

bool fits_pattern(std::string_view name, std::string_view pattern) {
  // To go back to: behind the last *, with one more character taken by it.
  auto star = std::string_view::npos;
  std::size_t taken = 0;
  std::size_t n = 0;
  std::size_t p = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      taken = n;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++taken;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

std::vector<std::string> kernel_functions() {
  std::vector<std::string> all;
  if (!each_traceable([&](std::string_view name) { all.emplace_back(name); }))
    each_kernel_function([&](unsigned long, std::string_view name) { all.emplace_back(name); });
  return all;
}

std::vector<unsigned long> traceable_addresses(std::string_view pattern) {
  std::set<std::string, std::less<>> names;
  each_traceable([&](std::string_view name) {
    if (fits_pattern(name, pattern)) names.emplace(name);
  });
  std::vector<unsigned long> all;
  if (names.empty()) return all;
  each_kernel_function([&](unsigned long address, std::string_view name) {
    if (address != 0 && names.contains(name)) all.push_back(address);
  });
  sort_once(all);
  return all;
}

std::vector<std::string> system_calls() {
  std::vector<std::string> all;
  each_kernel_function([&](unsigned long, std::string_view name) {
    for (std::string_view const prefix : {"__x64_sys_", "__arm64_sys_", "__s390x_sys_", "__riscv_sys_", "__se_sys_"})
      if (name.starts_with(prefix)) all.emplace_back(name.substr(prefix.size()));
  });
  return all;
}

std::vector<std::string> tracepoints(std::string_view category) {
  std::vector<std::string> all;
  std::error_code ec;
  auto const folder = tracefs_file("events/" + std::string{category});
  for (std::filesystem::directory_iterator i{folder, ec}, end; !ec && i != end; i.increment(ec))
    if (i->is_directory(ec)) all.push_back(i->path().filename().string());
  return all;
}

std::vector<std::string> raw_tracepoints() {
  return kernel_types(BTF_KIND_TYPEDEF, "btf_trace_");  // the typedefs of the functions that tracepoints call
}

void suggest_trace_target(std::string_view section, diagnostics& details) {
  constexpr std::string_view before = "failed to find kernel BTF type ID of '";
  std::string_view const log = details.log;
  auto const at = log.find(before);
  if (at == std::string_view::npos) return;
  auto name = log.substr(at + before.size());
  name = name.substr(0, name.find('\''));
  auto const prefix = section.substr(0, section.find('/'));
  bool const tracepoint = prefix == "tp_btf";
  bool const lsm = prefix.starts_with("lsm");
  details.message += "; the kernel has no " +
                     std::string{tracepoint ? "tracepoint"
                                 : lsm      ? "LSM hook"
                                            : "function"} +
                     " '" + std::string{name} + "' in its BTF";
  if (details.hint.empty() && !tracepoint && !lsm) details.hint = "what is inlined is not there";
  suggest(name, tracepoint ? raw_tracepoints() : kernel_types(BTF_KIND_FUNC, lsm ? "bpf_lsm_" : ""), details);
}

bool kernel_struct_has(char const* name, std::string_view member) {
  auto const types = kernel_btf();
  if (!types) return false;
  auto const id = btf__find_by_name_kind(types.get(), name, BTF_KIND_STRUCT);
  if (id < 0) return false;
  auto const* const type = btf__type_by_id(types.get(), static_cast<__u32>(id));
  auto const* const members = btf_members(type);
  return std::any_of(members, members + btf_vlen(type),
                     [&](btf_member const& m) { return btf__name_by_offset(types.get(), m.name_off) == member; });
}

std::vector<std::string> global_functions_of(int program_fd) {
  std::vector<std::string> all;
  bpf_prog_info info{};
  __u32 size = sizeof info;
  if (bpf_obj_get_info_by_fd(program_fd, &info, &size) != 0 || info.btf_id == 0) return all;
  owned_btf const types{btf__load_from_kernel_by_id(info.btf_id)};
  if (!types) return all;
  for (__u32 id = 1; id < btf__type_cnt(types.get()); ++id) {
    auto const* const type = btf__type_by_id(types.get(), id);
    if (btf_is_func(type) && btf_vlen(type) == BTF_FUNC_GLOBAL)
      all.emplace_back(btf__name_by_offset(types.get(), type->name_off));
  }
  return all;
}

// As libbpf resolves it: libraries and programs have folders of their own.
std::string find_binary(std::string const& binary) {
  if (binary.find('/') != std::string::npos) return binary;
  bool const library = binary.ends_with(".so") || binary.find(".so.") != std::string::npos;
  auto const variable = [](char const* name) {
    char const* const value = std::getenv(name);
    return std::string{value != nullptr ? value : ""};
  };
  std::string folders = library ? variable("LD_LIBRARY_PATH") + ":/usr/lib64:/usr/lib" : variable("PATH");
  if (library) {
#if defined(__x86_64__)
    folders += ":/lib/x86_64-linux-gnu";
#elif defined(__aarch64__)
    folders += ":/lib/aarch64-linux-gnu";
#endif
  } else {
    folders += ":/usr/bin:/usr/sbin";
  }
  for (std::size_t at = 0; at < folders.size();) {
    auto const end = std::min(folders.find(':', at), folders.size());
    auto file = folders.substr(at, end - at) + "/" + binary;
    if (end > at && faccessat(AT_FDCWD, file.c_str(), library ? R_OK : R_OK | X_OK, AT_EACCESS) == 0) return file;
    at = end + 1;
  }
  return {};
}

std::size_t binary_contents::functions_named(std::string_view name) const {
  return static_cast<std::size_t>(
      std::count_if(places_.begin(), places_.end(), [&](auto const& p) { return p.first == name; }));
}

bool has_symbols_without_size(std::string const& path) {
  auto const file = open_to_read(path);
  if (file.get() < 0) return false;
  auto const elf = begin_elf(file);
  for (Elf_Scn* section = nullptr; elf && (section = elf_nextscn(elf.get(), section)) != nullptr;) {
    GElf_Shdr head{};
    if (gelf_getshdr(section, &head) == nullptr) continue;
    if ((head.sh_type == SHT_SYMTAB || head.sh_type == SHT_DYNSYM) && head.sh_entsize == 0) return true;
  }
  return false;
}

binary_contents contents_of_binary(std::string const& binary) {
  binary_contents found;
  found.path = find_binary(binary);
  if (found.path.empty()) {
    found.error = ENOENT;
    return found;
  }
  auto const file = open_to_read(found.path);
  struct stat status {};
  if (file.get() < 0 || fstat(file.get(), &status) != 0) {
    found.error = errno;
    return found;
  }
  if (!S_ISREG(status.st_mode)) {
    found.error = S_ISDIR(status.st_mode) ? EISDIR : ENOEXEC;
    return found;
  }
  auto const elf = begin_elf(file);
  GElf_Ehdr header{};
  if (!elf || gelf_getehdr(elf.get(), &header) == nullptr) {
    found.error = ENOEXEC;
    return found;
  }
  bool const wide = header.e_ident[EI_CLASS] == ELFCLASS64;
  // A small file can say that it has very much, in tables and names that overlap.
  constexpr std::size_t longest = 16'384;
  std::size_t left = std::size_t{1} << 28;
  auto const spend = [&](std::size_t size) { return std::exchange(left, left - std::min(left, size)) >= size; };
  std::set<GElf_Word> tables;  // libbpf looks at the first of each type
  for (Elf_Scn* section = nullptr; (section = elf_nextscn(elf.get(), section)) != nullptr;) {
    GElf_Shdr head{};
    if (gelf_getshdr(section, &head) == nullptr) continue;
    bool const symbols = head.sh_type == SHT_SYMTAB || head.sh_type == SHT_DYNSYM;
    if (!symbols && head.sh_type != SHT_NOTE) continue;
    if (symbols && !tables.insert(head.sh_type).second) continue;
    if (!spend(head.sh_size)) break;
    auto* const data = elf_getdata(section, nullptr);
    if (data == nullptr || data->d_buf == nullptr) continue;
    if (!symbols) {
      add_usdts(data, wide, found.usdts);
      continue;
    }
    GElf_Sym symbol{};
    for (int i = 0; gelf_getsym(data, i, &symbol) != nullptr; ++i) {
      auto const type = GELF_ST_TYPE(symbol.st_info);
      if ((type != STT_FUNC && type != STT_GNU_IFUNC) || symbol.st_shndx == SHN_UNDEF) continue;
      char const* const name = elf_strptr(elf.get(), head.sh_link, symbol.st_name);
      if (name == nullptr || *name == '\0') continue;
      auto const length = strnlen(name, longest);
      if (length == longest) continue;
      if (!spend(length + sizeof(std::string))) break;
      if (type == STT_GNU_IFUNC)
        found.chosen_at_run_time.emplace_back(name);
      else
        found.places_.emplace_back(name, symbol.st_value);
    }
  }
  sort_once(found.places_);
  sort_once(found.usdts);
  for (auto const& p : found.places_) found.functions.push_back(p.first);
  sort_once(found.functions);
  return found;
}

}  // namespace tinybpf::detail
