#include "worker.hpp"

#include <pthread.h>

#include <boost/asio/execution_context.hpp>

#include <csignal>
#include <system_error>
#include <utility>

namespace tinybpf::detail {
namespace {

namespace asio = boost::asio;

class all_signals_blocked {
 public:
  all_signals_blocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~all_signals_blocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  all_signals_blocked(all_signals_blocked const&) = delete;
  all_signals_blocked& operator=(all_signals_blocked const&) = delete;

 private:
  sigset_t before_;
};

class worker_service : public asio::execution_context::service {
 public:
  using key_type = worker_service;
  static asio::execution_context::id id;

  explicit worker_service(asio::execution_context& context) : service{context}, shared{std::make_shared<worker>()} {}

  std::shared_ptr<worker> const shared;

 private:
  void shutdown() override { shared->shutdown(); }
  void notify_fork(asio::execution_context::fork_event event) override {
    if (event == asio::execution_context::fork_prepare) shared->settle();
    if (event == asio::execution_context::fork_child) shared->settled_before_fork();
  }
};

asio::execution_context::id worker_service::id;

}  // namespace

worker::~worker() { shutdown(); }

std::shared_ptr<worker> worker::of(asio::execution_context& context) {
  return asio::use_service<worker_service>(context).shared;
}

void worker::submit(std::function<void()> job) {
  if (fork_.forked()) return;
  std::lock_guard const lock{mutex_};
  if (stopped_) return;
  if (idle_ <= jobs_.size() && crew_->threads.size() < max_threads) {
    all_signals_blocked const inherited_by_the_thread;
    try {
      crew_->threads.emplace_back([this] { run(); });
    } catch (std::system_error const&) {  // no more of them for this user: those that are there come to it
      if (crew_->threads.empty()) throw;
    }
  }
  jobs_.push_back(std::move(job));
  crew_->wake.notify_one();
}

void worker::run() {
  std::unique_lock lock{mutex_};
  for (;;) {
    ++idle_;
    crew_->wake.wait(lock, [this] { return stopped_ || settling_ || !jobs_.empty(); });
    --idle_;
    if (stopped_ || jobs_.empty()) return;
    auto job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    job();
    job = nullptr;  // what it owns is destroyed here, not under the lock
    lock.lock();
  }
}

void worker::join() noexcept {
  std::vector<std::thread> threads;
  {
    std::lock_guard const lock{mutex_};
    threads.swap(crew_->threads);
  }
  crew_->wake.notify_all();
  for (auto& t : threads) t.join();
}

void worker::settle() {
  for (bool settled = false; !settled;) {
    {
      std::lock_guard const lock{mutex_};
      settling_ = true;
    }
    join();
    std::lock_guard const lock{mutex_};
    settling_ = false;
    settled = jobs_.empty() && crew_->threads.empty();
  }
}

void worker::settled_before_fork() {
  if (crew_->threads.empty()) fork_ = {};
}

void worker::shutdown() noexcept {
  if (fork_.forked()) {  // no thread can be waited for, and one of the parent's may have locked the mutex
    static_cast<void>(crew_.release());
    jobs_.clear();
    return;
  }
  {
    std::lock_guard const lock{mutex_};
    stopped_ = true;
  }
  join();
  jobs_.clear();  // which nobody touches any more
}

}  // namespace tinybpf::detail
