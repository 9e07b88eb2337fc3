import { MlaKvCache, PagedKvCache, Tensor, type DeviceId, type FloatTensor, type Sequence } from '../../lib/index'
import { gatherLatents } from '../../lib/cache/mla-kv-cache'
import { roundAll } from '../reference/rounding'
import { expectSameBits } from '../support/compare'
import { computeDTypes, testDevices } from '../support/devices'
import { argumentError, expectError } from '../support/errors'
import { devicesByKernels, expectRefusal, latentDim, ropeDim, saturate, scalesTensor, storedLatent } from '../support/float8'
import { Random } from '../support/random'
import { stridedView, tensorOf } from '../support/tensors'

const [heads, dim, pageSize] = [3, 21, 4]
const keyScales = [0.37, 1, 21.5].map(Math.fround)
const valueScales = [1e-3, 2.25, 700].map(Math.fround)

/** Normal numbers of all sizes, with what is special: beyond the largest, ties, subnormal ones, infinities, NaN. */
function hardNumbers(count: number, random: Random): Float64Array {
  const numbers = random.normals(count).map((value) => value * 2 ** random.integer(-12, 9))
  const special = [448, 464, 464.1, -1e30, Infinity, -Infinity, NaN, 0, -0, 2 ** -9, 2 ** -10, 1.5 * 2 ** -9, 17, 19, -17, -19, 0.0625]
  special.forEach((value, i) => (numbers[(i * 7) % count] = value))
  return numbers
}

const makeKv = (device: DeviceId, scaled = true): PagedKvCache => new PagedKvCache({
  numPages: 16, pageSize, numKvHeads: heads, headDimQk: dim, headDimVo: dim + 2, dtype: 'float8_e4m3', device,
  ...(scaled && { keyScales: scalesTensor(keyScales, [heads], device), valueScales: scalesTensor(valueScales, [heads], device) }),
})
const makeMla = (device: DeviceId): MlaKvCache => new MlaKvCache({ numPages: 16, pageSize, kvLoraRank: latentDim, qkRopeHeadDim: ropeDim, dtype: 'float8_e4m3', device })

/** Rows of a sequence as they lie in pages [numPages, pageSize, ..]. */
function rowsOf<T>(read: ArrayLike<T>, { pages, length }: Sequence, width: number): T[] {
  return Array.from({ length }, (_, i) => {
    const slot = pages[Math.floor(i / pageSize)]! * pageSize + (i % pageSize)
    return Array.from({ length: width }, (_, d) => read[slot * width + d]!)
  }).flat()
}

const zeros = (shape: readonly number[], device: DeviceId): FloatTensor => Tensor.zeros(shape, { device })
const kv = devicesByKernels((device) => {
  const cache = makeKv(device)
  cache.append([cache.open()], zeros([1, 1, heads, dim], device), zeros([1, 1, heads, dim + 2], device))
})
const latent = devicesByKernels((device) => {
  const cache = makeMla(device)
  cache.append([cache.open()], zeros([1, 1, latentDim], device), zeros([1, 1, ropeDim], device))
})

for (const device of kv.able) {
  describe(`PagedKvCache of float8_e4m3 on ${device}`, () => {
    const scaledOrNot = computeDTypes.flatMap((dtype) => [true, false].map((scaled) => [dtype, scaled] as const))
    it.each(scaledOrNot)('stores rows of %s over their scales (given: %s), saturated', (dtype, scaled) => {
      const random = new Random(1)
      using cache = makeKv(device, scaled)
      const [a, b] = [cache.open(), cache.open()]
      const [k, v] = [dim, dim + 2].map((width) => roundAll(dtype, hardNumbers(2 * 7 * heads * width, random)))
      const [kRows, vRows] = [tensorOf(k!, [2, 7, heads, dim], dtype, device), stridedView(v!, [2, 7, heads, dim + 2], dtype, device, { order: [1, 3, 0, 2] })]
      cache.append([a, b], kRows, vRows, { lens: [7, 5] })
      const [keys, values] = [cache.keys.readSync(), cache.values.readSync()]
      const expected = (rows: ArrayLike<number>, scales: readonly number[], width: number, first: number, count: number): number[] =>
        Array.from({ length: count * heads * width }, (_, i) => {
          const scale = scaled ? scales[Math.floor(i / width) % heads]! : 1
          return saturate(Math.fround(rows[first * heads * width + i]! / scale))
        })
      for (const [sequence, first, count] of [[a, 0, 7], [b, 7, 5]] as const) {
        expectSameBits(rowsOf(keys, sequence, heads * dim), expected(k!, keyScales, dim, first, count), 'keys')
        expectSameBits(rowsOf(values, sequence, heads * (dim + 2)), expected(v!, valueScales, dim + 2, first, count), 'values')
      }
      expect(cache.stats.bytesPerToken).toBe(heads * (2 * dim + 2))
    })

    it('copies a shared page when it is written', () => {
      using cache = makeKv(device)
      const a = cache.open()
      const rows = (newLen: number, width: number, seed: number): FloatTensor => Tensor.randn([1, newLen, heads, width], { seed, device })
      cache.append([a], rows(6, dim, 1), rows(6, dim + 2, 2))
      const before = rowsOf(cache.keys.readSync(), a, heads * dim)
      const fork = a.fork()
      cache.append([fork], rows(1, dim, 3), rows(1, dim + 2, 4))
      expectSameBits(rowsOf(cache.keys.readSync(), a, heads * dim), before)
      expectSameBits(rowsOf(cache.keys.readSync(), fork, heads * dim).slice(0, before.length), before)
    })

    it('keeps scales of its own', () => {
      const memory = Float32Array.of(2, 4, 8)
      const given = device === 'cpu' ? Tensor.wrap(memory, [3], 'float32') : Tensor.from(memory, [3], { device })
      using cache = new PagedKvCache({ numPages: 2, numKvHeads: heads, headDimQk: dim, dtype: 'float8_e4m3', device, keyScales: given })
      expect(Array.from(cache.keyScales!.readSync())).toEqual([2, 4, 8])
      memory.fill(1)
      given.dispose()
      expect(Array.from(cache.keyScales!.readSync())).toEqual([2, 4, 8])
      expect(cache.valueScales).toBeUndefined()
      cache.dispose()
      expect(cache.keyScales!.disposed).toBe(true)
    })

    it.each([[0, [NaN, 448, -448]], [NaN, [NaN, NaN, NaN]], [Infinity, [0, 0, -0]], [-2, [-0, -1, 1]]])('a scale of %d is used as it is', (scale, stored) => {
      using cache = new PagedKvCache({ numPages: 1, numKvHeads: 1, headDimQk: 3, dtype: 'float8_e4m3', device, keyScales: scalesTensor([scale], [1], device) })
      const row = tensorOf([0, 2, -2], [1, 1, 1, 3], 'float32', device)
      cache.append([cache.open()], row, row)
      expectSameBits(cache.keys.readSync().slice(0, 3), stored)
    })
  })
}

for (const device of latent.able) {
  describe(`MlaKvCache of float8_e4m3 on ${device}`, () => {
    const append = (cache: MlaKvCache, sequence: Sequence, ckv: FloatTensor, kPe: FloatTensor): void => cache.append([sequence], ckv, kPe)

    it.each(computeDTypes)('stores the 656 bytes that its definition says, of rows in %s', async (dtype) => {
      const random = new Random(2)
      using cache = makeMla(device)
      const [sequence, newLen] = [cache.open(), 7]
      const [ckv, kPe] = [latentDim, ropeDim].map((width) => roundAll(dtype, random.normals(newLen * width)))
      ckv!.fill(0, latentDim, latentDim + 128) // a group of zeros
      ckv!.fill(dtype === 'float16' ? 2 ** -24 : 2 ** -130, latentDim + 128, latentDim + 256) // of numbers near the smallest
      ckv![2 * latentDim + 5] = NaN
      ckv![3 * latentDim + 5] = -Infinity
      append(cache, sequence, tensorOf(ckv!, [1, newLen, latentDim], dtype, device), stridedView(kPe!, [1, newLen, ropeDim], dtype, device, { order: [2, 0, 1] }))
      expect([cache.latents.shape, cache.stats.bytesPerToken]).toEqual([[16, 4, 656], 656])
      const rows = rowsOf(await cache.latents.readBits(), sequence, 656)
      for (let i = 0; i < newLen; ++i) {
        const expected = storedLatent(ckv!.subarray(i * latentDim, (i + 1) * latentDim), kPe!.subarray(i * ropeDim, (i + 1) * ropeDim))
        const bytes = Uint8Array.from(rows.slice(i * 656, (i + 1) * 656))
        const codes = Tensor.fromBits(bytes.slice(0, 512), [512], { dtype: 'float8_e4m3' }).readSync()
        expectSameBits(codes, expected.codes, `codes of row ${i}`)
        expectSameBits(new Float32Array(bytes.buffer.slice(512, 528)), expected.scales, `scales of row ${i}`)
        const rope = Tensor.fromBits(new Uint16Array(bytes.buffer.slice(528)), [64], { dtype: 'bfloat16' }).readSync()
        expectSameBits(rope, expected.values.subarray(latentDim), `rope key of row ${i}`)
      }
      // NaN spoils its own place, an infinity its group.
      using numbers = gatherLatents(cache, sequence.pages, 2, 4, 'float32')
      const read = numbers.readSync()
      for (let d = 0; d < latentDim; ++d) expect([Number.isNaN(read[d]), Number.isNaN(read[576 + d])]).toEqual([d === 5, d < 128])
    })

    it.each(computeDTypes)('gives rows back as numbers in %s', (dtype) => {
      const random = new Random(3)
      using cache = makeMla(device)
      const [sequence, newLen] = [cache.open(), 11]
      const [ckv, kPe] = [latentDim, ropeDim].map((width) => roundAll('float32', random.normals(newLen * width)))
      append(cache, sequence, tensorOf(ckv!, [1, newLen, latentDim], 'float32', device), tensorOf(kPe!, [1, newLen, ropeDim], 'float32', device))
      using gathered = gatherLatents(cache, sequence.pages, 3, 10, dtype)
      expect([gathered.dtype, gathered.shape]).toEqual([dtype, [7, 576]])
      const expected = Array.from({ length: 7 }, (_, i) => {
        const { values } = storedLatent(ckv!.subarray((i + 3) * latentDim, (i + 4) * latentDim), kPe!.subarray((i + 3) * ropeDim, (i + 4) * ropeDim))
        return Array.from(roundAll(dtype, values.map(Math.fround)))
      }).flat()
      expectSameBits(gathered.readSync(), expected)
    })

    it('is as near to its rows as three bits of mantissa allow', () => {
      using cache = makeMla(device)
      const sequence = cache.open()
      const ckv = Tensor.randn([1, 9, latentDim], { seed: 4, device })
      append(cache, sequence, ckv, Tensor.randn([1, 9, ropeDim], { seed: 5, device }))
      using gathered = gatherLatents(cache, sequence.pages, 0, 9, 'float32')
      const [rows, numbers] = [ckv.readSync(), gathered.readSync()]
      rows.forEach((value, n) => {
        const error = Math.abs(numbers[Math.floor(n / latentDim) * 576 + (n % latentDim)]! - value)
        // Half a unit in the last place of normal numbers (2^-4), or of the smallest ones (2^-10 of a scale below 5 / 448).
        expect(error).toBeLessThanOrEqual(Math.max(Math.abs(value) / 16, (2 ** -10 * 5) / 448))
      })
    })

    it('forks, refuses what does not fit, and stays as it was then', () => {
      using cache = makeMla(device)
      const a = cache.open()
      append(cache, a, Tensor.randn([1, 6, latentDim], { seed: 6, device }), Tensor.randn([1, 6, ropeDim], { seed: 7, device }))
      const before = rowsOf(cache.latents.readSync(), a, 656)
      const fork = a.fork()
      append(cache, fork, Tensor.randn([1, 3, latentDim], { seed: 8, device }), Tensor.randn([1, 3, ropeDim], { seed: 9, device }))
      expectSameBits(rowsOf(cache.latents.readSync(), a, 656), before)
      const [narrow, keys] = [zeros([1, 2, 500], device), zeros([1, 2, ropeDim], device)]
      expectError(() => append(cache, a, narrow, keys),
        argumentError('ckv', 'kvLoraRank (axis 2) to be 512', '[1, 2, 500]', 'SHAPE_MISMATCH'))
      expect(a.length).toBe(6)
    })
  })
}

describe.each(testDevices)('caches of float8_e4m3 on %s', (device) => {
  const ones = Tensor.from([1, 1, 1], [3])
  type Options = Partial<ConstructorParameters<typeof PagedKvCache>[0]>
  it.each<[string, Options, ReturnType<typeof argumentError>]>([
    ['scales of float32', { dtype: 'float32', keyScales: ones }, argumentError('options.keyScales', "no scales where options.dtype is 'float32', not 'float8_e4m3'", 'a Tensor')],
    ['scales per sequence', { valueScales: Tensor.zeros([1, 3]) }, argumentError('options.valueScales', 'shape [numKvHeads] = [3]', '[1, 3]', 'SHAPE_MISMATCH')],
    ['scales for other heads', { keyScales: Tensor.zeros([4]) }, argumentError('options.keyScales', 'shape [numKvHeads] = [3]', '[4]', 'SHAPE_MISMATCH')],
    ['scales in bfloat16', { keyScales: Tensor.zeros([3], { dtype: 'bfloat16' }) as never }, argumentError('options.keyScales', 'dtype float32', 'bfloat16')],
    ['a number', { keyScales: 2 as never }, argumentError('options.keyScales', 'a Tensor', '2')],
  ])('%s are refused', (_, options, expected) => {
    expectError(() => new PagedKvCache({ numPages: 2, numKvHeads: 3, headDimQk: 8, dtype: 'float8_e4m3', device, ...options }), expected)
  })

  it('disposed scales, and rows that are codes already, are refused', () => {
    const gone = Tensor.zeros([3])
    gone.dispose()
    expect(() => new PagedKvCache({ numPages: 2, numKvHeads: 3, headDimQk: 8, dtype: 'float8_e4m3', device, keyScales: gone })).toThrow(/disposed/)
    using cache = new PagedKvCache({ numPages: 2, numKvHeads: 1, headDimQk: 8, dtype: 'float8_e4m3', device })
    const codes = Tensor.zeros([1, 1, 1, 8], { dtype: 'float8_e4m3', device })
    const sequence = cache.open()
    expectError(() => cache.append([sequence], codes, codes), argumentError('k', 'dtype float32, float16 or bfloat16', 'float8_e4m3'))
  })

  it.each([[512, 32], [256, 64], [4, 2]])('latents of %d + %d have no such rows', (kvLoraRank, qkRopeHeadDim) => {
    expectError(() => new MlaKvCache({ numPages: 2, kvLoraRank, qkRopeHeadDim, dtype: 'float8_e4m3', device }), argumentError(
      'options.dtype', "kvLoraRank 512 and qkRopeHeadDim 64 where dtype is 'float8_e4m3'", `kvLoraRank ${kvLoraRank} and qkRopeHeadDim ${qkRopeHeadDim}`, 'UNSUPPORTED'))
  })
})

for (const device of kv.refusing) {
  test(`PagedKvCache cannot quantise on ${device} yet: refused, and the cache is as it was`, () => {
    using cache = makeKv(device)
    const sequence = cache.open()
    expectRefusal(() => cache.append([sequence], zeros([1, 2, heads, dim], device), zeros([1, 2, heads, dim + 2], device)))
    expect([sequence.length, cache.stats.freePages]).toEqual([0, 16])
  })
}
for (const device of latent.refusing) {
  test(`MlaKvCache cannot quantise on ${device} yet: refused, and the cache is as it was`, () => {
    using cache = makeMla(device)
    const sequence = cache.open()
    expectRefusal(() => cache.append([sequence], zeros([1, 2, latentDim], device), zeros([1, 2, ropeDim], device)))
    expect([sequence.length, cache.stats.freePages]).toEqual([0, 16])
  })
}
