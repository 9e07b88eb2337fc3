/** Caches whose numbers name their tokens. */
import { PagedKvCache, Tensor, type DeviceId, type FloatTensor, type Sequence } from '../../lib/index'
import { disposeLater } from '../support/disposal'
import { poison } from '../support/tensors'

export const dims = { numKvHeads: 2, headDimQk: 3, headDimVo: 5 } as const

export interface TokenCaches {
  /** 8 pages of 4 tokens unless told otherwise, full of NaN. */
  make(options?: Partial<ConstructorParameters<typeof PagedKvCache>[0]>): PagedKvCache
  /** Rows whose numbers name their token and feature, so that a misplaced one is recognised. */
  rows(tokens: readonly number[][], width: number): FloatTensor
  append(cache: PagedKvCache, sequences: readonly Sequence[], tokens: readonly number[][], lens?: readonly number[]): void
  /** The tokens of a sequence as keys and values tell them. */
  stored(cache: PagedKvCache, sequence: Sequence): number[]
}

export function tokenCaches(device: DeviceId): TokenCaches {
  const make: TokenCaches['make'] = (options = {}) => {
    const cache = new PagedKvCache({ numPages: 8, pageSize: 4, ...dims, device, ...options })
    poison(cache.keys)
    poison(cache.values)
    return cache
  }
  const rows: TokenCaches['rows'] = (tokens, width) => {
    const values = tokens.flat().flatMap((token) => Array.from({ length: dims.numKvHeads * width }, (_, i) => token + i / 64))
    return disposeLater(Tensor.from(values, [tokens.length, tokens[0]?.length ?? 0, dims.numKvHeads, width], { device }))
  }
  const append: TokenCaches['append'] = (cache, sequences, tokens, lens) => {
    const k = rows(tokens, dims.headDimQk)
    const v = rows(tokens.map((list) => list.map((token) => -token)), dims.headDimVo)
    cache.append(sequences, k, v, lens ? { lens } : {})
  }
  const stored: TokenCaches['stored'] = (cache, { length, pages }) => {
    const pageSize = cache.keys.shape[1]!
    const [keys, values] = [cache.keys.readSync(), cache.values.readSync()]
    return Array.from({ length }, (_, i) => {
      const slot = pages[Math.floor(i / pageSize)]! * pageSize + (i % pageSize)
      const key = keys[slot * dims.numKvHeads * dims.headDimQk]!
      expect([...keys.slice(slot * 6, slot * 6 + 6)]).toEqual(Array.from({ length: 6 }, (_, d) => key + d / 64))
      expect([...values.slice(slot * 10, slot * 10 + 10)]).toEqual(Array.from({ length: 10 }, (_, d) => -key + d / 64))
      return key
    })
  }
  return { make, rows, append, stored }
}
