import { invoke, native } from '../../native'
import type { Case } from './case'
import { download, randomNumbers, upload, withHandles } from './data'
import { roundTo } from './rounding'

const largest = 448

function quantizeCase(name: string, seed: number, dim: number): Case {
  const [lens, numHeads, groupSize] = [[5, 0, 130], 4, 2] as const
  const [groups, rows] = [numHeads / groupSize, lens[0] + lens[1] + lens[2]]
  return {
    name,
    run: (dtype) => withHandles((keep) => {
      // Heads of other sizes: their scales differ.
      const x = randomNumbers(seed, rows * numHeads * dim, dtype).map((value, i) => roundTo(dtype, value * 3 ** (Math.floor(i / dim) % numHeads)))
      const indptr = Int32Array.of(0, lens[0], lens[0] + lens[1], rows)
      const made = invoke(() => native.quantizeFloat8(keep(upload(dtype, [rows, numHeads, dim], x)), groupSize, indptr, null, null))
      const [codes, scales] = [keep(made?.[0] ?? null), keep(made?.[1] ?? null)]
      const expected = { codes: new Float64Array(x.length), scales: new Float64Array(lens.length * groups).fill(1) }
      const at = (i: number) => {
        const row = Math.floor(i / (numHeads * dim))
        return (row < lens[0] ? 0 : 2) * groups + (Math.floor(i / (groupSize * dim)) % groups)
      }
      const amax = new Float64Array(expected.scales.length)
      x.forEach((value, i) => { amax[at(i)] = Math.max(amax[at(i)] ?? NaN, Math.abs(value)) })
      amax.forEach((most, group) => { if (most > 0) expected.scales[group] = roundTo('float32', most / largest) })
      x.forEach((value, i) => {
        const quotient = roundTo('float32', value / (expected.scales[at(i)] ?? NaN))
        expected.codes[i] = roundTo('float8_e4m3', Math.min(largest, Math.max(-largest, quotient)))
      })
      return [
        { what: 'scales', actual: download(scales, expected.scales.length), expected: expected.scales, bound: 0 },
        { what: 'codes', actual: download(codes, expected.codes.length), expected: expected.codes, bound: 0 },
      ]
    }),
  }
}

/** The same bits: every operation of the definition is rounded by itself. */
export const quantizeFloat8Cases: readonly Case[] = [
  quantizeCase('3 packed sequences, 4 heads of 40 in 2 groups', 101, 40), quantizeCase('3 packed sequences, 4 heads of 37 in 2 groups', 102, 37),
]
