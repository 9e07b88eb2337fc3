// The arguments of what makes tensors: checked, in the form that the addon takes.
import { checkInteger, checkOptions, fail } from '../check'
import { checkDevice, type DeviceId } from '../devices'
import { ArgumentError } from '../errors'
import { checkDType, hostArrayName, isHostArray, type DType, type DTypeMap } from './dtype'

export interface TensorOptions<D extends DType> {
  /** Default 'float32'. */
  dtype?: D
  /** Default 'cpu'. */
  device?: DeviceId
}

export function tensorOptions<D extends DType>(options: (TensorOptions<D> & { seed?: number }) | undefined, more: readonly 'seed'[] = []) {
  const { dtype = 'float32' as D, device = 'cpu', seed } = checkOptions('options', options, ['dtype', 'device', ...more])
  checkDType('options.dtype', dtype)
  return { dtype, device: checkDevice('options.device', device), seed }
}

export function checkBits<D extends DType>(bits: unknown, size: number, dtype: D): asserts bits is DTypeMap[D] {
  if (!isHostArray(dtype, bits)) fail('bits', `a ${hostArrayName(dtype)}`, bits)
  if (bits.length !== size) throw new ArgumentError('bits', `${size} elements`, `${bits.length}`, 'SHAPE_MISMATCH')
}

/** float64 unless the data is float32 or int32 already: so that each number is rounded once, on the way to the dtype. */
export function hostNumbers(data: unknown, size: number, dtype: DType): Float64Array | Float32Array | Int32Array {
  const list = data as ArrayLike<unknown> | null | undefined
  if (typeof list !== 'object' || list === null || !Number.isInteger(list.length) || list.length < 0) fail('data', 'an array of numbers', data)
  if (list.length !== size) throw new ArgumentError('data', `${size} numbers`, `${list.length}`, 'SHAPE_MISMATCH')
  if (isHostArray('float32', data) && dtype !== 'int32') return data
  if (isHostArray('int32', data)) return data
  const numbers = new Float64Array(size)
  for (let i = 0; i < size; ++i) {
    const value = list[i]
    if (typeof value !== 'number') fail(`data[${i}]`, 'a number', value)
    numbers[i] = dtype === 'int32' ? checkInteger(`data[${i}]`, value, -0x80000000, 0x7fffffff) : value
  }
  return numbers
}
