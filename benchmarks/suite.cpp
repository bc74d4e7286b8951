#include "suite.hpp"

#include <boost/program_options.hpp>

#include <exception>
#include <iostream>

namespace bench {
namespace {

namespace po = boost::program_options;

void run(po::variables_map const& given, suite const& s) {
  if (given.contains("once")) return s.once(given["once"].as<std::size_t>(), given["events"].as<std::uint64_t>());
  run_options options{.quick = given.contains("quick"), .repetitions = {}};
  if (given.contains("repetitions")) options.repetitions = given["repetitions"].as<std::size_t>();
  machine const here;
  auto const groups = s.make(options);
  print_machine(std::cout, here);
  std::vector<row> rows;
  for (auto const& g : groups) {
    if (given.contains("only") && given["only"].as<std::string>() != g.name) continue;
    auto const measured = g.measure();
    print_table(std::cout, measured);
    std::cout.flush();
    rows.insert(rows.end(), measured.begin(), measured.end());
  }
  if (given.contains("markdown")) write_markdown(given["markdown"].as<std::string>(), here, rows);
  if (given.contains("json")) write_json(given["json"].as<std::string>(), here, rows);
}

}  // namespace

int run_suite(int argc, char** argv, suite const& s) {
  po::options_description visible{s.about};
  visible.add_options()("help", "this text")("json", po::value<std::string>(), "also write everything to this file")(
      "markdown", po::value<std::string>(), "also write the table to this file")(
      "repetitions", po::value<std::size_t>(), "how often each row is measured (15)")(
      "only", po::value<std::string>(), ("one group: " + s.groups).c_str())(
      "quick", "only show that it runs and that its results are right: the figures mean nothing");
  po::options_description all;
  all.add(visible).add_options()("once", po::value<std::size_t>(), "")(
      "events", po::value<std::uint64_t>()->default_value(0), "");
  try {
    po::variables_map given;
    po::store(po::parse_command_line(argc, argv, all), given);
    po::notify(given);
    if (given.contains("help"))
      std::cout << visible;
    else
      run(given, s);
    return 0;
  } catch (std::exception const& e) {
    std::cerr << e.what() << "\n";
    return 1;
  }
}

}  // namespace bench
