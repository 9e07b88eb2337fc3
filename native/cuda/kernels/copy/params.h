#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "cuda/common/strided.h"

namespace attn::cuda {

struct CopyParams {
  const void* src;
  void* dst;
  StridedAxes axes;    // in units (copy_units), in elements (copy_plain); copy_convert: dense
  std::int64_t count;  // of them
  DType src_dtype, dst_dtype;
};

inline constexpr int kCopyThreads = 256;
inline constexpr int kCopyItems = 4;     // units or elements of one thread, a block's width apart: loads in flight
inline constexpr int kConvertItems = 8;  // neighbouring elements of one thread: 16-byte accesses

}  // namespace attn::cuda
