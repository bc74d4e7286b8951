// Folders for a test's files and pins.
#pragma once

#include "support.hpp"

#include <boost/test/unit_test.hpp>

#include <sys/stat.h>

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <ios>
#include <span>
#include <string_view>
#include <system_error>

namespace test {

/// Where pins are.
inline constexpr char const* bpffs = "/sys/fs/bpf";

/// A folder of its own in another, gone with what is in it.
class scratch_folder {
 public:
  explicit scratch_folder(std::filesystem::path const& in = std::filesystem::temp_directory_path()) {
    auto pattern = (in / "tinybpf_test_XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) checked(-1, "mkdtemp");
    path_ = pattern;
  }
  scratch_folder(scratch_folder const&) = delete;
  scratch_folder& operator=(scratch_folder const&) = delete;
  ~scratch_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  std::filesystem::path const& path() const { return path_; }
  std::filesystem::path operator/(std::filesystem::path const& name) const { return path_ / name; }

  std::filesystem::path file(std::string_view name, std::span<std::byte const> contents) const {
    std::ofstream out{path_ / name, std::ios::binary};
    out.write(reinterpret_cast<char const*>(contents.data()), static_cast<std::streamsize>(contents.size()));
    return path_ / name;
  }

 private:
  std::filesystem::path path_;
};

/// A folder for each case, in which nothing may be printed.
class quiet_folder : public scratch_folder {
 public:
  using scratch_folder::scratch_folder;
  ~quiet_folder() { BOOST_TEST(stderr_.text() == ""); }

 private:
  stderr_capture stderr_;
};

/// A folder that everybody may enter, with files that everybody may read.
class readable_folder : public scratch_folder {
 public:
  readable_folder() { checked(chmod(path().c_str(), 0755), "chmod"); }

  std::filesystem::path file(std::string_view name, std::span<std::byte const> contents) const {
    auto made = scratch_folder::file(name, contents);
    checked(chmod(made.c_str(), 0644), "chmod");
    return made;
  }
};

}  // namespace test
