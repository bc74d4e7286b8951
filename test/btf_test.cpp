// The types of an object, of files, of the kernel, and of types on top of others.
#include "print.hpp"
#include "scratch_folder.hpp"
#include "support.hpp"

#include <tinybpf/btf.hpp>
#include <tinybpf/map.hpp>
#include <tinybpf/object.hpp>

#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <sys/stat.h>

#include <bpf/btf.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tinybpf {

inline std::ostream& operator<<(std::ostream& out, btf_kind k) { return out << to_string(k); }
inline std::ostream& operator<<(std::ostream& out, btf_type const& t) { return out << t.to_string(); }

}  // namespace tinybpf

// libbpf has types of the same names.
namespace btf_test {

namespace fs = std::filesystem;
using test::contains;
using tinybpf::btf;
using tinybpf::btf_kind;
using tinybpf::btf_type;
using tinybpf::diagnostics;
using tinybpf::errc;
using tinybpf::error_code;
using tinybpf::object;

namespace {

btf view() { return object::open(BTF_VIEW_BPF_O).btf(); }

/// The variable, function or type of that name.
btf_type the(std::string_view name) { return view().type(name); }

/// The types that libbpf was told to write, as a file would have them.
class written_types {
 public:
  written_types() : raw_{btf__new_empty()} {}
  explicit written_types(::btf* base) : raw_{btf__new_empty_split(base)} {}
  written_types(written_types const&) = delete;
  written_types& operator=(written_types const&) = delete;
  ~written_types() { btf__free(raw_); }

  ::btf* operator*() const { return raw_; }
  std::span<std::byte const> bytes() const {
    __u32 size = 0;
    auto const* const data = static_cast<std::byte const*>(btf__raw_data(raw_, &size));
    return {data, size};
  }

 private:
  ::btf* raw_;
};

/// What all forms of opening it say.
std::pair<error_code, diagnostics> refusal_of(fs::path const& file, btf const& base = {}) {
  error_code ec;
  diagnostics details;
  BOOST_TEST(!btf::open(file, base, ec, details).is_open());
  BOOST_TEST(contains(details.message, file.string()), details.message);
  error_code short_ec;
  BOOST_TEST(!btf::open(file, base, short_ec));
  BOOST_TEST(short_ec == ec);
  BOOST_CHECK_EXCEPTION(static_cast<void>(btf::open(file, base)), tinybpf::error,
                        [&](tinybpf::error const& e) { return e.code() == ec; });
  return {ec, details};
}

template <class F>
bool fails_with(error_code wanted, F f) {
  try {
    f();
  } catch (tinybpf::error const& e) {
    BOOST_TEST(e.code() == wanted);
    return e.code() == wanted;
  }
  return false;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(types)

BOOST_AUTO_TEST_CASE(are_found_by_name_and_number) {
  auto const all = view();
  auto const point = all.type("v_point");
  BOOST_TEST(point.kind() == btf_kind::struct_);
  BOOST_TEST(point.name() == "v_point");
  BOOST_TEST(static_cast<bool>(point));
  BOOST_TEST(all.type(point.id()) == point);
  BOOST_TEST(all.find("v_point")->id() == point.id());
  BOOST_TEST(all.find("v_point", btf_kind::struct_)->id() == point.id());
  BOOST_TEST(!all.find("v_point", btf_kind::union_).has_value());
  BOOST_TEST(!all.find("v_poin").has_value());
  BOOST_TEST(!all.find("").has_value());
  BOOST_TEST(!all.find("", btf_kind::ptr).has_value());
  BOOST_TEST(!all.find("void").has_value());
  BOOST_TEST(!all.find(std::string_view{"v_point\0more", 12}).has_value());
  BOOST_TEST(!all.find(std::string_view{"v_point\0more", 12}, btf_kind::struct_).has_value());
  // Not the whole of a longer text.
  BOOST_TEST(all.find(std::string_view{"v_pointer"}.substr(0, 7))->id() == point.id());
  for (auto const& t : all.types()) {
    BOOST_TEST(all.type(t.id()) == t);
    BOOST_TEST((t.id() == static_cast<std::uint32_t>(&t - all.types().data()) || t.id() != 0));
  }
  auto const listed = all.types();
  for (std::size_t i = 0; i < listed.size(); ++i) BOOST_TEST(listed[i].id() == i + 1);
}

BOOST_AUTO_TEST_CASE(are_of_all_kinds) {
  auto const all = view();
  auto const kind = [&](std::string_view name) { return all.type(name).kind(); };
  BOOST_TEST(kind("int") == btf_kind::int_);
  BOOST_TEST(kind("v_either") == btf_kind::union_);
  BOOST_TEST(kind("v_color") == btf_kind::enum_);
  BOOST_TEST(kind("v_wide") == btf_kind::enum64);
  BOOST_TEST(kind("v_forward") == btf_kind::fwd);
  BOOST_TEST(kind("v_alias") == btf_kind::typedef_);
  BOOST_TEST(kind("float") == btf_kind::float_);
  BOOST_TEST(kind("v_program") == btf_kind::func);
  BOOST_TEST(kind("d_matrix") == btf_kind::var);
  BOOST_TEST(all.type("v_program").target().kind() == btf_kind::func_proto);
  BOOST_TEST(all.type("d_matrix").target().kind() == btf_kind::array);
  BOOST_TEST(all.type("d_pointer").target().kind() == btf_kind::ptr);
  BOOST_TEST(all.type("d_volatile").target().kind() == btf_kind::volatile_);
  BOOST_TEST(all.type("d_const_pointer").target().kind() == btf_kind::const_);
  BOOST_TEST(all.type("d_restrict").target().kind() == btf_kind::restrict_);
  BOOST_TEST(all.find(".bss", btf_kind::datasec)->kind() == btf_kind::datasec);
  constexpr std::string_view names[] = {
      "void",     "int",     "pointer",  "array",    "struct",   "union",    "enum",
      "forward",  "typedef", "volatile", "const",    "restrict", "function", "function prototype",
      "variable", "section", "float",    "decl tag", "type tag", "enum64",   "unknown"};
  for (std::size_t i = 0; i < std::size(names); ++i) BOOST_TEST(to_string(static_cast<btf_kind>(i)) == names[i]);
  BOOST_TEST(to_string(static_cast<btf_kind>(255)) == "unknown");
}

BOOST_AUTO_TEST_CASE(have_sizes) {
  auto const all = view();
  auto const size = [&](std::string_view name) { return all.type(name).size(); };
  BOOST_TEST(size("int") == 4U);
  BOOST_TEST(size("v_point") == 8U);
  BOOST_TEST(size("v_either") == 8U);
  BOOST_TEST(size("v_color") == 4U);
  BOOST_TEST(size("v_wide") == 8U);
  BOOST_TEST(size("v_alias") == 4U);
  BOOST_TEST(size("double") == 8U);
  BOOST_TEST(size("__int128") == 16U);
  BOOST_TEST(size("v_packed") == 15U);
  BOOST_TEST(size("v_flexible") == 4U);
  BOOST_TEST(size("v_empty") == 0U);
  BOOST_TEST(size("v_forward") == 0U);
  BOOST_TEST(size("v_program") == 0U);
  BOOST_TEST(size("d_matrix") == 24U);
  BOOST_TEST(size("d_pointer") == 8U);
  BOOST_TEST(size("d_array_of_pointers") == 32U);
  BOOST_TEST(all.type("v_program").target().size() == 0U);
  BOOST_TEST(btf_type{}.size() == 0U);
}

BOOST_AUTO_TEST_CASE(have_members) {
  auto const members = the("v_nested").members();
  BOOST_REQUIRE(members.size() == 4U);
  BOOST_TEST(members[0].name == "lead");
  BOOST_TEST(members[0].bit_offset == 0U);
  BOOST_TEST(members[1].name == "");
  BOOST_TEST(members[1].bit_offset == 64U);
  BOOST_TEST(members[1].type.kind() == btf_kind::struct_);
  BOOST_TEST(members[2].name == "either");
  BOOST_TEST(members[2].bit_offset == 192U);
  BOOST_TEST(members[2].type.to_string() == "union v_either");
  BOOST_TEST(members[3].name == "place");
  BOOST_TEST(members[3].bit_offset == 256U);
  BOOST_TEST(members[3].bit_size == 0U);
  BOOST_TEST(members[3].type.resolve().name() == "v_point");
  BOOST_TEST(the("v_either").members().size() == 3U);
  for (auto const& m : the("v_either").members()) BOOST_TEST(m.bit_offset == 0U);
  for (auto const* name : {"v_nested", "v_either", "v_empty"}) BOOST_TEST(the(name).has_members());
  for (auto const* name : {"int", "v_color", "v_alias", "d_matrix", "v_program"}) {
    BOOST_TEST(!the(name).has_members());
    BOOST_TEST(the(name).members().empty());
    BOOST_TEST(!the(name).member("x").has_value());
  }
}

BOOST_AUTO_TEST_CASE(have_members_of_nameless_members) {
  auto const nested = the("v_nested");
  auto const offset = [&](std::string_view name) { return nested.member(name)->bit_offset; };
  BOOST_TEST(offset("in_struct") == 64U);
  BOOST_TEST(offset("as_number") == 128U);
  BOOST_TEST(offset("deepest") == 128U);
  BOOST_TEST(offset("beside") == 144U);
  BOOST_TEST(offset("place") == 256U);
  BOOST_TEST(nested.member("beside")->type.to_string() == "__u16");
  BOOST_TEST(!nested.member("").has_value());
  BOOST_TEST(!nested.member("word").has_value());  // of a member with a name
  BOOST_TEST(!nested.member("besid").has_value());
  // Through modifiers.
  BOOST_TEST(nested.member("place")->type.member("y")->bit_offset == 32U);
}

BOOST_AUTO_TEST_CASE(have_bit_fields) {
  struct field {
    std::string_view name;
    std::uint64_t offset;
    std::uint32_t size;
  };
  auto const check = [](btf_type const& t, std::vector<field> const& expected) {
    auto const members = t.members();
    BOOST_REQUIRE(members.size() == expected.size());
    for (std::size_t i = 0; i < members.size(); ++i) {
      BOOST_TEST(members[i].name == expected[i].name);
      BOOST_TEST(members[i].bit_offset == expected[i].offset);
      BOOST_TEST(members[i].bit_size == expected[i].size);
    }
  };
  check(the("v_bits"), {{"low", 0, 3}, {"middle", 3, 7}, {"high", 16, 16}, {"yes", 32, 1}, {"color", 33, 8}});
  check(the("v_packed"),
        {{"lead", 0, 5}, {"wide", 5, 64}, {"crossing", 69, 13}, {"negative", 82, 31}, {"last", 113, 7}});
  check(the("v_tight"), {{"lead", 0, 0}, {"flag", 24, 1}});
}

BOOST_AUTO_TEST_CASE(have_enumerators) {
  auto const type = the("v_color");  // keeps the names
  auto const color = type.enumerators();
  BOOST_REQUIRE(color.size() == 3U);
  BOOST_TEST(color[0].name == "v_red");
  BOOST_TEST(color[0].value == 0);
  BOOST_TEST(color[1].value == 5);
  BOOST_TEST(color[2].name == "v_blue");
  BOOST_TEST(color[2].value == -1);
  BOOST_TEST(the("v_color").is_signed());
  BOOST_TEST(!the("v_flags").is_signed());
  BOOST_TEST(the("v_flags").enumerators()[1].value == 0x80000000LL);
  BOOST_TEST(!the("v_wide").is_signed());
  BOOST_TEST(static_cast<std::uint64_t>(the("v_wide").enumerators()[1].value) == 0xf000000000000000U);
  BOOST_TEST(the("v_deep").is_signed());
  BOOST_TEST(the("v_deep").enumerators()[1].value == -0x100000000LL);
  BOOST_TEST(the("v_nameless_anchor").target().enumerators().size() == 2U);
  BOOST_TEST(the("v_point").enumerators().empty());
}

BOOST_AUTO_TEST_CASE(tell_numbers_apart) {
  auto const scalars = the("v_scalars");
  auto const type = [&](std::string_view name) { return scalars.member(name)->type.resolve(); };
  for (auto const* name : {"sc", "s16", "s32", "s64", "s128", "color", "deep"})
    BOOST_TEST(type(name).is_signed(), name);
  for (auto const* name : {"uc", "u16", "u32", "u64", "u128", "flag", "flags", "wide", "pointer", "f"})
    BOOST_TEST(!type(name).is_signed(), name);
  BOOST_TEST(type("flag").is_bool());
  BOOST_TEST(!type("uc").is_bool());
  BOOST_TEST(type("c").is_char());
  BOOST_TEST(!type("sc").is_char());
  BOOST_TEST(!type("uc").is_char());
  BOOST_TEST(!type("flag").is_char());
}

BOOST_AUTO_TEST_CASE(have_parameters) {
  auto const function = the("v_global_function");
  auto const parameters = function.parameters();
  BOOST_REQUIRE(parameters.size() == 2U);
  BOOST_TEST(parameters[0].name == "p");
  BOOST_TEST(parameters[0].type.to_string() == "const struct v_point *");
  BOOST_TEST(parameters[1].name == "factor");
  BOOST_TEST(parameters[1].type.to_string() == "__u64");
  BOOST_TEST(function.target().parameters().size() == 2U);
  BOOST_TEST(function.target().target().to_string() == "int");
  BOOST_TEST(the("v_static_function").parameters()[0].name == "number");
  auto const variadic = the("d_variadic").target().target().parameters();
  BOOST_REQUIRE(variadic.size() == 2U);
  BOOST_TEST(!static_cast<bool>(variadic[1].type));
  BOOST_TEST(the("v_point").parameters().empty());
}

BOOST_AUTO_TEST_CASE(resolve) {
  auto const chain = the("v_chain_anchor").target();
  BOOST_TEST(chain.kind() == btf_kind::typedef_);
  BOOST_TEST(chain.name() == "v_chain");
  auto const end = chain.resolve();
  BOOST_TEST(end.kind() == btf_kind::int_);
  BOOST_TEST(end.name() == "unsigned int");
  BOOST_TEST(end.resolve() == end);
  BOOST_TEST(!(the("v_point").resolve() == the("v_point").resolve()));  // of another copy of the types
  BOOST_TEST(chain.size() == 4U);
  BOOST_TEST(btf_type{}.resolve() == btf_type{});
  BOOST_TEST(!static_cast<bool>(the("v_point").target()));
  BOOST_TEST(the("d_matrix").target().count() == 2U);
  BOOST_TEST(the("d_matrix").target().target().count() == 3U);
  BOOST_TEST(the("v_flexible").member("tail")->type.count() == 0U);
  BOOST_TEST(the("int").count() == 0U);
}

BOOST_AUTO_TEST_CASE(are_written_as_in_c) {
  constexpr std::pair<std::string_view, std::string_view> table[] = {
      {"d_pointer", "int *d_pointer"},
      {"d_text", "const char *d_text"},
      {"d_const_pointer", "char *const d_const_pointer"},
      {"d_chain", "const char *const *d_chain"},
      {"d_pointer_to_array", "int (*d_pointer_to_array)[4]"},
      {"d_array_of_pointers", "int *d_array_of_pointers[4]"},
      {"d_array_of_const_pointers", "int *const d_array_of_const_pointers[2]"},
      {"d_function", "int (*d_function)(int, const char *)"},
      {"d_functions", "void (*d_functions[3])(void)"},
      {"d_returns_function", "int (*(*d_returns_function)(long))(char)"},
      {"d_matrix", "int d_matrix[2][3]"},
      {"d_volatile", "volatile int d_volatile"},
      {"d_const_volatile_pointer", "int *const volatile d_const_volatile_pointer"},
      {"d_const_volatile", "const volatile int d_const_volatile"},
      {"d_struct", "struct v_point d_struct"},
      {"d_union", "union v_either d_union"},
      {"d_enum", "enum v_color d_enum"},
      {"d_forward", "struct v_forward *d_forward"},
      {"d_forward_union", "union v_forward_union *d_forward_union"},
      {"d_variadic", "int (*d_variadic)(const char *, ...)"},
      {"d_restrict", "void *restrict d_restrict"},
      {"d_nameless", "struct (anonymous) d_nameless"},
      {"d_typedef", "__u32 d_typedef"},
      {"d_ulong", "unsigned long d_ulong"},
      {"d_points", "const struct v_point *(*d_points[2])(struct v_point (*)[2], union v_either *const *)"},
      {"v_chain_anchor", "v_chain v_chain_anchor"},
      {"v_wide_anchor", "enum v_wide v_wide_anchor"},
      {"v_program", "int v_program(void *)"},
      {"v_static_function", "__u64 v_static_function(__u32)"},
      {"v_point", "struct v_point"},
      {"v_either", "union v_either"},
      {"v_forward", "struct v_forward"},
      {"v_forward_union", "union v_forward_union"},
      {"v_alias", "v_alias"},
      {"float", "float"},
  };
  auto const all = view();
  for (auto const& [name, text] : table) BOOST_TEST(all.type(name).to_string() == text);
  // Without a name.
  auto const target = [&](std::string_view name) { return all.type(name).target().to_string(); };
  BOOST_TEST(target("d_pointer") == "int *");
  BOOST_TEST(target("d_matrix") == "int[2][3]");
  BOOST_TEST(target("d_array_of_pointers") == "int *[4]");
  BOOST_TEST(target("d_pointer_to_array") == "int (*)[4]");
  BOOST_TEST(target("d_array_of_const_pointers") == "int *const[2]");
  BOOST_TEST(target("d_const_volatile_pointer") == "int *const volatile");
  BOOST_TEST(target("d_functions") == "void (*[3])(void)");
  BOOST_TEST(target("v_program") == "int (void *)");
  BOOST_TEST(all.type("v_flexible").member("tail")->type.to_string() == "__u16[]");
  BOOST_TEST(btf_type{}.to_string() == "void");
}

BOOST_AUTO_TEST_CASE(of_a_section_are_its_variables) {
  auto const all = view();
  auto const own = all.find(".data.own", btf_kind::datasec);
  BOOST_REQUIRE(own.has_value());
  BOOST_TEST(own->has_members());
  BOOST_TEST(own->size() == 4U);
  BOOST_REQUIRE(own->members().size() == 1U);
  BOOST_TEST(own->members()[0].name == "own_section");
  BOOST_TEST(own->members()[0].type.to_string() == "char[4]");
  BOOST_TEST(own->members()[0].bit_offset == 0U);
  // The variables lie beside each other, and within.
  auto const bss = *all.find(".bss", btf_kind::datasec);
  BOOST_TEST(bss.size() > 100U);
  auto members = bss.members();
  std::sort(members.begin(), members.end(), [](auto const& a, auto const& b) { return a.bit_offset < b.bit_offset; });
  std::uint64_t end = 0;
  for (auto const& m : members) {
    BOOST_TEST(m.bit_offset >= end, m.name);
    end = m.bit_offset + 8 * m.type.size();
  }
  BOOST_TEST(end <= 8 * bss.size());
  BOOST_TEST(bss.member("d_struct")->type.to_string() == "struct v_point");
}

BOOST_AUTO_TEST_CASE(that_are_void_have_nothing) {
  btf_type const none;
  BOOST_TEST(!static_cast<bool>(none));
  BOOST_TEST(none.id() == 0U);
  BOOST_TEST(none.kind() == btf_kind::void_);
  BOOST_TEST(none.name() == "");
  BOOST_TEST(!static_cast<bool>(none.target()));
  BOOST_TEST(!(none.is_signed() || none.is_bool() || none.is_char() || none.has_members()));
  BOOST_TEST((none.members().empty() && none.enumerators().empty() && none.parameters().empty()));
  BOOST_TEST(!none.member("x").has_value());
  BOOST_TEST(the("d_restrict").target().target().target() == none);
}

BOOST_AUTO_TEST_CASE(outlive_their_object) {
  btf_type point;
  std::string_view name;
  btf all;
  {
    auto obj = object::open(BTF_VIEW_BPF_O);
    all = obj.btf();
    BOOST_TEST(obj.btf().type("v_point") == all.type("v_point"));  // shared
    point = all.type("v_point");
    name = point.members()[1].name;
    obj.close();
    error_code ec;
    BOOST_TEST(!obj.btf(ec).is_open());
    BOOST_TEST(ec == make_error_code(errc::closed));
  }
  all = {};
  BOOST_TEST(name == "y");
  BOOST_TEST(point.members()[0].type.to_string() == "__s32");
  auto const moved = std::move(point);
  BOOST_TEST(moved.to_string() == "struct v_point");
}

BOOST_AUTO_TEST_CASE(that_are_missing) {
  auto const all = view();
  error_code ec;
  diagnostics details;
  BOOST_TEST(!static_cast<bool>(all.type("v_pont", ec, details)));
  BOOST_TEST(ec == make_error_code(errc::not_found));
  BOOST_TEST(contains(details.message, "has no type 'v_pont'"));
  BOOST_TEST(contains(details.message, "btf_view.bpf.o"));
  BOOST_TEST(contains(details.hint, "did you mean 'v_point'?"));
  BOOST_TEST((std::find(details.names.begin(), details.names.end(), "v_bits") != details.names.end()));
  for (auto const id : {0U, 100000U, ~0U}) {
    BOOST_TEST(!static_cast<bool>(all.type(id, ec, details)));
    BOOST_TEST(ec == make_error_code(errc::not_found));
    BOOST_TEST(contains(details.message, "has no type " + std::to_string(id)));
    BOOST_TEST(fails_with(make_error_code(errc::not_found), [&] { static_cast<void>(all.type(id)); }));
  }
  BOOST_TEST(fails_with(make_error_code(errc::not_found), [&] { static_cast<void>(all.type("v_pont")); }));
  BOOST_TEST(!static_cast<bool>(all.type("", ec)));
  BOOST_TEST(ec == make_error_code(errc::not_found));
  // A call that succeeds clears what was there.
  all.type("v_point", ec, details);
  BOOST_TEST(!ec);
  BOOST_TEST(details.empty());
  all.type(1, ec, details);
  BOOST_TEST(!ec);
}

BOOST_AUTO_TEST_CASE(of_nothing) {
  btf const closed;
  BOOST_TEST(!closed.is_open());
  BOOST_TEST(!static_cast<bool>(closed));
  BOOST_TEST(closed.types().empty());
  BOOST_TEST(!closed.find("int").has_value());
  BOOST_TEST(!closed.find("int", btf_kind::int_).has_value());
  BOOST_TEST(!closed.base().is_open());
  error_code ec;
  closed.type("int", ec);
  BOOST_TEST(ec == make_error_code(errc::closed));
  closed.type(1, ec);
  BOOST_TEST(ec == make_error_code(errc::closed));
  BOOST_TEST(fails_with(make_error_code(errc::closed), [&] { static_cast<void>(closed.type("int")); }));
  BOOST_TEST(fails_with(make_error_code(errc::no_btf), [] { static_cast<void>(object::open(NO_BTF_BPF_O).btf()); }));
  BOOST_TEST(fails_with(make_error_code(errc::closed), [] { static_cast<void>(object{}.btf()); }));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(maps)

BOOST_AUTO_TEST_CASE(say_their_types) {
  auto const obj = object::open(BTF_VIEW_BPF_O);
  auto const key = [&](char const* name) { return obj.map(name).btf_key().to_string(); };
  auto const value = [&](char const* name) { return obj.map(name).btf_value().to_string(); };
  BOOST_TEST(key("a_hash") == "struct v_point");
  BOOST_TEST(value("a_hash") == "struct v_scalars");
  BOOST_TEST(key("an_array") == "__u32");
  BOOST_TEST(value("an_array") == "enum v_color");
  BOOST_TEST(key("a_queue") == "void");
  BOOST_TEST(value("a_queue") == "struct v_point");
  BOOST_TEST(key("a_ring") == "void");
  BOOST_TEST(value("a_ring") == "struct v_flexible");
  BOOST_TEST(key("sized_only") == "void");
  BOOST_TEST(value("sized_only") == "void");
  BOOST_TEST((obj.map("a_hash").btf_key() == obj.btf().type("v_point")));
}

BOOST_AUTO_TEST_CASE(of_variables_say_their_section) {
  auto const check = [](object const& obj) {
    std::size_t found = 0;
    for (auto const& m : obj.maps()) {
      auto const dot = m.name().find('.');
      if (dot == m.name().npos) continue;
      ++found;
      auto const value = m.btf_value();
      BOOST_TEST(value.kind() == btf_kind::datasec, m.name());
      BOOST_TEST(m.name().ends_with(value.name()), m.name() << " of " << value.name());
      BOOST_TEST(value.size() == m.value_size(), m.name());
    }
    BOOST_TEST(found == 4U);  // .bss, .data, .rodata, .data.own
  };
  check(object::open(BTF_VIEW_BPF_O));
  check(object::open(test::contents_of(BTF_VIEW_BPF_O), "with.a.dot"));
}

BOOST_AUTO_TEST_CASE(that_are_closed_say_nothing) {
  auto obj = object::open(BTF_VIEW_BPF_O);
  auto const m = obj.map("a_hash");
  auto const kept = m.btf_key();
  obj.close();
  BOOST_TEST(!static_cast<bool>(m.btf_key()));
  BOOST_TEST(!static_cast<bool>(m.btf_value()));
  BOOST_TEST(!static_cast<bool>(tinybpf::map{}.btf_key()));
  BOOST_TEST(!static_cast<bool>(tinybpf::map{}.btf_value()));
  BOOST_TEST(kept.to_string() == "struct v_point");
}

// The kernel takes no BTF for some of them, and libbpf forgets it.
BOOST_AUTO_TEST_CASE(still_say_their_types_when_loaded) {
  auto const obj = tinybpf::load(DYNAMIC_MAPS_BPF_O);
  BOOST_TEST(obj.map("a_queue").btf_value().to_string() == "__u32");
  BOOST_TEST(obj.map("of_maps").btf_key().to_string() == "__u32");
  BOOST_TEST(!static_cast<bool>(obj.map("of_maps").btf_value()));
  BOOST_TEST(obj.map("points").btf_key().to_string() == "struct point");
  BOOST_TEST(obj.map("routes").btf_key().to_string() == "struct prefix");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(of_the_kernel)

BOOST_AUTO_TEST_CASE(are_known) {
  auto const kernel = btf::kernel();
  auto const task = kernel.type("task_struct");
  BOOST_TEST(task.kind() == btf_kind::struct_);
  auto const pid = task.member("pid");
  BOOST_REQUIRE(pid.has_value());
  BOOST_TEST(pid->type.to_string() == "pid_t");
  BOOST_TEST(pid->type.resolve().is_signed());
  BOOST_TEST(pid->bit_offset + 32 <= 8 * task.size());
  BOOST_TEST(task.member("comm")->type.to_string() == "char[16]");
  BOOST_TEST(kernel.types().size() > 10000U);
  BOOST_TEST(!kernel.base().is_open());
  auto const clone = kernel.find("kernel_clone", btf_kind::func);
  BOOST_REQUIRE(clone.has_value());
  BOOST_TEST(clone->parameters().size() == 1U);
}

BOOST_AUTO_TEST_CASE(are_shared) {
  auto const kernel = btf::kernel();
  BOOST_TEST((btf::kernel().type("task_struct") == kernel.type("task_struct")));
  auto const opened = btf::open("/sys/kernel/btf/vmlinux");
  BOOST_TEST(opened.types().size() == kernel.types().size());
  BOOST_TEST(!(opened.type("task_struct") == kernel.type("task_struct")));
}

// All of a hundred thousand names are looked at, and some are told.
BOOST_AUTO_TEST_CASE(that_are_missing) {
  auto const kernel = btf::kernel();
  error_code ec;
  diagnostics details;
  kernel.type("task_strukt", ec, details);
  BOOST_TEST(ec == make_error_code(errc::not_found));
  BOOST_TEST(contains(details.hint, "did you mean 'task_struct'?"));
  BOOST_TEST(details.hint.size() < 2000U);
  BOOST_TEST(details.names.size() == 1000U);
  BOOST_TEST(details.names.front() == "task_struct");
  BOOST_TEST(contains(details.message, "the kernel"));
  // However long the name that nobody has.
  std::string const endless(1U << 20U, 'x');
  kernel.type(endless, ec, details);
  BOOST_TEST(ec == make_error_code(errc::not_found));
}

BOOST_AUTO_TEST_CASE(are_all_written) {
  std::size_t written = 0;
  for (auto const& t : btf::kernel().types()) written += t.to_string().size();
  BOOST_TEST(written > 100000U);
}

BOOST_AUTO_TEST_CASE(and_of_modules_that_are_not_there) {
  error_code ec;
  diagnostics details;
  for (auto const* name : {"no_such_module", "", ".", "..", "/", "no/such/module", "../btf"}) {
    BOOST_TEST_CONTEXT("'" << name << "'") {
      BOOST_TEST(!btf::module(name, ec, details).is_open());
      BOOST_TEST(ec == test::kernel_error(ENOENT));
      BOOST_TEST(fails_with(ec, [&] { static_cast<void>(btf::module(name)); }));
    }
  }
  BOOST_TEST(!btf::module("no_such_module", ec, details).is_open());
  BOOST_TEST(contains(details.message, "no_such_module"));
  btf::module("no_such_module", ec);
  BOOST_TEST(ec == test::kernel_error(ENOENT));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(files, test::quiet_folder)

BOOST_AUTO_TEST_CASE(of_bare_btf) {
  written_types const types;
  auto const number = btf__add_int(*types, "number", 4, BTF_INT_SIGNED);
  auto const bare = file("bare.btf", types.bytes());
  auto const all = btf::open(bare);
  BOOST_TEST(all.type("number").id() == static_cast<std::uint32_t>(number));
  BOOST_TEST(all.types().size() == 1U);
  error_code ec = errc::closed;
  diagnostics details;
  BOOST_TEST(btf::open(bare, {}, ec, details).is_open());
  BOOST_TEST(!ec);
  BOOST_TEST(details.empty());
  BOOST_TEST(fails_with(make_error_code(errc::not_found), [&] { static_cast<void>(all.type("numbr")); }));
}

BOOST_AUTO_TEST_CASE(of_bare_btf_without_types) {
  written_types const types;
  auto const all = btf::open(file("empty.btf", types.bytes()));
  BOOST_TEST(all.is_open());
  BOOST_TEST(all.types().empty());
  error_code ec;
  diagnostics details;
  all.type("anything", ec, details);
  BOOST_TEST(ec == make_error_code(errc::not_found));
  BOOST_TEST(details.hint == "it has none");
}

// Pointers are as long as `long`, and have 8 bytes where there is none.
BOOST_DATA_TEST_CASE(have_pointers_of_their_machine, boost::unit_test::data::make({4, 8, 0}), size) {
  written_types const types;
  if (size != 0) btf__add_int(*types, "long", static_cast<std::size_t>(size), BTF_INT_SIGNED);
  auto const pointer = btf__add_ptr(*types, 0);
  auto const all = btf::open(file("machine.btf", types.bytes()));
  BOOST_TEST(all.type(static_cast<std::uint32_t>(pointer)).size() == (size != 0 ? static_cast<std::size_t>(size) : 8U));
}

BOOST_AUTO_TEST_CASE(leave_void_where_they_were_moved_from) {
  written_types const types;
  btf__add_int(*types, "int", 4, BTF_INT_SIGNED);
  auto type = btf::open(file("moved.btf", types.bytes())).type("int");
  auto const to = std::move(type);
  BOOST_TEST(!static_cast<bool>(type));
  BOOST_TEST(type.id() == 0U);
  BOOST_TEST((type == btf_type{}));
  BOOST_TEST(type.name() == "");
  auto from = to;
  type = std::move(from);
  BOOST_TEST(!static_cast<bool>(from));
  BOOST_TEST((type == to));
}

BOOST_AUTO_TEST_CASE(of_elf) {
  auto const all = btf::open(BTF_VIEW_BPF_O);
  BOOST_TEST(all.type("v_nested").member("beside")->bit_offset == 144U);
  BOOST_TEST(all.types().size() == view().types().size());
}

BOOST_AUTO_TEST_CASE(of_elf_without_btf) {
  auto const [ec, details] = refusal_of(NO_BTF_BPF_O);
  BOOST_TEST(ec == make_error_code(errc::no_btf));
}

BOOST_AUTO_TEST_CASE(missing) {
  BOOST_TEST(refusal_of(path() / "missing").first == test::kernel_error(ENOENT));
  BOOST_TEST(refusal_of(file("a", {}) / "b").first == test::kernel_error(ENOTDIR));
}

BOOST_AUTO_TEST_CASE(that_are_none) {
  mkfifo((path() / "fifo").c_str(), 0600);
  BOOST_TEST(refusal_of(path()).first == make_error_code(errc::invalid_object));
  BOOST_TEST(refusal_of(path() / "fifo").first == make_error_code(errc::invalid_object));
  BOOST_TEST(refusal_of("/dev/null").first == make_error_code(errc::invalid_object));
}

BOOST_AUTO_TEST_CASE(of_garbage) {
  auto const bytes = [](std::string_view text) { return std::as_bytes(std::span{text}); };
  auto const is_refused = [&](std::span<std::byte const> contents) {
    return refusal_of(file("garbage", contents)).first == make_error_code(errc::invalid_object);
  };
  BOOST_TEST(is_refused({}));
  BOOST_TEST(is_refused(bytes("x")));
  BOOST_TEST(is_refused(bytes("no BTF at all, but a text of some length\n")));
  BOOST_TEST(is_refused(bytes("\177ELF")));
  BOOST_TEST(is_refused(bytes("\x9f\xeb")));
  BOOST_TEST(is_refused(bytes("\x9f\xeb\x01\x01 and then something else, which is no header")));
  auto elf = test::contents_of(BTF_VIEW_BPF_O);
  BOOST_TEST(is_refused(std::span{elf}.first(100)));
  written_types const types;
  btf__add_int(*types, "number", 4, 0);
  auto const whole = types.bytes();
  for (std::size_t size = 0; size < whole.size(); ++size) BOOST_TEST(is_refused(whole.first(size)), size);
  auto const section = test::section_of(elf, ".BTF");
  std::fill(section.begin(), section.end(), std::byte{});
  BOOST_TEST(is_refused(elf));
}

BOOST_AUTO_TEST_CASE(stand_on_others) {
  auto const kernel = btf::kernel();
  auto const base_file = file("base.btf", test::contents_of("/sys/kernel/btf/vmlinux"));
  auto* const raw_base = btf__parse("/sys/kernel/btf/vmlinux", nullptr);
  written_types const types{raw_base};
  auto const task = btf__find_by_name_kind(raw_base, "task_struct", BTF_KIND_STRUCT);
  auto const pointer = btf__add_ptr(*types, task);
  auto const own = btf__add_struct(*types, "mine", 16);
  btf__add_field(*types, "task", pointer, 0, 0);
  btf__add_field(*types, "jiffies", btf__find_by_name_kind(raw_base, "u64", BTF_KIND_TYPEDEF), 64, 0);
  auto const split = file("split.btf", types.bytes());
  auto const count = btf__type_cnt(raw_base);
  btf__free(raw_base);

  auto const base = btf::open(base_file);
  btf all = btf::open(split, base);
  BOOST_TEST(all.base().types().size() == base.types().size());
  BOOST_TEST((all.base().type("task_struct") == base.type("task_struct")));
  auto const listed = all.types();
  BOOST_REQUIRE(listed.size() == 2U);
  BOOST_TEST(listed[0].id() == count);
  BOOST_TEST(listed[0].id() == static_cast<std::uint32_t>(pointer));
  BOOST_TEST(listed[1].id() == static_cast<std::uint32_t>(own));
  auto const mine = all.type("mine");
  BOOST_TEST(mine.id() == static_cast<std::uint32_t>(own));
  BOOST_TEST(mine.members()[0].type.to_string() == "struct task_struct *");
  BOOST_TEST(mine.members()[1].name == "jiffies");  // a string that is the base's
  BOOST_TEST(mine.members()[1].type.to_string() == "u64");
  BOOST_TEST(all.type("task_struct").id() == static_cast<std::uint32_t>(task));
  BOOST_TEST(mine.member("task")->type.target().member("pid").has_value());
  BOOST_TEST(!base.find("mine").has_value());
  error_code ec;
  diagnostics details;
  all.type("mime", ec, details);
  BOOST_TEST(ec == make_error_code(errc::not_found));
  all = {};
  BOOST_TEST(mine.members()[0].type.to_string() == "struct task_struct *");

  // On the kernel's own, as a module's are; and on nothing.
  BOOST_TEST(btf::open(split, kernel).type("mine").members().size() == 2U);
  BOOST_TEST(refusal_of(split).first == make_error_code(errc::invalid_object));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(custom_types_of_the_kernel, test::quiet_folder)

BOOST_AUTO_TEST_CASE(are_taken) {
  tinybpf::open_options options;
  options.btf_custom_path = "/sys/kernel/btf/vmlinux";
  auto obj = object::open(DYNAMIC_MAPS_BPF_O, options);
  obj.load();
  BOOST_TEST(obj.is_loaded());
  error_code ec;
  BOOST_TEST(object::open(DYNAMIC_MAPS_BPF_O, options, ec).is_open());
  BOOST_TEST(!ec);
}

BOOST_AUTO_TEST_CASE(are_missing) {
  mkfifo((path() / "fifo").c_str(), 0600);
  auto const refused = [&](fs::path const& types, error_code wanted) {
    tinybpf::open_options options;
    options.btf_custom_path = types;
    error_code ec;
    diagnostics details;
    BOOST_TEST(!object::open(DYNAMIC_MAPS_BPF_O, options, ec, details).is_open());
    BOOST_TEST(ec == wanted);
    BOOST_TEST(contains(details.message, types.string()), details.message);
  };
  refused(path() / "missing", test::kernel_error(ENOENT));
  refused(path(), make_error_code(errc::invalid_object));
  refused(path() / "fifo", make_error_code(errc::invalid_object));
}

BOOST_AUTO_TEST_CASE(are_none) {
  tinybpf::open_options options;
  options.btf_custom_path = file("text", std::as_bytes(std::span{"no types at all"}));
  auto obj = object::open(DYNAMIC_MAPS_BPF_O, options);
  error_code ec;
  diagnostics details;
  obj.load(ec, details);
  BOOST_TEST(ec == make_error_code(errc::invalid_object));
}

BOOST_AUTO_TEST_CASE(lack_what_is_needed) {
  written_types const types;
  btf__add_int(*types, "int", 4, BTF_INT_SIGNED);
  tinybpf::open_options options;
  options.btf_custom_path = file("few.btf", types.bytes());
  auto obj = object::open(DYNAMIC_MAPS_BPF_O, options);
  error_code ec;
  diagnostics details;
  obj.load(ec, details);
  BOOST_TEST(static_cast<bool>(ec));
  BOOST_TEST(contains(details.log, "task_struct"), details.to_string());
}

BOOST_AUTO_TEST_SUITE_END()

// What damaged BTF may have, and no compiler writes.
BOOST_FIXTURE_TEST_SUITE(odd_types, test::quiet_folder)

BOOST_AUTO_TEST_CASE(without_an_end) {
  written_types const types;
  auto const first = btf__add_ptr(*types, 2);
  btf__add_const(*types, first);
  btf__add_typedef(*types, "self", 3);
  auto const all = btf::open(file("cycle.btf", types.bytes()));
  for (auto const& t : all.types()) BOOST_TEST(t.to_string().size() < 1000U);
  auto const self = all.type("self");
  BOOST_TEST(!static_cast<bool>(self.resolve()));
  BOOST_TEST(self.size() == 0U);
  BOOST_TEST(self.to_string() == "self");
}

// A function that takes itself many times: its text would be longer than memory.
BOOST_AUTO_TEST_CASE(too_long_to_be_written) {
  written_types const types;
  btf__add_func_proto(*types, 0);
  for (int i = 0; i < 20; ++i) btf__add_func_param(*types, "f", 2);
  auto const pointer = btf__add_ptr(*types, 1);
  auto const all = btf::open(file("functions.btf", types.bytes()));
  for (auto const& t : all.types()) {
    BOOST_TEST(t.to_string().size() < 100'000U);
    BOOST_TEST(contains(t.to_string(), "..."));
  }
  BOOST_TEST(all.type(static_cast<std::uint32_t>(pointer)).size() == 8U);
}

// Nameless structs in nameless structs: more of them than anyone can look into.
BOOST_AUTO_TEST_CASE(with_too_many_members) {
  written_types const types;
  auto inner = btf__add_struct(*types, "", 0);
  for (int depth = 0; depth < 5; ++depth) {
    auto const outer = btf__add_struct(*types, "bomb", 0);
    for (int i = 0; i < 1000; ++i) btf__add_field(*types, "", inner, 0, 0);
    inner = outer;
  }
  auto const all = btf::open(file("bomb.btf", types.bytes()));
  BOOST_TEST(!all.type(static_cast<std::uint32_t>(inner)).member("absent").has_value());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace btf_test
