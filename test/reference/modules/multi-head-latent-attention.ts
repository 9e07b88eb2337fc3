import type { Numbers } from '../attention'
import type { ReferenceRope } from '../rope'
import type { Arithmetic } from './arithmetic'

export interface MlaReferenceConfig {
  readonly hiddenSize: number
  readonly numHeads: number
  readonly qLoraRank: number | null
  readonly kvLoraRank: number
  readonly qkNopeHeadDim: number
  readonly qkRopeHeadDim: number
  readonly vHeadDim: number
  readonly rope: ReferenceRope | null
  readonly normEps?: number
  readonly keyRopeScale?: number
  readonly softmaxScale?: number
  readonly causal?: boolean
}

export type MlaReferenceWeights = Readonly<Record<'qB' | 'kvA' | 'kvANorm' | 'kvB' | 'o', Numbers>> &
  Readonly<Partial<Record<'qA' | 'qANorm' | 'qABias' | 'kvABias' | 'oBias', Numbers>>>

/** Columns begin … end of rows of `width`. */
function columns(x: Numbers, width: number, begin: number, end: number): Float64Array {
  const rows = x.length / width
  const part = new Float64Array(rows * (end - begin))
  for (let row = 0; row < rows; ++row) {
    for (let d = begin; d < end; ++d) part[row * (end - begin) + d - begin] = x[row * width + d]!
  }
  return part
}

/** 1/sqrt(qk width), with the YaRN factor of DeepSeek-V3's public code where the scaling has mscaleAllDim. */
export function defaultScale({ qkNopeHeadDim, qkRopeHeadDim, rope }: MlaReferenceConfig): number {
  const scale = 1 / Math.sqrt(qkNopeHeadDim + qkRopeHeadDim)
  const scaling = rope?.scaling
  if (scaling?.type !== 'yarn' || scaling.mscaleAllDim === undefined) return scale
  return scale * (0.1 * scaling.mscaleAllDim * Math.log(scaling.factor) + 1) ** 2
}

/** Per-head keys [len, numHeads, nope + rope] and values [len, numHeads, vHeadDim], built from what a cache holds. */
export interface MlaStored {
  readonly k: Numbers
  readonly v: Numbers
}

/** The expanded form by definition: one whole sequence x [len, hiddenSize] -> rows `from` … len - 1 of the layer's output. */
export function multiHeadLatentAttention(
  on: Arithmetic, config: MlaReferenceConfig, weights: MlaReferenceWeights, x: Numbers, from = 0, firstPosition = 0,
): Float64Array {
  const stored = mlaStored(on, config, weights, x, firstPosition)
  return mlaRows(on, config, weights, x, stored, from, x.length / config.hiddenSize, firstPosition)
}

/** Keys and values of all tokens of x [len, hiddenSize], with the rope key copied to every head. */
export function mlaStored(on: Arithmetic, config: MlaReferenceConfig, weights: MlaReferenceWeights, x: Numbers, firstPosition = 0): MlaStored {
  const { hiddenSize, numHeads, kvLoraRank, qkNopeHeadDim: nope, qkRopeHeadDim, vHeadDim, normEps = 1e-6, keyRopeScale = 1 } = config
  const len = x.length / hiddenSize
  const row = kvLoraRank + qkRopeHeadDim
  const down = on.linear(x, weights.kvA, hiddenSize, weights.kvABias)
  const latent = on.store(on.rmsNorm(columns(down, row, 0, kvLoraRank), weights.kvANorm, normEps))
  const ropeKey = columns(down, row, kvLoraRank, row).map((value) => value * keyRopeScale)
  const kPe = on.store(rotated(on, config, ropeKey, 1, qkRopeHeadDim, firstPosition))

  const up = on.linear(latent, weights.kvB, kvLoraRank)
  const qk = nope + qkRopeHeadDim
  const k = new Float64Array(len * numHeads * qk)
  for (let token = 0; token < len; ++token) {
    for (let h = 0; h < numHeads; ++h) {
      const head = token * numHeads + h
      for (let d = 0; d < nope; ++d) k[head * qk + d] = up[head * (nope + vHeadDim) + d]!
      for (let d = 0; d < qkRopeHeadDim; ++d) k[head * qk + nope + d] = kPe[token * qkRopeHeadDim + d]!
    }
  }
  return { k, v: columns(up, nope + vHeadDim, nope, nope + vHeadDim) }
}

/** Output rows begin … end - 1 of a sequence that ends at `end`. */
export function mlaRows(
  on: Arithmetic, config: MlaReferenceConfig, weights: MlaReferenceWeights, x: Numbers, { k, v }: MlaStored, begin: number, end: number, firstPosition = 0,
): Float64Array {
  const { hiddenSize, numHeads, qLoraRank, qkNopeHeadDim, qkRopeHeadDim, vHeadDim, normEps = 1e-6, causal = true } = config
  const qk = qkNopeHeadDim + qkRopeHeadDim
  const rows = Float64Array.from(x).subarray(begin * hiddenSize, end * hiddenSize)
  const compressed =
    qLoraRank === null ? rows : on.rmsNorm(on.linear(rows, weights.qA!, hiddenSize, weights.qABias), weights.qANorm!, normEps)
  const q = rotated(on, config, on.linear(compressed, weights.qB, qLoraRank ?? hiddenSize), numHeads, qk, firstPosition + begin)
  const dims = { batch: 1, qoLen: end - begin, kvLen: end, numQoHeads: numHeads, numKvHeads: numHeads, headDimQk: qk, headDimVo: vHeadDim }
  const out = on.attention({ ...dims, q, k, v }, { causal, softmaxScale: config.softmaxScale ?? defaultScale(config) })
  return on.linear(out, weights.o, numHeads * vHeadDim, weights.oBias)
}

/** Heads [len, heads, width] with their last qkRopeHeadDim features rotated. */
function rotated(on: Arithmetic, config: MlaReferenceConfig, heads: Numbers, count: number, width: number, firstPosition: number): Numbers {
  const positions = Array.from({ length: heads.length / (count * width) }, (_, i) => firstPosition + i)
  return config.rope ? on.rope(heads, count, width, config.qkRopeHeadDim, config.rope, positions) : heads
}
