#include <tinybpf/async.hpp>

#include "detail/link_state.hpp"
#include "detail/object_state.hpp"
#include "detail/worker.hpp"

#include <memory>
#include <utility>

namespace tinybpf::detail {

std::shared_ptr<worker> worker_of(asio::execution_context& context) { return worker::of(context); }

void submit(worker& where, std::function<void()> job) { where.submit(std::move(job)); }

load_file_call load_file(std::filesystem::path file) {
  return [path = std::move(file)](error_code& ec, diagnostics& details) { return load(path, ec, details); };
}

void_call load_object(object& obj) {
  return [state = handle_access::state(obj)](error_code& ec, diagnostics& details) {
    if (state)
      state->load(ec, details);
    else
      report(ec, details, errc::closed, "load of a closed object");
    return nothing{};
  };
}

attach_call attach_program(program p, asio::execution_context& context) {
  return [p = std::move(p), where = worker::of(context)](error_code& ec, diagnostics& details) {
    auto attached = p.attach(ec, details);
    if (auto const& state = link_access::state(attached)) state->detach_on(where);
    return attached;
  };
}

void_call detach_link(link&& l) {
  return [owned = std::make_shared<link>(std::move(l))](error_code& ec, diagnostics& details) {
    owned->detach(ec, details);
    return nothing{};
  };
}

}  // namespace tinybpf::detail
