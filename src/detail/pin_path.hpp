// Paths in a BPF file system.
#pragma once

#include <tinybpf/error.hpp>

#include <filesystem>
#include <string>

namespace tinybpf::detail {

/// Says what the path has to do with an EPERM, which the kernel gives for two reasons; empty for other errors.
std::string why_no_pin(std::filesystem::path const& path, error_code code);

/// The path that a pin made at `path` has from any folder: absolute, and without symbolic links on the way, as far as
/// that can be told.
std::filesystem::path resolved_pin_path(std::filesystem::path const& path);

/// The same of a pin that was opened at `path`, which may itself be a symbolic link to it: removing the pin must not
/// remove that.
std::filesystem::path opened_pin_path(std::filesystem::path const& path);

}  // namespace tinybpf::detail
