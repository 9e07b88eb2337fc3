#pragma once

namespace attn::cpu {

/// Enters the CPU's kernels of `attention` and `mlaDecode`, best instruction set first.
void register_attention_kernels();

}  // namespace attn::cpu
