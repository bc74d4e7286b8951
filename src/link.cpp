#include <tinybpf/link.hpp>

#include "detail/link_state.hpp"
#include "detail/log_capture.hpp"
#include "detail/report.hpp"
#include "detail/worker.hpp"

#include <string>
#include <utility>

namespace tinybpf {
namespace detail {

int libbpf_attachment::detach() noexcept {
  if (raw_ == nullptr) return 0;
  log_capture const quiet;
  int const err = bpf_link__destroy(std::exchange(raw_, nullptr));
  object_.reset();
  return err;
}

int link_state::detach() noexcept {
  int first = 0;
  for (auto const& a : attachments_)
    if (int const err = a->detach(); first == 0) first = err;
  attachments_.clear();
  kind_ = link_kind::none;
  return first;
}

link_state::~link_state() {
  if (!worker_ || attachments_.empty()) return;
  // A worker that has shut down destroys the job at once, and with it the attachments.
  try {
    worker_->submit([kept = std::make_shared<attachment_list>(std::move(attachments_))] { kept->clear(); });
  } catch (...) {  // no memory for the job: the attachments were destroyed on the way out
  }
}

}  // namespace detail

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
  auto const state = std::move(state_);
  if (int const err = state->detach(); err != 0)
    detail::report(ec, details, detail::from_libbpf(err), "the kernel reported an error while detaching");
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
  if (!attached()) {
    detail::report(ec, details, errc::closed, "fd() of an empty link");
    return -1;
  }
  auto const& attachments = state_->attachments();
  int const found = attachments.size() == 1 ? attachments.front()->fd() : -1;
  if (found < 0)
    detail::report(ec, details, errc::not_supported,
                   "a link of " + std::to_string(attachments.size()) + " attachments has no descriptor of its own");
  return found;
}

}  // namespace tinybpf
