// The attachments behind a link.
#pragma once

#include <tinybpf/detail/fork_count.hpp>
#include <tinybpf/detail/owned_descriptor.hpp>
#include <tinybpf/link.hpp>

#include <bpf/libbpf.h>
#include <sys/types.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace tinybpf::detail {

class type_registry;
class worker;

/// One thing attached in the kernel. Destroying it detaches, unless it was left: a destructor that detaches asks for
/// `left()`.
class attachment {
 public:
  attachment() = default;
  attachment(attachment const&) = delete;
  attachment& operator=(attachment const&) = delete;
  virtual ~attachment() = default;

  /// The descriptor of the kernel's bpf_link, for which the link then pins, updates and tells; -1 for what is held in
  /// another way: what follows is for that.
  virtual int fd() const noexcept { return -1; }

  /// Detaches at once; returns 0, or an errno or what libbpf returned, of either sign. Called at most once.
  virtual int detach() noexcept = 0;

  /// Puts another program in place of the one that runs, in one step, if that is `expected` (-1: whichever it is).
  /// Returns 0 or an errno of either sign; EOPNOTSUPP is reported as `errc::not_supported`.
  virtual int update_program(int next, int expected) noexcept;

  /// What is known of it; false if nothing is, which is reported as `errc::not_supported`.
  virtual bool describe(link_info& into) const;

  /// True if it stays attached without anything that this process holds, as a clsact filter does: then `link::release`
  /// can leave it. The kernel ends what is not so with its last descriptor.
  virtual bool stays_by_itself() const noexcept { return false; }

  /// From now on destroying it releases what this process holds of it, and detaches nothing.
  void leave() noexcept { left_ = true; }
  bool left() const noexcept { return left_; }

 private:
  bool left_ = false;
};

/// What libbpf attached.
class libbpf_attachment final : public attachment {
 public:
  /// `object` keeps alive what the link refers to in libbpf's object, and is null for links that refer to nothing
  /// there: a USDT link frees its cookies there. `perf_event` is the descriptor that the caller opened and libbpf took
  /// over (bpf_program__attach_perf_event), or -1: libbpf stops the event when it frees the link, which one that is
  /// left must not see.
  libbpf_attachment(bpf_link* raw, std::shared_ptr<bpf_object> object, int perf_event = -1) noexcept;
  ~libbpf_attachment() override;

  int fd() const noexcept override { return fd_; }
  int detach() noexcept override;

 private:
  bpf_link* raw_;
  std::shared_ptr<bpf_object> object_;
  int perf_event_;
  int fd_;
};

/// A descriptor of a bpf_link that is attached already.
class descriptor_attachment final : public attachment {
 public:
  explicit descriptor_attachment(owned_descriptor fd) noexcept : fd_{std::move(fd)} {}

  int fd() const noexcept override { return fd_.get(); }
  int detach() noexcept override;

 private:
  owned_descriptor fd_;
};

/// Which program a link is of, for those who read what it writes.
struct link_origin {
  std::string program;
  std::shared_ptr<type_registry> types;
};

using attachment_list = std::vector<std::unique_ptr<attachment>>;

/// A pin as it was made or found, so that another one in its place is told from it.
struct link_pin {
  std::string path;  // absolute, without symbolic links; empty if there is none
  dev_t device = 0;
  ino_t inode = 0;
};

class link_state {
 public:
  link_state(link_kind kind, attachment_list attachments) : kind_{kind}, attachments_{std::move(attachments)} {}
  link_state(link_state const&) = delete;
  link_state& operator=(link_state const&) = delete;
  ~link_state();

  link_kind kind() const noexcept { return kind_; }
  attachment_list const& attachments() const noexcept { return attachments_; }

  /// The descriptor of the one bpf_link, or -1 if there is not exactly one.
  int fd() const noexcept;
  /// Empty where that is not known, as of a link that was opened by its pin.
  link_origin const& origin() const noexcept { return origin_; }
  void came_from(link_origin origin) noexcept { origin_ = std::move(origin); }

  /// Detaches all; returns the first failure.
  int detach() noexcept;

  /// From now on the destructor's detaching is the worker's.
  void detach_on(std::shared_ptr<worker> where) noexcept { worker_ = std::move(where); }

  link_pin pin;         // a pinned link is left when it is destroyed
  bool opened = false;  // others may have the same bpf_link

 private:
  link_kind kind_;
  attachment_list attachments_;
  std::shared_ptr<worker> worker_;
  link_origin origin_;
  fork_mark made_by_;
};

struct link_access {
  static link make(link_kind kind, attachment_list attachments) {
    return link{std::make_unique<link_state>(kind, std::move(attachments))};
  }
  static std::unique_ptr<link_state>& state(link& l) { return l.state_; }
  static link_state const* state(link const& l) { return l.state_.get(); }
};

/// What the kernel says about the bpf_link of a descriptor; returns 0 or an errno. In link_info.cpp.
int read_link_info(int fd, link_info& into);

/// True if the descriptor is of a bpf_link. In link_open.cpp.
bool is_link(int fd) noexcept;

}  // namespace tinybpf::detail
