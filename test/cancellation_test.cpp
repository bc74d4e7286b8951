// Ten million events on the kernel's rings, read by whatever is cancelled, raced and left half-way in turns: each event
// arrives once, and in order.
#include "streams.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stdexcept>

namespace asio = boost::asio;
namespace data = boost::unit_test::data;
using namespace asio::experimental::awaitable_operators;
using test::counted_event;
using test::ring;
using test::untagged_event;
using test::write_args;
using tinybpf::error_code;
using tinybpf::ring_buffer;
using tinybpf::wakeup_policy;

namespace cancelling {  // with a name: g++ 12 warns of coroutine templates over types without linkage

constexpr std::uint64_t total = 10'000'000;
constexpr std::uint64_t each_round = 2 * 2500;
constexpr std::uint64_t rounds = total / each_round;
static_assert(rounds >= 1000);

/// How an operation ended.
enum class outcome { pending, aborted, completed };

/// A ring with the account of what was written into it and read from it.
template <class E>
struct account {
  account(test::streams& s, ring r, wakeup_policy policy) : of{s}, name{r}, buffer{s.io, s.obj.map(name_of(r))} {
    buffer.set_wakeup_policy(policy);
  }
  static char const* name_of(ring r) { return r == ring::first ? "first" : "second"; }

  void write(std::uint64_t count) {
    write_args args;
    args.first = written;
    if (of.write(name, count, args).written != count) throw std::length_error{"the ring is full"};
    written += count;
  }
  void see(E const& e) {
    if (e.serial != read) throw std::runtime_error{"lost, repeated or out of order"};
    ++read;
  }

  test::streams& of;
  ring name;
  ring_buffer buffer;
  std::uint64_t written = 0;
  std::uint64_t read = 0;
};

struct tally {
  std::uint64_t cancelled_while_waiting = 0;
  std::uint64_t cancelled_when_ready = 0;
  std::uint64_t completed = 0;
  std::uint64_t both_ready = 0;
  std::uint64_t left_half_way = 0;
};

constexpr asio::cancellation_type kinds[] = {asio::cancellation_type::total, asio::cancellation_type::partial,
                                             asio::cancellation_type::terminal};

/// One operation of a changing kind, cancelled by a changing way.
template <class E>
class cancellable {
 public:
  explicit cancellable(account<E>& a, std::uint64_t turn) : account_{a}, turn_{turn} {
    auto const bound = [this](auto handler) {
      return asio::bind_cancellation_slot(signal_.slot(), std::move(handler));
    };
    switch (turn_ % 3) {
      case 0:
        account_.buffer.async_wait(bound([this](error_code ec) { end(ec); }));
        break;
      case 1:
        account_.buffer.template async_next<E>(bound([this](error_code ec, E const& e) {
          if (!ec) account_.see(e);
          end(ec);
        }));
        break;
      default:
        account_.buffer.template async_read_some<E>(10, bound([this](error_code ec, tinybpf::batch<E> range) {
                                                      for (auto const& e : range) account_.see(e);
                                                      end(ec);
                                                    }));
    }
  }
  cancellable(cancellable const&) = delete;
  cancellable& operator=(cancellable const&) = delete;

  void cancel() {
    if (auto const way = turn_ / 3 % 4; way < 3)
      signal_.emit(kinds[way]);
    else
      account_.buffer.cancel();
  }
  outcome finish() {
    account_.of.run_until([&] { return ended_ != outcome::pending; });
    return ended_;
  }

 private:
  void end(error_code ec) {
    if (ec && ec != asio::error::operation_aborted) throw boost::system::system_error{ec};
    ended_ = ec ? outcome::aborted : outcome::completed;
  }

  account<E>& account_;
  std::uint64_t turn_;
  asio::cancellation_signal signal_;
  outcome ended_ = outcome::pending;
};

template <class E>
void cancel_some(account<E>& a, std::uint64_t round, std::uint64_t count, tally& t) {
  {
    cancellable<E> waits{a, round};
    if (round % 2 == 0) a.of.poll();
    waits.cancel();
    if (waits.finish() != outcome::aborted) throw std::runtime_error{"completed with nothing there"};
    ++t.cancelled_while_waiting;
  }
  // Waiting when the events come; on its way to complete, or about to look, when it is cancelled.
  cancellable<E> was_waiting{a, round + 1};
  if (round % 2 == 0) a.of.poll();
  a.write(count);
  if (round % 5 == 0) a.of.io.run_one_for(std::chrono::milliseconds{20});
  was_waiting.cancel();
  (was_waiting.finish() == outcome::aborted ? t.cancelled_when_ready : t.completed) += 1;
  {
    cancellable<E> finds_some{a, round + 2};
    finds_some.cancel();
    if (finds_some.finish() != outcome::aborted) throw std::runtime_error{"completed after it was cancelled"};
    ++t.cancelled_when_ready;
  }
  cancellable<E> completes{a, round};
  if (completes.finish() != outcome::completed) throw std::runtime_error{"aborted"};
  ++t.completed;
}

template <class E>
asio::awaitable<void> leave_half_way(account<E>& a, tally& t) {
  std::size_t left = 500;
  auto range = co_await a.buffer.template read_some<E>(1000);
  for (auto const& e : range) {
    a.see(e);
    if (--left == 0) break;
  }
  if (left == 0 && !range.empty()) ++t.left_half_way;
}

template <class E>
asio::awaitable<void> read_rest(account<E>& a, std::uint64_t round) {
  while (a.read < a.written) {
    if (round % 4 == 0) {
      while (auto const e = a.buffer.template try_next<E>()) a.see(*e);
    } else if (round % 4 == 1) {
      auto const e = co_await a.buffer.template next<E>();
      a.see(e);
    } else {
      for (auto const& e : co_await a.buffer.template read_some<E>(700)) a.see(e);
    }
  }
}

template <class A, class B>
asio::awaitable<void> race(account<A>& a, account<B>& b, std::uint64_t round, tally& t) {
  auto const first = co_await (a.buffer.async_wait() || b.buffer.async_wait());
  if (first.index() > 1) throw std::logic_error{"nobody won"};
  ++t.both_ready;
  co_await leave_half_way(a, t);
  co_await leave_half_way(b, t);
  co_await read_rest(a, round);
  co_await read_rest(b, round + 1);
}

std::vector<wakeup_policy> const policies{wakeup_policy::immediate(), wakeup_policy::adaptive()};

}  // namespace cancelling

using namespace cancelling;

BOOST_DATA_TEST_CASE(each_event_is_accounted_for, data::xrange(policies.size()), policy) {
  test::streams s;
  account<untagged_event> a{s, ring::first, policies[policy]};
  account<counted_event> b{s, ring::second, policies[policy]};
  tally t;
  for (std::uint64_t round = 0; round < rounds; ++round) {
    cancel_some(a, round, each_round / 2, t);
    cancel_some(b, round + 1, each_round / 2, t);
    s.run(race(a, b, round, t));
  }
  BOOST_TEST(a.read + b.read == total);
  BOOST_TEST(!a.buffer.try_next<untagged_event>());
  BOOST_TEST(!b.buffer.try_next<counted_event>());
  BOOST_TEST(a.buffer.lost().value() == 0U);
  BOOST_TEST(b.buffer.lost().value() == 0U);
  BOOST_TEST(t.cancelled_while_waiting >= 1000U);
  BOOST_TEST(t.cancelled_when_ready >= 1000U);
  BOOST_TEST(t.completed >= 1000U);
  BOOST_TEST(t.both_ready >= 1000U);
  BOOST_TEST(t.left_half_way >= 1000U);
  BOOST_TEST_MESSAGE("cancelled while waiting "
                     << t.cancelled_while_waiting << ", when ready " << t.cancelled_when_ready << ", completed "
                     << t.completed << ", both ready " << t.both_ready << ", left half-way " << t.left_half_way);
}
