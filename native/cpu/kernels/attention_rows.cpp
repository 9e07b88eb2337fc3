// Few query rows per kv head (decoding): keys and values are read as they lie, once per block, and converted in registers;
// nothing is packed. Query by query, whose rows see the same keys, so no masks and no masked values arise.
//   s[r, j] = q[r] · k[j];  p = exp(s - max);  O[r] = O[r] · exp(old max - max) + Σ p[r, j] v[j]
// Any head dims and dtypes; features must be adjacent and keys of one part. Where the rows of several kv heads lie side by
// side, one task takes several heads, a few keys at a time: one head's rows alone are short pieces a power of two apart,
// which evict each other from the caches and use a fraction of every memory page that is opened.
// Scratch: rows · (head_dim_qk + kTileKv + 4) floats.

#include "cpu/kernels/attention_row_products.h"
#include "cpu/kernels/attention_softmax.h"

namespace attn::cpu::ATTN_ISA {
namespace {

/// A hardware prefetcher runs at most twenty lines ahead of one sequence of addresses, and follows one in each memory page (Intel's optimization manual);
/// the core itself, with the arithmetic of decoding between its loads, has only some lines more under way: together too few to keep memory busy. So keys
/// are read as several sequences at once, each in a page of its own.
constexpr std::int64_t kFewestStreams = 4;
constexpr std::int64_t kPageBytes = 4096;
/// From a row to what is fetched beside it.
constexpr std::int64_t kAheadBytes = 1024;
/// With more rows than these, sums move between registers and memory for more keys at a time.
constexpr int kFewRows = 8;
constexpr std::int64_t kManyRowsKeys = 16;
/// Fewer rows are faster one by one than as lanes.
constexpr std::int64_t kFewestLanes = 4;

constexpr int kShare = kLanes < 8 ? kLanes : 8;

ATTN_INLINE std::int64_t query_floats(const AttentionProblem& p, std::int64_t rows) { return round_up(rows * query_stride(p), 16); }

/// Rows are numbered head by head. What a row has one of has room for whole vectors of rows.
struct RowsScratch {
  float* queries;                       // [rows, query_stride]
  float* logits;                        // [rows, kTileKv]
  float *scales, *max, *sum, *factors;  // [rows]

  static std::int64_t floats(const AttentionProblem& p, std::int64_t rows) { return query_floats(p, rows) + rows * kTileKv + 4 * round_up(rows, kLanes); }

  ATTN_INLINE RowsScratch(float* memory, const AttentionProblem& p, std::int64_t rows) {
    const std::int64_t padded = round_up(rows, kLanes);
    queries = memory;
    logits = queries + query_floats(p, rows);
    scales = logits + rows * kTileKv;
    max = scales + padded;
    sum = max + padded;
    factors = sum + padded;
  }
};

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

/// One block of keys, counted from `first`: addresses in the order in which they are taken, and who sees what.
struct Block {
  ATTN_INLINE Block(std::int64_t first, std::int64_t lo, std::int64_t hi) : first(first), lo(lo), hi(hi) {}
  std::int64_t first, lo, hi;
  const std::byte* keys[kTileKv];
  const std::byte* values[kTileKv];
  QueryKeys queries[kMaxDirectRows];
  int num_queries = 0;
  bool whole = false;  // nothing is masked, nor depends on a key's place
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
    const std::int64_t together = kLanes / (p_.group_size & -p_.group_size);  // keys that dot_rows() takes together for the last rows of a group
    rows_ = static_cast<std::int64_t>(t_.num_rows) * t_.num_kv_heads;
    row_bytes_ = max_of(min_of(k_.row_bytes, v_.row_bytes), 1);
    streams_ = max_of(together, kFewestStreams);
    chunk_ = !shared_ ? kTileKv : t_.num_rows > kFewRows ? max_of(streams_, kManyRowsKeys) : streams_;
    ahead_ = {row_bytes_ >= kPageBytes ? chunk_ * row_bytes_ : shared_ ? kAheadBytes : round_up(kAheadBytes, row_bytes_)};
  }

  void run(KeyRange keys) const {
    begin_rows();
    const KeyRange whole = seen_by_all(keys);
    const auto in_order = [&](std::int64_t first, std::int64_t end) {
      for (; first < end; first += kTileKv) add_block(locate(first, {keys.begin, end}));
    };
    in_order(keys.begin / kTileKv * kTileKv, whole.begin);
    const std::int64_t streams = streams_over(whole);
    for (std::int64_t first = whole.begin; first < whole.end; first += kTileKv) add_block(locate_streams(first, whole, streams));
    in_order(whole.end, keys.end);
    end_rows();
  }

 private:
  ATTN_INLINE void begin_rows() const {
    for (std::int64_t r = 0; r < round_up(rows_, kLanes); ++r) {
      scratch_.max[r] = -__builtin_inff();
      scratch_.sum[r] = 0;
      scratch_.scales[r] = r < rows_ ? logit_factor(p_, *t_.sequence, t_.kv_head + r / t_.num_rows) : 0;
    }
  }

  ATTN_INLINE void end_rows() const {
    for (int h = 0; h < t_.num_kv_heads; ++h) {
      for (int r = 0; r < t_.num_rows; ++r) {
        t_.max[h * t_.state_stride + r] = scratch_.max[h * t_.num_rows + r];
        t_.sum[h * t_.state_stride + r] = scratch_.sum[h * t_.num_rows + r];
      }
    }
  }

  /// Whole blocks of keys that every row sees, and whose logits do not depend on where they lie: none or all that there are.
  ATTN_INLINE KeyRange seen_by_all(KeyRange keys) const {
    if (p_.alibi_slopes) return {keys.end, keys.end};
    const KeyRange first = visible_keys(p_, *t_.sequence, t_.row_begin / p_.group_size);
    const KeyRange last = visible_keys(p_, *t_.sequence, (t_.row_begin + t_.num_rows - 1) / p_.group_size);
    const std::int64_t begin = round_up(max_of(keys.begin, last.begin), kTileKv), end = min_of(keys.end, first.end) / kTileKv * kTileKv;
    return begin < end ? KeyRange{begin, end} : KeyRange{keys.end, keys.end};
  }

  /// Short pieces of rows, those of one head among others, are no sequences that a prefetcher follows.
  ATTN_INLINE std::int64_t streams_over(KeyRange keys) const {
    const std::int64_t read = t_.num_kv_heads * min_of(p_.head_dim_qk, p_.head_dim_vo) * static_cast<std::int64_t>(sizeof(T));
    std::int64_t streams = row_bytes_ < kPageBytes && 2 * read >= row_bytes_ ? streams_ : 1;
    while (streams > 1 && (keys.end - keys.begin) / streams * row_bytes_ < kPageBytes) streams /= 2;
    return streams;
  }

  ATTN_INLINE void add_block(const Block& block) const {
    for (std::int64_t j = block.lo; j < block.hi; j += chunk_) dot_chunk(block, j);
    if (block.whole && p_.logit_softcap == 0 && rows_ >= kFewestLanes) {
      for (std::int64_t r = 0; r < rows_; r += kLanes) {
        softmax_rows(scratch_.logits + r * kTileKv, static_cast<int>(min_of(kLanes, rows_ - r)), scratch_.scales + r, scratch_.max + r, scratch_.sum + r,
                     scratch_.factors + r);
      }
    } else {
      for (int h = 0; h < t_.num_kv_heads; ++h) softmax_head(block, h);
    }
    for (std::int64_t j = block.lo; j < block.hi; j += chunk_) add_chunk(block, j);
  }

  /// As many keys of each of `streams` equal parts of `keys`, all of them seen.
  ATTN_INLINE Block locate_streams(std::int64_t first, KeyRange keys, std::int64_t streams) const {
    Block block{first, 0, kTileKv};
    block.whole = true;
    const std::int64_t length = (keys.end - keys.begin) / streams, share = kTileKv / streams, begin = keys.begin + (first - keys.begin) / streams;
    for (std::int64_t stream = 0; stream < streams; ++stream) {
      for (std::int64_t i = 0; i < share; ++i) locate_key(begin + stream * length + i, i * streams + stream, block);
    }
    locate_queries(block);
    return block;
  }

  /// Those of the keys that are in the block, in order.
  ATTN_INLINE Block locate(std::int64_t first, KeyRange keys) const {
    Block block{first, max_of(keys.begin - first, 0), min_of(keys.end - first, kTileKv)};
    for (std::int64_t j = block.lo; j < block.hi; ++j) locate_key(first + j, j, block);
    locate_queries(block);
    return block;
  }

  ATTN_INLINE void locate_key(std::int64_t key, std::int64_t at, Block& block) const {
    block.keys[at] = k_.row(key);
    block.values[at] = v_.row(key);
  }

  ATTN_INLINE void locate_queries(Block& block) const {
    for (int r = 0; r < t_.num_rows;) {
      const std::int64_t query = (t_.row_begin + r) / p_.group_size;
      const int end = static_cast<int>(min_of((query + 1) * p_.group_size - t_.row_begin, t_.num_rows));
      const KeyRange all = visible_keys(p_, *t_.sequence, query);
      const KeyRange seen{max_of(all.begin - block.first, block.lo), min_of(all.end - block.first, block.hi)};
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
    each_part(block, j, [&](int h, const QueryKeys& q, KeyRange part) {
      const HeadBlock keys{block.keys, h * k_.head_bytes, p_.head_dim_qk};
      share_rows<kShare>(q.first, q.end, [&](int r, auto count) {
        const std::int64_t row = static_cast<std::int64_t>(h) * t_.num_rows + r;
        const auto dot = [&](auto ahead) {
          dot_rows<T, count>(scratch_.queries + row * q_stride, q_stride, keys, part.begin, part.end, scratch_.logits + row * kTileKv, ahead);
        };
        &q == block.queries&& r == q.first ? dot(ahead_) : dot(Fetch<false>{});
      });
    });
  }

  ATTN_INLINE void softmax_head(const Block& block, int h) const {
    for (int n = 0; n < block.num_queries; ++n) {
      const QueryKeys& q = block.queries[n];
      for (int r = q.first; r < q.end; ++r) {
        const std::int64_t head = (t_.kv_head + h) * static_cast<std::int64_t>(p_.group_size) + (t_.row_begin + r) % p_.group_size;
        const std::int64_t row = static_cast<std::int64_t>(h) * t_.num_rows + r;
        scratch_.factors[row] = softmax_block(scratch_.logits + row * kTileKv, logit_row(p_, *t_.sequence, q.query, head, block.first), q.seen.begin,
                                              q.seen.end, scratch_.max + row, scratch_.sum + row);
      }
    }
  }

  ATTN_INLINE void add_chunk(const Block& block, std::int64_t j) const {
    const std::int64_t stride = accumulator_stride(p_);
    each_part(block, j, [&](int h, const QueryKeys& q, KeyRange part) {
      const HeadBlock values{block.values, h * v_.head_bytes, p_.head_dim_vo};
      share_rows<min_of(kShare, kMostAddRows)>(q.first, q.end, [&](int r, auto count) {
        const std::int64_t row = static_cast<std::int64_t>(h) * t_.num_rows + r;
        const float* factors = part.begin == q.seen.begin ? scratch_.factors + row : nullptr;  // the old sum is scaled once
        const auto add = [&](auto ahead) {
          add_rows<T, count>(scratch_.logits + row * kTileKv, factors, values, part.begin, part.end, t_.accumulator + h * t_.state_stride + r * stride, stride,
                             ahead);
        };
        &q == block.queries&& r == q.first ? add(ahead_) : add(Fetch<false>{});
      });
    });
  }

  const AttentionTile& t_;
  const AttentionProblem& p_;
  const RowsScratch scratch_;
  const KvRows k_, v_;
  const bool shared_;  // several heads
  std::int64_t rows_ = 0;
  std::int64_t row_bytes_ = 1;
  std::int64_t streams_ = 1;  // of keys, at most
  std::int64_t chunk_ = 0;    // keys that a head takes before the next one does
  Fetch<true> ahead_;
};

}  // namespace

std::size_t attention_rows_scratch(const AttentionProblem& problem, int num_rows, int num_kv_heads) {
  return static_cast<std::size_t>(RowsScratch::floats(problem, static_cast<std::int64_t>(num_rows) * num_kv_heads)) * sizeof(float);
}

void attention_rows(const AttentionTile& t) {
  const std::int64_t rows = static_cast<std::int64_t>(t.num_rows) * t.num_kv_heads;
  const RowsScratch scratch(reinterpret_cast<float*>(t.scratch), *t.problem, rows);
  float* queries = scratch.queries;
  for (int h = 0; h < t.num_kv_heads; ++h) {
    const AttentionTile head = tile_of_head(t, h);
    clear_state(head);
    pack_queries(head, 0, t.num_rows, queries + static_cast<std::int64_t>(h) * t.num_rows * query_stride(*t.problem));
  }
  const KeyRange keys = tile_keys(t);
  with_operand_dtype(t.problem->k[0].dtype, [&](auto* typed) {
    using T = ElementOf<decltype(typed)>;
    for (std::int64_t r = 0; kDealt<T> && r < rows; ++r) deal_row(queries + r * query_stride(*t.problem), t.problem->head_dim_qk);
    const RowsTask<T> task(t, scratch);
    if (keys.begin < keys.end) task.run(keys);
    for (int h = 0; kDealt<T> && h < t.num_kv_heads; ++h) {
      float* accumulator = t.accumulator + h * t.state_stride;
      for (int r = 0; r < t.num_rows; ++r) undeal_row(accumulator + r * accumulator_stride(*t.problem), t.problem->head_dim_vo);
    }
  });
  finish_heads(t);
}

}  // namespace attn::cpu::ATTN_ISA
