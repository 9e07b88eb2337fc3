import { checkInteger, checkOptions } from '../check'
import type { DeviceId } from '../devices'
import { invoke, native } from '../native'
import type { FloatDType } from '../tensor/dtype'
import { handleOf, type FloatTensor } from '../tensor/tensor'
import type { PageBatch } from './page-batch'
import { PagedCache, pagesOf, registerCache, storeRows, type PagedCacheStats, type Rotation } from './paged-cache'
import type { Sequence } from './sequence'

export interface PagedKvCacheOptions<D extends FloatDType = FloatDType> {
  readonly numPages: number
  /** Tokens per page: 16 by default; any power of two from 1 to 256. */
  readonly pageSize?: number
  readonly numKvHeads: number
  readonly headDimQk: number
  /** Default headDimQk. */
  readonly headDimVo?: number
  /** 'float32' (default), 'float16' or 'bfloat16'. */
  readonly dtype?: D
  /** Default 'cpu'. */
  readonly device?: DeviceId
}

/**
 * Keys and values of many sequences in fixed pages, so that no memory is lost between sequences of different lengths
 * (paged attention: Kwon et al. 2023, arXiv:2309.06180).
 *
 * ```ts
 * const cache = new PagedKvCache({ numPages: 64, numKvHeads: 8, headDimQk: 128 })
 * const sequence = cache.open()
 * cache.append([sequence], k, v)
 * const { out } = pagedAttention(q, cache, cache.batch([sequence]))
 * ```
 *
 * @throws ArgumentError for options out of range; ResourceError of code OUT_OF_MEMORY.
 */
export class PagedKvCache implements Disposable {
  /** [numPages, pageSize, numKvHeads, headDimQk]; slots without a token may hold anything. */
  readonly keys: FloatTensor
  /** [numPages, pageSize, numKvHeads, headDimVo]; slots without a token may hold anything. */
  readonly values: FloatTensor
  readonly #pages: PagedCache

  constructor(options: PagedKvCacheOptions) {
    const given = checkOptions('options', options, ['numPages', 'pageSize', 'numKvHeads', 'headDimQk', 'headDimVo', 'dtype', 'device'])
    const numKvHeads = checkInteger('options.numKvHeads', given.numKvHeads, 1, maxDim)
    const headDimQk = checkInteger('options.headDimQk', given.headDimQk, 1, maxDim)
    const headDimVo = checkInteger('options.headDimVo', given.headDimVo ?? headDimQk, 1, maxDim)
    this.#pages = new PagedCache('PagedKvCache', given, 16, [numKvHeads * headDimQk, numKvHeads * headDimVo])
    this.keys = this.#pages.allocate([numKvHeads, headDimQk])
    try {
      this.values = this.#pages.allocate([numKvHeads, headDimVo])
    } catch (error) {
      this.keys.dispose()
      throw error
    }
    registerCache(this, this.#pages)
  }

  get stats(): PagedCacheStats {
    return this.#pages.stats
  }

  /** A new, empty sequence. It takes pages as it grows. */
  open(): Sequence {
    return this.#pages.open()
  }

  /**
   * Adds tokens to sequences: k [batch, newLen, numKvHeads, headDimQk] · v [batch, newLen, numKvHeads, headDimVo], converted to the
   * cache's dtype. `lens` [batch] gives fewer valid rows per sequence; rows beyond are not stored. A sequence may appear once.
   *
   * @throws ArgumentError, or ResourceError of code OUT_OF_PAGES (`requested` and `available` count pages); nothing is written then.
   */
  append(sequences: readonly Sequence[], k: FloatTensor, v: FloatTensor, options?: { readonly lens?: ArrayLike<number> }): void {
    appendKv(this, sequences, k, v, checkOptions('options', options, ['lens']).lens)
  }

  /** Freezes page tables and lengths for one step. */
  batch(sequences: readonly Sequence[]): PageBatch {
    return this.#pages.batch(sequences)
  }

  /** Frees the memory and ends all sequences. Work that is queued keeps what it needs. Idempotent. */
  dispose(): void {
    this.#pages.dispose()
    this.keys.dispose()
    this.values.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

const maxDim = 2 ** 31 - 1

/** The pages of a live PagedKvCache. */
export function kvPagesOf(argument: string, cache: unknown): PagedCache {
  return pagesOf(argument, cache, PagedKvCache)
}

/** `append`, of keys that are still to be rotated if so; the function returned takes it back until the sequences change again. */
export function appendKv(cache: PagedKvCache, sequences: unknown, k: unknown, v: unknown, lens: unknown, rotation?: Rotation): () => void {
  const { keys, values } = cache
  const heads = { name: 'numKvHeads', size: keys.shape[2]! }
  const rows = [
    { argument: 'k', tensor: k, tail: [heads, { name: 'headDimQk', size: keys.shape[3]! }] },
    { argument: 'v', tensor: v, tail: [heads, { name: 'headDimVo', size: values.shape[3]! }] },
  ]
  return kvPagesOf('cache', cache).append(sequences, rows, lens, ([newKeys, newValues], slots, copies) => {
    for (const [argument, rows, pages, rotated] of [['k', newKeys!, keys, rotation], ['v', newValues!, values, undefined]] as const) {
      if (copies.length > 0) invoke(() => native.pageCopy(handleOf('pages', pages), copies))
      storeRows(argument, rows, pages, slots, rotated)
    }
  })
}
