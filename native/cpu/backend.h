#pragma once

namespace attn::cpu {

/// Makes the CPU device and its kernels known. Once per process; later calls do nothing.
void register_cpu();

}  // namespace attn::cpu
