// Maps in which each CPU has a value of its own.
#pragma once

#include <tinybpf/detail/map_pages.hpp>
#include <tinybpf/detail/map_view.hpp>
#include <tinybpf/detail/map_walk.hpp>
#include <tinybpf/error.hpp>
#include <tinybpf/layout.hpp>
#include <tinybpf/map.hpp>
#include <tinybpf/map_cursor.hpp>
#include <tinybpf/types.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <iterator>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace tinybpf {

namespace detail {

/// What numbers are summed up in: a counter of 32 bits may overflow when those of many CPUs are added.
template <class T>
using sum_of = std::conditional_t<
    std::is_floating_point_v<T>, double,
    std::conditional_t<std::is_integral_v<T>, std::conditional_t<std::is_signed_v<T>, std::int64_t, std::uint64_t>, T>>;

/// The kernel's distance from one CPU's value to the next.
constexpr std::size_t percpu_stride(std::size_t size) noexcept { return (size + 7) / 8 * 8; }

/// Puts values that the kernel has laid `percpu_stride` apart behind one another.
template <class V>
void pack_percpu(std::byte* values, std::size_t count) noexcept {
  if constexpr (percpu_stride(sizeof(V)) != sizeof(V))
    for (std::size_t i = 1; i < count; ++i)
      std::memmove(values + i * sizeof(V), values + i * percpu_stride(sizeof(V)), sizeof(V));
}

}  // namespace detail

/// The values of all possible CPUs, by the number of the CPU: a span with what one wants to know of it.
template <class V>
class percpu_span {
 public:
  using value_type = V;
  using iterator = V const*;

  /// No values.
  percpu_span() noexcept = default;
  /// Of any values, one a CPU.
  explicit percpu_span(std::span<V const> values) noexcept : values_{values} {}

  [[nodiscard]] std::size_t size() const noexcept { return values_.size(); }
  /// The value of that CPU, which must be less than `size()`.
  [[nodiscard]] V const& operator[](std::size_t cpu) const noexcept { return values_[cpu]; }
  [[nodiscard]] iterator begin() const noexcept { return values_.data(); }
  [[nodiscard]] iterator end() const noexcept { return values_.data() + values_.size(); }
  [[nodiscard]] V const* data() const noexcept { return values_.data(); }

  /// The sum over all CPUs of the values, or of what `projection` gives of each: `sum(&stats::packets)`. Integers are
  /// added up in 64 bits, floating point in double, and others by their own operator+.
  template <class Projection = std::identity>
  [[nodiscard]] auto sum(Projection projection = {}) const {
    using part = std::remove_cvref_t<std::invoke_result_t<Projection&, V const&>>;
    detail::sum_of<part> total{};
    for (auto const& v : values_) total = static_cast<detail::sum_of<part>>(total + std::invoke(projection, v));
    return total;
  }
  /// The least and the greatest likewise; a value-initialised one of no values.
  template <class Projection = std::identity>
  [[nodiscard]] auto min(Projection projection = {}) const {
    return fold_projected(projection, [](auto const& a, auto const& b) { return b < a ? b : a; });
  }
  /// @overload
  template <class Projection = std::identity>
  [[nodiscard]] auto max(Projection projection = {}) const {
    return fold_projected(projection, [](auto const& a, auto const& b) { return a < b ? b : a; });
  }
  /// `f(f(init, [0]), [1])` and so on.
  template <class T, class F>
  [[nodiscard]] T fold(T init, F f) const {
    for (auto const& v : values_) init = std::invoke(f, std::move(init), v);
    return init;
  }

 private:
  template <class Projection, class F>
  auto fold_projected(Projection& projection, F f) const {
    using part = std::remove_cvref_t<std::invoke_result_t<Projection&, V const&>>;
    if (values_.empty()) return part{};
    part found = std::invoke(projection, values_.front());
    for (auto const& v : values_.subspan(1)) found = f(found, static_cast<decltype(found)>(std::invoke(projection, v)));
    return found;
  }

  std::span<V const> values_;
};

/// Values of all possible CPUs that one keeps, and may change.
template <class V>
class percpu_values {
  static_assert(!std::is_same_v<V, bool>, "a bool is one bit in std::vector: take std::uint8_t");

 public:
  using value_type = V;

  /// No values.
  percpu_values() noexcept = default;
  /// One for each of `cpus`.
  explicit percpu_values(std::size_t cpus, V const& value = {}) : values_(cpus, value) {}

  [[nodiscard]] std::size_t size() const noexcept { return values_.size(); }
  /// The value of that CPU, which must be less than `size()`.
  [[nodiscard]] V& operator[](std::size_t cpu) noexcept { return values_[cpu]; }
  /// @overload
  [[nodiscard]] V const& operator[](std::size_t cpu) const noexcept { return values_[cpu]; }
  [[nodiscard]] auto begin() noexcept { return values_.begin(); }
  [[nodiscard]] auto end() noexcept { return values_.end(); }
  [[nodiscard]] auto begin() const noexcept { return values_.begin(); }
  [[nodiscard]] auto end() const noexcept { return values_.end(); }
  [[nodiscard]] V const* data() const noexcept { return values_.data(); }

  /// The values, as long as these are not assigned to.
  [[nodiscard]] percpu_span<V> span() const noexcept { return percpu_span<V>{values_}; }

  /// As percpu_span has it.
  template <class Projection = std::identity>
  [[nodiscard]] auto sum(Projection projection = {}) const {
    return span().sum(std::move(projection));
  }
  /// @overload
  template <class Projection = std::identity>
  [[nodiscard]] auto min(Projection projection = {}) const {
    return span().min(std::move(projection));
  }
  /// @overload
  template <class Projection = std::identity>
  [[nodiscard]] auto max(Projection projection = {}) const {
    return span().max(std::move(projection));
  }
  /// @overload
  template <class T, class F>
  [[nodiscard]] T fold(T init, F f) const {
    return span().fold(std::move(init), std::move(f));
  }

 private:
  template <shared_with_kernel K, shared_with_kernel T>
    requires std::default_initializable<T>
  friend class percpu_map;

  // Room for what the kernel writes, which is wider than the values if their size is no multiple of 8.
  std::span<std::byte> room(std::size_t width) {
    values_.resize((width + sizeof(V) - 1) / sizeof(V));
    return std::as_writable_bytes(std::span{values_}).first(width);
  }
  void pack(std::size_t cpus) noexcept {
    detail::pack_percpu<V>(reinterpret_cast<std::byte*>(values_.data()), cpus);
    values_.resize(cpus);
  }

  std::vector<V> values_;
};

/// Entries of a per-CPU map, as a cursor gives them.
template <class K, class V>
class percpu_page {
 public:
  using value_type = std::pair<K const&, percpu_span<V>>;

  /// No entries.
  percpu_page() noexcept = default;

  [[nodiscard]] std::size_t size() const noexcept { return pages_ != nullptr ? pages_->count() : 0; }
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }
  /// True if there are entries.
  explicit operator bool() const noexcept { return !empty(); }

  /// The entry of that index, which must be less than `size()`.
  [[nodiscard]] value_type operator[](std::size_t i) const noexcept { return get(*pages_, i); }

  class iterator {
   public:
    using iterator_concept = std::input_iterator_tag;
    using difference_type = std::ptrdiff_t;
    using value_type = percpu_page::value_type;
    using reference = value_type;

    iterator() noexcept = default;
    reference operator*() const noexcept { return get(*pages_, at_); }
    iterator& operator++() noexcept {
      ++at_;
      return *this;
    }
    iterator operator++(int) noexcept { return {pages_, at_++}; }
    friend bool operator==(iterator const& a, iterator const& b) noexcept { return a.at_ == b.at_; }

   private:
    friend class percpu_page;
    iterator(detail::map_pages const* pages, std::size_t at) noexcept : pages_{pages}, at_{at} {}
    detail::map_pages const* pages_ = nullptr;
    std::size_t at_ = 0;
  };

  [[nodiscard]] iterator begin() const noexcept { return {pages_, 0}; }
  [[nodiscard]] iterator end() const noexcept { return {pages_, size()}; }

 private:
  template <class Page>
  friend class map_cursor;
  template <shared_with_kernel A, shared_with_kernel B>
    requires std::default_initializable<B>
  friend class percpu_map;

  explicit percpu_page(detail::map_pages& pages) noexcept : pages_{&pages} { arrange(pages); }

  static void arrange(detail::map_pages& pages) noexcept {
    for (std::size_t i = 0; i < pages.count(); ++i)
      detail::pack_percpu<V>(pages.value(i).data(), pages.value(i).size() / detail::percpu_stride(sizeof(V)));
  }
  static value_type get(detail::map_pages const& pages, std::size_t i) noexcept {
    auto const stored = pages.value(i);
    return {
        *reinterpret_cast<K const*>(pages.key(i).data()),
        percpu_span<V>{{reinterpret_cast<V const*>(stored.data()), stored.size() / detail::percpu_stride(sizeof(V))}}};
  }

  detail::map_pages const* pages_ = nullptr;
};

/// A per-CPU map, in which a key has a value on each possible CPU:
///
///     tinybpf::percpu_map<std::uint32_t, traffic> counters{obj.map("counters")};
///     if (auto const v = counters.lookup(IPPROTO_UDP)) std::cout << v->sum(&traffic::packets);
///
/// Sizes and types are checked when it is made, as by `map::typed`. A handle of the map, closed when the map is: then
/// every call reports `errc::closed`. Thread-safety: as the map's. While values are read or written, BPF programs on
/// the CPUs go on changing theirs; a value of up to 8 bytes is read as a whole.
template <shared_with_kernel K, shared_with_kernel V>
  requires std::default_initializable<V>
class percpu_map {
 public:
  using key_type = K;
  using mapped_type = V;
  using value_type = std::pair<K const&, percpu_span<V>>;
  using cursor = map_cursor<percpu_page<K, V>>;

  /// Of a closed map.
  percpu_map() noexcept = default;
  /// Errors: `errc::closed`, `errc::wrong_map_type`, `errc::size_mismatch`, `errc::type_mismatch`.
  explicit percpu_map(map m, field_names names = field_names::check) {
    detail::or_throw([&](error_code& ec, diagnostics& details) { open(m, names, ec, details); });
  }
  /// @overload Closed after an error.
  percpu_map(map m, field_names names, error_code& ec, diagnostics& details) { open(m, names, ec, details); }
  /// @overload
  percpu_map(map m, error_code& ec) {
    diagnostics details;
    open(m, field_names::check, ec, details);
  }

  /// The map itself.
  [[nodiscard]] map const& untyped() const noexcept { return map_; }

  /// The values of `key`, or nothing if the key is not there. Errors: `errc::closed`, `errc::not_loaded`, or the
  /// kernel's.
  [[nodiscard]] std::optional<percpu_values<V>> lookup(K const& key) const {
    std::optional<percpu_values<V>> values{std::in_place};
    if (!lookup(key, *values)) values.reset();
    return values;
  }
  /// @overload
  std::optional<percpu_values<V>> lookup(K const& key, error_code& ec) const {
    std::optional<percpu_values<V>> values{std::in_place};
    if (!lookup(key, *values, ec)) values.reset();
    return values;
  }
  /// @overload
  std::optional<percpu_values<V>> lookup(K const& key, error_code& ec, diagnostics& details) const {
    std::optional<percpu_values<V>> values{std::in_place};
    if (!lookup(key, *values, ec, details)) values.reset();
    return values;
  }
  /// @overload Into values that exist, whose memory is used again: it allocates nothing the second time. False if the
  /// key is not there: then the values are not worth anything.
  bool lookup(K const& key, percpu_values<V>& values) const { return read(key, values); }
  /// @overload
  bool lookup(K const& key, percpu_values<V>& values, error_code& ec) const { return read(key, values, ec); }
  /// @overload
  bool lookup(K const& key, percpu_values<V>& values, error_code& ec, diagnostics& details) const {
    return read(key, values, ec, details);
  }

  /// True if the key is there. Errors: those of `lookup`.
  [[nodiscard]] bool contains(K const& key) const { return lookup(key).has_value(); }
  /// @overload
  bool contains(K const& key, error_code& ec) const { return lookup(key, ec).has_value(); }
  /// @overload
  bool contains(K const& key, error_code& ec, diagnostics& details) const {
    return lookup(key, ec, details).has_value();
  }

  /// The values of `key`. Errors: those of `lookup`, and ENOENT if the key is not there.
  [[nodiscard]] percpu_values<V> at(K const& key) const {
    return detail::or_throw([&](error_code& ec, diagnostics& details) { return at(key, ec, details); });
  }
  /// @overload
  percpu_values<V> at(K const& key, error_code& ec) const {
    diagnostics details;
    return at(key, ec, details);
  }
  /// @overload
  percpu_values<V> at(K const& key, error_code& ec, diagnostics& details) const {
    percpu_values<V> values;
    if (!lookup(key, values, ec, details) && !ec) detail::refuse_absent(map_, ec, details);
    return values;
  }

  /// Writes the values of all CPUs, one for each; inserts or replaces, as `flag` says. What a BPF program changed since
  /// they were read is overwritten. Errors: `errc::closed`, `errc::not_loaded`, `errc::size_mismatch` for another
  /// number than that of the possible CPUs; the kernel's EEXIST, ENOENT, E2BIG (full) and others.
  void update(K const& key, std::span<V const> values, update_flag flag = update_flag::any) const {
    detail::or_throw([&](error_code& ec, diagnostics& details) { update(key, values, flag, ec, details); });
  }
  /// @overload
  void update(K const& key, std::span<V const> values, update_flag flag, error_code& ec) const {
    diagnostics details;
    update(key, values, flag, ec, details);
  }
  /// @overload
  void update(K const& key, std::span<V const> values, update_flag flag, error_code& ec, diagnostics& details) const {
    constexpr auto stride = detail::percpu_stride(sizeof(V));
    if constexpr (stride == sizeof(V)) {
      map_.update(detail::bytes_of(key), std::as_bytes(values), flag, ec, details);
    } else {
      std::vector<std::byte> spread(values.size() * stride);
      for (std::size_t i = 0; i < values.size(); ++i) std::memcpy(spread.data() + i * stride, &values[i], sizeof(V));
      map_.update(detail::bytes_of(key), spread, flag, ec, details);
    }
  }

  /// Writes the same value for all CPUs: `fill(key, {})` starts counting anew. Errors: those of `update`.
  void fill(K const& key, V const& value, update_flag flag = update_flag::any) const {
    detail::or_throw([&](error_code& ec, diagnostics& details) { fill(key, value, flag, ec, details); });
  }
  /// @overload
  void fill(K const& key, V const& value, update_flag flag, error_code& ec) const {
    diagnostics details;
    fill(key, value, flag, ec, details);
  }
  /// @overload
  void fill(K const& key, V const& value, update_flag flag, error_code& ec, diagnostics& details) const {
    percpu_values<V> const values{detail::possible_cpus(), value};
    update(key, values, flag, ec, details);
  }

  /// Inserts, with a value for each CPU; false, and no error, if the key is there already. Errors: those of `update`.
  bool insert(K const& key, std::span<V const> values) const {
    return detail::or_throw([&](error_code& ec, diagnostics& details) { return insert(key, values, ec, details); });
  }
  /// @overload
  bool insert(K const& key, std::span<V const> values, error_code& ec) const {
    diagnostics details;
    return insert(key, values, ec, details);
  }
  /// @overload
  bool insert(K const& key, std::span<V const> values, error_code& ec, diagnostics& details) const {
    update(key, values, update_flag::no_exist, ec, details);
    return detail::unless_present(ec, details);
  }

  /// `update` with `update_flag::any`.
  void insert_or_assign(K const& key, std::span<V const> values) const { update(key, values); }
  /// @overload
  void insert_or_assign(K const& key, std::span<V const> values, error_code& ec) const {
    update(key, values, update_flag::any, ec);
  }
  /// @overload
  void insert_or_assign(K const& key, std::span<V const> values, error_code& ec, diagnostics& details) const {
    update(key, values, update_flag::any, ec, details);
  }

  /// Takes the values of `key` out of the map; nothing if the key was not there. Errors: those of `lookup`; arrays
  /// cannot do it.
  std::optional<percpu_values<V>> lookup_and_delete(K const& key) const {
    return detail::or_throw([&](error_code& ec, diagnostics& details) { return lookup_and_delete(key, ec, details); });
  }
  /// @overload
  std::optional<percpu_values<V>> lookup_and_delete(K const& key, error_code& ec) const {
    diagnostics details;
    return lookup_and_delete(key, ec, details);
  }
  /// @overload
  std::optional<percpu_values<V>> lookup_and_delete(K const& key, error_code& ec, diagnostics& details) const {
    std::optional<percpu_values<V>> values{std::in_place};
    auto const size = map_.lookup_size();
    if (map_.lookup_and_delete(detail::bytes_of(key), values->room(size), ec, details))
      values->pack(size / detail::percpu_stride(sizeof(V)));
    else
      values.reset();
    return values;
  }

  /// Removes the entry; false, and no error, if the key was not there. Errors: `errc::closed`, `errc::not_loaded`, or
  /// the kernel's.
  bool erase(K const& key) const { return map_.erase(detail::bytes_of(key)); }
  /// @overload
  bool erase(K const& key, error_code& ec) const { return map_.erase(detail::bytes_of(key), ec); }
  /// @overload
  bool erase(K const& key, error_code& ec, diagnostics& details) const {
    return map_.erase(detail::bytes_of(key), ec, details);
  }

  /// All entries, as `typed_map::entries()` has them: pairs of a key and a percpu_span, valid until the next step.
  [[nodiscard]] auto entries() const { return detail::map_walk<percpu_page_entry>{map_}; }
  /// @overload Ends the range at an error.
  [[nodiscard]] auto entries(error_code& ec) const { return detail::map_walk<percpu_page_entry>{map_, &ec}; }
  /// @overload The map itself as that range.
  [[nodiscard]] auto begin() const { return detail::map_iterator<percpu_page_entry>{map_}; }
  /// @overload
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

  /// A walk on a loop, and one that takes out what it reads, as typed_map has them.
  [[nodiscard]] cursor async_entries(boost::asio::any_io_executor ex, std::size_t entries = 1024) const {
    return cursor{std::move(ex), detail::map_pages{map_, sizes, entries}};
  }
  /// @overload
  [[nodiscard]] cursor async_drain(boost::asio::any_io_executor ex, std::size_t entries = 1024) const {
    return cursor{std::move(ex), detail::map_pages{map_, sizes, entries, detail::map_pages::mode::drain}};
  }

  /// The number of entries, counted by walking them all. Errors: those of `entries`.
  [[nodiscard]] std::size_t count() const { return map_.count(); }
  /// @overload
  std::size_t count(error_code& ec) const { return map_.count(ec); }
  /// @overload
  std::size_t count(error_code& ec, diagnostics& details) const { return map_.count(ec, details); }

  /// Removes all entries that are there from begin to end; gives how many it removed. Errors: those of `entries` and
  /// `erase`.
  std::size_t clear() const { return map_.clear(); }
  /// @overload
  std::size_t clear(error_code& ec) const { return map_.clear(ec); }
  /// @overload
  std::size_t clear(error_code& ec, diagnostics& details) const { return map_.clear(ec, details); }

 private:
  static_assert(alignof(K) <= detail::page_alignment && alignof(V) <= detail::page_alignment);
  static constexpr detail::entry_sizes sizes{sizeof(K), sizeof(V), true};

  struct percpu_page_entry {
    using reference = value_type;
    static constexpr auto sizes = percpu_map::sizes;
    static void arrange(detail::map_pages& pages) noexcept { percpu_page<K, V>::arrange(pages); }
    static reference get(detail::map_pages const& pages, std::size_t i) noexcept {
      return percpu_page<K, V>::get(pages, i);
    }
  };

  template <class... Report>
  bool read(K const& key, percpu_values<V>& values, Report&... report) const {
    auto const size = map_.lookup_size();
    bool const found = map_.lookup(detail::bytes_of(key), values.room(size), report...);
    values.pack(size / detail::percpu_stride(sizeof(V)));
    return found;
  }

  void open(map& m, field_names names, error_code& ec, diagnostics& details) {
    auto const key = shape_of<K>();
    auto const value = shape_of<V>();
    detail::check_view(m,
                       {.name = "a per-CPU view",
                        .kinds = {map_type::percpu_hash, map_type::percpu_array, map_type::lru_percpu_hash,
                                  map_type::percpu_cgroup_storage},
                        .key = &key,
                        .value = &value},
                       names, ec, details);
    if (!ec) map_ = std::move(m);
  }

  map map_;
};

}  // namespace tinybpf
