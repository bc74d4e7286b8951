#include <tinybpf/version.hpp>

#include <bpf/libbpf.h>

#include <charconv>
#include <string_view>

namespace tinybpf {

version_number version() noexcept { return {TINYBPF_VERSION_MAJOR, TINYBPF_VERSION_MINOR, TINYBPF_VERSION_PATCH}; }

version_number libbpf_version() noexcept {
  version_number v{libbpf_major_version(), libbpf_minor_version(), 0};
  // "v1.1", or "v1.1.2" from a libbpf that tells its patch level too.
  std::string_view const text = libbpf_version_string();
  if (auto const dot = text.rfind('.'); dot != text.find('.'))
    std::from_chars(text.data() + dot + 1, text.data() + text.size(), v.patch);
  return v;
}

std::string to_string(version_number v) {
  return std::to_string(v.major) + '.' + std::to_string(v.minor) + '.' + std::to_string(v.patch);
}

}  // namespace tinybpf
