// What the machine can do at most, by loops that do nothing else: x = factor · x + step in more independent chains than
// the multipliers have stages, and sums over memory. With factor = step = 1 a chain counts its own steps, so that a loop
// which ran short gives another sum.

#include "cpu/kernels/probe_rows.h"

namespace attn::cpu::ATTN_ISA {

extern const ProbeTable kProbeTable;

namespace {

// Latency 4 or 5 at two a cycle needs 10; the registers hold 12 and the two operands, or twice that with AVX-512.
constexpr int kChains = kLanes == 16 ? 24 : 12;

/// Each chain starts at its own number: the compiler would make one chain of several that are equal all the way.
constexpr float start_of(int chain) { return static_cast<float>(chain); }

/// The steps of all chains: what they hold beyond their starts.
template <class V>
double steps_taken(const V (&chains)[kChains]) {
  double sum = 0;
  for (int c = 0; c < kChains; ++c) {
    for (int lane = 0; lane < kLanes; ++lane) sum += static_cast<double>(chains[c][lane]) - start_of(c);
  }
  return sum;
}

double multiply_add(std::int64_t rounds, float factor, float step) {
  const Vec factors = broadcast(factor), steps = broadcast(step);
  Vec chains[kChains];
  for (int c = 0; c < kChains; ++c) chains[c] = broadcast(start_of(c));
  for (std::int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 24
    for (int c = 0; c < kChains; ++c) chains[c] = chains[c] * factors + steps;
  }
  return steps_taken(chains);
}

#ifdef __AVX512F__
// For processors with AVX512_BF16 only, which the schedule asks for: the instruction set as such does not include it.
__attribute__((target("avx512bf16"))) double bf16_dot(std::int64_t rounds) {
  // Pairs (1, 0) · (1, 1): one step of 1 per operation, as above; two multiply-adds of which one adds 0.
  const __m512bh ones = (__m512bh)_mm512_set1_epi32(0x3f803f80), unit = (__m512bh)_mm512_set1_epi32(0x00003f80);
  __m512 chains[kChains];
  for (int c = 0; c < kChains; ++c) chains[c] = _mm512_set1_ps(start_of(c));
  for (std::int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 24
    for (int c = 0; c < kChains; ++c) chains[c] = _mm512_dpbf16_ps(chains[c], ones, unit);
  }
  return steps_taken(chains);
}
#else
constexpr double (*bf16_dot)(std::int64_t) = nullptr;
#endif

std::uint32_t read(const std::int32_t* words, std::int64_t count) {
  constexpr int kSums = 8;
  BitVec sums[kSums] = {};
  std::int64_t i = 0;
  for (; i + kSums * kLanes <= count; i += kSums * kLanes) {
#pragma GCC unroll 8
    for (int s = 0; s < kSums; ++s) {
      BitVec v;
      __builtin_memcpy(&v, words + i + s * kLanes, sizeof v);
      sums[s] += v;
    }
  }
  std::uint32_t sum = 0;
  for (; i < count; ++i) sum += static_cast<std::uint32_t>(words[i]);
  for (int s = 0; s < kSums; ++s) {
    for (int lane = 0; lane < kLanes; ++lane) sum += sums[s][lane];
  }
  return sum;
}

}  // namespace

const ProbeTable kProbeTable = {kChains * kLanes, multiply_add, bf16_dot, read};

}  // namespace attn::cpu::ATTN_ISA
