import { flashAttention, Tensor, type FloatTensor } from '../../lib/index'
import { attentionCase, makeArrays } from '../support/attention-cases'
import { expectSameBits } from '../support/compare'
import { devicesAndDTypes, testDevices } from '../support/devices'
import { callOptions, expectAttention, packedTensors } from '../support/run-attention'
import { assign, stridedView } from '../support/tensors'

const cases = [
  attentionCase({ batch: 2, qoLen: 37, kvLen: 75, headDimQk: 20, headDimVo: 12, options: { causal: true } }),
  attentionCase({ batch: 2, qoLen: 1, kvLen: 75, headDimQk: 20, headDimVo: 12 }),
  attentionCase({ batch: 2, qoLen: 6, kvLen: 75, headDimQk: 64, options: { causal: true, sinks: [1, 2, 3, 4] } }),
]
/** Storage orders of [batch, len, heads, dim]: as it is, heads outermost, dims before rows (features no longer adjacent), all reversed. */
const orders = [[0, 1, 2, 3], [0, 2, 1, 3], [2, 0, 1, 3], [0, 2, 3, 1], [3, 2, 1, 0]] as const

describe.each(devicesAndDTypes)('flashAttention of views on %s in %s', (device, dtype) => {
  it.each(orders)('reads inputs stored in axis order %d %d %d %d, with NaN all around', (...order) => {
    for (const c of cases) {
      const arrays = makeArrays(c, dtype, 20)
      const shapes = packedTensors(arrays, dtype, device)
      const q = stridedView(arrays.q, shapes.q.shape, dtype, device, { order })
      const k = stridedView(arrays.k, shapes.k.shape, dtype, device, { order })
      const v = stridedView(arrays.v, shapes.v.shape, dtype, device, { order })
      expectAttention(flashAttention(q, k, v, callOptions(c.options, c.batch, c.numQoHeads, device)), arrays, c.options, dtype)
    }
  })

  it('writes a strided out and nothing around it', () => {
    for (const c of cases) {
      const arrays = makeArrays(c, dtype, 21)
      const { q, k, v } = packedTensors(arrays, dtype, device)
      const options = callOptions(c.options, c.batch, c.numQoHeads, device)
      const expected = flashAttention(q, k, v, options).out
      const [batch, len, heads, dim] = expected.shape as [number, number, number, number]
      for (const transposed of [false, true]) {
        const base = Tensor.from(new Float32Array((batch + 2) * (len + 2) * (heads + 2) * (dim + 2)).fill(7),
          transposed ? [batch + 2, heads + 2, len + 2, dim + 2] : [batch + 2, len + 2, heads + 2, dim + 2], { dtype, device })
        let out: FloatTensor = transposed ? base.transpose(1, 2) : base
        for (const [axis, extent] of expected.shape.entries()) out = out.slice(axis, 1, 1 + extent)
        const returned = flashAttention(q, k, v, { ...options, out })
        expect(returned.out).toBe(out)
        expectSameBits(out.readSync(), expected.readSync())
        expect(base.readSync().filter((value) => value === 7)).toHaveLength(base.size - expected.size)
      }
    }
  })

  it('accepts keys that are views of the values, as caches of K = V are', () => {
    const c = attentionCase({ qoLen: 5, kvLen: 33, headDimQk: 16 })
    const arrays = makeArrays(c, dtype, 22)
    const { q, k } = packedTensors(arrays, dtype, device)
    const copy = Tensor.from(k.readSync(), k.shape, { dtype, device })
    expectSameBits(flashAttention(q, k, k).out.readSync(), flashAttention(q, k, copy).out.readSync())
  })
})

describe.each(testDevices)('tensors beyond 2^31 elements on %s', (device) => {
  // Memory that nobody touches costs nothing: the tests write the few rows that they use.
  it('reads and writes the last rows of the last sequence', () => {
    const rows = 2 ** 24 + 100
    const c = attentionCase({ batch: 2, qoLen: 2, kvLen: 40, numQoHeads: 1, numKvHeads: 1, headDimQk: 64 })
    const arrays = makeArrays(c, 'bfloat16', 23)
    const { q, k, v } = packedTensors(arrays, 'bfloat16', device)
    using large = Tensor.empty([2, rows, 1, 64], { dtype: 'bfloat16', device })
    const farK = assign(large.slice(1, rows - 40, rows), k)
    const farV = assign(large.slice(1, rows - 80, rows - 40), v)
    // In memory of its own: `out` may not lie between the rows of an input.
    using largeOut = Tensor.empty([2, rows, 1, 64], { dtype: 'bfloat16', device })
    const out = largeOut.slice(1, rows - 2, rows)
    expectAttention(flashAttention(q, farK, farV, { out, returnLse: true }), arrays, {}, 'bfloat16')
  })

  it('steps from row to row by more than 2^30 elements', () => {
    const c = attentionCase({ qoLen: 2, kvLen: 3, numQoHeads: 1, numKvHeads: 1, headDimQk: 32 })
    const arrays = makeArrays(c, 'bfloat16', 24)
    const { q, k, v } = packedTensors(arrays, 'bfloat16', device)
    using large = Tensor.empty([1, 3, 1, 2 ** 30 + 64], { dtype: 'bfloat16', device })
    const farK = assign(large.slice(3, 2 ** 30, 2 ** 30 + 32), k)
    const farV = assign(large.slice(3, 2 ** 30 + 32, 2 ** 30 + 64), v)
    expectAttention(flashAttention(q, farK, farV, { returnLse: true }), arrays, {}, 'bfloat16')
  })
})
