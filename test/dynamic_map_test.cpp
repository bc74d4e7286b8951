// Maps read and written by what BTF says of them.
#include "print.hpp"
#include "support.hpp"

#include <tinybpf/btf.hpp>
#include <tinybpf/dynamic_map.hpp>
#include <tinybpf/dynamic_value.hpp>
#include <tinybpf/map.hpp>
#include <tinybpf/number.hpp>
#include <tinybpf/object.hpp>

#include <boost/test/unit_test.hpp>

#include <bpf/libbpf.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <ostream>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace map_test {

using test::contains;
using tinybpf::diagnostics;
using tinybpf::dynamic_value;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::number;
using tinybpf::object;
using tinybpf::update_flag;

struct point {
  std::int32_t x;
  std::int32_t y;
};

struct loaded {
  object obj = tinybpf::load(DYNAMIC_MAPS_BPF_O);
  tinybpf::map operator[](char const* name) const { return obj.map(name); }
};

/// What all verbs with a number say, or nothing.
struct refusal {
  error_code lookup;
  error_code update;
  error_code erase;
  diagnostics details;  // of the lookup
};

refusal refusal_of(tinybpf::map const& m, number key, number value) {
  refusal r;
  BOOST_TEST((!m.lookup(key, r.lookup, r.details).has_value() || !r.lookup));
  error_code ec;
  BOOST_TEST((!m.lookup(key, ec).has_value() || !ec));
  BOOST_TEST(ec == r.lookup);
  m.update(key, value, update_flag::any, r.update);
  m.erase(key, r.erase);
  if (r.lookup)
    BOOST_CHECK_EXCEPTION(static_cast<void>(m.lookup(key)), tinybpf::error,
                          [&](tinybpf::error const& e) { return e.code() == r.lookup; });
  if (r.update)
    BOOST_CHECK_EXCEPTION(m.update(key, value), tinybpf::error,
                          [&](tinybpf::error const& e) { return e.code() == r.update; });
  if (r.erase)
    BOOST_CHECK_EXCEPTION(m.erase(key), tinybpf::error, [&](tinybpf::error const& e) { return e.code() == r.erase; });
  return r;
}

constexpr auto fits_not = errc::out_of_range;

/// The least and the greatest key and value are stored, and come back; what lies beyond is refused.
template <class K, class V>
void check_borders(tinybpf::map const& m) {
  for (auto const key : {std::numeric_limits<K>::min(), std::numeric_limits<K>::max()})
    for (auto const value : {std::numeric_limits<V>::min(), std::numeric_limits<V>::max()}) {
      BOOST_TEST_CONTEXT(m.name() << ' ' << number{key} << ' ' << number{value}) {
        m.update(key, value);
        BOOST_TEST((m.lookup(key) == number{value}));
        BOOST_TEST((m.lookup<V>(key) == value));
        // As bytes, it is what C has.
        V stored{};
        BOOST_TEST(m.lookup(test::bytes_of(key), test::writable_bytes_of(stored)));
        BOOST_TEST((stored == value));
        BOOST_TEST(m.erase(key));
        BOOST_TEST(!m.erase(key));
        error_code ec = errc::closed;
        BOOST_TEST(!m.lookup(key, ec).has_value());
        BOOST_TEST(!ec);
      }
    }
  auto const beyond = [&](number key, number value, errc key_error, errc value_error) {
    auto const r = refusal_of(m, key, value);
    BOOST_TEST(r.lookup == make_error_code(key_error));
    BOOST_TEST(r.erase == make_error_code(key_error));
    BOOST_TEST(r.update == make_error_code(value_error));
  };
  if constexpr (sizeof(K) < 8) {
    beyond(std::int64_t{std::numeric_limits<K>::max()} + 1, 0, fits_not, fits_not);
    beyond(std::int64_t{std::numeric_limits<K>::min()} - 1, 0, fits_not, fits_not);
  }
  beyond(0.5, 0, fits_not, fits_not);
  error_code ec;
  for (auto const& value : {number{0.5}, number{1e30}}) {
    m.update(1, value, update_flag::any, ec);
    BOOST_TEST(ec == make_error_code(fits_not));
  }
  if constexpr (sizeof(V) < 8) {
    m.update(1, std::int64_t{std::numeric_limits<V>::max()} + 1, update_flag::any, ec);
    BOOST_TEST(ec == make_error_code(fits_not));
    m.update(1, std::int64_t{std::numeric_limits<V>::min()} - 1, update_flag::any, ec);
    BOOST_TEST(ec == make_error_code(fits_not));
  }
  BOOST_TEST(!m.lookup(1).has_value());
}

BOOST_FIXTURE_TEST_SUITE(numbers, loaded)

BOOST_AUTO_TEST_CASE(of_all_widths) {
  auto const& m = *this;
  check_borders<std::uint8_t, std::int8_t>(m["u8_s8"]);
  check_borders<std::int8_t, std::uint8_t>(m["s8_u8"]);
  check_borders<std::uint16_t, std::int16_t>(m["u16_s16"]);
  check_borders<std::int16_t, std::uint16_t>(m["s16_u16"]);
  check_borders<std::uint32_t, std::int32_t>(m["u32_s32"]);
  check_borders<std::int32_t, std::uint32_t>(m["s32_u32"]);
  check_borders<std::uint64_t, std::int64_t>(m["u64_s64"]);
  check_borders<std::int64_t, std::uint64_t>(m["s64_u64"]);
}

BOOST_AUTO_TEST_CASE(of_bool) {
  auto const m = (*this)["bool_bool"];
  m.update(true, false);
  m.update(false, true);
  BOOST_TEST((m.lookup(true) == number{false}));
  BOOST_TEST((m.lookup<bool>(false) == true));
  BOOST_TEST((m.lookup<int>(0) == 1));
  BOOST_TEST(refusal_of(m, 2, 0).lookup == make_error_code(errc::out_of_range));
  BOOST_TEST(refusal_of(m, 1, 2).update == make_error_code(errc::out_of_range));
  BOOST_TEST(refusal_of(m, -1, 0).erase == make_error_code(errc::out_of_range));
}

BOOST_AUTO_TEST_CASE(of_enumerations) {
  auto const m = (*this)["color_wide"];
  m.update(-1, 0xf000000000000000U);
  m.update(5, 1);
  m.update(6, 7);  // without a name
  BOOST_TEST((m.lookup<std::uint64_t>(-1) == 0xf000000000000000U));
  BOOST_TEST((m.lookup(6) == number{7}));
  BOOST_TEST((m.lookup(5.0) == number{1}));
  BOOST_TEST(refusal_of(m, 0x80000000U, 0).lookup == make_error_code(errc::out_of_range));
  BOOST_TEST(refusal_of(m, 0, -1).update == make_error_code(errc::out_of_range));
}

BOOST_AUTO_TEST_CASE(of_floating_point) {
  auto const d = (*this)["u32_double"];
  d.update(1, 0.1);
  d.update(2, 3);
  BOOST_TEST((d.lookup<double>(1) == 0.1));
  BOOST_TEST((d.lookup<int>(2) == 3));
  error_code ec;
  BOOST_TEST(!d.lookup<int>(1, ec).has_value());
  BOOST_TEST(ec == make_error_code(errc::out_of_range));
  BOOST_TEST(refusal_of(d, 1, std::numeric_limits<std::uint64_t>::max()).update == make_error_code(errc::out_of_range));
  auto const f = (*this)["u32_float"];
  f.update(1, 0.1);
  BOOST_TEST((f.lookup<float>(1) == 0.1F));
  BOOST_TEST(refusal_of(f, 2, 1e300).update == make_error_code(errc::out_of_range));
  BOOST_TEST(refusal_of(f, 2, 16777217).update == make_error_code(errc::out_of_range));
}

BOOST_AUTO_TEST_CASE(that_do_not_fit_what_is_asked_for) {
  auto const m = (*this)["u64_s64"];
  m.update(1, -300);
  error_code ec;
  diagnostics details;
  BOOST_TEST(!m.lookup<std::uint8_t>(1, ec, details).has_value());
  BOOST_TEST(ec == make_error_code(errc::out_of_range));
  BOOST_TEST(contains(details.message, "-300"), details.message);
  BOOST_TEST(contains(details.message, "'u64_s64'"), details.message);
  BOOST_TEST(details.map == "u64_s64");
  BOOST_CHECK_THROW(static_cast<void>(m.lookup<std::uint8_t>(1)), tinybpf::error);
  BOOST_TEST((m.lookup<std::int16_t>(1, ec, details) == -300));
  BOOST_TEST(!ec);
  BOOST_TEST(details.empty());
  // Also a key.
  auto const r = refusal_of((*this)["u8_s8"], 256, 0);
  BOOST_TEST(r.details.message == "256 does not fit '__u8', which the keys of map 'u8_s8' are");
}

BOOST_AUTO_TEST_CASE(as_flags_say) {
  auto const m = (*this)["u32_s32"];
  m.update(1, 1, update_flag::no_exist);
  error_code ec;
  m.update(1, 2, update_flag::no_exist, ec);
  BOOST_TEST(ec == test::kernel_error(EEXIST));
  m.update(2, 2, update_flag::exist, ec);
  BOOST_TEST(ec == test::kernel_error(ENOENT));
  BOOST_TEST((m.lookup(1) == number{1}));
  auto const a = (*this)["an_array"];
  a.update(7, 70);
  BOOST_TEST((a.lookup(7) == number{70}));
  a.update(8, 80, update_flag::any, ec);
  BOOST_TEST(ec == test::kernel_error(E2BIG));
  a.erase(7, ec);
  BOOST_TEST(ec == test::kernel_error(EINVAL));
}

BOOST_AUTO_TEST_CASE(that_maps_have_not) {
  auto const check = [&](char const* name, errc lookup, errc update, error_code erase) {
    auto const r = refusal_of((*this)[name], 1, 1);
    BOOST_TEST_CONTEXT(name) {
      BOOST_TEST(r.lookup == make_error_code(lookup));
      BOOST_TEST(r.update == make_error_code(update));
      BOOST_TEST(r.erase == erase);
      BOOST_TEST(contains(r.details.message, name), r.details.message);
      BOOST_TEST(r.details.map == name);
    }
    return r.details;
  };
  BOOST_TEST(contains(check("sized_only", errc::no_btf, errc::no_btf, errc::no_btf).hint, "__type(key"));
  check("a_queue", errc::no_btf, errc::no_btf, errc::no_btf);
  check("of_maps", errc::no_btf, errc::no_btf, error_code{});
  BOOST_TEST(contains(check("points", errc::type_mismatch, errc::type_mismatch, errc::type_mismatch).message,
                      "'struct point'"));
  check("to_points", errc::type_mismatch, errc::type_mismatch, error_code{});
  check("char_int128", errc::type_mismatch, errc::type_mismatch, error_code{});
  BOOST_TEST(contains(check("by_cpu", errc::not_supported, errc::not_supported, test::kernel_error(EINVAL)).hint,
                      "dynamic()"));
}

BOOST_AUTO_TEST_CASE(of_maps_that_are_not_there) {
  auto const of = [](tinybpf::map const& m, errc wanted) {
    auto const r = refusal_of(m, 1, 1);
    BOOST_TEST(r.lookup == make_error_code(wanted));
    BOOST_TEST(r.update == make_error_code(wanted));
    BOOST_TEST(r.erase == make_error_code(wanted));
    error_code ec;
    auto const d = m.dynamic();
    d.lookup(1, ec);
    BOOST_TEST(ec == make_error_code(wanted));
    d.lookup(dynamic_value{}, ec);
    BOOST_TEST(ec == make_error_code(wanted));
    BOOST_TEST(d.entries(ec).empty());
    BOOST_TEST(ec == make_error_code(wanted));
    BOOST_CHECK_THROW(static_cast<void>(d.entries()), tinybpf::error);
    BOOST_CHECK_THROW(static_cast<void>(d.lookup(1)), tinybpf::error);
    BOOST_CHECK_THROW(static_cast<void>(d.lookup(dynamic_value{})), tinybpf::error);
  };
  auto opened = object::open(DYNAMIC_MAPS_BPF_O);
  of(opened.map("u32_s32"), errc::not_loaded);
  of(tinybpf::map{}, errc::closed);
  auto const m = (*this)["u32_s32"];
  auto const before = m.dynamic();
  obj.close();
  of(m, errc::closed);
  error_code ec;
  before.entries(ec);
  BOOST_TEST(ec == make_error_code(errc::closed));
  tinybpf::dynamic_map{}.entries(ec);
  BOOST_TEST(ec == make_error_code(errc::closed));
  BOOST_TEST(!static_cast<bool>(tinybpf::dynamic_map{}.key_type()));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(dynamic, loaded)

BOOST_AUTO_TEST_CASE(entries_of_numbers) {
  auto const m = (*this)["s32_u32"];
  for (int i = 0; i < 8; ++i) m.update(-i, 10 * i);
  auto const d = m.dynamic();
  BOOST_TEST(d.key_type().to_string() == "__s32");
  BOOST_TEST(d.value_type().to_string() == "__u32");
  std::set<int> seen;
  for (auto const& e : d.entries()) {
    auto const key = e.key.as<int>();
    BOOST_TEST(e.values.size() == 1U);
    BOOST_TEST(e.value().as<int>() == -10 * key);
    BOOST_TEST(seen.insert(key).second);
    BOOST_TEST(d.lookup(e.key)->value().as<int>() == -10 * key);
  }
  BOOST_TEST(seen.size() == 8U);
  BOOST_TEST(d.lookup(-3)->value().as<int>() == 30);
  BOOST_TEST(d.lookup(-3)->key.as<int>() == -3);
  error_code ec = errc::closed;
  BOOST_TEST(!d.lookup(4, ec).has_value());
  BOOST_TEST(!ec);
  d.lookup(std::uint64_t{1} << 40U, ec);
  BOOST_TEST(ec == make_error_code(errc::out_of_range));
  d.lookup(dynamic_value{{}, test::bytes_of(std::uint64_t{1})}, ec);
  BOOST_TEST(ec == make_error_code(errc::size_mismatch));
}

BOOST_AUTO_TEST_CASE(entries_of_structs) {
  auto const m = (*this)["points"];
  point const a{1, -2};
  m.update(test::bytes_of(a), test::bytes_of(std::uint32_t{7}));
  auto const entries = m.dynamic().entries();
  BOOST_REQUIRE(entries.size() == 1U);
  BOOST_TEST(entries[0].key["y"].as<int>() == -2);
  BOOST_TEST(entries[0].value().as<int>() == 7);
  BOOST_TEST(m.dynamic().lookup(entries[0].key)->value().as<int>() == 7);
  error_code ec;
  m.dynamic().lookup(1, ec);
  BOOST_TEST(ec == make_error_code(errc::type_mismatch));
  auto const to = (*this)["to_points"];
  to.update(test::bytes_of(std::uint32_t{3}), test::bytes_of(a));
  BOOST_TEST(to.dynamic().lookup(3)->value()["x"].as<int>() == 1);
  BOOST_TEST((*this)["points"].dynamic().entries().size() == 1U);
  // Entries outlive the map.
  obj.close();
  BOOST_TEST(entries[0].key.to_string() == "(struct point){.x = (__s32)1, .y = (__s32)-2}");
}

BOOST_AUTO_TEST_CASE(entries_of_each_cpu) {
  auto const cpus = static_cast<std::size_t>(libbpf_num_possible_cpus());
  for (auto const* name : {"by_cpu", "hash_by_cpu"}) {
    auto const m = (*this)[name];
    std::vector<std::uint64_t> values(cpus);
    for (std::size_t i = 0; i < cpus; ++i) values[i] = 100 + i;
    std::uint32_t const key = 5;
    m.update(test::bytes_of(key), std::as_bytes(std::span{values}));
    auto const e = m.dynamic().lookup(5);
    BOOST_REQUIRE(e.has_value());
    BOOST_REQUIRE(e->values.size() == cpus);
    for (std::size_t i = 0; i < cpus; ++i) {
      BOOST_TEST(e->values[i].as<std::size_t>() == 100 + i);
      BOOST_TEST(e->values[i].bytes().size() == m.value_size());
    }
    auto const entries = m.dynamic().entries();
    BOOST_TEST(entries.size() == (m.type() == tinybpf::map_type::percpu_array ? 8U : 1U));
    for (auto const& each : entries) BOOST_TEST(each.values.size() == cpus);
  }
  BOOST_TEST((*this)["hash_by_cpu"].erase(5));
}

BOOST_AUTO_TEST_CASE(entries_of_other_maps) {
  struct prefix {
    std::uint32_t length;
    std::uint8_t address[4];
  };
  auto const routes = (*this)["routes"];
  for (std::uint32_t i = 0; i < 4; ++i)
    routes.update(test::bytes_of(prefix{8 * (i + 1), {10, 1, 2, 3}}), test::bytes_of(i));
  auto entries = routes.dynamic().entries();
  BOOST_TEST(entries.size() == 4U);
  std::set<int> lengths;
  for (auto const& e : entries) {
    lengths.insert(e.key["length"].as<int>());
    BOOST_TEST(e.key["address"][0].as<int>() == 10);
    BOOST_TEST(8 * (e.value().as<int>() + 1) == e.key["length"].as<int>());
  }
  BOOST_TEST((lengths == std::set<int>{8, 16, 24, 32}));
  auto const lru = (*this)["lru"];
  lru.update(1, 2);
  BOOST_TEST(lru.dynamic().entries().size() == 1U);
  BOOST_TEST((*this)["an_array"].dynamic().entries().size() == 8U);
  // Of maps: their ids, which BTF knows nothing of.
  entries = (*this)["of_maps"].dynamic().entries();
  BOOST_REQUIRE(entries.size() == 1U);
  BOOST_TEST(entries[0].key.as<int>() == 0);
  BOOST_TEST(!static_cast<bool>(entries[0].value().type()));
  BOOST_TEST(entries[0].value().bytes().size() == 4U);
  // Without types: bytes.
  auto const sized = (*this)["sized_only"];
  sized.update(test::bytes_of(std::uint32_t{1}), test::bytes_of(std::uint32_t{2}));
  entries = sized.dynamic().entries();
  BOOST_REQUIRE(entries.size() == 1U);
  BOOST_TEST(entries[0].key.to_string() == "01000000");
  BOOST_TEST(sized.dynamic().lookup(entries[0].key)->value().to_string() == "02000000");
  error_code ec;
  sized.dynamic().lookup(1, ec);
  BOOST_TEST(ec == make_error_code(errc::no_btf));
}

BOOST_AUTO_TEST_CASE(entries_of_variables) {
  auto const find = [&](std::string_view section) {
    auto const maps = obj.maps();
    return *std::find_if(maps.begin(), maps.end(), [&](auto const& m) { return m.name().ends_with(section); });
  };
  auto const entries = find(".data").dynamic().entries();
  BOOST_REQUIRE(entries.size() == 1U);
  BOOST_TEST(entries[0].value()["counter"].as<int>() == 7);
  BOOST_TEST(entries[0].value()["place"]["y"].as<int>() == -4);
}

BOOST_AUTO_TEST_CASE(entries_that_cannot_be_walked) {
  error_code ec;
  diagnostics details;
  BOOST_TEST((*this)["a_ring"].dynamic().entries(ec, details).empty());
  BOOST_TEST(ec == test::kernel_error(EOPNOTSUPP));
  BOOST_TEST(contains(details.message, "'a_ring'"));
  BOOST_TEST(details.map == "a_ring");
  BOOST_TEST(contains(details.hint, "may not have this operation"));
  BOOST_TEST((*this)["a_queue"].dynamic().entries(ec, details).empty());
  BOOST_TEST(ec == test::kernel_error(EINVAL));
  BOOST_TEST(contains(details.message, "'a_queue'"));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace map_test
