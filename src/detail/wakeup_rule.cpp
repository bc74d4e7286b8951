#include <tinybpf/detail/wakeup_rule.hpp>

#include <algorithm>

namespace tinybpf::detail {
namespace {

using std::chrono::nanoseconds;

// A shorter pause costs the reader as much as the wake-up that it saves.
constexpr nanoseconds shortest_pause{20'000};

// Fewer events in a short pause are not yet a fast stream.
constexpr int many = 20;

// What a writer can submit at most, seen over any pause: 40-byte records come at about 1.3 bytes per nanosecond.
constexpr std::size_t writer_bytes_per_ns = 2;

}  // namespace

wakeup_rule::wakeup_rule(wakeup_policy policy, std::size_t ring_size) noexcept
    : policy_{policy},
      ring_size_{ring_size},
      longest_pause_{std::min<nanoseconds>(
          policy.max_delay(), nanoseconds{static_cast<nanoseconds::rep>(ring_size / 4 / writer_bytes_per_ns)})},
      short_pause_{policy.decides() == wakeup_policy::kind::adaptive ? policy.max_delay() / 4 : policy.max_delay()},
      gap_{4 * short_pause_} {}

nanoseconds wakeup_rule::ran_dry(std::uint64_t records, std::uint64_t bytes, clock::time_point now) noexcept {
  if (policy_.decides() == wakeup_policy::kind::immediate) return {};
  auto const elapsed = now - last_dry_;
  last_dry_ = now;
  // Long silences count as a little more than none at all, so that a burst after them is noticed within a few reads.
  auto const slowest = 4 * short_pause_;
  auto const count = static_cast<nanoseconds::rep>(std::max<std::uint64_t>(records, 1));
  gap_ = (3 * gap_ + std::min<nanoseconds>(elapsed / count, slowest)) / 4;
  if (records == 0) return {};  // quiet
  if (policy_.decides() == wakeup_policy::kind::adaptive && gap_ >= short_pause_) return {};
  // Going to sleep and waking up disturbs the other CPUs, too: the more a stream costs anyway, the less often.
  auto pause = std::min(longest_pause_, gap_ * many < short_pause_ ? policy_.max_delay() : short_pause_);
  // At the rate just seen, the pause must not fill more than a quarter of the ring.
  if (bytes != 0) {
    auto const quarter = static_cast<double>(ring_size_) / 4;
    auto const fills_in = quarter * static_cast<double>(elapsed.count()) / static_cast<double>(bytes);
    if (fills_in < static_cast<double>(pause.count())) pause = nanoseconds{static_cast<nanoseconds::rep>(fills_in)};
  }
  return pause >= shortest_pause ? pause : nanoseconds{};
}

}  // namespace tinybpf::detail
