// A folder for a test's files.
#pragma once

#include "support.hpp"

#include <boost/test/unit_test.hpp>

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <ios>
#include <span>
#include <string_view>

namespace test {

/// A folder of its own for each case, gone with its end. Nothing may be printed meanwhile.
class quiet_folder {
 public:
  quiet_folder() {
    auto pattern = (std::filesystem::temp_directory_path() / "tinybpf_test_XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) checked(-1, "mkdtemp");
    path_ = pattern;
  }
  ~quiet_folder() {
    BOOST_TEST(stderr_.text() == "");
    std::filesystem::remove_all(path_);
  }
  quiet_folder(quiet_folder const&) = delete;
  quiet_folder& operator=(quiet_folder const&) = delete;

  std::filesystem::path file(std::string_view name, std::span<std::byte const> contents) const {
    std::ofstream out{path_ / name, std::ios::binary};
    out.write(reinterpret_cast<char const*>(contents.data()), static_cast<std::streamsize>(contents.size()));
    return path_ / name;
  }
  std::filesystem::path const& path() const { return path_; }

 private:
  std::filesystem::path path_;
  stderr_capture stderr_;
};

}  // namespace test
