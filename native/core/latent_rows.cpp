#include "core/latent_rows.h"

#include <cstdint>
#include <string>
#include <utility>

#include "core/check.h"
#include "core/paged_kv.h"

namespace attn {
namespace {

/// ckv or k_pe.
void check_part(const char* argument, const TensorView& part, const char* dims, int width, const char* width_name, const TensorView& latents) {
  check_rank(argument, part, 3, dims);
  check_compute_dtype(argument, part);
  check_dim(argument, part, 2, width, width_name);
  check_same_device(argument, part, "latents", latents);
}

}  // namespace

void check_latent_rows(const TensorView& latents) {
  check_rank("latents", latents, 3, "[numPages, pageSize, 656]");
  check_dtype("latents", latents, DType::kFloat8E4M3);
  check_dim("latents", latents, 2, LatentRow::kBytes, "bytes of a row");
  if (!latents.is_contiguous() || reinterpret_cast<std::uintptr_t>(latents.data) % 16 != 0) {
    fail_argument(ErrorCode::kInvalidArgument, "latents", "contiguous rows that begin at multiples of 16 bytes", "a view with others");
  }
}

void latent_append(const Tensor& ckv, const Tensor& k_pe, const Tensor& latents, HostInts slots) {
  check_latent_rows(latents.view);
  check_part("ckv", ckv.view, "[batch, newLen, 512]", LatentRow::kLatentDim, "kvLoraRank", latents.view);
  check_part("kPe", k_pe.view, "[batch, newLen, 64]", LatentRow::kRopeDim, "qkRopeHeadDim", latents.view);
  check_dim("kPe", k_pe.view, 0, ckv.view.shape[0], "batch");
  check_dim("kPe", k_pe.view, 1, ckv.view.shape[1], "newLen");
  check_no_overlap("latents", latents.view, "ckv", ckv.view);
  check_no_overlap("latents", latents.view, "kPe", k_pe.view);
  check_slots(*slots, ckv.view.shape[0] * ckv.view.shape[1], latents.view.shape[0] * latents.view.shape[1]);
  enqueue_kernel(latents.storage->backend(), "latentAppend", LatentAppendProblem{ckv.view, k_pe.view, latents.view, std::move(slots)}, {ckv, k_pe, latents});
}

Tensor latent_gather(const Tensor& latents, HostInts page_list, std::int64_t begin, std::int64_t end, DType dtype) {
  check_latent_rows(latents.view);
  check_gathered(latents.view, *page_list, begin, end);
  if (!is_compute_dtype(dtype)) fail_argument(ErrorCode::kInvalidArgument, "dtype", "float32, float16 or bfloat16", dtype_name(dtype));
  Backend& backend = latents.storage->backend();
  LatentGatherProblem problem{latents.view, {}, std::move(page_list), begin};
  EnqueuedCall<LatentGatherProblem> call(backend, "latentGather", problem);
  Tensor dst = empty_tensor(backend, dtype, {end - begin, LatentRow::kLatentDim + LatentRow::kRopeDim});
  problem.dst = dst.view;
  call.enqueue(std::move(problem), {latents, dst});
  return dst;
}

}  // namespace attn
