import { invoke, native } from '../native'
import { fromHandle, handleOf, type FloatTensor } from '../tensor/tensor'

/** One projection per head: x [rows, numHeads, inFeatures] · weight [numHeads, outFeatures, inFeatures] -> [rows, numHeads, outFeatures]. */
export function linearPerHead(x: FloatTensor, weight: FloatTensor): FloatTensor {
  const handle = invoke(() => native.linearPerHead(handleOf('x', x), handleOf('weight', weight)))
  return fromHandle(handle, x.dtype, [x.shape[0]!, x.shape[1]!, weight.shape[1]!], x.device)
}
