// Packets and bytes per second of each IP protocol, as an XDP program counts them, until Ctrl-C: on a veth pair in a
// network namespace of its own, through which the example itself sends UDP.
#include "until_signal.hpp"
#include "veth.hpp"

#include <tinybpf/async.hpp>
#include <tinybpf/percpu_map.hpp>

#include <netdb.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/describe/class.hpp>
#include <boost/program_options.hpp>

#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>

namespace asio = boost::asio;
namespace options = boost::program_options;
using std::chrono::steady_clock;

// As in xdp_counter.bpf.c.
struct traffic {
  std::uint64_t packets;
  std::uint64_t bytes;

  friend traffic operator+(traffic a, traffic b) { return {a.packets + b.packets, a.bytes + b.bytes}; }
  friend traffic operator-(traffic a, traffic b) { return {a.packets - b.packets, a.bytes - b.bytes}; }
};
BOOST_DESCRIBE_STRUCT(traffic, (), (packets, bytes))

using traffic_counters = tinybpf::percpu_map<std::uint32_t, traffic>;

void print(std::uint32_t protocol, traffic const& seen, std::chrono::duration<double> during) {
  auto const* const known = ::getprotobynumber(static_cast<int>(protocol));
  auto const per_second = [&](std::uint64_t n) { return std::llround(static_cast<double>(n) / during.count()); };
  std::cout << (known != nullptr ? known->p_name : std::to_string(protocol)) << ' ' << per_second(seen.packets)
            << " packets/s " << per_second(seen.bytes) << " bytes/s" << std::endl;
}

asio::awaitable<void> report(traffic_counters const& counters, std::uint64_t count,
                             std::chrono::milliseconds interval) {
  std::map<std::uint32_t, traffic> reported;
  asio::steady_timer timer{co_await asio::this_coro::executor};
  for (auto begin = steady_clock::now(); count != 0; --count) {
    timer.expires_after(interval);
    co_await timer.async_wait(asio::use_awaitable);
    auto const during = steady_clock::now() - begin;
    begin += during;
    for (auto const& [protocol, by_cpu] : counters) {
      auto const total = by_cpu.sum();
      auto const seen = total - std::exchange(reported[protocol], total);
      if (seen.packets != 0) print(protocol, seen, during);
    }
  }
}

asio::awaitable<void> run(std::uint64_t count, std::chrono::milliseconds interval) {
  auto const ex = co_await asio::this_coro::executor;
  auto obj = co_await tinybpf::async_load(ex, XDP_COUNTER_BPF_O);
  traffic_counters const counters{obj.map("counters")};
  auto const link = co_await tinybpf::async_attach(ex, obj.program("count"), tinybpf::xdp_target{"receiver"});

  std::cerr << "Counting packets; Ctrl-C ends it.\n";
  co_await until_signal(report(counters, count, interval), send());
}

int main(int argc, char** argv) try {
  options::options_description known{"xdp_counter: packets and bytes per second of each IP protocol on a veth pair"};
  known.add_options()("help", "show this")(
      "count", options::value<std::uint64_t>()->default_value(UINT64_MAX, "unlimited"), "stop after so many intervals")(
      "interval", options::value<int>()->default_value(1000), "milliseconds from one report to the next");
  options::variables_map given;
  options::store(options::parse_command_line(argc, argv, known), given);
  if (given.count("help") != 0) {
    std::cout << known;
    return EXIT_SUCCESS;
  }
  std::chrono::milliseconds const interval{given["interval"].as<int>()};
  if (interval.count() <= 0) throw std::invalid_argument{"--interval wants a millisecond at least"};
  make_network();
  asio::io_context io;
  asio::co_spawn(io, run(given["count"].as<std::uint64_t>(), interval), [](std::exception_ptr e) {
    if (e) std::rethrow_exception(e);
  });
  io.run();
} catch (std::exception const& e) {
  std::cerr << "xdp_counter: " << e.what() << '\n';
  return EXIT_FAILURE;
}
