#include <tinybpf/detail/map_pages.hpp>

#include "map_calls.hpp"

#include <bpf/bpf.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

namespace tinybpf::detail {
namespace {

/// Those whose batches go by bucket or index. An LPM trie has batches, too, but they go from key to key; and those of
/// an array of maps fail at an empty slot on kernels before 6.13.
bool has_batches(map_type type) noexcept {
  switch (type) {
    case map_type::hash:
    case map_type::array:
    case map_type::percpu_hash:
    case map_type::percpu_array:
    case map_type::lru_hash:
    case map_type::lru_percpu_hash:
    case map_type::hash_of_maps:
      return true;
    default:
      return false;
  }
}

/// True if a batch that failed has taken entries out before: the kernel says how many, unless it refuses the call as a
/// whole.
bool took_some(int err, std::size_t found, std::size_t asked) noexcept {
  return err != -EFAULT && found != 0 && found < asked;
}

/// Those of which a batch can be taken out.
bool has_draining_batches(map_type type) noexcept {
  return has_batches(type) && type != map_type::array && type != map_type::percpu_array;
}

}  // namespace

map_pages::map_pages(map const& m, entry_sizes sizes, std::size_t entries, mode how)
    : core_{handle_access::core(m)}, sizes_{sizes}, most_{entries != 0 ? entries : 1}, mode_{how} {}

map_pages::step_result map_pages::step(error_code& ec, diagnostics& details) {
  count_ = 0;
  if (!ready(core_.get(), mode_ == mode::read ? "walk" : "drain", ec, details)) {
    walk_ = walk::ended;
    return step_result::ended;
  }
  if (late_error_) {
    walk_ = walk::ended;
    ec = std::exchange(late_error_, {});
    details = std::move(late_details_);
    return step_result::ended;
  }
  switch (walk_) {
    case walk::not_begun:
      begin(handle_access::make_map(core_), ec, details);
      break;
    case walk::by_batch:
      read_batch(ec, details);
      break;
    case walk::collecting:
      collect_keys(ec, details);
      break;
    case walk::by_key:
      read_by_key(handle_access::make_map(core_), ec, details);
      break;
    case walk::ended:
      break;
  }
  if (ec) {
    walk_ = walk::ended;
    count_ = 0;
  }
  if (count_ != 0) return step_result::page;
  return walk_ == walk::ended ? step_result::ended : step_result::more;
}

// What was drained before the error is to be seen before it.
void map_pages::fail_late(error_code& ec, diagnostics& details) {
  late_error_ = std::exchange(ec, {});
  late_details_ = std::move(details);
  tinybpf::detail::begin(ec, details);
}

void map_pages::begin(map const& m, error_code& ec, diagnostics& details) {
  auto const* const operation = mode_ == mode::read ? "walk" : "drain";
  auto const& core = *core_;
  key_size_ = m.key_size();
  value_size_ = m.lookup_size();
  if (sizes_.key != 0 && !right_size(core, operation, "key", key_size_, sizes_.key, ec, details)) return;
  if (sizes_.value != 0) {
    auto const wanted = sizes_.per_cpu ? (sizes_.value + 7) / 8 * 8 * possible_cpus() : sizes_.value;
    if (!right_size(core, operation, "value", value_size_, wanted, ec, details)) return;
  }
  // Pages are counted in entries, but those may be large: of a per-CPU map an entry has a value for each CPU.
  constexpr std::size_t most_bytes = 1U << 20U;
  most_ = std::min({most_, std::size_t{std::max<std::uint32_t>(m.max_entries(), 1)},
                    std::max<std::size_t>(most_bytes / std::max<std::size_t>(key_size_ + value_size_, 1), 1)});
  position_.resize(std::max(key_size_, sizeof(std::uint32_t)));
  following_.resize(position_.size());
  auto const type = m.type();
  bool const by_batch = mode_ == mode::read ? has_batches(type) : has_draining_batches(type);
  if (mode_ == mode::drain && !by_batch && has_batches(type)) {
    details.map = m.name();
    return report(ec, details, errc::not_supported,
                  "drain of map '" + details.map + "': the entries of an array cannot be removed");
  }
  walk_ = by_batch ? walk::by_batch : walk::collecting;
}

void map_pages::read_batch(error_code& ec, diagnostics& details) {
  auto const& core = *core_;
  auto const batch = mode_ == mode::read ? bpf_map_lookup_batch : bpf_map_lookup_and_delete_batch;
  keys_.resize(most_ * key_size_);
  values_.resize(most_ * value_size_);
  auto found = static_cast<__u32>(most_);
  int const err = batch(core.fd, continued_ ? position_.data() : nullptr, following_.data(), keys_.data(),
                        values_.data(), &found, nullptr);
  if (err == -ENOSPC) {  // a bucket has more
    most_ *= 2;
    return;
  }
  if (err != 0 && err != -ENOENT) {
    if (!continued_ && is_unsupported(from_libbpf(err)))  // an older kernel's, then
      walk_ = walk::collecting;
    else
      failed(core, mode_ == mode::read ? "walk" : "drain", err, ec, details);
    if (ec && mode_ == mode::drain && took_some(err, found, most_)) fail_late(ec, details);
    if (ec || walk_ == walk::collecting) return;
  }
  std::swap(position_, following_);
  continued_ = true;
  count_ = found;
  if (err == -ENOENT) walk_ = walk::ended;
}

void map_pages::collect_keys(error_code& ec, diagnostics& details) {
  auto const& core = *core_;
  // The kernel begins anew when the key to go on behind was erased meanwhile: what was seen is then passed over.
  for (std::size_t i = 0; i < most_; ++i) {
    int const err = bpf_map_get_next_key(core.fd, continued_ ? position_.data() : nullptr, following_.data());
    if (err == -ENOENT) {
      walk_ = walk::by_key;
      seen_.clear();
      return;
    }
    if (err != 0) return failed(core, mode_ == mode::read ? "walk" : "drain", err, ec, details);
    continued_ = true;
    std::swap(position_, following_);
    if (seen_.emplace(position_.begin(), position_.begin() + static_cast<std::ptrdiff_t>(key_size_)).second) {
      all_keys_.insert(all_keys_.end(), position_.begin(), position_.begin() + static_cast<std::ptrdiff_t>(key_size_));
      in_vain_ = 0;
    } else if (++in_vain_ > 16 * seen_.size() + 1000) {
      return failed(core, "walk, which others' erasing begins anew and anew,", -EAGAIN, ec, details);
    }
  }
}

void map_pages::read_by_key(map const& m, error_code& ec, diagnostics& details) {
  keys_.clear();
  values_.resize(most_ * value_size_);
  for (std::size_t i = 0; i < most_ && read_ < all_keys_.size(); ++i) {
    auto const key = std::span{all_keys_}.subspan(read_, key_size_);
    auto const value = std::span{values_}.subspan(count_ * value_size_, value_size_);
    bool const found = take(m, key, value, ec, details);
    if (ec && count_ != 0 && mode_ == mode::drain) return fail_late(ec, details);
    if (ec) return;
    read_ += key_size_;
    if (!found) continue;  // erased meanwhile
    keys_.insert(keys_.end(), key.begin(), key.end());
    ++count_;
  }
  if (read_ == all_keys_.size()) walk_ = walk::ended;
}

bool map_pages::take(map const& m, bytes key, std::span<std::byte> value, error_code& ec, diagnostics& details) {
  if (mode_ == mode::read) return m.lookup(key, value, ec, details);
  if (takes_at_once_) {
    bool const found = m.lookup_and_delete(key, value, ec, details);
    if (!is_unsupported(ec)) return found;
    takes_at_once_ = false;
  }
  return m.lookup(key, value, ec, details) && m.erase(key, ec, details);
}

namespace {

/// True if the caller's memory has the map's sizes: a view may have been made before the map became another one.
bool right_rooms(map const& m, char const* operation, std::size_t keys, std::optional<std::size_t> values,
                 std::size_t count, error_code& ec, diagnostics& details) {
  auto* const core = handle_access::core(m).get();
  if (!ready(core, operation, ec, details) || count == 0) return !ec;
  return right_size(*core, operation, "key", m.key_size(), keys / count, ec, details) &&
         (!values || right_size(*core, operation, "value", m.lookup_size(), *values / count, ec, details));
}

/// A batch call, or where the kind has none a call for each key.
template <class Batch, class One>
std::size_t for_each_key(map const& m, char const* operation, std::size_t count, Batch batch, One one, error_code& ec,
                         diagnostics& details) {
  if (!ready(handle_access::core(m).get(), operation, ec, details) || count == 0) return 0;
  auto done = static_cast<__u32>(count);
  int err = batch(&done);
  if (err == 0) return done;
  // A kind without batches, or without this flag in them, has not touched the count; nor has a map that refuses the
  // call, such as a frozen one. Else it says how many were done.
  bool const untouched = done == count;
  bool const unsupported = is_unsupported(from_libbpf(err)) && untouched;
  std::size_t made = err == -EFAULT || untouched ? 0 : done;
  if (unsupported) {
    for (err = 0; made < count; ++made)
      if (err = one(made); err != 0) break;
    if (err == 0) return made;
  }
  failed(*handle_access::core(m), operation, err, ec, details);
  details.done = made;
  details.message += ": " + std::to_string(made) + " of " + std::to_string(count) + " entries were done";
  return made;
}

}  // namespace

std::size_t update_each(map const& m, std::span<std::byte const> keys, std::span<std::byte const> values,
                        std::size_t count, update_flag flag, error_code& ec, diagnostics& details) {
  bpf_map_batch_opts options{};
  options.sz = sizeof options;
  options.elem_flags = static_cast<__u64>(flag);
  auto const key_size = m.key_size();
  auto const value_size = m.lookup_size();
  if (!right_rooms(m, "batch update", keys.size(), values.size(), count, ec, details)) return 0;
  return for_each_key(
      m, "batch update", count,
      [&](__u32* done) { return bpf_map_update_batch(m.fd(), keys.data(), values.data(), done, &options); },
      [&](std::size_t i) {
        return bpf_map_update_elem(m.fd(), keys.data() + i * key_size, values.data() + i * value_size,
                                   static_cast<__u64>(flag));
      },
      ec, details);
}

std::size_t erase_each(map const& m, std::span<std::byte const> keys, std::size_t count, error_code& ec,
                       diagnostics& details) {
  bpf_map_batch_opts options{};
  options.sz = sizeof options;
  auto const key_size = m.key_size();
  if (!right_rooms(m, "batch delete", keys.size(), std::nullopt, count, ec, details)) return 0;
  return for_each_key(
      m, "batch delete", count, [&](__u32* done) { return bpf_map_delete_batch(m.fd(), keys.data(), done, &options); },
      [&](std::size_t i) { return bpf_map_delete_elem(m.fd(), keys.data() + i * key_size); }, ec, details);
}

struct batch_access {
  static std::vector<std::byte>& token(batch_position& at) noexcept { return at.token_; }
  static bool begun(batch_position const& at) noexcept { return at.begun_; }
  static void move(batch_position& at, bool to_the_end) noexcept {
    at.begun_ = true;
    at.ended_ = to_the_end;
  }
};

std::size_t read_batch(map const& m, batch_position& at, std::span<std::byte> keys, std::span<std::byte> values,
                       std::size_t key_count, std::size_t value_count, map_pages::mode how, error_code& ec,
                       diagnostics& details) {
  bool const drains = how == map_pages::mode::drain;
  char const* const operation = drains ? "batch lookup and delete" : "batch lookup";
  if (!ready(handle_access::core(m).get(), operation, ec, details)) return 0;
  if (key_count != value_count) {
    refuse_counts(m, operation, key_count, value_count, ec, details);
    return 0;
  }
  if (!right_rooms(m, operation, keys.size(), values.size(), key_count, ec, details)) return 0;
  if (at.ended() || key_count == 0) return 0;
  auto& token = batch_access::token(at);
  token.resize(std::max<std::size_t>(m.key_size(), sizeof(std::uint32_t)));
  auto found = static_cast<__u32>(std::min<std::size_t>(key_count, UINT32_MAX));
  void* const from = batch_access::begun(at) ? token.data() : nullptr;
  int const err =
      drains ? bpf_map_lookup_and_delete_batch(m.fd(), from, token.data(), keys.data(), values.data(), &found, nullptr)
             : bpf_map_lookup_batch(m.fd(), from, token.data(), keys.data(), values.data(), &found, nullptr);
  if (err != 0 && err != -ENOENT) {
    failed(*handle_access::core(m), operation, err, ec, details);
    if (err == -ENOSPC) details.hint = "give room for more entries: the kernel gives whole buckets";
    if (!drains || !took_some(err, found, key_count)) return 0;
  }
  batch_access::move(at, err == -ENOENT);
  return found;
}

void refuse_counts(map const& m, char const* operation, std::size_t keys, std::size_t values, error_code& ec,
                   diagnostics& details) {
  begin(ec, details);
  details.map = m.name();
  details.expected_size = keys;
  details.actual_size = values;
  report(ec, details, errc::size_mismatch,
         std::string{operation} + " of map '" + details.map + "': " + std::to_string(keys) + " keys, but " +
             std::to_string(values) + " values");
}

void refuse_absent(map const& m, error_code& ec, diagnostics& details) {
  details.map = m.name();
  report(ec, details, from_libbpf(ENOENT), "map '" + details.map + "' has no entry of that key");
}

bool unless_present(error_code& ec, diagnostics& details) {
  if (ec != boost::system::errc::file_exists) return !ec;
  begin(ec, details);
  return false;
}

std::size_t count_entries(map const& m, error_code& ec, diagnostics& details) {
  std::size_t count = 0;
  map_pages pages{m};
  while (pages.next(ec, details)) count += pages.count();
  return count;
}

std::size_t erase_entries(map const& m, error_code& ec, diagnostics& details) {
  std::size_t erased = 0;
  map_pages pages{m};
  while (pages.next(ec, details))
    for (std::size_t i = 0; i < pages.count(); ++i) {
      if (m.erase(pages.key(i), ec, details)) ++erased;
      if (ec) return erased;
    }
  return erased;
}

}  // namespace tinybpf::detail
