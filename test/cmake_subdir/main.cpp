#include <iostream>
#include <tinybpf/tinybpf.hpp>

int main() {
  tinybpf::object const closed;
  std::cout << "tinybpf " << to_string(tinybpf::version()) << ", " << closed.programs().size() << " programs\n";
}
