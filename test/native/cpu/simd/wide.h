#pragma once
// A stand-in for AVX-512 that runs anywhere: 16 lanes and its register tile, on whatever vectors the compiler has.

namespace attn::cpu::ATTN_ISA {
inline constexpr int kLanes = 16;
inline constexpr int kGemmRows = 12;
inline constexpr int kGemmVecs = 2;
}  // namespace attn::cpu::ATTN_ISA

#include "cpu/simd/vec.h"
#include "cpu/simd/vec_half.h"
#include "cpu/simd/vec_math.h"
#include "cpu/simd/vec_rows.h"
