// One reading of an iterator, without executors.
#pragma once

#include <tinybpf/detail/owned_descriptor.hpp>
#include <tinybpf/error.hpp>
#include <tinybpf/layout.hpp>
#include <tinybpf/link.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <typeinfo>
#include <vector>

namespace tinybpf::detail {

class type_registry;
class worker;

/// What has to be there before it can be taken.
struct iter_wanted {
  enum class what : std::uint8_t { record, line, everything };
  what kind = what::record;
  std::size_t size = 1;  ///< Of a record.
};

enum class iter_status : std::uint8_t {
  taken,
  unread,  ///< A page has to be read first, or is being read.
  ended,   ///< There is no more.
  failed,
};

/// What an iterator wrote, as it is read from the kernel page by page and taken away in pieces. Reading is for any
/// thread, taking for the owner's: it never waits for a page that is being read.
class iter_reading : public std::enable_shared_from_this<iter_reading> {
 public:
  /// Begins to read. Errors: `errc::closed`, `errc::not_supported` if the link is of no iterator; the kernel's.
  static std::shared_ptr<iter_reading> open(link const& l, error_code& ec, diagnostics& details);
  /// Over a file that a test provides, which cannot be read anew.
  static std::shared_ptr<iter_reading> over(owned_descriptor file, std::string name);
  /// Begins anew. Errors: the kernel's.
  std::shared_ptr<iter_reading> again(error_code& ec, diagnostics& details) const;

  iter_reading(iter_reading const&) = delete;
  iter_reading& operator=(iter_reading const&) = delete;
  ~iter_reading() = default;

  /// The program's name; the kind of iterator, where the program is not known.
  [[nodiscard]] std::string const& name() const noexcept { return name_; }

  /// Holds a type against the object's BTF, once. For the owner's thread.
  bool check(type_shape const& shape, error_code& ec, diagnostics& details);

  /// Whether it could be taken now. Never waits.
  bool has_now(iter_wanted const& wanted) noexcept;

  /// Reads a page, unless what is wanted is there, the output has ended, or something failed that nobody was told of.
  /// Blocks as long as the kernel walks.
  void read_page(iter_wanted const& wanted);
  /// The same on the worker, and then calls `done` there; without memory that is a failure for who takes next. A page
  /// that is being read already is waited for instead, whatever it is read for, so that a walk never holds two of the
  /// worker's threads: look again. One waits: a call replaces who waited before, who has given up. `done` is destroyed
  /// uncalled if the worker shuts down. Not for two threads at once.
  void read_page_on(worker& where, iter_wanted const& wanted, std::function<void()> done);

  /// Takes a record. Failures: what a page's reading met; `errc::record_size` at the end for a part of a record.
  iter_status take_record(type_shape const& shape, void* to, error_code& ec, diagnostics& details);
  /// Takes as many records as are there, at least one and at most so many, and says how many.
  iter_status take_records(type_shape const& shape, std::size_t most, std::vector<std::byte>& to, std::size_t& count,
                           error_code& ec, diagnostics& details);
  /// Takes a line, without its end.
  iter_status take_line(std::string& to, error_code& ec, diagnostics& details);
  /// Takes everything up to the end.
  iter_status take_text(std::string& to, error_code& ec, diagnostics& details);

 private:
  struct flight;

  iter_reading(owned_descriptor link, owned_descriptor file, std::string name,
               std::shared_ptr<type_registry> types) noexcept;

  static std::shared_ptr<iter_reading> make(owned_descriptor link, std::string name,
                                            std::shared_ptr<type_registry> types, error_code& ec, diagnostics& details);

  // With the mutex held:
  std::size_t available() const noexcept { return end_ - begin_; }
  bool has(iter_wanted const& wanted) noexcept;
  void copy_out(void* to, std::size_t size) noexcept;
  std::string text_out(std::size_t size);
  iter_status nothing_to_take(error_code& ec, diagnostics& details);
  iter_status no_record(type_shape const& shape, error_code& ec, diagnostics& details);

  owned_descriptor const link_;  // for reading anew
  owned_descriptor const file_;
  std::string const name_;
  std::shared_ptr<type_registry> const types_;
  std::vector<std::type_info const*> checked_;
  std::weak_ptr<flight> flight_;  // the last page that was asked for

  std::mutex mutex_;  // for what follows
  std::vector<std::byte> buffer_;
  std::size_t begin_ = 0;  // what was read and not yet taken
  std::size_t end_ = 0;
  std::size_t searched_ = 0;    // so much of it has no end of a line
  std::uint64_t position_ = 0;  // of begin_ in the whole output
  bool ended_ = false;
  error_code error_;  // that nobody was told of yet
};

}  // namespace tinybpf::detail
