import type { PagedCache } from '../cache/paged-cache'
import { appendKv, kvPagesOf, PagedKvCache, type PagedKvCacheOptions } from '../cache/paged-kv-cache'
import { checkOptions } from '../check'
import { ArgumentError } from '../errors'
import { paddedFlashAttention } from '../ops/flash-attention'
import type { AttentionOptions } from '../ops/options'
import { paddedPagedAttention } from '../ops/paged-attention'
import { rmsNorm } from '../ops/rms-norm'
import { rope } from '../ops/rope'
import { nativeRopeOptions } from '../ops/rope-config'
import { Tensor, type FloatTensor } from '../tensor/tensor'
import { checkAttentionConfig, type AttentionConfig, type AttentionWeights, type ForwardOptions, type ResolvedAttentionConfig } from './config'
import { checkForward, type ForwardInputs } from './forward-inputs'
import { undoOnError, withIntermediates, type Keep } from './intermediates'
import { ModuleWeights, type WeightSpec } from './module-weights'
import { project } from './projections'
import { ropePositions } from './rope-positions'

type AttentionWeightName = 'q' | 'k' | 'v' | 'o' | 'qBias' | 'kBias' | 'vBias' | 'oBias' | 'qNorm' | 'kNorm'

/**
 * An attention layer: multi-head (numKvHeads = numHeads), grouped-query (Ainslie et al. 2023, arXiv:2305.13245) or multi-query
 * (numKvHeads = 1).
 *
 * ```ts
 * const layer = new GroupedQueryAttention({ hiddenSize: 4096, numHeads: 32, numKvHeads: 8, rope: { theta: 500000, interleaved: false } }, weights)
 * const cache = layer.createCache({ numPages: 64 })
 * const sequence = cache.open()
 * const y = layer.forward(prompt, { cache, sequences: [sequence] }) // prefill
 * const next = layer.forward(token, { cache, sequences: [sequence] }) // decode
 * ```
 *
 * Weights may have another dtype than x; they may be disposed after construction.
 *
 * @throws ArgumentError for a configuration or weights that do not fit together.
 */
export class GroupedQueryAttention implements Disposable {
  readonly config: ResolvedAttentionConfig
  readonly #weights: ModuleWeights<AttentionWeightName>
  readonly #options: AttentionOptions

  constructor(config: AttentionConfig, weights: AttentionWeights) {
    this.config = checkAttentionConfig('config', config)
    const { causal, softmaxScale, slidingWindow, logitSoftcap } = this.config
    this.#weights = new ModuleWeights('GroupedQueryAttention', weights, attentionSpecs(this.config))
    try {
      checkNorms(this.config, this.#weights)
    } catch (error) {
      this.dispose()
      throw error
    }
    this.#options = {
      causal,
      softmaxScale,
      ...(slidingWindow === undefined ? {} : { window: { left: slidingWindow - 1 } }),
      ...(logitSoftcap === undefined ? {} : { logitSoftcap }),
    }
  }

  /** A cache whose shape fits this module. `dtype` is by default that of the weight k; scales are for float8_e4m3, as PagedKvCache takes them. */
  createCache(options: Pick<PagedKvCacheOptions, 'numPages' | 'pageSize' | 'dtype' | 'keyScales' | 'valueScales'>): PagedKvCache {
    this.#weights.checkLive()
    const { numKvHeads, headDim } = this.config
    const k = this.#weights.get('k')
    const { dtype = k.dtype, ...rest } = checkOptions('options', options, ['numPages', 'pageSize', 'dtype', 'keyScales', 'valueScales'])
    return new PagedKvCache({ ...(rest as typeof options), dtype, numKvHeads, headDimQk: headDim, device: k.device })
  }

  /**
   * x [batch, len, hiddenSize] -> [batch, len, hiddenSize] in the dtype of x.
   *
   * @throws ArgumentError, UnsupportedError, ResourceError (OUT_OF_PAGES, OUT_OF_MEMORY); the cache is then as it was.
   */
  forward(x: FloatTensor, options?: ForwardOptions<PagedKvCache>): FloatTensor {
    const weights = this.#weights
    weights.checkLive()
    const { hiddenSize, numHeads, numKvHeads, headDim } = this.config
    const inputs = checkForward(x, options, [], hiddenSize, weights.device, (cache: PagedKvCache) => this.#pagesOf(cache))
    return withIntermediates((keep) => {
      const { batch, len, lens, store } = inputs
      const positions = ropePositions(inputs, keep)
      const heads = (name: 'q' | 'k' | 'v', count: number): FloatTensor =>
        keep(keep(project(inputs.x, weights.get(name), weights.find(`${name}Bias`))).reshape([batch, len, count, headDim]))
      const normed = (name: 'q' | 'k', count: number): FloatTensor => {
        const norm = weights.find(`${name}Norm`)
        const plain = heads(name, count)
        return norm === undefined ? plain : keep(rmsNorm(plain, norm, { eps: this.config.qkNormEps! }))
      }
      const config = this.config.rope
      const rotated = (x: FloatTensor): FloatTensor => (config === null ? x : keep(rope(x, config, positions === undefined ? {} : { positions })))
      const [q, k, v] = [rotated(normed('q', numHeads)), normed('k', numKvHeads), heads('v', numKvHeads)]
      const finish = (out: FloatTensor): FloatTensor =>
        project(keep(keep(out).reshape([batch, len, numHeads * headDim])), weights.get('o'), weights.find('oBias'))

      if (store === undefined) return finish(this.#attendTo(q, rotated(k), v, inputs, keep))
      // Keys turn on their way into the cache, where the device can do both at once.
      const rotation = config === null ? undefined : { options: nativeRopeOptions('config.rope', config, headDim), positions }
      return undoOnError(appendKv(store.cache, store.sequences, k, v, lens, rotation), () => {
        const pages = store.cache.batch(store.sequences)
        try {
          return finish(paddedPagedAttention(q, store.cache, pages, this.#options, lens ?? null).out)
        } finally {
          pages.dispose()
        }
      })
    })
  }

  /** Lets go of the weights. Idempotent. */
  dispose(): void {
    this.#weights.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  /** Attention among the rows of one call. */
  #attendTo(q: FloatTensor, k: FloatTensor, v: FloatTensor, { batch, lens }: ForwardInputs<PagedKvCache>, keep: Keep): FloatTensor {
    if (lens === undefined) return paddedFlashAttention(q, k, v, this.#options, null).out
    const kvLens = keep(Tensor.fromBits(lens, [batch], { dtype: 'int32', device: q.device }))
    return paddedFlashAttention(q, k, v, { ...this.#options, kvLens }, lens).out
  }

  #pagesOf(cache: PagedKvCache): PagedCache {
    const pages = kvPagesOf('options.cache', cache)
    const { numKvHeads, headDim } = this.config
    const text = (heads: number, qk: number, vo: number): string => `numKvHeads ${heads} and head dims ${qk}/${vo}`
    const expected = text(numKvHeads, headDim, headDim)
    const received = text(cache.keys.shape[2]!, cache.keys.shape[3]!, cache.values.shape[3]!)
    if (received !== expected) throw new ArgumentError('options.cache', `a cache of ${expected}`, received, 'SHAPE_MISMATCH')
    return pages
  }
}

/** The eps without a norm, or a norm without its eps, is a mistake in one of the two. */
function checkNorms({ qkNormEps }: ResolvedAttentionConfig, weights: ModuleWeights<AttentionWeightName>): void {
  const normed = weights.find('qNorm') !== undefined || weights.find('kNorm') !== undefined
  if (normed && qkNormEps === undefined) throw new ArgumentError('config.qkNormEps', 'the eps of weights.qNorm and weights.kNorm', 'undefined')
  if (!normed && qkNormEps !== undefined) {
    throw new ArgumentError('config.qkNormEps', 'no eps without weights.qNorm or weights.kNorm', `${qkNormEps}`)
  }
}

function attentionSpecs({ hiddenSize, numHeads, numKvHeads, headDim }: ResolvedAttentionConfig): Record<AttentionWeightName, WeightSpec> {
  const queries: WeightSpec = { shape: [numHeads * headDim, hiddenSize], dims: '[numHeads · headDim, hiddenSize]', required: '' }
  const keys: WeightSpec = { shape: [numKvHeads * headDim, hiddenSize], dims: '[numKvHeads · headDim, hiddenSize]', required: '' }
  const keyBias: WeightSpec = { shape: [numKvHeads * headDim], dims: '[numKvHeads · headDim]' }
  const norm: WeightSpec = { shape: [headDim], dims: '[headDim]' }
  return {
    q: queries,
    k: keys,
    v: keys,
    o: { shape: [hiddenSize, numHeads * headDim], dims: '[hiddenSize, numHeads · headDim]', required: '' },
    qBias: { shape: [numHeads * headDim], dims: '[numHeads · headDim]' },
    kBias: keyBias,
    vBias: keyBias,
    oBias: { shape: [hiddenSize], dims: '[hiddenSize]' },
    qNorm: norm,
    kNorm: norm,
  }
}
