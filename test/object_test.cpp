#include "calls.hpp"
#include "failing_allocation.hpp"
#include "support.hpp"

#include <tinybpf/object.hpp>

#include <boost/describe/class.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cstdint>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

using test::contains;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::object;

namespace {

// As in calls.bpf.c.
struct call_event {
  std::uint32_t pid;
  std::uint32_t uid;
  char comm[16];
};
BOOST_DESCRIBE_STRUCT(call_event, (), (pid, uid, comm))

struct short_event {
  std::uint32_t pid;
};

std::vector<std::string> const program_names{"on_getpgid", "on_raw_enter", "on_btf_enter", "on_tracepoint",
                                             "on_raw",     "on_nothing",   "on_packet"};

template <class Handles>
std::vector<std::string> names_of(Handles const& handles) {
  std::vector<std::string> names;
  for (auto const& h : handles) names.emplace_back(h.name());
  return names;
}

// Every call of a closed object.
void check_closed(object& obj) {
  BOOST_TEST(!obj.is_open());
  BOOST_TEST(!static_cast<bool>(obj));
  BOOST_TEST(!obj.is_loaded());
  BOOST_TEST(obj.name().empty());
  BOOST_TEST(obj.programs().empty());
  BOOST_TEST(obj.maps().empty());
  error_code ec;
  diagnostics details;
  obj.load(ec, details);
  BOOST_TEST(ec == make_error_code(errc::closed));
  BOOST_TEST(!obj.program("on_getpgid", ec, details).is_open());
  BOOST_TEST(ec == make_error_code(errc::closed));
  BOOST_TEST(contains(details.message, "on_getpgid"));
  BOOST_TEST(!obj.map("calls", ec, details).is_open());
  BOOST_TEST(ec == make_error_code(errc::closed));
  obj.register_type<call_event>("call_event", ec, details);
  BOOST_TEST(ec == make_error_code(errc::closed));
  obj.close();
  BOOST_TEST(!obj.is_open());
}

}  // namespace

BOOST_AUTO_TEST_SUITE(objects)

BOOST_AUTO_TEST_CASE(is_opened_and_then_loaded) {
  auto obj = object::open(CALLS_BPF_O);
  BOOST_TEST(obj.is_open());
  BOOST_TEST(static_cast<bool>(obj));
  BOOST_TEST(!obj.is_loaded());
  BOOST_TEST(obj.name() == "calls");
  BOOST_TEST(obj.map("calls").fd() == -1);
  BOOST_TEST(obj.program("on_getpgid").fd() == -1);

  obj.load();
  BOOST_TEST(obj.is_open());
  BOOST_TEST(obj.is_loaded());
  BOOST_TEST(obj.map("calls").fd() > 2);
  BOOST_TEST(obj.program("on_getpgid").fd() > 2);
}

BOOST_AUTO_TEST_CASE(is_loaded_in_one_step) {
  error_code ec = errc::closed;
  diagnostics details;
  details.message = "from before";
  auto const obj = tinybpf::load(CALLS_BPF_O, ec, details);
  BOOST_TEST(!ec);
  BOOST_TEST(details.empty());
  BOOST_TEST(obj.is_loaded());
  BOOST_TEST(tinybpf::load(CALLS_BPF_O).is_loaded());
  BOOST_TEST(tinybpf::load(CALLS_BPF_O, ec).is_loaded());
}

BOOST_AUTO_TEST_CASE(is_opened_from_memory_that_may_go) {
  object obj;
  {
    auto image = test::contents_of(CALLS_BPF_O);
    obj = object::open(image, "from_memory");
    std::fill(image.begin(), image.end(), std::byte{0xff});
  }
  BOOST_TEST(obj.name() == "from_memory");
  BOOST_TEST((names_of(obj.programs()) == program_names));
  obj.load();
  auto const calls = obj.map("calls");
  auto const link = obj.program("on_getpgid").attach();
  test::call(3);
  BOOST_TEST(test::seen(calls, test::counter::on_getpgid) == 3);
}

BOOST_AUTO_TEST_CASE(lists_its_programs_and_maps_in_the_files_order) {
  auto const obj = object::open(CALLS_BPF_O);
  BOOST_TEST((names_of(obj.programs()) == program_names));
  BOOST_TEST((names_of(obj.maps()) == std::vector<std::string>{"calls", "calls.bss"}));
  BOOST_TEST(object::open(MAP_KINDS_BPF_O).programs().empty());
}

BOOST_AUTO_TEST_CASE(finds_programs_and_maps_by_name) {
  auto const obj = object::open(CALLS_BPF_O);
  for (auto const& name : program_names) BOOST_TEST(obj.program(name).name() == name);
  BOOST_TEST(obj.map("calls").name() == "calls");
  // A name is compared as a whole, and need not end in a NUL.
  BOOST_TEST(obj.map(std::string_view{"calls.bss"}.substr(0, 5)).name() == "calls");
  error_code ec;
  BOOST_TEST(!obj.map("call", ec).is_open());
  BOOST_TEST(ec == make_error_code(errc::not_found));
}

BOOST_AUTO_TEST_CASE(lists_the_programs_there_are_when_one_is_missing) {
  auto const obj = object::open(CALLS_BPF_O);
  error_code ec;
  diagnostics details;
  auto const missing = obj.program("on_getpgd", ec, details);
  BOOST_TEST(!missing.is_open());
  BOOST_TEST(ec == make_error_code(errc::not_found));
  BOOST_TEST((details.names == program_names));
  BOOST_TEST(contains(details.message, "'on_getpgd'"));
  BOOST_TEST(contains(details.message, CALLS_BPF_O));
  BOOST_TEST(contains(details.hint, "did you mean 'on_getpgid'?"));
  for (auto const& name : program_names) BOOST_TEST(contains(details.hint, name));
  BOOST_CHECK_EXCEPTION(static_cast<void>(obj.program("on_getpgd")), tinybpf::error, [](auto const& e) {
    return e.code() == errc::not_found && contains(e.what(), "did you mean 'on_getpgid'?");
  });
}

BOOST_AUTO_TEST_CASE(suggests_nothing_where_no_name_is_near) {
  auto const obj = object::open(CALLS_BPF_O);
  error_code ec;
  diagnostics details;
  static_cast<void>(obj.map("completely_different", ec, details));
  BOOST_TEST(ec == make_error_code(errc::not_found));
  BOOST_TEST((details.names == std::vector<std::string>{"calls", "calls.bss"}));
  BOOST_TEST(!contains(details.hint, "did you mean"));
  BOOST_TEST(contains(details.hint, "calls, calls.bss"));

  static_cast<void>(object::open(MAP_KINDS_BPF_O).program("any", ec, details));
  BOOST_TEST(ec == make_error_code(errc::not_found));
  BOOST_TEST(details.names.empty());
  BOOST_TEST(details.hint == "it has none");
}

BOOST_AUTO_TEST_CASE(is_closed_from_the_start) {
  object obj;
  check_closed(obj);
  BOOST_CHECK_EXCEPTION(obj.load(), tinybpf::error, [](auto const& e) { return e.code() == errc::closed; });
}

BOOST_AUTO_TEST_CASE(moves_and_is_closed_when_moved_from) {
  static_assert(!std::is_copy_constructible_v<object> && !std::is_copy_assignable_v<object>);
  static_assert(std::is_nothrow_move_constructible_v<object> && std::is_nothrow_move_assignable_v<object>);
  auto first = tinybpf::load(CALLS_BPF_O);
  object second{std::move(first)};
  check_closed(first);
  BOOST_TEST(second.is_loaded());
  first = std::move(second);
  check_closed(second);
  BOOST_TEST(first.is_loaded());
  auto& same = first;
  first = std::move(same);
  BOOST_TEST(first.is_loaded());
  // What is assigned over is freed: the leak check knows.
  first = tinybpf::load(MAP_KINDS_BPF_O);
  BOOST_TEST(first.name() == "map_kinds");
}

BOOST_AUTO_TEST_CASE(is_loaded_once) {
  auto obj = tinybpf::load(CALLS_BPF_O);
  auto const fd = obj.map("calls").fd();
  error_code ec;
  diagnostics details;
  obj.load(ec, details);
  BOOST_TEST(ec == make_error_code(errc::already_loaded));
  BOOST_TEST(contains(details.message, CALLS_BPF_O));
  BOOST_TEST(obj.is_loaded());
  BOOST_TEST(obj.map("calls").fd() == fd);
}

BOOST_AUTO_TEST_CASE(is_not_loaded_again_after_a_failure) {
  auto obj = object::open(REFUSED_BPF_O);
  auto const shelf = obj.map("shelf");
  auto const harmless = obj.program("harmless");
  error_code ec;
  diagnostics details;
  obj.load(ec, details);
  BOOST_TEST(ec == test::kernel_error(EACCES));
  BOOST_TEST(obj.is_open());
  BOOST_TEST(!obj.is_loaded());

  obj.load(ec, details);
  BOOST_TEST(ec == make_error_code(errc::already_loaded));
  BOOST_TEST(contains(details.hint, "anew"));
  BOOST_TEST(!obj.is_loaded());
  BOOST_TEST(shelf.fd() == -1);
  BOOST_TEST(harmless.fd() == -1);
  std::uint64_t value = 0;
  BOOST_TEST(!shelf.lookup(test::bytes_of(std::uint32_t{0}), test::writable_bytes_of(value), ec, details));
  BOOST_TEST(ec == make_error_code(errc::not_loaded));
  BOOST_TEST(contains(details.hint, "anew"));
  BOOST_TEST(!harmless.attach(ec, details).attached());
  BOOST_TEST(ec == make_error_code(errc::not_loaded));
  obj.close();
  BOOST_TEST(!obj.is_open());
}

#ifdef TINYBPF_TEST_FAILING_ALLOCATION
BOOST_AUTO_TEST_CASE(has_loaded_or_failed_when_memory_ran_out) {
  int failures = 0;
  bool enough = false;
  for (int allowed = 0; allowed < 10'000 && !enough; ++allowed) {
    auto obj = object::open(CALLS_BPF_O);
    for (auto const& p : obj.programs()) p.set_log_level(1);
    error_code ec;
    diagnostics details;
    bool ran_out = false;
    try {
      test::failing_allocation const fails{allowed};
      obj.load(ec, details);
      enough = fails.is_still_to_come();
    } catch (std::bad_alloc const&) {
      ran_out = true;
      ++failures;
    }
    BOOST_TEST(obj.is_loaded() == !ran_out);
    obj.load(ec, details);
    BOOST_TEST(ec == make_error_code(errc::already_loaded));
  }
  BOOST_TEST(enough);
  BOOST_TEST(failures > 3);
}
#endif

BOOST_AUTO_TEST_CASE(closes_its_handles_and_keeps_its_links) {
  auto obj = tinybpf::load(CALLS_BPF_O);
  auto const map = obj.map("calls");
  auto const program = obj.program("on_getpgid");
  test::calls_descriptor const calls{map};
  auto link = program.attach();
  test::call();
  BOOST_TEST(calls.seen(test::counter::on_getpgid) == 1);

  obj.close();
  check_closed(obj);
  BOOST_TEST(!map.is_open());
  BOOST_TEST(map.fd() == -1);
  BOOST_TEST(map.name() == "calls");
  BOOST_TEST(!program.is_open());
  BOOST_TEST(program.fd() == -1);
  BOOST_TEST(program.name() == "on_getpgid");
  error_code ec;
  BOOST_TEST(!map.lookup(test::bytes_of(std::uint32_t{0}), ec).has_value());
  BOOST_TEST(ec == make_error_code(errc::closed));
  BOOST_TEST(!program.attach(ec).attached());
  BOOST_TEST(ec == make_error_code(errc::closed));

  BOOST_TEST(link.attached());
  test::call(2);
  BOOST_TEST(calls.seen(test::counter::on_getpgid) == 3);
  link.detach();
  test::call();
  BOOST_TEST(calls.seen(test::counter::on_getpgid) == 3);
}

BOOST_AUTO_TEST_CASE(leaves_its_handles_working_when_destroyed) {
  tinybpf::map calls;
  tinybpf::program program;
  {
    auto const obj = tinybpf::load(CALLS_BPF_O);
    calls = obj.map("calls");
    program = obj.program("on_getpgid");
  }
  BOOST_TEST(calls.is_open());
  BOOST_TEST(program.is_open());
  auto const link = program.attach();
  test::call(2);
  BOOST_TEST(test::seen(calls, test::counter::on_getpgid) == 2);
}

BOOST_AUTO_TEST_SUITE(types)

BOOST_AUTO_TEST_CASE(are_registered_by_struct_or_typedef_before_or_after_load) {
  auto obj = object::open(CALLS_BPF_O);
  obj.register_type<call_event>("call_event");
  obj.load();
  obj.register_type<std::uint64_t>("call_count");
  error_code ec = errc::closed;
  obj.register_type<call_event>("call_event", ec);  // again: nothing happens
  BOOST_TEST(!ec);
}

BOOST_AUTO_TEST_CASE(have_one_name_each) {
  auto obj = object::open(CALLS_BPF_O);
  obj.register_type<std::uint64_t>("call_count");
  error_code ec;
  diagnostics details;
  obj.register_type<std::uint64_t>("__u64", ec, details);
  BOOST_TEST(ec == make_error_code(errc::type_conflict));
  BOOST_TEST(contains(details.message, "'call_count'"));
  BOOST_TEST(contains(details.message, "'__u64'"));
  // Of the two the first stays.
  obj.register_type<std::uint64_t>("call_count", ec);
  BOOST_TEST(!ec);
}

BOOST_AUTO_TEST_CASE(of_another_size_are_refused_with_both_sizes) {
  auto obj = object::open(CALLS_BPF_O);
  error_code ec;
  diagnostics details;
  obj.register_type<short_event>("call_event", ec, details);
  BOOST_TEST(ec == make_error_code(errc::type_mismatch));
  BOOST_TEST(details.expected_size == sizeof(short_event));
  BOOST_TEST(details.actual_size == sizeof(call_event));
  for (auto const* const what : {"short_event", "'call_event'", " 4 bytes", " 24", CALLS_BPF_O})
    BOOST_TEST(contains(details.message, what), what << " is not in: " << details.message);
  BOOST_CHECK_EXCEPTION(obj.register_type<short_event>("call_event"), tinybpf::error,
                        [](auto const& e) { return e.code() == errc::type_mismatch; });
  // It was not remembered: the right one can follow.
  obj.register_type<call_event>("call_event", ec);
  BOOST_TEST(!ec);
}

BOOST_AUTO_TEST_CASE(that_do_not_exist_are_answered_with_near_names) {
  auto obj = object::open(CALLS_BPF_O);
  error_code ec;
  diagnostics details;
  obj.register_type<call_event>("cal_event", ec, details);
  BOOST_TEST(ec == make_error_code(errc::not_found));
  BOOST_TEST(contains(details.message, "'cal_event'"));
  BOOST_TEST(contains(details.hint, "did you mean 'call_event'?"));
  for (auto const* const name : {"call_event", "call_count"})
    BOOST_TEST((std::find(details.names.begin(), details.names.end(), name) != details.names.end()));
}

BOOST_AUTO_TEST_CASE(need_btf) {
  auto obj = tinybpf::load(NO_BTF_BPF_O);
  error_code ec;
  diagnostics details;
  obj.register_type<call_event>("call_event", ec, details);
  BOOST_TEST(ec == make_error_code(errc::no_btf));
  BOOST_TEST(contains(details.message, NO_BTF_BPF_O));
  BOOST_TEST(contains(details.hint, "-g"));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE_END()
