import { sumRounding, unitRoundoff } from './rounding'
import type { DType } from '../../tensor/dtype'

/** Attention of one query head over one key and value head, by loops in float64. */
export interface HeadProblem {
  /** [qoLen][headDimQk], [kvLen][headDimQk], [kvLen][headDimVo] */
  readonly q: readonly ArrayLike<number>[]
  readonly k: readonly ArrayLike<number>[]
  readonly v: readonly ArrayLike<number>[]
  readonly scale: number
  readonly causal?: boolean
  readonly windowLeft?: number
  readonly softcap?: number
  readonly slope?: number
  readonly sink?: number
}
export interface HeadResult {
  readonly out: readonly number[][]
  readonly lse: readonly number[]
  /** Largest |logit| before the cap, largest Σ |q k| · scale, largest |v|: what rounding errors grow with. */
  readonly sizes: Sizes
}
export interface Sizes {
  readonly products: number
  readonly values: number
  readonly dim: number
  readonly keys: number
}

export function referenceHead(problem: HeadProblem): HeadResult {
  const { q, k, v, scale, causal = false, windowLeft = Infinity, softcap = 0, slope = 0, sink } = problem
  const shift = k.length - q.length
  let products = 0
  const out: number[][] = []
  const lse: number[] = []
  q.forEach((query, i) => {
    const logits = k.map((key, j) => {
      const distance = j - (i + shift)
      if ((causal && distance > 0) || -distance > windowLeft) return -Infinity
      let sum = 0
      let absolute = 0
      for (let d = 0; d < query.length; ++d) {
        const product = (query[d] ?? NaN) * (key[d] ?? NaN)
        sum += product
        absolute += Math.abs(product)
      }
      products = Math.max(products, absolute * scale + Math.abs(slope * distance))
      const logit = sum * scale
      return (softcap > 0 ? softcap * Math.tanh(logit / softcap) : logit) - slope * Math.abs(distance)
    })
    const max = Math.max(sink ?? -Infinity, ...logits)
    const weights = logits.map((logit) => (max === -Infinity ? 0 : Math.exp(logit - max)))
    const total = weights.reduce((sum, weight) => sum + weight, sink === undefined ? 0 : Math.exp(sink - max))
    // A weight of 0 takes nothing from its row, NaN neither.
    const weighted = (d: number) => weights.reduce((sum, weight, j) => (weight === 0 ? sum : sum + weight * (v[j]?.[d] ?? NaN)), 0)
    out.push(Array.from({ length: v[0]?.length ?? 0 }, (_, d) => (total === 0 ? 0 : weighted(d) / total)))
    lse.push(max === -Infinity ? -Infinity : max + Math.log(total))
  })
  const values = v.reduce((largest, row) => Math.max(largest, ...Array.from(row, Math.abs)), 0)
  return { out, lse, sizes: { products, values, dim: q[0]?.length ?? 0, keys: k.length } }
}

/**
 * How far rounding may put a kernel from float64. A logit is a sum of `dim` float32 products: off by 6 √dim ε · Σ |q k|, since errors of
 * random sign grow with the root (Higham and Mary, 2019; six standard deviations), and the exponential turns that into a relative
 * error of each weight; weights and output are rounded to the dtype once each; the sum of `keys` weights and its division add
 * 6 √keys ε. The weights add up to 1, so all of it is relative to the largest value. `widened`: keys and values were rounded to this dtype before they
 * were used, which moves each product and each value by its unit roundoff.
 */
export function attentionBounds(sizes: readonly Sizes[], dtype: DType, widened?: DType): { readonly out: number; readonly lse: number } {
  const most = (pick: (size: Sizes) => number) => Math.max(...sizes.map(pick))
  const moved = widened === undefined ? 0 : unitRoundoff(widened)
  const logit = sumRounding(most((size) => size.dim)) * (1 + most((size) => size.products)) + moved * most((size) => size.products)
  const sums = sumRounding(most((size) => size.keys))
  return { out: most((size) => size.values) * 2 * (unitRoundoff(dtype) + moved + logit + sums), lse: logit + sums * 2 }
}
