// What the verifier says of the programs whose log level is set.
#pragma once

#include "object_state.hpp"

#include <tinybpf/error.hpp>

#include <cstddef>
#include <deque>
#include <vector>

namespace tinybpf::detail {

/// Room for the logs while an object is loaded.
class verifier_logs {
 public:
  verifier_logs() = default;
  verifier_logs(verifier_logs const&) = delete;
  verifier_logs& operator=(verifier_logs const&) = delete;
  ~verifier_logs();

  /// Has libbpf give the kernel room for what each program with a log level asks for. False, and reported, if there is
  /// none.
  bool ask(std::deque<program_core>& programs, error_code& ec, diagnostics& details);

  /// Copies what was written to the programs.
  void keep();

 private:
  struct room {
    program_core* program;
    void* memory;
    std::size_t size;
  };
  std::vector<room> rooms_;
};

}  // namespace tinybpf::detail
