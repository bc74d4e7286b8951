#include "leak_check.hpp"

#include <boost/test/tree/fixture.hpp>
#include <boost/test/tree/traverse.hpp>
#include <boost/test/tree/visitor.hpp>
#include <boost/test/unit_test.hpp>

#include <unistd.h>

#include <bpf/bpf.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

namespace test {
namespace {

namespace fs = std::filesystem;
namespace ut = boost::unit_test;

// What the kernel gives ids to, and how they are found.
struct kind_of_id {
  std::string_view name;
  std::string_view fdinfo;  // in /proc/PID/fdinfo/FD
  int (*next)(std::uint32_t, std::uint32_t*);
};

constexpr std::array kinds{
    kind_of_id{"map", "map_id:", bpf_map_get_next_id},
    kind_of_id{"program", "prog_id:", bpf_prog_get_next_id},
    kind_of_id{"link", "link_id:", bpf_link_get_next_id},
};

std::set<kernel_id> all_ids() {
  std::set<kernel_id> all;
  for (auto const& kind : kinds)
    for (std::uint32_t id = 0; kind.next(id, &id) == 0;) all.emplace(kind.name, id);
  return all;
}

template <class Info>
Info info_of(int fd) {
  Info info{};
  std::uint32_t size = sizeof info;
  if (fd >= 0) {
    bpf_obj_get_info_by_fd(fd, &info, &size);
    close(fd);
  }
  return info;
}

std::string describe(kernel_id const& leak) {
  auto const& [kind, id] = leak;
  auto text = kind + " with id " + std::to_string(id);
  if (kind == "map") text += " '" + std::string{info_of<bpf_map_info>(bpf_map_get_fd_by_id(id)).name} + "'";
  if (kind == "program") text += " '" + std::string{info_of<bpf_prog_info>(bpf_prog_get_fd_by_id(id)).name} + "'";
  return text;
}

void add_maps_of(std::uint32_t program, std::set<kernel_id>& held) {
  int const fd = bpf_prog_get_fd_by_id(program);
  if (fd < 0) return;
  std::array<std::uint32_t, 64> maps{};
  bpf_prog_info info{};
  info.nr_map_ids = maps.size();
  info.map_ids = reinterpret_cast<std::uintptr_t>(maps.data());
  std::uint32_t size = sizeof info;
  if (bpf_obj_get_info_by_fd(fd, &info, &size) != 0) info.nr_map_ids = 0;
  for (std::size_t i = 0; i < std::min<std::size_t>(maps.size(), info.nr_map_ids); ++i) held.emplace("map", maps[i]);
  close(fd);
}

// What other processes hold by descriptor, and what that holds in turn.
std::set<kernel_id> ids_held_elsewhere() {
  std::set<kernel_id> held;
  auto const self = std::to_string(getpid());
  std::error_code gone;  // processes and descriptors come and go while we look
  for (auto const& process : fs::directory_iterator{"/proc", gone}) {
    auto const pid = process.path().filename().string();
    if (pid.find_first_not_of("0123456789") != std::string::npos || pid == self) continue;
    for (fs::directory_iterator fd{process.path() / "fdinfo", gone}, end; !gone && fd != end; fd.increment(gone)) {
      std::ifstream info{fd->path()};
      for (std::string line; std::getline(info, line);)
        for (auto const& kind : kinds) {
          if (!line.starts_with(kind.fdinfo)) continue;
          auto const digits = line.find_first_of("0123456789");
          if (digits == std::string::npos) continue;
          held.emplace(kind.name, static_cast<std::uint32_t>(std::stoul(line.substr(digits))));
        }
    }
  }
  for (auto const& [kind, id] : std::set{held})
    if (kind == "program") add_maps_of(id, held);
  return held;
}

void remember_descriptors(std::set<std::string>& own) {
  std::error_code error;
  for (auto const& entry : fs::directory_iterator{"/proc/self/fd"}) {
    auto const target = fs::read_symlink(entry, error).string();
    // The directory being read is among what it lists.
    if (error || target == "/proc/" + std::to_string(getpid()) + "/fd") continue;
    own.insert("descriptor " + entry.path().filename().string() + " of " + target);
  }
}

void remember_mappings(std::set<std::string>& own) {
  std::ifstream maps{"/proc/self/maps"};
  for (std::string line; std::getline(maps, line);)
    for (auto const* const name : {"anon_inode:", "/memfd:"})
      if (auto const at = line.find(name); at != std::string::npos)
        own.insert("mapping at " + line.substr(0, line.find('-')) + " of " + line.substr(at));
}

class leak_check : public ut::test_unit_fixture {
 private:
  void setup() override { before_ = resources_now(); }
  void teardown() override {
    for (auto const& leak : leaked_since(before_)) BOOST_ERROR("leaked: " + leak);
  }

  resources before_;
};

}  // namespace

resources resources_now() {
  resources now;
  remember_descriptors(now.own);
  remember_mappings(now.own);
  now.ids = all_ids();
  return now;
}

std::vector<std::string> leaked_since(resources const& before, std::chrono::milliseconds patience) {
  std::vector<std::string> leaks;
  auto now = resources_now();
  for (auto const& held : now.own)
    if (!before.own.contains(held)) leaks.push_back(held);

  // Only what is there now is waited for: what comes later is not of this test.
  std::erase_if(now.ids, [&](auto const& id) { return before.ids.contains(id); });
  auto const deadline = std::chrono::steady_clock::now() + patience;
  for (unsigned round = 1; !now.ids.empty(); ++round) {
    auto const alive = all_ids();
    std::erase_if(now.ids, [&](auto const& id) { return !alive.contains(id); });
    bool const last = std::chrono::steady_clock::now() >= deadline;
    if (last || round % 64 == 0) {
      auto const elsewhere = ids_held_elsewhere();
      std::erase_if(now.ids, [&](auto const& id) { return elsewhere.contains(id); });
    }
    if (last) break;
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
  }
  for (auto const& id : now.ids) leaks.push_back(describe(id));
  return leaks;
}

void check_every_case_for_leaks() {
  struct add_check : ut::test_tree_visitor {
    void visit(ut::test_case const& found) override {
      auto& fixtures = ut::framework::get<ut::test_case>(found.p_id).p_fixtures.value;
      fixtures.insert(fixtures.begin(), ut::test_unit_fixture_ptr{new leak_check});
    }
  } each;
  ut::traverse_test_tree(ut::framework::master_test_suite().p_id, each, true);
}

}  // namespace test
