import { flashAttention, mergeStates, Tensor, type AttentionState, type DeviceId } from '../../lib/index'
import type { ReferenceResult } from '../reference/attention'
import { batchLseIndex, mergeStates as referenceMerge } from '../reference/merge-states'
import { roundAll, roundTo } from '../reference/rounding'
import { attentionCase, makeArrays } from '../support/attention-cases'
import { expectSameBits } from '../support/compare'
import { devicesAndDTypes, testDevices, type ComputeDType } from '../support/devices'
import { expectAttention, packedTensors } from '../support/run-attention'
import { Random } from '../support/random'
import { stridedView, tensorOf } from '../support/tensors'
import { expectAsGoodAsPlain, expectLseAsGoodAsPlain } from '../support/tolerance'

const f32 = Math.fround

interface Shape {
  readonly batch: number
  readonly len: number
  readonly heads: number
  readonly dim: number
}

function randomState({ batch, len, heads, dim }: Shape, dtype: ComputeDType, random: Random): ReferenceResult {
  const rows = batch * len * heads
  return { out: roundAll(dtype, random.normals(rows * dim)), lse: roundAll('float32', random.normals(rows, 3)) }
}

function toState(state: ReferenceResult, { batch, len, heads, dim }: Shape, dtype: ComputeDType, device: DeviceId): AttentionState {
  return { out: tensorOf(state.out, [batch, len, heads, dim], dtype, device), lse: tensorOf(state.lse, [batch, heads, len], 'float32', device) }
}

/** The same sums in float32. */
function plainMerge(states: readonly ReferenceResult[], dim: number, lseIndex: (row: number) => number, dtype: ComputeDType): ReferenceResult {
  const merged = referenceMerge(states, dim, lseIndex)
  const out = new Float64Array(merged.out.length)
  for (let row = 0; row < out.length / dim; ++row) {
    const lses = states.map(({ lse }) => (lse[lseIndex(row)] === Infinity ? -Infinity : lse[lseIndex(row)]!))
    const max = Math.max(...lses)
    if (max === -Infinity) continue
    const weights = lses.map((lse) => f32(Math.exp(f32(lse - max))))
    const sum = weights.reduce((total, weight) => f32(total + weight), 0)
    for (let n = row * dim; n < (row + 1) * dim; ++n) {
      let total = 0
      for (const [s, weight] of weights.entries()) {
        if (weight !== 0) total = f32(total + f32(f32(weight / sum) * states[s]!.out[n]!))
      }
      out[n] = roundTo(dtype, total)
    }
  }
  return { out, lse: roundAll('float32', merged.lse) }
}

function check(states: readonly ReferenceResult[], shape: Shape, dtype: ComputeDType, device: DeviceId): void {
  const lseIndex = batchLseIndex(shape.len, shape.heads)
  const merged = mergeStates(states.map((state) => toState(state, shape, dtype, device)))
  expect(merged.out.shape).toEqual([shape.batch, shape.len, shape.heads, shape.dim])
  expect([merged.out.dtype, merged.lse.dtype]).toEqual([dtype, 'float32'])
  const expected = referenceMerge(states, shape.dim, lseIndex)
  const plain = plainMerge(states, shape.dim, lseIndex, dtype)
  expectAsGoodAsPlain(merged.out.readSync(), expected.out, plain.out, { dtype })
  expectLseAsGoodAsPlain(merged.lse.readSync(), expected.lse, plain.lse)
}

describe.each(devicesAndDTypes)('mergeStates on %s in %s', (device, dtype) => {
  it.each([1, 2, 3, 5, 17, 133])('%d states', (count) => {
    for (const shape of [{ batch: 2, len: 5, heads: 3, dim: 64 }, { batch: 1, len: 1, heads: 1, dim: 1 }, { batch: 1, len: 33, heads: 2, dim: 111 }]) {
      const random = new Random(count)
      check(Array.from({ length: count }, () => randomState(shape, dtype, random)), shape, dtype, device)
    }
  })

  it('leaves out states without keys, whatever their out holds, with either sign of infinity', () => {
    const shape = { batch: 1, len: 6, heads: 2, dim: 9 }
    const random = new Random(3)
    const states = [0, 1, 2].map(() => randomState(shape, dtype, random))
    for (const row of [0, 3, 11]) {
      for (const [s, state] of states.entries()) {
        if (row === 3 && s === 1) continue // row 3 keeps one state, rows 0 and 11 keep none
        const lseAt = batchLseIndex(6, 2)(row)
        state.lse[lseAt] = s === 2 ? Infinity : -Infinity
        state.out.fill(NaN, row * 9, (row + 1) * 9)
      }
    }
    check(states, shape, dtype, device)
  })

  it('propagates NaN to its own row', () => {
    const shape = { batch: 1, len: 4, heads: 1, dim: 8 }
    const random = new Random(4)
    const states = [randomState(shape, dtype, random), randomState(shape, dtype, random)]
    states[0]!.out[8] = NaN
    check(states, shape, dtype, device)
    states[1]!.lse[2] = NaN
    const merged = mergeStates(states.map((state) => toState(state, shape, dtype, device)))
    expect([...merged.lse.readSync()].map(Number.isNaN)).toEqual([false, false, true, false])
    expect([...merged.out.readSync()].map(Number.isNaN).filter((nan) => nan)).toHaveLength(1 + 8)
  })

  it('puts attention over disjoint keys together to attention over all', () => {
    const c = attentionCase({ batch: 2, qoLen: 9, kvLen: 100, headDimQk: 48, options: {} })
    const arrays = makeArrays(c, dtype, 5)
    const { q, k, v } = packedTensors(arrays, dtype, device)
    const bounds = [0, 1, 40, 100, 100]
    const parts = bounds.slice(1).map((end, n) =>
      flashAttention(q, k.slice(1, bounds[n]!, end), v.slice(1, bounds[n]!, end), { returnLse: true }),
    )
    const merged = mergeStates(parts)
    // Parts in a narrow dtype were rounded before the merge: float32 alone keeps the promise of one call.
    if (dtype === 'float32') expectAttention(merged, arrays, {}, dtype)
    const whole = flashAttention(q, k, v, { returnLse: true })
    const step = { float32: 2 ** -22, float16: 2 ** -9, bfloat16: 2 ** -6 }[dtype]
    const [a, b] = [merged.out.readSync(), whole.out.readSync()]
    // Each part and the result round once: |out| is below 2 here, so two units of the dtype at that size.
    expect(Math.max(...Array.from(a, (value, n) => Math.abs(value - b[n]!)))).toBeLessThanOrEqual(2 * step)
  })
})

describe.each(testDevices)('mergeStates on %s', (device) => {
  const shape = { batch: 1, len: 7, heads: 3, dim: 16 }

  it('is associative within rounding and has the empty state as identity', () => {
    const random = new Random(6)
    const [a, b, c] = [0, 1, 2].map(() => toState(randomState(shape, 'float32', random), shape, 'float32', device)) as [AttentionState, AttentionState, AttentionState]
    const left = mergeStates([mergeStates([a, b]), c])
    const right = mergeStates([a, mergeStates([b, c])])
    const [x, y] = [left.out.readSync(), right.out.readSync()]
    expect(Math.max(...Array.from(x, (value, n) => Math.abs(value - y[n]!)))).toBeLessThan(1e-6)
    const empty = {
      out: Tensor.from(new Float32Array(7 * 3 * 16).fill(NaN), [1, 7, 3, 16], { device }),
      lse: Tensor.from(new Float32Array(21).fill(-Infinity), [1, 3, 7], { device }),
    }
    expectSameBits(mergeStates([empty, a]).out.readSync(), a.out.readSync())
    expectSameBits(mergeStates([a, empty]).lse.readSync(), a.lse.readSync())
  })

  it('merges packed rows, lse [heads, total]', () => {
    const random = new Random(7)
    const states = [0, 1].map(() => randomState(shape, 'float32', random))
    const packed = states.map((state) => ({
      out: tensorOf(state.out, [7, 3, 16], 'float32', device), lse: tensorOf(state.lse, [3, 7], 'float32', device),
    }))
    const merged = mergeStates(packed)
    expect([merged.out.shape, merged.lse.shape]).toEqual([[7, 3, 16], [3, 7]])
    const batched = mergeStates(states.map((state) => toState(state, shape, 'float32', device)))
    expectSameBits(merged.out.readSync(), batched.out.readSync())
    expectSameBits(merged.lse.readSync(), batched.lse.readSync())
  })

  it('reads strided states', () => {
    const random = new Random(8)
    const states = [0, 1].map(() => randomState(shape, 'float32', random))
    const strided = states.map((state) => ({
      out: stridedView(state.out, [1, 7, 3, 16], 'float32', device, { order: [3, 1, 0, 2] }),
      lse: stridedView(state.lse, [1, 3, 7], 'float32', device, { order: [2, 0, 1] }),
    }))
    const packed = mergeStates(states.map((state) => toState(state, shape, 'float32', device)))
    expectSameBits(mergeStates(strided).out.readSync(), packed.out.readSync())
  })
})
