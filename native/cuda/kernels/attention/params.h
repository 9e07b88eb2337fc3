#pragma once
// What attention kernels get by value: the problem itself, its host arrays replaced by copies in the workspace.

#include <cstdint>
#include <type_traits>

#include "core/attention.h"

namespace attn::cuda {

struct AttentionParams {
  AttentionProblem problem;  // qo_indptr, kv_indptr and qo_lens are device memory here
};
static_assert(std::is_trivially_copyable_v<AttentionParams> && sizeof(AttentionParams) < 4096, "a kernel parameter is at most 4 KiB");

}  // namespace attn::cuda
