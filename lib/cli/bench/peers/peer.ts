import type { ComputeDType } from '../../../tensor/dtype'
import type { Spread } from '../../compare/report'

export const peerNames = ['onnxruntime', 'torch'] as const
export type PeerName = (typeof peerNames)[number]

/** One attention call as every library knows it. */
export interface AttentionShape {
  readonly batch: number
  readonly qoLen: number
  readonly kvLen: number
  readonly numQoHeads: number
  readonly numKvHeads: number
  readonly headDimQk: number
  readonly headDimVo: number
  /** With as many queries as keys. */
  readonly causal: boolean
  readonly dtype: ComputeDType
}

/** Numbers of the host, as bits of the shape's dtype: q [batch, qoLen, numQoHeads, headDimQk], k and v [batch, kvLen, numKvHeads, ..]. */
export interface AttentionInputs {
  readonly q: Float32Array | Uint16Array
  readonly k: Float32Array | Uint16Array
  readonly v: Float32Array | Uint16Array
}

/** Absorbed MLA decoding of one token: queries and keys of [latent | rope], values that are the latents. */
export interface LatentShape {
  readonly batch: number
  readonly kvLen: number
  readonly numQoHeads: number
  readonly kvLoraRank: number
  readonly qkRopeHeadDim: number
  readonly softmaxScale: number
  readonly dtype: ComputeDType
}
/** qNope [batch, 1, numQoHeads, kvLoraRank], qPe [batch, 1, numQoHeads, qkRopeHeadDim], ckv [batch, kvLen, kvLoraRank], kPe [batch, kvLen, qkRopeHeadDim]. */
export interface LatentInputs {
  readonly qNope: Float32Array | Uint16Array
  readonly qPe: Float32Array | Uint16Array
  readonly ckv: Float32Array | Uint16Array
  readonly kPe: Float32Array | Uint16Array
}

/** One way in which the peer can compute a shape. */
export interface PeerVariant extends AsyncDisposable {
  readonly op: string
  /** In another process: what a call costs from here says nothing about it, only `kernelTimes` do. */
  readonly outside: boolean
  /** Host arrays in, a host array out [batch, qoLen, numQoHeads, headDimVo]. */
  readonly run: () => Promise<Float32Array | Uint16Array>
  /** As `run`, recording what the kernels alone took; `kernelTimes` gives the seconds of all such runs, in order. */
  readonly runRecorded: () => Promise<void>
  readonly kernelTimes: () => Promise<readonly number[]>
  /** Of a peer in another process: seconds of one of so many calls, enqueued one after the other and waited for together. */
  readonly runMany?: (calls: number) => Promise<number>
}

export interface Peer {
  readonly name: PeerName
  readonly version: string
  /** Every variant, or why the peer cannot do it so; of torch the one named `only`, where it is given. */
  readonly open: (shape: AttentionShape, inputs: AttentionInputs, threads: number, only?: string) => Promise<readonly (PeerVariant | Refusal)[]>
  readonly openLatent: (shape: LatentShape, inputs: LatentInputs, threads: number) => Promise<readonly (PeerVariant | Refusal)[]>
}
export interface Refusal {
  readonly op: string
  readonly refused: string
}

/** The package beside a peer. Ratios are the peer's time over the package's, taken round by round: above 1, the package is faster. */
export interface PeerReport {
  readonly name: PeerName
  readonly version: string
  /** The peer's fastest way to do it. */
  readonly op: string
  /** Host arrays in, a host array out; absent for a peer in another process. */
  readonly endToEnd?: PairedTimes
  /** Without arguments, results and their copies. */
  readonly kernel: PairedTimes
  /** Its other ways: seconds of a call, or why not. */
  readonly others: readonly (Refusal | { readonly op: string; readonly seconds: number })[]
}
export interface PairedTimes {
  readonly ours: Spread
  readonly peer: Spread
  readonly ratio: Spread
}
