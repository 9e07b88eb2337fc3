#include "cpu/kernels/attention_kernels.h"

#include <string>

#include "core/registry.h"
#include "cpu/kernels/attention_schedule.h"

namespace attn::cpu {
namespace {

using Reason = std::optional<std::string>;

Reason reject_direct(const AttentionProblem& problem) {
  if (rows_per_kv_head(problem) > kMaxDirectRows) {
    return "takes up to " + std::to_string(kMaxDirectRows) + " query rows per kv head, received " + std::to_string(rows_per_kv_head(problem));
  }
  const char* missing = direct_rows_missing(problem);
  return missing ? Reason(missing) : std::nullopt;
}

template <class Problem, AttentionPath kPath>
void enter(const std::string& variant, const char* op, const char* isa, const AttentionFunctions* functions) {
  const char* missing = isa_missing(isa);
  Kernel<Problem> kernel;
  kernel.info = {variant + "_" + isa, op, DeviceType::kCpu, isa, kComputeDTypes, "any", missing ? missing : ""};
  kernel.reject = [](const Kernel<Problem>&, const Problem& problem) { return kPath == AttentionPath::kDirect ? reject_direct(problem) : std::nullopt; };
  kernel.workspace = [](const Kernel<Problem>& self, const Problem& problem, int num_threads) {
    return attention_workspace(problem, *static_cast<const AttentionFunctions*>(self.table), kPath, num_threads);
  };
  kernel.run = [](const Kernel<Problem>& self, const Problem& problem, Execution& execution) {
    run_attention(problem, *static_cast<const AttentionFunctions*>(self.table), kPath, execution);
  };
  kernel.splits = [](const Kernel<Problem>&, const Problem& problem) { return planned_splits(problem, kPath); };
  kernel.table = functions;
  register_kernel(std::move(kernel));
}

void enter_isa(const char* isa, const AttentionFunctions* functions) {
  enter<AttentionProblem, AttentionPath::kDirect>("attention_rows", "attention", isa, functions);
  enter<AttentionProblem, AttentionPath::kTiled>("attention_tile", "attention", isa, functions);
  enter<MlaDecodeProblem, AttentionPath::kTiled>("mla_decode", "mlaDecode", isa, functions);
}

}  // namespace

void register_attention_kernels() {
#define ATTN_ENTER(isa) enter_isa(#isa, &isa::kAttentionFunctions);
  ATTN_FOR_EACH_ISA(ATTN_ENTER)
#undef ATTN_ENTER
}

}  // namespace attn::cpu
