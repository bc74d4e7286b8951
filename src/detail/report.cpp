#include "report.hpp"

#include <bpf/libbpf.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <numeric>
#include <utility>

namespace tinybpf::detail {
namespace {

constexpr int kernel_enotsupp = 524;

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    auto diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      auto const replaced = diagonal + (a[i - 1] == b[j - 1] ? 0U : 1U);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, replaced}));
    }
  }
  return row.back();
}

}  // namespace

error_code from_libbpf(int err) {
  if (err < 0) err = -err;
  if (err >= __LIBBPF_ERRNO__START && err < __LIBBPF_ERRNO__END) return errc::invalid_object;
  if (err == kernel_enotsupp) err = EOPNOTSUPP;
  return {err, boost::system::system_category()};
}

error_code last_errno() { return from_libbpf(errno); }

void report(error_code& ec, diagnostics& details, error_code code, std::string message, std::string hint) {
  ec = code;
  details.message = std::move(message);
  details.hint = std::move(hint);
}

void begin(error_code& ec, diagnostics& details) {
  ec.clear();
  if (!details.empty()) details = diagnostics{};
}

std::string near_names(std::string_view wanted, std::vector<std::string> const& names) {
  if (names.empty()) return "it has none";
  std::string text;
  auto const closest = std::min_element(names.begin(), names.end(), [&](auto const& a, auto const& b) {
    return edit_distance(wanted, a) < edit_distance(wanted, b);
  });
  if (edit_distance(wanted, *closest) <= std::max<std::size_t>(1, wanted.size() / 3))
    text = "did you mean '" + *closest + "'? ";
  text += "It has ";
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i != 0) text += ", ";
    text += names[i];
  }
  return text;
}

}  // namespace tinybpf::detail
