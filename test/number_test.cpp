// Numbers whose type is known at run time only: what fits where, how they compare, and how they are written.
#include "support.hpp"

#include <tinybpf/number.hpp>

#include <boost/test/unit_test.hpp>

#include <array>
#include <cmath>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <ostream>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace tinybpf {

inline std::ostream& operator<<(std::ostream& out, number const& n) { return out << n.to_string(); }

}  // namespace tinybpf

using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::number;

namespace {

using s8 = std::int8_t;
using s16 = std::int16_t;
using s32 = std::int32_t;
using s64 = std::int64_t;
using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

template <class T>
using limits = std::numeric_limits<T>;

constexpr double not_a_number = limits<double>::quiet_NaN();
constexpr double infinity = limits<double>::infinity();
constexpr double two63 = 9223372036854775808.0;
constexpr double two64 = 18446744073709551616.0;
constexpr u64 two53 = u64{1} << 53U;

// The targets, by the letters of a row: b bool, 1 s8, 2 s16, 4 s32, 8 s64, then A u8, B u16, C u32, D u64, f, d.
struct row {
  number n;
  std::string_view fits;
  std::string_view text;
};

std::vector<row> rows() {
  return {
      {number{}, "b1248ABCDfd", "0"},
      {true, "b1248ABCDfd", "1"},
      {false, "b1248ABCDfd", "0"},
      {s8{-1}, "1248fd", "-1"},
      {u8{2}, "1248ABCDfd", "2"},
      {'a', "1248ABCDfd", "97"},
      {limits<s8>::max(), "1248ABCDfd", "127"},
      {128, "248ABCDfd", "128"},
      {limits<s8>::min(), "1248fd", "-128"},
      {-129, "248fd", "-129"},
      {limits<u8>::max(), "248ABCDfd", "255"},
      {256, "248BCDfd", "256"},
      {limits<s16>::max(), "248BCDfd", "32767"},
      {32768, "48BCDfd", "32768"},
      {limits<s16>::min(), "248fd", "-32768"},
      {-32769, "48fd", "-32769"},
      {limits<u16>::max(), "48BCDfd", "65535"},
      {65536, "48CDfd", "65536"},
      {1U << 24U, "48CDfd", "16777216"},
      {(1U << 24U) + 1, "48CDd", "16777217"},
      {-((1 << 24) + 1), "48d", "-16777217"},
      {(1U << 24U) + 2, "48CDfd", "16777218"},
      {limits<s32>::max(), "48CDd", "2147483647"},
      {u64{1} << 31U, "8CDfd", "2147483648"},
      {limits<s32>::min(), "48fd", "-2147483648"},
      {-2147483649LL, "8d", "-2147483649"},
      {limits<u32>::max(), "8CDd", "4294967295"},
      {u64{1} << 32U, "8Dfd", "4294967296"},
      {two53 - 1, "8Dd", "9007199254740991"},
      {two53, "8Dfd", "9007199254740992"},
      {two53 + 1, "8D", "9007199254740993"},
      {-static_cast<s64>(two53) - 1, "8", "-9007199254740993"},
      {limits<s64>::max(), "8D", "9223372036854775807"},
      {u64{1} << 63U, "Dfd", "9223372036854775808"},
      {limits<s64>::min(), "8fd", "-9223372036854775808"},
      {limits<s64>::min() + 1, "8", "-9223372036854775807"},
      {limits<u64>::max(), "D", "18446744073709551615"},
      {0.0, "b1248ABCDfd", "0"},
      {-0.0, "b1248ABCDfd", "-0"},
      {1.0, "b1248ABCDfd", "1"},
      {-1.0, "1248fd", "-1"},
      {2.0F, "1248ABCDfd", "2"},
      {0.5, "fd", "0.5"},
      {-0.5, "fd", "-0.5"},
      {0.1, "fd", "0.1"},
      {127.0, "1248ABCDfd", "127"},
      {127.5, "fd", "127.5"},
      {128.0, "248ABCDfd", "128"},
      {-128.0, "1248fd", "-128"},
      {-128.5, "fd", "-128.5"},
      {-129.0, "248fd", "-129"},
      {255.0, "248ABCDfd", "255"},
      {256.0, "248BCDfd", "256"},
      {65535.0, "48BCDfd", "65535"},
      {65536.0, "48CDfd", "65536"},
      {2147483647.0, "48CDfd", "2147483647"},
      {2147483648.0, "8CDfd", "2147483648"},
      {-2147483648.0, "48fd", "-2147483648"},
      {-2147483649.0, "8fd", "-2147483649"},
      {4294967295.0, "8CDfd", "4294967295"},
      {4294967296.0, "8Dfd", "4294967296"},
      {9007199254740991.0, "8Dfd", "9007199254740991"},
      {std::nextafter(two63, 0), "8Dfd", "9223372036854774784"},
      {two63, "Dfd", "9223372036854775808"},
      {-two63, "8fd", "-9223372036854775808"},
      {std::nextafter(-two63, -infinity), "fd", "-9223372036854777856"},
      {std::nextafter(two64, 0), "Dfd", "18446744073709549568"},
      {two64, "fd", "18446744073709551616"},
      {1e30, "fd", "1e+30"},
      {double{limits<float>::max()}, "fd", "3.4028234663852886e+38"},
      {std::nextafter(double{limits<float>::max()}, infinity), "d", "3.402823466385289e+38"},
      {-1e39, "d", "-1e+39"},
      {1e-300, "d", "1e-300"},
      {limits<double>::denorm_min(), "d", "5e-324"},
      {not_a_number, "fd", "nan"},
      {infinity, "fd", "inf"},
      {-infinity, "fd", "-inf"},
  };
}

/// Every way of asking agrees on whether it fits, and the value is that of the number.
template <class T>
void check(row const& r, char letter) {
  bool const fits = r.fits.find(letter) != r.fits.npos;
  BOOST_TEST_CONTEXT(r.text << " as " << letter) {
    BOOST_TEST(r.n.fits<T>() == fits);
    error_code ec = errc::closed;
    auto const value = r.n.as<T>(ec);
    if (!fits) {
      BOOST_TEST(ec == make_error_code(errc::out_of_range));
      BOOST_TEST((value == T{}));
      BOOST_CHECK_EXCEPTION(static_cast<void>(r.n.as<T>()), tinybpf::error, [&](tinybpf::error const& e) {
        return e.code() == make_error_code(errc::out_of_range) &&
               e.get_diagnostics().message == std::string{r.text} + " does not fit the type that is asked for";
      });
      return;
    }
    BOOST_TEST(!ec);
    auto const thrown = r.n.as<T>();
    BOOST_TEST((value == thrown || (value != value && thrown != thrown)));
    if constexpr (std::is_same_v<T, float>) {
      if (!r.n.is_integer()) {  // may be rounded
        auto const whole = r.n.as<double>();
        BOOST_TEST((value == static_cast<float>(whole) || whole != whole));
        return;
      }
    }
    if (number{value} == number{value})
      BOOST_TEST(number{value} == r.n);
    else
      BOOST_TEST(r.text == "nan");
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(numbers)

BOOST_AUTO_TEST_CASE(become_what_can_hold_them) {
  for (auto const& r : rows()) {
    check<bool>(r, 'b');
    check<s8>(r, '1');
    check<s16>(r, '2');
    check<s32>(r, '4');
    check<s64>(r, '8');
    check<u8>(r, 'A');
    check<u16>(r, 'B');
    check<u32>(r, 'C');
    check<u64>(r, 'D');
    check<float>(r, 'f');
    check<double>(r, 'd');
    check<long>(r, '8');
    check<long long>(r, '8');
    check<unsigned long long>(r, 'D');
    check<char>(r, std::is_signed_v<char> ? '1' : 'A');
    check<wchar_t>(r, '4');
    check<char16_t>(r, 'B');
  }
}

BOOST_AUTO_TEST_CASE(are_written_in_decimal) {
  for (auto const& r : rows()) BOOST_TEST(r.n.to_string() == r.text);
}

BOOST_AUTO_TEST_CASE(know_their_sign_and_kind) {
  for (auto const& r : rows()) {
    BOOST_TEST_CONTEXT(r.text) {
      bool const minus = r.text.starts_with('-') && r.text != "-0";
      BOOST_TEST(r.n.is_negative() == minus);
    }
  }
  BOOST_TEST(number{0}.is_integer());
  BOOST_TEST(number{-1}.is_integer());
  BOOST_TEST(number{true}.is_integer());
  BOOST_TEST(!number{0.0}.is_integer());
  BOOST_TEST(!number{1.0F}.is_integer());
}

BOOST_AUTO_TEST_CASE(keep_the_sign_of_zero_and_what_is_no_number) {
  BOOST_TEST(std::signbit(number{-0.0}.as<double>()));
  BOOST_TEST(std::signbit(number{-0.0}.as<float>()));
  BOOST_TEST(!std::signbit(number{-0}.as<double>()));
  BOOST_TEST(std::isnan(number{not_a_number}.as<double>()));
  BOOST_TEST(std::isnan(number{not_a_number}.as<float>()));
  BOOST_TEST(number{infinity}.as<float>() == limits<float>::infinity());
  BOOST_TEST(number{-infinity}.as<float>() == -limits<float>::infinity());
  BOOST_TEST(number{0.1}.as<float>() == 0.1F);
}

// All numbers in their order: what stands in one line is the same.
BOOST_AUTO_TEST_CASE(compare_by_value) {
  std::vector<std::vector<number>> const order{
      {-infinity},
      {-1e39},
      {std::nextafter(-two63, -infinity)},
      {-two63, limits<s64>::min()},
      {limits<s64>::min() + 1},
      {-static_cast<s64>(two53) - 1},
      {-static_cast<s64>(two53), -9007199254740992.0},
      {-2.5},
      {-2, -2.0, s8{-2}},
      {-1, -1.0F, s64{-1}},
      {-0.5},
      {0, 0U, 0.0, -0.0, false, number{}},
      {limits<double>::denorm_min()},
      {0.5},
      {1, 1.0, true, u8{1}},
      {1.5F},
      {2},
      {limits<u32>::max(), 4294967295.0},
      {two53, 9007199254740992.0},
      {two53 + 1},
      {two53 + 2, 9007199254740994.0},
      {limits<s64>::max()},
      {two63, u64{1} << 63U},
      {limits<u64>::max()},
      {two64},
      {infinity},
  };
  for (std::size_t i = 0; i < order.size(); ++i)
    for (std::size_t j = 0; j < order.size(); ++j)
      for (auto const& a : order[i])
        for (auto const& b : order[j]) {
          BOOST_TEST_CONTEXT(a << " and " << b) {
            BOOST_TEST((a == b) == (i == j));
            BOOST_TEST((a != b) == (i != j));
            BOOST_TEST((a < b) == (i < j));
            BOOST_TEST((a > b) == (i > j));
            BOOST_TEST((a <= b) == (i <= j));
          }
        }
}

BOOST_AUTO_TEST_CASE(that_are_none_compare_with_nothing) {
  for (auto const& r : rows()) {
    BOOST_TEST(((number{not_a_number} <=> r.n) == std::partial_ordering::unordered));
    BOOST_TEST(((r.n <=> number{not_a_number}) == std::partial_ordering::unordered));
    BOOST_TEST(!(r.n == number{not_a_number}));
  }
}

BOOST_AUTO_TEST_CASE(compare_with_those_of_cpp) {
  BOOST_TEST((number{7} == 7));
  BOOST_TEST((7U == number{7}));
  BOOST_TEST((number{-1} < 1U));
  BOOST_TEST((-1 < number{1U}));
  BOOST_TEST((number{0.5} < 1));
  BOOST_TEST((number{limits<u64>::max()} != -1));
}

static_assert(number{3}.fits<bool>() == false);
static_assert(number{-1} == -1.0);
static_assert(!tinybpf::detail::arithmetic<long double>);
static_assert(std::is_nothrow_default_constructible_v<number>);

BOOST_AUTO_TEST_SUITE_END()
