// Maps without keys: queues, stacks and bloom filters.
#include "kinds.hpp"

#include <tinybpf/map.hpp>
#include <tinybpf/object.hpp>
#include <tinybpf/queue_map.hpp>

#include <boost/describe/class.hpp>
#include <boost/test/unit_test.hpp>

#include <cerrno>
#include <cstdint>
#include <type_traits>
#include <vector>

using test::contains;
using test::done;
using test::kernel_error;
using test::kinds;
using test::nothing;
using test::refused;
using test::view_made;
using test::view_refused;
using tinybpf::bloom_filter;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::field_names;
using tinybpf::map_type;
using tinybpf::queue_map;
using tinybpf::update_flag;

namespace queue_map_test {

struct job {
  std::uint32_t id;
  std::uint32_t priority;
  friend bool operator==(job const&, job const&) = default;
};
BOOST_DESCRIBE_STRUCT(job, (), (id, priority))

struct renamed_job {
  std::uint32_t number;
  std::uint32_t rank;
};
BOOST_DESCRIBE_STRUCT(renamed_job, (), (number, rank))

struct fixture : kinds {
  queue_map<job> jobs{obj.map("jobs")};
  queue_map<std::uint64_t> marks{obj.map("marks")};
  bloom_filter<std::uint32_t> known{obj.map("known")};
};

template <class M>
concept looks_up = requires(M const& m) { m.lookup(0U); };
template <class M>
concept erases = requires(M const& m) { m.erase(0U); };
template <class M>
concept updates = requires(M const& m) { m.update(0U, typename M::value_type{}); };
template <class M>
concept is_walked = requires(M const& m) { m.entries(); } || requires(M const& m) { m.begin(); };
template <class M>
concept counts = requires(M const& m) { m.count(); } || requires(M const& m) { m.clear(); };
template <class M>
concept pops = requires(M const& m) { m.pop(); } || requires(M const& m) { m.peek(); };
template <class M>
concept is_a_map = looks_up<M> || erases<M> || updates<M> || is_walked<M> || counts<M>;
static_assert(!is_a_map<queue_map<job>> && pops<queue_map<job>>);
static_assert(!is_a_map<bloom_filter<std::uint32_t>> && !pops<bloom_filter<std::uint32_t>>);

}  // namespace queue_map_test

using namespace queue_map_test;

BOOST_FIXTURE_TEST_SUITE(queues, fixture)

BOOST_AUTO_TEST_CASE(give_what_came_first) {
  jobs.push({1, 10});
  jobs.push({2, 20}, update_flag::any, ec);
  jobs.push({3, 30}, update_flag::any, ec, details);
  BOOST_TEST(!ec);
  BOOST_TEST((jobs.peek() == job{1, 10}));
  BOOST_TEST((jobs.peek(ec) == job{1, 10}));
  BOOST_TEST((jobs.peek(ec, details) == job{1, 10}));
  BOOST_TEST((jobs.pop() == job{1, 10}));
  BOOST_TEST((jobs.pop(ec) == job{2, 20}));
  BOOST_TEST((jobs.pop(ec, details) == job{3, 30}));
  BOOST_TEST(!ec);
}

BOOST_AUTO_TEST_CASE(that_are_stacks_give_what_came_last) {
  for (std::uint64_t i : {1U, 2U, 3U}) marks.push(i);
  BOOST_TEST(marks.peek().value() == 3U);
  BOOST_TEST(marks.pop().value() == 3U);
  BOOST_TEST(marks.pop().value() == 2U);
  marks.push(9);
  BOOST_TEST(marks.pop().value() == 9U);
  BOOST_TEST(marks.pop().value() == 1U);
  BOOST_TEST(!marks.pop().has_value());
}

BOOST_AUTO_TEST_CASE(that_are_empty_give_nothing) {
  done([&](auto&... e) { BOOST_TEST(!jobs.pop(e...).has_value()); });
  done([&](auto&... e) { BOOST_TEST(!jobs.peek(e...).has_value()); });
  done([&](auto&... e) { BOOST_TEST(!marks.pop(e...).has_value()); });
  done([&](auto&... e) { BOOST_TEST(!marks.peek(e...).has_value()); });
}

BOOST_AUTO_TEST_CASE(that_are_full_say_so) {
  for (std::uint32_t i : {1U, 2U, 3U}) {
    jobs.push({i, 0});
    marks.push(i);
  }
  auto const full = refused(kernel_error(E2BIG), [&](auto&... e) { jobs.push({4, 0}, update_flag::any, e...); });
  BOOST_TEST(contains(full.message, "'jobs'"));
  refused(kernel_error(E2BIG), [&](auto&... e) { marks.push(4, update_flag::any, e...); });
  refused(kernel_error(EINVAL), [&](auto&... e) { jobs.push({4, 0}, update_flag::no_exist, e...); });
  BOOST_TEST((jobs.pop() == job{1, 0}));
}

// Of a queue that is what would have been popped next, and of a stack what would have been popped last.
BOOST_AUTO_TEST_CASE(drop_the_oldest_if_told) {
  for (std::uint32_t i : {1U, 2U, 3U, 4U}) {
    jobs.push({i, 0}, update_flag::exist);
    marks.push(i, update_flag::exist, ec);
    BOOST_TEST(!ec);
  }
  marks.push(5, update_flag::exist, ec, details);
  BOOST_TEST(!ec);
  for (std::uint32_t i : {2U, 3U, 4U}) BOOST_TEST((jobs.pop() == job{i, 0}));
  for (std::uint64_t i : {5U, 4U, 3U}) BOOST_TEST(marks.pop().value() == i);
  BOOST_TEST(!jobs.pop().has_value());
  BOOST_TEST(!marks.pop().has_value());
}

BOOST_AUTO_TEST_CASE(are_shared_with_programs) {
  BOOST_TEST(run("pop_job") == nothing);
  jobs.push({4, 56});
  jobs.push({5, 67});
  BOOST_TEST(run("pop_job") == 4056U);
  BOOST_TEST(run("push_job", 6, 78) == 0U);
  BOOST_TEST((jobs.pop() == job{5, 67}));
  BOOST_TEST((jobs.pop() == job{6, 78}));
}

BOOST_AUTO_TEST_CASE(are_made_of_maps_that_fit) {
  view_made<queue_map<job>>(obj.map("jobs"));
  view_made<queue_map<std::uint64_t>>(obj.map("marks"));
  BOOST_TEST(jobs.untyped().name() == "jobs");
  static_assert(std::is_same_v<queue_map<job>::value_type, job>);
  auto const kind = view_refused<queue_map<std::uint32_t>>(make_error_code(errc::wrong_map_type), obj.map("known"));
  BOOST_TEST(contains(kind.message, "'known', which is of type bloom_filter"), kind.message);
  BOOST_TEST(contains(kind.hint, "queue or stack"), kind.hint);
  view_refused<queue_map<std::uint64_t>>(make_error_code(errc::wrong_map_type), obj.map("totals"));
  auto const size = view_refused<queue_map<std::uint32_t>>(make_error_code(errc::size_mismatch), obj.map("marks"));
  BOOST_TEST(size.expected_size == 8U);
  BOOST_TEST(size.actual_size == 4U);
  view_refused<queue_map<std::int64_t>>(make_error_code(errc::type_mismatch), obj.map("marks"));
  view_refused<queue_map<renamed_job>>(make_error_code(errc::type_mismatch), obj.map("jobs"));
  queue_map<renamed_job> const renamed{obj.map("jobs"), field_names::ignore};
  renamed.push({1, 2});
  BOOST_TEST((queue_map<renamed_job>{obj.map("jobs"), field_names::ignore, ec, details}.pop().value().rank == 2U));
  BOOST_TEST(!ec);
}

// Whose types no BTF says.
BOOST_AUTO_TEST_CASE(may_be_maps_on_their_own) {
  queue_map<job> const own{tinybpf::map::create(map_type::queue, "own", 0, sizeof(job), 2)};
  own.push({1, 2});
  BOOST_TEST((own.pop() == job{1, 2}));
}

BOOST_AUTO_TEST_CASE(that_are_closed_say_so) {
  test::without_a_map<queue_map<job>>("jobs", [](queue_map<job> const& m, error_code expected) {
    refused(expected, [&](auto&... e) { m.push({}, update_flag::any, e...); });
    refused(expected, [&](auto&... e) { return m.pop(e...); });
    refused(expected, [&](auto&... e) { return m.peek(e...); });
  });
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(bloom_filters, fixture)

BOOST_AUTO_TEST_CASE(know_what_was_added) {
  done([&](auto&... e) { BOOST_TEST(!known.may_contain(7, e...)); });
  known.push(7);
  known.push(8, ec);
  known.push(9, ec, details);
  BOOST_TEST(!ec);
  done([&](auto&... e) { BOOST_TEST(known.may_contain(7, e...)); });
  BOOST_TEST(known.may_contain(8));
  BOOST_TEST(known.may_contain(9));
}

// It may be wrong about some, but only in one way.
BOOST_AUTO_TEST_CASE(say_of_few_others_that_they_may_be_there) {
  for (std::uint32_t i = 0; i < 1000; ++i) known.push(i);
  std::uint32_t wrong = 0;
  for (std::uint32_t i = 0; i < 1000; ++i) {
    BOOST_TEST_REQUIRE(known.may_contain(i));
    if (known.may_contain(100'000 + i)) ++wrong;
  }
  BOOST_TEST(wrong < 500U);
}

BOOST_AUTO_TEST_CASE(are_shared_with_programs) {
  known.push(70);
  BOOST_TEST(run("knows", 70) == 1U);
  BOOST_TEST(run("knows", 71) == 0U);
  BOOST_TEST(run("learn", 71) == 0U);
  BOOST_TEST(known.may_contain(71));
}

BOOST_AUTO_TEST_CASE(are_made_of_maps_that_fit) {
  view_made<bloom_filter<std::uint32_t>>(obj.map("known"));
  BOOST_TEST(known.untyped().name() == "known");
  static_assert(std::is_same_v<bloom_filter<std::uint32_t>::value_type, std::uint32_t>);
  auto const kind = view_refused<bloom_filter<job>>(make_error_code(errc::wrong_map_type), obj.map("jobs"));
  BOOST_TEST(contains(kind.message, "'jobs', which is of type queue"), kind.message);
  BOOST_TEST(contains(kind.hint, "bloom_filter"), kind.hint);
  view_refused<bloom_filter<std::uint64_t>>(make_error_code(errc::size_mismatch), obj.map("known"));
  view_refused<bloom_filter<std::int32_t>>(make_error_code(errc::type_mismatch), obj.map("known"));
}

BOOST_AUTO_TEST_CASE(of_structs) {
  auto const own = tinybpf::map::create(map_type::bloom_filter, "own", 0, sizeof(job), 100, {.map_extra = 3});
  bloom_filter<job> const seen{own, field_names::check, ec, details};
  BOOST_TEST(!ec);
  job const known_one{1, 2};
  seen.push(known_one);
  BOOST_TEST(seen.may_contain(known_one));
  BOOST_TEST(!seen.may_contain({2, 1}));
}

BOOST_AUTO_TEST_CASE(that_are_closed_say_so) {
  using filter = bloom_filter<std::uint32_t>;
  test::without_a_map<filter>("known", [](filter const& m, error_code expected) {
    refused(expected, [&](auto&... e) { m.push(1, e...); });
    refused(expected, [&](auto&... e) { return m.may_contain(1, e...); });
  });
}

BOOST_AUTO_TEST_SUITE_END()
