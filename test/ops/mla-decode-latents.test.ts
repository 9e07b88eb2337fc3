// Rows of 512 + 64 in 16 bits, for which GPUs have kernels of their own: every edge of their tiles of 64 rows and 64 keys.
import { MlaKvCache, mlaDecode, type FloatTensor } from '../../lib/index'
import { mlaDecode as referenceMlaDecode } from '../reference/mla-decode'
import { roundAll } from '../reference/rounding'
import { expectSameBits } from '../support/compare'
import { devicesAndDTypes, testDevices } from '../support/devices'
import { devicesByKernels, expectRefusal, storedLatent } from '../support/float8'
import { baseMlaCase, checkMla, storeMla, type MlaCase } from '../support/mla-decode'
import { storeInTurns } from '../support/paged-sequences'
import { Random } from '../support/random'
import { poison, tensorOf } from '../support/tensors'

const wide: Partial<MlaCase> = { kvLoraRank: 512, qkRopeHeadDim: 64, numHeads: 16 }
const narrow = devicesAndDTypes.filter(([, dtype]) => dtype !== 'float32')

describe.each(narrow)('mlaDecode of 512 + 64 on %s in %s', (device, dtype) => {
  it.each([1, 32, 64, 128])('page size %d', (pageSize) => {
    checkMla({ ...wide, pageSize, kvLens: [129, 1, 64] }, dtype, device)
    checkMla({ ...wide, pageSize, kvLens: [70, 192], qoLen: 3 }, dtype, device)
  })

  it.each([[[0]], [[20, 0, 63]], [[65, 128]], [[577]]])('kvLens %j', (kvLens) => {
    checkMla({ ...wide, kvLens, numHeads: 3 }, dtype, device)
    checkMla({ ...wide, kvLens, numHeads: 3, qoLen: 4 }, dtype, device, false)
  })

  it.each([[1, 1], [64, 1], [65, 1], [16, 5]])('%d heads, %d queries', (numHeads, qoLen) => {
    checkMla({ ...wide, numHeads, qoLen, kvLens: [100, 3] }, dtype, device)
  })
})

const outOf = (stored: ReturnType<typeof storeMla>, plan?: ReturnType<typeof mlaDecode.plan>): FloatTensor =>
  mlaDecode(stored.qNope, stored.qPe, stored.cache, stored.batch, plan === undefined ? { softmaxScale: 0.1 } : { softmaxScale: 0.1, plan }).out

describe.each(testDevices)('mlaDecode of 512 + 64 on %s', (device) => {
  it('keeps NaN in the newest token from the queries before it', () => {
    const c = { ...baseMlaCase, ...wide, kvLens: [66, 130], qoLen: 2, numHeads: 5 }
    const clean = storeMla(c, 'bfloat16', device, 7)
    const expected = outOf(clean).readSync()
    const stored = storeMla(c, 'bfloat16', device, 7)
    for (const b of [0, 1]) poisonLast(stored, c, b)
    const actual = outOf(stored).readSync()
    const row = c.numHeads * 512
    // The first query's rows alone; the second sees the value.
    for (const b of [0, 1]) expectSameBits(actual.slice(2 * b * row, (2 * b + 1) * row), expected.slice(2 * b * row, (2 * b + 1) * row))
    expect(actual.slice(row, 2 * row).some(Number.isNaN)).toBe(true)
  })

  it('takes a plan for sequences of every length, again and after they grew', () => {
    const c = { ...baseMlaCase, ...wide, kvLens: [700, 0, 1, 64, 130], numHeads: 3 }
    const stored = storeMla(c, 'bfloat16', device, 8)
    using plan = mlaDecode.plan(stored.cache, stored.batch, { qoLen: 1, numHeads: 3 })
    const planned = outOf(stored, plan)
    expectSameBits(outOf(stored, plan).readSync(), planned.readSync())
    const longer = storeMla({ ...c, kvLens: [770, 3, 70, 65, 1] }, 'bfloat16', device, 9)
    // The plan cuts by other lengths: the same sums in another order.
    expectClose(outOf(longer, plan).readSync(), outOf(longer).readSync())
  })

  it('decodes rows of float8_e4m3, or says why it does not', () => {
    const [numHeads, kvLens, random] = [16, [64, 150, 3], new Random(10)]
    const cache = new MlaKvCache({ numPages: 8, pageSize: 64, kvLoraRank: 512, qkRopeHeadDim: 64, dtype: 'float8_e4m3', device })
    const parts = kvLens.map((len) => ({ ckv: roundAll('bfloat16', random.normals(len * 512)), kPe: roundAll('bfloat16', random.normals(len * 64)) }))
    const rows = (b: number) => [{ values: parts[b]!.ckv, row: [512] }, { values: parts[b]!.kPe, row: [64] }] as const
    const sequences = storeInTurns(cache, kvLens, rows, 64, 'bfloat16', device, random)
    const [nope, rope] = [512, 64].map((dim) => roundAll('bfloat16', random.normals(3 * numHeads * dim).map((x) => x / 4))) as [Float64Array, Float64Array]
    const queries = [tensorOf(nope, [3, 1, numHeads, 512], 'bfloat16', device), tensorOf(rope, [3, 1, numHeads, 64], 'bfloat16', device)] as const
    const decode = (): FloatTensor => mlaDecode(...queries, cache, cache.batch(sequences), { softmaxScale: 0.1 }).out
    if (devicesByKernels(() => decode()).refusing.includes(device)) {
      expectRefusal(decode)
      return
    }
    const actual = decode().readSync()
    kvLens.forEach((kvLen, b) => {
      const { ckv, kPe } = parts[b]!
      const stored = Array.from({ length: kvLen }, (_, j) => storedLatent(ckv.slice(j * 512, (j + 1) * 512), kPe.slice(j * 64, (j + 1) * 64)).values)
      const latents = Float64Array.from(stored.flatMap((row) => Array.from(row)))
      const dims = { ...baseMlaCase, ...wide, numHeads, batch: 1, kvLen } as MlaCase & { batch: number; kvLen: number }
      const size = numHeads * 512
      const [q, qPe] = [nope.slice(b * size, (b + 1) * size), rope.slice(b * numHeads * 64, (b + 1) * numHeads * 64)]
      const { out } = referenceMlaDecode(q, qPe, latents, dims, { softmaxScale: 0.1, causal: true })
      expectClose(actual.slice(b * size, (b + 1) * size), out)
    })
    cache.dispose()
  })
})

/** NaN into the row of the last token of sequence b. */
function poisonLast({ cache, batch }: ReturnType<typeof storeMla>, c: MlaCase, b: number): void {
  const last = c.kvLens[b]! - 1
  const page = batch.pageTable.slice(0, b, b + 1).readSync()[Math.floor(last / c.pageSize)]!
  const slot = last % c.pageSize
  poison(cache.latents.slice(0, page, page + 1).slice(1, slot, slot + 1))
}

/** Both of bfloat16: elements, probabilities and results are rounded to 8 bits each. */
function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>): void {
  const largest = Math.max(...Array.from(expected, Math.abs))
  const error = Math.max(...Array.from(expected, (value, i) => Math.abs(actual[i]! - value)))
  expect(actual).toHaveLength(expected.length)
  expect(error).toBeLessThanOrEqual(largest * 2 ** -7)
}
