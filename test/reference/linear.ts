import type { Numbers } from './attention'

/** y = x · weightᵀ + bias: x [rows, inFeatures], weight [outFeatures, inFeatures], bias [outFeatures]. */
export function linear(x: Numbers, weight: Numbers, inFeatures: number, bias?: Numbers): Float64Array {
  const rows = x.length / inFeatures
  const outFeatures = weight.length / inFeatures
  const y = new Float64Array(rows * outFeatures)
  for (let row = 0; row < rows; ++row) {
    for (let o = 0; o < outFeatures; ++o) {
      let sum = bias ? bias[o]! : 0
      for (let d = 0; d < inFeatures; ++d) sum += x[row * inFeatures + d]! * weight[o * inFeatures + d]!
      y[row * outFeatures + o] = sum
    }
  }
  return y
}
