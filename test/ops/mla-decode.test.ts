import { mlaDecode, MlaKvCache, type DeviceId, type FloatTensor, type PageBatch } from '../../lib/index'
import type { AttentionArrays } from '../reference/attention'
import { joinRows, mlaDecode as referenceMlaDecode } from '../reference/mla-decode'
import { roundAll } from '../reference/rounding'
import { expectSameBits } from '../support/compare'
import { devicesAndDTypes, testDevices, type ComputeDType } from '../support/devices'
import { storeInTurns } from '../support/paged-sequences'
import { plainAttention } from '../support/plain-attention'
import { Random } from '../support/random'
import { poison, tensorOf } from '../support/tensors'
import { expectAsGoodAsPlain, expectLseAsGoodAsPlain } from '../support/tolerance'

interface MlaCase {
  readonly kvLens: readonly number[]
  readonly qoLen: number
  readonly pageSize: number
  readonly numHeads: number
  readonly kvLoraRank: number
  readonly qkRopeHeadDim: number
}
const base: MlaCase = { kvLens: [33, 1, 130], qoLen: 1, pageSize: 64, numHeads: 5, kvLoraRank: 32, qkRopeHeadDim: 16 }

interface Stored {
  readonly cache: MlaKvCache
  readonly batch: PageBatch
  readonly qNope: FloatTensor
  readonly qPe: FloatTensor
  readonly sequences: readonly { readonly qNope: Float64Array; readonly qPe: Float64Array; readonly latents: Float64Array }[]
}

function store(c: MlaCase, dtype: ComputeDType, device: DeviceId, seed: number): Stored {
  const { kvLens, qoLen, pageSize, numHeads, kvLoraRank, qkRopeHeadDim } = c
  const random = new Random(seed)
  const pages = kvLens.reduce((sum, len) => sum + Math.ceil(len / pageSize), 0)
  const cache = new MlaKvCache({ numPages: 3 * pages + 1, pageSize, kvLoraRank, qkRopeHeadDim, dtype, device })
  poison(cache.latents)
  const parts = kvLens.map((len) => ({
    ckv: roundAll(dtype, random.normals(len * kvLoraRank)), kPe: roundAll(dtype, random.normals(len * qkRopeHeadDim)),
    qNope: roundAll(dtype, random.normals(qoLen * numHeads * kvLoraRank)), qPe: roundAll(dtype, random.normals(qoLen * numHeads * qkRopeHeadDim)),
  }))
  const sequences = storeInTurns(
    cache, kvLens, (b) => [{ values: parts[b]!.ckv, row: [kvLoraRank] }, { values: parts[b]!.kPe, row: [qkRopeHeadDim] }], pageSize, dtype, device, random,
  )
  const all = (key: 'qNope' | 'qPe'): number[] => parts.flatMap((part) => Array.from(part[key]))
  return {
    cache,
    batch: cache.batch(sequences),
    qNope: tensorOf(all('qNope'), [kvLens.length, qoLen, numHeads, kvLoraRank], dtype, device),
    qPe: tensorOf(all('qPe'), [kvLens.length, qoLen, numHeads, qkRopeHeadDim], dtype, device),
    sequences: parts.map(({ qNope, qPe, ckv, kPe }) => ({ qNope, qPe, latents: joinRows(ckv, kvLoraRank, kPe, qkRopeHeadDim) })),
  }
}

function check(overrides: Partial<MlaCase>, dtype: ComputeDType, device: DeviceId, causal = true): void {
  const c = { ...base, ...overrides }
  const stored = store(c, dtype, device, 100)
  // Not of the absorbed width: as a model with 24 nope features would have it.
  const softmaxScale = 1 / Math.sqrt(24 + c.qkRopeHeadDim)
  const { out, lse } = mlaDecode(stored.qNope, stored.qPe, stored.cache, stored.batch, { softmaxScale, causal, returnLse: true })
  expect([out.shape, out.dtype]).toEqual([[c.kvLens.length, c.qoLen, c.numHeads, c.kvLoraRank], dtype])
  expect(lse.shape).toEqual([c.kvLens.length, c.numHeads, c.qoLen])
  for (const [b, { qNope, qPe, latents }] of stored.sequences.entries()) {
    const dims = { ...c, batch: 1, kvLen: c.kvLens[b]! }
    const expected = referenceMlaDecode(qNope, qPe, latents, dims, { softmaxScale, causal })
    const plain = plainAttention(asMqa(qNope, qPe, latents, dims), { softmaxScale, causal }, dtype)
    expectAsGoodAsPlain(out.slice(0, b, b + 1).readSync(), expected.out, plain.out, { dtype }, `out of sequence ${b}`)
    expectLseAsGoodAsPlain(lse.slice(0, b, b + 1).readSync(), expected.lse, plain.lse)
  }
  stored.cache.dispose()
}

/** The problem that the plain implementation sees: one kv head whose value is the key's latent part. */
function asMqa(qNope: Float64Array, qPe: Float64Array, latents: Float64Array, c: MlaCase & { kvLen: number }): AttentionArrays {
  const width = c.kvLoraRank + c.qkRopeHeadDim
  return {
    batch: 1, qoLen: c.qoLen, kvLen: c.kvLen, numQoHeads: c.numHeads, numKvHeads: 1, headDimQk: width, headDimVo: c.kvLoraRank,
    q: joinRows(qNope, c.kvLoraRank, qPe, c.qkRopeHeadDim), k: latents, v: latents.filter((_, n) => n % width < c.kvLoraRank),
  }
}

describe.each(devicesAndDTypes)('mlaDecode on %s in %s', (device, dtype) => {
  it.each([1, 2, 16, 64, 256])('page size %d', (pageSize) => {
    check({ pageSize }, dtype, device)
    check({ pageSize, qoLen: 3 }, dtype, device)
    check({ pageSize, qoLen: 3 }, dtype, device, false)
  })

  it.each([[[0]], [[20, 0, 140]], [[63, 64, 65]], [[1200, 17]]])('kvLens %j', (kvLens) => {
    check({ kvLens }, dtype, device)
    check({ kvLens, qoLen: 4 }, dtype, device)
  })

  it.each([1, 3, 9, 16, 63, 64])('%d heads', (numHeads) => {
    check({ numHeads, kvLens: [70, 20] }, dtype, device)
    check({ numHeads, kvLens: [70, 20], qoLen: 2 }, dtype, device)
  })

  it.each([[1, 2], [7, 4], [59, 20], [256, 64], [512, 64]])('latents of %d + %d', (kvLoraRank, qkRopeHeadDim) => {
    check({ kvLoraRank, qkRopeHeadDim, kvLens: [35, 66] }, dtype, device)
    check({ kvLoraRank, qkRopeHeadDim, kvLens: [35, 66], qoLen: 17 }, dtype, device)
  })
})

describe.each(testDevices)('mlaDecode on %s', (device) => {
  it('is causal unless told', () => {
    const stored = store({ ...base, qoLen: 3 }, 'float32', device, 101)
    const run = (options: { causal?: boolean }): ArrayLike<number> =>
      mlaDecode(stored.qNope, stored.qPe, stored.cache, stored.batch, { softmaxScale: 0.2, ...options }).out.readSync()
    expectSameBits(run({}), run({ causal: true }))
    expect(run({ causal: false })).not.toEqual(run({}))
  })

  it('gives each sequence the bits that it has alone, in every run', () => {
    const c = { ...base, kvLens: [900, 12, 65], numHeads: 16 }
    const stored = store(c, 'float32', device, 102)
    const run = (): FloatTensor => mlaDecode(stored.qNope, stored.qPe, stored.cache, stored.batch, { softmaxScale: 0.2 }).out
    const whole = run()
    for (let i = 0; i < 4; ++i) expectSameBits(run().readSync(), whole.readSync())
    const single = store({ ...c, kvLens: [900] }, 'float32', device, 102)
    const alone = mlaDecode(single.qNope, single.qPe, single.cache, single.batch, { softmaxScale: 0.2 }).out
    expectSameBits(alone.readSync(), whole.slice(0, 0, 1).readSync())
  })

  it('plans as it runs', () => {
    // The kernel that splits keys on CUDA is that of tensor cores.
    const stored = store({ ...base, kvLens: [3000] }, device === 'cpu' ? 'float32' : 'float16', device, 103)
    using plan = mlaDecode.plan(stored.cache, stored.batch, { qoLen: 1, numHeads: 5 })
    expect(plan.kernel).toMatch(/^mla_decode_/)
    expect(plan.numSplits).toBeGreaterThan(1)
    const planned = mlaDecode(stored.qNope, stored.qPe, stored.cache, stored.batch, { softmaxScale: 0.2, plan }).out.readSync()
    expectSameBits(planned, mlaDecode(stored.qNope, stored.qPe, stored.cache, stored.batch, { softmaxScale: 0.2 }).out.readSync())
  })

  it('writes the out that it is given', () => {
    const stored = store(base, 'float32', device, 104)
    const expected = mlaDecode(stored.qNope, stored.qPe, stored.cache, stored.batch, { softmaxScale: 0.2 }).out
    const out = tensorOf(new Float32Array(3 * 5 * 40).fill(7), [3, 1, 5, 40], 'float32', device)
    const view = out.slice(3, 4, 36)
    mlaDecode(stored.qNope, stored.qPe, stored.cache, stored.batch, { softmaxScale: 0.2, out: view })
    expectSameBits(view.readSync(), expected.readSync())
    expect(out.readSync().filter((value) => value === 7)).toHaveLength(3 * 5 * 8)
  })
})
