import { MlaKvCache, Tensor, type FloatDType, type FloatTensor, type Sequence } from '../../lib/index'
import { gatherLatents } from '../../lib/cache/mla-kv-cache'
import { roundTo } from '../reference/rounding'
import { computeDTypes, testDevices } from '../support/devices'
import { disposeLater } from '../support/disposal'
import { argumentError, expectError } from '../support/errors'
import { Random } from '../support/random'
import { poison } from '../support/tensors'

const kvLoraRank = 4
const qkRopeHeadDim = 2
const width = kvLoraRank + qkRopeHeadDim

describe.each(testDevices)('MlaKvCache on %s', (device) => {
  const make = (dtype: FloatDType = 'float32', pageSize = 4): MlaKvCache => {
    const cache = new MlaKvCache({ numPages: 32 / pageSize, pageSize, kvLoraRank, qkRopeHeadDim, dtype, device })
    poison(cache.latents)
    return cache
  }
  const random = new Random(3)
  const rows = (batch: number, newLen: number, dim: number): { values: Float64Array; tensor: FloatTensor } => {
    const values = random.normals(batch * newLen * dim).map(Math.fround)
    return { values, tensor: disposeLater(Tensor.from(values, [batch, newLen, dim], { device })) }
  }
  const joined = (ckv: ArrayLike<number>, kPe: ArrayLike<number>, row: number): number[] => [
    ...Array.from({ length: kvLoraRank }, (_, d) => ckv[row * kvLoraRank + d]!),
    ...Array.from({ length: qkRopeHeadDim }, (_, d) => kPe[row * qkRopeHeadDim + d]!),
  ]
  const gathered = (cache: MlaKvCache, { pages, length }: Sequence, begin = 0, end = length): number[] => {
    using tensor = gatherLatents(cache, pages, begin, end, 'float32')
    return [...tensor.readSync()]
  }

  it.each(computeDTypes.flatMap((dtype) => [1, 4, 16].map((pageSize) => [dtype, pageSize] as const)))(
    'keeps [latent | rope key] rows in %s, pages of %i',
    (dtype, pageSize) => {
      using cache = make(dtype, pageSize)
      const [a, b] = [cache.open(), cache.open()]
      const [ckv, kPe] = [rows(2, 7, kvLoraRank), rows(2, 7, qkRopeHeadDim)]
      cache.append([a, b], ckv.tensor, kPe.tensor, { lens: [7, 3] })
      const expected = (first: number, count: number): number[] =>
        Array.from({ length: count }, (_, i) => joined(ckv.values, kPe.values, first + i)).flat().map((value) => roundTo(dtype, value))
      expect(gathered(cache, a)).toEqual(expected(0, 7))
      expect(gathered(cache, b)).toEqual(expected(7, 3))
      expect(gathered(cache, a, 2, 5)).toEqual(expected(2, 3))
      expect(cache.stats.bytesPerToken).toBe(width * (dtype === 'float32' ? 4 : 2))
    },
  )

  it('copies a shared page when it is written', () => {
    using cache = make()
    const a = cache.open()
    const [ckv, kPe] = [rows(1, 6, kvLoraRank), rows(1, 6, qkRopeHeadDim)]
    cache.append([a], ckv.tensor, kPe.tensor)
    const before = gathered(cache, a)
    const b = a.fork()
    const [more, morePe] = [rows(1, 1, kvLoraRank), rows(1, 1, qkRopeHeadDim)]
    cache.append([b], more.tensor, morePe.tensor)
    expect(gathered(cache, a)).toEqual(before)
    expect(gathered(cache, b)).toEqual([...before, ...joined(more.values, morePe.values, 0)])
  })

  it('takes the parts as slices of one projection', () => {
    using cache = make()
    const a = cache.open()
    const both = rows(1, 3, width)
    using ckv = both.tensor.slice(2, 0, kvLoraRank)
    using kPe = both.tensor.slice(2, kvLoraRank, width)
    cache.append([a], ckv, kPe)
    expect(gathered(cache, a)).toEqual([...both.values])
  })

  it('refuses rows of another shape and changes nothing', () => {
    using cache = make()
    const a = cache.open()
    using ckv = Tensor.zeros([1, 2, kvLoraRank], { device })
    using kPe = Tensor.zeros([1, 2, qkRopeHeadDim], { device })
    using short = Tensor.zeros([1, 1, qkRopeHeadDim], { device })
    using flat = Tensor.zeros([2, qkRopeHeadDim], { device })
    const error = (argument: string, expected: string, received: string) => argumentError(argument, expected, received, 'SHAPE_MISMATCH')
    expectError(() => cache.append([a], kPe, kPe), error('ckv', 'kvLoraRank (axis 2) to be 4', '[1, 2, 2]'))
    expectError(() => cache.append([a], ckv, ckv), error('kPe', 'qkRopeHeadDim (axis 2) to be 2', '[1, 2, 4]'))
    expectError(() => cache.append([a], ckv, short), error('kPe', 'newLen (axis 1) to be 2 as in ckv', '[1, 1, 2]'))
    expectError(() => cache.append([a], ckv, flat), error('kPe', 'shape [batch, newLen, qkRopeHeadDim]', '[2, 2]'))
    expect([a.length, a.pages, cache.stats.freePages]).toEqual([0, [], 8])
  })

  it.each([
    [{ kvLoraRank: 0 }, argumentError('options.kvLoraRank', 'an integer from 1 to 1073741824', '0')],
    [{ qkRopeHeadDim: 2.5 }, argumentError('options.qkRopeHeadDim', 'an integer from 1 to 1073741824', '2.5')],
    [{ headDim: 4 }, argumentError('options', 'options among numPages, pageSize, kvLoraRank, qkRopeHeadDim, dtype, device', "unknown option 'headDim'")],
  ])('options %j are refused', (options, expected) => {
    expectError(() => new MlaKvCache({ numPages: 8, kvLoraRank, qkRopeHeadDim, device, ...options }), expected)
  })

  it('has pages of 64 by default', () => {
    using cache = new MlaKvCache({ numPages: 1, kvLoraRank, qkRopeHeadDim, device })
    expect(cache.latents.shape).toEqual([1, 64, width])
  })
})
