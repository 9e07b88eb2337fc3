import type { DType } from '../../tensor/dtype'

interface Format {
  /** Bits behind the binary point of a normal number. */
  readonly fraction: number
  /** Exponent of the smallest normal number. */
  readonly minExponent: number
}
const formats = {
  float32: { fraction: 23, minExponent: -126 },
  float16: { fraction: 10, minExponent: -14 },
  bfloat16: { fraction: 7, minExponent: -126 },
  float8_e4m3: { fraction: 3, minExponent: -6 },
} as const satisfies Record<Exclude<DType, 'int32'>, Format>

/** The relative error that rounding to the dtype makes at most; 0 for integers. */
export function unitRoundoff(dtype: DType): number {
  return dtype === 'int32' ? 0 : 2 ** -(formats[dtype].fraction + 1)
}

/** Relative error of a float32 sum of so many products: errors of random sign grow with the root, here six standard deviations (Higham and Mary, 2019). */
export function sumRounding(terms: number): number {
  return 6 * Math.sqrt(terms) * unitRoundoff('float32')
}

/** The nearest number of the dtype, ties to even. For numbers within its range: the cases stay far below the largest. */
export function roundTo(dtype: DType, value: number): number {
  if (!Number.isFinite(value) || value === 0) return value
  if (dtype === 'int32') return roundHalfEven(value)
  const { fraction, minExponent } = formats[dtype]
  const exponent = Math.max(Math.floor(Math.log2(Math.abs(value))), minExponent)
  const step = 2 ** (exponent - fraction)
  return roundHalfEven(value / step) * step
}

function roundHalfEven(value: number): number {
  const below = Math.floor(value)
  const rest = value - below
  if (rest !== 0.5) return Math.round(value)
  return below % 2 === 0 ? below : below + 1
}
