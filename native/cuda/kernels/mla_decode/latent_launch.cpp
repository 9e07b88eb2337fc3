#include "cuda/kernels/mla_decode/latent_launch.h"

#include <algorithm>
#include <limits>

#include "cuda/kernels/attention/problem.h"
#include "cuda/kernels/attention_split/plan.h"
#include "cuda/kernels/mla_decode/latent_params.h"
#include "cuda/kernels/mla_decode/latent_schedule.h"
#include "cuda/kernels/mla_decode/latent_tile.h"
#include "cuda/kernels/rows.h"
#include "cuda/tensor_map.h"

namespace attn::cuda {
namespace {

constexpr const char* kOp = "mla_decode";

/// Pages, or sequences where there are none, of rows of features, in boxes of the tile.
TensorMapShape latents_shape(const AttentionProblem& p) {
  TensorMapShape shape;
  shape.data = p.k[0].data;
  shape.dtype = p.k[0].dtype;
  shape.rank = 4;
  shape.axes[0] = {LatentTile::row_width, 1, LatentTile::box_features};
  shape.axes[1] = {p.page_table ? p.page_size : p.kv_len, p.k[0].row_stride, LatentTile::keys};
  shape.axes[2] = {p.page_table ? p.num_pages : p.batch, p.k[0].sequence_stride, 1};
  return shape;
}

/// Whole tiles of keys are boxes of one page, and TMA takes the pages as they lie.
bool takes_tma(const AttentionProblem& p) {
  const bool whole = p.page_table ? p.page_size % LatentTile::keys == 0 : !p.kv_indptr && p.kv_len >= LatentTile::keys;
  return whole && !tensor_map_unfit(latents_shape(p));
}

bool adjacent_parts(const AttentionProblem& p) {
  if (p.num_parts == 1) return true;
  return p.k[1].data == p.k[0].data + static_cast<std::size_t>(p.k[0].dim) * dtype_size(p.k[0].dtype) && p.k[1].row_stride == p.k[0].row_stride &&
         p.k[1].sequence_stride == p.k[0].sequence_stride;
}

bool has_narrow_rows(const AttentionProblem& p) { return p.k[0].dtype == DType::kFloat8E4M3; }

std::optional<std::string> inputs_missing(const AttentionProblem& p) {
  if (!has_narrow_rows(p)) {
    if (!adjacent_parts(p)) return "takes latents and rope keys in one row";
    return split_inputs_missing(p);
  }
  // Their scales times their elements are rounded to the type of the queries, and may be beyond that of float16.
  if (p.q[0].dtype != DType::kBFloat16) return "takes bfloat16 queries of rows in float8_e4m3";
  if (!vector_rows(p.q[0]) || !vector_rows(p.q[1])) return "takes rows of whole 16-byte chunks at addresses that are multiples of 16";
  return std::nullopt;
}

std::optional<std::string> reject(const Kernel<MlaDecodeProblem>&, const MlaDecodeProblem& p) {
  if (auto reason = hopper_missing()) return reason;
  if (p.head_dim_vo != LatentTile::rank || p.head_dim_qk != LatentTile::row_width) {
    return "takes kvLoraRank 512 and qkRopeHeadDim 64, received " + std::to_string(p.head_dim_vo) + " and " + std::to_string(p.head_dim_qk - p.head_dim_vo);
  }
  if (auto reason = inputs_missing(p)) return reason;
  if (p.num_kv_heads != 1 || !p.v_in_k) return "takes one kv head, whose values are its keys";
  if (p.logit_softcap > 0 || p.alibi_slopes || p.window_left >= 0) return "takes no softcap, no slopes and no left end of a window";
  if (auto reason = shared_memory_missing(LatentTile::shared_bytes)) return reason;
  if (split_blocks(p, LatentTile::rows) > std::numeric_limits<std::int32_t>::max()) return "more blocks than a launch can have";
  return std::nullopt;
}

std::size_t workspace(const Kernel<MlaDecodeProblem>&, const MlaDecodeProblem& p, int) {
  return p.schedule ? pieces_workspace(p, p.schedule_pieces) : split_workspace(p);
}

std::int64_t splits(const Kernel<MlaDecodeProblem>&, const MlaDecodeProblem& p) { return num_splits(p); }

/// Words: part begins, sequence begins, pieces.
Schedule schedule(const Kernel<MlaDecodeProblem>&, const MlaDecodeProblem& p, const std::vector<std::int32_t>& kv_lens) {
  const std::int64_t row_tiles = std::max<std::int64_t>(divide_up(p.qo_len * p.group_size, LatentTile::rows), 1);
  const LatentSchedule made = schedule_latents(kv_lens, std::max<std::int64_t>(device_facts().num_sms / row_tiles, 1));
  Schedule result;
  result.parts = static_cast<std::int64_t>(made.part_begins.size()) - 1;
  result.pieces = static_cast<std::int64_t>(made.pieces.size());
  result.words = made.part_begins;
  result.words.insert(result.words.end(), made.sequence_begins.begin(), made.sequence_begins.end());
  for (const LatentPiece& piece : made.pieces) result.words.insert(result.words.end(), {piece.sequence, piece.first_tile, piece.end_tile});
  for (std::size_t b = 0; b < kv_lens.size(); ++b) {
    result.most_pieces = std::max<std::int64_t>(result.most_pieces, made.sequence_begins[b + 1] - made.sequence_begins[b]);
  }
  return result;
}

void run(const Kernel<MlaDecodeProblem>&, const MlaDecodeProblem& p, Execution& execution) {
  auto& gpu = static_cast<CudaExecution&>(execution);
  if (combine_grid(p) == 0) return;
  LatentParams params{};
  params.split = split_params(p, LatentTile::rows, gpu, p.schedule_pieces);
  if (p.schedule) {
    params.part_begins = p.schedule;
    params.split.first_pieces = p.schedule + p.schedule_parts + 1;
    params.pieces = reinterpret_cast<const LatentPiece*>(params.split.first_pieces + p.batch + 1);
  }
  params.split.whole_done = true;
  params.tma = !has_narrow_rows(p) && takes_tma(p);
  if (params.tma) params.latents = encode_tensor_map(latents_shape(p));
  params.rows_per_page = p.page_size;

  const std::string dtype = p.q[0].dtype == DType::kFloat16 ? "f16" : "bf16";
  const std::string name = "mla_decode_" + (has_narrow_rows(p) ? "e4m3" : dtype) + "_sm90a";
  const std::int64_t blocks = p.schedule ? p.schedule_parts * params.split.row_tiles : split_blocks(p, LatentTile::rows);
  if (blocks > 0) {
    gpu.launch(kOp, name.c_str(), HopperLaunch{{static_cast<unsigned>(blocks)}, LatentTile::threads, LatentTile::shared_bytes}, params);
  }
  HopperLaunch combine{{static_cast<unsigned>(combine_grid(p))}, 32 * kCombineRows, 0};
  combine.overlap = blocks > 0;
  gpu.launch(kOp, ("mla_decode_" + dtype + "_sm90a_combine").c_str(), combine, params.split);
}

}  // namespace

Kernel<MlaDecodeProblem> latent_kernel() {
  Kernel<MlaDecodeProblem> kernel;
  kernel.info = sm90a_kernel("mla_decode", "mlaDecode", kSplitDTypes | mask_of(DType::kFloat8E4M3), "512");
  kernel.reject = reject;
  kernel.workspace = workspace;
  kernel.run = run;
  kernel.splits = splits;
  kernel.schedule = schedule;
  return kernel;
}

}  // namespace attn::cuda
