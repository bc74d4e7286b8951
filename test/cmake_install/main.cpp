#include <iostream>
#include <tinybpf/tinybpf.hpp>

int main() {
  auto const object = tinybpf::object::open(CONSUMER_BPF_O);
  std::cout << "tinybpf " << to_string(tinybpf::version()) << ", " << object.map("events").name() << '\n';
}
