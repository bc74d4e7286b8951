// Copyright the tinybpf authors.
// Distributed under the Boost Software License, Version 1.0. (See accompanying file LICENSE.)

#include <tinybpf/version.hpp>

#include <filesystem>
#include <iostream>

int main() {
  if (!std::filesystem::is_regular_file(CONSUMER_BPF_O)) {
    std::cout << CONSUMER_BPF_O << " was not built\n";
    return 1;
  }
  std::cout << "tinybpf " << to_string(tinybpf::version()) << '\n';
}
