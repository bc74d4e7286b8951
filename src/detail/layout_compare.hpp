// Two layouts of what should be one type: how they differ, and what would help.
#pragma once

#include "layout_rows.hpp"

#include <tinybpf/error.hpp>

#include <string>
#include <vector>

namespace tinybpf::detail {

/// How to compare.
struct compare_options {
  bool names = true;      ///< Also the fields' names, where the C++ type's are known.
  bool may_grow = false;  ///< The object's type may end in a flexible array, which the C++ type leaves out.
};

/// All differences, in the order of their offsets; none if the types agree.
std::vector<btf_difference> compare(layout_rows const& cpp, layout_rows const& object, compare_options options);

/// Both side by side, with the first of the differences marked: there must be one.
std::string side_by_side(std::string const& cpp_name, layout_rows const& cpp, std::string const& object_name,
                         layout_rows const& object, std::vector<btf_difference> const& differences);

/// What the differences look like, and what to do; empty if they look like nothing in particular.
std::string advice(layout_rows const& cpp, layout_rows const& object, std::vector<btf_difference> const& differences);

}  // namespace tinybpf::detail
