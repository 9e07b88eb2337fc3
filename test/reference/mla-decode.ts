import { attention, type Numbers, type ReferenceResult } from './attention'

/**
 * MLA in latent space is MQA: the query is [qNope | qPe], the key the whole cache row, the value the row's first kvLoraRank numbers.
 * qNope [batch, qoLen, numHeads, kvLoraRank] · qPe [batch, qoLen, numHeads, qkRopeHeadDim] · latents [batch, kvLen, kvLoraRank + qkRopeHeadDim]
 */
export function mlaDecode(
  qNope: Numbers, qPe: Numbers, latents: Numbers,
  dims: { batch: number; qoLen: number; kvLen: number; numHeads: number; kvLoraRank: number; qkRopeHeadDim: number },
  options: { softmaxScale: number; causal: boolean; kvLens?: Numbers },
): ReferenceResult {
  const { batch, qoLen, kvLen, numHeads, kvLoraRank, qkRopeHeadDim } = dims
  const width = kvLoraRank + qkRopeHeadDim
  const q = joinRows(qNope, kvLoraRank, qPe, qkRopeHeadDim)
  const v = new Float64Array(batch * kvLen * kvLoraRank)
  for (let row = 0; row < batch * kvLen; ++row) {
    for (let d = 0; d < kvLoraRank; ++d) v[row * kvLoraRank + d] = latents[row * width + d]!
  }
  const heads = { numQoHeads: numHeads, numKvHeads: 1, headDimQk: width, headDimVo: kvLoraRank }
  return attention({ batch, qoLen, kvLen, ...heads, q, k: latents, v }, options)
}

/** Rows of `a` and `b` side by side. */
export function joinRows(a: Numbers, aWidth: number, b: Numbers, bWidth: number): Float64Array {
  const rows = a.length / aWidth
  const width = aWidth + bWidth
  const joined = new Float64Array(rows * width)
  for (let row = 0; row < rows; ++row) {
    for (let d = 0; d < aWidth; ++d) joined[row * width + d] = a[row * aWidth + d]!
    for (let d = 0; d < bWidth; ++d) joined[row * width + aWidth + d] = b[row * bWidth + d]!
  }
  return joined
}
