// Values of the types of btf_view.bpf.c, made of what C++ has in memory: as numbers, text, members and JSON.
#include "print.hpp"
#include "support.hpp"

#include <tinybpf/btf.hpp>
#include <tinybpf/dynamic_value.hpp>
#include <tinybpf/json.hpp>
#include <tinybpf/object.hpp>

#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <boost/json/value_from.hpp>
#include <boost/test/unit_test.hpp>

#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
#include <optional>
#include <ostream>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// libbpf has types of the same names.
namespace value_test {

using test::contains;
using tinybpf::btf;
using tinybpf::btf_kind;
using tinybpf::btf_type;
using tinybpf::diagnostics;
using tinybpf::dynamic_value;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::number;
using tinybpf::object;

using s8 = std::int8_t;
using s16 = std::int16_t;
using s32 = std::int32_t;
using s64 = std::int64_t;
using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
__extension__ using s128 = __int128;
__extension__ using u128 = unsigned __int128;

// As in btf_view.bpf.c.
enum class color : s32 { red, green = 5, blue = -1 };

struct point {
  s32 x;
  s32 y;
};

union either {
  u32 word;
  u8 bytes[4];
  point place;
};

struct scalars {
  char c;
  signed char sc;
  unsigned char uc;
  bool flag;
  s16 s16_;
  u16 u16_;
  s32 s32_;
  u32 u32_;
  s64 s64_;
  u64 u64_;
  float f;
  color color_;
  double d;
  void* pointer;
  s128 s128_;
  u128 u128_;
  u32 flags;
  s64 deep;
  u64 wide;
  point* to_point;
};

struct arrays {
  char text[8];
  u8 octets[4];
  char lines[2][4];
  u16 matrix[2][3];
  point points[2];
  color colors[2];
};

struct bits {
  u32 low : 3;
  s32 middle : 7;
  u32 : 6;
  u32 high : 16;
  bool yes : 1;
  s32 color_ : 8;
};

struct [[gnu::packed]] packed {
  u64 lead : 5;
  u64 wide : 64;
  s64 crossing : 13;
  s32 negative : 31;
  u32 last : 7;
};

struct [[gnu::packed]] tight {
  u8 lead[3];
  u32 flag : 1;
};

struct nested {
  u8 lead;
  struct inner {
    u32 in_struct;
    union {
      u64 as_number;
      u16 parts[2];
    };
  } nameless;
  either either_;
  point place;
};

static_assert(sizeof(packed) == 15 && sizeof(tight) == 4 && sizeof(nested) == 40 && sizeof(bits) == 8);

btf const& view() {
  static btf const all = object::open(BTF_VIEW_BPF_O).btf();
  return all;
}

template <class T>
dynamic_value value_of(std::string_view type, T const& from) {
  return dynamic_value{view().type(type), test::bytes_of(from)};
}

dynamic_value of_bytes(std::string_view type, std::string_view data) {
  return dynamic_value{view().type(type), std::as_bytes(std::span{data})};
}

std::string json(dynamic_value const& v) { return boost::json::serialize(boost::json::value_from(v)); }

/// What `f` throws.
template <class F>
std::pair<error_code, diagnostics> refusal_of(F f) {
  try {
    static_cast<void>(f());
  } catch (tinybpf::error const& e) {
    return {e.code(), e.get_diagnostics()};
  }
  BOOST_ERROR("nothing was thrown");
  return {};
}

scalars some_scalars() {
  scalars s{};
  s.c = 'x';
  s.sc = -8;
  s.uc = 200;
  s.flag = true;
  s.s16_ = -300;
  s.u16_ = 60000;
  s.s32_ = std::numeric_limits<s32>::min();
  s.u32_ = std::numeric_limits<u32>::max();
  s.s64_ = std::numeric_limits<s64>::min();
  s.u64_ = std::numeric_limits<u64>::max();
  s.f = 0.5F;
  s.color_ = color::blue;
  s.d = -2.25;
  s.pointer = reinterpret_cast<void*>(0xffff888012345678U);
  s.s128_ = -5;
  s.u128_ = static_cast<u128>(0x123) << 64U | 0x456U;
  s.flags = 0x80000000U;
  s.deep = -0x100000000;
  s.wide = 0xf000000000000000U;
  return s;
}

arrays some_arrays() {
  arrays a{};
  std::memcpy(a.text, "comm\0old", 8);
  std::iota(std::begin(a.octets), std::end(a.octets), u8{1});
  std::memcpy(a.lines, "fullab\0z", 8);
  u16 n = 10;
  for (auto& row : a.matrix)
    for (auto& m : row) m = n++;
  a.points[0] = {1, -2};
  a.points[1] = {3, -4};
  a.colors[0] = color::green;
  a.colors[1] = static_cast<color>(7);
  return a;
}

BOOST_AUTO_TEST_SUITE(values)

BOOST_AUTO_TEST_CASE(of_numbers) {
  auto const s = some_scalars();
  auto const v = value_of("v_scalars", s);
  BOOST_TEST(v.size() == 20U);
  BOOST_TEST(v["c"].as<char>() == 'x');
  BOOST_TEST(v["sc"].as<int>() == s.sc);
  BOOST_TEST(v["uc"].as<int>() == s.uc);
  BOOST_TEST(v["flag"].as<bool>() == true);
  BOOST_TEST(v["flag"].as<int>() == 1);
  BOOST_TEST(v["s16"].as<s16>() == s.s16_);
  BOOST_TEST(v["u16"].as<u16>() == s.u16_);
  BOOST_TEST(v["s32"].as<s32>() == s.s32_);
  BOOST_TEST(v["u32"].as<u32>() == s.u32_);
  BOOST_TEST(v["s64"].as<s64>() == s.s64_);
  BOOST_TEST(v["u64"].as<u64>() == s.u64_);
  BOOST_TEST(v["f"].as<float>() == s.f);
  BOOST_TEST(v["f"].as<double>() == 0.5);
  BOOST_TEST(v["d"].as<double>() == s.d);
  BOOST_TEST(!v["d"].to_number()->is_integer());
  BOOST_TEST((v["color"].as<color>() == color::blue));
  BOOST_TEST(v["color"].as<int>() == -1);
  BOOST_TEST(v["flags"].as<u32>() == s.flags);
  BOOST_TEST(v["deep"].as<s64>() == s.deep);
  BOOST_TEST(v["wide"].as<u64>() == s.wide);
  BOOST_TEST(v["pointer"].as<u64>() == 0xffff888012345678U);
  BOOST_TEST(v["to_point"].as<u64>() == 0U);
  BOOST_TEST(v["s128"].as<int>() == -5);
  BOOST_TEST(!v["u128"].to_number().has_value());
  BOOST_TEST((v["u64"].to_number() == number{~u64{0}}));
  BOOST_TEST(v["u64"].bytes().size() == 8U);
  BOOST_TEST((v["u64"].bytes().data() == v.bytes().data() + offsetof(scalars, u64_)));
}

BOOST_AUTO_TEST_CASE(of_wide_integers) {
  struct row {
    s128 value;
    std::optional<number> s;
    std::optional<number> u;
  };
  constexpr auto one = static_cast<s128>(1);
  row const rows[] = {
      {0, number{0}, number{0}},
      {one, number{1}, number{1}},
      {-one, number{-1}, std::nullopt},
      {std::numeric_limits<s64>::min(), number{std::numeric_limits<s64>::min()}, std::nullopt},
      {-one * std::numeric_limits<s64>::max() - 2, std::nullopt, std::nullopt},
      {std::numeric_limits<u64>::max(), number{~u64{0}}, number{~u64{0}}},
      {one * std::numeric_limits<u64>::max() + 1, std::nullopt, std::nullopt},
  };
  for (auto const& r : rows) {
    BOOST_TEST((value_of("__int128", r.value).to_number() == r.s));
    BOOST_TEST((value_of("unsigned __int128", r.value).to_number() == r.u));
  }
  BOOST_TEST(json(value_of("__int128", -one * std::numeric_limits<s64>::max() - 2)) ==
             R"("0xffffffffffffffff7fffffffffffffff")");
  auto const [ec, details] = refusal_of([&] { return value_of("unsigned __int128", one << 64U).as<std::uint64_t>(); });
  BOOST_TEST(ec == make_error_code(errc::out_of_range));
  BOOST_TEST(details.message == "a 'unsigned __int128' of 16 bytes fits no number of C++");
}

BOOST_AUTO_TEST_CASE(of_floating_point) {
  constexpr auto infinity = std::numeric_limits<double>::infinity();
  BOOST_TEST(json(value_of("double", 0.5)) == "5E-1");
  BOOST_TEST(json(value_of("float", 2.0F)) == "2E0");
  BOOST_TEST(json(value_of("double", infinity)) == "null");
  BOOST_TEST(json(value_of("float", -std::numeric_limits<float>::infinity())) == "null");
  auto const none = value_of("double", std::numeric_limits<double>::quiet_NaN());
  BOOST_TEST(json(none) == "null");
  BOOST_TEST(std::isnan(none.as<double>()));
  BOOST_TEST(refusal_of([&] { return none.as<int>(); }).first == make_error_code(errc::out_of_range));
  BOOST_TEST(value_of("double", 1e300).as<double>() == 1e300);
  BOOST_TEST(refusal_of([&] { return value_of("double", 1e300).as<float>(); }).first ==
             make_error_code(errc::out_of_range));
}

BOOST_AUTO_TEST_CASE(of_enumerations) {
  auto const s = some_scalars();
  auto const v = value_of("v_scalars", s);
  BOOST_TEST(v["color"].text().value() == "v_blue");
  BOOST_TEST(v["flags"].text().value() == "v_high");
  BOOST_TEST(v["deep"].text().value() == "v_bottom");
  BOOST_TEST(v["wide"].text().value() == "v_huge");
  BOOST_TEST(v["wide"].as<std::string>() == "v_huge");
  auto const unknown = value_of("v_wide", u64{0xf000000000000001U});
  BOOST_TEST(!unknown.text().has_value());
  BOOST_TEST(unknown.as<u64>() == 0xf000000000000001U);
  BOOST_TEST(json(unknown) == "17293822569102704641");
  auto const [ec, details] = refusal_of([&] { return unknown.as<std::string>(); });
  BOOST_TEST(ec == make_error_code(errc::type_mismatch));
  BOOST_TEST(details.message == "a 'enum v_wide' is no text");
  BOOST_TEST(json(value_of("v_color", s32{6})) == "6");
  BOOST_TEST(json(value_of("v_color", s32{-2})) == "-2");
  BOOST_TEST(json(value_of("v_color", s32{5})) == "\"v_green\"");
}

BOOST_AUTO_TEST_CASE(of_arrays) {
  auto const a = some_arrays();
  auto const v = value_of("v_arrays", a);
  BOOST_TEST(v["text"].as<std::string>() == "comm");
  BOOST_TEST(v["text"].size() == 8U);
  BOOST_TEST(v["text"][5].as<char>() == 'o');
  BOOST_TEST(!v["octets"].text().has_value());
  BOOST_TEST(v["octets"].size() == 4U);
  BOOST_TEST(v["octets"][3].as<int>() == 4);
  BOOST_TEST(v["lines"].size() == 2U);
  BOOST_TEST(!v["lines"].text().has_value());
  BOOST_TEST(v["lines"][0].as<std::string>() == "full");  // no NUL
  BOOST_TEST(v["lines"][1].as<std::string>() == "ab");
  for (std::size_t i = 0; i < 2; ++i)
    for (std::size_t j = 0; j < 3; ++j) BOOST_TEST(v["matrix"][i][j].as<int>() == a.matrix[i][j]);
  BOOST_TEST(v["points"][1]["y"].as<int>() == -4);
  BOOST_TEST(v["points"][1].bytes().size() == 8U);
  BOOST_TEST(v["colors"][0].text().value() == "v_green");
  auto const [ec, details] = refusal_of([&] { return v["matrix"][2]; });
  BOOST_TEST(ec == make_error_code(errc::out_of_range));
  BOOST_TEST(details.message == "'__u16[2][3]' has no element 2");
  BOOST_TEST(refusal_of([&] { return v["matrix"][-1]; }).first == make_error_code(errc::out_of_range));
  BOOST_TEST(refusal_of([&] { return v[0]; }).first == make_error_code(errc::out_of_range));
  BOOST_TEST(refusal_of([&] { return v["matrix"].as<int>(); }).first == make_error_code(errc::type_mismatch));
}

// Whatever integer type the index has.
BOOST_AUTO_TEST_CASE(have_elements_by_any_integer) {
  auto const v = value_of("v_arrays", some_arrays())["octets"];
  BOOST_TEST(v[u32{1}].as<int>() == 2);
  BOOST_TEST(v[s64{2}].as<int>() == 3);
  BOOST_TEST(v[u16{3}].as<int>() == 4);
  BOOST_TEST(v[std::size_t{0}].as<int>() == 1);
  BOOST_TEST(refusal_of([&] { return v[s64{-1}]; }).first == make_error_code(errc::out_of_range));
}

BOOST_AUTO_TEST_CASE(of_text_that_is_no_utf8) {
  auto const text = [](std::string_view bytes) {
    auto whole = std::string{bytes};
    whole.resize(sizeof(arrays));
    return json(of_bytes("v_arrays", whole)["text"]);
  };
  BOOST_TEST(text("plain") == R"("plain")");
  BOOST_TEST(text("\xc3\xa4\xe2\x82\xac") == "\"\xc3\xa4\xe2\x82\xac\"");
  BOOST_TEST(text("\xf0\x9f\x90\x9d") == "\"\xf0\x9f\x90\x9d\"");
  constexpr std::string_view bad = "\xef\xbf\xbd";
  auto const replaced = [&](int count, std::string_view rest = "") {
    std::string all = "\"";
    for (; count != 0; --count) all += bad;
    return all + std::string{rest} + "\"";
  };
  BOOST_TEST(text("\xff") == replaced(1));
  BOOST_TEST(text("\x80z") == replaced(1, "z"));
  BOOST_TEST(text("\xc3z") == replaced(1, "z"));
  BOOST_TEST(text("\xc0\x80") == replaced(2));
  BOOST_TEST(text("\xc1\xbf") == replaced(2));
  BOOST_TEST(text("\xe0\x9f\xbf") == replaced(3));
  BOOST_TEST(text("\xe0\xa0\x80") == "\"\xe0\xa0\x80\"");
  BOOST_TEST(text("\xed\xa0\x80") == replaced(3));
  BOOST_TEST(text("\xed\x9f\xbf") == "\"\xed\x9f\xbf\"");
  BOOST_TEST(text("\xf0\x8f\xbf\xbf") == replaced(4));
  BOOST_TEST(text("\xf0\x90\x80\x80") == "\"\xf0\x90\x80\x80\"");
  BOOST_TEST(text("\xf4\x90\x80\x80") == replaced(4));
  BOOST_TEST(text("\xf4\x8f\xbf\xbf") == "\"\xf4\x8f\xbf\xbf\"");
  BOOST_TEST(text("\xf5\x80\x80\x80") == replaced(4));
  BOOST_TEST(text("1234567\xc3") == "\"1234567" + std::string{bad} + "\"");  // cut
  BOOST_TEST(text("\xe2\x82z") == replaced(2, "z"));
  BOOST_TEST(text("\xf0\x9f\x90z") == replaced(3, "z"));
  BOOST_TEST(text("a\n\"\\") == R"("a\n\"\\")");
}

// A bit-field takes what it has room for.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"

BOOST_AUTO_TEST_CASE(of_bit_fields) {
  for (auto const high : {0, 1, 0x1234, 0xffff})
    for (auto const middle : {-64, -1, 0, 1, 63}) {
      bits b{};
      b.low = 5;
      b.middle = middle;
      b.high = static_cast<u32>(high);
      b.yes = middle < 0;
      b.color_ = middle < 0 ? -1 : 5;
      auto const v = value_of("v_bits", b);
      BOOST_TEST(v["low"].as<int>() == 5);
      BOOST_TEST(v["middle"].as<int>() == middle);
      BOOST_TEST(v["high"].as<int>() == high);
      BOOST_TEST(v["yes"].as<bool>() == (middle < 0));
      BOOST_TEST(v["color"].text().value() == (middle < 0 ? "v_blue" : "v_green"));
      BOOST_TEST(v["middle"].bytes().size() == 2U);
      BOOST_TEST(v["low"].bytes().size() == 1U);
    }
}

BOOST_AUTO_TEST_CASE(of_packed_bit_fields) {
  std::mt19937_64 random{7};
  for (int round = 0; round < 200; ++round) {
    packed p{};
    u64 const wide = random();
    auto const crossing = static_cast<s64>(random() % 8192) - 4096;
    auto const negative = static_cast<s32>(random() % (1U << 31U) - (1U << 30U));
    auto const last = static_cast<u32>(random() % 128);
    p.lead = 21;
    p.wide = wide;
    p.crossing = crossing;
    p.negative = negative;
    p.last = last;
    auto const v = value_of("v_packed", p);
    BOOST_TEST(v["lead"].as<int>() == 21);
    BOOST_TEST(v["wide"].as<u64>() == wide);
    BOOST_TEST(v["wide"].bytes().size() == 9U);
    BOOST_TEST(v["crossing"].as<s64>() == crossing);
    BOOST_TEST(v["negative"].as<s32>() == negative);
    BOOST_TEST(v["last"].as<u32>() == last);
    BOOST_TEST(json(v) == "{\"lead\":21,\"wide\":" + std::to_string(wide) +
                              ",\"crossing\":" + std::to_string(crossing) +
                              ",\"negative\":" + std::to_string(negative) + ",\"last\":" + std::to_string(last) + "}");
    BOOST_TEST(v.to_string() == "(struct v_packed){.lead = (__u64)21, .wide = (__u64)" + std::to_string(wide) +
                                    ", .crossing = (__s64)" + std::to_string(crossing) + ", .negative = (__s32)" +
                                    std::to_string(negative) + ", .last = (__u32)" + std::to_string(last) + "}");
    BOOST_TEST(v["wide"].to_string() == "(__u64)" + std::to_string(wide));
  }
  tight t{{1, 2, 3}, 1};
  BOOST_TEST(value_of("v_tight", t)["flag"].as<int>() == 1);
  BOOST_TEST(value_of("v_tight", t)["flag"].to_string() == "(__u32)1");
  BOOST_TEST(!value_of("v_tight", t).to_string().empty());
}

#pragma GCC diagnostic pop

BOOST_AUTO_TEST_CASE(of_nested_members) {
  nested n{};
  n.lead = 9;
  n.nameless.in_struct = 11;
  n.nameless.as_number = 0x00020001;
  n.either_.word = 0x04030201;
  n.place = {-5, 6};
  auto const v = value_of("v_nested", n);
  BOOST_TEST(v["in_struct"].as<int>() == 11);
  BOOST_TEST(v["as_number"].as<u64>() == 0x00020001U);
  BOOST_TEST(v["deepest"].as<int>() == 1);
  BOOST_TEST(v["beside"].as<int>() == 2);
  BOOST_TEST(v["either"]["bytes"][2].as<int>() == 3);
  BOOST_TEST(v["either"]["point"]["x"].as<int>() == 0x04030201);
  BOOST_TEST(v["place"]["y"].as<int>() == 6);
  auto const fields = v.fields();
  BOOST_REQUIRE(fields.size() == 4U);
  BOOST_TEST(v.size() == 4U);
  BOOST_TEST(fields[0].name == "lead");
  BOOST_TEST(fields[0].value.as<int>() == 9);
  BOOST_TEST(fields[1].name == "");
  BOOST_TEST(fields[1].value["beside"].as<int>() == 2);
  BOOST_TEST(fields[3].value["x"].as<int>() == -5);
  BOOST_TEST(json(v) ==
             R"({"lead":9,"in_struct":11,"as_number":131073,"deepest":1,"beside":2,)"
             R"("either":{"word":67305985,"bytes":[1,2,3,4],"point":{"x":67305985,"y":0}},"place":{"x":-5,"y":6}})");
}

BOOST_AUTO_TEST_CASE(of_flexible_arrays) {
  auto const three = of_bytes("v_flexible", std::string_view{"\3\0\0\0\1\0\2\0\3\0", 10});
  BOOST_TEST(three["count"].as<int>() == 3);
  BOOST_TEST(three["tail"].size() == 3U);
  BOOST_TEST(three["tail"][2].as<int>() == 3);
  BOOST_TEST(json(three) == R"({"count":3,"tail":[1,2,3]})");
  BOOST_TEST(refusal_of([&] { return three["tail"][3]; }).first == make_error_code(errc::out_of_range));
  auto const none = of_bytes("v_flexible", std::string_view{"\0\0\0\0", 4});
  BOOST_TEST(none["tail"].size() == 0U);
  BOOST_TEST(!static_cast<bool>(none["tail"]));
  BOOST_TEST(json(none) == R"({"count":0,"tail":[]})");
  // Half an element is none.
  BOOST_TEST(of_bytes("v_flexible", std::string_view{"\0\0\0\0\1\0\2", 7})["tail"].size() == 1U);
  auto const points = of_bytes("v_flexible_points", std::string_view{"\1\0\0\0\7\0\0\0\x8\0\0\0", 12});
  BOOST_TEST(points["tail"].size() == 1U);
  BOOST_TEST(points["tail"][0]["y"].as<int>() == 8);
  auto const text = of_bytes("v_flexible_text", std::string_view{"\5\0\0\0hello", 9});
  BOOST_TEST(text["text"].as<std::string>() == "hello");
  BOOST_TEST(json(text) == R"({"length":5,"text":"hello"})");
  BOOST_TEST(json(of_bytes("v_flexible_text", std::string_view{"\0\0\0\0", 4})) == R"({"length":0,"text":""})");
}

BOOST_AUTO_TEST_CASE(of_flexible_arrays_in_nameless_members) {
  auto const v = of_bytes("v_flexible_inside", std::string_view{"\1\0\0\0\2\0\0\0\5\0\6\0", 12});
  BOOST_TEST(v["tail"].size() == 2U);
  BOOST_TEST(v.fields()[1].value["tail"].size() == 2U);
  BOOST_TEST(json(v) == R"({"kind":1,"count":2,"tail":[5,6]})");
}

// It marks a place, and has nothing.
BOOST_AUTO_TEST_CASE(of_arrays_without_elements) {
  auto const v = of_bytes("v_marked", std::string_view{"\1\0\0\0\2\0\0\0", 8});
  BOOST_TEST(v["here"].size() == 0U);
  BOOST_TEST(json(v) == R"({"before":1,"here":[],"behind":2})");
}

BOOST_AUTO_TEST_CASE(of_other_sizes) {
  point const p{1, 2};
  std::array<point, 2> const two{p, p};
  auto const longer = value_of("v_point", two);
  BOOST_TEST(longer.bytes().size() == 8U);
  BOOST_TEST(longer["y"].as<int>() == 2);
  BOOST_TEST(json(longer) == R"({"x":1,"y":2})");
  error_code ec;
  diagnostics details;
  for (std::size_t size = 0; size < 8; ++size) {
    dynamic_value const v{view().type("v_point"), test::bytes_of(p).first(size), ec, details};
    BOOST_TEST(ec == make_error_code(errc::size_mismatch));
    BOOST_TEST(details.expected_size == 8U);
    BOOST_TEST(details.actual_size == size);
    BOOST_TEST(details.message == "a value of 'struct v_point' has 8 bytes, not " + std::to_string(size));
    BOOST_TEST(!static_cast<bool>(v));
    BOOST_TEST(!static_cast<bool>(v.type()));
    BOOST_TEST(refusal_of([&] {
                 return dynamic_value{view().type("v_point"), test::bytes_of(p).first(size)};
               }).first == ec);
  }
  dynamic_value const v{view().type("v_point"), test::bytes_of(p), ec};
  BOOST_TEST(!ec);
  // A number with bytes behind it stays the number.
  BOOST_TEST(value_of("int", p).as<int>() == 1);
  BOOST_TEST(json(value_of("int", p)) == "1");
  BOOST_TEST(value_of("double", std::array{0.5, 0.25}).as<double>() == 0.5);
  BOOST_TEST(value_of("v_color", p).as<int>() == 1);
  arrays const a = some_arrays();
  auto const matrix = view().type("v_arrays").member("matrix")->type;
  dynamic_value const m{matrix, test::bytes_of(a.matrix).first(12)};
  BOOST_TEST(m[1][2].as<int>() == 15);
  dynamic_value const text{view().type("v_arrays").member("text")->type, std::as_bytes(std::span{"12345678more"})};
  BOOST_TEST(text.as<std::string>() == "12345678");
}

BOOST_AUTO_TEST_CASE(of_types_that_have_none) {
  auto const refused = [](std::string_view name) {
    std::array<std::byte, 64> const bytes{};
    auto const [ec, details] = refusal_of([&] { return dynamic_value{view().type(name), bytes}; });
    BOOST_TEST(ec == make_error_code(errc::type_mismatch));
    return details.message;
  };
  BOOST_TEST(refused("v_program") == "'int v_program(void *)' is nothing that can be in memory: it has no values");
  BOOST_TEST(contains(refused("v_forward"), "is only declared"));
  // A variable stands for its type.
  BOOST_TEST(value_of("d_struct", point{1, 2}).type().to_string() == "struct v_point");
  BOOST_TEST(value_of("d_struct", point{1, 2})["x"].as<int>() == 1);
  BOOST_TEST(json(of_bytes("v_empty", "")) == "{}");
  BOOST_TEST(of_bytes("v_empty", "x").fields().empty());
}

BOOST_AUTO_TEST_CASE(without_a_type) {
  u32 const n = 0x04030201;
  dynamic_value const v{{}, test::bytes_of(n)};
  BOOST_TEST(v.to_string() == "01020304");
  BOOST_TEST(json(v) == R"("01020304")");
  BOOST_TEST(static_cast<bool>(v));
  BOOST_TEST(!v.to_number().has_value());
  BOOST_TEST(!v.text().has_value());
  BOOST_TEST(v.fields().empty());
  BOOST_TEST(v.size() == 0U);
  BOOST_TEST(!v.find("x").has_value());
  auto const [ec, details] = refusal_of([&] { return v.as<int>(); });
  BOOST_TEST(ec == make_error_code(errc::type_mismatch));
  BOOST_TEST(details.message == "a 'void' is no number");
  BOOST_TEST(refusal_of([&] { return v["x"]; }).first == make_error_code(errc::not_found));

  dynamic_value const none;
  BOOST_TEST(!static_cast<bool>(none));
  BOOST_TEST(none.bytes().empty());
  BOOST_TEST(none.to_string() == "");
  BOOST_TEST(json(none) == "null");
  BOOST_TEST(!none.to_number().has_value());
  BOOST_TEST(!none.text().has_value());
  BOOST_TEST(refusal_of([&] { return none[0]; }).first == make_error_code(errc::out_of_range));
}

BOOST_AUTO_TEST_CASE(name_members_that_are_missing) {
  auto const v = value_of("v_scalars", some_scalars());
  auto const [ec, details] = refusal_of([&] { return v["colour"]; });
  BOOST_TEST(ec == make_error_code(errc::not_found));
  BOOST_TEST(details.message == "'struct v_scalars' has no member 'colour'");
  BOOST_TEST(contains(details.hint, "did you mean 'color'?"));
  BOOST_TEST(details.names.size() == 20U);
  BOOST_TEST(!v.find("colour").has_value());
  BOOST_TEST(v.find("color").has_value());
  // Also those of nameless members.
  auto const inside = refusal_of([] { return value_of("v_nested", nested{})["besides"]; }).second;
  BOOST_TEST(contains(inside.hint, "did you mean 'beside'?"), inside.hint);
}

BOOST_AUTO_TEST_CASE(refuse_numbers_that_do_not_fit) {
  auto const v = value_of("v_scalars", some_scalars());
  auto const [ec, details] = refusal_of([&] { return v["s16"].as<s8>(); });
  BOOST_TEST(ec == make_error_code(errc::out_of_range));
  BOOST_TEST(details.message == "-300, a '__s16', does not fit the type that is asked for");
  error_code code = errc::closed;
  BOOST_TEST(v["s16"].as<s8>(code) == 0);
  BOOST_TEST(code == make_error_code(errc::out_of_range));
  BOOST_TEST(v["s16"].as<s16>(code) == -300);
  BOOST_TEST(!code);
  BOOST_TEST(refusal_of([&] { return v["u64"].as<double>(); }).first == make_error_code(errc::out_of_range));
  BOOST_TEST(refusal_of([&] { return v["d"].as<int>(); }).first == make_error_code(errc::out_of_range));
  BOOST_TEST(refusal_of([&] { return v["u64"].as<color>(); }).first == make_error_code(errc::out_of_range));
  auto const text = refusal_of([&] { return v["u64"].as<std::string>(); });
  BOOST_TEST(text.first == make_error_code(errc::type_mismatch));
  BOOST_TEST(text.second.message == "a '__u64' is no text");
  BOOST_TEST(contains(text.second.hint, "arrays of char"));
  diagnostics fresh = text.second;
  v["u64"].as<u64>(code, fresh);
  BOOST_TEST(fresh.empty());
}

BOOST_AUTO_TEST_CASE(share_their_bytes) {
  dynamic_value part;
  {
    auto const v = value_of("v_arrays", some_arrays());
    part = v["points"][1];
    auto const copy = v;
    BOOST_TEST((copy.bytes().data() == v.bytes().data()));
  }
  BOOST_TEST(part["x"].as<int>() == 3);
}

BOOST_AUTO_TEST_CASE(of_a_section) {
  auto const obj = object::open(BTF_VIEW_BPF_O);
  auto const section = *view().find(".data.own", btf_kind::datasec);
  dynamic_value const v{section, std::as_bytes(std::span{"own"})};
  BOOST_TEST(v["own_section"].as<std::string>() == "own");
  BOOST_TEST(json(v) == R"({"own_section":"own"})");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(texts)

BOOST_AUTO_TEST_CASE(of_json) {
  BOOST_TEST(json(value_of("v_scalars", some_scalars())) ==
             R"({"c":120,"sc":-8,"uc":200,"flag":true,"s16":-300,"u16":60000,"s32":-2147483648,"u32":4294967295,)"
             R"("s64":-9223372036854775808,"u64":18446744073709551615,"f":5E-1,"color":"v_blue","d":-2.25E0,)"
             R"("pointer":"0xffff888012345678","s128":-5,"u128":"0x1230000000000000456","flags":"v_high",)"
             R"("deep":"v_bottom","wide":"v_huge","to_point":"0x0"})");
  BOOST_TEST(json(value_of("v_arrays", some_arrays())) ==
             R"({"text":"comm","octets":[1,2,3,4],"lines":["full","ab"],"matrix":[[10,11,12],[13,14,15]],)"
             R"("points":[{"x":1,"y":-2},{"x":3,"y":-4}],"colors":["v_green",7]})");
  bits b{};
  b.low = 1;
  b.middle = -3;
  b.high = 4;
  b.yes = true;
  b.color_ = -1;
  BOOST_TEST(json(value_of("v_bits", b)) == R"({"low":1,"middle":-3,"high":4,"yes":true,"color":"v_blue"})");
}

BOOST_AUTO_TEST_CASE(of_c) {
  BOOST_TEST(value_of("v_point", point{1, -2}).to_string() == "(struct v_point){.x = (__s32)1, .y = (__s32)-2}");
  auto const a = value_of("v_arrays", some_arrays());
  BOOST_TEST(a["matrix"].to_string() == "(__u16[2][3])[[10, 11, 12], [13, 14, 15]]");
  BOOST_TEST(a["text"].to_string() == "(char[8])\"comm\"");
  BOOST_TEST(a["lines"].to_string() == "(char[2][4])[\"full\", \"ab\"]");
  BOOST_TEST(a["octets"].to_string() == "(__u8[4])[1, 2, 3, 4]");
  BOOST_TEST(a["points"][1].to_string() == "(struct v_point){.x = (__s32)3, .y = (__s32)-4}");
  BOOST_TEST(a["colors"].to_string() == "(enum v_color[2])[v_green, 7]");
  auto const s = value_of("v_scalars", some_scalars());
  BOOST_TEST(s["u64"].to_string() == "(__u64)18446744073709551615");
  BOOST_TEST(s["pointer"].to_string() == "(void *)0xffff888012345678");
  BOOST_TEST(s["color"].to_string() == "(enum v_color)v_blue");
  BOOST_TEST(s["flag"].to_string() == "(bool)true");
  BOOST_TEST(s.to_string() ==
             "(struct v_scalars){.c = (char)120, .sc = (signed char)-8, .uc = (unsigned char)200, .flag = (bool)true, "
             ".s16 = (__s16)-300, .u16 = (__u16)60000, .s32 = (__s32)-2147483648, .u32 = (__u32)4294967295, "
             ".s64 = (__s64)-9223372036854775808, .u64 = (__u64)18446744073709551615, .f = (float)0.5, "
             ".color = (enum v_color)v_blue, .d = (double)-2.25, .pointer = (void *)0xffff888012345678, "
             ".s128 = (__int128)-5, .u128 = (unsigned __int128)0x1230000000000000456, .flags = (enum v_flags)v_high, "
             ".deep = (enum v_deep)v_bottom, .wide = (enum v_wide)v_huge, .to_point = (struct v_point *)0x0}");
  BOOST_TEST(of_bytes("v_flexible", std::string_view{"\1\0\0\0\7\0", 6}).to_string() ==
             "(struct v_flexible){.count = (__u32)1, .tail = (__u16[])[7]}");
  bits b{};
  b.middle = -3;
  BOOST_TEST(value_of("v_bits", b)["middle"].to_string() == "(__s32)-3");
  BOOST_TEST(value_of("v_bits", b).to_string() ==
             "(struct v_bits){.low = (__u32)0, .middle = (__s32)-3, .high = (__u32)0, .yes = (bool)false, "
             ".color = (enum v_color)v_red}");
  BOOST_TEST(value_of("v_nested", nested{}).to_string() ==
             "(struct v_nested){.lead = (__u8)0, (struct){.in_struct = (__u32)0, (union){.as_number = (__u64)0, "
             "(struct){.deepest = (__u16)0, .beside = (__u16)0}}}, .either = (union v_either){.word = (__u32)0, "
             ".bytes = (__u8[4])[0, 0, 0, 0], .point = (struct v_point){.x = (__s32)0, .y = (__s32)0}}, "
             ".place = (const volatile struct v_point){.x = (__s32)0, .y = (__s32)0}}");
}

BOOST_AUTO_TEST_CASE(of_strings_with_everything_in_them) {
  auto odd = some_arrays();
  std::memcpy(odd.text, "\"\\\n\r\t\x01\xff", 8);
  BOOST_TEST(value_of("v_arrays", odd)["text"].to_string() == R"text((char[8])"\"\\\n\r\t\x01\xff")text");
}

BOOST_AUTO_TEST_SUITE_END()

// Whatever damaged BTF says: nothing crashes, nothing is read that is not there, and everything ends.
BOOST_AUTO_TEST_SUITE(of_damaged_types)

/// Looks at everything of a type.
std::size_t look_at(btf_type const& t) {
  std::size_t seen = t.to_string().size() + t.name().size() + t.size() + t.count() + t.resolve().id() + t.target().id();
  seen += t.is_signed() + t.is_bool() + t.is_char();
  std::size_t most = 50;
  for (auto const& m : t.members()) {
    if (most-- == 0) break;
    seen += m.name.size() + m.type.to_string().size() + (t.member(m.name) ? 1U : 0U);
  }
  seen += t.member("absent") ? 1U : 0U;
  for (auto const& e : t.enumerators()) seen += e.name.size();
  for (auto const& p : t.parameters()) seen += p.name.size() + p.type.size();
  return seen;
}

/// Looks at everything of a value, and of what is in it, as far as `budget` goes.
std::size_t look_at(dynamic_value const& v, std::size_t& budget) {
  if (budget == 0) return 0;
  --budget;
  std::size_t seen = 0;
  for (auto const b : v.bytes()) seen += std::to_integer<std::size_t>(b);
  error_code ec;
  if (auto const n = v.to_number()) seen += n->to_string().size();
  seen += v.text().value_or("").size() + v.as<std::string>(ec).size();
  seen += static_cast<std::size_t>(v.as<u8>(ec));
  auto const fields = v.fields();
  for (auto const& f : fields) {
    seen += look_at(f.value, budget);
    if (!f.name.empty()) seen += v.find(f.name)->bytes().size();
    if (budget == 0) return seen;
  }
  if (fields.empty() && v.size() != 0) seen += look_at(v[0], budget) + look_at(v[v.size() - 1], budget);
  return seen;
}

constexpr std::size_t largest = 1U << 20U;

std::size_t look_at(btf const& all, std::mt19937& random) {
  std::size_t made = 0;
  std::size_t seen = 0;
  for (auto const& t : all.types()) {
    seen += look_at(t);
    auto const size = t.size();
    if (size > largest) continue;
    std::vector<std::byte> bytes(size + random() % 8);
    for (auto& b : bytes) b = static_cast<std::byte>(random() % 256);
    error_code ec;
    diagnostics details;
    dynamic_value const v{t, bytes, ec, details};
    if (ec) {
      BOOST_TEST_REQUIRE(ec == make_error_code(errc::type_mismatch));
      BOOST_TEST_REQUIRE(!details.message.empty());
      continue;
    }
    ++made;
    std::size_t budget = 200;
    seen += look_at(v, budget);
    seen += v.to_string().size();
    if (size < 10'000) seen += json(v).size();
  }
  BOOST_TEST(seen != 0U);
  return made;
}

BOOST_AUTO_TEST_CASE(that_are_whole) {
  std::mt19937 random{1};
  BOOST_TEST(look_at(view(), random) > 100U);
}

/// The BTF of the object, as libbpf completes it: with the places of variables.
std::vector<std::byte> raw_view() {
  auto* const obj = bpf_object__open_file(BTF_VIEW_BPF_O, nullptr);
  __u32 size = 0;
  auto const* const raw = static_cast<std::byte const*>(btf__raw_data(bpf_object__btf(obj), &size));
  std::vector<std::byte> const all(raw, raw + size);
  bpf_object__close(obj);
  return all;
}

// As files: libbpf itself trusts the BTF of an object that it opens.
BOOST_AUTO_TEST_CASE(of_files) {
  auto const whole = raw_view();
  std::mt19937 random{20240229};
  std::size_t opened = 0;
  std::size_t made = 0;
  for (int round = 0; round < 400; ++round) {
    auto raw = whole;
    u32 header[6];
    std::memcpy(header, raw.data(), sizeof header);
    auto const types = std::span{raw}.subspan(header[1], header[3]);
    for (auto damages = 1 + random() % 6; damages != 0; --damages) {
      auto const at = random() % (types.size() / 4) * 4;
      u32 word = 0;
      std::memcpy(&word, &types[at], sizeof word);
      switch (random() % 5) {
        case 0:
          word = static_cast<u32>(random() % 200);  // another type, or size, or offset
          break;
        case 1:
          word ^= 1U << random() % 32;
          break;
        case 2:
          word ^= 1U << 31U;  // the kind's flag
          break;
        case 3:
          word = static_cast<u32>(random());
          break;
        default:
          word = (word & 0xe0ffffffU) | static_cast<u32>(random() % 20) << 24U;  // another kind
      }
      std::memcpy(&types[at], &word, sizeof word);
    }
    test::scratch_file const file;
    BOOST_TEST_REQUIRE(write(file.fd(), raw.data(), raw.size()) == static_cast<ssize_t>(raw.size()));
    error_code ec;
    auto const all = btf::open("/proc/self/fd/" + std::to_string(file.fd()), {}, ec);
    if (ec) {
      BOOST_TEST_REQUIRE(ec == make_error_code(errc::invalid_object));
      continue;
    }
    ++opened;
    made += look_at(all, random);
  }
  BOOST_TEST(opened > 50U);
  BOOST_TEST(made > 1000U);
}

/// The types of the object after one was changed.
template <class F>
btf with_changed(char const* name, F change) {
  auto image = test::contents_of(BTF_VIEW_BPF_O);
  auto const section = test::section_of(image, ".BTF");
  auto* const types = btf__new(section.data(), static_cast<__u32>(section.size()));
  auto const id = btf__find_by_name(types, name);
  __u32 size = 0;
  auto const* const raw = btf__raw_data(types, &size);
  change(*const_cast<::btf_type*>(btf__type_by_id(types, static_cast<__u32>(id))), static_cast<__u32>(id));
  std::memcpy(section.data(), raw, section.size());
  btf__free(types);
  return object::open(image, "damaged").btf();
}

std::string flaw_of(btf const& all, std::string_view name) {
  std::vector<std::byte> const bytes(1000);
  error_code ec;
  diagnostics details;
  dynamic_value const v{all.type(name), bytes, ec, details};
  BOOST_TEST(ec == make_error_code(errc::type_mismatch), name);
  return details.message;
}

BOOST_AUTO_TEST_CASE(are_refused_with_the_reason) {
  auto const point_of = view().type("v_point").id();
  auto const flaw = [](char const* name, auto change) { return flaw_of(with_changed(name, change), name); };
  BOOST_TEST(contains(flaw("v_point", [](::btf_type& t, __u32 id) { btf_members(&t)[0].type = id; }),
                      "is nested without an end"));
  auto const to_nothing = [](::btf_type& t, __u32) { btf_members(&t)[0].type = 0xffff; };
  // From 1.3 on libbpf looks at such numbers itself, and opens no object whose maps are described so.
  if (libbpf_major_version() == 1 && libbpf_minor_version() < 3)
    BOOST_TEST(contains(flaw("v_point", to_nothing), "refers to a type that does not exist"));
  else
    BOOST_CHECK_EXCEPTION(static_cast<void>(with_changed("v_point", to_nothing)), tinybpf::error,
                          [](auto const& e) { return e.code() == make_error_code(errc::invalid_object); });
  BOOST_TEST(contains(flaw("v_point", [](::btf_type& t, __u32) { btf_members(&t)[0].type = 0; }),
                      "is nothing that can be in memory"));
  BOOST_TEST(contains(flaw("v_point", [](::btf_type& t, __u32) { btf_members(&t)[1].offset = 640; }),
                      "has a member beyond its end"));
  BOOST_TEST(contains(flaw("v_point", [](::btf_type& t, __u32) { t.size = 7; }), "has a member beyond its end"));
  BOOST_TEST(contains(flaw("v_point", [](::btf_type& t, __u32) { btf_members(&t)[0].offset = 1; }),
                      "has a member that begins within a byte"));
  BOOST_TEST(contains(flaw("v_bits", [](::btf_type& t, __u32) { btf_members(&t)[0].offset = 33U << 24U; }),
                      "has a bit-field larger than its type"));
  BOOST_TEST(contains(flaw("v_bits", [&](::btf_type& t, __u32) { btf_members(&t)[3].type = point_of; }),
                      "has a bit-field that is no integer"));
  BOOST_TEST(contains(flaw("v_color", [](::btf_type& t, __u32) { t.size = 0; }), "has a number of 0 bytes"));
  BOOST_TEST(contains(flaw("v_color", [](::btf_type& t, __u32) { t.size = 17; }), "has a number of 17 bytes"));
  BOOST_TEST(contains(flaw("v_alias", [](::btf_type& t, __u32 id) { t.type = id; }), "is nested without an end"));
}

// Structs of nothing: arrays of them, and more of them than anyone can look into.
BOOST_AUTO_TEST_CASE(have_too_much_of_nothing) {
  auto* const types = btf__new_empty();
  auto const index = btf__add_int(types, "int", 4, BTF_INT_SIGNED);
  auto inner = btf__add_struct(types, "nothing", 0);
  auto const array = btf__add_array(types, index, inner, 1U << 30U);
  btf__add_typedef(types, "many_nothings", array);
  for (int depth = 0; depth < 4; ++depth) {
    auto const outer = btf__add_struct(types, depth == 3 ? "bomb" : "part", 0);
    for (int i = 0; i < 1000; ++i) btf__add_field(types, "", inner, 0, 0);
    inner = outer;
  }
  __u32 size = 0;
  auto const* const raw = btf__raw_data(types, &size);
  test::scratch_file const file;
  BOOST_TEST_REQUIRE(write(file.fd(), raw, size) == static_cast<ssize_t>(size));
  btf__free(types);
  auto const all = btf::open("/proc/self/fd/" + std::to_string(file.fd()));
  BOOST_TEST(contains(flaw_of(all, "many_nothings"), "has elements without a size"));
  BOOST_TEST(contains(flaw_of(all, "bomb"), "has too many members"));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace value_test
