import type { PeerName } from '../peers/peer'
import type { BenchOp, BenchSettings } from '../request'

/** What a target's share is taken of. */
export type Against =
  /** The dot product of bfloat16 where the processor has it, else the float32 multiply-add peak. */
  | 'dot'
  | 'multiplyAdd'
  | 'memory'
  /** The roofline's: the peak that binds the case. */
  | 'roofline'

export interface Target {
  readonly name: string
  readonly op: BenchOp
  readonly length: number
  readonly settings: Partial<BenchSettings>
  /** Any of these is enough. */
  readonly shares?: readonly { readonly against: Against; readonly least: number }[]
  /** Operations per second over those of the target of this name. */
  readonly beside?: { readonly name: string; readonly least: number }
}

const long = 'prefill float32, 2,048, causal'
const heads = { numQoHeads: 32, numKvHeads: 8, headDimQk: 128, headDimVo: 128 } as const

/** What the CPU kernels are measured by, as shares of peaks of the same run. 32 query heads on 8 key and value heads of 128 unless said. */
export const targets: readonly Target[] = [
  { name: long, op: 'prefill', length: 2048, settings: { ...heads }, shares: [{ against: 'multiplyAdd', least: 0.75 }] },
  {
    name: 'prefill float32, 2,048, full', op: 'prefill', length: 2048, settings: { ...heads, causal: false }, shares: [{ against: 'multiplyAdd', least: 0.75 }],
  },
  { name: 'prefill bfloat16, 2,048, causal', op: 'prefill', length: 2048, settings: { ...heads, dtype: 'bfloat16' }, shares: [{ against: 'dot', least: 0.6 }] },
  {
    name: 'prefill bfloat16, 2,048, full', op: 'prefill', length: 2048, settings: { ...heads, dtype: 'bfloat16', causal: false },
    shares: [{ against: 'dot', least: 0.6 }],
  },
  { name: 'prefill float16, 2,048, causal', op: 'prefill', length: 2048, settings: { ...heads, dtype: 'float16' }, beside: { name: long, least: 1 } },
  ...[64, 128, 512].map((length): Target => ({
    name: `prefill float32, ${length}, causal`, op: 'prefill', length, settings: { ...heads }, beside: { name: long, least: 0.6 },
  })),
  {
    name: 'decode bfloat16, 16,384 keys, cold', op: 'decode', length: 16384, settings: { ...heads, dtype: 'bfloat16', cold: true },
    shares: [{ against: 'memory', least: 0.9 }],
  },
  {
    name: 'decode bfloat16, 4,096 keys', op: 'decode', length: 4096, settings: { ...heads, dtype: 'bfloat16' },
    shares: [{ against: 'roofline', least: 0.6 }],
  },
  ...[4096, 16384].map((length): Target => ({
    name: `MLA decode bfloat16, 128 heads, ${length.toLocaleString('en-US')} keys`, op: 'mla-decode', length, settings: { numQoHeads: 128, dtype: 'bfloat16' },
    shares: [{ against: 'dot', least: 0.6 }],
  })),
  {
    name: 'MLA decode bfloat16, 16 heads, 16,384 keys, cold', op: 'mla-decode', length: 16384, settings: { numQoHeads: 16, dtype: 'bfloat16', cold: true },
    shares: [{ against: 'memory', least: 0.85 }, { against: 'dot', least: 0.5 }],
  },
  {
    name: 'linear bfloat16, 512 × 2048 × 2048', op: 'linear', length: 512, settings: { hiddenSize: 2048, dtype: 'bfloat16' },
    shares: [{ against: 'dot', least: 0.65 }],
  },
  { name: 'linear float32, 512 × 2048 × 2048', op: 'linear', length: 512, settings: { hiddenSize: 2048 }, shares: [{ against: 'multiplyAdd', least: 0.75 }] },
]

export const leastSpeedup = 1.85
/** The targets that are timed on one thread and on two: what computes more than it reads. */
export const speedupOf = [
  long, 'prefill bfloat16, 2,048, causal', 'MLA decode bfloat16, 128 heads, 4,096 keys', 'linear float32, 512 × 2048 × 2048',
  'linear bfloat16, 512 × 2048 × 2048',
]
/** Seconds from the call of an op to its return. */
export const mostEnqueue = 3e-6

/** Shapes beside a peer: lengths from one token on, groups of 1, 4 and 16, narrow and wide heads. */
export interface SweepShape {
  readonly op: 'prefill' | 'decode'
  readonly length: number
  readonly settings: Partial<BenchSettings>
}
export const sweepPeer: PeerName = 'onnxruntime'
export const sweep: readonly SweepShape[] = [[32, 8, 128], [32, 32, 64], [16, 1, 64]].flatMap(([numQoHeads, numKvHeads, headDim]) => {
  const shape = { numQoHeads: numQoHeads!, numKvHeads: numKvHeads!, headDimQk: headDim!, headDimVo: headDim! }
  return [
    ...[true, false].flatMap((causal) => [1, 16, 64, 256, 1024, 2048].map((length): SweepShape => ({ op: 'prefill', length, settings: { ...shape, causal } }))),
    ...[16, 256, 1024, 4096, 16384].map((length): SweepShape => ({ op: 'decode', length, settings: shape })),
  ]
})
