/**
 * Tolerance by construction. The allowed error against the float64 reference is measured, not chosen: a multiple of the error that a plain
 * implementation in the same dtype makes on the same inputs, plus the rounding of the output itself. (The rule of FlashAttention's own tests.)
 */
import { roundTo, type RoundedDType } from '../reference/rounding'
import { cosineDifference, expectClose, worstError } from './compare'

// Taken out once: inside jest's sandbox every use of a global costs as much as a hundred multiplications.
const { abs, max } = Math
const { isFinite } = Number

type Numbers = ArrayLike<number>

/** Online softmax, split keys and another order of sums may each cost what the plain order costs: twice in all. */
export const plainFactor = 2
/** tanh adds one more rounded step whose error the slope of the cap carries into the logits. */
export const softcapFactor = 3

const unitRoundoff: Readonly<Record<RoundedDType, number>> = { float32: 2 ** -24, float16: 2 ** -11, bfloat16: 2 ** -8, float8_e4m3: 2 ** -4 }

/**
 * Twice the rounding of numbers as large as those of `expected`, shifted off any exact values: what FlashAttention's tests allow the output.
 * Not less than half a unit in the last place, which few numbers may miss by luck.
 */
export function outputRounding(dtype: RoundedDType, expected: Numbers): number {
  let worst = 0
  for (let i = 0; i < expected.length; ++i) {
    const value = expected[i]!
    if (!isFinite(value)) continue
    const shifted = roundTo(dtype, roundTo(dtype, value + 0.3) - 0.3)
    worst = max(worst, abs(shifted - roundTo(dtype, value)), unitRoundoff[dtype] * abs(value))
  }
  return 2 * worst
}

export interface Allowance {
  readonly dtype: RoundedDType
  readonly factor?: number
}

/** `actual` is as near to the float64 `expected` as a plain implementation in the same dtype could promise. */
export function expectAsGoodAsPlain(actual: Numbers, expected: Numbers, plain: Numbers, allowance: Allowance, what = 'out'): void {
  const { dtype, factor = plainFactor } = allowance
  const plainError = worstError(plain, expected, `${what} of the plain implementation`).error
  expectClose(actual, expected, factor * plainError + outputRounding(dtype, expected), what)
  // Random errors of relative size e turn the vector by about e²; a whole vector off by its allowed worst case would show here first.
  const plainAngle = cosineDifference(plain, expected)
  const unit = unitRoundoff[dtype]
  const angle = cosineDifference(actual, expected)
  const allowed = factor * factor * plainAngle + 4 * unit * unit + 1e-14
  if (!(angle <= allowed)) throw new Error(`${what}: cosine difference ${angle}, allowed ${allowed}`)
}

/**
 * lse is float32 whatever the inputs: its error is that of the largest logit, whose own rounding is that of the plain implementation's, plus
 * a few float32 roundings (product with the scale, max, log, sum) at the size of the largest value.
 */
export function expectLseAsGoodAsPlain(actual: Numbers, expected: Numbers, plain: Numbers, factor = plainFactor): void {
  let largest = 1
  for (let i = 0; i < expected.length; ++i) {
    const value = abs(expected[i]!)
    if (isFinite(value)) largest = max(largest, value)
  }
  const plainError = worstError(plain, expected, 'lse of the plain implementation').error
  expectClose(actual, expected, factor * plainError + 4 * largest * 2 ** -24, 'lse')
}
