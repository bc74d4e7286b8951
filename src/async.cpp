#include <tinybpf/async.hpp>

#include "detail/link_state.hpp"
#include "detail/object_state.hpp"
#include "detail/worker.hpp"

#include <memory>
#include <utility>

namespace tinybpf::detail {
namespace {

/// A load that will run on the worker, unless it is dropped before.
class begun_load {
 public:
  explicit begun_load(std::shared_ptr<object_state> state) : state_{std::move(state)} {
    if (state_)
      begun_ = state_->begin_load(ec_, details_);
    else
      report(ec_, details_, errc::closed, "load of a closed object");
  }
  begun_load(begun_load const&) = delete;
  begun_load& operator=(begun_load const&) = delete;
  ~begun_load() {
    if (begun_) state_->abandon_load();
  }

  void finish(error_code& ec, diagnostics& details) {
    ec = ec_;
    details = std::move(details_);
    if (std::exchange(begun_, false)) state_->finish_load(ec, details);
  }

 private:
  std::shared_ptr<object_state> state_;
  bool begun_ = false;
  error_code ec_;
  diagnostics details_;
};

/// Calls `attach`, and leaves the detaching to the worker.
template <class Attach>
attach_call attach_on_worker(asio::execution_context& context, Attach attach) {
  return [attach = std::move(attach), where = worker::of(context)](error_code& ec, diagnostics& details) {
    auto attached = attach(ec, details);
    if (auto const& state = link_access::state(attached)) state->detach_on(where);
    return attached;
  };
}

}  // namespace

std::shared_ptr<worker> worker_of(asio::execution_context& context) { return worker::of(context); }

void submit(worker& where, std::function<void()> job) { where.submit(std::move(job)); }

load_file_call load_file(std::filesystem::path file) {
  return [path = std::move(file)](error_code& ec, diagnostics& details) { return load(path, ec, details); };
}

void_call load_object(object& obj) {
  return [load = std::make_shared<begun_load>(handle_access::state(obj))](error_code& ec, diagnostics& details) {
    load->finish(ec, details);
    return nothing{};
  };
}

attach_call attach_program(program p, asio::execution_context& context) {
  return attach_on_worker(context, [p = std::move(p)](auto& ec, auto& details) { return p.attach(ec, details); });
}

attach_call attach_program_xdp(program p, int ifindex, asio::execution_context& context) {
  return attach_on_worker(
      context, [p = std::move(p), ifindex](auto& ec, auto& details) { return p.attach_xdp(ifindex, ec, details); });
}

attach_call attach_struct_ops(map m, asio::execution_context& context) {
  return attach_on_worker(context,
                          [m = std::move(m)](auto& ec, auto& details) { return m.attach_struct_ops(ec, details); });
}

void_call detach_link(link&& l) {
  return [owned = std::make_shared<link>(std::move(l))](error_code& ec, diagnostics& details) {
    owned->detach(ec, details);
    return nothing{};
  };
}

}  // namespace tinybpf::detail
