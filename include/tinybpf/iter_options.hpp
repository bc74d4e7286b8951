// What an iterator walks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

namespace tinybpf {

class map;

namespace detail {
struct iter_subject;
struct iter_access;
}  // namespace detail

/// Which way an iterator of cgroups goes (enum bpf_cgroup_iter_order).
enum class cgroup_iter_order : std::uint32_t {
  self_only = 1,         ///< The cgroup alone.
  descendants_pre = 2,   ///< It and those below it, parents before their children.
  descendants_post = 3,  ///< It and those below it, children before their parents.
  ancestors_up = 4,      ///< It and those above it, up to the root.
};

/// What `program::attach_iter` is told to walk (union bpf_iter_link_info): nothing more than the program's section
/// says, or one map, cgroups, or the tasks of one thread or process.
///
/// A cheap value: copies share what they hold. Descriptors are duplicated when they are given, so that the caller may
/// close his; one that cannot be duplicated (EBADF, EMFILE) is reported by `attach_iter`. The iterator holds the map
/// or the cgroup by itself: the options are needed only until it is attached. Of a process or a thread the kernel keeps
/// the number, also where a descriptor was given: once it has ended nothing is walked, or what has its number then.
///
/// Thread-safety: as of a shared_ptr.
class iter_options {
 public:
  /// All there is: tasks, maps, programs, sockets, whatever the iterator is of.
  iter_options() noexcept = default;

  /// The elements of a map, for bpf_map_elem, bpf_sk_storage_map and sockmap.
  [[nodiscard]] static iter_options of_map(map const& m);
  /// @overload By its descriptor.
  [[nodiscard]] static iter_options of_map_fd(int map_fd);

  /// cgroups, from the one at a path on, such as "/sys/fs/cgroup/system.slice". The path is opened by `attach_iter`.
  [[nodiscard]] static iter_options of_cgroup(std::filesystem::path path, cgroup_iter_order order);
  /// @overload By its descriptor.
  [[nodiscard]] static iter_options of_cgroup_fd(int cgroup_fd, cgroup_iter_order order);
  /// @overload From the root of the cgroup v2 hierarchy on.
  [[nodiscard]] static iter_options of_cgroups(cgroup_iter_order order);

  /// One thread, by its number in this process's PID namespace, for task, task_file and task_vma. Linux 6.1.
  [[nodiscard]] static iter_options of_thread(int tid);
  /// The threads of one process.
  [[nodiscard]] static iter_options of_process(int pid);
  /// @overload By a descriptor, as pidfd_open(2) gives it.
  [[nodiscard]] static iter_options of_pid_fd(int pid_fd);

 private:
  friend struct detail::iter_access;
  explicit iter_options(std::shared_ptr<detail::iter_subject const> target) noexcept;

  std::shared_ptr<detail::iter_subject const> target_;  // null: all there is
};

}  // namespace tinybpf
