import { devices, Tensor, type DType, type FloatDType } from '../../lib/index'
import { roundTo } from '../reference/rounding'
import { testDevices } from '../support/devices'

const bytes: Readonly<Record<DType, number>> = { float32: 4, float16: 2, bfloat16: 2, float8_e4m3: 1, int32: 4 }
const allDTypes = Object.keys(bytes) as readonly DType[]

describe.each(testDevices)('Tensor on %s', (device) => {
  it.each(allDTypes)('%s: facts of a new tensor', (dtype) => {
    const tensor = Tensor.empty([2, 3, 4], { dtype, device })
    expect({ ...pick(tensor, ['dtype', 'shape', 'strides', 'size', 'byteLength', 'disposed', 'device']) }).toEqual({
      dtype, shape: [2, 3, 4], strides: [12, 4, 1], size: 24, byteLength: 24 * bytes[dtype], disposed: false, device,
    })
    expect(Tensor.zeros([5], { dtype, device }).readSync().every((value) => value === 0)).toBe(true)
  })

  it('is float32 on the CPU unless told', () => {
    for (const tensor of [Tensor.from([1], [1]), Tensor.empty([1]), Tensor.zeros([1]), Tensor.randn([1])]) {
      expect([tensor.dtype, tensor.device]).toEqual(['float32', 'cpu'])
    }
  })

  it('holds scalars and empty shapes', () => {
    const scalar = Tensor.from([3], [], { device })
    expect([scalar.shape, scalar.size, Array.from(scalar.readSync())]).toEqual([[], 1, [3]])
    const empty = Tensor.from([], [2, 0, 3], { device })
    expect([empty.size, empty.byteLength, empty.readSync().length]).toEqual([0, 0, 0])
  })

  it('copies any array of numbers, and no later change of it', () => {
    for (const data of [[1, 2.5], Float32Array.of(1, 2.5), Float64Array.of(1, 2.5), { length: 2, 0: 1, 1: 2.5 }]) {
      expect(Array.from(Tensor.from(data, [2], { device }).readSync())).toEqual([1, 2.5])
    }
    for (const data of [[1, -2], Int8Array.of(1, -2), Int32Array.of(1, -2)]) {
      expect(Array.from(Tensor.from(data, [2], { dtype: 'int32', device }).readSync())).toEqual([1, -2])
    }
    const source = Float32Array.of(1, 2)
    const tensor = Tensor.from(source, [2], { device })
    const bits = Uint16Array.of(0x3f80, 0x4000)
    const fromBits = Tensor.fromBits(bits, [2], { dtype: 'bfloat16', device })
    source.fill(9)
    bits.fill(0)
    expect(Array.from(tensor.readSync())).toEqual([1, 2])
    expect(Array.from(fromBits.readSync())).toEqual([1, 2])
  })

  it('reads as numbers or bits, at once or awaited, each time a new copy', async () => {
    const tensor = Tensor.from([1, -2, 0.5], [3], { dtype: 'float16', device })
    const now = tensor.readSync()
    const later = await tensor.read()
    expect([Array.from(now), Array.from(later)]).toEqual([[1, -2, 0.5], [1, -2, 0.5]])
    now[0] = 7
    expect(tensor.readSync()[0]).toBe(1)
    expect(await tensor.readBits()).toEqual(Uint16Array.of(0x3c00, 0xc000, 0x3800))
    expect(await Tensor.from([1], [1], { dtype: 'int32', device }).read()).toEqual(Int32Array.of(1))
    expect(await Tensor.from([1], [1], { dtype: 'float8_e4m3', device }).readBits()).toEqual(Uint8Array.of(0x38))
  })

  it('takes views without copying: slice, transpose, reshape', () => {
    const counted = Tensor.from(Array.from({ length: 24 }, (_, n) => n), [2, 3, 4], { device })
    const before = devices.memory(device)
    const slice = counted.slice(1, 1, 3)
    const transposed = counted.transpose(0, 2)
    const reshaped = counted.reshape([6, 4])
    const both = slice.transpose(2, 0).slice(0, 3, 4)
    expect(devices.memory(device).bytes).toBe(before.bytes)
    expect([slice.shape, slice.strides]).toEqual([[2, 2, 4], [12, 4, 1]])
    expect([transposed.shape, transposed.strides]).toEqual([[4, 3, 2], [1, 4, 12]])
    expect([reshaped.shape, reshaped.strides]).toEqual([[6, 4], [4, 1]])
    expect(Array.from(slice.readSync())).toEqual([4, 5, 6, 7, 8, 9, 10, 11, 16, 17, 18, 19, 20, 21, 22, 23])
    expect(Array.from(transposed.readSync())).toEqual([0, 12, 4, 16, 8, 20, 1, 13, 5, 17, 9, 21, 2, 14, 6, 18, 10, 22, 3, 15, 7, 19, 11, 23])
    expect(Array.from(both.readSync())).toEqual([7, 19, 11, 23])
    expect(Array.from(counted.slice(0, 1, 1).readSync())).toEqual([])
  })

  it('makes a packed copy of a view', () => {
    const transposed = Tensor.from([1, 2, 3, 4, 5, 6], [2, 3], { device }).transpose(0, 1)
    const copy = transposed.contiguous()
    expect([copy.shape, copy.strides, Array.from(copy.readSync())]).toEqual([[3, 2], [2, 1], [1, 4, 2, 5, 3, 6]])
  })

  it('reshapes views where their strides allow it, and copies nothing behind the caller where they do not', () => {
    const tensor = Tensor.from(Array.from({ length: 24 }, (_, n) => n), [2, 3, 4], { device })
    expect(tensor.reshape([-1, 2]).shape).toEqual([12, 2])
    expect(() => tensor.transpose(0, 1).reshape([6, 4])).toThrow(
      'shape: expected a shape that strides [4, 12, 1] allow without a copy (contiguous() makes one), received [6, 4]',
    )
    expect(Array.from(tensor.slice(0, 1, 2).reshape([3, 4]).readSync())).toEqual([12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23])
    expect(tensor.slice(2, 0, 2).reshape([6, 2]).strides).toEqual([4, 1])
    expect(tensor.reshape([1, 2, 1, 12, 1]).shape).toEqual([1, 2, 1, 12, 1])
  })

  it('keeps the memory that a view looks at', () => {
    const view = Tensor.from([1, 2, 3, 4], [2, 2], { device })
    const row = view.slice(0, 1, 2)
    view.dispose()
    expect(view.disposed).toBe(true)
    expect(row.disposed).toBe(false)
    expect(Array.from(row.readSync())).toEqual([3, 4])
  })

  it('gives its memory back when it and its views are disposed, and again does nothing', () => {
    const before = devices.memory(device)
    const tensor = Tensor.zeros([1000], { device })
    const view = tensor.slice(0, 0, 10)
    expect(devices.memory(device).bytes).toBe(before.bytes + 4000)
    tensor.dispose()
    tensor.dispose()
    expect(devices.memory(device).bytes).toBe(before.bytes + 4000)
    view[Symbol.dispose]()
    view[Symbol.dispose]()
    expect(devices.memory(device)).toMatchObject({ tensors: before.tensors, bytes: before.bytes })
  })

  it('disposes at the end of a using block', () => {
    let outer: Tensor
    {
      using tensor = Tensor.zeros([1], { device })
      outer = tensor
      expect(tensor.disposed).toBe(false)
    }
    expect(outer.disposed).toBe(true)
  })

  it('moves to the device where it is as a view that outlives it', () => {
    const tensor = Tensor.from([1, 2, 3, 4], [2, 2], { dtype: 'bfloat16', device }).transpose(0, 1)
    const moved = tensor.to(device)
    expect([moved.device, moved.dtype, moved.shape, Array.from(moved.readSync())]).toEqual([device, 'bfloat16', [2, 2], [1, 3, 2, 4]])
    tensor.dispose()
    expect(Array.from(moved.readSync())).toEqual([1, 3, 2, 4])
  })

  it('reads what was queued before, in order', async () => {
    const tensor = Tensor.zeros([4], { device })
    const reads = [tensor.read(), tensor.cast('bfloat16').read(), tensor.read()]
    tensor.dispose()
    for (const numbers of await Promise.all(reads)) expect(Array.from(numbers)).toEqual([0, 0, 0, 0])
  })
})

describe.each(testDevices)('Tensor.randn on %s', (device) => {
  it.each(['float32', 'float16', 'bfloat16'] as const)('%s: the same bits from the same seed, others from another', async (dtype) => {
    const bits = async (seed: number): Promise<ArrayLike<number>> => await Tensor.randn([3, 1001], { dtype, device, seed }).readBits()
    expect(await bits(1)).toEqual(await bits(1))
    expect(await bits(2)).not.toEqual(await bits(1))
    expect(await bits(2 ** 32 + 1)).not.toEqual(await bits(1))
  })

  it('rounds the numbers of the seed to the dtype', () => {
    const wide = Tensor.randn([500], { device, seed: 3 }).readSync()
    for (const dtype of ['float16', 'bfloat16', 'float8_e4m3'] as const satisfies readonly FloatDType[]) {
      expect(Array.from(Tensor.randn([500], { dtype, device, seed: 3 }).readSync())).toEqual(Array.from(wide, (value) => roundTo(dtype, value)))
    }
  })

  it('does not depend on the number of threads nor on the shape', () => {
    const initial = devices.get('cpu').units
    const run = (shape: readonly number[]): number[] => Array.from(Tensor.randn(shape, { device, seed: 5 }).readSync())
    try {
      devices.setNumThreads(1)
      const alone = run([20000])
      devices.setNumThreads(3)
      expect(run([20, 1000])).toEqual(alone)
      expect(run([7])).toEqual(alone.slice(0, 7))
    } finally {
      devices.setNumThreads(initial)
    }
  })

  it('has the moments of the standard normal distribution', () => {
    const count = 200_000
    const values = Tensor.randn([count], { device, seed: 7 }).readSync()
    const moment = (power: number): number => Array.from(values).reduce((sum, value) => sum + value ** power, 0) / count
    // Five standard deviations of each estimate: 1/√n, √2/√n, √15/√n, √96/√n.
    const expected = [[1, 0, 1], [2, 1, Math.SQRT2], [3, 0, Math.sqrt(15)], [4, 3, Math.sqrt(96)]] as const
    for (const [power, value, deviation] of expected) expect(Math.abs(moment(power) - value)).toBeLessThan((5 * deviation) / Math.sqrt(count))
    const largest = Math.max(...Array.from({ length: 200 }, (_, n) => Math.max(...values.slice(n * 1000, (n + 1) * 1000))))
    expect(largest).toBeGreaterThan(3.8)
    expect(largest).toBeLessThan(6.5)
    let correlation = 0
    for (let n = 1; n < count; ++n) correlation += values[n]! * values[n - 1]!
    expect(Math.abs(correlation / count)).toBeLessThan(5 / Math.sqrt(count))
  })
})

function pick<T, K extends keyof T>(value: T, keys: readonly K[]): Pick<T, K> {
  return Object.fromEntries(keys.map((key) => [key, value[key]])) as Pick<T, K>
}
