#include "log_capture.hpp"

#include <bpf/libbpf.h>

#include <atomic>
#include <cstdarg>
#include <cstddef>
#include <cstdio>
#include <mutex>
#include <utility>

namespace tinybpf::detail {
namespace {

thread_local log_capture* current = nullptr;
std::atomic<libbpf_print_fn_t> previous{nullptr};

}  // namespace

struct log_sink {
  __attribute__((format(printf, 2, 0))) static int print(libbpf_print_level level, char const* format, va_list args) {
    auto* const capture = current;
    if (capture == nullptr) {
      auto const chained = previous.load(std::memory_order_acquire);
      return chained != nullptr ? chained(level, format, args) : 0;
    }
    if (level == LIBBPF_DEBUG) return 0;
    va_list measured;
    va_copy(measured, args);
    int const length = std::vsnprintf(nullptr, 0, format, measured);
    va_end(measured);
    if (length <= 0) return length;
    try {
      auto const old = capture->text_.size();
      auto const added = static_cast<std::size_t>(length);
      capture->text_.resize(old + added + 1);
      std::vsnprintf(capture->text_.data() + old, added + 1, format, args);
      capture->text_.resize(old + added);
    } catch (...) {  // an exception must not pass through libbpf's C frames
    }
    return length;
  }

  // Called for each capture, because the user may have set a callback of their own in between: it is chained, not lost.
  static void install() {
    static std::mutex mutex;
    std::lock_guard const lock{mutex};
    auto const found = libbpf_set_print(&print);
    if (found != &print) previous.store(found, std::memory_order_release);
  }
};

log_capture::log_capture() : outer_{current} {
  log_sink::install();
  current = this;
}

log_capture::~log_capture() { current = outer_; }

std::string log_capture::take() {
  while (!text_.empty() && text_.back() == '\n') text_.pop_back();
  return std::exchange(text_, {});
}

}  // namespace tinybpf::detail
