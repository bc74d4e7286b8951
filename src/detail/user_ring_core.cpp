#include <tinybpf/detail/user_ring_core.hpp>

#include "mapping.hpp"
#include "report.hpp"
#include "type_registry.hpp"

#include <tinybpf/map.hpp>
#include <tinybpf/reservation.hpp>

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace tinybpf::detail {

user_ring_source open_user_ring(map const& m, error_code& ec, diagnostics& details) {
  user_ring_source source;
  auto const* const core = loaded_map(m, "user ring buffer", ec, details);
  if (core == nullptr) return source;
  auto const what = "user ring buffer '" + core->name + "'";
  if (core->type != map_type::user_ringbuf) {
    report(ec, details, errc::wrong_map_type,
           "map '" + core->name + "' is of type " + std::string{to_string(core->type)} + ", not user_ringbuf");
    return source;
  }
  source.descriptor.reset(fcntl(core->fd, F_DUPFD_CLOEXEC, 0));
  if (source.descriptor.get() < 0) {
    report(ec, details, last_errno(), "cannot duplicate the descriptor of " + what);
    return source;
  }
  auto const page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  std::size_t const size = core->max_entries;
  auto const readable = map_memory(core->fd, page, PROT_READ, 0);
  auto const writable = readable ? map_memory(core->fd, page + 2 * size, PROT_READ | PROT_WRITE, page) : nullptr;
  if (!writable) {
    report(ec, details, last_errno(), "cannot map " + what);
    return source;
  }
  auto* const producer = static_cast<std::byte*>(writable.get());
  source.regions = {readable.get(), producer, producer + page, size};
  source.mapping = std::make_shared<std::pair<std::shared_ptr<void>, std::shared_ptr<void>>>(readable, writable);
  source.name = core->name;
  source.types = core->types();
  return source;
}

user_ring_core::user_ring_core(user_ring_source&& source, error_code& ec, diagnostics& details)
    : source_{std::move(source)}, writer_{source_.regions}, drains_{epoll_create1(EPOLL_CLOEXEC)} {
  // The map's descriptor is writable while any byte is free, so waiting on it would spin until there is room for more.
  // Edge-triggered and never armed again, it tells of each drain once.
  epoll_event event{};
  event.events = EPOLLOUT | EPOLLET;
  if (drains_.get() < 0 || epoll_ctl(drains_.get(), EPOLL_CTL_ADD, source_.descriptor.get(), &event) != 0) {
    report(ec, details, last_errno(), "cannot watch user ring buffer '" + source_.name + "'");
    return;
  }
  forget_drains();
}

void user_ring_core::forget_drains() noexcept {
  epoll_event event;
  static_cast<void>(epoll_wait(drains_.get(), &event, 1, 0));
}

bool user_ring_core::check(std::size_t size, type_shape const* shape, error_code& ec, diagnostics* details) {
  if (closed_) {
    refuse_user_ring(errc::closed, "reserve", name(), ec, details);
    return false;
  }
  diagnostics found;
  found.map = name();
  found.actual_size = size;
  found.expected_size = source_.regions.size;
  auto const what = std::to_string(size) + " bytes of user ring buffer '" + source_.name + "'";
  if (size == 0) {
    report(ec, found, from_libbpf(EINVAL), "cannot reserve " + what);
  } else if (!writer_.can_hold(size)) {
    report(ec, found, from_libbpf(E2BIG),
           "cannot reserve " + what + ", which has " + std::to_string(source_.regions.size) +
               " and needs 8 of them for each record; the kernel reads none of 16 MiB or more");
  } else {
    auto const same = [&](std::type_info const* t) { return *t == *shape->type; };
    if (shape != nullptr && std::none_of(checked_.begin(), checked_.end(), same)) {
      if (source_.types) source_.types->check(*shape, ec, found);
      if (!ec) checked_.push_back(shape->type);
    }
    if (!ec) {
      if (shape != nullptr) last_checked_ = shape->type;
      return true;
    }
    found.map = name();
  }
  if (details != nullptr) *details = std::move(found);
  return false;
}

void reserved::drop() noexcept {
  auto* const data = std::exchange(data_, nullptr);
  if (!ring_->forked()) ring_writer::commit(data, size_, true);
  ring_->unpin();
}

void reserved::throw_closed() {
  diagnostics details;
  error_code ec;
  report(ec, details, errc::closed, "submit of a record that is no longer reserved, or of a closed user ring buffer");
  throw_error(ec, std::move(details));
}

void refuse_user_ring(errc why, std::string_view what, std::string_view name, error_code& ec, diagnostics* details) {
  diagnostics said;
  said.map = name;
  report(ec, said, why,
         std::string{what} +
             (name.empty() ? std::string{" on a user ring buffer that was never opened, or was moved from"}
                           : " on user ring buffer '" + std::string{name} + "'") +
             (why == errc::operation_in_progress ? ": another reserve has not ended" : ""));
  if (details != nullptr) *details = std::move(said);
}

}  // namespace tinybpf::detail
