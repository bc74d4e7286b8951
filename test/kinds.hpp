// The user's side of bpf/kinds.bpf.c, and what the tests of views have in common.
#pragma once

#include "support.hpp"

#include <tinybpf/error.hpp>
#include <tinybpf/map.hpp>
#include <tinybpf/object.hpp>
#include <tinybpf/program.hpp>

#include <boost/test/unit_test.hpp>

#include <sched.h>

#include <bpf/bpf.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

namespace test {

/// What the programs of kinds.bpf.c give where they have found nothing.
inline constexpr std::uint32_t nothing = 0xffffffff;

struct kinds {
  tinybpf::object obj = tinybpf::load(KINDS_BPF_O);
  tinybpf::error_code ec;
  tinybpf::diagnostics details;

  /// Runs a program here and now, and gives what it returned.
  std::uint32_t run(char const* program, std::uint64_t first = 0, std::uint64_t second = 0) const {
    std::uint64_t const arguments[] = {first, second};
    bpf_test_run_opts options{};
    options.sz = sizeof options;
    options.ctx_in = arguments;
    options.ctx_size_in = sizeof arguments;
    checked(bpf_prog_test_run_opts(obj.program(program).fd(), &options), "bpf_prog_test_run_opts");
    return options.retval;
  }
};

/// The CPUs that this thread may run on.
inline std::vector<std::size_t> own_cpus() {
  cpu_set_t set;
  checked(sched_getaffinity(0, sizeof set, &set), "sched_getaffinity");
  std::vector<std::size_t> cpus;
  for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  return cpus;
}

/// While alive, this thread runs on that CPU.
class on_cpu {
 public:
  explicit on_cpu(std::size_t cpu) {
    checked(sched_getaffinity(0, sizeof before_, &before_), "sched_getaffinity");
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    checked(sched_setaffinity(0, sizeof set, &set), "sched_setaffinity");
  }
  on_cpu(on_cpu const&) = delete;
  on_cpu& operator=(on_cpu const&) = delete;
  ~on_cpu() { sched_setaffinity(0, sizeof before_, &before_); }

 private:
  cpu_set_t before_{};
};

/// A call in its three forms, of which each reports this error; gives the words of the last.
template <class Call>
tinybpf::diagnostics refused(tinybpf::error_code expected, Call call) {
  BOOST_CHECK_EXCEPTION(static_cast<void>(call()), tinybpf::error,
                        [&](tinybpf::error const& e) { return e.code() == expected; });
  tinybpf::error_code ec;
  static_cast<void>(call(ec));
  BOOST_TEST(ec == expected);
  ec.clear();
  tinybpf::diagnostics details;
  static_cast<void>(call(ec, details));
  BOOST_TEST(ec == expected);
  BOOST_TEST(!details.message.empty());
  return details;
}

/// A call in its three forms, none of which reports an error; an earlier one is cleared.
template <class Call>
void done(Call call) {
  static_cast<void>(call());
  tinybpf::error_code ec = tinybpf::errc::closed;
  static_cast<void>(call(ec));
  BOOST_TEST(!ec);
  ec = tinybpf::errc::closed;
  tinybpf::diagnostics details;
  details.message = "of an earlier call";
  static_cast<void>(call(ec, details));
  BOOST_TEST(!ec, details.to_string());
  BOOST_TEST(details.empty());
}

template <class View>
bool is_open(View const& view) {
  if constexpr (requires { view.untyped(); })
    return view.untyped().is_open();
  else
    return static_cast<bool>(view);
}

/// A view in the three forms of its constructor, of which each reports this error and is closed.
template <class View>
tinybpf::diagnostics view_refused(tinybpf::error_code expected, tinybpf::map const& m) {
  using tinybpf::field_names;
  BOOST_CHECK_EXCEPTION(View{m}, tinybpf::error, [&](tinybpf::error const& e) { return e.code() == expected; });
  tinybpf::error_code ec;
  BOOST_TEST(!is_open(View{m, ec}));
  BOOST_TEST(ec == expected);
  ec.clear();
  tinybpf::diagnostics details;
  if constexpr (requires { View{m, field_names::check, ec, details}; })
    BOOST_TEST(!is_open(View{m, field_names::check, ec, details}));
  else
    BOOST_TEST(!is_open(View{m, ec, details}));
  BOOST_TEST(ec == expected);
  if (m.is_open()) BOOST_TEST(details.map == m.name());
  return details;
}

/// Three forms of which each succeeds.
template <class View>
void view_made(tinybpf::map const& m) {
  using tinybpf::field_names;
  BOOST_TEST(is_open(View{m}));
  tinybpf::error_code ec = tinybpf::errc::closed;
  BOOST_TEST(is_open(View{m, ec}));
  BOOST_TEST(!ec);
  ec = tinybpf::errc::closed;
  tinybpf::diagnostics details;
  details.message = "of an earlier call";
  if constexpr (requires { View{m, field_names::check, ec, details}; })
    BOOST_TEST(is_open(View{m, field_names::check, ec, details}));
  else
    BOOST_TEST(is_open(View{m, ec, details}));
  BOOST_TEST(!ec);
  BOOST_TEST(details.message.empty());
}

/// Every way in which a view comes to have no map: `check(view, error)` is called for each.
template <class View, class Check>
void without_a_map(char const* name, Check check) {
  using tinybpf::errc;
  check(View{}, make_error_code(errc::closed));
  auto obj = tinybpf::object::open(KINDS_BPF_O);
  View view{obj.map(name)};
  check(view, make_error_code(errc::not_loaded));
  obj.load();
  View const moved{std::move(view)};
  check(view, make_error_code(errc::closed));  // NOLINT: what it does then is the question
  BOOST_TEST(moved.untyped().is_open());
  obj.close();
  check(moved, make_error_code(errc::closed));
  view_refused<View>(make_error_code(errc::closed), moved.untyped());
  view_refused<View>(make_error_code(errc::closed), {});
}

}  // namespace test
