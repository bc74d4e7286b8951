// The leak check finds what it is there to find. Whatever is leaked here is given back before the case ends.
#include "leak_check.hpp"
#include "support.hpp"

#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <linux/bpf.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace {

// What leaks here stays: it need not be waited for.
constexpr std::chrono::milliseconds no_patience{0};

bool names(std::vector<std::string> const& leaks, std::string_view what) {
  return std::any_of(leaks.begin(), leaks.end(), [&](auto const& l) { return l.find(what) != std::string::npos; });
}

int make_array(char const* name) {
  bpf_map_create_opts options{};
  options.sz = sizeof options;
  options.map_flags = BPF_F_MMAPABLE;
  return test::checked(bpf_map_create(BPF_MAP_TYPE_ARRAY, name, 4, 8, 1, &options), "bpf_map_create");
}

int make_program(char const* name) {
  constexpr std::array return_0{bpf_insn{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0},
                                bpf_insn{BPF_JMP | BPF_EXIT, 0, 0, 0, 0}};
  return test::checked(
      bpf_prog_load(BPF_PROG_TYPE_RAW_TRACEPOINT, name, "GPL", return_0.data(), return_0.size(), nullptr),
      "bpf_prog_load");
}

}  // namespace

BOOST_AUTO_TEST_SUITE(leak_check)

BOOST_AUTO_TEST_CASE(finds_nothing_where_nothing_leaked) {
  auto const before = test::resources_now();
  int const map = make_array("given_back");
  close(map);
  BOOST_TEST(test::leaked_since(before).empty());
}

BOOST_AUTO_TEST_CASE(finds_a_descriptor) {
  auto const before = test::resources_now();
  int const fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  auto const leaks = test::leaked_since(before);
  close(fd);
  BOOST_TEST(leaks.size() == 1);
  BOOST_TEST(names(leaks, "descriptor " + std::to_string(fd) + " of /dev/null"));
}

BOOST_AUTO_TEST_CASE(finds_a_map_by_its_id_and_by_its_mapping) {
  auto const before = test::resources_now();
  int const map = make_array("only_mapped");
  void* const memory = mmap(nullptr, 4096, PROT_READ, MAP_SHARED, map, 0);
  close(map);
  BOOST_REQUIRE(memory != MAP_FAILED);
  auto const leaks = test::leaked_since(before, no_patience);
  munmap(memory, 4096);
  BOOST_TEST(leaks.size() == 2);
  BOOST_TEST(names(leaks, "mapping at "));
  BOOST_TEST(names(leaks, "'only_mapped'"));
}

BOOST_AUTO_TEST_CASE(finds_a_program_and_a_link) {
  auto const before = test::resources_now();
  int const program = make_program("attached");
  int const link = bpf_raw_tracepoint_open("sched_process_exit", program);
  close(program);
  BOOST_REQUIRE(link >= 0);
  auto const leaks = test::leaked_since(before, no_patience);
  close(link);
  BOOST_TEST(names(leaks, "descriptor " + std::to_string(link)));
  BOOST_TEST(names(leaks, "program with id "));
  BOOST_TEST(names(leaks, "'attached'"));
  BOOST_TEST(names(leaks, "link with id "));
}

BOOST_AUTO_TEST_CASE(waits_for_ids_that_are_still_to_go) {
  auto const before = test::resources_now();
  int const program = make_program("going");
  close(bpf_raw_tracepoint_open("sched_process_exit", program));
  close(program);
  BOOST_TEST(test::leaked_since(before).empty());
}

BOOST_AUTO_TEST_CASE(leaves_out_what_another_process_holds) {
  auto const before = test::resources_now();
  std::array<int, 2> done{};
  test::checked(pipe2(done.data(), O_CLOEXEC), "pipe2");
  int const map = make_array("of_the_child");
  pid_t const child = test::checked(fork(), "fork");
  if (child == 0) {  // holds the map until the other end of the pipe is closed
    char ignored = 0;
    close(done[1]);
    auto const got = read(done[0], &ignored, 1);
    _exit(got == 0 ? 0 : 1);
  }
  close(map);
  close(done[0]);
  auto const with_pipe = test::leaked_since(before, no_patience);
  close(done[1]);
  int status = -1;
  waitpid(child, &status, 0);
  BOOST_TEST(status == 0);
  BOOST_TEST(with_pipe.size() == 1);
  BOOST_TEST(!names(with_pipe, "of_the_child"));
}

// Leaks only where the next case says so.
BOOST_AUTO_TEST_CASE(leaks_when_told) {
  if (std::getenv("TINYBPF_TEST_LEAK") != nullptr) BOOST_TEST(open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0);
}

BOOST_AUTO_TEST_CASE(fails_the_case_that_leaks) {
  auto const run_that_case = [](char const* leak) {
    return test::in_child([leak] {
      test::scratch_file output;
      test::checked(dup2(output.fd(), STDOUT_FILENO), "dup2");
      test::checked(dup2(output.fd(), STDERR_FILENO), "dup2");
      unsetenv("TINYBPF_TEST_REPORT");
      if (leak != nullptr) setenv("TINYBPF_TEST_LEAK", leak, 1);
      int const status = std::system(
          ("exec /proc/" + std::to_string(getpid()) + "/exe --run_test=leak_check/leaks_when_told").c_str());
      return "status " + std::to_string(WEXITSTATUS(status)) + '\n' + output.text();
    });
  };
  BOOST_TEST(run_that_case(nullptr).starts_with("status 0\n"));
  auto const said = run_that_case("yes");
  BOOST_TEST(said.starts_with("status 201\n"));
  BOOST_TEST(said.find("leaks_when_told\": leaked: descriptor ") != std::string::npos, said);
}

BOOST_AUTO_TEST_SUITE_END()
