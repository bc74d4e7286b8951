// A BPF object file: opened, adjusted, loaded.
#pragma once

#include <tinybpf/error.hpp>
#include <tinybpf/layout.hpp>
#include <tinybpf/map.hpp>
#include <tinybpf/program.hpp>

#include <concepts>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <typeinfo>
#include <vector>

namespace tinybpf {

class btf;
template <shared_with_kernel T>
  requires std::default_initializable<T>
class global_variable;

namespace detail {
class object_state;
struct global_place;
struct handle_access;
}  // namespace detail

/// How an object is to be opened.
struct open_options {
  /// The kernel's types, for CO-RE relocations on a kernel that does not describe its own: a file of bare BTF, such as
  /// those of BTFHub. The running kernel's if empty. Opening fails if there is no such file, and loading if it is no
  /// BTF.
  std::filesystem::path btf_custom_path = {};

  /// The folder in which maps that are declared with `__uint(pinning, LIBBPF_PIN_BY_NAME)` are pinned under their
  /// names, and found again: one that is there is used instead of a new one. /sys/fs/bpf if empty. Loading fails with
  /// EINVAL if what is pinned there is another kind of map.
  std::filesystem::path pin_root_path = {};

  /// The bpffs, mounted with `delegate_cmds` and its like, that gives this user namespace a BPF token, with which the
  /// object is created: that is how a container may do so without the capabilities of the machine. If empty, libbpf 1.4
  /// tries /sys/fs/bpf, and goes on without a token where that gives none. Opening fails with
  /// `errc::not_supported_by_libbpf` before libbpf 1.4, and loading where the path gives no token: EINVAL before Linux
  /// 6.9.
  std::filesystem::path bpf_token_path = {};
};

/// A compiled BPF object, from open to close.
///
/// Move-only. Its programs, maps and links share its state, which is freed when the last of them goes, so that
/// destroying the object disturbs no stream, map or link. Closed when default-constructed, moved from or closed: then
/// `programs()` and `maps()` are empty and every fallible call reports `errc::closed`.
///
/// Nothing is printed: what libbpf and the verifier say is in the diagnostics of the call that failed.
///
/// Thread-safety: distinct objects are independent, also while they load. One object is for one thread at a time, but
/// for its handles, which say their own rules. While a load runs elsewhere (`async_load`), what needs the object as it
/// was, or as it will be, reports `errc::operation_in_progress`; its programs, maps and types can be looked up.
class object {
 public:
  /// A closed object.
  object() noexcept;
  object(object&&) noexcept;
  object& operator=(object&&) noexcept;
  ~object();

  /// Opens a file without loading it. Errors: the system's (ENOENT, EISDIR, EACCES), `errc::invalid_object` for what is
  /// no BPF object.
  [[nodiscard]] static object open(std::filesystem::path const& file);
  /// @overload
  static object open(std::filesystem::path const& file, error_code& ec);
  /// @overload
  static object open(std::filesystem::path const& file, error_code& ec, diagnostics& details);

  /// @overload
  [[nodiscard]] static object open(std::filesystem::path const& file, open_options const& options);
  /// @overload
  static object open(std::filesystem::path const& file, open_options const& options, error_code& ec);
  /// @overload
  static object open(std::filesystem::path const& file, open_options const& options, error_code& ec,
                     diagnostics& details);

  /// Opens an image in memory, which may go once the call is over; `name` is the object's name. Errors: as above.
  [[nodiscard]] static object open(std::span<std::byte const> image, std::string_view name);
  /// @overload
  static object open(std::span<std::byte const> image, std::string_view name, error_code& ec);
  /// @overload
  static object open(std::span<std::byte const> image, std::string_view name, error_code& ec, diagnostics& details);

  /// Creates the maps, and loads the programs through the verifier, which may take seconds: `async_load` keeps that off
  /// the loop. Errors: `errc::closed`, `errc::already_loaded`, `errc::not_supported_by_libbpf` (a section that this
  /// libbpf does not know), EPERM (with the capability that is missing), or what the verifier answered, with the
  /// program's name and the whole log in the diagnostics. After a failure the object cannot be loaded again: open a new
  /// one.
  void load();
  /// @overload
  void load(error_code& ec);
  /// @overload
  void load(error_code& ec, diagnostics& details);

  /// Attaches, as `program::attach` does, each program that was loaded, has `autoattach` on, and whose section names a
  /// place that libbpf attaches to; those that need a call of their own, such as XDP programs, are left out. The links
  /// come in the order of `programs()`. When one fails, none stays attached, and the diagnostics name the program.
  /// Blocks: `async_attach` keeps it off the loop. Errors: `errc::closed`, `errc::not_loaded`, those of
  /// `program::attach`.
  [[nodiscard]] std::vector<link> attach() const;
  /// @overload
  std::vector<link> attach(error_code& ec) const;
  /// @overload
  std::vector<link> attach(error_code& ec, diagnostics& details) const;

  /// Unloads: programs and maps are released, and their handles report `errc::closed` from now on. Links stay attached,
  /// buffers go on reading, each through what it owns. Idempotent. Blocks while a load of this object runs elsewhere.
  void close() noexcept;

  /// True from open to close.
  [[nodiscard]] bool is_open() const noexcept;
  /// @overload
  explicit operator bool() const noexcept { return is_open(); }
  /// True from a successful load to close.
  [[nodiscard]] bool is_loaded() const noexcept;
  /// The file's name without its endings, or the name given to the image. Valid as long as the object; empty when
  /// closed.
  [[nodiscard]] std::string_view name() const noexcept;

  /// All programs, in the file's order.
  [[nodiscard]] std::vector<tinybpf::program> programs() const;
  /// All maps, in the file's order, with those that libbpf makes for global variables.
  [[nodiscard]] std::vector<tinybpf::map> maps() const;

  /// The program of that name. Errors: `errc::closed`, `errc::not_found` with the names that exist.
  [[nodiscard]] tinybpf::program program(std::string_view name) const;
  /// @overload
  tinybpf::program program(std::string_view name, error_code& ec) const;
  /// @overload
  tinybpf::program program(std::string_view name, error_code& ec, diagnostics& details) const;

  /// The map of that name. Errors: as for `program`.
  [[nodiscard]] tinybpf::map map(std::string_view name) const;
  /// @overload
  tinybpf::map map(std::string_view name, error_code& ec) const;
  /// @overload
  tinybpf::map map(std::string_view name, error_code& ec, diagnostics& details) const;

  /// The global variable of that name, in .data, .bss, .rodata, .kconfig or a section of one's own; see
  /// global_variable.hpp. Its type is checked as that of a map's values is. Errors: `errc::closed`, `errc::no_btf`,
  /// `errc::not_found` with the names that exist, `errc::size_mismatch`, `errc::type_mismatch`.
  template <shared_with_kernel T>
    requires std::default_initializable<T>
  [[nodiscard]] global_variable<T> global(std::string_view name, field_names names = field_names::check) const;
  /// @overload
  template <shared_with_kernel T>
    requires std::default_initializable<T>
  global_variable<T> global(std::string_view name, error_code& ec) const;
  /// @overload
  template <shared_with_kernel T>
    requires std::default_initializable<T>
  global_variable<T> global(std::string_view name, field_names names, error_code& ec, diagnostics& details) const;

  /// The types that the object describes, which outlive it. Errors: `errc::closed`, `errc::no_btf`.
  [[nodiscard]] tinybpf::btf btf() const;
  /// @overload
  tinybpf::btf btf(error_code& ec) const;
  /// @overload
  tinybpf::btf btf(error_code& ec, diagnostics& details) const;

  /// Says that T is the object's struct, union or typedef `btf_name`, and holds the two against each other: the size,
  /// and every field's place, size, kind, signedness, number of elements, and name if that of T is known. From then on
  /// streams and maps of this object know T. Registering the same pair again does nothing. Errors: `errc::closed`,
  /// `errc::no_btf`, `errc::not_found` with near names, `errc::type_mismatch` with all differences and both layouts,
  /// `errc::type_conflict` if T has another name already.
  template <shared_with_kernel T>
  void register_type(std::string_view btf_name, field_names names = field_names::check) {
    detail::or_throw(
        [&](error_code& ec, diagnostics& details) { register_shape(shape_of<T>(), btf_name, names, ec, details); });
  }
  /// @overload
  template <shared_with_kernel T>
  void register_type(std::string_view btf_name, error_code& ec) {
    diagnostics details;
    register_shape(shape_of<T>(), btf_name, field_names::check, ec, details);
  }
  /// @overload
  template <shared_with_kernel T>
  void register_type(std::string_view btf_name, error_code& ec, diagnostics& details) {
    register_shape(shape_of<T>(), btf_name, field_names::check, ec, details);
  }
  /// @overload
  template <shared_with_kernel T>
  void register_type(std::string_view btf_name, field_names names, error_code& ec) {
    diagnostics details;
    register_shape(shape_of<T>(), btf_name, names, ec, details);
  }
  /// @overload
  template <shared_with_kernel T>
  void register_type(std::string_view btf_name, field_names names, error_code& ec, diagnostics& details) {
    register_shape(shape_of<T>(), btf_name, names, ec, details);
  }

  /// The object's name of a type that was registered, or that a stream has found to fit; empty if T is not known, or
  /// the object is closed.
  template <shared_with_kernel T>
  [[nodiscard]] std::string lookup_btf_name() const {
    return name_of(typeid(T));
  }
  /// The C++ type that stands for the object's type of that name; nothing if none does, or the object is closed.
  [[nodiscard]] std::optional<type_shape> lookup_type(std::string_view btf_name) const;

 private:
  friend struct detail::handle_access;
  explicit object(std::shared_ptr<detail::object_state> state) noexcept;
  void register_shape(type_shape shape, std::string_view btf_name, field_names names, error_code& ec,
                      diagnostics& details);
  [[nodiscard]] std::string name_of(std::type_info const& type) const;
  [[nodiscard]] detail::global_place find_global(std::string_view name, type_shape const& shape, field_names names,
                                                 error_code& ec, diagnostics& details) const;

  std::shared_ptr<detail::object_state> state_;
};

/// Opens and loads in one step. Errors: those of `object::open` and `object::load`.
[[nodiscard]] object load(std::filesystem::path const& file);
/// @overload
object load(std::filesystem::path const& file, error_code& ec);
/// @overload
object load(std::filesystem::path const& file, error_code& ec, diagnostics& details);

}  // namespace tinybpf
