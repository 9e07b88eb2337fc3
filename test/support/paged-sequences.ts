import { Tensor, type DeviceId, type FloatTensor, type Sequence } from '../../lib/index'
import type { ComputeDType } from './devices'
import type { Random } from './random'
import { tensorOf } from './tensors'

interface Cache {
  open(): Sequence
  append(sequences: readonly Sequence[], first: FloatTensor, second: FloatTensor): void
}

/** Rows of one sequence for one of the cache's two tensors: [len, ...row]. */
export interface Rows {
  readonly values: Float64Array
  readonly row: readonly number[]
}

/**
 * Stores each sequence in pieces of random length, in random turns, after a few sequences came and went: so that pages lie in no order and
 * pages of all sequences mix.
 */
export function storeInTurns(
  cache: Cache, lens: readonly number[], rowsOf: (b: number) => readonly [Rows, Rows], pageSize: number, dtype: ComputeDType, device: DeviceId, random: Random,
): Sequence[] {
  shufflePages(cache, lens, pageSize, rowsOf(0), dtype, device, random)
  const sequences = lens.map(() => cache.open())
  const left = lens.map((len, b) => ({ b, len, stored: 0 })).filter(({ len }) => len > 0)
  while (left.length > 0) {
    const item = left[random.integer(0, left.length - 1)]!
    const newLen = Math.min(item.len - item.stored, random.integer(1, Math.max(1, 2 * pageSize)))
    const [first, second] = rowsOf(item.b).map(({ values, row }) => {
      const width = row.reduce((product, extent) => product * extent, 1)
      const piece = values.subarray(item.stored * width, (item.stored + newLen) * width)
      return tensorOf(piece, [1, newLen, ...row], dtype, device)
    })
    cache.append([sequences[item.b]!], first!, second!)
    item.stored += newLen
    if (item.stored === item.len) left.splice(left.indexOf(item), 1)
  }
  return sequences
}

function shufflePages(
  cache: Cache, lens: readonly number[], pageSize: number, rows: readonly [Rows, Rows], dtype: ComputeDType, device: DeviceId, random: Random,
): void {
  const [first, second] = rows.map(({ row }) => Tensor.from(new Float32Array(row.reduce((a, b) => a * b, pageSize)).fill(NaN), [1, pageSize, ...row], { dtype, device }))
  const visitors = lens.flatMap((len) => Array.from({ length: Math.ceil(len / pageSize) }, () => cache.open()))
  for (const visitor of visitors) cache.append([visitor], first!, second!)
  for (const visitor of random.shuffle(visitors)) visitor.close()
}
