#pragma once
// The sm_90a row of mla_decode.

#include "core/attention.h"
#include "core/registry.h"

namespace attn::cuda {

Kernel<MlaDecodeProblem> latent_kernel();

}  // namespace attn::cuda
