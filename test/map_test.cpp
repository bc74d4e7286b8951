#include "support.hpp"

#include <tinybpf/map.hpp>
#include <tinybpf/object.hpp>

#include <boost/test/unit_test.hpp>

#include <bpf/libbpf.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <ranges>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using test::bytes_of;
using test::contains;
using test::writable_bytes_of;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::map;
using tinybpf::map_type;
using tinybpf::object;
using tinybpf::update_flag;

namespace {

// As in map_kinds.bpf.c.
struct flow_key {
  std::uint32_t address;
  std::uint16_t port;
  std::uint16_t protocol;
};

flow_key flow(std::uint16_t port) { return {0x7f000001, port, 6}; }

template <class Value, class Key>
Value value_of(map const& m, Key const& key) {
  Value value{};
  BOOST_TEST(m.lookup(bytes_of(key), writable_bytes_of(value)));
  return value;
}

struct loaded {
  object obj = tinybpf::load(MAP_KINDS_BPF_O);
  map flows = obj.map("flows");
  map slots = obj.map("slots");
  map slots_by_cpu = obj.map("slots_by_cpu");
  error_code ec;
  diagnostics details;
};

// Every call of a map that is not there: closed, or not loaded.
void check_refused(map const& m, errc expected) {
  std::array<std::byte, 8> key{};
  std::array<std::byte, 8> value{};
  error_code ec;
  diagnostics details;
  auto const refused = [&](auto const& call) {
    ec.clear();
    call();
    BOOST_TEST(ec == make_error_code(expected));
    BOOST_TEST(contains(details.message, m.name()), details.message);
    BOOST_TEST(details.map == m.name());
  };
  refused([&] { BOOST_TEST(m.info(ec, details).id == 0); });
  refused([&] { BOOST_TEST(!m.lookup(key, value, ec, details)); });
  refused([&] { BOOST_TEST(!m.lookup(key, ec, details).has_value()); });
  refused([&] { m.update(key, value, update_flag::any, ec, details); });
  refused([&] { BOOST_TEST(!m.erase(key, ec, details)); });
  BOOST_TEST(m.fd() == -1);
  BOOST_CHECK_EXCEPTION(m.update(key, value), tinybpf::error, [&](auto const& e) { return e.code() == expected; });
}

void check_closed(map const& m) {
  BOOST_TEST(!m.is_open());
  BOOST_TEST((m.type() == map_type::unspec));
  BOOST_TEST(m.key_size() == 0);
  BOOST_TEST(m.value_size() == 0);
  BOOST_TEST(m.lookup_size() == 0);
  BOOST_TEST(m.max_entries() == 0);
  check_refused(m, errc::closed);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(maps)

BOOST_AUTO_TEST_CASE(tell_their_shape_before_and_after_load) {
  auto obj = object::open(MAP_KINDS_BPF_O);
  auto const m = obj.map("flows");
  for (bool const is_loaded : {false, true}) {
    if (is_loaded) obj.load();
    BOOST_TEST(m.is_open());
    BOOST_TEST(m.name() == "flows");
    BOOST_TEST((m.type() == map_type::hash));
    BOOST_TEST(m.key_size() == sizeof(flow_key));
    BOOST_TEST(m.value_size() == 8);
    BOOST_TEST(m.lookup_size() == 8);
    BOOST_TEST(m.max_entries() == 4);
    BOOST_TEST((m.fd() > 2) == is_loaded);
  }
}

BOOST_FIXTURE_TEST_CASE(give_what_the_kernel_knows, loaded) {
  auto const info = flows.info();
  BOOST_TEST(info.id > 0);
  BOOST_TEST((info.type == map_type::hash));
  BOOST_TEST(info.name == "flows");
  BOOST_TEST(info.key_size == sizeof(flow_key));
  BOOST_TEST(info.value_size == 8);
  BOOST_TEST(info.max_entries == 4);
  BOOST_TEST(info.btf_id > 0);
  BOOST_TEST(slots.info().id != info.id);

  auto const m = obj.map("counters_by_key_and_cpu");
  BOOST_TEST(m.name() == "counters_by_key_and_cpu");
  BOOST_TEST(m.info().name == "counters_by_key");
  BOOST_TEST((m.info().type == map_type::percpu_hash));
}

BOOST_FIXTURE_TEST_CASE(look_up_what_was_updated, loaded) {
  std::uint64_t const value = 0x1122334455667788;
  flows.update(bytes_of(flow(80)), bytes_of(value));
  BOOST_TEST(value_of<std::uint64_t>(flows, flow(80)) == value);
  auto const copy = flows.lookup(bytes_of(flow(80)));
  BOOST_REQUIRE(copy.has_value());
  BOOST_TEST((std::ranges::equal(*copy, bytes_of(value))));

  flows.update(bytes_of(flow(80)), bytes_of(std::uint64_t{2}));
  BOOST_TEST(value_of<std::uint64_t>(flows, flow(80)) == 2);
}

BOOST_FIXTURE_TEST_CASE(miss_without_an_error, loaded) {
  std::uint64_t value = 7;
  ec = errc::closed;
  BOOST_TEST(!flows.lookup(bytes_of(flow(80)), writable_bytes_of(value), ec, details));
  BOOST_TEST(!ec);
  BOOST_TEST(details.empty());
  BOOST_TEST(value == 7);
  BOOST_TEST(!flows.lookup(bytes_of(flow(80))).has_value());
  BOOST_TEST(!flows.erase(bytes_of(flow(80)), ec, details));
  BOOST_TEST(!ec);
  BOOST_TEST(!flows.erase(bytes_of(flow(80))));
}

BOOST_FIXTURE_TEST_CASE(forget_what_was_erased, loaded) {
  flows.update(bytes_of(flow(80)), bytes_of(std::uint64_t{1}));
  flows.update(bytes_of(flow(81)), bytes_of(std::uint64_t{2}));
  BOOST_TEST(flows.erase(bytes_of(flow(80))));
  BOOST_TEST(!flows.lookup(bytes_of(flow(80))).has_value());
  BOOST_TEST(value_of<std::uint64_t>(flows, flow(81)) == 2);
}

BOOST_FIXTURE_TEST_CASE(update_as_the_flag_says, loaded) {
  auto const key = flow(80);
  std::uint64_t const one = 1;
  std::uint64_t const two = 2;
  flows.update(bytes_of(key), bytes_of(one), update_flag::exist, ec, details);
  BOOST_TEST(ec == test::kernel_error(ENOENT));
  BOOST_TEST(details.map == "flows");
  BOOST_TEST(!flows.lookup(bytes_of(key)).has_value());

  flows.update(bytes_of(key), bytes_of(one), update_flag::no_exist, ec, details);
  BOOST_TEST(!ec);
  BOOST_TEST(details.empty());
  flows.update(bytes_of(key), bytes_of(two), update_flag::no_exist, ec, details);
  BOOST_TEST(ec == test::kernel_error(EEXIST));
  BOOST_TEST(value_of<std::uint64_t>(flows, key) == 1);

  flows.update(bytes_of(key), bytes_of(two), update_flag::exist, ec, details);
  BOOST_TEST(!ec);
  BOOST_TEST(value_of<std::uint64_t>(flows, key) == 2);
  BOOST_CHECK_EXCEPTION(flows.update(bytes_of(key), bytes_of(one), update_flag::no_exist), tinybpf::error,
                        [](auto const& e) { return e.code() == test::kernel_error(EEXIST); });
}

BOOST_FIXTURE_TEST_CASE(that_are_full_take_no_more, loaded) {
  for (std::uint16_t port = 0; port < 4; ++port) flows.update(bytes_of(flow(port)), bytes_of(std::uint64_t{port}));
  flows.update(bytes_of(flow(4)), bytes_of(std::uint64_t{4}), update_flag::any, ec, details);
  BOOST_TEST(ec == test::kernel_error(E2BIG));
  BOOST_TEST(contains(details.message, "'flows'"));
  flows.update(bytes_of(flow(3)), bytes_of(std::uint64_t{33}));
  BOOST_TEST(value_of<std::uint64_t>(flows, flow(3)) == 33);
}

BOOST_FIXTURE_TEST_CASE(of_arrays_have_all_their_entries_for_ever, loaded) {
  std::uint32_t const last = 2;
  std::uint32_t const beyond = 3;
  BOOST_TEST(value_of<std::uint32_t>(slots, last) == 0);
  slots.update(bytes_of(last), bytes_of(std::uint32_t{5}));
  BOOST_TEST(value_of<std::uint32_t>(slots, last) == 5);

  slots.update(bytes_of(last), bytes_of(std::uint32_t{6}), update_flag::no_exist, ec, details);
  BOOST_TEST(ec == test::kernel_error(EEXIST));
  BOOST_TEST(!slots.erase(bytes_of(last), ec, details));
  BOOST_TEST(ec == test::kernel_error(EINVAL));
  BOOST_TEST(details.map == "slots");
  BOOST_TEST(contains(details.hint, "type array"), details.hint);
  BOOST_TEST(value_of<std::uint32_t>(slots, last) == 5);

  BOOST_TEST(!slots.lookup(bytes_of(beyond)).has_value());
  slots.update(bytes_of(beyond), bytes_of(std::uint32_t{6}), update_flag::any, ec, details);
  BOOST_TEST(ec == test::kernel_error(E2BIG));
}

BOOST_FIXTURE_TEST_CASE(per_cpu_have_a_value_for_every_possible_cpu, loaded) {
  auto const cpus = static_cast<std::size_t>(libbpf_num_possible_cpus());
  BOOST_TEST(slots_by_cpu.value_size() == 4);
  BOOST_TEST(slots_by_cpu.lookup_size() == 8 * cpus);  // each rounded up

  std::uint32_t const key = 1;
  std::vector<std::uint64_t> values(cpus);
  for (std::size_t cpu = 0; cpu < cpus; ++cpu) values[cpu] = 100 + cpu;
  slots_by_cpu.update(bytes_of(key), std::as_bytes(std::span{values}));
  std::vector<std::uint64_t> found(cpus);
  BOOST_TEST(slots_by_cpu.lookup(bytes_of(key), std::as_writable_bytes(std::span{found})));
  BOOST_TEST(found == values, boost::test_tools::per_element());
  auto const bytes = slots_by_cpu.lookup(bytes_of(key));
  BOOST_REQUIRE(bytes.has_value());
  BOOST_TEST(bytes->size() == 8 * cpus);

  // Room for one value is not enough, and nothing is written.
  std::uint32_t one = 7;
  BOOST_TEST(!slots_by_cpu.lookup(bytes_of(key), writable_bytes_of(one), ec, details));
  BOOST_TEST(ec == make_error_code(errc::size_mismatch));
  BOOST_TEST(details.expected_size == 8 * cpus);
  BOOST_TEST(details.actual_size == 4);
  BOOST_TEST(one == 7);
}

BOOST_FIXTURE_TEST_CASE(refuse_keys_and_values_of_another_size, loaded) {
  std::uint32_t const short_key = 1;
  std::uint32_t short_value = 1;
  std::array<std::uint64_t, 2> long_value{};
  auto const refused = [&](std::string_view part, std::size_t expected, std::size_t actual) {
    BOOST_TEST(ec == make_error_code(errc::size_mismatch));
    BOOST_TEST(details.map == "flows");
    BOOST_TEST(details.expected_size == expected);
    BOOST_TEST(details.actual_size == actual);
    for (auto const& what :
         {std::string{"'flows'"}, std::string{part}, std::to_string(expected) + " bytes", std::to_string(actual)})
      BOOST_TEST(contains(details.message, what), what << " is not in: " << details.message);
  };
  BOOST_TEST(!flows.lookup(bytes_of(short_key), ec, details).has_value());
  refused("key", 8, 4);
  BOOST_TEST(!flows.erase(bytes_of(short_key), ec, details));
  refused("key", 8, 4);
  flows.update(bytes_of(short_key), bytes_of(std::uint64_t{1}), update_flag::any, ec, details);
  refused("key", 8, 4);
  BOOST_TEST(!flows.lookup(bytes_of(flow(1)), writable_bytes_of(short_value), ec, details));
  refused("value", 8, 4);
  flows.update(bytes_of(flow(1)), bytes_of(long_value), update_flag::any, ec, details);
  refused("value", 8, 16);
  flows.update(bytes_of(flow(1)), {}, update_flag::any, ec, details);
  refused("value", 8, 0);
  BOOST_TEST(!flows.lookup(bytes_of(flow(1))).has_value());
}

BOOST_FIXTURE_TEST_CASE(are_containers_of_bytes, loaded) {
  static_assert(std::ranges::input_range<map const&>);
  for (std::uint16_t port = 1; port <= 3; ++port)
    BOOST_TEST(flows.insert(bytes_of(flow(port)), bytes_of(std::uint64_t{port})));
  BOOST_TEST(!flows.insert(bytes_of(flow(1)), bytes_of(std::uint64_t{9})));
  BOOST_TEST(!flows.insert(bytes_of(flow(1)), bytes_of(std::uint64_t{9}), ec));
  BOOST_TEST(!ec);
  flows.insert(bytes_of(flow(1)), bytes_of(std::uint32_t{9}), ec, details);
  BOOST_TEST(ec == make_error_code(errc::size_mismatch));
  flows.insert_or_assign(bytes_of(flow(2)), bytes_of(std::uint64_t{20}));
  BOOST_TEST(flows.contains(bytes_of(flow(2))));
  BOOST_TEST(!flows.contains(bytes_of(flow(4))));
  BOOST_TEST(std::ranges::equal(flows.at(bytes_of(flow(2))), bytes_of(std::uint64_t{20})));
  BOOST_TEST(flows.at(bytes_of(flow(4)), ec, details).empty());
  BOOST_TEST(ec == boost::system::errc::no_such_file_or_directory);
  BOOST_TEST(contains(details.message, "'flows'"));
  BOOST_CHECK_THROW(static_cast<void>(flows.at(bytes_of(flow(4)))), tinybpf::error);
  BOOST_TEST(flows.count() == 3U);

  std::uint64_t sum = 0;
  for (auto const& [key, value] : flows) {
    BOOST_TEST_REQUIRE(key.size() == sizeof(flow_key));
    BOOST_TEST_REQUIRE(value.size() == 8U);
    std::uint64_t n = 0;
    std::memcpy(&n, value.data(), sizeof n);
    sum += n;
  }
  BOOST_TEST(sum == 24U);
  std::uint64_t taken = 0;
  BOOST_TEST(flows.lookup_and_delete(bytes_of(flow(2)), writable_bytes_of(taken)));
  BOOST_TEST(taken == 20U);
  BOOST_TEST(!flows.lookup_and_delete(bytes_of(flow(2)), writable_bytes_of(taken)));
  BOOST_TEST(flows.clear() == 2U);
  BOOST_TEST(flows.count(ec) == 0U);

  // A value for each CPU is one value here.
  for (auto const& [key, value] : slots_by_cpu) BOOST_TEST_REQUIRE(value.size() == slots_by_cpu.lookup_size());
  std::size_t seen = 0;
  for (auto const& entry : map{}.entries(ec)) seen += entry.first.size();
  BOOST_TEST(ec == make_error_code(errc::closed));
  BOOST_TEST(seen == 0U);
}

BOOST_AUTO_TEST_CASE(that_are_not_loaded_have_nothing) {
  auto const obj = object::open(MAP_KINDS_BPF_O);
  check_refused(obj.map("flows"), errc::not_loaded);
}

BOOST_FIXTURE_TEST_CASE(are_closed_when_default_constructed_moved_from_or_of_a_closed_object, loaded) {
  check_closed(map{});
  BOOST_TEST(map{}.name().empty());

  auto const copy = flows;
  auto const second = std::move(flows);
  check_closed(flows);
  BOOST_TEST(second.fd() == copy.fd());
  BOOST_TEST(second.fd() > 2);

  obj.close();
  check_closed(second);
  check_closed(copy);
  BOOST_TEST(copy.name() == "flows");
}

BOOST_AUTO_TEST_CASE(outlive_the_handle_of_their_object) {
  auto const m = tinybpf::load(MAP_KINDS_BPF_O).map("flows");
  BOOST_TEST(m.is_open());
  m.update(bytes_of(flow(1)), bytes_of(std::uint64_t{1}));
  BOOST_TEST(value_of<std::uint64_t>(m, flow(1)) == 1);
  BOOST_TEST(m.info().name == "flows");
}

BOOST_AUTO_TEST_SUITE_END()
