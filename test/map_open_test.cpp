// Maps that belong to no object: created, pinned and found again, handed over.
#include "features.hpp"
#include "forms.hpp"
#include "loop.hpp"
#include "privileges.hpp"
#include "scratch_folder.hpp"
#include "support.hpp"

#include <tinybpf/dynamic_map.hpp>
#include <tinybpf/object.hpp>
#include <tinybpf/percpu_map.hpp>
#include <tinybpf/perf_buffer.hpp>
#include <tinybpf/ring_buffer.hpp>
#include <tinybpf/typed_map.hpp>

#include <boost/describe/class.hpp>
#include <boost/test/unit_test.hpp>

#include <bpf/bpf.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <utility>

namespace fs = std::filesystem;
using test::bytes_of;
using test::contains;
using test::kernel_error;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::map;
using tinybpf::map_type;
using tinybpf::object;

namespace map_open_test {

// As in settings.bpf.c.
struct session_key {
  std::uint32_t address;
  std::uint16_t port;
  std::uint16_t protocol;
};
BOOST_DESCRIBE_STRUCT(session_key, (), (address, port, protocol))

struct session {
  std::uint64_t packets;
  std::uint32_t first;
  std::uint32_t last;
};
BOOST_DESCRIBE_STRUCT(session, (), (packets, first, last))

struct wrong_session {
  std::uint32_t first;
  std::uint32_t last;
  std::uint64_t packets;
};
BOOST_DESCRIBE_STRUCT(wrong_session, (), (first, last, packets))

struct event {
  std::uint64_t serial;
};

void run(object const& obj, char const* program = "work") {
  bpf_test_run_opts opts{};
  opts.sz = sizeof opts;
  BOOST_TEST_REQUIRE(bpf_prog_test_run_opts(obj.program(program).fd(), &opts) == 0);
}

/// A folder in the BPF file system, gone with the case. Nothing may be printed meanwhile.
struct pins : test::quiet_folder {
  pins() : quiet_folder{test::bpffs} {}

  fs::path const folder = path();
  error_code ec;
  diagnostics details;
};

struct loaded : pins {
  object obj = tinybpf::load(SETTINGS_BPF_O);
  map totals = obj.map("totals");
  map sessions = obj.map("sessions");
};

bool closes_on_exec(map const& m) { return fcntl(m.fd(), F_GETFD) == FD_CLOEXEC; }

std::uint64_t total(map const& m) {
  std::uint64_t value = 0;
  m.lookup(bytes_of(std::uint32_t{0}), test::writable_bytes_of(value));
  return value;
}

}  // namespace map_open_test

using namespace map_open_test;

BOOST_FIXTURE_TEST_SUITE(created_maps, pins)

BOOST_AUTO_TEST_CASE(are_on_their_own) {
  auto const m = map::create(map_type::hash, "flows", 4, 8, 16, {.map_flags = BPF_F_NO_PREALLOC});
  BOOST_TEST(m.is_open());
  BOOST_TEST(m.name() == "flows");
  BOOST_TEST((m.type() == map_type::hash));
  BOOST_TEST(m.key_size() == 4U);
  BOOST_TEST(m.value_size() == 8U);
  BOOST_TEST(m.lookup_size() == 8U);
  BOOST_TEST(m.max_entries() == 16U);
  BOOST_TEST(closes_on_exec(m));
  auto const info = m.info();
  BOOST_TEST(info.name == "flows");
  BOOST_TEST(info.flags == BPF_F_NO_PREALLOC);
  BOOST_TEST(info.btf_id == 0U);
  BOOST_TEST(!m.btf_key());
  BOOST_TEST(!m.btf_value());
  auto const typed = m.typed<std::uint32_t, std::uint64_t>();
  typed[3] = 4;
  BOOST_TEST(typed.at(3) == 4U);
  BOOST_TEST(m.count() == 1U);
  m.lookup(3, ec);
  BOOST_TEST(ec == errc::no_btf);
  BOOST_TEST(m.dynamic().entries().size() == 1U);
  BOOST_TEST(m.clear() == 1U);
  auto copy = m;
  auto const moved = std::move(copy);
  BOOST_TEST(!copy.is_open());  // NOLINT(bugprone-use-after-move): what it says then
  BOOST_TEST(moved.fd() == m.fd());
  test::accepted([](auto&... out) { return map::create(map_type::array, "", 4, 4, 1, {}, out...); });
}

BOOST_AUTO_TEST_CASE(have_the_options) {
  auto const numa = map::create(map_type::hash, "numa", 4, 4, 1, {.numa_node = 0});
  BOOST_TEST(numa.info().flags == BPF_F_NUMA_NODE);
  test::refusal(kernel_error(EINVAL), [](auto&... out) {
    return map::create(map_type::hash, "nowhere", 4, 4, 1, {.numa_node = 999}, out...);
  });
  auto const bloom = map::create(map_type::bloom_filter, "bloom", 0, 4, 16, {.map_extra = 3});
  BOOST_TEST(bloom.is_open());
  test::refusal(kernel_error(EINVAL), [](auto&... out) {
    return map::create(map_type::bloom_filter, "bloom", 0, 4, 16, {.map_extra = 99}, out...);
  });
  auto const outer = map::create(map_type::array_of_maps, "outer", 4, 4, 2, {.inner_map = &numa});
  int const fd = numa.fd();
  outer.update(bytes_of(std::uint32_t{1}), bytes_of(fd));
  std::uint32_t id = 0;
  BOOST_TEST(outer.lookup(bytes_of(std::uint32_t{1}), test::writable_bytes_of(id)));
  BOOST_TEST(id == numa.info().id);
  map const closed;
  test::refusal(errc::closed, [&](auto&... out) {
    return map::create(map_type::array_of_maps, "outer", 4, 4, 2, {.inner_map = &closed}, out...);
  });
  test::refusal(kernel_error(EINVAL),
                [](auto&... out) { return map::create(map_type::array_of_maps, "outer", 4, 4, 2, {}, out...); });
}

BOOST_AUTO_TEST_CASE(are_refused_as_the_kernel_does) {
  struct wrong {
    map_type type;
    std::uint32_t key_size;
    std::uint32_t value_size;
    std::uint32_t max_entries;
    int error;
  };
  constexpr wrong all[] = {
      {map_type::array, 4, 8, 0, EINVAL},       {map_type::array, 8, 8, 1, EINVAL},
      {map_type::array, 4, 0, 1, EINVAL},       {map_type::hash, 0, 8, 1, EINVAL},
      {map_type::hash, 4, 8, 0, EINVAL},        {map_type::ringbuf, 0, 0, 5000, EINVAL},
      {map_type::ringbuf, 0, 0, 12288, EINVAL}, {map_type::ringbuf, 4, 4, 4096, EINVAL},
      {map_type::unspec, 4, 4, 1, EINVAL},      {static_cast<map_type>(4711), 4, 4, 1, EINVAL},
      {map_type::hash, 4, 8, 1U << 31U, E2BIG},
  };
  for (auto const& w : all)
    BOOST_TEST_CONTEXT(to_string(w.type) << ' ' << w.key_size << ' ' << w.value_size << ' ' << w.max_entries) {
      auto const said = test::refusal(kernel_error(w.error), [&](auto&... out) {
        return map::create(w.type, "wrong", w.key_size, w.value_size, w.max_entries, {}, out...);
      });
      BOOST_TEST(contains(said.message, "'wrong' of type " + std::string{to_string(w.type)}), said.message);
      BOOST_TEST(said.map == "wrong");
    }
  test::refusal(kernel_error(EINVAL),
                [](auto&... out) { return map::create(map_type::array, "a name", 4, 4, 1, {}, out...); });
  map::create(map_type::ringbuf, "ring", 0, 0, 8192, {}, ec);
  BOOST_TEST(!ec);
}

BOOST_AUTO_TEST_CASE(have_their_whole_name_here_and_a_part_in_the_kernel) {
  auto const m = map::create(map_type::array, "a_name_that_the_kernel_cuts", 4, 4, 1);
  BOOST_TEST(m.name() == "a_name_that_the_kernel_cuts");
  BOOST_TEST(m.info().name == "a_name_that_the");
  BOOST_TEST(map::open_by_id(m.info().id).name() == "a_name_that_the");
}

BOOST_AUTO_TEST_CASE(need_privileges) {
  auto const said = test::in_child([] {
    test::become_nobody();
    error_code e;
    tinybpf::diagnostics why;
    static_cast<void>(map::create(map_type::devmap, "mine", 4, 4, 1, {}, e, why));
    auto const created = std::to_string(e.value()) + ' ' + why.hint;
    static_cast<void>(map::open_by_id(1, e, why));
    return created + '\n' + std::to_string(e.value()) + ' ' + why.hint;
  });
  auto const eperm = std::to_string(EPERM) + " this needs ";
  auto const lines = said.find('\n') + 1;
  BOOST_TEST(said.starts_with(eperm + "CAP_BPF and CAP_NET_ADMIN, and the process lacks CAP_BPF and CAP_NET_ADMIN;"),
             said);
  BOOST_TEST(said.substr(lines).starts_with(eperm + "CAP_SYS_ADMIN, and the process lacks CAP_SYS_ADMIN;"), said);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(pinned_maps, loaded)

BOOST_AUTO_TEST_CASE(live_on_without_the_object, *test::shows("pin map")) {
  auto const path = folder / "totals";
  totals.pin(path);
  BOOST_TEST(totals.pin_path() == path);
  run(obj);
  auto const id = totals.info().id;
  obj.close();
  BOOST_TEST(totals.pin_path().empty());
  BOOST_TEST(fs::exists(path));
  auto const again = map::open_pinned(path);
  BOOST_TEST(again.info().id == id);
  BOOST_TEST(again.name() == "totals");
  BOOST_TEST(again.pin_path() == path);
  BOOST_TEST(closes_on_exec(again));
  BOOST_TEST(again.lookup<std::uint64_t>(0).value() == 1U);
  again.update(3, 7);
  BOOST_TEST((again.lookup(3) == tinybpf::number{7}));
  BOOST_TEST(again.dynamic().entries().size() == 4U);
  BOOST_TEST(again.btf_value().to_string() == "__u64");
  again.unpin();
  BOOST_TEST(!fs::exists(path));
  BOOST_TEST(again.pin_path().empty());
  BOOST_TEST(again.is_open());
  BOOST_TEST(total(again) == 1U);
}

BOOST_AUTO_TEST_CASE(have_the_types_that_the_kernel_knows) {
  run(obj);
  sessions.pin(folder / "sessions");
  test::accepted([&](auto&... out) { return map::open_pinned(folder / "sessions", out...); });
  auto const again = map::open_pinned(folder / "sessions");
  auto const typed = again.typed<session_key, session>();
  BOOST_TEST(typed.at({1, 2, 3}).packets == 1U);
  BOOST_TEST(again.btf_key().to_string() == "struct session_key");
  (void)again.typed<session_key, wrong_session>(tinybpf::field_names::check, ec, details);
  BOOST_TEST(ec == errc::type_mismatch);
  BOOST_TEST(contains(details.message, "'sessions'"), details.message);
  (void)again.typed<std::uint64_t, session>(tinybpf::field_names::check, ec, details);
  BOOST_TEST(ec == errc::type_mismatch);
  again.lookup(7, ec);
  BOOST_TEST(ec == errc::type_mismatch);
  auto const entries = again.dynamic().entries();
  BOOST_TEST_REQUIRE(entries.size() == 1U);
  BOOST_TEST((entries[0].value()["packets"].to_number() == tinybpf::number{1}));
  obj.map("a_name_that_the_kernel_cuts").pin(folder / "long");
  auto const cut = map::open_pinned(folder / "long");
  BOOST_TEST(cut.name() == "a_name_that_the");
  BOOST_TEST(cut.btf_value().to_string() == "__u32");
}

BOOST_AUTO_TEST_CASE(of_each_cpu_have_all_values) {
  obj.map("by_cpu").pin(folder / "by_cpu");
  auto const again = map::open_pinned(folder / "by_cpu");
  BOOST_TEST((again.type() == map_type::percpu_array));
  BOOST_TEST(again.lookup_size() == obj.map("by_cpu").lookup_size());
  run(obj);
  run(obj);
  auto const values = again.dynamic().entries();
  BOOST_TEST_REQUIRE(values.size() == 1U);
  std::uint64_t sum = 0;
  for (auto const& v : values[0].values) sum += v.to_number().value().as<std::uint64_t>();
  BOOST_TEST(sum == 2U);
}

BOOST_AUTO_TEST_CASE(can_be_rings_that_are_read) {
  test::loop loop;
  obj.map("events").pin(folder / "events");
  auto const ring = map::open_pinned(folder / "events");
  BOOST_TEST((ring.type() == map_type::ringbuf));
  BOOST_TEST(ring.max_entries() == 4096U);
  tinybpf::ring_buffer buffer{loop.io, ring};
  run(obj);
  run(obj);
  auto const two = [&]() -> boost::asio::awaitable<void> {
    auto const first = co_await buffer.next<event>();
    auto const second = co_await buffer.next<event>();
    BOOST_TEST(first.serial == 1U);
    BOOST_TEST(second.serial == 2U);
  };
  loop.run(two());
}

BOOST_AUTO_TEST_CASE(can_be_perf_buffers_that_are_read) {
  test::loop loop;
  obj.map("samples").pin(folder / "samples");
  tinybpf::perf_buffer buffer{loop.io, map::open_pinned(folder / "samples")};
  run(obj);
  auto const one = [&]() -> boost::asio::awaitable<void> {
    auto const first = co_await buffer.next<event>();
    BOOST_TEST(first.serial == 1U);
  };
  loop.run(one());
}

BOOST_AUTO_TEST_CASE(are_in_a_bpf_file_system_alone) {
  auto const elsewhere = fs::temp_directory_path();
  auto said =
      test::refusal(kernel_error(EPERM), [&](auto&... out) { totals.pin(elsewhere / "tinybpf_test_pin", out...); });
  BOOST_TEST(contains(said.hint, elsewhere.string() + " is in no BPF file system"), said.hint);
  BOOST_TEST(contains(said.message, "'totals'"), said.message);
  BOOST_TEST(said.map == "totals");
  said = test::refusal(kernel_error(EPERM), [&](auto&... out) { totals.pin("tinybpf_test_pin", out...); });
  BOOST_TEST(contains(said.hint, ". is in no BPF file system"), said.hint);
  said = test::refusal(kernel_error(EPERM), [&](auto&... out) { totals.pin(folder / "with.dot", out...); });
  BOOST_TEST(contains(said.hint, "dot"), said.hint);
  said = test::refusal(kernel_error(ENOENT), [&](auto&... out) { totals.pin(folder / "none" / "totals", out...); });
  BOOST_TEST(said.hint == "");
  test::refusal(kernel_error(ENOENT), [&](auto&... out) { totals.pin("", out...); });
  BOOST_TEST(totals.pin_path().empty());
}

BOOST_AUTO_TEST_CASE(replace_nothing) {
  totals.pin(folder / "totals", ec);
  BOOST_TEST(!ec);
  test::refusal(kernel_error(EEXIST), [&](auto&... out) { sessions.pin(folder / "totals", out...); });
  BOOST_TEST(sessions.pin_path().empty());
  test::refusal(kernel_error(EEXIST), [&](auto&... out) { sessions.pin(folder, out...); });
  BOOST_TEST(map::open_pinned(folder / "totals").info().id == totals.info().id);
}

BOOST_AUTO_TEST_CASE(have_one_pin) {
  totals.pin(folder / "one", ec, details);
  BOOST_TEST(!ec);
  BOOST_TEST(details.empty());
  auto const said = test::refusal(kernel_error(EEXIST), [&](auto&... out) { totals.pin(folder / "two", out...); });
  BOOST_TEST(contains(said.message, (folder / "one").string()), said.message);
  BOOST_TEST(!fs::exists(folder / "two"));
  auto const clone = totals.clone();
  BOOST_TEST(clone.pin_path().empty());
  clone.pin(folder / "two");
  totals.unpin();
  BOOST_TEST(totals.pin_path().empty());
  BOOST_TEST(!fs::exists(folder / "one"));
  BOOST_TEST(fs::exists(folder / "two"));
  totals.pin(folder / "one");
  BOOST_TEST(totals.pin_path() == folder / "one");
}

BOOST_AUTO_TEST_CASE(are_unpinned_by_who_pinned_them) {
  auto said = test::refusal(errc::not_found, [&](auto&... out) { totals.unpin(out...); });
  BOOST_TEST(contains(said.message, "'totals'"));
  auto const path = folder / "totals";

  // Somebody removed it.
  totals.pin(path);
  fs::remove(path);
  totals.unpin(ec, details);
  BOOST_TEST(ec == kernel_error(ENOENT));
  BOOST_TEST(contains(details.message, path.string()), details.message);
  totals.unpin(ec);
  BOOST_TEST(ec == errc::not_found);

  // Somebody replaced it, by another map or by a program.
  totals.pin(path);
  fs::remove(path);
  sessions.pin(path);
  said = test::refusal(kernel_error(EBUSY), [&](auto&... out) { totals.unpin(out...); });
  BOOST_TEST(contains(said.message, path.string()), said.message);
  BOOST_TEST(totals.pin_path() == path);
  sessions.unpin();
  BOOST_TEST_REQUIRE(bpf_obj_pin(obj.program("work").fd(), path.c_str()) == 0);
  test::refusal(kernel_error(EBUSY), [&](auto&... out) { totals.unpin(out...); });
  BOOST_TEST(fs::exists(path));
  fs::remove(path);

  // Another handle of the same map.
  BOOST_TEST_REQUIRE(bpf_obj_pin(totals.fd(), path.c_str()) == 0);
  map::open_pinned(path).unpin(ec, details);
  BOOST_TEST(!ec);
  BOOST_TEST(!fs::exists(path));
}

BOOST_AUTO_TEST_CASE(are_found_from_any_folder) {
  auto const before = fs::current_path();
  fs::current_path(folder);
  totals.pin("relative");
  auto const again = map::open_pinned("relative");
  fs::current_path(before);
  BOOST_TEST(totals.pin_path() == folder / "relative");
  BOOST_TEST(again.pin_path() == folder / "relative");
  again.unpin();
  BOOST_TEST(!fs::exists(folder / "relative"));
}

BOOST_AUTO_TEST_CASE(are_found_behind_symbolic_links) {
  auto const path = folder / "totals";
  totals.pin(path);
  fs::create_symlink(path, folder / "alias");
  auto const found = map::open_pinned(folder / "alias");
  BOOST_TEST(found.pin_path() == path);
  found.unpin();
  BOOST_TEST(!fs::exists(path));
  BOOST_TEST(fs::is_symlink(folder / "alias"));
  totals.unpin(ec);
  BOOST_TEST(ec == kernel_error(ENOENT));

  fs::create_directory(folder / "real");
  fs::create_directory_symlink(folder / "real", folder / "way");
  totals.pin(folder / "way" / "pin");
  BOOST_TEST(totals.pin_path() == folder / "real" / "pin");
  fs::remove(folder / "way");
  totals.unpin();
  BOOST_TEST(fs::is_empty(folder / "real"));
}

BOOST_AUTO_TEST_CASE(are_told_from_what_is_none) {
  auto said =
      test::refusal(kernel_error(ENOENT), [&](auto&... out) { return map::open_pinned(folder / "none", out...); });
  BOOST_TEST(contains(said.message, (folder / "none").string()), said.message);
  BOOST_TEST_REQUIRE(bpf_obj_pin(obj.program("work").fd(), (folder / "work").c_str()) == 0);
  said = test::refusal(errc::wrong_map_type, [&](auto&... out) { return map::open_pinned(folder / "work", out...); });
  BOOST_TEST(contains(said.message, (folder / "work").string()), said.message);
  map::open_pinned(folder, ec);
  BOOST_TEST(ec);
  map::open_pinned("/dev/null", ec);
  BOOST_TEST(ec);
  map::open_pinned("", ec);
  BOOST_TEST(ec == kernel_error(ENOENT));
}

BOOST_AUTO_TEST_CASE(need_a_map) {
  auto const path = folder / "none";
  auto const none = [&](map const& m, error_code const& expected) {
    test::refusal(expected, [&](auto&... out) { m.pin(path, out...); });
    test::refusal(expected, [&](auto&... out) { m.unpin(out...); });
    test::refusal(expected, [&](auto&... out) { m.freeze(out...); });
    test::refusal(expected, [&](auto&... out) { return m.clone(out...); });
    BOOST_TEST(m.pin_path().empty());
  };
  none({}, errc::closed);
  auto const unloaded = object::open(SETTINGS_BPF_O);
  none(unloaded.map("totals"), errc::not_loaded);
  obj.close();
  none(totals, errc::closed);
  auto failed = object::open(SETTINGS_BPF_O);
  failed.map("sessions").set_numa_node(999);
  failed.load(ec);
  none(failed.map("totals"), errc::not_loaded);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(maps_that_are_pinned_when_loaded, pins)

BOOST_AUTO_TEST_CASE(are_shared_by_all_objects_with_the_same_root) {
  tinybpf::open_options options;
  options.pin_root_path = folder;
  auto first = object::open(PINNED_BPF_O, options);
  BOOST_TEST(first.map("shared_totals").pin_path().empty());
  first.load();
  auto const shared = first.map("shared_totals");
  BOOST_TEST(shared.pin_path() == folder / "shared_totals");
  BOOST_TEST(first.map("own_totals").pin_path().empty());
  auto second = object::open(PINNED_BPF_O, options);
  second.load();
  BOOST_TEST(second.map("shared_totals").info().id == shared.info().id);
  BOOST_TEST(second.map("shared_totals").pin_path() == folder / "shared_totals");
  run(first, "add_to_both");
  run(second, "add_to_both");
  BOOST_TEST(total(shared) == 2U);
  BOOST_TEST(total(second.map("own_totals")) == 1U);

  auto const other_root = folder / "other";
  fs::create_directory(other_root);
  options.pin_root_path = other_root;
  auto third = object::open(PINNED_BPF_O, options);
  third.load();
  BOOST_TEST(total(third.map("shared_totals")) == 0U);
  third.map("shared_totals").unpin();
  BOOST_TEST(!fs::exists(other_root / "shared_totals"));
  first.close();
  second.close();
  BOOST_TEST(total(map::open_pinned(folder / "shared_totals")) == 2U);
}

BOOST_AUTO_TEST_CASE(have_to_be_alike) {
  auto const path = folder / "shared_totals";
  map::create(map_type::array, "shared_totals", 4, 4, 2).pin(path);
  tinybpf::open_options options;
  options.pin_root_path = folder;
  auto obj = object::open(PINNED_BPF_O, options);
  obj.load(ec, details);
  BOOST_TEST(ec == kernel_error(EINVAL));
  BOOST_TEST(details.map == "shared_totals");
  BOOST_TEST(contains(details.message, "'shared_totals'"), details.message);
  BOOST_TEST(contains(details.hint, path.string()), details.hint);
  BOOST_TEST(contains(details.log, "parameter mismatch"), details.log);
  BOOST_TEST(map::open_pinned(path).value_size() == 4U);
}

BOOST_AUTO_TEST_CASE(are_in_a_bpf_file_system) {
  tinybpf::open_options options;
  options.pin_root_path = fs::temp_directory_path();
  auto obj = object::open(PINNED_BPF_O, options);
  obj.load(ec, details);
  BOOST_TEST(ec == kernel_error(EINVAL));
  BOOST_TEST(details.map == "shared_totals");
  BOOST_TEST(contains(details.log, "not on BPF FS"), details.log);
}

BOOST_AUTO_TEST_CASE(leave_no_pin_of_a_failed_load) {
  tinybpf::open_options options;
  options.pin_root_path = folder;
  auto obj = object::open(PINNED_BPF_O, options);
  obj.map("own_totals").set_numa_node(999);
  obj.load(ec, details);
  BOOST_TEST(ec == kernel_error(EINVAL));
  BOOST_TEST(obj.map("shared_totals").pin_path().empty());
  BOOST_TEST(fs::is_empty(folder));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(handed_over_maps, loaded)

BOOST_AUTO_TEST_CASE(are_opened_by_number) {
  run(obj);
  auto const id = totals.info().id;
  test::accepted([&](auto&... out) { return map::open_by_id(id, out...); });
  auto const again = map::open_by_id(id);
  BOOST_TEST(again.lookup<std::uint64_t>(0).value() == 1U);
  BOOST_TEST(again.name() == "totals");
  BOOST_TEST(again.pin_path().empty());
  BOOST_TEST(closes_on_exec(again));
  for (auto const wrong : {std::uint32_t{0}, std::numeric_limits<std::uint32_t>::max() - 1}) {
    auto const said = test::refusal(kernel_error(ENOENT), [&](auto&... out) { return map::open_by_id(wrong, out...); });
    BOOST_TEST(contains(said.message, std::to_string(wrong)), said.message);
  }
}

BOOST_AUTO_TEST_CASE(are_opened_by_descriptor) {
  run(obj);
  test::accepted([&](auto&... out) { return map::open_fd(totals.fd(), out...); });
  int const duplicate = test::checked(dup(totals.fd()), "dup");
  auto const again = map::open_fd(duplicate);
  close(duplicate);
  BOOST_TEST(again.fd() != totals.fd());
  BOOST_TEST(closes_on_exec(again));
  obj.close();
  BOOST_TEST(again.lookup<std::uint64_t>(0).value() == 1U);
  test::refusal(kernel_error(EBADF), [](auto&... out) { return map::open_fd(-1, out...); });
  test::refusal(kernel_error(EBADF), [](auto&... out) { return map::open_fd(1 << 20, out...); });
  test::scratch_file const file;
  test::refusal(errc::wrong_map_type, [&](auto&... out) { return map::open_fd(file.fd(), out...); });
  auto const other = tinybpf::load(SETTINGS_BPF_O);
  auto const said = test::refusal(errc::wrong_map_type,
                                  [&](auto&... out) { return map::open_fd(other.program("work").fd(), out...); });
  BOOST_TEST(contains(said.message, std::to_string(other.program("work").fd())), said.message);
}

BOOST_AUTO_TEST_CASE(outlive_their_object_as_clones) {
  test::accepted([&](auto&... out) { return totals.clone(out...); });
  auto const clone = totals.clone();
  auto const of_name = obj.map("a_name_that_the_kernel_cuts").clone();
  auto const ring = obj.map("events").clone();
  auto const section = obj.map("settings.data").clone();
  BOOST_TEST(clone.name() == "totals");
  BOOST_TEST(of_name.name() == "a_name_that_the_kernel_cuts");
  BOOST_TEST((clone.type() == map_type::array));
  BOOST_TEST(clone.key_size() == 4U);
  BOOST_TEST(clone.value_size() == 8U);
  BOOST_TEST(clone.max_entries() == 4U);
  BOOST_TEST(closes_on_exec(clone));
  BOOST_TEST(clone.fd() != totals.fd());
  run(obj);
  BOOST_TEST(total(clone) == 1U);
  obj.close();
  BOOST_TEST(!totals.is_open());
  BOOST_TEST(clone.is_open());
  BOOST_TEST(clone.lookup<std::uint64_t>(0).value() == 1U);
  BOOST_TEST(clone.btf_value().to_string() == "__u64");
  BOOST_TEST(section.btf_value().name() == ".data");
  clone.pin(folder / "clone");
  test::loop loop;
  tinybpf::ring_buffer buffer{loop.io, ring};
  auto const one = [&]() -> boost::asio::awaitable<void> {
    auto const first = co_await buffer.next<event>();
    BOOST_TEST(first.serial == 1U);
  };
  loop.run(one());
  auto const second = clone.clone();
  BOOST_TEST(second.info().id == clone.info().id);
}

BOOST_AUTO_TEST_CASE(that_are_frozen_can_be_read_and_written_by_programs, *test::shows("freeze")) {
  auto const m = totals.clone();
  m.update(1, 5);
  m.freeze();
  for (auto const& frozen : {m, totals}) {
    frozen.update(1, 6, tinybpf::update_flag::any, ec, details);
    BOOST_TEST(ec == kernel_error(EPERM));
    BOOST_TEST(contains(details.message, "'totals'"));
    BOOST_TEST(frozen.lookup<std::uint64_t>(1).value() == 5U);
  }
  run(obj);
  BOOST_TEST(total(m) == 1U);
  // EPERM, and EBUSY before Linux 6.4.
  BOOST_TEST_REQUIRE(bpf_map_freeze(totals.fd()) < 0);
  test::refusal(kernel_error(errno), [&](auto&... out) { totals.freeze(out...); });
  sessions.freeze(ec, details);
  BOOST_TEST(!ec);
  obj.map("by_cpu").freeze(ec);
  BOOST_TEST(!ec);
}

BOOST_AUTO_TEST_SUITE_END()
