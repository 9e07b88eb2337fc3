// Matrix descriptors: where the elements of an operand of wgmma lie in shared memory.
//
// PTX ISA 9.7.15.5.1.2.2 "Matrix Descriptor Format":
//   bits 0-13 start address, 16-29 leading and 32-45 stride dimension byte offset, each (x & 0x3ffff) >> 4
//   bits 49-51 base offset: (address where the repeating pattern begins >> 7) & 7; 0 where that is a multiple of 1024, 512, 256 bytes for 128, 64, 32
//   bits 62-63 swizzle: 0 none, 1 128 bytes, 2 64 bytes, 3 32 bytes
//
// PTX ISA 9.7.15.5.1.2 "Shared Memory Matrix Layout". Everything is made of chunks of 16 bytes; S is the span of the swizzle in bytes, 16 without.
// "Row" is a row of A or a column of B.
//   K-major: eight rows are a group, S bytes each, one after the other; groups are `stride` apart. Chunk c along K lies 16 c bytes into the row; without
//     swizzle a row has one chunk, and the next one along K is `leading` away.
//   MN-major (16-bit types): for each k, S bytes of neighbouring rows; eight k are a group, one after the other. With swizzle the next rows are `leading`
//     and the next eight k `stride` away, without it the next rows are `stride` and the next eight k `leading` away.
// Swizzled: the number of the chunk within S is combined (xor) with the number of the 128-byte line within the pattern, which is eight lines of S bytes long.
#pragma once
#include "async.h"

namespace vgpu {

struct Descriptor {
  u32 start = 0;
  u32 leading = 0;
  u32 stride = 0;
  u32 base = 0;  // bytes, from the multiple of 1024 below to where the pattern begins
  Swizzle swizzle = Swizzle::kNone;
  u64 reserved = 0;  // bits that must be 0

  explicit constexpr Descriptor(u64 bits)
      : start(static_cast<u32>(bits & 0x3fff) << 4),
        leading(static_cast<u32>(bits >> 16 & 0x3fff) << 4),
        stride(static_cast<u32>(bits >> 32 & 0x3fff) << 4),
        base(static_cast<u32>(bits >> 49 & 7) << 7),
        swizzle(bits >> 62 == 0 ? Swizzle::kNone : static_cast<Swizzle>(4 - (bits >> 62))),
        reserved(bits & 0x3ff1c000c000c000) {}

  constexpr u32 span() const { return u32{16} << static_cast<u32>(swizzle); }
  constexpr u32 pattern() const { return 8 * span(); }

  constexpr u32 place(u32 address) const { return swizzled(address - base, swizzle) + base; }

  /// The 16 bytes of row `row` that begin `chunk` * 16 bytes along K.
  constexpr u32 k_major(u32 row, u32 chunk) const {
    return place(start + row / 8 * stride + row % 8 * span() + chunk * (swizzle == Swizzle::kNone ? leading : 16));
  }

  /// The 16 bytes at `k` of the eight rows from `row` on, a multiple of 8.
  constexpr u32 mn_major(u32 k, u32 row) const {
    const u32 rows = span() / 2;
    const bool plain = swizzle == Swizzle::kNone;
    return place(start + row / rows * (plain ? stride : leading) + k / 8 * (plain ? leading : stride) + k % 8 * span() + row % rows * 2);
  }
};

}  // namespace vgpu
