#include "binding/args.h"
#include "binding/export.h"
#include "binding/js_thread.h"
#include "binding/ops/ops.h"
#include "core/backend.h"
#include "core/registry.h"

namespace attn::binding {
namespace {

constexpr DeviceType kTypes[] = {DeviceType::kCpu, DeviceType::kCuda};

Napi::Value dtypes(const Napi::CallbackInfo& info) {
  Napi::Array list = Napi::Array::New(info.Env());
  for (int i = 0; i < kNumDTypes; ++i) {
    const DType dtype = static_cast<DType>(i);
    Napi::Object row = Napi::Object::New(info.Env());
    row.Set("name", dtype_name(dtype));
    row.Set("bytes", static_cast<double>(dtype_size(dtype)));
    row.Set("isFloat", is_float(dtype));
    list.Set(static_cast<std::uint32_t>(i), row);
  }
  return list;
}

Napi::Value describe(Napi::Env env, const Backend& backend) {
  const DeviceDescription d = backend.describe();
  Napi::Object row = Napi::Object::New(env);
  row.Set("id", d.id);
  row.Set("type", device_name(d.type));
  row.Set("name", d.name);
  row.Set("arch", d.arch);
  row.Set("totalMemory", static_cast<double>(d.total_memory));
  row.Set("freeMemory", static_cast<double>(d.free_memory));
  row.Set("units", d.units);
  return row;
}

Napi::Value devices(const Napi::CallbackInfo& info) {
  Napi::Array list = Napi::Array::New(info.Env());
  for (DeviceType type : kTypes) {
    for (int index = 0; index < count_devices(type); ++index) {
      if (!unavailable_reason({type, index}).empty()) continue;
      try {
        list.Set(list.Length(), describe(info.Env(), backend_of({type, index})));
      } catch (const Error& error) {
        if (error.code != ErrorCode::kCuda) throw;  // a lost device cannot be used, the others can
      }
    }
  }
  return list;
}

Napi::Value device(const Napi::CallbackInfo& info) {
  const Args args(info, 1);
  return describe(args.env(), backend_named(args.text(0, "id")));
}

Napi::Value unavailable(const Napi::CallbackInfo& info) {
  const Args args(info, 1);
  return Napi::String::New(args.env(), unavailable_reason(device_named(args.text(0, "id"))));
}

Napi::Value unavailable_code_(const Napi::CallbackInfo& info) {
  const Args args(info, 1);
  return Napi::String::New(args.env(), error_code_name(unavailable_code(device_named(args.text(0, "id")))));
}

Napi::Value device_memory(const Napi::CallbackInfo& info) {
  const Args args(info, 1);
  const MemoryUse use = backend_named(args.text(0, "device")).memory();
  Napi::Object row = Napi::Object::New(args.env());
  row.Set("tensors", static_cast<double>(use.tensors));
  row.Set("bytes", static_cast<double>(use.bytes));
  row.Set("peakBytes", static_cast<double>(use.peak_bytes));
  return row;
}

Napi::Value set_num_threads(const Napi::CallbackInfo& info) {
  const Args args(info, 1);
  backend_of(DeviceType::kCpu).set_num_threads(static_cast<int>(args.integer(0, "count")));
  return args.env().Undefined();
}

Napi::Value num_threads(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), backend_of(DeviceType::kCpu).num_threads()); }

Napi::Value synchronize(const Napi::CallbackInfo& info) {
  const Args args(info, 1);
  return failure_after_queue(args.env(), backend_named(args.text(0, "device")), args.env().Undefined(), true);
}

/// 1 in it says that work of this thread was put off; JavaScript sets it to 0 and calls offer() when the event loop comes round.
Napi::Value put_off(const Napi::CallbackInfo& info) {
  const Args args(info, 0);
  return environment_of(args.env()).put_off.Value();
}

Napi::Value offer(const Napi::CallbackInfo& info) {
  const Args args(info, 0);
  for (Backend* backend : opened_backends()) backend->offer();
  return args.env().Undefined();
}

Napi::Value synchronize_sync(const Napi::CallbackInfo& info) {
  const Args args(info, 1);
  Backend& backend = backend_named(args.text(0, "device"));
  backend.wait_for(backend.last_enqueued());
  return Napi::String::New(args.env(), backend.failure(true));
}

Napi::Value kernels(const Napi::CallbackInfo& info) {
  Napi::Array list = Napi::Array::New(info.Env());
  for (const KernelUse& use : all_kernels()) {
    Napi::Array names = Napi::Array::New(info.Env());
    for (int i = 0; i < kNumDTypes; ++i) {
      const DType dtype = static_cast<DType>(i);
      if (use.info.dtypes & mask_of(dtype)) names.Set(names.Length(), dtype_name(dtype));
    }
    Napi::Object row = Napi::Object::New(info.Env());
    row.Set("name", use.info.name);
    row.Set("op", use.info.op);
    row.Set("device", device_name(use.info.device));
    row.Set("arch", use.info.arch);
    row.Set("dtypes", names);
    row.Set("headDims", use.info.head_dims);
    row.Set("runs", static_cast<double>(use.runs));
    row.Set("unusable", use.info.unusable);
    list.Set(list.Length(), row);
  }
  return list;
}

Napi::Value force(const Napi::CallbackInfo& info) {
  const Args args(info, 1);
  force_kernel(args.text(0, "name"));
  return args.env().Undefined();
}

}  // namespace

void export_devices(Napi::Env env, Napi::Object exports) {
  export_function<dtypes>(env, exports, "dtypes");
  export_function<devices>(env, exports, "devices");
  export_function<device>(env, exports, "device");
  export_function<unavailable>(env, exports, "unavailableReason");
  export_function<unavailable_code_>(env, exports, "unavailableCode");
  export_function<device_memory>(env, exports, "deviceMemory");
  export_function<set_num_threads>(env, exports, "setNumThreads");
  export_function<num_threads>(env, exports, "numThreads");
  export_function<synchronize>(env, exports, "synchronize");
  export_function<put_off>(env, exports, "putOff");
  export_function<offer>(env, exports, "offer");
  export_function<synchronize_sync>(env, exports, "synchronizeSync");
  export_function<kernels>(env, exports, "kernels");
  export_function<force>(env, exports, "forceKernel");
}

}  // namespace attn::binding
