// A system call that a BPF program reports: what the caller pays for it, and when the reader has it.
#include "readers.hpp"
#include "rows.hpp"

#include <sys/syscall.h>
#include <unistd.h>

namespace bench {
namespace {

void traced_call() { syscall(SYS_getpgid, 0); }

/// One call after the other; gives ns per call.
double call_tightly(std::uint64_t calls) {
  auto const begin = now_ns();
  for (std::uint64_t i = 0; i < calls; ++i) traced_call();
  return static_cast<double>(now_ns() - begin) / static_cast<double>(calls);
}

/// One call each `period`, spinning in between so that the caller's CPU never sleeps; gives ns per call.
double call_paced(std::uint64_t calls, std::uint64_t period_ns) {
  std::uint64_t in_calls = 0;
  auto next = now_ns();
  for (std::uint64_t i = 0; i < calls; ++i) {
    next += period_ns;
    auto begin = now_ns();
    while (begin < next) begin = now_ns();
    traced_call();
    in_calls += now_ns() - begin;
  }
  return static_cast<double>(in_calls) / static_cast<double>(calls);
}

struct traced {
  std::vector<double> ns_per_call;
  std::vector<double> delay_p50_us;
  std::vector<double> delay_p99_us;
};

/// `call` makes the calls and gives ns per call.
template <class Reader, class Handle, class Call>
void trace(workload const& w, Handle& handle, std::uint64_t calls, Call call, traced& result) {
  asio::io_context context{1};
  auto const lost_before = w.lost();
  read_while<Reader>(context, w.ring(), handle, [&] {
    result.ns_per_call.push_back(call());
    return calls;
  });
  expect_equal(w.lost() - lost_before, 0, "lost while tracing");
}

template <template <class> class Reader>
void trace_tightly(workload const& w, std::uint64_t calls, traced& result) {
  tally handle;
  trace<Reader<tally>>(
      w, handle, calls, [calls] { return call_tightly(calls); }, result);
}

template <template <class> class Reader>
void trace_paced(workload const& w, std::uint64_t calls, std::uint64_t period_ns, traced& result) {
  stopwatch handle;
  handle.delays_ns.reserve(calls);
  trace<Reader<stopwatch>>(
      w, handle, calls, [=] { return call_paced(calls, period_ns); }, result);
  result.delay_p50_us.push_back(quantile(handle.delays_ns, 0.5) / 1e3);
  result.delay_p99_us.push_back(quantile(handle.delays_ns, 0.99) / 1e3);
}

/// With nobody reading.
template <class Call>
void trace_unread(workload const& w, std::uint64_t calls, Call call, std::vector<double>& ns_per_call) {
  ns_per_call.push_back(call());
  expect_equal(w.empty(), calls, "a ring that nobody reads");
}

std::string const nobody = "nobody reading";
std::string const poll = "libbpf ring_buffer__poll";

std::vector<row> tight_rows(workload const& w, sizes const& n) {
  traced ours;
  traced libbpf;
  traced libbpf_again;
  std::vector<double> unread;
  interleave(n.repetitions, {
                                [&] { trace_tightly<tinybpf_reader>(w, n.tight_calls, ours); },
                                [&] { trace_tightly<libbpf_reader>(w, n.tight_calls, libbpf); },
                                [&] { trace_tightly<libbpf_reader>(w, n.tight_calls, libbpf_again); },
                                [&] {
                                  trace_unread(
                                      w, n.tight_calls, [&] { return call_tightly(n.tight_calls); }, unread);
                                },
                            });
  std::string const group = "A traced system call in a tight loop";
  return {
      compare(group, poll + ", again", "ns/call", libbpf_again.ns_per_call, poll, libbpf.ns_per_call),
      compare(group, poll, "ns/call", libbpf.ns_per_call, nobody, unread),
      compare(group, "default policy", "ns/call", ours.ns_per_call, nobody, unread, bar_kind::at_most, 1.1),
  };
}

std::vector<row> paced_rows(workload const& w, sizes const& n) {
  constexpr std::uint64_t period = 20'000;
  traced ours;
  traced libbpf;
  traced libbpf_again;
  std::vector<double> unread;
  interleave(n.repetitions, {
                                [&] { trace_paced<tinybpf_reader>(w, n.paced_calls, period, ours); },
                                [&] { trace_paced<libbpf_reader>(w, n.paced_calls, period, libbpf); },
                                [&] { trace_paced<libbpf_reader>(w, n.paced_calls, period, libbpf_again); },
                                [&] {
                                  trace_unread(
                                      w, n.paced_calls, [&] { return call_paced(n.paced_calls, period); }, unread);
                                },
                            });
  std::string const group = "One traced call per 20 us";
  return {
      compare(group, poll + ", again", "ns/call", libbpf_again.ns_per_call, poll, libbpf.ns_per_call),
      compare(group, poll, "ns/call", libbpf.ns_per_call, nobody, unread),
      compare(group, "default policy", "ns/call", ours.ns_per_call, nobody, unread, bar_kind::at_most, 1.5),
      subtract(group, "default policy: added delay, p50", "us", ours.delay_p50_us, poll, libbpf.delay_p50_us,
               bar_kind::at_most, 200),
      subtract(group, "default policy: added delay, p99", "us", ours.delay_p99_us, poll, libbpf.delay_p99_us,
               bar_kind::at_most, 200),
  };
}

std::vector<row> sparse_rows(workload const& w, sizes const& n) {
  constexpr std::uint64_t period = 1'000'000;
  traced ours;
  traced libbpf;
  traced libbpf_again;
  interleave(n.repetitions, {
                                [&] { trace_paced<tinybpf_reader>(w, n.sparse_calls, period, ours); },
                                [&] { trace_paced<libbpf_reader>(w, n.sparse_calls, period, libbpf); },
                                [&] { trace_paced<libbpf_reader>(w, n.sparse_calls, period, libbpf_again); },
                            });
  std::string const group = "One traced call per ms";
  return {
      compare(group, poll + ", again: delay, p50", "us", libbpf_again.delay_p50_us, poll, libbpf.delay_p50_us),
      compare(group, "default policy: delay, p50", "us", ours.delay_p50_us, poll, libbpf.delay_p50_us,
              bar_kind::at_most, 1.1),
      compare(group, "default policy: delay, p99", "us", ours.delay_p99_us, poll, libbpf.delay_p99_us),
      compare(group, "default policy", "ns/call", ours.ns_per_call, poll, libbpf.ns_per_call),
  };
}

}  // namespace

std::vector<row> tracing_rows(workload& w, sizes const& n) {
  std::vector<row> rows;
  run_on(cpus().producer, [&] {
    w.trace_this_thread();
    for (auto const& group : {tight_rows(w, n), paced_rows(w, n), sparse_rows(w, n)})
      rows.insert(rows.end(), group.begin(), group.end());
  });
  return rows;
}

}  // namespace bench
