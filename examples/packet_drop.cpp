// A switch that is thrown while packets pass: "drop" and "pass", typed, tell an XDP program on a veth pair what to do
// with UDP. What has become of the packets is printed after each, and at the end of the input.
#include "until_signal.hpp"
#include "veth.hpp"

#include <tinybpf/async.hpp>
#include <tinybpf/global_variable.hpp>
#include <tinybpf/percpu_map.hpp>

#include <unistd.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>

namespace asio = boost::asio;

enum : std::uint32_t { passed, dropped };  // as in packet_drop.bpf.c

class light_switch {
 public:
  explicit light_switch(tinybpf::object const& obj)
      : dropping_{obj.global<std::uint32_t>("dropping")}, packets_{obj.map("packets")} {}

  // The program looks at the variable at each packet: it lies in memory that both share.
  void set(bool drop) { dropping_.atomic().store(drop ? 1 : 0); }
  std::uint64_t count(std::uint32_t fate) const { return packets_.at(fate).sum(); }

 private:
  tinybpf::global_variable<std::uint32_t> dropping_;
  tinybpf::percpu_map<std::uint32_t, std::uint64_t> packets_;
};

// Until ten more packets have met that fate.
asio::awaitable<void> ten_more(light_switch const& light, std::uint32_t fate) {
  asio::steady_timer pause{co_await asio::this_coro::executor};
  for (auto const wanted = light.count(fate) + 10; light.count(fate) < wanted;) {
    pause.expires_after(std::chrono::milliseconds{5});
    co_await pause.async_wait(asio::use_awaitable);
  }
}

asio::awaitable<void> obey(light_switch& light) {
  asio::posix::stream_descriptor input{co_await asio::this_coro::executor, ::dup(STDIN_FILENO)};
  for (std::string line;;) {
    boost::system::error_code ec;
    auto const size = co_await asio::async_read_until(input, asio::dynamic_buffer(line), '\n',
                                                      asio::redirect_error(asio::use_awaitable, ec));
    if (ec == asio::error::eof) co_return;
    if (ec) throw boost::system::system_error{ec, "input"};
    auto const word = line.substr(0, size - 1);
    line.erase(0, size);
    if (word == "drop" || word == "pass") {
      light.set(word == "drop");
      co_await ten_more(light, word == "drop" ? dropped : passed);
      std::cout << word << ": " << light.count(passed) << " passed, " << light.count(dropped) << " dropped"
                << std::endl;
    } else {
      std::cout << "\"drop\" or \"pass\"?" << std::endl;
    }
  }
}

asio::awaitable<void> run() {
  auto const ex = co_await asio::this_coro::executor;
  auto const obj = co_await tinybpf::async_load(ex, PACKET_DROP_BPF_O);
  auto const link = co_await tinybpf::async_attach(ex, obj.program("drop"), tinybpf::xdp_target{"receiver"});
  light_switch light{obj};
  std::cerr << "UDP passes: type drop or pass; Ctrl-C ends it.\n";
  co_await until_signal(obey(light), send());
}

int main(int argc, char**) try {
  if (argc != 1) throw std::invalid_argument{"takes no arguments: it reads \"drop\" and \"pass\" from its input"};
  make_network();
  asio::io_context io;
  asio::co_spawn(io, run(), [](std::exception_ptr e) {
    if (e) std::rethrow_exception(e);
  });
  io.run();
} catch (std::exception const& e) {
  std::cerr << "packet_drop: " << e.what() << '\n';
  return EXIT_FAILURE;
}
