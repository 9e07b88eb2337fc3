// Host copies. The caller's typed array is the destination of a copy on the device's queue.
#include "binding/args.h"
#include "binding/export.h"
#include "binding/js_thread.h"
#include "binding/ops/ops.h"
#include "core/copy.h"

namespace attn::binding {
namespace {

/// The array as a packed tensor of the shape of `like`.
Tensor host_tensor(const Tensor& like, DType dtype, const Napi::Value& array) {
  const HostBits bits = host_bits("into", array);
  const std::vector<std::int64_t> shape(like.view.shape.begin(), like.view.shape.begin() + like.view.rank);
  const TensorView view = contiguous_view(dtype, DeviceType::kCpu, bits.data, shape);
  if (bits.bytes != view.size() * dtype_size(dtype)) {
    fail_argument(ErrorCode::kInvalidArgument, "into", std::to_string(view.size() * dtype_size(dtype)) + " bytes", std::to_string(bits.bytes));
  }
  return {std::make_shared<Storage>(like.storage->backend(), bits.data, bits.bytes, nullptr), view};
}

DType numbers_dtype(const Napi::Value& array) {
  if (array.IsTypedArray() && array.As<Napi::TypedArray>().TypedArrayType() == napi_float32_array) return DType::kFloat32;
  if (array.IsTypedArray() && array.As<Napi::TypedArray>().TypedArrayType() == napi_int32_array) return DType::kInt32;
  fail_argument(ErrorCode::kInvalidArgument, "into", "a Float32Array or Int32Array", "another value");
}

/// Resolves with undefined, or with the failure text of earlier work: what was read then means nothing.
Napi::Value read_async(const Args& args, DType dtype) {
  const Tensor& src = args.tensor(0, "tensor");
  copy_tensor(src, host_tensor(src, dtype, args.value(1)));
  return promise_after_queue(args.env(), src.storage->backend(), args.value(1), false,
                             [](Napi::Env env, const std::string& failure) -> Napi::Value { return Napi::String::New(env, failure); });
}

Napi::Value read_numbers(const Napi::CallbackInfo& info) {
  const Args args(info, 2);
  return read_async(args, numbers_dtype(args.value(1)));
}

Napi::Value read_bits(const Napi::CallbackInfo& info) {
  const Args args(info, 2);
  return read_async(args, args.tensor(0, "tensor").view.dtype);
}

Napi::Value read_numbers_sync(const Napi::CallbackInfo& info) {
  const Args args(info, 2);
  const Tensor& src = args.tensor(0, "tensor");
  Backend& backend = src.storage->backend();
  copy_tensor(src, host_tensor(src, numbers_dtype(args.value(1)), args.value(1)));
  backend.wait_for(backend.last_enqueued());
  return Napi::String::New(args.env(), backend.failure(false));
}

}  // namespace

void export_reads(Napi::Env env, Napi::Object exports) {
  export_function<read_numbers>(env, exports, "readNumbers");
  export_function<read_bits>(env, exports, "readBits");
  export_function<read_numbers_sync>(env, exports, "readNumbersSync");
}

}  // namespace attn::binding
