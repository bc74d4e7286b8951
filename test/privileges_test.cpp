// What a user without the privileges, or a machine without tracefs, is told. Each case in a forked child.
#include "privileges.hpp"
#include "calls.hpp"
#include "support.hpp"

#include <tinybpf/features.hpp>
#include <tinybpf/object.hpp>

#include <boost/test/unit_test.hpp>

#include <sys/mount.h>

#include <filesystem>
#include <string>

using test::contains;
using tinybpf::diagnostics;
using tinybpf::error_code;
using tinybpf::map_type;
using tinybpf::object;
using tinybpf::program_type;

namespace {

std::string answer(error_code ec, diagnostics const& details) {
  return ec ? std::to_string(ec.value()) + ": " + details.to_string() : "no error";
}

// Opened as root: what is missing is the right to load.
std::string load_without(char const* file, std::initializer_list<unsigned> capabilities) {
  return test::in_child([&] {
    auto obj = object::open(file);
    test::become_nobody(capabilities);
    error_code ec;
    diagnostics details;
    obj.load(ec, details);
    return answer(ec, details);
  });
}

bool is_errno(std::string const& said, int err) { return said.starts_with(std::to_string(err) + ": "); }

}  // namespace

BOOST_AUTO_TEST_SUITE(without_privileges)

BOOST_AUTO_TEST_CASE(tracing_programs_are_told_both_capabilities) {
  auto const said = load_without(CALLS_BPF_O, {});
  BOOST_TEST(is_errno(said, EPERM), said);
  BOOST_TEST(contains(said, CALLS_BPF_O), said);
  BOOST_TEST(contains(said, "lacks CAP_BPF and CAP_PERFMON"), said);
}

BOOST_AUTO_TEST_CASE(maps_are_told_one_capability) {
  auto const said = load_without(MAP_KINDS_BPF_O, {});
  BOOST_TEST(is_errno(said, EPERM), said);
  BOOST_TEST(contains(said, "lacks CAP_BPF;"), said);
  BOOST_TEST(!contains(said, "CAP_PERFMON"), said);
}

BOOST_AUTO_TEST_CASE(only_what_is_missing_is_named_as_missing) {
  auto const said = load_without(CALLS_BPF_O, {CAP_BPF});
  BOOST_TEST(is_errno(said, EPERM), said);
  BOOST_TEST(contains(said, "needs CAP_BPF and CAP_PERFMON"), said);
  BOOST_TEST(contains(said, "lacks CAP_PERFMON;"), said);
}

BOOST_AUTO_TEST_CASE(what_is_named_is_enough) {
  BOOST_TEST(load_without(MAP_KINDS_BPF_O, {CAP_BPF}) == "no error");
  BOOST_TEST(load_without(CALLS_BPF_O, {CAP_BPF, CAP_PERFMON}) == "no error");
}

BOOST_AUTO_TEST_CASE(a_file_that_may_not_be_read) {
  auto const said = test::in_child([] {
    test::scratch_file file;
    test::checked(fchmod(file.fd(), 0), "fchmod");
    auto const path = "/proc/self/fd/" + std::to_string(file.fd());
    test::become_nobody();
    error_code ec;
    diagnostics details;
    static_cast<void>(object::open(path, ec, details));
    return answer(ec, details);
  });
  BOOST_TEST(is_errno(said, EACCES), said);
  BOOST_TEST(contains(said, "/proc/self/fd/"), said);
}

BOOST_AUTO_TEST_CASE(a_tracepoint_needs_to_read_tracefs) {
  auto const said = test::in_child([] {
    auto const obj = tinybpf::load(CALLS_BPF_O);
    test::become_nobody({CAP_BPF, CAP_PERFMON});
    error_code ec;
    diagnostics details;
    auto const link = obj.program("on_getpgid").attach(ec, details);
    return answer(ec, details);
  });
  BOOST_TEST(is_errno(said, EACCES), said);
  BOOST_TEST(contains(said, "'on_getpgid'"), said);
  BOOST_TEST(contains(said, "CAP_DAC_READ_SEARCH"), said);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(without_tracefs)

BOOST_AUTO_TEST_CASE(a_tracepoint_is_told_how_to_mount_it) {
  auto const said = test::in_child([] {
    test::mounts_of_its_own();
    for (auto const* const place : {"/sys/kernel/tracing", "/sys/kernel/debug"})
      if (std::filesystem::is_directory(place))
        test::checked(mount("tmpfs", place, "tmpfs", 0, nullptr), "mount of an empty tmpfs");
    auto const obj = tinybpf::load(CALLS_BPF_O);
    error_code ec;
    diagnostics details;
    auto const link = obj.program("on_getpgid").attach(ec, details);
    return answer(ec, details);
  });
  BOOST_TEST(is_errno(said, ENOENT), said);
  BOOST_TEST(contains(said, "syscalls/sys_enter_getpgid"), said);
  BOOST_TEST(contains(said, "mount -t tracefs tracefs /sys/kernel/tracing"), said);
}

BOOST_AUTO_TEST_CASE(other_places_do_not_need_it) {
  auto const said = test::in_child([] {
    test::mounts_of_its_own();
    test::checked(mount("tmpfs", "/sys/kernel/tracing", "tmpfs", 0, nullptr), "mount of an empty tmpfs");
    auto const obj = tinybpf::load(CALLS_BPF_O);
    auto const link = obj.program("on_raw_enter").attach();
    test::call(2);
    return std::to_string(test::seen(obj.map("calls"), test::counter::on_raw_enter));
  });
  BOOST_TEST(said == "2");
}

BOOST_AUTO_TEST_SUITE_END()

// Not in supports_test.cpp: what this process has found once, its children know.
BOOST_AUTO_TEST_SUITE(without_the_kernels_types)

template <class Type>
std::string asked(Type type, char const* place, char const* options) {
  return test::in_child([&] {
    test::mounts_of_its_own();
    test::checked(mount("tmpfs", place, "tmpfs", 0, options), "mount of an empty tmpfs");
    test::become_nobody({CAP_BPF, CAP_PERFMON});
    error_code ec;
    diagnostics details;
    bool const yes = supports(type, ec, details);
    return ec ? answer(ec, details) : yes ? "yes" : "no: " + details.message;
  });
}

BOOST_AUTO_TEST_CASE(it_is_not_known_what_needs_them) {
  for (auto const& said : {asked(program_type::tracing, "/sys", ""), asked(map_type::struct_ops, "/sys", "")}) {
    BOOST_TEST(is_errno(said, ENOENT), said);
    BOOST_TEST(contains(said, "cannot tell whether"), said);
    BOOST_TEST(contains(said, "/sys/kernel/btf/vmlinux"), said);
  }
  auto const hidden = asked(program_type::tracing, "/sys/kernel/btf", "mode=700");
  BOOST_TEST(is_errno(hidden, EACCES), hidden);
  BOOST_TEST(asked(program_type::socket_filter, "/sys", "") == "yes");
}

// As of a kernel that was built without.
BOOST_AUTO_TEST_CASE(there_are_none_where_sysfs_has_none) {
  auto const said = test::in_child([] {
    test::mounts_of_its_own();
    test::checked(mount("tmpfs", "/sys/kernel/btf", "tmpfs", 0, ""), "mount of an empty tmpfs");
    error_code ec;
    diagnostics details;
    bool const yes = supports(program_type::tracing, ec, details);
    return ec ? answer(ec, details) : yes ? "yes" : details.message;
  });
  BOOST_TEST(contains(said, "does not support programs of type tracing: it has no types"), said);
}

BOOST_AUTO_TEST_SUITE_END()
