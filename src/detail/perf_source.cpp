// From a perf event array to the buffers of its CPUs.
#include "losses.hpp"
#include "mapping.hpp"
#include "privileges.hpp"
#include "report.hpp"

#include <tinybpf/detail/channel.hpp>
#include <tinybpf/detail/fork_count.hpp>
#include <tinybpf/map.hpp>
#include <tinybpf/perf_options.hpp>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <map>
#include <mutex>
#include <string>
#include <system_error>
#include <utility>

namespace tinybpf::detail {
namespace {

// Newer than 6.0, as are kernels that know it.
constexpr std::uint64_t format_lost = 1U << 4U;  // PERF_FORMAT_LOST

constexpr std::size_t most_pages = std::size_t{1} << 19U;

std::size_t page_size() { return static_cast<std::size_t>(sysconf(_SC_PAGESIZE)); }

perf_event_attr bpf_output() {
  perf_event_attr attr{};
  attr.size = sizeof attr;
  attr.type = PERF_TYPE_SOFTWARE;
  attr.config = PERF_COUNT_SW_BPF_OUTPUT;
  attr.sample_type = PERF_SAMPLE_RAW;
  attr.sample_period = 1;
  attr.read_format = format_lost;
  return attr;
}

int open_event(perf_event_attr& attr, int cpu) {
  auto const open = [&] {
    return static_cast<int>(syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC));
  };
  int const fd = open();
  if (fd >= 0 || errno != EINVAL || attr.read_format == 0) return fd;
  attr.read_format = 0;  // a kernel that does not count
  return open();
}

/// Which buffer of this process has its event in a place of a map: the one that came last. Whoever had it before must
/// not touch the place any more.
class places {
 public:
  using place = std::pair<std::uint32_t, int>;  // the map's id, and the CPU

  /// Calls `f` for the owner alone, or, if `take`, makes `who` the owner first.
  template <class F>
  void for_owner(place const& where, void const* who, bool take, F f) {
    std::lock_guard const lock{mutex_};
    if (take) owners_[where] = who;
    auto const found = owners_.find(where);
    if (found != owners_.end() && found->second == who) f();
  }
  void leave(place const& where, void const* who) {
    std::lock_guard const lock{mutex_};
    auto const found = owners_.find(where);
    if (found != owners_.end() && found->second == who) owners_.erase(found);
  }

  /// Lives for ever: buffers may outlive static objects.
  static places& of_this_process() {
    static auto& all = *new places;
    return all;
  }

 private:
  std::mutex mutex_;
  std::map<place, void const*> owners_;
};

/// Two events that share one buffer: one that wakes its reader, and one that does so only when the buffer is half full.
/// Which of them a BPF program writes to is told by the map's element.
class perf_events final : public perf_control {
 public:
  /// `loud` is the source's own descriptor, which lives longer. Without `quiet` there is none.
  perf_events(std::shared_ptr<owned_descriptor const> map, places::place const& where, int loud, owned_descriptor quiet,
              bool counts)
      : map_{std::move(map)}, where_{where}, loud_{loud}, quiet_{std::move(quiet)}, counts_{counts} {}
  perf_events(perf_events const&) = delete;
  perf_events& operator=(perf_events const&) = delete;
  ~perf_events() override {
    if (!made_by_.forked()) close();
  }

  bool set_wakeups(bool on) noexcept override {
    if (!on && quiet_.get() < 0) return false;
    if (state_ == state::closed) return true;
    bool done = true;
    try {
      places::of_this_process().for_owner(where_, this, state_ == state::outside, [&] {
        int const event = on ? loud_ : quiet_.get();
        done = bpf_map_update_elem(map_->get(), &where_.second, &event, BPF_ANY) == 0;
      });
    } catch (...) {  // no memory
      errno = ENOMEM;
      return false;
    }
    if (done) state_ = state::inside;
    return done;
  }

  [[nodiscard]] std::optional<std::uint64_t> lost() const noexcept override {
    if (!counts_) return std::nullopt;
    std::uint64_t sum = 0;
    for (int const event : {loud_, quiet_.get()}) {
      if (event < 0) continue;
      std::array<std::uint64_t, 2> value_and_lost{};
      if (read(event, value_and_lost.data(), sizeof value_and_lost) != sizeof value_and_lost) return std::nullopt;
      sum += value_and_lost[1];
    }
    return sum;
  }

  void close() noexcept override {
    if (std::exchange(state_, state::closed) == state::closed) return;
    auto& all = places::of_this_process();
    all.for_owner(where_, this, false, [&] { static_cast<void>(bpf_map_delete_elem(map_->get(), &where_.second)); });
    all.leave(where_, this);
  }

 private:
  enum class state : std::uint8_t { outside, inside, closed };

  std::shared_ptr<owned_descriptor const> map_;
  places::place where_;
  int loud_;
  owned_descriptor quiet_;
  bool counts_;
  state state_ = state::outside;
  fork_mark made_by_;
};

/// None if the list cannot be understood.
std::vector<int> online_cpus() {
  std::vector<int> cpus;
  std::ifstream list{"/sys/devices/system/cpu/online"};  // such as 0-3,8
  for (std::string range; std::getline(list, range, ',');) {
    auto const* const end = range.data() + range.size();
    int first = 0;
    auto const [dash, bad] = std::from_chars(range.data(), end, first);
    int last = first;
    if (bad != std::errc{} || (dash != end && *dash == '-' && std::from_chars(dash + 1, end, last).ec != std::errc{}))
      return {};
    for (int cpu = first; cpu <= last; ++cpu) cpus.push_back(cpu);
  }
  return cpus;
}

/// Shared memory of a perf event. It is not handed on to a forked child, which may have something else at its place.
std::shared_ptr<void> map_event(int fd, std::size_t size) {
  auto* const at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) return nullptr;
  return {at, [size, made_by = fork_mark{}](void* p) {
            if (!made_by.forked()) munmap(p, size);
          }};
}

/// What is wrong with the options, or nothing.
std::string complaint(perf_options const& o) {
  if (!std::has_single_bit(o.page_count))
    return "a buffer of " + std::to_string(o.page_count) + " pages: the number must be a power of two";
  if (o.page_count > most_pages)
    return "a buffer of " + std::to_string(o.page_count) + " pages: " + std::to_string(most_pages) + " are the most";
  if (o.wakeup_watermark > o.page_count * page_size() / 2)
    return "a wake-up after " + std::to_string(o.wakeup_watermark) + " bytes, which are more than half of the buffer";
  if (o.wakeup_watermark != 0 && o.wakeup_events > 1) return "a wake-up after events and after bytes: choose one";
  if (o.wakeup_events == 0) return "a wake-up after 0 events";
  auto sorted = o.cpus;
  std::sort(sorted.begin(), sorted.end());
  auto const twice = std::adjacent_find(sorted.begin(), sorted.end());
  return twice == sorted.end() ? std::string{} : "CPU " + std::to_string(*twice) + " is asked for twice";
}

/// The CPUs to open; the map has a place for each.
std::vector<int> choose_cpus(map_core const& m, perf_options const& options, error_code& ec, diagnostics& details) {
  auto cpus = options.cpus.empty() ? online_cpus() : options.cpus;
  int const possible = libbpf_num_possible_cpus();
  for (int const cpu : cpus) {
    if (cpu < 0 || cpu >= possible)
      report(ec, details, errc::not_found,
             "perf buffer '" + m.name + "': CPU " + std::to_string(cpu) + " does not exist",
             "this machine has CPUs 0 to " + std::to_string(possible - 1));
    else if (static_cast<std::uint32_t>(cpu) >= m.max_entries)
      report(ec, details, from_libbpf(EINVAL),
             "perf buffer '" + m.name + "' has " + std::to_string(m.max_entries) + " places, none of them for CPU " +
                 std::to_string(cpu),
             "leave max_entries out, which makes one for every CPU, or choose the CPUs");
    if (ec) break;
  }
  if (!ec && cpus.empty()) report(ec, details, from_libbpf(ENODEV), "cannot tell which CPUs are online");
  return cpus;
}

/// One CPU's buffer, not yet in the map. `hint` says what an error may be about.
channel_source open_cpu(std::shared_ptr<owned_descriptor const> const& map, places::place const& where,
                        perf_options const& options, error_code& ec, std::string& hint) {
  channel_source source;
  auto attr = bpf_output();
  auto quiet_attr = attr;
  // The kernel keeps the watermark with the buffer: no event could be quiet in it.
  bool const has_quiet = options.wakeup_watermark == 0;
  if (has_quiet) {
    attr.wakeup_events = options.wakeup_events;
  } else {
    attr.watermark = 1;
    attr.wakeup_watermark = options.wakeup_watermark;
  }
  owned_descriptor loud{open_event(attr, where.second)};
  owned_descriptor quiet{loud.get() >= 0 && has_quiet ? open_event(quiet_attr, where.second) : -1};
  if (loud.get() < 0 || (has_quiet && quiet.get() < 0)) {
    ec = last_errno();
    if (ec == from_libbpf(EPERM) || ec == from_libbpf(EACCES)) hint = explain_perf_refusal(needed_for_perf_events());
    return source;
  }
  auto const page = page_size();
  auto const size = options.page_count * page;
  source.mapping = map_event(loud.get(), page + size);
  if (!source.mapping) {
    ec = last_errno();
    if (ec == from_libbpf(EPERM))
      hint =
          "without CAP_IPC_LOCK all perf buffers of a user share kernel.perf_event_mlock_kb for each CPU, and beyond "
          "that RLIMIT_MEMLOCK: ask for a smaller page_count, or raise one of them";
    return source;
  }
  if (has_quiet && ioctl(quiet.get(), PERF_EVENT_IOC_SET_OUTPUT, loud.get()) != 0) {
    ec = last_errno();
    return source;
  }
  auto* const header = static_cast<perf_event_mmap_page*>(source.mapping.get());
  source.regions = perf_regions{&header->data_tail, &header->data_head,
                                static_cast<std::byte const*>(source.mapping.get()) + page, size};
  source.control =
      std::make_unique<perf_events>(map, where, loud.get(), std::move(quiet), attr.read_format == format_lost);
  source.descriptor = std::move(loud);
  source.cpu = where.second;
  return source;
}

}  // namespace

std::vector<channel_source> open_perf(map const& m, perf_options const& options, error_code& ec, diagnostics& details) {
  std::vector<channel_source> sources;
  auto const* const core = loaded_map(m, "perf buffer", ec, details);
  if (core == nullptr) return sources;
  auto const what = "perf buffer '" + core->name + "'";
  if (core->type != map_type::perf_event_array) {
    report(ec, details, errc::wrong_map_type,
           "map '" + core->name + "' is of type " + std::string{to_string(core->type)} + ", not perf_event_array");
    return sources;
  }
  if (auto const wrong = complaint(options); !wrong.empty()) {
    report(ec, details, from_libbpf(EINVAL), what + ": " + wrong);
    return sources;
  }
  auto const cpus = choose_cpus(*core, options, ec, details);
  if (ec) return sources;
  bpf_map_info info{};
  __u32 info_size = sizeof info;
  auto const map = std::make_shared<owned_descriptor const>(owned_descriptor{fcntl(core->fd, F_DUPFD_CLOEXEC, 0)});
  if (map->get() < 0 || bpf_obj_get_info_by_fd(map->get(), &info, &info_size) != 0) {
    report(ec, details, last_errno(), "cannot open " + what);
    return sources;
  }
  auto const losses = find_losses(*core);
  for (int const cpu : cpus) {
    std::string hint;
    auto source = open_cpu(map, {info.id, cpu}, options, ec, hint);
    // One that went offline since it was listed is skipped, like those that were offline then.
    if (ec == from_libbpf(ENODEV) && options.cpus.empty()) {
      ec.clear();
      continue;
    }
    if (ec) {
      report(ec, details, ec, "cannot open " + what + " for CPU " + std::to_string(cpu), std::move(hint));
      return sources;
    }
    source.name = core->name;
    source.map_id = info.id;
    source.types = core->types();
    // One counter serves all CPUs: it is the first one's.
    source.losses = losses;
    if (!sources.empty() && source.losses) source.losses->count = 0;
    sources.push_back(std::move(source));
  }
  if (sources.empty()) report(ec, details, from_libbpf(ENODEV), what + ": no CPU that is online has perf events");
  return sources;
}

}  // namespace tinybpf::detail
