// What the handles of one BPF object share.
#pragma once

#include "object_share.hpp"
#include "pin_path.hpp"
#include "report.hpp"
#include "type_registry.hpp"

#include <tinybpf/detail/owned_descriptor.hpp>
#include <tinybpf/map.hpp>
#include <tinybpf/object.hpp>
#include <tinybpf/program.hpp>

#include <bpf/libbpf.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

namespace tinybpf::detail {

class object_state;

enum class object_phase : std::uint8_t { open, loading, loaded, failed, closed };

// The numbers are copies, because after close() there is no bpf_map to ask, and during a load on another thread
// libbpf may be writing to it.
struct map_core {
  object_state* owner;  // null for a map on its own, which is open until it is destroyed
  bpf_map* raw;         // null for the same, and after close()
  std::string name;
  std::atomic<map_type> type{map_type::unspec};
  std::atomic<std::uint32_t> key_size{0};
  std::atomic<std::uint32_t> value_size{0};
  std::atomic<std::uint32_t> max_entries{0};
  std::atomic<std::uint32_t> flags{0};
  std::atomic<int> fd{-1};
  std::uint32_t btf_key = 0;  // the numbers of types, as the object declares them
  std::uint32_t btf_value = 0;
  std::uint32_t ring_bytes = 0;  // what a ring was declared with that is now something else

  bool on_node = false;    // set_numa_node was called
  owned_descriptor inner;  // what is to be put into a map of maps, until it is created

  pinned_path pinned;

  std::mutex mutex;              // for what follows
  std::shared_ptr<void> memory;  // of a section of global variables, once it was asked for
  bool memory_writable = false;

  map_core(object_state* o, bpf_map* r);
  /// A map on its own.
  map_core(std::string n, owned_descriptor d, std::shared_ptr<type_registry> t);

  object_phase phase() const noexcept;
  /// As of the object; a map on its own is always usable.
  bool usable(bool must_be_loaded, std::string_view what, error_code& ec, diagnostics& details) const;
  std::shared_ptr<type_registry> const& types() const noexcept;

  /// What may have been set. Not the descriptor: before load that of a map to be reused is libbpf's alone, which closes
  /// it if loading fails.
  void refresh();
  /// Likewise, after load.
  void loaded();
  void forget();

 private:
  owned_descriptor own_fd_;
  std::shared_ptr<type_registry> own_types_;
};

/// Where `attach()` finds the place of a program.
enum class place_of : std::uint8_t { section, target, nowhere };

// The numbers are copies, for the reasons of map_core.
struct program_core {
  object_state* owner;  // null for a program on its own, which is open until it is destroyed
  bpf_program* raw;     // null for the same, and after close()
  std::string name;
  std::string section;
  std::atomic<program_type> type{program_type::unspec};
  std::atomic<attach_type> expected_attach_type{};
  std::atomic<std::uint32_t> flags{0};
  std::atomic<bool> autoload{false};
  std::atomic<bool> autoattach{false};
  std::atomic<std::size_t> insn_count{0};
  std::atomic<int> fd{-1};
  std::atomic<place_of> place{place_of::section};

  owned_descriptor attach_target;  // libbpf borrows it until the program is loaded

  pinned_path pinned;

  std::mutex mutex;  // for what follows
  std::string verifier_log;

  program_core(object_state* o, bpf_program* r);
  /// A program on its own.
  program_core(std::string n, owned_descriptor d, program_type t);

  object_phase phase() const noexcept;
  /// As of the object, and whether the program was loaded with it.
  bool usable(bool must_be_loaded, std::string_view what, error_code& ec, diagnostics& details) const;

  /// What may have been set.
  void refresh();
  /// Likewise, after load.
  void loaded();
  void forget();

 private:
  owned_descriptor own_fd_;
};

/// What must hold before a system call on a program; says what does not.
bool ready(program_core* core, char const* operation, error_code& ec, diagnostics& details);

/// What must hold before libbpf attaches a program; says what does not.
bool attachable(program_core const& core, error_code& ec, diagnostics& details);

/// True if the program has a place that libbpf attaches it to by itself.
bool attaches_by_itself(program_core const& core) noexcept;

class object_state {
 public:
  /// Takes over an object that libbpf has opened; `source` is how errors name it: the file's path or the image's name.
  object_state(std::shared_ptr<bpf_object> owned, std::string source);

  object_state(object_state const&) = delete;
  object_state& operator=(object_state const&) = delete;
  ~object_state();

  void load(error_code& ec, diagnostics& details);

  /// A load in two steps, for one that runs elsewhere: from the first on the object is `loading`. What has begun is
  /// either finished or abandoned.
  bool begin_load(error_code& ec, diagnostics& details);
  void finish_load(error_code& ec, diagnostics& details);
  void abandon_load() noexcept;

  void close() noexcept;

  /// Reports why the object cannot be used now, or nothing if it is open (`must_be_loaded`: loaded).
  bool usable(bool must_be_loaded, std::string_view what, error_code& ec, diagnostics& details) const;

  object_phase phase() const noexcept { return phase_.load(std::memory_order_acquire); }
  std::string_view name() const noexcept { return name_; }
  std::string const& source() const noexcept { return source_; }
  std::deque<program_core>& programs() noexcept { return programs_; }
  std::deque<map_core>& maps() noexcept { return maps_; }

  /// The libbpf object itself, for what must keep it alive beyond close(). Null when closed.
  std::shared_ptr<bpf_object> raw() const noexcept { return raw_; }

  /// Outlives the object with whoever reads through it.
  std::shared_ptr<type_registry> const& types() const noexcept { return types_; }

  /// libbpf is not thread-safe within one object: attaching and loading take this.
  std::mutex& mutex() noexcept { return *mutex_; }

 private:
  bool known_sections(error_code& ec, diagnostics& details) const;
  void explain_load_failure(int err, std::string log, error_code& ec, diagnostics& details) const;

  std::shared_ptr<std::mutex> mutex_ = std::make_shared<std::mutex>();
  std::shared_ptr<bpf_object> raw_;  // with object_share, through which it finds the mutex
  std::atomic<object_phase> phase_{object_phase::open};
  std::string name_;
  std::string source_;
  std::deque<program_core> programs_;
  std::deque<map_core> maps_;
  std::shared_ptr<type_registry> types_;
};

// The door between the public handles and what they stand for.
struct handle_access {
  static object make_object(std::shared_ptr<object_state> s) { return object{std::move(s)}; }
  static program make_program(std::shared_ptr<program_core> c) { return program{std::move(c)}; }
  static map make_map(std::shared_ptr<map_core> c) { return map{std::move(c)}; }
  static std::shared_ptr<object_state> const& state(object const& o) { return o.state_; }
  static std::shared_ptr<program_core> const& core(program const& p) { return p.core_; }
  static std::shared_ptr<map_core> const& core(map const& m) { return m.core_; }
};

}  // namespace tinybpf::detail
