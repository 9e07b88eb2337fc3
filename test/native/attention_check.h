#pragma once
// Runs attention kernels of every usable instruction set on a case and compares them with the reference.

#include <string>
#include <vector>

#include "attention_case.h"
#include "cpu/kernels/attention_schedule.h"

namespace attn::test {

struct Isa {
  const char* name;
  cpu::AttentionFunctions functions;
};

/// Those that this machine can run, and the 16-lane stand-in for AVX-512.
std::vector<Isa> usable_isas();

/// Those with products of bfloat16 that this machine can run, chosen or not, and a stand-in for them.
std::vector<Isa> bf16_isas();

/// Computes into the data's outputs; checks that the workspace asked for suffices.
void run_attention_case(AttentionData& data, const cpu::AttentionFunctions& functions, cpu::AttentionPath path, int threads);

/// Every instruction set and path: within tolerance of float64, and the same bits with one thread and with three. Those for bfloat16 take
/// the case in their dtype; operands in float8_e4m3 stay what they are.
void check_attention(const AttentionCase& attention_case);

}  // namespace attn::test
