/** The small ops as a plain implementation computes them: float32 in the natural order, the output rounded to the dtype. */
import type { Numbers } from '../reference/attention'
import { ropeFrequencies, ropeMagnitude, type ReferenceRope } from '../reference/rope'
import { roundAll, roundTo, type RoundedDType } from '../reference/rounding'

const { cos: cosOf, fround: f32, sin: sinOf, sqrt } = Math

export function plainLinear(x: Numbers, weight: Numbers, inFeatures: number, bias: Numbers | undefined, dtype: RoundedDType): Float64Array {
  const rows = x.length / inFeatures
  const outFeatures = weight.length / inFeatures
  const y = new Float64Array(rows * outFeatures)
  for (let row = 0; row < rows; ++row) {
    for (let o = 0; o < outFeatures; ++o) {
      let sum = 0
      for (let d = 0; d < inFeatures; ++d) sum = f32(sum + f32(x[row * inFeatures + d]! * weight[o * inFeatures + d]!))
      y[row * outFeatures + o] = roundTo(dtype, bias ? f32(sum + bias[o]!) : sum)
    }
  }
  return y
}

export function plainRmsNorm(x: Numbers, weight: Numbers, eps: number, dtype: RoundedDType): Float64Array {
  const width = weight.length
  const y = new Float64Array(x.length)
  for (let row = 0; row < x.length; row += width) {
    let squares = 0
    for (let d = 0; d < width; ++d) squares = f32(squares + f32(x[row + d]! * x[row + d]!))
    const inverse = f32(1 / f32(sqrt(f32(f32(squares / width) + f32(eps)))))
    for (let d = 0; d < width; ++d) y[row + d] = roundTo(dtype, f32(f32(x[row + d]! * inverse) * weight[d]!))
  }
  return y
}

/** Angles in float64, cos and sin kept in float32. */
export function plainRope(
  x: Numbers, shape: readonly [number, number, number, number], config: ReferenceRope, dim: number, positions: Numbers, dtype: RoundedDType,
): Float64Array {
  const [batch, len, heads, width] = shape
  const frequencies = ropeFrequencies(dim, config)
  const magnitude = ropeMagnitude(config)
  const y = roundAll(dtype, x)
  for (let token = 0; token < batch * len; ++token) {
    for (let i = 0; i < dim / 2; ++i) {
      const angle = positions[token]! * frequencies[i]!
      const cos = f32(cosOf(angle) * magnitude)
      const sin = f32(sinOf(angle) * magnitude)
      for (let h = 0; h < heads; ++h) {
        const start = (token * heads + h) * width + width - dim
        const a = start + (config.interleaved ? 2 * i : i)
        const b = start + (config.interleaved ? 2 * i + 1 : i + dim / 2)
        y[a] = roundTo(dtype, f32(f32(x[a]! * cos) - f32(x[b]! * sin)))
        y[b] = roundTo(dtype, f32(f32(x[a]! * sin) + f32(x[b]! * cos)))
      }
    }
  }
  return y
}
