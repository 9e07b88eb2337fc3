import { checkHostIntegers } from '../check'
import { invoke, native } from '../native'
import { handleOf, type FloatTensor } from '../tensor/tensor'
import { attentionKeys, attentionOptions, attentionResult, kvScaleKeys, type AttentionOptions, type AttentionResult, type KvScales } from './options'

export type FlashAttentionVarlenOptions<L extends boolean = false> = AttentionOptions<L> & KvScales & {
  /** [batch + 1] row counts summed up: sequence b owns query rows qoIndptr[b] … qoIndptr[b + 1] - 1. */
  qoIndptr: ArrayLike<number>
  kvIndptr: ArrayLike<number>
}

const keys = [...attentionKeys, ...kvScaleKeys, 'qoIndptr', 'kvIndptr']

/**
 * flashAttention over packed sequences of different lengths, without padding.
 *
 * q [totalQo, numQoHeads, headDimQk] · k [totalKv, numKvHeads, headDimQk] · v [totalKv, numKvHeads, headDimVo]
 * → out [totalQo, numQoHeads, headDimVo], lse [numQoHeads, totalQo].
 *
 * @throws ArgumentError for shapes, dtypes or options that do not fit, and for an indptr that does not start at 0, falls, or
 * does not end at the number of rows.
 * @example
 * ```ts
 * // Two sequences: 3 and 5 tokens.
 * const { out } = flashAttentionVarlen(q, k, v, { qoIndptr: [0, 3, 8], kvIndptr: [0, 3, 8], causal: true })
 * ```
 */
export function flashAttentionVarlen<L extends boolean = false>(
  q: FloatTensor, k: FloatTensor, v: FloatTensor, options: FlashAttentionVarlenOptions<L>,
): AttentionResult<L> {
  const qHandle = handleOf('q', q)
  const kHandle = handleOf('k', k)
  const vHandle = handleOf('v', v)
  const nativeOptions = attentionOptions(options, { causal: false }, keys)
  const qoIndptr = checkHostIntegers('options.qoIndptr', (options as Partial<typeof options> | undefined)?.qoIndptr, 0, 0x7fffffff)
  const kvIndptr = checkHostIntegers('options.kvIndptr', (options as Partial<typeof options> | undefined)?.kvIndptr, 0, 0x7fffffff)
  const result = invoke(() => native.flashAttentionVarlen(qHandle, kHandle, vHandle, qoIndptr, kvIndptr, ...nativeOptions))
  return attentionResult(result, q, v.shape.at(-1)!, options)
}
