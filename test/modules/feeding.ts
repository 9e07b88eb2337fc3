/** Ways of giving one prompt to a layer, which must all end in the same rows. */
import type { FloatTensor, Sequence } from '../../lib/index'
import { disposeLater } from '../support/disposal'

export interface Cache extends Disposable {
  open(): Sequence
}
export interface Layer<C extends Cache> {
  createCache(options: { numPages: number; pageSize: number }): C
  forward(x: FloatTensor, options?: { cache: C; sequences: readonly Sequence[] }): FloatTensor
}

/** Lengths of the pieces in which a prompt of `len` tokens comes; undefined: without a cache. */
export const feedings = {
  'without a cache': () => undefined,
  'in one piece': (len: number) => [len],
  'in chunks': (len: number) => [5, 1, 8, len - 14],
  'token by token': (len: number) => new Array<number>(len).fill(1),
} as const satisfies Record<string, (len: number) => readonly number[] | undefined>
export type Feeding = keyof typeof feedings
export const feedingNames = Object.keys(feedings) as readonly Feeding[]

/** The output rows of x [1, len, hiddenSize], fed in pieces to a cache of small pages. */
export function feed<C extends Cache>(layer: Layer<C>, x: FloatTensor, feeding: Feeding): Float32Array {
  const [, len, hiddenSize] = x.shape as [number, number, number]
  const pieces = feedings[feeding](len)
  if (pieces === undefined) return disposeLater(layer.forward(x)).readSync() as Float32Array
  using cache = layer.createCache({ numPages: len, pageSize: 4 })
  const sequence = cache.open()
  const rows = new Float32Array(len * hiddenSize)
  let begin = 0
  for (const piece of pieces) {
    using part = x.slice(1, begin, begin + piece)
    using out = layer.forward(part, { cache, sequences: [sequence] })
    rows.set(out.readSync(), begin * hiddenSize)
    begin += piece
  }
  return rows
}
