#pragma once
// Attention of few query rows over one split of the keys (decoding), sm_80: tensor cores, cp.async, swizzled shared memory.
//
//   S = Q Kᵀ · scale (base 2), options, masks;  P = exp2(S - max);  O = O · exp2(old max - max) + P V;  out = O / sum
//
// A block takes the rows of one kv head (every query head of its group, every query: row r = i · group_size + head), up to
// 16 · row_warps of them, and walks its split of the keys once, so each key and value byte leaves global memory once per
// group and row tile. Warps form row_warps × col_warps. Of a step's keys each column warp scores its share for the 16 rows; scores meet
// in shared memory; then each column warp has all the step's probabilities in registers as the left operand and sums its
// share of the value features. Both warps of a row keep the same maximum and sum: the same numbers in the same order.
//
// Shared memory: queries [rows][dim_qk], a ring of stages with keys [keys][dim_qk] and values [keys][dim_vo], scores, row
// offsets. A row is a multiple of 128 bytes; its 16-byte chunk c lies at c ^ (row % 8), so eight rows of one chunk (ldmatrix)
// and eight chunks of one row (cp.async) both touch all 32 banks once. Latent rows (MLA) serve as keys and as values.
//
// A step has two barriers: one when its copies have landed and the previous step's readers are done, one when the scores
// are complete. Keys that no row sees are not read but zero-filled. Keys that some rows see may hold anything: add_seen().
//
// Floor: a block moves keys · (dim_qk + dim_vo) · 2 bytes (MLA: keys · dim_qk · 2) and multiplies 2 · rows · keys · (dim_qk +
// dim_vo), so 16 rows do 16 operations per byte, far below what tensor cores need to be the limit: decoding is bound by
// memory, and the ring keeps (stages - 1) steps of it in flight. 64 rows of MLA do 121 per byte, near the balance of sm_80.
//
// ptxas for sm_80, no spills:    registers   shared memory, KiB
//   d64   16 | 64 rows           127 | 128   58 | 60
//   d128  16 | 64 rows           128 | 137   75 | 76
//   d192  16 | 64 rows           113 | 135   70 | 75
//   d256  16 | 64 rows           125 | 151   75 | 87
//   MLA   16 | 32 | 64 rows      157 | 215 | 222   94 | 94 | 155

#include "cuda/common/base2.cuh"
#include "cuda/common/cp_async.cuh"
#include "cuda/common/mma.cuh"
#include "cuda/common/pack.cuh"
#include "cuda/kernels/attention/span.cuh"
#include "cuda/kernels/attention_split/params.h"
#include "cuda/kernels/attention_split/tiles.h"

namespace attn::cuda {

/// In one store, which the compiler may otherwise take apart; two would each meet bank conflicts. PTX ISA, "st".
__device__ inline void store_pair(float* shared, float x, float y) {
  asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(shared_address(shared)), "f"(x), "f"(y) : "memory");
}

constexpr std::int64_t kNoKey = -1;

/// Where a key and its value begin, in elements; kNoKey: nobody sees it.
struct KeyOffsets {
  std::int64_t key, value;
};

template <class T, SplitTile kTile>
class SplitBlock {
  static constexpr int kRows = kTile.rows(), kKeys = kTile.keys, kStages = kTile.stages, kThreads = kTile.threads();
  static constexpr int kQueryBytes = kTile.query_bytes(), kKeyBytes = kTile.key_bytes(), kStageBytes = kTile.stage_bytes();
  static constexpr int kScoreStride = kTile.score_stride(), kScoreBytes = kTile.score_bytes();
  static constexpr int kKeyChunks = kTile.dim_qk / 8, kValueChunks = kTile.dim_vo / 8;
  static constexpr int kRowChunks = kTile.values_in_keys ? kKeyChunks : kValueChunks;  // of a row that holds values
  static constexpr int kScoreKeys = kKeys / kTile.col_warps;
  static constexpr int kColumns = kTile.dim_vo / kTile.col_warps;
  static_assert(kScoreKeys % 8 == 0 && kColumns % 16 == 0 && kKeys % 16 == 0 && kStages >= 2);

 public:
  __device__ SplitBlock(const SplitParams& params, std::byte* shared) : params_(params), p_(params.problem), s_(p_, sequence()) {
    warp_row_ = static_cast<int>(threadIdx.x) / 32 / kTile.col_warps;
    warp_col_ = static_cast<int>(threadIdx.x) / 32 % kTile.col_warps;
    lane_ = threadIdx.x % 32;
    queries_ = shared_address(shared);
    ring_ = queries_ + kQueryBytes;
    scores_ = reinterpret_cast<float*>(shared + kQueryBytes + kStages * kStageBytes);
    offsets_ = reinterpret_cast<KeyOffsets*>(reinterpret_cast<std::byte*>(scores_) + kScoreBytes);
  }

  __device__ void run() {
    if (!locate()) return;
    const int last_step = (end_ + kKeys - 1) / kKeys;
    int step = begin_ / kKeys;
    for (int n = threadIdx.x; n < kStages * kKeys; n += kThreads) write_offsets(step + n / kKeys, n % kKeys);
    __syncthreads();
    copy_queries();
#pragma unroll
    for (int n = 0; n < kStages - 1; ++n) copy_step(step + n, last_step);
    for (; step < last_step; ++step) {
      cp_async_wait<kStages - 2>();
      __syncthreads();  // this step's copies are visible to all, and nobody reads the stage of the step before any more
      copy_step(step + kStages - 1, last_step);
      score(step);
      __syncthreads();  // scores are complete
      if (threadIdx.x < kKeys) write_offsets(step + kStages, threadIdx.x);
      add_step(step);
    }
    cp_async_wait<0>();
    store();
  }

 private:
  __device__ std::int64_t sequence() const { return blockIdx.x / params_.row_tiles / params_.num_splits / p_.num_kv_heads; }

  /// Which rows and keys are this block's; false when there is nothing to do.
  __device__ bool locate() {
    // Row tiles innermost: those of one split run side by side and find its keys in the L2 cache.
    unsigned n = blockIdx.x;
    first_row_ = n % params_.row_tiles * static_cast<std::int64_t>(kRows);
    n /= params_.row_tiles;
    split_ = n % params_.num_splits;
    kv_head_ = n / params_.num_splits % p_.num_kv_heads;
    const std::int64_t rows = s_.qo_len * p_.group_size;
    first_key_ = split_ * params_.split_len;
    if (first_row_ >= rows || first_key_ >= s_.kv_len) return false;
    num_rows_ = static_cast<int>(rows - first_row_ < kRows ? rows - first_row_ : kRows);

    const std::int64_t first_query = first_row_ / p_.group_size, last_query = (first_row_ + num_rows_ - 1) / p_.group_size;
    int seen_end, seen_begin;
    visible_keys(first_query, begin_, seen_end);
    visible_keys(last_query, seen_begin, end_);
    common_begin_ = seen_begin;
    common_end_ = seen_end;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int row = 16 * warp_row_ + lane_ / 4 + 8 * h;
      const std::int64_t global = first_row_ + row;
      lo_[h] = hi_[h] = 0;
      slope_[h] = 0;
      diagonal_[h] = 0;
      if (row >= num_rows_) continue;
      const std::int64_t query = global / p_.group_size, head = kv_head_ * p_.group_size + global % p_.group_size;
      visible_keys(query, lo_[h], hi_[h]);
      if (p_.alibi_slopes) slope_[h] = p_.alibi_slopes[s_.index * p_.alibi_sequence_stride + head * p_.alibi_head_stride] * kLog2e;
      diagonal_[h] = static_cast<float>(query + s_.kv_len - s_.qo_len - first_key_);
    }
    if (begin_ < end_) return true;
    store_lse();  // a window: these rows see nothing of this split
    return false;
  }

  /// The keys [begin, end) of the split that a query sees, counted from the split's first.
  __device__ void visible_keys(std::int64_t query, int& begin, int& end) const {
    const auto local = [&](std::int64_t key) { return static_cast<int>(min_of(max_of(key - first_key_, 0), params_.split_len)); };
    begin = local(s_.seen_begin(p_, query));
    end = local(s_.seen_end(p_, query));
  }

  __device__ void write_offsets(int step, int n) {
    const int local = step * kKeys + n;
    KeyOffsets at{kNoKey, kNoKey};
    if (local >= begin_ && local < end_) {
      at.key = s_.kv_row(p_, p_.k[0], first_key_ + local) + kv_head_ * p_.k[0].head_stride;
      at.value = s_.kv_row(p_, p_.v, first_key_ + local) + kv_head_ * p_.v.head_stride;
    }
    offsets_[step % kStages * kKeys + n] = at;
  }

  /// Joins the first step's group of copies.
  __device__ void copy_queries() const {
    for (int n = threadIdx.x; n < kRows * kKeyChunks; n += kThreads) {
      const int row = n / kKeyChunks, chunk = n % kKeyChunks;
      const int first_chunks = p_.q[0].dim / 8;
      const bool second = chunk >= first_chunks;
      const HeadRows& part = p_.q[second];
      const int from = second ? chunk - first_chunks : chunk;
      const bool read = row < num_rows_ && from < part.dim / 8;
      const T* source = reinterpret_cast<const T*>(p_.q[0].data);
      if (read) {
        const std::int64_t global = first_row_ + row, head = kv_head_ * p_.group_size + global % p_.group_size;
        source = reinterpret_cast<const T*>(part.data) + s_.qo_row(p_, part, global / p_.group_size) + head * part.head_stride + from * 8;
      }
      cp_async_16(queries_ + swizzled_offset<kKeyChunks>(row, chunk), source, read);
    }
  }

  __device__ void copy_step(int step, int last_step) const {
    if (step < last_step) {
      const unsigned stage = ring_ + step % kStages * kStageBytes;
      const KeyOffsets* offsets = offsets_ + step % kStages * kKeys;
      const T* keys = reinterpret_cast<const T*>(p_.k[0].data);
#pragma unroll 4
      for (int n = threadIdx.x; n < kKeys * kKeyChunks; n += kThreads) {
        const int row = n / kKeyChunks, chunk = n % kKeyChunks;
        const std::int64_t at = offsets[row].key;
        const bool read = at != kNoKey && chunk < p_.head_dim_qk / 8;
        cp_async_16(stage + swizzled_offset<kKeyChunks>(row, chunk), read ? keys + at + chunk * 8 : keys, read);
      }
      if constexpr (!kTile.values_in_keys) {
        const T* values = reinterpret_cast<const T*>(p_.v.data);
#pragma unroll 4
        for (int n = threadIdx.x; n < kKeys * kValueChunks; n += kThreads) {
          const int row = n / kValueChunks, chunk = n % kValueChunks;
          const std::int64_t at = offsets[row].value;
          const bool read = at != kNoKey && chunk < p_.head_dim_vo / 8;
          cp_async_16(stage + kKeyBytes + swizzled_offset<kValueChunks>(row, chunk), read ? values + at + chunk * 8 : values, read);
        }
      }
    }
    cp_async_commit();
  }

  /// This warp's share of the step's scores, with options and masks, into shared memory.
  __device__ void score(int step) const {
    const unsigned keys = ring_ + step % kStages * kStageBytes;
    const int first = warp_col_ * kScoreKeys;
    float s[kScoreKeys / 8][4] = {};
    const int products = (p_.head_dim_qk + 15) / 16;  // of 16 features; where the last is half full, the rest is zeros
#pragma unroll 4
    for (int k = 0; k < products; ++k) {
      unsigned a[4];
      ldmatrix_x4(a, queries_ + swizzled_offset<kKeyChunks>(16 * warp_row_ + lane_ % 16, 2 * k + lane_ / 16));
      if constexpr (kScoreKeys == 8) {
        unsigned b[2];
        ldmatrix_x2(b, keys + swizzled_offset<kKeyChunks>(first + lane_ % 8, 2 * k + lane_ / 8 % 2));
        mma_16x8x16(T{}, s[0], a, b[0], b[1]);
      } else {
#pragma unroll
        for (int n = 0; n < kScoreKeys / 16; ++n) {
          unsigned b[4];
          ldmatrix_x4(b, keys + swizzled_offset<kKeyChunks>(first + 16 * n + lane_ / 16 * 8 + lane_ % 8, 2 * k + lane_ / 8 % 2));
          mma_16x8x16(T{}, s[2 * n], a, b[0], b[1]);
          mma_16x8x16(T{}, s[2 * n + 1], a, b[2], b[3]);
        }
      }
    }
#pragma unroll
    for (int n = 0; n < kScoreKeys / 8; ++n) {
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const int column = first + 8 * n + lane_ % 4 * 2;
        const int j = step * kKeys + column;
        store_pair(scores_ + (16 * warp_row_ + lane_ / 4 + 8 * h) * kScoreStride + column, logit(s[n][2 * h], j, h), logit(s[n][2 * h + 1], j + 1, h));
      }
    }
  }

  __device__ float logit(float dot, int j, int h) const {
    float x = dot * (p_.softmax_scale * kLog2e);
    // Not by 1 - 2 / (exp(2y) + 1), whose absolute error the cap would multiply.
    if (p_.logit_softcap > 0) x = kLog2e * p_.logit_softcap * tanhf(dot * p_.softmax_scale / p_.logit_softcap);
    if (p_.alibi_slopes) x -= slope_[h] * fabsf(diagonal_[h] - static_cast<float>(j));
    return j >= lo_[h] && j < hi_[h] ? x : -INFINITY;
  }

  /// Moves the rows' maximum and sum on, and adds the step's values.
  __device__ void add_step(int step) {
    unsigned probabilities[kKeys / 16][4];
    float factor[2];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const float* row = scores_ + (16 * warp_row_ + lane_ / 4 + 8 * h) * kScoreStride + lane_ % 4 * 2;
      float2 x[kKeys / 8];
      float top = max_[h];
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n) {
        x[n] = *reinterpret_cast<const float2*>(row + 8 * n);
        top = fmaxf(top, fmaxf(x[n].x, x[n].y));  // a NaN loses
      }
      top = fmaxf(top, __shfl_xor_sync(~0u, top, 1));
      top = fmaxf(top, __shfl_xor_sync(~0u, top, 2));
      const float base = top == -INFINITY ? 0 : top;  // while all logits are -inf the probabilities are 0
      factor[h] = exp2_approx(max_[h] - base);
      float total = 0;
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n) {
        const float u = exp2_approx(x[n].x - base), v = exp2_approx(x[n].y - base);
        total += u + v;
        probabilities[n / 2][n % 2 * 2 + h] = pack_pair(T{}, u, v);
      }
      total += __shfl_xor_sync(~0u, total, 1);
      total += __shfl_xor_sync(~0u, total, 2);
      sum_[h] = sum_[h] * factor[h] + total;
      max_[h] = top;
    }
    if (__any_sync(~0u, factor[0] != 1 || factor[1] != 1)) {  // rare after the first steps
#pragma unroll
      for (int n = 0; n < kColumns / 8; ++n) {
#pragma unroll
        for (int h = 0; h < 4; ++h) out_[n][h] *= factor[h / 2];
      }
    }
    const int first = step * kKeys;
    const bool hidden = (first < common_begin_ && first + kKeys > begin_) || (first + kKeys > common_end_ && first < end_);
    const unsigned values = ring_ + step % kStages * kStageBytes + (kTile.values_in_keys ? 0 : kKeyBytes);
#pragma unroll
    for (int k = 0; k < kKeys / 16; ++k) {
#pragma unroll
      for (int n = 0; n < kColumns / 16; ++n) {
        const int chunk = warp_col_ * (kColumns / 8) + 2 * n;
        if (8 * chunk >= p_.head_dim_vo) continue;
        unsigned b[4];
        ldmatrix_x4_transposed(b, values + swizzled_offset<kRowChunks>(16 * k + lane_ % 16, chunk + lane_ / 16));
        if (hidden && any_not_finite(b)) {
          add_seen(out_[2 * n], probabilities[k], b[0], b[1], first + 16 * k);
          add_seen(out_[2 * n + 1], probabilities[k], b[2], b[3], first + 16 * k);
        } else {
          mma_16x8x16(T{}, out_[2 * n], probabilities[k], b[0], b[1]);
          mma_16x8x16(T{}, out_[2 * n + 1], probabilities[k], b[2], b[3]);
        }
      }
    }
  }

  __device__ static bool any_not_finite(const unsigned (&b)[4]) {
    constexpr unsigned kLow = kExponentBits<T>, kHigh = kLow << 16;
    bool found = false;
#pragma unroll
    for (unsigned x : b) found |= (x & kLow) == kLow || (x & kHigh) == kHigh;
    return __any_sync(~0u, found);
  }

  /// A value that some rows must not see may be inf or NaN, and 0 · NaN is NaN: such a product goes key by key, and is added only
  /// to the rows that see the key. Rare: the matrix holds something that is not finite, and the step a key hidden from some rows.
  __device__ void add_seen(float (&out)[4], const unsigned (&probabilities)[4], unsigned b0, unsigned b1, int first) const {
#pragma unroll 1
    for (int key = 0; key < 16; ++key) {
      const unsigned half = key % 2 ? 0xffff0000u : 0x0000ffffu;
      const bool mine = lane_ % 4 == key % 8 / 2;
      float product[4] = {};
      mma_16x8x16(T{}, product, probabilities, mine && key < 8 ? b0 & half : 0, mine && key >= 8 ? b1 & half : 0);
#pragma unroll
      for (int h = 0; h < 4; ++h) {
        out[h] += first + key >= lo_[h / 2] && first + key < hi_[h / 2] ? product[h] : 0;
      }
    }
  }

  __device__ std::int64_t state_row() const { return ((s_.index * p_.num_kv_heads + kv_head_) * params_.num_splits + split_) * params_.max_rows + first_row_; }

  __device__ void store_lse() const {
    if (warp_col_ != 0 || lane_ % 4 != 0) return;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int row = 16 * warp_row_ + lane_ / 4 + 8 * h;
      if (row < num_rows_) params_.lses[state_row() + row] = sum_[h] == 0 ? -INFINITY : (max_[h] == -INFINITY ? 0 : max_[h]) + log2f(sum_[h]);
    }
  }

  __device__ void store() const {
    store_lse();
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int row = 16 * warp_row_ + lane_ / 4 + 8 * h;
      if (row >= num_rows_ || sum_[h] == 0) continue;
      const float scale = 1 / sum_[h];
      float* out = params_.outs + (state_row() + row) * p_.head_dim_vo;
#pragma unroll
      for (int n = 0; n < kColumns / 8; ++n) {
        const int column = warp_col_ * kColumns + 8 * n + lane_ % 4 * 2;
        if (column < p_.head_dim_vo) *reinterpret_cast<float2*>(out + column) = {out_[n][2 * h] * scale, out_[n][2 * h + 1] * scale};
      }
    }
  }

  const SplitParams& params_;
  const AttentionProblem& p_;
  const Span s_;
  int warp_row_, warp_col_, lane_;
  unsigned queries_, ring_;
  float* scores_;
  KeyOffsets* offsets_;

  std::int64_t kv_head_, split_, first_row_, first_key_;
  int num_rows_;
  int begin_, end_;                // keys that any row sees, counted from first_key_
  int common_begin_, common_end_;  // keys that every row sees
  int lo_[2], hi_[2];              // keys that this lane's two rows see
  float slope_[2], diagonal_[2];
  float max_[2] = {-INFINITY, -INFINITY}, sum_[2] = {};
  float out_[kColumns / 8][4] = {};
};

template <class T, SplitTile kTile>
__device__ void split_attention(const SplitParams& params) {
  extern __shared__ __align__(128) std::byte shared_memory[];
  SplitBlock<T, kTile>(params, shared_memory).run();
}

}  // namespace attn::cuda
