#include "btf_tables.hpp"

#include "log_capture.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <span>
#include <utility>

namespace tinybpf::detail {
namespace {

// A damaged object's structs of structs may name more members than anyone can wait for.
constexpr std::size_t most_members = 100'000;

/// Walks everything that a value of a type is made of.
class flaw_search {
 public:
  explicit flaw_search(::btf const* types) : types_{types} {}

  std::string run(std::uint32_t id) {
    if (value(id, 0) && btf__resolve_size(types_, id) < 0) flaw_ = "is larger than memory";
    return std::move(flaw_);
  }

 private:
  bool refuse(std::string what) {
    flaw_ = std::move(what);
    return false;
  }

  // Something in memory.
  bool value(std::uint32_t id, int depth) {
    if (depth > deepest_type) return refuse("is nested without an end");
    auto const* const t = btf__type_by_id(types_, id);
    if (t == nullptr) return refuse("refers to a type that does not exist");
    switch (::btf_kind(t)) {
      case BTF_KIND_INT:
      case BTF_KIND_FLOAT:
      case BTF_KIND_ENUM:
      case BTF_KIND_ENUM64:
        if (t->size != 0 && t->size <= 16) return true;
        return refuse("has a number of " + std::to_string(t->size) + " bytes");
      case BTF_KIND_PTR:
        return true;  // to whatever
      case BTF_KIND_TYPEDEF:
      case BTF_KIND_CONST:
      case BTF_KIND_VOLATILE:
      case BTF_KIND_RESTRICT:
      case BTF_KIND_TYPE_TAG:
      case BTF_KIND_VAR:
        return value(t->type, depth + 1);
      case BTF_KIND_ARRAY: {
        auto const& a = *::btf_array(t);
        if (!value(a.type, depth + 1)) return false;
        if (a.nelems == 0 || btf__resolve_size(types_, a.type) > 0) return true;
        return refuse("has elements without a size");
      }
      case BTF_KIND_STRUCT:
      case BTF_KIND_UNION:
        return members(*t, depth);
      case BTF_KIND_DATASEC:
        return variables(*t, depth);
      case BTF_KIND_FWD:
        return refuse("is only declared, or has a member that is (" + std::string{name_at(types_, t->name_off)} + ")");
      default:
        return refuse("is nothing that can be in memory");
    }
  }

  bool members(::btf_type const& t, int depth) {
    for (__u32 i = 0; i < btf_vlen(&t); ++i) {
      if (++members_ > most_members) return refuse("has too many members");
      auto const type = btf_members(&t)[i].type;
      if (!value(type, depth + 1)) return false;
      auto const bits = btf_member_bitfield_size(&t, i);
      auto const whole = 8 * btf__resolve_size(types_, type);
      if (bits != 0 && !is_integer(type)) return refuse("has a bit-field that is no integer");
      if (whole < 0 || std::uint64_t{bits} > static_cast<std::uint64_t>(whole))
        return refuse("has a bit-field larger than its type");
      auto const end = std::uint64_t{btf_member_bit_offset(&t, i)} + (bits != 0 ? bits : static_cast<__u64>(whole));
      if (end > 8 * std::uint64_t{t.size}) return refuse("has a member beyond its end");
      if (bits == 0 && btf_member_bit_offset(&t, i) % 8 != 0) return refuse("has a member that begins within a byte");
    }
    return true;
  }

  bool is_integer(std::uint32_t id) const {
    auto const* const t = btf__type_by_id(types_, resolved(types_, id));
    return t != nullptr && (btf_is_int(t) || btf_is_any_enum(t));
  }

  bool variables(::btf_type const& t, int depth) {
    for (__u32 i = 0; i < btf_vlen(&t); ++i) {
      auto const& v = btf_var_secinfos(&t)[i];
      if (!value(v.type, depth + 1)) return false;
      auto const size = btf__resolve_size(types_, v.type);
      if (size < 0 || std::uint64_t{v.offset} + static_cast<__u64>(size) > t.size)
        return refuse("has a variable beyond its end");
    }
    return true;
  }

  ::btf const* types_;
  std::string flaw_;
  std::size_t members_ = 0;
};

}  // namespace

std::shared_ptr<btf_tables const> btf_tables::copy_of(::btf const* types, std::string source) {
  if (types == nullptr) return nullptr;
  log_capture const quiet;
  __u32 size = 0;
  auto const* const data = btf__raw_data(types, &size);
  auto* const raw = data != nullptr ? btf__new(data, size) : nullptr;
  if (raw == nullptr) return nullptr;
  btf__set_pointer_size(raw, 8);  // which a copy has to guess
  return std::make_shared<btf_tables const>(raw, std::move(source), nullptr);
}

std::string const& btf_tables::flaw_of(std::uint32_t id) const {
  std::lock_guard const lock{mutex_};
  auto const known = flaws_.find(id);
  return known != flaws_.end() ? known->second : flaws_.emplace(id, flaw_search{raw}.run(id)).first->second;
}

std::uint32_t resolved(::btf const* types, std::uint32_t id) noexcept {
  for (int i = 0; i <= deepest_type; ++i) {
    auto const* const t = btf__type_by_id(types, id);
    if (t == nullptr) break;
    if (!btf_is_mod(t) && !btf_is_typedef(t)) return id;
    id = t->type;
  }
  return 0;
}

std::string_view name_at(::btf const* types, std::uint32_t offset) noexcept {
  auto const* const text = btf__name_by_offset(types, offset);
  return text == nullptr ? std::string_view{} : std::string_view{text};
}

bool may_be_name(std::string_view name) noexcept {
  // As the empty one libbpf would find a struct without a name, and of others it reads what stands before a NUL.
  return !name.empty() && name.find('\0') == name.npos;
}

namespace {

std::uint32_t find(::btf const* types, std::string_view name, std::span<__u32 const> kinds) {
  if (!may_be_name(name)) return 0;
  std::string const text{name};
  for (auto const kind : kinds)
    if (auto const id = btf__find_by_name_kind(types, text.c_str(), kind); id > 0)
      return static_cast<std::uint32_t>(id);
  return 0;
}

constexpr std::array<__u32, 10> all_kinds{BTF_KIND_STRUCT, BTF_KIND_UNION, BTF_KIND_TYPEDEF, BTF_KIND_ENUM,
                                          BTF_KIND_ENUM64, BTF_KIND_INT,   BTF_KIND_FLOAT,   BTF_KIND_FWD,
                                          BTF_KIND_FUNC,   BTF_KIND_VAR};
constexpr std::size_t kinds_with_values = 7;  // those in front

// Goes through the unions of damaged BTF, which may contain one another, only so far.
class flexible_search {
 public:
  explicit flexible_search(::btf const* types) : types_{types} {}

  bool ends_flexibly(std::uint32_t id) {
    auto const* const t = step(id);
    if (t == nullptr) return false;
    if (btf_is_array(t)) return ::btf_array(t)->nelems == 0;
    auto const members = last_of(t);
    return std::any_of(members.begin(), members.end(), [&](auto const& m) { return ends_flexibly(m.type); });
  }

  bool is_last(std::uint32_t id, std::uint32_t member_type, std::uint64_t bit_offset) {
    auto const* const t = step(id);
    if (t == nullptr) return false;
    auto const members = last_of(t);
    auto const first = static_cast<std::size_t>(members.data() - btf_members(t));
    for (std::size_t i = 0; i < members.size(); ++i) {
      auto const& m = members[i];
      std::uint64_t const offset = btf_member_bit_offset(t, static_cast<__u32>(first + i));
      if (offset > bit_offset) continue;
      if (offset == bit_offset && m.type == member_type) return true;
      if (name_at(types_, m.name_off).empty() && is_last(m.type, member_type, bit_offset - offset)) return true;
    }
    return false;
  }

 private:
  ::btf_type const* step(std::uint32_t id) {
    if (++steps_ > 1000) return nullptr;
    return btf__type_by_id(types_, resolved(types_, id));
  }
  // What bytes behind the type would belong to: a struct's last member, or any of a union.
  static std::span<::btf_member const> last_of(::btf_type const* t) {
    if (!btf_is_composite(t) || btf_vlen(t) == 0) return {};
    std::span const all{btf_members(t), btf_vlen(t)};
    return btf_is_union(t) ? all : all.last(1);
  }

  ::btf const* types_;
  int steps_ = 0;
};

}  // namespace

std::uint32_t find_type(::btf const* types, std::string_view name) { return find(types, name, all_kinds); }

std::uint32_t find_value_type(::btf const* types, std::string_view name) {
  return find(types, name, std::span{all_kinds}.first(kinds_with_values));
}

bool ends_flexibly(::btf const* types, std::uint32_t id) { return flexible_search{types}.ends_flexibly(id); }

bool is_last(::btf const* types, std::uint32_t id, std::uint32_t member_type, std::uint64_t bit_offset) {
  return flexible_search{types}.is_last(id, member_type, bit_offset);
}

std::vector<std::string> type_names(::btf const* types) {
  std::vector<std::string> names;
  for (__u32 id = 1; id < btf__type_cnt(types); ++id) {
    auto const* const type = btf__type_by_id(types, id);
    if (type == nullptr || !(btf_is_composite(type) || btf_is_typedef(type))) continue;
    if (auto const name = name_at(types, type->name_off); !name.empty()) names.emplace_back(name);
  }
  return names;
}

std::string anchor_hint(std::string_view name) {
  std::string const text{name};
  return "a struct used only inside functions is dropped from BTF unless a global variable anchors it: `struct " +
         text + " " + text + "_anchor;`";
}

}  // namespace tinybpf::detail
