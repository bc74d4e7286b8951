// Programs run on made-up input.
#include "busy_workers.hpp"
#include "features.hpp"
#include "forms.hpp"
#include "support.hpp"

#include <tinybpf/async.hpp>
#include <tinybpf/global_variable.hpp>
#include <tinybpf/object.hpp>
#include <tinybpf/program.hpp>
#include <tinybpf/test_run.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/test/unit_test.hpp>

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace asio = boost::asio;
using test::bytes_of;
using test::contains;
using test::kernel_error;
using test::writable_bytes_of;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::object;
using tinybpf::program;
using tinybpf::test_run_options;
using tinybpf::test_run_result;

namespace test_run_test {

auto const aborted = error_code{asio::error::operation_aborted};
constexpr std::size_t header = 14;

using packet_data = std::vector<std::byte>;
packet_data packet(std::size_t size = 64) { return packet_data(size, std::byte{0x11}); }

/// What the program `rewrite` makes of it.
packet_data rewritten(packet_data p) {
  p[header] = std::byte{0xbe};
  p.resize(p.size() - 2);
  return p;
}

struct sum {
  std::uint64_t a;
  std::uint64_t b;
  std::uint64_t result;
};

struct loaded {
  object obj = tinybpf::load(RUNS_BPF_O);
  error_code ec;
  diagnostics details;

  std::uint64_t runs() const { return obj.global<std::uint64_t>("runs").load(); }

  tinybpf::diagnostics refused(char const* name, error_code expected, test_run_options const& options) const {
    auto const p = obj.program(name);
    auto const said = test::refusal(expected, [&](auto&... out) { return p.test_run(options, out...); });
    BOOST_TEST(contains(said.message, "test_run of program '" + std::string{name} + "'"), said.message);
    BOOST_TEST(said.program == name);
    return said;
  }
};

}  // namespace test_run_test

using namespace test_run_test;

BOOST_FIXTURE_TEST_SUITE(test_runs, loaded)

BOOST_AUTO_TEST_CASE(of_packets, *test::shows("test_run xdp")) {
  auto const rewrite = obj.program("rewrite");
  auto const in = packet();
  packet_data out(100, std::byte{0x77});
  auto const r = rewrite.test_run({.data_in = in, .data_out = out});
  BOOST_TEST(r.retval == XDP_TX);
  BOOST_TEST(r.data_size_out == 62U);
  BOOST_TEST(r.ctx_size_out == 0U);
  BOOST_TEST((in == packet()));
  BOOST_TEST(std::equal(out.begin(), out.begin() + 62, rewritten(in).begin()));
  BOOST_TEST((out[62] == std::byte{0x77}));
  BOOST_TEST(runs() == 1U);
  test::accepted([&](auto&... said) { return rewrite.test_run({.data_in = in}, said...); });
  BOOST_TEST(rewrite.test_run({.data_in = in}).data_size_out == 62U);
}

BOOST_AUTO_TEST_CASE(that_repeat) {
  auto const in = packet();
  auto const drop = obj.program("drop");
  auto const r = drop.test_run({.data_in = in, .repeat = 1000});
  BOOST_TEST(r.retval == XDP_DROP);
  BOOST_TEST(runs() == 1000U);
  BOOST_TEST(r.duration.count() >= 0);
  drop.test_run({.data_in = in, .repeat = 0});
  BOOST_TEST(runs() == 1001U);
}

BOOST_AUTO_TEST_CASE(with_a_context, *test::shows("test_run socket")) {
  auto const in = packet();
  __sk_buff context{};
  context.mark = 41;
  context.priority = 6;
  __sk_buff after{};
  auto const r =
      obj.program("mark").test_run({.data_in = in, .ctx_in = bytes_of(context), .ctx_out = writable_bytes_of(after)});
  BOOST_TEST(r.retval == 6U);
  BOOST_TEST(r.ctx_size_out == sizeof after);
  BOOST_TEST(after.mark == 42U);
  BOOST_TEST(context.mark == 41U);
}

BOOST_AUTO_TEST_CASE(of_raw_tracepoints_on_a_cpu, *test::shows("test_run raw_tracepoint")) {
  std::array<std::uint64_t, 2> const arguments{30, 12};
  auto const input = std::as_bytes(std::span{arguments});
  auto const add = obj.program("add");
  auto const last_cpu = obj.global<std::uint32_t>("last_cpu");
  BOOST_TEST(add.test_run({.ctx_in = input}).retval == 42U);
  cpu_set_t cpus;
  BOOST_TEST_REQUIRE(sched_getaffinity(0, sizeof cpus, &cpus) == 0);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &cpus)) continue;
    BOOST_TEST(add.test_run({.ctx_in = input, .cpu = cpu}).retval == 42U);
    BOOST_TEST(last_cpu.load() == static_cast<std::uint32_t>(cpu));
  }
  auto const said = refused("add", kernel_error(ENXIO), {.ctx_in = input, .cpu = 100'000});
  BOOST_TEST(contains(said.hint, "CPU"), said.hint);
}

BOOST_AUTO_TEST_CASE(of_syscall_programs, *test::shows("test_run syscall")) {
  auto const compute = obj.program("compute");
  sum const in{40, 2, 0};
  sum out{};
  auto const r = compute.test_run({.ctx_in = bytes_of(in), .ctx_out = writable_bytes_of(out)});
  BOOST_TEST(r.retval == 7U);
  BOOST_TEST(r.ctx_size_out == sizeof out);
  BOOST_TEST(out.result == 42U);
  BOOST_TEST(in.result == 0U);  // which the kernel would have written to
  BOOST_TEST(compute.test_run({.ctx_in = bytes_of(in), .repeat = 1}).retval == 7U);
  for (auto const& options : {test_run_options{.ctx_in = bytes_of(in), .repeat = 2}, test_run_options{}}) {
    auto const said = refused("compute", kernel_error(EINVAL), options);
    BOOST_TEST(contains(said.hint, "type syscall takes ctx_in"), said.hint);
    BOOST_TEST(contains(said.hint, "repeat"), said.hint);
  }
  std::uint64_t first = 0;
  auto const said =
      refused("compute", kernel_error(ENOSPC), {.ctx_in = bytes_of(in), .ctx_out = writable_bytes_of(first)});
  BOOST_TEST(said.expected_size == sizeof(sum));
  BOOST_TEST(said.actual_size == sizeof first);
  BOOST_TEST(first == 40U);
}

// They go round by themselves: the program drops each, and nothing is sent.
BOOST_AUTO_TEST_CASE(of_live_frames) {
  auto const in = packet();
  auto const drop = obj.program("drop");
  drop.test_run({.data_in = in, .repeat = 300, .live_frames = true, .batch_size = 16});
  BOOST_TEST(runs() == 300U);
  test::accepted(
      [&](auto&... said) { return drop.test_run({.data_in = in, .repeat = 10, .live_frames = true}, said...); });
  auto const said = refused("drop", kernel_error(E2BIG), {.data_in = in, .live_frames = true, .batch_size = 100'000});
  BOOST_TEST(runs() == 330U);
  refused("drop", kernel_error(EINVAL), {.data_in = in, .batch_size = 16});
}

BOOST_AUTO_TEST_CASE(that_have_no_room_for_the_output) {
  auto const in = packet();
  packet_data out(20, std::byte{0x77});
  auto const cut = std::span{out}.first(16);
  auto const rewrite = obj.program("rewrite");
  auto const r = rewrite.test_run({.data_in = in, .data_out = cut}, ec, details);
  BOOST_TEST(ec == kernel_error(ENOSPC));
  BOOST_TEST(r.retval == XDP_TX);
  BOOST_TEST(r.data_size_out == 62U);
  BOOST_TEST(std::equal(cut.begin(), cut.end(), rewritten(in).begin()));
  BOOST_TEST((out[16] == std::byte{0x77}));
  auto const said = refused("rewrite", kernel_error(ENOSPC), {.data_in = in, .data_out = cut});
  BOOST_TEST(said.expected_size == 62U);
  BOOST_TEST(said.actual_size == 16U);
  BOOST_TEST(contains(said.message, "data_out has room for 16 bytes of 62"), said.message);

  std::array<std::byte, 8> context_out{};
  __sk_buff const context{};
  auto const of_context =
      refused("mark", kernel_error(ENOSPC), {.data_in = in, .ctx_in = bytes_of(context), .ctx_out = context_out});
  BOOST_TEST(contains(of_context.message, "ctx_out"), of_context.message);
  BOOST_TEST(of_context.expected_size == sizeof context);
}

BOOST_AUTO_TEST_CASE(that_have_no_room_for_the_packet_give_no_context) {
  auto const in = packet();
  __sk_buff const context{};
  auto const run = [&](auto call) {
    packet_data out(16);
    packet_data context_out(sizeof context + 8, std::byte{0x77});
    auto const r =
        call(test_run_options{.data_in = in, .data_out = out, .ctx_in = bytes_of(context), .ctx_out = context_out});
    BOOST_TEST(ec == kernel_error(ENOSPC));
    BOOST_TEST(contains(details.message, "data_out"), details.message);
    BOOST_TEST(r.data_size_out == in.size());
    BOOST_TEST(r.ctx_size_out == 0U);
    BOOST_TEST(std::count(context_out.begin(), context_out.end(), std::byte{0x77}) ==
               static_cast<std::ptrdiff_t>(context_out.size()));
  };
  auto const mark = obj.program("mark");
  run([&](test_run_options const& o) { return mark.test_run(o, ec, details); });
  run([&](test_run_options const& o) {
    asio::io_context io;
    test_run_result got;
    tinybpf::async_test_run(io.get_executor(), mark, o, details, [&](error_code e, test_run_result r) {
      ec = e;
      got = r;
    });
    io.run();
    return got;
  });
}

// The kernel leaves out everything if data_out is shorter than the first part.
BOOST_AUTO_TEST_CASE(that_have_no_room_for_a_part_of_the_packet_give_no_result) {
  constexpr std::uint32_t has_frags = 1U << 5U;  // BPF_F_XDP_HAS_FRAGS
  obj = object::open(RUNS_BPF_O);
  obj.program("drop").set_flags(has_frags);
  obj.load();
  auto const in = packet(9000);
  packet_data out(9000);
  auto const whole = obj.program("drop").test_run({.data_in = in, .data_out = out});
  BOOST_TEST(whole.retval == XDP_DROP);
  BOOST_TEST(whole.data_size_out == in.size());
  test_run_options const options{.data_in = in, .data_out = std::span{out}.first(16)};
  auto const r = obj.program("drop").test_run(options, ec, details);
  BOOST_TEST(ec == kernel_error(ENOSPC));
  BOOST_TEST(r.data_size_out == 0U);
  auto const said = refused("drop", kernel_error(ENOSPC), options);
  BOOST_TEST(contains(said.message, "gives no result"), said.message);
  BOOST_TEST(said.expected_size == 0U);
}

BOOST_AUTO_TEST_CASE(of_what_cannot_be_run) {
  auto const said = refused("on_getpgid", kernel_error(EOPNOTSUPP), {});
  BOOST_TEST(contains(said.message, "no test run for a program of type tracepoint"), said.message);
  BOOST_TEST(contains(said.hint, "xdp"), said.hint);
  BOOST_TEST(contains(said.hint, "syscall"), said.hint);
}

BOOST_AUTO_TEST_CASE(with_input_that_the_type_does_not_take) {
  auto const hint_of = [&](char const* name, test_run_options const& options) {
    return refused(name, kernel_error(EINVAL), options).hint;
  };
  auto const in = packet();
  auto const shorter = packet(header - 1);
  std::uint64_t const arguments[2] = {};
  auto const context = std::as_bytes(std::span{arguments});
  for (auto const& options :
       {test_run_options{}, test_run_options{.data_in = shorter}, test_run_options{.ctx_in = context}})
    for (auto const name : {"rewrite", "mark"}) {
      auto const hint = hint_of(name, options);
      BOOST_TEST(contains(hint, "data_in of at least 14 bytes"), hint);
    }
  BOOST_TEST(contains(hint_of("drop", {.data_in = in, .cpu = 0}), "no CPU"));
  BOOST_TEST(contains(hint_of("drop", {.data_in = in, .flags = 1U << 30U}), "type xdp takes"));
  BOOST_TEST(contains(hint_of("add", {.data_in = in, .ctx_in = context}), "type raw_tracepoint takes ctx_in"));
  BOOST_TEST(contains(hint_of("add", {.ctx_in = context, .repeat = 2}), "nor repeat"));
  BOOST_TEST(contains(hint_of("add", {}), "8 bytes for each argument"));
  BOOST_TEST(runs() == 0U);
  if constexpr (sizeof(std::size_t) > 4) {
    std::span<std::byte const> const huge{in.data(), std::size_t{1} << 32U};  // nobody looks at it
    refused("drop", errc::out_of_range, {.data_in = huge});
  }
}

BOOST_AUTO_TEST_CASE(of_closed_and_unloaded_programs) {
  test::refusal(errc::closed, [](auto&... out) { return program{}.test_run({}, out...); });
  auto const unloaded = object::open(RUNS_BPF_O).program("drop");
  test::refusal(errc::not_loaded, [&](auto&... out) { return unloaded.test_run({}, out...); });
  auto const drop = obj.program("drop");
  obj.close();
  test::refusal(errc::closed, [&](auto&... out) { return drop.test_run({}, out...); });
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(test_runs_on_a_worker, loaded)

BOOST_AUTO_TEST_CASE(give_what_the_blocking_call_gives) {
  asio::io_context io;
  test::run(io, [](auto ex, object const& o) -> asio::awaitable<void> {
    auto const in = packet();
    packet_data out(100, std::byte{0x77});
    auto const rewrite = o.program("rewrite");
    auto const r = co_await async_test_run(ex, rewrite, {.data_in = in, .data_out = out});
    BOOST_TEST(r.retval == XDP_TX);
    BOOST_TEST(r.data_size_out == 62U);
    BOOST_TEST(std::equal(out.begin(), out.begin() + 62, rewritten(in).begin()));
    BOOST_TEST((out[62] == std::byte{0x77}));

    sum const numbers{40, 2, 0};
    sum result{};
    auto const s = co_await async_test_run(ex, o.program("compute"),
                                           {.ctx_in = bytes_of(numbers), .ctx_out = writable_bytes_of(result)});
    BOOST_TEST(s.retval == 7U);
    BOOST_TEST(result.result == 42U);
  }(io.get_executor(), obj));
}

BOOST_AUTO_TEST_CASE(take_any_token) {
  asio::io_context io;
  auto const ex = io.get_executor();
  auto const in = packet();
  auto const drop = obj.program("drop");
  auto future = async_test_run(ex, drop, {.data_in = in, .repeat = 10}, asio::use_future);
  std::optional<test_run_result> by_callback;
  async_test_run(ex, drop, {.data_in = in}, [&](error_code e, test_run_result r) {
    BOOST_TEST(!e);
    by_callback = r;
  });
  auto const [e, r] = test::run(io, async_test_run(ex, drop, {.data_in = in}, asio::as_tuple(asio::use_awaitable)));
  BOOST_TEST(!e);
  BOOST_TEST(r.retval == XDP_DROP);
  io.restart();
  io.run();
  BOOST_TEST(future.get().retval == XDP_DROP);
  BOOST_TEST(by_callback.value().retval == XDP_DROP);
  BOOST_TEST(runs() == 12U);
}

BOOST_AUTO_TEST_CASE(say_why_they_failed) {
  asio::io_context io;
  auto const ex = io.get_executor();
  auto const on_getpgid = obj.program("on_getpgid");
  BOOST_CHECK_EXCEPTION(static_cast<void>(test::run(io, tinybpf::async_test_run(ex, on_getpgid, test_run_options{}))),
                        tinybpf::error, [](auto const& e) {
                          return e.code() == kernel_error(EOPNOTSUPP) && e.get_diagnostics().program == "on_getpgid" &&
                                 contains(e.what(), "tracepoint");
                        });
  auto const in = packet();
  packet_data out(16);
  std::optional<test_run_result> cut;
  async_test_run(ex, obj.program("rewrite"), {.data_in = in, .data_out = out}, details,
                 [&](error_code e, test_run_result r) {
                   ec = e;
                   cut = r;
                 });
  tinybpf::async_test_run(ex, program{}, {},
                          [](error_code e, test_run_result) { BOOST_TEST(e == make_error_code(errc::closed)); });
  io.restart();
  io.run();
  BOOST_TEST(ec == kernel_error(ENOSPC));
  BOOST_TEST(details.expected_size == 62U);
  BOOST_TEST(cut.value().retval == XDP_TX);
  BOOST_TEST(std::equal(out.begin(), out.end(), rewritten(in).begin()));
}

BOOST_AUTO_TEST_CASE(copy_their_input_when_they_start) {
  asio::io_context io;
  packet_data out(100);
  std::optional<error_code> done;
  {
    test::busy_workers busy{io};
    auto in = std::make_unique<packet_data>(packet());
    async_test_run(io.get_executor(), obj.program("rewrite"), {.data_in = *in, .data_out = out},
                   [&](error_code e, test_run_result) { done = e; });
    std::fill(in->begin(), in->end(), std::byte{0});
    in.reset();
    obj = object{};  // the program goes on without its object
  }
  io.run();
  BOOST_TEST(done.value() == error_code{});
  BOOST_TEST(std::equal(out.begin(), out.begin() + 62, rewritten(packet()).begin()));
}

BOOST_AUTO_TEST_CASE(write_their_output_when_the_handler_is_called) {
  asio::io_context io;
  asio::io_context handlers;
  auto const in = packet();
  packet_data out(100, std::byte{0x77});
  std::thread::id written_by;
  async_test_run(io.get_executor(), obj.program("rewrite"), {.data_in = in, .data_out = out},
                 asio::bind_executor(handlers.get_executor(), [&](error_code e, test_run_result) {
                   BOOST_TEST(!e);
                   BOOST_TEST((out[header] == std::byte{0xbe}));
                   written_by = std::this_thread::get_id();
                 }));
  while (runs() == 0) std::this_thread::yield();
  BOOST_TEST((out == packet_data(100, std::byte{0x77})));
  handlers.run();
  io.run();
  BOOST_TEST((written_by == std::this_thread::get_id()));
}

// What is written to after the buffers have gone is for the sanitizers to see, and the canary.
BOOST_AUTO_TEST_CASE(touch_no_buffer_after_a_cancellation) {
  asio::io_context io;
  asio::cancellation_signal signal;
  std::optional<error_code> done;
  packet_data out(100, std::byte{0x77});
  {
    test::busy_workers busy{io};
    auto const in = packet();
    async_test_run(io.get_executor(), obj.program("rewrite"), {.data_in = in, .data_out = out},
                   asio::bind_cancellation_slot(signal.slot(), [&](error_code e, test_run_result r) {
                     done = e;
                     BOOST_TEST(r.data_size_out == 0U);
                   }));
    signal.emit(asio::cancellation_type::total);
  }
  io.run();
  BOOST_TEST(done.value() == aborted);
  while (runs() == 0) std::this_thread::yield();  // the work goes on
  io.restart();
  io.run();
  BOOST_TEST((out == packet_data(100, std::byte{0x77})));
}

BOOST_AUTO_TEST_CASE(are_dropped_with_their_context) {
  packet_data out(100, std::byte{0x77});
  {
    asio::io_context io;
    auto const in = packet();
    for (int i = 0; i < 10; ++i)
      async_test_run(io.get_executor(), obj.program("rewrite"), {.data_in = in, .data_out = out, .repeat = 1000},
                     [](error_code, test_run_result) { BOOST_ERROR("the loop never ran"); });
  }
  BOOST_TEST((out == packet_data(100, std::byte{0x77})));
}

BOOST_AUTO_TEST_SUITE_END()
