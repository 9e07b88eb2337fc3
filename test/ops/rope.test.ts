import { rope, Tensor, type RopeConfig } from '../../lib/index'
import { rope as referenceRope, ropeFrequencies, ropeMagnitude } from '../reference/rope'
import { roundAll } from '../reference/rounding'
import { expectSameBits } from '../support/compare'
import { devicesAndDTypes, testDevices } from '../support/devices'
import { plainRope } from '../support/plain-ops'
import { Random } from '../support/random'
import { int32Of, stridedView, tensorOf } from '../support/tensors'
import { expectAsGoodAsPlain } from '../support/tolerance'

type Shape4 = readonly [number, number, number, number]

const configs: readonly RopeConfig[] = [
  { interleaved: false },
  { interleaved: true },
  { interleaved: false, theta: 500000 },
  { interleaved: true, theta: 1e6, scaling: { type: 'linear', factor: 4 } },
  { interleaved: false, theta: 500000, scaling: { type: 'llama3', factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalMaxPositions: 8192 } },
  { interleaved: true, scaling: { type: 'yarn', factor: 40, originalMaxPositions: 4096, mscale: 1, mscaleAllDim: 1 } },
  { interleaved: true, scaling: { type: 'yarn', factor: 40, originalMaxPositions: 4096, betaFast: 32, betaSlow: 1, mscale: 0.707, mscaleAllDim: 0.5 } },
  { interleaved: false, scaling: { type: 'yarn', factor: 4, originalMaxPositions: 32768, betaFast: 16, betaSlow: 2 } },
]

describe.each(devicesAndDTypes)('rope on %s in %s', (device, dtype) => {
  const shapes: readonly (readonly [Shape4, number])[] = [[[2, 5, 3, 64], 64], [[1, 7, 2, 192], 64], [[1, 1, 1, 2], 2], [[3, 2, 5, 20], 6], [[1, 0, 2, 8], 8]]
  describe.each(shapes)('x %j, dim %d', (shape, dim) => {
    it.each(configs.map((config) => [JSON.stringify(config), config] as const))('%s', (_, config) => {
      const [batch, len, heads, width] = shape
      const random = new Random(dim)
      const x = roundAll(dtype, random.normals(batch * len * heads * width))
      const counting = Array.from({ length: batch * len }, (_, token) => token % len)
      // 2^20 and beyond: angles must not have been computed in float32.
      const far = counting.map(() => random.integer(0, 2 ** 20))
      for (const positions of [undefined, far]) {
        const tensor = tensorOf(x, shape, dtype, device)
        const y = rope(tensor, config, { dim, ...(positions && { positions: int32Of(positions, [batch, len], device) }) })
        expect([y.shape, y.dtype]).toEqual([shape, dtype])
        const expected = referenceRope(x, shape, config, dim, positions ?? counting)
        const plain = plainRope(x, shape, config, dim, positions ?? counting, dtype)
        expectAsGoodAsPlain(y.readSync(), expected, plain, { dtype })
      }
    })
  })
})

describe('the reference frequencies', () => {
  it('keep fast pairs, divide slow ones, and blend between, for llama3 and yarn', () => {
    for (const scaling of [
      { type: 'llama3', factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalMaxPositions: 8192 },
      { type: 'yarn', factor: 8, originalMaxPositions: 4096 },
    ] as const) {
      const plain = ropeFrequencies(128, { interleaved: true })
      const ratios = ropeFrequencies(128, { interleaved: true, scaling }).map((frequency, i) => frequency / plain[i]!)
      expect(ratios[0]).toBe(1)
      expect(ratios.at(-1)).toBeCloseTo(1 / 8, 12)
      for (let i = 1; i < ratios.length; ++i) expect(ratios[i]!).toBeLessThanOrEqual(ratios[i - 1]! + 1e-12)
      expect(ratios.filter((ratio) => ratio < 0.999 && ratio > 0.126).length).toBeGreaterThan(5)
    }
  })

  it('scale cos and sin by one for the checkpoints of DeepSeek', () => {
    const scaling = { type: 'yarn', factor: 40, originalMaxPositions: 4096, mscale: 0.707, mscaleAllDim: 0.707 } as const
    expect(ropeMagnitude({ interleaved: true, scaling })).toBe(1)
  })
})

describe.each(testDevices)('rope on %s', (device) => {
  const shape: Shape4 = [2, 6, 3, 32]
  const x = new Random(1).normals(2 * 6 * 3 * 32)

  it('rotates all features unless told', () => {
    const tensor = tensorOf(x, shape, 'float32', device)
    expectSameBits(rope(tensor, { interleaved: true }).readSync(), rope(tensor, { interleaved: true }, { dim: 32 }).readSync())
  })

  it('keeps the features before the last dim bit for bit', () => {
    const tensor = tensorOf(x, shape, 'bfloat16', device)
    const rotated = rope(tensor, { interleaved: false }, { dim: 8 })
    expectSameBits(rotated.slice(3, 0, 24).readSync(), tensor.slice(3, 0, 24).readSync())
  })

  it('keeps q · k a function of the distance alone', () => {
    const [q, k] = [new Random(2).normals(64), new Random(3).normals(64)]
    const dotAt = (config: RopeConfig, i: number, j: number): number => {
      const rotate = (values: Float64Array, position: number): ArrayLike<number> =>
        rope(tensorOf(values, [1, 1, 1, 64], 'float32', device), config, { positions: int32Of([position], [1, 1], device) }).readSync()
      const [a, b] = [rotate(q, i), rotate(k, j)]
      return Array.from(a).reduce((sum, value, n) => sum + value * b[n]!, 0)
    }
    for (const interleaved of [true, false]) {
      // 64 products of numbers around 1, each a few float32 roundings off.
      expect(Math.abs(dotAt({ interleaved }, 105, 100) - dotAt({ interleaved }, 5, 0))).toBeLessThan(64 * 4 * 2 ** -22)
    }
  })

  it('works in place, from strides and into strides', () => {
    const positions = int32Of([5, 4, 3, 2, 1, 0, 9, 8, 7, 6, 5, 4], [2, 6], device)
    const expected = rope(tensorOf(x, shape, 'float32', device), { interleaved: false }, { positions }).readSync()
    const inPlace = tensorOf(x, shape, 'float32', device)
    expect(rope(inPlace, { interleaved: false }, { positions, out: inPlace })).toBe(inPlace)
    expectSameBits(inPlace.readSync(), expected)
    const strided = stridedView(x, shape, 'float32', device, { order: [1, 0, 2, 3] })
    expectSameBits(rope(strided, { interleaved: false }, { positions }).readSync(), expected)
    const base = Tensor.from(new Float32Array(2 * 6 * 3 * 40).fill(7), [2, 6, 3, 40], { device })
    rope(strided, { interleaved: false }, { positions, out: base.slice(3, 4, 36) })
    expectSameBits(base.slice(3, 4, 36).readSync(), expected)
    expect(base.readSync().filter((value) => value === 7)).toHaveLength(2 * 6 * 3 * 8)
  })

  it('reads positions through strides', () => {
    const tensor = tensorOf(x, shape, 'float32', device)
    const positions = int32Of([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8], [6, 2], device)
    const packed = int32Of([3, 4, 5, 2, 5, 5, 1, 1, 9, 6, 3, 8], [2, 6], device)
    const strided = rope(tensor, { interleaved: true }, { positions: positions.transpose(0, 1) })
    expectSameBits(strided.readSync(), rope(tensor, { interleaved: true }, { positions: packed }).readSync())
  })
})
