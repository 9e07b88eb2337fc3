// run_wgmma PTX KERNEL: runs one kernel of kernels/wgmma.cu and compares with plain loops. Exit status 0: right, 1: wrong numbers, 2: an error of the driver.

#include "support.h"

namespace {

std::vector<float> integers(Random& random, std::size_t count) {  // -1, 0, 1: every sum of 64 products is exact in bf16
  std::vector<float> values(count);
  for (float& v : values) v = static_cast<float>(static_cast<int>(random.next() >> 8) % 3 - 1);
  return values;
}

/// A tensor of rows of 64 bf16 in boxes of 64 rows, of all their columns or of half of them.
CUtensorMap map_of(Gpu& gpu, const std::vector<float>& values, bool halves = false) {
  std::vector<std::uint16_t> narrow;
  for (float v : values) narrow.push_back(bf16(v));
  CUtensorMap map{};
  const cuuint64_t dims[] = {64, values.size() / 64}, strides[] = {128};
  const cuuint32_t box[] = {halves ? 32u : 64u, 64}, steps[] = {1, 1};
  CHECK(cuTensorMapEncodeTiled(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, reinterpret_cast<void*>(gpu.upload(narrow)), dims, strides, box, steps,
                               CU_TENSOR_MAP_INTERLEAVE_NONE, halves ? CU_TENSOR_MAP_SWIZZLE_64B : CU_TENSOR_MAP_SWIZZLE_128B,
                               CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE));
  return map;
}

/// a [rows, 64] times b [64, columns], whose element (k, c) is b[k * along_k + c * along_c].
std::vector<float> times(const std::vector<float>& a, const std::vector<float>& b, std::size_t depth, std::size_t columns, std::size_t along_k,
                         std::size_t along_c) {
  std::vector<float> out(a.size() / depth * columns, 0);
  for (std::size_t n = 0; n < out.size(); n++) {
    for (std::size_t k = 0; k < depth; k++) out[n] += a[n / columns * depth + k] * b[k * along_k + n % columns * along_c];
  }
  return out;
}

bool chain(Gpu& gpu, CUfunction f) {
  Random random(1);
  const auto q = integers(random, 128 * 64), k = integers(random, 384 * 64), v = integers(random, 384 * 64);
  CUtensorMap maps[] = {map_of(gpu, q), map_of(gpu, k), map_of(gpu, v)};
  CUdeviceptr out = gpu.empty(128 * 64 * 4);
  void* arguments[] = {&maps[0], &maps[1], &maps[2], &out};
  constexpr unsigned kShared = 6 * 64 * 128;
  CHECK(cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, kShared));
  CHECK(cuLaunchKernel(f, 1, 1, 1, 384, 1, 1, kShared, nullptr, arguments, nullptr));
  CHECK(cuCtxSynchronize());
  return same(gpu.download<float>(out, 128 * 64), times(times(q, k, 64, 384, 1, 64), v, 384, 64, 64, 1));
}

bool narrow(Gpu& gpu, CUfunction f) {
  Random random(3);
  const auto q = integers(random, 64 * 64), k = integers(random, 64 * 64), v = integers(random, 64 * 64);
  CUtensorMap maps[] = {map_of(gpu, q, true), map_of(gpu, k, true), map_of(gpu, v, true)};
  CUdeviceptr out = gpu.empty(64 * 64 * 4);
  void* arguments[] = {&maps[0], &maps[1], &maps[2], &out};
  CHECK(cuLaunchKernel(f, 1, 1, 1, 128, 1, 1, 3 * 64 * 128, nullptr, arguments, nullptr));
  CHECK(cuCtxSynchronize());
  return same(gpu.download<float>(out, 64 * 64), times(times(q, k, 64, 64, 1, 64), v, 64, 64, 64, 1));
}

bool restage(Gpu& gpu, CUfunction f) {
  Random random(2);
  const auto a = integers(random, 64 * 64), b = integers(random, 64 * 64);
  CUdeviceptr pa = gpu.upload(a), pb = gpu.upload(b), out = gpu.empty(2 * 64 * 64 * 4);
  gpu.launch(f, 1, 128, {&pa, &pb, &out});
  auto expected = times(a, b, 64, 64, 64, 1);
  const auto transposed = times(a, b, 64, 64, 1, 64);
  expected.insert(expected.end(), transposed.begin(), transposed.end());
  return same(gpu.download<float>(out, expected.size()), expected);
}

}  // namespace

int main(int count, char** arguments) {
  return run_kernel(count, arguments, [](Gpu& gpu, const std::string& name, CUfunction f) {
    return name == "chain" ? chain(gpu, f) : name == "narrow" ? narrow(gpu, f) : restage(gpu, f);
  });
}
