import { flashAttention, pagedAttention, PagedKvCache, Tensor } from '../../lib/index'
import { attention, type ReferenceOptions } from '../reference/attention'
import { roundAll } from '../reference/rounding'
import { expectSameBits } from '../support/compare'
import { computeDTypes } from '../support/devices'
import { argumentError, expectError } from '../support/errors'
import { devicesByKernels, expectRefusal, randomScales, scaledQueries, scalesTensor } from '../support/float8'
import { checkPaged, expectBitsOfEachAlone, pagedCase, queries, store, type PagedCase } from '../support/paged-attention'
import { plainAttention } from '../support/plain-attention'
import { Random } from '../support/random'
import { tensorOf } from '../support/tensors'
import { expectAsGoodAsPlain } from '../support/tolerance'

const base: PagedCase = { ...pagedCase, float8: 'scaled' }

const { able, refusing } = devicesByKernels((device) => {
  const stored = store(base, 'bfloat16', device, 70)
  return pagedAttention(queries(stored, base, 'bfloat16', device), stored.cache, stored.batch)
})

for (const device of able) {
  describe.each(computeDTypes)(`pagedAttention over float8_e4m3 on ${device}, queries in %s`, (dtype) => {
    const check = (overrides: Partial<PagedCase>): void => checkPaged({ ...base, ...overrides }, dtype, device)

    it.each([1, 4, 16, 64, 256])('page size %d: decoding, several queries, more queries than keys', (pageSize) => {
      check({ pageSize })
      check({ pageSize, qoLen: 4, float8: 'unscaled' })
      check({ pageSize, qoLen: 20, kvLens: [90, 20, 3] })
    })

    it.each([[[0]], [[0, 5, 0]], [[15, 16, 17]], [[1500, 2]]])('kvLens %j', (kvLens) => {
      check({ kvLens })
      check({ kvLens, qoLen: 3 })
    })

    it.each([[1, 1], [10, 2], [32, 8], [64, 8]])('%d query heads over %d kv heads', (numQoHeads, numKvHeads) => {
      check({ numQoHeads, numKvHeads, kvLens: [40, 90] })
      check({ numQoHeads, numKvHeads, kvLens: [40, 90], qoLen: 5 })
    })

    it.each([[59, 59], [64, 64], [111, 40], [128, 128], [256, 256]])('head dims %d and %d', (headDimQk, headDimVo) => {
      check({ headDimQk, headDimVo, kvLens: [40, 67] })
      check({ headDimQk, headDimVo, kvLens: [27], qoLen: 21 })
    })

    it.each<[ReferenceOptions]>([[{ causal: false, window: { left: 3, right: 1 } }], [{ logitSoftcap: 15, softmaxScale: 0.5 }], [{ sinks: [0, 2, -1, 0.5] }]])(
      'option %j', (options) => {
        check({ options })
        check({ options, qoLen: 20 })
      })
  })

  describe(`pagedAttention over float8_e4m3 on ${device}`, () => {
    it('gives the bits of flashAttention over the same codes and scales', () => {
      for (const qoLen of [1, 20]) {
        const c = { ...base, kvLens: [100], qoLen }
        const stored = store(c, 'bfloat16', device, 70)
        const q = queries(stored, c, 'bfloat16', device)
        const { keyScales, valueScales } = stored.cache
        const codes = (rows: ArrayLike<number>, scales: Tensor): Tensor<'float8_e4m3'> => {
          const read = scales.readSync()
          return tensorOf(roundAll('float8_e4m3', Array.from(rows, (value, i) => value / read[Math.floor(i / 32) % 2]!)), [1, 100, 2, 32], 'float8_e4m3', device)
        }
        const { k, v } = stored.arrays[0]!
        const dense = flashAttention(q, codes(k, keyScales!), codes(v, valueScales!), { causal: true, keyScales, valueScales })
        expectSameBits(pagedAttention(q, stored.cache, stored.batch).out.readSync(), dense.out.readSync(), `${qoLen} queries`)
      }
    })

    it('gives each sequence the bits that it has alone', () => {
      for (const qoLen of [1, 20]) {
        const c = { ...base, kvLens: [700, 3, 65], qoLen }
        const stored = store(c, 'bfloat16', device, 70)
        expectBitsOfEachAlone(c, stored, 'bfloat16', device)
      }
    })

    it.each([[3, 32, 'float32'], [70, 64, 'bfloat16'], [70, 256, 'bfloat16']] as const)('takes %d queries of %d features in float8_e4m3 with queryScales', (qoLen, dim, dtype) => {
      const c = { ...base, qoLen, headDimQk: dim, headDimVo: dim }
      const stored = store(c, 'float32', device, 70)
      const random = new Random(9)
      const qs = randomScales(2, random)
      const codes = stored.arrays.map(({ q }) => roundAll('float8_e4m3', q))
      const q = tensorOf(codes.flatMap((rows) => Array.from(rows)), [4, qoLen, 4, dim], 'float8_e4m3', device)
      const { out } = pagedAttention(q, stored.cache, stored.batch, { queryScales: scalesTensor(qs, [2], device), dtype })
      for (const [b, arrays] of stored.arrays.entries()) {
        const scaled = { ...arrays, q: scaledQueries(codes[b]!, qs, arrays) }
        const [expected, plain] = [attention(scaled, { causal: true }), plainAttention(scaled, { causal: true }, dtype)]
        expectAsGoodAsPlain(out.slice(0, b, b + 1).readSync(), expected.out, plain.out, { dtype }, `out of sequence ${b}`)
      }
    })

    it('plans for queries in bfloat16', () => {
      const stored = store({ ...base, kvLens: [4000] }, 'bfloat16', device, 70)
      const q = queries(stored, { ...base, kvLens: [4000] }, 'bfloat16', device)
      using plan = pagedAttention.plan(stored.cache, stored.batch, { qoLen: 1, numQoHeads: 4 })
      expect(plan.kernel).toMatch(/^attention_/)
      expectSameBits(pagedAttention(q, stored.cache, stored.batch, { plan }).out.readSync(), pagedAttention(q, stored.cache, stored.batch).out.readSync())
    })

    it('has its scales in the cache: those of a call are unknown options', () => {
      const stored = store(base, 'float32', device, 70)
      const q = queries(stored, base, 'float32', device)
      const options = { keyScales: scalesTensor([1, 1], [2], device) } as object
      expectError(() => pagedAttention(q, stored.cache, stored.batch, options), argumentError(
        'options', 'options among causal, window, softmaxScale, logitSoftcap, alibiSlopes, sinks, returnLse, out, queryScales, dtype, plan',
        "unknown option 'keyScales'"))
    })
  })
}

for (const device of refusing) {
  test(`pagedAttention over float8_e4m3 has no kernel on ${device} yet: refused, row by row`, () => {
    const stored = new PagedKvCache({ numPages: 4, numKvHeads: 2, headDimQk: 64, dtype: 'float8_e4m3', device })
    using batch = stored.batch([stored.open()])
    for (const qoLen of [1, 100]) expectRefusal(() => pagedAttention(Tensor.zeros([1, qoLen, 4, 64], { dtype: 'bfloat16', device }), stored, batch))
    expectRefusal(() => pagedAttention.plan(stored, batch, { qoLen: 1, numQoHeads: 4 }))
  })
}
