// Tells a BPF program what to do through one map, and reads what it counted from another: config_map [COMMAND]
#include <tinybpf/dynamic_map.hpp>
#include <tinybpf/object.hpp>
#include <tinybpf/typed_map.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <boost/describe/class.hpp>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iostream>

// As in config_map.bpf.c.
struct config {
  bool enabled;
  std::array<std::uint8_t, 3> reserved;
  std::uint32_t least_uid;
  char comm[16];
};
BOOST_DESCRIBE_STRUCT(config, (), (enabled, reserved, least_uid, comm))

void start(char const* program) {
  if (pid_t const child = ::fork(); child == 0) {
    ::execlp(program, program, nullptr);
    ::_exit(127);
  } else {
    ::waitpid(child, nullptr, 0);
  }
}

int main(int argc, char** argv) try {
  char const* const command = argc > 1 ? argv[1] : "true";
  auto obj = tinybpf::load(CONFIG_MAP_BPF_O);

  // Held against the BTF of the map, here and once.
  auto const configs = obj.map("configs").typed<std::uint32_t, config>();
  config wanted{};
  wanted.enabled = true;
  std::strncpy(wanted.comm, command, sizeof wanted.comm - 1);
  configs.update(0, wanted);

  auto const link = obj.program("on_exec").attach();
  for (int i = 0; i < 3; ++i) start(command);
  start("false");  // is not counted

  wanted.enabled = false;
  configs.update(0, wanted);
  start(command);  // nor is this

  // Numbers need no types: BTF has them.
  auto const counts = obj.map("execs_by_uid");
  std::cout << "user " << ::getuid() << " started " << command << ' '
            << counts.lookup(::getuid()).value_or(0).to_string() << " times\n";
  // And nothing at all needs to be known to look.
  for (auto const& e : obj.map("configs").dynamic().entries())
    std::cout << "configs: " << e.value().to_string() << '\n';
} catch (std::exception const& e) {
  std::cerr << "config_map: " << e.what() << '\n';
  return EXIT_FAILURE;
}
