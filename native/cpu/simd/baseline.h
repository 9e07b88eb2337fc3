#pragma once
// What every processor has: 4 lanes (SSE2 on x86-64, the same lanes of NEON on AArch64, plain scalars elsewhere), 16 registers or more.

namespace attn::cpu::ATTN_ISA {
inline constexpr int kLanes = 4;
inline constexpr int kGemmRows = 4;  // 4 x 8: 8 accumulators, 2 of B, 1 of A
inline constexpr int kGemmVecs = 2;
}  // namespace attn::cpu::ATTN_ISA

#include "cpu/simd/vec.h"
#include "cpu/simd/vec_half.h"
#include "cpu/simd/vec_math.h"
#include "cpu/simd/vec_rows.h"
