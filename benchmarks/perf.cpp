// Perf buffers: how fast each reader empties one that was filled before, and keeps up with a producer that never
// pauses.
#include "readers.hpp"
#include "rows.hpp"

#include <tinybpf/object.hpp>
#include <tinybpf/perf_buffer.hpp>

#include <bpf/bpf.h>
#include <linux/perf_event.h>

#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <type_traits>
#include <vector>

namespace bench {
namespace {

// Of each CPU's buffer, for all readers: 16 MiB, room for nearly 300,000 events.
constexpr std::size_t pages = 4096;

struct produced {
  std::uint64_t written;
  std::uint64_t failed;
};

/// The loaded object.
class perf_workload {
 public:
  [[nodiscard]] tinybpf::map const& map() const noexcept { return events_; }

  /// Makes `count` records on the calling thread, and gives how many found room.
  std::uint64_t produce(std::uint64_t count) const {
    bpf_test_run_opts options{};
    options.sz = sizeof options;
    options.ctx_in = &count;
    options.ctx_size_in = sizeof count;
    if (bpf_prog_test_run_opts(program_.fd(), &options) != 0)
      throw std::system_error{errno, std::system_category(), "run a program"};
    std::uint32_t const key = 0;
    produced result{};
    result_.lookup(std::as_bytes(std::span{&key, 1}), std::as_writable_bytes(std::span{&result, 1}));
    if (result.written + result.failed != count) throw std::runtime_error{"a producer stopped half-way"};
    return result.written;
  }

 private:
  tinybpf::object object_ = tinybpf::load(PERF_BENCH_BPF_O);
  tinybpf::map events_ = object_.map("events");
  tinybpf::map result_ = object_.map("result");
  tinybpf::program program_ = object_.program("produce");
};

struct close_perf {
  void operator()(::perf_buffer* b) const noexcept { perf_buffer__free(b); }
};
using libbpf_perf = std::unique_ptr<::perf_buffer, close_perf>;

libbpf_perf checked(::perf_buffer* b) {
  if (b == nullptr) throw std::system_error{errno, std::system_category(), "perf_buffer__new"};
  return libbpf_perf{b};
}

/// With a wake-up for every event, as perf_buffer__new does it.
template <class Handle>
libbpf_perf open_libbpf_perf(tinybpf::map const& m, Handle& handle) {
  auto const on_sample = [](void* context, int, void* data, __u32) {
    (*static_cast<Handle*>(context))(*static_cast<bench_event const*>(data));
  };
  return checked(perf_buffer__new(m.fd(), pages, on_sample, nullptr, &handle, nullptr));
}

/// With one for every 64th.
template <class Handle>
libbpf_perf open_libbpf_perf_64(tinybpf::map const& m, Handle& handle) {
  auto const on_event = [](void* context, int, perf_event_header* header) {
    if (header->type == PERF_RECORD_SAMPLE)
      (*static_cast<Handle*>(context))(
          *reinterpret_cast<bench_event const*>(reinterpret_cast<std::byte*>(header) + sizeof *header + sizeof(__u32)));
    return LIBBPF_PERF_EVENT_CONT;
  };
  perf_event_attr attr{};
  attr.size = sizeof attr;
  attr.type = PERF_TYPE_SOFTWARE;
  attr.config = PERF_COUNT_SW_BPF_OUTPUT;
  attr.sample_type = PERF_SAMPLE_RAW;
  attr.sample_period = 1;
  attr.wakeup_events = 64;
  return checked(perf_buffer__new_raw(m.fd(), pages, &attr, on_event, &handle, nullptr));
}

template <class Handle, auto Open>
class libbpf_perf_reader {
 public:
  libbpf_perf_reader(asio::io_context&, tinybpf::map const& m, Handle& handle) : buffer_{Open(m, handle)} {}

  void run(Handle const& handle, std::atomic<std::uint64_t>& seen) {
    while (!stop_.load(std::memory_order_relaxed)) {
      // After a silence, what was too little to wake anybody.
      if (perf_buffer__poll(buffer_.get(), 5) == 0) perf_buffer__consume(buffer_.get());
      seen.store(handle.events, std::memory_order_relaxed);
    }
  }
  void stop() { stop_ = true; }

 private:
  libbpf_perf buffer_;
  std::atomic<bool> stop_ = false;
};

tinybpf::perf_options options() {
  tinybpf::perf_options o;
  o.page_count = pages;
  return o;
}

template <class Handle, bool Immediate>
class tinybpf_perf_reader {
 public:
  tinybpf_perf_reader(asio::io_context& context, tinybpf::map const& m, Handle& handle)
      : context_{context}, buffer_{context.get_executor(), m, options()}, handle_{handle} {
    if constexpr (Immediate) buffer_.set_wakeup_policy(tinybpf::wakeup_policy::immediate());
  }

  void run(Handle const&, std::atomic<std::uint64_t>& seen) {
    asio::co_spawn(context_, read(seen), [this](std::exception_ptr const&) { context_.stop(); });
    context_.restart();
    context_.run();
  }
  void stop() {
    asio::post(context_, [this] { buffer_.close(); });
  }

 private:
  asio::awaitable<void> read(std::atomic<std::uint64_t>& seen) {
    for (;;) {
      for (bench_event const& e : co_await buffer_.template read_some<bench_event>(512)) handle_(e);
      seen.store(handle_.events, std::memory_order_relaxed);
    }
  }

  asio::io_context& context_;
  tinybpf::perf_buffer buffer_;
  Handle& handle_;
};

/// Reads `events`, of which all are there once `fill` was called, and gives the CPU time that took, in ns.
using drain = std::uint64_t (*)(tinybpf::map const&, std::uint64_t events, tally&, std::function<void()> const& fill);

std::uint64_t by_libbpf(tinybpf::map const& m, std::uint64_t events, tally& t, std::function<void()> const& fill) {
  auto const buffer = open_libbpf_perf(m, t);
  fill();
  auto const begin = thread_cpu_ns();
  while (t.events < events) perf_buffer__consume(buffer.get());
  return thread_cpu_ns() - begin;
}

std::uint64_t by_try_next(tinybpf::map const& m, std::uint64_t, tally& t, std::function<void()> const& fill) {
  asio::io_context context;
  tinybpf::perf_buffer buffer{context.get_executor(), m, options()};
  fill();
  auto const begin = thread_cpu_ns();
  while (auto const e = buffer.try_next<bench_event>()) t(*e);
  return thread_cpu_ns() - begin;
}

template <std::size_t Budget>
std::uint64_t by_read_some(tinybpf::map const& m, std::uint64_t events, tally& t, std::function<void()> const& fill) {
  asio::io_context context{1};
  tinybpf::perf_buffer buffer{context.get_executor(), m, options()};
  std::uint64_t elapsed = 0;
  asio::co_spawn(
      context,
      [&]() -> asio::awaitable<void> {
        fill();
        auto const begin = thread_cpu_ns();
        while (t.events < events)
          for (bench_event const& e : co_await buffer.read_some<bench_event>(Budget)) t(e);
        elapsed = thread_cpu_ns() - begin;
      },
      [](std::exception_ptr const& failed) {
        if (failed) std::rethrow_exception(failed);
      });
  context.run();
  return elapsed;
}

struct reader {
  char const* name;
  drain run;
  bar_kind kind;
  double bar;
};

constexpr std::array readers{
    reader{"libbpf perf_buffer__consume, again", by_libbpf, bar_kind::none, 0},
    reader{"read_some(512)", by_read_some<512>, bar_kind::at_most, 1},
    reader{"read_some(4096)", by_read_some<4096>, bar_kind::at_most, 1},
    reader{"try_next", by_try_next, bar_kind::at_most, 1},
};

double drain_on(perf_workload const& w, drain run, std::uint64_t events) {
  tally t;
  std::uint64_t elapsed = 0;
  auto const fill = [&] {
    std::uint64_t written = 0;
    run_on(cpus().producer, [&] { written = w.produce(events); });
    expect_equal(written, events, "a perf buffer");
  };
  run_on(cpus().consumer, [&] { elapsed = run(w.map(), events, t, fill); });
  expect_equal(t.events, events, "a drain");
  expect_equal(t.sum, events * (events - 1) / 2, "the sum of a drain");
  return static_cast<double>(elapsed) / static_cast<double>(events);
}

struct saturation {
  std::vector<double> events_per_us;
  std::vector<double> cpu_ns;
  std::vector<double> lost;
};

template <class Reader>
void saturate(perf_workload const& w, std::uint64_t stretch, std::uint64_t stretches, asio::io_context& context,
              saturation& result) {
  tally handle;
  auto const cost = read_while<Reader>(context, w.map(), handle, [&] {
    std::uint64_t written = 0;
    for (std::uint64_t i = 0; i < stretches; ++i) written += w.produce(stretch);
    return written;
  });
  auto const events = static_cast<double>(handle.events);
  result.events_per_us.push_back(events * 1e3 / static_cast<double>(cost.wall_ns));
  result.cpu_ns.push_back(static_cast<double>(cost.cpu_ns) / events);
  result.lost.push_back(static_cast<double>(stretch * stretches) - events);
}

}  // namespace

std::vector<row> perf_rows(sizes const& n) {
  perf_workload const w;
  std::vector<double> libbpf;
  std::array<std::vector<double>, readers.size()> ours;
  std::vector<std::function<void()>> variants{[&] { libbpf.push_back(drain_on(w, by_libbpf, n.perf_drained)); }};
  for (std::size_t i = 0; i < readers.size(); ++i)
    variants.emplace_back([&, i] { ours[i].push_back(drain_on(w, readers[i].run, n.perf_drained)); });
  interleave(n.repetitions, variants);

  asio::io_context context{1};
  saturation poll, poll_again, poll_64, immediate, adaptive;
  auto const run = [&]<class Reader>(std::type_identity<Reader>, saturation& result) {
    return [&w, &n, &context, &result] { saturate<Reader>(w, n.perf_stretch, n.stretches, context, result); };
  };
  using libbpf_reader = libbpf_perf_reader<tally, &open_libbpf_perf<tally>>;
  using libbpf_reader_64 = libbpf_perf_reader<tally, &open_libbpf_perf_64<tally>>;
  run_on(cpus().producer, [&] {
    interleave(n.repetitions, {
                                  run(std::type_identity<libbpf_reader>{}, poll),
                                  run(std::type_identity<libbpf_reader>{}, poll_again),
                                  run(std::type_identity<libbpf_reader_64>{}, poll_64),
                                  run(std::type_identity<tinybpf_perf_reader<tally, true>>{}, immediate),
                                  run(std::type_identity<tinybpf_perf_reader<tally, false>>{}, adaptive),
                              });
  });

  std::vector<row> rows;
  std::string const drained = "Draining a filled perf buffer";
  for (std::size_t i = 0; i < readers.size(); ++i)
    rows.push_back(compare(drained, readers[i].name, "ns/event", ours[i], "libbpf perf_buffer__consume", libbpf,
                           readers[i].kind, readers[i].bar));
  std::string const group = "A producer that never pauses, through perf buffers";
  std::string const rate = "events/us";
  std::string const cpu = "ns/event";
  std::string const poll_name = "libbpf perf_buffer__poll";
  std::string const poll_64_name = poll_name + ", every 64th";
  for (auto const& r : {
           compare(group, poll_name + ", again", rate, poll_again.events_per_us, poll_name, poll.events_per_us),
           compare(group, poll_64_name, rate, poll_64.events_per_us, poll_name, poll.events_per_us),
           compare(group, "immediate()", rate, immediate.events_per_us, poll_name, poll.events_per_us,
                   bar_kind::at_least, 1),
           compare(group, "default policy", rate, adaptive.events_per_us, poll_name, poll.events_per_us,
                   bar_kind::at_least, 1.5),
           compare(group, "default policy", rate, adaptive.events_per_us, poll_64_name, poll_64.events_per_us,
                   bar_kind::at_least, 1.5),
           compare(group, "default policy: the reader's CPU time", cpu, adaptive.cpu_ns, poll_64_name, poll_64.cpu_ns),
           absolute(group, "default policy: lost", "events", adaptive.lost, bar_kind::at_most, 0),
           absolute(group, poll_64_name + ": lost", "events", poll_64.lost),
       })
    rows.push_back(r);
  return rows;
}

}  // namespace bench
