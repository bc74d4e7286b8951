// Which C++ types are known to fit an object's types. Shared by the object and the streams that read from it.
#pragma once

#include <tinybpf/btf.hpp>
#include <tinybpf/error.hpp>

#include <bpf/btf.h>

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
  /// `types` is the object's BTF, or null if it has none; it is the object's until `keep_types()`.
  type_registry(btf* types, std::string source) : borrowed_{types}, source_{std::move(source)} {}

  /// Checks the pair and remembers it.
  void add(type_shape const& shape, std::string_view btf_name, field_names names, error_code& ec, diagnostics& details);

  /// What was registered: the BTF name of a C++ type, empty if it was not; and the C++ type of a BTF name.
  std::string name_of(std::type_info const& type) const;
  std::optional<type_shape> shape_named(std::string_view btf_name) const;

  /// Checks a type that a stream is about to be read as: against its registration, or else against the object's type of
  /// the same unqualified name. A type that the object does not know by name is held to each record's size alone.
  void check(type_shape const& shape, error_code& ec, diagnostics& details);

  /// To be called before the object frees its BTF: from then on a copy serves whoever still reads, if anyone does.
  void keep_types(bool wanted) noexcept;

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
  btf const* types() const noexcept { return owned_ ? owned_.get() : borrowed_; }

  struct free_btf {
    void operator()(btf* b) const noexcept { btf__free(b); }
  };

  mutable std::mutex mutex_;
  btf* borrowed_;
  std::unique_ptr<btf, free_btf> owned_;
  std::string source_;
  std::vector<entry> entries_;
};

}  // namespace tinybpf::detail
