#include "object_state.hpp"

#include "log_capture.hpp"
#include "near_places.hpp"
#include "privileges.hpp"
#include "verifier_log.hpp"

#include <tinybpf/version.hpp>

#include <utility>

namespace tinybpf::detail {

map_core::map_core(std::string n, owned_descriptor d, std::shared_ptr<type_registry> t)
    : owner{nullptr}, raw{nullptr}, name{std::move(n)}, fd{d.get()}, own_fd_{std::move(d)}, own_types_{std::move(t)} {}

object_phase map_core::phase() const noexcept { return owner != nullptr ? owner->phase() : object_phase::loaded; }

bool map_core::usable(bool must_be_loaded, std::string_view what, error_code& ec, diagnostics& details) const {
  return owner == nullptr || owner->usable(must_be_loaded, what, ec, details);
}

std::shared_ptr<type_registry> const& map_core::types() const noexcept {
  return owner != nullptr ? owner->types() : own_types_;
}

map_core::map_core(object_state* o, bpf_map* r)
    : owner{o},
      raw{r},
      name{bpf_map__name(r)},
      btf_key{bpf_map__btf_key_type_id(r)},  // now: loading forgets what the kernel does not take
      btf_value{bpf_map__btf_value_type_id(r)} {
  refresh();
}

void map_core::refresh() {
  type = static_cast<map_type>(bpf_map__type(raw));
  key_size = bpf_map__key_size(raw);
  value_size = bpf_map__value_size(raw);
  max_entries = bpf_map__max_entries(raw);
  flags = bpf_map__map_flags(raw);
  if (char const* const path = bpf_map__is_pinned(raw) ? bpf_map__pin_path(raw) : nullptr)
    pinned.set(opened_pin_path(path).string());
}

void map_core::loaded() {
  refresh();
  auto const now = bpf_map__fd(raw);
  fd = now > 0 && bpf_map__autocreate(raw) ? now : -1;  // since libbpf 1.4 one that was not created has a number, too
  inner.reset(-1);
}

void map_core::forget() {
  raw = nullptr;
  fd = -1;
  type = map_type::unspec;
  key_size = value_size = max_entries = flags = 0;
  inner.reset(-1);
  std::lock_guard const lock{mutex};
  memory.reset();
}

program_core::program_core(object_state* o, bpf_program* r)
    : owner{o}, raw{r}, name{bpf_program__name(r)}, section{bpf_program__section_name(r)} {
  refresh();
}

program_core::program_core(std::string n, owned_descriptor d, program_type t)
    : owner{nullptr}, raw{nullptr}, name{std::move(n)}, type{t}, fd{d.get()}, own_fd_{std::move(d)} {}

object_phase program_core::phase() const noexcept { return owner != nullptr ? owner->phase() : object_phase::loaded; }

bool program_core::usable(bool must_be_loaded, std::string_view what, error_code& ec, diagnostics& details) const {
  if (owner == nullptr) return true;
  if (!owner->usable(must_be_loaded, what, ec, details)) return false;
  if (!must_be_loaded || fd.load(std::memory_order_relaxed) >= 0) return true;
  report(
      ec, details, errc::not_loaded,
      std::string{what} + " of " + owner->source() + ": the object was loaded without it, because its autoload is off",
      "call set_autoload(true) before load()");
  return false;
}

void program_core::refresh() {
  type = static_cast<program_type>(bpf_program__type(raw));
  expected_attach_type = static_cast<attach_type>(bpf_program__expected_attach_type(raw));
  flags = bpf_program__flags(raw);
  autoload = bpf_program__autoload(raw);
  autoattach = bpf_program__autoattach(raw);
  insn_count = bpf_program__insn_cnt(raw);
}

void program_core::loaded() {
  refresh();
  auto const now = bpf_program__fd(raw);
  fd = now > 0 ? now : -1;
  attach_target.reset(-1);
}

void program_core::forget() {
  raw = nullptr;
  fd = -1;
  attach_target.reset(-1);
}

bool ready(program_core* core, char const* operation, error_code& ec, diagnostics& details) {
  begin(ec, details);
  if (core == nullptr) {
    report(ec, details, errc::closed, std::string{operation} + " of no program");
    return false;
  }
  if (core->usable(true, std::string{operation} + " of program '" + core->name + "'", ec, details)) return true;
  details.program = core->name;
  return false;
}

bool attachable(program_core const& core, error_code& ec, diagnostics& details) {
  if (core.owner != nullptr) return true;
  report(ec, details, errc::not_supported,
         "attach of program '" + core.name + "', which is on its own: libbpf attaches the programs of an object",
         "attach it by the object that it was loaded from, or update a link with it");
  return false;
}

object_state::object_state(std::shared_ptr<bpf_object> owned, std::string source)
    : raw_{owned.get(), object_share{owned, mutex_}},
      name_{bpf_object__name(raw_.get())},
      source_{std::move(source)},
      types_{std::make_shared<type_registry>(btf_tables::copy_of(bpf_object__btf(raw_.get()), source_), source_)} {
  bpf_program* p = nullptr;
  bpf_object__for_each_program(p, raw_.get()) programs_.emplace_back(this, p);
  bpf_map* m = nullptr;
  bpf_object__for_each_map(m, raw_.get()) maps_.emplace_back(this, m);
}

object_state::~object_state() { close(); }

void object_state::close() noexcept {
  std::lock_guard const lock{mutex()};
  phase_ = object_phase::closed;
  for (auto& m : maps_) m.forget();
  for (auto& p : programs_) p.forget();
  log_capture const quiet;
  raw_.reset();
}

bool object_state::usable(bool must_be_loaded, std::string_view what, error_code& ec, diagnostics& details) const {
  auto const subject = std::string{what} + " of " + source_;
  switch (phase()) {
    case object_phase::loaded:
      return true;
    case object_phase::open:
      if (!must_be_loaded) return true;
      report(ec, details, errc::not_loaded, subject, "call load() first");
      return false;
    case object_phase::failed:
      if (!must_be_loaded) return true;
      report(ec, details, errc::not_loaded, subject, "its load failed; open the object anew");
      return false;
    case object_phase::loading:
      report(ec, details, errc::operation_in_progress, subject + ": the object is being loaded");
      return false;
    case object_phase::closed:
      break;
  }
  report(ec, details, errc::closed, subject);
  return false;
}

bool object_state::known_sections(error_code& ec, diagnostics& details) const {
  for (auto const& p : programs_) {
    if (!bpf_program__autoload(p.raw) || bpf_program__type(p.raw) != BPF_PROG_TYPE_UNSPEC) continue;
    report(ec, details, errc::not_supported_by_libbpf,
           source_ + ": program '" + p.name + "' is in section '" + p.section + "', which libbpf " +
               to_string(libbpf_version()) + " does not know",
           "correct the section's name, or use a newer libbpf");
    details.program = p.name;
    return false;
  }
  return true;
}

void object_state::load(error_code& ec, diagnostics& details) {
  if (begin_load(ec, details)) finish_load(ec, details);
}

bool object_state::begin_load(error_code& ec, diagnostics& details) {
  auto expected = object_phase::open;
  if (phase_.compare_exchange_strong(expected, object_phase::loading)) return true;
  if (expected == object_phase::closed)
    report(ec, details, errc::closed, "load of " + source_);
  else if (expected == object_phase::loading)
    report(ec, details, errc::operation_in_progress, source_ + " is being loaded");
  else
    report(ec, details, errc::already_loaded, source_ + ": an object can be loaded once", "open it anew");
  return false;
}

void object_state::abandon_load() noexcept {
  auto expected = object_phase::loading;
  phase_.compare_exchange_strong(expected, object_phase::open);
}

void object_state::finish_load(error_code& ec, diagnostics& details) {
  std::lock_guard const lock{mutex()};
  if (phase() == object_phase::closed)  // before this thread came to it
    return report(ec, details, errc::closed, "load of " + source_);
  auto outcome = object_phase::failed;
  auto const settle = [&](void*) {  // also if memory runs out
    if (outcome == object_phase::failed)
      for (auto& p : programs_) p.attach_target.reset(-1);
    phase_ = outcome;
  };
  std::unique_ptr<void, decltype(settle)> const settled{this, settle};
  log_capture log;
  verifier_logs logs;
  if (!known_sections(ec, details) || !logs.ask(programs_, ec, details)) return;
  int const err = bpf_object__load(raw_.get());
  logs.keep();
  if (err != 0) return explain_load_failure(err, log.take(), ec, details);
  for (auto& p : programs_) p.loaded();
  for (auto& m : maps_) m.loaded();
  outcome = object_phase::loaded;
}

namespace {

/// What would help to get a BPF token, if libbpf could not get the one that it was told to take, and from where.
std::string token_hint(std::string const& log, error_code code, std::string& place) {
  for (std::string const words : {"to create BPF token from '", "to open BPF FS mount at '"}) {
    auto const at = log.find(words);
    if (at == std::string::npos) continue;
    auto const from = at + words.size();
    place = log.substr(from, log.find('\'', from) - from);
    if (words.find("open") != std::string::npos)
      return "give the mount point of a bpffs as open_options::bpf_token_path";
    if (code == boost::system::errc::operation_not_supported)
      return "tokens are for user namespaces: in the first one leave open_options::bpf_token_path empty";
    if (code == boost::system::errc::operation_not_permitted)
      return "the bpffs has to be of the user namespace of this process, which has to have CAP_BPF in it";
    if (code == boost::system::errc::no_such_file_or_directory)
      return "it delegates nothing: root has to mount it with delegate_cmds and its like";
    return "it has to be the mount point of a bpffs, on Linux 6.9 or later";
  }
  return {};
}

}  // namespace

void object_state::explain_load_failure(int err, std::string log, error_code& ec, diagnostics& details) const {
  std::string message = "cannot load " + source_;
  // libbpf names the program it stopped at only in its text.
  for (auto const& p : programs_) {
    if (log.find("prog '" + p.name + "'") == std::string::npos) continue;
    details.program = p.name;
    message += ": program '" + p.name + "' was refused";
    if (!p.verifier_log.empty()) log += '\n' + p.verifier_log;  // which libbpf leaves to those who asked for it
    break;
  }
  for (auto const& m : maps_) {
    if (!details.program.empty() || log.find("map '" + m.name + "'") == std::string::npos) continue;
    details.map = m.name;
    message += ": map '" + m.name + "' could not be created";
    break;
  }
  auto const code = from_libbpf(err);
  std::string hint;
  // libbpf's line ends so, after the path.
  if (auto const mismatch = log.find("': parameter mismatch"); mismatch != std::string::npos)
    hint = "another kind of map is pinned at " + log.substr(0, mismatch).substr(log.rfind('\'', mismatch - 1) + 1) +
           ": remove it, or choose another open_options::pin_root_path";
  // It hides helpers, and forbids to subtract pointers or to let them out.
  bool const verified = log.find("BEGIN PROG LOAD LOG") != std::string::npos;
  if (verified && !missing_capabilities(capability::perfmon).empty())
    hint = "if root may load it: the verifier is stricter with a process that lacks CAP_PERFMON";
  if (code == boost::system::errc::operation_not_permitted) {
    capability_set needed = capability::bpf;
    for (auto const& m : maps_)
      if (bpf_map__autocreate(m.raw)) needed |= needed_for_map(m.type, m.flags);
    for (auto const& p : programs_)
      if (bpf_program__autoload(p.raw)) needed |= required_capabilities(p.type);
    hint = explain_refusal(needed);
  }
  std::string token_place;
  if (auto token = token_hint(log, code, token_place); !token.empty()) {
    message += ": no BPF token from " + token_place;
    hint = std::move(token);
  }
  details.log = std::move(log);
  report(ec, details, code, std::move(message), std::move(hint));
  for (auto const& p : programs_)
    if (p.name == details.program) suggest_trace_target(p.section, details);
}

}  // namespace tinybpf::detail
