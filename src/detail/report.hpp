// Filling an error_code and its diagnostics: the one place where libbpf's and the kernel's numbers become ours.
#pragma once

#include <tinybpf/error.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace tinybpf::detail {

/// What libbpf returned, as a positive number: an errno stays one; libbpf's own numbers (4000 and up) mean a bad
/// object; the kernel's internal 524 (ENOTSUPP), which libc has no word for, is EOPNOTSUPP.
error_code from_libbpf(int err);

/// errno as it is now.
error_code last_errno();

/// True if it is that errno.
bool is(error_code const& ec, int err);

/// The whole of a report; returns nothing so that a caller can `return report(...)` from a void function.
void report(error_code& ec, diagnostics& details, error_code code, std::string message, std::string hint = {});

/// Starts a call: what an earlier one left is cleared.
void begin(error_code& ec, diagnostics& details);

/// The names that are closest to what was asked for, if there are more than so many.
std::vector<std::string> nearest(std::string_view wanted, std::vector<std::string> names, std::size_t most);

/// "; did you mean 'x'?" where one of the names is close to what was asked for, and the list of all names, or of the
/// closest ones of very many.
std::string near_names(std::string_view wanted, std::vector<std::string> const& names);

}  // namespace tinybpf::detail
