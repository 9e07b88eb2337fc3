import { checkInteger, checkOptions } from '../check'
import { ArgumentError } from '../errors'
import { invoke, native } from '../native'
import { checkTensor, fromHandle, handleOf, optionalHandleOf, type FloatTensor, type IndexTensor } from '../tensor/tensor'
import { shapeText } from '../tensor/shape'
import { nativeRopeOptions, type RopeConfig } from './rope-config'

export { checkRopeConfig, type RopeConfig, type RopeScaling } from './rope-config'

export interface RopeOptions {
  /** [batch, len] int32; default 0 … len - 1. */
  positions?: IndexTensor
  /** How many of the last features are rotated, even; default all. */
  dim?: number
  /** May be x itself. */
  out?: FloatTensor
}

/**
 * Rotary position embedding: x [batch, len, numHeads, width] → the same shape and dtype, its last `dim` features rotated by
 * position. Angles are computed in float64.
 *
 * Method: Su et al., "RoFormer", 2021; scalings: linear (Chen et al., 2023), Llama 3's, YaRN (Peng et al., 2023).
 *
 * @throws ArgumentError for shapes, dtypes or a configuration that do not fit.
 * @example
 * ```ts
 * const rotated = rope(q, { theta: 500000, interleaved: false })
 * ```
 */
export function rope(x: FloatTensor, config: RopeConfig, options?: RopeOptions): FloatTensor {
  const xHandle = handleOf('x', x)
  const given = checkOptions('options', options, ['positions', 'dim', 'out'])
  if (x.shape.length !== 4) throw new ArgumentError('x', 'shape [batch, len, numHeads, dim]', shapeText(x.shape), 'SHAPE_MISMATCH')
  const dim = given.dim === undefined ? x.shape[3]! : checkInteger('options.dim', given.dim, 2)
  const nativeOptions = nativeRopeOptions('config', config, dim)
  const positions = optionalHandleOf('options.positions', given.positions)
  const out = optionalHandleOf('options.out', given.out)
  const result = invoke(() => native.rope(xHandle, positions, out, ...nativeOptions))
  return result === null ? given.out! : (fromHandle(result, checkTensor('x', x).dtype, x.shape, x.device) as FloatTensor)
}
