// The types that an object, the kernel or a module describes in BTF, to be looked at.
#pragma once

#include <tinybpf/error.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tinybpf {

namespace detail {
struct btf_tables;
struct btf_access;
}  // namespace detail

/// BTF_KIND_*, with the kernel's numbers. A value without a name here is kept as it is.
enum class btf_kind : std::uint8_t {
  void_ = 0,
  int_ = 1,
  ptr = 2,
  array = 3,
  struct_ = 4,
  union_ = 5,
  enum_ = 6,
  fwd = 7,
  typedef_ = 8,
  volatile_ = 9,
  const_ = 10,
  restrict_ = 11,
  func = 12,
  func_proto = 13,
  var = 14,
  datasec = 15,
  float_ = 16,
  decl_tag = 17,
  type_tag = 18,
  enum64 = 19,
};

/// "struct", "typedef", ...; "unknown" for a kind without a name here. Valid for ever.
[[nodiscard]] std::string_view to_string(btf_kind kind) noexcept;

struct btf_member;
struct btf_enumerator;
struct btf_parameter;

/// One type. A value that shares the types it is from, which live as long as any of them.
///
/// The one that default-construction makes is void: no kind, no name, no size, and it refers to nothing. So is what
/// damaged BTF refers to and has not. What does not apply to a kind is empty, 0 or void.
///
/// Thread-safe: nothing changes. The views that it gives are valid as long as any of its BTF's types.
class btf_type {
 public:
  /// void.
  btf_type() noexcept = default;
  btf_type(btf_type const&) noexcept = default;
  btf_type& operator=(btf_type const&) noexcept = default;
  /// What was moved from is void.
  btf_type(btf_type&& other) noexcept : tables_{std::move(other.tables_)}, id_{std::exchange(other.id_, 0)} {}
  /// @overload
  btf_type& operator=(btf_type&& other) noexcept {
    tables_ = std::move(other.tables_);
    id_ = std::exchange(other.id_, 0);
    return *this;
  }
  ~btf_type() = default;

  /// False for void.
  explicit operator bool() const noexcept { return id_ != 0; }
  /// Its number; those of split BTF go on where its base ends.
  [[nodiscard]] std::uint32_t id() const noexcept { return id_; }
  /// What kind of type it is.
  [[nodiscard]] btf_kind kind() const noexcept;
  /// The name; empty if it has none.
  [[nodiscard]] std::string_view name() const noexcept;
  /// As C would have it: "struct event", "const char *", "__u32[4]".
  [[nodiscard]] std::string to_string() const;
  /// Bytes in memory, seen through typedefs and modifiers; 0 for what has none, such as a function.
  [[nodiscard]] std::size_t size() const noexcept;

  /// What it refers to: a pointer's target, an array's element, the type that a typedef or modifier stands before, a
  /// variable's type, a function's prototype, a prototype's result.
  [[nodiscard]] btf_type target() const noexcept;
  /// Itself without typedefs and modifiers. void if they have no end, as only damaged BTF has it.
  [[nodiscard]] btf_type resolve() const noexcept;

  /// Of integers and enumerations.
  [[nodiscard]] bool is_signed() const noexcept;
  /// Of integers: whether it is C's bool.
  [[nodiscard]] bool is_bool() const noexcept;
  /// Of integers: whether it is plain char, of which text is made.
  [[nodiscard]] bool is_char() const noexcept;
  /// True for structs, unions and the sections of global variables: they have members.
  [[nodiscard]] bool has_members() const noexcept;

  /// The number of an array's elements; 0 for one without an end.
  [[nodiscard]] std::uint32_t count() const noexcept;
  /// Of structs and unions, in their order; of a section the variables in it.
  [[nodiscard]] std::vector<btf_member> members() const;
  /// The member of that name, also one of a nameless struct or union in it, from where this one begins.
  [[nodiscard]] std::optional<btf_member> member(std::string_view name) const;
  /// Of an enumeration.
  [[nodiscard]] std::vector<btf_enumerator> enumerators() const;
  /// Of a function or prototype. A last one of type void stands for "...".
  [[nodiscard]] std::vector<btf_parameter> parameters() const;

  /// The same type of the same BTF.
  friend bool operator==(btf_type const& a, btf_type const& b) noexcept {
    return a.id_ == b.id_ && a.tables_ == b.tables_;
  }

 private:
  friend struct detail::btf_access;
  btf_type(std::shared_ptr<detail::btf_tables const> tables, std::uint32_t id) noexcept;

  std::shared_ptr<detail::btf_tables const> tables_;
  std::uint32_t id_ = 0;
};

/// A member of a struct or union, or a variable of a section.
struct btf_member {
  std::string_view name;  ///< Empty for a nameless struct or union.
  btf_type type;
  std::uint64_t bit_offset = 0;
  std::uint32_t bit_size = 0;  ///< 0 unless it is a bit-field.
};

/// A name of an enumeration.
struct btf_enumerator {
  std::string_view name;
  std::int64_t value = 0;  ///< To be read as unsigned unless the enumeration is signed.
};

/// A parameter of a function.
struct btf_parameter {
  std::string_view name;
  btf_type type;
};

/// All types of an object, of the kernel or of a module: `object::btf()`, `btf::kernel()`.
///
/// A value; copies share the types, which outlive the object they came from. Closed when default-constructed: then it
/// is of no types, and every fallible call reports `errc::closed`. Thread-safe: nothing changes.
class btf {
 public:
  /// Closed.
  btf() noexcept = default;

  /// The running kernel's. Costs about 10 ms unless somebody has it already. Errors: the system's, `errc::no_btf` for a
  /// kernel that describes no types.
  [[nodiscard]] static btf kernel();
  /// @overload
  static btf kernel(error_code& ec);
  /// @overload
  static btf kernel(error_code& ec, diagnostics& details);

  /// A loaded module's, on top of the kernel's, which is its base. Errors: as for `kernel`, ENOENT for a module that is
  /// not loaded or describes no types.
  [[nodiscard]] static btf module(std::string_view name);
  /// @overload
  static btf module(std::string_view name, error_code& ec);
  /// @overload
  static btf module(std::string_view name, error_code& ec, diagnostics& details);

  /// Reads a file: bare BTF, such as those of BTFHub, or the .BTF section of an ELF file. `base` is what the types of
  /// split BTF stand on; closed for others. Errors: the system's, `errc::no_btf` for an ELF file without types,
  /// `errc::invalid_object` for what is no BTF.
  [[nodiscard]] static btf open(std::filesystem::path const& file, btf const& base = {});
  /// @overload
  static btf open(std::filesystem::path const& file, btf const& base, error_code& ec);
  /// @overload
  static btf open(std::filesystem::path const& file, btf const& base, error_code& ec, diagnostics& details);

  /// True unless default-constructed.
  [[nodiscard]] bool is_open() const noexcept { return tables_ != nullptr; }
  /// @overload
  explicit operator bool() const noexcept { return is_open(); }

  /// What split BTF stands on; closed for others.
  [[nodiscard]] btf base() const noexcept;
  /// Its types in the order of their numbers, without those of its base.
  [[nodiscard]] std::vector<btf_type> types() const;

  /// The type of that name: a struct if there is one, or else a union, typedef, enumeration, number, forward
  /// declaration, function or variable, in this order; also of the base. Nothing if there is none.
  [[nodiscard]] std::optional<btf_type> find(std::string_view name) const;
  /// @overload Of that kind.
  [[nodiscard]] std::optional<btf_type> find(std::string_view name, btf_kind kind) const;

  /// As `find`. Errors: `errc::closed`, `errc::not_found` with near names.
  [[nodiscard]] btf_type type(std::string_view name) const;
  /// @overload
  btf_type type(std::string_view name, error_code& ec) const;
  /// @overload
  btf_type type(std::string_view name, error_code& ec, diagnostics& details) const;
  /// @overload By its number. Errors: `errc::closed`, `errc::not_found`.
  [[nodiscard]] btf_type type(std::uint32_t id) const;
  /// @overload
  btf_type type(std::uint32_t id, error_code& ec) const;
  /// @overload
  btf_type type(std::uint32_t id, error_code& ec, diagnostics& details) const;

 private:
  friend struct detail::btf_access;
  explicit btf(std::shared_ptr<detail::btf_tables const> tables) noexcept;

  std::shared_ptr<detail::btf_tables const> tables_;
};

}  // namespace tinybpf
