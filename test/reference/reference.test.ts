/** The references themselves, against numbers worked out by hand and identities that hold for any input. */
import { Random } from '../support/random'
import { attention, type AttentionArrays } from './attention'
import { linear } from './linear'
import { mlaDecode } from './mla-decode'
import { batchLseIndex, mergeStates } from './merge-states'
import { rmsNorm } from './rms-norm'
import { rope } from './rope'
import { bitsOf, roundTo, valueOf } from './rounding'

const one = { batch: 1, qoLen: 1, kvLen: 2, numQoHeads: 1, numKvHeads: 1, headDimQk: 1, headDimVo: 1 }
const random = new Random(1)
const arrays: AttentionArrays = {
  batch: 2, qoLen: 3, kvLen: 7, numQoHeads: 4, numKvHeads: 2, headDimQk: 5, headDimVo: 6,
  q: random.normals(2 * 3 * 4 * 5), k: random.normals(2 * 7 * 2 * 5), v: random.normals(2 * 7 * 2 * 6),
}

describe('attention', () => {
  it('weighs two keys whose logits differ by ln 3 as 3 to 1', () => {
    const { out, lse } = attention({ ...one, q: [1], k: [Math.log(3), 0], v: [8, 4] })
    expect(out[0]).toBeCloseTo(7, 14)
    expect(lse[0]).toBeCloseTo(Math.log(4), 14)
  })

  it('counts a sink as one more key of value 0', () => {
    const { out, lse } = attention({ ...one, q: [1], k: [Math.log(3), 0], v: [8, 4] }, { sinks: [Math.log(4)] })
    expect(out[0]).toBeCloseTo((3 * 8 + 4) / 8, 14)
    expect(lse[0]).toBeCloseTo(Math.log(8), 14)
  })

  it('subtracts the distance times the slope, on the aligned diagonal', () => {
    const { out } = attention({ ...one, q: [0], k: [0, 0], v: [8, 4] }, { alibiSlopes: [Math.log(3)] })
    expect(out[0]).toBeCloseTo((8 / 3 + 4) / (4 / 3), 14)
  })

  it('caps after scaling', () => {
    const { lse } = attention({ ...one, kvLen: 1, q: [3], k: [5], v: [1] }, { softmaxScale: 2, logitSoftcap: 10 })
    expect(lse[0]).toBeCloseTo(10 * Math.tanh(3), 14)
  })

  it('gives 0 and -infinity to a row without keys, and the sink where there is one', () => {
    const long = { ...one, qoLen: 3, q: [1, 1, 1], k: [1, 1], v: [8, 4] }
    const { out, lse } = attention(long, { causal: true })
    expect([out[0], lse[0], out[1]]).toEqual([0, -Infinity, 8])
    const sunk = attention(long, { causal: true, sinks: [5] })
    expect([sunk.out[0], sunk.lse[0]]).toEqual([0, 5])
  })

  it('is what parts of the keys merge to', () => {
    const part = (begin: number, end: number): AttentionArrays => {
      const rows = (values: AttentionArrays['k'], width: number): number[] =>
        Array.from(values).filter((_, n) => Math.floor(n / width) % 7 >= begin && Math.floor(n / width) % 7 < end)
      return { ...arrays, kvLen: end - begin, k: rows(arrays.k, 10), v: rows(arrays.v, 12) }
    }
    const whole = attention(arrays)
    const merged = mergeStates([part(0, 2), part(2, 7)].map((p) => attention(p)), 6, batchLseIndex(3, 4))
    expect(Math.max(...merged.out.map((value, n) => Math.abs(value - whole.out[n]!)))).toBeLessThan(1e-14)
    expect(Math.max(...merged.lse.map((value, n) => Math.abs(value - whole.lse[n]!)))).toBeLessThan(1e-14)
  })

  it('of MLA is that of one kv head whose value is part of the key', () => {
    const { out } = mlaDecode([1], [1], [Math.log(3), 0, 0, 0], { batch: 1, qoLen: 1, kvLen: 2, numHeads: 1, kvLoraRank: 1, qkRopeHeadDim: 1 }, { softmaxScale: 1, causal: true })
    expect(out[0]).toBeCloseTo((3 * Math.log(3)) / 4, 14)
  })
})

describe('the small ops', () => {
  it('linear multiplies by rows of the weight', () => {
    expect(Array.from(linear([1, 2], [3, 4, 5, 6, 7, 8], 2, [0, 1, 0]))).toEqual([11, 18, 23])
  })

  it('rmsNorm divides by the root of the mean square', () => {
    expect(rmsNorm([3, 4], [1, 10], 0)[1]).toBeCloseTo((10 * 4) / Math.sqrt(12.5), 14)
  })

  it('rope turns the first pair by one radian per position, in either pairing', () => {
    const interleaved = rope([1, 0, 1, 0], [1, 1, 1, 4], { interleaved: true }, 4, [2])
    expect(Array.from(interleaved.slice(0, 2))).toEqual([Math.cos(2), Math.sin(2)])
    const halves = rope([1, 0, 0, 0], [1, 1, 1, 4], { interleaved: false }, 4, [2])
    expect([halves[0], halves[2]]).toEqual([Math.cos(2), Math.sin(2)])
  })
})

describe('rounding', () => {
  it.each([
    ['float16', 1, 0x3c00], ['float16', 65504, 0x7bff], ['float16', 2 ** -24, 1], ['float16', -2, 0xc000], ['float16', Infinity, 0x7c00],
    ['bfloat16', 1, 0x3f80], ['bfloat16', -0.15625, 0xbe20], ['bfloat16', 2 ** -133, 1], ['float8_e4m3', 448, 0x7e], ['float8_e4m3', 1, 0x38], ['float8_e4m3', 2 ** -9, 1],
  ] as const)('%s: %d has the bits %d', (dtype, value, bits) => {
    expect([bitsOf(dtype, value), valueOf(dtype, bits), roundTo(dtype, value)]).toEqual([bits, value, value])
  })

  it('goes to the even neighbour from a tie, and to the near one from beside it', () => {
    expect([2049, 2051, 2049 + 1e-9, 65519.999, 65520, 2 ** -25, 2 ** -25 * 1.0001].map((value) => roundTo('float16', value))).toEqual([
      2048, 2052, 2050, 65504, Infinity, 0, 2 ** -24,
    ])
    expect([464, 464.001, -1e9, -0].map((value) => roundTo('float8_e4m3', value))).toEqual([448, NaN, NaN, -0])
    // Twice rounded, through float32, the first would be 1.
    expect([1 + 2 ** -8 + 2 ** -40, 1 + 2 ** -8].map((value) => roundTo('bfloat16', value))).toEqual([1 + 2 ** -7, 1])
  })

  it('of float32 numbers agrees with the typed arrays of the host', () => {
    for (const value of random.normals(1000)) expect(roundTo('float32', value)).toBe(Float32Array.of(value)[0])
  })
})
