// Asks a BPF program through a user ring buffer, which answers through a ring buffer: round_trip [COUNT]
#include <tinybpf/async.hpp>
#include <tinybpf/ring_buffer.hpp>
#include <tinybpf/user_ring_buffer.hpp>

#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <string>
#include <variant>

namespace asio = boost::asio;
using namespace asio::experimental::awaitable_operators;

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

// The program runs when we call getpgid; once is enough, unless another process drains the questions at that moment.
asio::awaitable<answer> ask(tinybpf::ring_buffer& answers) {
  asio::steady_timer again{co_await asio::this_coro::executor};
  for (;;) {
    static_cast<void>(getpgid(0));
    again.expires_after(std::chrono::milliseconds{10});
    auto const got = co_await (answers.next<answer>() || again.async_wait(asio::use_awaitable));
    if (auto const* const a = std::get_if<answer>(&got)) co_return *a;
  }
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
    auto const a = co_await ask(answers);
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
