import { createContext, runInContext } from 'node:vm'
import { DeviceError, devices, ResourceError, Tensor, type DeviceId, type DType } from '../../lib/index'
import { argumentError, expectError, thrownBy, type ExpectedError } from '../support/errors'

type Row = readonly [title: string, call: () => unknown, error: ExpectedError]

const { from, fromBits, wrap, empty, emptyBits, zeros, randn } = Tensor
const shapes = (call: (shape: never) => unknown): readonly Row[] => [
  ['no array', () => call(5 as never), argumentError('shape', 'an array of axis lengths', '5')],
  ['a negative axis', () => call([2, -1] as never), argumentError('shape[1]', 'an integer of at least 0', '-1')],
  ['a fractional axis', () => call([1.5] as never), argumentError('shape[0]', 'an integer of at least 0', '1.5')],
  ['NaN', () => call([NaN] as never), argumentError('shape[0]', 'an integer of at least 0', 'NaN')],
  ['infinity', () => call([Infinity] as never), argumentError('shape[0]', 'an integer of at least 0', 'Infinity')],
  ['a string', () => call(['3'] as never), argumentError('shape[0]', 'an integer of at least 0', "'3'")],
  ['a hole', () => call(new Array(1) as never), argumentError('shape[0]', 'an integer of at least 0', 'undefined')],
  ['nine axes', () => call([1, 1, 1, 1, 1, 1, 1, 1, 1] as never), argumentError('shape', 'at most 8 axes', '9 axes')],
  ['2^53 bytes', () => call([2 ** 26, 2 ** 25] as never), argumentError('shape', 'at most 2^53 - 1 bytes', '[67108864, 33554432]')],
  ['lengths whose product is no safe integer', () => call([2 ** 40, 2 ** 40] as never), argumentError('shape', 'at most 2^53 - 1 bytes', '[1099511627776, 1099511627776]')],
]

describe('shapes refused', () => {
  it.each(shapes((shape) => zeros(shape)))('zeros: %s', (_, call, error) => expectError(call, error))
  it.each(shapes((shape) => empty(shape)))('empty: %s', (_, call, error) => expectError(call, error))
  it.each(shapes((shape) => emptyBits(shape, 'float32')))('emptyBits: %s', (_, call, error) => expectError(call, error))
  it.each(shapes((shape) => randn(shape)))('randn: %s', (_, call, error) => expectError(call, error))
  it.each(shapes((shape) => from([], shape)))('from: %s', (_, call, error) => expectError(call, error))
  it.each(shapes((shape) => fromBits<'float32'>(new Float32Array(), shape, { dtype: 'float32' })))('fromBits: %s', (_, call, error) => expectError(call, error))
  it.each(shapes((shape) => wrap(new Float32Array(), shape, 'float32')))('wrap: %s', (_, call, error) => expectError(call, error))
})

const dtypeWords = "'float32' or 'float16' or 'bfloat16' or 'float8_e4m3' or 'int32'"
const options: readonly Row[] = [
  ['options that are no object', () => zeros([1], 'float32' as never), argumentError('options', 'an options object', "'float32'")],
  ['options that are null', () => zeros([1], null as never), argumentError('options', 'an options object', 'null')],
  ['an unknown key', () => zeros([1], { dType: 'float16' } as never), argumentError('options', 'options among dtype, device', "unknown option 'dType'")],
  ['a seed where there is none', () => zeros([1], { seed: 1 } as never), argumentError('options', 'options among dtype, device', "unknown option 'seed'")],
  ['an unknown dtype', () => zeros([1], { dtype: 'float64' as DType }), argumentError('options.dtype', dtypeWords, "'float64'")],
  ['a dtype of the prototype', () => zeros([1], { dtype: 'constructor' as DType }), argumentError('options.dtype', dtypeWords, "'constructor'")],
  ['an unknown device', () => zeros([1], { device: 'gpu' as DeviceId }), argumentError('options.device', "'cpu', 'cuda' or 'cuda:<n>'", "'gpu'")],
  ['a device number that is none', () => zeros([1], { device: 'cuda:x' as DeviceId }), argumentError('options.device', "'cpu', 'cuda' or 'cuda:<n>'", "'cuda:x'")],
  ['random integers', () => randn([1], { dtype: 'int32' as 'float32' }), argumentError('options.dtype', 'a float dtype', "'int32'")],
  ['a negative seed', () => randn([1], { seed: -1 }), argumentError('options.seed', 'an integer of at least 0', '-1')],
  ['a fractional seed', () => randn([1], { seed: 0.5 }), argumentError('options.seed', 'an integer of at least 0', '0.5')],
  ['a seed beyond 2^53', () => randn([1], { seed: 2 ** 53 }), argumentError('options.seed', 'an integer of at least 0', '9007199254740992')],
]

const data: readonly Row[] = [
  ['no data', () => from(undefined as never, [1]), argumentError('data', 'an array of numbers', 'undefined')],
  ['a string', () => from('12' as never, [2]), argumentError('data', 'an array of numbers', "'12'")],
  ['an object without length', () => from({} as never, [0]), argumentError('data', 'an array of numbers', 'an object')],
  ['a negative length', () => from({ length: -1 }, [1]), argumentError('data', 'an array of numbers', 'an object')],
  ['too few numbers', () => from([1, 2], [3]), argumentError('data', '3 numbers', '2', 'SHAPE_MISMATCH')],
  ['too many', () => from([1, 2], []), argumentError('data', '1 numbers', '2', 'SHAPE_MISMATCH')],
  ['something else among the numbers', () => from([1, '2'] as never, [2]), argumentError('data[1]', 'a number', "'2'")],
  ['bigints', () => from([1n] as never, [1]), argumentError('data[0]', 'a number', '1n')],
  ['fractions for int32', () => from([1, 0.5], [2], { dtype: 'int32' }), argumentError('data[1]', 'an integer from -2147483648 to 2147483647', '0.5')],
  ['NaN for int32', () => from(Float32Array.of(NaN), [1], { dtype: 'int32' }), argumentError('data[0]', 'an integer from -2147483648 to 2147483647', 'NaN')],
  ['2^31 for int32', () => from([2 ** 31], [1], { dtype: 'int32' }), argumentError('data[0]', 'an integer from -2147483648 to 2147483647', '2147483648')],
  ['bits of another width', () => fromBits(new Uint8Array(1) as never, [1], { dtype: 'bfloat16' }), argumentError('bits', 'a Uint16Array', 'a Uint8Array')],
  ['bits of another kind of number', () => fromBits(new Int32Array(1) as never, [1], { dtype: 'float32' }), argumentError('bits', 'a Float32Array', 'a Int32Array')],
  ['an array with another tag', () => fromBits(Object.create(Float32Array.prototype) as never, [1], { dtype: 'float32' }), argumentError('bits', 'a Float32Array', 'a Float32Array')],
  ['a DataView', () => wrap(new DataView(new ArrayBuffer(4)) as never, [1], 'float32'), argumentError('bits', 'a Float32Array', 'a DataView')],
  ['too few bits', () => fromBits(new Uint16Array(2) as never, [3], { dtype: 'float16' }), argumentError('bits', '3 elements', '2', 'SHAPE_MISMATCH')],
  ['too few wrapped bits', () => wrap<'float16'>(new Uint16Array(2), [3], 'float16'), argumentError('bits', '3 elements', '2', 'SHAPE_MISMATCH')],
  ['host bits of no dtype', () => emptyBits([2], 'float64' as never), argumentError('dtype', dtypeWords, "'float64'")],
  ['no dtype', () => wrap(new Uint16Array(2) as never, [2], undefined as never), argumentError('dtype', dtypeWords, 'undefined')],
]

const tensor = Tensor.zeros([2, 3, 4])
const scalar = Tensor.zeros([])
const views: readonly Row[] = [
  ['reshape to another size', () => tensor.reshape([5, 5]), argumentError('shape', '24 elements', '[5, 5]', 'SHAPE_MISMATCH')],
  ['reshape with two free axes', () => tensor.reshape([-1, -1]), argumentError('shape[1]', 'an integer of at least 0', '-1')],
  ['reshape that does not divide', () => tensor.reshape([-1, 7]), argumentError('shape', 'a shape for 24 elements', '[-1, 7]', 'SHAPE_MISMATCH')],
  ['reshape to no array', () => tensor.reshape(24 as never), argumentError('shape', 'an array of axis lengths', '24')],
  ['slice of an axis that is not there', () => tensor.slice(3, 0, 1), argumentError('axis', 'an integer from 0 to 2', '3')],
  ['slice of a negative axis', () => tensor.slice(-1, 0, 1), argumentError('axis', 'an integer from 0 to 2', '-1')],
  ['slice from a negative index', () => tensor.slice(0, -1, 1), argumentError('begin', 'an integer from 0 to 2', '-1')],
  ['slice that ends before it begins', () => tensor.slice(0, 2, 1), argumentError('end', 'an integer from 2 to 2', '1')],
  ['slice beyond the axis', () => tensor.slice(1, 0, 4), argumentError('end', 'an integer from 0 to 3', '4')],
  ['slice at a fraction', () => tensor.slice(1, 0.5, 2), argumentError('begin', 'an integer from 0 to 3', '0.5')],
  ['slice without an end', () => tensor.slice(1, 0, undefined as never), argumentError('end', 'an integer from 0 to 3', 'undefined')],
  ['transpose of an axis that is not there', () => tensor.transpose(0, 3), argumentError('axisB', 'an integer from 0 to 2', '3')],
  ['transpose of a scalar', () => scalar.transpose(0, 0), argumentError('axisA', 'a tensor that has axes', 'shape []')],
  ['cast to an unknown dtype', () => tensor.cast('double' as DType), argumentError('dtype', dtypeWords, "'double'")],
  ['a move to an unknown device', () => tensor.to('tpu' as DeviceId), argumentError('device', "'cpu', 'cuda' or 'cuda:<n>'", "'tpu'")],
]

describe('arguments refused', () => {
  it.each(options)('options: %s', (_, call, error) => expectError(call, error))
  it.each(data)('data: %s', (_, call, error) => expectError(call, error))
  it.each(views)('views: %s', (_, call, error) => expectError(call, error))
})

describe('what a disposed tensor can still do', () => {
  const disposed = Tensor.zeros([2, 2])
  disposed.dispose()
  const error = argumentError('tensor', 'a live tensor', 'a disposed tensor', 'DISPOSED')
  it.each<[string, () => unknown]>([
    ['reshape', () => disposed.reshape([4])], ['slice', () => disposed.slice(0, 0, 1)], ['transpose', () => disposed.transpose(0, 1)],
    ['to', () => disposed.to('cpu')], ['cast', () => disposed.cast('float16')], ['contiguous', () => disposed.contiguous()], ['readSync', () => disposed.readSync()],
  ])('not %s', (_, call) => expectError(call, error))

  it('not read, asynchronously', async () => {
    await expect(disposed.read()).rejects.toMatchObject({ code: error.code, message: error.message })
    await expect(disposed.readBits()).rejects.toMatchObject({ code: error.code, message: error.message })
  })

  it('say what it was', () => {
    expect([disposed.disposed, disposed.shape, disposed.size, disposed.dtype]).toEqual([true, [2, 2], 4, 'float32'])
  })
})

describe('methods on values that are no tensor', () => {
  it.each(['reshape', 'slice', 'transpose', 'cast', 'readSync', 'dispose'] as const)('%s throws and does not crash', (method) => {
    for (const value of [{}, Object.create(Tensor.prototype), new Proxy(tensor, {}), undefined]) {
      expect(thrownBy(() => Reflect.apply(Tensor.prototype[method] as (...args: unknown[]) => unknown, value, [[4]]))).toBeInstanceOf(Error)
    }
  })

  it('an object built around the private constructor holds no memory to read', () => {
    const construct = Tensor as unknown as new (facts: object) => Tensor
    const forged = new construct({ handle: {}, dtype: 'float32', shape: [2], strides: [1], device: 'cpu' })
    expect(thrownBy(() => forged.readSync())).toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(thrownBy(() => forged.slice(0, 0, 1))).toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(() => forged.dispose()).toThrow()
  })
})

describe('devices refused', () => {
  const unavailable = devices.unavailableReason('cuda')
  const cuda = (id: string): ExpectedError => ({ type: DeviceError, code: 'DEVICE_UNAVAILABLE', message: `${id} cannot be used: ${unavailable}` })
  const rows: readonly Row[] = [
    ['zeros', () => zeros([1], { device: 'cuda' }), cuda('cuda')],
    ['empty', () => empty([1], { device: 'cuda:1' }), cuda('cuda:1')],
    ['from', () => from([1], [1], { device: 'cuda:0' }), cuda('cuda:0')],
    ['randn', () => randn([1], { device: 'cuda' }), cuda('cuda')],
    ['to', () => tensor.to('cuda'), cuda('cuda')],
    ['devices.get', () => devices.get('cuda:0'), cuda('cuda:0')],
    ['devices.memory', () => devices.memory('cuda'), cuda('cuda')],
  ]
  // Where a GPU can be used, the calls above are answered: tests of the ops run on it.
  if (unavailable !== undefined) it.each(rows)('%s on a device that cannot be used', (_, call, error) => expectError(call, error))

  it('thread counts and names out of range', async () => {
    for (const count of [0, -1, 1.5, NaN, 1025, '2']) {
      expect(thrownBy(() => devices.setNumThreads(count as number))).toMatchObject({ code: 'INVALID_ARGUMENT', argument: 'count', expected: 'an integer from 1 to 1024' })
    }
    expectError(() => devices.get('CPU' as DeviceId), argumentError('id', "'cpu', 'cuda' or 'cuda:<n>'", "'CPU'"))
    expectError(() => devices.unavailableReason('gpu' as 'cpu'), argumentError('type', "'cpu' or 'cuda'", "'gpu'"))
    await expect(devices.synchronize('x' as DeviceId)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })
})

describe('memory that there is not', () => {
  const huge = [[2 ** 50], [2 ** 20, 2 ** 25]]
  it.each([
    ...huge.map((shape) => ['empty', shape, () => Tensor.empty(shape)] as const),
    ...huge.map((shape) => ['emptyBits', shape, () => Tensor.emptyBits(shape, 'float32')] as const),
  ])('%s of %j is a ResourceError that says how much was asked for', (_, shape, call) => {
    const before = devices.memory()
    const error = thrownBy(call)
    expect(error).toBeInstanceOf(ResourceError)
    expect(error).toMatchObject({ code: 'OUT_OF_MEMORY', requested: 4 * shape.reduce((a, b) => a * b, 1) })
    expect((error as ResourceError).available).toBeLessThan((error as ResourceError).requested)
    expect(devices.memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes })
  })
})

it('numbers of another realm are as good as ours', () => {
  const foreign = runInContext('[1, 2]', createContext()) as number[]
  expect(Array.from(Tensor.from(foreign, [2]).readSync())).toEqual([1, 2])
})
