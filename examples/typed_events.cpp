// Events as C++ structs that are held against the object's BTF, and what is said of one that does not fit:
// typed_events [COUNT], typed_events --outdated
#include <tinybpf/async.hpp>
#include <tinybpf/ring_buffer.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/describe/class.hpp>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>
#include <string_view>

namespace asio = boost::asio;

// The same as in typed_events.bpf.c. Enumerations, arrays and structs are C++'s own. Described, the fields are compared
// by name, too; only C arrays need it: without them a plain struct will do.
enum class task_change : std::uint32_t { started = 1, ended = 2 };

struct ids {
  std::uint32_t first;
  std::uint32_t group;
};

struct task_event {
  std::uint64_t time_ns;
  ids task;
  ids user;
  task_change change;
  char comm[16];
  std::array<std::uint64_t, 4> recent;
};
BOOST_DESCRIBE_STRUCT(ids, (), (first, group))
BOOST_DESCRIBE_STRUCT(task_event, (), (time_ns, task, user, change, comm, recent))

// What somebody forgot to change when `user` came, and a `long` that was always wrong.
namespace outdated {

struct task_event {
  std::uint64_t time_ns;
  ids task;
  long change;
  char comm[16];
  std::array<std::uint64_t, 4> recent;
};
BOOST_DESCRIBE_STRUCT(task_event, (), (time_ns, task, change, comm, recent))

}  // namespace outdated

asio::awaitable<void> watch(tinybpf::ring_buffer& events, std::uint64_t count) {
  // Checked here, and never again: what follows costs what it would without types.
  auto tasks = events.typed<task_event>();
  for (; count != 0; --count) {
    auto const e = co_await tasks.next();
    std::cout << (e.change == task_change::started ? "started " : "ended ") << e.task.group << " of user "
              << e.user.first << ' ' << tinybpf::to_string_view(e.comm) << ", "
              << (e.recent[1] != 0 ? (e.time_ns - e.recent[1]) / 1000 : 0) << " us after the one before" << std::endl;
  }
}

asio::awaitable<void> run(std::uint64_t count) {
  auto const ex = co_await asio::this_coro::executor;
  auto obj = co_await tinybpf::async_load(ex, TYPED_EVENTS_BPF_O);
  tinybpf::ring_buffer events{ex, obj.map("events")};
  auto const on_exec = co_await tinybpf::async_attach(ex, obj.program("on_exec"));
  auto const on_exit = co_await tinybpf::async_attach(ex, obj.program("on_exit"));
  asio::signal_set signals{ex, SIGINT, SIGTERM};
  std::cerr << "Watching tasks start and end; Ctrl-C ends it.\n";
  // Until the first of them ends. That the reader failed is not to be lost.
  auto const [order, failed, signal_ec, signal] =
      co_await asio::experimental::make_parallel_group(asio::co_spawn(ex, watch(events, count), asio::deferred),
                                                       signals.async_wait(asio::deferred))
          .async_wait(asio::experimental::wait_for_one{}, asio::use_awaitable);
  if (order.front() == 0 && failed) std::rethrow_exception(failed);
}

int main(int argc, char** argv) try {
  std::string_view const argument = argc > 1 ? argv[1] : "";
  if (argument == "--outdated") {
    auto obj = tinybpf::object::open(TYPED_EVENTS_BPF_O);
    obj.register_type<outdated::task_event>("task_event");  // throws
  }
  asio::io_context io;
  asio::co_spawn(io, run(argument.empty() ? UINT64_MAX : std::stoull(argv[1])), [](std::exception_ptr e) {
    if (e) std::rethrow_exception(e);
  });
  io.run();
} catch (tinybpf::error const& e) {
  std::cerr << "typed_events: " << e.what() << '\n';
  for (auto const& d : e.get_diagnostics().differences)
    std::cerr << "  '" << d.field << "': " << d.cpp << " in C++, " << d.object << " in the object\n";
  return EXIT_FAILURE;
} catch (std::exception const& e) {
  std::cerr << "typed_events: " << e.what() << '\n';
  return EXIT_FAILURE;
}
