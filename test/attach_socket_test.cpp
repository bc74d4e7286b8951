// Programs on sockets, and on what groups them: control groups, network namespaces, maps of sockets.
#include "attach_features.hpp"
#include "features.hpp"
#include "few_descriptors.hpp"
#include "own_cgroup.hpp"
#include "own_network.hpp"
#include "privileges.hpp"
#include "scratch_folder.hpp"
#include "support.hpp"

#include <tinybpf/async.hpp>
#include <tinybpf/global_variable.hpp>
#include <tinybpf/link.hpp>
#include <tinybpf/object.hpp>

#include <boost/asio/generic/datagram_protocol.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/local/connect_pair.hpp>
#include <boost/asio/local/datagram_protocol.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <boost/test/unit_test.hpp>

#include <bpf/bpf.h>
#include <sys/stat.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace asio = boost::asio;
using asio::ip::tcp;
using asio::ip::udp;
using test::attaches;
using test::checked;
using test::contains;
using test::feature_here;
using test::own_cgroup;
using test::own_network;
using test::shows;
using tinybpf::attach_type;
using tinybpf::cgroup_mode;
using tinybpf::cgroup_options;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::link_kind;
using tinybpf::socket_options;
using tinybpf::socket_role;
using tinybpf::sockmap_options;

namespace {

// What there is for IPv4 and for IPv6 counts in one place.
enum slot : std::uint32_t {
  ingress,
  egress,
  either,
  sock_create,
  sock_release,
  connect_slot,
  bind_slot,
  post_bind_slot,
  sendmsg_slot,
  recvmsg_slot,
  getpeername_slot,
  getsockname_slot,
  getsockopt_slot,
  setsockopt_slot,
  sysctl,
  device,
  sockops,
  lookup,
  dissector,
  msg,
  skb,
  filter,
  chooser
};

// A version of the protocol, and the end of the names of its programs.
struct family {
  asio::ip::address home;
  char digit;
};
family const v4{asio::ip::address_v4::loopback(), '4'};
family const v6{asio::ip::address_v6::loopback(), '6'};

struct sockets {
  own_network in_it;
  test::on_one_cpu cpu;
  tinybpf::object obj = tinybpf::load(SOCKETS_BPF_O);
  asio::io_context io;

  tinybpf::program program(std::string const& name) const { return obj.program(name); }
  void set(char const* variable, std::uint32_t value) const { obj.global<std::uint32_t>(variable).store(value); }
  std::uint64_t seen(slot s) const {
    std::uint64_t value = 0;
    obj.map("hits").lookup(test::bytes_of(std::uint32_t{s}), test::writable_bytes_of(value));
    return value;
  }
};

struct in_group : sockets {
  own_cgroup group;

  tinybpf::link attach(std::string const& name) const { return program(name).attach_cgroup(group.path()); }
  tinybpf::link attach(std::string const& name, family const& f) const { return attach(name + f.digit); }

  // What the programs for each version of the protocol do.
  void turn_connections_around(family const& f);
  void refuse_addresses(family const& f);
  void turn_datagrams_around(family const& f);
  void tell_other_names(family const& f);
};

template <class Socket>
Socket bound(asio::io_context& io, family const& f = v4) {
  return Socket{io, {f.home, 0}};
}

std::string text_of(error_code const& ec) { return ec ? ec.message() : "done"; }

// What comes in, or why nothing did. Loopback delivers before send() returns.
std::string received(udp::socket& s) {
  std::string text(100, '\0');
  error_code ec;
  s.non_blocking(true);
  auto const n = s.receive(asio::buffer(text), 0, ec);
  return ec ? ec.message() : text.substr(0, n);
}

std::string sent_to(udp::socket& s, unsigned short port) {
  error_code ec;
  s.send_to(asio::buffer("hello", 5), udp::endpoint{s.local_endpoint().address(), port}, 0, ec);
  return text_of(ec);
}
std::string sent_to(udp::socket& s, udp::socket const& to) { return sent_to(s, to.local_endpoint().port()); }

std::string connected(tcp::socket& s, unsigned short port, family const& f = v4) {
  error_code ec;
  s.connect({f.home, port}, ec);
  return text_of(ec);
}

auto const refused = test::kernel_error(EPERM).message();
auto const nothing = test::kernel_error(EAGAIN).message();

// From one socket to another in the group; what came in.
std::string send_one(std::string& how) {
  asio::io_context io;
  auto from = bound<udp::socket>(io);
  auto to = bound<udp::socket>(io);
  how = sent_to(from, to);
  return received(to);
}
std::string send_one() {
  std::string how;
  auto const what = send_one(how);
  return how + ", " + what;
}

template <class F>
void check_fails(F f, error_code const& wanted, std::string_view message, std::string_view hint) {
  error_code ec;
  diagnostics details;
  tinybpf::link const none = f(ec, details);
  BOOST_TEST(!none.attached());
  BOOST_TEST(ec == wanted, ec.message() << " " << details.to_string());
  BOOST_TEST(contains(details.message, message), details.message);
  BOOST_TEST(contains(details.hint, hint), details.hint);
}

void in_group::turn_connections_around(family const& f) {
  tcp::acceptor const server{io, {f.home, 0}};
  set("port", server.local_endpoint().port());
  auto const connect = [&] {
    asio::io_context io_;
    tcp::socket s{io_};
    return connected(s, 7007, f);
  };
  {
    auto const link = attach("on_connect", f);
    BOOST_TEST(group.run(connect) == "done");
    BOOST_TEST(seen(connect_slot) == 1);
  }
  BOOST_TEST(group.run(connect) == test::kernel_error(ECONNREFUSED).message());
}

void in_group::refuse_addresses(family const& f) {
  auto const bind = [&] {
    asio::io_context io_;
    udp::endpoint const where{f.home, 7007};
    udp::socket s{io_, where.protocol()};
    error_code ec;
    s.bind(where, ec);
    return text_of(ec);
  };
  {
    auto const link = attach("on_bind", f);
    auto const after = attach("on_post_bind", f);
    BOOST_TEST(group.run(bind) == refused);
    BOOST_TEST(seen(bind_slot) == 1);
    BOOST_TEST(seen(post_bind_slot) == 0);
  }
  auto const after = attach("on_post_bind", f);
  BOOST_TEST(group.run(bind) == "done");
  set("refuse", 1);
  BOOST_TEST(group.run(bind) == refused);
  BOOST_TEST(seen(post_bind_slot) == 2);
}

void in_group::turn_datagrams_around(family const& f) {
  auto server = bound<udp::socket>(io, f);
  set("port", server.local_endpoint().port());
  auto const sending = attach("on_sendmsg", f);
  auto const receiving = attach("on_recvmsg", f);
  auto const answer = group.run([&] {
    asio::io_context io_;
    auto s = bound<udp::socket>(io_, f);
    auto how = sent_to(s, 7007);
    std::array<char, 10> text{};
    udp::endpoint from;
    server.receive_from(asio::buffer(text), from);
    server.send_to(asio::buffer("answer", 6), from);
    s.receive_from(asio::buffer(text), from);
    return how + ", from " + std::to_string(from.port());
  });
  BOOST_TEST(answer == "done, from 7007");
  BOOST_TEST(seen(sendmsg_slot) == 1);
  BOOST_TEST(seen(recvmsg_slot) >= 1);
}

void in_group::tell_other_names(family const& f) {
  tcp::acceptor const server{io, {f.home, 0}};
  auto const peer = attach("on_getpeername", f);
  auto const own = attach("on_getsockname", f);
  auto const answer = group.run([&] {
    asio::io_context io_;
    tcp::socket s{io_};
    auto const how = connected(s, server.local_endpoint().port(), f);
    return how + " " + std::to_string(s.remote_endpoint().port()) + " " + std::to_string(s.local_endpoint().port());
  });
  BOOST_TEST(answer == "done 7007 7007");
  BOOST_TEST(seen(getpeername_slot) == 1);
  BOOST_TEST(seen(getsockname_slot) == 1);
}

using local_stream = asio::local::stream_protocol;
using local_datagram = asio::local::datagram_protocol;

// Names of no files, which end with the network namespace. cgroup_unix.bpf.c knows the first.
local_stream::endpoint const there{std::string{"\0tinybpf_there", 14}};
local_stream::endpoint const elsewhere{std::string{"\0tinybpf_elsewhere", 18}};

struct in_local_group {
  own_network in_it;
  own_cgroup group;
  tinybpf::object obj = tinybpf::load(CGROUP_UNIX_BPF_O);
  asio::io_context io;

  tinybpf::link attach(char const* name) const { return obj.program(name).attach_cgroup(group.path()); }
};

bool attaches_to_group(char const* file, char const* name) {
  own_cgroup const group;
  auto const fd = group.fd();
  return attaches(file, name, [&](bpf_program* p) { return bpf_program__attach_cgroup(p, fd); });
}
bool unix_here() { return attaches_to_group(CGROUP_UNIX_BPF_O, "on_connect"); }
bool lsm_here() { return attaches_to_group(CGROUP_LSM_BPF_O, "on_socket_bind"); }

bool ipv6_here() {
  asio::io_context io;
  error_code ec;
  udp::socket s{io};
  s.open(udp::v6(), ec);
  return !ec;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(attach_socket)

BOOST_AUTO_TEST_SUITE(cgroup)

BOOST_FIXTURE_TEST_CASE(sees_and_drops_ingress, in_group, *shows("cgroup/skb ingress")) {
  auto link = attach("on_ingress");
  BOOST_TEST((link.kind() == link_kind::cgroup));
  BOOST_TEST(link.fd() >= 0);
  BOOST_TEST(group.run([] { return send_one(); }) == "done, hello");
  BOOST_TEST(seen(ingress) == 1);
  set("refuse", 1);
  BOOST_TEST(group.run([] { return send_one(); }) == "done, " + nothing);
  BOOST_TEST(seen(ingress) == 2);
  link.detach();
  BOOST_TEST(group.run([] { return send_one(); }) == "done, hello");
  BOOST_TEST(seen(ingress) == 2);
}

BOOST_FIXTURE_TEST_CASE(sees_and_refuses_egress, in_group, *shows("cgroup/skb egress")) {
  auto const link = attach("on_egress");
  BOOST_TEST(group.run([] { return send_one(); }) == "done, hello");
  BOOST_TEST(seen(egress) == 1);
  set("refuse", 1);
  BOOST_TEST(group.run([] { return send_one(); }) == refused + ", " + nothing);
  BOOST_TEST(seen(egress) == 2);
  // Those outside the group may.
  BOOST_TEST(send_one() == "done, hello");
  BOOST_TEST(seen(egress) == 2);
}

BOOST_FIXTURE_TEST_CASE(takes_the_direction_from_the_options, in_group) {
  auto const p = program("on_either");
  check_fails([&](auto&... r) { return p.attach_cgroup(group.path(), r...); }, test::kernel_error(EINVAL),
              group.path().string(), "cgroup_options::type");
  {
    auto const both = std::pair{p.attach_cgroup(group.path(), cgroup_options{.type = attach_type::cgroup_inet_ingress}),
                                p.attach_cgroup(group.path(), cgroup_options{.type = attach_type::cgroup_inet_egress})};
    group.run([] { return send_one(); });
    BOOST_TEST(seen(either) == 2);
  }
  check_fails([&](auto&... r) { return p.attach_cgroup(group.path(), cgroup_options{.type = attach_type::xdp}, r...); },
              test::kernel_error(EINVAL), "as xdp", "not loaded for xdp");
  check_fails(
      [&](auto&... r) {
        return p.attach_cgroup(group.path(), cgroup_options{.type = attach_type::cgroup_inet_sock_create}, r...);
      },
      test::kernel_error(EINVAL), "as cgroup_inet_sock_create", "not loaded for cgroup_inet_sock_create");
}

BOOST_FIXTURE_TEST_CASE(refuses_sockets, in_group, *shows("cgroup/sock_create")) {
  auto const make = [] {
    asio::io_context io_;
    udp::socket s{io_};
    error_code ec;
    s.open(udp::v4(), ec);
    return text_of(ec);
  };
  {
    auto const link = attach("on_sock_create");
    auto const at_end = attach("on_sock_release");
    BOOST_TEST(group.run(make) == "done");
    BOOST_TEST(seen(sock_create) == 1);
    BOOST_TEST(seen(sock_release) == 1);
    set("refuse", 1);
    BOOST_TEST(group.run(make) == refused);
  }
  BOOST_TEST(group.run(make) == "done");
}

BOOST_FIXTURE_TEST_CASE(turns_connections_around, in_group, *shows("cgroup/connect4")) { turn_connections_around(v4); }
BOOST_FIXTURE_TEST_CASE(refuses_addresses, in_group, *shows("cgroup/bind4")) { refuse_addresses(v4); }
BOOST_FIXTURE_TEST_CASE(turns_datagrams_around, in_group) { turn_datagrams_around(v4); }
BOOST_FIXTURE_TEST_CASE(tells_other_names, in_group) { tell_other_names(v4); }

BOOST_AUTO_TEST_SUITE(of_ipv6, *feature_here("cgroup over IPv6", ipv6_here))

BOOST_FIXTURE_TEST_CASE(turns_connections_around, in_group) { turn_connections_around(v6); }
BOOST_FIXTURE_TEST_CASE(refuses_addresses, in_group) { refuse_addresses(v6); }
BOOST_FIXTURE_TEST_CASE(turns_datagrams_around, in_group) { turn_datagrams_around(v6); }
BOOST_FIXTURE_TEST_CASE(tells_other_names, in_group) { tell_other_names(v6); }

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_CASE(answers_for_the_kernel, in_group, *shows("cgroup/sockopt")) {
  constexpr int level = 0xdead;
  auto const ask = [] {
    asio::io_context io_;
    auto s = bound<udp::socket>(io_);
    unsigned char value = 5;
    socklen_t size = sizeof value;
    int const set = setsockopt(s.native_handle(), level, 1, &value, size);
    int const got = getsockopt(s.native_handle(), level, 1, &value, &size);
    return std::to_string(set) + " " + std::to_string(got) + " " + std::to_string(value);
  };
  {
    auto const setting = attach("on_setsockopt");
    auto const getting = attach("on_getsockopt");
    BOOST_TEST(group.run(ask) == "0 0 77");
    BOOST_TEST(seen(setsockopt_slot) == 1);
    BOOST_TEST(seen(getsockopt_slot) == 1);
  }
  BOOST_TEST(group.run(ask) == "-1 -1 5");
}

BOOST_FIXTURE_TEST_CASE(refuses_sysctls, in_group, *shows("cgroup/sysctl")) {
  auto const read = [] {
    int const fd = checked(open("/proc/sys/kernel/ostype", O_RDONLY | O_CLOEXEC), "open");
    char text[10];
    auto const n = ::read(fd, text, sizeof text);
    int const err = errno;
    close(fd);
    return n > 0 ? "done" : text_of(test::kernel_error(err));
  };
  auto const link = attach("on_sysctl");
  BOOST_TEST(group.run(read) == "done");
  BOOST_TEST(seen(sysctl) == 1);
  set("refuse", 1);
  BOOST_TEST(group.run(read) == refused);
}

BOOST_FIXTURE_TEST_CASE(refuses_devices, in_group, *shows("cgroup/device")) {
  auto const open_zero = [] {
    int const fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    auto const how = fd < 0 ? text_of(test::kernel_error(errno)) : "done";
    close(fd);
    return how;
  };
  {
    auto const link = attach("on_device");
    BOOST_TEST(group.run(open_zero) == refused);
    BOOST_TEST(seen(device) >= 1);
  }
  BOOST_TEST(group.run(open_zero) == "done");
}

BOOST_FIXTURE_TEST_CASE(follows_connections, in_group, *shows("cgroup/sockops")) {
  tcp::acceptor const server{io, {v4.home, 0}};
  auto const link = attach("on_sockops");
  BOOST_TEST(group.run([&] {
    asio::io_context io_;
    tcp::socket s{io_};
    return connected(s, server.local_endpoint().port());
  }) == "done");
  BOOST_TEST(seen(sockops) == 1);
}

BOOST_AUTO_TEST_SUITE(of_this_machine, *feature_here("cgroup/unix", unix_here))

BOOST_FIXTURE_TEST_CASE(turns_connections_around, in_local_group) {
  local_stream::acceptor const server{io, there};
  auto const connect = [] {
    asio::io_context io_;
    local_stream::socket s{io_};
    error_code ec;
    s.connect(elsewhere, ec);
    return text_of(ec);
  };
  {
    auto const link = attach("on_connect");
    BOOST_TEST((link.kind() == link_kind::cgroup));
    BOOST_TEST(group.run(connect) == "done");
  }
  BOOST_TEST(group.run(connect) == test::kernel_error(ECONNREFUSED).message());
}

BOOST_FIXTURE_TEST_CASE(turns_datagrams_around, in_local_group) {
  local_datagram::socket server{io, local_datagram::endpoint{there.path()}};
  auto const send = [] {
    asio::io_context io_;
    local_datagram::socket s{io_, local_datagram{}};
    error_code ec;
    s.send_to(asio::buffer("hello", 5), local_datagram::endpoint{elsewhere.path()}, 0, ec);
    return text_of(ec);
  };
  {
    auto const link = attach("on_sendmsg");
    BOOST_TEST(group.run(send) == "done");
    BOOST_TEST(server.available() == 5);
  }
  BOOST_TEST(group.run(send) == test::kernel_error(ECONNREFUSED).message());
}

BOOST_FIXTURE_TEST_CASE(tells_other_senders, in_local_group) {
  auto const receive = [] {
    asio::io_context io_;
    local_datagram::socket s{io_, local_datagram::endpoint{elsewhere.path()}};
    s.send_to(asio::buffer("hello", 5), s.local_endpoint());
    std::array<char, 10> text{};
    local_datagram::endpoint from;
    s.receive_from(asio::buffer(text), from);
    return from.path();
  };
  {
    auto const link = attach("on_recvmsg");
    BOOST_TEST(group.run(receive) == there.path());
  }
  BOOST_TEST(group.run(receive) == elsewhere.path());
}

BOOST_FIXTURE_TEST_CASE(tells_other_names, in_local_group) {
  local_stream::acceptor const server{io, elsewhere};
  auto const ask = [] {
    asio::io_context io_;
    local_stream::socket s{io_, local_stream{}};
    s.bind(local_stream::endpoint{""});  // the kernel finds a name
    s.connect(elsewhere);
    return (s.remote_endpoint() == there ? "there " : "elsewhere ") +
           std::string{s.local_endpoint() == there ? "there" : "elsewhere"};
  };
  BOOST_TEST(group.run(ask) == "elsewhere elsewhere");
  auto const peer = attach("on_getpeername");
  BOOST_TEST(group.run(ask) == "there elsewhere");
  auto const own = attach("on_getsockname");
  BOOST_TEST(group.run(ask) == "there there");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_CASE(refuses_as_a_security_module, own_cgroup, *feature_here("lsm_cgroup", lsm_here)) {
  auto const obj = tinybpf::load(CGROUP_LSM_BPF_O);
  auto const bind = [] {
    asio::io_context io;
    udp::socket s{io, udp::v4()};
    error_code ec;
    s.bind({v4.home, 0}, ec);
    return text_of(ec);
  };
  auto link = obj.program("on_socket_bind").attach_cgroup(path());
  BOOST_TEST((link.kind() == link_kind::cgroup));
  BOOST_TEST(run(bind) == refused);
  BOOST_TEST(obj.global<std::uint64_t>("seen").load() == 1);
  BOOST_TEST(bind() == "done");  // outside the group
  link.detach();
  BOOST_TEST(run(bind) == "done");
  check_fails(
      [&](auto&... r) {
        return obj.program("on_socket_bind")
            .attach_cgroup(path(), cgroup_options{.mode = cgroup_mode::allow_multi}, r...);
      },
      test::kernel_error(EINVAL), "cgroup", "cgroup_mode::link");
}

BOOST_FIXTURE_TEST_CASE(takes_a_descriptor, in_group) {
  int const fd = checked(open(group.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), "open");
  auto by_link = program("on_ingress").attach_cgroup(fd);
  auto by_hand = program("on_egress").attach_cgroup(fd, cgroup_options{.mode = cgroup_mode::allow_multi});
  close(fd);
  group.run([] { return send_one(); });
  BOOST_TEST(seen(ingress) == 1);
  BOOST_TEST(seen(egress) == 1);
  by_hand.detach();
  by_link.detach();
  group.run([] { return send_one(); });
  BOOST_TEST(seen(ingress) == 1);
  BOOST_TEST(seen(egress) == 1);
}

BOOST_FIXTURE_TEST_CASE(shares_the_group_as_its_mode_says, in_group) {
  auto const other_object = tinybpf::load(SOCKETS_BPF_O);
  auto const mine = program("on_ingress");
  auto const other = other_object.program("on_ingress");
  own_cgroup const below{group.path()};
  for (auto const mode : {cgroup_mode::exclusive, cgroup_mode::allow_override}) {
    cgroup_options const options{.mode = mode};
    auto const before = seen(ingress);
    auto link = mine.attach_cgroup(group.path(), options);
    BOOST_TEST((link.kind() == link_kind::cgroup));
    error_code ec;
    BOOST_TEST(link.fd(ec) == -1);
    BOOST_TEST(ec == make_error_code(errc::not_supported));
    BOOST_TEST(group.run([] { return send_one(); }) == "done, hello");
    BOOST_TEST(below.run([] { return send_one(); }) == "done, hello");
    BOOST_TEST(seen(ingress) == before + 2);
    check_fails([&](auto&... r) { return other.attach_cgroup(group.path(), options, r...); }, test::kernel_error(EBUSY),
                "cgroup", "program 'on_ingress' (id " + std::to_string(mine.info().id) + ")");
    check_fails([&](auto&... r) { return other.attach_cgroup(group.path(), r...); }, test::kernel_error(EPERM),
                "cgroup", "in another mode");
    if (mode == cgroup_mode::exclusive) {
      check_fails([&](auto&... r) { return other.attach_cgroup(below.path(), r...); }, test::kernel_error(EPERM),
                  "cgroup", "'" + group.path().string() + "' has program 'on_ingress'");
    } else {
      auto const in_its_place = other.attach_cgroup(below.path(), options);
      below.run([] { return send_one(); });
      BOOST_TEST(seen(ingress) == before + 2);
    }
    link.detach();
    group.run([] { return send_one(); });
    BOOST_TEST(seen(ingress) == before + 2);
  }
  auto const before = seen(ingress);
  cgroup_options const multi{.mode = cgroup_mode::allow_multi};
  auto link = mine.attach_cgroup(group.path(), multi);
  auto const beside = program("on_either")
                          .attach_cgroup(group.path(), cgroup_options{.mode = cgroup_mode::allow_multi,
                                                                      .type = attach_type::cgroup_inet_ingress});
  auto const and_below = other.attach_cgroup(below.path());
  below.run([] { return send_one(); });
  BOOST_TEST(seen(ingress) == before + 1);
  BOOST_TEST(seen(either) == 1);
  check_fails([&](auto&... r) { return mine.attach_cgroup(group.path(), multi, r...); }, test::kernel_error(EINVAL),
              "cgroup", "attached there already");
  link.detach();
  below.run([] { return send_one(); });
  BOOST_TEST(seen(ingress) == before + 1);
  BOOST_TEST(seen(either) == 2);
}

BOOST_FIXTURE_TEST_CASE(leaves_who_took_its_place, in_group) {
  int const fd = checked(open(group.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), "open");
  auto link = program("on_ingress").attach_cgroup(fd, cgroup_options{.mode = cgroup_mode::exclusive});
  auto const other = program("on_either").fd();
  BOOST_REQUIRE(bpf_prog_attach(other, fd, BPF_CGROUP_INET_INGRESS, 0) == 0);
  link.detach();
  group.run([] { return send_one(); });
  BOOST_TEST(seen(ingress) == 0);
  BOOST_TEST(seen(either) == 1);
  BOOST_TEST(bpf_prog_detach2(other, fd, BPF_CGROUP_INET_INGRESS) == 0);
  close(fd);
}

BOOST_FIXTURE_TEST_CASE(stays_when_nobody_may_look, in_group) {
  // The capabilities are gone, as after a daemon has dropped them.
  auto const detach = [](tinybpf::link& link) {
    return test::in_child([&] {
      test::become_nobody();
      error_code ec;
      diagnostics details;
      link.detach(ec, details);
      return (ec == test::kernel_error(EPERM) ? "EPERM: " : ec ? "?: " : "done: ") + details.to_string();
    });
  };
  for (auto const mode : {cgroup_mode::exclusive, cgroup_mode::allow_override}) {
    auto link = program("on_ingress").attach_cgroup(group.path(), cgroup_options{.mode = mode});
    auto const said = detach(link);
    BOOST_TEST(said.starts_with("EPERM: "), said);
    BOOST_TEST(contains(said, "CAP_NET_ADMIN"), said);
    auto const before = seen(ingress);
    group.run([] { return send_one(); });
    BOOST_TEST(seen(ingress) == before + 1);
  }
  // Here the kernel looks by itself.
  auto link = program("on_ingress").attach_cgroup(group.path(), cgroup_options{.mode = cgroup_mode::allow_multi});
  auto const said = detach(link);
  BOOST_TEST(said.starts_with("done: "), said);
  auto const before = seen(ingress);
  group.run([] { return send_one(); });
  BOOST_TEST(seen(ingress) == before);
  link.detach();
}

BOOST_FIXTURE_TEST_CASE(says_which_capability_is_missing, in_group) {
  auto const refused_with = [&](char const* name, cgroup_mode mode) {
    return test::in_child([&] {
      test::become_nobody({CAP_BPF});
      error_code ec;
      diagnostics details;
      static_cast<void>(program(name).attach_cgroup(group.path(), cgroup_options{.mode = mode}, ec, details));
      return (ec == test::kernel_error(EPERM) ? "EPERM: " : "?: ") + details.hint;
    });
  };
  BOOST_TEST(contains(refused_with("on_ingress", cgroup_mode::link), "EPERM: this needs CAP_NET_ADMIN, and"));
  BOOST_TEST(contains(refused_with("on_sock_create", cgroup_mode::exclusive), "EPERM: this needs CAP_NET_ADMIN, and"));
}

BOOST_FIXTURE_TEST_CASE(fails_without_a_descriptor, in_group) {
  tinybpf::link link;
  for (int more = 0; more < 20 && !link.attached(); ++more) {
    error_code ec;
    test::few_descriptors const limit{more};
    link = program("on_ingress").attach_cgroup(group.path(), cgroup_options{.mode = cgroup_mode::allow_multi}, ec);
    if (ec) BOOST_TEST(ec == test::kernel_error(EMFILE));
  }
  BOOST_TEST(link.attached());
}

BOOST_FIXTURE_TEST_CASE(is_over_when_the_group_is_removed, sockets) {
  tinybpf::link by_link;
  tinybpf::link by_hand;
  {
    own_cgroup const group;
    by_link = program("on_ingress").attach_cgroup(group.path());
    by_hand = program("on_egress").attach_cgroup(group.path(), cgroup_options{.mode = cgroup_mode::exclusive});
  }
  error_code ec;
  by_link.detach(ec);
  BOOST_TEST(!ec);
  by_hand.detach(ec);
  BOOST_TEST(!ec, ec.message());
}

BOOST_FIXTURE_TEST_CASE(says_that_the_group_is_removed, sockets) {
  int fd = -1;
  {
    own_cgroup const gone;
    fd = checked(open(gone.path().c_str(), O_PATH | O_CLOEXEC), "open");
    program("on_ingress").attach_cgroup(fd).detach();  // a descriptor for nothing else will do
  }
  for (auto const mode : {cgroup_mode::link, cgroup_mode::exclusive, cgroup_mode::allow_multi})
    check_fails([&](auto&... r) { return program("on_ingress").attach_cgroup(fd, cgroup_options{.mode = mode}, r...); },
                test::kernel_error(ENOENT), "descriptor " + std::to_string(fd), "has been removed");
  close(fd);
}

BOOST_FIXTURE_TEST_CASE(says_what_is_no_group, in_group) {
  auto const p = program("on_ingress");
  auto const mount = "cgroup2 is mounted at " + test::cgroup2_mount().string();
  auto const attach_to = [&](tinybpf::path_or_fd const& place) {
    return [&p, place](auto&... r) { return p.attach_cgroup(place, r...); };
  };
  check_fails(attach_to("/nowhere"), test::kernel_error(ENOENT), "control group '/nowhere'", mount);
  check_fails(attach_to("/proc"), test::kernel_error(EBADF), "control group '/proc'", "no control group of version 2");
  check_fails(attach_to("/proc"), test::kernel_error(EBADF), "control group '/proc'", mount);
  check_fails(attach_to("/proc/self/status"), test::kernel_error(ENOTDIR), "/status'", "that is no folder");
  check_fails(attach_to(-1), test::kernel_error(EBADF), "descriptor -1", "no open descriptor");
  check_fails(attach_to(p.fd()), test::kernel_error(EBADF), "descriptor", "no control group");
  check_fails([&](auto&... r) { return program("on_datagram").attach_cgroup(group.path(), r...); },
              make_error_code(errc::wrong_program_type), "takes one of type cgroup_skb or", "SEC(\"socket\")");
  int const file = checked(open((group.path() / "cgroup.procs").c_str(), O_RDONLY | O_CLOEXEC), "open");
  check_fails(attach_to(file), test::kernel_error(EBADF), "descriptor", "no folder");
  close(file);
  auto const answer = test::in_child([&] {
    test::become_nobody({CAP_BPF});
    error_code ec;
    diagnostics details;
    static_cast<void>(p.attach_cgroup(group.path(), ec, details));
    return text_of(ec) + ": " + details.hint;
  });
  BOOST_TEST(contains(answer, refused + ": "), answer);
}

BOOST_FIXTURE_TEST_CASE(is_attached_off_the_loop, in_group) {
  test::run(io, [](in_group const& g, auto ex) -> asio::awaitable<void> {
    auto link = co_await tinybpf::async_attach(ex, g.program("on_ingress"), tinybpf::cgroup_target{g.group.path()});
    g.group.run([] { return send_one(); });
    BOOST_TEST(g.seen(ingress) == 1);
    co_await tinybpf::async_detach(ex, std::move(link));
    g.group.run([] { return send_one(); });
    BOOST_TEST(g.seen(ingress) == 1);
  }(*this, io.get_executor()));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(netns)

constexpr char const* this_netns = "/proc/thread-self/ns/net";

BOOST_FIXTURE_TEST_CASE(steers_connections, sockets, *shows("sk_lookup")) {
  tcp::acceptor server{io, {v4.home, 0}};
  auto const socks = obj.map("socks");
  std::uint32_t const first = 0;
  std::uint64_t const fd = static_cast<std::uint64_t>(server.native_handle());
  BOOST_REQUIRE(bpf_map_update_elem(socks.fd(), &first, &fd, BPF_ANY) == 0);
  {
    auto const link = program("on_lookup").attach_netns(this_netns);
    BOOST_TEST((link.kind() == link_kind::netns));
    BOOST_TEST(link.fd() >= 0);
    tcp::socket client{io};
    BOOST_TEST(connected(client, 7007) == "done");
    BOOST_TEST(seen(lookup) >= 1);
    auto const accepted = server.accept();
    BOOST_TEST(accepted.local_endpoint().port() == 7007);
  }
  tcp::socket client{io};
  BOOST_TEST(connected(client, 7007) == test::kernel_error(ECONNREFUSED).message());
}

BOOST_FIXTURE_TEST_CASE(dissects_flows, sockets, *shows("flow_dissector")) {
  int const fd = checked(open(this_netns, O_RDONLY | O_CLOEXEC), "open");
  // The kernel looks for the header of a frame that is sent so.
  auto const send = [] { test::wire{test::index_of("sender")}.send(test::frame_of(ETH_P_IP, 60)); };
  {
    auto const link = program("on_dissect").attach_netns(fd);
    send();
    BOOST_TEST(seen(dissector) >= 1);
    check_fails([&](auto&... r) { return program("on_dissect").attach_netns(fd, r...); }, test::kernel_error(E2BIG),
                "network namespace", "one flow dissector");
    check_fails([&](auto&... r) { return program("on_dissect").attach_netns(in_it.before(), r...); },
                test::kernel_error(EEXIST), "network namespace", "the first network namespace's is for all");
  }
  auto const before = seen(dissector);
  send();
  BOOST_TEST(seen(dissector) == before);
  close(fd);
}

BOOST_FIXTURE_TEST_CASE(says_what_is_no_namespace, sockets) {
  auto const p = program("on_lookup");
  auto const attach_to = [&](tinybpf::path_or_fd const& place) {
    return [&p, place](auto&... r) { return p.attach_netns(place, r...); };
  };
  check_fails(attach_to("/nowhere"), test::kernel_error(ENOENT), "network namespace '/nowhere'", "/proc/PID/ns/net");
  test::scratch_folder const folder;
  auto const pipe = folder.path() / "pipe";  // which nobody opens at the other end
  BOOST_REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  check_fails(attach_to(pipe), test::kernel_error(EINVAL), "pipe'", "no network namespace");
  check_fails(attach_to("/proc/self/ns/uts"), test::kernel_error(EINVAL), "/uts'", "no network namespace");
  check_fails(attach_to(-1), test::kernel_error(EBADF), "descriptor -1", "no open descriptor");
  check_fails([&](auto&... r) { return program("on_datagram").attach_netns(this_netns, r...); },
              make_error_code(errc::wrong_program_type), "takes one of type sk_lookup or flow_dissector",
              "SEC(\"socket\")");
}

BOOST_FIXTURE_TEST_CASE(is_attached_off_the_loop, sockets) {
  auto const link =
      test::run(io, tinybpf::async_attach(io.get_executor(), program("on_lookup"), tinybpf::netns_target{this_netns}));
  tcp::socket client{io};
  BOOST_TEST(connected(client, 7007) == test::kernel_error(ECONNREFUSED).message());
  BOOST_TEST(seen(lookup) == 1);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(sockmap)

namespace {

struct connection {
  explicit connection(asio::io_context& io) : near{io}, far{io} {
    tcp::acceptor server{io, {v4.home, 0}};
    near.connect(server.local_endpoint());
    server.accept(far);
  }
  tcp::socket near;
  tcp::socket far;
};

struct two_connections : sockets {
  connection first{io};
  connection second{io};
  tinybpf::map socks = obj.map("socks");

  void put(std::uint32_t key, tcp::socket& s) const {
    auto const fd = static_cast<std::uint64_t>(s.native_handle());
    checked(bpf_map_update_elem(socks.fd(), &key, &fd, BPF_ANY), "bpf_map_update_elem");
  }
  void take(std::uint32_t key) const { checked(bpf_map_delete_elem(socks.fd(), &key), "bpf_map_delete_elem"); }
  static void send(tcp::socket& s) { asio::write(s, asio::buffer("hello", 5)); }
  static std::string receive(tcp::socket& s) {
    std::string text(5, '\0');
    asio::read(s, asio::buffer(text));
    return text;
  }
};

}  // namespace

BOOST_FIXTURE_TEST_CASE(redirects_messages, two_connections, *shows("sk_msg")) {
  {
    auto const link = program("on_msg").attach_sockmap(socks);
    BOOST_TEST((link.kind() == link_kind::sockmap));
    put(0, first.near);
    put(1, second.near);
    send(first.near);
    BOOST_TEST(receive(second.near) == "hello");
    BOOST_TEST(seen(msg) == 1);
    check_fails([&](auto&... r) { return program("on_msg").attach_sockmap(socks, r...); }, test::kernel_error(EBUSY),
                "map 'socks'", "program 'on_msg' (id ");
  }
  // A socket keeps what it has got from the map as long as it is in there.
  take(0);
  put(0, first.near);
  send(first.near);
  BOOST_TEST(receive(first.far) == "hello");
  BOOST_TEST(seen(msg) == 1);
}

BOOST_FIXTURE_TEST_CASE(redirects_streams, two_connections, *shows("sk_skb")) {
  auto link = program("on_stream").attach_sockmap(socks);
  put(0, first.near);
  put(1, second.near);
  send(first.far);
  BOOST_TEST(receive(second.far) == "hello");
  BOOST_TEST(seen(skb) == 1);
  link.detach();
}

BOOST_FIXTURE_TEST_CASE(takes_its_role_from_the_options, two_connections) {
  auto const p = program("on_skb");
  check_fails([&](auto&... r) { return p.attach_sockmap(socks, r...); }, test::kernel_error(EINVAL), "map 'socks'",
              "sockmap_options::type");
  check_fails([&](auto&... r) { return p.attach_sockmap(socks, sockmap_options{.type = attach_type::xdp}, r...); },
              test::kernel_error(EINVAL), "as xdp", "not loaded for that");
  auto const link = p.attach_sockmap(socks, sockmap_options{.type = attach_type::sk_skb_verdict});
  put(0, first.near);
  put(1, second.near);
  send(first.far);
  BOOST_TEST(receive(second.far) == "hello");
  // The other verdict does not go with it.
  check_fails(
      [&](auto&... r) {
        return p.attach_sockmap(socks, sockmap_options{.type = attach_type::sk_skb_stream_verdict}, r...);
      },
      test::kernel_error(EBUSY), "as sk_skb_stream_verdict", "either a stream verdict or a verdict");
}

BOOST_FIXTURE_TEST_CASE(leaves_somebody_elses_program, two_connections) {
  auto const other_object = tinybpf::load(SOCKETS_BPF_O);
  auto const other = other_object.program("on_msg");
  BOOST_REQUIRE(bpf_prog_attach(other.fd(), socks.fd(), BPF_SK_MSG_VERDICT, 0) == 0);
  check_fails([&](auto&... r) { return program("on_msg").attach_sockmap(socks, r...); }, test::kernel_error(EBUSY),
              "map 'socks'", "(id " + std::to_string(other.info().id) + ")");
  BOOST_TEST(bpf_prog_detach2(other.fd(), socks.fd(), BPF_SK_MSG_VERDICT) == 0);
}

BOOST_FIXTURE_TEST_CASE(needs_a_map_of_sockets, sockets) {
  auto const p = program("on_msg");
  check_fails([&](auto&... r) { return p.attach_sockmap(obj.map("hits"), r...); }, test::kernel_error(EINVAL),
              "map 'hits'", "of type array");
  check_fails([&](auto&... r) { return p.attach_sockmap(tinybpf::map{}, r...); }, make_error_code(errc::closed),
              "map '': the map's handle is closed", "");
  auto const not_loaded = tinybpf::object::open(SOCKETS_BPF_O);
  check_fails([&](auto&... r) { return p.attach_sockmap(not_loaded.map("socks"), r...); },
              make_error_code(errc::not_loaded), "map 'socks'", "load()");
  check_fails([&](auto&... r) { return program("on_datagram").attach_sockmap(obj.map("socks"), r...); },
              make_error_code(errc::wrong_program_type), "takes one of type sk_msg or sk_skb", "SEC(\"socket\")");
}

BOOST_FIXTURE_TEST_CASE(is_attached_off_the_loop, two_connections) {
  auto const link =
      test::run(io, tinybpf::async_attach(io.get_executor(), program("on_msg"), tinybpf::sockmap_target{socks}));
  put(0, first.near);
  put(1, second.near);
  send(first.near);
  BOOST_TEST(receive(second.near) == "hello");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(one_socket)

BOOST_FIXTURE_TEST_CASE(drops_and_shortens_datagrams, sockets, *shows("socket filter")) {
  auto from = bound<udp::socket>(io);
  auto to = bound<udp::socket>(io);
  auto link = program("on_datagram").attach_to(to);
  BOOST_TEST((link.kind() == link_kind::socket));
  error_code ec;
  BOOST_TEST(link.fd(ec) == -1);
  BOOST_TEST(ec == make_error_code(errc::not_supported));
  sent_to(from, to);
  BOOST_TEST(received(to) == nothing);
  set("keep", 8 + 3);  // the header as well
  sent_to(from, to);
  BOOST_TEST(received(to) == "hel");
  BOOST_TEST(seen(filter) == 2);
  check_fails([&](auto&... r) { return program("on_datagram").attach_to(to, r...); }, test::kernel_error(EBUSY),
              "socket " + std::to_string(to.native_handle()), "has a filter already");
  link.detach();
  sent_to(from, to);
  BOOST_TEST(received(to) == "hello");
  BOOST_TEST(seen(filter) == 2);
}

BOOST_FIXTURE_TEST_CASE(goes_on_sockets_of_any_kind, sockets) {
  auto const p = program("on_datagram");
  set("keep", 0xffff);
  tcp::acceptor server{io, {v4.home, 0}};
  tcp::socket near{io};
  near.open(tcp::v4());
  {
    auto const listening = p.attach_to(server);
    auto const connecting = p.attach_to(near);
    near.connect(server.local_endpoint());
    BOOST_TEST(seen(filter) >= 2);  // SYN and its answer
  }
  asio::local::datagram_protocol::socket one{io};
  asio::local::datagram_protocol::socket other{io};
  asio::local::connect_pair(one, other);
  asio::generic::datagram_protocol::socket any{io, asio::generic::datagram_protocol{AF_INET, 0}};
  auto const before = seen(filter);
  auto const links = std::pair{p.attach_to(other), p.attach_to(any)};
  one.send(asio::buffer("hello", 5));
  BOOST_TEST(seen(filter) == before + 1);
}

BOOST_FIXTURE_TEST_CASE(does_not_keep_its_socket_open, sockets) {
  auto const p = program("on_datagram");
  auto to = bound<udp::socket>(io);
  auto const place = to.local_endpoint();
  int const fd = to.native_handle();
  auto link = p.attach_to(to);
  to.close();
  udp::socket again{io, place};  // the port is free
  BOOST_REQUIRE(again.native_handle() == fd);
  auto const other = p.attach_to(again);
  link.detach();  // leaves the one that has the number now
  auto from = bound<udp::socket>(io);
  sent_to(from, again);
  BOOST_TEST(received(again) == nothing);
  BOOST_TEST(seen(filter) == 1);

  link = p.attach_to(from);
  from.close();
  error_code ec;
  link.detach(ec);
  BOOST_TEST(!ec);
}

BOOST_FIXTURE_TEST_CASE(is_left_to_the_parent_by_a_child, sockets) {
  auto from = bound<udp::socket>(io);
  auto to = bound<udp::socket>(io);
  auto link = program("on_datagram").attach_to(to);
  auto const said = test::in_child([&] {
    link = {};
    return "destroyed";
  });
  BOOST_TEST(said == "destroyed");
  sent_to(from, to);
  BOOST_TEST(received(to) == nothing);
  auto const meant = test::in_child([&] {
    link.detach();
    return "detached";
  });
  BOOST_TEST(meant == "detached");
  sent_to(from, to);
  BOOST_TEST(received(to) == "hello");
}

BOOST_FIXTURE_TEST_CASE(needs_an_open_socket, sockets) {
  auto const p = program("on_datagram");
  udp::socket closed{io};
  check_fails([&](auto&... r) { return p.attach_to(closed, r...); }, test::kernel_error(EBADF),
              "to a socket that is not open", "open()");
  check_fails([&](auto&... r) { return p.attach(tinybpf::socket_target{p.fd()}, r...); }, test::kernel_error(ENOTSOCK),
              "socket " + std::to_string(p.fd()), "something else than a socket");
  auto open_one = bound<udp::socket>(io);
  check_fails([&](auto&... r) { return program("on_msg").attach_to(open_one, r...); },
              make_error_code(errc::wrong_program_type), "takes one of type socket_filter", "SEC(\"sk_msg\")");
  int const on = 1;
  BOOST_REQUIRE(setsockopt(open_one.native_handle(), SOL_SOCKET, SO_LOCK_FILTER, &on, sizeof on) == 0);
  check_fails([&](auto&... r) { return p.attach_to(open_one, r...); }, test::kernel_error(EPERM), "socket",
              "SO_LOCK_FILTER");
}

BOOST_FIXTURE_TEST_CASE(is_attached_off_the_loop, sockets) {
  auto from = bound<udp::socket>(io);
  auto to = bound<udp::socket>(io);
  auto link = test::run(
      io, tinybpf::async_attach(io.get_executor(), program("on_datagram"), tinybpf::socket_target{to.native_handle()}));
  sent_to(from, to);
  BOOST_TEST(received(to) == nothing);
  BOOST_TEST(seen(filter) == 1);
}

namespace {

struct port_of_two : sockets {
  using reuse_port = asio::detail::socket_option::boolean<SOL_SOCKET, SO_REUSEPORT>;

  udp::socket member(unsigned short port) {
    udp::socket s{io, udp::v4()};
    s.set_option(reuse_port{true});
    s.bind({v4.home, port});
    return s;
  }
  udp::socket first = member(0);
  udp::socket second = member(first.local_endpoint().port());
  udp::socket from = bound<udp::socket>(io);

  void check_chooses() {
    for (std::uint32_t const i : {0U, 1U, 0U}) {
      set("chosen", i);
      auto const before = seen(chooser);
      sent_to(from, first);
      BOOST_TEST(seen(chooser) == before + 1);
      BOOST_TEST(received(i == 0 ? first : second) == "hello");
      BOOST_TEST(received(i == 0 ? second : first) == nothing);
    }
  }
};

constexpr socket_options choosing{.role = socket_role::reuseport};

}  // namespace

BOOST_FIXTURE_TEST_CASE(chooses_a_socket_by_its_number, port_of_two) {
  auto link = program("choose_by_number").attach_to(second, choosing);
  BOOST_TEST((link.kind() == link_kind::socket));
  check_chooses();
  auto const before = seen(chooser);
  link.detach();
  sent_to(from, first);
  BOOST_TEST(seen(chooser) == before);
}

BOOST_FIXTURE_TEST_CASE(chooses_a_socket_by_a_map, port_of_two) {
  auto const group = obj.map("group");
  for (std::uint32_t key : {0U, 1U}) {
    auto const fd = static_cast<std::uint64_t>((key == 0 ? first : second).native_handle());
    BOOST_REQUIRE(bpf_map_update_elem(group.fd(), &key, &fd, BPF_ANY) == 0);
  }
  auto const link = program("choose_by_map").attach_to(first, choosing);
  check_chooses();
}

BOOST_FIXTURE_TEST_CASE(chooses_where_there_is_a_choice, sockets) {
  auto alone = bound<udp::socket>(io);
  check_fails([&](auto&... r) { return program("choose_by_number").attach_to(alone, choosing, r...); },
              test::kernel_error(EINVAL), "the port's group of socket", "SO_REUSEPORT");
  asio::local::datagram_protocol::socket local{io, asio::local::datagram_protocol{}};
  check_fails([&](auto&... r) { return program("choose_by_map").attach_to(local, choosing, r...); },
              test::kernel_error(EOPNOTSUPP), "the port's group of socket", "TCP or UDP");
  check_fails([&](auto&... r) { return program("choose_by_map").attach_to(alone, r...); },
              make_error_code(errc::wrong_program_type), "takes one of type socket_filter", "SEC(\"sk_reuseport\")");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE_END()
