// Running a program on made-up input, and counting its runs.
#include "detail/object_state.hpp"
#include "detail/privileges.hpp"

#include <tinybpf/capabilities.hpp>
#include <tinybpf/program.hpp>

#include <bpf/bpf.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace tinybpf {
namespace {

using detail::report;

constexpr std::uint32_t run_on_cpu = 1U << 0U;   // BPF_F_TEST_RUN_ON_CPU
constexpr std::uint32_t live_frames = 1U << 1U;  // BPF_F_TEST_XDP_LIVE_FRAMES

constexpr std::string_view packet_takes =
    "takes data_in of at least 14 bytes, an Ethernet header and what follows, perhaps ctx_in, and no CPU";
constexpr std::string_view raw_tracepoint_takes =
    "takes ctx_in, 8 bytes for each argument up to the last that it reads, and a CPU; neither data nor repeat";

struct input_of_type {
  program_type type;
  std::string_view takes;
};

// What the kernel's test run of each type wants, and says EINVAL without.
constexpr std::array inputs{
    input_of_type{program_type::socket_filter, packet_takes},
    input_of_type{program_type::sched_cls, packet_takes},
    input_of_type{program_type::sched_act, packet_takes},
    input_of_type{program_type::cgroup_skb, packet_takes},
    input_of_type{program_type::lwt_in, packet_takes},
    input_of_type{program_type::lwt_out, packet_takes},
    input_of_type{program_type::lwt_xmit, packet_takes},
    input_of_type{program_type::lwt_seg6local, packet_takes},
    input_of_type{program_type::sk_skb, packet_takes},
    input_of_type{program_type::flow_dissector, packet_takes},
    input_of_type{program_type::xdp,
                  "takes data_in of at least 14 bytes, an Ethernet header and what follows, perhaps ctx_in, a struct "
                  "xdp_md whose data_end is the length of data_in, and no CPU; of live frames there is no output"},
    input_of_type{program_type::raw_tracepoint, raw_tracepoint_takes},
    input_of_type{program_type::raw_tracepoint_writable, raw_tracepoint_takes},
    input_of_type{
        program_type::tracing,
        "takes no input: the kernel calls functions of its own, bpf_fentry_test1 and its like, and the program "
        "has to be for one of them"},
    input_of_type{program_type::sk_lookup, "takes ctx_in, a struct bpf_sk_lookup, and no data"},
    input_of_type{program_type::netfilter, "takes data_in, an Ethernet header and an IP packet"},
    input_of_type{program_type::syscall,
                  "takes ctx_in of as many bytes as it reads at least, and neither data, flags, a CPU nor repeat"},
};

std::string a_program_of(program_type type) { return "a program of type " + std::string{to_string(type)}; }

void explain(detail::program_core const& core, error_code ec, diagnostics& details) {
  program_type const type = core.type;
  if (ec == boost::system::errc::operation_not_supported) {  // 524 of the kernel, which no manual names
    details.message += ": the kernel has no test run for " + a_program_of(type);
    details.hint = "attach it, and cause what it waits for; test runs are there for";
    for (auto const& i : inputs) details.hint += (&i == inputs.data() ? " " : ", ") + std::string{to_string(i.type)};
  } else if (ec == boost::system::errc::invalid_argument) {
    for (auto const& i : inputs)
      if (i.type == type) details.hint = a_program_of(type) + ' ' + std::string{i.takes};
  } else if (ec == boost::system::errc::no_such_device_or_address) {
    details.hint = "there is no such CPU, or it is offline";
  } else if (ec == boost::system::errc::operation_not_permitted) {
    details.hint = detail::explain_refusal(required_capabilities(type));
  }
}

/// Whether all of the output had room; reports it.
bool fitted(detail::program_core const& core, char const* part, std::size_t size, std::size_t room, error_code& ec,
            diagnostics& details) {
  if (room == 0 || size <= room) return true;
  details.program = core.name;
  details.expected_size = size;
  details.actual_size = room;
  report(ec, details, {ENOSPC, boost::system::system_category()},
         "test_run of program '" + core.name + "': " + part + " has room for " + std::to_string(room) + " bytes of " +
             std::to_string(size),
         "what fits is there, and the result is that of a whole run");
  return false;
}

bool is_too_long(std::size_t size) { return size > std::numeric_limits<__u32>::max(); }

}  // namespace

test_run_result program::test_run(test_run_options const& options) const {
  return detail::or_throw([&](auto& ec, auto& details) { return test_run(options, ec, details); });
}
test_run_result program::test_run(test_run_options const& options, error_code& ec) const {
  diagnostics details;
  return test_run(options, ec, details);
}
test_run_result program::test_run(test_run_options const& options, error_code& ec, diagnostics& details) const {
  test_run_result result;
  if (!detail::ready(core_.get(), "test_run", ec, details)) return result;
  auto const what = "test_run of program '" + core_->name + "'";
  for (auto const size :
       {options.data_in.size(), options.data_out.size(), options.ctx_in.size(), options.ctx_out.size()}) {
    if (!is_too_long(size)) continue;
    details.program = core_->name;
    report(ec, details, errc::out_of_range,
           what + ": " + std::to_string(size) + " bytes are more than the kernel takes");
    return result;
  }
  // Such a program writes to what it is called with, and the kernel has no other output of it.
  bool const writes_ctx_in = core_->type == program_type::syscall;
  std::vector<std::byte> context;
  if (writes_ctx_in) context.assign(options.ctx_in.begin(), options.ctx_in.end());

  bpf_test_run_opts raw{};
  raw.sz = sizeof raw;
  raw.data_in = options.data_in.empty() ? nullptr : options.data_in.data();
  raw.data_size_in = static_cast<__u32>(options.data_in.size());
  // Where the size is 0 the kernel writes as much as there is.
  raw.data_out = options.data_out.empty() ? nullptr : options.data_out.data();
  raw.data_size_out = static_cast<__u32>(options.data_out.size());
  raw.ctx_size_in = static_cast<__u32>(options.ctx_in.size());
  if (writes_ctx_in) {
    raw.ctx_in = context.empty() ? nullptr : context.data();
  } else {
    raw.ctx_in = options.ctx_in.empty() ? nullptr : options.ctx_in.data();
    raw.ctx_out = options.ctx_out.empty() ? nullptr : options.ctx_out.data();
    raw.ctx_size_out = static_cast<__u32>(options.ctx_out.size());
  }
  raw.repeat = options.repeat <= 1 ? 0 : static_cast<int>(options.repeat);  // to some types even 1 is too many
  raw.flags = options.flags | (options.live_frames ? live_frames : 0U) | (options.cpu >= 0 ? run_on_cpu : 0U);
  raw.cpu = options.cpu >= 0 ? static_cast<__u32>(options.cpu) : 0U;
  raw.batch_size = options.batch_size;

  auto const code = detail::from_libbpf(bpf_prog_test_run_opts(fd(), &raw));
  bool const cut_off = code == boost::system::errc::no_space_on_device;
  if (code && !cut_off) {
    details.program = core_->name;
    report(ec, details, code, what);
    explain(*core_, code, details);
    return result;
  }
  if (cut_off) {
    // What the kernel did not come to has the size that went in.
    bool const data_is_cut = !options.data_out.empty() && raw.data_size_out > options.data_out.size();
    if (data_is_cut) raw.ctx_size_out = 0;
    if (!data_is_cut && raw.ctx_size_out <= options.ctx_out.size()) {
      details.program = core_->name;
      report(ec, details, code, what + ": it ran, but the kernel gives no result", "give data_out room for the packet");
      return result;
    }
  }
  result.retval = raw.retval;
  result.duration = std::chrono::nanoseconds{raw.duration};
  result.data_size_out = raw.data_size_out;
  result.ctx_size_out = raw.ctx_size_out;
  if (writes_ctx_in) {
    result.ctx_size_out = context.size();
    auto const size = std::min(context.size(), options.ctx_out.size());
    if (size != 0) std::memcpy(options.ctx_out.data(), context.data(), size);
  }
  if (!fitted(*core_, "data_out", result.data_size_out, options.data_out.size(), ec, details)) return result;
  if (!fitted(*core_, "ctx_out", result.ctx_size_out, options.ctx_out.size(), ec, details)) return result;
  return result;
}

program_stats program::stats() const {
  return detail::or_throw([&](auto& ec, auto& details) { return stats(ec, details); });
}
program_stats program::stats(error_code& ec) const {
  diagnostics details;
  return stats(ec, details);
}
program_stats program::stats(error_code& ec, diagnostics& details) const {
  program_stats result;
  if (!detail::ready(core_.get(), "stats", ec, details)) return result;
  bpf_prog_info raw{};
  __u32 size = sizeof raw;
  if (int const err = bpf_obj_get_info_by_fd(fd(), &raw, &size); err != 0) {
    details.program = core_->name;
    report(ec, details, detail::from_libbpf(err), "stats of program '" + core_->name + "'");
    return result;
  }
  result.run_time = std::chrono::nanoseconds{raw.run_time_ns};
  result.run_count = raw.run_cnt;
  result.recursion_misses = raw.recursion_misses;
  return result;
}

}  // namespace tinybpf
