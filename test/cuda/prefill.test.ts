// Prefill at every size that kernels are compiled for: head dims, groups that do not divide a tile, more tiles than multiprocessors, pages, values that are
// not finite where they are hidden.
import { flashAttention, flashAttentionVarlen, Tensor, type DeviceId } from '../../lib/index'
import { native } from '../../lib/native'
import { fromHandle, handleOf } from '../../lib/tensor/tensor'
import { attentionCase, makeArrays, type AttentionCase } from '../support/attention-cases'
import { expectSameBits } from '../support/compare'
import { testDevices } from '../support/devices'
import { callOptions, expectAttention, packedTensors } from '../support/run-attention'
import { tensorOf } from '../support/tensors'

const cuda = testDevices.filter((id) => id !== 'cpu')
const onDevices = cuda.length > 0 ? describe.each(cuda) : describe.skip.each(['cuda:0'] as const)

const row = 'attention_prefill_sm90a'
const find = () => native.kernels().find(({ name }) => name === row)

/** Elsewhere float8_e4m3 is for the plain kernel, which takes minutes for all of this on the virtual GPU; test/ops/flash-attention-float8.test.ts has less. */
const hasRow = find()?.unusable === ''

/** Runs the work, and expects the row to have done it where the device has it. */
function byPrefill(work: () => void, launches = 1): void {
  const before = find()?.runs
  work()
  if (find()?.unusable === '') expect(find()!.runs).toBe(before! + launches)
}

function check(c: AttentionCase, dtype: 'float16' | 'bfloat16' | 'float8_e4m3', device: DeviceId, arrays = makeArrays(c, dtype, 3)): void {
  const { batch, qoLen, kvLen, numQoHeads, numKvHeads, headDimQk, headDimVo } = c
  const q = tensorOf(arrays.q, [batch, qoLen, numQoHeads, headDimQk], dtype, device)
  const k = tensorOf(arrays.k, [batch, kvLen, numKvHeads, headDimQk], dtype, device)
  const v = tensorOf(arrays.v, [batch, kvLen, numKvHeads, headDimVo], dtype, device)
  byPrefill(() => {
    const result = flashAttention(q, k, v, callOptions(c.options, batch, numQoHeads, device))
    expectAttention(result, arrays, c.options, dtype === 'float8_e4m3' ? 'bfloat16' : dtype)
  })
}

onDevices('prefill on %s', (device) => {
  const dims = [[64, 64], [96, 80], [96, 96], [128, 128], [192, 128], [256, 256]] as const
  const sizes = (['float16', 'bfloat16', 'float8_e4m3'] as const).flatMap((dtype) =>
    dims.filter(([dim]) => dtype !== 'float8_e4m3' || dim <= 128 || hasRow).map(([qk, vo]) => [dtype, qk, vo] as const))

  // Two tiles of rows and three of keys, the first with keys that the window hides from some rows, the last half full.
  test.each(sizes)('%s, head dims %d and %d', (dtype, headDimQk, headDimVo) => {
    const c = attentionCase({ qoLen: 140, kvLen: 300, numQoHeads: 2, numKvHeads: 1, headDimQk, headDimVo, options: { causal: true, window: { left: 200 } } })
    const arrays = makeArrays(c, dtype, 3)
    // Hidden from all rows, from most, and seen by the last alone.
    for (const j of [0, 1, 2, 20, 21, 298, 299]) arrays.v.fill(dtype === 'float8_e4m3' || j % 2 ? NaN : Infinity, j * headDimVo, j * headDimVo + 5)
    check(c, dtype, device, arrays)
    check({ ...c, options: {} }, dtype, device)
  })

  const groups = [
    ...[3, 5, 7, 24].map((heads) => [heads, 64, 'bfloat16'] as const),
    ...[5, 24].map((heads) => [heads, 96, 'bfloat16'] as const),
    ...(hasRow ? [5, 24] : []).map((heads) => [heads, 256, 'float8_e4m3'] as const),
  ]
  test.each(groups)('groups of %d heads of %d in %s, which leave rows of a tile empty', (numQoHeads, headDimQk, dtype) => {
    check(attentionCase({ batch: 2, qoLen: 70, kvLen: 90, numQoHeads, numKvHeads: 1, headDimQk, options: { causal: true } }), dtype, device)
  })

  test.each<AttentionCase>([
    attentionCase({ qoLen: 90, kvLen: 150, options: { causal: true, alibiSlopes: [0.5, 0.25, 0.125, 0.0625], sinks: [0.5, -3, 4, 0] } }),
    attentionCase({ qoLen: 90, kvLen: 150, options: { causal: true, logitSoftcap: 15 } }),
    attentionCase({ qoLen: 90, kvLen: 150, options: { softmaxScale: -0.3 } }),
    attentionCase({ batch: 3, qoLen: 90, kvLen: 150, options: { kvLens: [150, 1, 0] } }),
    attentionCase({ qoLen: 150, kvLen: 90, options: { causal: true, sinks: [0.5, -3, 4, 0] } }),
  ].flatMap((c) => [64, 96, 128, 256].map((dim) => ({ ...c, headDimQk: dim, headDimVo: dim }))))('%j', (c) => {
    check(c, 'bfloat16', device)
    if (c.headDimQk <= 128 || hasRow) check(c, 'float8_e4m3', device)
  })

  test('more tiles than multiprocessors: blocks work on several, one after the other', () => {
    const c = attentionCase({ batch: 7, qoLen: 65, kvLen: 130, numQoHeads: 20, numKvHeads: 20, headDimQk: 16, options: { causal: true, window: { left: 100 } } })
    check(c, 'bfloat16', device)
    if (hasRow) check({ ...c, headDimVo: 144 }, 'float8_e4m3', device)  // by the kernel of 256 features
  })

  const kinds = ([['bfloat16', 64], ['bfloat16', 96], ['float8_e4m3', 64], ['float8_e4m3', 256]] as const).filter(([dtype]) => dtype !== 'float8_e4m3' || hasRow)
  const pages = [1, 5, 8, 24, 64, 100, 256].flatMap((size) => kinds.map((kind) => [size, ...kind] as const))
  test.each(pages)('pages of %d tokens hold the same keys as a dense tensor, %s of %d', (pageSize, dtype, dim) => {
    const [qoLen, kvLen, heads] = [70, 300, 2] as const
    const outDType = dtype === 'float8_e4m3' ? 'bfloat16' : dtype
    const random = (seed: number, shape: readonly number[]) => Tensor.randn(shape, { seed, dtype, device })
    const [q, k, v] = [random(3, [1, qoLen, 4, dim]), random(1, [1, kvLen, heads, dim]), random(2, [1, kvLen, heads, dim])]
    const count = Math.ceil(kvLen / pageSize)
    const table = Int32Array.from({ length: count }, (_, i) => count - 1 - i)
    const slots = Int32Array.from({ length: kvLen }, (_, i) => table[Math.floor(i / pageSize)]! * pageSize + (i % pageSize))
    // What no token fills is NaN, which nobody may read.
    const [keys, values] = [k, v].map((rows) => {
      const pages = Tensor.from(new Float32Array(count * pageSize * heads * dim).fill(NaN), [count, pageSize, heads, dim], { dtype, device })
      native.pagedAppend(handleOf('rows', rows), handleOf('pages', pages), slots, null)
      return pages
    })
    const int32 = (numbers: ArrayLike<number>, shape: readonly number[]) => handleOf('numbers', Tensor.from(Array.from(numbers), shape, { dtype: 'int32', device }))
    const [table32, lens] = [int32(table, [1, count]), int32([kvLen], [1])]
    const options = [true, -1, -1, NaN, 0, null, null, false, null, null, null, null, -1] as const
    const expected = flashAttention(q, k, v, { causal: true }).out.readSync()
    byPrefill(() => {
      const out = native.pagedAttention(handleOf('q', q), handleOf('k', keys!), handleOf('v', values!), table32, lens, kvLen, null, ...options)
      const [handle] = [out].flat() as [Parameters<typeof fromHandle>[0]]
      expectSameBits(fromHandle(handle, outDType, [1, qoLen, 4, dim], device).readSync(), expected)
    })
  })

  test.each([64, 96, 128])('packed sequences have the bits that each has alone, heads of %d', (dim) => {
    const [qoLens, kvLens, dtype] = [[70, 130], [300, 131], 'bfloat16'] as const
    const random = (seed: number, rows: number, heads: number) => Tensor.randn([rows, heads, dim], { seed, dtype, device })
    const [q, k, v] = [random(1, 200, 4), random(2, 431, 2), random(3, 431, 2)]
    byPrefill(() => {
      const { out } = flashAttentionVarlen(q, k, v, { causal: true, qoIndptr: [0, 70, 200], kvIndptr: [0, 300, 431] })
      for (const b of [0, 1]) {
        const [qo, kv] = [b * qoLens[0], b * kvLens[0]]
        const alone = (x: typeof q, from: number, rows: number) => x.slice(0, from, from + rows).reshape([1, rows, x.shape[1]!, dim])
        const expected = flashAttention(alone(q, qo, qoLens[b]!), alone(k, kv, kvLens[b]!), alone(v, kv, kvLens[b]!), { causal: true }).out
        expectSameBits(out.slice(0, qo, qo + qoLens[b]!).readSync(), expected.readSync(), `sequence ${b}`)
      }
    }, 3)
  })

  test('rows of 40 bytes, which TMA cannot copy, are left to others', () => {
    const before = find()?.runs
    const c = attentionCase({ qoLen: 90, headDimQk: 20, headDimVo: 20 })
    const arrays = makeArrays(c, 'bfloat16', 3)
    const { q, k, v } = packedTensors(arrays, 'bfloat16', device)
    expectAttention(flashAttention(q, k, v, callOptions({}, 1, 4, device)), arrays, {}, 'bfloat16')
    expect(find()?.runs).toBe(before)
  })
})
