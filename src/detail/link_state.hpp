// The attachments behind a link.
#pragma once

#include <tinybpf/link.hpp>

#include <bpf/libbpf.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace tinybpf::detail {

class type_registry;
class worker;

/// One thing attached in the kernel. Destroying it detaches.
class attachment {
 public:
  attachment() = default;
  attachment(attachment const&) = delete;
  attachment& operator=(attachment const&) = delete;
  virtual ~attachment() = default;

  /// The kernel's descriptor, or -1 if there is none.
  virtual int fd() const noexcept = 0;
  /// Detaches at once; returns 0 or what libbpf returned. Called at most once.
  virtual int detach() noexcept = 0;
};

/// What libbpf attached.
class libbpf_attachment final : public attachment {
 public:
  /// `object` keeps alive what the link refers to in libbpf's object: a USDT link frees its cookies there.
  libbpf_attachment(bpf_link* raw, std::shared_ptr<bpf_object> object) noexcept
      : raw_{raw}, object_{std::move(object)} {}
  ~libbpf_attachment() override { detach(); }

  int fd() const noexcept override { return raw_ != nullptr ? bpf_link__fd(raw_) : -1; }
  int detach() noexcept override;

 private:
  bpf_link* raw_;
  std::shared_ptr<bpf_object> object_;
};

/// Which program a link is of, for those who read what it writes.
struct link_origin {
  std::string program;
  std::shared_ptr<type_registry> types;
};

using attachment_list = std::vector<std::unique_ptr<attachment>>;

class link_state {
 public:
  link_state(link_kind kind, attachment_list attachments) noexcept
      : kind_{kind}, attachments_{std::move(attachments)} {}
  ~link_state();

  link_kind kind() const noexcept { return kind_; }
  attachment_list const& attachments() const noexcept { return attachments_; }

  /// Empty where that is not known, as of a link that was opened by its pin.
  link_origin const& origin() const noexcept { return origin_; }
  void came_from(link_origin origin) noexcept { origin_ = std::move(origin); }

  /// Detaches all; returns the first failure.
  int detach() noexcept;

  /// From now on the destructor's detaching is the worker's.
  void detach_on(std::shared_ptr<worker> where) noexcept { worker_ = std::move(where); }

 private:
  link_kind kind_;
  attachment_list attachments_;
  std::shared_ptr<worker> worker_;
  link_origin origin_;
};

struct link_access {
  static link make(link_kind kind, attachment_list attachments) {
    return link{std::make_unique<link_state>(kind, std::move(attachments))};
  }
  static std::unique_ptr<link_state>& state(link& l) { return l.state_; }
  static link_state const* state(link const& l) { return l.state_.get(); }
};

}  // namespace tinybpf::detail
