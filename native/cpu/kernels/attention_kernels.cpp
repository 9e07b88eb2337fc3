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

constexpr DTypeMask kFloat8 = mask_of(DType::kFloat8E4M3), kBf16 = mask_of(DType::kBFloat16);

/// Kernels for bfloat16 leave the fewest rows to attention_rows, and all that it takes where keys are float8_e4m3.
Reason reject_bf16(const AttentionProblem& problem, AttentionPath path, DTypeMask dtypes) {
  const auto other = [&](const HeadRows& rows) { return (mask_of(rows.dtype) & dtypes) == 0; };
  bool mixed = !problem.v_in_k && other(problem.v);
  for (int part = 0; part < problem.num_parts; ++part) mixed = mixed || other(problem.q[part]) || other(problem.k[part]);
  if (mixed) return dtypes == kBf16 ? "takes queries, keys and values of bfloat16" : "takes queries, keys and values of bfloat16 or float8_e4m3";
  const int converted = problem.k[0].dtype == DType::kFloat8E4M3 ? kMaxDirectRows : kMaxConvertedRows;
  if (preferred_path(problem) == AttentionPath::kDirect && rows_per_kv_head(problem) <= converted) {
    return "takes more than " + std::to_string(converted) + " query rows per kv head";
  }
  return path == AttentionPath::kDirect ? reject_direct(problem) : std::nullopt;
}

template <class Problem, AttentionPath kPath>
Reason reject(const Kernel<Problem>& self, const Problem& problem) {
  if ((self.info.dtypes & mask_of(DType::kFloat32)) == 0) return reject_bf16(problem, kPath, self.info.dtypes);
  return kPath == AttentionPath::kDirect ? reject_direct(problem) : std::nullopt;
}

template <class Problem, AttentionPath kPath>
void enter(const std::string& variant, const char* op, const char* isa, const AttentionFunctions* functions, DTypeMask dtypes = kComputeDTypes | kFloat8) {
  const char* missing = isa_missing(isa);
  Kernel<Problem> kernel;
  kernel.info = {variant + "_" + isa, op, DeviceType::kCpu, isa, dtypes, "any", missing ? missing : ""};
  kernel.reject = reject<Problem, kPath>;
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

void enter_bf16(const char* isa, const AttentionFunctions* functions) {
  enter<AttentionProblem, AttentionPath::kDirect>("attention_rows", "attention", isa, functions, kBf16);
  enter<AttentionProblem, AttentionPath::kTiled>("attention_tile", "attention", isa, functions, kBf16 | kFloat8);
  enter<MlaDecodeProblem, AttentionPath::kTiled>("mla_decode", "mlaDecode", isa, functions, kBf16 | kFloat8);
}

}  // namespace

void register_attention_kernels() {
#define ATTN_ENTER(isa)                                                                                                          \
  static constexpr AttentionFunctions isa##_functions{                                                                           \
      isa::attention_bf16,         isa::attention_bf16_scratch, avx512::attention_rows,          avx512::attention_rows_scratch, \
      avx512::write_attention_row, isa::attention_rows_bf16,    isa::attention_rows_bf16_scratch};                               \
  enter_bf16(#isa, &isa##_functions);
  ATTN_FOR_EACH_BF16_ISA(ATTN_ENTER)
#undef ATTN_ENTER
#define ATTN_ENTER(isa) enter_isa(#isa, &isa::kAttentionFunctions);
  ATTN_FOR_EACH_ISA(ATTN_ENTER)
#undef ATTN_ENTER
}

}  // namespace attn::cpu
