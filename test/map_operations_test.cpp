// Every operation on every kind of map that the kernel has, held against tables of what is to come of it.
//
// A new operation is a line in a list of operations, and a word in each row of the table that follows it. A new kind is
// a line in `kinds`, and in each table.
#include "descriptor.hpp"
#include "own_cgroup.hpp"
#include "scratch_folder.hpp"
#include "support.hpp"

#include <tinybpf/dynamic_map.hpp>
#include <tinybpf/map.hpp>
#include <tinybpf/object.hpp>
#include <tinybpf/program.hpp>
#include <tinybpf/queue_map.hpp>
#include <tinybpf/typed_map.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/describe/class.hpp>
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <filesystem>
#include <iterator>
#include <optional>
#include <ostream>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

using test::checked;
using test::contains;
using test::descriptor;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::map_type;
using tinybpf::update_flag;

// The linker sends every call of bpf_object__load here (--wrap), and this name to the real one.
extern "C" int __real_bpf_object__load(bpf_object* obj);
extern "C" int __wrap_bpf_object__load(bpf_object* obj);

namespace map_operations_test {

namespace ut = boost::unit_test;

// As in every_kind.bpf.c.
struct prefix {
  std::uint32_t length;
  std::uint32_t address;
};
BOOST_DESCRIBE_STRUCT(prefix, (), (length, address))

struct cgroup_storage_key {
  std::uint64_t cgroup_inode_id;
  std::uint32_t attach_type;
};
BOOST_DESCRIBE_STRUCT(cgroup_storage_key, (), (cgroup_inode_id, attach_type))

// The maps and programs of the object that are wanted: a kernel that lacks a kind can still make the others.
std::set<std::string_view> wanted;  // NOLINT: __wrap_bpf_object__load has no other way to know

// ---- What comes of an operation ----

/// An errno, a condition of the library, `ok`, or `none`: no error, but no entry either.
class outcome {
 public:
  constexpr outcome(int err) : value_{err} {}                                  // NOLINT: the tables are made of these
  constexpr outcome(errc e) : value_{library_errors + static_cast<int>(e)} {}  // NOLINT
  outcome(error_code ec, bool there) : value_{there ? 0 : -1} {
    if (ec) value_ = ec.category() == tinybpf::tinybpf_category() ? library_errors + ec.value() : ec.value();
  }

  /// Kernels differ.
  static constexpr outcome either(outcome one, outcome other) {
    one.other_ = other.value_;
    return one;
  }
  [[nodiscard]] constexpr bool allows(outcome found) const { return found.value_ == value_ || found.value_ == other_; }

  friend std::ostream& operator<<(std::ostream& out, outcome const& o) {
    print(out, o.value_);
    if (o.other_ != no_other) print(out << " or ", o.other_);
    return out;
  }

 private:
  static constexpr int library_errors = 10000;
  static constexpr int no_other = -2;

  static void print(std::ostream& out, int value) {
    auto const* const name = value > 0 ? strerrorname_np(value) : value == 0 ? "ok" : "none";
    if (name != nullptr)
      out << name;
    else
      out << error_code{static_cast<errc>(value - library_errors)}.message();
  }

  int value_;
  int other_ = no_other;
};

// In the tables ENOTSUP is what Linux also calls EOPNOTSUPP, and what the library makes of the kernel's own 524.
constexpr outcome ok{0};
constexpr outcome none{-1};

// ---- What entries are made of ----

using bytes = std::vector<std::byte>;

template <class T>
bytes copy_of(T const& value) {
  auto const all = test::bytes_of(value);
  return {all.begin(), all.end()};
}

/// A process that waits to be killed.
class process {
 public:
  process() : id_{checked(fork(), "fork")} {
    if (id_ != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) pause();
  }
  process(process const&) = delete;
  process& operator=(process const&) = delete;
  ~process() {
    kill(id_, SIGKILL);
    waitpid(id_, nullptr, 0);
  }
  pid_t id() const { return id_; }

 private:
  pid_t id_;
};

struct kind;

/// A map with one entry, if it can have one, and what two more are made of.
struct subject {
  explicit subject(kind const& k);
  subject(subject const&) = delete;
  subject& operator=(subject const&) = delete;

  kind const& of;
  tinybpf::object obj;
  tinybpf::map map;
  std::array<bytes, 3> keys;
  std::array<bytes, 3> values;
  bytes wrong_key;  // A descriptor, or another number that stands for something, and does not.
  bytes wrong_value;
  std::size_t walked = 0;  // by the last operation

  // In the order in which they can go: from the last.
  std::vector<descriptor> descriptors;
  std::deque<test::own_cgroup> cgroups;
  std::deque<process> processes;
  std::vector<descriptor> attachments;
  std::optional<test::scratch_folder> pins;
};

constexpr int no_descriptor = 0x7fffffff;

template <class Key>
void set_keys(subject& s, std::array<Key, 3> const& keys) {
  std::ranges::transform(keys, s.keys.begin(), copy_of<Key>);
  s.wrong_key = s.keys[1];
}

void set_indexes(subject& s) { set_keys<std::uint32_t>(s, {0, 1, 2}); }

// A per-CPU map takes the value for each CPU.
void set_value(subject const& s, bytes& value, std::uint64_t n) {
  value.clear();
  auto const number = copy_of(n);
  while (value.size() < s.map.lookup_size())
    value.insert(value.end(), number.begin(),
                 number.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(s.map.value_size(), 8)));
}

void set_values(subject& s, std::array<std::uint64_t, 3> values, std::uint64_t wrong) {
  for (std::size_t i = 0; i < 3; ++i) set_value(s, s.values[i], values[i]);
  set_value(s, s.wrong_value, wrong);
}

void set_numbers(subject& s) { set_values(s, {11, 12, 13}, 14); }

void with_numbers(subject& s) {
  set_indexes(s);
  set_numbers(s);
}

void with_prefixes(subject& s) {
  set_keys<prefix>(s, {prefix{32, 1}, {32, 2}, {32, 3}});
  set_numbers(s);
  s.wrong_key = copy_of(prefix{33, 2});
}

void without_keys(subject& s) { set_numbers(s); }

/// The values are descriptors.
template <class Make>
void with_values(subject& s, Make make) {
  set_indexes(s);
  std::array<std::uint64_t, 3> values{};
  for (auto& v : values) v = static_cast<std::uint64_t>(int{s.descriptors.emplace_back(make())});
  set_values(s, values, no_descriptor);
}

/// The keys are descriptors.
template <class Make>
void with_keys(subject& s, Make make) {
  std::array<int, 3> keys{};
  for (auto& k : keys) k = s.descriptors.emplace_back(make());
  set_keys(s, keys);
  s.wrong_key = copy_of(no_descriptor);
  set_numbers(s);
}

int duplicate(int fd) { return fcntl(fd, F_DUPFD_CLOEXEC, 0); }

void with_programs(subject& s) {
  with_values(s, [&] { return descriptor{duplicate(s.obj.program("on_packet").fd()), "dup"}; });
}

void with_perf_events(subject& s) {
  with_values(s, [] {
    perf_event_attr attr{};
    attr.size = sizeof attr;
    attr.type = PERF_TYPE_SOFTWARE;
    attr.config = PERF_COUNT_SW_BPF_OUTPUT;
    attr.sample_type = PERF_SAMPLE_RAW;
    return descriptor{static_cast<int>(syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC)),
                      "perf_event_open"};
  });
}

test::own_cgroup const& make_cgroup(subject& s) { return s.cgroups.emplace_back(); }

void with_cgroups(subject& s) {
  with_values(s, [&] { return make_cgroup(s).fd(); });
}

void with_maps(subject& s) {
  with_values(s, [&] { return descriptor{duplicate(s.obj.map("inner").fd()), "dup"}; });
  set_value(s, s.wrong_value, static_cast<std::uint64_t>(s.map.fd()));  // not like the inner map
}

void with_interfaces(subject& s) {
  set_indexes(s);
  set_values(s, {1, 1, 1}, no_descriptor);  // lo
}

void with_cpus(subject& s) {
  set_indexes(s);
  set_values(s, {11, 12, 13}, 16385);  // packets in its queue, of which there may be 16384
}

descriptor bound(int type) {
  descriptor d{socket(AF_INET, type | SOCK_CLOEXEC, 0), "socket"};
  int const yes = 1;
  checked(setsockopt(d, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof yes), "SO_REUSEPORT");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  checked(bind(d, reinterpret_cast<sockaddr const*>(&address), sizeof address), "bind");
  return d;
}

void with_listeners(subject& s) {
  with_values(s, [] {
    auto d = bound(SOCK_STREAM);
    checked(listen(d, 1), "listen");
    return d;
  });
}

void with_reuseport(subject& s) {
  with_values(s, [] { return bound(SOCK_DGRAM); });
}

void with_xdp_sockets(subject& s) {
  with_values(s, [] { return descriptor{socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0), "socket"}; });
}

void of_sockets(subject& s) {
  with_keys(s, [] { return descriptor{socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket"}; });
}

void of_files(subject& s) {
  with_keys(s, [] { return descriptor{memfd_create("test", MFD_CLOEXEC), "memfd_create"}; });
}

void of_tasks(subject& s) {
  with_keys(s, [&] {
    return descriptor{static_cast<int>(syscall(SYS_pidfd_open, s.processes.emplace_back().id(), 0)), "pidfd_open"};
  });
}

void of_cgroups(subject& s) {
  with_keys(s, [&] { return make_cgroup(s).fd(); });
}

// The first entry is one that only a program makes.

void with_stacks(subject& s) {
  bpf_test_run_opts options{};
  options.sz = sizeof options;
  checked(bpf_prog_test_run_opts(s.obj.program("take_stack").fd(), &options), "test run of take_stack");
  auto const id = options.retval;
  BOOST_TEST_REQUIRE(id < 2U);
  set_keys<std::uint32_t>(s, {id, 1 - id, 2});
  set_numbers(s);
}

void of_attachments(subject& s) {
  std::array<cgroup_storage_key, 3> keys{};
  for (auto& k : keys) k = {make_cgroup(s).id(), BPF_CGROUP_INET_EGRESS};
  auto const program = "use_" + std::string{s.map.name()};
  s.attachments.emplace_back(
      bpf_link_create(s.obj.program(program).fd(), s.cgroups[0].fd(), BPF_CGROUP_INET_EGRESS, nullptr),
      "link to a cgroup");
  std::ranges::transform(keys, s.keys.begin(), [](auto const& key) {
    bytes all(sizeof key);  // without what padding has
    std::memcpy(all.data(), &key.cgroup_inode_id, sizeof key.cgroup_inode_id);
    std::memcpy(all.data() + sizeof key.cgroup_inode_id, &key.attach_type, sizeof key.attach_type);
    return all;
  });
  s.wrong_key = s.keys[1];
  set_numbers(s);
}

// ---- The kinds ----

using enum map_type;

template <class K, class V>
struct typed_as {};
using types = std::variant<typed_as<std::uint32_t, std::uint64_t>, typed_as<std::uint32_t, std::uint32_t>,
                           typed_as<int, std::uint64_t>, typed_as<prefix, std::uint64_t>,
                           typed_as<cgroup_storage_key, std::uint64_t>>;
constexpr typed_as<std::uint32_t, std::uint64_t> indexed;
constexpr typed_as<std::uint32_t, std::uint32_t> indexed32;
constexpr typed_as<int, std::uint64_t> by_descriptor;
constexpr typed_as<prefix, std::uint64_t> by_prefix;
constexpr typed_as<cgroup_storage_key, std::uint64_t> by_cgroup;

/// Who makes the first entry.
enum class first : std::uint8_t { by_update, by_program, by_nobody };

/// What a lookup gives: what was stored, the id or cookie of what that stood for, or nothing under a key.
enum class gives : std::uint8_t { value, id, nothing };

struct kind {
  map_type type;
  void (*prepare)(subject&);
  types view;
  first made;
  std::size_t entries;  ///< that a walk finds when one was made
  gives looked_up;
  char const* needs = "";  ///< of the object
};

// All but struct_ops, of which libbpf makes a map only with programs of its own.
constexpr kind kinds[] = {
    {hash, with_numbers, indexed, first::by_update, 1, gives::value},
    {array, with_numbers, indexed, first::by_update, 2, gives::value},
    {prog_array, with_programs, indexed32, first::by_update, 1, gives::id, "on_packet"},
    {perf_event_array, with_perf_events, indexed32, first::by_update, 1, gives::nothing},
    {percpu_hash, with_numbers, indexed, first::by_update, 1, gives::value},
    {percpu_array, with_numbers, indexed, first::by_update, 2, gives::value},
    {stack_trace, with_stacks, indexed, first::by_program, 1, gives::value, "take_stack"},
    {cgroup_array, with_cgroups, indexed32, first::by_update, 1, gives::nothing},
    {lru_hash, with_numbers, indexed, first::by_update, 1, gives::value},
    {lru_percpu_hash, with_numbers, indexed, first::by_update, 1, gives::value},
    {lpm_trie, with_prefixes, by_prefix, first::by_update, 1, gives::value},
    {array_of_maps, with_maps, indexed32, first::by_update, 1, gives::id, "inner"},
    {hash_of_maps, with_maps, indexed32, first::by_update, 1, gives::id, "inner"},
    {devmap, with_interfaces, indexed32, first::by_update, 1, gives::value},
    {sockmap, with_listeners, indexed, first::by_update, 1, gives::id},
    {cpumap, with_cpus, indexed32, first::by_update, 1, gives::value},
    {xskmap, with_xdp_sockets, indexed32, first::by_update, 1, gives::nothing},
    {sockhash, with_listeners, indexed, first::by_update, 1, gives::id},
    {cgroup_storage, of_attachments, by_cgroup, first::by_program, 1, gives::value, "use_cgroup_storage"},
    {reuseport_sockarray, with_reuseport, indexed, first::by_update, 1, gives::id},
    {percpu_cgroup_storage, of_attachments, by_cgroup, first::by_program, 1, gives::value, "use_percpu_cgroup_storage"},
    {queue, without_keys, indexed, first::by_update, 0, gives::nothing},
    {stack, without_keys, indexed, first::by_update, 0, gives::nothing},
    {sk_storage, of_sockets, by_descriptor, first::by_update, 0, gives::value},
    {devmap_hash, with_interfaces, indexed32, first::by_update, 1, gives::value},
    {ringbuf, without_keys, indexed, first::by_nobody, 0, gives::nothing},
    {inode_storage, of_files, by_descriptor, first::by_update, 0, gives::value},
    {task_storage, of_tasks, by_descriptor, first::by_update, 0, gives::value},
    {bloom_filter, without_keys, indexed, first::by_update, 0, gives::nothing},
    {user_ringbuf, without_keys, indexed, first::by_nobody, 0, gives::nothing},
    {cgrp_storage, of_cgroups, by_descriptor, first::by_update, 0, gives::value},
    {arena, without_keys, indexed, first::by_nobody, 0, gives::nothing},
};

tinybpf::object load_only(std::string_view map, std::string_view needs = "") {
  wanted = {map, needs};
  auto obj = tinybpf::load(EVERY_KIND_BPF_O);
  wanted.clear();
  return obj;
}

subject::subject(kind const& k) : of{k}, obj{load_only(to_string(k.type), k.needs)}, map{obj.map(to_string(k.type))} {
  k.prepare(*this);
  if (k.made == first::by_update) map.update(keys[0], values[0]);
}

// ---- The operations ----

/// What is under a key afterwards.
enum class then : std::uint8_t { as_before, first_value, second_value, gone, whatever };

/// A call in its three forms.
struct operation {
  template <class F>
  constexpr operation(char const* n, char const* w, F, then first = then::as_before, then second = then::as_before)
      : name{n},
        words{w},
        leaves{first, second},
        throwing{[](subject& s) -> bool { return F{}(s); }},
        with_code{[](subject& s, error_code& ec) -> bool { return F{}(s, ec); }},
        with_details{[](subject& s, error_code& ec, diagnostics& details) -> bool { return F{}(s, ec, details); }} {}

  /// It begins with two entries, of kinds that let anyone make the second.
  constexpr operation of_full() const {
    auto copy = *this;
    copy.entries_before = 2;
    return copy;
  }
  /// An error may come half-way.
  constexpr operation in_part() const {
    auto copy = *this;
    copy.undivided = false;
    return copy;
  }

  /// It says how many entries it found.
  constexpr operation counting() const {
    auto copy = *this;
    copy.walks = true;
    return copy;
  }

  /// What a queue and a stack then have: the numbers of its values, the oldest first.
  constexpr operation keeping(char const* in_queue, char const* in_stack) const {
    auto copy = *this;
    copy.queued = in_queue;
    copy.stacked = in_stack;
    return copy;
  }

  char const* name;
  char const* words;  ///< that messages may have for it; of several steps they name the one that failed
  std::array<then, 2> leaves;
  std::size_t entries_before = 1;
  bool undivided = true;
  bool walks = false;
  char const* queued = nullptr;
  char const* stacked = nullptr;
  bool (*throwing)(subject&);
  bool (*with_code)(subject&, error_code&);
  bool (*with_details)(subject&, error_code&, diagnostics&);
};

template <std::size_t I>
constexpr auto lookup = [](subject& s, auto&... how) {
  auto value = s.values[I];
  return s.map.lookup(s.keys[I], value, how...);
};

constexpr auto lookup_copy = [](subject& s, auto&... how) { return s.map.lookup(s.keys[0], how...).has_value(); };

template <std::size_t Key, std::size_t Value, update_flag Flag>
constexpr auto update = [](subject& s, auto&... how) {
  s.map.update(s.keys[Key], s.values[Value], Flag, how...);
  return true;
};

constexpr auto update_wrong = [](subject& s, auto&... how) {
  s.map.update(s.wrong_key, s.wrong_value, update_flag::any, how...);
  return true;
};

template <std::size_t I>
constexpr auto erase = [](subject& s, auto&... how) { return s.map.erase(s.keys[I], how...); };

/// What a key has, whatever it stands for; empty if nothing or if that cannot be read.
bytes stored_under(subject const& s, bytes const& key) {
  error_code ignored;
  return s.map.lookup(key, ignored).value_or(bytes{});
}

template <std::size_t I>
constexpr auto take = [](subject& s, auto&... how) {
  auto const before = stored_under(s, s.keys[I]);
  bytes value(s.map.lookup_size());
  bool const found = s.map.lookup_and_delete(s.keys[I], value, how...);
  if (found) BOOST_TEST((value == before));
  return found;
};

constexpr auto any = update_flag::any;
constexpr auto no_exist = update_flag::no_exist;
constexpr auto exist = update_flag::exist;

/// What each operation of a list does on one kind.
template <std::size_t N>
struct row {
  map_type kind;
  outcome expected[N];
};

constexpr operation lookups_and_erasures[] = {
    {"lookup", "lookup", lookup<0>},
    {"lookup as a vector", "lookup", lookup_copy},
    {"lookup of no entry", "lookup", lookup<1>},
    {"erase", "erase", erase<0>, then::gone},
    {"erase of no entry", "erase", erase<1>},
    {"take", "lookup and delete", take<0>, then::gone},
    {"take of no entry", "lookup and delete", take<1>},
};

// Kernels before 6.18 take no stack out.
constexpr outcome new_ok = outcome::either(ok, ENOTSUP);
constexpr outcome new_none = outcome::either(none, ENOTSUP);

// The lookup of a queue or stack is a peek, and what takes from it a pop. The lookup of a Bloom filter takes the value
// to look for, and as a vector finds none of zeros. Cgroup storages last as long as the attachment; devmaps, cpumaps
// and xskmaps empty what is empty.
// clang-format off
constexpr row<std::size(lookups_and_erasures)> of_lookups_and_erasures[] = {
  //                       lookup   vector   no entry erase    no entry take     no entry
  {hash,                  {ok,      ok,      none,    ok,      none,    ok,      none}},
  {array,                 {ok,      ok,      ok,      EINVAL,  EINVAL,  ENOTSUP, ENOTSUP}},
  {prog_array,            {ok,      ok,      none,    ok,      none,    ENOTSUP, ENOTSUP}},
  {perf_event_array,      {ENOTSUP, ENOTSUP, ENOTSUP, ok,      none,    ENOTSUP, ENOTSUP}},
  {percpu_hash,           {ok,      ok,      none,    ok,      none,    ok,      none}},
  {percpu_array,          {ok,      ok,      ok,      EINVAL,  EINVAL,  ENOTSUP, ENOTSUP}},
  {stack_trace,           {ok,      ok,      none,    ok,      none,    new_ok,  new_none}},
  {cgroup_array,          {ENOTSUP, ENOTSUP, ENOTSUP, ok,      none,    ENOTSUP, ENOTSUP}},
  {lru_hash,              {ok,      ok,      none,    ok,      none,    ok,      none}},
  {lru_percpu_hash,       {ok,      ok,      none,    ok,      none,    ok,      none}},
  {lpm_trie,              {ok,      ok,      none,    ok,      none,    ENOTSUP, ENOTSUP}},
  {array_of_maps,         {ok,      ok,      none,    ok,      none,    ENOTSUP, ENOTSUP}},
  {hash_of_maps,          {ok,      ok,      none,    ok,      none,    ENOTSUP, ENOTSUP}},
  {devmap,                {ok,      ok,      none,    ok,      ok,      ENOTSUP, ENOTSUP}},
  {sockmap,               {ok,      ok,      none,    ok,      EINVAL,  ENOTSUP, ENOTSUP}},
  {cpumap,                {ok,      ok,      none,    ok,      ok,      ENOTSUP, ENOTSUP}},
  {xskmap,                {ENOTSUP, ENOTSUP, ENOTSUP, ok,      ok,      ENOTSUP, ENOTSUP}},
  {sockhash,              {ok,      ok,      none,    ok,      none,    ENOTSUP, ENOTSUP}},
  {cgroup_storage,        {ok,      ok,      none,    EINVAL,  EINVAL,  ENOTSUP, ENOTSUP}},
  {reuseport_sockarray,   {ok,      ok,      none,    ok,      none,    ENOTSUP, ENOTSUP}},
  {percpu_cgroup_storage, {ok,      ok,      none,    EINVAL,  EINVAL,  ENOTSUP, ENOTSUP}},
  {queue,                 {ok,      ok,      ok,      EINVAL,  EINVAL,  ok,      ok}},
  {stack,                 {ok,      ok,      ok,      EINVAL,  EINVAL,  ok,      ok}},
  {sk_storage,            {ok,      ok,      none,    ok,      none,    ENOTSUP, ENOTSUP}},
  {devmap_hash,           {ok,      ok,      none,    ok,      none,    ENOTSUP, ENOTSUP}},
  {ringbuf,               {ENOTSUP, ENOTSUP, ENOTSUP, ENOTSUP, ENOTSUP, ENOTSUP, ENOTSUP}},
  {inode_storage,         {ok,      ok,      none,    ok,      none,    ENOTSUP, ENOTSUP}},
  {task_storage,          {ok,      ok,      none,    ok,      none,    ENOTSUP, ENOTSUP}},
  {bloom_filter,          {ok,      none,    none,    ENOTSUP, ENOTSUP, ENOTSUP, ENOTSUP}},
  {user_ringbuf,          {ENOTSUP, ENOTSUP, ENOTSUP, ENOTSUP, ENOTSUP, ENOTSUP, ENOTSUP}},
  {cgrp_storage,          {ok,      ok,      none,    ok,      none,    ENOTSUP, ENOTSUP}},
  {arena,                 {EINVAL,  EINVAL,  EINVAL,  ENOTSUP, ENOTSUP, ENOTSUP, ENOTSUP}},
};
// clang-format on

constexpr operation updates[] = {
    {"update of an entry", "update", update<0, 1, any>, then::second_value},
    {"update of no entry", "update", update<1, 1, any>, then::as_before, then::second_value},
    {"no_exist of an entry", "update", update<0, 1, no_exist>, then::second_value},
    {"no_exist of no entry", "update", update<1, 1, no_exist>, then::as_before, then::second_value},
    {"exist of an entry", "update", update<0, 1, exist>, then::second_value},
    {"exist of no entry", "update", update<1, 1, exist>, then::as_before, then::second_value},
    operation{"one too many", "update", update<2, 2, any>, then::whatever, then::whatever}.of_full(),
    {"update with what is none", "update", update_wrong, then::as_before, then::whatever},
};

// Kernels before 6.13, and before their stable releases got it, do as if the flags were not there.
constexpr outcome lpm_new = outcome::either(EEXIST, ok);
constexpr outcome lpm_old = outcome::either(ENOENT, ok);

// Slots of arrays are always there, and slots of descriptors know no flags. Of queues and stacks `exist` is the push
// that pushes another out. LRU maps make room, and a Bloom filter or a storage is never full.
// clang-format off
constexpr row<std::size(updates)> of_updates[] = {
  //                       any      none     no_exist none     exist    none     too many wrong
  {hash,                  {ok,      ok,      EEXIST,  ok,      ok,      ENOENT,  E2BIG,   ok}},
  {array,                 {ok,      ok,      EEXIST,  EEXIST,  ok,      ok,      E2BIG,   ok}},
  {prog_array,            {ok,      ok,      EINVAL,  EINVAL,  EINVAL,  EINVAL,  E2BIG,   EBADF}},
  {perf_event_array,      {ok,      ok,      EINVAL,  EINVAL,  EINVAL,  EINVAL,  E2BIG,   EBADF}},
  {percpu_hash,           {ok,      ok,      EEXIST,  ok,      ok,      ENOENT,  E2BIG,   ok}},
  {percpu_array,          {ok,      ok,      EEXIST,  EEXIST,  ok,      ok,      E2BIG,   ok}},
  {stack_trace,           {EINVAL,  EINVAL,  EINVAL,  EINVAL,  EINVAL,  EINVAL,  EINVAL,  EINVAL}},
  {cgroup_array,          {ok,      ok,      EINVAL,  EINVAL,  EINVAL,  EINVAL,  E2BIG,   EBADF}},
  {lru_hash,              {ok,      ok,      EEXIST,  ok,      ok,      ENOENT,  ok,      ok}},
  {lru_percpu_hash,       {ok,      ok,      EEXIST,  ok,      ok,      ENOENT,  ok,      ok}},
  {lpm_trie,              {ok,      ok,      lpm_new, ok,      ok,      lpm_old, ENOSPC,  EINVAL}},
  {array_of_maps,         {ok,      ok,      EINVAL,  EINVAL,  EINVAL,  EINVAL,  E2BIG,   EINVAL}},
  {hash_of_maps,          {ok,      ok,      EEXIST,  ok,      ok,      ENOENT,  E2BIG,   EINVAL}},
  {devmap,                {ok,      ok,      EEXIST,  EEXIST,  ok,      ok,      E2BIG,   EINVAL}},
  {sockmap,               {ok,      ok,      EEXIST,  ok,      ok,      ENOENT,  E2BIG,   EBADF}},
  {cpumap,                {ok,      ok,      EEXIST,  EEXIST,  ok,      ok,      E2BIG,   EOVERFLOW}},
  {xskmap,                {ok,      ok,      EEXIST,  ok,      ok,      ENOENT,  E2BIG,   EBADF}},
  {sockhash,              {ok,      ok,      EEXIST,  ok,      ok,      ENOENT,  E2BIG,   EBADF}},
  {cgroup_storage,        {ok,      ENOENT,  EINVAL,  EINVAL,  ok,      ENOENT,  ENOENT,  ENOENT}},
  {reuseport_sockarray,   {ok,      ok,      EEXIST,  ok,      ok,      ENOENT,  E2BIG,   EBADF}},
  {percpu_cgroup_storage, {ok,      ENOENT,  EINVAL,  EINVAL,  ok,      ENOENT,  ENOENT,  ENOENT}},
  {queue,                 {ok,      ok,      EINVAL,  EINVAL,  ok,      ok,      E2BIG,   ok}},
  {stack,                 {ok,      ok,      EINVAL,  EINVAL,  ok,      ok,      E2BIG,   ok}},
  {sk_storage,            {ok,      ok,      EEXIST,  ok,      ok,      ENOENT,  ok,      EBADF}},
  {devmap_hash,           {ok,      ok,      EEXIST,  ok,      ok,      ok,      E2BIG,   EINVAL}},
  {ringbuf,               {ENOTSUP, ENOTSUP, ENOTSUP, ENOTSUP, ENOTSUP, ENOTSUP, ENOTSUP, ENOTSUP}},
  {inode_storage,         {ok,      ok,      EEXIST,  ok,      ok,      ENOENT,  ok,      EBADF}},
  {task_storage,          {ok,      ok,      EEXIST,  ok,      ok,      ENOENT,  ok,      EBADF}},
  {bloom_filter,          {ok,      ok,      EINVAL,  EINVAL,  EINVAL,  EINVAL,  ok,      ok}},
  {user_ringbuf,          {ENOTSUP, ENOTSUP, ENOTSUP, ENOTSUP, ENOTSUP, ENOTSUP, ENOTSUP, ENOTSUP}},
  {cgrp_storage,          {ok,      ok,      EEXIST,  ok,      ok,      ENOENT,  ok,      EBADF}},
  {arena,                 {ENOTSUP, ENOTSUP, ENOTSUP, ENOTSUP, ENOTSUP, ENOTSUP, ENOTSUP, ENOTSUP}},
};
// clang-format on

/// What `f` gives for a typed view; false if there is none.
template <class F>
bool through_view(subject& s, F f, auto&... how) {
  return std::visit(
      [&]<class K, class V>(typed_as<K, V>) {
        auto const v = s.map.typed<K, V>(tinybpf::field_names::check, how...);
        return v.untyped().is_open() && f(v);
      },
      s.of.view);
}

template <class T>
std::array<T, 2> two_of(std::array<bytes, 3> const& all) {
  std::array<T, 2> two{};
  for (std::size_t i = 0; i < two.size(); ++i) std::memcpy(&two[i], all[i].data(), sizeof(T));
  return two;
}

constexpr auto view = [](subject& s, auto&... how) {
  return through_view(
      s, [](auto const&) { return true; }, how...);
};

constexpr auto walk = [](subject& s, auto&... how) {
  s.walked = s.map.dynamic().entries(how...).size();
  return true;
};

constexpr auto count_map = [](subject& s, auto&... how) {
  s.walked = s.map.count(how...);
  return true;
};

constexpr auto clear_map = [](subject& s, auto&... how) {
  s.walked = s.map.clear(how...);
  return true;
};

constexpr auto count = [](subject& s, auto&... how) {
  auto const all = [&](auto const& v) {
    s.walked = v.count(how...);
    return true;
  };
  return through_view(s, all, how...);
};

constexpr auto clear = [](subject& s, auto&... how) {
  auto const all = [&](auto const& v) {
    s.walked = v.clear(how...);
    return true;
  };
  return through_view(s, all, how...);
};

constexpr auto update_batch = [](subject& s, auto&... how) {
  auto const both = [&]<class K, class V>(tinybpf::typed_map<K, V> const& v) {
    return v.update_batch(two_of<K>(s.keys), two_of<V>(s.values), any, how...) == 2;
  };
  return through_view(s, both, how...);
};

constexpr auto delete_batch = [](subject& s, auto&... how) {
  auto const both = [&]<class K, class V>(tinybpf::typed_map<K, V> const& v) {
    return v.delete_batch(two_of<K>(s.keys), how...) == 2;
  };
  return through_view(s, both, how...);
};

template <bool Takes>
constexpr auto read_batches = [](subject& s, auto&... how) {
  auto const all = [&]<class K, class V>(tinybpf::typed_map<K, V> const& v) {
    auto const before = stored_under(s, s.keys[0]);
    std::array<K, 2> keys{};
    std::array<V, 2> values{};
    tinybpf::batch_position at;
    std::size_t found = 0;
    s.walked = 0;
    do {
      if constexpr (Takes)
        found = v.lookup_and_delete_batch(at, keys, values, how...);
      else
        found = v.lookup_batch(at, keys, values, how...);
      if (s.walked == 0 && found != 0) {
        BOOST_TEST((copy_of(keys[0]) == s.keys[0]));
        BOOST_TEST((copy_of(values[0]) == before));
      }
      s.walked += found;
    } while (found != 0 && !at.ended());
    return at.ended();
  };
  return through_view(s, all, how...);
};

template <class Cursor>
auto next_page(boost::asio::io_context& io, Cursor& cursor) {
  return test::run(io, cursor.next());
}

template <class Cursor>
auto next_page(boost::asio::io_context& io, Cursor& cursor, error_code& ec, auto&... details) {
  decltype(test::run(io, cursor.next())) page;
  cursor.async_next(details..., [&](error_code e, auto found) {
    ec = e;
    page = found;
  });
  io.restart();
  io.run();
  return page;
}

constexpr auto drain = [](subject& s, auto&... how) {
  auto const all = [&](auto const& v) {
    auto const before = stored_under(s, s.keys[0]);
    boost::asio::io_context io;
    auto cursor = v.async_drain(io.get_executor());
    s.walked = 0;
    while (auto const page = next_page(io, cursor, how...)) {
      BOOST_TEST((copy_of(page.keys()[0]) == s.keys[0]));
      BOOST_TEST((copy_of(page.values()[0]) == before));
      s.walked += page.size();
    }
    return true;
  };
  return through_view(s, all, how...);
};

constexpr operation walks[] = {
    operation{"walk", "walk, lookup", walk}.counting(),
    operation{"count of the map", "walk, lookup", count_map}.counting(),
    operation{"clear of the map", "walk, lookup, erase", clear_map, then::gone, then::gone}.in_part().counting(),
    {"typed view", "a typed view", view},
    operation{"count", "a typed view, walk, lookup", count}.counting(),
    operation{"clear", "a typed view, walk, lookup, erase", clear, then::gone, then::gone}.in_part().counting(),
    operation{"drain", "a typed view, drain, lookup, erase", drain, then::gone}.counting(),
};

// Walks read values, which some kinds do not give.
constexpr outcome per_cpu{errc::not_supported};  // each CPU has values of its own: no type for them
constexpr outcome keyless{errc::size_mismatch};
constexpr outcome never{errc::not_supported};  // nothing can be taken out

// clang-format off
constexpr row<std::size(walks)> of_walks[] = {
  //                       walk     count    clear    view     count    clear    drain
  {hash,                  {ok,      ok,      ok,      ok,      ok,      ok,      ok}},
  {array,                 {ok,      ok,      EINVAL,  ok,      ok,      EINVAL,  never}},
  {prog_array,            {ok,      ok,      ok,      ok,      ok,      ok,      ok}},
  {perf_event_array,      {ENOTSUP, ENOTSUP, ENOTSUP, ok,      ENOTSUP, ENOTSUP, ENOTSUP}},
  {percpu_hash,           {ok,      ok,      ok,      per_cpu, per_cpu, per_cpu, per_cpu}},
  {percpu_array,          {ok,      ok,      EINVAL,  per_cpu, per_cpu, per_cpu, per_cpu}},
  {stack_trace,           {ok,      ok,      ok,      ok,      ok,      ok,      ok}},
  {cgroup_array,          {ENOTSUP, ENOTSUP, ENOTSUP, ok,      ENOTSUP, ENOTSUP, ENOTSUP}},
  {lru_hash,              {ok,      ok,      ok,      ok,      ok,      ok,      ok}},
  {lru_percpu_hash,       {ok,      ok,      ok,      per_cpu, per_cpu, per_cpu, per_cpu}},
  {lpm_trie,              {ok,      ok,      ok,      ok,      ok,      ok,      ok}},
  {array_of_maps,         {ok,      ok,      ok,      ok,      ok,      ok,      ok}},
  {hash_of_maps,          {ok,      ok,      ok,      ok,      ok,      ok,      ok}},
  {devmap,                {ok,      ok,      ok,      ok,      ok,      ok,      ok}},
  {sockmap,               {ok,      ok,      ok,      ok,      ok,      ok,      ok}},
  {cpumap,                {ok,      ok,      ok,      ok,      ok,      ok,      ok}},
  {xskmap,                {ENOTSUP, ENOTSUP, ENOTSUP, ok,      ENOTSUP, ENOTSUP, ENOTSUP}},
  {sockhash,              {ok,      ok,      ok,      ok,      ok,      ok,      ok}},
  {cgroup_storage,        {ok,      ok,      EINVAL,  ok,      ok,      EINVAL,  EINVAL}},
  {reuseport_sockarray,   {ok,      ok,      ok,      ok,      ok,      ok,      ok}},
  {percpu_cgroup_storage, {ok,      ok,      EINVAL,  per_cpu, per_cpu, per_cpu, per_cpu}},
  {queue,                 {EINVAL,  EINVAL,  EINVAL,  keyless, keyless, keyless, keyless}},
  {stack,                 {EINVAL,  EINVAL,  EINVAL,  keyless, keyless, keyless, keyless}},
  {sk_storage,            {ENOTSUP, ENOTSUP, ENOTSUP, ok,      ENOTSUP, ENOTSUP, ENOTSUP}},
  {devmap_hash,           {ok,      ok,      ok,      ok,      ok,      ok,      ok}},
  {ringbuf,               {ENOTSUP, ENOTSUP, ENOTSUP, keyless, keyless, keyless, keyless}},
  {inode_storage,         {ENOTSUP, ENOTSUP, ENOTSUP, ok,      ENOTSUP, ENOTSUP, ENOTSUP}},
  {task_storage,          {ENOTSUP, ENOTSUP, ENOTSUP, ok,      ENOTSUP, ENOTSUP, ENOTSUP}},
  {bloom_filter,          {ENOTSUP, ENOTSUP, ENOTSUP, keyless, keyless, keyless, keyless}},
  {user_ringbuf,          {ENOTSUP, ENOTSUP, ENOTSUP, keyless, keyless, keyless, keyless}},
  {cgrp_storage,          {ENOTSUP, ENOTSUP, ENOTSUP, ok,      ENOTSUP, ENOTSUP, ENOTSUP}},
  {arena,                 {ENOTSUP, ENOTSUP, ENOTSUP, keyless, keyless, keyless, keyless}},
};
// clang-format on

constexpr operation batches[] = {
    operation{"batch update", "a typed view, batch update", update_batch, then::first_value, then::second_value}
        .in_part(),
    operation{"batch delete", "a typed view, batch delete", delete_batch, then::gone, then::gone}.of_full().in_part(),
    operation{"batch lookup", "a typed view, batch lookup", read_batches<false>}.counting(),
    operation{"batch take", "a typed view, batch lookup and delete", read_batches<true>, then::gone}.counting(),
};

// Kernels before 6.14, and before their stable releases got it, end at a slot without a map.
constexpr outcome slots = outcome::either(ok, EINTR);

// Unlike updates and deletions, these are never made of calls for single keys.
// clang-format off
constexpr row<std::size(batches)> of_batches[] = {
  //                       update   delete   lookup   take
  {hash,                  {ok,      ok,      ok,      ok}},
  {array,                 {ok,      EINVAL,  ok,      ENOTSUP}},
  {prog_array,            {ok,      ok,      ENOTSUP, ENOTSUP}},
  {perf_event_array,      {ok,      ok,      ENOTSUP, ENOTSUP}},
  {percpu_hash,           {per_cpu, per_cpu, per_cpu, per_cpu}},
  {percpu_array,          {per_cpu, per_cpu, per_cpu, per_cpu}},
  {stack_trace,           {EINVAL,  ENOENT,  ENOTSUP, ENOTSUP}},
  {cgroup_array,          {ok,      ok,      ENOTSUP, ENOTSUP}},
  {lru_hash,              {ok,      ok,      ok,      ok}},
  {lru_percpu_hash,       {per_cpu, per_cpu, per_cpu, per_cpu}},
  {lpm_trie,              {ok,      ok,      ok,      ENOTSUP}},
  {array_of_maps,         {ok,      ok,      slots,   ENOTSUP}},
  {hash_of_maps,          {ok,      ok,      ok,      ok}},
  {devmap,                {ok,      ok,      ENOTSUP, ENOTSUP}},
  {sockmap,               {ok,      ok,      ENOTSUP, ENOTSUP}},
  {cpumap,                {ok,      ok,      ENOTSUP, ENOTSUP}},
  {xskmap,                {ok,      ok,      ENOTSUP, ENOTSUP}},
  {sockhash,              {ok,      ok,      ENOTSUP, ENOTSUP}},
  {cgroup_storage,        {ENOENT,  EINVAL,  ENOTSUP, ENOTSUP}},
  {reuseport_sockarray,   {EBUSY,   ok,      ENOTSUP, ENOTSUP}},
  {percpu_cgroup_storage, {per_cpu, per_cpu, per_cpu, per_cpu}},
  {queue,                 {keyless, keyless, keyless, keyless}},
  {stack,                 {keyless, keyless, keyless, keyless}},
  {sk_storage,            {ok,      ok,      ENOTSUP, ENOTSUP}},
  {devmap_hash,           {ok,      ok,      ENOTSUP, ENOTSUP}},
  {ringbuf,               {keyless, keyless, keyless, keyless}},
  {inode_storage,         {ok,      ok,      ENOTSUP, ENOTSUP}},
  {task_storage,          {ok,      ok,      ENOTSUP, ENOTSUP}},
  {bloom_filter,          {keyless, keyless, keyless, keyless}},
  {user_ringbuf,          {keyless, keyless, keyless, keyless}},
  {cgrp_storage,          {ok,      ok,      ENOTSUP, ENOTSUP}},
  {arena,                 {keyless, keyless, keyless, keyless}},
};
// clang-format on

// ---- Queues, stacks and Bloom filters by their views ----

std::uint64_t number(subject const& s, std::size_t i) {
  std::uint64_t n = 0;
  std::memcpy(&n, s.values[i].data(), sizeof n);
  return n;
}

template <template <class> class View, class F>
bool through(subject& s, F f) {
  View<std::uint64_t> const v{s.map};
  return f(v);
}

template <template <class> class View, class F>
bool through(subject& s, F f, error_code& ec) {
  View<std::uint64_t> const v{s.map, ec};
  return v.untyped().is_open() && f(v);
}

template <template <class> class View, class F>
bool through(subject& s, F f, error_code& ec, diagnostics& details) {
  View<std::uint64_t> const v{s.map, tinybpf::field_names::check, ec, details};
  return v.untyped().is_open() && f(v);
}

template <update_flag Flag>
constexpr auto push = [](subject& s, auto&... how) {
  auto const one = [&](auto const& v) {
    v.push(number(s, 2), Flag, how...);
    return true;
  };
  return through<tinybpf::queue_map>(s, one, how...);
};

// The first of two is the next of a queue, and the second that of a stack.
void check_next(subject const& s, std::optional<std::uint64_t> const& found) {
  if (found) BOOST_TEST(*found == number(s, s.of.type == queue ? 0 : 1));
}

constexpr auto pop = [](subject& s, auto&... how) {
  auto const one = [&](auto const& v) {
    auto const found = v.pop(how...);
    check_next(s, found);
    return found.has_value();
  };
  return through<tinybpf::queue_map>(s, one, how...);
};

constexpr auto peek = [](subject& s, auto&... how) {
  auto const one = [&](auto const& v) {
    auto const found = v.peek(how...);
    check_next(s, found);
    return found.has_value();
  };
  return through<tinybpf::queue_map>(s, one, how...);
};

template <auto Operation>
constexpr auto of_emptied = [](subject& s, auto&... how) {
  bytes value(s.map.lookup_size());
  error_code ignored;
  if (s.keys[0].empty()) s.map.lookup_and_delete({}, value, ignored);
  return Operation(s, how...);
};

constexpr auto push_and_find = [](subject& s, auto&... how) {
  auto const one = [&](auto const& v) {
    v.push(number(s, 2), how...);
    return v.may_contain(number(s, 2));
  };
  return through<tinybpf::bloom_filter>(s, one, how...);
};

template <std::size_t I>
constexpr auto may_contain = [](subject& s, auto&... how) {
  auto const one = [&](auto const& v) { return v.may_contain(number(s, I), how...); };
  return through<tinybpf::bloom_filter>(s, one, how...);
};

constexpr operation views_without_keys[] = {
    operation{"push", "a queue view, update", push<any>}.keeping("02", "02"),
    operation{"push into what is full", "a queue view, update", push<any>}.of_full().keeping("01", "01"),
    operation{"push that makes room", "a queue view, update", push<exist>}.of_full().keeping("12", "12"),
    operation{"push of no_exist", "a queue view, update", push<no_exist>}.keeping("0", "0"),
    operation{"peek", "a queue view, lookup", peek}.of_full().keeping("01", "01"),
    operation{"peek of none", "a queue view, lookup", of_emptied<peek>}.keeping("", ""),
    operation{"pop", "a queue view, lookup and delete", pop}.of_full().keeping("1", "0"),
    operation{"pop of none", "a queue view, lookup and delete", of_emptied<pop>}.keeping("", ""),
    {"push into a filter", "a bloom filter view", push_and_find},
    {"may_contain what was pushed", "a bloom filter view", may_contain<0>},
    {"may_contain what was not", "a bloom filter view", may_contain<1>},
};

constexpr outcome other{errc::wrong_map_type};

// Of kinds that are not here: `other`.
// clang-format off
constexpr row<std::size(views_without_keys)> of_views_without_keys[] = {
  //             push   full   room   no_exist peek   none   pop    none   push   pushed not pushed
  {queue,        {ok,    E2BIG, ok,    EINVAL,  ok,    none,  ok,    none,  other, other, other}},
  {stack,        {ok,    E2BIG, ok,    EINVAL,  ok,    none,  ok,    none,  other, other, other}},
  {bloom_filter, {other, other, other, other,   other, other, other, other, ok,    ok,    none}},
};
// clang-format on

// ---- Freezing ----

template <auto Operation>
constexpr auto of_frozen = [](subject& s, auto&... how) {
  s.map.freeze();
  return Operation(s, how...);
};

constexpr auto freeze = [](subject& s, auto&... how) {
  s.map.freeze(how...);
  return true;
};

constexpr operation freezing{"freeze", "freeze", freeze};
constexpr operation frozen_lookup{"lookup when frozen", "lookup", of_frozen<lookup<0>>};

// Kernels before 6.5 look at that first; newer ones at who may write.
constexpr outcome frozen_already = outcome::either(EPERM, EBUSY);

struct answered {
  operation op;
  outcome expected;
};

// No kind gets as far as what it has to say to these.
constexpr answered of_frozen_maps[] = {
    {{"freeze when frozen", "freeze", of_frozen<freeze>}, frozen_already},
    {{"update when frozen", "update", of_frozen<update<0, 1, any>>}, EPERM},
    {{"erase when frozen", "erase", of_frozen<erase<0>>}, EPERM},
    {{"take when frozen", "lookup and delete", of_frozen<take<0>>}, EPERM},
};

// ---- Pins ----

std::filesystem::path pin_path(subject& s, char const* name = "pin") {
  if (!s.pins) s.pins.emplace(test::bpffs);
  return *s.pins / name;
}

constexpr auto pin = [](subject& s, auto&... how) {
  auto const path = pin_path(s);
  s.map.pin(path, how...);
  return std::filesystem::exists(path) && s.map.pin_path() == path;
};

constexpr auto pin_again = [](subject& s, auto&... how) {
  s.map.pin(pin_path(s));
  s.map.pin(pin_path(s, "other"), how...);
  return true;
};

constexpr auto pin_over = [](subject& s, auto&... how) {
  checked(mkdir(pin_path(s).c_str(), 0700), "mkdir");
  s.map.pin(pin_path(s), how...);
  return true;
};

constexpr auto pin_elsewhere = [](subject& s, auto&... how) {
  s.map.pin(std::filesystem::temp_directory_path() / "tinybpf_test_pin", how...);
  return true;
};

constexpr auto pin_with_dot = [](subject& s, auto&... how) {
  s.map.pin(pin_path(s, "a.b"), how...);
  return true;
};

constexpr auto open_pinned = [](subject& s, auto&... how) {
  s.map.pin(pin_path(s));
  auto const opened = tinybpf::map::open_pinned(pin_path(s), how...);
  auto const found = opened.info();
  return found.id == s.map.info().id && found.type == s.of.type;
};

constexpr auto unpin = [](subject& s, auto&... how) {
  auto const path = pin_path(s);
  s.map.pin(path);
  s.map.unpin(how...);
  return !std::filesystem::exists(path) && s.map.pin_path().empty();
};

constexpr auto unpin_unpinned = [](subject& s, auto&... how) {
  s.map.unpin(how...);
  return true;
};

constexpr answered of_pins[] = {
    {{"pin", "cannot pin", pin}, ok},
    {{"pin of what is pinned", "cannot pin", pin_again}, EEXIST},
    {{"pin where there is something", "cannot pin", pin_over}, EEXIST},
    {{"pin in another file system", "cannot pin", pin_elsewhere}, EPERM},
    {{"pin with a dot", "cannot pin", pin_with_dot}, EPERM},
    {{"open_pinned", "cannot open", open_pinned}, ok},
    {{"unpin", "cannot unpin", unpin}, ok},
    {{"unpin of what is not pinned", "cannot unpin", unpin_unpinned}, errc::not_found},
};

// Keys and values that are a byte too long, which no kernel sees.
constexpr auto longer = [](bytes copy) {
  copy.emplace_back();
  return copy;
};

constexpr operation calls_of_wrong_sizes[] = {
    {"lookup with a long key", "lookup",
     [](subject& s, auto&... how) {
       auto value = s.values[0];
       return s.map.lookup(longer(s.keys[0]), value, how...);
     }},
    {"lookup into a long value", "lookup",
     [](subject& s, auto&... how) {
       auto value = longer(s.values[0]);
       return s.map.lookup(s.keys[0], value, how...);
     }},
    {"lookup as a vector, with a long key", "lookup",
     [](subject& s, auto&... how) { return s.map.lookup(longer(s.keys[0]), how...).has_value(); }},
    {"update of a long key", "update",
     [](subject& s, auto&... how) {
       s.map.update(longer(s.keys[0]), s.values[0], any, how...);
       return true;
     }},
    {"update with a long value", "update",
     [](subject& s, auto&... how) {
       s.map.update(s.keys[0], longer(s.values[0]), any, how...);
       return true;
     }},
    {"erase of a long key", "erase", [](subject& s, auto&... how) { return s.map.erase(longer(s.keys[0]), how...); }},
};

// ---- Running them ----

struct answer {
  error_code ec = errc::closed;  // which a call has to clear
  bool there = false;
  std::optional<diagnostics> details;
};

struct form {
  char const* name;
  answer (*ask)(operation const&, subject&);
};

constexpr form forms[] = {
    {"with diagnostics",
     [](operation const& op, subject& s) {
       answer a;
       a.details.emplace();
       a.there = op.with_details(s, a.ec, *a.details);
       return a;
     }},
    {"with a code",
     [](operation const& op, subject& s) {
       answer a;
       a.there = op.with_code(s, a.ec);
       return a;
     }},
    {"throwing",
     [](operation const& op, subject& s) {
       answer a;
       try {
         a.there = op.throwing(s);
         a.ec.clear();
       } catch (tinybpf::error const& e) {
         a.ec = e.code();
         a.details = e.get_diagnostics();
       }
       return a;
     }},
};

/// What is under the first two keys.
using contents = std::array<std::optional<bytes>, 2>;

contents contents_of(subject const& s) {
  contents both;
  for (std::size_t i = 0; i < both.size(); ++i) both[i] = s.map.lookup(s.keys[i]);
  return both;
}

void check_contents(subject const& s, operation const& op, bool done, contents const& before) {
  auto const after = contents_of(s);
  for (std::size_t i = 0; i < after.size(); ++i) {
    BOOST_TEST_INFO_SCOPE("entry " << i);
    auto const expected = done ? op.leaves[i] : then::as_before;
    if (!done && !op.undivided) continue;
    switch (expected) {
      case then::as_before:
        BOOST_TEST((after[i] == before[i]));
        break;
      case then::gone:
        BOOST_TEST(!after[i].has_value());
        break;
      case then::first_value:
      case then::second_value:
        BOOST_TEST_REQUIRE(after[i].has_value());
        if (s.of.looked_up == gives::value) BOOST_TEST((*after[i] == s.values[expected == then::first_value ? 0 : 1]));
        break;
      case then::whatever:
        break;
    }
  }
}

// Such as "lookup of map 'hash'" or "cannot pin map 'hash' at ...".
void check_words(subject const& s, operation const& op, answer const& a) {
  auto const& message = a.details->message;
  auto const end = message.find(" map '" + std::string{s.map.name()} + "'");
  BOOST_TEST((end != message.npos && end != 0), "no operation of this map: " << message);
  auto words = message.substr(0, end);
  if (words.ends_with(" of")) words.resize(words.size() - 3);
  BOOST_TEST(contains(op.words, words), "not one of '" << op.words << "': " << message);
  BOOST_TEST(a.details->map == s.map.name());
}

void check_queue(subject const& s, operation const& op, bool done) {
  std::string const as_before = op.entries_before == 2 ? "01" : "0";
  std::string expected = s.of.type == queue ? op.queued : op.stacked;
  if (!done) expected = expected.empty() ? "" : as_before;
  std::string found;
  for (bytes value(s.map.lookup_size()); found.size() <= s.map.max_entries() && s.map.lookup_and_delete({}, value);) {
    auto const which = std::ranges::find(s.values, value) - s.values.begin();
    found += static_cast<char>('0' + which);
  }
  if (s.of.type == stack) std::ranges::reverse(found);
  BOOST_TEST(found == expected);
}

void check(kind const& k, operation const& op, outcome expected) {
  for (auto const& f : forms) {
    BOOST_TEST_CONTEXT("'" << op.name << "' of " << to_string(k.type) << ", " << f.name) {
      subject s{k};
      error_code ignored;  // of kinds whose entries only programs make
      if (op.entries_before == 2) s.map.update(s.keys[1], s.values[1], any, ignored);
      auto const before = k.looked_up == gives::nothing ? contents{} : contents_of(s);

      auto const a = f.ask(op, s);
      outcome const found{a.ec, a.there};
      BOOST_TEST(expected.allows(found), found << " where " << expected << " was expected");
      if (a.ec && a.details) check_words(s, op, a);
      if (!a.ec && a.details) BOOST_TEST(a.details->empty());
      if (!a.ec && op.walks) BOOST_TEST(s.walked == k.entries);
      if (k.looked_up != gives::nothing) check_contents(s, op, !a.ec && a.there, before);
      if (op.queued != nullptr && (k.type == queue || k.type == stack)) check_queue(s, op, !a.ec && a.there);
    }
  }
}

template <std::size_t N>
void check_all(kind const& k, operation const (&ops)[N], row<N> const (&rows)[std::size(kinds)]) {
  auto const& r = rows[&k - kinds];
  for (std::size_t i = 0; i < N; ++i) check(k, ops[i], r.expected[i]);
}

template <std::size_t N>
constexpr bool has_every_kind(row<N> const (&rows)[std::size(kinds)]) {
  return std::ranges::equal(rows, kinds, {}, &row<N>::kind, &kind::type);
}
static_assert(has_every_kind(of_lookups_and_erasures) && has_every_kind(of_updates) && has_every_kind(of_walks) &&
              has_every_kind(of_batches));

void check_views_without_keys(kind const& k) {
  auto const* const r = std::ranges::find(of_views_without_keys, k.type, [](auto const& each) { return each.kind; });
  for (std::size_t i = 0; i < std::size(views_without_keys); ++i)
    check(k, views_without_keys[i], r != std::end(of_views_without_keys) ? r->expected[i] : other);
}

void check_info(kind const& k) {
  subject const s{k};
  auto const info = s.map.info();
  BOOST_TEST((info.type == k.type));
  BOOST_TEST(info.name == s.map.name().substr(0, 15));
  BOOST_TEST(info.key_size == s.map.key_size());
  BOOST_TEST(info.value_size == s.map.value_size());
  BOOST_TEST(info.max_entries == s.map.max_entries());
}

// A libbpf that knows arenas (1.4) maps their memory when it makes them, and what is mapped for writing stays open.
bool can_be_frozen(map_type type) {
  return type != arena || (libbpf_major_version() == 1 && libbpf_minor_version() < 4);
}

void check_kind(kind const& k) {
  check_info(k);
  check_all(k, lookups_and_erasures, of_lookups_and_erasures);
  check_all(k, updates, of_updates);
  check_all(k, walks, of_walks);
  check_all(k, batches, of_batches);
  check_views_without_keys(k);
  check(k, freezing, can_be_frozen(k.type) ? ok : outcome{EBUSY});
  if (can_be_frozen(k.type)) {
    check(k, frozen_lookup, of_lookups_and_erasures[&k - kinds].expected[0]);
    for (auto const& [op, expected] : of_frozen_maps) check(k, op, expected);
  }
  for (auto const& [op, expected] : of_pins) check(k, op, expected);
  for (auto const& op : calls_of_wrong_sizes) check(k, op, errc::size_mismatch);
}

/// Whether the kernel makes such a map.
bool exists(map_type type) {
  if (type != arena) return libbpf_probe_bpf_map_type(static_cast<bpf_map_type>(type), nullptr) == 1;
  bpf_map_create_opts options{};  // libbpf does not know it
  options.sz = sizeof options;
  options.map_flags = BPF_F_MMAPABLE;
  int const fd = bpf_map_create(static_cast<bpf_map_type>(type), "probe", 0, 0, 1, &options);
  if (fd >= 0) close(fd);
  return fd >= 0;
}

ut::test_case* make_case(kind const& k) {
  auto const name = std::string{to_string(k.type)};
  auto* const made = ut::make_test_case([&k] { check_kind(k); }, name, __FILE__, __LINE__);
  made->add_precondition([&k, name](ut::test_unit_id) {
    boost::test_tools::assertion_result result{exists(k.type)};
    result.message() << "the kernel makes no map of type " << name;
    return result;
  });
  return made;
}

}  // namespace map_operations_test

using namespace map_operations_test;

extern "C" int __wrap_bpf_object__load(bpf_object* obj) {
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, obj) bpf_map__set_autocreate(map, wanted.contains(bpf_map__name(map)));
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, obj)
      bpf_program__set_autoload(program, wanted.contains(bpf_program__name(program)));
  return __real_bpf_object__load(obj);
}

BOOST_AUTO_TEST_SUITE(map_operations)

static bool const registered = [] {
  for (auto const& k : kinds)
    ut::ut_detail::auto_test_unit_registrar{make_case(k), ut::decorator::collector_t::instance()};
  return true;
}();

// They are so roomy that what the tables are about pushes nothing out.
BOOST_DATA_TEST_CASE(of_lru_kinds_make_room, ut::data::make({"lru_hash", "lru_percpu_hash"}), name) {
  auto const obj = load_only(name);
  auto const map = obj.map(name);
  bytes const value(map.lookup_size());
  for (std::uint32_t key = 0; key < 3 * map.max_entries(); ++key) map.update(test::bytes_of(key), value);
  auto const kept = map.dynamic().entries().size();
  BOOST_TEST(kept > 0U);
  BOOST_TEST(kept <= map.max_entries());
}

// A map is not frozen as long as somebody may write into its memory.
BOOST_DATA_TEST_CASE(of_mapped_kinds_cannot_be_frozen,
                     ut::data::make({"ringbuf", "user_ringbuf"}) ^ ut::data::make({0, 1}), name, page) {
  auto const obj = load_only(name);
  auto const map = obj.map(name);
  auto const size = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  auto* const memory =
      mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, map.fd(), static_cast<off_t>(size) * page);
  BOOST_TEST_REQUIRE((memory != MAP_FAILED));
  error_code ec;
  map.freeze(ec);
  munmap(memory, size);
  BOOST_TEST(ec == test::kernel_error(EBUSY));
  map.freeze();
}

BOOST_AUTO_TEST_SUITE_END()
