#include "cuda/launch.h"

#include "cuda/device.h"
#include "cuda/images.h"

namespace attn::cuda {

std::optional<std::string> shared_memory_missing(int bytes) {
  const int available = device_facts().max_shared_per_block;
  if (bytes <= available) return std::nullopt;
  return "needs " + std::to_string(bytes) + " bytes of shared memory per block, this device allows " + std::to_string(available);
}

void CudaExecution::launch_bytes(const char* op, const char* kernel, Grid grid, unsigned threads, unsigned shared_bytes, void* params) {
  const CUfunction function = find_kernel(op, kernel, shared_bytes);
  void* parameters[] = {params};
  check(driver().cuLaunchKernel(function, grid.x, grid.y, grid.z, threads, 1, 1, shared_bytes, stream(), parameters, nullptr),
        (std::string("launching ") + kernel).c_str());
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
