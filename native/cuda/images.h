#pragma once
// The compiled kernels inside the addon: one fatbin per op and family, as families.cmake lists them.

#include <cuda.h>

namespace attn::cuda {

struct Image {
  const char* op;
  const char* family;  // "sm80": machine code of compute capability 8.0 and PTX that newer devices compile; "sm90a": of 9.0 alone
  const void* fatbin;
};

/// Ends with a row whose op is null.
extern const Image kImages[];

/// The kernel of an op's image of one family on the current device; modules are loaded at first use. `shared_bytes` of dynamic shared memory are made possible.
/// Throws Error (kCuda).
CUfunction find_kernel(const char* op, const char* family, const char* kernel, unsigned shared_bytes);

}  // namespace attn::cuda
