#include "verifier_log.hpp"

#include <bpf/libbpf.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <mutex>

namespace tinybpf::detail {
namespace {

// A log that does not fit makes the kernel refuse the program, and an object is loaded once: so there is room for the
// longest log that the kernel writes, of which only the pages that it does write are taken.
constexpr std::size_t longest = 0x3ffff000;  // of UINT_MAX >> 2, whole pages
constexpr std::size_t shortest = 0x100000;

/// Memory that takes none before it is written to, also of a process that keeps all that it maps in memory (mlockall).
void* map_pages(std::size_t size) {
  void* const memory = ::mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  if (::munlock(memory, size) == 0 && ::mprotect(memory, size, PROT_READ | PROT_WRITE) == 0) return memory;
  ::munmap(memory, size);
  return nullptr;
}

void* reserve(std::size_t& size) {
  auto const part = [&](std::size_t of) { return size / of & ~std::size_t{0xfff}; };
  for (size = longest; size >= shortest; size = part(2)) {
    void* const memory = map_pages(size);
    if (memory == nullptr) continue;
    if (size == longest || part(4) < shortest) return memory;
    // There is a limit to what the process may map, and libbpf needs some as well.
    ::munmap(memory, size);
    size = part(4);
    return map_pages(size);
  }
  return nullptr;
}

}  // namespace

verifier_logs::~verifier_logs() {
  for (auto const& r : rooms_) ::munmap(r.memory, r.size);
}

bool verifier_logs::ask(std::deque<program_core>& programs, error_code& ec, diagnostics& details) {
  for (auto& p : programs) {
    if (!bpf_program__autoload(p.raw) || bpf_program__log_level(p.raw) == 0) continue;
    rooms_.reserve(rooms_.size() + 1);
    room r{&p, nullptr, 0};
    r.memory = reserve(r.size);
    int err = r.memory == nullptr ? ENOMEM : 0;
    if (err == 0) {
      rooms_.push_back(r);
      err = bpf_program__set_log_buf(p.raw, static_cast<char*>(r.memory), r.size);
    }
    if (err == 0) continue;
    details.program = p.name;
    report(ec, details, from_libbpf(err), "no room for the verifier's log of program '" + p.name + "'",
           "set its log level to 0");
    return false;
  }
  return true;
}

void verifier_logs::keep() {
  for (auto const& r : rooms_) {
    auto const* const text = static_cast<char const*>(r.memory);
    auto size = ::strnlen(text, r.size);
    while (size != 0 && text[size - 1] == '\n') --size;
    std::lock_guard const lock{r.program->mutex};
    r.program->verifier_log.assign(text, size);
  }
}

}  // namespace tinybpf::detail
