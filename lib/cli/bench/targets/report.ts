import type { Spread } from '../../compare/report'
import type { PairedTimes, PeerReport } from '../peers/peer'
import type { BenchMachine, Bound, ComputePeak } from '../report'
import type { UnfusedReport } from './unfused'

export interface TargetResult {
  readonly name: string
  readonly kernels: readonly string[]
  readonly time: Spread
  readonly flopRate: number
  readonly byteRate: number
  readonly bound: Bound
  /** What was asked for: '75% of the multiply-add peak'. */
  readonly target: string
  /** What was measured, in the same words. */
  readonly measured: string
  /** Of the least time that the peak of the kernel's own instructions and the bandwidths allow. */
  readonly share: number
  readonly compute: ComputePeak
  /** Of the bfloat16 tile product peak, for bfloat16 where the processor has it: beside what was asked for, which is lower. */
  readonly tileShare?: number
  /** null: what it is to be held against was not measured. */
  readonly met: boolean | null
  /** On a GPU, of a target beside cuDNN; a text says why it was not timed. */
  readonly cudnn?: CudnnTimes | string
  /** `share` is of twice the measured rate of products: of 8 bits, where those of 16 were measured. */
  readonly twicePeak?: true
}
/** Calls on the same numbers, enqueued together and waited for once, in turn: above 1, the package is faster. */
export interface CudnnTimes extends PairedTimes {
  /** Of PyTorch. */
  readonly version: string
}
export interface SweepResult {
  readonly op: string
  readonly length: number
  readonly heads: string
  readonly causal: boolean
  /** A text says why the peer was not timed. */
  readonly peer: PeerReport | string
}
export interface TargetsReport {
  readonly package: { readonly name: string; readonly version: string }
  /** ISO 8601. */
  readonly date: string
  readonly machine: BenchMachine
  readonly targets: readonly TargetResult[]
  /** By target: the time of one thread over that of two. */
  readonly speedups: Readonly<Record<string, Spread>>
  /** Seconds from the call of an op to its return. */
  readonly enqueue: Readonly<Record<string, number>>
  readonly sweep: readonly SweepResult[]
  /** With --unfused: what `attn_tests --sweep` printed. */
  readonly unfused?: UnfusedReport
  /** With --scale: lengths were divided by it, and nothing here is a result. */
  readonly scale?: number
  readonly notes: readonly string[]
}
