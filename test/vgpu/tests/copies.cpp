// Bulk and tensor copies against plain loops: boxes inside, at and beyond the edges of tensors of 1 to 5 dimensions, every swizzle, element strides, in both
// directions. The formula of the swizzle here works on rows of the span, not on address bits.
#include <cstdint>
#include <cstring>
#include <string>

#include "support.h"

namespace {

using u8 = std::uint8_t;
using Bytes = std::vector<u8>;

struct Tensor {
  CUtensorMapDataType type;
  unsigned element;  // bytes
  std::vector<unsigned> dims, box, steps;
  std::vector<unsigned> padding;  // bytes behind each row, plane, …
  CUtensorMapSwizzle swizzle;
  std::vector<int> at;

  unsigned rank() const { return static_cast<unsigned>(dims.size()); }
  std::vector<std::uint64_t> strides() const {
    std::vector<std::uint64_t> out;
    std::uint64_t stride = element;
    for (unsigned d = 0; d + 1 < rank(); d++) out.push_back(stride = stride * dims[d] + padding[d]);
    return out;
  }
  std::uint64_t bytes() const { return rank() == 1 ? dims[0] * element : strides().back() * dims.back(); }
  std::vector<unsigned> taken() const {  // elements of the box along each dimension
    std::vector<unsigned> out;
    for (unsigned d = 0; d < rank(); d++) out.push_back(d == 0 ? box[d] : (box[d] + steps[d] - 1) / steps[d]);
    return out;
  }
  unsigned box_bytes() const {
    unsigned out = element;
    for (unsigned n : taken()) out *= n;
    return out;
  }
  /// Where byte `offset` of the dense box lies.
  unsigned placed(unsigned offset) const {
    if (swizzle == CU_TENSOR_MAP_SWIZZLE_NONE) return offset;
    const unsigned span = swizzle == CU_TENSOR_MAP_SWIZZLE_32B ? 32 : swizzle == CU_TENSOR_MAP_SWIZZLE_64B ? 64 : 128;
    const unsigned row = offset / span, column = offset % span / 16, columns = span / 16;
    return row * span + (column ^ row * span / 128 % columns) * 16 + offset % 16;
  }
  /// f(offset in shared memory, offset in the tensor, or -1) for each element of the box.
  template <class F>
  void each(F f) const {
    const auto counts = taken();
    const auto steps_bytes = strides();
    for (unsigned n = 0; n < box_bytes() / element; n++) {
      unsigned left = n;
      bool inside = true;
      std::int64_t where = 0;
      for (unsigned d = 0; d < rank(); d++) {
        const std::int64_t c = at[d] + static_cast<std::int64_t>(left % counts[d]) * (d == 0 ? 1 : steps[d]);
        left /= counts[d];
        if (c < 0 || c >= dims[d]) inside = false;
        where += c * static_cast<std::int64_t>(d == 0 ? element : steps_bytes[d - 1]);
      }
      f(placed(n * element), inside ? where : -1);
    }
  }
};

CUtensorMap encode(const Tensor& t, CUdeviceptr base) {
  alignas(64) CUtensorMap map;
  const std::vector<cuuint64_t> dims(t.dims.begin(), t.dims.end());
  const auto strides = t.strides();
  const std::vector<cuuint64_t> all(strides.begin(), strides.end());
  CHECK(cuTensorMapEncodeTiled(&map, t.type, t.rank(), reinterpret_cast<void*>(base), dims.data(), all.data(), t.box.data(), t.steps.data(),
                               CU_TENSOR_MAP_INTERLEAVE_NONE, t.swizzle, CU_TENSOR_MAP_L2_PROMOTION_NONE, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE));
  return map;
}

const std::string kHead = ".version 9.0\n.target sm_90a\n.address_size 64\n.extern .shared .align 1024 .b8 box[];\n";
const std::string kRegisters =
    ".reg .pred %p, %done;\n.reg .b32 %tid, %box, %bar, %n, %w, %c<5>;\n.reg .b64 %map, %out, %policy, %x;\n"
    ".shared .align 8 .b8 bar[8];\n"
    "mov.u32 %tid, %tid.x;\nmov.u32 %box, box;\nmov.u32 %bar, bar;\nmov.b64 %policy, 0x14F0000000000000;\n";

std::string coordinates(const Tensor& t) {
  std::string out = "{";
  for (unsigned d = 0; d < t.rank(); d++) out += (d == 0 ? "%c" : ", %c") + std::to_string(d);
  return out + "}";
}

std::string set_coordinates(const Tensor& t) {
  std::string out;
  for (unsigned d = 0; d < t.rank(); d++) out += "mov.u32 %c" + std::to_string(d) + ", " + std::to_string(t.at[d]) + ";\n";
  return out;
}

/// Loads the box and copies the shared memory to `out`, word by word. `forms`: how the load is written.
std::string loading(const Tensor& t, const std::string& load) {
  return kHead + ".visible .entry k(.param .align 64 .b8 map[128], .param .u64 out)\n{\n" + kRegisters +
         "mov.b64 %map, map;\ncvta.param.u64 %map, %map;\nld.param.u64 %out, [out];\n" + set_coordinates(t) +
         "setp.ne.u32 %p, %tid, 0;\n@%p bra READY;\n"
         "prefetch.tensormap [%map];\nmbarrier.init.shared::cta.b64 [%bar], 1;\nfence.mbarrier_init.release.cluster;\n"
         "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%bar], " +
         std::to_string(t.box_bytes()) + ";\n" + load + "\nREADY:\nbar.sync 0;\n" +
         "WAIT:\nmbarrier.try_wait.parity.shared::cta.b64 %done, [%bar], 0;\n@%done bra COPY;\nbra.uni WAIT;\n"
         "COPY:\nshl.b32 %n, %tid, 2;\nLOOP:\nsetp.ge.u32 %p, %n, " +
         std::to_string(t.box_bytes()) +
         ";\n@%p bra END;\nadd.s32 %w, %box, %n;\nld.shared.u32 %w, [%w];\ncvt.u64.u32 %x, %n;\nadd.s64 %x, %x, %out;\nst.global.u32 [%x], %w;\n"
         "add.s32 %n, %n, 512;\nbra.uni LOOP;\nEND:\nret;\n}\n";
}

/// Block 0 of a cluster of two loads the box for both; each copies its shared memory to its half of `out`.
std::string multicasting(const Tensor& t, const std::string& load) {
  std::string ptx = loading(t, "setp.ne.u32 %p, %w, 0;\n@%p bra READY;\nmov.u16 %mask, 3;\n" + load);
  const auto put = [&](const std::string& before, const std::string& text) { ptx.insert(ptx.find(before), text); };
  put("setp.ne.u32 %p, %tid, 0;",
      ".reg .b16 %mask;\nmov.u32 %w, %cluster_ctarank;\nmul.wide.u32 %x, %w, " + std::to_string(t.box_bytes()) + ";\nadd.s64 %out, %out, %x;\n" +
          "setp.ne.u32 %p, %tid, 0;\n@%p bra SET;\nmbarrier.init.shared::cta.b64 [%bar], 1;\nfence.mbarrier_init.release.cluster;\nSET:\n"
          "barrier.cluster.arrive;\nbarrier.cluster.wait;\n");
  const std::string again = "mbarrier.init.shared::cta.b64 [%bar], 1;\nfence.mbarrier_init.release.cluster;\n";
  ptx.erase(ptx.rfind(again), again.size());
  put("END:\nret;", "END:\nbarrier.cluster.arrive;\nbarrier.cluster.wait;\n");
  ptx.erase(ptx.rfind("END:\nret;"), 5);
  put("{\n.reg .pred", ".explicitcluster\n.reqnctapercluster 2, 1, 1\n");
  return ptx;
}

/// Fills the shared memory from `out` and stores the box.
std::string storing(const Tensor& t, const std::string& store) {
  return kHead + ".visible .entry k(.param .align 64 .b8 map[128], .param .u64 out)\n{\n" + kRegisters +
         "mov.b64 %map, map;\ncvta.param.u64 %map, %map;\nld.param.u64 %out, [out];\n" + set_coordinates(t) +
         "shl.b32 %n, %tid, 2;\nLOOP:\nsetp.ge.u32 %p, %n, " + std::to_string(t.box_bytes()) +
         ";\n@%p bra STORE;\ncvt.u64.u32 %x, %n;\nadd.s64 %x, %x, %out;\nld.global.u32 %w, [%x];\nadd.s32 %bar, %box, %n;\nst.shared.u32 [%bar], %w;\n"
         "add.s32 %n, %n, 512;\nbra.uni LOOP;\n"
         "STORE:\nfence.proxy.async.shared::cta;\nbar.sync 0;\nsetp.ne.u32 %p, %tid, 0;\n@%p bra END;\n" +
         store + "\ncp.async.bulk.commit_group;\ncp.async.bulk.wait_group.read 0;\ncp.async.bulk.wait_group 0;\nEND:\nret;\n}\n";
}

int failures = 0;

void compare(const std::string& what, const Bytes& got, const Bytes& expected) {
  for (std::size_t n = 0; n < expected.size(); n++) {
    if (got[n] == expected[n]) continue;
    std::printf("%s: byte %zu is %d, expected %d\n", what.c_str(), n, got[n], expected[n]);
    failures++;
    return;
  }
}

Bytes random_bytes(std::uint64_t count, unsigned seed) {
  Random random(seed);
  Bytes out(count);
  for (u8& b : out) b = static_cast<u8>(random.next() >> 8);
  return out;
}

void run(Gpu& gpu, const std::string& ptx, CUtensorMap& map, CUdeviceptr out, unsigned shared, unsigned blocks = 1) {
  CUfunction f = gpu.load(ptx, "k");
  void* arguments[] = {&map, &out};
  CHECK(cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, static_cast<int>(shared)));
  CHECK(cuLaunchKernel(f, blocks, 1, 1, 128, 1, 1, shared, nullptr, arguments, nullptr));
  CHECK(cuCtxSynchronize());
}

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

/// Contiguous bytes; the copy out of shared memory goes back by the same way.
void check_bulk(Gpu& gpu) {
  const unsigned bytes = 2048;
  const Tensor t{CU_TENSOR_MAP_DATA_TYPE_UINT8, 1, {bytes}, {bytes}, {1}, {}, CU_TENSOR_MAP_SWIZZLE_NONE, {0}};
  const std::string size = std::to_string(bytes);
  const Bytes in = random_bytes(bytes, 6);
  CUtensorMap nothing{};
  for (const std::string load :
       {"cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%box], [%x], " + size + ", [%bar];",
        "cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes [%box], [%x], " + size + ", [%bar];",
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%box], [%x], " + size + ", [%bar], %policy;"}) {
    // The first half of `out` is the source, the second the target.
    Bytes both = in;
    both.resize(2 * bytes);
    const CUdeviceptr out = gpu.upload(both);
    std::string ptx = loading(t, "ld.param.u64 %x, [out];\n" + load);
    ptx.replace(ptx.find("prefetch.tensormap [%map];"), 26, "");
    ptx.replace(ptx.find("COPY:\n"), 6, "COPY:\nadd.s64 %out, %out, " + size + ";\n");
    run(gpu, ptx, nothing, out, bytes);
    const Bytes got = gpu.download<u8>(out, 2 * bytes);
    compare(load, Bytes(got.begin() + bytes, got.end()), in);
  }
  {
    const std::string both = "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%box], [%x], " + size + ", [%bar], %mask;";
    Bytes all = in;
    all.resize(3 * bytes);
    const CUdeviceptr out = gpu.upload(all);
    std::string ptx = multicasting(t, "ld.param.u64 %x, [out];\n" + both);
    ptx.replace(ptx.find("prefetch.tensormap [%map];"), 26, "");
    ptx.replace(ptx.find("COPY:\n"), 6, "COPY:\nadd.s64 %out, %out, " + size + ";\n");
    run(gpu, ptx, nothing, out, bytes, 2);
    const Bytes got = gpu.download<u8>(out, 3 * bytes);
    compare(both, Bytes(got.begin() + bytes, got.begin() + 2 * bytes), in);
    compare(both, Bytes(got.begin() + 2 * bytes, got.end()), in);
  }
  for (const std::string store : {"cp.async.bulk.global.shared::cta.bulk_group [%x], [%box], " + size + ";",
                                  "cp.async.bulk.global.shared::cta.bulk_group.L2::cache_hint [%x], [%box], " + size + ", %policy;"}) {
    Bytes both = in;
    both.resize(2 * bytes);
    const CUdeviceptr out = gpu.upload(both);
    run(gpu, storing(t, "add.s64 %x, %out, " + size + ";\n" + store), nothing, out, bytes);
    const Bytes got = gpu.download<u8>(out, 2 * bytes);
    compare(store, Bytes(got.begin() + bytes, got.end()), in);
  }
  for (const std::string type : {"u32", "u64", "f32"}) {
    std::vector<unsigned> numbers(bytes / 2), expected(bytes / 4);
    for (unsigned n = 0; n < numbers.size(); n++) {
      const float v = static_cast<float>(n % 100);
      std::memcpy(&numbers[n], &v, 4);
      if (type != "f32") numbers[n] = n * (type == "u64" && n % 2 == 1 ? 1 : 0x01000193u);
    }
    for (unsigned n = 0; n < expected.size(); n++) {
      if (type == "f32") {
        const float v = static_cast<float>(n % 100 + (n + expected.size()) % 100);
        std::memcpy(&expected[n], &v, 4);
      } else if (type == "u32") {
        expected[n] = numbers[n] + numbers[n + expected.size()];
      } else if (n % 2 == 0) {
        std::uint64_t a, b;
        std::memcpy(&a, &numbers[n], 8);
        std::memcpy(&b, &numbers[n + expected.size()], 8);
        a += b;
        std::memcpy(&expected[n], &a, 8);
      }
    }
    const CUdeviceptr out = gpu.upload(numbers);
    const std::string add = "cp.reduce.async.bulk.global.shared::cta.bulk_group.add." + type + " [%x], [%box], " + size + ";";
    run(gpu, storing(t, "add.s64 %x, %out, " + size + ";\n" + add), nothing, out, bytes);
    Bytes bytes_expected(bytes);
    std::memcpy(bytes_expected.data(), expected.data(), bytes);
    const Bytes got = gpu.download<u8>(out, 2 * bytes);
    compare(add, Bytes(got.begin() + bytes, got.end()), bytes_expected);
  }
}

}  // namespace

int main() {
  try {
    Gpu gpu;
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
    check_bulk(gpu);
    std::printf("%d failures\n", failures);
    return failures == 0 ? 0 : 1;
  } catch (const std::exception& error) {
    std::printf("%s\n", error.what());
    return 2;
  }
}
