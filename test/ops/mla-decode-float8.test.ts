import { mlaDecode, MlaKvCache, Tensor, type DeviceId, type FloatTensor, type PageBatch, type Sequence } from '../../lib/index'
import type { AttentionArrays } from '../reference/attention'
import { joinRows, mlaDecode as referenceMlaDecode } from '../reference/mla-decode'
import { roundAll } from '../reference/rounding'
import { expectClose, expectSameBits } from '../support/compare'
import { computeDTypes, type ComputeDType } from '../support/devices'
import { argumentError, expectError } from '../support/errors'
import { devicesByKernels, expectRefusal, latentDim, ropeDim, storedLatent } from '../support/float8'
import { storeInTurns } from '../support/paged-sequences'
import { plainAttention } from '../support/plain-attention'
import { Random } from '../support/random'
import { tensorOf } from '../support/tensors'
import { expectAsGoodAsPlain, expectLseAsGoodAsPlain } from '../support/tolerance'

interface MlaCase {
  readonly kvLens: readonly number[]
  readonly qoLen: number
  readonly pageSize: number
  readonly numHeads: number
}
const base: MlaCase = { kvLens: [33, 1, 130], qoLen: 1, pageSize: 64, numHeads: 5 }
const width = latentDim + ropeDim

interface Stored {
  readonly cache: MlaKvCache
  readonly batch: PageBatch
  readonly open: readonly Sequence[]
  readonly qNope: FloatTensor
  readonly qPe: FloatTensor
  readonly sequences: readonly { readonly qNope: Float64Array; readonly qPe: Float64Array; readonly latents: Float64Array }[]
}

/** Sequences whose groups of features are of very different size, as numbers that their stored rows stand for. */
function store(c: MlaCase, dtype: ComputeDType, device: DeviceId): Stored {
  const { kvLens, qoLen, pageSize, numHeads } = c
  const random = new Random(11)
  const pages = kvLens.reduce((sum, len) => sum + Math.ceil(len / pageSize), 0)
  const cache = new MlaKvCache({ numPages: 3 * pages + 1, pageSize, kvLoraRank: latentDim, qkRopeHeadDim: ropeDim, dtype: 'float8_e4m3', device })
  const parts = kvLens.map((len) => ({
    ckv: roundAll('float32', random.normals(len * latentDim).map((value, i) => value * [0.05, 1, 2, 0.5][Math.floor(i / 128) % 4]!)),
    kPe: roundAll('float32', random.normals(len * ropeDim)),
    qNope: roundAll(dtype, random.normals(qoLen * numHeads * latentDim)), qPe: roundAll(dtype, random.normals(qoLen * numHeads * ropeDim)),
  }))
  const sequences = storeInTurns(
    cache, kvLens, (b) => [{ values: parts[b]!.ckv, row: [latentDim] }, { values: parts[b]!.kPe, row: [ropeDim] }], pageSize, 'float32', device, random,
  )
  const all = (key: 'qNope' | 'qPe'): number[] => parts.flatMap((part) => Array.from(part[key]))
  return {
    cache,
    batch: cache.batch(sequences),
    open: sequences,
    qNope: tensorOf(all('qNope'), [kvLens.length, qoLen, numHeads, latentDim], dtype, device),
    qPe: tensorOf(all('qPe'), [kvLens.length, qoLen, numHeads, ropeDim], dtype, device),
    sequences: parts.map(({ qNope, qPe, ckv, kPe }, b) => {
      const latents = new Float64Array(kvLens[b]! * width)
      for (let i = 0; i < kvLens[b]!; ++i) {
        latents.set(storedLatent(ckv.subarray(i * latentDim, (i + 1) * latentDim), kPe.subarray(i * ropeDim, (i + 1) * ropeDim)).values, i * width)
      }
      return { qNope, qPe, latents }
    }),
  }
}

/** The problem that the plain implementation sees: it has the rows in q's dtype, as the kernels may. */
function asMqa(qNope: Float64Array, qPe: Float64Array, latents: Float64Array, c: MlaCase & { kvLen: number }, dtype: ComputeDType): AttentionArrays {
  const rows = roundAll(dtype, latents)
  return {
    batch: 1, qoLen: c.qoLen, kvLen: c.kvLen, numQoHeads: c.numHeads, numKvHeads: 1, headDimQk: width, headDimVo: latentDim,
    q: joinRows(qNope, latentDim, qPe, ropeDim), k: rows, v: rows.filter((_, n) => n % width < latentDim),
  }
}

function check(overrides: Partial<MlaCase>, dtype: ComputeDType, device: DeviceId, causal = true): void {
  const c = { ...base, ...overrides }
  const stored = store(c, dtype, device)
  const softmaxScale = 1 / Math.sqrt(128 + 64)
  const { out, lse } = mlaDecode(stored.qNope, stored.qPe, stored.cache, stored.batch, { softmaxScale, causal, returnLse: true })
  expect([out.shape, out.dtype]).toEqual([[c.kvLens.length, c.qoLen, c.numHeads, latentDim], dtype])
  for (const [b, { qNope, qPe, latents }] of stored.sequences.entries()) {
    const dims = { ...c, batch: 1, kvLen: c.kvLens[b]!, kvLoraRank: latentDim, qkRopeHeadDim: ropeDim }
    const expected = referenceMlaDecode(qNope, qPe, latents, dims, { softmaxScale, causal })
    const plain = plainAttention(asMqa(qNope, qPe, latents, dims, dtype), { softmaxScale, causal }, dtype)
    expectAsGoodAsPlain(out.slice(0, b, b + 1).readSync(), expected.out, plain.out, { dtype }, `out of sequence ${b}`)
    expectLseAsGoodAsPlain(lse.slice(0, b, b + 1).readSync(), expected.lse, plain.lse)
  }
  stored.cache.dispose()
}

const { able, refusing } = devicesByKernels((device) => {
  const stored = store(base, 'bfloat16', device)
  return mlaDecode(stored.qNope, stored.qPe, stored.cache, stored.batch, { softmaxScale: 0.1 })
})

for (const device of able) {
  // GPUs decode these rows by tensor cores alone, which multiply bfloat16.
  const dtypes = device === 'cpu' ? computeDTypes : (['bfloat16'] as const)
  for (const dtype of computeDTypes.filter((one) => !(dtypes as readonly string[]).includes(one))) {
    test(`queries in ${dtype} are refused on ${device}`, () => {
      const stored = store(base, dtype, device)
      expectRefusal(() => mlaDecode(stored.qNope, stored.qPe, stored.cache, stored.batch, { softmaxScale: 0.1 }))
    })
  }

  describe.each(dtypes)(`mlaDecode over float8_e4m3 on ${device}, queries in %s`, (dtype) => {
    it.each([1, 16, 64, 256])('page size %d', (pageSize) => {
      check({ pageSize, numHeads: 2, kvLens: [33, 1, 70] }, dtype, device)
    })

    it.each([[[0]], [[20, 0, 40]], [[63, 64, 65]]])('kvLens %j', (kvLens) => {
      check({ kvLens, numHeads: 1, qoLen: 4 }, dtype, device)
    })

    it('1200 keys', () => {
      check({ kvLens: [1200], numHeads: 2 }, dtype, device)
    })

    it.each([1, 3, 16, 128])('%d heads', (numHeads) => {
      check({ numHeads, kvLens: [20], qoLen: numHeads < 16 ? 2 : 1 }, dtype, device, numHeads !== 3)
    })
  })

  describe(`mlaDecode over float8_e4m3 on ${device}`, () => {
    it('gives each sequence the bits that it has alone, in every run', () => {
      const stored = store({ ...base, kvLens: [700, 3, 65] }, 'bfloat16', device)
      const run = (batch: PageBatch, begin: number, end: number): ArrayLike<number> => {
        const [qNope, qPe] = [stored.qNope, stored.qPe].map((rows) => rows.slice(0, begin, end))
        return mlaDecode(qNope!, qPe!, stored.cache, batch, { softmaxScale: 0.1 }).out.readSync()
      }
      const whole = Array.from(run(stored.batch, 0, 3))
      expectSameBits(run(stored.batch, 0, 3), whole)
      for (const [b, sequence] of stored.open.entries()) {
        using batch = stored.cache.batch([sequence])
        expectSameBits(run(batch, b, b + 1), whole.slice(b * base.numHeads * latentDim, (b + 1) * base.numHeads * latentDim), `sequence ${b}`)
      }
    })

    it('plans for queries in bfloat16', () => {
      const stored = store({ ...base, kvLens: [4000] }, 'bfloat16', device)
      using plan = mlaDecode.plan(stored.cache, stored.batch, { qoLen: 1, numHeads: 5 })
      const run = (options: object): ArrayLike<number> =>
        mlaDecode(stored.qNope, stored.qPe, stored.cache, stored.batch, { softmaxScale: 0.1, ...options }).out.readSync()
      // With a plan of its own a GPU cuts the keys elsewhere, and rounds once more where it does.
      const [planned, expected] = [run({ plan }), Array.from(run({}))]
      if (device === 'cpu') expectSameBits(planned, expected)
      else expectClose(planned, expected, 2 ** -8 * Math.max(...expected.map(Math.abs)))
    })

    it.each([['NaN', NaN], ['an infinity', Infinity]])('%s in the newest row is seen by the query of that row alone', (_, spoiled) => {
      const cache = new MlaKvCache({ numPages: 4, kvLoraRank: latentDim, qkRopeHeadDim: ropeDim, dtype: 'float8_e4m3', device })
      const sequence = cache.open()
      const rows = new Random(12).normals(9 * latentDim)
      rows[8 * latentDim + 200] = spoiled
      cache.append([sequence], tensorOf(rows, [1, 9, latentDim], 'float32', device), Tensor.zeros([1, 9, ropeDim], { device }))
      expect(cache.latents.readSync().subarray(sequence.pages[0]! * 64 * 656 + 8 * 656).subarray(0, 512).filter(Number.isNaN)).toHaveLength(1)
      using batch = cache.batch([sequence])
      const [qNope, qPe] = [latentDim, ropeDim].map((dim) => Tensor.zeros([1, 2, 3, dim], { dtype: 'bfloat16', device }))
      const out = mlaDecode(qNope!, qPe!, cache, batch, { softmaxScale: 0.1 }).out.readSync()
      // 0 · NaN is NaN: that key's logit is, and with it all of the row.
      out.forEach((value, n) => expect(Number.isNaN(value)).toBe(n >= 3 * latentDim))
    })

    it('refuses queries of other features', () => {
      const cache = new MlaKvCache({ numPages: 1, kvLoraRank: latentDim, qkRopeHeadDim: ropeDim, dtype: 'float8_e4m3', device })
      using batch = cache.batch([cache.open()])
      const zeros = (dim: number, dtype: 'float32' | 'float8_e4m3' = 'float32'): FloatTensor => Tensor.zeros([1, 1, 2, dim], { dtype, device })
      const [narrow, wide, key, codes, keyCodes] = [zeros(500), zeros(512), zeros(64), zeros(512, 'float8_e4m3'), zeros(64, 'float8_e4m3')]
      expectError(() => mlaDecode(narrow, key, cache, batch, { softmaxScale: 1 }), argumentError(
        'qNope', "kvLoraRank + qkRopeHeadDim to be 512 + 64, as in a cache's rows of float8_e4m3", '500 + 64', 'SHAPE_MISMATCH'))
      expectError(() => mlaDecode(codes, keyCodes, cache, batch, { softmaxScale: 1 }), argumentError('qNope', 'dtype float32, float16 or bfloat16', 'float8_e4m3'))
      const none = mlaDecode(wide.cast('bfloat16'), key.cast('bfloat16'), cache, batch, { softmaxScale: 1 }).out
      expect(none.readSync().every((value) => value === 0)).toBe(true)
    })
  })
}

for (const device of refusing) {
  test(`mlaDecode over float8_e4m3 has no kernel on ${device} yet: refused, row by row`, () => {
    const cache = new MlaKvCache({ numPages: 4, kvLoraRank: latentDim, qkRopeHeadDim: ropeDim, dtype: 'float8_e4m3', device })
    using batch = cache.batch([cache.open()])
    const [qNope, qPe] = [latentDim, ropeDim].map((dim) => Tensor.zeros([1, 1, 16, dim], { dtype: 'bfloat16', device }))
    expectRefusal(() => mlaDecode(qNope!, qPe!, cache, batch, { softmaxScale: 1 }))
    expectRefusal(() => mlaDecode.plan(cache, batch, { qoLen: 1, numHeads: 16 }))
  })
}
