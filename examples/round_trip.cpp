// Asks a BPF program through a user ring buffer, which answers through a ring buffer: round_trip [COUNT]
#include <tinybpf/async.hpp>
#include <tinybpf/ring_buffer.hpp>
#include <tinybpf/user_ring_buffer.hpp>

#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <string>

namespace asio = boost::asio;

// As in round_trip.bpf.c.
struct question {
  std::uint64_t number;
  std::uint64_t asked_ns;
};

struct answer {
  std::uint64_t number;
  std::uint64_t asked_ns;
  std::uint64_t answered_ns;
  std::uint32_t cpu;
  std::uint32_t pid;
};

std::uint64_t now_ns() {
  return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds{1});
}

asio::awaitable<void> run(std::uint64_t count) {
  auto const ex = co_await asio::this_coro::executor;
  auto obj = co_await tinybpf::async_load(ex, ROUND_TRIP_BPF_O);
  tinybpf::user_ring_buffer questions{ex, obj.map("questions")};
  tinybpf::ring_buffer answers{ex, obj.map("answers")};
  auto const link = co_await tinybpf::async_attach(ex, obj.program("on_getpgid"));
  for (std::uint64_t number = 1; number <= count; ++number) {
    auto q = co_await questions.reserve<question>();
    q->number = number;
    q->asked_ns = now_ns();
    q.submit();
    static_cast<void>(getpgid(0));  // where the program runs
    auto const a = co_await answers.next<answer>();
    std::cout << "answer " << a.number << " from CPU " << a.cpu << " after " << a.answered_ns - a.asked_ns
              << " ns, here after " << now_ns() - a.asked_ns << " ns" << std::endl;
  }
}

int main(int argc, char** argv) try {
  asio::io_context io;
  asio::co_spawn(io, run(argc > 1 ? std::stoull(argv[1]) : 10), [](std::exception_ptr e) {
    if (e) std::rethrow_exception(e);
  });
  io.run();
} catch (std::exception const& e) {
  std::cerr << "round_trip: " << e.what() << '\n';
  return EXIT_FAILURE;
}
