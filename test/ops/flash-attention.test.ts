import { flashAttention, Tensor } from '../../lib/index'
import { attentionCase, attentionCases, caseName, makeArrays, optionCases } from '../support/attention-cases'
import { devicesAndDTypes, testDevices } from '../support/devices'
import { checkCase, packedTensors } from '../support/run-attention'
import { expectSameBits } from '../support/compare'

describe.each(devicesAndDTypes)('flashAttention on %s in %s', (device, dtype) => {
  it.each(attentionCases.map((c) => [caseName(c), c] as const))('%s', (_, c) => {
    checkCase(c, dtype, device, 1)
  })

  it.each(optionCases.map((c) => [caseName(c), c] as const))('%s', (_, c) => {
    checkCase(c, dtype, device, 2)
  })
})

describe.each(testDevices)('flashAttention on %s', (device) => {
  const c = attentionCase({ batch: 2, qoLen: 7, kvLen: 40, options: { causal: true } })
  const arrays = makeArrays(c, 'float32', 3)

  it('gives no lse unless asked, and the same out either way', () => {
    const { q, k, v } = packedTensors(arrays, 'float32', device)
    const withLse = flashAttention(q, k, v, { causal: true, returnLse: true })
    const without = flashAttention(q, k, v, { causal: true })
    expect(Object.keys(without)).toEqual(['out'])
    expect(Object.keys(withLse).sort()).toEqual(['lse', 'out'])
    expectSameBits(without.out.readSync(), withLse.out.readSync())
  })

  it('takes undefined for any option as its default', () => {
    const { q, k, v } = packedTensors(arrays, 'float32', device)
    const bare = flashAttention(q, k, v).out.readSync()
    const explicit = flashAttention(q, k, v, { causal: false, window: {}, softmaxScale: 1 / 8, logitSoftcap: 0, returnLse: false })
    expectSameBits(explicit.out.readSync(), bare)
  })

  it('answers kvLens out of range as if clamped to the rows that exist', () => {
    const { q, k, v } = packedTensors(arrays, 'float32', device)
    const run = (lens: readonly number[]): Float32Array | Int32Array => {
      const kvLens = Tensor.from(lens, [2], { dtype: 'int32', device })
      return flashAttention(q, k, v, { causal: true, kvLens }).out.readSync()
    }
    expectSameBits(run([2147483647, -2147483648]), run([40, 0]))
    expectSameBits(run([41, -1]), run([40, 0]))
  })

  it('reads kvLens through strides', () => {
    const { q, k, v } = packedTensors(arrays, 'float32', device)
    const pairs = Tensor.from([12, 99, 33, 99], [2, 2], { dtype: 'int32', device })
    const kvLens = pairs.slice(1, 0, 1).reshape([2])
    const packed = Tensor.from([12, 33], [2], { dtype: 'int32', device })
    expectSameBits(flashAttention(q, k, v, { kvLens }).out.readSync(), flashAttention(q, k, v, { kvLens: packed }).out.readSync())
  })

  it('hides no key behind a window wider than any sequence', () => {
    const { q, k, v } = packedTensors(arrays, 'float32', device)
    const open = flashAttention(q, k, v).out.readSync()
    for (const side of [39, 40, 2 ** 31 - 1]) {
      expectSameBits(flashAttention(q, k, v, { window: { left: side, right: side } }).out.readSync(), open, `window ${side}`)
    }
  })

  it('runs queries of another dtype than keys and values', () => {
    const rounded = makeArrays(c, 'bfloat16', 4)
    const wide = packedTensors(rounded, 'float32', device)
    const narrow = packedTensors(rounded, 'bfloat16', device)
    const mixed = flashAttention(wide.q, narrow.k, narrow.v, { causal: true }).out
    expect(mixed.dtype).toBe('float32')
    expectSameBits(mixed.readSync(), flashAttention(wide.q, wide.k, wide.v, { causal: true }).out.readSync())
  })
})
