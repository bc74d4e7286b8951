// What several test programs share.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/system/error_code.hpp>

#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

namespace test {

namespace asio = boost::asio;

/// Runs the loop until the coroutine has ended, no longer, and gives what it returned or throws what it threw.
template <class T>
T run(asio::io_context& io, asio::awaitable<T> coroutine) {
  bool ended = false;
  std::exception_ptr thrown;
  io.restart();
  auto const loop = [&] {
    while (!ended && io.run_one() != 0) {
    }
    if (!ended) throw std::logic_error{"the loop ran out of work before the coroutine ended"};
    if (thrown) std::rethrow_exception(thrown);
  };
  if constexpr (std::is_void_v<T>) {
    asio::co_spawn(io, std::move(coroutine), [&](std::exception_ptr e) {
      thrown = std::move(e);
      ended = true;
    });
    loop();
  } else {
    std::optional<T> result;
    asio::co_spawn(io, std::move(coroutine), [&](std::exception_ptr e, T value) {
      thrown = std::move(e);
      result.emplace(std::move(value));
      ended = true;
    });
    loop();
    return std::move(*result);
  }
}

/// The bytes of a value, to look up, and to write into.
template <class T>
std::span<std::byte const> bytes_of(T const& value) {
  return std::as_bytes(std::span{&value, 1});
}
template <class T>
std::span<std::byte> writable_bytes_of(T& value) {
  return std::as_writable_bytes(std::span{&value, 1});
}

/// An errno as the library reports it.
inline boost::system::error_code kernel_error(int err) { return {err, boost::system::system_category()}; }

inline std::vector<std::byte> contents_of(std::filesystem::path const& file) {
  std::ifstream in{file, std::ios::binary};
  in.exceptions(std::ios::badbit | std::ios::failbit);
  std::vector<std::byte> all(std::filesystem::file_size(file));
  in.read(reinterpret_cast<char*>(all.data()), static_cast<std::streamsize>(all.size()));
  return all;
}

/// The bytes of a section of a 64-bit ELF image.
inline std::span<std::byte> section_of(std::span<std::byte> image, std::string_view wanted) {
  auto const read = [&]<class T>(T& into, std::size_t at) {
    std::memcpy(&into, image.subspan(at).data(), sizeof into);
  };
  Elf64_Ehdr file{};
  read(file, 0);
  Elf64_Shdr names{};
  read(names, file.e_shoff + std::size_t{file.e_shstrndx} * sizeof names);
  for (std::size_t i = 0; i < file.e_shnum; ++i) {
    Elf64_Shdr section{};
    read(section, file.e_shoff + i * sizeof section);
    auto const* const name = reinterpret_cast<char const*>(image.subspan(names.sh_offset + section.sh_name).data());
    if (name == wanted) return image.subspan(section.sh_offset, section.sh_size);
  }
  throw std::logic_error{"no such section"};
}

inline bool contains(std::string_view text, std::string_view what) { return text.find(what) != text.npos; }

inline int checked(int result, char const* call) {
  if (result < 0) throw std::system_error{errno, std::generic_category(), call};
  return result;
}

/// An anonymous file, and what is in it.
class scratch_file {
 public:
  scratch_file() : fd_{checked(memfd_create("test", MFD_CLOEXEC), "memfd_create")} {}
  scratch_file(scratch_file const&) = delete;
  scratch_file& operator=(scratch_file const&) = delete;
  ~scratch_file() { close(fd_); }

  int fd() const { return fd_; }
  std::string text() const {
    std::string all;
    char part[4096];
    for (off_t at = 0;;) {
      auto const got = pread(fd_, part, sizeof part, at);
      if (got <= 0) return all;
      all.append(part, static_cast<std::size_t>(got));
      at += got;
    }
  }

 private:
  int fd_;
};

/// While alive, what this process writes to stderr is kept here instead.
class stderr_capture {
 public:
  stderr_capture() : before_{checked(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3), "dup of stderr")} {
    std::fflush(stderr);
    checked(dup2(kept_.fd(), STDERR_FILENO), "dup2");
  }
  stderr_capture(stderr_capture const&) = delete;
  stderr_capture& operator=(stderr_capture const&) = delete;
  ~stderr_capture() {
    std::fflush(stderr);
    dup2(before_, STDERR_FILENO);
    close(before_);
  }

  std::string text() const {
    std::fflush(stderr);
    return kept_.text();
  }

 private:
  scratch_file kept_;
  int before_;
};

/// What `f` returns when called in a forked child, or how the child died. The child may change what it likes:
/// its user, its mounts.
template <class F>
std::string in_child(F f) {
  scratch_file answer;
  std::fflush(nullptr);
  pid_t const child = checked(fork(), "fork");
  if (child == 0) {
    std::string text;
    try {
      text = f();
    } catch (std::exception const& e) {
      text = std::string{"the child threw: "} + e.what();
    }
    bool const written = write(answer.fd(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
    _exit(written ? 0 : 1);
  }
  int status = 0;
  checked(waitpid(child, &status, 0), "waitpid");
  if (WIFSIGNALED(status)) return "the child died of signal " + std::to_string(WTERMSIG(status));
  if (status != 0) return "the child exited with " + std::to_string(WEXITSTATUS(status));
  return answer.text();
}

}  // namespace test
