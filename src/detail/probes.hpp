// Programs and maps that are made only to see whether the kernel makes them.
#pragma once

#include <tinybpf/detail/owned_descriptor.hpp>
#include <tinybpf/error.hpp>
#include <tinybpf/helper.hpp>
#include <tinybpf/types.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace tinybpf::detail {

/// What the kernel answered.
struct probe_answer {
  error_code code;  ///< No error: it was made.
  std::string log;  ///< What the verifier said.
  /// Why it could not even be asked: the kernel's types lack what the program attaches to, or cannot be read.
  std::string lacking;
  bool not_asked = false;  ///< They cannot be read here, which says nothing of the kernel. The code says why.
};

/// One way to load a program of a type: what it is for, and what it attaches to.
struct program_probe {
  program_type type = program_type::unspec;
  std::uint32_t attach_type = 0;        ///< enum bpf_attach_type
  char const* kernel_place = nullptr;   ///< What of the kernel's types it attaches to.
  std::uint32_t kernel_place_kind = 0;  ///< BTF_KIND_...
  std::uint32_t flags = 0;              ///< BPF_F_...
};

/// All ways that the types have, the likeliest of each type first. Empty for a type that is not known here.
std::vector<program_probe> probes_of(program_type type);

/// Loads a program that does nothing, or that calls the helper.
probe_answer load_probe(program_probe const& probe);
probe_answer load_probe(program_probe const& probe, helper h);

/// True for a type that `create_probe` knows to make.
bool can_probe(map_type type);

/// Creates a map that holds next to nothing.
probe_answer create_probe(map_type type);

}  // namespace tinybpf::detail
