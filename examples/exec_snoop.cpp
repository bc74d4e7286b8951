// One line for every program that is started on this machine, until Ctrl-C.
#include <tinybpf/async.hpp>
#include <tinybpf/ring_buffer.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/describe/class.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <boost/program_options.hpp>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <iostream>
#include <string>

namespace asio = boost::asio;
namespace options = boost::program_options;

// The same as in exec_snoop.bpf.c; tinybpf checks it against the object.
struct exec_event {
  std::uint64_t time_ns;
  std::uint32_t pid;
  std::uint32_t ppid;
  std::uint32_t uid;
  char comm[16];
  char filename[256];
};
BOOST_DESCRIBE_STRUCT(exec_event, (), (time_ns, pid, ppid, uid, comm, filename))

std::string wall_clock(std::uint64_t monotonic_ns) {
  using namespace std::chrono;
  static auto const boot = system_clock::now() - steady_clock::now().time_since_epoch();
  auto const when = duration_cast<milliseconds>((boot + nanoseconds{monotonic_ns}).time_since_epoch()).count();
  std::time_t const seconds = when / 1000;
  char text[16];
  std::strftime(text, sizeof text, "%H:%M:%S", std::localtime(&seconds));
  return std::string{text} + '.' + std::to_string(1000 + when % 1000).substr(1);
}

void print(exec_event const& e, bool json) {
  auto const comm = tinybpf::to_string_view(e.comm);
  auto const file = tinybpf::to_string_view(e.filename);
  if (json)
    std::cout << boost::json::value{{"time", wall_clock(e.time_ns)},
                                    {"pid", e.pid},
                                    {"ppid", e.ppid},
                                    {"uid", e.uid},
                                    {"comm", comm},
                                    {"filename", file}}
              << std::endl;
  else
    std::cout << wall_clock(e.time_ns) << ' ' << e.pid << ' ' << e.ppid << ' ' << e.uid << ' ' << comm << ' ' << file
              << std::endl;
}

asio::awaitable<void> watch(tinybpf::ring_buffer& events, std::uint64_t& seen, std::uint64_t count, bool json) {
  while (seen < count) {
    auto const e = co_await events.next<exec_event>();
    ++seen;
    print(e, json);
  }
}

asio::awaitable<void> snoop(std::uint64_t count, std::chrono::duration<double> duration, bool json) {
  auto const ex = co_await asio::this_coro::executor;

  auto obj = co_await tinybpf::async_load(ex, EXEC_SNOOP_BPF_O);
  obj.register_type<exec_event>("exec_event");
  tinybpf::ring_buffer events{ex, obj.map("events")};
  auto const link = co_await tinybpf::async_attach(ex, obj.program("on_exec"));

  std::uint64_t seen = 0;
  asio::signal_set signals{ex, SIGINT, SIGTERM};
  asio::steady_timer timer{ex, std::chrono::duration_cast<std::chrono::steady_clock::duration>(duration)};
  std::cerr << "Watching for new programs; Ctrl-C ends it.\n";
  // Until the first of them ends. That the reader failed is not to be lost.
  auto const [order, failed, signal_ec, signal, timer_ec] =
      co_await asio::experimental::make_parallel_group(
          asio::co_spawn(ex, watch(events, seen, count, json), asio::deferred), signals.async_wait(asio::deferred),
          timer.async_wait(asio::deferred))
          .async_wait(asio::experimental::wait_for_one{}, asio::use_awaitable);
  if (order.front() == 0 && failed) std::rethrow_exception(failed);
  std::cerr << seen << " events seen, " << events.lost().value_or(0) << " lost\n";
}

int main(int argc, char** argv) try {
  options::options_description known{
      "exec_snoop: one line for every program started: time, pid, ppid, uid, command, file"};
  known.add_options()("help", "show this")("json", "one JSON object a line")(
      "count", options::value<std::uint64_t>()->default_value(UINT64_MAX, "unlimited"), "stop after so many events")(
      "duration", options::value<double>()->default_value(1e9, "unlimited"), "stop after so many seconds");
  options::variables_map given;
  options::store(options::parse_command_line(argc, argv, known), given);
  if (given.count("help") != 0) {
    std::cout << known;
    return EXIT_SUCCESS;
  }
  asio::io_context io;
  asio::co_spawn(io,
                 snoop(given["count"].as<std::uint64_t>(),
                       std::chrono::duration<double>{given["duration"].as<double>()}, given.count("json") != 0),
                 [](std::exception_ptr e) {
                   if (e) std::rethrow_exception(e);
                 });
  io.run();
} catch (std::exception const& e) {
  std::cerr << "exec_snoop: " << e.what() << '\n';
  return EXIT_FAILURE;
}
