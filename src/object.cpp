#include <tinybpf/btf.hpp>
#include <tinybpf/object.hpp>

#include "detail/log_capture.hpp"
#include "detail/object_state.hpp"

#include <bpf/libbpf.h>

#include <cerrno>
#include <fstream>
#include <string>
#include <utility>

namespace tinybpf {
namespace {

using detail::report;

std::string quoted(std::string_view name) { return "'" + std::string{name} + "'"; }

// libbpf's own words for a file that it cannot read are terse, and the same for many causes: look first.
bool readable_object_file(std::filesystem::path const& file, error_code& ec, diagnostics& details) {
  std::error_code status_error;
  auto const status = std::filesystem::status(file, status_error);
  auto const text = file.string();
  if (!std::filesystem::exists(status)) {
    int const err = status_error ? status_error.value() : ENOENT;
    report(ec, details, detail::from_libbpf(err), "cannot open " + text);
    return false;
  }
  if (std::filesystem::is_directory(status)) {
    report(ec, details, detail::from_libbpf(EISDIR), "cannot open " + text, "give the path of a compiled BPF object");
    return false;
  }
  if (!std::filesystem::is_regular_file(status)) {  // opening a FIFO would wait for its writer
    report(ec, details, errc::invalid_object, text + " is not a regular file",
           "give the path of a compiled BPF object");
    return false;
  }
  errno = 0;
  std::ifstream in{file, std::ios::binary};
  char magic[4] = {};
  if (!in) {
    report(ec, details, detail::from_libbpf(errno != 0 ? errno : EIO), "cannot open " + text);
    return false;
  }
  in.read(magic, sizeof magic);
  if (in.gcount() == 0) {
    report(ec, details, errc::invalid_object, text + " is empty");
    return false;
  }
  if (std::string_view{magic, sizeof magic} != "\177ELF") {
    report(ec, details, errc::invalid_object, text + " is not an ELF file",
           "compile the BPF program with clang -target bpf -g -O2 -c");
    return false;
  }
  return true;
}

// libbpf looks when it loads, says no name, and would wait for the writer of a FIFO.
bool readable_types(std::filesystem::path const& file, error_code& ec, diagnostics& details) {
  std::error_code status;
  if (file.empty() || std::filesystem::is_regular_file(file, status)) return true;
  report(ec, details, status ? detail::from_libbpf(status.value()) : make_error_code(errc::invalid_object),
         "cannot read the kernel's types of " + file.string(), "give the path of a file of bare BTF");
  return false;
}

bool set_token_path([[maybe_unused]] bpf_object_open_opts& raw, std::filesystem::path const& path, error_code& ec,
                    diagnostics& details) {
  if (path.empty()) return true;
#if LIBBPF_MAJOR_VERSION > 1 || (LIBBPF_MAJOR_VERSION == 1 && LIBBPF_MINOR_VERSION >= 4)
  raw.bpf_token_path = path.c_str();
  static_cast<void>(ec);
  static_cast<void>(details);
  return true;
#else
  report(ec, details, errc::not_supported_by_libbpf,
         "cannot take a BPF token from " + path.string() + " with libbpf " + std::string{libbpf_version_string()},
         "build tinybpf with libbpf 1.4 or later, or leave bpf_token_path empty");
  return false;
#endif
}

object opened(bpf_object* raw, int err, std::string source, std::string log, error_code& ec, diagnostics& details) {
  if (raw == nullptr) {
    details.log = std::move(log);
    auto code = detail::from_libbpf(err);
    // libelf's failures reach us as EINVAL; what is wrong is the file all the same.
    if (code == boost::system::errc::invalid_argument) code = errc::invalid_object;
    report(ec, details, code,
           source + " is not a BPF object that libbpf " + std::string{libbpf_version_string()} + " can open",
           "the log has libbpf's reasons; an object for a newer libbpf fails here too");
    return {};
  }
  std::shared_ptr<bpf_object> owned{raw, [](bpf_object* o) { bpf_object__close(o); }};
  return detail::handle_access::make_object(
      std::make_shared<detail::object_state>(std::move(owned), std::move(source)));
}

}  // namespace

object::object() noexcept = default;
object::object(object&&) noexcept = default;
object& object::operator=(object&&) noexcept = default;
object::~object() = default;
object::object(std::shared_ptr<detail::object_state> state) noexcept : state_{std::move(state)} {}

object object::open(std::filesystem::path const& file) { return open(file, open_options{}); }

object object::open(std::filesystem::path const& file, error_code& ec) { return open(file, open_options{}, ec); }

object object::open(std::filesystem::path const& file, error_code& ec, diagnostics& details) {
  return open(file, open_options{}, ec, details);
}

object object::open(std::filesystem::path const& file, open_options const& options) {
  return detail::or_throw([&](auto& ec, auto& details) { return open(file, options, ec, details); });
}

object object::open(std::filesystem::path const& file, open_options const& options, error_code& ec) {
  diagnostics details;
  return open(file, options, ec, details);
}

object object::open(std::filesystem::path const& file, open_options const& options, error_code& ec,
                    diagnostics& details) {
  detail::begin(ec, details);
  if (!readable_object_file(file, ec, details)) return {};
  if (!readable_types(options.btf_custom_path, ec, details)) return {};
  bpf_object_open_opts raw_options{};
  raw_options.sz = sizeof raw_options;
  if (!set_token_path(raw_options, options.bpf_token_path, ec, details)) return {};
  if (!options.btf_custom_path.empty()) raw_options.btf_custom_path = options.btf_custom_path.c_str();
  if (!options.pin_root_path.empty()) raw_options.pin_root_path = options.pin_root_path.c_str();
  detail::log_capture log;
  auto* const raw = bpf_object__open_file(file.c_str(), &raw_options);
  int const err = errno;  // at once: everything below may change it
  return opened(raw, err, file.string(), log.take(), ec, details);
}

object object::open(std::span<std::byte const> image, std::string_view name) {
  return detail::or_throw([&](auto& ec, auto& details) { return open(image, name, ec, details); });
}

object object::open(std::span<std::byte const> image, std::string_view name, error_code& ec) {
  diagnostics details;
  return open(image, name, ec, details);
}

object object::open(std::span<std::byte const> image, std::string_view name, error_code& ec, diagnostics& details) {
  detail::begin(ec, details);
  std::string const object_name{name};
  if (image.empty()) {
    report(ec, details, errc::invalid_object, "the image of " + quoted(name) + " is empty");
    return {};
  }
  bpf_object_open_opts options{};
  options.sz = sizeof options;
  options.object_name = object_name.c_str();
  detail::log_capture log;
  auto* const raw = bpf_object__open_mem(image.data(), image.size(), &options);
  int const err = errno;
  return opened(raw, err, object_name, log.take(), ec, details);
}

void object::load() {
  detail::or_throw([&](auto& ec, auto& details) { load(ec, details); });
}

void object::load(error_code& ec) {
  diagnostics details;
  load(ec, details);
}

void object::load(error_code& ec, diagnostics& details) {
  detail::begin(ec, details);
  if (!state_) return report(ec, details, errc::closed, "load of a closed object");
  state_->load(ec, details);
}

std::vector<link> object::attach() const {
  return detail::or_throw([&](auto& ec, auto& details) { return attach(ec, details); });
}
std::vector<link> object::attach(error_code& ec) const {
  diagnostics details;
  return attach(ec, details);
}
std::vector<link> object::attach(error_code& ec, diagnostics& details) const {
  detail::begin(ec, details);
  std::vector<link> links;
  if (!state_) {
    report(ec, details, errc::closed, "attach of a closed object");
    return links;
  }
  if (!state_->usable(true, "attach", ec, details)) return links;
  for (auto& core : state_->programs()) {
    if (core.fd < 0 || !core.autoattach || !detail::attaches_by_itself(core)) continue;
    auto attached = detail::handle_access::make_program({state_, &core}).attach(ec, details);
    if (ec) return {};
    links.push_back(std::move(attached));
  }
  detail::begin(ec, details);
  return links;
}

void object::close() noexcept {
  if (state_) state_->close();
}

bool object::is_open() const noexcept { return state_ && state_->phase() != detail::object_phase::closed; }
bool object::is_loaded() const noexcept { return state_ && state_->phase() == detail::object_phase::loaded; }
std::string_view object::name() const noexcept { return is_open() ? state_->name() : std::string_view{}; }

std::vector<tinybpf::program> object::programs() const {
  std::vector<tinybpf::program> all;
  if (!is_open()) return all;
  all.reserve(state_->programs().size());
  for (auto& core : state_->programs()) all.push_back(detail::handle_access::make_program({state_, &core}));
  return all;
}

std::vector<tinybpf::map> object::maps() const {
  std::vector<tinybpf::map> all;
  if (!is_open()) return all;
  all.reserve(state_->maps().size());
  for (auto& core : state_->maps()) all.push_back(detail::handle_access::make_map({state_, &core}));
  return all;
}

namespace {

// Shared by program(name) and map(name), which differ in nothing else.
template <class Core>
Core* find_core(detail::object_state* state, std::deque<Core>& (detail::object_state::*list)() noexcept,
                std::string_view kind, std::string_view name, error_code& ec, diagnostics& details) {
  detail::begin(ec, details);
  if (state == nullptr || state->phase() == detail::object_phase::closed) {
    report(ec, details, errc::closed, std::string{kind} + " " + quoted(name) + " of a closed object");
    return nullptr;
  }
  for (auto& core : (state->*list)())
    if (core.name == name) return &core;
  for (auto const& core : (state->*list)()) details.names.push_back(core.name);
  report(ec, details, errc::not_found, state->source() + " has no " + std::string{kind} + " " + quoted(name),
         detail::near_names(name, details.names));
  return nullptr;
}

}  // namespace

tinybpf::program object::program(std::string_view name) const {
  return detail::or_throw([&](auto& ec, auto& details) { return program(name, ec, details); });
}

tinybpf::program object::program(std::string_view name, error_code& ec) const {
  diagnostics details;
  return program(name, ec, details);
}

tinybpf::program object::program(std::string_view name, error_code& ec, diagnostics& details) const {
  auto* const core = find_core(state_.get(), &detail::object_state::programs, "program", name, ec, details);
  return core != nullptr ? detail::handle_access::make_program({state_, core}) : tinybpf::program{};
}

tinybpf::map object::map(std::string_view name) const {
  return detail::or_throw([&](auto& ec, auto& details) { return map(name, ec, details); });
}

tinybpf::map object::map(std::string_view name, error_code& ec) const {
  diagnostics details;
  return map(name, ec, details);
}

tinybpf::map object::map(std::string_view name, error_code& ec, diagnostics& details) const {
  auto* const core = find_core(state_.get(), &detail::object_state::maps, "map", name, ec, details);
  return core != nullptr ? detail::handle_access::make_map({state_, core}) : tinybpf::map{};
}

tinybpf::btf object::btf() const {
  return detail::or_throw([&](auto& ec, auto& details) { return btf(ec, details); });
}

tinybpf::btf object::btf(error_code& ec) const {
  diagnostics details;
  return btf(ec, details);
}

tinybpf::btf object::btf(error_code& ec, diagnostics& details) const {
  detail::begin(ec, details);
  if (!is_open())
    report(ec, details, errc::closed, "btf of a closed object");
  else if (!state_->types()->tables())
    report(ec, details, errc::no_btf, state_->source() + " describes no types", "compile the BPF program with -g");
  else
    return detail::btf_access::make(state_->types()->tables());
  return {};
}

void object::register_shape(type_shape shape, std::string_view btf_name, field_names names, error_code& ec,
                            diagnostics& details) {
  detail::begin(ec, details);
  if (!state_) return report(ec, details, errc::closed, "register_type on a closed object");
  if (!state_->usable(false, "register_type", ec, details)) return;
  state_->types()->add(shape, btf_name, names, ec, details);
}

std::string object::name_of(std::type_info const& type) const {
  return is_open() ? state_->types()->name_of(type) : std::string{};
}

std::optional<type_shape> object::lookup_type(std::string_view btf_name) const {
  return is_open() ? state_->types()->shape_named(btf_name) : std::nullopt;
}

object load(std::filesystem::path const& file) {
  return detail::or_throw([&](auto& ec, auto& details) { return load(file, ec, details); });
}

object load(std::filesystem::path const& file, error_code& ec) {
  diagnostics details;
  return load(file, ec, details);
}

object load(std::filesystem::path const& file, error_code& ec, diagnostics& details) {
  auto loaded = object::open(file, ec, details);
  if (!ec) loaded.load(ec, details);
  return ec ? object{} : std::move(loaded);
}

}  // namespace tinybpf
