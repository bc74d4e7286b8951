// The BPF token of a user namespace: open_options::bpf_token_path.
#include "calls.hpp"
#include "features.hpp"
#include "support.hpp"

#include <tinybpf/capabilities.hpp>
#include <tinybpf/object.hpp>

#include <boost/test/unit_test.hpp>

#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <bpf/libbpf_version.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

using test::checked;
using test::contains;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::object;

namespace {

std::string load_with(std::filesystem::path const& token) {
  error_code ec;
  diagnostics details;
  auto obj = object::open(CALLS_BPF_O, {.bpf_token_path = token}, ec, details);
  if (!ec) obj.load(ec, details);
  return ec ? std::to_string(ec.value()) + ": " + details.to_string() : "loaded";
}

/// A descriptor of another process; root's.
int take_descriptor(pid_t process, int fd) {
  int const its = checked(static_cast<int>(syscall(SYS_pidfd_open, process, 0)), "pidfd_open");
  int const taken = static_cast<int>(syscall(SYS_pidfd_getfd, its, fd, 0));
  close(its);
  return checked(taken, "pidfd_getfd");
}

int delegate(int context) {
  for (auto const* const what : {"delegate_cmds", "delegate_maps", "delegate_progs", "delegate_attachs"})
    if (fsconfig(context, FSCONFIG_SET_STRING, what, "any", 0) != 0) return -1;
  return 0;
}

/// What `f` says in a user namespace of its own, for which root has mounted a bpffs that delegates all. `f` gets the
/// path of it.
template <class F>
std::string with_delegated_bpffs(F f, bool delegates = true) {
  int ready[2];
  int mounted[2];
  checked(pipe2(ready, O_CLOEXEC), "pipe2");
  checked(pipe2(mounted, O_CLOEXEC), "pipe2");
  test::scratch_file answer;
  pid_t const child = checked(fork(), "fork");
  if (child == 0) {
    std::string text;
    close(ready[0]);
    close(mounted[1]);  // or it would wait for itself
    try {
      checked(unshare(CLONE_NEWUSER | CLONE_NEWNS), "unshare");
      int const context = checked(fsopen("bpf", FSOPEN_CLOEXEC), "fsopen");
      checked(static_cast<int>(write(ready[1], &context, sizeof context)), "write");
      char done = 0;
      if (read(mounted[0], &done, 1) != 1) throw std::runtime_error{"the parent did not delegate"};
      int const place = checked(fsmount(context, FSMOUNT_CLOEXEC, 0), "fsmount");
      text = f("/proc/self/fd/" + std::to_string(place));
    } catch (std::exception const& e) {
      text = std::string{"the child threw: "} + e.what();
    }
    _exit(write(answer.fd(), text.data(), text.size()) == static_cast<ssize_t>(text.size()) ? 0 : 1);
  }
  close(ready[1]);
  close(mounted[0]);
  std::string problem;
  int context = -1;
  if (read(ready[0], &context, sizeof context) == static_cast<ssize_t>(sizeof context)) {
    int const fd = take_descriptor(child, context);
    if ((delegates && delegate(fd) != 0) || fsconfig(fd, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0)
      problem = "fsconfig: " + std::to_string(errno) + "; ";
    else
      static_cast<void>(write(mounted[1], "", 1) == 1);
    close(fd);
  }
  close(mounted[1]);
  close(ready[0]);
  int status = 0;
  checked(waitpid(child, &status, 0), "waitpid");
  return problem + answer.text();
}

// Old kernels take any option of a bpffs, and do nothing about it.
test::probe_result tokens_here() {
#if LIBBPF_MAJOR_VERSION > 1 || (LIBBPF_MAJOR_VERSION == 1 && LIBBPF_MINOR_VERSION >= 4)
  auto const said = with_delegated_bpffs([](std::string const& bpffs) {
    int const place = checked(open(bpffs.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), "open");
    checked(bpf_token_create(place, nullptr), "bpf_token_create");
    return std::string{"a token"};
  });
  return {said == "a token", said};
#else
  return {false, "it has no bpf_token_create"};
#endif
}

}  // namespace

BOOST_AUTO_TEST_SUITE(bpf_token, *test::feature_here("BPF token", tokens_here))

BOOST_AUTO_TEST_CASE(gives_a_user_namespace_what_it_lacks) {
  auto const said = with_delegated_bpffs([](std::string const& bpffs) {
    // All of them, but they count in this namespace only.
    auto const all = tinybpf::missing_capabilities({tinybpf::capability::bpf, tinybpf::capability::perfmon}).empty();
    return std::string{all ? "with all capabilities " : "without capabilities "} + load_with({}).substr(0, 2) +
           " and with a token " + load_with(bpffs);
  });
  BOOST_TEST(said == "with all capabilities " + std::to_string(EPERM) + ": and with a token loaded");
}

BOOST_AUTO_TEST_CASE(runs_what_it_loaded) {
  auto const said = with_delegated_bpffs([](std::string const& bpffs) {
    auto obj = object::open(CALLS_BPF_O, {.bpf_token_path = bpffs});
    obj.load();
    auto const link = obj.program("on_raw_enter").attach();
    test::call(3);
    return std::to_string(test::seen(obj.map("calls"), test::counter::on_raw_enter));
  });
  BOOST_TEST(said == "3");
}

BOOST_AUTO_TEST_CASE(that_is_not_given_says_why) {
  auto const undelegated = with_delegated_bpffs([](std::string const& bpffs) { return load_with(bpffs); }, false);
  BOOST_TEST(undelegated.starts_with(std::to_string(ENOENT) + ": "), undelegated);
  BOOST_TEST(contains(undelegated, "no BPF token from /proc/self/fd/"), undelegated);
  BOOST_TEST(contains(undelegated, "delegate_cmds"), undelegated);
  auto const at_home = load_with("/sys/fs/bpf");
  BOOST_TEST(at_home.starts_with(std::to_string(EOPNOTSUPP) + ": "), at_home);
  BOOST_TEST(contains(at_home, "leave open_options::bpf_token_path empty"), at_home);
  auto const foreign = test::in_child([] {
    checked(unshare(CLONE_NEWUSER), "unshare");
    return load_with("/sys/fs/bpf");
  });
  BOOST_TEST(foreign.starts_with(std::to_string(EPERM) + ": "), foreign);
  BOOST_TEST(contains(foreign, "has to be of the user namespace of this process"), foreign);
}

BOOST_AUTO_TEST_SUITE_END()

#if LIBBPF_MAJOR_VERSION > 1 || (LIBBPF_MAJOR_VERSION == 1 && LIBBPF_MINOR_VERSION >= 4)

BOOST_AUTO_TEST_CASE(a_path_that_gives_no_token) {
  auto const missing = load_with("/there/is/nothing");
  BOOST_TEST(missing.starts_with(std::to_string(ENOENT) + ": "), missing);
  BOOST_TEST(contains(missing, "no BPF token from /there/is/nothing"), missing);
  auto const other = load_with("/proc");
  BOOST_TEST(other.starts_with(std::to_string(EINVAL) + ": "), other);
  BOOST_TEST(contains(other, "mount point of a bpffs"), other);
}

#else

BOOST_AUTO_TEST_CASE(needs_a_newer_libbpf) {
  auto const said = load_with("/sys/fs/bpf");
  BOOST_TEST(said.starts_with(std::to_string(static_cast<int>(errc::not_supported_by_libbpf)) + ": "), said);
  BOOST_TEST(contains(said, "/sys/fs/bpf"), said);
  BOOST_TEST(contains(said, libbpf_version_string()), said);
  BOOST_TEST(contains(said, "libbpf 1.4 or later"), said);
  BOOST_CHECK_THROW(static_cast<void>(object::open(CALLS_BPF_O, {.bpf_token_path = "/sys/fs/bpf"})), tinybpf::error);
}

BOOST_AUTO_TEST_CASE(none_is_the_default) { BOOST_TEST(load_with({}) == "loaded"); }

#endif
