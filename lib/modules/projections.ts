import { linear } from '../ops/linear'
import type { FloatTensor } from '../tensor/tensor'

/** x · weightᵀ, plus the bias where there is one. */
export function project(x: FloatTensor, weight: FloatTensor, bias: FloatTensor | undefined): FloatTensor {
  return linear(x, weight, bias === undefined ? {} : { bias })
}
