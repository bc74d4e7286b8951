// What the files that attach programs share.
#pragma once

#include "link_state.hpp"
#include "object_state.hpp"

#include <tinybpf/error.hpp>
#include <tinybpf/link.hpp>
#include <tinybpf/types.hpp>

#include <bpf/libbpf.h>

#include <functional>
#include <string>

namespace tinybpf::detail {

/// The frame of every attach: checks, one attach at a time within an object, libbpf's text kept, hints.
link attach_with(program_core* core, link_kind kind, std::string const& where,
                 std::function<bpf_link*(bpf_program*)> const& attach, error_code& ec, diagnostics& details);

}  // namespace tinybpf::detail
