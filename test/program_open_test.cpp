// Programs that belong to no object: pinned and found again, handed over, and called by others.
#include "features.hpp"
#include "forms.hpp"
#include "privileges.hpp"
#include "scratch_folder.hpp"
#include "support.hpp"

#include <tinybpf/fd_map.hpp>
#include <tinybpf/map.hpp>
#include <tinybpf/object.hpp>
#include <tinybpf/program.hpp>

#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace fs = std::filesystem;
using test::contains;
using test::kernel_error;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::object;
using tinybpf::program;
using tinybpf::program_type;

namespace program_open_test {

std::uint32_t run(program const& p) {
  std::array<std::byte, 64> const packet{};
  return p.test_run({.data_in = packet}).retval;
}

/// A folder in the BPF file system, gone with the case. Nothing may be printed meanwhile.
struct loaded : test::quiet_folder {
  loaded() : quiet_folder{test::bpffs} {}

  fs::path const folder = path();
  error_code ec;
  diagnostics details;
  object obj = tinybpf::load(RUNS_BPF_O);
  program second = obj.program("second_step");
};

/// It is the program, and works as one that is on its own.
void check_alone(program const& p, program const& original) {
  BOOST_TEST(p.is_open());
  BOOST_TEST(p.name() == "second_step");
  BOOST_TEST((p.type() == program_type::xdp));
  BOOST_TEST(p.fd() != original.fd());
  BOOST_TEST(fcntl(p.fd(), F_GETFD) == FD_CLOEXEC);
  BOOST_TEST(p.info().id == original.info().id);
  BOOST_TEST(p.info().name == "second_step");
  BOOST_TEST(p.stats().run_count == original.stats().run_count);
  BOOST_TEST(p.insn_count() > 0U);
  BOOST_TEST(p.verifier_log() == "");
  BOOST_TEST(run(p) == 3U);
  auto const said = test::refusal(errc::not_supported, [&](auto&... out) { return p.attach(out...); });
  BOOST_TEST(contains(said.message, "second_step"), said.message);
  BOOST_TEST(contains(said.message, "on its own"), said.message);
  test::refusal(errc::not_supported, [&](auto&... out) { return p.set_autoattach(false, out...), 0; });
}

}  // namespace program_open_test

using namespace program_open_test;

BOOST_FIXTURE_TEST_SUITE(programs_on_their_own, loaded)

BOOST_AUTO_TEST_CASE(are_opened_by_their_numbers) {
  auto const id = second.info().id;
  check_alone(program::open_by_id(id), second);
  test::accepted([&](auto&... out) { return program::open_by_id(id, out...); });
  auto const nobody = std::numeric_limits<std::uint32_t>::max() / 2;
  auto const said =
      test::refusal(kernel_error(ENOENT), [&](auto&... out) { return program::open_by_id(nobody, out...); });
  BOOST_TEST(contains(said.message, std::to_string(nobody)), said.message);
}

BOOST_AUTO_TEST_CASE(are_opened_by_descriptors) {
  check_alone(program::open_fd(second.fd()), second);
  test::accepted([&](auto&... out) { return program::open_fd(second.fd(), out...); });
  test::refusal(kernel_error(EBADF), [](auto&... out) { return program::open_fd(-1, out...); });
  test::refusal(kernel_error(EBADF), [](auto&... out) { return program::open_fd(1'000'000, out...); });
  test::refusal(errc::wrong_program_type,
                [&](auto&... out) { return program::open_fd(obj.map("steps").fd(), out...); });
  test::refusal(errc::wrong_program_type, [](auto&... out) { return program::open_fd(0, out...); });
}

BOOST_AUTO_TEST_CASE(are_clones_that_outlive_their_object) {
  auto const id = second.info().id;
  auto const copy = second.clone();
  check_alone(copy, second);
  BOOST_TEST(copy.section() == "xdp");
  test::accepted([&](auto&... out) { return second.clone(out...); });
  auto const of_copy = copy.clone();
  obj.close();
  BOOST_TEST(!second.is_open());
  test::refusal(errc::closed, [&](auto&... out) { return second.clone(out...); });
  for (auto const& p : {copy, of_copy}) {
    BOOST_TEST(p.is_open());
    BOOST_TEST(p.info().id == id);
    BOOST_TEST(run(p) == 3U);
  }
  test::refusal(errc::closed, [](auto&... out) { return program{}.clone(out...); });
  auto const unloaded = object::open(RUNS_BPF_O).program("drop");
  test::refusal(errc::not_loaded, [&](auto&... out) { return unloaded.clone(out...); });
}

BOOST_AUTO_TEST_CASE(are_closed_when_moved_from) {
  auto copy = second.clone();
  auto const moved = std::move(copy);
  BOOST_TEST(!copy.is_open());  // NOLINT(bugprone-use-after-move): what it says then
  BOOST_TEST(copy.fd() == -1);
  BOOST_TEST((copy.type() == program_type::unspec));
  BOOST_TEST(copy.pin_path().empty());
  test::refusal(errc::closed, [&](auto&... out) { return copy.info(out...); });
  test::refusal(errc::closed, [&](auto&... out) { return copy.stats(out...); });
  test::refusal(errc::closed, [&](auto&... out) { return copy.pin(folder / "x", out...), 0; });
  test::refusal(errc::closed, [&](auto&... out) { return copy.unpin(out...), 0; });
  test::refusal(errc::closed, [&](auto&... out) { return copy.test_run({}, out...); });
  BOOST_TEST(run(moved) == 3U);
}

BOOST_AUTO_TEST_CASE(leave_no_number_behind) {
  auto const id = second.info().id;
  auto copy = second.clone();
  obj = object{};
  second = program{};
  BOOST_TEST(program::open_by_id(id).is_open());
  copy = program{};
  // The kernel frees a program some time after its last user has gone.
  do {
    static_cast<void>(program::open_by_id(id, ec));
  } while (!ec);
  BOOST_TEST(ec == kernel_error(ENOENT));
}

BOOST_AUTO_TEST_CASE(are_listed) {
  auto const ids = tinybpf::program_ids();
  BOOST_TEST(std::is_sorted(ids.begin(), ids.end()));
  for (auto const& p : obj.programs()) BOOST_TEST(std::count(ids.begin(), ids.end(), p.info().id) == 1);
  test::accepted([](auto&... out) { return tinybpf::program_ids(out...); });
  auto const said = test::in_child([&] {
    test::become_nobody();
    auto const id = second.info().id;
    error_code listed;
    diagnostics words;
    auto const none = tinybpf::program_ids(listed, words);
    error_code opened;
    static_cast<void>(program::open_by_id(id, opened));
    bool const right = listed == kernel_error(EPERM) && opened == kernel_error(EPERM) && none.empty() &&
                       contains(words.hint, "CAP_SYS_ADMIN");
    return std::string{right ? "refused" : listed.message() + ", " + opened.message()};
  });
  BOOST_TEST(said == "refused");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(pins, loaded)

BOOST_AUTO_TEST_CASE(keep_a_program_and_give_it_back, *test::shows("pin program")) {
  auto const path = folder / "second";
  BOOST_TEST(second.pin_path().empty());
  second.pin(path);
  BOOST_TEST(second.pin_path() == path);
  BOOST_TEST(fs::exists(path));
  auto const found = program::open_pinned(path);
  check_alone(found, second);
  BOOST_TEST(found.pin_path() == path);
  test::accepted([&](auto&... out) { return program::open_pinned(path, out...); });
  obj = object{};
  second = program{};
  auto const later = program::open_pinned(path);
  BOOST_TEST(run(later) == 3U);
  later.unpin();
  BOOST_TEST(later.pin_path().empty());
  BOOST_TEST(!fs::exists(path));
  BOOST_TEST(run(later) == 3U);
  test::refusal(errc::not_found, [&](auto&... out) { return later.unpin(out...), 0; });
  test::refusal(kernel_error(ENOENT), [&](auto&... out) { return program::open_pinned(path, out...); });
}

BOOST_AUTO_TEST_CASE(are_one_a_handle) {
  second.pin(folder / "one");
  auto const said =
      test::refusal(kernel_error(EEXIST), [&](auto&... out) { return second.pin(folder / "two", out...), 0; });
  BOOST_TEST(contains(said.message, "one"), said.message);
  BOOST_TEST(said.program == "second_step");
  auto const copy = second.clone();
  BOOST_TEST(copy.pin_path().empty());
  auto const taken =
      test::refusal(kernel_error(EEXIST), [&](auto&... out) { return copy.pin(folder / "one", out...), 0; });
  BOOST_TEST(contains(taken.hint, "something is there"), taken.hint);
  copy.pin(folder / "two");
  BOOST_TEST(program::open_pinned(folder / "two").info().id == second.info().id);
  copy.unpin();
  second.unpin();
  BOOST_TEST(fs::is_empty(folder));
}

BOOST_AUTO_TEST_CASE(are_found_behind_symbolic_links) {
  auto const path = folder / "second";
  second.pin(path);
  fs::create_symlink(path, folder / "alias");
  auto const found = program::open_pinned(folder / "alias");
  BOOST_TEST(found.pin_path() == path);
  found.unpin();
  BOOST_TEST(!fs::exists(path));
  BOOST_TEST(fs::is_symlink(folder / "alias"));
  second.unpin(ec);
  BOOST_TEST(ec == kernel_error(ENOENT));

  fs::create_directory(folder / "real");
  fs::create_directory_symlink(folder / "real", folder / "way");
  second.pin(folder / "way" / "pin");
  BOOST_TEST(second.pin_path() == folder / "real" / "pin");
  fs::remove(folder / "way");
  second.unpin();
  BOOST_TEST(fs::is_empty(folder / "real"));
}

BOOST_AUTO_TEST_CASE(are_refused_where_they_cannot_be) {
  auto const no_folder = folder / "no" / "folder";
  test::refusal(kernel_error(ENOENT), [&](auto&... out) { return second.pin(no_folder, out...), 0; });
  auto const elsewhere = fs::temp_directory_path() / "tinybpf_no_pin";
  auto const said = test::refusal(kernel_error(EPERM), [&](auto&... out) { return second.pin(elsewhere, out...), 0; });
  BOOST_TEST(contains(said.hint, "BPF file system"), said.hint);
  auto const dotted =
      test::refusal(kernel_error(EPERM), [&](auto&... out) { return second.pin(folder / "a.b", out...), 0; });
  BOOST_TEST(contains(dotted.hint, "dot"), dotted.hint);
  BOOST_TEST(second.pin_path().empty());
  test::refusal(kernel_error(ENOENT), [&](auto&... out) { return program::open_pinned(folder / "none", out...); });
}

BOOST_AUTO_TEST_CASE(of_maps_are_no_programs) {
  auto const path = folder / "steps";
  obj.map("steps").pin(path);
  auto const said =
      test::refusal(errc::wrong_program_type, [&](auto&... out) { return program::open_pinned(path, out...); });
  BOOST_TEST(contains(said.message, path.string()), said.message);
  obj.map("steps").unpin();
}

BOOST_AUTO_TEST_CASE(that_others_took_away_make_room_for_new_ones) {
  auto const path = folder / "here";
  second.pin(path);
  fs::rename(path, folder / "moved");
  second.pin(path);
  BOOST_TEST(second.pin_path() == path);
  fs::remove(path);
  obj.program("drop").pin(path);
  second.pin(folder / "there");
  BOOST_TEST(second.pin_path() == folder / "there");
  BOOST_TEST(program::open_pinned(path).info().id == obj.program("drop").info().id);
  second.unpin();
  auto const steps = obj.map("steps");
  steps.pin(folder / "steps");
  fs::rename(folder / "steps", folder / "steps_moved");
  steps.pin(folder / "steps");
  BOOST_TEST(steps.pin_path() == folder / "steps");
}

BOOST_AUTO_TEST_CASE(of_others_are_left_alone) {
  auto const path = folder / "here";
  second.pin(path);
  fs::remove(path);
  obj.program("drop").pin(path);
  auto const said = test::refusal(kernel_error(EBUSY), [&](auto&... out) { return second.unpin(out...), 0; });
  BOOST_TEST(contains(said.message, path.string()), said.message);
  BOOST_TEST(fs::exists(path));
  fs::remove(path);
  obj.map("steps").pin(path);
  second.unpin(ec);
  BOOST_TEST(ec == kernel_error(EBUSY));
  obj.map("steps").unpin();
  second.unpin(ec);
  BOOST_TEST(ec == kernel_error(ENOENT));
  second.unpin(ec);
  BOOST_TEST(ec == errc::not_found);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(tail_calls, loaded)

BOOST_AUTO_TEST_CASE(go_where_the_map_says) {
  tinybpf::fd_map<std::uint32_t> const steps{obj.map("steps")};
  auto const walk = obj.program("walk");
  constexpr std::uint32_t aborted = 0;
  constexpr std::uint32_t dropped = 1;
  constexpr std::uint32_t sent = 3;
  BOOST_TEST(run(walk) == aborted);
  steps.update(0, obj.program("first_step"));
  BOOST_TEST(run(walk) == dropped);
  steps.update(1, second);
  BOOST_TEST(run(walk) == sent);
  BOOST_TEST(steps.lookup(1).value() == second.info().id);
  steps.erase(0);
  BOOST_TEST(run(walk) == aborted);
  steps.update(0, second);
  BOOST_TEST(run(walk) == sent);
}

BOOST_AUTO_TEST_CASE(go_to_programs_on_their_own) {
  auto other = tinybpf::load(RUNS_BPF_O);
  tinybpf::fd_map<std::uint32_t> const steps{obj.map("steps")};
  {
    auto const step = other.program("drop").clone();
    other.close();
    steps.update(0, step);
  }
  BOOST_TEST(run(obj.program("walk")) == 1U);  // the map keeps it
  auto const by_id = program::open_by_id(second.info().id);
  steps.update(0, by_id);
  BOOST_TEST(run(obj.program("walk")) == 3U);
  steps.update(0, by_id, tinybpf::update_flag::any, ec);
  BOOST_TEST(!ec);
  steps.update(0, program{}, tinybpf::update_flag::any, ec);
  BOOST_TEST(ec == errc::closed);
}

BOOST_AUTO_TEST_CASE(go_to_no_program_of_another_type) {
  tinybpf::fd_map<std::uint32_t> const steps{obj.map("steps")};
  auto const said = test::refusal(kernel_error(EINVAL), [&](auto&... out) {
    if constexpr (sizeof...(out) == 0)
      return steps.update(0, obj.program("mark")), 0;
    else
      return steps.update(0, obj.program("mark"), tinybpf::update_flag::any, out...), 0;
  });
  BOOST_TEST(contains(said.hint, "like those that use the map"), said.hint);
}

BOOST_AUTO_TEST_SUITE_END()
