// Walks a map a page of entries at a time, also while others change it.
#pragma once

#include <tinybpf/error.hpp>
#include <tinybpf/map.hpp>
#include <tinybpf/types.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace tinybpf::detail {

/// What is in the map from the first page to the last is in exactly one page; what comes or goes meanwhile may be in
/// one or in none. Hashes and arrays are read by the kernel's batches: a bucket at a time, which no change can lead
/// astray. Of other kinds all keys are read first, and then what is stored under them.
class map_pages {
 public:
  map_pages() = default;
  explicit map_pages(map m, std::size_t entries = 4096) : map_{std::move(m)}, most_{entries != 0 ? entries : 1} {}

  /// Reads the next page. False at the end, and after an error, which ends the walk.
  bool next(error_code& ec, diagnostics& details);

  /// The entries of this page.
  [[nodiscard]] std::size_t count() const noexcept { return count_; }
  [[nodiscard]] std::span<std::byte const> key(std::size_t i) const noexcept {
    return std::span{keys_}.subspan(i * key_size_, key_size_);
  }
  /// `map::lookup_size()` bytes.
  [[nodiscard]] std::span<std::byte const> value(std::size_t i) const noexcept {
    return std::span{values_}.subspan(i * value_size_, value_size_);
  }

 private:
  enum class walk : std::uint8_t { not_begun, by_batch, by_key, ended };

  bool begin(error_code& ec, diagnostics& details);
  bool next_batch(error_code& ec, diagnostics& details);
  bool next_of_keys(error_code& ec, diagnostics& details);
  bool collect_keys(error_code& ec, diagnostics& details);

  map map_;
  std::size_t most_ = 1;
  walk walk_ = walk::not_begun;
  std::size_t key_size_ = 0;
  std::size_t value_size_ = 0;
  std::size_t count_ = 0;
  std::vector<std::byte> keys_;
  std::vector<std::byte> values_;
  std::vector<std::byte> position_;  // as the kernel wants it back
  bool continued_ = false;           // position_ is one
  std::vector<std::byte> all_keys_;  // of a walk by key,
  std::size_t read_ = 0;             // and how many bytes of them were looked up
};

/// Each key with its value, or each key. They give how many the kernel has done: all, or those in front of the one that
/// the error is about.
std::size_t update_each(map const& m, std::span<std::byte const> keys, std::span<std::byte const> values,
                        std::size_t count, update_flag flag, error_code& ec, diagnostics& details);
std::size_t erase_each(map const& m, std::span<std::byte const> keys, std::size_t count, error_code& ec,
                       diagnostics& details);

void refuse_counts(map const& m, std::size_t keys, std::size_t values, error_code& ec, diagnostics& details);

/// ENOENT, in words.
void refuse_absent(map const& m, error_code& ec, diagnostics& details);
/// True if what was inserted was not there; EEXIST is no error then.
bool unless_present(error_code& ec, diagnostics& details);
/// By walking them.
std::size_t count_entries(map const& m, error_code& ec, diagnostics& details);
/// Those that a walk finds; gives how many it removed itself.
std::size_t erase_entries(map const& m, error_code& ec, diagnostics& details);

}  // namespace tinybpf::detail
