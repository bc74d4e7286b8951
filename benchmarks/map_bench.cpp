// Measures tinybpf's maps against libbpf's calls, and says which of the project's bars are reached. See README.md.
#include "map_rows.hpp"
#include "suite.hpp"

#include <cstdlib>
#include <new>

namespace {

thread_local std::uint64_t allocated = 0;

std::vector<bench::group> groups(bench::run_options const& options) {
  auto n = options.quick ? bench::quick_maps : bench::map_sizes{};
  if (options.repetitions) {
    n.repetitions = *options.repetitions;
    n.rounds = 10 * n.repetitions;
  }
  std::vector<bench::group> all{{"calls", [=] { return bench::call_rows(n); }}};
  if (!options.quick) all.push_back({"instructions", bench::call_instruction_rows});
  all.push_back({"allocations", [=] { return bench::call_allocation_rows(n); }});
  all.push_back({"walk", [=] { return bench::walk_rows(n); }});
  all.push_back({"array", [=] { return bench::array_rows(n); }});
  return all;
}

}  // namespace

// Not inlined: g++ would see through them, and take malloc and delete for a mismatch.
[[gnu::noinline]] void* operator new(std::size_t size) {
  ++allocated;
  if (void* const p = std::malloc(size != 0 ? size : 1)) return p;
  throw std::bad_alloc{};
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }

std::uint64_t bench::allocations() noexcept { return allocated; }

int main(int argc, char** argv) {
  return bench::run_suite(argc, argv,
                          {.about = "Measures tinybpf's maps against libbpf's calls. Needs root",
                           .groups = "calls, instructions, allocations, walk or array",
                           .make = groups,
                           .once = bench::call_once});
}
