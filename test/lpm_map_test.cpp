// Tries of IP networks.
#include "kinds.hpp"

#include <tinybpf/lpm_map.hpp>
#include <tinybpf/map.hpp>
#include <tinybpf/object.hpp>

#include <boost/asio/ip/address_v4.hpp>
#include <boost/asio/ip/address_v6.hpp>
#include <boost/asio/ip/network_v4.hpp>
#include <boost/asio/ip/network_v6.hpp>
#include <boost/describe/class.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <ranges>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

using boost::asio::ip::network_v4;
using boost::asio::ip::network_v6;
using test::contains;
using test::done;
using test::kernel_error;
using test::kinds;
using test::nothing;
using test::refused;
using test::view_made;
using test::view_refused;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::field_names;
using tinybpf::lpm_map;
using tinybpf::update_flag;

namespace lpm_map_test {

struct traffic {
  std::uint64_t packets;
  std::uint64_t bytes;
};
BOOST_DESCRIBE_STRUCT(traffic, (), (packets, bytes))

struct renamed_traffic {
  std::uint64_t count;
  std::uint64_t size;
};
BOOST_DESCRIBE_STRUCT(renamed_traffic, (), (count, size))

using zone_map = lpm_map<network_v4, std::uint32_t>;
using zone6_map = lpm_map<network_v6, traffic>;

network_v4 net(char const* text) { return boost::asio::ip::make_network_v4(text); }
network_v6 net6(char const* text) { return boost::asio::ip::make_network_v6(text); }
boost::asio::ip::address_v4 host(char const* text) { return boost::asio::ip::make_address_v4(text); }
boost::asio::ip::address_v6 host6(char const* text) { return boost::asio::ip::make_address_v6(text); }

struct fixture : kinds {
  zone_map zones{obj.map("zones")};
  zone6_map zones6{obj.map("zones6")};

  std::uint32_t zone_of(char const* address) const {
    auto const bytes = host(address).to_bytes();
    std::uint64_t argument = 0;
    std::memcpy(&argument, bytes.data(), bytes.size());
    return run("zone_of", argument);
  }
};

template <class M>
concept assigns_by_key = requires(M const& m) { m[net("1.0.0.0/8")]; };
template <class M>
concept takes_the_other_family =
    requires(M const& m) { m.lookup(host6("::")); } || requires(M const& m) { m.erase(net6("::/0")); };
static_assert(!assigns_by_key<zone_map> && !takes_the_other_family<zone_map>);

}  // namespace lpm_map_test

using namespace lpm_map_test;

BOOST_FIXTURE_TEST_SUITE(lpm_maps, fixture)

BOOST_AUTO_TEST_CASE(find_the_longest_network_of_an_address) {
  zones.update(net("10.0.0.0/8"), 8);
  zones.update(net("10.1.0.0/16"), 16, update_flag::any, ec);
  zones.update(net("10.1.2.3/32"), 32, update_flag::any, ec, details);
  BOOST_TEST(!ec);
  struct {
    char const* address;
    std::uint32_t zone;
  } const expected[] = {{"10.1.2.3", 32}, {"10.1.2.4", 16}, {"10.1.255.255", 16}, {"10.2.2.3", 8}, {"10.255.0.1", 8}};
  for (auto const& e : expected) {
    BOOST_TEST_CONTEXT(e.address) {
      BOOST_TEST(zones.lookup(host(e.address)).value() == e.zone);
      BOOST_TEST(zones.lookup(host(e.address), ec).value() == e.zone);
      BOOST_TEST(zones.lookup(host(e.address), ec, details).value() == e.zone);
      BOOST_TEST(zone_of(e.address) == e.zone);
    }
  }
  done([&](auto&... e) { BOOST_TEST(!zones.lookup(host("11.1.2.3"), e...).has_value()); });
  done([&](auto&... e) { BOOST_TEST(zones.contains(host("10.1.2.4"), e...)); });
  done([&](auto&... e) { BOOST_TEST(!zones.contains(host("11.1.2.3"), e...)); });
  done([&](auto&... e) { BOOST_TEST(zones.at(host("10.1.2.4"), e...) == 16U); });
  zones.at(host("11.1.2.3"), ec);
  BOOST_TEST(ec == boost::system::errc::no_such_file_or_directory);
  BOOST_TEST(zone_of("11.1.2.3") == nothing);
}

BOOST_AUTO_TEST_CASE(find_the_longest_network_around_a_network) {
  zones.update(net("10.0.0.0/8"), 8);
  zones.update(net("10.1.0.0/16"), 16);
  BOOST_TEST(zones.lookup(net("10.1.2.0/24")).value() == 16U);
  BOOST_TEST(zones.lookup(net("10.1.0.0/16"), ec).value() == 16U);
  BOOST_TEST(zones.lookup(net("10.0.0.0/15"), ec, details).value() == 8U);
  BOOST_TEST(!zones.lookup(net("10.0.0.0/7")).has_value());
  done([&](auto&... e) { BOOST_TEST(!zones.lookup(net("0.0.0.0/0"), e...).has_value()); });
}

BOOST_AUTO_TEST_CASE(take_all_addresses_and_a_single_one) {
  zones.update(net("0.0.0.0/0"), 1);
  zones.update(net("255.255.255.255/32"), 2);
  zones.update(net("0.0.0.0/32"), 3);
  BOOST_TEST(zones.lookup(host("0.0.0.0")).value() == 3U);
  BOOST_TEST(zones.lookup(host("0.0.0.1")).value() == 1U);
  BOOST_TEST(zones.lookup(host("255.255.255.255")).value() == 2U);
  BOOST_TEST(zones.lookup(net("0.0.0.0/0")).value() == 1U);
  BOOST_TEST(zone_of("255.255.255.254") == 1U);
  BOOST_TEST(zone_of("255.255.255.255") == 2U);
  BOOST_TEST(zones.erase(net("0.0.0.0/0")));
  BOOST_TEST(!zones.lookup(host("0.0.0.1")).has_value());
  BOOST_TEST(zones.lookup(host("0.0.0.0")).value() == 3U);
}

BOOST_AUTO_TEST_CASE(leave_out_the_bits_behind_the_prefix) {
  network_v4 const crooked{host("10.1.2.3"), 8};
  zones.update(crooked, 1);
  BOOST_TEST(zones.lookup(host("10.9.9.9")).value() == 1U);
  BOOST_TEST(!zones.insert(net("10.0.0.0/8"), 2));
  BOOST_TEST(zones.count() == 1U);
  for (auto const& [network, zone] : zones) BOOST_TEST((network == net("10.0.0.0/8")));
  BOOST_TEST(zones.erase(network_v4{host("10.255.255.255"), 8}));
  zones.update(network_v4{host("1.2.3.4"), 0}, 3);
  BOOST_TEST(zones.lookup(host("200.0.0.1")).value() == 3U);
  for (auto const& [network, zone] : zones) BOOST_TEST((network == net("0.0.0.0/0")));
  zones6.update(network_v6{host6("2001:db8::ffff"), 32}, {5, 6});
  for (auto const& [network, flow] : zones6) BOOST_TEST((network == net6("2001:db8::/32")));
  BOOST_TEST(zones6.lookup(host6("2001:db8:1::")).value().bytes == 6U);

  // The kernel takes no notice of them, but what others read would show them.
  network_v4 const other{host("77.1.2.3"), 9};
  zones.insert(other, 4);
  bool seen = false;
  for (auto const& [network, zone] : zones) seen = seen || network == net("77.0.0.0/9");
  BOOST_TEST(seen);
}

BOOST_AUTO_TEST_CASE(of_version_6) {
  zones6.update(net6("::/0"), {1, 1});
  zones6.update(net6("2001:db8::/33"), {2, 2});
  zones6.update(net6("2001:db8:0:1::/64"), {3, 3});
  zones6.update(net6("2001:db8:0:1::7/128"), {4, 4});
  BOOST_TEST(zones6.lookup(host6("fe80::1")).value().packets == 1U);
  BOOST_TEST(zones6.lookup(host6("2001:db8:8000::")).value().packets == 1U);
  BOOST_TEST(zones6.lookup(host6("2001:db8:7fff::"), ec).value().packets == 2U);
  BOOST_TEST(zones6.lookup(host6("2001:db8:0:1::6"), ec, details).value().packets == 3U);
  BOOST_TEST(zones6.lookup(host6("2001:db8:0:1::7")).value().packets == 4U);
  BOOST_TEST(zones6.lookup(net6("2001:db8:0:1::/63")).value().packets == 2U);
  auto const full =
      refused(kernel_error(ENOSPC), [&](auto&... e) { zones6.update(net6("3::/16"), {}, update_flag::any, e...); });
  BOOST_TEST(contains(full.message, "'zones6'"));
  std::map<std::string, std::uint64_t> seen;
  for (auto const& [network, flow] : zones6.entries()) seen[network.to_string()] = flow.bytes;
  BOOST_TEST((seen == std::map<std::string, std::uint64_t>{
                          {"::/0", 1}, {"2001:db8::/33", 2}, {"2001:db8:0:1::/64", 3}, {"2001:db8:0:1::7/128", 4}}));
  BOOST_TEST(!zones6.insert(net6("::/0"), {}));
  BOOST_TEST(zones6.erase(net6("::/0")));
  BOOST_TEST(zones6.clear() == 3U);
  BOOST_TEST(zones6.count() == 0U);
}

BOOST_AUTO_TEST_CASE(insert_and_replace_as_the_flag_says) {
  auto const update = [&](update_flag flag) {
    return [&, flag](auto&... e) { zones.update(net("10.0.0.0/8"), 7, flag, e...); };
  };
  zones.update(net("0.0.0.0/0"), 1);  // is another network, though one around it
  refused(kernel_error(ENOENT), update(update_flag::exist));
  BOOST_TEST(zones.insert(net("10.0.0.0/8"), 2));
  refused(kernel_error(EEXIST), update(update_flag::no_exist));
  done([&](auto&... e) { BOOST_TEST(!zones.insert(net("10.0.0.0/8"), 3, e...)); });
  BOOST_TEST(zones.lookup(host("10.0.0.0")).value() == 2U);
  done(update(update_flag::exist));
  BOOST_TEST(zones.lookup(host("10.0.0.0")).value() == 7U);
  BOOST_TEST(zones.insert(net("11.0.0.0/8"), 3, ec));
  BOOST_TEST(zones.insert(net("12.0.0.0/8"), 3, ec, details));
  BOOST_TEST(zones.count() == 4U);
}

BOOST_AUTO_TEST_CASE(erase_exactly_one_network) {
  zones.update(net("10.0.0.0/8"), 8);
  zones.update(net("10.1.0.0/16"), 16);
  zones.update(net("10.1.1.0/24"), 24);
  for (auto const* other : {"10.0.0.0/9", "10.0.0.0/7", "10.1.2.0/24", "10.1.0.0/17", "11.0.0.0/8"})
    done([&](auto&... e) { BOOST_TEST(!zones.erase(net(other), e...)); });
  BOOST_TEST(zones.count() == 3U);
  BOOST_TEST(zones.erase(net("10.1.0.0/16")));
  BOOST_TEST(zones.lookup(host("10.1.0.1")).value() == 8U);
  BOOST_TEST(zones.lookup(host("10.1.1.1")).value() == 24U);
  BOOST_TEST(zones.erase(net("10.0.0.0/8"), ec));
  BOOST_TEST(zones.erase(net("10.1.1.0/24"), ec, details));
  BOOST_TEST(!ec);
  done([&](auto&... e) { BOOST_TEST(zones.count(e...) == 0U); });
}

BOOST_AUTO_TEST_CASE(are_walked) {
  std::map<std::string, std::uint32_t> expected;
  for (std::uint32_t i = 0; i < 100; ++i) {
    auto const text = std::to_string(i) + ".128.0.0/" + std::to_string(9 + i % 24);
    expected[text] = i;
    zones.update(net(text.c_str()), i);
  }
  auto const walk = [&](auto&& range) {
    static_assert(std::ranges::input_range<decltype(zones.entries())>);
    std::map<std::string, std::uint32_t> seen;
    for (auto const& [network, zone] : range) {
      static_assert(std::is_same_v<decltype(network), network_v4 const>);
      BOOST_TEST(seen.emplace(network.to_string(), zone).second);
    }
    BOOST_TEST((seen == expected));
  };
  walk(zones.entries());
  ec = errc::closed;
  walk(zones.entries(ec));
  BOOST_TEST(!ec);
  walk(zones);
  done([&](auto&... e) { BOOST_TEST(zones.count(e...) == 100U); });
  BOOST_TEST(zones.clear() == 100U);
  zones.update(net("1.0.0.0/8"), 1);
  BOOST_TEST(zones.clear(ec) == 1U);
  zones.update(net("1.0.0.0/8"), 1);
  BOOST_TEST(zones.clear(ec, details) == 1U);
  BOOST_TEST(!ec);
  for (auto const& entry : zones) BOOST_TEST(entry.second == 1U);
}

// The networks are read first. Of what is erased then, the network around it may have the value.
BOOST_AUTO_TEST_CASE(may_change_while_they_are_walked) {
  for (std::uint32_t i = 0; i < 100; ++i) zones.update(net((std::to_string(i) + ".0.0.0/8").c_str()), i);
  std::vector<int> seen(100);
  for (auto const& [network, zone] : zones.entries()) {
    BOOST_TEST(network.address().to_bytes()[0] == zone);
    ++seen.at(zone);
    zones.erase(network);
    zones.update(net((std::to_string(zone + 100) + ".0.0.0/8").c_str()), zone);
  }
  BOOST_TEST(std::ranges::count(seen, 1) == 100);
  BOOST_TEST(zones.count() == 100U);
}

BOOST_AUTO_TEST_CASE(are_made_of_maps_that_fit) {
  view_made<zone_map>(obj.map("zones"));
  view_made<zone6_map>(obj.map("zones6"));
  BOOST_TEST(zones.untyped().name() == "zones");
  auto const family =
      view_refused<lpm_map<network_v6, std::uint32_t>>(make_error_code(errc::size_mismatch), obj.map("zones"));
  BOOST_TEST(family.expected_size == 8U);
  BOOST_TEST(family.actual_size == 20U);
  BOOST_TEST(contains(family.message, "'zones': its key"), family.message);
  view_refused<lpm_map<network_v4, traffic>>(make_error_code(errc::size_mismatch), obj.map("zones6"));
  auto const kind =
      view_refused<lpm_map<network_v4, std::uint64_t>>(make_error_code(errc::wrong_map_type), obj.map("totals"));
  BOOST_TEST(contains(kind.hint, "lpm_trie"), kind.hint);
  view_refused<lpm_map<network_v4, std::uint64_t>>(make_error_code(errc::size_mismatch), obj.map("zones"));
  view_refused<lpm_map<network_v4, std::int32_t>>(make_error_code(errc::type_mismatch), obj.map("zones"));
  using renamed = lpm_map<network_v6, renamed_traffic>;
  view_refused<renamed>(make_error_code(errc::type_mismatch), obj.map("zones6"));
  zones6.update(net6("::/0"), {1, 2});
  BOOST_TEST((renamed{obj.map("zones6"), field_names::ignore}.lookup(host6("::")).value().size == 2U));
  BOOST_TEST((renamed{obj.map("zones6"), field_names::ignore, ec, details}.lookup(host6("::")).value().count == 1U));
}

BOOST_AUTO_TEST_CASE(that_are_closed_say_so) {
  test::without_a_map<zone_map>("zones", [&](zone_map const& m, error_code expected) {
    auto const all = net("0.0.0.0/0");
    refused(expected, [&](auto&... e) { return m.lookup(host("1.1.1.1"), e...); });
    refused(expected, [&](auto&... e) { return m.lookup(all, e...); });
    refused(expected, [&](auto&... e) { m.update(all, 1, update_flag::any, e...); });
    refused(expected, [&](auto&... e) { return m.insert(all, 1, e...); });
    refused(expected, [&](auto&... e) { return m.erase(all, e...); });
    refused(expected, [&](auto&... e) { return m.count(e...); });
    refused(expected, [&](auto&... e) { return m.clear(e...); });
    for (auto const& entry : m.entries(ec)) BOOST_TEST(entry.second == 1U);
    BOOST_TEST(ec == expected);
    auto const is_expected = [&](tinybpf::error const& e) { return e.code() == expected; };
    BOOST_CHECK_EXCEPTION(static_cast<void>(m.entries().begin()), tinybpf::error, is_expected);
    BOOST_CHECK_EXCEPTION(static_cast<void>(m.begin()), tinybpf::error, is_expected);
  });
}

BOOST_AUTO_TEST_SUITE_END()
