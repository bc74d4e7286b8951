// C++ types against the types of layouts.bpf.c: which fit, how each other one differs, and what is said about it.
#include "../src/detail/layout_rows.hpp"
#include "../src/detail/type_registry.hpp"
#include "support.hpp"

#include <tinybpf/event.hpp>
#include <tinybpf/object.hpp>

#include <boost/describe/class.hpp>
#include <boost/describe/enum.hpp>
#include <boost/test/unit_test.hpp>

#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <typeinfo>
#include <utility>
#include <vector>

using test::contains;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::field_names;
using tinybpf::object;

// Not in a namespace without a name, which every text would show.
namespace cpp {

using s8 = std::int8_t;
using s16 = std::int16_t;
using s32 = std::int32_t;
using s64 = std::int64_t;
using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

struct scalars {
  u8 a;
  s8 b;
  u16 c;
  s16 d;
  u32 e;
  s32 f;
  u64 g;
  s64 h;
};
BOOST_DESCRIBE_STRUCT(scalars, (), (a, b, c, d, e, f, g, h))

struct plain_scalars {
  u8 a;
  s8 b;
  u16 c;
  s16 d;
  u32 e;
  s32 f;
  u64 g;
  s64 h;
};

struct other_signs {
  s8 a;
  u8 b;
  s16 c;
  u16 d;
  s32 e;
  u32 f;
  s64 g;
  u64 h;
};
BOOST_DESCRIBE_STRUCT(other_signs, (), (a, b, c, d, e, f, g, h))

struct pair {
  u32 pid;
  u32 tgid;
};
BOOST_DESCRIBE_STRUCT(pair, (), (pid, tgid))

struct plain_pair {
  u32 one;
  u32 two;
};

struct swapped_pair {
  u32 tgid;
  u32 pid;
};
BOOST_DESCRIBE_STRUCT(swapped_pair, (), (tgid, pid))

struct renamed_pair {
  u32 pid;
  u32 group;
};
BOOST_DESCRIBE_STRUCT(renamed_pair, (), (pid, group))

struct signed_pair {
  s32 pid;
  s32 tgid;
};
BOOST_DESCRIBE_STRUCT(signed_pair, (), (pid, tgid))

struct long_pair {
  long pid;
  u32 tgid;
};
BOOST_DESCRIBE_STRUCT(long_pair, (), (pid, tgid))

struct float_pair {
  float pid;
  u32 tgid;
};
BOOST_DESCRIBE_STRUCT(float_pair, (), (pid, tgid))

struct plain_signed_pair {
  s32 one;
  s32 two;
};

struct single {
  u32 pid;
};
BOOST_DESCRIBE_STRUCT(single, (), (pid))

struct derived_pair : single {
  u32 tgid;
};
BOOST_DESCRIBE_STRUCT(derived_pair, (single), (tgid))

struct late_pair {
  u32 gap;
  s32 tgid;
};
BOOST_DESCRIBE_STRUCT(late_pair, (), (tgid))

struct triple {
  u32 pid;
  u32 tgid;
  u32 uid;
};
BOOST_DESCRIBE_STRUCT(triple, (), (pid, tgid, uid))

struct event {
  u32 pid;
  u32 pad;
  u64 time;
};
BOOST_DESCRIBE_STRUCT(event, (), (pid, pad, time))

struct event_without_pad {
  u32 pid;
  u64 time;
};
BOOST_DESCRIBE_STRUCT(event_without_pad, (), (pid, time))

struct plain_event_without_pad {
  u32 pid;
  u64 time;
};

struct reordered_event {
  u64 time;
  u32 pid;
  u32 pad;
};
BOOST_DESCRIBE_STRUCT(reordered_event, (), (time, pid, pad))

struct packed_event {
  u32 pid;
  u64 time;
} __attribute__((packed));
BOOST_DESCRIBE_STRUCT(packed_event, (), (pid, time))

struct tail {
  u64 time;
  u32 pid;
};
BOOST_DESCRIBE_STRUCT(tail, (), (time, pid))

struct packed_tail {
  u64 time;
  u32 pid;
} __attribute__((packed));
BOOST_DESCRIBE_STRUCT(packed_tail, (), (time, pid))

struct packed {
  u8 a;
  u32 b;
  u16 c;
} __attribute__((packed));
BOOST_DESCRIBE_STRUCT(packed, (), (a, b, c))

struct not_packed {
  u8 a;
  u32 b;
  u16 c;
};
BOOST_DESCRIBE_STRUCT(not_packed, (), (a, b, c))

struct alignas(16) aligned {
  u32 a;
};
BOOST_DESCRIBE_STRUCT(aligned, (), (a))

struct not_aligned {
  u32 a;
};

struct comm {
  u32 pid;
  char comm[16];
};
BOOST_DESCRIBE_STRUCT(comm, (), (pid, comm))

struct plain_comm {
  u32 pid;
  std::array<char, 16> comm;
};

struct byte_comm {
  u32 pid;
  std::array<std::byte, 16> comm;
};
BOOST_DESCRIBE_STRUCT(byte_comm, (), (pid, comm))

struct unsigned_comm {
  u32 pid;
  u8 comm[16];
};
BOOST_DESCRIBE_STRUCT(unsigned_comm, (), (pid, comm))

struct short_comm {
  u32 pid;
  char comm[12];
};
BOOST_DESCRIBE_STRUCT(short_comm, (), (pid, comm))

struct letter_comm {
  u32 pid;
  char comm;
};
BOOST_DESCRIBE_STRUCT(letter_comm, (), (pid, comm))

struct folded_comm {
  u32 pid;
  std::array<std::array<char, 4>, 4> comm;
};
BOOST_DESCRIBE_STRUCT(folded_comm, (), (pid, comm))

struct word_comm {
  u32 pid;
  std::array<u32, 4> comm;
};
BOOST_DESCRIBE_STRUCT(word_comm, (), (pid, comm))

struct longs {
  long a;
  unsigned long b;
  long long c;
};
BOOST_DESCRIBE_STRUCT(longs, (), (a, b, c))

struct ints {
  u32 a;
  u32 b;
  u32 c;
};
BOOST_DESCRIBE_STRUCT(ints, (), (a, b, c))

struct long_ints {
  u32 a;
  unsigned long b;
  u32 c;
};
BOOST_DESCRIBE_STRUCT(long_ints, (), (a, b, c))

struct turned_ints {
  u32 b;
  u32 c;
  u32 a;
};
BOOST_DESCRIBE_STRUCT(turned_ints, (), (b, c, a))

struct outer_ints {
  u32 a;
  u32 c;
};
BOOST_DESCRIBE_STRUCT(outer_ints, (), (a, c))

struct qualified {
  u32 a;
  s32 b;
  u64 c;
  std::array<u16, 2> d;
};
BOOST_DESCRIBE_STRUCT(qualified, (), (a, b, c, d))

struct constant {
  u32 const a;
  s32 const b;
  u64 const c;
  std::array<u16 const, 2> d;
};

struct unlike_qualified {
  s32 a;
  s32 b;
  s64 c;
  std::array<u16, 1> d;
};
BOOST_DESCRIBE_STRUCT(unlike_qualified, (), (a, b, c, d))

struct flags {
  bool on;
  bool off;
  u16 count;
};
BOOST_DESCRIBE_STRUCT(flags, (), (on, off, count))

struct number_flags {
  u8 on;
  char off;
  u16 count;
};
BOOST_DESCRIBE_STRUCT(number_flags, (), (on, off, count))

struct floats {
  float narrow;
  double wide;
};

struct doubles {
  double narrow;
  double wide;
};
BOOST_DESCRIBE_STRUCT(doubles, (), (narrow, wide))

struct integer_floats {
  u32 narrow;
  u64 wide;
};
BOOST_DESCRIBE_STRUCT(integer_floats, (), (narrow, wide))

struct chars {
  char c;
  signed char s;
  unsigned char u;
  char text[5];
  u8 raw[8];
};
BOOST_DESCRIBE_STRUCT(chars, (), (c, s, u, text, raw))

struct other_chars {
  signed char c;
  char s;
  char u;
  std::array<unsigned char, 5> text;
  std::array<char, 8> raw;
};
BOOST_DESCRIBE_STRUCT(other_chars, (), (c, s, u, text, raw))

struct signed_chars {
  char c;
  unsigned char s;
  signed char u;
  char text[5];
  s8 raw[8];
};
BOOST_DESCRIBE_STRUCT(signed_chars, (), (c, s, u, text, raw))

enum class state : u32 { idle, busy };
enum sign { minus = -1, plus = 1 };
enum class wide : u64 { huge = 1ULL << 40 };
enum class kind : u8 { exec };
enum class signed_kind : s8 { exec };
BOOST_DESCRIBE_ENUM(state, idle, busy)

struct enums {
  cpp::state state;
  cpp::sign sign;
  cpp::wide wide;
  cpp::kind kind;
};
BOOST_DESCRIBE_STRUCT(enums, (), (state, sign, wide, kind))

struct number_enums {
  u32 state;
  s32 sign;
  u64 wide;
  u8 kind;
};
BOOST_DESCRIBE_STRUCT(number_enums, (), (state, sign, wide, kind))

struct narrow_enums {
  cpp::kind state;
  cpp::sign sign;
  cpp::wide wide;
  signed_kind kind;
};
BOOST_DESCRIBE_STRUCT(narrow_enums, (), (state, sign, wide, kind))

struct bool_enums {
  cpp::state state;
  cpp::sign sign;
  double wide;
  bool kind;
};
BOOST_DESCRIBE_STRUCT(bool_enums, (), (state, sign, wide, kind))

struct place {
  u16 x;
  u16 y;
};
BOOST_DESCRIBE_STRUCT(place, (), (x, y))

struct turned_place {
  u16 y;
  u16 x;
};
BOOST_DESCRIBE_STRUCT(turned_place, (), (y, x))

struct nested {
  u32 id;
  pair who;
  place at;
};
BOOST_DESCRIBE_STRUCT(nested, (), (id, who, at))

struct half_plain_nested {
  u32 id;
  plain_pair who;
  place at;
};
BOOST_DESCRIBE_STRUCT(half_plain_nested, (), (id, who, at))

struct plain_nested {
  u32 id;
  plain_pair who;
  place at;
};

struct flat_nested {
  u32 id;
  u32 pid;
  u32 tgid;
  u16 x;
  u16 y;
};
BOOST_DESCRIBE_STRUCT(flat_nested, (), (id, pid, tgid, x, y))

struct turned_nested {
  u32 id;
  signed_pair who;
  turned_place at;
};
BOOST_DESCRIBE_STRUCT(turned_nested, (), (id, who, at))

struct half_plain_turned_nested {
  u32 id;
  plain_pair who;
  turned_place at;
};
BOOST_DESCRIBE_STRUCT(half_plain_turned_nested, (), (id, who, at))

struct to {
  u16 port;
  u16 family;
};
BOOST_DESCRIBE_STRUCT(to, (), (port, family))
struct flow {
  cpp::to to;
  u32 mark;
};
BOOST_DESCRIBE_STRUCT(flow, (), (to, mark))
struct deep {
  cpp::flow flow;
};
BOOST_DESCRIBE_STRUCT(deep, (), (flow))

struct wide_to {
  u32 port;
  u16 family;
};
BOOST_DESCRIBE_STRUCT(wide_to, (), (port, family))
struct wide_flow {
  wide_to to;
  u32 mark;
};
BOOST_DESCRIBE_STRUCT(wide_flow, (), (to, mark))
struct wide_deep {
  wide_flow flow;
};
BOOST_DESCRIBE_STRUCT(wide_deep, (), (flow))

struct deep_place {
  u64 flow;
};
BOOST_DESCRIBE_STRUCT(deep_place, (), (flow))

struct anonymous {
  u32 id;
  u32 x;
  u32 y;
};
BOOST_DESCRIBE_STRUCT(anonymous, (), (id, x, y))

struct anonymous_inside {
  struct {
    u32 x;
    u32 y;
  } at;
};
struct inner_place {
  u32 x;
  u32 y;
};
BOOST_DESCRIBE_STRUCT(inner_place, (), (x, y))
struct described_inside {
  inner_place at;
};
BOOST_DESCRIBE_STRUCT(described_inside, (), (at))
struct turned_inner_place {
  u32 y;
  u32 x;
};
BOOST_DESCRIBE_STRUCT(turned_inner_place, (), (y, x))
struct turned_inside {
  turned_inner_place at;
};
BOOST_DESCRIBE_STRUCT(turned_inside, (), (at))

struct arrays {
  u32 ports[4];
  u8 table[2][3];
};
BOOST_DESCRIBE_STRUCT(arrays, (), (ports, table))

struct plain_arrays {
  std::array<u32, 4> ports;
  std::array<std::array<u8, 3>, 2> table;
};

struct turned_arrays {
  std::array<u32, 4> ports;
  std::array<std::array<u8, 2>, 3> table;
};
BOOST_DESCRIBE_STRUCT(turned_arrays, (), (ports, table))

struct small_arrays {
  u16 ports[8];
  s8 table[2][3];
  u16 tail;
};
BOOST_DESCRIBE_STRUCT(small_arrays, (), (ports, table, tail))

struct point {
  u16 x;
  u32 y;
};
BOOST_DESCRIBE_STRUCT(point, (), (x, y))

struct plain_wide_point {
  u32 x;
  u32 y;
};

struct records {
  u64 count;
  point points[3];
};
BOOST_DESCRIBE_STRUCT(records, (), (count, points))

struct plain_point {
  u16 a;
  u32 b;
};
struct plain_records {
  u64 count;
  std::array<plain_point, 3> points;
};

struct fewer_records {
  u64 count;
  std::array<point, 2> points;
};
BOOST_DESCRIBE_STRUCT(fewer_records, (), (count, points))

struct far_point {
  u16 x;
  u32 y;
  u32 z;
};
BOOST_DESCRIBE_STRUCT(far_point, (), (x, y, z))
struct far_records {
  u64 count;
  far_point points[3];
};
BOOST_DESCRIBE_STRUCT(far_records, (), (count, points))

struct far_record {
  far_point points[1];
};
BOOST_DESCRIBE_STRUCT(far_record, (), (points))

struct window {
  u32 limits[2];
  u64 since;
};
BOOST_DESCRIBE_STRUCT(window, (), (limits, since))
struct windows_of {
  window windows[2];
};
BOOST_DESCRIBE_STRUCT(windows_of, (), (windows))

struct one {
  u32 v[1];
};
BOOST_DESCRIBE_STRUCT(one, (), (v))

struct signed_one {
  s32 v[1];
};
BOOST_DESCRIBE_STRUCT(signed_one, (), (v))

struct plain_signed_one {
  std::array<s32, 1> v;
};

struct not_one {
  u32 v;
};
BOOST_DESCRIBE_STRUCT(not_one, (), (v))

union address {
  u32 v4;
  u32 v6[4];
};
struct unions {
  u32 family;
  cpp::address address;
  u32 port;
};
BOOST_DESCRIBE_STRUCT(unions, (), (family, address, port))

union short_address {
  u32 v4;
  u16 ports[2];
};
struct short_unions {
  u32 family;
  short_address address;
  u32 port;
};
BOOST_DESCRIBE_STRUCT(short_unions, (), (family, address, port))

struct whole_unions {
  u32 family;
  union {
    u32 v4;
    u32 rest[5];
  } address;
};
BOOST_DESCRIBE_STRUCT(whole_unions, (), (family, address))

struct array_unions {
  u32 family;
  u32 address[4];
  u32 port;
};
BOOST_DESCRIBE_STRUCT(array_unions, (), (family, address, port))

struct padded_union {
  u64 id;
  union {
    u32 a;
    u64 b;
  } value;
};

struct union_list {
  u64 count;
  short_address values[2];
};
BOOST_DESCRIBE_STRUCT(union_list, (), (count, values))

union value {
  u64 number;
  u64 pointer;
};
struct anonymous_union {
  u64 id;
  cpp::value value;
};
BOOST_DESCRIBE_STRUCT(anonymous_union, (), (id, value))

union either {
  u32 a;
  u64 b;
};
union neither {
  u32 a;
};

struct union_pair {
  either pid;
  u32 tgid;
};
BOOST_DESCRIBE_STRUCT(union_pair, (), (pid, tgid))

struct bits {
  u32 pid;
  u64 time;
};
BOOST_DESCRIBE_STRUCT(bits, (), (pid, time))

struct own_bits {
  u32 pid;
  u32 first : 3;
  u32 second : 5;
  u64 time;
};
BOOST_DESCRIBE_STRUCT(own_bits, (), (pid, time))

struct whole_bits {
  u32 pid;
  u32 bits;
  u64 time;
};
BOOST_DESCRIBE_STRUCT(whole_bits, (), (pid, bits, time))

struct hidden {
  u32 anything;
};
struct hidden_bits {
  u32 pid;
  hidden bits;
  u64 time;
};
BOOST_DESCRIBE_STRUCT(hidden_bits, (), (pid, bits, time))

// Called as one of the bit-fields is.
struct hidden_first_bits {
  u32 pid;
  hidden first;
  u64 time;
};
BOOST_DESCRIBE_STRUCT(hidden_first_bits, (), (pid, first, time))

struct hidden_hole {
  u32 pid;
  hidden pad;
  u64 time;
};
BOOST_DESCRIBE_STRUCT(hidden_hole, (), (pid, pad, time))

// Next to the bit-fields, and over them.
struct before_bits {
  u16 pid;
  u16 more;
  u64 time;
};
BOOST_DESCRIBE_STRUCT(before_bits, (), (pid, more, time))
struct across_bits {
  u16 pid;
  u16 more[3];
  u64 time;
};
BOOST_DESCRIBE_STRUCT(across_bits, (), (pid, more, time))
struct second_bits {
  u8 first;
  u8 second;
  u16 rest;
};
BOOST_DESCRIBE_STRUCT(second_bits, (), (second))
struct behind_bits {
  u16 bits;
  u16 rest;
};
BOOST_DESCRIBE_STRUCT(behind_bits, (), (rest))

struct bit_record {
  u16 a;
  u16 more;
  u16 bits;
  u16 last;
};
BOOST_DESCRIBE_STRUCT(bit_record, (), (a, more, last))
struct bit_records {
  bit_record records[3];
};
BOOST_DESCRIBE_STRUCT(bit_records, (), (records))

struct hidden_pair {
  u32 a;
  u32 b;
};
struct hidden_nested {
  u32 id;
  hidden_pair who;
  place at;
};
BOOST_DESCRIBE_STRUCT(hidden_nested, (), (id, who, at))

struct pointers {
  u64 here;
  u64 there;
};
BOOST_DESCRIBE_STRUCT(pointers, (), (here, there))

struct plain_pointers {
  u64 here;
  u64 there;
};

struct signed_pointers {
  s64 here;
  u64 there;
};
BOOST_DESCRIBE_STRUCT(signed_pointers, (), (here, there))

struct list {
  u64 next;
  u64 value;
};
BOOST_DESCRIBE_STRUCT(list, (), (next, value))

struct header {
  u32 length;
  u32 kind;
};
BOOST_DESCRIBE_STRUCT(header, (), (length, kind))

struct growing {
  u32 length;
  u32 kind;
};
BOOST_DESCRIBE_STRUCT(growing, (), (length, kind))

struct growing_otherwise {
  u32 length;
  s32 kind;
};
BOOST_DESCRIBE_STRUCT(growing_otherwise, (), (length, kind))

struct far_pointer {
  u64 far;
};
BOOST_DESCRIBE_STRUCT(far_pointer, (), (far))

struct unanchored {
  u64 far;
};

struct nothing {};

// Called as the object's are, as streams look for them.
struct t_pair {
  u32 pid;
  u32 tgid;
};
BOOST_DESCRIBE_STRUCT(t_pair, (), (pid, tgid))
template <class T>
struct t_tail {
  T value;
};

namespace outdated {

struct t_pair {
  u32 pid;
};
struct t_event {
  u32 pid;
  u64 time;
};

}  // namespace outdated
}  // namespace cpp

template <>
inline constexpr bool tinybpf::opaque_layout<cpp::hidden> = true;
template <>
inline constexpr bool tinybpf::opaque_layout<cpp::hidden_pair> = true;
template <>
struct tinybpf::event_traits<cpp::growing> {
  static constexpr auto size = tinybpf::size_rule::at_least;
};
template <>
struct tinybpf::event_traits<cpp::growing_otherwise> {
  static constexpr auto size = tinybpf::size_rule::at_least;
};

namespace {

using what = tinybpf::btf_difference::what;

constexpr auto ignore = field_names::ignore;

/// What is left empty of C++ and object is not compared.
struct difference {
  what kind;
  std::string field;
  std::string cpp = {};
  std::string object = {};
};

struct row {
  std::string cpp_name;
  std::string btf_name;
  void (*add)(object&, std::string_view, error_code&, diagnostics&);
  std::vector<difference> differences;
};

template <class T, field_names Names = field_names::check>
row refused(std::string btf_name, std::vector<difference> differences) {
  auto const add = [](object& o, std::string_view name, error_code& ec, diagnostics& details) {
    o.register_type<T>(name, Names, ec, details);
  };
  return {typeid(T).name(), std::move(btf_name), add, std::move(differences)};
}

template <class T, field_names Names = field_names::check>
row fits(std::string btf_name) {
  return refused<T, Names>(std::move(btf_name), {});
}

std::vector<row> rows_that_fit() {
  return {
      fits<cpp::scalars>("t_scalars"),
      fits<cpp::plain_scalars>("t_scalars"),
      fits<cpp::pair>("t_pair"),
      fits<cpp::plain_pair>("t_pair"),
      fits<cpp::derived_pair>("t_pair"),
      fits<cpp::swapped_pair, ignore>("t_pair"),
      fits<cpp::renamed_pair, ignore>("t_pair"),
      fits<cpp::pair>("t_pair_alias"),
      fits<cpp::event>("t_event"),
      fits<cpp::event_without_pad>("t_hole"),
      fits<cpp::tail>("t_tail"),
      fits<cpp::packed>("t_packed"),
      fits<cpp::aligned>("t_aligned"),
      fits<cpp::comm>("t_comm"),
      fits<cpp::plain_comm>("t_comm"),
      fits<cpp::byte_comm>("t_comm"),
      fits<cpp::unsigned_comm>("t_comm"),
      fits<cpp::longs>("t_longs"),
      fits<cpp::ints>("t_ints"),
      fits<cpp::qualified>("t_qualified"),
      fits<cpp::constant>("t_qualified"),
      fits<cpp::flags>("t_flags"),
      fits<cpp::floats>("t_floats"),
      fits<cpp::chars>("t_chars"),
      fits<cpp::other_chars>("t_chars"),
      fits<cpp::enums>("t_enums"),
      fits<cpp::number_enums>("t_enums"),
      fits<cpp::state>("t_state"),
      fits<cpp::wide>("t_wide"),
      fits<cpp::nested>("t_nested"),
      fits<cpp::half_plain_nested>("t_nested"),
      fits<cpp::plain_nested>("t_nested"),
      fits<cpp::flat_nested, ignore>("t_nested"),
      fits<cpp::hidden_nested>("t_nested"),
      fits<cpp::hidden_pair>("t_pair"),
      fits<cpp::either>("t_pair"),
      fits<cpp::deep>("t_deep"),
      fits<cpp::anonymous>("t_anonymous"),
      fits<cpp::anonymous_inside>("t_anonymous_inside"),
      fits<cpp::described_inside>("t_anonymous_inside"),
      fits<cpp::arrays>("t_arrays"),
      fits<cpp::plain_arrays>("t_arrays"),
      fits<cpp::records>("t_records"),
      fits<cpp::plain_records>("t_records"),
      fits<cpp::windows_of>("t_windows"),
      fits<cpp::one>("t_one"),
      fits<cpp::unions>("t_unions"),
      fits<cpp::whole_unions, ignore>("t_unions"),
      fits<cpp::anonymous_union>("t_anonymous_union"),
      fits<cpp::either>("t_either"),
      fits<cpp::bits>("t_bits"),
      fits<cpp::own_bits>("t_bits"),
      fits<cpp::hidden_bits>("t_bits"),
      fits<cpp::hidden_first_bits>("t_bits"),
      fits<cpp::pointers>("t_pointers"),
      fits<cpp::list>("t_list"),
      fits<cpp::growing>("t_flexible"),
      fits<std::uint32_t>("t_number"),
      fits<std::uint32_t>("unsigned int"),
      fits<float>("float"),
      fits<std::array<std::uint32_t, 4>>("t_quad"),
      fits<std::array<cpp::point, 2>>("t_points"),
  };
}

std::vector<row> rows_that_do_not() {
  auto const changed_signs = [](std::string const& field, std::string const& cpp, std::string const& object) {
    return difference{what::signedness, field, cpp, object};
  };
  return {
      refused<cpp::other_signs>(
          "t_scalars", {changed_signs("a", "s8 at 0", "u8 at 0"), changed_signs("b", "u8 at 1", "s8 at 1"),
                        changed_signs("c", "s16 at 2", "u16 at 2"), changed_signs("d", "u16 at 4", "s16 at 4"),
                        changed_signs("e", "s32 at 8", "u32 at 8"), changed_signs("f", "u32 at 12", "s32 at 12"),
                        changed_signs("g", "s64 at 16", "u64 at 16"), changed_signs("h", "u64 at 24", "s64 at 24")}),
      refused<cpp::swapped_pair>(
          "t_pair", {{what::offset, "tgid", "u32 at 0", "u32 at 4"}, {what::offset, "pid", "u32 at 4", "u32 at 0"}}),
      refused<cpp::renamed_pair>("t_pair", {{what::name, "group", "group", "tgid"}}),
      refused<cpp::signed_pair>("t_pair", {{what::signedness, "pid"}, {what::signedness, "tgid"}}),
      refused<cpp::signed_pair, ignore>("t_pair", {{what::signedness, "pid"}, {what::signedness, "tgid"}}),
      refused<cpp::plain_signed_pair>("t_pair", {{what::signedness, "pid"}, {what::signedness, "tgid"}}),
      refused<cpp::long_pair>("t_pair", {{what::size, "", "16 bytes", "8 bytes"},
                                         {what::size, "pid", "s64 at 0", "u32 at 0"},
                                         {what::signedness, "pid"},
                                         {what::offset, "tgid", "u32 at 8", "u32 at 4"}}),
      refused<cpp::union_pair>("t_pair", {{what::size, "", "16 bytes", "8 bytes"},
                                          {what::size, "pid", "union of 8 bytes at 0", "u32 at 0"},
                                          {what::offset, "tgid"}}),
      refused<cpp::late_pair>("t_pair", {{what::missing, "pid"}, {what::signedness, "tgid"}}),
      refused<cpp::float_pair>("t_pair", {{what::kind, "pid", "float at 0", "u32 at 0"}}),
      refused<cpp::single>("t_pair", {{what::size, ""}, {what::missing, "tgid", "nothing", "u32 at 4"}}),
      refused<cpp::triple>("t_pair", {{what::size, ""}, {what::extra, "uid", "u32 at 8", "nothing"}}),
      refused<std::uint64_t>("t_pair", {{what::kind, "", "u64", "a struct"}}),
      refused<cpp::event_without_pad>("t_event", {{what::missing, "pad", "nothing", "u32 at 4"}}),
      refused<cpp::plain_event_without_pad>("t_event", {{what::missing, "pad", "nothing", "u32 at 4"}}),
      refused<cpp::reordered_event>("t_event", {{what::offset, "time", "u64 at 0", "u64 at 8"},
                                                {what::offset, "pid", "u32 at 8", "u32 at 0"},
                                                {what::offset, "pad", "u32 at 12", "u32 at 4"}}),
      refused<cpp::event>("t_hole", {{what::extra, "pad", "u32 at 4", "nothing"}}),
      refused<cpp::hidden_hole>("t_hole", {{what::extra, "pad", "4 bytes at 4", "nothing"}}),
      refused<cpp::packed_event>("t_hole", {{what::size, "", "12 bytes", "16 bytes"}, {what::offset, "time"}}),
      refused<cpp::packed_tail>("t_tail", {{what::size, "", "12 bytes", "16 bytes"}}),
      refused<cpp::not_packed>("t_packed", {{what::size, "", "12 bytes", "7 bytes"},
                                            {what::offset, "b", "u32 at 4", "u32 at 1"},
                                            {what::offset, "c", "u16 at 8", "u16 at 5"}}),
      refused<cpp::not_aligned>("t_aligned", {{what::size, "", "4 bytes", "16 bytes"}}),
      refused<cpp::short_comm>("t_comm", {{what::size, ""}, {what::count, "comm", "char[12] at 4", "char[16] at 4"}}),
      refused<cpp::letter_comm>("t_comm", {{what::size, ""}, {what::kind, "comm", "char at 4", "char[16] at 4"}}),
      refused<cpp::folded_comm>("t_comm", {{what::kind, "comm", "char[4][4] at 4", "char[16] at 4"}}),
      refused<cpp::word_comm>("t_comm", {{what::count, "comm", "u32[4] at 4", "char[16] at 4"}, {what::size, "comm"}}),
      refused<cpp::ints>("t_longs", {{what::size, ""},
                                     {what::size, "a", "u32 at 0", "s64 at 0"},
                                     {what::signedness, "a"},
                                     {what::size, "b"},
                                     {what::offset, "b"},
                                     {what::size, "c"},
                                     {what::signedness, "c"},
                                     {what::offset, "c"}}),
      refused<cpp::long_ints>("t_ints", {{what::size, "", "24 bytes", "12 bytes"},
                                         {what::size, "b", "u64 at 8", "u32 at 4"},
                                         {what::offset, "b"},
                                         {what::offset, "c", "u32 at 16", "u32 at 8"}}),
      refused<cpp::turned_ints>("t_ints", {{what::offset, "b"}, {what::offset, "a"}, {what::offset, "c"}}),
      refused<cpp::outer_ints>("t_ints", {{what::size, ""}, {what::offset, "c"}, {what::missing, "b"}}),
      refused<cpp::unlike_qualified>("t_qualified", {{what::signedness, "a", "s32 at 0", "u32 at 0"},
                                                     {what::signedness, "c", "s64 at 8", "u64 at 8"},
                                                     {what::count, "d", "u16[1] at 16", "u16[2] at 16"}}),
      refused<cpp::number_flags>(
          "t_flags", {{what::kind, "on", "u8 at 0", "bool at 0"}, {what::kind, "off", "char at 1", "bool at 1"}}),
      refused<cpp::doubles>("t_floats", {{what::size, "narrow", "double at 0", "float at 0"}}),
      refused<cpp::integer_floats>("t_floats", {{what::kind, "narrow"}, {what::kind, "wide"}}),
      refused<cpp::signed_chars>("t_chars", {{what::signedness, "s", "u8 at 1", "s8 at 1"},
                                             {what::signedness, "u", "s8 at 2", "u8 at 2"},
                                             {what::signedness, "raw", "s8[8] at 8", "u8[8] at 8"}}),
      refused<cpp::narrow_enums>("t_enums", {{what::size, "state", "enum of u8 at 0", "enum t_state of u32 at 0"},
                                             {what::signedness, "kind", "enum of s8 at 16", "u8 at 16"}}),
      refused<cpp::bool_enums>("t_enums", {{what::kind, "wide", "double at 8", "enum t_wide of u64 at 8"},
                                           {what::kind, "kind", "bool at 16", "u8 at 16"}}),
      refused<cpp::kind>("t_state", {{what::size, "", "1 byte", "4 bytes"}}),
      refused<float>("t_state", {{what::kind, "", "float", "enum t_state of u32"}}),
      refused<float>("t_sign", {{what::kind, "", "float", "enum t_sign of s32"}}),
      refused<cpp::flat_nested>("t_nested", {{what::name, "pid", "pid", "who.pid"},
                                             {what::name, "tgid", "tgid", "who.tgid"},
                                             {what::name, "x", "x", "at.x"},
                                             {what::name, "y", "y", "at.y"}}),
      refused<cpp::turned_nested>("t_nested", {{what::signedness, "who.pid", "s32 at 4", "u32 at 4"},
                                               {what::signedness, "who.tgid"},
                                               {what::offset, "at.y", "u16 at 12", "u16 at 14"},
                                               {what::offset, "at.x", "u16 at 14", "u16 at 12"}}),
      refused<cpp::half_plain_turned_nested>("t_nested", {{what::offset, "at.y"}, {what::offset, "at.x"}}),
      refused<cpp::wide_deep>("t_deep", {{what::size, ""},
                                         {what::size, "flow.to.port", "u32 at 0", "u16 at 0"},
                                         {what::offset, "flow.to.family", "u16 at 4", "u16 at 2"},
                                         {what::offset, "flow.mark", "u32 at 8", "u32 at 4"}}),
      refused<cpp::deep_place>("t_deep", {{what::size, "flow", "u64 at 0", "u16 at 0"},
                                          {what::name, "flow", "flow", "flow.to.port"},
                                          {what::missing, "flow.to.family"},
                                          {what::missing, "flow.mark"}}),
      refused<cpp::triple>(
          "t_anonymous",
          {{what::name, "pid", "pid", "id"}, {what::name, "tgid", "tgid", "x"}, {what::name, "uid", "uid", "y"}}),
      refused<cpp::turned_inside>("t_anonymous_inside", {{what::offset, "at.y", "u32 at 0", "u32 at 4"},
                                                         {what::offset, "at.x", "u32 at 4", "u32 at 0"}}),
      refused<cpp::turned_arrays>("t_arrays", {{what::count, "table", "u8[3][2] at 16", "u8[2][3] at 16"}}),
      refused<cpp::small_arrays>("t_arrays", {{what::count, "ports", "u16[8] at 0", "u32[4] at 0"},
                                              {what::size, "ports"},
                                              {what::signedness, "table"},
                                              {what::extra, "tail", "u16 at 22", "nothing"}}),
      refused<cpp::fewer_records>(
          "t_records",
          {{what::size, "", "24 bytes", "32 bytes"}, {what::count, "points.x"}, {what::count, "points.y"}}),
      refused<cpp::far_records>("t_records",
                                {{what::size, "", "48 bytes", "32 bytes"},
                                 {what::size, "points.x", "u16[3] at 8, every 12 bytes", "u16[3] at 8, every 8 bytes"},
                                 {what::size, "points.y"},
                                 {what::extra, "points.z", "u32[3] at 16, every 12 bytes", "nothing"}}),
      refused<cpp::far_record>(
          "t_record", {{what::size, "", "12 bytes", "8 bytes"}, {what::extra, "points.z", "u32[1] at 8", "nothing"}}),
      refused<cpp::plain_signed_one>("t_one", {{what::signedness, "v", "s32[1] at 0", "u32[1] at 0"}}),
      refused<std::array<cpp::signed_one, 2>>("t_ones", {{what::signedness, "v", "s32[2][1] at 0", "u32[2][1] at 0"}}),
      refused<cpp::not_one>("t_one", {{what::kind, "v", "u32 at 0", "u32[1] at 0"}}),
      refused<cpp::short_unions>("t_unions",
                                 {{what::size, ""},
                                  {what::size, "address", "union of 4 bytes at 4", "union of 16 bytes at 4"},
                                  {what::offset, "port", "u32 at 8", "u32 at 20"}}),
      refused<cpp::whole_unions>(
          "t_unions",
          {{what::size, "address", "union of 20 bytes at 4", "union of 16 bytes at 4"}, {what::missing, "port"}}),
      refused<cpp::array_unions>("t_unions", {{what::kind, "address", "u32[4] at 4", "union of 16 bytes at 4"}}),
      refused<cpp::padded_union>("t_padded_union",
                                 {{what::size, "value", "union of 8 bytes at 8", "union of 4 bytes at 8"}}),
      refused<cpp::union_list>("t_union_list", {{what::size, "", "16 bytes", "24 bytes"}, {what::size, "values"}}),
      refused<cpp::plain_pointers>("t_anonymous_union",
                                   {{what::kind, "offset 8", "u64 at 8", "union of 8 bytes at 8"}}),
      refused<cpp::pointers>("t_anonymous_union", {{what::name, "here", "here", "id"},
                                                   {what::kind, "there", "u64 at 8", "union of 8 bytes at 8"}}),
      refused<cpp::neither>("t_either", {{what::size, "", "4 bytes", "8 bytes"}}),
      refused<std::uint64_t>("t_either", {{what::kind, "", "u64", "union of 8 bytes"}}),
      refused<cpp::whole_bits>("t_bits", {{what::kind, "bits", "u32 at 4", "3 bits at 4 ('first')"}}),
      refused<cpp::before_bits>("t_bits", {{what::size, "pid"}, {what::extra, "more", "u16 at 2", "nothing"}}),
      refused<cpp::across_bits>("t_bits",
                                {{what::size, "pid"}, {what::kind, "more", "u16[3] at 2", "3 bits at 4 ('first')"}}),
      refused<cpp::second_bits>("t_crossing_bits", {{what::kind, "second", "u8 at 1", "6 bits at 0 ('second')"}}),
      refused<cpp::behind_bits>("t_crossing_bits", {{what::extra, "rest", "u16 at 2", "nothing"}}),
      refused<cpp::bit_records>(
          "t_bit_records", {{what::size, "records.a"}, {what::extra, "records.more"}, {what::extra, "records.last"}}),
      refused<cpp::signed_pointers>("t_pointers", {{what::kind, "here", "s64 at 0", "pointer at 0"}}),
      refused<cpp::header>("t_flexible", {{what::missing, "data", "nothing", "flexible array at 8"}}),
      refused<cpp::growing_otherwise>("t_flexible", {{what::signedness, "kind"}}),
      refused<std::int32_t>("t_number", {{what::signedness, "", "s32", "u32"}}),
      refused<std::uint64_t>("t_number", {{what::size, "", "8 bytes", "4 bytes"}}),
      refused<std::array<std::uint16_t, 8>>(
          "t_quad", {{what::count, "", "u16[8]", "u32[4]"}, {what::size, "", "u16[8]", "u32[4]"}}),
      refused<std::array<std::uint16_t, 2>>(
          "t_quad", {{what::size, "", "4 bytes", "16 bytes"}, {what::count, ""}, {what::size, "", "u16[2]", "u32[4]"}}),
      refused<std::array<std::uint16_t, 4>>("t_quad", {{what::size, "", "8 bytes", "16 bytes"}}),
      refused<std::array<cpp::plain_wide_point, 2>>(
          "t_points", {{what::size, "x", "u32[2] at 0, every 8 bytes", "u16[2] at 0, every 8 bytes"}}),
      refused<std::array<cpp::far_point, 2>>(
          "t_points", {{what::size, ""}, {what::size, "x"}, {what::size, "y"}, {what::extra, "z"}}),
  };
}

constexpr std::array<char const*, 8> kind_names{"size",  "offset", "kind",    "signedness",
                                                "count", "name",   "missing", "extra"};

/// A line each. Of what is not to be compared, the texts are what they should be.
std::string in_words(std::vector<tinybpf::btf_difference> const& found, std::vector<difference> const& expected) {
  std::string text;
  for (std::size_t i = 0; i < found.size(); ++i) {
    bool const all = i >= expected.size() || !expected[i].cpp.empty();
    text += std::string{"\n"} + kind_names.at(static_cast<std::size_t>(found[i].kind)) + " of '" + found[i].field +
            "'" + (all ? ": " + found[i].cpp + " | " + found[i].object : std::string{});
  }
  return text;
}

std::string in_words(std::vector<difference> const& expected) {
  std::string text;
  for (auto const& d : expected)
    text += std::string{"\n"} + kind_names.at(static_cast<std::size_t>(d.kind)) + " of '" + d.field + "'" +
            (!d.cpp.empty() ? ": " + d.cpp + " | " + d.object : std::string{});
  return text;
}

/// What is said of a pair that does not fit.
template <class T, field_names Names = field_names::check>
diagnostics refusal_of(std::string_view btf_name, errc expected = errc::type_mismatch) {
  auto obj = object::open(LAYOUTS_BPF_O);
  error_code ec;
  diagnostics details;
  obj.register_type<T>(btf_name, Names, ec, details);
  BOOST_TEST(ec == make_error_code(expected));
  BOOST_TEST(obj.lookup_btf_name<T>() == "");
  return details;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(layouts)

BOOST_AUTO_TEST_CASE(that_agree_are_taken) {
  for (auto const& r : rows_that_fit()) {
    auto obj = object::open(LAYOUTS_BPF_O);
    error_code ec;
    diagnostics details;
    r.add(obj, r.btf_name, ec, details);
    BOOST_TEST(!ec, r.cpp_name << " against " << r.btf_name << ": " << details.to_string());
    BOOST_TEST(details.empty());
  }
}

BOOST_AUTO_TEST_CASE(that_differ_are_refused_with_every_difference) {
  for (auto const& r : rows_that_do_not()) {
    auto obj = object::open(LAYOUTS_BPF_O);
    error_code ec;
    diagnostics details;
    r.add(obj, r.btf_name, ec, details);
    BOOST_TEST_CONTEXT(r.cpp_name << " against " << r.btf_name) {
      BOOST_TEST(ec == make_error_code(errc::type_mismatch));
      BOOST_TEST(in_words(details.differences, r.differences) == in_words(r.differences));
      BOOST_TEST(contains(details.message, "'" + r.btf_name + "'"));
      BOOST_TEST(contains(details.message, LAYOUTS_BPF_O));
      BOOST_TEST(contains(details.layouts, "  -> "));
    }
  }
}

BOOST_AUTO_TEST_CASE(are_many) {
  std::set<std::pair<std::string, std::string>> pairs;
  auto const fit = rows_that_fit();
  auto const do_not = rows_that_do_not();
  for (auto const* const rows : {&fit, &do_not})
    for (auto const& r : *rows) pairs.emplace(r.cpp_name, r.btf_name);
  BOOST_TEST_MESSAGE(fit.size() << " fit, " << do_not.size() << " do not");
  BOOST_TEST(pairs.size() >= 64U);
  std::set<what> kinds;
  for (auto const& r : do_not)
    for (auto const& d : r.differences) kinds.insert(d.kind);
  BOOST_TEST(kinds.size() == kind_names.size());
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(texts)

BOOST_AUTO_TEST_CASE(show_a_missing_field) {
  auto const details = refusal_of<cpp::event_without_pad>("t_event");
  BOOST_TEST(details.layouts ==
             "     C++: cpp::event_without_pad    object: t_event\n"
             "        0  u32 pid                     0  u32 pid\n"
             "  ->    4  (4 bytes of padding)        4  u32 pad\n"
             "        8  u64 time                    8  u64 time\n"
             "       16  end                        16  end");
  BOOST_TEST(details.message == std::string{"cpp::event_without_pad differs from 't_event' in "} + LAYOUTS_BPF_O +
                                    ": 'pad', which is u32 at 4 in the object, is missing in C++");
  BOOST_TEST(details.hint == "add 'pad' (u32 at 4) to the C++ type, also if it is there for padding alone");
  BOOST_TEST(details.expected_size == 16U);
  BOOST_TEST(details.actual_size == 16U);
  BOOST_TEST(contains(details.to_string(), details.message + "; " + details.hint + "\n" + details.layouts));
}

BOOST_AUTO_TEST_CASE(show_a_long) {
  auto const details = refusal_of<cpp::long_ints>("t_ints");
  BOOST_TEST(details.layouts ==
             "     C++: cpp::long_ints          object: t_ints\n"
             "        0  u32 a                     0  u32 a\n"
             "  ->    4  (4 bytes of padding)      4  u32 b\n"
             "        8  u64 b                     8  u32 c\n"
             "                                    12  end\n"
             "       16  u32 c\n"
             "       20  (4 bytes of padding)\n"
             "       24  end");
  BOOST_TEST(contains(details.message, ": the size is 24 bytes in C++ and 12 bytes in the object, and 3 more"));
  BOOST_TEST(details.hint == "'b' is std::uint64_t in C++, as long is: make it std::uint32_t");
  BOOST_TEST(details.expected_size == 24U);
  BOOST_TEST(details.actual_size == 12U);
}

BOOST_AUTO_TEST_CASE(show_an_array_of_structs) {
  auto const details = refusal_of<cpp::far_records>("t_records");
  BOOST_TEST(details.layouts ==
             "     C++: cpp::far_records                   object: t_records\n"
             "        0  u64 count                            0  u64 count\n"
             "  ->    8  u16[3] points.x, every 12 bytes      8  u16[3] points.x, every 8 bytes\n"
             "       12  u32[3] points.y, every 12 bytes     12  u32[3] points.y, every 8 bytes\n"
             "       16  u32[3] points.z, every 12 bytes\n"
             "                                               32  end\n"
             "       44  (4 bytes of padding)\n"
             "       48  end");
  BOOST_TEST(contains(details.hint, "remove 'points.z'"));
}

BOOST_AUTO_TEST_CASE(show_fields_without_names) {
  auto const details = refusal_of<cpp::plain_event_without_pad>("t_event");
  BOOST_TEST(details.layouts ==
             "     C++: cpp::plain_event_without_pad    object: t_event\n"
             "        0  u32                               0  u32 pid\n"
             "  ->    4  (4 bytes of padding)              4  u32 pad\n"
             "        8  u64                               8  u64 time\n"
             "       16  end                              16  end");
  BOOST_TEST(details.hint == "add 'pad' (u32 at 4) to the C++ type, also if it is there for padding alone");
}

BOOST_AUTO_TEST_CASE(mark_where_one_ends) {
  BOOST_TEST(refusal_of<cpp::packed_tail>("t_tail").layouts ==
             "     C++: cpp::packed_tail    object: t_tail\n"
             "        0  u64 time              0  u64 time\n"
             "        8  u32 pid               8  u32 pid\n"
             "  ->   12  end                  12  (4 bytes of padding)\n"
             "                                16  end");
}

BOOST_AUTO_TEST_CASE(mark_a_type_of_another_kind) {
  BOOST_TEST(refusal_of<std::uint64_t>("t_pair").layouts ==
             "     C++: unsigned long    object: t_pair\n"
             "  ->    0  u64                0  u32 pid\n"
             "                              4  u32 tgid\n"
             "        8  end                8  end");
}

BOOST_AUTO_TEST_CASE(say_what_would_help) {
  BOOST_TEST(refusal_of<cpp::swapped_pair>("t_pair").hint == "the fields 'tgid' and 'pid' have changed places");
  BOOST_TEST(refusal_of<cpp::reordered_event>("t_event").hint == "the fields 'time' and 'pid' have changed places");
  BOOST_TEST(refusal_of<cpp::signed_pair>("t_pair").hint == "'pid' is std::int32_t in C++: make it std::uint32_t");
  BOOST_TEST(refusal_of<cpp::signed_chars>("t_chars").hint == "'s' is std::uint8_t in C++: make it std::int8_t");
  BOOST_TEST(refusal_of<cpp::long_pair>("t_pair").hint ==
             "'pid' is std::int64_t in C++, as long is: make it std::uint32_t");
  BOOST_TEST(refusal_of<cpp::number_flags>("t_flags").hint == "'on' is std::uint8_t in C++: make it bool");
  BOOST_TEST(refusal_of<cpp::renamed_pair>("t_pair").hint ==
             "call it 'tgid' in C++, too, or register the type with field_names::ignore");
  BOOST_TEST(refusal_of<cpp::header>("t_flexible").hint ==
             "the object's type ends in a flexible array: leave it out in C++, and say size_rule::at_least in "
             "event_traits");
  BOOST_TEST(refusal_of<cpp::packed_event>("t_hole").hint == "all fields are there: alignment or packing differs");
  BOOST_TEST(refusal_of<cpp::not_aligned>("t_aligned").hint == "all fields are there: alignment or packing differs");
  BOOST_TEST(refusal_of<cpp::whole_bits>("t_bits").hint == "leave 'bits' out: bit-fields cannot be described");
  BOOST_TEST(refusal_of<cpp::kind>("t_state").hint == "");
  BOOST_TEST(refusal_of<cpp::turned_ints>("t_ints").hint == "all fields are there, in another order");
  BOOST_TEST(refusal_of<cpp::signed_pointers>("t_pointers").hint ==
             "'here' is std::int64_t in C++: make it std::uint64_t");
  BOOST_TEST(refusal_of<cpp::array_unions>("t_unions").hint == "");
  BOOST_TEST(refusal_of<cpp::union_pair>("t_pair").hint == "");
  BOOST_TEST(refusal_of<std::int32_t>("t_number").hint == "");
}

BOOST_AUTO_TEST_CASE(name_the_anchor_that_is_missing) {
  auto const details = refusal_of<cpp::pair>("t_unanchored", errc::not_found);
  BOOST_TEST(contains(details.hint, "`struct t_unanchored t_unanchored_anchor;`"), details.hint);
  auto const near = refusal_of<cpp::pair>("t_pear", errc::not_found);
  BOOST_TEST(contains(near.hint, "did you mean 't_pair'?"));
  BOOST_TEST((std::find(near.names.begin(), near.names.end(), "t_pair") != near.names.end()));
  BOOST_TEST(contains(refusal_of<cpp::pair>("t_numbr", errc::not_found).hint, "did you mean 't_number'?"));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(registered_types)

BOOST_AUTO_TEST_CASE(are_known_both_ways) {
  auto obj = object::open(LAYOUTS_BPF_O);
  BOOST_TEST(obj.lookup_btf_name<cpp::pair>() == "");
  BOOST_TEST(!obj.lookup_type("t_pair").has_value());
  obj.register_type<cpp::pair>("t_pair");
  obj.register_type<cpp::growing>("t_flexible");
  BOOST_TEST(obj.lookup_btf_name<cpp::pair>() == "t_pair");
  auto const shape = obj.lookup_type("t_pair");
  BOOST_TEST_REQUIRE(shape.has_value());
  BOOST_TEST((*shape->type == typeid(cpp::pair)));
  BOOST_TEST(shape->size == sizeof(cpp::pair));
  BOOST_TEST(shape->alignment == alignof(cpp::pair));
  BOOST_TEST((shape->rule == tinybpf::size_rule::exact));
  BOOST_TEST((obj.lookup_type("t_flexible")->rule == tinybpf::size_rule::at_least));
  BOOST_TEST(!obj.lookup_type("t_event").has_value());
  obj.close();
  BOOST_TEST(obj.lookup_btf_name<cpp::pair>() == "");
  BOOST_TEST(!obj.lookup_type("t_pair").has_value());
}

BOOST_AUTO_TEST_CASE(may_be_registered_again_but_not_otherwise) {
  auto obj = object::open(LAYOUTS_BPF_O);
  obj.register_type<cpp::pair>("t_pair");
  error_code ec = errc::closed;
  diagnostics details;
  obj.register_type<cpp::pair>("t_pair", ec, details);
  BOOST_TEST(!ec);
  BOOST_TEST(details.empty());

  // It would fit.
  obj.register_type<cpp::pair>("t_pair_alias", ec, details);
  BOOST_TEST(ec == make_error_code(errc::type_conflict));
  BOOST_TEST(contains(details.message, "'t_pair'"));
  BOOST_TEST(contains(details.message, "'t_pair_alias'"));
  BOOST_TEST(obj.lookup_btf_name<cpp::pair>() == "t_pair");

  // Several C++ types may stand for one.
  obj.register_type<cpp::plain_pair>("t_pair", ec);
  BOOST_TEST(!ec);
  BOOST_TEST((*obj.lookup_type("t_pair")->type == typeid(cpp::pair)));
}

BOOST_AUTO_TEST_SUITE_END()

namespace {

/// The types of an object that is open elsewhere, and what streams that read from it know.
struct registry_of_streams {
  ::btf* types = btf__parse(LAYOUTS_BPF_O, nullptr);
  tinybpf::detail::type_registry registry{tinybpf::detail::btf_tables::copy_of(types, "streams"), "streams"};
  error_code ec;
  diagnostics details;

  registry_of_streams() = default;
  registry_of_streams(registry_of_streams const&) = delete;
  ~registry_of_streams() { btf__free(types); }

  template <class T>
  error_code check() {
    ec = {};
    details = {};
    registry.check(tinybpf::shape_of<T>(), ec, details);
    return ec;
  }
  template <class T>
  void add(std::string_view btf_name) {
    registry.add(tinybpf::shape_of<T>(), btf_name, field_names::check, ec, details);
    BOOST_TEST_REQUIRE(!ec);
  }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(types_of_streams, registry_of_streams)

BOOST_AUTO_TEST_CASE(are_held_against_the_object_s_of_that_name) {
  BOOST_TEST(!check<cpp::t_pair>());
  BOOST_TEST(registry.name_of(typeid(cpp::t_pair)) == "t_pair");
  BOOST_TEST(check<cpp::outdated::t_pair>() == make_error_code(errc::type_mismatch));
  BOOST_TEST(details.differences.size() == 2U);
  BOOST_TEST(registry.name_of(typeid(cpp::outdated::t_pair)) == "");
}

BOOST_AUTO_TEST_CASE(are_held_against_their_registration) {
  BOOST_TEST(check<cpp::outdated::t_event>() == make_error_code(errc::type_mismatch));
  ec = {};
  add<cpp::outdated::t_event>("t_hole");
  BOOST_TEST(!check<cpp::outdated::t_event>());
}

BOOST_AUTO_TEST_CASE(may_be_unknown_to_the_object) {
  BOOST_TEST(!check<cpp::triple>());
  BOOST_TEST(registry.name_of(typeid(cpp::triple)) == "");
  BOOST_TEST(!check<cpp::t_tail<std::uint32_t>>());
  BOOST_TEST(!check<cpp::unanchored>());  // there is a program of that name
  tinybpf::detail::type_registry without{nullptr, "streams"};
  without.check(tinybpf::shape_of<cpp::outdated::t_pair>(), ec, details);
  BOOST_TEST(!ec);
}

BOOST_AUTO_TEST_CASE(are_held_against_a_copy_when_the_object_is_gone) {
  add<cpp::pair>("t_pair");
  btf__free(std::exchange(types, nullptr));
  BOOST_TEST(check<cpp::outdated::t_pair>() == make_error_code(errc::type_mismatch));
  BOOST_TEST(!check<cpp::t_pair>());
  BOOST_TEST(registry.name_of(typeid(cpp::pair)) == "t_pair");
}

BOOST_AUTO_TEST_SUITE_END()

namespace {

/// The object's image with one type of its BTF changed.
template <class F>
std::vector<std::byte> with_changed(char const* type_name, F change) {
  auto image = test::contents_of(LAYOUTS_BPF_O);
  auto const section = test::section_of(image, ".BTF");
  auto* const types = btf__new(section.data(), static_cast<__u32>(section.size()));
  auto const id = btf__find_by_name(types, type_name);
  __u32 size = 0;
  auto const* const raw = static_cast<std::byte const*>(btf__raw_data(types, &size));
  auto* const type = const_cast<btf_type*>(btf__type_by_id(types, static_cast<__u32>(id)));
  change(*type, static_cast<__u32>(id));
  std::memcpy(section.data(), raw, section.size());
  btf__free(types);
  return image;
}

template <class T>
diagnostics refusal_of(std::span<std::byte const> image, std::string_view btf_name,
                       errc expected = errc::type_mismatch) {
  auto obj = object::open(image, "damaged");
  error_code ec;
  diagnostics details;
  obj.register_type<T>(btf_name, ec, details);
  BOOST_TEST(ec == make_error_code(expected));
  BOOST_TEST(details.differences.empty());
  return details;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(bad_types)

BOOST_AUTO_TEST_CASE(only_declared) {
  auto const details = refusal_of<cpp::pair>("t_declared");
  BOOST_TEST(contains(details.message, "'t_declared'"));
  BOOST_TEST(contains(details.message, "is only declared"));
  BOOST_TEST(contains(details.hint, "`struct t_declared t_declared_anchor;`"));
}

// A pointer's target does not matter.
BOOST_AUTO_TEST_CASE(that_point_to_what_is_only_declared) {
  auto obj = object::open(LAYOUTS_BPF_O);
  error_code ec;
  obj.register_type<cpp::far_pointer>("t_with_declared", ec);
  BOOST_TEST(!ec);
}

BOOST_AUTO_TEST_CASE(without_a_size) {
  BOOST_TEST(contains(refusal_of<cpp::nothing>("t_empty").message, "has no size"));
  BOOST_TEST(contains(refusal_of<cpp::pair>("t_empty").message, "has no size"));
  BOOST_TEST(refusal_of<cpp::pair>("t_empty").hint == "");
}

BOOST_AUTO_TEST_CASE(without_a_name) { refusal_of<cpp::place>("", errc::not_found); }

BOOST_AUTO_TEST_CASE(without_btf) {
  auto obj = object::open(NO_BTF_BPF_O);
  error_code ec;
  diagnostics details;
  obj.register_type<cpp::pair>("t_pair", ec, details);
  BOOST_TEST(ec == make_error_code(errc::no_btf));
  BOOST_TEST(contains(details.hint, "-g"));
}

BOOST_AUTO_TEST_CASE(that_contain_themselves) {
  auto const image = with_changed("t_list", [](btf_type& t, __u32 id) { btf_members(&t)[0].type = id; });
  BOOST_TEST(contains(refusal_of<cpp::list>(image, "t_list").message, "nested without an end"));
  auto const alias = with_changed("t_number", [](btf_type& t, __u32 id) { t.type = id; });
  BOOST_TEST(contains(refusal_of<std::uint32_t>(alias, "t_number").message, "nested without an end"));
}

BOOST_AUTO_TEST_CASE(that_refer_to_nothing) {
  auto const image = with_changed("t_list", [](btf_type& t, __u32) { btf_members(&t)[0].type = 0xffff; });
  // From 1.3 on libbpf looks at such numbers itself, and then takes none of the types.
  if (libbpf_major_version() == 1 && libbpf_minor_version() < 3)
    BOOST_TEST(contains(refusal_of<cpp::list>(image, "t_list").message, "does not exist"));
  else
    refusal_of<cpp::list>(image, "t_list", errc::no_btf);
  auto const of_void = with_changed("t_list", [](btf_type& t, __u32) { btf_members(&t)[0].type = 0; });
  BOOST_TEST(contains(refusal_of<cpp::list>(of_void, "t_list").message, "is nothing that can be in memory"));
}

BOOST_AUTO_TEST_CASE(with_members_outside) {
  auto const behind = with_changed("t_list", [](btf_type& t, __u32) { btf_members(&t)[1].offset = 64 * 100; });
  BOOST_TEST(contains(refusal_of<cpp::list>(behind, "t_list").message, "beyond its end"));
  auto const across = with_changed("t_list", [](btf_type& t, __u32) { t.size = 12; });
  BOOST_TEST(contains(refusal_of<cpp::list>(across, "t_list").message, "beyond its end"));
  auto const bits = with_changed("t_bits", [](btf_type& t, __u32) { btf_members(&t)[1].offset = 0x03ffffff; });
  BOOST_TEST(contains(refusal_of<cpp::bits>(bits, "t_bits").message, "beyond its end"));
}

BOOST_AUTO_TEST_CASE(with_members_within_a_byte) {
  auto const image = with_changed("t_list", [](btf_type& t, __u32) { btf_members(&t)[1].offset = 65; });
  BOOST_TEST(contains(refusal_of<cpp::list>(image, "t_list").message, "begins within a byte"));
}

BOOST_AUTO_TEST_CASE(larger_than_memory) {
  auto* const types = btf__new_empty();
  auto const number = btf__add_int(types, "number", 8, 0);
  auto const numbers = btf__add_array(types, number, number, 0xffffffff);
  auto const around = btf__add_struct(types, "around", 16);
  btf__add_field(types, "number", number, 0, 0);
  btf__add_field(types, "numbers", numbers, 64, 0);
  std::string why;
  BOOST_TEST(!tinybpf::detail::rows_of(types, static_cast<std::uint32_t>(numbers), why).has_value());
  BOOST_TEST(why == "is larger than memory");
  BOOST_TEST(!tinybpf::detail::rows_of(types, static_cast<std::uint32_t>(around), why).has_value());
  BOOST_TEST(why == "has a member beyond its end");
  btf__free(types);
}

BOOST_AUTO_TEST_CASE(with_as_many_members_as_are_taken) {
  for (int const members : {10'000, 10'001}) {
    auto* const types = btf__new_empty();
    auto const number = btf__add_int(types, "number", 8, 0);
    auto const many = btf__add_struct(types, "many", 8 * 10'001);
    for (int i = 0; i < members; ++i) btf__add_field(types, "", number, static_cast<__u32>(64 * i), 0);
    std::string why;
    auto const rows = tinybpf::detail::rows_of(types, static_cast<std::uint32_t>(many), why);
    BOOST_TEST(rows.has_value() == (members == 10'000));
    btf__free(types);
  }
}

// Three types, and more members than anyone can wait for.
BOOST_AUTO_TEST_CASE(with_too_many_members) {
  auto* const types = btf__new_empty();
  auto inner = btf__add_struct(types, "nothing", 0);
  for (int depth = 0; depth < 4; ++depth) {
    auto const outer = btf__add_struct(types, "bomb", 0);
    for (int i = 0; i < 1000; ++i) btf__add_field(types, "", inner, 0, 0);
    inner = outer;
  }
  std::string why;
  BOOST_TEST(!tinybpf::detail::rows_of(types, static_cast<std::uint32_t>(inner), why).has_value());
  BOOST_TEST(why == "has too many members");
  btf__free(types);
}

BOOST_AUTO_TEST_CASE(of_damaged_objects) {
  auto const whole = test::contents_of(LAYOUTS_BPF_O);
  auto const fit = rows_that_fit();
  auto const do_not = rows_that_do_not();
  std::set<errc> seen;
  std::size_t taken = 0;
  std::mt19937 random{20240229};
  for (int round = 0; round < 4000; ++round) {
    auto image = whole;
    auto const section = test::section_of(image, ".BTF");
    // The strings come last, and are most of it: rather the types.
    auto const range = round % 4 == 0 ? section.size() : section.size() / 2;
    for (auto damages = 1 + random() % 8; damages != 0; --damages)
      section[random() % range] = static_cast<std::byte>(random() % 256);
    error_code ec;
    diagnostics details;
    auto obj = object::open(image, "damaged", ec, details);
    BOOST_TEST_REQUIRE((!ec || ec == make_error_code(errc::invalid_object) || ec == test::kernel_error(ENOENT)),
                       round << ": " << ec.message() << ", " << details.to_string());
    if (ec) continue;
    for (auto const* const rows : {&fit, &do_not})
      for (int i = 0; i < 8; ++i) {
        auto const& r = (*rows)[random() % rows->size()];
        r.add(obj, r.btf_name, ec, details);
        if (!ec) {
          ++taken;
          continue;
        }
        BOOST_TEST_REQUIRE((ec.category() == tinybpf::tinybpf_category()));
        BOOST_TEST_REQUIRE(!details.message.empty());
        seen.insert(static_cast<errc>(ec.value()));
      }
  }
  BOOST_TEST(taken > 1000U);
  BOOST_TEST((seen.contains(errc::type_mismatch) && seen.contains(errc::not_found)));
  for (auto const e : {errc::type_mismatch, errc::not_found, errc::type_conflict, errc::no_btf}) seen.erase(e);
  BOOST_TEST(seen.empty());
}

BOOST_AUTO_TEST_SUITE_END()
