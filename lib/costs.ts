import { latentRowWidth } from './cache/latent-row'
import { checkInteger, checkOneOf, fail } from './check'
import { checkAttentionConfig, checkMlaConfig } from './modules/config'
import type { AttentionConfig, MlaConfig, ResolvedAttentionConfig, ResolvedMlaConfig } from './modules/config'
import { type FloatDType, bytesPerElement, dtypes } from './tensor/dtype'

const floatDTypes = dtypes.filter((dtype): dtype is FloatDType => dtype !== 'int32')

/** What an attention layer costs, from its configuration alone. */
export interface LayerCosts {
  /** Weights of the projections and norms, counted exactly. Biases are not in a configuration and not counted. */
  readonly parameters: number
  /** Bytes of cache per token and layer. */
  readonly kvBytesPerToken: number
  /** Floating-point operations of one decode step that ends at `kvLen` tokens, the new one included. */
  decodeFlops(kvLen: number): number
  /** Floating-point operations of a prefill of `len` tokens into an empty cache. */
  prefillFlops(len: number): number
  /** Tokens of context that fit in `bytes` of cache, over `layers` layers: those of all sequences together. */
  maxContext(bytes: number, layers: number): number
}

/**
 * Counts what one attention layer costs, without building it. Needs no addon.
 *
 * A multiply-add is two operations; norms, rotation and the softmax itself are left out (under 1 % at real sizes).
 * With W the weights of all projections and `pairs` the visible (query, key) pairs:
 *
 * | | MHA, GQA, MQA | MLA |
 * |---|---|---|
 * | cache per token | 2 · numKvHeads · headDim numbers | kvLoraRank + qkRopeHeadDim numbers; in 'float8_e4m3' 656 bytes (512 + 64 only) |
 * | decode | 2 W + 4 · numHeads · headDim · visible keys | 2 W + 2 · numHeads · (2 kvLoraRank + qkRopeHeadDim) · kvLen |
 * | prefill | 2 W · len + 4 · numHeads · headDim · pairs | 2 W · len + 2 · numHeads · (qkNopeHeadDim + qkRopeHeadDim + vHeadDim) · pairs |
 *
 * MLA decodes in its absorbed form (the up-projections applied to the query and the output: as many operations as their weights) and
 * prefills in its expanded form (per-head keys and values): DeepSeek-V2, section 2.1. Causal prefill counts len (len + 1) / 2 pairs;
 * a sliding window of w keys hides (len - w)(len - w + 1) / 2 of them.
 *
 * @param config a GroupedQueryAttention or a MultiHeadLatentAttention configuration
 * @param dtype of the cache; default 'float32'
 * @throws ArgumentError for a configuration that the module would refuse too, or a cache of it
 * @example
 * const costs = layerCosts({ hiddenSize: 4096, numHeads: 32, numKvHeads: 8, rope: null }, 'bfloat16')
 * costs.kvBytesPerToken // 4096
 */
export function layerCosts(config: AttentionConfig | MlaConfig, dtype: FloatDType = 'float32'): LayerCosts {
  if (typeof config !== 'object' || config === null) fail('config', 'a configuration object', config)
  const bytes = bytesPerElement(checkOneOf('dtype', dtype, floatDTypes))
  const counts =
    'kvLoraRank' in config ? mlaCounts(checkMlaConfig('config', config), dtype) : attentionCounts(checkAttentionConfig('config', config))
  const kvBytesPerToken = counts.cacheNumbers * bytes
  return {
    parameters: counts.matrices + counts.vectors,
    kvBytesPerToken,
    decodeFlops: (kvLen) => 2 * counts.matrices + counts.decodePerKey * visibleKeys(checkLength('kvLen', kvLen), counts.window),
    prefillFlops: (len) => 2 * counts.matrices * checkLength('len', len) + counts.prefillPerPair * visiblePairs(len, counts.causal, counts.window),
    maxContext: (budget, layers) => {
      if (typeof budget !== 'number' || Number.isNaN(budget) || budget < 0) fail('bytes', 'a number of at least 0', budget)
      return Math.floor(budget / (kvBytesPerToken * checkInteger('layers', layers, 1)))
    },
  }
}

interface Counts {
  readonly matrices: number
  readonly vectors: number
  readonly cacheNumbers: number
  readonly decodePerKey: number
  readonly prefillPerPair: number
  readonly causal: boolean
  readonly window: number
}

function attentionCounts(config: ResolvedAttentionConfig): Counts {
  const { hiddenSize, numHeads, numKvHeads, headDim, qkNormEps, slidingWindow = Infinity, causal } = config
  return {
    matrices: 2 * hiddenSize * numHeads * headDim + 2 * hiddenSize * numKvHeads * headDim,
    vectors: qkNormEps === undefined ? 0 : 2 * headDim,
    cacheNumbers: 2 * numKvHeads * headDim,
    decodePerKey: 4 * numHeads * headDim,
    prefillPerPair: 4 * numHeads * headDim,
    causal,
    window: slidingWindow,
  }
}

function mlaCounts(config: ResolvedMlaConfig, dtype: FloatDType): Counts {
  const { hiddenSize, numHeads, qLoraRank, kvLoraRank, qkNopeHeadDim, qkRopeHeadDim, vHeadDim, causal } = config
  const queryWidth = numHeads * (qkNopeHeadDim + qkRopeHeadDim)
  const query = qLoraRank === null ? hiddenSize * queryWidth : qLoraRank * (hiddenSize + queryWidth)
  const down = hiddenSize * (kvLoraRank + qkRopeHeadDim)
  const up = kvLoraRank * numHeads * (qkNopeHeadDim + vHeadDim)
  return {
    matrices: query + down + up + numHeads * vHeadDim * hiddenSize,
    vectors: (qLoraRank ?? 0) + kvLoraRank,
    cacheNumbers: latentRowWidth('dtype', kvLoraRank, qkRopeHeadDim, dtype),
    decodePerKey: 2 * numHeads * (2 * kvLoraRank + qkRopeHeadDim),
    prefillPerPair: 2 * numHeads * (qkNopeHeadDim + qkRopeHeadDim + vHeadDim),
    causal,
    window: Infinity,
  }
}

function checkLength(argument: string, value: unknown): number {
  return checkInteger(argument, value, 0)
}

/** Keys that the newest of `kvLen` tokens sees. */
function visibleKeys(kvLen: number, window: number): number {
  return Math.min(kvLen, window)
}

/** (query, key) pairs of a prefill: the lower triangle or the square, less the triangle that a window hides at its far corner. */
function visiblePairs(len: number, causal: boolean, window: number): number {
  const all = causal ? (len * (len + 1)) / 2 : len * len
  const behind = Math.max(0, len - window)
  return all - (behind * (behind + 1)) / 2
}
