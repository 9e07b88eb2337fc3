#pragma once
// Steps that the attention calls share: checks, options, outputs, enqueueing. For attention.cpp and mla.cpp only.

#include <limits>
#include <utility>
#include <vector>

#include "core/attention.h"
#include "core/attention_calls.h"
#include "core/check.h"
#include "core/enqueue.h"
#include "core/transfer.h"

namespace attn {

/// Extents that kernels hold in 32 bits are checked here, once.
void check_extent(const char* argument, const char* name, std::int64_t extent, std::int64_t min);
/// A float dtype: what kernels of attention may take.
void check_operand_dtype(const char* argument, const TensorView& view);
void check_q_parts(const TensorView& q_nope, const TensorView& q_pe);
/// Starts at 0, never falls, ends at `total`; returns the longest sequence.
std::int64_t check_indptr(const char* argument, const std::vector<std::int32_t>& indptr, std::int64_t total, const char* rows_of);
/// Valid rows per sequence, or null when absent.
const std::int32_t* host_lens(const HostInts& lens, std::int64_t batch, std::int64_t max);

/// Page table and lengths; `pages` is [num_pages, page_size, ..].
void derive_pages(AttentionProblem& problem, const TensorView& pages, const TensorView& page_table, const TensorView& kv_lens, std::int64_t max_kv_len);
/// Scale, cap, window, slopes, sinks, scales of float8_e4m3, the dtype of out; adds the tensors it points into to `keep`.
void derive_options(AttentionProblem& problem, const TensorView& q, const AttentionOptions& options, std::vector<Tensor>& keep);
/// The caller's `out` after checks, or a new tensor of the problem's dtype.
Tensor attention_out(const AttentionProblem& problem, const Tensor& q, const std::vector<std::int64_t>& shape, const AttentionOptions& options,
                     const std::vector<Tensor>& inputs);
void set_out(AttentionProblem& problem, const TensorView& out);
Tensor lse_tensor(AttentionProblem& problem, Backend& backend, const std::vector<std::int64_t>& out_shape);

/// The tail of every call: kernel, outputs, queue. The kernel is chosen before anything is allocated.
template <class Problem>
AttentionOutput finish_attention(const char* op, Problem problem, const Tensor& q, const std::vector<std::int64_t>& out_shape, const AttentionOptions& options,
                                 std::vector<Tensor> keep, std::vector<HostInts> host) {
  Backend& backend = q.storage->backend();
  EnqueuedCall<Problem> call(backend, op, problem);
  AttentionOutput output;
  output.out = attention_out(problem, q, out_shape, options, keep);
  set_out(problem, output.out.view);
  if (options.return_lse) output.lse = lse_tensor(problem, backend, out_shape);
  keep.push_back(output.out);
  if (output.lse) keep.push_back(*output.lse);
  call.enqueue(std::move(problem), std::move(keep), std::move(host));
  return output;
}

void set_schedule(AttentionProblem& problem, const PlannedSchedule& schedule);

template <class Problem>
PlanInfo plan_of(const char* op, Problem problem, const Tensor& cache, const HostInts& kv_lens = nullptr) {
  Backend& backend = cache.storage->backend();
  EnqueuedCall<Problem> call(backend, op, problem);
  PlanInfo plan;
  plan.kernel = call.kernel().info.name;
  plan.num_splits = call.kernel().splits ? call.kernel().splits(call.kernel(), problem) : 1;
  if (call.kernel().schedule && kv_lens && !kv_lens->empty()) {
    const Schedule schedule = call.kernel().schedule(call.kernel(), problem, *kv_lens);
    plan.schedule = {empty_tensor(backend, DType::kInt32, {static_cast<std::int64_t>(schedule.words.size())}), schedule.parts, schedule.pieces};
    upload_packed(plan.schedule->words, reinterpret_cast<const std::byte*>(schedule.words.data()));
    plan.num_splits = schedule.most_pieces;
    set_schedule(problem, *plan.schedule);
  }
  plan.workspace_bytes = static_cast<std::int64_t>(call.workspace(problem, backend.num_threads()));
  return plan;
}

}  // namespace attn
