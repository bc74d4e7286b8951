#include "layout_compare.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>
#include <utility>

namespace tinybpf::detail {
namespace {

using what = btf_difference::what;

std::string in_bytes(std::size_t size) { return std::to_string(size) + (size == 1 ? " byte" : " bytes"); }

std::string described(layout_row const& r) { return r.type + " at " + std::to_string(r.offset) + r.spacing(); }

bool is_number(row_kind k) { return k == row_kind::integer || k == row_kind::enumeration; }

/// Whether a field of C++ can hold what the object has, but for size and signedness.
bool same_kind(layout_row const& cpp, layout_row const& object) {
  if (cpp.kind == object.kind) return true;
  auto const one_byte_each = [](layout_row const& a, layout_row const& b) {
    return a.kind == row_kind::character && b.kind == row_kind::integer;
  };
  if (one_byte_each(cpp, object) || one_byte_each(object, cpp)) return true;  // the sizes tell
  if (is_number(cpp.kind) && is_number(object.kind)) return true;
  // C++ has no pointer to show for one into another address space.
  return cpp.kind == row_kind::integer && object.kind == row_kind::pointer && !cpp.is_signed;
}

/// Of plain char nobody knows the sign, and compilers before clang 15 did not say it of an enum.
bool signs_matter(layout_row const& cpp, layout_row const& object) {
  return is_number(cpp.kind) && object.kind == row_kind::integer;
}

/// Whether the elements that both have the same number of lie equally far apart.
bool equally_spaced(layout_row const& a, layout_row const& b) {
  for (std::size_t i = 0; i < a.counts.size(); ++i)
    if (a.counts[i] > 1 && a.steps[i] != b.steps[i]) return false;
  return true;
}

bool overlap(layout_row const& a, layout_row const& b) {
  // In an array of structs, the fields of one element lie between those of the others.
  bool const together = a.counts == b.counts && a.steps == b.steps;
  auto const a_size = together ? a.size : a.span();
  auto const b_size = together ? b.size : b.span();
  return a.offset < b.offset + b_size && b.offset < a.offset + a_size;
}

class comparison {
 public:
  comparison(layout_rows const& cpp, layout_rows const& object, compare_options options)
      : cpp_{cpp}, object_{object}, options_{options} {}

  std::vector<btf_difference> run() {
    if (cpp_.size != object_.size) note({what::size, {}, in_bytes(cpp_.size), in_bytes(object_.size), 0});
    list mine;
    list theirs;
    for (auto const& r : cpp_.rows) mine.push_back(&r);
    for (auto const& r : object_.rows)
      if (!(r.kind == row_kind::flexible && options_.may_grow)) theirs.push_back(&r);
    take_opaque(mine, theirs);
    if (cpp_.structure != object_.structure && !mine.empty()) {
      note({what::kind, {}, in_words(cpp_), in_words(object_), 0});
      return std::move(found_);
    }
    list bits;
    std::erase_if(theirs, [&](auto const* o) {
      if (o->kind == row_kind::bits) bits.push_back(o);
      return o->kind == row_kind::bits;
    });
    pair(mine, theirs, [this](auto const& a, auto const& b) { return checks_name(a, b) && a.path == b.path; });
    pair(mine, theirs, [](auto const& a, auto const& b) { return a.offset == b.offset; });
    for (auto const* const r : mine) {
      // Bit-fields have no place in C++ that could be told: there must be nothing else.
      auto const bit = std::find_if(bits.begin(), bits.end(), [r](auto const* b) { return overlap(*r, *b); });
      if (bit != bits.end())
        note({what::kind, called(*r, **bit), described(*r), described(**bit) + " ('" + (*bit)->path + "')", r->offset});
      else
        note({what::extra, called(*r, *r), described(*r), "nothing", r->offset});
    }
    for (auto const* const r : theirs) note({what::missing, called(*r, *r), "nothing", described(*r), r->offset});
    // The size of all, which was noted first, stays in front.
    sort_by(found_, [](auto const& d) { return d.offset; });
    return std::move(found_);
  }

 private:
  using list = std::vector<layout_row const*>;

  void note(btf_difference d) { found_.push_back(std::move(d)); }

  static std::string in_words(layout_rows const& l) {
    return l.structure ? "a struct" : l.rows.empty() ? "nothing" : l.rows.front().type;
  }

  // A scalar, a union, or an array of them that is in no struct.
  bool is_whole(layout_row const& c) const { return !cpp_.structure && cpp_.rows.size() == 1 && c.path.empty(); }

  // Either side may know the name; a type that is no struct needs none.
  std::string called(layout_row const& c, layout_row const& o) const {
    if (is_whole(c)) return {};
    if (c.named && !c.path.empty()) return c.path;
    if (o.named && !o.path.empty()) return o.path;
    return "offset " + std::to_string(c.offset);
  }

  // A nameless member of the object's, such as a union, has to be called something in C++.
  bool checks_name(layout_row const& c, layout_row const& o) const { return options_.names && c.named && o.named; }

  // What is looked into no further covers all that the other side has there. But another union or array in its place
  // has a size that can be compared.
  void take_opaque(list& mine, list& theirs) {
    std::erase_if(mine, [&](layout_row const* c) {
      if (c->kind != row_kind::opaque) return false;
      list inside;
      for (auto const* const o : theirs) {
        if (o->kind != row_kind::bits && checks_name(*c, *o) && o->path == c->path) return false;
        if (o->offset >= c->offset && o->offset + o->span() <= c->offset + c->span()) inside.push_back(o);
      }
      if (inside.empty() || (inside.size() == 1 && inside.front()->kind == row_kind::union_)) return false;
      std::erase_if(theirs, [&](auto const* o) { return std::find(inside.begin(), inside.end(), o) != inside.end(); });
      return true;
    });
  }

  template <class Same>
  void pair(list& mine, list& theirs, Same same) {
    std::erase_if(mine, [&](layout_row const* c) {
      auto const other = std::find_if(theirs.begin(), theirs.end(), [&](auto const* o) { return same(*c, *o); });
      if (other == theirs.end()) return false;
      check(*c, **other);
      theirs.erase(other);
      return true;
    });
  }

  void check(layout_row const& c, layout_row const& o) {
    bool const whole = is_whole(c);  // its size was compared
    auto const words = [whole](layout_row const& r) { return whole ? r.type : described(r); };
    auto const differs = [&](what w) { note({w, called(c, o), words(c), words(o), std::min(c.offset, o.offset)}); };
    if (c.kind == row_kind::opaque) {
      if (c.span() != o.span() && !whole) differs(what::size);
    } else if (!same_kind(c, o) || c.counts.size() != o.counts.size()) {
      differs(what::kind);
    } else {
      bool const same_count = c.counts == o.counts;
      if (!same_count) differs(what::count);
      bool const told = whole && same_count && cpp_.size != object_.size;
      if (!told && (c.size != o.size || (same_count && !equally_spaced(c, o)))) differs(what::size);
      if (signs_matter(c, o) && c.is_signed != o.is_signed) differs(what::signedness);
    }
    if (c.offset != o.offset) differs(what::offset);
    if (checks_name(c, o) && c.path != o.path) note({what::name, c.path, c.path, o.path, c.offset});
  }

  layout_rows const& cpp_;
  layout_rows const& object_;
  compare_options options_;
  std::vector<btf_difference> found_;
};

std::string padded(std::string text, std::size_t width) {
  if (text.size() < width) text.append(width - text.size(), ' ');
  return text;
}

/// "  8  u64 cookie", and the padding in front of it.
std::vector<std::pair<std::size_t, std::string>> lines_of(layout_rows const& l) {
  std::vector<std::pair<std::size_t, std::string>> lines;
  std::size_t end = 0;
  auto const line = [&](std::size_t offset, std::string const& text) {
    auto number = std::to_string(offset);
    number.insert(0, number.size() < 4 ? 4 - number.size() : 0, ' ');
    lines.emplace_back(offset, number + "  " + text);
  };
  for (auto const& r : l.rows) {
    if (r.offset > end) line(end, "(" + in_bytes(r.offset - end) + " of padding)");
    line(r.offset, r.type + (r.path.empty() ? "" : " " + r.path) + r.spacing());
    end = std::max(end, r.offset + r.span());
  }
  if (l.size > end) line(end, "(" + in_bytes(l.size - end) + " of padding)");
  line(l.size, "end");
  return lines;
}

}  // namespace

std::vector<btf_difference> compare(layout_rows const& cpp, layout_rows const& object, compare_options options) {
  return comparison{cpp, object, options}.run();
}

std::string side_by_side(std::string const& cpp_name, layout_rows const& cpp, std::string const& object_name,
                         layout_rows const& object, std::vector<btf_difference> const& differences) {
  // The whole type's size says least of where it began to differ.
  auto const first = std::find_if(differences.begin(), differences.end(),
                                  [](auto const& d) { return !d.field.empty() || d.kind != what::size; });
  auto const marked = first != differences.end() ? first->offset : std::min(cpp.size, object.size);
  auto const mine = lines_of(cpp);
  auto const theirs = lines_of(object);
  std::size_t width = cpp_name.size() + 6;
  for (auto const& l : mine) width = std::max(width, l.second.size());
  std::string text = "     " + padded("C++: " + cpp_name, width + 3) + "object: " + object_name + "\n";
  // Rows of one offset stand in one line.
  std::size_t i = 0;
  std::size_t j = 0;
  bool told = false;
  while (i < mine.size() || j < theirs.size()) {
    auto const here = std::min(i < mine.size() ? mine[i].first : theirs[j].first,
                               j < theirs.size() ? theirs[j].first : mine[i].first);
    bool const left = i < mine.size() && mine[i].first == here;
    bool const right = j < theirs.size() && theirs[j].first == here;
    bool const mark = !told && here >= marked;
    told = told || mark;
    auto line =
        (mark ? "  -> " : "     ") + padded(left ? mine[i].second : "", width + 3) + (right ? theirs[j].second : "");
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
    i += left ? 1 : 0;
    j += right ? 1 : 0;
  }
  text.pop_back();
  return text;
}

namespace {

/// "u32" of "u32[4] at 8" -> "std::uint32_t"; what is no such word stays as it is.
std::string fixed_width(std::string_view word) {
  word = word.substr(0, word.find_first_of(" [,"));
  constexpr std::array<std::string_view, 4> widths{"8", "16", "32", "64"};
  if (word == "pointer") return "std::uint64_t";
  if (word.empty() || std::find(widths.begin(), widths.end(), word.substr(1)) == widths.end()) return std::string{word};
  return (word.front() == 's' ? "std::int" : "std::uint") + std::string{word.substr(1)} + "_t";
}

layout_row const* row_called(layout_rows const& l, std::string const& path) {
  auto const found = std::find_if(l.rows.begin(), l.rows.end(), [&](auto const& r) { return r.path == path; });
  return found != l.rows.end() ? &*found : nullptr;
}

/// Of the fields that both know.
bool in_same_order(layout_rows const& cpp, layout_rows const& object) {
  std::size_t last = 0;
  for (auto const& r : cpp.rows) {
    auto const* const o = row_called(object, r.path);
    if (o == nullptr) continue;
    if (o->offset < last) return false;
    last = o->offset;
  }
  return true;
}

/// The other one, if this field has changed places with one.
std::string swapped_with(layout_rows const& cpp, layout_rows const& object, btf_difference const& a,
                         std::vector<btf_difference> const& differences) {
  auto const* const ca = row_called(cpp, a.field);
  auto const* const oa = row_called(object, a.field);
  if (ca == nullptr || oa == nullptr) return {};
  for (auto const& b : differences) {
    auto const* const cb = row_called(cpp, b.field);
    auto const* const ob = row_called(object, b.field);
    if (cb != nullptr && ob != nullptr && ca->offset == ob->offset && cb->offset == oa->offset) return b.field;
  }
  return {};
}

std::string advice_for_scalar(btf_difference const& d) {
  auto const cpp = fixed_width(d.cpp);
  auto const object = fixed_width(d.object);
  constexpr std::array<std::string_view, 5> others{"bool", "char", "float", "double", "std::"};
  auto const is_scalar = [&](std::string const& type) {
    return std::any_of(others.begin(), others.end(), [&](auto start) { return type.starts_with(start); });
  };
  if (cpp == object || !is_scalar(cpp) || !is_scalar(object)) return {};
  bool const as_long_is = cpp.ends_with("int64_t") && object.ends_with("int32_t");
  return "'" + d.field + "' is " + cpp + " in C++" + (as_long_is ? ", as long is" : "") + ": make it " + object;
}

}  // namespace

std::string advice(layout_rows const& cpp, layout_rows const& object, std::vector<btf_difference> const& differences) {
  // Of the first difference that there is something to say about: those behind it may be its consequences.
  for (auto const& d : differences) {
    if (d.field.empty()) continue;
    std::string text;
    switch (d.kind) {
      case what::size:
      case what::signedness:
      case what::kind:
        text = d.object.find(" bits at ") == std::string::npos
                   ? advice_for_scalar(d)
                   : "leave '" + d.field + "' out: bit-fields cannot be described";
        break;
      case what::offset:
        if (auto const other = swapped_with(cpp, object, d, differences); !other.empty())
          text = "the fields '" + d.field + "' and '" + other + "' have changed places";
        break;
      case what::name:
        text = "call it '" + d.object + "' in C++, too, or register the type with field_names::ignore";
        break;
      case what::missing:
        text = d.object.starts_with("flexible")
                   ? "the object's type ends in a flexible array: leave it out in C++, and say size_rule::at_least in "
                     "event_traits"
                   : "add '" + d.field + "' (" + d.object + ") to the C++ type, also if it is there for padding alone";
        break;
      case what::extra:
        text = "remove '" + d.field + "' from the C++ type, or compile the BPF program anew";
        break;
      case what::count:
        break;
    }
    if (!text.empty()) return text;
  }
  auto const is_of_place = [](auto const& d) {
    return d.kind == what::offset || (d.kind == what::size && d.field.empty());
  };
  if (!cpp.structure || !std::all_of(differences.begin(), differences.end(), is_of_place)) return {};
  return in_same_order(cpp, object) ? "all fields are there: alignment or packing differs"
                                    : "all fields are there, in another order";
}

}  // namespace tinybpf::detail
