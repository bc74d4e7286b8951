// A congestion control of TCP that BPF programs make, as sockets on the loopback interface see it.
#include "busy_workers.hpp"
#include "features.hpp"
#include "loop.hpp"
#include "print.hpp"
#include "support.hpp"

#include <tinybpf/async.hpp>
#include <tinybpf/link.hpp>
#include <tinybpf/map.hpp>
#include <tinybpf/object.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/test/unit_test.hpp>

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bpf/libbpf_version.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace {

namespace asio = boost::asio;
using test::checked;
using test::contains;
using test::kernel_error;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::link_kind;

// Another for each process: a registration of section ".struct_ops" outlives one that is killed.
std::string const name = "tb_" + std::to_string(getpid());

/// Of a program, in the object's counts.
enum class asked : std::uint32_t { init, release, ssthresh, cong_avoid, undo_cwnd };

tinybpf::object load_named(char const* file, char const* section) {
  auto image = test::contents_of(file);
  auto const data = test::section_of(image, section);
  std::string_view const given = "tinybpf_counts";
  auto const* const chars = reinterpret_cast<char const*>(data.data());
  auto const at = std::string_view{chars, data.size()}.find(given);
  if (at == std::string_view::npos) throw std::logic_error{"the name is not in its section"};
  std::fill_n(data.begin() + static_cast<std::ptrdiff_t>(at), given.size(), std::byte{});
  std::memcpy(data.data() + at, name.data(), name.size());
  auto obj = tinybpf::object::open(image, "congestion");
  obj.load();
  return obj;
}

tinybpf::object load() { return load_named(CONGESTION_BPF_O, ".struct_ops"); }

std::uint64_t count(tinybpf::object const& obj, asked what) {
  return obj.map("asked").lookup<std::uint64_t>(static_cast<std::uint32_t>(what)).value();
}

/// What the kernel says of the registration, behind the count of its users.
std::uint32_t state_of(tinybpf::map const& m) {
  std::uint32_t const key = 0;
  std::uint32_t state = 0;
  std::memcpy(&state, m.lookup(test::bytes_of(key)).value().data() + sizeof state, sizeof state);
  return state;
}

bool available() {
  std::ifstream in{"/proc/sys/net/ipv4/tcp_available_congestion_control"};
  std::vector<std::string> const names{std::istream_iterator<std::string>{in}, {}};
  if (names.empty()) throw std::runtime_error{"there is no congestion control at all"};
  return std::find(names.begin(), names.end(), name) != names.end();
}

class tcp_socket {
 public:
  tcp_socket() : fd_{checked(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket")} {}
  explicit tcp_socket(int fd) : fd_{fd} {}
  tcp_socket(tcp_socket const&) = delete;
  tcp_socket& operator=(tcp_socket const&) = delete;
  ~tcp_socket() { close(fd_); }
  int fd() const { return fd_; }

  int select() const {
    return setsockopt(fd_, IPPROTO_TCP, TCP_CONGESTION, name.data(), static_cast<socklen_t>(name.size())) == 0 ? 0
                                                                                                               : errno;
  }
  std::string selected() const {
    char text[16] = {};
    socklen_t size = sizeof text;
    checked(getsockopt(fd_, IPPROTO_TCP, TCP_CONGESTION, text, &size), "getsockopt");
    return text;
  }

 private:
  int fd_;
};

/// Sends a megabyte from a socket with the congestion control to another, and waits until all was acknowledged.
void send_some(tcp_socket const& from) {
  tcp_socket const listener;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  checked(bind(listener.fd(), reinterpret_cast<sockaddr*>(&address), size), "bind");
  checked(listen(listener.fd(), 1), "listen");
  checked(getsockname(listener.fd(), reinterpret_cast<sockaddr*>(&address), &size), "getsockname");
  checked(connect(from.fd(), reinterpret_cast<sockaddr*>(&address), size), "connect");
  tcp_socket const to{checked(accept4(listener.fd(), nullptr, nullptr, SOCK_CLOEXEC), "accept4")};
  std::vector<char> some(4096);
  for (int i = 0; i < 256; ++i) {
    checked(static_cast<int>(send(from.fd(), some.data(), some.size(), MSG_NOSIGNAL)), "send");
    for (std::size_t got = 0; got < some.size();)
      got += static_cast<std::size_t>(checked(static_cast<int>(recv(to.fd(), some.data(), some.size(), 0)), "recv"));
  }
  auto const give_up = std::chrono::steady_clock::now() + test::patience;
  for (int waiting = 1; waiting != 0;) {
    checked(ioctl(from.fd(), SIOCOUTQ, &waiting), "SIOCOUTQ");
    if (std::chrono::steady_clock::now() > give_up) throw std::runtime_error{"nothing was acknowledged"};
    std::this_thread::yield();
  }
}

/// What a socket sees of the object's congestion control, which is attached.
void is_used_by_a_socket(tinybpf::object const& obj) {
  BOOST_TEST(available());
  auto const inits = count(obj, asked::init);
  auto const releases = count(obj, asked::release);
  auto const acknowledged = count(obj, asked::cong_avoid);
  {
    tcp_socket const socket;
    BOOST_TEST(socket.select() == 0);
    BOOST_TEST(socket.selected() == name);
    send_some(socket);
    BOOST_TEST(count(obj, asked::init) > inits);
    BOOST_TEST(count(obj, asked::cong_avoid) > acknowledged);
    int const other = checked(setsockopt(socket.fd(), IPPROTO_TCP, TCP_CONGESTION, "reno", 4), "setsockopt");
    BOOST_TEST(other == 0);
  }
  BOOST_TEST(count(obj, asked::release) > releases);
}

void is_gone() {
  BOOST_TEST(!available());
  BOOST_TEST(tcp_socket{}.select() == ENOENT);
}

// Loading makes the map, which the kernel refuses if it has no such links (Linux 6.4 has).
test::probe_result links_here() {
  load_named(CONGESTION_LINK_BPF_O, ".struct_ops.link");
  return true;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(struct_ops)

BOOST_AUTO_TEST_CASE(a_congestion_control_lives_as_long_as_its_link, *test::shows("struct_ops")) {
  auto const obj = load();
  BOOST_TEST(!available());
  auto link = obj.map("counting").attach_struct_ops();
  BOOST_TEST((link.kind() == link_kind::struct_ops));
  BOOST_TEST(to_string(link.kind()) == "struct_ops");
  BOOST_TEST(link.size() == 1U);
  is_used_by_a_socket(obj);
  link.detach();
  BOOST_TEST(!link.attached());
  is_gone();
}

BOOST_AUTO_TEST_CASE(destroying_the_link_takes_it_out) {
  auto const obj = load();
  { auto const link = obj.map("counting").attach_struct_ops(); }
  is_gone();
}

// libbpf's own link would delete from whatever has the map's number by now.
BOOST_AUTO_TEST_CASE(a_link_outlives_its_object_and_detaches_from_nothing_else) {
  auto obj = load();
  auto const number = obj.map("counting").fd();
  auto link = obj.map("counting").attach_struct_ops();
  auto const asked_of = obj.map("asked").clone();
  obj.close();
  BOOST_TEST(available());
  auto const innocent = tinybpf::map::create(tinybpf::map_type::hash, "innocent", 4, 4, 4);
  std::uint32_t const zero = 0;
  innocent.update(test::bytes_of(zero), test::bytes_of(zero));
  bool const took_it = fcntl(number, F_GETFD) < 0;
  if (took_it) checked(dup3(innocent.fd(), number, O_CLOEXEC), "dup3");
  {
    tcp_socket const socket;
    BOOST_TEST(socket.select() == 0);
    send_some(socket);
  }
  BOOST_TEST(asked_of.lookup<std::uint64_t>(static_cast<std::uint32_t>(asked::cong_avoid)).value() > 0U);
  link.detach();
  BOOST_TEST(innocent.contains(test::bytes_of(zero)));
  if (took_it) close(number);
  is_gone();
}

BOOST_AUTO_TEST_CASE(a_registration_without_a_link_has_no_descriptor) {
  auto const obj = load();
  auto const link = obj.map("counting").attach_struct_ops();
  error_code ec;
  diagnostics details;
  BOOST_TEST(link.fd(ec, details) == -1);
  BOOST_TEST(ec == errc::not_supported);
}

BOOST_AUTO_TEST_CASE(a_registration_without_a_link_is_left_by_release) {
  auto obj = load();
  auto const asked_of = obj.map("asked").clone();
  auto const id = obj.map("counting").info().id;
  {
    auto link = obj.map("counting").attach_struct_ops();
    error_code ec;
    diagnostics details;
    BOOST_TEST(link.release(ec, details) == -1);
    BOOST_TEST(!ec, details.to_string());
    BOOST_TEST(!link.attached());
  }
  obj.close();
  BOOST_TEST(available());
  {
    tcp_socket const socket;
    BOOST_TEST(socket.select() == 0);
    send_some(socket);
  }
  BOOST_TEST(asked_of.lookup<std::uint64_t>(static_cast<std::uint32_t>(asked::cong_avoid)).value() > 0U);
  // The registration alone keeps the map.
  tinybpf::map::open_by_id(id).erase(test::bytes_of(std::uint32_t{0}));
  is_gone();
}

BOOST_AUTO_TEST_CASE(a_name_is_registered_once) {
  auto const first = load();
  auto const second = load();
  auto const link = first.map("counting").attach_struct_ops();
  error_code ec;
  diagnostics details;
  auto const other = second.map("counting").attach_struct_ops(ec, details);
  BOOST_TEST(ec == kernel_error(EEXIST));
  BOOST_TEST(!other.attached());
  BOOST_TEST(details.map == "counting");
  BOOST_TEST(contains(details.message, "cannot register map 'counting'"));
  BOOST_TEST(contains(details.hint, "registered already"));
  BOOST_TEST(available());
}

BOOST_AUTO_TEST_CASE(a_map_without_a_link_is_attached_once) {
  auto const obj = load();
  auto link = obj.map("counting").attach_struct_ops();
  error_code ec;
  diagnostics details;
  auto const again = obj.map("counting").attach_struct_ops(ec, details);
  BOOST_TEST(ec == kernel_error(EBUSY));
  BOOST_TEST(contains(details.hint, "once only"));
  BOOST_TEST(available());  // the first is unharmed
  link.detach();
  is_gone();
  auto const late = obj.map("counting").attach_struct_ops(ec, details);
  BOOST_TEST(ec == kernel_error(EBUSY));
  BOOST_TEST(!late.attached());
}

BOOST_AUTO_TEST_CASE(what_cannot_be_attached_says_why) {
  error_code ec;
  diagnostics details;
  BOOST_TEST(!tinybpf::map{}.attach_struct_ops(ec, details));
  BOOST_TEST(ec == errc::closed);

  auto obj = tinybpf::object::open(CONGESTION_BPF_O);
  auto const map = obj.map("counting");
  BOOST_TEST(!map.attach_struct_ops(ec, details));
  BOOST_TEST(ec == errc::not_loaded);
  BOOST_TEST(contains(details.hint, "load()"));
  obj.load();
  BOOST_TEST(!obj.map("asked").attach_struct_ops(ec, details));
  BOOST_TEST(ec == errc::wrong_map_type);
  BOOST_TEST(contains(details.message, "'asked', which is of type array"));
  BOOST_TEST(!map.clone().attach_struct_ops(ec, details));
  BOOST_TEST(ec == errc::not_supported);
  BOOST_CHECK_THROW(static_cast<void>(obj.map("asked").attach_struct_ops()), tinybpf::error);
  BOOST_TEST(!obj.map("asked").attach_struct_ops(ec));
  BOOST_TEST(ec == errc::wrong_map_type);
  obj.close();
  BOOST_TEST(!map.attach_struct_ops(ec, details));
  BOOST_TEST(ec == errc::closed);
  is_gone();
}

BOOST_AUTO_TEST_CASE(is_attached_and_detached_off_the_loop) {
  auto const obj = load();
  test::loop l;
  l.run([](tinybpf::object const& loaded, test::loop& loop) -> asio::awaitable<void> {
    auto link = co_await tinybpf::async_attach(loop.io.get_executor(), loaded.map("counting"));
    BOOST_TEST((link.kind() == link_kind::struct_ops));
    is_used_by_a_socket(loaded);
    co_await tinybpf::async_detach(loop.io.get_executor(), std::move(link));
    is_gone();
  }(obj, l));
}

BOOST_AUTO_TEST_CASE(is_attached_off_the_loop_with_any_token) {
  auto const obj = load();
  test::loop l;
  auto const ex = l.io.get_executor();
  std::optional<tinybpf::link> got;
  tinybpf::async_attach(ex, obj.map("counting"), [&](error_code ec, tinybpf::link link) {
    BOOST_TEST(!ec);
    got = std::move(link);
  });
  l.run_until([&] { return got.has_value(); });
  BOOST_TEST(available());

  error_code failed;
  diagnostics details;
  tinybpf::async_attach(ex, obj.map("asked"), details, [&](error_code ec, tinybpf::link const&) { failed = ec; });
  l.run_until([&] { return bool{failed}; });
  BOOST_TEST(failed == errc::wrong_map_type);
  BOOST_TEST(details.map == "asked");
  got->detach();
  is_gone();
}

// What comes too late for the handler is taken out on the worker.
BOOST_AUTO_TEST_CASE(a_cancelled_attach_leaves_nothing_registered) {
  auto const obj = load();
  test::loop l;
  test::busy_workers busy{l.io};
  asio::cancellation_signal signal;
  std::optional<error_code> got;
  tinybpf::async_attach(l.io.get_executor(), obj.map("counting"),
                        asio::bind_cancellation_slot(signal.slot(), [&](error_code ec, tinybpf::link const& link) {
                          got = ec;
                          BOOST_TEST(!link.attached());
                        }));
  signal.emit(asio::cancellation_type::terminal);
  l.run_until([&] { return got.has_value(); });
  BOOST_TEST(*got == asio::error::operation_aborted);
  busy.release();
  // The attach is made after all, and taken back.
  constexpr std::uint32_t being_freed = 2;  // BPF_STRUCT_OPS_STATE_TOBEFREE
  l.run_until([&] { return state_of(obj.map("counting")) == being_freed; });
  l.run_until([] { return !available(); });
}

#if LIBBPF_MAJOR_VERSION == 1 && LIBBPF_MINOR_VERSION < 2
BOOST_AUTO_TEST_CASE(links_of_the_kernel_s_need_a_newer_libbpf) {
  // This one does not know the section, and refuses the programs that nothing refers to.
  BOOST_CHECK_THROW(load_named(CONGESTION_LINK_BPF_O, ".struct_ops.link"), tinybpf::error);
}
#endif

#if LIBBPF_MAJOR_VERSION > 1 || LIBBPF_MINOR_VERSION >= 4
// libbpf has a number for it all the same.
BOOST_AUTO_TEST_CASE(one_that_was_not_made_says_so) {
  auto const obj = tinybpf::load(CONGESTION_OPTIONAL_BPF_O);
  auto const map = obj.map("counting");
  BOOST_TEST(map.fd() == -1);
  error_code ec;
  diagnostics details;
  BOOST_TEST(!map.attach_struct_ops(ec, details).attached());
  BOOST_TEST(ec == errc::not_loaded);
  BOOST_TEST(contains(details.message, "map 'counting'"));
  BOOST_TEST(contains(details.message, "was not created"));
}
#endif

BOOST_AUTO_TEST_CASE(held_by_a_link_of_the_kernel_s, *test::feature_here("struct_ops link", links_here)) {
  auto obj = load_named(CONGESTION_LINK_BPF_O, ".struct_ops.link");
  {
    auto link = obj.map("counting").attach_struct_ops();
    BOOST_TEST((link.kind() == link_kind::struct_ops));
    BOOST_TEST(link.fd() > 2);
    is_used_by_a_socket(obj);
    link.detach();
    is_gone();
  }
  // Such a map can be attached again, and its link needs neither object nor map.
  auto link = obj.map("counting").attach_struct_ops();
  is_used_by_a_socket(obj);
  obj.close();
  BOOST_TEST(available());
  link.detach();
  is_gone();
}

BOOST_AUTO_TEST_SUITE_END()
