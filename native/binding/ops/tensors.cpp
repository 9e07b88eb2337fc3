#include <memory>

#include "binding/args.h"
#include "binding/export.h"
#include "binding/js_thread.h"
#include "binding/ops/ops.h"
#include "core/copy.h"
#include "core/numbers.h"
#include "core/randn.h"
#include "core/transfer.h"

namespace attn::binding {
namespace {

constexpr std::int64_t kMaxBytes = std::int64_t{1} << 53;

/// Axes that are not negative, and a byte length that a double holds exactly.
std::vector<std::int64_t> checked_shape(const Args& args, std::size_t i, DType dtype) {
  std::vector<std::int64_t> shape = args.integers(i, "shape");
  if (shape.size() > kMaxRank) fail_argument(ErrorCode::kInvalidArgument, "shape", "at most 8 axes", std::to_string(shape.size()) + " axes");
  double bytes = static_cast<double>(dtype_size(dtype));
  for (std::int64_t extent : shape) {
    if (extent < 0) fail_argument(ErrorCode::kInvalidArgument, "shape", "axes of at least 0", std::to_string(extent));
    bytes *= static_cast<double>(extent);
  }
  if (!(bytes <= static_cast<double>(kMaxBytes))) fail_argument(ErrorCode::kInvalidArgument, "shape", "at most 2^53 bytes", "more");
  return shape;
}

/// device, dtype, shape as the first three arguments.
Tensor new_tensor(const Args& args) {
  Backend& backend = backend_named(args.text(0, "device"));
  const DType dtype = dtype_numbered(args.integer(1, "dtype"));
  return empty_tensor(backend, dtype, checked_shape(args, 2, dtype));
}

void check_length(const char* name, std::int64_t received, std::int64_t expected) {
  if (received != expected) fail_argument(ErrorCode::kInvalidArgument, name, std::to_string(expected) + " bytes", std::to_string(received));
}

Napi::Value tensor_empty(const Napi::CallbackInfo& info) {
  const Args args(info, 3);
  return make_handle(args.env(), new_tensor(args));
}

Napi::Value tensor_zeros(const Napi::CallbackInfo& info) {
  const Args args(info, 3);
  const Tensor tensor = new_tensor(args);
  fill_zeros(tensor);
  return make_handle(args.env(), tensor);
}

Napi::Value tensor_from_numbers(const Napi::CallbackInfo& info) {
  const Args args(info, 4);
  const HostBits bits = host_bits("numbers", args.value(3));
  const napi_typedarray_type type = args.value(3).As<Napi::TypedArray>().TypedArrayType();
  const Tensor tensor = new_tensor(args);
  const std::int64_t count = tensor.view.size();
  const auto convert = [&]<class T>(const T* numbers) {
    check_length("numbers", bits.bytes, count * static_cast<std::int64_t>(sizeof(T)));
    if (tensor.view.device == DeviceType::kCpu) {
      numbers_to_dtype(numbers, count, tensor.view.dtype, tensor.view.data);
      return;
    }
    std::vector<std::byte> converted(static_cast<std::size_t>(count * dtype_size(tensor.view.dtype)));
    numbers_to_dtype(numbers, count, tensor.view.dtype, converted.data());
    upload_packed(tensor, converted.data());
  };
  switch (type) {
    case napi_float64_array: convert(reinterpret_cast<const double*>(bits.data)); break;
    case napi_float32_array: convert(reinterpret_cast<const float*>(bits.data)); break;
    case napi_int32_array: convert(reinterpret_cast<const std::int32_t*>(bits.data)); break;
    default: fail_argument(ErrorCode::kInvalidArgument, "numbers", "a Float64Array, Float32Array or Int32Array", "another typed array");
  }
  return make_handle(args.env(), tensor);
}

Napi::Value tensor_from_bits(const Napi::CallbackInfo& info) {
  const Args args(info, 4);
  const HostBits bits = host_bits("bits", args.value(3));
  const Tensor tensor = new_tensor(args);
  check_length("bits", bits.bytes, tensor.storage->bytes());
  upload_packed(tensor, bits.data);
  return make_handle(args.env(), tensor);
}

struct KeptArray : JsThread::Kept {
  explicit KeptArray(const Napi::Value& array) : reference(Napi::Reference<Napi::Value>::New(array, 1)) {}
  Napi::Reference<Napi::Value> reference;
};

Napi::Value tensor_wrap(const Napi::CallbackInfo& info) {
  const Args args(info, 3);
  const DType dtype = dtype_numbered(args.integer(0, "dtype"));
  const std::vector<std::int64_t> shape = checked_shape(args, 1, dtype);
  const HostBits bits = host_bits("bits", args.value(2));
  TensorView view = contiguous_view(dtype, DeviceType::kCpu, bits.data, shape);
  check_length("bits", bits.bytes, view.size() * dtype_size(dtype));
  // The array stays referenced until the last view and queued job let go, which may happen on any thread; the reference
  // itself may only die on the JavaScript thread (with the environment, if that ends first).
  const std::shared_ptr<JsThread> thread = environment_of(args.env()).thread;
  const std::uint64_t number = thread->keep(std::make_unique<KeptArray>(args.value(2)));
  auto release = [thread, number] { thread->let_die(number); };
  auto storage = std::make_shared<Storage>(backend_of(DeviceType::kCpu), bits.data, bits.bytes, std::move(release));
  return make_handle(args.env(), Tensor{std::move(storage), view}, 0);
}

Napi::Value tensor_view(const Napi::CallbackInfo& info) {
  const Args args(info, 4);
  Tensor view = args.tensor(0, "tensor");
  const std::int64_t offset = args.integer(1, "offset");
  const std::vector<std::int64_t> shape = checked_shape(args, 2, view.view.dtype);
  const std::vector<std::int64_t> strides = args.integers(3, "strides");
  if (strides.size() != shape.size()) fail_argument(ErrorCode::kInvalidArgument, "strides", "one per axis", std::to_string(strides.size()));
  // lib/ derives these from a view that was good; a wrong one must still not reach outside of the memory.
  const std::int64_t size = dtype_size(view.view.dtype);
  __int128 last = offset;
  bool negative = offset < 0, empty = false;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    last += static_cast<__int128>(shape[i] - 1) * strides[i];
    negative |= strides[i] < 0;
    empty |= shape[i] == 0;
  }
  const std::int64_t first = (view.view.data - view.storage->data()) / size;
  if (negative || (!empty && (first + last + 1) * size > view.storage->bytes())) {
    fail_argument(ErrorCode::kInvalidArgument, "view", "a view inside of the tensor's memory", "one that reaches outside");
  }
  view.view.data += empty ? 0 : offset * size;
  view.view.rank = static_cast<int>(shape.size());
  for (std::size_t i = 0; i < shape.size(); ++i) {
    view.view.shape[i] = shape[i];
    view.view.strides[i] = strides[i];
  }
  return make_handle(args.env(), std::move(view), 0);
}

Napi::Value tensor_to(const Napi::CallbackInfo& info) {
  const Args args(info, 2);
  return make_handle(args.env(), to_device(args.tensor(0, "tensor"), backend_named(args.text(1, "device"))));
}

Napi::Value tensor_dispose(const Napi::CallbackInfo& info) {
  const Args args(info, 1);
  dispose_handle("tensor", args.value(0));
  return args.env().Undefined();
}

Napi::Value tensor_randn(const Napi::CallbackInfo& info) {
  const Args args(info, 4);
  const std::int64_t seed = args.integer(3, "seed");
  const Tensor tensor = new_tensor(args);
  randn(tensor, static_cast<std::uint64_t>(seed));
  return make_handle(args.env(), tensor);
}

Napi::Value copy(const Napi::CallbackInfo& info) {
  const Args args(info, 2);
  copy_tensor(args.tensor(0, "src"), args.tensor(1, "dst"));
  return args.env().Undefined();
}

}  // namespace

void export_tensors(Napi::Env env, Napi::Object exports) {
  export_function<tensor_empty>(env, exports, "tensorEmpty");
  export_function<tensor_zeros>(env, exports, "tensorZeros");
  export_function<tensor_from_numbers>(env, exports, "tensorFromNumbers");
  export_function<tensor_from_bits>(env, exports, "tensorFromBits");
  export_function<tensor_wrap>(env, exports, "tensorWrap");
  export_function<tensor_view>(env, exports, "tensorView");
  export_function<tensor_to>(env, exports, "tensorTo");
  export_function<tensor_dispose>(env, exports, "tensorDispose");
  export_function<tensor_randn>(env, exports, "randn");
  export_function<copy>(env, exports, "copy");
}

}  // namespace attn::binding
