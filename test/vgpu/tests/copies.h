// Kernels that copy one box, written for each instruction, and what they are compared with. The formula of the swizzle here works on rows of the span, not on
// address bits.
#pragma once
#include <cstdint>
#include <cstring>
#include <string>

#include "support.h"

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

inline CUtensorMap encode(const Tensor& t, CUdeviceptr base) {
  alignas(64) CUtensorMap map;
  const std::vector<cuuint64_t> dims(t.dims.begin(), t.dims.end());
  const auto strides = t.strides();
  const std::vector<cuuint64_t> all(strides.begin(), strides.end());
  CHECK(cuTensorMapEncodeTiled(&map, t.type, t.rank(), reinterpret_cast<void*>(base), dims.data(), all.data(), t.box.data(), t.steps.data(),
                               CU_TENSOR_MAP_INTERLEAVE_NONE, t.swizzle, CU_TENSOR_MAP_L2_PROMOTION_NONE, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE));
  return map;
}

inline const std::string kHead = ".version 9.0\n.target sm_90a\n.address_size 64\n.extern .shared .align 1024 .b8 box[];\n";
inline const std::string kRegisters =
    ".reg .pred %p, %done;\n.reg .b32 %tid, %box, %bar, %n, %w, %c<5>;\n.reg .b64 %map, %out, %policy, %x;\n"
    ".shared .align 8 .b8 bar[8];\n"
    "mov.u32 %tid, %tid.x;\nmov.u32 %box, box;\nmov.u32 %bar, bar;\nmov.b64 %policy, 0x14F0000000000000;\n";

inline std::string coordinates(const Tensor& t) {
  std::string out = "{";
  for (unsigned d = 0; d < t.rank(); d++) out += (d == 0 ? "%c" : ", %c") + std::to_string(d);
  return out + "}";
}

inline std::string set_coordinates(const Tensor& t) {
  std::string out;
  for (unsigned d = 0; d < t.rank(); d++) out += "mov.u32 %c" + std::to_string(d) + ", " + std::to_string(t.at[d]) + ";\n";
  return out;
}

/// Loads the box and copies the shared memory to `out`, word by word. `forms`: how the load is written.
inline std::string loading(const Tensor& t, const std::string& load) {
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
inline std::string multicasting(const Tensor& t, const std::string& load) {
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
inline std::string storing(const Tensor& t, const std::string& store) {
  return kHead + ".visible .entry k(.param .align 64 .b8 map[128], .param .u64 out)\n{\n" + kRegisters +
         "mov.b64 %map, map;\ncvta.param.u64 %map, %map;\nld.param.u64 %out, [out];\n" + set_coordinates(t) +
         "shl.b32 %n, %tid, 2;\nLOOP:\nsetp.ge.u32 %p, %n, " + std::to_string(t.box_bytes()) +
         ";\n@%p bra STORE;\ncvt.u64.u32 %x, %n;\nadd.s64 %x, %x, %out;\nld.global.u32 %w, [%x];\nadd.s32 %bar, %box, %n;\nst.shared.u32 [%bar], %w;\n"
         "add.s32 %n, %n, 512;\nbra.uni LOOP;\n"
         "STORE:\nfence.proxy.async.shared::cta;\nbar.sync 0;\nsetp.ne.u32 %p, %tid, 0;\n@%p bra END;\n" +
         store + "\ncp.async.bulk.commit_group;\ncp.async.bulk.wait_group.read 0;\ncp.async.bulk.wait_group 0;\nEND:\nret;\n}\n";
}

inline void compare(const std::string& what, const Bytes& got, const Bytes& expected) {
  for (std::size_t n = 0; n < expected.size(); n++) {
    if (got[n] == expected[n]) continue;
    std::printf("%s: byte %zu is %d, expected %d\n", what.c_str(), n, got[n], expected[n]);
    failures++;
    return;
  }
}

inline Bytes random_bytes(std::uint64_t count, unsigned seed) {
  Random random(seed);
  Bytes out(count);
  for (u8& b : out) b = static_cast<u8>(random.next() >> 8);
  return out;
}

inline void run(Gpu& gpu, const std::string& ptx, CUtensorMap& map, CUdeviceptr out, unsigned shared, unsigned blocks = 1) {
  CUfunction f = gpu.load(ptx, "k");
  void* arguments[] = {&map, &out};
  CHECK(cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, static_cast<int>(shared)));
  CHECK(cuLaunchKernel(f, blocks, 1, 1, 128, 1, 1, shared, nullptr, arguments, nullptr));
  CHECK(cuCtxSynchronize());
}
