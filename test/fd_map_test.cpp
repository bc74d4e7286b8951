// Maps of programs, maps, sockets, control groups and perf events.
#include "descriptor.hpp"
#include "kinds.hpp"
#include "own_cgroup.hpp"

#include <tinybpf/fd_map.hpp>
#include <tinybpf/map.hpp>
#include <tinybpf/object.hpp>
#include <tinybpf/program.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/address_v4.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <linux/perf_event.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <utility>

namespace asio = boost::asio;
using asio::ip::tcp;
using test::checked;
using test::contains;
using test::descriptor;
using test::done;
using test::kernel_error;
using test::kinds;
using test::nothing;
using test::refused;
using test::view_made;
using test::view_refused;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::fd_map;
using tinybpf::field_names;
using tinybpf::map;
using tinybpf::map_type;
using tinybpf::update_flag;

namespace fd_map_test {

using slots = fd_map<std::uint32_t>;

struct fixture : kinds {
  slots steps{obj.map("steps")};
  slots shelves{obj.map("shelves")};
  fd_map<std::uint64_t> shelves_by_id{obj.map("shelves_by_id")};
  slots sockets{obj.map("sockets")};
};

/// A map that fits in the shelves of kinds.bpf.c, with this value first.
map shelf(std::uint64_t first) {
  auto const made = map::create(map_type::array, "shelf", 4, 8, 2);
  made.update(test::bytes_of(std::uint32_t{0}), test::bytes_of(first));
  return made;
}

struct connected_pair {
  asio::io_context io;
  tcp::acceptor acceptor{io, {asio::ip::address_v4::loopback(), 0}};
  tcp::socket here{io};
  tcp::socket there{io};

  connected_pair() {
    here.connect(acceptor.local_endpoint());
    acceptor.accept(there);
  }
};

template <class Socket>
std::uint64_t cookie_of(Socket& socket) {
  std::uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  checked(getsockopt(socket.native_handle(), SOL_SOCKET, SO_COOKIE, &cookie, &size), "SO_COOKIE");
  return cookie;
}

template <class M>
concept assigns_by_key = requires(M const& m) { m[0U]; };
template <class M>
concept is_walked = requires(M const& m) { m.entries(); } || requires(M const& m) { m.begin(); };
template <class M, class Thing>
concept takes = requires(M const& m, Thing& thing) { m.update(0U, thing); };
static_assert(!assigns_by_key<slots> && !is_walked<slots>);
static_assert(takes<slots, int> && takes<slots, map> && takes<slots, tinybpf::program const>);
static_assert(takes<slots, tcp::socket> && takes<slots, tcp::acceptor> && takes<slots, asio::ip::udp::socket>);
static_assert(!takes<slots, tinybpf::object> && !takes<slots, std::string>);

}  // namespace fd_map_test

using namespace fd_map_test;

BOOST_FIXTURE_TEST_SUITE(fd_maps, fixture)

BOOST_AUTO_TEST_CASE(of_programs_lead_tail_calls) {
  BOOST_TEST(run("dispatch", 0, 5) == nothing);
  steps.update(0, obj.program("step_one"));
  steps.update(1, obj.program("step_two"), update_flag::any, ec);
  steps.update(2, obj.program("step_two"), update_flag::any, ec, details);
  BOOST_TEST(!ec);
  BOOST_TEST(run("dispatch", 0, 5) == 1005U);
  BOOST_TEST(run("dispatch", 1, 6) == 2006U);
  BOOST_TEST(run("dispatch", 2, 7) == 2007U);
  steps.update(0, obj.program("step_two").fd());
  BOOST_TEST(run("dispatch", 0, 5) == 2005U);
  steps.update(0, obj.program("step_one").fd(), update_flag::any, ec);
  BOOST_TEST(run("dispatch", 0, 5) == 1005U);
  BOOST_TEST(steps.lookup(0).value() == obj.program("step_one").info().id);
  BOOST_TEST(steps.lookup(1, ec).value() == obj.program("step_two").info().id);
  BOOST_TEST(steps.lookup(1, ec, details).value() == obj.program("step_two").info().id);
  BOOST_TEST(steps.erase(0));
  BOOST_TEST(steps.erase(1, ec));
  BOOST_TEST(steps.erase(2, ec, details));
  BOOST_TEST(!ec);
  for (std::uint32_t i : {0U, 1U, 2U}) BOOST_TEST(run("dispatch", i, 5) == nothing);
  done([&](auto&... e) { BOOST_TEST(!steps.erase(1, e...)); });
  done([&](auto&... e) { BOOST_TEST(!steps.lookup(1, e...).has_value()); });
}

BOOST_AUTO_TEST_CASE(refuse_programs_of_another_type) {
  auto const other = obj.program("on_packet");
  auto const type = refused(kernel_error(EINVAL), [&](auto&... e) { steps.update(0, other, update_flag::any, e...); });
  BOOST_TEST(contains(type.message, "'steps'"), type.message);
  BOOST_TEST(contains(type.hint, "a program like those that use the map"), type.hint);
  refused(kernel_error(E2BIG), [&](auto&... e) { steps.update(3, obj.program("step_one"), update_flag::any, e...); });
}

BOOST_AUTO_TEST_CASE(refuse_what_is_closed) {
  auto const check = [](tinybpf::diagnostics const& d, char const* name) {
    BOOST_TEST(contains(d.message, "what is to be stored is closed"), d.message);
    BOOST_TEST(d.map == name);
  };
  auto const closed = make_error_code(errc::closed);
  tinybpf::program const no_program;
  map const no_map;
  asio::io_context io;
  tcp::socket no_socket{io};
  check(refused(closed, [&](auto&... e) { steps.update(0, no_program, update_flag::any, e...); }), "steps");
  check(refused(closed, [&](auto&... e) { shelves.update(0, no_map, update_flag::any, e...); }), "shelves");
  check(refused(closed, [&](auto&... e) { sockets.update(0, no_socket, update_flag::any, e...); }), "sockets");
  check(refused(closed, [&](auto&... e) { sockets.update(0, -1, update_flag::any, e...); }), "sockets");
  auto other = tinybpf::load(KINDS_BPF_O);
  auto const step = other.program("step_one");
  auto const total = other.map("totals");
  other.close();
  check(refused(closed, [&](auto&... e) { steps.update(0, step, update_flag::any, e...); }), "steps");
  check(refused(closed, [&](auto&... e) { shelves.update(0, total, update_flag::any, e...); }), "shelves");
  descriptor const file{open("/dev/null", O_RDONLY | O_CLOEXEC), "open"};
  refused(kernel_error(EINVAL), [&](auto&... e) { steps.update(0, int{file}, update_flag::any, e...); });
  int const no_fd = dup(int{file});
  close(no_fd);
  refused(kernel_error(EBADF), [&](auto&... e) { steps.update(0, no_fd, update_flag::any, e...); });
}

BOOST_AUTO_TEST_CASE(keep_what_is_closed_afterwards) {
  shelves.update(0, shelf(42));
  BOOST_TEST(run("first_of_shelf", 0) == 42U);
  {
    auto other = tinybpf::load(KINDS_BPF_O);
    steps.update(0, other.program("step_two"));
    other.close();
  }
  BOOST_TEST(run("dispatch", 0, 1) == 2001U);
}

BOOST_AUTO_TEST_CASE(of_maps) {
  BOOST_TEST(run("first_of_shelf", 0) == nothing);
  auto const low = shelf(11);
  auto const high = shelf(22);
  done([&](auto&... e) { shelves.update(0, low, update_flag::any, e...); });
  shelves.update(1, high.fd());
  BOOST_TEST(run("first_of_shelf", 0) == 11U);
  BOOST_TEST(run("first_of_shelf", 1) == 22U);
  shelves.update(1, low);
  BOOST_TEST(run("first_of_shelf", 1) == 11U);
  BOOST_TEST(shelves.lookup(0).value() == low.info().id);
  done([&](auto&... e) { BOOST_TEST(!shelves.lookup(2, e...).has_value()); });
  BOOST_TEST(shelves.erase(0));
  done([&](auto&... e) { BOOST_TEST(!shelves.lookup(0, e...).has_value()); });
  BOOST_TEST(run("first_of_shelf", 0) == nothing);
}

BOOST_AUTO_TEST_CASE(of_maps_by_any_key) {
  constexpr std::uint64_t key = 0x123456789abcdef0;
  auto const update = [&](update_flag flag, map const& m) {
    return [&, flag](auto&... e) { shelves_by_id.update(key, m, flag, e...); };
  };
  auto const low = shelf(11);
  auto const high = shelf(22);
  refused(kernel_error(ENOENT), update(update_flag::exist, low));
  shelves_by_id.update(key, low, update_flag::no_exist);
  refused(kernel_error(EEXIST), update(update_flag::no_exist, high));
  BOOST_TEST(run("first_of_shelf_by_id", key) == 11U);
  done(update(update_flag::exist, high));
  BOOST_TEST(run("first_of_shelf_by_id", key) == 22U);
  BOOST_TEST(shelves_by_id.lookup(key).value() == high.info().id);
  BOOST_TEST(!shelves_by_id.lookup(key + 1).has_value());
  shelves_by_id.update(1, low.fd());
  refused(kernel_error(E2BIG), [&](auto&... e) { shelves_by_id.update(2, low.fd(), update_flag::any, e...); });
  BOOST_TEST(shelves_by_id.erase(key));
  done([&](auto&... e) { BOOST_TEST(!shelves_by_id.erase(key, e...)); });
  BOOST_TEST(run("first_of_shelf_by_id", key) == nothing);
}

BOOST_AUTO_TEST_CASE(give_the_map_that_is_stored) {
  shelves.update(0, shelf(11));
  auto const check = [&](map const& found) {
    BOOST_TEST(found.is_open());
    BOOST_TEST(found.name() == "shelf");
    BOOST_TEST(found.value_size() == 8U);
    std::uint64_t value = 0;
    BOOST_TEST(found.lookup(test::bytes_of(std::uint32_t{0}), test::writable_bytes_of(value)));
    BOOST_TEST(value == 11U);
  };
  check(shelves.lookup_map(0));
  check(shelves.lookup_map(0, ec));
  check(shelves.lookup_map(0, ec, details));
  BOOST_TEST(!ec);
  done([&](auto&... e) { BOOST_TEST(!shelves.lookup_map(1, e...).is_open()); });
  auto const own = shelves.lookup_map(0);
  shelves.erase(0);
  obj.close();
  check(own);
}

// Their numbers are no maps'.
BOOST_AUTO_TEST_CASE(of_other_things_give_no_maps) {
  steps.update(0, obj.program("step_one"));
  for (std::uint32_t i : {0U, 1U}) {
    auto const kind =
        refused(make_error_code(errc::wrong_map_type), [&](auto&... e) { return steps.lookup_map(i, e...); });
    BOOST_TEST(contains(kind.message, "'steps', which is of type prog_array"), kind.message);
    BOOST_TEST(kind.map == "steps");
  }
}

BOOST_AUTO_TEST_CASE(refuse_maps_of_another_shape) {
  auto const other = map::create(map_type::array, "other", 4, 4, 2);
  auto const shape =
      refused(kernel_error(EINVAL), [&](auto&... e) { shelves.update(0, other, update_flag::any, e...); });
  BOOST_TEST(contains(shape.hint, "a map like the one that 'shelves' was declared with"), shape.hint);
  auto const by_key =
      refused(kernel_error(EINVAL), [&](auto&... e) { shelves_by_id.update(0, other, update_flag::any, e...); });
  BOOST_TEST(contains(by_key.hint, "a map like the one that 'shelves_by_id' was declared with"), by_key.hint);
}

BOOST_AUTO_TEST_CASE(of_sockets_of_asio) {
  connected_pair pair;
  done([&](auto&... e) { sockets.update(0, pair.here, update_flag::any, e...); });
  sockets.update(1, pair.there);
  BOOST_TEST(sockets.lookup(0).value() == cookie_of(pair.here));
  BOOST_TEST(sockets.lookup(1).value() == cookie_of(pair.there));
  refused(kernel_error(EEXIST), [&](auto&... e) { sockets.update(0, pair.there, update_flag::no_exist, e...); });
  sockets.update(1, pair.here, update_flag::exist);
  BOOST_TEST(sockets.lookup(1).value() == cookie_of(pair.here));
  BOOST_TEST(sockets.erase(1));
  BOOST_TEST(!sockets.lookup(1).has_value());
  pair.here.close();  // a socket that ends leaves the map
  BOOST_TEST(!sockets.lookup(0).has_value());
}

// A cookie may have 64 bits, though the kernel begins with small ones.
BOOST_AUTO_TEST_CASE(give_all_bits_of_a_number) {
  constexpr std::uint32_t key = 3;
  constexpr std::uint64_t cookie = 0xfedcba9876543210;
  obj.map("totals").update(test::bytes_of(key), test::bytes_of(cookie));
  BOOST_TEST(tinybpf::detail::lookup_descriptor(obj.map("totals"), test::bytes_of(key), ec, details).value() == cookie);
}

BOOST_AUTO_TEST_CASE(of_sockets_with_small_values_cannot_be_read) {
  connected_pair pair;
  for (auto const type : {map_type::sockmap, map_type::sockhash}) {
    for (std::uint32_t const size : {4U, 8U}) {
      slots const view{map::create(type, "view", 4, size, 2)};
      view.update(1, pair.here);
      if (size == 8)
        BOOST_TEST(view.lookup(1).value() == cookie_of(pair.here));
      else
        refused(kernel_error(ENOSPC), [&](auto&... e) { return view.lookup(1, e...); });
      BOOST_TEST(view.erase(1));
    }
  }
}

BOOST_AUTO_TEST_CASE(of_sockets_that_share_a_port) {
  asio::io_context io;
  tcp::acceptor acceptor{io, tcp::v4()};
  acceptor.set_option(asio::detail::socket_option::boolean<SOL_SOCKET, SO_REUSEPORT>{true});
  acceptor.bind({asio::ip::address_v4::loopback(), 0});
  acceptor.listen();
  slots const view{map::create(map_type::reuseport_sockarray, "view", 4, 8, 2)};
  view.update(0, acceptor);
  BOOST_TEST(view.lookup(0).value() == cookie_of(acceptor));
  BOOST_TEST(view.erase(0));
  BOOST_TEST(!view.lookup(0).has_value());
}

BOOST_AUTO_TEST_CASE(of_control_groups) {
  slots const groups{obj.map("groups")};
  test::own_cgroup const other;
  {
    descriptor const all{open(test::cgroup2_mount().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), "open"};
    done([&](auto&... e) { groups.update(0, int{all}, update_flag::any, e...); });
    groups.update(1, int{other.fd()});
  }
  BOOST_TEST(run("in_group", 0) == 1U);
  BOOST_TEST(run("in_group", 1) == 0U);
  refused(kernel_error(EOPNOTSUPP), [&](auto&... e) { return groups.lookup(0, e...); });
  BOOST_TEST(groups.erase(1));
  BOOST_TEST(!groups.erase(1));
  BOOST_TEST(static_cast<std::int32_t>(run("in_group", 1)) == -EAGAIN);
  descriptor const file{open("/dev/null", O_RDONLY | O_CLOEXEC), "open"};
  refused(kernel_error(EBADF), [&](auto&... e) { groups.update(0, int{file}, update_flag::any, e...); });
}

BOOST_AUTO_TEST_CASE(of_perf_events) {
  slots const clocks{obj.map("clocks")};
  perf_event_attr attr{};
  attr.size = sizeof attr;
  attr.type = PERF_TYPE_SOFTWARE;
  attr.config = PERF_COUNT_SW_CPU_CLOCK;
  descriptor const event{static_cast<int>(syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC)),
                         "perf_event_open"};
  done([&](auto&... e) { clocks.update(1, int{event}, update_flag::any, e...); });
  refused(kernel_error(EOPNOTSUPP), [&](auto&... e) { return clocks.lookup(1, e...); });
  BOOST_TEST(clocks.erase(1));
  BOOST_TEST(!clocks.erase(1));
}

BOOST_AUTO_TEST_CASE(are_made_of_maps_that_fit) {
  for (auto const* name : {"steps", "shelves", "sockets", "groups", "clocks"}) view_made<slots>(obj.map(name));
  view_made<fd_map<std::uint64_t>>(obj.map("shelves_by_id"));
  view_made<slots>(map::create(map_type::xskmap, "xsk", 4, 4, 2));
  BOOST_TEST(steps.untyped().name() == "steps");
  slots const named{obj.map("steps"), field_names::ignore, ec, details};
  BOOST_TEST(!ec);
  BOOST_TEST(named.untyped().is_open());
  auto const kind = view_refused<slots>(make_error_code(errc::wrong_map_type), obj.map("totals"));
  BOOST_TEST(contains(kind.message, "'totals', which is of type array"), kind.message);
  BOOST_TEST(contains(kind.hint, "prog_array or perf_event_array"), kind.hint);
  auto const size = view_refused<slots>(make_error_code(errc::size_mismatch), obj.map("shelves_by_id"));
  BOOST_TEST(size.expected_size == 8U);
  BOOST_TEST(size.actual_size == 4U);
  view_refused<fd_map<std::int64_t>>(make_error_code(errc::type_mismatch), obj.map("shelves_by_id"));
}

BOOST_AUTO_TEST_CASE(tell_what_is_not_loaded_from_what_is_closed) {
  auto other = tinybpf::object::open(KINDS_BPF_O);
  auto const step = other.program("step_one");
  auto const jobs = other.map("jobs");
  refused(make_error_code(errc::not_loaded), [&](auto&... e) { steps.update(0, step, update_flag::any, e...); });
  refused(make_error_code(errc::not_loaded), [&](auto&... e) { shelves.update(0, jobs, update_flag::any, e...); });
  other.close();
  refused(make_error_code(errc::closed), [&](auto&... e) { steps.update(0, step, update_flag::any, e...); });
  refused(make_error_code(errc::closed), [&](auto&... e) { shelves.update(0, jobs, update_flag::any, e...); });
}

BOOST_AUTO_TEST_CASE(that_are_closed_say_so) {
  auto const inner = shelf(1);
  auto const step = obj.program("step_one");
  connected_pair pair;
  test::without_a_map<slots>("shelves", [&](slots const& m, error_code expected) {
    refused(expected, [&](auto&... e) { m.update(0, inner, update_flag::any, e...); });
    refused(expected, [&](auto&... e) { m.update(0, inner.fd(), update_flag::any, e...); });
    refused(expected, [&](auto&... e) { m.update(0, step, update_flag::any, e...); });
    refused(expected, [&](auto&... e) { m.update(0, pair.here, update_flag::any, e...); });
    refused(expected, [&](auto&... e) { return m.erase(0, e...); });
    refused(expected, [&](auto&... e) { return m.lookup(0, e...); });
    refused(expected, [&](auto&... e) { return m.lookup_map(0, e...); });
  });
}

BOOST_AUTO_TEST_SUITE_END()
