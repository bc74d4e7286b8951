// What the running kernel can do, found out by having it done.
#pragma once

#include <tinybpf/error.hpp>
#include <tinybpf/helper.hpp>
#include <tinybpf/types.hpp>

namespace tinybpf {

/// True if a program of the type can be loaded here. Each call loads a small one, with the attach type and the kernel
/// function that its type needs, and lets it go: the answer is that of the running kernel, its configuration and its
/// lockdown. That something of the sort can be attached is another question: a kernel without kprobes loads programs
/// for them.
///
/// Nothing is kept between calls, since the answer may change (a module, a lockdown); a call takes some ten
/// microseconds, the first one for a type that needs the kernel's types about 10 ms more.
///
/// Errors: EPERM if it cannot be known because the calling thread lacks a capability, which the hint names, or is in a
/// user namespace, where they do not count (otherwise the kernel's EPERM is an answer: false); ENOENT or EACCES if the
/// type needs the kernel's types, and they cannot be read in /sys/kernel/btf; ENOMEM, EMFILE and the like;
/// `errc::not_supported` for a number that has no name in `program_type`. Where the answer is false, the diagnostics'
/// message says why. Thread-safe.
[[nodiscard]] bool supports(program_type type);
/// @overload
bool supports(program_type type, error_code& ec);
/// @overload
bool supports(program_type type, error_code& ec, diagnostics& details);

/// True if a map of the type can be created here, which each call does. Otherwise as for programs.
[[nodiscard]] bool supports(map_type type);
/// @overload
bool supports(map_type type, error_code& ec);
/// @overload
bool supports(map_type type, error_code& ec, diagnostics& details);

/// True if programs of the type may call the helper function, in at least one of the places that they attach to: each
/// call has the verifier look at programs that do. It is true as well if the helper is only for some of the functions
/// that such programs attach to, or for programs that may sleep. Where it is false, the diagnostics' message says
/// whether the kernel does not know the helper, has it for other types, or has no such programs.
///
/// Errors: as for programs; EPERM also if the verifier may have refused the helper for a capability that the thread
/// lacks, since it hides many from who has no CAP_PERFMON. Thread-safe.
[[nodiscard]] bool supports(helper h, program_type type);
/// @overload
bool supports(helper h, program_type type, error_code& ec);
/// @overload
bool supports(helper h, program_type type, error_code& ec, diagnostics& details);

/// True if programs of at least one type that can be loaded here may call the helper. Some milliseconds where the
/// answer is false. Errors: as above, if no type was found and some could not be tried.
[[nodiscard]] bool supports(helper h);
/// @overload
bool supports(helper h, error_code& ec);
/// @overload
bool supports(helper h, error_code& ec, diagnostics& details);

}  // namespace tinybpf
