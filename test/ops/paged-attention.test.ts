import { flashAttention, pagedAttention, PagedKvCache, type DeviceId, type PageBatch, type Sequence } from '../../lib/index'
import { attention, type ReferenceOptions } from '../reference/attention'
import { attentionCase, makeArrays, type RandomArrays } from '../support/attention-cases'
import { expectSameBits } from '../support/compare'
import { devicesAndDTypes, testDevices, type ComputeDType } from '../support/devices'
import { storeInTurns } from '../support/paged-sequences'
import { plainAttention } from '../support/plain-attention'
import { Random } from '../support/random'
import { callOptions } from '../support/run-attention'
import { poison, tensorOf } from '../support/tensors'
import { expectAsGoodAsPlain, expectLseAsGoodAsPlain, plainFactor, softcapFactor } from '../support/tolerance'

interface PagedCase {
  readonly kvLens: readonly number[]
  readonly qoLen: number
  readonly pageSize: number
  readonly numQoHeads: number
  readonly numKvHeads: number
  readonly headDimQk: number
  readonly headDimVo: number
  readonly options: ReferenceOptions
}
const base: PagedCase = { kvLens: [33, 1, 130, 64], qoLen: 1, pageSize: 16, numQoHeads: 4, numKvHeads: 2, headDimQk: 32, headDimVo: 32, options: {} }

interface Stored {
  readonly cache: PagedKvCache
  readonly sequences: readonly Sequence[]
  readonly batch: PageBatch
  readonly arrays: readonly RandomArrays[]
}

/** A cache three times as large as needed and full of NaN, with the sequences of the case in mixed-up pages. */
function store(c: PagedCase, dtype: ComputeDType, device: DeviceId, seed: number): Stored {
  const { kvLens, qoLen, pageSize, numQoHeads, numKvHeads, headDimQk, headDimVo } = c
  const pages = kvLens.reduce((sum, len) => sum + Math.ceil(len / pageSize), 0)
  const cache = new PagedKvCache({ numPages: 3 * pages + 1, pageSize, numKvHeads, headDimQk, headDimVo, dtype, device })
  poison(cache.keys)
  poison(cache.values)
  const arrays = kvLens.map((kvLen, b) => makeArrays({ ...attentionCase({}), qoLen, kvLen, numQoHeads, numKvHeads, headDimQk, headDimVo }, dtype, seed + b))
  const sequences = storeInTurns(
    cache, kvLens, (b) => [{ values: arrays[b]!.k, row: [numKvHeads, headDimQk] }, { values: arrays[b]!.v, row: [numKvHeads, headDimVo] }],
    pageSize, dtype, device, new Random(seed),
  )
  return { cache, sequences, batch: cache.batch(sequences), arrays }
}

function queries(stored: Stored, c: PagedCase, dtype: ComputeDType, device: DeviceId): ReturnType<typeof tensorOf> {
  const rows = stored.arrays.flatMap((arrays) => Array.from(arrays.q))
  return tensorOf(rows, [c.kvLens.length, c.qoLen, c.numQoHeads, c.headDimQk], dtype, device)
}

function check(overrides: Partial<PagedCase>, dtype: ComputeDType, device: DeviceId): void {
  const c = { ...base, ...overrides }
  const stored = store(c, dtype, device, 80)
  const { out, lse } = pagedAttention(queries(stored, c, dtype, device), stored.cache, stored.batch, callOptions(c.options, c.kvLens.length, c.numQoHeads, device))
  expect(out.shape).toEqual([c.kvLens.length, c.qoLen, c.numQoHeads, c.headDimVo])
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

describe.each(devicesAndDTypes)('pagedAttention on %s in %s', (device, dtype) => {
  it.each([1, 2, 4, 16, 64, 128, 256])('page size %d: decoding, several queries, more queries than keys', (pageSize) => {
    check({ pageSize }, dtype, device)
    check({ pageSize, qoLen: 4 }, dtype, device)
    check({ pageSize, qoLen: 20, kvLens: [300, 20, 3] }, dtype, device)
  })

  it.each([[[0]], [[0, 5, 0]], [[15, 16, 17]], [[1, 1, 1, 1, 1, 1, 1, 1, 1]], [[1500, 2]]])('kvLens %j', (kvLens) => {
    check({ kvLens }, dtype, device)
    check({ kvLens, qoLen: 3 }, dtype, device)
  })

  it.each([[1, 1], [3, 1], [8, 1], [10, 2], [12, 4], [32, 8]])('%d query heads over %d kv heads', (numQoHeads, numKvHeads) => {
    check({ numQoHeads, numKvHeads }, dtype, device)
    check({ numQoHeads, numKvHeads, qoLen: 5 }, dtype, device)
  })

  it.each([[1, 1], [59, 59], [64, 64], [111, 40], [128, 128], [192, 128], [256, 256]])('head dims %d and %d', (headDimQk, headDimVo) => {
    check({ headDimQk, headDimVo, kvLens: [40, 67] }, dtype, device)
    check({ headDimQk, headDimVo, kvLens: [40, 67], qoLen: 21 }, dtype, device)
  })

  it.each<[ReferenceOptions]>([
    [{ causal: false }], [{ window: { left: 10 } }], [{ causal: false, window: { left: 3, right: 1 } }], [{ logitSoftcap: 15, softmaxScale: 0.5 }],
    [{ sinks: [0, 2, -1, 0.5] }], [{ alibiSlopes: [0.5, 0.25, 0.125, 0.0625] }],
  ])('option %j', (options) => {
    check({ options }, dtype, device)
    check({ options, qoLen: 6 }, dtype, device)
  })
})

describe.each(testDevices)('pagedAttention on %s', (device) => {
  it('gives the bits of flashAttention over the same rows', () => {
    const c = { ...base, kvLens: [100], qoLen: 7 }
    const stored = store(c, 'float32', device, 90)
    const paged = pagedAttention(queries(stored, c, 'float32', device), stored.cache, stored.batch)
    const { k, v } = stored.arrays[0]!
    const [keys, values] = [k, v].map((rows) => tensorOf(rows, [1, 100, 2, 32], 'float32', device))
    const dense = flashAttention(queries(stored, c, 'float32', device), keys!, values!, { causal: true })
    expectSameBits(paged.out.readSync(), dense.out.readSync())
  })

  it('gives each sequence the same bits alone, in any batch, in any order, and over whatever pages', () => {
    const c = { ...base, kvLens: [700, 3, 65] }
    const stored = store(c, 'float32', device, 91)
    const elsewhere = store({ ...c, pageSize: 4 }, 'float32', device, 91)
    const q = queries(stored, c, 'float32', device)
    const whole = pagedAttention(q, stored.cache, stored.batch).out
    expectSameBits(pagedAttention(q, elsewhere.cache, elsewhere.batch).out.readSync(), whole.readSync())
    for (const [b, sequence] of stored.sequences.entries()) {
      using batch = stored.cache.batch([sequence])
      expectSameBits(pagedAttention(q.slice(0, b, b + 1), stored.cache, batch).out.readSync(), whole.slice(0, b, b + 1).readSync(), `sequence ${b}`)
    }
  })

  it('shares the pages of forks', () => {
    const c = { ...base, kvLens: [40] }
    const stored = store(c, 'float32', device, 92)
    const fork = stored.sequences[0]!.fork()
    using both = stored.cache.batch([stored.sequences[0]!, fork, fork])
    const q = queries(stored, c, 'float32', device)
    const three = tensorOf([...q.readSync(), ...q.readSync(), ...q.readSync()], [3, 1, 4, 32], 'float32', device)
    const out = pagedAttention(three, stored.cache, both).out
    const single = pagedAttention(q, stored.cache, stored.batch).out.readSync()
    for (let b = 0; b < 3; ++b) expectSameBits(out.slice(0, b, b + 1).readSync(), single)
  })

  it('answers a batch whose sequences were closed since: memory stays, contents may be those of others', () => {
    const c = { ...base, kvLens: [40, 20] }
    const stored = store(c, 'float32', device, 93)
    for (const sequence of stored.sequences) sequence.close()
    const out = pagedAttention(queries(stored, c, 'float32', device), stored.cache, stored.batch).out
    expect(out.readSync()).toHaveLength(2 * 4 * 32)
  })

  it('plans: the kernel that runs, its splits and workspace, and the same bits with the plan', () => {
    const c = { ...base, kvLens: [4000, 10] }
    // The kernels that split keys on CUDA are those of tensor cores.
    const dtype = device === 'cpu' ? 'float32' : 'float16'
    const stored = store(c, dtype, device, 94)
    const q = queries(stored, c, dtype, device)
    using plan = pagedAttention.plan(stored.cache, stored.batch, { qoLen: 1, numQoHeads: 4 })
    expect(plan.kernel).toMatch(/^attention_/)
    expect(plan.numSplits).toBeGreaterThan(1)
    expect(plan.workspaceBytes).toBeGreaterThan(0)
    const planned = pagedAttention(q, stored.cache, stored.batch, { plan }).out.readSync()
    expectSameBits(planned, pagedAttention(q, stored.cache, stored.batch).out.readSync())
  })

  it('takes queries of another dtype than the cache', () => {
    const stored = store(base, 'bfloat16', device, 95)
    const q = queries(stored, base, 'float32', device)
    const { out } = pagedAttention(q, stored.cache, stored.batch)
    expect(out.dtype).toBe('float32')
    for (const [b, arrays] of stored.arrays.entries()) {
      const [expected, plain] = [attention(arrays, { causal: true }), plainAttention(arrays, { causal: true }, 'float32')]
      expectAsGoodAsPlain(out.slice(0, b, b + 1).readSync(), expected.out, plain.out, { dtype: 'float32' })
    }
  })
})
