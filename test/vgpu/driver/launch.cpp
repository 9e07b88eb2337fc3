// Launches: checked when they are called, run in stream order; what the checker finds becomes the device's sticky error.
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "environment.h"
#include "report.h"
#include "state.h"

using namespace vgpu::driver;

namespace {

struct Request {
  const Kernel* kernel;
  vgpu::LaunchShape shape;
  std::vector<unsigned char> params;
};

CUresult error_of(vgpu::FindingKind kind) {
  switch (kind) {
    case vgpu::FindingKind::kOutOfBounds: return CUDA_ERROR_ILLEGAL_ADDRESS;
    case vgpu::FindingKind::kMisaligned: return CUDA_ERROR_MISALIGNED_ADDRESS;
    default: return CUDA_ERROR_LAUNCH_FAILED;
  }
}

void run(Device& device, const Request& request) {
  if (device.lost != CUDA_SUCCESS) {
    return;
  }
  const Environment& env = environment();
  const std::string& name = request.kernel->function->name;
  LaunchReport report{name, device.index, request.shape, {}, "", ""};
  try {
    if (name == env.fault) {
      throw vgpu::Finding(vgpu::FindingKind::kOutOfBounds, "out of bounds in " + name + ", as VGPU_FAULT asks");
    }
    vgpu::launch(*request.kernel->function, request.shape, request.params.data(), device.memory, env.seed, env.checks, report.counters);
  } catch (const vgpu::Finding& finding) {
    std::fprintf(stderr, "vgpu: %s\n", finding.what());
    report.finding = vgpu::name_of(finding.kind);
    report.text = finding.what();
    lose(device, error_of(finding.kind));
  }
  write_report(report);
}

/// The attributes that the package uses: blocks per cluster, and overlap with the launch before, which changes nothing here. False: an unknown one.
bool read_attributes(const CUlaunchConfig& config, unsigned (&cluster)[3]) {
  for (unsigned n = 0; n < config.numAttrs; n++) {
    const CUlaunchAttribute& attribute = config.attrs[n];
    switch (attribute.id) {
      case CU_LAUNCH_ATTRIBUTE_IGNORE:
      case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION: break;
      case CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION:
        cluster[0] = attribute.value.clusterDim.x;
        cluster[1] = attribute.value.clusterDim.y;
        cluster[2] = attribute.value.clusterDim.z;
        break;
      default: return false;
    }
  }
  return true;
}

constexpr unsigned kMostBlocksPerCluster = 8;  // that every device with clusters can run

CUresult launch(Device& device, const CUlaunchConfig& config, CUfunction handle, void** arguments, void** extra) {
  const auto* kernel = reinterpret_cast<const Kernel*>(handle);
  auto stream = stream_of(device, config.hStream);
  if (kernel == nullptr || stream == nullptr) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  const vgpu::Function& function = *kernel->function;
  const std::uint64_t threads = std::uint64_t{config.blockDimX} * config.blockDimY * config.blockDimZ;
  const bool empty = threads == 0 || config.gridDimX == 0 || config.gridDimY == 0 || config.gridDimZ == 0;
  if (empty || config.gridDimX > 2147483647u || config.gridDimY > 65535 || config.gridDimZ > 65535 || threads > 1024 || extra != nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (threads > function.max_threads) {
    return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
  }
  if (config.sharedMemBytes > kernel->max_dynamic_shared || config.sharedMemBytes + function.static_shared > environment().max_shared_bytes) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  unsigned cluster[3] = {function.cluster[0], function.cluster[1], function.cluster[2]};
  if (!read_attributes(config, cluster)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const bool fixed = function.cluster[0] != 0;
  if (cluster[0] != 0) {
    const bool whole =
        cluster[1] != 0 && cluster[2] != 0 && config.gridDimX % cluster[0] == 0 && config.gridDimY % cluster[1] == 0 && config.gridDimZ % cluster[2] == 0;
    const bool agrees = !fixed || std::equal(cluster, cluster + 3, function.cluster);
    if (environment().capability < 90 || !whole || !agrees || cluster[0] * cluster[1] * cluster[2] > kMostBlocksPerCluster) {
      return CUDA_ERROR_INVALID_CLUSTER_SIZE;
    }
  }
  Request request{
      kernel,
      {{config.gridDimX, config.gridDimY, config.gridDimZ}, {config.blockDimX, config.blockDimY, config.blockDimZ}, config.sharedMemBytes, {1, 1, 1}},
      {}};
  std::copy(cluster, cluster + 3, request.shape.cluster);
  request.params.resize(function.param_bytes);
  for (std::size_t n = 0; n < function.params.size(); n++) {
    std::memcpy(&request.params[function.params[n].offset], arguments[n], function.params[n].bytes);
  }
  enqueue(*stream, [&device, request = std::move(request)](Lock&) { run(device, request); });
  return CUDA_SUCCESS;
}

}  // namespace

VGPU_EXPORT cuLaunchKernelEx(const CUlaunchConfig* config, CUfunction function, void** arguments, void** extra) {
  return in_context([&](Device& device, Lock&) { return launch(device, *config, function, arguments, extra); });
}

VGPU_EXPORT cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y, unsigned block_z,
                           unsigned shared_bytes, CUstream stream, void** arguments, void** extra) {
  const CUlaunchConfig config{grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes, stream, nullptr, 0};
  return cuLaunchKernelEx(&config, function, arguments, extra);
}
