#include "cpu/kernels/attention_schedule.h"

#include <algorithm>
#include <tuple>
#include <vector>

#include "cpu/kernels/attention_outputs.h"

namespace attn::cpu {
namespace {

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
  SplitStates split_states(const AttentionProblem& p, std::int64_t kv_head, std::int64_t tile) const {
    return {state(p, kv_head, tile, 0), p.num_kv_heads * state_floats(p, part.tile_rows), part.num_splits};
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

}  // namespace

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
    if (!split) tile.write_row = functions.write_row;
    const auto rows = functions.takes_more(problem, work.part.rows) ? functions.more_rows : functions.rows;
    (work.part.direct ? rows : functions.tile)(tile);
  });

  const std::int64_t num_merges = static_cast<std::int64_t>(merges.size());
  const std::int64_t num_padded = static_cast<std::int64_t>(padded.size());
  if (num_merges + num_padded == 0) return;
  execution.parallel_for(num_merges + num_padded, [&](std::int64_t n, int) {
    if (n >= num_merges) return write_padding(problem, functions.write_row, sequences[padded[n - num_merges]].span);
    const Merge& merge = merges[n];
    const SequenceWork& work = sequences[merge.sequence];
    const TileState merged = merge_splits(problem, work.split_states(problem, merge.kv_head, merge.tile), work.part.tile_rows, merge.first, merge.end);
    finish_rows(problem, functions.write_row, work.span, merge.kv_head, merge.tile * work.part.tile_rows, merged, merge.first, merge.end);
  });
}

}  // namespace attn::cpu
