import { latentPagesOf, type MlaKvCache } from '../cache/mla-kv-cache'
import type { PageBatch } from '../cache/page-batch'
import { checkFinite, checkInteger, checkOptions } from '../check'
import { invoke, native } from '../native'
import { handleOf, type FloatTensor } from '../tensor/tensor'
import { checkPlan, makePlan, type AttentionPlan, type PlannedShape } from './attention-plan'
import { attentionOptions, attentionResult, type AttentionResult } from './options'

export interface MlaDecodeOptions<L extends boolean = false> {
  /** 1/sqrt(qkNopeHeadDim + qkRopeHeadDim), times YaRN's factor where the model has one; never of the absorbed width. */
  readonly softmaxScale: number
  /** Bottom-right aligned. Default true. */
  readonly causal?: boolean
  readonly returnLse?: L
  readonly plan?: AttentionPlan
  /** Write here instead of allocating: [batch, qoLen, numHeads, kvLoraRank]. */
  readonly out?: FloatTensor
}

export interface MlaDecode {
  /**
   * Multi-head latent attention in latent space, the absorbed form of DeepSeek-V2 (arXiv:2405.04434, section 2.1): every head attends to
   * the same cache rows, and the row's latent is also the value. qNope is already absorbed (multiplied by the key up-projection).
   *
   * qNope [batch, qoLen, numHeads, kvLoraRank] · qPe [batch, qoLen, numHeads, qkRopeHeadDim], the newest qoLen tokens of each sequence
   * -> out [batch, qoLen, numHeads, kvLoraRank] (still to be multiplied by the value up-projection), lse [batch, numHeads, qoLen] float32.
   *
   * @throws ArgumentError, also for a batch of another cache and for a plan of another shape; UnsupportedError; ResourceError.
   */
  <L extends boolean = false>(
    qNope: FloatTensor, qPe: FloatTensor, cache: MlaKvCache, batch: PageBatch, options: MlaDecodeOptions<L>,
  ): AttentionResult<L>
  /** What a call of this shape will do at the lengths of `batch`, with queries of the cache's dtype (of a float8_e4m3 cache, of bfloat16). */
  plan(cache: MlaKvCache, batch: PageBatch, shape: { readonly qoLen: number; readonly numHeads: number }): AttentionPlan
}

const maxDim = 2 ** 31 - 1
const decodeKeys = ['softmaxScale', 'causal', 'returnLse', 'plan', 'out'] as const

export const mlaDecode: MlaDecode = Object.assign(
  <L extends boolean = false>(
    qNope: FloatTensor, qPe: FloatTensor, cache: MlaKvCache, batch: PageBatch, options: MlaDecodeOptions<L>,
  ): AttentionResult<L> => paddedMlaDecode(qNope, qPe, cache, batch, options, null),
  {
    plan: (cache: MlaKvCache, batch: PageBatch, shape: { readonly qoLen: number; readonly numHeads: number }): AttentionPlan => {
      const { pageTable, kvLens, batchSize, maxKvLen, lens } = latentPagesOf('cache', cache).batchOf('batch', batch)
      const given = checkOptions('shape', shape, ['qoLen', 'numHeads'])
      const qoLen = checkInteger('shape.qoLen', given.qoLen, 0, maxDim)
      const numHeads = checkInteger('shape.numHeads', given.numHeads, 1, maxDim)
      const planned = invoke(() =>
        native.mlaDecodePlan(
          handleOf('cache.latents', cache.latents), handleOf('batch.pageTable', pageTable), handleOf('batch.kvLens', kvLens), maxKvLen,
          qoLen, numHeads, cache.kvLoraRank, lens,
        ),
      )
      return makePlan('mlaDecode', plannedShape(cache, batchSize, qoLen, numHeads), cache.latents.device, planned)
    },
  },
)

/** `qoLens` [batch]: the newest tokens are the first qoLens[b] rows of the queries; rows beyond are padding and give out 0, lse -Infinity. */
export function paddedMlaDecode<L extends boolean = false>(
  qNope: FloatTensor, qPe: FloatTensor, cache: MlaKvCache, batch: PageBatch, options: MlaDecodeOptions<L>, qoLens: Int32Array | null,
): AttentionResult<L> {
  const { pageTable, kvLens, batchSize, maxKvLen } = latentPagesOf('cache', cache).batchOf('batch', batch)
  const queries = [handleOf('qNope', qNope), handleOf('qPe', qPe)] as const
  const checked = attentionOptions(options, { causal: true }, decodeKeys)
  const given = options as Partial<typeof options> | undefined
  checkFinite('options.softmaxScale', given?.softmaxScale)
  const plan: unknown = given?.plan
  const [, qoLen, numHeads] = qNope.shape
  const schedule = plan === undefined ? plan : checkPlan('options.plan', plan, 'mlaDecode', plannedShape(cache, batchSize, qoLen ?? 0, numHeads ?? 0))
  return attentionResult(
    invoke(() =>
      native.mlaDecode(
        ...queries, handleOf('cache.latents', cache.latents), handleOf('batch.pageTable', pageTable), handleOf('batch.kvLens', kvLens), maxKvLen,
        qoLens, schedule === undefined ? null : handleOf('options.plan', schedule.words), schedule?.parts ?? 0, schedule?.pieces ?? 0, ...checked,
      ),
    ),
    qNope,
    cache.kvLoraRank,
    options,
  )
}

function plannedShape({ latents, kvLoraRank, qkRopeHeadDim }: MlaKvCache, batchSize: number, qoLen: number, numHeads: number): PlannedShape {
  const { shape, dtype, device } = latents
  return { batchSize, qoLen, numHeads, kvLoraRank, qkRopeHeadDim, pageSize: shape[1]!, dtype, device }
}
