// What is said of a handful of repetitions.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

namespace bench {

/// The middle of some repetitions, and the interval that the true median is in with 95 % confidence.
struct summary {
  double median = 0;
  double low = 0;
  double high = 0;
};

/// The element below which the share `q` of `values` lies; 0 of nothing.
inline double quantile(std::span<double> values, double q) {
  if (values.empty()) return 0;
  auto const rank = std::min(values.size() - 1, static_cast<std::size_t>(q * static_cast<double>(values.size())));
  auto const at = values.begin() + static_cast<std::ptrdiff_t>(rank);
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

/// The interval is one of order statistics: it assumes nothing of how the values are distributed. Of n values, the k-th
/// smallest and the k-th largest enclose the median unless k - 1 or fewer fall on one side of it, which happens as
/// often as so few heads in n tosses of a coin. Below 6 values it is their whole range, and less than 95 % sure.
inline summary summarise(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  auto const n = values.size();
  auto const middle = (values[(n - 1) / 2] + values[n / 2]) / 2;

  std::size_t k = 0;
  double ways = 1;
  double tail = 1;  // of 2^n: tosses with at most k heads
  auto const limit = 0.025 * std::pow(2, static_cast<double>(n));
  while (tail <= limit && k + 1 < (n + 1) / 2) {
    ways *= static_cast<double>(n - k) / static_cast<double>(k + 1);
    ++k;
    tail += ways;
  }
  auto const edge = k == 0 ? 0 : k - 1;
  return {middle, values[edge], values[n - 1 - edge]};
}

/// Element by element: what was measured in the same repetition is compared, so that a slow minute does not count.
inline std::vector<double> ratios(std::vector<double> const& a, std::vector<double> const& b) {
  std::vector<double> result;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) result.push_back(a[i] / b[i]);
  return result;
}

/// Likewise.
inline std::vector<double> differences(std::vector<double> const& a, std::vector<double> const& b) {
  std::vector<double> result;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) result.push_back(a[i] - b[i]);
  return result;
}

}  // namespace bench
