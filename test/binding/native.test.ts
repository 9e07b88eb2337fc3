/** The addon below lib/, called as lib/ never would: it throws and does not crash. */
import { Tensor } from '../../lib/index'
import { native } from '../../lib/native'
import { handleOf } from '../../lib/tensor/tensor'
import { thrownBy } from '../support/errors'

const addon = native as unknown as Readonly<Record<string, (...args: unknown[]) => unknown>>
/** Where anything is a valid argument, or none is needed. */
const withoutArguments = ['dtypes', 'devices', 'kernels', 'numThreads', 'offer', 'putOff']

const foreign: readonly unknown[] = [
  undefined, null, 0, -1, NaN, 2 ** 60, '', 'x', true, 1n, Symbol('s'), {}, [], [1], () => 1, new Float32Array(4), Object.create(null), new Proxy({}, {}),
]

function handles(): unknown[] {
  return [handleOf('x', Tensor.zeros([1, 1, 1, 2])), handleOf('x', Tensor.zeros([2, 2])), handleOf('x', Tensor.zeros([0], { dtype: 'int32' }))]
}

describe('every function of the addon', () => {
  it.each(Object.keys(addon).filter((name) => !withoutArguments.includes(name)))('%s refuses the wrong number of arguments', (name) => {
    expect(thrownBy(() => addon[name]!())).toMatchObject({ attn: 'INVALID_ARGUMENT', argument: 'arguments' })
    const many = Array.from({ length: 12 }, () => 1)
    expect(thrownBy(() => addon[name]!(...many))).toMatchObject({ attn: 'INVALID_ARGUMENT', argument: 'arguments', received: '12' })
  })

  it.each(Object.keys(addon).filter((name) => !withoutArguments.includes(name)))('%s survives foreign values in every place', async (name) => {
    const message = (thrownBy(() => addon[name]!()) as Error).message
    const count = Number(/expected (\d+) arguments/.exec(message)![1])
    // Process-wide settings that any number or name may change are put back below.
    for (let at = 0; at < count; ++at) {
      for (const value of [...foreign, ...handles()]) {
        for (const fill of [handles()[0], handles()[1], 'cpu', 1, [2, 2], {}, null]) {
          const args = Array.from({ length: count }, (_, n) => (n === at ? value : fill))
          try {
            const result = addon[name]!(...args)
            if (result instanceof Promise) await result.catch(() => undefined)
          } catch (error) {
            // Of the main realm, where jest's own Error is another class.
            expect(typeof (error as Error).message).toBe('string')
          }
        }
      }
    }
    native.forceKernel('')
    native.setNumThreads(2)
  })

  it('makes handles that only its own functions understand', () => {
    const handle = handleOf('x', Tensor.zeros([2]))
    expect(Object.keys(handle)).toEqual([])
    const copy = Object.assign(Object.create(Object.getPrototypeOf(handle) as object | null) as object, handle)
    expect(thrownBy(() => addon.tensorDispose!(copy))).toMatchObject({ attn: 'INVALID_ARGUMENT', expected: 'a tensor', received: 'a foreign value' })
    // An External of another module carries another type tag; any object of the process stands in for it here.
    expect(thrownBy(() => addon.tensorDispose!(globalThis))).toMatchObject({ attn: 'INVALID_ARGUMENT' })
  })

  it('refuses a disposed handle, and disposes twice without harm', () => {
    const handle = native.tensorEmpty('cpu', 0, [4])
    native.tensorDispose(handle)
    native.tensorDispose(handle)
    expect(thrownBy(() => native.tensorView(handle, 0, [4], [1]))).toMatchObject({ attn: 'DISPOSED' })
    expect(thrownBy(() => native.readNumbersSync(handle, new Float32Array(4)))).toMatchObject({ attn: 'DISPOSED' })
  })

  it('refuses views that leave their memory, and reads into arrays of another size', () => {
    const handle = native.tensorEmpty('cpu', 0, [4])
    for (const [offset, shape, strides] of [
      [5, [1], [1]], [-1, [1], [1]], [0, [5], [1]], [0, [2], [4]], [0, [2, 2], [1]], [0, [2], [2 ** 60]], [2 ** 60, [1], [1]], [3, [2], [-4]], [0, [-1], [1]],
    ] as const) {
      expect(thrownBy(() => native.tensorView(handle, offset, shape, strides))).toMatchObject({ attn: expect.stringMatching(/INVALID_ARGUMENT|SHAPE_MISMATCH/) as string })
    }
    expect(thrownBy(() => native.readNumbersSync(handle, new Float32Array(3)))).toHaveProperty('attn')
  })

  it('refuses slots and pages outside of a cache', () => {
    const [rows, pages] = [native.tensorZeros('cpu', 0, [1, 2, 1, 4]), native.tensorZeros('cpu', 0, [2, 4, 1, 4])]
    for (const slots of [[8, 0], [-2, 0], [0], [0, 1, 2], [2147483647, 0]]) {
      expect(thrownBy(() => native.pagedAppend(rows, pages, Int32Array.from(slots), null))).toHaveProperty('attn')
    }
    for (const pairs of [[0, 2], [2, 0], [-1, 0], [0]]) expect(thrownBy(() => native.pageCopy(pages, Int32Array.from(pairs)))).toHaveProperty('attn')
    const flat = native.tensorZeros('cpu', 0, [2, 4, 4])
    for (const [list, begin, end] of [[[2], 0, 1], [[-1], 0, 1], [[0], 0, 5], [[0], 3, 2], [[0], -1, 2]] as const) {
      expect(thrownBy(() => native.pagedGather(flat, Int32Array.from(list), begin, end))).toHaveProperty('attn')
    }
  })
})
