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
thread_local bool chaining = false;
std::atomic<libbpf_print_fn_t> previous{nullptr};

std::mutex installing;
unsigned captures = 0;  // of all threads

}  // namespace

struct log_sink {
  __attribute__((format(printf, 2, 0))) static int print(libbpf_print_level level, char const* format, va_list args) {
    auto* const capture = current;
    if (capture == nullptr) {
      auto const chained = previous.load(std::memory_order_acquire);
      // Whoever set a callback during a capture got ours as the one before, and may pass the text back to us.
      if (chained == nullptr || chaining) return 0;
      chaining = true;
      int const length = chained(level, format, args);
      chaining = false;
      return length;
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

  // Ours is libbpf's callback only while there is a capture: between them the user may set and restore their own.
  static void install() {
    std::lock_guard const lock{installing};
    ++captures;
    auto const found = libbpf_set_print(&print);
    if (found != &print) previous.store(found, std::memory_order_release);
  }

  static void uninstall() {
    std::lock_guard const lock{installing};
    if (--captures != 0) return;
    auto const found = libbpf_set_print(previous.load(std::memory_order_acquire));
    if (found != &print) libbpf_set_print(found);  // set during the capture: theirs, to stay
  }
};

log_capture::log_capture() : outer_{current} {
  log_sink::install();
  current = this;
}

log_capture::~log_capture() {
  current = outer_;
  log_sink::uninstall();
}

std::string log_capture::take() {
  while (!text_.empty() && text_.back() == '\n') text_.pop_back();
  return std::exchange(text_, {});
}

}  // namespace tinybpf::detail
