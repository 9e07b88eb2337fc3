// codes = x / scale, scale = amax / 448 of a sequence's group of heads: first the largest |x| of each block of rows, then, when all of a group are
// known, the codes. A task owns a block of rows of one sequence, with all heads, in both passes: what fits in its thread's cache is read once.

#include "core/quantize_float8.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "core/registry.h"
#include "cpu/kernels/quantiser.h"
#include "cpu/kernels/register_ops.h"

namespace attn::cpu {
namespace {

constexpr std::int64_t kTaskElements = 1 << 15;

struct Block {
  std::int64_t sequence, batch, begin, end;  // rows of x's axis 1
};

std::int64_t rows_of_block(const QuantizeFloat8Problem& p) {
  return std::max<std::int64_t>(1, kTaskElements / std::max<std::int64_t>(1, p.x.shape[2] * p.x.shape[3]));
}

/// Calls fn(block), sequence by sequence.
template <class Fn>
void for_blocks(const QuantizeFloat8Problem& p, Fn&& fn) {
  if (p.x.size() == 0) return;
  const std::int64_t step = rows_of_block(p);
  for (std::int64_t sequence = 0; sequence < p.num_sequences(); ++sequence) {
    const SequenceRows rows = rows_of(p, sequence);
    const std::int64_t end = rows.first + rows.count;
    for (std::int64_t begin = rows.first; begin < end; begin += step) fn(Block{sequence, rows.batch, begin, std::min(begin + step, end)});
  }
}

/// Calls fn(group, x, codes, count) for the runs of a block: of a row, a group's heads in one where they lie behind each other in both.
template <class Fn>
void for_runs(const QuantizeFloat8Problem& p, const Block& block, Fn&& fn) {
  const TensorView &x = p.x, &codes = p.codes;
  const std::int64_t dim = x.shape[3], element = dtype_size(x.dtype);
  const bool joined = x.strides[3] == 1 && codes.strides[3] == 1 && x.strides[2] == dim && codes.strides[2] == dim;
  const std::int64_t step = joined ? p.group_size : 1;
  for (std::int64_t row = block.begin; row < block.end; ++row) {
    const std::byte* from = x.data + (block.batch * x.strides[0] + row * x.strides[1]) * element;
    std::byte* to = codes.data + block.batch * codes.strides[0] + row * codes.strides[1];
    for (std::int64_t head = 0; head < x.shape[2]; head += step) {
      fn(head / p.group_size, from + head * x.strides[2] * element, to + head * codes.strides[2], dim * step);
    }
  }
}

float scale_of(float amax) {
  constexpr float kLargest = 448, kSmallest = std::numeric_limits<float>::min();
  return amax == 0 ? 1 : std::max(amax / kLargest, kSmallest);
}

std::size_t workspace(const Kernel<QuantizeFloat8Problem>&, const QuantizeFloat8Problem& p, int) {
  std::size_t blocks = 0;
  for_blocks(p, [&](const Block&) { ++blocks; });
  return blocks * static_cast<std::size_t>(p.num_groups()) * sizeof(float);
}

void run(const Kernel<QuantizeFloat8Problem>& self, const QuantizeFloat8Problem& p, Execution& execution) {
  const Quantiser quantiser(p.x.dtype, *static_cast<const Float8Table*>(self.table));
  const std::int64_t groups = p.num_groups();
  std::vector<Block> blocks;
  for_blocks(p, [&](const Block& block) { blocks.push_back(block); });
  const auto count = static_cast<std::int64_t>(blocks.size());
  const auto block_at = [&](std::int64_t task) -> const Block& { return blocks[static_cast<std::size_t>(task)]; };

  float* most = reinterpret_cast<float*>(execution.workspace);  // [blocks, groups]
  execution.parallel_for(count, [&](std::int64_t task, int) {
    float* own = most + task * groups;
    std::fill_n(own, groups, 0.0f);
    for_runs(p, block_at(task), [&](std::int64_t group, const std::byte* from, std::byte*, std::int64_t n) {
      own[group] = std::max(own[group], quantiser.largest(from, p.x.strides[3], n));
    });
  });

  float* scales = reinterpret_cast<float*>(p.scales.data);
  const auto scale_at = [&](std::int64_t sequence, std::int64_t group) -> float& {
    return scales[sequence * p.scales.strides[0] + group * p.scales.strides[1]];
  };
  std::int64_t block = 0;
  for (std::int64_t sequence = 0; sequence < p.num_sequences(); ++sequence) {
    std::int64_t end = block;
    while (end < count && block_at(end).sequence == sequence) ++end;
    for (std::int64_t group = 0; group < groups; ++group) {
      float amax = 0;
      for (std::int64_t i = block; i < end; ++i) amax = std::max(amax, most[i * groups + group]);
      scale_at(sequence, group) = scale_of(amax);
    }
    block = end;
  }

  execution.parallel_for(count, [&](std::int64_t task, int) {
    const Block& own = block_at(task);
    for_runs(p, own, [&](std::int64_t group, const std::byte* from, std::byte* to, std::int64_t n) {
      quantiser(from, p.x.strides[3], scale_at(own.sequence, group), to, p.codes.strides[3], n);
    });
  });
}

}  // namespace

void register_quantize_float8_kernels() {
#define ATTN_REGISTER(isa)                                                                                                      \
  register_kernel<QuantizeFloat8Problem>({.info = cpu_kernel("quantize_float8", "quantizeFloat8", #isa, kComputeDTypes, "any"), \
                                          .reject = accept<QuantizeFloat8Problem>,                                              \
                                          .workspace = workspace,                                                               \
                                          .run = run,                                                                           \
                                          .table = &isa::kFloat8Table});
  ATTN_FOR_EACH_ISA(ATTN_REGISTER)
#undef ATTN_REGISTER
}

}  // namespace attn::cpu
