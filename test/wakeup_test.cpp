// The decision behind a wake-up policy, driven by a table and a clock that is made up.
#include <tinybpf/detail/wakeup_rule.hpp>
#include <tinybpf/wakeup.hpp>

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using std::chrono::microseconds;
using std::chrono::nanoseconds;
using tinybpf::wakeup_policy;
using tinybpf::detail::wakeup_rule;

constexpr std::size_t megabyte = 1U << 20U;
constexpr std::uint64_t record_bytes = 48;

struct read_step {
  nanoseconds after;      // the time since the reader ran dry before
  std::uint64_t records;  // what was read in it
  int times = 1;
};

struct row {
  std::string name;
  wakeup_policy policy;
  std::size_t ring_size;
  std::vector<read_step> history;
  nanoseconds expected;  // the answer to the last step
};

nanoseconds play(row const& r) {
  wakeup_rule rule{r.policy, r.ring_size};
  auto now = wakeup_rule::clock::time_point{} + 1h;
  nanoseconds answer{-1};
  for (auto const& s : r.history)
    for (int i = 0; i < s.times; ++i) {
      now += s.after;
      answer = rule.ran_dry(s.records, s.records * record_bytes, now);
    }
  return answer;
}

row const table[] = {
    {"immediate never pauses", wakeup_policy::immediate(), megabyte, {{1us, 100, 50}}, 0ns},
    {"moderated pauses after any read", wakeup_policy::moderated(100us), megabyte, {{1s, 1}}, 100us},
    {"moderated: quiet", wakeup_policy::moderated(100us), megabyte, {{1s, 1}, {100us, 0}}, 0ns},
    {"moderated: the first event after quiet",
     wakeup_policy::moderated(100us),
     megabyte,
     {{1s, 1}, {100us, 0}, {1s, 1}},
     100us},
    {"moderated by less than is worth it", wakeup_policy::moderated(10us), megabyte, {{1s, 1}}, 0ns},
    {"adaptive, one event", wakeup_policy::adaptive(400us), megabyte, {{1s, 1}}, 0ns},
    {"adaptive, one event a millisecond", wakeup_policy::adaptive(400us), megabyte, {{1ms, 1, 100}}, 0ns},
    {"adaptive, just too slow", wakeup_policy::adaptive(400us), megabyte, {{101us, 1, 100}}, 0ns},
    {"adaptive, just fast enough", wakeup_policy::adaptive(400us), megabyte, {{99us, 1, 100}}, 100us},
    {"adaptive, one event per 20 us", wakeup_policy::adaptive(400us), megabyte, {{160us, 8, 20}}, 100us},
    {"adaptive notices a burst within a few reads",
     wakeup_policy::adaptive(400us),
     megabyte,
     {{10s, 1}, {10us, 1, 6}},
     100us},
    {"adaptive, but not at its first record", wakeup_policy::adaptive(400us), megabyte, {{10s, 1}, {10us, 1, 2}}, 0ns},
    {"adaptive, just not fast", wakeup_policy::adaptive(400us), megabyte, {{101us, 20, 50}}, 100us},
    {"adaptive, just fast", wakeup_policy::adaptive(400us), 4 * megabyte, {{99us, 20, 50}}, 400us},
    {"adaptive, no longer fast", wakeup_policy::adaptive(400us), 4 * megabyte, {{10us, 20, 50}, {400us, 8, 9}}, 100us},
    {"a ring of 1 MiB shortens the pause of a fast stream",
     wakeup_policy::adaptive(400us),
     megabyte,
     {{10us, 20, 50}},
     131072ns},
    {"moderated does not ask how fast", wakeup_policy::moderated(400us), 4 * megabyte, {{500us, 1, 50}}, 400us},
    {"adaptive: quiet after a burst", wakeup_policy::adaptive(400us), megabyte, {{10us, 5, 50}, {100us, 0}}, 0ns},
    {"adaptive: slow after a burst", wakeup_policy::adaptive(400us), megabyte, {{10us, 5, 50}, {1ms, 1, 6}}, 0ns},
    {"a longer delay is taken as given", wakeup_policy::moderated(5ms), 64 * megabyte, {{1s, 1}}, 5ms},
    // A writer at 2 bytes/ns would fill a quarter of the ring in size / 8 ns.
    {"a ring of 256 KiB shortens the pause", wakeup_policy::moderated(100us), 256 * 1024, {{1s, 1}}, 32768ns},
    {"a ring of 128 KiB is too small to pause", wakeup_policy::moderated(100us), 128 * 1024, {{1s, 1}}, 0ns},
    {"a tiny ring never pauses", wakeup_policy::moderated(100us), 4096, {{1s, 1}}, 0ns},
    // 20,000 records of 48 bytes in 100 us fill a quarter of 1 MiB in 27.3 us.
    {"a rate that fills the ring shortens the pause",
     wakeup_policy::moderated(100us),
     megabyte,
     {{1s, 1}, {100us, 20'000}},
     27306ns},
    {"a rate beyond that ends pausing", wakeup_policy::moderated(100us), megabyte, {{1s, 1}, {100us, 40'000}}, 0ns},
};

}  // namespace

BOOST_AUTO_TEST_CASE(rule_answers_as_the_table_says) {
  for (auto const& r : table)
    BOOST_TEST(play(r).count() == r.expected.count(),
               r.name << ": " << play(r).count() << " ns instead of " << r.expected.count());
}

BOOST_AUTO_TEST_CASE(policies_are_values) {
  BOOST_TEST((wakeup_policy{} == wakeup_policy::adaptive()));
  BOOST_TEST((wakeup_policy::adaptive() != wakeup_policy::moderated()));
  BOOST_TEST((wakeup_policy::moderated(5us) != wakeup_policy::moderated(6us)));
  BOOST_TEST(wakeup_policy::immediate().max_delay().count() == 0);
  BOOST_TEST((wakeup_policy::moderated(7us).decides() == wakeup_policy::kind::moderated));
}
