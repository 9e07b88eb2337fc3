#pragma once

#include <cstdint>

namespace attn::cpu {

/// Elements of all accumulator tiles together: steps of one round. A step adds 32 products.
inline constexpr std::int64_t kTileSteps = 6 * 16 * 16;
inline constexpr int kTileProducts = 32;

/// Why this process cannot multiply tiles of bfloat16 (a static text); nullptr when it can. Asks the system for leave, once.
const char* bf16_tile_missing();

/// `rounds` tile products in each of several independent accumulators, steps of 1: the sum of all elements.
double bf16_tile(std::int64_t rounds);

}  // namespace attn::cpu
