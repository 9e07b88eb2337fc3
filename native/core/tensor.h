#pragma once

#include <vector>

#include "core/storage.h"
#include "core/tensor_view.h"

namespace attn {

/// A view and the memory that it looks at.
struct Tensor {
  StoragePtr storage;
  TensorView view;
};

/// A new contiguous tensor with undefined contents. Throws kOutOfMemory.
Tensor empty_tensor(Backend& backend, DType dtype, const std::vector<std::int64_t>& shape);
TensorView contiguous_view(DType dtype, Device device, std::byte* data, const std::vector<std::int64_t>& shape);

}  // namespace attn
