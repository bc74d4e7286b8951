#include <tinybpf/error.hpp>

#include <array>

namespace tinybpf {
namespace {

struct condition {
  errc value;
  char const* text;
};

constexpr std::array conditions{
    condition{errc::closed, "closed, never opened or moved from"},
    condition{errc::not_found, "no such name in the BPF object"},
    condition{errc::not_loaded, "the BPF object is not loaded"},
    condition{errc::already_loaded, "the BPF object is loaded already"},
    condition{errc::operation_in_progress, "another operation is in progress"},
    condition{errc::invalid_object, "not a BPF object that libbpf can read"},
    condition{errc::not_supported_by_libbpf, "not supported by this version of libbpf"},
    condition{errc::not_supported, "not supported here"},
    condition{errc::wrong_map_type, "a map of another type"},
    condition{errc::size_mismatch, "key or value size differs from the map's"},
    condition{errc::no_btf, "the BPF object carries no BTF"},
    condition{errc::type_mismatch, "the C++ type differs from the BPF object's type"},
    condition{errc::type_conflict, "the C++ type is registered under another name"},
    condition{errc::record_size, "a record of another size than the type"},
    condition{errc::unknown_tag, "a record of none of the types asked for"},
    condition{errc::record_corrupt, "a corrupt record header"},
    condition{errc::out_of_range, "a number that the type cannot hold"},
    condition{errc::wrong_program_type, "a program of another type"},
};

class category final : public error_category {
 public:
  char const* name() const noexcept override { return "tinybpf"; }

  std::string message(int value) const override {
    for (auto const& c : conditions)
      if (static_cast<int>(c.value) == value) return c.text;
    return "unknown tinybpf error " + std::to_string(value);
  }
};

}  // namespace

error_category const& tinybpf_category() noexcept {
  static category const instance;
  return instance;
}

error_code make_error_code(errc e) noexcept { return {static_cast<int>(e), tinybpf_category()}; }

bool diagnostics::empty() const noexcept {
  return message.empty() && hint.empty() && log.empty() && program.empty() && map.empty() && names.empty() &&
         differences.empty() && layouts.empty() && expected_size == 0 && actual_size == 0 && position == 0;
}

std::string diagnostics::to_string() const {
  std::string text = message;
  auto const append = [&](std::string_view before, std::string_view what) {
    if (what.empty()) return;
    if (!text.empty()) text += before;
    text += what;
  };
  append("; ", hint);
  append("\n", layouts);
  append("\n", log);
  return text;
}

struct error::payload {
  diagnostics details;
  std::string what;
};

error::error(error_code ec, diagnostics details) : system_error(ec) {
  auto what = details.to_string();
  auto const code = ec.message();
  if (what.empty()) {
    what = code;
  } else if (auto const eol = what.find('\n'); eol == std::string::npos) {
    what += " [" + code + "]";
  } else {
    what.insert(eol, " [" + code + "]");
  }
  payload_ = std::make_shared<payload const>(payload{std::move(details), std::move(what)});
}

char const* error::what() const noexcept { return payload_->what.c_str(); }

diagnostics const& error::get_diagnostics() const noexcept { return payload_->details; }

void detail::throw_error(error_code ec, diagnostics&& details) { throw error(ec, std::move(details)); }

}  // namespace tinybpf
