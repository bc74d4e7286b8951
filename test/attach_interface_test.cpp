// Programs on interfaces of a network namespace that each case makes for itself, and on the packet filter's hooks.
#include "attach_features.hpp"
#include "descriptor.hpp"
#include "features.hpp"
#include "few_descriptors.hpp"
#include "loop.hpp"
#include "own_network.hpp"
#include "privileges.hpp"
#include "support.hpp"

#include <tinybpf/async.hpp>
#include <tinybpf/global_variable.hpp>
#include <tinybpf/link.hpp>
#include <tinybpf/object.hpp>

#include <boost/test/unit_test.hpp>

#include <arpa/inet.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace asio = boost::asio;
using test::checked;
using test::contains;
using test::feature_here;
using test::frame_of;
using test::index_of;
using test::own_network;
using test::shell;
using test::shows;
using test::wire;
using tinybpf::attach_order;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::link_kind;
using tinybpf::netfilter_options;
using tinybpf::netkit_options;
using tinybpf::netkit_side;
using tinybpf::tc_direction;
using tinybpf::tc_options;
using tinybpf::tcx_options;
using tinybpf::xdp_mode;
using tinybpf::xdp_options;

namespace {

enum slot : std::uint32_t { tc_a, tc_b, tc_drop, tc_redirect, xdp_a, xdp_b, ip };

struct quiet_libbpf {
  quiet_libbpf() : before{libbpf_set_print(nullptr)} {}
  quiet_libbpf(quiet_libbpf const&) = delete;
  quiet_libbpf& operator=(quiet_libbpf const&) = delete;
  ~quiet_libbpf() { libbpf_set_print(before); }
  libbpf_print_fn_t before;
};

// libbpf wants zeros behind the fields as well.
template <class Options>
struct sized : Options {
  sized() {
    std::memset(static_cast<Options*>(this), 0, sizeof(Options));
    this->sz = sizeof(Options);
  }
};

struct tc_hook : sized<bpf_tc_hook> {
  tc_hook(int index, int points) {
    ifindex = index;
    attach_point = static_cast<bpf_tc_attach_point>(points);
  }
};

bool make_clsact(int index) {
  quiet_libbpf const quiet;
  tc_hook hook{index, BPF_TC_INGRESS | BPF_TC_EGRESS};
  int const err = bpf_tc_hook_create(&hook);
  if (err != 0 && err != -EEXIST) throw std::system_error{-err, std::generic_category(), "bpf_tc_hook_create"};
  return err == 0;
}
void remove_clsact(int index) {
  quiet_libbpf const quiet;
  tc_hook hook{index, BPF_TC_INGRESS | BPF_TC_EGRESS};
  bpf_tc_hook_destroy(&hook);
}
// The qdisc that was there before clsact, which takes the same place.
void make_old_ingress(int index) {
  struct {
    nlmsghdr header;
    tcmsg about;
    rtattr field;
    std::array<char, 8> kind;
  } request{{sizeof request, RTM_NEWQDISC, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, 0, 0},
            {AF_UNSPEC, 0, 0, index, TC_H_MAKE(TC_H_INGRESS, 0), TC_H_INGRESS, 0},
            {static_cast<unsigned short>(RTA_LENGTH(8)), TCA_KIND},
            {"ingress"}};
  test::descriptor const route{socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), "socket"};
  checked(static_cast<int>(send(route, &request, sizeof request, 0)), "send");
  struct {
    nlmsghdr header;
    nlmsgerr error;
  } answer{};
  checked(static_cast<int>(recv(route, &answer, sizeof answer, 0)), "recv");
  BOOST_REQUIRE(answer.header.nlmsg_type == NLMSG_ERROR);
  BOOST_REQUIRE(answer.error.error == 0);
}
bool has_clsact(int index) {
  if (!make_clsact(index)) return true;
  remove_clsact(index);
  return false;
}

// The program's id, or 0.
std::uint32_t filter_at(int index, int point, std::uint32_t handle, std::uint32_t priority) {
  quiet_libbpf const quiet;
  tc_hook hook{index, point};
  auto options = sized<bpf_tc_opts>();
  options.handle = handle;
  options.priority = priority;
  return bpf_tc_query(&hook, &options) == 0 ? options.prog_id : 0;
}

// As somebody else would.
void add_filter(int index, int point, int program, std::uint32_t handle, std::uint32_t priority, bool replace = false) {
  tc_hook hook{index, point};
  auto options = sized<bpf_tc_opts>();
  options.prog_fd = program;
  options.handle = handle;
  options.priority = priority;
  if (replace) options.flags = BPF_TC_F_REPLACE;
  BOOST_REQUIRE(bpf_tc_attach(&hook, &options) == 0);
}

struct network {
  own_network in_it;
  test::on_one_cpu cpu;
  int const sender = index_of("sender");
  int const receiver = index_of("receiver");
  tinybpf::object obj = tinybpf::load(INTERFACES_BPF_O);
  tinybpf::program a = obj.program("tc_a");
  tinybpf::program b = obj.program("tc_b");
  tinybpf::program drop = obj.program("tc_drop");
  tinybpf::program xdp = obj.program("xdp_a");

  // Sends our frame and, to know when it is over, another. Gives how many of ours came out at the other end.
  std::size_t pass(int from, int to, int times = 1) const {
    wire const sends{from};
    wire const receives{to};
    auto const ours = frame_of(ETH_P_IP, 60);
    auto const last = frame_of(0x88b5, 60);
    for (int i = 0; i < times; ++i) sends.send(ours);
    sends.send(last);
    return receives.await(last, ours);
  }
  std::size_t pass(int times = 1) const { return pass(sender, receiver, times); }

  std::uint64_t seen(slot s) const {
    std::uint64_t value = 0;
    obj.map("hits").lookup(test::bytes_of(std::uint32_t{s}), test::writable_bytes_of(value));
    return value;
  }
  std::uint64_t order() const {
    auto const v = obj.global<std::uint64_t>("order");
    auto const found = v.load();
    v.store(0);
    return found;
  }
  std::uint64_t order_of_one() const {
    pass();
    return order();
  }
};

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

// An update that is refused.
template <class F>
void check_stays(F f, int wanted, std::string_view hint) {
  error_code ec;
  diagnostics details;
  f(ec, details);
  BOOST_TEST(ec == test::kernel_error(wanted), ec.message() << " " << details.to_string());
  BOOST_TEST(contains(details.hint, hint), details.hint);
}

attach_order placed(attach_order::place where, std::uint32_t program = 0, std::uint32_t link = 0) {
  attach_order o;
  o.where = where;
  o.relative_program_id = program;
  o.relative_link_id = link;
  return o;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(attach_interface)

BOOST_AUTO_TEST_SUITE(xdp)

BOOST_FIXTURE_TEST_CASE(finds_its_interface_by_name, network, *shows("XDP native")) {
  auto const link = xdp.attach_xdp("receiver");
  BOOST_TEST(pass() == 1);
  BOOST_TEST(seen(xdp_a) == 1);
  check_fails([&](auto&... r) { return xdp.attach_xdp("receiverr", r...); }, test::kernel_error(ENODEV),
              "did you mean 'receiver'?", "no such interface");
  check_fails(
      [&](auto&... r) {
        return xdp.attach_xdp(std::string{"receiver\0x", 10}, r...);
      },
      test::kernel_error(ENODEV), "interface 'receiver", "no such interface");
  check_fails([&](auto&... r) { return xdp.attach_xdp("", r...); }, test::kernel_error(ENODEV), "interface ''",
              "no such interface");
  std::string const long_name = "receiver_by_a_much_longer_name";
  shell("ip link property add dev sender altname " + long_name);
  {
    auto const other = xdp.attach_xdp(long_name);
    BOOST_TEST(std::get<tinybpf::xdp_info>(other.info().detail).ifindex == static_cast<std::uint32_t>(sender));
  }
  for (auto const& none : {long_name + "r", std::string(127, 'r'), std::string(5000, 'r')})
    check_fails([&](auto&... r) { return xdp.attach_xdp(none, r...); }, test::kernel_error(ENODEV), "r'",
                "no such interface");
  // The kernel's old calls take what is behind a colon for an address of the interface.
  check_fails([&](auto&... r) { return xdp.attach_xdp("receiver:1", r...); }, test::kernel_error(ENODEV),
              "did you mean 'receiver'?", "no such interface");
}

BOOST_FIXTURE_TEST_CASE(finds_its_interface_by_number, network) {
  {
    auto const link = xdp.attach_xdp(if_nametoindex("receiver"));
    BOOST_TEST(pass() == 1);
    BOOST_TEST(seen(xdp_a) == 1);
    auto const beside = a.attach_tc(std::get<tinybpf::xdp_info>(link.info().detail).ifindex);
    BOOST_TEST(pass() == 1);
    BOOST_TEST(seen(tc_a) == 1);
  }
  check_fails([&](auto&... r) { return xdp.attach_xdp(0U, r...); }, test::kernel_error(ENODEV), "interface 0",
              "no such interface");
  check_fails([&](auto&... r) { return xdp.attach_xdp(UINT32_MAX, r...); }, test::kernel_error(ENODEV),
              "interface 4294967295", "no such interface");
  check_fails([&](auto&... r) { return xdp.attach_xdp(-1, r...); }, test::kernel_error(ENODEV), "interface -1",
              "no such interface");
}

BOOST_FIXTURE_TEST_CASE(drops, network, *shows("XDP native")) {
  auto link = obj.program("xdp_drop").attach_xdp(receiver, xdp_options{.mode = xdp_mode::native});
  BOOST_TEST(link.fd() >= 0);
  BOOST_TEST(pass(3) == 0);
  BOOST_TEST(seen(xdp_b) == 3);
  link.detach();
  BOOST_TEST(pass(3) == 3);
}

BOOST_FIXTURE_TEST_CASE(runs_where_it_is_told_to, network, *shows("XDP generic")) {
  auto const mode_of = [](int ifindex) {
    auto found = sized<bpf_xdp_query_opts>();
    BOOST_TEST(bpf_xdp_query(ifindex, 0, &found) == 0);
    return static_cast<unsigned>(found.attach_mode);
  };
  {
    auto const link = xdp.attach_xdp(receiver, xdp_options{.mode = xdp_mode::generic});
    BOOST_TEST(mode_of(receiver) == static_cast<unsigned>(XDP_ATTACHED_SKB));
    BOOST_TEST(pass(2) == 2);
    BOOST_TEST(seen(xdp_a) == 2);
    check_fails([&](auto&... r) { return xdp.attach_xdp(receiver, xdp_options{.mode = xdp_mode::native}, r...); },
                test::kernel_error(EEXIST), "(receiver)", "native or generic");
  }
  {
    auto const link = xdp.attach_xdp(receiver, xdp_options{.mode = xdp_mode::native});
    BOOST_TEST(mode_of(receiver) == static_cast<unsigned>(XDP_ATTACHED_DRV));
    BOOST_TEST(pass(2) == 2);
    BOOST_TEST(seen(xdp_a) == 4);
  }
  check_fails([&](auto&... r) { return xdp.attach_xdp("lo", xdp_options{.mode = xdp_mode::native}, r...); },
              test::kernel_error(EOPNOTSUPP), "interface 'lo'", "xdp_mode::generic");
  check_fails([&](auto&... r) { return xdp.attach_xdp(receiver, xdp_options{.mode = xdp_mode::offload}, r...); },
              test::kernel_error(EINVAL), "(receiver)", "network card");
  BOOST_TEST(mode_of(receiver) == static_cast<unsigned>(XDP_ATTACHED_NONE));
}

BOOST_FIXTURE_TEST_CASE(replaces_what_has_no_link, network) {
  xdp_options const replace{.replace = true};
  auto const dropping = obj.program("xdp_drop");
  for (auto const mode : {xdp_mode::any, xdp_mode::generic}) {
    unsigned const flags = mode == xdp_mode::any ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE;
    BOOST_REQUIRE(bpf_xdp_attach(receiver, dropping.fd(), flags, nullptr) == 0);
    BOOST_TEST(pass() == 0);
    auto const before = seen(xdp_a);
    auto link = xdp.attach_xdp(receiver, replace);
    BOOST_TEST((link.kind() == link_kind::xdp));
    error_code ec;
    BOOST_TEST(link.fd(ec) == -1);
    BOOST_TEST(ec == make_error_code(errc::not_supported));
    BOOST_TEST(pass() == 1);
    BOOST_TEST(seen(xdp_a) == before + 1);
    link.detach();
    BOOST_TEST(pass() == 1);
    BOOST_TEST(seen(xdp_a) == before + 1);
  }

  BOOST_REQUIRE(bpf_xdp_attach(receiver, dropping.fd(), XDP_FLAGS_SKB_MODE, nullptr) == 0);
  check_fails(
      [&](auto&... r) {
        return xdp.attach_xdp(receiver, xdp_options{.mode = xdp_mode::native, .replace = true}, r...);
      },
      test::kernel_error(EEXIST), "(receiver)", "in another mode");
  BOOST_REQUIRE(bpf_xdp_detach(receiver, XDP_FLAGS_SKB_MODE, nullptr) == 0);

  // Nothing there: a link as ever, whose place nobody takes.
  auto const link = xdp.attach_xdp(receiver, replace);
  BOOST_TEST(link.fd() >= 0);
  check_fails([&](auto&... r) { return dropping.attach_xdp(receiver, replace, r...); }, test::kernel_error(EBUSY),
              "(receiver)", "behind a link");
  BOOST_TEST(pass() == 1);
}

BOOST_FIXTURE_TEST_CASE(leaves_who_took_its_place, network) {
  BOOST_REQUIRE(bpf_xdp_attach(receiver, obj.program("xdp_drop").fd(), XDP_FLAGS_DRV_MODE, nullptr) == 0);
  auto link = xdp.attach_xdp(receiver, xdp_options{.replace = true});
  BOOST_TEST(pass() == 1);
  BOOST_REQUIRE(bpf_xdp_attach(receiver, obj.program("xdp_drop").fd(), XDP_FLAGS_DRV_MODE, nullptr) == 0);
  BOOST_TEST(pass() == 0);
  link.detach();
  BOOST_TEST(pass() == 0);
  BOOST_REQUIRE(bpf_xdp_detach(receiver, XDP_FLAGS_DRV_MODE, nullptr) == 0);
}

BOOST_FIXTURE_TEST_CASE(replacement_is_updated_and_described, network) {
  auto const dropping = obj.program("xdp_drop");
  BOOST_REQUIRE(bpf_xdp_attach(receiver, dropping.fd(), XDP_FLAGS_DRV_MODE, nullptr) == 0);
  auto link = xdp.attach_xdp(receiver, xdp_options{.replace = true});
  auto const known = link.info();
  BOOST_TEST(known.id == 0U);
  BOOST_TEST(known.program_id == xdp.info().id);
  BOOST_TEST((known.kind == link_kind::xdp));
  BOOST_TEST(std::get<tinybpf::xdp_info>(known.detail).ifindex == static_cast<std::uint32_t>(receiver));

  check_stays([&](auto&... r) { link.update_program(dropping, dropping, r...); }, EPERM, "another program runs");
  check_stays([&](auto&... r) { link.update_program(a, r...); }, EINVAL, "of type sched_cls");
  BOOST_TEST(pass() == 1);
  link.update_program(dropping, xdp);
  BOOST_TEST(link.info().program_id == dropping.info().id);
  BOOST_TEST(pass() == 0);
  link.update_program(xdp);
  BOOST_TEST(pass() == 1);

  BOOST_REQUIRE(bpf_xdp_attach(receiver, dropping.fd(), XDP_FLAGS_DRV_MODE, nullptr) == 0);
  check_stays([&](auto&... r) { link.update_program(xdp, r...); }, EEXIST, "");
  BOOST_TEST(pass() == 0);
  link.detach();
  BOOST_TEST(pass() == 0);
}

BOOST_FIXTURE_TEST_CASE(replacement_is_released, network) {
  BOOST_REQUIRE(bpf_xdp_attach(receiver, xdp.fd(), XDP_FLAGS_DRV_MODE, nullptr) == 0);
  auto link = obj.program("xdp_drop").attach_xdp(receiver, xdp_options{.replace = true});
  BOOST_TEST(link.release() == -1);
  BOOST_TEST(!link.attached());
  BOOST_TEST(pass() == 0);
  BOOST_REQUIRE(bpf_xdp_detach(receiver, XDP_FLAGS_DRV_MODE, nullptr) == 0);
  BOOST_TEST(pass() == 1);
}

BOOST_FIXTURE_TEST_CASE(replaces_nothing_without_a_descriptor, network) {
  BOOST_REQUIRE(bpf_xdp_attach(receiver, obj.program("xdp_drop").fd(), XDP_FLAGS_DRV_MODE, nullptr) == 0);
  tinybpf::link link;
  for (int more = 0; more < 20 && !link.attached(); ++more) {
    error_code ec;
    {
      test::few_descriptors const limit{more};
      link = xdp.attach_xdp(receiver, xdp_options{.replace = true}, ec);
    }
    if (ec) BOOST_TEST(ec == test::kernel_error(EMFILE));
    BOOST_TEST(pass() == (ec ? 0U : 1U));
  }
  BOOST_TEST(link.attached());
  for (int more = 0; more < 20; ++more) {
    error_code ec;
    {
      test::few_descriptors const limit{more};
      link.update_program(obj.program("xdp_drop"), ec);
    }
    BOOST_TEST(pass() == (ec ? 1U : 0U));
    if (!ec) break;
    BOOST_TEST(ec == test::kernel_error(EMFILE));
  }
  BOOST_TEST(link.info().program_id == obj.program("xdp_drop").info().id);
}

BOOST_FIXTURE_TEST_CASE(replacing_takes_more_capabilities, network) {
  BOOST_REQUIRE(bpf_xdp_attach(receiver, obj.program("xdp_drop").fd(), XDP_FLAGS_DRV_MODE, nullptr) == 0);
  auto const answer = test::in_child([&] {
    test::become_nobody({CAP_BPF, CAP_NET_ADMIN});
    error_code ec;
    diagnostics details;
    static_cast<void>(xdp.attach_xdp(receiver, xdp_options{.replace = true}, ec, details));
    return std::string{ec == test::kernel_error(EPERM) ? "EPERM: " : "?: "} + details.hint;
  });
  BOOST_TEST(contains(answer, "EPERM: "), answer);
  BOOST_TEST(contains(answer, "CAP_SYS_ADMIN"), answer);
  BOOST_TEST(pass() == 0);
}

BOOST_FIXTURE_TEST_CASE(leaves_a_link_that_took_its_place, network) {
  BOOST_REQUIRE(bpf_xdp_attach(receiver, obj.program("xdp_drop").fd(), XDP_FLAGS_DRV_MODE, nullptr) == 0);
  auto link = xdp.attach_xdp(receiver, xdp_options{.replace = true});
  BOOST_REQUIRE(bpf_xdp_detach(receiver, XDP_FLAGS_DRV_MODE, nullptr) == 0);
  auto const other = obj.program("xdp_drop").attach_xdp(receiver);
  BOOST_TEST(other.fd() >= 0);
  check_stays([&](auto&... r) { link.update_program(xdp, r...); }, EEXIST, "somebody else");
  error_code ec;
  diagnostics details;
  link.detach(ec, details);
  BOOST_TEST(!ec, details.to_string());
  BOOST_TEST(pass() == 0);
}

BOOST_FIXTURE_TEST_CASE(replacement_by_itself_is_not_detached_twice, network) {
  BOOST_REQUIRE(bpf_xdp_attach(receiver, obj.program("xdp_drop").fd(), XDP_FLAGS_DRV_MODE, nullptr) == 0);
  auto link = xdp.attach_xdp(receiver, xdp_options{.replace = true});
  auto former = std::exchange(link, xdp.attach_xdp(receiver, xdp_options{.replace = true}));
  check_stays([&](auto&... r) { former.update_program(xdp, r...); }, EEXIST, "somebody else");
  former.detach();
  auto const before = seen(xdp_a);
  BOOST_TEST(pass() == 1);
  BOOST_TEST(seen(xdp_a) == before + 1);
  link.detach();
  BOOST_TEST(pass() == 1);
  BOOST_TEST(seen(xdp_a) == before + 1);
}

BOOST_FIXTURE_TEST_CASE(replacement_ends_with_its_interface, network) {
  BOOST_REQUIRE(bpf_xdp_attach(receiver, obj.program("xdp_drop").fd(), XDP_FLAGS_DRV_MODE, nullptr) == 0);
  auto link = xdp.attach_xdp(receiver, xdp_options{.replace = true});
  shell("ip link delete receiver");
  error_code ec;
  link.detach(ec);
  BOOST_TEST(!ec);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(tc)

BOOST_FIXTURE_TEST_CASE(sees_ingress, network, *shows("clsact ingress")) {
  {
    auto const link = a.attach_tc(receiver);
    BOOST_TEST((link.kind() == link_kind::tc));
    BOOST_TEST(link.size() == 1);
    error_code ec;
    BOOST_TEST(link.fd(ec) == -1);
    BOOST_TEST(ec == make_error_code(errc::not_supported));
    BOOST_TEST(has_clsact(receiver));
    BOOST_TEST(pass(5) == 5);
    BOOST_TEST(seen(tc_a) == 5);
    BOOST_TEST(pass(receiver, sender) == 1);  // egress
    BOOST_TEST(seen(tc_a) == 5);
  }
  BOOST_TEST(!has_clsact(receiver));
  BOOST_TEST(pass() == 1);
  BOOST_TEST(seen(tc_a) == 5);
}

BOOST_FIXTURE_TEST_CASE(redirects, network, *shows("clsact ingress")) {
  obj.global<std::uint32_t>("target") = static_cast<std::uint32_t>(receiver);
  auto const link = obj.program("tc_redirect").attach_tc("receiver");
  wire const w{sender};
  auto const ours = frame_of(ETH_P_IP, 60);
  w.send(ours);
  w.await(ours);
  BOOST_TEST(seen(tc_redirect) == 1);
}

BOOST_FIXTURE_TEST_CASE(drops_egress, network, *shows("clsact egress")) {
  auto link = drop.attach_tc("sender", tc_options{.direction = tc_direction::egress});
  BOOST_TEST(pass(3) == 0);
  BOOST_TEST(seen(tc_drop) == 3);
  link.detach();
  BOOST_TEST(!has_clsact(sender));
  BOOST_TEST(pass(3) == 3);
  BOOST_TEST(seen(tc_drop) == 3);
}

BOOST_FIXTURE_TEST_CASE(runs_in_the_order_of_priorities, network) {
  auto const later = a.attach_tc(receiver, tc_options{.priority = 20});
  auto const earlier = b.attach_tc(receiver, tc_options{.priority = 10});
  BOOST_TEST(order_of_one() == 21);
}

BOOST_FIXTURE_TEST_CASE(has_handle_and_priority_to_itself, network) {
  tc_options const place{.handle = 7, .priority = 3};
  auto link = a.attach_tc(receiver, place);
  BOOST_TEST(filter_at(receiver, BPF_TC_INGRESS, 7, 3) == a.info().id);
  check_fails([&](auto&... r) { return b.attach_tc(receiver, place, r...); }, test::kernel_error(EEXIST),
              "to the clsact ingress of interface", "tc_options::replace");
  BOOST_TEST(order_of_one() == 1);

  tc_options replace = place;
  replace.replace = true;
  auto second = b.attach_tc(receiver, replace);
  BOOST_TEST(order_of_one() == 2);
  link.detach();  // which is not there any more
  BOOST_TEST(order_of_one() == 2);
  second.detach();
  BOOST_TEST(order_of_one() == 0);
  BOOST_TEST(filter_at(receiver, BPF_TC_INGRESS, 7, 3) == 0);
  BOOST_TEST(!has_clsact(receiver));
}

BOOST_FIXTURE_TEST_CASE(is_updated_in_its_place, network) {
  auto link = a.attach_tc(receiver, tc_options{.handle = 7, .priority = 3});
  link.update_program(b);
  BOOST_TEST(filter_at(receiver, BPF_TC_INGRESS, 7, 3) == b.info().id);
  BOOST_TEST(order_of_one() == 2);
  check_stays([&](auto&... r) { link.update_program(drop, a, r...); }, EPERM, "another program runs");
  check_stays([&](auto&... r) { link.update_program(xdp, r...); }, EINVAL, "of type xdp");
  BOOST_TEST(order_of_one() == 2);
  link.update_program(a, b);
  BOOST_TEST(order_of_one() == 1);
  BOOST_TEST(link.info().program_id == a.info().id);

  add_filter(receiver, BPF_TC_INGRESS, b.fd(), 7, 3, true);
  check_stays([&](auto&... r) { link.update_program(a, r...); }, ENOLINK, "gone");
  BOOST_TEST(order_of_one() == 2);
  remove_clsact(receiver);
  check_stays([&](auto&... r) { link.update_program(a, r...); }, ENOLINK, "gone");
  BOOST_TEST(!has_clsact(receiver));
}

BOOST_FIXTURE_TEST_CASE(is_described, network) {
  auto const link = a.attach_tc(sender, tc_options{.direction = tc_direction::egress});
  auto const known = link.info();
  BOOST_TEST(known.id == 0U);
  BOOST_TEST(known.program_id == a.info().id);
  BOOST_TEST((known.kind == link_kind::tc));
  auto const& detail = std::get<tinybpf::tc_info>(known.detail);
  BOOST_TEST(detail.ifindex == static_cast<std::uint32_t>(sender));
  BOOST_TEST(detail.egress);
  BOOST_TEST(filter_at(sender, BPF_TC_EGRESS, detail.handle, detail.priority) == a.info().id);
  BOOST_TEST(!std::get<tinybpf::tc_info>(b.attach_tc(sender).info().detail).egress);
}

BOOST_FIXTURE_TEST_CASE(is_released, network) {
  auto link = a.attach_tc(receiver, tc_options{.handle = 7, .priority = 3});
  BOOST_TEST(link.release() == -1);
  BOOST_TEST(!link.attached());
  BOOST_TEST(order_of_one() == 1);
  // Then it is as somebody else's, and who takes it away leaves nothing of it here.
  b.attach_tc(receiver).detach();
  BOOST_TEST(filter_at(receiver, BPF_TC_INGRESS, 7, 3) == a.info().id);
  remove_clsact(receiver);
  b.attach_tc(receiver).detach();
  BOOST_TEST(!has_clsact(receiver));
}

BOOST_FIXTURE_TEST_CASE(refuses_numbers_that_make_no_sense, network) {
  for (auto const& o : {tc_options{.priority = 65536}, tc_options{.handle = 1, .replace = true},
                        tc_options{.priority = 1, .replace = true}, tc_options{.replace = true}})
    check_fails([&](auto&... r) { return a.attach_tc(receiver, o, r...); }, test::kernel_error(EINVAL), "tc_a",
                o.priority > 65535 ? "at most 65535" : "the handle and the priority");
  BOOST_TEST(!has_clsact(receiver));
}

BOOST_FIXTURE_TEST_CASE(leaves_a_qdisc_that_it_found, network) {
  make_clsact(receiver);
  a.attach_tc(receiver).detach();
  BOOST_TEST(has_clsact(receiver));
  remove_clsact(receiver);
}

BOOST_FIXTURE_TEST_CASE(is_not_put_on_ingress_for_egress, network) {
  make_old_ingress(receiver);
  check_fails([&](auto&... r) { return drop.attach_tc(receiver, tc_options{.direction = tc_direction::egress}, r...); },
              test::kernel_error(EINVAL), "the clsact egress", "old ingress qdisc has no egress");
  BOOST_TEST(pass(3) == 3);
  BOOST_TEST(seen(tc_drop) == 0);
  auto const link = drop.attach_tc(receiver);
  pass(3);
  BOOST_TEST(seen(tc_drop) == 3);
}

BOOST_FIXTURE_TEST_CASE(says_that_the_kernel_has_no_priority_left, network) {
  auto const last = a.attach_tc(receiver, tc_options{.priority = 32768});
  tc_hook hook{receiver, BPF_TC_INGRESS};
  auto options = sized<bpf_tc_opts>();
  options.prog_fd = b.fd();
  test::quiet_libbpf const quiet;
  int const err = -bpf_tc_attach(&hook, &options);
  BOOST_TEST((err == ENOSPC || err == EINVAL));  // as this kernel says it
  check_fails([&](auto&... r) { return b.attach_tc(receiver, r...); }, test::kernel_error(err), "clsact ingress",
              "give another");
}

BOOST_FIXTURE_TEST_CASE(leaves_the_qdisc_to_others, network) {
  for (int const point : {BPF_TC_INGRESS, BPF_TC_EGRESS}) {
    auto link = a.attach_tc(receiver);
    add_filter(receiver, point, b.fd(), 1, 1);
    link.detach();
    BOOST_TEST(filter_at(receiver, point, 1, 1) == b.info().id);
    remove_clsact(receiver);
  }
}

BOOST_FIXTURE_TEST_CASE(removes_the_qdisc_with_the_last_of_its_filters, network) {
  for (bool const first_goes_first : {true, false}) {
    auto first = a.attach_tc(receiver);
    auto second = b.attach_tc(receiver, tc_options{.direction = tc_direction::egress});
    (first_goes_first ? first : second).detach();
    BOOST_TEST(has_clsact(receiver));
    BOOST_TEST((first_goes_first ? second : first).attached());
    (first_goes_first ? second : first).detach();
    BOOST_TEST(!has_clsact(receiver));
  }
}

BOOST_FIXTURE_TEST_CASE(leaves_no_qdisc_when_it_fails, network) {
  error_code ec;
  diagnostics details;
  BOOST_TEST(!a.attach_tc(4711, ec, details).attached());
  BOOST_TEST(ec == test::kernel_error(ENODEV));
  auto const answer = test::in_child([&] {
    test::become_nobody({CAP_BPF});
    static_cast<void>(a.attach_tc(receiver, ec, details));
    return std::string{ec == test::kernel_error(EPERM) ? "EPERM: " : "?: "} + details.hint;
  });
  BOOST_TEST(contains(answer, "EPERM: "), answer);
  BOOST_TEST(contains(answer, "CAP_NET_ADMIN"), answer);
  BOOST_TEST(!has_clsact(receiver));
}

BOOST_FIXTURE_TEST_CASE(leaves_who_took_its_place, network) {
  auto link = a.attach_tc(receiver, tc_options{.handle = 1, .priority = 1});
  add_filter(receiver, BPF_TC_INGRESS, b.fd(), 1, 1, true);
  error_code ec;
  link.detach(ec);
  BOOST_TEST(!ec);
  BOOST_TEST(order_of_one() == 2);
  remove_clsact(receiver);
}

BOOST_FIXTURE_TEST_CASE(is_over_when_somebody_removes_it, network) {
  auto link = a.attach_tc(receiver);
  remove_clsact(receiver);
  error_code ec;
  diagnostics details;
  link.detach(ec, details);
  BOOST_TEST(!ec, details.to_string());

  link = a.attach_tc(receiver);
  shell("ip link delete receiver");
  link.detach(ec, details);
  BOOST_TEST(!ec, details.to_string());
}

BOOST_FIXTURE_TEST_CASE(is_attached_again_when_somebody_removed_it, network) {
  auto link = a.attach_tc(receiver);
  auto const first = link.info();
  remove_clsact(receiver);
  auto former = std::exchange(link, a.attach_tc(receiver));
  // What the kernel chose is the same again.
  auto const second = link.info();
  auto const& was = std::get<tinybpf::tc_info>(first.detail);
  auto const& is = std::get<tinybpf::tc_info>(second.detail);
  BOOST_REQUIRE(was.handle == is.handle);
  BOOST_REQUIRE(was.priority == is.priority);
  check_stays([&](auto&... r) { former.update_program(b, r...); }, ENOLINK, "gone");
  former.detach();
  BOOST_TEST(order_of_one() == 1);
  link.detach();
  BOOST_TEST(!has_clsact(receiver));
}

BOOST_FIXTURE_TEST_CASE(says_that_it_cannot_look, network) {
  for (int more = 0; more < 10; ++more) {
    auto link = a.attach_tc(receiver, tc_options{.handle = 1, .priority = 1});
    error_code ec;
    {
      test::few_descriptors const limit{more};
      link.detach(ec);
    }
    BOOST_TEST((ec ? ec == test::kernel_error(EMFILE) : more > 0), ec.message());
    BOOST_TEST(filter_at(receiver, BPF_TC_INGRESS, 1, 1) == (ec ? a.info().id : 0U));
    remove_clsact(receiver);
  }
}

BOOST_FIXTURE_TEST_CASE(takes_the_place_of_its_own, network) {
  tc_options const o{.handle = 1, .priority = 1, .replace = true};
  for (auto const& program : {a, b}) {
    auto link = a.attach_tc(receiver, o);
    auto former = std::exchange(link, program.attach_tc(receiver, o));
    former.detach();
    BOOST_TEST(order_of_one() == (program.name() == "tc_a" ? 1U : 2U));
    link.detach();
    BOOST_TEST(!has_clsact(receiver));
  }
}

BOOST_FIXTURE_TEST_CASE(leaves_another_interface_with_the_same_number, network) {
  auto link = a.attach_tc(receiver, tc_options{.handle = 1, .priority = 1});
  shell("ip link delete receiver");
  shell("ip link add other index " + std::to_string(receiver) + " type veth peer name other2");
  BOOST_REQUIRE(index_of("other") == receiver);
  make_clsact(receiver);
  link.detach();
  BOOST_TEST(has_clsact(receiver));
}

BOOST_AUTO_TEST_CASE(is_detached_from_another_namespace) {
  tinybpf::link link;
  int space = -1;
  int receiver = 0;
  {
    network n;
    receiver = n.receiver;
    space = checked(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), "open");
    link = n.a.attach_tc(receiver, tc_options{.handle = 5, .priority = 5});
    BOOST_TEST(filter_at(receiver, BPF_TC_INGRESS, 5, 5) != 0);
  }
  {
    own_network const elsewhere;  // where the number means something as well
    make_clsact(receiver);
    link.detach();
    BOOST_TEST(has_clsact(receiver));
    checked(setns(space, CLONE_NEWNET), "setns");  // elsewhere's end goes back from here as well
    BOOST_TEST(filter_at(receiver, BPF_TC_INGRESS, 5, 5) == 0);
    BOOST_TEST(!has_clsact(receiver));
  }
  close(space);
}

BOOST_FIXTURE_TEST_CASE(is_attached_off_the_loop, network) {
  asio::io_context io;
  test::run(io, [](network const& n, auto ex) -> asio::awaitable<void> {
    auto link = co_await tinybpf::async_attach(ex, n.a, tinybpf::tc_target{"receiver"});
    BOOST_TEST(n.pass() == 1);
    BOOST_TEST(n.seen(tc_a) == 1);
    co_await tinybpf::async_detach(ex, std::move(link));
    BOOST_TEST(n.pass() == 1);
    BOOST_TEST(n.seen(tc_a) == 1);
  }(*this, io.get_executor()));
  BOOST_TEST(!has_clsact(receiver));
}

BOOST_FIXTURE_TEST_CASE(is_of_a_type_of_its_own, network) {
  check_fails([&](auto&... r) { return xdp.attach_tc(receiver, r...); }, make_error_code(errc::wrong_program_type),
              "takes one of type sched_cls", "SEC(\"xdp\")");
  BOOST_TEST(!has_clsact(receiver));
}

BOOST_AUTO_TEST_SUITE_END()

namespace {

test::probe_result tcx_attaches() {
  network n;
  error_code ec;
  diagnostics details;
  static_cast<void>(n.a.attach_tcx(n.receiver, ec, details));
  return {!ec, details.to_string()};
}

test::probe_result there_is_netkit() {
  own_network const n;
  if (std::system("ip link add primary type netkit 2>/dev/null") != 0) return {false, "no such device"};
  return {LIBBPF_MAJOR_VERSION > 1 || LIBBPF_MINOR_VERSION >= 3, "libbpf is too old"};
}

test::probe_result netfilter_attaches() {
  own_network const n;
  auto const obj = tinybpf::load(PACKET_HOOK_BPF_O);
  error_code ec;
  diagnostics details;
  static_cast<void>(obj.program("on_hook").attach_netfilter(netfilter_options{}, ec, details));
  return {!ec, details.to_string()};
}

constexpr bool old_libbpf = LIBBPF_MAJOR_VERSION == 1 && LIBBPF_MINOR_VERSION < 3;

}  // namespace

BOOST_FIXTURE_TEST_CASE(stays_when_the_capability_is_gone, network) {
  BOOST_REQUIRE(bpf_xdp_attach(receiver, obj.program("xdp_drop").fd(), XDP_FLAGS_DRV_MODE, nullptr) == 0);
  auto in_front = xdp.attach_xdp(receiver, xdp_options{.replace = true});
  auto filter = a.attach_tc(receiver);
  auto const refused = [](auto call) {
    return test::in_child([&] {
      test::become_nobody();
      error_code ec;
      diagnostics details;
      call(ec, details);
      return (ec == test::kernel_error(EPERM) ? "EPERM: " : ec ? "?: " : "done: ") + details.hint;
    });
  };
  for (auto const& said :
       {refused([&](auto&... r) { in_front.detach(r...); }), refused([&](auto&... r) { filter.detach(r...); }),
        refused([&](auto&... r) { in_front.update_program(obj.program("xdp_drop"), xdp, r...); }),
        refused([&](auto&... r) { filter.update_program(drop, a, r...); })}) {
    BOOST_TEST(said.starts_with("EPERM: "), said);
    BOOST_TEST(contains(said, "CAP_NET_ADMIN"), said);
  }
  BOOST_TEST(pass() == 1);
  BOOST_TEST(seen(xdp_a) == 1);
  BOOST_TEST(seen(tc_a) == 1);
}

BOOST_FIXTURE_TEST_CASE(says_which_libbpf_has_what_is_missing, network) {
  error_code const missing = make_error_code(errc::not_supported_by_libbpf);
  for (auto const& target : {tinybpf::attach_target{tinybpf::tcx_target{"lo"}}, {tinybpf::netkit_target{"lo"}}}) {
    error_code ec;
    diagnostics details;
    static_cast<void>(a.attach(target, ec, details));
    BOOST_TEST((ec == missing) == old_libbpf);
    BOOST_TEST(contains(details.hint, "libbpf 1.3") == old_libbpf, details.hint);
  }
  check_fails([&](auto&... r) { return xdp.attach_netfilter(netfilter_options{}, r...); },
              make_error_code(errc::wrong_program_type), "LOCAL_IN of IPv4", "SEC(\"xdp\")");
}

BOOST_AUTO_TEST_SUITE(tcx, *feature_here("TCX", tcx_attaches))

BOOST_FIXTURE_TEST_CASE(sees_either_direction, network) {
  auto const in = a.attach_tcx("receiver");
  BOOST_TEST((in.kind() == link_kind::tcx));
  BOOST_TEST(in.fd() >= 0);
  BOOST_TEST(pass(2) == 2);
  BOOST_TEST(seen(tc_a) == 2);
  auto out = drop.attach_tcx(sender, tcx_options{.direction = tc_direction::egress});
  BOOST_TEST(pass(3) == 0);
  BOOST_TEST(seen(tc_drop) == 3);
  out.detach();
  BOOST_TEST(pass() == 1);
  BOOST_TEST(seen(tc_a) == 3);
  BOOST_TEST(!has_clsact(receiver));
}

BOOST_FIXTURE_TEST_CASE(is_put_where_it_is_told_to, network) {
  using place = attach_order::place;
  auto const at = [](attach_order o) { return tcx_options{.order = o}; };
  auto const id_of = [](tinybpf::link const& l) {
    bpf_link_info info{};
    std::uint32_t size = sizeof info;
    BOOST_REQUIRE(bpf_obj_get_info_by_fd(l.fd(), &info, &size) == 0);
    return info.id;
  };
  auto const first = a.attach_tcx(receiver);
  for (auto const& [order, wanted] : {std::pair{placed(place::last), 12U},
                                      {placed(place::first), 21U},
                                      {placed(place::before, a.info().id), 21U},
                                      {placed(place::after, a.info().id), 12U},
                                      {placed(place::before, 0, id_of(first)), 21U},
                                      {placed(place::after, 0, id_of(first)), 12U}}) {
    auto const second = b.attach_tcx(receiver, at(order));
    BOOST_TEST(order_of_one() == wanted);
  }
  for (auto const& order : {placed(place::before), placed(place::after), placed(place::last, 5),
                            placed(place::first, 0, 5), placed(place::after, 5, 5)})
    check_fails([&](auto&... r) { return b.attach_tcx(receiver, at(order), r...); }, test::kernel_error(EINVAL),
                "TCX ingress", "before and after take the id");
  check_fails([&](auto&... r) { return b.attach_tcx(receiver, at(placed(place::before, drop.info().id)), r...); },
              test::kernel_error(ENOENT), "TCX ingress", "not attached there");
  check_fails([&](auto&... r) { return a.attach_tcx(receiver, r...); }, test::kernel_error(EEXIST), "TCX ingress",
              "attached there already");
  attach_order stale;
  stale.expected_revision = 1;
  check_fails([&](auto&... r) { return b.attach_tcx(receiver, at(stale), r...); }, test::kernel_error(ESTALE),
              "TCX ingress", "have changed");
  check_fails([&](auto&... r) { return b.attach_tcx("receive", r...); }, test::kernel_error(ENODEV),
              "did you mean 'receiver'?", "no such interface");
  BOOST_TEST(order_of_one() == 1);
}

BOOST_FIXTURE_TEST_CASE(is_attached_off_the_loop, network) {
  asio::io_context io;
  test::run(io, [](network const& n, auto ex) -> asio::awaitable<void> {
    auto link = co_await tinybpf::async_attach(ex, n.a, tinybpf::tcx_target{n.receiver});
    BOOST_TEST(n.pass() == 1);
    BOOST_TEST(n.seen(tc_a) == 1);
    co_await tinybpf::async_detach(ex, std::move(link));
    BOOST_TEST(n.pass() == 1);
    BOOST_TEST(n.seen(tc_a) == 1);
  }(*this, io.get_executor()));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(netkit, *feature_here("netkit", there_is_netkit))

BOOST_FIXTURE_TEST_CASE(sees_what_the_device_sends, network) {
  shell("ip link add primary type netkit");
  // The peer has a name that the kernel gave: the first that is free.
  std::string peer;
  for (auto const* const name : {"nk0", "netkit0"})
    if (index_of(name) != 0) peer = name;
  BOOST_REQUIRE(!peer.empty());
  shell("ip link set primary up");
  shell("ip link set " + peer + " up");
  auto const count = obj.program("count_ip");
  auto const send = [](char const* from) { wire{index_of(from)}.send(frame_of(ETH_P_IP, 60)); };
  {
    // Each has a queue once the kernel has told that the other is there; until then what is sent is gone.
    auto const sides = std::pair{count.attach_netkit("primary"),
                                 count.attach_netkit("primary", netkit_options{.side = netkit_side::peer})};
    for (auto const* const from : {"primary", peer.c_str()}) {
      auto const give_up = std::chrono::steady_clock::now() + test::patience;
      for (auto const before = seen(ip); seen(ip) == before && std::chrono::steady_clock::now() < give_up;) send(from);
    }
    BOOST_TEST(seen(ip) == 2);
  }
  obj.map("hits").update(test::bytes_of(std::uint32_t{ip}), test::bytes_of(std::uint64_t{0}));
  {
    auto const link = count.attach_netkit("primary");
    BOOST_TEST((link.kind() == link_kind::netkit));
    BOOST_TEST(link.fd() >= 0);
    send("primary");
    BOOST_TEST(seen(ip) == 1);
    send(peer.c_str());
    BOOST_TEST(seen(ip) == 1);
  }
  {
    auto const link = count.attach_netkit("primary", netkit_options{.side = netkit_side::peer});
    send("primary");
    BOOST_TEST(seen(ip) == 1);
    send(peer.c_str());
    BOOST_TEST(seen(ip) == 2);
  }
  send("primary");
  BOOST_TEST(seen(ip) == 2);
  check_fails([&](auto&... r) { return count.attach_netkit(peer, r...); }, test::kernel_error(EACCES), "netkit",
              "primary");
  check_fails([&](auto&... r) { return count.attach_netkit("receiver", r...); }, test::kernel_error(ENXIO), "netkit",
              "no netkit device");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(netfilter, *feature_here("netfilter", netfilter_attaches))

namespace {

// Datagrams from a socket to itself.
class own_socket {
 public:
  own_socket() : fd_{checked(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket")} {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    checked(bind(fd_, reinterpret_cast<sockaddr*>(&address), size), "bind");
    checked(getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size), "getsockname");
    checked(connect(fd_, reinterpret_cast<sockaddr*>(&address), size), "connect");
  }
  own_socket(own_socket const&) = delete;
  own_socket& operator=(own_socket const&) = delete;
  ~own_socket() { close(fd_); }

  void send(char text) const { checked(static_cast<int>(::send(fd_, &text, 1, 0)), "send"); }
  char receive() const {
    char text = 0;
    checked(static_cast<int>(recv(fd_, &text, 1, 0)), "recv");
    return text;
  }

 private:
  int fd_;
};

}  // namespace

BOOST_FIXTURE_TEST_CASE(sees_and_drops_packets, network) {
  auto const hook = tinybpf::load(PACKET_HOOK_BPF_O);
  auto const packets = hook.global<std::uint64_t>("packets");
  auto const program = hook.program("on_hook");
  own_socket const s;
  {
    auto const link = program.attach_netfilter(netfilter_options{.priority = 5});
    BOOST_TEST((link.kind() == link_kind::netfilter));
    BOOST_TEST(link.fd() >= 0);
    s.send('a');
    BOOST_TEST(s.receive() == 'a');
    BOOST_TEST(packets == 1U);
    hook.global<std::uint32_t>("accept") = 0U;
    s.send('b');
    BOOST_TEST(packets == 2U);
    check_fails([&](auto&... r) { return program.attach_netfilter(netfilter_options{.priority = 5}, r...); },
                test::kernel_error(EBUSY), "hook LOCAL_IN of IPv4 with priority 5", "has this priority");
  }
  s.send('c');
  BOOST_TEST(s.receive() == 'c');
  BOOST_TEST(packets == 2U);
}

BOOST_FIXTURE_TEST_CASE(is_attached_off_the_loop, network) {
  auto const hook = tinybpf::load(PACKET_HOOK_BPF_O);
  own_socket const s;
  asio::io_context io;
  auto const link =
      test::run(io, tinybpf::async_attach(io.get_executor(), hook.program("on_hook"), tinybpf::netfilter_target{}));
  s.send('a');
  BOOST_TEST(s.receive() == 'a');
  BOOST_TEST(hook.global<std::uint64_t>("packets") == 1U);
}

BOOST_FIXTURE_TEST_CASE(names_what_there_is_not, network) {
  auto const hook = tinybpf::load(PACKET_HOOK_BPF_O);
  auto const program = hook.program("on_hook");
  check_fails([&](auto&... r) { return program.attach_netfilter(netfilter_options{.protocol_family = 99}, r...); },
              test::kernel_error(EAFNOSUPPORT), "protocol family 99", "NFPROTO_IPV4");
  check_fails([&](auto&... r) { return program.attach_netfilter(netfilter_options{.hook = 99}, r...); },
              test::kernel_error(EPROTO), "hook 99", "POST_ROUTING (4)");
  check_fails([&](auto&... r) { return program.attach_netfilter(netfilter_options{.priority = INT32_MIN}, r...); },
              test::kernel_error(ERANGE), "LOCAL_IN", "the kernel's own");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE_END()
