#pragma once
// Registration of the small ops' CPU kernels. Ops that gain by it have a row per instruction set; those that only move
// or make numbers have one row, compiled once.

#include <cstring>
#include <optional>
#include <string>

#include "core/dtype.h"
#include "core/linear.h"
#include "core/registry.h"
#include "cpu/isa.h"

namespace attn::cpu {

void register_op_kernels();

void register_linear_bf16_kernels();
void register_linear_kernels();
void register_rms_norm_kernels();
void register_rope_kernels();
void register_merge_kernels();
void register_copy_kernels();
void register_randn_kernels();
void register_paged_kv_kernels();
void register_latent_row_kernels();
void register_quantize_float8_kernels();
/// A row of linear for products of bfloat16 with the functions of one instruction set.
struct LinearBf16Table;
Kernel<LinearProblem> linear_bf16_kernel(const KernelInfo& info, const LinearBf16Table* table);
/// Measurements of the machine (core/probe.h).
void register_probes();

inline constexpr DTypeMask kFloatDTypes = kComputeDTypes | mask_of(DType::kFloat8E4M3);
inline constexpr DTypeMask kAllDTypes = kFloatDTypes | mask_of(DType::kInt32);

/// Describes one row. `isa` is an instruction set, or "any" for code that runs on every processor.
inline KernelInfo cpu_kernel(const std::string& stem, const char* op, const char* isa, DTypeMask dtypes, const char* head_dims) {
  const char* missing = std::strcmp(isa, "any") == 0 ? nullptr : isa_missing(isa);
  return {stem + "_" + isa, op, DeviceType::kCpu, isa, dtypes, head_dims, missing ? missing : ""};
}

/// The small ops do every problem that core lets through.
template <class Problem>
std::optional<std::string> accept(const Kernel<Problem>&, const Problem&) {
  return std::nullopt;
}

}  // namespace attn::cpu
