import type { DType } from '../../tensor/dtype'
import { type Sizes, attentionBounds } from '../verify/attention-reference'
import type { Check } from '../verify/case'

/** One query of one head beside the keys and values that it sees: rows of numbers, one after the other. */
export interface SampledQuery {
  readonly what: string
  readonly q: ArrayLike<number>
  readonly k: ArrayLike<number>
  readonly v: ArrayLike<number>
  readonly headDimVo: number
  readonly scale: number
  /** What the kernel wrote. */
  readonly actual: ArrayLike<number>
}

/** Softmax attention of one query in float64; for contexts of any length, so without arrays of weights per feature. `widened` as attentionBounds has it. */
export function attentionCheck({ what, q, k, v, headDimVo, scale, actual }: SampledQuery, dtype: DType, widened?: DType): Check {
  const keys = k.length / q.length
  const logits = new Float64Array(keys)
  let [products, max, values] = [0, -Infinity, 0]
  for (let j = 0; j < keys; ++j) {
    let [sum, absolute] = [0, 0]
    for (let d = 0; d < q.length; ++d) {
      const product = (q[d] ?? NaN) * (k[j * q.length + d] ?? NaN)
      sum += product
      absolute += Math.abs(product)
    }
    logits[j] = sum * scale
    products = Math.max(products, absolute * scale)
    max = Math.max(max, sum * scale)
  }
  const expected = new Float64Array(headDimVo)
  let total = 0
  for (let j = 0; j < keys; ++j) {
    const weight = Math.exp((logits[j] ?? NaN) - max)
    total += weight
    for (let d = 0; d < headDimVo; ++d) {
      const value = v[j * headDimVo + d] ?? NaN
      expected[d] = (expected[d] ?? NaN) + weight * value
      values = Math.max(values, Math.abs(value))
    }
  }
  const sizes: Sizes = { products, values, dim: q.length, keys }
  return { what, actual, expected: expected.map((sum) => sum / total), bound: attentionBounds([sizes], dtype, widened).out }
}
