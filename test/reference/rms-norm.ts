import type { Numbers } from './attention'

/** y = x / sqrt(mean(x²) + eps) · weight, row by row of x [.., width]. */
export function rmsNorm(x: Numbers, weight: Numbers, eps: number): Float64Array {
  const width = weight.length
  const y = new Float64Array(x.length)
  for (let row = 0; row < x.length; row += width) {
    let squares = 0
    for (let d = 0; d < width; ++d) squares += x[row + d]! ** 2
    const inverse = 1 / Math.sqrt(squares / width + eps)
    for (let d = 0; d < width; ++d) y[row + d] = x[row + d]! * inverse * weight[d]!
  }
  return y
}
