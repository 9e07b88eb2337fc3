// mma.sync, ldmatrix, stmatrix, movmatrix and cp.async. PTX ISA 9.7.15 and 9.7.9.25. Layouts: fragments.h.
//
// A cp.async poisons its target when it is issued and marks it pending; the bytes arrive at the wait that covers its group, no
// earlier, as if the waiting thread stored them then. So other threads still need a barrier.
#include <algorithm>
#include <bit>

#include "warp.h"

namespace vgpu {
namespace {

// count: matrices, flags: 1 transposed
void ldmatrix(Warp& w, const Instruction& i, u32 lanes) {
  require_converged(w, i, lanes);
  const u64* base = w.reg(i.operands[static_cast<std::size_t>(i.count)]);
  for (int k = 0; k < i.count; k++) {
    u16 matrix[64];
    u64 addresses[32] = {};
    for (int row = 0; row < 8; row++) {  // lane 8k + row holds the address of that row
      const int lane = 8 * k + row;
      const u32 address = static_cast<u32>(base[lane] + static_cast<u64>(i.offset));
      addresses[row] = address;
      std::memcpy(&matrix[8 * row], shared_read(w, i, lane, address, 16), 16);
    }
    count_shared(w, addresses, 0xff, 16);
    LaneValues out;
    matrix_to_register(matrix, (i.flags & 1) != 0, out);
    std::copy(out, out + 32, w.reg(i.operands[static_cast<std::size_t>(k)]));
  }
}

void stmatrix(Warp& w, const Instruction& i, u32 lanes) {
  require_converged(w, i, lanes);
  const u64* base = w.reg(i.operands[0]);
  for (int k = 0; k < i.count; k++) {
    LaneValues in;
    const u64* s = w.reg(i.operands[static_cast<std::size_t>(k + 1)]);
    for (int l = 0; l < 32; l++) in[l] = static_cast<u32>(s[l]);
    u16 matrix[64];
    register_to_matrix(in, (i.flags & 1) != 0, matrix);
    u64 addresses[32] = {};
    for (int row = 0; row < 8; row++) {
      const int lane = 8 * k + row;
      const u32 address = static_cast<u32>(base[lane] + static_cast<u64>(i.offset));
      addresses[row] = address;
      std::memcpy(shared_write(w, i, lane, address, 16), &matrix[8 * row], 16);
    }
    count_shared(w, addresses, 0xff, 16);
  }
}

void movmatrix(Warp& w, const Instruction& i, u32 lanes) {
  require_converged(w, i, lanes);
  LaneValues in, out;
  const u64* s = w.reg(i.operands[1]);
  for (int l = 0; l < 32; l++) in[l] = static_cast<u32>(s[l]);
  u16 matrix[64];
  register_to_matrix(in, false, matrix);
  matrix_to_register(matrix, true, out);
  std::copy(out, out + 32, w.reg(i.operands[0]));
}

// kind: k, flags: element | 8 for f16 accumulators
void run_mma(Warp& w, const Instruction& i, u32 lanes) {
  require_converged(w, i, lanes);
  const MmaShape shape{i.kind, static_cast<MmaElement>(i.flags & 7), (i.flags & 8) != 0};
  LaneValues values[14];
  u32* pointers[14];
  const auto total = i.operands.size();
  const int c = registers_of_c(shape);
  for (std::size_t n = 0; n < total; n++) {
    const u64* s = w.reg(i.operands[n]);
    for (int l = 0; l < 32; l++) values[n][l] = static_cast<u32>(s[l]);
    pointers[n] = values[n];
  }
  u32* const* a = pointers + c;
  u32* const* b = a + registers_of_a(shape);
  mma(shape, pointers, a, b, b + registers_of_b(shape));
  for (int n = 0; n < c; n++) std::copy(values[n], values[n] + 32, w.reg(i.operands[static_cast<std::size_t>(n)]));
  w.block->launch->counters->mma_flops += static_cast<u64>(2 * 16 * 8 * shape.k);
}

// cp.async [shared], [global], bytes{, src-size}. width: bytes
void cp_async(Warp& w, const Instruction& i, u32 lanes) {
  Block& block = *w.block;
  u64 to[32], from[32];
  for (u32 left = lanes; left != 0; left &= left - 1) {
    const int l = std::countr_zero(left);
    to[l] = static_cast<u32>(w.reg(i.operands[0])[l] + static_cast<u64>(i.offset));
    from[l] = w.reg(i.operands[1])[l] + static_cast<u64>(i.offset2);
    const auto bytes = static_cast<u32>(i.width);
    u32 read = bytes;
    if (i.operands.size() > 3) {
      read = static_cast<u32>(w.reg(i.operands[3])[l]);
      if (read > bytes) report(FindingKind::kOutOfBounds, w, i, u32{1} << l, "src-size " + std::to_string(read) + " is above cp-size");
    }
    PendingCopy copy{static_cast<u8>(l), static_cast<u8>(bytes), w.groups[l], static_cast<u32>(to[l]), {}, &i};
    if (from[l] % bytes != 0) report(FindingKind::kMisaligned, w, i, u32{1} << l, "the global address is not a multiple of " + std::to_string(bytes));
    for (u32 b = 0; b < read; b += 4) {  // a part of the 16 bytes may lie outside the tensor
      const u32 step = std::min(4u, read - b);
      for (u32 n = 0; n < step; n += step == 4 ? 4 : 1)
        std::memcpy(copy.data + b + n, access(w, i, l, kGlobal, from[l] + b + n, step == 4 ? 4 : 1, false, false), step == 4 ? 4 : 1);
    }
    u8* target = shared_write(w, i, l, static_cast<u32>(to[l]), bytes);
    std::memset(target, 0xff, bytes);
    if (block.launch->checks) {
      for (u32 b = 0; b < bytes; b++) block.shadow[to[l] + b].pending = 1;
    }
    block.launch->counters->cp_async_bytes += read;
    block.launch->counters->global_loaded_bytes += read;
    w.copies.push_back(copy);
  }
  count_shared(w, to, lanes, static_cast<u32>(i.width));
}

void commit(Warp& w, const Instruction&, u32 lanes) {
  for (int l = 0; l < 32; l++) w.groups[l] += lanes >> l & 1;
}

void wait_group(Warp& w, const Instruction& i, u32 lanes) { land_copies(w, lanes, static_cast<u32>(w.reg(i.operands[0])[std::countr_zero(lanes)])); }

void wait_all(Warp& w, const Instruction& i, u32 lanes) {
  commit(w, i, lanes);
  land_copies(w, lanes, 0);
}

}  // namespace

void land_copies(Warp& w, u32 lanes, u32 may_stay) {
  Block& block = *w.block;
  std::erase_if(w.copies, [&](const PendingCopy& copy) {
    if ((lanes >> copy.lane & 1) == 0 || copy.group + may_stay >= w.groups[copy.lane]) return false;
    for (u32 b = 0; b < copy.bytes && block.launch->checks; b++) block.shadow[copy.to + b].pending = 0;
    std::memcpy(shared_write(w, *copy.instruction, copy.lane, copy.to, copy.bytes), copy.data, copy.bytes);
    return true;
  });
}

bool decode_tensor(Instruction& i, const std::vector<std::string>& parts) {
  const auto has = [&](const char* part) { return std::find(parts.begin() + 1, parts.end(), part) != parts.end(); };
  const std::string& op = parts[0];
  if (op == "ldmatrix" || op == "stmatrix") {
    i.count = has("x4") ? 4 : has("x2") ? 2 : 1;
    i.flags = has("trans");
    if (!has("m8n8") || parts.back() != "b16" || static_cast<int>(i.operands.size()) != i.count + 1) return false;
    i.run = op == "ldmatrix" ? ldmatrix : stmatrix;
  } else if (op == "movmatrix") {
    i.run = movmatrix;
  } else if (op == "mma") {
    // mma.sync.aligned.shape.row.col.dtype.atype.btype.ctype
    if (parts.size() != 10 || parts[4] != "row" || parts[5] != "col" || parts[6] != parts[9] || parts[7] != parts[8]) return false;
    i.kind = parts[3] == "m16n8k16" ? 16 : parts[3] == "m16n8k8" ? 8 : parts[3] == "m16n8k4" ? 4 : 0;
    const int element = parts[7] == "f16" ? 0 : parts[7] == "bf16" ? 1 : parts[7] == "tf32" ? 2 : -1;
    if (i.kind == 0 || element < 0 || (parts[6] != "f32" && parts[6] != "f16") || (element == 2) != (i.kind == 4 || (i.kind == 8 && element == 2)))
      return false;
    i.flags = element | (parts[6] == "f16" ? 8 : 0);
    const MmaShape shape{i.kind, static_cast<MmaElement>(element), parts[6] == "f16"};
    if (static_cast<int>(i.operands.size()) != 2 * registers_of_c(shape) + registers_of_a(shape) + registers_of_b(shape)) return false;
    i.run = run_mma;
  } else if (has("async") && has("bulk")) {
    return false;
  } else if (has("commit_group")) {
    i.run = commit;
  } else if (has("wait_group")) {
    i.run = wait_group;
  } else if (has("wait_all")) {
    i.run = wait_all;
  } else if (has("async") && (has("ca") || has("cg")) && !has("mbarrier")) {
    // The size is an immediate; its text is the third operand.
    const auto comma = i.text.find(',', i.text.find(',') + 1);
    i.width = std::atoi(i.text.c_str() + i.text.find_first_of("0123456789", comma));
    if (i.width != 4 && i.width != 8 && i.width != 16) return false;
    if (has("cg") && i.width != 16) return false;
    i.run = cp_async;
  } else {
    return false;
  }
  return true;
}

}  // namespace vgpu
