// Instructions counted by cachegrind: they do not depend on who else uses the machine. The kernel's are not counted.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bench {

/// False, and a word on stderr, without valgrind.
bool counts_instructions();

/// This program, run under cachegrind with `--once which --events N`: what it takes more for `many` than for `few`, an
/// event. All that it does besides is the same for both.
double instructions_per_event(std::size_t which, std::uint64_t few, std::uint64_t many);

}  // namespace bench
