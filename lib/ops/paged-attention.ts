import type { PageBatch } from '../cache/page-batch'
import { kvPagesOf, type PagedKvCache } from '../cache/paged-kv-cache'
import { checkInteger, checkOptions } from '../check'
import { invoke, native } from '../native'
import { handleOf, type FloatTensor } from '../tensor/tensor'
import { checkPlan, makePlan, type AttentionPlan, type PlannedShape } from './attention-plan'
import { attentionKeys, attentionOptions, attentionResult, type AttentionOptions, type AttentionResult } from './options'

export interface PagedAttention {
  /**
   * Attention of the newest tokens of each sequence over all that it holds in a paged cache, read where it lies.
   *
   * q [batch, qoLen, numQoHeads, headDimQk], the newest qoLen tokens of each sequence of `batch`
   * -> out [batch, qoLen, numQoHeads, headDimVo], lse [batch, numQoHeads, qoLen] float32. Options as for flashAttention, but `causal` is
   * true by default. The dtype of q may differ from the cache's, but is float8_e4m3 with a cache of that only; a cache of float8_e4m3
   * has the scales of its keys and values.
   *
   * ```ts
   * using batch = cache.batch(sequences)
   * const { out } = pagedAttention(q, cache, batch)
   * ```
   *
   * @throws ArgumentError, also for a batch of another cache and for a plan of another shape; UnsupportedError; ResourceError.
   */
  <L extends boolean = false>(
    q: FloatTensor, cache: PagedKvCache, batch: PageBatch, options?: AttentionOptions<L> & { readonly plan?: AttentionPlan },
  ): AttentionResult<L>
  /** What a call of this shape will do at the lengths of `batch`, with queries of the cache's dtype (of a float8_e4m3 cache, of bfloat16). */
  plan(cache: PagedKvCache, batch: PageBatch, shape: { readonly qoLen: number; readonly numQoHeads: number }): AttentionPlan
}

const maxDim = 2 ** 31 - 1
const keys = [...attentionKeys, 'plan']

export const pagedAttention: PagedAttention = Object.assign(
  <L extends boolean = false>(
    q: FloatTensor, cache: PagedKvCache, batch: PageBatch, options?: AttentionOptions<L> & { readonly plan?: AttentionPlan },
  ): AttentionResult<L> => paddedPagedAttention(q, cache, batch, options, null),
  {
    plan: (cache: PagedKvCache, batch: PageBatch, shape: { readonly qoLen: number; readonly numQoHeads: number }): AttentionPlan => {
      const { pageTable, kvLens, batchSize, maxKvLen } = kvPagesOf('cache', cache).batchOf('batch', batch)
      const given = checkOptions('shape', shape, ['qoLen', 'numQoHeads'])
      const qoLen = checkInteger('shape.qoLen', given.qoLen, 0, maxDim)
      const numQoHeads = checkInteger('shape.numQoHeads', given.numQoHeads, 1, maxDim)
      const planned = invoke(() =>
        native.pagedAttentionPlan(
          handleOf('cache.keys', cache.keys), handleOf('cache.values', cache.values), handleOf('batch.pageTable', pageTable),
          handleOf('batch.kvLens', kvLens), maxKvLen, qoLen, numQoHeads,
        ),
      )
      return makePlan('pagedAttention', plannedShape(cache, batchSize, qoLen, numQoHeads), cache.keys.device, planned)
    },
  },
)

/** `qoLens` [batch]: the newest tokens are the first qoLens[b] rows of q; rows beyond are padding and give out 0, lse -Infinity. */
export function paddedPagedAttention<L extends boolean = false>(
  q: FloatTensor, cache: PagedKvCache, batch: PageBatch, options: (AttentionOptions<L> & { readonly plan?: AttentionPlan }) | undefined,
  qoLens: Int32Array | null,
): AttentionResult<L> {
  const { pageTable, kvLens, batchSize, maxKvLen } = kvPagesOf('cache', cache).batchOf('batch', batch)
  const query = handleOf('q', q)
  const checked = attentionOptions(options, { causal: true }, keys, cache)
  const [, qoLen, numQoHeads] = q.shape
  checkPlan('options.plan', options?.plan, 'pagedAttention', plannedShape(cache, batchSize, qoLen ?? 0, numQoHeads ?? 0))
  return attentionResult(
    invoke(() =>
      native.pagedAttention(
        query, handleOf('cache.keys', cache.keys), handleOf('cache.values', cache.values), handleOf('batch.pageTable', pageTable),
        handleOf('batch.kvLens', kvLens), maxKvLen, qoLens, ...checked,
      ),
    ),
    q,
    cache.values.shape[3]!,
    options,
  )
}

function plannedShape({ keys, values }: PagedKvCache, batchSize: number, qoLen: number, numQoHeads: number): PlannedShape {
  const [, pageSize, numKvHeads, headDimQk] = keys.shape as [number, number, number, number]
  const { dtype, device } = keys
  return { batchSize, qoLen, numQoHeads, numKvHeads, headDimQk, headDimVo: values.shape[3]!, pageSize, dtype, device }
}
