#pragma once
// Attention of few query rows over one split of the keys (decoding), sm_90a: wgmma, TMA, a warp that copies and four that compute.
//
//   Sᵀ = K Qᵀ · scale (base 2), options, masks;  P = exp2(S - max);  Oᵀ = Oᵀ · exp2(old max - max) + Vᵀ Pᵀ;  out = O / sum
//
// A block takes the rows of one kv head (every query head of its group, every query: row r = i · group_size + head), up to kTile.rows of them, and
// walks its split of the keys once, so each key and value byte leaves global memory once per group and row tile. products.cuh says why the
// products are transposed.
//
// Barriers: full[stage] ends a phase when a tile's bytes are there, empty[stage] when the four computing warps are done with it; named barrier 1
// holds these four twice a tile, when the maxima are there and when the probabilities are.

#include "cuda/common/cluster.cuh"
#include "cuda/kernels/attention_decode/hidden.cuh"
#include "cuda/kernels/attention_decode/producer.cuh"
#include "cuda/kernels/attention_decode/products.cuh"
#include "cuda/kernels/attention_decode/products_e4m3.cuh"

namespace attn::cuda {

/// KV: keys and values in memory.
template <class KV, class Products, DecodeTile kTile>
class DecodeConsumer {
  using Layout = DecodeLayout<kTile>;
  using Operand = typename Products::Operand;

 public:
  __device__ DecodeConsumer(const DecodeTask& task, char* shared, int warp, int lane)
      : task_(task), p_(task.p), shared_(shared), warp_(warp), lane_(lane), products_{warp, lane}, softmax_(task.p, shared, warp, lane) {
    scale_ = p_.softmax_scale * kLog2e;
    if constexpr (sizeof(KV) == 1) {
      scale_ *= head_scale(p_.q_scales, task.span.index, task.kv_head) * head_scale(p_.k_scales, task.span.index, task.kv_head);
    }
  }

  __device__ void run() {
    if (threadIdx.x < kTile.rows) DecodeSoftmax<kTile>::store_facts(task_, shared_, threadIdx.x);
    Products::store_queries(task_, shared_, warp_, lane_);
    fence_async_shared();
    sync_consumers();
    RingPosition<kTile.stages> at;
    for (int key0 = task_.begin / kTile.kKeys * kTile.kKeys; key0 < task_.end; key0 += kTile.kKeys) add_tile(key0, at);
    store();
  }

 private:
  __device__ std::uint32_t full(int stage) const { return shared_address(shared_ + Layout::kBarriersAt) + 8 * stage; }
  __device__ char* stage_of(int stage) const { return shared_ + stage * Layout::kTileBytes; }
  __device__ void release(int stage) const {
    __syncwarp();
    if (lane_ == 0) mbarrier_arrive(full(kTile.stages + stage));
  }

  __device__ void add_tile(int key0, RingPosition<kTile.stages>& at) {
    const bool parted = task_.parted(key0, key0 + kTile.kKeys), edge = key0 < task_.common_begin || key0 + kTile.kKeys > task_.common_end;
    float s[Products::kAccumulators];
    mbarrier_wait(full(at.index), at.parity);
    products_.score(s, stage_of(at.index), shared_address(shared_ + Layout::kQueriesAt), [&] { release(at.index); });
    at.advance();

    const HiddenValues<KV, kTile> hidden{shared_, stage_of(at.index), warp_, lane_};
    softmax_.template bend<Products::kScaledRows>(s, key0 + products_.key(0), key0 + products_.key(1), scale_, edge);
    softmax_.store_maxima(s);
    if (parted) {
      mbarrier_wait(full(at.index), at.parity);
      hidden.search();
    }
    sync_consumers();
    float factor[kTile.rows / 4];
    const bool moved = softmax_.template exponentiate<Operand>(s, factor);
    if (__any_sync(kFullWarp, moved)) {  // rare after the first tiles
#pragma unroll
      for (int m = 0; m < Products::kFeatureTiles; ++m) {
#pragma unroll
        for (int i = 0; i < Products::kAccumulators; ++i) out_[m][i] *= factor[i / 4 * 2 + i % 2];
      }
    }
    mbarrier_wait(full(at.index), at.parity);
    if (parted && hidden.was_found()) hidden.template add<Operand>(out_, products_, key0);
    fence_async_shared();
    sync_consumers();  // all probabilities are there
    products_.add(out_, stage_of(at.index), shared_address(shared_ + Layout::kProbabilitiesAt), [&] { release(at.index); });
    at.advance();
  }

  __device__ void store() {
    softmax_.finish();
    const std::int64_t first = task_.state_row();
    const float value_scale = sizeof(KV) == 1 ? head_scale(p_.v_scales, task_.span.index, task_.kv_head) : 1;
#pragma unroll
    for (int r = 0; r < kTile.rows / 4; ++r) {
      const int row = softmax_.row(r);
      if (row >= task_.num_rows) continue;
      const float max = softmax_.max[r], sum = softmax_.sum[r];
      if (warp_ == 0 && lane_ < 4) task_.params.lses[first + row] = sum == 0 ? kNegInf : (max == kNegInf ? 0 : max) + log2f(sum);
      if (sum == 0) continue;
      const float scale = value_scale / sum;
      float* out = task_.params.outs + (first + row) * p_.head_dim_vo;
#pragma unroll
      for (int m = 0; m < Products::kFeatureTiles; ++m) {
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          const int feature = products_.feature(m, h);
          if (feature < p_.head_dim_vo) out[feature] = out_[m][r / 2 * 4 + 2 * h + r % 2] * scale;
        }
      }
    }
  }

  const DecodeTask& task_;
  const AttentionProblem& p_;
  char* shared_;
  int warp_, lane_;
  Products products_;
  DecodeSoftmax<kTile> softmax_;
  float scale_;  // of scores, base 2
  float out_[Products::kFeatureTiles][Products::kAccumulators] = {};
};

template <class KV, class Products, DecodeTile kTile>
__device__ __forceinline__ void decode(const DecodeParams& params) {
  extern __shared__ __align__(1024) char shared[];
  using Layout = DecodeLayout<kTile>;
  start_next_kernel();  // its blocks wait for the end of this kernel, but are there by then
  DecodeTask task(params.split);
  if (!task.locate<kTile.rows>()) return;
  if (task.begin >= task.end) {  // a window: these rows see nothing of this split
    if (threadIdx.x < task.num_rows) params.split.lses[task.state_row() + threadIdx.x] = kNegInf;
    return;
  }
  const std::uint32_t full = shared_address(shared + Layout::kBarriersAt), empty = full + 8 * kTile.stages;
  if (threadIdx.x < kTile.stages) {
    mbarrier_init(full + 8 * threadIdx.x, 1);
    mbarrier_init(empty + 8 * threadIdx.x, kTile.kConsumerWarps);
    fence_barrier_init();
  }
  __syncthreads();
  const int warp = uniform_warp(), lane = threadIdx.x % 32;
  if (warp == kTile.kConsumerWarps) {
    DecodeProducer<kTile>{params, task, shared_address(shared), full, empty}.run(lane);
  } else {
    DecodeConsumer<KV, Products, kTile>(task, shared, warp, lane).run();
  }
}

}  // namespace attn::cuda
