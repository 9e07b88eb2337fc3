import { flashAttention, pagedAttention, PagedKvCache, Tensor, type DeviceId, type PageBatch, type Sequence } from '../../lib/index'
import { attention, type AttentionArrays, type ReferenceOptions } from '../reference/attention'
import { roundAll } from '../reference/rounding'
import { attentionCase, makeArrays } from '../support/attention-cases'
import { expectSameBits } from '../support/compare'
import { computeDTypes, type ComputeDType } from '../support/devices'
import { argumentError, expectError } from '../support/errors'
import { devicesByKernels, expectRefusal, randomScales, saturate, scaledQueries, scalesTensor } from '../support/float8'
import { storeInTurns } from '../support/paged-sequences'
import { plainAttention } from '../support/plain-attention'
import { Random } from '../support/random'
import { callOptions } from '../support/run-attention'
import { tensorOf } from '../support/tensors'
import { expectAsGoodAsPlain, expectLseAsGoodAsPlain, plainFactor, softcapFactor } from '../support/tolerance'

interface PagedCase {
  readonly kvLens: readonly number[]
  readonly qoLen: number
  readonly pageSize: number
  readonly numQoHeads: number
  readonly numKvHeads: number
  readonly headDimQk: number
  readonly headDimVo: number
  readonly scaled: boolean
  readonly options: ReferenceOptions
}
const base: PagedCase = {
  kvLens: [33, 1, 130, 64], qoLen: 1, pageSize: 16, numQoHeads: 4, numKvHeads: 2, headDimQk: 32, headDimVo: 32, scaled: true, options: {},
}

interface Stored {
  readonly cache: PagedKvCache
  readonly batch: PageBatch
  readonly sequences: readonly Sequence[]
  /** With the numbers that the cache's rows stand for. */
  readonly arrays: readonly AttentionArrays[]
}

/** Rows of `dtype` stored in pages of float8_e4m3 that were full of NaN. */
function store(c: PagedCase, dtype: ComputeDType, device: DeviceId): Stored {
  const { kvLens, qoLen, pageSize, numQoHeads, numKvHeads, headDimQk, headDimVo, scaled } = c
  const random = new Random(7)
  const [ks, vs] = [randomScales(numKvHeads, random), randomScales(numKvHeads, random)]
  const pages = kvLens.reduce((sum, len) => sum + Math.ceil(len / pageSize), 0)
  const cache = new PagedKvCache({
    numPages: 3 * pages + 1, pageSize, numKvHeads, headDimQk, headDimVo, dtype: 'float8_e4m3', device,
    ...(scaled && { keyScales: scalesTensor(ks, [numKvHeads], device), valueScales: scalesTensor(vs, [numKvHeads], device) }),
  })
  const arrays = kvLens.map((kvLen, b) => makeArrays({ ...attentionCase({}), qoLen, kvLen, numQoHeads, numKvHeads, headDimQk, headDimVo }, dtype, 70 + b))
  const sequences = storeInTurns(
    cache, kvLens, (b) => [{ values: arrays[b]!.k, row: [numKvHeads, headDimQk] }, { values: arrays[b]!.v, row: [numKvHeads, headDimVo] }],
    pageSize, dtype, device, random,
  )
  const kept = (rows: Float64Array, scales: Float64Array, dim: number): Float64Array => rows.map((value, i) => {
    const scale = scaled ? scales[Math.floor(i / dim) % numKvHeads]! : 1
    return saturate(Math.fround(value / scale)) * scale
  })
  return { cache, sequences, batch: cache.batch(sequences), arrays: arrays.map((a) => ({ ...a, k: kept(a.k, ks, headDimQk), v: kept(a.v, vs, headDimVo) })) }
}

function queries({ arrays }: Stored, c: PagedCase, dtype: ComputeDType, device: DeviceId): Tensor<ComputeDType> {
  return tensorOf(arrays.flatMap(({ q }) => Array.from(q)), [c.kvLens.length, c.qoLen, c.numQoHeads, c.headDimQk], dtype, device)
}

/** Elements of float8_e4m3 are exact in every compute dtype and their scales one factor of float32: no more is allowed than for a cache of q's dtype. */
function check(overrides: Partial<PagedCase>, dtype: ComputeDType, device: DeviceId): void {
  const c = { ...base, ...overrides }
  const stored = store(c, dtype, device)
  const { out, lse } = pagedAttention(queries(stored, c, dtype, device), stored.cache, stored.batch, callOptions(c.options, c.kvLens.length, c.numQoHeads, device))
  expect([out.shape, out.dtype]).toEqual([[c.kvLens.length, c.qoLen, c.numQoHeads, c.headDimVo], dtype])
  const factor = c.options.logitSoftcap ? softcapFactor : plainFactor
  for (const [b, arrays] of stored.arrays.entries()) {
    const options = { causal: true, ...c.options }
    const [expected, plain] = [attention(arrays, options), plainAttention(arrays, options, dtype)]
    expectAsGoodAsPlain(out.slice(0, b, b + 1).readSync(), expected.out, plain.out, { dtype, factor }, `out of sequence ${b}`)
    expectLseAsGoodAsPlain(lse.slice(0, b, b + 1).readSync(), expected.lse, plain.lse, factor)
  }
  stored.batch[Symbol.dispose]()
  stored.cache.dispose()
}

const { able, refusing } = devicesByKernels((device) => {
  const stored = store(base, 'bfloat16', device)
  return pagedAttention(queries(stored, base, 'bfloat16', device), stored.cache, stored.batch)
})

for (const device of able) {
  describe.each(computeDTypes)(`pagedAttention over float8_e4m3 on ${device}, queries in %s`, (dtype) => {
    it.each([1, 4, 16, 64, 256])('page size %d: decoding, several queries, more queries than keys', (pageSize) => {
      check({ pageSize }, dtype, device)
      check({ pageSize, qoLen: 4, scaled: false }, dtype, device)
      check({ pageSize, qoLen: 20, kvLens: [90, 20, 3] }, dtype, device)
    })

    it.each([[[0]], [[0, 5, 0]], [[15, 16, 17]], [[1500, 2]]])('kvLens %j', (kvLens) => {
      check({ kvLens }, dtype, device)
      check({ kvLens, qoLen: 3 }, dtype, device)
    })

    it.each([[1, 1], [10, 2], [32, 8], [64, 8]])('%d query heads over %d kv heads', (numQoHeads, numKvHeads) => {
      check({ numQoHeads, numKvHeads, kvLens: [40, 90] }, dtype, device)
      check({ numQoHeads, numKvHeads, kvLens: [40, 90], qoLen: 5 }, dtype, device)
    })

    it.each([[59, 59], [64, 64], [111, 40], [128, 128], [256, 256]])('head dims %d and %d', (headDimQk, headDimVo) => {
      check({ headDimQk, headDimVo, kvLens: [40, 67] }, dtype, device)
      check({ headDimQk, headDimVo, kvLens: [27], qoLen: 21 }, dtype, device)
    })

    it.each<[ReferenceOptions]>([[{ causal: false, window: { left: 3, right: 1 } }], [{ logitSoftcap: 15, softmaxScale: 0.5 }], [{ sinks: [0, 2, -1, 0.5] }]])(
      'option %j', (options) => {
        check({ options }, dtype, device)
        check({ options, qoLen: 20 }, dtype, device)
      })
  })

  describe(`pagedAttention over float8_e4m3 on ${device}`, () => {
    it('gives the bits of flashAttention over the same codes and scales', () => {
      for (const qoLen of [1, 20]) {
        const c = { ...base, kvLens: [100], qoLen }
        const stored = store(c, 'bfloat16', device)
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
        const stored = store(c, 'bfloat16', device)
        const q = queries(stored, c, 'bfloat16', device)
        const whole = pagedAttention(q, stored.cache, stored.batch).out
        for (const [b, sequence] of stored.sequences.entries()) {
          using batch = stored.cache.batch([sequence])
          const alone = pagedAttention(q.slice(0, b, b + 1), stored.cache, batch).out
          expectSameBits(alone.readSync(), whole.slice(0, b, b + 1).readSync(), `sequence ${b}`)
        }
      }
    })

    it.each([[3, 32, 'float32'], [70, 64, 'bfloat16'], [70, 256, 'bfloat16']] as const)('takes %d queries of %d features in float8_e4m3 with queryScales', (qoLen, dim, dtype) => {
      const c = { ...base, qoLen, headDimQk: dim, headDimVo: dim }
      const stored = store(c, 'float32', device)
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
      const stored = store({ ...base, kvLens: [4000] }, 'bfloat16', device)
      const q = queries(stored, { ...base, kvLens: [4000] }, 'bfloat16', device)
      using plan = pagedAttention.plan(stored.cache, stored.batch, { qoLen: 1, numQoHeads: 4 })
      expect(plan.kernel).toMatch(/^attention_/)
      expectSameBits(pagedAttention(q, stored.cache, stored.batch, { plan }).out.readSync(), pagedAttention(q, stored.cache, stored.batch).out.readSync())
    })

    it('has its scales in the cache: those of a call are unknown options', () => {
      const stored = store(base, 'float32', device)
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
