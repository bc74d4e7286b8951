// Loading, attaching and detaching off the loop. What holds for every such call is in blocking_operation_test.cpp.
#include "busy_workers.hpp"
#include "calls.hpp"
#include "support.hpp"

#include <tinybpf/async.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/test/unit_test.hpp>

#include <bpf/bpf.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

namespace asio = boost::asio;
using test::contains;
using test::counter;
using tinybpf::async_attach;
using tinybpf::async_detach;
using tinybpf::async_load;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::link_kind;
using tinybpf::object;

namespace {

std::filesystem::path const quick = CALLS_BPF_O;
std::filesystem::path const slow = SLOW_VERIFY_BPF_O;
std::filesystem::path const refused = REFUSED_BPF_O;
error_code const aborted = asio::error::operation_aborted;

/// A timer that re-arms itself, and counts how often the loop came to it.
class ticks {
 public:
  explicit ticks(asio::io_context& io) : timer_{io} { arm(); }

  int count() const { return count_; }
  void stop() {
    stopped_ = true;  // a tick that is due already cannot be cancelled
    timer_.cancel();
  }

 private:
  void arm() {
    timer_.expires_after(std::chrono::milliseconds{1});
    timer_.async_wait([this](error_code ec) {
      if (ec || stopped_) return;
      ++count_;
      arm();
    });
  }

  asio::steady_timer timer_;
  int count_ = 0;
  bool stopped_ = false;
};

/// Until a slow load has come to its second program, of four.
void wait_until_it_verifies() {
  auto const is_there = [] {
    for (std::uint32_t id = 0; bpf_prog_get_next_id(id, &id) == 0;) {
      int const fd = bpf_prog_get_fd_by_id(id);
      if (fd < 0) continue;
      bpf_prog_info info{};
      std::uint32_t size = sizeof info;
      auto const err = bpf_obj_get_info_by_fd(fd, &info, &size);
      close(fd);
      if (err == 0 && info.name == std::string_view{"slow_1"}) return true;
    }
    return false;
  };
  while (!is_there()) std::this_thread::yield();
}

bool link_exists(std::uint32_t id) {
  int const fd = bpf_link_get_fd_by_id(id);
  if (fd >= 0) close(fd);
  return fd >= 0;
}

std::uint32_t id_of(tinybpf::link const& l) {
  bpf_link_info info{};
  std::uint32_t size = sizeof info;
  test::checked(bpf_obj_get_info_by_fd(l.fd(), &info, &size), "bpf_obj_get_info_by_fd");
  return info.id;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(loading)

BOOST_AUTO_TEST_CASE(of_a_slow_program_leaves_the_loop_free) {
  asio::io_context io;
  ticks timer{io};
  std::optional<int> ticks_meanwhile;
  async_load(io.get_executor(), slow, [&](error_code ec, object obj) {
    BOOST_TEST(!ec);
    BOOST_TEST(obj.is_loaded());
    ticks_meanwhile = timer.count();
    timer.stop();
  });
  io.run();
  BOOST_REQUIRE(ticks_meanwhile.has_value());
  BOOST_TEST(*ticks_meanwhile > 10);
}

// The same on the loop itself, to see that the count above means what it should.
BOOST_AUTO_TEST_CASE(on_the_loop_stalls_it) {
  asio::io_context io;
  ticks timer{io};
  std::optional<int> ticks_meanwhile;
  asio::post(io, [&] {
    auto const before = timer.count();
    BOOST_TEST(tinybpf::load(slow).is_loaded());
    ticks_meanwhile = timer.count() - before;
    timer.stop();
  });
  io.run();
  BOOST_REQUIRE(ticks_meanwhile.has_value());
  BOOST_TEST(*ticks_meanwhile == 0);
}

BOOST_AUTO_TEST_CASE(takes_any_token) {
  asio::io_context io;
  auto const ex = io.get_executor();
  auto future = async_load(ex, quick, asio::use_future);
  auto failed = async_load(ex, "missing.bpf.o", asio::use_future);
  auto deferred = async_load(ex, quick, asio::deferred);
  object by_callback;
  std::move(deferred)([&](error_code ec, object obj) {
    BOOST_TEST(!ec);
    by_callback = std::move(obj);
  });
  test::run(io, [](auto e) -> asio::awaitable<void> {
    auto first = co_await async_load(e, quick, asio::use_awaitable);
    BOOST_TEST(first.is_loaded());
    auto second = co_await async_load(e, quick, asio::deferred);
    BOOST_TEST(second.is_loaded());
    auto [ec, third] = co_await async_load(e, "missing.bpf.o", asio::as_tuple(asio::use_awaitable));
    BOOST_TEST(ec == test::kernel_error(ENOENT));
    BOOST_TEST(!third.is_open());
    auto fourth = co_await async_load(e, quick);
    BOOST_TEST(fourth.is_loaded());
  }(ex));
  io.run();
  BOOST_TEST(by_callback.is_loaded());
  BOOST_TEST(future.get().is_loaded());
  BOOST_CHECK_EXCEPTION(failed.get(), boost::system::system_error,
                        [](auto const& e) { return e.code() == test::kernel_error(ENOENT); });
}

BOOST_AUTO_TEST_CASE(completes_on_the_handlers_executor) {
  asio::io_context io;
  asio::io_context other;
  auto const strand = asio::make_strand(other);
  bool in_strand = false;
  async_load(io.get_executor(), quick, asio::bind_executor(strand, [&](error_code ec, object obj) {
               BOOST_TEST(!ec);
               BOOST_TEST(obj.is_loaded());
               in_strand = strand.running_in_this_thread();
             }));
  other.run();
  BOOST_TEST(in_strand);
  io.run();
}

BOOST_AUTO_TEST_CASE(works_in_coroutines_of_another_executor_type) {
  using executor = asio::io_context::executor_type;
  asio::io_context io;
  bool loaded = false;
  asio::co_spawn(
      io.get_executor(),
      [&]() -> asio::awaitable<void, executor> {
        auto const ex = co_await asio::this_coro::executor;
        auto const obj = co_await async_load<executor>(ex, quick);
        auto link = co_await async_attach<executor>(ex, obj.program("on_raw_enter"));
        loaded = link.attached();
        co_await async_detach<executor>(ex, std::move(link));
      },
      asio::detached);
  io.run();
  BOOST_TEST(loaded);
}

BOOST_AUTO_TEST_CASE(throws_the_verifiers_log_in_a_coroutine) {
  asio::io_context io;
  auto const is_whole = [](tinybpf::error const& e) {
    auto const& said = e.get_diagnostics();
    return e.code() == test::kernel_error(EACCES) && said.program == "forgets_null" &&
           contains(said.message, refused.string()) && contains(said.log, "\nprocessed ") &&
           contains(e.what(), said.log);
  };
  BOOST_CHECK_EXCEPTION(test::run(io, async_load(io.get_executor(), refused)), tinybpf::error, is_whole);
  auto opened = object::open(refused);
  BOOST_CHECK_EXCEPTION(test::run(io, async_load(io.get_executor(), opened)), tinybpf::error, is_whole);
}

BOOST_AUTO_TEST_CASE(fills_the_diagnostics_beside_a_token) {
  asio::io_context io;
  diagnostics of_file;
  diagnostics of_object;
  auto opened = object::open(refused);
  async_load(io.get_executor(), refused, of_file, [&](error_code ec, object obj) {
    BOOST_TEST(ec == test::kernel_error(EACCES));
    BOOST_TEST(!obj.is_open());
    BOOST_TEST(contains(of_file.log, "\nprocessed "));
  });
  async_load(io.get_executor(), opened, of_object, [&](error_code ec) {
    BOOST_TEST(ec == test::kernel_error(EACCES));
    BOOST_TEST(of_object.program == "forgets_null");
  });
  io.run();
  BOOST_TEST(of_file.program == "forgets_null");
}

BOOST_AUTO_TEST_CASE(of_many_at_once_gives_each_its_own) {
  constexpr int many = 40;
  asio::io_context io;
  std::vector<object> objects;
  for (int i = 0; i < many; ++i)
    async_load(io.get_executor(), i % 4 == 3 ? refused : quick, [&, i](error_code ec, object obj) {
      BOOST_TEST(ec.failed() == (i % 4 == 3));
      if (!ec) objects.push_back(std::move(obj));
    });
  io.run();
  BOOST_REQUIRE(objects.size() == many / 4 * 3);
  for (auto const& obj : objects) {
    auto const mine = static_cast<std::uint64_t>(&obj - objects.data());
    obj.map("calls").update(test::bytes_of(counter::on_getpgid), test::bytes_of(mine));
  }
  for (auto const& obj : objects)
    BOOST_TEST(test::seen(obj.map("calls"), counter::on_getpgid) == static_cast<std::uint64_t>(&obj - objects.data()));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(loading_an_opened_object)

BOOST_AUTO_TEST_CASE(loads_it) {
  asio::io_context io;
  auto obj = object::open(quick);
  test::run(io, async_load(io.get_executor(), obj));
  BOOST_TEST(obj.is_loaded());
  auto const link = obj.program("on_raw_enter").attach();
  test::call();
  BOOST_TEST(test::seen(obj.map("calls"), counter::on_raw_enter) == 1);

  BOOST_CHECK_EXCEPTION(test::run(io, async_load(io.get_executor(), obj)), tinybpf::error,
                        [](auto const& e) { return e.code() == errc::already_loaded; });
  object none;
  BOOST_CHECK_EXCEPTION(test::run(io, async_load(io.get_executor(), none)), tinybpf::error,
                        [](auto const& e) { return e.code() == errc::closed; });
}

BOOST_AUTO_TEST_CASE(lets_nobody_else_use_it_meanwhile) {
  asio::io_context io;
  test::busy_workers busy{io};
  auto obj = object::open(quick);
  auto const program = obj.program("on_raw_enter");
  auto const map = obj.map("calls");
  std::optional<error_code> loaded;
  std::optional<error_code> second;
  async_load(io.get_executor(), obj, [&](error_code ec) { loaded = ec; });

  error_code ec;
  diagnostics details;
  auto const in_progress = [&](auto const& call) {
    ec.clear();
    call();
    BOOST_TEST(ec == make_error_code(errc::operation_in_progress));
    BOOST_TEST(contains(details.message, quick.string()), details.message);
  };
  in_progress([&] { obj.load(ec, details); });
  in_progress([&] { obj.register_type<std::uint64_t>("call_count", ec, details); });
  in_progress([&] { BOOST_TEST(!program.attach(ec, details).attached()); });
  in_progress([&] { BOOST_TEST(program.info(ec, details).id == 0); });
  in_progress([&] { BOOST_TEST(!map.lookup(test::bytes_of(counter::on_raw), ec, details).has_value()); });
  async_load(io.get_executor(), obj, [&](error_code e) { second = e; });
  BOOST_TEST(obj.is_open());
  BOOST_TEST(!obj.is_loaded());

  busy.release();
  io.run();
  BOOST_TEST(loaded.value() == error_code{});
  BOOST_TEST(second.value() == make_error_code(errc::operation_in_progress));
  BOOST_TEST(obj.is_loaded());
}

BOOST_AUTO_TEST_CASE(lets_the_object_be_destroyed_meanwhile) {
  asio::io_context io;
  test::busy_workers busy{io};
  std::optional<error_code> loaded;
  {
    auto obj = object::open(quick);
    async_load(io.get_executor(), obj, [&](error_code ec) { loaded = ec; });
  }
  busy.release();
  io.run();
  BOOST_TEST(loaded.value() == error_code{});
}

BOOST_AUTO_TEST_CASE(ends_with_closed_if_the_object_is_closed_before) {
  asio::io_context io;
  test::busy_workers busy{io};
  auto obj = object::open(quick);
  std::optional<error_code> loaded;
  async_load(io.get_executor(), obj, [&](error_code ec) { loaded = ec; });
  obj.close();
  BOOST_TEST(!obj.is_open());
  busy.release();
  io.run();
  BOOST_TEST(loaded.value() == make_error_code(errc::closed));
  BOOST_TEST(!obj.is_loaded());
}

BOOST_AUTO_TEST_CASE(waits_in_close_for_a_load_that_runs) {
  asio::io_context io;
  auto obj = object::open(slow);
  std::optional<error_code> loaded;
  async_load(io.get_executor(), obj, [&](error_code ec) { loaded = ec; });
  wait_until_it_verifies();
  obj.close();
  BOOST_TEST(!obj.is_open());
  io.run();
  BOOST_TEST(loaded.value() == error_code{});
  BOOST_TEST(!obj.is_open());
}

BOOST_AUTO_TEST_CASE(leaves_it_open_if_the_load_never_began) {
  auto obj = object::open(quick);
  {
    asio::io_context io;
    auto const unused = async_load(io.get_executor(), obj, asio::deferred);
    BOOST_TEST(!obj.is_loaded());
  }
  error_code ec = errc::closed;
  obj.load(ec);
  BOOST_TEST(!ec);
  BOOST_TEST(obj.is_loaded());
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(cancelled_load)

BOOST_AUTO_TEST_CASE(completes_at_once_while_the_load_goes_on) {
  asio::io_context io;
  asio::cancellation_signal signal;
  auto obj = object::open(slow);
  std::optional<error_code> loaded;
  async_load(io.get_executor(), obj, asio::bind_cancellation_slot(signal.slot(), [&](error_code ec) { loaded = ec; }));
  wait_until_it_verifies();
  signal.emit(asio::cancellation_type::terminal);
  io.run();
  BOOST_TEST(loaded.value() == aborted);
  while (!obj.is_loaded()) std::this_thread::yield();
  BOOST_TEST(obj.program("slow_1").fd() > 2);
}

// The leak check sees whether the object is gone.
BOOST_AUTO_TEST_CASE(destroys_what_it_gives) {
  asio::io_context io;
  asio::cancellation_signal signal;
  std::optional<error_code> loaded;
  async_load(io.get_executor(), quick, asio::bind_cancellation_slot(signal.slot(), [&](error_code ec, object obj) {
               loaded = ec;
               BOOST_TEST(!obj.is_open());
             }));
  signal.emit(asio::cancellation_type::total);
  io.run();
  BOOST_TEST(loaded.value() == aborted);
}

BOOST_AUTO_TEST_CASE(loses_a_race_against_a_timer) {
  using namespace asio::experimental::awaitable_operators;
  asio::io_context io;
  test::busy_workers busy{io};
  auto const winner = test::run(io, [](asio::io_context& loop) -> asio::awaitable<std::size_t> {
    asio::steady_timer timer{loop, std::chrono::milliseconds{1}};
    auto const result = co_await (async_load(loop.get_executor(), quick) || timer.async_wait(asio::use_awaitable));
    co_return result.index();
  }(io));
  BOOST_TEST(winner == 1);
}

BOOST_AUTO_TEST_SUITE_END()

// Neither hangs nor leaks.
BOOST_AUTO_TEST_SUITE(destroyed_context)

BOOST_AUTO_TEST_CASE(with_a_load_that_runs) {
  asio::io_context io;
  async_load(io.get_executor(), slow, [](error_code, object) { BOOST_ERROR("the loop never ran"); });
  wait_until_it_verifies();
}

BOOST_AUTO_TEST_CASE(with_loads_in_the_queue) {
  auto opened = object::open(quick);
  {
    asio::io_context io;
    auto const no_handler = [](error_code, object) { BOOST_ERROR("the loop never ran"); };
    for (int i = 0; i < 4; ++i) async_load(io.get_executor(), slow, no_handler);
    for (int i = 0; i < 10; ++i) async_load(io.get_executor(), quick, no_handler);
    async_load(io.get_executor(), opened, [](error_code) { BOOST_ERROR("the loop never ran"); });
  }
  // Dropped, and thus open still, unless it was loaded before the context came to shut down.
  error_code ec;
  opened.load(ec);
  BOOST_TEST((!ec || ec == errc::already_loaded));
  BOOST_TEST(opened.is_loaded());
}

BOOST_AUTO_TEST_CASE(with_a_coroutine_that_waits_for_a_load) {
  asio::io_context io;
  asio::co_spawn(
      io,
      [](asio::io_context& loop) -> asio::awaitable<void> {
        auto first = co_await async_load(loop.get_executor(), quick);
        auto link = co_await async_attach(loop.get_executor(), first.program("on_raw_enter"));
        loop.stop();
        auto second = co_await async_load(loop.get_executor(), quick);
        BOOST_ERROR("the loop was stopped");
      }(io),
      asio::detached);
  io.run();
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(attaching)

BOOST_AUTO_TEST_CASE(attaches_and_detaches) {
  asio::io_context io;
  auto const obj = tinybpf::load(quick);
  auto const calls = obj.map("calls");
  test::run(io, [](auto ex, object const& o, tinybpf::map const& m) -> asio::awaitable<void> {
    auto link = co_await async_attach(ex, o.program("on_getpgid"));
    BOOST_TEST((link.kind() == link_kind::tracepoint));
    test::call(2);
    BOOST_TEST(test::seen(m, counter::on_getpgid) == 2);
    co_await async_detach(ex, std::move(link));
    BOOST_TEST(!link.attached());
    test::call();
    BOOST_TEST(test::seen(m, counter::on_getpgid) == 2);
    co_await async_detach(ex, std::move(link));  // empty: nothing to do
  }(io.get_executor(), obj, calls));
}

BOOST_AUTO_TEST_CASE(takes_any_token) {
  asio::io_context io;
  auto const ex = io.get_executor();
  auto const obj = tinybpf::load(quick);
  auto future = async_attach(ex, obj.program("on_raw_enter"), asio::use_future);
  tinybpf::link by_callback;
  async_attach(ex, obj.program("on_btf_enter"), [&](error_code ec, tinybpf::link l) {
    BOOST_TEST(!ec);
    by_callback = std::move(l);
  });
  auto const [ec, l] = test::run(io, async_attach(ex, obj.program("on_getpgid"), asio::as_tuple(asio::use_awaitable)));
  BOOST_TEST(!ec);
  BOOST_TEST(l.attached());
  io.run();
  auto by_future = future.get();
  BOOST_TEST(by_callback.attached());

  async_detach(ex, std::move(by_callback), [](error_code e) { BOOST_TEST(!e); });
  BOOST_TEST(!by_callback.attached());  // from the start of the call
  auto detached = async_detach(ex, std::move(by_future), asio::use_future);
  BOOST_TEST(!by_future.attached());
  io.restart();
  io.run();
  detached.get();
}

BOOST_AUTO_TEST_CASE(says_why_it_failed) {
  asio::io_context io;
  auto const obj = tinybpf::load(quick);
  BOOST_CHECK_EXCEPTION(static_cast<void>(test::run(io, async_attach(io.get_executor(), obj.program("on_nothing")))),
                        tinybpf::error, [](auto const& e) {
                          return e.code() == test::kernel_error(ENOENT) &&
                                 contains(e.what(), "sys_enter_of_the_dead") &&
                                 e.get_diagnostics().program == "on_nothing";
                        });
  diagnostics details;
  async_attach(io.get_executor(), obj.program("on_tracepoint"), details, [&](error_code ec, tinybpf::link l) {
    BOOST_TEST(ec == make_error_code(errc::not_supported));
    BOOST_TEST(!l.attached());
  });
  async_attach(io.get_executor(), tinybpf::program{},
               [](error_code ec, tinybpf::link) { BOOST_TEST(ec == make_error_code(errc::closed)); });
  async_attach(io.get_executor(), object::open(quick).program("on_raw_enter"),
               [](error_code ec, tinybpf::link) { BOOST_TEST(ec == make_error_code(errc::not_loaded)); });
  io.restart();
  io.run();
  BOOST_TEST(details.program == "on_tracepoint");
}

// Takes over what a co_await expression has made.
auto keep(asio::io_context& io, std::vector<tinybpf::attach_target>& into, tinybpf::attach_target target) {
  into.push_back(std::move(target));
  return asio::post(io, asio::deferred);
}

// g++ 12 destroys the members of an aggregate that is made there twice: none of these must be one, or own something.
BOOST_AUTO_TEST_CASE(takes_targets_that_a_co_await_expression_makes) {
  asio::io_context io;
  std::vector<tinybpf::attach_target> made;
  std::string const name = "longer than what a string has room for in itself";
  std::vector<std::string> const names{name, name};
  std::vector<std::uint64_t> const cookies{1, 2};
  test::run(io, [&]() -> asio::awaitable<void> {
    co_await keep(io, made, tinybpf::kprobe_multi_target{names, {.cookies = cookies}});
  }());
  test::run(io, [&]() -> asio::awaitable<void> {
    co_await keep(io, made, tinybpf::uprobe_multi_target{name, names, {.pid = 3, .cookies = cookies}});
  }());
  test::run(io, [&]() -> asio::awaitable<void> {
    co_await keep(io, made, tinybpf::usdt_target{name, name, name, {.pid = 3}});
  }());
  BOOST_TEST_REQUIRE(made.size() == 3);
  auto const& kprobes = std::get<tinybpf::kprobe_multi_target>(made[0]);
  BOOST_TEST((std::get<std::vector<std::string>>(kprobes.functions) == names));
  BOOST_TEST(kprobes.cookies == cookies, boost::test_tools::per_element());
  auto const& uprobes = std::get<tinybpf::uprobe_multi_target>(made[1]);
  BOOST_TEST((std::get<std::vector<std::string>>(uprobes.functions) == names));
  BOOST_TEST(uprobes.cookies == cookies, boost::test_tools::per_element());
  BOOST_TEST(uprobes.pid == 3);
  auto const& place = std::get<tinybpf::usdt_target>(made[2]);
  BOOST_TEST(place.binary == name);
  BOOST_TEST(place.provider == name);
  BOOST_TEST(place.name == name);
}

BOOST_AUTO_TEST_CASE(detaches_what_a_cancelled_attach_gave) {
  asio::io_context io;
  auto const obj = tinybpf::load(quick);
  asio::cancellation_signal signal;
  std::optional<error_code> attached;
  test::busy_workers busy{io};
  async_attach(io.get_executor(), obj.program("on_raw_enter"),
               asio::bind_cancellation_slot(signal.slot(), [&](error_code ec, tinybpf::link l) {
                 attached = ec;
                 BOOST_TEST(!l.attached());
               }));
  signal.emit(asio::cancellation_type::terminal);
  busy.release();
  io.run();
  BOOST_TEST(attached.value() == aborted);
}

BOOST_AUTO_TEST_CASE(of_many_programs_of_one_object_at_once) {
  asio::io_context io;
  auto const obj = tinybpf::load(quick);
  std::vector<tinybpf::link> links;
  for (int i = 0; i < 30; ++i)
    async_attach(io.get_executor(), obj.program(i % 2 == 0 ? "on_raw_enter" : "on_btf_enter"),
                 [&](error_code ec, tinybpf::link l) {
                   BOOST_TEST(!ec);
                   links.push_back(std::move(l));
                 });
  io.run();
  BOOST_TEST(links.size() == 30);
  test::call();
  BOOST_TEST(test::seen(obj.map("calls"), counter::on_raw_enter) == 15);
  BOOST_TEST(test::seen(obj.map("calls"), counter::on_btf_enter) == 15);
}

BOOST_AUTO_TEST_CASE(finds_the_object_closed_or_is_done_before) {
  for (int i = 0; i < 20; ++i) {
    asio::io_context io;
    auto obj = tinybpf::load(quick);
    test::busy_workers busy{io};
    int attached = 0;
    int closed = 0;
    for (int n = 0; n < 4; ++n)
      async_attach(io.get_executor(), obj.program("on_raw_enter"), [&](error_code ec, tinybpf::link l) {
        if (ec == errc::closed) ++closed;
        if (!ec && l.attached()) ++attached;
      });
    busy.release();
    obj.close();
    io.run();
    BOOST_TEST(attached + closed == 4);
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(link_of_async_attach)

BOOST_AUTO_TEST_CASE(leaves_its_detaching_to_the_worker) {
  asio::io_context io;
  auto const obj = tinybpf::load(quick);
  auto link = test::run(io, async_attach(io.get_executor(), obj.program("on_raw_enter")));
  auto const id = id_of(link);
  test::busy_workers busy{io};
  link = {};
  BOOST_TEST(link_exists(id));  // the destructor is over, and left it to threads that are busy
  test::call();
  BOOST_TEST(test::seen(obj.map("calls"), counter::on_raw_enter) == 1);
  busy.release();
  // The kernel takes the id away first: it is over when a call is no longer counted.
  for (std::uint64_t before = 0, after = 1; before != after;) {
    before = test::seen(obj.map("calls"), counter::on_raw_enter);
    test::call();
    after = test::seen(obj.map("calls"), counter::on_raw_enter);
  }
  BOOST_TEST(!link_exists(id));
}

BOOST_AUTO_TEST_CASE(is_detached_by_the_end_of_the_context) {
  auto const obj = tinybpf::load(quick);
  std::uint32_t id = 0;
  {
    asio::io_context io;
    auto link = test::run(io, async_attach(io.get_executor(), obj.program("on_getpgid")));
    id = id_of(link);
    BOOST_TEST(link_exists(id));
    link = {};
  }
  BOOST_TEST(!link_exists(id));
  test::call();
  BOOST_TEST(test::seen(obj.map("calls"), counter::on_getpgid) == 0);
}

BOOST_AUTO_TEST_CASE(detaches_at_once_when_asked) {
  asio::io_context io;
  auto const obj = tinybpf::load(quick);
  auto link = test::run(io, async_attach(io.get_executor(), obj.program("on_raw_enter")));
  auto const id = id_of(link);
  test::busy_workers busy{io};
  link.detach();
  BOOST_TEST(!link_exists(id));
}

BOOST_AUTO_TEST_CASE(may_outlive_the_context_and_the_object) {
  tinybpf::link link;
  std::optional<test::calls_descriptor> calls;
  {
    asio::io_context io;
    auto const obj = test::run(io, async_load(io.get_executor(), quick));
    calls.emplace(obj.map("calls"));
    link = test::run(io, async_attach(io.get_executor(), obj.program("on_raw_enter")));
  }
  BOOST_TEST(link.attached());
  auto const id = id_of(link);
  test::call();
  BOOST_TEST(calls->seen(counter::on_raw_enter) == 1);
  link = {};
  BOOST_TEST(!link_exists(id));
  test::call();
  BOOST_TEST(calls->seen(counter::on_raw_enter) == 1);
}

BOOST_AUTO_TEST_SUITE_END()
