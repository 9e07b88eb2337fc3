import { devices, linear, Tensor } from '../../lib/index'
import { linear as referenceLinear } from '../reference/linear'
import { roundAll } from '../reference/rounding'
import { expectSameBits } from '../support/compare'
import { computeDTypes, devicesAndDTypes, testDevices, type ComputeDType } from '../support/devices'
import { plainLinear } from '../support/plain-ops'
import { Random } from '../support/random'
import { stridedView, tensorOf } from '../support/tensors'
import { expectAsGoodAsPlain } from '../support/tolerance'

describe.each(devicesAndDTypes)('linear on %s in %s', (device, dtype) => {
  function check(rows: number, inFeatures: number, outFeatures: number, weightDType: ComputeDType, withBias: boolean): void {
    const random = new Random(rows + inFeatures)
    const x = roundAll(dtype, random.normals(rows * inFeatures))
    const weight = roundAll(weightDType, random.normals(outFeatures * inFeatures, inFeatures ** -0.5))
    const bias = withBias ? roundAll(weightDType, random.normals(outFeatures)) : undefined
    const y = linear(
      tensorOf(x, [rows, inFeatures], dtype, device), tensorOf(weight, [outFeatures, inFeatures], weightDType, device),
      bias && { bias: tensorOf(bias, [outFeatures], weightDType, device) },
    )
    expect([y.shape, y.dtype]).toEqual([[rows, outFeatures], dtype])
    expectAsGoodAsPlain(y.readSync(), referenceLinear(x, weight, inFeatures, bias), plainLinear(x, weight, inFeatures, bias, dtype), { dtype })
  }

  // Rows around the change from dot products to tiles, features around the widths of vectors and tiles.
  it.each([1, 2, 7, 8, 9, 33, 130])('%d rows', (rows) => {
    for (const [inFeatures, outFeatures] of [[1, 1], [3, 5], [64, 64], [65, 31], [127, 17], [512, 48], [200, 129]] as const) {
      check(rows, inFeatures, outFeatures, dtype, rows % 2 === 0)
    }
  })

  it.each(computeDTypes)('weights and bias in %s', (weightDType) => {
    for (const rows of [1, 12]) {
      check(rows, 100, 50, weightDType, false)
      check(rows, 100, 50, weightDType, true)
    }
  })

  it('no rows', () => check(0, 16, 8, dtype, true))

  it('keeps NaN and infinities to the rows and features that hold them', () => {
    for (const rows of [3, 20]) {
      const random = new Random(rows)
      const x = roundAll(dtype, random.normals(rows * 70))
      const weight = roundAll(dtype, random.normals(40 * 70))
      x[70] = NaN
      x[2 * 70 + 5] = Infinity
      weight[39 * 70 + 69] = NaN
      const y = linear(tensorOf(x, [rows, 70], dtype, device), tensorOf(weight, [40, 70], dtype, device))
      expectAsGoodAsPlain(y.readSync(), referenceLinear(x, weight, 70), plainLinear(x, weight, 70, undefined, dtype), { dtype })
    }
  })
})

describe.each(testDevices)('linear on %s', (device) => {
  const random = new Random(3)
  const [x, weight] = [random.normals(2 * 9 * 70), random.normals(40 * 70)]

  it('takes any leading axes, also none', () => {
    const w = tensorOf(weight, [40, 70], 'float32', device)
    const flat = linear(tensorOf(x, [18, 70], 'float32', device), w).readSync()
    const batched = linear(tensorOf(x, [2, 3, 3, 70], 'float32', device), w)
    expect(batched.shape).toEqual([2, 3, 3, 40])
    expectSameBits(batched.readSync(), flat)
    const single = linear(tensorOf(x.slice(0, 70), [70], 'float32', device), w)
    expect(single.shape).toEqual([40])
  })

  it('reads strided x and weight and writes a strided out', () => {
    const expected = linear(tensorOf(x, [2, 9, 70], 'float32', device), tensorOf(weight, [40, 70], 'float32', device)).readSync()
    for (const order of [[0, 1, 2], [1, 0, 2], [2, 1, 0]]) {
      const stridedX = stridedView(x, [2, 9, 70], 'float32', device, { order })
      const stridedWeight = stridedView(weight, [40, 70], 'float32', device, { order: order[0] === 2 ? [1, 0] : [0, 1] })
      expectSameBits(linear(stridedX, stridedWeight).readSync(), expected, `order ${order.join()}`)
    }
    const base = Tensor.from(new Float32Array(2 * 9 * 44).fill(7), [2, 9, 44], { device })
    const out = base.slice(2, 2, 42)
    expect(linear(tensorOf(x, [2, 9, 70], 'float32', device), tensorOf(weight, [40, 70], 'float32', device), { out })).toBe(out)
    expectSameBits(out.readSync(), expected)
    expect(base.readSync().filter((value) => value === 7)).toHaveLength(2 * 9 * 4)
  })

  it('gives the same bits with any number of threads', () => {
    const initial = devices.get('cpu').units
    const run = (): ArrayLike<number> => linear(tensorOf(x, [18, 70], 'float32', device), tensorOf(weight, [40, 70], 'float32', device)).readSync()
    try {
      devices.setNumThreads(1)
      const alone = run()
      devices.setNumThreads(3)
      expectSameBits(run(), alone)
    } finally {
      devices.setNumThreads(initial)
    }
  })
})
