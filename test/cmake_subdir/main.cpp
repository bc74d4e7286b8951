#include <tinybpf/version.hpp>

#include <iostream>

int main() { std::cout << "tinybpf " << to_string(tinybpf::version()) << '\n'; }
