// Tensor copies against plain loops: boxes inside, at and beyond the edges of tensors of 1 to 5 dimensions, every swizzle, element strides, in both
// directions.
#include "copies.h"

namespace {

void check_load(Gpu& gpu, const Tensor& t, const std::string& name, const std::string& text, const std::string& rest) {
  const Bytes in = random_bytes(t.bytes(), 1);
  const CUdeviceptr source = gpu.upload(in), out = gpu.empty(t.box_bytes());
  CUtensorMap map = encode(t, source);
  run(gpu, loading(t, text + " [%box], [%map, " + coordinates(t) + "], [%bar]" + rest + ";"), map, out, t.box_bytes());
  Bytes expected(t.box_bytes());
  t.each([&](unsigned to, std::int64_t from) {
    for (unsigned b = 0; b < t.element && from >= 0; b++) expected[to + b] = in[static_cast<std::size_t>(from) + b];
  });
  compare(name, gpu.download<u8>(out, t.box_bytes()), expected);
}

void check_multicast(Gpu& gpu, const Tensor& t, const std::string& name, const std::string& text, const std::string& rest) {
  const Bytes in = random_bytes(t.bytes(), 1);
  const CUdeviceptr source = gpu.upload(in), out = gpu.empty(2 * t.box_bytes());
  CUtensorMap map = encode(t, source);
  run(gpu, multicasting(t, text + " [%box], [%map, " + coordinates(t) + "], [%bar], %mask" + rest + ";"), map, out, t.box_bytes(), 2);
  Bytes expected(2 * t.box_bytes());
  t.each([&](unsigned to, std::int64_t from) {
    for (unsigned b = 0; b < t.element && from >= 0; b++) expected[to + b] = expected[t.box_bytes() + to + b] = in[static_cast<std::size_t>(from) + b];
  });
  compare(name, gpu.download<u8>(out, 2 * t.box_bytes()), expected);
}

void check_store(Gpu& gpu, const Tensor& t, const std::string& name, const std::string& text, const std::string& rest) {
  const Bytes in = random_bytes(t.box_bytes(), 2), before = random_bytes(t.bytes(), 3);
  const CUdeviceptr source = gpu.upload(in), to = gpu.upload(before);
  CUtensorMap map = encode(t, to);
  run(gpu, storing(t, text + " [%map, " + coordinates(t) + "], [%box]" + rest + ";"), map, source, t.box_bytes());
  Bytes expected = before;
  t.each([&](unsigned from, std::int64_t where) {
    for (unsigned b = 0; b < t.element && where >= 0; b++) expected[static_cast<std::size_t>(where) + b] = in[from + b];
  });
  compare(name, gpu.download<u8>(to, t.bytes()), expected);
}

/// Adds halves, small enough for every sum to be exact, to those that are there.
void check_add(Gpu& gpu, Tensor t, const std::string& name, const std::string& text) {
  const auto values = [&](std::uint64_t bytes, unsigned seed) {
    Random random(seed);
    Bytes out(bytes);
    for (std::size_t n = 0; n + t.element <= bytes; n += t.element) {
      const float v = random.value();
      unsigned bits;
      std::memcpy(&bits, &v, 4);
      if (t.element == 2) bits >>= 16;
      std::memcpy(&out[n], &bits, t.element);
    }
    return out;
  };
  const auto number = [&](const u8* at) {
    unsigned bits = 0;
    std::memcpy(&bits, at, t.element);
    if (t.element == 2) bits <<= 16;
    float v;
    std::memcpy(&v, &bits, 4);
    return v;
  };
  const Bytes in = values(t.box_bytes(), 4), before = values(t.bytes(), 5);
  const CUdeviceptr source = gpu.upload(in), to = gpu.upload(before);
  CUtensorMap map = encode(t, to);
  run(gpu, storing(t, text + " [%map, " + coordinates(t) + "], [%box];"), map, source, t.box_bytes());
  Bytes expected = before;
  t.each([&](unsigned from, std::int64_t where) {
    if (where < 0) return;
    const float sum = number(&in[from]) + number(&before[static_cast<std::size_t>(where)]);
    unsigned bits;
    std::memcpy(&bits, &sum, 4);
    if (t.element == 2) bits >>= 16;
    std::memcpy(&expected[static_cast<std::size_t>(where)], &bits, t.element);
  });
  compare(name, gpu.download<u8>(to, t.bytes()), expected);
}

std::vector<Tensor> tensors() {
  const auto bf16 = CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
  const auto none = CU_TENSOR_MAP_SWIZZLE_NONE, b32 = CU_TENSOR_MAP_SWIZZLE_32B, b64 = CU_TENSOR_MAP_SWIZZLE_64B, b128 = CU_TENSOR_MAP_SWIZZLE_128B;
  return {
      {CU_TENSOR_MAP_DATA_TYPE_UINT8, 1, {500}, {256}, {1}, {}, none, {100}},
      {CU_TENSOR_MAP_DATA_TYPE_FLOAT32, 4, {500}, {128}, {1}, {}, none, {-3}},
      {bf16, 2, {64, 40}, {64, 16}, {1, 1}, {0}, b128, {0, 8}},
      {bf16, 2, {64, 40}, {64, 16}, {1, 1}, {32}, b128, {0, 30}},
      {bf16, 2, {60, 40}, {64, 16}, {1, 1}, {8}, b128, {0, -5}},
      {bf16, 2, {64, 40}, {32, 16}, {1, 1}, {0}, b64, {40, 3}},
      {bf16, 2, {64, 40}, {16, 24}, {1, 1}, {16}, b32, {-8, 3}},
      {CU_TENSOR_MAP_DATA_TYPE_UINT8, 1, {256, 20}, {128, 8}, {1, 1}, {0}, b128, {128, 15}},
      {CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 2, {72, 20}, {24, 7}, {1, 1}, {0}, none, {50, 2}},
      {CU_TENSOR_MAP_DATA_TYPE_FLOAT32, 4, {32, 9, 5}, {32, 4, 2}, {1, 1, 1}, {0, 64}, b128, {0, 7, 4}},
      {bf16, 2, {64, 9, 5}, {64, 8, 3}, {1, 2, 1}, {0, 0}, b128, {0, 2, -1}},
      {bf16, 2, {64, 3, 20, 2}, {64, 1, 16, 1}, {1, 1, 1, 1}, {0, 0, 0}, b128, {0, 2, 12, 1}},
      {bf16, 2, {64, 3, 20, 2}, {32, 2, 8, 2}, {1, 1, 3, 1}, {0, 16, 0}, b64, {-8, 2, 12, 1}},
      {bf16, 2, {96, 3, 40, 2}, {32, 1, 24, 1}, {1, 1, 1, 1}, {0, 0, 0}, b64, {64, 2, 30, 1}},
      {bf16, 2, {80, 30, 3, 2}, {32, 16, 1, 1}, {1, 1, 1, 1}, {0, 0, 0}, b64, {64, 20, 2, 1}},
      {bf16, 2, {16, 3, 5, 4, 3}, {16, 2, 3, 2, 2}, {1, 1, 1, 1, 1}, {0, 0, 0, 0}, b32, {0, 2, 3, -1, 2}},
      {CU_TENSOR_MAP_DATA_TYPE_FLOAT32, 4, {8, 3, 5, 4, 3}, {8, 2, 3, 4, 2}, {1, 1, 1, 2, 1}, {0, 0, 0, 0}, none, {0, 0, 0, 0, 0}},
  };
}

void check_copies(Gpu& gpu) {
  int number = 0;
  for (const Tensor& t : tensors()) {
    const std::string name = "tensor " + std::to_string(number++) + ": ", rank = std::to_string(t.rank()) + "d";
    const std::string load = "cp.async.bulk.tensor." + rank + ".shared::cluster.global";
    check_load(gpu, t, name + "load", load + ".mbarrier::complete_tx::bytes", "");
    check_load(gpu, t, name + "load with .tile", load + ".tile.mbarrier::complete_tx::bytes", "");
    check_load(gpu, t, name + "load with a hint", load + ".tile.mbarrier::complete_tx::bytes.L2::cache_hint", ", %policy");
    check_load(gpu, t, name + "load with a hint, without .tile", load + ".mbarrier::complete_tx::bytes.L2::cache_hint", ", %policy");
    check_multicast(gpu, t, name + "multicast", load + ".mbarrier::complete_tx::bytes.multicast::cluster", "");
    check_multicast(gpu, t, name + "multicast with .tile", load + ".tile.mbarrier::complete_tx::bytes.multicast::cluster", "");
    check_multicast(gpu, t, name + "multicast with a hint", load + ".tile.mbarrier::complete_tx::bytes.multicast::cluster.L2::cache_hint", ", %policy");
    check_multicast(gpu, t, name + "multicast with a hint, without .tile", load + ".mbarrier::complete_tx::bytes.multicast::cluster.L2::cache_hint",
                    ", %policy");
    check_load(gpu, t, name + "load of a cta", "cp.async.bulk.tensor." + rank + ".shared::cta.global.tile.mbarrier::complete_tx::bytes", "");
    const std::string store = "cp.async.bulk.tensor." + rank + ".global.shared::cta";
    check_store(gpu, t, name + "store", store + ".bulk_group", "");
    check_store(gpu, t, name + "store with .tile", store + ".tile.bulk_group", "");
    check_store(gpu, t, name + "store with a hint, without .tile", store + ".bulk_group.L2::cache_hint", ", %policy");
    check_store(gpu, t, name + "store with a hint", store + ".tile.bulk_group.L2::cache_hint", ", %policy");
    if (t.type == CU_TENSOR_MAP_DATA_TYPE_FLOAT32 || t.type == CU_TENSOR_MAP_DATA_TYPE_BFLOAT16)
      check_add(gpu, t, name + "add", "cp.reduce.async.bulk.tensor." + rank + ".global.shared::cta.add.tile.bulk_group");
  }
}

}  // namespace

int main() { return run_checks(check_copies); }
