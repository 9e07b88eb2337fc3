#pragma once

#include <cstdint>
#include <memory>

#include "core/tensor.h"

namespace attn {

/// What a machine measurement exercises.
enum class ProbeKind {
  kMultiplyAdd,  // float32 multiply-adds on registers alone
  kBf16Dot,      // pairs of bfloat16 products added to float32, on registers alone
  kBf16Tile,     // products of bfloat16 tiles added to float32 ones, on tile registers alone
  kRead,         // streaming reads of a buffer, added up
};

/// Chains count in float32, which is exact so far.
inline constexpr std::int64_t kMaxProbeRounds = 1 << 22;

struct ProbeResult {
  double seconds = 0;   // on the queue, without waiting for it
  double work = 0;      // operations (a multiply-add is two), or bytes read
  double checksum = 0;  // kRead: the sum of all words of all passes modulo 2³²; otherwise operations again, counted by the chains themselves
};

/// A measurement of the machine, for the roofline of the benchmarks. Probes are chosen like kernels, but are none: no op
/// reaches them and kernels() does not list them.
struct ProbeProblem {
  ProbeKind kind = ProbeKind::kMultiplyAdd;
  std::int64_t rounds = 0;  // kRead: passes over the buffer; otherwise operations in a chain, per task: at most kMaxProbeRounds
  TensorView buffer;        // kRead: [words] int32, packed
  ProbeResult* result = nullptr;
};

/// Enqueues the probe on `threads` threads of the device; the result is filled when the work has run. `buffer` is null
/// except for kRead. Throws kUnsupported with the reason where the processor cannot do it.
std::shared_ptr<const ProbeResult> probe(Backend& backend, ProbeKind kind, int threads, std::int64_t rounds, const Tensor* buffer);

}  // namespace attn
