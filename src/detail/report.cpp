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
constexpr int highest_errno = 4095;

std::size_t edit_distance(std::string_view a, std::string_view b) {
  // Names are shorter. What is not must not be looked at as long as that.
  constexpr std::size_t longest = 256;
  a = a.substr(0, longest);
  b = b.substr(0, longest);
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
  // Of an ELF file that lies, libbpf takes an offset for an error.
  if (err < -highest_errno || err > highest_errno) return errc::invalid_object;
  if (err < 0) err = -err;
  if (err >= __LIBBPF_ERRNO__START && err < __LIBBPF_ERRNO__END) return errc::invalid_object;
  if (err == kernel_enotsupp) err = EOPNOTSUPP;
  return {err, boost::system::system_category()};
}

error_code last_errno() { return from_libbpf(errno); }

bool is(error_code const& ec, int err) { return ec == error_code{err, boost::system::system_category()}; }

void report(error_code& ec, diagnostics& details, error_code code, std::string message, std::string hint) {
  ec = code;
  details.message = std::move(message);
  details.hint = std::move(hint);
}

void begin(error_code& ec, diagnostics& details) {
  ec.clear();
  if (!details.empty()) details = diagnostics{};
}

std::vector<std::string> nearest(std::string_view wanted, std::vector<std::string> names, std::size_t most) {
  if (names.size() <= most) return names;
  std::vector<std::pair<std::size_t, std::string>> by_distance;
  by_distance.reserve(names.size());
  for (auto& name : names) {
    auto const distance = edit_distance(wanted, name);
    by_distance.emplace_back(distance, std::move(name));
  }
  std::partial_sort(by_distance.begin(), by_distance.begin() + static_cast<std::ptrdiff_t>(most), by_distance.end());
  names.clear();
  for (std::size_t i = 0; i < most; ++i) names.push_back(std::move(by_distance[i].second));
  return names;
}

std::string near_names(std::string_view wanted, std::vector<std::string> const& names) {
  if (names.empty()) return "it has none";
  constexpr std::size_t most = 50;  // that a sentence can bear
  std::string text;
  auto const closest = nearest(wanted, names, 1).front();
  if (edit_distance(wanted, closest) <= std::max<std::size_t>(1, wanted.size() / 3))
    text = "did you mean '" + closest + "'? ";
  auto const shown = names.size() <= most ? names : nearest(wanted, names, most / 5);
  text += shown.size() == names.size() ? "It has " : "Of " + std::to_string(names.size()) + ", it has ";
  for (std::size_t i = 0; i < shown.size(); ++i) {
    if (i != 0) text += ", ";
    text += shown[i];
  }
  return text;
}

}  // namespace tinybpf::detail
