// Streams of several types: by tag, by ring, with tails, and what becomes of records that are of none; and the losses
// that are told between them.
#include "streams.hpp"

#include <boost/test/unit_test.hpp>

#include <array>
#include <cstdint>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace asio = boost::asio;
using test::contains;
using test::counted_event;
using test::named_event;
using test::ring;
using test::streams;
using test::write_args;
using tinybpf::bytes;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::lost;
using tinybpf::record;
using tinybpf::ring_buffer;

namespace {

// No BTF knows these: what they are is said when their ring is added.
struct from_first {
  std::uint64_t unused;
  std::uint64_t serial;
  std::uint64_t time;
};
struct from_second {
  std::uint64_t unused;
  std::uint64_t serial;
  std::uint64_t time;
};

// Its tag lies beyond every other kind of record.
struct far_event {
  std::array<std::uint64_t, 7> unused;
  std::uint32_t kind;
  std::uint32_t rest;
};

// The object has a struct of this name, and of another size.
namespace outdated {
struct counted_event {
  std::uint32_t kind;
  std::uint32_t index;
  std::uint64_t serial;
};
}  // namespace outdated

constexpr std::uint32_t far_kind = 0;  // the bytes beyond a short record may well be zero

void write_sized(streams const& s, ring to, std::uint32_t kind, std::uint32_t size, std::uint64_t serial) {
  write_args args;
  args.kind = kind;
  args.size = size;
  args.first = serial;
  BOOST_TEST_REQUIRE(s.write(to, 1, args).written == 1U);
}
void write_named(streams const& s, ring to, std::uint32_t tail, std::uint64_t serial) {
  write_sized(s, to, test::named_kind, static_cast<std::uint32_t>(sizeof(named_event)) + tail, serial);
}

// What was read, as a text.
std::string told(counted_event const& e) { return "counted " + std::to_string(e.serial); }
std::string told(named_event const& e) { return "named " + std::to_string(e.serial); }
std::string told(from_first const& e) { return "first " + std::to_string(e.serial); }
std::string told(from_second const& e) { return "second " + std::to_string(e.serial); }
std::string told(far_event const& e) { return "far " + std::to_string(e.unused[1]); }
std::string told(lost const& l) { return "lost " + std::to_string(l.count); }
std::string told(bytes b) { return "bytes " + std::to_string(b.size()); }
template <class E>
std::string told(record<E> const& r) {
  if constexpr (std::is_void_v<E>) {
    return "record of " + std::to_string(r.data().size());
  } else {
    return told(*r) + " and " + std::to_string(r.trailing().size());
  }
}
template <class... Ts>
std::string told(std::variant<Ts...> const& v) {
  return std::visit([](auto const& e) { return told(e); }, v);
}

struct stream_of_first : streams {
  ring_buffer buffer{io, obj.map("first")};
};

}  // namespace

template <>
struct tinybpf::event_traits<far_event> {
  static constexpr auto tag = tinybpf::tag(&far_event::kind, far_kind);
};

BOOST_AUTO_TEST_SUITE(several_types)

BOOST_AUTO_TEST_CASE(tags_tell_types_apart) {
  stream_of_first s;
  s.write_one(ring::first, 1);
  write_named(s, ring::first, 0, 2);
  s.write_one(ring::first, 3);
  write_named(s, ring::first, 5, 4);
  s.write_one(ring::first, 5);
  auto const one = s.buffer.try_next<counted_event, named_event>();
  BOOST_TEST_REQUIRE(one.has_value());
  BOOST_TEST(std::get<counted_event>(*one).serial == 1U);
  auto const two = s.buffer.try_next<named_event, counted_event>();
  BOOST_TEST_REQUIRE(two.has_value());
  BOOST_TEST(std::get<named_event>(*two).serial == 2U);
  std::string got;
  auto const read = [&]() -> asio::awaitable<void> {
    auto const three = co_await s.buffer.next<counted_event, named_event>();
    got = told(three);
    auto range = co_await s.buffer.read_some<counted_event, named_event>(10);
    for (auto const& e : range) got += ", " + told(e);
  };
  s.run(read());
  BOOST_TEST(got == "counted 3, named 4, counted 5");
}

BOOST_AUTO_TEST_CASE(every_verb_gives_variants) {
  stream_of_first s;
  std::string got;
  s.write_one(ring::first, 1);
  write_named(s, ring::first, 0, 2);
  s.buffer.async_next<counted_event, named_event>([&](error_code ec, std::variant<counted_event, named_event> e) {
    BOOST_TEST(!ec);
    got = told(e);
  });
  s.run_until([&] { return !got.empty(); });
  BOOST_TEST(got == "counted 1");
  got.clear();
  s.buffer.async_read_some<counted_event, named_event>(
      5, [&](error_code ec, tinybpf::batch<counted_event, named_event> range) {
        BOOST_TEST(!ec);
        for (auto const& e : range) got += told(e);
      });
  s.run_until([&] { return !got.empty(); });
  BOOST_TEST(got == "named 2");
  got.clear();
  s.write_one(ring::first, 3);
  write_named(s, ring::first, 0, 4);
  auto const count = s.buffer.consume<counted_event, named_event>([&](auto const& e) { got += told(e) + ';'; });
  BOOST_TEST(count == 2U);
  BOOST_TEST(got == "counted 3;named 4;");
}

BOOST_AUTO_TEST_CASE(records_of_several_types_have_tails) {
  stream_of_first s;
  write_named(s, ring::first, 9, 1);
  s.write_one(ring::first, 2);
  write_named(s, ring::first, 0, 3);
  write_named(s, ring::first, 3000, 4);
  auto const r = s.buffer.try_next<record<counted_event>, record<named_event>>();
  BOOST_TEST_REQUIRE(r.has_value());
  auto const& named = std::get<record<named_event>>(*r);
  BOOST_TEST(named->length == 9U);
  BOOST_TEST(named.trailing().size() == 9U);
  BOOST_TEST(named.data().size() == 25U);
  BOOST_TEST(named.map() == "first");
  BOOST_TEST(named.position() == 0U);
  std::string got;
  auto const read = [&]() -> asio::awaitable<void> {
    auto range = co_await s.buffer.read_some<record<counted_event>, record<named_event>>(10);
    for (auto const& e : range) got += told(e) + ';';
  };
  s.run(read());
  BOOST_TEST(got == "counted 2 and 0;named 3 and 0;named 4 and 3000;");
}

BOOST_AUTO_TEST_CASE(an_unknown_tag_is_an_error_and_the_stream_goes_on) {
  stream_of_first s;
  s.write_one(ring::first, 1);
  write_sized(s, ring::first, 77, 40, 2);
  s.write_one(ring::first, 3);
  error_code ec;
  diagnostics details;
  BOOST_TEST(told((s.buffer.try_next<counted_event, named_event>(ec, details).value())) == "counted 1");
  BOOST_TEST(!(s.buffer.try_next<counted_event, named_event>(ec, details)));
  BOOST_TEST(ec == errc::unknown_tag);
  BOOST_TEST(details.map == "first");
  BOOST_TEST(details.position == 32U);
  BOOST_TEST(details.actual_size == 40U);
  BOOST_TEST(details.expected_size == sizeof(counted_event));
  for (auto const* part : {"'first'", "position 32", "40 bytes", "counted_event (24)", "named_event (16)"})
    BOOST_TEST(contains(details.message, part), details.message << " lacks " << part);
  BOOST_TEST(contains(details.hint, "bytes"));
  BOOST_TEST(told((s.buffer.try_next<counted_event, named_event>(ec, details).value())) == "counted 3");
  BOOST_TEST(!ec);
}

BOOST_AUTO_TEST_CASE(every_verb_reports_an_unknown_tag_once) {
  stream_of_first s;
  for (int verb = 0; verb < 5; ++verb) {
    write_sized(s, ring::first, 77, 40, 2);
    s.write_one(ring::first, 3);
    error_code ec;
    diagnostics details;
    bool ended = false;
    auto const read = [&]() -> asio::awaitable<void> {
      try {
        if (verb == 0) {
          static_cast<void>(co_await s.buffer.next<counted_event, named_event>());
        } else {
          auto range = co_await s.buffer.read_some<counted_event, named_event>(10);
          BOOST_TEST(range.empty());
        }
      } catch (tinybpf::error const& e) {
        ec = e.code();
        details = e.get_diagnostics();
      }
      ended = true;
    };
    if (verb < 2) {
      s.run(read());
    } else if (verb == 2) {
      s.buffer.async_next<counted_event, named_event>(details,
                                                      [&](error_code e, std::variant<counted_event, named_event>) {
                                                        ec = e;
                                                        ended = true;
                                                      });
    } else if (verb == 3) {
      s.buffer.async_read_some<counted_event, named_event>(
          3, details, [&](error_code e, tinybpf::batch<counted_event, named_event>) {
            ec = e;
            ended = true;
          });
    } else {
      try {
        s.buffer.consume<counted_event, named_event>([](auto const&) {});
      } catch (tinybpf::error const& e) {
        ec = e.code();
        details = e.get_diagnostics();
      }
      ended = true;
    }
    s.run_until([&] { return ended; });
    BOOST_TEST(ec == errc::unknown_tag, "verb " << verb);
    BOOST_TEST(details.map == "first");
    BOOST_TEST(details.actual_size == 40U);
    auto const next = s.buffer.try_next<counted_event, named_event>();
    BOOST_TEST_REQUIRE(next.has_value());
    BOOST_TEST(told(*next) == "counted 3");
  }
}

BOOST_AUTO_TEST_CASE(bytes_at_the_end_take_what_is_unknown) {
  stream_of_first s;
  s.write_one(ring::first, 1);
  write_sized(s, ring::first, 77, 40, 2);
  write_named(s, ring::first, 4, 3);
  write_sized(s, ring::first, 78, 16, 4);
  BOOST_TEST(told((s.buffer.try_next<counted_event, bytes>().value())) == "counted 1");
  BOOST_TEST(told((s.buffer.try_next<counted_event, named_event, bytes>().value())) == "bytes 40");
  BOOST_TEST(told((s.buffer.try_next<counted_event, named_event, bytes>().value())) == "named 3");
  BOOST_TEST(told((s.buffer.try_next<counted_event, record<>>().value())) == "record of 16");
  BOOST_TEST(!(s.buffer.try_next<counted_event, bytes>()));
  s.buffer.publish();
  BOOST_TEST(s.unread(ring::first) == 0U);
}

BOOST_AUTO_TEST_CASE(a_type_of_the_right_tag_and_the_wrong_size) {
  stream_of_first s;
  write_sized(s, ring::first, test::counted_kind, 32, 1);
  s.write_one(ring::first, 2);
  error_code ec;
  diagnostics details;
  BOOST_TEST(!(s.buffer.try_next<counted_event, named_event, bytes>(ec, details)));
  BOOST_TEST(ec == errc::record_size);
  BOOST_TEST(details.actual_size == 32U);
  BOOST_TEST(told((s.buffer.try_next<counted_event, named_event>(ec).value())) == "counted 2");
}

// Not even where the bytes behind the record happen to hold the tag's value.
BOOST_AUTO_TEST_CASE(a_tag_beyond_the_record_is_no_match) {
  stream_of_first s;
  s.write_one(ring::first, 1);
  error_code ec;
  BOOST_TEST(!(s.buffer.try_next<far_event>(ec)));
  BOOST_TEST(ec == errc::unknown_tag);
  s.write_one(ring::first, 2);
  BOOST_TEST(told((s.buffer.try_next<far_event, counted_event>(ec).value())) == "counted 2");
  write_sized(s, ring::first, 99, sizeof(far_event), 3);
  BOOST_TEST(told((s.buffer.try_next<far_event, counted_event>(ec).value())) == "far 3");
  // One byte short of the tag's end, and one with the tag but without the rest.
  for (auto const& [size, expected] :
       {std::pair{59U, errc::unknown_tag}, std::pair{60U, errc::record_size}, std::pair{63U, errc::record_size}}) {
    write_sized(s, ring::first, 99, size, 4);
    BOOST_TEST(!(s.buffer.try_next<far_event, counted_event>(ec)));
    BOOST_TEST(ec == expected, size << " bytes");
  }
}

BOOST_AUTO_TEST_CASE(one_type_with_a_tag_on_a_mixed_ring) {
  stream_of_first s;
  s.write_one(ring::first, 1);
  write_named(s, ring::first, 8, 2);  // has the size of a counted_event
  s.write_one(ring::first, 3);
  error_code ec;
  diagnostics details;
  BOOST_TEST(s.buffer.try_next<counted_event>(ec, details).value().serial == 1U);
  BOOST_TEST(!s.buffer.try_next<counted_event>(ec, details));
  BOOST_TEST(ec == errc::unknown_tag);
  BOOST_TEST(details.actual_size == 24U);
  BOOST_TEST(s.buffer.try_next<counted_event>(ec, details).value().serial == 3U);
  write_named(s, ring::first, 8, 4);
  std::uint64_t got = 0;
  auto const read = [&]() -> asio::awaitable<void> {
    bool refused = false;
    try {
      static_cast<void>(co_await s.buffer.next<counted_event>());
    } catch (tinybpf::error const& e) {
      refused = e.code() == errc::unknown_tag;
    }
    BOOST_TEST(refused);
    s.write_one(ring::first, 5);
    auto const e = co_await s.buffer.next<counted_event>();
    got = e.serial;
  };
  s.run(read());
  BOOST_TEST(got == 5U);
}

BOOST_AUTO_TEST_CASE(typed_views_of_several_types) {
  stream_of_first s;
  auto view = s.buffer.typed<counted_event, named_event>();
  s.write_one(ring::first, 1);
  write_named(s, ring::first, 7, 2);
  write_sized(s, ring::first, 77, 40, 3);
  s.write_one(ring::first, 4);
  BOOST_TEST(told(view.try_next().value()) == "counted 1");
  std::string got;
  auto const read = [&]() -> asio::awaitable<void> {
    auto const two = co_await view.next();
    got = told(two);
    try {
      auto range = co_await view.read_some(4);
      BOOST_TEST(range.empty());
    } catch (tinybpf::error const& e) {
      got += e.code() == errc::unknown_tag ? ", unknown" : ", ?";
    }
    auto range = co_await view.read_some(4);
    for (auto const& e : range) got += ", " + told(e);
  };
  s.run(read());
  BOOST_TEST(got == "named 2, unknown, counted 4");
}

BOOST_AUTO_TEST_CASE(rings_may_have_a_type_each) {
  streams s;
  ring_buffer buffer{s.io};
  buffer.add<from_first>(s.obj.map("first"));
  buffer.add<from_second>(s.obj.map("second"));
  buffer.add(s.obj.map("uncounted"));
  s.write_one(ring::second, 2);
  BOOST_TEST(told((buffer.try_next<from_first, from_second>().value())) == "second 2");
  s.write_one(ring::first, 1);
  BOOST_TEST(told((buffer.try_next<from_first, from_second>().value())) == "first 1");
  s.write_one(ring::first, 3);
  BOOST_TEST(told((buffer.try_next<record<from_second>, record<from_first>>().value())) == "first 3 and 0");

  // Asked for alone, it is still no type of the other ring.
  s.write_one(ring::second, 4);
  error_code ec;
  diagnostics details;
  BOOST_TEST(!buffer.try_next<from_first>(ec, details));
  BOOST_TEST(ec == errc::unknown_tag);
  BOOST_TEST(details.map == "second");
  // A ring of which nothing was said goes by tags, of which these have none.
  s.write_one(ring::uncounted, 5);
  BOOST_TEST(!(buffer.try_next<from_first, from_second>(ec, details)));
  BOOST_TEST(ec == errc::unknown_tag);
  BOOST_TEST(details.map == "uncounted");
  s.write_one(ring::uncounted, 6);
  BOOST_TEST(told((buffer.try_next<from_first, from_second, counted_event>().value())) == "counted 6");
}

BOOST_AUTO_TEST_CASE(a_type_that_does_not_fit_the_object_is_refused_at_first_use) {
  stream_of_first s;
  s.write_one(ring::first, 1);
  error_code ec;
  diagnostics details;
  BOOST_TEST(!s.buffer.try_next<outdated::counted_event>(ec, details));
  BOOST_TEST(ec == errc::type_mismatch);
  BOOST_TEST(details.map == "first");
  BOOST_TEST(details.expected_size == 16U);
  BOOST_TEST(details.actual_size == 24U);
  BOOST_TEST(!(s.buffer.try_next<named_event, outdated::counted_event>(ec, details)));
  BOOST_TEST(ec == errc::type_mismatch);
  static_cast<void>(s.buffer.typed<named_event, outdated::counted_event>(ec, details));
  BOOST_TEST(ec == errc::type_mismatch);
  auto const read = [&]() -> asio::awaitable<void> {
    static_cast<void>(co_await s.buffer.next<record<outdated::counted_event>>());
  };
  BOOST_CHECK_EXCEPTION(s.run(read()), tinybpf::error,
                        [](tinybpf::error const& e) { return e.code() == errc::type_mismatch; });
  // It consumed nothing.
  BOOST_TEST(s.buffer.try_next<counted_event>().value().serial == 1U);
}

// That a type fits the rings so far says nothing about the object of a new one.
BOOST_AUTO_TEST_CASE(a_ring_of_another_object_is_checked_too) {
  stream_of_first s;
  auto const linked = tinybpf::load(LINKED_BPF_O);
  s.write(ring::first, 2);
  BOOST_TEST(s.buffer.try_next<counted_event>().has_value());
  s.buffer.add(linked.map("events"));
  error_code ec;
  diagnostics details;
  BOOST_TEST(!s.buffer.try_next<counted_event>(ec, details));
  BOOST_TEST(ec == errc::type_mismatch);
  BOOST_TEST(details.map == "events");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(losses)

namespace {

struct tiny_stream : streams {
  ring_buffer buffer{io, obj.map("tiny")};
  // Until it is full: how many found room.
  std::uint64_t overflow(std::uint64_t beyond) const {
    auto const done = write(ring::tiny, 4096 / test::counted_bytes + beyond);
    BOOST_TEST_REQUIRE(done.failed > beyond);  // the ring is never filled to the last byte
    return done.failed;
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(they_are_counted) {
  tiny_stream s;
  BOOST_TEST(s.buffer.lost().value() == 0U);
  auto const failed = s.overflow(5);
  BOOST_TEST(s.buffer.lost().value() == failed);
  auto const more = s.write(ring::tiny, 1000).failed;
  BOOST_TEST(more == 1000U);
  BOOST_TEST(s.buffer.lost().value() == failed + more);
  while (s.buffer.try_next<counted_event>()) {
  }
  BOOST_TEST(s.buffer.lost().value() == failed + more);
}

BOOST_AUTO_TEST_CASE(a_listed_loss_comes_before_the_next_record) {
  tiny_stream s;
  auto const failed = s.overflow(3);
  auto const first = s.buffer.try_next<counted_event, lost>();
  BOOST_TEST(told(first.value()) == "lost " + std::to_string(failed));
  for (std::uint64_t serial = 0; serial < 127; ++serial)
    BOOST_TEST_REQUIRE(told((s.buffer.try_next<counted_event, lost>().value())) == "counted " + std::to_string(serial));
  BOOST_TEST(!(s.buffer.try_next<counted_event, lost>()));

  // It is told once, and what came since at the next opportunity.
  s.write_one(ring::tiny, 7);
  BOOST_TEST(told((s.buffer.try_next<counted_event, lost>().value())) == "counted 7");
  BOOST_TEST(!(s.buffer.try_next<counted_event, lost>()));
  auto const more = s.overflow(10);
  std::string got;
  auto const read = [&]() -> asio::awaitable<void> {
    auto const e = co_await s.buffer.next<lost, counted_event>();
    got = told(e);
  };
  s.run(read());
  BOOST_TEST(got == "lost " + std::to_string(more));
}

BOOST_AUTO_TEST_CASE(ranges_and_handlers_are_told) {
  tiny_stream s;
  auto failed = s.overflow(3);
  std::vector<std::string> got;
  auto const read = [&]() -> asio::awaitable<void> {
    auto range = co_await s.buffer.read_some<counted_event, lost>(2);
    for (auto const& e : range) got.push_back(told(e));
  };
  s.run(read());
  BOOST_TEST_REQUIRE(got.size() == 3U);
  BOOST_TEST(got[0] == "lost " + std::to_string(failed));
  BOOST_TEST(got[1] == "counted 0");
  BOOST_TEST(got[2] == "counted 1");
  while (s.buffer.try_next<counted_event>()) {
  }
  got.clear();
  failed = s.overflow(4);
  s.buffer.set_budget(2);
  s.buffer.consume<counted_event, lost>([&](auto const& e) { got.push_back(told(e)); });
  BOOST_TEST_REQUIRE(!got.empty());
  BOOST_TEST(got[0] == "lost " + std::to_string(failed));
}

// A range that nobody looked at has told nobody.
BOOST_AUTO_TEST_CASE(a_range_not_visited_keeps_its_losses) {
  tiny_stream s;
  auto const failed = s.overflow(3);
  std::string got;
  auto const read = [&]() -> asio::awaitable<void> {
    {
      auto dropped = co_await s.buffer.read_some<counted_event, lost>(2);
      BOOST_TEST(!dropped.empty());
    }
    auto range = co_await s.buffer.read_some<counted_event, lost>(2);
    for (auto const& e : range) {
      got = told(e);
      break;
    }
  };
  s.run(read());
  BOOST_TEST(got == "lost " + std::to_string(failed));
}

BOOST_AUTO_TEST_CASE(a_loss_not_listed_is_only_counted) {
  tiny_stream s;
  auto const failed = s.overflow(3);
  BOOST_TEST(s.buffer.try_next<counted_event>().value().serial == 0U);
  BOOST_TEST(told((s.buffer.try_next<counted_event, named_event>().value())) == "counted 1");
  BOOST_TEST(s.buffer.lost().value() == failed);
  // It is still new to whoever lists it.
  BOOST_TEST(told((s.buffer.try_next<counted_event, lost>().value())) == "lost " + std::to_string(failed));
}

// The writer is always ahead, so the stream never runs dry: that is who loses.
BOOST_AUTO_TEST_CASE(a_reader_that_never_catches_up_is_told) {
  tiny_stream s;
  s.buffer.set_budget(16);
  s.write(ring::tiny, 100);
  std::uint64_t told_of = 0;
  std::uint64_t written = 100;
  std::uint64_t failed = 0;
  auto const read = [&]() -> asio::awaitable<void> {
    for (int i = 0; i < 2000; ++i) {
      auto const e = co_await s.buffer.next<counted_event, lost>();
      if (auto const* const l = std::get_if<lost>(&e)) told_of += l->count;
      auto const done = s.write(ring::tiny, 2);
      written += done.written;
      failed += done.failed;
    }
  };
  s.run(read());
  BOOST_TEST(failed > 1000U);
  BOOST_TEST(written > 1000U);
  BOOST_TEST(told_of > 0U);
  BOOST_TEST(told_of <= failed);
  std::uint64_t at_the_end = 0;
  while (auto const e = s.buffer.try_next<counted_event, lost>())
    if (auto const* const l = std::get_if<lost>(&*e)) at_the_end += l->count;
  s.write_one(ring::tiny, 0);
  if (auto const e = s.buffer.try_next<counted_event, lost>())
    if (auto const* const l = std::get_if<lost>(&*e)) at_the_end += l->count;
  BOOST_TEST(told_of + at_the_end == failed);
}

BOOST_AUTO_TEST_CASE(without_a_counter_they_are_unknown) {
  streams s;
  ring_buffer buffer{s.io, s.obj.map("uncounted")};
  BOOST_TEST(!buffer.lost());
  ring_buffer both{s.io, s.obj.map("first")};
  BOOST_TEST(both.lost().has_value());
  both.add(s.obj.map("uncounted"));
  BOOST_TEST(!both.lost());
  BOOST_TEST(!ring_buffer{}.lost());
}

BOOST_AUTO_TEST_CASE(a_counter_may_be_named_by_hand) {
  streams s;
  ring_buffer buffer{s.io, s.obj.map("tiny")};
  buffer.add(s.obj.map("uncounted"));
  error_code ec;
  diagnostics details;
  buffer.count_lost("uncounted", s.obj.map("first"), ec, details);
  BOOST_TEST(ec == errc::wrong_map_type);
  BOOST_TEST(details.map == "first");
  BOOST_TEST(!buffer.lost());
  buffer.count_lost("uncuonted", s.obj.map("spare_lost"), ec, details);
  BOOST_TEST(ec == errc::not_found);
  BOOST_TEST(contains(details.message, "'uncuonted'"));
  std::vector<std::string> const names{"tiny", "uncounted"};
  BOOST_TEST(details.names == names, boost::test_tools::per_element());
  BOOST_TEST(contains(details.hint, "'uncounted'"));
  BOOST_CHECK_THROW(buffer.count_lost("no", s.obj.map("spare_lost")), tinybpf::error);
  buffer.count_lost("uncounted", s.obj.map("spare_lost"), ec, details);
  BOOST_TEST(!ec);
  BOOST_TEST(details.empty());
  BOOST_TEST(buffer.lost().value() == 0U);

  // What its writer counts, whoever that is.
  std::uint32_t const slot = 1;
  std::uint64_t const value[8] = {41};
  BOOST_TEST_REQUIRE(bpf_map_update_elem(s.obj.map("spare_lost").fd(), &slot, value, 0) == 0);
  BOOST_TEST(buffer.lost().value() == 41U);
  auto const failed = s.write(ring::tiny, 200).failed;
  BOOST_TEST(buffer.lost().value() == 41U + failed);
  BOOST_TEST(told((buffer.try_next<counted_event, lost>().value())) == "lost " + std::to_string(41 + failed));

  buffer.close();
  buffer.count_lost("uncounted", s.obj.map("spare_lost"), ec, details);
  BOOST_TEST(ec == errc::closed);
}

BOOST_AUTO_TEST_CASE(an_array_of_rings_is_counted_once) {
  streams s;
  ring_buffer buffer{s.io, s.obj.map("by_index")};
  BOOST_TEST(buffer.lost().value() == 0U);
  std::uint64_t failed = 0;
  for (std::uint32_t index = 0; index < 4; ++index) {
    write_args args;
    args.index = index;
    failed += s.write(ring::by_index, 150 + index, args).failed;
  }
  BOOST_TEST(failed > 4 * 20U);
  BOOST_TEST(buffer.lost().value() == failed);
  BOOST_TEST(told((buffer.try_next<counted_event, lost>().value())) == "lost " + std::to_string(failed));
}

BOOST_AUTO_TEST_CASE(the_counter_of_an_array_of_rings_is_named_once) {
  streams s;
  ring_buffer buffer{s.io};
  buffer.add(s.obj.map("ring_0"));
  buffer.add(s.obj.map("first"));
  error_code ec;
  buffer.count_lost("by_index", s.obj.map("by_index_lost"), ec);
  BOOST_TEST(ec == errc::not_found);
  buffer = ring_buffer{s.io, s.obj.map("by_index")};
  write_args args;
  args.index = 2;
  auto const failed = s.write(ring::by_index, 200, args).failed;
  BOOST_TEST(failed > 0U);
  buffer.count_lost("by_index", s.obj.map("spare_lost"));
  BOOST_TEST(buffer.lost().value() == 0U);
  buffer.count_lost("by_index", s.obj.map("by_index_lost"));
  BOOST_TEST(buffer.lost().value() == failed);
}

// Nothing is lost in silence: two writers as fast as they can, a ring that is too small, and a reader.
BOOST_AUTO_TEST_CASE(all_that_was_emitted_was_received_or_lost) {
  constexpr std::uint64_t each = 300'000;
  tiny_stream s;
  std::uint64_t written = 0;
  std::uint64_t failed = 0;
  std::vector<write_args> done(2);
  bool ended = false;
  std::vector<std::thread> writers;
  for (std::uint32_t i = 0; i < 2; ++i)
    writers.emplace_back([&, i] {
      for (std::uint64_t first = 0; first < each; first += 1000) {
        write_args args;
        args.index = i;
        args.first = first;
        auto const d = s.write(ring::tiny, 1000, args);
        done[i].written += d.written;
        done[i].failed += d.failed;
      }
    });
  std::uint64_t received = 0;
  std::uint64_t told_of = 0;
  std::array<std::uint64_t, 2> next{};
  auto const handle = [&](std::variant<counted_event, lost> const& e) {
    if (auto const* const l = std::get_if<lost>(&e)) {
      told_of += l->count;
      return;
    }
    auto const& c = std::get<counted_event>(e);
    BOOST_TEST_REQUIRE(c.serial >= next.at(c.index));  // of each writer, in order and none twice
    next.at(c.index) = c.serial + 1;
    ++received;
    ended = c.serial == each;
  };
  auto const read = [&]() -> asio::awaitable<void> {
    while (!ended) {
      auto range = co_await s.buffer.read_some<counted_event, lost>(64);
      for (auto const& e : range) handle(e);
    }
  };
  // The last event there is. It finds room sooner or later, because the reader waits for it.
  std::thread last{[&] {
    for (auto& w : writers) w.join();
    write_args args;
    args.first = each;
    for (; s.write(ring::tiny, 1, args).written == 0; ++failed) std::this_thread::yield();
  }};
  s.run(read());
  last.join();
  while (auto const e = s.buffer.try_next<counted_event, lost>()) handle(*e);
  for (auto const& d : done) {
    written += d.written;
    failed += d.failed;
  }
  BOOST_TEST(received == written + 1);
  BOOST_TEST(s.buffer.lost().value() == failed);
  BOOST_TEST(told_of <= failed);
  BOOST_TEST(written + failed >= 2 * each);
  BOOST_TEST(failed > 0U);
}

BOOST_AUTO_TEST_SUITE_END()

// Both declare TINYBPF_RINGBUF(events, ...), and bpftool has linked them.
BOOST_AUTO_TEST_CASE(linked_objects_share_a_ring_and_its_counter) {
  streams s;
  auto const linked = tinybpf::load(LINKED_BPF_O);
  ring_buffer buffer{s.io, linked.map("events")};
  std::uint64_t const ones = 4096 / (16 + 8);
  auto const write = [&](char const* program, int times) {
    for (int i = 0; i < times; ++i) test::run_program(linked.program(program), {});
  };
  write("write_one", 3);
  write("write_two", 3);
  std::string got;
  while (auto const r = buffer.try_next<record<>>()) got += std::to_string(r->data().size()) + ' ';
  BOOST_TEST(got == "16 16 16 24 24 24 ");
  BOOST_TEST(buffer.lost().value() == 0U);
  write("write_one", static_cast<int>(ones));
  auto const before = buffer.lost().value();
  write("write_one", 5);
  BOOST_TEST(buffer.lost().value() >= before + 4);
  auto const by_one = buffer.lost().value();
  write("write_two", 7);
  BOOST_TEST(buffer.lost().value() == by_one + 7);
}
