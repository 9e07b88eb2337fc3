// run_sample PTX KERNEL: runs one kernel of kernels/samples.cu and compares with plain loops. Exit status 0: right, 1: wrong numbers, 2: an error of the driver.

#include "support.h"

namespace {

bool matmul(Gpu& gpu, CUfunction f) {
  Random random(1);
  std::vector<float> a(64 * 64), b(64 * 8), expected(64 * 8, 0);
  std::vector<std::uint16_t> a16, b16;
  for (float& v : a) a16.push_back(bf16(v = random.value()));
  for (float& v : b) b16.push_back(bf16(v = random.value()));
  for (int r = 0; r < 64; r++)
    for (int k = 0; k < 64; k++)
      for (int c = 0; c < 8; c++) expected[r * 8 + c] += a[r * 64 + k] * b[k * 8 + c];  // multiples of 1/16 below 2^10: exact
  CUdeviceptr pa = gpu.upload(a16), pb = gpu.upload(b16), pc = gpu.empty(64 * 8 * 4);
  gpu.launch(f, 1, 128, {&pa, &pb, &pc});
  return same(gpu.download<float>(pc, 64 * 8), expected);
}

bool block_sum(Gpu& gpu, CUfunction f) {
  Random random(2);
  int n = 300;
  std::vector<float> in(static_cast<std::size_t>(n)), expected(3, 0);
  for (int i = 0; i < n; i++) expected[static_cast<std::size_t>(i / 128)] += in[static_cast<std::size_t>(i)] = random.value();
  CUdeviceptr pin = gpu.upload(in), pout = gpu.empty(12);
  gpu.launch(f, 3, 128, {&pin, &pout, &n});
  return same(gpu.download<float>(pout, 3), expected);
}

bool warp_reverse(Gpu& gpu, CUfunction f) {
  std::vector<float> in(32), expected(32);
  for (std::size_t n = 0; n < 32; n++) expected[31 - n] = in[n] = static_cast<float>(n);
  CUdeviceptr pin = gpu.upload(in), pout = gpu.empty(128);
  gpu.launch(f, 1, 32, {&pin, &pout});
  return same(gpu.download<float>(pout, 32), expected);
}

bool last_block(Gpu& gpu, CUfunction f) {
  std::vector<float> in(7), expected(1, 0);
  for (std::size_t n = 0; n < 7; n++) expected[0] += 2 * (in[n] = static_cast<float>(n + 1));
  CUdeviceptr pin = gpu.upload(in), partial = gpu.empty(28), finished = gpu.upload(std::vector<unsigned>{0}), out = gpu.empty(4);
  gpu.launch(f, 7, 32, {&pin, &partial, &finished, &out});
  return same(gpu.download<float>(out, 1), expected);
}

}  // namespace

int main(int count, char** arguments) {
  return run_kernel(count, arguments, [](Gpu& gpu, const std::string& name, CUfunction f) {
    return name == "matmul" ? matmul(gpu, f) : name == "block_sum" ? block_sum(gpu, f) : name == "warp_reverse" ? warp_reverse(gpu, f) : last_block(gpu, f);
  });
}
