#include "report.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <sys/utsname.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <ostream>
#include <stdexcept>
#include <string_view>
#include <thread>
#include <utility>

namespace bench {
namespace {

namespace json = boost::json;

/// Four digits, for people.
std::string digits(double value) {
  char text[32];
  auto const size = std::abs(value);
  std::snprintf(text, sizeof(text), size >= 1000 ? "%.0f" : size >= 100 ? "%.1f" : size >= 10 ? "%.2f" : "%.3f", value);
  return text;
}

std::string show(std::vector<double> const& samples) {
  return samples.empty() ? "" : digits(summarise(samples).median);
}

std::string show_comparison(row const& r) {
  auto const s = summarise(r.compared);
  return digits(s.median) + " [" + digits(s.low) + ", " + digits(s.high) + "]";
}

std::string show_bar(row const& r) {
  if (r.kind == bar_kind::none) return "";
  return (r.kind == bar_kind::at_most ? "<= " : ">= ") + digits(r.bar);
}

std::string_view verdict(row const& r) {
  if (r.kind == bar_kind::none) return "";
  return r.reached() ? "reached" : "NOT REACHED";
}

json::object to_json(summary const& s) { return {{"median", s.median}, {"low", s.low}, {"high", s.high}}; }

json::object to_json(row const& r) {
  static constexpr std::string_view names[] = {"ratio", "difference", "value"};
  json::object o{
      {"group", r.group},
      {"what", r.what},
      {"unit", r.unit},
      {"ours", to_json(summarise(r.ours))},
      {"compared_as", names[static_cast<int>(r.compared_as)]},
      {"compared", to_json(summarise(r.compared))},
      {"samples",
       {{"ours", json::array(r.ours.begin(), r.ours.end())},
        {"reference", json::array(r.theirs.begin(), r.theirs.end())}}},
  };
  if (!r.theirs.empty()) {
    o["reference"] = r.reference;
    o["theirs"] = to_json(summarise(r.theirs));
  }
  if (r.kind != bar_kind::none) {
    o["bar"] = show_bar(r);
    o["reached"] = r.reached();
  }
  return o;
}

std::string cpu_model() {
  std::ifstream info{"/proc/cpuinfo"};
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return "unknown";
}

}  // namespace

machine::machine() : cpu{cpu_model()}, cpus{std::thread::hardware_concurrency()} {
  utsname name{};
  uname(&name);
  kernel = name.release;
  getloadavg(&load, 1);
}

void print_machine(std::ostream& out, machine const& m) {
  out << m.cpu << ", " << m.cpus << " CPUs, Linux " << m.kernel << ", load " << digits(m.load) << "\n";
  if (m.load > 0.5) out << "Other programs are using this machine: rows in which something waits mean little.\n";
}

bool row::reached() const {
  auto const s = summarise(compared);
  return kind == bar_kind::at_most ? s.high <= bar : s.low >= bar;
}

row compare(std::string group, std::string what, std::string unit, std::vector<double> ours, std::string reference,
            std::vector<double> theirs, bar_kind kind, double bar) {
  auto compared = ratios(ours, theirs);
  return {std::move(group),
          std::move(what),
          std::move(unit),
          std::move(ours),
          std::move(reference),
          std::move(theirs),
          comparison::ratio,
          std::move(compared),
          kind,
          bar};
}

row subtract(std::string group, std::string what, std::string unit, std::vector<double> ours, std::string reference,
             std::vector<double> theirs, bar_kind kind, double bar) {
  auto compared = differences(ours, theirs);
  return {std::move(group),
          std::move(what),
          std::move(unit),
          std::move(ours),
          std::move(reference),
          std::move(theirs),
          comparison::difference,
          std::move(compared),
          kind,
          bar};
}

row absolute(std::string group, std::string what, std::string unit, std::vector<double> ours, bar_kind kind,
             double bar) {
  auto compared = ours;
  return {std::move(group),
          std::move(what),
          std::move(unit),
          std::move(ours),
          "",
          {},
          comparison::value,
          std::move(compared),
          kind,
          bar};
}

void print_table(std::ostream& out, std::vector<row> const& rows) {
  std::string_view group;
  for (auto const& r : rows) {
    if (r.group != group) out << "\n" << r.group << "\n";
    group = r.group;
    char line[400];
    auto const against = r.theirs.empty() ? std::string{} : show(r.theirs) + "  " + r.reference;
    std::snprintf(line, sizeof(line), "  %-44s %9s %-12s %-36s %-26s %-9s %s\n", r.what.c_str(), show(r.ours).c_str(),
                  r.unit.c_str(), against.c_str(), show_comparison(r).c_str(), show_bar(r).c_str(),
                  std::string{verdict(r)}.c_str());
    out << line;
  }
}

void write_markdown(std::string const& file, machine const& m, std::vector<row> const& rows) {
  std::ofstream out{file};
  print_machine(out, m);
  out << "\n| | ours | held against | ratio or difference [95 %] | bar | |\n|---|---|---|---|---|---|\n";
  std::string_view group;
  for (auto const& r : rows) {
    if (r.group != group) out << "| **" << r.group << "** | | | | | |\n";
    group = r.group;
    out << "| " << r.what << " | " << show(r.ours) << " " << r.unit << " | "
        << (r.theirs.empty() ? std::string{} : r.reference + " " + show(r.theirs)) << " | " << show_comparison(r)
        << " | " << show_bar(r) << " | "
        << (r.kind == bar_kind::none ? ""
            : r.reached()            ? "reached"
                                     : "**not reached**")
        << " |\n";
  }
  out.close();
  if (!out) throw std::runtime_error{"cannot write " + file};
}

void write_json(std::string const& file, machine const& m, std::vector<row> const& rows) {
  json::array all;
  for (auto const& r : rows) all.push_back(to_json(r));
  json::object about{{"cpu", m.cpu}, {"cpus", m.cpus}, {"kernel", m.kernel}, {"load", m.load}};
  std::ofstream out{file};
  out << json::serialize(json::object{{"machine", std::move(about)}, {"rows", std::move(all)}}) << "\n";
  out.close();
  if (!out) throw std::runtime_error{"cannot write " + file};
}

}  // namespace bench
