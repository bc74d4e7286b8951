// Bytes per second that the processes of each control group send, until Ctrl-C:
// cgroup_egress [--interval MS] [--count N] [CGROUP]
#include "until_signal.hpp"

#include <tinybpf/async.hpp>
#include <tinybpf/percpu_map.hpp>

#include <sys/stat.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/describe/class.hpp>
#include <boost/program_options.hpp>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>

namespace asio = boost::asio;
namespace options = boost::program_options;
namespace fs = std::filesystem;
using std::chrono::steady_clock;

// As in cgroup_egress.bpf.c.
struct traffic {
  std::uint64_t packets;
  std::uint64_t bytes;

  friend traffic operator+(traffic a, traffic b) { return {a.packets + b.packets, a.bytes + b.bytes}; }
  friend traffic operator-(traffic a, traffic b) { return {a.packets - b.packets, a.bytes - b.bytes}; }
};
BOOST_DESCRIBE_STRUCT(traffic, (), (packets, bytes))

// Where the control groups of version 2 are: beside those of version 1, on some machines.
fs::path mount_of_cgroup2() {
  std::ifstream mounts{"/proc/self/mounts"};
  for (std::string device, folder, type, rest; mounts >> device >> folder >> type && std::getline(mounts, rest);)
    if (type == "cgroup2") return folder;
  throw std::runtime_error{"no cgroup2 is mounted"};
}

// A control group's id is the number of its folder.
std::map<std::uint64_t, std::string> names_below(fs::path const& root) {
  std::map<std::uint64_t, std::string> names;
  struct stat of {};
  if (::stat(root.c_str(), &of) == 0) names[of.st_ino] = "/";
  auto const skip = fs::directory_options::skip_permission_denied;
  std::error_code gone;  // control groups come and go
  for (fs::recursive_directory_iterator i{root, skip, gone}, end; !gone && i != end; i.increment(gone))
    if (i->is_directory(gone) && ::stat(i->path().c_str(), &of) == 0)
      names[of.st_ino] = "/" + i->path().lexically_relative(root).string();
  return names;
}

asio::awaitable<void> report(tinybpf::object const& obj, fs::path const& root, std::uint64_t count,
                             std::chrono::milliseconds interval) {
  tinybpf::percpu_map<std::uint64_t, traffic> const sent{obj.map("sent")};
  std::map<std::uint64_t, traffic> reported;
  asio::steady_timer timer{co_await asio::this_coro::executor};
  for (auto begin = steady_clock::now(); count != 0; --count) {
    timer.expires_after(interval);
    co_await timer.async_wait(asio::use_awaitable);
    std::chrono::duration<double> const during = steady_clock::now() - begin;
    begin = steady_clock::now();
    auto const names = names_below(root);
    for (auto const& [id, by_cpu] : sent) {
      auto const total = by_cpu.sum();
      auto const seen = total - std::exchange(reported[id], total);
      if (seen.packets == 0) continue;
      auto const name = names.find(id);
      std::cout << static_cast<std::uint64_t>(static_cast<double>(seen.bytes) / during.count()) << " bytes/s "
                << (name != names.end() ? name->second : "group " + std::to_string(id) + ", which is gone")
                << std::endl;
    }
  }
}

asio::awaitable<void> run(options::variables_map const& given) {
  auto const ex = co_await asio::this_coro::executor;
  auto const root = given.count("cgroup") != 0 ? fs::path{given["cgroup"].as<std::string>()} : mount_of_cgroup2();
  auto obj = co_await tinybpf::async_load(ex, CGROUP_EGRESS_BPF_O);
  auto const link = co_await tinybpf::async_attach(ex, obj.program("count"), tinybpf::cgroup_target{root});

  std::cerr << "Watching what " << root.string() << " sends; Ctrl-C ends it.\n";
  co_await until_signal(report(obj, root, given["count"].as<std::uint64_t>(),
                               std::chrono::milliseconds{given["interval"].as<unsigned>()}));
}

int main(int argc, char** argv) try {
  options::options_description known{"cgroup_egress [CGROUP]: bytes per second that each control group sends"};
  known.add_options()("help", "show this")("cgroup", options::value<std::string>(), "this one and those below it")(
      "count", options::value<std::uint64_t>()->default_value(UINT64_MAX, "unlimited"), "stop after so many intervals")(
      "interval", options::value<unsigned>()->default_value(1000), "milliseconds from one report to the next");
  options::positional_options_description words;
  words.add("cgroup", 1);
  options::variables_map given;
  options::store(options::command_line_parser(argc, argv).options(known).positional(words).run(), given);
  if (given.count("help") != 0) {
    std::cout << known;
    return EXIT_SUCCESS;
  }
  asio::io_context io;
  asio::co_spawn(io, run(given), [](std::exception_ptr e) {
    if (e) std::rethrow_exception(e);
  });
  io.run();
} catch (std::exception const& e) {
  std::cerr << "cgroup_egress: " << e.what() << '\n';
  return EXIT_FAILURE;
}
