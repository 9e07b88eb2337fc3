#include "cuda/launch.h"

#include "cuda/device.h"
#include "cuda/images.h"

namespace attn::cuda {
namespace {

constexpr int kHopper = 90;

}  // namespace

std::optional<std::string> shared_memory_missing(int bytes) {
  const int available = device_facts().max_shared_per_block;
  if (bytes <= available) return std::nullopt;
  return "needs " + std::to_string(bytes) + " bytes of shared memory per block, this device allows " + std::to_string(available);
}

std::optional<std::string> hopper_missing() {
  const int capability = device_facts().capability;
  if (capability == kHopper) return std::nullopt;
  return "needs compute capability 9.0, this device has " + std::to_string(capability / 10) + "." + std::to_string(capability % 10);
}

std::string hopper_missing_everywhere() {
  for (int index = 0; index < count_gpus(); ++index) {
    if (capability_of(index) == kHopper) return "";
  }
  return "needs compute capability 9.0, which no device here has";
}

void CudaExecution::launch_bytes(const char* op, const char* kernel, Grid grid, unsigned threads, unsigned shared_bytes, void* params) {
  const CUfunction function = find_kernel(op, "sm80", kernel, shared_bytes);
  void* parameters[] = {params};
  check(driver().cuLaunchKernel(function, grid.x, grid.y, grid.z, threads, 1, 1, shared_bytes, stream(), parameters, nullptr),
        (std::string("launching ") + kernel).c_str());
}

void CudaExecution::launch_hopper(const char* op, const char* kernel, const HopperLaunch& how, void* params) {
  const CUfunction function = find_kernel(op, "sm90a", kernel, how.shared_bytes);
  CUlaunchAttribute attributes[2] = {};
  CUlaunchConfig config = {};
  config.gridDimX = how.grid.x;
  config.gridDimY = how.grid.y;
  config.gridDimZ = how.grid.z;
  config.blockDimX = how.threads;
  config.blockDimY = config.blockDimZ = 1;
  config.sharedMemBytes = how.shared_bytes;
  config.hStream = stream();
  config.attrs = attributes;
  if (how.cluster > 1) {
    CUlaunchAttribute& cluster = attributes[config.numAttrs++];
    cluster.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
    cluster.value.clusterDim.x = how.cluster;
    cluster.value.clusterDim.y = cluster.value.clusterDim.z = 1;
  }
  if (how.overlap) {
    CUlaunchAttribute& overlap = attributes[config.numAttrs++];
    overlap.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
    overlap.value.programmaticStreamSerializationAllowed = 1;
  }
  void* parameters[] = {params};
  check(driver().cuLaunchKernelEx(&config, function, parameters, nullptr), (std::string("launching ") + kernel).c_str());
}

/// The driver has copied pageable memory when it returns.
void CudaExecution::upload(void* device, const void* host, std::size_t bytes) {
  if (bytes == 0) return;
  check(driver().cuMemcpyHtoDAsync(reinterpret_cast<CUdeviceptr>(device), host, bytes, stream()), "copying to the device");
}

/// Kernels of the host, such as randn, run where they were enqueued.
void CudaExecution::run(std::int64_t count, Task task, void* context) {
  for (std::int64_t i = 0; i < count; ++i) task(context, i, 0);
}

}  // namespace attn::cuda
