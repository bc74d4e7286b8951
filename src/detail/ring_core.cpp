#include <tinybpf/detail/ring_core.hpp>

#include "report.hpp"
#include "type_registry.hpp"

#include <sys/epoll.h>

#include <boost/core/demangle.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace tinybpf::detail {

namespace {

std::uint64_t monotonic_now() {
  return static_cast<std::uint64_t>(std::chrono::nanoseconds{wakeup_rule::clock::now().time_since_epoch()}.count());
}

std::uint64_t time_of(raw_record const& r, std::size_t offset) {
  std::uint64_t time = 0;
  if (r.size >= offset + sizeof time) std::memcpy(&time, r.data + offset, sizeof time);
  return time;
}

bool watch(int epoll, ring_state& ring) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = &ring;
  return epoll_ctl(epoll, EPOLL_CTL_ADD, ring.source.descriptor.get(), &event) == 0;
}

}  // namespace

ring_core::ring_core() = default;

ring_core::~ring_core() { close(); }

joining_rings ring_core::prepare(std::vector<ring_source>&& sources, std::type_info const* type, error_code& ec,
                                 diagnostics& details) {
  joining_rings joining;
  auto const is_here = [](auto const& rings, std::uint32_t id) {
    return id != 0 && std::any_of(rings.begin(), rings.end(), [&](auto const& r) { return r->source.map_id == id; });
  };
  for (auto& s : sources) {
    if (is_here(rings_, s.map_id) || is_here(joining.rings, s.map_id)) {
      details.map = s.name;
      report(ec, details, from_libbpf(EEXIST), "ring buffer '" + s.name + "' is in this stream already");
      return joining;
    }
    joining.rings.push_back(std::make_unique<ring_state>(std::move(s), type));
  }
  auto const all = rings_.size() + joining.rings.size();
  active_.reserve(all);
  {
    std::lock_guard const lock{rings_mutex_};
    rings_.reserve(all);
  }
  if (all > 1 && epoll_.get() < 0) {
    joining.over_all.reset(epoll_create1(EPOLL_CLOEXEC));
    if (joining.over_all.get() < 0 || (!rings_.empty() && !watch(joining.over_all.get(), *rings_.front())))
      report(ec, details, last_errno(), "cannot watch several ring buffers");
  }
  int const epoll = joining.over_all.get() >= 0 ? joining.over_all.get() : epoll_.get();
  for (auto const& r : joining.rings)
    if (!ec && all > 1 && !watch(epoll, *r))
      report(ec, details, last_errno(), "cannot watch ring buffer '" + r->source.name + "'");
  if (ec) abandon(joining);
  joining.native_handle = all > 1 ? epoll : joining.rings.front()->source.descriptor.get();
  return joining;
}

// Closing their descriptors is not enough: the map has others.
void ring_core::abandon(joining_rings const& joining) noexcept {
  if (epoll_.get() < 0) return;
  for (auto const& r : joining.rings)
    static_cast<void>(epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, r->source.descriptor.get(), nullptr));
}

void ring_core::join(joining_rings&& joining) noexcept {
  settle();
  {
    std::lock_guard const lock{rings_mutex_};
    for (auto& r : joining.rings) rings_.push_back(std::move(r));  // within what prepare() reserved
  }
  if (joining.over_all.get() >= 0) epoll_ = std::move(joining.over_all);
  if (current_ == &none_) current_ = rings_.front().get();
  rotate_at_ = rings_.size() > 1 ? records_ : never;
  // What fits the objects so far says nothing about these.
  checked_.clear();
  last_checked_ = nullptr;
  set_policy(policy());
  look_everywhere();
}

int ring_core::native_handle() const noexcept {
  if (epoll_.get() >= 0) return epoll_.get();
  return current_->source.descriptor.get();
}

void ring_core::set_policy(wakeup_policy policy) noexcept {
  settle();
  std::size_t smallest = 0;
  for (auto const& r : rings_)
    if (smallest == 0 || r->source.regions.size < smallest) smallest = r->source.regions.size;
  rule_ = wakeup_rule{policy, smallest};
}

void ring_core::set_order(time_order const& order) noexcept {
  settle();
  order_ = order;
  if (rings_.size() > 1) rotate_at_ = records_;
}

void ring_core::close() noexcept {
  if (closed()) return;
  if (!forked()) {
    settle();
    drop_view();
    publish();
  }
  state_ |= shut;
}

errc ring_core::begin_read_slowly() noexcept {
  if ((state_ & shut) != 0) return errc::closed;
  if ((state_ & (leased | waited_for)) != 0) return errc::operation_in_progress;
  drop_view();
  publish_in_time();
  return errc{};
}

// Ends what an earlier next<bytes>() or its like gave out.
void ring_core::drop_view() noexcept {
  if ((state_ & viewed) == 0) return;
  state_ &= ~viewed;
  release();
}

void ring_core::set_waiting(bool yes) noexcept {
  state_ = yes ? state_ | waited_for : state_ & ~waited_for;
  waits_.store(yes, std::memory_order_release);
}

void ring_core::end_lease(bool ours) noexcept {
  state_ &= ~leased;
  if (!ours) return;
  settle();
  if (closed())
    publish();
  else
    read_something();
}

void ring_core::publish() noexcept {
  for (auto* const r : active_) r->reader.publish();
}

bool ring_core::publish_from_elsewhere() noexcept {
  std::lock_guard const lock{rings_mutex_};
  if (waits_.load(std::memory_order_seq_cst)) return false;
  std::uint64_t ends = 0;
  for (auto const& r : rings_) ends += r->reader.publish_from_elsewhere();
  return std::exchange(published_elsewhere_, ends) != ends;
}

// A reader that saw the publisher on and then read something must still be served: after the switch is off, once more.
void ring_core::publisher_is_off() noexcept {
  publisher_on_.store(false, std::memory_order_seq_cst);
  {
    std::lock_guard const lock{rings_mutex_};
    for (auto const& r : rings_) r->reader.interrupt_run();
  }
  publish_from_elsewhere();
}

void ring_core::end_run() noexcept {
  records_ += current_->reader.end_run(run_size_);
  if ((state_ & leased) == 0) run_size_ = 0;
  run_of_ = turn_run_of_ = nullptr;
}

void ring_core::rest() noexcept {
  if (policy().decides() != wakeup_policy::kind::immediate)
    for (auto* const r : active_) r->reader.hold_back();
  read_something();
}

void ring_core::look_everywhere() noexcept {
  active_.clear();
  for (auto const& r : rings_) {
    r->active = true;
    active_.push_back(r.get());
  }
  turn_ = 0;
}

void ring_core::begin_turn() noexcept {
  turn_began_ = records_;
  loss_check_due_ = true;  // also for a reader who never catches up
  if (epoll_.get() >= 0) find_active();
}

// Called before an idle ring is believed to be idle, and once a turn, so that a busy ring cannot hide the others; also
// every so many records, for a reader that never ends its turn.
void ring_core::find_active() noexcept {
  ask_at_ = records_ + ask_every;
  std::array<epoll_event, 64> events;
  for (std::size_t asked = 0; asked <= rings_.size(); asked += events.size()) {
    int const found = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 0);
    for (int i = 0; i < found; ++i) {
      auto* const ring = static_cast<ring_state*>(events[static_cast<std::size_t>(i)].data.ptr);
      if (std::exchange(ring->active, true)) continue;
      active_.push_back(ring);  // within what add() reserved
    }
    if (found < static_cast<int>(events.size())) return;
  }
}

ring_status ring_core::peek_around() noexcept {
  held_for_order_ = {};
  if (rings_.size() <= 1) {
    rotate_at_ = never;
    return current_->reader.peek();
  }
  if (order_) return peek_in_order();
  if (records_ >= ask_at_) find_active();
  bool busy = false;
  for (;;) {
    auto const before = active_.size();
    for (std::size_t i = 0; i < before; ++i) {
      turn_ = (turn_ + 1) % before;
      auto const status = active_[turn_]->reader.peek();
      busy = busy || status == ring_status::busy;
      if (status != ring_status::ready && status != ring_status::corrupt) continue;
      current_ = active_[turn_];
      rotate_at_ = records_ + quantum;
      return status;
    }
    find_active();
    if (active_.size() == before) return busy ? ring_status::busy : ring_status::empty;
  }
}

ring_status ring_core::peek_in_order() noexcept {
  bool busy = false;
  for (bool asked = false;; asked = true) {
    if (asked) find_active();
    ring_state* oldest = nullptr;
    std::uint64_t oldest_time = 0;
    std::size_t ready = 0;
    for (auto* const ring : active_) {
      auto const status = ring->reader.peek();
      busy = busy || status == ring_status::busy;
      if (status == ring_status::corrupt) {
        current_ = ring;
        return status;
      }
      if (status != ring_status::ready) continue;
      ++ready;
      auto const time = time_of(ring->reader.head(), order_->offset);
      if (oldest != nullptr && time >= oldest_time) continue;
      oldest = ring;
      oldest_time = time;
    }
    if (oldest != nullptr && (oldest_time <= ordered_until_ || ready == rings_.size())) {
      current_ = oldest;
      rotate_at_ = records_ + 1;
      return ring_status::ready;
    }
    if (!asked) continue;
    if (oldest == nullptr) return busy ? ring_status::busy : ring_status::empty;
    // Some ring is empty, and may yet get a record that is older: wait for it as long as was allowed, counted from the
    // record's time, or from now if that is in the future.
    auto const now = monotonic_now();
    auto const position = oldest->reader.head().position;
    if (held_.ring != oldest || held_.position != position) held_ = {oldest, position, std::min(oldest_time, now)};
    auto const delay = static_cast<std::uint64_t>(order_->max_delay.count());
    auto const waited = now - held_.since;
    if (waited >= delay) {
      ordered_until_ = std::max(ordered_until_, now - delay);
      current_ = oldest;
      rotate_at_ = records_ + 1;
      return ring_status::ready;
    }
    // The descriptor is readable all the while, so it cannot tell: look at the empty rings now and then.
    held_for_order_ = std::min(std::chrono::nanoseconds{static_cast<std::int64_t>(delay - waited)},
                               std::clamp(order_->max_delay / 16, shortest_hold, longest_hold));
    return ring_status::busy;
  }
}

std::chrono::nanoseconds ring_core::ran_dry(bool& found) noexcept {
  found = false;
  // With several rings the bytes are not counted: the rule then trusts its bound for a fast writer alone.
  std::uint64_t const released = epoll_.get() >= 0 ? dry_released_ : current_->reader.released();
  auto const pause = rule_.ran_dry(records_ - dry_records_, released - dry_released_, wakeup_rule::clock::now());
  dry_records_ = records_;
  dry_released_ = released;
  if (pause.count() != 0) {
    for (auto* const r : active_) r->reader.hold_back();
    return pause;
  }
  for (auto* const r : active_) found = !r->reader.publish_and_check_empty() || found;
  if (found || epoll_.get() < 0) return {};
  for (auto* const r : active_) r->active = false;
  active_.clear();
  return {};
}

std::optional<std::uint64_t> ring_core::lost() const noexcept {
  if (rings_.empty()) return std::nullopt;
  std::uint64_t sum = 0;
  for (auto const& r : rings_) {
    if (!r->source.losses) return std::nullopt;
    sum += r->source.losses->sum();
  }
  return sum;
}

std::optional<tinybpf::lost> ring_core::find_losses() noexcept {
  loss_check_due_ = false;
  std::uint64_t sum = 0;
  for (auto const& r : rings_)
    if (r->source.losses) sum += r->source.losses->sum();
  if (sum <= losses_told_) return std::nullopt;
  return tinybpf::lost{sum - std::exchange(losses_told_, sum)};
}

void ring_core::count_lost(std::string_view ring, loss_counter&& losses, error_code& ec, diagnostics& details) {
  // The rings of an array are called `array[i]`, and share one counter.
  auto const in_array = [&](std::string_view name) {
    return name.size() > ring.size() && name.starts_with(ring) && name[ring.size()] == '[';
  };
  bool counted = false;
  for (auto const& r : rings_) {
    std::string_view const name = r->source.name;
    if (name != ring && !in_array(name)) continue;
    auto& of_this = r->source.losses.emplace(losses);
    if (std::exchange(counted, true)) of_this.count = 0;
  }
  if (counted) {
    loss_check_due_ = true;
    details = {};
    return;
  }
  for (auto const& r : rings_) details.names.push_back(r->source.name);
  report(ec, details, errc::not_found, "no ring buffer '" + std::string{ring} + "' is in this stream",
         near_names(ring, details.names));
}

bool ring_core::check(type_shape shape, error_code& ec, diagnostics* details) {
  auto const same = [&](std::type_info const* t) { return *t == *shape.type; };
  if (std::none_of(checked_.begin(), checked_.end(), same)) {
    for (auto const& r : rings_) {
      diagnostics found;
      if (r->source.types) r->source.types->check(shape, ec, found);
      if (!ec) continue;
      found.map = r->source.name;
      if (details != nullptr) *details = std::move(found);
      return false;
    }
    checked_.push_back(shape.type);
  }
  last_checked_ = shape.type;
  return true;
}

look_status ring_core::look(read_ops const& ops) noexcept {
  switch (peek()) {
    case ring_status::ready:
      return ops.select(current_->head()) >= 0 ? look_status::ready : look_status::bad;
    case ring_status::corrupt:
      return look_status::bad;
    default:
      loss_check_due_ = true;
      return look_status::nothing;
  }
}

void ring_core::report_bad(read_ops const& ops, error_code& ec, diagnostics* details) {
  auto& reader = current_->reader;
  diagnostics found;
  found.map = current_->source.name;
  auto const what = "ring buffer '" + found.map + "': the record at position ";
  if (reader.peek() == ring_status::ready) {
    auto const& head = reader.head();
    bool const unknown = ops.select(current_->head()) == static_cast<int>(match::unknown);
    found.actual_size = head.size;
    found.position = head.position;
    std::string types;
    for (auto const& t : ops.shapes()) {
      if (t.size == 0) continue;
      if (found.expected_size == 0) found.expected_size = t.size;
      types +=
          (types.empty() ? "" : ", ") + boost::core::demangle(t.type->name()) + " (" + std::to_string(t.size) + ")";
    }
    report(ec, found, unknown ? errc::unknown_tag : errc::record_size,
           what + std::to_string(head.position) + " has " + std::to_string(head.size) + " bytes" +
               (unknown ? " and is none of " : ", which does not fit ") + types,
           unknown ? "it was skipped; list `bytes` as the last type to be given such records"
                   : "it was skipped; the next read goes on behind it");
    release();
  } else {
    auto const corruption = reader.skip_corrupt();
    found.expected_size = static_cast<std::size_t>(corruption.available);
    found.actual_size = static_cast<std::size_t>(corruption.length);
    found.position = corruption.position;
    report(ec, found, errc::record_corrupt,
           what + std::to_string(corruption.position) + " claims " + std::to_string(corruption.length) +
               " bytes where at most " + std::to_string(corruption.available) + " can be",
           "everything written so far was skipped; the next read goes on behind it");
  }
  if (details != nullptr) *details = std::move(found);
  read_something();
}

void ring_core::refuse(errc why, std::string_view operation, error_code& ec, diagnostics* details) const {
  diagnostics said;
  said.map = name();
  auto const what = std::string{operation} + " on ring buffer '" + said.map + "'";
  report(
      ec, said, why,
      why == errc::operation_in_progress ? what + ": another read, wait or range of this buffer has not ended" : what);
  if (details != nullptr) *details = std::move(said);
}

bool ring_core::refuse_budget(error_code& ec, diagnostics* details) const {
  ec = from_libbpf(EINVAL);
  if (details != nullptr) {
    details->map = name();
    report(ec, *details, ec, "a read of ring buffer '" + details->map + "' with a budget of 0 records");
  }
  return false;
}

bool may_read(ring_core* core, read_ops const& ops, std::string_view operation, error_code& ec, diagnostics* details) {
  if (core == nullptr) {
    refuse_closed(operation, ec, details);
    return false;
  }
  if (auto const why = core->begin_read(); why != errc{}) {
    core->refuse(why, operation, ec, details);
    return false;
  }
  return ops.check == nullptr || ops.check(*core, ec, details);
}

look_status look_or_throw(ring_core* core, read_ops const& ops, std::string_view operation) {
  error_code ec;
  if (may_read(core, ops, operation, ec, nullptr)) {
    auto const status = core->look(ops);
    if (status != look_status::bad) return status;
    diagnostics details;
    core->report_bad(ops, ec, &details);
    throw_error(ec, std::move(details));
  }
  diagnostics details;
  may_read(core, ops, operation, ec, &details);  // once more, for its words
  throw_error(ec, std::move(details));
}

bool look_or_rest(ring_core* core, read_ops const& ops, std::string_view operation) {
  if (look_or_throw(core, ops, operation) == look_status::ready) return true;
  core->rest();
  return false;
}

void refuse_closed(std::string_view operation, error_code& ec, diagnostics* details) {
  ec = errc::closed;
  if (details != nullptr) report(ec, *details, errc::closed, std::string{operation} + " on a closed buffer");
}

}  // namespace tinybpf::detail
