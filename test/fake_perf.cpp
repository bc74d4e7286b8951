#include "fake_perf.hpp"

#include "support.hpp"

#include <linux/perf_event.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <limits>
#include <map>
#include <mutex>
#include <new>
#include <optional>
#include <stdexcept>
#include <utility>

// The linker sends every call of epoll_ctl here (--wrap), and this name to the real one.
extern "C" int __real_epoll_ctl(int epoll, int operation, int fd, epoll_event* event);

namespace test {
namespace {

#if defined(__SANITIZE_THREAD__)
constexpr bool one_view = true;
#elif defined(__has_feature)
constexpr bool one_view = __has_feature(thread_sanitizer);
#else
constexpr bool one_view = false;
#endif

constexpr std::uint64_t event_id = 77;

std::size_t page_size() { return static_cast<std::size_t>(sysconf(_SC_PAGESIZE)); }

// One mapping of the buffer: guard, header page, guard, data, guard.
class view {
 public:
  view(int memory, std::size_t size, int protection) : length_{4 * page_size() + size} {
    base_ = static_cast<std::byte*>(mmap(nullptr, length_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (base_ == MAP_FAILED) throw std::bad_alloc{};
    place(page_size(), page_size(), PROT_READ | PROT_WRITE, memory, 0);
    place(3 * page_size(), size, protection, memory, page_size());
  }
  view(view const&) = delete;
  view& operator=(view const&) = delete;
  ~view() { munmap(base_, length_); }

  std::byte* header() const { return base_ + page_size(); }
  std::byte* data() const { return base_ + 3 * page_size(); }

 private:
  void place(std::size_t at, std::size_t bytes, int protection, int memory, std::size_t offset) {
    auto* const placed =
        mmap(base_ + at, bytes, protection, MAP_SHARED | MAP_FIXED, memory, static_cast<off_t>(offset));
    if (placed == MAP_FAILED) throw std::bad_alloc{};
  }

  std::size_t length_;
  std::byte* base_;
};

template <class T>
std::array<std::byte, sizeof(T)> raw(T const& value) {
  return std::bit_cast<std::array<std::byte, sizeof(T)>>(value);
}

}  // namespace

std::ostream& operator<<(std::ostream& out, perf_call c) {
  constexpr std::array<char const*, 6> names{"on", "off", "on (refused)", "off (refused)", "lost", "close"};
  return out << names.at(static_cast<std::size_t>(c));
}

struct fake_perf::state {
  state(std::size_t bytes, position_type start)
      : size{bytes},
        writer{memory.fd(), bytes, PROT_READ | PROT_WRITE},
        reader{memory.fd(), bytes, PROT_READ},
        event{checked(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd")},
        position{start},
        wakeup{start} {
    if (!std::has_single_bit(bytes) || bytes % page_size() != 0 || start % 8 != 0)
      throw std::invalid_argument{"no kernel makes such a buffer"};
    checked(ftruncate(memory.fd(), static_cast<off_t>(page_size() + bytes)), "ftruncate");
    word(offsetof(perf_event_mmap_page, data_offset)).store(page_size());
    word(offsetof(perf_event_mmap_page, data_size)).store(bytes);
    head().store(start);
    tail().store(start);
  }

  std::atomic_ref<position_type> head() const { return word(offsetof(perf_event_mmap_page, data_head)); }
  std::atomic_ref<position_type> tail() const { return word(offsetof(perf_event_mmap_page, data_tail)); }
  // Of the header page, which has them as unsigned long long.
  std::atomic_ref<position_type> word(std::size_t offset) const {
    return std::atomic_ref{*reinterpret_cast<position_type*>(writer.header() + offset)};
  }
  std::byte* at(position_type where) const { return writer.data() + (where & (size - 1)); }

  // perf_output_copy: split around the end.
  void copy(position_type& to, std::span<std::byte const> data) const {
    while (!data.empty()) {
      auto const piece = std::min(data.size(), static_cast<std::size_t>(size - (to & (size - 1))));
      std::memcpy(at(to), data.data(), piece);
      data = data.subspan(piece);
      to += piece;
    }
  }

  // Records begin with their header as one word: hostile tests change it while a reader looks.
  void put_header(position_type& to, std::uint32_t type, std::uint16_t misc, std::size_t bytes) const {
    set_word(to, std::bit_cast<std::uint64_t>(perf_event_header{type, misc, static_cast<std::uint16_t>(bytes)}));
    to += sizeof(perf_event_header);
  }
  template <class T>
  void set_word(position_type where, T word) const {
    std::atomic_ref{*reinterpret_cast<T*>(at(where))}.store(word, std::memory_order_relaxed);
  }

  // perf_output_begin, what `write` puts behind it, and perf_output_end, of a record that takes so many bytes.
  template <class Write>
  bool reserve(std::size_t bytes, bool wakes, Write write) {
    if (bytes > std::numeric_limits<std::uint16_t>::max()) throw std::invalid_argument{"no header says so much"};
    bool is_loud = false;
    {
      std::lock_guard const lock{control_mutex};
      if (!in_map) {
        ++refused;
        return false;
      }
      is_loud = loud && wakes;
    }
    auto const told = untold.load(std::memory_order_relaxed);
    auto const all = bytes + (told != 0 ? lost_size : 0);
    // CIRC_SPACE
    auto const room = (tail().load(std::memory_order_acquire) - (position + 1)) & (size - 1);
    if (room < all) {
      ++untold;
      ++lost;
      return false;
    }
    auto const woken_before = wakeup;
    auto to = position;
    position += all;
    if (static_cast<std::int64_t>(position - wakeup) > static_cast<std::int64_t>(size / 2)) wakeup += size / 2;
    if (told != 0) {
      put_header(to, PERF_RECORD_LOST, 0, lost_size);
      copy(to, raw(event_id));
      copy(to, raw(untold.exchange(0)));
    }
    write(to);
    if (is_loud) ++wakeup;  // a position and a count: the kernel's way of telling that there was any reason
    head().store(position, std::memory_order_release);
    if (wakeup != woken_before) notify();
    return true;
  }

  // The kernel's irq_work and its wake-up.
  void notify() {
    ++notifications;
    std::uint64_t const one = 1;
    static_cast<void>(!write(event.get(), &one, sizeof one));
  }

  // The kernel's poll function, as it is called when a wait is armed: what was told is told no more.
  void poll() {
    std::uint64_t count = 0;
    static_cast<void>(!read(event.get(), &count, sizeof count));
  }

  void note_armed() {
    ++armed;
    std::function<void()> hook;
    {
      std::lock_guard const lock{control_mutex};
      hook = when_armed;
    }
    if (hook) hook();
  }

  bool set_wakeups(bool on) {
    std::lock_guard const lock{control_mutex};
    auto& refusals = on ? refusals_on : refusals_off;
    if (refusals != 0) {
      --refusals;
      calls.push_back(on ? perf_call::on_refused : perf_call::off_refused);
      errno = E2BIG;
      return false;
    }
    calls.push_back(on ? perf_call::on : perf_call::off);
    loud = on;
    return in_map = true;
  }

  void close() {
    std::lock_guard const lock{control_mutex};
    calls.push_back(perf_call::close);
    in_map = false;
  }

  std::optional<std::uint64_t> lost_if_told() {
    std::lock_guard const lock{control_mutex};
    ++asked_for_losses;
    return tells_losses ? std::optional{lost.load()} : std::nullopt;
  }

  std::size_t size;
  scratch_file memory;
  view writer;
  view reader;
  tinybpf::detail::owned_descriptor event;
  position_type position;  // rb->head: the writer's own, whatever is made up for the reader
  position_type wakeup;    // rb->wakeup
  std::atomic<std::uint64_t> untold{0};
  std::atomic<std::uint64_t> lost{0};
  std::atomic<std::uint64_t> refused{0};
  std::atomic<std::uint64_t> notifications{0};
  std::atomic<std::uint64_t> armed{0};

  std::mutex control_mutex;  // of all that follows
  bool in_map = true;
  bool loud = true;
  bool tells_losses = true;
  std::size_t refusals_on = 0;
  std::size_t refusals_off = 0;
  std::size_t asked_for_losses = 0;
  std::vector<perf_call> calls;
  std::function<void()> when_armed;
};

namespace {

// What a source keeps of its buffer.
struct attachment {
  std::shared_ptr<fake_perf::state> buffer;
};

class logging_control final : public tinybpf::detail::perf_control {
 public:
  explicit logging_control(std::shared_ptr<fake_perf::state> buffer) : buffer_{std::move(buffer)} {}

  bool set_wakeups(bool on) noexcept override { return buffer_->set_wakeups(on); }
  [[nodiscard]] std::optional<std::uint64_t> lost() const noexcept override { return buffer_->lost_if_told(); }
  void close() noexcept override { buffer_->close(); }

 private:
  std::shared_ptr<fake_perf::state> buffer_;
};

// Which descriptors belong to fake buffers, and which epoll descriptors watch those. They count as long as the source
// is in use whose they are, for numbers are given out again.
class descriptor_table {
 public:
  using buffers = std::vector<std::shared_ptr<attachment>>;

  void add(int fd, std::weak_ptr<attachment> const& buffer) {
    std::lock_guard const lock{mutex_};
    behind_[fd] = {buffer};
  }

  // Whoever watches `epoll` from now on watches what is behind `fd`, too.
  void watch(int epoll, int fd) {
    std::lock_guard const lock{mutex_};
    auto const found = behind_.find(fd);
    if (found == behind_.end()) return;
    auto const watched = found->second;
    auto& all = behind_[epoll];
    all.insert(all.end(), watched.begin(), watched.end());
  }

  buffers find(int fd) {
    std::lock_guard const lock{mutex_};
    buffers all;
    auto const found = behind_.find(fd);
    if (found == behind_.end()) return all;
    for (auto const& b : found->second)
      if (auto buffer = b.lock()) all.push_back(std::move(buffer));
    if (all.empty()) behind_.erase(found);
    return all;
  }

 private:
  std::mutex mutex_;
  std::map<int, std::vector<std::weak_ptr<attachment>>> behind_;
};

descriptor_table& descriptors() {
  static descriptor_table table;
  return table;
}

}  // namespace

fake_perf::fake_perf(std::size_t size, position_type start) : state_{std::make_shared<state>(size, start)} {}

tinybpf::detail::perf_regions fake_perf::regions() const noexcept {
  auto const& seen = one_view ? state_->writer : state_->reader;
  return {seen.header() + offsetof(perf_event_mmap_page, data_tail),
          seen.header() + offsetof(perf_event_mmap_page, data_head), seen.data(), state_->size};
}

tinybpf::detail::channel_source fake_perf::source(std::string name, int cpu) const {
  auto const used = std::make_shared<attachment>(attachment{state_});
  tinybpf::detail::channel_source source;
  source.regions = regions();
  source.mapping = used;
  source.descriptor.reset(checked(fcntl(state_->event.get(), F_DUPFD_CLOEXEC, 0), "dup of an eventfd"));
  source.control = std::make_unique<logging_control>(state_);
  source.name = std::move(name);
  source.cpu = cpu;
  descriptors().add(source.descriptor.get(), used);
  return source;
}

std::size_t fake_perf::size() const noexcept { return state_->size; }

bool fake_perf::output(std::span<std::byte const> data, bool wakes) {
  auto& s = *state_;
  auto const bytes = step_of(data.size());
  return s.reserve(bytes, wakes, [&](position_type to) {
    s.put_header(to, PERF_RECORD_SAMPLE, PERF_RECORD_MISC_KERNEL, bytes);
    s.set_word(to, static_cast<std::uint32_t>(padded(data.size())));
    to += sizeof(std::uint32_t);
    s.copy(to, data);  // the padding keeps what was there
  });
}

bool fake_perf::output_other(std::uint32_t type, std::span<std::byte const> body) {
  auto& s = *state_;
  auto const bytes = sizeof(perf_event_header) + body.size();
  if (bytes % 8 != 0) throw std::invalid_argument{"no kernel writes such a record"};
  return s.reserve(bytes, true, [&](position_type to) {
    s.put_header(to, type, 0, bytes);
    s.copy(to, body);
  });
}

bool fake_perf::output_lost(std::uint64_t count) {
  return output_other(PERF_RECORD_LOST, raw(std::array<std::uint64_t, 2>{event_id, count}));
}

fake_perf::position_type fake_perf::tail() const noexcept { return state_->tail().load(); }
fake_perf::position_type fake_perf::head() const noexcept { return state_->head().load(); }
std::uint64_t fake_perf::lost() const noexcept { return state_->lost; }
std::uint64_t fake_perf::untold() const noexcept { return state_->untold; }
std::uint64_t fake_perf::refused() const noexcept { return state_->refused; }
std::uint64_t fake_perf::notifications() const noexcept { return state_->notifications; }
std::uint64_t fake_perf::armed() const noexcept { return state_->armed; }

void fake_perf::when_armed(std::function<void()> f) {
  std::lock_guard const lock{state_->control_mutex};
  state_->when_armed = std::move(f);
}

std::vector<perf_call> fake_perf::calls() const {
  std::lock_guard const lock{state_->control_mutex};
  return state_->calls;
}

std::size_t fake_perf::count(perf_call c) const {
  std::lock_guard const lock{state_->control_mutex};
  if (c == perf_call::lost) return state_->asked_for_losses;
  return static_cast<std::size_t>(std::count(state_->calls.begin(), state_->calls.end(), c));
}

bool fake_perf::loud() const {
  std::lock_guard const lock{state_->control_mutex};
  return state_->loud;
}

void fake_perf::refuse_wakeups(bool on, std::size_t times) {
  std::lock_guard const lock{state_->control_mutex};
  (on ? state_->refusals_on : state_->refusals_off) = times;
}

void fake_perf::tell_losses(bool yes) {
  std::lock_guard const lock{state_->control_mutex};
  state_->tells_losses = yes;
}

void fake_perf::set_head(position_type to) noexcept {
  state_->head().store(to);
  state_->position = (to + 7) & ~position_type{7};  // where the writer goes on
}
void fake_perf::set_tail(position_type to) noexcept { state_->tail().store(to); }
void fake_perf::set_header(position_type position, std::uint32_t type, std::uint16_t size,
                           std::uint16_t misc) noexcept {
  state_->set_word(position & ~position_type{7}, std::bit_cast<std::uint64_t>(perf_event_header{type, misc, size}));
}
void fake_perf::set_length(position_type position, std::uint32_t length) noexcept {
  state_->set_word((position & ~position_type{7}) + sizeof(perf_event_header), length);
}
std::span<std::byte> fake_perf::data() noexcept { return {state_->writer.data(), state_->size}; }

}  // namespace test

extern "C" int __wrap_epoll_ctl(int epoll, int operation, int fd, epoll_event* event) {
  if (operation != EPOLL_CTL_DEL) {
    auto const watched = test::descriptors().find(fd);
    for (auto const& b : watched) {
      if (operation == EPOLL_CTL_MOD) b->buffer->note_armed();
      b->buffer->poll();
    }
    if (operation == EPOLL_CTL_ADD && !watched.empty()) test::descriptors().watch(epoll, fd);
  }
  return __real_epoll_ctl(epoll, operation, fd, event);
}
