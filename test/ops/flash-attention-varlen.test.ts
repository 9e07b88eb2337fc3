import { flashAttention, flashAttentionVarlen, Tensor, type DeviceId, type FloatTensor } from '../../lib/index'
import { attention, type AttentionArrays, type Numbers, type ReferenceOptions } from '../reference/attention'
import { attentionCase, makeArrays } from '../support/attention-cases'
import { expectSameBits } from '../support/compare'
import { devicesAndDTypes, testDevices, type ComputeDType } from '../support/devices'
import { plainAttention } from '../support/plain-attention'
import { callOptions } from '../support/run-attention'
import { stridedView, tensorOf } from '../support/tensors'
import { expectAsGoodAsPlain, expectLseAsGoodAsPlain, plainFactor, softcapFactor } from '../support/tolerance'

interface Heads {
  readonly numQoHeads: number
  readonly numKvHeads: number
  readonly headDimQk: number
  readonly headDimVo: number
}
interface Packed {
  readonly sequences: readonly AttentionArrays[]
  readonly q: FloatTensor
  readonly k: FloatTensor
  readonly v: FloatTensor
  readonly qoIndptr: readonly number[]
  readonly kvIndptr: readonly number[]
}

const cumulative = (lengths: readonly number[]): number[] => lengths.reduce<number[]>((sums, n) => [...sums, sums.at(-1)! + n], [0])
const concat = (parts: readonly Numbers[]): number[] => parts.flatMap((part) => Array.from(part))

function pack(qoLens: readonly number[], kvLens: readonly number[], heads: Heads, dtype: ComputeDType, device: DeviceId, seed: number): Packed {
  const sequences = qoLens.map((qoLen, b) => makeArrays({ ...attentionCase({}), ...heads, qoLen, kvLen: kvLens[b]! }, dtype, seed + b))
  const total = (lens: readonly number[]): number => lens.reduce((sum, n) => sum + n, 0)
  return {
    sequences,
    q: tensorOf(concat(sequences.map((s) => s.q)), [total(qoLens), heads.numQoHeads, heads.headDimQk], dtype, device),
    k: tensorOf(concat(sequences.map((s) => s.k)), [total(kvLens), heads.numKvHeads, heads.headDimQk], dtype, device),
    v: tensorOf(concat(sequences.map((s) => s.v)), [total(kvLens), heads.numKvHeads, heads.headDimVo], dtype, device),
    qoIndptr: cumulative(qoLens),
    kvIndptr: cumulative(kvLens),
  }
}

/** lse of one sequence [heads, len] out of the packed [heads, total]. */
function lseOf(lse: ArrayLike<number>, heads: number, total: number, begin: number, len: number): number[] {
  return Array.from({ length: heads * len }, (_, n) => lse[Math.floor(n / len) * total + begin + (n % len)]!)
}

function check(qoLens: readonly number[], kvLens: readonly number[], heads: Heads, options: ReferenceOptions, dtype: ComputeDType, device: DeviceId): void {
  const { sequences, q, k, v, qoIndptr, kvIndptr } = pack(qoLens, kvLens, heads, dtype, device, 40)
  const { out, lse } = flashAttentionVarlen(q, k, v, { ...callOptions(options, qoLens.length, heads.numQoHeads, device), qoIndptr, kvIndptr })
  const total = qoIndptr.at(-1)!
  expect(out.shape).toEqual([total, heads.numQoHeads, heads.headDimVo])
  expect(lse.shape).toEqual([heads.numQoHeads, total])
  const factor = options.logitSoftcap ? softcapFactor : plainFactor
  const perRow = heads.numQoHeads * heads.headDimVo
  const outNumbers = out.readSync()
  const lseNumbers = lse.readSync()
  for (const [b, arrays] of sequences.entries()) {
    const slopes = options.alibiSlopes
    const own = slopes && slopes.length > heads.numQoHeads
      ? { ...options, alibiSlopes: Array.from(slopes).slice(b * heads.numQoHeads, (b + 1) * heads.numQoHeads) }
      : options
    const expected = attention(arrays, own)
    const plain = plainAttention(arrays, own, dtype)
    expectAsGoodAsPlain(outNumbers.slice(qoIndptr[b]! * perRow, qoIndptr[b + 1]! * perRow), expected.out, plain.out, { dtype, factor }, `out of sequence ${b}`)
    expectLseAsGoodAsPlain(lseOf(lseNumbers, heads.numQoHeads, total, qoIndptr[b]!, qoLens[b]!), expected.lse, plain.lse, factor)
  }
}

const heads: Heads = { numQoHeads: 4, numKvHeads: 2, headDimQk: 40, headDimVo: 40 }

describe.each(devicesAndDTypes)('flashAttentionVarlen on %s in %s', (device, dtype) => {
  it.each([
    [[5, 1, 64, 129], [5, 200, 64, 130]],
    [[1, 3, 7, 0, 2], [3, 0, 7, 5, 1]],
    [[2, 1], [1, 511]],
    [[0, 0], [0, 4]],
    [[513], [3]],
    [[1, 1, 1, 1, 1, 1], [700, 1, 33, 0, 64, 65]],
  ])('sequences of %j queries over %j keys', (qoLens, kvLens) => {
    check(qoLens, kvLens, heads, {}, dtype, device)
    check(qoLens, kvLens, heads, { causal: true }, dtype, device)
  })

  it.each<[ReferenceOptions]>([
    [{ causal: true, window: { left: 9 } }],
    [{ window: { left: 3, right: 20 } }],
    [{ causal: true, logitSoftcap: 10, softmaxScale: 0.7 }],
    [{ causal: true, sinks: [0, 1, -2, 3] }],
    [{ alibiSlopes: [0.5, 0.25, 0.125, 0.0625] }],
    [{ causal: true, alibiSlopes: [0.5, 0.25, 0.125, 0.0625, 0.1, 0.2, 0.3, 0.4, 1, 2, 3, 4] }],
  ])('option %j', (options) => {
    check([20, 1, 35], [45, 80, 20], heads, options, dtype, device)
  })

  it.each<[Heads]>([
    [{ numQoHeads: 7, numKvHeads: 1, headDimQk: 192, headDimVo: 128 }],
    [{ numQoHeads: 3, numKvHeads: 3, headDimQk: 1, headDimVo: 3 }],
    [{ numQoHeads: 16, numKvHeads: 2, headDimQk: 128, headDimVo: 128 }],
  ])('heads %j', (shape) => {
    check([9, 1, 0], [9, 30, 2], shape, { causal: true }, dtype, device)
  })
})

describe.each(testDevices)('flashAttentionVarlen on %s', (device) => {
  it('gives each sequence the bits that it has alone in flashAttention', () => {
    const packed = pack([4, 1, 90], [50, 333, 90], heads, 'float32', device, 50)
    const { out } = flashAttentionVarlen(packed.q, packed.k, packed.v, { causal: true, qoIndptr: packed.qoIndptr, kvIndptr: packed.kvIndptr })
    for (const [b, s] of packed.sequences.entries()) {
      const single = flashAttention(
        tensorOf(s.q, [1, s.qoLen, 4, 40], 'float32', device), tensorOf(s.k, [1, s.kvLen, 2, 40], 'float32', device),
        tensorOf(s.v, [1, s.kvLen, 2, 40], 'float32', device), { causal: true },
      )
      expectSameBits(out.slice(0, packed.qoIndptr[b]!, packed.qoIndptr[b + 1]!).readSync(), single.out.readSync(), `sequence ${b}`)
    }
  })

  it('reads strided inputs and writes a strided out', () => {
    const packed = pack([4, 7], [9, 21], heads, 'float32', device, 60)
    const indptr = { qoIndptr: packed.qoIndptr, kvIndptr: packed.kvIndptr }
    const expected = flashAttentionVarlen(packed.q, packed.k, packed.v, indptr).out.readSync()
    const [q, k, v] = [packed.q, packed.k, packed.v].map((t) => stridedView(t.readSync(), t.shape, 'float32', device, { order: [1, 0, 2] }))
    const base = Tensor.from(new Float32Array(4 * 11 * 42).fill(7), [4, 11, 42], { device })
    const out = base.transpose(0, 1).slice(2, 1, 41)
    flashAttentionVarlen(q!, k!, v!, { ...indptr, out })
    expectSameBits(out.readSync(), expected)
    expect(base.readSync().filter((value) => value === 7)).toHaveLength(4 * 11 * 2)
  })

  it('takes indptr as any array of integers', () => {
    const packed = pack([2, 3], [4, 5], heads, 'float32', device, 70)
    const expected = flashAttentionVarlen(packed.q, packed.k, packed.v, { qoIndptr: [0, 2, 5], kvIndptr: [0, 4, 9] }).out.readSync()
    const typed = { qoIndptr: Int32Array.of(0, 2, 5), kvIndptr: Float64Array.of(0, 4, 9) }
    expectSameBits(flashAttentionVarlen(packed.q, packed.k, packed.v, typed).out.readSync(), expected)
  })
})
