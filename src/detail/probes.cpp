#include "probes.hpp"

#include "log_capture.hpp"
#include "report.hpp"

#include <tinybpf/btf.hpp>

#include "btf_tables.hpp"

#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/btf.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <initializer_list>
#include <iterator>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <utility>

namespace tinybpf::detail {
namespace {

// Of headers newer than Linux 6.1.
constexpr std::uint32_t attach_netfilter = 45;
constexpr std::uint32_t sleepable = BPF_F_SLEEPABLE;

constexpr std::array program_probes{
    program_probe{program_type::socket_filter},
    program_probe{program_type::kprobe},
    program_probe{program_type::kprobe, BPF_TRACE_KPROBE_MULTI},
    program_probe{program_type::kprobe, 0, nullptr, 0, sleepable},
    program_probe{program_type::sched_cls},
    program_probe{program_type::sched_act},
    program_probe{program_type::tracepoint},
    program_probe{program_type::xdp},
    program_probe{program_type::perf_event},
    program_probe{program_type::cgroup_skb, BPF_CGROUP_INET_INGRESS},
    program_probe{program_type::cgroup_skb, BPF_CGROUP_INET_EGRESS},
    program_probe{program_type::cgroup_sock, BPF_CGROUP_INET_SOCK_CREATE},
    program_probe{program_type::cgroup_sock, BPF_CGROUP_INET4_POST_BIND},
    program_probe{program_type::cgroup_sock, BPF_CGROUP_INET_SOCK_RELEASE},
    program_probe{program_type::lwt_in},
    program_probe{program_type::lwt_out},
    program_probe{program_type::lwt_xmit},
    program_probe{program_type::sock_ops, BPF_CGROUP_SOCK_OPS},
    program_probe{program_type::sk_skb},
    program_probe{program_type::cgroup_device, BPF_CGROUP_DEVICE},
    program_probe{program_type::sk_msg, BPF_SK_MSG_VERDICT},
    program_probe{program_type::raw_tracepoint},
    program_probe{program_type::cgroup_sock_addr, BPF_CGROUP_INET4_CONNECT},
    program_probe{program_type::cgroup_sock_addr, BPF_CGROUP_INET4_BIND},
    program_probe{program_type::cgroup_sock_addr, BPF_CGROUP_UDP4_SENDMSG},
    program_probe{program_type::lwt_seg6local},
    program_probe{program_type::lirc_mode2, BPF_LIRC_MODE2},
    program_probe{program_type::sk_reuseport, BPF_SK_REUSEPORT_SELECT},
    program_probe{program_type::sk_reuseport, BPF_SK_REUSEPORT_SELECT_OR_MIGRATE},
    program_probe{program_type::flow_dissector, BPF_FLOW_DISSECTOR},
    program_probe{program_type::cgroup_sysctl, BPF_CGROUP_SYSCTL},
    program_probe{program_type::raw_tracepoint_writable},
    program_probe{program_type::cgroup_sockopt, BPF_CGROUP_GETSOCKOPT},
    program_probe{program_type::cgroup_sockopt, BPF_CGROUP_SETSOCKOPT},
    // The kernel's function for the iterator over maps is there wherever iterators are.
    program_probe{program_type::tracing, BPF_TRACE_ITER, "bpf_iter_bpf_map", BTF_KIND_FUNC},
    program_probe{program_type::tracing, BPF_TRACE_RAW_TP, "btf_trace_sched_switch", BTF_KIND_TYPEDEF},
    program_probe{program_type::tracing, BPF_TRACE_FENTRY, "bpf_fentry_test1", BTF_KIND_FUNC},
    program_probe{program_type::tracing, BPF_TRACE_FEXIT, "bpf_fentry_test1", BTF_KIND_FUNC},
    program_probe{program_type::tracing, BPF_MODIFY_RETURN, "bpf_modify_return_test", BTF_KIND_FUNC},
    program_probe{program_type::tracing, BPF_TRACE_ITER, "bpf_iter_task", BTF_KIND_FUNC, sleepable},
    program_probe{program_type::struct_ops, 0, "tcp_congestion_ops", BTF_KIND_STRUCT},
    program_probe{program_type::ext},
    program_probe{program_type::lsm, BPF_LSM_MAC, "bpf_lsm_file_open", BTF_KIND_FUNC},
    program_probe{program_type::lsm, BPF_LSM_MAC, "bpf_lsm_file_open", BTF_KIND_FUNC, sleepable},
    program_probe{program_type::lsm, BPF_LSM_CGROUP, "bpf_lsm_socket_bind", BTF_KIND_FUNC},
    program_probe{program_type::sk_lookup, BPF_SK_LOOKUP},
    program_probe{program_type::syscall, 0, nullptr, 0, sleepable},
    program_probe{program_type::netfilter, attach_netfilter},
};

// The value of a map of type struct_ops.
constexpr char const* tcp_value = "bpf_struct_ops_tcp_congestion_ops";

struct kernel_place {
  std::uint32_t id = 0;      // 0: there is none
  std::uint32_t member = 0;  // of struct_ops: the index of the function that the program is to be
  std::uint32_t size = 0;
};

// A name's number stays while the kernel runs, and finding it means reading megabytes.
kernel_place find_place(char const* name, std::uint32_t kind, error_code& ec, diagnostics& details) {
  static std::mutex mutex;
  static std::map<std::pair<std::string, std::uint32_t>, kernel_place> known;
  std::lock_guard const lock{mutex};
  if (auto const found = known.find({name, kind}); found != known.end()) return found->second;
  auto const types = tinybpf::btf::kernel(ec, details);
  if (ec) return {};
  auto const& tables = btf_access::tables(types);
  // For all at once: the types are freed behind the last who reads them.
  auto const remember = [&](char const* wanted, std::uint32_t of_kind) {
    kernel_place place;
    if (auto const id = btf__find_by_name_kind(tables->raw, wanted, of_kind); id > 0) {
      place.id = static_cast<std::uint32_t>(id);
      auto const* const type = btf__type_by_id(tables->raw, place.id);
      if (of_kind == BTF_KIND_STRUCT) {
        place.size = type->size;
        for (std::uint32_t i = 0; i < btf_vlen(type); ++i)
          if (name_at(tables->raw, btf_members(type)[i].name_off) == "ssthresh") place.member = i;
      }
    }
    known[{wanted, of_kind}] = place;
  };
  for (auto const& p : program_probes)
    if (p.kernel_place != nullptr) remember(p.kernel_place, p.kernel_place_kind);
  remember(tcp_value, BTF_KIND_STRUCT);
  return known[{name, kind}];
}

// The answer where `find_place` found none.
probe_answer without_place(char const* name, error_code ec) {
  if (!ec) return {from_libbpf(EINVAL), {}, "the kernel's types have no '" + std::string{name} + "'"};
  // libbpf says the same of a kernel without types, of a file that may not be read, and where there is no sysfs.
  std::string const file = "/sys/kernel/btf/vmlinux";
  if (faccessat(AT_FDCWD, file.c_str(), R_OK, AT_EACCESS) == 0)
    return {ec, {}, "the kernel's types in " + file + " cannot be used", true};
  int const err = errno;
  struct statfs system {};
  if (err == ENOENT && statfs("/sys/kernel", &system) == 0 && system.f_type == SYSFS_MAGIC)
    return {from_libbpf(EINVAL), {}, "it has no types: there is no " + file};
  return {from_libbpf(err), {}, "the kernel's types in " + file + " cannot be read; is sysfs mounted?", true};
}

constexpr bpf_insn return_nothing{BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 0};
constexpr bpf_insn call(helper h) { return {BPF_JMP | BPF_CALL, 0, 0, 0, static_cast<std::int32_t>(h)}; }
constexpr bpf_insn leave{BPF_JMP | BPF_EXIT, 0, 0, 0, 0};

// Types for programs and maps that the kernel takes only with some:
//   [1] int  [2] struct __sk_buff  [3] a pointer to it  [4] int(struct __sk_buff *ctx)  [5] the function 'probe', of
//   [4]
struct own_types {
  btf_header header;
  ::btf_type number;
  std::uint32_t number_bits;
  ::btf_type context;
  ::btf_type pointer;
  ::btf_type prototype;
  btf_param parameter;
  ::btf_type function;
  char strings[26];
};

constexpr std::uint32_t number_id = 1;
constexpr std::uint32_t function_id = 5;

constexpr ::btf_type type_of(std::uint32_t name, std::uint32_t kind, std::uint32_t count, std::uint32_t size_or_type) {
  ::btf_type type{};
  type.name_off = name;
  type.info = kind << 24U | count;
  type.size = size_or_type;
  return type;
}

owned_descriptor load_types() {
  constexpr std::uint32_t types = offsetof(own_types, strings) - sizeof(btf_header);
  own_types const all{
      {BTF_MAGIC, BTF_VERSION, 0, sizeof(btf_header), 0, types, types, sizeof own_types::strings},
      type_of(1, BTF_KIND_INT, 0, 4),
      BTF_INT_SIGNED << 24U | 32U,
      type_of(5, BTF_KIND_STRUCT, 0, 4),
      type_of(0, BTF_KIND_PTR, 0, 2),
      type_of(0, BTF_KIND_FUNC_PROTO, 1, number_id),
      {15, 3},
      type_of(19, BTF_KIND_FUNC, BTF_FUNC_GLOBAL, 4),
      "\0int\0__sk_buff\0ctx\0probe",
  };
  return owned_descriptor{bpf_btf_load(&all, sizeof(btf_header) + types + sizeof all.strings, nullptr)};
}

probe_answer answer(int fd, std::string log = {}) {
  if (fd < 0) return {from_libbpf(-fd), std::move(log), {}};
  owned_descriptor const made{fd};
  return {{}, std::move(log), {}};
}

int load(program_probe const& probe, std::span<bpf_insn const> code, bpf_prog_load_opts& options) {
  options.sz = sizeof options;
  options.expected_attach_type = static_cast<bpf_attach_type>(probe.attach_type);
  options.prog_flags = probe.flags;
  return bpf_prog_load(static_cast<bpf_prog_type>(probe.type), "tinybpf_probe", "GPL", code.data(), code.size(),
                       &options);
}

probe_answer load_code(program_probe probe, std::span<bpf_insn const> code) {
  log_capture const quiet;
  bpf_prog_load_opts options{};
  error_code ec;
  diagnostics details;
  if (probe.kernel_place != nullptr) {
    auto const place = find_place(probe.kernel_place, probe.kernel_place_kind, ec, details);
    if (place.id == 0) return without_place(probe.kernel_place, ec);
    options.attach_btf_id = place.id;
    if (probe.type == program_type::struct_ops) probe.attach_type = place.member;  // which function it is to be
  }
  owned_descriptor types;
  owned_descriptor target;
  bpf_func_info const function{0, function_id};
  if (probe.type == program_type::ext) {
    // It takes the place of a function of another program, which has to be there, and to have types.
    constexpr std::array nothing{return_nothing, leave};
    types = load_types();
    if (types.get() < 0) return {from_libbpf(-types.get()), {}, {}};
    options.prog_btf_fd = static_cast<std::uint32_t>(types.get());
    options.func_info = &function;
    options.func_info_cnt = 1;
    options.func_info_rec_size = sizeof function;
    target = owned_descriptor{load({program_type::socket_filter}, nothing, options)};
    if (target.get() < 0) return {from_libbpf(-target.get()), {}, {}};
    options.attach_prog_fd = static_cast<std::uint32_t>(target.get());
    options.attach_btf_id = function_id;
  }
  std::string log(16'384, '\0');  // only filled where the program is refused, and then with a few lines
  options.log_buf = log.data();
  options.log_size = static_cast<std::uint32_t>(log.size());
  int const fd = load(probe, code, options);
  log.resize(std::strlen(log.c_str()));
  return answer(fd, std::move(log));
}

struct map_probe {
  map_type type;
  std::uint32_t key_size = 4;
  std::uint32_t value_size = 4;
  std::uint32_t max_entries = 1;
  std::uint32_t flags = 0;
};

constexpr std::uint32_t one_page = 0;  // stands for the size of one

constexpr std::array map_probes{
    map_probe{map_type::hash},
    map_probe{map_type::array},
    map_probe{map_type::prog_array},
    map_probe{map_type::perf_event_array},
    map_probe{map_type::percpu_hash},
    map_probe{map_type::percpu_array},
    map_probe{map_type::stack_trace, 4, 8},
    map_probe{map_type::cgroup_array},
    map_probe{map_type::lru_hash},
    map_probe{map_type::lru_percpu_hash},
    map_probe{map_type::lpm_trie, 8, 4, 1, BPF_F_NO_PREALLOC},
    map_probe{map_type::array_of_maps},
    map_probe{map_type::hash_of_maps},
    map_probe{map_type::devmap},
    map_probe{map_type::sockmap},
    map_probe{map_type::cpumap},
    map_probe{map_type::xskmap},
    map_probe{map_type::sockhash},
    map_probe{map_type::cgroup_storage, sizeof(bpf_cgroup_storage_key), 4, 0},
    map_probe{map_type::reuseport_sockarray},
    map_probe{map_type::percpu_cgroup_storage, sizeof(bpf_cgroup_storage_key), 4, 0},
    map_probe{map_type::queue, 0},
    map_probe{map_type::stack, 0},
    map_probe{map_type::sk_storage, 4, 4, 0, BPF_F_NO_PREALLOC},
    map_probe{map_type::devmap_hash},
    map_probe{map_type::struct_ops},
    map_probe{map_type::ringbuf, 0, 0, one_page},
    map_probe{map_type::inode_storage, 4, 4, 0, BPF_F_NO_PREALLOC},
    map_probe{map_type::task_storage, 4, 4, 0, BPF_F_NO_PREALLOC},
    map_probe{map_type::bloom_filter, 0},
    map_probe{map_type::user_ringbuf, 0, 0, one_page},
    map_probe{map_type::cgrp_storage, 4, 4, 0, BPF_F_NO_PREALLOC},
    map_probe{map_type::arena, 0, 0, 1, BPF_F_MMAPABLE},
};

map_probe const* find_map(map_type type) {
  auto const* const found =
      std::find_if(map_probes.begin(), map_probes.end(), [type](auto const& p) { return p.type == type; });
  return found != map_probes.end() ? found : nullptr;
}

}  // namespace

std::vector<program_probe> probes_of(program_type type) {
  std::vector<program_probe> all;
  std::copy_if(program_probes.begin(), program_probes.end(), std::back_inserter(all),
               [type](auto const& p) { return p.type == type; });
  return all;
}

probe_answer load_probe(program_probe const& probe) {
  constexpr std::array code{return_nothing, leave};
  return load_code(probe, code);
}

probe_answer load_probe(program_probe const& probe, helper h) {
  std::array const code{call(h), return_nothing, leave};
  return load_code(probe, code);
}

bool can_probe(map_type type) { return find_map(type) != nullptr; }

probe_answer create_probe(map_type type) {
  log_capture const quiet;
  auto probe = *find_map(type);
  bpf_map_create_opts options{};
  options.sz = sizeof options;
  options.map_flags = probe.flags;
  owned_descriptor types;
  owned_descriptor inner;
  switch (type) {
    case map_type::sk_storage:
    case map_type::inode_storage:
    case map_type::task_storage:
    case map_type::cgrp_storage:
      types = load_types();
      if (types.get() < 0) return {from_libbpf(-types.get()), {}, {}};
      options.btf_fd = static_cast<std::uint32_t>(types.get());
      options.btf_key_type_id = number_id;
      options.btf_value_type_id = number_id;
      break;
    case map_type::array_of_maps:
    case map_type::hash_of_maps:
      inner = owned_descriptor{bpf_map_create(BPF_MAP_TYPE_ARRAY, "tinybpf_probe", 4, 4, 1, nullptr)};
      if (inner.get() < 0) return {from_libbpf(-inner.get()), {}, {}};
      options.inner_map_fd = static_cast<std::uint32_t>(inner.get());
      break;
    case map_type::struct_ops: {
      error_code ec;
      diagnostics details;
      auto const value = find_place(tcp_value, BTF_KIND_STRUCT, ec, details);
      if (value.id == 0) return without_place(tcp_value, ec);
      types = load_types();  // the kernel wants some, and does not look into them
      if (types.get() < 0) return {from_libbpf(-types.get()), {}, {}};
      options.btf_fd = static_cast<std::uint32_t>(types.get());
      options.btf_vmlinux_value_type_id = value.id;
      probe.value_size = value.size;
      break;
    }
    case map_type::ringbuf:
    case map_type::user_ringbuf:
      probe.max_entries = static_cast<std::uint32_t>(sysconf(_SC_PAGESIZE));
      break;
    default:
      break;
  }
  return answer(bpf_map_create(static_cast<bpf_map_type>(type), "tinybpf_probe", probe.key_size, probe.value_size,
                               probe.max_entries, &options));
}

}  // namespace tinybpf::detail
