// How often programs run, and for how long.
#include "calls.hpp"
#include "features.hpp"
#include "forms.hpp"
#include "privileges.hpp"
#include "support.hpp"

#include <tinybpf/object.hpp>
#include <tinybpf/program.hpp>
#include <tinybpf/stats.hpp>

#include <boost/test/unit_test.hpp>

#include <fcntl.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

using test::contains;
using test::kernel_error;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::object;
using tinybpf::program;
using tinybpf::run_time_stats;

namespace {

struct loaded {
  object obj = tinybpf::load(RUNS_BPF_O);
  program drop = obj.program("drop");

  void run(std::uint32_t times) const {
    std::array<std::byte, 64> const packet{};
    drop.test_run({.data_in = packet, .repeat = times});
  }
};

/// Somebody may have switched them on for the whole machine.
bool others_count() {
  int on = 0;
  std::ifstream{"/proc/sys/kernel/bpf_stats_enabled"} >> on;
  return on != 0;
}

}  // namespace

static_assert(std::is_nothrow_move_constructible_v<run_time_stats> && !std::is_copy_constructible_v<run_time_stats>);

BOOST_FIXTURE_TEST_SUITE(statistics, loaded)

BOOST_AUTO_TEST_CASE(count_while_they_are_on, *test::shows("run-time statistics")) {
  run(5);
  if (!others_count()) BOOST_TEST(drop.stats().run_count == 0U);
  auto const before = drop.stats();
  auto counting = tinybpf::enable_stats();
  BOOST_TEST(counting.is_open());
  BOOST_TEST(static_cast<bool>(counting));
  BOOST_TEST(fcntl(counting.fd(), F_GETFD) == FD_CLOEXEC);
  run(100);
  auto const between = drop.stats();
  BOOST_TEST(between.run_count == before.run_count + 100);
  BOOST_TEST((between.run_time > before.run_time));
  BOOST_TEST(between.recursion_misses == 0U);
  auto const info = drop.info();
  BOOST_TEST(info.run_count == between.run_count);
  BOOST_TEST((info.run_time == between.run_time));
  BOOST_TEST(info.recursion_misses == 0U);
  BOOST_TEST(obj.program("rewrite").stats().run_count == 0U);

  counting.close();
  BOOST_TEST(!counting.is_open());
  BOOST_TEST(counting.fd() == -1);
  counting.close();
  run(5);
  if (!others_count()) BOOST_TEST(drop.stats().run_count == between.run_count);
}

BOOST_AUTO_TEST_CASE(count_runs_of_what_is_attached) {
  auto const counting = tinybpf::enable_stats();
  auto const on_getpgid = obj.program("on_getpgid");
  auto const link = on_getpgid.attach();
  test::call(7);
  BOOST_TEST(on_getpgid.stats().run_count >= 7U);  // others may call it as well
  BOOST_TEST(on_getpgid.clone().stats().run_count >= 7U);
}

BOOST_AUTO_TEST_CASE(are_on_as_long_as_one_is_alive) {
  std::optional<run_time_stats> first{tinybpf::enable_stats()};
  auto second = tinybpf::enable_stats();
  run(1);
  first.reset();
  run(1);
  BOOST_TEST(drop.stats().run_count == 2U);
  auto moved = std::move(second);
  BOOST_TEST(!second.is_open());  // NOLINT(bugprone-use-after-move): what it says then
  run(1);
  BOOST_TEST(drop.stats().run_count == 3U);
  moved = run_time_stats{};
  run(1);
  if (!others_count()) BOOST_TEST(drop.stats().run_count == 3U);
  BOOST_TEST(!run_time_stats{}.is_open());
}

BOOST_AUTO_TEST_CASE(have_three_forms) {
  test::accepted([](auto&... out) { return tinybpf::enable_stats(out...); });
  test::accepted([&](auto&... out) { return drop.stats(out...); });
  auto const closed = drop;
  obj.close();
  test::refusal(errc::closed, [&](auto&... out) { return closed.stats(out...); });
  test::refusal(errc::closed, [](auto&... out) { return program{}.stats(out...); });
  auto const unloaded = object::open(RUNS_BPF_O).program("drop");
  test::refusal(errc::not_loaded, [&](auto&... out) { return unloaded.stats(out...); });
}

BOOST_AUTO_TEST_CASE(are_not_for_everybody) {
  auto const said = test::in_child([] {
    test::become_nobody();
    error_code ec;
    diagnostics details;
    auto const none = tinybpf::enable_stats(ec, details);
    bool const right = ec == kernel_error(EPERM) && !none.is_open() && contains(details.hint, "CAP_SYS_ADMIN");
    return std::string{right ? "refused" : ec.message() + details.to_string()};
  });
  BOOST_TEST(said == "refused");
}

BOOST_AUTO_TEST_SUITE_END()
