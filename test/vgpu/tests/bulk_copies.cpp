// Bulk copies of contiguous bytes against plain loops, in both directions, to several blocks, and with additions.
#include "copies.h"

namespace {

constexpr unsigned kBytes = 2048;
const std::string kSize = std::to_string(kBytes);
/// The copy out of shared memory goes back by the same way.
const Tensor kRow{CU_TENSOR_MAP_DATA_TYPE_UINT8, 1, {kBytes}, {kBytes}, {1}, {}, CU_TENSOR_MAP_SWIZZLE_NONE, {0}};
CUtensorMap no_map{};

/// A kernel of the tensor copies, whose source are the first bytes of `out` and whose targets those behind them.
std::string behind_source(std::string ptx) {
  ptx.replace(ptx.find("prefetch.tensormap [%map];"), 26, "");
  ptx.replace(ptx.find("COPY:\n"), 6, "COPY:\nadd.s64 %out, %out, " + kSize + ";\n");
  return ptx;
}

/// What the kernel makes of parts of kBytes that lie behind the source: of `given`, or zeros beyond it.
std::vector<Bytes> parts_after(Gpu& gpu, const Bytes& given, unsigned parts, const std::string& ptx, unsigned blocks = 1) {
  Bytes all = given;
  all.resize((1 + parts) * kBytes);
  const CUdeviceptr out = gpu.upload(all);
  run(gpu, ptx, no_map, out, kBytes, blocks);
  const Bytes got = gpu.download<u8>(out, all.size());
  std::vector<Bytes> result;
  for (unsigned n = 1; n <= parts; n++) result.emplace_back(got.begin() + n * kBytes, got.begin() + (n + 1) * kBytes);
  return result;
}

void check_loads(Gpu& gpu, const Bytes& in) {
  const std::string form = "cp.async.bulk.shared::";
  for (const std::string load : {form + "cluster.global.mbarrier::complete_tx::bytes [%box], [%x], " + kSize + ", [%bar];",
                                 form + "cta.global.mbarrier::complete_tx::bytes [%box], [%x], " + kSize + ", [%bar];",
                                 form + "cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%box], [%x], " + kSize + ", [%bar], %policy;"})
    compare(load, parts_after(gpu, in, 1, behind_source(loading(kRow, "ld.param.u64 %x, [out];\n" + load)))[0], in);
  const std::string both = form + "cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%box], [%x], " + kSize + ", [%bar], %mask;";
  for (const Bytes& part : parts_after(gpu, in, 2, behind_source(multicasting(kRow, "ld.param.u64 %x, [out];\n" + both)), 2)) compare(both, part, in);
}

void check_stores(Gpu& gpu, const Bytes& in) {
  for (const std::string store : {"cp.async.bulk.global.shared::cta.bulk_group [%x], [%box], " + kSize + ";",
                                  "cp.async.bulk.global.shared::cta.bulk_group.L2::cache_hint [%x], [%box], " + kSize + ", %policy;"})
    compare(store, parts_after(gpu, in, 1, storing(kRow, "add.s64 %x, %out, " + kSize + ";\n" + store))[0], in);
}

void check_additions(Gpu& gpu) {
  for (const std::string type : {"u32", "u64", "f32"}) {
    std::vector<unsigned> numbers(kBytes / 2), expected(kBytes / 4);
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
    Bytes given(2 * kBytes), sums(kBytes);
    std::memcpy(given.data(), numbers.data(), 2 * kBytes);
    std::memcpy(sums.data(), expected.data(), kBytes);
    const std::string add = "cp.reduce.async.bulk.global.shared::cta.bulk_group.add." + type + " [%x], [%box], " + kSize + ";";
    compare(add, parts_after(gpu, given, 1, storing(kRow, "add.s64 %x, %out, " + kSize + ";\n" + add))[0], sums);
  }
}

}  // namespace

int main() {
  return run_checks([](Gpu& gpu) {
    const Bytes in = random_bytes(kBytes, 6);
    check_loads(gpu, in);
    check_stores(gpu, in);
    check_additions(gpu);
  });
}
