import type { ForwardInputs } from './forward-inputs'
import { Tensor, type IndexTensor } from '../tensor/tensor'
import type { Keep } from './intermediates'

/** [batch, len] positions of the rows of x: those given, or each sequence continued; undefined stands for 0 … len - 1. */
export function ropePositions({ batch, len, positions, store, x }: ForwardInputs<object>, keep: Keep): IndexTensor | undefined {
  if (positions !== undefined || store === undefined) return positions
  const continued = new Int32Array(batch * len)
  store.sequences.forEach(({ length }, b) => {
    for (let i = 0; i < len; ++i) continued[b * len + i] = length + i
  })
  return keep(Tensor.fromBits(continued, [batch, len], { dtype: 'int32', device: x.device }))
}
