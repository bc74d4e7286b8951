// Global variables: before load what programs will see first, and after it the very memory that they see.
#include "busy_workers.hpp"
#include "forms.hpp"
#include "scratch_folder.hpp"
#include "support.hpp"

#include <tinybpf/async.hpp>
#include <tinybpf/btf.hpp>
#include <tinybpf/global_variable.hpp>
#include <tinybpf/object.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/describe/class.hpp>
#include <boost/test/unit_test.hpp>

#include <bpf/bpf.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>

using test::contains;
using test::kernel_error;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::field_names;
using tinybpf::global_variable;
using tinybpf::object;

namespace global_variable_test {

// As in globals.bpf.c.
enum class mode : std::uint32_t { off, on, automatic };

struct config {
  std::uint16_t port = 0;
  std::uint16_t family = 0;
  std::uint32_t limit = 0;
  char name[16] = {};
};
BOOST_DESCRIBE_STRUCT(config, (), (port, family, limit, name))

struct alignas(8) pair {
  std::uint32_t low;
  std::uint32_t high;
};

struct renamed {
  std::uint16_t gate;
  std::uint16_t family;
  std::uint32_t limit;
  char name[16];
};
BOOST_DESCRIBE_STRUCT(renamed, (), (gate, family, limit, name))

struct view {
  config cfg;
  config preset;
  std::uint64_t count;
  std::uint64_t hits;
  std::uint64_t mine;
  std::int32_t balance;
  std::uint32_t hidden;
  std::uint32_t hidden_hits;
  std::uint32_t step;
  std::uint32_t hidden_step;
  std::uint32_t secret;
  std::uint32_t cleared;
  std::uint32_t my_step;
  std::uint32_t other_step;
  std::int32_t version;
  std::int32_t hz;
  std::uint32_t mode;
  std::uint32_t table[4];
  std::uint16_t narrow;
  std::uint8_t level;
  std::uint8_t enabled;
  std::uint8_t bpf_syscall;
  std::uint8_t bpf;
  std::uint8_t padding[2];
};

template <class Arguments>
Arguments run_with(object const& obj, char const* program, Arguments arguments) {
  bpf_test_run_opts opts{};
  opts.sz = sizeof opts;
  opts.ctx_in = &arguments;
  opts.ctx_size_in = sizeof arguments;
  if (bpf_prog_test_run_opts(obj.program(program).fd(), &opts) != 0) throw std::runtime_error{program};
  return arguments;
}

view look(object const& obj) { return run_with(obj, "look", view{}); }
void change(object const& obj) { run_with(obj, "change", std::uint64_t{}); }

struct opened {
  object obj = object::open(GLOBALS_BPF_O);
  error_code ec;
  diagnostics details;
};

/// All sections' variables, of which programs say what they see of them.
struct expected {
  char const* name;
  std::uint32_t at_first;
  std::uint32_t view::*seen;
};
constexpr expected numbers[] = {
    {"hidden", 11, &view::hidden},          {"hidden_hits", 0, &view::hidden_hits}, {"step", 1, &view::step},
    {"hidden_step", 2, &view::hidden_step}, {"secret", 3, &view::secret},           {"cleared", 0, &view::cleared},
    {"my_step", 6, &view::my_step},         {"other_step", 7, &view::other_step},
};
constexpr std::string_view constants[] = {"step", "hidden_step", "my_step", "other_step"};

}  // namespace global_variable_test

using namespace global_variable_test;

BOOST_FIXTURE_TEST_SUITE(global_variables, opened)

BOOST_AUTO_TEST_CASE(are_before_load_what_the_file_says) {
  BOOST_TEST(obj.global<std::uint64_t>("count").load() == 5U);
  BOOST_TEST(obj.global<std::int32_t>("balance").load() == -7);
  BOOST_TEST(obj.global<std::uint16_t>("narrow").load() == 60000U);
  BOOST_TEST(obj.global<std::uint8_t>("level").load() == 200U);
  BOOST_TEST(obj.global<bool>("enabled").load());
  BOOST_TEST((obj.global<mode>("mode").load() == mode::on));
  BOOST_TEST((obj.global<std::array<std::uint32_t, 4>>("table").load() == std::array<std::uint32_t, 4>{1, 2, 3, 4}));
  BOOST_TEST(obj.global<pair>("pair").load().high == 2U);
  BOOST_TEST(obj.global<std::uint64_t>("hits").load() == 0U);
  BOOST_TEST(obj.global<std::uint64_t>("mine").load() == 40U);
  config const first = obj.global<config>("cfg");
  BOOST_TEST(first.port == 80U);
  BOOST_TEST(first.limit == 100U);
  BOOST_TEST(std::string{first.name} == "first");
  BOOST_TEST(std::string{obj.global<config>("preset").load().name} == "fixed");
  for (auto const& n : numbers)
    BOOST_TEST_CONTEXT(n.name) BOOST_TEST(obj.global<std::uint32_t>(n.name).load() == n.at_first);
}

BOOST_AUTO_TEST_CASE(can_be_set_before_load_and_programs_see_it) {
  obj.global<config>("cfg") = {.port = 443, .family = 10, .limit = 7, .name = "set"};
  obj.global<config>("preset") = {.port = 8443, .family = 10, .limit = 8, .name = "set"};
  obj.global<std::uint64_t>("count") = 1U << 20U;
  obj.global<std::uint64_t>("hits") = 0x1'0000'0001U;
  obj.global<std::uint64_t>("mine") = 41;
  obj.global<std::int32_t>("balance") = -1;
  obj.global<std::uint16_t>("narrow") = std::uint16_t{9};
  obj.global<std::uint8_t>("level") = std::uint8_t{8};
  obj.global<bool>("enabled") = false;
  obj.global<mode>("mode") = mode::automatic;
  obj.global<std::array<std::uint32_t, 4>>("table") = {5, 6, 7, 8};
  std::uint32_t value = 1000;
  for (auto const& n : numbers) obj.global<std::uint32_t>(n.name) = ++value;
  BOOST_TEST(obj.global<std::uint64_t>("hits").load() == 0x1'0000'0001U);

  obj.load();
  auto const v = look(obj);
  BOOST_TEST(v.cfg.port == 443U);
  BOOST_TEST(v.cfg.limit == 7U);
  BOOST_TEST(std::string{v.cfg.name} == "set");
  BOOST_TEST(v.preset.port == 8443U);
  BOOST_TEST(v.count == 1U << 20U);
  BOOST_TEST(v.hits == 0x1'0000'0001U);
  BOOST_TEST(v.mine == 41U);
  BOOST_TEST(v.balance == -1);
  BOOST_TEST(v.narrow == 9U);
  BOOST_TEST(v.level == 8U);
  BOOST_TEST(v.enabled == 0U);
  BOOST_TEST(v.mode == 2U);
  BOOST_TEST(v.table[3] == 8U);
  value = 1000;
  for (auto const& n : numbers) BOOST_TEST_CONTEXT(n.name) BOOST_TEST((v.*n.seen) == ++value);
}

BOOST_AUTO_TEST_CASE(are_after_load_the_memory_of_the_programs) {
  auto const hits = obj.global<std::uint64_t>("hits");  // found before load
  BOOST_TEST(hits.load() == 0U);
  obj.load();
  BOOST_TEST(hits.load() == 0U);
  change(obj);
  change(obj);
  BOOST_TEST(hits.load() == 2U);
  BOOST_TEST(obj.global<std::uint64_t>("count").load() == 9U);
  BOOST_TEST(obj.global<std::int32_t>("balance").load() == -13);
  BOOST_TEST(obj.global<std::uint32_t>("hidden").load() == 19U);
  BOOST_TEST(obj.global<std::uint32_t>("hidden_hits").load() == 10U);
  BOOST_TEST(obj.global<std::uint64_t>("mine").load() == 52U);
  BOOST_TEST(obj.global<std::uint32_t>("secret").load() == 17U);
  BOOST_TEST(obj.global<std::uint32_t>("cleared").load() == 16U);
  BOOST_TEST(obj.global<config>("cfg").load().limit == 118U);
  BOOST_TEST(obj.global<config>("empty").load().port == 20U);
  BOOST_TEST((obj.global<std::array<std::uint32_t, 4>>("table").load()[2] == 25U));
  BOOST_TEST(obj.global<pair>("pair").load().low == 25U);
  BOOST_TEST(obj.global<std::uint16_t>("narrow").load() == 60026U);
  BOOST_TEST(obj.global<std::uint8_t>("level").load() == 228U);
  BOOST_TEST(obj.global<bool>("enabled").load());
  BOOST_TEST((obj.global<mode>("mode").load() == mode::automatic));
  BOOST_TEST(obj.global<std::uint32_t>("other_step").load() == 7U);
}

BOOST_AUTO_TEST_CASE(can_be_set_after_load_and_programs_see_it) {
  obj.load();
  obj.global<config>("cfg") = {.port = 443};
  obj.global<std::uint64_t>("count") = 77;
  obj.global<bool>("enabled") = false;
  obj.global<mode>("mode") = mode::off;
  obj.global<std::array<std::uint32_t, 4>>("table") = {0, 9, 0, 0};
  obj.global<std::uint64_t>("mine") = 78;
  for (auto const* const name : {"hidden", "hidden_hits", "cleared"}) obj.global<std::uint32_t>(name) = 79;
  auto const v = look(obj);
  BOOST_TEST(v.cfg.port == 443U);
  BOOST_TEST(v.cfg.limit == 0U);
  BOOST_TEST(v.count == 77U);
  BOOST_TEST(v.balance == -7);  // its neighbour
  BOOST_TEST(v.enabled == 0U);
  BOOST_TEST(v.mode == 0U);
  BOOST_TEST(v.table[1] == 9U);
  BOOST_TEST(v.mine == 78U);
  BOOST_TEST(v.hidden == 79U);
  BOOST_TEST(v.hidden_hits == 79U);
  BOOST_TEST(v.cleared == 79U);
}

// libbpf shares a section only if one of its variables is not static.
BOOST_AUTO_TEST_CASE(of_a_section_that_is_not_shared_can_be_read) {
  auto const secret = obj.global<std::uint32_t>("secret");
  secret = 30;
  obj.load();
  change(obj);
  BOOST_TEST(secret.load() == 37U);
  if ((obj.map(".data.secret").info().flags & BPF_F_MMAPABLE) != 0) return;
  auto const said = test::refusal(errc::not_supported, [&](auto&... out) { secret.store(1, out...); });
  BOOST_TEST(contains(said.message, "'.data.secret'"), said.message);
  BOOST_TEST(contains(said.hint, "before load()"), said.hint);
  BOOST_CHECK_THROW((void)secret.atomic(), tinybpf::error);
  BOOST_TEST(secret.load(ec, details) == 37U);
  BOOST_TEST(details.empty());
}

BOOST_AUTO_TEST_CASE(constants_cannot_be_set_after_load) {
  obj.load();
  for (auto const name : constants) {
    auto const constant = obj.global<std::uint32_t>(name);
    auto const before = constant.load();
    auto const said = test::refusal(kernel_error(EPERM), [&](auto&... out) { constant.store(99, out...); });
    BOOST_TEST(contains(said.message, "'" + std::string{name} + "' of .rodata"), said.message);
    BOOST_TEST(contains(said.hint, "before load()"));
    BOOST_TEST(contains(said.map, ".rodata"));
    BOOST_CHECK_THROW(constant = 99, tinybpf::error);
    BOOST_CHECK_THROW((void)constant.atomic(), tinybpf::error);
    BOOST_TEST(constant.load() == before);
  }
}

BOOST_AUTO_TEST_CASE(what_the_kernel_was_configured_with_can_be_read_after_load_only) {
  auto const hz = obj.global<std::int32_t>("CONFIG_HZ");
  auto const said = test::refusal(errc::not_loaded, [&](auto&... out) { return hz.load(out...); });
  BOOST_TEST(contains(said.message, "'CONFIG_HZ'"));
  auto const cannot_be_set = [&] {
    auto const refused = test::refusal(kernel_error(EPERM), [&](auto&... out) { hz.store(1, out...); });
    BOOST_TEST(contains(refused.message, "'CONFIG_HZ' of .kconfig"), refused.message);
    BOOST_TEST(refused.hint == "");
  };
  cannot_be_set();
  obj.load();
  cannot_be_set();
  auto const v = look(obj);
  BOOST_TEST(v.hz > 0);
  BOOST_TEST(hz.load() == v.hz);
  BOOST_TEST(obj.global<std::int32_t>("LINUX_KERNEL_VERSION").load() == v.version);
  BOOST_TEST(v.version > 5 << 16);
  BOOST_TEST(obj.global<bool>("CONFIG_BPF_SYSCALL").load());
  BOOST_TEST((obj.global<mode>("CONFIG_BPF", field_names::ignore).load() == mode{v.bpf}));
}

BOOST_AUTO_TEST_CASE(have_the_size_and_the_type_that_the_object_says) {
  for (int i = 0; i < 2; ++i) {
    (void)obj.global<std::uint32_t>("count", ec);
    BOOST_TEST(ec == errc::size_mismatch);
    (void)obj.global<std::uint32_t>("count", field_names::check, ec, details);
    BOOST_TEST(ec == errc::size_mismatch);
    BOOST_TEST(contains(details.message, "'count' has 8 bytes, not 4"), details.message);
    BOOST_TEST(details.expected_size == 8U);
    BOOST_TEST(details.actual_size == 4U);
    BOOST_TEST(details.map == "globals.data");
    BOOST_TEST(details.names.empty());
    BOOST_CHECK_THROW((void)obj.global<std::uint32_t>("count"), tinybpf::error);

    auto const closed = obj.global<std::int64_t>("count", field_names::check, ec, details);
    BOOST_TEST(ec == errc::type_mismatch);
    BOOST_TEST(contains(details.message, "global variable 'count'"), details.message);
    BOOST_TEST(details.map == "globals.data");
    BOOST_TEST(!details.differences.empty());
    closed.load(ec);
    BOOST_TEST(ec == errc::closed);

    (void)obj.global<renamed>("cfg", ec);
    BOOST_TEST(ec == errc::type_mismatch);
    BOOST_TEST(obj.global<renamed>("cfg", field_names::ignore, ec, details).load().gate == 80U);
    BOOST_TEST(!ec);
    BOOST_TEST(details.empty());
    (void)obj.global<float>("step", ec);
    BOOST_TEST(ec == errc::type_mismatch);
    (void)obj.global<std::array<std::uint32_t, 3>>("table", ec);
    BOOST_TEST(ec == errc::size_mismatch);
    (void)obj.global<std::array<std::uint16_t, 8>>("table", ec);
    BOOST_TEST(ec == errc::type_mismatch);
    if (i == 0) obj.load();
  }
}

BOOST_AUTO_TEST_CASE(are_found_by_their_whole_name) {
  (void)obj.global<std::uint64_t>("countt", field_names::check, ec, details);
  BOOST_TEST(ec == errc::not_found);
  BOOST_TEST(contains(details.message, "globals.bpf.o has no global variable 'countt'"), details.message);
  BOOST_TEST(contains(details.hint, "did you mean 'count'"), details.hint);
  for (auto const* const name : {"cfg", "hits", "step", "CONFIG_HZ", "mine", "other_step", "hidden"})
    BOOST_TEST(contains(details.hint, name), details.hint);
  for (auto const* const name : {"", "coun", "counts", "LICENSE", "look", ".data"}) {
    (void)obj.global<std::uint64_t>(name, ec);
    BOOST_TEST(ec == errc::not_found);
  }
  BOOST_CHECK_THROW((void)obj.global<std::uint64_t>("none"), tinybpf::error);
  BOOST_TEST(obj.global<std::uint64_t>(std::string_view{"countess"}.substr(0, 5)).load() == 5U);

  auto const without = object::open(NO_BTF_BPF_O);
  (void)without.global<std::uint64_t>("count", field_names::check, ec, details);
  BOOST_TEST(ec == errc::no_btf);
}

BOOST_AUTO_TEST_CASE(add_atomically_with_the_program) {
  obj.load();
  auto const hits = obj.global<std::uint64_t>("hits");
  constexpr int times = 20'000;
  auto const add = [atomic = hits.atomic()] {
    for (int i = 0; i < times; ++i) atomic.fetch_add(1);
  };
  {
    std::jthread const first{add};
    std::jthread const second{add};
    run_with(obj, "add", std::array<std::uint32_t, 2>{times, 0});
  }
  BOOST_TEST(hits.load() == 3U * times);
  BOOST_TEST(look(obj).hits == 3U * times);
}

// A struct of two numbers need not lie where a number of its size would.
BOOST_AUTO_TEST_CASE(are_atomic_where_they_are_aligned) {
  static_assert(std::atomic_ref<pair>::required_alignment == 8);
  auto const section = obj.btf().find(".data", tinybpf::btf_kind::datasec).value();
  int misaligned = 0;
  for (auto const* const name : {"pair", "other_pair"}) {
    auto const found = obj.global<pair>(name);
    if (section.member(name)->bit_offset % 64 == 0) {
      BOOST_TEST(found.atomic().load().low == found.load().low);
      continue;
    }
    ++misaligned;
    BOOST_CHECK_EXCEPTION((void)found.atomic(), tinybpf::error,
                          [](tinybpf::error const& e) { return e.code() == errc::not_supported; });
    found = {5, 6};
    BOOST_TEST(found.load().high == 6U);
  }
  BOOST_TEST(misaligned == 1);
}

BOOST_AUTO_TEST_CASE(are_atomic_before_load_too) {
  obj.global<std::uint64_t>("hits").atomic().fetch_add(3);
  BOOST_CHECK_EXCEPTION((void)obj.global<std::int32_t>("CONFIG_HZ").atomic(), tinybpf::error,
                        [](tinybpf::error const& e) { return e.code() == kernel_error(EPERM); });
  obj.load();
  BOOST_TEST(look(obj).hits == 3U);
}

BOOST_AUTO_TEST_CASE(handles_outlive_the_object) {
  std::optional<global_variable<std::uint64_t>> hits;
  std::optional<std::atomic_ref<std::uint64_t>> atomic;
  {
    auto const gone = std::move(obj);
    hits = gone.global<std::uint64_t>("hits");
    BOOST_TEST(hits->load() == 0U);
  }
  *hits = 4;
  BOOST_TEST(hits->load() == 4U);
  {
    auto loaded = tinybpf::load(GLOBALS_BPF_O);
    hits = loaded.global<std::uint64_t>("hits");
    change(loaded);
  }
  BOOST_TEST(hits->load() == 1U);
  atomic.emplace(hits->atomic());
  atomic->fetch_add(1);
  BOOST_TEST(hits->load() == 2U);
}

BOOST_AUTO_TEST_CASE(are_closed_with_the_object) {
  auto const closed = [](global_variable<std::uint64_t> const& v) {
    test::refusal(errc::closed, [&](auto&... out) { return v.load(out...); });
    test::refusal(errc::closed, [&](auto&... out) { v.store(1, out...); });
    BOOST_CHECK_THROW((void)v.atomic(), tinybpf::error);
    BOOST_CHECK_THROW(v = 1, tinybpf::error);
    BOOST_CHECK_THROW((void)static_cast<std::uint64_t>(v), tinybpf::error);
  };
  closed({});
  auto hits = obj.global<std::uint64_t>("hits");
  auto const moved = std::move(hits);
  closed(hits);  // NOLINT(bugprone-use-after-move): what it says then
  BOOST_TEST(moved.load() == 0U);
  obj.load();
  auto const read = obj.global<std::uint64_t>("count");
  BOOST_TEST(read.load() == 5U);
  obj.close();
  closed(moved);
  closed(read);
  object const none;
  for (auto const* const o : {&std::as_const(obj), &none}) {
    (void)o->global<std::uint64_t>("hits", ec);
    BOOST_TEST(ec == errc::closed);
    (void)o->global<std::uint64_t>("hits", field_names::check, ec, details);
    BOOST_TEST(ec == errc::closed);
    BOOST_CHECK_THROW((void)o->global<std::uint64_t>("hits"), tinybpf::error);
  }
}

BOOST_AUTO_TEST_CASE(are_handles_and_values) {
  auto a = obj.global<std::uint64_t>("count");
  auto const b = obj.global<std::uint64_t>("mine");
  a = b;  // means the other variable
  a = 6;
  BOOST_TEST(b.load() == 6U);
  BOOST_TEST(obj.global<std::uint64_t>("count").load() == 5U);
  // What has no name can only mean the value.
  obj.global<std::uint64_t>("count") = obj.global<std::uint64_t>("mine");
  BOOST_TEST(obj.global<std::uint64_t>("count").load() == 6U);
  static_assert(std::is_same_v<decltype(b)::value_type, std::uint64_t>);
  static_assert(std::is_convertible_v<decltype(b), std::uint64_t>);
  static_assert(!std::is_constructible_v<global_variable<std::uint64_t>, std::uint64_t>);
}

BOOST_AUTO_TEST_CASE(wait_for_a_load_that_runs_elsewhere) {
  boost::asio::io_context io;
  test::busy_workers busy{io};
  auto const hits = obj.global<std::uint64_t>("hits");
  hits.store(5);
  std::optional<error_code> loaded;
  tinybpf::async_load(io.get_executor(), obj, [&](error_code e) { loaded = e; });
  test::refusal(errc::operation_in_progress, [&](auto&... out) { return hits.load(out...); });
  test::refusal(errc::operation_in_progress, [&](auto&... out) { hits.store(6, out...); });
  BOOST_CHECK_THROW((void)hits.atomic(), tinybpf::error);
  auto const count = obj.global<std::uint64_t>("count");  // can be looked up
  busy.release();
  io.run();
  BOOST_TEST(loaded.value() == error_code{});
  BOOST_TEST(hits.load() == 5U);
  BOOST_TEST(count.load() == 5U);
}

BOOST_AUTO_TEST_CASE(have_no_value_after_a_failed_load) {
  auto const hits = obj.global<std::uint64_t>("hits");
  obj.map("globals.bss").set_numa_node(999);
  obj.load(ec, details);
  BOOST_TEST(ec == kernel_error(EINVAL));
  auto const said = test::refusal(errc::not_loaded, [&](auto&... out) { return hits.load(out...); });
  BOOST_TEST(contains(said.hint, "anew"));
  test::refusal(errc::not_loaded, [&](auto&... out) { hits.store(1, out...); });
}

// The kernel and libbpf cut names of section maps, and libbpf those of objects.
BOOST_AUTO_TEST_CASE(are_found_in_objects_of_any_name) {
  test::quiet_folder const folder;
  auto const image = test::contents_of(GLOBALS_BPF_O);
  auto const check = [&](object named) {
    named.global<std::uint32_t>("step") = 3;
    BOOST_TEST(named.global<std::uint64_t>("count").load() == 5U);
    BOOST_TEST(named.global<std::uint64_t>("mine").load() == 40U);
    named.load();
    change(named);
    BOOST_TEST(named.global<std::uint64_t>("hits").load() == 3U);
    BOOST_TEST(named.global<std::uint32_t>("my_step").load() == 6U);
    BOOST_TEST(named.global<std::int32_t>("CONFIG_HZ").load() > 0);
    named.global<std::uint32_t>("step", ec).store(1, ec);
    BOOST_TEST(ec == kernel_error(EPERM));
  };
  check(object::open(folder.file("globals_with_a_name_of_its_own.bpf.o", image)));
  check(object::open(folder.file("g-l:o.b.a.l", image)));
  check(object::open(image, "globals.bpf.o"));
  check(object::open(image, "a.rodata.kconfig"));
}

BOOST_AUTO_TEST_CASE(of_a_frozen_section_can_be_read) {
  obj.load();
  auto const count = obj.global<std::uint64_t>("count");
  obj.map("globals.data").freeze();
  BOOST_TEST(count.load() == 5U);
  test::refusal(kernel_error(EPERM), [&](auto&... out) { count.store(1, out...); });
  change(obj);
  BOOST_TEST(count.load() == 7U);

  (void)obj.global<std::uint64_t>("hits").load();  // maps it for writing
  test::refusal(kernel_error(EBUSY), [&](auto&... out) { obj.map("globals.bss").freeze(out...); });
}

// What would be set is not what the program would see: libbpf leaves a map that is reused as it is.
BOOST_AUTO_TEST_CASE(of_a_section_that_reuses_a_map_cannot_be_set_before_load) {
  auto const count = obj.global<std::uint64_t>("count");
  auto const section = obj.map("globals.data");
  auto const other = tinybpf::map::create(tinybpf::map_type::array, "other", 4, section.value_size(), 1,
                                          {.map_flags = BPF_F_MMAPABLE});
  section.reuse(other);
  test::refusal(kernel_error(EBUSY), [&](auto&... out) { count.store(1, out...); });
  test::refusal(kernel_error(EBUSY), [&](auto&... out) { (void)count.load(out...); });
  obj.load();
  BOOST_TEST(count.load() == 0U);
  count.store(3);
  BOOST_TEST(count.load() == 3U);
}

BOOST_AUTO_TEST_CASE(that_cannot_be_atomic_say_so) {
  auto const hits = obj.global<std::uint64_t>("hits");
  hits.atomic(ec, details).value().fetch_add(2);
  BOOST_TEST(!ec);
  BOOST_TEST(hits.load() == 2U);
  obj.close();
  BOOST_TEST(!hits.atomic(ec, details).has_value());
  BOOST_TEST(ec == make_error_code(errc::closed));
  BOOST_TEST(!hits.atomic(ec).has_value());
  BOOST_TEST(ec == make_error_code(errc::closed));
}

BOOST_AUTO_TEST_CASE(of_a_section_that_is_replaced_by_a_smaller_map_are_refused) {
  auto const name = obj.map("globals.data");
  auto const table = obj.global<config>("cfg");
  auto const small = tinybpf::map::create(tinybpf::map_type::array, "small", 4, 8, 1, {.map_flags = BPF_F_MMAPABLE});
  name.reuse(small);
  obj.load(ec, details);
  BOOST_TEST(ec);  // the verifier sees it
  BOOST_TEST(!details.program.empty());
}

BOOST_AUTO_TEST_SUITE_END()
