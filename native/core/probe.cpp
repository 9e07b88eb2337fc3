#include "core/probe.h"

#include <vector>

#include "core/check.h"
#include "core/enqueue.h"

namespace attn {
namespace {

void fail_range(const char* name, std::int64_t most, std::int64_t received) {
  fail_argument(ErrorCode::kInvalidArgument, name, "1 to " + std::to_string(most), std::to_string(received));
}

}  // namespace

std::shared_ptr<const ProbeResult> probe(Backend& backend, ProbeKind kind, int threads, std::int64_t rounds, const Tensor* buffer) {
  if (threads < 1 || threads > backend.num_threads()) fail_range("threads", backend.num_threads(), threads);
  if (rounds < 1 || rounds > kMaxProbeRounds) fail_range("rounds", kMaxProbeRounds, rounds);
  if ((kind == ProbeKind::kRead) != (buffer != nullptr)) {
    fail_argument(ErrorCode::kInvalidArgument, "buffer", kind == ProbeKind::kRead ? "a tensor" : "none", buffer ? "a tensor" : "none");
  }
  ProbeProblem problem;
  problem.kind = kind;
  problem.rounds = rounds;
  std::vector<Tensor> keep;
  if (buffer) {
    check_rank("buffer", buffer->view, 1, "[words]");
    if (buffer->view.dtype != DType::kInt32 || !buffer->view.is_contiguous()) {
      fail_argument(ErrorCode::kInvalidArgument, "buffer", "packed int32", std::string(dtype_name(buffer->view.dtype)));
    }
    problem.buffer = buffer->view;
    keep.push_back(*buffer);
  }
  backend.enter();
  const Kernel<ProbeProblem>* kernel = &choose_kernel(problem, backend.type(), "probe");
  auto result = std::make_shared<ProbeResult>();
  problem.result = result.get();
  backend.enqueue(0, threads, current_cancel_flag(),
                  [kernel, problem, result, keep = std::move(keep)](Execution& execution) { kernel->run(*kernel, problem, execution); });
  return result;
}

}  // namespace attn
