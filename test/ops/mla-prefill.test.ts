import { mlaPrefill } from '../../lib/ops/mla-prefill'
import { attention } from '../reference/attention'
import { roundAll } from '../reference/rounding'
import { devicesAndDTypes } from '../support/devices'
import { plainAttention } from '../support/plain-attention'
import { Random } from '../support/random'
import { int32Of, tensorOf } from '../support/tensors'
import { expectAsGoodAsPlain, expectLseAsGoodAsPlain } from '../support/tolerance'

interface Shape {
  readonly qoLen: number
  readonly kvLen: number
  readonly heads: number
  readonly nope: number
  readonly rope: number
  readonly vo: number
  readonly kvLens?: readonly number[]
}

/** DeepSeek's widths, narrow ones, and ones that are not whole pieces of 16 bytes; rows for more than one tile. */
const shapes: readonly Shape[] = [
  { qoLen: 70, kvLen: 130, heads: 2, nope: 128, rope: 64, vo: 128 },
  { qoLen: 1, kvLen: 67, heads: 4, nope: 128, rope: 64, vo: 128 },
  { qoLen: 45, kvLen: 45, heads: 3, nope: 32, rope: 16, vo: 24 },
  { qoLen: 9, kvLen: 21, heads: 2, nope: 5, rope: 2, vo: 7 },
  { qoLen: 20, kvLen: 40, heads: 2, nope: 64, rope: 32, vo: 64, kvLens: [40, 23] },
]

describe.each(devicesAndDTypes)('mlaPrefill on %s in %s', (device, dtype) => {
  it.each(shapes)('%j', ({ qoLen, kvLen, heads, nope, rope, vo, kvLens }) => {
    const [batch, dim, random] = [kvLens?.length ?? 1, nope + rope, new Random(qoLen + nope)]
    const numbers = (count: number) => roundAll(dtype, random.normals(count))
    const [qNope, qPe] = [numbers(batch * qoLen * heads * nope), numbers(batch * qoLen * heads * rope)]
    const [kNope, kPe, v] = [numbers(batch * kvLen * heads * nope), numbers(batch * kvLen * rope), numbers(batch * kvLen * heads * vo)]
    const softmaxScale = dim ** -0.5
    const { out, lse } = mlaPrefill({
      qNope: tensorOf(qNope, [batch, qoLen, heads, nope], dtype, device), qPe: tensorOf(qPe, [batch, qoLen, heads, rope], dtype, device),
      kNope: tensorOf(kNope, [batch, kvLen, heads, nope], dtype, device), kPe: tensorOf(kPe, [batch, kvLen, rope], dtype, device),
      v: tensorOf(v, [batch, kvLen, heads, vo], dtype, device), ...(kvLens && { kvLens: int32Of([...kvLens], [batch], device) }),
    }, { softmaxScale, causal: true, returnLse: true })
    // The same with the two parts side by side, the rope key repeated for each head.
    const joined = (first: Float64Array, second: Float64Array, rows: number, secondHeads: number) => {
      const both = new Float64Array(rows * heads * dim)
      for (let row = 0; row < rows; ++row) {
        for (let h = 0; h < heads; ++h) {
          const [at, from] = [row * heads + h, secondHeads === 1 ? row : row * heads + h]
          both.set(first.subarray(at * nope, (at + 1) * nope), at * dim)
          both.set(second.subarray(from * rope, (from + 1) * rope), at * dim + nope)
        }
      }
      return both
    }
    const arrays = {
      batch, qoLen, kvLen, numQoHeads: heads, numKvHeads: heads, headDimQk: dim, headDimVo: vo,
      q: joined(qNope, qPe, batch * qoLen, heads), k: joined(kNope, kPe, batch * kvLen, 1), v,
    }
    const options = { causal: true, softmaxScale, ...(kvLens && { kvLens }) }
    const [expected, plain] = [attention(arrays, options), plainAttention(arrays, options, dtype)]
    expectAsGoodAsPlain(out.readSync(), expected.out, plain.out, { dtype })
    expectLseAsGoodAsPlain(lse.readSync(), expected.lse, plain.lse)
  })
})
