// Rows of float8_e4m3 latents (core/latent_rows.h) in and out of their pages, a warp per row.
//
//   append:  scale_g = max(amax_g / 448, 2^-126),  element = x / scale_g to nearest even, beyond ±448 ±448;  gather:  element · scale_g
//
// Lane l has features 4l … 4l + 3 of each group of 128: one store of 4 bytes. The same float32 arithmetic as on the CPU, so the same bits.

#include "core/latent_row.h"
#include "cuda/common/elements.cuh"
#include "cuda/common/pack.cuh"
#include "cuda/common/warp.cuh"
#include "cuda/kernels/latent_rows/params.h"

namespace attn::cuda {
namespace {

constexpr int kLaneItems = LatentRow::kGroupDim / 32;
constexpr float kLargest = 448, kSmallestScale = 0x1p-126f;

__device__ std::int64_t row_of_warp() { return static_cast<std::int64_t>(blockIdx.x) * (kLatentRowThreads / 32) + threadIdx.x / 32; }

__device__ void append(const LatentAppendParams& p) {
  const std::int64_t row = row_of_warp();
  const int lane = threadIdx.x % 32;
  if (row >= p.rows) return;
  const std::int64_t slot = p.slots[row];
  if (slot < 0) return;
  const auto start = [&](const std::int64_t (&strides)[3]) { return row / p.new_len * strides[0] + row % p.new_len * strides[1]; };
  const std::int64_t ckv = start(p.ckv_strides), k_pe = start(p.k_pe_strides);
  std::byte* to = p.latents + slot * LatentRow::kBytes;
#pragma unroll 1
  for (int g = 0; g < LatentRow::kGroups; ++g) {
    const int first = g * LatentRow::kGroupDim + lane * kLaneItems;
    float x[kLaneItems];
    float amax = 0;
#pragma unroll
    for (int i = 0; i < kLaneItems; ++i) {
      x[i] = load_element(p.ckv, p.ckv_dtype, ckv + (first + i) * p.ckv_strides[2]);
      amax = fmaxf(amax, fabsf(x[i]));  // a NaN loses
    }
    const float scale = fmaxf(warp_max(amax) / kLargest, kSmallestScale);
    Pack<e4m3, kLaneItems> out;
#pragma unroll
    for (int i = 0; i < kLaneItems; ++i) out.items[i] = saturated_e4m3(x[i] / scale);
    store_pack(reinterpret_cast<e4m3*>(to) + first, out);
    if (lane == 0) reinterpret_cast<float*>(to + LatentRow::kScalesAt)[g] = scale;
  }
  Pack<__nv_bfloat16, 2> rope;
#pragma unroll
  for (int i = 0; i < 2; ++i) rope.items[i] = from_float<__nv_bfloat16>(load_element(p.k_pe, p.k_pe_dtype, k_pe + (2 * lane + i) * p.k_pe_strides[2]));
  store_pack(reinterpret_cast<__nv_bfloat16*>(to + LatentRow::kRopeAt) + 2 * lane, rope);
}

__device__ void gather(const LatentGatherParams& p) {
  const std::int64_t row = row_of_warp();
  const int lane = threadIdx.x % 32;
  if (row >= p.rows) return;
  const std::int64_t at = p.begin + row;
  const std::byte* from = p.latents + (p.page_list[at / p.page_size] * p.page_size + at % p.page_size) * LatentRow::kBytes;
  const std::int64_t to = row * (LatentRow::kLatentDim + LatentRow::kRopeDim);
#pragma unroll 1
  for (int g = 0; g < LatentRow::kGroups; ++g) {
    const int first = g * LatentRow::kGroupDim + lane * kLaneItems;
    const float scale = reinterpret_cast<const float*>(from + LatentRow::kScalesAt)[g];
    const auto in = load_pack<e4m3, kLaneItems>(reinterpret_cast<const e4m3*>(from) + first);
#pragma unroll
    for (int i = 0; i < kLaneItems; ++i) store_element(p.dst, p.dtype, to + first + i, to_float(in.items[i]) * scale);
  }
  const auto rope = load_pack<__nv_bfloat16, 2>(reinterpret_cast<const __nv_bfloat16*>(from + LatentRow::kRopeAt) + 2 * lane);
#pragma unroll
  for (int i = 0; i < 2; ++i) store_element(p.dst, p.dtype, to + LatentRow::kLatentDim + 2 * lane + i, to_float(rope.items[i]));
}

}  // namespace

extern "C" __global__ void __launch_bounds__(kLatentRowThreads) latent_append_any(const __grid_constant__ LatentAppendParams p) { append(p); }
extern "C" __global__ void __launch_bounds__(kLatentRowThreads) latent_gather_any(const __grid_constant__ LatentGatherParams p) { gather(p); }

}  // namespace attn::cuda
