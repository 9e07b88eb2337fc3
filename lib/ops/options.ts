import { checkBoolean, checkFinite, checkInteger, checkOptions, fail } from '../check'
import type { NativeAttentionOptions, NativeAttentionResult } from '../native'
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
const attentionKeys = ['causal', 'window', 'softmaxScale', 'logitSoftcap', 'alibiSlopes', 'sinks', 'returnLse', 'out'] as const satisfies (
  keyof AnyOptions
)[]

/** Checks the options of an attention op and words them for the addon. `more` are keys that the op itself looks after. */
export function attentionOptions(options: object | undefined, defaults: { causal: boolean }, more: readonly string[] = []): NativeAttentionOptions {
  const given = checkOptions('options', options as AnyOptions | undefined, [...attentionKeys, ...more] as (keyof AnyOptions)[])
  const window = checkOptions('options.window', given.window, ['left', 'right'])
  const side = (name: 'left' | 'right'): number => (window[name] === undefined ? -1 : checkInteger(`options.window.${name}`, window[name], 0))
  const softcap = given.logitSoftcap === undefined ? 0 : checkFinite('options.logitSoftcap', given.logitSoftcap)
  if (softcap < 0) fail('options.logitSoftcap', 'a finite number of at least 0', softcap)
  return {
    causal: given.causal === undefined ? defaults.causal : checkBoolean('options.causal', given.causal),
    windowLeft: side('left'),
    windowRight: side('right'),
    softmaxScale: given.softmaxScale === undefined ? Number.NaN : checkFinite('options.softmaxScale', given.softmaxScale),
    logitSoftcap: softcap,
    alibiSlopes: optionalHandleOf('options.alibiSlopes', given.alibiSlopes),
    sinks: optionalHandleOf('options.sinks', given.sinks),
    returnLse: given.returnLse === undefined ? false : checkBoolean('options.returnLse', given.returnLse),
    out: optionalHandleOf('options.out', given.out),
  }
}

/** The result of an attention op: `out` has q's dtype and device, and q's shape but for the last axis. */
export function attentionResult<L extends boolean>(
  result: NativeAttentionResult, q: FloatTensor, headDimVo: number, options: AttentionOptions<L> | undefined,
): AttentionResult<L> {
  const out = result.out === null ? options!.out! : fromHandle(result.out, q.dtype, [...q.shape.slice(0, -1), headDimVo], q.device)
  if (result.lse === null) return { out } as AttentionResult<L>
  const [rows, heads] = [q.shape.at(-3)!, q.shape.at(-2)!]
  const lseShape = q.shape.length === 4 ? [q.shape[0]!, heads, rows] : [heads, rows]
  return { out, lse: fromHandle(result.lse, 'float32', lseShape, q.device) } as unknown as AttentionResult<L>
}
