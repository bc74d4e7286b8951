// Channels as one stream, without I/O of its own: whose turn it is, what is known of types and losses, when to sleep.
#pragma once

#include <tinybpf/detail/channel.hpp>
#include <tinybpf/detail/doorbell.hpp>
#include <tinybpf/detail/fork_count.hpp>
#include <tinybpf/detail/owned_descriptor.hpp>
#include <tinybpf/detail/reading.hpp>
#include <tinybpf/detail/record_reader.hpp>
#include <tinybpf/detail/wakeup_rule.hpp>
#include <tinybpf/error.hpp>
#include <tinybpf/event.hpp>
#include <tinybpf/layout.hpp>
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
class dynamic_value;
}  // namespace tinybpf

namespace tinybpf::detail {

/// Channels are read in the order of a field of their records: nanoseconds of CLOCK_MONOTONIC.
struct time_order {
  std::size_t offset = 0;                ///< Of the field, 8 bytes wide.
  std::chrono::nanoseconds max_delay{};  ///< How long a record waits for older ones of other channels.
};

/// Channels on their way into a stream.
struct joining_channels {
  joining_channels() = default;

  std::vector<std::unique_ptr<channel>> channels;
  owned_descriptor over_all;       ///< Over them and those that are there, if it is new.
  std::shared_ptr<doorbell> bell;  ///< For all that need one, if there are new ones.
  int native_handle = -1;          ///< What the stream's will be.
};

/// What became of one look at the stream.
enum class look_status : std::uint8_t {
  ready,    ///< There is a record, and it fits.
  nothing,  ///< There is none now.
  bad,      ///< There is one that does not fit, or a corrupt one.
};

class stream_core;

/// What the compiled code must know of a list of types that is read.
struct read_ops {
  bool (*check)(stream_core&, error_code&,
                diagnostics*);                  ///< Holds the types against the object's; null if that was done.
  int (*select)(found_record const&) noexcept;  ///< See reading::select.
  std::span<type_shape const> (*shapes)();      ///< For what is said of records that do not fit.
};

/// What is shared by a buffer, its pending operations and its ranges. Not thread-safe, but for
/// `publish_from_elsewhere()`.
class stream_core {
 public:
  stream_core();
  stream_core(stream_core const&) = delete;
  stream_core& operator=(stream_core const&) = delete;
  virtual ~stream_core();

  /// Gets channels ready to `join`, or, if that is not to be, to be given to `abandon`. Errors: EEXIST for one that is
  /// there already; the kernel's, and then there is nothing to abandon.
  joining_channels prepare(std::vector<channel_source>&& sources, std::type_info const* type, error_code& ec,
                           diagnostics& details);
  void abandon(joining_channels const& joining) noexcept;
  void join(joining_channels&& joining) noexcept;

  /// What tells that there may be something to read: the first ring's descriptor, or one over all channels.
  [[nodiscard]] int native_handle() const noexcept;
  /// To be rung when a wait was armed on it; null if there is no need.
  [[nodiscard]] std::shared_ptr<doorbell> const& bell() const noexcept { return bell_; }
  [[nodiscard]] std::string_view name() const noexcept {
    return channels_.empty() ? std::string_view{} : std::string_view{channels_.front()->source.name};
  }
  /// "ring buffer 'events'"
  [[nodiscard]] std::string description() const;
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
  /// Likewise, and lets it wake whoever polls the descriptor.
  void publish_and_listen() noexcept;
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

  /// Whether any channel's object has a type of that name, of which there can be values.
  bool describes(std::string_view btf_name, error_code& ec, diagnostics& details) const;
  /// A copy of the record that is viewed, as its own object's type of that name. Goes on behind it in any case.
  dynamic_value take_viewed(std::string_view btf_name, record<> const& r, error_code& ec, diagnostics& details);

  /// Looks for the next record: where the last one came from, unless it is another channel's turn.
  read_status peek() noexcept {
    if (records_ < rotate_at_) [[likely]] {
      auto const status = reader_->peek();
      if (status == read_status::ready) [[likely]]
        return status;
    }
    return peek_around();
  }

  /// As `peek`, and tells whether the record fits the types.
  look_status look(read_ops const& ops) noexcept;

  /// The record that was found.
  [[nodiscard]] found_record head() const noexcept { return current_->found(reader_->head()); }
  /// The same, where types of this alignment can be viewed.
  [[nodiscard]] found_record head(std::size_t alignment) const noexcept {
    return current_->found(reader_->head(alignment));
  }

  /// Goes on behind it.
  void release() noexcept {
    ++records_;
    reader_->release();
  }

  /// The fast half of `peek`: the next record if it is plainly there, or one without data. To be asked only while it is
  /// the current channel's turn: `records() < turn_ends()`.
  [[nodiscard]] raw_record glance() const noexcept { return reader_->glance(); }
  [[nodiscard]] std::uint64_t records() const noexcept { return records_; }
  [[nodiscard]] std::uint64_t turn_ends() const noexcept { return rotate_at_; }

  /// Where it came from.
  [[nodiscard]] found_record found(raw_record const& r) const noexcept { return current_->found(r); }

  /// Goes on behind what `glance` or `peek` gave.
  void pass(raw_record const& r) noexcept {
    ++records_;
    reader_->pass(r);
  }

  /// True if a read of the types need not be checked further.
  template <class... Ts>
  [[nodiscard]] bool ready_for() const noexcept {
    return state_ == 0 && !in_run_ && publisher_on_.load(std::memory_order_relaxed) &&
           (known_last<typename alternative<Ts>::event_type>() && ...);
  }

  /// Lets the reads that follow walk records of type E, as far as neither the turn of another channel nor anything else
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
  record_reader& begin_leased_run(std::uint64_t until) noexcept {
    begin_run_within<E>(until - records_);
    return *reader_;
  }
  /// The next record of the run, aligned as it happens to be, or null if there is none: then ask `look`.
  template <class E, class Key>
  [[nodiscard]] std::byte const* next_of_run() const noexcept {
    return run_of_ == &typeid(Key) ? reader_->template run_next<sizeof(E), 1>() : nullptr;
  }
  /// Likewise, and only within the budget of the loop's turn.
  template <class E, class Key>
  [[nodiscard]] std::byte const* next_of_turn() const noexcept {
    return turn_run_of_ == &typeid(Key) ? reader_->template run_next<sizeof(E), 1>() : nullptr;
  }
  /// Goes on behind it.
  void pass_in_run() noexcept { reader_->run_pass(); }
  /// Ends the run, if there is one. A range whose run ends under it still goes on behind its current record as in a
  /// run; that counts with the next call.
  void settle() noexcept {
    if (in_run_) end_run();
  }
  /// Likewise once a range has gone on, before it looks anywhere else.
  void finish_run() noexcept {
    settle();
    in_run_ = false;
  }

  /// Takes the record that was found to fit.
  template <class... Ts>
  typename reading<Ts...>::value take() noexcept {
    if constexpr (reading<Ts...>::view) {
      state_ |= viewed;
      return reading<Ts...>::take(head(reading<Ts...>::alignment));
    } else {
      typename reading<Ts...>::value value = reading<Ts...>::take(head());
      release();
      return value;
    }
  }

  /// Losses that the stream did not tell of yet: those in front of the head; and those that the BPF side counted, asked
  /// once a turn, and after each time the stream ran dry.
  std::optional<tinybpf::lost> new_losses() noexcept {
    if (reader_->lost_before_head() != 0) return tinybpf::lost{current_->source.cpu, reader_->take_lost()};
    return loss_check_due_ ? find_losses() : std::nullopt;
  }
  /// Takes losses back that were not told after all, if nothing was read since.
  void keep_losses(tinybpf::lost losses) noexcept {
    if (losses.cpu >= 0) return reader_->keep_lost(losses.count);
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
  /// How long a record that is there must wait for older ones of other channels; zero if none does.
  [[nodiscard]] std::chrono::nanoseconds held_for_order() const noexcept { return held_for_order_; }
  /// Looks at all channels next time, whatever their descriptors say.
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
  /// Somebody will call the bell's `after_grace_period` as often as it wants, on a thread that may block.
  virtual void await_grace_period(std::shared_ptr<doorbell> const& bell) noexcept {
    while (bell->after_grace_period()) {
    }
  }

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

  // What is known to arrive on the current channel.
  template <class E>
  [[nodiscard]] bool carries() const noexcept {
    return current_->type == nullptr || *current_->type == typeid(E);
  }

  template <class E>
  void begin_run_within(std::uint64_t records) noexcept {
    reader_->template begin_run<sizeof(E)>(records_ < rotate_at_ ? std::min(records, rotate_at_ - records_) : 0);
    in_run_ = true;
    publish_in_time();
  }
  void end_run() noexcept;

  void go_to(channel& c) noexcept {
    current_ = &c;
    reader_ = c.reader.get();
  }
  void activate(channel& c) noexcept;
  std::uint64_t note_growth() noexcept;
  void let_sleep() noexcept;
  bool listen() noexcept;

  errc begin_read_slowly() noexcept;
  void drop_view() noexcept;
  read_status peek_around() noexcept;
  read_status peek_in_order() noexcept;
  void find_active() noexcept;
  std::optional<tinybpf::lost> find_losses() noexcept;
  dynamic_value copy_viewed(std::string_view btf_name, record<> const& r, error_code& ec, diagnostics& details) const;
  bool check(type_shape shape, error_code& ec, diagnostics* details);
  bool refuse_budget(error_code& ec, diagnostics* details) const;

  static constexpr std::uint64_t never = std::numeric_limits<std::uint64_t>::max();
  static constexpr std::uint64_t quantum = 64;      // records of one channel before another has its turn
  static constexpr std::uint64_t ask_every = 1024;  // records before idle ones are asked whether they still are
  static constexpr std::chrono::nanoseconds shortest_hold = std::chrono::microseconds{50};
  static constexpr std::chrono::nanoseconds longest_hold = std::chrono::milliseconds{1};
  static constexpr std::chrono::nanoseconds until_listening = std::chrono::milliseconds{1};

  std::uint32_t state_ = 0;
  bool in_run_ = false;                          // or a range still goes on as in one
  std::type_info const* run_of_ = nullptr;       // the key of a run that try_next may walk,
  std::type_info const* turn_run_of_ = nullptr;  // and of one that next may walk, too
  std::size_t budget_ = 1024;
  std::atomic<bool> publisher_on_{false};
  std::atomic<bool> waits_{false};  // waited_for, for publish_from_elsewhere()
  channel none_;                    // what is current while there is none
  channel* current_ = &none_;
  record_reader* reader_ = none_.reader.get();  // the current one's
  std::uint64_t records_ = 0;                   // read so far
  std::uint64_t rotate_at_ = never;             // when another channel has its turn
  std::uint64_t turn_began_ = 0;                // the count when the loop last had its turn
  std::uint64_t dry_records_ = 0;               // the count when the stream last ran dry
  std::type_info const* last_checked_ = nullptr;
  bool loss_check_due_ = true;

  std::mutex channels_mutex_;  // growth of channels_ against publish_from_elsewhere()
  std::vector<std::unique_ptr<channel>> channels_;
  std::uint64_t published_elsewhere_ = 0;  // the sum of the ends that it found
  std::vector<channel*> active_;           // with several: those that may have something
  std::vector<channel*> perf_;             // those whose descriptors cannot tell
  std::size_t turn_ = 0;                   // index into active_
  std::uint64_t ask_at_ = 0;               // the count of records at which to ask the idle ones
  owned_descriptor epoll_;                 // over all of them, unless it is one ring
  std::shared_ptr<doorbell> bell_;         // beside perf buffers
  std::optional<time_order> order_;
  std::uint64_t ordered_until_ = 0;  // records up to this time may be given out
  struct {
    channel const* from = nullptr;
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
bool may_read(stream_core* core, read_ops const& ops, std::string_view operation, error_code& ec, diagnostics* details);

/// Looks for the next record; every error is thrown. Diagnostics are made only when there is something to say.
look_status look_or_throw(stream_core* core, read_ops const& ops, std::string_view operation);

/// Likewise for a read that does not wait: false, and the policy's share handed back, if nothing is there.
bool look_or_rest(stream_core* core, read_ops const& ops, std::string_view operation);

/// Whether a verb still has to hold its types against the object's.
enum class type_check : bool { skip, once };

template <class... Ts>
std::span<type_shape const> shapes_of() {
  static type_shape const shapes[] = {[]<class E>(std::type_identity<E>) {
    if constexpr (std::is_void_v<E>) {
      return type_shape{&typeid(void)};
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
        : +[](stream_core& core, error_code& ec, diagnostics* details) { return core.knows<Ts...>(ec, details); },
    &reading<Ts...>::select, &shapes_of<Ts...>};

}  // namespace tinybpf::detail
