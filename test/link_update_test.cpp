// Links whose program is replaced while they stay attached.
#include "calls.hpp"
#include "features.hpp"
#include "forms.hpp"
#include "links.hpp"
#include "own_cgroup.hpp"
#include "scratch_folder.hpp"
#include "support.hpp"

#include <tinybpf/link.hpp>
#include <tinybpf/object.hpp>

#include <boost/test/unit_test.hpp>

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include <stdexcept>
#include <string>

using test::checked;
using test::contains;
using test::kernel_error;
using test::ran;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::link_kind;

namespace {

// A link of the kernel's, made without the library.
tinybpf::link linked(tinybpf::program const& p, int target, bpf_attach_type type) {
  test::descriptor const fd{bpf_link_create(p.fd(), target, type, nullptr), "BPF_LINK_CREATE"};
  return tinybpf::link::open_fd(fd);
}

struct in_a_cgroup {
  test::entered_cgroup cgroup;
  tinybpf::object obj = tinybpf::load(LINKS_BPF_O);
  test::runs_descriptor runs{obj.map("runs")};
  tinybpf::program first = obj.program("sock_first");
  tinybpf::program second = obj.program("sock_second");
  tinybpf::link attached = linked(first, cgroup.fd(), BPF_CGROUP_INET_SOCK_CREATE);
  error_code ec;
  diagnostics details;

  // Which of the two sees how many of three sockets.
  void check_that_only(ran which) const {
    auto const before_first = runs.of(ran::sock_first);
    auto const before_second = runs.of(ran::sock_second);
    test::make_sockets(3);
    BOOST_TEST(runs.of(ran::sock_first) - before_first == (which == ran::sock_first ? 3U : 0U));
    BOOST_TEST(runs.of(ran::sock_second) - before_second == (which == ran::sock_second ? 3U : 0U));
  }

  template <class... More>
  diagnostics refusal(error_code expected, tinybpf::program const& next, More const&... more) {
    auto const id = attached.info().program_id;
    auto found =
        test::refusal(expected, [&](auto&... out) { return attached.update_program(next, more..., out...), 0; });
    BOOST_TEST(attached.info().program_id == id);
    return found;
  }
};

void shell(char const* command) {
  if (std::system(command) != 0) throw std::runtime_error{command};
}

/// Until its end this thread is in a namespace that has `lo` alone.
class own_network {
 public:
  own_network() : before_{open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), "open"} {
    checked(unshare(CLONE_NEWNET), "unshare");
    shell("ip link set lo up");
  }
  own_network(own_network const&) = delete;
  own_network& operator=(own_network const&) = delete;
  ~own_network() { setns(before_, CLONE_NEWNET); }

  /// Sends datagrams to itself, each of which lo receives before this returns.
  static void send(int n) {
    test::descriptor const fd{socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket"};
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* const raw = reinterpret_cast<sockaddr*>(&address);
    socklen_t size = sizeof address;
    checked(bind(fd, raw, size), "bind");
    checked(getsockname(fd, raw, &size), "getsockname");
    checked(connect(fd, raw, size), "connect");
    for (char c = 0; n > 0; --n) {
      checked(static_cast<int>(::send(fd, &c, 1, 0)), "send");
      checked(static_cast<int>(recv(fd, &c, 1, 0)), "recv");
    }
  }

 private:
  test::descriptor before_;
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(updated_links, in_a_cgroup)

BOOST_AUTO_TEST_CASE(run_another_program_from_then_on, *test::shows("link update")) {
  BOOST_TEST((attached.kind() == link_kind::cgroup));
  check_that_only(ran::sock_first);
  attached.update_program(second);
  BOOST_TEST(attached.info().program_id == second.info().id);
  check_that_only(ran::sock_second);
  attached.update_program(first, ec);
  BOOST_TEST(!ec);
  check_that_only(ran::sock_first);
  ec = errc::closed;
  details.hint = "from before";
  attached.update_program(second, ec, details);
  BOOST_TEST(!ec);
  BOOST_TEST(details.empty());
  check_that_only(ran::sock_second);
  attached.update_program(second);  // by itself
  obj = {};
  check_that_only(ran::sock_second);
  attached.detach();
  check_that_only(ran::xdp_first);
}

BOOST_AUTO_TEST_CASE(replace_the_program_that_is_expected, *test::shows("link update")) {
  auto const found = refusal(kernel_error(EPERM), second, second);
  BOOST_TEST(contains(found.hint, "another program runs than the expected 'sock_second'"));
  BOOST_TEST(found.program == "sock_second");
  check_that_only(ran::sock_first);
  attached.update_program(second, first);
  check_that_only(ran::sock_second);
  attached.update_program(first, second, ec);
  BOOST_TEST(!ec);
  attached.update_program(second, first, ec, details);
  BOOST_TEST(!ec, details.to_string());
  check_that_only(ran::sock_second);
}

BOOST_AUTO_TEST_CASE(want_a_program_of_the_same_type) {
  auto found = refusal(kernel_error(EINVAL), obj.program("xdp_first"));
  BOOST_TEST(contains(found.message, "link of kind cgroup"));
  BOOST_TEST(contains(found.message, "'xdp_first'"));
  BOOST_TEST(contains(found.hint, "of type xdp"));
  BOOST_TEST(contains(found.hint, "attach type"));
  refusal(kernel_error(EINVAL), obj.program("xdp_first"), first);
}

BOOST_AUTO_TEST_CASE(want_a_program_that_is_loaded) {
  auto const unloaded = tinybpf::object::open(LINKS_BPF_O);
  auto found = refusal(errc::not_loaded, unloaded.program("sock_second"));
  BOOST_TEST(contains(found.message, "sock_second"));
  BOOST_TEST(contains(found.hint, "load()"));
  refusal(errc::not_loaded, second, unloaded.program("sock_first"));
  refusal(errc::closed, tinybpf::program{});
  refusal(errc::closed, second, tinybpf::program{});
  auto gone = tinybpf::load(LINKS_BPF_O);
  auto const closed = gone.program("sock_second");
  gone.close();
  refusal(errc::closed, closed);
  check_that_only(ran::sock_first);
}

BOOST_AUTO_TEST_CASE(are_stopped_through_any_handle) {
  // Of a cgroup the kernel can detach a link whoever has it.
  auto other = tinybpf::link::open_by_id(attached.info().id);
  other.detach();
  check_that_only(ran::xdp_first);
  BOOST_TEST(attached.attached());
  attached.update_program(second, ec, details);
  BOOST_TEST(ec == kernel_error(ENOLINK));
  BOOST_TEST(contains(details.hint, "gone"));
  attached.detach(ec, details);
  BOOST_TEST(!ec, details.to_string());
}

BOOST_AUTO_TEST_CASE(are_stopped_by_detach_although_a_child_has_the_descriptor) {
  test::descriptor const as_a_child_would{fcntl(attached.fd(), F_DUPFD_CLOEXEC, 3), "dup"};
  attached.detach();
  check_that_only(ran::xdp_first);
}

BOOST_AUTO_TEST_CASE(are_not_of_every_kind) {
  auto const calls = tinybpf::load(CALLS_BPF_O);
  auto const raw = calls.program("on_raw");
  for (auto const* const name : {"on_raw_enter", "on_btf_enter", "on_getpgid"}) {
    auto l = calls.program(name).attach();
    auto const found =
        test::refusal(kernel_error(EINVAL), [&](auto&... out) { return l.update_program(raw, out...), 0; });
    BOOST_TEST(contains(found.message, "link of kind " + std::string{to_string(l.kind())}));
    BOOST_TEST(contains(found.hint, "attach the new program, then detach this link"));
  }
}

BOOST_AUTO_TEST_CASE(run_on_interfaces, *test::shows("XDP link update")) {
  own_network const network;
  auto l = obj.program("xdp_first").attach_xdp(static_cast<int>(if_nametoindex("lo")));
  own_network::send(3);
  BOOST_TEST(runs.of(ran::xdp_first) == 3);
  l.update_program(obj.program("xdp_second"), obj.program("xdp_first"));
  own_network::send(2);
  BOOST_TEST(runs.of(ran::xdp_first) == 3);
  BOOST_TEST(runs.of(ran::xdp_second) == 2);
  l.update_program(obj.program("xdp_first"), obj.program("xdp_first"), ec, details);
  BOOST_TEST(ec == kernel_error(EPERM));
  l.detach();
  own_network::send(2);
  BOOST_TEST(runs.of(ran::xdp_second) == 2);
}

BOOST_AUTO_TEST_CASE(say_when_their_place_is_gone) {
  own_network const network;
  shell("ip link add tested type veth peer name other");
  auto l = obj.program("xdp_first").attach_xdp(static_cast<int>(if_nametoindex("tested")));
  BOOST_TEST(std::get<tinybpf::xdp_info>(l.info().detail).ifindex == if_nametoindex("tested"));
  shell("ip link del tested");
  BOOST_TEST(std::get<tinybpf::xdp_info>(l.info().detail).ifindex == 0);
  l.update_program(obj.program("xdp_second"), ec, details);
  BOOST_TEST(ec == kernel_error(ENOLINK));
  BOOST_TEST(contains(details.hint, "gone"));
  l.detach(ec, details);
  BOOST_TEST(!ec, details.to_string());
}

BOOST_AUTO_TEST_CASE(swap_for_whoever_opened_the_pin) {
  test::scratch_folder const folder{test::bpffs};
  attached.pin(folder / "pin");
  attached = {};
  check_that_only(ran::sock_first);
  auto again = tinybpf::link::open_pinned(folder / "pin");
  again.update_program(second, first);
  check_that_only(ran::sock_second);
  again.detach();
  check_that_only(ran::xdp_first);
}

BOOST_AUTO_TEST_SUITE_END()
