#include "feature_table.hpp"

#include <sys/utsname.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <set>
#include <sstream>

namespace test {
namespace {

constexpr bool y = true;
constexpr bool n = false;

// As measured. The first lane has no kprobes, and its lockdown refuses what changes functions; 6.12 and 6.1 are
// Debian's kernels for clouds.
constexpr feature table[] = {
    // probes and tracing            host-6.18, vm-6.12, vm-6.1
    {"tracepoint", {y, y, y}},
    {"raw_tracepoint", {y, y, y}},
    {"raw_tracepoint twice by one program", {y, y, n}},
    {"raw_tracepoint cookie", {y, y, n}, {1, 4}},
    {"tp_btf", {y, y, y}},
    {"tp_btf cookie", {y, y, n}, {1, 4}},
    {"perf_event", {y, y, y}},
    {"kprobe", {n, y, y}},
    {"kretprobe", {n, y, y}},
    {"kprobe.multi", {n, y, n}},
    {"ksyscall", {n, y, y}},
    {"uprobe", {y, y, y}},
    {"uretprobe", {y, y, y}},
    {"uprobe.multi", {y, y, n}, {1, 3}},
    {"USDT", {y, y, y}},
    {"fentry", {n, y, y}},
    {"fexit", {n, y, y}},
    {"fmod_ret", {n, y, y}},
    {"lsm", {n, y, y}},
    {"fexit of a program", {n, y, y}},
    {"freplace", {n, y, y}},

    // interfaces
    {"XDP native", {y, y, y}},
    {"XDP generic", {y, y, y}},
    {"XDP on lo", {y, y, y}},
    {"XDP link update", {y, y, y}},
    {"XDP bound to a device", {y, y, n}},
    {"clsact ingress", {y, y, y}},
    {"clsact egress", {y, y, y}},
    {"TCX", {y, y, n}, {1, 3}},
    {"netkit", {n, y, n}, {1, 3}},

    // control groups, sockets, network namespaces
    {"cgroup/skb ingress", {y, y, y}},
    {"cgroup/skb egress", {y, y, y}},
    {"cgroup/sock_create", {y, y, y}},
    {"cgroup/connect4", {y, y, y}},
    {"cgroup/bind4", {y, y, y}},
    {"cgroup over IPv6", {y, y, y}},
    {"cgroup/unix", {y, y, n}, {1, 3}},
    {"lsm_cgroup", {n, y, y}},
    {"cgroup/sockopt", {y, y, y}},
    {"cgroup/sysctl", {y, y, y}},
    {"cgroup/device", {y, y, y}},
    {"cgroup/sockops", {y, y, y}},
    {"sk_lookup", {y, y, y}},
    {"flow_dissector", {y, y, y}},
    {"sk_msg", {y, y, y}},
    {"sk_skb", {y, y, y}},
    {"socket filter", {y, y, y}},
    {"sockmap link", {y, y, n}},
    {"netfilter", {y, y, n}, {1, 3}},

    // iterators, struct_ops, test runs
    {"iter/task", {y, y, y}},
    {"iter/task_file", {y, y, y}},
    {"iter/bpf_map", {y, y, y}},
    {"iter/bpf_map_elem", {y, y, y}},
    {"iter/cgroup", {y, y, y}},
    {"struct_ops", {y, y, y}},
    {"struct_ops link", {y, y, n}, {1, 2}},
    {"test_run syscall", {y, y, y}},
    {"test_run xdp", {y, y, y}},
    {"test_run socket", {y, y, y}},
    {"test_run raw_tracepoint", {y, y, y}},
    {"test_run tracepoint", {n, n, n}},

    // maps
    {"ringbuf", {y, y, y}},
    {"ringbuf overwriting", {n, n, n}},
    {"perf_event_array", {y, y, y}},
    {"user_ringbuf", {y, y, y}},
    {"freeze", {y, y, y}},
    {"mmapable array", {y, y, y}},
    {"batch operations", {y, y, y}},

    // life
    {"pin map", {y, y, y}},
    {"pin program", {y, y, y}},
    {"pin link", {y, y, y}},
    {"link update", {y, y, y}},
    {"link outlives its handle", {y, y, y}},
    {"TCX link info", {y, y, n}},
    {"netfilter link info", {y, y, n}},
    {"kprobe.multi link info", {n, y, n}},
    {"uprobe.multi link info", {y, y, n}},
    {"fentry link info", {n, y, y}},
    {"run-time statistics", {y, y, y}},
    {"BPF token", {y, y, n}, {1, 4}},
};

constexpr std::string_view words_of(outcome o) {
  switch (o) {
    case outcome::untested:
      return "-";
    case outcome::absent_by_libbpf:
      return "absent by libbpf";
    case outcome::absent_by_kernel:
      return "absent by kernel";
    case outcome::passed:
      return "passed";
    case outcome::failed:
      return "FAILED";
  }
  return "?";
}

// What comes behind a word, if the line begins with it.
bool after(std::string_view line, std::string_view word, std::string_view& rest) {
  if (!line.starts_with(word)) return false;
  rest = line.substr(word.size());
  return true;
}

}  // namespace

std::string_view lane_of(std::string_view release, bool kprobes) {
  bool const cloud = release.ends_with("-cloud-amd64");
  if (release.starts_with("6.18.") && !kprobes) return "host-6.18";
  if (release.starts_with("6.12.") && cloud) return "vm-6.12";
  if (release.starts_with("6.1.") && cloud) return "vm-6.1";
  return "unlisted";
}

std::string_view lane_here() {
  utsname kernel{};
  uname(&kernel);
  return lane_of(kernel.release, std::filesystem::exists("/sys/bus/event_source/devices/kprobe"));
}

bool feature::present_on(std::string_view lane) const {
  auto const at = std::ranges::find(listed_lanes, lane) - listed_lanes.begin();
  return static_cast<std::size_t>(at) < listed_lanes.size() && present[static_cast<std::size_t>(at)];
}

std::span<feature const> features() { return table; }

feature const* find_feature(std::string_view name) {
  auto const found = std::ranges::find(table, name, &feature::name);
  return found == std::end(table) ? nullptr : found;
}

void feature_outcomes::note(std::string_view feature, std::string_view lane, outcome o) {
  auto& noted = outcomes_[{std::string{feature}, std::string{lane}}];
  noted = std::max(noted, o);
}

void feature_outcomes::read(std::string_view report) {
  std::istringstream lines{std::string{report}};
  std::string lane;
  std::map<std::string, int> running;
  for (std::string line; std::getline(lines, line);) {
    std::string_view rest;
    if (after(line, "lane ", rest)) {
      auto const at = rest.find(" libbpf ");
      lane = rest.substr(0, at);
      auto& versions = libbpf_[lane];
      if (at == rest.npos) continue;
      auto const version = rest.substr(at + 8);
      if (versions.find(version) == versions.npos) versions += (versions.empty() ? "" : " ") + std::string{version};
    } else if (after(line, "feature started ", rest)) {
      ++running[std::string{rest}];
    } else if (after(line, "feature passed ", rest)) {
      --running[std::string{rest}];
      note(rest, lane, outcome::passed);
    } else if (after(line, "feature failed ", rest)) {
      --running[std::string{rest}];
      note(rest, lane, outcome::failed);
    } else if (after(line, "feature absent by kernel ", rest)) {
      note(rest, lane, outcome::absent_by_kernel);
    } else if (after(line, "feature absent by libbpf ", rest)) {
      note(rest, lane, outcome::absent_by_libbpf);
    }
  }
  for (auto const& [name, count] : running)
    if (count > 0) note(name, lane, outcome::failed);
}

std::vector<std::string> feature_outcomes::lanes() const {
  std::vector<std::string> all;
  for (auto const lane : listed_lanes)
    if (libbpf_.contains(lane)) all.emplace_back(lane);
  for (auto const& [lane, versions] : libbpf_)
    if (std::ranges::find(all, lane) == all.end()) all.push_back(lane);
  return all;
}

outcome feature_outcomes::of(std::string_view feature, std::string_view lane) const {
  auto const found = outcomes_.find(std::pair{std::string{feature}, std::string{lane}});
  return found == outcomes_.end() ? outcome::untested : found->second;
}

std::string feature_outcomes::libbpf_of(std::string_view lane) const {
  auto const found = libbpf_.find(lane);
  return found == libbpf_.end() ? "" : found->second;
}

std::string feature_outcomes::to_text() const {
  std::vector<std::vector<std::string>> rows;
  auto& head = rows.emplace_back();
  head.emplace_back("feature");
  auto const columns = lanes();
  for (auto const& lane : columns) head.push_back(lane + " (libbpf " + libbpf_of(lane) + ")");
  for (auto const& f : table) {
    auto& row = rows.emplace_back();
    row.emplace_back(f.name);
    for (auto const& lane : columns) row.emplace_back(words_of(of(f.name, lane)));
  }
  std::vector<std::size_t> widths(columns.size() + 1);
  for (auto const& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  std::string text;
  for (auto const& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) line += row[i] + std::string(widths[i] - row[i].size() + 2, ' ');
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  }
  return text;
}

std::vector<std::string> feature_outcomes::holes() const {
  std::vector<std::string> found;
  for (auto const lane : listed_lanes) {
    if (!libbpf_.contains(lane)) {
      found.push_back("no test ran on " + std::string{lane});
      continue;
    }
    for (auto const& f : table) {
      auto const o = of(f.name, lane);
      auto const where = std::string{f.name} + " on " + std::string{lane};
      if (o == outcome::failed)
        found.push_back(where + ": failed");
      else if (f.present_on(lane) && o != outcome::passed)
        found.push_back(where + ": is listed, and is " +
                        (o == outcome::untested ? "untested" : std::string{words_of(o)}));
      else if (!f.present_on(lane) && o == outcome::passed)
        found.push_back(where + ": passed, and is not listed");
    }
  }
  return found;
}

}  // namespace test
