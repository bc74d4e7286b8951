// Ends a lane (see run_lane.sh) from within: qemu exits with v << 1 | 1 for the byte v that is written to this port.
#include <sys/io.h>

#include <cstdio>

int main() {
  constexpr unsigned short port = 0xf4;
  constexpr unsigned char all_tests_ran = 16;
  if (ioperm(port, 1, 1) != 0) {
    std::perror("ioperm");
    return 1;
  }
  outb(all_tests_ran, port);
}
