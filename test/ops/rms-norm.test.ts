import { rmsNorm, Tensor, type FloatDType } from '../../lib/index'
import { rmsNorm as referenceRmsNorm } from '../reference/rms-norm'
import { roundAll } from '../reference/rounding'
import { expectSameBits } from '../support/compare'
import { computeDTypes, devicesAndDTypes, testDevices } from '../support/devices'
import { plainRmsNorm } from '../support/plain-ops'
import { Random } from '../support/random'
import { sizeOf, stridedView, tensorOf } from '../support/tensors'
import { expectAsGoodAsPlain } from '../support/tolerance'

describe.each(devicesAndDTypes)('rmsNorm on %s in %s', (device, dtype) => {
  it.each([[[1]], [[7]], [[3, 8]], [[2, 5, 59]], [[4, 3, 2, 128]], [[2, 1536]], [[0, 16]], [[1, 4097]]])('x %j', (shape) => {
    const random = new Random(shape.length)
    const width = shape.at(-1)!
    for (const [weightDType, eps] of [...computeDTypes.map((w) => [w, 1e-6] as const), [dtype, 0.5] as const]) {
      const x = roundAll(dtype, random.normals(sizeOf(shape), 3))
      const weight = roundAll(weightDType, random.normals(width))
      const y = rmsNorm(tensorOf<FloatDType>(x, shape, dtype, device), tensorOf<FloatDType>(weight, [width], weightDType, device), { eps })
      expect([y.shape, y.dtype]).toEqual([shape, dtype])
      expectAsGoodAsPlain(y.readSync(), referenceRmsNorm(x, weight, eps), plainRmsNorm(x, weight, eps, dtype), { dtype })
    }
  })

  it('gives 0 for a row of zeros and NaN for a row with NaN, and leaves other rows alone', () => {
    const x = roundAll(dtype, new Random(9).normals(3 * 40))
    x.fill(0, 0, 40)
    x[45] = NaN
    const weight = new Float64Array(40).fill(1)
    const y = rmsNorm(tensorOf(x, [3, 40], dtype, device), tensorOf(weight, [40], dtype, device))
    expectAsGoodAsPlain(y.readSync(), referenceRmsNorm(x, weight, 1e-6), plainRmsNorm(x, weight, 1e-6, dtype), { dtype })
  })
})

describe.each(testDevices)('rmsNorm on %s', (device) => {
  const x = new Random(1).normals(3 * 4 * 20)
  const weight = new Random(2).normals(20)

  it('has eps 1e-6 unless told', () => {
    const tiny = tensorOf(x.map((value) => value * 1e-3), [12, 20], 'float32', device)
    const w = tensorOf(weight, [20], 'float32', device)
    expectSameBits(rmsNorm(tiny, w).readSync(), rmsNorm(tiny, w, { eps: 1e-6 }).readSync())
  })

  it('works in place, from strides and into strides', () => {
    const w = tensorOf(weight, [20], 'float32', device)
    const expected = rmsNorm(tensorOf(x, [3, 4, 20], 'float32', device), w).readSync()
    const inPlace = tensorOf(x, [3, 4, 20], 'float32', device)
    expect(rmsNorm(inPlace, w, { out: inPlace })).toBe(inPlace)
    expectSameBits(inPlace.readSync(), expected)
    const strided = stridedView(x, [3, 4, 20], 'float32', device, { order: [1, 0, 2] })
    const stridedWeight = stridedView(weight, [20], 'float32', device)
    expectSameBits(rmsNorm(strided, stridedWeight).readSync(), expected)
    const featuresApart = stridedView(x, [3, 4, 20], 'float32', device, { order: [2, 0, 1] })
    const apart = rmsNorm(featuresApart, w).readSync()
    expect(Math.max(...Array.from(apart, (value, n) => Math.abs(value - expected[n]!)))).toBeLessThan(1e-5)
    const base = Tensor.from(new Float32Array(3 * 4 * 22).fill(7), [3, 4, 22], { device })
    rmsNorm(strided, w, { out: base.slice(2, 1, 21) })
    expectSameBits(base.slice(2, 1, 21).readSync(), expected)
    expect(base.readSync().filter((value) => value === 7)).toHaveLength(24)
  })
})
