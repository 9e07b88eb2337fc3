// (a, b) -> (a · cos - b · sin, b · cos + a · sin) for each pair of features, float32.
//
// A block owns one token (a row of x with all its heads), and stores it where x has it or in its slot of a cache's pages. Its threads compute the cosines and sines of up to kRopeChunk pairs
// once, into 4 KiB of static shared memory, and then rotate all heads with them; x is read once and y written once, kItems
// neighbours at a time. Every element is read and written by one thread, reads first: y may be x.
// The angle, position times frequency, is taken in float64 as a number of turns and reduced to an eighth of a turn around the
// nearest quarter, where float32 is exact enough; sincospif needs no reduction by large constants then. Budget 64 registers.

#include <cstdint>

#include "cuda/common/elements.cuh"
#include "cuda/common/pack.cuh"
#include "cuda/kernels/rope/params.h"

namespace attn::cuda {
namespace {

struct Rotation {
  float cos, sin;
};

__device__ Rotation rotation(double turns, float magnitude) {
  const double quarters = turns * 4;
  const double nearest = rint(quarters);
  float sin, cos;
  sincospif(static_cast<float>(quarters - nearest) * 0.5f, &sin, &cos);
  const double whole = nearest * 0.25;
  const int quadrant = static_cast<int>((whole - floor(whole)) * 4);  // 0 … 3, exact for any position
  const bool swapped = quadrant & 1;
  const float c = swapped ? sin : cos, s = swapped ? cos : sin;
  return {(quadrant == 1 || quadrant == 2 ? -c : c) * magnitude, (quadrant >= 2 ? -s : s) * magnitude};
}

/// Rotates pairs first … first + kItems - 1 of a head whose rotated features begin at x and y.
template <class T, int kItems>
__device__ void rotate(const T* x, T* y, const RopeParams& p, std::int64_t first, const float* cos, const float* sin) {
  using Items = Pack<T, kItems>;
  const std::int64_t at_a = p.interleaved ? first * 2 : first;
  const std::int64_t at_b = p.interleaved ? first * 2 + kItems : first + p.dim / 2;
  // Read by 16 bytes, so that at most two neighbouring threads meet in a bank.
  using Floats = Pack<float, (kItems < 4 ? kItems : 4)>;
  constexpr int kFloats = sizeof(Floats) / sizeof(float);
  Floats c[kItems / kFloats], s[kItems / kFloats];
#pragma unroll
  for (int i = 0; i < kItems / kFloats; ++i) {
    c[i] = reinterpret_cast<const Floats*>(cos)[i];
    s[i] = reinterpret_cast<const Floats*>(sin)[i];
  }
  const Items in_a = load_pack<T, kItems>(x + at_a), in_b = load_pack<T, kItems>(x + at_b);
  Items out_a, out_b;
#pragma unroll
  for (int i = 0; i < kItems; ++i) {
    // Interleaved, the two vectors hold one pair after the other.
    const int even = 2 * i % kItems, odd = (2 * i + 1) % kItems;
    const bool front = 2 * i < kItems, odd_front = 2 * i + 1 < kItems;
    const float a = to_float(p.interleaved ? (front ? in_a.items[even] : in_b.items[even]) : in_a.items[i]);
    const float b = to_float(p.interleaved ? (odd_front ? in_a.items[odd] : in_b.items[odd]) : in_b.items[i]);
    const float cos_i = c[i / kFloats].items[i % kFloats], sin_i = s[i / kFloats].items[i % kFloats];
    // Said in full: left to the compiler, each instance would contract as it likes, and the wide and the plain rows differ in a bit.
    const T new_a = from_float<T>(__fmaf_rn(a, cos_i, -__fmul_rn(b, sin_i))), new_b = from_float<T>(__fmaf_rn(b, cos_i, __fmul_rn(a, sin_i)));
    if (p.interleaved) {
      (front ? out_a : out_b).items[even] = new_a;
      (odd_front ? out_a : out_b).items[odd] = new_b;
    } else {
      out_a.items[i] = new_a;
      out_b.items[i] = new_b;
    }
  }
  store_pack(y + at_a, out_a);
  store_pack(y + at_b, out_b);
}

template <class T, int kItems>
__device__ void rope_token(const RopeParams& p) {
  __shared__ __align__(16) float cos[kRopeChunk], sin[kRopeChunk];
  const std::int64_t b = blockIdx.x / p.len, i = blockIdx.x % p.len;
  const std::int64_t slot = p.slots ? p.slots[blockIdx.x] : 0;
  if (slot < 0) return;
  const T* x = static_cast<const T*>(p.x) + b * p.x_strides[0] + i * p.x_strides[1];
  T* y = static_cast<T*>(p.y) + (p.slots ? slot / p.page_size : b) * p.y_strides[0] + (p.slots ? slot % p.page_size : i) * p.y_strides[1];
  const std::int64_t position = p.positions ? p.positions[b * p.positions_batch_stride + i * p.positions_row_stride] : i;
  const std::int64_t before = p.width - p.dim;  // features that stay as they are
  if (p.x != p.y) {
#pragma unroll 1
    for (std::int64_t item = threadIdx.x; item < p.heads * (before / kItems); item += kRopeThreads) {
      const std::int64_t head = item / (before / kItems), at = item % (before / kItems) * kItems;
      store_pack(y + head * p.y_strides[2] + at, load_pack<T, kItems>(x + head * p.x_strides[2] + at));
    }
  }
  const std::int64_t pairs = p.dim / 2;
  for (std::int64_t chunk = 0; chunk < pairs; chunk += kRopeChunk) {
    const int count = static_cast<int>(pairs - chunk < kRopeChunk ? pairs - chunk : kRopeChunk);
    if (chunk > 0) __syncthreads();
#pragma unroll 1
    for (int pair = threadIdx.x; pair < count; pair += kRopeThreads) {
      const Rotation r = rotation(static_cast<double>(position) * p.turns[chunk + pair], p.magnitude);
      cos[pair] = r.cos;
      sin[pair] = r.sin;
    }
    __syncthreads();
    const int vectors = count / kItems;
#pragma unroll 1
    for (std::int64_t item = threadIdx.x; item < p.heads * vectors; item += kRopeThreads) {
      const std::int64_t head = item / vectors;
      const int pair = static_cast<int>(item % vectors) * kItems;
      rotate<T, kItems>(x + head * p.x_strides[2] + before, y + head * p.y_strides[2] + before, p, chunk + pair, cos + pair, sin + pair);
    }
  }
}

}  // namespace

#define ATTN_ROPE_KERNEL(name, type, items) \
  extern "C" __global__ void __launch_bounds__(kRopeThreads) name(const __grid_constant__ RopeParams p) { rope_token<type, items>(p); }
ATTN_ROPE_KERNEL(rope_wide_float32, float, 4)
ATTN_ROPE_KERNEL(rope_wide_float16, __half, 8)
ATTN_ROPE_KERNEL(rope_wide_bfloat16, __nv_bfloat16, 8)
#undef ATTN_ROPE_KERNEL
#define ATTN_ROPE_KERNEL(name, type) \
  extern "C" __global__ void __launch_bounds__(kRopeThreads) name(const __grid_constant__ RopeParams p) { rope_token<type, 1>(p); }
ATTN_ROPE_KERNEL(rope_plain_float32, float)
ATTN_ROPE_KERNEL(rope_plain_float16, __half)
ATTN_ROPE_KERNEL(rope_plain_bfloat16, __nv_bfloat16)
#undef ATTN_ROPE_KERNEL

}  // namespace attn::cuda
