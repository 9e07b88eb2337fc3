// What a warpgroup has issued and not finished. PTX ISA 9.7.15 "Asynchronous Warpgroup Level Matrix Multiply-Accumulate Instructions".
#pragma once
#include <deque>

#include "async.h"

namespace vgpu {

/// One wgmma.mma_async of the four warps. The first that comes issues it, the others must ask for the same.
struct Product {
  const Instruction* instruction = nullptr;
  u64 a = 0;  // descriptors; a: 0 when A is in registers
  u64 b = 0;
  bool add = false;  // scale-d
  AsyncIssue issues[4];
};

struct ProductGroup {
  u64 end = 0;    // the number of the first product after it
  u32 clock = 0;  // of its component in the order of events when its reads were over; 0: not computed
};

struct Warpgroup {
  std::deque<Product> products;  // the first has the number first_product
  u64 first_product = 0;
  std::deque<ProductGroup> groups;
  u64 first_group = 0;
  std::vector<u32> register_counts;  // that setmaxnreg has asked for, by the warp that was first each time
};

/// A register that wgmma uses: an accumulator or a part of A.
struct ProductRegister {
  u64 last = 0;  // number + 1 of the last product that uses it: under way until this warp has waited for it
  const Instruction* instruction = nullptr;
  u32 place = 0;    // among that instruction's registers
  u64 touched = 0;  // in which interval between fences it was read or written by another instruction, + 1
};

/// What one of the four warps has issued, committed and waited for.
struct WarpProducts {
  u64 issued = 0;
  u64 committed = 0;  // groups
  u64 committed_products = 0;
  u64 waited = 0;  // groups
  u64 done = 0;    // products, of the groups waited for
  u64 fences = 0;
  std::vector<ProductRegister> registers;
  u32 register_count = 0;  // per thread, after setmaxnreg; 0 before
  std::size_t register_changes = 0;
};

/// Called before an instruction that touches registers of wgmma.
void touch_product_registers(Warp& w, const Instruction& i, u32 lanes);

/// At the exit of a warp's last lanes.
void exit_products(Warp& w, const Instruction& i, u32 lanes);
void exit_registers(Warp& w, const Instruction& i, u32 lanes);

enum WgmmaFlags { kRegistersA = 1, kMajorA = 2, kMajorB = 4, kNegateA = 8, kNegateB = 16 };

/// The products from `number` on that share their accumulators, up to `end`; returns the number of the next one.
u64 compute(Warp& w, Warpgroup& group, u64 number, u64 end);

}  // namespace vgpu
