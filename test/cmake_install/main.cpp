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
