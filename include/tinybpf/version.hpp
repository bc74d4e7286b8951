// Which tinybpf, and which libbpf, a program runs with.
#pragma once

#include <compare>
#include <string>

namespace tinybpf {

/// A version of the library, or of libbpf. Compares as versions do: 1.10.0 is later than 1.9.3.
///
/// `<sys/sysmacros.h>` defines `major` and `minor` as function-like macros, which leave these members alone.
struct version_number {
  unsigned major = 0;
  unsigned minor = 0;
  unsigned patch = 0;

  friend auto operator<=>(version_number const&, version_number const&) = default;
};

/// The version of tinybpf that this program is linked with, which may be another one than that of its headers where
/// the library is shared.
///
/// Never fails. Safe to call from any thread.
version_number version() noexcept;

/// The version of libbpf that this program runs with, which may be later than the one that it was built with.
///
/// libbpf tells its major and minor version; `patch` is 0 where it does not tell more.
/// Never fails. Safe to call from any thread.
version_number libbpf_version() noexcept;

/// `v` as "major.minor.patch", for example "0.1.0".
std::string to_string(version_number v);

}  // namespace tinybpf
