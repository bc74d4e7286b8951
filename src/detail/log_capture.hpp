// What libbpf says during one call, per thread.
#pragma once

#include <string>

namespace tinybpf::detail {

/// While alive, everything that libbpf prints on this thread at the levels warn and info is kept here and goes nowhere
/// else. Captures nest: the innermost one gets the text. Other threads' text goes to their own capture or, without one,
/// to whoever had called libbpf_set_print before.
class log_capture {
 public:
  log_capture();
  ~log_capture();
  log_capture(log_capture const&) = delete;
  log_capture& operator=(log_capture const&) = delete;

  /// Hands over the text so far.
  std::string take();

 private:
  friend struct log_sink;
  std::string text_;
  log_capture* outer_;
};

}  // namespace tinybpf::detail
