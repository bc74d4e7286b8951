// XDP programs on interfaces of a network namespace that each case makes for itself.
#include "features.hpp"
#include "own_network.hpp"
#include "support.hpp"

#include <tinybpf/async.hpp>
#include <tinybpf/link.hpp>
#include <tinybpf/object.hpp>

#include <boost/test/unit_test.hpp>

#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <netinet/in.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace asio = boost::asio;
using test::checked;
using test::contains;
using test::frame;
using test::frame_of;
using test::index_of;
using test::own_network;
using test::protocol;
using test::shell;
using test::wire;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::link_kind;

namespace {

struct network {
  own_network in_it;
  int const receiver = index_of("receiver");
  tinybpf::object obj = tinybpf::load(XDP_COUNTER_BPF_O);
  tinybpf::program count = obj.program("count");

  void pass(frame const& f, int times = 1) const { pass(f, times, index_of("sender"), receiver); }

  // Whatever runs on the receiver has run when this returns.
  static void pass(frame const& f, int times, int from, int to) {
    wire const sends{from};
    wire const receives{to};
    for (int i = 0; i < times; ++i) {
      sends.send(f);
      receives.await(f);
    }
  }

  // Packets and bytes, of all CPUs.
  std::array<std::uint64_t, 2> counted() const {
    auto const raw = obj.map("counters").lookup(test::bytes_of(protocol)).value();
    std::vector<std::array<std::uint64_t, 2>> values(raw.size() / 16);
    std::memcpy(values.data(), raw.data(), raw.size());
    std::array<std::uint64_t, 2> sum{};
    for (auto const& v : values) sum = {sum[0] + v[0], sum[1] + v[1]};
    return sum;
  }
  void check_counted(std::uint64_t packets, std::uint64_t bytes) const {
    BOOST_TEST(counted()[0] == packets);
    BOOST_TEST(counted()[1] == bytes);
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(xdp)

BOOST_FIXTURE_TEST_CASE(sees_what_the_interface_receives, network) {
  auto const link = count.attach_xdp(receiver);
  BOOST_TEST(link.attached());
  BOOST_TEST((link.kind() == link_kind::xdp));
  BOOST_TEST(link.size() == 1);
  bpf_link_info info{};
  std::uint32_t size = sizeof info;
  BOOST_REQUIRE(bpf_obj_get_info_by_fd(link.fd(), &info, &size) == 0);
  BOOST_TEST(info.type == BPF_LINK_TYPE_XDP);
  BOOST_TEST(info.prog_id == count.info().id);
  BOOST_TEST(info.xdp.ifindex == static_cast<std::uint32_t>(receiver));

  check_counted(0, 0);
  pass(frame_of(ETH_P_IP, 60), 5);
  check_counted(5, 300);
  pass(frame_of(ETH_P_IP, 1000), 2);
  check_counted(7, 2300);
  pass(frame_of(ETH_P_IPV6, 100));
  check_counted(8, 2400);
  auto with_options = frame_of(ETH_P_IPV6, 100);
  with_options[ETH_HLEN + 6] = IPPROTO_HOPOPTS;
  with_options[ETH_HLEN + 40] = protocol;
  pass(with_options);
  check_counted(9, 2500);
}

BOOST_FIXTURE_TEST_CASE(passes_what_has_no_whole_ip_header, network) {
  auto const link = count.attach_xdp(receiver);
  pass(frame_of(ETH_P_IP, ETH_HLEN + 19));
  pass(frame_of(ETH_P_IPV6, ETH_HLEN + 39));
  pass(frame_of(0x88b5, 60));  // no IP
  check_counted(0, 0);
  pass(frame_of(ETH_P_IP, ETH_HLEN + 20));
  pass(frame_of(ETH_P_IPV6, ETH_HLEN + 40));
  check_counted(2, 2 * ETH_HLEN + 60);
}

BOOST_FIXTURE_TEST_CASE(ends_with_its_link, network) {
  auto const f = frame_of(ETH_P_IP, 60);
  {
    auto const link = count.attach_xdp(receiver);
    pass(f);
    check_counted(1, 60);
  }
  pass(f, 3);
  check_counted(1, 60);
  auto again = count.attach_xdp(receiver);
  pass(f);
  check_counted(2, 120);
  again.detach();
  pass(f, 3);
  check_counted(2, 120);
}

BOOST_FIXTURE_TEST_CASE(outlives_its_object, network) {
  auto link = count.attach_xdp(receiver);
  int const map = checked(fcntl(obj.map("counters").fd(), F_DUPFD_CLOEXEC, 3), "dup");
  obj = {};
  pass(frame_of(ETH_P_IP, 60), 2);
  link.detach();
  pass(frame_of(ETH_P_IP, 60));
  std::vector<std::array<std::uint64_t, 2>> values(static_cast<std::size_t>(libbpf_num_possible_cpus()));
  BOOST_TEST(bpf_map_lookup_elem(map, &protocol, values.data()) == 0);
  close(map);
  std::uint64_t packets = 0;
  for (auto const& v : values) packets += v[0];
  BOOST_TEST(packets == 2);
}

// veth can, and loopback cannot run it in the driver.
BOOST_FIXTURE_TEST_CASE(runs_in_the_driver_or_generically, network,
                        *test::shows("XDP native") * test::shows("XDP on lo")) {
  auto const mode_of = [](int ifindex) {
    bpf_xdp_query_opts found{};
    found.sz = sizeof found;
    BOOST_TEST(bpf_xdp_query(ifindex, 0, &found) == 0);
    return static_cast<unsigned>(found.attach_mode);
  };
  auto const lo = index_of("lo");
  auto const in_driver = count.attach_xdp(receiver);
  auto const generic = count.attach_xdp(lo);
  BOOST_TEST(mode_of(receiver) == static_cast<unsigned>(XDP_ATTACHED_DRV));
  BOOST_TEST(mode_of(lo) == static_cast<unsigned>(XDP_ATTACHED_SKB));
  pass(frame_of(ETH_P_IP, 60), 2, lo, lo);
  check_counted(2, 120);
}

BOOST_FIXTURE_TEST_CASE(is_over_when_the_interface_is_deleted, network) {
  auto link = count.attach_xdp(receiver);
  shell("ip link delete receiver");
  BOOST_TEST(link.attached());
  error_code ec;
  diagnostics details;
  BOOST_TEST(!count.attach_xdp(receiver, ec, details).attached());
  BOOST_TEST(ec == test::kernel_error(ENODEV));
  link.detach(ec, details);
  BOOST_TEST(!ec, details.to_string());
  BOOST_TEST(!link.attached());
}

BOOST_FIXTURE_TEST_CASE(needs_an_interface, network) {
  for (int const missing : {0, -1, 4711, std::numeric_limits<int>::max(), std::numeric_limits<int>::min()}) {
    error_code ec;
    diagnostics details;
    BOOST_TEST(!count.attach_xdp(missing, ec, details).attached());
    BOOST_TEST(ec == test::kernel_error(ENODEV));
    BOOST_TEST(details.program == "count");
    BOOST_TEST(contains(details.message, "'count'"), details.message);
    BOOST_TEST(contains(details.message, XDP_COUNTER_BPF_O), details.message);
    BOOST_TEST(details.message.ends_with("to interface " + std::to_string(missing)), details.message);
    BOOST_TEST(contains(details.hint, "no such interface"), details.hint);
    BOOST_TEST(count.attach_xdp(missing, ec).size() == 0);
    BOOST_TEST(ec == test::kernel_error(ENODEV));
    BOOST_CHECK_EXCEPTION(static_cast<void>(count.attach_xdp(missing)), tinybpf::error,
                          [](auto const& e) { return e.code() == test::kernel_error(ENODEV); });
  }
}

BOOST_FIXTURE_TEST_CASE(finds_the_interface_in_the_namespace_of_the_thread, network) {
  own_network const inner;
  shell("ip link delete receiver");
  BOOST_CHECK_EXCEPTION(static_cast<void>(count.attach_xdp(receiver)), tinybpf::error,
                        [](auto const& e) { return e.code() == test::kernel_error(ENODEV); });
}

BOOST_FIXTURE_TEST_CASE(has_the_interface_to_itself, network) {
  auto const other_object = tinybpf::load(XDP_COUNTER_BPF_O);
  auto const other = other_object.program("count");
  auto link = count.attach_xdp(receiver);
  for (auto const& p : {count, other}) {
    error_code ec;
    diagnostics details;
    BOOST_TEST(!p.attach_xdp(receiver, ec, details).attached());
    BOOST_TEST(ec == test::kernel_error(EBUSY));
    BOOST_TEST(details.message.ends_with("to interface " + std::to_string(receiver) + " (receiver)"), details.message);
    BOOST_TEST(contains(details.hint, "has an XDP program already"), details.hint);
  }
  pass(frame_of(ETH_P_IP, 60));
  check_counted(1, 60);

  // Nor is it shared with what is attached in another way.
  auto const sender = index_of("sender");
  BOOST_REQUIRE(bpf_xdp_attach(sender, count.fd(), XDP_FLAGS_SKB_MODE, nullptr) == 0);
  error_code ec;
  diagnostics details;
  BOOST_TEST(!other.attach_xdp(sender, ec, details).attached());
  BOOST_TEST(ec == test::kernel_error(EEXIST));
  BOOST_TEST(contains(details.hint, "has an XDP program already"), details.hint);

  link.detach();
  auto const now_free = other.attach_xdp(receiver);
  pass(frame_of(ETH_P_IP, 60));
  check_counted(1, 60);
}

BOOST_FIXTURE_TEST_CASE(is_refused_by_the_driver, network) {
  shell("ip link set sender mtu 9000");
  error_code ec;
  diagnostics details;
  BOOST_TEST(!count.attach_xdp(receiver, ec, details).attached());
  BOOST_TEST(ec == test::kernel_error(ERANGE));
  BOOST_TEST(contains(details.message, "(receiver)"), details.message);
}

BOOST_FIXTURE_TEST_CASE(is_a_type_of_its_own, network) {
  auto const calls = tinybpf::load(CALLS_BPF_O);
  for (auto const& [name, type] :
       {std::pair{"on_packet", "socket_filter"}, {"on_getpgid", "tracepoint"}, {"on_btf_enter", "tracing"}})
    for (int const ifindex : {receiver, 0}) {
      error_code ec;
      diagnostics details;
      BOOST_TEST(!calls.program(name).attach_xdp(ifindex, ec, details).attached());
      BOOST_TEST(ec == make_error_code(errc::wrong_program_type));
      BOOST_TEST(contains(details.message, std::string{"'"} + name + "'"), details.message);
      BOOST_TEST(contains(details.message, std::string{"it is of type "} + type), details.message);
      BOOST_TEST(details.message.ends_with("takes one of type xdp"), details.message);
    }
}

BOOST_FIXTURE_TEST_CASE(is_not_attached_by_its_section, network) {
  error_code ec;
  diagnostics details;
  BOOST_TEST(!count.attach(ec, details).attached());
  BOOST_TEST(ec == make_error_code(errc::not_supported));
  BOOST_TEST(contains(details.hint, "attach_xdp()"), details.hint);
}

BOOST_FIXTURE_TEST_CASE(is_attached_off_the_loop, network) {
  asio::io_context io;
  test::run(io, [](network const& n, auto ex) -> asio::awaitable<void> {
    auto link = co_await tinybpf::async_attach(ex, n.count, tinybpf::xdp_target{n.receiver});
    BOOST_TEST((link.kind() == link_kind::xdp));
    n.pass(frame_of(ETH_P_IP, 60));
    n.check_counted(1, 60);
    co_await tinybpf::async_detach(ex, std::move(link));
    n.pass(frame_of(ETH_P_IP, 60));
    n.check_counted(1, 60);
  }(*this, io.get_executor()));
  BOOST_CHECK_EXCEPTION(
      static_cast<void>(test::run(io, tinybpf::async_attach(io.get_executor(), count, tinybpf::xdp_target{0}))),
      tinybpf::error,
      [](auto const& e) { return e.code() == test::kernel_error(ENODEV) && contains(e.what(), "interface 0"); });

  tinybpf::link link;
  diagnostics details;
  tinybpf::async_attach(io.get_executor(), count, tinybpf::xdp_target{receiver}, [&](error_code ec, tinybpf::link l) {
    BOOST_TEST(!ec);
    link = std::move(l);
    tinybpf::async_attach(io.get_executor(), count, tinybpf::xdp_target{receiver}, details,
                          [](error_code again, tinybpf::link none) {
                            BOOST_TEST(again == test::kernel_error(EBUSY));
                            BOOST_TEST(!none.attached());
                          });
  });
  io.restart();
  io.run();
  BOOST_TEST(link.attached());
  BOOST_TEST(contains(details.message, "(receiver)"), details.message);
}

BOOST_AUTO_TEST_SUITE_END()
