/** Comparison of number arrays: positions of NaN and infinities first, then an absolute bound, then the angle between the two. */

// Taken out once: inside jest's sandbox every use of a global costs as much as a hundred multiplications.
const { abs } = Math
const { isFinite } = Number

type Numbers = ArrayLike<number>

export interface Worst {
  readonly index: number
  readonly error: number
}

/** The largest absolute difference among the finite elements. Throws where NaN or an infinity stands on one side only. */
export function worstError(actual: Numbers, expected: Numbers, what = 'result'): Worst {
  if (actual.length !== expected.length) throw new Error(`${what}: ${actual.length} elements, expected ${expected.length}`)
  let index = 0
  let error = 0
  for (let i = 0; i < actual.length; ++i) {
    const a = actual[i]!
    const e = expected[i]!
    const off = abs(a - e)
    if (!(off < Infinity)) {
      if (!Object.is(a, e)) throw new Error(`${what}: ${a} at ${i}, expected ${e}`)
      continue
    }
    if (off > error) {
      error = off
      index = i
    }
  }
  return { index, error }
}

export function expectClose(actual: Numbers, expected: Numbers, tolerance: number, what = 'result'): void {
  const { index, error } = worstError(actual, expected, what)
  if (!(error <= tolerance)) {
    throw new Error(`${what}: ${actual[index]} at ${index}, expected ${expected[index]}: off by ${error}, allowed ${tolerance}`)
  }
}

/** 1 - cos of the angle between the finite parts, 0 for parts of nearly no length: a systematic error that no single element shows. */
export function cosineDifference(actual: Numbers, expected: Numbers): number {
  let product = 0
  let squares = 0
  let expectedSquares = 0
  for (let i = 0; i < expected.length; ++i) {
    const a = actual[i]!
    const e = expected[i]!
    if (!isFinite(a) || !isFinite(e)) continue
    product += a * e
    squares += a * a + e * e
    expectedSquares += e * e
  }
  return expectedSquares < 1e-12 ? 0 : 1 - (2 * product) / squares
}

/** Bit for bit, so that -0 differs from 0 and NaN equals itself. */
export function expectSameBits(actual: Numbers, expected: Numbers, what = 'result'): void {
  if (actual.length !== expected.length) throw new Error(`${what}: ${actual.length} elements, expected ${expected.length}`)
  for (let i = 0; i < actual.length; ++i) {
    if (!Object.is(actual[i], expected[i])) throw new Error(`${what}: ${actual[i]} at ${i}, expected the same bits as ${expected[i]}`)
  }
}
