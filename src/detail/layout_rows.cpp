#include "layout_rows.hpp"

#include "btf_tables.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

namespace tinybpf::detail {
namespace {

// A damaged object's structs of structs may name more members than anyone can wait for.
constexpr std::size_t most_members = 10'000;

// BPF is a machine of 64 bits, whatever this one is.
constexpr std::size_t pointer_size = 8;

struct place {
  std::string path;
  std::size_t offset = 0;
  bool named = true;
  std::vector<std::size_t> counts;
  std::vector<std::size_t> steps;

  [[nodiscard]] place member(std::string_view name, std::size_t at) const {
    auto p = *this;
    if (!name.empty()) p.path += (path.empty() ? "" : ".") + std::string{name};
    p.offset += at;
    return p;
  }
  [[nodiscard]] place element(std::size_t count, std::size_t step) const {
    auto p = *this;
    p.counts.push_back(count);
    p.steps.push_back(step);
    return p;
  }
};

std::string array_suffix(std::vector<std::size_t> const& counts) {
  std::string text;
  for (auto const n : counts) text += "[" + std::to_string(n) + "]";
  return text;
}

std::string integer_name(bool is_signed, std::size_t size) {
  return (is_signed ? "s" : "u") + std::to_string(8 * size);
}

std::string union_name(std::size_t size) { return "union of " + std::to_string(size) + " bytes"; }

void add(layout_rows& to, place const& p, row_kind kind, std::string type, std::size_t size, bool is_signed = false) {
  to.rows.push_back(
      {p.path, std::move(type) + array_suffix(p.counts), p.offset, size, kind, is_signed, p.named, p.counts, p.steps});
}

void walk(layout_rows& to, type_layout const& t, place const& p) {
  switch (t.kind) {
    case layout_kind::structure:
      for (auto const& f : t.fields) {
        auto in = p.member(f.name, f.offset);
        if (f.name.empty()) in.named = false;  // and all that is in it
        walk(to, *f.type, in);
      }
      return;
    case layout_kind::array:
      return walk(to, *t.element, p.element(t.count, t.element->size));
    case layout_kind::integer:
      return add(to, p, row_kind::integer, integer_name(t.is_signed, t.size), t.size, t.is_signed);
    case layout_kind::character:
      return add(to, p, row_kind::character, "char", t.size);
    case layout_kind::boolean:
      return add(to, p, row_kind::boolean, "bool", t.size);
    case layout_kind::floating:
      return add(to, p, row_kind::floating, t.size == 4 ? "float" : t.size == 8 ? "double" : "long double", t.size);
    case layout_kind::enumeration:
      return add(to, p, row_kind::enumeration, "enum of " + integer_name(t.is_signed, t.size), t.size, t.is_signed);
    case layout_kind::union_:
      return add(to, p, row_kind::opaque, union_name(t.size), t.size);
    case layout_kind::opaque:
      return add(to, p, row_kind::opaque, std::to_string(t.size) + " bytes", t.size);
  }
}

void sort(layout_rows& r) {
  sort_by(r.rows, [](auto const& row) { return row.offset; });
}

/// Walks a BTF type. `why` says what stopped it.
class btf_walk {
 public:
  btf_walk(::btf const* types, layout_rows& to, std::string& why) : types_{types}, to_{to}, why_{why} {}

  bool walk(std::uint32_t id, place const& p, int depth = 0) {
    if (depth > deepest_type) return refuse("is nested without an end");
    auto const* const t = btf__type_by_id(types_, id);
    if (t == nullptr) return refuse("refers to a type that does not exist");
    auto const size = std::size_t{t->size};
    switch (::btf_kind(t)) {
      case BTF_KIND_TYPEDEF:
      case BTF_KIND_CONST:
      case BTF_KIND_VOLATILE:
      case BTF_KIND_RESTRICT:
      case BTF_KIND_TYPE_TAG:
        return walk(t->type, p, depth + 1);
      case BTF_KIND_INT:
        return integer(*t, p), true;
      case BTF_KIND_FLOAT:
        return add(to_, p, row_kind::floating, name(*t), size), true;
      case BTF_KIND_ENUM:
      case BTF_KIND_ENUM64:
        return enumeration(*t, p), true;
      case BTF_KIND_PTR:
        return add(to_, p, row_kind::pointer, "pointer", pointer_size), true;
      case BTF_KIND_ARRAY:
        return array(*t, p, depth);
      case BTF_KIND_STRUCT:
        return structure(*t, p, depth);
      case BTF_KIND_UNION:
        return add(to_, p, row_kind::union_, union_name(size), size), true;
      case BTF_KIND_DATASEC:
        return section(*t, p, depth);
      case BTF_KIND_FWD:
        return refuse("is only declared, or has a member that is (" + name(*t) + ")");
      default:
        return refuse("is nothing that can be in memory");
    }
  }

 private:
  bool refuse(std::string_view what) {
    why_ = what;
    return false;
  }

  std::string name(::btf_type const& t) const { return std::string{name_at(types_, t.name_off)}; }

  void integer(::btf_type const& t, place const& p) {
    auto const encoding = btf_int_encoding(&t);
    std::size_t const size = t.size;
    if ((encoding & BTF_INT_BOOL) != 0)
      add(to_, p, row_kind::boolean, "bool", size);
    else if (size == 1 && name(t) == "char")
      add(to_, p, row_kind::character, "char", size);
    else
      add(to_, p, row_kind::integer, integer_name((encoding & BTF_INT_SIGNED) != 0, size), size,
          (encoding & BTF_INT_SIGNED) != 0);
  }

  void enumeration(::btf_type const& t, place const& p) {
    auto const called = name(t);
    bool const is_signed = btf_kflag(&t);
    add(to_, p, row_kind::enumeration,
        "enum " + (called.empty() ? "" : called + " ") + "of " + integer_name(is_signed, t.size), t.size, is_signed);
  }

  bool array(::btf_type const& t, place const& p, int depth) {
    auto const& a = *::btf_array(&t);
    auto const step = btf__resolve_size(types_, a.type);
    if (a.nelems == 0) return add(to_, p, row_kind::flexible, "flexible array", 0), true;
    // Without a step the element's own kind says why.
    return walk(a.type, p.element(a.nelems, step < 0 ? 0 : static_cast<std::size_t>(step)), depth + 1);
  }

  bool structure(::btf_type const& t, place const& p, int depth) {
    for (__u32 i = 0; i < btf_vlen(&t); ++i) {
      if (++members_ > most_members) return refuse("has too many members");
      auto const& m = btf_members(&t)[i];
      auto const called = name_at(types_, m.name_off);
      std::size_t const bit = btf_member_bit_offset(&t, i);
      std::size_t const bits = btf_member_bitfield_size(&t, i);
      if (bits == 0 && bit % 8 != 0) return refuse("has a member that begins within a byte and is no bit-field");
      auto in = p.member(called, bit / 8);
      in.named = !called.empty();
      auto size = static_cast<__s64>((bit % 8 + bits + 7) / 8);
      if (bits != 0) {
        add(to_, in, row_kind::bits, std::to_string(bits) + " bits", static_cast<std::size_t>(size));
      } else {
        if (!walk(m.type, in, depth + 1)) return false;
        size = btf__resolve_size(types_, m.type);
      }
      if (size < 0 || bit / 8 + static_cast<std::size_t>(size) > t.size) return refuse("has a member beyond its end");
    }
    return true;
  }

  // Global variables, as if they were a struct's members.
  bool section(::btf_type const& t, place const& p, int depth) {
    for (__u32 i = 0; i < btf_vlen(&t); ++i) {
      auto const& v = btf_var_secinfos(&t)[i];
      auto const* const variable = btf__type_by_id(types_, v.type);
      if (variable == nullptr) return refuse("refers to a type that does not exist");
      if (!walk(variable->type, p.member(name(*variable), v.offset), depth + 1)) return false;
    }
    return true;
  }

  ::btf const* types_;
  layout_rows& to_;
  std::string& why_;
  std::size_t members_ = 0;
};

}  // namespace

std::size_t layout_row::span() const {
  auto all = size;
  for (std::size_t i = 0; i < counts.size(); ++i) all += (counts[i] - 1) * steps[i];
  return all;
}

std::string layout_row::spacing() const {
  std::string text;
  auto tight = size;
  for (auto i = counts.size(); i-- != 0; tight *= counts[i])
    if (counts[i] > 1 && steps[i] != tight)
      text += (text.empty() ? ", every " : " and ") + std::to_string(steps[i]) + " bytes";
  return text;
}

layout_rows rows_of(type_layout const& type) {
  layout_rows r;
  r.size = type.size;
  r.structure = type.kind == layout_kind::structure;
  walk(r, type, {});
  sort(r);
  return r;
}

std::optional<layout_rows> rows_of(::btf const* types, std::uint32_t id, std::string& why) {
  layout_rows r;
  if (!btf_walk{types, r, why}.walk(id, {})) return std::nullopt;
  auto const size = btf__resolve_size(types, id);
  if (size <= 0) {
    why = size < 0 ? "is larger than memory" : "has no size";
    return std::nullopt;
  }
  auto const* const t = btf__type_by_id(types, resolved(types, id));
  r.size = static_cast<std::size_t>(size);
  r.structure = btf_is_struct(t) || btf_is_datasec(t);
  sort(r);
  return r;
}

}  // namespace tinybpf::detail
