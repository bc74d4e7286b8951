#include "detail/link_state.hpp"
#include "detail/log_capture.hpp"
#include "detail/object_state.hpp"
#include "detail/privileges.hpp"

#include <tinybpf/capabilities.hpp>
#include <tinybpf/detail/owned_descriptor.hpp>
#include <tinybpf/map.hpp>

#include <fcntl.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

namespace tinybpf {
namespace detail {
namespace {

constexpr std::uint32_t f_link = 1U << 13U;  // BPF_F_LINK of Linux 6.4

struct destroy_link {
  void operator()(bpf_link* raw) const noexcept { bpf_link__destroy(raw); }
};

/// A registration that no link of the kernel's holds. libbpf would detach it through the object's descriptor, whose
/// number may mean something else by then.
class struct_ops_registration final : public attachment {
 public:
  struct_ops_registration() = default;
  struct_ops_registration(struct_ops_registration const&) = delete;
  struct_ops_registration& operator=(struct_ops_registration const&) = delete;
  ~struct_ops_registration() override {
    if (!left()) detach();
  }

  int fd() const noexcept override { return -1; }
  int detach() noexcept override {
    if (map_.get() < 0) return 0;
    std::uint32_t const key = 0;
    int const err = bpf_map_delete_elem(map_.get(), &key) == 0 ? 0 : -errno;
    map_.reset(-1);
    return err;
  }
  bool stays_by_itself() const noexcept override { return true; }

  /// From now on there is something to detach, by the map's descriptor.
  void hold(owned_descriptor map) noexcept { map_ = std::move(map); }

 private:
  owned_descriptor map_;
};

std::string explain_struct_ops(error_code code) {
  namespace sys = boost::system::errc;
  if (code == sys::file_exists)
    return "something of that name is registered already, perhaps by a process that was killed: `bpftool struct_ops` "
           "shows what is, and `bpftool struct_ops unregister` takes it out";
  if (code == sys::device_or_resource_busy)
    return "the map is or was attached, and one of section \".struct_ops\" can be once only: load its object anew, or "
           "use \".struct_ops.link\"";
  if (code == sys::operation_not_permitted || code == sys::permission_denied)
    return explain_refusal(required_capabilities(program_type::struct_ops));
  if (code == sys::invalid_argument)
    return "the kernel asks more of what is registered: a name, or functions that may not be left out";
  if (code == sys::operation_not_supported) return "the running kernel cannot register this kind of struct_ops";
  return {};
}

}  // namespace
}  // namespace detail

using detail::report;

link map::attach_struct_ops() const {
  return detail::or_throw([&](auto& ec, auto& details) { return attach_struct_ops(ec, details); });
}

link map::attach_struct_ops(error_code& ec) const {
  diagnostics details;
  return attach_struct_ops(ec, details);
}

link map::attach_struct_ops(error_code& ec, diagnostics& details) const {
  detail::begin(ec, details);
  if (!core_) {
    report(ec, details, errc::closed, "attach of no map");
    return {};
  }
  auto& core = *core_;
  auto const what = "map '" + core.name + "'";
  details.map = core.name;
  auto const usable = [&] { return core.usable(true, what, ec, details); };
  if (!usable()) return {};
  if (core.type != map_type::struct_ops) {
    report(ec, details, errc::wrong_map_type,
           "cannot attach " + what + ", which is of type " + std::string{to_string(core.type)},
           "what is registered is a struct of functions in section \".struct_ops\"; a program is attached by its own "
           "attach()");
    return {};
  }
  if (core.owner == nullptr) {
    report(ec, details, errc::not_supported, "cannot attach " + what + ", which is of no object",
           "only the object that was loaded knows its functions");
    return {};
  }
  std::lock_guard const lock{core.owner->mutex()};
  if (!usable()) return {};  // closed while this thread waited
  if (core.fd < 0) {
    report(ec, details, errc::not_loaded, what + " of " + core.owner->source() + " was not created");
    return {};
  }
  bool const has_link = (core.flags & detail::f_link) != 0;
  auto const failed = [&](error_code code) {
    report(ec, details, code, "cannot register " + what + " of " + core.owner->source(),
           detail::explain_struct_ops(code));
    return link{};
  };
  // All that may fail comes first: what is registered has to be held by something.
  detail::owned_descriptor own;
  detail::attachment_list attachments;
  attachments.reserve(1);
  std::unique_ptr<detail::struct_ops_registration> registration;
  if (!has_link) {
    registration = std::make_unique<detail::struct_ops_registration>();
    own.reset(fcntl(core.fd, F_DUPFD_CLOEXEC, 3));
    if (own.get() < 0) return failed(detail::last_errno());
  }
  detail::log_capture log;
  errno = 0;
  std::unique_ptr<bpf_link, detail::destroy_link> raw{bpf_map__attach_struct_ops(core.raw)};
  int const err = errno;
  if (!raw) {
    details.log = log.take();
    return failed(detail::from_libbpf(err != 0 ? err : EOPNOTSUPP));
  }
  if (has_link) {
    auto attached = std::make_unique<detail::libbpf_attachment>(raw.get(), nullptr);
    static_cast<void>(raw.release());
    attachments.push_back(std::move(attached));
  } else {
    registration->hold(std::move(own));
    bpf_link__disconnect(raw.get());  // forgets the object's descriptor without detaching
    attachments.push_back(std::move(registration));
  }
  return detail::link_access::make(link_kind::struct_ops, std::move(attachments));
}

}  // namespace tinybpf
