import { flashAttention, pagedAttention } from '../../lib/index'
import { attention, type ReferenceOptions } from '../reference/attention'
import { expectSameBits } from '../support/compare'
import { devicesAndDTypes, testDevices } from '../support/devices'
import { checkPaged, expectBitsOfEachAlone, pagedCase, queries, store, type PagedCase } from '../support/paged-attention'
import { plainAttention } from '../support/plain-attention'
import { tensorOf } from '../support/tensors'
import { expectAsGoodAsPlain } from '../support/tolerance'

describe.each(devicesAndDTypes)('pagedAttention on %s in %s', (device, dtype) => {
  const check = (overrides: Partial<PagedCase>): void => checkPaged({ ...pagedCase, ...overrides }, dtype, device)

  it.each([1, 2, 4, 16, 64, 128, 256])('page size %d: decoding, several queries, more queries than keys', (pageSize) => {
    check({ pageSize })
    check({ pageSize, qoLen: 4 })
    check({ pageSize, qoLen: 20, kvLens: [300, 20, 3] })
  })

  it.each([[[0]], [[0, 5, 0]], [[15, 16, 17]], [[1, 1, 1, 1, 1, 1, 1, 1, 1]], [[1500, 2]]])('kvLens %j', (kvLens) => {
    check({ kvLens })
    check({ kvLens, qoLen: 3 })
  })

  it.each([[1, 1], [3, 1], [8, 1], [10, 2], [12, 4], [32, 8]])('%d query heads over %d kv heads', (numQoHeads, numKvHeads) => {
    check({ numQoHeads, numKvHeads })
    check({ numQoHeads, numKvHeads, qoLen: 5 })
  })

  it.each([[1, 1], [59, 59], [64, 64], [111, 40], [128, 128], [192, 128], [256, 256]])('head dims %d and %d', (headDimQk, headDimVo) => {
    check({ headDimQk, headDimVo, kvLens: [40, 67] })
    check({ headDimQk, headDimVo, kvLens: [40, 67], qoLen: 21 })
  })

  it.each<[ReferenceOptions]>([
    [{ causal: false }], [{ window: { left: 10 } }], [{ causal: false, window: { left: 3, right: 1 } }], [{ logitSoftcap: 15, softmaxScale: 0.5 }],
    [{ sinks: [0, 2, -1, 0.5] }], [{ alibiSlopes: [0.5, 0.25, 0.125, 0.0625] }],
  ])('option %j', (options) => {
    check({ options })
    check({ options, qoLen: 6 })
  })
})

describe.each(testDevices)('pagedAttention on %s', (device) => {
  it('gives the bits of flashAttention over the same rows', () => {
    const c = { ...pagedCase, kvLens: [100], qoLen: 7 }
    const stored = store(c, 'float32', device, 90)
    const paged = pagedAttention(queries(stored, c, 'float32', device), stored.cache, stored.batch)
    const { k, v } = stored.arrays[0]!
    const [keys, values] = [k, v].map((rows) => tensorOf(rows, [1, 100, 2, 32], 'float32', device))
    const dense = flashAttention(queries(stored, c, 'float32', device), keys!, values!, { causal: true })
    expectSameBits(paged.out.readSync(), dense.out.readSync())
  })

  it('gives each sequence the same bits alone, in any batch, in any order, and over whatever pages', () => {
    const c = { ...pagedCase, kvLens: [700, 3, 65] }
    const stored = store(c, 'float32', device, 91)
    const elsewhere = store({ ...c, pageSize: 4 }, 'float32', device, 91)
    const q = queries(stored, c, 'float32', device)
    const whole = pagedAttention(q, stored.cache, stored.batch).out
    expectSameBits(pagedAttention(q, elsewhere.cache, elsewhere.batch).out.readSync(), whole.readSync())
    expectBitsOfEachAlone(c, stored, 'float32', device)
  })

  it('shares the pages of forks', () => {
    const c = { ...pagedCase, kvLens: [40] }
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
    const c = { ...pagedCase, kvLens: [40, 20] }
    const stored = store(c, 'float32', device, 93)
    for (const sequence of stored.sequences) sequence.close()
    const out = pagedAttention(queries(stored, c, 'float32', device), stored.cache, stored.batch).out
    expect(out.readSync()).toHaveLength(2 * 4 * 32)
  })

  it('plans: the kernel that runs, its splits and workspace, and the same bits with the plan', () => {
    const c = { ...pagedCase, kvLens: [4000, 10] }
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
    const stored = store(pagedCase, 'bfloat16', device, 95)
    const q = queries(stored, pagedCase, 'float32', device)
    const { out } = pagedAttention(q, stored.cache, stored.batch)
    expect(out.dtype).toBe('float32')
    for (const [b, arrays] of stored.arrays.entries()) {
      const [expected, plain] = [attention(arrays, { causal: true }), plainAttention(arrays, { causal: true }, 'float32')]
      expectAsGoodAsPlain(out.slice(0, b, b + 1).readSync(), expected.out, plain.out, { dtype: 'float32' })
    }
  })
})
