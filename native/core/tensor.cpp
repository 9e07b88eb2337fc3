#include "core/tensor.h"

#include "core/backend.h"

namespace attn {

TensorView contiguous_view(DType dtype, Device device, std::byte* data, const std::vector<std::int64_t>& shape) {
  TensorView view;
  view.data = data;
  view.dtype = dtype;
  view.device = device;
  view.rank = static_cast<int>(shape.size());
  std::int64_t stride = 1;
  for (int i = view.rank - 1; i >= 0; --i) {
    view.shape[i] = shape[i];
    view.strides[i] = stride;
    stride *= shape[i];
  }
  return view;
}

Tensor empty_tensor(Backend& backend, DType dtype, const std::vector<std::int64_t>& shape) {
  TensorView view = contiguous_view(dtype, backend.device(), nullptr, shape);
  auto storage = std::make_shared<Storage>(backend, view.size() * dtype_size(dtype));
  view.data = storage->data();
  return {std::move(storage), view};
}

}  // namespace attn
