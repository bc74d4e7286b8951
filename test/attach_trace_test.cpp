// Programs at the places that the kernel offers for tracing, at samples, and in place of other programs' functions.
#include "attach_features.hpp"
#include "calls.hpp"
#include "features.hpp"
#include "few_descriptors.hpp"
#include "forms.hpp"
#include "links.hpp"
#include "loop.hpp"
#include "privileges.hpp"
#include "scratch_folder.hpp"
#include "seen.hpp"
#include "support.hpp"

#include <tinybpf/async.hpp>
#include <tinybpf/global_variable.hpp>
#include <tinybpf/link.hpp>
#include <tinybpf/object.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/test/unit_test.hpp>

#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace asio = boost::asio;
using test::attaches;
using test::contains;
using test::feature_here;
using test::few_descriptors;
using test::kernel_error;
using test::mark;
using test::next_descriptor;
using test::refusal;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::link_kind;

namespace {

// The slots of traces.bpf.c and of trampolines.bpf.c.
enum class slot : std::uint32_t {
  tracepoint,
  section_tracepoint,
  raw_tracepoint,
  section_raw_tracepoint,
  tp_btf,
  sample,
  raw_tracepoint_cookie,
  tp_btf_cookie
};
enum class trampoline : std::uint32_t { fentry, fexit, fmod_ret, lsm };

constexpr int esrch = -3;  // what the kernel answers to the marked call

/// Of the object, only this program will be loaded.
void keep_only(tinybpf::object const& obj, std::string_view name) {
  for (auto const& p : obj.programs()) p.set_autoload(p.name() == name);
}

tinybpf::object load_only(char const* file, std::string_view name) {
  auto obj = tinybpf::object::open(file);
  keep_only(obj, name);
  obj.load();
  return obj;
}

struct traces {
  tinybpf::object obj = tinybpf::load(TRACES_BPF_O);
  test::sights seen{obj.map("seen")};

  tinybpf::program program(std::string_view name) const { return obj.program(name); }
};

/// A program alone, so that no other one's trampoline is in the way of the kernel's.
struct trampoline_program {
  explicit trampoline_program(char const* name) : obj{load_only(TRAMPOLINES_BPF_O, name)}, program{obj.program(name)} {
    obj.global<int>("watched") = getpid();
  }

  tinybpf::object obj;
  tinybpf::program program;
  test::sights seen{obj.map("seen")};
};

int getpgid_of_this_process() {
  int const answer = static_cast<int>(syscall(SYS_getpgid, getpid()));
  return answer < 0 ? -errno : answer;
}

/// The CPUs on which this thread may run.
std::vector<int> cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  test::checked(sched_getaffinity(0, sizeof set, &set), "sched_getaffinity");
  std::vector<int> all;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(static_cast<unsigned>(cpu), &set)) all.push_back(cpu);
  return all;
}

/// While alive, this thread runs on one CPU.
class on_cpu {
 public:
  explicit on_cpu(int cpu) {
    test::checked(sched_getaffinity(0, sizeof before_, &before_), "sched_getaffinity");
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<unsigned>(cpu), &one);
    test::checked(sched_setaffinity(0, sizeof one, &one), "sched_setaffinity");
  }
  on_cpu(on_cpu const&) = delete;
  on_cpu& operator=(on_cpu const&) = delete;
  ~on_cpu() { sched_setaffinity(0, sizeof before_, &before_); }

 private:
  cpu_set_t before_{};
};

/// Works until it holds; false if it never does.
template <class Done>
bool works_until(Done done) {
  auto const give_up = std::chrono::steady_clock::now() + test::patience;
  while (!done())
    if (std::chrono::steady_clock::now() > give_up) return false;
  return true;
}

/// Works for so much of this thread's time.
void work_for(std::chrono::milliseconds time) {
  auto const used = [] {
    timespec t{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return std::chrono::seconds{t.tv_sec} + std::chrono::nanoseconds{t.tv_nsec};
  };
  auto const start = used();
  while (used() - start < time) {
  }
}

struct samples : traces {
  tinybpf::program on_sample = program("on_sample");

  std::uint64_t of_cpu(int cpu) const { return at("samples_of_cpu", cpu); }
  std::uint64_t of_thread(pid_t thread) const { return at("samples_of_thread", thread); }
  static pid_t this_thread() { return static_cast<pid_t>(syscall(SYS_gettid)); }

  /// Whether work on a CPU is sampled.
  bool comes_from(int cpu) const {
    on_cpu const there{cpu};
    auto const before = of_cpu(cpu);
    return works_until([&] { return of_cpu(cpu) > before; });
  }
  /// That work on a CPU is not: as much as brings dozens of samples where it is.
  void check_silence(int cpu) const {
    on_cpu const there{cpu};
    auto const before = of_cpu(cpu);
    work_for(std::chrono::milliseconds{50});
    BOOST_TEST(of_cpu(cpu) == before);
  }

 private:
  std::uint64_t at(char const* map, int key) const {
    std::uint64_t n = 0;
    return bpf_map_lookup_elem(obj.map(map).fd(), &key, &n) == 0 ? n : 0;
  }
};

// The probes.
bool tracepoint_here() {
  return attaches(TRACES_BPF_O, "on_tracepoint",
                  [](bpf_program* p) { return bpf_program__attach_tracepoint(p, "syscalls", "sys_enter_getpgid"); });
}
bool raw_tracepoint_here() {
  return attaches(TRACES_BPF_O, "on_raw_tracepoint",
                  [](bpf_program* p) { return bpf_program__attach_raw_tracepoint(p, "sys_enter"); });
}
bool raw_tracepoint_cookie_here() {
#if LIBBPF_MAJOR_VERSION > 1 || LIBBPF_MINOR_VERSION >= 4
  return attaches(TRACES_BPF_O, "raw_tracepoint_cookie", [](bpf_program* p) {
    bpf_raw_tracepoint_opts options{};
    options.sz = sizeof options;
    options.cookie = 1;
    return bpf_program__attach_raw_tracepoint_opts(p, "sys_enter", &options);
  });
#else
  return false;
#endif
}
// Where the program may ask for its cookie, there are some.
bool tp_btf_cookie_here() {
#if LIBBPF_MAJOR_VERSION > 1 || LIBBPF_MINOR_VERSION >= 4
  return attaches(TRACES_BPF_O, "tp_btf_cookie", bpf_program__attach_trace) && raw_tracepoint_cookie_here();
#else
  return false;
#endif
}
bool tp_btf_here() { return attaches(TRACES_BPF_O, "on_tp_btf", bpf_program__attach_trace); }
bool perf_event_here() {
  return attaches(TRACES_BPF_O, "on_sample", [](bpf_program* p) -> bpf_link* {
    perf_event_attr attr{};
    attr.size = sizeof attr;
    attr.type = PERF_TYPE_SOFTWARE;
    attr.config = PERF_COUNT_SW_CPU_CLOCK;
    attr.sample_period = 1'000'000;
    int const fd = static_cast<int>(syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC));
    if (fd < 0) return nullptr;
    auto* const link = bpf_program__attach_perf_event(p, fd);
    if (link == nullptr) close(fd);
    return link;
  });
}
bool fentry_here() { return attaches(TRAMPOLINES_BPF_O, "on_fentry", bpf_program__attach_trace); }
bool fexit_here() { return attaches(TRAMPOLINES_BPF_O, "on_fexit", bpf_program__attach_trace); }
bool fmod_ret_here() { return attaches(TRAMPOLINES_BPF_O, "on_fmod_ret", bpf_program__attach_trace); }
bool lsm_here() { return attaches(TRAMPOLINES_BPF_O, "on_lsm", bpf_program__attach_lsm); }

/// Loads the replacement for a function of the program.
tinybpf::object load_replacement(tinybpf::program const& target) {
  auto obj = tinybpf::object::open(REPLACEMENT_BPF_O);
  obj.program("replacement").set_attach_target(target, "chosen");
  obj.load();
  return obj;
}

bool freplace_here() {
  test::quiet_libbpf const quiet;
  auto* const target = bpf_object__open_file(REPLACED_BPF_O, nullptr);
  auto* const object = bpf_object__open_file(REPLACEMENT_BPF_O, nullptr);
  bpf_link* link = nullptr;
  if (target != nullptr && object != nullptr && bpf_object__load(target) == 0) {
    int const fd = bpf_program__fd(bpf_object__find_program_by_name(target, "choose"));
    auto* const p = bpf_object__find_program_by_name(object, "replacement");
    if (bpf_program__set_attach_target(p, fd, "chosen") == 0 && bpf_object__load(object) == 0)
      link = bpf_program__attach_freplace(p, fd, "chosen");
  }
  bool const attached = link != nullptr;
  bpf_link__destroy(link);
  bpf_object__close(object);
  bpf_object__close(target);
  return attached;
}

/// What the program answers for a packet.
std::uint32_t answer_of(tinybpf::program const& p) {
  std::array<unsigned char, 64> packet{};
  bpf_test_run_opts options{};
  options.sz = sizeof options;
  options.data_in = packet.data();
  options.data_size_in = packet.size();
  options.repeat = 1;
  test::checked(bpf_prog_test_run_opts(p.fd(), &options), "bpf_prog_test_run_opts");
  return options.retval;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(tracepoints, *feature_here("tracepoint", tracepoint_here))

BOOST_FIXTURE_TEST_CASE(are_seen_with_their_cookies, traces) {
  auto const p = program("on_tracepoint");
  auto l = p.attach_tracepoint("syscalls", "sys_enter_getpgid", {.cookie = 0x1122334455667788});
  BOOST_TEST((l.kind() == link_kind::tracepoint));
  BOOST_TEST(l.size() == 1);
  BOOST_TEST(seen.during(slot::tracepoint, [] { test::call(3); }) == 3);
  BOOST_TEST(seen.of(slot::tracepoint).cookie == 0x1122334455667788);
  error_code ec;
  diagnostics details;
  l = p.attach_tracepoint("syscalls", "sys_enter_getsid", ec, details);
  BOOST_TEST(!ec);
  BOOST_TEST(details.empty());
  BOOST_TEST(seen.during(slot::tracepoint, [] { test::call(); }) == 0);
  BOOST_TEST(seen.during(slot::tracepoint, [] { syscall(SYS_getsid, mark); }) == 1);
  BOOST_TEST(seen.of(slot::tracepoint).cookie == 0);
  l.detach();
  BOOST_TEST(seen.during(slot::tracepoint, [] { syscall(SYS_getsid, mark); }) == 0);
}

BOOST_FIXTURE_TEST_CASE(attach_as_their_section_says, traces) {
  auto const l = program("by_section_tracepoint").attach();
  BOOST_TEST((l.kind() == link_kind::tracepoint));
  BOOST_TEST(seen.during(slot::section_tracepoint, [] { test::call(2); }) == 2);
  BOOST_TEST(seen.of(slot::section_tracepoint).value == esrch);
}

BOOST_FIXTURE_TEST_CASE(attach_and_detach_on_the_worker, traces) {
  asio::io_context io;
  auto const attach = [&]() -> asio::awaitable<tinybpf::link> {
    auto const target = tinybpf::tracepoint_target{"syscalls", "sys_enter_getpgid", {.cookie = 5}};
    co_return co_await tinybpf::async_attach(io.get_executor(), program("on_tracepoint"), target);
  };
  {
    auto const l = test::run(io, attach());
    BOOST_TEST(seen.during(slot::tracepoint, [] { test::call(); }) == 1);
    BOOST_TEST(seen.of(slot::tracepoint).cookie == 5);
  }
  BOOST_TEST(works_until([&] { return seen.during(slot::tracepoint, [] { test::call(); }) == 0; }));
}

BOOST_FIXTURE_TEST_CASE(name_what_is_near_to_an_unknown_one, traces) {
  auto const p = program("on_tracepoint");
  auto const name = refusal(kernel_error(ENOENT),
                            [&](auto&... out) { return p.attach_tracepoint("syscalls", "sys_enter_getpgjd", out...); });
  BOOST_TEST(contains(name.message, "tracepoint syscalls:sys_enter_getpgjd"), name.message);
  BOOST_TEST(contains(name.message, "did you mean 'sys_enter_getpgid'?"), name.message);
  BOOST_TEST((std::find(name.names.begin(), name.names.end(), "sys_enter_getpgid") != name.names.end()));

  auto const category =
      refusal(kernel_error(ENOENT), [&](auto&... out) { return p.attach_tracepoint("skhed", "sched_switch", out...); });
  BOOST_TEST(contains(category.message, "no category 'skhed'"), category.message);
  BOOST_TEST(contains(category.message, "did you mean 'sched'?"), category.message);

  auto const empty = refusal(kernel_error(ENOENT), [&](auto&... out) { return p.attach_tracepoint("", "a", out...); });
  BOOST_TEST(contains(empty.message, "no category ''"), empty.message);

  auto const nowhere = program("nowhere_tracepoint");
  auto const by_section = refusal(kernel_error(ENOENT), [&](auto&... out) { return nowhere.attach(out...); });
  BOOST_TEST(contains(by_section.message, "did you mean 'sys_enter_getpgid'?"), by_section.message);
}

BOOST_FIXTURE_TEST_CASE(are_named_by_category_and_name, traces) {
  auto const p = program("on_tracepoint");
  for (auto const& [category, name] :
       {std::pair{"syscalls/sys_enter_getpgid", ""}, std::pair{"sched", "../syscalls/sys_enter_getpgid"}}) {
    auto const odd =
        refusal(kernel_error(EINVAL), [&](auto&... out) { return p.attach_tracepoint(category, name, out...); });
    BOOST_TEST(contains(odd.message, "neither name has a '/'"), odd.message);
  }
}

BOOST_FIXTURE_TEST_CASE(tell_that_a_program_is_there_already, traces) {
  auto const p = program("by_section_tracepoint");
  auto const l = p.attach();
  auto const by_section = refusal(kernel_error(EEXIST), [&](auto&... out) { return p.attach(out...); });
  BOOST_TEST(contains(by_section.hint, "there already"), by_section.hint);
  auto const by_name = refusal(
      kernel_error(EEXIST), [&](auto&... out) { return p.attach_tracepoint("syscalls", "sys_exit_getpgid", out...); });
  BOOST_TEST(contains(by_name.hint, "there already"), by_name.hint);
  BOOST_TEST(seen.during(slot::section_tracepoint, [] { test::call(2); }) == 2);
}

BOOST_FIXTURE_TEST_CASE(tell_that_tracefs_may_not_be_read, traces) {
  auto const p = program("on_tracepoint");
  auto const answer = test::in_child([&] {
    constexpr unsigned cap_perfmon = 38;
    constexpr unsigned cap_bpf = 39;
    test::become_nobody({cap_perfmon, cap_bpf});
    error_code ec;
    diagnostics details;
    auto const l = p.attach_tracepoint("syscalls", "sys_enter_getpgid", ec, details);
    return ec.message() + ": " + details.hint;
  });
  BOOST_TEST(contains(answer, "Permission denied: "), answer);
  BOOST_TEST(contains(answer, "tracefs"), answer);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(raw_tracepoints, *feature_here("raw_tracepoint", raw_tracepoint_here))

BOOST_FIXTURE_TEST_CASE(are_seen, traces) {
  auto l = program("on_raw_tracepoint").attach_raw_tracepoint("sys_enter");
  BOOST_TEST((l.kind() == link_kind::raw_tracepoint));
  BOOST_TEST(seen.during(slot::raw_tracepoint, [] { test::call(3); }) == 3);
  l.detach();
  BOOST_TEST(seen.during(slot::raw_tracepoint, [] { test::call(3); }) == 0);
  l = program("by_section_raw_tracepoint").attach();
  BOOST_TEST((l.kind() == link_kind::raw_tracepoint));
  BOOST_TEST(seen.during(slot::section_raw_tracepoint, [] { test::call(2); }) == 2);
}

BOOST_FIXTURE_TEST_CASE(attach_on_the_worker, traces) {
  asio::io_context io;
  auto const attach = [&]() -> asio::awaitable<tinybpf::link> {
    auto const target = tinybpf::raw_tracepoint_target{"sys_enter"};
    co_return co_await tinybpf::async_attach(io.get_executor(), program("on_raw_tracepoint"), target);
  };
  auto l = test::run(io, attach());
  BOOST_TEST(seen.during(slot::raw_tracepoint, [] { test::call(3); }) == 3);
  l.detach();
}

BOOST_FIXTURE_TEST_CASE(name_what_is_near_to_an_unknown_one, traces) {
  auto const p = program("on_raw_tracepoint");
  auto const details =
      refusal(kernel_error(ENOENT), [&](auto&... out) { return p.attach_raw_tracepoint("sched_swjtch", out...); });
  BOOST_TEST(contains(details.message, "did you mean 'sched_switch'?"), details.message);
  auto const nowhere = program("nowhere_raw_tracepoint");
  auto const by_section = refusal(kernel_error(ENOENT), [&](auto&... out) { return nowhere.attach(out...); });
  BOOST_TEST(contains(by_section.message, "did you mean 'sched_switch'?"), by_section.message);
}

BOOST_AUTO_TEST_CASE(bring_their_cookies, *feature_here("raw_tracepoint cookie", raw_tracepoint_cookie_here)) {
  auto const obj = load_only(TRACES_BPF_O, "raw_tracepoint_cookie");
  test::sights const seen{obj.map("seen")};
  auto const p = obj.program("raw_tracepoint_cookie");
  auto l = p.attach_raw_tracepoint("sys_enter", {.cookie = 0x1122334455667788});
  BOOST_TEST(seen.during(slot::raw_tracepoint_cookie, [] { test::call(3); }) == 3);
  BOOST_TEST(seen.of(slot::raw_tracepoint_cookie).cookie == 0x1122334455667788);
  l.detach();
  l = p.attach_raw_tracepoint("sys_enter");
  BOOST_TEST(seen.during(slot::raw_tracepoint_cookie, [] { test::call(); }) == 1);
  BOOST_TEST(seen.of(slot::raw_tracepoint_cookie).cookie == 0);
}

#if LIBBPF_MAJOR_VERSION == 1 && LIBBPF_MINOR_VERSION < 4
BOOST_FIXTURE_TEST_CASE(have_no_cookies_with_this_libbpf, traces) {
  auto const p = program("on_raw_tracepoint");
  auto const details = refusal(make_error_code(errc::not_supported_by_libbpf), [&](auto&... out) {
    return p.attach_raw_tracepoint("sys_enter", {.cookie = 1}, out...);
  });
  BOOST_TEST(contains(details.hint, "libbpf 1.4"), details.hint);
}
#endif

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(tp_btf, *feature_here("tp_btf", tp_btf_here))

BOOST_FIXTURE_TEST_CASE(is_seen, traces) {
  auto l = program("on_tp_btf").attach_trace();
  BOOST_TEST((l.kind() == link_kind::tracing));
  BOOST_TEST(seen.during(slot::tp_btf, [] { test::call(3); }) == 3);
  l.detach();
  BOOST_TEST(seen.during(slot::tp_btf, [] { test::call(3); }) == 0);
  l = program("on_tp_btf").attach();
  BOOST_TEST((l.kind() == link_kind::tracing));
  BOOST_TEST(seen.during(slot::tp_btf, [] { test::call(2); }) == 2);
}

BOOST_FIXTURE_TEST_CASE(attaches_on_the_worker, traces) {
  asio::io_context io;
  auto const attach = [&]() -> asio::awaitable<tinybpf::link> {
    auto const target = tinybpf::trace_target{};
    co_return co_await tinybpf::async_attach(io.get_executor(), program("on_tp_btf"), target);
  };
  auto l = test::run(io, attach());
  BOOST_TEST(seen.during(slot::tp_btf, [] { test::call(3); }) == 3);
  l.detach();
}

BOOST_AUTO_TEST_CASE(brings_its_cookie, *feature_here("tp_btf cookie", tp_btf_cookie_here)) {
  auto const obj = load_only(TRACES_BPF_O, "tp_btf_cookie");
  test::sights const seen{obj.map("seen")};
  auto const p = obj.program("tp_btf_cookie");
  auto l = p.attach_trace({.cookie = 0x8877665544332211});
  BOOST_TEST(seen.during(slot::tp_btf_cookie, [] { test::call(3); }) == 3);
  BOOST_TEST(seen.of(slot::tp_btf_cookie).cookie == 0x8877665544332211);
  l.detach();
  l = p.attach_trace();
  BOOST_TEST(seen.during(slot::tp_btf_cookie, [] { test::call(); }) == 1);
  BOOST_TEST(seen.of(slot::tp_btf_cookie).cookie == 0);
}

#if LIBBPF_MAJOR_VERSION == 1 && LIBBPF_MINOR_VERSION < 4
BOOST_FIXTURE_TEST_CASE(has_no_cookies_with_this_libbpf, traces) {
  auto const p = program("on_tp_btf");
  auto const details = refusal(make_error_code(errc::not_supported_by_libbpf),
                               [&](auto&... out) { return p.attach_trace({.cookie = 1}, out...); });
  BOOST_TEST(contains(details.hint, "libbpf 1.4"), details.hint);
}
#endif

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(perf_events, *feature_here("perf_event", perf_event_here))

BOOST_FIXTURE_TEST_CASE(come_from_all_cpus, samples) {
  auto l = on_sample.attach_perf_event({.cookie = 0x99});
  BOOST_TEST((l.kind() == link_kind::perf_event));
  BOOST_TEST(l.size() == static_cast<std::size_t>(sysconf(_SC_NPROCESSORS_ONLN)));
  for (int const cpu : cpus()) BOOST_TEST(comes_from(cpu));
  BOOST_TEST(seen.of(slot::sample).cookie == 0x99);
  l.detach();
  BOOST_TEST(!l.attached());
  for (int const cpu : cpus()) check_silence(cpu);
}

BOOST_FIXTURE_TEST_CASE(come_from_one_cpu, samples) {
  auto const here = cpus().back();
  auto const l = on_sample.attach_perf_event({.cpu = here});
  BOOST_TEST(l.size() == 1);
  BOOST_TEST(comes_from(here));
  for (int const cpu : cpus())
    if (cpu != here) check_silence(cpu);
}

// libbpf stops an event when it frees its link, which the pin is to keep going.
BOOST_FIXTURE_TEST_CASE(go_on_while_their_link_is_pinned, samples) {
  test::scratch_folder const folder{test::bpffs};
  auto const pin = folder / "samples";
  auto const cpu = cpus().front();
  on_sample.attach_perf_event({.cpu = cpu}).pin(pin);
  BOOST_TEST(comes_from(cpu));
  auto l = tinybpf::link::open_pinned(pin);
  BOOST_TEST((l.kind() == link_kind::perf_event));
  BOOST_TEST(comes_from(cpu));
  error_code ec;
  diagnostics details;
  l.detach(ec, details);
  BOOST_TEST(!ec, details.to_string());
  BOOST_TEST(!std::filesystem::exists(pin));
  // The kernel may free the link a moment after it has no number any more.
  on_cpu const there{cpu};
  bool const stops = works_until([&] {
    auto const before = of_cpu(cpu);
    work_for(std::chrono::milliseconds{20});
    return of_cpu(cpu) == before;
  });
  BOOST_TEST(stops);
  check_silence(cpu);
}

BOOST_FIXTURE_TEST_CASE(go_on_when_a_child_destroys_its_link, samples) {
  auto const cpu = cpus().front();
  auto l = on_sample.attach_perf_event({.cpu = cpu});
  BOOST_TEST(comes_from(cpu));
  auto const said = test::in_child([&] {
    l = {};
    return "destroyed";
  });
  BOOST_TEST(said == "destroyed");
  BOOST_TEST(comes_from(cpu));
}

BOOST_FIXTURE_TEST_CASE(come_at_a_period, samples) {
  auto const l = on_sample.attach_perf_event({.period = 2'345'678, .cpu = cpus().front()});
  BOOST_TEST(comes_from(cpus().front()));
  BOOST_TEST(seen.of(slot::sample).value == 2'345'678);
}

BOOST_FIXTURE_TEST_CASE(come_at_a_frequency, samples) {
  auto const l = on_sample.attach_perf_event({.frequency = 4'000, .cpu = cpus().front()});
  BOOST_TEST(comes_from(cpus().front()));
}

BOOST_FIXTURE_TEST_CASE(come_from_all_threads_of_a_process, samples) {
  // One that is there already, one that comes later, and another process.
  std::atomic<pid_t> early = 0;
  std::atomic<pid_t> late = 0;
  std::atomic<bool> enough = false;
  auto const work = [&](std::atomic<pid_t>& id) {
    id = this_thread();
    while (!enough) {
    }
  };
  std::thread first{[&] { work(early); }};
  while (early == 0) std::this_thread::yield();
  error_code ec;
  diagnostics details;
  auto l = on_sample.attach_perf_event({.pid = 0}, ec, details);
  BOOST_TEST(!ec, ec.message() + details.to_string());
  BOOST_TEST(l.size() >= 2);
  std::thread second{[&] { work(late); }};
  bool const all = works_until(
      [&] { return late != 0 && of_thread(early) != 0 && of_thread(late) != 0 && of_thread(this_thread()) != 0; });
  enough = true;
  first.join();
  second.join();
  BOOST_TEST(all);

  pid_t const child = test::checked(fork(), "fork");
  if (child == 0) {
    work_for(std::chrono::milliseconds{50});
    _exit(0);
  }
  waitpid(child, nullptr, 0);
  BOOST_TEST(of_thread(child) == 0);
}

BOOST_FIXTURE_TEST_CASE(attach_on_the_worker, samples) {
  asio::io_context io;
  auto const attach = [&]() -> asio::awaitable<tinybpf::link> {
    auto const target = tinybpf::perf_event_target{{.pid = 0, .cookie = 3}};
    co_return co_await tinybpf::async_attach(io.get_executor(), on_sample, target);
  };
  auto l = test::run(io, attach());
  BOOST_TEST(works_until([&] { return of_thread(this_thread()) != 0; }));
  BOOST_TEST(seen.of(slot::sample).cookie == 3);
  l.detach();
}

BOOST_FIXTURE_TEST_CASE(leave_nothing_behind_when_the_second_cpu_fails, samples) {
  BOOST_TEST_REQUIRE(cpus().size() > 1);
  int failures = 0;
  bool attached = false;
  for (int more = 1; more < 2000 && !attached; ++more) {
    auto const next = next_descriptor();
    error_code ec;
    diagnostics details;
    tinybpf::link l;
    {
      few_descriptors const limit{more};
      l = on_sample.attach_perf_event({}, ec, details);
    }
    attached = !ec;
    BOOST_TEST(l.attached() == attached);
    if (attached) continue;
    ++failures;
    BOOST_TEST(ec == kernel_error(EMFILE), ec.message());
    BOOST_TEST(contains(details.hint, "RLIMIT_NOFILE"), details.hint);
    BOOST_TEST(next_descriptor() == next);
    check_silence(cpus().front());
  }
  BOOST_TEST(attached);
  BOOST_TEST(failures >= 3);  // each takes two
}

BOOST_FIXTURE_TEST_CASE(that_make_no_sense_are_refused, samples) {
  auto const attach = [&](int error, tinybpf::perf_event_options const& options) {
    return refusal(kernel_error(error), [&](auto&... out) { return on_sample.attach_perf_event(options, out...); });
  };
  BOOST_TEST(contains(attach(EINVAL, {.period = 1000, .frequency = 1000}).message, "both a period and a frequency"));
  BOOST_TEST(contains(attach(EINVAL, {.cpu = -1}).message, "no such CPU"));
  auto const beyond = attach(EINVAL, {.cpu = 1'000'000});
  BOOST_TEST(contains(beyond.message, "CPU 1000000 is not online"), beyond.message);
  BOOST_TEST(contains(beyond.hint, "online are 0"), beyond.hint);
  auto const counter = attach(ENOENT, {.type = 0xffff});
  BOOST_TEST(contains(counter.message, "perf event 65535:0"), counter.message);
  BOOST_TEST(contains(counter.hint, "no such counter"), counter.hint);
  auto const often = attach(EINVAL, {.frequency = 1'000'000'000});
  BOOST_TEST(contains(often.hint, "perf_event_max_sample_rate"), often.hint);

  pid_t const gone = test::checked(fork(), "fork");
  if (gone == 0) _exit(0);
  waitpid(gone, nullptr, 0);
  auto const process = attach(ESRCH, {.pid = gone});
  BOOST_TEST(contains(process.message, "of process " + std::to_string(gone)), process.message);
  BOOST_TEST(contains(process.hint, "no process " + std::to_string(gone)), process.hint);
}

BOOST_FIXTURE_TEST_CASE(tell_which_capability_is_missing, samples) {
  auto const answer = test::in_child([&] {
    constexpr unsigned cap_bpf = 39;
    test::become_nobody({cap_bpf});
    error_code ec;
    diagnostics details;
    auto const l = on_sample.attach_perf_event(ec, details);
    return ec.message() + ": " + details.hint;
  });
  BOOST_TEST(contains(answer, "CAP_PERFMON"), answer);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(trampolines)

BOOST_AUTO_TEST_CASE(see_a_function_entered, *feature_here("fentry", fentry_here)) {
  trampoline_program const t{"on_fentry"};
  auto l = t.program.attach_trace({.cookie = 0x77});
  BOOST_TEST((l.kind() == link_kind::tracing));
  BOOST_TEST(t.seen.during(trampoline::fentry, [] { getpgid_of_this_process(); }) == 1);
  BOOST_TEST(t.seen.of(trampoline::fentry).value == getpid());
  BOOST_TEST(t.seen.of(trampoline::fentry).cookie == 0x77);
  l.detach();
  BOOST_TEST(t.seen.during(trampoline::fentry, [] { getpgid_of_this_process(); }) == 0);
  l = t.program.attach();
  BOOST_TEST((l.kind() == link_kind::tracing));
  BOOST_TEST(t.seen.during(trampoline::fentry, [] { getpgid_of_this_process(); }) == 1);

  auto const again = refusal(kernel_error(EBUSY), [&](auto&... out) { return t.program.attach_trace(out...); });
  BOOST_TEST(contains(again.hint, "already"), again.hint);
}

BOOST_AUTO_TEST_CASE(attach_on_the_worker, *feature_here("fentry", fentry_here)) {
  trampoline_program const t{"on_fentry"};
  asio::io_context io;
  auto const attach = [&]() -> asio::awaitable<tinybpf::link> {
    auto const target = tinybpf::trace_target{{.cookie = 6}};
    co_return co_await tinybpf::async_attach(io.get_executor(), t.program, target);
  };
  auto l = test::run(io, attach());
  BOOST_TEST(t.seen.during(trampoline::fentry, [] { getpgid_of_this_process(); }) == 1);
  BOOST_TEST(t.seen.of(trampoline::fentry).cookie == 6);
  l.detach();
}

BOOST_AUTO_TEST_CASE(see_what_a_function_returns, *feature_here("fexit", fexit_here)) {
  trampoline_program const t{"on_fexit"};
  auto const l = t.program.attach_trace({.cookie = 0x78});
  BOOST_TEST((l.kind() == link_kind::tracing));
  BOOST_TEST(t.seen.during(trampoline::fexit, [] { getpgid_of_this_process(); }) == 1);
  BOOST_TEST(t.seen.of(trampoline::fexit).value == 0);
  BOOST_TEST(t.seen.of(trampoline::fexit).cookie == 0x78);
}

BOOST_AUTO_TEST_CASE(change_what_a_function_returns, *feature_here("fmod_ret", fmod_ret_here)) {
  trampoline_program const t{"on_fmod_ret"};
  auto const before = getpgid_of_this_process();
  BOOST_TEST(before >= 0);
  auto l = t.program.attach_trace({.cookie = 0x79});
  BOOST_TEST((l.kind() == link_kind::tracing));
  BOOST_TEST(getpgid_of_this_process() == -E2BIG);
  BOOST_TEST(t.seen.of(trampoline::fmod_ret).count == 1);
  BOOST_TEST(t.seen.of(trampoline::fmod_ret).cookie == 0x79);
  l.detach();
  BOOST_TEST(getpgid_of_this_process() == before);
}

BOOST_AUTO_TEST_CASE(forbid_what_a_security_module_may, *feature_here("lsm", lsm_here)) {
  trampoline_program const t{"on_lsm"};
  auto const before = getpgid_of_this_process();
  BOOST_TEST(before >= 0);
  {
    auto const l = t.program.attach_trace({.cookie = 0x80});
    BOOST_TEST((l.kind() == link_kind::lsm));
    BOOST_TEST(getpgid_of_this_process() == -EPERM);
    BOOST_TEST(t.seen.of(trampoline::lsm).count == 1);
    BOOST_TEST(t.seen.of(trampoline::lsm).cookie == 0x80);
  }
  BOOST_TEST(getpgid_of_this_process() == before);
  auto const l = t.program.attach();
  BOOST_TEST((l.kind() == link_kind::lsm));
  BOOST_TEST(getpgid_of_this_process() == -EPERM);
}

// The file is one that this test puts there.
BOOST_AUTO_TEST_CASE(are_refused_where_bpf_is_no_security_module, *feature_here("lsm", lsm_here)) {
  trampoline_program const t{"on_lsm"};
  auto const answer = test::in_child([&] {
    test::mounts_of_its_own();
    test::checked(mount("tmpfs", "/sys/kernel/security", "tmpfs", 0, nullptr), "mount");
    std::ofstream{"/sys/kernel/security/lsm"} << "lockdown,yama";
    error_code ec;
    diagnostics by_section;
    diagnostics by_call;
    bool const refused =
        !t.program.attach(ec, by_section).attached() && !t.program.attach_trace(ec, by_call).attached();
    return (refused ? "refused: " : "attached: ") + by_section.to_string() + by_call.to_string();
  });
  BOOST_TEST(answer.starts_with("refused: "), answer);
  BOOST_TEST(contains(answer, "to 'lsm/task_getpgid': it would never run"), answer);
  BOOST_TEST(contains(answer, "lsm=lockdown,yama,bpf"), answer);
}

// libbpf looks into the kernel's types before the kernel is asked: on every kernel.
BOOST_AUTO_TEST_CASE(name_what_is_near_to_an_unknown_function) {
  struct {
    char const* program;
    std::string_view text;
  } const rows[] = {
      {"nowhere_fentry", "no function 'security_task_getpgjd' in its BTF; did you mean 'security_task_getpgid'?"},
      {"nowhere_lsm", "no LSM hook 'task_getpgjd' in its BTF; did you mean 'task_getpgid'?"},
      {"nowhere_tp_btf", "no tracepoint 'sched_swjtch' in its BTF; did you mean 'sched_switch'?"},
  };
  for (auto const& row : rows) {
    auto obj = tinybpf::object::open(NOWHERE_BPF_O);
    keep_only(obj, row.program);
    error_code ec;
    diagnostics details;
    obj.load(ec, details);
    BOOST_TEST(ec == kernel_error(ESRCH), ec.message());
    BOOST_TEST(contains(details.message, row.text), details.message);
    BOOST_TEST(details.program == row.program);
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(replacements, *feature_here("freplace", freplace_here))

BOOST_AUTO_TEST_CASE(take_a_function_s_place) {
  auto const target = tinybpf::load(REPLACED_BPF_O);
  auto const choose = target.program("choose");
  auto const obj = load_replacement(choose);
  auto const p = obj.program("replacement");
  BOOST_TEST(answer_of(choose) == XDP_DROP);
  auto l = p.attach_freplace(choose, "chosen");
  BOOST_TEST((l.kind() == link_kind::freplace));
  BOOST_TEST(answer_of(choose) == XDP_TX);
  l.detach();
  BOOST_TEST(answer_of(choose) == XDP_DROP);

  asio::io_context io;
  auto const attach = [&]() -> asio::awaitable<tinybpf::link> {
    auto const place = tinybpf::freplace_target{choose.fd(), "chosen"};
    co_return co_await tinybpf::async_attach(io.get_executor(), p, place);
  };
  l = test::run(io, attach());
  BOOST_TEST(answer_of(choose) == XDP_TX);
  l.detach();
}

BOOST_AUTO_TEST_CASE(name_the_functions_that_may_be_replaced) {
  auto const target = tinybpf::load(REPLACED_BPF_O);
  auto const choose = target.program("choose");
  auto const obj = load_replacement(choose);
  auto const p = obj.program("replacement");
  auto const unknown =
      refusal(kernel_error(ENOENT), [&](auto&... out) { return p.attach_freplace(choose, "chosem", out...); });
  BOOST_TEST(contains(unknown.message, "did you mean 'chosen'?"), unknown.message);
  BOOST_TEST((std::find(unknown.names.begin(), unknown.names.end(), "unlike") != unknown.names.end()));
  auto const unlike =
      refusal(kernel_error(EINVAL), [&](auto&... out) { return p.attach_freplace(choose, "unlike", out...); });
  BOOST_TEST(contains(unlike.hint, "other arguments"), unlike.hint);
  auto const closed = refusal(kernel_error(EBADF), [&](auto&... out) {
    return p.attach(tinybpf::freplace_target{-1, "chosen"}, out...);
  });
  BOOST_TEST(contains(closed.hint, "program::fd()"), closed.hint);
  auto const nameless =
      refusal(kernel_error(EINVAL), [&](auto&... out) { return p.attach_freplace(choose, "", out...); });
  BOOST_TEST(contains(nameless.message, "no function is named"), nameless.message);
  BOOST_TEST(answer_of(choose) == XDP_DROP);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(whatever_the_kernel_has)

BOOST_FIXTURE_TEST_CASE(names_with_a_null_character_are_refused, traces) {
  auto const tracepoint = program("on_tracepoint");
  auto const raw = program("on_raw_tracepoint");
  std::string const cut{"sys_enter\0x", 11};
  for (auto const& details :
       {refusal(kernel_error(EINVAL),
                [&](auto&... out) { return tracepoint.attach_tracepoint("raw_syscalls", cut, out...); }),
        refusal(kernel_error(EINVAL), [&](auto&... out) { return raw.attach_raw_tracepoint(cut, out...); })})
    BOOST_TEST(contains(details.message, "null character"), details.message);
}

BOOST_FIXTURE_TEST_CASE(programs_of_another_type_are_refused, traces) {
  auto const p = program("of_another_type");
  for (tinybpf::attach_target const& target : std::vector<tinybpf::attach_target>{
           tinybpf::tracepoint_target{"syscalls", "sys_enter_getpgid"}, tinybpf::raw_tracepoint_target{"sys_enter"},
           tinybpf::trace_target{}, tinybpf::perf_event_target{}, tinybpf::freplace_target{1, "chosen"}}) {
    auto const details =
        refusal(make_error_code(errc::wrong_program_type), [&](auto&... out) { return p.attach(target, out...); });
    BOOST_TEST(contains(details.message, "of type xdp"), details.message);
    BOOST_TEST(contains(details.hint, "SEC(\"xdp\")"), details.hint);
  }
}

BOOST_FIXTURE_TEST_CASE(programs_that_are_not_attached_by_their_section_say_how, traces) {
  struct {
    char const* program;
    std::string_view hint;
  } const rows[] = {
      {"of_another_type", "attach_xdp()"},
      {"on_sample", "attach_perf_event()"},
      {"on_tracepoint", "names no place"},
      {"on_raw_tracepoint", "names no place"},
  };
  for (auto const& row : rows) {
    auto const p = program(row.program);
    auto const details = refusal(make_error_code(errc::not_supported), [&](auto&... out) { return p.attach(out...); });
    BOOST_TEST(contains(details.hint, row.hint), details.hint);
  }
}

BOOST_AUTO_TEST_CASE(choosers_among_sockets_say_how_they_are_attached) {
  auto const obj = load_only(SOCKETS_BPF_O, "choose_by_map");
  auto const p = obj.program("choose_by_map");
  auto const details = refusal(make_error_code(errc::not_supported), [&](auto&... out) { return p.attach(out...); });
  BOOST_TEST(contains(details.hint, "socket_role::reuseport"), details.hint);
}

BOOST_AUTO_TEST_CASE(programs_that_are_not_loaded_are_refused) {
  auto obj = tinybpf::object::open(TRACES_BPF_O);
  auto const p = obj.program("on_sample");
  refusal(make_error_code(errc::not_loaded), [&](auto&... out) { return p.attach_perf_event(out...); });
  keep_only(obj, "on_tp_btf");
  obj.load();
  auto const left_out =
      refusal(make_error_code(errc::not_loaded), [&](auto&... out) { return p.attach_perf_event(out...); });
  BOOST_TEST(contains(left_out.message, "autoload is off"), left_out.message);
  obj.close();
  refusal(make_error_code(errc::closed), [&](auto&... out) { return p.attach_perf_event(out...); });
}

BOOST_AUTO_TEST_SUITE_END()
