#include "cuda/kernels/attention/problem.h"

namespace attn::cuda {
namespace {

constexpr std::size_t kAlignment = 256;

std::size_t array_bytes(const std::int32_t* array, std::int64_t count) {
  return array ? (static_cast<std::size_t>(count) * sizeof(std::int32_t) + kAlignment - 1) / kAlignment * kAlignment : 0;
}

}  // namespace

std::size_t host_arrays_bytes(const AttentionProblem& p) {
  return array_bytes(p.qo_indptr, p.batch + 1) + array_bytes(p.kv_indptr, p.batch + 1) + array_bytes(p.qo_lens, p.batch);
}

bool vector_rows(const HeadRows& rows) {
  const std::int64_t lanes = 16 / dtype_size(rows.dtype);
  const auto fits = [&](std::int64_t n) { return n % lanes == 0; };
  return rows.dim_stride == 1 && fits(rows.dim) && fits(rows.sequence_stride) && fits(rows.row_stride) && fits(rows.head_stride) &&
         reinterpret_cast<std::uintptr_t>(rows.data) % 16 == 0;
}

AttentionProblem upload_problem(const AttentionProblem& problem, CudaExecution& gpu) {
  AttentionProblem result = problem;
  std::byte* next = gpu.workspace;
  const auto upload = [&](const std::int32_t*& array, std::int64_t count) {
    if (!array) return;
    gpu.upload(next, array, static_cast<std::size_t>(count) * sizeof(std::int32_t));
    const std::size_t bytes = array_bytes(array, count);
    array = reinterpret_cast<const std::int32_t*>(next);
    next += bytes;
  };
  upload(result.qo_indptr, problem.batch + 1);
  upload(result.kv_indptr, problem.batch + 1);
  upload(result.qo_lens, problem.batch);
  return result;
}

}  // namespace attn::cuda
