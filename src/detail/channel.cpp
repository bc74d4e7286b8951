#include <tinybpf/detail/channel.hpp>

#include <tinybpf/map.hpp>
#include <tinybpf/perf_options.hpp>

namespace tinybpf::detail {
namespace {

std::unique_ptr<record_reader> reader_of(channel_source const& s) {
  if (auto const* const ring = std::get_if<ring_regions>(&s.regions)) return std::make_unique<ring_reader>(*ring);
  return std::make_unique<perf_reader>(std::get<perf_regions>(s.regions));
}

}  // namespace

std::size_t channel_source::size() const noexcept {
  return std::visit([](auto const& r) { return r.size; }, regions);
}

std::string channel_source::description() const { return (is_perf() ? "perf buffer '" : "ring buffer '") + name + "'"; }

channel::channel(channel_source&& s, std::type_info const* t)
    : source{std::move(s)}, reader{reader_of(source)}, type{t} {}

// What the BPF side counted are events that never reached the kernel's count.
std::optional<std::uint64_t> channel::lost() const noexcept {
  auto const counted = source.losses ? std::optional{source.losses->sum()} : std::nullopt;
  if (!source.is_perf()) return counted;
  auto const dropped = source.control ? source.control->lost() : std::nullopt;
  return dropped.value_or(reader->lost()) + counted.value_or(0);
}

std::vector<channel_source> open_channels(channel_kind kind, map const& m, perf_options const& options, error_code& ec,
                                          diagnostics& details) {
  switch (kind) {
    case channel_kind::ring:
      return open_rings(m, ec, details);
    case channel_kind::perf:
      return open_perf(m, options, ec, details);
    case channel_kind::either:
      break;
  }
  return m.type() == map_type::perf_event_array ? open_perf(m, options, ec, details) : open_rings(m, ec, details);
}

}  // namespace tinybpf::detail
