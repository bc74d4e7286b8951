#include "calls.hpp"
#include "features.hpp"
#include "forms.hpp"
#include "links.hpp"
#include "privileges.hpp"
#include "scratch_folder.hpp"
#include "support.hpp"

#include <tinybpf/link.hpp>
#include <tinybpf/object.hpp>

#include <boost/test/unit_test.hpp>

#include <sys/resource.h>
#include <sys/sdt.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include <algorithm>
#include <array>
#include <functional>
#include <future>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

using test::contains;
using test::counter;
using test::kernel_error;
using test::ran;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::link_kind;

namespace {

// An object with a raw tracepoint, of which attaching and detaching are quick.
struct attached_program {
  tinybpf::object obj = tinybpf::load(CALLS_BPF_O);
  test::calls_descriptor calls{obj.map("calls")};
  tinybpf::link attached = obj.program("on_raw_enter").attach();

  // How many of two calls the program sees.
  std::uint64_t sees_of_two() const {
    auto const before = calls.seen(counter::on_raw_enter);
    test::call(2);
    return calls.seen(counter::on_raw_enter) - before;
  }
};

void check_empty(tinybpf::link& l) {
  BOOST_TEST(!l.attached());
  BOOST_TEST(!static_cast<bool>(l));
  BOOST_TEST((l.kind() == link_kind::none));
  BOOST_TEST(l.size() == 0);
  error_code ec;
  diagnostics details;
  BOOST_TEST(l.fd(ec, details) == -1);
  BOOST_TEST(ec == make_error_code(errc::closed));
  BOOST_TEST(!details.message.empty());
  BOOST_CHECK_THROW(static_cast<void>(l.fd()), tinybpf::error);
  tinybpf::program const none;
  test::refusal(errc::closed, [&](auto&... out) { return l.pin("/sys/fs/bpf/pin", out...), 0; });
  test::refusal(errc::closed, [&](auto&... out) { return l.unpin(out...), 0; });
  test::refusal(errc::closed, [&](auto&... out) { return l.update_program(none, out...), 0; });
  test::refusal(errc::closed, [&](auto&... out) { return l.update_program(none, none, out...), 0; });
  test::refusal(errc::closed, [&](auto&... out) { return l.info(out...).id; });
  test::refusal(errc::closed, [&](auto&... out) { return l.release(out...); });
  BOOST_TEST(!l.is_pinned());
  BOOST_TEST(l.pin_path() == "");
  l.detach(ec, details);
  BOOST_TEST(!ec);
  BOOST_TEST(details.empty());
  l.detach();
}

void mark(int n) {
  for (int i = 0; i < n; ++i) DTRACE_PROBE1(tinybpf_test, mark, 42);
}

// An object with a USDT probe of this very program.
struct marked_program {
  tinybpf::object obj = tinybpf::load(LINKS_BPF_O);
  test::runs_descriptor runs{obj.map("runs")};
  tinybpf::link attached = obj.program("on_mark").attach();

  std::uint64_t sees_of_two() const {
    auto const before = runs.of(ran::on_mark);
    mark(2);
    return runs.of(ran::on_mark) - before;
  }
};

/// Until its end this process gets no new descriptor.
class exhausted_table {
 public:
  exhausted_table() {
    test::checked(getrlimit(RLIMIT_NOFILE, &before_), "getrlimit");
    int const next = test::checked(dup(STDIN_FILENO), "dup");
    close(next);
    set(static_cast<rlim_t>(next));
  }
  exhausted_table(exhausted_table const&) = delete;
  exhausted_table& operator=(exhausted_table const&) = delete;
  ~exhausted_table() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  void set(rlim_t most) const {
    auto lower = before_;
    lower.rlim_cur = most;
    test::checked(setrlimit(RLIMIT_NOFILE, &lower), "setrlimit");
  }

  rlimit before_{};
};

using attach_call = std::function<tinybpf::link()>;

// What several threads do with one object at once: in each, links come and go, and one stays.
std::vector<tinybpf::link> attached_by_threads(std::vector<attach_call> const& attaches, int rounds) {
  std::vector<std::future<tinybpf::link>> results;
  results.reserve(attaches.size());
  for (auto const& attach : attaches)
    results.push_back(std::async(std::launch::async, [&attach, rounds] {
      for (int round = 0; round < rounds; ++round) {
        auto l = attach();
        if (round % 2 == 0) l.detach();  // and else by its destructor
      }
      return attach();
    }));
  std::vector<tinybpf::link> links;
  links.reserve(results.size());
  for (auto& r : results) links.push_back(r.get());
  return links;
}

}  // namespace

extern "C" void tinybpf_test_called();
extern "C" [[gnu::noinline]] void tinybpf_test_called() { asm volatile(""); }

BOOST_AUTO_TEST_SUITE(links)

BOOST_AUTO_TEST_CASE(are_empty_from_the_start) {
  tinybpf::link l;
  check_empty(l);
}

BOOST_FIXTURE_TEST_CASE(tell_what_they_hold, attached_program) {
  BOOST_TEST(attached.attached());
  BOOST_TEST(static_cast<bool>(attached));
  BOOST_TEST((attached.kind() == link_kind::raw_tracepoint));
  BOOST_TEST(attached.size() == 1);

  bpf_link_info info{};
  std::uint32_t size = sizeof info;
  BOOST_REQUIRE(bpf_obj_get_info_by_fd(attached.fd(), &info, &size) == 0);
  BOOST_TEST(info.prog_id == obj.program("on_raw_enter").info().id);

  auto const tracepoint = obj.program("on_getpgid").attach();
  BOOST_TEST((tracepoint.kind() == link_kind::tracepoint));
  BOOST_TEST(tracepoint.fd() > 2);
  BOOST_TEST(tracepoint.fd() != attached.fd());
}

BOOST_FIXTURE_TEST_CASE(deliver_until_they_are_destroyed, attached_program) {
  BOOST_TEST(sees_of_two() == 2);
  {
    auto const gone = std::move(attached);
    BOOST_TEST(sees_of_two() == 2);
  }
  BOOST_TEST(sees_of_two() == 0);
}

BOOST_FIXTURE_TEST_CASE(deliver_until_they_are_detached, attached_program) {
  BOOST_TEST(sees_of_two() == 2);
  error_code ec = errc::closed;
  attached.detach(ec);
  BOOST_TEST(!ec);
  BOOST_TEST(sees_of_two() == 0);
  check_empty(attached);
}

BOOST_FIXTURE_TEST_CASE(can_be_made_again, attached_program) {
  attached.detach();
  BOOST_TEST(sees_of_two() == 0);
  attached = obj.program("on_raw_enter").attach();
  BOOST_TEST(sees_of_two() == 2);
}

BOOST_FIXTURE_TEST_CASE(move_without_a_gap, attached_program) {
  static_assert(!std::is_copy_constructible_v<tinybpf::link> && !std::is_copy_assignable_v<tinybpf::link>);
  static_assert(std::is_nothrow_move_constructible_v<tinybpf::link> &&
                std::is_nothrow_move_assignable_v<tinybpf::link>);
  auto const fd = attached.fd();
  auto second = std::move(attached);
  check_empty(attached);
  BOOST_TEST(second.fd() == fd);
  BOOST_TEST(sees_of_two() == 2);

  auto& same = second;
  second = std::move(same);
  BOOST_TEST(second.fd() == fd);
  BOOST_TEST(sees_of_two() == 2);
}

BOOST_FIXTURE_TEST_CASE(detach_what_they_are_assigned_over, attached_program) {
  attached = obj.program("on_raw").attach_raw_tracepoint("sys_enter");
  BOOST_TEST(sees_of_two() == 0);
  BOOST_TEST(calls.seen(counter::on_raw) == 2);
}

BOOST_FIXTURE_TEST_CASE(are_independent_of_each_other, attached_program,
                        *test::feature_here("raw_tracepoint twice by one program",
                                            test::raw_tracepoint_twice(CALLS_BPF_O))) {
  auto other = obj.program("on_raw_enter").attach();
  BOOST_TEST(sees_of_two() == 4);
  other.detach();
  BOOST_TEST(sees_of_two() == 2);
}

BOOST_FIXTURE_TEST_CASE(outlive_an_object_that_is_closed, attached_program) {
  obj.close();
  BOOST_TEST(attached.attached());
  BOOST_TEST(attached.fd() > 2);
  BOOST_TEST(sees_of_two() == 2);
  attached.detach();
  BOOST_TEST(sees_of_two() == 0);
}

BOOST_FIXTURE_TEST_CASE(outlive_an_object_that_is_destroyed, attached_program) {
  auto tracepoint = obj.program("on_getpgid").attach();
  obj = {};
  BOOST_TEST(attached.attached());
  BOOST_TEST(sees_of_two() == 2);
  BOOST_TEST(calls.seen(counter::on_getpgid) == 2);
  tracepoint.detach();
  BOOST_TEST(sees_of_two() == 2);
  BOOST_TEST(calls.seen(counter::on_getpgid) == 2);
}

BOOST_FIXTURE_TEST_CASE(outlive_an_object_that_is_closed_and_destroyed, attached_program) {
  obj.close();
  obj = {};
  BOOST_TEST(sees_of_two() == 2);
  error_code ec = errc::closed;
  diagnostics details;
  attached.detach(ec, details);
  BOOST_TEST(!ec);
  BOOST_TEST(details.empty());
  BOOST_TEST(sees_of_two() == 0);
}

BOOST_FIXTURE_TEST_CASE(are_opened_by_their_number, attached_program) {
  auto const id = attached.info().id;
  auto const ids = tinybpf::link_ids();
  BOOST_TEST(std::is_sorted(ids.begin(), ids.end()));
  BOOST_TEST(std::count(ids.begin(), ids.end(), id) == 1);
  {
    auto const again = tinybpf::link::open_by_id(id);
    BOOST_TEST((again.kind() == link_kind::raw_tracepoint));
    BOOST_TEST(again.size() == 1);
    BOOST_TEST(again.fd() != attached.fd());
    BOOST_TEST(again.info().id == id);
    BOOST_TEST(!again.is_pinned());
    BOOST_TEST(sees_of_two() == 2);
  }
  BOOST_TEST(sees_of_two() == 2);
  auto last = tinybpf::link::open_by_id(id);
  attached = {};
  BOOST_TEST(sees_of_two() == 2);
  last = {};
  BOOST_TEST(sees_of_two() == 0);
  auto const details =
      test::refusal(kernel_error(ENOENT), [&](auto&... out) { return tinybpf::link::open_by_id(id, out...); });
  BOOST_TEST(contains(details.message, std::to_string(id)));
  test::refusal(kernel_error(ENOENT), [](auto&... out) { return tinybpf::link::open_by_id(0xffffffff, out...); });
  error_code ec = errc::closed;
  auto const later = tinybpf::link_ids(ec);
  BOOST_TEST(!ec);
  BOOST_TEST(std::count(later.begin(), later.end(), id) == 0);
}

BOOST_FIXTURE_TEST_CASE(are_opened_by_a_descriptor, attached_program) {
  auto again = tinybpf::link::open_fd(attached.fd());
  BOOST_TEST(again.fd() != attached.fd());
  BOOST_TEST(again.info().id == attached.info().id);
  attached = {};
  BOOST_TEST(sees_of_two() == 2);
  again.detach();
  BOOST_TEST(sees_of_two() == 0);

  test::refusal(kernel_error(EBADF), [](auto&... out) { return tinybpf::link::open_fd(-1, out...); });
  auto details = test::refusal(kernel_error(EINVAL), [](auto&... out) { return tinybpf::link::open_fd(0, out...); });
  BOOST_TEST(contains(details.message, "no link"));
  details = test::refusal(kernel_error(EINVAL),
                          [&](auto&... out) { return tinybpf::link::open_fd(obj.map("calls").fd(), out...); });
  BOOST_TEST(contains(details.message, "it is a map"));
}

BOOST_FIXTURE_TEST_CASE(say_who_else_keeps_them_attached, attached_program) {
  auto again = tinybpf::link::open_fd(attached.fd());
  error_code ec;
  diagnostics details;
  again.detach(ec, details);
  BOOST_TEST(ec == kernel_error(EBUSY));
  BOOST_TEST(contains(details.hint, "another descriptor or pin"));
  check_empty(again);
  BOOST_TEST(sees_of_two() == 2);
  attached.detach();
  BOOST_TEST(sees_of_two() == 0);
}

BOOST_AUTO_TEST_CASE(are_listed_for_those_who_may) {
  auto const said = test::in_child([]() -> std::string {
    test::become_nobody();
    error_code ec;
    diagnostics details;
    if (!tinybpf::link_ids(ec, details).empty() || ec != kernel_error(EPERM)) return "link_ids: " + ec.message();
    if (!contains(details.hint, "CAP_SYS_ADMIN")) return details.to_string();
    if (tinybpf::link::open_by_id(1, ec, details) || ec != kernel_error(EPERM)) return "open_by_id: " + ec.message();
    if (!contains(details.hint, "CAP_SYS_ADMIN")) return details.to_string();
    try {
      static_cast<void>(tinybpf::link_ids());
    } catch (tinybpf::error const& e) {
      return e.code() == kernel_error(EPERM) ? "refused" : e.what();
    }
    return "listed";
  });
  BOOST_TEST(said == "refused");
}

BOOST_FIXTURE_TEST_CASE(can_be_left_attached, attached_program, *test::shows("link outlives its handle")) {
  BOOST_TEST(sees_of_two() == 2);
  auto const id = attached.info().id;
  int fd = attached.release();
  BOOST_TEST(fd > 2);
  check_empty(attached);
  BOOST_TEST(sees_of_two() == 2);
  {
    auto again = tinybpf::link::open_fd(fd);
    close(fd);
    BOOST_TEST(again.info().id == id);
    BOOST_TEST(sees_of_two() == 2);
    error_code ec = errc::closed;
    fd = again.release(ec);
    BOOST_TEST(!ec);
  }
  BOOST_TEST(sees_of_two() == 2);
  obj = {};
  BOOST_TEST(sees_of_two() == 2);
  close(fd);
  BOOST_TEST(sees_of_two() == 0);
}

BOOST_AUTO_TEST_CASE(are_left_attached_whatever_holds_them) {
  auto const obj = tinybpf::load(CALLS_BPF_O);
  test::calls_descriptor const calls{obj.map("calls")};
  auto const check = [&](char const* program, counter which) {
    auto l = obj.program(program).attach();
    error_code ec;
    diagnostics details;
    int const fd = l.release(ec, details);
    BOOST_TEST(!ec, details.to_string());
    BOOST_TEST(!l.attached());
    auto before = calls.seen(which);
    test::call(2);
    BOOST_TEST(calls.seen(which) == before + 2);
    before += 2;
    close(fd);
    test::call(2);
    BOOST_TEST(calls.seen(which) == before);
  };
  check("on_getpgid", counter::on_getpgid);
  check("on_btf_enter", counter::on_btf_enter);

  auto const probes = tinybpf::load(LINKS_BPF_O);
  test::runs_descriptor const runs{probes.map("runs")};
  int const fd = probes.program("on_call").attach().release();
  tinybpf_test_called();
  BOOST_TEST(runs.of(ran::on_call) == 1);
  close(fd);
  tinybpf_test_called();
  BOOST_TEST(runs.of(ran::on_call) == 1);
}

BOOST_FIXTURE_TEST_CASE(work_on_when_there_are_no_descriptors_left, attached_program) {
  test::scratch_folder const folder{test::bpffs};
  auto pinned = obj.program("on_btf_enter").attach();
  pinned.pin(folder / "pinned");
  auto const id = attached.info().id;
  bool refused = false;
  {
    // Nothing is checked in here: the checks may want a descriptor themselves.
    exhausted_table const none;
    error_code ec;
    auto const fails = [&] { return std::exchange(ec, {}) == kernel_error(EMFILE); };
    static_cast<void>(tinybpf::link::open_by_id(id, ec));
    refused = fails();
    static_cast<void>(tinybpf::link::open_fd(attached.fd(), ec));
    refused = fails() && refused;
    static_cast<void>(tinybpf::link::open_pinned(folder / "pinned", ec));
    refused = fails() && refused;
    static_cast<void>(obj.program("on_raw_enter").attach(ec));
    refused = fails() && refused;
    attached.release(ec);
    refused = fails() && refused && attached.attached();
    attached.pin(folder / "pin");
    attached.unpin();
    refused = refused && attached.info().id == id && !tinybpf::link_ids().empty();
    pinned.detach();
  }
  BOOST_TEST(refused);
  BOOST_TEST(sees_of_two() == 2);
  attached.detach();
  BOOST_TEST(sees_of_two() == 0);
}

BOOST_FIXTURE_TEST_CASE(come_and_go_in_several_threads, attached_program) {
  attached.detach();
  auto const by_section = [&](char const* name) { return [p = obj.program(name)] { return p.attach(); }; };
  auto links = attached_by_threads({by_section("on_getpgid"), by_section("on_raw_enter"), by_section("on_btf_enter"),
                                    [p = obj.program("on_raw")] { return p.attach_raw_tracepoint("sys_enter"); }},
                                   8);
  for (int round = 0; round < 2; ++round) {
    std::vector<std::uint64_t> before;
    std::vector<std::uint64_t> seen;
    constexpr std::array each{counter::on_getpgid, counter::on_raw_enter, counter::on_btf_enter, counter::on_raw};
    for (auto const c : each) before.push_back(calls.seen(c));
    test::call(2);
    for (std::size_t i = 0; i < each.size(); ++i) seen.push_back(calls.seen(each[i]) - before[i]);
    BOOST_TEST(seen == std::vector<std::uint64_t>(each.size(), links.empty() ? 0 : 2),
               boost::test_tools::per_element());
    links.clear();
  }
}

BOOST_FIXTURE_TEST_CASE(come_and_go_quickly_in_several_threads, attached_program,
                        *test::feature_here("raw_tracepoint twice by one program",
                                            test::raw_tracepoint_twice(CALLS_BPF_O))) {
  attached.detach();
  attach_call const attach = [p = obj.program("on_raw_enter")] { return p.attach(); };
  auto links = attached_by_threads(std::vector<attach_call>(4, attach), 50);
  BOOST_TEST(sees_of_two() == 8);
  links.clear();
  BOOST_TEST(sees_of_two() == 0);
}

BOOST_FIXTURE_TEST_CASE(of_usdt_come_and_go_in_several_threads, marked_program) {
  attach_call const attach = [p = obj.program("on_mark")] { return p.attach(); };
  auto links = attached_by_threads(std::vector<attach_call>(4, attach), 5);
  BOOST_TEST(sees_of_two() == 10);
  links.clear();
  BOOST_TEST(sees_of_two() == 2);
  attached.detach();
  BOOST_TEST(sees_of_two() == 0);
}

BOOST_FIXTURE_TEST_CASE(of_usdt_outlive_an_object_that_is_destroyed, marked_program) {
  BOOST_TEST(sees_of_two() == 2);
  auto second = obj.program("on_mark").attach();
  BOOST_TEST(sees_of_two() == 4);
  obj = {};
  BOOST_TEST(sees_of_two() == 4);
  second.detach();
  BOOST_TEST(sees_of_two() == 2);
  attached = {};
  BOOST_TEST(sees_of_two() == 0);
}

BOOST_FIXTURE_TEST_CASE(of_usdt_outlive_an_object_that_is_closed, marked_program) {
  obj.close();
  BOOST_TEST(sees_of_two() == 2);
  obj = tinybpf::load(LINKS_BPF_O);
  BOOST_TEST(sees_of_two() == 2);
  attached.detach();
  BOOST_TEST(sees_of_two() == 0);
}

BOOST_FIXTURE_TEST_CASE(that_are_no_bpf_link_say_so, marked_program) {
  BOOST_TEST((attached.kind() == link_kind::usdt));
  BOOST_TEST(attached.size() == 1);
  auto const refused = [&](auto call) {
    BOOST_TEST(contains(test::refusal(errc::not_supported, call).message, "kind usdt"));
  };
  auto const next = obj.program("on_mark");
  refused([&](auto&... out) { return attached.fd(out...); });
  refused([&](auto&... out) { return attached.pin("/sys/fs/bpf/pin", out...), 0; });
  refused([&](auto&... out) { return attached.update_program(next, out...), 0; });
  refused([&](auto&... out) { return attached.info(out...).id; });
  refused([&](auto&... out) { return attached.release(out...); });
  test::refusal(errc::not_found, [&](auto&... out) { return attached.unpin(out...), 0; });
  BOOST_TEST(attached.attached());
  BOOST_TEST(sees_of_two() == 2);
}

BOOST_AUTO_TEST_SUITE_END()
