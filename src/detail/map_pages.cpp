#include <tinybpf/detail/map_pages.hpp>

#include "map_calls.hpp"

#include <bpf/bpf.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <utility>

namespace tinybpf::detail {
namespace {

/// Those whose batches go by bucket or index. An LPM trie has batches, too, but they go from key to key.
bool has_batches(map_type type) noexcept {
  switch (type) {
    case map_type::hash:
    case map_type::array:
    case map_type::percpu_hash:
    case map_type::percpu_array:
    case map_type::lru_hash:
    case map_type::lru_percpu_hash:
    case map_type::array_of_maps:
    case map_type::hash_of_maps:
      return true;
    default:
      return false;
  }
}

}  // namespace

bool map_pages::next(error_code& ec, diagnostics& details) {
  count_ = 0;
  if (!ready(handle_access::core(map_).get(), "walk", ec, details)) {
    walk_ = walk::ended;
    return false;
  }
  if (walk_ == walk::not_begun && !begin(ec, details)) walk_ = walk::ended;
  bool found = false;
  if (walk_ == walk::by_batch) found = next_batch(ec, details);
  if (walk_ == walk::by_key) found = next_of_keys(ec, details);
  if (ec) walk_ = walk::ended;
  return found && !ec;
}

bool map_pages::begin(error_code& ec, diagnostics& details) {
  key_size_ = map_.key_size();
  value_size_ = map_.lookup_size();
  most_ = std::min<std::size_t>(most_, std::max<std::uint32_t>(map_.max_entries(), 1));
  position_.resize(std::max(key_size_, sizeof(std::uint32_t)));
  if (has_batches(map_.type())) {
    walk_ = walk::by_batch;
    return true;
  }
  walk_ = walk::by_key;
  return collect_keys(ec, details);
}

bool map_pages::next_batch(error_code& ec, diagnostics& details) {
  auto const& core = *handle_access::core(map_);
  for (;;) {
    keys_.resize(most_ * key_size_);
    values_.resize(most_ * value_size_);
    auto found = static_cast<__u32>(most_);
    std::vector<std::byte> following(position_.size());
    int const err = bpf_map_lookup_batch(map_.fd(), continued_ ? position_.data() : nullptr, following.data(),
                                         keys_.data(), values_.data(), &found, nullptr);
    if (err == -ENOSPC) {  // a bucket has more
      most_ *= 2;
      continue;
    }
    if (err != 0 && err != -ENOENT) {
      if (!continued_ && is_unsupported(from_libbpf(err))) {  // an older kernel's, then
        walk_ = walk::by_key;
        collect_keys(ec, details);
        return false;
      }
      failed(core, "walk", err, ec, details);
      return false;
    }
    position_ = std::move(following);
    continued_ = true;
    count_ = found;
    if (err == -ENOENT) walk_ = walk::ended;
    if (count_ != 0 || err == -ENOENT) return count_ != 0;
  }
}

bool map_pages::collect_keys(error_code& ec, diagnostics& details) {
  auto const& core = *handle_access::core(map_);
  // The kernel begins anew when the key to go on behind was erased meanwhile: what was seen is then passed over.
  std::set<std::vector<std::byte>> seen;
  std::vector<std::byte> key(key_size_);
  bool first = true;
  for (std::size_t in_vain = 0;;) {
    std::vector<std::byte> following(key_size_);
    int const err = bpf_map_get_next_key(map_.fd(), first ? nullptr : key.data(), following.data());
    if (err == -ENOENT) return true;
    if (err != 0) {
      failed(core, "walk", err, ec, details);
      return false;
    }
    first = false;
    key = std::move(following);
    if (seen.insert(key).second) {
      all_keys_.insert(all_keys_.end(), key.begin(), key.end());
      in_vain = 0;
    } else if (++in_vain > 16 * seen.size() + 1000) {
      failed(core, "walk, which others' erasing begins anew and anew,", -EAGAIN, ec, details);
      return false;
    }
  }
}

bool map_pages::next_of_keys(error_code& ec, diagnostics& details) {
  keys_.clear();
  values_.clear();
  while (read_ < all_keys_.size() && count_ < most_) {
    auto const key = std::span{all_keys_}.subspan(read_, key_size_);
    read_ += key_size_;
    values_.resize((count_ + 1) * value_size_);
    bool const found = map_.lookup(key, std::span{values_}.subspan(count_ * value_size_, value_size_), ec, details);
    if (ec) return false;
    if (!found) continue;  // erased meanwhile
    keys_.insert(keys_.end(), key.begin(), key.end());
    ++count_;
  }
  if (read_ == all_keys_.size()) walk_ = walk::ended;
  return count_ != 0;
}

namespace {

/// A batch call, or where the kind has none a call for each key.
template <class Batch, class One>
std::size_t for_each_key(map const& m, char const* operation, std::size_t count, Batch batch, One one, error_code& ec,
                         diagnostics& details) {
  if (!ready(handle_access::core(m).get(), operation, ec, details) || count == 0) return 0;
  auto done = static_cast<__u32>(count);
  int err = batch(&done);
  if (err == 0) return done;
  // A kind without batches has not looked at the count. Else it says how many were done.
  bool const unsupported = is_unsupported(from_libbpf(err));
  std::size_t made = err == -EFAULT || unsupported ? 0 : done;
  if (unsupported) {
    for (err = 0; made < count; ++made)
      if (err = one(made); err != 0) break;
    if (err == 0) return made;
  }
  failed(*handle_access::core(m), operation, err, ec, details);
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
  return for_each_key(
      m, "batch delete", count, [&](__u32* done) { return bpf_map_delete_batch(m.fd(), keys.data(), done, &options); },
      [&](std::size_t i) { return bpf_map_delete_elem(m.fd(), keys.data() + i * key_size); }, ec, details);
}

void refuse_counts(map const& m, std::size_t keys, std::size_t values, error_code& ec, diagnostics& details) {
  begin(ec, details);
  details.map = m.name();
  details.expected_size = keys;
  details.actual_size = values;
  report(ec, details, errc::size_mismatch,
         "batch update of map '" + details.map + "': " + std::to_string(keys) + " keys, but " + std::to_string(values) +
             " values");
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
