// Runs the example bpf_watch on objects whose types it does not know, makes what they look for happen, and reads what
// it prints.
#include "support.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/string.hpp>
#include <boost/json/value.hpp>
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <functional>
#include <ostream>
#include <regex>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace json = boost::json;
using test::checked;
using test::contains;

namespace {

using strings = std::vector<std::string>;

// A running bpf_watch, and what it has written so far.
class watcher {
 public:
  // Where its output goes: here, or nowhere.
  enum class output { here, pipe_without_reader, full_device };

  explicit watcher(strings arguments, output to = output::here, bool ignore_sigpipe = false) {
    int out[2];
    int err[2];
    checked(pipe2(out, O_CLOEXEC), "pipe2");
    checked(pipe2(err, O_CLOEXEC), "pipe2");
    if (to == output::full_device) {
      close(out[1]);
      out[1] = checked(open("/dev/full", O_WRONLY | O_CLOEXEC), "open");
    }
    arguments.insert(arguments.begin(), BPF_WATCH);
    std::vector<char*> argv;
    for (auto& a : arguments) argv.push_back(a.data());
    argv.push_back(nullptr);
    pid_ = checked(fork(), "fork");
    if (pid_ == 0) {
      std::signal(SIGPIPE, ignore_sigpipe ? SIG_IGN : SIG_DFL);
      dup2(out[1], STDOUT_FILENO);
      dup2(err[1], STDERR_FILENO);
      execv(argv.front(), argv.data());
      _exit(127);
    }
    close(out[1]);
    close(err[1]);
    pipes_ = {out[0], err[0]};
    if (to == output::pipe_without_reader) hang_up(0);
  }
  watcher(watcher const&) = delete;
  watcher& operator=(watcher const&) = delete;
  ~watcher() {
    hang_up(0);
    hang_up(1);
    if (pid_ == 0) return;
    ::kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

  std::string const& out() const { return text_[0]; }
  std::string const& err() const { return text_[1]; }

  void kill(int signal) const { checked(::kill(pid_, signal), "kill"); }

  // Reads, and acts in between, until something is so. False if the program ended without.
  bool read_until(std::function<bool()> const& so, std::function<void()> const& act = {}) {
    auto const deadline = std::chrono::steady_clock::now() + std::chrono::seconds{20};
    while (!so()) {
      if (pipes_[0] == -1 && pipes_[1] == -1) return false;
      if (std::chrono::steady_clock::now() > deadline)
        throw std::runtime_error{"no end of bpf_watch; it wrote:\n" + out().substr(0, 2000) + err()};
      if (act) act();
      read(act ? 0 : 100);
    }
    return true;
  }
  void until_attached() {
    if (!read_until([&] { return contains(err(), " programs attached\n"); }))
      throw std::runtime_error{"bpf_watch attached nothing; it wrote:\n" + out() + err()};
  }
  // Acts until the program ends by itself, and gives its status as of waitpid.
  int status_at_end(std::function<void()> const& act = {}) {
    read_until([] { return false; }, act);
    int status = 0;
    checked(waitpid(std::exchange(pid_, 0), &status, 0), "waitpid");
    return status;
  }

 private:
  void read(int patience_ms) {
    std::array<pollfd, 2> wanted{pollfd{pipes_[0], POLLIN, 0}, pollfd{pipes_[1], POLLIN, 0}};
    checked(poll(wanted.data(), wanted.size(), patience_ms), "poll");
    for (std::size_t i = 0; i < 2; ++i) {
      if (pipes_[i] == -1 || wanted[i].revents == 0) continue;
      char part[65536];
      auto const got = checked(static_cast<int>(::read(pipes_[i], part, sizeof part)), "read");
      if (got == 0) hang_up(i);
      text_[i].append(part, static_cast<std::size_t>(got));
    }
  }
  void hang_up(std::size_t i) {
    if (pipes_[i] != -1) close(std::exchange(pipes_[i], -1));
  }

  pid_t pid_ = 0;
  std::array<int, 2> pipes_{-1, -1};
  std::array<std::string, 2> text_;
};

bool succeeded(int status) { return WIFEXITED(status) && WEXITSTATUS(status) == 0; }
bool failed(int status) { return WIFEXITED(status) && WEXITSTATUS(status) == 1; }

// What this process does for the objects to see, and by what they know it.
class doings {
 public:
  doings() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    checked(bind(listener_, any, size), "bind");
    checked(listen(listener_, 8), "listen");
    checked(getsockname(listener_, any, &size), "getsockname");
    address_ = address;
    std::getline(std::ifstream{"/proc/self/comm"}, comm_);
  }
  doings(doings const&) = delete;
  doings& operator=(doings const&) = delete;
  ~doings() {
    close(listener_);
    std::signal(SIGUSR1, before_);
  }

  pid_t self() const { return getpid(); }
  std::string const& comm() const { return comm_; }
  // Of no file. It needs an escape in JSON.
  std::string const& path() const { return path_; }
  std::uint16_t port() const { return ntohs(address_.sin_port); }
  std::uint16_t port_on_the_wire() const { return address_.sin_port; }
  bool started(json::value const& pid) const { return pid.is_int64() && children_.contains(pid.as_int64()); }

  void run_true() {
    char name[] = "true";
    char first[] = "for";
    char second[] = "bpf_watch";
    char* const argv[] = {name, first, second, nullptr};
    pid_t child = 0;
    if (int const err = posix_spawn(&child, "/bin/true", nullptr, nullptr, argv, environ); err != 0)
      throw std::system_error{err, std::generic_category(), "posix_spawn"};
    children_.insert(child);
    checked(waitpid(child, nullptr, 0), "waitpid");
  }
  void kill() { checked(::kill(getpid(), 0), "kill"); }
  void kill_ignored() { checked(::kill(getpid(), SIGUSR1), "kill"); }
  void open() { refused(SYS_openat, O_RDONLY | O_CLOEXEC); }
  void unlink() { refused(SYS_unlinkat, 0); }
  void connect() {
    int const out = checked(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
    checked(::connect(out, reinterpret_cast<sockaddr*>(&address_), sizeof address_), "connect");
    int const in = checked(accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC), "accept4");
    linger const reset{1, 0};  // so that no port has to rest
    checked(setsockopt(out, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), "setsockopt");
    close(out);
    close(in);
  }
  void getpgid() { syscall(SYS_getpgid, 0); }

 private:
  void refused(long call, int flags) const {
    if (syscall(call, AT_FDCWD, path_.c_str(), flags) != -1 || errno != ENOENT)
      throw std::logic_error{path_ + " is there"};
  }

  std::set<std::int64_t> children_;
  std::string path_ = "/there is no \"bpf_watch_test\"";
  std::string comm_;
  int listener_ = checked(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
  sockaddr_in address_{};
  void (*before_)(int) = std::signal(SIGUSR1, SIG_IGN);
};

// Events that have to be there.
struct stream {
  std::string map;
  std::string type;  // empty: bytes
  strings fields;
  bool (*ours)(json::object const& event, doings const& d);  // of one record at least; null: none has to come
};

// A table that has to be there. In what is expected, the columns are separated by '|'.
struct table {
  std::string title;    // how it begins, behind "map "
  std::string heading;  // empty: whatever
  std::string row;      // a regular expression for one row at least; PID and PORT stand for our own
};

struct watched {
  std::string object;
  strings arguments;
  void (doings::*act)();
  std::vector<stream> streams;
  std::vector<table> tables;
  std::set<std::string> may_be_unattached;  // on some kernels
};

std::ostream& operator<<(std::ostream& to, watched const& w) { return to << w.object.substr(w.object.rfind('/') + 1); }

std::int64_t number(json::value const& v) { return v.to_number<std::int64_t>(); }

bool is_number(json::value const& v, std::int64_t n) { return v.is_number() && number(v) == n; }
bool is_text(json::value const& v, std::string_view text) { return v.is_string() && v.get_string() == text; }

strings names(json::object const& o) {
  strings all;
  for (auto const& member : o) all.emplace_back(member.key());
  return all;
}

strings lines(std::string const& text) {
  strings all;
  std::istringstream in{text};
  for (std::string line; std::getline(in, line);) all.push_back(line);
  return all;
}

// Columns are two spaces apart, at least.
std::string columns(std::string const& line) {
  static std::regex const gap{"  +"};
  auto text = std::regex_replace(line.substr(std::min<std::size_t>(2, line.size())), gap, "|");
  if (text.ends_with('|')) text.pop_back();  // an empty last column
  return text;
}

// The tables of the output, each without its empty line.
std::vector<strings> tables_of(strings const& output) {
  std::vector<strings> all;
  for (auto const& line : output) {
    if (line.starts_with("map "))
      all.push_back({line});
    else if (!all.empty() && !line.empty())
      all.back().push_back(columns(line));
  }
  return all;
}

void check_events(strings const& output, std::vector<stream> const& streams, doings const& d) {
  std::vector<std::size_t> ours(streams.size());
  for (auto const& line : output) {
    json::error_code ec;
    auto const parsed = json::parse(line, ec);
    BOOST_REQUIRE_MESSAGE(!ec && parsed.is_object(), "no JSON: " << line);
    auto const& record = parsed.get_object();
    auto const is_of = [&](stream const& s) {
      return is_text(record.at("map"), s.map) &&
             (s.type.empty() ? !record.contains("type")
                             : record.contains("type") && is_text(record.at("type"), s.type));
    };
    auto const found = std::find_if(streams.begin(), streams.end(), is_of);
    BOOST_REQUIRE_MESSAGE(found != streams.end(), "of an unexpected map or type: " << line);
    auto const& event = record.at(found->type.empty() ? "bytes" : "event");
    if (event.is_object()) BOOST_TEST(names(event.get_object()) == found->fields, boost::test_tools::per_element());
    bool const is_ours = found->ours != nullptr && found->ours(event.is_object() ? event.get_object() : record, d);
    if (is_ours) ++ours[static_cast<std::size_t>(found - streams.begin())];
  }
  for (std::size_t i = 0; i < streams.size(); ++i)
    BOOST_TEST((streams[i].ours == nullptr || ours[i] != 0),
               "nothing of ours among " << output.size() << " records as " << streams[i].map << ' ' << streams[i].type
                                        << "; the last: " << (output.empty() ? "" : output.back()));
}

void check_tables(strings const& output, std::vector<table> const& expected, doings const& d) {
  auto const all = tables_of(output);
  for (auto const& t : expected) {
    auto const is_it = [&](strings const& lines) { return lines.front().starts_with("map " + t.title); };
    auto const found = std::find_if(all.begin(), all.end(), is_it);
    BOOST_REQUIRE_MESSAGE(found != all.end(), "no table of " << t.title);
    if (t.heading.empty()) continue;
    BOOST_REQUIRE_MESSAGE(found->size() > 2, "nothing in " << found->front());
    BOOST_TEST((*found)[1] == t.heading);
    auto row = std::regex_replace(t.row, std::regex{"PID"}, std::to_string(d.self()));
    row = std::regex_replace(row, std::regex{"PORT"}, std::to_string(d.port_on_the_wire()));
    std::regex const wanted{row};
    bool const there =
        std::any_of(found->begin() + 2, found->end(), [&](auto const& r) { return std::regex_match(r, wanted); });
    BOOST_TEST(there, "no row like " << row << " in " << found->front() << "; the last: " << found->back());
  }
}

// Who could not be attached is named, and the others are counted.
void check_attaching(std::string const& err, std::set<std::string> const& may_be_unattached) {
  static std::regex const refusal{"bpf_watch: '(\\w+)' is not attached: (.+) \\((.+)\\)"};
  static std::regex const sum{"bpf_watch: (\\d+) of (\\d+) programs attached"};
  int refused = 0;
  int sums = 0;
  for (auto const& line : lines(err)) {
    std::smatch part;
    if (std::regex_match(line, part, refusal)) {
      BOOST_TEST(may_be_unattached.contains(part[1]), line);
      ++refused;
    } else if (std::regex_match(line, part, sum)) {
      BOOST_TEST(std::stoi(part[1]) + refused == std::stoi(part[2]), line);
      ++sums;
    }
  }
  BOOST_TEST(sums == 1);
}

// How they are said to end, where there are events.
strings after(int count) { return {"--count", std::to_string(count)}; }
strings after_with_maps(int count) { return {"--maps", "--count", std::to_string(count)}; }
// And where there are none.
strings const soon{"--maps", "--duration", "0.5"};

std::vector<watched> const objects{
    {WATCHED_BOOKKEEPING_BPF_O,
     soon,
     &doings::kill_ignored,
     {},
     {{getpid() % 2 != 0 ? "odd, array, 65 entries" : "even, array, 65 entries", "key|count|mark",
       "10\\|\\d+\\|MARK_FARTHEST"},
      {"by_parity, array_of_maps, 2 entries", "key|value", "1\\|[0-9a-f]{8}"},
      {"by_hash, hash_of_maps, 2 entries", "key|value", "4\\|[0-9a-f]{8}"},
      {"oldest, queue, cannot be listed: ", "", ""},
      {"newest, stack, cannot be listed: ", "", ""},
      {"bookkeep.data, array, 1 entry", "verbosity|last_mark", "3\\|MARK_\\w+"},
      {"bookkeep.rodata, array, 1 entry", "targets|greeting|on_kill.____fmt",
       "\\{\"min\":0,\"max\":2147483647\\}\\|books of kill\\(\\)\\|%s: %lld"},
      {".data.tuning, array, 1 entry", "tuning", "-1"},
      {"bookkeep.bss, array, 1 entry", "total|last_call|last_comm",
       "\\d+\\|\\{\"ts\":\\d+,\"from\":\\d+,\"to\":\\d+,\"sig\":\\d+\\}\\|.*"}},
     {}},
    {WATCHED_EXECSNOOP_BPF_O,
     after_with_maps(40),
     &doings::run_true,
     {{"events",
       "struct event",
       {"pid", "ppid", "uid", "args_size", "comm", "args"},
       [](json::object const& e, doings const& d) {
         return d.started(e.at("pid")) && is_number(e.at("ppid"), d.self()) && is_number(e.at("uid"), getuid()) &&
                is_number(e.at("args_size"), sizeof "true" + sizeof "for" + sizeof "bpf_watch") &&
                is_text(e.at("comm"), "true") && is_text(e.at("args"), "true");
       }}},
     {{"execsnoo.rodata, array, 1 entry", "targ_uid", "4294967295"}},
     {}},
    {WATCHED_EXITSNOOP_BPF_O,
     after_with_maps(40),
     &doings::run_true,
     {{"rb",
       "struct event",
       {"start_time", "exit_time", "pid", "tid", "ppid", "sig", "core_dumped", "thread", "exit_code", "comm"},
       [](json::object const& e, doings const& d) {
         return d.started(e.at("pid")) && e.at("tid") == e.at("pid") && is_number(e.at("ppid"), d.self()) &&
                number(e.at("start_time")) < number(e.at("exit_time")) && is_number(e.at("sig"), 0) &&
                e.at("core_dumped") == json::value(false) && e.at("thread") == json::value(false) &&
                is_number(e.at("exit_code"), 0) && is_text(e.at("comm"), "true");
       }}},
     {{"exitsnoo.rodata, array, 1 entry", "trace_failed_only|trace_by_process", "false\\|true"}},
     {}},
    {WATCHED_FLOWMAP_BPF_O,
     soon,
     &doings::connect,
     {},
     {{"flows, lru_hash, ", "saddr|daddr|sport|dport|proto|first_ns|last_ns|changes|state",
       "16777343\\|16777343\\|\\d+\\|PORT\\|6\\|\\d+\\|\\d+\\|\\d+\\|\\d+"},
      {"networks, lpm_trie, ", "trie|addr|value", "\\{\"prefixlen\":24.*\\}\\|\\[127,0,0,0\\]\\|1"},
      {"by_family, percpu_hash, ", "", ""}},
     {"count_egress"}},
    {WATCHED_HEATMAP_BPF_O,
     after_with_maps(40),
     &doings::run_true,
     {{"snapshots",
       "snapshot_t",
       {"seq", "cause", "grid", "legend", "bits"},
       [](json::object const& e, doings const& d) {
         auto const& grid = e.at("grid").as_array();
         return d.started(e.at("cause")) && grid.size() == 3 && grid[1].as_array().size() == 4 &&
                names(grid[2].as_array()[3].as_object()) == strings{"runs", "last_prio", "hot"} &&
                e.at("legend") == json::value(json::array{"rt", "normal", "idle"}) &&
                e.at("bits").as_array()[1].as_array()[1].as_array().size() == 2;
       }}},
     {{"history, array, 2 entries", "key|value",
       "[01]\\|\\[(\\[(\\{\"runs\":\\d+,\"last_prio\":-?\\d+,\"hot\":\\w+\\},?){4}\\],?){3}\\]"},
      {"heatmap.data, array, 1 entry", "current", "\\{\"seq\":\\d+,\"cause\":\\d+,.*"}},
     {}},
    {WATCHED_KILLSNOOP_BPF_O,
     after_with_maps(60),
     &doings::kill,
     {{"events",
       "",
       {},
       [](json::object const& record, doings const& d) {
         // u64 timestamp, u32 pid, s32 target, s32 signal, comm; and the kernel's padding
         std::string bytes;
         std::string const digits{record.at("bytes").as_string()};
         for (std::size_t i = 0; i < digits.size(); i += 2)
           bytes += static_cast<char>(std::stoi(digits.substr(i, 2), nullptr, 16));
         std::int32_t numbers[3];
         if (bytes.size() != 44) return false;
         std::memcpy(numbers, bytes.data() + 8, sizeof numbers);
         return numbers[0] == d.self() && numbers[1] == d.self() && numbers[2] == 0 && bytes.data() + 20 == d.comm();
       }}},
     {{"counter, array, 1 entry", "key|value", "00000000\\|[0-9a-f]{16}"}},
     {}},
    {WATCHED_OPENSNOOP_BPF_O,
     after_with_maps(300),
     &doings::open,
     {{"events",
       "struct event",
       {"ts", "pid", "uid", "ret", "flags", "comm", "fname"},
       [](json::object const& e, doings const& d) {
         return is_number(e.at("pid"), d.self()) && is_number(e.at("uid"), getuid()) &&
                is_number(e.at("ret"), -ENOENT) && is_number(e.at("flags"), O_RDONLY | O_CLOEXEC) &&
                is_text(e.at("comm"), d.comm()) && is_text(e.at("fname"), d.path());
       }}},
     {{"start, hash, ", "", ""}, {"opensnoo.rodata, array, 1 entry", "targ_pid|targ_failed", "0\\|false"}},
     {}},
    {WATCHED_PROCLIFE_BPF_O,
     after(80),
     &doings::run_true,
     {{"forks",
       "struct fork_event",
       {"ts", "parent", "child"},
       [](json::object const& e, doings const& d) {
         auto const& parent = e.at("parent").as_object();
         auto const& child = e.at("child").as_object();
         return is_number(parent.at("pid"), d.self()) && is_text(parent.at("comm"), d.comm()) &&
                d.started(child.at("pid")) && is_text(child.at("comm"), d.comm());
       }},
      {"exits",
       "struct exit_event",
       {"version", "pid", "signal", "core_dumped", "status", "nice", "is_thread", "lifetime_us", "cpu"},
       [](json::object const& e, doings const& d) {
         return is_number(e.at("version"), 1) && d.started(e.at("pid")) && is_number(e.at("signal"), 0) &&
                is_number(e.at("core_dumped"), 0) && is_number(e.at("status"), 0) &&
                is_number(e.at("nice"), getpriority(PRIO_PROCESS, 0)) && is_number(e.at("is_thread"), 0) &&
                number(e.at("lifetime_us")) > 0 && number(e.at("lifetime_us")) < 20'000'000 &&
                number(e.at("cpu")) < sysconf(_SC_NPROCESSORS_CONF);
       }}},
     {},
     {}},
    {WATCHED_PROFILE_BPF_O,
     soon,
     &doings::kill,
     {},
     {{"stackmap, stack_trace, ", "", ""},
      {"counts, hash, ", "", ""},
      {"profile.rodata, array, 1 entry", "include_idle|user_stacks", "false\\|true"}},
     {"do_perf_event"}},
    {WATCHED_RUNQLAT_BPF_O,
     soon,
     &doings::run_true,
     {},
     {{"start, hash, ", "", ""},
      {"hists, hash, ", "key|slots|comm", "\\d+\\|\\[(\\d+,){25}\\d+\\]\\|.+"},
      {"runqlat.rodata, array, 1 entry", "targ_ms|targ_tgid", "false\\|0"}},
     {}},
    {WATCHED_SIGSNOOP_BPF_O,
     after_with_maps(100),
     &doings::kill_ignored,
     {{"events",
       "struct event",
       {"pid", "tpid", "sig", "origin", "outcome", "ret", "comm"},
       [](json::object const& e, doings const& d) {
         return is_number(e.at("pid"), d.self()) && is_number(e.at("tpid"), d.self()) && is_text(e.at("sig"), "USR1") &&
                is_text(e.at("origin"), "FROM_USER") && is_text(e.at("outcome"), "IGNORED") &&
                is_number(e.at("ret"), 0) && is_text(e.at("comm"), d.comm());
       }}},
     {{"values, hash, ", "", ""}, {"generated, percpu_hash, ", "key|cpu|value", "USR1\\|\\d+\\|[1-9]\\d*"}},
     {}},
    {WATCHED_SOFTIRQS_BPF_O,
     soon,
     &doings::connect,
     {},
     {{"start, percpu_array, 1 entry", "key|cpu|value", "0\\|0\\|\\d+"},
      {"stats, percpu_array, 10 entries", "key|cpu|count|time_ns|max_ns", "\\d\\|\\d+\\|[1-9]\\d*\\|\\d+\\|\\d+"},
      {"softirqs.rodata, array, 1 entry", "settings", "\\{\"dist\":true,\"ns\":false,\"min_ns\":0\\}"},
      {"softirqs.bss, array, 1 entry", "hists", "\\[(\\{\"slots\":\\[(\\d+,?){20}\\]\\},?){10}\\]"}},
     {}},
    {WATCHED_SYSCOUNT_BPF_O,
     soon,
     &doings::getpgid,
     {},
     {{"config, array, 1 entry", "key|only_pid|with_latency|reserved|min_ns|comm", "0\\|0\\|false\\|\\[0,0,0\\]\\|0"},
      {"start, hash, ", "", ""},
      {"data, hash, ", "key|count|total_ns", std::to_string(SYS_getpgid) + "\\|[1-9]\\d*\\|[1-9]\\d*"}},
     {}},
    {WATCHED_TASKDUMP_BPF_O, soon, &doings::kill, {}, {{"taskdump.bss, array, 1 entry", "tasks_seen", "0"}}, {}},
    {WATCHED_TCPSTATES_BPF_O,
     after_with_maps(100),
     &doings::connect,
     {{"events",
       "struct event",
       {"saddr_v4", "saddr_v6", "daddr", "skaddr", "delta_us", "pid", "oldstate", "newstate", "family", "sport",
        "dport", "task"},
       [](json::object const& e, doings const& d) {
         auto const address = static_cast<std::int64_t>(htonl(INADDR_LOOPBACK));
         auto const& to = e.at("daddr").as_object();
         return is_number(e.at("saddr_v4"), address) && is_number(e.at("saddr_v6").as_array()[0], 127) &&
                is_number(to.at("v4"), address) && is_number(to.at("v6"), address) && e.at("skaddr").is_uint64() &&
                is_number(e.at("pid"), d.self()) && is_text(e.at("oldstate"), "TCP_CLOSE") &&
                is_text(e.at("newstate"), "TCP_SYN_SENT") && is_number(e.at("family"), AF_INET) &&
                is_number(e.at("dport"), d.port()) && is_text(e.at("task"), d.comm());
       }}},
     {{"timestamps, hash, ", "", ""}, {"tcpstate.rodata, array, 1 entry", "target_family", "0"}},
     {}},
    {WATCHED_UNLINKSNOOP_BPF_O,
     after_with_maps(60),
     &doings::unlink,
     {{"events",
       "struct event",
       {"seen_by", "removes_folder", "pid", "ret", "comm", "path"},
       [](json::object const& e, doings const& d) {
         return is_number(e.at("seen_by"), 't') && is_number(e.at("removes_folder"), -1) &&
                is_number(e.at("pid"), d.self()) && is_number(e.at("ret"), 0) && is_text(e.at("comm"), d.comm()) &&
                is_text(e.at("path"), d.path());
       }}},
     {{"unlinksn.bss, array, 1 entry", "unused|unused_enum", "0x0\\|0x0"}},
     {"do_unlinkat", "do_unlinkat_exit"}},
    {EXEC_SNOOP_BPF_O,
     after(40),
     &doings::run_true,
     {{"events",
       "struct exec_event",
       {"time_ns", "pid", "ppid", "uid", "comm", "filename"},
       [](json::object const& e, doings const& d) {
         return d.started(e.at("pid")) && is_number(e.at("ppid"), d.self()) && is_number(e.at("uid"), getuid()) &&
                is_text(e.at("comm"), "true") && is_text(e.at("filename"), "/bin/true");
       }}},
     {},
     {}},
    {MULTI_EVENT_TYPES_BPF_O,
     after_with_maps(80),
     &doings::run_true,
     {{"events",
       "struct exec_event",
       {"kind", "pid", "comm"},
       [](json::object const& e, doings const& d) {
         return is_number(e.at("kind"), 1) && d.started(e.at("pid")) && is_text(e.at("comm"), "true");
       }},
      {"events",
       "struct exit_event",
       {"kind", "pid", "lived_ns"},
       [](json::object const& e, doings const& d) {
         return is_number(e.at("kind"), 2) && d.started(e.at("pid")) && number(e.at("lived_ns")) > 0;
       }}},
     {{"started, lru_hash, ", "key|value", "\\d+\\|\\d+"}},
     {}},
    {EITHER_BUFFER_BPF_O,
     after(40),
     &doings::run_true,
     {{"events",
       "struct exec_event",
       {"pid", "comm"},
       [](json::object const& e, doings const& d) { return d.started(e.at("pid")) && is_text(e.at("comm"), "true"); }}},
     {},
     {}},
    {CONFIG_MAP_BPF_O,
     soon,
     &doings::run_true,
     {},
     {{"configs, array, 1 entry", "key|enabled|reserved|least_uid|comm", "0\\|false\\|\\[0,0,0\\]\\|0"},
      {"execs_by_uid, hash, 0 entries", "", ""}},
     {}},
    {TYPED_EVENTS_BPF_O,
     after(80),
     &doings::run_true,
     {{"events",
       "struct task_event",
       {"time_ns", "task", "user", "change", "comm", "recent"},
       [](json::object const& e, doings const& d) {
         auto const& task = e.at("task").as_object();
         return d.started(task.at("first")) && task.at("group") == task.at("first") &&
                is_number(e.at("user").as_object().at("first"), getuid()) && is_text(e.at("change"), "task_started") &&
                is_text(e.at("comm"), "true") && e.at("recent").as_array().size() == 4 &&
                e.at("recent").as_array()[0] == e.at("time_ns");
       }}},
     {},
     {}},
    {ROUND_TRIP_BPF_O,
     soon,
     &doings::getpgid,
     {{"answers", "struct answer", {"number", "asked_ns", "answered_ns", "cpu", "pid"}, nullptr}},
     {{"questions, user_ringbuf, cannot be listed: ", "", ""},
      {"round_tr.bss, array, 1 entry", "question_anchor|answer_anchor",
       "\\{\"number\":0,\"asked_ns\":0\\}\\|\\{.*\"pid\":0\\}"}},
     {}},
};

// What is wrong on the command line, and what is said about it.
struct mistake {
  strings arguments;
  strings said;
};

std::ostream& operator<<(std::ostream& to, mistake const& m) { return to << m.said.front(); }

std::vector<mistake> const mistakes{
    {{"/no/such/file.bpf.o"}, {"/no/such/file.bpf.o", "No such file or directory"}},
    {{BPF_WATCH}, {BPF_WATCH}},
    {{WATCHED_EXITSNOOP_BPF_O, "--event", "rbb=event"}, {"no map 'rbb'", "did you mean 'rb'?"}},
    {{WATCHED_EXITSNOOP_BPF_O, "--event", "rb=evnt"}, {"no type 'evnt'", "did you mean 'event'?"}},
    {{WATCHED_EXITSNOOP_BPF_O, "--event", "rb"}, {"--event takes MAP=STRUCT, not rb"}},
    {{WATCHED_EXITSNOOP_BPF_O, "--event", "exitsnoo.bss=event"}, {"'exitsnoo.bss' is no ring or perf buffer"}},
    {{WATCHED_EXITSNOOP_BPF_O, "--event", "rb=sched_process_exit"}, {"no record can be a 'int sched_process_exit("}},
    {{WATCHED_EXITSNOOP_BPF_O, "--event", "rb=event", "--event", "rb=task_struct"}, {"--event names 'rb' twice"}},
    {{WATCHED_EXITSNOOP_BPF_O, "--count", "many"}, {"'many'", "--count"}},
    {{WATCHED_EXITSNOOP_BPF_O, "--duration", "-1"}, {"--duration takes seconds"}},
    {{WATCHED_EXITSNOOP_BPF_O, "--duration", "1e300"}, {"--duration takes seconds"}},
    {{WATCHED_EXITSNOOP_BPF_O, "--duration", "nan"}, {"--duration takes seconds"}},
    {{WATCHED_EXITSNOOP_BPF_O, "--bogus"}, {"'--bogus'"}},
    {{NO_BTF_BPF_O, "--event", "rb=event"}, {NO_BTF_BPF_O, "-g"}},
};

}  // namespace

BOOST_AUTO_TEST_SUITE(bpf_watch)

BOOST_DATA_TEST_CASE(shows_events_and_maps, boost::unit_test::data::make(objects), w) {
  doings d;
  strings arguments = w.arguments;
  arguments.push_back(w.object);
  watcher child{arguments};
  child.until_attached();
  auto const status = child.status_at_end([&] { (d.*w.act)(); });
  BOOST_TEST(succeeded(status), "status " << status << ", " << child.err());
  check_attaching(child.err(), w.may_be_unattached);

  auto const output = lines(child.out());
  auto const end = std::find(output.begin(), output.end(), "");  // of the events
  strings const events{output.begin(), end};
  auto const count = std::find(arguments.begin(), arguments.end(), "--count");
  if (count != arguments.end()) BOOST_TEST(events.size() == std::stoul(count[1]));
  check_events(events, w.streams, d);
  check_tables({end, output.end()}, w.tables, d);
  bool const maps = std::find(arguments.begin(), arguments.end(), "--maps") != arguments.end();
  BOOST_TEST(maps == (end != output.end()));
}

BOOST_DATA_TEST_CASE(explains_mistakes, boost::unit_test::data::make(mistakes), m) {
  watcher child{m.arguments};
  auto const status = child.status_at_end();
  BOOST_TEST(failed(status), "status " << status);
  BOOST_TEST(child.out() == "");
  BOOST_TEST(child.err().starts_with("bpf_watch: "));
  for (auto const& text : m.said) BOOST_TEST(contains(child.err(), text), child.err() << "does not say " << text);
}

BOOST_AUTO_TEST_CASE(helps) {
  watcher child{{"--help"}};
  BOOST_TEST(succeeded(child.status_at_end()));
  for (auto const* const option : {"FILE.bpf.o", "--event", "MAP=STRUCT", "--maps", "--count", "--duration"})
    BOOST_TEST(contains(child.out(), option), option);
  BOOST_TEST(child.err() == "");

  watcher without_file{{}};
  BOOST_TEST(failed(without_file.status_at_end()));
  BOOST_TEST(without_file.out() == child.out());
}

// The one note of bytes that nothing describes.
BOOST_AUTO_TEST_CASE(says_once_that_no_type_fits) {
  doings d;
  watcher child{{WATCHED_KILLSNOOP_BPF_O, "--count", "20"}};
  child.until_attached();
  BOOST_TEST(succeeded(child.status_at_end([&] { d.kill(); })));
  auto const all = lines(child.err());
  auto const is_note = [](std::string const& line) { return contains(line, "44 bytes from 'events'"); };
  BOOST_TEST(std::count_if(all.begin(), all.end(), is_note) == 1, child.err());
  BOOST_TEST(contains(child.err(), "anchor it by a variable"));
}

// Also where the guess would be another.
BOOST_AUTO_TEST_CASE(takes_the_type_that_it_is_told) {
  doings d;
  watcher child{{MULTI_EVENT_TYPES_BPF_O, "--count", "20", "--event", "events=exit_event"}};
  child.until_attached();
  BOOST_TEST(succeeded(child.status_at_end([&] { d.run_true(); })));
  check_events(lines(child.out()),
               {{"events",
                 "struct exit_event",
                 {"kind", "pid", "lived_ns"},
                 [](json::object const& e, doings const& o) { return o.started(e.at("pid")); }}},
               d);
}

BOOST_DATA_TEST_CASE(ends_by_signals, boost::unit_test::data::make({SIGINT, SIGTERM}), signal) {
  for (auto const* const object : {WATCHED_EXITSNOOP_BPF_O, WATCHED_TASKDUMP_BPF_O}) {
    watcher child{{object, "--maps"}};
    child.until_attached();
    child.kill(signal);
    BOOST_TEST(succeeded(child.status_at_end()));
    BOOST_TEST(contains(child.out(), ".rodata, array, 1 entry\n"), child.out());
  }
}

BOOST_AUTO_TEST_CASE(ends_by_signals_while_events_flood_it) {
  doings d;
  watcher child{{WATCHED_OPENSNOOP_BPF_O, "--maps"}};
  child.until_attached();
  auto const flood = [&] {
    for (int i = 0; i < 1000; ++i) d.open();
  };
  BOOST_TEST(child.read_until([&] { return child.out().size() > 1'000'000; }, flood));
  child.kill(SIGINT);
  auto const status = child.status_at_end(flood);
  BOOST_TEST(succeeded(status), "status " << status << ", " << child.err());
  BOOST_TEST(contains(child.out(), "\nmap opensnoo.rodata, array, 1 entry\n"));
}

BOOST_AUTO_TEST_CASE(ends_at_once_with_count_zero) {
  for (auto const* const object : {WATCHED_EXITSNOOP_BPF_O, WATCHED_TASKDUMP_BPF_O}) {
    watcher child{{object, "--maps", "--count", "0"}};
    BOOST_TEST(succeeded(child.status_at_end()));
    BOOST_TEST(child.out().starts_with("\nmap "), child.out());
  }
}

// In time that grows as the map does, and not against the user's will.
BOOST_AUTO_TEST_CASE(prints_large_maps) {
  doings d;
  watcher child{{MANY_ENTRIES_BPF_O, "--maps"}};
  child.until_attached();
  d.kill();
  child.kill(SIGINT);
  BOOST_TEST(succeeded(child.status_at_end()));
  auto const tables = tables_of(lines(child.out()));
  BOOST_REQUIRE(tables.size() == 2U);
  BOOST_TEST(tables[0].size() == 100'002U);
  BOOST_TEST(tables[0][0] == "map squares, hash, 100000 entries");
  BOOST_TEST(tables[0][1] == "key|root|square");
  BOOST_TEST(std::count(tables[0].begin(), tables[0].end(), "99999|99999|9999800001") == 1);

  // More is to come than fits a pipe.
  watcher interrupted{{MANY_ENTRIES_BPF_O, "--maps"}};
  interrupted.until_attached();
  d.kill();
  interrupted.kill(SIGINT);
  BOOST_TEST(interrupted.read_until([&] { return !interrupted.out().empty(); }));
  interrupted.kill(SIGINT);
  auto const status = interrupted.status_at_end();
  BOOST_TEST((WIFSIGNALED(status) && WTERMSIG(status) == SIGINT), "status " << status);
}

BOOST_AUTO_TEST_CASE(goes_on_without_btf) {
  watcher child{{NO_BTF_BPF_O, "--maps", "--duration", "0.1"}};
  BOOST_TEST(succeeded(child.status_at_end()));
  BOOST_TEST(child.err() == "bpf_watch: 1 of 1 programs attached\n");
  BOOST_TEST(child.out() == "");
}

BOOST_AUTO_TEST_CASE(ends_when_nobody_reads) {
  doings d;
  auto const kill = [&] { d.kill(); };
  watcher piped{{WATCHED_KILLSNOOP_BPF_O}, watcher::output::pipe_without_reader};
  piped.until_attached();
  auto const status = piped.status_at_end(kill);
  BOOST_TEST((WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE), "status " << status);

  watcher ignoring{{WATCHED_KILLSNOOP_BPF_O}, watcher::output::pipe_without_reader, true};
  watcher full{{WATCHED_KILLSNOOP_BPF_O}, watcher::output::full_device};
  for (auto* const child : {&ignoring, &full}) {
    child->until_attached();
    BOOST_TEST(failed(child->status_at_end(kill)));
    BOOST_TEST(contains(child->err(), "cannot write the output"), child->err());
  }
}

BOOST_AUTO_TEST_SUITE_END()
