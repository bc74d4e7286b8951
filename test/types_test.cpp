#include <tinybpf/types.hpp>

#include <boost/test/unit_test.hpp>

#include <bpf/libbpf.h>

#include <set>
#include <string>
#include <string_view>

using tinybpf::attach_type;
using tinybpf::link_kind;
using tinybpf::map_type;
using tinybpf::program_type;
using tinybpf::to_string;

namespace {

// Over the numbers that both know.
template <class Enum>
void compare_with(char const* (*libbpf_name)(Enum), auto ours) {
  unsigned known = 0;
  while (char const* const name = libbpf_name(static_cast<Enum>(known))) {
    auto const our_name = to_string(static_cast<decltype(ours)>(known));
    if (our_name == "unknown") break;
    BOOST_TEST(our_name == name);
    ++known;
  }
  BOOST_TEST(known > 30);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(types)

BOOST_AUTO_TEST_CASE(map_types_are_named_as_libbpf_names_them) { compare_with(libbpf_bpf_map_type_str, map_type{}); }

BOOST_AUTO_TEST_CASE(program_types_are_named_as_libbpf_names_them) {
  compare_with(libbpf_bpf_prog_type_str, program_type{});
}

BOOST_AUTO_TEST_CASE(attach_types_are_named_as_libbpf_names_them) {
  compare_with(libbpf_bpf_attach_type_str, tinybpf::attach_type{});
  BOOST_TEST(to_string(tinybpf::attach_type::trace_uprobe_session) == "trace_uprobe_session");
  BOOST_TEST(to_string(static_cast<tinybpf::attach_type>(4000)) == "unknown");
}

BOOST_AUTO_TEST_CASE(later_types_are_named_as_the_kernel_names_them) {
  BOOST_TEST(to_string(map_type::user_ringbuf) == "user_ringbuf");
  BOOST_TEST(to_string(map_type::cgrp_storage) == "cgrp_storage");
  BOOST_TEST(to_string(map_type::arena) == "arena");
  BOOST_TEST(to_string(program_type::netfilter) == "netfilter");
  BOOST_TEST(to_string(attach_type::netkit_peer) == "netkit_peer");
}

BOOST_AUTO_TEST_CASE(every_kind_of_link_has_a_name_of_its_own) {
  std::set<std::string_view> names;
  for (unsigned kind = 0; kind <= static_cast<unsigned>(link_kind::other); ++kind)
    names.insert(to_string(static_cast<link_kind>(kind)));
  BOOST_TEST(names.size() == static_cast<std::size_t>(link_kind::other) + 1);
  BOOST_TEST(names.count("unknown") == 0);
  BOOST_TEST(to_string(link_kind::none) == "none");
  BOOST_TEST(to_string(link_kind::raw_tracepoint) == "raw_tracepoint");
  BOOST_TEST(to_string(link_kind::xdp) == "xdp");
  BOOST_TEST(to_string(link_kind::netkit) == "netkit");
  BOOST_TEST(to_string(link_kind::struct_ops) == "struct_ops");
}

BOOST_AUTO_TEST_CASE(what_has_no_name_is_unknown) {
  static_assert(
      noexcept(to_string(map_type{}))&& noexcept(to_string(program_type{}))&& noexcept(to_string(link_kind{})));
  BOOST_TEST(to_string(static_cast<map_type>(34)) == "unknown");
  BOOST_TEST(to_string(static_cast<map_type>(0xffffffff)) == "unknown");
  BOOST_TEST(to_string(static_cast<program_type>(33)) == "unknown");
  BOOST_TEST(to_string(static_cast<attach_type>(58)) == "unknown");
  BOOST_TEST(to_string(static_cast<link_kind>(255)) == "unknown");
}

BOOST_AUTO_TEST_SUITE_END()
