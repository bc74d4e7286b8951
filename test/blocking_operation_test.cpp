// What holds for every call that the worker makes, shown with calls that end when the test says so.
#include "busy_workers.hpp"
#include "failing_allocation.hpp"
#include "privileges.hpp"
#include "support.hpp"

#include <tinybpf/detail/blocking_operation.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/test/unit_test.hpp>

#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <functional>
#include <future>
#include <latch>
#include <memory>
#include <new>
#include <numeric>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace {

namespace asio = boost::asio;
using tinybpf::diagnostics;
using tinybpf::error_code;

using work = std::function<int(error_code&, diagnostics&)>;

template <class Executor, class Token>
auto start(Executor const& ex, work call, Token&& token, diagnostics* details = nullptr) {
  return tinybpf::detail::run_blocking<void(error_code, int)>(ex, details, std::move(call), std::forward<Token>(token));
}

work giving(int value) {
  return [value](error_code&, diagnostics&) { return value; };
}

int fails(error_code& ec, diagnostics& details) {
  ec = test::kernel_error(EPERM);
  details.message = "not you";
  return -1;
}

/// A call that begins, and ends when it may.
struct gated_call {
  std::latch begun{1};
  std::latch may_end{1};

  work call(int value) {
    return [this, value](error_code&, diagnostics&) {
      begun.count_down();
      may_end.wait();
      return value;
    };
  }
};

/// What a handler was called with.
struct outcome {
  int calls = 0;
  error_code ec;
  int value = 0;
  std::thread::id thread;

  auto handler() {
    return [this](error_code e, int v) {
      ++calls;
      ec = e;
      value = v;
      thread = std::this_thread::get_id();
    };
  }
};

/// Runs `f` in a thread that can start no other.
template <class F>
void without_new_threads(F f) {
  std::thread{[&] {
    rlimit before{};
    test::checked(getrlimit(RLIMIT_NPROC, &before), "getrlimit");
    rlimit const none{0, before.rlim_max};
    // Root may always. The bare call changes this thread alone.
    if (geteuid() == 0) test::checked(static_cast<int>(syscall(SYS_setresuid, 65534, 65534, 65534)), "setresuid");
    test::checked(setrlimit(RLIMIT_NPROC, &none), "setrlimit");
    f();
    test::checked(setrlimit(RLIMIT_NPROC, &before), "setrlimit");
  }}.join();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(blocking_operation)

BOOST_AUTO_TEST_CASE(runs_elsewhere_and_completes_on_the_loop) {
  asio::io_context io;
  outcome got;
  std::thread::id ran_on;
  start(
      io.get_executor(),
      [&](error_code&, diagnostics&) {
        ran_on = std::this_thread::get_id();
        return 42;
      },
      got.handler());
  BOOST_TEST(got.calls == 0);
  io.run();  // the operation is work: it does not return before
  BOOST_TEST(got.calls == 1);
  BOOST_TEST(!got.ec);
  BOOST_TEST(got.value == 42);
  BOOST_TEST((got.thread == std::this_thread::get_id()));
  BOOST_TEST((ran_on != std::this_thread::get_id()));
}

BOOST_AUTO_TEST_CASE(blocks_signals_where_it_runs) {
  asio::io_context io;
  outcome got;
  start(
      io.get_executor(),
      [](error_code&, diagnostics&) {
        sigset_t blocked;
        pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
        return sigismember(&blocked, SIGINT) + sigismember(&blocked, SIGTERM) + sigismember(&blocked, SIGCHLD);
      },
      got.handler());
  io.run();
  BOOST_TEST(got.value == 3);
  sigset_t here;
  pthread_sigmask(SIG_SETMASK, nullptr, &here);
  BOOST_TEST(sigismember(&here, SIGINT) == 0);
}

BOOST_AUTO_TEST_CASE(takes_any_token) {
  asio::io_context io;
  auto const ex = io.get_executor();
  auto future = start(ex, giving(1), asio::use_future);
  auto failed = start(ex, fails, asio::use_future);
  auto deferred = start(ex, giving(2), asio::deferred);
  outcome got;
  std::move(deferred)(got.handler());
  auto const awaited = test::run(io, [](auto e) -> asio::awaitable<std::vector<int>> {
    std::vector<int> values;
    values.push_back(co_await start(e, giving(3), asio::use_awaitable));
    values.push_back(co_await start(e, giving(4), asio::deferred));
    auto const [ec, value] = co_await start(e, fails, asio::as_tuple(asio::use_awaitable));
    values.push_back(ec == test::kernel_error(EPERM) ? value : 0);
    co_return values;
  }(ex));
  io.run();
  BOOST_TEST(future.get() == 1);
  BOOST_CHECK_EXCEPTION(failed.get(), boost::system::system_error,
                        [](auto const& e) { return e.code() == test::kernel_error(EPERM); });
  BOOST_TEST(got.value == 2);
  BOOST_TEST((awaited == std::vector<int>{3, 4, -1}));
}

BOOST_AUTO_TEST_CASE(takes_any_executor) {
  asio::io_context io;
  asio::thread_pool pool{1};
  outcome by_any;
  outcome by_strand;
  start(asio::any_io_executor{io.get_executor()}, giving(1), by_any.handler());
  start(asio::make_strand(io), giving(2), by_strand.handler());
  auto by_pool = start(pool.get_executor(), giving(3), asio::use_future);
  io.run();
  BOOST_TEST(by_any.value == 1);
  BOOST_TEST(by_strand.value == 2);
  BOOST_TEST(by_pool.get() == 3);
}

BOOST_AUTO_TEST_CASE(hands_over_results_and_handlers_that_only_move) {
  asio::io_context io;
  std::unique_ptr<int> got;
  auto mine = std::make_unique<int>(2);
  using result = std::unique_ptr<int>;
  std::function<result(error_code&, diagnostics&)> const make = [](error_code&, diagnostics&) {
    return std::make_unique<int>(40);
  };
  tinybpf::detail::run_blocking<void(error_code, result)>(io.get_executor(), nullptr, make,
                                                          [&, kept = std::move(mine)](error_code, result r) {
                                                            got = std::move(r);
                                                            *got += *kept;
                                                          });
  io.run();
  BOOST_REQUIRE(got != nullptr);
  BOOST_TEST(*got == 42);
}

BOOST_AUTO_TEST_CASE(fills_the_diagnostics_of_a_failure) {
  asio::io_context io;
  outcome got;
  diagnostics details;
  start(io.get_executor(), fails, got.handler(), &details);
  io.run();
  BOOST_TEST(got.ec == test::kernel_error(EPERM));
  BOOST_TEST(details.message == "not you");
}

BOOST_AUTO_TEST_CASE(turns_what_is_thrown_into_an_error) {
  asio::io_context io;
  outcome got;
  start(
      io.get_executor(), [](error_code&, diagnostics&) -> int { throw std::bad_alloc{}; }, got.handler());
  io.run();
  BOOST_TEST(got.calls == 1);
  BOOST_TEST(got.ec == error_code{asio::error::no_memory});
}

BOOST_AUTO_TEST_CASE(lets_go_of_the_call_before_it_completes) {
  asio::io_context io;
  auto owned = std::make_shared<int>(1);
  std::weak_ptr<int> const watched = owned;
  bool gone = false;
  start(
      io.get_executor(), [kept = std::move(owned)](error_code&, diagnostics&) { return *kept; },
      [&](error_code, int) { gone = watched.expired(); });
  io.run();
  BOOST_TEST(gone);
}

#ifdef TINYBPF_TEST_PLAIN_CHILDREN
BOOST_AUTO_TEST_CASE(makes_do_with_the_threads_that_there_may_be) {
  auto const said = test::in_child([]() -> std::string {
    alarm(60);
    asio::io_context io;
    gated_call gated;
    outcome first;
    outcome second;
    start(io.get_executor(), gated.call(1), first.handler());
    gated.begun.wait();
    if (geteuid() == 0) test::become_nobody();
    rlimit const none{0, 0};
    if (setrlimit(RLIMIT_NPROC, &none) != 0) return "setrlimit failed";
    bool refused = false;
    try {
      std::thread{[] {}}.join();
    } catch (std::system_error const&) {
      refused = true;
    }
    start(io.get_executor(), giving(2), second.handler());
    gated.may_end.count_down();
    io.run();
    return std::string{refused ? "no thread, " : "a thread, "} + std::to_string(first.value) + " and " +
           std::to_string(second.value);
  });
  BOOST_TEST(said == "no thread, 1 and 2");
}
#endif

BOOST_AUTO_TEST_CASE(completes_on_the_handlers_executor) {
  asio::io_context io;
  asio::io_context other;
  auto const strand = asio::make_strand(other);
  outcome got;
  bool in_strand = false;
  start(io.get_executor(), giving(1), asio::bind_executor(strand, [&](error_code ec, int value) {
          in_strand = strand.running_in_this_thread();
          got.handler()(ec, value);
        }));
  std::thread loop{[&] { io.run(); }};  // stays until the handler has run, though nothing runs here
  other.run();
  loop.join();
  BOOST_TEST(got.calls == 1);
  BOOST_TEST(in_strand);
  BOOST_TEST((got.thread == std::this_thread::get_id()));
}

BOOST_AUTO_TEST_CASE(runs_many_at_once) {
  constexpr int many = 500;
  asio::io_context io;
  std::vector<int> calls(many);
  for (int i = 0; i < many; ++i)
    start(io.get_executor(), giving(i), [&](error_code ec, int value) {
      if (!ec) ++calls[static_cast<std::size_t>(value)];
    });
  std::thread second{[&] { io.run(); }};
  io.run();
  second.join();
  BOOST_TEST((calls == std::vector<int>(many, 1)));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(cancelled_operation)

// Gone on the thread where the call ran, so that freeing it blocks no loop.
struct heavy_result {
  std::promise<std::thread::id>* gone = nullptr;

  heavy_result() = default;
  explicit heavy_result(std::promise<std::thread::id>& p) : gone{&p} {}
  heavy_result(heavy_result&& other) noexcept : gone{std::exchange(other.gone, nullptr)} {}
  heavy_result& operator=(heavy_result&&) = delete;
  ~heavy_result() {
    if (gone != nullptr) gone->set_value(std::this_thread::get_id());
  }
};

BOOST_AUTO_TEST_CASE(completes_at_once_while_the_call_goes_on) {
  for (auto const type :
       {asio::cancellation_type::terminal, asio::cancellation_type::partial, asio::cancellation_type::total}) {
    asio::io_context io;
    asio::cancellation_signal signal;
    std::latch begun{1};
    std::latch may_end{1};
    std::promise<std::thread::id> gone;
    std::thread::id ran_on;
    outcome got;
    diagnostics details;
    std::function<heavy_result(error_code&, diagnostics&)> const call = [&](error_code&, diagnostics& said) {
      ran_on = std::this_thread::get_id();
      begun.count_down();
      may_end.wait();
      said.message = "too late";
      return heavy_result{gone};
    };
    tinybpf::detail::run_blocking<void(error_code, heavy_result)>(
        io.get_executor(), &details, call,
        asio::bind_cancellation_slot(signal.slot(), [&](error_code ec, heavy_result const& r) {
          got.handler()(ec, r.gone != nullptr ? 1 : 0);
        }));
    begun.wait();
    signal.emit(type);
    BOOST_TEST(got.calls == 0);  // not from within emit
    io.run();
    BOOST_TEST(got.calls == 1);
    BOOST_TEST(got.ec == error_code{asio::error::operation_aborted});
    BOOST_TEST(got.value == 0);

    may_end.count_down();
    BOOST_TEST((gone.get_future().get() == ran_on));
    io.restart();
    io.run();
    BOOST_TEST(got.calls == 1);
    BOOST_TEST(details.empty());
  }
}

BOOST_AUTO_TEST_CASE(runs_all_the_same_if_it_was_still_in_the_queue) {
  asio::io_context io;
  test::busy_workers busy{io};
  asio::cancellation_signal signal;
  outcome got;
  std::promise<void> ran;
  start(
      io.get_executor(),
      [&](error_code&, diagnostics&) {
        ran.set_value();
        return 1;
      },
      asio::bind_cancellation_slot(signal.slot(), got.handler()));
  signal.emit(asio::cancellation_type::terminal);
  io.run();
  BOOST_TEST(got.ec == error_code{asio::error::operation_aborted});
  busy.release();
  ran.get_future().wait();
}

BOOST_AUTO_TEST_CASE(is_aborted_although_the_call_has_ended_if_its_handler_has_not_run) {
  asio::io_context io;
  asio::cancellation_signal signal;
  outcome got;
  std::promise<std::thread::id> ended;
  auto in_the_call = std::make_shared<heavy_result>(ended);
  start(
      io.get_executor(), [kept = std::move(in_the_call)](error_code&, diagnostics&) { return 1; },
      asio::bind_cancellation_slot(signal.slot(), got.handler()));
  ended.get_future().wait();
  std::promise<void> a_later_one_ended;
  start(
      io.get_executor(), [&](error_code&, diagnostics&) { return a_later_one_ended.set_value(), 2; },
      [](error_code, int) {});
  a_later_one_ended.get_future().wait();
  signal.emit(asio::cancellation_type::terminal);
  io.run();
  BOOST_TEST(got.calls == 1);
  BOOST_TEST(got.ec == error_code{asio::error::operation_aborted});
}

// The call may end long after its handler's context.
BOOST_AUTO_TEST_CASE(forgets_the_handlers_executor) {
  gated_call gated;  // for the worker, which ends with the context
  asio::io_context io;
  outcome got;
  {
    asio::io_context other;
    asio::cancellation_signal signal;
    start(io.get_executor(), gated.call(1),
          asio::bind_executor(asio::make_strand(other), asio::bind_cancellation_slot(signal.slot(), got.handler())));
    gated.begun.wait();
    signal.emit(asio::cancellation_type::terminal);
    other.run();
  }
  BOOST_TEST(got.ec == error_code{asio::error::operation_aborted});
  gated.may_end.count_down();
  io.run();
}

BOOST_AUTO_TEST_CASE(is_none_without_a_type_or_after_completion) {
  asio::io_context io;
  asio::cancellation_signal signal;
  outcome got;
  start(io.get_executor(), giving(1), asio::bind_cancellation_slot(signal.slot(), got.handler()));
  signal.emit(asio::cancellation_type::none);
  io.run();
  BOOST_TEST(!got.ec);
  BOOST_TEST(got.value == 1);
  BOOST_TEST(!signal.slot().has_handler());
  signal.emit(asio::cancellation_type::terminal);
  io.restart();
  io.run();
  BOOST_TEST(got.calls == 1);
}

BOOST_AUTO_TEST_CASE(can_be_cancelled_from_its_own_handler) {
  asio::io_context io;
  asio::cancellation_signal signal;
  int calls = 0;
  start(io.get_executor(), giving(1), asio::bind_cancellation_slot(signal.slot(), [&](error_code ec, int) {
          BOOST_TEST(!ec);
          ++calls;
          signal.emit(asio::cancellation_type::terminal);
        }));
  io.run();
  BOOST_TEST(calls == 1);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(destroyed_context)

BOOST_AUTO_TEST_CASE(waits_for_the_call_that_runs_and_drops_its_handler) {
  auto handled = std::make_shared<bool>(false);
  std::weak_ptr<bool> const handler_lives = handled;
  gated_call gated;
  std::atomic<bool> ended{false};
  {
    asio::io_context io;
    start(
        io.get_executor(),
        [&, call = gated.call(1)](error_code& ec, diagnostics& details) {
          int const value = call(ec, details);
          ended = true;
          return value;
        },
        [kept = std::move(handled)](error_code, int) { *kept = true; });
    gated.begun.wait();
    BOOST_TEST(!handler_lives.expired());
    gated.may_end.count_down();
  }
  BOOST_TEST(ended);
  BOOST_TEST(handler_lives.expired());
}

BOOST_AUTO_TEST_CASE(drops_what_is_in_the_queue) {
  auto handled = std::make_shared<std::atomic<int>>(0);
  std::weak_ptr<std::atomic<int>> const handlers_live = handled;
  std::atomic<int> ran{0};
  std::thread releases;
  {
    asio::io_context io;
    auto const worker = tinybpf::detail::worker_of(io);
    auto busy = std::make_shared<test::busy_workers>(io);
    for (int i = 0; i < 10; ++i)
      start(
          io.get_executor(), [&](error_code&, diagnostics&) { return ++ran; },
          [handled](error_code, int) { ++*handled; });
    handled.reset();
    // Lets the busy threads go once the destructor has stopped the worker, which then destroys jobs as they come.
    releases = std::thread{[worker, busy] {
      for (bool stopped = false; !stopped; std::this_thread::yield()) {
        auto in_the_job = std::make_shared<int>(0);
        std::weak_ptr<int> const job_lives = in_the_job;
        tinybpf::detail::submit(*worker, [kept = std::move(in_the_job)] {});
        stopped = job_lives.expired();
      }
      busy->release();
    }};
  }
  releases.join();
  BOOST_TEST(ran == 0);
  BOOST_TEST(handlers_live.expired());
}

BOOST_AUTO_TEST_CASE(may_be_destroyed_with_completions_that_nobody_ran) {
  auto handled = std::make_shared<int>(0);
  std::weak_ptr<int> const handlers_live = handled;
  {
    asio::io_context io;
    for (int i = 0; i < 10; ++i) start(io.get_executor(), giving(i), [handled](error_code, int) { ++*handled; });
    handled.reset();
    io.poll();
  }
  BOOST_TEST(handlers_live.expired());
}

#ifdef TINYBPF_TEST_FAILING_ALLOCATION
BOOST_AUTO_TEST_CASE(takes_no_memory) {
  auto io = std::make_unique<asio::io_context>();
  start(io->get_executor(), giving(1), [](error_code, int) {});
  io->run();
  bool took_none = false;
  {
    test::failing_allocation const fails{0};
    io.reset();
    took_none = fails.is_still_to_come();
  }
  BOOST_TEST(took_none);
}
#endif

BOOST_AUTO_TEST_CASE(ends_coroutines_that_wait) {
  auto in_the_frame = std::make_shared<int>(0);
  std::weak_ptr<int> const frame_lives = in_the_frame;
  gated_call gated;
  {
    asio::io_context io;
    asio::co_spawn(
        io,
        [](asio::any_io_executor ex, work call, std::shared_ptr<int> kept) -> asio::awaitable<void> {
          *kept = co_await start(ex, std::move(call), asio::use_awaitable);
        }(io.get_executor(), gated.call(1), std::move(in_the_frame)),
        [](std::exception_ptr) {});
    io.poll();
    gated.begun.wait();
    gated.may_end.count_down();
  }
  BOOST_TEST(frame_lives.expired());
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(without_threads)

BOOST_AUTO_TEST_CASE(says_so) {
  asio::io_context io;
  outcome got;
  without_new_threads([&] { start(io.get_executor(), giving(1), got.handler()); });
  BOOST_TEST(got.calls == 0);
  io.run();
  BOOST_TEST(got.calls == 1);
  BOOST_TEST(got.ec == test::kernel_error(EAGAIN));
  start(io.get_executor(), giving(2), got.handler());
  io.restart();
  io.run();
  BOOST_TEST(got.calls == 2);
  BOOST_TEST(!got.ec);
  BOOST_TEST(got.value == 2);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(forked_process)

#ifdef TINYBPF_TEST_PLAIN_CHILDREN
BOOST_AUTO_TEST_CASE(calls_on_in_the_parent_and_in_the_child) {
  auto io = std::make_unique<asio::io_context>();
  std::atomic<int> ran{0};
  for (int i = 0; i < 10; ++i)
    start(
        io->get_executor(), [&](error_code&, diagnostics&) { return ++ran; }, [](error_code, int) {});
  io->notify_fork(asio::execution_context::fork_prepare);
  BOOST_TEST(ran == 10);  // what was called is done once, here
  auto const next = [&] {
    outcome got;
    io->run();
    io->restart();
    start(io->get_executor(), giving(7), got.handler());
    io->run();
    io.reset();
    return got.calls == 1 && got.value == 7 ? "called" : "not called";
  };
  auto const said = test::in_child([&]() -> std::string {
    alarm(60);
    io->notify_fork(asio::execution_context::fork_child);
    return next();
  });
  BOOST_TEST(said == "called");
  io->notify_fork(asio::execution_context::fork_parent);
  BOOST_TEST(next() == "called");
  BOOST_TEST(ran == 10);
}
#endif

// Also one that was not told of the fork, and has none of its threads.
BOOST_AUTO_TEST_CASE(may_destroy_what_it_did_not_fork_for) {
  auto io = std::make_unique<asio::io_context>();
  outcome got;
  start(io->get_executor(), giving(1), got.handler());
  io->run();
  BOOST_TEST(got.value == 1);
  auto const said = test::in_child([&] {
    alarm(60);
    start(io->get_executor(), giving(2), got.handler());
    io.reset();
    return std::string{got.calls == 1 ? "destroyed" : "called"};
  });
  BOOST_TEST(said == "destroyed");
}

BOOST_AUTO_TEST_SUITE_END()
