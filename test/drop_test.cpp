// Load, drop, run: docs/PRIVILEGES.md says what a process can still do that has loaded and attached as root and then
// became an unprivileged user. Each claim here is one of its rows, and each case runs in forked children.
#include "calls.hpp"
#include "loop.hpp"
#include "privileges.hpp"
#include "streams.hpp"
#include "support.hpp"

#include <tinybpf/async.hpp>
#include <tinybpf/btf.hpp>
#include <tinybpf/capabilities.hpp>
#include <tinybpf/dynamic_value.hpp>
#include <tinybpf/fd_map.hpp>
#include <tinybpf/object.hpp>
#include <tinybpf/perf_buffer.hpp>
#include <tinybpf/ring_buffer.hpp>
#include <tinybpf/shared_array.hpp>
#include <tinybpf/stats.hpp>
#include <tinybpf/typed_map.hpp>
#include <tinybpf/user_ring_buffer.hpp>

#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/test/unit_test.hpp>

#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <bpf/bpf.h>

#include <cstdint>
#include <cstdlib>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace asio = boost::asio;
using test::checked;
using test::contains;
using test::counter;
using tinybpf::capability;
using tinybpf::diagnostics;
using tinybpf::error_code;
using tinybpf::object;

// As in perf_streams.bpf.c and user_ring.bpf.c.
struct emit_asked {
  std::uint32_t target = 0;
  std::uint32_t kind = 1;
  std::uint32_t size = 0;
  std::uint32_t index = 0;
  std::uint64_t count = 1;
  std::uint64_t first = 0;
  std::uint64_t written = 0;
  std::uint64_t failed = 0;
};

struct command {
  std::uint64_t serial;
  std::uint64_t value;
};

struct answer {
  std::uint64_t serial;
  std::uint64_t value;
};

namespace {

// For those who open them after the drop.
std::optional<test::readable_copy> calls_copy{CALLS_BPF_O};
std::optional<test::readable_copy> xdp_counter_copy{XDP_COUNTER_BPF_O};

}  // namespace

namespace dropping {  // with a name: g++ 12 warns of coroutines over types without linkage

/// The recipe, as docs/PRIVILEGES.md has it.
void drop() {
  checked(setgroups(0, nullptr), "setgroups");
  checked(setresgid(test::nobody, test::nobody, test::nobody), "setresgid");
  checked(setresuid(test::nobody, test::nobody, test::nobody), "setresuid");
  checked(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl");
  if (!tinybpf::permitted_capabilities().empty()) throw std::logic_error{"there are privileges left"};
}

std::string words(error_code ec, diagnostics const& details) {
  return ec ? std::to_string(ec.value()) + ": " + details.to_string() : "no error";
}

bool is_errno(std::string const& said, int err) { return said.starts_with(std::to_string(err) + ": "); }

/// What the call says in its last form.
template <class F>
std::string said_by(F f) {
  error_code ec;
  diagnostics details;
  static_cast<void>(f(ec, details));
  return words(ec, details);
}

template <class F>
std::string after_drop(F f) {
  return test::in_child([&] {
    drop();
    return std::string{f()};
  });
}

/// For who reads a child's answer: the first thing that is not as it should be.
class expectations {
 public:
  void operator()(bool holds, std::string const& what) {
    if (!holds && first_.empty()) first_ = what;
  }
  std::string answer() const { return first_.empty() ? "all is well" : first_; }

 private:
  std::string first_;
};

std::string const well = "all is well";

asio::awaitable<void> take_serials(tinybpf::ring_buffer& events, std::uint64_t count, std::uint64_t& sum) {
  for (std::uint64_t i = 0; i < count; ++i) {
    auto const e = co_await events.next<test::counted_event>();
    sum += e.serial;
  }
}

asio::awaitable<void> take_batch(tinybpf::ring_buffer& events, std::uint64_t count, std::uint64_t& sum) {
  while (count > 0)
    for (auto const& e : co_await events.read_some<test::counted_event>(64)) {
      sum += e.serial;
      --count;
    }
}

asio::awaitable<void> take_dynamic(tinybpf::perf_buffer& events, std::uint64_t& serial) {
  auto const e = co_await events.next_dynamic("counted_event");
  serial = e["serial"].as<std::uint64_t>();
}

asio::awaitable<void> detach_later(tinybpf::link l) {
  auto ex = co_await asio::this_coro::executor;
  co_await tinybpf::async_detach(ex, std::move(l));
}

}  // namespace dropping

using namespace dropping;

BOOST_AUTO_TEST_SUITE(goes_on)

BOOST_AUTO_TEST_CASE(reading_a_ring_buffer) {
  auto const said = test::in_child([] {
    expectations expect;
    test::streams s;
    tinybpf::ring_buffer events{s.io, s.obj.map("first")};
    s.write_one(test::ring::first, 1);
    drop();
    std::uint64_t sum = 0;
    s.run(take_serials(events, 1, sum));
    expect(sum == 1, "what was written before");
    // The reader waits, and is woken.
    test::run_program(s.writer, {});
    sum = 0;
    bool ended = false;
    asio::co_spawn(s.io, take_serials(events, 2, sum), [&](std::exception_ptr) { ended = true; });
    s.poll();
    s.write_one(test::ring::first, 10);
    s.run_until([&] { return ended; });
    expect(sum == 10, "what was written afterwards");
    s.write(test::ring::first, 100, {.first = 1});
    sum = 0;
    s.run(take_batch(events, 100, sum));
    expect(sum == 5050, "a batch");
    expect(events.lost() == 0U, "lost() of none");
    // 256 KiB are 8,192 of them.
    auto const w = s.write(test::ring::first, 10'000);
    expect(w.failed > 0 && events.lost() == w.failed, "lost() of some");
    return expect.answer();
  });
  BOOST_TEST(said == well);
}

BOOST_AUTO_TEST_CASE(opening_a_ring_buffer) {
  auto const said = test::in_child([] {
    expectations expect;
    test::streams s;
    s.write_one(test::ring::first, 7);
    drop();
    tinybpf::ring_buffer events{s.io, s.obj.map("first")};
    std::uint64_t sum = 0;
    s.run(take_serials(events, 1, sum));
    expect(sum == 7, "the event");
    expect(events.lost() == 0U, "lost()");
    return expect.answer();
  });
  BOOST_TEST(said == well);
}

BOOST_AUTO_TEST_CASE(reading_a_perf_buffer) {
  auto const said = test::in_child([] {
    expectations expect;
    test::loop l;
    auto const obj = tinybpf::load(PERF_STREAMS_BPF_O);
    tinybpf::perf_buffer events{l.io, obj.map("samples")};
    drop();
    emit_asked asked;
    asked.first = 33;
    std::uint32_t const key = 0;
    obj.map("asked").update(test::bytes_of(key), test::bytes_of(asked));
    bpf_test_run_opts opts{};
    opts.sz = sizeof opts;
    expect(bpf_prog_test_run_opts(obj.program("emit_events").fd(), &opts) == 0, "test_run");
    std::uint64_t serial = 0;
    l.run(take_dynamic(events, serial));
    expect(serial == 33, "the event");
    expect(events.lost() == 0U, "lost()");
    return expect.answer();
  });
  BOOST_TEST(said == well);
}

BOOST_AUTO_TEST_CASE(writing_to_a_user_ring_buffer) {
  auto const said = test::in_child([] {
    expectations expect;
    test::loop l;
    auto const obj = tinybpf::load(USER_RING_BPF_O);
    tinybpf::user_ring_buffer commands{l.io, obj.map("commands")};
    tinybpf::ring_buffer answers{l.io, obj.map("answers")};
    drop();
    auto r = commands.try_reserve<command>();
    expect(r.has_value(), "reserve");
    **r = {1, 21};
    r->submit();
    struct {
      std::uint64_t flags, most;
      std::int64_t result;
    } args{};
    bpf_test_run_opts opts{};
    opts.sz = sizeof opts;
    opts.ctx_in = &args;
    opts.ctx_size_in = sizeof args;
    expect(bpf_prog_test_run_opts(obj.program("drain").fd(), &opts) == 0 && args.result == 1, "drain");
    auto const a = answers.try_next<answer>();
    expect(a && a->serial == 1 && a->value == 42, "the answer");
    return expect.answer();
  });
  BOOST_TEST(said == well);
}

BOOST_AUTO_TEST_CASE(attachments_and_their_end) {
  auto const said = test::in_child([] {
    expectations expect;
    test::loop l;
    auto const obj = tinybpf::load(calls_copy->path());
    auto const calls = obj.map("calls");
    auto by_detach = obj.program("on_getpgid").attach();
    auto by_raw = obj.program("on_raw_enter").attach();
    auto by_worker = obj.program("on_btf_enter").attach();
    drop();
    test::call(3);
    auto const counts = [&](std::uint64_t first, std::uint64_t second, std::uint64_t third) {
      return test::seen(calls, counter::on_getpgid) == first && test::seen(calls, counter::on_raw_enter) == second &&
             test::seen(calls, counter::on_btf_enter) == third;
    };
    expect(counts(3, 3, 3), "the programs run");
    by_detach.detach();
    test::call();
    expect(counts(3, 4, 4), "detach()");
    { auto const gone = std::move(by_raw); }
    test::call();
    expect(counts(3, 4, 5), "the destructor");
    l.run(detach_later(std::move(by_worker)));
    test::call();
    expect(counts(3, 4, 5), "async_detach");
    return expect.answer();
  });
  BOOST_TEST(said == well);
}

BOOST_AUTO_TEST_CASE(every_operation_on_a_map) {
  auto const said = test::in_child([] {
    expectations expect;
    auto const hash = tinybpf::map::create(tinybpf::map_type::hash, "dropped", 4, 8, 16);
    drop();
    auto const numbers = hash.typed<std::uint32_t, std::uint64_t>();
    numbers.update(1, 10);
    numbers[2] = 20;
    expect(numbers.lookup(1) == 10U && numbers.at(2) == 20U, "update and lookup");
    std::uint64_t sum = 0;
    for (auto const& [key, value] : numbers) sum += key + value;
    expect(sum == 33, "entries");
    std::vector<std::uint32_t> const keys{3, 4};
    std::vector<std::uint64_t> const values{30, 40};
    expect(numbers.update_batch(keys, values) == 2, "update_batch");
    expect(numbers.erase(1) && numbers.count() == 3, "erase and count");
    expect(hash.clone().count() == 3, "clone");
    expect(hash.info().id != 0, "info");
    expect(hash.clear() == 3, "clear");
    return expect.answer();
  });
  BOOST_TEST(said == well);
}

BOOST_AUTO_TEST_CASE(global_variables_and_handles) {
  auto const said = test::in_child([] {
    expectations expect;
    auto obj = tinybpf::load(calls_copy->path());
    drop();
    expect(obj.program("on_raw_enter").info().id != 0, "info of a program");
    expect(obj.btf().type("call_event").size() == 24, "btf()");
    auto const kept = obj.map("calls").clone();
    obj.close();
    expect(kept.count() == 5, "the clone of a closed object's map");
    expect(object::open(calls_copy->path()).programs().size() > 1, "open");
    return expect.answer();
  });
  BOOST_TEST(said == well);
}

// Whoever has a descriptor of such a program may attach it.
BOOST_AUTO_TEST_CASE(attaching_what_needs_no_perf_event) {
  auto const said = test::in_child([] {
    expectations expect;
    checked(unshare(CLONE_NEWNET), "unshare");
    auto const obj = tinybpf::load(calls_copy->path());
    auto const frames = tinybpf::load(XDP_COUNTER_BPF_O);
    drop();
    auto const raw = obj.program("on_raw_enter").attach();
    auto const typed = obj.program("on_btf_enter").attach();
    auto const xdp = frames.program("count").attach_xdp(1);
    test::call();
    expect(test::seen(obj.map("calls"), counter::on_raw_enter) == 1, "a raw tracepoint");
    expect(test::seen(obj.map("calls"), counter::on_btf_enter) == 1, "a tp_btf");
    expect(xdp.attached(), "an interface");
    return expect.answer();
  });
  BOOST_TEST(said == well);
}

// Its values are 64 bits wide; that they are no floating-point numbers only their types say.
BOOST_AUTO_TEST_CASE(opening_a_pinned_map_without_its_types) {
  auto const said = test::in_child([] {
    expectations expect;
    test::mounts_of_its_own();
    checked(mount("bpf", "/sys/fs/bpf", "bpf", 0, "mode=755"), "mount");
    auto const obj = tinybpf::load(calls_copy->path());
    obj.map("calls").pin("/sys/fs/bpf/calls");
    error_code ec;
    static_cast<void>(
        tinybpf::map::open_pinned("/sys/fs/bpf/calls").typed<std::uint32_t, double>(tinybpf::field_names::check, ec));
    expect(ec == tinybpf::errc::type_mismatch, "root is told");
    checked(chmod("/sys/fs/bpf/calls", 0666), "chmod");
    drop();
    auto const pinned = tinybpf::map::open_pinned("/sys/fs/bpf/calls");
    expect(pinned.typed<std::uint32_t, std::uint64_t>().at(0) == 0, "lookup");
    static_cast<void>(pinned.typed<std::uint32_t, double>(tinybpf::field_names::check, ec));
    expect(!ec, "nobody knows");
    static_cast<void>(pinned.typed<std::uint32_t, std::uint32_t>(tinybpf::field_names::check, ec));
    expect(static_cast<bool>(ec), "but the size");
    return expect.answer();
  });
  BOOST_TEST(said == well);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(is_over)

BOOST_AUTO_TEST_CASE(loading) {
  auto const said = after_drop(
      [] { return said_by([](auto& ec, auto& details) { return tinybpf::load(calls_copy->path(), ec, details); }); });
  BOOST_TEST(is_errno(said, EPERM), said);
  BOOST_TEST(contains(said, "lacks CAP_BPF and CAP_PERFMON"), said);
}

BOOST_AUTO_TEST_CASE(loading_what_was_opened_before) {
  auto const said = test::in_child([] {
    auto obj = object::open(calls_copy->path());
    drop();
    error_code ec;
    diagnostics details;
    obj.load(ec, details);
    return words(ec, details);
  });
  BOOST_TEST(is_errno(said, EPERM), said);
}

BOOST_AUTO_TEST_CASE(making_a_map) {
  auto const said = after_drop([] {
    return said_by([](auto& ec, auto& details) {
      return tinybpf::map::create(tinybpf::map_type::hash, "dropped", 4, 4, 1, {}, ec, details);
    });
  });
  BOOST_TEST(is_errno(said, EPERM), said);
}

// Linux 6.5 asks no more for it.
BOOST_AUTO_TEST_CASE(freezing_a_map_on_old_kernels) {
  auto const said = test::in_child([] {
    auto const array = tinybpf::map::create(tinybpf::map_type::array, "dropped", 4, 4, 1);
    drop();
    error_code ec;
    diagnostics details;
    array.freeze(ec, details);
    return words(ec, details);
  });
  bool const old = test::running_kernel() < tinybpf::version_number{6, 5, 0};
  BOOST_TEST((old ? is_errno(said, EPERM) : said == "no error"), said);
}

BOOST_AUTO_TEST_CASE(opening_by_number) {
  auto const said = test::in_child([] {
    auto const array = tinybpf::map::create(tinybpf::map_type::array, "dropped", 4, 4, 1);
    auto const id = array.info().id;
    drop();
    return said_by([&](auto& ec, auto& details) { return tinybpf::map::open_by_id(id, ec, details); });
  });
  BOOST_TEST(is_errno(said, EPERM), said);
}

// Its pin is removed first, which only who may write to the folder does.
BOOST_AUTO_TEST_CASE(detaching_what_root_has_pinned) {
  auto const said = test::in_child([] {
    expectations expect;
    test::mounts_of_its_own();
    checked(mount("bpf", "/sys/fs/bpf", "bpf", 0, "mode=755"), "mount");
    auto const obj = tinybpf::load(calls_copy->path());
    auto link = obj.program("on_raw_enter").attach();
    link.pin("/sys/fs/bpf/link");
    drop();
    error_code ec;
    link.detach(ec);
    expect(ec == boost::system::errc::permission_denied || ec == boost::system::errc::operation_not_permitted,
           ec.message());
    test::call();
    expect(link.attached() && test::seen(obj.map("calls"), counter::on_raw_enter) == 1, "it goes on");
    return expect.answer();
  });
  BOOST_TEST(said == well);
}

// The kernel gives their numbers.
BOOST_AUTO_TEST_CASE(opening_an_array_of_ring_buffers) {
  auto const open_after = [](auto become) {
    return test::in_child([&] {
      test::loop l;
      auto const ring = tinybpf::map::create(tinybpf::map_type::ringbuf, "one", 0, 0, 4096);
      auto const rings = tinybpf::map::create(tinybpf::map_type::array_of_maps, "rings", 4, 4, 1, {.inner_map = &ring});
      tinybpf::fd_map<std::uint32_t>{rings}.update(0, ring);
      become();
      return said_by([&](auto& ec, auto& details) {
        return tinybpf::ring_buffer{l.io.get_executor(), rings, ec, details};
      });
    });
  };
  BOOST_TEST(open_after([] {}) == "no error");
  auto const said = open_after(drop);
  BOOST_TEST(is_errno(said, EPERM), said);
  BOOST_TEST(contains(said, "'rings[0]'"), said);
  BOOST_TEST(contains(said, "lacks CAP_SYS_ADMIN"), said);
}

BOOST_AUTO_TEST_CASE(counting_the_runs_of_programs) {
  auto const said =
      after_drop([] { return said_by([](auto& ec, auto& details) { return tinybpf::enable_stats(ec, details); }); });
  BOOST_TEST(is_errno(said, EPERM), said);
}

BOOST_AUTO_TEST_CASE(attaching_a_tracepoint) {
  auto const said = test::in_child([] {
    auto const obj = tinybpf::load(calls_copy->path());
    drop();
    return said_by([&](auto& ec, auto& details) { return obj.program("on_getpgid").attach(ec, details); });
  });
  BOOST_TEST(is_errno(said, EACCES), said);
}

BOOST_AUTO_TEST_CASE(opening_a_perf_buffer) {
  auto const said = test::in_child([] {
    test::loop l;
    auto const obj = tinybpf::load(PERF_STREAMS_BPF_O);
    drop();
    try {
      tinybpf::perf_buffer const events{l.io, obj.map("samples")};
      return std::string{"opened"};
    } catch (tinybpf::error const& e) {
      return words(e.code(), e.get_diagnostics());
    }
  });
  BOOST_TEST((is_errno(said, EACCES) || is_errno(said, EPERM)), said);
  BOOST_TEST(contains(said, "lacks CAP_PERFMON"), said);
}

// The kernel shows instructions only to who may see them; sizes say that there is nothing to see.
BOOST_AUTO_TEST_CASE(seeing_the_instructions_of_a_program) {
  auto const said = test::in_child([] {
    auto const obj = tinybpf::load(calls_copy->path());
    auto const p = obj.program("on_raw_enter");
    bool const before = p.info().xlated_size > 0;
    drop();
    return std::string{before && p.info().xlated_size == 0 ? "hidden" : "seen"};
  });
  BOOST_TEST(said == "hidden");
}

BOOST_AUTO_TEST_CASE(becoming_root_again) {
  auto const said = after_drop([] { return setresuid(0, 0, 0) == 0 ? "root" : "no"; });
  BOOST_TEST(said == "no");
}

BOOST_AUTO_TEST_SUITE_END()

namespace dropping {

/// Whether the context's worker, one of whose threads has been running for long, may load.
std::string load_on_worker(asio::io_context& io) {
  auto loaded = tinybpf::async_load(io.get_executor(), calls_copy->path(), asio::use_future);
  io.restart();
  io.run();
  try {
    static_cast<void>(loaded.get());
    return "loaded";
  } catch (boost::system::system_error const& e) {
    return std::to_string(e.code().value());
  }
}

}  // namespace dropping

// What libc's calls change for all threads, the kernel's change for one.
BOOST_AUTO_TEST_SUITE(workers)

BOOST_AUTO_TEST_CASE(drop_with_the_process) {
  auto const said = test::in_child([] {
    asio::io_context io;
    auto const before = load_on_worker(io);
    drop();
    return before + ", then " + load_on_worker(io);
  });
  BOOST_TEST(said == "loaded, then " + std::to_string(EPERM));
}

BOOST_AUTO_TEST_CASE(keep_what_a_system_call_took_from_one_thread) {
  auto const said = test::in_child([] {
    asio::io_context io;
    auto const before = load_on_worker(io);
    checked(static_cast<int>(syscall(SYS_setresuid, test::nobody, test::nobody, test::nobody)), "setresuid");
    error_code ec;
    static_cast<void>(tinybpf::load(calls_copy->path(), ec));
    return before + ", then " + std::to_string(ec.value()) + " here and " + load_on_worker(io) + " there";
  });
  BOOST_TEST(said == "loaded, then " + std::to_string(EPERM) + " here and loaded there");
}

BOOST_AUTO_TEST_CASE(keep_what_capset_took_from_one_thread) {
  auto const said = test::in_child([] {
    asio::io_context io;
    auto const before = load_on_worker(io);
    test::set_capabilities({});
    error_code ec;
    static_cast<void>(tinybpf::load(calls_copy->path(), ec));
    return before + ", then " + std::to_string(ec.value()) + " here and " + load_on_worker(io) + " there";
  });
  BOOST_TEST(said == "loaded, then " + std::to_string(EPERM) + " here and loaded there");
}

// PR_SET_KEEPCAPS is a thread's own as well: who runs already keeps nothing.
BOOST_AUTO_TEST_CASE(lose_what_one_thread_kept) {
  auto const said = [](bool started_before) {
    return test::in_child([&] {
      asio::io_context io;
      if (started_before) static_cast<void>(load_on_worker(io));
      test::become_nobody_with({capability::bpf, capability::perfmon});
      error_code ec;
      static_cast<void>(tinybpf::load(calls_copy->path(), ec));
      return std::to_string(ec.value()) + " here and " + load_on_worker(io) + " there";
    });
  };
  BOOST_TEST(said(true) == "0 here and " + std::to_string(EPERM) + " there");
  BOOST_TEST(said(false) == "0 here and loaded there");
}

BOOST_AUTO_TEST_SUITE_END()

namespace dropping {

/// What an unprivileged service does that was started with some capabilities.
std::string run_service() {
  expectations expect;
  auto const held = to_string(tinybpf::current_capabilities());
  expect(getuid() == test::nobody, "the user");
  expect(held == "CAP_DAC_READ_SEARCH, CAP_PERFMON, CAP_BPF", held);
  test::streams s;
  tinybpf::ring_buffer events{s.io, s.obj.map("first")};
  s.write_one(test::ring::first, 5);
  std::uint64_t sum = 0;
  s.run(take_serials(events, 1, sum));
  expect(sum == 5, "a ring buffer");
  auto const obj = tinybpf::load(calls_copy->path());
  auto const raw = obj.program("on_raw_enter").attach();
  test::call(2);
  expect(test::seen(obj.map("calls"), counter::on_raw_enter) == 2, "a raw tracepoint");
  auto const perf = tinybpf::load(PERF_STREAMS_BPF_O);
  tinybpf::link by_perf;
  auto const tracepoint = said_by([&](auto& ec, auto& details) {
    by_perf = obj.program("on_getpgid").attach(ec, details);
    return 0;
  });
  auto const samples = said_by([&](auto& ec, auto& details) {
    return tinybpf::perf_buffer{s.io.get_executor(), perf.map("samples"), ec, details};
  });
  for (auto const& what : {tracepoint, samples})
    if (test::perf_events_are_restricted())
      expect(is_errno(what, EACCES) && contains(what, "kernel.perf_event_paranoid"), what);
    else
      expect(what == "no error", what);
  if (by_perf) {
    test::call(2);
    expect(test::seen(obj.map("calls"), counter::on_getpgid) == 2, "a tracepoint");
  }
  expect(load_on_worker(s.io) == "loaded", "the worker");
  auto const refused =
      said_by([](auto& ec, auto& details) { return tinybpf::load(xdp_counter_copy->path(), ec, details); });
  expect(is_errno(refused, EPERM) && contains(refused, "lacks CAP_NET_ADMIN;"), refused);
  return expect.answer();
}

constexpr char const* service_variable = "TINYBPF_DROP_TEST_SERVICE";

// This program once more, as what the test below starts: it writes to the descriptor of the variable.
struct service {
  void setup() {
    char const* const fd = std::getenv(service_variable);
    if (fd == nullptr) return;
    std::string text;
    try {
      text = run_service();
    } catch (std::exception const& e) {
      text = std::string{"it threw: "} + e.what();
    }
    calls_copy.reset();
    xdp_counter_copy.reset();
    _exit(write(std::atoi(fd), text.data(), text.size()) == static_cast<ssize_t>(text.size()) ? 0 : 1);
  }
};

}  // namespace dropping

BOOST_TEST_GLOBAL_FIXTURE(service);

// As systemd does it: User=, AmbientCapabilities=, and then the service's own program.
BOOST_AUTO_TEST_CASE(a_service_with_ambient_capabilities) {
  test::scratch_file answer;
  pid_t const child = checked(fork(), "fork");
  if (child == 0) {
    try {
      // By descriptor: the user need not be able to reach the folder.
      int const self = checked(open("/proc/self/exe", O_RDONLY | O_CLOEXEC), "open");
      int const out = checked(fcntl(answer.fd(), F_DUPFD, 3), "dup");
      checked(setgroups(0, nullptr), "setgroups");
      tinybpf::capability_set const kept{capability::dac_read_search, capability::perfmon, capability::bpf};
      checked(prctl(PR_SET_KEEPCAPS, 1), "prctl");
      checked(setresgid(test::nobody, test::nobody, test::nobody), "setresgid");
      checked(setresuid(test::nobody, test::nobody, test::nobody), "setresuid");
      test::set_capabilities(kept, kept);
      for (auto const c : kept)
        checked(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, static_cast<unsigned long>(c), 0, 0), "prctl");
      checked(setenv(service_variable, std::to_string(out).c_str(), 1), "setenv");
      checked(unsetenv("TINYBPF_TEST_REPORT"), "unsetenv");  // that one is this program's
      std::string name = "service";
      char* arguments[] = {name.data(), nullptr};
      fexecve(self, arguments, environ);
    } catch (std::exception const&) {
    }
    _exit(2);
  }
  int status = 0;
  checked(waitpid(child, &status, 0), "waitpid");
  BOOST_TEST(status == 0);
  BOOST_TEST(answer.text() == well);
}

// Beyond kernel.perf_event_mlock_kb a user without CAP_IPC_LOCK pays with RLIMIT_MEMLOCK.
BOOST_AUTO_TEST_CASE(large_perf_buffers_are_limited) {
  auto const open_with = [](tinybpf::capability_set capabilities, std::size_t pages) {
    return test::in_child([&] {
      test::loop l;
      auto const obj = tinybpf::load(PERF_STREAMS_BPF_O);
      rlimit const none{0, 0};
      checked(setrlimit(RLIMIT_MEMLOCK, &none), "setrlimit");
      test::become_nobody_with(capabilities);
      return said_by([&](auto& ec, auto& details) {
        tinybpf::perf_buffer const buffer{l.io.get_executor(), obj.map("samples"),
                                          tinybpf::perf_options{.page_count = pages}, ec, details};
        return 0;
      });
    });
  };
  tinybpf::capability_set needed{capability::perfmon};
  if (test::perf_events_are_restricted()) needed |= capability::sys_admin;
  BOOST_TEST(open_with(needed, 64) == "no error");
  auto const said = open_with(needed, 1024);
  BOOST_TEST(is_errno(said, EPERM), said);
  BOOST_TEST(contains(said, "CAP_IPC_LOCK"), said);
  BOOST_TEST(open_with(needed | capability::ipc_lock, 1024) == "no error");
}
