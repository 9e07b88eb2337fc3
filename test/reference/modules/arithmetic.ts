/** The steps of a layer in two arithmetics: float64 as the reference, and a dtype's plain implementation as the measure of tolerances. */
import { plainAttention } from '../../support/plain-attention'
import { plainLinear, plainRmsNorm, plainRope } from '../../support/plain-ops'
import { attention, type AttentionArrays, type Numbers, type ReferenceOptions } from '../attention'
import { linear } from '../linear'
import { rmsNorm } from '../rms-norm'
import { rope, type ReferenceRope } from '../rope'
import { roundAll, type RoundedDType } from '../rounding'

export interface Arithmetic {
  linear(x: Numbers, weight: Numbers, inFeatures: number, bias?: Numbers): Float64Array
  rmsNorm(x: Numbers, weight: Numbers, eps: number): Float64Array
  /** x [1, len, heads, width]; the last `dim` features are rotated. */
  rope(x: Numbers, heads: number, width: number, dim: number, config: ReferenceRope, positions: readonly number[]): Float64Array
  attention(arrays: AttentionArrays, options: ReferenceOptions): Float64Array
  /** What is left of values that go through a cache. */
  store(values: Numbers): Numbers
}

export const float64: Arithmetic = {
  linear,
  rmsNorm,
  rope: (x, heads, width, dim, config, positions) => rope(x, [1, positions.length, heads, width], config, dim, positions),
  attention: (arrays, options) => attention(arrays, options).out,
  store: (values) => values,
}

/** As float64, four features at a time: bit for bit the same sums, and quick enough for the shapes of real models. */
export const float64InFours: Arithmetic = { ...float64, linear: linearInFours }

function linearInFours(x: Numbers, weight: Numbers, inFeatures: number, bias?: Numbers): Float64Array {
  const rows = x.length / inFeatures
  const outFeatures = weight.length / inFeatures
  if (bias || outFeatures % 4 !== 0) return linear(x, weight, inFeatures, bias)
  const y = new Float64Array(rows * outFeatures)
  for (let o = 0; o < outFeatures; o += 4) {
    const [w0, w1, w2, w3] = [o * inFeatures, (o + 1) * inFeatures, (o + 2) * inFeatures, (o + 3) * inFeatures] as const
    for (let row = 0; row < rows; ++row) {
      let [y0, y1, y2, y3] = [0, 0, 0, 0]
      for (let d = 0; d < inFeatures; ++d) {
        const value = x[row * inFeatures + d]!
        y0 += value * weight[w0 + d]!
        y1 += value * weight[w1 + d]!
        y2 += value * weight[w2 + d]!
        y3 += value * weight[w3 + d]!
      }
      y.set([y0, y1, y2, y3], row * outFeatures + o)
    }
  }
  return y
}

/** As float64, except that the cache rounds. */
export function withCache(cacheDType: RoundedDType): Arithmetic {
  return { ...float64, store: (values) => roundAll(cacheDType, values) }
}

export function plain(dtype: RoundedDType, cacheDType: RoundedDType = dtype): Arithmetic {
  return {
    linear: (x, weight, inFeatures, bias) => plainLinear(x, weight, inFeatures, bias, dtype),
    rmsNorm: (x, weight, eps) => plainRmsNorm(x, weight, eps, dtype),
    rope: (x, heads, width, dim, config, positions) => plainRope(x, [1, positions.length, heads, width], config, dim, positions, dtype),
    attention: (arrays, options) => plainAttention(arrays, options, dtype).out,
    store: (values) => roundAll(cacheDType, values),
  }
}
