// What can be said of a map before its object is loaded.
#include "busy_workers.hpp"
#include "forms.hpp"
#include "support.hpp"

#include <tinybpf/async.hpp>
#include <tinybpf/map.hpp>
#include <tinybpf/object.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/test/unit_test.hpp>

#include <bpf/bpf.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

using test::bytes_of;
using test::contains;
using test::kernel_error;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::map;
using tinybpf::map_type;
using tinybpf::object;

namespace map_settings_test {

void run(object const& obj, char const* program) {
  bpf_test_run_opts opts{};
  opts.sz = sizeof opts;
  BOOST_TEST_REQUIRE(bpf_prog_test_run_opts(obj.program(program).fd(), &opts) == 0);
}

struct opened {
  object obj = object::open(SETTINGS_BPF_O);
  map sessions = obj.map("sessions");
  map totals = obj.map("totals");
  error_code ec;
  diagnostics details;
};

/// Each setting, in all forms, with what is right for `m`.
void each_setting(map const& m, map const& other, std::function<void(std::function<void()>)> const& throws,
                  std::function<void(char const*, std::function<void(error_code&, diagnostics*)>)> const& reports) {
  std::vector<std::byte> const value(16);
  auto const setting = [&](char const* name, auto call) {
    throws([&] { call(); });
    reports(name, [&](error_code& ec, diagnostics* details) {
      if (details != nullptr)
        call(ec, *details);
      else
        call(ec);
    });
  };
  setting("set_max_entries", [&](auto&... out) { m.set_max_entries(2, out...); });
  setting("set_type", [&](auto&... out) { m.set_type(map_type::hash, out...); });
  setting("set_map_flags", [&](auto&... out) { m.set_map_flags(0, out...); });
  setting("set_numa_node", [&](auto&... out) { m.set_numa_node(0, out...); });
  setting("set_inner_map", [&](auto&... out) { m.set_inner_map(other, out...); });
  setting("set_initial_value", [&](auto&... out) { m.set_initial_value(value, out...); });
  setting("reuse_fd", [&](auto&... out) { m.reuse(other, out...); });
  setting("reuse_fd", [&](auto&... out) { m.reuse_fd(other.fd(), out...); });
}

void all_settings_fail(map const& m, map const& other, errc expected, std::string const& hint = {}) {
  auto const code = make_error_code(expected);
  each_setting(
      m, other,
      [&](auto const& call) {
        BOOST_CHECK_EXCEPTION(call(), tinybpf::error, [&](tinybpf::error const& e) { return e.code() == code; });
      },
      [&](char const* name, auto const& call) {
        error_code ec;
        diagnostics details;
        call(ec, &details);
        BOOST_TEST(ec == code);
        BOOST_TEST(contains(details.message, name), details.message);
        BOOST_TEST(contains(details.message, m.name()), details.message);
        BOOST_TEST(details.map == m.name());
        BOOST_TEST(contains(details.hint, hint), details.hint);
        ec.clear();
        call(ec, nullptr);
        BOOST_TEST(ec == code);
      });
}

}  // namespace map_settings_test

using namespace map_settings_test;

BOOST_FIXTURE_TEST_SUITE(map_settings, opened)

BOOST_AUTO_TEST_CASE(are_what_the_kernel_makes_the_map_of) {
  test::accepted([&](auto&... out) { sessions.set_max_entries(100, out...); });
  test::accepted([&](auto&... out) { sessions.set_type(map_type::lru_hash, out...); });
  test::accepted([&](auto&... out) { sessions.set_map_flags(BPF_F_NO_COMMON_LRU, out...); });
  BOOST_TEST(sessions.max_entries() == 100U);
  BOOST_TEST((sessions.type() == map_type::lru_hash));
  BOOST_TEST(sessions.fd() == -1);
  obj.map("events").set_max_entries(8192);
  obj.load();
  auto const info = sessions.info();
  BOOST_TEST((info.type == map_type::lru_hash));
  BOOST_TEST(info.flags == BPF_F_NO_COMMON_LRU);
  BOOST_TEST(info.max_entries >= 100U);  // the kernel makes it a multiple of the CPUs
  BOOST_TEST(sessions.max_entries() == 100U);
  BOOST_TEST(obj.map("events").info().max_entries == 8192U);
}

// libbpf sees to it that a ring is made of whole pages, and of a power of two of them.
BOOST_AUTO_TEST_CASE(round_up_the_size_of_a_ring) {
  auto const events = obj.map("events");
  events.set_max_entries(5000);
  BOOST_TEST(events.max_entries() == 8192U);
  obj.load();
  BOOST_TEST(events.info().max_entries == 8192U);
}

BOOST_AUTO_TEST_CASE(that_make_no_sense_are_refused_by_load) {
  sessions.set_map_flags(BPF_F_MMAPABLE);
  obj.load(ec, details);
  BOOST_TEST(ec == kernel_error(EINVAL));
  BOOST_TEST(details.map == "sessions");
  BOOST_TEST(contains(details.message, "'sessions'"), details.message);

  auto second = object::open(SETTINGS_BPF_O);
  second.map("totals").set_max_entries(0);
  second.load(ec, details);
  BOOST_TEST(ec == kernel_error(EINVAL));
  BOOST_TEST(details.map == "totals");

  auto third = object::open(SETTINGS_BPF_O);
  third.map("totals").set_type(static_cast<map_type>(4711));
  third.load(ec, details);
  BOOST_TEST(ec == kernel_error(EINVAL));
  BOOST_TEST(details.map == "totals");
}

BOOST_AUTO_TEST_CASE(say_the_node_of_the_memory) {
  sessions.set_map_flags(BPF_F_NO_PREALLOC);
  test::accepted([&](auto&... out) { sessions.set_numa_node(0, out...); });
  obj.load();
  BOOST_TEST(sessions.info().flags == (BPF_F_NO_PREALLOC | BPF_F_NUMA_NODE));

  // In the other order, too: the flags do not take the node away.
  auto third = object::open(SETTINGS_BPF_O);
  third.map("sessions").set_numa_node(0);
  third.map("sessions").set_map_flags(BPF_F_NO_PREALLOC);
  third.load();
  BOOST_TEST(third.map("sessions").info().flags == (BPF_F_NO_PREALLOC | BPF_F_NUMA_NODE));

  auto second = object::open(SETTINGS_BPF_O);
  second.map("totals").set_numa_node(999);
  second.load(ec, details);
  BOOST_TEST(ec == kernel_error(EINVAL));
  BOOST_TEST(details.map == "totals");
  BOOST_TEST(contains(details.message, "'totals'"), details.message);
}

BOOST_AUTO_TEST_CASE(are_for_maps_that_are_not_there_yet) {
  auto const other = map::create(map_type::array, "other", 4, 8, 4);
  all_settings_fail({}, other, errc::closed);
  all_settings_fail(other, other, errc::already_loaded, "before load()");
  obj.load();
  all_settings_fail(sessions, other, errc::already_loaded, "before load()");
  BOOST_TEST(sessions.max_entries() == 8U);
  obj.close();
  all_settings_fail(sessions, other, errc::closed);

  auto failed = object::open(SETTINGS_BPF_O);
  auto const of_failed = failed.map("sessions");
  of_failed.set_numa_node(999);
  failed.load(ec);
  BOOST_TEST(ec);
  all_settings_fail(of_failed, other, errc::already_loaded);
}

BOOST_AUTO_TEST_CASE(wait_for_a_load_that_runs_elsewhere) {
  auto const other = map::create(map_type::array, "other", 4, 8, 4);
  boost::asio::io_context io;
  test::busy_workers busy{io};
  std::optional<error_code> loaded;
  tinybpf::async_load(io.get_executor(), obj, [&](error_code e) { loaded = e; });
  all_settings_fail(sessions, other, errc::operation_in_progress);
  test::refusal(errc::operation_in_progress, [&](auto&... out) { other.clone().reuse(sessions, out...); });
  busy.release();
  io.run();
  BOOST_TEST(loaded.value() == error_code{});
}

BOOST_AUTO_TEST_CASE(say_what_is_in_maps_of_maps) {
  auto nested = object::open(NESTED_BPF_O);
  auto const by_name = nested.map("by_name");
  auto const by_index = nested.map("by_index");
  std::uint32_t const zero = 0;
  auto const first = map::create(map_type::array, "first", 4, 8, 1);
  auto const second = map::create(map_type::array, "second", 4, 8, 1);
  by_name.set_inner_map(first);
  by_index.set_inner_map(second, ec, details);
  BOOST_TEST(!ec);
  nested.load();
  auto const put = [&](map const& outer, map const& inner) {
    int const fd = inner.fd();
    outer.update(bytes_of(zero), bytes_of(fd));
  };
  put(by_name, first);
  put(by_index, second);
  run(nested, "add_to_inner");
  for (auto const& inner : {first, second}) {
    std::uint64_t value = 0;
    BOOST_TEST(inner.lookup(bytes_of(zero), test::writable_bytes_of(value)));
    BOOST_TEST(value == 1U);
  }
  auto const other = map::create(map_type::array, "other", 4, 4, 1);
  int const fd = other.fd();
  by_name.update(bytes_of(zero), bytes_of(fd), tinybpf::update_flag::any, ec);
  BOOST_TEST(ec == kernel_error(EINVAL));
}

BOOST_AUTO_TEST_CASE(of_inner_maps_outlive_what_was_given) {
  auto nested = object::open(NESTED_BPF_O);
  for (auto const* const name : {"by_name", "by_index"}) {
    auto const inner = map::create(map_type::array, "gone", 4, 8, 1);
    nested.map(name).set_inner_map(inner, ec);
    BOOST_TEST(!ec);
  }
  nested.load();
  // One that is never loaded, and one whose load fails.
  auto unloaded = object::open(NESTED_BPF_O);
  unloaded.map("by_name").set_inner_map(map::create(map_type::array, "gone", 4, 8, 1));
  auto failed = object::open(NESTED_BPF_O);
  failed.map("by_name").set_inner_map(map::create(map_type::array, "gone", 4, 8, 1));
  failed.load(ec, details);
  BOOST_TEST(ec);
  BOOST_TEST(details.map == "by_index");
}

BOOST_AUTO_TEST_CASE(of_inner_maps_need_a_map_and_a_map_of_maps) {
  auto nested = object::open(NESTED_BPF_O);
  auto const by_name = nested.map("by_name");
  auto const inner = map::create(map_type::array, "inner", 4, 8, 1);
  auto said = test::refusal(kernel_error(EINVAL), [&](auto&... out) { totals.set_inner_map(inner, out...); });
  BOOST_TEST(contains(said.message, "'totals'"));
  BOOST_TEST(contains(said.log, "unsupported map type"), said.log);
  test::refusal(errc::closed, [&](auto&... out) { by_name.set_inner_map({}, out...); });
  test::refusal(errc::not_loaded, [&](auto&... out) { by_name.set_inner_map(totals, out...); });
  by_name.set_inner_map(inner);
  test::refusal(kernel_error(EINVAL), [&](auto&... out) { by_name.set_inner_map(inner, out...); });
}

BOOST_AUTO_TEST_CASE(set_a_section_as_a_whole) {
  auto const data = obj.map("settings.data");
  std::vector<std::byte> value(data.value_size());
  std::uint64_t const runs = 77;
  std::memcpy(value.data(), &runs, sizeof runs);
  test::accepted([&](auto&... out) { data.set_initial_value(value, out...); });
  std::vector<std::byte> const longer(value.size() + 1);
  auto said = test::refusal(errc::size_mismatch, [&](auto&... out) { data.set_initial_value(longer, out...); });
  BOOST_TEST(said.expected_size == value.size());
  BOOST_TEST(said.actual_size == longer.size());
  test::refusal(errc::size_mismatch, [&](auto&... out) { data.set_initial_value({}, out...); });
  said = test::refusal(errc::not_supported, [&](auto&... out) { totals.set_initial_value(value, out...); });
  BOOST_TEST(contains(said.message, "'totals'"));
  obj.load();
  std::uint32_t const zero = 0;
  BOOST_TEST((data.lookup(bytes_of(zero)).value() == value));
  run(obj, "work");
  std::uint64_t seen = 0;
  std::memcpy(&seen, data.lookup(bytes_of(zero)).value().data(), sizeof seen);
  BOOST_TEST(seen == 78U);
}

BOOST_AUTO_TEST_CASE(let_two_objects_share_a_map) {
  auto const first = tinybpf::load(SETTINGS_BPF_O);
  test::accepted([&](auto&... out) { totals.reuse(first.map("totals"), out...); });
  test::accepted([&](auto&... out) { sessions.reuse_fd(first.map("sessions").fd(), out...); });
  BOOST_TEST(totals.name() == "totals");
  BOOST_TEST(totals.fd() == -1);  // as of any map before load
  test::refusal(errc::not_loaded, [&](auto&... out) { return totals.info(out...); });
  obj.load();
  BOOST_TEST(totals.info().id == first.map("totals").info().id);
  BOOST_TEST(sessions.info().id == first.map("sessions").info().id);
  BOOST_TEST(totals.fd() != first.map("totals").fd());
  run(first, "work");
  run(obj, "work");
  BOOST_TEST(first.map("totals").lookup<std::uint64_t>(0).value() == 2U);
  totals.update(1, 7);
  BOOST_TEST(first.map("totals").lookup<std::uint64_t>(1).value() == 7U);
  BOOST_TEST(first.map("sessions").count() == 1U);
  BOOST_TEST(fcntl(totals.fd(), F_GETFD) == FD_CLOEXEC);
}

BOOST_AUTO_TEST_CASE(take_the_size_of_what_is_reused) {
  auto const large = map::create(map_type::array, "large", 4, 8, 1000);
  totals.reuse(large);
  BOOST_TEST(totals.max_entries() == 1000U);
  // There is nothing left to be set, but that it is another one.
  auto const busy = kernel_error(EBUSY);
  auto const said = test::refusal(busy, [&](auto&... out) { totals.set_max_entries(5, out...); });
  BOOST_TEST(contains(said.message, "'totals'"), said.message);
  test::refusal(busy, [&](auto&... out) { totals.set_type(map_type::hash, out...); });
  test::refusal(busy, [&](auto&... out) { totals.set_map_flags(0, out...); });
  test::refusal(busy, [&](auto&... out) { totals.set_numa_node(0, out...); });
  BOOST_TEST(totals.max_entries() == 1000U);
  test::accepted([&](auto&... out) { totals.reuse(large, out...); });
  obj.load();
  BOOST_TEST(totals.name() == "totals");
  BOOST_TEST(totals.info().max_entries == 1000U);
  totals.update(999, 5);
  BOOST_TEST(large.lookup(bytes_of(std::uint32_t{999})).has_value());
}

BOOST_AUTO_TEST_CASE(that_reuse_what_does_not_suit_fail_at_load) {
  auto const narrow = map::create(map_type::array, "narrow", 4, 4, 4);
  totals.reuse(narrow);
  BOOST_TEST(totals.value_size() == 4U);
  obj.load(ec, details);
  BOOST_TEST(ec == kernel_error(EACCES));
  BOOST_TEST(details.program == "work");
  BOOST_TEST(contains(details.log, "invalid access to map value"), details.log);
  // What the failed load has closed is nobody's any more.
  BOOST_TEST(totals.fd() == -1);
  test::refusal(errc::not_loaded, [&](auto&... out) { return totals.info(out...); });

  auto second = object::open(SETTINGS_BPF_O);
  second.map("events").reuse(narrow);
  second.load(ec, details);
  BOOST_TEST(ec == kernel_error(EINVAL));
  BOOST_TEST(details.program == "work");
  BOOST_TEST(contains(details.log, "cannot pass map_type"), details.log);
}

BOOST_AUTO_TEST_CASE(reuse_maps_alone) {
  test::refusal(kernel_error(EBADF), [&](auto&... out) { totals.reuse_fd(-1, out...); });
  test::refusal(kernel_error(EBADF), [&](auto&... out) { totals.reuse_fd(1 << 20, out...); });
  test::scratch_file const file;
  auto const said = test::refusal(errc::wrong_map_type, [&](auto&... out) { totals.reuse_fd(file.fd(), out...); });
  BOOST_TEST(contains(said.message, "'totals'"));
  auto const first = tinybpf::load(SETTINGS_BPF_O);
  test::refusal(errc::wrong_map_type, [&](auto&... out) { totals.reuse_fd(first.program("work").fd(), out...); });
  test::refusal(errc::closed, [&](auto&... out) { totals.reuse({}, out...); });
  test::refusal(errc::not_loaded, [&](auto&... out) { totals.reuse(sessions, out...); });
  obj.load();
  BOOST_TEST(totals.info().id != first.map("totals").info().id);
}

BOOST_AUTO_TEST_CASE(that_reuse_and_are_not_loaded_leave_nothing) {
  auto const other = map::create(map_type::array, "other", 4, 8, 4);
  totals.reuse(other);
  totals.reuse(other);
  obj.close();
  BOOST_TEST(other.info().id > 0U);
  test::refusal(errc::closed, [&](auto&... out) { return totals.info(out...); });
}

BOOST_AUTO_TEST_SUITE_END()
