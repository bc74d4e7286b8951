// What a program reads that does not care which kind of buffer it is given.
#include "perf_streams.hpp"

#include <tinybpf/event_source.hpp>
#include <tinybpf/perf_buffer.hpp>
#include <tinybpf/ring_buffer.hpp>

#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <bpf/libbpf.h>

#include <cerrno>
#include <cstdint>
#include <utility>

namespace asio = boost::asio;
namespace data = boost::unit_test::data;
using test::counted_event;
using test::emit_args;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::event_source;
using tinybpf::map_type;

namespace source_test {

tinybpf::object load_with(map_type type) {
  auto object = tinybpf::object::open(PERF_STREAMS_BPF_O);
  BOOST_TEST((tinybpf::set_events_type(object.map("events"), type) == type));
  BOOST_TEST((object.map("events").type() == type));
  object.load();
  return object;
}

emit_args into_events(std::uint64_t first, std::uint64_t count) {
  emit_args args;
  args.target = static_cast<std::uint32_t>(test::target::events);
  args.first = first;
  args.count = count;
  return args;
}

/// The program: it is written once.
asio::awaitable<std::uint64_t> sum_of(event_source& events, std::uint64_t count) {
  std::uint64_t sum = 0;
  while (count > 0) {
    auto const e = co_await events.next<counted_event>();
    sum += e.serial;
    --count;
  }
  co_return sum;
}

BOOST_AUTO_TEST_SUITE(event_sources)

BOOST_DATA_TEST_CASE(one_program_over_both,
                     data::make({std::uint32_t{BPF_MAP_TYPE_RINGBUF}, std::uint32_t{BPF_MAP_TYPE_PERF_EVENT_ARRAY}}),
                     type) {
  test::perf_streams s{load_with(static_cast<map_type>(type))};
  event_source events{s.io, s.obj.map("events")};
  for (int const cpu : s.cpus) BOOST_TEST(s.emit_on(cpu, into_events(1, 100)).written == 100U);
  s.run([&]() -> asio::awaitable<void> {
    auto const sum = co_await sum_of(events, 100 * s.cpus.size());
    BOOST_TEST(sum == s.cpus.size() * 5050);
  }());
  // A flood: what did not arrive is counted, once.
  auto const flood = s.emit_on(s.cpus.front(), into_events(0, 100'000));
  BOOST_TEST(flood.failed > 0U);
  std::uint64_t received = 0;
  while (events.try_next<counted_event>()) ++received;
  BOOST_TEST(received == flood.written);
  BOOST_TEST(events.lost().value() == flood.failed);
}

BOOST_AUTO_TEST_CASE(what_suits_the_kernel) {
  auto object = tinybpf::object::open(PERF_STREAMS_BPF_O);
  auto const events = object.map("events");
  bool const has_rings = libbpf_probe_bpf_map_type(BPF_MAP_TYPE_RINGBUF, nullptr) == 1;
  BOOST_TEST((tinybpf::set_events_type(events) == (has_rings ? map_type::ringbuf : map_type::perf_event_array)));
}

BOOST_AUTO_TEST_CASE(back_and_forth) {
  auto object = tinybpf::object::open(PERF_STREAMS_BPF_O);
  auto const events = object.map("events");
  auto const bytes = events.max_entries();
  tinybpf::set_events_type(events, map_type::perf_event_array);
  tinybpf::set_events_type(events, map_type::perf_event_array);
  tinybpf::set_events_type(events, map_type::ringbuf);
  BOOST_TEST(events.max_entries() == bytes);
  object.load();
  test::perf_streams s{std::move(object)};
  tinybpf::ring_buffer ring{s.io, s.obj.map("events")};
  BOOST_TEST(s.emit(into_events(3, 1)).written == 1U);
  BOOST_TEST(ring.try_next<counted_event>().value().serial == 3U);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_chosen) {
  auto object = tinybpf::object::open(PERF_STREAMS_BPF_O);
  error_code ec;
  diagnostics details;
  tinybpf::set_events_type(object.map("events"), map_type::hash, ec, details);
  BOOST_TEST(ec == test::kernel_error(EINVAL));
  tinybpf::set_events_type(object.map("scratch"), map_type::ringbuf, ec, details);
  BOOST_TEST(ec == errc::not_supported);
  BOOST_TEST(test::contains(details.hint, "TINYBPF_EVENTS"));
  // Nobody said how large a ring it would be.
  tinybpf::set_events_type(object.map("samples"), map_type::ringbuf, ec, details);
  BOOST_TEST(ec == errc::not_supported);
  BOOST_TEST((tinybpf::set_events_type(object.map("samples")) == map_type::perf_event_array));
  tinybpf::set_events_type(tinybpf::map{}, map_type::ringbuf, ec, details);
  BOOST_TEST(ec == errc::closed);
  auto const events = object.map("events");
  object.load();
  tinybpf::set_events_type(events, map_type::perf_event_array, ec, details);
  BOOST_TEST(ec == errc::already_loaded);
  BOOST_CHECK_THROW(tinybpf::set_events_type(events), tinybpf::error);
  object.close();
  tinybpf::set_events_type(events, map_type::perf_event_array, ec, details);
  BOOST_TEST(ec == errc::closed);
}

BOOST_FIXTURE_TEST_CASE(one_stream_of_both_kinds, test::perf_streams) {
  event_source both{io, samples};
  both.add(obj.map("events"));
  run([&]() -> asio::awaitable<void> {
    for (std::uint64_t n = 0; n < 100; ++n) {
      emit_on(cpus[n % cpus.size()], n % 3 == 0 ? into_events(n, 1) : emit_args{.first = n});
      auto const e = co_await both.next<tinybpf::record<counted_event>>();
      BOOST_TEST_REQUIRE(e->serial == n);
      BOOST_TEST_REQUIRE(e.map() == (n % 3 == 0 ? "events" : "samples"));
      BOOST_TEST_REQUIRE(e.cpu() == (n % 3 == 0 ? -1 : cpus[n % cpus.size()]));
    }
  }());
  BOOST_TEST(both.lost().value() == 0U);
}

BOOST_FIXTURE_TEST_CASE(a_buffer_of_either_kind_is_one, test::perf_streams) {
  tinybpf::perf_buffer perf{io, samples};
  tinybpf::ring_buffer ring{io, obj.map("events")};
  emit(into_events(1, 1));
  emit({.first = 2});
  for (event_source* const source : {static_cast<event_source*>(&perf), static_cast<event_source*>(&ring)})
    BOOST_TEST(source->try_next<counted_event>().value().serial == (source == &ring ? 1U : 2U));
  event_source moved{std::move(perf)};
  emit({.first = 3});
  BOOST_TEST(moved.try_next<counted_event>().value().serial == 3U);
  // A ring buffer takes no others.
  error_code ec;
  ring.add(samples, ec);
  BOOST_TEST(ec == errc::wrong_map_type);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace source_test
