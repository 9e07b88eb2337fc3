import type { DType } from '../../tensor/dtype'

/** An output beside what float64 gives, and how far apart rounding alone may put them. */
export interface Check {
  readonly what: string
  readonly actual: ArrayLike<number>
  readonly expected: ArrayLike<number>
  /** Largest absolute error by the analysis of the roundings; 0: the same numbers. */
  readonly bound: number
}
/** A seeded call of one op. The kernel that has to answer it was chosen before. */
export interface Case {
  readonly name: string
  readonly run: (dtype: DType) => readonly Check[]
  /** Dtypes that the case has no form for. */
  readonly without?: readonly DType[]
}

export interface Outcome {
  /** Largest error over its bound, of all checks; Infinity where an output has to be exact and is not. */
  readonly share: number
  readonly maxError: number
  /** The first thing wrong, undefined when all is well. */
  readonly failure?: string
}

/** Compares number by number. Positions of NaN and of infinities must agree too. */
export function judge(checks: readonly Check[]): Outcome {
  let share = 0
  let maxError = 0
  let failure: string | undefined
  for (const { what, actual, expected, bound } of checks) {
    if (actual.length !== expected.length) failure ??= `${what}: ${actual.length} numbers, expected ${expected.length}`
    for (let i = 0; i < expected.length; ++i) {
      const [a, e] = [actual[i] ?? NaN, expected[i] ?? NaN]
      if (Object.is(a, e) || a === e) continue
      const error = Math.abs(a - e)
      if (!(error <= bound)) failure ??= `${what}[${i}]: ${a}, expected ${e} within ${bound.toExponential(1)}`
      maxError = Math.max(maxError, Number.isNaN(error) ? Infinity : error)
      share = Math.max(share, Number.isNaN(error) ? Infinity : error / bound)
    }
  }
  return { share, maxError, ...(failure !== undefined && { failure }) }
}
