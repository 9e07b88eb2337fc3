#include "core/transfer.h"

#include <memory>
#include <vector>

#include "core/backend.h"
#include "core/copy.h"
#include "core/rows.h"

namespace attn {
namespace {

Tensor packed(const Tensor& src, DType dtype) {
  if (src.view.dtype == dtype && src.view.is_contiguous()) return src;
  Tensor copy = empty_tensor(src.storage->backend(), dtype, shape_of(src.view));
  copy_tensor(src, copy);
  return copy;
}

std::int64_t bytes_of(const TensorView& view) { return view.size() * dtype_size(view.dtype); }

}  // namespace

void upload_packed(const Tensor& dst, const std::byte* host) { dst.storage->backend().upload(dst.view.data, host, bytes_of(dst.view)); }

void fill_zeros(const Tensor& dst) { dst.storage->backend().fill_zeros(dst.view.data, dst.storage->bytes()); }

void download(const Tensor& src, DType dtype, std::byte* host) {
  Backend& backend = src.storage->backend();
  if (backend.type() == DeviceType::kCpu) {
    const TensorView view = contiguous_view(dtype, DeviceType::kCpu, host, shape_of(src.view));
    copy_tensor(src, {std::make_shared<Storage>(backend, host, bytes_of(view), nullptr), view}, true);
    return;
  }
  const Tensor copy = packed(src, dtype);
  backend.download(copy.view.data, host, bytes_of(copy.view), current_cancel_flag());
}

Tensor to_device(const Tensor& src, Backend& device) {
  Backend& from = src.storage->backend();
  const Tensor copy = packed(src, src.view.dtype);
  Tensor dst = empty_tensor(device, src.view.dtype, shape_of(src.view));
  const std::int64_t bytes = bytes_of(copy.view);
  if (from.type() == DeviceType::kCpu) {
    from.wait_for(from.last_enqueued());
    device.upload(dst.view.data, copy.view.data, bytes);
    return dst;
  }
  // Between two GPUs by way of the host: whether they reach each other differs from machine to machine.
  std::vector<std::byte> between(device.type() == DeviceType::kCpu ? 0 : static_cast<std::size_t>(bytes));
  std::byte* host = between.empty() ? dst.view.data : between.data();
  from.download(copy.view.data, host, bytes, current_cancel_flag());
  from.wait_for(from.last_enqueued());
  if (!between.empty()) device.upload(dst.view.data, host, bytes);
  return dst;
}

}  // namespace attn
