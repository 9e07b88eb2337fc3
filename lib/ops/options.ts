import { checkBoolean, checkFinite, checkInteger, checkOptions, fail } from '../check'
import type { NativeAttentionOptions, NativeAttentionResult, TensorHandle } from '../native'
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
  /** Write here instead of allocating: [.., numQoHeads, headDimVo], q's dtype, not overlapping an input. */
  out?: FloatTensor
}

export type AttentionResult<L extends boolean = false> = L extends true
  ? { readonly out: FloatTensor; readonly lse: Tensor<'float32'> }
  : { readonly out: FloatTensor }

type AnyOptions = AttentionOptions<boolean>
export const attentionKeys = ['causal', 'window', 'softmaxScale', 'logitSoftcap', 'alibiSlopes', 'sinks', 'returnLse', 'out'] as const satisfies (
  keyof AnyOptions
)[]

const windowKeys = ['left', 'right'] as const

/**
 * Checks the options of an attention op and words them for the addon. `keys` are those that may be given: attentionKeys and
 * what the op itself looks after.
 */
export function attentionOptions(
  options: object | undefined, defaults: { causal: boolean }, keys: readonly string[] = attentionKeys,
): NativeAttentionOptions {
  if (options === undefined) return [defaults.causal, -1, -1, Number.NaN, 0, null, null, false, null]
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
  ]
}

/** The result of an attention op: `out` has q's dtype and device, and q's shape but for the last axis. */
export function attentionResult<L extends boolean>(
  result: NativeAttentionResult, q: FloatTensor, headDimVo: number, options: AttentionOptions<L> | undefined,
): AttentionResult<L> {
  const [outHandle, lse] = Array.isArray(result) ? (result as readonly [TensorHandle | null, TensorHandle]) : [result as TensorHandle | null, null]
  const shape = q.shape.at(-1) === headDimVo ? q.shape : q.shape.with(-1, headDimVo)
  const out = outHandle === null ? options!.out! : fromHandle(outHandle, q.dtype, shape, q.device)
  if (lse === null) return { out } as AttentionResult<L>
  const [rows, heads] = [q.shape.at(-3)!, q.shape.at(-2)!]
  const lseShape = q.shape.length === 4 ? [q.shape[0]!, heads, rows] : [heads, rows]
  return { out, lse: fromHandle(lse, 'float32', lseShape, q.device) } as unknown as AttentionResult<L>
}
