#include "fake_ring.hpp"

#include "support.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <map>
#include <mutex>
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

constexpr std::size_t header_size = 8;

std::size_t page_size() { return static_cast<std::size_t>(sysconf(_SC_PAGESIZE)); }

// One mapping of the ring: guard, consumer page, guard, producer page, data, data again, guard.
class view {
 public:
  view(int memory, std::size_t ring_size, int protection) : length_{5 * page_size() + 2 * ring_size} {
    base_ = static_cast<std::byte*>(mmap(nullptr, length_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (base_ == MAP_FAILED) throw std::bad_alloc{};
    auto const page = page_size();
    place(page, page, PROT_READ | PROT_WRITE, memory, 0);
    place(3 * page, page + ring_size, protection, memory, page);
    place(4 * page + ring_size, ring_size, protection, memory, 2 * page);
  }
  view(view const&) = delete;
  view& operator=(view const&) = delete;
  ~view() { munmap(base_, length_); }

  std::byte* consumer() const { return base_ + page_size(); }
  std::byte* producer() const { return base_ + 3 * page_size(); }
  std::byte* data() const { return base_ + 4 * page_size(); }

 private:
  void place(std::size_t at, std::size_t bytes, int protection, int memory, std::size_t offset) {
    auto* const placed =
        mmap(base_ + at, bytes, protection, MAP_SHARED | MAP_FIXED, memory, static_cast<off_t>(offset));
    if (placed == MAP_FAILED) throw std::bad_alloc{};
  }

  std::size_t length_;
  std::byte* base_;
};

}  // namespace

struct fake_ring::state {
  state(std::size_t ring_size, position_type start)
      : size{ring_size},
        writer{memory.fd(), ring_size, PROT_READ | PROT_WRITE},
        reader{memory.fd(), ring_size, PROT_READ},
        event{checked(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd")},
        pending{start} {
    if (ring_size == 0 || (ring_size & (ring_size - 1)) != 0 || ring_size % page_size() != 0 || start % 8 != 0)
      throw std::invalid_argument{"no kernel makes such a ring"};
    checked(ftruncate(memory.fd(), static_cast<off_t>(2 * page_size() + ring_size)), "ftruncate");
    consumer().store(start);
    producer().store(start);
  }

  std::atomic_ref<position_type> consumer() const {
    return std::atomic_ref{*reinterpret_cast<position_type*>(writer.consumer())};
  }
  std::atomic_ref<position_type> producer() const {
    return std::atomic_ref{*reinterpret_cast<position_type*>(writer.producer())};
  }
  std::byte* at(position_type position) const { return writer.data() + (position & (size - 1)); }
  static std::atomic_ref<std::uint32_t> header(std::byte* at) {
    return std::atomic_ref{*reinterpret_cast<std::uint32_t*>(at)};
  }

  static position_type length_of(std::uint32_t header) {
    return (position_type{header & ~(busy_bit | discard_bit)} + header_size + 7) & ~position_type{7};
  }

  // The kernel's irq_work and its wake-up.
  void notify() {
    std::lock_guard const lock{event_mutex};
    std::uint64_t const one = 1;
    static_cast<void>(!write(event.get(), &one, sizeof one));
  }

  // The kernel's poll function, which is asked when a wait is armed. The level is brought up to date then, and only
  // then: bytes that come or go without a notification wake nobody.
  void poll() {
    std::lock_guard const lock{event_mutex};
    std::uint64_t count = 0;
    bool const ready = consumer().load() != producer().load();
    if (ready) {
      count = 1;
      static_cast<void>(!write(event.get(), &count, sizeof count));
    } else {
      static_cast<void>(!read(event.get(), &count, sizeof count));
    }
  }

  std::size_t size;
  scratch_file memory;
  view writer;
  view reader;
  tinybpf::detail::owned_descriptor event;
  std::mutex spinlock;  // of the reservations
  position_type pending;
  std::mutex event_mutex;
  std::atomic<std::uint64_t> failed{0};
  std::atomic<std::uint64_t> notifications{0};
  std::atomic<std::uint64_t> armed{0};
};

namespace {

// Which descriptors belong to fake rings.
class descriptor_table {
 public:
  void add(int fd, std::weak_ptr<fake_ring::state> ring) {
    std::lock_guard const lock{mutex_};
    rings_[fd] = std::move(ring);
  }

  std::shared_ptr<fake_ring::state> find(int fd) {
    std::lock_guard const lock{mutex_};
    auto const found = rings_.find(fd);
    if (found == rings_.end()) return nullptr;
    auto ring = found->second.lock();
    if (!ring) rings_.erase(found);
    return ring;
  }

 private:
  std::mutex mutex_;
  std::map<int, std::weak_ptr<fake_ring::state>> rings_;
};

descriptor_table& descriptors() {
  static descriptor_table table;
  return table;
}

}  // namespace

fake_ring::fake_ring(std::size_t size, position_type start) : state_{std::make_shared<state>(size, start)} {}

tinybpf::detail::ring_regions fake_ring::regions() const noexcept {
  auto const& seen = one_view ? state_->writer : state_->reader;
  return {seen.consumer(), seen.producer(), seen.data(), state_->size};
}

tinybpf::detail::channel_source fake_ring::source(std::string name) const {
  tinybpf::detail::channel_source source;
  source.regions = regions();
  source.mapping = state_;
  source.descriptor.reset(checked(fcntl(state_->event.get(), F_DUPFD_CLOEXEC, 0), "dup of an eventfd"));
  source.name = std::move(name);
  descriptors().add(source.descriptor.get(), state_);
  return source;
}

std::size_t fake_ring::size() const noexcept { return state_->size; }

// __bpf_ringbuf_reserve
std::byte* fake_ring::reserve(std::size_t size) {
  auto& s = *state_;
  auto const length = state::length_of(static_cast<std::uint32_t>(size));
  if (size > std::numeric_limits<std::uint32_t>::max() / 4 || length > s.size) {
    ++s.failed;
    return nullptr;
  }
  auto const consumer = s.consumer().load(std::memory_order_acquire);
  std::lock_guard const lock{s.spinlock};
  auto const position = s.producer().load(std::memory_order_relaxed);
  auto const behind = position + length;
  while (static_cast<std::make_signed_t<position_type>>(position - s.pending) > 0) {
    auto const header = state::header(s.at(s.pending)).load(std::memory_order_relaxed);
    if ((header & busy_bit) != 0) break;
    s.pending += state::length_of(header);
  }
  if (behind - consumer > s.size - 1 || behind - s.pending > s.size - 1) {
    ++s.failed;
    return nullptr;
  }
  state::header(s.at(position)).store(static_cast<std::uint32_t>(size) | busy_bit, std::memory_order_relaxed);
  // A release in the kernel, where the commit's exchange is a full barrier. C++ asks for more to say the same.
  s.producer().store(behind, std::memory_order_seq_cst);
  return s.at(position) + header_size;
}

// bpf_ringbuf_commit
void fake_ring::commit(std::byte* sample, wakeup how, bool discard) {
  auto& s = *state_;
  auto* const at = sample - header_size;
  auto const header = state::header(at).load(std::memory_order_relaxed) ^ busy_bit;
  state::header(at).exchange(discard ? header | discard_bit : header, std::memory_order_seq_cst);
  auto const position = static_cast<position_type>(at - s.writer.data());
  auto const caught_up = (s.consumer().load(std::memory_order_seq_cst) & (s.size - 1)) == position;
  if (how == wakeup::always || (how == wakeup::adaptive && caught_up)) {
    ++s.notifications;
    s.notify();
  }
}

bool fake_ring::output(std::span<std::byte const> data, wakeup how) {
  auto* const sample = reserve(data.size());
  if (sample == nullptr) return false;
  if (!data.empty()) std::memcpy(sample, data.data(), data.size());
  submit(sample, how);
  return true;
}

fake_ring::position_type fake_ring::consumer_position() const noexcept { return state_->consumer().load(); }
fake_ring::position_type fake_ring::producer_position() const noexcept { return state_->producer().load(); }
std::uint64_t fake_ring::failed() const noexcept { return state_->failed; }
std::uint64_t fake_ring::notifications() const noexcept { return state_->notifications; }
std::uint64_t fake_ring::armed() const noexcept { return state_->armed; }

void fake_ring::set_producer_position(position_type to) noexcept {
  std::lock_guard const lock{state_->spinlock};
  state_->producer().store(to);
  state_->pending = to;  // the writer itself is not to stumble over what was made up for the reader
}
void fake_ring::set_consumer_position(position_type to) noexcept { state_->consumer().store(to); }
void fake_ring::set_header(position_type position, std::uint32_t header) noexcept {
  std::lock_guard const lock{state_->spinlock};
  state::header(state_->at(position & ~position_type{7})).store(header);
  state_->pending = state_->producer().load();
}
std::uint32_t fake_ring::header(position_type position) const noexcept {
  return state::header(state_->at(position & ~position_type{7})).load();
}
std::span<std::byte> fake_ring::data() noexcept { return {state_->writer.data(), state_->size}; }
void fake_ring::notify() { state_->notify(); }

}  // namespace test

extern "C" int __wrap_epoll_ctl(int epoll, int operation, int fd, epoll_event* event) {
  if (operation != EPOLL_CTL_DEL)
    if (auto const ring = test::descriptors().find(fd)) {
      ring->poll();
      if (operation == EPOLL_CTL_MOD) ++ring->armed;
    }
  return __real_epoll_ctl(epoll, operation, fd, event);
}
