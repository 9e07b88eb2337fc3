import { checkInteger, checkOptions } from '../check'
import type { DeviceId } from '../devices'
import { invoke, native } from '../native'
import { dtypeCode, type ComputeDType, type FloatDType } from '../tensor/dtype'
import { fromHandle, handleOf, optionalHandleOf, type FloatTensor } from '../tensor/tensor'
import { latentRowWidth } from './latent-row'
import type { PageBatch } from './page-batch'
import { PagedCache, pagesOf, registerCache, storeRows, type PagedCacheStats, type Rotation } from './paged-cache'
import type { Sequence } from './sequence'

export interface MlaKvCacheOptions {
  readonly numPages: number
  /** Tokens per page: 64 by default; any power of two from 1 to 256. */
  readonly pageSize?: number
  readonly kvLoraRank: number
  readonly qkRopeHeadDim: number
  /**
   * 'float32' (default), 'float16', 'bfloat16', or 'float8_e4m3' with kvLoraRank 512 and qkRopeHeadDim 64: rows of 656 bytes as FlashMLA lays them
   * out, 512 float8_e4m3, a float32 scale for each 128 of these, 64 bfloat16.
   */
  readonly dtype?: FloatDType
  /** Default 'cpu'. */
  readonly device?: DeviceId
}

/**
 * The cache of DeepSeek's multi-head latent attention (arXiv:2405.04434): one row per token, shared by all heads:
 * [kvLoraRank] the latent after its norm, then [qkRopeHeadDim] the rope key after rotation.
 *
 * ```ts
 * const cache = new MlaKvCache({ numPages: 64, kvLoraRank: 512, qkRopeHeadDim: 64, dtype: 'bfloat16' })
 * const sequence = cache.open()
 * cache.append([sequence], ckv, kPe)
 * ```
 *
 * @throws ArgumentError for options out of range; ResourceError of code OUT_OF_MEMORY.
 */
export class MlaKvCache implements Disposable {
  /**
   * [numPages, pageSize, kvLoraRank + qkRopeHeadDim]; slots without a token may hold anything. With dtype 'float8_e4m3' [numPages, pageSize, 656]: the
   * bytes of the rows, numbers only in the first 512.
   */
  readonly latents: FloatTensor
  readonly kvLoraRank: number
  readonly qkRopeHeadDim: number
  readonly #pages: PagedCache

  constructor(options: MlaKvCacheOptions) {
    const given = checkOptions('options', options, ['numPages', 'pageSize', 'kvLoraRank', 'qkRopeHeadDim', 'dtype', 'device'])
    this.kvLoraRank = checkInteger('options.kvLoraRank', given.kvLoraRank, 1, maxDim)
    this.qkRopeHeadDim = checkInteger('options.qkRopeHeadDim', given.qkRopeHeadDim, 1, maxDim)
    const width = latentRowWidth('options.dtype', this.kvLoraRank, this.qkRopeHeadDim, given.dtype)
    this.#pages = new PagedCache('MlaKvCache', given, 64, [width])
    this.latents = this.#pages.allocate([width])
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
   * Adds tokens to sequences: ckv [batch, newLen, kvLoraRank] · kPe [batch, newLen, qkRopeHeadDim], converted to the cache's dtype.
   * `lens` [batch] gives fewer valid rows per sequence; rows beyond are not stored. A sequence may appear once.
   *
   * @throws ArgumentError, or ResourceError of code OUT_OF_PAGES (`requested` and `available` count pages); nothing is written then.
   */
  append(sequences: readonly Sequence[], ckv: FloatTensor, kPe: FloatTensor, options?: { readonly lens?: ArrayLike<number> }): void {
    appendLatents(this, sequences, ckv, kPe, checkOptions('options', options, ['lens']).lens)
  }

  /** Freezes page tables and lengths for one step. */
  batch(sequences: readonly Sequence[]): PageBatch {
    return this.#pages.batch(sequences)
  }

  /** Frees the memory and ends all sequences. Work that is queued keeps what it needs. Idempotent. */
  dispose(): void {
    this.#pages.dispose()
    this.latents.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

const maxDim = 2 ** 30

/** The pages of a live MlaKvCache. */
export function latentPagesOf(argument: string, cache: unknown): PagedCache {
  return pagesOf(argument, cache, MlaKvCache)
}

/** `append`, of rope keys that are still to be rotated if so; the function returned takes it back until the sequences change again. */
export function appendLatents(cache: MlaKvCache, sequences: unknown, ckv: unknown, kPe: unknown, lens: unknown, rotation?: Rotation): () => void {
  const { latents, kvLoraRank, qkRopeHeadDim } = cache
  const rows = [
    { argument: 'ckv', tensor: ckv, tail: [{ name: 'kvLoraRank', size: kvLoraRank }] },
    { argument: 'kPe', tensor: kPe, tail: [{ name: 'qkRopeHeadDim', size: qkRopeHeadDim }] },
  ]
  return latentPagesOf('cache', cache).append(sequences, rows, lens, ([newCkv, newKPe], slots, copies) => {
    if (copies.length > 0) invoke(() => native.pageCopy(handleOf('latents', latents), copies))
    if (latents.dtype === 'float8_e4m3') {
      quantise(newCkv!, newKPe!, latents, slots, rotation)
    } else {
      store(newCkv!, latents, 0, slots)
      store(newKPe!, latents, kvLoraRank, slots, rotation)
    }
  })
}

/** Writes rows [batch, newLen, width] to the features of the cache rows that begin at `begin`. */
function store(rows: FloatTensor, latents: FloatTensor, begin: number, slots: Int32Array, rotation?: Rotation): void {
  const [batch, newLen, width] = rows.shape as [number, number, number]
  const [numPages, pageSize, rowWidth] = latents.shape as [number, number, number]
  const views: FloatTensor[] = []
  const keep = (view: FloatTensor): FloatTensor => (views.push(view), view)
  try {
    const source = keep(rows.reshape([batch, newLen, 1, width]))
    const target = keep(keep(latents.reshape([numPages, pageSize, 1, rowWidth])).slice(3, begin, begin + width))
    storeRows('rows', source, target, slots, rotation)
  } finally {
    for (const view of views) view.dispose()
  }
}

/** The same for rows in float8_e4m3, both parts at once. */
function quantise(ckv: FloatTensor, kPe: FloatTensor, latents: FloatTensor, slots: Int32Array, rotation?: Rotation): void {
  const rotated = rotation === undefined ? undefined : rotatedRows(kPe, rotation)
  try {
    const [rows, keys, pages] = [handleOf('ckv', ckv), handleOf('kPe', rotated ?? kPe), handleOf('latents', latents)]
    invoke(() => native.latentAppend(rows, keys, pages, slots))
  } finally {
    rotated?.dispose()
  }
}

/** [batch, newLen, width] after rope. */
function rotatedRows(rows: FloatTensor, { options, positions }: Rotation): FloatTensor {
  const [batch, newLen, width] = rows.shape as [number, number, number]
  const heads = rows.reshape([batch, newLen, 1, width])
  let rotated: FloatTensor | undefined
  try {
    const handle = invoke(() => native.rope(handleOf('rows', heads), optionalHandleOf('positions', positions), null, ...options))
    rotated = fromHandle(handle!, rows.dtype, heads.shape, rows.device)
    return rotated.reshape(rows.shape)
  } finally {
    heads.dispose()
    rotated?.dispose()
  }
}

/**
 * Rows begin … end of a sequence's pages as numbers, packed: [end - begin, kvLoraRank + qkRopeHeadDim] in the cache's dtype, or in `dtype` where that is
 * float8_e4m3.
 */
export function gatherLatents(
  { latents, kvLoraRank, qkRopeHeadDim }: MlaKvCache, pages: readonly number[], begin: number, end: number, dtype: ComputeDType,
): FloatTensor {
  const [handle, list, shape] = [handleOf('latents', latents), Int32Array.from(pages), [end - begin, kvLoraRank + qkRopeHeadDim]]
  if (latents.dtype === 'float8_e4m3') {
    return fromHandle(invoke(() => native.latentGather(handle, list, begin, end, dtypeCode(dtype))), dtype, shape, latents.device)
  }
  return fromHandle(invoke(() => native.pagedGather(handle, list, begin, end)), latents.dtype, shape, latents.device)
}
