// Copyright the tinybpf authors.
// Distributed under the Boost Software License, Version 1.0. (See accompanying file LICENSE.)

#include <tinybpf/version.hpp>

#include <iostream>

int main() {
  std::cout << "tinybpf " << to_string(tinybpf::version()) << '\n';
}
