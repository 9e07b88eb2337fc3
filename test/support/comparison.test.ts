/** The comparisons that all other tests rest on do fail where they should. */
import { cosineDifference, expectClose, expectSameBits, worstError } from './compare'
import { expectAsGoodAsPlain, expectLseAsGoodAsPlain } from './tolerance'

describe('comparison', () => {
  it('finds the worst element and names it', () => {
    expect(worstError([1, 2, 3.5], [1, 2.25, 3])).toEqual({ index: 2, error: 0.5 })
    expect(() => expectClose([1, 2, 3.5], [1, 2, 3], 0.4)).toThrow('result: 3.5 at 2, expected 3: off by 0.5, allowed 0.4')
    expect(() => expectClose([1, 2, 3.5], [1, 2, 3], 0.5)).not.toThrow()
  })

  it.each([[NaN, 1], [1, NaN], [Infinity, -Infinity], [Infinity, 1e308], [NaN, Infinity]])('tells %d from %d', (a, b) => {
    expect(() => worstError([0, a], [0, b])).toThrow(`result: ${a} at 1, expected ${b}`)
  })

  it('takes NaN and infinities of the same sign for equal', () => {
    expect(worstError([NaN, Infinity, -Infinity], [NaN, Infinity, -Infinity]).error).toBe(0)
  })

  it('refuses other lengths', () => {
    expect(() => worstError([1], [1, 2])).toThrow('result: 1 elements, expected 2')
    expect(() => expectSameBits([1], [])).toThrow('result: 1 elements, expected 0')
  })

  it('tells bits apart that are equal as numbers', () => {
    expect(() => expectSameBits([0], [-0])).toThrow('result: 0 at 0, expected the same bits as 0')
    expect(() => expectSameBits([NaN], [NaN])).not.toThrow()
  })

  it('measures the angle between vectors', () => {
    expect(cosineDifference([1, 1], [1, 1])).toBe(0)
    expect(cosineDifference([1, 0], [0, 1])).toBe(1)
  })
})

describe('tolerance by construction', () => {
  const expected = [0.5, -1.25, 0.75]
  const plain = [0.5, -1.25, 0.7501]

  it('allows twice the error of the plain implementation, and the rounding of the output', () => {
    expect(() => expectAsGoodAsPlain([0.5, -1.25, 0.7502], expected, plain, { dtype: 'float32' })).not.toThrow()
    expect(() => expectAsGoodAsPlain([0.5, -1.25, 0.7503], expected, plain, { dtype: 'float32' })).toThrow('out: 0.7503 at 2')
    expect(() => expectAsGoodAsPlain([0.5, -1.25, 0.7503], expected, plain, { dtype: 'float32', factor: 3.1 })).not.toThrow()
  })

  it('allows one unit of a narrow output where the plain one is exact, and not three', () => {
    expect(() => expectAsGoodAsPlain([0.5, -1.25, 0.75 + 2 ** -8], expected, expected, { dtype: 'bfloat16' })).not.toThrow()
    expect(() => expectAsGoodAsPlain([0.5, -1.25, 0.75 + 2 ** -6], expected, expected, { dtype: 'bfloat16' })).toThrow('at 2')
  })

  it('sees an error that no single element shows', () => {
    const many = Array.from({ length: 1000 }, (_, n) => Math.sin(n))
    const noisy = many.map((value, n) => (n === 0 ? value + 0.01 : value))
    const skewed = many.map((value, n) => value + (n % 2 ? 0.015 : -0.015))
    expect(() => expectAsGoodAsPlain(skewed, many, noisy, { dtype: 'float32' })).toThrow('cosine difference')
  })

  it('holds lse to a few roundings of float32', () => {
    expect(() => expectLseAsGoodAsPlain([10 + 1e-6], [10], [10])).not.toThrow()
    expect(() => expectLseAsGoodAsPlain([10 + 1e-5], [10], [10])).toThrow('lse: ')
  })
})
