#include <tinybpf/link.hpp>

#include "detail/link_state.hpp"
#include "detail/log_capture.hpp"
#include "detail/object_share.hpp"
#include "detail/pin_path.hpp"
#include "detail/privileges.hpp"
#include "detail/report.hpp"
#include "detail/worker.hpp"

#include <tinybpf/program.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

namespace tinybpf {
namespace detail {

int attachment::update_program(int, int) noexcept { return EOPNOTSUPP; }
bool attachment::describe(link_info&) const { return false; }

libbpf_attachment::libbpf_attachment(bpf_link* raw, std::shared_ptr<bpf_object> object, int perf_event) noexcept
    : raw_{raw}, object_{std::move(object)}, perf_event_{perf_event} {
  // libbpf has 0 for a USDT link, which has none, and a map or a perf event for what is older than bpf_link.
  int const found = bpf_link__fd(raw);
  fd_ = found > STDERR_FILENO && is_link(found) ? found : -1;
}

libbpf_attachment::~libbpf_attachment() {
  if (raw_ != nullptr && left() && perf_event_ >= 0) {
    // Then libbpf closes nothing, and does not stop the event.
    bpf_link__disconnect(raw_);
    int const link = bpf_link__fd(raw_);
    if (link != perf_event_) ::close(link);
    ::close(perf_event_);
  }
  detach();
}

int libbpf_attachment::detach() noexcept {
  if (raw_ == nullptr) return 0;
  log_capture const quiet;
  int err = 0;
  fd_ = -1;
  // The cookies of a USDT link are the object's.
  if (auto const mutex = object_share::mutex_of(object_)) {
    std::lock_guard const lock{*mutex};
    err = bpf_link__destroy(std::exchange(raw_, nullptr));
  } else {
    err = bpf_link__destroy(std::exchange(raw_, nullptr));
  }
  object_.reset();
  return err;
}

int descriptor_attachment::detach() noexcept { return ::close(fd_.release()) == 0 ? 0 : errno; }

link_state::~link_state() {
  if (attachments_.empty()) return;
  bool const forked = made_by_.forked();
  if (!pin.path.empty() || forked)
    for (auto const& a : attachments_) a->leave();
  if (!worker_ || forked) return;
  // A worker that has shut down destroys the job at once, and with it the attachments.
  try {
    worker_->submit([kept = std::make_shared<attachment_list>(std::move(attachments_))] { kept->clear(); });
  } catch (...) {  // no memory for the job: the attachments were destroyed on the way out
  }
}

int link_state::fd() const noexcept { return attachments_.size() == 1 ? attachments_.front()->fd() : -1; }

int link_state::detach() noexcept {
  int first = 0;
  for (auto const& a : attachments_)
    if (int const err = a->detach(); first == 0) first = err;
  attachments_.clear();
  kind_ = link_kind::none;
  return first;
}

namespace {

/// 0 if the pin is where it was made, or an errno: EBUSY if something else is there.
int look_at(link_pin const& pin) {
  struct stat found {};
  if (::lstat(pin.path.c_str(), &found) != 0) return errno;
  return found.st_dev == pin.device && found.st_ino == pin.inode ? 0 : EBUSY;
}

/// Nothing is there any more, or something else.
bool means_gone(int err) { return err == ENOENT || err == ENOTDIR || err == EBUSY; }

std::string a_link_of(link_kind kind) { return "a link of kind " + std::string{to_string(kind)}; }

/// The number of a bpf_link of which there may be other handles; 0 if there is no need to know, or no way.
std::uint32_t shared_id(link_state const& state, bool had_pin) {
  if (state.fd() < 0 || (!had_pin && !state.opened)) return 0;
  link_info known;
  return read_link_info(state.fd(), known) == 0 ? known.id : 0;
}

/// Detaches the bpf_link whoever has it; ENOTSUP if the kernel has no way to do that with this kind.
int detach_for_all(int fd) {
  if (fd < 0) return ENOTSUP;
  int const err = bpf_link_detach(fd) == 0 ? 0 : errno;
  return err == EINVAL || err == EOPNOTSUPP ? ENOTSUP : err;
}

/// False if the link is still there. Needs no descriptor; where this user may not know, it is taken for gone. A pin
/// that was removed lets go of it only when the kernel comes to that, on some kernels after a grace period.
bool ends(std::uint32_t id, bool had_pin) {
  auto const deadline = std::chrono::steady_clock::now() + std::chrono::seconds{had_pin ? 2 : 0};
  for (;;) {
    std::uint32_t found = 0;
    if (bpf_link_get_next_id(id - 1, &found) != 0 || found != id) return true;
    if (std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
  }
}

bool can_be_updated(link_kind kind) {
  constexpr std::array updatable{link_kind::xdp,    link_kind::tc,    link_kind::tcx,     link_kind::netkit,
                                 link_kind::cgroup, link_kind::netns, link_kind::sockmap, link_kind::iter};
  return std::find(updatable.begin(), updatable.end(), kind) != updatable.end();
}

/// Changing what is attached by netlink, or in a way of which one has to ask who is there.
bool takes_net_admin(link_state const& state) {
  auto const kind = state.kind();
  return state.fd() < 0 && (kind == link_kind::tc || kind == link_kind::xdp || kind == link_kind::cgroup);
}

/// The descriptor of a program that is to be given to the kernel, or -1 and a report.
int loaded_fd(program const& p, std::string const& what, error_code& ec, diagnostics& details) {
  if (!p.is_open()) {
    report(ec, details, errc::closed, what + ": the program's handle is closed");
    return -1;
  }
  int const fd = p.fd();
  if (fd < 0) {
    details.program = p.name();
    report(ec, details, errc::not_loaded, what + ": program '" + std::string{p.name()} + "'",
           "call load() of its object first");
  }
  return fd;
}

}  // namespace
}  // namespace detail

using detail::report;

link::link() noexcept = default;
link::link(link&&) noexcept = default;
link& link::operator=(link&&) noexcept = default;
link::~link() = default;
link::link(std::unique_ptr<detail::link_state> state) noexcept : state_{std::move(state)} {}

bool link::attached() const noexcept { return state_ && !state_->attachments().empty(); }
link_kind link::kind() const noexcept { return state_ ? state_->kind() : link_kind::none; }
std::size_t link::size() const noexcept { return state_ ? state_->attachments().size() : 0; }

void link::detach() {
  detail::or_throw([&](auto& ec, auto& details) { detach(ec, details); });
}

void link::detach(error_code& ec) {
  diagnostics details;
  detach(ec, details);
}

void link::detach(error_code& ec, diagnostics& details) {
  detail::begin(ec, details);
  if (!state_) return;
  bool const had_pin = is_pinned();
  if (had_pin) {
    auto& pin = state_->pin;
    int err = detail::look_at(pin);
    if (err == 0 && ::unlink(pin.path.c_str()) != 0) err = errno;
    if (err != 0 && !detail::means_gone(err))
      return report(ec, details, detail::from_libbpf(err), "cannot remove the pin at " + pin.path,
                    "the link stays attached, and pinned");
    pin = {};
  }
  auto const state = std::move(state_);
  auto const what = "cannot detach " + detail::a_link_of(state->kind());
  int err = detail::detach_for_all(state->fd());
  auto const id = err == ENOTSUP ? detail::shared_id(*state, had_pin) : 0;
  bool const took_net_admin = detail::takes_net_admin(*state);
  if (err == ENOTSUP) err = 0;
  if (int const closed = state->detach(); err == 0) err = closed;
  if (err != 0)
    report(ec, details, detail::from_libbpf(err), what + ": the kernel reported an error",
           err == EPERM && took_net_admin ? "it takes CAP_NET_ADMIN, without which the program stays" : "");
  else if (id != 0 && !detail::ends(id, had_pin))
    report(ec, details, detail::from_libbpf(EBUSY), what + ": the link with the id " + std::to_string(id) + " goes on",
           "another descriptor or pin holds it, and the kernel does not detach this kind before the last one is gone");
}

int link::release() {
  return detail::or_throw([&](auto& ec, auto& details) { return release(ec, details); });
}

int link::release(error_code& ec) {
  diagnostics details;
  return release(ec, details);
}

int link::release(error_code& ec, diagnostics& details) {
  detail::begin(ec, details);
  if (!attached()) {
    report(ec, details, errc::closed, "release() of an empty link");
    return -1;
  }
  auto const& attachments = state_->attachments();
  int kept = -1;
  bool const stays = std::all_of(attachments.begin(), attachments.end(), [](auto& a) { return a->stays_by_itself(); });
  if (!stays && (!is_pinned() || detail::look_at(state_->pin) != 0)) {
    if (state_->fd() < 0) {
      report(ec, details, errc::not_supported,
             detail::a_link_of(kind()) + " cannot be left attached: no single descriptor keeps it");
      return -1;
    }
    kept = ::fcntl(state_->fd(), F_DUPFD_CLOEXEC, 3);
    if (kept < 0) {
      report(ec, details, detail::last_errno(), "release() of " + detail::a_link_of(kind()));
      return -1;
    }
  }
  for (auto const& a : attachments) a->leave();
  state_.reset();
  return kept;
}

int link::fd() const {
  return detail::or_throw([&](auto& ec, auto& details) { return fd(ec, details); });
}

int link::fd(error_code& ec) const {
  diagnostics details;
  return fd(ec, details);
}

int link::fd(error_code& ec, diagnostics& details) const {
  detail::begin(ec, details);
  if (!has_descriptor("fd()", ec, details)) return -1;
  return state_->fd();
}

bool link::has_descriptor(char const* call, error_code& ec, diagnostics& details) const {
  if (!attached()) {
    report(ec, details, errc::closed, std::string{call} + " of an empty link");
    return false;
  }
  if (state_->fd() >= 0) return true;
  report(ec, details, errc::not_supported,
         std::string{call} + ": " + detail::a_link_of(kind()) +
             (size() == 1 ? " is no bpf_link of the kernel" : " is " + std::to_string(size()) + " attachments"));
  return false;
}

void link::pin(std::filesystem::path const& path) {
  detail::or_throw([&](auto& ec, auto& details) { pin(path, ec, details); });
}

void link::pin(std::filesystem::path const& path, error_code& ec) {
  diagnostics details;
  pin(path, ec, details);
}

void link::pin(std::filesystem::path const& path, error_code& ec, diagnostics& details) {
  detail::begin(ec, details);
  if (!has_descriptor("pin()", ec, details)) return;
  auto const what = "cannot pin " + detail::a_link_of(kind()) + " at " + path.string();
  auto& pinned = state_->pin;
  if (!pinned.path.empty() && !detail::means_gone(detail::look_at(pinned)))
    return report(ec, details, detail::from_libbpf(EEXIST), what + ": it is pinned at " + pinned.path);
  detail::link_pin made{detail::resolved_pin_path(path).string()};
  if (bpf_obj_pin(state_->fd(), path.c_str()) != 0) {
    auto const code = detail::last_errno();
    return report(ec, details, code, what, detail::why_no_pin(path, code));
  }
  struct stat found {};
  if (::lstat(made.path.c_str(), &found) == 0) {
    made.device = found.st_dev;
    made.inode = found.st_ino;
  }
  pinned = std::move(made);
}

void link::unpin() {
  detail::or_throw([&](auto& ec, auto& details) { unpin(ec, details); });
}

void link::unpin(error_code& ec) {
  diagnostics details;
  unpin(ec, details);
}

void link::unpin(error_code& ec, diagnostics& details) {
  detail::begin(ec, details);
  if (!attached()) return report(ec, details, errc::closed, "unpin() of an empty link");
  auto const what = "cannot unpin " + detail::a_link_of(kind());
  auto& pin = state_->pin;
  if (pin.path.empty()) return report(ec, details, errc::not_found, what + ": it was not pinned");
  int err = detail::look_at(pin);
  if (err == 0 && ::unlink(pin.path.c_str()) != 0) err = errno;
  if (err != 0)
    report(ec, details, detail::from_libbpf(err),
           what + " at " + pin.path + (err == EBUSY ? ": something else is there" : ""));
  if (err == 0 || err == ENOENT) pin = {};
}

std::filesystem::path link::pin_path() const { return state_ ? std::filesystem::path{state_->pin.path} : ""; }
bool link::is_pinned() const noexcept { return state_ && !state_->pin.path.empty(); }

void link::update_program(program const& next) {
  detail::or_throw([&](auto& ec, auto& details) { update_program(next, ec, details); });
}

void link::update_program(program const& next, error_code& ec) {
  diagnostics details;
  update_program(next, ec, details);
}

void link::update_program(program const& next, error_code& ec, diagnostics& details) {
  detail::begin(ec, details);
  replace_program(next, nullptr, ec, details);
}

void link::update_program(program const& next, program const& expected) {
  detail::or_throw([&](auto& ec, auto& details) { update_program(next, expected, ec, details); });
}

void link::update_program(program const& next, program const& expected, error_code& ec) {
  diagnostics details;
  update_program(next, expected, ec, details);
}

void link::update_program(program const& next, program const& expected, error_code& ec, diagnostics& details) {
  detail::begin(ec, details);
  replace_program(next, &expected, ec, details);
}

void link::replace_program(program const& next, program const* expected, error_code& ec, diagnostics& details) {
  if (!attached()) return report(ec, details, errc::closed, "update_program() of an empty link");
  auto const what = "cannot update the program of " + detail::a_link_of(kind());
  if (size() != 1)
    return report(ec, details, errc::not_supported,
                  what + ": it is " + std::to_string(size()) + " attachments, which cannot change at once");
  int const next_fd = detail::loaded_fd(next, what, ec, details);
  if (next_fd < 0) return;
  int const expected_fd = expected != nullptr ? detail::loaded_fd(*expected, what, ec, details) : -1;
  if (ec) return;

  int err = 0;
  if (int const fd = state_->fd(); fd >= 0) {
    bpf_link_update_opts options{};
    options.sz = sizeof options;
    if (expected != nullptr) {
      options.flags = BPF_F_REPLACE;
      options.old_prog_fd = static_cast<__u32>(expected_fd);
    }
    if (bpf_link_update(fd, next_fd, &options) != 0) err = errno;
  } else {
    err = std::abs(state_->attachments().front()->update_program(next_fd, expected_fd));
    if (err == EOPNOTSUPP) return report(ec, details, errc::not_supported, what + ": it is no bpf_link of the kernel");
  }
  if (err == 0) return;

  std::string hint;
  if ((err == EINVAL || err == EOPNOTSUPP) && !detail::can_be_updated(kind()))
    hint = "such a link keeps its program for life: attach the new program, then detach this link";
  else if (err == EINVAL)
    hint = "the new program, of type " + std::string{to_string(next.type())} +
           ", must be of the type and the attach type of the one that runs";
  else if (err == EPERM && detail::takes_net_admin(*state_) && !missing_capabilities(capability::net_admin).empty())
    hint = detail::explain_refusal(capability::net_admin);
  else if (err == EPERM && expected != nullptr)
    hint = "another program runs than the expected '" + std::string{expected->name()} + "'";
  else if (err == ENOLINK)
    hint = "what the link was attached to is gone";
  else if (err == EEXIST)
    hint = "what the link attached is not there any more: somebody else removed it, or took its place";
  details.program = next.name();
  report(ec, details, detail::from_libbpf(err), what + " to '" + std::string{next.name()} + "'", std::move(hint));
}

link_info link::info() const {
  return detail::or_throw([&](auto& ec, auto& details) { return info(ec, details); });
}

link_info link::info(error_code& ec) const {
  diagnostics details;
  return info(ec, details);
}

link_info link::info(error_code& ec, diagnostics& details) const {
  detail::begin(ec, details);
  link_info known;
  if (size() != 1 || state_->fd() >= 0 || !state_->attachments().front()->describe(known)) {
    known = {};
    if (!has_descriptor("info()", ec, details)) return known;
    if (int const err = detail::read_link_info(state_->fd(), known); err != 0) {
      report(ec, details, detail::from_libbpf(err), "info() of " + detail::a_link_of(kind()));
      return {};
    }
  }
  // Who attached it knows more than the kernel keeps.
  if (kind() != link_kind::other) known.kind = kind();
  return known;
}

}  // namespace tinybpf
