import { appendLatents, latentPagesOf, MlaKvCache } from '../cache/mla-kv-cache'
import type { PagedCache } from '../cache/paged-cache'
import type { Sequence } from '../cache/sequence'
import { checkOneOf, checkOptions } from '../check'
import { ArgumentError } from '../errors'
import type { AttentionPlan } from '../ops/attention-plan'
import { rmsNorm } from '../ops/rms-norm'
import { rope } from '../ops/rope'
import { nativeRopeOptions } from '../ops/rope-config'
import type { FloatDType } from '../tensor/dtype'
import type { FloatTensor, IndexTensor } from '../tensor/tensor'
import { checkMlaConfig, type ForwardOptions, type MlaConfig, type MlaWeights, type ResolvedMlaConfig } from './config'
import { checkForward, type ForwardInputs } from './forward-inputs'
import { undoOnError, withIntermediates, type Keep } from './intermediates'
import { absorbedAttention, type MlaQueries } from './mla-absorbed'
import { expandedAttention, expandedCacheAttention } from './mla-expanded'
import { cheaperForm, type MlaForm, type MlaWork } from './mla-form'
import { MlaModuleWeights } from './mla-weights'
import { project } from './projections'
import { ropePositions } from './rope-positions'

/**
 * Multi-head latent attention of DeepSeek-V2 and V3 (arXiv:2405.04434, section 2.1): keys and values of all heads are projections of one
 * latent row per token, and the cache holds only that row and one rope key: kvLoraRank + qkRopeHeadDim numbers.
 *
 * ```ts
 * const layer = new MultiHeadLatentAttention(config, weights)
 * const cache = layer.createCache({ numPages: 64 })
 * const sequence = cache.open()
 * const y = layer.forward(prompt, { cache, sequences: [sequence] }) // prefill
 * const next = layer.forward(token, { cache, sequences: [sequence] }) // decode
 * ```
 *
 * The key up-projection is absorbed into the query side and the value up-projection into the output side once, here. Weights may have
 * another dtype than x; they may be disposed after construction.
 *
 * @throws ArgumentError for a configuration or weights that do not fit together.
 */
export class MultiHeadLatentAttention implements Disposable {
  readonly config: ResolvedMlaConfig
  readonly #weights: MlaModuleWeights

  constructor(config: MlaConfig, weights: MlaWeights) {
    this.config = checkMlaConfig('config', config)
    this.#weights = new MlaModuleWeights(this.config, weights)
  }

  /** A cache whose shape fits this module. `dtype` is by default that of the weight kvA. */
  createCache(options: { readonly numPages: number; readonly pageSize?: number; readonly dtype?: FloatDType }): MlaKvCache {
    this.#weights.given.checkLive()
    const { kvLoraRank, qkRopeHeadDim } = this.config
    const kvA = this.#weights.given.get('kvA')
    const { dtype = kvA.dtype, ...sizes } = checkOptions('options', options, ['numPages', 'pageSize', 'dtype'])
    return new MlaKvCache({ ...(sizes as typeof options), dtype, kvLoraRank, qkRopeHeadDim, device: kvA.device })
  }

  /**
   * x [batch, len, hiddenSize] -> [batch, len, hiddenSize] in the dtype of x. `form` is chosen by cost unless given: expanded (per-head
   * keys and values are built) for long queries, absorbed (latent space) for decoding. `plan`, for the absorbed form: one of `mlaDecode.plan()`
   * for as many sequences, rows and heads; one made for a step serves every layer of it.
   *
   * @throws ArgumentError, UnsupportedError, ResourceError (OUT_OF_PAGES, OUT_OF_MEMORY); the cache is then as it was.
   */
  forward(x: FloatTensor, options?: ForwardOptions<MlaKvCache> & { readonly form?: 'auto' | MlaForm; readonly plan?: AttentionPlan }): FloatTensor {
    const { config } = this
    const weights = this.#weights
    weights.given.checkLive()
    const inputs = checkForward(x, options, ['form', 'plan'], config.hiddenSize, weights.given.device, (cache: MlaKvCache) => this.#pagesOf(cache))
    const wanted = checkOneOf('options.form', options?.form ?? 'auto', ['auto', 'expanded', 'absorbed'])
    const form = wanted === 'auto' ? cheaperForm(config, workOf(inputs)) : wanted
    return withIntermediates((keep) => {
      const positions = ropePositions(inputs, keep)
      const queries = this.#queries(inputs, positions, keep)
      const { ckv, ropeKeys } = this.#latents(inputs.x, keep)
      const finish = (out: FloatTensor): FloatTensor => {
        const rows = keep(out.reshape([inputs.batch, inputs.len, config.numHeads * config.vHeadDim]))
        return project(rows, weights.given.get('o'), weights.given.find('oBias'))
      }
      // The absorbed form reads pages: without a cache of the caller's there is one for this pass.
      const store = inputs.store ?? (form === 'absorbed' ? temporaryStore(config, inputs, keep) : undefined)
      const { batch, len } = inputs
      if (store === undefined) {
        const kPe = keep(this.#rotate(ropeKeys, positions, keep).reshape([batch, len, config.qkRopeHeadDim]))
        return finish(expandedAttention(config, weights, queries, ckv, kPe, keep))
      }
      // Rope keys turn on their way into the cache, where the device can do both at once.
      const rotation = config.rope === null ? undefined : { options: nativeRopeOptions('config.rope', config.rope, config.qkRopeHeadDim), positions }
      const kPe = keep(ropeKeys.reshape([batch, len, config.qkRopeHeadDim]))
      const attend: typeof expandedCacheAttention = form === 'absorbed' ? (...given) => absorbedAttention(...given, options?.plan) : expandedCacheAttention
      return undoOnError(appendLatents(store.cache, store.sequences, ckv, kPe, inputs.lens, rotation), () =>
        finish(attend(config, weights, queries, store.cache, store.sequences, keep)),
      )
    })
  }

  /** Lets go of the weights. Idempotent. */
  dispose(): void {
    this.#weights.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  #queries({ x, batch, len, lens }: ForwardInputs<MlaKvCache>, positions: IndexTensor | undefined, keep: Keep): MlaQueries {
    const { numHeads, qLoraRank, qkNopeHeadDim, qkRopeHeadDim, normEps } = this.config
    const { given } = this.#weights
    const compress = (): FloatTensor =>
      keep(rmsNorm(keep(project(x, given.get('qA'), given.find('qABias'))), given.get('qANorm'), { eps: normEps }))
    const width = qkNopeHeadDim + qkRopeHeadDim
    const q = keep(keep(project(qLoraRank === null ? x : compress(), given.get('qB'), undefined)).reshape([batch, len, numHeads, width]))
    const qPe = this.#rotate(keep(q.slice(3, qkNopeHeadDim, width)), positions, keep)
    return { qNope: keep(q.slice(3, 0, qkNopeHeadDim)), qPe, lens }
  }

  /** The two parts of the new cache rows: ckv [batch, len, kvLoraRank] · rope keys before rotation [batch, len, 1, qkRopeHeadDim]. */
  #latents(x: FloatTensor, keep: Keep): { ckv: FloatTensor; ropeKeys: FloatTensor } {
    const { kvLoraRank, qkRopeHeadDim, normEps } = this.config
    const [batch, len] = x.shape as [number, number]
    const [latents, ropeKeys] = this.#projectedRows(x, kvLoraRank, kvLoraRank + qkRopeHeadDim, keep)
    const ckv = keep(rmsNorm(latents, this.#weights.given.get('kvANorm'), { eps: normEps }))
    return { ckv, ropeKeys: keep(ropeKeys.reshape([batch, len, 1, qkRopeHeadDim])) }
  }

  /** x · kvAᵀ in its two parts: of one product, unless the rope key is scaled. Alone, the few features of a rope key leave a device idle. */
  #projectedRows(x: FloatTensor, rank: number, width: number, keep: Keep): readonly [FloatTensor, FloatTensor] {
    const { given, latent, latentBias, ropeKey, ropeKeyBias } = this.#weights
    if (this.config.keyRopeScale !== 1) return [keep(project(x, latent, latentBias)), keep(project(x, ropeKey, ropeKeyBias))]
    const rows = keep(project(x, given.get('kvA'), given.find('kvABias')))
    return [keep(rows.slice(2, 0, rank)), keep(rows.slice(2, rank, width))]
  }

  #rotate(heads: FloatTensor, positions: IndexTensor | undefined, keep: Keep): FloatTensor {
    return this.config.rope === null ? heads : keep(rope(heads, this.config.rope, positions === undefined ? {} : { positions }))
  }

  #pagesOf(cache: MlaKvCache): PagedCache {
    const pages = latentPagesOf('options.cache', cache)
    const { kvLoraRank, qkRopeHeadDim } = this.config
    if (cache.kvLoraRank !== kvLoraRank || cache.qkRopeHeadDim !== qkRopeHeadDim) {
      const text = (rank: number, dim: number): string => `kvLoraRank ${rank} and qkRopeHeadDim ${dim}`
      const received = text(cache.kvLoraRank, cache.qkRopeHeadDim)
      throw new ArgumentError('options.cache', `a cache of ${text(kvLoraRank, qkRopeHeadDim)}`, received, 'SHAPE_MISMATCH')
    }
    return pages
  }
}

function workOf({ batch, len, lens, store }: ForwardInputs<MlaKvCache>): readonly MlaWork[] {
  return Array.from({ length: batch }, (_, b) => {
    const qoLen = lens ? lens[b]! : len
    return { qoLen, kvLen: qoLen + (store ? store.sequences[b]!.length : 0) }
  })
}

function temporaryStore(
  { kvLoraRank, qkRopeHeadDim }: ResolvedMlaConfig, { x, batch, len }: ForwardInputs<MlaKvCache>, keep: Keep,
): { cache: MlaKvCache; sequences: readonly Sequence[] } {
  const pageSize = 64
  const numPages = Math.max(1, batch * Math.ceil(len / pageSize))
  const cache = keep(new MlaKvCache({ numPages, pageSize, kvLoraRank, qkRopeHeadDim, dtype: x.dtype, device: x.device }))
  return { cache, sequences: Array.from({ length: batch }, () => cache.open()) }
}
