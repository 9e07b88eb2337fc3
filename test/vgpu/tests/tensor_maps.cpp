// What cuTensorMapEncodeTiled and cuLaunchKernelEx refuse, one fault at a time.
#include <functional>

#include "support.h"

namespace {

void expect(CUresult got, CUresult expected, const std::string& what) {
  if (got == expected) return;
  std::printf("%s: %d, expected %d\n", what.c_str(), got, expected);
  failures++;
}

struct Request {
  alignas(64) CUtensorMap maps[2];
  CUtensorMap* map = &maps[0];
  CUtensorMapDataType type = CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
  cuuint32_t rank = 3;
  CUdeviceptr base = 0;
  cuuint64_t dims[5] = {128, 10, 4, 1, 1}, strides[4] = {256, 2560, 16, 16};
  cuuint32_t box[5] = {64, 10, 2, 1, 1}, steps[5] = {1, 1, 1, 1, 1};
  CUtensorMapInterleave interleave = CU_TENSOR_MAP_INTERLEAVE_NONE;
  CUtensorMapSwizzle swizzle = CU_TENSOR_MAP_SWIZZLE_128B;
  CUtensorMapL2promotion promotion = CU_TENSOR_MAP_L2_PROMOTION_L2_256B;
  CUtensorMapFloatOOBfill fill = CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE;
  CUresult encode() {
    return cuTensorMapEncodeTiled(map, type, rank, reinterpret_cast<void*>(base), dims, strides, box, steps, interleave, swizzle, promotion, fill);
  }
};

void encodes(Gpu& gpu) {
  const CUdeviceptr base = gpu.empty(1 << 16);
  const auto tried = [&](const std::string& what, CUresult expected, const std::function<void(Request&)>& change) {
    Request request;
    request.base = base;
    change(request);
    expect(request.encode(), expected, what);
  };
  const auto accepted = [&](const std::string& what, const std::function<void(Request&)>& change) { tried(what, CUDA_SUCCESS, change); };
  const auto refused = [&](const std::string& what, const std::function<void(Request&)>& change) { tried(what, CUDA_ERROR_INVALID_VALUE, change); };
  accepted("as it is", [](Request&) {});
  for (const auto type : {CU_TENSOR_MAP_DATA_TYPE_UINT8, CU_TENSOR_MAP_DATA_TYPE_FLOAT16}) accepted("type", [=](Request& r) { r.type = type; });
  accepted("float32", [](Request& r) { r.type = CU_TENSOR_MAP_DATA_TYPE_FLOAT32, r.box[0] = 32, r.strides[0] = 512, r.strides[1] = 5120; });
  accepted("one dimension", [](Request& r) { r.rank = 1; });
  accepted("five dimensions", [](Request& r) { r.rank = 5; });
  accepted("64 bytes within 128", [](Request& r) { r.box[0] = 32; });
  accepted("64 bytes within 64", [](Request& r) { r.swizzle = CU_TENSOR_MAP_SWIZZLE_64B, r.box[0] = 32; });
  refused("80 bytes within 64", [](Request& r) { r.swizzle = CU_TENSOR_MAP_SWIZZLE_64B, r.box[0] = 40; });
  accepted("no swizzle, a box of 256", [](Request& r) { r.swizzle = CU_TENSOR_MAP_SWIZZLE_NONE, r.box[0] = 128, r.box[1] = 256; });
  accepted("element strides", [](Request& r) { r.steps[1] = 8; });
  refused("no map", [](Request& r) { r.map = nullptr; });
  refused("a map at 32 bytes", [](Request& r) { r.map = reinterpret_cast<CUtensorMap*>(reinterpret_cast<char*>(r.map) + 32); });
  refused("no base", [](Request& r) { r.base = 0; });
  refused("a base of 8 bytes", [](Request& r) { r.base += 8; });
  refused("no dimension", [](Request& r) { r.rank = 0; });
  refused("six dimensions", [](Request& r) { r.rank = 6; });
  refused("an empty dimension", [](Request& r) { r.dims[1] = 0; });
  refused("a dimension above 2^32", [](Request& r) { r.dims[2] = (cuuint64_t{1} << 32) + 1; });
  refused("a stride of 8 bytes", [](Request& r) { r.strides[0] = 264; });
  refused("a stride of 2^40", [](Request& r) { r.strides[1] = cuuint64_t{1} << 40; });
  refused("a box of 257", [](Request& r) { r.box[1] = 257; });
  refused("an empty box", [](Request& r) { r.box[2] = 0; });
  refused("a box row of 24 bytes", [](Request& r) { r.box[0] = 12; });
  refused("a box row above the swizzle", [](Request& r) { r.box[0] = 72; });
  refused("a box row above a swizzle of 64", [](Request& r) { r.swizzle = CU_TENSOR_MAP_SWIZZLE_64B; });
  refused("a box row above a swizzle of 32", [](Request& r) { r.swizzle = CU_TENSOR_MAP_SWIZZLE_32B, r.box[0] = 32; });
  refused("an element stride of 0", [](Request& r) { r.steps[1] = 0; });
  refused("an element stride of 9", [](Request& r) { r.steps[1] = 9; });
  refused("interleave", [](Request& r) { r.interleave = CU_TENSOR_MAP_INTERLEAVE_16B; });
  refused("fill with NaN", [](Request& r) { r.fill = CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA; });
  refused("a type that is none", [](Request& r) { r.type = static_cast<CUtensorMapDataType>(99); });
}

void launches(Gpu& gpu) {
  const std::string head = ".version 9.0\n.target sm_90a\n.address_size 64\n.visible .entry k()\n", body = "{\nret;\n}\n";
  const auto tried = [&](const std::string& what, CUresult expected, const std::string& attributes, unsigned blocks, unsigned cluster) {
    CUfunction f = gpu.load(head + attributes + body, "k");
    CUlaunchAttribute attribute = {};
    attribute.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
    attribute.value.clusterDim.x = cluster;
    attribute.value.clusterDim.y = attribute.value.clusterDim.z = 1;
    const CUlaunchConfig config{blocks, 1, 1, 32, 1, 1, 0, nullptr, &attribute, cluster == 0 ? 0u : 1u};
    expect(cuLaunchKernelEx(&config, f, nullptr, nullptr), expected, what);
    CHECK(cuCtxSynchronize());
  };
  tried("no cluster", CUDA_SUCCESS, "", 3, 0);
  tried("clusters of one", CUDA_SUCCESS, "", 3, 1);
  tried("clusters of two", CUDA_SUCCESS, "", 4, 2);
  tried("half a cluster", CUDA_ERROR_INVALID_CLUSTER_SIZE, "", 3, 2);
  tried("clusters of 16", CUDA_ERROR_INVALID_CLUSTER_SIZE, "", 16, 16);
  tried("a kernel for clusters of two", CUDA_SUCCESS, ".reqnctapercluster 2, 1, 1\n", 4, 0);
  tried("half a cluster of its own", CUDA_ERROR_INVALID_CLUSTER_SIZE, ".reqnctapercluster 2, 1, 1\n", 3, 0);
  tried("another cluster than its own", CUDA_ERROR_INVALID_CLUSTER_SIZE, ".reqnctapercluster 2, 1, 1\n", 4, 4);
  CUlaunchAttribute unknown = {};
  unknown.id = CU_LAUNCH_ATTRIBUTE_COOPERATIVE;
  const CUlaunchConfig config{1, 1, 1, 32, 1, 1, 0, nullptr, &unknown, 1};
  expect(cuLaunchKernelEx(&config, gpu.load(head + body, "k"), nullptr, nullptr), CUDA_ERROR_INVALID_VALUE, "an attribute that is not known");
}

}  // namespace

int main() {
  return run_checks([](Gpu& gpu) {
    encodes(gpu);
    launches(gpu);
  });
}
