// Ring buffers as one stream, without I/O: the mappings, the readers, what is known of types and losses.
#pragma once

#include <tinybpf/btf.hpp>
#include <tinybpf/detail/fork_count.hpp>
#include <tinybpf/detail/owned_descriptor.hpp>
#include <tinybpf/detail/reading.hpp>
#include <tinybpf/detail/ring_reader.hpp>
#include <tinybpf/detail/wakeup_rule.hpp>
#include <tinybpf/error.hpp>
#include <tinybpf/event.hpp>
#include <tinybpf/wakeup.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <typeinfo>
#include <vector>

namespace tinybpf {
class map;
}

namespace tinybpf::detail {

class type_registry;

/// The slots of a `<ring>_lost` map.
struct loss_counter {
  void const* slots = nullptr;
  std::size_t count = 0;
  std::shared_ptr<void> mapping;  ///< Keeps them mapped.

  [[nodiscard]] std::uint64_t sum() const noexcept;
};

/// Where a ring's memory and wake-ups come from: a map, or what a test made up.
struct ring_source {
  ring_source() = default;

  ring_regions regions;
  std::shared_ptr<void> mapping;         ///< Keeps the regions mapped.
  owned_descriptor descriptor;           ///< Readable while there is something to read.
  std::string name;                      ///< The map's name.
  std::uint32_t map_id = 0;              ///< The kernel's id of the map; 0 if it has none.
  std::shared_ptr<type_registry> types;  ///< May be null: then only sizes are checked.
  std::optional<loss_counter> losses;    ///< Nothing if losses are not counted.
};

/// Maps a ring buffer, or all that an array of ring buffers holds, and finds what belongs to them. Errors:
/// `errc::closed`, `errc::not_loaded`, `errc::wrong_map_type`, `errc::not_supported` for a ring that overwrites unread
/// records, or the kernel's.
std::vector<ring_source> open_rings(map const& m, error_code& ec, diagnostics& details);

/// Maps a `<ring>_lost` map. Errors: `errc::wrong_map_type` if it is not as tinybpf.bpf.h declares it, and the like.
loss_counter open_losses(map const& m, error_code& ec, diagnostics& details);

/// Rings are read in the order of a field of their records: nanoseconds of CLOCK_MONOTONIC.
struct time_order {
  std::size_t offset = 0;                ///< Of the field, 8 bytes wide.
  std::chrono::nanoseconds max_delay{};  ///< How long a record waits for older ones of other rings.
};

/// One ring of a stream.
struct ring_state {
  ring_state() = default;
  explicit ring_state(ring_source&& s, std::type_info const* t)
      : source{std::move(s)}, reader{source.regions}, type{t} {}

  [[nodiscard]] found_record head() const noexcept { return {reader.head(), source.name, type}; }

  ring_source source;
  ring_reader reader;
  std::type_info const* type = nullptr;  ///< What it carries, if that was said when it was added.
  bool active = false;                   ///< May have something to read.
};

/// Rings on their way into a stream.
struct joining_rings {
  joining_rings() = default;

  std::vector<std::unique_ptr<ring_state>> rings;
  owned_descriptor over_all;  ///< Over them and those that are there, if it is new.
  int native_handle = -1;     ///< What the stream's will be.
};

/// What became of one look at the stream.
enum class look_status : std::uint8_t {
  ready,    ///< There is a record, and it fits.
  nothing,  ///< There is none now.
  bad,      ///< There is one that does not fit, or a corrupt one.
};

class ring_core;

/// What the compiled code must know of a list of types that is read.
struct read_ops {
  bool (*check)(ring_core&, error_code&,
                diagnostics*);                  ///< Holds the types against the object's; null if that was done.
  int (*select)(found_record const&) noexcept;  ///< See reading::select.
  std::span<type_shape const> (*shapes)();      ///< For what is said of records that do not fit.
};

/// What is shared by a buffer, its pending operations and its ranges. Not thread-safe, but for
/// `publish_from_elsewhere()`.
class ring_core {
 public:
  ring_core();
  ring_core(ring_core const&) = delete;
  ring_core& operator=(ring_core const&) = delete;
  virtual ~ring_core();

  /// Gets rings ready to `join`, or, if that is not to be, to be given to `abandon`. Errors: EEXIST for one that is
  /// there already; the kernel's, and then there is nothing to abandon.
  joining_rings prepare(std::vector<ring_source>&& sources, std::type_info const* type, error_code& ec,
                        diagnostics& details);
  void abandon(joining_rings const& joining) noexcept;
  void join(joining_rings&& joining) noexcept;

  /// What tells that there may be something to read: the first ring's descriptor, or one over all rings.
  [[nodiscard]] int native_handle() const noexcept;
  [[nodiscard]] std::size_t rings() const noexcept { return rings_.size(); }
  [[nodiscard]] std::string_view name() const noexcept {
    return rings_.empty() ? std::string_view{} : std::string_view{rings_.front()->source.name};
  }
  [[nodiscard]] bool closed() const noexcept { return (state_ & shut) != 0; }

  /// Whether an operation is waiting.
  [[nodiscard]] bool waiting() const noexcept { return (state_ & waited_for) != 0; }
  void set_waiting(bool yes) noexcept;

  [[nodiscard]] std::optional<std::uint64_t> lost() const noexcept;
  void count_lost(std::string_view ring, loss_counter&& losses, error_code& ec, diagnostics& details);

  void set_policy(wakeup_policy policy) noexcept;
  [[nodiscard]] wakeup_policy policy() const noexcept { return rule_.policy(); }
  void set_order(time_order const& order) noexcept;

  /// Publishes and refuses everything from now on.
  void close() noexcept;
  /// True in a child that was forked since: it shares the pages and must leave them alone.
  [[nodiscard]] bool forked() const noexcept { return made_by_.forked(); }

  /// Hands everything that was read back to the kernel.
  void publish() noexcept;
  /// Likewise from another thread than the reader's, unless a reader is waiting: then it has decided itself. True if
  /// there was something that had been read since the last call.
  bool publish_from_elsewhere() noexcept;
  /// Hands back what the policy does not want held.
  void rest() noexcept;

  /// What a read may not do now: nothing, `errc::closed` or `errc::operation_in_progress`. Ends the view that an
  /// earlier read gave out.
  errc begin_read() noexcept {
    settle();
    return state_ == 0 ? errc{} : begin_read_slowly();
  }

  /// Checks the types against the object's, once per type and buffer.
  template <class... Ts>
  bool knows(error_code& ec, diagnostics* details) {
    return (knows_one<typename alternative<Ts>::event_type>(ec, details) && ...);
  }

  /// Looks for the next record: where the last one came from, unless it is another ring's turn.
  ring_status peek() noexcept {
    if (records_ < rotate_at_) [[likely]] {
      auto const status = current_->reader.peek();
      if (status == ring_status::ready) [[likely]]
        return status;
    }
    return peek_around();
  }

  /// As `peek`, and tells whether the record fits the types.
  look_status look(read_ops const& ops) noexcept;

  /// The record that was found.
  [[nodiscard]] found_record head() const noexcept { return current_->head(); }

  /// Goes on behind it.
  void release() noexcept {
    ++records_;
    current_->reader.release();
  }

  /// The fast half of `peek`: the next record if it is plainly there, or one without data. To be asked only while it is
  /// the current ring's turn: `records() < turn_ends()`.
  [[nodiscard]] raw_record glance() const noexcept { return current_->reader.glance(); }
  [[nodiscard]] std::uint64_t records() const noexcept { return records_; }
  [[nodiscard]] std::uint64_t turn_ends() const noexcept { return rotate_at_; }

  /// Where it came from.
  [[nodiscard]] found_record found(raw_record const& r) const noexcept {
    return {r, current_->source.name, current_->type};
  }

  /// Goes on behind what `glance` or `peek` gave.
  void pass(raw_record const& r) noexcept {
    ++records_;
    current_->reader.pass(r);
  }

  /// True if a read of the types need not be checked further.
  template <class... Ts>
  [[nodiscard]] bool ready_for() const noexcept {
    return state_ == 0 && run_size_ == 0 && publisher_on_.load(std::memory_order_relaxed) &&
           (known_last<typename alternative<Ts>::event_type>() && ...);
  }

  /// Lets the reads that follow walk records of type E, as far as neither the turn of another ring nor anything else
  /// has to be looked at. E was checked and is `uniform`, and an E was just read. Key tells apart who may walk it: the
  /// buffer, or a typed view, which checks nothing.
  template <class E, class Key>
  void begin_run() noexcept {
    if (state_ != 0 || !carries<E>()) return;
    bool const in_turn = spent() < budget_ && policy().decides() != wakeup_policy::kind::immediate;
    begin_run_within<E>(in_turn ? budget_ - spent() : never);
    run_of_ = &typeid(Key);
    if (in_turn) turn_run_of_ = run_of_;
  }
  /// Likewise for a range that has found an E, and walks at most to `until`, a count of records. Gives the reader to
  /// walk with.
  template <class E>
  ring_reader& begin_leased_run(std::uint64_t until) noexcept {
    begin_run_within<E>(until - records_);
    return current_->reader;
  }
  /// The next record of the run, or null if there is none: then ask `look`.
  template <class E, class Key>
  [[nodiscard]] std::byte const* next_of_run() const noexcept {
    return run_of_ == &typeid(Key) ? current_->reader.run_next<sizeof(E)>() : nullptr;
  }
  /// Likewise, and only within the budget of the loop's turn.
  template <class E, class Key>
  [[nodiscard]] std::byte const* next_of_turn() const noexcept {
    return turn_run_of_ == &typeid(Key) ? current_->reader.run_next<sizeof(E)>() : nullptr;
  }
  /// Goes on behind it.
  template <class E>
  void pass_in_run() noexcept {
    current_->reader.run_pass<sizeof(E)>();
  }
  /// Ends the run, if there is one. A range whose run ends under it still goes on behind its current record as in a
  /// run; that counts with the next call.
  void settle() noexcept {
    if (run_size_ != 0) end_run();
  }
  /// Likewise once a range has gone on, before it looks anywhere else.
  void finish_run() noexcept {
    settle();
    run_size_ = 0;
  }

  /// Takes the record that was found to fit.
  template <class... Ts>
  typename reading<Ts...>::value take() noexcept {
    typename reading<Ts...>::value value = reading<Ts...>::take(current_->head());
    if constexpr (reading<Ts...>::view) {
      state_ |= viewed;
    } else {
      release();
    }
    return value;
  }

  /// Losses that the stream did not tell of yet; asked once a turn, and after each time the stream ran dry.
  std::optional<tinybpf::lost> new_losses() noexcept { return loss_check_due_ ? find_losses() : std::nullopt; }
  /// Takes losses back that were not told after all.
  void keep_losses(tinybpf::lost losses) noexcept {
    losses_told_ -= losses.count;
    loss_check_due_ = true;
  }

  /// Says what is wrong with the head, and goes on behind it.
  void report_bad(read_ops const& ops, error_code& ec, diagnostics* details);

  /// What every refusal says.
  void refuse(errc why, std::string_view operation, error_code& ec, diagnostics* details) const;

  /// A budget of 0 records could never give one.
  bool checks_budget(std::size_t records, error_code& ec, diagnostics* details) const {
    return records != 0 || refuse_budget(ec, details);
  }

  void lease() noexcept { state_ |= leased; }
  /// Nothing is handed back unless it is `ours`: not a forked child's.
  void end_lease(bool ours) noexcept;

  /// To be called after reads: hands back what was read if the policy wants that, and else sees to it that it will be,
  /// even if the user never comes back.
  void read_something() noexcept {
    if (policy().decides() == wakeup_policy::kind::immediate)
      publish();
    else
      publish_in_time();
  }

  /// The second half of that. In a run, to be called after its end was set: whoever switches the publisher off does the
  /// two in the other order.
  void publish_in_time() noexcept {
    if (!publisher_on_.load(std::memory_order_seq_cst)) {
      publisher_on_.store(true, std::memory_order_relaxed);
      arm_publisher();
    }
  }

  /// Records read since the loop last had its turn.
  [[nodiscard]] std::size_t spent() const noexcept { return static_cast<std::size_t>(records_ - turn_began_); }
  void begin_turn() noexcept;

  /// What to do when nothing is there. Zero: everything is published, a writer who comes will wake the descriptor
  /// (`found` if one came just now). Else: look again after this time.
  std::chrono::nanoseconds ran_dry(bool& found) noexcept;
  /// How long a record that is there must wait for older ones of other rings; zero if none does.
  [[nodiscard]] std::chrono::nanoseconds held_for_order() const noexcept { return held_for_order_; }
  /// Looks at all rings next time, whatever their descriptors say.
  void look_everywhere() noexcept;

  /// How many records `next` may read before the loop has its turn.
  [[nodiscard]] std::size_t budget() const noexcept { return budget_; }
  void set_budget(std::size_t records) noexcept {
    settle();
    budget_ = records;
  }

 protected:
  /// Somebody will call `publish_from_elsewhere` before long, and call this again while that finds something.
  virtual void arm_publisher() noexcept {}
  /// Nobody will any more, until the next `arm_publisher`.
  void publisher_is_off() noexcept;

 private:
  template <class E>
  bool knows_one(error_code& ec, diagnostics* details) {
    if constexpr (std::is_void_v<E>) {
      return true;
    } else {
      return last_checked_ == &typeid(E) || check(shape_of<E>(), ec, details);
    }
  }

  template <class E>
  bool known_last() const noexcept {
    if constexpr (std::is_void_v<E>) {
      return true;
    } else {
      return last_checked_ == &typeid(E);
    }
  }

  // Why a read may not simply go ahead: bits of state_.
  static constexpr std::uint32_t shut = 1;        // closed
  static constexpr std::uint32_t leased = 2;      // a range is out
  static constexpr std::uint32_t waited_for = 4;  // an operation is waiting
  static constexpr std::uint32_t viewed = 8;      // the last read gave out a view of the head

  // What is known to arrive on the current ring.
  template <class E>
  [[nodiscard]] bool carries() const noexcept {
    return current_->type == nullptr || *current_->type == typeid(E);
  }

  template <class E>
  void begin_run_within(std::uint64_t records) noexcept {
    current_->reader.begin_run<sizeof(E)>(records_ < rotate_at_ ? std::min(records, rotate_at_ - records_) : 0);
    run_size_ = sizeof(E);
    publish_in_time();
  }
  void end_run() noexcept;

  errc begin_read_slowly() noexcept;
  void drop_view() noexcept;
  ring_status peek_around() noexcept;
  ring_status peek_in_order() noexcept;
  void find_active() noexcept;
  std::optional<tinybpf::lost> find_losses() noexcept;
  bool check(type_shape shape, error_code& ec, diagnostics* details);
  bool refuse_budget(error_code& ec, diagnostics* details) const;

  static constexpr std::uint64_t never = std::numeric_limits<std::uint64_t>::max();
  static constexpr std::uint64_t quantum = 64;      // records of one ring before another has its turn
  static constexpr std::uint64_t ask_every = 1024;  // records before idle rings are asked whether they still are
  static constexpr std::chrono::nanoseconds shortest_hold = std::chrono::microseconds{50};
  static constexpr std::chrono::nanoseconds longest_hold = std::chrono::milliseconds{1};

  std::uint32_t state_ = 0;
  std::uint32_t run_size_ = 0;                   // the length of the records in the run; 0 if there is none
  std::type_info const* run_of_ = nullptr;       // the key of a run that try_next may walk,
  std::type_info const* turn_run_of_ = nullptr;  // and of one that next may walk, too
  std::size_t budget_ = 1024;
  std::atomic<bool> publisher_on_{false};
  std::atomic<bool> waits_{false};  // waited_for, for publish_from_elsewhere()
  ring_state none_;                 // what is current while there is no ring
  ring_state* current_ = &none_;
  std::uint64_t records_ = 0;        // read so far
  std::uint64_t rotate_at_ = never;  // when another ring has its turn
  std::uint64_t turn_began_ = 0;     // the count when the loop last had its turn
  std::uint64_t dry_records_ = 0;    // the counts when the stream last ran dry
  std::uint64_t dry_released_ = 0;
  std::type_info const* last_checked_ = nullptr;
  bool loss_check_due_ = true;

  std::mutex rings_mutex_;  // growth of rings_ against publish_from_elsewhere()
  std::vector<std::unique_ptr<ring_state>> rings_;
  std::uint64_t published_elsewhere_ = 0;  // the sum of the ends that it found
  std::vector<ring_state*> active_;        // with several rings: those that may have something
  std::size_t turn_ = 0;                   // index into active_
  std::uint64_t ask_at_ = 0;               // the count of records at which to ask the idle rings
  owned_descriptor epoll_;                 // with several rings: over all of them
  std::optional<time_order> order_;
  std::uint64_t ordered_until_ = 0;  // records up to this time may be given out
  struct {
    ring_state const* ring = nullptr;
    std::uint64_t position = 0;
    std::uint64_t since = 0;
  } held_;  // the record that waits for older ones
  std::chrono::nanoseconds held_for_order_{};
  wakeup_rule rule_{{}, 0};
  std::vector<std::type_info const*> checked_;
  std::uint64_t losses_told_ = 0;
  fork_mark made_by_;
};

/// Refuses an operation on a buffer that is no more.
void refuse_closed(std::string_view operation, error_code& ec, diagnostics* details);

/// Whether a read may look at all: the buffer may be null or closed, in use by another read, or the types may not fit.
bool may_read(ring_core* core, read_ops const& ops, std::string_view operation, error_code& ec, diagnostics* details);

/// Looks for the next record; every error is thrown. Diagnostics are made only when there is something to say.
look_status look_or_throw(ring_core* core, read_ops const& ops, std::string_view operation);

/// Likewise for a read that does not wait: false, and the policy's share handed back, if nothing is there.
bool look_or_rest(ring_core* core, read_ops const& ops, std::string_view operation);

/// Whether a verb still has to hold its types against the object's.
enum class type_check : bool { skip, once };

template <class... Ts>
std::span<type_shape const> shapes_of() {
  static type_shape const shapes[] = {[]<class E>(std::type_identity<E>) {
    if constexpr (std::is_void_v<E>) {
      return type_shape{&typeid(void), 0, 0};
    } else {
      return shape_of<E>();
    }
  }(std::type_identity<typename alternative<Ts>::event_type>{})...};
  return shapes;
}

template <type_check Check, class... Ts>
inline constexpr read_ops ops_of{
    Check == type_check::skip
        ? nullptr
        : +[](ring_core& core, error_code& ec, diagnostics* details) { return core.knows<Ts...>(ec, details); },
    &reading<Ts...>::select, &shapes_of<Ts...>};

}  // namespace tinybpf::detail
