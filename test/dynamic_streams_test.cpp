// Events read by the names of their types alone, from rings and perf buffers.
#include "loop.hpp"
#include "print.hpp"
#include "support.hpp"

#include <tinybpf/dynamic_value.hpp>
#include <tinybpf/event_source.hpp>
#include <tinybpf/object.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <bpf/bpf.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <optional>
#include <ostream>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace dynamic_test {

namespace asio = boost::asio;
namespace data = boost::unit_test::data;
using test::contains;
using tinybpf::diagnostics;
using tinybpf::dynamic_value;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::event_source;
using tinybpf::object;

enum to : std::uint32_t { ring, other_ring, perf };
constexpr std::array names{"ring", "other_ring", "perf"};

// As in dynamic_streams.bpf.c.
struct plain_event {
  std::uint32_t pid;
  std::int32_t code;
  char comm[16];
};

struct request {
  std::uint32_t to;
  std::uint32_t size;
  std::byte data[64];
};

struct streams : test::loop {
  void emit(to where, std::span<std::byte const> data) const {
    request r{};
    r.to = where;
    r.size = static_cast<std::uint32_t>(data.size());
    std::memcpy(r.data, data.data(), data.size());
    std::uint32_t const key = 0;
    obj.map("asked").update(test::bytes_of(key), test::bytes_of(r));
    bpf_test_run_opts opts{};
    opts.sz = sizeof opts;
    if (bpf_prog_test_run_opts(obj.program("emit").fd(), &opts) != 0) throw std::runtime_error{"emit"};
  }
  void emit(to where, std::uint32_t pid) const { emit(where, test::bytes_of(plain_event{pid, -1, "comm"})); }
  void emit(to where, std::string_view bytes) const { emit(where, std::as_bytes(std::span{bytes})); }

  event_source open(to where) { return event_source{io.get_executor(), obj.map(names[where])}; }

  object obj = tinybpf::load(DYNAMIC_STREAMS_BPF_O);
};

using tries = std::optional<dynamic_value>;

BOOST_FIXTURE_TEST_SUITE(events_by_name, streams)

BOOST_DATA_TEST_CASE(are_read, data::make({ring, perf}), where) {
  event_source events = open(where);
  BOOST_TEST(!events.try_next_dynamic("plain_event").has_value());
  emit(where, 1);
  emit(where, 2);
  emit(where, 3);
  tries const first = events.try_next_dynamic("plain_event");
  BOOST_REQUIRE(first.has_value());
  BOOST_TEST((*first)["pid"].as<int>() == 1);
  BOOST_TEST(first->bytes().size() == sizeof(plain_event));  // without the padding of perf buffers
  BOOST_TEST(first->type().to_string() == "struct plain_event");
  error_code ec = errc::closed;
  tries const second = events.try_next_dynamic("plain_event", ec);
  BOOST_TEST(!ec);
  BOOST_TEST((*second)["pid"].as<int>() == 2);
  run([&]() -> asio::awaitable<void> {
    dynamic_value const third = co_await events.next_dynamic("plain_event");
    BOOST_TEST(third["pid"].as<int>() == 3);
    BOOST_TEST(third["code"].as<int>() == -1);
    BOOST_TEST(third["comm"].as<std::string>() == "comm");
  }());
  diagnostics details;
  BOOST_TEST(!events.try_next_dynamic("plain_event", ec, details).has_value());
  BOOST_TEST(!ec);
  BOOST_TEST(details.empty());
  // What was read stays.
  events.close();
  obj.close();
  BOOST_TEST((*first)["comm"].as<std::string>() == "comm");
}

BOOST_DATA_TEST_CASE(are_awaited, data::make({ring, perf}), where) {
  event_source events = open(where);
  std::optional<int> got;
  asio::co_spawn(
      io,
      [&]() -> asio::awaitable<void> {
        dynamic_value const e = co_await events.next_dynamic("plain_event");
        got = e["pid"].as<int>();
      },
      [](std::exception_ptr e) { BOOST_TEST(!e); });
  poll();
  BOOST_TEST(!got.has_value());
  emit(where, 7);
  run_until([&] { return got.has_value(); });
  BOOST_TEST(*got == 7);
}

BOOST_AUTO_TEST_CASE(have_flexible_arrays) {
  auto events = open(ring);
  emit(ring, std::string_view{"\2\0\0\0\5\0\6\0", 8});
  emit(ring, std::string_view{"\0\0\0\0", 4});
  auto e = events.try_next_dynamic("tailed_event");
  BOOST_TEST((*e)["tail"].size() == 2U);
  BOOST_TEST((*e)["tail"][1].as<int>() == 6);
  e = events.try_next_dynamic("tailed_event");
  BOOST_TEST((*e)["tail"].size() == 0U);
}

// The kernel pads records to 4 bytes behind a multiple of 8: who wrote the event said how many elements it has.
BOOST_AUTO_TEST_CASE(have_flexible_arrays_in_perf_buffers) {
  auto events = open(perf);
  emit(perf, std::string_view{"\2\0\0\0\5\0\6\0", 8});
  tries const e = events.try_next_dynamic("tailed_event");
  BOOST_REQUIRE(e.has_value());
  BOOST_TEST((*e)["tail"].size() >= (*e)["count"].as<std::size_t>());
  BOOST_TEST((*e)["tail"][0].as<int>() == 5);
  BOOST_TEST((*e)["tail"][1].as<int>() == 6);
}

BOOST_DATA_TEST_CASE(of_another_size_are_skipped, data::make({ring, perf}), where) {
  event_source events = open(where);
  std::string const longer(40, 'x');
  for (auto const& bad : {std::string_view{"abcd"}, std::string_view{longer}}) {
    emit(where, bad);
    emit(where, 5);
    error_code ec;
    diagnostics details;
    BOOST_TEST(!events.try_next_dynamic("plain_event", ec, details).has_value());
    BOOST_TEST(ec == make_error_code(errc::record_size));
    BOOST_TEST(details.expected_size == sizeof(plain_event));
    BOOST_TEST(details.actual_size >= bad.size());
    BOOST_TEST(contains(details.message, "was skipped"));
    BOOST_TEST(contains(details.message, "'struct plain_event'"));
    BOOST_TEST(contains(details.map, names[where]));
    BOOST_TEST((*events.try_next_dynamic("plain_event"))["pid"].as<int>() == 5);
    // Likewise where it is thrown.
    emit(where, bad);
    emit(where, 6);
    BOOST_CHECK_EXCEPTION(static_cast<void>(events.try_next_dynamic("plain_event")), tinybpf::error,
                          [](tinybpf::error const& e) { return e.code() == make_error_code(errc::record_size); });
    emit(where, bad);
    run([&]() -> asio::awaitable<void> {
      dynamic_value const next = co_await events.next_dynamic("plain_event");
      BOOST_TEST(next["pid"].as<int>() == 6);
      bool refused = false;
      try {
        co_await events.next_dynamic("plain_event");
      } catch (tinybpf::error const& e) {
        refused = e.code() == make_error_code(errc::record_size);
      }
      BOOST_TEST(refused);
    }());
  }
}

BOOST_AUTO_TEST_CASE(of_unknown_types_stay) {
  auto events = open(ring);
  emit(ring, 1);
  error_code ec;
  diagnostics details;
  BOOST_TEST(!events.try_next_dynamic("plain_evnt", ec, details).has_value());
  BOOST_TEST(ec == make_error_code(errc::not_found));
  BOOST_TEST(contains(details.message, "'plain_evnt'"));
  BOOST_TEST(contains(details.hint, "did you mean 'plain_event'?"));
  BOOST_TEST(contains(details.hint, "anchor"));
  BOOST_TEST(details.map == "ring");
  run([&]() -> asio::awaitable<void> {
    bool refused = false;
    try {
      co_await events.next_dynamic("plain_evnt");
    } catch (tinybpf::error const& e) {
      refused = e.code() == make_error_code(errc::not_found);
    }
    BOOST_TEST(refused);
  }());
  BOOST_TEST((*events.try_next_dynamic("plain_event"))["pid"].as<int>() == 1);
}

// A function's name is no event's.
BOOST_AUTO_TEST_CASE(of_types_without_values) {
  auto events = open(ring);
  emit(ring, 1);
  error_code ec;
  diagnostics details;
  BOOST_TEST(!events.try_next_dynamic("emit", ec, details).has_value());
  BOOST_TEST(ec == make_error_code(errc::not_found));
  BOOST_TEST((*events.try_next_dynamic("plain_event"))["pid"].as<int>() == 1);
}

// What was copied is handed back as what is read by a type is: another reader of the ring does not find it.
BOOST_AUTO_TEST_CASE(are_consumed) {
  auto events = open(ring);
  emit(ring, 1);
  BOOST_TEST(events.try_next_dynamic("plain_event").has_value());
  events.publish();
  BOOST_TEST(!open(ring).try_next<tinybpf::bytes>().has_value());
  emit(ring, 2);
  run([&]() -> asio::awaitable<void> {
    auto const e = co_await events.next_dynamic("plain_event");
    BOOST_TEST(e["pid"].as<int>() == 2);
  }());
  events.publish();
  BOOST_TEST(!open(ring).try_next<tinybpf::bytes>().has_value());
}

BOOST_AUTO_TEST_CASE(of_no_buffer_yet) {
  event_source events{io.get_executor()};
  error_code ec = errc::closed;
  BOOST_TEST(!events.try_next_dynamic("plain_event", ec).has_value());
  BOOST_TEST(!ec);
  events.close();
  BOOST_TEST(!events.try_next_dynamic("plain_evnt", ec).has_value());
  BOOST_TEST(ec == make_error_code(errc::closed));
}

BOOST_AUTO_TEST_CASE(of_each_buffer_are_its_objects) {
  auto other = tinybpf::load(STREAMS_BPF_O);
  auto events = open(ring);
  events.add(other.map("first"));
  emit(ring, std::string_view{"\x9\0\0\0\0\0\0\0", 8});
  auto e = events.try_next_dynamic("counted_event");
  BOOST_TEST((*e)["only"].as<int>() == 9);
  struct write_args {
    std::uint32_t ring, index, kind, size;
    std::uint64_t count, flags, first, time, step, written, failed;
  } args{};
  args.kind = 1;
  args.count = 1;
  args.first = 42;
  bpf_test_run_opts opts{};
  opts.sz = sizeof opts;
  opts.ctx_in = &args;
  opts.ctx_size_in = sizeof args;
  BOOST_TEST_REQUIRE(bpf_prog_test_run_opts(other.program("write_records").fd(), &opts) == 0);
  e = events.try_next_dynamic("counted_event");
  BOOST_REQUIRE(e.has_value());
  BOOST_TEST((*e)["serial"].as<int>() == 42);
  // What only the other one's object has, a record of this one cannot be.
  emit(ring, 1);
  error_code ec;
  diagnostics details;
  BOOST_TEST(!events.try_next_dynamic("named_event", ec, details).has_value());
  BOOST_TEST(ec == make_error_code(errc::not_found));
  BOOST_TEST(contains(details.message, "was skipped"));
}

BOOST_AUTO_TEST_CASE(of_two_maps_of_one_object) {
  auto events = open(ring);
  events.add(obj.map("other_ring"));
  emit(ring, 1);
  emit(other_ring, 2);
  auto const a = events.try_next_dynamic("plain_event");
  auto const b = events.try_next_dynamic("plain_event");
  BOOST_TEST((*a)["pid"].as<int>() + (*b)["pid"].as<int>() == 3);
}

BOOST_AUTO_TEST_CASE(of_closed_buffers) {
  auto events = open(ring);
  events.close();
  error_code ec;
  diagnostics details;
  BOOST_TEST(!events.try_next_dynamic("plain_event", ec, details).has_value());
  BOOST_TEST(ec == make_error_code(errc::closed));
  run([&]() -> asio::awaitable<void> {
    error_code thrown;
    try {
      co_await events.next_dynamic("plain_event");
    } catch (tinybpf::error const& e) {
      thrown = e.code();
    }
    BOOST_TEST(thrown == make_error_code(errc::closed));
  }());
  auto moved = open(ring);
  auto const target = std::move(moved);
  BOOST_TEST(!moved.try_next_dynamic("plain_event", ec).has_value());
  BOOST_TEST(ec == make_error_code(errc::closed));
}

BOOST_AUTO_TEST_CASE(that_nobody_waits_for_any_more_stay) {
  auto events = open(ring);
  asio::cancellation_signal stop;
  error_code ended;
  bool done = false;
  auto const wait = [&] {
    done = false;
    asio::co_spawn(
        io, [&]() -> asio::awaitable<void> { co_await events.next_dynamic("plain_event"); },
        asio::bind_cancellation_slot(stop.slot(), [&](std::exception_ptr e) {
          done = true;
          try {
            if (e) std::rethrow_exception(e);
          } catch (boost::system::system_error const& error) {
            ended = error.code();
          }
        }));
    poll();
  };
  wait();
  BOOST_TEST(!done);
  // A second read meanwhile.
  error_code ec;
  BOOST_TEST(!events.try_next_dynamic("plain_event", ec).has_value());
  BOOST_TEST(ec == make_error_code(errc::operation_in_progress));
  stop.emit(asio::cancellation_type::terminal);
  run_until([&] { return done; });
  BOOST_TEST(ended == error_code{asio::error::operation_aborted});
  wait();
  emit(ring, 1);
  emit(ring, 2);
  stop.emit(asio::cancellation_type::terminal);  // with an event there, and nobody told
  run_until([&] { return done; });
  BOOST_TEST((*events.try_next_dynamic("plain_event"))["pid"].as<int>() == 1);
  BOOST_TEST((*events.try_next_dynamic("plain_event"))["pid"].as<int>() == 2);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace dynamic_test
