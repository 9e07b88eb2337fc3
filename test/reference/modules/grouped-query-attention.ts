import type { Numbers } from '../attention'
import type { ReferenceRope } from '../rope'
import type { Arithmetic } from './arithmetic'

export interface GqaReferenceConfig {
  readonly hiddenSize: number
  readonly numHeads: number
  readonly numKvHeads: number
  readonly headDim: number
  readonly rope: ReferenceRope | null
  readonly qkNormEps?: number
  readonly slidingWindow?: number
  readonly logitSoftcap?: number
  readonly softmaxScale?: number
  readonly causal?: boolean
}

export type GqaReferenceWeights = Readonly<Record<'q' | 'k' | 'v' | 'o', Numbers>> &
  Readonly<Partial<Record<'qBias' | 'kBias' | 'vBias' | 'oBias' | 'qNorm' | 'kNorm', Numbers>>>

/** What a cache holds of one sequence: k, v [len, numKvHeads, headDim]. */
export interface GqaStored {
  readonly k: Numbers
  readonly v: Numbers
}

/** One whole sequence x [len, hiddenSize] -> rows `from` … len - 1 of the layer's output. */
export function groupedQueryAttention(
  on: Arithmetic, config: GqaReferenceConfig, weights: GqaReferenceWeights, x: Numbers, from = 0, firstPosition = 0,
): Float64Array {
  const stored = gqaStored(on, config, weights, x, firstPosition)
  return gqaRows(on, config, weights, x, stored, from, x.length / config.hiddenSize, firstPosition)
}

/** Keys and values of all tokens of x [len, hiddenSize]. */
export function gqaStored(on: Arithmetic, config: GqaReferenceConfig, weights: GqaReferenceWeights, x: Numbers, firstPosition = 0): GqaStored {
  const { hiddenSize, numKvHeads } = config
  const k = on.linear(x, weights.k, hiddenSize, weights.kBias)
  const v = on.linear(x, weights.v, hiddenSize, weights.vBias)
  return { k: on.store(placed(on, config, k, numKvHeads, weights.kNorm, firstPosition)), v: on.store(v) }
}

/** Output rows begin … end - 1 of a sequence that ends at `end`. */
export function gqaRows(
  on: Arithmetic, config: GqaReferenceConfig, weights: GqaReferenceWeights, x: Numbers, { k, v }: GqaStored, begin: number, end: number, firstPosition = 0,
): Float64Array {
  const { hiddenSize, numHeads, numKvHeads, headDim, slidingWindow, logitSoftcap, softmaxScale, causal = true } = config
  const rows = Float64Array.from(x).subarray(begin * hiddenSize, end * hiddenSize)
  const q = placed(on, config, on.linear(rows, weights.q, hiddenSize, weights.qBias), numHeads, weights.qNorm, firstPosition + begin)
  const dims = { batch: 1, qoLen: end - begin, kvLen: end, numQoHeads: numHeads, numKvHeads, headDimQk: headDim, headDimVo: headDim }
  const out = on.attention({ ...dims, q, k, v }, {
    causal,
    ...(slidingWindow === undefined ? {} : { window: { left: slidingWindow - 1 } }),
    ...(logitSoftcap === undefined ? {} : { logitSoftcap }),
    ...(softmaxScale === undefined ? {} : { softmaxScale }),
  })
  return on.linear(out, weights.o, numHeads * headDim, weights.oBias)
}

/** Heads [len, heads, headDim], normed and rotated as the layer has it. */
function placed(on: Arithmetic, config: GqaReferenceConfig, heads: Numbers, count: number, norm: Numbers | undefined, firstPosition: number): Numbers {
  const { headDim, rope, qkNormEps } = config
  const normed = norm ? on.rmsNorm(heads, norm, qkNormEps!) : heads
  const positions = Array.from({ length: heads.length / (count * headDim) }, (_, i) => firstPosition + i)
  return rope ? on.rope(normed, count, headDim, headDim, rope, positions) : normed
}
