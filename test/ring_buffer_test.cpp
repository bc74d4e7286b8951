// Ring buffers of the running kernel: events that really happened, rings that wrap around, objects that go away.
#include "features.hpp"
#include "streams.hpp"

#include <tinybpf/link.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/describe/class.hpp>
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>

namespace {

namespace asio = boost::asio;
namespace data = boost::unit_test::data;
using test::counted_event;
using test::ring;
using test::streams;
using test::write_args;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::record;
using tinybpf::ring_buffer;

// As in exec_snoop.bpf.c.
struct exec_event {
  std::uint64_t time_ns;
  std::uint32_t pid;
  std::uint32_t ppid;
  std::uint32_t uid;
  char comm[16];
  char filename[256];
};
BOOST_DESCRIBE_STRUCT(exec_event, (), (time_ns, pid, ppid, uid, comm, filename))

namespace outdated {
struct exec_event {
  std::uint64_t time_ns;
  std::uint32_t pid;
};
}  // namespace outdated

// Runs /bin/true, and gives its process id once it has ended.
std::uint32_t run_a_process() {
  char name[] = "true";
  char* arguments[] = {name, nullptr};
  pid_t child = 0;
  BOOST_TEST_REQUIRE(posix_spawn(&child, "/bin/true", nullptr, nullptr, arguments, environ) == 0);
  int status = 0;
  BOOST_TEST_REQUIRE(waitpid(child, &status, 0) == child);
  BOOST_TEST_REQUIRE(status == 0);
  return static_cast<std::uint32_t>(child);
}

struct exec_stream {
  // The next program that this process started: others start some, too.
  asio::awaitable<exec_event> next_of_ours() {
    for (;;) {
      auto const e = co_await buffer.next<exec_event>();
      if (e.ppid == static_cast<std::uint32_t>(getpid())) co_return e;
    }
  }

  asio::io_context io;
  tinybpf::object obj = tinybpf::load(EXEC_SNOOP_BPF_O);
  ring_buffer buffer{io, obj.map("events")};
  tinybpf::link link = obj.program("on_exec").attach();
};

BOOST_AUTO_TEST_SUITE(execs)

BOOST_AUTO_TEST_CASE(a_started_program_is_an_event, *test::shows("ringbuf")) {
  exec_stream s;
  s.obj.register_type<exec_event>("exec_event");
  auto const child = run_a_process();
  auto const e = test::run(s.io, s.next_of_ours());
  BOOST_TEST(e.pid == child);
  BOOST_TEST(e.uid == getuid());
  BOOST_TEST(tinybpf::to_string_view(e.comm) == "true");
  BOOST_TEST(tinybpf::to_string_view(e.filename) == "/bin/true");
  BOOST_TEST(e.time_ns > 0U);
  BOOST_TEST(s.buffer.lost().value() == 0U);
}

// Here the kernel wakes whoever sleeps on the descriptor.
BOOST_AUTO_TEST_CASE(a_reader_that_sleeps_is_woken) {
  exec_stream s;
  for (int i = 0; i < 20; ++i) {
    std::optional<exec_event> got;
    asio::co_spawn(s.io, s.next_of_ours(), [&](std::exception_ptr, exec_event e) { got = e; });
    s.io.restart();
    s.io.poll();
    BOOST_TEST_REQUIRE(!got.has_value());
    auto const child = run_a_process();
    while (!got) s.io.run_one();
    BOOST_TEST(got->pid == child);
  }
}

BOOST_AUTO_TEST_CASE(a_detached_program_delivers_nothing) {
  exec_stream s;
  run_a_process();
  s.link = {};
  run_a_process();
  int ours = 0;
  while (auto const e = s.buffer.try_next<exec_event>())
    if (e->ppid == static_cast<std::uint32_t>(getpid())) ++ours;
  BOOST_TEST(ours == 1);
}

// The program stays attached, and the stream goes on.
BOOST_DATA_TEST_CASE(an_object_that_goes_away_takes_nothing_with_it, data::make({false, true}), destroy) {
  exec_stream s;
  std::optional<exec_event> got;
  asio::co_spawn(s.io, s.next_of_ours(), [&](std::exception_ptr, exec_event e) { got = e; });
  s.io.poll();
  if (destroy)
    s.obj = tinybpf::object{};
  else
    s.obj.close();
  auto const first = run_a_process();
  while (!got) s.io.run_one();
  BOOST_TEST(got->pid == first);
  // Also for types that were not checked before, and the count of losses.
  auto const second = run_a_process();
  for (std::optional<std::uint32_t> pid; !pid;) {
    auto const r = s.buffer.try_next<record<exec_event>>();
    BOOST_TEST_REQUIRE(r.has_value());
    BOOST_TEST(r->map() == "events");
    if ((*r)->ppid == static_cast<std::uint32_t>(getpid())) pid = (*r)->pid;
    if (pid) BOOST_TEST(*pid == second);
  }
  error_code ec;
  BOOST_TEST(!s.buffer.try_next<outdated::exec_event>(ec));
  BOOST_TEST(ec == errc::type_mismatch);
  BOOST_TEST(s.buffer.lost().value() == 0U);
}

BOOST_AUTO_TEST_CASE(a_thousand_short_processes) {
  constexpr std::size_t count = 1000;
  exec_stream s;
  std::map<std::uint32_t, int> seen;
  auto const read = [&]() -> asio::awaitable<void> {
    for (std::size_t i = 0; i < count; ++i) {
      auto const e = co_await s.next_of_ours();
      ++seen[e.pid];
    }
  };
  std::map<std::uint32_t, int> started;
  std::thread starter{[&] {
    for (std::size_t i = 0; i < count; ++i) ++started[run_a_process()];
  }};
  test::run(s.io, read());
  starter.join();
  BOOST_TEST((seen == started));
  BOOST_TEST(s.buffer.lost().value() == 0U);
  while (auto const e = s.buffer.try_next<exec_event>()) BOOST_TEST(e->ppid != static_cast<std::uint32_t>(getpid()));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(types)

namespace renamed {
struct program_start : exec_event {};
BOOST_DESCRIBE_STRUCT(program_start, (exec_event), ())
struct short_one {
  std::uint64_t time_ns;
};
}  // namespace renamed

BOOST_AUTO_TEST_CASE(are_known_by_name_by_registration_or_by_size) {
  exec_stream s;
  auto const is = [](errc expected) { return [=](tinybpf::error const& e) { return e.code() == expected; }; };
  // By its name, although nothing has happened yet.
  BOOST_CHECK_EXCEPTION(static_cast<void>(s.buffer.try_next<outdated::exec_event>()), tinybpf::error,
                        is(errc::type_mismatch));
  BOOST_CHECK_EXCEPTION(test::run(s.io, s.buffer.next<outdated::exec_event>()), tinybpf::error,
                        is(errc::type_mismatch));
  // By registration.
  s.obj.register_type<renamed::program_start>("exec_event");
  BOOST_CHECK_EXCEPTION(s.obj.register_type<renamed::short_one>("exec_event"), tinybpf::error, is(errc::type_mismatch));
  run_a_process();
  run_a_process();
  BOOST_TEST(test::run(s.io, s.buffer.next<renamed::program_start>()).pid != 0U);
  // By nothing but each record's size.
  BOOST_CHECK_EXCEPTION(static_cast<void>(s.buffer.try_next<renamed::short_one>()), tinybpf::error,
                        is(errc::record_size));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(rings)

BOOST_AUTO_TEST_CASE(not_loaded) {
  asio::io_context io;
  auto const obj = tinybpf::object::open(STREAMS_BPF_O);
  error_code ec;
  diagnostics details;
  ring_buffer const buffer{io.get_executor(), obj.map("first"), ec, details};
  BOOST_TEST(ec == errc::not_loaded);
  BOOST_TEST(details.map == "first");
  BOOST_TEST(!buffer.is_open());
}

// The buffer's own, and not for programs that this one may start.
BOOST_AUTO_TEST_CASE(descriptors) {
  streams s;
  ring_buffer buffer{s.io, s.obj.map("first")};
  BOOST_TEST(buffer.native_handle() >= 0);
  BOOST_TEST(buffer.native_handle() != s.obj.map("first").fd());
  BOOST_TEST((fcntl(buffer.native_handle(), F_GETFD) & FD_CLOEXEC) != 0);
  buffer.add(s.obj.map("second"));
  BOOST_TEST((fcntl(buffer.native_handle(), F_GETFD) & FD_CLOEXEC) != 0);
}

// Records of many sizes, so that they begin and wrap around everywhere.
BOOST_DATA_TEST_CASE(many_laps, data::make({"tiny", "first"}), map) {
  streams s;
  auto const which = std::string{map} == "tiny" ? ring::tiny : ring::first;
  std::uint64_t const size = s.obj.map(map).max_entries();
  ring_buffer buffer{s.io, s.obj.map(map)};
  std::mt19937 random{5};
  std::deque<std::pair<std::uint64_t, std::uint32_t>> sent;  // serial, size
  std::uint64_t serial = 0;
  std::uint64_t position = 0;
  std::uint64_t crossed = 0;
  auto const read_one = [&] {
    auto const r = buffer.try_next<record<test::named_event>>();
    BOOST_TEST_REQUIRE(r.has_value());
    BOOST_TEST_REQUIRE(r->position() == position);
    BOOST_TEST_REQUIRE((*r)->serial == sent.front().first);
    BOOST_TEST_REQUIRE(r->data().size() == sent.front().second);
    BOOST_TEST_REQUIRE(r->trailing().size() == (*r)->length);
    if (position % size + 8 + r->data().size() > size) ++crossed;
    position += (r->data().size() + 15) & ~std::uint64_t{7};
    sent.pop_front();
  };
  while (position < 60 * size) {
    for (auto n = random() % 20; n > 0; --n) {
      write_args args;
      args.kind = test::named_kind;
      args.size = static_cast<std::uint32_t>(sizeof(test::named_event) + random() % 700);
      args.first = serial;
      if (s.write(which, 1, args).written == 0) break;
      sent.emplace_back(serial++, args.size);
    }
    for (auto n = random() % (sent.size() + 1); n > 0; --n) read_one();
    if (random() % 4 == 0) buffer.publish();
  }
  while (!sent.empty()) read_one();
  BOOST_TEST(!buffer.try_next<test::named_event>());
  BOOST_TEST(crossed >= 50U);
  buffer.publish();
  BOOST_TEST(s.unread(which) == 0U);
}

// Every record is read in its place, or counted as lost.
BOOST_AUTO_TEST_CASE(millions_of_records) {
  constexpr std::uint64_t count = 4'000'000;
  constexpr std::uint64_t at_once = 100'000;
  streams s;
  ring_buffer buffer{s.io, s.obj.map("first")};
  auto view = buffer.typed<counted_event>();
  std::uint64_t written = 0;
  std::uint64_t failed = 0;
  std::thread writer{[&] {
    for (std::uint64_t first = 0; first < count; first += at_once) {
      write_args args;
      args.first = first;
      auto const done = s.write(ring::first, at_once, args);
      written += done.written;
      failed += done.failed;
    }
    // The last one tells the reader that all is over.
    write_args last;
    last.first = count;
    while (s.write(ring::first, 1, last).written == 0) {
      ++failed;
      std::this_thread::yield();
    }
  }};
  std::uint64_t received = 0;
  std::uint64_t next = 0;
  bool in_order = true;
  auto const read = [&]() -> asio::awaitable<void> {
    while (next <= count) {
      for (auto const& e : co_await view.read_some(512)) {
        in_order = in_order && e.serial >= next;
        next = e.serial + 1;
        ++received;
      }
    }
  };
  s.run(read());
  writer.join();
  BOOST_TEST(in_order);
  BOOST_TEST(received == written + 1);
  BOOST_TEST(buffer.lost().value() == failed);
  BOOST_TEST(written + failed >= count);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
