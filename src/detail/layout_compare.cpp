#include "layout_compare.hpp"

#include <algorithm>
#include <cstddef>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

namespace tinybpf::detail {
namespace {

using what = btf_difference::what;

std::string at(std::size_t offset) { return "offset " + std::to_string(offset); }

std::string called(layout_row const& r) { return r.path.empty() ? at(r.offset) : r.path; }

std::string described(layout_row const& r) { return r.type + " at " + std::to_string(r.offset); }

bool is_number(row_kind k) { return k == row_kind::integer || k == row_kind::enumeration; }

/// Whether a field of C++ can hold what the object has, but for size and signedness.
bool same_kind(layout_row const& cpp, layout_row const& object) {
  if (cpp.kind == row_kind::opaque) return true;
  if (cpp.kind == object.kind) return true;
  auto const one_byte_each = [](layout_row const& a, layout_row const& b) {
    return a.kind == row_kind::character && b.kind == row_kind::integer;
  };
  if (one_byte_each(cpp, object) || one_byte_each(object, cpp)) return true;  // the sizes tell
  if (is_number(cpp.kind) && is_number(object.kind)) return true;
  // C++ has no pointer to show for one into another address space.
  return cpp.kind == row_kind::integer && object.kind == row_kind::pointer && !cpp.is_signed;
}

bool signs_matter(layout_row const& cpp, layout_row const& object) {
  return is_number(cpp.kind) && object.kind == row_kind::integer;
}

std::size_t elements(layout_row const& r) {
  std::size_t n = 1;
  for (auto const c : r.counts) n *= c;
  return n;
}

class comparison {
 public:
  comparison(layout_rows const& cpp, layout_rows const& object, compare_options options)
      : cpp_{cpp}, object_{object}, options_{options}, by_name_{options.names && cpp.named} {}

  std::vector<btf_difference> run() {
    if (cpp_.size != object_.size)
      note({what::size, {}, std::to_string(cpp_.size) + " bytes", std::to_string(object_.size) + " bytes", 0});
    std::vector<layout_row const*> mine;
    std::vector<layout_row const*> theirs;
    for (auto const& r : cpp_.rows) mine.push_back(&r);
    for (auto const& r : object_.rows)
      if (r.kind != row_kind::bits && !(r.kind == row_kind::flexible && options_.may_grow)) theirs.push_back(&r);
    take_opaque(mine, theirs);
    if (by_name_) pair(mine, theirs, [](auto const& a, auto const& b) { return a.path == b.path; });
    pair(mine, theirs, [](auto const& a, auto const& b) { return a.offset == b.offset; });
    for (auto const* const r : mine) note({what::extra, called(*r), described(*r), "nothing", r->offset});
    for (auto const* const r : theirs) note({what::missing, called(*r), "nothing", described(*r), r->offset});
    check_bits();
    std::stable_sort(found_.begin(), found_.end(), [](auto const& a, auto const& b) {
      return std::pair{!a.field.empty(), a.offset} < std::pair{!b.field.empty(), b.offset};
    });
    return std::move(found_);
  }

 private:
  using list = std::vector<layout_row const*>;

  void note(btf_difference d) { found_.push_back(std::move(d)); }

  // What is looked into no further covers all that the other side has there.
  void take_opaque(list& mine, list& theirs) {
    std::erase_if(mine, [&](layout_row const* c) {
      if (c->kind != row_kind::opaque) return false;
      auto const inside = [c](layout_row const* o) {
        return o->offset >= c->offset && o->offset + o->size <= c->offset + c->size;
      };
      return std::erase_if(theirs, inside) != 0;
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

  // One difference a field: the one that explains the others.
  void check(layout_row const& c, layout_row const& o) {
    auto const differs = [&](what w) {
      note({w, called(by_name_ || !cpp_.named ? c : c), described(c), described(o), std::min(c.offset, o.offset)});
    };
    if (!same_kind(c, o)) return differs(what::kind);
    if (c.kind != row_kind::opaque && c.counts.size() != o.counts.size()) return differs(what::kind);
    if (c.kind != row_kind::opaque && c.counts != o.counts) return differs(what::count);
    if (c.size != o.size || (c.kind != row_kind::opaque && elements(c) > 1 && c.steps != o.steps))
      return differs(what::size);
    if (signs_matter(c, o) && c.is_signed != o.is_signed) return differs(what::signedness);
    if (c.offset != o.offset) return differs(what::offset);
    if (by_name_ && c.path != o.path)
      note({what::name, c.path, c.path, o.path.empty() ? "a field without a name" : o.path, c.offset});
  }

  // Bit-fields have no place in C++ that could be told: there must be nothing else.
  void check_bits() {
    for (auto const& o : object_.rows) {
      if (o.kind != row_kind::bits) continue;
      for (auto const& c : cpp_.rows)
        if (c.kind != row_kind::opaque && c.offset < o.offset + o.size && o.offset < c.offset + c.size)
          note({what::kind, called(c), described(c), described(o) + " ('" + o.path + "')", c.offset});
    }
  }

  layout_rows const& cpp_;
  layout_rows const& object_;
  compare_options options_;
  bool by_name_;
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
    if (r.offset > end && r.steps.empty()) line(end, "(" + std::to_string(r.offset - end) + " bytes of padding)");
    line(r.offset, r.type + (r.path.empty() ? "" : " " + r.path));
    end = std::max(end, r.offset + r.size);
  }
  if (l.size > end) line(end, "(" + std::to_string(l.size - end) + " bytes of padding)");
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
  auto first = std::find_if(differences.begin(), differences.end(), [](auto const& d) { return !d.field.empty(); });
  auto const marked = first != differences.end() ? std::optional{first->offset}
                      : differences.empty()      ? std::nullopt
                                                 : std::optional{std::min(cpp.size, object.size)};
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
    bool const mark = !told && marked && here >= *marked;
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

std::string advice(layout_rows const& cpp, layout_rows const& object, std::vector<btf_difference> const& differences) {
  if (differences.empty()) return {};
  auto const of = [&](what w) {
    return std::find_if(differences.begin(), differences.end(),
                        [w](auto const& d) { return d.kind == w && !d.field.empty(); });
  };
  auto const row_at = [](layout_rows const& l, std::string const& path) {
    return std::find_if(l.rows.begin(), l.rows.end(), [&](auto const& r) { return !path.empty() && r.path == path; });
  };
  if (std::any_of(object.rows.begin(), object.rows.end(), [](auto const& r) { return r.kind == row_kind::flexible; }))
    return "the object's type ends in a flexible array: leave it out in C++, and say size_rule::at_least in "
           "event_traits";
  // Two fields that changed places.
  for (auto const& a : differences)
    for (auto const& b : differences) {
      if (a.kind != what::offset || b.kind != what::offset || &a >= &b) continue;
      auto const ca = row_at(cpp, a.field), cb = row_at(cpp, b.field);
      auto const oa = row_at(object, a.field), ob = row_at(object, b.field);
      if (ca == cpp.rows.end() || cb == cpp.rows.end() || oa == object.rows.end() || ob == object.rows.end()) continue;
      if (ca->offset == ob->offset && cb->offset == oa->offset)
        return "the fields '" + a.field + "' and '" + b.field + "' have changed places";
    }
  if (auto const d = of(what::size); d != differences.end()) {
    auto const c = row_at(cpp, d->field);
    bool const long_against_four = d->cpp.starts_with("s64") || d->cpp.starts_with("u64");
    if (long_against_four && (d->object.starts_with("u32") || d->object.starts_with("s32")))
      return "'" + d->field +
             "' is 8 bytes wide in C++, as long is: use std::uint32_t or std::int32_t for __u32 and __s32";
    static_cast<void>(c);
  }
  if (auto const d = of(what::signedness); d != differences.end())
    return "'" + d->field + "' is " +
           (d->cpp.starts_with('s') ? "signed in C++ and unsigned" : "unsigned in C++ and signed") +
           " in the object: std::uint32_t is __u32, std::int32_t is __s32";
  if (auto const d = of(what::missing); d != differences.end())
    return "the C++ type lacks '" + d->field + "' (" + d->object + "): add it, also if it is there for padding alone";
  if (auto const d = of(what::extra); d != differences.end())
    return "the object's type has no '" + d->field + "': remove it, or compile the BPF program anew";
  if (differences.front().field.empty() && differences.size() == 1)
    return "all fields agree, so it is padding at the end: alignment or packing differs";
  return {};
}

}  // namespace tinybpf::detail
