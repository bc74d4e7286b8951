// How long the calls of a function take, in every process that runs it, or in one: a histogram, until Ctrl-C.
// uprobe_latency [--pid PID] [--interval MS] [--count N] BINARY FUNCTION, such as: uprobe_latency libc.so.6 malloc
#include "until_signal.hpp"

#include <tinybpf/async.hpp>
#include <tinybpf/percpu_map.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/program_options.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iomanip>
#include <iostream>
#include <string>
#include <vector>

namespace asio = boost::asio;
namespace options = boost::program_options;

using latencies = tinybpf::percpu_map<std::uint32_t, std::uint64_t>;

void print(latencies const& slots) {
  std::vector<std::uint64_t> counts;
  for (auto const& [slot, by_cpu] : slots) {
    counts.resize(std::max<std::size_t>(counts.size(), slot + 1));
    counts[slot] = by_cpu.sum();
  }
  while (!counts.empty() && counts.back() == 0) counts.pop_back();
  auto const most = counts.empty() ? 1 : *std::max_element(counts.begin(), counts.end());
  auto const first = std::find_if(counts.begin(), counts.end(), [](auto n) { return n != 0; });
  for (auto i = first; i != counts.end(); ++i) {
    auto const from = std::uint64_t{1} << static_cast<unsigned>(i - counts.begin());
    std::cout << std::setw(12) << from << " ns  " << std::setw(10) << *i << "  "
              << std::string(static_cast<std::size_t>(*i * 40 / most), '@') << '\n';
  }
  std::cout << "----" << std::endl;
}

asio::awaitable<void> report(latencies const& slots, std::uint64_t count, std::chrono::milliseconds interval) {
  for (asio::steady_timer timer{co_await asio::this_coro::executor}; count != 0; --count) {
    timer.expires_after(interval);
    co_await timer.async_wait(asio::use_awaitable);
    print(slots);
  }
}

asio::awaitable<void> run(tinybpf::uprobe_target const& entry, tinybpf::uprobe_target const& leaving,
                          std::uint64_t count, std::chrono::milliseconds interval) {
  auto const ex = co_await asio::this_coro::executor;
  auto obj = co_await tinybpf::async_load(ex, UPROBE_LATENCY_BPF_O);
  // The return first: what was entered before it is watched is not counted.
  auto const on_return = co_await tinybpf::async_attach(ex, obj.program("on_return"), leaving);
  auto const on_entry = co_await tinybpf::async_attach(ex, obj.program("on_entry"), entry);

  std::cerr << "Watching " << entry.function << " of " << entry.binary.string() << "; Ctrl-C ends it.\n";
  latencies const slots{obj.map("latencies")};
  co_await until_signal(report(slots, count, interval));
}

int main(int argc, char** argv) try {
  options::options_description known{"uprobe_latency BINARY FUNCTION: how long its calls take"};
  known.add_options()("help", "show this")("binary", options::value<std::string>()->required(), "program or library")(
      "function", options::value<std::string>()->required(), "one of its functions")(
      "pid", options::value<int>()->default_value(-1, "all"), "of this process only")(
      "count", options::value<std::uint64_t>()->default_value(UINT64_MAX, "unlimited"), "stop after so many intervals")(
      "interval", options::value<unsigned>()->default_value(1000), "milliseconds from one histogram to the next");
  options::positional_options_description words;
  words.add("binary", 1).add("function", 1);
  options::variables_map given;
  options::store(options::command_line_parser(argc, argv).options(known).positional(words).run(), given);
  if (given.count("help") != 0) {
    std::cout << known;
    return EXIT_SUCCESS;
  }
  options::notify(given);
  tinybpf::uprobe_target const entry{
      given["binary"].as<std::string>(), given["function"].as<std::string>(), {.pid = given["pid"].as<int>()}};
  auto leaving = entry;
  leaving.options.retprobe = true;
  asio::io_context io;
  asio::co_spawn(io,
                 run(entry, leaving, given["count"].as<std::uint64_t>(),
                     std::chrono::milliseconds{given["interval"].as<unsigned>()}),
                 [](std::exception_ptr e) {
                   if (e) std::rethrow_exception(e);
                 });
  io.run();
} catch (std::exception const& e) {
  std::cerr << "uprobe_latency: " << e.what() << '\n';
  return EXIT_FAILURE;
}
