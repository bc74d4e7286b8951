#include "detail/attaching.hpp"

#include <tinybpf/detail/owned_descriptor.hpp>
#include <tinybpf/iter_options.hpp>
#include <tinybpf/map.hpp>
#include <tinybpf/program.hpp>

#include <fcntl.h>
#include <linux/bpf.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace tinybpf {
namespace detail {

/// What an iterator walks, or options ask for.
enum class iter_walks : std::uint8_t { everything, a_map, cgroups, tasks };

struct iter_access {
  /// Null: all there is.
  static iter_subject const* target(iter_options const& o) noexcept { return o.target_.get(); }
};

/// As given. Only what belongs to `kind` is set.
struct iter_subject {
  iter_walks kind = iter_walks::everything;
  tinybpf::map map{};            // a handle,
  std::filesystem::path path{};  // or a path,
  bool by_path = false;
  owned_descriptor descriptor{};  // or a descriptor of a map, cgroup or process,
  error_code not_duplicated{};    // or why there is none
  cgroup_iter_order order{};
  int tid = 0;
  int pid = 0;
  std::string words{};  // behind "iterator 'task'"
};

namespace {

struct iter_kind {
  std::string_view name;
  iter_walks walks;
};

// The kernel looks at what it is told to walk only where the iterator takes that, and ignores the rest in silence.
constexpr std::array iter_kinds{
    iter_kind{"bpf_map_elem", iter_walks::a_map},
    iter_kind{"bpf_sk_storage_map", iter_walks::a_map},
    iter_kind{"sockmap", iter_walks::a_map},
    iter_kind{"cgroup", iter_walks::cgroups},
    iter_kind{"task", iter_walks::tasks},
    iter_kind{"task_file", iter_walks::tasks},
    iter_kind{"task_vma", iter_walks::tasks},
    iter_kind{"bpf_map", iter_walks::everything},
    iter_kind{"bpf_prog", iter_walks::everything},
    iter_kind{"bpf_link", iter_walks::everything},
    iter_kind{"dmabuf", iter_walks::everything},
    iter_kind{"ipv6_route", iter_walks::everything},
    iter_kind{"kmem_cache", iter_walks::everything},
    iter_kind{"ksym", iter_walks::everything},
    iter_kind{"netlink", iter_walks::everything},
    iter_kind{"tcp", iter_walks::everything},
    iter_kind{"udp", iter_walks::everything},
    iter_kind{"unix", iter_walks::everything},
};

constexpr std::array<std::string_view, 4> what_is_walked{"all there is", "one map", "cgroups", "tasks"};
constexpr std::array<std::string_view, 4> how_to_say{
    "give no iter_options",
    "iter_options::of_map says which",
    "iter_options::of_cgroup says which, and in which order",
    "iter_options::of_process or of_thread says which",
};

/// "task_file" of "iter.s/task_file".
std::string_view name_in_section(std::string_view section) {
  auto const slash = section.find('/');
  return slash == section.npos ? std::string_view{} : section.substr(slash + 1);
}

iter_kind const* kind_of(std::string_view name) {
  for (auto const& k : iter_kinds)
    if (k.name == name) return &k;
  return nullptr;
}

std::shared_ptr<iter_subject> target_of(iter_walks kind, std::string words) {
  auto target = std::make_shared<iter_subject>();
  target->kind = kind;
  target->words = std::move(words);
  return target;
}

// The kernel would take 0 for none at all.
constexpr int lowest_fd = 3;

void duplicate_into(iter_subject& target, int fd) {
  target.descriptor.reset(fcntl(fd, F_DUPFD_CLOEXEC, lowest_fd));
  if (target.descriptor.get() < 0) target.not_duplicated = last_errno();
}

std::string explain_unopened(error_code code) {
  namespace sys = boost::system::errc;
  if (code == sys::no_such_file_or_directory || code == sys::not_a_directory)
    return "a cgroup is a directory of a cgroup2 file system, such as /sys/fs/cgroup/system.slice";
  if (code == sys::permission_denied) return "this user may not read that directory, or one above it";
  return {};
}

/// What the kernel is told. `opened` lives until it was told.
bpf_iter_link_info info_of(iter_subject const& target, owned_descriptor& opened, error_code& ec, diagnostics& details) {
  bpf_iter_link_info info{};
  if (target.not_duplicated) {
    report(ec, details, target.not_duplicated, "cannot duplicate the descriptor of what is to be walked");
    return info;
  }
  switch (target.kind) {
    case iter_walks::everything:
      break;
    case iter_walks::a_map: {
      int fd = target.descriptor.get();
      if (fd < 0) {
        auto const& core = handle_access::core(target.map);
        if (!core)
          report(ec, details, errc::closed, "an iterator of no map");
        else if (core->usable(true, "the iterated map '" + core->name + "'", ec, details))
          fd = core->fd;
      }
      if (ec) details.map = target.map.name();
      info.map.map_fd = static_cast<__u32>(fd);
      break;
    }
    case iter_walks::cgroups:
      if (target.by_path) {
        opened.reset(open(target.path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (opened.get() >= 0 && opened.get() < lowest_fd)
          opened.reset(fcntl(opened.get(), F_DUPFD_CLOEXEC, lowest_fd));
        if (opened.get() < 0) {
          auto const code = last_errno();
          report(ec, details, code, "cannot open the cgroup " + target.path.string(), explain_unopened(code));
          break;
        }
      }
      // Neither is the hierarchy's root.
      if (opened.get() >= 0)
        info.cgroup.cgroup_fd = static_cast<__u32>(opened.get());
      else if (target.descriptor.get() >= 0)
        info.cgroup.cgroup_fd = static_cast<__u32>(target.descriptor.get());
      info.cgroup.order = static_cast<bpf_cgroup_iter_order>(target.order);
      break;
    case iter_walks::tasks:
      if (target.descriptor.get() < 0 && target.tid <= 0 && target.pid <= 0) {
        // The kernel would take 0 for all tasks.
        report(ec, details, error_code{EINVAL, boost::system::system_category()},
               "there is no " + target.words.substr(std::string_view{" of "}.size()));
        break;
      }
      info.task.tid = static_cast<__u32>(target.tid);
      info.task.pid = static_cast<__u32>(target.pid);
      if (target.descriptor.get() >= 0) info.task.pid_fd = static_cast<__u32>(target.descriptor.get());
      break;
  }
  return info;
}

std::string explain(error_code code, iter_walks wanted, iter_subject const* target) {
  namespace sys = boost::system::errc;
  if (target == nullptr && (wanted == iter_walks::a_map || wanted == iter_walks::cgroups))
    return "this iterator has to be told what to walk: " + std::string{how_to_say[static_cast<std::size_t>(wanted)]};
  if (wanted == iter_walks::a_map && (code == sys::invalid_argument || code == sys::permission_denied))
    return "such an iterator walks maps of certain types only, and the program may read no more of a key and of a "
           "value than the map's have";
  if (wanted == iter_walks::cgroups && code == sys::bad_file_descriptor)
    return "the kernel takes directories of a cgroup file system alone";
  if (wanted == iter_walks::tasks && target != nullptr &&
      (code == sys::no_such_process || code == sys::bad_file_descriptor))
    return "there is no such process or thread, or it has ended";
  if (target == nullptr || (code != sys::invalid_argument && code != sys::argument_list_too_long)) return {};
  if (wanted == iter_walks::tasks) return "telling an iterator which tasks to walk takes Linux 6.1";
  if (wanted == iter_walks::cgroups) return "an iterator of cgroups takes Linux 6.1";
  return {};
}

}  // namespace

attach_plan plan_of(iter_target const& t, program_core const& core) {
  struct attempt {
    owned_descriptor opened;
    bool wrong_type = false;
    bool wrong_target = false;
    error_code own;
    diagnostics said;
  };
  auto const made = std::make_shared<attempt>();
  auto const name = std::string{name_in_section(core.section)};
  auto const* const kind = kind_of(name);
  auto const* const target = iter_access::target(t.options);
  auto const asked = target == nullptr ? iter_walks::everything : target->kind;
  return {
      .kind = link_kind::iter,
      .where = "iterator '" + name + "'" + (target == nullptr ? std::string{} : target->words),
      .types = {program_type::tracing},
      .attach =
          [=](attach_subject const& p, attachment_list& into) {
            made->wrong_type = bpf_program__expected_attach_type(p.raw) != BPF_TRACE_ITER;
            made->wrong_target =
                !made->wrong_type && kind != nullptr && asked != iter_walks::everything && asked != kind->walks;
            bpf_iter_link_info info{};
            if (!made->wrong_type && !made->wrong_target && target != nullptr)
              info = info_of(*target, made->opened, made->own, made->said);
            if (made->wrong_type || made->wrong_target || made->own) return EOPNOTSUPP;
            auto options = sized<bpf_iter_attach_opts>();
            if (target != nullptr) {
              options.link_info = &info;
              options.link_info_len = sizeof info;
            }
            return keep(bpf_program__attach_iter(p.raw, &options), into);
          },
      .explain =
          [=, section = core.section](error_code& ec, diagnostics& details) {
            if (made->wrong_type) {
              ec = errc::wrong_program_type;
              details.hint =
                  "only an iterator, as SEC(\"iter/task\") makes it, is attached so; this one is of section '" +
                  section + "'";
            } else if (made->wrong_target) {
              ec = errc::not_supported;
              details.hint = "it walks " + std::string{what_is_walked[static_cast<std::size_t>(kind->walks)]} + ": " +
                             std::string{how_to_say[static_cast<std::size_t>(kind->walks)]};
            } else if (made->own) {
              ec = made->own;
              details.message += ": " + made->said.message;
              details.hint = made->said.hint;
              details.map = made->said.map;
            } else if (ec != boost::system::errc::operation_not_permitted) {
              details.hint = explain(ec, kind == nullptr ? asked : kind->walks, target);
            }
          },
  };
}

}  // namespace detail

using detail::iter_walks;

iter_options::iter_options(std::shared_ptr<detail::iter_subject const> target) noexcept : target_{std::move(target)} {}

iter_options iter_options::of_map(map const& m) {
  auto target = detail::target_of(iter_walks::a_map, " of map '" + std::string{m.name()} + "'");
  target->map = m;
  return iter_options{std::move(target)};
}

iter_options iter_options::of_map_fd(int map_fd) {
  auto target = detail::target_of(iter_walks::a_map, " of the map with descriptor " + std::to_string(map_fd));
  detail::duplicate_into(*target, map_fd);
  return iter_options{std::move(target)};
}

iter_options iter_options::of_cgroup(std::filesystem::path path, cgroup_iter_order order) {
  auto target = detail::target_of(iter_walks::cgroups, " of cgroup " + path.string());
  target->path = std::move(path);
  target->by_path = true;
  target->order = order;
  return iter_options{std::move(target)};
}

iter_options iter_options::of_cgroup_fd(int cgroup_fd, cgroup_iter_order order) {
  auto target = detail::target_of(iter_walks::cgroups, " of the cgroup with descriptor " + std::to_string(cgroup_fd));
  detail::duplicate_into(*target, cgroup_fd);
  target->order = order;
  return iter_options{std::move(target)};
}

iter_options iter_options::of_cgroups(cgroup_iter_order order) {
  auto target = detail::target_of(iter_walks::cgroups, " of the whole hierarchy");
  target->order = order;
  return iter_options{std::move(target)};
}

iter_options iter_options::of_thread(int tid) {
  auto target = detail::target_of(iter_walks::tasks, " of thread " + std::to_string(tid));
  target->tid = tid;
  return iter_options{std::move(target)};
}

iter_options iter_options::of_process(int pid) {
  auto target = detail::target_of(iter_walks::tasks, " of process " + std::to_string(pid));
  target->pid = pid;
  return iter_options{std::move(target)};
}

iter_options iter_options::of_pid_fd(int pid_fd) {
  auto target = detail::target_of(iter_walks::tasks, " of the process with descriptor " + std::to_string(pid_fd));
  detail::duplicate_into(*target, pid_fd);
  return iter_options{std::move(target)};
}

}  // namespace tinybpf
