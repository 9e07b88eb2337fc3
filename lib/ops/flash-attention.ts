import { invoke, native } from '../native'
import { checkTensor, handleOf, optionalHandleOf, type FloatTensor, type IndexTensor } from '../tensor/tensor'
import { attentionKeys, attentionOptions, attentionResult, kvScaleKeys, type AttentionOptions, type AttentionResult, type KvScales } from './options'

export type FlashAttentionOptions<L extends boolean = false> = AttentionOptions<L> & KvScales & {
  /** [batch] valid kv rows per sequence, clamped to 0 … kvLen; rows beyond may hold anything. */
  kvLens?: IndexTensor
}

/**
 * softmax(q kᵀ · scale) v, computed tile by tile with an online softmax; the score matrix is never built. MHA, GQA and MQA by
 * head counts: numQoHeads must be a multiple of numKvHeads; KV heads are broadcast inside the kernel and never copied.
 *
 * q [batch, qoLen, numQoHeads, headDimQk] · k [batch, kvLen, numKvHeads, headDimQk] · v [batch, kvLen, numKvHeads, headDimVo]
 * → out [batch, qoLen, numQoHeads, headDimVo] in q's dtype, lse [batch, numQoHeads, qoLen]. float32, float16 and bfloat16; k
 * and v share a dtype, which may differ from q's. Any head dims, any strides.
 *
 * k and v in float8_e4m3 stand for element · scale with `keyScales` and `valueScales`; then q may be float8_e4m3 too, with `queryScales`, and out has
 * the dtype of `dtype`.
 *
 * Method: Dao et al., "FlashAttention: fast and memory-efficient exact attention with IO-awareness", 2022, and
 * "FlashAttention-2", 2023; grouped queries: Ainslie et al., "GQA", 2023.
 *
 * @throws ArgumentError for shapes, dtypes, devices or options that do not fit; nothing is enqueued then.
 * @example
 * ```ts
 * const q = Tensor.randn([1, 512, 32, 128], { seed: 1 })
 * const k = Tensor.randn([1, 512, 8, 128], { seed: 2 })
 * const v = Tensor.randn([1, 512, 8, 128], { seed: 3 })
 * const { out, lse } = flashAttention(q, k, v, { causal: true, returnLse: true })
 * ```
 */
export function flashAttention<L extends boolean = false>(
  q: FloatTensor, k: FloatTensor, v: FloatTensor, options?: FlashAttentionOptions<L>,
): AttentionResult<L> {
  return paddedFlashAttention(q, k, v, options, null)
}

const keys = [...attentionKeys, ...kvScaleKeys, 'kvLens']

/** flashAttention where only the first qoLens[b] query rows of a sequence are valid: the rest gives out 0. For padded batches. */
export function paddedFlashAttention<L extends boolean = false>(
  q: FloatTensor, k: FloatTensor, v: FloatTensor, options: FlashAttentionOptions<L> | undefined, qoLens: Int32Array | null,
): AttentionResult<L> {
  const [qHandle, kHandle, vHandle] = [handleOf('q', q), handleOf('k', k), handleOf('v', v)]
  const nativeOptions = attentionOptions(options, { causal: false }, keys)
  const kvLens = optionalHandleOf('options.kvLens', options?.kvLens)
  const result = invoke(() => native.flashAttention(qHandle, kHandle, vHandle, kvLens, qoLens, ...nativeOptions))
  return attentionResult(result, checkTensor('q', q) as FloatTensor, v.shape.at(-1)!, options)
}
