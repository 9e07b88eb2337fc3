// Rows in and out of the pages of a cache. A block moves one row (append, gather) or a part of a page (copy); no shared memory,
// budget 40 registers. Slots and page numbers were checked on the host, so no index leaves the cache.
//   *_16               equal dtypes, rows of whole 16-byte units
//   append_convert     any float dtypes, one rounding to nearest even, one element at a time
//   append_quantise    other float dtypes into e4m3: x / scale of its head, saturated, one rounding
//   *_4, *_2, *_1      equal dtypes, units of one element

#include <cstdint>

#include "cuda/common/elements.cuh"
#include "cuda/common/strided.cuh"
#include "cuda/kernels/paged_kv/params.h"

namespace attn::cuda {
namespace {

struct AppendRow {
  std::int64_t src, page;  // offsets of the row; page is negative where the row is skipped
};

__device__ AppendRow append_row(const AppendParams& p) {
  const std::int64_t row = blockIdx.x, slot = p.slots[row];
  if (slot < 0) return {0, -1};
  return {row / p.new_len * p.src_strides[0] + row % p.new_len * p.src_strides[1],
          slot / p.page_size * p.page_strides[0] + slot % p.page_size * p.page_strides[1]};
}

/// Calls move(src offset, page offset) for this thread's part of the row.
template <class Move>
__device__ void for_row(const AppendParams& p, Move move) {
  const AppendRow row = append_row(p);
  if (row.page < 0) return;
  for (std::int64_t i = threadIdx.x; i < p.heads * p.dim; i += kPagedThreads) {
    const std::int64_t head = i / p.dim, at = i % p.dim;
    move(row.src + head * p.src_strides[2] + at * p.src_strides[3], row.page + head * p.page_strides[2] + at * p.page_strides[3]);
  }
}

template <class Unit>
__device__ void append_units(const AppendParams& p) {
  for_row(p, [&](std::int64_t from, std::int64_t to) { static_cast<Unit*>(p.pages)[to] = static_cast<const Unit*>(p.src)[from]; });
}

__device__ void append_convert(const AppendParams& p) {
  for_row(p, [&](std::int64_t from, std::int64_t to) { store_element(p.pages, p.page_dtype, to, load_element(p.src, p.src_dtype, from)); });
}

__device__ void append_quantise(const AppendParams& p) {
  const AppendRow row = append_row(p);
  if (row.page < 0) return;
  e4m3* pages = static_cast<e4m3*>(p.pages);
  for (std::int64_t i = threadIdx.x; i < p.heads * p.dim; i += kPagedThreads) {
    const std::int64_t head = i / p.dim, at = i % p.dim;
    const float x = load_element(p.src, p.src_dtype, row.src + head * p.src_strides[2] + at * p.src_strides[3]);
    pages[row.page + head * p.page_strides[2] + at * p.page_strides[3]] = saturated_e4m3(p.scales ? __fdiv_rn(x, p.scales[head * p.scales_stride]) : x);
  }
}

template <class Unit>
__device__ void copy_page(const PageCopyParams& p) {
  const Unit* from = static_cast<const Unit*>(p.pages) + p.pairs[2 * blockIdx.x] * p.page_stride;
  Unit* to = static_cast<Unit*>(p.pages) + p.pairs[2 * blockIdx.x + 1] * p.page_stride;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.y) * kPagedThreads + threadIdx.x; i < p.page_units; i += gridDim.y * kPagedThreads) {
    const std::int64_t at = strided_offsets(p.axes, i, p.page_units).dst;
    to[at] = from[at];
  }
}

template <class Unit>
__device__ void gather_row(const GatherParams& p) {
  const std::int64_t row = p.begin + blockIdx.x;
  const Unit* from = static_cast<const Unit*>(p.pages) + p.page_list[row / p.page_size] * p.page_stride + row % p.page_size * p.row_stride;
  Unit* to = static_cast<Unit*>(p.dst) + static_cast<std::int64_t>(blockIdx.x) * p.width;
  for (std::int64_t i = threadIdx.x; i < p.width; i += kPagedThreads) to[i] = from[i * p.unit_stride];
}

}  // namespace

#define ATTN_PAGED_KERNELS(bytes, unit)                                                                                                               \
  extern "C" __global__ void __launch_bounds__(kPagedThreads) paged_append_##bytes(const __grid_constant__ AppendParams p) { append_units<unit>(p); } \
  extern "C" __global__ void __launch_bounds__(kPagedThreads) page_copy_##bytes(const __grid_constant__ PageCopyParams p) { copy_page<unit>(p); }     \
  extern "C" __global__ void __launch_bounds__(kPagedThreads) paged_gather_##bytes(const __grid_constant__ GatherParams p) { gather_row<unit>(p); }
ATTN_PAGED_KERNELS(16, uint4)
ATTN_PAGED_KERNELS(4, std::uint32_t)
ATTN_PAGED_KERNELS(2, std::uint16_t)
ATTN_PAGED_KERNELS(1, std::uint8_t)
#undef ATTN_PAGED_KERNELS

extern "C" __global__ void __launch_bounds__(kPagedThreads) paged_append_convert(const __grid_constant__ AppendParams p) { append_convert(p); }
extern "C" __global__ void __launch_bounds__(kPagedThreads) paged_append_quantise(const __grid_constant__ AppendParams p) { append_quantise(p); }

}  // namespace attn::cuda
