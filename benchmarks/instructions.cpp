#include "instructions.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>

namespace bench {
namespace {

bool run_quietly(std::string const& command) {
  auto const status = std::system((command + " >/dev/null 2>&1").c_str());
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

double instructions_of(std::size_t which, std::uint64_t events) {
  static auto const program = std::filesystem::read_symlink("/proc/self/exe").string();
  auto const out = "/tmp/benchmark_cachegrind." + std::to_string(getpid());
  auto const command = "valgrind --tool=cachegrind --cache-sim=no --cachegrind-out-file=" + out + " '" + program +
                       "' --once " + std::to_string(which) + " --events " + std::to_string(events);
  if (!run_quietly(command)) throw std::runtime_error{"failed: " + command};
  std::ifstream file{out};
  std::string const wanted = "summary: ";
  double instructions = 0;
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(wanted)) instructions = std::stod(line.substr(wanted.size()));
  std::remove(out.c_str());
  return instructions;
}

}  // namespace

bool counts_instructions() {
  if (run_quietly("valgrind --version")) return true;
  std::cerr << "valgrind is not installed: instructions are not counted\n";
  return false;
}

double instructions_per_event(std::size_t which, std::uint64_t few, std::uint64_t many) {
  return (instructions_of(which, many) - instructions_of(which, few)) / static_cast<double>(many - few);
}

}  // namespace bench
