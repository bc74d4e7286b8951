// Reading a ring buffer on a loop: what each verb gives, for each readable type, also where the record is bad.
#include "ring_fixture.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <functional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

namespace {

namespace asio = boost::asio;
namespace data = boost::unit_test::data;
using namespace test;
using tinybpf::bytes;
using tinybpf::record;
using tinybpf::ring_buffer;

enum class verb : std::uint8_t { try_next, try_next_ec, next, read_some, async_next, async_read_some };
constexpr std::array all_verbs{verb::try_next,  verb::try_next_ec, verb::next,
                               verb::read_some, verb::async_next,  verb::async_read_some};

std::ostream& operator<<(std::ostream& out, verb v) {
  constexpr std::array<char const*, 6> names{"try_next",  "try_next(ec)", "next",
                                             "read_some", "async_next",   "async_read_some"};
  return out << names.at(static_cast<std::size_t>(v));
}

// A buffer and a typed view, to be called alike.
template <class E>
struct by_buffer {
  explicit by_buffer(ring_buffer& b) : buffer{b} {}
  auto try_next() { return buffer.try_next<E>(); }
  auto try_next(error_code& ec, diagnostics& d) { return buffer.try_next<E>(ec, d); }
  auto next() { return buffer.next<E>(); }
  auto read_some(std::size_t budget) { return buffer.read_some<E>(budget); }
  template <class Token>
  auto async_next(diagnostics& d, Token&& t) {
    return buffer.async_next<E>(d, std::forward<Token>(t));
  }
  template <class Token>
  auto async_read_some(std::size_t budget, diagnostics& d, Token&& t) {
    return buffer.async_read_some<E>(budget, d, std::forward<Token>(t));
  }
  ring_buffer& buffer;
};

template <class E>
struct by_view : tinybpf::typed_event_source<asio::any_io_executor, E> {
  explicit by_view(ring_buffer& b) : tinybpf::typed_event_source<asio::any_io_executor, E>{b.typed<E>()} {}
};

template <class E, class Source>
asio::awaitable<void> await_next(Source& source, outcome<E>& result) {
  try {
    E const e = co_await source.next();
    result.value.emplace(e);
  } catch (tinybpf::error const& e) {
    result.ec = e.code();
    result.details = e.get_diagnostics();
  }
  result.ended = true;
}

template <class E, class Source>
asio::awaitable<void> await_some(Source& source, std::size_t budget, outcome<E>& result) {
  try {
    for (auto const& e : co_await source.read_some(budget)) {
      result.value.emplace(e);
      break;
    }
  } catch (tinybpf::error const& e) {
    result.ec = e.code();
    result.details = e.get_diagnostics();
  }
  result.ended = true;
}

// One read by one verb.
template <class E, class Source>
outcome<E> read_by(asio::io_context& io, Source source, verb v, std::size_t budget = 8) {
  outcome<E> result;
  auto const run = [&] {
    io.restart();
    while (!result.ended && io.run_one() != 0) {
    }
    BOOST_TEST_REQUIRE(result.ended);
  };
  switch (v) {
    case verb::try_next:
      try {
        result.value = source.try_next();
      } catch (tinybpf::error const& e) {
        result.ec = e.code();
        result.details = e.get_diagnostics();
      }
      break;
    case verb::try_next_ec:
      result.ec = errc::no_btf;  // to be cleared
      result.value = source.try_next(result.ec, result.details);
      break;
    case verb::next:
      asio::co_spawn(io, await_next<E>(source, result), asio::detached);
      run();
      break;
    case verb::read_some:
      asio::co_spawn(io, await_some<E>(source, budget, result), asio::detached);
      run();
      break;
    case verb::async_next:
      source.async_next(result.details, [&](error_code ec, E e) {
        result.ec = ec;
        if (!ec) result.value.emplace(e);
        result.ended = true;
      });
      BOOST_TEST(!result.ended);
      run();
      break;
    case verb::async_read_some:
      source.async_read_some(budget, result.details, [&](error_code ec, tinybpf::batch<E> range) {
        result.ec = ec;
        BOOST_TEST(range.empty() == ec.failed());
        for (auto const& e : range) {
          result.value.emplace(e);
          break;
        }
        result.ended = true;
      });
      BOOST_TEST(!result.ended);
      run();
      break;
  }
  return result;
}

std::string text(bytes b) { return {reinterpret_cast<char const*>(b.data()), b.size()}; }

// Every verb, through the buffer and through a typed view.
template <class E>
void for_every_verb(std::function<void(ring_fixture&, verb, std::function<outcome<E>()>)> const& check) {
  for (auto const v : all_verbs) {
    BOOST_TEST_CONTEXT(v << " through the buffer") {
      ring_fixture f;
      check(f, v, [&] { return read_by<E>(f.io, by_buffer<E>{f.buffer}, v); });
    }
    BOOST_TEST_CONTEXT(v << " through a typed view") {
      ring_fixture f;
      check(f, v, [&] { return read_by<E>(f.io, by_view<E>{f.buffer}, v); });
    }
  }
}

BOOST_AUTO_TEST_SUITE(reading)

BOOST_AUTO_TEST_CASE(events) {
  for_every_verb<numbered>([](ring_fixture& f, verb, auto const& read) {
    f.emit_many(1, 3);
    for (std::uint64_t n = 1; n <= 3; ++n) {
      auto const got = read();
      BOOST_TEST(!got.ec);
      BOOST_TEST_REQUIRE(got.value.has_value());
      BOOST_TEST(got.value->number == n);
      BOOST_TEST(intact(*got.value));
    }
    BOOST_TEST(!f.buffer.try_next<numbered>());
    BOOST_TEST(f.ring.unread() == 0U);
  });
}

BOOST_AUTO_TEST_CASE(any_record_as_bytes) {
  for_every_verb<bytes>([](ring_fixture& f, verb, auto const& read) {
    for (std::string const s : {"first", "", "a longer record"}) {
      BOOST_TEST_REQUIRE(f.ring.emit(s));
      auto const got = read();
      BOOST_TEST(!got.ec);
      BOOST_TEST_REQUIRE(got.value.has_value());
      BOOST_TEST(text(*got.value) == s);
    }
    BOOST_TEST(!f.buffer.try_next<bytes>());
    BOOST_TEST(f.ring.unread() == 0U);
  });
}

BOOST_AUTO_TEST_CASE(events_with_what_is_known_about_them) {
  for_every_verb<record<numbered>>([](ring_fixture& f, verb, auto const& read) {
    f.emit_many(1, 3);
    for (std::uint64_t n = 1; n <= 3; ++n) {
      auto const got = read();
      BOOST_TEST_REQUIRE(got.value.has_value());
      auto const& r = *got.value;
      BOOST_TEST((*r).number == n);
      BOOST_TEST(r->check == ~n);
      BOOST_TEST(r.position() == (n - 1) * 24);
      BOOST_TEST(r.map() == "events");
      BOOST_TEST(r.data().size() == sizeof(numbered));
      BOOST_TEST(r.trailing().empty());
    }
  });
}

BOOST_AUTO_TEST_CASE(records_of_any_size) {
  for_every_verb<record<>>([](ring_fixture& f, verb, auto const& read) {
    for (std::string const s : {"some", "thing", ""}) {
      auto const position = f.ring.producer_position();
      BOOST_TEST_REQUIRE(f.ring.emit(s));
      auto const got = read();
      BOOST_TEST_REQUIRE(got.value.has_value());
      BOOST_TEST(text(got.value->data()) == s);
      BOOST_TEST(text(got.value->trailing()) == s);
      BOOST_TEST(got.value->position() == position);
      BOOST_TEST(got.value->map() == "events");
    }
  });
}

std::string with_tail(std::string const& tail) {
  tailed const head{7, static_cast<std::uint32_t>(tail.size())};
  std::string s(sizeof head, '\0');
  std::memcpy(s.data(), &head, sizeof head);
  return s + tail;
}

BOOST_AUTO_TEST_CASE(tails) {
  for_every_verb<record<tailed>>([](ring_fixture& f, verb, auto const& read) {
    for (std::string const tail : {"/bin/true", "", "x"}) {
      BOOST_TEST_REQUIRE(f.ring.emit(with_tail(tail)));
      auto const got = read();
      BOOST_TEST_REQUIRE(got.value.has_value());
      BOOST_TEST((*got.value)->kind == 7U);
      BOOST_TEST((*got.value)->length == tail.size());
      BOOST_TEST(text(got.value->trailing()) == tail);
      BOOST_TEST(got.value->data().size() == sizeof(tailed) + tail.size());
    }
  });
  for_every_verb<tailed>([](ring_fixture& f, verb, auto const& read) {
    BOOST_TEST_REQUIRE(f.ring.emit(with_tail("ignored")));
    auto const got = read();
    BOOST_TEST_REQUIRE(got.value.has_value());
    BOOST_TEST(got.value->length == 7U);
  });
}

// Cannot be a range: read_some<wide> does not compile.
BOOST_AUTO_TEST_CASE(a_type_that_is_more_aligned_than_records_is_copied) {
  ring_fixture f;
  f.emit(0);  // the next one begins at no multiple of 16
  for (std::uint64_t n = 0; n < 3; ++n) BOOST_TEST_REQUIRE(f.ring.emit(wide{n, {n, n, n}}));
  BOOST_TEST_REQUIRE(f.buffer.try_next<numbered>().has_value());
  auto const first = f.buffer.try_next<wide>();
  BOOST_TEST_REQUIRE(first.has_value());
  BOOST_TEST(first->number == 0U);
  auto const second = run(f.io, f.buffer.next<wide>());
  BOOST_TEST(second.number == 1U);
  BOOST_TEST(second.rest[2] == 1U);
  auto view = f.buffer.typed<wide>();
  BOOST_TEST(view.try_next()->number == 2U);
}

// A view keeps its record in the ring until the next call.
BOOST_AUTO_TEST_CASE(views_last_until_the_next_call) {
  ring_fixture f{4096};
  f.emit_many(0, 170);  // full, but for less than a record
  BOOST_TEST(!f.ring.emit(number(0)));
  auto const first = f.buffer.try_next<bytes>();
  BOOST_TEST_REQUIRE(first.has_value());
  BOOST_TEST(f.ring.consumer_position() == 0U);
  auto const second = f.buffer.try_next<record<numbered>>();
  BOOST_TEST_REQUIRE(second.has_value());
  BOOST_TEST((*second)->number == 1U);
  BOOST_TEST(second->position() == 24U);
  BOOST_TEST(f.buffer.try_next<numbered>()->number == 2U);

  auto const last = f.buffer.try_next<bytes>();
  BOOST_TEST_REQUIRE(last.has_value());
  f.buffer.close();
  BOOST_TEST(f.ring.consumer_position() == 4 * 24U);
}

BOOST_AUTO_TEST_CASE(try_next_finds_nothing) {
  ring_fixture f;
  error_code ec;
  diagnostics details;
  BOOST_TEST(!f.buffer.try_next<numbered>());
  BOOST_TEST(!f.buffer.try_next<bytes>(ec));
  BOOST_TEST(!ec);
  BOOST_TEST(!f.buffer.try_next<record<>>(ec, details));
  BOOST_TEST(!ec);
  auto* const head = f.ring.reserve(sizeof(numbered));
  BOOST_TEST(!f.buffer.try_next<numbered>());
  f.ring.submit(head);
  BOOST_TEST(f.buffer.try_next<numbered>().has_value());
}

// Whoever polls finds out that the ring is empty, and so does the writer.
BOOST_AUTO_TEST_CASE(try_next_publishes_when_it_finds_nothing) {
  ring_fixture f;
  f.emit(1);
  BOOST_TEST(f.buffer.try_next<numbered>().has_value());
  BOOST_TEST(f.ring.unread() == 24U);
  BOOST_TEST(!f.buffer.try_next<numbered>());
  BOOST_TEST(f.ring.unread() == 0U);
  f.emit(2);
  error_code ec;
  BOOST_TEST(f.buffer.try_next<numbered>(ec).has_value());
  BOOST_TEST(!f.buffer.try_next<numbered>(ec).has_value());
  BOOST_TEST(f.ring.unread() == 0U);
}

// A record that comes while the reader waits, by each verb that waits.
BOOST_DATA_TEST_CASE(
    waiting, data::make(std::vector<verb>{verb::next, verb::read_some, verb::async_next, verb::async_read_some}), v) {
  ring_fixture f;
  for (std::uint64_t n = 0; n < 100; ++n) {
    // Posted twice, so that the reader waits by then.
    asio::post(f.io, [&] { asio::post(f.io, [&] { asio::post(f.io, [&] { f.emit(n); }); }); });
    auto const got = read_by<numbered>(f.io, by_buffer<numbered>{f.buffer}, v);
    BOOST_TEST_REQUIRE(got.value.has_value());
    BOOST_TEST(got.value->number == n);
  }
  BOOST_TEST(f.ring.armed() >= 100U);
}

BOOST_AUTO_TEST_CASE(async_wait_consumes_nothing) {
  ring_fixture f;
  asio::post(f.io, [&] { f.emit(5); });
  run(f.io, f.buffer.async_wait());
  run(f.io, f.buffer.async_wait());
  bool waited = false;
  f.buffer.async_wait([&](error_code ec) {
    BOOST_TEST(!ec);
    waited = true;
  });
  BOOST_TEST(!waited);
  f.poll();
  BOOST_TEST(waited);
  BOOST_TEST(f.buffer.try_next<numbered>()->number == 5U);
}

BOOST_AUTO_TEST_CASE(lost_is_the_sum_of_all_slots_or_unknown) {
  ring_fixture f;
  BOOST_TEST(!f.buffer.lost().has_value());

  std::vector<std::uint64_t> slots(3 * 8);
  slots[0] = 5;
  slots[16] = 7;
  slots[1] = 100;  // padding
  auto source = f.ring.source("counted");
  source.losses = tinybpf::detail::loss_counter{slots.data(), 3, nullptr};
  ring_buffer counted{f.io.get_executor(), std::move(source)};
  BOOST_TEST(counted.lost().value() == 12U);
  slots[8] = 1;
  BOOST_TEST(counted.lost().value() == 13U);
  BOOST_TEST(counted.name() == "counted");
}

BOOST_AUTO_TEST_CASE(a_budget_of_no_records) {
  ring_fixture f;
  f.emit(1);
  for (auto const v : {verb::read_some, verb::async_read_some}) {
    for (auto const& got : {read_by<numbered>(f.io, by_buffer<numbered>{f.buffer}, v, 0),
                            read_by<numbered>(f.io, by_view<numbered>{f.buffer}, v, 0)}) {
      BOOST_TEST(got.ec == error_code(EINVAL, boost::system::system_category()));
      BOOST_TEST(got.details.map == "events");
      BOOST_TEST(got.details.message.find("budget of 0") != std::string::npos);
    }
  }
  BOOST_TEST(f.buffer.try_next<numbered>()->number == 1U);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(bad_records)

template <class E>
void check_sizes(std::size_t record_size, std::size_t expected, std::string_view words) {
  for_every_verb<E>([=](ring_fixture& f, verb, auto const& read) {
    f.emit(0);
    BOOST_TEST(f.buffer.try_next<numbered>().has_value());
    BOOST_TEST_REQUIRE(f.ring.emit(std::string(record_size, 'x')));
    BOOST_TEST_REQUIRE(f.ring.emit(std::string(expected, '\0')));
    auto const bad = read();
    BOOST_TEST(bad.ec == errc::record_size);
    BOOST_TEST(!bad.value.has_value());
    BOOST_TEST(bad.details.map == "events");
    BOOST_TEST(bad.details.expected_size == expected);
    BOOST_TEST(bad.details.actual_size == record_size);
    BOOST_TEST(bad.details.position == 24U);
    for (auto const& part : {std::string{"'events'"}, std::to_string(record_size), std::to_string(expected),
                             std::string{"position 24"}, std::string{words}})
      BOOST_TEST(bad.details.message.find(part) != std::string::npos, "'" << part << "' in: " << bad.details.message);
    auto const good = read();
    BOOST_TEST(!good.ec);
    BOOST_TEST(good.value.has_value());
    BOOST_TEST(!f.buffer.try_next<bytes>());
    BOOST_TEST(f.ring.unread() == 0U);
  });
}

BOOST_AUTO_TEST_CASE(sizes) {
  check_sizes<numbered>(15, 16, "test::numbered (16)");
  check_sizes<numbered>(17, 16, "test::numbered (16)");
  check_sizes<numbered>(0, 16, "test::numbered (16)");
  check_sizes<record<numbered>>(24, 16, "test::numbered (16)");
  check_sizes<tailed>(7, 8, "test::tailed (8)");
  check_sizes<record<tailed>>(0, 8, "test::tailed (8)");
}

BOOST_AUTO_TEST_CASE(a_copied_type_of_another_size) {
  ring_fixture f;
  BOOST_TEST_REQUIRE(f.ring.emit(std::string(31, 'x')));
  error_code ec;
  diagnostics details;
  BOOST_TEST(!f.buffer.try_next<wide>(ec, details));
  BOOST_TEST(ec == errc::record_size);
  BOOST_TEST(details.expected_size == sizeof(wide));
}

template <class E>
void check_corrupt() {
  for_every_verb<E>([](ring_fixture& f, verb, auto const& read) {
    f.emit_many(0, 3);
    BOOST_TEST(f.buffer.try_next<numbered>().has_value());
    f.ring.set_header(24, 1U << 20U);
    auto const bad = read();
    BOOST_TEST(bad.ec == errc::record_corrupt);
    BOOST_TEST(!bad.value.has_value());
    BOOST_TEST(bad.details.map == "events");
    BOOST_TEST(bad.details.position == 24U);
    BOOST_TEST(bad.details.actual_size == 1U << 20U);
    BOOST_TEST(bad.details.expected_size == 48U);
    BOOST_TEST(bad.details.message.find("'events'") != std::string::npos);
    BOOST_TEST(bad.details.message.find("1048576") != std::string::npos);
    f.emit(7);
    auto const good = read();
    BOOST_TEST(!good.ec);
    BOOST_TEST(good.value.has_value());
    BOOST_TEST(!f.buffer.try_next<bytes>());
    BOOST_TEST(f.ring.unread() == 0U);
  });
}

BOOST_AUTO_TEST_CASE(corrupt_lengths) {
  check_corrupt<numbered>();
  check_corrupt<bytes>();
  check_corrupt<record<numbered>>();
  check_corrupt<record<>>();
}

BOOST_AUTO_TEST_CASE(corrupt_positions) {
  for_every_verb<bytes>([](ring_fixture& f, verb, auto const& read) {
    // Read on with that position, and this would be a record.
    f.ring.set_header(0, static_cast<std::uint32_t>(f.ring.size()));
    f.ring.set_producer_position(2 * f.ring.size());
    auto const bad = read();
    BOOST_TEST(bad.ec == errc::record_corrupt);
    BOOST_TEST(!bad.value.has_value());
    BOOST_TEST(bad.details.actual_size == 2 * f.ring.size());
    BOOST_TEST(bad.details.expected_size == f.ring.size());
    f.buffer.close();
    BOOST_TEST(f.ring.unread() == 0U);
  });
}

// What is wrong now may look right a moment later: what was found is reported.
BOOST_AUTO_TEST_CASE(corruption_that_vanishes) {
  ring_fixture f;
  f.emit(0);
  f.ring.set_header(0, 4000);
  run(f.io, f.buffer.async_wait());
  f.ring.set_header(0, sizeof(numbered));
  error_code ec;
  BOOST_TEST(!f.buffer.try_next<numbered>(ec));
  BOOST_TEST(ec == errc::record_corrupt);
}

BOOST_AUTO_TEST_CASE(async_wait_is_over_when_there_is_an_error_to_report) {
  ring_fixture f;
  BOOST_TEST_REQUIRE(f.ring.emit(std::string{"?"}));
  run(f.io, f.buffer.async_wait());
  BOOST_CHECK_THROW(static_cast<void>(f.buffer.try_next<numbered>()), tinybpf::error);
  f.emit(0);
  f.ring.set_header(16, 5000);
  run(f.io, f.buffer.async_wait());
  BOOST_CHECK_THROW(static_cast<void>(f.buffer.try_next<numbered>()), tinybpf::error);
  BOOST_TEST(!f.buffer.try_next<numbered>());
}

// Bad and good in any order: each is reported once, in its place.
BOOST_AUTO_TEST_CASE(a_stream_with_bad_records_in_it) {
  ring_fixture f;
  std::vector<std::uint64_t> got;
  std::uint64_t bad = 0;
  auto const consume = [&]() -> asio::awaitable<void> {
    while (got.size() + bad < 900) {
      try {
        auto const e = co_await f.buffer.next<numbered>();
        got.push_back(e.number);
      } catch (tinybpf::error const& e) {
        BOOST_TEST(e.code() == errc::record_size);
        ++bad;
      }
    }
  };
  for (std::uint64_t n = 0; n < 900; ++n) {
    if (n % 3 == 1) {
      BOOST_TEST_REQUIRE(f.ring.emit(std::string(n % 2 == 0 ? 15 : 20, '?')));
    } else {
      f.emit(n);
    }
  }
  run(f.io, consume());
  BOOST_TEST(bad == 300U);
  BOOST_TEST_REQUIRE(got.size() == 600U);
  for (std::size_t i = 0; i < got.size(); ++i) BOOST_TEST(got[i] == i / 2 * 3 + i % 2 * 2);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
