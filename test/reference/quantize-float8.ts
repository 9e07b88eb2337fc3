import type { Numbers } from './attention'
import { roundTo } from './rounding'

const { abs, fround, max, min } = Math

export interface QuantizeDims {
  /** [sequences + 1]: rows of each sequence, counted over all. */
  readonly indptr: readonly number[]
  readonly numHeads: number
  readonly dim: number
  readonly groupSize: number
}

/** Numbers of float8_e4m3 for x [rows, numHeads, dim], and scales [sequences, numHeads / groupSize]: what is rounded is rounded as the definition says. */
export function quantizeFloat8(x: Numbers, { indptr, numHeads, dim, groupSize }: QuantizeDims): { codes: Float64Array; scales: Float64Array } {
  const groups = numHeads / groupSize
  const groupOf = (i: number): number => Math.floor(i / dim / groupSize) % groups
  const codes = new Float64Array(x.length)
  const scales = new Float64Array((indptr.length - 1) * groups)
  for (let b = 0; b + 1 < indptr.length; ++b) {
    const [begin, end] = [indptr[b]! * numHeads * dim, indptr[b + 1]! * numHeads * dim]
    const largest = new Float64Array(groups)
    for (let i = begin; i < end; ++i) if (abs(x[i]!) > largest[groupOf(i)]!) largest[groupOf(i)] = abs(x[i]!)
    largest.forEach((amax, g) => (scales[b * groups + g] = amax === 0 ? 1 : max(fround(amax / 448), 2 ** -126)))
    for (let i = begin; i < end; ++i) {
      const quotient = fround(x[i]! / scales[b * groups + groupOf(i)]!)
      codes[i] = Number.isNaN(quotient) ? NaN : roundTo('float8_e4m3', min(448, max(-448, quotient)))
    }
  }
  return { codes, scales }
}
