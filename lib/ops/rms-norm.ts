import { checkOptions, checkPositive } from '../check'
import { invoke, native } from '../native'
import { fromHandle, handleOf, optionalHandleOf, type FloatTensor } from '../tensor/tensor'

export interface RmsNormOptions {
  /** Default 1e-6. */
  eps?: number
  /** May be x itself. */
  out?: FloatTensor
}

/**
 * x / sqrt(mean(x²) + eps) · weight along the last axis: x [.., width], weight [width] → [.., width] in x's dtype.
 *
 * Method: Zhang and Sennrich, "Root mean square layer normalization", 2019.
 *
 * @throws ArgumentError for shapes, dtypes or options that do not fit.
 * @example
 * ```ts
 * const normed = rmsNorm(x, weight, { eps: 1e-5 })
 * ```
 */
export function rmsNorm(x: FloatTensor, weight: FloatTensor, options?: RmsNormOptions): FloatTensor {
  const [xHandle, weightHandle] = [handleOf('x', x), handleOf('weight', weight)]
  const given = checkOptions('options', options, ['eps', 'out'])
  const eps = checkPositive('options.eps', given.eps ?? 1e-6)
  const out = optionalHandleOf('options.out', given.out)
  const result = invoke(() => native.rmsNorm(xHandle, weightHandle, eps, out))
  return result === null ? given.out! : fromHandle(result, x.dtype, x.shape, x.device)
}
