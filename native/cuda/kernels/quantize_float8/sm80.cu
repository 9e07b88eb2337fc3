// Numbers into float8_e4m3 with one scale for each sequence and group of heads (core/quantize_float8.h), in two kernels:
//
//   most:   amax of a chunk of rows of one sequence and group;   codes: scale = amax of all its chunks / 448, code = x / scale
//
// A block owns a chunk. The largest of the chunks is the same in any order, so how rows are cut changes no bit; no atomics, since every block of `codes`
// takes the largest of its group's chunks itself. A thread takes kItems neighbours at a time, 16 bytes where rows allow it, and steps over whole rows.
// 32 bytes of shared memory.

#include <cstdint>

#include "cuda/common/elements.cuh"
#include "cuda/common/pack.cuh"
#include "cuda/common/strided.cuh"
#include "cuda/common/warp.cuh"
#include "cuda/kernels/quantize_float8/params.h"

namespace attn::cuda {
namespace {

constexpr int kWarps = kQuantizeThreads / 32;
constexpr float kLargest = 448, kSmallestScale = 0x1p-126f;

/// The largest of the block's numbers, none of them below 0, in every thread.
__device__ float block_max(float value) {
  __shared__ float largest[kWarps];
  value = warp_max(value);
  if (threadIdx.x % 32 == 0) largest[threadIdx.x / 32] = value;
  __syncthreads();
  float most = 0;
#pragma unroll
  for (int i = 0; i < kWarps; ++i) most = fmaxf(most, largest[i]);
  return most;
}

struct BlockRows {
  std::int64_t x, codes;  // offsets of the first row
  std::int64_t count;
};

__device__ BlockRows block_rows(const QuantizeFloat8Params& p, std::int64_t group_of_all, std::int64_t chunk) {
  const std::int64_t sequence = group_of_all / p.groups, group = group_of_all % p.groups;
  const std::int64_t first = p.indptr ? p.indptr[sequence] : 0, len = p.indptr ? p.indptr[sequence + 1] - first : p.len;
  const std::int64_t batch = p.indptr ? 0 : sequence;
  const std::int64_t begin = len * chunk / p.chunks, end = len * (chunk + 1) / p.chunks;
  const auto offset = [&](int of) { return batch * p.batch_strides[of] + (first + begin) * p.row_strides[of] + group * p.group_strides[of]; };
  return {offset(0), offset(1), end - begin};
}

/// Calls fn(offset in x, offset in codes) for this thread's units of the block's rows. Neighbouring threads have neighbouring units; where a row has
/// fewer units than there are threads, they take several rows at once. kAhead of a thread's loads are on their way together, where nothing is stored.
template <int kItems, int kAhead, class Fn>
__device__ void for_units(const QuantizeFloat8Params& p, const BlockRows& rows, Fn fn) {
  if (p.units == 0) return;
  const int across = p.units < kQuantizeThreads ? static_cast<int>(p.units) : kQuantizeThreads;
  const int down = kQuantizeThreads / across;
  const int unit = static_cast<int>(threadIdx.x) % across, row = static_cast<int>(threadIdx.x) / across;
  if (row >= down) return;
  for (std::int64_t at = unit; at < p.units; at += across) {
    const StridedOffsets inner = strided_offsets(p.inner, at, p.units);
    std::int64_t from = rows.x + inner.src * kItems + row * p.row_strides[0], to = rows.codes + inner.dst * kItems + row * p.row_strides[1];
#pragma unroll kAhead
    for (std::int64_t i = row; i < rows.count; i += down) {
      fn(from, to);
      from += down * p.row_strides[0];
      to += down * p.row_strides[1];
    }
  }
}

template <class T, int kItems>
__device__ void find_most(const QuantizeFloat8Params& p) {
  const BlockRows rows = block_rows(p, blockIdx.x / p.chunks, blockIdx.x % p.chunks);
  float most = 0;
  for_units<kItems, 4>(p, rows, [&](std::int64_t from, std::int64_t) {
    const Pack<T, kItems> items = load_pack<T, kItems>(static_cast<const T*>(p.x) + from);
#pragma unroll
    for (int i = 0; i < kItems; ++i) most = fmaxf(most, fabsf(to_float(items.items[i])));  // a NaN loses
  });
  most = block_max(most);
  if (threadIdx.x == 0) p.most[blockIdx.x] = most;
}

template <class T, int kItems>
__device__ void write_codes(const QuantizeFloat8Params& p) {
  const std::int64_t group = blockIdx.x / p.chunks, chunk = blockIdx.x % p.chunks;
  float amax = 0;
  for (int i = static_cast<int>(threadIdx.x); i < p.chunks; i += kQuantizeThreads) amax = fmaxf(amax, p.most[group * p.chunks + i]);
  amax = block_max(amax);
  const float scale = amax == 0 ? 1.0f : fmaxf(__fdiv_rn(amax, kLargest), kSmallestScale);
  if (chunk == 0 && threadIdx.x == 0) p.scales[group / p.groups * p.scale_strides[0] + group % p.groups * p.scale_strides[1]] = scale;
  const BlockRows rows = block_rows(p, group, chunk);
  for_units<kItems, 1>(p, rows, [&](std::int64_t from, std::int64_t to) {
    const Pack<T, kItems> items = load_pack<T, kItems>(static_cast<const T*>(p.x) + from);
    Pack<e4m3, kItems> codes;
#pragma unroll
    for (int i = 0; i < kItems; ++i) codes.items[i] = saturated_e4m3(__fdiv_rn(to_float(items.items[i]), scale));
    store_pack(static_cast<e4m3*>(p.codes) + to, codes);
  });
}

}  // namespace

#define ATTN_QUANTIZE_KERNELS(variant, type, items)                                                                                               \
  extern "C" __global__ void __launch_bounds__(kQuantizeThreads) quantize_float8_most_##variant(const __grid_constant__ QuantizeFloat8Params p) { \
    find_most<type, items>(p);                                                                                                                    \
  }                                                                                                                                               \
  extern "C" __global__ void __launch_bounds__(kQuantizeThreads) quantize_float8_codes_##variant(const __grid_constant__ QuantizeFloat8Params p) { \
    write_codes<type, items>(p);                                                                                                                   \
  }
ATTN_QUANTIZE_KERNELS(wide_float32, float, 4)
ATTN_QUANTIZE_KERNELS(wide_float16, __half, 8)
ATTN_QUANTIZE_KERNELS(wide_bfloat16, __nv_bfloat16, 8)
ATTN_QUANTIZE_KERNELS(plain_float32, float, 1)
ATTN_QUANTIZE_KERNELS(plain_float16, __half, 1)
ATTN_QUANTIZE_KERNELS(plain_bfloat16, __nv_bfloat16, 1)
#undef ATTN_QUANTIZE_KERNELS

}  // namespace attn::cuda
