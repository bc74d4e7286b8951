// Memory that runs out when a test wants it to, in a program that is linked with failing_allocation.cpp.
#pragma once

namespace test {

/// While alive, one allocation of this thread fails: the one after so many.
class failing_allocation {
 public:
  explicit failing_allocation(int allowed) noexcept;
  failing_allocation(failing_allocation const&) = delete;
  failing_allocation& operator=(failing_allocation const&) = delete;
  ~failing_allocation();

  /// True if none has failed so far.
  [[nodiscard]] bool is_still_to_come() const noexcept;
};

}  // namespace test
