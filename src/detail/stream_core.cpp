#include <tinybpf/detail/stream_core.hpp>

#include "btf_tables.hpp"
#include "report.hpp"
#include "type_registry.hpp"

#include <tinybpf/dynamic_value.hpp>

#include <sys/epoll.h>
#include <sys/eventfd.h>

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

bool watch(int epoll, int fd, channel* c) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = c;
  return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

bool watch(int epoll, channel& c) { return watch(epoll, c.source.descriptor.get(), &c); }

}  // namespace

stream_core::stream_core() = default;

stream_core::~stream_core() { close(); }

joining_channels stream_core::prepare(std::vector<channel_source>&& sources, std::type_info const* type, error_code& ec,
                                      diagnostics& details) {
  joining_channels joining;
  for (auto& s : sources) {
    auto const is_it = [&](auto const& c) {
      return s.map_id != 0 && c->source.map_id == s.map_id && c->source.cpu == s.cpu;
    };
    if (std::any_of(channels_.begin(), channels_.end(), is_it) ||
        std::any_of(joining.channels.begin(), joining.channels.end(), is_it)) {
      details.map = s.name;
      report(ec, details, from_libbpf(EEXIST), s.description() + " is in this stream already");
      return joining;
    }
    // One counter serves all of a map: it is that of its first channel here.
    auto const of_the_map = [&](auto const& c) { return s.map_id != 0 && c->source.map_id == s.map_id; };
    if (s.losses && std::any_of(channels_.begin(), channels_.end(), of_the_map)) s.losses->count = 0;
    joining.channels.push_back(std::make_unique<channel>(std::move(s), type));
  }
  auto const all = channels_.size() + joining.channels.size();
  active_.reserve(all);
  perf_.reserve(all);
  {
    std::lock_guard const lock{channels_mutex_};
    channels_.reserve(all);
  }
  auto const is_perf = [](auto const& c) { return c->source.is_perf(); };
  bool const needs_bell = std::any_of(joining.channels.begin(), joining.channels.end(), is_perf);
  bool const several = all > 1 || needs_bell;
  if (several && epoll_.get() < 0) {
    joining.over_all.reset(epoll_create1(EPOLL_CLOEXEC));
    if (joining.over_all.get() < 0 || (!channels_.empty() && !watch(joining.over_all.get(), *channels_.front())))
      report(ec, details, last_errno(), "cannot watch several buffers");
  }
  int const epoll = joining.over_all.get() >= 0 ? joining.over_all.get() : epoll_.get();
  if (needs_bell && !ec) {
    owned_descriptor fd{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    bool const watched = fd.get() >= 0 && watch(epoll, fd.get(), nullptr);
    joining.bell = std::make_shared<doorbell>(std::move(fd));
    if (!watched) report(ec, details, last_errno(), "cannot watch perf buffers");
    for (auto const& c : channels_) joining.bell->watch(*c);
    for (auto const& c : joining.channels) joining.bell->watch(*c);
  }
  for (auto const& c : joining.channels) {
    if (!ec && several && !watch(epoll, *c))
      report(ec, details, last_errno(), "cannot watch " + c->source.description());
    if (!ec && c->source.control && !c->source.control->set_wakeups(true))
      report(ec, details, last_errno(),
             "cannot put the event of CPU " + std::to_string(c->source.cpu) + " into " + c->source.description());
  }
  if (ec) abandon(joining);
  joining.native_handle = several ? epoll : joining.channels.front()->source.descriptor.get();
  return joining;
}

// Closing their descriptors is not enough: the map has others.
void stream_core::abandon(joining_channels const& joining) noexcept {
  for (auto const& c : joining.channels) {
    if (c->source.control) c->source.control->close();
    if (epoll_.get() >= 0)
      static_cast<void>(epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, c->source.descriptor.get(), nullptr));
  }
}

void stream_core::join(joining_channels&& joining) noexcept {
  settle();
  {
    std::lock_guard const lock{channels_mutex_};
    // All within what prepare() reserved.
    for (auto& c : joining.channels) {
      if (c->source.is_perf()) perf_.push_back(c.get());
      channels_.push_back(std::move(c));
    }
  }
  if (joining.over_all.get() >= 0) epoll_ = std::move(joining.over_all);
  // What the one before was to look for is looked for by this one.
  if (joining.bell && std::exchange(bell_, std::move(joining.bell)) != nullptr && bell_->ask())
    await_grace_period(bell_);
  if (current_ == &none_) go_to(*channels_.front());
  rotate_at_ = channels_.size() > 1 ? records_ : never;
  // What fits the objects so far says nothing about these.
  checked_.clear();
  last_checked_ = nullptr;
  set_policy(policy());
  look_everywhere();
}

int stream_core::native_handle() const noexcept {
  if (epoll_.get() >= 0) return epoll_.get();
  return current_->source.descriptor.get();
}

std::string stream_core::description() const {
  return channels_.empty() ? "a stream of no buffer" : channels_.front()->source.description();
}

void stream_core::set_policy(wakeup_policy policy) noexcept {
  settle();
  std::size_t smallest = 0;
  for (auto const& c : channels_)
    if (smallest == 0 || c->source.size() < smallest) smallest = c->source.size();
  rule_ = wakeup_rule{policy, smallest};
}

void stream_core::set_order(time_order const& order) noexcept {
  settle();
  order_ = order;
  if (channels_.size() > 1) rotate_at_ = records_;
}

void stream_core::close() noexcept {
  if (closed()) return;
  if (!forked()) {
    settle();
    drop_view();
    publish();
    for (auto* const c : perf_)
      if (c->source.control) c->source.control->close();
  }
  state_ |= shut;
}

errc stream_core::begin_read_slowly() noexcept {
  if ((state_ & shut) != 0) return errc::closed;
  if ((state_ & (leased | waited_for)) != 0) return errc::operation_in_progress;
  drop_view();
  publish_in_time();
  return errc{};
}

// Ends what an earlier next<bytes>() or its like gave out.
void stream_core::drop_view() noexcept {
  if ((state_ & viewed) == 0) return;
  state_ &= ~viewed;
  release();
}

void stream_core::set_waiting(bool yes) noexcept {
  state_ = yes ? state_ | waited_for : state_ & ~waited_for;
  waits_.store(yes, std::memory_order_release);
}

void stream_core::end_lease(bool ours) noexcept {
  state_ &= ~leased;
  if (!ours) return;
  settle();
  if (closed())
    publish();
  else
    read_something();
}

void stream_core::publish() noexcept {
  if (forked()) return;  // perf buffers are not even mapped there
  for (auto* const c : active_) c->reader->publish();
}

void stream_core::publish_and_listen() noexcept {
  publish();
  if (forked() || closed()) return;
  if (bell_) bell_->silence();
  static_cast<void>(listen());
  if (bell_) bell_->ring_if_behind();
}

bool stream_core::publish_from_elsewhere() noexcept {
  if (forked()) return false;
  std::lock_guard const lock{channels_mutex_};
  if (waits_.load(std::memory_order_seq_cst)) return false;
  std::uint64_t ends = 0;
  for (auto const& c : channels_) ends += c->reader->publish_from_elsewhere();
  return std::exchange(published_elsewhere_, ends) != ends;
}

// A reader that saw the publisher on and then read something must still be served: after the switch is off, once more.
void stream_core::publisher_is_off() noexcept {
  publisher_on_.store(false, std::memory_order_seq_cst);
  {
    std::lock_guard const lock{channels_mutex_};
    for (auto const& c : channels_) c->reader->interrupt_run();
  }
  publish_from_elsewhere();
}

void stream_core::end_run() noexcept {
  records_ += reader_->end_run();
  if ((state_ & leased) == 0) in_run_ = false;
  run_of_ = turn_run_of_ = nullptr;
}

void stream_core::rest() noexcept {
  if (policy().decides() != wakeup_policy::kind::immediate)
    for (auto* const c : active_) c->reader->hold_back();
  read_something();
}

void stream_core::look_everywhere() noexcept {
  active_.clear();
  for (auto const& c : channels_) {
    c->active = false;
    activate(*c);
  }
  turn_ = 0;
}

void stream_core::activate(channel& c) noexcept {
  if (std::exchange(c.active, true)) return;
  active_.push_back(&c);  // within what prepare() reserved
}

void stream_core::begin_turn() noexcept {
  turn_began_ = records_;
  loss_check_due_ = true;  // also for a reader who never catches up
  if (bell_) bell_->silence();
  if (epoll_.get() >= 0) find_active();
}

// Called before an idle channel is believed to be idle, and once a turn, so that a busy one cannot hide the others;
// also every so many records, for a reader that never ends its turn.
void stream_core::find_active() noexcept {
  ask_at_ = records_ + ask_every;
  // Their descriptors tell only once, and have perhaps told somebody else.
  for (auto* const c : perf_)
    if (!c->active && c->reader->has_more()) activate(*c);
  if (perf_.size() == channels_.size()) return;
  std::array<epoll_event, 64> events;
  for (std::size_t asked = 0; asked <= channels_.size(); asked += events.size()) {
    int const found = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 0);
    for (int i = 0; i < found; ++i) {
      auto* const c = static_cast<channel*>(events[static_cast<std::size_t>(i)].data.ptr);
      if (c != nullptr) activate(*c);
    }
    if (found < static_cast<int>(events.size())) return;
  }
}

read_status stream_core::peek_around() noexcept {
  held_for_order_ = {};
  if (channels_.size() <= 1) {
    rotate_at_ = never;
    return reader_->peek();
  }
  if (order_) return peek_in_order();
  if (records_ >= ask_at_) find_active();
  bool busy = false;
  for (;;) {
    auto const before = active_.size();
    for (std::size_t i = 0; i < before; ++i) {
      turn_ = (turn_ + 1) % before;
      auto const status = active_[turn_]->reader->peek();
      busy = busy || status == read_status::busy;
      if (status != read_status::ready && status != read_status::corrupt) continue;
      go_to(*active_[turn_]);
      rotate_at_ = records_ + quantum;
      return status;
    }
    find_active();
    if (active_.size() == before) return busy ? read_status::busy : read_status::empty;
  }
}

read_status stream_core::peek_in_order() noexcept {
  bool busy = false;
  for (bool asked = false;; asked = true) {
    if (asked) find_active();
    channel* oldest = nullptr;
    std::uint64_t oldest_time = 0;
    std::size_t ready = 0;
    for (auto* const c : active_) {
      auto const status = c->reader->peek();
      busy = busy || status == read_status::busy;
      if (status == read_status::corrupt) {
        go_to(*c);
        return status;
      }
      if (status != read_status::ready) continue;
      ++ready;
      auto const time = time_of(c->reader->head(), order_->offset);
      if (oldest != nullptr && time >= oldest_time) continue;
      oldest = c;
      oldest_time = time;
    }
    if (oldest != nullptr && (oldest_time <= ordered_until_ || ready == channels_.size())) {
      go_to(*oldest);
      rotate_at_ = records_ + 1;
      return read_status::ready;
    }
    if (!asked) continue;
    if (oldest == nullptr) return busy ? read_status::busy : read_status::empty;
    // Some channel is empty, and may yet get a record that is older: wait for it as long as was allowed, counted from
    // the record's time, or from now if that is in the future.
    auto const now = monotonic_now();
    auto const position = oldest->reader->head().position;
    if (held_.from != oldest || held_.position != position) held_ = {oldest, position, std::min(oldest_time, now)};
    auto const delay = static_cast<std::uint64_t>(order_->max_delay.count());
    auto const waited = now - held_.since;
    if (waited >= delay) {
      ordered_until_ = std::max(ordered_until_, now - delay);
      go_to(*oldest);
      rotate_at_ = records_ + 1;
      return read_status::ready;
    }
    // The descriptor is readable all the while, so it cannot tell: look at the empty ones now and then.
    held_for_order_ = std::min(std::chrono::nanoseconds{static_cast<std::int64_t>(delay - waited)},
                               std::clamp(order_->max_delay / 16, shortest_hold, longest_hold));
    return read_status::busy;
  }
}

std::chrono::nanoseconds stream_core::ran_dry(bool& found) noexcept {
  found = false;
  auto const pause = rule_.ran_dry(records_ - dry_records_, note_growth(), wakeup_rule::clock::now());
  dry_records_ = records_;
  if (pause.count() != 0) {
    let_sleep();
    return pause;
  }
  if (!listen()) return until_listening;
  for (auto* const c : active_) found = !c->reader->publish_and_check_empty() || found;
  if (found || channels_.size() <= 1) return {};
  for (auto* const c : active_) c->active = false;
  active_.clear();
  rotate_at_ = records_;  // who is read next must be active before
  return {};
}

// Bytes that were read since the stream last ran dry, where they were most.
std::uint64_t stream_core::note_growth() noexcept {
  std::uint64_t most = 0;
  for (auto* const c : active_) {
    std::uint64_t const now = c->reader->released();
    c->grown = now - std::exchange(c->seen, now);
    most = std::max(most, c->grown);
  }
  return most;
}

// Keeps those who write from waking us, as far as they can be kept.
void stream_core::let_sleep() noexcept {
  for (auto* const c : active_) {
    c->reader->hold_back();
    if (c->grown != 0 && !c->quiet && c->source.control) c->quiet = c->source.control->set_wakeups(false);
  }
}

// Has every event wake us again; false if that failed. Who is quiet is active.
bool stream_core::listen() noexcept {
  bool was_quiet = false;
  for (auto* const c : active_) {
    if (!c->quiet) continue;
    if (!c->source.control->set_wakeups(true)) return false;
    c->quiet = false;
    was_quiet = true;
  }
  if (was_quiet && bell_->ask()) await_grace_period(bell_);
  return true;
}

std::optional<std::uint64_t> stream_core::lost() const noexcept {
  if (channels_.empty()) return std::nullopt;
  std::uint64_t sum = 0;
  for (auto const& c : channels_) {
    auto const lost = c->lost();
    if (!lost) return std::nullopt;
    sum += *lost;
  }
  return sum;
}

std::optional<tinybpf::lost> stream_core::find_losses() noexcept {
  loss_check_due_ = false;
  std::uint64_t sum = 0;
  for (auto const& c : channels_)
    if (c->source.losses) sum += c->source.losses->sum();
  if (sum <= losses_told_) return std::nullopt;
  return tinybpf::lost{-1, sum - std::exchange(losses_told_, sum)};
}

void stream_core::count_lost(std::string_view ring, loss_counter&& losses, error_code& ec, diagnostics& details) {
  // The rings of an array are called `array[i]`, and share one counter. So do the perf buffers of a map.
  auto const in_array = [&](std::string_view name) {
    return name.size() > ring.size() && name.starts_with(ring) && name[ring.size()] == '[';
  };
  bool counted = false;
  for (auto const& r : channels_) {
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
  for (auto const& r : channels_) details.names.push_back(r->source.name);
  report(ec, details, errc::not_found, "no buffer '" + std::string{ring} + "' is in this stream",
         near_names(ring, details.names));
}

bool stream_core::check(type_shape shape, error_code& ec, diagnostics* details) {
  auto const same = [&](std::type_info const* t) { return *t == *shape.type; };
  if (std::none_of(checked_.begin(), checked_.end(), same)) {
    for (auto const& r : channels_) {
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

bool stream_core::describes(std::string_view btf_name, error_code& ec, diagnostics& details) const {
  begin(ec, details);
  if (closed() || channels_.empty()) return true;  // which the read says
  auto const what = "type '" + std::string{btf_name} + "' of " + description();
  std::string flaw;
  bool described = false;
  for (auto const& c : channels_) {
    auto const tables = c->source.types ? c->source.types->tables() : nullptr;
    if (!tables) continue;
    described = true;
    auto const id = find_value_type(tables->raw, btf_name);
    if (id == 0) continue;
    if (flaw = tables->flaw_of(id); flaw.empty()) return true;
  }
  details.map = name();
  if (!described) {
    report(ec, details, errc::no_btf, what, "compile the BPF program with -g");
  } else if (!flaw.empty()) {
    report(ec, details, errc::type_mismatch, what + " " + flaw + ": no record can be one");
  } else {
    for (auto const& c : channels_)
      if (c->source.types && c->source.types->tables() && details.names.empty())
        details.names = type_names(c->source.types->tables()->raw);
    report(ec, details, errc::not_found, what, near_names(btf_name, details.names) + "; " + anchor_hint(btf_name));
  }
  return false;
}

dynamic_value stream_core::take_viewed(std::string_view btf_name, record<> const& r, error_code& ec,
                                       diagnostics& details) {
  begin(ec, details);
  auto value = copy_viewed(btf_name, r, ec, details);
  if (ec) {
    details.map = r.map();
    details.position = r.position();
    details.message = current_->source.description() + ": the record at position " + std::to_string(r.position()) +
                      " was skipped: " + details.message;
  }
  drop_view();
  read_something();
  return value;
}

dynamic_value stream_core::copy_viewed(std::string_view btf_name, record<> const& r, error_code& ec,
                                       diagnostics& details) const {
  auto const tables = current_->source.types ? current_->source.types->tables() : nullptr;
  auto const type = tables ? btf_access::make(tables, find_value_type(tables->raw, btf_name)) : btf_type{};
  if (!type) {
    report(ec, details, errc::not_found, "its object has no type '" + std::string{btf_name} + "'");
    return {};
  }
  auto data = r.data();
  auto const size = type.size();
  if (found({}).length_for(size) == data.size()) data = data.first(size);
  if (data.size() != size && !(data.size() > size && ends_flexibly(tables->raw, type.id()))) {
    details.expected_size = size;
    details.actual_size = data.size();
    report(ec, details, errc::record_size,
           "it has " + std::to_string(data.size()) + " bytes and '" + type.to_string() + "' " + std::to_string(size));
    return {};
  }
  return dynamic_value{type, data, ec, details};
}

look_status stream_core::look(read_ops const& ops) noexcept {
  switch (peek()) {
    case read_status::ready:
      return ops.select(head()) >= 0 ? look_status::ready : look_status::bad;
    case read_status::corrupt:
      return look_status::bad;
    default:
      loss_check_due_ = true;
      return look_status::nothing;
  }
}

void stream_core::report_bad(read_ops const& ops, error_code& ec, diagnostics* details) {
  auto& reader = *reader_;
  diagnostics found;
  found.map = current_->source.name;
  auto const what = current_->source.description() + ": the record at position ";
  if (reader.peek() == read_status::ready) {
    auto const& head = reader.head();
    bool const unknown = ops.select(this->head()) == static_cast<int>(match::unknown);
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

void stream_core::refuse(errc why, std::string_view operation, error_code& ec, diagnostics* details) const {
  diagnostics said;
  said.map = name();
  auto const what = std::string{operation} + " on " + description();
  report(
      ec, said, why,
      why == errc::operation_in_progress ? what + ": another read, wait or range of this buffer has not ended" : what);
  if (details != nullptr) *details = std::move(said);
}

bool stream_core::refuse_budget(error_code& ec, diagnostics* details) const {
  ec = from_libbpf(EINVAL);
  if (details != nullptr) {
    details->map = name();
    report(ec, *details, ec, "a read of " + description() + " with a budget of 0 records");
  }
  return false;
}

bool may_read(stream_core* core, read_ops const& ops, std::string_view operation, error_code& ec,
              diagnostics* details) {
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

look_status look_or_throw(stream_core* core, read_ops const& ops, std::string_view operation) {
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

bool look_or_rest(stream_core* core, read_ops const& ops, std::string_view operation) {
  if (look_or_throw(core, ops, operation) == look_status::ready) return true;
  core->rest();
  return false;
}

void refuse_closed(std::string_view operation, error_code& ec, diagnostics* details) {
  ec = errc::closed;
  if (details != nullptr) report(ec, *details, errc::closed, std::string{operation} + " on a closed buffer");
}

}  // namespace tinybpf::detail
