// libbpf's btf with an owner, and what its own functions do not do: searching in a useful order, and telling whether a
// type makes sense.
#pragma once

#include <tinybpf/btf.hpp>
#include <tinybpf/error.hpp>

#include <bpf/btf.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace tinybpf::detail {

/// Types that whoever looks at them shares. Thread-safe, once made.
struct btf_tables {
  btf_tables(::btf* owned, std::string from, std::shared_ptr<btf_tables const> on)
      : raw{owned}, source{std::move(from)}, base{std::move(on)} {}
  btf_tables(btf_tables const&) = delete;
  btf_tables& operator=(btf_tables const&) = delete;
  ~btf_tables() { btf__free(raw); }

  /// A copy of the types of an object, which stay when the object goes. Null if it has none.
  static std::shared_ptr<btf_tables const> copy_of(::btf const* types, std::string source);

  /// Empty if values of the type can be read: its members lie within it, and end somewhere. What is wrong otherwise:
  /// damaged BTF need not make sense.
  std::string const& flaw_of(std::uint32_t id) const;

  ::btf* const raw;
  std::string const source;  ///< How errors name it.
  std::shared_ptr<btf_tables const> const base;

 private:
  mutable std::mutex mutex_;
  mutable std::unordered_map<std::uint32_t, std::string> flaws_;
};

/// Deeper than any type that somebody wrote; a cycle, which only damaged BTF can have, ends here.
inline constexpr int deepest_type = 32;

/// The number of the type without typedefs and modifiers; 0 for void, and if they have no end.
std::uint32_t resolved(::btf const* types, std::uint32_t id) noexcept;

/// The name at an offset; empty if there is none.
std::string_view name_at(::btf const* types, std::uint32_t offset) noexcept;

/// False for what no type is called.
bool may_be_name(std::string_view name) noexcept;

/// The number of the type of that name, a struct before all others; 0 if there is none.
std::uint32_t find_type(::btf const* types, std::string_view name);

/// The same among those that values can be of: neither functions nor variables, nor what is only declared.
std::uint32_t find_value_type(::btf const* types, std::string_view name);

/// True for a struct whose last member is an array without an end, or a union with one: a value may be longer than the
/// type.
bool ends_flexibly(::btf const* types, std::uint32_t id);

/// True for a struct's last member, a union's any, or one of a nameless one that is last: bytes behind the type are
/// its.
bool is_last(::btf const* types, std::uint32_t id, std::uint32_t member_type, std::uint64_t bit_offset);

/// The names of what values may be of.
std::vector<std::string> type_names(::btf const* types);

/// "a struct used only inside functions is dropped ...": what may have become of a type that is missing.
std::string anchor_hint(std::string_view name);

// The door between the public values and what they stand for.
struct btf_access {
  static btf make(std::shared_ptr<btf_tables const> t) { return btf{std::move(t)}; }
  static btf_type make(std::shared_ptr<btf_tables const> t, std::uint32_t id) { return btf_type{std::move(t), id}; }
  static std::shared_ptr<btf_tables const> const& tables(btf const& b) { return b.tables_; }
  static std::shared_ptr<btf_tables const> const& tables(btf_type const& t) { return t.tables_; }
};

}  // namespace tinybpf::detail
