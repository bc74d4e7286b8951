// Walks a map a page of entries at a time, also while others change it.
#pragma once

#include <tinybpf/error.hpp>
#include <tinybpf/types.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <set>
#include <span>
#include <vector>

namespace tinybpf {

class map;

namespace detail {
struct batch_access;
struct map_core;
}  // namespace detail

/// Where a walk by `lookup_batch` stands. Default-constructed: at the beginning.
class batch_position {
 public:
  /// True once there is nothing left; `clear()` begins anew.
  [[nodiscard]] bool ended() const noexcept { return ended_; }
  void clear() noexcept { begun_ = ended_ = false; }

 private:
  friend struct detail::batch_access;
  std::vector<std::byte> token_;
  bool begun_ = false;
  bool ended_ = false;
};

namespace detail {

/// What a view was made for. A map may become another one between that and its load.
struct entry_sizes {
  std::size_t key = 0;    ///< 0: any.
  std::size_t value = 0;  ///< Of one CPU; 0: any.
  bool per_cpu = false;
};

/// Pages are read as K and V, which may be aligned to a line of the cache.
inline constexpr std::size_t page_alignment = 64;

template <class T>
struct page_allocator {
  using value_type = T;

  page_allocator() = default;
  template <class U>
  page_allocator(page_allocator<U> const& /*other*/) noexcept {}  // NOLINT: allocators convert

  T* allocate(std::size_t n) {
    return static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t{page_alignment}));
  }
  void deallocate(T* p, std::size_t /*n*/) noexcept { ::operator delete(p, std::align_val_t{page_alignment}); }
  friend bool operator==(page_allocator const&, page_allocator const&) = default;
};

using page_memory = std::vector<std::byte, page_allocator<std::byte>>;

/// What is in the map from the first page to the last is in exactly one page; what comes or goes meanwhile may be in
/// one or in none. Hashes and arrays are read by the kernel's batches: a bucket at a time, which no change can lead
/// astray. Of other kinds all keys are read first, and then what is stored under them.
class map_pages {
 public:
  enum class mode : std::uint8_t { read, drain };  ///< A page that is drained is no longer in the map.
  enum class step_result : std::uint8_t { page, more, ended };

  map_pages() = default;
  explicit map_pages(map const& m, entry_sizes sizes = {}, std::size_t entries = 4096, mode how = mode::read);

  /// Reads the next page. False at the end, and after an error, which ends the walk.
  bool next(error_code& ec, diagnostics& details) {
    auto result = step_result::more;
    while (result == step_result::more) result = step(ec, details);
    return result == step_result::page;
  }

  /// The same in steps that take about as long as a page each, for those who have other things to do.
  step_result step(error_code& ec, diagnostics& details);

  /// The entries of this page.
  [[nodiscard]] std::size_t count() const noexcept { return count_; }
  [[nodiscard]] bytes key(std::size_t i) const noexcept { return {keys_.data() + i * key_size_, key_size_}; }
  /// `map::lookup_size()` bytes.
  [[nodiscard]] bytes value(std::size_t i) const noexcept { return {values_.data() + i * value_size_, value_size_}; }
  [[nodiscard]] std::span<std::byte> value(std::size_t i) noexcept {
    return {values_.data() + i * value_size_, value_size_};
  }

 private:
  enum class walk : std::uint8_t { not_begun, by_batch, collecting, by_key, ended };

  void begin(map const& m, error_code& ec, diagnostics& details);
  void read_batch(error_code& ec, diagnostics& details);
  void collect_keys(error_code& ec, diagnostics& details);
  void read_by_key(map const& m, error_code& ec, diagnostics& details);
  void fail_late(error_code& ec, diagnostics& details);
  bool take(map const& m, bytes key, std::span<std::byte> value, error_code& ec, diagnostics& details);

  std::shared_ptr<map_core> core_;
  entry_sizes sizes_;
  std::size_t most_ = 1;
  mode mode_ = mode::read;
  walk walk_ = walk::not_begun;
  std::size_t key_size_ = 0;
  std::size_t value_size_ = 0;
  std::size_t count_ = 0;
  page_memory keys_;
  page_memory values_;
  std::vector<std::byte> position_;  // as the kernel wants it back
  std::vector<std::byte> following_;
  bool continued_ = false;           // position_ is one
  std::vector<std::byte> all_keys_;  // of a walk by key,
  std::set<std::vector<std::byte>> seen_;
  std::size_t in_vain_ = 0;    // steps onto keys that were seen already
  std::size_t read_ = 0;       // and how many bytes of them were looked up
  bool takes_at_once_ = true;  // the kind has lookup-and-delete
  error_code late_error_;      // behind a page that was drained before it
  diagnostics late_details_;
};

/// Each key with its value, or each key. They give how many the kernel has done: all, or those in front of the one that
/// the error is about.
std::size_t update_each(map const& m, bytes keys, bytes values, std::size_t count, update_flag flag, error_code& ec,
                        diagnostics& details);
std::size_t erase_each(map const& m, bytes keys, std::size_t count, error_code& ec, diagnostics& details);

/// One batch into the caller's memory.
std::size_t read_batch(map const& m, batch_position& at, std::span<std::byte> keys, std::span<std::byte> values,
                       std::size_t key_count, std::size_t value_count, map_pages::mode how, error_code& ec,
                       diagnostics& details);

void refuse_counts(map const& m, char const* operation, std::size_t keys, std::size_t values, error_code& ec,
                   diagnostics& details);

/// ENOENT, in words.
void refuse_absent(map const& m, error_code& ec, diagnostics& details);
/// True if what was inserted was not there; EEXIST is no error then.
bool unless_present(error_code& ec, diagnostics& details);
/// By walking them.
std::size_t count_entries(map const& m, error_code& ec, diagnostics& details);
/// Those that a walk finds; gives how many it removed itself.
std::size_t erase_entries(map const& m, error_code& ec, diagnostics& details);

}  // namespace detail
}  // namespace tinybpf
