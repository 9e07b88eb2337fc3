#include "core/latent_rows.h"

#include <algorithm>
#include <limits>

#include "core/registry.h"
#include "cpu/kernels/float8_rows.h"
#include "cpu/kernels/register_ops.h"
#include "cpu/kernels/row_copier.h"
#include "cpu/kernels/row_tasks.h"

namespace attn::cpu {

const Float8Table& float8_table() {
#define ATTN_TRY(isa) \
  if (!isa_missing(#isa)) return isa::kFloat8Table;
  ATTN_FOR_EACH_ISA(ATTN_TRY)
#undef ATTN_TRY
  return baseline::kFloat8Table;  // not reached: every processor has the baseline
}

namespace {

constexpr std::int64_t kWidth = LatentRow::kLatentDim + LatentRow::kRopeDim;

std::byte* row_of(const TensorView& latents, std::int64_t page, std::int64_t offset) {
  return latents.data + page * latents.strides[0] + offset * latents.strides[1];
}

/// One row of part [batch, new_len, dim].
struct PartRow {
  const std::byte* data;
  std::int64_t stride;
};
PartRow row_of_part(const TensorView& part, std::int64_t row) {
  const std::int64_t new_len = part.shape[1];
  const std::int64_t at = row / new_len * part.strides[0] + row % new_len * part.strides[1];
  return {part.data + at * dtype_size(part.dtype), part.strides[2]};
}

/// A dense latent of dtype number `dtype` into the first two parts of a row.
void quantise_latent(const Float8Table& table, const std::byte* latent, DType dtype, std::byte* row) {
  constexpr float kLargest = 448, kSmallest = std::numeric_limits<float>::min();
  const int n = static_cast<int>(dtype);
  float* scales = reinterpret_cast<float*>(row + LatentRow::kScalesAt);
  for (int g = 0; g < LatentRow::kGroups; ++g) {
    const std::byte* group = latent + g * LatentRow::kGroupDim * dtype_size(dtype);
    scales[g] = std::max(table.largest[n](group, LatentRow::kGroupDim) / kLargest, kSmallest);
    table.quantise[n](group, scales[g], row + g * LatentRow::kGroupDim, LatentRow::kGroupDim);
  }
}

void append(const Kernel<LatentAppendProblem>&, const LatentAppendProblem& problem, Execution& execution) {
  const TensorView &ckv = problem.ckv, &k_pe = problem.k_pe, &latents = problem.latents;
  const Float8Table& table = float8_table();
  const RowCopier dense(ckv.dtype, DType::kFloat32), rope(k_pe.dtype, DType::kBFloat16);
  for_rows(execution, ckv.shape[0] * ckv.shape[1], kWidth, [&](std::int64_t row) {
    const std::int64_t slot = (*problem.slots)[static_cast<std::size_t>(row)];
    if (slot < 0) return;
    std::byte* to = row_of(latents, slot / latents.shape[1], slot % latents.shape[1]);
    const PartRow latent = row_of_part(ckv, row), key = row_of_part(k_pe, row);
    if (latent.stride == 1) {
      quantise_latent(table, latent.data, ckv.dtype, to);
    } else {
      float values[LatentRow::kLatentDim];
      dense(latent.data, latent.stride, reinterpret_cast<std::byte*>(values), 1, LatentRow::kLatentDim);
      quantise_latent(table, reinterpret_cast<const std::byte*>(values), DType::kFloat32, to);
    }
    rope(key.data, key.stride, to + LatentRow::kRopeAt, 1, LatentRow::kRopeDim);
  });
}

void gather(const Kernel<LatentGatherProblem>&, const LatentGatherProblem& problem, Execution& execution) {
  const TensorView &latents = problem.latents, &dst = problem.dst;
  const auto widen = float8_table().widen[static_cast<int>(dst.dtype)];
  const RowCopier rope(DType::kBFloat16, dst.dtype);
  const std::int64_t page_size = latents.shape[1], size = dtype_size(dst.dtype);
  for_rows(execution, dst.shape[0], kWidth, [&](std::int64_t row) {
    const std::int64_t at = problem.begin + row;
    const std::byte* from = row_of(latents, (*problem.page_list)[static_cast<std::size_t>(at / page_size)], at % page_size);
    const float* scales = reinterpret_cast<const float*>(from + LatentRow::kScalesAt);
    std::byte* to = dst.data + row * kWidth * size;
    for (int g = 0; g < LatentRow::kGroups; ++g) {
      widen(from + g * LatentRow::kGroupDim, scales[g], to + g * LatentRow::kGroupDim * size, LatentRow::kGroupDim);
    }
    rope(from + LatentRow::kRopeAt, 1, to + LatentRow::kLatentDim * size, 1, LatentRow::kRopeDim);
  });
}

}  // namespace

void register_latent_row_kernels() {
  register_kernel<LatentAppendProblem>(
      {.info = cpu_kernel("latent_append", "latentAppend", "any", kComputeDTypes, "512/64"), .reject = accept<LatentAppendProblem>, .run = append});
  register_kernel<LatentGatherProblem>(
      {.info = cpu_kernel("latent_gather", "latentGather", "any", kComputeDTypes, "512/64"), .reject = accept<LatentGatherProblem>, .run = gather});
}

}  // namespace attn::cpu
