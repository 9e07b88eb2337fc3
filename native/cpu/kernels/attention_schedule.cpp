#include "cpu/kernels/attention_schedule.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>
#include <vector>

namespace attn::cpu {
namespace {

constexpr std::int64_t kTasksPerSequence = 64;   // enough for many cores, few enough that merging stays cheap
constexpr std::int64_t kSharedTasks = 32;        // the same of several kv heads, whose states are larger
constexpr std::int64_t kFewestTasks = 8;         // kv heads are taken together only where that many tasks remain
constexpr std::int64_t kEnoughTasks = 16;        // of several kv heads: keys are split finer until there are as many
constexpr std::int64_t kMinSplitKeys = 512;      // of one kv head: a split's state is worth a key or two; its work should be worth many more
constexpr std::int64_t kSharedKeys = 128;        // of several kv heads
constexpr std::int64_t kMinSharedKeys = 64;      // the same, up to kEnoughTasks
constexpr std::int64_t kHeadsBytes = 4096;       // rows of kv heads taken together: more bytes in a row make memory no faster
constexpr std::int64_t kRowsFloats = 32 * 1024;  // queries, logits and accumulators of the direct path: a quarter of a 512 KiB L2 cache
// Queries, logits and accumulator of a tile. They may leave the L2 cache, since chunks of rows stream them at a byte or two per cycle; packing
// a block of keys and values for few rows costs more (a tenth of the time at 192 rows of 128 features).
constexpr std::int64_t kTileFloats = 192 * 1024;
constexpr std::int64_t kTasksPerThread = 6;
constexpr std::int64_t kFewTasksPerThread = 4;  // of equal ones, where keys are few
constexpr std::int64_t kLatentRows = 192;       // of MLA's wide rows
constexpr std::int64_t kFewRows = 24;           // a tile of fewer is not worth packing keys for
constexpr std::int64_t kRowStep = 48;           // a multiple of every instruction set's register tile
constexpr float kNone = -std::numeric_limits<float>::infinity();

std::int64_t div_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
std::int64_t round_up(std::int64_t a, std::int64_t b) { return div_up(a, b) * b; }

/// How one sequence is cut.
struct Partition {
  bool direct = false;
  std::int64_t rows = 0;  // per kv head
  int tile_rows = 1;
  int heads = 1;                   // kv heads that one task takes together
  std::int64_t num_tiles = 0;      // per kv head
  std::int64_t planned_tiles = 0;  // the same before tiles were widened for the threads at hand: what splits are planned by
  std::int64_t num_splits = 1;
  KeyRange keys{0, 0};          // visible to any row; begin is a multiple of kTileKv
  std::int64_t split_keys = 0;  // a multiple of kTileKv
};

/// Into how many parts a task of `heads` kv heads may split `keys` keys. Never falls as the number of keys grows.
std::int64_t worthwhile_splits(std::int64_t heads, std::int64_t keys) {
  if (heads == 1) return div_up(keys, kMinSplitKeys);
  return std::max(div_up(keys, std::max(kMinSplitKeys / heads, kSharedKeys)), std::min(div_up(keys, kMinSharedKeys), kEnoughTasks));
}

/// Whether the rows of all kv heads lie side by side.
bool heads_interleaved(const AttentionProblem& p, const HeadRows& rows) {
  return rows.head_stride >= 0 && (p.num_kv_heads - 1) * rows.head_stride < rows.row_stride;
}

/// How many kv heads one task of the direct path takes. Never falls as the number of keys grows.
int heads_together(const AttentionProblem& p, std::int64_t rows, std::int64_t keys) {
  if (!heads_interleaved(p, p.k[0]) || !heads_interleaved(p, p.v)) return 1;
  const std::int64_t row_bytes = std::max(p.head_dim_qk, p.head_dim_vo) * dtype_size(p.v.dtype);
  const std::int64_t fitting = std::min(kHeadsBytes / row_bytes, kRowsFloats / (rows * (p.head_dim_qk + p.head_dim_vo + kTileKv)));
  const std::int64_t tasks = div_up(p.num_kv_heads, std::clamp<std::int64_t>(fitting, 1, p.num_kv_heads));
  const std::int64_t heads = div_up(p.num_kv_heads, tasks);
  // All or one: some heads of a row of a few KiB are read no faster than one.
  return tasks * worthwhile_splits(heads, keys) < kFewestTasks ? 1 : static_cast<int>(heads);
}

/// Into how many parts `keys` keys are split at most. Never falls as the number of keys grows.
std::int64_t splits_of(const AttentionProblem& p, const Partition& part, std::int64_t keys) {
  const std::int64_t wanted =
      std::max<std::int64_t>((part.heads > 1 ? kSharedTasks : kTasksPerSequence) / (part.planned_tiles * div_up(p.num_kv_heads, part.heads)), 1);
  return std::clamp<std::int64_t>(worthwhile_splits(part.heads, keys), 1, wanted);
}

std::int64_t most_keys(const AttentionProblem& p, const SequenceSpan& s) {
  return visible_keys(p, s, s.qo_len - 1).end - std::max<std::int64_t>(visible_keys(p, s, 0).begin, 0);
}

/// Upper bound of num_splits for any kv_len up to the sequence's own.
std::int64_t most_splits(const AttentionProblem& p, const Partition& part, const SequenceSpan& s) {
  return part.rows == 0 ? 1 : splits_of(p, part, most_keys(p, s));
}

/// What is known of a sequence before the work runs: its rows, and the most keys that it can have.
SequenceSpan longest_span(AttentionProblem problem, std::int64_t b) {
  problem.kv_lens = nullptr;
  return sequence_span(problem, b);
}

std::int64_t most_tile_rows(const AttentionProblem& p) {
  const std::int64_t fitting = kTileFloats / (p.head_dim_qk + p.head_dim_vo + kTileKv) / kRowStep * kRowStep;
  return std::clamp<std::int64_t>(fitting, kRowStep, kMaxTileRows);
}

/// Tiles as tall as leaves every thread enough of them: keys are packed once per tile. A row's result is the same in any tile.
void widen_tiles(const AttentionProblem& p, Partition& part, int threads, std::int64_t keys) {
  std::int64_t rows = most_tile_rows(p);
  if (keys <= kTileKv) {
    // Even shares for every thread.
    const std::int64_t tiles = std::min(div_up(kFewTasksPerThread * threads, p.num_kv_heads * p.batch), div_up(part.rows, kFewRows));
    part.tile_rows = static_cast<int>(std::min({round_up(div_up(part.rows, tiles), 16), rows, part.rows}));
    part.num_tiles = div_up(part.rows, part.tile_rows);
    return;
  }
  while (rows > part.tile_rows && div_up(part.rows, rows) * p.num_kv_heads * p.batch < kTasksPerThread * threads) rows -= kRowStep;
  rows = std::max<std::int64_t>(rows, part.tile_rows);
  part.num_tiles = div_up(part.rows, rows);
  // As many tiles, but even ones: a short last one would have its keys packed for a few rows.
  part.tile_rows = static_cast<int>(std::min(round_up(div_up(part.rows, part.num_tiles), kRowStep), part.rows));
  part.num_tiles = div_up(part.rows, part.tile_rows);
}

/// The cut over the keys follows from the sequence's own shape alone; that over the rows may follow the number of threads.
Partition partition_of(const AttentionProblem& p, AttentionPath path, const SequenceSpan& s, int threads) {
  Partition part;
  part.rows = s.qo_len * p.group_size;
  if (part.rows == 0) return part;
  part.direct = path == AttentionPath::kDirect || (preferred_path(p) == AttentionPath::kTiled && part.rows <= kMaxDirectRows && !direct_rows_missing(p));
  if (part.direct) {
    part.tile_rows = static_cast<int>(part.rows);
  } else {
    std::int64_t rows = most_tile_rows(p);
    while (rows > kRowStep && div_up(part.rows, rows) * p.num_kv_heads < kTasksPerSequence) rows -= kRowStep;
    // All heads share MLA's latent rows: read and packed once for as many of them as a tile takes. Keys are split instead.
    if (p.v_in_k) rows = kLatentRows;
    part.tile_rows = static_cast<int>(std::min(rows, part.rows));
  }
  part.num_tiles = part.planned_tiles = div_up(part.rows, part.tile_rows);
  const std::int64_t begin = std::max<std::int64_t>(visible_keys(p, s, 0).begin, 0);
  const std::int64_t end = visible_keys(p, s, s.qo_len - 1).end;
  if (begin >= end) return part;
  part.keys = {begin / kTileKv * kTileKv, end};
  if (part.direct) part.heads = heads_together(p, part.rows, end - begin);
  part.split_keys = round_up(div_up(end - part.keys.begin, splits_of(p, part, end - begin)), kTileKv);
  part.num_splits = div_up(end - part.keys.begin, part.split_keys);
  // By the most keys that there can be: the workspace was measured before the lengths were known.
  const SequenceSpan longest = longest_span(p, s.index);
  if (!part.direct && !p.v_in_k && most_splits(p, part, longest) == 1) widen_tiles(p, part, threads, most_keys(p, longest));
  return part;
}

/// Floats of one tile's state: accumulator, max, sum.
std::int64_t state_floats(const AttentionProblem& p, std::int64_t rows) { return round_up(rows * (accumulator_stride(p) + 2), 16); }

struct TileState {
  float *accumulator, *max, *sum;
  TileState(float* memory, const AttentionProblem& p, std::int64_t rows) : accumulator(memory), max(memory + rows * accumulator_stride(p)), sum(max + rows) {}
};

/// Bytes of one thread's part of the workspace: the states of a task's kv heads, then scratch.
struct ThreadSpace {
  std::size_t state = 0, scratch = 0;
  void cover(const AttentionProblem& p, const AttentionFunctions& functions, const Partition& part) {
    const auto rows_scratch = functions.takes_more(p, part.rows) ? functions.more_rows_scratch : functions.rows_scratch;
    const auto bytes = part.direct ? rows_scratch(p, part.tile_rows, part.heads) : functions.tile_scratch(p, part.tile_rows);
    state = std::max(state, static_cast<std::size_t>(part.heads * state_floats(p, part.tile_rows)) * sizeof(float));
    scratch = std::max(scratch, (bytes + 63) / 64 * 64);
  }
  std::size_t bytes() const { return state + scratch; }
};

struct SequenceWork {
  SequenceSpan span;
  Partition part;
  float* states = nullptr;  // of [tile, split, kv head], where keys are split

  float* state(const AttentionProblem& p, std::int64_t kv_head, std::int64_t tile, std::int64_t split) const {
    return states + ((tile * part.num_splits + split) * p.num_kv_heads + kv_head) * state_floats(p, part.tile_rows);
  }
  int rows_of_tile(std::int64_t tile) const { return static_cast<int>(std::min<std::int64_t>(part.tile_rows, part.rows - tile * part.tile_rows)); }
  KeyRange keys_of_split(std::int64_t split) const {
    const std::int64_t begin = part.keys.begin + split * part.split_keys;
    return {begin, std::min(begin + part.split_keys, part.keys.end)};
  }
};

struct Task {
  std::int64_t sequence, kv_head, num_kv_heads, tile, split;
  std::int64_t cost;  // pairs of a row and a key, about
};

std::int64_t cost_of(const AttentionProblem& p, const SequenceWork& work, std::int64_t tile, KeyRange keys) {
  const std::int64_t first = tile * work.part.tile_rows, last = first + work.rows_of_tile(tile) - 1;
  const KeyRange head = visible_keys(p, work.span, first / p.group_size), tail = visible_keys(p, work.span, last / p.group_size);
  const auto seen = [&](const KeyRange& range) { return std::max<std::int64_t>(std::min(range.end, keys.end) - std::max(range.begin, keys.begin), 0); };
  return (seen(head) + seen(tail) + 1) * (last - first + 1);
}

/// The dear ones first; of equal cost in the order in which they are made. Total, so that sorting needs no memory of its own.
bool runs_before(const Task& a, const Task& b) {
  return std::tie(b.cost, a.sequence, a.tile, a.split, a.kv_head) < std::tie(a.cost, b.sequence, b.tile, b.split, b.kv_head);
}

/// Rows [first, end) of a tile whose keys were split: a tile of MLA's many rows is merged by several threads.
struct Merge {
  std::int64_t sequence, kv_head, tile;
  int first, end;
};
constexpr int kMergeRows = 16;

/// The lists of one call, kept by the thread that runs the queue: after the first of many like calls nothing is allocated.
struct Plan {
  static constexpr std::size_t kKeptTasks = 4096;  // lists of longer ones are let go of by the next call
  std::vector<SequenceWork> sequences;
  std::vector<Task> tasks;
  std::vector<Merge> merges;
  std::vector<std::int64_t> padded;

  void clear() {
    if (std::max(tasks.capacity(), sequences.capacity()) > kKeptTasks) *this = Plan();
    sequences.clear();
    tasks.clear();
    merges.clear();
    padded.clear();
  }
};

std::byte* out_row(const AttentionProblem& p, const SequenceSpan& s, std::int64_t head, std::int64_t i) {
  return p.out.data + (s.out_start + i * p.out.row_stride + head * p.out.head_stride) * dtype_size(p.out.dtype);
}

void write_lse(const AttentionProblem& p, const SequenceSpan& s, std::int64_t head, std::int64_t i, float value) {
  if (p.lse) p.lse[s.lse_start + head * p.lse_head_stride + i] = value;
}

/// The factor of a head's values in float8_e4m3.
float value_scale(const AttentionProblem& p, const SequenceSpan& s, std::int64_t head) {
  return p.v_scales.data ? p.v_scales.data[s.index * p.v_scales.sequence_stride + head / p.group_size * p.v_scales.head_stride] : 1.0f;
}

/// What a row's sums are multiplied by, from its state and its sink: 0 where it saw nothing. Writes the lse.
float row_factor(const AttentionProblem& p, const SequenceSpan& s, std::int64_t head, std::int64_t i, float max, float sum) {
  const float sink = p.sinks ? p.sinks[head * p.sinks_stride] : kNone;
  float factor = 0, lse = sink;
  if (sum != 0) {
    const float top = sink > max ? sink : max;
    const float weight = max == kNone || max == top ? 1.0f : std::exp(max - top);  // max is -inf with a sum that is NaN
    const double total = static_cast<double>(sum) * weight + (p.sinks ? std::exp(static_cast<double>(sink) - top) : 0.0);
    factor = static_cast<float>(weight / total) * value_scale(p, s, head);
    if (p.lse) lse = static_cast<float>(top + std::log(total));
  }
  write_lse(p, s, head, i, lse);
  return factor;
}

/// Adds the sink, normalises, scales, converts. `accumulator` is overwritten where the row saw nothing.
void finish_row(const AttentionProblem& p, const AttentionFunctions& functions, const SequenceSpan& s, std::int64_t head, std::int64_t i, float* accumulator,
                float max, float sum) {
  // Nothing seen: the state may still hold 0 · NaN of keys whose logit is -inf.
  if (sum == 0) std::fill_n(accumulator, accumulator_stride(p), 0.0f);
  const float factor = row_factor(p, s, head, i, max, sum);
  functions.write_row(accumulator, factor, p.head_dim_vo, p.out.dtype, out_row(p, s, head, i), p.out.dim_stride);
}

void finish_rows(const AttentionProblem& p, const AttentionFunctions& functions, const SequenceWork& work, std::int64_t kv_head, std::int64_t tile,
                 const TileState& state, int first, int end) {
  const std::int64_t row = tile * work.part.tile_rows + first, stride = accumulator_stride(p);
  std::int64_t query = row / p.group_size, member = row % p.group_size;
  for (int r = first; r < end; ++r) {
    finish_row(p, functions, work.span, kv_head * p.group_size + member, query, state.accumulator + r * stride, state.max[r], state.sum[r]);
    if (++member < p.group_size) continue;
    member = 0;
    ++query;
  }
}

/// Sums the splits' states into the first, in order of the keys.
TileState merge_splits(const AttentionProblem& p, const SequenceWork& work, const Merge& merge) {
  const std::int64_t stride = accumulator_stride(p), kv_head = merge.kv_head, tile = merge.tile;
  const TileState merged(work.state(p, kv_head, tile, 0), p, work.part.tile_rows);
  for (int r = merge.first; r < merge.end; ++r) {
    float top = kNone;
    for (std::int64_t split = 0; split < work.part.num_splits; ++split) {
      top = std::max(top, TileState(work.state(p, kv_head, tile, split), p, work.part.tile_rows).max[r]);
    }
    float sum = 0;
    for (std::int64_t split = 0; split < work.part.num_splits; ++split) {
      const TileState state(work.state(p, kv_head, tile, split), p, work.part.tile_rows);
      if (state.sum[r] == 0) {
        if (split == 0) std::fill_n(merged.accumulator + r * stride, stride, 0.0f);
        continue;
      }
      const float weight = state.max[r] == kNone ? 1.0f : std::exp(state.max[r] - top);
      sum += state.sum[r] * weight;
      const float* from = state.accumulator + r * stride;
      float* to = merged.accumulator + r * stride;
      for (std::int64_t d = 0; d < stride; ++d) to[d] = (split == 0 ? 0.0f : to[d]) + from[d] * weight;
    }
    merged.max[r] = top;
    merged.sum[r] = sum;
  }
  return merged;
}

/// Rows of a padded batch beyond the sequence's own.
void write_padding(const AttentionProblem& p, const AttentionFunctions& functions, const SequenceSpan& s) {
  const std::vector<float> zeros(accumulator_stride(p));
  for (std::int64_t i = s.qo_len; i < s.qo_rows; ++i) {
    for (int head = 0; head < p.num_qo_heads; ++head) {
      functions.write_row(zeros.data(), 1, p.head_dim_vo, p.out.dtype, out_row(p, s, head, i), p.out.dim_stride);
      write_lse(p, s, head, i, kNone);
    }
  }
}

}  // namespace

std::int64_t rows_per_kv_head(const AttentionProblem& problem) { return problem.qo_len * problem.group_size; }

const char* direct_rows_missing(const AttentionProblem& p) {
  if (p.v_in_k) return "takes values apart from the keys";
  if (p.num_parts != 1) return "takes keys of one part, received two";
  if (p.k[0].dtype != p.v.dtype) return "takes keys and values of one dtype";
  if (p.k[0].dim_stride != 1 || p.v.dim_stride != 1) return "takes keys and values whose features are adjacent";
  return nullptr;
}

AttentionPath preferred_path(const AttentionProblem& problem) {
  return rows_per_kv_head(problem) <= kMaxDirectRows && !direct_rows_missing(problem) ? AttentionPath::kDirect : AttentionPath::kTiled;
}

std::int64_t planned_splits(const AttentionProblem& problem, AttentionPath path) {
  std::int64_t splits = 1;
  for (std::int64_t b = 0; b < problem.batch; ++b) {
    const SequenceSpan span = longest_span(problem, b);
    splits = std::max(splits, most_splits(problem, partition_of(problem, path, span, 1), span));
  }
  return splits;
}

std::size_t attention_workspace(const AttentionProblem& problem, const AttentionFunctions& functions, AttentionPath path, int num_threads) {
  ThreadSpace space;
  std::int64_t floats = 0;
  for (std::int64_t b = 0; b < problem.batch; ++b) {
    const SequenceSpan span = longest_span(problem, b);
    const Partition part = partition_of(problem, path, span, num_threads);
    space.cover(problem, functions, part);
    const std::int64_t splits = most_splits(problem, part, span);
    if (splits > 1) floats += problem.num_kv_heads * part.num_tiles * splits * state_floats(problem, part.tile_rows);
  }
  return space.bytes() * num_threads + static_cast<std::size_t>(floats) * sizeof(float);
}

void run_attention(const AttentionProblem& problem, const AttentionFunctions& functions, AttentionPath path, Execution& execution) {
  ThreadSpace space;
  thread_local Plan kept;
  Plan& plan = kept;  // also of the pool's threads below
  plan.clear();
  std::vector<SequenceWork>& sequences = plan.sequences;
  sequences.resize(problem.batch);
  for (std::int64_t b = 0; b < problem.batch; ++b) {
    sequences[b].span = sequence_span(problem, b);
    sequences[b].part = partition_of(problem, path, sequences[b].span, execution.num_threads);
    space.cover(problem, functions, sequences[b].part);
  }

  float* states = reinterpret_cast<float*>(execution.workspace + space.bytes() * execution.num_threads);
  std::vector<Task>& tasks = plan.tasks;
  std::vector<Merge>& merges = plan.merges;
  std::vector<std::int64_t>& padded = plan.padded;
  for (std::int64_t b = 0; b < problem.batch; ++b) {
    SequenceWork& work = sequences[b];
    const Partition& part = work.part;
    if (work.span.qo_len < work.span.qo_rows) padded.push_back(b);
    if (part.num_splits > 1) {
      work.states = states;
      states += problem.num_kv_heads * part.num_tiles * part.num_splits * state_floats(problem, part.tile_rows);
    }
    // Heads innermost: rows of neighbouring heads share memory pages, whose translations are dear when keys are read once.
    for (std::int64_t tile = 0; tile < part.num_tiles; ++tile) {
      for (std::int64_t split = 0; split < part.num_splits; ++split) {
        const std::int64_t cost = cost_of(problem, work, tile, work.keys_of_split(split));
        for (std::int64_t kv_head = 0; kv_head < problem.num_kv_heads; kv_head += part.heads) {
          const std::int64_t heads = std::min<std::int64_t>(part.heads, problem.num_kv_heads - kv_head);
          tasks.push_back({b, kv_head, heads, tile, split, cost * heads});
        }
      }
      for (std::int64_t kv_head = 0; part.num_splits > 1 && kv_head < problem.num_kv_heads; ++kv_head) {
        const int rows = work.rows_of_tile(tile);
        for (int first = 0; first < rows; first += kMergeRows) merges.push_back({b, kv_head, tile, first, std::min(first + kMergeRows, rows)});
      }
    }
  }
  std::sort(tasks.begin(), tasks.end(), runs_before);

  execution.parallel_for(static_cast<std::int64_t>(tasks.size()), [&](std::int64_t n, int thread) {
    const Task& task = tasks[n];
    const SequenceWork& work = sequences[task.sequence];
    const bool split = work.part.num_splits > 1;
    std::byte* own = execution.workspace + space.bytes() * thread;
    float* states = split ? work.state(problem, task.kv_head, task.tile, task.split) : reinterpret_cast<float*>(own);
    const std::int64_t state_stride = state_floats(problem, work.part.tile_rows);
    const TileState state(states, problem, work.part.tile_rows);
    const KeyRange keys = work.keys_of_split(task.split);
    AttentionTile tile{&problem,
                       &work.span,
                       static_cast<int>(task.kv_head),
                       task.tile * work.part.tile_rows,
                       work.rows_of_tile(task.tile),
                       keys.begin,
                       keys.end,
                       static_cast<int>(task.num_kv_heads),
                       state_stride,
                       state.accumulator,
                       state.max,
                       state.sum,
                       own + space.state};
    const auto rows = functions.takes_more(problem, work.part.rows) ? functions.more_rows : functions.rows;
    const bool writes = !split && !work.part.direct && functions.tile_writes && functions.tile_writes(tile);
    if (writes) {
      tile.row_factor = [](const AttentionTile& t, std::int64_t query, std::int64_t member, float max, float sum) {
        return row_factor(*t.problem, *t.sequence, t.kv_head * static_cast<std::int64_t>(t.problem->group_size) + member, query, max, sum);
      };
    }
    (work.part.direct ? rows : functions.tile)(tile);
    for (std::int64_t h = 0; !split && !writes && h < task.num_kv_heads; ++h) {
      finish_rows(problem, functions, work, task.kv_head + h, task.tile, TileState(states + h * state_stride, problem, work.part.tile_rows), 0,
                  work.rows_of_tile(task.tile));
    }
  });

  const std::int64_t num_merges = static_cast<std::int64_t>(merges.size());
  const std::int64_t num_padded = static_cast<std::int64_t>(padded.size());
  if (num_merges + num_padded == 0) return;
  execution.parallel_for(num_merges + num_padded, [&](std::int64_t n, int) {
    if (n >= num_merges) return write_padding(problem, functions, sequences[padded[n - num_merges]].span);
    const Merge& merge = merges[n];
    const SequenceWork& work = sequences[merge.sequence];
    finish_rows(problem, functions, work, merge.kv_head, merge.tile, merge_splits(problem, work, merge), merge.first, merge.end);
  });
}

}  // namespace attn::cpu
