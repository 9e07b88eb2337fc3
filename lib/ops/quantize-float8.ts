import { checkHostIntegers, checkInteger, checkOptions } from '../check'
import { invoke, native } from '../native'
import { fromHandle, handleOf, type FloatTensor, type Tensor } from '../tensor/tensor'

/** What attention takes for an operand in float8_e4m3: a number is its code · scale. */
export interface QuantizedTensor {
  readonly codes: Tensor<'float8_e4m3'>
  readonly scales: Tensor<'float32'>
}

export interface QuantizeFloat8Options {
  /** Neighbouring heads that share a scale: numQoHeads / numKvHeads for queries. Default 1, as keys and values want it. */
  groupSize?: number
  /** Of packed sequences, [sequences + 1]: sequence b owns rows indptr[b] … indptr[b + 1] - 1 and has scales of its own. */
  indptr?: ArrayLike<number>
  /** Write here instead of allocating; neither may overlap x or the other. */
  out?: QuantizedTensor
}

/**
 * Numbers as float8_e4m3 codes with scales, for flashAttention and flashAttentionVarlen: one scale per sequence and group of heads, on x's device.
 *
 * | x | scales |
 * |---|---|
 * | [batch, len, numHeads, dim] | [batch, numHeads / groupSize] |
 * | [total, numHeads, dim] with `indptr` | [sequences, numHeads / groupSize] |
 * | [total, numHeads, dim] | [numHeads / groupSize] |
 *
 * scale = max(amax / 448, 2⁻¹²⁶) with amax the largest |x| of all rows of the sequence, padding too, that is not NaN; 1 where amax is 0. code = x / scale,
 * divided in float32 and rounded to nearest even: what a cache of that scale stores. NaN stays NaN and spoils its own element only. An infinity makes the
 * scale infinite, and all of its group reads as NaN. x is float32, float16 or bfloat16, with any strides; codes have its shape. The same bits on every device,
 * but for the sign of a NaN.
 *
 * Method: symmetric scaling by the largest magnitude; e4m3 is that of Micikevicius et al., "FP8 formats for deep learning", 2022.
 *
 * @throws ArgumentError for shapes, dtypes or options that do not fit; nothing is enqueued then.
 * @example
 * ```ts
 * const q8 = quantizeFloat8(q, { groupSize: 4 })     // 32 query heads over 8 kv heads
 * const [k8, v8] = [quantizeFloat8(k), quantizeFloat8(v)]
 * const { out } = flashAttention(q8.codes, k8.codes, v8.codes, {
 *   causal: true, queryScales: q8.scales, keyScales: k8.scales, valueScales: v8.scales,
 * })
 * ```
 */
export function quantizeFloat8(x: FloatTensor, options?: QuantizeFloat8Options): QuantizedTensor {
  const xHandle = handleOf('x', x)
  const given = checkOptions('options', options, ['groupSize', 'indptr', 'out'])
  const groupSize = given.groupSize === undefined ? 1 : checkInteger('options.groupSize', given.groupSize, 1)
  const indptr = given.indptr === undefined ? null : checkHostIntegers('options.indptr', given.indptr, 0, 0x7fffffff)
  const out = given.out === undefined ? undefined : checkOptions('options.out', given.out, ['codes', 'scales'])
  const [codesHandle, scalesHandle] = out ? [handleOf('options.out.codes', out.codes), handleOf('options.out.scales', out.scales)] : [null, null]
  const result = invoke(() => native.quantizeFloat8(xHandle, groupSize, indptr, codesHandle, scalesHandle))
  if (result === null) return given.out!
  const groups = x.shape.at(-2)! / groupSize
  const sequences = indptr ? indptr.length - 1 : x.shape.length === 4 ? x.shape[0]! : undefined
  return {
    codes: fromHandle(result[0], 'float8_e4m3', x.shape, x.device),
    scales: fromHandle(result[1], 'float32', sequences === undefined ? [groups] : [sequences, groups], x.device),
  }
}
