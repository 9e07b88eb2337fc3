import { checkBoolean, checkFinite, checkInteger, checkOptions, checkPositive, fail } from '../check'
import { ArgumentError } from '../errors'
import { checkRopeConfig, yarnMagnitude, type RopeConfig } from '../ops/rope-config'
import type { FloatTensor, IndexTensor } from '../tensor/tensor'
import type { Sequence } from '../cache/sequence'

/**
 * Without a cache: self-attention over x. With one: x's tokens are appended, then attend to all that the sequence holds: prefill,
 * chunked prefill and decode are the same call.
 */
export interface ForwardOptions<Cache> {
  readonly cache?: Cache
  /** One per row of the batch; required with `cache`. */
  readonly sequences?: readonly Sequence[]
  /** [batch, len] int32; default: continue each sequence, from 0 without a cache. */
  readonly positions?: IndexTensor
  /**
   * [batch] valid rows of x per sequence; the rest is padding on the right: it is not stored, no row sees it, and its output rows are
   * those of a zero attention output (the output bias, or 0). Default: all.
   */
  readonly lens?: ArrayLike<number>
}

export interface AttentionConfig {
  readonly hiddenSize: number
  readonly numHeads: number
  /** Default numHeads (MHA). 1 = MQA. */
  readonly numKvHeads?: number
  /** Default hiddenSize / numHeads. */
  readonly headDim?: number
  /** null: no rotation. */
  readonly rope: RopeConfig | null
  /** eps of the RMSNorm of each query and key head before rotation (Qwen3). Required with qNorm or kNorm, refused without. */
  readonly qkNormEps?: number
  /** Keys seen including the token itself (checkpoint convention): window.left = slidingWindow - 1. */
  readonly slidingWindow?: number
  readonly logitSoftcap?: number
  /** Default 1/sqrt(headDim). */
  readonly softmaxScale?: number
  /** Default true. */
  readonly causal?: boolean
}

/** Weights in checkpoint layout [outFeatures, inFeatures]; biases [outFeatures]; qNorm and kNorm [headDim]. */
export interface AttentionWeights {
  readonly q: FloatTensor
  readonly k: FloatTensor
  readonly v: FloatTensor
  readonly o: FloatTensor
  readonly qBias?: FloatTensor
  readonly kBias?: FloatTensor
  readonly vBias?: FloatTensor
  readonly oBias?: FloatTensor
  readonly qNorm?: FloatTensor
  readonly kNorm?: FloatTensor
}

export interface MlaConfig {
  readonly hiddenSize: number
  readonly numHeads: number
  /** null: queries are projected directly (DeepSeek-V2-Lite). */
  readonly qLoraRank: number | null
  readonly kvLoraRank: number
  readonly qkNopeHeadDim: number
  readonly qkRopeHeadDim: number
  readonly vHeadDim: number
  /** null: no rotation. */
  readonly rope: RopeConfig | null
  /** eps of the RMSNorm of the latents. Default 1e-6. */
  readonly normEps?: number
  /** Multiplies the shared rope key before rotation; 1 by default. */
  readonly keyRopeScale?: number
  /**
   * Default 1/sqrt(qkNopeHeadDim + qkRopeHeadDim), times the YaRN factor (0.1 · mscaleAllDim · ln(factor) + 1)² where scaling has
   * mscaleAllDim.
   */
  readonly softmaxScale?: number
  /** Default true. */
  readonly causal?: boolean
}

/** qB rows per head: [nope | rope]; kvA rows: [latent | rope key]; kvB rows per head: [key nope | value]. */
export interface MlaWeights {
  /** [qLoraRank, hiddenSize]; with qANorm [qLoraRank], exactly when qLoraRank is a number. */
  readonly qA?: FloatTensor
  readonly qANorm?: FloatTensor
  /** [numHeads · (qkNopeHeadDim + qkRopeHeadDim), qLoraRank, or hiddenSize without compression] */
  readonly qB: FloatTensor
  /** [kvLoraRank + qkRopeHeadDim, hiddenSize] */
  readonly kvA: FloatTensor
  /** [kvLoraRank] */
  readonly kvANorm: FloatTensor
  /** [numHeads · (qkNopeHeadDim + vHeadDim), kvLoraRank] */
  readonly kvB: FloatTensor
  /** [hiddenSize, numHeads · vHeadDim] */
  readonly o: FloatTensor
  /** [qLoraRank] */
  readonly qABias?: FloatTensor
  /** [kvLoraRank + qkRopeHeadDim] */
  readonly kvABias?: FloatTensor
  /** [hiddenSize] */
  readonly oBias?: FloatTensor
}

export type ResolvedAttentionConfig = Readonly<
  Required<Omit<AttentionConfig, 'qkNormEps' | 'slidingWindow' | 'logitSoftcap'>> & Pick<AttentionConfig, 'qkNormEps' | 'slidingWindow' | 'logitSoftcap'>
>
export type ResolvedMlaConfig = Readonly<Required<MlaConfig>>

const maxDim = 2 ** 31 - 1

/** The configuration with its defaults filled in. Needs no addon. */
export function checkAttentionConfig(argument: string, config: unknown): ResolvedAttentionConfig {
  const given = checkOptions(argument, requireObject(argument, config) as AttentionConfig, [
    'hiddenSize', 'numHeads', 'numKvHeads', 'headDim', 'rope', 'qkNormEps', 'slidingWindow', 'logitSoftcap', 'softmaxScale', 'causal',
  ])
  const dim = (name: keyof AttentionConfig, value: unknown): number => checkInteger(`${argument}.${name}`, value, 1, maxDim)
  const hiddenSize = dim('hiddenSize', given.hiddenSize)
  const numHeads = dim('numHeads', given.numHeads)
  const numKvHeads = dim('numKvHeads', given.numKvHeads ?? numHeads)
  if (numHeads % numKvHeads !== 0) throw new ArgumentError(`${argument}.numKvHeads`, `a divisor of numHeads (${numHeads})`, `${numKvHeads}`)
  if (given.headDim === undefined && hiddenSize % numHeads !== 0) {
    throw new ArgumentError(`${argument}.headDim`, `a headDim where numHeads (${numHeads}) does not divide hiddenSize (${hiddenSize})`, 'undefined')
  }
  const headDim = dim('headDim', given.headDim ?? hiddenSize / numHeads)
  return Object.freeze({
    hiddenSize,
    numHeads,
    numKvHeads,
    headDim,
    rope: checkRope(argument, given.rope, 'headDim', headDim),
    softmaxScale: given.softmaxScale === undefined ? 1 / Math.sqrt(headDim) : checkFinite(`${argument}.softmaxScale`, given.softmaxScale),
    causal: checkBoolean(`${argument}.causal`, given.causal ?? true),
    ...(given.qkNormEps === undefined ? {} : { qkNormEps: checkPositive(`${argument}.qkNormEps`, given.qkNormEps) }),
    ...(given.slidingWindow === undefined ? {} : { slidingWindow: dim('slidingWindow', given.slidingWindow) }),
    ...(given.logitSoftcap === undefined ? {} : { logitSoftcap: checkPositive(`${argument}.logitSoftcap`, given.logitSoftcap) }),
  })
}

/** The configuration with its defaults filled in. Needs no addon. */
export function checkMlaConfig(argument: string, config: unknown): ResolvedMlaConfig {
  const given = checkOptions(argument, requireObject(argument, config) as MlaConfig, [
    'hiddenSize', 'numHeads', 'qLoraRank', 'kvLoraRank', 'qkNopeHeadDim', 'qkRopeHeadDim', 'vHeadDim', 'rope', 'normEps', 'keyRopeScale',
    'softmaxScale', 'causal',
  ])
  const dim = (name: keyof MlaConfig): number => checkInteger(`${argument}.${name}`, given[name], 1, maxDim)
  const qkNopeHeadDim = dim('qkNopeHeadDim')
  const qkRopeHeadDim = dim('qkRopeHeadDim')
  const rope = checkRope(argument, given.rope, 'qkRopeHeadDim', qkRopeHeadDim)
  const softmaxScale = given.softmaxScale ?? yarnSoftmaxFactor(rope) / Math.sqrt(qkNopeHeadDim + qkRopeHeadDim)
  return Object.freeze({
    hiddenSize: dim('hiddenSize'),
    numHeads: dim('numHeads'),
    qLoraRank: given.qLoraRank === null ? null : dim('qLoraRank'),
    kvLoraRank: dim('kvLoraRank'),
    qkNopeHeadDim,
    qkRopeHeadDim,
    vHeadDim: dim('vHeadDim'),
    rope,
    normEps: checkPositive(`${argument}.normEps`, given.normEps ?? 1e-6),
    keyRopeScale: checkFinite(`${argument}.keyRopeScale`, given.keyRopeScale ?? 1),
    softmaxScale: checkFinite(`${argument}.softmaxScale`, softmaxScale),
    causal: checkBoolean(`${argument}.causal`, given.causal ?? true),
  })
}

/** (0.1 · mscaleAllDim · ln(factor) + 1)², as DeepSeek-V3's public Hugging Face code has it; 1 without mscaleAllDim. */
function yarnSoftmaxFactor(rope: RopeConfig | null): number {
  const scaling = rope?.scaling
  if (scaling?.type !== 'yarn' || scaling.mscaleAllDim === undefined) return 1
  return yarnMagnitude(scaling.factor, scaling.mscaleAllDim) ** 2
}

function requireObject(argument: string, config: unknown): object {
  if (typeof config !== 'object' || config === null) fail(argument, 'a configuration object', config)
  return config
}

/** `dim` features, the configuration's `dimName`, are rotated in pairs. */
function checkRope(argument: string, rope: unknown, dimName: string, dim: number): RopeConfig | null {
  if (rope === null) return null
  if (typeof rope !== 'object') fail(`${argument}.rope`, 'a RopeConfig, or null for no rotation', rope)
  if (dim % 2 !== 0) throw new ArgumentError(`${argument}.${dimName}`, 'an even number where rope rotates pairs', `${dim}`)
  checkRopeConfig(`${argument}.rope`, rope as RopeConfig, dim)
  const { scaling, ...rest } = rope as RopeConfig
  return Object.freeze({ ...rest, ...(scaling === undefined ? {} : { scaling: Object.freeze({ ...scaling }) }) })
}
