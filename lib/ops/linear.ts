import { checkOptions } from '../check'
import { invoke, native } from '../native'
import { fromHandle, handleOf, optionalHandleOf, type FloatTensor } from '../tensor/tensor'

export interface LinearOptions {
  /** [outFeatures]. */
  bias?: FloatTensor
  out?: FloatTensor
}

/**
 * x [.., inFeatures] · weightᵀ, weight [outFeatures, inFeatures] (the checkpoint layout) → [.., outFeatures] in x's dtype;
 * sums in float32. The dtypes of x, weight and bias may differ.
 *
 * @throws ArgumentError for shapes, dtypes or options that do not fit.
 * @example
 * ```ts
 * const y = linear(x, weight, { bias })
 * ```
 */
export function linear(x: FloatTensor, weight: FloatTensor, options?: LinearOptions): FloatTensor {
  const [xHandle, weightHandle] = [handleOf('x', x), handleOf('weight', weight)]
  const given = checkOptions('options', options, ['bias', 'out'])
  const [bias, out] = [optionalHandleOf('options.bias', given.bias), optionalHandleOf('options.out', given.out)]
  const result = invoke(() => native.linear(xHandle, weightHandle, bias, out))
  return result === null ? given.out! : fromHandle(result, x.dtype, x.shape.with(-1, weight.shape[0]!), x.device)
}
