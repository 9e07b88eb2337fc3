import { performance } from 'node:perf_hooks'
import { setImmediate } from 'node:timers'
import type { DeviceId } from './devices'
import { ArgumentError, AttentionError, DeviceError, ResourceError, UnsupportedError, type ErrorCode } from './errors'
import { loadAddon } from './load-addon'

declare const handleBrand: unique symbol
/** A tensor of the addon, type-tagged there: a foreign object in its place is refused. */
export interface TensorHandle {
  readonly [handleBrand]: true
}

export interface NativeDevice {
  id: string
  type: string
  name: string
  arch: string
  totalMemory: number
  freeMemory: number
  units: number
}
export interface NativeKernel {
  name: string
  op: string
  device: string
  arch: string
  dtypes: string[]
  headDims: string
  runs: number
  /** Why this kernel cannot run on this machine; empty when it can. */
  unusable: string
}
export interface NativePlan {
  kernel: string
  numSplits: number
  workspaceBytes: number
  /** What the kernel laid down for the lengths of the batch: int32 [scheduleSize] on the device, in words of the kernel's own; null: nothing. */
  schedule: TensorHandle | null
  scheduleSize: number
  parts: number
  pieces: number
}
type Bits = ArrayBufferView
/**
 * The last arguments of every attention op: reading them costs a fraction of what an object's properties do. -1 where a
 * window has no bound; a scale of NaN is the default. Scales are of float8_e4m3 operands; dtype is the number of out's where the queries are
 * float8_e4m3, -1 for the default.
 */
export type NativeAttentionOptions = readonly [
  causal: boolean, windowLeft: number, windowRight: number, softmaxScale: number, logitSoftcap: number, alibiSlopes: TensorHandle | null,
  sinks: TensorHandle | null, returnLse: boolean, out: TensorHandle | null, queryScales: TensorHandle | null, keyScales: TensorHandle | null,
  valueScales: TensorHandle | null, dtype: number,
]
/** out, which is null when options.out was given; with lse behind it when that was asked for. */
export type NativeAttentionResult = TensorHandle | null | readonly [out: TensorHandle | null, lse: TensorHandle]

/** What the addon exports: one function per file of native/binding/ops. Each checks its arguments, enqueues and returns. */
export interface Addon {
  dtypes(): { name: string; bytes: number; isFloat: boolean }[]
  devices(): NativeDevice[]
  device(id: string): NativeDevice
  unavailableReason(device: string): string
  unavailableCode(device: string): 'DEVICE_UNAVAILABLE' | 'UNSUPPORTED'
  deviceMemory(device: string): { tensors: number; bytes: number; peakBytes: number }
  setNumThreads(count: number): void
  numThreads(): number
  /** The text of the first failure of earlier work, empty when there was none; at once where all of it has run. */
  synchronize(device: string): Promise<string> | string
  /** [1]: becomes 1 when an op of this thread was put off, until somebody waits for it or offer() is called. */
  putOff(): Int32Array
  offer(): void
  synchronizeSync(device: string): string
  kernels(): NativeKernel[]
  /** Only this kernel may run for its op; '' lets every kernel run again. */
  forceKernel(name: string): void

  tensorEmpty(device: string, dtype: number, shape: readonly number[]): TensorHandle
  tensorZeros(device: string, dtype: number, shape: readonly number[]): TensorHandle
  tensorFromNumbers(device: string, dtype: number, shape: readonly number[], numbers: Float64Array | Float32Array | Int32Array): TensorHandle
  tensorFromBits(device: string, dtype: number, shape: readonly number[], bits: Bits): TensorHandle
  tensorWrap(dtype: number, shape: readonly number[], bits: Bits): TensorHandle
  /** offset and strides in elements, relative to the tensor's own first element. */
  tensorView(tensor: TensorHandle, offset: number, shape: readonly number[], strides: readonly number[]): TensorHandle
  /** A packed copy on a device. */
  tensorTo(tensor: TensorHandle, device: string): TensorHandle
  tensorDispose(tensor: TensorHandle): void
  /** Copies run on the queue. The text is the first failure of earlier work, empty when there was none; at once where all of it has run. */
  readNumbers(tensor: TensorHandle, into: Float32Array | Int32Array): Promise<string> | string
  readNumbersSync(tensor: TensorHandle, into: Float32Array | Int32Array): string
  readBits(tensor: TensorHandle, into: Bits): Promise<string> | string
  randn(device: string, dtype: number, shape: readonly number[], seed: number): TensorHandle
  /** dst = src, converting; same shape. */
  copy(src: TensorHandle, dst: TensorHandle): void

  flashAttention(
    q: TensorHandle, k: TensorHandle, v: TensorHandle, kvLens: TensorHandle | null, qoLens: Int32Array | null, ...options: NativeAttentionOptions
  ): NativeAttentionResult
  flashAttentionVarlen(
    q: TensorHandle, k: TensorHandle, v: TensorHandle, qoIndptr: Int32Array, kvIndptr: Int32Array, ...options: NativeAttentionOptions
  ): NativeAttentionResult
  pagedAttention(
    q: TensorHandle, keys: TensorHandle, values: TensorHandle, pageTable: TensorHandle, kvLens: TensorHandle, maxKvLen: number,
    qoLens: Int32Array | null, ...options: NativeAttentionOptions
  ): NativeAttentionResult
  pagedAttentionPlan(
    keys: TensorHandle, values: TensorHandle, pageTable: TensorHandle, kvLens: TensorHandle, maxKvLen: number, qoLen: number, numQoHeads: number,
  ): NativePlan
  mlaDecode(
    qNope: TensorHandle, qPe: TensorHandle, latents: TensorHandle, pageTable: TensorHandle, kvLens: TensorHandle, maxKvLen: number,
    qoLens: Int32Array | null, schedule: TensorHandle | null, parts: number, pieces: number, ...options: NativeAttentionOptions
  ): NativeAttentionResult
  mlaDecodePlan(
    latents: TensorHandle, pageTable: TensorHandle, kvLens: TensorHandle, maxKvLen: number, qoLen: number, numHeads: number, kvLoraRank: number,
    lens: Int32Array,
  ): NativePlan
  /** Attention over per-head keys with a rope key shared by all heads: kNope [b, kv, heads, nope], kPe [b, kv, rope]. */
  mlaPrefill(
    qNope: TensorHandle, qPe: TensorHandle, kNope: TensorHandle, kPe: TensorHandle, v: TensorHandle, kvLens: TensorHandle | null,
    qoLens: Int32Array | null, ...options: NativeAttentionOptions
  ): NativeAttentionResult
  mergeStates(outs: readonly TensorHandle[], lses: readonly TensorHandle[]): readonly [out: TensorHandle, lse: TensorHandle]

  /** null where codes and scales were given. */
  quantizeFloat8(
    x: TensorHandle, groupSize: number, indptr: Int32Array | null, codes: TensorHandle | null, scales: TensorHandle | null,
  ): readonly [codes: TensorHandle, scales: TensorHandle] | null

  /** pagedAppend of src after rope. */
  ropeAppend(
    src: TensorHandle, pages: TensorHandle, slots: Int32Array, scales: TensorHandle | null, positions: TensorHandle | null,
    ...options: NativeRopeOptions
  ): void
  rope(x: TensorHandle, positions: TensorHandle | null, out: TensorHandle | null, ...options: NativeRopeOptions): TensorHandle | null
  rmsNorm(x: TensorHandle, weight: TensorHandle, eps: number, out: TensorHandle | null): TensorHandle | null
  linear(x: TensorHandle, weight: TensorHandle, bias: TensorHandle | null, out: TensorHandle | null): TensorHandle | null
  /** x [rows, heads, in] · weight [heads, out, in] -> [rows, heads, out]. */
  linearPerHead(x: TensorHandle, weight: TensorHandle): TensorHandle

  /**
   * src [batch, newLen, heads, dim] into pages [numPages, pageSize, heads, dim]; slots [batch · newLen], -1 skips a row. scales [heads] float32:
   * what goes into pages of float8_e4m3 is divided by them, and saturates at ±448.
   */
  pagedAppend(src: TensorHandle, pages: TensorHandle, slots: Int32Array, scales: TensorHandle | null): void
  /** Whole pages within a cache: pairs from, to, from, to, … */
  pageCopy(pages: TensorHandle, pairs: Int32Array): void
  /** Rows begin … end of a sequence, from pages [numPages, pageSize, width], packed: [end - begin, width]. */
  pagedGather(pages: TensorHandle, pageList: Int32Array, begin: number, end: number): TensorHandle
  /** ckv [batch, newLen, 512], kPe [batch, newLen, 64] into float8_e4m3 rows of 656 bytes (native/core/latent_rows.h). */
  latentAppend(ckv: TensorHandle, kPe: TensorHandle, latents: TensorHandle, slots: Int32Array): void
  /** Such rows as numbers of a compute dtype: [end - begin, 576]. */
  latentGather(latents: TensorHandle, pageList: Int32Array, begin: number, end: number, dtype: number): TensorHandle

  /** Measures the machine (native/core/probe.h). `rounds`: passes over the int32 buffer, or operations per chain, up to 4,194,304. */
  probe(device: string, kind: NativeProbeKind, threads: number, rounds: number, buffer: TensorHandle | null): Promise<NativeProbe>
}

export type NativeProbeKind = 'multiplyAdd' | 'bf16Dot' | 'bf16Tile' | 'read'
export interface NativeProbe {
  /** Of the work alone, on the queue. */
  seconds: number
  /** Operations, or bytes read. */
  work: number
  /** 'read': the sum of all words of all passes modulo 2³²; otherwise operations as the chains counted them. */
  checksum: number
  /** The first failure of earlier work, empty when there was none. */
  failure: string
}

/** `scaling`: '' | 'linear' | 'llama3' | 'yarn', with the numbers that it needs; `magnitude`: factor on cos and sin. */
export type NativeRopeOptions = readonly [
  dim: number, interleaved: boolean, theta: number, scaling: string, factor: number, lowFreqFactor: number, highFreqFactor: number,
  originalMaxPositions: number, betaFast: number, betaSlow: number, magnitude: number,
]

export const native = loadAddon() as Addon

const putOff = native.putOff()

/** Calls the addon; what it throws becomes an error class of this realm. */
export function invoke<T>(call: () => T): T {
  try {
    return call()
  } catch (error) {
    throw toAttentionError(error)
  } finally {
    if (putOff[0] !== 0) {
      putOff[0] = 0
      beginTurn()
    }
  }
}

/** Work that its caller waits for right away is done right away; so long after a turn of the event loop began to do so, the next turn comes first. */
const mostTurnMs = 0.05
let turnBegan: number | undefined

/** What was put off and that nobody waits for in this turn of the event loop goes to other threads. */
function beginTurn(): void {
  if (turnBegan !== undefined) return
  turnBegan = performance.now()
  setImmediate(() => {
    turnBegan = undefined
    native.offer()
  }).unref()
}

/** What the addon says when all has run. Where it has said so already, timers and sockets get their turns between many such calls all the same. */
export async function whenRun(said: Promise<string> | string): Promise<string> {
  if (typeof said !== 'string') return said
  beginTurn()
  if (performance.now() - turnBegan! > mostTurnMs) await new Promise((resolve) => setImmediate(resolve))
  return said
}

interface NativeError {
  attn: ErrorCode
  message: string
  argument?: string
  expected?: string
  received?: string
  rejected?: { kernel: string; reason: string }[]
  requested?: number
  available?: number
}

/** Arguments of the addon that callers give as options: errors name them as callers do. */
const givenAsOptions = new Set([
  'alibiSlopes', 'bias', 'dim', 'dtype', 'groupSize', 'indptr', 'keyScales', 'kvIndptr', 'kvLens', 'lens', 'out', 'out.codes', 'out.scales', 'positions',
  'qoIndptr', 'queryScales', 'sinks', 'softmaxScale', 'valueScales',
])

function toAttentionError(error: unknown): unknown {
  const e = error as NativeError | null
  if (typeof e !== 'object' || e === null || typeof e.attn !== 'string') return error
  switch (e.attn) {
    case 'INVALID_ARGUMENT':
    case 'SHAPE_MISMATCH':
    case 'DISPOSED':
      return new ArgumentError(callersName(e.argument ?? ''), e.expected ?? '', e.received ?? '', e.attn)
    case 'UNSUPPORTED':
      return new UnsupportedError(e.message, e.rejected ?? [])
    case 'OUT_OF_MEMORY':
      return new ResourceError('OUT_OF_MEMORY', e.message, e.requested ?? 0, e.available ?? 0)
    case 'DEVICE_UNAVAILABLE':
      return new DeviceError('DEVICE_UNAVAILABLE', deviceIn(e.message), e.message)
    case 'CUDA':
      return new DeviceError('CUDA', deviceIn(e.message), e.message, /CUDA_ERROR_\w+/.exec(e.message)?.[0])
    default:
      return new AttentionError(e.attn, e.message)
  }
}

/** Messages of a device begin with it. */
function deviceIn(message: string): DeviceId {
  return (/^(?:cpu|cuda(?::\d+)?)\b/.exec(message)?.[0] ?? 'cuda') as DeviceId
}

function callersName(argument: string): string {
  return givenAsOptions.has(argument) ? `options.${argument}` : argument
}
