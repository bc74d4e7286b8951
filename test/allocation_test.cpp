// Reading allocates nothing: every allocation is counted, over a million events of each shape.
#include "allocations.hpp"
#include "fake_ring.hpp"
#include "support.hpp"

#include <tinybpf/ring_buffer.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

namespace {

namespace asio = boost::asio;
using test::allocations;
using test::fake_ring;
using tinybpf::error_code;

struct event {
  std::uint64_t serial;
  std::array<std::uint64_t, 4> rest;
};

// Each waits for every 2000th record, on the descriptor or in a pause as its policy has it.
constexpr std::uint64_t batch = 2000;
constexpr std::uint64_t footprint = sizeof(event) + 8;
constexpr std::uint64_t warm_up = 50'000;
std::uint64_t events = 0;  // after that

// A ring that is filled whenever the reader has caught up, so that reads wait now and then.
template <class Executor>
struct source {
  // Writes from another thread, a batch whenever the reader has caught up, and runs the loop once: Asio keeps the
  // memory of operations that ended for those to come as long as a thread runs its loop.
  template <class Done>
  void run_until(Done done) {
    std::atomic<bool> stop{false};
    std::thread writer{[&] {
      for (std::uint64_t written = 0; written < warm_up + events && !stop;) {
        while (ring.unread() > footprint && !stop) std::this_thread::yield();
        for (auto const end = written + batch; written < end;)
          if (ring.emit(event{written, {}})) ++written;
      }
    }};
    io.run();
    BOOST_TEST(done());
    stop = true;
    writer.join();
  }

  asio::io_context io{1};
  fake_ring ring{1U << 20U};
  tinybpf::basic_ring_buffer<Executor> buffer{Executor{io.get_executor()}, ring.source()};
  std::uint64_t read = 0;
};

// How many allocations the loop made for a million events, once warm. `turn` reads up to what was written; what it
// costs to start a coroutine is not counted.
struct counter {
  std::uint64_t before = 0;
  std::uint64_t counted = 0;
  void see(std::uint64_t read) {
    if (before == 0 && read >= warm_up) before = allocations.load();
    counted = allocations.load() - before;
  }
};

template <class Executor, class Coroutine>
std::uint64_t allocations_of(source<Executor>& s, Coroutine coroutine, counter& c) {
  bool ended = false;
  asio::co_spawn(Executor{s.io.get_executor()}, std::move(coroutine), [&](std::exception_ptr e) {
    if (e) std::rethrow_exception(e);
    ended = true;
  });
  s.run_until([&] { return ended; });
  BOOST_TEST(s.read == warm_up + events);
  return c.counted;
}

using any = asio::any_io_executor;
using concrete = asio::io_context::executor_type;
template <class Executor>
using task = asio::awaitable<void, Executor>;

// From handlers, which give the loop its turn.
template <class Executor>
std::uint64_t of_try_next(tinybpf::wakeup_policy policy) {
  struct reader {
    source<Executor>& s;
    counter& c;
    void start() {
      asio::post(s.io, [this] {
        while (s.buffer.template try_next<event>()) ++s.read;
        c.see(s.read);
        if (s.read < warm_up + events) start();
      });
    }
  };
  source<Executor> s;
  s.buffer.set_wakeup_policy(policy);
  counter c;
  reader r{s, c};
  r.start();
  s.run_until([&] { return s.read == warm_up + events; });
  return c.counted;
}

template <class Executor>
std::uint64_t of_next(tinybpf::wakeup_policy policy) {
  source<Executor> s;
  s.buffer.set_wakeup_policy(policy);
  counter c;
  auto const read = [&]() -> task<Executor> {
    while (s.read < warm_up + events) {
      auto const e = co_await s.buffer.template next<event, Executor>();
      s.read += e.serial == s.read ? 1 : events;
      c.see(s.read);
    }
  };
  return allocations_of(s, read(), c);
}

template <class Executor>
std::uint64_t of_read_some(tinybpf::wakeup_policy policy) {
  source<Executor> s;
  s.buffer.set_wakeup_policy(policy);
  counter c;
  auto const read = [&]() -> task<Executor> {
    while (s.read < warm_up + events) {
      auto range = co_await s.buffer.template read_some<event, Executor>(30);
      for (auto const& e : range) s.read += e.serial == s.read ? 1 : events;
      c.see(s.read);
    }
  };
  return allocations_of(s, read(), c);
}

template <class Executor>
std::uint64_t of_async_wait(tinybpf::wakeup_policy policy) {
  source<Executor> s;
  s.buffer.set_wakeup_policy(policy);
  counter c;
  auto const read = [&]() -> task<Executor> {
    while (s.read < warm_up + events) {
      co_await s.buffer.template async_wait<Executor>();
      while (s.buffer.template try_next<event>()) ++s.read;
      c.see(s.read);
    }
  };
  return allocations_of(s, read(), c);
}

// The callback form: one operation after the other, each from the handler of the one before.
template <class Executor>
std::uint64_t of_async_next(tinybpf::wakeup_policy policy) {
  source<Executor> s;
  s.buffer.set_wakeup_policy(policy);
  counter c;
  struct reader {
    source<Executor>& s;
    counter& c;
    void start() {
      s.buffer.template async_next<event>([this](error_code ec, event const& e) {
        if (ec) throw boost::system::system_error{ec};
        s.read += e.serial == s.read ? 1 : events;
        c.see(s.read);
        if (s.read < warm_up + events) start();
      });
    }
  } r{s, c};
  r.start();
  s.run_until([&] { return s.read == warm_up + events; });
  return c.counted;
}

template <class Executor>
void check_all(tinybpf::wakeup_policy policy) {
  struct shape {
    char const* name;
    std::uint64_t (*run)(tinybpf::wakeup_policy);
  };
  for (auto const& [name, run] :
       {shape{"try_next", &of_try_next<Executor>}, shape{"next", &of_next<Executor>},
        shape{"read_some", &of_read_some<Executor>}, shape{"async_wait", &of_async_wait<Executor>},
        shape{"async_next", &of_async_next<Executor>}}) {
    // Asio keeps two blocks a thread, so the first operation of a size may find none that fits, also after the warm-up:
    // how many depends on which came first. What recurs with events, with waits (a thousand) or with timers (a hundred
    // a second) recurs in each try, and is far above this.
    std::uint64_t fewest = run(policy);
    BOOST_TEST_MESSAGE(name << ": " << fewest << " allocations");
    for (int tries = 1; fewest > 2 && tries < 3; ++tries) fewest = std::min(fewest, run(policy));
    BOOST_TEST(fewest <= 2U, name << ": " << fewest << " allocations or more in " << events << " events");
  }
}

}  // namespace

// Else the zeros below would mean nothing.
BOOST_AUTO_TEST_CASE(allocations_are_counted) {
  auto before = allocations.load();
  std::string const s(1000, 'x');
  BOOST_TEST(s.size() == 1000U);
  BOOST_TEST(allocations.load() > before);
  before = allocations.load();
  asio::io_context io;
  BOOST_TEST(allocations.load() > before);
  before = allocations.load();
  asio::post(io, [] {});
  BOOST_TEST(allocations.load() > before);
  io.run();
}

template <class Executor>
void check_policies() {
  events = 1'000'000;
  check_all<Executor>(tinybpf::wakeup_policy::adaptive());
  events = 100'000;
  check_all<Executor>(tinybpf::wakeup_policy::immediate());
  check_all<Executor>(tinybpf::wakeup_policy::moderated());
}

BOOST_AUTO_TEST_CASE(none_with_any_executor) { check_policies<any>(); }

BOOST_AUTO_TEST_CASE(none_with_the_loops_own_executor) { check_policies<concrete>(); }
