// feature_table [--complete] FOLDER...: prints what the reports of test programs in these folders say of
// each feature on each lane. With --complete, a hole in the table is an error.

#include "feature_table.hpp"

#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <string_view>

int main(int argc, char* argv[]) {
  bool complete = false;
  test::feature_outcomes outcomes;
  for (int i = 1; i < argc; ++i) {
    if (std::string_view{argv[i]} == "--complete") {
      complete = true;
      continue;
    }
    if (!std::filesystem::is_directory(argv[i])) {
      std::cerr << "feature_table: there is no folder " << argv[i] << '\n';
      return 2;
    }
    for (auto const& entry : std::filesystem::directory_iterator{argv[i]}) {
      std::ifstream file{entry.path()};
      outcomes.read(std::string{std::istreambuf_iterator<char>{file}, {}});
    }
  }
  std::cout << outcomes.to_text();
  if (!complete) return 0;
  auto const holes = outcomes.holes();
  for (auto const& hole : holes) std::cout << "hole: " << hole << '\n';
  return holes.empty() ? 0 : 1;
}
