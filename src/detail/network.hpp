// What is given by name or number, looked up; and what attachments without a bpf_link have in common.
#pragma once

#include "link_state.hpp"

#include <tinybpf/attach_target.hpp>
#include <tinybpf/detail/owned_descriptor.hpp>

#include <bpf/bpf.h>
#include <linux/netlink.h>
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tinybpf::detail {

/// Sends a request to the kernel's routing socket, which begins with this header, and hands over what it answers,
/// message by message, until there is no more or `see` returns false. 0, or the errno that it answered or that there
/// was instead. The request asks for a dump, or for an acknowledgement, with which the answer ends.
int ask_route(nlmsghdr const& request, std::function<bool(std::uint16_t type, std::span<char const> body)> const& see);

/// The interface's number in this thread's network namespace, or a negative errno, which is -ENODEV if there is none.
int index_of(interface_ref const& interface);

/// "interface 'eth0'", or with number and name where both are known.
std::string text_of(interface_ref const& interface);

/// All that there are.
std::vector<std::string> interface_names();

/// "'/sys/fs/cgroup/x'" or "descriptor 5".
std::string text_of(path_or_fd const& place);

/// "program 'x' (id 5)", or without its name if that may not be asked for.
std::string text_of_program(std::uint32_t id);

/// A descriptor that is lent, or one that was opened for the path.
class opened {
 public:
  explicit opened(path_or_fd const& place, int flags);
  /// -1 if it could not be opened: then errno is as open() left it, or EBADF.
  [[nodiscard]] int get() const noexcept { return fd_; }

 private:
  owned_descriptor own_;
  int fd_ = -1;
};

/// A second descriptor of the same thing, to own; -1 with errno if there is none to be had.
owned_descriptor duplicate_of(int fd) noexcept;

/// "this is Linux 6.1.0-25, and TCX needs 6.6", or nothing if the running kernel is not older than that.
std::string needs_linux(std::string_view what, int major, int minor);

/// A network namespace that is kept, so that what was attached in it can be detached from any thread.
class kept_netns {
 public:
  /// The calling thread's.
  kept_netns();

  /// 0, or the errno that there was instead of a namespace.
  [[nodiscard]] int error() const noexcept { return error_; }
  [[nodiscard]] dev_t device() const noexcept { return device_; }
  [[nodiscard]] ino_t inode() const noexcept { return inode_; }

  /// Calls `f` in the namespace, and libbpf in it says nothing. In a thread of its own if the calling one is elsewhere:
  /// who may enter a namespace may not always return to the one that he came from. Returns an errno of its own if `f`
  /// could not be called.
  int call(std::function<int()> const& f) const noexcept;

 private:
  owned_descriptor fd_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
  int error_ = 0;
};

/// Takes over what bpf_link_create() returned; 0, or the errno.
int keep_created(int created, attachment_list& into);

/// Programs that are attached to a place without order, up to 64 of them, and with which flags.
struct attached_programs {
  int error = 0;  // an errno: nothing is known
  std::uint32_t flags = 0;
  std::vector<std::uint32_t> ids;

  attached_programs(int place, bpf_attach_type type);
};

/// The program's id, or 0.
std::uint32_t id_of_program(int fd) noexcept;

/// A program that bpf_prog_attach() attached. Detaching leaves whoever else is there by now alone: where the kernel
/// would not, it gives EPERM to who may not look.
class direct_attachment final : public attachment {
 public:
  /// Nothing is attached before attach() is called.
  direct_attachment(owned_descriptor program, owned_descriptor place, bpf_attach_type type) noexcept
      : program_{std::move(program)}, place_{std::move(place)}, type_{type} {}
  ~direct_attachment() override;

  int attach(unsigned flags) noexcept;

  int detach() noexcept override;
  bool stays_by_itself() const noexcept override { return true; }

 private:
  owned_descriptor program_;
  owned_descriptor place_;
  bpf_attach_type type_;
  bool attached_ = false;
  bool takes_whichever_ = false;  // the kernel would detach another program in this one's place
};

}  // namespace tinybpf::detail
