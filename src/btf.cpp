#include <tinybpf/btf.hpp>

#include "detail/btf_tables.hpp"
#include "detail/log_capture.hpp"
#include "detail/report.hpp"

#include <array>
#include <cerrno>
#include <fstream>
#include <mutex>
#include <utility>

namespace tinybpf {
namespace {

using detail::btf_tables;
using detail::deepest_type;
using detail::name_at;
using detail::report;

// Nor may anybody wait for what damaged structs name together.
constexpr std::size_t most_members = 100'000;

constexpr std::array<std::string_view, 20> kinds{
    "void",     "int",     "pointer",  "array",    "struct",   "union",    "enum",
    "forward",  "typedef", "volatile", "const",    "restrict", "function", "function prototype",
    "variable", "section", "float",    "decl tag", "type tag", "enum64"};

::btf_type const* raw_type(btf_tables const* tables, std::uint32_t id) noexcept {
  return tables == nullptr || id == 0 ? nullptr : btf__type_by_id(tables->raw, id);
}

::btf_type const* raw_type(btf_type const& t) noexcept { return raw_type(detail::btf_access::tables(t).get(), t.id()); }

bool is_record(::btf_type const* t) { return t != nullptr && btf_is_composite(t); }

// What stands before a type's name.
std::string_view keyword(btf_type const& t) {
  switch (t.kind()) {
    case btf_kind::fwd:
      return btf_kflag(raw_type(t)) ? "union " : "struct ";
    case btf_kind::struct_:
      return "struct ";
    case btf_kind::union_:
      return "union ";
    case btf_kind::enum_:
    case btf_kind::enum64:
      return "enum ";
    default:
      return {};
  }
}

// A damaged function that takes itself several times would be longer than memory: no declaration has more words.
constexpr int most_words = 1000;

bool is_modifier(btf_kind kind) {
  return kind == btf_kind::const_ || kind == btf_kind::volatile_ || kind == btf_kind::restrict_;
}

/// A declaration of C, read from the inside to the outside: `inner` is what was read so far.
std::string declared(btf_type const& t, std::string inner, int depth, int& words) {
  if (depth > deepest_type || ++words > most_words) return "...";
  auto const outwards = [&](std::string text) { return declared(t.target(), std::move(text), depth + 1, words); };
  auto const spaced = [&](std::string word) {
    return inner.empty() || inner.starts_with('[') ? word + inner : word + " " + inner;
  };
  auto const around = [&](std::string suffix) { return (inner.starts_with('*') ? "(" + inner + ")" : inner) + suffix; };
  auto const arguments = [&](btf_type const& prototype) {
    std::string text;
    for (auto const& p : prototype.parameters()) {
      if (words > most_words) break;
      text += (text.empty() ? "" : ", ") + (p.type ? declared(p.type, {}, depth + 1, words) : std::string{"..."});
    }
    return "(" + (text.empty() ? "void" : text) + ")";
  };
  switch (t.kind()) {
    case btf_kind::void_:
      return spaced("void");
    case btf_kind::ptr:
      return outwards("*" + inner);
    case btf_kind::array:
      return outwards(around("[" + (t.count() != 0 ? std::to_string(t.count()) : "") + "]"));
    case btf_kind::const_:
    case btf_kind::volatile_:
    case btf_kind::restrict_: {
      std::string const word{to_string(t.kind())};
      // Of a pointer, all of them stand behind the asterisk.
      auto modifiers = word;
      auto of = t.target();
      for (int i = 0; i < deepest_type && is_modifier(of.kind()); ++i, of = of.target())
        modifiers += " " + std::string{to_string(of.kind())};
      if (of.kind() == btf_kind::ptr) return declared(of, spaced(modifiers), depth + 1, words);
      return word + " " + outwards(std::move(inner));
    }
    case btf_kind::type_tag:
      return outwards(std::move(inner));
    case btf_kind::func_proto:
      return outwards(around(arguments(t)));
    case btf_kind::func:
    case btf_kind::var:
      return outwards(std::string{t.name()});
    default:
      return spaced(std::string{keyword(t)} + (t.name().empty() ? "(anonymous)" : std::string{t.name()}));
  }
}

std::string declared(btf_type const& t) {
  int words = 0;
  return declared(t, {}, 0, words);
}

btf opened(::btf* raw, int err, std::string const& source, std::string log, std::shared_ptr<btf_tables const> base,
           error_code& ec, diagnostics& details) {
  if (raw == nullptr) {
    details.log = std::move(log);
    auto code = detail::from_libbpf(err);
    if (code == boost::system::errc::invalid_argument || code == boost::system::errc::protocol_error)
      code = errc::invalid_object;
    if (code == boost::system::errc::no_message_available) code = errc::no_btf;
    report(ec, details, code, "cannot read the types of " + source);
    return {};
  }
  btf__pointer_size(raw);  // which libbpf finds out, and keeps, when it is first asked: on one thread, that is
  return detail::btf_access::make(std::make_shared<btf_tables const>(raw, source, std::move(base)));
}

// Too short for a header's first bytes, as far as it is known: what the kernel makes up has no size.
bool too_short(std::filesystem::path const& file) {
  std::ifstream in{file, std::ios::binary};
  char magic[2];
  return in && !in.read(magic, sizeof magic);
}

}  // namespace

std::string_view to_string(btf_kind kind) noexcept {
  auto const i = static_cast<std::size_t>(kind);
  return i < kinds.size() ? kinds[i] : "unknown";
}

btf_type::btf_type(std::shared_ptr<detail::btf_tables const> tables, std::uint32_t id) noexcept
    : tables_{std::move(tables)}, id_{id} {
  if (raw_type(tables_.get(), id_) == nullptr) *this = {};
}

btf_kind btf_type::kind() const noexcept {
  auto const* const t = raw_type(*this);
  return t == nullptr ? btf_kind::void_ : static_cast<btf_kind>(::btf_kind(t));
}

std::string_view btf_type::name() const noexcept {
  auto const* const t = raw_type(*this);
  return t == nullptr ? std::string_view{} : name_at(tables_->raw, t->name_off);
}

std::string btf_type::to_string() const { return declared(*this); }

std::size_t btf_type::size() const noexcept {
  auto const* const t = raw_type(*this);
  if (t == nullptr) return 0;
  auto const size = btf_is_datasec(t) ? __s64{t->size} : btf__resolve_size(tables_->raw, id_);
  return size > 0 ? static_cast<std::size_t>(size) : 0;
}

btf_type btf_type::target() const noexcept {
  auto const* const t = raw_type(*this);
  if (t == nullptr) return {};
  switch (kind()) {
    case btf_kind::array:
      return {tables_, ::btf_array(t)->type};
    case btf_kind::ptr:
    case btf_kind::typedef_:
    case btf_kind::volatile_:
    case btf_kind::const_:
    case btf_kind::restrict_:
    case btf_kind::func:
    case btf_kind::func_proto:
    case btf_kind::var:
    case btf_kind::decl_tag:
    case btf_kind::type_tag:
      return {tables_, t->type};
    default:
      return {};
  }
}

btf_type btf_type::resolve() const noexcept {
  return tables_ ? btf_type{tables_, detail::resolved(tables_->raw, id_)} : btf_type{};
}

bool btf_type::is_signed() const noexcept {
  auto const* const t = raw_type(*this);
  if (t == nullptr) return false;
  if (btf_is_any_enum(t)) return btf_kflag(t);
  return btf_is_int(t) && (btf_int_encoding(t) & BTF_INT_SIGNED) != 0;
}

bool btf_type::is_bool() const noexcept {
  auto const* const t = raw_type(*this);
  return t != nullptr && btf_is_int(t) && (btf_int_encoding(t) & BTF_INT_BOOL) != 0;
}

// Compilers do not set BTF_INT_CHAR.
bool btf_type::is_char() const noexcept {
  auto const* const t = raw_type(*this);
  return t != nullptr && btf_is_int(t) && t->size == 1 &&
         ((btf_int_encoding(t) & BTF_INT_CHAR) != 0 || name_at(tables_->raw, t->name_off) == "char");
}

bool btf_type::has_members() const noexcept {
  auto const* const t = raw_type(*this);
  return is_record(t) || (t != nullptr && btf_is_datasec(t));
}

std::uint32_t btf_type::count() const noexcept {
  auto const* const t = raw_type(*this);
  return t != nullptr && btf_is_array(t) ? ::btf_array(t)->nelems : 0;
}

std::vector<btf_member> btf_type::members() const {
  std::vector<btf_member> all;
  auto const* const t = raw_type(*this);
  if (is_record(t)) {
    all.reserve(btf_vlen(t));
    for (__u32 i = 0; i < btf_vlen(t); ++i) {
      auto const& m = btf_members(t)[i];
      all.push_back({name_at(tables_->raw, m.name_off), btf_type{tables_, m.type}, btf_member_bit_offset(t, i),
                     btf_member_bitfield_size(t, i)});
    }
  } else if (t != nullptr && btf_is_datasec(t)) {
    all.reserve(btf_vlen(t));
    for (__u32 i = 0; i < btf_vlen(t); ++i) {
      auto const& v = btf_var_secinfos(t)[i];
      btf_type const variable{tables_, v.type};
      all.push_back({variable.name(), variable.target(), std::uint64_t{v.offset} * 8, 0});
    }
  }
  return all;
}

std::optional<btf_member> btf_type::member(std::string_view wanted) const {
  if (wanted.empty()) return std::nullopt;
  std::size_t seen = 0;
  auto const search = [&](auto const& self, btf_type const& in, std::uint64_t offset,
                          int depth) -> std::optional<btf_member> {
    if (depth > deepest_type) return std::nullopt;
    for (auto& m : in.members()) {
      if (++seen > most_members) return std::nullopt;
      m.bit_offset += offset;
      if (m.name == wanted) return std::move(m);
      if (!m.name.empty()) continue;
      if (auto const type = m.type.resolve(); type.has_members())
        if (auto inner = self(self, type, m.bit_offset, depth + 1)) return inner;
    }
    return std::nullopt;
  };
  return search(search, resolve(), 0, 0);
}

std::vector<btf_enumerator> btf_type::enumerators() const {
  std::vector<btf_enumerator> all;
  auto const* const t = raw_type(*this);
  if (t == nullptr || !btf_is_any_enum(t)) return all;
  all.reserve(btf_vlen(t));
  for (__u32 i = 0; i < btf_vlen(t); ++i) {
    if (btf_is_enum(t)) {
      auto const& e = btf_enum(t)[i];
      all.push_back({name_at(tables_->raw, e.name_off),
                     btf_kflag(t) ? std::int64_t{e.val} : std::int64_t{static_cast<std::uint32_t>(e.val)}});
    } else {
      auto const* const e = btf_enum64(t) + i;
      all.push_back({name_at(tables_->raw, e->name_off), static_cast<std::int64_t>(btf_enum64_value(e))});
    }
  }
  return all;
}

std::vector<btf_parameter> btf_type::parameters() const {
  auto const* t = raw_type(*this);
  if (t != nullptr && btf_is_func(t)) t = raw_type(tables_.get(), t->type);
  std::vector<btf_parameter> all;
  if (t == nullptr || !btf_is_func_proto(t)) return all;
  all.reserve(btf_vlen(t));
  for (__u32 i = 0; i < btf_vlen(t); ++i) {
    auto const& p = btf_params(t)[i];
    all.push_back({name_at(tables_->raw, p.name_off), btf_type{tables_, p.type}});
  }
  return all;
}

btf::btf(std::shared_ptr<detail::btf_tables const> tables) noexcept : tables_{std::move(tables)} {}

btf btf::kernel() {
  return detail::or_throw([](auto& ec, auto& details) { return kernel(ec, details); });
}

btf btf::kernel(error_code& ec) {
  diagnostics details;
  return kernel(ec, details);
}

btf btf::kernel(error_code& ec, diagnostics& details) {
  detail::begin(ec, details);
  // Megabytes: all who look at it share it.
  static std::mutex mutex;
  static std::weak_ptr<btf_tables const> known;
  std::lock_guard const lock{mutex};
  if (auto tables = known.lock()) return btf{std::move(tables)};
  detail::log_capture log;
  auto* const raw = btf__load_vmlinux_btf();
  int const err = errno;
  auto all = opened(raw, err == ESRCH ? ENODATA : err, "the kernel", log.take(), nullptr, ec, details);
  known = all.tables_;
  return all;
}

btf btf::module(std::string_view name) {
  return detail::or_throw([&](auto& ec, auto& details) { return module(name, ec, details); });
}

btf btf::module(std::string_view name, error_code& ec) {
  diagnostics details;
  return module(name, ec, details);
}

btf btf::module(std::string_view name, error_code& ec, diagnostics& details) {
  auto const base = kernel(ec, details);
  if (ec) return {};
  std::filesystem::path const folder{"/sys/kernel/btf"};
  // A name is no path; and the kernel itself, which stands in the same folder, is no module.
  if (name.empty() || name == "." || name == ".." || name == "vmlinux" || name.find('/') != name.npos) {
    report(ec, details, detail::from_libbpf(ENOENT), "no module is called '" + std::string{name} + "'");
    return {};
  }
  return open(folder / name, base, ec, details);
}

btf btf::open(std::filesystem::path const& file, btf const& base) {
  return detail::or_throw([&](auto& ec, auto& details) { return open(file, base, ec, details); });
}

btf btf::open(std::filesystem::path const& file, btf const& base, error_code& ec) {
  diagnostics details;
  return open(file, base, ec, details);
}

btf btf::open(std::filesystem::path const& file, btf const& base, error_code& ec, diagnostics& details) {
  detail::begin(ec, details);
  detail::log_capture log;
  std::error_code status;
  auto const is_file = std::filesystem::is_regular_file(file, status);  // opening a FIFO would wait for its writer
  ::btf* raw = nullptr;
  int err = status ? status.value() : EINVAL;
  // libbpf has EIO for a file that is too short, and for ELF without types what it has for a file that is not there.
  if (is_file && too_short(file)) {
    err = EINVAL;
  } else if (is_file) {
    raw = btf__parse_split(file.c_str(), base.tables_ ? base.tables_->raw : nullptr);
    err = errno == ENOENT ? ENODATA : errno;
  }
  auto all = opened(raw, err, file.string(), log.take(), base.tables_, ec, details);
  return all;
}

btf btf::base() const noexcept { return btf{tables_ ? tables_->base : nullptr}; }

std::vector<btf_type> btf::types() const {
  std::vector<btf_type> all;
  if (!tables_) return all;
  auto const end = btf__type_cnt(tables_->raw);
  std::uint32_t id = tables_->base ? btf__type_cnt(tables_->base->raw) : 1;
  all.reserve(end - id);
  for (; id < end; ++id) all.push_back(detail::btf_access::make(tables_, id));
  return all;
}

std::optional<btf_type> btf::find(std::string_view name) const {
  auto const id = tables_ ? detail::find_type(tables_->raw, name) : 0;
  return id != 0 ? std::optional{detail::btf_access::make(tables_, id)} : std::nullopt;
}

std::optional<btf_type> btf::find(std::string_view name, btf_kind kind) const {
  if (!tables_ || !detail::may_be_name(name)) return std::nullopt;
  auto const id = btf__find_by_name_kind(tables_->raw, std::string{name}.c_str(), static_cast<__u32>(kind));
  return id > 0 ? std::optional{detail::btf_access::make(tables_, static_cast<std::uint32_t>(id))} : std::nullopt;
}

btf_type btf::type(std::string_view name) const {
  return detail::or_throw([&](auto& ec, auto& details) { return type(name, ec, details); });
}

btf_type btf::type(std::string_view name, error_code& ec) const {
  diagnostics details;
  return type(name, ec, details);
}

btf_type btf::type(std::string_view name, error_code& ec, diagnostics& details) const {
  detail::begin(ec, details);
  auto const quoted = "type '" + std::string{name} + "'";
  if (!tables_) {
    report(ec, details, errc::closed, quoted + " of no BTF");
    return {};
  }
  if (auto found = find(name)) return *std::move(found);
  details.names = detail::type_names(tables_->raw);
  report(ec, details, errc::not_found, tables_->source + " has no " + quoted, detail::near_names(name, details.names));
  details.names = detail::nearest(name, std::move(details.names), 1000);
  return {};
}

btf_type btf::type(std::uint32_t id) const {
  return detail::or_throw([&](auto& ec, auto& details) { return type(id, ec, details); });
}

btf_type btf::type(std::uint32_t id, error_code& ec) const {
  diagnostics details;
  return type(id, ec, details);
}

btf_type btf::type(std::uint32_t id, error_code& ec, diagnostics& details) const {
  detail::begin(ec, details);
  if (!tables_) {
    report(ec, details, errc::closed, "a type of no BTF");
    return {};
  }
  auto found = detail::btf_access::make(tables_, id);
  if (!found) report(ec, details, errc::not_found, tables_->source + " has no type " + std::to_string(id));
  return found;
}

}  // namespace tinybpf
