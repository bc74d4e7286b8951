// Reading iterators without a loop.
#pragma once

#include <tinybpf/detail/iter_reading.hpp>
#include <tinybpf/error.hpp>
#include <tinybpf/event.hpp>
#include <tinybpf/iter_options.hpp>
#include <tinybpf/link.hpp>
#include <tinybpf/program.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tinybpf {

namespace detail {

/// What an iterator's output can be read as: records of one length, one behind the other.
template <class T>
concept iter_record =
    event<T> && size_rule_of<T>() == size_rule::exact && alignof(T) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__;

std::shared_ptr<iter_reading> open_iter(link const& l, error_code& ec, diagnostics& details);
std::shared_ptr<iter_reading> open_iter(program const& p, iter_options const& options, error_code& ec,
                                        diagnostics& details);

/// Says that a call was made on a closed stream or reader, or for no records.
void refuse_iter(errc code, char const* what, error_code& ec, diagnostics& details);
void refuse_no_records(error_code& ec, diagnostics& details);
/// Says that no thread could be had to read a page.
void explain_unread(iter_reading const& reading, diagnostics& details);

}  // namespace detail

/// Reads what an iterator writes, page by page, and blocks as long as the kernel walks: `iter_stream` is the same for a
/// loop, and says what both have in common.
///
///     tinybpf::iter_reader tasks{obj.program("dump_task")};
///     while (auto t = tasks.next<task_record>()) ...
///
/// Move-only. Closed when default-constructed, moved from or after `close()`: reads report `errc::closed`.
/// Thread-safety: distinct readers are independent; one is for one thread at a time.
class iter_reader {
 public:
  /// A closed reader.
  iter_reader() noexcept = default;

  /// Begins to read the iterator that a link holds attached; the link may go. Errors: `errc::closed` for an empty link,
  /// `errc::not_supported` for one of no iterator, and the kernel's.
  explicit iter_reader(link const& l);
  /// @overload
  iter_reader(link const& l, error_code& ec);
  /// @overload
  iter_reader(link const& l, error_code& ec, diagnostics& details);
  /// Attaches an iterator, and begins to read it. Errors: as above, and those of `program::attach_iter`.
  explicit iter_reader(program const& p, iter_options const& options = {});
  /// @overload
  iter_reader(program const& p, iter_options const& options, error_code& ec);
  /// @overload
  iter_reader(program const& p, iter_options const& options, error_code& ec, diagnostics& details);

  /// True until `close()`.
  [[nodiscard]] bool is_open() const noexcept { return reading_ != nullptr; }
  /// @overload
  explicit operator bool() const noexcept { return is_open(); }

  /// The program's name, or what kind of iterator it is where that is not known. Valid until `restart` or `close`.
  [[nodiscard]] std::string_view name() const noexcept {
    return reading_ ? std::string_view{reading_->name()} : std::string_view{};
  }

  /// Gives up what was not read. Idempotent.
  void close() noexcept { reading_.reset(); }

  /// Begins anew: the next call reads what there is then, from the start. Errors: `errc::closed`, or the kernel's; then
  /// the reading before goes on.
  void restart();
  /// @overload
  void restart(error_code& ec);
  /// @overload
  void restart(error_code& ec, diagnostics& details);

  /// The next record; nothing at the end. Errors: those of `iter_stream::next`.
  template <detail::iter_record T>
  std::optional<T> next() {
    return detail::or_throw([&](error_code& ec, diagnostics& details) { return next<T>(ec, details); });
  }
  /// @overload
  template <detail::iter_record T>
  std::optional<T> next(error_code& ec) {
    diagnostics details;
    return next<T>(ec, details);
  }
  /// @overload
  template <detail::iter_record T>
  std::optional<T> next(error_code& ec, diagnostics& details) {
    constexpr auto shape = shape_of<T>();
    std::optional<T> value{std::in_place};
    if (!begin_typed(shape, ec, details) || !read({detail::iter_wanted::what::record, shape.size},
                                                  [&] { return reading_->take_record(shape, &*value, ec, details); }))
      value.reset();
    return value;
  }

  /// As many records as are there, at least one and at most so many; none at the end. Valid until the next call.
  /// Errors: as above, EINVAL for 0 records.
  template <detail::iter_record T>
  std::span<T const> read_some(std::size_t most) {
    return detail::or_throw([&](error_code& ec, diagnostics& details) { return read_some<T>(most, ec, details); });
  }
  /// @overload
  template <detail::iter_record T>
  std::span<T const> read_some(std::size_t most, error_code& ec) {
    diagnostics details;
    return read_some<T>(most, ec, details);
  }
  /// @overload
  template <detail::iter_record T>
  std::span<T const> read_some(std::size_t most, error_code& ec, diagnostics& details) {
    constexpr auto shape = shape_of<T>();
    std::size_t count = 0;
    if (!begin_typed(shape, ec, details)) return {};
    if (most == 0) {
      detail::refuse_no_records(ec, details);
      return {};
    }
    if (!read({detail::iter_wanted::what::record, shape.size},
              [&] { return reading_->take_records(shape, most, page_, count, ec, details); }))
      return {};
    return {reinterpret_cast<T const*>(page_.data()), count};
  }

  /// The next line of text, without its end; nothing at the end. Errors: `errc::closed`, or the kernel's.
  std::optional<std::string> next_line();
  /// @overload
  std::optional<std::string> next_line(error_code& ec);
  /// @overload
  std::optional<std::string> next_line(error_code& ec, diagnostics& details);

  /// All that was not read yet, as text. Errors: as above.
  std::string read_text();
  /// @overload
  std::string read_text(error_code& ec);
  /// @overload
  std::string read_text(error_code& ec, diagnostics& details);

 private:
  bool begin(error_code& ec, diagnostics& details) const;
  bool begin_typed(type_shape const& shape, error_code& ec, diagnostics& details) const;

  /// Takes what is wanted, and reads pages until it is there; false at the end and after a failure.
  template <class Take>
  bool read(detail::iter_wanted const& wanted, Take take) {
    for (;;) {
      auto const status = take();
      if (status != detail::iter_status::unread) return status == detail::iter_status::taken;
      reading_->read_page(wanted);
    }
  }

  std::shared_ptr<detail::iter_reading> reading_;
  std::vector<std::byte> page_;  // what read_some gave
};

}  // namespace tinybpf
