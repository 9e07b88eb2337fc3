import type { FloatDType } from '../../tensor/dtype'
import type { LayerShape } from '../presets'
import type { MechanismId } from './triple'

/** Seconds over the rounds: quartiles, with the extremes. */
export interface Spread {
  readonly median: number
  readonly lower: number
  readonly upper: number
  readonly min: number
  readonly max: number
  readonly rounds: number
}

export interface Measured {
  /** Seconds of one prefill of all sequences of the batch; absent when it was left out. */
  readonly prefill?: Spread & { readonly tokensPerSecond: number }
  /** Seconds of one decode step (one token for each sequence), by context length. */
  readonly decode: readonly (Spread & { readonly kvLen: number })[]
  /** MLA: largest difference of its two forms, relative to the largest output. */
  readonly formsDiffer?: number
}

export interface MechanismReport {
  readonly id: MechanismId
  /** 'GQA 32/8'. */
  readonly title: string
  readonly shape: LayerShape
  readonly origin: string
  /** One layer. */
  readonly parameters: number
  /** One layer. */
  readonly kvBytesPerToken: number
  /** All layers. */
  readonly kvBytesPerTokenModel: number
  /** Tokens of context for each sequence of the batch within the memory budget. */
  readonly maxContext: number
  readonly prefillFlops: number
  readonly decode: readonly { readonly kvLen: number; readonly flops: number; readonly cacheBytesModel: number }[]
  readonly measured: Measured | null
}

export interface MachineReport {
  readonly device: string
  readonly name: string
  readonly arch: string
  readonly threads: number
  readonly totalMemory: number
  readonly node: string
  readonly platform: string
}

/** What `compare` finds out; `compare --json` prints this. */
export interface CompareReport {
  readonly package: { readonly name: string; readonly version: string }
  /** null with --no-measure. */
  readonly machine: MachineReport | null
  readonly model: { readonly preset: string | null; readonly title: string; readonly source: string; readonly layers: number; readonly hiddenSize: number }
  readonly settings: {
    readonly dtype: FloatDType
    readonly batch: number
    readonly lengths: readonly number[]
    readonly prefill: number
    readonly memoryBytes: number
    readonly seed: number
  }
  readonly mechanisms: readonly [MechanismReport, MechanismReport, MechanismReport]
  /** What was left out or done otherwise than asked, and why. */
  readonly notes: readonly string[]
  /** The reading of the numbers, a sentence each. */
  readonly reading: readonly string[]
}
