import type { Spread } from '../compare/report'
import type { PeerReport } from './peers/peer'
import type { BenchOp, BenchSettings } from './request'

/** The best of several samples, per second; on one thread, where the device counts threads, and on all. */
export interface Rate {
  readonly one?: number
  readonly all: number
}
export interface Absent {
  readonly absent: string
}

/** Operations per second; a multiply-add is two. */
export const computePeaks = ['multiplyAdd', 'bf16Dot', 'bf16Tile', 'matmul'] as const
export type ComputePeak = (typeof computePeaks)[number]
/** Bytes per second. */
export const memoryPeaks = ['memoryRead', 'cacheRead', 'copy'] as const
export type MemoryPeak = (typeof memoryPeaks)[number]
export type PeakName = ComputePeak | MemoryPeak

/** What the machine can do at most, measured in the same run: `matmul` and `copy` on a GPU, the others on the CPU. docs/benchmarks.md defines them. */
export type Peaks = { readonly [name in PeakName]?: Rate | Absent }

export interface BenchMachine {
  readonly device: string
  readonly name: string
  readonly arch: string
  readonly threads: number
  readonly totalMemory: number
  /** Bytes of the last cache level; null where the system does not say. */
  readonly cacheBytes: number | null
  readonly node: string
  readonly platform: string
  /** Processes that wanted to run in the minute before, as the system averages them: others' work, on a shared machine. */
  readonly load: number
  readonly peaks: Peaks
}

/** What the roofline puts above a case. */
export type Bound = 'compute' | 'memory' | 'cache'

export interface CaseReport {
  readonly op: BenchOp
  readonly length: number
  /** The kernels that ran. */
  readonly kernels: readonly string[]
  /** Of one call. */
  readonly flops: number
  readonly bytes: number
  /** Seconds of one call. */
  readonly time: Spread
  /** Calls per sample. */
  readonly calls: number
  /** Per second, at the median. */
  readonly flopRate: number
  readonly byteRate: number
  readonly bound: Bound
  /** The peak that the operations are held against: that of the instructions of the kernels that ran. */
  readonly compute: ComputePeak
  /** The least time that the peaks allow over the median. */
  readonly share: number
  /** Largest error of the sampled rows over what rounding explains. */
  readonly errorShare: number
  /** With --compare. */
  readonly relative?: number
  /** With --peer. */
  readonly peer?: PeerReport
}

/** What a call costs from JavaScript, in seconds. */
export interface CallCosts {
  /** From the call of a tiny op to its return: arguments checked, output made, work queued. */
  readonly enqueue: Readonly<Record<string, number>>
  /** `await read()` of one number with nothing else to wait for. */
  readonly read: number
  /** How late timers of 1 ms were: with nothing to do, and while the device computed a prefill. */
  readonly timerIdle: Lateness
  readonly timerPrefill: Lateness & { readonly tokens: number; readonly seconds: number }
}
export interface Lateness {
  readonly median: number
  readonly max: number
  readonly timers: number
}

export interface BenchReport {
  readonly package: { readonly name: string; readonly version: string }
  /** ISO 8601. */
  readonly date: string
  readonly machine: BenchMachine
  readonly settings: BenchSettings
  readonly cases: readonly CaseReport[]
  readonly calls: CallCosts
  readonly notes: readonly string[]
}
