// Programs that start and end, as two types of events through one ring: multi_event_types [COUNT]
#include <tinybpf/async.hpp>
#include <tinybpf/ring_buffer.hpp>

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
#include <variant>

namespace asio = boost::asio;

enum event_kind : std::uint32_t { event_exec = 1, event_exit = 2 };

struct exec_event {
  event_kind kind;
  std::uint32_t pid;
  char comm[16];
};
BOOST_DESCRIBE_STRUCT(exec_event, (), (kind, pid, comm))

struct exit_event {
  event_kind kind;
  std::uint32_t pid;
  std::uint64_t lived_ns;
};

// How a record says which of them it is.
template <>
struct tinybpf::event_traits<exec_event> {
  static constexpr auto tag = tinybpf::tag(&exec_event::kind, event_exec);
};
template <>
struct tinybpf::event_traits<exit_event> {
  static constexpr auto tag = tinybpf::tag(&exit_event::kind, event_exit);
};

struct printer {
  void operator()(exec_event const& e) const {
    std::cout << "exec " << e.pid << ' ' << tinybpf::to_string_view(e.comm) << std::endl;
  }
  void operator()(exit_event const& e) const {
    std::cout << "exit " << e.pid << " after " << e.lived_ns / 1000 << " us" << std::endl;
  }
  void operator()(tinybpf::lost const& l) const { std::cout << "lost " << l.count << std::endl; }
};

asio::awaitable<void> watch(tinybpf::ring_buffer& events, std::uint64_t count) {
  for (; count != 0; --count) {
    auto const e = co_await events.next<exec_event, exit_event, tinybpf::lost>();
    std::visit(printer{}, e);
  }
}

asio::awaitable<void> run(std::uint64_t count) {
  auto const ex = co_await asio::this_coro::executor;
  auto obj = co_await tinybpf::async_load(ex, MULTI_EVENT_TYPES_BPF_O);
  tinybpf::ring_buffer events{ex, obj.map("events")};
  auto const on_exec = co_await tinybpf::async_attach(ex, obj.program("on_exec"));
  auto const on_exit = co_await tinybpf::async_attach(ex, obj.program("on_exit"));
  asio::signal_set signals{ex, SIGINT, SIGTERM};
  std::cerr << "Watching programs start and end; Ctrl-C ends it.\n";
  // Until the first of them ends. That the reader failed is not to be lost.
  auto const [order, failed, signal_ec, signal] =
      co_await asio::experimental::make_parallel_group(asio::co_spawn(ex, watch(events, count), asio::deferred),
                                                       signals.async_wait(asio::deferred))
          .async_wait(asio::experimental::wait_for_one{}, asio::use_awaitable);
  if (order.front() == 0 && failed) std::rethrow_exception(failed);
}

int main(int argc, char** argv) try {
  asio::io_context io;
  asio::co_spawn(io, run(argc > 1 ? std::stoull(argv[1]) : UINT64_MAX), [](std::exception_ptr e) {
    if (e) std::rethrow_exception(e);
  });
  io.run();
} catch (std::exception const& e) {
  std::cerr << "multi_event_types: " << e.what() << '\n';
  return EXIT_FAILURE;
}
