#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "core/backend.h"
#include "core/queued_work.h"
#include "core/registry.h"
#include "core/tensor.h"

namespace attn {

using HostInts = std::shared_ptr<const std::vector<std::int32_t>>;

/// Chooses the kernel for a checked problem and puts it on the device's queue. `keep` holds the tensors that the problem
/// points into: their memory lives until the work has run. Throws kUnsupported before anything is enqueued.
template <class Problem>
class EnqueuedCall {
 public:
  EnqueuedCall(Backend& backend, const char* op, const Problem& problem) : backend_(backend), kernel_(choose(backend, op, problem)) {}

  const Kernel<Problem>& kernel() const { return kernel_; }

  std::size_t workspace(const Problem& problem, int threads) const { return kernel_.workspace ? kernel_.workspace(kernel_, problem, threads) : 0; }

  /// `problem` may have gained pointers to outputs since the kernel was chosen, nothing else. `host` are arrays of the
  /// host that it points into.
  void enqueue(Problem problem, std::vector<Tensor> keep, std::vector<HostInts> host = {}) {
    const Kernel<Problem>* kernel = &kernel_;  // registry rows live as long as the process
    const int threads = backend_.num_threads();
    const std::int64_t bytes = static_cast<std::int64_t>(workspace(problem, threads));
    WorkSize size;
    if constexpr (requires { problem.work_size(); }) size = problem.work_size();
    backend_.enqueue_sized(
        size, bytes, threads, current_cancel_flag(),
        QueuedWork{[kernel, problem = std::move(problem), keep = HeldStorages(std::move(keep)), host = std::move(host)](Execution& execution) {
          kernel->run(*kernel, problem, execution);
          count_run(kernel->info.name);
        }});
  }

 private:
  static const Kernel<Problem>& choose(Backend& backend, const char* op, const Problem& problem) {
    backend.enter();
    return choose_kernel(problem, backend.type(), op);
  }

  Backend& backend_;
  const Kernel<Problem>& kernel_;
};

/// For ops whose outputs exist already, or are allocated without regard to the kernel.
template <class Problem>
void enqueue_kernel(Backend& backend, const char* op, Problem problem, std::vector<Tensor> keep) {
  EnqueuedCall<Problem> call(backend, op, problem);
  call.enqueue(std::move(problem), std::move(keep));
}

}  // namespace attn
