/** Attention by its definition: one row of logits at a time, float64 throughout. */

// Taken out once: inside jest's sandbox every use of a global costs as much as a hundred multiplications.
const { abs, exp, floor, log, max, min, sqrt, tanh } = Math

export type Numbers = Float64Array | Float32Array | Int32Array | readonly number[]

export interface AttentionDims {
  readonly batch: number
  readonly qoLen: number
  readonly kvLen: number
  readonly numQoHeads: number
  readonly numKvHeads: number
  readonly headDimQk: number
  readonly headDimVo: number
}

/** q [batch, qoLen, numQoHeads, headDimQk] · k [batch, kvLen, numKvHeads, headDimQk] · v [batch, kvLen, numKvHeads, headDimVo], packed. */
export interface AttentionArrays extends AttentionDims {
  readonly q: Numbers
  readonly k: Numbers
  readonly v: Numbers
}

export interface ReferenceOptions {
  readonly causal?: boolean
  readonly window?: { readonly left?: number; readonly right?: number }
  readonly softmaxScale?: number
  readonly logitSoftcap?: number
  /** [numQoHeads] or [batch, numQoHeads] */
  readonly alibiSlopes?: Numbers
  /** [numQoHeads] */
  readonly sinks?: Numbers
  /** [batch] */
  readonly kvLens?: Numbers
}

export interface ReferenceResult {
  /** [batch, qoLen, numQoHeads, headDimVo] */
  readonly out: Float64Array
  /** [batch, numQoHeads, qoLen] */
  readonly lse: Float64Array
}

/** The keys [begin, end) that a query sees of `len`: `diagonal` is the key under it when the last query lies on the last key. */
export function visibleKeys(diagonal: number, len: number, { causal = false, window = {} }: ReferenceOptions): readonly [number, number] {
  const right = min(window.right ?? Infinity, causal ? 0 : Infinity)
  return [max(0, diagonal - (window.left ?? Infinity)), min(len, diagonal + right + 1)]
}

export function attention(arrays: AttentionArrays, options: ReferenceOptions = {}): ReferenceResult {
  const { batch, qoLen, kvLen, numQoHeads, numKvHeads, headDimQk, headDimVo, q, k, v } = arrays
  const scale = options.softmaxScale ?? 1 / sqrt(headDimQk)
  const cap = options.logitSoftcap ?? 0
  const slopes = options.alibiSlopes
  const out = new Float64Array(batch * qoLen * numQoHeads * headDimVo)
  const lse = new Float64Array(batch * numQoHeads * qoLen)
  const logits = new Float64Array(kvLen)

  for (let b = 0; b < batch; ++b) {
    const len = options.kvLens ? options.kvLens[b]! : kvLen
    for (let h = 0; h < numQoHeads; ++h) {
      const kvHead = floor(h / (numQoHeads / numKvHeads))
      const slope = slopes ? slopes[slopes.length === numQoHeads ? h : b * numQoHeads + h]! : 0
      const sink = options.sinks ? options.sinks[h]! : -Infinity
      for (let i = 0; i < qoLen; ++i) {
        const diagonal = i + len - qoLen
        const [begin, end] = visibleKeys(diagonal, len, options)
        const qRow = ((b * qoLen + i) * numQoHeads + h) * headDimQk
        const outRow = ((b * qoLen + i) * numQoHeads + h) * headDimVo
        let top = sink
        for (let j = begin; j < end; ++j) {
          const kRow = ((b * kvLen + j) * numKvHeads + kvHead) * headDimQk
          let dot = 0
          for (let d = 0; d < headDimQk; ++d) dot += q[qRow + d]! * k[kRow + d]!
          let logit = scale * dot
          if (cap > 0) logit = cap * tanh(logit / cap)
          if (slopes) logit -= slope * abs(diagonal - j)
          logits[j] = logit
          top = max(top, logit) // NaN stays NaN
        }
        lse[(b * numQoHeads + h) * qoLen + i] = top
        if (top === -Infinity) continue // sees nothing: out 0
        let sum = sink === -Infinity ? 0 : exp(sink - top)
        for (let j = begin; j < end; ++j) {
          const p = exp(logits[j]! - top)
          const vRow = ((b * kvLen + j) * numKvHeads + kvHead) * headDimVo
          sum += p
          for (let d = 0; d < headDimVo; ++d) out[outRow + d]! += p * v[vRow + d]!
        }
        for (let d = 0; d < headDimVo; ++d) out[outRow + d]! /= sum
        lse[(b * numQoHeads + h) * qoLen + i] = top + log(sum)
      }
    }
  }
  return { out, lse }
}
