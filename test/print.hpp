// How Boost.Test prints what a check has found.
#pragma once

#include <tinybpf/error.hpp>
#include <tinybpf/number.hpp>

#include <ostream>

namespace tinybpf {

inline std::ostream& operator<<(std::ostream& out, errc e) { return out << make_error_code(e); }
inline std::ostream& operator<<(std::ostream& out, number const& n) { return out << n.to_string(); }

}  // namespace tinybpf
