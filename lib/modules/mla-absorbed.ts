import type { MlaKvCache } from '../cache/mla-kv-cache'
import type { Sequence } from '../cache/sequence'
import type { AttentionPlan } from '../ops/attention-plan'
import { linearPerHead } from '../ops/linear-per-head'
import { paddedMlaDecode } from '../ops/mla-decode'
import type { FloatTensor } from '../tensor/tensor'
import type { ResolvedMlaConfig } from './config'
import type { Keep } from './intermediates'
import type { MlaModuleWeights } from './mla-weights'

/** Query heads in their two parts: [batch, len, numHeads, qkNopeHeadDim] and, rotated, [batch, len, numHeads, qkRopeHeadDim]. */
export interface MlaQueries {
  readonly qNope: FloatTensor
  readonly qPe: FloatTensor
  /** [batch] valid rows; undefined when all are. */
  readonly lens: Int32Array | undefined
}

/** Attention of the newest rows over the cached latents, in latent space -> [batch, len, numHeads, vHeadDim]. */
export function absorbedAttention(
  config: ResolvedMlaConfig, weights: MlaModuleWeights, { qNope, qPe, lens }: MlaQueries, cache: MlaKvCache, sequences: readonly Sequence[],
  keep: Keep, plan?: AttentionPlan,
): FloatTensor {
  const { numHeads, kvLoraRank, qkNopeHeadDim, vHeadDim, softmaxScale, causal } = config
  const [batch, len] = qNope.shape as [number, number]
  const heads = keep(qNope.reshape([batch * len, numHeads, qkNopeHeadDim]))
  const absorbed = keep(keep(linearPerHead(heads, weights.absorbQuery)).reshape([batch, len, numHeads, kvLoraRank]))
  const pages = cache.batch(sequences)
  try {
    const { out } = paddedMlaDecode(absorbed, qPe, cache, pages, plan === undefined ? { softmaxScale, causal } : { softmaxScale, causal, plan }, lens ?? null)
    const rows = keep(keep(out).reshape([batch * len, numHeads, kvLoraRank]))
    return keep(keep(linearPerHead(rows, weights.valueUp)).reshape([batch, len, numHeads, vHeadDim]))
  } finally {
    pages[Symbol.dispose]()
  }
}
