// Decoding by wgmma and TMA: the registry row, the choice of the tile, the tensor maps and the launches.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>

#include "core/registry.h"
#include "cuda/kernels/attention/problem.h"
#include "cuda/kernels/attention_decode/params.h"
#include "cuda/kernels/attention_decode/tiles.h"
#include "cuda/kernels/attention_split/plan.h"
#include "cuda/kernels/register_kernels.h"
#include "cuda/kernels/rows.h"
#include "cuda/tensor_map.h"

namespace attn::cuda {
namespace {

constexpr const char* kOp = "attention_decode";

using NamedDecodeTile = NamedTile<DecodeTile>;
constexpr NamedDecodeTile kTiles[] = {ATTN_DECODE_TILES_16(ATTN_NAMED_TILE) ATTN_DECODE_TILES_8(ATTN_NAMED_TILE)};
static_assert(std::ranges::all_of(kTiles, [](const NamedDecodeTile& named) {
  return named.tile.shared_bytes() <= (named.tile.blocks_per_sm == 2 ? 113 : 227) * 1024;
}));

/// The narrowest tile that holds the features, with the fewest rows that hold all, else the most.
const NamedDecodeTile* tile_for(const AttentionProblem& p) {
  const int dim = std::max(p.head_dim_qk, p.head_dim_vo), key_bytes = static_cast<int>(dtype_size(p.k[0].dtype));
  const NamedDecodeTile* most = nullptr;
  for (const NamedDecodeTile& named : kTiles) {
    if (named.tile.key_bytes != key_bytes || named.tile.dim < dim || (most && named.tile.dim != most->tile.dim)) continue;
    most = &named;
    if (named.tile.rows >= max_rows(p)) break;
  }
  return most;
}

/// Rows of a box: they lie in one page.
std::int64_t box_keys(const AttentionProblem& p) {
  std::int64_t keys = DecodeTile::kKeys;
  while (p.page_table && p.page_size % keys != 0) keys /= 2;
  return keys;
}

/// [sequence or page][row][head][feature], `keys` rows a copy. Packed batches are one sequence.
TensorMapShape map_shape(const AttentionProblem& p, const HeadRows& rows, std::int64_t keys) {
  const bool packed = !p.page_table && p.kv_indptr;
  TensorMapShape shape;
  shape.data = rows.data;
  shape.dtype = rows.dtype;
  shape.rank = 4;
  shape.axes[0] = {rows.dim, rows.dim_stride, DecodeTile::kBoxRowBytes / static_cast<std::int64_t>(dtype_size(rows.dtype))};
  shape.axes[1] = {p.num_kv_heads, rows.head_stride, 1};
  shape.axes[2] = {p.page_table ? p.page_size : packed ? p.kv_indptr[p.batch] : p.kv_len, rows.row_stride, keys};
  shape.axes[3] = {p.page_table ? p.num_pages : packed ? 1 : p.batch, rows.sequence_stride, 1};
  return shape;
}

DecodeMaps encode_maps(const AttentionProblem& p, const HeadRows& rows) {
  return {encode_tensor_map(map_shape(p, rows, box_keys(p))), encode_tensor_map(map_shape(p, rows, 1))};
}

/// Types, or rows that cannot be read by pairs (queries) or by tensor maps (keys, values).
std::optional<std::string> inputs_missing(const AttentionProblem& p) {
  const HeadRows& q = p.q[0];
  const DType kv = p.k[0].dtype;
  if (kv == DType::kFloat8E4M3) {
    if (q.dtype == DType::kFloat32) return "takes queries of 16 bits or float8_e4m3";  // they become float16
  } else {
    if (q.dtype != kv || (mask_of(kv) & kSplitDTypes) == 0) return "takes float16 or bfloat16, queries and keys alike, or keys and values of float8_e4m3";
    const bool even = q.sequence_stride % 2 == 0 && q.row_stride % 2 == 0 && q.head_stride % 2 == 0 && q.dim % 2 == 0;
    if (q.dim_stride != 1 || !even || !is_aligned(q.data, 4)) return "takes queries of whole, aligned pairs of features";
  }
  if ((mask_of(p.out.dtype) & kSplitDTypes) == 0) return "gives float16 or bfloat16";
  for (const HeadRows* kv : {&p.k[0], &p.v}) {
    if (auto reason = tensor_map_unfit(map_shape(p, *kv, DecodeTile::kKeys))) return reason;
  }
  return std::nullopt;
}

std::optional<std::string> reject(const Kernel<AttentionProblem>&, const AttentionProblem& p) {
  if (auto reason = hopper_missing()) return reason;
  if (auto reason = split_shape_missing(p)) return reason;
  if (auto reason = inputs_missing(p)) return reason;
  const NamedDecodeTile* named = tile_for(p);
  if (!named) return "takes head dims up to 256";
  if (auto reason = shared_memory_missing(named->tile.shared_bytes())) return reason;
  if (split_blocks(p, named->tile.rows) > std::numeric_limits<std::int32_t>::max()) return "more blocks than a launch can have";
  return std::nullopt;
}

std::string kernel_name(DType dtype, const char* suffix) {
  const char* name = dtype == DType::kFloat8E4M3 ? "e4m3" : dtype == DType::kFloat16 ? "f16" : "bf16";
  return std::string(kOp) + "_" + name + "_" + suffix;
}

void run(const Kernel<AttentionProblem>&, const AttentionProblem& p, Execution& execution) {
  auto& gpu = static_cast<CudaExecution&>(execution);
  const NamedDecodeTile* named = tile_for(p);
  const SplitParams split = split_params(p, named->tile.rows, gpu);
  const std::int64_t blocks = split_blocks(p, named->tile.rows);
  if (blocks > 0) {
    const DecodeParams params{split, encode_maps(p, p.k[0]), encode_maps(p, p.v), static_cast<std::int32_t>(box_keys(p))};
    HopperLaunch launch;
    launch.grid.x = static_cast<unsigned>(blocks);
    launch.threads = DecodeTile::kThreads;
    launch.shared_bytes = static_cast<unsigned>(named->tile.shared_bytes());
    gpu.launch(kOp, kernel_name(p.k[0].dtype, named->name).c_str(), launch, params);
  }
  const std::int64_t combine_blocks = combine_grid(p);
  if (combine_blocks == 0) return;
  HopperLaunch launch;
  launch.grid.x = static_cast<unsigned>(combine_blocks);
  launch.threads = 32 * kCombineRows;
  launch.overlap = blocks > 0;  // it waits for the splits itself
  gpu.launch(kOp, kernel_name(p.out.dtype, "combine").c_str(), launch, split);
}

}  // namespace

void register_attention_decode_kernels() {
  register_kernel(
      split_kernel<AttentionProblem>(sm90a_kernel("attention_decode", "attention", kSplitDTypes | mask_of(DType::kFloat8E4M3), "4-256"), reject, run));
}

}  // namespace attn::cuda
