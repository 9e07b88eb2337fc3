#pragma once
// The two consumer warpgroups of the sm_90a kernel. They score in turns, and each sums its half of the latent's 512 features:
//
//   block j, by its owner:  S = Q K_jᵀ · scale (base 2), masks;  m_j = max(m_j-1, max S);  P_j = exp2(S - m_j)
//   by both:                O_half = O_half · exp2(m_j-1 - m_j) + P_j V_j,half
//
// The owner of block j has P_j in registers and leaves it, m_j and the factor in shared memory for the other, which needs it before it may score
// block j + 1: so one buffer does, and every write of it comes after the writer's own reads of the one before.

#include "cuda/common/fence.cuh"
#include "cuda/common/mbarrier.cuh"
#include "cuda/common/pack.cuh"
#include "cuda/common/warpgroup.cuh"
#include "cuda/common/wgmma.cuh"
#include "cuda/kernels/mla_decode/latent_hidden.cuh"

namespace attn::cuda {

template <class T>
class LatentConsumer {
  static constexpr int kScores = LatentTile::keys / 2, kSteps = LatentTile::keys / 16, kColumns = LatentTile::rank / 2;

 public:
  __device__ LatentConsumer(const LatentParams& params, LatentShared shared, std::byte* memory)
      : params_(params), p_(params.split.problem), shared_(shared), half_(uniform_warp() / 4 - 1), warp_(uniform_warp() % 4),
        lane_(threadIdx.x % 32), row_max_(reinterpret_cast<float*>(memory + LatentTile::row_max_at)),
        row_factor_(reinterpret_cast<float*>(memory + LatentTile::row_factor_at)), row_sum_(reinterpret_cast<float*>(memory + LatentTile::row_sum_at)) {}

  /// `block` counts the tiles of the ring, of all work so far.
  __device__ void run(const LatentTask& task, int& block) {
    if (!start(task)) return;
    for (int n = 0; n < num_blocks_; ++n, ++block) {
      stage_ = block % LatentTile::stages;
      parity_ = block / LatentTile::stages % 2;
      if (stage_ == half_) {
        score();
        softmax(n == 0);
        add_own();
      } else {
        add_other();
      }
      release(half_);
      first_ += LatentTile::keys;
    }
    finish(task);
  }

 private:
  __device__ int row(int h) const { return 16 * warp_ + lane_ / 4 + 8 * h; }

  /// 256 threads, eight of them a row of a box; rows beyond the last are zeros.
  __device__ void load_queries(const LatentWork& work) const {
    const int thread = static_cast<int>(threadIdx.x) - LatentTile::producers;
    const T* nope = reinterpret_cast<const T*>(p_.q[0].data);
#pragma unroll 1
    for (int r = thread / 8; r < LatentTile::rows; r += LatentTile::consumers / 8) {
      const bool read = r < work.num_rows;
      const std::uint32_t global = static_cast<std::uint32_t>(work.first_row + (read ? r : 0));
      const std::uint32_t query = global / static_cast<std::uint32_t>(p_.group_size), head = global - query * p_.group_size;
      const HeadRows& last = p_.q[p_.num_parts - 1];
      const T* first_part = nope + work.s.qo_row(p_, p_.q[0], query) + head * p_.q[0].head_stride + thread % 8 * 8;
      const T* rope = reinterpret_cast<const T*>(last.data) + work.s.qo_row(p_, last, query) + head * last.head_stride + thread % 8 * 8;
      if (p_.num_parts == 1) rope += LatentTile::rank;
#pragma unroll
      for (int box = 0; box < LatentTile::boxes; ++box) {
        const T* from = box == LatentTile::rope_box ? rope : first_part + box * LatentTile::box_features;
        cp_async_16(shared_.queries(box) + box_offset(r, thread % 8), read ? from : nope, read);
      }
    }
    cp_async_commit();
    cp_async_wait<0>();
    fence_async_shared();
    named_barrier_sync(kConsumersBarrier, LatentTile::consumers);
  }

  /// False where nobody asks for results. Nothing is kept that the blocks do not need: registers are few.
  __device__ bool start(const LatentTask& task) {
    const LatentWork work(params_, task);
    if (!work.wanted(params_, task)) return false;
    load_queries(work);
    num_blocks_ = work.num_blocks;
    first_ = work.first_key;
    last_end_ = work.end;
    common_end_ = work.common_end;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      max_[h] = own_max_[h] = -INFINITY;
      sum_[h] = 0;
      const int r = row(h);
      end_[h] = r < work.num_rows ? static_cast<int>(min_of(work.s.seen_end(p_, (work.first_row + r) / p_.group_size), work.end)) : 0;
    }
#pragma unroll
    for (int n = 0; n < kColumns / 2; ++n) out_[n] = 0;
    return true;
  }

  __device__ void wait_full(int box) const { mbarrier_wait(shared_.full(stage_, box), parity_); }

  /// Every warp: its part of the stage may be filled again.
  __device__ void release(int part) const {
    __syncwarp();
    if (lane_ == 0) mbarrier_arrive(shared_.empty(stage_, part));
  }

  __device__ void score() {
#pragma unroll
    for (int n = 0; n < LatentTile::boxes; ++n) {
      const int box = (n + LatentTile::rope_box) % LatentTile::boxes;
      wait_full(box);
      wgmma_fence();
#pragma unroll
      for (int k = 0; k < LatentTile::box_features / 16; ++k) {
        Wgmma<T, LatentTile::keys>::ss(scores_, wgmma_k_major(shared_.queries(box) + 32 * k), wgmma_k_major(shared_.latents(stage_, box) + 32 * k), n + k > 0);
      }
    }
    wgmma_commit();
    wgmma_wait<0>();
    wgmma_hold(scores_);
    release(2);
  }

  /// Probabilities into registers and shared memory, maximum and factor into both.
  __device__ void softmax(bool fresh) {
    const float scale = p_.softmax_scale * kLog2e;
    const bool masked = first_ + LatentTile::keys > common_end_;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const float before = fresh ? -INFINITY : row_max_[row(h)];
      float top = before;
#pragma unroll
      for (int n = 0; n < kScores; ++n) {
        if (n / 2 % 2 != h) continue;
        const int key = first_ + n / 4 * 8 + lane_ % 4 * 2 + n % 2;
        float x = scores_[n] * scale;
        if (masked && key >= end_[h]) x = -INFINITY;
        scores_[n] = x;
        top = fmaxf(top, x);  // a NaN loses
      }
      top = fmaxf(top, __shfl_xor_sync(~0u, top, 1));
      top = fmaxf(top, __shfl_xor_sync(~0u, top, 2));
      const float base = top == -INFINITY ? 0 : top;  // while all logits are -inf the probabilities are 0
      factor_[h] = exp2_approx(before - base);
      float total = 0;
#pragma unroll
      for (int n = 0; n < kScores; ++n) {
        if (n / 2 % 2 != h) continue;
        scores_[n] = exp2_approx(scores_[n] - base);
        total += scores_[n];
      }
      total += __shfl_xor_sync(~0u, total, 1);
      total += __shfl_xor_sync(~0u, total, 2);
      sum_[h] = sum_[h] * exp2_approx(own_max_[h] - base) + total;
      max_[h] = own_max_[h] = top;
    }
#pragma unroll
    for (int n = 0; n < kScores / 2; ++n) {
      probabilities_[n] = pack_pair(T{}, scores_[2 * n], scores_[2 * n + 1]);
      store_word(shared_.probabilities() + box_offset(row(n % 2), n / 2) + lane_ % 4 * 4, probabilities_[n]);
    }
    __syncwarp();
    if (lane_ % 4 == 0) {
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        row_max_[row(h)] = max_[h];
        row_factor_[row(h)] = factor_[h];
      }
    }
    fence_async_shared();
  }

  static __device__ void store_word(std::uint32_t shared, std::uint32_t x) { asm volatile("st.shared.u32 [%0], %1;" ::"r"(shared), "r"(x) : "memory"); }

  __device__ void rescale() {
    if (!__any_sync(~0u, factor_[0] != 1 || factor_[1] != 1)) return;  // rare after the first blocks
#pragma unroll
    for (int n = 0; n < kColumns / 2; ++n) out_[n] *= factor_[n / 2 % 2];
  }

  __device__ std::uint64_t values(int step) const {
    return wgmma_n_major(shared_.latents(stage_, half_ * LatentTile::half_boxes) + step * 16 * 128, LatentTile::box_bytes);
  }

  /// Before the product with the values of a block that some rows do not see all of.
  __device__ void add_hidden() {
    const int from = common_end_ > first_ ? common_end_ - first_ : 0;
    const int to = last_end_ - first_ < LatentTile::keys ? last_end_ - first_ : LatentTile::keys;
    if (from >= to) return;
    rescale();
    factor_[0] = factor_[1] = 1;
    HiddenValues<T>{shared_, stage_, half_, warp_, lane_}.add(out_, from, to, end_[0] - first_, end_[1] - first_);
  }

  __device__ void add_own() {
    add_hidden();  // reads the probabilities, which the other may replace once it has them
    named_barrier_arrive(kReadyBarrier + half_, LatentTile::consumers);
    rescale();
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < kSteps; ++k) Wgmma<T, kColumns>::template rs<true>(out_, probabilities_ + 4 * k, values(k), true);
    wgmma_commit();
    wgmma_wait<0>();
    wgmma_hold(out_);
  }

  __device__ void add_other() {
    named_barrier_sync(kReadyBarrier + (half_ ^ 1), LatentTile::consumers);
#pragma unroll
    for (int box = 0; box < LatentTile::half_boxes; ++box) wait_full(half_ * LatentTile::half_boxes + box);
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      factor_[h] = row_factor_[row(h)];
      max_[h] = row_max_[row(h)];
    }
    add_hidden();
    rescale();
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < kSteps; ++k) {
      Wgmma<T, kColumns>::template ss<true>(out_, wgmma_k_major(shared_.probabilities() + 32 * k), values(k), true);
    }
    wgmma_commit();
    wgmma_wait<0>();
    wgmma_hold(out_);
  }

  /// The sums of both warpgroups, and the results: partial ones, or those of a sequence that is not cut.
  __device__ void finish(const LatentTask& task) const {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const float base = max_[h] == -INFINITY ? 0 : max_[h];
      if (lane_ % 4 == 0) row_sum_[half_ * LatentTile::rows + row(h)] = sum_[h] * exp2_approx(own_max_[h] - base);
    }
    named_barrier_sync(kConsumersBarrier, LatentTile::consumers);
    const LatentWork work(params_, task);
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int r = row(h);
      if (r >= work.num_rows) continue;
      const float sum = row_sum_[r] + row_sum_[LatentTile::rows + r];
      if (work.whole) {
        store_out(work, h, sum);
      } else {
        store_state(work, h, sum);
      }
    }
  }

  __device__ void store_state(const LatentWork& work, int h, float sum) const {
    const std::int64_t at = work.state_row + row(h);
    if (half_ == 0 && lane_ % 4 == 0) params_.split.lses[at] = sum == 0 ? -INFINITY : (max_[h] == -INFINITY ? 0 : max_[h]) + log2f(sum);
    if (sum == 0) return;
    const float scale = 1 / sum;
    float* out = params_.split.outs + at * LatentTile::rank + half_ * kColumns + lane_ % 4 * 2;
#pragma unroll
    for (int n = 0; n < kColumns / 8; ++n) *reinterpret_cast<float2*>(out + 8 * n) = {out_[4 * n + 2 * h] * scale, out_[4 * n + 2 * h + 1] * scale};
  }

  /// As combine_splits() says, of one split.
  __device__ void store_out(const LatentWork& work, int h, float sum) const {
    const std::int64_t global = work.first_row + row(h), query = global / p_.group_size, head = global - query * p_.group_size;
    const float sink = p_.sinks ? p_.sinks[head * p_.sinks_stride] * kLog2e : -INFINITY;
    const float top = fmaxf(max_[h], sink), base = top == -INFINITY ? 0 : top;
    const float weight = exp2f(max_[h] - base), total = sum * weight + exp2f(sink - base);
    if (p_.lse && half_ == 0 && lane_ % 4 == 0) p_.lse[work.s.lse_row(p_, head, query)] = (sum == 0 ? sink : base + log2f(total)) / kLog2e;
    const float scale = sum == 0 ? 0 : weight / total;
    T* out = reinterpret_cast<T*>(p_.out.data) + work.s.qo_row(p_, p_.out, query) + head * p_.out.head_stride;
#pragma unroll
    for (int n = 0; n < kColumns / 8; ++n) {
      const int column = half_ * kColumns + 8 * n + lane_ % 4 * 2;
      out[column * p_.out.dim_stride] = from_float<T>(out_[4 * n + 2 * h] * scale);
      out[(column + 1) * p_.out.dim_stride] = from_float<T>(out_[4 * n + 2 * h + 1] * scale);
    }
  }

  const LatentParams& params_;
  const AttentionProblem& p_;
  const LatentShared shared_;
  const int half_, warp_, lane_;
  float *row_max_, *row_factor_, *row_sum_;

  int num_blocks_, first_, last_end_, common_end_;  // first_: key of the block; the rest as in LatentWork
  int stage_, parity_;
  int end_[2];                                  // of the keys that this lane's two rows see
  float max_[2], factor_[2];                    // after the newest block
  float own_max_[2], sum_[2];                   // of the blocks that this warpgroup scored
  float scores_[kScores];                       // as wgmma.cuh says of d
  std::uint32_t probabilities_[kScores / 2];    // as it says of a
  float out_[kColumns / 2];
};

}  // namespace attn::cuda
