// Measures tinybpf's buffers against libbpf's, and says which of the project's bars are reached. See README.md.
#include "rows.hpp"

#include <boost/program_options.hpp>

#include <exception>
#include <filesystem>
#include <iostream>
#include <string_view>

namespace {

namespace po = boost::program_options;

int run(po::variables_map const& options) {
  auto const quick = options.contains("quick");
  auto n = quick ? bench::quick : bench::sizes{};
  if (options.contains("repetitions")) n.repetitions = options["repetitions"].as<std::size_t>();

  bench::workload w;
  if (options.contains("drain-once")) {
    bench::drain_once(w, options["drain-once"].as<std::size_t>(), options["events"].as<std::uint64_t>());
    return 0;
  }
  bench::machine const here;
  bench::print_machine(std::cout, here);
  std::vector<bench::row> rows;
  auto const show = [&](std::vector<bench::row> const& group) {
    bench::print_table(std::cout, group);
    std::cout.flush();
    rows.insert(rows.end(), group.begin(), group.end());
  };
  auto const wanted = [&](std::string_view group) {
    return !options.contains("only") || options["only"].as<std::string>() == group;
  };
  if (wanted("drain")) show(bench::drain_rows(w, n));
  if (wanted("instructions") && !quick) show(bench::instruction_rows(std::filesystem::read_symlink("/proc/self/exe")));
  if (wanted("saturation")) show(bench::saturation_rows(w, n));
  if (wanted("tracing")) show(bench::tracing_rows(w, n));
  if (wanted("idle")) show(bench::idle_ring_rows(w, n));
  if (wanted("perf")) show(bench::perf_rows(n));
  if (wanted("user")) show(bench::user_ring_rows(n));
  if (options.contains("markdown")) bench::write_markdown(options["markdown"].as<std::string>(), here, rows);
  if (options.contains("json")) bench::write_json(options["json"].as<std::string>(), here, rows);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  po::options_description visible{"Measures tinybpf's buffers against libbpf's. Needs root"};
  visible.add_options()("help", "this text")("json", po::value<std::string>(), "also write everything to this file")(
      "markdown", po::value<std::string>(), "also write the table to this file")(
      "repetitions", po::value<std::size_t>(), "how often each row is measured (15)")(
      "only", po::value<std::string>(), "one group: drain, instructions, saturation, tracing, idle, perf or user")(
      "quick", "only show that it runs and that every event arrives: the figures mean nothing");
  po::options_description all;
  all.add(visible).add_options()("drain-once", po::value<std::size_t>(), "")(
      "events", po::value<std::uint64_t>()->default_value(0), "");
  try {
    po::variables_map options;
    po::store(po::parse_command_line(argc, argv, all), options);
    po::notify(options);
    if (options.contains("help")) {
      std::cout << visible;
      return 0;
    }
    return run(options);
  } catch (std::exception const& e) {
    std::cerr << e.what() << "\n";
    return 1;
  }
}
