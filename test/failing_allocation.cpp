#include "failing_allocation.hpp"

#include <cstddef>
#include <cstdlib>
#include <new>

namespace {

thread_local int allocations_left = -1;  // until one fails; negative: none does

}  // namespace

namespace test {

failing_allocation::failing_allocation(int allowed) noexcept { allocations_left = allowed; }
failing_allocation::~failing_allocation() { allocations_left = -1; }
bool failing_allocation::is_still_to_come() const noexcept { return allocations_left >= 0; }

}  // namespace test

void* operator new(std::size_t size) {
  bool const fails = allocations_left == 0;
  if (allocations_left >= 0) --allocations_left;
  void* const memory = fails ? nullptr : std::malloc(size != 0 ? size : 1);
  if (memory == nullptr) throw std::bad_alloc{};
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
