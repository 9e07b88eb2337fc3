import { Tensor, type FloatDType } from '../../lib/index'
import { bitsOf, roundTo, valueOf } from '../reference/rounding'
import { expectSameBits } from '../support/compare'
import { testDevices } from '../support/devices'
import { Random } from '../support/random'

const narrow = [['float16', 65536], ['bfloat16', 65536], ['float8_e4m3', 256]] as const
const floats: readonly FloatDType[] = ['float32', 'float16', 'bfloat16', 'float8_e4m3']

/** Numbers where rounding goes wrong first: ties, both sides of ties by less than float32 can tell, the ends of the range, subnormals. */
function hardNumbers(dtype: FloatDType): number[] {
  const random = new Random(1)
  const bitsCount = { float32: 0, float16: 0x7c00, bfloat16: 0x7f80, float8_e4m3: 0x7f }[dtype]
  const step = dtype === 'float8_e4m3' ? 1 : 61
  const ties: number[] = []
  for (let bits = 0; bits + 1 < bitsCount; bits += step) {
    const [low, high] = [valueOf(dtype, bits), valueOf(dtype, bits + 1)]
    const tie = (low + high) / 2
    // A double just beside the tie rounds to the tie in float32: rounding twice would go to the even neighbour instead of the near one.
    ties.push(tie, tie * (1 + 2 ** -50), tie * (1 - 2 ** -50), -tie, -tie * (1 + 2 ** -40))
  }
  const wide = Array.from({ length: 2000 }, () => random.normal() * 2 ** random.integer(-160, 130))
  const edges = [0, -0, 65504, 65519.99, 65520, -65520, 448, 463.9999, 464, 464.0001, -480, 3.4e38, 3.5e38, 1e300, -1e300, 5e-324, 1e-45, 2 ** -149, 2 ** -150, 1.5 * 2 ** -150]
  return [...ties, ...wide, ...edges, Infinity, -Infinity, NaN]
}

describe.each(testDevices)('conversions on %s', (device) => {
  it.each(narrow)('every bit pattern of %s reads as the number that it stands for', async (dtype, count) => {
    const bits = dtype === 'float8_e4m3' ? Uint8Array.from({ length: count }, (_, n) => n) : Uint16Array.from({ length: count }, (_, n) => n)
    const tensor = Tensor.fromBits(bits, [count], { dtype, device })
    expectSameBits(tensor.readSync(), Array.from(bits, (pattern) => valueOf(dtype, pattern)))
    expect(Array.from(await tensor.readBits())).toEqual(Array.from(bits))
  })

  it.each(narrow)('every number of %s keeps its bits through float32 and back', async (dtype, count) => {
    const values = Float64Array.from({ length: count }, (_, n) => valueOf(dtype, n))
    const tensor = Tensor.from(values, [count], { dtype, device })
    for (const bits of [await tensor.readBits(), await tensor.cast('float32').cast(dtype).readBits()]) {
      // Any NaN may stand for any other: all read as NaN.
      const wrong = Array.from(bits).filter((pattern, n) => (Number.isNaN(values[n]) ? !Number.isNaN(valueOf(dtype, pattern)) : pattern !== n))
      expect(wrong).toEqual([])
    }
  })

  it.each(floats)('numbers round to the nearest %s once, ties to even', async (dtype) => {
    const numbers = hardNumbers(dtype)
    const tensor = Tensor.from(numbers, [numbers.length], { dtype, device })
    expectSameBits(tensor.readSync(), numbers.map((value) => roundTo(dtype, value)))
    if (dtype === 'float32') return
    const bits = await tensor.readBits()
    const wrong = numbers.filter((value, n) => {
      const rounded = roundTo(dtype, value)
      return !Number.isNaN(rounded) && bits[n] !== bitsOf(dtype, rounded)
    })
    expect(wrong).toEqual([])
  })

  it.each(floats.flatMap((from) => floats.map((to) => [from, to] as const)))('cast from %s to %s rounds like numbers do', (from, to) => {
    const numbers = hardNumbers(from)
    const cast = Tensor.from(numbers, [numbers.length], { dtype: from, device }).cast(to)
    expect(cast.dtype).toBe(to)
    expectSameBits(cast.readSync(), numbers.map((value) => roundTo(to, roundTo(from, value))))
  })

  it('float32 numbers to float16 by any path: whole vectors, tails, strided', () => {
    const random = new Random(2)
    for (const count of [1, 7, 8, 15, 16, 17, 1000]) {
      const numbers = Float32Array.from({ length: count }, () => random.normal() * 2 ** random.integer(-30, 17))
      for (const dtype of ['float16', 'bfloat16', 'float8_e4m3'] as const) {
        const expected = Array.from(numbers, (value) => roundTo(dtype, value))
        expectSameBits(Tensor.from(numbers, [count], { dtype, device }).readSync(), expected)
        const pairs = new Float32Array(2 * count)
        for (let n = 0; n < count; ++n) pairs[2 * n] = numbers[n]!
        expectSameBits(Tensor.from(pairs, [count, 2], { device }).slice(1, 0, 1).cast(dtype).readSync(), expected)
      }
    }
  })

  it('casts to and from int32: towards zero, within its range, NaN to 0', () => {
    const numbers = [0, -0, 0.9, -0.9, 1.5, -1.5, 2147483520, 2 ** 31, -(2 ** 31), -3e9, Infinity, -Infinity, NaN, 16777217]
    const cast = Tensor.from(numbers, [numbers.length], { device }).cast('int32').readSync()
    expect(Array.from(cast)).toEqual([0, 0, 0, 0, 1, -1, 2147483520, 2147483647, -2147483648, -2147483648, 2147483647, -2147483648, 0, 16777216])
    const integers = [0, 1, -1, 255, 257, 65535, 16777217, -2147483648, 2147483647]
    for (const dtype of floats) {
      const floating = Tensor.from(integers, [integers.length], { dtype: 'int32', device }).cast(dtype)
      expectSameBits(floating.readSync(), integers.map((value) => roundTo(dtype, value)), dtype)
    }
  })
})
