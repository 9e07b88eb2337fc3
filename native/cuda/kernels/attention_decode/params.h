#pragma once
// The parameter of the decoding kernels of sm_90a; shared by host and device.

#include <cuda.h>

#include <cstdint>
#include <type_traits>

#include "cuda/kernels/attention_split/params.h"

namespace attn::cuda {

/// Keys or values seen as [sequence or page][row][head][feature].
struct DecodeMaps {
  CUtensorMap boxes;  // copies DecodeParams::box_keys rows of one head
  CUtensorMap rows;   // copies one
};

struct DecodeParams {
  SplitParams split;
  DecodeMaps keys, values;
  std::int32_t box_keys;  // a power of two up to DecodeTile::kKeys that divides the page size: a box lies in one page
};
static_assert(std::is_trivially_copyable_v<DecodeParams> && sizeof(DecodeParams) <= 4096, "a kernel parameter is at most 4 KiB");

}  // namespace attn::cuda
