// Iterators, read on a loop and without one.
#include "busy_workers.hpp"
#include "descriptor.hpp"
#include "failing_allocation.hpp"
#include "features.hpp"
#include "loop.hpp"
#include "own_cgroup.hpp"
#include "print.hpp"
#include "support.hpp"

#include <tinybpf/detail/iter_reading.hpp>
#include <tinybpf/iter_options.hpp>
#include <tinybpf/iter_reader.hpp>
#include <tinybpf/iter_stream.hpp>
#include <tinybpf/link.hpp>
#include <tinybpf/map.hpp>
#include <tinybpf/object.hpp>
#include <tinybpf/typed_map.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/describe/class.hpp>
#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <linux/sched.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <future>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace records {

struct task_record {
  std::uint32_t pid;
  std::uint32_t tgid;
  char comm[16];
};
BOOST_DESCRIBE_STRUCT(task_record, (), (pid, tgid, comm))

struct file_record {
  std::uint32_t tgid;
  std::uint32_t fd;
  std::uint64_t inode;
};
BOOST_DESCRIBE_STRUCT(file_record, (), (tgid, fd, inode))

struct map_record {
  std::uint32_t id;
  std::uint32_t max_entries;
  char name[16];
};
BOOST_DESCRIBE_STRUCT(map_record, (), (id, max_entries, name))

struct cgroup_record {
  std::uint64_t id;
  std::uint64_t level;
};
BOOST_DESCRIBE_STRUCT(cgroup_record, (), (id, level))

struct element {
  std::uint64_t value;
  std::uint32_t key;
  std::uint32_t seq_num;
};
BOOST_DESCRIBE_STRUCT(element, (), (value, key, seq_num))

struct named_otherwise {
  std::uint64_t value;
  std::uint32_t key;
  std::uint32_t number;
};
BOOST_DESCRIBE_STRUCT(named_otherwise, (), (value, key, number))

struct kilobyte {
  std::array<std::byte, 1024> all;
};

}  // namespace records

namespace wrong {

struct element {
  std::uint32_t key;
  std::uint32_t seq_num;
  std::uint64_t value;
};
BOOST_DESCRIBE_STRUCT(element, (), (key, seq_num, value))

}  // namespace wrong

namespace {

namespace asio = boost::asio;
using records::cgroup_record;
using records::element;
using records::file_record;
using records::kilobyte;
using records::map_record;
using records::task_record;
using test::checked;
using test::contains;
using test::descriptor;
using test::kernel_error;
using tinybpf::cgroup_iter_order;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::iter_options;
using tinybpf::iter_reader;
using tinybpf::iter_stream;
using tinybpf::link_kind;

error_code const aborted = asio::error::operation_aborted;

tinybpf::object load() { return tinybpf::load(ITERATORS_BPF_O); }

/// Threads of this process beside the main one, until the end.
class threads {
 public:
  explicit threads(int count) {
    for (int i = 0; i < count; ++i)
      all_.emplace_back([this] {
        {
          std::lock_guard const lock{mutex_};
          ids_.insert(static_cast<std::uint32_t>(gettid()));
          changed_.notify_all();
        }
        std::unique_lock lock{mutex_};
        changed_.wait(lock, [this] { return done_; });
      });
    std::unique_lock lock{mutex_};
    changed_.wait(lock, [&] { return ids_.size() == static_cast<std::size_t>(count); });
  }
  threads(threads const&) = delete;
  threads& operator=(threads const&) = delete;
  ~threads() {
    {
      std::lock_guard const lock{mutex_};
      done_ = true;
    }
    changed_.notify_all();
    for (auto& t : all_) t.join();
  }
  std::set<std::uint32_t> const& ids() const { return ids_; }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::set<std::uint32_t> ids_;
  bool done_ = false;
  std::vector<std::thread> all_;
};

/// n with the value n squared, for n from 0 on.
void fill(tinybpf::object const& obj, std::uint32_t count) {
  auto const elements = obj.map("elements").typed<std::uint32_t, std::uint64_t>();
  std::vector<std::uint32_t> keys(count);
  std::vector<std::uint64_t> values(count);
  std::iota(keys.begin(), keys.end(), 0U);
  std::transform(keys.begin(), keys.end(), values.begin(), [](std::uint64_t n) { return n * n; });
  elements.update_batch(keys, values);
}

/// That the elements of fill() were seen, each once, in the order that the kernel numbered them.
struct seen_elements {
  void see(element const& e) {
    BOOST_TEST_REQUIRE(e.value == std::uint64_t{e.key} * e.key);
    BOOST_TEST_REQUIRE(e.seq_num == keys.size());
    BOOST_TEST_REQUIRE(keys.insert(e.key).second);
  }
  std::set<std::uint32_t> keys;
};

template <class T>
std::vector<T> all_of(iter_reader& reader) {
  std::vector<T> all;
  while (auto const r = reader.next<T>()) all.push_back(*r);
  return all;
}
template <class T>
std::vector<T> all_of(tinybpf::program const& p, iter_options const& options = {}) {
  iter_reader reader{p, options};
  return all_of<T>(reader);
}

/// An iterator that is a pipe: it has what the test writes, and a read of an empty one blocks.
struct fake_iterator {
  fake_iterator() {
    int ends[2];
    checked(pipe2(ends, O_CLOEXEC), "pipe2");
    output = tinybpf::detail::iter_reading::over(tinybpf::detail::owned_descriptor{ends[0]}, "fake");
    input = ends[1];
  }
  fake_iterator(fake_iterator const&) = delete;
  fake_iterator& operator=(fake_iterator const&) = delete;
  ~fake_iterator() { end(); }

  void write(std::string_view text) const {
    checked(static_cast<int>(::write(input, text.data(), text.size())), "write");
  }
  template <class T>
  void write_part(T const& value, std::size_t from, std::size_t to) const {
    write({reinterpret_cast<char const*>(&value) + from, to - from});
  }
  template <class T>
  void write_all(T const& value) const {
    write_part(value, 0, sizeof value);
  }
  void end() {
    if (input >= 0) close(std::exchange(input, -1));
  }
  /// Until nothing is left in the pipe: somebody read it.
  void await_reader() const {
    auto const give_up = std::chrono::steady_clock::now() + test::patience;
    for (int left = 1; left != 0;) {
      checked(ioctl(input, FIONREAD, &left), "FIONREAD");
      if (std::chrono::steady_clock::now() > give_up) throw std::runtime_error{"nobody read"};
      std::this_thread::yield();
    }
  }

  std::shared_ptr<tinybpf::detail::iter_reading> output;
  int input = -1;
};

std::uint64_t inode_of(std::filesystem::path const& path) {
  struct stat s {};
  checked(stat(path.c_str(), &s), "stat");
  return s.st_ino;
}

/// A cgroup with a child, which has one, too.
struct cgroups {
  test::own_cgroup const top;
  test::own_cgroup const middle{top.path()};
  test::own_cgroup const bottom{middle.path()};
};

std::vector<std::uint64_t> ids_of(std::vector<cgroup_record> const& all) {
  std::vector<std::uint64_t> ids;
  for (auto const& c : all) ids.push_back(c.id);
  return ids;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(iterators)

BOOST_AUTO_TEST_CASE(of_all_tasks_have_this_one, *test::shows("iter/task")) {
  auto obj = load();
  obj.register_type<task_record>("task_record");
  auto const all = all_of<task_record>(obj.program("dump_task"));
  auto const self = static_cast<std::uint32_t>(getpid());
  auto const found = std::find_if(all.begin(), all.end(), [&](auto const& t) { return t.pid == self; });
  BOOST_REQUIRE((found != all.end()));
  BOOST_TEST(found->tgid == self);
  std::ifstream comm{"/proc/self/comm"};
  std::string name;
  std::getline(comm, name);
  BOOST_TEST(tinybpf::to_string_view(found->comm) == name);
  BOOST_TEST(std::count_if(all.begin(), all.end(), [&](auto const& t) { return t.tgid != self; }) > 0);
}

BOOST_AUTO_TEST_CASE(of_one_process_have_its_threads) {
  auto const obj = load();
  auto const self = static_cast<std::uint32_t>(getpid());
  threads const more{3};
  std::set<std::uint32_t> expected;  // a sanitizer has a thread of its own
  for (auto const& entry : std::filesystem::directory_iterator{"/proc/self/task"})
    expected.insert(static_cast<std::uint32_t>(std::stoul(entry.path().filename())));
  BOOST_TEST(std::includes(expected.begin(), expected.end(), more.ids().begin(), more.ids().end()));
  descriptor pid_fd{static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)), "pidfd_open"};
  auto const by_fd = iter_options::of_pid_fd(pid_fd);
  pid_fd.reset();  // it was duplicated
  for (auto const& options : {iter_options::of_process(getpid()), by_fd}) {
    std::set<std::uint32_t> pids;
    for (auto const& t : all_of<task_record>(obj.program("dump_task"), options)) {
      BOOST_TEST(t.tgid == self);
      pids.insert(t.pid);
    }
    BOOST_TEST(pids == expected, boost::test_tools::per_element());
  }
  auto const one = *more.ids().begin();
  auto const only = all_of<task_record>(obj.program("dump_task"), iter_options::of_thread(static_cast<int>(one)));
  BOOST_REQUIRE(only.size() == 1U);
  BOOST_TEST(only.front().pid == one);
  // Beyond what the kernel gives, and so nobody's.
  auto const nobody = iter_options::of_process(std::numeric_limits<int>::max());
  BOOST_TEST(all_of<task_record>(obj.program("dump_task"), nobody).empty());
}

BOOST_AUTO_TEST_CASE(of_files_have_those_of_a_process, *test::shows("iter/task_file")) {
  auto const obj = load();
  descriptor const open{::open(ITERATORS_BPF_O, O_RDONLY | O_CLOEXEC), "open"};
  auto const all = all_of<file_record>(obj.program("dump_file"), iter_options::of_process(getpid()));
  auto const found =
      std::find_if(all.begin(), all.end(), [&](auto const& f) { return static_cast<int>(f.fd) == open; });
  BOOST_REQUIRE((found != all.end()));
  BOOST_TEST(found->tgid == static_cast<std::uint32_t>(getpid()));
  BOOST_TEST(found->inode == inode_of(ITERATORS_BPF_O));
}

BOOST_AUTO_TEST_CASE(of_maps_have_those_of_the_object, *test::shows("iter/bpf_map")) {
  auto const obj = load();
  auto const info = obj.map("elements").info();
  auto const all = all_of<map_record>(obj.program("dump_map"));
  auto const found = std::find_if(all.begin(), all.end(), [&](auto const& m) { return m.id == info.id; });
  BOOST_REQUIRE((found != all.end()));
  BOOST_TEST(found->max_entries == 50000U);
  BOOST_TEST(tinybpf::to_string_view(found->name) == "elements");
}

BOOST_AUTO_TEST_CASE(of_a_map_have_its_elements, *test::shows("iter/bpf_map_elem")) {
  auto const obj = load();
  fill(obj, 100);
  auto const elements = obj.map("elements");
  descriptor fd{fcntl(elements.fd(), F_DUPFD_CLOEXEC, 3), "dup"};
  auto const by_fd = iter_options::of_map_fd(fd);
  fd.reset();
  for (auto const& options : {iter_options::of_map(elements), by_fd}) {
    seen_elements seen;
    for (auto const& e : all_of<element>(obj.program("dump_element"), options)) seen.see(e);
    BOOST_TEST(seen.keys.size() == 100U);
  }
}

BOOST_AUTO_TEST_CASE(hold_what_they_walk_by_themselves) {
  iter_reader reader;
  std::vector<element> all;
  {
    auto obj = load();
    fill(obj, 10);
    reader = iter_reader{obj.program("dump_element"), iter_options::of_map(obj.map("elements"))};
    obj.close();
  }
  BOOST_TEST(all_of<element>(reader).size() == 10U);
  reader.restart();
  BOOST_TEST(all_of<element>(reader).size() == 10U);
}

BOOST_AUTO_TEST_CASE(of_cgroups_walk_in_each_order, *test::shows("iter/cgroup")) {
  auto const obj = load();
  auto const dump = obj.program("dump_cgroup");
  cgroups const made;
  auto const top = made.top.id();
  auto const middle = made.middle.id();
  auto const bottom = made.bottom.id();
  using ids = std::vector<std::uint64_t>;
  auto const walk = [&](std::filesystem::path const& from, cgroup_iter_order order) {
    return ids_of(all_of<cgroup_record>(dump, iter_options::of_cgroup(from, order)));
  };
  BOOST_TEST(walk(made.middle.path(), cgroup_iter_order::self_only) == ids{middle}, boost::test_tools::per_element());
  BOOST_TEST(walk(made.top.path(), cgroup_iter_order::descendants_pre) == (ids{top, middle, bottom}),
             boost::test_tools::per_element());
  BOOST_TEST(walk(made.top.path(), cgroup_iter_order::descendants_post) == (ids{bottom, middle, top}),
             boost::test_tools::per_element());
  auto const up = walk(made.bottom.path(), cgroup_iter_order::ancestors_up);
  BOOST_REQUIRE(up.size() >= 4U);
  BOOST_TEST((ids{up[0], up[1], up[2]}) == (ids{bottom, middle, top}), boost::test_tools::per_element());

  auto fd = made.top.fd();
  auto const by_fd = iter_options::of_cgroup_fd(fd, cgroup_iter_order::descendants_pre);
  fd.reset();
  BOOST_TEST(ids_of(all_of<cgroup_record>(dump, by_fd)) == (ids{top, middle, bottom}),
             boost::test_tools::per_element());

  auto const whole = all_of<cgroup_record>(dump, iter_options::of_cgroups(cgroup_iter_order::descendants_pre));
  BOOST_REQUIRE(whole.size() >= 4U);
  BOOST_TEST(whole.front().level == 0U);
  auto const in_whole = ids_of(whole);
  BOOST_TEST((std::find(in_whole.begin(), in_whole.end(), bottom) != in_whole.end()));
}

// The kernel knows a process by its number alone, whatever it was given.
BOOST_AUTO_TEST_CASE(of_a_process_are_of_who_has_its_number) {
  auto const obj = load();
  auto const start = [](pid_t number) {
    clone_args args{};
    args.exit_signal = SIGCHLD;
    if (number != 0) {
      args.set_tid = reinterpret_cast<std::uintptr_t>(&number);
      args.set_tid_size = 1;
    }
    auto const child = checked(static_cast<int>(syscall(SYS_clone3, &args, sizeof args)), "clone3");
    if (child == 0) {
      pause();
      _exit(0);
    }
    return child;
  };
  auto const end = [](pid_t child) {
    kill(child, SIGKILL);
    checked(waitpid(child, nullptr, 0), "waitpid");
  };
  pid_t const first = start(0);
  descriptor pid_fd{static_cast<int>(syscall(SYS_pidfd_open, first, 0)), "pidfd_open"};
  auto const link = obj.program("dump_task").attach_iter(iter_options::of_pid_fd(pid_fd));
  iter_reader reader{link};
  BOOST_TEST(all_of<task_record>(reader).size() == 1U);
  end(first);
  reader.restart();
  BOOST_TEST(all_of<task_record>(reader).empty());
  pid_t const second = start(first);
  BOOST_TEST(second == first);
  reader.restart();
  BOOST_TEST(all_of<task_record>(reader).size() == 1U);
  end(second);
}

// The kernel takes descriptor 0 for none, and walks the whole hierarchy.
BOOST_AUTO_TEST_CASE(of_a_cgroup_in_a_process_without_standard_input) {
  auto const obj = load();
  cgroups const made;
  int const kept = checked(fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3), "dup of stdin");
  close(STDIN_FILENO);
  auto const all = all_of<cgroup_record>(
      obj.program("dump_cgroup"), iter_options::of_cgroup(made.middle.path(), cgroup_iter_order::descendants_pre));
  checked(dup2(kept, STDIN_FILENO), "dup2");
  close(kept);
  BOOST_TEST(ids_of(all) == (std::vector<std::uint64_t>{made.middle.id(), made.bottom.id()}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(attaching)

BOOST_AUTO_TEST_CASE(gives_a_link_that_can_be_read_often) {
  auto const obj = load();
  fill(obj, 3);
  auto const link = obj.program("dump_element").attach_iter(iter_options::of_map(obj.map("elements")));
  BOOST_TEST((link.kind() == link_kind::iter));
  BOOST_TEST(link.fd() > 2);
  iter_reader first{link};
  iter_reader second{link};
  BOOST_TEST(first.next<element>().has_value());
  BOOST_TEST(all_of<element>(second).size() == 3U);
  BOOST_TEST(all_of<element>(first).size() == 2U);
  BOOST_TEST(first.name() == "dump_element");
}

BOOST_AUTO_TEST_CASE(by_the_section_does_the_same) {
  auto const obj = load();
  auto const link = obj.program("dump_map").attach();
  BOOST_TEST((link.kind() == link_kind::iter));
  iter_reader reader{link};
  BOOST_TEST(reader.next<map_record>().has_value());
  // This way, too, the types are known.
  error_code ec;
  iter_reader elements{link};
  static_cast<void>(elements.next<wrong::element>(ec));
  BOOST_TEST(ec == errc::type_mismatch);
}

BOOST_AUTO_TEST_CASE(needs_to_know_what_to_walk) {
  auto const obj = load();
  error_code ec;
  diagnostics details;
  BOOST_TEST(!obj.program("dump_element").attach_iter({}, ec, details).attached());
  BOOST_TEST((ec.category() == boost::system::system_category()));
  BOOST_TEST(contains(details.hint, "iter_options::of_map"));
  BOOST_TEST(contains(details.message, "iterator 'bpf_map_elem'"));
  BOOST_TEST(details.program == "dump_element");
  BOOST_TEST(!obj.program("dump_cgroup").attach_iter({}, ec, details).attached());
  BOOST_TEST(bool{ec});
  BOOST_TEST(contains(details.hint, "iter_options::of_cgroup"));
}

// Which the kernel would overlook.
BOOST_AUTO_TEST_CASE(refuses_what_the_iterator_cannot_walk) {
  auto const obj = load();
  error_code ec;
  diagnostics details;
  BOOST_TEST(!obj.program("dump_map").attach_iter(iter_options::of_map(obj.map("elements")), ec, details).attached());
  BOOST_TEST(ec == errc::not_supported);
  BOOST_TEST(contains(details.message, "iterator 'bpf_map' of map 'elements'"));
  BOOST_TEST(contains(details.hint, "give no iter_options"));
  BOOST_TEST(!obj.program("dump_task").attach_iter(iter_options::of_map(obj.map("elements")), ec, details).attached());
  BOOST_TEST(ec == errc::not_supported);
  BOOST_TEST(contains(details.hint, "iter_options::of_process"));
  BOOST_TEST(!obj.program("dump_element").attach_iter(iter_options::of_process(getpid()), ec, details).attached());
  BOOST_TEST(ec == errc::not_supported);
  BOOST_TEST(!obj.program("no_iterator").attach_iter({}, ec, details).attached());
  BOOST_TEST(ec == errc::wrong_program_type);
  BOOST_TEST(contains(details.hint, "raw_tracepoint/sys_enter"));
}

BOOST_AUTO_TEST_CASE(says_what_is_wrong_with_a_task) {
  auto const obj = load();
  auto const dump = obj.program("dump_task");
  error_code ec;
  diagnostics details;
  // The kernel would take 0 for all tasks.
  for (auto const& nobody : {iter_options::of_process(0), iter_options::of_thread(0), iter_options::of_process(-1)}) {
    BOOST_TEST(!dump.attach_iter(nobody, ec, details).attached());
    BOOST_TEST(ec == kernel_error(EINVAL));
    BOOST_TEST(contains(details.message, "there is no "));
  }
  BOOST_TEST(!dump.attach_iter(iter_options::of_pid_fd(-1), ec, details).attached());
  BOOST_TEST(ec == kernel_error(EBADF));
  BOOST_TEST(contains(details.message, "cannot duplicate"));
  descriptor const no_process{eventfd(0, EFD_CLOEXEC), "eventfd"};
  BOOST_TEST(!dump.attach_iter(iter_options::of_pid_fd(no_process), ec, details).attached());
  BOOST_TEST(ec == kernel_error(EBADF));
  BOOST_TEST(contains(details.hint, "no such process"));
}

BOOST_AUTO_TEST_CASE(says_what_is_wrong_with_a_map) {
  auto obj = load();
  auto const dump = obj.program("dump_element");
  error_code ec;
  diagnostics details;
  BOOST_TEST(!dump.attach_iter(iter_options::of_map({}), ec, details).attached());
  BOOST_TEST(ec == errc::closed);
  auto other = tinybpf::object::open(ITERATORS_BPF_O);
  BOOST_TEST(!dump.attach_iter(iter_options::of_map(other.map("elements")), ec, details).attached());
  BOOST_TEST(ec == errc::not_loaded);
  BOOST_TEST(details.map == "elements");
  BOOST_TEST(!dump.attach_iter(iter_options::of_map_fd(-1), ec, details).attached());
  BOOST_TEST(ec == kernel_error(EBADF));
  auto const narrow = tinybpf::map::create(tinybpf::map_type::hash, "narrow", 2, 2, 4);
  BOOST_TEST(!dump.attach_iter(iter_options::of_map(narrow), ec, details).attached());
  BOOST_TEST(ec == kernel_error(EACCES));
  BOOST_TEST(contains(details.hint, "may read no more"));
  auto const queue = tinybpf::map::create(tinybpf::map_type::queue, "queue", 0, 8, 4);
  BOOST_TEST(!dump.attach_iter(iter_options::of_map(queue), ec, details).attached());
  BOOST_TEST(ec == kernel_error(EINVAL));
  BOOST_TEST(contains(details.hint, "certain types"));
  obj.close();
  BOOST_TEST(!dump.attach_iter(iter_options::of_map(narrow), ec, details).attached());
  BOOST_TEST(ec == errc::closed);
  BOOST_TEST(details.hint.empty());
  BOOST_CHECK_THROW(static_cast<void>(dump.attach_iter(iter_options::of_map(narrow))), tinybpf::error);
}

BOOST_AUTO_TEST_CASE(says_what_is_wrong_with_a_cgroup) {
  auto const obj = load();
  auto const dump = obj.program("dump_cgroup");
  error_code ec;
  diagnostics details;
  auto const attach = [&](std::filesystem::path const& path) {
    BOOST_TEST(!dump.attach_iter(iter_options::of_cgroup(path, cgroup_iter_order::self_only), ec, details).attached());
  };
  attach("/no/such/folder");
  BOOST_TEST(ec == kernel_error(ENOENT));
  BOOST_TEST(contains(details.message, "cannot open the cgroup /no/such/folder"));
  BOOST_TEST(contains(details.hint, "a directory of a cgroup2 file system"), details.hint);
  attach("/proc/self/status");
  BOOST_TEST(ec == kernel_error(ENOTDIR));
  BOOST_TEST(contains(details.hint, "a directory of a cgroup2 file system"), details.hint);
  attach("");
  BOOST_TEST(ec == kernel_error(ENOENT));
  attach("/proc");
  BOOST_TEST(ec == kernel_error(EBADF));
  BOOST_TEST(contains(details.hint, "cgroup file system"));
}

BOOST_AUTO_TEST_CASE(a_link_of_no_iterator_cannot_be_read) {
  auto const obj = load();
  auto const link = obj.program("no_iterator").attach();
  error_code ec;
  diagnostics details;
  iter_reader const reader{link, ec, details};
  BOOST_TEST(ec == errc::not_supported);
  BOOST_TEST(!reader);
  BOOST_TEST(contains(details.message, "raw_tracepoint"));
  iter_reader const of_nothing{tinybpf::link{}, ec, details};
  BOOST_TEST(ec == errc::closed);
  BOOST_CHECK_THROW(iter_reader{tinybpf::link{}}, tinybpf::error);
  BOOST_CHECK_THROW(iter_reader{tinybpf::program{}}, tinybpf::error);
  asio::io_context io;
  iter_stream const stream{io.get_executor(), link, ec, details};
  BOOST_TEST(ec == errc::not_supported);
  BOOST_TEST(!stream);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(reading)

BOOST_AUTO_TEST_CASE(many_pages_gives_each_record_once) {
  constexpr std::uint32_t count = 50'000;  // 800,000 bytes
  auto const obj = load();
  fill(obj, count);
  auto const options = iter_options::of_map(obj.map("elements"));
  seen_elements one_by_one;
  iter_reader reader{obj.program("dump_element"), options};
  while (auto const e = reader.next<element>()) one_by_one.see(*e);
  BOOST_TEST(one_by_one.keys.size() == count);

  seen_elements by_pages;
  reader.restart();
  for (;;) {
    auto const page = reader.read_some<element>(1000);
    if (page.empty()) break;
    BOOST_TEST(page.size() <= 1000U);
    for (auto const& e : page) by_pages.see(e);
  }
  BOOST_TEST(by_pages.keys.size() == count);
  BOOST_TEST(!reader.next<element>().has_value());  // the end stays
}

// The kernel says EAGAIN after a million steps that gave nothing.
BOOST_AUTO_TEST_CASE(goes_on_after_a_million_silent_elements) {
  auto const obj = load();
  constexpr std::uint32_t last = 1'099'999;
  obj.map("quiet_elements").typed<std::uint32_t, std::uint64_t>().update(last, 7);
  iter_reader reader{obj.program("dump_loud_element"), iter_options::of_map(obj.map("quiet_elements"))};
  auto const found = reader.next<element>();
  BOOST_REQUIRE(found.has_value());
  BOOST_TEST(found->key == last);
  BOOST_TEST(found->value == 7U);
  BOOST_TEST(!reader.next<element>().has_value());
}

BOOST_AUTO_TEST_CASE(an_element_of_which_too_much_is_written_is_an_error_behind_the_others) {
  auto const obj = load();
  auto const counts = obj.map("block_counts").typed<std::uint32_t, std::uint64_t>();
  counts.update(0, 1);
  counts.update(1, 2);
  counts.update(2, 40);
  iter_reader reader{obj.program("dump_blocks"), iter_options::of_map(obj.map("block_counts"))};
  for (int i = 0; i < 3; ++i) BOOST_TEST(reader.next<kilobyte>().has_value());
  error_code ec;
  diagnostics details;
  BOOST_TEST(!reader.next<kilobyte>(ec, details).has_value());
  BOOST_TEST(ec == kernel_error(E2BIG));
  BOOST_TEST(details.program == "dump_blocks");
  BOOST_TEST(details.position == 3072U);
  BOOST_TEST(contains(details.hint, "32768"));
}

BOOST_AUTO_TEST_CASE(cgroups_fit_into_one_page_or_are_an_error) {
  auto const obj = load();
  cgroups const made;
  auto const options = iter_options::of_cgroup(made.top.path(), cgroup_iter_order::descendants_pre);
  iter_reader reader{obj.program("dump_cgroup_blocks"), options};
  for (int i = 0; i < 16; ++i) BOOST_TEST(reader.next<kilobyte>().has_value());
  error_code ec;
  diagnostics details;
  BOOST_TEST(!reader.next<kilobyte>(ec, details).has_value());
  BOOST_TEST(ec == kernel_error(EOPNOTSUPP));
  BOOST_TEST(contains(details.hint, "walks cgroups in one read only"));
  BOOST_TEST(details.program == "dump_cgroup_blocks");
}

BOOST_AUTO_TEST_CASE(as_another_type_than_the_object_s_is_refused) {
  auto obj = load();
  fill(obj, 2);
  iter_reader reader{obj.program("dump_element"), iter_options::of_map(obj.map("elements"))};
  error_code ec;
  diagnostics details;
  BOOST_TEST(!reader.next<wrong::element>(ec, details).has_value());
  BOOST_TEST(ec == errc::type_mismatch);
  BOOST_TEST(details.program == "dump_element");
  BOOST_TEST(contains(details.message, "records of iterator 'dump_element'"));
  BOOST_TEST(!details.differences.empty());
  // Nothing was taken.
  BOOST_TEST(all_of<element>(reader).size() == 2U);

  reader.restart();
  obj.register_type<records::named_otherwise>("element", tinybpf::field_names::ignore);
  BOOST_TEST(reader.next<records::named_otherwise>().has_value());
}

BOOST_AUTO_TEST_CASE(what_is_no_multiple_of_the_record_is_an_error_at_the_end) {
  auto const obj = load();
  fill(obj, 5);  // of which 8 bytes each are written
  iter_reader reader{obj.program("dump_value"), iter_options::of_map(obj.map("elements"))};
  for (int i = 0; i < 2; ++i) BOOST_TEST(reader.next<element>().has_value());
  error_code ec;
  diagnostics details;
  BOOST_TEST(!reader.next<element>(ec, details).has_value());
  BOOST_TEST(ec == errc::record_size);
  BOOST_TEST(details.program == "dump_value");
  BOOST_TEST(details.expected_size == 16U);
  BOOST_TEST(details.actual_size == 8U);
  BOOST_TEST(details.position == 32U);
  BOOST_TEST(contains(details.message, "'dump_value' ends with 8 bytes"));
  BOOST_TEST(!reader.next<element>(ec, details).has_value());
  BOOST_TEST(!ec);
}

BOOST_AUTO_TEST_CASE(lines_and_text) {
  auto const obj = load();
  auto const print = obj.program("print_task");
  auto const self = std::to_string(getpid()) + " of " + std::to_string(getpid());
  iter_reader reader{print, iter_options::of_thread(getpid())};
  BOOST_TEST(reader.next_line().value() == self);
  BOOST_TEST(reader.next_line().value() == "the end");  // without an end of its line
  BOOST_TEST(!reader.next_line().has_value());
  reader.restart();
  BOOST_TEST(reader.read_text() == self + "\nthe end");
  BOOST_TEST(reader.read_text().empty());

  iter_reader all{print};
  auto const text = all.read_text();
  BOOST_TEST(contains(text, self + "\n"));
  BOOST_TEST(contains(text, "\nthe end"));
}

BOOST_AUTO_TEST_CASE(a_closed_one_says_so) {
  iter_reader reader;
  error_code ec;
  BOOST_TEST(!reader.next<element>(ec).has_value());
  BOOST_TEST(ec == errc::closed);
  BOOST_TEST(reader.read_some<element>(1, ec).empty());
  BOOST_TEST(ec == errc::closed);
  BOOST_TEST(!reader.next_line(ec).has_value());
  BOOST_TEST(ec == errc::closed);
  BOOST_TEST(reader.read_text(ec).empty());
  BOOST_TEST(ec == errc::closed);
  reader.restart(ec);
  BOOST_TEST(ec == errc::closed);
  BOOST_TEST(reader.name().empty());
  BOOST_CHECK_THROW(reader.next<element>(), tinybpf::error);

  auto const obj = load();
  reader = iter_reader{obj.program("dump_map")};
  auto moved = std::move(reader);
  BOOST_TEST(moved.next<map_record>().has_value());
  BOOST_TEST(moved.read_some<map_record>(0, ec).empty());
  BOOST_TEST(ec == kernel_error(EINVAL));
  moved.close();
  BOOST_TEST(!moved.next<map_record>(ec).has_value());
  BOOST_TEST(ec == errc::closed);
}

// A pipe has whatever pages the test writes.
BOOST_AUTO_TEST_CASE(a_record_that_a_page_cuts_is_put_together) {
  fake_iterator fake;
  element const first{1, 2, 3};
  element const second{4, 5, 6};
  auto const wanted = tinybpf::detail::iter_wanted{tinybpf::detail::iter_wanted::what::record, sizeof(element)};
  auto const take = [&](element& to) {
    error_code ec;
    diagnostics details;
    return fake.output->take_record(tinybpf::shape_of<element>(), &to, ec, details);
  };
  using status = tinybpf::detail::iter_status;
  element got{};
  BOOST_TEST((take(got) == status::unread));
  fake.write_part(first, 0, 5);
  fake.output->read_page(wanted);
  BOOST_TEST((take(got) == status::unread));
  fake.write_part(first, 5, sizeof first);
  fake.write_part(second, 0, 15);
  fake.output->read_page(wanted);
  BOOST_TEST((take(got) == status::taken));
  BOOST_TEST(got.seq_num == 3U);
  BOOST_TEST((take(got) == status::unread));
  fake.write_part(second, 15, sizeof second);
  fake.end();
  fake.output->read_page(wanted);
  fake.output->read_page(wanted);  // nothing is read ahead: the pipe would be at its end
  BOOST_TEST((take(got) == status::taken));
  BOOST_TEST(got.value == 4U);
  BOOST_TEST((take(got) == status::unread));
  fake.output->read_page(wanted);
  BOOST_TEST((take(got) == status::ended));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(streams)

BOOST_AUTO_TEST_CASE(many_pages_on_a_loop) {
  constexpr std::uint32_t count = 50'000;
  auto const obj = load();
  fill(obj, count);
  test::loop l;
  seen_elements one_by_one;
  seen_elements by_pages;
  l.run([](test::loop& loop, tinybpf::object const& from, seen_elements& singly,
           seen_elements& paged) -> asio::awaitable<void> {
    iter_stream s{loop.io, from.program("dump_element"), iter_options::of_map(from.map("elements"))};
    while (auto const e = co_await s.next<element>()) singly.see(*e);
    s.restart();
    for (;;) {
      auto const page = co_await s.read_some<element>(1000);
      if (page.empty()) break;
      for (auto const& e : page) paged.see(e);
    }
    BOOST_TEST(s.is_open());
    BOOST_TEST(s.name() == "dump_element");
  }(l, obj, one_by_one, by_pages));
  BOOST_TEST(one_by_one.keys.size() == count);
  BOOST_TEST(by_pages.keys.size() == count);
}

// Reading a page runs the walk: on the loop it would stall it.
BOOST_AUTO_TEST_CASE(leave_the_loop_to_others_while_the_kernel_walks) {
  fake_iterator fake;
  test::loop l;
  iter_stream s{l.io.get_executor(), fake.output};
  std::optional<element> got;
  bool done = false;
  s.async_next<element>([&](error_code ec, std::optional<element> e) {
    BOOST_TEST(!ec);
    got = e;
    done = true;
  });
  // The read blocks until this is written, by the loop.
  int turns = 0;
  auto const turn = [&](auto self) -> void {
    if (++turns == 100) return fake.write_all(element{1, 2, 3});
    asio::post(l.io, [=] { self(self); });
  };
  turn(turn);
  l.run_until([&] { return done; });
  BOOST_REQUIRE(got.has_value());
  BOOST_TEST(got->key == 2U);
}

BOOST_AUTO_TEST_CASE(text_on_a_loop) {
  auto const obj = load();
  test::loop l;
  l.run([](test::loop& loop, tinybpf::object const& from) -> asio::awaitable<void> {
    auto const self = std::to_string(getpid()) + " of " + std::to_string(getpid());
    // What a worker thread adds to this process is in another line.
    iter_stream s{loop.io, from.program("print_task"), iter_options::of_thread(getpid())};
    auto line = co_await s.next_line();
    BOOST_TEST(line.value() == self);
    line = co_await s.next_line();
    BOOST_TEST(line.value() == "the end");
    line = co_await s.next_line();
    BOOST_TEST(!line.has_value());
    s.restart();
    auto const text = co_await s.read_text();
    BOOST_TEST(text == self + "\nthe end");
    auto link = from.program("print_task").attach();
    iter_stream all{loop.io, link};
    link.detach();
    auto const everything = co_await all.read_text();
    BOOST_TEST(contains(everything, self + "\n"));
  }(l, obj));
}

BOOST_AUTO_TEST_CASE(errors_on_a_loop) {
  auto const obj = load();
  fill(obj, 3);
  test::loop l;
  l.run([](test::loop& loop, tinybpf::object const& from) -> asio::awaitable<void> {
    iter_stream s{loop.io, from.program("dump_element"), iter_options::of_map(from.map("elements"))};
    try {
      static_cast<void>(co_await s.next<wrong::element>());
      BOOST_ERROR("it is of another type");
    } catch (tinybpf::error const& e) {
      BOOST_TEST(e.code() == errc::type_mismatch);
      BOOST_TEST(e.get_diagnostics().program == "dump_element");
    }
    // Also when there is something to take.
    static_cast<void>(co_await s.next<element>());
    try {
      static_cast<void>(co_await s.next<wrong::element>());
      BOOST_ERROR("it is of another type");
    } catch (tinybpf::error const& e) {
      BOOST_TEST(e.code() == errc::type_mismatch);
    }
    diagnostics details;
    auto [ec, page] = co_await s.async_read_some<element>(0, details, asio::as_tuple(asio::deferred));
    BOOST_TEST(ec == kernel_error(EINVAL));
    BOOST_TEST(page.empty());

    iter_stream odd{loop.io, from.program("dump_value"), iter_options::of_map(from.map("elements"))};
    static_cast<void>(co_await odd.next<element>());
    auto [size_ec, none] = co_await odd.async_next<element>(details, asio::as_tuple(asio::deferred));
    BOOST_TEST(size_ec == errc::record_size);
    BOOST_TEST(!none.has_value());
    BOOST_TEST(details.program == "dump_value");
    BOOST_TEST(details.actual_size == 8U);

    iter_stream closed;
    auto [closed_ec, nothing] = co_await closed.async_next<element>(details, asio::as_tuple(asio::deferred));
    BOOST_TEST(closed_ec == errc::closed);
    BOOST_TEST(!nothing.has_value());
    BOOST_TEST(!details.message.empty());
    error_code restart_ec;
    closed.restart(restart_ec);
    BOOST_TEST(restart_ec == errc::closed);
    BOOST_CHECK_THROW(static_cast<void>(closed.get_executor()), tinybpf::error);
  }(l, obj));
}

#ifdef TINYBPF_TEST_FAILING_ALLOCATION
BOOST_AUTO_TEST_CASE(without_memory_nothing_is_taken) {
  fake_iterator fake;
  std::string const line(100, 'x');
  fake.write(line + '\n');
  fake.end();
  fake.output->read_page({tinybpf::detail::iter_wanted::what::line});
  test::loop l;
  iter_stream s{l.io.get_executor(), fake.output};
  std::optional<error_code> got;
  std::string text;
  auto const read = [&] {
    s.async_next_line([&](error_code ec, std::optional<std::string> const& found) {
      got = ec;
      text = found.value_or("");
    });
  };
  read();
  {
    test::failing_allocation const first{0};
    l.poll();
  }
  BOOST_REQUIRE(got.has_value());
  BOOST_TEST(*got == asio::error::no_memory);
  read();
  l.poll();
  BOOST_TEST(!*got);
  BOOST_TEST(text == line);
}
#endif

BOOST_AUTO_TEST_CASE(one_read_at_a_time) {
  fake_iterator fake;
  test::loop l;
  iter_stream s{l.io.get_executor(), fake.output};
  std::optional<error_code> first;
  std::optional<error_code> second;
  s.async_next<element>([&](error_code ec, std::optional<element>) { first = ec; });
  s.async_next<element>([&](error_code ec, std::optional<element>) { second = ec; });
  l.run_until([&] { return second.has_value(); });
  BOOST_TEST(*second == errc::operation_in_progress);
  BOOST_TEST(!first.has_value());
  error_code ec;
  s.restart(ec);
  BOOST_TEST(ec == errc::operation_in_progress);
  fake.write_all(element{});
  l.run_until([&] { return first.has_value(); });
  BOOST_TEST(!*first);
}

// What was being read for it is there for the next call, in its order.
BOOST_AUTO_TEST_CASE(a_cancelled_read_loses_nothing) {
  fake_iterator fake;
  test::loop l;
  iter_stream s{l.io.get_executor(), fake.output};
  for (auto const type : {asio::cancellation_type::total, asio::cancellation_type::partial,
                          asio::cancellation_type::terminal, asio::cancellation_type::total}) {
    asio::cancellation_signal signal;
    std::optional<error_code> got;
    s.async_next<element>(asio::bind_cancellation_slot(signal.slot(), [&](error_code ec, std::optional<element> e) {
      BOOST_TEST(!e.has_value());
      got = ec;
    }));
    l.poll();  // up to the worker, which blocks on the pipe
    signal.emit(type);
    l.run_until([&] { return got.has_value(); });
    BOOST_TEST(*got == aborted);
  }
  fake.write_all(std::array<element, 3>{{{0, 0, 0}, {1, 1, 1}, {2, 2, 2}}});
  fake.await_reader();  // for whom nobody waits
  fake.write_all(element{3, 3, 3});
  fake.end();
  std::vector<std::uint32_t> keys;
  l.run([](iter_stream& from, std::vector<std::uint32_t>& to) -> asio::awaitable<void> {
    while (auto const e = co_await from.next<element>()) to.push_back(e->key);
  }(s, keys));
  BOOST_TEST(keys == (std::vector<std::uint32_t>{0, 1, 2, 3}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_read_that_lost_a_race_loses_nothing) {
  using namespace asio::experimental::awaitable_operators;
  fake_iterator fake;
  test::loop l;
  iter_stream s{l.io.get_executor(), fake.output};
  std::vector<std::uint32_t> keys;
  l.run([](iter_stream& from, fake_iterator& it, std::vector<std::uint32_t>& to) -> asio::awaitable<void> {
    for (int i = 0; i < 20; ++i) {
      asio::steady_timer timer{co_await asio::this_coro::executor};
      timer.expires_after(std::chrono::microseconds{i * 10});
      auto const result = co_await (from.next<element>() || timer.async_wait(asio::use_awaitable));
      if (result.index() == 0) to.push_back(std::get<0>(result)->key);
      if (i % 4 == 0) {
        auto const n = static_cast<std::uint32_t>(i / 4);
        it.write_all(element{n, n, n});
      }
    }
    it.end();
    while (auto const e = co_await from.next<element>()) to.push_back(e->key);
  }(s, fake, keys));
  BOOST_TEST(keys == (std::vector<std::uint32_t>{0, 1, 2, 3, 4}), boost::test_tools::per_element());
}

// Cancelled before the worker came to it, again and again: it is read once.
BOOST_AUTO_TEST_CASE(reads_that_were_given_up_do_not_add_up) {
  auto const obj = load();
  fill(obj, 10'000);
  test::loop l;
  iter_stream s{l.io, obj.program("dump_element"), iter_options::of_map(obj.map("elements"))};
  {
    test::busy_workers busy{l.io};
    for (int i = 0; i < 10; ++i) {
      asio::cancellation_signal signal;
      std::optional<error_code> got;
      s.async_next<element>(
          asio::bind_cancellation_slot(signal.slot(), [&](error_code ec, std::optional<element>) { got = ec; }));
      l.poll();
      signal.emit(asio::cancellation_type::total);
      l.run_until([&] { return got.has_value(); });
      BOOST_TEST(*got == aborted);
    }
  }
  seen_elements seen;
  l.run([](iter_stream& from, seen_elements& to) -> asio::awaitable<void> {
    while (auto const e = co_await from.next<element>()) to.see(*e);
  }(s, seen));
  BOOST_TEST(seen.keys.size() == 10'000U);

  // A reading that was given up for another says nothing any more.
  seen_elements again;
  {
    test::busy_workers busy{l.io};
    s.restart();
    asio::cancellation_signal signal;
    std::optional<error_code> got;
    s.async_next<element>(
        asio::bind_cancellation_slot(signal.slot(), [&](error_code ec, std::optional<element>) { got = ec; }));
    l.poll();
    signal.emit(asio::cancellation_type::total);
    l.run_until([&] { return got.has_value(); });
    s.restart();
  }
  l.run([](iter_stream& from, seen_elements& to) -> asio::awaitable<void> {
    while (auto const e = co_await from.next<element>()) to.see(*e);
  }(s, again));
  BOOST_TEST(again.keys.size() == 10'000U);
}

// The kernel walks on for a read that was given up. The next read waits for that, on no thread of its own.
BOOST_AUTO_TEST_CASE(reads_that_were_given_up_hold_one_thread) {
  fake_iterator fake;
  test::loop l;
  iter_stream s{l.io.get_executor(), fake.output};
  fake.write("a");
  std::optional<error_code> got;
  std::string line;
  asio::cancellation_signal signal;
  auto const read = [&] {
    got.reset();
    s.async_next_line(
        asio::bind_cancellation_slot(signal.slot(), [&](error_code ec, std::optional<std::string> const& text) {
          got = ec;
          line = text.value_or("");
        }));
    l.poll();
  };
  read();
  fake.await_reader();       // the first page is there, and without an end of the line the next is read
  constexpr int enough = 8;  // more than the worker has threads
  for (int i = 0; i < enough; ++i) {
    signal.emit(asio::cancellation_type::total);
    l.run_until([&] { return got.has_value(); });
    BOOST_TEST(*got == aborted);
    read();
  }
  std::promise<void> ran;
  tinybpf::detail::submit(*tinybpf::detail::worker_of(l.io), [&] { ran.set_value(); });
  bool const has_a_thread = ran.get_future().wait_for(test::patience) == std::future_status::ready;
  BOOST_TEST(has_a_thread);
  BOOST_TEST(!got.has_value());
  fake.write("b\nc");
  l.run_until([&] { return got.has_value(); });
  BOOST_TEST(!*got);
  BOOST_TEST(line == "ab");
  fake.end();
  read();
  l.run_until([&] { return got.has_value(); });
  BOOST_TEST(line == "c");
}

// It waits for the page of a read that was given up, which comes when the loop goes, or never.
BOOST_AUTO_TEST_CASE(an_abandoned_read_behind_another_goes_with_its_loop) {
  for (bool const begun : {true, false}) {
    fake_iterator fake;
    auto const kept = std::make_shared<int>();
    std::weak_ptr<tinybpf::detail::iter_reading> const reading = fake.output;
    bool called = false;
    {
      test::loop l;
      std::optional<test::busy_workers> busy;
      if (!begun) busy.emplace(l.io);
      auto const s = std::make_shared<iter_stream>(l.io.get_executor(), std::exchange(fake.output, nullptr));
      asio::cancellation_signal signal;
      std::optional<error_code> first;
      s->async_next<element>(
          asio::bind_cancellation_slot(signal.slot(), [&](error_code ec, std::optional<element>) { first = ec; }));
      l.poll();
      signal.emit(asio::cancellation_type::total);
      l.run_until([&] { return first.has_value(); });
      s->async_next<element>([&called, kept, s](error_code, std::optional<element>) { called = true; });
      l.poll();
      fake.end();
    }
    BOOST_TEST(!called);
    BOOST_TEST(kept.use_count() == 1);
    BOOST_TEST(reading.expired());
  }
}

BOOST_AUTO_TEST_CASE(closing_ends_what_is_pending) {
  for (bool const destroy : {false, true}) {
    fake_iterator fake;
    test::loop l;
    std::optional<iter_stream> s{std::in_place, l.io.get_executor(), std::exchange(fake.output, nullptr)};
    std::optional<error_code> got;
    s->async_next<element>([&](error_code ec, std::optional<element> e) {
      BOOST_TEST(!e.has_value());
      got = ec;
    });
    l.poll();
    if (destroy)
      s.reset();
    else
      s->close();
    fake.write_all(element{});  // the page ends
    l.run_until([&] { return got.has_value(); });
    BOOST_TEST(*got == aborted);
    if (s) BOOST_TEST(!s->is_open());
  }
}

BOOST_AUTO_TEST_CASE(a_stream_moves_while_it_is_read) {
  fake_iterator fake;
  test::loop l;
  iter_stream s{l.io.get_executor(), fake.output};
  std::optional<element> got;
  s.async_next<element>([&](error_code, std::optional<element> e) { got = e; });
  l.poll();
  iter_stream other{std::move(s)};
  BOOST_TEST(!s.is_open());  // NOLINT: that is the question
  fake.write_all(element{1, 2, 3});
  l.run_until([&] { return got.has_value(); });
  BOOST_TEST(got->key == 2U);
  iter_stream third;
  third = std::move(other);
  fake.write_all(element{4, 5, 6});
  got.reset();
  third.async_next<element>([&](error_code, std::optional<element> e) { got = e; });
  l.run_until([&] { return got.has_value(); });
  BOOST_TEST(got->key == 5U);
}

// The loop ends before the page is there: nothing completes, nothing leaks.
BOOST_AUTO_TEST_CASE(an_abandoned_read_goes_with_its_loop) {
  auto const obj = load();
  fill(obj, 10'000);
  bool called = false;
  {
    test::loop l;
    iter_stream s{l.io, obj.program("dump_element"), iter_options::of_map(obj.map("elements"))};
    s.async_read_text([&](error_code, std::string const&) { called = true; });
    l.poll();
  }
  BOOST_TEST(!called);
}

BOOST_AUTO_TEST_CASE(takes_any_token) {
  auto const obj = load();
  fill(obj, 4);
  asio::thread_pool pool{2};
  asio::io_context io;
  auto const options = iter_options::of_map(obj.map("elements"));
  tinybpf::basic_iter_stream<asio::thread_pool::executor_type> s{pool.get_executor(), obj.program("dump_element"),
                                                                 options};
  BOOST_TEST(s.async_next<element>(asio::use_future).get().has_value());
  BOOST_TEST(s.async_read_some<element>(2, asio::use_future).get().size() == 2U);
  std::promise<std::thread::id> where;
  s.async_next<element>(asio::bind_executor(io, [&](error_code ec, std::optional<element> e) {
    BOOST_TEST(!ec);
    BOOST_TEST(e.has_value());
    where.set_value(std::this_thread::get_id());
  }));
  auto ready = where.get_future();
  io.run();
  BOOST_TEST((ready.get() == std::this_thread::get_id()));
  BOOST_TEST(!s.async_next<element>(asio::use_future).get().has_value());
  BOOST_TEST(s.async_read_text(asio::use_future).get().empty());
  BOOST_TEST(!s.async_next_line(asio::use_future).get().has_value());
  pool.join();  // a thread of use_future's may still hold an executor of the pool
  static_assert(std::is_same_v<decltype(s)::rebind_executor<asio::any_io_executor>::other, iter_stream>);
}

BOOST_AUTO_TEST_CASE(from_a_coroutine_of_another_executor_type) {
  auto const obj = load();
  fill(obj, 4);
  asio::io_context io;
  using executor = asio::io_context::executor_type;
  std::size_t seen = 0;
  asio::co_spawn(
      io,
      [](asio::io_context& on, tinybpf::object const& from, std::size_t& count) -> asio::awaitable<void, executor> {
        iter_stream s{on, from.program("dump_element"), iter_options::of_map(from.map("elements"))};
        for (;;) {
          auto const e = co_await s.next<element, executor>();
          if (!e) break;
          ++count;
        }
      }(io, obj, seen),
      [](std::exception_ptr thrown) { BOOST_TEST(!thrown); });
  io.run();
  BOOST_TEST(seen == 4U);
}

BOOST_AUTO_TEST_SUITE_END()
