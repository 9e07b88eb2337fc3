#pragma once

namespace attn::cuda {

/// Makes the CUDA device known to core. The driver is opened when the device is first asked for, not before.
void register_cuda();

}  // namespace attn::cuda
