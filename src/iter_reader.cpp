#include "detail/report.hpp"

#include <tinybpf/iter_reader.hpp>

#include <cerrno>
#include <utility>

namespace tinybpf {
namespace detail {

std::shared_ptr<iter_reading> open_iter(link const& l, error_code& ec, diagnostics& details) {
  return iter_reading::open(l, ec, details);
}

std::shared_ptr<iter_reading> open_iter(program const& p, iter_options const& options, error_code& ec,
                                        diagnostics& details) {
  auto const attached = p.attach_iter(options, ec, details);
  return ec ? nullptr : iter_reading::open(attached, ec, details);
}

void refuse_iter(errc code, char const* what, error_code& ec, diagnostics& details) {
  begin(ec, details);
  report(ec, details, code, what);
}

void refuse_no_records(error_code& ec, diagnostics& details) {
  begin(ec, details);
  report(ec, details, error_code{EINVAL, boost::system::system_category()}, "a read of 0 records of an iterator");
}

void explain_unread(iter_reading const& reading, diagnostics& details) {
  details.message = "cannot read iterator '" + reading.name() + "' on: no thread can be started for it";
  details.program = reading.name();
}

}  // namespace detail

iter_reader::iter_reader(link const& l)
    : reading_{detail::or_throw([&](auto& ec, auto& details) { return detail::open_iter(l, ec, details); })} {}

iter_reader::iter_reader(link const& l, error_code& ec) {
  diagnostics details;
  reading_ = detail::open_iter(l, ec, details);
}

iter_reader::iter_reader(link const& l, error_code& ec, diagnostics& details)
    : reading_{detail::open_iter(l, ec, details)} {}

iter_reader::iter_reader(program const& p, iter_options const& options)
    : reading_{detail::or_throw([&](auto& ec, auto& details) { return detail::open_iter(p, options, ec, details); })} {}

iter_reader::iter_reader(program const& p, iter_options const& options, error_code& ec) {
  diagnostics details;
  reading_ = detail::open_iter(p, options, ec, details);
}

iter_reader::iter_reader(program const& p, iter_options const& options, error_code& ec, diagnostics& details)
    : reading_{detail::open_iter(p, options, ec, details)} {}

void iter_reader::restart() {
  detail::or_throw([&](auto& ec, auto& details) { restart(ec, details); });
}

void iter_reader::restart(error_code& ec) {
  diagnostics details;
  restart(ec, details);
}

void iter_reader::restart(error_code& ec, diagnostics& details) {
  if (!begin(ec, details)) return;
  if (auto again = reading_->again(ec, details)) reading_ = std::move(again);
}

std::optional<std::string> iter_reader::next_line() {
  return detail::or_throw([&](auto& ec, auto& details) { return next_line(ec, details); });
}

std::optional<std::string> iter_reader::next_line(error_code& ec) {
  diagnostics details;
  return next_line(ec, details);
}

std::optional<std::string> iter_reader::next_line(error_code& ec, diagnostics& details) {
  std::optional<std::string> line{std::in_place};
  if (!begin(ec, details) ||
      !read({detail::iter_wanted::what::line}, [&] { return reading_->take_line(*line, ec, details); }))
    line.reset();
  return line;
}

std::string iter_reader::read_text() {
  return detail::or_throw([&](auto& ec, auto& details) { return read_text(ec, details); });
}

std::string iter_reader::read_text(error_code& ec) {
  diagnostics details;
  return read_text(ec, details);
}

std::string iter_reader::read_text(error_code& ec, diagnostics& details) {
  std::string text;
  if (begin(ec, details))
    read({detail::iter_wanted::what::everything}, [&] { return reading_->take_text(text, ec, details); });
  return text;
}

bool iter_reader::begin(error_code& ec, diagnostics& details) const {
  detail::begin(ec, details);
  if (reading_) return true;
  detail::refuse_iter(errc::closed, "a read of no iterator", ec, details);
  return false;
}

bool iter_reader::begin_typed(type_shape const& shape, error_code& ec, diagnostics& details) const {
  return begin(ec, details) && reading_->check(shape, ec, details);
}

}  // namespace tinybpf
