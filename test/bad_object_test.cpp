// What is no BPF object, what this libbpf does not know, and what the verifier refuses: an error that names the file
// and says what is wrong, and nothing on stderr.
#include "../src/detail/log_capture.hpp"
#include "scratch_folder.hpp"
#include "support.hpp"

#include <tinybpf/object.hpp>
#include <tinybpf/version.hpp>

#include <boost/test/unit_test.hpp>

#include <sys/stat.h>

#include <bpf/libbpf.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <barrier>
#include <cstdarg>
#include <cstring>
#include <filesystem>
#include <latch>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

using test::contains;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::object;

namespace {

namespace fs = std::filesystem;

struct refusal {
  error_code ec;
  diagnostics details;
  std::string what;  // as thrown
};

/// What both forms of opening the file and loading it say.
refusal refusal_of(fs::path const& file) {
  refusal r;
  auto const obj = tinybpf::load(file, r.ec, r.details);
  BOOST_TEST(!obj.is_open());
  try {
    static_cast<void>(tinybpf::load(file));
  } catch (tinybpf::error const& e) {
    BOOST_TEST(e.code() == r.ec);
    BOOST_TEST(contains(e.what(), e.get_diagnostics().log));
    r.what = e.what();
  }
  BOOST_TEST(contains(r.details.message, file.string()), r.details.message);
  BOOST_TEST(contains(r.what, r.details.message));
  return r;
}

refusal refusal_of(std::span<std::byte const> image, std::string_view name) {
  refusal r;
  auto const obj = object::open(image, name, r.ec, r.details);
  BOOST_TEST(!obj.is_open());
  BOOST_TEST(contains(r.details.message, name), r.details.message);
  return r;
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(bad_files, test::quiet_folder)

BOOST_AUTO_TEST_CASE(missing) {
  BOOST_TEST(refusal_of(path() / "missing.bpf.o").ec == test::kernel_error(ENOENT));
  auto const below_a_file = file("file", {}) / "below.bpf.o";
  BOOST_TEST(refusal_of(below_a_file).ec == test::kernel_error(ENOTDIR));
}

BOOST_AUTO_TEST_CASE(directory) {
  auto const r = refusal_of(path());
  BOOST_TEST(r.ec == test::kernel_error(EISDIR));
  BOOST_TEST(contains(r.details.hint, "compiled BPF object"));
}

BOOST_AUTO_TEST_CASE(empty) {
  auto const r = refusal_of(file("empty.bpf.o", {}));
  BOOST_TEST(r.ec == make_error_code(errc::invalid_object));
  BOOST_TEST(contains(r.details.message, "is empty"));
}

BOOST_AUTO_TEST_CASE(text) {
  constexpr std::string_view source = "int on_exec(void *ctx) { return 0; }\n";
  auto const r = refusal_of(file("exec.bpf.c", std::as_bytes(std::span{source})));
  BOOST_TEST(r.ec == make_error_code(errc::invalid_object));
  BOOST_TEST(contains(r.details.message, "is not an ELF file"));
  BOOST_TEST(contains(r.details.hint, "clang -target bpf"));
}

BOOST_AUTO_TEST_CASE(shorter_than_a_magic_number) {
  BOOST_TEST(refusal_of(file("short.bpf.o", std::as_bytes(std::span{"\177E", 2}))).ec ==
             make_error_code(errc::invalid_object));
}

// Opening it as a file would wait for a writer.
BOOST_AUTO_TEST_CASE(fifo) {
  auto const made = path() / "fifo.bpf.o";
  BOOST_TEST(mkfifo(made.c_str(), 0600) == 0);
  auto const r = refusal_of(made);
  BOOST_TEST(r.ec == make_error_code(errc::invalid_object));
  BOOST_TEST(contains(r.details.message, "is not a regular file"));
}

BOOST_AUTO_TEST_CASE(truncated) {
  auto const whole = test::contents_of(REFUSED_BPF_O);
  auto const r = refusal_of(file("truncated.bpf.o", std::span{whole}.first(whole.size() / 2)));
  BOOST_TEST(r.ec == make_error_code(errc::invalid_object));
  BOOST_TEST(!r.details.log.empty());
}

BOOST_AUTO_TEST_CASE(truncated_anywhere) {
  auto const whole = test::contents_of(REFUSED_BPF_O);
  for (std::size_t size = 0; size < whole.size(); size += 61) {
    error_code ec;
    static_cast<void>(object::open(std::span{whole}.first(size), "truncated", ec));
    BOOST_TEST(ec == make_error_code(errc::invalid_object), "cut at " << size << ": " << ec.message());
  }
}

BOOST_AUTO_TEST_CASE(elf_of_another_kind) {
  auto const r = refusal_of("/bin/true");
  BOOST_TEST(r.ec == make_error_code(errc::invalid_object));
  BOOST_TEST(contains(r.details.message, "is not a BPF object"));
  BOOST_TEST(contains(r.details.log, "not a valid eBPF object file"));
}

BOOST_AUTO_TEST_CASE(images_in_memory) {
  std::array<std::byte, 4096> garbage{};
  garbage.fill(std::byte{0x5a});
  BOOST_TEST(refusal_of(garbage, "garbage").ec == make_error_code(errc::invalid_object));
  std::memcpy(garbage.data(), "\177ELF\2\1\1", 8);
  BOOST_TEST(refusal_of(garbage, "almost_elf").ec == make_error_code(errc::invalid_object));
  auto const nothing = refusal_of(std::span<std::byte const>{}, "nothing");
  BOOST_TEST(nothing.ec == make_error_code(errc::invalid_object));
  BOOST_TEST(contains(nothing.details.message, "is empty"));
}

BOOST_AUTO_TEST_CASE(btf_that_is_garbage) {
  auto image = test::contents_of(REFUSED_BPF_O);
  auto const btf = test::section_of(image, ".BTF");
  std::fill(btf.begin(), btf.end(), std::byte{0xa5});
  auto const r = refusal_of(file("garbage.bpf.o", image));
  BOOST_TEST(r.ec == make_error_code(errc::invalid_object));
  BOOST_TEST(contains(r.details.log, "BTF"), r.details.log);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(newer_than_libbpf, test::quiet_folder)

BOOST_AUTO_TEST_CASE(section) {
  auto const r = refusal_of(UNKNOWN_SECTION_BPF_O);
  BOOST_TEST(r.ec == make_error_code(errc::not_supported_by_libbpf));
  BOOST_TEST(r.details.program == "on_arrival");
  for (auto const& what : {std::string{"'on_arrival'"}, std::string{"'teleport/elsewhere'"},
                           "libbpf " + to_string(tinybpf::libbpf_version())})
    BOOST_TEST(contains(r.details.message, what), what << " is not in: " << r.details.message);

  // It can be looked at all the same.
  auto const obj = object::open(UNKNOWN_SECTION_BPF_O);
  BOOST_TEST(obj.program("on_arrival").section() == "teleport/elsewhere");
  BOOST_TEST((obj.program("on_arrival").type() == tinybpf::program_type::unspec));
}

BOOST_AUTO_TEST_CASE(kind_of_btf) {
  auto image = test::contents_of(REFUSED_BPF_O);
  auto const btf = test::section_of(image, ".BTF");
  // The first type follows the header, whose length is its second word. Bits 24 to 28 of its second word are its kind.
  std::uint32_t header_length = 0;
  std::memcpy(&header_length, btf.subspan(4).data(), sizeof header_length);
  btf[header_length + 7] = std::byte{31};
  auto const r = refusal_of(file("from_the_future.bpf.o", image));
  BOOST_TEST(r.ec == make_error_code(errc::invalid_object));
  BOOST_TEST(contains(r.details.log, "ELF section .BTF"), r.details.log);
  BOOST_TEST(contains(r.details.hint, "newer libbpf"));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(refused_by_the_verifier, test::quiet_folder)

BOOST_AUTO_TEST_CASE(names_the_program_and_has_the_log) {
  auto const r = refusal_of(REFUSED_BPF_O);
  BOOST_TEST(r.ec == test::kernel_error(EACCES));
  BOOST_TEST(r.details.program == "forgets_null");
  BOOST_TEST(contains(r.details.message, "'forgets_null' was refused"));
  BOOST_TEST(contains(r.details.log, "invalid mem access 'map_value_or_null'"));
  BOOST_TEST(contains(r.details.log, "\nprocessed "));
}

BOOST_AUTO_TEST_CASE(has_the_whole_of_a_long_log) {
  auto const r = refusal_of(REFUSED_LONG_BPF_O);
  BOOST_TEST(r.details.program == "walks_far");
  auto const& log = r.details.log;
  BOOST_TEST(log.size() > 64 * 1024);
  auto const first = log.find("\n0: (");
  auto const reason = log.find("invalid mem access 'scalar'");
  auto const last = log.find("\nprocessed ");
  BOOST_TEST(first < reason);
  BOOST_TEST(reason < last);
  BOOST_TEST(last != std::string::npos);
  BOOST_TEST(r.what.size() > log.size());
}

// Each thread gets the whole of its own log and nothing of the other's.
BOOST_AUTO_TEST_CASE(keeps_the_logs_of_two_threads_apart) {
  struct job {
    char const* file;
    std::string_view own;
    std::string_view others;
    std::string wrong;
  };
  std::array jobs{job{REFUSED_BPF_O, "forgets_null", "walks_far", {}},
                  job{REFUSED_LONG_BPF_O, "walks_far", "forgets_null", {}}};
  std::barrier together{2};
  auto const work = [&](job& j) {
    for (int i = 0; i < 20; ++i) {
      error_code ec;
      diagnostics details;
      together.arrive_and_wait();
      static_cast<void>(tinybpf::load(j.file, ec, details));
      auto const& log = details.log;
      if (details.program == j.own && contains(log, j.own) && contains(log, "\nprocessed ") &&
          !contains(log, j.others) && log.find("BEGIN PROG LOAD LOG") == log.rfind("BEGIN PROG LOAD LOG"))
        continue;
      j.wrong = log.empty() ? "no log" : log;
    }
  };
  std::thread other{work, std::ref(jobs[1])};
  work(jobs[0]);
  other.join();
  for (auto const& j : jobs) BOOST_TEST(j.wrong == "");
}

BOOST_AUTO_TEST_SUITE_END()

// The user's own callback gets what libbpf says without us, whenever it was set.
namespace {

std::string heard;
std::atomic<libbpf_print_fn_t> one_before{nullptr};

__attribute__((format(printf, 2, 0))) int hear(libbpf_print_level, char const* format, va_list args) {
  std::array<char, 1024> text{};
  int const length = std::vsnprintf(text.data(), text.size(), format, args);
  heard += text.data();
  return length;
}

__attribute__((format(printf, 2, 0))) int hear_and_pass_on(libbpf_print_level level, char const* format, va_list args) {
  va_list again;
  va_copy(again, args);
  hear(level, format, args);
  int const length = one_before.load()(level, format, again);
  va_end(again);
  return length;
}

__attribute__((format(printf, 2, 0))) int ignore(libbpf_print_level, char const*, va_list) { return 0; }

/// Sets a callback, and afterwards the one that was there.
class user_callback {
 public:
  explicit user_callback(libbpf_print_fn_t fn) : before_{libbpf_set_print(fn)} { heard.clear(); }
  ~user_callback() { libbpf_set_print(before_); }
  user_callback(user_callback const&) = delete;
  user_callback& operator=(user_callback const&) = delete;

 private:
  libbpf_print_fn_t before_;
};

/// As if another thread were loading an object all the while.
class capture_elsewhere {
 public:
  capture_elsewhere() { begun_.wait(); }
  ~capture_elsewhere() {
    ended_.count_down();
    thread_.join();
  }
  capture_elsewhere(capture_elsewhere const&) = delete;
  capture_elsewhere& operator=(capture_elsewhere const&) = delete;

 private:
  std::latch begun_{1};
  std::latch ended_{1};
  std::thread thread_{[this] {
    tinybpf::detail::log_capture const capture;
    begun_.count_down();
    ended_.wait();
  }};
};

void fail_without_tinybpf() { BOOST_TEST(bpf_object__open_file("/without_tinybpf.bpf.o", nullptr) == nullptr); }

}  // namespace

BOOST_FIXTURE_TEST_SUITE(callback_of_the_user, test::quiet_folder)

BOOST_AUTO_TEST_CASE(set_before) {
  user_callback const set{hear};
  auto const r = refusal_of(REFUSED_BPF_O);
  BOOST_TEST(!r.details.log.empty());
  BOOST_TEST(heard == "");  // ours is for the diagnostics alone
  fail_without_tinybpf();
  BOOST_TEST(contains(heard, "/without_tinybpf.bpf.o"));
  BOOST_TEST((libbpf_set_print(hear) == hear));
}

BOOST_AUTO_TEST_CASE(set_between) {
  refusal_of(REFUSED_BPF_O);
  {
    user_callback const set{hear};
    refusal_of(REFUSED_BPF_O);
    fail_without_tinybpf();
    BOOST_TEST(contains(heard, "/without_tinybpf.bpf.o"));
  }
  heard.clear();
  user_callback const replaced{ignore};
  refusal_of(REFUSED_BPF_O);
  fail_without_tinybpf();
  BOOST_TEST(heard == "");
}

BOOST_AUTO_TEST_CASE(gets_the_text_of_other_threads) {
  user_callback const set{hear};
  capture_elsewhere const capture;
  refusal_of(REFUSED_BPF_O);
  fail_without_tinybpf();
  BOOST_TEST(contains(heard, "/without_tinybpf.bpf.o"));
  BOOST_TEST(!contains(heard, "forgets_null"));
}

// Set during a load it is told of our callback as the one before: passing text back must not go round for ever.
BOOST_AUTO_TEST_CASE(set_during_a_load_may_pass_on_what_it_gets) {
  user_callback const set{ignore};
  {
    capture_elsewhere const capture;
    one_before = libbpf_set_print(hear_and_pass_on);
    BOOST_TEST((one_before != ignore));
    refusal_of("/bin/true");  // finds the user's callback, and takes its place
    BOOST_TEST(heard == "");
    fail_without_tinybpf();
    BOOST_TEST(contains(heard, "/without_tinybpf.bpf.o"));
  }
  // It was set last: it stays.
  BOOST_TEST((libbpf_set_print(hear_and_pass_on) == hear_and_pass_on));
  heard.clear();
  fail_without_tinybpf();
  BOOST_TEST(contains(heard, "/without_tinybpf.bpf.o"));
}

BOOST_AUTO_TEST_SUITE_END()
