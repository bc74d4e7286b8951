// What README.md and docs/PRIVILEGES.md show, each in the surroundings that it takes for granted: it has to compile,
// and is not run.
#include <tinybpf/tinybpf.hpp>

#include <grp.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/describe/class.hpp>

#include <cstdint>
#include <filesystem>
#include <iostream>
#include <vector>

namespace asio = boost::asio;

#define SNIPPET 1
#include "snippets/README.inc"

struct exit_event {
  std::uint32_t pid;
  std::uint32_t kind;
};
BOOST_DESCRIBE_STRUCT(exit_event, (), (pid, kind))
template <>
struct tinybpf::event_traits<exec_event> {
  static constexpr auto tag = tinybpf::tag(&exec_event::uid, 1);
};
template <>
struct tinybpf::event_traits<exit_event> {
  static constexpr auto tag = tinybpf::tag(&exit_event::kind, 2);
};
struct config {
  std::uint32_t port;
};
struct flow_key {
  std::uint32_t address;
};
struct flow_stats {
  std::uint64_t packets;
};
struct task_row {
  std::uint32_t pid;
};
struct command {
  std::uint32_t pid;
};

asio::awaitable<void> reads_events(tinybpf::ring_buffer& events){
#define SNIPPET 2
#include "snippets/README.inc"
}

asio::awaitable<void> needs_no_types(tinybpf::object& obj, tinybpf::ring_buffer& events){
#define SNIPPET 3
#include "snippets/README.inc"
}

asio::awaitable<void> uses_maps(flow_key key, std::vector<flow_key> const& keys,
                                std::vector<flow_stats> const& values) {
  auto const ex = co_await asio::this_coro::executor;
#define SNIPPET 4
#include "snippets/README.inc"
}

asio::awaitable<void> attaches(tinybpf::object& obj) {
  auto const ex = co_await asio::this_coro::executor;
#define SNIPPET 5
#include "snippets/README.inc"
}

asio::awaitable<void> reads_perf_buffers(tinybpf::object& obj) {
  auto const ex = co_await asio::this_coro::executor;
#define SNIPPET 6
#include "snippets/README.inc"
}

asio::awaitable<void> writes(tinybpf::object& obj, std::uint32_t pid) {
  auto const ex = co_await asio::this_coro::executor;
#define SNIPPET 7
#include "snippets/README.inc"
}

static_assert(SNIPPETS == 7, "README.md has another snippet: give it its surroundings here");

void asks() {
#define SNIPPET 1
#include "snippets/PRIVILEGES.inc"
}

void loads_drops_runs(asio::io_context& io, uid_t nobody) {
  auto const ex = io.get_executor();
#define SNIPPET 2
#include "snippets/PRIVILEGES.inc"
}

void uses_a_token() {
#define SNIPPET 3
#include "snippets/PRIVILEGES.inc"
}

static_assert(SNIPPETS == 3, "docs/PRIVILEGES.md has another snippet: give it its surroundings here");
