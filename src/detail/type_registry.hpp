// Which C++ types are known to fit an object's types. Shared by the object and the streams that read from it.
#pragma once

#include "btf_tables.hpp"

#include <tinybpf/error.hpp>
#include <tinybpf/layout.hpp>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tinybpf::detail {

/// Thread-safe.
class type_registry {
 public:
  /// `types` may be null, if the object has none; `source` is how errors name it.
  type_registry(std::shared_ptr<btf_tables const> types, std::string source)
      : tables_{std::move(types)}, source_{std::move(source)} {}

  /// Null if the object has none.
  std::shared_ptr<btf_tables const> const& tables() const noexcept { return tables_; }

  /// Checks the pair and remembers it.
  void add(type_shape const& shape, std::string_view btf_name, field_names names, error_code& ec, diagnostics& details);

  /// What was registered: the BTF name of a C++ type, empty if it was not; and the C++ type of a BTF name.
  std::string name_of(std::type_info const& type) const;
  std::optional<type_shape> shape_named(std::string_view btf_name) const;

  /// Checks a type that has no name to be registered under, such as that of a map's keys.
  void check_as(type_shape const& shape, btf_type const& type, field_names names, error_code& ec, diagnostics& details);

  /// Checks a type that a stream is about to be read as: against its registration, or else against the object's type of
  /// the same unqualified name. A type that the object does not know by name is held to each record's size alone.
  void check(type_shape const& shape, error_code& ec, diagnostics& details);

 private:
  struct entry {
    type_shape shape;
    std::string btf_name;
  };

  entry const* find(type_shape const& shape) const;
  void add_locked(type_shape const& shape, std::string_view btf_name, field_names names, error_code& ec,
                  diagnostics& details);
  bool fits(type_shape const& shape, std::string const& cpp_name, std::uint32_t id, std::string const& btf_name,
            field_names names, error_code& ec, diagnostics& details) const;
  ::btf const* types() const noexcept { return tables_ ? tables_->raw : nullptr; }

  std::shared_ptr<btf_tables const> const tables_;
  std::string const source_;
  mutable std::mutex mutex_;
  std::vector<entry> entries_;
};

}  // namespace tinybpf::detail
