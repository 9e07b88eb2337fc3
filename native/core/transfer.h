#pragma once
// Numbers between the host and a device's memory.

#include <cstddef>

#include "core/tensor.h"

namespace attn {

/// The host's `bytes` (all of the packed tensor's) into a new tensor; `host` may be reused on return.
void upload_packed(const Tensor& dst, const std::byte* host);
void fill_zeros(const Tensor& dst);

/// src in row-major order as `dtype` into memory of the host, which is filled when the device has come so far.
void download(const Tensor& src, DType dtype, std::byte* host);

/// A packed copy on another device. Waits for what the tensor's own device has to do before.
Tensor to_device(const Tensor& src, Backend& device);

}  // namespace attn
