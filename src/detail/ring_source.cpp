// From a map to a ring that can be read.
#include "losses.hpp"
#include "mapping.hpp"
#include "privileges.hpp"
#include "report.hpp"
#include "type_registry.hpp"

#include <tinybpf/detail/channel.hpp>
#include <tinybpf/map.hpp>

#include <bpf/bpf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace tinybpf::detail {
namespace {

// Newer than the kernel headers of Debian 12.
constexpr std::uint32_t flag_rb_overwrite = 1U << 19U;  // BPF_F_RB_OVERWRITE

/// Maps the ring behind the descriptor, which becomes the source's.
channel_source map_ring(owned_descriptor fd, std::string name, error_code& ec, diagnostics& details) {
  channel_source source;
  auto const what = "ring buffer '" + name + "'";
  bpf_map_info info{};
  __u32 info_size = sizeof info;
  if (int const err = bpf_obj_get_info_by_fd(fd.get(), &info, &info_size); err != 0) {
    report(ec, details, from_libbpf(err), "info of " + what);
    return source;
  }
  if (static_cast<map_type>(info.type) != map_type::ringbuf) {
    report(
        ec, details, errc::wrong_map_type,
        "map '" + name + "' is of type " + std::string{to_string(static_cast<map_type>(info.type))} + ", not ringbuf");
    return source;
  }
  if ((info.map_flags & flag_rb_overwrite) != 0) {
    report(ec, details, errc::not_supported,
           what + " overwrites records that were not read (BPF_F_RB_OVERWRITE), which cannot be read as a stream");
    return source;
  }
  auto const page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  std::size_t const size = info.max_entries;
  auto const writable = map_memory(fd.get(), page, PROT_READ | PROT_WRITE, 0);
  auto const readable = writable ? map_memory(fd.get(), page + 2 * size, PROT_READ, page) : nullptr;
  if (!readable) {
    report(ec, details, last_errno(), "cannot map " + what);
    return source;
  }
  auto const* const second = static_cast<std::byte const*>(readable.get());
  source.regions = ring_regions{writable.get(), second, second + page, size};
  source.mapping = std::make_shared<std::pair<std::shared_ptr<void>, std::shared_ptr<void>>>(writable, readable);
  source.descriptor = std::move(fd);
  source.name = std::move(name);
  source.map_id = info.id;
  return source;
}

std::vector<channel_source> map_array(map_core const& array, error_code& ec, diagnostics& details) {
  std::vector<channel_source> sources;
  for (__u32 i = 0; i < array.max_entries; ++i) {
    __u32 id = 0;
    if (bpf_map_lookup_elem(array.fd, &i, &id) != 0) continue;  // an empty place
    auto const same = [id](channel_source const& s) { return s.map_id == id; };
    if (std::any_of(sources.begin(), sources.end(), same)) continue;  // one ring for several CPUs
    auto const name = array.name + "[" + std::to_string(i) + "]";
    owned_descriptor fd{bpf_map_get_fd_by_id(id)};
    if (fd.get() < 0) {
      auto const code = last_errno();
      report(ec, details, code, "cannot open '" + name + "'",
             code == from_libbpf(EPERM) ? explain_refusal(capability::sys_admin) : std::string{});
      return sources;
    }
    sources.push_back(map_ring(std::move(fd), name, ec, details));
    if (ec) return sources;
    // One counter serves the whole array: it is the first ring's, and the others lose nothing of their own.
    sources.back().losses = sources.size() == 1 ? find_losses(array) : sources.front().losses;
    if (sources.size() > 1 && sources.back().losses) sources.back().losses->count = 0;
  }
  if (sources.empty()) report(ec, details, errc::wrong_map_type, "map '" + array.name + "' holds no ring buffers");
  return sources;
}

}  // namespace

std::vector<channel_source> open_rings(map const& m, error_code& ec, diagnostics& details) {
  std::vector<channel_source> sources;
  auto const* const core = loaded_map(m, "ring buffer", ec, details);
  if (core == nullptr) return sources;
  if (core->type == map_type::array_of_maps) {
    sources = map_array(*core, ec, details);
  } else {
    owned_descriptor fd{fcntl(core->fd, F_DUPFD_CLOEXEC, 0)};
    if (fd.get() < 0) {
      report(ec, details, last_errno(), "cannot duplicate the descriptor of ring buffer '" + core->name + "'");
      return sources;
    }
    sources.push_back(map_ring(std::move(fd), core->name, ec, details));
    if (!ec) sources.back().losses = find_losses(*core);
  }
  for (auto& s : sources) s.types = core->types();
  return sources;
}

}  // namespace tinybpf::detail
