// The user's side of bpf/streams.bpf.c: a loop, the loaded object, and what it is asked to write.
#pragma once

#include "loop.hpp"
#include "print.hpp"
#include "support.hpp"

#include <tinybpf/object.hpp>
#include <tinybpf/ring_buffer.hpp>

#include <boost/asio/steady_timer.hpp>

#include <bpf/bpf.h>

#include <chrono>
#include <cstdint>
#include <ostream>
#include <stdexcept>
#include <utility>
#include <vector>

namespace test {

// As in streams.bpf.c.
struct counted_event {
  std::uint32_t kind;
  std::uint32_t index;
  std::uint64_t serial;
  std::uint64_t time;
};

// As counted_event, but read without a look at its tag.
struct untagged_event {
  std::uint32_t kind;
  std::uint32_t index;
  std::uint64_t serial;
  std::uint64_t time;
};

struct named_event {
  std::uint32_t kind;
  std::uint32_t length;
  std::uint64_t serial;
};

inline constexpr std::uint32_t counted_kind = 1;
inline constexpr std::uint32_t named_kind = 2;

/// What a record takes in a ring.
inline constexpr std::uint64_t counted_bytes = sizeof(counted_event) + 8;

enum class ring : std::uint32_t { first, second, tiny, uncounted, by_index, many };

/// What is to be written, and what became of it.
struct write_args {
  std::uint32_t ring = 0;
  std::uint32_t index = 0;
  std::uint32_t kind = counted_kind;
  std::uint32_t size = 0;
  std::uint64_t count = 1;
  std::uint64_t flags = 0;
  std::uint64_t first = 0;
  std::uint64_t time = 0;
  std::uint64_t step = 0;
  std::uint64_t written = 0;
  std::uint64_t failed = 0;
};

/// Runs a program of the type syscall, which may change its argument.
inline write_args run_program(tinybpf::program const& p, write_args args) {
  bpf_test_run_opts opts{};
  opts.sz = sizeof opts;
  opts.ctx_in = &args;
  opts.ctx_size_in = sizeof args;
  if (bpf_prog_test_run_opts(p.fd(), &opts) != 0) throw std::runtime_error{"bpf_prog_test_run_opts"};
  return args;
}

struct streams : loop {
  write_args write(ring to, std::uint64_t count, write_args args = {}) const {
    args.ring = static_cast<std::uint32_t>(to);
    args.count = count;
    return run_program(writer, args);
  }
  /// One record with this serial.
  void write_one(ring to, std::uint64_t serial, std::uint32_t index = 0) const {
    write_args args;
    args.first = serial;
    args.index = index;
    if (write(to, 1, args).written != 1) throw std::length_error{"the ring is full"};
  }
  /// Bytes that the kernel takes to be unread.
  std::uint64_t unread(ring of, std::uint32_t index = 0) const {
    write_args args;
    args.ring = static_cast<std::uint32_t>(of);
    args.index = index;
    return run_program(unread_program, args).written;
  }

  tinybpf::object obj = tinybpf::load(STREAMS_BPF_O);
  tinybpf::program writer = obj.program("write_records");
  tinybpf::program unread_program = obj.program("unread");
};

}  // namespace test

template <>
struct tinybpf::event_traits<test::counted_event> {
  static constexpr auto tag = tinybpf::tag(&test::counted_event::kind, test::counted_kind);
};
template <>
struct tinybpf::event_traits<test::named_event> {
  static constexpr auto size = tinybpf::size_rule::at_least;
  static constexpr auto tag = tinybpf::tag(&test::named_event::kind, test::named_kind);
};
