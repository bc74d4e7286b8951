// The lock that goes with a libbpf object.
#pragma once

#include <bpf/libbpf.h>

#include <memory>
#include <mutex>

namespace tinybpf::detail {

/// The deleter of object_state::raw(), in which whoever shares the libbpf object beyond the life of its state finds the
/// mutex that guards it.
struct object_share {
  std::shared_ptr<bpf_object> owned;
  std::shared_ptr<std::mutex> mutex;

  void operator()(bpf_object*) noexcept { owned.reset(); }

  static std::shared_ptr<std::mutex> mutex_of(std::shared_ptr<bpf_object> const& shared) noexcept {
    auto const* const share = std::get_deleter<object_share>(shared);
    return share != nullptr ? share->mutex : nullptr;
  }
};

}  // namespace tinybpf::detail
