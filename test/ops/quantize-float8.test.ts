import {
  devices, flashAttention, flashAttentionVarlen, MlaKvCache, PagedKvCache, quantizeFloat8, Tensor, type FloatTensor, type QuantizedTensor,
} from '../../lib/index'
import { quantizeFloat8 as reference } from '../reference/quantize-float8'
import { roundAll } from '../reference/rounding'
import { expectSameBits } from '../support/compare'
import { devicesAndDTypes, testDevices } from '../support/devices'
import { latentDim, ropeDim } from '../support/float8'
import { Random } from '../support/random'
import { stridedView, tensorOf } from '../support/tensors'

/** Normal numbers of all sizes, whose groups of heads differ in size too. */
function hardNumbers(count: number, perHead: number, random: Random): Float64Array {
  return random.normals(count).map((value, i) => value * 2 ** random.integer(-12, 3) * 3 ** (Math.floor(i / perHead) % 5))
}

const evenly = (batch: number, len: number): number[] => Array.from({ length: batch + 1 }, (_, b) => b * len)

function expectQuantized({ codes, scales }: QuantizedTensor, expected: ReturnType<typeof reference>): void {
  expectSameBits(scales.readSync(), expected.scales, 'scales')
  expectSameBits(codes.readSync(), expected.codes, 'codes')
}

describe.each(devicesAndDTypes)('quantizeFloat8 on %s in %s', (device, dtype) => {
  it.each([
    [[1, 1, 1, 1], 1], [[1, 1, 1, 7], 1], [[2, 5, 3, 21], 1], [[2, 5, 3, 21], 3], [[3, 17, 4, 64], 2], [[1, 130, 8, 128], 8], [[2, 67, 6, 40], 3], [[1, 3, 2, 1100], 1],
    [[2, 700, 2, 24], 1], [[1, 300, 12, 72], 4], [[2, 0, 4, 8], 2], [[0, 3, 4, 8], 2], [[2, 3, 0, 8], 1], [[2, 3, 4, 0], 1],
  ])('x %j, %d heads share a scale: the reference, bit for bit', (shape, groupSize) => {
    const [batch, len, numHeads, dim] = shape as [number, number, number, number]
    const x = roundAll(dtype, hardNumbers(batch * len * numHeads * dim, dim, new Random(len)))
    const made = quantizeFloat8(tensorOf<typeof dtype>(x, shape, dtype, device), { groupSize })
    expect([made.codes.dtype, made.codes.shape, made.scales.dtype, made.scales.shape])
      .toEqual(['float8_e4m3', shape, 'float32', [batch, numHeads / groupSize]])
    expectQuantized(made, reference(x, { indptr: evenly(batch, len), numHeads, dim, groupSize }))
  })

  it.each([[[0, 9]], [[0, 1, 4, 9]], [[0, 0, 3, 3, 9, 9]]])('packed sequences %j have scales of their own', (indptr) => {
    const [numHeads, dim, groupSize] = [4, 24, 2]
    const x = roundAll(dtype, hardNumbers(9 * numHeads * dim, 3 * numHeads * dim, new Random(3)))
    const made = quantizeFloat8(tensorOf<typeof dtype>(x, [9, numHeads, dim], dtype, device), { groupSize, indptr })
    expect([made.codes.shape, made.scales.shape]).toEqual([[9, numHeads, dim], [indptr.length - 1, 2]])
    expectQuantized(made, reference(x, { indptr, numHeads, dim, groupSize }))
  })

  it('packed rows without indptr have one scale for each group of heads', () => {
    const x = roundAll(dtype, hardNumbers(9 * 6 * 16, 16, new Random(4)))
    const made = quantizeFloat8(tensorOf<typeof dtype>(x, [9, 6, 16], dtype, device))
    expect(made.scales.shape).toEqual([6])
    expectQuantized(made, reference(x, { indptr: [0, 9], numHeads: 6, dim: 16, groupSize: 1 }))
  })

  it('rounds to nearest even, keeps NaN and the sign of 0, and has a scale for what is tiny, huge or nothing', () => {
    // A group of 8 per head; 448 and 224 make scales 1 and 0.5.
    const heads = [
      [448, 17, 19, -17, -19, 2 ** -10, 1.5 * 2 ** -9, -(2 ** -10)], [224, NaN, -0, 0, 222, 3, -3.3, NaN], [0, 0, -0, 0, 0, 0, 0, 0], [NaN, NaN, 0, -0, NaN, 0, 0, 0],
      [Infinity, 1, -1, 0, NaN, -Infinity, 5, 448], [2 ** -20, -(2 ** -23), 2 ** -24, 0, 0, 0, 0, 0], [65504, -65504, 1, 0, 0, 0, 0, 0],
    ]
    const small = dtype === 'float16' ? [] : [[2 ** -126, 2 ** -130, -(2 ** -133), 0, 0, 0, 0, 0], [1e38, -1e30, 2 ** -100, 0, 1e37, 0, 0, 0]]
    const x = roundAll(dtype, Float64Array.from([...heads, ...small].flat()))
    const numHeads = x.length / 8
    const made = quantizeFloat8(tensorOf<typeof dtype>(x, [1, 1, numHeads, 8], dtype, device))
    expectQuantized(made, reference(x, { indptr: [0, 1], numHeads, dim: 8, groupSize: 1 }))
    const scales = [...made.scales.readSync()]
    expect(scales.slice(0, 5)).toEqual([1, 0.5, 1, 1, Infinity])
    // What an infinite scale stands for.
    const codes = [...made.codes.readSync()].slice(4 * 8, 5 * 8)
    expect(codes.map((code) => code * scales[4]!)).toEqual(new Array(8).fill(NaN))
  })

  it('reads any strides and writes into any', () => {
    const shape = [2, 5, 4, 24]
    const x = roundAll(dtype, hardNumbers(960, 24, new Random(5)))
    const expected = reference(x, { indptr: [0, 5, 10], numHeads: 4, dim: 24, groupSize: 2 })
    for (const order of [[0, 1, 2, 3], [0, 2, 1, 3], [1, 0, 2, 3], [3, 1, 2, 0], [0, 1, 3, 2]]) {
      for (const margin of [0, 1, 8]) {
        const view = stridedView<typeof dtype>(x, shape, dtype, device, { order, margin })
        expectQuantized(quantizeFloat8(view, { groupSize: 2 }), expected)
        const codes = stridedView(new Float64Array(960), shape, 'float8_e4m3', device, { order: [...order].reverse(), margin })
        const scales = stridedView(new Float64Array(4), [2, 2], 'float32', device, { order: [1, 0], margin })
        const out = { codes, scales }
        expect(quantizeFloat8(view, { groupSize: 2, out })).toBe(out)
        expectQuantized(out, expected)
      }
    }
  })
})

describe.each(testDevices)('quantizeFloat8 on %s', (device) => {
  it('writes nothing beside the views that it is given', () => {
    const around = Tensor.from(new Float32Array(3 * 12 * 10).fill(3), [1, 3, 12, 10], { dtype: 'float8_e4m3', device })
    const scalesAround = Tensor.from([7, 7, 7, 7], [1, 4], { device })
    const x = Tensor.randn([1, 3, 2, 5], { seed: 1, device })
    const out = { codes: around.slice(2, 4, 6).slice(3, 2, 7), scales: scalesAround.slice(1, 1, 3) }
    quantizeFloat8(x, { out })
    const made = quantizeFloat8(x)
    const [codes, expected] = [around.readSync(), made.codes.readSync()]
    codes.forEach((code, i) => {
      const [head, d] = [Math.floor(i / 10) % 12, i % 10]
      const inside = head >= 4 && head < 6 && d >= 2 && d < 7
      expect(code).toBe(inside ? expected[Math.floor(i / 120) * 10 + (head - 4) * 5 + d - 2] : 3)
    })
    expectSameBits(scalesAround.readSync(), [7, ...made.scales.readSync(), 7])
  })

  it('gives the codes that a PagedKvCache of these scales stores', () => {
    const x = tensorOf(hardNumbers(40 * 3 * 21, 21, new Random(6)), [1, 40, 3, 21], 'float32', device)
    const { codes, scales } = quantizeFloat8(x)
    using cache = new PagedKvCache({
      numPages: 1, pageSize: 64, numKvHeads: 3, headDimQk: 21, dtype: 'float8_e4m3', device, keyScales: scales.reshape([3]), valueScales: scales.reshape([3]),
    })
    cache.append([cache.open()], x, x)
    const stored = cache.keys.slice(1, 0, 40)
    expectSameBits(stored.readSync(), codes.readSync())
  })

  it('gives the codes and scales that an MlaKvCache stores of a latent, its groups of 128 as heads', async () => {
    const values = hardNumbers(latentDim, 128, new Random(7))
    const { codes, scales } = quantizeFloat8(tensorOf(values, [1, 1, latentDim / 128, 128], 'float32', device))
    using cache = new MlaKvCache({ numPages: 1, pageSize: 1, kvLoraRank: latentDim, qkRopeHeadDim: ropeDim, dtype: 'float8_e4m3', device })
    cache.append([cache.open()], tensorOf(values, [1, 1, latentDim], 'float32', device), Tensor.zeros([1, 1, ropeDim], { device }))
    const row = await cache.latents.readBits() as Uint8Array
    expect([...row.slice(0, latentDim)]).toEqual([...(await codes.readBits())])
    expect(new Float32Array(row.slice(latentDim, latentDim + 16).buffer)).toEqual(await scales.read())
  })

  it('keeps what it reads and writes alive when all is disposed at once', async () => {
    await devices.synchronize(device)
    const before = devices.memory(device)
    const run = (): Promise<readonly (Float32Array | Int32Array)[]> => {
      using x = Tensor.randn([2, 60, 4, 64], { seed: 8, device })
      const { codes, scales } = quantizeFloat8(x)
      const reads = [codes.read(), scales.read()]
      codes.dispose()
      scales.dispose()
      return Promise.all(reads)
    }
    const first = await run()
    for (const again of await Promise.all(Array.from({ length: 20 }, run))) again.forEach((numbers, i) => expectSameBits(numbers, first[i]!))
    await devices.synchronize(device)
    expect(devices.memory(device).tensors).toBeLessThanOrEqual(before.tensors)
    expect(devices.memory(device).bytes).toBeLessThanOrEqual(before.bytes)
  })

  it('gives the same bits alone and in a batch', () => {
    const x = Tensor.randn([3, 90, 4, 32], { seed: 9, device })
    const together = quantizeFloat8(x)
    for (let b = 0; b < 3; ++b) {
      const alone = quantizeFloat8(x.slice(0, b, b + 1))
      expectSameBits(alone.codes.readSync(), together.codes.slice(0, b, b + 1).readSync())
      expectSameBits(alone.scales.readSync(), together.scales.slice(0, b, b + 1).readSync())
    }
  })
})

/** |actual - expected| over |expected|, of the numbers of each query head [.., numQoHeads, dim]. */
function errorsByHead(actual: ArrayLike<number>, expected: ArrayLike<number>, numQoHeads: number, dim: number): number[] {
  const [errors, sizes] = [new Array<number>(numQoHeads).fill(0), new Array<number>(numQoHeads).fill(0)]
  for (let i = 0; i < expected.length; ++i) {
    const head = Math.floor(i / dim) % numQoHeads
    errors[head]! += (actual[i]! - expected[i]!) ** 2
    sizes[head]! += expected[i]! ** 2
  }
  return errors.map((error, head) => Math.sqrt(error / sizes[head]!))
}

describe.each(testDevices)('attention over what quantizeFloat8 makes on %s', (device) => {
  const [numQoHeads, numKvHeads, dim, len] = [6, 2, 64, 40]
  const groupSize = numQoHeads / numKvHeads
  const operand = (shape: readonly number[], heads: number, seed: number, size: (head: number) => number): FloatTensor =>
    tensorOf(new Random(seed).normals(shape.reduce((a, b) => a * b)).map((value, i) => value * size(Math.floor(i / dim) % heads)), shape, 'float32', device)
  /** Groups of heads of other sizes, so that another one's scale is seen; products of queries and keys stay near one. */
  const make = (rows: readonly number[]): readonly FloatTensor[] => [
    operand([...rows, numQoHeads, dim], numQoHeads, 1, (head) => (head < groupSize ? 900 : 0.02)),
    operand([...rows, numKvHeads, dim], numKvHeads, 2, (head) => (head === 0 ? 1 / 900 : 50)),
    operand([...rows, numKvHeads, dim], numKvHeads, 3, (head) => (head === 0 ? 0.3 : 2000)),
  ]
  /**
   * With a unit roundoff u = 2⁻⁴ the rounding of an operand has a relative root mean square of at most u / √3. Outputs see those of queries, of keys and of
   * values: each logit is a sum of about dim terms of size 1 / √dim, so that its error is that of one operand, and weights and values are averaged over the same keys as
   * the output itself. Independent of each other, the three make √3 · u / √3 = u.
   */
  const unit = 2 ** -4
  const quantized = ([q, k, v]: readonly FloatTensor[], indptr?: readonly number[]) => {
    const options = indptr ? { indptr } : {}
    const [q8, k8, v8] = [quantizeFloat8(q!, { groupSize, ...options }), quantizeFloat8(k!, options), quantizeFloat8(v!, options)]
    return { operands: [q8.codes, k8.codes, v8.codes] as const, scales: { queryScales: q8.scales, keyScales: k8.scales, valueScales: v8.scales, dtype: 'float32' as const } }
  }

  it('is that in float32 within what mantissas of 4 bits explain', () => {
    const [q, k, v] = make([2, len]) as [FloatTensor, FloatTensor, FloatTensor]
    const { operands, scales } = quantized([q, k, v])
    const actual = flashAttention(...operands, { causal: true, ...scales }).out.readSync()
    for (const error of errorsByHead(actual, flashAttention(q, k, v, { causal: true }).out.readSync(), numQoHeads, dim)) expect(error).toBeLessThan(unit)
  })

  it('is so for packed sequences', () => {
    const [q, k, v] = make([2 * len]) as [FloatTensor, FloatTensor, FloatTensor]
    const indptr = [0, 11, 11, 2 * len]
    const packed = { qoIndptr: indptr, kvIndptr: indptr, causal: true }
    const { operands, scales } = quantized([q, k, v], indptr)
    const actual = flashAttentionVarlen(...operands, { ...packed, ...scales }).out.readSync()
    for (const error of errorsByHead(actual, flashAttentionVarlen(q, k, v, packed).out.readSync(), numQoHeads, dim)) expect(error).toBeLessThan(unit)
  })
})
