// Shared memory as bulk copies into it leave it, and what they add. PTX ISA 9.7.9.27.
#include <algorithm>

#include "bulk.h"
#include "lanes.h"
#include "tensor_map.h"

namespace vgpu {

void begin_async_write(Warp& w, const Instruction& i, int lane, Block& block, u32 address, u32 bytes, Swizzle mode) {
  const u32 size = block.launch->shared_bytes;
  if (address >= size || bytes > size - address) {
    report(FindingKind::kOutOfBounds, w, i, u32{1} << lane,
           std::to_string(bytes) + " bytes at shared + " + hex(address) + ", the block has " + std::to_string(size) + " bytes");
  }
  std::fill_n(&block.shared[address], bytes, u8{0xff});
  if (!block.launch->checks) return;
  const std::vector<u32> clock = clock_of(w, lane);
  for (u32 at = address; at < address + bytes; at++) {
    SharedByte& byte = block.shadow[at];
    const auto bad = [&](FindingKind kind, const std::string& what) {
      report(kind, w, i, u32{1} << lane,
             what + " at shared + " + hex(at) + ", last written by " + (byte.pending ? "a copy" : party(*block.cluster, byte.writer - 1u)) + " at " +
                 where(*block.launch, *byte.write));
    };
    if (byte.barrier) bad(FindingKind::kMbarrier, "a copy onto an mbarrier");
    if (byte.pending) bad(FindingKind::kSharedRace, "a copy onto one that has not landed");
    if (byte.writer != 0) {
      if (byte.writer != w.component + 1 && clock[byte.writer - 1u] <= byte.write_clock) bad(FindingKind::kSharedRace, "copy after write");
      check_proxy_fence(w, i, clock, w.proxy_fence.get(), byte, at);
    }
    if (at % 2 == 0) check_readers(w, i, block, lane, at, w.component);
    byte.pending = byte.initialised = 1;
    byte.generic = 0;
    byte.writer = 0;
    byte.write = &i;
  }
  for (u32 at = address / 16; at <= (address + bytes - 1) / 16; at++) {
    check_async_readers(w, i, block, lane, at);
    block.swizzles[at] = static_cast<u8>(mode);
  }
}

void end_async_write(Block& block, u32 address, u32 bytes, const Mbarrier& b) {
  if (!block.launch->checks) return;
  for (u32 at = address; at < address + bytes; at++) {
    SharedByte& byte = block.shadow[at];
    byte.pending = 0;
    byte.writer = static_cast<u16>(b.component + 1);
    byte.write_clock = block.cluster->clock[b.component];
  }
}

void reduce(u8* to, const u8* from, u32 bytes, int type) {
  const auto each = [&](auto zero, auto sum) {
    using T = decltype(zero);
    for (u32 n = 0; n < bytes; n += sizeof(T)) {
      T a, b;
      std::memcpy(&a, to + n, sizeof a);
      std::memcpy(&b, from + n, sizeof b);
      a = static_cast<T>(sum(a, b));
      std::memcpy(to + n, &a, sizeof a);
    }
  };
  const auto plain = [](auto a, auto b) { return a + b; };
  switch (static_cast<TensorType>(type)) {
    case TensorType::kF32: return each(float{}, plain);
    case TensorType::kU32:
    case TensorType::kS32: return each(u32{}, plain);
    case TensorType::kU64:
    case TensorType::kS64: return each(u64{}, plain);
    case TensorType::kF16: return each(u16{}, [](u16 a, u16 b) { return to16<false>(static_cast<double>(from16<false>(a)) + from16<false>(b)); });
    case TensorType::kBf16: return each(u16{}, [](u16 a, u16 b) { return to16<true>(static_cast<double>(from16<true>(a)) + from16<true>(b)); });
    default: throw std::runtime_error("the virtual GPU does not add elements of this type");
  }
}

}  // namespace vgpu
