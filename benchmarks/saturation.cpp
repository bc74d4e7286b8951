// A producer that never pauses, on one CPU, and a reader on the other.
#include "readers.hpp"
#include "rows.hpp"

#include <deque>

namespace bench {
namespace {

struct saturation {
  std::vector<double> events_per_us;
  std::vector<double> cpu_ns;  // of the reader, per event
  std::vector<double> lost;
};

template <template <class> class Reader>
void saturate(workload const& w, sizes const& n, asio::io_context& context, saturation& result) {
  auto const lost_before = w.lost();
  auto const made = n.stretch * n.stretches;
  tally handle;
  auto const cost = read_while<Reader<tally>>(context, w.ring(), handle, [&] {
    for (std::size_t i = 0; i < n.stretches; ++i) w.produce(n.stretch);
    return made - (w.lost() - lost_before);
  });
  auto const events = static_cast<double>(handle.events);
  result.events_per_us.push_back(events * 1e3 / static_cast<double>(cost.wall_ns));
  result.cpu_ns.push_back(static_cast<double>(cost.cpu_ns) / events);
  result.lost.push_back(static_cast<double>(w.lost() - lost_before));
}

/// The same work with nobody reading. Each stretch fits the ring; it is emptied between them, off the clock.
void produce_alone(workload const& w, sizes const& n, std::vector<double>& events_per_us) {
  std::uint64_t elapsed = 0;
  for (std::size_t i = 0; i < n.stretches; ++i) {
    elapsed += w.produce(n.stretch);
    expect_equal(w.empty(), n.stretch, "a ring that nobody reads");
  }
  events_per_us.push_back(static_cast<double>(n.stretch * n.stretches) * 1e3 / static_cast<double>(elapsed));
}

}  // namespace

std::vector<row> saturation_rows(workload& w, sizes const& n) {
  asio::io_context context{1};
  saturation ours;
  saturation libbpf;
  saturation libbpf_again;
  std::vector<double> alone;
  run_on(cpus().producer, [&] {
    interleave(n.repetitions, {
                                  [&] { saturate<tinybpf_reader>(w, n, context, ours); },
                                  [&] { saturate<libbpf_reader>(w, n, context, libbpf); },
                                  [&] { saturate<libbpf_reader>(w, n, context, libbpf_again); },
                                  [&] { produce_alone(w, n, alone); },
                              });
  });

  std::string const group = "A producer that never pauses";
  std::string const rate = "events/us";
  std::string const cpu = "ns/event";
  std::string const poll = "libbpf ring_buffer__poll";
  return {
      compare(group, poll + ", again", rate, libbpf_again.events_per_us, poll, libbpf.events_per_us),
      compare(group, "default policy", rate, ours.events_per_us, poll, libbpf.events_per_us, bar_kind::at_least, 3),
      compare(group, "default policy", rate, ours.events_per_us, "nobody reading", alone, bar_kind::at_least, 0.85),
      compare(group, "default policy: the reader's CPU time", cpu, ours.cpu_ns, poll, libbpf.cpu_ns, bar_kind::at_most,
              0.4),
      absolute(group, "default policy: lost", "events", ours.lost, bar_kind::at_most, 0),
      absolute(group, poll + ": lost", "events", libbpf.lost),
  };
}

std::vector<row> idle_ring_rows(workload& w, sizes const& n) {
  asio::io_context alone_context{1};
  asio::io_context crowded_context{1};
  std::deque<tinybpf::ring_buffer> idle;
  for (std::size_t i = 0; i < n.idle_rings; ++i) {
    auto const object = tinybpf::load(IDLE_RING_BPF_O);
    idle.emplace_back(crowded_context.get_executor(), object.map("idle")).async_wait([](tinybpf::error_code const&) {});
  }

  saturation alone;
  saturation crowded;
  run_on(cpus().producer, [&] {
    interleave(n.repetitions, {
                                  [&] { saturate<tinybpf_reader>(w, n, alone_context, alone); },
                                  [&] { saturate<tinybpf_reader>(w, n, crowded_context, crowded); },
                              });
  });
  return {compare("One busy ring on a loop with " + std::to_string(n.idle_rings) + " idle ones", "default policy",
                  "events/us", crowded.events_per_us, "the busy ring alone", alone.events_per_us, bar_kind::at_least,
                  0.95)};
}

}  // namespace bench
