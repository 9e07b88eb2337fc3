// Few query rows per kv head (decoding): keys and values are read as they lie, once per block, and converted in registers;
// nothing is packed. Query by query, whose rows see the same keys, so no masks and no masked values arise.
//   s[r, j] = q[r] · k[j];  p = exp(s - max);  O[r] = O[r] · exp(old max - max) + Σ p[r, j] v[j]
// Any head dims and dtypes; features must be adjacent and keys of one part. Where the rows of several kv heads lie side by
// side, one task takes several heads, chunk by chunk of the keys: one head's rows alone are short pieces a power of two
// apart, which evict each other from the caches and use a fraction of every memory page that is opened.
// Scratch: rows · (head_dim_qk + kTileKv + 1) floats.

#include "cpu/kernels/attention_row_products.h"
#include "cpu/kernels/attention_softmax.h"

namespace attn::cpu::ATTN_ISA {
namespace {

/// Keys ahead of the current one whose rows are fetched, with one head per task; with several it is one chunk.
constexpr std::int64_t kPrefetchKeys = 16;
/// Rows of all heads that one chunk holds: half of an L1 cache, so that they are still there when the last head comes.
constexpr std::int64_t kChunkBytes = 32 * 1024;
/// Fewer keys would leave lanes of dot_rows() idle.
constexpr std::int64_t kMinChunkKeys = kLanes < 8 ? 8 : kLanes;

constexpr int kShare = kLanes < 8 ? kLanes : 8;
constexpr float kOnes[kMaxDirectRows] = {1, 1, 1, 1, 1, 1, 1, 1};

/// Rows are numbered head by head.
struct RowsScratch {
  float* queries;  // [rows, query_stride]
  float* logits;   // [rows, kTileKv]
  float* factors;  // [rows]
};

ATTN_INLINE std::int64_t query_floats(const AttentionProblem& p, std::int64_t rows) { return round_up(rows * query_stride(p), 16); }

/// Calls fn with row and count for shares of kLanes, …, 4, 2, 1 rows (8 at most).
template <int kRows, class Fn>
ATTN_INLINE void share_rows(int first, int end, Fn&& fn) {
  while (end - first >= kRows) {
    fn(first, std::integral_constant<int, kRows>{});
    first += kRows;
  }
  if constexpr (kRows > 1) share_rows<kRows / 2>(first, end, fn);
}

/// The keys of one block that the rows [first, end) of one query see.
struct QueryKeys {
  std::int64_t query;
  int first, end;
  KeyRange seen;
};

/// One block of keys, counted from `first`: addresses, and who sees what.
struct Block {
  std::int64_t first, lo, hi;
  // Followed by the rows that are read next, to be fetched early: values after the last keys, keys of the next block after the last values.
  const std::byte* keys[2 * kTileKv];
  const std::byte* values[2 * kTileKv];
  QueryKeys queries[kMaxDirectRows];
  int num_queries = 0;
};

template <class T>
class RowsTask {
 public:
  RowsTask(const AttentionTile& tile, const RowsScratch& scratch)
      : t_(tile),
        p_(*tile.problem),
        scratch_(scratch),
        k_(kv_rows(p_, *t_.sequence, p_.k[0], t_.sequence->k_start[0], t_.kv_head)),
        v_(kv_rows(p_, *t_.sequence, p_.v, t_.sequence->v_start, t_.kv_head)),
        shared_(t_.num_kv_heads > 1) {
    const std::int64_t row_bytes = t_.num_kv_heads * max_of(p_.head_dim_qk, p_.head_dim_vo) * static_cast<std::int64_t>(sizeof(T));
    chunk_ = shared_ ? min_of(max_of(kChunkBytes / row_bytes, kMinChunkKeys), kTileKv) : kTileKv;
    ahead_ = shared_ ? chunk_ : kPrefetchKeys;
  }

  void run(std::int64_t first, KeyRange keys) const {
    Block block;
    locate(first, keys, block);
    for (std::int64_t j = block.lo; j < block.hi; j += chunk_) dot_chunk(block, j);
    for (int h = 0; h < t_.num_kv_heads; ++h) softmax_head(block, h);
    for (std::int64_t j = block.lo; j < block.hi; j += chunk_) add_chunk(block, j);
  }

 private:
  ATTN_INLINE void locate(std::int64_t first, KeyRange keys, Block& block) const {
    block.first = first;
    block.lo = max_of(keys.begin - first, 0);
    block.hi = min_of(keys.end - first, kTileKv);
    for (std::int64_t j = block.lo; j < block.hi; ++j) {
      block.keys[j] = k_.row(first + j);
      block.values[j] = v_.row(first + j);
    }
    for (std::int64_t i = 0; i < ahead_; ++i) {
      block.keys[block.hi + i] = block.values[min_of(block.lo + i, block.hi - 1)];
      block.values[block.hi + i] = k_.row(min_of(first + block.hi + i, keys.end - 1));
    }
    for (int r = 0; r < t_.num_rows;) {
      const std::int64_t query = (t_.row_begin + r) / p_.group_size;
      const int end = static_cast<int>(min_of((query + 1) * p_.group_size - t_.row_begin, t_.num_rows));
      const KeyRange all = visible_keys(p_, *t_.sequence, query);
      const KeyRange seen{max_of(all.begin - first, block.lo), min_of(all.end - first, block.hi)};
      if (seen.begin < seen.end) block.queries[block.num_queries++] = {query, r, end, seen};
      r = end;
    }
  }

  /// Calls fn(head, query keys, their part within the chunk) for the chunk that begins with key j.
  template <class Fn>
  ATTN_INLINE void each_part(const Block& block, std::int64_t j, Fn&& fn) const {
    const std::int64_t end = min_of(j + chunk_, block.hi);
    for (int h = 0; h < t_.num_kv_heads; ++h) {
      for (int n = 0; n < block.num_queries; ++n) {
        const KeyRange part{max_of(block.queries[n].seen.begin, j), min_of(block.queries[n].seen.end, end)};
        if (part.begin < part.end) fn(h, block.queries[n], part);
      }
    }
  }

  ATTN_INLINE void dot_chunk(const Block& block, std::int64_t j) const {
    const std::int64_t q_stride = query_stride(p_);
    NoPrefetch none;
    RowPrefetch ahead = rows_ahead(block, block.keys, j, k_, p_.head_dim_qk);
    each_part(block, j, [&](int h, const QueryKeys& q, KeyRange part) {
      const HeadBlock keys{block.keys, h * k_.head_bytes, p_.head_dim_qk};
      share_rows<kShare>(q.first, q.end, [&](int r, auto count) {
        const std::int64_t row = static_cast<std::int64_t>(h) * t_.num_rows + r;
        const auto dot = [&](auto& prefetch) {
          dot_rows<T, count>(scratch_.queries + row * q_stride, q_stride, keys, part.begin, part.end, scratch_.logits + row * kTileKv, prefetch);
        };
        &q == block.queries&& r == q.first ? dot(ahead) : dot(none);
      });
    });
  }

  /// The rows that are read after those of the chunk that begins with row j.
  ATTN_INLINE RowPrefetch rows_ahead(const Block& block, const std::byte* const* rows, std::int64_t j, const KvRows& of, std::int64_t dim) const {
    return {rows + j + ahead_, rows + block.hi + ahead_ - 1, (t_.num_kv_heads - 1) * of.head_bytes + dim * static_cast<std::int64_t>(sizeof(T))};
  }

  ATTN_INLINE void softmax_head(const Block& block, int h) const {
    const std::int64_t state = h * t_.state_stride;
    for (int n = 0; n < block.num_queries; ++n) {
      const QueryKeys& q = block.queries[n];
      for (int r = q.first; r < q.end; ++r) {
        const std::int64_t head = (t_.kv_head + h) * static_cast<std::int64_t>(p_.group_size) + (t_.row_begin + r) % p_.group_size;
        const std::int64_t row = static_cast<std::int64_t>(h) * t_.num_rows + r;
        scratch_.factors[row] = softmax_block(scratch_.logits + row * kTileKv, logit_row(p_, *t_.sequence, q.query, head, block.first), q.seen.begin,
                                              q.seen.end, t_.max + state + r, t_.sum + state + r);
      }
    }
  }

  ATTN_INLINE void add_chunk(const Block& block, std::int64_t j) const {
    const std::int64_t stride = accumulator_stride(p_);
    NoPrefetch none;
    RowPrefetch ahead = rows_ahead(block, block.values, j, v_, p_.head_dim_vo);
    each_part(block, j, [&](int h, const QueryKeys& q, KeyRange part) {
      const HeadBlock values{block.values, h * v_.head_bytes, p_.head_dim_vo};
      share_rows<min_of(kShare, kMostAddRows)>(q.first, q.end, [&](int r, auto count) {
        const std::int64_t row = static_cast<std::int64_t>(h) * t_.num_rows + r;
        const float* factors = part.begin == q.seen.begin ? scratch_.factors + row : kOnes;  // the old sum is scaled once
        const auto add = [&](auto& prefetch) {
          add_rows<T, count>(scratch_.logits + row * kTileKv, factors, values, part.begin, part.end, t_.accumulator + h * t_.state_stride + r * stride, stride,
                             prefetch);
        };
        &q == block.queries&& r == q.first ? add(ahead) : add(none);
      });
    });
  }

  const AttentionTile& t_;
  const AttentionProblem& p_;
  const RowsScratch scratch_;
  const KvRows k_, v_;
  const bool shared_;       // several heads
  std::int64_t chunk_ = 0;  // keys
  std::int64_t ahead_ = 0;  // keys, at most kTileKv
};

}  // namespace

std::size_t attention_rows_scratch(const AttentionProblem& problem, int num_rows, int num_kv_heads) {
  const std::int64_t rows = static_cast<std::int64_t>(num_rows) * num_kv_heads;
  return static_cast<std::size_t>(query_floats(problem, rows) + rows * kTileKv + rows) * sizeof(float);
}

void attention_rows(const AttentionTile& t) {
  const std::int64_t rows = static_cast<std::int64_t>(t.num_rows) * t.num_kv_heads;
  float* queries = reinterpret_cast<float*>(t.scratch);
  float* logits = queries + query_floats(*t.problem, rows);
  for (int h = 0; h < t.num_kv_heads; ++h) {
    const AttentionTile head = tile_of_head(t, h);
    clear_state(head);
    pack_queries(head, queries + static_cast<std::int64_t>(h) * t.num_rows * query_stride(*t.problem));
  }
  const KeyRange keys = tile_keys(t);
  with_operand_dtype(t.problem->k[0].dtype, [&](auto* typed) {
    using T = ElementOf<decltype(typed)>;
    for (std::int64_t r = 0; kDealt<T> && r < rows; ++r) deal_row(queries + r * query_stride(*t.problem), t.problem->head_dim_qk);
    const RowsTask<T> task(t, {queries, logits, logits + rows * kTileKv});
    for (std::int64_t block = keys.begin / kTileKv * kTileKv; block < keys.end; block += kTileKv) task.run(block, keys);
    for (int h = 0; kDealt<T> && h < t.num_kv_heads; ++h) {
      float* accumulator = t.accumulator + h * t.state_stride;
      for (int r = 0; r < t.num_rows; ++r) undeal_row(accumulator + r * accumulator_stride(*t.problem), t.problem->head_dim_vo);
    }
  });
}

}  // namespace attn::cpu::ATTN_ISA
