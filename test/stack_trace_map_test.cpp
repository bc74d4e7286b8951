// Stacks that programs have collected.
#include "kinds.hpp"

#include <tinybpf/map.hpp>
#include <tinybpf/object.hpp>
#include <tinybpf/stack_trace_map.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <ios>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

using test::contains;
using test::done;
using test::kinds;
using test::refused;
using test::view_made;
using test::view_refused;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::map;
using tinybpf::map_type;
using tinybpf::stack_trace_map;

namespace stack_trace_map_test {

constexpr std::uint64_t kernel_half = std::uint64_t{1} << 63U;

struct fixture : kinds {
  stack_trace_map stacks{obj.map("stacks")};
};

/// True if this process has code there.
bool is_own_code(std::uint64_t address) {
  std::ifstream maps{"/proc/self/maps"};
  for (std::string line; std::getline(maps, line);) {
    std::istringstream in{line};
    std::uint64_t from = 0;
    std::uint64_t to = 0;
    char dash = 0;
    std::string rights;
    in >> std::hex >> from >> dash >> to >> rights;
    if (address >= from && address < to) return contains(rights, "x");
  }
  return false;
}

/// What the map has under a number, as it is.
std::vector<std::uint64_t> stored(map const& m, std::uint32_t id) {
  auto const bytes = m.lookup(test::bytes_of(id)).value();
  std::vector<std::uint64_t> words(bytes.size() / 8);
  std::memcpy(words.data(), bytes.data(), bytes.size());
  return words;
}

/// A number under which there is nothing.
constexpr std::uint32_t absent = 63;

}  // namespace stack_trace_map_test

using namespace stack_trace_map_test;

BOOST_FIXTURE_TEST_SUITE(stack_trace_maps, fixture)

BOOST_AUTO_TEST_CASE(have_the_kernel_s_stacks) {
  auto const id = run("kernel_stack");
  BOOST_TEST_REQUIRE(static_cast<std::int32_t>(id) >= 0);
  auto const found = stacks.lookup(id).value();
  BOOST_TEST(found.size() > 1U);
  BOOST_TEST(found.size() < 127U);
  for (auto const address : found) BOOST_TEST((address & kernel_half) != 0U);
  done([&](auto&... e) { BOOST_TEST((stacks.lookup(id, e...) == found)); });
  // In the kernel's order, and all but the zeros behind it.
  auto const all = stored(obj.map("stacks"), id);
  BOOST_TEST(all.size() == 127U);
  BOOST_TEST((std::equal(found.begin(), found.end(), all.begin())));
  BOOST_TEST((std::all_of(all.begin() + static_cast<std::ptrdiff_t>(found.size()), all.end(),
                          [](std::uint64_t word) { return word == 0; })));
}

BOOST_AUTO_TEST_CASE(have_this_process_s_stacks) {
  auto const id = run("user_stack");
  BOOST_TEST_REQUIRE(static_cast<std::int32_t>(id) >= 0);
  auto const found = stacks.lookup(id).value();
  BOOST_TEST_REQUIRE(!found.empty());
  BOOST_TEST(is_own_code(found.front()));
  for (auto const address : found) {
    BOOST_TEST(address != 0U);
    BOOST_TEST((address & kernel_half) == 0U);
  }
}

// As deep as the map can have them.
BOOST_AUTO_TEST_CASE(may_be_full) {
  auto other = tinybpf::object::open(KINDS_BPF_O);
  auto const small = map::create(map_type::stack_trace, "small", 4, 16, 64);
  other.map("stacks").reuse(small);
  other.load();
  kinds const narrow{std::move(other), {}, {}};
  auto const id = narrow.run("kernel_stack");
  BOOST_TEST_REQUIRE(static_cast<std::int32_t>(id) >= 0);
  BOOST_TEST(stack_trace_map{small}.lookup(id).value().size() == 2U);
}

BOOST_AUTO_TEST_CASE(give_nothing_for_other_numbers) {
  for (auto const id : {absent, 64U, std::numeric_limits<std::uint32_t>::max()}) {
    done([&](auto&... e) { BOOST_TEST(!stacks.lookup(id, e...).has_value()); });
    done([&](auto&... e) { BOOST_TEST(!stacks.erase(id, e...)); });
  }
}

BOOST_AUTO_TEST_CASE(are_erased) {
  auto const id = run("kernel_stack");
  BOOST_TEST(stacks.erase(id));
  BOOST_TEST(!stacks.lookup(id).has_value());
  done([&](auto&... e) { BOOST_TEST(!stacks.erase(id, e...)); });
  auto const again = run("kernel_stack");
  BOOST_TEST(stacks.erase(again, ec));
  auto const third = run("kernel_stack");
  BOOST_TEST(stacks.erase(third, ec, details));
  BOOST_TEST(!ec);
}

BOOST_AUTO_TEST_CASE(are_made_of_maps_that_fit) {
  view_made<stack_trace_map>(obj.map("stacks"));
  BOOST_TEST(stacks.untyped().name() == "stacks");
  auto const kind = view_refused<stack_trace_map>(make_error_code(errc::wrong_map_type), obj.map("totals"));
  BOOST_TEST(contains(kind.message, "'totals', which is of type array"), kind.message);
  BOOST_TEST(contains(kind.hint, "stack_trace"), kind.hint);
  auto const ids = view_refused<stack_trace_map>(make_error_code(errc::not_supported), obj.map("build_ids"));
  BOOST_TEST(contains(ids.message, "'build_ids', which has build ids"), ids.message);
}

BOOST_AUTO_TEST_CASE(that_are_closed_say_so) {
  test::without_a_map<stack_trace_map>("stacks", [](stack_trace_map const& m, error_code expected) {
    refused(expected, [&](auto&... e) { return m.lookup(1, e...); });
    refused(expected, [&](auto&... e) { return m.erase(1, e...); });
  });
}

BOOST_AUTO_TEST_SUITE_END()
