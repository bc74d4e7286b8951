// What links tell of themselves. Most are made with system calls of the test's own, so that each kind is here that the
// kernel has, whatever the library and libbpf can attach.
#include "calls.hpp"
#include "features.hpp"
#include "links.hpp"
#include "own_cgroup.hpp"
#include "support.hpp"

#include <tinybpf/btf.hpp>
#include <tinybpf/link.hpp>
#include <tinybpf/object.hpp>

#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <linux/netfilter.h>
#include <linux/perf_event.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <ios>
#include <sstream>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

using test::checked;
using test::descriptor;
using test::returning;
using tinybpf::attach_type;
using tinybpf::link_info;
using tinybpf::link_kind;
using tinybpf::program_type;

namespace {

// The first bytes of union bpf_attr for BPF_LINK_CREATE, of which the headers may know less.
struct link_create {
  std::uint32_t prog_fd = 0;
  std::uint32_t target = 0;  // a descriptor or an interface
  std::uint32_t type = 0;
  std::uint32_t flags = 0;
  std::array<std::uint64_t, 6> more{};
};

int create(link_create const& attributes) {
  return static_cast<int>(syscall(SYS_bpf, BPF_LINK_CREATE, &attributes, sizeof attributes));
}

int create(int prog_fd, unsigned target, attach_type type, std::array<std::uint64_t, 6> const& more = {}) {
  return create({static_cast<std::uint32_t>(prog_fd), target, static_cast<std::uint32_t>(type), 0, more});
}

descriptor program_of(program_type type, attach_type place, std::int32_t returns) {
  return returning(returns, static_cast<std::uint32_t>(type), static_cast<std::uint32_t>(place));
}

std::uint64_t address(void const* p) { return reinterpret_cast<std::uintptr_t>(p); }

std::uint32_t id_of_program(int fd) {
  bpf_prog_info info{};
  std::uint32_t size = sizeof info;
  checked(bpf_obj_get_info_by_fd(fd, &info, &size), "bpf_obj_get_info_by_fd");
  return info.id;
}

std::uint32_t id_of_map(int fd) {
  bpf_map_info info{};
  std::uint32_t size = sizeof info;
  checked(bpf_obj_get_info_by_fd(fd, &info, &size), "bpf_obj_get_info_by_fd");
  return info.id;
}

std::uint64_t inode_of(std::filesystem::path const& path) {
  struct stat found {};
  checked(stat(path.c_str(), &found), "stat");
  return found.st_ino;
}

bool kernel_knows(char const* type) { return tinybpf::btf::kernel().find(type).has_value(); }

/// What holds of every link, and the part that is of its kind.
template <class Detail>
Detail check(tinybpf::link const& l, link_kind kind, std::uint32_t program_id) {
  auto const info = l.info();
  BOOST_TEST((info.kind == kind), to_string(info.kind));
  BOOST_TEST((l.kind() == kind));
  BOOST_TEST(info.program_id == program_id);
  auto const ids = tinybpf::link_ids();
  BOOST_TEST(std::binary_search(ids.begin(), ids.end(), info.id));
  BOOST_REQUIRE(std::holds_alternative<Detail>(info.detail));
  return std::get<Detail>(info.detail);
}

template <class Detail>
Detail check(int link_fd, link_kind kind, int prog_fd) {
  descriptor const made{link_fd, "BPF_LINK_CREATE"};
  return check<Detail>(tinybpf::link::open_fd(made), kind, id_of_program(prog_fd));
}

unsigned lo() { return if_nametoindex("lo"); }

int make_tcx(int prog_fd) { return create(prog_fd, lo(), attach_type::tcx_ingress); }
descriptor tcx_program() { return program_of(program_type::sched_cls, attach_type::tcx_ingress, -1); }

int make_netfilter(int prog_fd) {
  // pf and hooknum, priority and flags
  return create(prog_fd, 0, attach_type::netfilter,
                {NFPROTO_IPV4 | std::uint64_t{NF_INET_LOCAL_IN} << 32U, std::uint32_t(-100)});
}
descriptor netfilter_program() { return program_of(program_type::netfilter, attach_type::netfilter, NF_ACCEPT); }

descriptor sockmap() { return {bpf_map_create(BPF_MAP_TYPE_SOCKMAP, "sockets", 4, 4, 1, nullptr), "BPF_MAP_CREATE"}; }
descriptor verdict_program() { return program_of(program_type::sk_skb, attach_type::sk_skb_verdict, 1); }

// Where in this program's file a function of it is.
std::uint64_t offset_of(void (*function)()) {
  auto const wanted = reinterpret_cast<std::uintptr_t>(function);
  std::ifstream maps{"/proc/self/maps"};
  for (std::string line; std::getline(maps, line);) {
    std::istringstream in{line};
    std::uintptr_t begin = 0;
    std::uintptr_t end = 0;
    std::uint64_t offset = 0;
    std::string access;
    char dash = 0;
    in >> std::hex >> begin >> dash >> end >> access >> offset;
    if (begin <= wanted && wanted < end) return wanted - begin + offset;
  }
  throw std::logic_error{"no such function"};
}

descriptor uprobe_multi_program() { return program_of(program_type::kprobe, attach_type::trace_uprobe_multi, 0); }

struct probes {
  std::array<std::uint64_t, 2> offsets{};
  std::array<std::uint64_t, 2> cookies{71, 72};
};

int make_uprobe_multi(int prog_fd, probes const& where) {
  return create(prog_fd, 0, attach_type::trace_uprobe_multi,
                {address("/proc/self/exe"), address(where.offsets.data()), 0, address(where.cookies.data()),
                 where.offsets.size(), static_cast<std::uint32_t>(getpid())});
}

int make_kprobe_multi(int prog_fd, std::vector<char const*> const& functions, __u64 const* cookies) {
  bpf_link_create_opts options{};
  options.sz = sizeof options;
  options.kprobe_multi.syms = const_cast<char const**>(functions.data());
  options.kprobe_multi.cnt = static_cast<std::uint32_t>(functions.size());
  options.kprobe_multi.cookies = cookies;
  return bpf_link_create(prog_fd, 0, BPF_TRACE_KPROBE_MULTI, &options);
}
descriptor kprobe_multi_program() { return program_of(program_type::kprobe, attach_type::trace_kprobe_multi, 0); }

// A program for the entry of a kernel's function.
descriptor traced_program() {
  std::array<bpf_insn, 2> code{};
  code[0].code = BPF_ALU64 | BPF_MOV | BPF_K;
  code[1].code = BPF_JMP | BPF_EXIT;
  bpf_prog_load_opts options{};
  options.sz = sizeof options;
  options.expected_attach_type = BPF_TRACE_FENTRY;
  options.attach_btf_id = tinybpf::btf::kernel().find("do_nanosleep").value().id();
  return {bpf_prog_load(BPF_PROG_TYPE_TRACING, "traced", "GPL", code.data(), code.size(), &options), "BPF_PROG_LOAD"};
}

}  // namespace

extern "C" void tinybpf_test_called();
extern "C" [[gnu::noinline]] void tinybpf_test_called() { asm volatile("nop"); }
extern "C" void tinybpf_test_also_called();
extern "C" [[gnu::noinline]] void tinybpf_test_also_called() { asm volatile("nop; nop"); }

namespace {

probes own_probes() {
  probes found{{offset_of(tinybpf_test_called), offset_of(tinybpf_test_also_called)}};
  std::sort(found.offsets.begin(), found.offsets.end());
  return found;
}

// The probes, which throw what the kernel says.
bool tcx_attaches() {
  descriptor const made{make_tcx(tcx_program()), "TCX"};
  return true;
}
bool netfilter_attaches() {
  descriptor const made{make_netfilter(netfilter_program()), "netfilter"};
  return true;
}
bool sockmap_links() {
  auto const map = sockmap();
  descriptor const made{create(verdict_program(), static_cast<unsigned>(int{map}), attach_type::sk_skb_verdict),
                        "a sockmap's link"};
  return true;
}
bool uprobe_multi_attaches() {
  descriptor const made{make_uprobe_multi(uprobe_multi_program(), own_probes()), "uprobe.multi"};
  return true;
}
bool kprobe_multi_attaches() {
  descriptor const made{make_kprobe_multi(kprobe_multi_program(), {"do_nanosleep"}, nullptr), "kprobe.multi"};
  return true;
}
bool fentry_loads() {
  traced_program();
  return true;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(link_infos)

BOOST_AUTO_TEST_CASE(name_raw_tracepoints) {
  auto const obj = tinybpf::load(CALLS_BPF_O);
  auto const check_name = [&](char const* program, link_kind kind) {
    auto const l = obj.program(program).attach();
    auto const tp = check<tinybpf::raw_tracepoint_info>(l, kind, obj.program(program).info().id);
    BOOST_TEST(tp.name == "sys_enter");
    BOOST_TEST(tp.cookie == 0);
  };
  check_name("on_raw_enter", link_kind::raw_tracepoint);
  check_name("on_btf_enter", link_kind::tracing);

  auto const l = obj.program("on_raw").attach_raw_tracepoint("sched_process_exec");
  BOOST_TEST(std::get<tinybpf::raw_tracepoint_info>(l.info().detail).name == "sched_process_exec");
  BOOST_TEST(std::get<tinybpf::raw_tracepoint_info>(tinybpf::link::open_fd(l.fd()).info().detail).name ==
             "sched_process_exec");
}

BOOST_AUTO_TEST_CASE(name_tracepoints) {
  auto const obj = tinybpf::load(CALLS_BPF_O);
  auto const l = obj.program("on_getpgid").attach();
  auto const event = check<tinybpf::perf_event_info>(l, link_kind::tracepoint, obj.program("on_getpgid").info().id);
  bool const told = kernel_knows("bpf_perf_event_type");
  BOOST_TEST((event.type == (told ? tinybpf::perf_event_type::tracepoint : tinybpf::perf_event_type::unspec)));
  BOOST_TEST(event.name == (told ? "sys_enter_getpgid" : ""));
  BOOST_TEST(event.offset == 0);
  BOOST_TEST((tinybpf::link::open_fd(l.fd()).kind() == (told ? link_kind::tracepoint : link_kind::perf_event)));
}

BOOST_AUTO_TEST_CASE(name_the_binaries_of_uprobes) {
  auto const obj = tinybpf::load(LINKS_BPF_O);
  auto const l = obj.program("on_call").attach();
  auto const event = check<tinybpf::perf_event_info>(l, link_kind::uprobe, obj.program("on_call").info().id);
  bool const told = kernel_knows("bpf_perf_event_type");
  BOOST_TEST((event.type == (told ? tinybpf::perf_event_type::uprobe : tinybpf::perf_event_type::unspec)));
  BOOST_TEST(event.name == (told ? "/proc/self/exe" : ""));
  BOOST_TEST(event.offset == (told ? offset_of(tinybpf_test_called) : 0));
  BOOST_TEST((tinybpf::link::open_fd(l.fd()).kind() == (told ? link_kind::uprobe : link_kind::perf_event)));
}

BOOST_AUTO_TEST_CASE(tell_which_event) {
  auto const p = program_of(program_type::perf_event, attach_type{}, 0);
  perf_event_attr attributes{};
  attributes.size = sizeof attributes;
  attributes.type = PERF_TYPE_SOFTWARE;
  attributes.config = PERF_COUNT_SW_PAGE_FAULTS;
  attributes.sample_period = 1'000'000'000;
  descriptor const event{
      static_cast<int>(syscall(SYS_perf_event_open, &attributes, getpid(), -1, -1, PERF_FLAG_FD_CLOEXEC)),
      "perf_event_open"};
  bpf_link_create_opts options{};
  options.sz = sizeof options;
  options.perf_event.bpf_cookie = 17;
  auto const told =
      check<tinybpf::perf_event_info>(bpf_link_create(p, event, BPF_PERF_EVENT, &options), link_kind::perf_event, p);
  if (kernel_knows("bpf_perf_event_type")) {
    BOOST_TEST((told.type == tinybpf::perf_event_type::event));
    BOOST_TEST(told.perf_type == PERF_TYPE_SOFTWARE);
    BOOST_TEST(told.config == PERF_COUNT_SW_PAGE_FAULTS);
    BOOST_TEST((told.cookie == 17 || told.cookie == 0));  // since 6.9
  } else {
    BOOST_TEST((told.type == tinybpf::perf_event_type::unspec));
  }
}

BOOST_AUTO_TEST_CASE(tell_which_cgroup) {
  test::own_cgroup const cgroup;
  auto const p = program_of(program_type::cgroup_sock, attach_type::cgroup_inet_sock_create, 1);
  auto const where = cgroup.fd();
  auto const told = check<tinybpf::cgroup_info>(
      create(p, static_cast<unsigned>(int{where}), attach_type::cgroup_inet_sock_create), link_kind::cgroup, p);
  BOOST_TEST(told.cgroup_id == cgroup.id());
  BOOST_TEST((told.attach_type == attach_type::cgroup_inet_sock_create));
}

BOOST_AUTO_TEST_CASE(tell_which_network_namespace) {
  auto const p = program_of(program_type::sk_lookup, attach_type::sk_lookup, 1);
  descriptor const here{open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), "open"};
  auto const told = check<tinybpf::netns_info>(create(p, static_cast<unsigned>(int{here}), attach_type::sk_lookup),
                                               link_kind::netns, p);
  BOOST_TEST(told.ino == inode_of("/proc/thread-self/ns/net"));
  BOOST_TEST((told.attach_type == attach_type::sk_lookup));
}

BOOST_AUTO_TEST_CASE(tell_which_interface) {
  auto const p = program_of(program_type::xdp, attach_type::xdp, 2);
  auto const told = check<tinybpf::xdp_info>(create(p, lo(), attach_type::xdp), link_kind::xdp, p);
  BOOST_TEST(told.ifindex == lo());
}

BOOST_AUTO_TEST_CASE(tell_what_is_walked) {
  auto const obj = tinybpf::load(LINKS_BPF_O);
  auto const target = [&](char const* program, bpf_iter_link_info* which) {
    bpf_link_create_opts options{};
    options.sz = sizeof options;
    options.iter_info = which;
    options.iter_info_len = which != nullptr ? sizeof *which : 0;
    auto const p = obj.program(program);
    return check<tinybpf::iter_info>(bpf_link_create(p.fd(), 0, BPF_TRACE_ITER, &options), link_kind::iter, p.fd());
  };
  auto told = target("walk_tasks", nullptr);
  BOOST_TEST(told.target_name == "task");
  BOOST_TEST(told.map_id + told.cgroup_id + told.order + told.tid + told.pid == 0);

  bpf_iter_link_info which{};
  which.task.pid = static_cast<std::uint32_t>(getpid());
  told = target("walk_tasks", &which);
  BOOST_TEST(told.target_name == "task");
  BOOST_TEST(told.pid == which.task.pid);
  BOOST_TEST(told.tid == 0);
  BOOST_TEST(told.map_id == 0);

  which = {};
  which.map.map_fd = static_cast<std::uint32_t>(obj.map("runs").fd());
  told = target("walk_elements", &which);
  BOOST_TEST(told.target_name == "bpf_map_elem");
  BOOST_TEST(told.map_id == id_of_map(obj.map("runs").fd()));
  BOOST_TEST(told.tid + told.pid == 0);
}

BOOST_AUTO_TEST_CASE(tell_which_interface_has_tcx, *test::feature_here("TCX link info", tcx_attaches)) {
  auto const p = tcx_program();
  auto const told = check<tinybpf::tcx_info>(make_tcx(p), link_kind::tcx, p);
  BOOST_TEST(told.ifindex == lo());
  BOOST_TEST((told.attach_type == attach_type::tcx_ingress));
}

BOOST_AUTO_TEST_CASE(tell_which_hook, *test::feature_here("netfilter link info", netfilter_attaches)) {
  auto const p = netfilter_program();
  auto const told = check<tinybpf::netfilter_info>(make_netfilter(p), link_kind::netfilter, p);
  BOOST_TEST(told.pf == NFPROTO_IPV4);
  BOOST_TEST(told.hooknum == NF_INET_LOCAL_IN);
  BOOST_TEST(told.priority == -100);
  BOOST_TEST(told.flags == 0);
}

BOOST_AUTO_TEST_CASE(tell_which_sockmap, *test::feature_here("sockmap link", sockmap_links)) {
  auto const p = verdict_program();
  auto const map = sockmap();
  auto const told = check<tinybpf::sockmap_info>(
      create(p, static_cast<unsigned>(int{map}), attach_type::sk_skb_verdict), link_kind::sockmap, p);
  BOOST_TEST(told.map_id == id_of_map(map));
  BOOST_TEST((told.attach_type == attach_type::sk_skb_verdict));
}

BOOST_AUTO_TEST_CASE(tell_which_places_of_a_binary,
                     *test::feature_here("uprobe.multi link info", uprobe_multi_attaches)) {
  auto const p = uprobe_multi_program();
  auto const where = own_probes();
  auto const told = check<tinybpf::uprobe_multi_info>(make_uprobe_multi(p, where), link_kind::uprobe_multi, p);
  BOOST_TEST(told.path == std::filesystem::read_symlink("/proc/self/exe").string());
  BOOST_TEST(told.offsets == where.offsets, boost::test_tools::per_element());
  BOOST_TEST(told.cookies == where.cookies, boost::test_tools::per_element());
  BOOST_TEST(told.ref_ctr_offsets == (std::vector<std::uint64_t>{0, 0}), boost::test_tools::per_element());
  BOOST_TEST(told.pid == static_cast<std::uint32_t>(getpid()));
  BOOST_TEST((told.flags & 1U) == 0);
}

BOOST_AUTO_TEST_CASE(tell_which_functions, *test::feature_here("kprobe.multi link info", kprobe_multi_attaches)) {
  auto const p = kprobe_multi_program();
  std::array<__u64, 2> const cookies{81, 82};
  auto const told = check<tinybpf::kprobe_multi_info>(
      make_kprobe_multi(p, {"do_nanosleep", "hrtimer_nanosleep"}, cookies.data()), link_kind::kprobe_multi, p);
  BOOST_TEST(told.count == 2);
  BOOST_TEST(told.flags == 0);
  BOOST_TEST(told.addrs.size() == 2);
  BOOST_TEST(std::count(told.addrs.begin(), told.addrs.end(), 0) == 0);
  BOOST_TEST(told.cookies.size() == 2);
  BOOST_TEST(told.cookies[0] + told.cookies[1] == 163);
}

BOOST_AUTO_TEST_CASE(tell_which_function_is_traced, *test::feature_here("fentry link info", fentry_loads)) {
  auto const p = traced_program();
  auto const told = check<tinybpf::tracing_info>(create(p, 0, attach_type::trace_fentry), link_kind::tracing, p);
  BOOST_TEST((told.attach_type == attach_type::trace_fentry));
  BOOST_TEST(told.target_btf_id == tinybpf::btf::kernel().find("do_nanosleep").value().id());
  BOOST_TEST(told.target_obj_id == 1);  // the kernel's own BTF is the first of all
}

BOOST_AUTO_TEST_SUITE_END()
