/**
 * Attention as a plain implementation computes it in a given dtype: inputs already rounded, products and sums in float32 in their natural
 * order, probabilities rounded to the dtype before they meet V, the output rounded. Its error is the measure of all tolerances.
 */
import { visibleKeys, type AttentionArrays, type ReferenceOptions, type ReferenceResult } from '../reference/attention'
import { roundTo, type RoundedDType } from '../reference/rounding'

const { abs, exp, floor, fround: f32, log, max, sqrt, tanh } = Math

export function plainAttention(arrays: AttentionArrays, options: ReferenceOptions, dtype: RoundedDType): ReferenceResult {
  const { batch, qoLen, kvLen, numQoHeads, numKvHeads, headDimQk, headDimVo, q, k, v } = arrays
  const scale = f32(options.softmaxScale ?? 1 / sqrt(headDimQk))
  const cap = f32(options.logitSoftcap ?? 0)
  const slopes = options.alibiSlopes
  const out = new Float64Array(batch * qoLen * numQoHeads * headDimVo)
  const lse = new Float64Array(batch * numQoHeads * qoLen)
  const logits = new Float32Array(kvLen)
  const row = new Float32Array(headDimVo)

  for (let b = 0; b < batch; ++b) {
    const len = options.kvLens ? options.kvLens[b]! : kvLen
    for (let h = 0; h < numQoHeads; ++h) {
      const kvHead = floor(h / (numQoHeads / numKvHeads))
      const slope = slopes ? f32(slopes[slopes.length === numQoHeads ? h : b * numQoHeads + h]!) : 0
      const sink = options.sinks ? f32(options.sinks[h]!) : -Infinity
      for (let i = 0; i < qoLen; ++i) {
        const diagonal = i + len - qoLen
        const [begin, end] = visibleKeys(diagonal, len, options)
        const qRow = ((b * qoLen + i) * numQoHeads + h) * headDimQk
        let top = sink
        for (let j = begin; j < end; ++j) {
          const kRow = ((b * kvLen + j) * numKvHeads + kvHead) * headDimQk
          let dot = 0
          for (let d = 0; d < headDimQk; ++d) dot = f32(dot + f32(q[qRow + d]! * k[kRow + d]!))
          let logit = f32(scale * dot)
          if (cap > 0) logit = f32(cap * f32(tanh(f32(logit / cap))))
          if (slopes) logit = f32(logit - f32(slope * abs(diagonal - j)))
          logits[j] = logit
          top = max(top, logit)
        }
        lse[(b * numQoHeads + h) * qoLen + i] = top
        if (top === -Infinity) continue
        let sum = sink === -Infinity ? 0 : f32(exp(f32(sink - top)))
        for (let j = begin; j < end; ++j) {
          sum = f32(sum + f32(exp(f32(logits[j]! - top))))
        }
        row.fill(0)
        for (let j = begin; j < end; ++j) {
          const p = roundTo(dtype, f32(f32(exp(f32(logits[j]! - top))) / sum))
          const vRow = ((b * kvLen + j) * numKvHeads + kvHead) * headDimVo
          for (let d = 0; d < headDimVo; ++d) row[d] = f32(row[d]! + f32(p * v[vRow + d]!))
        }
        const outRow = ((b * qoLen + i) * numQoHeads + h) * headDimVo
        for (let d = 0; d < headDimVo; ++d) out[outRow + d] = roundTo(dtype, row[d]!)
        lse[(b * numQoHeads + h) * qoLen + i] = f32(top + f32(log(sum)))
      }
    }
  }
  return { out, lse }
}
