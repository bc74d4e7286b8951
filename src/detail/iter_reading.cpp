#include <tinybpf/detail/iter_reading.hpp>

#include "link_state.hpp"
#include "report.hpp"
#include "type_registry.hpp"
#include "worker.hpp"

#include <tinybpf/link_info.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include <boost/core/demangle.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>
#include <variant>

namespace tinybpf::detail {
namespace {

// The kernel gives no more at once, whatever is asked for: 8 pages.
constexpr std::size_t page_size = 32768;

/// "task" of an iterator's link; empty of any other.
std::string target_of(int link) {
  link_info known;
  if (read_link_info(link, known) != 0 || known.kind != link_kind::iter) return {};
  auto const& name = std::get<iter_info>(known.detail).target_name;
  return name.empty() ? "?" : name;
}

std::string explain_read(error_code code) {
  if (code == boost::system::errc::argument_list_too_long)
    return "what the program wrote of one element does not fit into the kernel's buffer of 32768 bytes: write less";
  if (code == boost::system::errc::operation_not_supported)
    return "the kernel walks cgroups in one read only, and what the program wrote of those in front did not leave room "
           "in its buffer of 32768 bytes: write less, or walk a part of the hierarchy";
  return {};
}

}  // namespace

/// Held by the worker's job alone: a job that is dropped with its worker drops who waits for it, and they may hold the
/// reading.
struct iter_reading::flight {
  std::mutex mutex;
  bool landed = false;
  std::function<void()> waiting;
};

iter_reading::iter_reading(owned_descriptor link, owned_descriptor file, std::string name,
                           std::shared_ptr<type_registry> types) noexcept
    : link_{std::move(link)}, file_{std::move(file)}, name_{std::move(name)}, types_{std::move(types)} {}

std::shared_ptr<iter_reading> iter_reading::make(owned_descriptor link, std::string name,
                                                 std::shared_ptr<type_registry> types, error_code& ec,
                                                 diagnostics& details) {
  owned_descriptor file{bpf_iter_create(link.get())};
  if (file.get() < 0) {
    auto const code = last_errno();
    report(ec, details, code, "cannot read iterator '" + name + "'");
    details.program = std::move(name);
    return nullptr;
  }
  return std::shared_ptr<iter_reading>{
      new iter_reading{std::move(link), std::move(file), std::move(name), std::move(types)}};
}

std::shared_ptr<iter_reading> iter_reading::open(link const& l, error_code& ec, diagnostics& details) {
  begin(ec, details);
  if (!l.attached()) {
    report(ec, details, errc::closed, "cannot read the iterator of an empty link");
    return nullptr;
  }
  auto const& origin = link_access::state(l)->origin();
  details.program = origin.program;
  diagnostics ignored;
  error_code none;
  int const fd = l.fd(none, ignored);
  auto target = none ? std::string{} : target_of(fd);
  if (target.empty()) {
    report(ec, details, errc::not_supported,
           "cannot read from a link of kind " + std::string{to_string(l.kind())} +
               (origin.program.empty() ? "" : " of program '" + origin.program + "'"),
           "only iterators, as SEC(\"iter/task\") makes them, are read");
    return nullptr;
  }
  owned_descriptor own{fcntl(fd, F_DUPFD_CLOEXEC, 3)};
  if (own.get() < 0) {
    report(ec, details, last_errno(), "cannot duplicate the descriptor of an iterator's link");
    return nullptr;
  }
  auto name = origin.program.empty() ? target : origin.program;
  auto opened = make(std::move(own), std::move(name), origin.types, ec, details);
  if (!ec) begin(ec, details);
  return opened;
}

std::shared_ptr<iter_reading> iter_reading::over(owned_descriptor file, std::string name) {
  return std::shared_ptr<iter_reading>{new iter_reading{owned_descriptor{}, std::move(file), std::move(name), nullptr}};
}

std::shared_ptr<iter_reading> iter_reading::again(error_code& ec, diagnostics& details) const {
  begin(ec, details);
  owned_descriptor own{fcntl(link_.get(), F_DUPFD_CLOEXEC, 3)};
  if (own.get() < 0) {
    report(ec, details, last_errno(), "cannot duplicate the descriptor of an iterator's link");
    return nullptr;
  }
  return make(std::move(own), name_, types_, ec, details);
}

bool iter_reading::check(type_shape const& shape, error_code& ec, diagnostics& details) {
  auto const same = [&](std::type_info const* t) { return *t == *shape.type; };
  if (std::any_of(checked_.begin(), checked_.end(), same)) return true;
  if (types_) types_->check(shape, ec, details);
  if (ec) {
    details.program = name_;
    details.message = "records of iterator '" + name_ + "': " + details.message;
    return false;
  }
  checked_.push_back(shape.type);
  return true;
}

bool iter_reading::has(iter_wanted const& wanted) noexcept {
  switch (wanted.kind) {
    case iter_wanted::what::record:
      return available() >= wanted.size;
    case iter_wanted::what::line: {
      auto const* const from = buffer_.data() + begin_ + searched_;
      if (available() != searched_ && std::memchr(from, '\n', available() - searched_) != nullptr) return true;
      searched_ = available();
      return false;
    }
    case iter_wanted::what::everything:
      break;
  }
  return false;
}

bool iter_reading::has_now(iter_wanted const& wanted) noexcept {
  std::unique_lock const lock{mutex_, std::try_to_lock};
  return lock.owns_lock() && has(wanted);
}

void iter_reading::read_page(iter_wanted const& wanted) {
  std::lock_guard const lock{mutex_};
  if (ended_ || error_ || has(wanted)) return;
  if (begin_ != 0 && buffer_.size() - end_ < page_size) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, available());
    end_ -= std::exchange(begin_, 0);
  }
  if (buffer_.size() - end_ < page_size) buffer_.resize(std::max(end_ + page_size, 2 * end_));
  auto const got = ::read(file_.get(), buffer_.data() + end_, buffer_.size() - end_);
  if (got > 0)
    end_ += static_cast<std::size_t>(got);
  else if (got == 0)
    ended_ = true;
  else if (errno != EAGAIN && errno != EINTR)  // EAGAIN: the kernel walked a million elements and wants a pause
    error_ = last_errno();
}

void iter_reading::read_page_on(worker& where, iter_wanted const& wanted, std::function<void()> done) {
  if (auto const running = flight_.lock()) {
    std::unique_lock lock{running->mutex};
    if (!running->landed) {
      running->waiting.swap(done);
      lock.unlock();
      return;  // who waited before has given up, and goes now
    }
  }
  auto const mine = std::make_shared<flight>();
  mine->waiting = std::move(done);
  flight_ = mine;
  where.submit([reading = shared_from_this(), mine, wanted] {
    try {
      reading->read_page(wanted);
    } catch (...) {
      std::lock_guard const lock{reading->mutex_};
      reading->error_ = from_libbpf(ENOMEM);
    }
    std::unique_lock lock{mine->mutex};
    mine->landed = true;
    auto const waiting = std::exchange(mine->waiting, nullptr);
    lock.unlock();
    waiting();
  });
}

void iter_reading::copy_out(void* to, std::size_t size) noexcept {
  if (size != 0) std::memcpy(to, buffer_.data() + begin_, size);
  begin_ += size;
  position_ += size;
  searched_ = 0;
  if (begin_ == end_) begin_ = end_ = 0;
}

std::string iter_reading::text_out(std::size_t size) {
  std::string text(size, '\0');
  copy_out(text.data(), size);
  return text;
}

iter_status iter_reading::nothing_to_take(error_code& ec, diagnostics& details) {
  if (error_) {
    auto const code = std::exchange(error_, {});
    report(ec, details, code, "cannot read iterator '" + name_ + "' on", explain_read(code));
    details.program = name_;
    details.position = position_ + available();
    return iter_status::failed;
  }
  return ended_ ? iter_status::ended : iter_status::unread;
}

iter_status iter_reading::no_record(type_shape const& shape, error_code& ec, diagnostics& details) {
  auto const status = nothing_to_take(ec, details);
  if (status != iter_status::ended || available() == 0) return status;
  auto const left = available();
  report(ec, details, errc::record_size,
         "the output of iterator '" + name_ + "' ends with " + std::to_string(left) + " bytes, and a " +
             boost::core::demangle(shape.type->name()) + " has " + std::to_string(shape.size),
         "the program has to write whole records of this type, and nothing else");
  details.program = name_;
  details.expected_size = shape.size;
  details.actual_size = left;
  details.position = position_;
  position_ += left;
  begin_ = end_ = searched_ = 0;
  return iter_status::failed;
}

iter_status iter_reading::take_record(type_shape const& shape, void* to, error_code& ec, diagnostics& details) {
  std::unique_lock const lock{mutex_, std::try_to_lock};
  if (!lock.owns_lock()) return iter_status::unread;
  if (available() < shape.size) return no_record(shape, ec, details);
  copy_out(to, shape.size);
  return iter_status::taken;
}

iter_status iter_reading::take_records(type_shape const& shape, std::size_t most, std::vector<std::byte>& to,
                                       std::size_t& count, error_code& ec, diagnostics& details) {
  std::unique_lock const lock{mutex_, std::try_to_lock};
  if (!lock.owns_lock()) return iter_status::unread;
  count = std::min(most, available() / shape.size);
  if (count == 0) return no_record(shape, ec, details);
  if (to.size() < count * shape.size) to.resize(count * shape.size);
  copy_out(to.data(), count * shape.size);
  return iter_status::taken;
}

iter_status iter_reading::take_line(std::string& to, error_code& ec, diagnostics& details) {
  std::unique_lock const lock{mutex_, std::try_to_lock};
  if (!lock.owns_lock()) return iter_status::unread;
  if (has({iter_wanted::what::line})) {
    std::string_view const all{reinterpret_cast<char const*>(buffer_.data()) + begin_, available()};
    to = text_out(all.find('\n', searched_) + 1);
    to.pop_back();
    return iter_status::taken;
  }
  auto const status = nothing_to_take(ec, details);
  if (status != iter_status::ended || available() == 0) return status;
  to = text_out(available());
  return iter_status::taken;
}

iter_status iter_reading::take_text(std::string& to, error_code& ec, diagnostics& details) {
  std::unique_lock const lock{mutex_, std::try_to_lock};
  if (!lock.owns_lock()) return iter_status::unread;
  auto const status = nothing_to_take(ec, details);
  if (status != iter_status::ended || available() == 0) return status;
  to = text_out(available());
  return iter_status::taken;
}

}  // namespace tinybpf::detail
