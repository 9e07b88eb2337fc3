import { flashAttention, Tensor, type DeviceId } from '../../lib/index'
import type { AttentionArrays, ReferenceOptions } from '../reference/attention'
import { attentionCase, makeArrays, type RandomArrays } from '../support/attention-cases'
import { devicesAndDTypes, testDevices, type ComputeDType } from '../support/devices'
import { callOptions, expectAttention, packedTensors } from '../support/run-attention'

/** The rule as the documentation has it: `diagonal` is the key under the query when the last query lies on the last key. */
function isVisible(j: number, diagonal: number, { causal = false, window = {} }: ReferenceOptions): boolean {
  return !(causal && j > diagonal) && j >= diagonal - (window.left ?? Infinity) && j <= diagonal + (window.right ?? Infinity)
}

/**
 * Which keys each query sees, against the rule: V is the identity and all logits are equal, so out[i][j] is 1 / count where i sees j, and else
 * exactly 0. Returns the pairs where the two differ.
 */
function wrongPairs(qoLen: number, kvLen: number, options: ReferenceOptions, device: DeviceId): string[] {
  const q = Tensor.zeros([1, qoLen, 1, 8], { device })
  const k = Tensor.zeros([1, kvLen, 1, 8], { device })
  const identity = new Float32Array(kvLen * kvLen)
  for (let j = 0; j < kvLen; ++j) identity[j * kvLen + j] = 1
  const v = Tensor.from(identity, [1, kvLen, 1, kvLen], { device })
  const out = flashAttention(q, k, v, callOptions(options, 1, 1, device)).out.readSync()
  const wrong: string[] = []
  for (let i = 0; i < qoLen; ++i) {
    for (let j = 0; j < kvLen; ++j) {
      const seen = out[i * kvLen + j] !== 0
      if (seen !== isVisible(j, i + kvLen - qoLen, options)) wrong.push(`query ${i} ${seen ? 'sees' : 'misses'} key ${j}`)
    }
  }
  return wrong
}

describe.each(testDevices)('the keys that each query sees on %s', (device) => {
  const lengths = [[1, 1], [1, 130], [9, 9], [70, 130], [130, 70], [130, 130], [129, 257]] as const
  const masks: readonly ReferenceOptions[] = [
    {}, { causal: true },
    ...[0, 1, 2, 63, 64, 65, 127, 128].flatMap((side) => [
      { window: { left: side } }, { window: { right: side } }, { window: { left: side, right: side } }, { window: { left: side }, causal: true },
      { window: { left: 3, right: side }, causal: true },
    ]),
  ]
  it.each(lengths)('%d queries over %d keys, every mask exactly', (qoLen, kvLen) => {
    for (const mask of masks) expect({ mask, wrong: wrongPairs(qoLen, kvLen, mask, device) }).toEqual({ mask, wrong: [] })
  })

  it('follows the diagonal of each sequence where kvLens shorten it', () => {
    const kvLen = 90
    const q = Tensor.zeros([3, 4, 1, 8], { device })
    const k = Tensor.zeros([3, kvLen, 1, 8], { device })
    const identity = new Float32Array(3 * kvLen * kvLen)
    for (let n = 0; n < 3 * kvLen; ++n) identity[n * kvLen + (n % kvLen)] = 1
    const v = Tensor.from(identity, [3, kvLen, 1, kvLen], { device })
    const lens = [90, 67, 2]
    const out = flashAttention(q, k, v, { causal: true, window: { left: 5 }, kvLens: Tensor.from(lens, [3], { dtype: 'int32', device }) }).out
    const numbers = out.readSync()
    for (const [b, len] of lens.entries()) {
      for (let i = 0; i < 4; ++i) {
        const seen = Array.from({ length: kvLen }, (_, j) => numbers[(b * 4 + i) * kvLen + j] !== 0)
        const expected = Array.from({ length: kvLen }, (_, j) => j < len && isVisible(j, i + len - 4, { causal: true, window: { left: 5 } }))
        expect({ b, i, seen }).toEqual({ b, i, seen: expected })
      }
    }
  })
})

describe.each(devicesAndDTypes)('numbers out of the ordinary on %s in %s', (device, dtype) => {
  function check(arrays: AttentionArrays, options: ReferenceOptions): void {
    checkArrays(arrays, options, dtype, device)
  }
  const dims = attentionCase({ qoLen: 70, kvLen: 130, numQoHeads: 2, numKvHeads: 1, headDimQk: 24 })
  const few = attentionCase({ qoLen: 2, kvLen: 130, numQoHeads: 2, numKvHeads: 1, headDimQk: 24 })

  it.each([['NaN', NaN], ['+infinity', Infinity], ['-infinity', -Infinity]])('%s in hidden keys and values touches no row that does not see it', (_, bad) => {
    for (const shape of [dims, few]) {
      const arrays = makeArrays(shape, dtype, 5)
      // The first key is seen by nobody under this window, the last one by the last query only.
      for (const key of [0, 129]) {
        arrays.k.fill(bad, key * 24, (key + 1) * 24)
        arrays.v.fill(bad, key * 24, (key + 1) * 24)
      }
      // The last row sees the poison: what it holds is NaN in any case, and the reference says so as well.
      check(arrays, { causal: true, window: { left: 30 } })
    }
  })

  it('never reads keys and values beyond kvLens', () => {
    for (const shape of [{ ...dims, batch: 2 }, { ...few, batch: 2 }]) {
      const arrays = makeArrays(shape, dtype, 6)
      const lens = [65, 0]
      for (const [b, len] of lens.entries()) {
        arrays.k.fill(NaN, (b * 130 + len) * 24, (b + 1) * 130 * 24)
        arrays.v.fill(NaN, (b * 130 + len) * 24, (b + 1) * 130 * 24)
      }
      check(arrays, { kvLens: lens })
      check(arrays, { kvLens: lens, causal: true })
    }
  })

  it('keeps a NaN value to its own feature, and a NaN key to the rows that see it', () => {
    const arrays = makeArrays(dims, dtype, 7)
    arrays.v[100 * 24 + 3] = NaN
    check(arrays, { causal: true })
    arrays.k[80 * 24] = NaN
    check(arrays, { causal: true })
  })

  it('keeps an infinite value to its own feature', () => {
    const arrays = makeArrays(dims, dtype, 8)
    arrays.v[100 * 24 + 3] = Infinity
    arrays.v[90 * 24 + 5] = -Infinity
    check(arrays, { causal: true, softmaxScale: 0.1 })
  })

  it('gives a NaN query NaN in its own row alone', () => {
    const arrays = makeArrays(dims, dtype, 9)
    arrays.q[(33 * 2 + 1) * 24] = NaN
    check(arrays, {})
  })

  /** Query and key 0 of every row meet in feature 0 alone, so that a logit can be made infinite of either sign. */
  function infiniteArrays(shape: typeof dims, sign: (key: number) => number): RandomArrays {
    const arrays = makeArrays(shape, dtype, 10)
    for (let row = 0; row < arrays.q.length / 24; ++row) arrays.q[row * 24] = 1
    for (let j = 0; j < shape.kvLen; ++j) {
      if (sign(j) !== 0) arrays.k[j * 24] = sign(j) * Infinity
    }
    return arrays
  }

  it('leaves keys with logit -infinity out', () => {
    check(infiniteArrays(dims, (j) => (j % 3 === 0 ? -1 : 0)), { causal: true })
    check(infiniteArrays(few, (j) => (j < 100 ? -1 : 0)), {})
  })

  it('gives out 0 and lse -infinity where every visible logit is -infinity', () => {
    check(infiniteArrays(dims, () => -1), {})
    check(infiniteArrays(dims, (j) => (j < 100 ? -1 : 0)), { causal: true })
    check(infiniteArrays(few, () => -1), {})
    check(infiniteArrays(dims, () => -1), { sinks: [0.5, -Infinity] })
  })

  it('gives NaN where a logit is +infinity, as the softmax of it is', () => {
    check(infiniteArrays(dims, (j) => (j === 101 ? 1 : 0)), { causal: true })
    check(infiniteArrays(few, (j) => (j === 3 ? 1 : 0)), {})
  })

  it('caps infinite logits like any others', () => {
    check(infiniteArrays(dims, (j) => (j % 5 === 0 ? 1 : j % 7 === 0 ? -1 : 0)), { logitSoftcap: 5, causal: true })
  })

  it('holds logits of ten thousand', () => {
    check(makeArrays(dims, dtype, 11), { softmaxScale: 1000, causal: true })
    check(makeArrays(few, dtype, 12), { softmaxScale: -1000 })
    check(makeArrays(dims, dtype, 13), { softmaxScale: 1000, logitSoftcap: 30 })
  })

  it('holds one key that outweighs all before it, block after block', () => {
    const arrays = makeArrays(dims, dtype, 14)
    // Each key's logit is larger than all before it: every step of an online softmax must rescale.
    for (let row = 0; row < arrays.q.length / 24; ++row) arrays.q[row * 24] = 4
    for (let j = 0; j < 130; ++j) arrays.k[j * 24] = j
    check(arrays, {})
    for (let j = 0; j < 130; ++j) arrays.k[j * 24] = 129 - j
    check(arrays, {})
  })
})

function checkArrays(arrays: AttentionArrays, options: ReferenceOptions, dtype: ComputeDType, device: DeviceId): void {
  const { q, k, v } = packedTensors(arrays, dtype, device)
  const { out, lse } = flashAttention(q, k, v, callOptions(options, arrays.batch, arrays.numQoHeads, device))
  expectAttention({ out, lse }, arrays, options, dtype)
}
