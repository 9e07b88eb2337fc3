import { checkInteger, checkOptions, describeValue } from '../check'
import type { DeviceId } from '../devices'
import { ArgumentError } from '../errors'
import { invoke, native } from '../native'
import type { FloatDType } from '../tensor/dtype'
import { Tensor, checkTensor, handleOf, type FloatTensor } from '../tensor/tensor'
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
  /** 'float32' (default), 'float16', 'bfloat16' or 'float8_e4m3'. */
  readonly dtype?: D
  /**
   * Of a float8_e4m3 cache only: [numKvHeads] float32 on the cache's device, copied. What is stored is x / scale, saturated at ±448, and stands for
   * stored · scale. Default 1. The values are not looked at: 0 or NaN give what they give.
   */
  readonly keyScales?: Tensor<'float32'>
  /** As keyScales, for the values. */
  readonly valueScales?: Tensor<'float32'>
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
  /** Of shape [numKvHeads]. A key is its stored float8_e4m3 · scale; undefined: it is as stored. */
  readonly keyScales: Tensor<'float32'> | undefined
  /** As keyScales. */
  readonly valueScales: Tensor<'float32'> | undefined
  readonly #pages: PagedCache

  constructor(options: PagedKvCacheOptions) {
    const given = checkOptions('options', options, [
      'numPages', 'pageSize', 'numKvHeads', 'headDimQk', 'headDimVo', 'dtype', 'keyScales', 'valueScales', 'device',
    ])
    const numKvHeads = checkInteger('options.numKvHeads', given.numKvHeads, 1, maxDim)
    const headDimQk = checkInteger('options.headDimQk', given.headDimQk, 1, maxDim)
    const headDimVo = checkInteger('options.headDimVo', given.headDimVo ?? headDimQk, 1, maxDim)
    this.#pages = new PagedCache('PagedKvCache', given, 16, [numKvHeads * headDimQk, numKvHeads * headDimVo])
    const scales = (['keyScales', 'valueScales'] as const).map((name) => checkScales(`options.${name}`, given[name], numKvHeads, this.#pages))
    const owned: Tensor[] = []
    const own = <T extends Tensor>(tensor: T): T => (owned.push(tensor), tensor)
    try {
      this.keys = own(this.#pages.allocate([numKvHeads, headDimQk]))
      this.values = own(this.#pages.allocate([numKvHeads, headDimVo]))
      const [keyScales, valueScales] = scales.map((given) => given && own(copyOf(given)))
      this.keyScales = keyScales
      this.valueScales = valueScales
    } catch (error) {
      for (const tensor of owned) tensor.dispose()
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
   * cache's dtype (float8_e4m3: x / scale, saturated). `lens` [batch] gives fewer valid rows per sequence; rows beyond are not stored. A
   * sequence may appear once.
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
    this.keyScales?.dispose()
    this.valueScales?.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

const maxDim = 2 ** 31 - 1

/** Undefined, or [numKvHeads] float32 of a float8_e4m3 cache. */
function checkScales(argument: string, value: unknown, numKvHeads: number, { dtype, device }: PagedCache): Tensor<'float32'> | undefined {
  if (value === undefined) return undefined
  if (dtype !== 'float8_e4m3') throw new ArgumentError(argument, `no scales where options.dtype is '${dtype}', not 'float8_e4m3'`, describeValue(value))
  const scales = checkTensor(argument, value)
  if (scales.dtype !== 'float32') throw new ArgumentError(argument, 'dtype float32', scales.dtype)
  if (scales.shape.length !== 1 || scales.shape[0] !== numKvHeads) {
    throw new ArgumentError(argument, `shape [numKvHeads] = [${numKvHeads}]`, `[${scales.shape.join(', ')}]`, 'SHAPE_MISMATCH')
  }
  if (scales.device !== device) throw new ArgumentError(argument, `the device of the cache (${device})`, scales.device)
  return scales as Tensor<'float32'>
}

/** The cache's own: what is stored must keep the scales that it was divided by. */
function copyOf(scales: Tensor<'float32'>): Tensor<'float32'> {
  const copy = Tensor.empty(scales.shape, { device: scales.device })
  invoke(() => native.copy(handleOf('scales', scales), handleOf('copy', copy)))
  return copy
}

/** The pages of a live PagedKvCache. */
export function kvPagesOf(argument: string, cache: unknown): PagedCache {
  return pagesOf(argument, cache, PagedKvCache)
}

/** `append`, of keys that are still to be rotated if so; the function returned takes it back until the sequences change again. */
export function appendKv(cache: PagedKvCache, sequences: unknown, k: unknown, v: unknown, lens: unknown, rotation?: Rotation): () => void {
  const { keys, values, keyScales, valueScales } = cache
  const heads = { name: 'numKvHeads', size: keys.shape[2]! }
  const rows = [
    { argument: 'k', tensor: k, tail: [heads, { name: 'headDimQk', size: keys.shape[3]! }] },
    { argument: 'v', tensor: v, tail: [heads, { name: 'headDimVo', size: values.shape[3]! }] },
  ]
  return kvPagesOf('cache', cache).append(sequences, rows, lens, ([newKeys, newValues], slots, copies) => {
    const parts = [['k', newKeys!, keys, rotation, keyScales], ['v', newValues!, values, undefined, valueScales]] as const
    for (const [argument, rows, pages, rotated, scales] of parts) {
      if (copies.length > 0) invoke(() => native.pageCopy(handleOf('pages', pages), copies))
      storeRows(argument, rows, pages, slots, rotated, scales)
    }
  })
}
