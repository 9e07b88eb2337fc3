import { ArgumentError } from '../../errors'
import type { DeviceId } from '../../devices'
import { computeDTypes, type ComputeDType, type FloatDType } from '../../tensor/dtype'
import { tripleOf } from '../compare/triple'
import type { PeerName } from './peers/peer'
import { type Preset, type PresetName, presets } from '../presets'

export const benchOps = [
  'prefill', 'decode', 'paged', 'mla-decode', 'mla-prefill', 'mla-step', 'mla-linear', 'rope', 'norm', 'linear', 'merge', 'append', 'quantize',
] as const
export type BenchOp = (typeof benchOps)[number]

export const cacheDTypes = [...computeDTypes, 'float8_e4m3'] as const satisfies readonly FloatDType[]

/** The options of `bench` as commander parsed them. */
export interface BenchOptions {
  readonly preset: PresetName
  readonly heads?: number
  readonly kvHeads?: number
  readonly headDim?: number
  readonly headDimVo?: number
  readonly lengths?: readonly number[]
  readonly batch: number
  readonly pageSize?: number
  readonly causal: boolean
  readonly dtype: ComputeDType
  readonly cacheDtype?: FloatDType
  readonly device: string
  readonly threads?: number
  readonly rounds: number
  readonly seconds: number
  readonly cold?: true
  readonly peakMatmul?: number
  /** Bytes. */
  readonly peakCopy?: number
  readonly json?: true
  readonly html?: string
  readonly save?: true
  readonly compare?: string
  readonly peer?: PeerName
  readonly failBelow?: number
}

/** What every case is made from. */
export interface BenchSettings {
  readonly preset: PresetName
  readonly dtype: ComputeDType
  /** By default dtype. */
  readonly cacheDType?: FloatDType
  readonly device: DeviceId
  readonly batch: number
  readonly causal: boolean
  readonly hiddenSize: number
  readonly numQoHeads: number
  readonly numKvHeads: number
  readonly headDimQk: number
  readonly headDimVo: number
  readonly pageSize: number
  readonly mlaPageSize: number
  readonly kvLoraRank: number
  readonly qkNopeHeadDim: number
  readonly qkRopeHeadDim: number
  readonly vHeadDim: number
  /** Each call finds its data in memory and not in a cache. */
  readonly cold: boolean
  /** What the peaks of a GPU are measured with: width of a square matrix, bytes of a copy. */
  readonly peakMatmul: number
  readonly peakCopy: number
}

/** What a case can be made from beyond the options of `bench`: the shapes of `targets`. */
export interface CaseSettings extends BenchSettings {
  /** Of paged and mla-decode: the newest tokens of each sequence. By default 1. */
  readonly qoLen?: number
  /** Of mla-decode: keys of each sequence, instead of `batch` times the case's length. */
  readonly kvLens?: readonly number[]
  /** Of prefill: the queries, keys and values. By default dtype, which the output has either way. */
  readonly inputDType?: FloatDType
}

/** Short enough for the whole tour within a minute on two cores; decoding is about the longer ones. */
const tour: Readonly<Record<BenchOp, readonly number[]>> = {
  prefill: [512, 2048], decode: [2048, 8192], paged: [2048, 8192], 'mla-decode': [2048, 8192], 'mla-prefill': [512, 1024],
  'mla-step': [2048, 8192], 'mla-linear': [1, 64],
  rope: [512], norm: [2048], linear: [1, 512], merge: [512], append: [512], quantize: [512],
}

export function lengthsOf(op: BenchOp, { lengths }: BenchOptions): readonly number[] {
  return lengths ?? tour[op]
}

/** Checks what options mean together. The MLA ops take the preset's own dims, or those that `compare` derives. */
export function settingsOf(options: BenchOptions, device: DeviceId): BenchSettings {
  if (options.failBelow !== undefined && options.compare === undefined) {
    throw new ArgumentError('--fail-below', 'an earlier result in --compare beside it', 'none')
  }
  const { published }: Preset = presets[options.preset]
  const [, { shape: grouped }, { shape: latent }] = tripleOf(published, 'published')
  const numQoHeads = options.heads ?? grouped.numHeads
  const numKvHeads = options.kvHeads ?? (options.heads === undefined ? grouped.numKvHeads : divisorBelow(numQoHeads, grouped.numKvHeads))
  const headDimQk = options.headDim ?? grouped.headDim
  if (numQoHeads % numKvHeads !== 0) throw new ArgumentError('--kv-heads', `a divisor of the ${numQoHeads} heads`, `${numKvHeads}`)
  if (headDimQk % 2 !== 0) throw new ArgumentError('--head-dim', 'an even width', `${headDimQk}`)
  const { pageSize = 16 } = options
  if (pageSize > 256 || !Number.isInteger(Math.log2(pageSize))) throw new ArgumentError('--page-size', 'a power of two from 1 to 256', `${pageSize}`)
  return {
    preset: options.preset, dtype: options.dtype, device, batch: options.batch, causal: options.causal, hiddenSize: grouped.hiddenSize,
    numQoHeads, numKvHeads, headDimQk, headDimVo: options.headDimVo ?? headDimQk, pageSize, mlaPageSize: options.pageSize ?? 64,
    kvLoraRank: latent.kvLoraRank, qkNopeHeadDim: latent.qkNopeHeadDim, qkRopeHeadDim: latent.qkRopeHeadDim, vHeadDim: latent.vHeadDim,
    cold: options.cold ?? false, peakMatmul: options.peakMatmul ?? defaultPeakMatmul, peakCopy: options.peakCopy ?? defaultPeakCopy,
    ...(options.cacheDtype && { cacheDType: options.cacheDtype }),
  }
}

export function cacheDTypeOf({ dtype, cacheDType = dtype }: BenchSettings): FloatDType {
  return cacheDType
}

const defaultPeakMatmul = 8192
const defaultPeakCopy = 2 ** 30

/** The largest divisor of `count` that is not above `most`. */
function divisorBelow(count: number, most: number): number {
  let divisor = Math.min(count, most)
  while (count % divisor !== 0) --divisor
  return divisor
}
