// Prefill over pages of any size, against float64: sizes that TMA copies in boxes and sizes whose rows are gathered, in every dtype and at every size that
// kernels are compiled for.
import type { DeviceId } from '../../lib/index'
import { native } from '../../lib/native'
import { fromHandle, handleOf, type FloatTensor } from '../../lib/tensor/tensor'
import type { AttentionArrays, ReferenceOptions } from '../reference/attention'
import { attentionCase, makeArrays, type AttentionCase } from '../support/attention-cases'
import { testDevices } from '../support/devices'
import { dequantised, randomScales, scaledQueries, scalesTensor } from '../support/float8'
import { Random } from '../support/random'
import { expectAttention } from '../support/run-attention'
import { int32Of, tensorOf } from '../support/tensors'

type DType = 'float16' | 'bfloat16' | 'float8_e4m3'

const cuda = testDevices.filter((id) => id !== 'cpu')
const onDevices = cuda.length > 0 ? describe.each(cuda) : describe.skip.each(['cuda:0'] as const)

const row = 'attention_prefill_sm90a'
const find = () => native.kernels().find(({ name }) => name === row)

interface PagedCase extends AttentionCase {
  readonly pageSize: number
  readonly kvLens: readonly number[]
}

function pagedCase(overrides: Partial<PagedCase> & { readonly pageSize: number }): PagedCase {
  const c = { ...attentionCase({ qoLen: 70, options: { causal: true }, ...overrides }), kvLens: overrides.kvLens ?? [300, 161], ...overrides }
  return { ...c, batch: c.kvLens.length, kvLen: Math.max(...c.kvLens) }
}

/** For each sequence its pages, dealt out in no order, and -1 where it has none. */
function dealPages({ kvLens, kvLen, pageSize }: PagedCase): { readonly count: number; readonly table: readonly number[][] } {
  const perSequence = kvLens.map((len) => Math.ceil(len / pageSize))
  const count = perSequence.reduce((sum, pages) => sum + pages, 0)
  const pages = new Random(6).shuffle(Array.from({ length: count }, (_, i) => i))
  const most = Math.ceil(kvLen / pageSize)
  return { count, table: perSequence.map((own) => Array.from({ length: most }, (_, i) => (i < own ? pages.pop()! : -1))) }
}

/** Rows [batch, kvLen, heads · dim] in their pages; what no row fills is NaN. */
function place(rows: ArrayLike<number>, width: number, c: PagedCase, { count, table }: ReturnType<typeof dealPages>): Float64Array {
  const placed = new Float64Array(Math.max(count, 1) * c.pageSize * width).fill(NaN)
  for (const [b, len] of c.kvLens.entries()) {
    for (let j = 0; j < len; ++j) {
      const to = (table[b]![Math.floor(j / c.pageSize)]! * c.pageSize + (j % c.pageSize)) * width
      for (let i = 0; i < width; ++i) placed[to + i] = rows[(b * c.kvLen + j) * width + i]!
    }
  }
  return placed
}

const int = (values: readonly number[], shape: readonly number[], device: DeviceId) => handleOf('numbers', int32Of(values, shape, device))

interface Call {
  readonly q: FloatTensor
  readonly keys: FloatTensor
  readonly values: FloatTensor
  readonly scales?: readonly [q: Float64Array, k: Float64Array, v: Float64Array]
}

function call({ q, keys, values, scales }: Call, c: PagedCase, dtype: DType, device: DeviceId, table: readonly number[][]): Parameters<typeof expectAttention>[0] {
  const { causal, window, softmaxScale, logitSoftcap, alibiSlopes, sinks } = c.options
  const numbers = (data: ArrayLike<number> | undefined) => data ? handleOf('numbers', tensorOf(data as Float64Array, [data.length], 'float32', device)) : null
  const [qs, ks, vs] = scales ? scales.map((of) => handleOf('scales', scalesTensor(of, [c.numKvHeads], device))) : []
  const [out, lse] = native.pagedAttention(
    handleOf('q', q), handleOf('keys', keys), handleOf('values', values), int(table.flat(), [c.batch, table[0]!.length], device),
    int(c.kvLens, [c.batch], device), c.kvLen, null, causal ?? false, window?.left ?? -1, window?.right ?? -1, softmaxScale ?? NaN, logitSoftcap ?? 0,
    numbers(alibiSlopes), numbers(sinks), true, null, qs ?? null, ks ?? null, vs ?? null, -1,
  ) as unknown as [Parameters<typeof fromHandle>[0], Parameters<typeof fromHandle>[0]]
  return {
    out: fromHandle(out, dtype === 'float8_e4m3' ? 'bfloat16' : dtype, [c.batch, c.qoLen, c.numQoHeads, c.headDimVo], device),
    lse: fromHandle<'float32'>(lse, 'float32', [c.batch, c.numQoHeads, c.qoLen], device),
  }
}

/** Expects the row to do the work where the device has it. */
function check(c: PagedCase, dtype: DType, device: DeviceId, arrays = makeArrays(c, dtype, 3), scaled = false): void {
  const { batch, qoLen, numQoHeads, numKvHeads, headDimQk, headDimVo, pageSize } = c
  const pages = dealPages(c)
  const made = (rows: ArrayLike<number>, dim: number) =>
    tensorOf(place(rows, numKvHeads * dim, c, pages), [Math.max(pages.count, 1), pageSize, numKvHeads, dim], dtype, device)
  const random = new Random(8)
  const scales = scaled ? [randomScales(numKvHeads, random), randomScales(numKvHeads, random), randomScales(numKvHeads, random)] as const : undefined
  const q = tensorOf(arrays.q, [batch, qoLen, numQoHeads, headDimQk], dtype, device)
  const before = find()?.runs
  const result = call({ q, keys: made(arrays.k, headDimQk), values: made(arrays.v, headDimVo), ...(scales && { scales }) }, c, dtype, device, pages.table)
  if (find()?.unusable === '') expect(find()!.runs).toBe(before! + 1)
  const meant: AttentionArrays = scales === undefined ? arrays : {
    ...arrays, q: scaledQueries(arrays.q, scales[0], arrays), k: dequantised(arrays.k, scales[1], numKvHeads, headDimQk),
    v: dequantised(arrays.v, scales[2], numKvHeads, headDimVo),
  }
  expectAttention(result, meant, { ...c.options, kvLens: c.kvLens }, dtype === 'float8_e4m3' ? 'bfloat16' : dtype)
}

onDevices('prefill over pages on %s', (device) => {
  const dims = [[64, 64], [96, 80], [128, 128], [192, 128], [256, 256]] as const
  const sizes = (['float16', 'bfloat16', 'float8_e4m3'] as const).flatMap((dtype) =>
    dims.map(([qk, vo]) => [dtype, qk, vo] as const))

  // Several steps, the first of them with keys that the window hides from some rows, the last neither full steps nor full pages; values that are not finite
  // hidden from all rows, from most, and seen by the last alone.
  test.each(sizes)('%s, head dims %d and %d, pages of 5 tokens', (dtype, headDimQk, headDimVo) => {
    const c = pagedCase({ pageSize: 5, numQoHeads: 2, numKvHeads: 1, headDimQk, headDimVo, options: { causal: true, window: { left: 200 } } })
    const arrays = makeArrays(c, dtype, 3)
    for (const j of [0, 1, 2, 20, 21, 298, 299]) arrays.v.fill(dtype === 'float8_e4m3' || j % 2 ? NaN : Infinity, j * headDimVo, j * headDimVo + 5)
    check(c, dtype, device, arrays)
    check({ ...c, pageSize: 4, options: {} }, dtype, device)
  })

  test.each([1, 2, 3, 7, 8, 12, 20, 24, 100, 160])('pages of %d tokens', (pageSize) => {
    check(pagedCase({ pageSize, kvLens: [300, 1, 0, 129] }), 'bfloat16', device)
    check(pagedCase({ pageSize, kvLens: [127], options: {} }), 'bfloat16', device)
    check(pagedCase({ pageSize, headDimQk: 256, kvLens: [161] }), 'float16', device)
  })

  test.each([[3, 1], [8, 1], [14, 2], [32, 8], [24, 1]])('%d query heads over %d kv heads, more queries than keys', (numQoHeads, numKvHeads) => {
    check(pagedCase({ pageSize: 4, numQoHeads, numKvHeads, qoLen: 77, kvLens: [140, 33] }), 'bfloat16', device)
  })

  // Rows end inside a box, before a whole box, and after one.
  test.each([[40, 24], [8, 72], [80, 104], [136, 128], [200, 160]])('head dims %d and %d, narrower than their kernel', (headDimQk, headDimVo) => {
    check(pagedCase({ pageSize: 1, headDimQk, headDimVo, kvLens: [140, 33] }), 'bfloat16', device)
  })

  test.each([[64, 64], [128, 128], [48, 16], [80, 112], [256, 256]])('float8_e4m3 with scales, head dims %d and %d', (headDimQk, headDimVo) => {
    for (const pageSize of [1, 12]) check(pagedCase({ pageSize, headDimQk, headDimVo, numQoHeads: 6 }), 'float8_e4m3', device, undefined, true)
  })

  test.each<ReferenceOptions>([
    { window: { left: 30, right: 3 } },
    { causal: true, alibiSlopes: [0.5, 0.25, 0.125, 0.0625], sinks: [0.5, -3, 4, 0] },
    { causal: true, logitSoftcap: 15 },
    { softmaxScale: -0.3 },
  ])('%j', (options) => {
    for (const dtype of ['bfloat16', 'float8_e4m3'] as const) check(pagedCase({ pageSize: 4, options }), dtype, device)
  })

  test('more tiles than multiprocessors: copies go on from one tile to the next', () => {
    const c = pagedCase({ pageSize: 1, kvLens: [130, 129, 128, 3, 0, 130, 64], qoLen: 65, numQoHeads: 20, numKvHeads: 20, headDimQk: 16 })
    check({ ...c, options: { causal: true, window: { left: 100 } } }, 'bfloat16', device)
    check({ ...c, pageSize: 5 }, 'float8_e4m3', device)
  })

  test('rows of 40 bytes at a distance of 48 are left to others where pages are small', () => {
    const c = pagedCase({ pageSize: 4, headDimQk: 20, headDimVo: 24 })
    const arrays = makeArrays(c, 'bfloat16', 3)
    const pages = dealPages(c)
    const widened = (rows: ArrayLike<number>, wide: number) => {
      const stored = new Float64Array((rows.length / 20) * wide).fill(NaN)
      for (let i = 0; i < rows.length; ++i) stored[Math.floor(i / 20) * wide + (i % 20)] = rows[i]!
      return stored
    }
    const keys = tensorOf(place(widened(arrays.k, 24), 2 * 24, c, pages), [pages.count, 4, 2, 24], 'bfloat16', device).slice(3, 0, 20)
    const values = tensorOf(place(arrays.v, 2 * 24, c, pages), [pages.count, 4, 2, 24], 'bfloat16', device)
    const q = tensorOf(widened(arrays.q, 24), [c.batch, c.qoLen, 4, 24], 'bfloat16', device).slice(3, 0, 20)
    const before = find()?.runs
    expectAttention(call({ q, keys, values }, c, 'bfloat16', device, pages.table), arrays, { ...c.options, kvLens: c.kvLens }, 'bfloat16')
    expect(find()?.runs).toBe(before)
  })
})
