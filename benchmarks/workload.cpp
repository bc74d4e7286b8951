#include "workload.hpp"

#include <bpf/bpf.h>

#include <cerrno>
#include <string_view>
#include <system_error>

namespace bench {

workload::workload()
    : object_{tinybpf::load(RING_BENCH_BPF_O)},
      ring_{object_.map("events")},
      counter_{context_.get_executor(), ring_} {}

std::uint64_t workload::run(std::string_view program, void* args, std::uint32_t size) const {
  bpf_test_run_opts options{};
  options.sz = sizeof(options);
  options.ctx_in = args;
  options.ctx_size_in = size;
  auto const fd = object_.program(program).fd();
  auto const begin = now_ns();
  if (bpf_prog_test_run_opts(fd, &options) != 0)
    throw std::system_error{errno, std::system_category(), "run a program"};
  return now_ns() - begin;
}

std::uint64_t workload::produce(std::uint64_t count) const { return run("produce", &count, sizeof(count)); }

void workload::trace_this_thread() {
  run("trace_me", nullptr, 0);
  if (!link_) link_ = object_.program("on_getpgid").attach();
}

std::uint64_t workload::empty() const {
  asio::io_context context;
  tinybpf::ring_buffer ring{context.get_executor(), ring_};
  std::uint64_t events = 0;
  while (ring.try_next<tinybpf::bytes>()) ++events;
  return events;
}

}  // namespace bench
