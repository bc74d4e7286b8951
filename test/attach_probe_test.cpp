// Programs at functions of the kernel, of this program and of a library.
#include "attach_features.hpp"
#include "calls.hpp"
#include "failing_allocation.hpp"
#include "features.hpp"
#include "few_descriptors.hpp"
#include "forms.hpp"
#include "privileges.hpp"
#include "scratch_folder.hpp"
#include "seen.hpp"
#include "support.hpp"

#include <tinybpf/async.hpp>
#include <tinybpf/link.hpp>
#include <tinybpf/object.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/test/unit_test.hpp>

#include <link.h>
#include <sys/sdt.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <new>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

namespace asio = boost::asio;
namespace fs = std::filesystem;
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

// What is probed. The compiler must neither put them in line nor leave them out.
extern "C" {
[[gnu::noinline, gnu::used]] long probed_function(long x) {
  asm volatile("" : "+r"(x));
  return x * 2;
}
[[gnu::noinline, gnu::used]] long probed_other_function(long x) {
  asm volatile("" : "+r"(x));
  return x * 3;
}
[[gnu::noinline, gnu::used]] void pass_place(int number, long other) {
  DTRACE_PROBE2(tinybpf_test, place, number, other);
}
// The same USDT at another place.
[[gnu::noinline, gnu::used]] void pass_place_too(int number, long other) {
  DTRACE_PROBE2(tinybpf_test, place, number, other);
}
[[gnu::noinline, gnu::used]] void pass_other_place(int number) { DTRACE_PROBE1(tinybpf_test, other_place, number); }
// Not zero at first, so that it has a place in the file.
[[gnu::used, gnu::section(".tinybpf_counter")]] unsigned short volatile reference_counter = 0;
}

namespace {

// The slots of probes.bpf.c and uprobe_multi.bpf.c.
enum class slot : std::uint32_t {
  kprobe,
  kretprobe,
  kprobe_multi,
  kretprobe_multi,
  ksyscall,
  kretsyscall,
  uprobe,
  uretprobe,
  usdt,
  section_kprobe,
  section_kprobe_multi,
  section_kretsyscall,
  section_uprobe,
  section_usdt,
};
enum class multi_slot : std::uint32_t { uprobe, uretprobe };

constexpr char const* self = "/proc/self/exe";
constexpr char const* getpgid_in_kernel = "__x64_sys_getpgid";
constexpr int esrch = -3;  // what the kernel answers to the marked call

struct probes {
  tinybpf::object obj = tinybpf::load(PROBES_BPF_O);
  test::sights seen{obj.map("seen")};

  tinybpf::program program(std::string_view name) const { return obj.program(name); }
};

/// Where in the file of this program something is.
std::size_t file_offset_of(void const* what) {
  struct search {
    std::uintptr_t address;
    std::size_t offset;
  } found{reinterpret_cast<std::uintptr_t>(what), 0};
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* data) {
        auto& s = *static_cast<search*>(data);
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          auto const& part = info->dlpi_phdr[i];
          auto const start = info->dlpi_addr + part.p_vaddr;
          if (part.p_type == PT_LOAD && s.address >= start && s.address < start + part.p_filesz)
            s.offset = s.address - start + part.p_offset;
        }
        return 1;  // the first is the program itself
      },
      &found);
  if (found.offset == 0) throw std::logic_error{"not in the file"};
  return found.offset;
}

/// A process that calls probed_function() whenever it is told to.
class caller {
 public:
  caller() {
    test::checked(pipe2(orders_, O_CLOEXEC), "pipe2");
    test::checked(pipe2(answers_, O_CLOEXEC), "pipe2");
    pid_ = test::checked(fork(), "fork");
    if (pid_ != 0) return;
    close(orders_[1]);
    for (char c = 0; read(orders_[0], &c, 1) == 1;) {
      probed_function(7);
      if (write(answers_[1], &c, 1) != 1) break;
    }
    _exit(0);
  }
  caller(caller const&) = delete;
  caller& operator=(caller const&) = delete;
  ~caller() {
    for (int const fd : {orders_[0], orders_[1], answers_[0], answers_[1]}) close(fd);
    waitpid(pid_, nullptr, 0);
  }

  pid_t pid() const { return pid_; }
  void call() const {
    char c = 'c';
    if (write(orders_[1], &c, 1) != 1 || read(answers_[0], &c, 1) != 1) throw std::runtime_error{"the child is gone"};
  }

 private:
  int orders_[2] = {-1, -1};
  int answers_[2] = {-1, -1};
  pid_t pid_ = -1;
};

/// A file with a text, in a folder of its own that everyone may enter.
struct text_file {
  test::readable_folder folder;
  fs::path path = folder.file("no_program", test::bytes_of("no program"));
};

// The probes.
bool kprobe_here() {
  return attaches(PROBES_BPF_O, "on_kprobe",
                  [](bpf_program* p) { return bpf_program__attach_kprobe(p, false, getpgid_in_kernel); });
}
bool kretprobe_here() {
  return attaches(PROBES_BPF_O, "on_kretprobe",
                  [](bpf_program* p) { return bpf_program__attach_kprobe(p, true, getpgid_in_kernel); });
}
bool ksyscall_here() {
  return attaches(PROBES_BPF_O, "on_ksyscall",
                  [](bpf_program* p) { return bpf_program__attach_ksyscall(p, "getpgid", nullptr); });
}
bool kprobe_multi_here() {
  return attaches(PROBES_BPF_O, "on_kprobe_multi",
                  [](bpf_program* p) { return bpf_program__attach_kprobe_multi_opts(p, getpgid_in_kernel, nullptr); });
}
bool uprobe_here() {
  return attaches(PROBES_BPF_O, "on_uprobe", [](bpf_program* p) {
    return bpf_program__attach_uprobe(p, false, 0, self,
                                      file_offset_of(reinterpret_cast<void const*>(&probed_function)));
  });
}
bool uretprobe_here() {
  return attaches(PROBES_BPF_O, "on_uretprobe", [](bpf_program* p) {
    return bpf_program__attach_uprobe(p, true, 0, self,
                                      file_offset_of(reinterpret_cast<void const*>(&probed_function)));
  });
}
bool usdt_here() {
  return attaches(PROBES_BPF_O, "on_usdt", [](bpf_program* p) {
    return bpf_program__attach_usdt(p, 0, self, "tinybpf_test", "place", nullptr);
  });
}
bool uprobe_multi_here() {
#if LIBBPF_MAJOR_VERSION > 1 || LIBBPF_MINOR_VERSION >= 3
  return attaches(UPROBE_MULTI_BPF_O, "on_uprobe_multi", [](bpf_program* p) {
    return bpf_program__attach_uprobe_multi(p, 0, self, "probed_functio?", nullptr);
  });
#else
  return false;
#endif
}

}  // namespace

BOOST_AUTO_TEST_SUITE(kprobes, *feature_here("kprobe", kprobe_here))

BOOST_FIXTURE_TEST_CASE(see_a_function_entered, probes) {
  auto l = program("on_kprobe").attach_kprobe(getpgid_in_kernel);
  BOOST_TEST((l.kind() == link_kind::kprobe));
  BOOST_TEST(l.size() == 1);
  BOOST_TEST(seen.during(slot::kprobe, [] { test::call(3); }) == 3);
  BOOST_TEST(seen.of(slot::kprobe).cookie == 0);
  BOOST_TEST(seen.of(slot::kprobe).pid == static_cast<std::uint64_t>(getpid()));
  l.detach();
  BOOST_TEST(seen.during(slot::kprobe, [] { test::call(3); }) == 0);
}

BOOST_FIXTURE_TEST_CASE(get_their_cookies, probes) {
  auto const p = program("on_kprobe");
  {
    auto const l = p.attach_kprobe(getpgid_in_kernel, {.cookie = 0x1234567890abcdef});
    test::call();
    BOOST_TEST(seen.of(slot::kprobe).cookie == 0x1234567890abcdef);
  }
  auto const l = p.attach_kprobe(getpgid_in_kernel, {.cookie = 2});
  test::call();
  BOOST_TEST(seen.of(slot::kprobe).cookie == 2);
}

BOOST_FIXTURE_TEST_CASE(go_behind_the_start_of_a_function, probes) {
  // Where its instructions begin is the compiler's choice; in between, the kernel puts none.
  auto const p = program("on_kprobe");
  int inside = 0;
  int between = 0;
  for (std::size_t offset = 1; offset < 16; ++offset) {
    error_code ec;
    diagnostics details;
    auto l = p.attach_kprobe(getpgid_in_kernel, {.offset = offset, .cookie = offset}, ec, details);
    if (ec) {
      ++between;
      BOOST_TEST(ec == kernel_error(EILSEQ), ec.message() + details.to_string());
      BOOST_TEST(contains(details.hint, "instruction"));
      continue;
    }
    test::call();
    // Once the arguments are elsewhere than at the function's start, it may not know the mark.
    if (seen.of(slot::kprobe).cookie == offset) ++inside;
  }
  BOOST_TEST(inside > 0);
  BOOST_TEST(between > 0);
}

BOOST_FIXTURE_TEST_CASE(attach_as_their_section_says, probes) {
  auto const l = program("by_section_kprobe").attach();
  BOOST_TEST((l.kind() == link_kind::kprobe));
  BOOST_TEST(seen.during(slot::section_kprobe, [] { test::call(2); }) == 2);
}

BOOST_FIXTURE_TEST_CASE(attach_on_the_worker, probes) {
  asio::io_context io;
  auto const attach = [&]() -> asio::awaitable<tinybpf::link> {
    auto const target = tinybpf::kprobe_target{getpgid_in_kernel, {.cookie = 5}};
    co_return co_await tinybpf::async_attach(io.get_executor(), program("on_kprobe"), target);
  };
  auto l = test::run(io, attach());
  test::call();
  BOOST_TEST(seen.of(slot::kprobe).cookie == 5);
  l.detach();
}

BOOST_FIXTURE_TEST_CASE(name_what_is_near_to_an_unknown_function, probes) {
  auto const p = program("on_kprobe");
  auto const details =
      refusal(kernel_error(ENOENT), [&](auto&... out) { return p.attach_kprobe("__x64_sys_getpgjd", out...); });
  BOOST_TEST(contains(details.message, "on_kprobe"));
  BOOST_TEST(contains(details.message, "kprobe at '__x64_sys_getpgjd'"));
  BOOST_TEST(contains(details.message, "did you mean '__x64_sys_getpgid'?"), details.message);
  BOOST_TEST((std::find(details.names.begin(), details.names.end(), getpgid_in_kernel) != details.names.end()));
  BOOST_TEST(details.names.size() < 20);

  auto const nowhere = program("nowhere_kprobe");
  auto const by_section = refusal(kernel_error(ENOENT), [&](auto&... out) { return nowhere.attach(out...); });
  BOOST_TEST(contains(by_section.message, "did you mean '__x64_sys_getpgid'?"), by_section.message);
}

BOOST_FIXTURE_TEST_CASE(say_which_functions_may_not_be_probed, probes) {
  auto const p = program("on_kprobe");
  auto const details = refusal(kernel_error(EINVAL), [&](auto&... out) { return p.attach_kprobe("exc_int3", out...); });
  BOOST_TEST(!details.hint.empty());
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(kretprobes, *feature_here("kretprobe", kretprobe_here))

BOOST_FIXTURE_TEST_CASE(see_what_a_function_returns, probes) {
  auto l = program("on_kretprobe").attach_kprobe(getpgid_in_kernel, {.retprobe = true, .cookie = 9});
  BOOST_TEST((l.kind() == link_kind::kprobe));
  BOOST_TEST(seen.during(slot::kretprobe, [] { test::call(3); }) == 3);
  BOOST_TEST(seen.of(slot::kretprobe).value == esrch);
  BOOST_TEST(seen.of(slot::kretprobe).cookie == 9);
  l.detach();
  BOOST_TEST(seen.during(slot::kretprobe, [] { test::call(); }) == 0);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(ksyscalls, *feature_here("ksyscall", ksyscall_here))

BOOST_FIXTURE_TEST_CASE(see_a_system_call, probes) {
  auto l = program("on_ksyscall").attach_ksyscall("getpgid", {.cookie = 3});
  BOOST_TEST((l.kind() == link_kind::ksyscall));
  BOOST_TEST(seen.during(slot::ksyscall, [] { test::call(2); }) == 2);
  BOOST_TEST(seen.of(slot::ksyscall).value == mark);
  BOOST_TEST(seen.of(slot::ksyscall).cookie == 3);
  l.detach();
  BOOST_TEST(seen.during(slot::ksyscall, [] { test::call(2); }) == 0);
}

BOOST_FIXTURE_TEST_CASE(see_what_a_system_call_returns, probes) {
  auto const l = program("on_kretsyscall").attach_ksyscall("getpgid", {.retprobe = true});
  BOOST_TEST(seen.during(slot::kretsyscall, [] { test::call(2); }) == 2);
  BOOST_TEST(seen.of(slot::kretsyscall).value == esrch);
  auto const by_section = program("by_section_kretsyscall").attach();
  BOOST_TEST((by_section.kind() == link_kind::ksyscall));
  BOOST_TEST(seen.during(slot::section_kretsyscall, [] { test::call(2); }) == 2);
}

BOOST_FIXTURE_TEST_CASE(name_what_is_near_to_an_unknown_one, probes) {
  auto const p = program("on_ksyscall");
  auto const details =
      refusal(kernel_error(ENOENT), [&](auto&... out) { return p.attach_ksyscall("getpgjd", out...); });
  BOOST_TEST(contains(details.message, "no system call 'getpgjd'; did you mean 'getpgid'?"), details.message);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(kprobes_of_many, *feature_here("kprobe.multi", kprobe_multi_here))

BOOST_FIXTURE_TEST_CASE(see_the_functions_of_a_list, probes) {
  std::vector<std::string> const functions{"__x64_sys_getsid", getpgid_in_kernel};
  std::array<std::uint64_t, 2> const cookies{11, 12};
  auto l = program("on_kprobe_multi").attach_kprobe_multi(functions, {.cookies = cookies});
  BOOST_TEST((l.kind() == link_kind::kprobe_multi));
  BOOST_TEST(l.size() == 1);
  BOOST_TEST(seen.during(slot::kprobe_multi, [] { test::call(2); }) == 2);
  BOOST_TEST(seen.of(slot::kprobe_multi).cookie == 12);
  BOOST_TEST(seen.during(slot::kprobe_multi, [] { syscall(SYS_getsid, mark); }) == 1);
  BOOST_TEST(seen.of(slot::kprobe_multi).cookie == 11);
  l.detach();
  BOOST_TEST(seen.during(slot::kprobe_multi, [] { test::call(2); }) == 0);
}

BOOST_FIXTURE_TEST_CASE(see_the_functions_that_fit_a_pattern, probes) {
  // The kernel has symbols that fit and cannot be traced: those of the padding in front of each function.
  auto const l = program("on_kprobe_multi").attach_kprobe_multi("*_x64_sys_get?gi*");
  BOOST_TEST(seen.during(slot::kprobe_multi, [] { test::call(2); }) == 2);
  BOOST_TEST(seen.during(slot::kprobe_multi, [] { syscall(SYS_getsid, mark); }) == 0);
  auto const by_section = program("by_section_kprobe_multi").attach();
  BOOST_TEST((by_section.kind() == link_kind::kprobe_multi));
  BOOST_TEST(seen.during(slot::section_kprobe_multi, [] { test::call(2); }) == 2);
}

BOOST_FIXTURE_TEST_CASE(see_what_functions_return, probes) {
  auto const l = program("on_kretprobe_multi").attach_kprobe_multi("__x64_sys_getpgid", {.retprobe = true});
  BOOST_TEST(seen.during(slot::kretprobe_multi, [] { test::call(2); }) == 2);
  BOOST_TEST(seen.of(slot::kretprobe_multi).value == esrch);
}

BOOST_FIXTURE_TEST_CASE(attach_on_the_worker, probes) {
  asio::io_context io;
  auto const attach = [&]() -> asio::awaitable<tinybpf::link> {
    auto const target = tinybpf::kprobe_multi_target{std::vector<std::string>{getpgid_in_kernel}, {}};
    co_return co_await tinybpf::async_attach(io.get_executor(), program("on_kprobe_multi"), target);
  };
  auto l = test::run(io, attach());
  BOOST_TEST(seen.during(slot::kprobe_multi, [] { test::call(2); }) == 2);
  l.detach();
}

BOOST_FIXTURE_TEST_CASE(name_the_function_that_is_not_there, probes) {
  auto const p = program("on_kprobe_multi");
  std::vector<std::string> const functions{getpgid_in_kernel, "__x64_sys_getsjd"};
  auto const details =
      refusal(kernel_error(ESRCH), [&](auto&... out) { return p.attach_kprobe_multi(functions, out...); });
  BOOST_TEST(contains(details.message, "no function '__x64_sys_getsjd'"), details.message);
  BOOST_TEST(contains(details.message, "did you mean '__x64_sys_getsid'"), details.message);
  BOOST_TEST(seen.during(slot::kprobe_multi, [] { test::call(); }) == 0);
}

BOOST_FIXTURE_TEST_CASE(say_that_nothing_fits_a_pattern, probes) {
  auto const p = program("on_kprobe_multi");
  auto const details =
      refusal(kernel_error(ENOENT), [&](auto&... out) { return p.attach_kprobe_multi("no_such_functio?*", out...); });
  BOOST_TEST(contains(details.message, "no function that fits"), details.message);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(uprobes, *feature_here("uprobe", uprobe_here))

BOOST_FIXTURE_TEST_CASE(see_a_function_by_its_name, probes) {
  auto l = program("on_uprobe").attach_uprobe(self, "probed_function");
  BOOST_TEST((l.kind() == link_kind::uprobe));
  BOOST_TEST(l.size() == 1);
  BOOST_TEST(seen.during(slot::uprobe, [] { probed_function(41); }) == 1);
  BOOST_TEST(seen.of(slot::uprobe).value == 41);
  BOOST_TEST(seen.of(slot::uprobe).cookie == 0);
  BOOST_TEST(seen.during(slot::uprobe, [] { probed_other_function(1); }) == 0);
  l.detach();
  BOOST_TEST(seen.during(slot::uprobe, [] { probed_function(41); }) == 0);
}

BOOST_FIXTURE_TEST_CASE(see_a_place_by_its_offset, probes) {
  auto const offset = file_offset_of(reinterpret_cast<void const*>(&probed_other_function));
  auto const l = program("on_uprobe").attach_uprobe(self, "", {.offset = offset});
  BOOST_TEST(seen.during(slot::uprobe, [] { probed_other_function(1); }) == 1);
  BOOST_TEST(seen.during(slot::uprobe, [] { probed_function(1); }) == 0);
}

BOOST_FIXTURE_TEST_CASE(add_the_offset_to_a_function, probes) {
  // From one function to the other.
  auto const here = file_offset_of(reinterpret_cast<void const*>(&probed_function));
  auto const there = file_offset_of(reinterpret_cast<void const*>(&probed_other_function));
  auto const first = here < there ? "probed_function" : "probed_other_function";
  auto const second = here < there ? &probed_other_function : &probed_function;
  auto const l =
      program("on_uprobe").attach_uprobe(self, first, {.offset = std::max(here, there) - std::min(here, there)});
  BOOST_TEST(seen.during(slot::uprobe, [&] { second(5); }) == 1);
  BOOST_TEST(seen.of(slot::uprobe).value == 5);
}

BOOST_FIXTURE_TEST_CASE(get_their_cookies, probes) {
  auto const p = program("on_uprobe");
  auto const one = p.attach_uprobe(self, "probed_function", {.cookie = 101});
  auto const other = p.attach_uprobe(self, "probed_other_function", {.cookie = 0xfedcba9876543210});
  probed_function(1);
  BOOST_TEST(seen.of(slot::uprobe).cookie == 101);
  probed_other_function(1);
  BOOST_TEST(seen.of(slot::uprobe).cookie == 0xfedcba9876543210);
}

BOOST_FIXTURE_TEST_CASE(keep_to_a_process, probes) {
  caller const child;
  caller const other;
  auto const p = program("on_uprobe");
  {
    auto const l = p.attach_uprobe(self, "probed_function", {.pid = child.pid()});
    BOOST_TEST(seen.during(slot::uprobe, [&] { probed_function(1); }) == 0);
    BOOST_TEST(seen.during(slot::uprobe, [&] { other.call(); }) == 0);
    BOOST_TEST(seen.during(slot::uprobe, [&] { child.call(); }) == 1);
    BOOST_TEST(seen.of(slot::uprobe).pid == static_cast<std::uint64_t>(child.pid()));
  }
  {
    auto const l = p.attach_uprobe(self, "probed_function", {.pid = 0});
    BOOST_TEST(seen.during(slot::uprobe, [&] { child.call(); }) == 0);
    BOOST_TEST(seen.during(slot::uprobe, [&] { probed_function(1); }) == 1);
  }
  auto const l = p.attach_uprobe(self, "probed_function");
  BOOST_TEST(seen.during(slot::uprobe, [&] { child.call(); }) == 1);
  BOOST_TEST(seen.during(slot::uprobe, [&] { other.call(); }) == 1);
  BOOST_TEST(seen.during(slot::uprobe, [&] { probed_function(1); }) == 1);
}

// The process is meant, also when the thread that attached the program has ended.
BOOST_FIXTURE_TEST_CASE(outlive_the_thread_that_attached_them, probes) {
  auto const p = program("on_uprobe");
  tinybpf::link l;
  std::thread{[&] { l = p.attach_uprobe(self, "probed_function", {.pid = 0}); }}.join();
  BOOST_TEST(seen.during(slot::uprobe, [] { probed_function(1); }) == 1);
  {
    asio::io_context io;
    auto const attach = [&]() -> asio::awaitable<tinybpf::link> {
      auto const target = tinybpf::uprobe_target{self, "probed_function", {.pid = 0}};
      co_return co_await tinybpf::async_attach(io.get_executor(), p, target);
    };
    l = test::run(io, attach());
  }
  BOOST_TEST(seen.during(slot::uprobe, [] { probed_function(1); }) == 1);
}

BOOST_FIXTURE_TEST_CASE(keep_a_reference_counter_above_0, probes) {
  auto const offset = file_offset_of(const_cast<unsigned short const*>(&reference_counter));
  BOOST_REQUIRE(reference_counter == 0);
  auto const p = program("on_uprobe");
  auto l = p.attach_uprobe(self, "probed_function", {.pid = 0, .ref_ctr_offset = offset});
  BOOST_TEST(reference_counter == 1);
  BOOST_TEST(seen.during(slot::uprobe, [&] { probed_function(1); }) == 1);
  // A file that is mapped counts as well, and is not taken back: so files are read, to say what is in them.
  error_code ec;
  static_cast<void>(program("on_usdt").attach_usdt(self, "tinybpf_test", "plaice", ec));
  BOOST_TEST(ec == kernel_error(ENOENT));
  BOOST_TEST(reference_counter == 1);
  l.detach();
  BOOST_TEST(reference_counter == 0);
}

BOOST_FIXTURE_TEST_CASE(go_into_libraries, probes) {
  auto const l = program("on_uprobe").attach_uprobe("libc.so.6", "getpgid", {.pid = 0, .cookie = 6});
  BOOST_TEST(seen.during(slot::uprobe, [] { static_cast<void>(getpgid(mark)); }) == 1);
  BOOST_TEST(static_cast<int>(seen.of(slot::uprobe).value) == mark);
  BOOST_TEST(seen.of(slot::uprobe).cookie == 6);
}

BOOST_FIXTURE_TEST_CASE(find_a_program_as_the_shell_does, probes) {
  auto const file = fs::read_symlink(self);
  char const* const path = std::getenv("PATH");
  std::string const before = path != nullptr ? path : "";
  setenv("PATH", ("/nowhere:" + file.parent_path().string()).c_str(), 1);
  error_code ec;
  diagnostics details;
  auto l = program("on_uprobe").attach_uprobe(file.filename(), "probed_function", ec, details);
  setenv("PATH", before.c_str(), 1);
  BOOST_TEST(!ec, details.to_string());
  BOOST_TEST(seen.during(slot::uprobe, [] { probed_function(1); }) == 1);

  l = program("on_uprobe").attach_uprobe(fs::path{"."} / fs::relative(file), "probed_function");
  BOOST_TEST(seen.during(slot::uprobe, [] { probed_function(1); }) == 1);
}

BOOST_FIXTURE_TEST_CASE(attach_as_their_section_says, probes) {
  auto const l = program("by_section_uprobe").attach();
  BOOST_TEST((l.kind() == link_kind::uprobe));
  BOOST_TEST(seen.during(slot::section_uprobe, [] { probed_function(17); }) == 1);
  BOOST_TEST(seen.of(slot::section_uprobe).value == 17);
}

BOOST_FIXTURE_TEST_CASE(attach_on_the_worker, probes) {
  asio::io_context io;
  auto const attach = [&]() -> asio::awaitable<tinybpf::link> {
    // The process of the worker is this one.
    auto const target = tinybpf::uprobe_target{self, "probed_function", {.pid = 0, .cookie = 8}};
    co_return co_await tinybpf::async_attach(io.get_executor(), program("on_uprobe"), target);
  };
  auto l = test::run(io, attach());
  BOOST_TEST(seen.during(slot::uprobe, [] { probed_function(1); }) == 1);
  BOOST_TEST(seen.of(slot::uprobe).cookie == 8);
  l.detach();
  BOOST_TEST(seen.during(slot::uprobe, [] { probed_function(1); }) == 0);
}

BOOST_FIXTURE_TEST_CASE(tell_the_worker_s_failure, probes) {
  asio::io_context io;
  diagnostics details;
  error_code ec;
  tinybpf::async_attach(io.get_executor(), program("on_uprobe"), tinybpf::uprobe_target{self, "probed_functjon", {}},
                        details, [&](error_code e, tinybpf::link) { ec = e; });
  io.run();
  BOOST_TEST(ec == kernel_error(ENOENT));
  BOOST_TEST(contains(details.message, "did you mean 'probed_function'?"), details.message);
}

BOOST_FIXTURE_TEST_CASE(name_what_is_near_to_an_unknown_function, probes) {
  auto const p = program("on_uprobe");
  auto const details =
      refusal(kernel_error(ENOENT), [&](auto&... out) { return p.attach_uprobe(self, "probed_functjon", out...); });
  BOOST_TEST(contains(details.message, "uprobe at 'probed_functjon' of /proc/self/exe"), details.message);
  BOOST_TEST(contains(details.message, "has no function 'probed_functjon'; did you mean 'probed_function'?"),
             details.message);
  BOOST_TEST((std::find(details.names.begin(), details.names.end(), "probed_function") != details.names.end()));
  BOOST_TEST(contains(details.hint, "nm "));

  auto const nowhere = program("nowhere_uprobe");
  auto const by_section = refusal(kernel_error(ENOENT), [&](auto&... out) { return nowhere.attach(out...); });
  BOOST_TEST(contains(by_section.message, "did you mean 'probed_function'?"), by_section.message);
}

// Of strlen, the loader chooses the one that suits the processor.
BOOST_FIXTURE_TEST_CASE(tell_which_name_stands_for_several_functions, probes) {
  auto const p = program("on_uprobe");
  auto const details =
      refusal(kernel_error(ENOENT), [&](auto&... out) { return p.attach_uprobe("libc.so.6", "strlen", out...); });
  BOOST_TEST(contains(details.message, "'strlen' is an IFUNC"), details.message);
}

BOOST_FIXTURE_TEST_CASE(tell_what_is_wrong_with_a_file, probes) {
  auto const p = program("on_uprobe");
  text_file const text;
  struct {
    fs::path binary;
    int error;
    std::string_view message;
    std::string_view hint;
  } const rows[] = {
      {"/nowhere/at/all", ENOENT, "no such file", ""},
      {"./nowhere", ENOENT, "no such file", "working directory"},
      {"no-such-program", ENOENT, "no folder of PATH", "without a slash"},
      {"libnowhere.so.1", ENOENT, "no folder of libraries", "without a slash"},
      {text.folder.path(), EISDIR, "is a directory", ""},
      {text.path, ENOEXEC, "no ELF file", ""},
      {text.path / "below", ENOTDIR, "no such file", ""},
  };
  for (auto const& row : rows) {
    BOOST_TEST_CONTEXT(row.binary) {
      auto const details = refusal(kernel_error(row.error), [&](auto&... out) {
        return p.attach_uprobe(row.binary, "probed_function", out...);
      });
      BOOST_TEST(contains(details.message, row.message), details.message);
      BOOST_TEST(contains(details.message, row.binary.string()), details.message);
      BOOST_TEST(contains(details.hint, row.hint), details.hint);
      BOOST_TEST(!contains(details.hint, "the running kernel"), details.hint);
    }
  }
  // Whoever opens a FIFO waits for somebody who writes to it.
  auto const fifo = text.folder.path() / "fifo";
  test::checked(mkfifo(fifo.c_str(), 0600), "mkfifo");
  auto const usdt = program("on_usdt");
  for (tinybpf::attach_target const& target : {tinybpf::attach_target{tinybpf::uprobe_target{fifo, "f"}},
                                               tinybpf::attach_target{tinybpf::uprobe_target{fifo, "", {.offset = 8}}},
                                               tinybpf::attach_target{tinybpf::usdt_target{fifo, "a", "b"}}}) {
    auto const details = refusal(kernel_error(ENOEXEC), [&](auto&... out) {
      return (std::holds_alternative<tinybpf::usdt_target>(target) ? usdt : p).attach(target, out...);
    });
    BOOST_TEST(contains(details.message, "no regular file"), details.message);
  }
  // An offset takes no ELF file, so that this is not what was wrong.
  pid_t const nobody = 1 << 30;
  auto const of_nobody = refusal(kernel_error(ESRCH), [&](auto&... out) {
    return p.attach_uprobe(text.path, "", {.offset = 2, .pid = nobody}, out...);
  });
  BOOST_TEST(contains(of_nobody.hint, "no process"), of_nobody.hint);
  // A file in the working directory is not meant by its bare name.
  auto const before = fs::current_path();
  fs::current_path(text.folder.path());
  error_code ec;
  diagnostics details;
  auto const l = p.attach_uprobe("no_program", "probed_function", ec, details);
  fs::current_path(before);
  BOOST_TEST(ec == kernel_error(ENOENT));
  BOOST_TEST(contains(details.hint, "'./no_program'"), details.hint);
}

#if defined(__x86_64__)
// Only the kernel may execute it, and so there is nothing to probe.
asm(R"(.pushsection .text
.globl tinybpf_test_halts
.type tinybpf_test_halts, @function
tinybpf_test_halts: hlt
.size tinybpf_test_halts, . - tinybpf_test_halts
.popsection)");

BOOST_FIXTURE_TEST_CASE(tell_that_an_instruction_cannot_be_probed, probes) {
  auto const p = program("on_uprobe");
  auto const details = refusal(kernel_error(EOPNOTSUPP),
                               [&](auto&... out) { return p.attach_uprobe(self, "tinybpf_test_halts", out...); });
  BOOST_TEST(contains(details.hint, "cannot probe"), details.hint);
}
#endif

/// This program, with something of its tables of symbols changed.
template <class Change>
fs::path damaged(test::scratch_folder const& folder, Change change) {
  std::ifstream in{self, std::ios::binary};
  std::string all{std::istreambuf_iterator<char>{in}, {}};
  auto& header = *reinterpret_cast<ElfW(Ehdr)*>(all.data());
  auto* const sections = reinterpret_cast<ElfW(Shdr)*>(all.data() + header.e_shoff);
  for (int i = 0; i < header.e_shnum; ++i)
    if (sections[i].sh_type == SHT_SYMTAB || sections[i].sh_type == SHT_DYNSYM) change(all, sections[i]);
  return folder.file("damaged", std::as_bytes(std::span{all}));
}

// With which libbpf would end the process, or take an offset for an error.
BOOST_FIXTURE_TEST_CASE(refuse_files_that_lie, probes) {
  auto const p = program("on_uprobe");
  test::scratch_folder const folder;
  auto const attach = [&](fs::path const& binary, error_code expected) {
    return refusal(expected, [&](auto&... out) { return p.attach_uprobe(binary, "probed_function", out...); });
  };
  auto const no_size = damaged(folder, [](std::string&, ElfW(Shdr) & table) { table.sh_entsize = 0; });
  BOOST_TEST(contains(attach(no_size, kernel_error(ENOEXEC)).message, "0 bytes"));
  auto const far = damaged(folder, [](std::string& all, ElfW(Shdr) const& table) {
    auto* const symbols = reinterpret_cast<ElfW(Sym)*>(all.data() + table.sh_offset);
    for (std::size_t i = 0; i < table.sh_size / sizeof *symbols; ++i) symbols[i].st_value = ~std::uint64_t{0} << 20;
  });
  attach(far, make_error_code(errc::invalid_object));
}

BOOST_FIXTURE_TEST_CASE(tell_which_process_is_not_there, probes) {
  pid_t gone = 0;
  {
    caller const child;
    gone = child.pid();
  }
  auto const p = program("on_uprobe");
  auto const details = refusal(kernel_error(ESRCH), [&](auto&... out) {
    return p.attach_uprobe(self, "probed_function", {.pid = gone}, out...);
  });
  BOOST_TEST(contains(details.hint, "no process " + std::to_string(gone)), details.hint);
}

BOOST_FIXTURE_TEST_CASE(tell_which_capability_is_missing, probes) {
  auto const p = program("on_uprobe");
  auto const answer = test::in_child([&] {
    constexpr unsigned cap_perfmon = 38;
    constexpr unsigned cap_bpf = 39;
    test::become_nobody({cap_perfmon, cap_bpf});
    error_code ec;
    diagnostics details;
    auto const l = p.attach_uprobe("libc.so.6", "getpgid", ec, details);
    return ec.message() + ": " + details.hint;
  });
  BOOST_TEST(contains(answer, "Permission denied: "), answer);
  BOOST_TEST(contains(answer, "CAP_SYS_ADMIN"), answer);
}

BOOST_FIXTURE_TEST_CASE(tell_which_file_may_not_be_read, probes) {
  auto const p = program("on_uprobe");
  text_file const text;
  fs::permissions(text.path, fs::perms{0600});
  auto const answer = test::in_child([&] {
    test::become_nobody({});
    error_code ec;
    diagnostics details;
    auto const l = p.attach_uprobe(text.path, "getpgid", ec, details);
    return ec.message() + ": " + details.to_string();
  });
  BOOST_TEST(contains(answer, "Permission denied: "), answer);
  BOOST_TEST(contains(answer, "may not read it"), answer);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(uretprobes, *feature_here("uretprobe", uretprobe_here))

BOOST_FIXTURE_TEST_CASE(see_what_a_function_returns, probes) {
  auto const p = program("on_uretprobe");
  auto l = p.attach_uprobe(self, "probed_function", {.retprobe = true, .cookie = 77});
  BOOST_TEST((l.kind() == link_kind::uprobe));
  BOOST_TEST(seen.during(slot::uretprobe, [] { probed_function(21); }) == 1);
  BOOST_TEST(seen.of(slot::uretprobe).value == 42);
  BOOST_TEST(seen.of(slot::uretprobe).cookie == 77);
  l = p.attach_uprobe(
      self, "", {.retprobe = true, .offset = file_offset_of(reinterpret_cast<void const*>(&probed_other_function))});
  BOOST_TEST(seen.during(slot::uretprobe, [] { probed_other_function(5); }) == 1);
  BOOST_TEST(seen.of(slot::uretprobe).value == 15);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(uprobes_of_many)

BOOST_AUTO_TEST_CASE(see_functions_and_their_cookies, *feature_here("uprobe.multi", uprobe_multi_here)) {
  auto const obj = tinybpf::load(UPROBE_MULTI_BPF_O);
  test::sights const seen{obj.map("seen")};
  {
    std::vector<std::string> const functions{"probed_other_function", "probed_function"};
    std::array<std::uint64_t, 2> const cookies{31, 32};
    auto const l = obj.program("on_uprobe_multi").attach_uprobe_multi(self, functions, {.pid = 0, .cookies = cookies});
    BOOST_TEST((l.kind() == link_kind::uprobe_multi));
    BOOST_TEST(seen.during(multi_slot::uprobe, [] { probed_function(4); }) == 1);
    BOOST_TEST(seen.of(multi_slot::uprobe).cookie == 32);
    BOOST_TEST(seen.of(multi_slot::uprobe).value == 4);
    BOOST_TEST(seen.during(multi_slot::uprobe, [] { probed_other_function(4); }) == 1);
    BOOST_TEST(seen.of(multi_slot::uprobe).cookie == 31);
  }
  auto const l =
      obj.program("on_uretprobe_multi").attach_uprobe_multi(self, "probed_*_functio?", {.retprobe = true, .pid = 0});
  BOOST_TEST(seen.during(multi_slot::uretprobe, [] { probed_other_function(4); }) == 1);
  BOOST_TEST(seen.of(multi_slot::uretprobe).value == 12);
  BOOST_TEST(seen.during(multi_slot::uretprobe, [] { probed_function(4); }) == 0);

  auto const p = obj.program("on_uprobe_multi");
  auto const unknown = refusal(kernel_error(ENOENT), [&](auto&... out) {
    return p.attach_uprobe_multi(self, std::vector<std::string>{"probed_function", "probed_functjon"}, out...);
  });
  BOOST_TEST(contains(unknown.message, "did you mean 'probed_function'?"), unknown.message);
  auto const nothing = refusal(kernel_error(ENOENT),
                               [&](auto&... out) { return p.attach_uprobe_multi(self, "no_such_functio?*", out...); });
  BOOST_TEST(contains(nothing.message, "no function that fits"), nothing.message);
  auto const single = refusal(make_error_code(errc::wrong_program_type),
                              [&](auto&... out) { return p.attach_uprobe(self, "probed_function", out...); });
  BOOST_TEST(contains(single.message, "uprobe.multi"), single.message);
}

#if LIBBPF_MAJOR_VERSION == 1 && LIBBPF_MINOR_VERSION < 3
BOOST_FIXTURE_TEST_CASE(say_which_libbpf_they_take, probes) {
  auto const p = program("on_uprobe");
  auto const details = refusal(make_error_code(errc::not_supported_by_libbpf),
                               [&](auto&... out) { return p.attach_uprobe_multi(self, "probed_functio?", out...); });
  BOOST_TEST(contains(details.hint, "libbpf 1.3"), details.hint);
}
#endif

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(usdts, *feature_here("USDT", usdt_here))

BOOST_FIXTURE_TEST_CASE(see_all_places_of_that_name, probes) {
  auto l = program("on_usdt").attach_usdt(self, "tinybpf_test", "place", {.cookie = 0xabcdef0123456789});
  BOOST_TEST((l.kind() == link_kind::usdt));
  BOOST_TEST(seen.during(slot::usdt, [] { pass_place(40, 2); }) == 1);
  BOOST_TEST(seen.of(slot::usdt).value == 42);
  BOOST_TEST(seen.of(slot::usdt).cookie == 0xabcdef0123456789);
  BOOST_TEST(seen.during(slot::usdt, [] { pass_place_too(-3, 1); }) == 1);
  BOOST_TEST(seen.of(slot::usdt).value == -2);
  BOOST_TEST(seen.during(slot::usdt, [] { pass_other_place(1); }) == 0);
  l.detach();
  BOOST_TEST(seen.during(slot::usdt, [] { pass_place(1, 1); }) == 0);
}

BOOST_FIXTURE_TEST_CASE(keep_to_a_process, probes) {
  auto const p = program("on_usdt");
  {
    auto const l = p.attach_usdt(self, "tinybpf_test", "place", {.pid = 0});
    BOOST_TEST(seen.during(slot::usdt, [] { pass_place(1, 1); }) == 1);
  }
  caller const child;
  auto const l = p.attach_usdt(self, "tinybpf_test", "place", {.pid = child.pid()});
  BOOST_TEST(seen.during(slot::usdt, [] { pass_place(1, 1); }) == 0);
}

BOOST_FIXTURE_TEST_CASE(attach_as_their_section_says, probes) {
  auto const l = program("by_section_usdt").attach();
  BOOST_TEST((l.kind() == link_kind::usdt));
  BOOST_TEST(seen.during(slot::section_usdt, [] { pass_place(19, 0); }) == 1);
  BOOST_TEST(seen.of(slot::section_usdt).value == 19);
}

BOOST_FIXTURE_TEST_CASE(outlive_their_object, probes) {
  auto l = program("on_usdt").attach_usdt(self, "tinybpf_test", "place");
  auto by_section = program("by_section_usdt").attach();
  obj.close();
  obj = {};
  BOOST_TEST(seen.during(slot::usdt, [] { pass_place(1, 1); }) == 1);
  BOOST_TEST(seen.during(slot::section_usdt, [] { pass_place(1, 1); }) == 1);
  l.detach();
  by_section.detach();
  BOOST_TEST(seen.during(slot::usdt, [] { pass_place(1, 1); }) == 0);
  BOOST_TEST(seen.during(slot::section_usdt, [] { pass_place(1, 1); }) == 0);
}

BOOST_FIXTURE_TEST_CASE(attach_on_the_worker, probes) {
  asio::io_context io;
  auto const attach = [&]() -> asio::awaitable<tinybpf::link> {
    auto const target = tinybpf::usdt_target{self, "tinybpf_test", "place", {.cookie = 4}};
    co_return co_await tinybpf::async_attach(io.get_executor(), program("on_usdt"), target);
  };
  auto l = test::run(io, attach());
  BOOST_TEST(seen.during(slot::usdt, [] { pass_place(1, 1); }) == 1);
  BOOST_TEST(seen.of(slot::usdt).cookie == 4);
  l.detach();
}

BOOST_FIXTURE_TEST_CASE(leave_nothing_behind_when_the_second_place_fails, probes) {
  // Each place takes two descriptors, unless libbpf and the kernel have uprobe.multi. The limit goes up until there are
  // enough.
  auto const p = program("on_usdt");
  { auto const once = p.attach_usdt(self, "tinybpf_test", "place"); }  // libbpf keeps some descriptors from now on
  int failures = 0;
  bool attached = false;
  for (int more = 1; more < 20 && !attached; ++more) {
    auto const next = next_descriptor();
    error_code ec;
    tinybpf::link l;
    {
      few_descriptors const limit{more};
      l = p.attach_usdt(self, "tinybpf_test", "place", ec);
    }
    attached = !ec;
    BOOST_TEST(l.attached() == attached);
    if (attached) continue;
    ++failures;
    BOOST_TEST(ec == kernel_error(EMFILE), more << ": " << ec.message());
    BOOST_TEST(next_descriptor() == next);
    BOOST_TEST(seen.during(slot::usdt, [] { pass_place(1, 1); }) == 0);
    BOOST_TEST(seen.during(slot::usdt, [] { pass_place_too(1, 1); }) == 0);
  }
  BOOST_TEST(attached);
  BOOST_TEST(failures >= (uprobe_multi_here() ? 1 : 4));
}

BOOST_FIXTURE_TEST_CASE(name_what_is_near_to_an_unknown_one, probes) {
  auto const p = program("on_usdt");
  auto const name = refusal(kernel_error(ENOENT),
                            [&](auto&... out) { return p.attach_usdt(self, "tinybpf_test", "plaice", out...); });
  BOOST_TEST(contains(name.message, "USDT tinybpf_test:plaice of /proc/self/exe"), name.message);
  BOOST_TEST(contains(name.message, "did you mean 'tinybpf_test:place'?"), name.message);
  std::vector<std::string> const names{"tinybpf_test:other_place", "tinybpf_test:place"};
  BOOST_TEST(name.names == names, boost::test_tools::per_element());
  auto const provider =
      refusal(kernel_error(ENOENT), [&](auto&... out) { return p.attach_usdt(self, "tinybpf", "place", out...); });
  BOOST_TEST(provider.names == names, boost::test_tools::per_element());
  auto const nowhere = program("nowhere_usdt");
  auto const by_section = refusal(kernel_error(ENOENT), [&](auto&... out) { return nowhere.attach(out...); });
  BOOST_TEST(by_section.names == names, boost::test_tools::per_element());
}

BOOST_FIXTURE_TEST_CASE(tell_what_is_wrong_with_a_file, probes) {
  auto const p = program("on_usdt");
  text_file const text;
  auto const attach = [&](fs::path const& binary, int error) {
    return refusal(kernel_error(error), [&](auto&... out) { return p.attach_usdt(binary, "one", "two", out...); });
  };
  BOOST_TEST(contains(attach("/nowhere", ENOENT).message, "no such file"));
  BOOST_TEST(contains(attach(text.path, ENOEXEC).message, "no ELF file"));
  BOOST_TEST(contains(attach(text.folder.path(), EISDIR).message, "is a directory"));
  BOOST_TEST(contains(attach("libboost_unit_test_framework.so.1.81.0", ENOENT).message, "no USDT at all"));
}

BOOST_AUTO_TEST_CASE(say_which_section_they_take, *feature_here("uprobe.multi", uprobe_multi_here)) {
  auto obj = tinybpf::object::open(PROBES_BPF_O);
  for (auto const& p : obj.programs()) p.set_autoload(p.name() == "usdt_as_uprobe");
  obj.load();
  auto const p = obj.program("usdt_as_uprobe");
  auto const details =
      refusal(kernel_error(EINVAL), [&](auto&... out) { return p.attach_usdt(self, "tinybpf_test", "place", out...); });
  BOOST_TEST(contains(details.hint, "takes SEC(\"usdt\")"), details.hint);
  BOOST_TEST(contains(details.hint, "is SEC(\"uprobe\")"), details.hint);
}

#ifdef TINYBPF_TEST_FAILING_ALLOCATION
// Neither a descriptor stays behind, nor does anything wait for a lock that this thread has.
BOOST_FIXTURE_TEST_CASE(leave_nothing_behind_when_memory_runs_out, probes) {
  auto const p = program("on_usdt");
  { auto const once = p.attach_usdt(self, "tinybpf_test", "place"); }  // libbpf keeps some descriptors from now on
  auto const target = tinybpf::attach_target{tinybpf::usdt_target{self, "tinybpf_test", "place"}};
  int failures = 0;
  bool enough = false;
  for (int allowed = 0; allowed < 10'000 && !enough; ++allowed) {
    auto const next = next_descriptor();
    error_code ec;
    diagnostics details;
    tinybpf::link l;
    try {
      test::failing_allocation const fails{allowed};
      l = p.attach(target, ec, details);
      enough = fails.is_still_to_come();
    } catch (std::bad_alloc const&) {
      ++failures;
      BOOST_TEST(next_descriptor() == next);
      BOOST_TEST(seen.during(slot::usdt, [] { pass_place(1, 1); }) == 0);
      continue;
    }
    BOOST_TEST(!ec, allowed << ": " << ec.message() << details.to_string());
    BOOST_TEST(l.attached());
    BOOST_TEST(seen.during(slot::usdt, [] { pass_place(1, 1); }) == 1);
  }
  BOOST_TEST(enough);
  BOOST_TEST(failures > 3);
}
#endif

BOOST_AUTO_TEST_CASE(say_that_the_maps_are_missing) {
  auto const obj = tinybpf::load(TRACES_BPF_O);
  auto const p = obj.program("without_usdt");
  auto const details =
      refusal(kernel_error(ESRCH), [&](auto&... out) { return p.attach_usdt(self, "tinybpf_test", "place", out...); });
  BOOST_TEST(contains(details.hint, "usdt.bpf.h"), details.hint);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(whatever_the_kernel_has)

/// Loaded, alone, with that attach type in place of its section's.
tinybpf::object load_for(tinybpf::attach_type type, std::string_view program) {
  auto obj = tinybpf::object::open(PROBES_BPF_O);
  for (auto const& p : obj.programs()) p.set_autoload(p.name() == program);
  obj.program(program).set_expected_attach_type(type);
  obj.load();
  return obj;
}

BOOST_AUTO_TEST_CASE(sessions_take_no_retprobe) {
  auto const kernel = load_for(tinybpf::attach_type::trace_kprobe_session, "on_kprobe");
  auto const in_kernel = kernel.program("on_kprobe");
  auto details = refusal(kernel_error(EINVAL),
                         [&](auto&... out) { return in_kernel.attach_kprobe_multi("a", {.retprobe = true}, out...); });
  BOOST_TEST(contains(details.hint, "retprobe"), details.hint);
  auto const user = load_for(tinybpf::attach_type::trace_uprobe_session, "on_uprobe");
  auto const in_user = user.program("on_uprobe");
#if LIBBPF_MAJOR_VERSION > 1 || LIBBPF_MINOR_VERSION >= 3
  details = refusal(kernel_error(EINVAL), [&](auto&... out) {
    return in_user.attach_uprobe_multi(self, "probed_functio?", {.retprobe = true}, out...);
  });
  BOOST_TEST(contains(details.hint, "retprobe"), details.hint);
#endif
  details = refusal(make_error_code(errc::wrong_program_type),
                    [&](auto&... out) { return in_user.attach_uprobe(self, "probed_function", out...); });
  BOOST_TEST(contains(details.message, "loaded for uprobe.multi"), details.message);
}

#if LIBBPF_MAJOR_VERSION == 1 && LIBBPF_MINOR_VERSION < 5
BOOST_AUTO_TEST_CASE(sessions_say_which_libbpf_they_take) {
  auto const obj = load_for(tinybpf::attach_type::trace_kprobe_session, "on_kprobe");
  auto const p = obj.program("on_kprobe");
  auto const details = refusal(make_error_code(errc::not_supported_by_libbpf),
                               [&](auto&... out) { return p.attach_kprobe_multi("a", out...); });
  BOOST_TEST(contains(details.hint, "libbpf 1.5"), details.hint);
}
#endif

BOOST_FIXTURE_TEST_CASE(places_that_make_no_sense_are_refused, probes) {
  auto const kprobe = program("on_kprobe");
  auto const kprobe_multi = program("on_kprobe_multi");
  auto const ksyscall = program("on_ksyscall");
  auto const uprobe = program("on_uprobe");
  auto const usdt = program("on_usdt");
  using names = std::vector<std::string>;
  std::array<std::uint64_t, 1> const one_cookie{1};
  auto const invalid = kernel_error(EINVAL);
  std::string const cut{"probed_function\0x", 17};
  constexpr std::size_t backwards = ~std::size_t{15};
  constexpr std::size_t far = std::size_t{1} << 32;
  struct row {
    tinybpf::program what;
    tinybpf::attach_target where;
    std::string_view text;
  };
  for (auto const& r : {
           row{kprobe, tinybpf::kprobe_target{""}, "no function is named"},
           row{kprobe, tinybpf::kprobe_target{getpgid_in_kernel, {.retprobe = true, .offset = 4}},
               "return has no offset"},
           row{kprobe_multi, tinybpf::kprobe_multi_target{""}, "pattern is empty"},
           row{kprobe_multi, tinybpf::kprobe_multi_target{names{}}, "list of functions is empty"},
           row{kprobe_multi, tinybpf::kprobe_multi_target{names{"a", ""}}, "has no name"},
           row{kprobe_multi, tinybpf::kprobe_multi_target{names{"a", "b"}, {.cookies = one_cookie}},
               "2 functions and 1 cookies"},
           row{kprobe_multi, tinybpf::kprobe_multi_target{"a*", {.cookies = one_cookie}}, "not with a pattern"},
           row{ksyscall, tinybpf::ksyscall_target{""}, "no system call is named"},
           row{uprobe, tinybpf::uprobe_target{"", "f"}, "no program or library is named"},
           row{uprobe, tinybpf::uprobe_target{self, ""}, "neither a function nor an offset"},
           row{uprobe, tinybpf::uprobe_target{self, "probed_function", {.retprobe = true, .offset = 4}},
               "return has no offset"},
           row{kprobe, tinybpf::kprobe_target{getpgid_in_kernel, {.offset = far}}, "no function is as long"},
           row{uprobe, tinybpf::uprobe_target{self, "probed_function", {.offset = backwards}}, "beyond the end"},
           row{uprobe, tinybpf::uprobe_target{self, "", {.offset = backwards}}, "beyond the end"},
           row{uprobe, tinybpf::uprobe_target{self, "", {.offset = fs::file_size(self)}}, "beyond the end"},
           row{uprobe, tinybpf::uprobe_target{self, "probed_function", {.ref_ctr_offset = far}}, "no counter"},
           row{uprobe, tinybpf::uprobe_target{self, "probed_function", {.ref_ctr_offset = 3}}, "even offset"},
           row{uprobe, tinybpf::uprobe_target{self, "probed_function", {.pid = -2}}, "no process -2"},
           row{usdt, tinybpf::usdt_target{self, "tinybpf_test", "place", {.pid = -2}}, "no process -2"},
           row{kprobe, tinybpf::kprobe_target{cut}, "null character"},
           row{kprobe_multi, tinybpf::kprobe_multi_target{cut}, "null character"},
           row{kprobe_multi, tinybpf::kprobe_multi_target{names{"a", cut}}, "null character"},
           row{ksyscall, tinybpf::ksyscall_target{cut}, "null character"},
           row{uprobe, tinybpf::uprobe_target{self, cut}, "null character"},
           row{uprobe, tinybpf::uprobe_target{self + std::string{"\0x", 2}, "probed_function"}, "null character"},
           row{usdt, tinybpf::usdt_target{self, "tinybpf_test", std::string{"place\0x", 7}}, "null character"},
           row{usdt, tinybpf::usdt_target{"", "a", "b"}, "no program or library is named"},
           row{usdt, tinybpf::usdt_target{self, "", "b"}, "one is empty"},
           row{usdt, tinybpf::usdt_target{self, "a", ""}, "one is empty"},
       }) {
    auto const details = refusal(invalid, [&](auto&... out) { return r.what.attach(r.where, out...); });
    BOOST_TEST(contains(details.message, r.text), details.message);
  }
}

BOOST_FIXTURE_TEST_CASE(programs_of_another_type_are_refused, probes) {
  auto const p = program("of_another_type");
  for (tinybpf::attach_target const& target : std::vector<tinybpf::attach_target>{
           tinybpf::kprobe_target{getpgid_in_kernel}, tinybpf::kprobe_multi_target{"a*"},
           tinybpf::ksyscall_target{"getpgid"}, tinybpf::uprobe_target{self, "probed_function"},
           tinybpf::uprobe_multi_target{self, "probed*"}, tinybpf::usdt_target{self, "tinybpf_test", "place"}}) {
    auto const details =
        refusal(make_error_code(errc::wrong_program_type), [&](auto&... out) { return p.attach(target, out...); });
    BOOST_TEST(contains(details.message, "of type tracepoint"), details.message);
    BOOST_TEST(contains(details.hint, "SEC("), details.hint);
  }
}

BOOST_FIXTURE_TEST_CASE(programs_that_were_loaded_for_another_place_are_refused, probes) {
  auto const multi = program("on_kprobe_multi");
  auto const wrong = make_error_code(errc::wrong_program_type);
  for (tinybpf::attach_target const& target : std::vector<tinybpf::attach_target>{
           tinybpf::kprobe_target{getpgid_in_kernel}, tinybpf::ksyscall_target{"getpgid"},
           tinybpf::uprobe_target{self, "probed_function"}, tinybpf::usdt_target{self, "tinybpf_test", "place"}}) {
    auto const details = refusal(wrong, [&](auto&... out) { return multi.attach(target, out...); });
    BOOST_TEST(contains(details.message, "loaded for kprobe.multi"), details.message);
    BOOST_TEST(contains(details.hint, "this one's is SEC(\"kprobe.multi\")"), details.hint);
  }
  auto const single = program("on_kprobe");
  auto const details =
      refusal(wrong, [&](auto&... out) { return single.attach_kprobe_multi(getpgid_in_kernel, out...); });
  BOOST_TEST(contains(details.message, "takes one loaded for kprobe.multi"), details.message);
  BOOST_TEST(contains(details.hint, "SEC(\"kprobe.multi\")"), details.hint);
}

BOOST_AUTO_TEST_CASE(programs_that_are_not_loaded_are_refused) {
  auto obj = tinybpf::object::open(PROBES_BPF_O);
  auto const p = obj.program("on_uprobe");
  auto const details = refusal(make_error_code(errc::not_loaded),
                               [&](auto&... out) { return p.attach_uprobe(self, "probed_function", out...); });
  BOOST_TEST(contains(details.message, "on_uprobe"), details.message);
  obj.close();
  refusal(make_error_code(errc::closed),
          [&](auto&... out) { return p.attach_uprobe(self, "probed_function", out...); });
}

BOOST_FIXTURE_TEST_CASE(sections_that_name_no_place_are_told, probes) {
  for (auto const* const name : {"on_kprobe", "on_kprobe_multi", "on_ksyscall", "on_uprobe", "on_usdt"}) {
    auto const p = program(name);
    auto const details = refusal(make_error_code(errc::not_supported), [&](auto&... out) { return p.attach(out...); });
    BOOST_TEST(contains(details.hint, "names no place"), details.hint);
  }
}

// On a kernel without the feature, what is said about it.
BOOST_FIXTURE_TEST_CASE(kernels_without_kprobes_are_told, probes) {
  auto const p = program("on_kprobe");
  if (kprobe_here()) {
    auto const l = p.attach_kprobe(getpgid_in_kernel);
    BOOST_TEST(l.attached());
    return;
  }
  auto const details =
      refusal(kernel_error(ENOENT), [&](auto&... out) { return p.attach_kprobe(getpgid_in_kernel, out...); });
  BOOST_TEST(contains(details.hint, "CONFIG_KPROBES"), details.hint);
  auto const syscall = program("on_ksyscall");
  auto const of_syscall =
      refusal(kernel_error(ENOENT), [&](auto&... out) { return syscall.attach_ksyscall("getpgid", out...); });
  BOOST_TEST(contains(of_syscall.hint, "CONFIG_KPROBES"), of_syscall.hint);
}

BOOST_FIXTURE_TEST_CASE(kernels_without_kprobe_multi_are_told, probes) {
  auto const p = program("on_kprobe_multi");
  if (kprobe_multi_here()) {
    auto const l = p.attach_kprobe_multi(getpgid_in_kernel);
    BOOST_TEST(l.attached());
    return;
  }
  // By their names: what a pattern stands for is in tracefs, which such a kernel may not let us read.
  std::vector<std::string> const functions{getpgid_in_kernel};
  auto const details =
      refusal(kernel_error(EOPNOTSUPP), [&](auto&... out) { return p.attach_kprobe_multi(functions, out...); });
  BOOST_TEST(contains(details.hint, "CONFIG_FPROBE"), details.hint);
}

BOOST_AUTO_TEST_SUITE_END()
