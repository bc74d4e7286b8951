// What is measured on: the BPF object and its producers.
#pragma once

#include "harness.hpp"

#include <tinybpf/link.hpp>
#include <tinybpf/object.hpp>
#include <tinybpf/ring_buffer.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/describe/class.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

/// 40 bytes, 48 in the ring.
struct bench_event {
  std::uint64_t time_ns;
  std::uint64_t sequence;
  std::uint64_t payload[3];
};
BOOST_DESCRIBE_STRUCT(bench_event, (), (time_ns, sequence, payload))

namespace bench {

namespace asio = boost::asio;

/// How much is done. A stretch that nobody reads must fit the ring, which holds 1,398,101 events.
struct sizes {
  std::size_t repetitions = 15;
  std::uint64_t drained = 1'000'000;
  std::uint64_t stretch = 1'000'000;  ///< Records of one run of the producer.
  std::uint64_t stretches = 4;        ///< Runs in a row of the saturating producer.
  std::uint64_t tight_calls = 200'000;
  std::uint64_t paced_calls = 10'000;  ///< One per 20 us.
  std::uint64_t sparse_calls = 300;    ///< One per ms.
  std::size_t idle_rings = 1000;
  std::uint64_t perf_drained = 250'000;
  std::uint64_t perf_stretch = 50'000;
};

/// As little as shows that everything runs. All of it fits the ring, so nothing may be lost however slow the machine.
inline constexpr sizes quick{2, 50'000, 50'000, 2, 10'000, 500, 20, 20, 20'000, 20'000};

/// What every reader does with an event: a field is used, and the events are counted.
struct tally {
  std::uint64_t events = 0;
  std::uint64_t sum = 0;

  template <class E>
  void operator()(E const& e) noexcept {
    ++events;
    sum += e.sequence;
  }
};

/// Likewise where the delay from the BPF program to the reader is asked for.
struct stopwatch {
  std::uint64_t events = 0;
  std::vector<double> delays_ns;

  void operator()(bench_event const& e) {
    ++events;
    delays_ns.push_back(static_cast<double>(now_ns() - e.time_ns));
  }
};

/// The loaded object.
class workload {
 public:
  workload();

  [[nodiscard]] tinybpf::map const& ring() const noexcept { return ring_; }
  /// Events that found no room, since the object was loaded.
  [[nodiscard]] std::uint64_t lost() const { return counter_.lost().value(); }

  /// Makes `count` records, on the calling thread; gives the time that took.
  std::uint64_t produce(std::uint64_t count) const;

  /// From now on `getpgid` gives a record, if it is called by this thread.
  void trace_this_thread();

  /// Reads away what is in the ring; gives the number of events.
  std::uint64_t empty() const;

 private:
  std::uint64_t run(std::string_view program, void* args, std::uint32_t size) const;

  tinybpf::object object_;
  tinybpf::map ring_;
  asio::io_context context_;
  tinybpf::ring_buffer counter_;
  tinybpf::link link_;
};

}  // namespace bench
