// run_hopper PTX KERNEL [nomap]: runs one kernel of kernels/hopper.cu and compares with plain loops; with nomap its tensor map was never encoded.
// Exit status 0: right, 1: wrong numbers, 2: an error of the driver.
#include <cstring>

#include "support.h"

namespace {

bool without_map = false;

CUtensorMap map_of(CUdeviceptr base, CUtensorMapDataType type, unsigned element, unsigned columns, unsigned rows, unsigned box_rows,
                   CUtensorMapSwizzle swizzle) {
  CUtensorMap map{};
  if (without_map) return map;
  const cuuint64_t dims[] = {columns, rows}, strides[] = {cuuint64_t{columns} * element};
  const cuuint32_t box[] = {columns, box_rows}, steps[] = {1, 1};
  CHECK(cuTensorMapEncodeTiled(&map, type, 2, reinterpret_cast<void*>(base), dims, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle,
                               CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE));
  return map;
}

void launch(CUfunction f, unsigned blocks, unsigned threads, unsigned shared, std::vector<void*> arguments, unsigned cluster = 1) {
  CUlaunchAttribute attributes[2] = {};
  attributes[0].id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
  attributes[0].value.programmaticStreamSerializationAllowed = 1;
  attributes[1].id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
  attributes[1].value.clusterDim.x = cluster;
  attributes[1].value.clusterDim.y = attributes[1].value.clusterDim.z = 1;
  const CUlaunchConfig config{blocks, 1, 1, threads, 1, 1, shared, nullptr, attributes, 2};
  CHECK(cuLaunchKernelEx(&config, f, arguments.data(), nullptr));
  CHECK(cuCtxSynchronize());
}

/// Sums of the 192 rows of 64 columns, by `copies` blocks that each find all of them.
bool sums(Gpu& gpu, CUfunction f, unsigned threads, unsigned box_rows, unsigned copies) {
  Random random(1);
  std::vector<std::uint16_t> in;
  std::vector<float> expected(std::size_t{64} * copies, 0);
  for (int n = 0; n < 192 * 64; n++) {
    const float v = random.value();
    in.push_back(bf16(v));
    for (unsigned c = 0; c < copies; c++) expected[c * 64 + static_cast<unsigned>(n) % 64] += v;
  }
  const CUdeviceptr source = gpu.upload(in);
  CUdeviceptr out = gpu.empty(256 * copies);
  CUtensorMap map = map_of(source, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, 64, 192, box_rows, CU_TENSOR_MAP_SWIZZLE_128B);
  launch(f, copies, threads, 2 * 32 * 128, {&map, &out}, copies);
  return same(gpu.download<float>(out, expected.size()), expected);
}

bool scatter(Gpu& gpu, CUfunction f) {
  Random random(2);
  std::vector<float> in(128 * 64), expected;
  for (float& v : in) expected.push_back(2 * (v = random.value()));
  CUdeviceptr source = gpu.upload(in);
  const CUdeviceptr out = gpu.empty(128 * 64 * 4);
  CUtensorMap map = map_of(out, CU_TENSOR_MAP_DATA_TYPE_FLOAT32, 4, 64, 128, 32, CU_TENSOR_MAP_SWIZZLE_NONE);
  launch(f, 1, 128, 32 * 64 * 4, {&map, &source});
  return same(gpu.download<float>(out, expected.size()), expected);
}

bool gather(Gpu& gpu, CUfunction f) {
  std::vector<float> in(64 * 4), expected(32 * 4);
  for (std::size_t n = 0; n < in.size(); n++) in[n] = static_cast<float>(n);
  std::vector<int> index;
  for (int n = 0; n < 32; n++) index.push_back(n * 7 % 64);
  for (std::size_t n = 0; n < 32; n++) std::memcpy(&expected[4 * n], &in[4 * static_cast<std::size_t>(index[31 - n])], 16);
  CUdeviceptr source = gpu.upload(in), indices = gpu.upload(index), out = gpu.empty(32 * 16);
  launch(f, 1, 64, 0, {&source, &indices, &out});
  return same(gpu.download<float>(out, expected.size()), expected);
}

bool relay(Gpu& gpu, CUfunction f) {
  std::vector<float> in(128), expected(128);
  for (std::size_t n = 0; n < 128; n++) in[n] = static_cast<float>(n);
  for (std::size_t n = 0; n < 128; n++) expected[n] = in[n / 32 * 32 + 31 - n % 32] + 1;
  CUdeviceptr source = gpu.upload(in), out = gpu.empty(512);
  launch(f, 1, 64, 0, {&source, &out});
  return same(gpu.download<float>(out, 128), expected);
}

bool total(Gpu& gpu, CUfunction f) {
  Random random(3);
  std::vector<float> in(3 * 512), expected(4, 1);
  for (std::size_t n = 0; n < in.size(); n++) expected[n % 128 / 32] += in[n] = random.value();
  CUdeviceptr source = gpu.upload(in), out = gpu.upload(std::vector<float>(4, 1));
  launch(f, 3, 128, 0, {&source, &out});
  return same(gpu.download<float>(out, 4), expected);
}

}  // namespace

int main(int count, char** arguments) {
  without_map = count > 3 && std::strcmp(arguments[3], "nomap") == 0;
  return run_kernel(count, arguments, [](Gpu& gpu, const std::string& name, CUfunction f) {
    return name == "ring"      ? sums(gpu, f, 96, 32, 1)
           : name == "pair"    ? sums(gpu, f, 32, 16, 2)
           : name == "scatter" ? scatter(gpu, f)
           : name == "gather"  ? gather(gpu, f)
           : name == "relay"   ? relay(gpu, f)
                               : total(gpu, f);
  });
}
