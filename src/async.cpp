#include <tinybpf/async.hpp>

#include "detail/link_state.hpp"
#include "detail/object_state.hpp"
#include "detail/worker.hpp"

#include <boost/asio/error.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

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

error_code explain_no_thread(diagnostics& details) noexcept {
  try {
    try {
      throw;
    } catch (std::system_error const& e) {
      error_code const code{e.code().value(), boost::system::system_category()};
      details.message = "cannot start a thread for a call that blocks";
      details.hint = "a limit of the user's processes (RLIMIT_NPROC) or of the cgroup's (pids.max) counts threads";
      return code;
    }
  } catch (...) {
    return asio::error::no_memory;
  }
}

load_file_call load_file(std::filesystem::path file) {
  return [path = std::move(file)](error_code& ec, diagnostics& details) { return load(path, ec, details); };
}

void_call load_object(object& obj) {
  return [load = std::make_shared<begun_load>(handle_access::state(obj))](error_code& ec, diagnostics& details) {
    load->finish(ec, details);
    return nothing{};
  };
}

attach_call attach_program(program p, attach_target target, asio::execution_context& context) {
  return attach_on_worker(
      context, [p = std::move(p), t = std::move(target)](auto& ec, auto& details) { return p.attach(t, ec, details); });
}

attach_all_call attach_object(object const& obj, asio::execution_context& context) {
  return [state = handle_access::state(obj), where = worker::of(context)](error_code& ec, diagnostics& details) {
    auto links = handle_access::make_object(state).attach(ec, details);
    for (auto& l : links)
      if (auto const& attached = link_access::state(l)) attached->detach_on(where);
    return links;
  };
}

test_run_result finished_test_run::deliver() {
  auto const copy = [](std::vector<std::byte> const& from, std::size_t size, std::span<std::byte> to) {
    std::copy_n(from.begin(), std::min({size, from.size(), to.size()}), to.begin());
  };
  copy(data, result.data_size_out, data_out);
  copy(ctx, result.ctx_size_out, ctx_out);
  return result;
}

test_run_call run_program(program p, test_run_options const& options) {
  struct input {
    program p;
    test_run_options options;
    std::vector<std::byte> data_in;
    std::vector<std::byte> ctx_in;
  };
  auto in = std::make_shared<input>();
  in->p = std::move(p);
  in->options = options;
  in->data_in.assign(options.data_in.begin(), options.data_in.end());
  in->ctx_in.assign(options.ctx_in.begin(), options.ctx_in.end());
  return [in = std::move(in)](error_code& ec, diagnostics& details) {
    finished_test_run done;
    done.data_out = in->options.data_out;
    done.ctx_out = in->options.ctx_out;
    done.data.resize(done.data_out.size());
    done.ctx.resize(done.ctx_out.size());
    auto options_here = in->options;
    options_here.data_in = in->data_in;
    options_here.ctx_in = in->ctx_in;
    options_here.data_out = done.data;
    options_here.ctx_out = done.ctx;
    done.result = in->p.test_run(options_here, ec, details);
    return done;
  };
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
