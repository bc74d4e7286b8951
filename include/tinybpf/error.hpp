// Errors: errno values stay in boost::system::system_category, the library's own conditions have a category of
// their own, and what an error code cannot carry travels beside it in a `diagnostics`.
//
// Every fallible function f comes in three forms:
//   f(args...)                             throws tinybpf::error
//   f(args..., error_code&)                reports through the code
//   f(args..., error_code&, diagnostics&)  and says in words what happened
#pragma once

#include <boost/system/error_code.hpp>
#include <boost/system/system_error.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace tinybpf {

using boost::system::error_category;
using boost::system::error_code;

/// Conditions that only this library knows. Everything the kernel reports keeps its errno in `system_category`.
enum class errc {
  closed = 1,               ///< The handle is closed, default-constructed or moved from.
  not_found,                ///< The object has no program, map or type of that name.
  not_loaded,               ///< The operation needs a loaded object.
  already_loaded,           ///< The operation is possible only before the object is loaded.
  operation_in_progress,    ///< Another operation on the same object or buffer has not ended yet.
  invalid_object,           ///< The file or image is not a BPF object that libbpf can read.
  not_supported_by_libbpf,  ///< The libbpf at hand does not know the feature.
  not_supported,            ///< The thing itself cannot do this: its kind, or the kernel, has no such operation.
  wrong_map_type,           ///< The map is of another type than the operation needs.
  size_mismatch,            ///< A key or value has another size than the map's.
  no_btf,                   ///< The object carries no BTF.
  type_mismatch,            ///< A C++ type does not fit the object's type of that name.
  type_conflict,            ///< The C++ type is registered under another name already.
  record_size,              ///< A record has another size than the type it was read as.
  unknown_tag,              ///< A record is of none of the types it may be read as.
  record_corrupt,           ///< A record's header contradicts the ring's positions.
  out_of_range,             ///< A number that the type it is wanted as cannot hold.
  wrong_program_type,       ///< The program is of another type than the operation needs, or no program at all.
};

/// The category of `errc`. Thread-safe; lives for ever.
error_category const& tinybpf_category() noexcept;

/// Makes an error_code of the library's category.
error_code make_error_code(errc e) noexcept;

/// One way in which a C++ type differs from the type in BTF that it should fit.
struct btf_difference {
  /// What differs.
  enum class what : std::uint8_t {
    size,        ///< Of the whole type, or of a field.
    offset,      ///< The field lies elsewhere.
    kind,        ///< Such as a number where the object has an array.
    signedness,  ///< Signed against unsigned.
    count,       ///< Of an array's elements.
    name,        ///< The field is called otherwise.
    missing,     ///< The object has a field that the C++ type has not.
    extra,       ///< The C++ type has a field that the object has not.
  };

  what kind = what::size;
  std::string
      field;        ///< Its path, such as "filter.ports"; or its offset, where names are not known; empty for the type.
  std::string cpp;  ///< What C++ has.
  std::string object;  ///< What the object has.
  std::size_t offset = 0;

  friend bool operator==(btf_difference const&, btf_difference const&) = default;
};

/// What an error code cannot carry. A plain value: fields that do not apply are empty or zero.
struct diagnostics {
  diagnostics() = default;

  std::string message;                      ///< One sentence: what was asked for and what is wrong.
  std::string hint;                         ///< What would help, where the library knows.
  std::string log;                          ///< Everything libbpf and the kernel's verifier said during the call.
  std::string program;                      ///< The program concerned.
  std::string map;                          ///< The map concerned.
  std::size_t expected_size = 0;            ///< Bytes that the type or map asks for.
  std::size_t actual_size = 0;              ///< Bytes that were there.
  std::size_t done = 0;                     ///< Of a batch: how many entries were done before the error.
  std::uint64_t position = 0;               ///< The record's position in its stream, in bytes since the ring was made.
  std::vector<std::string> names;           ///< The names that do exist.
  std::vector<btf_difference> differences;  ///< Of a C++ type and BTF: all of them.
  std::string layouts;                      ///< Both side by side, for people.

  /// True if nothing was said.
  [[nodiscard]] bool empty() const noexcept;
  /// Message, hint and log as a text for people; several lines where there is a log.
  [[nodiscard]] std::string to_string() const;
};

/// What the throwing forms throw: an Asio-style system_error that carries its diagnostics. Copying never throws.
class error : public boost::system::system_error {
 public:
  /// Takes the code and the words beside it.
  error(error_code ec, diagnostics details);

  // A move copies, so that an error that was moved from still has its text.
  error(error const&) noexcept = default;
  error& operator=(error const&) noexcept = default;
  ~error() override = default;

  /// The code's message, then the diagnostics as text. Valid as long as a copy of the exception lives.
  [[nodiscard]] char const* what() const noexcept override;

  /// The diagnostics. Valid as long as a copy of the exception lives.
  [[nodiscard]] diagnostics const& get_diagnostics() const noexcept;

 private:
  struct payload;
  std::shared_ptr<payload const> payload_;
};

namespace detail {

[[noreturn]] void throw_error(error_code ec, diagnostics&& details);

/// Turns the (error_code&, diagnostics&) form of a function into its throwing form.
template <class F>
auto or_throw(F&& f) {
  error_code ec;
  diagnostics details;
  if constexpr (std::is_void_v<decltype(f(ec, details))>) {
    f(ec, details);
    if (ec) throw_error(ec, std::move(details));
  } else {
    auto result = f(ec, details);
    if (ec) throw_error(ec, std::move(details));
    return result;
  }
}

}  // namespace detail
}  // namespace tinybpf

template <>
struct boost::system::is_error_code_enum<tinybpf::errc> : std::true_type {};
