// Room in a user ring buffer that is being filled.
#pragma once

#include <tinybpf/detail/user_ring_core.hpp>
#include <tinybpf/error.hpp>
#include <tinybpf/layout.hpp>

#include <cstddef>
#include <new>
#include <span>
#include <utility>

namespace tinybpf {

namespace detail {

/// What reservations of every type have in common.
class reserved {
 public:
  reserved() = default;
  reserved(user_ring_core& ring, std::byte* data, std::size_t size) noexcept : ring_{&ring}, data_{data}, size_{size} {
    ring.pin();
  }
  reserved(reserved&& other) noexcept
      : ring_{other.ring_}, data_{std::exchange(other.data_, nullptr)}, size_{other.size_} {}
  reserved& operator=(reserved&& other) noexcept {
    if (this == &other) return *this;
    discard();
    ring_ = other.ring_;
    data_ = std::exchange(other.data_, nullptr);
    size_ = other.size_;
    return *this;
  }
  ~reserved() { discard(); }

  /// True while there is a record.
  explicit operator bool() const noexcept { return data_ != nullptr; }
  /// Its bytes.
  [[nodiscard]] std::size_t size() const noexcept { return data_ != nullptr ? size_ : 0; }

  /// Hands the record to the kernel, which reads it when a BPF program drains the ring. Errors: `errc::closed` if
  /// empty, or if the buffer was closed meanwhile: then the record is discarded.
  void submit() {
    if (!commit()) throw_closed();
  }
  /// @overload
  void submit(error_code& ec) noexcept {
    ec.clear();
    if (!commit()) ec = errc::closed;
  }
  /// Gives the record up. No effect if empty.
  void discard() noexcept {
    if (data_ != nullptr) [[unlikely]]
      drop();
  }

 protected:
  [[nodiscard]] std::byte* data() const noexcept { return data_; }

 private:
  bool commit() noexcept {
    if (data_ == nullptr || ring_->closed()) [[unlikely]] {
      discard();
      return false;
    }
    ring_writer::commit(std::exchange(data_, nullptr), size_, false);
    ring_->unpin();
    return true;
  }
  // Apart, so that what most reservations never need is not in their way.
  void drop() noexcept;
  [[noreturn]] static void throw_closed();

  user_ring_core* ring_ = nullptr;  // pinned as long as there is a record
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace detail

/// A record in a user ring buffer, for the user to fill and then to `submit()`. The kernel drains records in the order
/// in which they were reserved, and waits at one that is still reserved. Its memory is what was there before, not
/// zeroes.
///
/// T is the record's type, or void for raw bytes. Move-only. An empty one (default-constructed, moved from, submitted
/// or discarded) has no record. Destruction discards. It keeps the ring mapped, so it may outlive the buffer, but not
/// the buffer's execution context; like the buffer it is not thread-safe.
template <class T = void>
class reservation : public detail::reserved {
  static_assert(shared_with_kernel<T>, "a record is trivially copyable and holds no pointer");
  static_assert(alignof(T) <= 8, "records are aligned to 8 bytes: reserve bytes for this type");

 public:
  /// An empty one.
  reservation() = default;
  /// What a buffer reserved.
  reservation(detail::user_ring_core& ring, std::byte* data, std::size_t size) noexcept : reserved{ring, data, size} {
    ::new (static_cast<void*>(data)) T;
  }

  /// The record. Undefined for an empty reservation.
  [[nodiscard]] T& operator*() const noexcept { return *get(); }
  /// @overload
  T* operator->() const noexcept { return get(); }
  /// The record; null if empty.
  [[nodiscard]] T* get() const noexcept { return std::launder(reinterpret_cast<T*>(data())); }
};

/// Raw bytes.
template <>
class reservation<void> : public detail::reserved {
 public:
  /// An empty one.
  reservation() = default;
  /// What a buffer reserved.
  using reserved::reserved;

  /// The record's bytes; none if empty.
  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return {data(), size()}; }
};

}  // namespace tinybpf
