// One program for kernels with ring buffers and without: either_buffer [ring|perf|best] [COUNT]
#include <tinybpf/async.hpp>
#include <tinybpf/event_source.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/describe/class.hpp>

#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>
#include <string_view>

namespace asio = boost::asio;

struct exec_event {
  std::uint32_t pid;
  char comm[16];
};
BOOST_DESCRIBE_STRUCT(exec_event, (), (pid, comm))

// Knows nothing of rings or CPUs.
asio::awaitable<void> watch(tinybpf::event_source& events, std::uint64_t count) {
  for (; count != 0; --count) {
    auto const e = co_await events.next<exec_event>();
    std::cout << "exec " << e.pid << ' ' << tinybpf::to_string_view(e.comm) << std::endl;
  }
}

asio::awaitable<void> run(tinybpf::map_type wanted, std::uint64_t count) {
  auto const ex = co_await asio::this_coro::executor;
  auto obj = tinybpf::object::open(EITHER_BUFFER_BPF_O);
  auto const chosen = tinybpf::set_events_type(obj.map("events"), wanted);
  obj.load();
  tinybpf::event_source events{ex, obj.map("events")};
  auto const link = co_await tinybpf::async_attach(ex, obj.program("on_exec"));
  asio::signal_set signals{ex, SIGINT, SIGTERM};
  std::cerr << "Watching programs start, through a map of type " << to_string(chosen) << "; Ctrl-C ends it.\n";
  // Until the first of them ends. That the reader failed is not to be lost.
  auto const [order, failed, signal_ec, signal] =
      co_await asio::experimental::make_parallel_group(asio::co_spawn(ex, watch(events, count), asio::deferred),
                                                       signals.async_wait(asio::deferred))
          .async_wait(asio::experimental::wait_for_one{}, asio::use_awaitable);
  if (order.front() == 0 && failed) std::rethrow_exception(failed);
}

tinybpf::map_type type_named(std::string_view name) {
  if (name == "ring") return tinybpf::map_type::ringbuf;
  if (name == "perf") return tinybpf::map_type::perf_event_array;
  return tinybpf::map_type::unspec;  // whatever the kernel does best
}

int main(int argc, char** argv) try {
  auto const wanted = type_named(argc > 1 ? argv[1] : "best");
  auto const count = argc > 2 ? std::stoull(argv[2]) : UINT64_MAX;
  asio::io_context io;
  asio::co_spawn(io, run(wanted, count), [](std::exception_ptr e) {
    if (e) std::rethrow_exception(e);
  });
  io.run();
} catch (std::exception const& e) {
  std::cerr << "either_buffer: " << e.what() << '\n';
  return EXIT_FAILURE;
}
