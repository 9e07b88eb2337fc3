import { checkBoolean, checkFinite, checkInteger, checkOneOf, checkOptions, fail } from '../check'
import type { NativeAttentionOptions, NativeAttentionResult, TensorHandle } from '../native'
import { computeDTypes, dtypeCode, type ComputeDType, type FloatDType } from '../tensor/dtype'
import { fromHandle, optionalHandleOf, type FloatTensor, type Tensor } from '../tensor/tensor'

export interface AttentionOptions<L extends boolean = false> {
  /** Bottom-right aligned. Default false (true for paged calls). */
  causal?: boolean
  /** Keys visible left and right of the aligned diagonal, both inclusive, non-negative integers; absent side = unlimited. */
  window?: { left?: number; right?: number }
  /** Default 1/sqrt(headDimQk). */
  softmaxScale?: number
  /** logit = cap * tanh(logit / cap), after scaling and before masking; 0 means none. */
  logitSoftcap?: number
  /** [numQoHeads] or [batch, numQoHeads] float32; bias = -slope · |i + (kvLen - qoLen) - j|, with or without causal. */
  alibiSlopes?: Tensor<'float32'>
  /**
   * [numQoHeads] float32 logits of one extra key with value 0 that every row sees; counted in lse. A row that sees no other key
   * gives out = 0 and lse = sink.
   */
  sinks?: Tensor<'float32'>
  returnLse?: L
  /** Write here instead of allocating: [.., numQoHeads, headDimVo], q's dtype (of a float8_e4m3 q: `dtype`), not overlapping an input. */
  out?: FloatTensor
  /** What the elements of a float8_e4m3 q are multiplied by: [numKvHeads] or [batch, numKvHeads] float32. Default 1. */
  queryScales?: Tensor<'float32'>
  /** Of out, where q is float8_e4m3: default that of options.out, else 'bfloat16'. */
  dtype?: ComputeDType
}

/** Of calls whose keys and values are tensors; those of a cache have their scales there. */
export interface KvScales {
  /** As queryScales, for keys in float8_e4m3. */
  keyScales?: Tensor<'float32'> | undefined
  /** As queryScales, for values in float8_e4m3. */
  valueScales?: Tensor<'float32'> | undefined
}

export type AttentionResult<L extends boolean = false> = L extends true
  ? { readonly out: FloatTensor; readonly lse: Tensor<'float32'> }
  : { readonly out: FloatTensor }

type AnyOptions = AttentionOptions<boolean>
export const attentionKeys = [
  'causal', 'window', 'softmaxScale', 'logitSoftcap', 'alibiSlopes', 'sinks', 'returnLse', 'out', 'queryScales', 'dtype',
] as const satisfies (keyof AnyOptions)[]

export const kvScaleKeys = ['keyScales', 'valueScales'] as const satisfies (keyof KvScales)[]

const windowKeys = ['left', 'right'] as const

/**
 * Checks the options of an attention op and words them for the addon. `keys` are those that may be given: attentionKeys and
 * what the op itself looks after. `scales` are those of the keys and values, of a cache if it has them.
 */
export function attentionOptions(
  options: object | undefined, defaults: { causal: boolean }, keys: readonly string[] = attentionKeys, scales: KvScales | undefined = options,
): NativeAttentionOptions {
  if (options === undefined && scales === undefined) return [defaults.causal, -1, -1, Number.NaN, 0, null, null, false, null, null, null, null, -1]
  const given = checkOptions('options', options as AnyOptions, keys as (keyof AnyOptions)[])
  const window = checkOptions('options.window', given.window, windowKeys)
  const softcap = given.logitSoftcap === undefined ? 0 : checkFinite('options.logitSoftcap', given.logitSoftcap)
  if (softcap < 0) fail('options.logitSoftcap', 'a finite number of at least 0', softcap)
  return [
    given.causal === undefined ? defaults.causal : checkBoolean('options.causal', given.causal),
    window.left === undefined ? -1 : checkInteger('options.window.left', window.left, 0),
    window.right === undefined ? -1 : checkInteger('options.window.right', window.right, 0),
    given.softmaxScale === undefined ? Number.NaN : checkFinite('options.softmaxScale', given.softmaxScale),
    softcap,
    optionalHandleOf('options.alibiSlopes', given.alibiSlopes),
    optionalHandleOf('options.sinks', given.sinks),
    given.returnLse === undefined ? false : checkBoolean('options.returnLse', given.returnLse),
    optionalHandleOf('options.out', given.out),
    optionalHandleOf('options.queryScales', given.queryScales),
    optionalHandleOf('options.keyScales', scales?.keyScales),
    optionalHandleOf('options.valueScales', scales?.valueScales),
    given.dtype === undefined ? -1 : dtypeCode(checkOneOf('options.dtype', given.dtype, computeDTypes)),
  ]
}

/** The result of an attention op: `out` has q's device and, unless that is float8_e4m3, dtype, and q's shape but for the last axis. */
export function attentionResult<L extends boolean>(
  result: NativeAttentionResult, q: FloatTensor, headDimVo: number, options: AttentionOptions<L> | undefined,
): AttentionResult<L> {
  const [outHandle, lse] = Array.isArray(result) ? (result as readonly [TensorHandle | null, TensorHandle]) : [result as TensorHandle | null, null]
  const shape = q.shape.at(-1) === headDimVo ? q.shape : q.shape.with(-1, headDimVo)
  const out = outHandle === null ? options!.out! : fromHandle(outHandle, outDType(q.dtype, options), shape, q.device)
  if (lse === null) return { out } as AttentionResult<L>
  const [rows, heads] = [q.shape.at(-3)!, q.shape.at(-2)!]
  const lseShape = q.shape.length === 4 ? [q.shape[0]!, heads, rows] : [heads, rows]
  return { out, lse: fromHandle(lse, 'float32', lseShape, q.device) } as unknown as AttentionResult<L>
}

/** Of an `out` that was not given. */
function outDType(dtype: FloatDType, options: AnyOptions | undefined): FloatDType {
  return dtype === 'float8_e4m3' ? (options?.dtype ?? 'bfloat16') : dtype
}
