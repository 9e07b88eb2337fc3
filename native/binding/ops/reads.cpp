// Host copies. The caller's typed array is the destination of a copy on the device's queue.
#include "binding/args.h"
#include "binding/export.h"
#include "binding/js_thread.h"
#include "binding/ops/ops.h"
#include "core/transfer.h"

namespace attn::binding {
namespace {

/// Where the array's numbers lie, which have to be as many as the tensor's.
std::byte* checked_host(const Tensor& like, DType dtype, const Napi::Value& array) {
  const HostBits bits = host_bits("into", array);
  const std::int64_t wanted = like.view.size() * dtype_size(dtype);
  if (bits.bytes != wanted) fail_argument(ErrorCode::kInvalidArgument, "into", std::to_string(wanted) + " bytes", std::to_string(bits.bytes));
  return bits.data;
}

DType numbers_dtype(const Napi::Value& array) {
  if (array.IsTypedArray() && array.As<Napi::TypedArray>().TypedArrayType() == napi_float32_array) return DType::kFloat32;
  if (array.IsTypedArray() && array.As<Napi::TypedArray>().TypedArrayType() == napi_int32_array) return DType::kInt32;
  fail_argument(ErrorCode::kInvalidArgument, "into", "a Float32Array or Int32Array", "another value");
}

/// Gives, or resolves with, the failure text of earlier work: what was read then means nothing. Empty when there was none.
Napi::Value read_async(const Args& args, DType dtype) {
  const Tensor& src = args.tensor(0, "tensor");
  download(src, dtype, checked_host(src, dtype, args.value(1)));
  return failure_after_queue(args.env(), src.storage->backend(), args.value(1), false);
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
  const DType dtype = numbers_dtype(args.value(1));
  download(src, dtype, checked_host(src, dtype, args.value(1)));
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
