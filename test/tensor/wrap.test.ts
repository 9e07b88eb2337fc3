import { createContext, runInContext } from 'node:vm'
import { ArgumentError, devices, linear, Tensor } from '../../lib/index'
import { thrownBy } from '../support/errors'

describe('Tensor.wrap', () => {
  it('sees the memory of the array itself, and owns none', () => {
    const before = devices.memory()
    const host = Float32Array.of(1, 2, 3, 4)
    const tensor = Tensor.wrap(host, [2, 2], 'float32')
    expect(devices.memory().bytes).toBe(before.bytes)
    host[3] = 40
    expect(Array.from(tensor.readSync())).toEqual([1, 2, 3, 40])
    expect(Array.from(tensor.transpose(0, 1).readSync())).toEqual([1, 3, 2, 40])
    tensor.dispose()
    expect(Array.from(host)).toEqual([1, 2, 3, 40])
  })

  it('takes part of a buffer, at the offset of the array', () => {
    const buffer = new ArrayBuffer(64)
    const part = new Float32Array(buffer, 8, 3)
    part.set([5, 6, 7])
    expect(Array.from(Tensor.wrap(part, [3], 'float32').readSync())).toEqual([5, 6, 7])
    const halves = new Uint16Array(buffer, 8, 2)
    expect(Tensor.wrap(halves, [2], 'bfloat16').readSync()[1]).toBe(5)
  })

  it('lets an op write into host memory', () => {
    const host = new Float32Array(4)
    const out = Tensor.wrap(host, [2, 2], 'float32')
    linear(Tensor.from([1, 2, 3, 4], [2, 2]), Tensor.from([1, 0, 0, 1], [2, 2]), { out }).readSync()
    expect(Array.from(host)).toEqual([1, 2, 3, 4])
  })

  it('makes host arrays for results of any dtype, not cleared', () => {
    expect(Tensor.emptyBits([2, 3], 'float32')).toBeInstanceOf(Float32Array)
    expect(Tensor.emptyBits([2, 0], 'bfloat16')).toEqual(new Uint16Array(0))
    const shape = [64, 64]
    const bits = Tensor.emptyBits(shape, 'float32')
    expect([bits.length, bits.byteOffset, bits.buffer.byteLength]).toEqual([4096, 0, 16384])
    const out = Tensor.wrap(bits, shape, 'float32')
    linear(Tensor.zeros(shape), Tensor.zeros(shape), { out })
    out.readSync()
    expect(bits).toEqual(new Float32Array(4096))
  })

  it('keeps the memory alive while a view or queued work needs it', async () => {
    const make = (): Tensor => Tensor.wrap(new Float32Array(1 << 20).fill(3), [1 << 20], 'float32').slice(0, 5, 8)
    const view = make()
    for (let i = 0; i < 50; ++i) new Float32Array(1 << 20).fill(i)
    expect(Array.from(await view.read())).toEqual([3, 3, 3])
  })

  it('accepts shared memory and arrays of another realm', () => {
    const shared = new Float32Array(new SharedArrayBuffer(8))
    shared[1] = 2
    expect(Array.from(Tensor.wrap(shared, [2], 'float32').readSync())).toEqual([0, 2])
    const foreign = runInContext('Float32Array.of(1, 2)', createContext()) as Float32Array
    expect(foreign).not.toBeInstanceOf(Float32Array)
    expect(Array.from(Tensor.wrap(foreign, [2], 'float32').readSync())).toEqual([1, 2])
  })

  it('refuses memory that was detached or may change its size', () => {
    const detached = new Float32Array(4)
    structuredClone(detached.buffer, { transfer: [detached.buffer] })
    // A resizable buffer, which the type library of ES2023 does not know.
    const Resizable = ArrayBuffer as unknown as new (length: number, options: { maxByteLength: number }) => ArrayBuffer
    const resizable = new Float32Array(new Resizable(16, { maxByteLength: 64 }))
    for (const bits of [detached, resizable]) {
      const error = thrownBy(() => Tensor.wrap(bits, [4], 'float32'))
      expect(error).toBeInstanceOf(ArgumentError)
    }
  })

  it('lets nobody transfer the memory away', () => {
    const host = new Float32Array(1024).fill(1)
    const tensor = Tensor.wrap(host, [1024], 'float32')
    // Node 20 leaves such a buffer out of the transfer, later versions throw.
    const { port1 } = new MessageChannel()
    for (const transfer of [() => structuredClone(host.buffer, { transfer: [host.buffer] }), () => port1.postMessage(host, [host.buffer])]) {
      try {
        transfer()
      } catch (error) {
        expect(error).toMatchObject({ name: 'DataCloneError' })
      }
      expect(host.byteLength).toBe(4096)
      expect(tensor.readSync()[1023]).toBe(1)
    }
    port1.close()
  })

  it('answers or refuses reads of memory that was detached all the same, and never crashes', async () => {
    // ArrayBuffer.prototype.transfer (Node 22 and later) does not ask whether a buffer may be transferred.
    const host = new Float32Array(1024).fill(1)
    const tensor = Tensor.wrap(host, [1024], 'float32')
    const transfer = (ArrayBuffer.prototype as { transfer?: () => ArrayBuffer }).transfer
    transfer?.call(host.buffer)
    for (const read of [() => tensor.readSync(), () => tensor.cast('bfloat16').readSync()]) {
      try {
        expect(read()).toHaveLength(1024)
      } catch (error) {
        expect(error).toBeInstanceOf(ArgumentError)
      }
    }
    await devices.synchronize()
  })
})
