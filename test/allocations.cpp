#include "allocations.hpp"

#include <cstddef>
#include <cstdlib>
#include <new>

// The linker sends every call of an allocation function here (--wrap), and this name to the real one: Asio does not use
// operator new. What the replaced operator new takes, it takes from malloc.
extern "C" {
void* __real_malloc(std::size_t size);
void* __real_calloc(std::size_t count, std::size_t size);
void* __real_realloc(void* p, std::size_t size);
void* __real_aligned_alloc(std::size_t alignment, std::size_t size);
int __real_posix_memalign(void** p, std::size_t alignment, std::size_t size);
}

namespace test {

std::atomic<std::uint64_t> allocations{0};

}  // namespace test

namespace {

void count() { test::allocations.fetch_add(1, std::memory_order_relaxed); }

}  // namespace

extern "C" {
void* __wrap_malloc(std::size_t size) {
  count();
  return __real_malloc(size);
}
void* __wrap_calloc(std::size_t times, std::size_t size) {
  count();
  return __real_calloc(times, size);
}
void* __wrap_realloc(void* p, std::size_t size) {
  count();
  return __real_realloc(p, size);
}
void* __wrap_aligned_alloc(std::size_t alignment, std::size_t size) {
  count();
  return __real_aligned_alloc(alignment, size);
}
int __wrap_posix_memalign(void** p, std::size_t alignment, std::size_t size) {
  count();
  return __real_posix_memalign(p, alignment, size);
}
}

// Not inlined: g++ would see through them, and take malloc and delete for a mismatch.
[[gnu::noinline]] void* operator new(std::size_t size) {
  if (void* const p = std::malloc(size != 0 ? size : 1)) return p;
  throw std::bad_alloc{};
}
[[gnu::noinline]] void* operator new[](std::size_t size) { return operator new(size); }
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t alignment) {
  auto const step = static_cast<std::size_t>(alignment);
  if (void* const p = std::aligned_alloc(step, (size + step - 1) / step * step)) return p;
  throw std::bad_alloc{};
}
[[gnu::noinline]] void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
