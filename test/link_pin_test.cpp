// Links beyond the life of their handles: pins.
#include "calls.hpp"
#include "features.hpp"
#include "forms.hpp"
#include "links.hpp"
#include "privileges.hpp"
#include "scratch_folder.hpp"
#include "support.hpp"

#include <tinybpf/async.hpp>
#include <tinybpf/link.hpp>
#include <tinybpf/object.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <unistd.h>

#include <bpf/bpf.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace asio = boost::asio;
namespace data = boost::unit_test::data;
namespace fs = std::filesystem;
using test::contains;
using test::counter;
using test::kernel_error;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::link_kind;

namespace {

struct attached_program {
  char const* name;
  counter counts;
  link_kind kind;         // as attached
  link_kind opened_kind;  // as far as the kernel tells
};

std::ostream& operator<<(std::ostream& out, attached_program const& p) { return out << p.name; }

constexpr std::array attached_programs{
    attached_program{"on_raw_enter", counter::on_raw_enter, link_kind::raw_tracepoint, link_kind::raw_tracepoint},
    attached_program{"on_btf_enter", counter::on_btf_enter, link_kind::tracing, link_kind::raw_tracepoint},
    attached_program{"on_getpgid", counter::on_getpgid, link_kind::tracepoint, link_kind::tracepoint},
};

struct pins {
  test::scratch_folder folder{test::bpffs};
  fs::path const path = folder / "pin";
  tinybpf::object obj = tinybpf::load(CALLS_BPF_O);
  test::calls_descriptor calls{obj.map("calls")};
  error_code ec;
  diagnostics details;

  tinybpf::link attached() const { return obj.program("on_raw_enter").attach(); }

  // How many of two calls the program sees.
  std::uint64_t sees_of_two(counter which = counter::on_raw_enter) const {
    auto const before = calls.seen(which);
    test::call(2);
    return calls.seen(which) - before;
  }

  // On some kernels a pin that is removed lets go of its link only after a grace period.
  void check_that_it_stops(counter which = counter::on_raw_enter) const {
    while (sees_of_two(which) != 0) std::this_thread::sleep_for(std::chrono::milliseconds{1});
  }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(pinned_links, pins)

BOOST_DATA_TEST_CASE_F(pins, stay_attached_when_they_are_destroyed, data::make(attached_programs), p) {
  std::uint32_t id = 0;
  {
    auto l = obj.program(p.name).attach();
    BOOST_TEST(!l.is_pinned());
    BOOST_TEST(l.pin_path() == "");
    l.pin(path);
    BOOST_TEST(l.is_pinned());
    BOOST_TEST(l.pin_path() == path);
    BOOST_TEST((l.kind() == p.kind));
    id = l.info().id;
    BOOST_TEST(sees_of_two(p.counts) == 2);
  }
  BOOST_TEST(fs::exists(path));
  BOOST_TEST(sees_of_two(p.counts) == 2);
  obj = {};
  BOOST_TEST(sees_of_two(p.counts) == 2);
  {
    auto const again = tinybpf::link::open_pinned(path);
    BOOST_TEST(again.attached());
    BOOST_TEST(again.size() == 1);
    BOOST_TEST(again.fd() > 2);
    BOOST_TEST(again.is_pinned());
    BOOST_TEST(again.pin_path() == path);
    BOOST_TEST(again.info().id == id);
    // Before 6.6 the kernel does not tell the kinds of perf events apart.
    BOOST_TEST((again.kind() == p.opened_kind || again.kind() == link_kind::perf_event));
  }
  BOOST_TEST(sees_of_two(p.counts) == 2);
  tinybpf::link::open_pinned(path).detach();
  BOOST_TEST(!fs::exists(path));
  check_that_it_stops(p.counts);
}

BOOST_DATA_TEST_CASE_F(pins, end_with_detach, data::make(attached_programs), p) {
  auto l = obj.program(p.name).attach();
  l.pin(path);
  BOOST_TEST(sees_of_two(p.counts) == 2);
  l.detach(ec, details);
  BOOST_TEST(!ec, details.to_string());
  BOOST_TEST(!l.attached());
  BOOST_TEST(!l.is_pinned());
  BOOST_TEST(!fs::exists(path));
  check_that_it_stops(p.counts);
  l.detach();
}

BOOST_AUTO_TEST_CASE(live_as_others_do_once_they_are_unpinned) {
  auto l = attached();
  l.pin(path);
  l.unpin();
  BOOST_TEST(!l.is_pinned());
  BOOST_TEST(!fs::exists(path));
  BOOST_TEST(sees_of_two() == 2);
  l.pin(path);
  l.unpin(ec, details);
  BOOST_TEST(!ec);
  BOOST_TEST(details.empty());
  l = {};
  check_that_it_stops();
}

BOOST_AUTO_TEST_CASE(are_unpinned_through_any_handle) {
  auto l = attached();
  l.pin(path);
  auto again = tinybpf::link::open_pinned(path);
  again.unpin();
  BOOST_TEST(!fs::exists(path));
  l.unpin(ec, details);
  BOOST_TEST(ec == kernel_error(ENOENT));
  BOOST_TEST(contains(details.message, path.string()));
  BOOST_TEST(!l.is_pinned());
  l = {};
  BOOST_TEST(sees_of_two() == 2);
  again = {};
  check_that_it_stops();
}

BOOST_AUTO_TEST_CASE(move_with_their_pins, *test::shows("pin link")) {
  auto l = attached();
  l.pin(path);
  auto second = std::move(l);
  BOOST_TEST(!l.is_pinned());
  BOOST_TEST(second.pin_path() == path);
  second = {};
  BOOST_TEST(sees_of_two() == 2);
  tinybpf::link::open_pinned(path).detach();
  check_that_it_stops();
}

BOOST_AUTO_TEST_CASE(say_who_else_keeps_them_attached) {
  auto l = attached();
  l.pin(path);
  auto again = tinybpf::link::open_pinned(path);
  again.detach(ec, details);
  BOOST_TEST(ec == kernel_error(EBUSY));
  BOOST_TEST(contains(details.message, "raw_tracepoint"));
  BOOST_TEST(contains(details.hint, "another descriptor or pin"));
  BOOST_TEST(!again.attached());
  BOOST_TEST(!fs::exists(path));
  BOOST_TEST(sees_of_two() == 2);
  l.detach();  // the pin is gone already
  BOOST_TEST(sees_of_two() == 0);
}

BOOST_AUTO_TEST_CASE(have_one_pin_a_handle) {
  auto l = attached();
  l.pin(path);
  auto const other = folder / "other";
  details = test::refusal(kernel_error(EEXIST), [&](auto&... out) { return l.pin(other, out...), 0; });
  BOOST_TEST(contains(details.message, "it is pinned at " + path.string()));
  BOOST_TEST(!fs::exists(other));
  auto second = tinybpf::link::open_fd(l.fd());
  second.pin(other);
  BOOST_TEST(second.pin_path() == other);
  second.unpin();
  l.unpin();
}

BOOST_AUTO_TEST_CASE(need_a_place_that_is_free) {
  auto l = attached();
  auto const refused = [&](fs::path const& where, int err) {
    auto const found = test::refusal(kernel_error(err), [&](auto&... out) { return l.pin(where, out...), 0; });
    BOOST_TEST(contains(found.message, "raw_tracepoint"));
    BOOST_TEST(contains(found.message, where.string()));
    BOOST_TEST(!l.is_pinned());
    return found;
  };
  fs::create_directory(folder / "folder");
  refused(folder / "folder", EEXIST);
  refused(folder / "none" / "pin", ENOENT);
  refused("", ENOENT);
  BOOST_TEST(contains(refused("/dev/shm/pin", EPERM).hint, "BPF file system"));
  BOOST_TEST(!fs::exists("/dev/shm/pin"));
  BOOST_TEST(contains(refused(folder / "with.dot", EPERM).hint, "dot"));

  auto other = obj.program("on_btf_enter").attach();
  other.pin(path);
  refused(path, EEXIST);
  BOOST_TEST(tinybpf::link::open_pinned(path).info().id == other.info().id);
  other.unpin();

  fs::create_symlink(folder / "nowhere", folder / "dangling");
  refused(folder / "dangling", EEXIST);
  BOOST_TEST(!fs::exists(folder / "nowhere"));
  BOOST_TEST(sees_of_two() == 2);
}

BOOST_AUTO_TEST_CASE(remember_where_from_any_folder) {
  auto const before = fs::current_path();
  auto l = attached();
  fs::current_path(folder.path());
  l.pin("pin");
  fs::current_path(before);
  BOOST_TEST(l.pin_path() == path);
  fs::current_path(folder.path());
  auto again = tinybpf::link::open_pinned("pin");
  fs::current_path(before);
  BOOST_TEST(again.pin_path() == path);
  again.unpin();
  BOOST_TEST(!fs::exists(path));

  fs::create_directory(folder / "real");
  fs::create_directory_symlink(folder / "real", folder / "way");
  l.pin(folder / "way" / "pin");
  BOOST_TEST(l.pin_path() == folder / "real" / "pin");
  fs::remove(folder / "way");
  l.unpin();
  BOOST_TEST(!fs::exists(folder / "real" / "pin"));
}

BOOST_AUTO_TEST_CASE(are_found_behind_symbolic_links) {
  auto l = attached();
  l.pin(path);
  fs::create_symlink(path, folder / "alias");
  auto again = tinybpf::link::open_pinned(folder / "alias");
  BOOST_TEST(again.pin_path() == path);
  again.unpin();
  BOOST_TEST(!fs::exists(path));
  BOOST_TEST(fs::is_symlink(folder / "alias"));
  BOOST_TEST(!tinybpf::link::open_pinned(folder / "alias", ec, details).attached());
  BOOST_TEST(ec == kernel_error(ENOENT));
}

BOOST_AUTO_TEST_CASE(can_lose_their_pin) {
  auto l = attached();
  l.pin(path);
  fs::remove(path);
  BOOST_TEST(l.is_pinned());  // nobody looks
  BOOST_TEST(sees_of_two() == 2);
  l.unpin(ec, details);
  BOOST_TEST(ec == kernel_error(ENOENT));
  BOOST_TEST(!l.is_pinned());
  l.unpin(ec, details);
  BOOST_TEST(ec == make_error_code(errc::not_found));

  l.pin(path);
  fs::remove(path);
  l.pin(folder / "other");
  BOOST_TEST(l.pin_path() == folder / "other");
  fs::remove(folder / "other");
  l.detach(ec, details);
  BOOST_TEST(!ec, details.to_string());
  check_that_it_stops();

  l = attached();
  l.pin(path);
  fs::remove(path);
  BOOST_TEST(sees_of_two() == 2);
  l = {};
  check_that_it_stops();

  // What is left attached needs a descriptor then.
  l = attached();
  l.pin(path);
  fs::remove(path);
  int const kept = l.release();
  BOOST_TEST(kept > 2);
  BOOST_TEST(sees_of_two() == 2);
  close(kept);
  check_that_it_stops();
}

BOOST_AUTO_TEST_CASE(leave_the_pins_of_others_alone) {
  auto l = attached();
  l.pin(path);
  fs::remove(path);
  auto other = obj.program("on_btf_enter").attach();
  other.pin(path);
  details = test::refusal(kernel_error(EBUSY), [&](auto&... out) { return l.unpin(out...), 0; });
  BOOST_TEST(contains(details.message, "something else is there"));
  BOOST_TEST(l.is_pinned());
  l.detach(ec, details);
  BOOST_TEST(!ec, details.to_string());
  BOOST_TEST(tinybpf::link::open_pinned(path).info().id == other.info().id);
  BOOST_TEST(sees_of_two(counter::on_btf_enter) == 2);
  check_that_it_stops();
  other.unpin();
}

BOOST_AUTO_TEST_CASE(follow_nobody_who_renames_their_pin) {
  auto l = attached();
  l.pin(path);
  fs::rename(path, folder / "renamed");
  l.unpin(ec, details);
  BOOST_TEST(ec == kernel_error(ENOENT));
  l = {};
  BOOST_TEST(sees_of_two() == 2);
  tinybpf::link::open_pinned(folder / "renamed").detach();
  check_that_it_stops();
}

BOOST_AUTO_TEST_CASE(stay_as_they_are_if_the_pin_cannot_be_removed) {
  auto l = attached();
  l.pin(path);
  auto const said = test::in_child([&]() -> std::string {
    test::become_nobody();
    l.unpin(ec, details);
    if (ec != kernel_error(EACCES)) return "unpin: " + details.to_string();
    l.detach(ec, details);
    if (ec != kernel_error(EACCES)) return "detach: " + details.to_string();
    if (!contains(details.message, path.string())) return details.message;
    return l.attached() && l.is_pinned() ? "as it was" : "changed";
  });
  BOOST_TEST(said == "as it was");
  BOOST_TEST(sees_of_two() == 2);
  l.unpin();
}

BOOST_AUTO_TEST_CASE(are_opened_only_where_there_are_some) {
  auto l = attached();
  l.pin(path);
  auto const missing = folder / "pim";
  details =
      test::refusal(kernel_error(ENOENT), [&](auto&... out) { return tinybpf::link::open_pinned(missing, out...); });
  BOOST_TEST(contains(details.message, missing.string()));
  BOOST_TEST(contains(details.hint, "did you mean 'pin'?"));
  BOOST_TEST(details.names == std::vector<std::string>{"pin"}, boost::test_tools::per_element());
  l.unpin();
  test::refusal(kernel_error(ENOENT),
                [&](auto&... out) { return tinybpf::link::open_pinned(folder / "a" / "b", out...); });

  obj.map("calls").pin(path);
  details = test::refusal(kernel_error(EINVAL), [&](auto&... out) { return tinybpf::link::open_pinned(path, out...); });
  BOOST_TEST(contains(details.message, "it is a map"));
  BOOST_TEST(contains(details.hint, "map::open_pinned"));
  obj.map("calls").unpin();

  test::checked(bpf_obj_pin(obj.program("on_raw").fd(), path.c_str()), "bpf_obj_pin");
  details = test::refusal(kernel_error(EINVAL), [&](auto&... out) { return tinybpf::link::open_pinned(path, out...); });
  BOOST_TEST(contains(details.message, "it is a program"));
}

BOOST_AUTO_TEST_CASE(are_left_to_the_pin_when_released, *test::shows("pin link")) {
  auto l = attached();
  l.pin(path);
  BOOST_TEST(l.release() == -1);
  BOOST_TEST(!l.attached());
  BOOST_TEST(sees_of_two() == 2);
  tinybpf::link::open_pinned(path).detach();
  check_that_it_stops();
}

BOOST_AUTO_TEST_CASE(stay_attached_when_the_worker_destroys_them) {
  {
    asio::io_context io;
    auto ex = io.get_executor();
    auto l = test::run(io, tinybpf::async_attach(ex, obj.program("on_getpgid")));
    l.pin(path);
    l = {};
    // The context waits for what the worker has begun, and destroys at once what it has not.
  }
  BOOST_TEST(fs::exists(path));
  BOOST_TEST(sees_of_two(counter::on_getpgid) == 2);

  asio::io_context io;
  test::run(io, tinybpf::async_detach(io.get_executor(), tinybpf::link::open_pinned(path)));
  BOOST_TEST(!fs::exists(path));
  check_that_it_stops(counter::on_getpgid);
}

BOOST_AUTO_TEST_SUITE_END()
