#include <tinybpf/version.hpp>

#include <boost/test/unit_test.hpp>

#include <bpf/libbpf.h>

#include <string>

BOOST_AUTO_TEST_SUITE(version)

BOOST_AUTO_TEST_CASE(of_the_library_is_that_of_the_build) {
  BOOST_TEST(to_string(tinybpf::version()) == TINYBPF_TEST_PROJECT_VERSION);
}

BOOST_AUTO_TEST_CASE(of_libbpf_is_that_of_the_loaded_library) {
  auto const v = tinybpf::libbpf_version();
  BOOST_TEST(v.major == libbpf_major_version());
  BOOST_TEST(v.minor == libbpf_minor_version());
  auto const text = 'v' + tinybpf::to_string(v);
  BOOST_TEST(text.starts_with(libbpf_version_string()));
}

BOOST_AUTO_TEST_CASE(orders_by_number_not_by_text) {
  using v = tinybpf::version_number;
  BOOST_TEST((v{1, 10, 0} > v{1, 9, 3}));
  BOOST_TEST((v{2, 0, 0} > v{1, 99, 99}));
  BOOST_TEST((v{1, 1, 2} > v{1, 1, 1}));
  BOOST_TEST((v{1, 1, 2} == v{1, 1, 2}));
  BOOST_TEST((v{} == v{0, 0, 0}));
}

BOOST_AUTO_TEST_CASE(prints_all_three_numbers) { BOOST_TEST(tinybpf::to_string({1, 20, 300}) == "1.20.300"); }

BOOST_AUTO_TEST_SUITE_END()
